# faults.bash - the rows of the fault matrix: each request that an image has,
# made by a client of rude_client.py that can be held in the middle, and what
# must hold after whatever ended it. The columns are the tests of faults_*.bats.
#
# Below $D, beside what common.bash has:
#   ROW.img        the image of an NBD row, or files/ROW that of a file
#   old, new       what images hold before, and what bodies bring
#   want/ROW       the image after that request
#   answer/ROW     the body of its answer
#   rude.NAME.*    client NAME: its output (log), body, pid

# A row is the ticket of its image, too: they do not meet.
ROWS='nbd-get nbd-range nbd-put nbd-part nbd-patch nbd-zero nbd-flush
    nbd-extents file-get file-range file-put file-flush'

SIZE=$((8 * MIB))        # of an image that is written
LARGE_SIZE=$((64 * MIB)) # of one that is read: larger than all buffers
# A part of odd size at an odd place.
OFFSET=1000003
LENGTH=5000001
PART=$OFFSET-$((OFFSET + LENGTH - 1))
LARGE_PART=$OFFSET-$((OFFSET + 60 * MIB))

is_upload() { # ROW: has a body that takes its time
    [[ $1 == *-put || $1 == nbd-part || $1 == nbd-patch ]]
}

is_download() { # ROW: has an answer that takes its time
    [[ $1 == *-get || $1 == *-range || $1 == *-extents ]]
}

is_gated() { # ROW: the NBD server takes its time
    [[ $1 == nbd-zero || $1 == nbd-flush ]]
}

# --- images and requests ----------------------------------------------------

make_rows() {
    make_disk "$D/data" $LARGE_SIZE
    make_disk "$D/old" $SIZE
    make_disk "$D/new" $SIZE
    bytes "$D/new" $OFFSET $LENGTH >"$D/part"
    printf '{"op":"zero","offset":%d,"size":%d}' $OFFSET $LENGTH >"$D/zero"
    mkdir "$D/want" "$D/answer" "$D/files"
    for row in nbd-put file-put; do
        cp "$D/new" "$D/want/$row"
        printf '{"ok":true,"bytes_written":%d,"flushed":false}' $SIZE \
            >"$D/answer/$row"
    done
    want_part nbd-part <"$D/part"
    want_part nbd-patch <"$D/part"
    want_part nbd-zero </dev/zero
    printf '{"ok":true,"bytes_written":%d,"flushed":false}' $LENGTH \
        >"$D/answer/nbd-part"
    printf '{"ok":true,"bytes_written":%d}' $LENGTH >"$D/answer/nbd-patch"
    for row in nbd-zero nbd-flush file-flush; do
        printf '{"ok":true}' >"$D/answer/$row"
    done
    for row in nbd-flush file-flush; do
        cp "$D/old" "$D/want/$row"
    done
    for row in nbd-get file-get; do
        ln "$D/data" "$D/answer/$row"
    done
    bytes "$D/data" $OFFSET $((60 * MIB + 1)) >"$D/answer/nbd-range"
    ln "$D/answer/nbd-range" "$D/answer/file-range"
    make_holes
}

HOLES=32768 # a list of 3 MB

make_holes() {
    python3 -c 'import os, sys
with open(sys.argv[1], "wb") as file:
    for i in range(int(sys.argv[2])):
        file.seek(8192 * i)
        file.write(b"*" * 4096)
    file.truncate(8192 * int(sys.argv[2]))' "$D/holes.img" $HOLES
    awk -v end=$((2 * HOLES)) 'BEGIN { printf "["
        for (i = 0; i < end; i++)
            printf "%s{\"start\":%d,\"length\":4096,\"zero\":%s}",
                   i ? "," : "", i * 4096, i % 2 ? "true" : "false"
        printf "]" }' >"$D/answer/nbd-extents"
}

want_part() { # ROW <BYTES
    {
        head -c $OFFSET "$D/old"
        head -c $LENGTH
        tail -c "+$((OFFSET + LENGTH + 1))" "$D/old"
    } >"$D/want/$1"
}

# start_rows: a server for each NBD image that is written, one for those that
# are read, one with a long list, and the files. nbdkit 1.32 aborts when clients
# leave while several of its threads answer, or one that sends a list.
start_rows() {
    local row

    for row in $ROWS; do
        case $row in
        nbd-get) start_nbdkit $row --threads=1 file "$D/data" ;;
        nbd-range) ;;
        nbd-extents)
            start_qemu_nbd $row -f raw "$D/holes.img"
            ;;
        nbd-flush)
            # The pause filter lets flushes through.
            cp "$D/old" "$D/$row.img"
            start_nbdkit $row --threads=1 eval logappend=true \
                get_size="stat -c %s $D/$row.img" can_write='exit 0' \
                pread="tail -c +\$((\$4 + 1)) $D/$row.img | head -c \$3" \
                pwrite="dd of=$D/$row.img conv=notrunc bs=64K \
                    oflag=seek_bytes seek=\$4 2>/dev/null" \
                can_flush='exit 0' \
                flush="while [ -e $D/$row.shut ]; do sleep 0.05; done"
            ;;
        nbd-*)
            cp "$D/old" "$D/$row.img"
            start_nbdkit $row --threads=1 --filter=pause file "$D/$row.img" \
                pause-control="$D/$row.ctl" logappend=true
            ;;
        file-get | file-range) file_ticket $row "$D/data" ;;
        *)
            cp "$D/old" "$D/files/$row"
            file_ticket $row "$D/files/$row"
            ;;
        esac
    done
    for row in nbd-get nbd-put nbd-part nbd-patch nbd-zero nbd-flush \
        nbd-extents; do
        nbd_ticket $row $row
    done
    nbd_ticket nbd-range nbd-get
}

image_of() { # ROW: its file, if the row may change it
    case $1 in
    file-put | file-flush) echo "$D/files/$1" ;;
    nbd-put | nbd-part | nbd-patch | nbd-zero | nbd-flush) echo "$D/$1.img" ;;
    esac
}

# request_of ROW: sets $request for rude_client.py, and $upload, the bytes of
# its body.
request_of() {
    local path=/images/$1

    upload=0
    case $1 in
    *-get) request=(GET "$path") ;;
    *-range) request=(GET "$path" --header "Range: bytes=$LARGE_PART") ;;
    *-put)
        request=(PUT "$path" --body "$D/new")
        upload=$SIZE
        ;;
    nbd-part)
        request=(PUT "$path" --body "$D/part"
            --header "Content-Range: bytes $PART/*")
        upload=$LENGTH
        ;;
    nbd-patch)
        request=(PATCH "$path" --body "$D/part" --header "Range: bytes=$PART"
            --header 'Content-Type: application/octet-stream')
        upload=$LENGTH
        ;;
    nbd-zero)
        request=(PATCH "$path" --body "$D/zero"
            --header 'Content-Type: application/json')
        upload=$(stat -c %s "$D/zero")
        ;;
    *-flush) request=(POST "$path/flush" --body /dev/null) ;;
    nbd-extents) request=(GET "$path/extents") ;;
    esac
}

# --- clients ----------------------------------------------------------------

# rude NAME ROW [OPTION...]: the row's request, in the background.
rude() {
    local at=$D/rude.$1 request upload

    request_of "$2"
    shift 2
    rm -f "$at".*
    (
        close_others
        exec python3 "$TOP/tests/e2e/rude_client.py" "$SOCK" "${request[@]}" \
            --save "$at.body" --go "$at.go" "$@"
    ) </dev/null >"$at.log" 2>&1 &
    echo $! >"$at.pid"
    echo $! >>"$D/requests"
}

# rude_wait NAME: sets $rude_result, "whole 200" and its like.
rude_wait() {
    wait "$(cat "$D/rude.$1.pid")" || return 1
    rude_result=$(tail -n 1 "$D/rude.$1.log")
}

rude_go() { # NAME
    : >"$D/rude.$1.go"
}

has_stopped() { # NAME
    has_line "$D/rude.$1.log" '^stopped$'
}

# hold ROW [OPTION...]: its request in the middle, by a client of that name.
hold() {
    begin_hold "$@"
    wait_for is_in_the_middle "$1"
}

begin_hold() {
    local row=$1 stop request upload

    shift
    renew "$row"
    request_of "$row"
    stop=(--stop-sent "$upload")
    if is_upload "$row"; then
        stop=(--stop-sent $((upload / 2)))
    elif [ "$row" = nbd-extents ]; then
        stop=(--stop-read 100000)
    elif is_download "$row"; then
        stop=(--stop-read $((4 * MIB)))
    else
        gate "$row" p
    fi
    rude "$row" "$row" "${stop[@]}" "$@"
}

is_in_the_middle() { # ROW
    has_stopped "$1" || return 1
    case $1 in
    nbd-put | nbd-part | nbd-patch) has_commands "$1" Write ;;
    nbd-zero) has_commands "$1" Zero ;;
    nbd-flush) has_commands "$1" Flush ;;
    file-put) is_replacing "$D/files" ;;
    esac
}

is_replacing() { # FOLDER: some process has a file without a name open there
    local pid

    for pid in $PIDS; do
        if find "/proc/$pid/fd" -lname "$1/*" -printf '%l\n' 2>/dev/null |
            grep -q .; then
            return 0
        fi
    done
    return 1
}

# gate ROW p|r: its server answers nothing (p, pause), or again (r, resume).
gate() {
    case $1-$2 in
    nbd-flush-p) : >"$D/$1.shut" ;;
    nbd-flush-r) rm -f "$D/$1.shut" ;;
    *) printf %s "$2" | socat -t 10 - "UNIX-CONNECT:$D/$1.ctl" |
        grep -qi "$2" ;;
    esac
}

# renew ROW: forgets what its server was asked, and makes the program forget its
# connection, so that the next request is not preceded by a read that tries it.
renew() {
    case $1 in
    nbd-put | nbd-part | nbd-patch | nbd-zero | nbd-flush)
        : >"$D/$1.nbdlog"
        nbd_ticket "$1" "$1"
        ;;
    esac
}

# --- what must hold ---------------------------------------------------------

lock_count() { # [TYPE]: byte ranges of the run directory that requests have
    grep -cE "${1:-} .*:$(stat -c %i "$D/run/locks") " /proc/locks || true
}

is_free() { # no request runs: no slot, no image is taken
    [ "$(lock_count)" = 0 ]
}

has_readers() { # COUNT
    [ "$(lock_count WRITE)" = "$1" ]
}

has_writer() {
    [ "$(lock_count WRITE)" != 0 ]
}

assert_free() { # within moments
    if ! wait_for -t 5 is_free; then
        tail -n 3 "$D/program.log" >&2
        return 1
    fi
}

# assert_image ROW old|want|either|between: its image is as it was, as it was to
# become, one of both, or each byte is that of one of both.
assert_image() {
    local image

    image=$(image_of "$1")
    [ -n "$image" ] || return 0
    case $1-$2 in
    file-*-between | *-either)
        cmp -s "$D/old" "$image" || cmp "$D/want/$1" "$image"
        ;;
    *-between) python3 "$TOP/tests/e2e/between.py" "$D/old" "$D/want/$1" \
        "$image" ;;
    *-old) cmp "$D/old" "$image" ;;
    *) cmp "$D/want/$1" "$image" ;;
    esac
}

# No half of a new file, of whatever name.
assert_no_parts() {
    [ "$(ls -A "$D/files")" = $'file-flush\nfile-put' ]
}

# assert_serves ROW: the next request for its image, a writer where there can be
# one, is served. The image is old then.
assert_serves() {
    case $1 in
    nbd-get | nbd-range | file-get | file-range)
        http GET "/images/$1" -H 'Range: bytes=5-1004'
        assert_status 206
        assert_body <(bytes "$D/data" 5 1000)
        ;;
    nbd-extents)
        http PUT "/images/$1" -H 'Content-Range: bytes 0-9/*' \
            --data-binary 0123456789
        assert_status 200
        ;;
    *)
        put "/images/$1" "$D/old"
        assert_status 200
        assert_image "$1" old
        ;;
    esac
}

assert_whole() { # NAME [ROW]: the client got all of the right answer
    local status=200

    case ${2:-$1} in
    *-range) status=206 ;;
    esac
    if [ "$rude_result" != "whole $status" ]; then
        echo "expected whole $status: $rude_result" >&2
        return 1
    fi
    cmp "$D/answer/${2:-$1}" "$D/rude.$1.body"
}

assert_rude_cut() { # NAME: the client knows that it did not get all
    case $rude_result in
    'cut '* | none | 'whole 5'*) ;;
    *)
        echo "expected no whole answer: $rude_result" >&2
        return 1
        ;;
    esac
}

# --- what must not grow -----------------------------------------------------

thread_count() {
    find "/proc/$PID/task" -mindepth 1 -maxdepth 1 | wc -l
}

rss_kib() {
    sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$PID/status"
}

# Readers as many as there may be at once, and as each leaves a writer, which
# gets its buffer and uses more of it; then what the program has is what it may
# have.
warm_up() {
    local i row

    for i in 1 2 3 4 5 6 7 8; do
        rude warm$i nbd-get --stop-read $((4 * MIB)) --leave --save /dev/null
    done
    for i in 1 2 3 4 5 6 7 8; do
        wait_for has_stopped warm$i
    done
    for i in 1 2 3 4 5 6 7 8; do
        rude_go warm$i
        rude_wait warm$i
        wait_for has_readers $((8 - i))
        put /images/nbd-put "$D/old"
        assert_status 200
    done
    assert_free
    for row in $ROWS; do
        rude $row $row
        rude_wait $row
        assert_whole $row
        assert_free
        assert_serves $row
    done
    thread_count >"$D/warm.threads"
    rss_kib >"$D/warm.rss"
}

SLACK_KIB=4096

# For a teardown, which has no errexit.
assert_not_grown() {
    wait_for has_fds "$(idle_fds)" || return 1
    [ "$(thread_count)" = "$(cat "$D/warm.threads")" ] || return 1
    echo "KiB: $(cat "$D/warm.rss") grew to $(rss_kib)"
    is_sanitized ||
        [ "$(rss_kib)" -le $(($(cat "$D/warm.rss") + SLACK_KIB)) ]
}
