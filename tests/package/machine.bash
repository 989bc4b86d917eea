# machine.bash - a copy of this machine (see root) to install the package DEB on,
# and what is asked of it there. After common.

PACKAGE=/imageio-fcgi.deb
URL=http://127.0.0.1:54323/images

# start_machine COMMAND...: with COMMAND as its process 1.
start_machine() {
    D=$(mktemp -d "${E2E_BASE:-/tmp}/iXXXXXX")
    export D
    chmod 755 "$D"
    supervise machine as_root "$BATS_TEST_DIRNAME/root" "$D" "$@"
    if ! wait_for test -s "$D/init"; then
        cat "$D/machine.log" >&2 # no rights for it, or no overlayfs
        return 1
    fi
    INIT=$(cat "$D/init")
    export INIT
    wait_for is_up
    # As if nothing of it had ever been here.
    on_machine sh -c 'rm -f /usr/sbin/policy-rc.d
        dpkg --purge imageio-fcgi
        ! id imageio || userdel imageio' >"$D/before.log" 2>&1
    as_root cp "${DEB:?}" "/proc/$INIT/root$PACKAGE"
    files >"$D/before"
}

start_systemd() {
    MACHINE_IS_UP='systemctl is-system-running'
    start_machine /lib/systemd/systemd --unit=machine.target \
        --log-target=journal --show-status=0
}

# Its processes end with the first.
stop_machine() {
    [ -z "${INIT:-}" ] || as_root kill -9 "$INIT"
    wait_for test -e "$D/machine.status"
    as_root rm -rf "$D"
}

is_up() {
    on_machine ${MACHINE_IS_UP:-true}
}

on_machine() { # COMMAND...: as its init would run it
    as_root nsenter --target "$INIT" --mount --pid --net --uts --ipc --cgroup \
        --root --wd env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LC_ALL=C.UTF-8 RUNLEVEL=2 PREVLEVEL=N \
        DEBIAN_FRONTEND=noninteractive "$@"
}

# --- what the package does -----------------------------------------------------

# Files that are not as on this machine, but for logs, caches, dpkg's own and
# the list of users, and whatever in memory has our name.
files() {
    on_machine sh -c 'cd /run/layers/upper && find . ! -type d | sed "s/^\.//"
        find /run /tmp -path /run/layers -prune -o -name "*image*" -print' |
        grep -vE -e '^/var/(log|cache)/' -e '^/var/lib/dpkg/[^/]*$' \
            -e '^/var/lib/systemd/random-seed$' -e '^/root/\.rpmdb/' \
            -e '^/etc/(passwd|group|shadow|gshadow)-?$|^/etc/\.pwd\.lock$' |
        sort
}

# assert_left [FILE...]: these are all that is there since start_machine.
assert_left() {
    diff <(printf '%s\n' "$@" | sort | grep .) \
        <(files | comm -13 "$D/before" -) >&2
}

# What stays when the package is removed, and goes when it is purged.
# shellcheck disable=SC2034 # for those who load this
CONFIGURATION=(
    /etc/default/imageio-fcgi
    /etc/init.d/imageio-fcgi
    /etc/rc{0,1,6}.d/K01imageio-fcgi
    /etc/rc{2,3,4,5}.d/S01imageio-fcgi
    /etc/systemd/system/multi-user.target.wants/imageio-fcgi.service
    /etc/systemd/system/sockets.target.wants/imageio-fcgi.socket
    /var/lib/dpkg/info/imageio-fcgi.{list,postrm}
    /var/lib/systemd/deb-systemd-helper-enabled/imageio-fcgi.{service,socket}.dsh-also
    /var/lib/systemd/deb-systemd-helper-enabled/multi-user.target.wants/imageio-fcgi.service
    /var/lib/systemd/deb-systemd-helper-enabled/sockets.target.wants/imageio-fcgi.socket
)

assert_user() { # a system user without a shell
    [[ $(on_machine getent passwd imageio) =~ ^imageio:x:[1-9][0-9]{0,2}:[0-9]+:.*/nologin$ ]]
    [ "$(on_machine id -gn imageio)" = imageio ]
}

# The number, there, of the program's process.
program() {
    on_machine pidof imageio-fcgi
}

assert_running() { # as its user
    [ "$(on_machine ps -o user= -p "$(program)")" = imageio ]
}

has_stopped() {
    ! program
}

# --- a transfer ----------------------------------------------------------------

# export_disk SIZE: NBD server and ticket "disk", written by root as documented.
export_disk() {
    on_machine sh -c "umask 007 && cd /srv && head -c $1 /dev/urandom >disk &&
        qemu-nbd --fork -t -e 0 -f raw -k /tmp/imagetransfer/disk.sock \
            --pid-file=/srv/pid disk"
    on_machine imageio-fcgi-ctl add disk --nbd /tmp/imagetransfer/disk.sock
}

remove_disk() {
    on_machine imageio-fcgi-ctl remove disk
    on_machine sh -c 'kill $(cat /srv/pid)'
    wait_for on_machine sh -c '! pidof qemu-nbd'
    on_machine sh -c 'rm -rf /srv/* /tmp/imagetransfer/disk.sock'
}

# start_web_server COMMAND...: with the installed example.
start_web_server() {
    on_machine "$@"
    wait_for on_machine curl -s -o /dev/null "$URL/none"
}

# The disk is read and written by way of the web server, and nothing else is.
transfer() {
    on_machine sh -c "cd /srv && curl -fsS -o read $URL/disk && cmp read disk"
    on_machine sh -c "cd /srv && head -c 4096 /dev/urandom >piece &&
        curl -fsS -T piece -H 'Content-Range: bytes 8192-12287/*' $URL/disk &&
        cmp -n 4096 -i 0:8192 piece disk"
    run on_machine curl -s -o /dev/null -w '%{http_code}' "$URL/none"
    assert_output 404
}
