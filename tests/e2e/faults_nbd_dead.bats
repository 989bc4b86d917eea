#!/usr/bin/env bats
# The matrix of faults (faults_nbd.bash), where the NBD server is not there, dies,
# or has no time for a second client.

load common
load faults_nbd

setup_file() {
    start_faults_service --backend-timeout 20
    warm_up die
}

teardown_file() {
    stop_service
}

teardown() {
    tell_cell
    stop_images
}

@test "a server whose socket is missing is 500, and is used once it is there" {
    start_images
    nbd_ticket bad bad
    try_connecting missing
}

@test "a socket that nobody listens on is 500, and is used once somebody does" {
    start_images
    start_image bad
    kill -9 "$(cat "$D/bad.pid")"
    wait_for test -e "$D/bad.status"
    [ -S "$D/bad.sock" ]
    try_connecting refuse
}

@test "a server that hangs up instead of greeting is 500" {
    start_images
    echo bad >>"$D/backends"
    supervise bad socat "UNIX-LISTEN:$D/bad.sock,fork" \
        SYSTEM:'printf NBDMAGICIHAVEOPT'
    wait_for test -S "$D/bad.sock"
    nbd_ticket bad bad
    try_connecting die
}

@test "a server that dies at the first command is 500, and leaves nothing behind" {
    try_rows die first
}

@test "a server that dies at the first command of a new connection is 500" {
    FRESH=1 try_rows die first
}

@test "a server that dies in the middle is 500, or a cut, and leaves nothing behind" {
    try_rows die middle
}

@test "a server that dies at the last command is 500, or a cut, and leaves nothing behind" {
    try_rows die last
}

@test "a server that dies between two requests is 500, and one that was started anew is used" {
    start_images bad
    set +T
    for row in "${CONNECT_ROWS[@]}"; do
        cell "$row: killed"
        kill -9 "$(<"$D/bad.pid")"
        wait_for test -e "$D/bad.status"
        mark
        begin "$row" bad
        http_wait bad
        assert_failed "$row" bad first refuse
        assert_free "$row" $((FDS - 1))
        cell "$row: killed and started anew"
        serve bad
        wait_for is_kept bad "$FDS"
        kill -9 "$(<"$D/bad.pid")"
        wait_for test -e "$D/bad.status"
        serve bad
        begin "$row" bad
        http_wait bad
        assert_succeeded "$row" bad
        cp "$D/old" "$D/bad.raw"
    done
}

@test "GET: a connection that ends within an answer passes on what came, and no more" {
    start_images bad
    # In the greeting, in the first read, and later ones.
    for bytes in 100 100000 $((MIB + 5000)) $((5 * MIB + 5000)); do
        start_link cut bad --cut "$bytes"
        nbd_ticket cut cut
        wait_for is_answering
        mark
        begin get cut
        http_wait cut
        case $bytes in
        100 | 100000) assert_failed get cut first die ;;
        *)
            assert_failed get cut middle die
            [ "$(stat -c %s "$http_body")" -le "$bytes" ]
            ;;
        esac
        assert_free get "$FDS"
        stop cut
    done
}

@test "after all of these deaths the program has no more memory" {
    assert_memory
}

# --- servers of a single client ----------------------------------------------

@test "a server of a single client serves one ticket after the other, though it is kept" {
    cp "$D/old" "$D/one.raw"
    ln -s one.raw "$D/two.raw"
    start_nbdkit one --filter=multi-conn --filter=noparallel \
        file "$D/one.raw" serialize=connections multi-conn-mode=emulate
    nbd_ticket one one
    nbd_ticket two one
    wait_for is_answering
    set +T
    for row in "${CONNECT_ROWS[@]}"; do
        for id in one two; do
            cell "$row, $id"
            begin "$row" $id --max-time 10
            http_wait $id
            assert_succeeded "$row" $id
            cp "$D/old" "$D/one.raw"
        done
    done
    rm "$D/two.raw"
}

# start_single IMAGE [OPTION...]: qemu-nbd, as it is by default.
start_single() {
    local name=$1

    shift
    rm -f "$D/$name.sock" "$D/$name.ready"
    echo "$name" >>"$D/backends"
    supervise "$name" qemu-nbd "$@" -k "$D/$name.sock" -f raw \
        --pid-file="$D/$name.ready" "$D/$name.raw"
    wait_for test -s "$D/$name.ready"
}

has_queue() { # NAME: somebody waits for server NAME to take his connection
    [ "$(ss -xlH src "$D/$1.sock" | awk '{ print $3 }')" -gt 0 ]
}

@test "a qemu-nbd of a single client makes the second one wait, and then serves it" {
    truncate -s 64M "$D/one.raw"
    start_single one -t
    nbd_ticket one one
    nbd_ticket two one
    wait_for is_answering
    set +T
    for row in part patch zero flush post extents map head get; do
        cell "$row"
        hold_reader slow /images/one
        begin "$row" two
        wait_for has_queue one
        is_requesting two
        release slow
        assert_status 200
        [ "$(stat -c %s "$http_body")" = $((64 * MIB)) ]
        http_wait two
        assert_status 200
    done
}

@test "a qemu-nbd that ends with its only client serves one request, the next one fails" {
    start_good
    cp "$D/old" "$D/once.raw"
    nbd_ticket once once
    wait_for is_answering
    set +T
    for row in "${CONNECT_ROWS[@]}"; do
        cell "$row"
        start_single once
        begin "$row" once
        http_wait once
        assert_succeeded "$row" once
        wait_for test -e "$D/once.status"
        mark
        begin "$row" once
        http_wait once
        assert_failed "$row" once first gone
        can_write /images/good
        cp "$D/old" "$D/once.raw"
    done
}
