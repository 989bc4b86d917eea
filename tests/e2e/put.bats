#!/usr/bin/env bats
# PUT to an NBD export, the whole image and a part of it (CONTRACT 5).

load common

SIZE=1000001

setup_file() {
    start_service
}

teardown_file() {
    stop_service
}

setup() {
    make_disk "$D/disk" $SIZE
    cp "$D/disk" "$D/before"
    make_disk "$D/new" $SIZE
    make_disk "$D/part" 5000
    start_nbdkit disk file "$D/disk"
    nbd_ticket demo disk
    cp "$D/disk" "$D/image"
    file_ticket file "$D/image"
}

teardown() {
    stop_backends
}

assert_untouched() {
    run ! has_commands disk Write
    run ! has_commands disk Zero
    cmp "$D/before" "$D/disk"
}

# The server was told to make it durable: by a flush, or by every write.
is_durable() {
    has_commands disk Flush || has_line "$D/disk.nbdlog" 'Write .* fua=1 '
}

@test "PUT: replaces the whole image" {
    put /images/demo "$D/new"
    assert_ok "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":false}"
    cmp "$D/new" "$D/disk"
    run ! is_durable
}

@test "PUT: an image of many buffers arrives whole and in order" {
    make_disk "$D/large" 70000003
    truncate -s 70000003 "$D/target"
    start_nbdkit large file "$D/target"
    nbd_ticket large large
    put /images/large "$D/large"
    assert_ok '{"ok":true,"bytes_written":70000003,"flushed":false}'
    cmp "$D/large" "$D/target"
}

@test "PUT: a body that comes in drops arrives whole" {
    hold_writer slow /images/demo "$D/new" 10
    release slow
    assert_ok "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":false}"
    cmp "$D/new" "$D/disk"
}

@test "PUT: goes to the export of the ticket's name" {
    truncate -s 128K "$D/named"
    make_disk "$D/small" 131072
    start_qemu_nbd named -f raw -x vda "$D/named"
    nbd_ticket named named ',"export":"vda"'
    put '/images/named?flush=y' "$D/small"
    assert_ok '{"ok":true,"bytes_written":131072,"flushed":true}'
    cmp "$D/small" "$D/named"
}

@test "PUT: an image of no bytes takes no bytes" {
    start_nbdkit empty memory 0
    nbd_ticket empty empty
    http PUT /images/empty -d ''
    assert_ok '{"ok":true,"bytes_written":0,"flushed":false}'
}

@test "PUT: flush=y makes the data durable before the answer" {
    put '/images/demo?flush=y' "$D/new"
    assert_ok "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":true}"
    cmp "$D/new" "$D/disk"
    is_durable
}

@test "PUT: flush=n does not flush" {
    put '/images/demo?flush=n' "$D/new"
    assert_ok "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":false}"
    cmp "$D/new" "$D/disk"
    run ! is_durable
}

@test "PUT: other query parameters do not matter" {
    put '/images/demo?close=y&flush=y&x' "$D/new"
    assert_ok "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":true}"
    is_durable
}

@test "PUT: another flush value is 400 and writes nothing" {
    local value

    for value in maybe 1 true Y yes N; do
        put "/images/demo?flush=$value" "$D/new"
        assert_json_error 400 'invalid flush value; use y or n'
    done
    put '/images/demo?flush=' "$D/new"
    assert_json_error 400 'invalid flush value; use y or n'
    put '/images/demo?flush=maybe' "$D/part" -H 'Content-Range: bytes 0-4999/*'
    assert_json_error 400 'invalid flush value; use y or n'
    put '/images/file?flush=maybe' "$D/part"
    assert_json_error 400 'invalid flush value; use y or n'
    cmp "$D/before" "$D/image"
    assert_untouched
}

@test "PUT: flush=y where the server cannot flush is 400 and writes nothing" {
    start_nbdkit noflush eval get_size='echo 5000' can_write='exit 0' \
        pread='head -c $3 /dev/zero' pwrite='cat >/dev/null' \
        can_flush='exit 3'
    nbd_ticket noflush noflush
    put '/images/noflush?flush=y' "$D/part"
    assert_json_error 400 'flush not supported by this image'
    put '/images/noflush?flush=y' "$D/part" \
        -H 'Content-Range: bytes 0-4999/*'
    assert_json_error 400 'flush not supported by this image'
    run ! has_commands noflush Write
    put '/images/noflush?flush=n' "$D/part"
    assert_ok '{"ok":true,"bytes_written":5000,"flushed":false}'
    has_commands noflush Write
}

@test "PUT: a Range header is 400" {
    put /images/demo "$D/new" -H 'Range: bytes=0-9'
    assert_json_error 400 \
        'Range header not supported for PUT; use Content-Range or PATCH'
    put /images/demo "$D/new" -H 'Range: nonsense'
    assert_json_error 400 \
        'Range header not supported for PUT; use Content-Range or PATCH'
    put /images/file "$D/new" -H 'Range: bytes=0-9'
    assert_json_error 400 \
        'Range header not supported for PUT; use Content-Range or PATCH'
    assert_untouched
    cmp "$D/before" "$D/image"
}

@test "PUT: a chunked body is refused" {
    http PUT /images/demo -H 'Transfer-Encoding: chunked' -T "$D/new"
    if [ "$WEB" = nginx ]; then
        assert_json_error 400 'Content-Length required'
    else
        # lighttpd with streaming refuses it by itself.
        assert_status 411
    fi
    assert_untouched
}

@test "PUT: no body and no Content-Length is refused" {
    # Not taken for an empty body, though lighttpd then says "0".
    http PUT /images/demo
    assert_json_error 400 'Content-Length required'
    http PUT /images/file
    assert_json_error 400 'Content-Length required'
    assert_untouched
    cmp "$D/before" "$D/image"
}

@test "PUT: no Content-Length is 400, whatever the web server" {
    fcgi PUT /images/demo </dev/null
    assert_json 400 '{"error":"Content-Length required"}'
    fcgi PUT /images/demo CONTENT_LENGTH= </dev/null
    assert_json 400 '{"error":"Content-Length required"}'
    fcgi PUT /images/file CONTENT_LENGTH= </dev/null
    assert_json 400 '{"error":"Content-Length required"}'
    assert_untouched
    cmp "$D/before" "$D/image"
}

@test "PUT: a Content-Length that is no number from 0 is 400" {
    local length

    for length in -1 +5 abc 1.5 0x10 '1 2' 1_0 5,5; do
        fcgi PUT /images/demo CONTENT_LENGTH="$length" </dev/null
        assert_json 400 '{"error":"Invalid Content-Length"}'
        fcgi PUT /images/file CONTENT_LENGTH="$length" </dev/null
        assert_json 400 '{"error":"Invalid Content-Length"}'
    done
    assert_untouched
    cmp "$D/before" "$D/image"
}

@test "PUT: a length other than the image's is 400, and nothing is written" {
    put /images/demo "$D/part"
    assert_json_error 400 "Content-Length (5000) must equal image size ($SIZE)"
    { cat "$D/new" && echo; } >"$D/longer"
    put /images/demo "$D/longer"
    assert_json_error 400 \
        "Content-Length ($((SIZE + 1))) must equal image size ($SIZE)"
    http PUT /images/demo -d ''
    assert_json_error 400 "Content-Length (0) must equal image size ($SIZE)"
    assert_untouched
}

@test "PUT: a body shorter than announced is 400" {
    fcgi PUT /images/demo CONTENT_LENGTH=$SIZE <"$D/part"
    assert_json 400 '{"error":"request body ended early at 5000 bytes"}'
    fcgi PUT /images/demo CONTENT_LENGTH=$SIZE </dev/null
    assert_json 400 '{"error":"request body ended early at 0 bytes"}'
    fcgi PUT /images/demo CONTENT_LENGTH=6000 \
        HTTP_CONTENT_RANGE='bytes 0-5999/*' <"$D/part"
    assert_json 400 '{"error":"request body ended early at 5000 bytes"}'
}

@test "PUT: a client that vanishes leaves the image free for the next" {
    hold_writer gone /images/demo "$D/new" 500000
    wait_for has_line "$D/disk.nbdlog" ' Connect '
    http_kill gone
    wait_for put_succeeds
    cmp "$D/new" "$D/disk"
}

put_succeeds() {
    put /images/demo "$D/new" && assert_status 200
}

@test "PUT: an early refusal reaches a client that is still sending" {
    local i

    truncate -s 64M "$D/much"
    for i in 1 2 3 4 5; do
        put /images/demo "$D/much" -H 'Expect:'
        assert_json_error 400 \
            "Content-Length (67108864) must equal image size ($SIZE)"
        put /images/demo "$D/much"
        assert_json_error 400 \
            "Content-Length (67108864) must equal image size ($SIZE)"
        put /images/unknown "$D/much" -H 'Expect:'
        assert_json_error 404 'unknown image_id'
    done
    assert_untouched
}

@test "PUT: a server that takes only small requests is written in small ones" {
    start_nbdkit small --filter=blocksize-policy file "$D/disk" \
        blocksize-minimum=1 blocksize-preferred=4096 \
        blocksize-maximum=64K blocksize-error-policy=error
    nbd_ticket small small
    put /images/small "$D/new"
    assert_ok "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":false}"
    cmp "$D/new" "$D/disk"
}

@test "PUT: a read-only export or ticket is 403" {
    start_nbdkit ro -r file "$D/disk"
    nbd_ticket ro ro
    put /images/ro "$D/new"
    assert_json_error 403 'image is read-only'
    put /images/ro "$D/part" -H 'Content-Range: bytes 0-4999/*'
    assert_json_error 403 'image is read-only'
    nbd_ticket demo disk ',"read_only":true'
    put /images/demo "$D/new"
    assert_json_error 403 'image is read-only'
    put /images/demo "$D/part" -H 'Content-Range: bytes 0-4999/*'
    assert_json_error 403 'image is read-only'
    file_ticket file "$D/image" ',"read_only":true'
    put /images/file "$D/new"
    assert_json_error 403 'image is read-only'
    assert_untouched
    cmp "$D/before" "$D/image"
}

# assert_part OFFSET CONTENT_RANGE: the 5000 bytes of $D/part land there.
assert_part() {
    put /images/demo "$D/part" -H "Content-Range: $2"
    assert_ok '{"ok":true,"bytes_written":5000,"flushed":false}'
    dd if="$D/part" of="$D/before" bs=5000 seek="$1" oflag=seek_bytes \
        conv=notrunc status=none
    cmp "$D/before" "$D/disk"
    make_disk "$D/part" 5000
}

@test "PUT: each form of Content-Range writes its part and no other byte" {
    assert_part 0 'bytes 0-4999/*'
    assert_part 777 'bytes 777-5776/*'
    assert_part 100000 "bytes 100000-104999/$SIZE"
    assert_part 200001 'bytes 200001-*/*'
    assert_part $((SIZE - 5000)) "bytes $((SIZE - 5000))-$((SIZE - 1))/*"
    assert_part $((SIZE - 5000)) "bytes $((SIZE - 5000))-*/*"
    run ! is_durable
}

@test "PUT: a total in Content-Range that is not the image's is accepted" {
    assert_part 0 'bytes 0-4999/5000'
    assert_part 10000 'bytes 10000-14999/99999999'
}

@test "PUT: a part with flush=y is durable before the answer" {
    put '/images/demo?flush=y' "$D/part" -H 'Content-Range: bytes 9-5008/*'
    assert_ok '{"ok":true,"bytes_written":5000,"flushed":true}'
    is_durable
    cmp "$D/part" <(bytes "$D/disk" 9 5000)
}

@test "PUT: a Content-Range of another length than the body is 400" {
    put /images/demo "$D/part" -H 'Content-Range: bytes 0-4998/*'
    assert_json_error 400 'Content-Length (5000) must equal range length (4999)'
    put /images/demo "$D/part" -H 'Content-Range: bytes 100-9999/*'
    assert_json_error 400 'Content-Length (5000) must equal range length (9900)'
    assert_untouched
}

@test "PUT: a malformed Content-Range is 400" {
    local range

    for range in 'bytes=0-4999/*' 'bytes 0-4999' 'bytes 0-4999/' 'bytes 0-/*' \
        'bytes -4999/*' 'bytes */5000' 'bytes 0-4999/x' 'bytes a-b/*' \
        'items 0-4999/*' '0-4999/*' 'bytes +0-4999/*' 'bytes 0-4999/* x' \
        'bytes 0 - 4999/*' 'bytes 4999-0/*' 'bytes' 'x' \
        'bytes 0-4999,5000-9999/*' 'bytes 0x0-0x1387/*' 'bytes *-4999/*' \
        'bytes 0-4999/-1'; do
        put /images/demo "$D/part" -H "Content-Range: $range"
        assert_json_error 400 'invalid Content-Range header'
    done
    assert_untouched
}

@test "PUT: a part that ends past the end is 416, and nothing is written" {
    local range

    for range in "bytes $((SIZE - 4999))-$SIZE/*" \
        "bytes $((SIZE - 4999))-$SIZE/$((SIZE + 1))" \
        "bytes $((SIZE - 4999))-*/*" "bytes $SIZE-*/*" \
        "bytes $SIZE-$((SIZE + 4999))/*" \
        'bytes 18446744073709546616-18446744073709551615/*'; do
        put /images/demo "$D/part" -H "Content-Range: $range"
        assert_json_error 416 'range not satisfiable'
        assert_header Content-Range "bytes */$SIZE"
    done
    assert_untouched
}

@test "PUT: a Content-Range for a file is 400" {
    put /images/file "$D/part" -H 'Content-Range: bytes 0-4999/*'
    assert_json_error 400 \
        'Content-Range PUT not supported for file backend; use full PUT'
    put /images/file "$D/part" -H 'Content-Range: nonsense'
    assert_json_error 400 \
        'Content-Range PUT not supported for file backend; use full PUT'
    cmp "$D/before" "$D/image"
}

@test "PUT: a part without Content-Length is 400" {
    fcgi PUT /images/demo HTTP_CONTENT_RANGE='bytes 0-4999/*' <"$D/part"
    assert_json 400 '{"error":"Content-Length required"}'
    assert_untouched
}
