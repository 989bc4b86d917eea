# common.bash - what every end-to-end test stands on: the program behind a
# real web server (WEB=nginx|lighttpd) with its shipped configuration, NBD
# servers, tickets, HTTP requests, and assertions about the answers.
#
# All that a file of tests makes is below $D, all it starts is noted there:
#   tickets/      the ticket directory
#   run/          the program's run directory
#   program.*     pids, statuses and log of the program (launch.bash)
#   web.*         pid, status and log of the web server
#   NAME.*        NBD server NAME: NAME.sock, NAME.pid, NAME.nbdlog ...

bats_require_minimum_version 1.5.0
load /usr/lib/bats/bats-support/load
load /usr/lib/bats/bats-assert/load

TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
WEB=${WEB:-nginx}
PROGRAM=${PROGRAM:-$TOP/build/imageio-fcgi}
EXAMPLES=${EXAMPLES:-$TOP} # configurations of the web servers
WWW=${WWW:-$TOP/deploy/www} # the page

# Sanitizers: abort the program with a status of their own.
export ASAN_OPTIONS=${ASAN_OPTIONS:-exitcode=99}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

# Most tests make their files as the user who runs them, whom the program has to
# be as well; sandbox.bats has it change from root to another one.
if [ "$(id -u)" = 0 ]; then
    export IMAGEIO_FCGI_USER=${IMAGEIO_FCGI_USER:-root}
fi

KIB=1024
MIB=$((1024 * 1024))
GIB=$((1024 * 1024 * 1024))

# --- waiting ---------------------------------------------------------------

# wait_for [-t SECONDS] COMMAND...: until COMMAND succeeds, else fails.
wait_for() {
    local seconds=30 deadline

    if [ "$1" = -t ]; then
        seconds=$2
        shift 2
    fi
    deadline=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > deadline)); then
            echo "waited $seconds s in vain for: $*" >&2
            return 1
        fi
        sleep 0.05
    done
}

is_running() { # PID; what only waits to be reaped is not running
    [ -d "/proc/$1" ] && ! grep -q "^State:.Z" "/proc/$1/status" 2>/dev/null
}

is_gone() { # PID
    ! is_running "$1"
}

has_line() { # FILE REGEX: some line of FILE matches
    grep -qE -- "$2" "$1"
}

# --- processes -------------------------------------------------------------

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# close_others: all descriptors of bats, in a subshell that goes into the
# background. Else bats waits for it to end.
close_others() {
    local fd

    for fd in "/proc/$BASHPID/fd"/*; do
        fd=${fd##*/}
        # 255 is bash's own, and is closed by exec.
        if ((fd > 2 && fd != 255)); then
            eval "exec $fd>&-"
        fi
    done
}

# supervise NAME COMMAND...: in the background, with its pid in NAME.pid, in
# the end its status in NAME.status, its output in NAME.log.
supervise() {
    local name=$1

    shift
    rm -f "$D/$name.pid" "$D/$name.status"
    (
        set +e
        close_others
        "$@" &
        echo $! >"$D/$name.pid.new"
        mv "$D/$name.pid.new" "$D/$name.pid"
        wait $!
        echo $? >"$D/$name.status.new"
        mv "$D/$name.status.new" "$D/$name.status"
    ) </dev/null >>"$D/$name.log" 2>&1 &
    wait_for test -s "$D/$name.pid"
}

# stop NAME: what supervise started, by SIGTERM; fails if it will not go.
stop() {
    local pid

    pid=$(cat "$D/$1.pid") || return 1
    # Once it has ended its pid may be another process's.
    if [ ! -e "$D/$1.status" ] && is_running "$pid"; then
        kill "$pid" || : # it may end at this very moment
    fi
    wait_for test -e "$D/$1.status" && return 0
    kill -9 "$pid"
    return 1
}

# --- the program and the web server ----------------------------------------

make_dir() {
    D=$(mktemp -d "${E2E_BASE:-/tmp}/iXXXXXX")
    export D
    chmod 755 "$D"
    mkdir "$D/tickets" "$D/web" "$D/web/nginx" "$D/web/upload"
    : >"$D/backends"
    : >"$D/requests"
    if [ "$(id -u)" = 0 ]; then
        # The web server's user writes there, its workers or its logs.
        chown www-data: "$D/web" "$D/web/upload"
    fi
}

# start_programs COUNT [OPTION...]: COUNT processes on one listening socket.
# $LAUNCH may take the place of launch.bash.
start_programs() {
    local count=$1 ready pid

    shift
    ready=$(ready_count)
    rm -f "$D/program.pids" "$D/program.statuses" "$D/fcgi.sock"
    : >"$D/program.statuses"
    (
        close_others
        exec spawn-fcgi -F "$count" -s "$D/fcgi.sock" -M 0666 -- \
            /bin/bash "${LAUNCH:-$TOP/tests/e2e/launch.bash}" "$D" \
            "$PROGRAM" --ticket-dir "$D/tickets" --run-dir "$D/run" \
            --log-level debug "$@"
    ) </dev/null >"$D/spawn.log" 2>&1
    wait_for has_pids "$count"
    PIDS=$(sort -n "$D/program.pids" | tr '\n' ' ')
    PID=${PIDS%% *}
    export PIDS PID
    wait_for have_begun $((ready + count))
    for pid in $PIDS; do
        fd_count "$pid" >"$D/idle_fds.$pid"
    done
}

has_pids() { # COUNT
    [ "$(wc -l <"$D/program.pids")" = "$1" ]
}

ready_count() {
    grep -c '^info: ready ' "$D/program.log" 2>/dev/null || true
}

have_begun() { # COUNT: of all programs that ever logged there
    [ "$(ready_count)" = "$1" ]
}

# The very files that are shipped, with other paths, and with what they hold as
# a comment where WEB_SED, a script for sed, says so.
start_web() {
    SOCK=$D/web.sock
    export SOCK
    rm -f "$SOCK"
    case $WEB in
    nginx)
        sed -e "s|/run/imageio-fcgi/fcgi.sock|$D/fcgi.sock|" \
            -e "s|/var/lib/nginx|$D/web/nginx|" \
            -e "s|/var/log/nginx|$D/web|" \
            -e "s|/run/nginx.pid|$D/web/nginx.pid|" \
            -e "s|listen 127.0.0.1:54323|listen unix:$SOCK|" \
            -e "${WEB_SED:-}" "$EXAMPLES/nginx.conf.example" >"$D/web.conf"
        supervise web nginx -c "$D/web.conf" -e "$D/web/start.log" \
            -g 'daemon off;'
        ;;
    lighttpd)
        # A Unix socket is bound before lighttpd becomes its user, and has
        # no port.
        sed -e "s|/run/imageio-fcgi/fcgi.sock|$D/fcgi.sock|" \
            -e "s|/dev/shm|$D/web/upload|" \
            -e "s|/var/log/lighttpd|$D/web|" \
            -e "s|/run/lighttpd.pid|$D/web/lighttpd.pid|" \
            -e "s|^server.bind = .*|server.bind = \"$SOCK\"|" \
            -e "/^server.port = /d" \
            -e "${WEB_SED:-}" "$EXAMPLES/lighttpd.conf.example" >"$D/web.conf"
        supervise web lighttpd -D -f "$D/web.conf"
        ;;
    *)
        echo "WEB=$WEB: neither nginx nor lighttpd" >&2
        return 1
        ;;
    esac
    wait_for test -S "$SOCK"
    wait_for is_answering
}

is_answering() {
    curl -sS --max-time 5 --unix-socket "$SOCK" \
        http://localhost/images/no-such-ticket |
        grep -q '^{"error":"unknown image_id"}$'
}

# start_service [OPTION...]: one process of the program, and the web server.
start_service() {
    start_service_of 1 "$@"
}

start_service_of() { # COUNT [OPTION...]
    make_dir
    start_programs "$@"
    start_web
}

# stop_service: fails unless the program outlived all tests, stops with
# status 0, and its log holds no sanitizer's report. In teardown_file there
# is no errexit: every failure is kept by hand.
stop_service() {
    local pid failed=0

    stop_backends || failed=1
    for pid in $PIDS; do
        if ! is_running "$pid"; then
            echo "program $pid died: $(cat "$D/program.statuses")" >&2
            failed=1
            continue
        fi
        kill -TERM "$pid"
        if ! wait_for has_line "$D/program.statuses" "^$pid "; then
            kill -9 "$pid"
            failed=1
        elif ! has_line "$D/program.statuses" "^$pid 0$"; then
            echo "program ended: $(cat "$D/program.statuses")" >&2
            failed=1
        fi
    done
    remove_service || failed=1
    return $failed
}

# was_refused: system calls of the program that the kernel has logged since this
# directory was made, if we may see its log.
was_refused() {
    dmesg 2>/dev/null | awk -v began="$(stat -c %W "$D")" -v pids=" $PIDS " '
        / type=1326 / && match($0, /audit\([0-9]+/) {
            at = substr($0, RSTART + 6, RLENGTH - 6)
            match($0, / pid=[0-9]+/)
            pid = substr($0, RSTART + 5, RLENGTH - 5)
            if (at >= began && index(pids, " " pid " ")) {
                print
                found = 1
            }
        }
        END { exit !found }'
}

# remove_service: where the test itself has ended the program.
remove_service() {
    local pid failed=0

    for pid in $PIDS; do
        if is_running "$pid"; then
            kill -9 "$pid"
            wait_for is_gone "$pid" || failed=1
        fi
    done
    if [ -e "$D/web.pid" ]; then
        stop web || failed=1
    fi
    if was_refused >&2; then
        echo "the sandbox has refused these system calls" >&2
        failed=1
    fi
    if grep -E 'Sanitizer|runtime error' "$D/program.log" >&2; then
        grep -A40 -E 'Sanitizer|runtime error' "$D/program.log" >&2
        failed=1
    fi
    if [ "$failed" = 1 ]; then
        echo "last lines of the program's log:" >&2
        tail -n 30 "$D/program.log" >&2
    fi
    rm -rf "$D" || failed=1
    return $failed
}

# fd_count [PID]: the program's descriptors, but for the connections that the
# web server keeps open to it.
fd_count() {
    local pid=${1:-$PID} all kept

    all=$(find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l)
    kept=$(ss -xpH state connected | grep -F " $D/fcgi.sock " |
        grep -c "pid=$pid,") || kept=0
    echo $((all - kept))
}

# idle_fds [PID]: fd_count of a program that serves nothing, as noted before its
# first request. (After an answer it may take a moment to be idle.)
idle_fds() {
    cat "$D/idle_fds.${1:-$PID}"
}

has_fds() { # COUNT
    [ "$(fd_count)" = "$1" ]
}

is_sanitized() {
    nm -D "$PROGRAM" | grep -qE '__(asan|tsan|ubsan)_'
}

# --- NBD servers -----------------------------------------------------------

# start_nbdkit NAME ARGUMENT...: on $D/NAME.sock. NAME.nbdlog gets a line for
# every command (nbdkit-log-filter).
start_nbdkit() {
    local name=$1

    shift
    rm -f "$D/$name.sock" "$D/$name.ready" "$D/$name.nbdlog"
    echo "$name" >>"$D/backends"
    supervise "$name" nbdkit -f -U "$D/$name.sock" \
        -P "$D/$name.ready" --filter=log "$@" logfile="$D/$name.nbdlog"
    wait_for test -s "$D/$name.ready"
}

# start_qemu_nbd NAME ARGUMENT...: on $D/NAME.sock, for any number of clients.
start_qemu_nbd() {
    local name=$1

    shift
    rm -f "$D/$name.sock" "$D/$name.ready"
    echo "$name" >>"$D/backends"
    supervise "$name" qemu-nbd -t -e 0 -k "$D/$name.sock" \
        --pid-file="$D/$name.ready" "$@"
    wait_for test -s "$D/$name.ready"
}

# start_deaf NAME: listens on $D/NAME.sock, and never takes a connection.
start_deaf() {
    supervise "$1" python3 -c 'import signal, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(5)
signal.pause()' "$D/$1.sock"
    echo "$1" >>"$D/backends"
    wait_for test -S "$D/$1.sock"
}

# stop_backends: all NBD servers of this test, and requests still running.
stop_backends() {
    local name failed=0

    stop_requests
    # The program closes what it keeps for them: nbdkit waits for its clients.
    rm -f "$D/tickets"/*
    for name in $(sort -u "$D/backends"); do
        stop "$name" || failed=1
        rm -f "$D/$name".*
    done
    : >"$D/backends"
    : >"$D/requests"
    return $failed
}

# commands NAME COMMAND: how many such commands NBD server NAME was sent.
commands() {
    grep -cE " $2 id=[0-9]+ .*\.\.\.$" "$D/$1.nbdlog"
}

has_commands() { # NAME COMMAND
    grep -qE " $2 id=[0-9]+ .*\.\.\.$" "$D/$1.nbdlog"
}

# nbd NAME: the URI of NBD server NAME, for qemu-img and nbdinfo.
nbd() {
    echo "nbd+unix:///?socket=$D/$1.sock"
}

# --- tickets ---------------------------------------------------------------

# ticket ID JSON: appears at once as a whole.
ticket() {
    (umask 077 && printf '%s' "$2" >"$D/ticket.new")
    mv "$D/ticket.new" "$D/tickets/$1"
}

nbd_ticket() { # ID NAME [MORE_KEYS, like ',"read_only":true']
    ticket "$1" "{\"backend\":\"nbd\",\"socket\":\"$D/$2.sock\"${3:-}}"
}

file_ticket() { # ID FILE [MORE_KEYS]
    ticket "$1" "{\"backend\":\"file\",\"file\":\"$2\"${3:-}}"
}

# --- requests --------------------------------------------------------------

# http METHOD PATH [CURL_OPTION...]: sets $http_status, $http_exit (curl's),
# $http_headers and $http_body (files).
http() {
    http_start now "$@"
    http_wait now
}

# http_start NAME METHOD PATH [CURL_OPTION...]: the same in the background,
# for http_wait. http_input and http_output replace curl's standard input
# and the file of the body.
http_start() {
    local at=$D/request.$1 method=$2 path=$3 how

    shift 3
    how=(-X "$method")
    if [ "$method" = HEAD ]; then
        how=(--head)
    fi
    rm -f "$at".*
    : >"$at.headers"
    : >"$at.body"
    (
        close_others
        exec curl -sS --max-time 240 --path-as-is --unix-socket "$SOCK" \
            -o "${http_output:-$at.body}" -D "$at.headers" \
            -w '%{http_code}' "${how[@]}" "$@" "http://localhost$path"
    ) <"${http_input:-/dev/null}" >"$at.status" 2>"$at.error" &
    echo $! >"$at.pid"
    echo $! >>"$D/requests"
}

http_wait() { # NAME
    local at=$D/request.$1

    http_exit=0
    wait "$(<"$at.pid")" || http_exit=$?
    http_headers=$at.headers
    http_body=$at.body
    http_status=$(<"$at.status")
    http_error=$(<"$at.error")
}

http_kill() { # NAME: the client vanishes
    local pid

    pid=$(cat "$D/request.$1.pid")
    kill -9 "$pid"
    wait "$pid" || return 0
}

is_requesting() { # NAME
    is_running "$(cat "$D/request.$1.pid")"
}

is_answered() { # NAME
    ! is_requesting "$1"
}

# json PATH BODY [CURL_OPTION...]: PATCH with a JSON body.
json() {
    local path=$1 body=$2

    shift 2
    http PATCH "$path" -H 'Content-Type: application/json' \
        --data-binary "$body" "$@"
}

# post PATH [CURL_OPTION...]: lighttpd answers 411 to a POST that has no
# Content-Length, so there is one.
post() {
    local path=$1

    shift
    http POST "$path" -d '' "$@"
}

# put PATH FILE [CURL_OPTION...]
put() {
    local path=$1 file=$2

    shift 2
    http PUT "$path" -T "$file" "$@"
}

# patch PATH FILE RANGE [CURL_OPTION...]: the binary form.
patch() {
    local path=$1 file=$2 range=$3

    shift 3
    http PATCH "$path" -H 'Content-Type: application/octet-stream' \
        -H "Range: $range" -T "$file" "$@"
}

# fcgi METHOD PATH [ENVIRONMENT...] <BODY: straight to the program, past the
# web server, for what no web server lets through. The body's length is what
# is said (CONTENT_LENGTH=...), and the body ends where it ends.
fcgi() {
    local at=$D/request.now method=$1 path=$2

    shift 2
    rm -f "$at".*
    env -i PATH="$PATH" REQUEST_METHOD="$method" PATH_INFO="$path" \
        REQUEST_URI="$path" SERVER_PROTOCOL=HTTP/1.1 QUERY_STRING= "$@" \
        cgi-fcgi -bind -connect "$D/fcgi.sock" >"$at.answer"
    sed '/^\r*$/q' "$at.answer" >"$at.headers"
    tail -c "+$(($(stat -c %s "$at.headers") + 1))" "$at.answer" >"$at.body"
    http_headers=$at.headers
    http_body=$at.body
    http_exit=0
    http_error=
    http_status=$(header Status)
    http_status=${http_status%% *}
    http_status=${http_status:-200}
}

# header NAME: its value in the last answer's head (not in that of a 100).
header() {
    tr -d '\r' <"$http_headers" |
        awk -v name="$1" 'BEGIN { name = tolower(name) ":" }
            /^HTTP\// { value = "" }
            index(tolower($0), name) == 1 {
                value = substr($0, length(name) + 1)
                sub(/^ +/, "", value)
            }
            END { print value }'
}

has_header() { # NAME
    tr -d '\r' <"$http_headers" | grep -qi "^$1:"
}

is_dated() { # PATH
    http HEAD "$1"
    has_header Last-Modified
}

# hold_reader NAME PATH [CURL_OPTION...]: a client that has seen the head and
# some bytes, and reads no more until release. The answer must be larger than
# all buffers on its way: 64 MiB will do. $(held_status NAME) is its status.
hold_reader() {
    local name=$1 path=$2

    shift 2
    rm -f "$D/held.$name".*
    mkfifo "$D/held.$name.fifo"
    http_output=$D/held.$name.fifo http_start "$name" GET "$path" "$@"
    (
        close_others
        until [ -e "$D/held.$name.release" ]; do
            sleep 0.05
        done
        exec cat
    ) <"$D/held.$name.fifo" >"$D/held.$name.body" 2>"$D/held.$name.log" &
    echo $! >"$D/held.$name.pid"
    echo $! >>"$D/requests"
    wait_for has_head "$name"
}

has_head() { # NAME
    [ -n "$(held_status "$1")" ]
}

held_status() { # NAME
    sed -n 's/^HTTP[^ ]* \([2-5][0-9][0-9]\).*/\1/p' \
        "$D/request.$1.headers"
}

# hold_writer NAME PATH FILE BYTES [CURL_OPTION...]: PUTs FILE, but stops
# after BYTES of it until release.
hold_writer() {
    local name=$1 path=$2 file=$3 bytes=$4

    shift 4
    rm -f "$D/held.$name".*
    mkfifo "$D/held.$name.fifo"
    (
        close_others
        head -c "$bytes" "$file"
        until [ -e "$D/held.$name.release" ]; do
            sleep 0.05
        done
        tail -c "+$((bytes + 1))" "$file"
    ) </dev/null >"$D/held.$name.fifo" 2>"$D/held.$name.log" &
    echo $! >"$D/held.$name.pid"
    echo $! >>"$D/requests"
    # With "-T ." the head of an early answer is seen at once (held_status),
    # but not with "-T -". curl ends when the body does, all the same.
    http_input=$D/held.$name.fifo http_start "$name" PUT "$path" -T . \
        -H 'Transfer-Encoding:' \
        -H "Content-Length: $(stat -L -c %s "$file")" "$@"
}

# hold_locked NAME PATH FILE BYTES [CURL_OPTION...]: hold_writer, and then
# wait until it has the image for itself: a flush of it is refused.
hold_locked() {
    hold_writer "$@"
    wait_for is_locked "$@"
}

is_locked() {
    # One of our flushes came first, and the writer was refused: once more.
    if [ -n "$(held_status "$1")" ]; then
        http_kill "$1"
        hold_writer "$@"
    fi
    post "$2/flush"
    [ "$http_status" = 409 ]
}

# release NAME: what is held goes on to its end; sets what http sets.
release() {
    local fed=0

    : >"$D/held.$1.release"
    http_wait "$1"
    # 141: curl had its answer before the rest of the body.
    wait "$(cat "$D/held.$1.pid")" || fed=$?
    if [ -e "$D/held.$1.body" ]; then
        http_body=$D/held.$1.body
    fi
    [ "$fed" = 0 ] || [ "$fed" = 141 ]
}

# stop_requests: those that a failed test has left. The pid of one that has ended
# may be another process's: what is ours is a job of this shell.
stop_requests() {
    local pid jobs

    # The number of one that ended may be another process's by now.
    jobs=$(jobs -pr)
    for pid in $(cat "$D/requests"); do
        if grep -qx "$pid" <<<"$jobs"; then
            kill -9 "$pid" || true
        fi
    done
    : >"$D/requests"
    rm -f "$D/request".* "$D/held".*
}

# --- data ------------------------------------------------------------------

# make_disk FILE SIZE: bytes that are nowhere the same.
make_disk() {
    head -c "$2" /dev/urandom >"$1"
}

# bytes FILE OFFSET LENGTH: those bytes.
bytes() {
    tail -c "+$(($2 + 1))" "$1" | head -c "$3"
}

# --- assertions ------------------------------------------------------------

fail_with_answer() { # TEXT
    {
        echo "$1"
        echo "status: $http_status, curl: $http_exit $http_error"
        cat "$http_headers"
        head -c 1000 "$http_body"
        echo
        echo "last lines of the program's log:"
        tail -n 5 "$D/program.log"
    } >&2
    return 1
}

assert_status() { # STATUS
    if [ "$http_status" != "$1" ] || [ "$http_exit" != 0 ]; then
        fail_with_answer "expected status $1"
    fi
}

assert_header() { # NAME VALUE
    if ! has_header "$1" || [ "$(header "$1")" != "$2" ]; then
        fail_with_answer "expected header $1: $2"
    fi
}

assert_no_header() { # NAME
    if has_header "$1"; then
        fail_with_answer "expected no header $1"
    fi
}

# What every answer carries; METHODS is what OPTIONS says of this image.
assert_common_headers() { # [METHODS]
    assert_header Accept-Ranges bytes
    assert_header Access-Control-Allow-Methods "${1:-GET, PUT, OPTIONS}"
}

# assert_json STATUS BODY: an answer to the byte.
assert_json() {
    assert_status "$1"
    if ! printf '%s' "$2" | cmp -s - "$http_body"; then
        fail_with_answer "expected body $2"
    fi
    assert_header Content-Type application/json
    assert_header Content-Length "$(printf '%s' "$2" | wc -c)"
}

assert_ok() { # BODY: 200 with this JSON
    assert_json 200 "$1"
    assert_common_headers
}

assert_json_error() { # STATUS TEXT
    assert_json "$1" "$(jq -cn --arg text "$2" '{error: $text}')"
    assert_common_headers
    case $1 in
    409 | 503) assert_header Retry-After 1 ;;
    *) assert_no_header Retry-After ;;
    esac
}

# The text begins so, and says more.
assert_json_error_like() { # STATUS BEGINNING
    local text

    assert_status "$1"
    text=$(jq -r .error "$http_body")
    if [[ $text != "$2"?* ]]; then
        fail_with_answer "expected an error that begins: $2"
    fi
    assert_json_error "$1" "$text"
}

# assert_body FILE: the answer's body is this file.
assert_body() {
    if ! cmp "$1" "$http_body" >&2; then
        fail_with_answer "the body is not that of $1"
    fi
}

# A transfer that ended before its end, and that curl knows for one.
assert_cut() {
    if [ "$http_exit" != 18 ] && [ "$http_exit" != 56 ]; then
        fail_with_answer "expected a cut connection (curl 18 or 56)"
    fi
}
