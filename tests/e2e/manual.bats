#!/usr/bin/env bats
# No web server is needed.
# The manual pages against what the programs and the source say, both ways.

load common

MAN=$TOP/man
CTL=$(dirname "$PROGRAM")/imageio-fcgi-ctl

setup() {
    OUT=$BATS_TEST_TMPDIR
    "$PROGRAM" --help >"$OUT/imageio-fcgi"
    "$CTL" --help >"$OUT/imageio-fcgi-ctl"
}

# manual WHAT FILE: what manual.py prints, and fails if that is nothing.
manual() {
    python3 "$BATS_TEST_DIRNAME/manual.py" "$@" | grep .
}

# assert_same COMMAND -- COMMAND: both print the same.
assert_same() {
    local one=() line

    while [ "$1" != -- ]; do
        one+=("$1")
        shift
    done
    shift
    "${one[@]}" >"$OUT/one" || fail "${one[*]} says nothing"
    "$@" >"$OUT/other" || fail "$* says nothing"
    if ! diff -u --label "${one[*]}" --label "$*" "$OUT/one" "$OUT/other" >&2; then
        fail "the two differ"
    fi
}

# assert_page PROGRAM PART
assert_page() {
    assert_same manual "page-$2" "$MAN/$1.8" -- manual "help-$2" "$OUT/$1"
}

# table FILE SECTION REGEX: the first match in each row of a section's table.
table() {
    sed -n "/^## $2\$/,/^## /p" "$1" | grep '^|' | grep -oE "^[|] \`$3" |
        tr -d '|\` ' | sort
}

@test "each page has no error or warning of mandoc's, and its sections" {
    for page in "$MAN"/*.[1-9]; do
        run -0 mandoc -Tlint -W warning "$page"
        assert_output ''
        for section in NAME DESCRIPTION FILES EXAMPLES 'SEE ALSO' \
            'SECURITY CONSIDERATIONS'; do
            has_line "$page" "^\.Sh $section$" || fail "$page: no $section"
        done
    done
}

@test "imageio-fcgi(8): the options of --help, what they take, and their defaults" {
    assert_page imageio-fcgi options
}

@test "imageio-fcgi(8): a variable for each option" {
    assert_page imageio-fcgi variables
}

@test "imageio-fcgi(8): the synopsis has each option" {
    assert_page imageio-fcgi synopsis
}

@test "imageio-fcgi-ctl(8): the options of --help, what they take, and their defaults" {
    assert_page imageio-fcgi-ctl options
}

@test "imageio-fcgi-ctl(8): the commands of --help, and what they take" {
    assert_page imageio-fcgi-ctl commands
}

@test "imageio-fcgi-ctl(8): the variables of --help" {
    assert_page imageio-fcgi-ctl variables
}

@test "imageio-fcgi-ctl(8): the synopsis has each command" {
    assert_page imageio-fcgi-ctl synopsis
}

@test "imageio-fcgi-ticket(5): the keys that the source knows" {
    assert_same manual page-keys "$MAN/imageio-fcgi-ticket.5" -- \
        manual source-keys "$TOP/src/ticket/ticket.c"
}

@test "README.md: the options of --help, and the keys that the source knows" {
    names() { manual help-options "$OUT/imageio-fcgi" | grep -oE '^--[a-z-]+'; }
    assert_same table "$TOP/README.md" Options '--[a-z-]+' -- \
        eval "names | grep -vxE -- '--(help|version)'"
    assert_same table "$TOP/README.md" Tickets '[a-z_]+`' -- \
        manual source-keys "$TOP/src/ticket/ticket.c"
}

@test "deploy/default: the variables of --help" {
    variables() { manual help-variables "$OUT/imageio-fcgi" | cut -d ' ' -f 1; }
    defaults() { grep -oP '^#\KIMAGEIO_FCGI_\w+' "$1" | sort; }
    assert_same variables -- defaults "$TOP/deploy/default/imageio-fcgi"
}

@test "the pages are installed where man(1) looks for them" {
    local script page
    script=$(dirname "$PROGRAM")/man/cmake_install.cmake

    [ -e "$script" ] || skip "$PROGRAM is not in a build tree"
    cmake -DCMAKE_INSTALL_PREFIX="$OUT/prefix" -P "$script" >&2
    for page in man5/imageio-fcgi-ticket.5 man8/imageio-fcgi.8 \
        man8/imageio-fcgi-ctl.8; do
        cmp "$MAN/${page#*/}" "$OUT/prefix/share/man/$page"
    done
}
