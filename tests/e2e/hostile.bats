#!/usr/bin/env bats
# What no honest client sends: requests that no HTTP library makes, names that
# are no ticket, tickets that nobody should trust, and peers on the program's
# own socket that break FastCGI. Each is refused, none disturbs the next.

load common

SIZE=100000

setup_file() {
    start_service
    make_disk "$D/disk" $SIZE
    make_disk "$D/body" $SIZE
}

teardown_file() {
    stop_service
}

setup() {
    cp "$D/disk" "$D/image"
    start_nbdkit disk file "$D/image"
    nbd_ticket disk disk
    file_ticket file "$D/image"
    WARNINGS=$(warnings)
}

# Whatever was said: the program is the same process, and serves.
teardown() {
    local failed=0

    is_running "$PID" || failed=1
    http GET /images/file -H 'Range: bytes=0-9' --max-time 10
    assert_status 206 || failed=1
    stop_backends || failed=1
    rm -rf "$D/tickets"/.[!.]* "$D/tickets"/* || failed=1
    return $failed
}

warnings() {
    grep -c '^warning: ' "$D/program.log" || [ $? = 1 ]
}

assert_warned() { # COUNT: since the test began
    if [ $(($(warnings) - WARNINGS)) != "$1" ]; then
        echo "expected $1 warnings:" >&2
        grep '^warning: ' "$D/program.log" | tail -n "+$((WARNINGS + 1))" >&2
        return 1
    fi
}

assert_unchanged() {
    cmp "$D/disk" "$D/image"
}

# assert_unknown PATH: 404 in the program's words.
assert_unknown() {
    http GET "$1" --max-time 10
    assert_json_error 404 'unknown image_id'
}

# assert_unknown_or_refused PATH: or the web server did not let it through.
assert_unknown_or_refused() {
    http GET "$1" --max-time 10
    case $http_status in
    404) ;;
    *) assert_status 400 ;;
    esac
    run ! grep -a "$(head -c 20 "$D/disk" | tr -d '\0')" "$http_body"
}

# raw_http FORMAT [ARGUMENT...]: these bytes to the web server, as printf
# makes them; sets what http sets.
raw_http() {
    local at=$D/request.now

    rm -f "$at".*
    http_exit=0
    # shellcheck disable=SC2059
    printf "$@" | python3 "$TOP/tests/e2e/fcgi_peer.py" http "$SOCK" \
        >"$at.answer" 2>"$at.error" || http_exit=$?
    split_answer
    http_status=$(sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$at.headers")
}

# peer OPERATION...: records to the program; sets what http sets.
peer() {
    local at=$D/request.now

    rm -f "$at".*
    http_exit=0
    python3 "$TOP/tests/e2e/fcgi_peer.py" fcgi "$D/fcgi.sock" "$@" \
        >"$at.answer" 2>"$at.error" || http_exit=$?
    split_answer
    http_status=$(header Status)
    http_status=${http_status%% *}
}

split_answer() {
    local at=$D/request.now

    sed '/^\r*$/q' "$at.answer" >"$at.headers"
    tail -c "+$(($(stat -c %s "$at.headers") + 1))" "$at.answer" >"$at.body"
    http_headers=$at.headers
    http_body=$at.body
    http_error=$(cat "$at.error")
}

# assert_peers_closed OPERATIONS...: each string of them by a peer of its own,
# all at once: to be dropped takes a program that waits for more some seconds.
assert_peers_closed() {
    local at=$D/peer i=0 pids=() operations code

    for operations in "$@"; do
        # shellcheck disable=SC2086
        python3 "$TOP/tests/e2e/fcgi_peer.py" fcgi "$D/fcgi.sock" \
            $operations >"$at.$i.answer" 3>&- 4>&- &
        pids+=($!)
        i=$((i + 1))
    done
    for i in "${!pids[@]}"; do
        code=0
        wait "${pids[i]}" || code=$?
        if [ "$code" != 3 ] || [ -s "$at.$i.answer" ]; then
            echo "peer $i: status $code" >&2
            cat "$at.$i.answer" >&2
            return 1
        fi
    done
}

# A PUT of $D/body as records, with other operations before its body, and its
# environment.
peer_put() { # OPERATION... -- OPERATION...
    local before=() after=()

    while [ "$1" != -- ]; do
        before+=("$1")
        shift
    done
    shift
    after=("$@")
    peer begin "${before[@]}" "params=PUT,/images/disk,$SIZE" end-params \
        "${after[@]}"
}

assert_put() { # the body has arrived as it was
    assert_json 200 "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":false}"
    cmp "$D/body" "$D/image"
}

# --- HTTP -------------------------------------------------------------------

@test "PUT: two Content-Lengths are refused, and nothing is written" {
    raw_http 'PUT /images/file HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde'
    assert_status 400
    assert_unchanged
    raw_http 'PUT /images/file HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 5\r\n\r\nabcde'
    assert_status 400
    assert_unchanged
}

@test "PUT: Content-Length beside Transfer-Encoding is refused, and nothing is written" {
    raw_http 'PUT /images/file HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
    # 411 is lighttpd's answer to a chunked body.
    [ "$http_status" = 400 ] || [ "$http_status" = 411 ]
    assert_unchanged
    raw_http 'PUT /images/file HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\nContent-Length: 5\r\n\r\nabcde'
    [ "$http_status" -ge 400 ]
    assert_unchanged
}

@test "PUT: a Content-Length that is no number is refused, and nothing is written" {
    for length in -1 +5 5x 0x5 '5 5' 5.0 99999999999999999999999999 \
        18446744073709551616; do
        raw_http 'PUT /images/file HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\nabcde' "$length"
        assert_status 400
        assert_unchanged
    done
}

@test "PUT: the largest Content-Lengths are refused, and nothing is written" {
    for length in 9223372036854775807 9223372036854775806 1152921504606846976; do
        raw_http 'PUT /images/disk HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\nabcde' $length
        [ "$http_status" = 400 ] || [ "$http_status" = 413 ]
        raw_http 'PUT /images/file HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\nabcde' $length
        [ "$http_status" = 507 ] || [ "$http_status" = 413 ] ||
            [ "$http_status" = 400 ]
        assert_unchanged
    done
}

@test "PUT: lengths past 64 bits are 400 where the web server lets them through" {
    for length in 18446744073709551616 99999999999999999999 -1 +5 5x 1e3 \
        ' 5' '5 '; do
        fcgi PUT /images/file CONTENT_LENGTH="$length" </dev/null
        [ "$http_status" = 400 ]
        [ "$(cat "$http_body")" = '{"error":"Invalid Content-Length"}' ]
    done
    fcgi PUT /images/file CONTENT_LENGTH=18446744073709551615 </dev/null
    [ "$http_status" = 507 ]
    fcgi PUT /images/disk CONTENT_LENGTH=18446744073709551615 </dev/null
    [ "$http_status" = 400 ]
    assert_unchanged
}

@test "GET: garbage instead of a request disturbs nobody" {
    raw_http '\r\n\r\nnonsense\r\n\r\n'
    raw_http 'GET /images/file\r\n\r\n'
    raw_http 'GET /images/file HTTP/9.9\r\nHost: a\r\n\r\n'
    [ "$http_status" != 200 ]
    raw_http 'GET /images/file HTTP/1.1\r\nHost a\r\n: x\r\n\r\n'
    raw_http 'GET %s HTTP/1.1\r\nHost: a\r\n\r\n' \
        "/images/$(printf 'a%.0s' {1..20000})"
    [ "$http_status" -ge 400 ]
    raw_http 'GET /images/file HTTP/1.1\r\nHost: a\r\nRange: bytes=%s\r\n\r\n' \
        "$(printf '0-1,%.0s' {1..1500})0-1"
    [ "$http_status" = 400 ]
}

@test "GET: a second request in the body of the first is not served" {
    raw_http 'GET /images/file HTTP/1.1\r\nHost: a\r\nContent-Length: 45\r\n\r\nDELETE /images/smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
    run ! has_line "$D/program.log" smuggled
}

# --- ids --------------------------------------------------------------------

@test "GET: NUL and control characters in an id are refused" {
    for id in a%00 %00 disk%00 %0a disk%0a a%0ab %0d%0a %7f disk%7f a%1bb \
        %01 %1f disk%09; do
        assert_unknown_or_refused /images/$id
    done
    # Those that the web server lets through are the program's.
    for id in $'disk\n' $'a\nb' $'\177' $'disk\177' $'\001' $'a\033b' \
        $'disk\t' $'\r\n'; do
        fcgi GET "/images/$id" </dev/null
        [ "$http_status" = 404 ]
        [ "$(cat "$http_body")" = '{"error":"unknown image_id"}' ]
    done
}

@test "GET: an id of 255 bytes is a ticket, one of 256 is none" {
    long=$(printf 'x%.0s' {1..255})
    cp "$D/tickets/file" "$D/tickets/$long"
    http GET "/images/$long"
    assert_status 200
    assert_body "$D/disk"
    assert_unknown "/images/${long}x"
    assert_unknown "/images/${long}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    assert_unknown "/images/${long%x}"
    assert_warned 0
}

@test "GET: an id that is a folder, however it is written, never leaves the directory" {
    cp "$D/tickets/file" "$D/outside"
    for path in /images/. /images/.. /images/%2e /images/%2e%2e \
        /images/../outside /images/%2e%2e/outside /images/..%2foutside \
        /images/%2e%2e%2foutside /images/..%5coutside /images/%2e%2e%5coutside \
        /images/%252e%252e%252foutside /images/....//outside \
        /images/..%c0%afoutside /images/disk%2f..%2f..%2foutside \
        /images/tickets%2ffile /images/%2ftmp; do
        assert_unknown_or_refused "$path"
    done
    for id in . .. ... '..\outside' 'a\b' '\'; do
        fcgi GET "/images/$id" </dev/null
        [ "$http_status" = 404 ]
        [ "$(cat "$http_body")" = '{"error":"unknown image_id"}' ]
    done
    fcgi GET /images/../outside </dev/null
    [ "$http_status" = 404 ]
    fcgi GET //images//file// </dev/null
    [ "$http_status" = 200 ]
    rm "$D/outside"
    assert_warned 0
}

@test "GET: an id with an escaped slash is two segments" {
    http GET /images/disk%2fextents
    assert_status 200
    [ "$(jq '.[0].start' "$http_body")" = 0 ]
    assert_unknown_or_refused /images/nothing%2fextents
}

@test "GET: a backslash is no part of an id" {
    cp "$D/tickets/file" "$D/tickets/a\\b"
    assert_unknown_or_refused '/images/a%5cb'
    fcgi GET '/images/a\b' </dev/null
    [ "$http_status" = 404 ]
}

@test "GET: a file whose name begins with a dot is no ticket" {
    cp "$D/tickets/file" "$D/tickets/.hidden"
    assert_unknown /images/.hidden
    assert_unknown /images/%2ehidden
    assert_warned 0
}

@test "GET: an id of other bytes than ASCII is a ticket" {
    cp "$D/tickets/file" "$D/tickets/bäh x+%&\"ü"
    http GET '/images/b%C3%A4h%20x+%25%26%22%C3%BC'
    assert_status 200
    assert_body "$D/disk"
}

# --- tickets ----------------------------------------------------------------

# assert_bad_ticket ID [CAUSE]: 404, and one warning, which says why.
assert_bad_ticket() {
    local before

    before=$(warnings)
    assert_unknown "/images/$1"
    [ $(($(warnings) - before)) = 1 ]
    grep '^warning: ' "$D/program.log" | tail -n 1 >"$D/warning"
    has_line "$D/warning" "ticket=${1:0:8} .*$2"
}

@test "OPTIONS, GET, PUT, PATCH, POST flush: a bad ticket is 404 and one warning each" {
    ticket bad '{"backend":"file"}'
    for method in OPTIONS GET DELETE; do
        http $method /images/bad
        assert_json_error 404 'unknown image_id'
    done
    for method in PUT PATCH; do
        http $method /images/bad -d body
        assert_json_error 404 'unknown image_id'
    done
    post /images/bad/flush
    assert_json_error 404 'unknown image_id'
    http GET /images/bad/extents
    assert_json_error 404 'unknown image_id'
    assert_warned 7
}

@test "GET: a ticket that is a symbolic link is none" {
    cp "$D/tickets/file" "$D/outside"
    ln -s "$D/outside" "$D/tickets/link"
    ln -s file "$D/tickets/link2"
    ln -s nowhere "$D/tickets/link3"
    ln -s link4 "$D/tickets/link4"
    assert_bad_ticket link symbolic
    assert_bad_ticket link2
    assert_bad_ticket link3
    assert_bad_ticket link4
}

@test "GET: a ticket that is a FIFO is none, and nobody hangs" {
    mkfifo "$D/tickets/fifo"
    assert_bad_ticket fifo 'not a regular file'
    # With a writer, too.
    sleep 100 >"$D/tickets/fifo" 3>&- 4>&- &
    writer=$!
    assert_unknown /images/fifo
    kill "$writer"
}

@test "GET: a ticket that is a folder, a device or a socket is none" {
    mkdir "$D/tickets/folder"
    as_root mknod "$D/tickets/zero" c 1 5
    as_root mknod "$D/tickets/disk0" b 7 200
    python3 -c 'import socket, sys
socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$D/tickets/socket"
    assert_bad_ticket folder 'not a regular file'
    assert_bad_ticket zero 'not a regular file'
    assert_bad_ticket disk0
    assert_bad_ticket socket
}

@test "GET: a ticket of 4096 bytes is one, of 4097 it is none" {
    printf '{"backend":"file","file":"%s","pad":"' "$D/image" >"$D/head"
    pad=$((4096 - $(stat -c %s "$D/head") - 2))
    for more in 0 1; do
        {
            cat "$D/head"
            head -c $((pad + more)) /dev/zero | tr '\0' x
            printf '"}'
        } >"$D/tickets/long$more"
        chmod 600 "$D/tickets/long$more"
    done
    [ "$(stat -c %s "$D/tickets/long0")" = 4096 ]
    http GET /images/long0
    assert_status 200
    assert_body "$D/disk"
    assert_bad_ticket long1 4097
    # Megabytes are not read.
    truncate -s 1G "$D/tickets/huge"
    chmod 600 "$D/tickets/huge"
    assert_bad_ticket huge
}

@test "GET: a ticket that is no JSON object is none" {
    local i=0 text

    for text in '' ' ' x '{' '{}x' '[]' '"file"' null 1 '{"file"' \
        "{'file':'x'}" '{"backend":"file","file":"/x",}' \
        '{"backend":"file" "file":"/x"}' \
        "{\"backend\":\"file\",\"file\":\"$D/image\"} {}" \
        $'{"backend":"file","file":"/\xff\xfe"}' \
        "$(printf '[%.0s' {1..2000})" \
        "{\"a\":$(printf '[%.0s' {1..200})$(printf ']%.0s' {1..200})}"; do
        i=$((i + 1))
        ticket "bad$i" "$text"
        assert_bad_ticket "bad$i"
    done
    printf '{"backend":"file",\0"file":"%s"}' "$D/image" >"$D/tickets/nul"
    chmod 600 "$D/tickets/nul"
    assert_bad_ticket nul
    printf '{"backend":"file","file":"%s"}\0' "$D/image" >"$D/tickets/nul2"
    chmod 600 "$D/tickets/nul2"
    assert_bad_ticket nul2
}

@test "GET: a ticket whose keys have wrong types or values is none" {
    local i=0 text

    for text in '{}' '{"backend":"nbd"}' '{"backend":"file"}' \
        '{"backend":1,"file":"/x"}' '{"backend":null,"file":"/x"}' \
        '{"backend":"tape","file":"/x"}' '{"backend":"","file":"/x"}' \
        '{"backend":"file","file":null}' '{"backend":"file","file":5}' \
        '{"backend":"file","file":["/x"]}' '{"backend":"file","file":""}' \
        '{"socket":5}' '{"socket":null}' '{"socket":""}' '{"socket":"  "}' \
        '{"socket":{"path":"/x"}}' '{"socket":"/x","export":""}' \
        '{"socket":"/x","export":5}' '{"socket":"/x","export":false}' \
        '{"socket":"/x","export_bitmap":5}' \
        '{"socket":"/x","export_bitmap":["a"]}' \
        '{"socket":"/x","read_only":"false"}' \
        '{"socket":"/x","read_only":0}' '{"socket":"/x","read_only":null}' \
        "{\"backend\":\"file\",\"file\":\"$D/image\",\"read_only\":1}" \
        "{\"backend\":\"file\",\"file\":\"$D/image\\u0000x\"}" \
        "{\"backend\":\"file\",\"file\":\"$D/image\",\"socket\":5}"; do
        i=$((i + 1))
        ticket "bad$i" "$text"
        assert_bad_ticket "bad$i"
    done
}

@test "GET: a ticket that others can write is none" {
    for mode in 602 606 622 646 666 777; do
        cp "$D/tickets/file" "$D/tickets/open$mode"
        chmod $mode "$D/tickets/open$mode"
    done
    # Bit 2 of the last digit.
    assert_bad_ticket open602 'writable by others'
    assert_bad_ticket open606
    assert_bad_ticket open622
    assert_bad_ticket open646
    assert_bad_ticket open666
    assert_bad_ticket open777
    cp "$D/tickets/file" "$D/tickets/group"
    chmod 664 "$D/tickets/group"
    http GET /images/group
    assert_status 200
}

@test "GET: a ticket of another user is none" {
    cp "$D/tickets/file" "$D/tickets/theirs"
    as_root chown 65534 "$D/tickets/theirs"
    assert_bad_ticket theirs 'owned by uid 65534'
}

@test "GET: an unknown id is no warning" {
    for i in 1 2 3; do
        assert_unknown /images/unknown$i
    done
    assert_warned 0
}

# --- FastCGI ----------------------------------------------------------------

@test "PUT: the peer of these tests speaks FastCGI" {
    peer_put -- "stdin=$D/body" end-stdin
    assert_put
}

@test "PUT: a body in records of one byte arrives whole" {
    peer_put -- stdin-split=1 "stdin=$D/body" end-stdin
    assert_put
}

@test "PUT: a body in records of every odd size and padding arrives whole" {
    while read -r split padding; do
        cp "$D/disk" "$D/image"
        peer_put -- padding="$padding" stdin-split="$split" \
            "stdin=$D/body" end-stdin
        assert_put
    done <<END
2 0
3 7
7 1
8 255
9 0
255 7
1021 255
8184 0
8191 1
8192 0
8193 255
65535 7
END
}

@test "PUT: an environment in records of one byte, of 64 KiB, of padding" {
    local filler

    filler=$(printf 'y%.0s' {1..1000})
    peer_put params-split=1 -- "stdin=$D/body" end-stdin
    assert_put
    peer_put padding=255 -- "stdin=$D/body" end-stdin
    assert_put
    peer_put params-split=1 padding=255 -- "stdin=$D/body" end-stdin
    assert_put
    cp "$D/disk" "$D/image"
    # 64 values of 1000 bytes, and one of 64 KiB.
    peer begin params=PUT,/images/disk,$SIZE \
        "params=GET,/,,$(for i in {1..64}; do
            echo -n "X$i=$filler,"
        done)REQUEST_METHOD=PUT,PATH_INFO=/images/disk" \
        end-params "stdin=$D/body" end-stdin
    [ "$http_exit" = 0 ]
    head -c 65536 /dev/zero | tr '\0' z >"$D/filler"
    peer begin "params=PUT,/images/disk,$SIZE,HTTP_X=$(cat "$D/filler")" \
        end-params "stdin=$D/body" end-stdin
    assert_put
}

@test "PUT: padding after the environment's end is no part of the body" {
    # Of the empty PARAMS record alone.
    for padding in 1 7 8 255; do
        cp "$D/disk" "$D/image"
        peer begin params=PUT,/images/disk,$SIZE padding=$padding \
            end-params padding=0 "stdin=$D/body" end-stdin
        assert_put
    done
}

@test "PUT: records of other requests in the middle of a body are skipped" {
    bytes "$D/body" 0 5000 >"$D/part1"
    bytes "$D/body" 5000 $((SIZE - 5000)) >"$D/part2"
    # Within what libfcgi reads with the environment, ...
    peer_put -- "stdin=$D/part1" id=7 record=5,00112233 \
        "stdin=$D/part1" record=5 id=1 "stdin=$D/part2" end-stdin
    assert_put
    # ... and beyond.
    cp "$D/disk" "$D/image"
    peer_put -- "stdin=$D/part2" id=7 record=5,00112233 padding=9 \
        record=5,445566 id=1 padding=0 "stdin=$D/part1" end-stdin
    [ "$http_status" = 200 ]
    cat "$D/part2" "$D/part1" | cmp - "$D/image"
}

# FCGI_GET_VALUES: a management record, of request 0.
@test "PUT: a management record in the middle of a body does no harm" {
    bytes "$D/body" 0 3000 >"$D/part1"
    bytes "$D/body" 3000 $((SIZE - 3000)) >"$D/part2"
    values=$(printf '\x0f\x00FCGI_MPXS_CONNS' | od -An -tx1 | tr -d ' \n')
    peer_put -- "stdin=$D/part2" id=0 record=9,$values id=1 \
        "stdin=$D/part1" end-stdin
    [ "$http_status" = 200 ]
    cat "$D/part2" "$D/part1" | cmp - "$D/image"
    # Within what libfcgi has read ahead.
    cp "$D/disk" "$D/image"
    peer_put -- "stdin=$D/part1" id=0 record=9,$values id=1 \
        "stdin=$D/part2" end-stdin
    assert_put
}

@test "PUT: a second BEGIN_REQUEST in the middle of a body does no harm" {
    bytes "$D/body" 0 3000 >"$D/part1"
    bytes "$D/body" 3000 $((SIZE - 3000)) >"$D/part2"
    peer_put -- "stdin=$D/part2" id=2 begin id=1 "stdin=$D/part1" end-stdin
    [ "$http_status" = 200 ]
    cat "$D/part2" "$D/part1" | cmp - "$D/image"
    cp "$D/disk" "$D/image"
    peer_put -- "stdin=$D/part1" id=2 begin id=1 "stdin=$D/part2" end-stdin
    assert_put
}

@test "PUT: a record of a type that does not belong there ends the request" {
    bytes "$D/body" 0 3000 >"$D/part1"
    bytes "$D/body" 3000 $((SIZE - 3000)) >"$D/part2"
    for type in 4 6 7 8 12 200; do
        for first in part1 part2; do
            peer_put -- "stdin=$D/$first" record=$type,00000000 \
                "stdin=$D/part1" end-stdin
            [ "$http_status" != 200 ]
            [ "$http_exit" != 4 ]
        done
    done
}

@test "PUT: a record of another version in the middle of a body ends the request" {
    bytes "$D/body" 0 3000 >"$D/part1"
    bytes "$D/body" 3000 $((SIZE - 3000)) >"$D/part2"
    for first in part1 part2; do
        for version in 0 2 255; do
            peer_put -- "stdin=$D/$first" version=$version \
                "stdin=$D/part1" end-stdin
            [ "$http_status" != 200 ]
            [ "$http_exit" != 4 ]
        done
    done
}

@test "PUT: an aborted request ends, and its image is free" {
    bytes "$D/body" 0 3000 >"$D/part1"
    bytes "$D/body" 3000 $((SIZE - 3000)) >"$D/part2"
    for first in part1 part2; do
        peer_put -- "stdin=$D/$first" record=2
        [ "$http_status" != 200 ]
        [ "$http_exit" != 4 ]
        peer_put -- "stdin=$D/body" end-stdin
        assert_put
    done
}

@test "PUT: a body shorter than its length is 400 and says how much there was" {
    for part in 1 3000 $((SIZE - 1)); do
        bytes "$D/body" 0 "$part" >"$D/part1"
        peer_put -- "stdin=$D/part1" end-stdin
        assert_json 400 "{\"error\":\"request body ended early at $part bytes\"}"
    done
    peer_put -- end-stdin
    assert_json 400 '{"error":"request body ended early at 0 bytes"}'
    peer begin params=PUT,/images/file,$SIZE end-params \
        "stdin=$D/part1" end-stdin
    assert_json 400 \
        "{\"error\":\"request body ended early at $((SIZE - 1)) bytes\"}"
}

@test "PUT: a short body leaves a file as it was" {
    bytes "$D/body" 0 3000 >"$D/part1"
    peer begin params=PUT,/images/file,$SIZE end-params \
        "stdin=$D/part1" end-stdin
    assert_json 400 '{"error":"request body ended early at 3000 bytes"}'
    assert_unchanged
}

@test "PUT: what follows a body is no part of it" {
    peer_put -- "stdin=$D/body" "stdin=$D/disk" end-stdin
    assert_put
}

@test "PATCH: a short JSON body is 400" {
    echo '{"op":"flush"}' >"$D/command"
    peer begin params=PATCH,/images/disk,100,CONTENT_TYPE=application/json \
        end-params "stdin=$D/command" end-stdin
    assert_json 400 '{"error":"request body ended early at 15 bytes"}'
}

@test "a peer that cuts a request at any byte disturbs nobody" {
    local i

    bytes "$D/body" 0 40 >"$D/part1"
    # The last byte of the body is the 185th.
    for i in $(seq 0 7 180); do
        peer begin params=PUT,/images/file,40 padding=3 \
            end-params "stdin=$D/part1" end-stdin limit="$i" close
        [ "$http_exit" = 0 ]
    done
    wait_for has_only_idle_fds
    assert_unchanged
    peer begin params=PUT,/images/file,40 padding=3 \
        end-params "stdin=$D/part1" end-stdin limit=185
    [ "$http_status" = 200 ]
    cmp "$D/part1" "$D/image"
}

has_only_idle_fds() { # no connection, no lock
    ! find "/proc/$PID/fd" -lname "$D/run/*" ! -lname '*/scoreboard-*' |
        grep -q .
}

@test "a peer that sends garbage is dropped" {
    assert_peers_closed random=1 random=7 random=8 random=9 random=100 \
        random=5000 random=100000 raw=00000000 raw=0101000100080000 \
        'version=2 begin params=GET,/images/file end-params end-stdin' \
        'begin version=3 params=GET,/images/file end-params end-stdin' \
        'begin record=5,00 params=GET,/images/file end-params end-stdin'
}

@test "a peer that begins a request and says no more is dropped" {
    assert_peers_closed begin 'begin params=GET,/images/file' \
        'begin params=GET,/images/file limit=50' 'begin limit=12'
}

@test "a peer that leaves after BEGIN_REQUEST disturbs nobody" {
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        peer begin close
        peer close
        peer begin params=GET,/images/file end-params end-stdin close
    done
}

@test "GET: peers that say nothing keep no worker" {
    local i pids=()

    # As many as there are workers, and two more.
    mkfifo "$D/quiet"
    for i in {1..18}; do
        python3 "$TOP/tests/e2e/fcgi_peer.py" fcgi "$D/fcgi.sock" silent \
            <"$D/quiet" 3>&- 4>&- &
        pids+=($!)
    done
    exec 9>"$D/quiet"
    wait_for has_connections 18
    http GET /images/file --max-time 4
    exec 9>&-
    wait "${pids[@]}"
    assert_status 200
    assert_body "$D/disk"
}

has_connections() { # COUNT: at least so many on the program's socket
    [ "$(ss -xH state connected | grep -c "$D/fcgi.sock")" -ge "$1" ]
}

@test "a peer whose lengths lie does not crash the program" {
    # Names and values that run past the record, and 2^31-1 bytes each.
    peer begin record=4,7f7f4142 end-params end-stdin
    [ "$http_exit" != 4 ]
    peer begin record=4,ffffffffffffffff4141 end-params end-stdin
    [ "$http_exit" != 4 ]
    peer begin record=4,800000ff800000ff4141 end-params end-stdin
    [ "$http_exit" != 4 ]
    peer begin record=4,ff end-params end-stdin
    [ "$http_exit" != 4 ]
    peer begin record=4,0000 end-params end-stdin
    [ "$http_exit" != 4 ]
    peer begin record=4,04003d3d3d3d end-params end-stdin
    [ "$http_exit" != 4 ]
}

@test "a request without an environment, or of another role, is not served" {
    peer begin end-params end-stdin
    [ "$http_exit" != 4 ]
    [ "$http_status" != 200 ]
    for role in 0 2 3 65535; do
        peer begin=$role params=GET,/images/file end-params end-stdin
        [ "$http_exit" != 4 ]
    done
    peer id=0 begin params=GET,/images/file end-params end-stdin
    [ "$http_exit" != 4 ]
}

@test "GET: a peer that wants to keep the connection gets its answer" {
    peer begin=1,1 params=GET,/images/file end-params end-stdin
    [ "$http_status" = 200 ]
    assert_body "$D/disk"
    # The largest request id.
    peer id=65535 begin params=GET,/images/file end-params end-stdin
    [ "$http_status" = 200 ]
    assert_body "$D/disk"
}

@test "GET, PUT: a connection that is to be kept serves one request after the other" {
    peer times=5 begin=1,1 params=GET,/images/file end-params end-stdin
    [ "$http_exit" = 0 ]
    [ "$http_status" = 200 ]
    assert_body "$D/disk"
    peer times=5 begin=1,1 "params=PUT,/images/file,$SIZE" end-params \
        "stdin=$D/disk" end-stdin
    [ "$http_exit" = 0 ]
    [ "$http_status" = 200 ]
    # Refused before its body was read, which is little and there.
    bytes "$D/disk" 0 1000 >"$D/part1"
    peer times=5 begin=1,1 params=PUT,/images/none,1000 end-params \
        "stdin=$D/part1" end-stdin
    [ "$http_exit" = 0 ]
    [ "$http_status" = 404 ]
}

@test "GET: a connection that is not to be kept, or that cannot be, is closed" {
    peer times=2 begin params=GET,/images/file end-params end-stdin
    [ "$http_exit" = 3 ]
    [ ! -s "$http_body" ]
    # What comes after the request's end belongs to no request.
    peer times=2 begin=1,1 params=GET,/images/file end-params padding=5 \
        end-stdin
    [ "$http_exit" = 3 ]
    peer times=2 begin=1,1 params=GET,/images/file end-params
    [ "$http_exit" = 3 ]
}

@test "GET: a body that nobody asked for is not waited for" {
    peer begin params=GET,/images/file,$SIZE end-params
    [ "$http_status" = 200 ]
    assert_body "$D/disk"
}
