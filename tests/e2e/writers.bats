#!/usr/bin/env bats
# Writers side by side (--max-writers above 1), limits for each image
# (--limit-scope), and requests that wait (--queue-timeout). Two processes.

load common

teardown() {
    stop_service
}

# begin [OPTION...]: images a and b (8 MiB), and large to read slowly from.
begin() {
    start_service_of 2 "$@"
    make_disk "$D/disk" $((8 * MIB))
    make_disk "$D/new" $((8 * MIB))
    make_disk "$D/small" $((64 * KIB))
    truncate -s 8M "$D/other"
    truncate -s 256M "$D/large"
    start_nbdkit a file "$D/disk"
    nbd_ticket a a
    start_nbdkit b file "$D/other"
    nbd_ticket b b
    start_nbdkit large file "$D/large"
    nbd_ticket large large
}

# hold_part NAME PATH OFFSET [CURL_OPTION...]: a writer of 2 MiB there that has
# 1 MiB yet to send.
hold_part() {
    local name=$1 path=$2 offset=$3 before

    shift 3
    before=$(writes_at "${path##*/}" "$offset")
    bytes "$D/new" "$offset" $((2 * MIB)) >"$D/part.$name"
    hold_writer "$name" "$path" "$D/part.$name" $MIB -H \
        "Content-Range: bytes $offset-$((offset + 2 * MIB - 1))/*" "$@"
    wait_for has_more_writes "${path##*/}" "$offset" "$before"
}

writes_at() { # NAME OFFSET: how many there were
    grep -c " Write .*offset=$(printf 0x%x "$2") " "$D/$1.nbdlog" || true
}

has_more_writes() { # NAME OFFSET COUNT
    [ "$(writes_at "$1" "$2")" -gt "$3" ]
}

# --- --max-writers ----------------------------------------------------------

@test "PUT, PATCH: parts of one image are written side by side, as many as there are slots" {
    begin --max-writers 4
    hold_part one /images/a 0
    hold_part two /images/a $((2 * MIB))
    hold_part three /images/a $((4 * MIB))
    bytes "$D/new" $((6 * MIB)) $((2 * MIB)) >"$D/part"
    patch /images/a "$D/part" bytes=6291456-8388607
    assert_ok '{"ok":true,"bytes_written":2097152}'
    json /images/a '{"op":"zero","offset":6291456,"size":65536,"flush":true}'
    assert_ok '{"ok":true}'
    hold_part four /images/a $((6 * MIB))
    put /images/a "$D/part" -H 'Content-Range: bytes 6291456-8388607/*'
    assert_json_error 503 'too many parallel writes'
    patch /images/b "$D/part" bytes=0-2097151
    assert_json_error 503 'too many parallel writes'
    for name in one two three four; do
        release $name
        assert_ok '{"ok":true,"bytes_written":2097152,"flushed":false}'
    done
    cmp "$D/new" "$D/disk"
}

@test "POST, GET extents: share the image with writers of parts" {
    begin --max-writers 2
    hold_part one /images/a 0
    post /images/a/flush
    assert_ok '{"ok":true}'
    json /images/a '{"op":"flush"}'
    assert_ok '{"ok":true}'
    http GET /images/a/extents
    assert_status 200
    http OPTIONS /images/a
    assert_json 200 '{"unix_socket":null,"features":["extents","zero","flush"],"max_readers":8,"max_writers":2}'
    release one
    assert_status 200
}

@test "PUT: a whole image excludes all, and is excluded by all" {
    begin --max-writers 4
    hold_part part /images/a 0
    put /images/a "$D/new"
    assert_json_error 409 'image busy'
    release part
    assert_status 200
    hold_writer w /images/a "$D/new" $((7 * MIB))
    wait_for has_more_writes a $((4 * MIB)) 0
    put /images/a "$D/small" -H 'Content-Range: bytes 0-65535/*'
    assert_json_error 409 'image busy'
    patch /images/a "$D/small" bytes=0-65535
    assert_json_error 409 'image busy'
    json /images/a '{"op":"zero","size":4096}'
    assert_json_error 409 'image busy'
    post /images/a/flush
    assert_json_error 409 'image busy'
    http GET /images/a/extents
    assert_json_error 409 'image busy'
    release w
    assert_ok '{"ok":true,"bytes_written":8388608,"flushed":false}'
    cmp "$D/new" "$D/disk"
}

@test "PUT, PATCH: half a block of the server is written beside other writers, but not beside one of its other half" {
    begin --max-writers 4 --backend-timeout 2
    start_nbdkit blocks --filter=blocksize-policy file "$D/disk" \
        blocksize-minimum=4096 blocksize-preferred=4096 \
        blocksize-maximum=32M blocksize-error-policy=error
    nbd_ticket blocks blocks
    cp "$D/disk" "$D/expected"
    head -c 1000 "$D/small" >"$D/odd"
    # Begins and ends in the middle of a block, and is not done yet.
    bytes "$D/new" 1000 $((2 * MIB)) >"$D/part.half"
    hold_writer half /images/blocks "$D/part.half" $MIB \
        -H "Content-Range: bytes 1000-$((2 * MIB + 999))/*"
    wait_for has_commands blocks Write
    for offset in $((4 * MIB)) $((5 * MIB + 100)) $((8 * MIB - 1000)); do
        patch /images/blocks "$D/odd" "bytes=$offset-$((offset + 999))"
        assert_status 200
        dd if="$D/odd" of="$D/expected" bs=1000 seek=$offset \
            oflag=seek_bytes conv=notrunc status=none
    done
    json /images/blocks '{"op":"zero","offset":6000001,"size":77777}'
    assert_status 200
    dd if=/dev/zero of="$D/expected" bs=77777 count=1 seek=6000001 \
        oflag=seek_bytes conv=notrunc status=none
    # The other halves of its first and its last block: waited for in vain.
    patch /images/blocks "$D/odd" bytes=0-999
    assert_json_error 409 'image busy'
    json /images/blocks "{\"op\":\"zero\",\"offset\":$((2 * MIB + 1000)),\"size\":1}"
    assert_json_error 409 'image busy'
    http_start wait PATCH /images/blocks -T "$D/odd" -H 'Range: bytes=0-999'
    release half
    assert_status 200
    http_wait wait
    assert_ok '{"ok":true,"bytes_written":1000}'
    dd if="$D/part.half" of="$D/expected" bs=1M seek=1000 oflag=seek_bytes \
        conv=notrunc status=none
    dd if="$D/odd" of="$D/expected" conv=notrunc status=none
    http GET /images/blocks
    assert_body "$D/expected"
}

@test "PATCH: many odd neighbours at once lose no byte" {
    local i failed=0

    begin --max-writers 16
    start_nbdkit blocks --filter=blocksize-policy file "$D/disk" \
        blocksize-minimum=4096 blocksize-preferred=4096 \
        blocksize-maximum=32M blocksize-error-policy=error
    nbd_ticket blocks blocks
    for ((i = 0; i < 16; i++)); do
        bytes "$D/new" $((i * 500)) 500 >"$D/odd.$i"
        http_start $i PATCH /images/blocks -T "$D/odd.$i" \
            -H "Range: bytes=$((i * 500))-$((i * 500 + 499))"
    done
    for ((i = 0; i < 16; i++)); do
        http_wait $i
        assert_ok '{"ok":true,"bytes_written":500}' || failed=1
    done
    [ "$failed" = 0 ]
    cmp -n 8000 "$D/new" "$D/disk"
}

@test "PUT: kill -9 of a process with writers side by side frees slots and locks" {
    local pid

    begin --max-writers 2
    hold_part one /images/a 0
    hold_part two /images/a $((4 * MIB))
    for pid in $PIDS; do
        kill -9 "$pid"
        wait_for is_gone "$pid"
    done
    http_kill one
    http_kill two
    start_programs 2 --max-writers 2
    wait_for is_answering
    put /images/a "$D/new"
    assert_ok '{"ok":true,"bytes_written":8388608,"flushed":false}'
    cmp "$D/new" "$D/disk"
}

# --- --limit-scope ----------------------------------------------------------

@test "--limit-scope image: each image has its own readers and writers" {
    begin --limit-scope image --max-readers 1 --max-writers 1
    hold_reader r /images/large
    http GET /images/large -H 'Range: bytes=0-9'
    assert_json_error 503 'too many parallel reads'
    http GET /images/a -H 'Range: bytes=0-9'
    assert_status 206
    hold_part w /images/a 0
    put /images/a "$D/small" -H 'Content-Range: bytes 0-65535/*'
    assert_json_error 409 'image busy'
    put /images/b "$D/new"
    assert_ok '{"ok":true,"bytes_written":8388608,"flushed":false}'
    release w
    assert_status 200
    release r
    assert_body "$D/large"
}

@test "--limit-scope image: two tickets of one image share its slots" {
    begin --limit-scope image --max-readers 1 --max-writers 2
    nbd_ticket again a
    nbd_ticket large2 large
    hold_reader r /images/large
    http GET /images/large2 -H 'Range: bytes=0-9'
    assert_json_error 503 'too many parallel reads'
    hold_part one /images/a 0
    hold_part two /images/a $((4 * MIB))
    put /images/again "$D/small" -H 'Content-Range: bytes 0-65535/*'
    assert_json_error 503 'too many parallel writes'
    release one
    assert_status 200
    release two
    assert_status 200
}

# --- --queue-timeout --------------------------------------------------------

@test "--queue-timeout: a writer waits for the image, and then writes" {
    begin --queue-timeout 60 --max-writers 2
    hold_part one /images/a 0
    http_start next PUT /images/a -T "$D/new"
    # Its turn at the gate keeps a flush from passing it, which else could
    # share the image with the writer that runs.
    run ! wait_for -t 1 is_answered next
    http_start flush POST /images/a/flush -d ''
    run ! wait_for -t 1 is_answered flush
    run ! has_commands a Flush
    release one
    assert_status 200
    http_wait next
    assert_ok '{"ok":true,"bytes_written":8388608,"flushed":false}'
    http_wait flush
    assert_ok '{"ok":true}'
    cmp "$D/new" "$D/disk"
}

@test "--queue-timeout: readers wait for a slot, and all are served" {
    local i

    begin --queue-timeout 60 --max-readers 1
    hold_reader r /images/large
    for i in 1 2 3 4; do
        http_start $i GET /images/a
    done
    release r
    assert_body "$D/large"
    for i in 1 2 3 4; do
        http_wait $i
        assert_status 200
        assert_body "$D/disk"
    done
}

@test "--queue-timeout: who has waited so long in vain is refused" {
    local began

    begin --queue-timeout 1 --max-readers 1
    hold_part one /images/a 0
    hold_reader r /images/large
    began=$(date +%s%N)
    http GET /images/b
    assert_json_error 503 'too many parallel reads'
    put /images/b "$D/new"
    assert_json_error 503 'too many parallel writes'
    put /images/a "$D/new"
    assert_json_error 409 'image busy'
    # Three of them, a second each.
    [ $((($(date +%s%N) - began) / 1000000)) -ge 3000 ]
    release one
    assert_status 200
    release r
    assert_status 200
}

@test "--queue-timeout: a client that leaves while it waits gives up its place" {
    begin --queue-timeout 60 --max-readers 1
    hold_reader r /images/large
    http_start left GET /images/a
    if [ "$WEB" = nginx ]; then
        # lighttpd tells the program only when it begins to answer.
        wait_for is_waiting
        http_kill left
        wait_for -t 5 has_line "$D/program.log" \
            '^info: method=GET ticket=a status=499 .*the client has gone while it waited'
        release r
    else
        http_kill left
        release r
    fi
    assert_body "$D/large"
    # Nobody is in the way, and the slot is there.
    http GET /images/b --max-time 5
    assert_status 200
}

# More descriptors than one idle process and the one with the held reader have.
is_waiting() {
    local pid busy=0

    for pid in $PIDS; do
        busy=$((busy + $(fd_count "$pid") - $(idle_fds "$pid")))
    done
    # The reader has lock and two ends of NBD; the waiting one has the lock.
    ((busy >= 3))
}
