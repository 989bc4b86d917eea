#!/usr/bin/env bats
# What deploy/ installs, run: socket activation as systemd does it, the init
# script, and lighttpd's bin-path.

load common
load service

setup_file() {
    make_dir
    export ROOT=$D/root
    install_files -DINIT_SCRIPT=ON
    install_program
}

teardown_file() {
    rm -rf "${ROOT%/*}"
}

setup() {
    make_dir
    : >"$D/program.log"
    PIDS=
}

teardown() {
    local failed=0

    stop_backends || failed=1
    if [ -s "$D/init/pid" ]; then
        PIDS=$(cat "$D/init/pid")
    fi
    if [ -e "$D/activated.pid" ] && [ ! -e "$D/activated.status" ]; then
        kill -9 "$(cat "$D/activated.pid")"
    fi
    remove_service || failed=1
    return $failed
}

# start_image: $D/disk as image "disk", through an NBD server, which this user
# and its group may use.
start_image() { # USER GROUP
    make_disk "$D/disk" $((64 * MIB))
    start_nbdkit disk file "$D/disk"
    chown "$1" "$D/disk.sock"
    chgrp "$2" "$D/tickets"
    chmod 2750 "$D/tickets"
    nbd_ticket disk disk
    chgrp "$2" "$D/tickets/disk"
    chmod 640 "$D/tickets/disk"
}

# --- systemd's socket activation ----------------------------------------------

# make_user: as sysusers makes it, with numbers that this system has not given
# away; sets $user.
make_user() {
    cp /etc/passwd /etc/group "$ROOT/etc"
    systemd-sysusers --root="$ROOT" imageio-fcgi.conf
    user=$(awk -F: '$1 == "imageio" { print $3 }' "$ROOT/etc/passwd")
}

# as_service COMMAND...: with the user and the rights that the unit says.
as_service() {
    umask "$(setting service UMask)"
    exec setpriv --reuid="$user" --regid="$user" --clear-groups \
        --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
}

# activate: systemd-socket-activate listens as the socket unit says, and at the
# first connection becomes the unit's command with the listening socket as its
# standard input (and output: --inetd). The environment is the settings file's.
activate() {
    local command name value env=()

    command=$(setting service ExecStart)
    while IFS='=' read -r name value; do
        env+=(-E "$name=$value")
    done < <(grep '^[A-Z]' "$ROOT/etc/default/imageio-fcgi")
    # Its standard error has these numbers, as the journal's would.
    env+=(-E "JOURNAL_STREAM=$(stat -c '%d:%i' "$D/activated.log")")
    supervise activated env -i PATH="$PATH" systemd-socket-activate --inetd \
        -l "$D/fcgi.sock" "${env[@]}" \
        "$(command -v bash)" -c "$(declare -f as_service setting)"'
        ROOT=$1 user=$2; shift 2; as_service "$@" >/dev/null' \
        - "$ROOT" "$user" "$ROOT$command"
    wait_for test -S "$D/fcgi.sock"
    chgrp "$(setting socket SocketGroup)" "$D/fcgi.sock"
    chmod "$(setting socket SocketMode)" "$D/fcgi.sock"
}

@test "systemd: the first request starts the unit's command on the socket, unprivileged" {
    needs_root
    make_user
    start_image "$user" "$user"
    install -d -o "$user" -g "$user" "$D/run"
    cat >>"$ROOT/etc/default/imageio-fcgi" <<END
IMAGEIO_FCGI_RUN_DIR=$D/run
IMAGEIO_FCGI_TICKET_DIR=$D/tickets
IMAGEIO_FCGI_MAX_READERS=3
END
    : >"$D/activated.log"
    activate
    run ! grep -q ready "$D/activated.log"
    start_web
    wait_for has_line "$D/activated.log" "ready .* uid=$user .* max_readers=3"
    http GET /images/disk
    assert_status 200
    assert_body "$D/disk"
    # The journal gets priorities.
    has_line "$D/activated.log" '^<6>info: method=GET ticket=disk status=200 '
    stop activated
    assert_equal "$(cat "$D/activated.status")" 0
    # A socket that nobody else may use, and nothing written elsewhere.
    assert_equal "$(stat -c '%a %U:%G' "$D/fcgi.sock")" '660 root:www-data'
    assert_equal "$(find "$D/run" -type f -perm /077)" ''
}

# --- the end of the service ----------------------------------------------------

# exec_stop: what systemd does first to stop the service.
exec_stop() {
    local command

    command=$(setting service ExecStop)
    command=${command#-}
    eval "exec env MAINPID=$PID ${command//'$$'/'$'}"
}

@test "systemd: ExecStop lets requests finish, and ends when the program does" {
    start_programs 1 --ticket-dir "$D/tickets"
    start_web
    make_disk "$D/disk" $((64 * MIB))
    file_ticket disk "$D/disk"
    hold_reader held /images/disk
    supervise stopping exec_stop
    wait_for has_line "$D/program.log" '^info: stopping signal=15'
    is_running "$(cat "$D/stopping.pid")"
    is_running "$PID"
    release held
    assert_status 200
    assert_body "$D/disk"
    wait_for test -e "$D/stopping.status"
    assert_equal "$(cat "$D/stopping.status")" 0
    is_gone "$PID"
    has_line "$D/program.statuses" "^$PID 0$"
}

@test "systemd: its SIGTERM after ExecStop cuts what still runs" {
    start_programs 1 --ticket-dir "$D/tickets"
    start_web
    make_disk "$D/disk" $((64 * MIB))
    file_ticket disk "$D/disk"
    hold_reader held /images/disk --max-time 60
    supervise stopping exec_stop
    wait_for has_line "$D/program.log" '^info: stopping signal=15'
    kill -TERM "$PID"
    wait_for has_line "$D/program.statuses" "^$PID 0$"
    wait_for test -e "$D/stopping.status"
    release held
    [ "$http_exit" != 0 ]
    [ "$http_exit" != 28 ]
}

# --- the init script ------------------------------------------------------------

# init ACTION: with its paths below $D.
init() {
    env -i PATH="$PATH" IMAGEIO_FCGI_SETTINGS="$D/init/settings" \
        "$ROOT/etc/init.d/imageio-fcgi" "$@" 3>&- 4>&-
}

init_settings() { # [LINE...]: more of them
    mkdir -p "$D/init"
    {
        cat "$ROOT/etc/default/imageio-fcgi"
        printf '%s\n' "PROGRAM=$ROOT/usr/bin/imageio-fcgi" \
            "PIDFILE=$D/init/pid" "SOCKET=$D/fcgi.sock" "SOCKET=$D/sock/fcgi.sock" \
            "IMAGEIO_FCGI_RUN_DIR=$D/run" "IMAGEIO_FCGI_TICKET_DIR=$D/tickets" \
            IMAGEIO_FCGI_USER=nobody "$@"
    } >"$D/init/settings"
}

pids() {
    tr '\n' ' ' <"$D/init/pid"
}

@test "init script: start, status, restart and stop, as LSB has them" {
    needs_root
    init_settings PROCESSES=3
    start_image nobody "$(id -g nobody)"
    ln -s sock/fcgi.sock "$D/fcgi.sock"
    run init status
    assert_failure 3
    run init start
    assert_success
    run init status
    assert_success
    assert_output 'imageio-fcgi: 3 of 3 processes run'
    before=$(pids)
    [ "$(wc -w <<<"$before")" = 3 ]
    for pid in $before; do
        [ "$(stat -c %U "/proc/$pid")" = nobody ]
        tr '\0' '\n' <"/proc/$pid/environ" |
            grep -qx IMAGEIO_FCGI_LOG_TARGET=syslog
    done
    # A second start changes nothing.
    run init start
    assert_success
    assert_equal "$(pids)" "$before"
    assert_equal "$(stat -c '%a %U:%G' "$D/sock/fcgi.sock")" '660 root:www-data'
    start_web
    http GET /images/disk
    assert_status 200
    assert_body "$D/disk"
    run init restart
    assert_success
    run init status
    assert_success
    [ "$(pids)" != "$before" ]
    wait_for is_answering
    kill -9 "$(head -n 1 "$D/init/pid")"
    wait_for is_short
    run init restart
    assert_success
    run init status
    assert_success
    before=$(pids)
    run init stop
    assert_success
    for pid in $before; do
        is_gone "$pid"
    done
    [ ! -e "$D/init/pid" ]
    [ ! -e "$D/sock/fcgi.sock" ]
    run init stop
    assert_success
    run init status
    assert_failure 3
}

is_short() { # one of the processes is not there
    run init status
    [ "$status" = 1 ] && [ "$output" = 'imageio-fcgi: 2 of 3 processes run' ]
}

@test "init script: restart finishes the transfers that run" {
    needs_root
    init_settings
    start_image nobody "$(id -g nobody)"
    ln -s sock/fcgi.sock "$D/fcgi.sock"
    init start
    start_web
    hold_reader held /images/disk
    before=$(pids)
    supervise restarting init restart
    wait_for is_not_served
    is_running "${before% }"
    is_running "$(cat "$D/restarting.pid")"
    release held
    assert_status 200
    assert_body "$D/disk"
    wait_for test -e "$D/restarting.status"
    assert_equal "$(cat "$D/restarting.status")" 0
    is_gone "${before% }"
    wait_for is_answering
    http GET /images/disk
    assert_status 200
    init stop
}

# The program takes no more requests.
is_not_served() {
    ! curl -sS --max-time 1 --unix-socket "$SOCK" \
        http://localhost/images/no-such-ticket 2>&1 | grep -q image_id
}

@test "init script: after STOP_SECONDS what runs is cut" {
    needs_root
    init_settings STOP_SECONDS=1
    start_image nobody "$(id -g nobody)"
    ln -s sock/fcgi.sock "$D/fcgi.sock"
    init start
    start_web
    hold_reader held /images/disk --max-time 60
    before=$(pids)
    run init stop
    assert_success
    is_gone "${before% }"
    release held
    [ "$http_exit" != 0 ]
    [ "$http_exit" != 28 ]
}

@test "init script: what keeps it from starting is said, and leaves nothing" {
    needs_root
    local line

    for line in IMAGEIO_FCGI_WORKERS=x IMAGEIO_FCGI_USER=no-such-user \
        "IMAGEIO_FCGI_IMAGE_ROOT=$D/nowhere" SOCKET_GROUP=no-such-group \
        "PROGRAM=$D/nothing" "IMAGEIO_FCGI_TICKET_DIR=$D/init/settings"; do
        init_settings "$line"
        run init start
        assert_failure 1
        case $line in
        *IMAGE_ROOT*) assert_output --partial "log may say why" ;;
        *GROUP*) assert_output --partial no-such-group ;;
        *) assert_output --partial "${line#*=}" ;;
        esac
        run init status
        assert_failure 3
        [ ! -e "$D/sock/fcgi.sock" ]
    done
    run init no-such-action
    assert_failure 2
}

@test "init script: a directory in /tmp that is another user's is not taken" {
    needs_root
    init_settings
    chown 12345 "$D/tickets"
    run init start
    assert_failure 1
    assert_output --partial "$D/tickets belongs to neither root nor nobody"
    rmdir "$D/tickets"
    ln -s / "$D/tickets"
    run init start
    assert_failure 1
    assert_output --partial "$D/tickets is no directory"
    rm "$D/tickets"
    run init start
    assert_success
    assert_equal "$(stat -c '%a %U:%G' "$D/tickets")" \
        "2750 root:$(id -gn nobody)"
    init stop
}

@test "init script: the socket's folder is made, but not taken from who has it" {
    needs_root
    init_settings
    run init start
    assert_success
    assert_equal "$(stat -c '%a %U:%G' "$D/sock")" "755 nobody:$(id -gn nobody)"
    init stop
    # As /run or /tmp are.
    chown 0:0 "$D/sock"
    chmod 1777 "$D/sock"
    run init start
    assert_success
    assert_equal "$(stat -c '%a %U:%G' "$D/sock")" '1777 root:root'
    init stop
}

# --- lighttpd ---------------------------------------------------------------------

@test "lighttpd's bin-path, as the example has it, starts the program and stops it" {
    [ "$WEB" = lighttpd ] || skip 'lighttpd only'
    make_disk "$D/disk" 1000003
    file_ticket image "$D/disk"
    chmod 644 "$D/tickets/image"
    # As itself, www-data if root has started it.
    install -d "$D/web/run"
    if [ "$(id -u)" = 0 ]; then
        chown www-data: "$D/web/run"
    fi
    WEB_SED="\\|\"socket\" => \"$D/fcgi.sock\"|d
        /^ \{8\}#\"socket\" =>/,/^ \{8\}#),/ s/^\( *\)#/\1/
        s|/run/lighttpd|$D/web/run|
        s|/usr/local/bin/imageio-fcgi\"|$ROOT/usr/bin/imageio-fcgi --ticket-dir $D/tickets\"|
        s|\"IMAGEIO_FCGI_LOG_TARGET\" => \"syslog\"|\"IMAGEIO_FCGI_MAX_READERS\" => \"5\"|"
    unset IMAGEIO_FCGI_USER
    start_web
    http OPTIONS /images/image
    [ "$(jq .max_readers "$http_body")" = 5 ]
    http GET /images/image
    assert_status 200
    assert_body "$D/disk"
    http GET /images/image -H 'Range: bytes=5-9'
    assert_status 206
    [ -e "$D/web/run/imageio-fcgi/locks" ]
    child=$(pgrep -P "$(cat "$D/web.pid")" -f "$ROOT/usr/bin/imageio-fcgi")
    [ "$(stat -c %U "/proc/$child")" = "$(stat -c %U "$D/web/run")" ]
    stop web
    wait_for is_gone "$child"
}
