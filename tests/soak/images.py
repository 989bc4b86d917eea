"""images.py - what is served: its tickets, its NBD server, its model."""

import json
import os
import subprocess
import threading
import time

from model import FileModel, Model, Write, now


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def wait_for(is_so, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def is_listening(path):
    with open("/proc/net/unix", encoding="ascii") as file:
        # Its flags say that it accepts.
        return any(
            x.endswith(" " + path + "\n") and x.split()[3] == "00010000" for x in file
        )


def command_of(pid):
    """The words of its command line; none of a process that has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").split("\0")
    except OSError:
        return []


class Windows:
    """Times in which a failure has a reason."""

    def __init__(self):
        self.all = []

    def open(self):
        self.all.append([now(), now() + 3600 * 10**9])
        return self.all[-1]

    @staticmethod
    def close(window, slack=0):
        window[1] = now() + slack

    def has(self, begin, end):
        return any(low <= end and begin <= high for low, high in self.all)


class Gate:
    """Writers of an image go through; who closes it waits for them."""

    def __init__(self):
        self.changed = threading.Condition()
        self.inside = 0
        self.is_closed = False

    def enter(self):
        with self.changed:
            if self.is_closed:
                return False
            self.inside += 1
            return True

    def leave(self):
        with self.changed:
            self.inside -= 1
            self.changed.notify_all()

    def close(self):
        with self.changed:
            self.is_closed = True
            while self.inside:
                self.changed.wait()

    def open(self):
        with self.changed:
            self.is_closed = False


class Image:
    """What is served, and its tickets: several are the same image."""

    is_file = False
    has_errors = False  # its NBD server is made to fail

    def __init__(self, soak, name, tickets, read_only):
        self.soak, self.name, self.read_only = soak, name, read_only
        self.path = f"{soak.dir}/images/{name}"
        self.tickets = tickets
        self.gate = Gate()
        self.restarts = Windows()

    def put_tickets(self, **content):
        for ticket in self.tickets:
            new = f"{self.soak.dir}/ticket.new"
            with open(os.open(new, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                json.dump(content, file)
            os.rename(new, f"{self.soak.dir}/tickets/{ticket}")


class FileImage(Image):
    is_file = True

    def __init__(self, soak, name, size, read_only=False):
        super().__init__(soak, name, [name], read_only)
        self.model = FileModel(name, size)
        with open(self.path, "wb") as file:
            file.write(self.model.first.all_bytes())
        self.put_tickets(backend="file", file=self.path, read_only=read_only)

    def on_disk(self):
        with open(self.path, "rb") as file:
            return file.read()


class NbdImage(Image):
    """command: of the NBD server, with its socket and its file yet to come."""

    def __init__(self, soak, name, size, command, tickets=1, block=1, **more):
        super().__init__(
            soak, name, [name, name + "-too"][:tickets], more.get("read_only", False)
        )
        self.has_errors = more.get("has_errors", False)
        self.is_qcow2 = more.get("is_qcow2", False)
        self.socket = f"{soak.dir}/{name}.sock"
        self.command = [
            {"SOCKET": self.socket, "FILE": self.path}.get(word, word)
            for word in command.split()
        ]
        self.model = Model(name, size, block)
        self.server = None
        self.log = f"{soak.dir}/{name}.log"
        self.is_killed = True
        self.left = []  # (when, write): its client left
        if self.is_qcow2:
            run("qemu-img", "create", "-q", "-f", "qcow2", self.path, str(size))
        else:
            with open(self.path, "wb") as file:
                file.truncate(size)
                if self.read_only:
                    content = Write(0, size, "first")
                    file.write(content.all_bytes())
                    self.model.settle(content.all_bytes(), [])
        self.start()
        self.put_tickets(
            backend="nbd", socket=self.socket, read_only=self.read_only
        )

    def start(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        with open(f"{self.soak.dir}/{self.name}.pid", "w") as file:
            print(self.server.pid, file=file)
        wait_for(lambda: is_listening(self.socket), f"{self.name}'s server")

        self.is_killed = False

    def kill(self):
        self.is_killed = True
        self.server.kill()
        self.server.wait()

    def on_disk(self):
        """Of a server that is dead."""
        path = self.path
        if self.is_qcow2:
            path = f"{self.path}.raw"
            run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.path, path)
        with open(path, "rb") as file:
            return file.read()
