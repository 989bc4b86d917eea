#!/usr/bin/env bats
# The server is killed in the middle of a backup (imageio-backup).

load common
load backup

LAUNCH=$TOP/tests/e2e/relaunch.bash
SIZE=$((80 * MIB)) # more than one request

setup() {
    start_service
    make_settings
    make_disk "$D/disk" $SIZE
    # What lies in the middle of the second request is read when $D/go is there.
    start_nbdkit disk -r eval get_size="echo $SIZE" pread='
        if [ $4 -ge 75497472 ]; then
            : >"'"$D"'/reached"
            while [ ! -e "'"$D"'/go" ]; do sleep 0.05; done
        fi
        dd if="'"$D"'/disk" iflag=skip_bytes,count_bytes skip=$4 count=$3 \
            bs=1M status=none'
    nbd_ticket disk disk ",\"token\":\"$TOKEN\""
}

teardown() {
    : >"$D/go"
    : >"$D/no-more"
    # What runs now is not what start_service has started.
    PIDS=$(cat "$D/program.pids")
    stop_backends
    remove_service
}

# start_backup [OPTION...]: in the background, until it waits for the disk.
start_backup() {
    mkdir "$D/work"
    (
        close_others
        export TMPDIR=$D/work
        exec "$BACKUP" full --curl-config "$D/curl.conf" \
            --token-file "$D/token" "$@" http://localhost/images/disk \
            "$D/backups.d/monday"
    ) </dev/null >"$D/backup.log" 2>&1 &
    running=$!
    echo $running >>"$D/requests"
    wait_for test -e "$D/reached"
    # And until some of the second request has come.
    wait_for has_bytes
}

has_bytes() {
    test -s "$D"/work/*/0.answer
}

kill_program() {
    kill -9 "$PID"
    wait_for is_gone "$PID"
}

start_again() {
    local ready

    ready=$(ready_count)
    : >"$D/again"
    wait_for have_begun $((ready + 1))
    : >"$D/go"
}

@test "a server that is killed: status 1, nothing under the backup's name, and the next try succeeds" {
    start_backup --tries 1
    [ ! -e "$D/backups.d/monday" ]
    kill_program
    status=0
    wait $running || status=$?
    [ "$status" = 1 ]
    has_line "$D/backup.log" '^imageio-backup: get: '
    [ -z "$(ls -A "$D/backups.d")" ]

    start_again
    backup_ok full http://localhost/images/disk "$D/backups.d/monday"
    cmp "$D/disk" "$D/backups.d/monday/disk.raw"
}

@test "a server that is killed and started again: the backup goes on where it was" {
    start_backup
    kill_program
    start_again
    status=0
    wait $running || status=$?
    cat "$D/backup.log"
    [ "$status" = 0 ]
    has_line "$D/backup.log" '; trying again$'
    cmp "$D/disk" "$D/backups.d/monday/disk.raw"
    # The first request was made once.
    [ "$(grep -c '^info: method=GET .* status=206 .* range=0-' "$D/program.log")" = 1 ]
}

@test "a backup that is ended by a signal leaves nothing" {
    start_backup
    client=$(ps -o pid= --ppid $running | xargs)
    kill -TERM $running
    # While the disk still says nothing.
    status=0
    wait $running || status=$?
    [ "$status" = 143 ]
    [ -z "$(ls -A "$D/work")" ]
    [ -n "$client" ]
    for pid in $client; do
        is_gone "$pid"
    done
    [ -z "$(ls -A "$D/backups.d")" ]
}
