#!/usr/bin/env bats
# No request can hold a slot for ever: the waits that are not the NBD server's
# (those are in failures.bats), each with its bound.

load common

TIMEOUT=2

setup_file() {
    start_service --client-timeout $TIMEOUT --max-writers 8 --max-readers 2
    make_disk "$D/disk" $((64 * MIB))
}

teardown_file() {
    stop_service
}

setup() {
    IDLE_FDS=$(idle_fds)
    cp "$D/disk" "$D/image"
    start_nbdkit nbd --threads=1 file "$D/image"
    nbd_ticket nbd nbd
    mkdir "$D/folder"
    echo old >"$D/folder/file"
    file_ticket file "$D/folder/file"
}

teardown() {
    stop_backends
    rm -rf "$D/folder"
}

is_free() { # PATH: nobody has the image, or a slot that it needs
    put "$1" "$D/disk"
    [ "$http_status" = 200 ]
}

# silent NAME BYTES METHOD PATH FILE [HEADER...]: a client that stops after BYTES
# of FILE, and waits.
silent() {
    local at=$D/request.$1 bytes=$2 method=$3 path=$4 file=$5

    shift 5
    (
        close_others
        exec "$TOP/tests/e2e/silent_client.py" "$SOCK" "$method" "$path" \
            "$file" "$bytes" "$@"
    ) </dev/null >"$at.answer" 2>"$at.error" &
    echo $! >"$at.pid"
    echo $! >>"$D/requests"
}

# silent_wait NAME: sets what http sets, once it has an answer.
silent_wait() {
    local at=$D/request.$1

    wait_for -t $((TIMEOUT + 10)) is_answered "$1"
    wait "$(cat "$at.pid")"
    http_exit=$?
    sed '/^\r*$/q' "$at.answer" >"$at.headers"
    tail -c "+$(($(stat -c %s "$at.headers") + 1))" "$at.answer" >"$at.body"
    http_headers=$at.headers
    http_body=$at.body
    http_error=$(cat "$at.error")
    http_status=$(sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$at.headers")
}

assert_408() { # BYTES
    assert_json_error 408 \
        "no byte of the request body for $TIMEOUT s, at $1 bytes"
}

@test "PUT, PATCH: a client that sends no more is 408 after --client-timeout" {
    cp "$D/disk" "$D/image.b"
    start_nbdkit b --threads=1 file "$D/image.b"
    nbd_ticket b b
    cp "$D/disk" "$D/image.c"
    start_nbdkit c --threads=1 file "$D/image.c"
    nbd_ticket c c
    silent file 20000000 PUT /images/file "$D/disk"
    silent whole 20000000 PUT /images/nbd "$D/disk"
    silent part 20000000 PUT /images/b "$D/disk" \
        "Content-Range: bytes 0-$((64 * MIB - 1))/*"
    silent patch 20000000 PATCH /images/c "$D/disk" \
        'Content-Type: application/octet-stream' \
        "Range: bytes=0-$((64 * MIB - 1))"
    for name in file whole part patch; do
        silent_wait $name
        assert_408 20000000
    done
    [ "$(cat "$D/folder/file")" = old ]
    [ "$(ls -A "$D/folder")" = file ]
    # What had come was written in its place, and nothing else.
    for image in image image.b image.c; do
        cmp "$D/disk" "$D/$image"
    done
    wait_for -t 2 has_fds "$IDLE_FDS"
    for id in file nbd b c; do
        is_free /images/$id
    done
}

@test "PATCH: a client that begins JSON and says no more is 408" {
    printf '{"op":"zero","offset":0,"size":4096}' >"$D/json"
    silent json 10 PATCH /images/nbd "$D/json" 'Content-Type: application/json'
    silent_wait json
    assert_408 10
    cmp "$D/disk" "$D/image"
    is_free /images/nbd
}

@test "PUT: a client that sends nothing at all is 408" {
    silent file 0 PUT /images/file "$D/disk"
    silent_wait file
    assert_408 0
    [ "$(cat "$D/folder/file")" = old ]
    is_free /images/file
}

# Ever a little, and in the end for longer than the timeout.
drip() {
    for i in {1..15}; do
        echo "line $i"
        sleep 0.3
    done
}

@test "PUT: a slow client that goes on sending is waited for" {
    mkfifo "$D/drip"
    (close_others && drip >"$D/drip") &
    began=$SECONDS
    http_input=$D/drip http_start slow PUT /images/file -T . \
        -H 'Transfer-Encoding:' -H 'Content-Length: 111'
    http_wait slow
    assert_ok '{"ok":true,"bytes_written":111,"flushed":false}'
    ((SECONDS - began > TIMEOUT))
    cmp "$D/folder/file" <(for i in {1..15}; do echo "line $i"; done)
    rm "$D/drip"
}

@test "GET: a client that takes nothing is ended by the web server" {
    stop web
    case $WEB in
    nginx) WEB_SED='s/^\( *\)send_timeout .*/\1send_timeout 2s;/' ;;
    lighttpd) WEB_SED='s/^server.max-write-idle .*/server.max-write-idle = 2/' ;;
    esac
    start_web
    hold_reader a /images/nbd
    hold_reader b /images/nbd
    http GET /images/nbd -r 0-0
    assert_json_error 503 'too many parallel reads'
    wait_for can_read /images/nbd
    wait_for -t 2 has_fds "$IDLE_FDS"
    release a || :
    release b || :
    stop web
    start_web
}

can_read() { # PATH
    http GET "$1" -r 0-0
    [ "$http_status" = 206 ]
}
