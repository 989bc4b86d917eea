#!/usr/bin/env bats
# A guest's disk is backed up, whole and what has changed, and restored, by the
# commands of docs/backup.md.

load common
load backup

setup_file() {
    start_service
}

teardown_file() {
    stop_service
}

setup() {
    make_settings
}

teardown() {
    stop_backends
    rm -rf "$D/backups.d" "$D/host" "$D"/scratch "$D"/*.sock.?
    rm -f "$D/vm1.sock"
}

# begin [incremental], end: what the page says, with the token that the test has.
begin() {
    on_page "begin ${1:-full}" "ticket ${1:-full}"
    take_ticket
    cp --sparse=always "$D/now" "$D/then"
}

take_ticket() {
    id=$(cat "$D/host/id")
    cp "$D/host/token" "$D/token"
}

end() {
    on_page end
}

# on_backup_host NAME...: these blocks, for this id.
on_backup_host() {
    echo "id=$id" >>"$D/settings"
    on_page "$@"
}

# fetched: bytes of images that were sent since the mark.
mark() {
    marked=$(wc -l <"$D/program.log")
}

fetched() {
    tail -n "+$((marked + 1))" "$D/program.log" |
        sed -n 's/^info: method=GET .* status=206 .* bytes=\([0-9]*\) .*/\1/p' |
        awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

has_fetched() { # BYTES
    [ "$(fetched)" = "$1" ]
}

no_backup() { # NAME: nothing under this name, nor under a hidden one
    [ ! -e "$D/backups.d/$1" ]
    [ -z "$(find "$D/backups.d" -name ".$1.*")" ]
}

take_full() { # [NAME]
    begin
    backup_ok full "http://localhost/images/$id" "$D/backups.d/${1:-monday}"
    end
}

@test "the page's commands: full, incremental, verify, merge and restore give the disk of each moment" {
    start_guest
    mark
    begin
    # The guest goes on during the backup.
    write_data $((10 * MIB)) $((2 * MIB))
    on_backup_host full
    end
    cmp "$D/then" "$D/backups.d/monday/disk.raw"
    # What was written, in whole clusters, less what was zeroed.
    wait_for has_fetched $((8 * MIB + 128 * KIB))
    [ "$(du -B1 "$D/backups.d/monday/disk.raw" | cut -f1)" -lt $((10 * MIB)) ]

    write_data $((20 * MIB)) $((128 * KIB))
    guest_io "write -z $((30 * MIB)) 64k"
    zero_now $((30 * MIB)) $((64 * KIB))
    mark
    begin incremental
    write_data $((25 * MIB)) $MIB
    on_backup_host incremental verify
    end
    # 2 MiB during the first backup, 128 KiB after it; zeroes cost nothing.
    wait_for has_fetched $((2 * MIB + 128 * KIB))
    [ "$(stat -c %s "$D/backups.d/tuesday/changes")" = \
        $((2 * MIB + 128 * KIB)) ]

    on_page merge
    cmp "$D/then" "$D/backups.d/tuesday.full/disk.raw"

    on_page target
    take_ticket
    on_backup_host restore
    on_page 'target end'
    wait_for is_gone "$(cat "$D/host/qemu-nbd.pid")"
    qemu-img compare -f raw -F qcow2 "$D/then" "$D/host/restored.qcow2"

    # The merged one takes the chain's place, and the next stands on it.
    on_page roll forget
    run -0 "$D/bin/virsh" checkpoint-list vm1
    assert_output tuesday
    sed -i 's/monday/tuesday/' "$D/host/backup.xml"
    write_data $((35 * MIB)) $((64 * KIB))
    "$D/bin/virsh" backup-begin vm1 "$D/host/backup.xml"
    on_page 'ticket incremental'
    take_ticket
    backup_ok incremental "http://localhost/images/$id" \
        "$D/backups.d/tuesday" "$D/backups.d/wednesday"
    end
    backup_ok merge "$D/backups.d/wednesday" "$D/backups.d/end"
    cmp "$D/now" "$D/backups.d/end/disk.raw"
    run -0 "$D/bin/virsh" checkpoint-list vm1
    [ "$(grep -c domfsfreeze "$D/virsh.log")" = 2 ]
    [ "$(grep -c domfsthaw "$D/virsh.log")" = 2 ]
}

@test "every block of commands of the page is run by these tests" {
    names=$(sed -n 's/^<!-- \(.*\) -->$/\1/p' "$PAGE")
    # What is set at the beginning, and what makes directories of /run.
    [ "$(grep -c '^ *```sh$' "$PAGE")" = $(($(wc -l <<<"$names") + 3)) ]
    while read -r name; do
        [ -n "$(block "$name")" ]
        grep -qE "(on_page|on_backup_host|begin).*\b${name%% *}" \
            "$BATS_TEST_FILENAME"
    done <<<"$names"
}

# What the page's table has in quotes, but for what others say.
said_by_us() {
    sed -n '/^| what is said /,/^$/ { s/^| \([^|]*\) |.*/\1/p }' "$PAGE" |
        grep -vE '^`(backup-begin|the server says|too many)' |
        grep -oE '`[^`]+`' | tr -d '`' | sed 's/…/\n/g' | sed 's/^ *//; /^$/d'
}

@test "every message that the page explains is one of the program's" {
    [ "$(said_by_us | wc -l)" -ge 15 ]
    while read -r text; do
        grep -qF -- "$text" "$BACKUP"
    done < <(said_by_us)
}

@test "a restore puts zeroes where the target had data" {
    start_guest
    take_full
    make_disk "$D/target" $((40 * MIB))
    truncate -s $SIZE "$D/target"
    start_qemu_nbd target -f raw --discard=unmap "$D/target"
    nbd_ticket target target ",\"token\":\"$(cat "$D/token")\""
    backup_ok restore "$D/backups.d/monday" http://localhost/images/target
    stop target
    cmp "$D/then" "$D/target"
}

@test "a restore that was not written is found out by reading back" {
    start_guest
    take_full
    # What takes all writes and keeps none of them.
    start_nbdkit liar eval get_size="echo $SIZE" can_write='exit 0' \
        can_zero='exit 0' can_flush='exit 0' pwrite='cat >/dev/null' \
        zero='exit 0' flush='exit 0' \
        pread='head -c $3 /dev/zero'
    nbd_ticket target liar ",\"token\":\"$(cat "$D/token")\""
    assert_backup_fails 'what was restored differs' \
        restore "$D/backups.d/monday" http://localhost/images/target
}

@test "a wrong token is refused, and nothing is left" {
    start_guest
    begin
    echo "$TOKEN" >"$D/token"
    assert_backup_fails "the server wants the ticket's bearer token" \
        full "http://localhost/images/$id" "$D/backups.d/monday"
    no_backup monday
    cp "$D/host/token" "$D/token"
    backup_ok full "http://localhost/images/$id" "$D/backups.d/monday"
    assert_backup_fails 'is there already' \
        full "http://localhost/images/$id" "$D/backups.d/monday"
    end
    assert_backup_fails 'the server has no such image' \
        full "http://localhost/images/$id" "$D/backups.d/other"
    no_backup other
}

@test "the token is in no command line, no environment and no file" {
    start_guest
    begin
    # Where curl stands in the way, it sees what there is to be seen.
    cat >"$D/bin/curl" <<END
#!/bin/bash
cat /proc/*/cmdline /proc/\$\$/environ 2>/dev/null | tr '\\0' '\\n' >>$D/seen
find $D/backups.d -type f -exec cat {} + >>$D/seen
exec $(command -v curl) "\$@"
END
    chmod +x "$D/bin/curl"
    PATH=$D/bin:$PATH backup_ok full "http://localhost/images/$id" \
        "$D/backups.d/monday"
    rm "$D/bin/curl"
    end
    grep -q "http://localhost/images/$id" "$D/seen"
    run ! grep -F -e "$(cat "$D/token")" "$D/seen"
    [ "$(stat -c %a "$D/backups.d/monday" "$D/backups.d/monday/disk.raw" |
        xargs)" = '700 600' ]
}

@test "a target of another size is refused, and stays as it was" {
    start_guest
    take_full
    for size in $((SIZE - 512)) $((SIZE + 512)); do
        make_disk "$D/target" 4096
        truncate -s "$size" "$D/target"
        cp --sparse=always "$D/target" "$D/before"
        start_qemu_nbd target -f raw "$D/target"
        nbd_ticket target target ",\"token\":\"$(cat "$D/token")\""
        assert_backup_fails "the target has $size bytes, the backup $SIZE" \
            restore "$D/backups.d/monday" http://localhost/images/target
        stop target
        cmp "$D/before" "$D/target"
    done
}

@test "a bitmap that is gone: all is taken, and it is said" {
    start_guest
    take_full
    write_data $((20 * MIB)) $((128 * KIB))
    begin incremental
    # The ticket names one that the export does not have.
    sed -i 's/backup-vda/backup-vdx/' "$D/tickets/$id"
    backup_ok incremental "http://localhost/images/$id" \
        "$D/backups.d/monday" "$D/backups.d/tuesday"
    end
    grep -q 'all is dirty: there is no bitmap' "$D/backup.log"
    has_line "$D/program.log" "^warning: extents ticket=${id:0:8} no dirty"
    backup_ok merge "$D/backups.d/tuesday" "$D/backups.d/merged"
    cmp "$D/then" "$D/backups.d/merged/disk.raw"
}

@test "an incremental backup that failed is taken once more, since the one before" {
    start_guest
    take_full
    write_data $((20 * MIB)) $((128 * KIB))
    begin incremental
    rm "$D/tickets/$id"
    assert_backup_fails 'the server has no such image' incremental \
        "http://localhost/images/$id" "$D/backups.d/monday" \
        "$D/backups.d/tuesday"
    no_backup tuesday
    "$D/bin/virsh" domjobabort vm1
    on_page failed
    write_data $((21 * MIB)) $((64 * KIB))
    begin incremental
    backup_ok incremental "http://localhost/images/$id" \
        "$D/backups.d/monday" "$D/backups.d/tuesday"
    end
    backup_ok merge "$D/backups.d/tuesday" "$D/backups.d/merged"
    cmp "$D/then" "$D/backups.d/merged/disk.raw"
}

@test "a backup for which there is no room fails, and leaves nothing" {
    make_disk "$D/disk" $((8 * MIB))
    start_qemu_nbd disk -r -f raw "$D/disk"
    nbd_ticket disk disk ",\"token\":\"$TOKEN\""
    for room in 4M 7M; do
        as_root mount -t tmpfs -o size=$room,mode=1777 none "$D/backups.d"
        backup full http://localhost/images/disk "$D/backups.d/monday"
        left=$(ls -A "$D/backups.d")
        as_root umount "$D/backups.d"
        [ "$backup_status" = 1 ]
        [ -z "$left" ]
        grep -q 'No space left on device' "$D/backup.log"
    done
    # Nor where the bytes are that are on their way.
    as_root mount -t tmpfs -o size=1M,mode=1777 none "$D/host"
    TMPDIR=$D/host backup full http://localhost/images/disk \
        "$D/backups.d/monday"
    left=$(find "$D/backups.d" "$D/host" -mindepth 1)
    as_root umount "$D/host"
    [ "$backup_status" = 1 ]
    [ -z "$left" ]
    cat "$D/backup.log"
    grep -qE 'no room in|Fail.* writing' "$D/backup.log"
}

@test "names are taken as they are, though curl knows patterns" {
    make_disk "$D/disk" $MIB
    make_disk "$D/other" $((2 * MIB))
    start_qemu_nbd disk -f raw "$D/disk"
    start_qemu_nbd other -f raw "$D/other"
    nbd_ticket '{x}' disk ",\"token\":\"$TOKEN\",\"read_only\":true"
    nbd_ticket target disk ",\"token\":\"$TOKEN\""
    nbd_ticket x other ",\"token\":\"$TOKEN\",\"read_only\":true"
    mkdir "$D/host/t[1]"
    export TMPDIR="$D/host/t[1]"
    backup_ok full 'http://localhost/images/{x}' "$D/backups.d/monday"
    cmp "$D/disk" "$D/backups.d/monday/disk.raw"
    backup_ok restore "$D/backups.d/monday" http://localhost/images/target
}

@test "an image that may change is not backed up" {
    make_disk "$D/disk" $MIB
    start_qemu_nbd disk -f raw "$D/disk"
    nbd_ticket disk disk ",\"token\":\"$TOKEN\""
    assert_backup_fails 'its ticket is not read-only' \
        full http://localhost/images/disk "$D/backups.d/monday"
    no_backup monday
}

@test "an image that was replaced during a backup is not mixed with the old one" {
    make_disk "$D/disk" $MIB
    start_qemu_nbd disk -r -f raw "$D/disk"
    nbd_ticket disk disk ",\"token\":\"$TOKEN\""
    # After the first request the ticket is another one.
    cat >"$D/bin/curl" <<END
#!/bin/bash
$(command -v curl) "\$@" || exit
[ -e $D/replaced ] || touch $D/tickets/disk $D/replaced
END
    chmod +x "$D/bin/curl"
    PATH=$D/bin:$PATH assert_backup_fails 'the image is another one now' \
        full http://localhost/images/disk "$D/backups.d/monday"
    rm "$D/bin/curl"
    no_backup monday
}

@test "a disk that was resized needs a full backup" {
    start_guest
    take_full
    make_disk "$D/disk" $MIB
    start_qemu_nbd disk -r -f raw "$D/disk"
    nbd_ticket disk disk ",\"token\":\"$(cat "$D/token")\""
    assert_backup_fails 'take a full backup' incremental \
        http://localhost/images/disk "$D/backups.d/monday" \
        "$D/backups.d/tuesday"
    no_backup tuesday
}

# damage COMMAND...: the backup is refused, before the target is asked.
assert_damaged() {
    assert_backup_fails "$1" restore "$D/backups.d/tuesday" \
        http://localhost/images/no-such-image
    assert_backup_fails "$1" verify "$D/backups.d/tuesday"
    rm -r "$D/backups.d"
    cp -a "$D/whole" "$D/backups.d"
}

@test "a backup that is truncated, altered, incomplete or another one is refused" {
    local at=$D/backups.d

    start_guest
    take_full
    write_data $((20 * MIB)) $((128 * KIB))
    begin incremental
    backup_ok incremental "http://localhost/images/$id" $at/monday $at/tuesday
    end
    backup_ok verify $at/tuesday
    cp -a $at "$D/whole"

    truncate -s -1 $at/monday/disk.raw
    assert_damaged 'monday is damaged: its checksums differ'
    truncate -s -1 $at/tuesday/changes
    assert_damaged 'tuesday is damaged: its checksums differ'
    printf x | dd of=$at/tuesday/changes conv=notrunc seek=70000 bs=1 \
        status=none
    assert_damaged 'tuesday is damaged: its checksums differ'
    sed -i '$d' $at/tuesday/map
    assert_damaged 'tuesday is damaged: its checksums differ'
    rm $at/tuesday/map
    assert_damaged 'tuesday is damaged: its checksums differ'
    sed -i 1d $at/tuesday/SHA256SUMS
    assert_damaged 'SHA256SUMS is not whole'
    rm -r $at/monday
    assert_damaged 'which is not there'
    # One of the same name, whole in itself.
    (cd $at/monday && truncate -s +1M disk.raw &&
        sha256sum disk.raw map manifest.json >SHA256SUMS)
    assert_damaged 'stands on another backup of the name'
    # No sums, but a map that leaves something out.
    (cd $at/tuesday && sed -i '$d' map &&
        sha256sum changes map manifest.json >SHA256SUMS)
    assert_damaged 'a map that is not all of the image'
    rm -r "$D/whole"
}

@test "a command line that says nothing is refused with the usage" {
    for arguments in '' full 'full a' 'bogus a b' 'verify a b' \
        'full --token-file' 'full --bogus a b'; do
        # shellcheck disable=SC2086
        run -2 "$BACKUP" $arguments
        assert_output --partial 'imageio-backup full [OPTION...] URL DIR'
    done
    run -0 "$BACKUP" --help
    : >"$D/empty"
    run -1 "$BACKUP" full --token-file "$D/empty" a b
    assert_output "imageio-backup: $D/empty holds no token"
}
