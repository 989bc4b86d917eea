#!/usr/bin/env bats
# The bytes of an image, whole and in ranges (CONTRACT 4). The table of ranges
# is tried on both backends.

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
    start_nbdkit disk file "$D/disk"
    nbd_ticket nbd disk
    file_ticket file "$D/disk"
}

teardown() {
    stop_backends
}

# assert_range PATH RANGE START END: 206 with these bytes, both included.
assert_range() {
    local length=$(($4 - $3 + 1))

    http GET "$1" -H "Range: $2"
    assert_status 206
    assert_header Content-Range "bytes $3-$4/$SIZE"
    assert_header Content-Length $length
    assert_header Content-Type application/octet-stream
    assert_common_headers
    bytes "$D/disk" "$3" $length >"$D/part"
    assert_body "$D/part"
}

assert_good_ranges() { # PATH
    local last=$((SIZE - 1))

    assert_range "$1" bytes=0-0 0 0
    assert_range "$1" bytes=0-499 0 499
    assert_range "$1" bytes=500-70000 500 70000
    assert_range "$1" bytes=1- 1 $last
    assert_range "$1" bytes=0- 0 $last
    assert_range "$1" bytes=$last- $last $last
    assert_range "$1" bytes=$last-$last $last $last
    assert_range "$1" bytes=-1 $last $last
    assert_range "$1" bytes=-300000 $((SIZE - 300000)) $last
    assert_range "$1" bytes=0000-0000009 0 9
    # Past the end is cut to the end.
    assert_range "$1" bytes=999990-$SIZE 999990 $last
    assert_range "$1" bytes=999990-5000000000000 999990 $last
    assert_range "$1" bytes=10-99999999999999999999999999 10 $last
    # A suffix longer than the image is the whole image, still 206.
    assert_range "$1" bytes=-$SIZE 0 $last
    assert_range "$1" bytes=-99999999 0 $last
    assert_range "$1" bytes=-99999999999999999999999999 0 $last
    # Spaces around the whole value.
    assert_range "$1" '   bytes=7-8   ' 7 8
}

assert_malformed_ranges() { # PATH
    local range

    for range in items=0-1 bytes=0-1,3-4 'bytes=0-1,' bytes= bytes=- bytes=-0 \
        bytes=-000 bytes=a-b bytes=0-b bytes=a-1 bytes=+1-5 bytes=1-+5 \
        'bytes= 0-1' 'bytes=0 -1' 'bytes=0- 1' 'bytes =0-1' bytes=0-1x \
        bytes bytes0-1 0-1 bytes=1-2-3 bytes=0x1-0x2 bytes=--1 bytes=1.0-2 \
        bytes=5 bytes=1_0-20 'bytes=٣-٤'; do
        http GET "$1" -H "Range: $range"
        assert_json_error 400 'invalid Range header'
    done
}

assert_unsatisfiable_ranges() { # PATH
    local range

    for range in bytes=$SIZE- bytes=$SIZE-$SIZE bytes=9999999- bytes=5-4 \
        bytes=$SIZE-0 bytes=99999999999999999999999999- \
        bytes=18446744073709551615- bytes=18446744073709551616-; do
        http GET "$1" -H "Range: $range"
        assert_json_error 416 'range not satisfiable'
        assert_header Content-Range "bytes */$SIZE"
    done
}

@test "GET: the whole image, nbd" {
    http GET /images/nbd
    assert_status 200
    assert_header Content-Type application/octet-stream
    assert_header Content-Length $SIZE
    assert_no_header Content-Range
    assert_common_headers
    assert_body "$D/disk"
}

@test "GET: the whole image, file" {
    http GET /images/file
    assert_status 200
    assert_header Content-Type application/octet-stream
    assert_header Content-Length $SIZE
    assert_no_header Content-Range
    assert_common_headers
    assert_body "$D/disk"
}

@test "GET: each form of range gives 206 and its bytes, nbd" {
    assert_good_ranges /images/nbd
}

@test "GET: each form of range gives 206 and its bytes, file" {
    assert_good_ranges /images/file
}

@test "GET: a malformed Range is 400, nbd" {
    assert_malformed_ranges /images/nbd
}

@test "GET: a malformed Range is 400, file" {
    assert_malformed_ranges /images/file
}

@test "GET: a range that begins past the end, or ends before it begins, is 416, nbd" {
    assert_unsatisfiable_ranges /images/nbd
}

@test "GET: a range that begins past the end, or ends before it begins, is 416, file" {
    assert_unsatisfiable_ranges /images/file
}

@test "GET: an empty Range is malformed, where the web server passes it on" {
    http GET /images/nbd -H 'Range;'
    if [ "$WEB" = nginx ]; then
        assert_json_error 400 'invalid Range header'
    else
        # lighttpd drops a header that has no value.
        assert_status 200
        assert_body "$D/disk"
    fi
}

@test "GET: two Range headers never give one of the two ranges alone" {
    http GET /images/nbd -H 'Range: bytes=0-1' -H 'Range: bytes=5-6'
    assert_json_error 400 'invalid Range header'
}

@test "GET: an image of no bytes is an empty 200" {
    : >"$D/empty"
    start_nbdkit empty memory 0
    nbd_ticket nbd0 empty
    file_ticket file0 "$D/empty"
    for id in nbd0 file0; do
        http GET /images/$id
        assert_status 200
        assert_header Content-Length 0
        assert_common_headers
        assert_body "$D/empty"
    done
}

@test "GET: no range of an image of no bytes can be satisfied" {
    : >"$D/empty"
    start_nbdkit empty memory 0
    nbd_ticket nbd0 empty
    file_ticket file0 "$D/empty"
    for id in nbd0 file0; do
        for range in bytes=0- bytes=0-0 bytes=-1; do
            http GET /images/$id -H "Range: $range"
            assert_json_error 416 'range not satisfiable'
            assert_header Content-Range 'bytes */0'
        done
    done
}

@test "HEAD: answers as GET would, without the body" {
    for id in nbd file; do
        http HEAD /images/$id
        assert_status 200
        assert_header Content-Type application/octet-stream
        assert_header Content-Length $SIZE
        assert_no_header Content-Range
        assert_common_headers
    done
}

@test "HEAD: a range has the head of its 206" {
    for id in nbd file; do
        http HEAD /images/$id -H 'Range: bytes=10-19'
        assert_status 206
        assert_header Content-Length 10
        assert_header Content-Range "bytes 10-19/$SIZE"
        assert_header Content-Type application/octet-stream
        assert_common_headers
    done
}

@test "HEAD: a bad range is refused as GET would" {
    for id in nbd file; do
        http HEAD /images/$id -H "Range: bytes=$SIZE-"
        assert_status 416
        assert_header Content-Range "bytes */$SIZE"
        assert_header Content-Type application/json
        http HEAD /images/$id -H 'Range: bytes=x'
        assert_status 400
        assert_header Content-Type application/json
        assert_common_headers
    done
}

@test "HEAD: an unreachable image is 500" {
    nbd_ticket nowhere nowhere
    http HEAD /images/nowhere
    assert_status 500
    assert_common_headers
}

@test "GET: many requests go over one connection" {
    local each=(-sS --unix-socket "$SOCK" -w '%{num_connects}\n')

    curl "${each[@]}" -o "$D/part" http://localhost/images/nbd \
        --next "${each[@]}" -o "$D/part2" http://localhost/images/file \
        --next "${each[@]}" -o "$D/part3" http://localhost/images/none \
        --next "${each[@]}" -o "$D/part4" -r 0-9 \
        http://localhost/images/nbd >"$D/connects"
    [ "$(tr '\n' ' ' <"$D/connects")" = '1 0 0 0 ' ]
    cmp "$D/disk" "$D/part"
    cmp "$D/disk" "$D/part2"
    cmp <(bytes "$D/disk" 0 10) "$D/part4"
}

@test "GET: HTTP/1.0 is answered too" {
    http GET /images/nbd --http1.0
    assert_status 200
    assert_body "$D/disk"
}

@test "GET: eight clients at once get the same bytes" {
    local i

    for i in 1 2 3 4 5 6 7 8; do
        http_start $i GET /images/nbd
    done
    for i in 1 2 3 4 5 6 7 8; do
        http_wait $i
        assert_status 200
        assert_body "$D/disk"
    done
}

@test "GET: an image of many buffers comes whole and in order" {
    make_disk "$D/large" 70000003
    start_nbdkit large file "$D/large"
    nbd_ticket large large
    file_ticket largefile "$D/large"
    for id in large largefile; do
        http GET /images/$id
        assert_status 200
        assert_body "$D/large"
        http GET /images/$id -H 'Range: bytes=12345678-66666666'
        assert_status 206
        bytes "$D/large" 12345678 54320989 >"$D/part"
        assert_body "$D/part"
    done
}

@test "GET: an export by its name, and another socket's default export" {
    truncate -s 64K "$D/zeroes"
    start_qemu_nbd named -f raw -x 'some/name' "$D/zeroes"
    nbd_ticket named named ',"export":"some/name"'
    http GET /images/named
    assert_status 200
    assert_body "$D/zeroes"
    nbd_ticket default disk ',"export":null'
    http GET /images/default
    assert_status 200
    assert_body "$D/disk"
}

@test "GET: a read-only export and read-only tickets can be read" {
    start_nbdkit ro -r file "$D/disk"
    nbd_ticket ro ro
    http GET /images/ro
    assert_status 200
    assert_body "$D/disk"
    nbd_ticket nbd disk ',"read_only":true'
    http GET /images/nbd
    assert_status 200
    assert_body "$D/disk"
    file_ticket file "$D/disk" ',"read_only":true'
    http GET /images/file
    assert_status 200
    assert_body "$D/disk"
}

@test "GET: a server that takes only small requests is read in small ones" {
    start_nbdkit small --filter=blocksize-policy file "$D/disk" \
        blocksize-minimum=1 blocksize-preferred=4096 \
        blocksize-maximum=64K blocksize-error-policy=error
    nbd_ticket small small
    http GET /images/small
    assert_status 200
    assert_body "$D/disk"
}

@test "GET: a server that answers out of order is put in order" {
    # A read of the image's first half is late: those behind it overtake.
    start_nbdkit late eval get_size="echo $SIZE" thread_model='echo parallel' \
        pread="[ \$4 -ge 500000 ] || sleep 0.2
               tail -c +\$((\$4 + 1)) '$D/disk' | head -c \$3"
    nbd_ticket late late
    http GET /images/late
    assert_status 200
    assert_body "$D/disk"
}

@test "GET: a file that grew is sent in its new length" {
    http GET /images/file
    assert_status 200
    make_disk "$D/more" 5000
    cat "$D/more" >>"$D/disk"
    http GET /images/file
    assert_status 200
    assert_header Content-Length $((SIZE + 5000))
    assert_body "$D/disk"
}

@test "GET: a file behind a symbolic link is read" {
    ln -s "$D/disk" "$D/link"
    file_ticket link "$D/link"
    http GET /images/link
    assert_status 200
    assert_body "$D/disk"
    rm "$D/link"
}

@test "GET: a file that is not there is 500" {
    file_ticket gone "$D/never"
    http GET /images/gone
    assert_json_error 500 'backend error'
    http HEAD /images/gone
    assert_status 500
}

@test "GET: a directory, or a pipe that nobody writes to, is 500 at once" {
    mkdir -p "$D/folder"
    file_ticket folder "$D/folder"
    http GET /images/folder --max-time 10
    assert_json_error 500 'backend error'
    rm -f "$D/pipe"
    mkfifo "$D/pipe"
    file_ticket pipe "$D/pipe"
    http GET /images/pipe --max-time 10
    assert_json_error 500 'backend error'
}

# --- NBD: holes, and the second connection ----------------------------------

# 8 MiB at a time: data, a hole of 1 MiB amid data, one of 100 KiB, one that
# begins and ends at odd bytes, nothing but a hole.
make_sparse() { # FILE
    truncate -s $((80 * MIB + 12288)) "$1"
    make_disk "$D/piece" $((3 * MIB))
    for at in 0 $((4 * MIB)) $((8 * MIB + 8192)) $((30 * MIB + 4096)) \
        $((33 * MIB + 4096 + 102400)) $((60 * MIB)) $((77 * MIB + 12288)); do
        dd if="$D/piece" of="$1" bs=64K oflag=seek_bytes seek="$at" \
            conv=notrunc status=none
    done
}

@test "GET: holes are not read from the NBD server, and read as zeroes" {
    truncate -s 96M "$D/empty"
    start_nbdkit empty file "$D/empty"
    nbd_ticket empty empty
    http GET /images/empty
    assert_status 200
    assert_body "$D/empty"
    [ "$(commands empty Read)" = 0 ]
    make_sparse "$D/sparse"
    start_nbdkit sparse file "$D/sparse"
    nbd_ticket sparse sparse
    http GET /images/sparse
    assert_status 200
    assert_body "$D/sparse"
    [ "$(commands sparse Read)" -ge 36 ]
    [ "$(commands sparse Read)" -lt 100 ]
}

@test "GET: ranges that begin and end within holes are exact" {
    make_sparse "$D/sparse"
    start_nbdkit sparse file "$D/sparse"
    start_nbdkit blocks --filter=blocksize-policy file "$D/sparse" \
        blocksize-minimum=4096 blocksize-preferred=4096 \
        blocksize-error-policy=error
    start_nbdkit blind --filter=noextents file "$D/sparse"
    start_nbdkit unwilling --filter=error file "$D/sparse" \
        error-extents=EIO error-extents-rate=100%
    for name in sparse blocks blind unwilling; do
        nbd_ticket "$name" "$name"
        while read -r offset length; do
            http GET "/images/$name" -r "$offset-$((offset + length - 1))"
            assert_status 206
            assert_body <(bytes "$D/sparse" "$offset" "$length")
        done <<END
$((3 * MIB - 1)) $((MIB + 2))
$((3 * MIB + 1)) $((2 * MIB))
1 $((40 * MIB))
$((20 * MIB + 13)) $((5 * MIB + 1))
$((36 * MIB + 777)) $((30 * MIB + 4))
$((80 * MIB)) 12288
END
    done
}

@test "GET: a long read uses a second connection to the NBD server" {
    make_disk "$D/long" $((80 * MIB))
    start_nbdkit long file "$D/long"
    nbd_ticket long long
    http GET /images/long
    assert_body "$D/long"
    for connection in 1 2; do
        has_line "$D/long.nbdlog" "^[^ ]* [^ ]* connection=$connection Read "
    done
    # Short ones, and servers whose connections are not one, have none.
    start_nbdkit short file "$D/long"
    nbd_ticket short short
    http GET /images/short -r 0-10000000
    run ! has_line "$D/short.nbdlog" 'connection=2 '
    start_nbdkit single --filter=multi-conn file "$D/long" \
        multi-conn-mode=disable
    nbd_ticket single single
    http GET /images/single
    assert_body "$D/long"
    run ! has_line "$D/single.nbdlog" 'connection=2 '
}

@test "GET: a long read needs no second connection" {
    make_disk "$D/long" $((80 * MIB))
    start_nbdkit refuses --filter=limit file "$D/long" limit=1
    start_nbdkit waits --filter=multi-conn --filter=noparallel file "$D/long" \
        multi-conn-mode=emulate serialize=connections
    for name in refuses waits; do
        nbd_ticket "$name" "$name"
        http GET "/images/$name" --max-time 30
        assert_status 200
        assert_body "$D/long"
    done
}

@test "GET: who waits for the NBD server gets the second connection's place" {
    make_disk "$D/long" $((600 * MIB))
    start_qemu_nbd two -r -f raw -e 2 "$D/long"
    nbd_ticket two two
    hold_reader slow /images/two --limit-rate 60M
    http_start held GET /images/two -r 0-999
    : >"$D/held.slow.release"
    http_wait held
    assert_status 206
    assert_body <(bytes "$D/long" 0 1000)
    # Not at its end.
    is_requesting slow
    release slow
    assert_status 200
    assert_body "$D/long"
    rm "$D/long"
}
