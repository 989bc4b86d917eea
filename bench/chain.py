# SPDX-License-Identifier: Apache-2.0
"""The chain that is measured: data, NBD servers, program, web server.

All files are below one directory, all processes are children of this one;
Chain.close ends the latter and removes the former.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
MIB = 1 << 20
GIB = 1 << 30
TICK = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """A row cannot be measured, or its data are wrong."""


@dataclasses.dataclass
class Result:
    """What clients that ran at once took, and put out one after the other."""
    seconds: float
    cpu: dict
    output: list


def environment():
    """Ours, less what would change how anything runs."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("MALLOC_")
           and not name.lower().endswith("_proxy")}
    path = env.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return {**env, "LC_ALL": "C", "PATH": path}


def wait_for(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain for {what}")
        time.sleep(0.002)


def family(pid):
    """The process and its children."""
    pids = [pid]
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                pids.append(int(path.parent.name))
    return pids


def cpu_seconds(pid):
    """User and system time of the process and its children."""
    ticks = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            stat = pathlib.Path(f"/proc/{each}/stat").read_text()
            fields = stat.rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def choose_base():
    """Where to keep the data."""
    if "BENCH_DIR" in os.environ:
        return os.environ["BENCH_DIR"]
    with contextlib.suppress(OSError):
        if shutil.disk_usage("/dev/shm").free >= 12 * GIB:
            return "/dev/shm"
    return os.environ.get("TMPDIR", "/var/tmp")


class Chain:
    def __init__(self, program, size):
        self.program = program
        self.size = size
        self.env = environment()
        self.children = []
        self.servers = {}
        self.base = choose_base()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-",
                                                 dir=self.base))
        self.dir.chmod(0o755)
        for name in ("static", "tickets", "nginx", "lighttpd"):
            (self.dir / name).mkdir()
        if os.getuid() == 0:
            # A web server's user writes its logs or temporary files.
            user = pwd.getpwnam("www-data")
            for name in ("nginx", "lighttpd"):
                os.chown(self.dir / name, user.pw_uid, user.pw_gid)
        # Served by NBD, as a file image, and by the web server itself.
        self.source = self.dir / "static/disk"
        self.ticket("file", backend="file", file=str(self.source))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        # No signal cuts this short.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        for child in list(reversed(self.children)):
            self.end(child)
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- processes ---------------------------------------------------------

    def spawn(self, argv, **options):
        """In a session of its own: a terminal's Ctrl-C is for us alone."""
        options = {"stdin": subprocess.DEVNULL, "env": self.env,
                   "start_new_session": True, **options}
        child = subprocess.Popen([str(arg) for arg in argv], **options)
        self.children.append(child)
        return child

    def serve(self, role, argv):
        """A server that stays until end; its output goes to ROLE.log."""
        with open(self.dir / f"{role}.log", "ab") as log:
            self.servers[role] = self.spawn(argv, stdout=log, stderr=log)
        return self.servers[role]

    def end(self, child):
        pids = family(child.pid)
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                for pid in pids:
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
                child.wait()
        self.children.remove(child)

    def stop(self, role):
        if role in self.servers:
            self.end(self.servers.pop(role))

    def clients(self, argvs, output=True):
        """Runs them at once. Their time is from the first's start to the
        last's end, the servers' CPU time what they used meanwhile."""
        before = self.cpu()
        stdout = subprocess.PIPE if output else subprocess.DEVNULL
        outputs, used, failed = [], 0, None
        with open(self.dir / "clients.log", "wb") as log:
            start = time.perf_counter()
            running = [self.spawn(argv, stdout=stdout, stderr=log)
                       for argv in argvs]
            for child in running:
                outputs.append(child.stdout.read().decode() if output else "")
                _, status, usage = os.wait4(child.pid, 0)
                seconds = time.perf_counter() - start
                child.returncode = os.waitstatus_to_exitcode(status)
                used += usage.ru_utime + usage.ru_stime
                failed = failed or (child if child.returncode else None)
        for child in running:
            if output:
                child.stdout.close()
            self.children.remove(child)
        if failed:
            said = (self.dir / "clients.log").read_text(errors="replace")
            raise Failure(f"{failed.args[0]} ended with {failed.returncode}: "
                          + " ".join((said + " ".join(outputs)).split())[:300])
        cpu = {role: now - before[role] for role, now in self.cpu().items()}
        return Result(seconds, {"client": used, **cpu}, outputs)

    def client(self, *argv, output=True):
        return self.clients([argv], output)

    def shell(self, script, *args):
        """A bash script, untimed, that fails if any of its commands does."""
        return self.client("bash", "-euo", "pipefail", "-c", script, "bash",
                           *args).output[0]

    def cpu(self):
        """CPU time so far, by role: program, web, and all NBD servers."""
        used = {"nbd": 0.0}
        for role, child in self.servers.items():
            role = role if role in ("program", "web") else "nbd"
            used[role] = used.get(role, 0.0) + cpu_seconds(child.pid)
        return used

    # --- memory of the program ---------------------------------------------

    def reset_peak(self):
        pid = self.servers["program"].pid
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak(self, child=None):
        """Its peak in MiB."""
        pid = (child or self.servers["program"]).pid
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    # --- data --------------------------------------------------------------

    def make_source(self):
        if not self.source.exists():
            self.shell('head -c "$1" /dev/urandom >"$2"', self.size,
                       self.source)

    def ticket(self, name, **keys):
        """It appears as a whole; the web server's user cannot read it."""
        new = self.dir / "ticket"
        new.write_text(json.dumps(keys))
        new.chmod(0o600)
        new.rename(self.dir / "tickets" / name)

    # --- servers -----------------------------------------------------------

    @contextlib.contextmanager
    def nbd(self, name, image, *options, warm=True, **keys):
        """An NBD server with a ticket, for as long as the context lasts.
        Without options the image is raw. Yields its URI."""
        sock = self.dir / f"{name}.sock"
        ready = self.dir / f"{name}.pid"
        for path in (sock, ready):
            path.unlink(missing_ok=True)
        self.serve(name, ("qemu-nbd", "-t", "-e", "0", "-k", sock,
                          f"--pid-file={ready}",
                          *(options or ("-f", "raw")), image))
        try:
            wait_for(f"qemu-nbd, see {name}.log", ready.exists)
            uri = f"nbd+unix:///?socket={sock}"
            if warm:
                # Lets its allocator keep what it has from now on.
                self.client("qemu-io", "-r", "-f", "raw", "-c", "read 0 4M",
                            uri)
            self.ticket(name, backend="nbd", socket=str(sock), **keys)
            yield uri
        finally:
            self.stop(name)

    def start(self, web, handoff=False):
        """A fresh program and a fresh web server. With handoff the former
        names files, which the latter sends."""
        self.stop("web")
        self.stop("program")
        options = {"nginx": "nginx=/internal-images", "lighttpd": "lighttpd"}
        self.start_program(*(("--file-handoff", options[web])
                             if handoff else ()))
        self.start_web(web, handoff)

    def start_program(self, *options):
        sock = self.dir / "fcgi.sock"
        sock.unlink(missing_ok=True)
        self.serve("program", (
            "spawn-fcgi", "-n", "-s", sock, "-M", "0666", "--", self.program,
            "--ticket-dir", self.dir / "tickets", "--run-dir",
            self.dir / "run", "--log-level", "warning", *options))
        wait_for("spawn-fcgi, see program.log", sock.exists)

    @contextlib.contextmanager
    def fresh_program(self):
        """One more, on a socket of its own, only to see it start. Yields it
        and the milliseconds until it was ready."""
        path = self.dir / "fresh.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
            sock.listen()
            start = time.perf_counter()
            child = self.spawn((
                self.program, "--ticket-dir", self.dir / "tickets",
                "--run-dir", self.dir / "run-fresh"), stdin=sock,
                stderr=subprocess.PIPE)
            try:
                line = b" "
                while line and b" ready" not in line:
                    line = child.stderr.readline()
                ready = (time.perf_counter() - start) * 1000
                if not line:
                    raise Failure("the program ended before it was ready")
                yield child, ready
            finally:
                self.end(child)
                child.stderr.close()

    def start_web(self, web, handoff=False):
        """The shipped configuration, with other paths and another port, and
        locations for files."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        text = (TOP / f"{web}.conf.example").read_text()
        text = self.configure(text, web, port)
        add = add_to_nginx if web == "nginx" else add_to_lighttpd
        config = self.dir / "web.conf"
        config.write_text(add(text, self.dir, handoff))
        if web == "nginx":
            argv = ("nginx", "-c", config, "-e", self.dir / "nginx/start.log",
                    "-g", "daemon off;")
        else:
            argv = ("lighttpd", "-D", "-f", config)
        self.serve("web", argv)
        self.web = web
        self.url = f"http://127.0.0.1:{port}"
        wait_for(f"{web} and the program, see web.log", self.is_answering)

    def configure(self, text, web, port):
        changes = {
            "/run/imageio-fcgi/fcgi.sock": self.dir / "fcgi.sock",
            f"/var/log/{web}": self.dir / web,
            f"/run/{web}.pid": self.dir / web / "pid",
            "/var/lib/nginx": self.dir / "nginx",
            "listen 127.0.0.1:54323": f"listen 127.0.0.1:{port}",
            "server.port = 54323": f"server.port = {port}",
        }
        if self.base.startswith("/dev/shm"):
            changes['"/dev/shm"'] = f'"{self.dir}/lighttpd"'
        for old, new in changes.items():
            text = text.replace(old, str(new))
        return text

    def is_answering(self):
        child = self.servers["web"]
        if child.poll() is not None:
            raise Failure(f"{child.args[0]} ended, see web.log: " + (
                self.dir / "web.log").read_text(errors="replace")[-300:])
        try:
            said = self.client("curl", "-sS", "--max-time", "5",
                               f"{self.url}/images/no-such-ticket").output[0]
        except Failure:
            return False
        return said == '{"error":"unknown image_id"}'

    def statics(self):
        """The URLs by which the web server itself serves the source."""
        if self.web == "nginx":
            return {"static, sendfile on": f"{self.url}/static/disk",
                    "static, sendfile off": f"{self.url}/static-off/disk"}
        return {"static": f"{self.url}/static/disk"}

    def image(self, name):
        return f"{self.url}/images/{name}"


def insert(text, before, what):
    """Before the first line that matches; the file is not ours."""
    changed, count = re.subn(rf"(?m)^(?=[ \t]*{before})", lambda _: what,
                             text, count=1)
    if not count:
        raise Failure(f"the shipped configuration has no line: {before}")
    return changed


def uncomment(text, start):
    """The commented block that begins so and ends with #}."""
    block = re.compile(rf"(?ms)^[ \t]*#[ \t]*{start}.*?^[ \t]*#[ \t]*\}}")
    return block.sub(lambda match: re.sub(r"(?m)^([ \t]*)#", r"\1", match[0]),
                     text)


def add_to_nginx(text, folder, handoff):
    off = "sendfile off; output_buffers 2 256k;"
    what = (f"location /static/ {{ sendfile on; alias {folder}/static/; }}\n"
            f"location /static-off/ {{ {off} alias {folder}/static/; }}\n")
    if handoff:
        text = uncomment(text, r"location /internal-images/ \{")
        if not re.search(r"(?m)^\s*location /internal-images/", text):
            what += (f"location /internal-images/ {{ internal; {off} "
                     "alias /; }\n")
    return insert(text, r"location / \{", what)


def add_to_lighttpd(text, folder, handoff):
    what = (f'}} else $HTTP["url"] =~ "^/static/" {{\n'
            f'    server.document-root = "{folder}"\n'
            f'    server.range-requests = "enable"\n')
    if handoff:
        text = re.sub(r'(?m)^(\s*)#\s*("x-sendfile")', r"\1\2", text)
        if not re.search(r'(?m)^\s*"x-sendfile"', text):
            text = insert(text, '"check-local"', '"x-sendfile" => "enable",\n')
    return insert(text, r"\} else \{", what)
