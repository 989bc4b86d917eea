#!/usr/bin/env bats
# The program as a process (CONTRACT 10): how it is started, what it says when
# it cannot be, how it stops, what it logs.

load common

setup() {
    make_dir
    # So that an ended program's statuses can be asked for in any test.
    : >"$D/program.pids"
    : >"$D/program.statuses"
    : >"$D/program.log"
    PIDS=
}

teardown() {
    local failed=0

    stop_backends || failed=1
    PIDS=$(cat "$D/program.pids")
    remove_service || failed=1
    return $failed
}

# run_bad ARGUMENT...: the program, with no listening socket.
run_bad() {
    bad_status=0
    "$PROGRAM" "$@" </dev/null >"$D/stdout" 2>"$D/stderr" || bad_status=$?
}

assert_usage_error() { # one line on standard error, none elsewhere, exit 2
    if [ "$bad_status" != 2 ] || [ -s "$D/stdout" ] ||
        [ "$(wc -l <"$D/stderr")" != 1 ]; then
        echo "status $bad_status, output and errors:" >&2
        cat "$D/stdout" "$D/stderr" >&2
        return 1
    fi
}

# start_bare COUNT ARGUMENT...: the program with nothing but these, which may
# begin with variables (NAME=VALUE).
start_bare() {
    local count=$1

    shift
    spawn-fcgi -F "$count" -s "$D/fcgi.sock" -M 0666 -- \
        /bin/bash "$TOP/tests/e2e/launch.bash" "$D" \
        env "${variables[@]}" "$PROGRAM" "$@" \
        </dev/null >"$D/spawn.log" 2>&1 3>&- 4>&-
    wait_for has_pids "$count"
    PIDS=$(cat "$D/program.pids")
    PID=${PIDS%%$'\n'*}
}

start_file_image() { # of 64 MiB: larger than all buffers on the way
    make_disk "$D/disk" $((64 * MIB))
    file_ticket image "$D/disk"
}

has_ended() {
    has_line "$D/program.statuses" "^$PID "
}

# assert_ended_with STATUS [SECONDS]
assert_ended_with() {
    wait_for -t "${2:-5}" has_ended
    if ! has_line "$D/program.statuses" "^$PID $1\$"; then
        echo "expected $1: $(cat "$D/program.statuses")" >&2
        return 1
    fi
}

# The listening socket no longer gets an answer.
is_not_served() {
    ! curl -sS --max-time 1 --unix-socket "$SOCK" \
        http://localhost/images/no-such-ticket 2>&1 | grep -q image_id
}

option_names() {
    echo ticket-dir allow-uri run-dir workers max-readers max-writers \
        backend-timeout client-timeout limit-scope queue-timeout nbd-idle \
        file-handoff unix-socket user image-root sandbox log-level log-target
}

# --- the command line -------------------------------------------------------

@test "--help names every option, and ends with 0" {
    "$PROGRAM" --help </dev/null >"$D/stdout" 2>"$D/stderr"
    for name in $(option_names) help version; do
        has_line "$D/stdout" "--$name( |\$)"
    done
    [ ! -s "$D/stderr" ]
}

@test "--version says one line with a version, and ends with 0" {
    "$PROGRAM" --version </dev/null >"$D/stdout" 2>"$D/stderr"
    [ "$(wc -l <"$D/stdout")" = 1 ]
    has_line "$D/stdout" '^imageio-fcgi [0-9]+\.[0-9]+'
    [ ! -s "$D/stderr" ]
}

@test "an unknown option, or an argument, is one line and status 2" {
    for argument in --bogus --bogus=1 -x -h argument '' --help=1 \
        --versions; do
        run_bad "$argument"
        assert_usage_error
    done
    run_bad --workers 2 argument
    assert_usage_error
}

@test "an option without its value is one line and status 2" {
    for name in $(option_names); do
        run_bad "--$name"
        assert_usage_error
    done
}

@test "a number that is none, or is out of range, is one line and status 2" {
    for name in workers max-readers max-writers backend-timeout \
        client-timeout; do
        for value in '' x 1x 0 -1 +1 ' 1' '1 ' 1.5 0x10 1e3 \
            99999999999999999999999; do
            run_bad "--$name" "$value"
            assert_usage_error
            has_line "$D/stderr" "$name"
        done
    done
}

@test "a word that is not in the list is one line and status 2" {
    for value in '' x INFO infos 3; do
        run_bad --log-level "$value"
        assert_usage_error
        has_line "$D/stderr" log-level
        run_bad --log-target "$value"
        assert_usage_error
        has_line "$D/stderr" log-target
    done
}

@test "--nbd-idle: 0 is allowed; a number that is none, or too large, is not" {
    for value in '' x -1 1.5 3601 99999999999999999999999; do
        run_bad --nbd-idle "$value"
        assert_usage_error
        has_line "$D/stderr" nbd-idle
    done
    run_bad --nbd-idle 0 # only descriptor 0 is wrong
    has_line "$D/stderr" 'descriptor 0'
}

@test "--queue-timeout: 0 is allowed; a number that is none, or too large, is not" {
    for value in '' x -1 1.5 86401 99999999999999999999999; do
        run_bad --queue-timeout "$value"
        assert_usage_error
        has_line "$D/stderr" queue-timeout
    done
    run_bad --queue-timeout 0 # only descriptor 0 is wrong
    has_line "$D/stderr" 'descriptor 0'
}

@test "--allow-uri: anything but a list of the known schemes is one line and status 2" {
    for value in '' x http nbd: 'nbd,' ,nbd 'nbd nbds' 'nbd, nbds' nbd+ssh all; do
        run_bad --allow-uri "$value"
        assert_usage_error
        has_line "$D/stderr" allow-uri
    done
    run_bad --allow-uri nbd,nbds,nbd+unix,NBDS+UNIX # only descriptor 0 is wrong
    has_line "$D/stderr" 'descriptor 0'
}

@test "--limit-scope: neither server nor image is one line and status 2" {
    for value in '' x Image images; do
        run_bad --limit-scope "$value"
        assert_usage_error
        has_line "$D/stderr" limit-scope
    done
}

@test "--file-handoff: neither lighttpd nor nginx=/PREFIX is one line and status 2" {
    for value in '' x nginx nginx= nginx=/ nginx=images nginx=/a/ \
        'nginx=/a b' 'nginx=/a%20' Lighttpd lighttpd=/a; do
        run_bad --file-handoff "$value"
        assert_usage_error
        has_line "$D/stderr" file-handoff
    done
}

@test "an empty directory or path is one line and status 2" {
    for name in ticket-dir run-dir unix-socket; do
        run_bad "--$name" ''
        assert_usage_error
        has_line "$D/stderr" "$name"
    done
}

@test "a bad value in the environment is one line and status 2" {
    for variable in WORKERS=x MAX_READERS=0 MAX_WRITERS=-1 \
        BACKEND_TIMEOUT=1s NBD_IDLE=-1 FILE_HANDOFF=yes LOG_LEVEL=loud LOG_TARGET=file; do
        bad_status=0
        env "IMAGEIO_FCGI_$variable" "$PROGRAM" </dev/null \
            >"$D/stdout" 2>"$D/stderr" || bad_status=$?
        assert_usage_error
    done
}

@test "a descriptor 0 that does not listen is one line that shows how to start it, and status 2" {
    run_bad
    assert_usage_error
    has_line "$D/stderr" 'spawn-fcgi .*-s '
    # A file, a pipe, nothing at all.
    for input in "$D/stdout" /dev/zero; do
        bad_status=0
        "$PROGRAM" <"$input" >"$D/out" 2>"$D/stderr" || bad_status=$?
        mv "$D/out" "$D/stdout"
        assert_usage_error
        has_line "$D/stderr" spawn-fcgi
    done
    bad_status=0
    "$PROGRAM" <&- >"$D/stdout" 2>"$D/stderr" || bad_status=$?
    assert_usage_error
    has_line "$D/stderr" spawn-fcgi
}

@test "a socket that does not listen, as descriptor 0, is status 2 as well" {
    cat >"$D/start.py" <<END
import socket, subprocess, sys
pair, other = socket.socketpair()
bound = socket.socket(socket.AF_UNIX)
bound.bind(sys.argv[2])
stdin = pair if sys.argv[3] == "pair" else bound
sys.exit(subprocess.run([sys.argv[1]], stdin=stdin).returncode)
END
    for kind in pair bound; do
        rm -f "$D/bound.sock"
        bad_status=0
        python3 "$D/start.py" "$PROGRAM" "$D/bound.sock" $kind \
            >"$D/stdout" 2>"$D/stderr" || bad_status=$?
        assert_usage_error
        has_line "$D/stderr" spawn-fcgi
    done
}

# --- options and variables --------------------------------------------------

threads() { # the program's; the thread sanitizer's own is the second
    find "/proc/$PID/task" -mindepth 1 -maxdepth 1 | sort -V |
        if nm -D "$PROGRAM" | grep -q __tsan_; then sed 2d; else cat; fi
}

@test "OPTIONS: the defaults are 8 readers, 1 writer and no Unix socket" {
    variables=()
    start_bare 1 --ticket-dir "$D/tickets" --run-dir "$D/run"
    start_web
    nbd_ticket image nowhere
    http OPTIONS /images/image
    [ "$(jq -c '[.unix_socket, .max_readers, .max_writers]' \
        "$http_body")" = '[null,8,1]' ]
    # And 16 workers beside the main thread.
    [ "$(threads | wc -l)" = 17 ]
}

@test "each option has a variable" {
    mkdir "$D/tickets2"
    variables=(IMAGEIO_FCGI_TICKET_DIR="$D/tickets2"
        IMAGEIO_FCGI_RUN_DIR="$D/run2" IMAGEIO_FCGI_WORKERS=5
        IMAGEIO_FCGI_MAX_READERS=3 IMAGEIO_FCGI_MAX_WRITERS=2
        IMAGEIO_FCGI_BACKEND_TIMEOUT=1 IMAGEIO_FCGI_UNIX_SOCKET=/some/socket
        IMAGEIO_FCGI_LOG_LEVEL=error IMAGEIO_FCGI_LOG_TARGET=stderr)
    start_bare 1
    start_web
    nbd_ticket image mute
    mv "$D/tickets/image" "$D/tickets2/image"
    http OPTIONS /images/image
    [ "$(jq -c '[.unix_socket, .max_readers, .max_writers]' \
        "$http_body")" = '["/some/socket",3,2]' ]
    [ -d "$D/run2" ]
    [ "$(threads | wc -l)" = 6 ]
    echo mute >>"$D/backends"
    supervise mute socat -u "UNIX-LISTEN:$D/mute.sock,fork" OPEN:/dev/null
    wait_for test -S "$D/mute.sock"
    before=$SECONDS
    http GET /images/image
    assert_json_error 504 'backend timed out'
    [ $((SECONDS - before)) -le 3 ]
    # Only errors are logged, and that was one.
    run ! has_line "$D/program.log" '^(info|warning|debug)'
    has_line "$D/program.log" '^error: method=GET ticket=image status=504 '
}

@test "an option wins over a variable that is wrong" {
    run env IMAGEIO_FCGI_WORKERS=x "$PROGRAM" --workers 3 </dev/null
    assert_failure 2
    assert_output --partial 'descriptor 0'
    run env IMAGEIO_FCGI_WORKERS=x "$PROGRAM" --version
    assert_success
    run env IMAGEIO_FCGI_WORKERS=x "$PROGRAM" </dev/null
    assert_failure 2
    assert_output --partial IMAGEIO_FCGI_WORKERS
}

@test "an option wins over its variable" {
    mkdir "$D/tickets2"
    variables=(IMAGEIO_FCGI_TICKET_DIR=/nowhere
        IMAGEIO_FCGI_RUN_DIR="$D/run2" IMAGEIO_FCGI_WORKERS=9
        IMAGEIO_FCGI_MAX_READERS=9 IMAGEIO_FCGI_MAX_WRITERS=9
        IMAGEIO_FCGI_UNIX_SOCKET=/variable IMAGEIO_FCGI_LOG_LEVEL=error
        IMAGEIO_FCGI_LOG_TARGET=syslog)
    start_bare 1 --ticket-dir "$D/tickets2" --run-dir "$D/run" --workers 5 \
        --max-readers 3 --max-writers 2 --unix-socket /option \
        --log-level info --log-target stderr
    start_web
    nbd_ticket image nowhere
    mv "$D/tickets/image" "$D/tickets2/image"
    http OPTIONS /images/image
    [ "$(jq -c '[.unix_socket, .max_readers, .max_writers]' \
        "$http_body")" = '["/option",3,2]' ]
    [ -d "$D/run" ]
    [ ! -e "$D/run2" ]
    [ "$(threads | wc -l)" = 6 ]
    has_line "$D/program.log" '^info: method=OPTIONS ticket=image status=200 '
}

@test "--workers: a single worker serves one request after the other" {
    variables=()
    start_bare 1 --ticket-dir "$D/tickets" --run-dir "$D/run" --workers 1
    start_web
    make_disk "$D/disk" 100000
    file_ticket image "$D/disk"
    for i in 1 2 3 4 5; do
        http_start $i GET /images/image
    done
    for i in 1 2 3 4 5; do
        http_wait $i
        assert_status 200
        assert_body "$D/disk"
    done
}

switches() { # how often its threads have gone to sleep, all together
    threads | sed 's|$|/status|' | xargs cat |
        awk '/^voluntary_ctxt_switches/ { sum += $2 } END { print sum }'
}

is_settled() { # nothing has happened since it was asked last
    before=$now
    now=$(switches)
    [ "$now" = "$before" ]
}

@test "an idle program never wakes up, once what it kept is closed" {
    variables=()
    start_bare 1 --ticket-dir "$D/tickets" --run-dir "$D/run" --nbd-idle 1
    start_web
    start_nbdkit image memory 1M
    nbd_ticket image image
    http GET /images/image
    assert_status 200
    wait_for has_line "$D/image.nbdlog" "Disconnect"
    now=
    wait_for is_settled
    sleep 2 # not a wait for anything: the time that is looked at
    [ "$(switches)" = "$now" ]
}

@test "--run-dir: is made if it is missing" {
    start_programs 1
    start_web
    [ -d "$D/run" ]
    [ "$(stat -c %U "$D/run")" = "$(id -un)" ]
    # Nobody else may take the locks.
    [ "$(find "$D/run" -perm /022 | wc -l)" = 0 ]
}

@test "--run-dir: one that cannot be made is an error that names it" {
    : >"$D/file"
    for directory in "$D/file/run" /proc/run "$D/file"; do
        rm -f "$D/fcgi.sock"
        : >"$D/program.pids"
        : >"$D/program.statuses"
        : >"$D/program.log"
        variables=()
        start_bare 1 --ticket-dir "$D/tickets" --run-dir "$directory"
        wait_for -t 5 has_ended
        run ! has_line "$D/program.statuses" "^$PID 0\$"
        has_line "$D/program.log" "^error: .*$directory"
        [ "$(wc -l <"$D/program.log")" = 1 ]
    done
}

@test "--ticket-dir: one that is missing answers 404 and warns, until it is there" {
    variables=()
    start_bare 1 --ticket-dir "$D/later" --run-dir "$D/run"
    start_web
    http GET /images/image
    assert_json_error 404 'unknown image_id'
    has_line "$D/program.log" "^warning: .*$D/later"
    make_disk "$D/disk" 1000
    file_ticket image "$D/disk"
    mv "$D/tickets" "$D/later"
    http GET /images/image
    assert_status 200
    assert_body "$D/disk"
    mv "$D/later" "$D/tickets"
}

# --- starting ---------------------------------------------------------------

@test "spawn-fcgi -F 4: four processes serve, and each stops with 0" {
    start_programs 4
    start_web
    start_file_image
    [ "$(wc -w <<<"$PIDS")" = 4 ]
    for i in 1 2 3 4 5 6 7 8; do
        http_start $i GET /images/image
    done
    for i in 1 2 3 4 5 6 7 8; do
        http_wait $i
        assert_status 200
        assert_body "$D/disk"
    done
    for PID in $PIDS; do
        kill -TERM "$PID"
        assert_ended_with 0
    done
}

@test "spawn-fcgi -F 4: three that stop leave one that serves" {
    start_programs 4
    start_web
    make_disk "$D/disk" 1000
    file_ticket image "$D/disk"
    # shellcheck disable=SC2086
    set -- $PIDS
    for PID in "$1" "$2" "$3"; do
        kill -TERM "$PID"
        assert_ended_with 0
    done
    for i in 1 2 3 4 5 6 7 8 9 10; do
        http GET /images/image
        assert_status 200
        assert_body "$D/disk"
    done
}

# --- stopping ---------------------------------------------------------------

@test "SIGTERM: an idle program ends with 0 at once" {
    start_programs 1
    start_web
    kill -TERM "$PID"
    assert_ended_with 0 2
}

@test "SIGINT: an idle program ends with 0 at once" {
    start_programs 1
    start_web
    kill -INT "$PID"
    assert_ended_with 0 2
}

# assert_finishes SIGNAL: a download and an upload that run at the signal
# come to their ends, what comes later is not served.
assert_finishes() {
    make_disk "$D/new" $((64 * MIB))
    start_nbdkit disk memory 64M
    start_file_image
    nbd_ticket target disk
    start_programs 1
    start_web
    hold_reader down /images/image
    hold_writer up /images/target "$D/new" $((20 * MIB))
    wait_for has_commands disk Write
    kill "-$1" "$PID"
    wait_for is_not_served
    is_requesting down
    is_requesting up
    http_start late GET /images/image --max-time 30
    release down
    assert_status 200
    assert_body "$D/disk"
    is_running "$PID"
    release up
    assert_ok '{"ok":true,"bytes_written":67108864,"flushed":false}'
    assert_ended_with 0 2
    http_wait late
    [ "$http_status" -ge 500 ]
    qemu-img compare -q -f raw -F raw "$D/new" "$(nbd disk)"
    # Two requests were served after the web server's start.
    [ "$(grep -cE '^(info|error): method=(GET|PUT) ticket=(image|target)' \
        "$D/program.log")" = 2 ]
}

@test "SIGTERM: what runs is finished whole, nothing else is served, and it ends with 0" {
    assert_finishes TERM
}

@test "SIGINT: what runs is finished whole, nothing else is served, and it ends with 0" {
    assert_finishes INT
}

@test "SIGTERM: PATCH zero and extents that run are finished" {
    start_nbdkit slow eval get_size='echo 64M' can_write='exit 0' \
        can_zero='exit 0' can_extents='exit 0' \
        pread='head -c "$3" /dev/zero' pwrite='cat >/dev/null' \
        zero="until [ -e $D/go ]; do sleep 0.05; done" \
        extents="until [ -e $D/go ]; do sleep 0.05; done; echo 0 64M zero"
    nbd_ticket slow slow
    start_nbdkit slow2 eval get_size='echo 64M' can_extents='exit 0' \
        pread='head -c "$3" /dev/zero' \
        extents="until [ -e $D/go ]; do sleep 0.05; done; echo 0 64M zero"
    nbd_ticket slow2 slow2
    start_programs 1
    start_web
    http_start zero PATCH /images/slow -H 'Content-Type: application/json' \
        --data-binary '{"op":"zero","offset":0,"size":65536}'
    http_start map GET /images/slow2/extents
    wait_for has_commands slow Zero
    wait_for has_commands slow2 Extents
    kill -TERM "$PID"
    wait_for is_not_served
    : >"$D/go"
    http_wait zero
    assert_ok '{"ok":true}'
    http_wait map
    assert_status 200
    assert_body <(printf '[{"start":0,"length":67108864,"zero":true}]')
    assert_ended_with 0 2
}

# assert_cuts SIGNAL: the second one ends the program within seconds, and no
# client takes what it got for all of it.
assert_cuts() {
    make_disk "$D/new" $((64 * MIB))
    start_nbdkit disk memory 64M
    start_nbdkit source file "$D/new"
    start_file_image
    nbd_ticket target disk
    nbd_ticket source source
    start_programs 1
    start_web
    hold_reader down /images/image --max-time 40
    hold_reader down2 /images/source --max-time 40
    hold_writer up /images/target "$D/new" $((20 * MIB)) --max-time 40
    wait_for has_commands disk Write
    kill "-$1" "$PID"
    wait_for is_not_served
    is_running "$PID"
    kill "-$1" "$PID"
    assert_ended_with 0 9
    # The readers go on only now. What is cut is seen at once.
    before=$SECONDS
    release down
    assert_cut
    release down2
    assert_cut
    : >"$D/held.up.release"
    http_wait up
    [ "$http_status" != 200 ]
    [ $((SECONDS - before)) -le 10 ]
}

@test "SIGTERM twice: what runs is cut, clients see an error, and it ends with 0" {
    assert_cuts TERM
}

@test "SIGINT twice: what runs is cut, clients see an error, and it ends with 0" {
    assert_cuts INT
}

@test "SIGTERM twice: a file's upload that is cut leaves the old file" {
    make_disk "$D/new" $((64 * MIB))
    mkdir "$D/folder"
    echo old >"$D/folder/image"
    file_ticket image "$D/folder/image"
    start_programs 1
    start_web
    hold_writer up /images/image "$D/new" $((20 * MIB)) --max-time 40
    wait_for is_writing_file
    kill -TERM "$PID"
    wait_for is_not_served
    kill -TERM "$PID"
    assert_ended_with 0 9
    : >"$D/held.up.release"
    http_wait up
    [ "$http_status" != 200 ]
    [ "$(cat "$D/folder/image")" = old ]
    [ "$(ls -A "$D/folder")" = image ]
}

# The program has a file without a name open, below $D/folder.
is_writing_file() {
    find "/proc/$PID/fd" -lname "$D/folder/*" -printf '%l\n' | grep -q .
}

@test "SIGTERM twice: one that waits for a backend is cut" {
    echo mute >>"$D/backends"
    supervise mute socat -u "UNIX-LISTEN:$D/mute.sock,fork" OPEN:/dev/null
    wait_for test -S "$D/mute.sock"
    nbd_ticket image mute
    start_programs 1
    start_web
    http_start slow GET /images/image --max-time 40
    wait_for has_connected
    kill -TERM "$PID"
    wait_for is_not_served
    kill -TERM "$PID"
    assert_ended_with 0 5
    http_wait slow
    [ "$http_status" -ge 500 ]
}

has_connected() { # to the backend that says nothing
    ss -x | grep -q "$D/mute.sock"
}

# --- the log ----------------------------------------------------------------

request_lines() {
    grep -cE '^[a-z]+: method=[A-Z]+ ticket=' "$D/program.log" || [ $? = 1 ]
}

start_logged() { # LEVEL
    variables=()
    start_bare 1 --ticket-dir "$D/tickets" --run-dir "$D/run" \
        --log-level "$1"
    start_web
    make_disk "$D/disk" 1000
    file_ticket image-0123456789 "$D/disk"
}

@test "log: exactly one info line a request, of key=value" {
    local number='[0-9]+'

    start_logged info
    before=$(request_lines)
    http GET /images/image-0123456789
    http HEAD /images/image-0123456789
    http GET /images/image-0123456789 -H 'Range: bytes=100-199'
    http GET /images/image-0123456789 -H 'Range: x'
    http PUT /images/image-0123456789 -T "$D/disk"
    http OPTIONS /images/image-0123456789
    post /images/image-0123456789/flush
    http GET /images/unknown
    http GET /images/image-0123456789/unknown
    http DELETE /images/image-0123456789
    [ $(($(request_lines) - before)) = 10 ]
    tail -n 10 "$D/program.log" >"$D/lines"
    [ "$(grep -cE "^info: method=[A-Z]+ ticket=[^ ]+ status=$number resource=[a-z-]+ \
range=($number-$number|-) bytes=$number took_us=$number backend_us=$number \
client=[^ ]+ request=[0-9a-zA-Z._-]+ worker=$number( error=\"[^\"]*\")?\$" \
        "$D/lines")" = 10 ]
    has_line "$D/lines" '^info: method=GET ticket=image-01 status=200 resource=image range=0-999 bytes=1000 '
    has_line "$D/lines" '^info: method=GET ticket=image-01 status=206 resource=image range=100-199 bytes=100 '
    has_line "$D/lines" '^info: method=GET ticket=image-01 status=400 .* error="invalid Range header"$'
    has_line "$D/lines" '^info: method=PUT ticket=image-01 status=200 resource=image range=0-999 bytes=1000 '
    has_line "$D/lines" '^info: method=POST ticket=image-01 status=200 resource=flush range=- bytes=0 '
    has_line "$D/lines" '^info: method=GET ticket=unknown status=404 '
    has_line "$D/lines" '^info: method=DELETE ticket=image-01 status=405 '
    # Who watches is not logged, unless refused.
    http GET /status
    http GET /metrics
    http GET /images/image-0123456789/status
    http GET /images/unknown/status
    wait_for has_line "$D/program.log" ' ticket=unknown status=404 resource=- .*error'
    [ $(($(request_lines) - before)) = 11 ]
    # Each has a name of its own.
    [ "$(grep -oE ' request=[^ ]+' "$D/lines" | sort -u | wc -l)" = 10 ]
}

@test "log: a request that fails in the backend has one error line with its cause" {
    start_logged info
    nbd_ticket image nowhere
    before=$(request_lines)
    http GET /images/image
    assert_json_error 500 'backend error'
    [ $(($(request_lines) - before)) = 1 ]
    tail -n 1 "$D/program.log" >"$D/lines"
    has_line "$D/lines" '^error: method=GET ticket=image status=500 .* error=".*nowhere.*No such file or directory: is the NBD server running\?"$'
}

@test "log: no ticket id is ever logged beyond its eighth character" {
    start_logged debug
    nbd_ticket secret-secret-secret nowhere
    echo x >"$D/tickets/secret-broken-broken"
    for id in secret-secret-secret secret-broken-broken \
        secret-unknown-unknown; do
        for path in /images/$id /images/$id/extents /images/$id/flush \
            /images/$id/other /other/$id /images/$id/a/b; do
            for method in GET PUT PATCH POST OPTIONS DELETE; do
                http $method "$path" -d '{"op":"flush"}' \
                    -H 'Content-Type: application/json'
            done
        done
        http GET "/images/$id/extents?context=dirty"
    done
    has_line "$D/program.log" 'ticket=secret-s'
    run ! has_line "$D/program.log" 'secret-[a-z][a-z]'
}

@test "log: what a client says is escaped" {
    start_logged debug
    before=$(wc -l <"$D/program.log")
    fcgi $'GE\nT' /images/image-0123456789 </dev/null
    fcgi GET $'/images/ab\033[31m\ncd' </dev/null
    fcgi GET '/images/"q" =x' </dev/null
    fcgi GET $'/images/\303\251\377' </dev/null
    fcgi GET /images/image-0123456789 HTTP_RANGE=$'bytes=\r\n1' </dev/null
    [ "$(wc -l <"$D/program.log")" = $((before + 5)) ]
    run ! grep -P '[^\x20-\x7e]' "$D/program.log"
    has_line "$D/program.log" '^info: method=GE\\x0aT ticket=image-01 status=405 '
    # Eight characters, none of them broken off.
    fcgi GET '/images/abcdefg"tail' </dev/null
    tail -n 1 "$D/program.log" >"$D/lines"
    has_line "$D/lines" '^info: method=GET ticket=abcdefg(\\x22)? status=404 '
}

@test "log: escaped names of tickets in warnings, too" {
    start_logged debug
    nbd_ticket $'\303\251\"x' nowhere
    http OPTIONS /images/%C3%A9%22x
    assert_status 200
    start_nbdkit disk memory 1M
    nbd_ticket $'\303\251\"y' disk
    http GET '/images/%C3%A9%22y/extents?context=dirty'
    assert_status 200
    [ "$(grep -c '^warning: ' "$D/program.log")" = 2 ]
    run ! grep -P '[^\x20-\x7e]' "$D/program.log"
}

has_lines() { # COUNT: the log, which is written after the answer
    [ "$(wc -l <"$D/program.log")" = "$1" ]
}

@test "log: what a client puts into JSON is escaped" {
    start_logged debug
    start_nbdkit disk memory 1M
    nbd_ticket disk disk
    before=$(wc -l <"$D/program.log")
    json /images/disk $'{"op":\n\x1b[31m"\nerror: method=PUT ticket=forged'
    assert_json_error_like 400 'invalid JSON: '
    json /images/disk $'{"op":"\\u000aerror: method=PUT ticket=forged status=500"}'
    assert_status 400
    wait_for has_lines $((before + 2))
    run ! has_line "$D/program.log" '^error'
    run ! grep -P '[^\x20-\x7e]' "$D/program.log"
}

@test "log: a web server that is known to fail transfers is a warning, once" {
    start_service
    fcgi OPTIONS '/images/*' SERVER_SOFTWARE=lighttpd/1.4.85 </dev/null
    run ! grep 'known to be bad' "$D/program.log"
    for _ in 1 2; do
        fcgi OPTIONS '/images/*' SERVER_SOFTWARE=lighttpd/1.4.84 </dev/null
        assert_status 200
    done
    [ "$(grep -c '^warning: lighttpd/1.4.84 is known to be bad: ' \
        "$D/program.log")" = 1 ]
}

@test "--log-level: warning leaves out what was well, error what was refused" {
    start_logged warning
    http GET /images/image-0123456789
    [ ! -s "$D/program.log" ]
    echo x >"$D/tickets/broken"
    http GET /images/broken
    wait_for has_line "$D/program.log" '^warning: .*ticket=broken'
    [ "$(wc -l <"$D/program.log")" = 1 ]
}

@test "--log-target syslog: nothing is written to standard error" {
    variables=()
    start_bare 1 --ticket-dir "$D/tickets" --run-dir "$D/run" \
        --log-level debug --log-target syslog
    start_web
    nbd_ticket image nowhere
    http GET /images/image
    assert_json_error 500 'backend error'
    http GET /images/unknown
    assert_json_error 404 'unknown image_id'
    kill -TERM "$PID"
    assert_ended_with 0
    [ ! -s "$D/program.log" ]
}

@test "--log-target syslog: the lines go to syslog" {
    # A /dev of its own for the program, with a log that we read.
    mkdir "$D/dev"
    echo syslog >>"$D/backends"
    supervise syslog socat -u "UNIX-RECV:$D/dev/log,mode=666" \
        "OPEN:$D/syslog.lines,creat,append"
    wait_for test -S "$D/dev/log"
    cat >"$D/in-own-dev" <<END
mount --bind "$D/dev" /dev
exec "$PROGRAM" --ticket-dir "$D/tickets" --run-dir "$D/run" \\
    --log-target syslog
END
    spawn-fcgi -F 1 -s "$D/fcgi.sock" -M 0666 -- \
        /bin/bash "$TOP/tests/e2e/launch.bash" "$D" \
        unshare --mount --propagation private sh -e "$D/in-own-dev" \
        </dev/null >"$D/spawn.log" 2>&1 3>&- 4>&-
    wait_for has_pids 1
    PID=$(cat "$D/program.pids")
    start_web
    nbd_ticket image-0123456789 nowhere
    http GET /images/image-0123456789
    assert_json_error 500 'backend error'
    wait_for has_line "$D/syslog.lines" \
        'imageio-fcgi\[[0-9]+\]: method=GET ticket=image-01 status=500 '
    # <27> is a daemon's error.
    has_line "$D/syslog.lines" '<27>.*method=GET ticket=image-01 status=500 '
    kill -TERM "$PID"
    assert_ended_with 0
    [ ! -s "$D/program.log" ]
}
