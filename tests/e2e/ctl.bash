# ctl.bash - running imageio-fcgi-ctl, and what it says and does. After common.

CTL=$(dirname "$PROGRAM")/imageio-fcgi-ctl
TOKEN=0123456789abcdef-SECRET
ID=3f2a1b0c-b2d1-4c6e-9d57-26e4ad2bd3e8 # a real one, for the log

setup_ctl() { # for setup_file: the service, and files to serve
    start_service --allow-uri nbd+unix
    make_disk "$D/data" $((64 * MIB)) # more than all buffers hold
    make_disk "$D/disk" $((64 * KIB))
    make_disk "$D/other" $((64 * KIB))
}

# The same for the server and all that we start.
use_directories() {
    export IMAGEIO_FCGI_TICKET_DIR=$D/tickets IMAGEIO_FCGI_RUN_DIR=$D/run
}

# ctl ARGUMENT...: sets $ctl_status, and writes $D/stdout and $D/stderr.
ctl() {
    ctl_status=0
    "$CTL" "$@" <"${ctl_input:-/dev/null}" >"$D/stdout" 2>"$D/stderr" ||
        ctl_status=$?
}

fail_with_output() { # TEXT
    {
        echo "$1; status $ctl_status, output and errors:"
        cat "$D/stdout" "$D/stderr"
    } >&2
    return 1
}

ctl_ok() { # ARGUMENT...: it works, and has nothing to complain of
    ctl "$@"
    if [ "$ctl_status" != 0 ] || [ -s "$D/stderr" ]; then
        fail_with_output "expected success of: $*"
    fi
}

# assert_failure STATUS TEXT: one line on standard error, which ends with TEXT,
# and none elsewhere.
assert_failure() {
    if [ "$ctl_status" != "$1" ] || [ -s "$D/stdout" ] ||
        [ "$(wc -l <"$D/stderr")" != 1 ] ||
        [[ $(cat "$D/stderr") != "imageio-fcgi-ctl: "*"$2" ]]; then
        fail_with_output "expected status $1, and: $2"
    fi
}

# assert_refused STATUS TEXT ARGUMENT...: that, and no ticket is touched.
assert_refused() {
    local status=$1 text=$2 before

    shift 2
    before=$(state_of_tickets)
    ctl "$@"
    assert_failure "$status" "$text"
    [ "$(state_of_tickets)" = "$before" ]
}

state_of_tickets() {
    find "$D/tickets" -mindepth 1 -printf '%P %i %m %s %C@\n' | sort
}

assert_json_of() { # ID JSON
    if [ "$(cat "$D/tickets/$1")" != "$2" ]; then
        echo "expected $2, got $(cat "$D/tickets/$1")" >&2
        return 1
    fi
}

assert_list() { # LINE...: with " | " for a tab
    ctl_ok list
    if ! diff <(printf '%s\n' "$@") <(sed 's/\t/ | /g' "$D/stdout") >&2; then
        return 1
    fi
}

assert_shown() { # ID FILE: the image is that file
    http GET "/images/$1"
    assert_status 200
    assert_body "$2"
}

assert_unknown() { # ID
    http GET "/images/$1"
    assert_json_error 404 'unknown image_id'
}

# hold_directory, let_directory_go: another writer is at work.
hold_directory() {
    rm -f "$D/hold.fifo"
    mkfifo "$D/hold.fifo"
    (
        close_others
        exec flock "$D/tickets" sh -c \
            "echo locked >$D/hold.locked; exec cat $D/hold.fifo"
    ) </dev/null >/dev/null 2>&1 &
    holder=$!
    wait_for test -s "$D/hold.locked"
}

let_directory_go() {
    : >"$D/hold.fifo"
    wait "$holder"
    rm "$D/hold.locked" "$D/hold.fifo"
}
