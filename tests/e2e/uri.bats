#!/usr/bin/env bats
# NBD servers that a ticket names by a URI: TCP, TLS with certificates and with
# pre-shared keys, and --allow-uri. TCP on 127.0.0.1 only, on ports that the
# system picks.

load common

teardown() {
    stop_service
}

begin() { # [OPTION...]
    start_service "$@"
    make_disk "$D/disk" $((8 * MIB))
    make_disk "$D/new" $((8 * MIB))
}

# start_tcp NAME ARGUMENT...: nbdkit on a port of its own, $PORT. It gets a
# socket that listens already, as systemd would give it one.
start_tcp() {
    local name=$1

    shift
    rm -f "$D/$name.port"
    echo "$name" >>"$D/backends"
    supervise "$name" python3 "$TOP/tests/e2e/listen.py" "$D/$name.port" \
        nbdkit -f --filter=log "$@" logfile="$D/$name.nbdlog"
    wait_for test -s "$D/$name.port"
    PORT=$(cat "$D/$name.port")
}

uri_ticket() { # ID URI [MORE_KEYS]
    ticket "$1" "{\"uri\":\"$2\"${3:-}}"
}

make_psk() {
    echo "alice:$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" \
        >"$D/psk"
    cp "$D/psk" "$D/client-psk"
}

# make_certificates: an authority, and a server that it knows as 127.0.0.1.
make_certificates() {
    local at=$D/pki

    mkdir "$at"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority \
        -keyout "$at/ca-key.pem" -out "$at/ca-cert.pem" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=server \
        -keyout "$at/server-key.pem" -out "$at/server.csr" 2>/dev/null
    openssl x509 -req -in "$at/server.csr" -days 2 -CA "$at/ca-cert.pem" \
        -CAkey "$at/ca-key.pem" -CAcreateserial \
        -extfile <(echo subjectAltName=IP:127.0.0.1) \
        -out "$at/server-cert.pem" 2>/dev/null
    # All that a client needs.
    mkdir "$D/client-pki"
    cp "$at/ca-cert.pem" "$D/client-pki"
}

# all_of ID: every kind of request, from a disk like $D/disk to one like
# $D/new.
all_of() {
    http HEAD "/images/$1"
    assert_header Content-Length $((8 * MIB))
    http GET "/images/$1"
    assert_status 200
    assert_body "$D/disk"
    http GET "/images/$1" -H 'Range: bytes=100000-100099'
    assert_status 206
    assert_body <(bytes "$D/disk" 100000 100)
    http GET "/images/$1/extents"
    assert_json 200 '[{"start":0,"length":8388608,"zero":false}]'
    json "/images/$1" '{"op":"zero","size":4096}'
    assert_ok '{"ok":true}'
    put "/images/$1?flush=y" "$D/new"
    assert_ok '{"ok":true,"bytes_written":8388608,"flushed":true}'
    post "/images/$1/flush"
    assert_ok '{"ok":true}'
    cmp "$D/new" "$D/disk"
}

@test "nbd://: a server on TCP, and its connections are kept" {
    begin --allow-uri nbd --nbd-idle 600
    start_tcp tcp file "$D/disk"
    uri_ticket image "nbd://127.0.0.1:$PORT/"
    all_of image
    [ "$(grep -c ' Connect export=' "$D/tcp.nbdlog")" = 1 ]
}

@test "nbd://: the URI names the export" {
    begin --allow-uri nbd
    mkdir "$D/exports"
    cp "$D/disk" "$D/exports/one"
    cp "$D/new" "$D/exports/two"
    start_tcp tcp file dir="$D/exports"
    uri_ticket one "nbd://127.0.0.1:$PORT/one"
    uri_ticket two "nbd://127.0.0.1:$PORT/two"
    http GET /images/one
    assert_body "$D/disk"
    http GET /images/two
    assert_body "$D/new"
}

@test "nbd+unix://: a server on a Unix socket" {
    begin --allow-uri nbd+unix
    start_nbdkit disk file "$D/disk"
    uri_ticket image "nbd+unix:///?socket=$D/disk.sock"
    all_of image
}

@test "nbds://: TLS, and the server's certificate is checked" {
    begin --allow-uri nbds
    make_certificates
    start_tcp tls --tls=require --tls-certificates="$D/pki" file "$D/disk"
    uri_ticket image "nbds://127.0.0.1:$PORT/?tls-certificates=$D/client-pki"
    all_of image
    # Another name than the certificate's, and an authority that it is not of.
    uri_ticket other "nbds://localhost:$PORT/?tls-certificates=$D/client-pki"
    http GET /images/other
    assert_json_error 500 'backend error'
    mv "$D/pki" "$D/old-pki"
    mv "$D/client-pki" "$D/old-client-pki"
    make_certificates
    uri_ticket image "nbds://127.0.0.1:$PORT/?tls-certificates=$D/client-pki"
    http GET /images/image
    assert_json_error 500 'backend error'
}

@test "nbds+unix://: TLS with a pre-shared key" {
    begin --allow-uri nbds+unix
    make_psk
    start_nbdkit disk --tls=require --tls-psk="$D/psk" file "$D/disk"
    uri_ticket image \
        "nbds+unix://alice@/?socket=$D/disk.sock&tls-psk-file=$D/client-psk"
    all_of image
    echo "alice:$(printf '00%.0s' {1..32})" >"$D/client-psk"
    http GET /images/image
    assert_json_error 500 'backend error'
}

@test "nbds://: TLS is never given up for a server that has none" {
    begin --allow-uri nbd,nbds
    make_psk
    start_tcp plain file "$D/disk"
    uri_ticket image "nbds://alice@127.0.0.1:$PORT/?tls-psk-file=$D/client-psk"
    http GET /images/image
    assert_json_error 500 'backend error'
    run ! grep -q ' Read ' "$D/plain.nbdlog"
}

@test "nbd://: a server that is not there is 500 in every request, and OPTIONS guesses" {
    begin --allow-uri nbd
    start_tcp tcp file "$D/disk"
    stop tcp
    uri_ticket image "nbd://127.0.0.1:$PORT/"
    http GET /images/image
    assert_json_error 500 'backend error'
    has_line "$D/program.log" "^error: method=GET .* error=\".*nbd nbd://127.0.0.1:$PORT/"
    put /images/image "$D/new"
    assert_json_error 500 'backend error'
    http OPTIONS /images/image
    assert_status 200
    uri_ticket image 'nbd://[bad'
    http GET /images/image
    assert_json_error 500 'backend error'
}

@test "nbd://: a server that stops in the middle is a cut, one that hangs a 504" {
    begin --allow-uri nbd --backend-timeout 2
    truncate -s 256M "$D/large"
    make_disk "$D/disk" $((64 * MIB))
    dd if="$D/disk" of="$D/large" bs=1M conv=notrunc 2>/dev/null
    start_tcp tcp --threads=1 file "$D/large"
    uri_ticket image "nbd://127.0.0.1:$PORT/"
    hold_reader r /images/image
    kill -9 "$(cat "$D/tcp.pid")"
    release r
    assert_cut
    start_tcp hung file "$D/large"
    uri_ticket image "nbd://127.0.0.1:$PORT/"
    kill -STOP "$(cat "$D/hung.pid")"
    http GET /images/image
    assert_json_error 504 'backend timed out'
    kill -CONT "$(cat "$D/hung.pid")"
}

@test "nbd://: two tickets with one URI are one image" {
    begin --allow-uri nbd
    start_tcp tcp file "$D/disk"
    uri_ticket one "nbd://127.0.0.1:$PORT/"
    uri_ticket two "nbd://127.0.0.1:$PORT/"
    hold_locked one /images/one "$D/new" $((7 * MIB))
    put /images/two "$D/new"
    assert_json_error 409 'image busy'
    release one
    assert_status 200
}

@test "--allow-uri: a scheme that it does not name is no ticket" {
    local uri

    begin
    start_nbdkit disk file "$D/disk"
    uri_ticket image "nbd+unix:///?socket=$D/disk.sock"
    http GET /images/image
    assert_json_error 404 'unknown image_id'
    has_line "$D/program.log" '^warning: ticket=image refused=.*uri.*--allow-uri'
    stop_service
    begin --allow-uri nbd,nbds
    start_nbdkit disk file "$D/disk"
    for uri in "nbd+unix:///?socket=$D/disk.sock" \
        "nbds+unix:///?socket=$D/disk.sock" "http://127.0.0.1/" \
        "nbd+ssh://127.0.0.1/" "$D/disk.sock" ""; do
        uri_ticket image "$uri"
        http GET /images/image
        assert_json_error 404 'unknown image_id'
    done
    ticket image "{\"socket\":\"$D/disk.sock\",\"uri\":\"nbd://127.0.0.1\"}"
    http GET /images/image
    assert_json_error 404 'unknown image_id'
    nbd_ticket image disk
    http GET /images/image
    assert_status 200
}
