#!/usr/bin/env bats
# HTTP peers that lie, through each web server: tables of them, all in
# http_hostile.py. Each is refused, by the web server or by the program, unless
# its row says why not; what is hidden in another request is never run, the
# images stay what they are, and the next honest requests are served at once.

load common

SIZE=1000

setup_file() {
    start_service
    make_disk "$D/image" $SIZE
    make_disk "$D/hidden" $SIZE
    cp "$D/image" "$D/before"
    cp "$D/hidden" "$D/hidden.before"
}

teardown_file() {
    stop_service
}

setup() {
    start_nbdkit disk --threads=1 file "$D/image"
    nbd_ticket disk disk
    file_ticket file "$D/image"
    file_ticket token "$D/image" ',"token":"right-0123456789"'
    file_ticket hidden "$D/hidden"
}

teardown() {
    local failed=0

    is_running "$PID" || failed=1
    cmp "$D/before" "$D/image" || failed=1
    cmp "$D/hidden.before" "$D/hidden" || failed=1
    if grep -a 'ticket=hidden' "$D/program.log" >&2; then
        failed=1
    fi
    # What a token is, the log does not say.
    if grep -aE 'right-0|wrong' "$D/program.log" >&2; then
        failed=1
    fi
    stop_backends || failed=1
    wait_for has_fds "$(idle_fds)" || failed=1
    return $failed
}

hostile() { # TABLE
    python3 "$TOP/tests/e2e/http_hostile.py" "$WEB" "$SOCK" "$D/image" "$1"
}

@test "a body whose end is told twice or badly is refused, and hides nothing" {
    hostile smuggling
}

@test "a request line or a head that is garbled or too long is refused" {
    hostile heads
}

@test "a header that comes twice, or under a name like its own, is not taken" {
    hostile repeated
}

@test "a JSON, a range or a length that is none changes nothing" {
    hostile bodies
}

@test "requests sent at once are answered in their order, and nothing else is" {
    hostile pipelines
}

@test "no client brings a line or a control character into the log" {
    local lines

    lines=$(grep -avcE '^(error|warning|info|debug): [ -~]*$' \
        "$D/program.log") || [ $? = 1 ]
    [ "$lines" = 0 ]
}
