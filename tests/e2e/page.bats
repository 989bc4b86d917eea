#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The page of running transfers, in a real browser that sees it as it is shipped:
# served by the web server under its policy, and asking the program itself.
# What the program cannot be made to say at will, it is told by files that are
# served at /snapshot/ in place of it.
#
# The browser knows TCP only. With PAGE_SHOTS=DIR there are pictures to look at.

load common

setup_file() {
    make_dir
    cp -r "$WWW" "$D/www"
    mkdir -p "$D/snapshot/images"
    cp -r "$D/www" "$D/snapshot/transfers"
    chmod -R a+rX "$D/www" "$D/snapshot"
    reserve_port
    describe_web
    start_programs 1
    start_web
    curl -q -fsS -o "$D/answer" "$URL/snapshot/transfers/"
    start_browser
}

teardown_file() {
    local failed=0

    stop browser || failed=1
    stop port || failed=1
    stop_service || failed=1
    return $failed
}

# What the console complains about fails a test that has not looked for it: what
# breaks the policy is there as well.
teardown() {
    local failed=0 said

    browser open about:blank
    said=$(browser complaints)
    browser requests >"$D/requests.drained"
    if [ -n "$said" ]; then
        echo "the console: $said" >&2
        failed=1
    fi
    stop_backends || failed=1
    return $failed
}

# reserve_port: one that the kernel gives to nobody else, and on which a web
# server can listen.
reserve_port() {
    supervise port python3 "$TOP/tests/e2e/clients_port.py" "$D/port"
    wait_for test -s "$D/port"
    PORT=$(cat "$D/port")
    URL=http://127.0.0.1:$PORT
    export PORT URL
}

# describe_web: WEB_SED, for that port, and for the page and what it is told.
describe_web() {
    case $WEB in
    nginx)
        WEB_SED=$(
            cat <<END
s|listen unix:.*|&\n        listen 127.0.0.1:$PORT;|
s|/usr/share/imageio-fcgi/www|$D/www|
/^        location \/ {/i\\
        location /snapshot/ {\\
            alias $D/snapshot/;\\
            index index.html;\\
            types {\\
                text/html html;\\
                text/css css;\\
                text/javascript js;\\
                image/svg+xml svg;\\
            }\\
        }
END
        )
        ;;
    lighttpd)
        WEB_SED=$(
            cat <<END
/^server.bind/a \$SERVER["socket"] == "127.0.0.1:$PORT" { }
s|/usr/share/imageio-fcgi/www|$D/www|
\$a\\
\$HTTP["url"] =~ "^/snapshot/" {\\
    url.redirect = ()\\
    alias.url = ( "/snapshot/" => "$D/snapshot/" )\\
    index-file.names = ( "index.html" )\\
    mimetype.assign = (\\
        ".html" => "text/html",\\
        ".css" => "text/css",\\
        ".js" => "text/javascript",\\
        ".svg" => "image/svg+xml"\\
    )\\
}
END
        )
        ;;
    esac
    export WEB_SED
}

# --- the browser -----------------------------------------------------------

start_browser() {
    supervise browser python3 "$TOP/tests/e2e/browser.py" "$D"
    wait_for test -S "$D/browser.sock"
}

# browser COMMAND...: prints its answer, if there is any.
browser() {
    local answer

    answer=$(printf '%s\0' "$@" |
        socat -t 90 - "UNIX-CONNECT:$D/browser.sock")
    case $answer in
    0) ;;
    0*) printf '%s\n' "${answer:2}" ;;
    *)
        printf '%s\n' "$answer" >&2
        return 1
        ;;
    esac
}

# run_js EXPRESSION: for what it does.
run_js() {
    browser js "($1, 0)" >"$D/ignored"
}

open_page() { # [PLACE [QUERY]], as /snapshot
    browser view 1200 900 light
    browser open "$URL${1:-}/transfers/${2:-}"
}

shot() { # NAME
    if [ -n "${PAGE_SHOTS:-}" ]; then
        browser shot "$PAGE_SHOTS/$WEB-$1.png"
    fi
}

# is EXPECTED EXPRESSION: that is its value, at last.
is() {
    browser until "($2) === $(jq -cn --arg it "$1" '$it')" >/dev/null
}

# row TABLE ID: an expression for the row of transfer ID; undefined without one.
row() {
    printf '$$("#%s-table tbody").find((row) =>
        row.querySelector("[data-text=id]").textContent === "%s")' "$@"
}

# cell TABLE ID NAME: for the text NAME in that row.
cell() {
    echo "$(row "$1" "$2")?.querySelector('[data-text=$3]').textContent"
}

# is_shown ID, or is_not_shown ID: an element, at last.
is_shown() {
    browser until "\$('#$1').checkVisibility()" >/dev/null
}

is_not_shown() {
    browser until "!\$('#$1').checkVisibility()" >/dev/null
}

# read_map ID: types it, and presses the button.
read_map() {
    run_js '$("#image-id").value = ""'
    browser type '#image-id' "$1"
    browser click '#image-read'
}

# said REGEX: what is said of the map, at last.
said() {
    browser until "/$1/.test(\$('#map-said').textContent)" >/dev/null
}

# complained REGEX: so does each line of the console, and there is one; asked for
# on purpose.
complained() {
    local said

    said=$(browser complaints)
    [ -n "$said" ]
    run ! grep -vE "$1" <<<"$said"
}

# --- what it is told at /snapshot/ -----------------------------------------

# snapshot COUNT [FILTER]: its status, with so many transfers, changed by FILTER.
snapshot() {
    jq -cn --argjson count "$1" '
        1795690000000 as $now
        | {version: "0.1.0", now_ms: $now, started_ms: ($now - 86400000),
            processes: 1, readers: 2, writers: 1,
            limits: {scope: "server", max_readers: 8, max_writers: 1},
            transfers: [range($count) | {
                id: ("t\(.)"), request: "request-\(.)", backend: "nbd",
                method: "GET", operation: "read", client: "192.0.2.\(. % 250)",
                offset: 0, total: 1073741824, done: (. * 4194304),
                rate: 1048576, start_ms: ($now - . * 1000)}]}
        | '"${2:-.}" >"$D/snapshot/status.new"
    chmod 644 "$D/snapshot/status.new"
    mv "$D/snapshot/status.new" "$D/snapshot/status"
}

# --- what is served --------------------------------------------------------

assert_policy() {
    local policy

    assert_header X-Content-Type-Options nosniff
    assert_header Referrer-Policy no-referrer
    assert_header Cache-Control no-cache
    policy=$(header Content-Security-Policy)
    [[ $policy == "default-src 'none';"* ]]
    [[ $policy != *unsafe* ]]
    [[ $policy != *:* ]] # no other host, and no data: either
}

@test "GET /transfers/: each file has its type and the policy" {
    local file path types=' html text/html css text/css js text/javascript
        svg image/svg+xml '

    for file in "$WWW"/*; do
        path=/transfers/${file##*/}
        http GET "$path"
        assert_status 200
        assert_body "$file"
        [[ " $(xargs <<<"$types") " == *" ${file##*.} $(header Content-Type) "* ]]
        assert_policy
    done
    http GET /transfers/
    assert_status 200
    assert_body "$WWW/index.html"
    assert_policy
    http GET /transfers/none
    assert_status 404
    http GET /transfers
    assert_status 301
    assert_header Location /transfers/
}

# answer PATH [CURL_OPTION...]: the status, by TCP; 000 if there is no way.
answer() {
    local path=$1

    shift
    curl -q -sS -o "$D/answer" -w '%{http_code}' "$@" "$URL$path" || true
}

@test "GET /transfers/, /status, /metrics: for this host alone" {
    local address path

    # This host is another one by the address that it comes from.
    address=$(hostname -I | tr ' ' '\n' | grep -m 1 '^[0-9.]*$') ||
        skip 'there is no address but 127.0.0.1'
    if [ "$(answer /images/none --interface "$address")" != 404 ]; then
        skip "there is no way from $address to 127.0.0.1"
    fi
    for path in /transfers/ /transfers/main.js /status /metrics; do
        [ "$(answer $path)" = 200 ]
        [ "$(answer $path --interface "$address")" = 403 ]
    done
}

@test "page: nothing of it is from elsewhere, inline or markup made of text" {
    local www=$WWW

    run ! grep -rnE 'https?:|[^:]//[a-z]' "$www" --include='*.html' \
        --include='*.css'
    run ! grep -rnE 'https?:|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function' \
        "$www" --include='*.js'
    run ! grep -nE '<style|style=|<script>| on[a-z]+=' "$www/index.html"
    [ -z "$(grep -rL 'SPDX-License-Identifier: Apache-2.0' "$www")" ]
    open_page
    is_shown running-none
    # All that was asked for is of this server, and no more than there is.
    browser requests | sort -u >"$D/asked"
    run ! grep -v "^$URL/\(transfers/[a-z.]*\|status\)$" "$D/asked"
    [ "$(grep -c /transfers/ "$D/asked")" = $(($(find "$www" -type f | wc -l))) ]
}

# --- transfers -------------------------------------------------------------

@test "page: without a transfer it says so, and what the server is" {
    open_page
    is_shown running-none
    browser until '/^Nothing is being transferred/.test($("#running-none").textContent)'
    is '0 of 8' '$("#readers").textContent'
    is '0 of 1' '$("#writers").textContent'
    is '0 B/s' '$("#read-rate").textContent'
    browser until '/^imageio-fcgi [0-9.]+ · 1 process · up .* · as of [0-9:]{8}$/
        .test($("#server").textContent)'
    [ "$(browser js 'document.title')" = Transfers ]
    [ "$(browser js '$("#trouble").checkVisibility()')" = false ]
    shot none
}

@test "page: a reader is seen to progress, and then to have ended" {
    local first request bar

    bar="$(row running disk-000)?.querySelector('progress')"
    start_nbdkit disk memory 1G
    nbd_ticket disk-0001-abcd disk
    open_page
    is_shown running-none
    http_start slow GET /images/disk-0001-abcd --limit-rate 4M
    browser until "$(cell running disk-000 percent)"
    browser until "($bar)?.value > 0"
    first=$(browser js "($bar).value")
    browser until "($bar)?.value > $first"
    browser until "/MiB\/s$/.test($(cell running disk-000 rate))"
    browser until "/ s$/.test($(cell running disk-000 left))"
    is GET "$(cell running disk-000 method)"
    is read "$(cell running disk-000 operation)"
    is '0 – 1 GiB' "$(cell running disk-000 range)"
    browser until "/ of 1 GiB$/.test($(cell running disk-000 moved))"
    is '1 of 8' '$("#readers").textContent'
    browser until '$("#graph-read").getAttribute("d").includes("L")'
    [ "$(browser js 'document.title')" = '(1) Transfers' ]
    http GET /status
    request=$(jq -r '.transfers[0].request' "$http_body")
    is "$request" "$(cell running disk-000 request)"
    is "$(jq -r '.transfers[0].client' "$http_body")" \
        "$(cell running disk-000 client)"
    shot reader
    http_kill slow
    is "$request" "$(cell ended disk-000 request)"
    is_shown running-none
    [ "$(browser js '$$("#ended-table tbody").length')" = 1 ]
    browser until "/ of 1 GiB$/.test($(cell ended disk-000 moved))"
    browser until "/MiB\/s$/.test($(cell ended disk-000 average))"
    is '0 of 8' '$("#readers").textContent'
}

@test "page: a writer is seen beside a reader" {
    start_nbdkit disk memory 64M
    nbd_ticket disk disk
    start_nbdkit other memory 64M
    nbd_ticket other other
    make_disk "$D/new" $((64 * MIB))
    open_page
    hold_reader reader /images/disk
    hold_writer writer /images/other "$D/new" $((16 * MIB))
    is write "$(cell running other operation)"
    is '16 MiB of 64 MiB' "$(cell running other moved)"
    is '25.0 %' "$(cell running other percent)"
    is read "$(cell running disk operation)"
    is '1 of 1' '$("#writers").textContent'
    is '2' '$("#running-count").textContent'
    # The oldest first.
    [ "$(browser js '$$("#running-table [data-text=id]").map((one) =>
        one.textContent)')" = '["disk","other"]' ]
    release reader
    release writer
    is_shown running-none
    [ "$(browser js '$$("#ended-table tbody").length')" = 2 ]
}

@test "page: what it was told is text, whatever it is" {
    snapshot 1 '.transfers[0] |= (.id = "<b>x</b>"
        | .client = "<img src=x onerror=document.title=1>"
        | .request = "</td><script>document.title=2</script>" | .total = null)
        | .version = "<i>" | .transfers += [{}, null, 7]'
    open_page /snapshot
    is '<b>x</b>' '$$("#running-table tbody [data-text=id]").at(-1).textContent'
    is '<img src=x onerror=document.title=1>' \
        '$$("#running-table tbody [data-text=client]").at(-1).textContent'
    [ "$(browser js '$$("#running-table tbody").length')" = 4 ]
    [ "$(browser js '$$("b, i, img, td script").length')" = 0 ]
    [ "$(browser js 'document.title')" = '(4) Transfers' ]
}

@test "page: 200 transfers; rows, focus and scroll position stay as they change" {
    snapshot 200
    open_page /snapshot
    browser until '$$("#running-table tbody").length === 200'
    shot many
    # The oldest is the first. One in the middle is opened, and kept in mind.
    [ "$(browser js '$("#running-table [data-text=id]").textContent')" = t199 ]
    browser js '(window.kept = $$("#running-table tbody")[100])
        .scrollIntoView({block: "center"})' \
        >"$D/said"
    run_js 'kept.id = "kept"'
    browser click '#kept button'
    [ "$(browser js 'document.activeElement === kept.querySelector("button") &&
        kept.querySelector(".details").checkVisibility()')" = true ]
    run_js 'window.was = $("#running-card").scrollTop'
    # Half of the others end, 50 begin, the order of the answer is another.
    snapshot 250 '.now_ms += 2000 | .transfers |= (map(select(
        (.request | ltrimstr("request-") | tonumber) as $n
        | $n == 99 or $n % 2 == 0 or $n >= 200)) | reverse)
        | .transfers[].done += 1048576'
    browser until '$$("#running-table tbody").length === 151'
    is 50 '$("#ended-count").textContent'
    [ "$(browser js 'kept.isConnected &&
        document.activeElement === kept.querySelector("button") &&
        kept.querySelector(".details").checkVisibility()')" = true ]
    is '397 MiB of 1 GiB' 'kept.querySelector("[data-text=moved]").textContent'
    # It is where it was in the window.
    [ "$(browser js 'Math.abs(kept.getBoundingClientRect().top -
        $("#running-card").getBoundingClientRect().top) < 200')" = true ]
    browser click '#kept button'
    [ "$(browser js 'kept.querySelector(".details").checkVisibility()')" = false ]
    # All of them end, and the focus is not lost to the start of the page.
    snapshot 0 '.now_ms += 4000'
    is_shown running-none
    is running 'document.activeElement.id'
}

# --- when there is no answer -----------------------------------------------

@test "page: a server that is away is said to be, since when, until it is back" {
    open_page
    is_shown running-none
    [ "$(browser js '$("#trouble").checkVisibility()')" = false ]
    stop web
    is_shown trouble
    browser until '/ cannot be had since [0-9:]{8}: no connection\.$/.test(
        $("#trouble-said").textContent)'
    browser until '$("#said").textContent === $("#trouble-said").textContent'
    browser until '/^That is [0-9]+ s\. .*next try is in [0-9]+ s/.test(
        $("#trouble-more").textContent)'
    shot away
    start_web
    is_not_shown trouble
    is 'The server answers again.' '$("#said").textContent'
    complained '/status - Failed to load resource: net::ERR_'
}

# hide true|false: as if the window were minimised, or came back.
hide() {
    run_js "(Object.defineProperty(document, 'hidden',
            {configurable: true, value: $1}),
        document.dispatchEvent(new Event('visibilitychange')))"
}

@test "page: one request at a time, fewer while they fail, none while hidden" {
    local count

    # Answers are late by `late` ms; when requests began and ended is noted.
    browser before 'if (location.search === "?watched") {
        const real = window.fetch;
        window.watch = {began: [], ended: [], most: 0, late: 1200};
        watch.running = () => watch.began.length - watch.ended.length;
        window.fetch = async (...all) => {
            watch.began.push(performance.now());
            watch.most = Math.max(watch.most, watch.running());
            await new Promise((done) => setTimeout(done, watch.late));
            try {
                return await real(...all);
            } finally {
                watch.ended.push(performance.now());
            }
        };
    }'
    snapshot 0
    open_page /snapshot '?watched'
    browser until 'watch.began.length >= 2'
    run_js 'watch.late = 0'
    rm "$D/snapshot/status"
    is_shown trouble
    browser until '/there is no \/status/.test($("#trouble-said").textContent)'
    count=$(browser js 'watch.ended.length')
    browser until "watch.began.length > $count"
    [ "$(browser js "watch.began[$count] - watch.ended[$count - 1] > 1900")" = true ]
    # Who comes back does not wait.
    hide true
    snapshot 0
    hide false
    is_not_shown trouble
    hide true
    browser until 'watch.running() === 0'
    # That nothing happens takes a while: more than twice what it would wait.
    count=$(browser js 'watch.began.length')
    [ "$(browser js 'new Promise((done) => setTimeout(done, 2500)).then(
        () => watch.began.length)')" = "$count" ]
    hide false
    browser until "watch.began.length > $count"
    [ "$(browser js 'watch.most')" = 1 ]
    complained '/status - Failed to load resource: .* 404 '
}

# --- the map ---------------------------------------------------------------

# A qcow2 of 1 MiB: data, zeroes, and since the bitmap data and zeroes that are
# new.
serve_bitmap_image() { # [MORE_KEYS]
    rm -f "$D/disk.qcow2"
    qemu-img create -q -f qcow2 "$D/disk.qcow2" 1M
    qemu-io -c 'write -P 1 64K 64K' -c 'write -P 2 512K 64K' \
        "$D/disk.qcow2" >/dev/null
    qemu-img bitmap --add -g 32K "$D/disk.qcow2" b0
    qemu-io -c 'write -P 3 128K 64K' -c 'write -z 768K 64K' \
        "$D/disk.qcow2" >/dev/null
    start_qemu_nbd disk -r -f qcow2 -B b0 "$D/disk.qcow2"
    nbd_ticket disk disk ',"export_bitmap":"b0"'"${1:-}"
}

# totals: what the page has, as [["what", bytes, extents], ...].
totals() {
    browser js '$$("#totals tbody tr").map((row) => [
        row.cells[0].textContent.trim(),
        ...[3, 4].map((i) => Number(row.cells[i].textContent.replace(/,/g, "")))])'
}

# expected_totals PAIR...: the same, of $http_body; PAIR is NAME=FILTER.
expected_totals() {
    local pair

    for pair in "$@" 'all=true'; do
        jq -c --arg name "${pair%%=*}" "map(select(${pair#*=}))
            | [\$name, (map(.length) | add // 0), length]" "$http_body"
    done | jq -cs .
}

# assert_drawn: each cell of the map is of the kind that the extents in
# $http_body have there, by its colours and by its form. No cell has two.
assert_drawn() {
    local wrong

    wrong=$(browser js "((list) => {
        const canvas = \$('#map canvas');
        const copy = new OffscreenCanvas(canvas.width, canvas.height)
            .getContext('2d', {willReadFrequently: true});
        copy.drawImage(canvas, 0, 0);
        const columns = (canvas.width + 2) / 14;
        const style = getComputedStyle(\$('#map'));
        const near = (data, i, name) => {
            const to = style.getPropertyValue('--' + name);
            return [1, 3, 5].every((at, j) => Math.abs(data[i + j] -
                parseInt(to.slice(at, at + 2), 16)) < 12);
        };
        const size = list.at(-1).start + list.at(-1).length;
        const bytes = 1024;
        const wrong = [];
        for (let cell = 0; cell < size / bytes; cell++) {
            const {zero, dirty = false} = list.findLast(
                (one) => one.start <= cell * bytes);
            const {data} = copy.getImageData(
                cell % columns * 14 + 2, Math.floor(cell / columns) * 14 + 2, 8, 8);
            const seen = {};
            for (let i = 0; i < data.length; i += 4)
                for (const name of ['data', 'zero', 'dirty', 'dirty-stripe'])
                    if (near(data, i, name))
                        seen[name] = (seen[name] ?? 0) + 1;
            const expected = dirty ? (zero ? ['zero', 'dirty'] :
                ['dirty', 'dirty-stripe']) : zero ? ['zero'] : ['data'];
            if (Object.keys(seen).sort().join() !== expected.sort().join())
                wrong.push([cell, seen, expected]);
        }
        return wrong.slice(0, 5);
    })($(cat "$http_body"))")
    if [ "$wrong" != '[]' ]; then
        echo "drawn otherwise: $wrong" >&2
        return 1
    fi
}

@test "map: data and zeroes, by totals, by cells and by what is at a place" {
    serve_bitmap_image
    open_page
    read_map disk
    said '^The map as of [0-9:]{8}: 5 extents, 1 MiB\.$'
    http GET /images/disk/extents
    [ "$(totals)" = "$(expected_totals data='.zero == false' zero=.zero)" ]
    is 1024 '$("#map").getAttribute("aria-valuemax")'
    run_js '$("#map").focus()'
    browser key End
    # The position is drawn in its cell: it goes to one that tells nothing else.
    browser until '/^Cell 1,024 of 1,024, 1023 KiB – 1 MiB: zero, in an extent of 448 KiB, bytes 589,824 – 1,048,575$/
        .test($("#map-position").textContent)'
    is true '$("#map").getAttribute("aria-valuetext") ===
        $("#map-position").textContent ? "true" : ""'
    browser key Home
    browser until '/^Cell 1 of 1,024, 0 – 1 KiB: zero, in an extent of 64 KiB/.test(
        $("#map-position").textContent)'
    assert_drawn
    shot map
}

@test "map: what has changed, in the dark" {
    serve_bitmap_image
    open_page
    browser view 1200 900 dark
    browser click '#image-dirty'
    read_map disk
    said '8 extents, 1 MiB\.$'
    http GET '/images/disk/extents?context=dirty'
    [ "$(totals)" = "$(expected_totals \
        'changed, data=.dirty and (.zero | not)' 'changed, zero=.dirty and .zero' \
        'unchanged, data=(.dirty or .zero) | not' \
        'unchanged, zero=.zero and (.dirty | not)')" ]
    assert_drawn
    shot map-dark
    browser view 1200 900 light
    browser until 'matchMedia("(prefers-color-scheme: light)").matches'
    assert_drawn
    # All is dirty without a bitmap: is it meant so?
    nbd_ticket disk disk
    browser click '#image-read'
    said 'All of it counts as changed'
}

@test "map: a token goes in a header, and nowhere else" {
    local token=0123456789-secret-abcdef

    serve_bitmap_image ',"token":"'$token'"'
    open_page
    read_map disk
    said 'asks for a bearer token'
    browser type '#image-token' "$token"
    browser click '#image-read'
    said '5 extents, 1 MiB\.$'
    [ "$(browser js 'document.cookie + JSON.stringify([{...localStorage},
        {...sessionStorage}])')" = '[{},{}]' ]
    [ "$(browser js location.href)" = "$URL/transfers/" ]
    browser requests >"$D/asked"
    grep -q "^$URL/images/disk/extents?context=zero$" "$D/asked"
    run ! grep -F "$token" "$D/asked" "$D/web/"*.log
    # The ticket ends, and with it what there is to follow.
    rm "$D/tickets/disk"
    said 'no such image.*The map is from before'
    complained '/images/disk/status - Failed to load resource: .* 40[14] '
}

@test "map: what cannot be read is said in words" {
    open_page
    read_map nobody
    said 'There is no such image'
    read_map ../nobody
    said 'This is no image id'
    make_disk "$D/image" 1000
    file_ticket file "$D/image"
    read_map file
    said 'The server answers 400: extents not supported for file backend\.'
    [ "$(browser js '$("#map-card").checkVisibility()')" = false ]
    complained '/images/(nobody/status|file/extents.*) - Failed to load .* 40[04] '
}

@test "map: whoever writes to the image is not disturbed unasked" {
    start_nbdkit disk memory 64M
    nbd_ticket disk disk
    make_disk "$D/new" $((64 * MIB))
    open_page
    hold_locked writer /images/disk "$D/new" $((16 * MIB))
    read_map disk
    said 'The image is being written to'
    browser requests >"$D/asked"
    run ! grep /disk/extents "$D/asked"
    browser click '#image-read'
    said 'The image is being written to: try again later'
    complained '/images/disk/extents.* 409 '
    release writer
    assert_status 200
    browser click '#image-read'
    said 'extents?, 64 MiB\.$'
    # A transfer is seen in the map of its image.
    hold_reader reader /images/disk
    browser until '/^GET read · 0 – 64 MiB · /.test(
        $("#map-transfers li")?.textContent)'
    release reader
}

@test "map: 100,000 extents, some of them huge" {
    # As many in each answer as the program takes, 4 KiB and 8 KiB in turns.
    start_nbdkit disk eval get_size='echo 614400000' can_extents='exit 0' \
        pread='head -c $3 /dev/zero' extents='
        awk -v at=$4 "BEGIN {
            i = int(at / 12288)
            for (n = 0; n < 5000 && i < 50000; n++) {
                print i * 12288, 4096
                print i * 12288 + 4096, 8192, \"zero\"
                i++
            }
        }"'
    nbd_ticket disk disk
    snapshot 3
    open_page
    read_map disk
    said ': 100,000 extents, 586 MiB\.$'
    http GET /images/disk/extents
    [ "$(totals)" = "$(expected_totals data='.zero == false' zero=.zero)" ]
    run_js '$("#map").focus()'
    browser key ArrowRight ArrowDown ArrowUp
    browser until '/^Cell 2 of [0-9,]+, 512 KiB – 1 MiB: 86 extents: data 172 KiB \(33\.6 %\); zero 340 KiB \(66\.4 %\)$/
        .test($("#map-position").textContent)'
    # Another width, other cells, the same place.
    browser view 700 900 light
    browser until '/^Cell 1 of [0-9,]+, 0 – 1 MiB: /.test(
        $("#map-position").textContent)'
    shot map-100000
}

# --- everybody -------------------------------------------------------------

@test "page: all of it by keyboard alone, and where one is can be seen" {
    local place

    serve_bitmap_image
    mkdir -p "$D/snapshot/images/disk"
    http GET /images/disk/extents
    cp "$http_body" "$D/snapshot/images/disk/extents"
    http GET /images/disk/status
    cp "$http_body" "$D/snapshot/images/disk/status"
    chmod -R a+rX "$D/snapshot/images"
    snapshot 2
    open_page /snapshot
    browser until '$$("#running-table tbody").length === 2'
    for place in 'A #running' 'A #ended' 'A #image' running-card \
        'BUTTON t1' 'BUTTON t0' image-id image-token image-dirty image-read; do
        browser key Tab
        [ "$(browser js '((at) => at.id ||
            `${at.tagName} ${at.getAttribute("href") ?? at.textContent}`)(
            document.activeElement)')" = "$place" ]
        [ "$(browser js '((style) => style.outlineStyle === "solid" &&
            parseFloat(style.outlineWidth) >= 2)(
            getComputedStyle(document.activeElement))')" = true ]
        case $place in
        'BUTTON t1')
            browser key Enter
            is true '$("#running-table .details").checkVisibility() &&
                document.activeElement.getAttribute("aria-expanded")'
            ;;
        image-id) browser key d i s k ;;
        image-dirty)
            browser key Space
            [ "$(browser js '$("#image-dirty").checked')" = true ]
            browser key Space
            ;;
        image-read) browser key Enter ;;
        esac
    done
    said '5 extents, 1 MiB\.$'
    browser key Tab
    [ "$(browser js 'document.activeElement.id')" = map ]
    browser key PageDown ArrowRight
    browser until '/^Cell [0-9]+ of /.test(
        document.activeElement.getAttribute("aria-valuetext"))'
    [ "$(browser js 'Number($("#map").getAttribute("aria-valuenow")) > 2')" = true ]
    shot keyboard
    browser key Shift+Tab
    [ "$(browser js 'document.activeElement.id')" = image-read ]
    # Nothing that changes all the time is told to who cannot see it.
    [ "$(browser js '$$("[role=status], [role=alert], [aria-live]").map(
        (one) => one.id)')" = '["said","map-said"]' ]
    # What is to be operated has a name.
    [ "$(browser js '$$("button, input, a, [tabindex=\"0\"], progress, [role=meter]")
        .filter((one) => !(one.textContent.trim() || one.labels?.length ||
            one.getAttribute("aria-label"))).length')" = 0 ]
}

@test "page: nothing is wider than a phone, and the tables are still tables" {
    local scheme long='.transfers[0].client =
        "2001:0db8:1234:5678:9abc:def0:1234:5678"
        | .transfers[1].request = ("x" * 71)
        | .transfers[2] |= (.offset = 1125899906842000 | .total = null)'

    mkdir -p "$D/snapshot/images/map"
    echo '[{"start":0,"length":70000000000000,"zero":true,"dirty":false},{"start":70000000000000,"length":512,"zero":false,"dirty":true}]' \
        >"$D/snapshot/images/map/extents"
    echo '{"transfers":[]}' >"$D/snapshot/images/map/status"
    chmod -R a+rX "$D/snapshot/images"
    snapshot 200 "$long"
    open_page /snapshot
    browser view 360 740 light
    browser click '#image-dirty'
    read_map map
    said '2 extents, 63\.7 TiB\.$'
    browser until '$$("#running-table tbody").length === 200'
    run_js '$$("#running-table button").forEach((one) => one.click())'
    snapshot 190 "$long | .now_ms += 2000"
    browser until '$$("#ended-table tbody").length === 10'
    for scheme in light dark; do
        browser view 360 740 $scheme
        [ "$(browser js 'document.documentElement.scrollWidth <= 360')" = true ]
        # Cut off is no better than wider.
        [ "$(browser js '$$("main *").filter((one) => one.checkVisibility() &&
            !one.closest("thead, .unseen, svg") &&
            one.getBoundingClientRect().right > 360).length')" = 0 ]
        [ "$(browser js '$$("#totals tbody tr").filter((one) =>
            one.checkVisibility()).length')" = 5 ]
        shot phone-$scheme
    done
    # Those who hear it have rows and cells, although they are laid out otherwise.
    [ "$(browser js '$$("#running-table, #running-table *").filter((one) =>
        /^(TABLE|THEAD|TBODY|TR|TH|TD)$/.test(one.tagName) &&
        !one.getAttribute("role")).length')" = 0 ]
}

@test "page: sizes, times and cells are right at their edges" {
    open_page
    run_js 'Promise.all(["format", "extents", "snapshots"].map((name) =>
        import(`/transfers/${name}.js`))).then(([format, extents, snapshots]) =>
        Object.assign(window, {format, extents, snapshots}) && 1)'
    [ "$(browser js '[0, 1023, 1024, 1536, 10239, 1048064, 1048575, 1073741824,
        2 ** 60, 2 ** 63, -1, NaN, null].map(format.size)')" = \
        '["0 B","1023 B","1 KiB","1.5 KiB","10 KiB","1 MiB","1 MiB","1 GiB","1 EiB","8 EiB","–","–","–"]' ]
    [ "$(browser js '[[0, 1], [1, 1], [1, 1e9], [999999999, 1e9], [1, 3], [0, 0]].map(
        (one) => format.percent(...one))')" = \
        '["0 %","100 %","< 0.1 %","> 99.9 %","33.3 %","–"]' ]
    [ "$(browser js '[0, 59999, 60000, 3599999, 3600000, 86399999, 86400000, -1, NaN,
        Infinity].map(format.duration)')" = \
        '["0 s","59 s","1 min 00 s","59 min 59 s","1 h 00 min","23 h 59 min","1 d 0 h","–","–","–"]' ]
    [ "$(browser js '[[0, 0], [0, null], [0, 1024], [512, 512], [2048, null]].map(
        (one) => format.range(...one))')" = \
        '["–","–","0 – 1 KiB","512 B – 1 KiB","from 2 KiB"]' ]
    [ "$(browser js '[0, 1, 1048576, 1048577, 524288001, 2 ** 70].map((one) =>
        format.rate(snapshots.roundUp(one)))')" = \
        '["1 MiB/s","1 MiB/s","1 MiB/s","2 MiB/s","1 GiB/s","1024 EiB/s"]' ]
    # Any list, any cell: the bytes are all there, each where it belongs.
    [ "$(browser js '(() => {
        let seed = 1;
        const random = (below) => (seed = seed * 16807 % 2147483647) % below;
        for (let time = 0; time < 50; time++) {
            const list = [];
            const units = [];
            let start = 0;
            for (let i = random(40); i >= 0; i--) {
                const length = 512 * (1 + random(i % 5 ? 5 : 50));
                const one = {start, length, zero: !random(2), dirty: !random(2)};
                list.push(one);
                start += length;
                for (let j = 0; j < length / 512; j++)
                    units.push((one.zero ? 1 : 0) | (one.dirty ? 2 : 0));
            }
            const map = extents.readExtents(JSON.stringify(list));
            const bytes = extents.cellBytes(map.size, 1 + random(30));
            const sums = extents.cells(map, bytes);
            const plain = new Array(sums.length).fill(0);
            units.forEach((kind, i) => {
                plain[4 * Math.floor(i * 512 / bytes) + kind] += 512;
            });
            if (plain.join() !== sums.join())
                return [time, plain, [...sums]];
            for (let cell = 0; cell < sums.length / 4; cell++) {
                const parts = extents.shares(sums, cell, 12);
                const there = [0, 1, 2, 3].filter((kind) => sums[4 * cell + kind]);
                if (parts.reduce((sum, one) => sum + one.width, 0) !== 12 ||
                    parts.some((one) => one.width < 1) ||
                    parts.map((one) => one.kind).sort().join() !== there.join())
                    return [time, cell, parts, there];
            }
            const at = random(map.size);
            const index = extents.indexAt(map, at);
            if (at < map.start[index] || at >= map.start[index + 1])
                return [time, at, index];
        }
        return "right";
    })()')" = right ]
    # A list that is not one is not drawn.
    [ "$(browser js '["[{\"start\":0,\"length\":1}", "{}", "[1]",
        "[{\"start\":1,\"length\":1}]", "[{\"start\":0,\"length\":0}]"].map((text) => {
            try {
                return extents.readExtents(text).size;
            } catch (error) {
                return error.message.split(" ").slice(0, 3).join(" ");
            }
        })')" = '["the list was","this is no","the server'\''s list","the server'\''s list","the server'\''s list"]' ]
    [ "$(browser js 'extents.readExtents("[]").size')" = 0 ]
}
