#!/usr/bin/env bats
# Whole transfers by a client of the oVirt images API (images_client.py): some
# connections at once on one image, each kept to the end, and no retry: one
# answer that it does not expect fails the test.

load common

SIZE=$GIB
SMALL=$((64 * MIB))

setup_file() {
    start_service --max-readers 8 --max-writers 8
    make_disk "$D/pieces" $((16 * MIB))
    make_sparse "$D/big" $SIZE
    add_piece "$D/big" $((450 * MIB + 512)) 5120
    add_piece "$D/big" $((SIZE - 70144)) 70144
    make_sparse "$D/small" $SMALL
}

teardown_file() {
    stop_service
}

setup() {
    CLIENT=(python3 "$TOP/tests/e2e/images_client.py" --socket "$SOCK")
    answered=$(wc -l <"$D/program.log")
}

teardown() {
    stop_backends
    rm -f "$D/out"* "$D/target-disk"*
}

# make_sparse FILE SIZE: data in eight pieces on odd sectors, the rest holes.
make_sparse() {
    local i

    truncate -s "$2" "$1"
    for i in 0 1 2 3 4 5 6 7; do
        add_piece "$1" $((i * $2 / 8 + i * 5 * 512)) $(($2 / 128 + i * 512))
    done
}

add_piece() { # FILE OFFSET LENGTH
    dd if="$D/pieces" of="$1" bs=1M conv=notrunc status=none \
        iflag=count_bytes oflag=seek_bytes seek="$2" count="$3"
}

# make_old FILE SIZE: a sparse file with other data than that of make_sparse,
# beside it, over its begin, over its end, and over its holes.
make_old() {
    local i

    truncate -s "$2" "$1"
    for i in 1 3 5 7; do
        dd if=/dev/urandom of="$1" bs=1M conv=notrunc status=none \
            iflag=fullblock,count_bytes oflag=seek_bytes \
            seek=$((i * $2 / 8 - $2 / 256 + 1536)) count=$(($2 / 64))
    done
}

# start_file NAME FILE [ARGUMENT...]: served by nbdkit, with its ticket.
start_file() {
    local name=$1 file=$2

    shift 2
    start_nbdkit "$name" file "$file" "$@"
    nbd_ticket "$name" "$name"
}

# client COMMAND IMAGE [ARGUMENT...]: a transfer, which has to succeed but for
# "run -1 client". Prints its counts.
client() {
    local command=$1 image=$2

    shift 2
    "${CLIENT[@]}" "$command" --path "/images/$image" "$@"
}

# client_start NAME COMMAND IMAGE [ARGUMENT...]: the same in the background.
client_start() {
    local name=$1 command=$2 image=$3

    shift 3
    (
        close_others
        exec "${CLIENT[@]}" "$command" --path "/images/$image" "$@"
    ) >"$D/client.$name.log" 2>&1 </dev/null &
    echo $! >"$D/client.$name.pid"
    echo $! >>"$D/requests"
}

client_wait() { # NAME
    if ! wait "$(cat "$D/client.$1.pid")"; then
        cat "$D/client.$1.log" >&2
        return 1
    fi
}

count() { # NAME: of the transfer whose counts were kept
    jq ".$1 // 0" "$D/counts"
}

# assert_fails WHY COMMAND IMAGE [ARGUMENT...]: the client says so.
assert_fails() {
    local why=$1

    shift
    run -1 client "$@"
    assert_output --partial "images_client.py: $1"
    assert_output --partial "$why"
    refute_output --partial Traceback
}

# answers: the program's log of requests since the test began.
answers() {
    tail -n "+$((answered + 1))" "$D/program.log" | grep -E '^[a-z]+: .* status='
}

assert_no_refusal() {
    [ "$(answers | grep -c 'status=20[06] ')" -gt 0 ]
    if answers | grep -vE 'status=20[06] ' >&2; then
        return 1
    fi
}

# assert_idle IMAGE: nothing is left of a transfer that would refuse the next.
assert_idle() {
    put "/images/$1" "$D/pieces" -H 'Content-Range: bytes 0-16777215/*'
    assert_status 200
    post "/images/$1/flush"
    assert_ok '{"ok":true}'
}

# --- what it asks first ----------------------------------------------------

@test "OPTIONS: tells that client how many connections it may use" {
    start_file disk "$D/small"
    http OPTIONS /images/disk
    assert_json 200 '{"unix_socket":null,"features":["extents","zero","flush"],"max_readers":8,"max_writers":8}'
    client options disk >"$D/counts"
    diff <(jq -S . "$http_body") <(jq -S . "$D/counts")
}

@test "OPTIONS: of * tells what the server can, without an image" {
    http OPTIONS '/images/*'
    assert_json 200 '{"unix_socket":null,"features":["extents","zero","flush"],"max_readers":8,"max_writers":8}'
    client options '*'
}

@test "GET, PUT, PATCH: of * is an unknown image" {
    http GET '/images/*'
    assert_json_error 404 'unknown image_id'
    http GET '/images/*/extents'
    assert_json_error 404 'unknown image_id'
    http PUT '/images/*' -d data
    assert_json_error 404 'unknown image_id'
    http PUT '/images/*' -d data -H 'Content-Range: bytes 0-3/*'
    assert_json_error 404 'unknown image_id'
    json '/images/*' '{"op":"flush"}'
    assert_json_error 404 'unknown image_id'
}

@test "OPTIONS, GET: an unknown image is 404, and ends that client" {
    http OPTIONS /images/unknown
    assert_json_error 404 'unknown image_id'
    http GET /images/unknown -H 'range: bytes=0-511'
    assert_json_error 404 'unknown image_id'
    http GET '/images/unknown/extents?context=zero'
    assert_json_error 404 'unknown image_id'
    assert_fails ': 404 ' download unknown "$D/out"
    assert_fails ': 404 ' upload unknown "$D/small"
    [ ! -e "$D/out" ]
}

@test "GET: a range of the whole image is 206 with its length" {
    start_file disk "$D/small"
    http GET /images/disk -H "range: bytes=0-$((SMALL - 1))"
    assert_status 206
    assert_header Content-Length $SMALL
    assert_header Content-Range "bytes 0-$((SMALL - 1))/$SMALL"
    assert_body "$D/small"
}

# --- downloads -------------------------------------------------------------

# assert_downloaded: all, and no more than there is, by one connection and four.
assert_downloaded() {
    cmp "$D/big" "$D/out"
    [ "$(count connections)" = 5 ]
    [ "$(count requests)" -ge 20 ]
    [ "$(count fetched)" -le $((70 * MIB)) ]
    [ "$(du -B1 "$D/out" | cut -f1)" -le $((70 * MIB)) ]
    assert_no_refusal
}

@test "GET: four connections download a sparse image from qemu-nbd" {
    start_qemu_nbd disk -r -f raw "$D/big"
    nbd_ticket disk disk
    client download disk "$D/out" >"$D/counts"
    assert_downloaded
}

@test "GET: four connections download a sparse image from nbdkit" {
    start_file disk "$D/big"
    client download disk "$D/out" >"$D/counts"
    assert_downloaded
}

@test "GET: two clients with four connections each are as many readers as may be" {
    start_file disk "$D/small"
    start_file other "$D/big"
    client_start one download disk "$D/out.one" --max-request 65536
    client_start two download other "$D/out.two" --max-request 1048576
    client_wait one
    client_wait two
    cmp "$D/small" "$D/out.one"
    cmp "$D/big" "$D/out.two"
    assert_no_refusal
}

@test "GET: an older download becomes equal by what is dirty" {
    qemu-img convert -f raw -O qcow2 "$D/big" "$D/target-disk"
    qemu-img bitmap --add -f qcow2 "$D/target-disk" since
    start_qemu_nbd old -r -f qcow2 "$D/target-disk"
    nbd_ticket old old
    client download old "$D/out"
    stop old
    cmp "$D/big" "$D/out"

    # Over data and holes, with data and zeroes, on odd sectors.
    qemu-io -f qcow2 -c "write -s $D/pieces $((200 * MIB + 1536)) 6M" \
        -c "write -P 0x33 $((SIZE - 512)) 512" \
        -c "write -P 0x44 4096 512" \
        -c "write -z $((256 * MIB)) 3M" \
        -c "write -z $((600 * MIB + 512)) 1M" \
        -c "discard $((512 * MIB)) 1M" "$D/target-disk" >"$D/qemu-io.log"
    run ! qemu-img compare -q -f raw -F qcow2 "$D/out" "$D/target-disk"
    start_qemu_nbd new -r -f qcow2 -B since "$D/target-disk"
    nbd_ticket new new ',"export_bitmap":"since"'
    client download-dirty new "$D/out" --max-request 1048576 >"$D/counts"
    stop new
    qemu-img compare -f raw -F qcow2 "$D/out" "$D/target-disk"
    [ "$(count fetched)" -ge $((6 * MIB)) ]
    [ "$(count fetched)" -le $((8 * MIB)) ]
    [ "$(count zeroed)" -ge $((4 * MIB)) ]
    assert_no_refusal
}

# --- uploads ---------------------------------------------------------------

# assert_uploaded: all, as zeroes what can be, by four connections.
assert_uploaded() {
    [ "$(count connections)" = 4 ]
    [ "$(count sent)" -le $((70 * MIB)) ]
    [ "$(($(count sent) + $(count zeroed)))" = $SIZE ]
    assert_no_refusal
}

@test "PUT, PATCH: four connections upload a sparse image over old data of qemu-nbd" {
    make_old "$D/out" $SIZE
    qemu-img convert -f raw -O qcow2 "$D/out" "$D/target-disk"
    start_qemu_nbd target -f qcow2 "$D/target-disk"
    nbd_ticket target target
    client upload target "$D/big" >"$D/counts"
    assert_uploaded
    stop target
    qemu-img compare -f raw -F qcow2 "$D/big" "$D/target-disk"
    qemu-img check -q -f qcow2 "$D/target-disk"
}

@test "PUT, PATCH: four connections upload a sparse image over old data of nbdkit" {
    make_old "$D/target-disk" $SIZE
    start_file target "$D/target-disk"
    client upload target "$D/big" >"$D/counts"
    assert_uploaded
    cmp "$D/big" "$D/target-disk"
    [ "$(commands target Flush)" -ge 4 ]
    # It has become as sparse as its source.
    [ "$(du -B1 "$D/target-disk" | cut -f1)" -le $((70 * MIB)) ]
    assert_idle target
}

@test "PUT, PATCH: a thousand small parts by four connections are never refused" {
    for _ in 1 2 3; do
        make_old "$D/target-disk" $SMALL
        start_file target "$D/target-disk"
        client upload target "$D/small" --max-request 65536 >"$D/counts"
        cmp "$D/small" "$D/target-disk"
        [ "$(count requests)" -ge $((SMALL / 65536)) ]
        client download target "$D/out" --max-request 65536
        cmp "$D/small" "$D/out"
        stop_backends
        rm "$D/target-disk" "$D/out"
    done
    assert_no_refusal
}

@test "PUT, PATCH: two clients upload to two images, as many writers as may be" {
    make_old "$D/target-disk" $SMALL
    qemu-img create -q -f qcow2 "$D/target-disk.qcow2" $SMALL
    start_file target "$D/target-disk"
    start_qemu_nbd other -f qcow2 "$D/target-disk.qcow2"
    nbd_ticket other other
    # Sectors, but no pages: neighbours write the same page at once.
    client_start one upload target "$D/small" --max-request $((127 * 512))
    client_start two upload other "$D/small" --max-request $((127 * 512))
    client_wait one
    client_wait two
    cmp "$D/small" "$D/target-disk"
    stop other
    qemu-img compare -f raw -F qcow2 "$D/small" "$D/target-disk.qcow2"
    assert_no_refusal
}

@test "PUT, PATCH: two clients upload to one image" {
    make_old "$D/target-disk" $SMALL
    start_file target "$D/target-disk"
    client_start one upload target "$D/small" --max-request $((127 * 512))
    client_start two upload target "$D/small" --max-request $((999 * 512))
    client_wait one
    client_wait two
    cmp "$D/small" "$D/target-disk"
    assert_no_refusal
}

@test "PUT, PATCH, GET: transfers go on beside a part that arrives slowly" {
    make_old "$D/target-disk" $SMALL
    start_file target "$D/target-disk"
    # A part with the bytes that are to be there anyway.
    bytes "$D/small" 0 $((8 * MIB)) >"$D/part"
    hold_writer part /images/target "$D/part" $((7 * MIB)) \
        -H "Content-Range: bytes 0-$((8 * MIB - 1))/*"
    wait_for has_commands target Write
    client upload target "$D/small"
    client download target "$D/out"
    cmp "$D/small" "$D/out"
    is_requesting part
    # But the whole image is not to be had.
    put /images/target "$D/small"
    assert_json_error 409 'image busy'
    release part
    assert_ok "{\"ok\":true,\"bytes_written\":$((8 * MIB)),\"flushed\":false}"
    cmp "$D/small" "$D/target-disk"
}

@test "PUT: what the web UI sends is taken" {
    make_old "$D/target-disk" $SMALL
    start_file target "$D/target-disk"
    client upload-ui target "$D/small" >"$D/counts"
    cmp "$D/small" "$D/target-disk"
    [ "$(count sent)" = $SMALL ]
    [ "$(count requests)" = 1 ]
    assert_idle target
}

# --- what that client gives up for -----------------------------------------

@test "GET: reads that fail at times end a download" {
    start_file disk "$D/small" --filter=error error-pread-rate=25%
    assert_fails 'GET /images/disk' download disk "$D/out" --max-request 65536
}

@test "GET: bytes that cannot be read in the middle of a part cut it, and end a download" {
    printf '%s\n' '# Mapfile' '0x00000000 ?' "0x00000000 $((33 * MIB)) +" \
        "$((33 * MIB)) $((31 * MIB)) -" >"$D/torn"
    make_disk "$D/target-disk" $SMALL
    start_file disk "$D/target-disk" --filter=ddrescue \
        ddrescue-mapfile="$D/torn"
    assert_fails ': cut at ' download disk "$D/out" --max-request $SMALL
}

@test "PUT, PATCH: writes that fail at times end an upload" {
    make_old "$D/target-disk" $SMALL
    start_file target "$D/target-disk" --filter=error error-pwrite-rate=20%
    assert_fails 'PUT /images/target?flush=n' upload target "$D/small" \
        --max-request 65536
}

@test "PATCH: zeroes that fail at times end an upload" {
    make_old "$D/target-disk" $SMALL
    start_file target "$D/target-disk" --filter=error error-zero-rate=10%
    assert_fails 'PATCH /images/target' upload target "$D/small" \
        --max-request 65536
}

@test "PATCH: a flush that fails ends an upload" {
    start_nbdkit target eval get_size='echo 64M' can_write='exit 0' \
        pread='head -c $3 /dev/zero' pwrite='cat >/dev/null' \
        can_zero='exit 0' zero='exit 0' can_flush='exit 0' \
        flush='echo EIO >&2; exit 1'
    nbd_ticket target target
    assert_fails 'PATCH /images/target' upload target "$D/small" \
        --max-request $SMALL
}

@test "PUT: an image that a whole upload has ends that client" {
    make_old "$D/target-disk" $SMALL
    start_file target "$D/target-disk"
    hold_writer whole /images/target "$D/small" $((60 * MIB))
    wait_for has_commands target Write
    assert_fails ': 409 ' upload target "$D/small"
    assert_fails ': 409 ' upload-ui target "$D/small"
    assert_fails ': 409 ' download target "$D/out"
    release whole
    assert_status 200
    cmp "$D/small" "$D/target-disk"
}

@test "GET: a server without a free reader ends that client" {
    local i

    start_file disk "$D/small"
    start_file other "$D/big"
    for i in 1 2 3 4 5 6 7 8; do
        hold_reader $i /images/other
    done
    assert_fails ': 503 ' download disk "$D/out"
    for i in 1 2 3 4 5 6 7 8; do
        http_kill $i
    done
}
