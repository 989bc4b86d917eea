# No web server is needed.
# The package on a machine whose process 1 is systemd: a test goes on where the
# one before has ended.

load ../e2e/common
load machine

setup_file() {
    start_systemd
}

teardown_file() {
    stop_machine
}

is_active() { # UNIT
    on_machine systemctl is-active "imageio-fcgi.$1"
}

state() { # UNIT PROPERTY
    on_machine systemctl show --value -P "$2" "imageio-fcgi.$1"
}

@test "installed, it has a user, its units are enabled, and it runs" {
    on_machine dpkg -i $PACKAGE
    assert_user
    is_active socket
    is_active service
    [ "$(state socket UnitFileState)" = enabled ]
    [ "$(state service UnitFileState)" = enabled ]
    assert_running
    run on_machine stat -c '%U %G %a' /run/imageio-fcgi/fcgi.sock
    assert_output 'root www-data 660'
}

@test "images are served behind nginx, with the installed example" {
    export_disk $((64 * MIB)) # more than all buffers hold
    start_web_server nginx -c /usr/share/doc/imageio-fcgi/nginx.conf.example
    transfer
}

@test "the page and the numbers are served, too" {
    local file

    run on_machine curl -fsS "${URL%images}status"
    assert_output --partial '"transfers":[]'
    run on_machine curl -fsS "${URL%images}metrics"
    assert_output --partial 'imageio_'
    on_machine test -s /usr/share/imageio-fcgi/www/index.html
    for file in $(on_machine ls /usr/share/imageio-fcgi/www); do
        on_machine sh -c "curl -fsS ${URL%images}transfers/$file |
            cmp - /usr/share/imageio-fcgi/www/$file"
    done
}

@test "stopped, it is started by the next request" {
    on_machine systemctl stop imageio-fcgi.service
    is_active socket
    has_stopped
    transfer
    is_active service
}

@test "upgraded, it does not wait for a transfer, nor end it" {
    local before

    before=$(program)
    hold_transfer
    on_machine timeout 120 dpkg -i $PACKAGE
    [ "$(state service SubState)" != running ] # but finishes what runs
    [ "$(program)" = "$before" ]
    release_transfer
    on_machine cmp /srv/held.out /srv/disk
    wait_for is_active service
    [ "$(program)" != "$before" ]
    transfer
}

# hold_transfer, release_transfer: a client that reads no more after the head.
hold_transfer() {
    on_machine mkfifo /srv/held /srv/go
    supervise client on_machine curl -fsS -D /srv/head -o /srv/held "$URL/disk"
    supervise reader on_machine sh -c \
        'exec 3</srv/held && read -r _ </srv/go; exec cat <&3 >/srv/held.out'
    wait_for on_machine test -s /srv/head
}

release_transfer() {
    on_machine sh -c 'echo >/srv/go'
    wait_for test -e "$D/reader.status"
    wait_for test -e "$D/client.status"
    [ "$(cat "$D/client.status")" = 0 ]
}

@test "upgraded, what was disabled stays so" {
    on_machine systemctl disable --now imageio-fcgi.service imageio-fcgi.socket
    on_machine dpkg -i $PACKAGE
    [ "$(state socket UnitFileState)" = disabled ]
    [ "$(state service UnitFileState)" = disabled ]
    has_stopped
    on_machine systemctl enable --now imageio-fcgi.service
    is_active socket
    assert_running
    remove_disk
    on_machine sh -c 'kill $(pidof nginx)'
}

@test "removed, it has stopped, and nothing but configuration is left" {
    on_machine dpkg -r imageio-fcgi
    has_stopped
    [ "$(state socket LoadState)" = not-found ]
    assert_left "${CONFIGURATION[@]}"
}

@test "purged, it leaves nothing but its user" {
    on_machine dpkg -P imageio-fcgi
    assert_left
    assert_user
}
