#!/usr/bin/env bats
# imageio-fcgi-ctl watch (docs/control.md): a screen in a terminal, lines
# elsewhere. The terminals are tmux's, with a server of its own below $D.

load common
load ctl

setup_file() {
    export LC_ALL=C.UTF-8 # for tmux
    start_service_of 2
}

teardown_file() {
    stop_service
}

setup() {
    unset TMUX NO_COLOR
    export TERM=xterm SHELL=/bin/sh
    use_directories
    truncate -s 64M "$D/large"
    start_nbdkit large file "$D/large"
    nbd_ticket "$ID" large
    nbd_ticket other-image large
}

teardown() {
    end_terminal
    stop_backends
    rm -f "$D/out".*
}

# --- a terminal -------------------------------------------------------------

tmux_() {
    tmux -S "$D/tmux" -f /dev/null "$@" 2>/dev/null
}

# in_terminal COLUMNS ROWS ARGUMENT...: watches there. What the process is, how
# it ended and what became of the terminal is in pane.*, all that it wrote in
# $D/typed. pane_term is another TERM than tmux's.
in_terminal() {
    local columns=$1 rows=$2

    shift 2
    printf '%q ' env ${pane_term+TERM="$pane_term"} "$CTL" watch "$@" >"$D/pane.command"
    cat >"$D/pane.sh" <<'END'
cd "$D" || exit
stty -g >pane.before
trap : INT
sh -c "echo \$\$ >pane.pid; exec $(cat pane.command)"
echo $? >pane.status
stty -g >pane.after
echo all is over
exec sleep 600
END
    tmux_ new-session -d -x "$columns" -y "$rows" "sleep 600"
    tmux_ pipe-pane "exec cat >'$D/typed'"
    tmux_ respawn-pane -k "env D='$D' bash '$D/pane.sh'"
    wait_for test -s "$D/pane.pid"
}

end_terminal() {
    local pid

    if pid=$(tmux_ display-message -p '#{pid}') && [ -n "$pid" ]; then
        tmux_ kill-server
        wait_for is_gone "$pid"
    fi
    rm -f "$D/tmux" "$D/pane".* "$D/typed"*
}

screen() {
    tmux_ capture-pane -p
}

shows() { # REGEX: some line of the screen matches
    screen | grep -qE -- "$1"
}

assert_shows() { # REGEX
    if ! wait_for shows "$1"; then
        screen >&2
        return 1
    fi
}

press() { # KEY...
    tmux_ send-keys "$@"
}

resize() { # COLUMNS ROWS
    tmux_ resize-window -x "$1" -y "$2"
}

# The process has ended so, and has left the terminal as it was.
assert_ended() { # STATUS
    wait_for test -s "$D/pane.after"
    wait_for shows 'all is over$' # maybe after ^C
    assert_equal "$(cat "$D/pane.status")" "$1"
    assert_restored
    assert_equal "$(cat "$D/pane.after")" "$(cat "$D/pane.before")"
}

assert_restored() {
    assert_equal "$(tmux_ display-message -p '#{cursor_flag} #{alternate_on}')" '1 0'
}

# Only the sequences that a screen is drawn with, and printable ASCII.
assert_plain() { # FILE
    LC_ALL=C sed -e 's/\x1b\[\(?1049[hl]\|?25[hl]\|H\|2J\|J\|K\|999;1H\)//g' \
        -e 's/\r$//' "$1" >"$1.rest"
    run ! env LC_ALL=C grep -n '[^ -~]' "$1.rest"
}

# --- transfers --------------------------------------------------------------

# A client of a request that is not answered, straight to a program, with an
# address of its own: hold_flush NAME SOCKET CLIENT [ID]
hold_flush() {
    local name=$1 socket=$2 client=$3 id=${4:-mute}

    if [ ! -e "$D/mute.sock" ]; then
        start_deaf mute
    fi
    nbd_ticket "$id" mute
    (
        close_others
        exec env -i PATH="$PATH" REQUEST_METHOD=POST \
            PATH_INFO="/images/$id/flush" SERVER_PROTOCOL=HTTP/1.1 \
            CONTENT_LENGTH=0 REMOTE_ADDR="$client" \
            cgi-fcgi -bind -connect "$socket"
    ) </dev/null >"$D/held.$name.out" 2>&1 &
    echo $! >"$D/request.$name.pid"
    echo $! >>"$D/requests"
}

# A process of the program with a run directory and a socket of its own.
start_other() {
    supervise another spawn-fcgi -n -s "$D/another.sock" -- "$PROGRAM" \
        --ticket-dir "$D/tickets" --run-dir "$D/elsewhere"
    echo another >>"$D/backends"
}

percent() { # of the only transfer on the screen
    screen | sed -n 's/.* \([0-9]*\)% .*/\1/p'
}

is_further() { # PERCENT
    [ "$(percent)" -gt "$1" ]
}

# --- the screen -------------------------------------------------------------

@test "watch: a transfer has bar, percent, amounts, rate and time left, and is seen to go on" {
    local first full

    http_start slow GET "/images/$ID" --limit-rate 1M
    in_terminal 80 24
    assert_shows '^readers 1/8, writers 0/1, processes 2$'
    assert_shows '^TICKET +DOES +CLIENT +% +DONE +RATE +LEFT$'
    assert_shows '^3f2a1b0c read +[^ ]+ +#*\.+ +[0-9]+% +[0-9.]+ [KM]iB/64\.0 MiB +[0-9.]+ [KM]?i?B/s +[0-9]+:[0-9]{2}$'
    first=$(percent)
    wait_for is_further "$first"
    # The bar says the same, to a cell of its width.
    screen | awk '/^3f2a1b0c/ {
        match($0, /#*\.+ /)
        bar = substr($0, RSTART, RLENGTH - 1)
        full = gsub(/#/, "", bar)
        match($0, /[0-9]+% /)
        percent = substr($0, RSTART, RLENGTH) + 0
        wanted = percent * (full + length(bar)) / 100
        exit !(full >= wanted - 1 && full <= wanted + 1)
    }'
    press C-c
    assert_ended 0
    assert_plain "$D/typed"
}

@test "watch: nothing runs, then a writer, then it has gone" {
    make_disk "$D/data" $((8 * MIB))
    start_nbdkit target memory 8M
    nbd_ticket target target
    in_terminal 80 24
    assert_shows '^no transfer runs$'
    hold_writer w /images/target "$D/data" $((4 * MIB))
    assert_shows '^target +write .* 50% 4\.00 MiB/8\.00 MiB '
    shows '^readers 0/8, writers 1/1, processes 2$'
    # It stands still: no rate, and no time left.
    assert_shows '^target +write .* 0 B/s +-$'
    release w
    assert_status 200
    assert_shows '^no transfer runs$'
    assert_shows '^gone: target write after [0-9]+:[0-9]{2}, at .*/8\.00 MiB, '
    press q
    assert_ended 0
    # Nothing of it is left, but what was there before is.
    run ! shows readers
}

@test "watch: follows the size of its terminal, and counts what has no line" {
    local i columns

    for i in 1 2 3 4 5 6; do
        hold_reader "$i" "/images/$ID"
    done
    in_terminal 120 24
    assert_shows '^3f2a1b0c read +[^ ]+ +[#.]{10,40} +[0-9]+% .*/64\.0 MiB .*[0-9] [KM]?i?B/s +[^ ]+$'
    wait_for has_six_lines
    for columns in 79 60 40 20 1 100; do
        resize "$columns" 10
        wait_for is_cut_to "$columns"
    done
    resize 40 10
    assert_shows '^3f2a1b0c read +[0-9]+% +[0-9.]+ [KM]?i?B/s +[^ ]+$'
    run ! shows more
    resize 40 6
    assert_shows '^and 3 more$'
    assert_equal "$(screen | grep -c '^3f2a1b0c')" 3
    resize 40 1
    wait_for is_head_only
    resize 80 24
    wait_for has_six_lines
    for i in 1 2 3 4 5 6; do
        release "$i"
    done
    press q
    assert_ended 0
}

# The last column is used, and no line goes on in the next one.
is_cut_to() { # COLUMNS
    screen | awk -v columns="$1" '
        NR == 1 { head = substr("readers 6/8, writers 0/1, processes 2", 1, columns)
            sub(/ +$/, "", head)
            if ($0 != head) bad = 1 }
        NR > 2 && NR < 9 && $0 !~ /^3/ { bad = 1 }
        NR == 9 && $0 != "" { bad = 1 }
        END { exit bad }'
}

is_head_only() {
    [ "$(screen)" = 'readers 6/8, writers 0/1, processes 2' ]
}

has_six_lines() {
    [ "$(screen | grep -c '^3f2a1b0c')" = 6 ]
}

@test "watch: SIGTERM and SIGHUP leave the terminal as it was" {
    local signal

    for signal in TERM HUP INT; do
        in_terminal 80 24
        assert_shows '^readers 0/8'
        kill -"$signal" "$(cat "$D/pane.pid")"
        assert_ended 0
        end_terminal
    done
    # What fails is told apart from what was asked for.
    in_terminal 80 24
    assert_shows '^readers 0/8'
    (ulimit -c 0 && kill -QUIT "$(cat "$D/pane.pid")")
    assert_ended 131
}

@test "watch: Ctrl-Z gives the terminal back, fg draws again" {
    tmux_ new-session -d -x 80 -y 24 "env PS1='ready> ' bash --norc"
    assert_shows '^ready> $|^ready>$'
    press "'$CTL' watch" Enter
    assert_shows '^readers 0/8'
    press C-z
    assert_shows 'Stopped'
    assert_restored
    press "stty -a | grep -o ' icanon\\| echo '" Enter
    assert_shows '^ icanon'
    press fg Enter
    assert_shows '^readers 0/8'
    [ "$(tmux_ display-message -p '#{cursor_flag} #{alternate_on}')" = '0 1' ]
    press C-c
    assert_shows 'Stopped'
    press 'echo status=$?' Enter
    assert_shows '^status=0$'
    assert_restored
    # In the background it waits for the terminal, which is the shell's prompt's
    # meanwhile, with other settings.
    mkfifo "$D/pane.fifo"
    press "clear; sh -c 'echo \$\$ >$D/pane.pid; read x <$D/pane.fifo; exec $CTL watch' &" Enter
    wait_for test -s "$D/pane.pid"
    assert_shows '^ready>$'
    echo go >"$D/pane.fifo"
    wait_for has_line "/proc/$(cat "$D/pane.pid")/status" '^State:.T'
    assert_restored
    press fg Enter
    assert_shows '^readers 0/8'
    press q
    wait_for assert_restored
    # What was typed after the "q" might have been read with it.
    press "clear; stty -a | grep -o ' icanon\\| echo '; echo over" Enter
    assert_shows '^over$'
    shows '^ icanon$'
    shows '^ echo'
}

@test "watch: what ids and clients hold never reaches the terminal" {
    local evil=$'\x1b]0;evil\x07\x1b[2J\x9b31m "\r\n'

    hold_flush a "$D/fcgi.sock" "$evil"
    # An id has no control characters, but these are some to a terminal.
    hold_flush b "$D/fcgi.sock" 192.0.2.7 $'\xc2\x9b31m\x9b2J'
    in_terminal 200 24
    assert_shows '^mute +flush \\x1b\]0;evil\\x07\\x1b\[2J\\x9b31m\\x20\\x22\\x0d\\x0a +\.+ +- +0 B/- +0 B/s +-$'
    assert_shows '^\\xc2\\x9\+ flush 192\.0\.2\.7 '
    resize 40 10
    assert_shows '^mute +flush +- +0 B/s +-$'
    press q
    assert_ended 0
    assert_plain "$D/typed"
    ctl_ok watch --once
    has_line "$D/stdout" ' client=\\x1b\]0;evil\\x07\\x1b\[2J\\x9b31m\\x20\\x22\\x0d\\x0a percent=- done=0 total=- rate=0 left_s=- '
    has_line "$D/stdout" ' ticket=\\xc2\\x9b31m\\x9b2J operation=flush client=192\.0\.2\.7 '
    assert_plain "$D/stdout"
    http_kill a
    http_kill b
}

@test "watch ID: in a terminal, ends with its transfers and says so" {
    hold_reader other /images/other-image
    in_terminal 80 24 "$ID"
    assert_shows '^no transfer of 3f2a1b0c runs$'
    shows '^readers 1/8'
    hold_reader mine "/images/$ID"
    assert_shows '^3f2a1b0c read '
    run ! shows '^other-im'
    release mine
    assert_ended 0
    shows '^gone: 3f2a1b0c read '
    release other
}

# --- lines ------------------------------------------------------------------

@test "watch: is lines in a pipe, and where a terminal cannot be drawn on" {
    local term

    hold_reader r "/images/$ID"
    supervise out env --default-signal=INT "$CTL" watch
    wait_for has_line "$D/out.log" '^time=[0-9T:-]+Z event=server processes=2 readers=1 max_readers=8 writers=0 max_writers=1 scope=server$'
    wait_for has_line "$D/out.log" '^time=[0-9T:-]+Z event=began ticket=3f2a1b0c operation=read client=[^ ]+ percent=[0-9]+ done=[0-9]+ total=67108864 rate=[0-9]+ left_s=[0-9-]+ age_s=[0-9]+ request=[^ ]+$'
    release r
    wait_for has_line "$D/out.log" '^time=[0-9T:-]+Z event=gone ticket=3f2a1b0c '
    kill -INT "$(cat "$D/out.pid")"
    stop out
    assert_equal "$(cat "$D/out.status")" 0
    assert_plain "$D/out.log"
    for term in dumb ''; do
        pane_term=$term in_terminal 150 24
        assert_shows '^time=[0-9T:-]+Z event=server processes=2 '
        press C-c
        assert_ended 0
        end_terminal
    done
}

@test "watch ID: only that ticket's transfers, until the last of them has ended" {
    nbd_ticket "${ID%?}0" large # begins with the same characters
    hold_reader other /images/other-image
    hold_reader alike "/images/${ID%?}0"
    supervise out "$CTL" watch "$ID"
    supervise short "$CTL" watch 3f2a1b0c # as it is shown
    wait_for has_line "$D/short.log" ' event=began ticket=3f2a1b0c '
    hold_reader a "/images/$ID"
    hold_reader b "/images/$ID"
    wait_for has_lines 2 "$D/out.log" ' event=began ticket=3f2a1b0c '
    wait_for has_lines 3 "$D/short.log" ' event=began ticket=3f2a1b0c '
    release a
    wait_for has_line "$D/out.log" ' event=gone ticket=3f2a1b0c '
    [ ! -e "$D/out.status" ]
    release b
    wait_for test -e "$D/out.status"
    assert_equal "$(cat "$D/out.status")" 0
    assert_equal "$(grep -c ' event=began ' "$D/out.log")" 2
    assert_equal "$(grep -c ' event=gone ' "$D/out.log")" 2
    run ! has_line "$D/out.log" ticket=other-im
    [ ! -e "$D/short.status" ]
    release alike
    wait_for test -e "$D/short.status"
    assert_equal "$(grep -c ' event=gone ' "$D/short.log")" 3
    release other
}

has_lines() { # COUNT FILE REGEX
    [ "$(grep -cE -- "$3" "$2")" = "$1" ]
}

@test "watch --once: what runs now, and no more" {
    ctl_ok watch --once
    assert_equal "$(wc -l <"$D/stdout")" 1
    has_line "$D/stdout" ' event=server processes=2 readers=0 '
    hold_reader r "/images/$ID"
    hold_reader s /images/other-image
    wait_for once_has 3
    has_line "$D/stdout" ' event=running ticket=3f2a1b0c operation=read '
    ctl_ok watch "$ID" --once
    assert_equal "$(wc -l <"$D/stdout")" 2
    ctl_ok watch nobody --once
    assert_equal "$(wc -l <"$D/stdout")" 1
    release r
    release s
    ctl_status=0
    "$CTL" watch --once >/dev/full 2>"$D/stderr" || ctl_status=$?
    : >"$D/stdout"
    assert_failure 1 'write to standard output: No space left on device'
}

once_has() { # LINES
    ctl_ok watch --once
    [ "$(wc -l <"$D/stdout")" = "$1" ]
}

# --- servers that are not there ---------------------------------------------

@test "watch: no run directory and none that can be read are errors" {
    local more hint=' (--run-dir is to be the server'\''s, and you root or the server'\''s user)'

    for more in '' --once "$ID"; do
        watch_as env $more --run-dir "$D/nowhere"
        assert_failure 1 "open $D/nowhere/scoreboard-1: No such file or directory$hint"
    done
    mkdir "$D/empty"
    ctl watch --once --run-dir "$D/empty"
    assert_failure 1 "no server runs with run directory $D/empty"
    rmdir "$D/empty"
    ctl watch one two
    assert_failure 2 'unexpected argument "two"'
    ctl watch a/b
    assert_failure 2 'watch: "a/b" is not a valid ID'
    ctl watch ''
    assert_failure 2 'watch: "" is not a valid ID'
    ctl watch --wait
    assert_failure 2 '--wait does not go with "watch"'
    [ "$(id -u)" = 0 ] || skip 'only root can become another user'
    chmod 755 "$D"
    watch_as 'setpriv --reuid 12345 --regid 12345 --clear-groups'
    assert_failure 1 "open $D/run/scoreboard-1: Permission denied$hint"
}

# watch_as COMMAND ARGUMENT...: as ctl, but does not wait for ever.
watch_as() {
    local as=$1

    shift
    ctl_status=0
    timeout 60 $as "$CTL" watch "$@" </dev/null >"$D/stdout" 2>"$D/stderr" ||
        ctl_status=$?
}

@test "watch: waits for a server, and shows nothing of one that was killed" {
    mkdir "$D/elsewhere"
    supervise out "$CTL" watch --run-dir "$D/elsewhere"
    in_terminal 100 24 --run-dir "$D/elsewhere"
    wait_for has_line "$D/out.log" ' event=server processes=0 '
    assert_shows "^no server runs with $D/elsewhere, waiting\$"
    start_other
    wait_for has_line "$D/out.log" ' event=server processes=1 '
    assert_shows '^readers 0/8, writers 0/1, processes 1$'
    hold_flush a "$D/another.sock" 192.0.2.7
    wait_for has_line "$D/out.log" ' event=began ticket=mute '
    assert_shows '^mute +flush 192\.0\.2\.7 '
    kill -9 "$(cat "$D/another.pid")"
    wait_for has_line "$D/out.log" ' event=gone ticket=mute '
    assert_equal "$(grep -c ' event=server processes=0 ' "$D/out.log")" 2
    assert_shows '^no transfer runs$'
    assert_shows '^gone: mute flush after .*, 192\.0\.2\.7$'
    wait "$(<"$D/request.a.pid")" || true
    # Restarted with a new run directory, as systemd does.
    rm -r "$D/elsewhere"
    mkdir "$D/elsewhere"
    rm -f "$D/another.sock"
    start_other
    assert_shows '^readers 0/8, writers 0/1, processes 1$'
    press q
    assert_ended 0
    stop out
    stop another
}
