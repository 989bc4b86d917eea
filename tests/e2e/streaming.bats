#!/usr/bin/env bats
# Bodies of any length pass through: gigabytes each way leave no temporary file
# behind nginx, a bounded amount behind lighttpd, and little memory in the
# program.

load common

LENGTH=$((4 * GIB)) # of the nbd image; the file has a quarter of it
MEMORY_MAX_KIB=$((32 * 1024))
TEMPORARY_MAX=$((64 * MIB)) # lighttpd's, at any moment

setup_file() {
    start_service
    # Costs no disk; read as zeroes.
    truncate -s $LENGTH "$D/sparse"
    truncate -s $((LENGTH / 4)) "$D/quarter"
    start_watch
}

teardown_file() {
    : >"$D/watch.stop"
    stop_service
}

setup() {
    start_nbdkit null null 4G
    nbd_ticket null null
    file_ticket file "$D/quarter"
    : >"$D/watch.most"
}

teardown() {
    stop_backends
}

web_pids() {
    local pid

    pid=$(cat "$D/web.pid")
    echo "$pid"
    pgrep -P "$pid" || [ $? = 1 ] # lighttpd has no children
}

# Bytes that the web server has in temporary files now: in those that it has
# open, which may have no name any more, and in those that it has not.
temporary_bytes() {
    local pid

    {
        for pid in $(web_pids); do
            find "/proc/$pid/fd" -mindepth 1 \
                \( -lname "$D/web/nginx/*" -o -lname "$D/web/upload/*" \) \
                -exec stat -L -c '%i %s' {} + 2>/dev/null
        done
        find "$D/web/nginx" "$D/web/upload" -type f -printf '%i %s\n' \
            2>/dev/null
    } | sort -u | awk '!seen[$1]++ { sum += $2 + 1 } END { print sum + 0 }'
}

# Looks all the time; the most that was seen is kept in watch.most. A file
# that is empty counts one byte.
start_watch() {
    (
        most=0
        until [ -e "$D/watch.stop" ]; do
            [ -s "$D/watch.most" ] || most=0
            now=$(temporary_bytes)
            if ((now > most)) || [ ! -s "$D/watch.most" ]; then
                most=$now
                echo "$most" >"$D/watch.most"
            fi
            echo >>"$D/watch.looks"
            sleep 0.02
        done
    ) </dev/null >/dev/null 2>&1 3>&- 4>&- &
    wait_for test -s "$D/watch.looks"
}

# When, to the nanosecond, an entry was last made or deleted in each of the
# web server's directories for temporary files: a file that lived for a
# moment changes it.
temporary_times() {
    find "$D/web/nginx" "$D/web/upload" -type d -printf '%T@ %C@ %p\n' |
        sort
}

# looks_since COUNT: some looks later than then
has_looked() { # COUNT
    [ "$(wc -l <"$D/watch.looks")" -ge "$1" ]
}

assert_watched() { # at least three looks during COMMAND
    local before

    before=$(wc -l <"$D/watch.looks")
    "$@"
    if ! has_looked $((before + 3)); then
        echo "the watch has not looked during $*" >&2
        return 1
    fi
}

assert_little_memory() {
    local peak

    # The peak of the program's whole life, all tests of this file included.
    peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$PID/status")
    echo "VmHWM: $peak KiB"
    # A sanitizer has its own memory.
    if ! is_sanitized; then
        [ "$peak" -lt $MEMORY_MAX_KIB ]
    fi
}

assert_few_temporary_files() {
    echo "temporary bytes: $(cat "$D/watch.most")"
    case $WEB in
    nginx)
        [ "$(cat "$D/watch.most")" = 0 ]
        diff <(echo "$times") <(temporary_times)
        ;;
    lighttpd)
        [ "$(cat "$D/watch.most")" -lt $TEMPORARY_MAX ]
        ;;
    esac
}

# start_slow_download NAME PATH: a reader that takes a little, stops until
# release, and then counts the rest.
start_slow_download() {
    rm -f "$D/held.$1".*
    mkfifo "$D/held.$1.fifo"
    http_output=$D/held.$1.fifo http_start "$1" GET "$2"
    (
        head -c 1000000 >"$D/held.$1.first"
        until [ -e "$D/held.$1.release" ]; do
            sleep 0.05
        done
        wc -c >"$D/held.$1.count"
    ) <"$D/held.$1.fifo" 3>&- 4>&- &
    echo $! >>"$D/requests"
    wait_for has_head "$1"
}

download_slowly() { # PATH LENGTH
    start_slow_download slow "$1"
    # The program has filled what there is to fill, and waits: its log of
    # NBD commands, or its CPU time, stands still.
    wait_for is_stalled
    looks=$(wc -l <"$D/watch.looks")
    wait_for has_looked $((looks + 10))
    is_requesting slow
    assert_little_memory
    assert_few_temporary_files
    : >"$D/held.slow.release"
    http_wait slow
    assert_status 200
    assert_header Content-Length "$2"
    wait_for test -s "$D/held.slow.count"
    [ "$(stat -c %s "$D/held.slow.first")" = 1000000 ]
    [ "$(cat "$D/held.slow.count")" = $(($2 - 1000000)) ]
}

# CPU time of the program in ticks.
ticks() {
    awk '{ print $14 + $15 }' "/proc/$PID/stat"
}

is_stalled() {
    local before looks

    before=$(ticks)
    looks=$(wc -l <"$D/watch.looks")
    wait_for has_looked $((looks + 10))
    [ "$(ticks)" = "$before" ]
}

@test "GET: 4 GiB of nbd to a client that pauses needs neither memory nor disk" {
    times=$(temporary_times)
    assert_watched download_slowly /images/null $LENGTH
    assert_little_memory
    assert_few_temporary_files
}

@test "GET: 1 GiB of a file to a client that pauses needs neither memory nor disk" {
    times=$(temporary_times)
    assert_watched download_slowly /images/file $((LENGTH / 4))
    assert_little_memory
    assert_few_temporary_files
}

@test "GET: the program reads no further ahead of a client that pauses than its buffers" {
    start_slow_download slow /images/null
    wait_for is_stalled
    read=$(grep -cE ' Read id=[0-9]+ .*\.\.\.$' "$D/null.nbdlog")
    size=$(sed -nE 's/.* Read id=1 .*count=(0x[0-9a-f]+) .*/\1/p' \
        "$D/null.nbdlog" | head -n 1)
    echo "$read reads of $((size)) bytes"
    [ $((read * size)) -lt $((32 * MIB)) ]
    http_kill slow
}

@test "PUT: 4 GiB to nbd needs little memory, and no disk behind nginx" {
    times=$(temporary_times)
    assert_watched put /images/null "$D/sparse"
    assert_ok "{\"ok\":true,\"bytes_written\":$LENGTH,\"flushed\":false}"
    assert_little_memory
    assert_few_temporary_files
}

@test "PUT: 1 GiB by Content-Range needs little memory, and no disk behind nginx" {
    times=$(temporary_times)
    assert_watched put /images/null "$D/quarter" \
        -H "Content-Range: bytes $GIB-$((2 * GIB - 1))/$LENGTH"
    assert_ok "{\"ok\":true,\"bytes_written\":$GIB,\"flushed\":false}"
    assert_little_memory
    assert_few_temporary_files
}

@test "PUT: a slow backend fills neither memory nor disk" {
    start_nbdkit slow --filter=noparallel --filter=delay null 4G \
        serialize=requests wdelay=100ms
    nbd_ticket slow slow
    times=$(temporary_times)
    http_start upload PUT /images/slow -T "$D/sparse"
    wait_for has_commands slow Write
    wait_for has_written 20
    is_requesting upload
    assert_little_memory
    assert_few_temporary_files
    http_kill upload
}

has_written() { # COUNT
    [ "$(commands slow Write)" -ge "$1" ]
}

@test "GET extents: a list of a million extents needs little memory" {
    start_nbdkit map eval get_size='echo 64G' \
        pread='head -c "$3" /dev/zero' can_extents='exit 0' \
        extents='awk -v at="$4" "BEGIN { for (i = 0; i < 32768; i++)
            printf \"%.0f 65536 %s\\n\", at + i * 65536,
                   i % 2 ? \"zero\" : \"\" }"'
    nbd_ticket map map
    times=$(temporary_times)
    http GET /images/map/extents
    assert_status 200
    [ "$(jq length "$http_body")" = $((64 * GIB / 65536)) ]
    assert_little_memory
    assert_few_temporary_files
}
