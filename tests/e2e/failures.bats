#!/usr/bin/env bats
# Backends and clients that fail: what the client is told, that nothing ever
# looks complete that is not, and that no slot, lock or descriptor stays
# behind (CONTRACT 2, 4, 5, 8). Every kind of request with every fault of an NBD
# server is in faults_nbd_*.bats; here is what is special. One reader and one
# writer at once: what is left behind shows in the next request.

load common
load faults_nbd

TIMEOUT=2 # --backend-timeout, seconds

setup_file() {
    start_service --backend-timeout $TIMEOUT --max-readers 1 --max-writers 1
    make_disk "$D/data" $((64 * MIB))
}

teardown_file() {
    # One test kills the program and starts another.
    PIDS=$(cat "$D/program.pids")
    stop_service
}

setup() {
    PID=$(cat "$D/program.pids")
    IDLE_FDS=$(idle_fds)
}

teardown() {
    local name failed=0

    if mountpoint -q "$D/small"; then
        as_root umount -l "$D/small" || failed=1
    fi
    for name in $(cat "$D/backends"); do
        # One that was made to hang could not be stopped.
        if is_running "$(cat "$D/$name.pid")"; then
            kill -CONT "$(cat "$D/$name.pid")" || failed=1
        fi
    done
    stop_backends || failed=1
    # Whatever happened: all that it took is given back.
    wait_for has_fds "$IDLE_FDS" || failed=1
    return $failed
}

# start_eval NAME OPERATION=SCRIPT...: nbdkit's answers from shell scripts.
start_eval() {
    local name=$1

    shift
    start_nbdkit "$name" eval can_write='exit 0' \
        pwrite='cat >/dev/null' pread='head -c "$3" /dev/zero' "$@"
}

# finish NAME: as release, for an upload that is answered before its end.
finish() {
    : >"$D/held.$1.release"
    http_wait "$1"
}

# Each kind of request to image "bad" gets this answer.
assert_all_refused() { # STATUS TEXT
    http GET /images/bad
    assert_json_error "$1" "$2"
    http GET /images/bad -H 'Range: bytes=5-9'
    assert_json_error "$1" "$2"
    http PUT /images/bad -T "$D/data"
    assert_json_error "$1" "$2"
    http PUT /images/bad -H 'Content-Range: bytes 0-9/*' \
        --data-binary 0123456789
    assert_json_error "$1" "$2"
    http PATCH /images/bad -H 'Range: bytes=0-9' \
        -H 'Content-Type: application/octet-stream' --data-binary 0123456789
    assert_json_error "$1" "$2"
    json /images/bad "$(zero_json 0 10)"
    assert_json_error "$1" "$2"
    json /images/bad '{"op":"flush"}'
    assert_json_error "$1" "$2"
    post /images/bad/flush
    assert_json_error "$1" "$2"
    http GET /images/bad/extents
    assert_json_error "$1" "$2"
    http GET '/images/bad/extents?context=dirty'
    assert_json_error "$1" "$2"
}

# --- backends that are not there -------------------------------------------

@test "GET, PUT, PATCH, flush and extents of an export that does not exist are 500" {
    truncate -s 1M "$D/bad.img"
    start_qemu_nbd bad -f raw -x right "$D/bad.img"
    nbd_ticket bad bad ',"export":"wrong"'
    assert_all_refused 500 'backend error'
}

@test "GET, HEAD: a server that speaks another protocol is 500" {
    echo bad >>"$D/backends"
    supervise bad socat "UNIX-LISTEN:$D/bad.sock,fork" \
        SYSTEM:'printf "220 mail ready, this is no NBD server at all\r\n"'
    wait_for test -S "$D/bad.sock"
    nbd_ticket bad bad
    http GET /images/bad
    assert_json_error 500 'backend error'
    http HEAD /images/bad
    assert_status 500
}

@test "GET, OPTIONS: a server that greets byte by byte is not waited for" {
    supervise bad socat "UNIX-LISTEN:$D/bad.sock,fork" \
        'SYSTEM:while printf N; do sleep 0.3; done'
    echo bad >>"$D/backends"
    wait_for test -S "$D/bad.sock"
    nbd_ticket bad bad
    assert_took_under $((TIMEOUT + 2)) http GET /images/bad
    assert_json_error 504 'backend timed out'
    assert_took_under 5 http OPTIONS /images/bad
    assert_status 200
}

@test "GET, HEAD, PUT: an export that ends within a block is refused at once" {
    start_nbdkit bad --filter=blocksize-policy memory 10000 \
        blocksize-minimum=4096
    nbd_ticket bad bad
    for method in GET HEAD; do
        http $method /images/bad
        assert_status 500
    done
    http PUT /images/bad -H 'Content-Range: bytes 0-9/*' \
        --data-binary 0123456789
    assert_json_error 500 'backend error'
}

# --- reads that fail --------------------------------------------------------

@test "GET: a read error at the first bytes is 500, never 200" {
    start_nbdkit bad --filter=error pattern 64M error-pread-rate=100%
    nbd_ticket bad bad
    http GET /images/bad
    assert_json_error 500 'backend error'
    http GET /images/bad -H 'Range: bytes=1000000-2000000'
    assert_json_error 500 'backend error'
}

# start_torn NAME OFFSET: 64 MiB whose bytes from OFFSET on cannot be read.
start_torn() {
    printf '%s\n' '# Mapfile' '0x00000000 ?' "0x00000000 $2 +" \
        "$2 $((64 * MIB - $2)) -" >"$D/$1.map"
    start_nbdkit "$1" --filter=ddrescue file "$D/data" \
        "ddrescue-mapfile=$D/$1.map"
    nbd_ticket "$1" "$1"
}

@test "GET: a read error in the middle cuts the connection within seconds" {
    start_torn bad $((32 * MIB))
    assert_took_under 5 http GET /images/bad
    assert_cut
    [ "$(held_status now)" = 200 ]
    # What came is right, and not all came.
    size=$(stat -c %s "$http_body")
    [ "$size" -lt $((64 * MIB)) ]
    cmp -n "$size" "$D/data" "$http_body"
}

@test "GET: a read error in the last bytes cuts the connection" {
    start_torn bad $((64 * MIB - 512))
    assert_took_under 5 http GET /images/bad
    assert_cut
}

@test "GET: a read error in the middle of a range cuts the connection" {
    start_torn bad $((32 * MIB))
    assert_took_under 5 http GET /images/bad \
        -H "Range: bytes=1-$((40 * MIB))"
    assert_cut
    http GET /images/bad -H "Range: bytes=0-$((32 * MIB - 1))"
    assert_status 206
    assert_body <(bytes "$D/data" 0 $((32 * MIB)))
}

@test "GET: a client that pauses while the backend fails still sees the cut" {
    start_nbdkit bad file "$D/data"
    nbd_ticket paused bad
    hold_reader slow /images/paused --max-time 60
    kill -9 "$(cat "$D/bad.pid")"
    wait_for has_line "$D/program.log" '^error: method=GET ticket=paused '
    # The client reads on when the program has given up, or after 8 s ...
    end=$((SECONDS + 8))
    until has_fds "$IDLE_FDS" || ((SECONDS > end)); do
        sleep 0.05
    done
    # ... and the rest that was on its way does not look like all.
    assert_took_under 10 release slow
    assert_cut
}

@test "GET: a server that is killed in the middle cuts the connection" {
    start_nbdkit bad file "$D/data"
    nbd_ticket bad bad
    hold_reader slow /images/bad --max-time 60
    kill -9 "$(cat "$D/bad.pid")"
    assert_took_under 10 release slow
    assert_cut
}

@test "GET: a server that hangs in the middle cuts the connection after the timeout" {
    start_nbdkit bad file "$D/data"
    nbd_ticket bad bad
    hold_reader slow /images/bad --max-time 60
    kill -STOP "$(cat "$D/bad.pid")"
    assert_took_under $((TIMEOUT + 8)) release slow
    assert_cut
}

@test "GET: a slow server that makes progress is waited for" {
    start_nbdkit slow --filter=noparallel --filter=blocksize \
        --filter=delay file "$D/data" serialize=requests maxdata=1M \
        rdelay=700ms
    nbd_ticket slow slow
    http GET /images/slow -H "Range: bytes=0-$((5 * MIB - 1))"
    assert_status 206
    assert_body <(bytes "$D/data" 0 $((5 * MIB)))
}

@test "GET: a slow client is not the backend's timeout" {
    start_nbdkit slow file "$D/data"
    nbd_ticket slow slow
    hold_reader slow /images/slow
    end=$((SECONDS + TIMEOUT + 2))
    wait_for eval "((SECONDS > $end))"
    release slow
    assert_status 200
    assert_body "$D/data"
}

@test "GET: a file that shrinks in the middle cuts the connection" {
    cp "$D/data" "$D/shrinks"
    file_ticket shrinks "$D/shrinks"
    hold_reader slow /images/shrinks --max-time 60
    truncate -s $((40 * MIB)) "$D/shrinks"
    assert_took_under 10 release slow
    assert_cut
}

# --- writes that fail -------------------------------------------------------

# start_protected NAME FIRST LAST: 64 MiB of zeroes, writable but for a part. What
# is there already may be written: one random byte is a zero now and then.
start_protected() {
    start_nbdkit "$1" --filter=protect memory 64M "protect=$2-$3"
    nbd_ticket "$1" "$1"
}

@test "PUT: a write error in the middle is 500" {
    start_protected bad $((32 * MIB)) $((32 * MIB + 511))
    put /images/bad "$D/data"
    assert_json_error 500 'backend error'
    put /images/bad "$D/data" -H "Content-Range: bytes 0-$((64 * MIB - 1))/*"
    assert_json_error 500 'backend error'
}

@test "PATCH: a write error at a range is 500" {
    start_protected bad 5000 5511
    bytes "$D/data" 0 10000 >"$D/part"
    patch /images/bad "$D/part" bytes=0-9999
    assert_json_error 500 'backend error'
    patch /images/bad "$D/part" bytes=5512-15511
    assert_ok '{"ok":true,"bytes_written":10000}'
}

@test "PATCH zero: an error in the last of many commands is 500" {
    start_eval bad get_size='echo 10G' can_zero='exit 0' \
        zero='[ "$4" -lt 10000000000 ] || { echo EIO >&2; exit 1; }'
    nbd_ticket bad bad
    json /images/bad "$(zero_json 0 10000000000)"
    assert_ok '{"ok":true}'
    json /images/bad "$(zero_json 0 $((10 * GIB)))"
    assert_json_error 500 'backend error'
}

@test "PATCH flush, POST flush, PUT flush=y: a flush error is 500" {
    start_eval bad get_size='echo 1M' can_flush='exit 0' \
        flush='echo EIO >&2; exit 1'
    nbd_ticket bad bad
    post /images/bad/flush
    assert_json_error 500 'backend error'
    json /images/bad '{"op":"flush"}'
    assert_json_error 500 'backend error'
    http PUT '/images/bad?flush=y' -H 'Content-Range: bytes 0-9/*' \
        --data-binary 0123456789
    assert_json_error 500 'backend error'
    http PUT '/images/bad?flush=n' -H 'Content-Range: bytes 0-9/*' \
        --data-binary 0123456789
    assert_ok '{"ok":true,"bytes_written":10,"flushed":false}'
}

@test "PUT: a server that is killed in the middle is 500" {
    start_nbdkit bad memory 64M
    nbd_ticket bad bad
    hold_writer slow /images/bad "$D/data" $((20 * MIB)) --max-time 60
    wait_for has_commands bad Write
    kill -9 "$(cat "$D/bad.pid")"
    assert_took_under 10 finish slow
    assert_json_error 500 'backend error'
}

@test "PUT: a server that hangs in the middle is 504 after the timeout" {
    start_nbdkit bad memory 64M
    nbd_ticket bad bad
    hold_writer slow /images/bad "$D/data" $((20 * MIB)) --max-time 60
    wait_for has_commands bad Write
    kill -STOP "$(cat "$D/bad.pid")"
    assert_took_under $((TIMEOUT + 8)) finish slow
    assert_json_error 504 'backend timed out'
}

@test "PUT: a slow client is not the backend's timeout" {
    start_nbdkit disk memory 64M
    nbd_ticket disk disk
    hold_writer slow /images/disk "$D/data" $((20 * MIB))
    end=$((SECONDS + TIMEOUT + 2))
    wait_for eval "((SECONDS > $end))"
    release slow
    assert_ok '{"ok":true,"bytes_written":67108864,"flushed":false}'
    http GET /images/disk
    assert_body "$D/data"
}

# --- maps that fail ---------------------------------------------------------

@test "GET extents: an error at the first command is 500" {
    start_nbdkit bad --filter=error memory 64M error-extents-rate=100%
    nbd_ticket bad bad
    http GET /images/bad/extents
    assert_json_error 500 'backend error'
    http HEAD /images/bad/extents
    assert_status 500
}

@test "GET extents: an error in the middle of a long list cuts the connection" {
    # Four commands are answered, 10,000 extents each; the fifth fails.
    start_eval bad get_size='echo 10G' can_extents='exit 0' \
        extents='[ "$4" -lt 2621440000 ] || { echo EIO >&2; exit 1; }
            awk -v at="$4" "BEGIN { for (i = 0; i < 10000; i++)
                printf \"%.0f 65536 %s\\n\", at + i * 65536,
                       i % 2 ? \"zero\" : \"\" }"'
    nbd_ticket bad bad
    assert_took_under 10 http GET /images/bad/extents
    assert_cut
    # Something had gone out, else it would have been 500.
    [ "$(held_status now)" = 200 ]
    run jq . "$http_body"
    [ "$status" != 0 ]
}

@test "GET extents: a server that hangs in the middle of a long list cuts the connection" {
    start_eval bad get_size='echo 10G' can_extents='exit 0' \
        extents='[ "$4" -lt 655360000 ] || exec sleep 1000
            awk -v at="$4" "BEGIN { for (i = 0; i < 10000; i++)
                printf \"%.0f 65536 %s\\n\", at + i * 65536,
                       i % 2 ? \"zero\" : \"\" }"'
    nbd_ticket bad bad
    http_start slow GET /images/bad/extents --max-time 60
    assert_took_under $((TIMEOUT + 8)) http_wait slow
    # Its script waits for nobody.
    pkill -9 -P "$(cat "$D/bad.pid")"
    assert_cut
    [ "$(held_status slow)" = 200 ]
}

# --- clients that leave -----------------------------------------------------

@test "GET: a client that leaves in the middle frees its slot at once" {
    start_good
    start_nbdkit disk $ONE_THREAD file "$D/data"
    nbd_ticket disk disk
    file_ticket file "$D/data"
    for id in disk file; do
        hold_reader gone /images/$id
        http GET /images/good
        assert_json_error 503 'too many parallel reads'
        http_kill gone
        wait_for -t 2 can_read /images/good
        stop_requests
        wait_for -t 2 has_fds "$IDLE_FDS"
    done
}

@test "GET: a client that leaves while the backend hangs frees its slot" {
    start_good
    start_nbdkit disk $ONE_THREAD file "$D/data"
    nbd_ticket disk disk
    hold_reader gone /images/disk
    kill -STOP "$(cat "$D/disk.pid")"
    http_kill gone
    wait_for -t 2 can_read /images/good
}

# Whatever the NBD server makes of a client that left: nbdkit 1.32 may have
# aborted.
is_unlocked() { # PATH
    http PUT "$1" -H 'Content-Range: bytes 0-9/*' --data-binary 0123456789
    [ "$http_status" != 409 ]
}

@test "PUT: a client that leaves in the middle frees slot and lock at once" {
    start_good
    start_nbdkit disk $ONE_THREAD memory 64M
    nbd_ticket disk disk
    hold_writer gone /images/disk "$D/data" $((20 * MIB))
    wait_for has_commands disk Write
    http PUT /images/good -H 'Content-Range: bytes 0-9/*' \
        --data-binary 0123456789
    assert_json_error 503 'too many parallel writes'
    json /images/disk '{"op":"flush"}'
    assert_json_error 409 'image busy'
    http_kill gone
    wait_for -t 2 can_write /images/good
    wait_for -t 2 is_unlocked /images/disk
    wait_for -t 2 has_fds "$IDLE_FDS"
}

@test "PUT: a client that leaves in the middle leaves the old file" {
    mkdir "$D/folder"
    echo old >"$D/folder/image"
    file_ticket file "$D/folder/image"
    hold_writer gone /images/file "$D/data" $((20 * MIB))
    wait_for is_writing_file
    http_kill gone
    wait_for -t 2 has_fds "$IDLE_FDS"
    [ "$(cat "$D/folder/image")" = old ]
    [ "$(ls -A "$D/folder")" = image ]
    # And the image is free.
    put /images/file "$D/data"
    assert_ok '{"ok":true,"bytes_written":67108864,"flushed":false}'
    cmp "$D/data" "$D/folder/image"
    rm -r "$D/folder"
}

# The program has a file without a name open, below $D/folder.
is_writing_file() {
    find "/proc/$PID/fd" -lname "$D/folder/*" -printf '%l\n' | grep -q .
}

@test "GET extents: a client that leaves in the middle frees the lock at once" {
    start_eval disk $ONE_THREAD get_size='echo 100G' can_extents='exit 0' \
        extents='awk -v at="$4" "BEGIN { for (i = 0; i < 20000; i++)
            printf \"%.0f 4096 %s\\n\", at + i * 4096,
                   i % 2 ? \"zero\" : \"\" }"'
    nbd_ticket disk disk
    hold_reader gone /images/disk/extents
    http PUT /images/disk -H 'Content-Range: bytes 0-9/*' \
        --data-binary 0123456789
    assert_json_error 409 'image busy'
    http_kill gone
    wait_for -t 5 is_unlocked /images/disk
}

@test "GET, PUT: a hundred clients that leave leave nothing" {
    start_nbdkit disk $ONE_THREAD file "$D/data"
    nbd_ticket disk disk
    file_ticket file "$D/data"
    for i in 1 2 3 4 5 6 7 8 9 10; do
        for id in disk file; do
            # The socket is closed with an answer, or a body, on its way.
            for j in 1 2 3 4 5; do
                printf 'GET /images/%s HTTP/1.1\r\nHost: a\r\n\r\n' $id |
                    socat -u - "UNIX-CONNECT:$SOCK"
            done
        done
    done
    wait_for has_fds "$IDLE_FDS"
    wait_for can_read /images/file
}

# --- disks that are full, processes that are killed -------------------------

mount_small() {
    mkdir -p "$D/small"
    as_root mount -t tmpfs -o size=4m,mode=0777 tmpfs "$D/small"
    bytes "$D/data" 0 $MIB >"$D/small/image"
    bytes "$D/data" 0 $MIB >"$D/old"
    chmod 640 "$D/small/image"
    file_ticket full "$D/small/image"
}

assert_small_is_as_it_was() {
    [ "$(ls -A "$D/small")" = image ]
    cmp "$D/old" "$D/small/image"
    [ "$(stat -c %a "$D/small/image")" = 640 ]
}

@test "PUT: a file that does not fit on the disk is 507 and the old file stays" {
    mount_small
    put /images/full "$D/data"
    assert_json_error 507 'no space left'
    assert_small_is_as_it_was
    # One that fits beside the old one, does.
    bytes "$D/data" 5000 $((2 * MIB)) >"$D/part"
    put /images/full "$D/part"
    assert_ok '{"ok":true,"bytes_written":2097152,"flushed":false}'
    cmp "$D/part" "$D/small/image"
}

@test "PUT: a file that does not fit is 507 before its body is sent" {
    mount_small
    # 8 MiB are announced and not one byte of them is ever sent.
    printf 'PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\n' \
        /images/full 8388608 >"$D/part"
    assert_took_under 5 python3 "$TOP/tests/e2e/fcgi_peer.py" http "$SOCK" \
        <"$D/part" >"$D/early"
    has_line "$D/early" '^HTTP/1.1 507 '
    [ "$(tail -n 1 "$D/early")" = '{"error":"no space left"}' ]
    assert_small_is_as_it_was
}

@test "PUT: no more names (inodes) on the disk is 507 and the old file stays" {
    mkdir -p "$D/small"
    as_root mount -t tmpfs -o size=4m,nr_inodes=2,mode=0777 tmpfs "$D/small"
    echo old >"$D/small/image"
    file_ticket full "$D/small/image"
    http PUT /images/full --data-binary new
    assert_json_error 507 'no space left'
    [ "$(cat "$D/small/image")" = old ]
}

# start_again: after the program was killed.
start_again() {
    start_programs 1 --backend-timeout $TIMEOUT --max-readers 1 \
        --max-writers 1
    wait_for is_answering
    IDLE_FDS=$(idle_fds)
}

@test "GET: kill -9 of the program in the middle is an error at the client at once" {
    start_nbdkit disk file "$D/data"
    nbd_ticket disk disk
    file_ticket file "$D/data"
    for id in disk file; do
        hold_reader cut "/images/$id" --max-time 60
        kill -9 "$PID"
        wait_for is_gone "$PID"
        assert_took_under 5 release cut
        assert_cut
        size=$(stat -c %s "$http_body")
        [ "$size" -lt $((64 * MIB)) ]
        cmp -n "$size" "$D/data" "$http_body"
        start_again
    done
}

@test "GET extents: kill -9 of the program in the middle of a list is an error at the client" {
    start_nbdkit many --filter=delay eval get_size='echo 1G' \
        pread='head -c $3 /dev/zero' can_extents='exit 0' \
        extents='for i in $(seq $4 65536 $(($4 + 65536 * 500))); do
            echo $i 32768; echo $((i + 32768)) 32768 hole,zero; done' \
        delay-extents=300ms
    nbd_ticket many many
    hold_reader cut /images/many/extents --max-time 60
    kill -9 "$PID"
    wait_for is_gone "$PID"
    assert_took_under 5 release cut
    assert_cut
    start_again
}

@test "PUT: kill -9 of the program in the middle leaves the old file and no other" {
    mkdir "$D/folder"
    echo old >"$D/folder/image"
    file_ticket file "$D/folder/image"
    hold_writer cut /images/file "$D/data" $((20 * MIB)) --max-time 60
    wait_for is_writing_file
    kill -9 "$PID"
    wait_for is_gone "$PID"
    finish cut
    [ "$http_status" != 200 ]
    [ "$(cat "$D/folder/image")" = old ]
    [ "$(ls -A "$D/folder")" = image ]
    # A new process serves, and the image is not locked.
    start_again
    put /images/file "$D/data"
    assert_ok '{"ok":true,"bytes_written":67108864,"flushed":false}'
    rm -r "$D/folder"
}
