# service.bash - what deploy/ installs, in a scratch root: $ROOT. Beside
# common.bash.

# install_files [CMAKE_OPTION...]: as packages are made, with the prefix /usr
# unless an option says otherwise.
install_files() {
    cmake -S "$TOP" -B "${ROOT%/*}/cmake" -DBUILD_TESTING=OFF \
        -DCMAKE_INSTALL_PREFIX=/usr "$@" >"${ROOT%/*}/cmake.log" 2>&1
    DESTDIR=$ROOT cmake --install "${ROOT%/*}/cmake" --component service \
        >>"${ROOT%/*}/cmake.log" 2>&1
}

# install_program: for users who cannot reach the build's folder.
install_program() {
    mkdir -p "$ROOT/usr/bin"
    install -m 755 "$PROGRAM" "$ROOT/usr/bin/imageio-fcgi"
}

# setting UNIT NAME: the last value of it in an installed unit.
setting() {
    sed -n "s/^$2=//p" "$ROOT/usr/lib/systemd/system/imageio-fcgi.$1" |
        tail -n 1
}

needs_root() {
    [ "$(id -u)" = 0 ] || skip 'only root becomes another user'
}
