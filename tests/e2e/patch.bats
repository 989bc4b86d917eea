#!/usr/bin/env bats
# PATCH: writing a range, zeroing, flushing (CONTRACT 6).

load common

SIZE=1000001
NEITHER='PATCH requires Content-Type: application/json (for zero/flush) or Range with binary body'

setup_file() {
    start_service
}

teardown_file() {
    stop_service
}

setup() {
    make_disk "$D/disk" $SIZE
    cp "$D/disk" "$D/expected"
    make_disk "$D/part" 5000
    start_nbdkit disk file "$D/disk"
    nbd_ticket demo disk
    cp "$D/disk" "$D/image"
    file_ticket file "$D/image"
}

teardown() {
    stop_backends
}

assert_untouched() {
    run ! has_commands disk Write
    run ! has_commands disk Zero
    run ! has_commands disk Flush
    cmp "$D/expected" "$D/disk"
}

# expect_part OFFSET: the 5000 bytes of $D/part are to stand there.
expect_part() {
    dd if="$D/part" of="$D/expected" bs=5000 seek="$1" oflag=seek_bytes \
        conv=notrunc status=none
}

# expect_zeroes OFFSET LENGTH
expect_zeroes() {
    head -c "$2" /dev/zero |
        dd of="$D/expected" bs=64K seek="$1" oflag=seek_bytes \
            iflag=fullblock conv=notrunc status=none
}

# assert_patch OFFSET RANGE
assert_patch() {
    patch /images/demo "$D/part" "$2"
    assert_ok '{"ok":true,"bytes_written":5000}'
    expect_part "$1"
    cmp "$D/expected" "$D/disk"
    make_disk "$D/part" 5000
}

@test "PATCH: each form of range writes its bytes and no other" {
    assert_patch 0 bytes=0-4999
    assert_patch 777 bytes=777-5776
    assert_patch $((SIZE - 5000)) bytes=$((SIZE - 5000))-
    assert_patch $((SIZE - 5000)) bytes=-5000
    assert_patch 200001 '  bytes=200001-205000  '
    assert_patch $((SIZE - 5000)) bytes=$((SIZE - 5000))-$((SIZE - 1))
}

@test "PATCH: a range that crosses the end is cut to it" {
    assert_patch $((SIZE - 5000)) bytes=$((SIZE - 5000))-$SIZE
    assert_patch $((SIZE - 5000)) bytes=$((SIZE - 5000))-9999999999
    assert_patch $((SIZE - 5000)) \
        bytes=$((SIZE - 5000))-99999999999999999999999
}

@test "PATCH: the whole image can be one range" {
    make_disk "$D/new" $SIZE
    patch /images/demo "$D/new" bytes=-99999999
    assert_ok "{\"ok\":true,\"bytes_written\":$SIZE}"
    cmp "$D/new" "$D/disk"
}

@test "PATCH: any content type but JSON, or none, is binary" {
    local kind

    for kind in 'Content-Type: text/plain' 'Content-Type:' \
        'Content-Type: application/jsonp' 'Content-Type: application/x-json'; do
        http PATCH /images/demo -H 'Range: bytes=100-5099' -H "$kind" \
            -T "$D/part"
        assert_ok '{"ok":true,"bytes_written":5000}'
    done
    expect_part 100
    cmp "$D/expected" "$D/disk"
}

@test "PATCH: a binary body that looks like JSON is written as it is" {
    printf '{"op":"zero","size":4096}' >"$D/text"
    patch /images/demo "$D/text" bytes=0-24
    assert_ok '{"ok":true,"bytes_written":25}'
    cmp "$D/text" <(bytes "$D/disk" 0 25)
}

@test "PATCH: a length other than the range's is 400" {
    patch /images/demo "$D/part" bytes=0-4998
    assert_json_error 400 'Content-Length (5000) must equal range length (4999)'
    patch /images/demo "$D/part" bytes=0-
    assert_json_error 400 \
        "Content-Length (5000) must equal range length ($SIZE)"
    patch /images/demo "$D/part" bytes=$((SIZE - 10))-$((SIZE + 4989))
    assert_json_error 400 'Content-Length (5000) must equal range length (10)'
    assert_untouched
}

@test "PATCH: a range that cannot be satisfied is 416" {
    local range

    for range in bytes=$SIZE- bytes=$SIZE-$((SIZE + 4999)) bytes=5-4 \
        bytes=99999999999999999999999-; do
        patch /images/demo "$D/part" "$range"
        assert_json_error 416 'range not satisfiable'
        assert_header Content-Range "bytes */$SIZE"
    done
    assert_untouched
}

@test "PATCH: a malformed range is 400" {
    local range

    for range in items=0-4999 bytes=0-1,3-4 bytes= bytes=- bytes=-0 \
        bytes=a-b bytes=+1-5 'bytes= 0-4999' 'bytes=0 - 4999' bytes=0-4999x \
        bytes 0-4999; do
        patch /images/demo "$D/part" "$range"
        assert_json_error_like 400 'invalid Range header: '
    done
    assert_untouched
}

@test "PATCH: a binary body without Content-Length is 400" {
    fcgi PATCH /images/demo HTTP_RANGE=bytes=0-4999 \
        CONTENT_TYPE=application/octet-stream <"$D/part"
    assert_json 400 '{"error":"Content-Length required"}'
    if [ "$WEB" = nginx ]; then
        http PATCH /images/demo -H 'Range: bytes=0-4999' -T "$D/part" \
            -H 'Transfer-Encoding: chunked'
        assert_json_error 400 'Content-Length required'
    fi
    assert_untouched
}

@test "PATCH: a binary body of no bytes is 400" {
    http PATCH /images/demo -H 'Range: bytes=0-0' -H 'Content-Type:' -d ''
    assert_json_error 400 'Content-Length must be positive'
    assert_untouched
}

@test "PATCH: a Content-Length that is no number is 400" {
    local length

    for length in -1 +5 abc 1.5; do
        fcgi PATCH /images/demo HTTP_RANGE=bytes=0-4999 \
            CONTENT_LENGTH="$length" </dev/null
        assert_json 400 '{"error":"Invalid Content-Length"}'
    done
    assert_untouched
}

@test "PATCH: a binary body shorter than announced is 400" {
    fcgi PATCH /images/demo HTTP_RANGE=bytes=0-5999 CONTENT_LENGTH=6000 \
        <"$D/part"
    assert_json 400 '{"error":"request body ended early at 5000 bytes"}'
}

@test "PATCH: neither JSON nor a range is 415" {
    http PATCH /images/demo -H 'Content-Type: application/octet-stream' \
        -T "$D/part"
    assert_json_error 415 "$NEITHER"
    http PATCH /images/demo -H 'Content-Type:' -d '{"op":"flush"}'
    assert_json_error 415 "$NEITHER"
    http PATCH /images/demo -H 'Content-Type: text/json' -d '{"op":"flush"}'
    assert_json_error 415 "$NEITHER"
    assert_untouched
}

@test "PATCH: JSON wins over Range" {
    json /images/demo '{"op":"zero","offset":10,"size":20}' \
        -H 'Range: bytes=500-519'
    assert_ok '{"ok":true}'
    expect_zeroes 10 20
    cmp "$D/expected" "$D/disk"
}

@test "PATCH: JSON is known whatever the case and the parameters of its type" {
    local kind at=100

    for kind in application/json 'APPLICATION/Json' \
        'application/json; charset=utf-8' 'application/json;charset=utf-8' \
        'Application/JSON ; x=y'; do
        http PATCH /images/demo -H "Content-Type: $kind" \
            -d "{\"op\":\"zero\",\"offset\":$at,\"size\":50}"
        assert_ok '{"ok":true}'
        expect_zeroes $at 50
        at=$((at + 100))
    done
    cmp "$D/expected" "$D/disk"
}

@test "PATCH zero: the area reads as zeroes, and nothing else changed" {
    json /images/demo '{"op":"zero","offset":4097,"size":300000,"flush":false}'
    assert_ok '{"ok":true}'
    expect_zeroes 4097 300000
    cmp "$D/expected" "$D/disk"
    run ! has_commands disk Flush
}

@test "PATCH zero: numbers may be strings of digits" {
    json /images/demo '{"op":"zero","offset":"500000","size":"1000"}'
    assert_ok '{"ok":true}'
    expect_zeroes 500000 1000
    cmp "$D/expected" "$D/disk"
}

@test "PATCH zero: without an offset it begins at 0" {
    json /images/demo '{"op":"zero","size":100}'
    assert_ok '{"ok":true}'
    expect_zeroes 0 100
    cmp "$D/expected" "$D/disk"
}

@test "PATCH zero: what crosses the end is cut to it" {
    json /images/demo "{\"op\":\"zero\",\"offset\":999000,\"size\":$SIZE}"
    assert_ok '{"ok":true}'
    expect_zeroes 999000 1001
    cmp "$D/expected" "$D/disk"
    [ "$(stat -c %s "$D/disk")" = $SIZE ]
    json /images/demo \
        '{"op":"zero","offset":998000,"size":18446744073709551615}'
    assert_ok '{"ok":true}'
    expect_zeroes 998000 2001
    cmp "$D/expected" "$D/disk"
    json /images/demo \
        '{"op":"zero","offset":997000,"size":"99999999999999999999999"}'
    assert_ok '{"ok":true}'
    expect_zeroes 997000 3001
    cmp "$D/expected" "$D/disk"
}

@test "PATCH zero: unknown keys are ignored" {
    json /images/demo \
        '{"op":"zero","size":10,"why":{"a":[1,2,{"b":null}]},"Size":"x"}'
    assert_ok '{"ok":true}'
    expect_zeroes 0 10
    cmp "$D/expected" "$D/disk"
}

@test "PATCH zero: flush true makes it durable before the answer" {
    json /images/demo '{"op":"zero","offset":0,"size":4096,"flush":true}'
    assert_ok '{"ok":true}'
    has_commands disk Flush || has_line "$D/disk.nbdlog" 'Zero .* fua=1 '
    expect_zeroes 0 4096
    cmp "$D/expected" "$D/disk"
}

@test "PATCH zero: a server without WRITE_ZEROES gets zeroes written" {
    start_nbdkit nozero --filter=nozero file "$D/disk"
    nbd_ticket nozero nozero
    json /images/nozero '{"op":"zero","offset":1111,"size":900000}'
    assert_ok '{"ok":true}'
    run ! has_commands nozero Zero
    has_commands nozero Write
    expect_zeroes 1111 900000
    cmp "$D/expected" "$D/disk"
}

@test "PATCH zero: 100 GiB is many commands and one answer" {
    start_nbdkit huge memory 101G
    nbd_ticket huge huge
    patch /images/huge "$D/part" bytes=0-4999
    assert_status 200
    patch /images/huge "$D/part" bytes=$((100 * GIB - 5000))-$((100 * GIB - 1))
    assert_status 200
    patch /images/huge "$D/part" bytes=$((100 * GIB + 5))-$((100 * GIB + 5004))
    assert_status 200
    json /images/huge "{\"op\":\"zero\",\"offset\":0,\"size\":$((100 * GIB))}"
    assert_ok '{"ok":true}'
    http GET /images/huge -H 'Range: bytes=0-4999'
    assert_body <(head -c 5000 /dev/zero)
    http GET /images/huge \
        -H "Range: bytes=$((100 * GIB - 5000))-$((100 * GIB - 1))"
    assert_body <(head -c 5000 /dev/zero)
    # Not one byte too many.
    http GET /images/huge \
        -H "Range: bytes=$((100 * GIB + 5))-$((100 * GIB + 5004))"
    assert_body "$D/part"
    [ "$(commands huge Zero)" -gt 24 ]
}

@test "PATCH zero: a server with a small maximum gets small commands" {
    start_nbdkit small --filter=blocksize-policy file "$D/disk" \
        blocksize-minimum=1 blocksize-preferred=4096 \
        blocksize-maximum=64K blocksize-error-policy=error
    nbd_ticket small small
    json /images/small '{"op":"zero","offset":100,"size":900000}'
    assert_ok '{"ok":true}'
    expect_zeroes 100 900000
    cmp "$D/expected" "$D/disk"
}

@test "PATCH flush: the server is flushed" {
    json /images/demo '{"op":"flush"}'
    assert_ok '{"ok":true}'
    [ "$(commands disk Flush)" = 1 ]
    json /images/demo '{"op":"flush","size":"no matter"}'
    assert_ok '{"ok":true}'
    [ "$(commands disk Flush)" = 2 ]
    run ! has_commands disk Write
    run ! has_commands disk Zero
    cmp "$D/expected" "$D/disk"
}

@test "PATCH flush: a server that cannot flush is 400, before anything changes" {
    start_nbdkit noflush eval get_size='echo 5000' can_write='exit 0' \
        pread='head -c $3 /dev/zero' pwrite='cat >/dev/null' \
        can_flush='exit 3'
    nbd_ticket noflush noflush
    json /images/noflush '{"op":"flush"}'
    assert_json_error 400 'flush not supported by this image'
    json /images/noflush '{"op":"zero","size":100,"flush":true}'
    assert_json_error 400 'flush not supported by this image'
    run ! has_commands noflush Write
    run ! has_commands noflush Zero
    json /images/noflush '{"op":"zero","size":100,"flush":false}'
    assert_ok '{"ok":true}'
}

# refuses TEXT BODY...: each body is 400 with this text.
refuses() {
    local text=$1 body

    shift
    for body in "$@"; do
        json /images/demo "$body"
        assert_json_error 400 "$text"
    done
}

@test "PATCH JSON: what is no JSON is 400" {
    local body

    for body in '{' 'x' '{"op":"flush"' '{"op":"flush"}x' "{'op':'flush'}" \
        '{"op":"flush"}{"op":"flush"}' '{"op":"flush",}' '' ' ' \
        $'{"op":"fl\xffush"}' $'{"op":"flush","x":"\xc3"}' \
        "$(printf '[%.0s' {1..20})$(printf ']%.0s' {1..20})" \
        "{\"op\":\"flush\",\"x\":$(printf '[%.0s' {1..17})$(printf \
            ']%.0s' {1..17})}"; do
        json /images/demo "$body"
        if [ -z "$body" ]; then
            assert_json_error 400 'Invalid Content-Length'
        else
            assert_json_error_like 400 'invalid JSON: '
        fi
    done
    # Not even a byte of NUL ends it early.
    printf '{"op":"flush"}\0' >"$D/nul"
    http PATCH /images/demo -H 'Content-Type: application/json' \
        --data-binary "@$D/nul"
    assert_json_error_like 400 'invalid JSON: '
    assert_untouched
}

@test "PATCH JSON: what is no object is 400" {
    refuses 'body must be a JSON object' '[]' '1' '"zero"' 'null' 'true' \
        '[{"op":"flush"}]'
    assert_untouched
}

@test "PATCH JSON: an unknown op is 400" {
    refuses 'unsupported op; only "zero" and "flush" are supported' '{}' \
        '{"op":"trim"}' '{"op":"ZERO","size":1}' '{"op":null}' '{"op":1}' \
        '{"op":["zero"]}' '{"size":1}' '{"op":""}' '{"op":"zero\u0000","size":1}'
    assert_untouched
}

@test "PATCH JSON: a size that is missing or no number is 400" {
    refuses 'missing or invalid "size"' '{"op":"zero"}' \
        '{"op":"zero","size":null}' '{"op":"zero","size":true}' \
        '{"op":"zero","size":1.0}' '{"op":"zero","size":1e3}' \
        '{"op":"zero","size":"+5"}' '{"op":"zero","size":"1_0"}' \
        '{"op":"zero","size":"-1"}' '{"op":"zero","size":" 5"}' \
        '{"op":"zero","size":""}' '{"op":"zero","size":"0x10"}' \
        '{"op":"zero","size":[1]}' '{"op":"zero","size":{}}' \
        '{"op":"zero","size":"five"}'
    assert_untouched
}

@test "PATCH JSON: a size that is not positive is 400" {
    refuses '"size" must be positive' '{"op":"zero","size":0}' \
        '{"op":"zero","size":-1}' '{"op":"zero","size":"0"}' \
        '{"op":"zero","size":-9223372036854775808}'
    assert_untouched
}

@test "PATCH JSON: an offset that is no number is 400" {
    refuses 'invalid "offset"' '{"op":"zero","size":1,"offset":null}' \
        '{"op":"zero","size":1,"offset":true}' \
        '{"op":"zero","size":1,"offset":0.5}' \
        '{"op":"zero","size":1,"offset":"-1"}' \
        '{"op":"zero","size":1,"offset":"x"}' \
        '{"op":"zero","size":1,"offset":[]}'
    assert_untouched
}

@test "PATCH JSON: a negative offset is 400" {
    refuses '"offset" must be non-negative' \
        '{"op":"zero","size":1,"offset":-1}' \
        '{"op":"zero","size":1,"offset":-9223372036854775808}'
    assert_untouched
}

@test "PATCH JSON: a flush that is no boolean is 400" {
    refuses '"flush" must be a boolean' \
        '{"op":"zero","size":1,"flush":"true"}' \
        '{"op":"zero","size":1,"flush":"false"}' \
        '{"op":"zero","size":1,"flush":1}' '{"op":"zero","size":1,"flush":null}'
    assert_untouched
}

@test "PATCH JSON: an offset at the end or past it is 400" {
    refuses 'offset must be less than image size' \
        "{\"op\":\"zero\",\"size\":1,\"offset\":$SIZE}" \
        '{"op":"zero","size":1,"offset":9223372036854775807}' \
        '{"op":"zero","size":1,"offset":18446744073709551615}' \
        '{"op":"zero","size":1,"offset":"99999999999999999999999"}'
    assert_untouched
}

@test "PATCH JSON: 65536 bytes are taken, 65537 are not" {
    { printf '{"op":"zero","size":9}' && head -c 65514 /dev/zero |
        tr '\0' ' '; } >"$D/long"
    [ "$(stat -c %s "$D/long")" = 65536 ]
    http PATCH /images/demo -H 'Content-Type: application/json' \
        --data-binary "@$D/long"
    assert_ok '{"ok":true}'
    expect_zeroes 0 9
    cmp "$D/expected" "$D/disk"
    printf ' ' >>"$D/long"
    http PATCH /images/demo -H 'Content-Type: application/json' \
        --data-binary "@$D/long"
    assert_json_error 400 'Invalid Content-Length'
}

@test "PATCH JSON: depth 16 is taken, 17 is not" {
    # The object itself is the first.
    json /images/demo "{\"op\":\"zero\",\"size\":9,\"x\":$(printf \
        '[%.0s' {1..15})$(printf ']%.0s' {1..15})}"
    assert_ok '{"ok":true}'
    json /images/demo "{\"op\":\"zero\",\"size\":9,\"x\":$(printf \
        '[%.0s' {1..16})$(printf ']%.0s' {1..16})}"
    assert_json_error_like 400 'invalid JSON: '
}

@test "PATCH JSON: without Content-Length it is 400" {
    fcgi PATCH /images/demo CONTENT_TYPE=application/json \
        <<<'{"op":"zero","size":1}'
    assert_json 400 '{"error":"Invalid Content-Length"}'
    fcgi PATCH /images/demo CONTENT_TYPE=application/json CONTENT_LENGTH=-5 \
        <<<'{"op":"zero","size":1}'
    assert_json 400 '{"error":"Invalid Content-Length"}'
    assert_untouched
}

@test "PATCH: a file is 400, whatever is asked" {
    local text='range writes and PATCH not supported for file backend; use PUT for full upload'

    patch /images/file "$D/part" bytes=0-4999
    assert_json_error 400 "$text"
    json /images/file '{"op":"zero","size":100}'
    assert_json_error 400 "$text"
    json /images/file '{"op":"flush"}'
    assert_json_error 400 "$text"
    http PATCH /images/file -d ''
    assert_json_error 400 "$text"
    cmp "$D/expected" "$D/image"
}

@test "PATCH: a read-only export or ticket is 403" {
    start_nbdkit ro -r file "$D/disk"
    nbd_ticket ro ro
    nbd_ticket demo disk ',"read_only":true'
    for id in ro demo; do
        patch /images/$id "$D/part" bytes=0-4999
        assert_json_error 403 'image is read-only'
        json /images/$id '{"op":"zero","size":100}'
        assert_json_error 403 'image is read-only'
        json /images/$id '{"op":"flush"}'
        assert_json_error 403 'image is read-only'
    done
    assert_untouched
}
