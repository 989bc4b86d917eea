#!/usr/bin/env bats
# --file-handoff: the web server sends file images by itself, and a client sees
# no difference.

load common

SIZE=$((3 * 1024 * 1024 + 7))

setup_file() {
    case $WEB in
    nginx)
        WEB_SED='/#location .internal-images/,/#}/s/^\( *\)#/\1/'
        handoff=nginx=/internal-images
        ;;
    lighttpd)
        WEB_SED='s/#\("x-sendfile" => "enable"\)/\1/'
        handoff=lighttpd
        ;;
    esac
    start_service --max-readers 1 --file-handoff "$handoff"
    make_disk "$D/disk" $SIZE
    chmod 644 "$D/disk"
}

teardown_file() {
    stop_service
}

setup() {
    file_ticket disk "$D/disk"
}

teardown() {
    stop_backends
}

# The program has answered, but has not moved the bytes.
assert_handed_over() { # STATUS
    wait_for has_line "$D/program.log" \
        "^info: method=GET ticket=disk status=$1 .* bytes=0 "
    : >"$D/program.log"
}

# What an answer with bytes carries, each header once.
assert_binary_headers() {
    assert_header Content-Type application/octet-stream
    assert_common_headers
    [ "$(grep -ci '^Accept-Ranges:' "$http_headers")" = 1 ]
}

@test "GET: a whole file comes from the web server" {
    : >"$D/program.log"
    http GET /images/disk
    assert_status 200
    assert_body "$D/disk"
    assert_header Content-Length $SIZE
    assert_binary_headers
    assert_handed_over 200
}

@test "GET: each form of range comes from the web server" {
    : >"$D/program.log"
    while read -r range offset length; do
        http GET /images/disk -H "Range: bytes=$range"
        assert_status 206
        assert_body <(bytes "$D/disk" "$offset" "$length")
        assert_header Content-Length "$length"
        assert_header Content-Range \
            "bytes $offset-$((offset + length - 1))/$SIZE"
        assert_binary_headers
        assert_handed_over 206
    done <<END
0-99 0 100
100- 100 $((SIZE - 100))
-100 $((SIZE - 100)) 100
-999999999 0 $SIZE
5-999999999 5 $((SIZE - 5))
$((SIZE - 1))-$((SIZE - 1)) $((SIZE - 1)) 1
0-$((SIZE - 1)) 0 $SIZE
END
}

@test "GET: numbers that the web server may not understand are ours to answer" {
    http GET /images/disk -H "Range: bytes=5-99999999999999999999999"
    assert_status 206
    assert_body <(bytes "$D/disk" 5 $((SIZE - 5)))
    http GET /images/disk -H "Range: bytes=-18446744073709551615"
    assert_status 206
    assert_body "$D/disk"
    assert_binary_headers
}

@test "GET: a bad range is refused as ever" {
    for range in bytes= bytes=1-2,4-5 lines=1-2 bytes=-0; do
        http GET /images/disk -H "Range: $range"
        assert_json_error 400 'invalid Range header'
    done
    http GET /images/disk -H "Range: bytes=$SIZE-"
    assert_json_error 416 'range not satisfiable'
    assert_header Content-Range "bytes */$SIZE"
}

@test "HEAD: answers as without" {
    http HEAD /images/disk
    assert_status 200
    assert_header Content-Length $SIZE
    assert_binary_headers
    http HEAD /images/disk -H 'Range: bytes=1-2'
    assert_status 206
    assert_header Content-Range "bytes 1-2/$SIZE"
}

@test "GET: ETag and Last-Modified are the program's, and it answers conditions itself" {
    local tag date

    # It is told once its second is over.
    wait_for is_dated /images/disk
    http HEAD /images/disk
    tag=$(header ETag)
    date=$(header Last-Modified)
    [ -n "$tag" ]
    for status in 200 206; do
        : >"$D/program.log"
        if [ "$status" = 200 ]; then
            http GET /images/disk
        else
            http GET /images/disk -r 0-99
        fi
        assert_handed_over $status
        assert_header ETag "$tag"
        assert_header Last-Modified "$date"
        [ "$(grep -ci '^ETag:' "$http_headers")" = 1 ]
        [ "$(grep -ci '^Last-Modified:' "$http_headers")" = 1 ]
    done
    http GET /images/disk -H "If-None-Match: $tag"
    assert_status 304
    http GET /images/disk -H "If-Match: $tag" -r 5-9
    assert_status 206
    assert_body <(bytes "$D/disk" 5 5)
    http GET /images/disk -H 'If-Match: "x"'
    assert_json_error 412 'precondition failed'
    http GET /images/disk -H "If-Range: $tag" -r 5-9
    assert_status 206
    assert_body <(bytes "$D/disk" 5 5)
    http GET /images/disk -H 'If-Range: "x"' -r 5-9
    assert_status 200
    assert_body "$D/disk"
    http GET /images/disk -H "If-Modified-Since: $date"
    assert_status 304
    http GET /images/disk -H 'If-Unmodified-Since: Thu, 01 Jan 2004 00:00:00 GMT'
    assert_json_error 412 'precondition failed'
}

@test "GET: a file that was replaced is the new one at once" {
    cp "$D/disk" "$D/changing"
    file_ticket changing "$D/changing"
    for i in 1 2 3 4 5 6; do
        make_disk "$D/new" $((1000 * i))
        http GET /images/changing
        put /images/changing "$D/new"
        assert_status 200
        http GET /images/changing
        assert_status 200
        assert_body "$D/new"
    done
}

@test "GET: a file that is empty, or is not there" {
    : >"$D/empty"
    file_ticket empty "$D/empty"
    http GET /images/empty
    assert_status 200
    assert_header Content-Length 0
    file_ticket missing "$D/no-such-file"
    http GET /images/missing
    assert_json_error 500 'backend error'
}

@test "GET: a file of any name, and one behind a symbolic link" {
    mkdir "$D/a b?c#d%41"
    for name in 'plain' 'with space' 'x%2e%2E%00' 'a?b=c&d' 'ümlaut' \
        $'new\nline' "$(printf '\351')" '-1,2' "$(printf 'l%.0s' {1..250})"; do
        cp "$D/disk" "$D/a b?c#d%41/$name"
        ln -sfn "$D/a b?c#d%41/$name" "$D/link"
        file_ticket odd "$D/link"
        http GET /images/odd -r 1000-2000
        assert_status 206
        assert_body <(bytes "$D/disk" 1000 1001)
    done
}

@test "GET: the program's reader slots do not count what is handed over" {
    head -c $((64 * MIB)) /dev/zero >"$D/large"
    file_ticket large "$D/large"
    hold_reader slow /images/large
    http GET /images/disk
    assert_status 200
    assert_body "$D/disk"
    release slow
    assert_status 200
    assert_body "$D/large"
    rm "$D/large"
}

@test "GET: a file whose ticket may lapse is sent by the program" {
    file_ticket disk "$D/disk" ',"idle_timeout_seconds":600'
    : >"$D/program.log"
    http GET /images/disk
    assert_status 200
    assert_body "$D/disk"
    wait_for has_line "$D/program.log" \
        "^info: method=GET ticket=disk status=200 .* bytes=$SIZE "
}

@test "GET: images over NBD are sent by the program" {
    start_nbdkit nbd file "$D/disk"
    nbd_ticket nbd nbd
    http GET /images/nbd
    assert_status 200
    assert_body "$D/disk"
}

@test "GET: nobody reaches a file past the program" {
    for path in "/internal-images$D/disk" "$D/disk" /internal-images/; do
        http GET "$path"
        [ "$http_status" = 404 ]
    done
}
