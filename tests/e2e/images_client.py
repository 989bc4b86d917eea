#!/usr/bin/env python3
"""Moves images as the oVirt client does, over the web server's Unix socket.

images_client.py COMMAND --socket SOCKET --path /images/ID [OPTION...] [FILE]

    options              prints what the image allows
    download FILE        all that is not zero, into a new sparse file
    download-dirty FILE  all that is dirty, into an older download
    upload FILE          a sparse file: zeroes its holes, writes its data
    upload-ui FILE       all of a file in one request, as the web UI does

    --workers N          connections that move data, at most; default 4
    --max-request BYTES  longest part in one request; default 4 MiB. The real
                         client goes up to 128 MiB: here small images have to
                         need many requests.

Like that client it has no patience: it keeps its connections for the whole
transfer and opens none a second time, and it never retries. Any status but
the one that it needs, a header that is not right, an answer that is cut or a
connection that is closed ends it: one line on stderr and exit status 1. So
its success says that no request was refused.

A transfer ends with a line of JSON: connections, requests, and the bytes that
were fetched, sent and zeroed.
"""

import argparse
import collections
import http.client
import json
import os
import socket
import sys
import threading

TIMEOUT_S = 60  # of the real client, for an answer
MAX_WORKERS = 4  # of the real client, whatever the server would allow
PIECE = 256 * 1024


class Failed(Exception):
    """The transfer cannot go on; the text says why."""


class Connection(http.client.HTTPConnection):
    """One connection for many requests, used by one thread at a time."""

    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT_S)
        self.socket_path = path
        self.counts = collections.Counter(connections=1)
        self.buffer = memoryview(bytearray(PIECE))
        self.connect()
        # http.client would silently open a closed one again.
        self.auto_open = 0

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)

    def ask(self, method, target, status, headers=None, body=None):
        """The answer to one request, with exactly this status."""
        # All names in lower case: else http.client adds its own spelling.
        headers = {"host": "localhost", "accept-encoding": "identity",
                   **(headers or {})}
        part = headers.get("range") or headers.get("content-range") or ""
        what = f"{method} {target} {part}"
        self.counts["requests"] += 1
        is_sent = True
        try:
            try:
                self.request(method, target, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                is_sent = False  # refused before its end; maybe told why
            answer = self.getresponse()
            if answer.status != status or not is_sent:
                raise Failed(f"{what}: {answer.status} {answer.read(500)!r}, "
                             f"expected {status}")
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{what}: {error!r}") from error
        return answer


def ask_options(connection, path):
    """What the image allows."""
    answer = connection.ask("OPTIONS", path, 200)
    options = json.loads(answer.read())
    if not isinstance(options, dict) \
            or not isinstance(options.get("features"), list):
        raise Failed(f"OPTIONS {path}: no object with features: {options}")
    for name in "max_readers", "max_writers":
        if type(options.get(name)) is not int:
            raise Failed(f"OPTIONS {path}: {name} is no number: {options}")
    return options


def ask_extents(connection, path, context):
    """The whole map, and the image's size, which is where the map ends."""
    answer = connection.ask("GET", f"{path}/extents?context={context}", 200)
    extents = json.loads(answer.read())
    size = 0
    for extent in extents:
        if extent["start"] != size or extent["length"] <= 0:
            raise Failed(f"extents: expected one from {size} on: {extent}")
        if not isinstance(extent[context], bool):
            raise Failed(f"extents: no {context}: {extent}")
        size += extent["length"]
    return extents, size


def split(start, length, most):
    """The area in parts of at most that many bytes."""
    end = start + length
    while start < end:
        yield start, min(most, end - start)
        start += most


def open_workers(args, allowed, *opened):
    """All connections that move data, before the first of them does."""
    count = min(allowed, args.workers, MAX_WORKERS)
    if count < 1:
        raise Failed("the image does not allow it")
    return [*opened, *(Connection(args.socket)
                       for _ in range(count - len(opened)))]


def share(workers, jobs, finish=lambda worker: None):
    """Each worker, in a thread of its own, does the next job until none is
    left, and then finishes, whatever the others do. A failure ends all."""
    jobs = iter(jobs)
    lock = threading.Lock()
    failures = []

    def run(worker):
        try:
            while not failures:
                with lock:
                    job = next(jobs, None)
                if job is None:
                    finish(worker)
                    return
                function, *arguments = job
                function(worker, *arguments)
        except Exception as error:  # else only this thread would end
            failures.append(error)

    threads = [threading.Thread(target=run, args=(worker,))
               for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def report(workers):
    print(json.dumps(sum((worker.counts for worker in workers),
                         collections.Counter())))


def fetch(connection, path, start, length, size, out):
    """Copies a part of the image to the same place in the file."""
    last = start + length - 1
    answer = connection.ask("GET", path, 206,
                            {"range": f"bytes={start}-{last}"})
    says = answer.getheader("content-length"), answer.getheader("content-range")
    if says != (str(length), f"bytes {start}-{last}/{size}"):
        raise Failed(f"GET {start}-{last} of {size}: the head says {says}")
    at = start
    while at <= last:
        try:
            count = answer.readinto(connection.buffer)
        except (ConnectionResetError, http.client.IncompleteRead):
            count = 0
        if not count:
            raise Failed(f"GET {start}-{last}: cut at {at}")
        os.pwrite(out, connection.buffer[:count], at)
        at += count
    connection.counts["fetched"] += length


def fill(connection, start, length, out):
    """Overwrites older data in the file, without a request."""
    for at, count in split(start, length, PIECE):
        os.pwrite(out, bytes(count), at)
    connection.counts["zeroed"] += length


def download(args, context, flags, is_wanted):
    """The control connection asks for the map; then it only stays open: it
    must not cost a reader's slot."""
    control = Connection(args.socket)
    options = ask_options(control, args.path)
    if "extents" not in options["features"]:
        raise Failed(f"the image has no extents: {options}")
    extents, size = ask_extents(control, args.path, context)
    workers = open_workers(args, options["max_readers"])
    out = os.open(args.file, os.O_RDWR | flags, 0o666)
    if flags:
        os.ftruncate(out, size)
    elif os.fstat(out).st_size != size:
        raise Failed(f"{args.file} is no older download of {size} bytes")

    def jobs():
        for extent in filter(is_wanted, extents):
            start, length = extent["start"], extent["length"]
            if extent.get("zero", False):
                yield fill, start, length, out
                continue
            for start, length in split(start, length, args.max_request):
                yield fetch, args.path, start, length, size, out

    share(workers, jobs())
    os.close(out)
    report([control, *workers])


def download_all(args):
    """A new file: what is zero stays a hole."""
    download(args, "zero", os.O_CREAT | os.O_TRUNC,
             lambda extent: not extent["zero"])


def download_dirty(args):
    """On top of an older download: what became zero has data there."""
    download(args, "dirty", 0, lambda extent: extent["dirty"])


def pieces(file, start, length):
    for at, count in split(start, length, PIECE):
        data = os.pread(file, count, at)
        if len(data) != count:
            raise Failed(f"the file ends at {at + len(data)}")
        yield data


def send(connection, target, file, start, length, size="*"):
    connection.ask("PUT", target, 200,
                   {"content-length": str(length),
                    "content-type": "application/octet-stream",
                    "content-range": f"bytes {start}-{start + length - 1}"
                                     f"/{size}"},
                   pieces(file, start, length)).read()
    connection.counts["sent"] += length


def patch(connection, path, message):
    body = json.dumps(message).encode()
    connection.ask("PATCH", path, 200,
                   {"content-length": str(len(body)),
                    "content-type": "application/json"}, body).read()


def zero(connection, path, start, length):
    patch(connection, path, {"op": "zero", "offset": start, "size": length,
                             "flush": False})
    connection.counts["zeroed"] += length


def segments(file):
    """(IS_DATA, START, LENGTH) of a sparse file; some are empty."""
    size = os.fstat(file).st_size
    at = 0
    while at < size:
        try:
            data = os.lseek(file, at, os.SEEK_DATA)
        except OSError:  # ENXIO: a hole up to the end
            data = size
        hole = os.lseek(file, data, os.SEEK_HOLE) if data < size else size
        yield False, at, data - at
        yield True, data, hole - data
        at = hole


def upload(args):
    """Zeroes and data side by side. Each connection flushes when it has no
    more to do: others may be writing still, and neither may be refused."""
    first = Connection(args.socket)
    options = ask_options(first, args.path)
    if not {"zero", "flush"} <= set(options["features"]):
        raise Failed(f"the image lacks zero or flush: {options}")
    workers = open_workers(args, options["max_writers"], first)
    file = os.open(args.file, os.O_RDONLY)

    def jobs():
        for is_data, start, length in segments(file):
            for part in split(start, length, args.max_request):
                if is_data:
                    yield send, f"{args.path}?flush=n", file, *part
                else:
                    yield zero, args.path, *part

    share(workers, jobs(),
          lambda worker: patch(worker, args.path, {"op": "flush"}))
    os.close(file)
    report(workers)


def upload_ui(args):
    connection = Connection(args.socket)
    file = os.open(args.file, os.O_RDONLY)
    size = os.fstat(file).st_size
    send(connection, f"{args.path}?close=y", file, 0, size, size)
    os.close(file)
    report([connection])


def print_options(args):
    print(json.dumps(ask_options(Connection(args.socket), args.path)))


COMMANDS = {"options": print_options, "download": download_all,
            "download-dirty": download_dirty, "upload": upload,
            "upload-ui": upload_ui}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--workers", type=int, default=MAX_WORKERS)
    parser.add_argument("--max-request", type=int, default=4 << 20)
    parser.add_argument("file", nargs="?")
    args = parser.parse_intermixed_args()
    if (args.file is None) != (args.command == "options"):
        parser.error("a FILE, but for options")
    try:
        COMMANDS[args.command](args)
    except (Failed, OSError, ValueError, LookupError,
            http.client.HTTPException) as error:
        print(f"images_client.py: {args.command} {args.path}: {error!r}",
              file=sys.stderr)
        return 1
    return 0


sys.exit(main())
