#!/usr/bin/env bats
# Connections to NBD servers that are kept between requests (--nbd-idle): when
# one is used again, when it is closed, and that nobody is harmed by it.

load common

SIZE=$((1024 * 1024))

setup_file() {
    start_service --nbd-idle 600
    make_disk "$D/disk" $SIZE
    make_disk "$D/other" $SIZE
}

teardown_file() {
    PIDS=$(cat "$D/program.pids") # of the last restart
    stop_service
}

teardown() {
    stop_backends
}

# start_image NAME [FILTER [PARAMETER...]]: a copy of the disk behind nbdkit,
# and a ticket of that name.
start_image() {
    local name=$1 filter=${2:-nofilter}

    shift $(($# < 2 ? $# : 2))
    cp "$D/disk" "$D/$name.raw"
    start_nbdkit "$name" "--filter=$filter" file "$D/$name.raw" "$@"
    nbd_ticket "$name" "$name"
    # By then the program has seen that the ticket is new.
    wait_for is_answering
}

connects() { # NAME: how many connections NBD server NAME has had
    grep -c ' Connect export=' "$D/$1.nbdlog"
}

has_no_connection() { # NAME
    [ "$(connects "$1")" = "$(grep -c ' Disconnect ' "$D/$1.nbdlog")" ]
}

# Every kind of request for image NAME, one after the other.
all_requests() {
    head -c 512 "$D/disk" >"$D/part"
    http GET "/images/$1"
    assert_status 200
    assert_body "$D/disk"
    http HEAD "/images/$1"
    assert_status 200
    http OPTIONS "/images/$1"
    assert_status 200
    put "/images/$1" "$D/disk"
    assert_status 200
    put "/images/$1" "$D/part" -H 'Content-Range: bytes 0-511/*'
    assert_status 200
    patch "/images/$1" "$D/part" bytes=0-511
    assert_status 200
    json "/images/$1" '{"op":"zero","offset":4096,"size":4096}'
    assert_status 200
    json "/images/$1" '{"op":"flush"}'
    assert_status 200
    post "/images/$1/flush"
    assert_status 200
    http GET "/images/$1/extents"
    assert_status 200
    put "/images/$1" "$D/disk" # as it was
    assert_status 200
}

@test "all requests of one ticket, one after the other, use one connection" {
    start_image a
    all_requests a
    all_requests a
    [ "$(connects a)" = 1 ]
    run ! has_no_connection a
}

@test "requests at the same time have a connection each" {
    start_image a delay rdelay=300ms
    for i in 1 2 3; do
        http_start $i GET /images/a
    done
    for i in 1 2 3; do
        http_wait $i
        assert_status 200
        assert_body "$D/disk"
    done
    [ "$(connects a)" = 3 ]
}

@test "a bitmap and the zero areas come over the same connection" {
    qemu-img create -q -f qcow2 "$D/a.qcow2" 1M
    qemu-img bitmap --add "$D/a.qcow2" since
    qemu-io -c 'write -P 7 64k 64k' "$D/a.qcow2" >/dev/null
    start_qemu_nbd a -f qcow2 -B since "$D/a.qcow2"
    nbd_ticket a a ',"export_bitmap":"since"'
    for i in 1 2; do
        http GET /images/a/extents
        assert_ok '[{"start":0,"length":65536,"zero":true},{"start":65536,"length":65536,"zero":false},{"start":131072,"length":917504,"zero":true}]'
        http GET '/images/a/extents?context=dirty'
        assert_ok '[{"start":0,"length":65536,"dirty":false,"zero":true},{"start":65536,"length":65536,"dirty":true,"zero":false},{"start":131072,"length":917504,"dirty":false,"zero":true}]'
    done
}

@test "a ticket that is removed closes its connection at once" {
    start_image a
    start_image b
    http GET /images/a
    http GET /images/b
    rm "$D/tickets/a"
    wait_for -t 2 has_no_connection a
    run ! has_no_connection b
    http GET /images/a
    assert_json_error 404 'unknown image_id'
}

@test "a ticket that is replaced, or rewritten, closes its connection at once" {
    start_image a
    http GET /images/a
    nbd_ticket a a ',"read_only":true'
    wait_for -t 2 has_no_connection a
    http GET /images/a
    assert_body "$D/disk"
    [ "$(connects a)" = 2 ]
    printf ' ' >>"$D/tickets/a"
    wait_for -t 2 has_no_connection a
    http GET /images/a
    assert_body "$D/disk"
    [ "$(connects a)" = 3 ]
}

@test "a ticket that is removed while its image is read keeps nothing" {
    cp "$D/disk" "$D/a.raw"
    truncate -s 64M "$D/a.raw"
    start_nbdkit a --filter=noextents file "$D/a.raw"
    nbd_ticket a a
    hold_reader slow /images/a
    rm "$D/tickets/a"
    release slow
    assert_status 200
    wait_for -t 2 has_no_connection a
}

@test "a ticket directory that is replaced closes all connections" {
    start_image a
    http GET /images/a
    mv "$D/tickets" "$D/tickets.old"
    mkdir "$D/tickets"
    cp -p "$D/tickets.old/a" "$D/tickets/a"
    wait_for -t 2 has_no_connection a
    rm -r "$D/tickets.old"
    # The new one is watched as well.
    http GET /images/a
    assert_body "$D/disk"
    run ! has_no_connection a
    rm "$D/tickets/a"
    wait_for -t 2 has_no_connection a
}

@test "another ticket has a connection of its own" {
    start_image a
    nbd_ticket b a
    http GET /images/a
    http GET /images/b
    assert_body "$D/disk"
    [ "$(connects a)" = 2 ]
}

@test "a server that ends is noticed at once" {
    start_image a
    fds=$(idle_fds)
    http GET /images/a
    kill -9 "$(cat "$D/a.pid")"
    wait_for -t 2 has_fds "$fds"
}

@test "a server that was started anew between two requests serves the second" {
    start_image a
    all_requests a
    kill -9 "$(cat "$D/a.pid")"
    wait_for test -e "$D/a.status"
    start_image a
    all_requests a
    [ "$(connects a)" = 1 ]
}

@test "another server on the same path is asked, though the old one lives" {
    start_image a
    http GET /images/a
    mv "$D/a.sock" "$D/old.sock"
    cp "$D/other" "$D/b.raw"
    start_nbdkit b file "$D/b.raw"
    mv "$D/b.sock" "$D/a.sock"
    http GET /images/a
    assert_status 200
    assert_body "$D/other"
}

# start_fleeting NAME: every connection has a server process of its own, which
# ends when it is asked for anything while the file NAME.end is there; that
# removes the file.
start_fleeting() {
    local name=$1

    echo "$name" >>"$D/backends"
    cp "$D/disk" "$D/$name.raw"
    cat >"$D/$name.sh" <<END
#!/bin/bash
leave() { [ ! -e $D/$name.end ] || { rm $D/$name.end; kill -9 \$PPID; }; }
case \$1 in
get_size) echo $SIZE ;;
pread) leave; tail -c +\$((\$4 + 1)) $D/$name.raw | head -c \$3 ;;
pwrite) leave; dd of=$D/$name.raw conv=notrunc oflag=seek_bytes seek=\$4 \
    status=none ;;
zero) leave; head -c \$3 /dev/zero | dd of=$D/$name.raw conv=notrunc \
    oflag=seek_bytes seek=\$4 status=none ;;
flush) leave ;;
extents) leave; echo "\$4 \$3" ;;
can_write | can_flush | can_zero | can_extents | can_multi_conn) exit 0 ;;
*) exit 2 ;;
esac
END
    chmod 755 "$D/$name.sh"
    supervise "$name" socat "UNIX-LISTEN:$D/$name.sock,fork" \
        "EXEC:nbdkit -s sh $D/$name.sh"
    wait_for test -S "$D/$name.sock"
    nbd_ticket "$name" "$name"
}

# The connection is there, is kept, and ends with the next command.
doom() {
    http HEAD /images/a
    assert_status 200
    : >"$D/a.end"
}

@test "GET: a kept connection that ends with the first read is made anew" {
    start_fleeting a
    doom
    http GET /images/a -r 100-199
    assert_status 206
    assert_body <(bytes "$D/disk" 100 100)
    doom
    http GET /images/a
    assert_status 200
    assert_body "$D/disk"
    [ ! -e "$D/a.end" ]
}

@test "PUT, PATCH: a kept connection that ends with the first command is made anew" {
    start_fleeting a
    doom
    put /images/a "$D/other"
    assert_status 200
    cmp "$D/other" "$D/a.raw"
    [ ! -e "$D/a.end" ]
    doom
    patch /images/a "$D/disk" bytes=0-
    assert_status 200
    cmp "$D/disk" "$D/a.raw"
    doom
    json /images/a '{"op":"zero","offset":0,"size":65536}'
    assert_ok '{"ok":true}'
    cmp -n 65536 /dev/zero "$D/a.raw"
    [ ! -e "$D/a.end" ]
}

@test "flush, extents: a kept connection that ends with the first command is made anew" {
    start_fleeting a
    doom
    post /images/a/flush
    assert_ok '{"ok":true}'
    doom
    http GET /images/a/extents
    assert_ok "[{\"start\":0,\"length\":$SIZE,\"zero\":false}]"
    [ ! -e "$D/a.end" ]
}

@test "GET: a server that ends with every read is a 500, not asked for ever" {
    start_fleeting a
    http HEAD /images/a
    sed -i 's/rm [^;]*;//' "$D/a.sh"
    : >"$D/a.end"
    http GET /images/a --max-time 10
    assert_json_error 500 'backend error'
}

@test "a connection with an error on it is not used again" {
    start_image a error error-pread=EIO error-pread-rate=100% \
        error-pread-file="$D/fail"
    http HEAD /images/a
    : >"$D/fail"
    http GET /images/a
    assert_json_error 500 'backend error'
    rm "$D/fail"
    http GET /images/a
    assert_body "$D/disk"
    [ "$(connects a)" = 2 ]
}

@test "a server whose connections do not see each other's writes keeps none" {
    start_image a multi-conn multi-conn-mode=disable
    http GET /images/a
    wait_for -t 2 has_no_connection a
    put /images/a "$D/other"
    http GET /images/a
    assert_body "$D/other"
}

@test "a server of a single client is free for the next ticket at once" {
    # Serves one connection at a time; the next one waits to be greeted.
    cp "$D/disk" "$D/a.raw"
    start_nbdkit a --filter=multi-conn --filter=noparallel file "$D/a.raw" \
        serialize=connections multi-conn-mode=emulate
    nbd_ticket a a
    nbd_ticket b a
    for id in a b a b; do
        http GET "/images/$id" --max-time 5
        assert_status 200
        assert_body "$D/disk"
    done
    # One that is given back while another one waits, too.
    http_start 1 GET /images/a
    http_start 2 GET /images/b
    for i in 1 2; do
        http_wait $i
        assert_status 200
    done
}

ask_70() {
    local i

    for i in {1..70}; do
        http HEAD "/images/t$i"
        assert_status 200 || return 1
    done
    has_kept a 64
}

@test "no more than 64 connections are kept" {
    start_image a
    for i in {1..70}; do
        nbd_ticket "t$i" a
    done
    # Again: a ticket that is new may still count as one that has changed.
    wait_for ask_70
    # The last ones are.
    connects=$(connects a)
    http HEAD /images/t70
    http HEAD /images/t10
    [ "$(connects a)" = "$connects" ]
    http HEAD /images/t1
    [ "$(connects a)" = $((connects + 1)) ]
}

has_kept() { # NAME COUNT
    [ $(($(connects "$1") - $(grep -c ' Disconnect ' "$D/$1.nbdlog"))) = "$2" ]
}

# replaced_in_between ID: a GET has begun on a kept connection to server a, which
# then dies unanswered, and another one with other bytes has taken its place.
replaced_in_between() {
    http GET "/images/$1"
    assert_status 200
    kill -STOP "$(cat "$D/a.pid")"
    http_start r GET "/images/$1" -H 'Range: bytes=0-4095'
    wait_for is_asked
    head -c "$(stat -c %s "$D/disk")" /dev/urandom >"$D/other.raw"
    start_nbdkit other "${@:2}" file "$D/other.raw"
    mv "$D/other.sock" "$D/a.sock"
    kill -9 "$(cat "$D/a.pid")"
    http_wait r
}

is_asked() { # something waits to be read by server a
    [ "$(ss -xH state established src "$D/a.sock" |
        awk '{ sum += $2 } END { print sum + 0 }')" -gt 0 ]
}

@test "GET: an image with an ETag is not gone on with by another server" {
    cp "$D/disk" "$D/a.raw"
    start_nbdkit a -r file "$D/a.raw"
    nbd_ticket a a
    wait_for is_answering
    replaced_in_between a -r
    assert_json_error 500 'backend error'
    has_line "$D/program.log" 'GET ticket=a .*another server is there now'
    http GET /images/a
    assert_body "$D/other.raw"
}

@test "GET: an image without one is gone on with by the server that is there" {
    start_image a
    replaced_in_between a
    assert_status 206
    assert_body <(bytes "$D/other.raw" 0 4096)
}

# From here on the program has other options than at the file's start.
restart() { # OPTION...: the program
    rm -f "$D/tickets"/*
    PID=$(cat "$D/program.pids")
    kill "$PID"
    wait_for has_line "$D/program.statuses" "^$PID 0\$"
    start_programs 1 "$@"
    wait_for is_answering
}

@test "--nbd-idle: an unused connection is closed after that time" {
    restart --nbd-idle 1
    start_image a
    http GET /images/a
    http GET /images/a
    [ "$(connects a)" = 1 ]
    wait_for -t 3 has_no_connection a
    # Each of two that were used last at different times.
    nbd_ticket b a
    http GET /images/a
    http GET /images/b
    wait_for -t 3 has_no_connection a
}

@test "--nbd-idle 0: each request has a connection of its own" {
    restart --nbd-idle 0
    start_image a
    all_requests a
    [ "$(connects a)" = 11 ]
    wait_for has_no_connection a
}
