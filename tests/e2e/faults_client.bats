#!/usr/bin/env bats
# Each request, and a client that leaves, creeps or half-closes: nothing of it
# stays, and no image is what it may not be (CONTRACT 2, 4, 5, 8). With the
# default limits, and so one writer at a time.

load common
load faults

TIMEOUT=1 # --backend-timeout, seconds

setup_file() {
    start_service --backend-timeout $TIMEOUT
    make_rows
    start_rows
    warm_up
}

teardown_file() {
    stop_service
}

teardown() {
    local row

    stop_requests
    for row in nbd-zero nbd-flush; do
        gate $row r || return 1
    done
    assert_not_grown
}

# last_line ROW: what the program logged of its last request.
last_line() {
    grep -E "^[a-z]+: method=[A-Z]+ ticket=${1:0:8} " "$D/program.log" | tail -n 1
}

# leave ROW: the client that is stopped there leaves.
leave() {
    rude_go "$1"
    rude_wait "$1"
    [ "$rude_result" = left ]
    # Only nginx tells the program while it waits for the NBD server.
    if is_gated "$1"; then
        if [ "$WEB" = nginx ]; then
            assert_free
        fi
        gate "$1" r
    fi
    assert_free
}

@test "a client that leaves at the start of its request frees all, and changes nothing" {
    for row in $ROWS; do
        echo "cell: $row"
        renew $row
        if is_upload $row; then
            rude $row $row --stop-sent 0 --leave
            wait_for has_writer
            leave $row
            assert_image $row old
            [[ $(last_line $row) == *' status=499 '* ]]
        else
            # It is gone before anybody has looked at it.
            request_of $row
            rude $row $row --stop-sent "$upload" --leave
            leave $row
            assert_image $row between
        fi
        assert_no_parts
        assert_serves $row
    done
}

@test "a client that leaves in the middle of its request frees all, and leaves no short one" {
    for row in $ROWS; do
        # Nothing holds back a file that is flushed.
        [ $row != file-flush ] || continue
        echo "cell: $row"
        hold $row --leave
        leave $row
        assert_image $row between
        assert_no_parts
        line=$(last_line $row)
        if is_upload $row; then
            [[ $line == *' status=499 '* ]]
        elif is_download $row; then
            [[ $line =~ ' status=20'[06]' '.*' error=' ]]
        fi
        assert_serves $row
    done
}

@test "a client that leaves before the last byte of its body has written no whole image" {
    for row in $ROWS; do
        is_upload $row || continue
        echo "cell: $row"
        renew $row
        request_of $row
        rude $row $row --stop-sent $((upload - 1)) --leave
        wait_for has_stopped $row
        wait_for has_writer
        leave $row
        [[ $(last_line $row) == *' status=499 '* ]]
        assert_image $row between
        if [ $row = file-put ]; then
            assert_image $row old
        fi
        assert_no_parts
        assert_serves $row
    done
}

@test "a client that leaves before the last byte of its answer leaves the image done" {
    for row in $ROWS; do
        echo "cell: $row"
        renew $row
        rude $row $row --stop-read -1 --leave
        wait_for has_stopped $row
        # All but that byte is there, and nothing is taken any more.
        assert_free
        leave $row
        assert_image $row want
        assert_no_parts
        assert_serves $row
    done
}

# To nginx a client that half-closes has left: it cuts off what runs, and the
# client gets nothing, or part of it; what is done by then is answered. lighttpd
# (on a Unix socket) serves it as any other.
@test "a client that half-closes its side gets all, or knows that it did not" {
    for row in $ROWS; do
        echo "cell: $row"
        renew $row
        rude $row $row --half-close
        rude_wait $row
        echo "$rude_result"
        assert_free
        if [ "$WEB" = lighttpd ]; then
            assert_whole $row
        elif is_download $row; then
            assert_rude_cut $row
        fi
        if [[ $rude_result = whole* ]]; then
            assert_whole $row
            assert_image $row want
        else
            assert_rude_cut $row
            assert_image $row between
        fi
        assert_no_parts
        assert_serves $row
    done
}

is_slow() { # NAME: it has crept for longer than any timeout of ours
    has_line "$D/rude.$1.log" "^slow $2\$"
}

@test "clients that read a byte a second are waited for, and disturb nobody" {
    local rows=

    for row in $ROWS; do
        if is_download $row; then
            rude $row $row --slow --stop-read 1
            rows+=" $row"
        fi
    done
    for row in $rows; do
        echo "cell: $row"
        wait_for is_slow $row 3
    done
    # A writer, and the readers that are left.
    for row in $ROWS; do
        echo "cell: beside them $row"
        [ $row = nbd-extents ] || assert_serves $row
    done
    for row in $rows; do
        wait_for is_slow $row 4
        rude_go $row
    done
    for row in $rows; do
        echo "cell: $row"
        rude_wait $row
        assert_whole $row
    done
    assert_free
}

@test "a client that sends a byte a second is waited for, and holds up no reader" {
    for row in $ROWS; do
        is_upload $row || continue
        echo "cell: $row"
        renew $row
        request_of $row
        rude $row $row --slow --stop-sent $((upload / 2))
        # Longer than --backend-timeout, beside a server that has nothing to do.
        wait_for is_slow $row 2
        for other in nbd-get file-get; do
            assert_serves $other
        done
        rude_go $row
        rude_wait $row
        assert_whole $row
        assert_image $row want
        assert_free
        assert_serves $row
    done
}
