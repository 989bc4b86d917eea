#!/usr/bin/env bats
# imageio-fcgi-ctl serve: tickets for an agent (docs/control.md).

load common
load ctl

setup_file() {
    setup_ctl
}

teardown_file() {
    stop_service
}

setup() {
    use_directories
}

teardown() {
    local failed=0

    if [ -e "$D/agent.log" ] && grep -A40 -E 'Sanitizer|runtime error' \
        "$D/agent.log" >&2; then
        failed=1
    fi
    if mountpoint -q "$D/tickets/a"; then
        as_root umount "$D/tickets/a" || failed=1
    fi
    stop_backends || failed=1
    find "$D/tickets" -mindepth 1 -delete
    return $failed
}

start_agent() { # [OPTION...]
    local ready

    touch "$D/agent.log"
    ready=$(grep -c '^info: ready ' "$D/agent.log") || true
    echo agent >>"$D/backends"
    supervise agent "$CTL" serve --socket "$D/agent.sock" "$@"
    wait_for has_agents $((ready + 1))
}

has_agents() { # COUNT: that ever were ready
    [ "$(grep -c '^info: ready ' "$D/agent.log")" = "$1" ]
}

# say TEXT [HALF]: exactly these bytes to the agent; prints what comes back. The
# connection stays open on our side, but with HALF, when the sending one ends.
say() {
    local how=shut-none

    if [ $# -gt 1 ]; then
        how=shut-down
    fi
    printf '%s' "$1" | socat -t 10 - "UNIX-CONNECT:$D/agent.sock,$how"
}

assert_answer() { # ANSWER TEXT [HALF]: one line
    local answer

    answer=$(say "${@:2}"; echo x)
    if [ "$answer" != "$1"$'\n'x ]; then
        echo "expected $1, got $answer" >&2
        tail -n 5 "$D/agent.log" >&2
        return 1
    fi
}

assert_active() { # COUNT REQUEST
    assert_answer "{\"status\":\"ok\",\"active_transfers\":$1}" "$2"$'\n'
}

assert_error() { # MESSAGE REQUEST
    assert_answer "$(jq -cn --arg text "$1" \
        '{status: "error", message: $text}')" "$2"$'\n'
}

register() { # ID CONFIG
    printf '{"action":"register","transfer_id":"%s","config":%s}' "$1" "$2"
}

unregister() { # ID
    printf '{"action":"unregister","transfer_id":"%s"}' "$1"
}

STATUS='{"action":"status"}'

@test "serve: from register to unregister, under a request that runs" {
    start_nbdkit nbd file "$D/disk"
    start_agent
    assert_active 0 "$STATUS"
    assert_active 1 "$(register $ID "{\"backend\":\"file\",\"file\":\"$D/data\",\"idle_timeout_seconds\":30}")"
    assert_json_of $ID "{\"backend\":\"file\",\"file\":\"$D/data\",\"idle_timeout_seconds\":30}"
    [ "$(stat -c %a "$D/tickets/$ID")" = 640 ]
    hold_reader r /images/$ID
    assert_active 2 "$(register two "{\"socket\":\"$D/nbd.sock\",\"export\":null}")"
    assert_shown two "$D/disk"
    assert_active 2 "$STATUS"
    assert_active 1 "$(unregister $ID)"
    assert_unknown $ID
    assert_active 1 "$STATUS"
    # That it is gone is what is wanted.
    assert_active 1 "$(unregister $ID)"
    assert_active 1 "$(unregister never-there)"
    release r
    assert_status 200
    assert_body "$D/data"
    assert_active 0 "$(unregister two)"
    assert_unknown two
    assert_active 0 "$STATUS"
    [ -z "$(ls -A "$D/tickets")" ]
}

@test "serve: what is registered again is replaced" {
    start_agent
    assert_active 1 "$(register $ID "{\"backend\":\"file\",\"file\":\"$D/disk\"}")"
    assert_shown $ID "$D/disk"
    assert_active 1 "$(register $ID "{\"backend\":\"file\",\"file\":\"$D/other\"}")"
    assert_shown $ID "$D/other"
}

@test "serve: idle_timeout_seconds is 600, or that of --idle, where config has none; other keys are kept" {
    local config='{"backend":"file","file":"/x","more":{"a":[1,null]}}'

    start_agent
    assert_active 1 "$(register a "$config")"
    assert_json_of a "${config%\}},\"idle_timeout_seconds\":600}"
    stop agent
    start_agent --idle 7
    assert_active 2 "$(register b "$config")"
    assert_json_of b "${config%\}},\"idle_timeout_seconds\":7}"
    assert_active 3 "$(register c '{"backend":"file","file":"/x","idle_timeout_seconds":8}')"
    assert_json_of c '{"backend":"file","file":"/x","idle_timeout_seconds":8}'
    for seconds in 0 -1 x; do
        assert_refused 2 "--idle: \"$seconds\" is not a valid SECONDS" \
            serve --socket "$D/other.sock" --idle $seconds
    done
}

@test "serve: active_transfers counts valid tickets, whoever wrote them" {
    start_agent
    ctl_ok add a --file "$D/disk" --expires +1h
    ticket broken x
    file_ticket .hidden "$D/disk"
    mkdir "$D/tickets/folder"
    assert_active 1 "$STATUS"
    [ -e "$D/tickets/broken" ]
    assert_active 2 "$(register b '{"socket":"/x"}')"
    ctl_ok remove a
    assert_active 1 "$STATUS"
}

@test "serve: a request that is none is answered with the reason, and nothing changes" {
    local before action='"action" must be "register", "unregister" or "status"'
    local id='"transfer_id" must be an image id' bad
    local config="{\"backend\":\"file\",\"file\":\"$D/disk\"}"

    start_agent
    ctl_ok add there --file "$D/disk"
    before=$(state_of_tickets)
    assert_error 'invalid JSON: unexpected end of data' '{'
    assert_error 'invalid JSON: unexpected end of data' ''
    assert_error 'invalid JSON: unexpected character' "$STATUS$STATUS"
    assert_error 'invalid JSON: not UTF-8' $'{"action":"\377"}'
    assert_error 'invalid JSON: nesting too deep' \
        "$(printf '%18s' '' | tr ' ' '[')"
    assert_error 'not a JSON object' '[]'
    assert_error 'not a JSON object' 'null'
    for bad in '{}' '{"action":"delete"}' '{"action":null}' '{"action":1}' \
        '{"action":["status"]}' '{"Action":"status"}' \
        '{"action":"status\u0000"}'; do
        assert_error "$action" "$bad"
    done
    for bad in '' .x .. a/b '*' 'a\\b' 'a\u0000b' 'a\u000ab' \
        "$(printf '%256s' '' | tr ' ' x)"; do
        assert_error "$id" "$(register "$bad" "$config")"
        assert_error "$id" "$(unregister "$bad")"
    done
    assert_error "$id" '{"action":"unregister"}'
    assert_error "$id" '{"action":"unregister","transfer_id":7}'
    assert_error "$id" "{\"action\":\"register\",\"config\":$config}"
    for bad in null 7 '"x"' '[]'; do
        assert_error '"config" must be an object' "$(register x "$bad")"
    done
    assert_error '"config" must be an object' \
        '{"action":"register","transfer_id":"x"}'
    assert_error 'not a ticket: "socket" is missing or empty' \
        "$(register there '{}')"
    assert_error 'not a ticket: "socket" must be an absolute path' \
        "$(register there '{"socket":"x"}')"
    assert_error 'not a ticket: "idle_timeout_seconds" must be a positive integer' \
        "$(register there '{"socket":"/x","idle_timeout_seconds":0}')"
    assert_error 'not a ticket: "token" is shorter than 16 bytes' \
        "$(register there '{"socket":"/x","token":"SECRET"}')"
    assert_error '"expires" is a time that has passed' \
        "$(register there '{"socket":"/x","expires":1}')"
    assert_error 'not a ticket: longer than 4096 bytes' \
        "$(register there "{\"socket\":\"/x\",\"more\":\"$(printf '%4096s' '')\"}")"
    [ "$(state_of_tickets)" = "$before" ]
    assert_active 1 "$STATUS"
    run ! grep -q SECRET "$D/agent.log"
}

@test "serve: a directory that cannot be used is named in the answer, and is used again later" {
    start_agent
    mv "$D/tickets" "$D/away"
    assert_error "open ticket directory $D/tickets: No such file or directory" \
        "$STATUS"
    assert_error "open ticket directory $D/tickets: No such file or directory" \
        "$(register $ID '{"socket":"/x"}')"
    wait_for has_line "$D/agent.log" "^warning: sweep: open ticket directory"
    mkdir "$D/tickets"
    assert_active 1 "$(register $ID "{\"backend\":\"file\",\"file\":\"$D/disk\"}")"
    assert_shown $ID "$D/disk"
    mkdir "$D/tickets/folder"
    assert_error "rename $D/tickets/.imageio-fcgi-ctl.new to the ticket's name: Is a directory" \
        "$(register folder '{"socket":"/x"}')"
    rm -r "$D/tickets"
    mv "$D/away" "$D/tickets"
    assert_active 0 "$STATUS"
}

@test "serve: another writer that does not end is an error within a second" {
    local began

    start_agent
    hold_directory
    began=$(date +%s%3N)
    assert_error "lock $D/tickets: another process has it" \
        "$(register $ID '{"socket":"/x"}')"
    (($(date +%s%3N) - began < 1000))
    # What is over does not count, though it has to wait to be swept.
    file_ticket over "$D/disk" ',"expires":1000000000'
    assert_active 0 "$STATUS"
    [ -e "$D/tickets/over" ]
    let_directory_go
    assert_active 1 "$(register $ID '{"socket":"/x"}')"
}

# start_silent COUNT [TEXT]: that many connections to the agent, which say no
# more than TEXT and wait.
start_silent() {
    echo silent >>"$D/backends"
    rm -f "$D/silent.log"
    supervise silent python3 -c '
import select, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
clients = []
for i in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(sys.argv[3].encode())
    clients.append(s)
print("silent", flush=True)
while clients:
    for s in select.select(clients, [], [])[0]:
        print("got", s.recv(65536).decode(), flush=True)
        s.close()
        clients.remove(s)
print("all closed", flush=True)
' "$D/agent.sock" "$1" "${2:-}"
    wait_for has_line "$D/silent.log" '^silent$'
}

@test "serve: clients that are silent or slow hold up nobody, and are closed after 5 s" {
    local began

    start_agent
    start_silent 20 '{"action":'
    began=$(date +%s%3N)
    assert_active 0 "$STATUS"
    assert_active 1 "$(register $ID '{"socket":"/x"}')"
    assert_active 0 "$(unregister $ID)"
    (($(date +%s%3N) - began < 3000))
    wait_for has_line "$D/silent.log" '^all closed$'
    (($(date +%s%3N) - began >= 4000))
    (($(date +%s%3N) - began < 8000))
    [ "$(grep -cFx 'got {"status":"error","message":"no line came within 5 s"}' \
        "$D/silent.log")" = 20 ]
}

@test "serve: when 64 clients wait, the first one makes room for the next" {
    start_agent
    start_silent 64
    assert_active 0 "$STATUS"
    wait_for has_line "$D/silent.log" '^got '
    has_line "$D/silent.log" '^got \{"status":"error","message":"too many others wait"\}$'
    stop silent
    start_silent 200 x
    assert_active 0 "$STATUS"
    stop silent
    assert_active 0 "$STATUS"
}

@test "serve: a line that is too long is refused, and what comes after a line is not read" {
    local long ok='{"status":"ok","active_transfers":0}'

    start_agent
    long=$(printf '%65516s' '')
    # 65536 bytes with the newline are the most that there can be.
    assert_answer "$ok" "$long$STATUS"$'\n'
    assert_answer '{"status":"error","message":"the line is longer than 65536 bytes"}' \
        "$long $STATUS"
    # More than the kernel keeps for it.
    head -c 10000000 /dev/zero | socat -u - "UNIX-CONNECT:$D/agent.sock" ||
        true
    has_line "$D/agent.log" '^warning: request ticket=- refused="the line is longer than 65536 bytes"$'
    assert_answer "$ok" "$STATUS"$'\n'"$(unregister x)"$'\n'
    run ! grep -q unregister "$D/agent.log"
    assert_answer "$ok" "$STATUS"$'\n'"${long:0:4000}"
    assert_answer "$ok" "$STATUS"$'\r\n'
    # Its end is the line's too.
    assert_answer "$ok" "$STATUS" half
    assert_answer '{"status":"error","message":"invalid JSON: unexpected end of data"}' \
        '{"action":' half
    [ -z "$(say '' half)" ]
    head -c 100000 /dev/urandom | socat -u - "UNIX-CONNECT:$D/agent.sock" ||
        true
    assert_active 0 "$STATUS"
}

@test "serve: a client that does not wait for its answer is served" {
    start_agent
    register $ID "{\"backend\":\"file\",\"file\":\"$D/disk\"}" |
        socat -u - "UNIX-CONNECT:$D/agent.sock"
    wait_for test -e "$D/tickets/$ID"
    assert_active 1 "$STATUS"
}

@test "serve: expired and idle tickets are swept, one that a request uses is not" {
    start_agent
    file_ticket over "$D/disk" ',"expires":1000000000'
    assert_active 0 "$STATUS"
    [ -z "$(ls -A "$D/tickets")" ]
    ctl_ok add soon --file "$D/disk" --expires +2
    assert_active 2 "$(register idle '{"socket":"/x","idle_timeout_seconds":1}')"
    assert_active 3 "$(register $ID "{\"backend\":\"file\",\"file\":\"$D/data\",\"idle_timeout_seconds\":1}")"
    hold_reader r /images/$ID
    # Nobody asks: time alone does it.
    wait_for test ! -e "$D/tickets/idle"
    wait_for test ! -e "$D/tickets/soon"
    assert_active 1 "$STATUS"
    is_requesting r
    release r
    assert_body "$D/data"
    wait_for test ! -e "$D/tickets/$ID"
    assert_active 0 "$STATUS"
    has_line "$D/agent.log" '^info: swept ticket=over state=expired$'
    has_line "$D/agent.log" '^info: swept ticket=soon state=expired$'
    has_line "$D/agent.log" '^info: swept ticket=idle state=idle$'
    has_line "$D/agent.log" '^info: swept ticket=3f2a1b0c state=idle$'
}

@test "serve: a ticket that cannot be removed keeps no other from being swept" {
    file_ticket a "$D/disk" ',"expires":1000000000'
    as_root mount --bind "$D/tickets/a" "$D/tickets/a" # EBUSY
    file_ticket b "$D/disk" ',"expires":1000000000'
    start_agent
    wait_for test ! -e "$D/tickets/b"
    wait_for has_line "$D/agent.log" '^warning: sweep: remove the ticket from'
    assert_active 0 "$STATUS"
    as_root umount "$D/tickets/a"
    wait_for test ! -e "$D/tickets/a"
}

@test "serve: a ticket that is replaced all the time is never swept" {
    local end

    start_agent
    end=$(($(date +%s) + 4))
    while (($(date +%s) < end)); do
        "$CTL" add $ID --file "$D/disk" --idle 1 --replace
        http HEAD /images/$ID
        assert_status 200
    done
    run ! grep -q swept "$D/agent.log"
}

@test "serve: a ticket that is replaced while a sweep is on its way stays" {
    local i began speaker

    start_agent
    for i in 1 2 3 4 5 6 7 8; do
        file_ticket $ID "$D/other" ",\"expires\":$(($(date +%s) + 60))"
        hold_directory
        file_ticket $ID "$D/other" ',"expires":1000000000'
        began=$(date +%s%3N)
        say "$STATUS"$'\n' >"$D/said" 3>&- &
        speaker=$!
        # By now it waits for the directory, which it does for 300 ms.
        wait_for has_passed "$began" 30
        file_ticket $ID "$D/disk"
        let_directory_go
        wait $speaker
        assert_shown $ID "$D/disk"
    done
    rm "$D/said"
}

has_passed() { # SINCE_MS MILLISECONDS
    (($(date +%s%3N) - $1 > $2))
}

@test "serve: the log has a line for each change and refusal, no whole id and no token" {
    start_agent
    assert_active 1 "$(register $ID "{\"socket\":\"/x\",\"token\":\"$TOKEN\"}")"
    assert_active 0 "$(unregister $ID)"
    assert_active 0 "$STATUS"
    assert_error 'not a ticket: "ops" must be ["read"] or ["read","write"]' \
        "$(register $ID "{\"socket\":\"/x\",\"token\":\"$TOKEN\",\"ops\":[]}")"
    assert_error 'invalid JSON: unexpected end of data' "[\"$TOKEN"
    assert_error '"transfer_id" must be an image id' "$(unregister "$ID/$TOKEN")"
    stop agent
    has_line "$D/agent.status" '^0$'
    diff - <(sed 's/version=.* /version=V /' "$D/agent.log") <<'END'
info: ready version=V active=0
info: register ticket=3f2a1b0c active=1
info: unregister ticket=3f2a1b0c active=0
warning: register ticket=3f2a1b0c refused="not a ticket: \x22ops\x22 must be [\x22read\x22] or [\x22read\x22,\x22write\x22]"
warning: request ticket=- refused="invalid JSON: unexpected end of data"
warning: unregister ticket=- refused="\x22transfer_id\x22 must be an image id"
info: stopped
END
}

@test "serve: the socket is for its owner and group, and goes with SIGTERM and SIGINT" {
    local signal

    for signal in TERM INT; do
        (
            umask 000
            start_agent
        )
        [ "$(stat -c '%F %a' "$D/agent.sock")" = 'socket 660' ]
        start_silent 3
        assert_active 0 "$STATUS"
        kill -$signal "$(cat "$D/agent.pid")"
        wait_for test -e "$D/agent.status"
        [ "$(cat "$D/agent.status")" = 0 ]
        [ ! -e "$D/agent.sock" ]
        wait_for has_line "$D/silent.log" '^all closed$'
    done
}

@test "serve: a socket that nobody listens on is replaced, any other file is not" {
    start_agent
    kill -9 "$(cat "$D/agent.pid")"
    wait_for test -e "$D/agent.status"
    [ -S "$D/agent.sock" ]
    start_agent
    assert_active 0 "$STATUS"
    ctl serve --socket "$D/agent.sock"
    assert_failure 1 "listen on $D/agent.sock: another process does"
    assert_active 0 "$STATUS"
    # What has taken the place of its own stays.
    rm "$D/agent.sock"
    echo file >"$D/agent.sock"
    stop agent
    [ "$(cat "$D/agent.sock")" = file ]
    ctl serve --socket "$D/agent.sock"
    assert_failure 1 "listen on $D/agent.sock: it exists and is no socket"
    [ "$(cat "$D/agent.sock")" = file ]
}

@test "serve: of many that start at once, one serves" {
    local i pids=() lost=0

    for i in 1 2 3 4 5 6; do
        (
            close_others
            exec "$CTL" serve --socket "$D/agent.sock"
        ) >>"$D/agent.log" 2>>"$D/agent.log" </dev/null &
        pids+=($!)
    done
    wait_for has_losers 5
    assert_active 0 "$STATUS"
    for i in "${pids[@]}"; do
        kill "$i" 2>/dev/null || lost=$((lost + 1))
    done
    [ $lost = 5 ]
    wait
    [ ! -e "$D/agent.sock" ]
    rm "$D/agent.log"
}

has_losers() { # COUNT
    [ "$(grep -c ': another process does$' "$D/agent.log")" = "$1" ]
}

@test "serve: what it cannot begin with is one line and status 1" {
    local long

    long=$(printf '%108s' '' | tr ' ' x)
    ctl serve --socket "$D/none/agent.sock"
    assert_failure 1 "open the folder of $D/none/agent.sock: No such file or directory"
    ctl serve --socket "/$long"
    assert_failure 1 "listen on /$long: longer than 107 bytes"
    ctl serve --socket "$D/agent.sock" --ticket-dir "$D/none"
    assert_failure 1 "open ticket directory $D/none: No such file or directory"
    ctl serve --socket "$D/agent.sock" --run-dir "$D/disk"
    assert_failure 1 "open $D/disk/locks: Not a directory"
    [ ! -e "$D/agent.sock" ]
}
