#!/usr/bin/env bats
# What deploy/ installs for whoever starts the program, each file judged by the
# tool that reads it. service.bats runs what they say.
#
# No web server is needed.

load common
load service

EXPOSURE_MAX=25 # of 100: 2.5 as systemd-analyze prints it

setup_file() {
    make_dir
    export ROOT=$D/root
    install_files
    install_program
}

teardown_file() {
    rm -rf "$D"
}

# --- where they are -----------------------------------------------------------

@test "the files are where systemd and packages look for them" {
    run find "$ROOT" -type f -printf '%P %m\n'
    assert_success
    assert_equal "$(sort <<<"$output")" "etc/default/imageio-fcgi 644
usr/bin/imageio-fcgi 755
usr/lib/systemd/system/imageio-fcgi.service 644
usr/lib/systemd/system/imageio-fcgi.socket 644
usr/lib/sysusers.d/imageio-fcgi.conf 644
usr/lib/tmpfiles.d/imageio-fcgi.conf 644"
}

@test "they name the paths and the group of this installation" {
    assert_equal "$(setting service ExecStart)" /usr/bin/imageio-fcgi
    assert_equal "$(setting service EnvironmentFile)" -/etc/default/imageio-fcgi
    assert_equal "$(setting socket SocketGroup)" www-data
    run ! grep -rE '@[A-Z_]+@' "$ROOT/etc" "$ROOT/usr/lib"
}

@test "with another prefix and group, they name those" {
    local=$D/other/root/usr/local
    mkdir "$D/other"
    ROOT=$D/other/root install_files -DCMAKE_INSTALL_PREFIX=/usr/local \
        -DINIT_SCRIPT=ON -DWEB_SERVER_GROUP=nginx
    has_line "$local/lib/systemd/system/imageio-fcgi.service" \
        '^ExecStart=/usr/local/bin/imageio-fcgi$'
    has_line "$local/lib/systemd/system/imageio-fcgi.service" \
        '^EnvironmentFile=-/usr/local/etc/default/imageio-fcgi$'
    has_line "$local/lib/systemd/system/imageio-fcgi.socket" \
        '^SocketGroup=nginx$'
    has_line "$local/etc/init.d/imageio-fcgi" '^SOCKET_GROUP=nginx$'
    has_line "$local/etc/init.d/imageio-fcgi" \
        '^PROGRAM=/usr/local/bin/imageio-fcgi$'
    [ -x "$local/etc/init.d/imageio-fcgi" ]
    [ -e "$local/etc/default/imageio-fcgi" ]
}

@test "settings that were changed stay when it is installed again" {
    cp "$ROOT/etc/default/imageio-fcgi" "$D/shipped"
    echo IMAGEIO_FCGI_MAX_READERS=3 >"$ROOT/etc/default/imageio-fcgi"
    install_files
    assert_equal "$(cat "$ROOT/etc/default/imageio-fcgi")" \
        IMAGEIO_FCGI_MAX_READERS=3
    rm "$ROOT/etc/default/imageio-fcgi"
    install_files
    cmp "$D/shipped" "$ROOT/etc/default/imageio-fcgi"
}

# --- systemd ------------------------------------------------------------------

# units_to_run: copies that name a program that is there.
units_to_run() {
    rm -rf "$D/units"
    mkdir "$D/units"
    for unit in socket service; do
        sed "s|^ExecStart=|&$ROOT|" \
            "$ROOT/usr/lib/systemd/system/imageio-fcgi.$unit" \
            >"$D/units/imageio-fcgi.$unit"
    done
}

verify() {
    systemd-analyze verify --man=no "$D/units/imageio-fcgi.socket" \
        "$D/units/imageio-fcgi.service" 2>&1
}

exposure() { # of 100
    systemd-analyze security --offline=true --no-pager \
        "$D/units/imageio-fcgi.service" |
        sed -n 's/.*Overall exposure level .*: \([0-9]*\)\.\([0-9]\).*/\1\2/p' |
        sed 's/^0*\(.\)/\1/'
}

@test "the units are clean for systemd-analyze verify" {
    units_to_run
    run verify
    assert_success
    assert_output ''
    # It would have said so.
    echo 'NoSuchThing=yes' >>"$D/units/imageio-fcgi.service"
    run verify
    assert_output --partial NoSuchThing
}

@test "the service's exposure is at most 2.5" {
    units_to_run
    run exposure
    echo "exposure: $output of 100"
    [ "$output" -ge 1 ]
    [ "$output" -le $EXPOSURE_MAX ]
    # It would have been more.
    sed -i '/^System\|^Protect\|^Restrict\|^Capab/d' \
        "$D/units/imageio-fcgi.service"
    run exposure
    [ "$output" -gt $EXPOSURE_MAX ]
}

@test "the unit allows the system calls by which the program restricts itself" {
    # All that it takes is tried for real in service.bats, but only systemd
    # itself makes a filter of these lines.
    for call in seccomp landlock_create_ruleset landlock_add_rule \
        landlock_restrict_self fchown; do
        grep -qE "^SystemCallFilter=(.* )?$call( |\$)" \
            "$ROOT/usr/lib/systemd/system/imageio-fcgi.service"
    done
    # It makes openat2(2) fail.
    run ! grep -q '^RestrictSUIDSGID=yes' \
        "$ROOT/usr/lib/systemd/system/imageio-fcgi.service"
}

# --- user and directories -----------------------------------------------------

# make_system: a root of its own with the user and nobody else.
make_system() {
    rm -rf "$D/system"
    mkdir -p "$D/system/etc" "$D/system/usr"
    cp -r "$ROOT/usr/lib" "$D/system/usr/lib"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$D/system/etc/passwd"
    echo 'root:x:0:' >"$D/system/etc/group"
    systemd-sysusers --root="$D/system" imageio-fcgi.conf
    owner=$(awk -F: '$1 == "imageio" { print $3 ":" $4 }' \
        "$D/system/etc/passwd")
    echo 'q /tmp 1777 root root 0' >"$D/system/usr/lib/tmpfiles.d/tmp.conf"
}

# tmpfiles OPTION...: of the shipped file, and one that cleans /tmp.
tmpfiles() {
    systemd-tmpfiles --root="$D/system" "$@" imageio-fcgi.conf tmp.conf
}

owned() { # FILE: MODE OWNER:GROUP
    stat -c '%a %u:%g' "$D/system$1"
}

@test "sysusers: a system user imageio, with its group, who cannot log in" {
    make_system
    run awk -F: '$1 == "imageio"' "$D/system/etc/passwd"
    assert_output --regexp '^imageio:.*:Disk images over FastCGI:/:.*/nologin$'
    grep -q "^imageio:.*:${owner#*:}:" "$D/system/etc/group"
    [ "${owner%:*}" != 0 ]
    # Again changes nothing.
    cp "$D/system/etc/passwd" "$D/passwd"
    systemd-sysusers --root="$D/system" imageio-fcgi.conf
    cmp "$D/passwd" "$D/system/etc/passwd"
}

@test "tmpfiles: the service writes its run directory, and reads the tickets" {
    needs_root
    make_system
    tmpfiles --create
    assert_equal "$(owned /run/imageio-fcgi)" "755 $owner"
    assert_equal "$(owned /tmp/imagetransfer)" "2750 0:${owner#*:}"
    # A directory that another made is taken from them.
    chown 12345:12345 "$D/system/tmp/imagetransfer"
    chmod 777 "$D/system/tmp/imagetransfer"
    tmpfiles --create
    assert_equal "$(owned /tmp/imagetransfer)" "2750 0:${owner#*:}"
}

@test "tmpfiles: a ticket that root writes there can be read by the service" {
    needs_root
    make_system
    tmpfiles --create
    (umask 027 && echo '{}' >"$D/system/tmp/imagetransfer/id")
    assert_equal "$(owned /tmp/imagetransfer/id)" "640 0:${owner#*:}"
    chmod 755 "$D/system" "$D/system/tmp"
    as="--reuid ${owner%:*} --regid ${owner#*:} --clear-groups"
    # shellcheck disable=SC2086
    setpriv $as cat "$D/system/tmp/imagetransfer/id"
    # shellcheck disable=SC2086
    run ! setpriv $as touch "$D/system/tmp/imagetransfer/own"
    run ! setpriv --reuid 12345 --regid 12345 --clear-groups \
        cat "$D/system/tmp/imagetransfer/id"
}

@test "tmpfiles: tickets outlive the cleaning of /tmp, but not the next boot" {
    needs_root
    make_system
    tmpfiles --create
    mkdir -p "$D/system/tmp/imagetransfer/folder"
    : >"$D/system/tmp/imagetransfer/id"
    : >"$D/system/tmp/imagetransfer/folder/file"
    : >"$D/system/tmp/other"
    tmpfiles --clean
    [ ! -e "$D/system/tmp/other" ]
    [ -e "$D/system/tmp/imagetransfer/id" ]
    [ -e "$D/system/tmp/imagetransfer/folder/file" ]
    # As an installation does, and then a boot.
    tmpfiles --create
    [ -e "$D/system/tmp/imagetransfer/id" ]
    tmpfiles --create --remove --boot
    assert_equal "$(owned /tmp/imagetransfer)" "2750 0:${owner#*:}"
    assert_equal "$(ls -A "$D/system/tmp/imagetransfer")" ''
}

# --- settings -----------------------------------------------------------------

# As --help has them: NAME, and what it says in its last parentheses.
options_with_defaults() {
    "$PROGRAM" --help | awk '
        /^  --/ { name = toupper(substr($1, 3)); gsub("-", "_", name) }
        /^        / && match($0, /\([^()]*\)$/) {
            print name "=" substr($0, RSTART + 1, RLENGTH - 2)
        }' | sort
}

@test "the settings file has every option once, as a comment, with its default" {
    settings=$ROOT/etc/default/imageio-fcgi
    run ! grep -qvE '^(#.*)?$' "$settings"
    sed -n 's/^#IMAGEIO_FCGI_//p' "$settings" | sort >"$D/settings"
    options_with_defaults >"$D/options"
    [ "$(wc -l <"$D/options")" -ge 18 ]
    diff <(sed 's/=.*//' "$D/options") <(sed 's/=.*//' "$D/settings")
    # One that is empty there is explained there.
    run diff "$D/options" <(grep -v '=$' "$D/settings")
    assert_equal "$(grep '^>' <<<"$output")" ''
}

@test "the settings file with every setting taken is accepted" {
    mapfile -t all < <(sed -n 's/^#\([A-Z_]*=.*\)/\1/p' \
        "$ROOT/etc/default/imageio-fcgi")
    [ ${#all[@]} -ge 18 ]
    run env -i "${all[@]}" "$PROGRAM" </dev/null
    assert_failure 2
    assert_output --partial 'descriptor 0 is not a listening socket'
}
