# No web server is needed.
# The package on a machine without systemd: a test goes on where the one before
# has ended.

load ../e2e/common
load machine

setup_file() {
    start_machine sh -c 'while :; do sleep 1000; done'
}

teardown_file() {
    stop_machine
}

@test "installed, it has a user, and runs" {
    on_machine dpkg -i $PACKAGE
    assert_user
    assert_running
    on_machine service imageio-fcgi status
}

@test "images are served behind lighttpd, with the installed example" {
    export_disk 1048576
    start_web_server lighttpd \
        -f /usr/share/doc/imageio-fcgi/lighttpd.conf.example
    transfer
    run on_machine imageio-fcgi-ctl list
    assert_output --partial disk
    remove_disk
    run on_machine curl -s -o /dev/null -w '%{http_code}' "$URL/disk"
    assert_output 404
    on_machine sh -c 'kill $(pidof lighttpd)'
}

@test "tests/run --installed tests what is installed" {
    # Which is nowhere else in there.
    on_machine sh -c 'rm -rf /usr/local/bin/imageio-fcgi*'
    run on_machine /run/source/tests/run --installed routes
    assert_success
    assert_line --regexp '^installed nginx routes +[1-9][0-9]* passed, 0 failed'
    assert_line --regexp '^installed lighttpd routes +[1-9][0-9]* passed, 0 failed'
}

@test "upgraded, it is another process, and settings are kept" {
    local before

    before=$(program)
    on_machine sh -c 'echo IMAGEIO_FCGI_WORKERS=3 >>/etc/default/imageio-fcgi'
    on_machine dpkg -i $PACKAGE
    assert_running
    [ "$(program)" != "$before" ]
    on_machine grep -qx IMAGEIO_FCGI_WORKERS=3 /etc/default/imageio-fcgi
    has_workers 3
}

has_workers() { # COUNT: threads, beside the one that accepts
    [ "$(on_machine ps -o nlwp= -p "$(program)")" -gt "$1" ]
}

@test "removed, it has stopped, and nothing but configuration is left" {
    on_machine dpkg -r imageio-fcgi
    has_stopped
    assert_left "${CONFIGURATION[@]}"
    # As that goes on to be called at boot.
    on_machine test ! -x /etc/init.d/imageio-fcgi
}

@test "installed again, it runs as it was configured" {
    on_machine dpkg -i $PACKAGE
    assert_running
    on_machine grep -qx IMAGEIO_FCGI_WORKERS=3 /etc/default/imageio-fcgi
}

@test "purged, it leaves nothing but its user" {
    on_machine dpkg -P imageio-fcgi
    has_stopped
    assert_left
    assert_user
}

@test "without systemd-sysusers and systemd-tmpfiles it is installed and removed as well" {
    on_machine userdel imageio
    on_machine sh -c 'rm /usr/bin/systemd-sysusers /usr/bin/systemd-tmpfiles'
    on_machine dpkg -i $PACKAGE
    assert_user
    assert_running
    on_machine dpkg -P imageio-fcgi
    has_stopped
    run ! on_machine test -e /tmp/imagetransfer
}

@test "tickets of others stay when it is removed" {
    on_machine dpkg -i $PACKAGE
    on_machine imageio-fcgi-ctl add theirs --file /srv/theirs
    on_machine dpkg -P imageio-fcgi
    on_machine test -s /tmp/imagetransfer/theirs
}
