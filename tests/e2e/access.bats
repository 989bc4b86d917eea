#!/usr/bin/env bats
# Who may use a ticket, for what, and for how long: token, ops, expires and
# idle_timeout_seconds. Two processes.

load common

TOKEN=0123456789abcdef-SECRET
ID=3f2a1b0c-b2d1-4c6e-9d57-26e4ad2bd3e8 # a real one, for the log

setup_file() {
    start_service_of 2
    make_disk "$D/data" $((64 * MIB))
}

teardown_file() {
    stop_service
}

setup() {
    make_disk "$D/disk" $((64 * KIB))
    make_disk "$D/new" $((64 * KIB))
    start_nbdkit disk file "$D/disk"
}

teardown() {
    stop_backends
}

bearer() { # TOKEN: as curl's option
    printf 'Authorization: Bearer %s' "$1"
}

assert_unauthorized() {
    assert_json_error 401 "the ticket's bearer token is required"
    assert_header WWW-Authenticate Bearer
}

# --- token ------------------------------------------------------------------

@test "GET, HEAD, PUT, PATCH, POST, extents: without the ticket's token 401, and nothing is done" {
    local wrong

    nbd_ticket $ID disk ",\"token\":\"$TOKEN\""
    cp "$D/disk" "$D/before"
    for wrong in '' "$(bearer x)" "$(bearer "${TOKEN%?}")" \
        "$(bearer "${TOKEN}0")" "$(bearer "${TOKEN,,}")" \
        "Authorization: $TOKEN" "Authorization: Basic $TOKEN" \
        "Authorization: Bearer" "Authorization: Bearer$TOKEN" \
        "$(bearer "$TOKEN, x")"; do
        http GET /images/$ID -H "$wrong"
        assert_unauthorized
        http GET /images/$ID/extents -H "$wrong"
        assert_unauthorized
        put /images/$ID "$D/new" -H "$wrong"
        assert_unauthorized
        patch /images/$ID "$D/new" bytes=0-65535 -H "$wrong"
        assert_unauthorized
        json /images/$ID '{"op":"zero","size":65536}' -H "$wrong"
        assert_unauthorized
        post /images/$ID/flush -H "$wrong"
        assert_unauthorized
        http HEAD /images/$ID -H "$wrong"
        assert_status 401
        assert_header WWW-Authenticate Bearer
    done
    cmp "$D/before" "$D/disk"
    run ! grep -q ' Connect ' "$D/disk.nbdlog"
}

@test "GET, HEAD, PUT, PATCH, POST, extents: with the ticket's token all work" {
    local right

    nbd_ticket $ID disk ",\"token\":\"$TOKEN\""
    for right in "$(bearer "$TOKEN")" "Authorization: bearer  $TOKEN" \
        "authorization: BEARER $TOKEN"; do
        http GET /images/$ID -H "$right"
        assert_status 200
        assert_body "$D/disk"
    done
    http HEAD /images/$ID -H "$right"
    assert_status 200
    http GET /images/$ID/extents -H "$right"
    assert_status 200
    put /images/$ID "$D/new" -H "$right"
    assert_status 200
    cmp "$D/new" "$D/disk"
    patch /images/$ID "$D/new" bytes=0-65535 -H "$right"
    assert_status 200
    json /images/$ID '{"op":"zero","size":512}' -H "$right"
    assert_status 200
    post /images/$ID/flush -H "$right"
    assert_status 200
}

@test "OPTIONS: needs no token" {
    nbd_ticket $ID disk ",\"token\":\"$TOKEN\""
    http OPTIONS /images/$ID
    assert_json 200 '{"unix_socket":null,"features":["extents","zero","flush"],"max_readers":8,"max_writers":1}'
}

@test "GET: a token is required after the ticket and the method, before anything else" {
    nbd_ticket $ID disk ",\"token\":\"$TOKEN\""
    http GET /images/unknown
    assert_json_error 404 'unknown image_id'
    http DELETE /images/$ID
    assert_json_error 405 'method not allowed'
    http GET /images/$ID -H 'Range: bytes=x'
    assert_unauthorized
    file_ticket file "$D/disk" ",\"token\":\"$TOKEN\",\"read_only\":true"
    put /images/file "$D/new"
    assert_unauthorized
    http GET /images/file/extents
    assert_unauthorized
}

@test "GET: two Authorization headers are none" {
    nbd_ticket $ID disk ",\"token\":\"$TOKEN\""
    http GET /images/$ID -H "$(bearer "$TOKEN")" \
        -H "Authorization: Basic eDp5"
    case $WEB in
    nginx) assert_status 400 ;; # by nginx itself
    lighttpd) [ "$http_status" = 401 ] || [ "$http_status" = 400 ] ;;
    esac
}

@test "GET: a ticket that asks for no token takes any" {
    nbd_ticket $ID disk
    http GET /images/$ID -H "$(bearer x)"
    assert_status 200
}

@test "a ticket whose token is too short, or no string, is none" {
    local keys

    for keys in '"token":"0123456789abcde"' '"token":""' '"token":null' \
        '"token":1234567890123456' '"token":"0123456789 abcdef"'; do
        nbd_ticket $ID disk ",$keys"
        http GET /images/$ID -H "$(bearer 0123456789abcde)"
        assert_json_error 404 'unknown image_id'
        has_line "$D/program.log" '^warning: ticket=3f2a1b0c refused="\\x22token\\x22 '
    done
}

@test "the log has neither tokens nor whole ids" {
    nbd_ticket $ID disk ",\"token\":\"$TOKEN\""
    http GET /images/$ID -H "$(bearer "$TOKEN")"
    http GET /images/$ID -H "$(bearer "wrong$TOKEN")"
    nbd_ticket $ID disk ",\"token\":\"$TOKEN\",\"ops\":[\"none\"]"
    http GET /images/$ID -H "$(bearer "$TOKEN")"
    assert_json_error 404 'unknown image_id'
    has_line "$D/program.log" '^info: method=GET ticket=3f2a1b0c status=200 '
    has_line "$D/program.log" '^info: method=GET ticket=3f2a1b0c status=401 '
    run ! grep -F -e "$TOKEN" -e "$ID" -r "$D/program.log" "$D/web"
}

# --- ops --------------------------------------------------------------------

@test "PUT, PATCH, POST: 403 where the ticket allows reading only, and OPTIONS says so" {
    nbd_ticket $ID disk ',"ops":["read"]'
    file_ticket file "$D/new" ',"ops":["read"]'
    http OPTIONS /images/$ID
    assert_json 200 '{"unix_socket":null,"features":["extents"],"max_readers":8,"max_writers":0}'
    assert_header Allow 'GET, HEAD, OPTIONS'
    http OPTIONS /images/file
    assert_json 200 '{"unix_socket":null,"features":[],"max_readers":8,"max_writers":0}'
    assert_header Allow 'GET, HEAD, OPTIONS'
    cp "$D/disk" "$D/before"
    put /images/$ID "$D/new"
    assert_json_error 403 'the ticket does not allow writing'
    patch /images/$ID "$D/new" bytes=0-65535
    assert_json_error 403 'the ticket does not allow writing'
    json /images/$ID '{"op":"zero","size":512}'
    assert_json_error 403 'the ticket does not allow writing'
    json /images/$ID '{"op":"flush"}'
    assert_json_error 403 'the ticket does not allow writing'
    post /images/$ID/flush
    assert_json_error 403 'the ticket does not allow writing'
    put /images/file "$D/disk"
    assert_json_error 403 'the ticket does not allow writing'
    cmp "$D/before" "$D/disk"
    http GET /images/$ID
    assert_body "$D/disk"
    http GET /images/$ID/extents
    assert_status 200
    http HEAD /images/file
    assert_status 200
}

@test "PUT: works where the ticket allows reading and writing, unless the image is read-only" {
    nbd_ticket $ID disk ',"ops":["read","write"]'
    put /images/$ID "$D/new"
    assert_status 200
    nbd_ticket $ID disk ',"ops":["write","read"]'
    put /images/$ID "$D/new"
    assert_status 200
    nbd_ticket $ID disk ',"ops":["read","write"],"read_only":true'
    put /images/$ID "$D/new"
    assert_json_error 403 'image is read-only'
}

@test "a ticket with other ops is none" {
    local ops

    for ops in '[]' '["write"]' '["read","read"]' '["read","erase"]' \
        '["read",1]' '"read"' 'null' 'true' '{"read":true}'; do
        nbd_ticket $ID disk ",\"ops\":$ops"
        http GET /images/$ID
        assert_json_error 404 'unknown image_id'
    done
}

# --- expires ----------------------------------------------------------------

@test "GET, OPTIONS, PUT: past its time a ticket is unknown; a request that runs goes on" {
    local end

    file_ticket $ID "$D/data" ",\"expires\":$(($(date +%s) + 3600))"
    http GET /images/$ID
    assert_status 200
    end=$(($(date +%s) + 2))
    file_ticket $ID "$D/data" ",\"expires\":$end"
    hold_reader r /images/$ID
    wait_for is_unknown $ID
    [ "$(date +%s)" -ge "$end" ]
    http OPTIONS /images/$ID
    assert_json_error 404 'unknown image_id'
    put /images/$ID "$D/new"
    assert_json_error 404 'unknown image_id'
    has_line "$D/program.log" '^warning: ticket=3f2a1b0c refused="it has expired"'
    release r
    assert_status 200
    assert_body "$D/data"
    file_ticket $ID "$D/data" ',"expires":0'
    http GET /images/$ID
    assert_json_error 404 'unknown image_id'
}

is_unknown() { # ID
    http HEAD "/images/$1"
    [ "$http_status" = 404 ]
}

@test "a ticket whose expires is no integer of seconds is none" {
    local value

    for value in '"99999999999"' 99999999999.5 -1 null true '[99999999999]'; do
        nbd_ticket $ID disk ",\"expires\":$value"
        http GET /images/$ID
        assert_json_error 404 'unknown image_id'
    done
}

# --- idle_timeout_seconds ---------------------------------------------------

@test "GET: a ticket without a request for longer than its idle_timeout_seconds is unknown" {
    nbd_ticket $ID disk ',"idle_timeout_seconds":1'
    http GET /images/$ID
    assert_status 200
    # To ask for it would keep it.
    wait_for is_older_than $ID 1100
    http GET /images/$ID
    assert_json_error 404 'unknown image_id'
    has_line "$D/program.log" '^warning: ticket=3f2a1b0c refused="no request for 1 s"'
    http GET /images/$ID
    assert_json_error 404 'unknown image_id'
    # A ticket that is written anew begins anew.
    nbd_ticket $ID disk ',"idle_timeout_seconds":1'
    http GET /images/$ID
    assert_status 200
}

# Has ID's last request ended so many milliseconds ago?
is_older_than() { # ID MILLISECONDS
    local last

    last=$(stat -c %.3Y "$D/run/stamps")
    (($(date +%s%3N) - ${last/./} > $2))
}

@test "GET: requests one after another, in whichever process, keep a ticket" {
    local end

    nbd_ticket $ID disk ',"idle_timeout_seconds":2'
    end=$(($(date +%s) + 5))
    while (($(date +%s) < end)); do
        http HEAD /images/$ID
        assert_status 200
    done
}

@test "GET: a request that runs keeps its ticket, and its end is when the time begins" {
    local began

    file_ticket $ID "$D/data" ',"idle_timeout_seconds":1'
    began=$(date +%s%3N)
    hold_reader r /images/$ID
    wait_for has_passed "$began" 2500
    http HEAD /images/$ID
    assert_status 200
    wait_for has_passed "$began" 5000
    release r
    assert_body "$D/data"
    http HEAD /images/$ID
    assert_status 200
}

has_passed() { # SINCE_MS MILLISECONDS
    (($(date +%s%3N) - $1 > $2))
}

@test "GET: who shows no token does not keep a ticket" {
    nbd_ticket $ID disk ",\"idle_timeout_seconds\":2,\"token\":\"$TOKEN\""
    wait_for is_unknown $ID
}

@test "OPTIONS: without the token it does not keep a ticket" {
    nbd_ticket $ID disk ",\"idle_timeout_seconds\":2,\"token\":\"$TOKEN\""
    wait_for is_unoffered $ID
}

is_unoffered() { # ID
    http OPTIONS "/images/$1"
    [ "$http_status" = 404 ]
}

@test "GET: a ticket that is written anew knows of the requests that run" {
    local began

    file_ticket $ID "$D/data" ',"idle_timeout_seconds":600'
    hold_reader r /images/$ID
    file_ticket $ID "$D/data" ',"idle_timeout_seconds":1'
    began=$(date +%s%3N)
    wait_for has_passed "$began" 1500
    http HEAD /images/$ID
    assert_status 200
    release r
    assert_body "$D/data"
}

@test "GET: at once by several, a ticket that was idle too long stays unknown" {
    local i

    nbd_ticket $ID disk ',"idle_timeout_seconds":1'
    http HEAD /images/$ID
    wait_for is_older_than $ID 1100
    for i in 1 2 3 4 5 6; do
        http_start $i GET /images/$ID
    done
    for i in 1 2 3 4 5 6; do
        http_wait $i
        assert_json_error 404 'unknown image_id'
    done
}

@test "a ticket whose idle_timeout_seconds is no positive integer is none" {
    local value

    for value in 0 -1 1.5 '"600"' null true; do
        nbd_ticket $ID disk ",\"idle_timeout_seconds\":$value"
        http GET /images/$ID
        assert_json_error 404 'unknown image_id'
    done
}
