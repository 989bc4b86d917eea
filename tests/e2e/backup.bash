# backup.bash - a guest with a disk, as libvirt would have it (virsh.py), and
# the commands of docs/backup.md. After common.

BACKUP=${BACKUP:-$TOP/deploy/backup/imageio-backup}
PAGE=$TOP/docs/backup.md
SIZE=$((48 * MIB))
TOKEN=0123456789abcdef-SECRET+/=

# start_guest: its disk has data, written zeroes and holes. $D/now is what it
# is at each moment.
start_guest() {
    rm -f "$D"/guest.* "$D/vda.qcow2" "$D"/virsh.* "$D/now"
    make_disk "$D/data" $((8 * MIB))
    qemu-img create -q -f qcow2 "$D/vda.qcow2" $SIZE
    truncate -s $SIZE "$D/now"
    echo guest >>"$D/backends"
    supervise guest qemu-storage-daemon \
        --blockdev file,node-name=file,filename="$D/vda.qcow2" \
        --blockdev qcow2,node-name=vda,file=file,discard=unmap \
        --chardev socket,id=qmp,path="$D/guest.qmp",server=on,wait=off \
        --monitor qmp --nbd-server addr.type=unix,addr.path="$D/guest.sock" \
        --export nbd,id=guest,node-name=vda,name=guest,writable=on
    wait_for test -S "$D/guest.sock"
    write_data 0 $((8 * MIB))
    write_data $((30 * MIB)) $((3 * MIB))
    write_data $((SIZE - 100 * KIB)) $((100 * KIB))
    guest_io "write -z $((31 * MIB)) 1M" "write -P 0 $((2 * MIB)) 64k" \
        "discard $((4 * MIB)) 2M"
    zero_now $((31 * MIB)) $MIB
    zero_now $((2 * MIB)) $((64 * KIB))
    zero_now $((4 * MIB)) $((2 * MIB))
}

guest_io() { # COMMAND...: by the guest; of qemu-io
    local arguments=() command

    for command in "$@"; do
        arguments+=(-c "$command")
    done
    qemu-io -f raw "${arguments[@]}" \
        "nbd+unix:///guest?socket=$D/guest.sock" >"$D/qemu-io.log"
}

write_data() { # OFFSET LENGTH: by the guest
    guest_io "write -s $D/data $1 $2"
    dd if="$D/data" of="$D/now" bs=64K conv=notrunc oflag=seek_bytes \
        iflag=count_bytes count="$2" seek="$1" status=none
}

zero_now() { # OFFSET LENGTH
    fallocate --punch-hole --offset "$1" --length "$2" "$D/now"
}

# block NAME: the commands of docs/backup.md that "<!-- NAME -->" stands above.
block() {
    awk -v mark="<!-- $1 -->" '
        $0 == mark { found = 1; next }
        found && /^```/ { if (inside) exit; inside = 1; next }
        inside' "$PAGE" | grep .
}

# on_page NAME...: runs these blocks, with what stands for the page's first two.
on_page() {
    local name

    {
        echo "set -eu; PATH=$D/bin:\$PATH"
        cat "$D/settings"
        for name in "$@"; do
            block "$name"
        done
    } >"$D/commands"
    bash "$D/commands" >"$D/output" 2>&1 3>&- 4>&- || {
        cat "$D/output" >&2
        return 1
    }
}

# What the page supposes: programs, names and places. $id is what it is asked for.
make_settings() {
    mkdir -p "$D/bin" "$D/backups.d" "$D/host"
    ln -sf "$TOP/tests/e2e/virsh.py" "$D/bin/virsh"
    ln -sf "$(dirname "$PROGRAM")/imageio-fcgi-ctl" "$D/bin/imageio-fcgi-ctl"
    ln -sf "$BACKUP" "$D/bin/imageio-backup"
    echo "unix-socket = $D/web.sock" >"$D/curl.conf"
    printf '%s\n' "$TOKEN" >"$D/token"
    cat >"$D/settings" <<END
export IMAGEIO_FCGI_TICKET_DIR=$D/tickets IMAGEIO_FCGI_RUN_DIR=$D/run
guest=vm1 group=$(id -gn) host=$D/host socket=$D/vm1.sock scratch=$D/scratch
url=http://localhost/images chain=$D/backups.d token=$D/token
options='--curl-config $D/curl.conf --token-file $D/token'
END
}

# backup COMMAND ARGUMENT...: sets $backup_status and $D/backup.log.
backup() {
    backup_status=0
    "$BACKUP" "$1" --curl-config "$D/curl.conf" --token-file "$D/token" \
        "${@:2}" >"$D/backup.log" 2>&1 || backup_status=$?
}

backup_ok() {
    backup "$@"
    if [ "$backup_status" != 0 ]; then
        cat "$D/backup.log" >&2
        return 1
    fi
}

# assert_backup_fails TEXT COMMAND ARGUMENT...: it says so, and status 1.
assert_backup_fails() {
    local text=$1

    shift
    backup "$@"
    if [ "$backup_status" != 1 ] || ! grep -qF -- "$text" "$D/backup.log"; then
        echo "expected a failure with: $text; status $backup_status, and:" >&2
        cat "$D/backup.log" >&2
        return 1
    fi
}
