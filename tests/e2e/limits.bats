#!/usr/bin/env bats
# Reader and writer slots and image locks, over four processes (CONTRACT 8).

load common

setup_file() {
    start_service_of 4
}

teardown_file() {
    stop_service
}

setup() {
    make_disk "$D/disk" $((8 * MIB))
    cp "$D/disk" "$D/before"
    truncate -s 256M "$D/large"
    start_nbdkit a file "$D/disk"
    nbd_ticket a a
    start_nbdkit b memory 64K
    nbd_ticket b b
    start_nbdkit large file "$D/large"
    nbd_ticket large large
    make_disk "$D/small" $((64 * KIB))
    make_disk "$D/new" $((8 * MIB))
}

teardown() {
    stop_backends
}

# A writer of image a that has begun to write, and has 1 MiB yet to send.
hold_a() {
    hold_writer w /images/a "$D/new" $((7 * MIB))
    wait_for has_commands a Write
}

hold_readers() { # COUNT
    local i

    for ((i = 1; i <= $1; i++)); do
        hold_reader $i /images/large
        [ "$(held_status $i)" = 200 ]
    done
}

reads() { # PATH
    http GET "$1" && assert_status 200
}

@test "GET: eight readers at once over all processes, the ninth is 503" {
    local i

    hold_readers 8
    for i in 1 2 3 4 5 6 7 8; do
        http GET /images/a -H 'Range: bytes=0-0'
        assert_json_error 503 'too many parallel reads'
    done
    for i in 1 2 3 4 5 6 7 8; do
        release $i
        assert_status 200
        assert_body "$D/large"
    done
    reads /images/a
}

@test "HEAD, OPTIONS, PUT, POST, GET extents: need no reader slot" {
    hold_readers 8
    http HEAD /images/a
    assert_status 200
    http HEAD /images/a -H 'Range: bytes=0-9'
    assert_status 206
    http OPTIONS /images/a
    assert_status 200
    http GET /images/large/extents
    assert_status 200
    post /images/large/flush
    assert_ok '{"ok":true}'
    put /images/b "$D/small"
    assert_ok '{"ok":true,"bytes_written":65536,"flushed":false}'
    json /images/b '{"op":"zero","size":65536}'
    assert_ok '{"ok":true}'
    # Slots are not what a bad request is refused for.
    http GET /images/a -H 'Range: bytes=x'
    assert_json_error 400 'invalid Range header'
}

@test "GET: eight readers beside a writer" {
    hold_a
    hold_readers 8
    http GET /images/b
    assert_json_error 503 'too many parallel reads'
    release w
    assert_ok '{"ok":true,"bytes_written":8388608,"flushed":false}'
    cmp "$D/new" "$D/disk"
}

@test "GET: a reader that vanishes gives its slot back" {
    hold_readers 8
    http_kill 5
    wait_for reads /images/b
}

@test "GET: a reader may read what a writer has locked" {
    hold_a
    http GET /images/a -H 'Range: bytes=8388600-8388607'
    assert_status 206
    assert_body <(bytes "$D/before" 8388600 8)
    release w
    assert_status 200
}

@test "PUT, PATCH, POST, GET extents: an image that a writer has is 409" {
    hold_a
    put /images/a "$D/new"
    assert_json_error 409 'image busy'
    put /images/a "$D/small" -H 'Content-Range: bytes 0-65535/*'
    assert_json_error 409 'image busy'
    patch /images/a "$D/small" bytes=0-65535
    assert_json_error 409 'image busy'
    json /images/a '{"op":"zero","size":1}'
    assert_json_error 409 'image busy'
    json /images/a '{"op":"flush"}'
    assert_json_error 409 'image busy'
    post /images/a/flush
    assert_json_error 409 'image busy'
    http GET /images/a/extents
    assert_json_error 409 'image busy'
    release w
    assert_ok '{"ok":true,"bytes_written":8388608,"flushed":false}'
    cmp "$D/new" "$D/disk"
    http GET /images/a/extents
    assert_status 200
}

@test "PUT: a second writer of another image is 503" {
    hold_a
    put /images/b "$D/small"
    assert_json_error 503 'too many parallel writes'
    patch /images/b "$D/small" bytes=0-65535
    assert_json_error 503 'too many parallel writes'
    json /images/b '{"op":"zero","size":1}'
    assert_json_error 503 'too many parallel writes'
    run ! has_commands b Write
    run ! has_commands b Zero
    release w
    assert_status 200
    put /images/b "$D/small"
    assert_status 200
}

@test "POST, GET extents: other images may be flushed and mapped beside a writer" {
    hold_a
    post /images/b/flush
    assert_ok '{"ok":true}'
    http GET /images/b/extents
    assert_status 200
    release w
    assert_status 200
}

@test "PUT: a bad request is refused for what it is, not for the lock" {
    hold_a
    put '/images/a?flush=x' "$D/new"
    assert_json_error 400 'invalid flush value; use y or n'
    json /images/a '{"op":"trim"}'
    assert_json_error 400 'unsupported op; only "zero" and "flush" are supported'
    http DELETE /images/a -d ''
    assert_json_error 405 'method not allowed'
    # Whether the size fits is known only behind the lock.
    put /images/a "$D/small"
    assert_json_error 409 'image busy'
    release w
    assert_status 200
}

@test "PUT: a writer that vanishes gives back its slot and its lock" {
    hold_a
    http_kill w
    wait_for writes /images/b
    put /images/a "$D/new"
    assert_status 200
    cmp "$D/new" "$D/disk"
}

writes() { # PATH
    put "$1" "$D/small" && assert_status 200
}

@test "PUT: two tickets of one export exclude each other" {
    nbd_ticket again a
    nbd_ticket null a ',"export":null'
    hold_a
    put /images/again "$D/new"
    assert_json_error 409 'image busy'
    put /images/null "$D/new"
    assert_json_error 409 'image busy'
    post /images/again/flush
    assert_json_error 409 'image busy'
    release w
    assert_status 200
}

@test "PUT: another export of the same server is another image" {
    # nbdkit-file-plugin serves a folder: its exports are the files in it.
    mkdir -p "$D/exports"
    cp "$D/before" "$D/exports/one"
    cp "$D/small" "$D/exports/two"
    start_nbdkit many file dir="$D/exports"
    nbd_ticket one many ',"export":"one"'
    nbd_ticket two many ',"export":"two"'
    hold_writer one /images/one "$D/new" $((7 * MIB))
    wait_for has_commands many Write
    post /images/two/flush
    assert_ok '{"ok":true}'
    post /images/one/flush
    assert_json_error 409 'image busy'
    release one
    assert_status 200
    cmp "$D/new" "$D/exports/one"
}

@test "PUT: two tickets of one file exclude each other, by any path" {
    mkdir -p "$D/folder"
    cp "$D/before" "$D/folder/image"
    ln -sf image "$D/folder/link"
    file_ticket one "$D/folder/image"
    file_ticket two "$D/folder/../folder//image"
    file_ticket link "$D/folder/link"
    file_ticket other "$D/folder/other"
    hold_locked one /images/one "$D/new" $((7 * MIB))
    put /images/two "$D/small"
    assert_json_error 409 'image busy'
    put /images/link "$D/small"
    assert_json_error 409 'image busy'
    post /images/two/flush
    assert_json_error 409 'image busy'
    put /images/other "$D/small"
    assert_json_error 503 'too many parallel writes'
    release one
    assert_status 200
    cmp "$D/new" "$D/folder/image"
}

@test "PUT: a file that is not there yet is locked by its writer too" {
    mkdir -p "$D/fresh"
    rm -f "$D/fresh/image"
    file_ticket one "$D/fresh/image"
    file_ticket two "$D/fresh/./image"
    hold_locked one /images/one "$D/new" $((7 * MIB))
    put /images/two "$D/small"
    assert_json_error 409 'image busy'
    http GET /images/one
    assert_json_error 500 'backend error'
    release one
    assert_status 200
    cmp "$D/new" "$D/fresh/image"
}

@test "POST, GET extents: share the image, and keep writers out" {
    local blocked="until [ -e $D/go ]; do sleep 0.05; done"

    rm -f "$D/go"
    start_nbdkit slow eval thread_model='echo parallel' get_size='echo 64K' \
        pread='head -c $3 /dev/zero' pwrite='cat >/dev/null' \
        can_write='exit 0' can_extents='exit 0' \
        extents='echo "0 64K zero"' can_flush='exit 0' flush="$blocked"
    nbd_ticket slow slow
    http_start f1 POST /images/slow/flush -d ''
    http_start f2 POST /images/slow/flush -d ''
    wait_for has_two_flushes
    http GET /images/slow/extents
    assert_status 200
    assert_body <(printf '[{"start":0,"length":65536,"zero":true}]')
    reads /images/slow
    put /images/slow "$D/small"
    assert_json_error 409 'image busy'
    json /images/slow '{"op":"zero","size":1}'
    assert_json_error 409 'image busy'
    : >"$D/go"
    http_wait f1
    assert_ok '{"ok":true}'
    http_wait f2
    assert_ok '{"ok":true}'
    put /images/slow "$D/small"
    assert_status 200
}

has_two_flushes() {
    [ "$(commands slow Flush)" = 2 ]
}

@test "GET extents: two at once share the image, and keep writers out" {
    rm -f "$D/go"
    start_nbdkit slow eval thread_model='echo parallel' get_size='echo 64K' \
        pread='head -c $3 /dev/zero' pwrite='cat >/dev/null' \
        can_write='exit 0' can_extents='exit 0' can_flush='exit 0' \
        flush='exit 0' extents="
            until [ -e $D/go ]; do sleep 0.05; done
            echo '0 64K zero'"
    nbd_ticket slow slow
    http_start e1 GET /images/slow/extents
    http_start e2 GET /images/slow/extents
    wait_for has_two_extents
    put /images/slow "$D/small"
    assert_json_error 409 'image busy'
    post /images/slow/flush
    assert_ok '{"ok":true}'
    : >"$D/go"
    http_wait e1
    assert_status 200
    assert_body <(printf '[{"start":0,"length":65536,"zero":true}]')
    http_wait e2
    assert_status 200
    assert_body <(printf '[{"start":0,"length":65536,"zero":true}]')
    put /images/slow "$D/small"
    assert_status 200
}

has_two_extents() {
    [ "$(commands slow Extents)" = 2 ]
}

@test "PUT: requests that go on at once are never busy by their forerunners" {
    local i

    # Fresh connections, whichever of the four processes takes them.
    for i in {1..40}; do
        put /images/b "$D/small"
        assert_status 200
        http GET /images/b/extents
        assert_status 200
        patch /images/b "$D/small" bytes=0-65535
        assert_status 200
        post /images/b/flush
        assert_status 200
        json /images/b '{"op":"zero","size":4096}'
        assert_status 200
    done
}
