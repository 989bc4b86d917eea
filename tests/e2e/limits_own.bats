#!/usr/bin/env bats
# Limits that need a service of their own for each test: killed processes,
# other numbers (CONTRACT 8, 10).

load common

teardown() {
    local failed=0

    stop_backends || failed=1
    remove_service || failed=1
    return $failed
}

# begin COUNT [OPTION...]: the service, an image a of 8 MiB on a, 64 KiB on b.
begin() {
    start_service_of "$@"
    make_disk "$D/disk" $((8 * MIB))
    make_disk "$D/new" $((8 * MIB))
    make_disk "$D/small" $((64 * KIB))
    start_nbdkit a file "$D/disk"
    nbd_ticket a a
    start_nbdkit b memory 64K
    nbd_ticket b b
}

# busy_pid: the one that has more open than it had before its first request.
busy_pid() {
    local pid

    for pid in $PIDS; do
        if [ "$(fd_count "$pid")" -gt "$(idle_fds "$pid")" ]; then
            echo "$pid"
        fi
    done
}

# The pid of the one process that serves the one held request.
kill_busy() {
    local pid

    pid=$(busy_pid)
    [ -n "$pid" ] && [ "$(wc -w <<<"$pid")" = 1 ]
    kill -9 "$pid"
    wait_for is_gone "$pid"
}

@test "PUT: kill -9 of the process frees the writer's slot and the image's lock" {
    begin 4
    hold_writer w /images/a "$D/new" $((7 * MIB))
    wait_for has_commands a Write
    put /images/b "$D/small"
    assert_json_error 503 'too many parallel writes'
    put /images/a "$D/new"
    assert_json_error 409 'image busy'
    kill_busy
    put /images/b "$D/small"
    assert_status 200
    put /images/a "$D/new"
    assert_status 200
    cmp "$D/new" "$D/disk"
    release w
    run ! assert_status 200
}

@test "GET: kill -9 of the process frees the reader's slot" {
    begin 4 --max-readers 1
    truncate -s 256M "$D/large"
    start_nbdkit large file "$D/large"
    nbd_ticket large large
    # nginx does not see that the answer is not whole, since the kernel has
    # closed the connection: the client gets no more, until its own timeout.
    hold_reader r /images/large --speed-limit 1 --speed-time 3
    http GET /images/b
    assert_json_error 503 'too many parallel reads'
    kill_busy
    http GET /images/b
    assert_status 200
    release r
    [ "$http_exit" != 0 ]
}

@test "PUT: kill -9 of the process leaves the old file, and frees it" {
    begin 2
    mkdir "$D/files"
    cp "$D/disk" "$D/files/image"
    file_ticket file "$D/files/image"
    hold_locked w /images/file "$D/new" $((7 * MIB))
    kill_busy
    cmp "$D/disk" "$D/files/image"
    put /images/file "$D/small"
    assert_status 200
    cmp "$D/small" "$D/files/image"
    release w
    run ! assert_status 200
    cmp "$D/small" "$D/files/image"
}

@test "PUT: two writers where two are allowed, the third is 503" {
    begin 2 --max-writers 2
    make_disk "$D/disk2" $((8 * MIB))
    start_nbdkit a2 file "$D/disk2"
    nbd_ticket a2 a2
    hold_writer w /images/a "$D/new" $((7 * MIB))
    wait_for has_commands a Write
    hold_writer w2 /images/a2 "$D/new" $((7 * MIB))
    wait_for has_commands a2 Write
    put /images/a "$D/new"
    assert_json_error 409 'image busy'
    put /images/b "$D/small"
    assert_json_error 503 'too many parallel writes'
    http OPTIONS /images/b
    assert_json 200 '{"unix_socket":null,"features":["extents","zero","flush"],"max_readers":8,"max_writers":2}'
    release w
    assert_status 200
    put /images/b "$D/small"
    assert_status 200
    release w2
    assert_status 200
    cmp "$D/new" "$D/disk"
    cmp "$D/new" "$D/disk2"
}

@test "GET: a server that begins anew finds no slot taken by one that was killed" {
    local i

    begin 1 --max-readers 1
    for i in 1 2 3; do
        truncate -s 256M "$D/large"
        start_nbdkit large file "$D/large"
        nbd_ticket large large
        hold_reader r /images/large
        kill -9 "$PID"
        wait_for is_gone "$PID"
        http_kill r
        start_programs 1 --max-readers 1
        wait_for is_answering
        http GET /images/b
        assert_status 200
        stop large
    done
}
