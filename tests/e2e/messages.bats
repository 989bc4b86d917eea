#!/usr/bin/env bats
# The lines of docs/troubleshooting.md, provoked: what goes wrong is logged in
# the words of the page, by the program and by the web server. (That the page
# has all of the program's is tests/messages.)

load common

PAGE=$TOP/docs/troubleshooting.md
CTL=${CTL:-$(dirname "$PROGRAM")/imageio-fcgi-ctl}
OTHER=www-data # whom root has the program serve as

setup_file() {
    make_dir
    mkdir "$D/images"
    head -c 100000 /dev/urandom >"$D/disk"
    sed -n '/^```[a-z]/,/^```$/p' "$PAGE" >"$D/page"
    if [ "$(id -u)" = 0 ]; then
        export IMAGEIO_FCGI_USER=$OTHER
        chown $OTHER: "$D/images"
    fi
}

teardown_file() {
    rm -rf "$D"
}

teardown() {
    local failed=0

    if mountpoint -q "$D/small"; then
        as_root umount "$D/small" || failed=1
    fi
    stop_backends || failed=1
    if [ -e "$D/web.pid" ]; then
        stop web || failed=1
    fi
    if [ -e "$D/program.pids" ]; then
        kill "$PID" || failed=1
        wait_for has_line "$D/program.statuses" "^$PID 0\$" || failed=1
    fi
    if grep -sE 'Sanitizer|runtime error' "$D/program.log"; then
        failed=1
    fi
    rm -rf "$D"/{program,web}.* "$D"/*.sock "$D/web" "$D/images" "$D/run" \
        "$D/small" "$D/tickets"/* || failed=1
    mkdir "$D/images"
    return $failed
}

# begin [OPTION...]: the program, and the web server without kept connections.
begin() {
    mkdir -p "$D/web/nginx" "$D/web/upload"
    if [ "$(id -u)" = 0 ]; then
        chown $OTHER: "$D/web" "$D/web/upload" "$D/images"
    fi
    start_programs 1 "$@"
    WEB_SED="/fastcgi_keep_conn/d;${WEB_SED:-}" start_web
}

# regex LINE: what matches it, whatever stands for its capitals.
regex() {
    sed -E -e 's/[][\\.*^$+?(){}|]/\\&/g' -e 's/[A-Z_]{2,}|\b[NM]\b/.+/g' \
        <<<"$1"
}

# is_told FILE BEFORE LINE: FILE has the LINE behind BEFORE, a regex, and no
# more in that text.
is_told() {
    sed 's/\\x22/"/g' "$1" | grep -qE -- "$2$(regex "$3")(\"|, |\$)"
}

# assert_told FILE BEFORE LINE: and so has the page.
assert_told() {
    if ! grep -qxF -- "$3" "$D/page"; then
        echo "docs/troubleshooting.md does not have: $3" >&2
        return 1
    fi
    if ! wait_for is_told "$@"; then
        echo "not logged: $3" >&2
        tail -n 5 "$1" >&2
        return 1
    fi
}

# assert_logged ID LINE: of a request for that image.
assert_logged() {
    assert_told "$D/program.log" "ticket=$1 .*(error|refused|unreachable)=\"" \
        "$2"
}

# assert_web NGINX LIGHTTPD: the line of the one that there is.
assert_web() {
    local line=$1

    [ "$WEB" = nginx ] || line=$2
    assert_told "$D/web/error.log" '' "$line"
}

# ours: tickets and sockets, for the program's user.
ours() {
    chmod 644 "$D/tickets"/*
    find "$D/images" -type s -exec chmod 666 {} +
}

# --- it does not start ------------------------------------------------------

# fails LINE COMMAND...: that is all that it says, and its status is not 0.
fails() {
    local line=$1

    shift
    rm -f "$D/bad.sock"
    run spawn-fcgi -n -s "$D/bad.sock" -- "$@"
    assert_failure
    printf '%s\n' "$output" >"$D/said"
    [ "$(wc -l <"$D/said")" = 1 ]
    assert_told "$D/said" '^(error: )?' "$line"
}

@test "it does not start: no socket, no user, no run directory, no image root" {
    run "$PROGRAM" </dev/null
    assert_failure 2
    printf '%s\n' "$output" >"$D/said"
    assert_told "$D/said" '^' 'imageio-fcgi: descriptor 0 is not a listening socket; start it so: spawn-fcgi -n -s /run/imageio-fcgi/fcgi.sock -- PROGRAM'
    fails 'imageio-fcgi: OPTION: "VALUE" is not a valid KIND' \
        "$PROGRAM" --workers many
    fails 'there is no user NAME to serve as: make it (useradd --system --user-group NAME), or name another one by --user; "--user root" serves as root' \
        "$PROGRAM" --user no-such-user --run-dir "$D/run"
    fails 'make run directory DIR: CAUSE' "$PROGRAM" --run-dir "$D/none/run"
    mkdir "$D/run"
    : >"$D/run/locks"
    chmod 000 "$D/run/locks"
    fails 'open DIR/locks: CAUSE' "$PROGRAM" --run-dir "$D/run"
    chmod 600 "$D/run/locks"
    if [ "$(id -u)" = 0 ]; then
        chown -R $OTHER: "$D/run"
    fi
    fails '--image-root DIR: CAUSE' "$PROGRAM" --run-dir "$D/run" \
        --image-root "$D/none"
    fails 'WHAT DIR is below --image-root' "$PROGRAM" --run-dir "$D/run" \
        --image-root "$D"
}

# --- requests ---------------------------------------------------------------

@test "404: what is wrong with a ticket" {
    begin --image-root "$D/images"
    while IFS='|' read -r json line; do
        ticket broken "$json"
        ours
        http GET /images/broken
        assert_json_error 404 'unknown image_id'
        assert_logged broken "$line"
    done <<END
{"socket":|invalid JSON: CAUSE
["nbd"]|not a JSON object
{"socket":7}|"KEY" must be a string
{"read_only":"no","socket":"/x"}|"read_only" must be a boolean
{"socket":"/x","backend":"ftp"}|"backend" must be "nbd" or "file"
{"backend":"file"}|"KEY" is missing or empty
{"socket":"vm.sock"}|"KEY" must be an absolute path
{"socket":"/x","uri":"nbd://localhost"}|"socket" and "uri" exclude each other
{"uri":"nbd://localhost"}|"uri" has a scheme that --allow-uri does not name
{"backend":"file","file":"/etc/passwd"}|"KEY" is not below --image-root
{"socket":"$D/images/x","expires":1}|it has expired
END
    file_ticket mine "$D/images/disk"
    ln -s mine "$D/tickets/link"
    http GET /images/link
    assert_logged link 'a symbolic link, not a regular file'
    chmod 646 "$D/tickets/mine"
    http GET /images/mine
    assert_logged mine 'writable by others (mode MODE)'
    chmod 000 "$D/tickets/mine"
    http GET /images/mine
    assert_logged mine 'open the ticket as uid UID: CAUSE'
    http GET /images/nothing
    assert_logged nothing 'unknown image_id'
    # The line without the ticket's end, as a whole.
    assert_told "$D/program.log" '^' 'warning: ticket=TICKET refused="CAUSE"'
}

@test "404: no ticket directory" {
    begin --ticket-dir "$D/none"
    http GET /images/a
    assert_json_error 404 'unknown image_id'
    assert_logged a 'open ticket directory DIR: CAUSE'
}

@test "401, 403: what the client may not do" {
    begin
    file_ticket token "$D/images/disk" ',"token":"0123456789abcdef"'
    file_ticket locked "$D/images/disk" ',"read_only":true'
    file_ticket reader "$D/images/disk" ',"ops":["read"]'
    ours
    http GET /images/token
    assert_logged token "the ticket's bearer token is required"
    put /images/locked "$D/disk"
    assert_logged locked 'image is read-only'
    put /images/reader "$D/disk"
    assert_logged reader 'the ticket does not allow writing'
}

@test "500: an NBD server that is not there, may not be asked, or has no such export" {
    begin --image-root "$D/images"
    ticket image "{\"socket\":\"$D/images/nbd.sock\",\"export\":\"wrong\"}"
    ours
    http GET /images/image
    assert_json_error 500 'backend error'
    assert_logged image 'connect to nbd SOCKET: No such file or directory: is the NBD server running?'
    http OPTIONS /images/image
    assert_told "$D/program.log" '^' \
        'warning: OPTIONS ticket=TICKET unreachable="CAUSE"'

    truncate -s 1M "$D/raw"
    start_qemu_nbd images/nbd -f raw -x right "$D/raw"
    chmod 000 "$D/images/nbd.sock"
    http GET /images/image
    assert_json_error 500 'backend error'
    assert_logged image 'connect to nbd SOCKET: Permission denied: may uid UID do that?'

    chmod 666 "$D/images/nbd.sock"
    http GET /images/image
    assert_json_error 500 'backend error'
    assert_logged image "talk to nbd SOCKET: nbd_aio_notify_read: handshake: server has no export named 'NAME': No such file or directory"

    # What is left of a server that was killed.
    kill -9 "$(cat "$D/images/nbd.pid")"
    wait_for test -e "$D/images/nbd.status"
    http GET /images/image
    assert_json_error 500 'backend error'
    assert_logged image 'connect to nbd SOCKET: Connection refused: is the NBD server running?'
}

@test "504: an NBD server that does not answer" {
    begin --backend-timeout 1
    echo images/mute >>"$D/backends"
    supervise images/mute socat -u \
        "UNIX-LISTEN:$D/images/mute.sock,fork" OPEN:/dev/null
    wait_for test -S "$D/images/mute.sock"
    nbd_ticket mute images/mute
    ours
    http GET /images/mute
    assert_json_error 504 'backend timed out'
    assert_logged mute 'nbd SOCKET: no progress for N s'
}

@test "500: a file that leads out of the image roots, or may not be read or replaced" {
    begin --image-root "$D/images"
    ln -s "$D/disk" "$D/images/out"
    file_ticket out "$D/images/out"
    cp "$D/disk" "$D/images/closed"
    chmod 000 "$D/images/closed"
    file_ticket closed "$D/images/closed"
    file_ticket missing "$D/images/missing"
    mkdir "$D/images/folder"
    chmod 555 "$D/images/folder"
    file_ticket folder "$D/images/folder/new"
    ours
    http GET /images/out
    assert_json_error 500 'backend error'
    assert_logged out 'open FILE: it leads out of --image-root'
    http GET /images/closed
    assert_json_error 500 'backend error'
    assert_logged closed 'open FILE: Permission denied: may uid UID do that?'
    http GET /images/missing
    assert_logged missing 'open FILE: CAUSE'
    put /images/folder "$D/disk"
    assert_logged folder 'make a new file in DIR as uid UID: CAUSE'
    if [ "$(id -u)" = 0 ]; then
        cp "$D/disk" "$D/images/root"
        file_ticket root "$D/images/root"
        ours
        put /images/root "$D/disk"
        assert_json_error 500 'backend error'
        assert_logged root 'keep owner UID:GID of FILE: CAUSE'
    fi
}

@test "507: a full disk" {
    begin
    mkdir "$D/small"
    as_root mount -t tmpfs -o size=64k,mode=0777 tmpfs "$D/small"
    file_ticket full "$D/small/image"
    ours
    put /images/full "$D/disk"
    assert_json_error 507 'no space left'
    assert_logged full 'reserve N bytes for FILE: CAUSE'
}

@test "a transfer that is cut: the program, the web server, the client" {
    begin
    start_nbdkit images/half --threads=1 eval get_size="echo $((64 * MIB))" \
        pread="if [ \$4 -ge $((32 * MIB)) ]; then
                   echo EIO no >&2
                   exit 1
               fi
               head -c \$3 /dev/zero"
    nbd_ticket half images/half
    ours
    http GET /images/half
    assert_cut
    assert_logged half 'read N bytes at OFFSET of nbd SOCKET: CAUSE'
    has_line "$D/program.log" '^error: method=GET ticket=half status=200 '
    assert_web \
        'upstream sent unsupported FastCGI protocol version: 0 while DOING' \
        'FastCGI: header.type not handled: 0'
    if [ "$WEB" = lighttpd ]; then
        assert_web '' 'response already sent out, but backend returned error on socket: unix:SOCKET for ?, terminating connection'
    fi
    has_line "$PAGE" "^\| 18 .transfer closed with N bytes remaining to read"
    grep -qE 'transfer closed with [0-9]+ bytes remaining to read' \
        "$D/request.now.error"
    http GET '/images/half/extents?context=dirty'
    assert_status 200
    assert_told "$D/program.log" '^' \
        'warning: extents ticket=TICKET no dirty bitmap: all is dirty'
}

# --- what the web server answers --------------------------------------------

# gets STATUS: from the web server, which cannot ask the program.
gets() {
    http GET /images/image
    [ "$http_status" = "$1" ]
}

is_logged_by_web() { # LINE: of a request now; lighttpd says it at times only
    gets 503
    is_told "$D/web/error.log" '' "$1"
}

# assert_unreachable CAUSE-OF-NGINX CAUSE
assert_unreachable() {
    local line="establishing connection failed: socket: unix:SOCKET: $2"

    if [ "$WEB" = nginx ]; then
        gets 502
        assert_web "connect() to unix:SOCKET failed ($1: $2) while connecting to upstream"
    else
        gets 503
        wait_for is_logged_by_web "$line"
        assert_web '' "$line"
        assert_web '' 'all handlers for ? on / are down.'
    fi
}

@test "502, 503: the program's socket is not there, not for the web server, or dead" {
    begin
    chmod 000 "$D/fcgi.sock"
    assert_unreachable 13 'Permission denied'
    mv "$D/fcgi.sock" "$D/kept.sock"
    assert_unreachable 2 'No such file or directory'
    python3 -c 'import socket, sys
socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$D/fcgi.sock"
    chmod 666 "$D/fcgi.sock"
    assert_unreachable 111 'Connection refused'
}

@test "500, 502: the program ends in the middle of a request" {
    begin
    mv "$D/fcgi.sock" "$D/kept.sock"
    # In its place, one that takes a request and ends.
    echo ends >>"$D/backends"
    supervise ends socat "UNIX-LISTEN:$D/fcgi.sock,fork,mode=666" \
        SYSTEM:'head -c 8 >/dev/null'
    wait_for test -S "$D/fcgi.sock"
    if [ "$WEB" = nginx ]; then
        gets 502
        # Which of the two depends on who is first.
        if is_told "$D/web/error.log" '' 'recv() failed (104: Connection reset by peer) while reading response header from upstream'; then
            assert_web 'recv() failed (104: Connection reset by peer) while reading response header from upstream'
        else
            assert_web 'upstream prematurely closed connection while reading response header from upstream'
        fi
    else
        gets 500
        assert_web '' 'response not received, request sent: N on socket: unix:SOCKET for ?, closing connection'
    fi
}

@test "403: /status is not for everybody" {
    WEB_SED='/allow unix:;/d;s/|\/|\$)"/)"/' begin
    http GET /status
    assert_status 403
    if [ "$WEB" = nginx ]; then
        assert_web 'access forbidden by rule'
    fi
}

@test "413: a web server that limits uploads" {
    WEB_SED='/client_max_body_size/d;s/^server.max-request-size = 0/server.max-request-size = 1024/' \
        begin
    file_ticket image "$D/images/disk"
    ours
    head -c $((2 * MIB)) /dev/zero >"$D/images/large"
    put /images/image "$D/images/large"
    assert_status 413
    assert_web 'client intended to send too large body: N bytes' \
        'request-size too long: N -> 413'
    run ! grep method=PUT "$D/program.log"
}

@test "504: a web server that waits no longer" {
    WEB_SED='s/fastcgi_read_timeout 3600s/fastcgi_read_timeout 1s/;s/"disable-time" => 0/&, "read-timeout" => 1/' \
        begin
    mv "$D/fcgi.sock" "$D/kept.sock"
    echo mute >>"$D/backends"
    supervise mute socat -u "UNIX-LISTEN:$D/fcgi.sock,fork,mode=666" \
        OPEN:/dev/null
    wait_for test -S "$D/fcgi.sock"
    gets 504
    run ! grep -q '^{' "$http_body"
    assert_web 'upstream timed out (110: Connection timed out) while reading response header from upstream' \
        'read timeout on socket: unix:SOCKET'
}

# --- imageio-fcgi-ctl -------------------------------------------------------

@test "imageio-fcgi-ctl: what cannot be done" {
    local line

    while IFS='|' read -r arguments line; do
        # shellcheck disable=SC2086
        run "$CTL" --ticket-dir "$D/tickets" --run-dir "$D/run" $arguments
        printf '%s\n' "$output" >"$D/said"
        if [ "$line" = - ]; then
            assert_success
            continue
        fi
        assert_failure 1
        [ "$(wc -l <"$D/said")" = 1 ]
        assert_told "$D/said" '^imageio-fcgi-ctl: (id: )?' "$line"
    done <<END
show id|there is no such ticket in DIR
add id --nbd /x|-
add id --nbd /x|there is such a ticket already in DIR
add id --replace --nbd /x --expires 1|"expires" is a time that has passed
add id --replace --nbd $(printf 'x%.0s' {1..108})|not a ticket: CAUSE
remove id --wait|open DIR/locks: CAUSE
--ticket-dir $D/none list|open ticket directory DIR: CAUSE
serve --socket $D/page|listen on SOCKET: it exists and is no socket
serve --socket $D/none/socket|open the folder of SOCKET: CAUSE
END
}
