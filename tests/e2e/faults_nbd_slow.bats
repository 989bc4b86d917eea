#!/usr/bin/env bats
# The matrix of faults (faults_nbd.bash), where the NBD server does not answer:
# every wait for it ends with --backend-timeout, and none while it gets on.
# Several requests at once, as each takes that long.

load common
load faults_nbd

TIMEOUT=3 # --backend-timeout, seconds

WAVES=("get put patch zero flush extents map"
    "holes part edges zeroes flushed post dirty")

setup_file() {
    start_faults_service --backend-timeout $TIMEOUT --max-writers 12 \
        --max-readers 12
}

teardown_file() {
    stop_service
}

teardown() {
    tell_cell
    stop_images
}

# wave PLACE ROW...: stalls of the images that have the rows' names.
wave() {
    local place=$1 first middle last row

    shift
    mark
    for row; do
        read -r first middle last <<<"${ROWS[$row]}"
        plan "$row" "${!place}" stall
        begin "$row" "$row"
    done
    for row; do
        cell "$row, $place: stall"
        http_wait "$row"
        assert_failed "$row" "$row" "$place" stall
        assert_old_or_new "$row" "$row"
    done
    cell "after $*, $place: stall"
    assert_free get $((FDS - $#))
    assert_free put $((FDS - $#))
    # Well again, they serve the same requests, whatever needs the whole image.
    for row; do
        cell "$row, $place: after a stall"
        rm "$D/$row.plan"
        begin "$row" "$row"
        http_wait "$row"
        assert_succeeded "$row" "$row"
        put "/images/$row" "$D/old"
        assert_status 200
    done
    wait_for -t 2 holds "$FDS"
}

# waves PLACE: all rows that have such a command.
waves() {
    local place=$1 rows wave row first middle last

    set +T
    for wave in "${WAVES[@]}"; do
        rows=()
        for row in $wave; do
            read -r first middle last <<<"${ROWS[$row]}"
            [ "${!place}" = - ] || rows+=("$row")
        done
        if [ ${#rows[@]} -gt 0 ]; then
            wave "$place" "${rows[@]}"
        fi
    done
}

# As many requests at once as in a wave, each of which needs all of its buffer:
# what is noted then has gone that way once.
fill_buffers() {
    local row rows

    read -r -a rows <<<"${WAVES[0]}"
    for row in "${rows[@]}"; do
        plan "$row" pwrite:$LAST stall
        begin put "$row"
    done
    for row in "${rows[@]}"; do
        http_wait "$row"
        assert_status 504
        rm "$D/$row.plan"
        put "/images/$row" "$D/old"
        assert_status 200
    done
    wait_for -t 2 holds "$FDS"
}

@test "a server that stalls is 504, or a cut, after the timeout, and leaves nothing behind" {
    start_images "${COMMAND_ROWS[@]}"
    fill_buffers
    note_memory
    waves first
    waves middle
    waves last
    assert_memory
}

# try_unanswered SERVER: all requests, each to an export of its own, as the image
# is locked by some.
try_unanswered() {
    local row

    set +T
    for row in "${CONNECT_ROWS[@]}"; do
        nbd_ticket "$row" "$1" ",\"export\":\"$row\""
    done
    wait_for is_answering
    mark
    for row in "${CONNECT_ROWS[@]}"; do
        begin "$row" "$row"
    done
    for row in "${CONNECT_ROWS[@]}"; do
        cell "$row: no answer"
        http_wait "$row"
        assert_failed "$row" "$row" first stall "$1"
    done
    assert_free get "$FDS"
    assert_free put "$FDS"
}

@test "a server that never greets is 504 after the timeout, and leaves nothing behind" {
    start_images
    start_mute bad
    try_unanswered bad
    stop bad
    start_image bad
    for row in "${CONNECT_ROWS[@]}"; do
        cell "$row: after no answer"
        begin "$row" "$row"
        http_wait "$row"
        assert_status 200
    done
}

@test "a server that takes no connection is 504 after the timeout, and leaves nothing behind" {
    start_images
    start_link bad nobody --full
    try_unanswered bad
    has_line "$D/program.log" "GET ticket=get .*no connection for $TIMEOUT s"
    kill -9 "$(cat "$D/bad.pid")"
}

@test "a qemu-nbd whose only client stays is 504 after the timeout for all others" {
    start_images
    truncate -s 64M "$D/bad.raw"
    rm -f "$D/bad.sock"
    echo bad >>"$D/backends"
    supervise bad qemu-nbd -t --shared=1 -k "$D/bad.sock" -f raw "$D/bad.raw"
    wait_for test -S "$D/bad.sock"
    nbd_ticket one bad
    hold_reader slow /images/one
    fds_held
    FDS=$held
    try_unanswered bad
    release slow
    assert_status 200
}

# With a connection that is kept, so that the greeting takes no time any more.
has_greeted() { # IMAGE
    http HEAD "/images/$1"
    [ "$http_status" = 200 ]
}

@test "a server that is slow, but gets on, is waited for" {
    start_images
    # Each command takes less than the timeout, all of them take more.
    start_nbdkit writes --filter=noparallel --filter=delay memory 6M \
        serialize=requests wdelay=700ms
    start_nbdkit zeroes --filter=noparallel --filter=delay memory 640M \
        serialize=requests delay-zero=700ms
    # A single read takes more, but its bytes keep coming.
    start_image link
    start_nbdkit map $ONE_THREAD --filter=delay sh "$D/link.sh" \
        delay-extents=1200ms
    start_link slow link --rate 150000
    for id in writes zeroes map slow; do
        nbd_ticket $id $id
    done
    wait_for is_answering
    for id in writes zeroes map slow; do
        wait_for has_greeted $id
    done
    began=$SECONDS
    http_start writes PUT /images/writes -T "$D/new"
    http_start zeroes PATCH /images/zeroes \
        -H 'Content-Type: application/json' \
        --data-binary "$(zero_json 0 $((640 * MIB)))"
    http_start map GET /images/map/extents
    http_start slow GET /images/slow -H "Range: bytes=0-$((640 * KIB - 1))"
    http_wait slow
    assert_status 206
    assert_body <(bytes "$D/old" 0 $((640 * KIB)))
    http_wait map
    assert_status 200
    [ "$(jq -c '[.[].length] | add' "$http_body")" = $SIZE ]
    http_wait zeroes
    assert_ok '{"ok":true}'
    http_wait writes
    assert_ok "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":false}"
    ((SECONDS - began > TIMEOUT))
}
