#!/usr/bin/env bats
# With one reader and one writer: a slot is free before its client can know
# that it has got its answer (CONTRACT 4, 8).

load common

setup_file() {
    start_service_of 2 --max-readers 1 --max-writers 1
}

teardown_file() {
    stop_service
}

setup() {
    make_disk "$D/small" 5000
    truncate -s 256M "$D/large"
    start_nbdkit a memory 5000
    nbd_ticket a a
    start_nbdkit large file "$D/large"
    nbd_ticket large large
    cp "$D/small" "$D/image"
    file_ticket file "$D/image"
}

teardown() {
    stop_backends
}

# one_connection COUNT LINE...: COUNT times the request that these lines of
# a curl configuration describe, all on one connection; prints the statuses.
one_connection() {
    local count=$1 i

    shift
    for ((i = 0; i < count; i++)); do
        printf '%s\n' "unix-socket = \"$SOCK\"" 'silent' 'show-error' \
            "output = \"$D/answer\"" 'write-out = "%{http_code}\n"' "$@" next
    done >"$D/curl.conf"
    sed -i '$d' "$D/curl.conf"
    curl -K "$D/curl.conf" | sort | uniq -c | tr -s ' '
}

@test "GET: a second reader is 503, the limit is the configured one" {
    hold_reader r /images/large
    [ "$(held_status r)" = 200 ]
    http GET /images/a
    assert_json_error 503 'too many parallel reads'
    http HEAD /images/a
    assert_status 200
    http OPTIONS /images/a
    assert_json 200 '{"unix_socket":null,"features":["extents","zero","flush"],"max_readers":1,"max_writers":1}'
    release r
    assert_status 200
    assert_body "$D/large"
    http GET /images/a
    assert_status 200
}

@test "GET: 200 requests one after another on one connection are never refused" {
    for id in a file; do
        run -0 one_connection 200 "url = \"http://localhost/images/$id\""
        assert_output ' 200 200'
        run -0 one_connection 200 "url = \"http://localhost/images/$id\"" \
            'range = "10-19"'
        assert_output ' 200 206'
    done
}

@test "GET: 200 requests one after another on new connections are never refused" {
    local i

    for i in {1..200}; do
        http GET /images/a
        assert_status 200
    done
    assert_body <(head -c 5000 /dev/zero)
}

@test "PUT: 200 requests one after another on one connection are never refused" {
    for id in a file; do
        run -0 one_connection 200 "url = \"http://localhost/images/$id\"" \
            "upload-file = \"$D/small\"" 'header = "Expect:"'
        assert_output ' 200 200'
    done
}

@test "PUT: 200 requests one after another on new connections are never refused" {
    local i

    for i in {1..200}; do
        put /images/a "$D/small"
        assert_status 200
    done
}

@test "GET: a refused request takes no slot away" {
    local i

    for i in {1..20}; do
        http GET /images/a -H 'Range: bytes=x'
        assert_status 400
        http GET /images/a -H 'Range: bytes=5000-'
        assert_status 416
        put /images/a "$D/small" -H 'Content-Range: bytes 1-5000/*'
        assert_status 416
        http GET /images/a
        assert_status 200
        put /images/a "$D/small"
        assert_status 200
    done
}
