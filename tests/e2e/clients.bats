#!/usr/bin/env bats
# Tools that nobody wrote for this server, and that use it as it is: qemu,
# nbdkit, curl, wget, aria2. Their copies are compared with the source, also
# where a download was interrupted, and where the image was replaced meanwhile:
# then the copy is the new image, or there is none, but never some of both.
#
# Most of them know TCP only: here the web server listens there as well.

load common

PIECE=$((9 * MIB + 513))
# Of the images whose downloads are interrupted; 1 GiB takes twice as long.
RESUME_BYTES=${RESUME_BYTES:-$((256 * MIB))}
MARK=$((64 * MIB)) # what a download has when it is interrupted
RATE=100M          # bytes a second of a download that will be

# nbdkit 1.32 aborts (raw_send_socket: sock >= 0) when a client leaves while
# several of its threads answer it.
ONE_THREAD=--threads=1

setup_file() {
    export no_proxy=127.0.0.1,localhost
    make_dir
    reserve_port
    listen_on_port
    start_programs 1
    start_web
    wait_for is_answering_on_port
    # What is copied whole; what is replaced, and by what.
    make_image "$D/disk" $GIB 0 0xa5
    make_image "$D/old-disk" $RESUME_BYTES 0 0xa5
    make_image "$D/new-disk" $RESUME_BYTES $((20 * MIB + 4096)) 0x3c
}

teardown_file() {
    local failed=0

    stop port || failed=1
    stop_service || failed=1
    return $failed
}

teardown() {
    stop_backends
    rm -f "$D"/copy*
}

# --- a port ----------------------------------------------------------------

# reserve_port: one that the kernel gives to nobody else, and on which a web
# server can listen, in $PORT.
reserve_port() {
    supervise port python3 "$TOP/tests/e2e/clients_port.py" "$D/port"
    wait_for test -s "$D/port"
    PORT=$(cat "$D/port")
    URL=http://127.0.0.1:$PORT/images
    export PORT URL
}

# listen_on_port: WEB_SED, for a second listener beside the Unix socket.
listen_on_port() {
    case $WEB in
    nginx)
        WEB_SED="s|listen unix:.*|&\n        listen 127.0.0.1:$PORT;|"
        ;;
    lighttpd)
        WEB_SED="/^server.bind/a \$SERVER[\"socket\"] == \"127.0.0.1:$PORT\" { }"
        ;;
    esac
}

is_answering_on_port() {
    curl -q -sS --max-time 5 "$URL/no-such-ticket" |
        grep -q '^{"error":"unknown image_id"}$'
}

# --- images ----------------------------------------------------------------

# make_image FILE SIZE SHIFT PATTERN: holes, with five pieces of random data at
# odd places, the last one at the very end where SHIFT is 0, and two areas of
# PATTERN.
make_image() {
    local file=$1 size=$2 shift=$3 pattern=$4 offset

    make_disk "$D/piece" $PIECE
    truncate -s "$size" "$file"
    for offset in 12345 $((size / 20 + 512)) $((size / 3 + 7)) \
        $((size * 3 / 5 + 4097)) $((size - PIECE - 2 * shift)); do
        dd if="$D/piece" of="$file" bs=1M oflag=seek_bytes status=none \
            seek=$((offset + shift)) conv=notrunc
    done
    qemu-io -f raw -c "write -P $pattern $((size / 2 + 512)) 5k" \
        -c "write -P $pattern $((size * 3 / 4 - 3)) 70000" "$file" \
        >"$D/qemu-io.log"
    run ! grep -i fail "$D/qemu-io.log"
    chmod 644 "$file"
}

# serve FILE: as nbd, by nbdkit, and as file, from a copy of it.
serve() {
    start_nbdkit old -r $ONE_THREAD file "$1"
    nbd_ticket nbd old ',"read_only":true'
    cp --sparse=always "$1" "$D/file-disk"
    file_ticket file "$D/file-disk"
    : >"$D/program.log"
}

# serve_by_qemu FILE: as qemu.
serve_by_qemu() {
    start_qemu_nbd qemu -r -f raw "$1"
    nbd_ticket qemu qemu
}

# replace_nbd: what nbd names is another export.
replace_nbd() {
    start_nbdkit new -r $ONE_THREAD file "$D/new-disk"
    nbd_ticket nbd new ',"read_only":true'
}

# replace_file: what file names is another file.
replace_file() {
    cp --sparse=always "$D/new-disk" "$D/file-disk.new"
    mv "$D/file-disk.new" "$D/file-disk"
}

# etag IMAGE: its validator, a strong one.
etag() {
    wait_for has_etag "$1"
    header ETag
}

has_etag() { # IMAGE
    http HEAD "/images/$1"
    [[ $http_status = 200 && $(header ETag) = \"*\" ]]
}

# assert_copy FILE: $D/copy is the same.
assert_copy() {
    cmp "$1" "$D/copy"
}

# --- interrupted downloads -------------------------------------------------

# interrupt COMMAND...: ends it when there are some bytes in $D/copy, and keeps
# them in $D/copy.part.
interrupt() {
    echo client >>"$D/backends"
    supervise client "$@"
    wait_for holds "$D/copy" $MARK
    stop client
    [ "$(cat "$D/client.status")" != 0 ]
    cp --sparse=always "$D/copy" "$D/copy.part"
    : >"$D/program.log"
}

holds() { # FILE BYTES: so many are written, wherever
    [ $(($(stat -c '%b * %B' "$1"))) -ge "$2" ]
}

# assert_continued IMAGE: it was read from somewhere in the middle on.
assert_continued() {
    wait_for has_line "$D/program.log" \
        "^info: method=GET ticket=$1 status=206 resource=image range=[1-9]"
}

# assert_untouched: the interrupted copy has got nothing since.
assert_untouched() {
    cmp "$D/copy.part" "$D/copy"
}

# --- qemu ------------------------------------------------------------------

# qemu's curl driver (7.2) stops for ever, with any web server, when it has
# several reads at once: hence -m 1, and nbdcopy with one request.
convert() { # IMAGE
    qemu-img convert -m 1 -O qcow2 "$URL/$1" "$D/copy.qcow2"
    qemu-img compare -f raw -F qcow2 "$D/disk" "$D/copy.qcow2"
    qemu-img check -q "$D/copy.qcow2"
}

@test "GET by qemu-img convert: a qcow2 copy of what qemu-nbd serves equals it" {
    serve_by_qemu "$D/disk"
    convert qemu
}

@test "GET by qemu-img convert: a qcow2 copy of a file equals it" {
    serve "$D/disk"
    convert file
}

# read_by_qemu IMAGE: patterns, holes and random data, here and there.
read_by_qemu() {
    local first=$((GIB / 2 + 512)) second=$((GIB / 4 * 3 - 3)) skip

    qemu-io -r -f raw -c "read -P 0xa5 $first 5k" \
        -c "read -P 0 $((first - 512)) 512" \
        -c "read -P 0 $((GIB / 8 * 7 + 1)) 3M" \
        -c "read -P 0xa5 $second 70000" \
        -c "read -P 0 $((second + 70000)) 1" \
        -c "read -P 0 0 12345" \
        -c "read -P 0xa5 $((first + 5119)) 1" \
        "$URL/$1" >"$D/qemu-io.log" 2>&1
    cat "$D/qemu-io.log"
    [ "$(grep -c '^read [0-9]*/' "$D/qemu-io.log")" = 7 ]
    run ! grep -iE 'fail|error' "$D/qemu-io.log"
    # The beginnings of the five pieces, and the end of the image. What is
    # skipped counts in count.
    for skip in 0 11648 77670 139800 230950 232953; do
        qemu-img dd -f raw -O raw bs=4608 skip=$skip count=$((skip + 64)) \
            if="$URL/$1" of="$D/copy"
        cmp "$D/copy" <(bytes "$D/disk" $((skip * 4608)) $((64 * 4608)))
        # Some of it is not zero.
        [ "$(tr -d '\0' <"$D/copy" | wc -c)" -gt 0 ]
        rm "$D/copy"
    done
}

@test "GET by qemu-io: reads here and there in what qemu-nbd serves are right" {
    serve_by_qemu "$D/disk"
    read_by_qemu qemu
}

@test "GET by qemu-io: reads here and there in a file are right" {
    serve "$D/disk"
    read_by_qemu file
}

@test "GET by qemu-nbd: a copy of what it serves in turn equals the image" {
    serve "$D/disk"
    start_qemu_nbd relay -r -f raw "$URL/nbd"
    nbdcopy --connections=1 --requests=1 "$(nbd relay)" - | cmp - "$D/disk"
}

# --- nbdkit ----------------------------------------------------------------

# The plugin asks for one thing after the other: fewer and larger ones.
LARGE=--request-size=1048576

@test "GET by nbdkit's curl plugin: nbdcopy's copy of an NBD image equals it" {
    serve "$D/disk"
    nbdkit -U - -r curl url="$URL/nbd" --run "nbdcopy $LARGE \"\$uri\" $D/copy"
    assert_copy "$D/disk"
}

@test "GET by nbdkit's curl plugin on a Unix socket: nbdcopy's copy of a file equals it" {
    serve "$D/disk"
    nbdkit -U - -r curl url=http://localhost/images/file unix-socket-path="$SOCK" \
        --run "nbdcopy $LARGE \"\$uri\" $D/copy"
    assert_copy "$D/disk"
}

# assert_guarded IMAGE: with If-Match, nbdkit fails once it is replaced.
assert_guarded() {
    local offset=$((RESUME_BYTES / 2 + 512)) tag

    serve "$D/old-disk"
    tag=$(etag "$1")
    start_nbdkit relay -r curl url="$URL/$1" header="If-Match: $tag"
    {
        echo "read -P 0xa5 $offset 4k"
        wait_for has_line "$D/copy.log" 'read 4096/4096'
        "replace_$1"
        echo "read -P 0xa5 $offset 4k"
    } | qemu-io -r -f raw "$(nbd relay)" >"$D/copy.log" 2>&1 || [ $? = 1 ]
    cat "$D/copy.log"
    [ "$(grep -c 'read 4096/4096' "$D/copy.log")" = 1 ]
    has_line "$D/copy.log" 'read failed: Input/output error'
    run ! has_line "$D/copy.log" 'Pattern verification failed'
    run ! nbdcopy "$(nbd relay)" "$D/copy"
}

@test "GET by nbdkit's curl plugin with If-Match: reads fail when the NBD image is replaced" {
    assert_guarded nbd
}

@test "GET by nbdkit's curl plugin with If-Match: reads fail when the file is replaced" {
    assert_guarded file
}

# --- curl ------------------------------------------------------------------

interrupt_curl() { # IMAGE
    interrupt curl -q -fsS --limit-rate $RATE --etag-save "$D/copy.etag" \
        -o "$D/copy" "$URL/$1"
}

# continue_curl IMAGE: only what is missing, if the image is the same.
continue_curl() {
    curl -q -fsS -C - -H "If-Range: $(cat "$D/copy.etag")" \
        -w '%{http_code}\n' -o "$D/copy" "$URL/$1"
}

# curl_continues IMAGE
curl_continues() {
    serve "$D/old-disk"
    wait_for has_etag "$1"
    interrupt_curl "$1"
    run -0 continue_curl "$1"
    assert_output 206
    assert_copy "$D/old-disk"
}

@test "GET by curl: an interrupted download of an NBD image goes on where it was" {
    curl_continues nbd
}

@test "GET by curl: an interrupted download of a file goes on where it was" {
    curl_continues file
}

# assert_curl_refuses IMAGE: it does not append what is not a part of the same.
assert_curl_refuses() {
    run -33 continue_curl "$1"
    assert_line 200
    assert_untouched
    curl -q -fsS -o "$D/copy" "$URL/$1"
    assert_copy "$D/new-disk"
}

@test "GET by curl with If-Range: an NBD image that was replaced is sent from its start" {
    serve "$D/old-disk"
    wait_for has_etag nbd
    interrupt_curl nbd
    replace_nbd
    assert_curl_refuses nbd
}

@test "GET by curl with If-Range: a file that PUT has replaced is sent from its start" {
    serve "$D/old-disk"
    wait_for has_etag file
    interrupt_curl file
    put /images/file "$D/new-disk"
    assert_status 200
    assert_curl_refuses file
}

# --- wget ------------------------------------------------------------------

by_wget() { # IMAGE [OPTION...]
    local image=$1

    shift
    wget --no-config -nv "$@" -O "$D/copy" "$URL/$image"
}

interrupt_wget() { # IMAGE [OPTION...]
    local image=$1

    shift
    interrupt wget --no-config -nv --limit-rate=$RATE "$@" -O "$D/copy" \
        "$URL/$image"
}

# wget_continues IMAGE: with nothing but -c, and with If-Match.
wget_continues() {
    local tag

    serve "$D/old-disk"
    tag=$(etag "$1")
    interrupt_wget "$1"
    by_wget "$1" -c
    assert_continued "$1"
    assert_copy "$D/old-disk"
    cp --sparse=always "$D/copy.part" "$D/copy"
    by_wget "$1" -c --header "If-Match: $tag"
    assert_copy "$D/old-disk"
}

@test "GET by wget -c: an interrupted download of an NBD image goes on where it was" {
    wget_continues nbd
}

@test "GET by wget -c: an interrupted download of a file goes on where it was" {
    wget_continues file
}

# wget_starts_anew IMAGE: If-Match, as wget (1.21) makes a mixture of the whole
# image that an If-Range brings: it leaves out as many bytes as it has, and
# appends the rest.
wget_starts_anew() {
    local tag

    serve "$D/old-disk"
    tag=$(etag "$1")
    interrupt_wget "$1" --header "If-Match: $tag"
    "replace_$1"
    run -8 by_wget "$1" -c --header "If-Match: $tag"
    assert_output --partial 412
    assert_untouched
    by_wget "$1" --header "If-Match: $(etag "$1")"
    assert_copy "$D/new-disk"
}

@test "GET by wget -c with If-Match: nothing of an NBD image that was replaced is appended" {
    wget_starts_anew nbd
}

@test "GET by wget -c with If-Match: nothing of a file that was replaced is appended" {
    wget_starts_anew file
}

# --- aria2 -----------------------------------------------------------------

ARIA2=(aria2c --no-conf --console-log-level=warn --download-result=hide
    --show-console-readout=false --file-allocation=none -x4 -s4 -k1M)

by_aria2() { # IMAGE [OPTION...]
    local image=$1

    shift
    "${ARIA2[@]}" "$@" -d "$D" -o copy "$URL/$image"
}

interrupt_aria2() { # IMAGE [OPTION...]
    local image=$1

    shift
    interrupt "${ARIA2[@]}" --max-download-limit=$RATE "$@" -d "$D" -o copy \
        "$URL/$image"
    [ -s "$D/copy.aria2" ]
}

@test "GET by aria2c: an NBD image over four connections equals it" {
    serve "$D/disk"
    by_aria2 nbd
    assert_continued nbd
    assert_copy "$D/disk"
}

# aria2_continues IMAGE
aria2_continues() {
    local tag

    serve "$D/old-disk"
    tag=$(etag "$1")
    interrupt_aria2 "$1" --header "If-Match: $tag"
    by_aria2 "$1" --header "If-Match: $tag"
    [ ! -e "$D/copy.aria2" ]
    assert_continued "$1"
    assert_copy "$D/old-disk"
}

@test "GET by aria2c: an interrupted download of an NBD image goes on where it was" {
    aria2_continues nbd
}

@test "GET by aria2c: an interrupted download of a file goes on where it was" {
    aria2_continues file
}

# aria2_starts_anew IMAGE: If-Match, as aria2 (1.36) fails at what an If-Range
# brings, and does so by an abort where it is told to begin anew by itself.
aria2_starts_anew() {
    local tag

    serve "$D/old-disk"
    tag=$(etag "$1")
    interrupt_aria2 "$1" --header "If-Match: $tag"
    "replace_$1"
    run -22 by_aria2 "$1" --header "If-Match: $tag"
    assert_output --partial status=412
    assert_untouched
    by_aria2 "$1" --allow-overwrite=true --remove-control-file=true \
        --header "If-Match: $(etag "$1")"
    assert_copy "$D/new-disk"
}

@test "GET by aria2c with If-Match: nothing of an NBD image that was replaced is mixed in" {
    aria2_starts_anew nbd
}

@test "GET by aria2c with If-Match: nothing of a file that was replaced is mixed in" {
    aria2_starts_anew file
}
