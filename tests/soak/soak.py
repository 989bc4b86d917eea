#!/usr/bin/env python3
"""soak.py DIR SOCKET SECONDS WEB

Reads and writes images by way of the web server on SOCKET, kills a process of
the program every 5 seconds, restarts NBD servers, and compares every byte
(model.py). DIR is that of the tests (e2e/common.bash); run has started the
program and the web server. Prints what is wrong, and one line at the end.
"""

import collections
import os
import random
import select
import signal
import sys
import threading
import time

from client import REFUSED, UNKNOWN, Client
from images import FileImage, NbdImage, Windows, command_of, wait_for
from model import SLICE_MAX

KIB, MIB = 1 << 10, 1 << 20
CLIENTS = 16
KILL_EVERY_S = 5
RESTART_EVERY_S = 4  # the NBD server of one image after the other
SLACK_NS = 10**9  # so long may a dead process be felt
SHOWN = 5  # faults that are printed
LOG_LINES = 12  # of the program's, with each of them


class Faults:
    def __init__(self, log):
        self.lock = threading.Lock()
        self.log = log
        self.wrong = self.others = 0

    def add(self, text, is_wrong=False, ticket=None, always=False):
        with self.lock:
            self.wrong += is_wrong
            self.others += not is_wrong
            if self.wrong + self.others > SHOWN and not always:
                return
            print(f"{'wrong' if is_wrong else 'fault'}: {text}")
            with open(self.log, "rb") as log:
                log.seek(max(0, os.path.getsize(self.log) - MIB))
                lines = log.read().decode(errors="replace").splitlines()
            if ticket:  # of which a log has 8 characters
                lines = [x for x in lines if f"={ticket[:8]}" in x]
            for line in lines[-LOG_LINES:]:
                print(f"  log: {line}")
            sys.stdout.flush()

    def are_many(self):
        return self.wrong + self.others > 4 * SHOWN


class Soak:
    def __init__(self, at, path, seconds):
        self.dir, self.socket, self.seconds = at, path, seconds
        self.faults = Faults(f"{at}/program.log")
        self.kills, self.kill_count, self.restarts = Windows(), 0, 0
        self.killed = set()
        self.until = None
        self.images = []

    def servers(self):
        return [image for image in self.images if not image.is_file]

    def look_for_servers(self):
        """Their own end is no fault of the program, but the test's."""
        for image in self.servers():
            status = image.server.poll()
            if status is not None and not image.is_killed:
                image.is_killed = True
                with open(image.log, encoding="utf-8", errors="replace") as log:
                    last = "  ".join(log.readlines()[-5:])
                self.faults.add(
                    f"{image.name}'s server: status {status}\n  {last}", always=True
                )

    def is_over(self):
        return time.monotonic() >= self.until or self.faults.are_many()

    def make_images(self):
        os.mkdir(f"{self.dir}/images")
        qemu = "qemu-nbd -t -e 0 -k SOCKET -f"
        # With more threads nbdkit 1.32 aborts where clients leave.
        nbdkit = "nbdkit -f --threads=1 -U SOCKET"
        policy = "blocksize-error-policy=error blocksize-minimum="
        self.images = [
            NbdImage(self, "raw", 12 * MIB, f"{qemu} raw FILE", tickets=2),
            # What is not flushed does not outlive this server.
            NbdImage(self, "qcow2", 16 * MIB, f"{qemu} qcow2 FILE", is_qcow2=True),
            # Long enough for a second connection.
            NbdImage(self, "long", 72 * MIB, f"{nbdkit} file FILE"),
            NbdImage(
                self, "blocks", 12 * MIB,
                f"{nbdkit} --filter=blocksize-policy file FILE {policy}4096 "
                "blocksize-preferred=4096 blocksize-maximum=32M",
                tickets=2, block=4096,
            ),
            # Zeroes have to be written, in small pieces.
            NbdImage(
                self, "plain", 8 * MIB,
                f"{nbdkit} --filter=blocksize-policy --filter=nozero "
                f"--filter=noextents file FILE {policy}512 "
                "blocksize-preferred=4096 blocksize-maximum=128K",
                block=512,
            ),
            # Now and then it says no.
            NbdImage(
                self, "faulty", 4 * MIB,
                f"{nbdkit} --filter=blocksize-policy --filter=error file FILE "
                f"{policy}512 blocksize-preferred=4096 blocksize-maximum=1M "
                "error-pread-rate=2% error-pwrite-rate=1%",
                block=512, has_errors=True,
            ),
            NbdImage(
                self, "constant", 8 * MIB, f"{nbdkit} -r file FILE", read_only=True
            ),
            FileImage(self, "one", 700000),
            FileImage(self, "two", 3 * MIB),
            FileImage(self, "still", SLICE_MAX, read_only=True),
        ]
        weights = {"raw": 3, "qcow2": 3, "blocks": 5, "plain": 2, "faulty": 2, "one": 2}
        self.choice = [x for x in self.images for _ in range(weights.get(x.name, 1))]

    def is_program(self, pid):
        command = command_of(pid)
        return command[:1] == [os.environ["PROGRAM"]] and any(
            self.dir in word for word in command
        )

    def pids(self):
        """Of the processes that run. What program.pids says may by now be the
        number of another one, of an NBD server or of a thread of ours."""
        numbers = [name for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in numbers if self.is_program(pid)]

    def kill_one(self):
        pids = self.pids()
        victim = int(random.choice(pids))
        handle = os.pidfd_open(victim)
        if not self.is_program(victim):
            raise ProcessLookupError(f"process {victim} has ended by itself")
        self.killed.add(victim)
        window = self.kills.open()
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not select.select([handle], [], [], 30)[0]:
            raise TimeoutError(f"process {victim} is killed and does not end")
        os.close(handle)
        with open(f"{self.dir}/again", "w", encoding="ascii"):
            pass
        wait_for(lambda: len(self.pids()) == len(pids), "a process in its place")
        Windows.close(window, SLACK_NS)
        self.kill_count += 1

    def every(self, seconds, action):
        """Until the end; for a thread of its own."""
        try:
            following = time.monotonic() + seconds
            while not self.is_over():
                if time.monotonic() >= following:
                    action()
                    following = max(following + seconds, time.monotonic())
                time.sleep(0.05)
        except Exception as error:
            self.faults.add(repr(error))
            raise

    def work(self):
        clients = [Client(self, i) for i in range(CLIENTS)]
        keeper = Client(self, CLIENTS)
        turns = iter(self.images * (1 + self.seconds))
        self.until = time.monotonic() + self.seconds
        threads = [threading.Thread(target=x.work) for x in clients] + [
            threading.Thread(target=self.every, args=(KILL_EVERY_S, self.kill_one)),
            threading.Thread(target=self.every, args=(0.5, self.look_for_servers)),
        ]
        for thread in threads:
            thread.start()
        # Here: nbdkit is told to end when the thread that started it does.
        self.every(RESTART_EVERY_S, lambda: keeper.restart(next(turns)))
        for thread in threads:
            thread.join()
        return clients + [keeper]

    def look_at_all(self, client):
        """When all is quiet."""
        for image in self.images:
            if self.faults.are_many():
                return
            client.restart(image)
            if not image.read_only:
                self.look_for_locks(client, image)
        for line in open(f"{self.dir}/program.statuses", encoding="ascii"):
            pid, status = map(int, line.split())
            if pid not in self.killed or status != 128 + signal.SIGKILL:
                self.faults.add(f"process {pid} ended with status {status}")
        names = {image.name for image in self.images} | {"qcow2.raw"}
        for name in os.listdir(f"{self.dir}/images"):
            # A kill may leave one of these: docs/operations.md.
            if name not in names and not name.startswith(".imageio-"):
                self.faults.add(f"left behind: {name}")

    def look_for_locks(self, client, image):
        body = os.urandom(4096 if image.is_file else image.model.size)
        reply, outcome = client.ask(image, "PUT", "PUT", "", (), body)
        if outcome == REFUSED or outcome == UNKNOWN and not image.has_errors:
            self.faults.add(f"a lock is left: PUT of {image.name}: {reply}")
        elif outcome == UNKNOWN:
            return
        reply = client.insist("GET", lambda: client.ask(image, "GET", "GET"))
        if reply.body != body:
            self.faults.add(f"{image.name} is not what was PUT", True)

    def look_at_load(self, clients, succeeded):
        expected = {
            "GET nbd", "PUT part nbd", "PATCH nbd", "PATCH zero nbd", "PUT nbd",
            "extents nbd", "flush nbd", "GET file", "PUT file", "flush file",
            "forbidden file", "forbidden nbd",
        }
        missing = expected - set(succeeded)
        if missing:
            self.faults.add(f"never succeeded: {sorted(missing)}")
        requests = sum(client.requests for client in clients)
        if requests < 2 * self.seconds:
            self.faults.add(f"{requests} requests in {self.seconds} s")
        if self.kill_count < self.seconds // (2 * KILL_EVERY_S):
            self.faults.add(f"{self.kill_count} kills in {self.seconds} s")


def main():
    at, path, seconds, web = sys.argv[1:]
    soak = Soak(at, path, int(seconds))
    try:
        soak.make_images()
        clients = soak.work()
        soak.look_for_servers()
        soak.look_at_all(clients[-1])
    finally:
        for image in soak.servers():
            image.kill()
    succeeded = sum((client.succeeded for client in clients), collections.Counter())
    soak.look_at_load(clients, succeeded)
    for kind, count in sorted(succeeded.items()):
        print(f"{count:8} {kind}")

    def total(name):
        return sum(getattr(client, name) for client in clients)

    print(
        f"soak web={web} seconds={seconds} requests={total('requests')} "
        f"read_bytes={total('read_bytes')} written_bytes={total('written_bytes')} "
        f"kills={soak.kill_count} failed={total('failed')} "
        f"refused={total('refused')} restarts={soak.restarts} "
        f"wrong={soak.faults.wrong}"
    )
    sys.exit(1 if soak.faults.wrong + soak.faults.others else 0)


if __name__ == "__main__":
    main()
