#!/usr/bin/env bats
# Which request goes where, and in which order it is refused (CONTRACT 1, 2).

load common

setup_file() {
    start_service
}

teardown_file() {
    stop_service
}

setup() {
    make_disk "$D/disk" $((64 * KIB))
    start_nbdkit disk file "$D/disk"
    nbd_ticket demo disk
    cp "$D/disk" "$D/image"
    file_ticket file "$D/image"
}

teardown() {
    stop_backends
}

NEITHER='PATCH requires Content-Type: application/json (for zero/flush) or Range with binary body'

@test "GET: /images alone is not found" {
    http GET /images
    assert_json_error 404 'not found'
    http GET /images/
    assert_json_error 404 'not found'
}

@test "GET: more than three segments are not found, known ticket or not" {
    http GET /images/demo/extents/more
    assert_json_error 404 'not found'
    http GET /images/unknown/extents/more
    assert_json_error 404 'not found'
}

@test "GET: a ticket that is not there is an unknown image_id" {
    http GET /images/unknown
    assert_json_error 404 'unknown image_id'
    http GET /images/unknown/extents
    assert_json_error 404 'unknown image_id'
    post /images/unknown/flush
    assert_json_error 404 'unknown image_id'
}

@test "GET: an unknown third segment is not found, after the ticket was" {
    http GET /images/demo/nothing
    assert_json_error 404 'not found'
    http GET /images/unknown/nothing
    assert_json_error 404 'unknown image_id'
}

@test "GET: empty segments are dropped" {
    http GET '//images///demo//'
    assert_status 200
    assert_body "$D/disk"
    http GET '/images//demo///extents/'
    assert_status 200
}

@test "GET: a percent-encoded path names the same image" {
    http GET /%69mages/%64em%6F
    assert_status 200
    assert_body "$D/disk"
}

@test "GET: an encoded slash separates segments like a plain one" {
    http GET /images/demo%2Fextents
    assert_status 200
    [ "$(jq type "$http_body")" = '"array"' ]
}

@test "GET: dot segments never leave /images" {
    http GET /images/demo/../demo
    assert_status 200
    assert_body "$D/disk"
    http GET /images/../images/demo
    assert_status 200
    assert_body "$D/disk"
    # Above the root: nginx says 400, lighttpd stays at the root.
    http GET /images/../../etc/passwd
    [[ $http_status = 40[04] ]]
    http GET /images/%2e%2e/etc/passwd
    assert_status 404
}

@test "GET: what is not below /images is the web server's own 404" {
    http GET /
    assert_status 404
    http GET /imagesdemo
    assert_status 404
    assert_no_header Accept-Ranges
    http PUT /other/demo -d data
    assert_status 404
    http OPTIONS /other
    assert_status 404
}

@test "DELETE, POST: an image does not have them" {
    local method

    for method in DELETE POST; do
        http $method /images/demo -d ''
        assert_json_error 405 'method not allowed'
        assert_header Allow 'OPTIONS, GET, HEAD, PUT, PATCH'
        http $method /images/file -d ''
        assert_json_error 405 'method not allowed'
        assert_header Allow 'OPTIONS, GET, HEAD, PUT, PATCH'
    done
}

@test "OPTIONS, PUT, PATCH, POST, DELETE: extents do not have them" {
    local method

    for method in OPTIONS PUT PATCH POST DELETE; do
        http $method /images/demo/extents -d ''
        assert_json_error 405 'method not allowed'
        assert_header Allow 'GET, HEAD'
    done
}

@test "OPTIONS, GET, PUT, PATCH, DELETE: flush does not have them" {
    local method

    for method in OPTIONS GET PUT PATCH DELETE; do
        http $method /images/demo/flush -d ''
        assert_json_error 405 'method not allowed'
        assert_header Allow POST
    done
}

@test "HEAD: flush does not have it, and the answer has no body" {
    http HEAD /images/demo/flush
    assert_status 405
    assert_header Allow POST
    assert_header Content-Type application/json
    assert_common_headers
}

@test "HEAD: an unknown image is 404 without a body" {
    http HEAD /images/unknown
    assert_status 404
    assert_header Content-Type application/json
    assert_common_headers
}

@test "DELETE: the ticket is looked for before the method" {
    http DELETE /images/unknown -d ''
    assert_json_error 404 'unknown image_id'
}

@test "PUT: the method comes before the permission" {
    nbd_ticket demo disk ',"read_only":true'
    http PUT /images/demo/extents -d ''
    assert_json_error 405 'method not allowed'
}

@test "PUT: the permission comes before the headers" {
    nbd_ticket demo disk ',"read_only":true'
    http PUT /images/demo -H 'Range: bytes=0-0' -d x
    assert_json_error 403 'image is read-only'
    http PUT '/images/demo?flush=maybe' -d x
    assert_json_error 403 'image is read-only'
}

@test "PATCH: the permission comes before what the backend does" {
    file_ticket file "$D/image" ',"read_only":true'
    http PATCH /images/file -d ''
    assert_json_error 403 'image is read-only'
}

@test "PATCH: the permission comes before the body's form" {
    nbd_ticket demo disk ',"read_only":true'
    http PATCH /images/demo -H 'Content-Type: text/plain' -d x
    assert_json_error 403 'image is read-only'
}

@test "PATCH: what the backend does comes before the body's form" {
    http PATCH /images/file -H 'Content-Type: text/plain' -d x
    assert_json_error 400 \
        'range writes and PATCH not supported for file backend; use PUT for full upload'
}

@test "GET: a malformed Range is refused before the backend is asked" {
    nbd_ticket demo nowhere
    http GET /images/demo -H 'Range: bytes=x'
    assert_json_error 400 'invalid Range header'
    http GET /images/demo -H 'Range: bytes=999999999-'
    assert_json_error 500 'backend error'
}

@test "PATCH: the body's form is looked at before the backend is asked" {
    nbd_ticket demo nowhere
    http PATCH /images/demo -H 'Content-Type: text/plain' -d x
    assert_json_error 415 "$NEITHER"
    json /images/demo '{"op":"trim"}'
    assert_json_error 400 'unsupported op; only "zero" and "flush" are supported'
    json /images/demo '{"op":"flush"}'
    assert_json_error 500 'backend error'
}
