#!/usr/bin/env bats
# What is a ticket, and what is none (CONTRACT 8).

load common

setup_file() {
    start_service
}

teardown_file() {
    stop_service
}

setup() {
    make_disk "$D/disk" 4096
    start_nbdkit disk file "$D/disk"
}

teardown() {
    stop_backends
    find "$D/tickets" -mindepth 1 -delete
}

log_lines() {
    wc -l <"$D/program.log"
}

# assert_no_ticket: /images/demo is 404, and the log says why, once more than
# the request's own line.
assert_no_ticket() {
    local before

    before=$(log_lines)
    http GET /images/demo
    assert_json_error 404 'unknown image_id'
    if ! tail -n "+$((before + 1))" "$D/program.log" |
        grep -E '^(warning|error): ' >/dev/null; then
        fail_with_answer 'the log does not say what is wrong with the ticket'
    fi
}

assert_image() { # [ID]
    http GET "/images/${1:-demo}"
    assert_status 200
    assert_body "$D/disk"
}

@test "GET: the backend is nbd unless the ticket says another" {
    ticket demo "{\"socket\":\"$D/disk.sock\"}"
    assert_image
}

@test "GET: the backend's name has any case" {
    for name in nbd NBD Nbd; do
        ticket demo "{\"backend\":\"$name\",\"socket\":\"$D/disk.sock\"}"
        assert_image
    done
    for name in file FILE fIlE; do
        ticket demo "{\"backend\":\"$name\",\"file\":\"$D/disk\"}"
        assert_image
    done
}

@test "GET: white space around the socket's path is dropped" {
    ticket demo "{\"socket\":\"  \\t$D/disk.sock \\n\"}"
    assert_image
}

@test "GET: unknown keys are ignored" {
    nbd_ticket demo disk ',"transfer_id":"x","idle_timeout_seconds":600,"a":{"b":[1]}'
    assert_image
}

@test "GET: a null export or bitmap is none" {
    nbd_ticket demo disk ',"export":null,"export_bitmap":null'
    assert_image
}

@test "GET: a ticket that is no JSON object is unknown, and logged" {
    local text

    for text in '' '{' 'x' '[]' '"nbd"' 'null' "{\"socket\":\"$D/disk.sock\"}x"; do
        ticket demo "$text"
        assert_no_ticket
    done
}

@test "GET: a key of the wrong type is unknown, and logged" {
    local keys

    for keys in '"backend":1' '"backend":null' '"read_only":"true"' \
        '"read_only":1' '"read_only":null' '"export":1' '"export":[]' \
        '"export_bitmap":true' '"export":""'; do
        ticket demo "{\"socket\":\"$D/disk.sock\",$keys}"
        assert_no_ticket
    done
    for keys in '{}' '{"socket":null}' '{"socket":1}' '{"socket":""}' \
        '{"socket":"  "}' '{"backend":"file"}' \
        '{"backend":"file","file":null}' '{"backend":"file","file":7}' \
        '{"backend":"file","file":""}'; do
        ticket demo "$keys"
        assert_no_ticket
    done
}

@test "GET: an unknown backend is unknown, and logged" {
    ticket demo "{\"backend\":\"ftp\",\"socket\":\"$D/disk.sock\"}"
    assert_no_ticket
    ticket demo "{\"backend\":\"\",\"socket\":\"$D/disk.sock\"}"
    assert_no_ticket
}

@test "GET: a ticket of 4096 bytes is one, of 4097 is none" {
    local head="{\"socket\":\"$D/disk.sock\""

    ticket demo "$head$(printf '%*s' $((4095 - ${#head})) '')}"
    [ "$(stat -c %s "$D/tickets/demo")" = 4096 ]
    assert_image
    ticket demo "$head$(printf '%*s' $((4096 - ${#head})) '')}"
    [ "$(stat -c %s "$D/tickets/demo")" = 4097 ]
    assert_no_ticket
}

@test "GET: a ticket that is a symbolic link is none" {
    printf '{"socket":"%s"}' "$D/disk.sock" >"$D/real"
    ln -s "$D/real" "$D/tickets/demo"
    assert_no_ticket
    rm "$D/tickets/demo"
    nbd_ticket real disk
    ln -s real "$D/tickets/demo"
    assert_no_ticket
    assert_image real
}

@test "GET: a ticket that is a pipe, a folder or a socket is none, at once" {
    mkfifo "$D/tickets/demo"
    assert_no_ticket
    rm "$D/tickets/demo"
    mkdir "$D/tickets/demo"
    assert_no_ticket
    rmdir "$D/tickets/demo"
    ln "$D/disk.sock" "$D/tickets/demo"
    assert_no_ticket
}

@test "GET: a ticket that others may write to is none" {
    nbd_ticket demo disk
    assert_image
    chmod 666 "$D/tickets/demo"
    assert_no_ticket
    chmod 602 "$D/tickets/demo"
    assert_no_ticket
    chmod 644 "$D/tickets/demo"
    assert_image
}

@test "GET: a ticket of another user is none" {
    nbd_ticket demo disk
    as_root chown 54321 "$D/tickets/demo"
    as_root chmod 644 "$D/tickets/demo"
    assert_no_ticket
    as_root chown 0 "$D/tickets/demo"
    assert_image
}

@test "GET: a ticket is gone when it is removed" {
    nbd_ticket demo disk
    assert_image
    rm "$D/tickets/demo"
    http GET /images/demo
    assert_json_error 404 'unknown image_id'
    nbd_ticket demo disk
    assert_image
}

@test "GET: a ticket that was replaced is read anew" {
    local i

    make_disk "$D/other" 4096
    # Same length, and perhaps the same second: it is another file.
    cp "$D/disk" "$D/files1"
    cp "$D/other" "$D/files2"
    for i in 1 2 3 4 5; do
        file_ticket demo "$D/files1"
        http GET /images/demo
        assert_body "$D/files1"
        file_ticket demo "$D/files2"
        http GET /images/demo
        assert_body "$D/files2"
    done
}

@test "GET: a ticket that was changed in place is read anew" {
    make_disk "$D/files2" 4096
    cp "$D/disk" "$D/files1"
    file_ticket demo "$D/files1"
    http GET /images/demo
    assert_body "$D/files1"
    touch -r "$D/tickets/demo" "$D/stamp"
    printf '{"backend":"file","file":"%s"}' "$D/files2" >"$D/tickets/demo"
    # The old mtime, and the same size: only its ctime tells.
    touch -r "$D/stamp" "$D/tickets/demo"
    http GET /images/demo
    assert_body "$D/files2"
}

@test "PUT: a ticket that became read-only lets no writer in" {
    nbd_ticket demo disk
    put /images/demo "$D/disk"
    assert_status 200
    nbd_ticket demo disk ',"read_only":true'
    put /images/demo "$D/disk"
    assert_json_error 403 'image is read-only'
    nbd_ticket demo disk ',"read_only":false'
    put /images/demo "$D/disk"
    assert_status 200
}

@test "GET: an id has 1 to 255 bytes" {
    local id

    id=$(printf 'x%.0s' {1..255})
    nbd_ticket "$id" disk
    assert_image "$id"
    http GET "/images/${id}x"
    assert_json_error 404 'unknown image_id'
}

@test "GET: an id may be any name, in UTF-8 too" {
    local id

    for id in 'a b' 'ä' '日本' 'a:b' 'a..b' 'a%b' "it's" '-x' 'a?b' 'a#b' \
        '2f6c0d6e-8a37-4a0e-9d2a-111111111111'; do
        nbd_ticket "$id" disk
        assert_image "$(jq -rn --arg id "$id" '$id | @uri')"
    done
}

@test "GET: an id may not begin with a dot" {
    nbd_ticket .hidden disk
    nbd_ticket ... disk
    http GET /images/.hidden
    assert_json_error 404 'unknown image_id'
    http GET /images/...
    assert_json_error 404 'unknown image_id'
}

@test "GET: an id may hold no backslash and no control character" {
    local id

    nbd_ticket 'a\b' disk
    http GET '/images/a%5Cb'
    assert_json_error 404 'unknown image_id'
    for id in $'a\nb' $'a\tb' $'a\x7fb' $'a\x01b' '.' '..'; do
        fcgi GET "/images/$id" </dev/null
        assert_json 404 '{"error":"unknown image_id"}'
    done
    nbd_ticket $'a\tb' disk
    nbd_ticket $'a\x7fb' disk
    for id in $'a\tb' $'a\x7fb'; do
        fcgi GET "/images/$id" </dev/null
        assert_json 404 '{"error":"unknown image_id"}'
    done
}

@test "GET: no id leaves the ticket directory" {
    printf '{"socket":"%s"}' "$D/disk.sock" >"$D/outside"
    http GET /images/..%2Foutside
    [ "$http_status" != 200 ]
    http GET /images/%2e%2e%2foutside
    [ "$http_status" != 200 ]
    fcgi GET /images/../outside </dev/null
    [ "$http_status" != 200 ]
    fcgi GET '/images/x\..\outside' </dev/null
    [ "$http_status" != 200 ]
}

@test "GET: the log holds no more than eight characters of an id" {
    nbd_ticket 0123456789abcdef-secret disk
    assert_image 0123456789abcdef-secret
    has_line "$D/program.log" ' ticket=01234567 '
    run ! grep -rF 012345678 "$D/program.log" "$D/web"
}

@test "GET: what a client sends cannot forge a line of the log" {
    fcgi GET $'/images/x\ninfo: forged' </dev/null
    assert_json 404 '{"error":"unknown image_id"}'
    run ! has_line "$D/program.log" '^info: forged'
    fcgi $'GET\ninfo: forged' /images/x </dev/null
    run ! has_line "$D/program.log" '^info: forged'
}

@test "GET: thousands of unknown ids leave nothing behind" {
    local before after urls

    # In one connection; then memory is measured, and again after as many.
    urls="http://localhost/images/none[1-4000]"
    curl -sS --unix-socket "$SOCK" "$urls" -o /dev/null
    before=$(awk '/^VmRSS:/ { print $2 }' "/proc/$PID/status")
    curl -sS --unix-socket "$SOCK" "$urls" -o /dev/null
    after=$(awk '/^VmRSS:/ { print $2 }' "/proc/$PID/status")
    if ! is_sanitized; then
        ((after - before < 512))
    fi
}
