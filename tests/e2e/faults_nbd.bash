# faults_nbd.bash - the matrix of NBD servers that fail: what every request is
# answered by every fault, and what must be true afterwards. docs/maintaining.md
# ("Tests") says how to add a row or a column.
#
# A cell is a request (row) to an image whose server fails (column). In all of
# them: the status, or a cut; the log, which names the object and the cause; no
# word of that to the client; the image, of which each block is old or new, and
# old outside of what was to be written; the slots, the lock, the descriptors
# and the threads, which are free at once.

# More commands than are in flight at once (four), of 512 KiB for reads and of
# nearly 1 MiB for writes.
SIZE=$((6 * MIB))
MIDDLE=$((SIZE / 2))
LAST=$((SIZE - 1))
# The part that is written: half a block at both ends.
FROM=5000
TO=$((SIZE - 5000))

# nbdkit 1.32 aborts (raw_send_socket: sock >= 0) when a client leaves while
# several of its threads answer it: where clients leave, it has one.
ONE_THREAD=--threads=1

# The NBD command that is hit, and the byte by which it is known, where the fault
# comes first, in the middle and last. "-": such a request has no such command.
# -g: bats loads in a function.
declare -gA ROWS=(
    [get]="pread:0 pread:$MIDDLE pread:$LAST"
    [holes]="extents:0 - -"
    [put]="pwrite:0 pwrite:$MIDDLE pwrite:$LAST"
    [flushed]="- - flush:0"
    [part]="pwrite:$FROM pwrite:$MIDDLE pwrite:$((TO - 1))"
    [edges]="pread:$FROM - pread:$((TO - 1))"
    [patch]="pwrite:$FROM pwrite:$MIDDLE pwrite:$((TO - 1))"
    [zero]="pwrite:$FROM zero:$MIDDLE pwrite:$((TO - 1))"
    [zeroes]="pwrite:$FROM pwrite:$MIDDLE pwrite:$((TO - 1))"
    [flush]="flush:0 - -"
    [post]="flush:0 - -"
    [extents]="extents:0 extents:$MIDDLE extents:$LAST"
    [dirty]="extents:0 extents:$MIDDLE extents:$LAST"
    [map]="extents:0 - -"
    [head]="- - -"
)
# In their order. HEAD sends no command, and fails with the connection only.
COMMAND_ROWS=(get holes put flushed part edges patch zero zeroes flush post
    extents dirty map)
CONNECT_ROWS=(get put part patch zero flush post extents dirty head map)

# begin ROW IMAGE [CURL_OPTION...]: that request, in the background.
begin() {
    local row=$1 image=$2 at=/images/$2

    shift 2
    set -- --max-time 60 "$@" # far beyond any --backend-timeout
    case $row in
    get | holes) http_start "$image" GET "$at" "$@" ;;
    head) http_start "$image" HEAD "$at" "$@" ;;
    put) http_start "$image" PUT "$at" -T "$D/new" "$@" ;;
    flushed) http_start "$image" PUT "$at?flush=y" -T "$D/new" "$@" ;;
    part | edges)
        http_start "$image" PUT "$at" -T "$D/new.part" \
            -H "Content-Range: bytes $FROM-$((TO - 1))/*" "$@"
        ;;
    patch)
        http_start "$image" PATCH "$at" -T "$D/new.part" \
            -H 'Content-Type: application/octet-stream' \
            -H "Range: bytes=$FROM-$((TO - 1))" "$@"
        ;;
    zero | zeroes)
        http_start "$image" PATCH "$at" -H 'Content-Type: application/json' \
            --data-binary \
            "{\"op\":\"zero\",\"offset\":$FROM,\"size\":$((TO - FROM))}" "$@"
        ;;
    flush)
        http_start "$image" PATCH "$at" -H 'Content-Type: application/json' \
            --data-binary '{"op":"flush"}' "$@"
        ;;
    post) http_start "$image" POST "$at/flush" -d '' "$@" ;;
    extents) http_start "$image" GET "$at/extents" "$@" ;;
    dirty) http_start "$image" GET "$at/extents?context=dirty" "$@" ;;
    map) http_start "$image" HEAD "$at/extents" "$@" ;;
    *)
        echo "no such row: $row" >&2
        return 1
        ;;
    esac
}

# Of what a cell does much is done here without a process, for speed.
declare -gA METHODS=([get]=GET [holes]=GET [extents]=GET [dirty]=GET
    [head]=HEAD [map]=HEAD [put]=PUT [flushed]=PUT [part]=PUT [edges]=PUT
    [patch]=PATCH [zero]=PATCH [zeroes]=PATCH [flush]=PATCH [post]=POST)
# What the image is when the request succeeded: a file below $D; else old.
declare -gA RESULTS=([put]=new [flushed]=new [part]=with.part
    [edges]=with.part [patch]=with.part [zero]=with.zeroes
    [zeroes]=with.zeroes)

# --- the service and its images --------------------------------------------

# One writer, as by default: a slot or a lock that is left behind shows in the
# next request.
start_faults_service() { # [OPTION...]
    start_service --max-readers 4 --max-writers 1 --nbd-idle 600 "$@"
    make_disk "$D/old" $SIZE
    make_disk "$D/new" $SIZE
    bytes "$D/new" $FROM $((TO - FROM)) >"$D/new.part"
    cp "$D/old" "$D/with.part"
    dd if="$D/new.part" of="$D/with.part" bs=1M oflag=seek_bytes \
        seek=$FROM conv=notrunc status=none
    cp "$D/old" "$D/with.zeroes"
    head -c $((TO - FROM)) /dev/zero | dd of="$D/with.zeroes" bs=1M \
        oflag=seek_bytes seek=$FROM conv=notrunc status=none
    read_threads
    echo "$threads" >"$D/threads"
}

read_threads() { # sets $threads
    local key

    while read -r key threads; do
        [ "$key" != Threads: ] || break
    done <"/proc/$PID/status"
}

memory_kib() {
    sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$PID/status"
}

# serve IMAGE: its server, anew.
serve() {
    start_nbdkit "$1" $ONE_THREAD sh "$D/$1.sh"
}

# start_image IMAGE [ZEROES]: its server, well, and its ticket.
start_image() {
    cp "$D/old" "$D/$1.raw"
    {
        echo '#!/bin/sh'
        echo "IMAGE=$D/$1.raw PLAN=$D/$1.plan ZEROES=${2:-yes}"
        cat "$TOP/tests/e2e/nbd_faulty.sh"
    } >"$D/$1.sh"
    chmod 755 "$D/$1.sh"
    serve "$1"
    nbd_ticket "$1" "$1"
}

# The image by which slots are tried.
start_good() {
    truncate -s 1M "$D/good.img"
    start_nbdkit good file "$D/good.img"
    nbd_ticket good good
}

# Good, and these; each with a connection that is kept. (Of a ticket that is new
# to the program nothing is.)
start_images() { # IMAGE...
    local image count=0

    start_good
    for image; do
        if [ "$image" = plain ] || [ "$image" = zeroes ]; then
            start_image "$image" no
        else
            start_image "$image"
        fi
    done
    wait_for is_answering
    for image in good "$@"; do
        count=$((count + 1))
        wait_for is_kept "$image" $(($(idle_fds) + count))
    done
    FDS=$(($(idle_fds) + count)) # of the program that only keeps them
}

is_kept() { # IMAGE COUNT: its connection; then there are as many descriptors
    http HEAD "/images/$1"
    assert_status 200
    wait_for -t 1 holds "$2"
}

# Sets $held: fd_count, for a single process, and quicker.
fds_held() {
    local all=("/proc/$PID/fd"/*) kept

    mapfile -t kept < <(ss -xH state connected src "$D/fcgi.sock")
    held=$((${#all[@]} - ${#kept[@]}))
}

holds() { # COUNT
    fds_held
    [ "$held" = "$1" ]
}

# plan IMAGE COMMAND:OFFSET FAULT
plan() {
    echo "${2%:*} ${2#*:} $3" >"$D/$1.plan.new"
    mv "$D/$1.plan.new" "$D/$1.plan"
}

stop_images() {
    local failed=0

    rm -f "$D"/*.plan
    stop_backends || failed=1
    # Whatever happened: all that it took is given back.
    wait_for has_fds "$(idle_fds)" || failed=1
    return $failed
}

# --- requests by hand -------------------------------------------------------

# start_mute NAME: takes connections, and never says a word.
start_mute() {
    rm -f "$D/$1.sock"
    echo "$1" >>"$D/backends"
    supervise "$1" socat -u "UNIX-LISTEN:$D/$1.sock,fork" OPEN:/dev/null
    wait_for test -S "$D/$1.sock"
}

# start_link NAME SERVER OPTION...: a way to NBD server SERVER (nbd_link.py).
start_link() {
    local name=$1 server=$2

    shift 2
    rm -f "$D/$name.sock"
    echo "$name" >>"$D/backends"
    supervise "$name" python3 "$TOP/tests/e2e/nbd_link.py" \
        "$D/$name.sock" "$D/$server.sock" "$@"
    wait_for test -S "$D/$name.sock"
}

zero_json() { # OFFSET SIZE [FLUSH]
    echo "{\"op\":\"zero\",\"offset\":$1,\"size\":$2,\"flush\":${3:-false}}"
}

# assert_took_under SECONDS COMMAND...
assert_took_under() {
    local limit=$1 start=$SECONDS

    shift
    "$@"
    if ((SECONDS - start > limit)); then
        echo "took $((SECONDS - start)) s, over $limit s: $*" >&2
        return 1
    fi
}

# Whether there is a slot, and no lock.
can_read() { # PATH
    http GET "$1" -H 'Range: bytes=0-9'
    assert_status 206
}

can_write() { # PATH
    http PUT "$1" -H 'Content-Range: bytes 0-9/*' --data-binary 0123456789
    assert_status 200
}

# --- cells ------------------------------------------------------------------

# cell TEXT...: what is tried now, for teardown to say if it fails.
cell() {
    echo "$*" >"$D/cell"
}

tell_cell() {
    if [ -z "${BATS_TEST_COMPLETED:-}" ] && [ -e "$D/cell" ]; then
        echo "failed in the cell: $(cat "$D/cell")" >&2
    fi
    rm -f "$D/cell"
}

mark() { # the log: of what follows
    mapfile -t log <"$D/program.log"
    marked=${#log[@]}
}

# Sets $logged: the line about IMAGE's request, since the mark.
has_logged() { # IMAGE
    local line log count=0

    mapfile -t -s "$marked" log <"$D/program.log"
    for line in "${log[@]}"; do
        if [[ $line = *" ticket=$1 status="* ]]; then
            logged=$line
            count=$((count + 1))
        fi
    done
    [ "$count" = 1 ]
}

GONE='not connected|disconnected|closed the connection|reset|refused|roken pipe'

# expect FAULT: $want_status, $want_text for the client, $want_cause in the log.
expect() {
    want_status=500
    want_text='backend error'
    case $1 in
    EIO) want_cause='Input/output error' ;;
    EPERM) want_cause='Operation not permitted' ;;
    ESHUTDOWN) want_cause='Cannot send after transport endpoint shutdown' ;;
    ENOSPC)
        want_status=507
        want_text='no space left'
        want_cause='No space left on device'
        ;;
    missing) want_cause='No such file or directory' ;;
    refuse) want_cause='Connection refused' ;;
    die) want_cause=$GONE ;;
    gone) want_cause="No such file or directory|$GONE" ;;
    stall)
        want_status=504
        want_text='backend timed out'
        want_cause="no (progress|connection) for $TIMEOUT s"
        ;;
    *)
        echo "no such fault: $1" >&2
        return 1
        ;;
    esac
}

# assert_failed ROW IMAGE PLACE FAULT [SERVER]: the answer to the request, and the
# log.
assert_failed() {
    local row=$1 image=$2 place=$3 server=${5:-$2} heads size

    expect "$4"
    case $row.$place in
    get.middle | get.last)
        # The head was out: what came is the image's, and does not look whole.
        assert_cut
        [ "$http_status" = 200 ]
        size=$(stat -c %s "$http_body")
        [ "$size" -gt 0 ]
        [ "$size" -lt $SIZE ]
        cmp -n "$size" "$D/old" "$http_body"
        want_status=200
        ;;
    head.* | map.*)
        assert_status $want_status
        ;;
    extents.middle | extents.last | dirty.middle | dirty.last)
        # A list that takes its time has begun.
        if [ "$http_status" = 200 ]; then
            assert_cut
            [ "$(tail -c 1 "$http_body")" != ']' ]
            want_status=200
        else
            assert_answer $want_status "{\"error\":\"$want_text\"}"
        fi
        ;;
    *)
        assert_answer $want_status "{\"error\":\"$want_text\"}"
        ;;
    esac
    # Neither the server's path nor the cause.
    mapfile -t heads <"$http_headers"
    if [[ ${heads[*]} =~ \.sock|$want_cause ]]; then
        fail_with_answer "the client is told too much"
    fi
    wait_for has_logged "$image"
    has_logged "$image"
    if ! [[ $logged =~ ^error:\ method=${METHODS[$row]}\ ticket=$image\ status=$want_status\ .*\ error=\".*nbd\ $D/$server\.sock.*($want_cause) ]]; then
        fail_with_answer "the log should tell ($want_cause): $logged"
    fi
}

# assert_answer STATUS BODY: what assert_json says, but for most of the head.
assert_answer() {
    local text=

    assert_status "$1"
    read -r -d '' text <"$http_body" || true
    if [ "$text" != "$2" ]; then
        fail_with_answer "expected body $2"
    fi
}

# As after the request was answered well, and no byte from elsewhere.
assert_succeeded() { # ROW IMAGE
    case $1 in
    get | holes)
        assert_status 200
        assert_body "$D/old"
        ;;
    extents) assert_answer 200 "[{\"start\":0,\"length\":$SIZE,\"zero\":false}]" ;;
    dirty)
        assert_answer 200 "[{\"start\":0,\"length\":$SIZE,\"dirty\":true,\"zero\":false}]"
        ;;
    put) assert_answer 200 "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":false}" ;;
    flushed) assert_answer 200 "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":true}" ;;
    part | edges)
        assert_answer 200 "{\"ok\":true,\"bytes_written\":$((TO - FROM)),\"flushed\":false}"
        ;;
    patch) assert_answer 200 "{\"ok\":true,\"bytes_written\":$((TO - FROM))}" ;;
    zero | zeroes | flush | post) assert_answer 200 '{"ok":true}' ;;
    *) assert_status 200 ;;
    esac
    cmp "$D/${RESULTS[$1]:-old}" "$D/$2.raw"
}

# Each block of the image is old or new; what was not to be written is both.
assert_old_or_new() { # ROW IMAGE
    local result=$D/${RESULTS[$1]:-old}

    if ! cmp -s "$D/old" "$D/$2.raw" && ! cmp -s "$result" "$D/$2.raw"; then
        python3 "$TOP/tests/e2e/old_or_new.py" 4096 "$D/old" "$result" \
            "$D/$2.raw"
    fi
}

# assert_free ROW COUNT: the very next request of that kind is let in, and there
# are so many descriptors.
assert_free() {
    case $1 in
    get | holes) can_read /images/good ;;
    *) can_write /images/good ;;
    esac
    wait_for -t 2 holds "$2"
    read_threads
    [ "$threads" = "$(<"$D/threads")" ]
}

# try_cell ROW PLACE FAULT: all of it, with the images of start_images bad plain.
try_cell() {
    local row=$1 place=$2 fault=$3 image=bad at first middle last

    read -r first middle last <<<"${ROWS[$row]}"
    at=${!place}
    if [ "$at" = - ]; then
        return
    fi
    if [ "$row" = zeroes ]; then
        image=plain # which has no WRITE_ZEROES
    fi
    cell "$row, $place: $fault"
    if [ -n "${FRESH:-}" ]; then
        nbd_ticket "$image" "$image"
        wait_for -t 2 holds $((FDS - 1))
    fi
    mark
    plan "$image" "$at" "$fault"
    begin "$row" "$image"
    http_wait "$image"
    if [ "$row" = holes ] && [[ $fault = E* ]]; then
        # Without the map all is read.
        assert_succeeded "$row" "$image"
    else
        assert_failed "$row" "$image" "$place" "$fault"
    fi
    assert_old_or_new "$row" "$image"
    assert_free "$row" $((FDS - 1)) # its connection is not kept
    # Well again, it serves the same request, or what has the same lock.
    rm "$D/$image.plan"
    if [ "$fault" = die ]; then
        wait_for test -e "$D/$image.status"
        serve "$image"
    fi
    case $fault in
    EIO | die)
        begin "$row" "$image"
        http_wait "$image"
        assert_succeeded "$row" "$image"
        ;;
    *)
        post "/images/$image/flush"
        assert_answer 200 '{"ok":true}'
        ;;
    esac
    if [ -n "${FRESH:-}" ]; then
        wait_for is_kept "$image" "$FDS"
    else
        wait_for -t 2 holds "$FDS"
    fi
    cp "$D/old" "$D/$image.raw"
}

# try_connecting FAULT: image bad, whose server cannot be had; then one is there.
try_connecting() {
    local fault=$1 row

    set +T
    for row in "${CONNECT_ROWS[@]}"; do
        cell "$row: $fault"
        mark
        begin "$row" bad
        http_wait bad
        assert_failed "$row" bad first "$fault"
        assert_free "$row" "$FDS"
    done
    http OPTIONS /images/bad
    assert_status 200
    if [ -e "$D/bad.pid" ]; then
        stop bad
    fi
    start_image bad
    for row in "${CONNECT_ROWS[@]}"; do
        cell "$row, after: $fault"
        begin "$row" bad
        http_wait bad
        assert_succeeded "$row" bad
        cp "$D/old" "$D/bad.raw"
    done
}

# try_rows FAULT PLACE...: that many columns.
try_rows() {
    local fault=$1 row place

    # No trace of every command by bats: it takes half of the time. What fails
    # is told by the cell and by what the assertions print.
    set +T

    shift
    start_images bad plain
    for place; do
        for row in "${COMMAND_ROWS[@]}"; do
            try_cell "$row" "$place" "$fault"
        done
    done
}

# --- memory -----------------------------------------------------------------

# Of what follows the warm-up nothing may stay.
GROWTH_MAX_KIB=4096

# warm_up FAULT: what is noted then has gone that way once.
warm_up() {
    local row

    start_images bad plain
    for row in get put zero extents; do
        try_cell "$row" middle "$1"
    done
    stop_images
    note_memory
}

note_memory() {
    memory_kib >"$D/memory"
}

assert_memory() {
    local before now

    before=$(cat "$D/memory")
    now=$(memory_kib)
    echo "memory: $before KiB, then $now KiB"
    is_sanitized || ((now - before < GROWTH_MAX_KIB))
}
