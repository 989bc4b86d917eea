#!/usr/bin/env bats
# POST flush: what was written becomes durable (CONTRACT 1, 6, 8).

load common

setup_file() {
    start_service
}

teardown_file() {
    stop_service
}

setup() {
    make_disk "$D/disk" $((64 * KIB))
    cp "$D/disk" "$D/before"
    start_nbdkit disk file "$D/disk"
    nbd_ticket demo disk
}

teardown() {
    stop_backends
}

@test "POST: flush sends one flush to the server" {
    post /images/demo/flush
    assert_ok '{"ok":true}'
    [ "$(commands disk Flush)" = 1 ]
    run ! has_commands disk Write
    cmp "$D/before" "$D/disk"
}

@test "POST: flush of qemu-nbd's export" {
    start_qemu_nbd qemu -f raw "$D/disk"
    nbd_ticket qemu qemu
    post /images/qemu/flush
    assert_ok '{"ok":true}'
}

@test "POST: flush takes any body for none" {
    http POST /images/demo/flush -d 'some body'
    assert_ok '{"ok":true}'
    http POST /images/demo/flush -H 'Content-Type: application/json' -d '{}'
    assert_ok '{"ok":true}'
    [ "$(commands disk Flush)" = 2 ]
}

@test "POST: flush needs no Content-Length, where the web server does not" {
    http POST /images/demo/flush
    if [ "$WEB" = nginx ]; then
        assert_ok '{"ok":true}'
    else
        # lighttpd wants one for each POST.
        assert_status 411
    fi
    fcgi POST /images/demo/flush </dev/null
    assert_json 200 '{"ok":true}'
}

@test "POST: flush of a file" {
    cp "$D/disk" "$D/image"
    file_ticket file "$D/image"
    post /images/file/flush
    assert_ok '{"ok":true}'
    cmp "$D/before" "$D/image"
}

@test "POST: flush of a file that is not there is 500" {
    file_ticket gone "$D/never"
    post /images/gone/flush
    assert_json_error 500 'backend error'
}

@test "POST: flush of an unreachable export is 500" {
    nbd_ticket nowhere nowhere
    post /images/nowhere/flush
    assert_json_error 500 'backend error'
}

@test "POST: flush where the server cannot is 400" {
    start_nbdkit noflush eval get_size='echo 5000' can_write='exit 0' \
        pread='head -c $3 /dev/zero' pwrite='cat >/dev/null' \
        can_flush='exit 3'
    nbd_ticket noflush noflush
    post /images/noflush/flush
    assert_json_error 400 'flush not supported by this image'
}

@test "POST: flush of a read-only image is 403" {
    nbd_ticket demo disk ',"read_only":true'
    post /images/demo/flush
    assert_json_error 403 'image is read-only'
    start_nbdkit ro -r file "$D/disk"
    nbd_ticket ro ro
    post /images/ro/flush
    assert_json_error 403 'image is read-only'
    cp "$D/disk" "$D/image"
    file_ticket file "$D/image" ',"read_only":true'
    post /images/file/flush
    assert_json_error 403 'image is read-only'
    run ! has_commands disk Flush
}
