#!/usr/bin/env bats
# Bodies of any length pass through: gigabytes each way leave no temporary file
# behind nginx, a bounded amount behind lighttpd, and little memory in the
# program.

load common

LENGTH=$((4 * GIB)) # of the nbd image; the file has a quarter of it
MEMORY_MAX_KIB=$((32 * 1024))
# Of lighttpd, at any moment. It takes uploads in bursts, as much as a client
# has ready while it looks: 145 MB were seen, of 1 GiB and of 4 GiB.
DOWNLOAD_TEMPORARY_MAX=$((64 * MIB))
UPLOAD_TEMPORARY_MAX=$((512 * MIB))

setup_file() {
    start_service
    # Costs no disk; read as zeroes.
    truncate -s $LENGTH "$D/sparse"
    truncate -s $((LENGTH / 4)) "$D/quarter"
    start_watch
}

teardown_file() {
    local failed=0

    : >"$D/watch.stop"
    wait_for test -e "$D/watch.status" || failed=1
    if [ "$(cat "$D/watch.status")" != 0 ]; then
        cat "$D/watch.log" >&2
        failed=1
    fi
    stop_service || failed=1
    return $failed
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

# Looks all the time at the web server's temporary files: at those that it has
# open, which may have no name any more, and at those that it has not. The most
# bytes that were seen at once are kept in watch.most, until that is emptied. A
# file that is empty counts one byte. One process, so that a look is short:
# files come and go meanwhile.
start_watch() {
    cat >"$D/watch.py" <<'END'
import os, sys, time
top, web = sys.argv[1], int(sys.argv[2])
folders = tuple(f"{top}/web/{name}/" for name in ("nginx", "upload"))
most, looks = -1, open(f"{top}/watch.looks", "w", buffering=1)


def look():
    sizes = {}
    with open(f"/proc/{web}/task/{web}/children") as children:
        pids = [web, *map(int, children.read().split())]
    for pid in pids:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{fd}"
            try:
                if os.readlink(path).startswith(folders):
                    status = os.stat(path)
                    sizes[status.st_ino] = status.st_size + 1
            except FileNotFoundError:
                pass
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                try:
                    status = os.lstat(f"{path}/{name}")
                    sizes[status.st_ino] = status.st_size + 1
                except FileNotFoundError:
                    pass
    return sum(sizes.values())


while not os.path.exists(f"{top}/watch.stop"):
    if os.path.getsize(f"{top}/watch.most") == 0:
        most = -1
    now = look()
    if now > most:
        most = now
        with open(f"{top}/watch.new", "w") as file:
            print(most, file=file)
        os.replace(f"{top}/watch.new", f"{top}/watch.most")
    print(file=looks)
    time.sleep(0.01)
END
    : >"$D/watch.most"
    supervise watch python3 "$D/watch.py" "$D" "$(cat "$D/web.pid")"
    wait_for test -s "$D/watch.looks"
}

# When, to the nanosecond, an entry was last made or deleted in each of the
# web server's directories for temporary files: a file that lived for a
# moment changes it.
temporary_times() {
    find "$D/web/nginx" "$D/web/upload" -type d -printf '%T@ %C@ %p\n' |
        sort
}

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

assert_few_temporary_files() { # MAXIMUM, for lighttpd
    echo "temporary bytes: $(cat "$D/watch.most")"
    case $WEB in
    nginx)
        [ "$(cat "$D/watch.most")" = 0 ]
        diff <(echo "$times") <(temporary_times)
        ;;
    lighttpd)
        [ "$(cat "$D/watch.most")" -lt "$1" ]
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
    assert_few_temporary_files $DOWNLOAD_TEMPORARY_MAX
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
    assert_few_temporary_files $DOWNLOAD_TEMPORARY_MAX
}

@test "GET: 1 GiB of a file to a client that pauses needs neither memory nor disk" {
    times=$(temporary_times)
    assert_watched download_slowly /images/file $((LENGTH / 4))
    assert_little_memory
    assert_few_temporary_files $DOWNLOAD_TEMPORARY_MAX
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
    assert_few_temporary_files $UPLOAD_TEMPORARY_MAX
}

@test "PUT: 1 GiB by Content-Range needs little memory, and no disk behind nginx" {
    times=$(temporary_times)
    assert_watched put /images/null "$D/quarter" \
        -H "Content-Range: bytes $GIB-$((2 * GIB - 1))/$LENGTH"
    assert_ok "{\"ok\":true,\"bytes_written\":$GIB,\"flushed\":false}"
    assert_little_memory
    assert_few_temporary_files $UPLOAD_TEMPORARY_MAX
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
    assert_few_temporary_files $UPLOAD_TEMPORARY_MAX
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
    assert_few_temporary_files $DOWNLOAD_TEMPORARY_MAX
}
