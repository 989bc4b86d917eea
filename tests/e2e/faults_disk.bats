#!/usr/bin/env bats
# Disks that are full at the first, some or the last byte of a request, below
# the NBD server or the file: 507, and what was there before (CONTRACT 5).

load common
load faults

setup_file() {
    start_service
    make_disk "$D/new" $SIZE
    bytes "$D/new" $OFFSET $LENGTH >"$D/part"
    truncate -s $SIZE "$D/old"
    mkdir "$D/want" "$D/small"
    cp "$D/new" "$D/want/nbd-put"
    for row in nbd-part nbd-patch; do
        cp "$D/old" "$D/want/$row"
        dd if="$D/part" of="$D/want/$row" conv=notrunc bs=64K \
            oflag=seek_bytes seek=$OFFSET status=none
    done
}

teardown_file() {
    stop_service
}

teardown() {
    local failed=0

    stop_backends || failed=1
    wait_for has_fds "$(idle_fds)" || failed=1
    if mountpoint -q "$D/small"; then
        as_root umount "$D/small" || failed=1
    fi
    return $failed
}

free_bytes() {
    echo $(($(stat -f -c '%a * %S' "$D/small")))
}

# leave_free BYTES: of a tmpfs; they count in pages.
leave_free() {
    rm -f "$D/small/filler"
    fallocate -l $(($(free_bytes) - $1)) "$D/small/filler"
    [ "$(free_bytes)" = "$1" ]
}

# The row's request by curl.
send_row() { # ROW
    case $1 in
    nbd-put) put /images/$1 "$D/new" ;;
    nbd-part) put /images/$1 "$D/part" -H "Content-Range: bytes $PART/*" ;;
    nbd-patch) patch /images/$1 "$D/part" "bytes=$PART" ;;
    esac
}

# fill_cells START...: image.img on a full tmpfs, served by START.
fill_cells() {
    local image=$D/small/image row pages left

    as_root mount -t tmpfs -o size=16m,mode=0777 tmpfs "$D/small"
    truncate -s $SIZE "$image"
    "$@" "$image"
    for row in nbd-put nbd-part nbd-patch; do
        nbd_ticket $row full
        pages=$((SIZE / 4096))
        if [ $row != nbd-put ]; then
            pages=$(((OFFSET + LENGTH - 1) / 4096 - OFFSET / 4096 + 1))
        fi
        # Full at the first byte, in the middle, and for the last byte alone.
        for left in 0 $((pages / 2 * 4096)) $(((pages - 1) * 4096)); do
            echo "cell: $row $left bytes free"
            leave_free $left
            send_row $row
            assert_json_error 507 'no space left'
            assert_free
            python3 "$TOP/tests/e2e/between.py" "$D/old" "$D/want/$row" "$image"
            # What there is can still be read, and is written again when there
            # is room.
            http GET /images/$row -H "Range: bytes=0-9"
            assert_status 206
            rm "$D/small/filler"
            fallocate --punch-hole -o 0 -l $SIZE "$image"
            send_row $row
            assert_status 200
            cmp "$D/want/$row" "$image"
            fallocate --punch-hole -o 0 -l $SIZE "$image"
        done
    done
}

@test "PUT, PATCH: nbdkit on a full disk is 507, and no other byte is changed" {
    fill_cells start_nbdkit full file
}

@test "PUT, PATCH: qemu-nbd on a full disk is 507, and no other byte is changed" {
    fill_cells start_qemu_nbd full -f raw
}

@test "PATCH zero, flush: a full disk is no reason to refuse them" {
    local image=$D/small/image start

    as_root mount -t tmpfs -o size=16m,mode=0777 tmpfs "$D/small"
    for start in 'start_nbdkit full file' 'start_qemu_nbd full -f raw'; do
        echo "cell: $start"
        rm -f "$image" "$D/small/filler"
        cp "$D/new" "$image"
        $start "$image"
        nbd_ticket full full
        leave_free 0
        json /images/full '{"op":"zero","offset":4096,"size":100000}'
        assert_ok '{"ok":true}'
        post /images/full/flush
        assert_ok '{"ok":true}'
        cmp <(bytes "$image" 4096 100000) <(head -c 100000 /dev/zero)
        cmp <(bytes "$image" 104096 $SIZE) <(bytes "$D/new" 104096 $SIZE)
        stop_backends
    done
}

# An ext2 gives no space in advance: what is missing shows in the middle.
@test "PUT: a disk that fills up while a file is written is 507 and the old file stays" {
    local at

    truncate -s $((3 * SIZE)) "$D/small.img"
    mke2fs -q -t ext2 -m 0 "$D/small.img"
    as_root mount -o loop "$D/small.img" "$D/small"
    as_root chmod 777 "$D/small"
    echo old >"$D/small/image"
    file_ticket file-put "$D/small/image"
    for at in 0 $((SIZE / 2)) $((SIZE - 70000)); do
        echo "cell: full from byte $at on"
        rude full file-put --stop-sent $at
        wait_for has_stopped full
        wait_for is_replacing "$D/small"
        run ! dd if=/dev/zero of="$D/small/filler" bs=64K
        rude_go full
        rude_wait full
        [ "$rude_result" = 'whole 507' ]
        [ "$(cat "$D/rude.full.body")" = '{"error":"no space left"}' ]
        assert_free
        [ "$(ls -A "$D/small")" = $'filler\nimage\nlost+found' ]
        [ "$(cat "$D/small/image")" = old ]
        rm "$D/small/filler"
        put /images/file-put "$D/new"
        assert_status 200
        cmp "$D/new" "$D/small/image"
        echo old >"$D/small/image"
    done
}
