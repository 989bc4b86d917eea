# No web server is needed.
# The package for Fedora: built from its spec file by Debian's rpmbuild, with
# stand-ins for Fedora's macros, and installed on a machine with systemd, with
# none of the packages that it requires. A test goes on where the one before has
# ended.

load ../e2e/common
load machine

SPEC=$TOP/deploy/package/imageio-fcgi.spec

setup_file() {
    local version

    start_systemd
    as_root chmod 777 "$D"
    version=$(rpmspec -q --qf '%{version}' "${MACROS[@]}" "$SPEC")
    mkdir -p "$D/rpm/SOURCES"
    (cd "$TOP" && tar cz --exclude=./build* --exclude=./.git \
        --transform "s,^\.,imageio-fcgi-$version," .) \
        >"$D/rpm/SOURCES/imageio-fcgi-$version.tar.gz"
    rpmbuild -bb --nodeps "${MACROS[@]}" -D "_topdir $D/rpm" "$SPEC" \
        >"$D/rpm.log" 2>&1 || cat "$D/rpm.log" >&2
    RPM=$(echo "$D"/rpm/RPMS/*/*.rpm)
    export RPM
    as_root cp "$RPM" "/proc/$INIT/root/package.rpm"
    # What the packages would bring that it requires.
    on_machine groupadd --system nginx
    files >"$D/before"
}

teardown_file() {
    stop_machine
}

MACROS=(--load "$BATS_TEST_DIRNAME/fedora.macros")

query() { # FORMAT
    rpm -qp --dbpath "$D/db" --qf "$1" "$RPM"
}

@test "rpmlint has no error and no warning" {
    run rpmlint --config "$BATS_TEST_DIRNAME/rpmlint.toml" \
        --rpmlintrc "${SPEC%.spec}.rpmlintrc" "$SPEC" "$RPM"
    assert_success
    assert_output --partial ' 0 errors, 0 warnings'
}

@test "it holds what the Debian package holds, but for what is Debian's" {
    diff <(dpkg-deb -c "${DEB:?}" | awk '!/^d/ { print substr($6, 2) }' |
        grep -vE '/init\.d/|/lintian/|/doc/imageio-fcgi/(changelog.Debian.gz|copyright)$' |
        sort) \
        <(query '[%{FILEMODES:octal} %{FILENAMES}\n]' |
            awk '/^100/ && !/\/licenses\// { print $2 }' | sort) >&2
}

@test "its version is the program's, and its settings are kept" {
    [ "$(query '%{VERSION}')" = "$(dpkg-deb -f "$DEB" Version | sed 's/-.*//')" ]
    query '[%{FILENAMES} %{FILEFLAGS:fflags}\n]' |
        grep -x '/etc/default/imageio-fcgi cn'
}

@test "installed and started, it listens, for nginx only" {
    on_machine rpm -i --nodeps /package.rpm
    assert_user
    on_machine systemctl start imageio-fcgi.service
    assert_running
    run on_machine stat -c '%U %G %a' /run/imageio-fcgi/fcgi.sock
    assert_output 'root nginx 660'
}

@test "upgraded, it is another process, and settings are kept" {
    local before

    before=$(program)
    on_machine sh -c 'echo IMAGEIO_FCGI_WORKERS=3 >>/etc/default/imageio-fcgi'
    on_machine rpm -U --nodeps --replacepkgs /package.rpm
    assert_running
    [ "$(program)" != "$before" ]
    on_machine grep -qx IMAGEIO_FCGI_WORKERS=3 /etc/default/imageio-fcgi
}

@test "removed, it has stopped, and nothing but its user and settings is left" {
    on_machine rpm -e imageio-fcgi
    has_stopped
    on_machine rm /etc/default/imageio-fcgi.rpmsave
    assert_left
    assert_user
}
