#!/bin/sh
# nbd_faulty.sh - an NBD server for nbdkit-sh-plugin that fails as it is told.
# faults_nbd.bash puts a line of settings in front of it:
#   IMAGE   the file it serves
#   PLAN    while this file is there, "COMMAND OFFSET FAULT": the first command
#           of that kind that touches the byte at OFFSET ends so:
#             die      the server is killed, and answers nothing any more
#             stall    no answer for as long as PLAN is there
#             EIO ...  this error
#   ZEROES  yes, or no: it has no WRITE_ZEROES
# A command that fails has done nothing. Half a block (4 KiB) cannot be written,
# and block status is told 3 MiB at a time.

method=$1 count=$3 offset=$4
piece=$((3 * 1024 * 1024))

is_planned() {
    [ -e "$PLAN" ] && read -r command at fault <"$PLAN" &&
        [ "$command" = "$method" ] &&
        { [ "$method" = flush ] ||
            { [ "$offset" -le "$at" ] && [ "$at" -lt $((offset + count)) ]; }; }
}

fail() {
    if [ "$method" = pwrite ]; then
        cat >/dev/null # else what counts is that it was not read
    fi
    case $fault in
    die) kill -9 "$PPID" ;;
    stall)
        while [ -e "$PLAN" ]; do
            sleep 0.05
        done
        fault=EIO
        ;;
    esac
    echo "$fault" >&2
    exit 1
}

case $method in
pread | pwrite | zero | flush | extents)
    if is_planned; then
        fail
    fi
    ;;
esac
case $method in
thread_model) echo parallel ;;
get_size) exec stat -c %s "$IMAGE" ;;
block_size) echo 4096 65536 33554432 ;;
can_write | can_flush | can_extents | can_multi_conn) ;;
can_zero) [ "$ZEROES" = yes ] || exit 3 ;;
pread)
    exec dd if="$IMAGE" bs=1M skip="$offset" count="$count" \
        iflag=skip_bytes,count_bytes status=none
    ;;
pwrite)
    exec dd of="$IMAGE" bs=1M seek="$offset" oflag=seek_bytes conv=notrunc \
        status=none
    ;;
zero)
    exec dd if=/dev/zero of="$IMAGE" bs=1M count="$count" seek="$offset" \
        iflag=count_bytes oflag=seek_bytes conv=notrunc status=none
    ;;
flush) ;;
extents)
    echo "$offset $((count < piece ? count : piece))"
    ;;
*) exit 2 ;;
esac
