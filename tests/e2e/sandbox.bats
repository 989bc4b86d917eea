#!/usr/bin/env bats
# Only what it needs: the user, the sandbox, and the folders that tickets may
# name things in (--user, --sandbox, --image-root).

load common

OTHER=www-data # some user who is not root

setup_file() {
    make_dir
    make_disk "$D/disk" 1000003
    make_disk "$D/secret" 1000003
    # For any user.
    chmod 755 "$D/tickets"
}

teardown_file() {
    rm -rf "$D"
}

setup() {
    mkdir "$D/images" "$D/outside"
    chmod 755 "$D/images" "$D/outside"
    cp "$D/disk" "$D/images/file"
    cp "$D/secret" "$D/outside/file"
}

teardown() {
    if [ -e "$D/program.pids" ]; then
        end_service
    fi
    rm -rf "$D/images" "$D/outside" "$D/run" "$D/tickets"/*
}

# begin [OPTION...]: the program and the web server.
begin() {
    start_programs 1 "$@"
    start_web
}

end_service() {
    local status=0

    stop_backends || status=1
    stop web || status=1
    kill "$PID" || status=1
    wait_for has_line "$D/program.statuses" "^$PID 0\$" || status=1
    rm -f "$D/program.pids" "$D/program.log"
    return $status
}

# state NAME: of the program, as the kernel sees it.
state() {
    sed -n "s/^$1:[[:space:]]*//p" "/proc/$PID/status"
}

logged() { # REGEX
    has_line "$D/program.log" "$1"
}

# as_other COMMAND...
as_other() {
    as_root setpriv --reuid "$OTHER" --regid "$OTHER" --init-groups "$@"
}

# fails_to_start REGEX COMMAND...: with a listening socket, status 1, a line.
fails_to_start() {
    local regex=$1

    shift
    rm -f "$D/bad.sock"
    run spawn-fcgi -n -s "$D/bad.sock" -- "$@"
    assert_failure
    assert_output --regexp "$regex"
}

# --- the user ---------------------------------------------------------------

@test "--user: root becomes that user, with its groups, for good" {
    if [ "$(id -u)" != 0 ]; then
        # Started by somebody else it stays that one.
        begin
        [ "$(state Uid | xargs)" = "$(id -u) $(id -u) $(id -u) $(id -u)" ]
        return
    fi
    uid=$(id -u $OTHER) gid=$(id -g $OTHER)
    begin --user $OTHER
    [ "$(state Uid | xargs)" = "$uid $uid $uid $uid" ]
    [ "$(state Gid | xargs)" = "$gid $gid $gid $gid" ]
    [ "$(state Groups | xargs)" = "$(id -G $OTHER)" ]
    [ "$(state CapEff)" = 0000000000000000 ]
    [ "$(state CapPrm)" = 0000000000000000 ]
    logged "^info: ready .* uid=$uid "
    # It made its run directory for that user, and serves.
    [ "$(stat -c %u "$D/run" "$D/run/locks" | xargs)" = "$uid $uid" ]
    file_ticket file "$D/images/file"
    chmod 644 "$D/tickets/file"
    http GET /images/file
    assert_status 200
    assert_body "$D/disk"
    # But not what that user may not read.
    chmod 600 "$D/images/file"
    http GET /images/file
    assert_json_error 500 'backend error'
    logged 'open .*/images/file: Permission denied'
    # Nor can it write there.
    file_ticket new "$D/images/new"
    chmod 644 "$D/tickets/new"
    put /images/new "$D/disk"
    assert_json_error 500 'backend error'
    [ ! -e "$D/images/new" ]
}

@test "--user: NBD images and file images that are the user's are written" {
    begin --user "$([ "$(id -u)" = 0 ] && echo $OTHER || id -un)" \
        --image-root "$D/images"
    start_nbdkit nbd memory 1M
    ln "$D/nbd.sock" "$D/images/nbd.sock"
    ticket nbd "{\"socket\":\"$D/images/nbd.sock\"}"
    file_ticket file "$D/images/file"
    if [ "$(id -u)" = 0 ]; then
        chown $OTHER: "$D/nbd.sock" "$D/images" "$D/images/file"
        chmod 644 "$D/tickets"/*
    fi
    for id in nbd file; do
        head -c $MIB /dev/urandom >"$D/new"
        put /images/$id "$D/new"
        assert_status 200
        http GET /images/$id
        assert_body "$D/new"
    done
}

@test "--user: one that is not there is an error that says what to do" {
    fails_to_start "error: there is no user no-such-user .*useradd.*--user" \
        "$PROGRAM" --user no-such-user --run-dir "$D/run"
    [ ! -e "$D/run" ]
}

@test "--user: root without it serves as the user imageio, or not at all" {
    unset IMAGEIO_FCGI_USER
    uid=$(id -u imageio 2>/dev/null) || uid=none
    if [ "$(id -u)" != 0 ]; then
        uid=$(id -u)
    fi
    if [ $uid = none ]; then
        fails_to_start 'error: there is no user imageio to serve as' \
            "$PROGRAM" --run-dir "$D/run"
    else
        begin
        [ "$(state Uid | xargs)" = "$uid $uid $uid $uid" ]
    fi
}

@test "--user: who is not root can be nobody else" {
    mkdir "$D/other"
    as_root chown $OTHER: "$D/other"
    as_other cp "$PROGRAM" "$D/other/program"
    fails_to_start 'error: only root can serve as user daemon' \
        "$(command -v setpriv)" --reuid $OTHER --clear-groups "$D/other/program" \
        --user daemon --run-dir "$D/other/run"
    as_root rm -r "$D/other"
}

# --- the sandbox ------------------------------------------------------------

# Builds that measure themselves have none, and say so.
has_sandbox() {
    ! is_sanitized && ! nm "$PROGRAM" 2>/dev/null | grep -q __gcov_
}

# begin_probed [OPTION...]: with tests/e2e/probe.c in it; what it found is in
# $D/probe, then.
begin_probed() {
    cc -shared -fPIC -D_GNU_SOURCE -o "$D/probe.so" \
        "$TOP/tests/e2e/probe.c"
    : >"$D/probe"
    export PROBE_FD=9 PROBE_INSIDE=$D/images PROBE_OUTSIDE=$D/outside
    # Only the program gets it, and the descriptor.
    cat >"$D/probed" <<END
#!/bin/bash
export LD_PRELOAD=$D/probe.so
exec "$PROGRAM" "\$@" 9>"$D/probe"
END
    chmod 755 "$D/probed"
    PROGRAM=$D/probed begin "$@"
    unset PROBE_FD PROBE_INSIDE PROBE_OUTSIDE
    wait_for has_line "$D/probe" '^end '
}

probed() { # NAME RESULT
    if ! has_line "$D/probe" "^$1 $2\$"; then
        echo "expected $1 $2:" >&2
        cat "$D/probe" >&2
        return 1
    fi
}

@test "--sandbox auto: a process, a socket to other hosts, code: nothing of it" {
    if ! has_sandbox; then
        begin
        logged '^info: no sandbox: this build measures itself$'
        return
    fi
    begin_probed --image-root "$D/images"
    [ "$(state NoNewPrivs)" = 1 ]
    [ "$(state Seccomp)" = 2 ]
    logged '^info: sandbox seccomp=1$'
    for what in execve memfd-run fork ptrace kill socket-inet socket-inet6 \
        socket-netlink socket-packet mprotect-exec mmap-exec mount unshare \
        chmod setuid prctl io_uring bpf symlink-inside symlink-outside; do
        probed $what EPERM
    done
    # What the program itself does is no lie.
    for what in socket-unix mmap; do
        probed $what ok
    done
    # Every thread is in it, and the program serves.
    [ "$(cat /proc/"$PID"/task/*/status | grep -c '^Seccomp:.*2$')" = \
        "$(state Threads)" ]
    file_ticket file "$D/images/file"
    http GET /images/file
    assert_body "$D/disk"
}

@test "--sandbox auto, --image-root: files below it, and no others" {
    if ! has_sandbox; then
        begin --image-root "$D/images"
        logged '^info: no sandbox: this build measures itself$'
        return
    fi
    begin_probed --image-root "$D/images"
    if logged '^warning: sandbox landlock=0: the kernel has none$'; then
        probed read-outside ok
        return
    fi
    logged '^info: sandbox landlock=[1-9]'
    for what in read write make unlink; do
        probed $what-inside ok
    done
    for what in read write make; do
        probed $what-outside EACCES
    done
    # Of the two folders that it needs besides, one is only read.
    file_ticket file "$D/images/file"
    http GET /images/file
    assert_status 200
}

@test "--sandbox auto: without --image-root files are not restricted, and the log says so" {
    begin
    logged "^info: no --image-root: tickets may name every file and socket that uid $(id -u) can open\$"
    file_ticket file "$D/outside/file"
    http GET /images/file
    assert_body "$D/secret"
}

@test "--sandbox off: says so in the log" {
    begin --sandbox off
    logged '^info: no sandbox: '
    [ "$(state Seccomp)" = 0 ]
    [ "$(state NoNewPrivs)" = 0 ]
    file_ticket file "$D/images/file"
    http GET /images/file
    assert_body "$D/disk"
}

@test "--sandbox auto, --allow-uri nbd: a server on another host can be reached, no code be run" {
    begin --allow-uri nbd,nbds
    if has_sandbox; then
        [ "$(state Seccomp)" = 2 ]
    fi
    supervise tcp python3 "$TOP/tests/e2e/listen.py" "$D/port" \
        nbdkit -f memory 1M
    echo tcp >>"$D/backends"
    wait_for test -s "$D/port"
    # By name: it is looked up in the sandbox.
    ticket uri "{\"uri\":\"nbd://localhost:$(cat "$D/port")\"}"
    http GET /images/uri
    assert_status 200
    if has_sandbox; then
        end_service
        begin_probed --allow-uri nbd
        for what in execve memfd-run fork ptrace kill socket-packet; do
            probed $what EPERM
        done
    fi
}

# --- image roots ------------------------------------------------------------

# refused ID REGEX: 404, and why in the log.
refused() {
    http GET "/images/$1"
    assert_json_error 404 'unknown image_id'
    logged "ticket=$1 refused=.*$2"
}

# leads_out ID: 500, nothing of it, and why in the log.
leads_out() {
    http GET "/images/$1"
    assert_json_error 500 'backend error'
    logged "GET ticket=$1 .*it leads out of --image-root"
}

@test "--image-root: what a ticket names elsewhere is unknown" {
    begin --image-root "$D/images" --allow-uri nbd+unix,nbds
    start_nbdkit out memory 1M
    file_ticket a "$D/outside/file"
    refused a 'file.* is not below --image-root'
    file_ticket b "$D/images-more"
    refused b 'file.* is not below --image-root'
    nbd_ticket d out
    refused d 'socket.* is not below --image-root'
    ticket e "{\"uri\":\"nbd+unix:///?socket=$D/out.sock\"}"
    refused e 'uri.* names a socket, which --image-root allows as .*socket'
    # A URI that makes libnbd read files of its own choice.
    ticket f "{\"uri\":\"nbds://localhost:1/?tls-certificates=$D/outside\"}"
    http GET /images/f
    assert_json_error 500 'backend error'
    logged 'GET ticket=f .*local file'
    # Writers too, and what is asked without opening.
    for method in PUT OPTIONS HEAD; do
        http $method /images/a
        assert_status 404
    done
    cmp "$D/secret" "$D/outside/file"
}

@test "--image-root: paths that climb out, and links of any kind, lead nowhere" {
    # Without landlock, which would stop it as well.
    begin --image-root "$D/images/" --max-writers 4 --sandbox off
    file_ticket up "$D/images/../outside/file"
    ln -s "$D/outside/file" "$D/images/absolute"
    file_ticket absolute "$D/images/absolute"
    ln -s ../outside/file "$D/images/relative"
    file_ticket relative "$D/images/relative"
    ln -s ../outside "$D/images/folder"
    file_ticket folder "$D/images/folder/file"
    ln -s /proc/self/root "$D/images/root"
    file_ticket magic "$D/images/root$D/outside/file"
    start_nbdkit out memory 1M
    ln -s "$D/out.sock" "$D/images/socket"
    ticket socket "{\"socket\":\"$D/images/socket\"}"
    ticket by "{\"socket\":\"$D/images/folder/../out.sock\"}"
    for id in up absolute relative folder magic socket by; do
        leads_out $id
    done
    # Nothing is written there, and nothing made.
    ln -s ../outside/new "$D/images/dangling"
    file_ticket dangling "$D/images/dangling"
    file_ticket fresh "$D/images/folder/fresh"
    for id in up absolute relative folder magic dangling fresh socket; do
        put /images/$id "$D/disk"
        assert_json_error 500 'backend error'
    done
    [ "$(ls -A "$D/outside")" = file ]
    cmp "$D/secret" "$D/outside/file"
}

@test "--image-root: links that stay inside are followed" {
    mkdir -p "$D/images/a/b"
    mv "$D/images/file" "$D/images/a/b/disk"
    ln -s b/disk "$D/images/a/link"
    ln -s ../a "$D/images/a/again"
    ln -s b/new "$D/images/a/dangling"
    begin --image-root "$D/images"
    file_ticket link "$D/images/a/again/./link"
    http GET /images/link
    assert_body "$D/disk"
    put /images/link "$D/secret"
    assert_status 200
    cmp "$D/secret" "$D/images/a/b/disk"
    [ -L "$D/images/a/link" ]
    post /images/link/flush
    assert_status 200
    file_ticket dangling "$D/images/a/dangling"
    put '/images/dangling?flush=y' "$D/secret"
    assert_status 200
    cmp "$D/secret" "$D/images/a/b/new"
}

@test "--image-root: several, one of them by a link, one without an image; sockets below one" {
    mkdir "$D/images/x" "$D/outside/y"
    ln -s outside "$D/alias"
    begin --image-root "$D/images/x" --image-root "$D/alias/y:$D/outside/y"
    cp "$D/disk" "$D/outside/y/disk"
    file_ticket alias "$D/alias/y/disk"
    file_ticket real "$D/outside/y/disk"
    for id in alias real; do
        http GET /images/$id
        assert_body "$D/disk"
        put "/images/$id?flush=y" "$D/disk"
        assert_status 200
    done
    file_ticket file "$D/images/file"
    refused file 'file.* is not below --image-root'
    start_nbdkit nbd memory 1M
    ln "$D/nbd.sock" "$D/images/x/nbd.sock"
    ticket nbd "{\"socket\":\"$D/images/x/nbd.sock\"}"
    head -c $MIB "$D/disk" >"$D/new"
    for _ in 1 2; do
        put /images/nbd "$D/new" -H "Content-Range: bytes 0-$(($(stat -c %s "$D/new") - 1))/*"
        assert_status 200
        http GET /images/nbd -r 0-999999
        assert_body <(head -c 1000000 "$D/new")
    done
    # Kept connections go by the same socket.
    [ "$(grep -c ' Connect ' "$D/nbd.nbdlog")" = 1 ]
    rm "$D/alias"
}

@test "--image-root: a folder that is swapped for a link all the time lets nothing out" {
    begin --image-root "$D/images" --sandbox off
    mkdir "$D/images/in"
    cp "$D/disk" "$D/images/in/file"
    ln -s ../outside "$D/images/out"
    file_ticket in "$D/images/in/file"
    (close_others && exec python3 "$TOP/tests/e2e/swap.py" "$D/images/in" \
        "$D/images/out") &
    swapper=$!
    echo $swapper >>"$D/requests"
    : >"$D/statuses"
    for _ in {1..150}; do
        http GET /images/in -r 0-4095
        echo "$http_status" >>"$D/statuses"
        if [ "$http_status" = 206 ]; then
            assert_body <(head -c 4096 "$D/disk")
        fi
        put /images/in "$D/disk"
        echo "PUT $http_status" >>"$D/statuses"
    done
    kill $swapper
    wait $swapper || :
    # Each of the two was met.
    has_line "$D/statuses" '^206$'
    has_line "$D/statuses" '^500$'
    has_line "$D/statuses" '^PUT 200$'
    # 409: the image was another one each time that it was locked.
    run ! grep -vE '^(206|500|PUT 200|PUT 500|PUT 409)$' "$D/statuses"
    cmp "$D/secret" "$D/outside/file"
    [ "$(ls -A "$D/outside")" = file ]
}

@test "--image-root, --file-handoff lighttpd: files are not handed over" {
    # Neither web server would follow it here: the body would be missing.
    begin --image-root "$D/images" --file-handoff lighttpd
    file_ticket file "$D/images/file"
    http GET /images/file
    assert_status 200
    assert_body "$D/disk"
}

@test "--image-root: the run directory and the tickets cannot be below one" {
    fails_to_start "run directory $D/images/run is below --image-root" \
        "$PROGRAM" --run-dir "$D/images/run" --image-root "$D/images"
    ln -s "$D/images" "$D/alias"
    fails_to_start "ticket directory $D/alias/t is below --image-root" \
        "$PROGRAM" --run-dir "$D/run" --ticket-dir "$D/alias/t" \
        --image-root "$D/alias"
    rm "$D/alias"
}

@test "--image-root: one that is missing, or relative, is an error at the start" {
    fails_to_start "error: --image-root $D/missing: No such file" \
        "$PROGRAM" --run-dir "$D/run" --image-root "$D/images:$D/missing"
    for value in images '' "$D/images:" "$D/images:images" .; do
        fails_to_start '"--?image-root|image-root.*is not a valid DIR' \
            "$PROGRAM" --run-dir "$D/run" --image-root "$value"
    done
    fails_to_start 'Argument list too long' "$PROGRAM" --run-dir "$D/run" \
        --image-root "$(printf "$D/images:%.0s" {1..16})$D/images"
    if has_sandbox; then
        # What landlock is to allow has to be there.
        fails_to_start "landlock: open folder $D/missing: No such file" \
            "$PROGRAM" --run-dir "$D/run" --ticket-dir "$D/missing" \
            --image-root "$D/images"
    fi
    IMAGEIO_FCGI_IMAGE_ROOT=$D/missing fails_to_start 'missing: No such file' \
        "$PROGRAM" --run-dir "$D/run"
}
