#!/usr/bin/env bats
# What OPTIONS says of each kind of image (CONTRACT 3).

load common

setup_file() {
    start_service
}

teardown_file() {
    stop_service
}

teardown() {
    stop_backends
}

# assert_options METHODS FEATURES MAX_WRITERS
assert_options() {
    http OPTIONS /images/demo
    assert_json 200 \
        "{\"unix_socket\":null,\"features\":$2,\"max_readers\":8,\"max_writers\":$3}"
    assert_common_headers "$1"
    assert_header Allow "$1"
}

ALL='GET, HEAD, PUT, PATCH, POST, OPTIONS'
READ='GET, HEAD, OPTIONS'
FILE='GET, HEAD, PUT, POST, OPTIONS'

@test "OPTIONS: a writable export has extents, zero and flush" {
    start_nbdkit disk memory 1M
    nbd_ticket demo disk
    assert_options "$ALL" '["extents","zero","flush"]' 1
}

@test "OPTIONS: qemu-nbd's export has extents, zero and flush" {
    truncate -s 1M "$D/disk"
    start_qemu_nbd disk -f raw "$D/disk"
    nbd_ticket demo disk
    assert_options "$ALL" '["extents","zero","flush"]' 1
}

@test "OPTIONS: no flush where the server cannot flush" {
    start_nbdkit disk eval get_size='echo 1M' can_write='exit 0' \
        pwrite='cat >/dev/null' pread='head -c $3 /dev/zero' \
        can_flush='exit 3'
    nbd_ticket demo disk
    assert_options "$ALL" '["extents","zero"]' 1
}

@test "OPTIONS: zero even where the server has no WRITE_ZEROES" {
    start_nbdkit disk --filter=nozero memory 1M
    nbd_ticket demo disk
    assert_options "$ALL" '["extents","zero","flush"]' 1
}

@test "OPTIONS: a read-only export can only be read" {
    start_nbdkit disk -r memory 1M
    nbd_ticket demo disk
    assert_options "$READ" '["extents"]' 0
}

@test "OPTIONS: a read-only ticket can only be read" {
    start_nbdkit disk memory 1M
    nbd_ticket demo disk ',"read_only":true'
    assert_options "$READ" '["extents"]' 0
}

@test "OPTIONS: an unreachable export counts as able to do all" {
    nbd_ticket demo nowhere
    assert_options "$ALL" '["extents","zero","flush"]' 1
}

@test "OPTIONS: an unreachable export with a read-only ticket can be read" {
    nbd_ticket demo nowhere ',"read_only":true'
    assert_options "$READ" '["extents"]' 0
}

@test "OPTIONS: an export that the server does not have counts as unreachable" {
    truncate -s 1M "$D/disk"
    start_qemu_nbd disk -f raw -x present "$D/disk"
    nbd_ticket demo disk ',"export":"absent"'
    assert_options "$ALL" '["extents","zero","flush"]' 1
}

@test "OPTIONS: a file can be read, replaced and flushed" {
    make_disk "$D/image" 1000
    file_ticket demo "$D/image"
    assert_options "$FILE" '["flush"]' 1
}

@test "OPTIONS: a file with a read-only ticket can only be read" {
    make_disk "$D/image" 1000
    file_ticket demo "$D/image" ',"read_only":true'
    assert_options "$READ" '[]' 0
}

@test "OPTIONS: a file that is not there yet can be put" {
    file_ticket demo "$D/new"
    assert_options "$FILE" '["flush"]' 1
}

@test "OPTIONS: an unknown image is 404" {
    http OPTIONS /images/unknown
    assert_json 404 '{"error":"unknown image_id"}'
    assert_header Accept-Ranges bytes
    has_header Access-Control-Allow-Methods
}
