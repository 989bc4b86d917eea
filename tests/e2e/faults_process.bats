#!/usr/bin/env bats
# Each request, held in the middle while web server or program are stopped,
# killed or replaced: all requests of the matrix at once, each on an image of
# its own (CONTRACT 2, 5, 8, 10).

load common
load faults

# What can be held in the middle.
HELD=${ROWS/file-flush/}

OPTIONS='--max-readers 16 --max-writers 16 --workers 32'

setup_file() {
    make_dir
    make_rows
}

setup() {
    : >"$D/program.log"
    start_rows
}

# Each test starts its own program and web server.
teardown() {
    local failed=0 row

    stop_requests
    for row in nbd-zero nbd-flush; do
        gate $row r || failed=1
    done
    : >"$D/no-more"
    stop_backends || failed=1
    for pid in $PIDS; do
        if is_running "$pid"; then
            kill "$pid" || failed=1
            wait_for is_gone "$pid" || failed=1
        fi
    done
    [ ! -e "$D/web.pid" ] || stop web || failed=1
    if grep -E 'Sanitizer|runtime error' "$D/program.log"; then
        failed=1
    fi
    # Ended as told, or killed.
    if grep -vE ' (0|137)$' "$D/program.statuses"; then
        failed=1
    fi
    return $failed
}

teardown_file() {
    rm -rf "$D"
}

# start COUNT: the program and the web server.
start() {
    # shellcheck disable=SC2086
    start_programs "$1" $OPTIONS
    start_web
}

hold_all() {
    for row in $HELD; do
        begin_hold $row
    done
    for row in $HELD; do
        echo "cell: held $row"
        wait_for is_in_the_middle $row
    done
}

go_all() {
    for row in nbd-zero nbd-flush; do
        gate $row r
    done
    for row in $HELD; do
        rude_go $row
    done
}

# assert_all_cut: every client knows it, nothing is taken any more, each image
# is one that may be, and the next request is served.
assert_all_cut() {
    for row in $HELD; do
        echo "cell: $row"
        rude_wait $row
        assert_rude_cut $row
    done
    assert_free
    assert_no_parts
    for row in $HELD; do
        echo "cell: after it $row"
        assert_image $row between
        assert_serves $row
    done
}

assert_all_whole() {
    for row in $HELD; do
        echo "cell: $row"
        rude_wait $row
        assert_whole $row
        assert_image $row want
    done
    assert_free
    assert_no_parts
}

web_pids() {
    local pid

    pid=$(cat "$D/web.pid")
    echo "$pid" "$(cat "/proc/$pid/task/$pid/children")"
}

all_gone() {
    local pid

    for pid in "$@"; do
        is_gone "$pid" || return 1
    done
}

@test "a web server that is killed in the middle of all requests leaves nothing of them" {
    start 1
    hold_all
    pids=$(web_pids)
    # shellcheck disable=SC2086
    as_root kill -9 $pids
    # shellcheck disable=SC2086
    wait_for all_gone $pids
    # Though two NBD servers still say nothing.
    assert_free
    go_all
    wait_for test -e "$D/web.status"
    start_web
    assert_all_cut
    wait_for has_fds "$(idle_fds)"
}

@test "a web server that is reloaded in the middle of all requests finishes them, and serves others" {
    start 1
    hold_all
    case $WEB in
    nginx)
        before=$(web_pids)
        kill -HUP "$(cat "$D/web.pid")"
        wait_for has_new_workers
        # By the new workers.
        assert_serves file-flush
        go_all
        assert_all_whole
        ;;
    lighttpd)
        # It takes nothing new until all is finished, and waits for that, by
        # its configuration, longer than 8 s.
        kill -USR1 "$(cat "$D/web.pid")"
        end=$((SECONDS + 10))
        wait_for eval "((SECONDS > $end))"
        go_all
        assert_all_whole
        wait_for is_answering
        assert_serves file-flush
        ;;
    esac
    is_running "$(cat "$D/web.pid")"
    wait_for has_fds "$(idle_fds)"
}

has_new_workers() {
    local pids

    pids=$(web_pids)
    [ "$pids" != "$before" ] && [ "$(wc -w <<<"$pids")" -gt \
        "$(wc -w <<<"$before")" ]
}

@test "a web server that is stopped in the middle of all requests finishes them" {
    start 1
    hold_all
    case $WEB in
    nginx) kill -QUIT "$(cat "$D/web.pid")" ;;
    lighttpd) kill -INT "$(cat "$D/web.pid")" ;;
    esac
    wait_for is_deaf
    go_all
    assert_all_whole
    wait_for test -e "$D/web.status"
    [ "$(cat "$D/web.status")" = 0 ]
    start_web
    for row in $HELD; do
        assert_serves $row
    done
    wait_for has_fds "$(idle_fds)"
}

is_deaf() { # takes no connection
    ! curl -sS --max-time 1 --unix-socket "$SOCK" \
        http://localhost/images/no-such-ticket
}

@test "a program that is stopped in the middle of all requests finishes them" {
    start 1
    hold_all
    kill -TERM "$PID"
    wait_for has_line "$D/program.log" '^info: stopping '
    go_all
    assert_all_whole
    wait_for has_line "$D/program.statuses" "^$PID 0\$"
}

# start_again: one more process on the socket that is there already.
start_again() {
    local ready

    ready=$(ready_count)
    : >"$D/again"
    wait_for have_begun $((ready + 1))
    NEW=$(tail -n 1 "$D/program.pids")
    PIDS="$PIDS $NEW"
}

# start_held: the program, on a socket that outlives it.
start_held() {
    rm -f "$D/fcgi.sock" "$D/no-more"
    : >"$D/program.pids"
    : >"$D/program.statuses"
    (
        close_others
        # shellcheck disable=SC2086
        exec spawn-fcgi -s "$D/fcgi.sock" -M 0666 -- \
            /bin/bash "$TOP/tests/e2e/relaunch.bash" "$D" \
            "$PROGRAM" --ticket-dir "$D/tickets" --run-dir "$D/run" \
            --log-level debug $OPTIONS
    ) </dev/null >"$D/spawn.log" 2>&1
    wait_for have_begun 1
    PID=$(cat "$D/program.pids")
    PIDS=$PID
    start_web
}

is_waiting() { # COUNT: connections that nobody has accepted
    [ "$(ss -xlH src "$D/fcgi.sock" | awk '{ print $3 }')" -ge "$1" ]
}

@test "a program that is killed, and started on the same socket, serves who has waited" {
    start_held
    hold_all
    kill -9 "$PID"
    wait_for is_gone "$PID"
    # Those that it had are told at once, not when there is a new one.
    go_all
    for row in $HELD; do
        echo "cell: $row"
        rude_wait $row
        assert_rude_cut $row
    done
    [ "$(lock_count)" = 0 ]
    assert_no_parts
    for row in $HELD; do
        echo "cell: after it $row"
        assert_image $row between
        renew $row
        rude $row $row
    done
    wait_for is_waiting 1
    start_again
    PID=$NEW
    assert_all_whole
}

@test "a program that is stopped, and started on the same socket, loses no request" {
    start_held
    hold_all
    kill -TERM "$PID"
    wait_for has_line "$D/program.log" '^info: stopping '
    start_again
    # The new one serves while the old one has to finish.
    for row in nbd-get file-get file-flush; do
        assert_serves $row
    done
    is_running "$PID"
    go_all
    assert_all_whole
    wait_for has_line "$D/program.statuses" "^$PID 0\$"
    PID=$NEW
    for row in $ROWS; do
        echo "cell: after it $row"
        assert_serves $row
    done
}

# requests_of PID: how many it has; each has a descriptor with locks.
requests_of() {
    grep -ls '^lock:' "/proc/$1/fdinfo"/* | wc -l
}

@test "one process of four that is killed cuts its own requests, and no others" {
    local pid whole=0 cut=0
    declare -A of before

    start 4
    for row in $HELD; do
        for pid in $PIDS; do
            before[$pid]=$(requests_of $pid)
        done
        hold $row
        for pid in $PIDS; do
            if [ "$(requests_of $pid)" -gt "${before[$pid]}" ]; then
                of[$row]=$pid
            fi
        done
        echo "cell: $row by ${of[$row]}"
    done
    # The one that has most.
    PID=$(printf '%s\n' "${of[@]}" | sort | uniq -c | sort -n | awk 'END { print $2 }')
    kill -9 "$PID"
    wait_for is_gone "$PID"
    # What it had is free at once.
    for row in $HELD; do
        [ "${of[$row]}" = "$PID" ] || continue
        echo "cell: killed $row"
        rude_go $row
        rude_wait $row
        assert_rude_cut $row
        assert_image $row between
        ! is_gated $row || gate $row r
        assert_serves $row
        cut=$((cut + 1))
    done
    go_all
    for row in $HELD; do
        [ "${of[$row]}" != "$PID" ] || continue
        echo "cell: beside the killed $row"
        rude_wait $row
        assert_whole $row
        assert_image $row want
        whole=$((whole + 1))
    done
    assert_free
    assert_no_parts
    echo "cut $cut, whole $whole"
    [ $cut -gt 0 ]
    [ $whole -gt 0 ]
}
