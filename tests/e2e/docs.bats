#!/usr/bin/env bats
# docs/http-api.md is true: its commands answer as it says, the tests that it
# names exist, and it has all routes, statuses and headers that the source has.
# And no page links to what is not there.

load common

PAGE=$TOP/docs/http-api.md

teardown() {
    local pid

    if [ -n "${D:-}" ]; then
        for pid in $(cat "$D"/page.*.pid 2>/dev/null); do
            kill "$pid"
            wait_for is_gone "$pid"
        done
        stop_service
    fi
}

http_api() { # WHAT [MORE]
    python3 "$BATS_TEST_DIRNAME/http_api.py" "$1" "$PAGE" "${@:2}"
}

# What stands before the page's commands.
prelude() {
    cat <<'END'
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || :' EXIT # what a failure has left waiting

# The page's curl speaks to our web server, whatever host the URL has, and notes
# the answer's head and body.
curl() {
    local at=$D/curl.$BASHPID rc=0

    command curl -sS --no-progress-meter --max-time 240 --unix-socket "$SOCK" -D "$at.head" "$@" |
        tee "$at.body" || rc=$?
    mv "$at.head" "$D/curl.head"
    mv "$at.body" "$D/curl.body"
    return $rc
}

# is TEXT PATTERN, where … is anything.
is() {
    local pattern

    pattern=$(sed 's/[][\\*?()]/\\&/g; s/…/*/g' <<<"$2")
    [[ $1 == $pattern ]]
}

check() { # LINE STATUS <<HEADERS-AND-BODY
    local want got

    got=$(awk '/^HTTP\// { status = $2 } END { print status }' "$D/curl.head")
    [ "$got" = "$2" ] || wrong "$1" "$2" "$got"
    while read -r want; do
        case $want in
        '{'* | '['*)
            got=$(cat "$D/curl.body")
            is "$got" "$want" || wrong "$1" "$want" "$got"
            ;;
        *)
            got=$(tr -d '\r' <"$D/curl.head" | grep -i "^${want%%:*}:") || :
            is "${got#*:}" "${want#*:}" || wrong "$1" "$want" "$got"
            ;;
        esac
    done
    rm "$D/curl.head" "$D/curl.body"
}

wrong() { # LINE EXPECTED SEEN
    printf 'http-api.md:%s: expected "%s", not "%s"\n' "$1" "$2" "$3"
    cat "$D/curl.head" "$D/curl.body"
    exit 1
} >&2
END
}

# run_page [OPTION...]: its commands for the server with these options.
run_page() {
    start_service "$@"
    export IMAGEIO_FCGI_TICKET_DIR=$D/tickets IMAGEIO_FCGI_RUN_DIR=$D/run
    {
        prelude
        http_api script "$*"
    } >"$D/page.sh"
    (
        close_others
        cd "$D"
        PATH=$(dirname "$PROGRAM"):$PATH exec timeout 300 bash page.sh
    ) >"$D/page.log" 2>&1 </dev/null || {
        tail -n 30 "$D/page.log" >&2
        return 1
    }
}

@test "each link between the pages leads to a file, and to a heading" {
    python3 "$BATS_TEST_DIRNAME/links.py" "$TOP" >&2
}

@test "docs/tuning.md has a row for each setting that bench/settings measures" {
    "$TOP/bench/settings" --list | cut -d ' ' -f 1 | sort >"$BATS_TEST_TMPDIR/list"
    grep -oP '^\| `\K[a-z0-9-]+(?=` \|)' "$TOP/docs/tuning.md" | sort |
        diff "$BATS_TEST_TMPDIR/list" - >&2
}

@test "the tests that each heading names exist" {
    http_api tests
}

@test "the page has the routes, statuses and headers of the source, and no others" {
    http_api source "$TOP/src"
}

@test "the commands answer as the page says" {
    run_page
}

@test "the commands for servers with other options answer as the page says" {
    local -a options
    local line

    http_api servers >"$BATS_TEST_TMPDIR/servers"
    run -0 wc -l <"$BATS_TEST_TMPDIR/servers"
    assert_output 2
    read -ra options <<<"$(tail -n 1 "$BATS_TEST_TMPDIR/servers")"
    run_page "${options[@]}"
}
