#!/usr/bin/env bats
# imageio-fcgi-ctl by hand (docs/control.md): add, list, show, remove.

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
    stop_backends
    find "$D/tickets" -mindepth 1 -delete
}

needs_root() {
    [ "$(id -u)" = 0 ] || skip 'only root can give files away'
}

# --- the command line -------------------------------------------------------

@test "--help names every command and option, --version has a version" {
    ctl_ok --help
    for word in ' add ' ' list' ' show ' ' remove ' ' serve ' ' watch ' \
        --ticket-dir --run-dir --nbd --export --bitmap --uri --file \
        --read-only --token-file --expires --idle --replace --wait --socket \
        --once --version; do
        has_line "$D/stdout" "^ *$word"
    done
    ctl_ok --version
    has_line "$D/stdout" '^imageio-fcgi-ctl [0-9]+\.[0-9]+\.[0-9]+$'
    [ "$(wc -l <"$D/stdout")" = 1 ]
}

@test "a command line that says nothing is one line and status 2, and no ticket is touched" {
    file_ticket there "$D/disk"
    assert_refused 2 'which command? --help lists them'
    assert_refused 2 'which command? --help lists them' --run-dir "$D/run"
    assert_refused 2 'unknown command "delete"' delete there
    assert_refused 2 'unknown command ""' ''
    assert_refused 2 "unrecognized option '--bogus'" list --bogus
    assert_refused 2 "invalid option -- 'x'" -x list
    assert_refused 2 "option '--socket' requires an argument" serve --socket
    assert_refused 2 "option '--replace' doesn't allow an argument" \
        add --replace=1 x
    assert_refused 2 '--ticket-dir: "" is not a valid DIR' --ticket-dir '' list
    assert_refused 2 '--run-dir: "" is not a valid DIR' list --run-dir ''
    assert_refused 2 '--nbd: "" is not a valid SOCKET' add x --nbd ''
    assert_refused 2 'unexpected argument "there"' list there
    assert_refused 2 'unexpected argument "two"' remove there two
    assert_refused 2 'unexpected argument "two"' serve two --socket "$D/x"
    assert_refused 2 '--wait does not go with "list"' list --wait
    assert_refused 2 '--socket does not go with "add"' add x --socket y
    assert_refused 2 '--replace does not go with "remove"' \
        remove there --replace
    assert_refused 2 '--idle does not go with "remove"' remove there --idle 5
    assert_refused 2 'serve: --socket is needed' serve
    for command in add show remove; do
        assert_refused 2 "$command: the ticket's ID is missing" $command
    done
    assert_refused 2 'unexpected argument "a\x0ab"' list $'a\nb'
}

@test "an ID that is no image id is one line and status 2" {
    file_ticket there "$D/disk"
    for command in 'add --file /x' show remove; do
        for bad in '' . .. .hidden a/b /a "../tickets/there" 'a\b' '*' \
            "$(printf '%256s' '' | tr ' ' x)"; do
            assert_refused 2 " is not a valid ID" $command "$bad"
        done
        assert_refused 2 '"a\x0ab" is not a valid ID' $command $'a\nb'
    done
}

@test "options stand before or after the command, and win over variables" {
    ctl_ok add --file "$D/disk" a
    ctl_ok --file "$D/disk" add b
    ctl_ok add c --file="$D/disk"
    ctl_ok add --file "$D/disk" -- -d
    mkdir "$D/more"
    ctl_ok list --ticket-dir "$D/more"
    [ ! -s "$D/stdout" ]
    IMAGEIO_FCGI_TICKET_DIR=$D/more ctl_ok list
    [ ! -s "$D/stdout" ]
    IMAGEIO_FCGI_TICKET_DIR=$D/more ctl_ok --ticket-dir "$D/tickets" list
    [ "$(cut -f 1 "$D/stdout" | xargs)" = '-d a b c' ]
    # An empty variable is none.
    IMAGEIO_FCGI_RUN_DIR='' ctl_ok list
    rmdir "$D/more"
    IMAGEIO_FCGI_TICKET_DIR=$D/more ctl list
    assert_failure 1 "open ticket directory $D/more: No such file or directory"
}

# --- add --------------------------------------------------------------------

@test "add --nbd: an NBD server's default export, at once" {
    start_nbdkit nbd file "$D/disk"
    ctl_ok add $ID --nbd "$D/nbd.sock"
    [ ! -s "$D/stdout" ]
    assert_json_of $ID "{\"backend\":\"nbd\",\"socket\":\"$D/nbd.sock\"}"
    assert_shown $ID "$D/disk"
    [ "$(stat -c '%a %h' "$D/tickets/$ID")" = '640 1' ]
    [ "$(ls -A "$D/tickets")" = $ID ]
}

@test "add --nbd --export --bitmap: both are in the ticket" {
    start_qemu_nbd nbd -f raw -x 'one "of them"' "$D/disk"
    ctl_ok add $ID --nbd "$D/nbd.sock" --export 'one "of them"' --bitmap map/é
    assert_json_of $ID "{\"backend\":\"nbd\",\"socket\":\"$D/nbd.sock\",\"export\":\"one \\\"of them\\\"\",\"export_bitmap\":\"map/é\"}"
    assert_shown $ID "$D/disk"
}

@test "add --uri --bitmap: an NBD server by its URI" {
    local uri="nbd+unix:///?socket=$D/nbd.sock"

    start_nbdkit nbd file "$D/disk"
    ctl_ok add $ID --uri "$uri" --bitmap map
    assert_json_of $ID "{\"backend\":\"nbd\",\"uri\":\"$uri\",\"export_bitmap\":\"map\"}"
    assert_shown $ID "$D/disk"
}

@test "add --file --read-only: a file that nobody may write" {
    ctl_ok add $ID --file "$D/disk" --read-only
    assert_json_of $ID "{\"backend\":\"file\",\"file\":\"$D/disk\",\"read_only\":true}"
    assert_shown $ID "$D/disk"
    put /images/$ID "$D/other"
    assert_json_error 403 'image is read-only'
}

@test "add: a relative path is one from the working directory" {
    mkdir -p "$D/here"
    cd "$D/here"
    ctl_ok add a --file ../disk
    ctl_ok add b --nbd x.sock
    cd "$TOP"
    assert_json_of a "{\"backend\":\"file\",\"file\":\"$D/here/../disk\"}"
    assert_json_of b "{\"backend\":\"nbd\",\"socket\":\"$D/here/x.sock\"}"
    assert_shown a "$D/disk"
}

@test "add: where the image is has to be said, and once" {
    local needed='one of --nbd, --uri and --file is needed'

    assert_refused 2 "$needed" add x
    assert_refused 2 "$needed" add x --export e --bitmap b --read-only
    assert_refused 2 '--nbd and --file exclude each other' \
        add x --file a --nbd b
    assert_refused 2 '--nbd and --uri exclude each other' \
        add x --uri nbd://a --nbd b
    assert_refused 2 '--uri and --file exclude each other' \
        add x --file a --uri nbd://b
    assert_refused 2 '--export does not go with --uri' \
        add x --uri nbd://a --export e
    assert_refused 2 '--export does not go with --file' \
        add x --file a --export e
    assert_refused 2 '--bitmap does not go with --file' \
        add x --file a --bitmap b
}

@test "add: what would be no ticket is refused with the reason, and nothing is left" {
    local long

    long=$(printf '%4100s' '' | tr ' ' x)
    assert_refused 1 'x: not a ticket: the scheme of "uri" must be one of nbd, nbds, nbd+unix, nbds+unix' \
        add x --uri http://example.org
    assert_refused 1 'x: not a ticket: "socket" is longer than 107 bytes' \
        add x --nbd "/${long:0:200}"
    assert_refused 1 'x: not a ticket: longer than 4096 bytes' \
        add x --file "/$long"
    assert_refused 1 'x: not a ticket: longer than 4096 bytes' \
        add x --file "$long$long$long"
    assert_refused 1 'x: --file is not UTF-8, and JSON has nothing else' \
        add x --file $'/a\377'
    assert_refused 1 'x: --nbd is not UTF-8, and JSON has nothing else' \
        add x --nbd $'/a\300\200'
    assert_refused 1 'x: --export is not UTF-8, and JSON has nothing else' \
        add x --nbd /a --export $'\200'
}

@test "add: a ticket that is there stays, unless --replace says so" {
    ctl_ok add $ID --file "$D/disk"
    assert_refused 1 "$ID: there is such a ticket already in $D/tickets" \
        add $ID --file "$D/other"
    assert_shown $ID "$D/disk"
    ctl_ok add $ID --file "$D/other" --replace
    assert_shown $ID "$D/other"
    ctl_ok add new --file "$D/disk" --replace
    assert_shown new "$D/disk"
    # Whatever has the name is there, be it a ticket or not.
    ln -s "$D/disk" "$D/tickets/link"
    assert_refused 1 "link: there is such a ticket already in $D/tickets" \
        add link --file "$D/other"
    ctl_ok add link --file "$D/other" --replace
    [ ! -L "$D/tickets/link" ]
}

@test "add: of many at once for one id, one has it" {
    local i pids=() won=0

    for i in 1 2 3 4 5 6 7 8; do
        "$CTL" add $ID --file "/$i" 2>"$D/stderr.$i" 3>&- &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        if wait "$i"; then
            won=$((won + 1))
        fi
    done
    [ $won = 1 ]
    [ "$(cat "$D"/stderr.* | grep -c 'there is such a ticket already')" = 7 ]
    rm "$D"/stderr.*
    [ "$(ls -A "$D/tickets")" = $ID ]
}

@test "add --replace: whoever reads sees the old ticket or the new one, whole" {
    local i

    ctl_ok add $ID --file "$D/disk"
    (
        close_others
        for i in {1..60}; do
            "$CTL" add $ID --file "$D/disk" --replace || exit 1
        done
        : >"$D/replaced"
    ) &
    until [ -e "$D/replaced" ]; do
        [ "$(jq -r .file "$D/tickets/$ID")" = "$D/disk" ]
        http HEAD /images/$ID
        assert_status 200
    done
    wait $!
    rm "$D/replaced"
    [ "$(ls -A "$D/tickets")" = $ID ]
}

add_without_room() ( # FILE: no file may grow
    trap '' XFSZ
    ulimit -f 0
    exec "$CTL" add $ID --file "$1" --replace
)

@test "add: a write that fails leaves the old ticket, and no other file" {
    ctl_ok add $ID --file "$D/disk"
    before=$(state_of_tickets)
    run -1 add_without_room "$D/other"
    # (gcov has something to say as well, in its builds.)
    assert_line "imageio-fcgi-ctl: $ID: write $D/tickets/.imageio-fcgi-ctl.new: File too large"
    [ "$(state_of_tickets)" = "$before" ]
    mkdir "$D/tickets/folder"
    assert_refused 1 "folder: rename $D/tickets/.imageio-fcgi-ctl.new to the ticket's name: Is a directory" \
        add folder --file "$D/disk" --replace
}

@test "add: what a killed one has left is no hindrance, and is not followed" {
    echo secret >"$D/tickets/.imageio-fcgi-ctl.new"
    ctl_ok add a --file "$D/disk"
    [ "$(ls -A "$D/tickets")" = a ]
    echo precious >"$D/precious"
    ln -s "$D/precious" "$D/tickets/.imageio-fcgi-ctl.new"
    ctl_ok add b --file "$D/disk"
    [ "$(cat "$D/precious")" = precious ]
    [ "$(ls -A "$D/tickets")" = $'a\nb' ]
    rm "$D/precious"
}

@test "add, remove: wait for another writer; reading does not" {
    local pid

    ctl_ok add old --file "$D/disk"
    hold_directory
    "$CTL" add $ID --file "$D/disk" 3>&- &
    pid=$!
    ctl_ok list
    [ "$(cut -f 1 "$D/stdout")" = old ]
    ctl_ok show old
    assert_shown old "$D/disk"
    is_running $pid
    let_directory_go
    wait $pid
    assert_shown $ID "$D/disk"
}

@test "add: as root, the ticket belongs to whom the directory belongs, and its group reads it" {
    needs_root
    mkdir "$D/theirs" "$D/their-run"
    chmod 750 "$D/theirs"
    chown 0:54321 "$D/theirs"
    (
        umask 000
        exec "$CTL" --ticket-dir "$D/theirs" add a --file "$D/disk"
    )
    [ "$(stat -c '%u:%g %a' "$D/theirs/a")" = '0:54321 640' ]
    chown 12345:54321 "$D/theirs"
    (
        umask 077
        exec "$CTL" --ticket-dir "$D/theirs" --run-dir "$D/none" add b \
            --file "$D/disk"
    )
    [ "$(stat -c '%u:%g %a' "$D/theirs/b")" = '12345:54321 640' ]
    # In the eyes of the directory's owner, or of the server, both are fine.
    ctl_ok --ticket-dir "$D/theirs" --run-dir "$D/their-run" list
    [ "$(cut -f 1,5 "$D/stdout")" = $'a\tok\nb\tok' ]
    chown 0:54321 "$D/theirs"
    : >"$D/their-run/locks"
    chmod 600 "$D/their-run/locks"
    chown 12345:54321 "$D/their-run/locks"
    chmod 755 "$D/their-run"
    ctl_ok --ticket-dir "$D/theirs" --run-dir "$D/their-run" list
    [ "$(cut -f 1,5 "$D/stdout")" = $'a\tok\nb\tok' ]
    # What the server cannot take is none.
    chmod 600 "$D/theirs/a"
    chown 1:54321 "$D/theirs/b"
    ctl_ok --ticket-dir "$D/theirs" --run-dir "$D/their-run" list
    [ "$(cut -f 1,5 "$D/stdout")" = "a	not a ticket: open the ticket as uid 12345: Permission denied
b	not a ticket: owned by uid 1, not by root or uid 12345" ]
    ctl_ok --ticket-dir "$D/theirs" --run-dir "$D/their-run" remove a
    # Nor is it written: neither of another owner, nor what it may not read.
    chown 1:54321 "$D/theirs"
    chmod 755 "$D/theirs"
    ctl --ticket-dir "$D/theirs" --run-dir "$D/their-run" add c --file "$D/disk"
    assert_failure 1 "c: the server's user could not use a ticket in $D/theirs: owned by uid 1, not by root or uid 12345"
    chown 0:0 "$D/theirs"
    ctl --ticket-dir "$D/theirs" --run-dir "$D/their-run" add c --file "$D/disk"
    assert_failure 1 "c: the server's user could not use a ticket in $D/theirs: open the ticket as uid 12345: Permission denied"
    [ "$(ls -A "$D/theirs")" = b ]
    rm -r "$D/theirs" "$D/their-run"
}

@test "add: as another user, the ticket is that user's, and no wrong group reads it" {
    needs_root
    mkdir "$D/theirs"
    cp "$CTL" "$D/ctl"
    chmod 755 "$D/ctl"
    local as=(setpriv --reuid 12345 --regid 12345)

    chown 12345:54321 "$D/theirs"
    "${as[@]}" --groups 54321 "$D/ctl" --ticket-dir "$D/theirs" \
        add a --file "$D/disk"
    "${as[@]}" --clear-groups "$D/ctl" --ticket-dir "$D/theirs" \
        add b --file "$D/disk"
    [ "$(stat -c '%u:%g %a' "$D/theirs/a")" = '12345:54321 640' ]
    [ "$(stat -c '%u:%g %a' "$D/theirs/b")" = '12345:12345 600' ]
    chown 0:12345 "$D/theirs"
    chmod 750 "$D/theirs"
    run -1 --separate-stderr "${as[@]}" --clear-groups "$D/ctl" \
        --ticket-dir "$D/theirs" add c --file "$D/disk"
    [ "$stderr" = "imageio-fcgi-ctl: c: make $D/theirs/.imageio-fcgi-ctl.new: Permission denied" ]
    run -1 --separate-stderr "${as[@]}" --clear-groups "$D/ctl" \
        --ticket-dir "$D/theirs" remove a
    [ "$stderr" = "imageio-fcgi-ctl: a: remove the ticket from $D/theirs: Permission denied" ]
    [ -e "$D/theirs/a" ]
    rm -r "$D/theirs" "$D/ctl"
}

@test "add --token-file: the token comes from a file or standard input, without its newline" {
    echo $TOKEN >"$D/token"
    ctl_ok add a --file "$D/disk" --token-file "$D/token"
    printf '%s' $TOKEN >"$D/token"
    ctl_ok add b --file "$D/disk" --token-file "$D/token"
    ctl_input=$D/token ctl_ok add c --token-file - --file "$D/disk"
    for id in a b c; do
        assert_json_of $id "{\"backend\":\"file\",\"file\":\"$D/disk\",\"token\":\"$TOKEN\"}"
        http GET /images/$id
        assert_status 401
        http GET /images/$id -H "Authorization: Bearer $TOKEN"
        assert_status 200
    done
    rm "$D/token"
}

@test "add --token-file: what is no token is refused, and not shown" {
    local ascii='not a ticket: "token" must be of printable ASCII without spaces'
    local short='not a ticket: "token" is shorter than 16 bytes' text

    while IFS='|' read -r text fault; do
        printf '%b' "$text" >"$D/token"
        assert_refused 1 "x: $fault" \
            add x --file "$D/disk" --token-file "$D/token"
        run ! grep -q 0123456789 "$D/stderr"
    done <<END
$TOKEN\n\n|$ascii
$TOKEN x|$ascii
${TOKEN}\0303\0251|$ascii
0123456789SHORT|$short
|$short
\n|$short
$TOKEN\0\n|the token's file has a NUL byte
$TOKEN\0377|the token is not UTF-8, and JSON has nothing else
END
    head -c 4097 /dev/zero | tr '\0' x >"$D/token"
    assert_refused 1 "x: the token's file has more than 4096 bytes" \
        add x --file "$D/disk" --token-file "$D/token"
    rm "$D/token"
    assert_refused 1 "x: open $D/token: No such file or directory" \
        add x --file "$D/disk" --token-file "$D/token"
    assert_refused 1 "x: read the token's file: Is a directory" \
        add x --file "$D/disk" --token-file "$D"
}

expires_of() { # ID
    jq -e .expires "$D/tickets/$1"
}

@test "add --expires: seconds since 1970, from now, or UTC" {
    local now unit

    ctl_ok add a --file "$D/disk" --expires 4102444800
    [ "$(expires_of a)" = 4102444800 ]
    ctl_ok add b --file "$D/disk" --expires 2100-01-01T00:00:00Z
    [ "$(expires_of b)" = 4102444800 ]
    TZ=Asia/Tokyo ctl_ok add c --file "$D/disk" --expires 2096-02-29T23:59:59Z
    [ "$(expires_of c)" = "$(date -d 2096-02-29T23:59:59Z +%s)" ]
    for unit in :1 s:1 m:60 h:3600 d:86400; do
        now=$(date +%s)
        ctl_ok add d --file "$D/disk" --replace --expires "+20${unit%:*}"
        now=$(($(expires_of d) - now - 20 * ${unit#*:}))
        [ $now -ge 0 ]
        [ $now -le 2 ]
    done
    for id in a b c d; do
        assert_shown $id "$D/disk"
    done
}

@test "add --expires: a time that is none, or has passed, is refused" {
    local when

    for when in x -1 1.5 '+' '+x' '+1w' '+1hh' '+-1' '+1 h' 1h ' 1' '1 ' \
        tomorrow 2100-01-01 2100-01-01T00:00:00 2100-01-01T00:00:00+01:00 \
        2100-01-01T00:00:00Zx 2100-02-29T00:00:00Z 2100-13-01T00:00:00Z \
        2100-01-01T24:00:00Z 2100-01-01T23:59:60Z '2100-01-01 00:00:00Z' \
        2100-1-1T0:0:0Z 253402300800 99999999999999999999999 \
        +99999999999999999999999 +253402300799d; do
        assert_refused 2 "--expires: \"$when\" is not a valid WHEN" \
            add x --file "$D/disk" --expires "$when"
    done
    for when in 0 1000000000 +0 +0d 2001-09-09T01:46:40Z \
        1970-01-01T00:00:00Z; do
        assert_refused 1 'x: "expires" is a time that has passed' \
            add x --file "$D/disk" --expires "$when"
    done
}

@test "add --idle: a number of seconds" {
    local seconds

    ctl_ok add a --file "$D/disk" --idle 600
    assert_json_of a "{\"backend\":\"file\",\"file\":\"$D/disk\",\"idle_timeout_seconds\":600}"
    assert_shown a "$D/disk"
    for seconds in 0 -1 +1 1.5 1s x ' 1' 99999999999999999999999; do
        assert_refused 2 "--idle: \"$seconds\" is not a valid SECONDS" \
            add x --file "$D/disk" --idle "$seconds"
    done
}

# --- list and show ----------------------------------------------------------

@test "list: one line a ticket, by id, with its state" {
    nbd_ticket nbd sock ',"export":"e x"'
    nbd_ticket Nbd sock
    ticket uri '{"uri":"nbds://h/e"}'
    file_ticket file "$D/data"
    file_ticket hour "$D/disk" ",\"expires\":$(($(date +%s) + 7199))"
    file_ticket over "$D/disk" ',"expires":1000000000'
    file_ticket idle "$D/disk" ',"idle_timeout_seconds":1'
    file_ticket 'a b"é' /
    file_ticket .hidden "$D/disk"
    ticket broken '{"socket":7}'
    mkdir "$D/tickets/folder"
    # Of an NBD server: people put it beside its ticket.
    (cd "$D/tickets" && python3 -c \
        'import socket; socket.socket(socket.AF_UNIX).bind("vm.sock")')
    ln -s file "$D/tickets/link"
    ticket $'new\nline' '{}'
    ticket 'back\slash' '{}'
    ticket odd '{"file":"/a\u0009\u001b[1m","backend":"FILE"}'
    hold_reader r /images/file
    # The time since an idle ticket was written is all there is to wait for.
    wait_for is_state idle idle
    assert_list \
        'Nbd | nbd | '"$D"'/sock.sock | - | ok' \
        'a b"é | file | / | - | ok' \
        'back\slash | - | - | - | not a ticket: its name is not an image id' \
        'broken | - | - | - | not a ticket: "socket" must be a string' \
        'file | file | '"$D"'/data | - | running' \
        'folder | - | - | - | not a ticket: not a regular file' \
        'hour | file | '"$D"'/disk | - | expires in 1 h' \
        'idle | file | '"$D"'/disk | - | idle' \
        'link | - | - | - | not a ticket: a symbolic link, not a regular file' \
        'nbd | nbd | '"$D"'/sock.sock | e x | ok' \
        'new\x0aline | - | - | - | not a ticket: its name is not an image id' \
        'odd | file | /a\x09\x1b[1m | - | ok' \
        'over | file | '"$D"'/disk | - | expired' \
        'uri | nbd | nbds://h/e | - | ok'
    ctl_ok show file
    [ "$(tail -n 1 "$D/stdout")" = running ]
    release r
    assert_body "$D/data"
    ctl_ok show file
    [ "$(tail -n 1 "$D/stdout")" = ok ]
}

is_state() { # ID STATE: as list says
    "$CTL" list | grep -qP "^$1\t.*\t$2\$"
}

@test "list: an empty directory is no line, one that is missing an error" {
    ctl_ok list
    [ ! -s "$D/stdout" ]
    ctl --ticket-dir "$D/none" list
    assert_failure 1 "open ticket directory $D/none: No such file or directory"
    ctl --ticket-dir "$D/disk" list
    assert_failure 1 "open ticket directory $D/disk: Not a directory"
    # A server that never ran has no locks.
    file_ticket a "$D/disk" ',"idle_timeout_seconds":600'
    ctl_ok --run-dir "$D/none" list
    [ "$(cut -f 5 "$D/stdout")" = ok ]
    ctl --run-dir "$D/disk" list
    assert_failure 1 "open $D/disk/locks: Not a directory"
}

@test "list: a full device is an error" {
    file_ticket a "$D/disk"
    ctl_status=0
    "$CTL" list >/dev/full 2>"$D/stderr" || ctl_status=$?
    [ $ctl_status = 1 ]
    has_line "$D/stderr" '^imageio-fcgi-ctl: write to standard output: No space left on device$'
}

@test "list, show: the token is never shown" {
    file_ticket $ID "$D/disk" ",\"token\":\"$TOKEN\",\"more\":[1,{}]"
    ctl_ok show $ID
    [ "$(cat "$D/stdout")" = "{\"backend\":\"file\",\"file\":\"$D/disk\",\"token\":\"…\",\"more\":[1,{}]}
ok" ]
    ctl_ok list
    run ! grep -q "$TOKEN" "$D/stdout"
    ticket $ID "{\"token\":\"$TOKEN\"}"
    ctl_ok list
    run ! grep -q "$TOKEN" "$D/stdout"
    ctl show $ID
    run ! grep -q "$TOKEN" "$D/stdout" "$D/stderr"
    # However it is written, and the last one counts.
    file_ticket $ID "$D/disk" ",\"token\":\"x$TOKEN\",\"\\u0074oken\":\"\\u0030$TOKEN\""
    ctl_ok show $ID
    run ! grep -q "$TOKEN" "$D/stdout"
    has_line "$D/stdout" '"token":"…"'
}

@test "show: what is not there, or is no ticket, is an error" {
    file_ticket over "$D/disk" ',"expires":1000000000'
    ctl_ok show over
    [ "$(tail -n 1 "$D/stdout")" = expired ]
    ctl show none
    assert_failure 1 "none: there is no such ticket in $D/tickets"
    ticket broken '{"socket":7}'
    ctl show broken
    assert_failure 1 'broken: not a ticket: "socket" must be a string'
}

# --- remove -----------------------------------------------------------------

@test "remove: the ticket is unknown at once, and a request that runs is finished" {
    ctl_ok add $ID --file "$D/data"
    hold_reader r /images/$ID
    ctl_ok remove $ID
    [ ! -s "$D/stdout" ]
    assert_unknown $ID
    release r
    assert_status 200
    assert_body "$D/data"
    ctl remove $ID
    assert_failure 1 "$ID: there is no such ticket in $D/tickets"
}

@test "remove: whatever has the name goes, but no folder, and nothing else" {
    ticket broken x
    ln -s "$D/disk" "$D/tickets/link"
    mkdir "$D/tickets/folder"
    ctl_ok remove broken
    ctl_ok remove link
    [ -e "$D/disk" ]
    ctl remove folder
    assert_failure 1 "folder: remove the ticket from $D/tickets: Is a directory"
    ctl remove none --wait
    assert_failure 1 "none: there is no such ticket in $D/tickets"
    [ "$(ls -A "$D/tickets")" = folder ]
}

remove_in_background() { # ID
    rm -f "$D/removed"
    (
        close_others
        "$CTL" remove "$1" --wait
        echo $? >"$D/removed.new"
        mv "$D/removed.new" "$D/removed"
    ) </dev/null >"$D/remove.log" 2>&1 &
    wait_for test ! -e "$D/tickets/$1"
}

@test "remove --wait: ends when the last request for the ticket has ended" {
    ctl_ok add $ID --file "$D/data"
    ctl_ok add other --file "$D/data"
    hold_reader one /images/$ID
    hold_reader two /images/$ID
    hold_reader other /images/other
    remove_in_background $ID
    assert_unknown $ID
    release one
    assert_body "$D/data"
    [ ! -e "$D/removed" ]
    is_requesting two
    assert_unknown $ID
    [ ! -e "$D/removed" ]
    release two
    assert_body "$D/data"
    wait_for test -e "$D/removed"
    [ "$(cat "$D/removed")" = 0 ]
    [ ! -s "$D/remove.log" ]
    # One of another ticket is not waited for.
    is_requesting other
    ctl_ok add $ID --file "$D/data"
    ctl_ok remove $ID --wait
    # Where no server has been, nothing can be known, and nothing is done.
    ctl_ok add $ID --file "$D/data"
    assert_refused 1 "open $D/none/locks: No such file or directory" \
        --run-dir "$D/none" remove $ID --wait
    ctl_ok remove $ID
    release other
    rm "$D/removed" "$D/remove.log"
}

@test "remove --wait: Ctrl-C ends the waiting, the ticket is gone" {
    local pid

    ctl_ok add $ID --file "$D/data"
    hold_reader r /images/$ID
    # A background job of a shell ignores SIGINT.
    env --default-signal=INT "$CTL" remove $ID --wait 3>&- &
    pid=$!
    wait_for test ! -e "$D/tickets/$ID"
    is_running $pid
    kill -INT $pid
    ctl_status=0
    wait $pid || ctl_status=$?
    [ $ctl_status = 130 ]
    assert_unknown $ID
    release r
    assert_body "$D/data"
}
