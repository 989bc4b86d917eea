#!/usr/bin/env bats
# /status and /metrics where a test needs a server of its own: processes that
# are killed or begin anew, a full run directory, clients from elsewhere.

load common

teardown() {
    local failed=0

    stop_backends || failed=1
    # A program that still runs there is ended below, and does not keep it.
    if [ -e "$D/small.mounted" ]; then
        as_root umount -l "$D/small" || failed=1
    fi
    remove_service || failed=1
    return $failed
}

shows() { # FILTER: is jq's FILTER true of /status?
    http GET /status
    [ "$http_status" = 200 ] && jq -e "$1" "$http_body" >/dev/null
}

# counted NAME: a metric, of the last answer.
counted() {
    awk -v name="$1" '$1 == name { print $2 }' "$http_body"
}

start_large() {
    truncate -s 256M "$D/large"
    start_nbdkit large file "$D/large"
    nbd_ticket large large
}

@test "GET /status: a killed process leaves no ghost, and what it counted stays" {
    local i pid victim=

    start_service_of 4
    start_large
    for i in 1 2 3 4 5 6; do
        hold_reader $i /images/large
    done
    wait_for shows '.transfers | length == 6'
    for pid in $PIDS; do
        if [ "$(fd_count "$pid")" -gt "$(idle_fds "$pid")" ]; then
            victim=$pid
        fi
    done
    kill -9 "$victim"
    wait_for is_gone "$victim"
    # At once: no time has to pass.
    shows '.processes == 3 and (.transfers | length) < 6'
    http GET /metrics
    [ "$(counted imageio_processes)" = 3 ]
    # What had gone out when each was held.
    [ "$(counted 'imageio_bytes_total{backend="nbd",direction="out"}')" -gt 0 ]
    for i in 1 2 3 4 5 6; do
        http_kill $i
    done
    wait_for shows '.transfers == []'
}

@test "GET /metrics: counters go on when the program begins anew" {
    start_service
    start_large
    http GET /images/large -r 0-999999
    assert_status 206
    kill "$PID"
    wait_for has_line "$D/program.statuses" "^$PID 0\$"
    start_programs 1
    wait_for is_answering
    http GET /images/large -r 0-999999
    assert_status 206
    http GET /metrics
    [ "$(counted 'imageio_bytes_total{backend="nbd",direction="out"}')" = 2000000 ]
    [ "$(counted 'imageio_requests_total{method="GET",status="206"}')" = 2 ]
    shows '.processes == 1'
}

@test "GET /status, /metrics: who comes from elsewhere gets 403, and no number" {
    local path

    # The clients of these tests come by a Unix socket, which counts as this
    # host: until the example no longer says so.
    if [ "$WEB" = nginx ]; then
        WEB_SED='/allow unix:;/d' start_service
    else
        WEB_SED='s/|\/|\$)"/)"/' start_service
    fi
    for path in /status /metrics; do
        http GET $path
        assert_status 403
        run ! grep -qE 'imageio|transfers' "$http_body"
    done
    # Nor by any other way to write it, or to say who one is.
    while read -r path; do
        http GET "$path" -H 'X-Forwarded-For: 127.0.0.1' \
            -H 'X-Real-IP: 127.0.0.1' -H 'Forwarded: for=127.0.0.1'
        if ! [[ $http_status =~ ^(400|403|404)$ ]]; then
            echo "$path is answered with $http_status" >&2
            return 1
        fi
        run ! grep -qE 'imageio|transfers' "$http_body"
    done <<'END'
//status
/./status
/%73tatus
/STATUS
/status/
/status/.
/status?x
/status%0a
/status%20
/status%2f
/status%3fx
/status;x
/images/../status
/images//../status
/images/x/../../status
/images/%2e%2e/status
/images/..%2fstatus
/images%2f..%2fstatus
/images/..;/status
/images\..\status
/images%0a/../status
/images/../metrics
/metrics%2f
/transfers/
//transfers/
/transfers//
/transfers%2f
/transfers/index.html
/%74ransfers/main.js
/images/../transfers/main.js
/transfers/../status
/transfers/..%2fstatus
/transfers/%2e%2e/metrics
END
    # Images are for all.
    start_large
    http GET /images/large -r 0-9
    assert_status 206
}

@test "GET: images are served where the run directory has no room for the scoreboard" {
    make_dir
    mkdir "$D/small"
    as_root mount -t tmpfs -o size=64k,mode=0777 tmpfs "$D/small"
    : >"$D/small.mounted"
    mkdir "$D/small/run"
    ln -s "$D/small/run" "$D/run"
    start_programs 1 --run-dir "$D/small/run" --workers 900
    start_web
    has_line "$D/program.log" '^warning: transfers of this process are not shown: make room in .*/scoreboard-1: No space left on device'
    start_large
    http GET /images/large -r 0-999
    assert_status 206
    shows '.processes == 0 and .transfers == []'
    # It counts for itself.
    http GET /metrics
    [ "$(counted 'imageio_requests_total{method="GET",status="206"}')" = 1 ]
    kill "$PID"
    wait_for has_line "$D/program.statuses" "^$PID 0\$"
}
