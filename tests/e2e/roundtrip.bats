#!/usr/bin/env bats
# What backup programs do with an image, whole: read its map, fetch what the
# map names, write it into another image, and compare the two with a tool
# that knows nothing of this program.

load common

SIZE=$GIB

setup_file() {
    start_service
    make_source
    start_source
    take_backup
    stop_backends
}

teardown_file() {
    stop_service
}

teardown() {
    stop_backends
}

# 1 GiB with 160 MiB of data in pieces, on odd places and sizes, areas that
# were written with zeroes, and areas that were never written.
make_source() {
    local i

    make_disk "$D/pieces" $((16 * MIB))
    qemu-img create -q -f qcow2 "$D/source-disk.qcow2" $SIZE
    for i in 0 1 2 3 4 5 6 7 8 9; do
        echo "write -s $D/pieces $((i * 100 * MIB + i * 12288)) 16M"
    done >"$D/commands"
    cat >>"$D/commands" <<END
write -P 0xa5 $((450 * MIB + 512)) 5k
write -P 0x5a $((SIZE - 70000)) 70000
write -z $((4 * MIB)) 3M
write -z $((104 * MIB)) 65536
write -P 0 $((205 * MIB)) 2M
discard $((306 * MIB)) 4M
write -P 1 $((306 * MIB + 65536)) 64k
END
    qemu_io "$D/source-disk.qcow2" "$D/commands"
}

# qemu_io IMAGE COMMANDS: each of them has to succeed.
qemu_io() {
    qemu-io -f qcow2 "$1" <"$2" >"$D/qemu-io.log" 2>&1
    if grep -iE 'fail|error|invalid|not found' "$D/qemu-io.log"; then
        return 1
    fi
}

start_source() {
    start_qemu_nbd source -f qcow2 "$D/source-disk.qcow2"
    nbd_ticket source source
}

# fetch IMAGE START LENGTH FILE: writes this area of the image to its place there.
fetch() {
    local start=$2 length=$3

    http GET "/images/$1" -H "Range: bytes=$start-$((start + length - 1))"
    assert_status 206
    assert_header Content-Range \
        "bytes $start-$((start + length - 1))/$SIZE"
    [ "$(stat -c %s "$http_body")" = "$length" ]
    dd if="$http_body" of="$4" bs=1M oflag=seek_bytes seek="$start" \
        conv=notrunc status=none
}

# select_extents FILE FILTER: "START LENGTH" lines.
select_extents() {
    jq -r ".[] | select($2) | \"\(.start) \(.length)\"" "$1"
}

# The map, and all that is not zero in a sparse file.
take_backup() {
    local start length

    http GET /images/source/extents
    assert_status 200
    cp "$http_body" "$D/map"
    truncate -s $SIZE "$D/backup.raw"
    while read -r start length; do
        fetch source "$start" "$length" "$D/backup.raw"
    done < <(select_extents "$D/map" '.zero | not')
}

# assert_same RAW QCOW2
assert_same() {
    run qemu-img compare -f raw -F qcow2 "$1" "$2"
    if [ "$status" != 0 ]; then
        echo "$output" >&2
        return 1
    fi
}

# piece START LENGTH: that part of the backup, in $D/piece.
piece() {
    dd if="$D/backup.raw" of="$D/piece" bs=1M status=none \
        iflag=skip_bytes,count_bytes skip="$1" count="$2"
}

assert_stopped() { # NAME: its image is closed
    stop "$1"
    [ "$(cat "$D/$1.status")" = 0 ]
}

@test "GET by extents: the backup equals the source" {
    assert_same "$D/backup.raw" "$D/source-disk.qcow2"
}

@test "GET by extents: no more was fetched than there is data" {
    data=$(jq '[.[] | select(.zero | not) | .length] | add' "$D/map")
    [ "$data" -ge $((140 * MIB)) ]
    [ "$data" -le $((162 * MIB)) ]
    [ "$(du -B1 "$D/backup.raw" | cut -f1)" -le $((163 * MIB)) ]
    # The map is whole, too.
    [ "$(jq '[.[].length] | add' "$D/map")" = $SIZE ]
    [ "$(jq length "$D/map")" -ge 15 ]
}

@test "GET of the whole image: equals the source as well" {
    start_source
    http GET /images/source
    assert_status 200
    cmp "$http_body" "$D/backup.raw"
}

@test "PUT by extents: an empty image becomes equal to the source" {
    qemu-img create -q -f qcow2 "$D/target-disk.qcow2" $SIZE
    start_qemu_nbd target -f qcow2 "$D/target-disk.qcow2"
    nbd_ticket target target
    while read -r start length; do
        piece "$start" "$length"
        put '/images/target?flush=n' "$D/piece" \
            -H "Content-Range: bytes $start-$((start + length - 1))/*"
        assert_ok "{\"ok\":true,\"bytes_written\":$length,\"flushed\":false}"
    done < <(select_extents "$D/map" '.zero | not')
    post /images/target/flush
    assert_ok '{"ok":true}'
    assert_stopped target
    assert_same "$D/backup.raw" "$D/target-disk.qcow2"
    qemu-img compare -f qcow2 -F qcow2 "$D/source-disk.qcow2" "$D/target-disk.qcow2"
    # Nothing was written where there is nothing.
    [ "$(stat -c %s "$D/target-disk.qcow2")" -le $((180 * MIB)) ]
    qemu-img check -q -f qcow2 "$D/target-disk.qcow2"
}

@test "PATCH by extents: an image full of other data becomes equal to the source" {
    qemu-img create -q -f qcow2 "$D/full-disk.qcow2" $SIZE
    {
        for i in 0 1 2 3 4 5 6 7; do
            echo "write -P 0x77 $((i * 128 * MIB)) 24M"
            echo "write -P 0x78 $((i * 128 * MIB + 77 * MIB + 1536)) 1M"
        done
    } >"$D/commands"
    qemu_io "$D/full-disk.qcow2" "$D/commands"
    start_qemu_nbd full -f qcow2 "$D/full-disk.qcow2"
    nbd_ticket full full
    while read -r start length; do
        json /images/full \
            "{\"op\":\"zero\",\"offset\":$start,\"size\":$length}"
        assert_ok '{"ok":true}'
    done < <(select_extents "$D/map" .zero)
    while read -r start length; do
        piece "$start" "$length"
        patch /images/full "$D/piece" \
            "bytes=$start-$((start + length - 1))"
        assert_ok "{\"ok\":true,\"bytes_written\":$length}"
    done < <(select_extents "$D/map" '.zero | not')
    json /images/full '{"op":"flush"}'
    assert_ok '{"ok":true}'
    assert_stopped full
    assert_same "$D/backup.raw" "$D/full-disk.qcow2"
}

@test "PUT of the whole image: another image becomes equal to the source" {
    qemu-img create -q -f qcow2 "$D/whole-disk.qcow2" $SIZE
    start_qemu_nbd whole -f qcow2 "$D/whole-disk.qcow2"
    nbd_ticket whole whole
    put '/images/whole?flush=y' "$D/backup.raw"
    assert_ok "{\"ok\":true,\"bytes_written\":$SIZE,\"flushed\":true}"
    assert_stopped whole
    assert_same "$D/backup.raw" "$D/whole-disk.qcow2"
    rm "$D/whole-disk.qcow2"
}

@test "GET by dirty extents: a full backup becomes equal to the changed source" {
    cp --sparse=always "$D/source-disk.qcow2" "$D/changed-disk.qcow2"
    cp --sparse=always "$D/backup.raw" "$D/copy.raw"
    qemu-img bitmap --add -f qcow2 "$D/changed-disk.qcow2" since
    make_disk "$D/news" $((3 * MIB))
    cat >"$D/commands" <<END
write -s $D/news $((50 * MIB + 4096)) 3M
write -s $D/news $((100 * MIB + 1536)) 10k
write -z $((200 * MIB)) 2M
write -z $((700 * MIB + 512)) 1M
discard $((500 * MIB)) 1M
write -P 0x33 $((SIZE - 512)) 512
write -P 0x44 0 1
END
    qemu_io "$D/changed-disk.qcow2" "$D/commands"
    # The copy is out of date.
    run ! assert_same "$D/copy.raw" "$D/changed-disk.qcow2"

    start_qemu_nbd changed -r -f qcow2 -B since "$D/changed-disk.qcow2"
    nbd_ticket changed changed ',"export_bitmap":"since"'
    http GET '/images/changed/extents?context=dirty'
    assert_status 200
    cp "$http_body" "$D/dirty"
    [ "$(jq '[.[].length] | add' "$D/dirty")" = $SIZE ]
    # Only what has changed is named, in clusters.
    dirty=$(jq '[.[] | select(.dirty) | .length] | add' "$D/dirty")
    [ "$dirty" -ge $((7 * MIB)) ]
    [ "$dirty" -le $((9 * MIB)) ]
    while read -r start length; do
        fallocate -p -o "$start" -l "$length" "$D/copy.raw"
    done < <(select_extents "$D/dirty" '.dirty and .zero')
    while read -r start length; do
        fetch changed "$start" "$length" "$D/copy.raw"
    done < <(select_extents "$D/dirty" '.dirty and (.zero | not)')
    select_extents "$D/dirty" '.dirty and .zero' | grep -q .
    assert_stopped changed
    assert_same "$D/copy.raw" "$D/changed-disk.qcow2"
}
