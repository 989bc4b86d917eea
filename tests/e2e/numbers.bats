#!/usr/bin/env bats
# What runs and what was counted: /status, /images/{id}/status, /metrics, over
# four processes.

load common

setup_file() {
    start_service_of 4
}

teardown_file() {
    stop_service
}

setup() {
    make_disk "$D/small" $((64 * KIB))
    make_disk "$D/new" $((8 * MIB))
    truncate -s 256M "$D/large"
    start_nbdkit large file "$D/large"
    nbd_ticket large-image-0001 large
    start_nbdkit a memory 8M
    nbd_ticket a a
    cp "$D/small" "$D/image"
    file_ticket file "$D/image"
}

teardown() {
    local failed=0

    : >"$D/go" # for what still waits
    stop_backends || failed=1
    rm "$D/go"
    return $failed
}

shows() { # FILTER [PATH]: is jq's FILTER true there?
    http GET "${2:-/status}"
    [ "$http_status" = 200 ] && jq -e "$1" "$http_body" >/dev/null
}

metric() { # NAME-WITH-LABELS: its value; 0 if it is not there
    http GET /metrics
    assert_status 200
    awk -v name="$1" '$1 == name { value = $2 } END { print value + 0 }' \
        "$http_body"
}

# grew NAME BEFORE BY: the number is BY more than it was.
grew() {
    [ "$(metric "$1")" = $(($2 + $3)) ]
}

# note_metrics "NAME BY"...: before something happens, and
# assert_grown "NAME BY"...: each has grown by that; an answer is counted once it
# has gone out.
declare -gA before

note_metrics() {
    local row

    for row in "$@"; do
        before[$row]=$(metric "${row% *}")
    done
}

assert_grown() {
    local row

    for row in "$@"; do
        if ! wait_for grew "${row% *}" "${before[$row]}" "${row##* }"; then
            echo "$row more than ${before[$row]}? It is $(metric "${row% *}")" >&2
            grep '^error' "$D/program.log" >&2
            return 1
        fi
    done
}

@test "GET /status: nothing runs, and what the server is" {
    http GET /status
    assert_status 200
    assert_common_headers
    assert_header Content-Type application/json
    assert_header Cache-Control no-store
    [ "$(jq -c keys_unsorted "$http_body")" = \
        '["version","now_ms","started_ms","processes","limits","readers","writers","transfers"]' ]
    [ "$(jq -c '[.processes, .limits, .readers, .writers, .transfers]' "$http_body")" = \
        '[4,{"scope":"server","max_readers":8,"max_writers":1},0,0,[]]' ]
    [ "imageio-fcgi $(jq -r .version "$http_body")" = "$("$PROGRAM" --version)" ]
    jq -e '.started_ms <= .now_ms and .now_ms - .started_ms < 3600000' "$http_body"
    http HEAD /status
    assert_status 200
    http PUT /status -T "$D/small"
    assert_json_error 405 'method not allowed'
    assert_header Allow 'GET, HEAD'
    http GET /status/more
    assert_status 404
}

@test "GET /status: a reader is seen, how far it is, and that it has gone" {
    hold_reader r /images/large-image-0001 -r 1000-200000999
    wait_for shows '.transfers | length == 1 and .[0].done > 0'
    [ "$(jq -c '.transfers[0] | [.id, .method, .operation, .backend, .offset, .total]' "$http_body")" = \
        '["large-im","GET","read","nbd",1000,200000000]' ]
    [ "$(jq -c '[.readers, .writers]' "$http_body")" = '[1,0]' ]
    [ "$(jq -c '.transfers[0] | keys_unsorted' "$http_body")" = \
        '["id","request","method","operation","backend","offset","total","done","rate","start_ms","client"]' ]
    jq -e '.now_ms as $now | .transfers[0] |
        .done < .total and .start_ms <= $now' "$http_body"
    # It stands still.
    wait_for shows '.transfers[0].rate == 0'
    request=$(jq -r '.transfers[0].request' "$http_body")
    release r
    assert_status 206
    wait_for shows '.transfers == [] and .readers == 0'
    # The log calls it the same.
    has_line "$D/program.log" "^info: method=GET ticket=large-im .* bytes=200000000 .* request=$request "
}

@test "GET /status: progress and rate of a transfer that goes on" {
    local before

    http_start r GET /images/large-image-0001 --limit-rate 2M
    wait_for shows '.transfers[0] | .rate > 0 and .done > 0 and .done < .total'
    before=$(jq '.transfers[0].done' "$http_body")
    wait_for shows ".transfers[0] | .done > $before and .rate > 0"
    http_kill r
    wait_for shows '.transfers == []'
}

@test "GET /status: a writer is seen, with what has arrived" {
    hold_writer w /images/a "$D/new" $((7 * MIB))
    wait_for shows ".transfers | length == 1 and .[0].done == $((7 * MIB))"
    [ "$(jq -c '.transfers[0] | [.id, .method, .operation, .offset, .total]' "$http_body")" = \
        "[\"a\",\"PUT\",\"write\",0,$((8 * MIB))]" ]
    [ "$(jq -c '[.readers, .writers]' "$http_body")" = '[0,1]' ]
    release w
    assert_status 200
    wait_for shows '.transfers == [] and .writers == 0'
}

# Each waits in the server for as long as the test looks: until $D/go is there.
@test "GET /status: zero, flush and extents are seen, and one that still opens its image" {
    local wait="until [ -e $D/go ]; do sleep 0.05; done"

    start_nbdkit gate eval get_size='echo 2G' can_write='exit 0' \
        can_zero='exit 0' can_extents='exit 0' pread='head -c $3 /dev/zero' \
        pwrite='cat >/dev/null' zero="[ \$4 -lt $GIB ] || { $wait; }" \
        extents="$wait; echo 0 2G"
    nbd_ticket gate gate
    http_start zero PATCH /images/gate -H 'Content-Type: application/json' \
        -d '{"op":"zero","offset":4096,"size":1610612736}'
    wait_for shows '.transfers[0] | .operation == "zero" and .method == "PATCH" and .offset == 4096 and .total == 1610612736'
    # How far it is: to where it is kept.
    wait_for shows ".transfers[0].done == $GIB - 4096"
    : >"$D/go"
    http_wait zero
    assert_status 200
    rm "$D/go"
    http_start extents GET /images/gate/extents
    wait_for shows '.transfers[0] | .operation == "extents" and .total == 2147483648 and .done == 0'
    : >"$D/go"
    http_wait extents
    assert_status 200
    rm "$D/go"
    # Listens, and answers nothing.
    start_deaf mute
    nbd_ticket mute mute
    http_start flush POST /images/mute/flush -d ''
    wait_for shows '.transfers[0] | .operation == "flush" and .total == null and .done == 0'
    # Its end is that of the request.
    stop mute
    http_wait flush
    assert_status 500
    wait_for shows '.transfers == []'
}

@test "GET /images/{id}/status: this ticket's transfers only, for who has its token" {
    file_ticket secret "$D/large" ',"token":"0123456789abcdef"'
    hold_reader a /images/large-image-0001
    hold_reader b /images/secret -H 'Authorization: Bearer 0123456789abcdef'
    wait_for shows '.transfers | length == 2'
    http GET /images/secret/status
    assert_json_error 401 "the ticket's bearer token is required"
    http GET /images/secret/status -H 'Authorization: Bearer 0123456789abcdef'
    assert_status 200
    assert_header Cache-Control no-store
    [ "$(jq -c '[.id, .backend, (.transfers | length), .transfers[0].id]' "$http_body")" = \
        '["secret","file",1,"secret"]' ]
    # An id that begins with the same eight characters is another one.
    nbd_ticket large-image-0002 large
    shows '.transfers | length == 1' /images/large-image-0001/status
    shows '.transfers == []' /images/large-image-0002/status
    http GET /images/nobody/status
    assert_json_error 404 'unknown image_id'
    http POST /images/a/status -d ''
    assert_json_error 405 'method not allowed'
    assert_header Allow 'GET, HEAD'
    release a
    release b
}

@test "GET /images/{id}/status: does not keep a ticket from being idle" {
    nbd_ticket idle a ',"idle_timeout_seconds":1'
    wait_for -t 60 is_unknown /images/idle/status
    has_line "$D/program.log" '^warning: ticket=idle refused="no request for 1 s"'
}

is_unknown() { # PATH
    http GET "$1"
    [ "$http_status" = 404 ]
}

@test "GET /metrics: promtool finds nothing wrong, and each metric is there" {
    local name

    http GET /metrics
    assert_status 200
    assert_common_headers
    assert_header Content-Type 'text/plain; version=0.0.4; charset=utf-8'
    assert_header Cache-Control no-store
    run promtool check metrics <"$http_body"
    assert_success
    assert_output ''
    for name in build_info processes start_time_seconds readers writers \
        max_readers max_writers requests_total bytes_total refusals_total \
        backend_errors_total cut_responses_total request_duration_seconds \
        nbd_command_duration_seconds; do
        has_line "$http_body" "^# TYPE imageio_$name (gauge|counter|histogram)\$"
        has_line "$http_body" "^imageio_${name}[_{ ]"
    done
    has_line "$http_body" \
        "^imageio_build_info\{version=\"$("$PROGRAM" --version | cut -d ' ' -f 2)\"\} 1\$"
    http HEAD /metrics
    assert_status 200
    http DELETE /metrics
    assert_json_error 405 'method not allowed'
}

@test "GET /metrics: counts requests, bytes and times, over all processes" {
    local i rows=(
        'imageio_requests_total{method="GET",status="206"} 20'
        'imageio_requests_total{method="PUT",status="200"} 1'
        'imageio_requests_total{method="HEAD",status="200"} 1'
        'imageio_requests_total{method="other",status="405"} 1'
        'imageio_bytes_total{backend="nbd",direction="out"} 20000'
        'imageio_bytes_total{backend="nbd",direction="in"} 8388608'
        'imageio_bytes_total{backend="file",direction="out"} 0'
        'imageio_request_duration_seconds_count{method="PUT"} 1'
        'imageio_request_duration_seconds_bucket{method="PUT",le="+Inf"} 1'
        'imageio_nbd_command_duration_seconds_count{command="flush"} 1'
    )

    note_metrics "${rows[@]}"
    for i in {1..20}; do
        http GET /images/large-image-0001 -r "$i-$((i + 999))"
        assert_status 206
    done
    put '/images/a?flush=y' "$D/new"
    assert_status 200
    http HEAD /images/a
    http DELETE /images/a
    assert_status 405
    assert_grown "${rows[@]}"
    put /images/file "$D/new"
    wait_for grew 'imageio_bytes_total{backend="file",direction="in"}' 0 $((8 * MIB))
    # More than nothing, and no more than the whole.
    metric 'imageio_request_duration_seconds_sum{method="PUT"}' >/dev/null
    awk '$1 == "imageio_request_duration_seconds_sum{method=\"PUT\"}" {
        found = $2 > 0 && $2 < 600 } END { exit !found }' "$http_body"
}

@test "GET /metrics: refusals by reason, failures by kind" {
    local i rows=(
        'imageio_refusals_total{reason="no_reader_slot"} 1'
        'imageio_refusals_total{reason="image_busy"} 1'
        'imageio_refusals_total{reason="token"} 1'
        'imageio_refusals_total{reason="forbidden"} 1'
        'imageio_refusals_total{reason="unknown_image"} 2'
        'imageio_backend_errors_total{kind="connect"} 1'
        'imageio_backend_errors_total{kind="read"} 1'
        'imageio_backend_errors_total{kind="write"} 1'
    )

    note_metrics "${rows[@]}"
    for i in {1..8}; do
        hold_reader "$i" /images/large-image-0001
    done
    http GET /images/a
    assert_status 503
    for i in {1..8}; do
        release "$i"
        assert_status 200
    done
    hold_writer w /images/a "$D/new" $((7 * MIB))
    wait_for shows '.writers == 1'
    post /images/a/flush
    assert_status 409
    release w
    file_ticket secret "$D/image" ',"token":"0123456789abcdef"'
    http GET /images/secret
    assert_status 401
    file_ticket ro "$D/image" ',"read_only":true'
    put /images/ro "$D/new"
    assert_status 403
    http GET /images/nobody
    http GET /images/nobody/extents
    assert_status 404
    http GET /images/a/nothing
    assert_status 404
    nbd_ticket nowhere nowhere
    http GET /images/nowhere
    assert_status 500
    cp "$D/new" "$D/data"
    # Each has its own: nbdkit 1.32 ends, now and then, when a client leaves it in
    # the middle of its errors.
    for i in pread pwrite; do
        start_nbdkit $i --filter=error file "$D/data" error-$i-rate=100%
        nbd_ticket $i $i
    done
    http GET /images/pread
    assert_status 500
    put /images/pwrite "$D/new"
    assert_status 500
    assert_grown "${rows[@]}"
}

@test "GET /metrics: cut responses are those that failed here, not clients that left" {
    head -c $((64 * MIB)) /dev/zero | tr '\0' x >"$D/data"
    start_nbdkit broken --filter=error file "$D/data" error-pread-rate=100% \
        error-file="$D/broken.now"
    nbd_ticket broken broken
    note_metrics 'imageio_cut_responses_total 1' \
        'imageio_backend_errors_total{kind="read"} 1'
    hold_reader left /images/broken
    http_kill left
    wait_for shows '.transfers == []'
    hold_reader r /images/broken
    : >"$D/broken.now"
    release r
    [ "$http_exit" != 0 ]
    assert_grown 'imageio_cut_responses_total 1' \
        'imageio_backend_errors_total{kind="read"} 1'
}

@test "GET /status, /metrics: only as the example configuration says" {
    local path

    for path in /status/ /metrics/ /statusx /metrics.txt; do
        http GET "$path"
        assert_status 404
    done
}

@test "log: the web server's name of a request, and its client" {
    local name

    http GET /images/a -r 0-9
    assert_status 206
    wait_for has_line "$D/program.log" '^info: method=GET ticket=a status=206 '
    if [ "$WEB" = nginx ]; then
        name=$(grep -oE ' request=[0-9a-f]{32} ' "$D/program.log" | tail -n 1)
        wait_for has_line "$D/web/imageio.log" "/images/a 206 .*${name% }\$"
    else
        has_line "$D/program.log" ' client=[^ ]* request=[0-9a-f]{16} '
    fi
    # Past the web server: what it says is taken if it can be.
    fcgi GET /images/a REMOTE_ADDR=192.0.2.7 REQUEST_ID=abc-1.2_X </dev/null
    wait_for has_line "$D/program.log" ' client=192.0.2.7 request=abc-1.2_X '
    fcgi GET /images/a REMOTE_ADDR='1 2"3' REQUEST_ID='a b' </dev/null
    wait_for has_line "$D/program.log" ' client=1\\x202\\x223 request=[0-9a-f]{16} '
}

# logged KEY ID: of the last line of a request for that ticket.
logged() {
    grep -E "^[a-z]+: method=[A-Z]+ ticket=$2 " "$D/program.log" |
        tail -n 1 | grep -oE " $1=[0-9]+" | cut -d = -f 2
}

@test "log: backend_us is what the backend took, not what a slow client did" {
    start_nbdkit slow --filter=delay file "$D/new" delay-read=700ms
    nbd_ticket slow slow
    http GET /images/slow -r 0-99
    assert_status 206
    wait_for has_line "$D/program.log" '^info: method=GET ticket=slow '
    [ "$(logged backend_us slow)" -ge 700000 ]
    [ "$(logged took_us slow)" -ge "$(logged backend_us slow)" ]
    hold_reader r /images/large-image-0001
    wait_for shows '.transfers | length == 1 and .[0].done > 0'
    # For two seconds it takes nothing.
    wait_for shows '.transfers[0].rate == 0'
    wait_for shows '.now_ms - .transfers[0].start_ms > 3000'
    release r
    wait_for shows '.transfers == []'
    [ "$(($(logged took_us large-im) - $(logged backend_us large-im)))" -gt 2000000 ]
    # A file: its calls.
    put '/images/file?flush=y' "$D/new"
    assert_status 200
    wait_for has_line "$D/program.log" '^info: method=PUT ticket=file '
    [ "$(logged backend_us file)" -gt 0 ]
    [ "$(logged backend_us file)" -le "$(logged took_us file)" ]
}
