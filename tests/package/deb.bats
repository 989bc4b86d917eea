# No web server is needed.
# The Debian package DEB, as a file.

load ../e2e/common

setup_file() {
    D=$(mktemp -d "${E2E_BASE:-/tmp}/iXXXXXX")
    export D
    dpkg-deb -R "${DEB:?}" "$D/root"
    # The files' own: dpkg-deb -R gives all to whoever runs it.
    dpkg-deb -c "$DEB" >"$D/list"
}

teardown_file() {
    rm -rf "$D"
}

field() { # NAME
    dpkg-deb -f "$DEB" "$1"
}

@test "lintian has no error and no warning" {
    lintian --fail-on error,warning "$DEB"
}

# expected: the lines of contents, with each * for what it stands for.
expected() {
    local mode path sources file

    while read -r mode path sources; do
        case $mode in
        \#*) continue ;;
        esac
        if [ -z "$sources" ]; then
            echo "$mode $path"
            continue
        fi
        for file in "$TOP"/$sources; do
            [ ! -f "$file" ] || echo "$mode ${path%\*}${file##*/}"
        done
    done <"$BATS_TEST_DIRNAME/contents" | sort
}

@test "its files, and their modes, are those that are listed" {
    diff <(expected) <(cd "$D/root" && find . ! -type d ! -path './DEBIAN/*' \
        -printf '%m %P\n' | sed 's, , /,' | sort) >&2
}

@test "all is root's, and folders are everybody's to read" {
    run ! grep -v ' root/root ' "$D/list"
    run ! grep '^d' <(grep -v '^drwxr-xr-x ' "$D/list")
}

@test "all of /etc is the administrator's" {
    diff "$D/root/DEBIAN/conffiles" \
        <(cd "$D/root" && find etc -type f -printf '/%p\n' | sort) >&2
}

@test "checksums are those of the files" {
    (cd "$D/root" && md5sum --quiet -c DEBIAN/md5sums)
    [ "$(wc -l <"$D/root/DEBIAN/md5sums")" = "$(grep -vc '^d' "$D/list")" ]
}

@test "it depends on the packages of all libraries that it is linked with" {
    local program library package depends

    depends=", $(field Depends),"
    for program in "$D"/root/usr/bin/*; do
        ldd "$program" | grep -o '/[^ ]*' >"$D/libraries"
        objdump -p "$program" | awk '$1 == "NEEDED" { print $2 }' >"$D/needed"
        [ -s "$D/needed" ]
        while read -r library; do
            library=$(realpath "$(grep "/$library$" "$D/libraries")")
            package=$(dpkg-query -S "*${library##*/}" | sed 's/:.*//' | head -n 1)
            [[ $depends == *", $package "* ]]
        done <"$D/needed"
    done
    [[ $depends == *", adduser,"* ]]
    [ "$(field Recommends)" = 'nginx | lighttpd' ]
    [[ $(field Suggests) == *qemu-utils*spawn-fcgi* ]]
}

@test "its version is the program's and the changelog's" {
    local version

    version=$(field Version)
    run "$D/root/usr/bin/imageio-fcgi" --version
    assert_output "imageio-fcgi ${version%-*}"
    [ "$(dpkg-parsechangelog -S Version \
        -l "$D/root/usr/share/doc/imageio-fcgi/changelog.Debian.gz")" = "$version" ]
}

@test "the programs are stripped and hardened" {
    local program

    for program in "$D"/root/usr/bin/*; do
        run nm "$program"
        assert_output --partial 'no symbols'
        readelf -h "$program" | grep 'Type: .*DYN'
        readelf -lW "$program" | grep GNU_RELRO
        readelf -lW "$program" | grep -E 'GNU_STACK .* RW +'
        readelf -d "$program" | grep -E 'BIND_NOW|FLAGS.*NOW'
        readelf -sW "$program" | grep __stack_chk_fail
        readelf -sW "$program" | grep -E '__[a-z]+_chk'
        run ! grep -F "$TOP" "$program"
        run ! grep -E 'RPATH|RUNPATH' <(readelf -d "$program")
    done
}

@test "manual pages are compressed, and whole" {
    gzip -t "$D"/root/usr/share/man/man*/*.gz
}

@test "maintainer scripts do nothing when they are asked for nothing" {
    sh "$D/root/DEBIAN/preinst" upgrade 0.1.0-1
    sh "$D/root/DEBIAN/postinst" triggered
    sh "$D/root/DEBIAN/prerm" upgrade 0.1.0-1
    sh "$D/root/DEBIAN/postrm" upgrade 0.1.0-1
}

@test "built once more, it is the same to the byte" {
    mkdir "$D/source"
    (cd "$TOP" && tar c --exclude=./build* --exclude=./.git .) |
        tar x -C "$D/source"
    cmp "$DEB" "$("$D/source/tests/package/build")"
}
