#!/usr/bin/env bats
# PUT to a file: atomic, of any length, with what the old file was (CONTRACT 5).

load common

setup_file() {
    start_service
}

teardown_file() {
    stop_service
}

setup() {
    rm -rf "$D/files"
    mkdir "$D/files"
    make_disk "$D/old" 300000
    make_disk "$D/new" 20000000
    cp "$D/old" "$D/files/image"
    file_ticket demo "$D/files/image"
}

teardown() {
    stop_backends
}

# Nothing beside the image: no temporary file stayed.
assert_files() { # NAME...
    assert_equal "$(ls -A "$D/files" | tr '\n' ' ')" "${*:+$* }"
}

@test "PUT: a longer body becomes the file's content" {
    put /images/demo "$D/new"
    assert_ok '{"ok":true,"bytes_written":20000000,"flushed":false}'
    cmp "$D/new" "$D/files/image"
    assert_files image
}

@test "PUT: a shorter body becomes the file's content" {
    make_disk "$D/short" 7
    put /images/demo "$D/short"
    assert_ok '{"ok":true,"bytes_written":7,"flushed":false}'
    cmp "$D/short" "$D/files/image"
    assert_files image
}

@test "PUT: a body of no bytes empties the file" {
    http PUT /images/demo -d ''
    assert_ok '{"ok":true,"bytes_written":0,"flushed":false}'
    [ "$(stat -c %s "$D/files/image")" = 0 ]
}

@test "PUT: flush=y and flush=n say whether it was flushed" {
    put '/images/demo?flush=y' "$D/new"
    assert_ok '{"ok":true,"bytes_written":20000000,"flushed":true}'
    cmp "$D/new" "$D/files/image"
    put '/images/demo?flush=n' "$D/old"
    assert_ok '{"ok":true,"bytes_written":300000,"flushed":false}'
    cmp "$D/old" "$D/files/image"
}

@test "PUT: a missing file is created, with 0666 less the umask" {
    local pid mode

    pid=$PID
    mode=$(printf '%o' $((0666 & ~0$(sed -n 's/^Umask:\t0*//p' \
        "/proc/$pid/status"))))
    file_ticket created "$D/files/created"
    put /images/created "$D/new"
    assert_ok '{"ok":true,"bytes_written":20000000,"flushed":false}'
    cmp "$D/new" "$D/files/created"
    assert_equal "$(stat -c %a "$D/files/created")" "$mode"
    assert_files created image
}

@test "PUT: a file in a folder that is not there is 500" {
    file_ticket nowhere "$D/files/no-folder/image"
    put /images/nowhere "$D/old"
    assert_json_error 500 'backend error'
}

@test "PUT: mode, owner, extended attributes and access list are kept" {
    local before

    chmod 640 "$D/files/image"
    setfattr -n user.origin -v backup "$D/files/image"
    setfacl -m u:1234:r "$D/files/image"
    if [ "$(id -u)" = 0 ]; then
        chown 1111:2222 "$D/files/image"
    fi
    before=$(stat -c '%a %u:%g' "$D/files/image" &&
        getfattr -d -m - --absolute-names "$D/files/image" &&
        getfacl -n --absolute-names "$D/files/image")
    put /images/demo "$D/new"
    assert_status 200
    cmp "$D/new" "$D/files/image"
    assert_equal "$(stat -c '%a %u:%g' "$D/files/image" &&
        getfattr -d -m - --absolute-names "$D/files/image" &&
        getfacl -n --absolute-names "$D/files/image")" "$before"
    [[ $before = *backup* && $before = *user:1234:r* ]]
}

@test "PUT: the folder's default access list lets nobody in who was not" {
    local before

    chmod 660 "$D/files/image"
    before=$(getfacl -n --absolute-names "$D/files/image")
    setfacl -d -m u:1234:rwx "$D/files"
    put /images/demo "$D/new"
    assert_status 200
    assert_equal "$(getfacl -n --absolute-names "$D/files/image")" "$before"
}

@test "PUT: a symbolic link is followed, and stays" {
    mkdir "$D/files/real"
    mv "$D/files/image" "$D/files/real/target"
    ln -s real/target "$D/files/image"
    put /images/demo "$D/new"
    assert_status 200
    [ "$(readlink "$D/files/image")" = real/target ]
    cmp "$D/new" "$D/files/real/target"
    assert_files image real
    [ "$(ls -A "$D/files/real")" = target ]
}

@test "PUT: a reader sees the old file until the last byte has arrived" {
    hold_locked slow /images/demo "$D/new" 19999999
    http GET /images/demo
    assert_status 200
    assert_body "$D/old"
    cmp "$D/old" "$D/files/image"
    release slow
    assert_ok '{"ok":true,"bytes_written":20000000,"flushed":false}'
    http GET /images/demo
    assert_status 200
    assert_body "$D/new"
}

@test "GET: a download that runs while the file is replaced is all of the old" {
    truncate -s 256M "$D/files/image"
    make_disk "$D/head" 1000000
    dd if="$D/head" of="$D/files/image" conv=notrunc status=none
    cp --sparse=always "$D/files/image" "$D/old"
    hold_reader slow /images/demo
    [ "$(held_status slow)" = 200 ]
    put /images/demo "$D/new"
    assert_status 200
    cmp "$D/new" "$D/files/image"
    release slow
    assert_status 200
    assert_body "$D/old"
}

@test "PUT: a body shorter than announced leaves the old file" {
    fcgi PUT /images/demo CONTENT_LENGTH=20000000 <"$D/old"
    assert_json 400 '{"error":"request body ended early at 300000 bytes"}'
    cmp "$D/old" "$D/files/image"
    assert_files image
}

@test "PUT: a client that vanishes leaves the old file, and the image free" {
    hold_locked gone /images/demo "$D/new" 10000000
    http_kill gone
    wait_for flush_succeeds
    cmp "$D/old" "$D/files/image"
    assert_files image
}

flush_succeeds() {
    post /images/demo/flush && assert_status 200
}

@test "PUT: a vanished client leaves no file where there was none" {
    rm "$D/files/image"
    hold_locked gone /images/demo "$D/new" 10000000
    http_kill gone
    wait_for is_free
    assert_files
}

# 500, or whatever a flush of a file that is not there is: but not busy.
is_free() {
    post /images/demo/flush && [ "$http_status" != 409 ]
}

@test "PUT: a full disk is 507 and leaves the old file" {
    mkdir -p "$D/small"
    as_root mount -t tmpfs -o size=4M,mode=777 tmpfs "$D/small"
    cp "$D/old" "$D/small/image"
    file_ticket full "$D/small/image"
    put /images/full "$D/new"
    http_kept=$(cmp "$D/old" "$D/small/image" && ls -A "$D/small")
    as_root umount "$D/small"
    assert_json_error 507 'no space left'
    assert_equal "$http_kept" image
}

@test "PUT: a full disk is told before the body is read" {
    mkdir -p "$D/small"
    as_root mount -t tmpfs -o size=4M,mode=777 tmpfs "$D/small"
    cp "$D/old" "$D/small/image"
    file_ticket full "$D/small/image"
    # Not one byte of the body comes, and still there is the answer.
    http PUT /images/full -H 'Content-Length: 20000000' --max-time 20
    as_root umount "$D/small"
    assert_json_error 507 'no space left'
}

@test "PUT: a block device is written in place, at its size only" {
    local device

    truncate -s 1M "$D/blocks"
    make_disk "$D/whole" $MIB
    device=$(as_root losetup -f --show "$D/blocks")
    as_root chmod 666 "$device"
    file_ticket device "$device"
    put '/images/device' "$D/old"
    cp "$http_body" "$D/refused"
    http_refused=$http_status
    put '/images/device?flush=y' "$D/whole"
    cp "$http_body" "$D/written"
    http GET /images/device
    cp "$http_body" "$D/read"
    as_root losetup -d "$device"
    [ "$http_refused" = 400 ]
    cmp "$D/refused" <(printf '%s' \
        '{"error":"Content-Length (300000) must equal image size (1048576)"}')
    cmp "$D/written" <(printf '%s' \
        '{"ok":true,"bytes_written":1048576,"flushed":true}')
    cmp "$D/whole" "$D/read"
    cmp "$D/whole" "$D/blocks"
}
