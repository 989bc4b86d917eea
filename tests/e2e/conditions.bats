#!/usr/bin/env bats
# ETag, Last-Modified, and requests that depend on them (RFC 9110 8.8, 13).

load common

NEVER='"0123456789abcdef-400000"' # a tag that no image has

setup_file() {
    start_service
}

teardown_file() {
    stop_service
}

setup() {
    make_disk "$D/disk" $MIB
    make_disk "$D/new" $MIB
    cp "$D/disk" "$D/image"
    touch -d '2026-01-02 03:04:05.678 UTC' "$D/image"
    file_ticket file "$D/image"
    start_nbdkit ro -r file "$D/disk"
    nbd_ticket ro ro
    start_nbdkit rw file "$D/disk"
    nbd_ticket rw rw
    nbd_ticket declared rw ',"read_only":true'
    nbd_ticket permitted rw ',"ops":["read"]'
}

teardown() {
    stop_backends
}

etag_of() { # PATH
    http HEAD "$1"
    assert_status 200
    header ETag
}

# It is told once its second is over.
date_of() { # PATH
    wait_for is_dated "$1"
    http HEAD "$1"
    assert_status 200
    header Last-Modified
}

assert_not_modified() { # ETAG
    assert_status 304
    assert_header ETag "$1"
    assert_common_headers
    # For HEAD curl writes the head there.
    [ ! -s "$http_body" ] || cmp "$http_headers" "$http_body"
}

@test "GET, HEAD: a file and a read-only export have a strong ETag and Last-Modified" {
    local id tag

    for id in file ro declared; do
        wait_for is_dated /images/$id
        tag=$(etag_of /images/$id)
        [[ $tag =~ ^\"[0-9a-f]{16}-100000\"$ ]]
        http GET /images/$id
        assert_status 200
        assert_header ETag "$tag"
        has_header Last-Modified
        http GET /images/$id -H 'Range: bytes=0-99'
        assert_status 206
        assert_header ETag "$tag"
        has_header Last-Modified
    done
    http HEAD /images/file
    assert_header Last-Modified 'Fri, 02 Jan 2026 03:04:05 GMT'
    http HEAD /images/ro
    assert_header Last-Modified \
        "$(date -u -r "$D/tickets/ro" '+%a, %d %b %Y %H:%M:%S GMT')"
}

@test "GET, HEAD: an export that can be written has neither, whatever the ticket lets its client do" {
    local id method

    for id in rw permitted; do
        for method in HEAD GET; do
            http $method /images/$id
            assert_status 200
            assert_no_header ETag
            assert_no_header Last-Modified
        done
    done
    http GET /images/ro/extents
    assert_status 200
    assert_no_header ETag
    http OPTIONS /images/file
    assert_status 200
    assert_no_header ETag
}

@test "HEAD: each change of a file is another ETag" {
    local tags=()

    tags+=("$(etag_of /images/file)")
    tags+=("$(etag_of /images/file)")
    [ "${tags[0]}" = "${tags[1]}" ]
    put /images/file "$D/new"
    assert_status 200
    tags+=("$(etag_of /images/file)")
    put /images/file "$D/new" # the same bytes: another version all the same
    tags+=("$(etag_of /images/file)")
    printf x | dd of="$D/image" bs=1 seek=100 conv=notrunc 2>/dev/null
    tags+=("$(etag_of /images/file)")
    touch -d '2026-01-02 03:04:05.678 UTC' "$D/image"
    tags+=("$(etag_of /images/file)")
    [ "$(printf '%s\n' "${tags[@]}" | sort -u | wc -l)" = 5 ]
}

# Faster than the clock that files get their times from (a tick is 1 to 10 ms).
@test "HEAD: writes that follow at once, of one length, are other ETags each" {
    python3 - "$SOCK" "$D/image" >"$D/tags" <<'END'
import http.client
import socket
import sys

connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
with open(sys.argv[2], "r+b", buffering=0) as image:
    for number in range(60):
        image.seek(0)
        image.write(b"%04d" % number)
        connection.request("HEAD", "/images/file")
        answer = connection.getresponse()
        answer.read()
        print(answer.headers["ETag"])
END
    [ "$(wc -l <"$D/tags")" = 60 ]
    run ! grep -vE '^"[0-9a-f]{16}-100000"$' "$D/tags"
    [ "$(sort -u "$D/tags" | wc -l)" = 60 ]
}

@test "HEAD: a ticket that is written anew, or a server that is replaced, is another ETag" {
    local tags=()

    tags+=("$(etag_of /images/ro)")
    nbd_ticket ro ro
    tags+=("$(etag_of /images/ro)")
    stop ro
    start_nbdkit ro -r file "$D/new"
    tags+=("$(etag_of /images/ro)")
    tags+=("$(etag_of /images/ro)")
    [ "$(printf '%s\n' "${tags[@]}" | sort -u | wc -l)" = 3 ]
    [ "${tags[2]}" = "${tags[3]}" ]
}

@test "GET, HEAD: If-None-Match and If-Modified-Since are 304, or all of it" {
    local id tag date

    for id in file ro; do
        tag=$(etag_of /images/$id)
        date=$(date_of /images/$id)
        http GET /images/$id -H "If-None-Match: $tag"
        assert_not_modified "$tag"
        http HEAD /images/$id -H "If-None-Match: $NEVER, W/$tag"
        assert_not_modified "$tag"
        http GET /images/$id -H 'If-None-Match: *'
        assert_not_modified "$tag"
        http GET /images/$id -H "If-None-Match: $tag" -H 'Range: bytes=0-9'
        assert_not_modified "$tag"
        http GET /images/$id -H "If-Modified-Since: $date"
        assert_not_modified "$tag"
        http GET /images/$id -H "If-None-Match: $NEVER" \
            -H "If-Modified-Since: $date"
        assert_status 200
        http GET /images/$id -H 'If-Modified-Since: Thu, 01 Jan 2004 00:00:00 GMT'
        assert_status 200
        http GET /images/$id -H 'If-Modified-Since: soon'
        assert_status 200
    done
    http GET /images/rw -H "If-None-Match: $NEVER"
    assert_status 200
    assert_body "$D/disk"
    http GET /images/rw -H 'If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT'
    assert_status 200
}

@test "GET, HEAD: If-Match and If-Unmodified-Since are 412, or all of it" {
    local id tag date

    for id in file ro; do
        tag=$(etag_of /images/$id)
        date=$(date_of /images/$id)
        http GET /images/$id -H "If-Match: $NEVER, $tag"
        assert_status 200
        http GET /images/$id -H 'If-Match: *' -H 'Range: bytes=0-9'
        assert_status 206
        http GET /images/$id -H "If-Match: $NEVER"
        assert_json_error 412 'precondition failed'
        http GET /images/$id -H "If-Match: W/$tag"
        assert_json_error 412 'precondition failed'
        http HEAD /images/$id -H "If-Match: $NEVER"
        assert_status 412
        http GET /images/$id -H "If-Unmodified-Since: $date"
        assert_status 200
        http GET /images/$id \
            -H 'If-Unmodified-Since: Thu, 01 Jan 2004 00:00:00 GMT'
        assert_json_error 412 'precondition failed'
    done
    http GET /images/rw -H "If-Match: $NEVER"
    assert_json_error 412 'precondition failed'
    http GET /images/rw -H 'If-Match: *'
    assert_status 200
}

@test "GET: If-Range is the range if the image is the same, else all of it" {
    local id tag date

    for id in file ro; do
        tag=$(etag_of /images/$id)
        date=$(date_of /images/$id)
        for same in "$tag" "$date"; do
            # A date that was set to another time than that of the change.
            if [ "$id" = file ] && [ "$same" = "$date" ]; then
                continue
            fi
            http GET /images/$id -H 'Range: bytes=100-199' -H "If-Range: $same"
            assert_status 206
            assert_header Content-Range "bytes 100-199/$MIB"
            assert_body <(bytes "$D/disk" 100 100)
        done
        for other in "$NEVER" "W/$tag" 'Thu, 01 Jan 2004 00:00:00 GMT' \
            'Thu, 01 Jan 2099 00:00:00 GMT' x; do
            http GET /images/$id -H 'Range: bytes=100-199' -H "If-Range: $other"
            assert_status 200
            assert_no_header Content-Range
            assert_body "$D/disk"
            http HEAD /images/$id -H 'Range: bytes=100-199' \
                -H "If-Range: $other"
            assert_status 200
        done
        # Past the end: only if it is meant at all.
        http GET /images/$id -H 'Range: bytes=9999999-' -H "If-Range: $tag"
        assert_json_error 416 'range not satisfiable'
        http GET /images/$id -H 'Range: bytes=9999999-' -H "If-Range: $NEVER"
        assert_status 200
        http GET /images/$id -H "If-Range: $NEVER"
        assert_status 200
    done
    http GET /images/rw -H 'Range: bytes=100-199' -H "If-Range: $NEVER"
    assert_status 200
    assert_body "$D/disk"
}

@test "GET: a date in If-Range counts only if no other version can have had it" {
    local date

    make_disk "$D/image" $MIB
    date=$(date_of /images/file)
    http GET /images/file -r 100-199 -H "If-Range: $date"
    assert_status 206
    assert_body <(bytes "$D/image" 100 100)
    # Another file, with the same date, takes its place.
    cp "$D/image" "$D/other"
    touch -r "$D/image" "$D/other"
    mv "$D/other" "$D/image"
    [ "$(date_of /images/file)" = "$date" ]
    http GET /images/file -r 100-199 -H "If-Range: $date"
    assert_status 200
    assert_body "$D/image"
}

# Two versions in one second would have the same date. Each HEAD is begun in the
# second in which the file changed, or it proves nothing and is made again.
@test "HEAD: a file has no Last-Modified while it could change in the same second" {
    local answered second

    for _ in {1..20}; do
        make_disk "$D/image" $MIB
        second=$(stat -c %Y "$D/image")
        http HEAD /images/file
        answered=$(date +%s)
        [ "$answered" != "$second" ] || break
    done
    [ "$answered" = "$second" ]
    assert_status 200
    [ -n "$(header ETag)" ]
    assert_no_header Last-Modified
    # It has one, which guards as before, though no one was told.
    http GET /images/file -H 'If-Unmodified-Since: Thu, 01 Jan 2004 00:00:00 GMT'
    assert_json_error 412 'precondition failed'
    wait_for is_dated /images/file
}

@test "GET, HEAD: a file of a time to come has no Last-Modified" {
    touch -d '2099-01-01 UTC' "$D/image"
    http HEAD /images/file
    assert_status 200
    assert_no_header Last-Modified
    [ -n "$(header ETag)" ]
    http GET /images/file -H 'If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT'
    assert_status 200
}

@test "PUT: a file is replaced only if it is still the one that was meant" {
    local tag

    tag=$(etag_of /images/file)
    put /images/file "$D/new" -H "If-Match: $NEVER"
    assert_json_error 412 'precondition failed'
    put /images/file "$D/new" -H 'If-None-Match: *'
    assert_json_error 412 'precondition failed'
    put /images/file "$D/new" -H "If-None-Match: $tag"
    assert_json_error 412 'precondition failed'
    put /images/file "$D/new" \
        -H 'If-Unmodified-Since: Thu, 01 Jan 2004 00:00:00 GMT'
    assert_json_error 412 'precondition failed'
    post /images/file/flush -H "If-Match: $NEVER"
    assert_json_error 412 'precondition failed'
    cmp "$D/disk" "$D/image"
    put /images/file "$D/new" -H "If-Match: $tag"
    assert_status 200
    cmp "$D/new" "$D/image"
    put /images/file "$D/disk" -H "If-Match: $tag"
    assert_json_error 412 'precondition failed'
    cmp "$D/new" "$D/image"
}

@test "PUT: a file is made only if it is missing, where that was asked for" {
    rm "$D/image"
    put /images/file "$D/new" -H 'If-Match: *'
    assert_json_error 412 'precondition failed'
    [ ! -e "$D/image" ]
    put /images/file "$D/new" -H 'If-None-Match: *'
    assert_status 200
    cmp "$D/new" "$D/image"
}

@test "PUT, PATCH, POST: conditions on an export change nothing unless they are met" {
    put /images/rw "$D/new" -H "If-Match: $NEVER"
    assert_json_error 412 'precondition failed'
    put /images/rw "$D/new" -H "If-Match: $NEVER" \
        -H "Content-Range: bytes 0-$((MIB - 1))/*"
    assert_json_error 412 'precondition failed'
    patch /images/rw "$D/new" "bytes=0-" -H "If-Match: $NEVER"
    assert_json_error 412 'precondition failed'
    json /images/rw '{"op":"zero","size":4096}' -H 'If-None-Match: *'
    assert_json_error 412 'precondition failed'
    post /images/rw/flush -H "If-Match: $NEVER"
    assert_json_error 412 'precondition failed'
    run ! has_commands rw Write
    run ! has_commands rw Zero
    put /images/rw "$D/new" -H 'If-Match: *'
    assert_status 200
}

@test "GET: conditions come after the form, and before the range" {
    http GET /images/file -H 'Range: bytes=x' -H "If-Match: $NEVER"
    assert_json_error 400 'invalid Range header'
    http GET /images/file -H 'Range: bytes=9999999-' -H "If-Match: $NEVER"
    assert_json_error 412 'precondition failed'
    http GET /images/nothing -H "If-Match: $NEVER"
    assert_json_error 404 'unknown image_id'
}
