#!/usr/bin/env bats
# Peers on the program's own socket that lie: tables of them, all in
# fcgi_hostile.py. Each is refused unless its row says why not, the image stays
# what it is, and the next honest requests are served at once.
#
# No web server is needed.

load common

SIZE=1000

setup_file() {
    make_dir
    make_disk "$D/image" $SIZE
    cp "$D/image" "$D/before"
    start_programs 1
}

teardown_file() {
    stop_service
}

setup() {
    start_nbdkit disk --threads=1 file "$D/image"
    nbd_ticket disk disk
    file_ticket file "$D/image"
    # What is served in place of what is hidden in another request.
    file_ticket muxed "$D/muxed"
}

teardown() {
    local failed=0

    is_running "$PID" || failed=1
    cmp "$D/before" "$D/image" || failed=1
    if grep -a 'ticket=muxed' "$D/program.log" >&2; then
        failed=1
    fi
    stop_backends || failed=1
    # No connection, no image, no lock.
    wait_for has_fds "$(idle_fds)" || failed=1
    return $failed
}

hostile() { # TABLE
    python3 "$TOP/tests/e2e/fcgi_hostile.py" "$D/fcgi.sock" "$D/image" "$1"
}

@test "a record of any type where it does not belong is refused" {
    hostile types
}

@test "a beginning that is malformed, twice, or of another role is refused" {
    hostile begins
}

@test "a request whose id is 0, or that goes on as another one, is refused" {
    hostile ids
}

@test "lengths of names and values that lie are refused" {
    hostile lengths
}

@test "a request that is cut, aborted or out of order at any stage is refused" {
    hostile stages
}

@test "variables that contradict each other or the body are refused" {
    hostile environments
}

@test "PUT: one with turned bits is refused, or does what it says" {
    hostile mutations
}

@test "a request that is begun and not sent on is dropped after seconds" {
    hostile half_open
}

@test "more such requests than there are workers hold others up for seconds" {
    hostile starve
}

@test "a peer that never stops sending is dropped" {
    hostile floods
}

@test "no peer brings a line or a control character into the log" {
    local lines

    # Each line is one of ours, and ours have no other characters.
    lines=$(grep -avcE '^(error|warning|info|debug): [ -~]*$' \
        "$D/program.log") || [ $? = 1 ]
    [ "$lines" = 0 ]
    has_line "$D/program.log" '^info: method=PUT.x0a ticket=file '
    run ! grep -aE '^[a-z]+: .{2000}' "$D/program.log"
}
