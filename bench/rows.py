# SPDX-License-Identifier: Apache-2.0
"""The measurements: a function each, by the name of its row in ROWS.

A function checks the data first, which also warms what the row wants warm;
then it measures ours and the reference in turn.
"""

import contextlib
import dataclasses
import http.client
import json
import os
import random
import re

from chain import GIB, MIB, Chain, Failure, family
from report import Row

# What a row should reach, behind nginx and behind lighttpd. A ratio is at
# least this, a figure of ours (s, MiB, ms) at most.
GOALS = {
    "get-nbd-warm": ("ratio", 0.70, 0.50),
    "get-nbd-cold": ("ratio", 0.90, 0.70),
    "put-nbd-warm": ("ratio", 0.65, 0.25),
    "get-file": ("ratio", 0.85, 0.60),
    "get-file-handoff": ("ratio", 0.95, 0.95),
    "put-file": ("ratio", 0.30, None),
    "ranges-1": ("ratio", 0.45, 0.45),
    "get-cpu-program": ("ours", 0.22, 0.26),
    "put-cpu-program": ("ours", 0.26, None),
    "memory-idle": ("ours", 8, 8),
    "memory-8r1w": ("ours", 48, 48),
    "extents-8t-first": ("ours", 0.1, 0.1),
    "extents-8t": ("ours", 0.5, 0.5),
    "extents-1m": ("ours", 10, 10),
    "start": ("ours", 50, 50),
}
DIRTY = "bench"                 # the bitmap's name
SMALL_CLUSTER = 512             # of the image with many areas


@dataclasses.dataclass
class Bench:
    chain: Chain
    web: str
    quick: bool
    report: callable            # takes a Row, or a line of text

    @property
    def samples(self):
        return 3 if self.quick else 7

    def in_turn(self, *sides):
        """A list of results for each side: A B A B ... after one of each
        that does not count."""
        results = [[] for _ in sides]
        for side in sides:
            side()
        for _ in range(self.samples):
            for side, kept in zip(sides, results):
                kept.append(side())
        return results

    def row(self, name, unit, ours, reference=None, against="", **keys):
        kind, *limits = GOALS.get(name, (None, None, None))
        limit = limits[self.web == "lighttpd"]
        goal = (kind, limit) if limit is not None else None
        self.report(Row(name, self.web, unit, ours, reference, against,
                        goal=goal, **keys))

    def transfers(self, name, ours, reference, against):
        """A row of rates, of results that moved the whole image each."""
        self.row(name, "MiB/s", self.rates(ours), self.rates(reference),
                 against)

    def rates(self, results):
        return [self.chain.size / MIB / each.seconds for each in results]

    def best(self, sides):
        """The name and the rates of the reference with the best median."""
        return max(sides.items(), key=lambda side: sorted(side[1])[
            len(side[1]) // 2])


# --- clients ---------------------------------------------------------------

def curl(*args):
    return ("curl", "-s", "-S", "-o", "/dev/null", "-w",
            "%{http_code} %{size_download} %{time_starttransfer} "
            "%{time_total}", *args)


def expect(result, status, size):
    """Each curl's status, and the bytes of all bodies together."""
    got = [output.split() for output in result.output]
    if any(each[0] != str(status) for each in got):
        raise Failure(f"status {got[0][0]}, not {status}")
    if size is not None and sum(int(each[1]) for each in got) != size:
        raise Failure(f"not {size} bytes came")
    return result


def get(b, url):
    return expect(b.chain.client(*curl(url)), 200, b.chain.size)


def put(b, url):
    return expect(b.chain.client(*curl("-T", b.chain.source, url)), 200, None)


def nbdcopy(b, *args):
    return b.chain.client("nbdcopy", *args)


# --- checks of data --------------------------------------------------------

def check_get(b, url):
    b.chain.shell('curl -sSf "$1" | cmp - "$2"', url, b.chain.source)


def check_ranges(b, url):
    """A few 4 KiB ranges, on one connection."""
    host, path = re.fullmatch(r"http://([^/]*)(.*)", url).groups()
    with (open(b.chain.source, "rb") as source,
          contextlib.closing(http.client.HTTPConnection(host)) as client):
        for _ in range(16):
            start = random.randrange(b.chain.size // 4096) * 4096
            client.request("GET", path, headers={
                "Range": f"bytes={start}-{start + 4095}"})
            answer = client.getresponse()
            body = answer.read()
            if (answer.status != 206 or
                    body != os.pread(source.fileno(), 4096, start)):
                raise Failure(f"wrong data: range at {start} of {url}, "
                              f"status {answer.status}")


def check_put(b, url, target):
    """The target is there before, with other bytes."""
    b.chain.shell('head -c "$1" /dev/zero >"$2"', b.chain.size, target)
    put(b, url)
    b.chain.shell('cmp "$1" "$2"', b.chain.source, target)


# --- whole images by NBD ---------------------------------------------------

def cpu_rows(b, name, ours, reference):
    """CPU seconds a GiB of each process, for both sides of a transfer."""
    def used(results, role):
        return [each.cpu[role] * GIB / b.chain.size for each in results]

    keys = {"less_is_better": True}
    b.row(f"{name}-cpu-program", "s/GiB", used(ours, "program"))
    b.row(f"{name}-cpu-web", "s/GiB", used(ours, "web"))
    b.row(f"{name}-cpu-qemu-nbd", "s/GiB", used(ours, "nbd"),
          used(reference, "nbd"), "qemu-nbd under nbdcopy", **keys)
    b.row(f"{name}-cpu-curl", "s/GiB", used(ours, "client"),
          used(reference, "client"), "nbdcopy", **keys)


def get_nbd_warm(b):
    with b.chain.nbd("source", b.chain.source) as uri:
        url = b.chain.image("source")
        check_get(b, url)
        check_ranges(b, url)
        ours, reference = b.in_turn(lambda: get(b, url),
                                    lambda: nbdcopy(b, uri, "null:"))
    b.transfers("get-nbd-warm", ours, reference, "nbdcopy URI null:")
    cpu_rows(b, "get", ours, reference)


def get_nbd_cold(b):
    """Every sample has an NBD server that was never read from."""
    def cold(client):
        with b.chain.nbd("source", b.chain.source, warm=False) as uri:
            return client(uri)

    url = b.chain.image("source")
    cold(lambda uri: check_get(b, url))
    ours, reference = b.in_turn(
        lambda: cold(lambda uri: get(b, url)),
        lambda: cold(lambda uri: nbdcopy(b, uri, "null:")))
    b.transfers("get-nbd-cold", ours, reference, "nbdcopy URI null:")


@contextlib.contextmanager
def target_export(b):
    """An export to write to, whose pages are all there."""
    target = b.chain.dir / "target"
    b.chain.shell('head -c "$1" /dev/zero >"$2"', b.chain.size, target)
    try:
        with b.chain.nbd("target", target) as uri:
            yield target, uri
    finally:
        target.unlink()


def put_nbd_warm(b):
    with target_export(b) as (target, uri):
        url = b.chain.image("target")
        check_put(b, url, target)
        ours, reference = b.in_turn(
            lambda: put(b, url), lambda: nbdcopy(b, b.chain.source, uri))
    b.transfers("put-nbd-warm", ours, reference, "nbdcopy FILE URI")
    cpu_rows(b, "put", ours, reference)


def get_nbd_readers(b, count):
    part = b.chain.size // count
    spans = [(n * part, n * part + part - 1) for n in range(count)]

    def readers():
        return expect(b.chain.clients([
            curl("-r", f"{first}-{last}", url) for first, last in spans]),
            206, b.chain.size)

    with b.chain.nbd("source", b.chain.source) as uri:
        url = b.chain.image("source")
        b.chain.clients([
            ("bash", "-o", "pipefail", "-c",
             'curl -sSf -r "$2-$3" "$1" | cmp -i "0:$2" -n "$4" - "$5"',
             "bash", url, first, last, part, b.chain.source)
            for first, last in spans])
        ours, reference = b.in_turn(
            readers, lambda: nbdcopy(b, uri, "null:"))
    b.transfers(f"get-nbd-{count}-readers", ours, reference,
                "one nbdcopy URI null:")


# --- whole images by file --------------------------------------------------

def static_sides(b):
    return [lambda url=url: get(b, url) for url in b.chain.statics().values()]


def get_file_as(b, name):
    url = b.chain.image("file")
    check_get(b, url)
    ours, *references = b.in_turn(lambda: get(b, url), *static_sides(b))
    against, reference = b.best(dict(zip(
        b.chain.statics(), map(b.rates, references))))
    b.row(name, "MiB/s", b.rates(ours), reference, against)
    return ours


def get_file(b):
    get_file_as(b, "get-file")


def get_file_handoff(b):
    """The program names the file, and the web server sends it."""
    if "--file-handoff" not in b.chain.client(
            b.chain.program, "--help").output[0]:
        b.report(f"{'get-file-handoff':<20} {b.web:<8} not available")
        return
    b.chain.start(b.web, handoff=True)
    ours = get_file_as(b, "get-file-handoff")
    if sum(each.cpu["program"] for each in ours) * GIB > (
            0.05 * b.chain.size * len(ours)):
        raise Failure("the bytes went through the program all the same")


def put_file(b):
    image, copy = b.chain.dir / "image", b.chain.dir / "copy"
    b.chain.ticket("put", backend="file", file=str(image))
    url = b.chain.image("put")
    try:
        check_put(b, url, image)
        ours, reference = b.in_turn(
            lambda: put(b, url),
            lambda: b.chain.client(
                "sh", "-c", 'cp "$1" "$2.new" && mv "$2.new" "$2"', "sh",
                b.chain.source, copy))
    finally:
        for path in image, copy, b.chain.dir / "copy.new":
            path.unlink(missing_ok=True)
    b.transfers("put-file", ours, reference, "cp and mv")


# --- small ranges ----------------------------------------------------------

PIECE = 32 * MIB  # enough reads of 4 KiB for a second or more


def keep_apart(b):
    """The web server on other cores than wrk; returns wrk's. With only one
    request at a time the kernel else has both on one core in some samples
    and not in others, which takes a quarter of the time for one round trip.
    """
    *others, last = sorted(os.sched_getaffinity(0))
    for pid in family(b.chain.servers["web"].pid) if others else ():
        os.sched_setaffinity(pid, others)
    return str(last)


def wrk(b, core, connections, url):
    """Requests a second; core is None for any."""
    pin = ("taskset", "-c", core) if core else ()
    said = b.chain.client(
        *pin, "wrk", "-t1", f"-c{connections}", "-d1s" if b.quick else "-d3s",
        "--timeout", "10s", "-s", os.path.dirname(__file__) + "/ranges.lua",
        url, "--", b.chain.size).output[0]
    numbers = {key: int(value) for key, value in re.findall(
        r"(\w+)=(\d+)", re.search(r"(?m)^bench .*", said)[0])}
    if numbers["status"] or numbers["socket"]:
        raise Failure(f"wrk: {numbers['status']} answers were no success, "
                      f"{numbers['socket']} socket errors")
    if numbers["bytes"] < numbers["requests"] * 4096:
        raise Failure("wrk: answers were shorter than 4 KiB")
    return numbers["requests"] * 1e6 / numbers["us"]


def ranges_of(b, name, connections, url):
    check_ranges(b, url)
    against, static = next(iter(b.chain.statics().items()))
    check_ranges(b, static)
    core = keep_apart(b) if connections == 1 else None
    ours, reference = b.in_turn(lambda: wrk(b, core, connections, url),
                                lambda: wrk(b, core, connections, static))
    b.row(name, "req/s", ours, reference, against)


def ranges(b, connections):
    with b.chain.nbd("source", b.chain.source):
        ranges_of(b, f"ranges-{connections}", connections,
                  b.chain.image("source"))


def ranges_bound(b):
    """Against a program that would cost nothing: the time of a static range
    and that of one NBD read, one after the other."""
    piece = b.chain.dir / "piece"
    b.chain.shell('head -c "$1" "$2" >"$3"', PIECE, b.chain.source, piece)
    url, static = b.chain.image("source"), next(iter(b.chain.statics().values()))
    with (b.chain.nbd("source", b.chain.source),
          b.chain.nbd("piece", piece) as uri):
        core = keep_apart(b)
        ours, ranges, reads = b.in_turn(
            lambda: wrk(b, core, 1, url), lambda: wrk(b, core, 1, static),
            lambda: PIECE / 4096 / nbdcopy(
                b, "--synchronous", "--connections=1", "--requests=1",
                "--request-size=4096", uri, "null:").seconds)
    b.row("ranges-1-bound", "req/s", ours,
          [1 / (1 / a + 1 / c) for a, c in zip(ranges, reads)],
          "static range + NBD read")


def ranges_file(b):
    ranges_of(b, "ranges-file-1", 1, b.chain.image("file"))


# --- extents ---------------------------------------------------------------

def make_areas(b, count):
    """A qcow2 of that many areas, alternately dirty data and clean zeroes."""
    path = b.chain.dir / f"areas-{count}.qcow2"
    if path.exists():
        return path
    raw = b.chain.dir / "areas.raw"
    pair = os.urandom(SMALL_CLUSTER) + bytes(SMALL_CLUSTER)
    with open(raw, "wb") as file:
        for _ in range(count // 2000):
            file.write(pair * 1000)
    b.chain.shell(
        'qemu-img create -q -f qcow2 -o "cluster_size=$1" "$3" "$4"\n'
        'qemu-img bitmap --add --enable -g "$1" "$3" "$5"\n'
        'qemu-img convert -n --target-is-zero -S "$1" -f raw -O qcow2 "$2" '
        '"$3"', SMALL_CLUSTER, raw, path, count * SMALL_CLUSTER, DIRTY)
    raw.unlink()
    return path


def check_areas(b, name, count):
    """The whole list against how the image was made."""
    found = json.loads(b.chain.shell(
        'curl -sSf "$1/extents?context=dirty"', b.chain.image(name)))
    if len(found) != count:
        raise Failure(f"wrong data: {len(found)} areas of {count}")
    for number, area in enumerate(found):
        data = number % 2 == 0
        if area != {"start": number * SMALL_CLUSTER, "length": SMALL_CLUSTER,
                    "dirty": data, "zero": not data}:
            raise Failure(f"wrong data: area {number} is {area}")


def get_extents(b, name, peaks):
    """Adds the program's peak memory to peaks."""
    b.chain.reset_peak()
    url = f"{b.chain.image(name)}/extents?context=dirty"
    result = expect(b.chain.client(*curl(url)), 200, None)
    peaks.append(b.chain.peak())
    return result


def extents_rows(b, name, ours, peaks, reference):
    keys = {"less_is_better": True}
    first = [float(each.output[0].split()[2]) for each in ours]
    b.row(f"{name}-first", "s", first)
    b.row(name, "s", [each.seconds for each in ours],
          [each.seconds for each in reference], "nbdinfo --map", **keys)
    b.row(f"{name}-memory", "MiB", peaks[1:])


def nbdinfo(b, uri):
    return b.chain.client("nbdinfo", "--map=base:allocation", uri,
                          output=False)


def extents_many(b):
    """And ten times fewer, to see how the time grows."""
    many = 100_000 if b.quick else 1_000_000
    name = "extents-100k" if b.quick else "extents-1m"
    peaks = []
    with contextlib.ExitStack() as stack:
        uris = [stack.enter_context(b.chain.nbd(
            each, make_areas(b, count), "-r", "-f", "qcow2", "-B", DIRTY,
            export_bitmap=DIRTY))
            for each, count in (("many", many), ("few", many // 10))]
        check_areas(b, "many", many)
        check_areas(b, "few", many // 10)
        ours, reference, few = b.in_turn(
            lambda: get_extents(b, "many", peaks),
            lambda: nbdinfo(b, uris[0]), lambda: get_extents(b, "few", []))
    extents_rows(b, name, ours, peaks, reference)
    b.row("extents-growth", "us", [
        float(each.output[0].split()[3]) * 1e6 / many for each in ours], [
        float(each.output[0].split()[3]) * 1e7 / many for each in few],
        "an area of ten times fewer", less_is_better=True)


def extents_8t(b):
    path, peaks = b.chain.dir / "8t.qcow2", []
    b.chain.shell('qemu-img create -q -f qcow2 "$1" 8T', path)
    with b.chain.nbd("8t", path, "-r", "-f", "qcow2") as uri:
        said = json.loads(b.chain.shell('curl -sSf "$1/extents"',
                                        b.chain.image("8t")))
        if said != [{"start": 0, "length": 8 << 40, "zero": True}]:
            raise Failure(f"wrong data: {said[:3]} ...")
        ours, reference = b.in_turn(lambda: get_extents(b, "8t", peaks),
                                    lambda: nbdinfo(b, uri))
    extents_rows(b, "extents-8t", ours, peaks, reference)


# --- the program by itself -------------------------------------------------

def start(b):
    times = []
    for _ in range(b.samples):
        with b.chain.fresh_program() as (_, ready):
            times.append(ready)
    b.row("start", "ms", times)


def memory(b):
    peaks = []
    for _ in range(b.samples):
        with b.chain.fresh_program() as (child, _):
            peaks.append(b.chain.peak(child))
    b.row("memory-idle", "MiB", peaks)

    peaks = []
    with b.chain.nbd("source", b.chain.source), target_export(b):
        read, write = b.chain.image("source"), b.chain.image("target")
        check_get(b, read)
        for _ in range(3):      # 18 GiB or so each, and much the same
            b.chain.reset_peak()
            expect(b.chain.clients([curl(read)] * 8 + [
                curl("-T", b.chain.source, write)]), 200, None)
            peaks.append(b.chain.peak())
    b.row("memory-8r1w", "MiB", peaks)


ROWS = {
    "get-nbd-warm": get_nbd_warm,
    "get-nbd-cold": get_nbd_cold,
    "put-nbd-warm": put_nbd_warm,
    "get-file": get_file,
    "get-file-handoff": get_file_handoff,
    "put-file": put_file,
    "get-nbd-4-readers": lambda b: get_nbd_readers(b, 4),
    "get-nbd-8-readers": lambda b: get_nbd_readers(b, 8),
    "ranges-1": lambda b: ranges(b, 1),
    "ranges-1-bound": ranges_bound,
    "ranges-8": lambda b: ranges(b, 8),
    "ranges-file-1": ranges_file,
    "extents-1m": extents_many,
    "extents-8t": extents_8t,
    "memory": memory,
    "start": start,
}
