"""model.py - what may be read where: the writes of each image, and when they
began and ended.

A byte may be that of a write that had begun before the reading ended, unless
an acknowledged write of the same byte began after that one had ended, and had
ended itself before the reading began. So writers may overlap: then it is the
one's or the other's.

A write without an answer (its process was killed, its client left) may have
happened or not. What the program had sent to an NBD server may even be written
later, after others' writes: until that server has been killed, such a write
stays possible. If it filled a block by half, that goes for the block's other
half too, which may become once more what it was at any time since the write
began.

Every write has bytes of its own, so that the bytes tell whose they are: a
random pad from a place on that no other write has.
"""

import bisect
import itertools
import random
import threading
import time

NEVER = 1 << 62  # nanoseconds; later than any other time
PAD_BYTES = 1 << 24
PAD_STEP = 0x9E3779  # odd: each of 2^24 writes has another place
SLICE_MAX = 1 << 22  # bytes compared at once
LOOK_CLOSELY = 48  # bytes; fewer are compared one by one

_pad = random.Random(1).randbytes(PAD_BYTES)
PAD = _pad + _pad[:SLICE_MAX]
ZEROES = bytes(SLICE_MAX)


def now():
    return time.monotonic_ns()


class Write:
    """Bytes [start, stop) of an image, or all of it as it once was."""

    counter = itertools.count(1)

    def __init__(self, start, stop, what, data=None):
        self.number = next(Write.counter)
        self.start, self.stop = start, stop
        self.what = what  # for messages; "zero" means zeroes
        self.data = data  # or None: a part of the pad
        self.shift = self.number * PAD_STEP % PAD_BYTES
        self.begin, self.end = 0, NEVER

    def bytes(self, start, stop):
        """[start, stop), at most SLICE_MAX bytes."""
        if self.data is not None:
            return self.data[start - self.start : stop - self.start]
        if self.what == "zero":
            return ZEROES[: stop - start]
        at = (start + self.shift) % PAD_BYTES
        return PAD[at : at + stop - start]

    def all_bytes(self):
        return b"".join(
            self.bytes(at, min(at + SLICE_MAX, self.stop))
            for at in range(self.start, self.stop, SLICE_MAX)
        )

    def __str__(self):
        def seconds(at):
            return "never" if at == NEVER else f"{at / 1e9:.6f}"

        return (
            f"write {self.number} ({self.what} [{self.start}, {self.stop}), "
            f"from {seconds(self.begin)} to {seconds(self.end)})"
        )


def origin(data, at):
    """The write that these bytes at that place are from, for messages."""
    if data == bytes(len(data)):
        return "zeroes"
    found = _pad.find(data) if len(data) >= 8 else -1
    if found == -1:
        return "of no write"
    last = next(Write.counter)
    for moved in sorted(range(-4096, 4097), key=abs):
        number = (found - at - moved) * pow(PAD_STEP, -1, PAD_BYTES) % PAD_BYTES
        if 0 < number < last:
            return f"of write {number}" + f", {moved} bytes before" * (moved != 0)
    return "of no write"


def first_wrong(data, at, writes):
    """Where data, read from at on, is that of none of the writes, or None."""
    size = len(data)
    if size <= SLICE_MAX:
        for write in writes:
            if write.bytes(at, at + size) == data:
                return None
        if size <= LOOK_CLOSELY:
            known = [write.bytes(at, at + size) for write in writes]
            for i in range(size):
                if all(one[i] != data[i] for one in known):
                    return at + i
            return None
    half = size // 2
    wrong = first_wrong(data[:half], at, writes)
    if wrong is None:
        wrong = first_wrong(data[half:], at + half, writes)
    return wrong


class Wrong(Exception):
    """A byte that was not written there."""


class Readers:
    """Who reads, or writes, at this moment."""

    def __init__(self):
        self.lock = threading.Lock()
        self.active = {}  # what reads and writes: when it began

    def begin_read(self):
        token = object()
        with self.lock:
            self.active[token] = now()
        return token


class Model(Readers):
    """Of an NBD image. The writes that a byte may be from are kept for
    segments: from starts[i] to the next start each byte has the same ones,
    cells[i], pairs of a write and of the time when it was overwritten."""

    def __init__(self, name, size, block):
        first = Write(0, size, "zero")
        first.end = 0
        self.name, self.size, self.block = name, size, block
        super().__init__()  # its lock guards all below
        self.starts = [0]
        self.cells = [((first, NEVER),)]
        self.ghosts = []  # (start, stop, since, until): halves of blocks

    def _cut(self, at):
        """The segment that begins at that byte."""
        i = bisect.bisect_left(self.starts, at)
        if i < len(self.starts) and self.starts[i] == at:
            return i
        if at < self.size:
            self.starts.insert(i, at)
            self.cells.insert(i, self.cells[i - 1])
        return i

    def _since(self, start, stop, begin):
        """What was there at that time may be read by who began then."""
        for low, high, since, until in self.ghosts:
            if low < stop and start < high and begin < until:
                begin = min(begin, since)
        return begin

    def end_read(self, token):
        """For check(): what may have been read since begin_read()."""
        with self.lock:
            return self.active.pop(token), now()

    def check(self, data, start, token, done=True):
        """Raises Wrong if data, read from start on, cannot be. Bytes that
        were read in pieces are checked in pieces: the last one is done."""
        with self.lock:
            begin, end = self.active[token], now()
            segments = []
            stop = start + len(data)
            i = bisect.bisect_right(self.starts, start) - 1
            while i < len(self.starts) and self.starts[i] < stop:
                following = (
                    self.starts[i + 1] if i + 1 < len(self.starts) else self.size
                )
                low, high = max(start, self.starts[i]), min(stop, following)
                since = self._since(low, high, begin)
                segments.append(
                    (
                        low,
                        high,
                        [
                            write
                            for write, dead in reversed(self.cells[i])
                            if dead >= since and write.begin < end
                        ],
                    )
                )
                i += 1
            if done:
                del self.active[token]
        if stop > self.size:
            raise Wrong(f"{self.name}: {stop} bytes of {self.size}")
        for low, high, writes in segments:
            wrong = first_wrong(data[low - start : high - start], low, writes)
            if wrong is not None:
                raise Wrong(
                    self._explain(data, start, wrong, writes)
                    + f"\n  read from {begin / 1e9:.6f} to {end / 1e9:.6f}, "
                    f"[{start}, {stop}), segment [{low}, {high})"
                )

    def _explain(self, data, start, wrong, writes):
        seen = bytes(data[wrong - start : wrong - start + 16])
        lines = [
            f"image {self.name} (blocks of {self.block}) offset {wrong}: "
            f"seen {seen.hex()}, {origin(seen, wrong)}"
        ]
        for write in writes:
            stop = min(wrong + 16, write.stop)
            lines.append(f"  expected {write.bytes(wrong, stop).hex()}: {write}")
        return "\n".join(lines)

    def begin_write(self, start, stop, what):
        write = Write(start, stop, what)
        with self.lock:
            write.begin = self.active[write] = now()
            for i in range(self._cut(start), self._cut(stop)):
                self.cells[i] += ((write, NEVER),)
        return write

    def end_write(self, write, outcome):
        """outcome: "ok"; "refused", nothing happened; "unknown"."""
        ended = now()
        with self.lock:
            del self.active[write]
            first, last = self._cut(write.start), self._cut(write.stop)
            if outcome == "ok":
                write.end = ended
            elif outcome == "unknown":
                write.what += ", no answer" * (write.what != "zero")
                self._haunt(write)
                return
            for i in range(first, last):
                if outcome == "refused":
                    self.cells[i] = tuple(
                        cell for cell in self.cells[i] if cell[0] is not write
                    )
                else:
                    self.cells[i] = tuple(
                        (old, ended)
                        if dead == NEVER and old.end < write.begin
                        else (old, dead)
                        for old, dead in self.cells[i]
                    )
            self._tidy(first, last)

    def _haunt(self, write):
        low = write.start - write.start % self.block
        high = min(self.size, -(-write.stop // self.block) * self.block)
        for start, stop in (low, write.start), (write.stop, high):
            if start < stop:
                self._cut(start)
                self._cut(stop)
                self.ghosts.append((start, stop, write.begin, NEVER))

    def _tidy(self, first, last):
        """Forgets what nobody can read any more, joins what is the same."""
        horizon = min(self.active.values(), default=now())
        starts, cells = [], []
        for i in range(first, last):
            start = self.starts[i]
            following = self.starts[i + 1] if i + 1 < len(self.starts) else self.size
            since = self._since(start, following, horizon)
            cell = tuple(pair for pair in self.cells[i] if pair[1] >= since)
            if not cells or cells[-1] != cell:
                starts.append(start)
                cells.append(cell)
        self.starts[first:last] = starts
        self.cells[first:last] = cells

    def settle(self, data, still_possible):
        """The NBD server is dead, and this is on disk: nothing else can come,
        but for the writes of still_possible."""
        what = Write(0, self.size, "settled", bytes(data))
        what.begin = what.end = ended = now()
        with self.lock:
            keep = {write for write in still_possible if write.end == NEVER}
            for i, cell in enumerate(self.cells):
                self.cells[i] = tuple(
                    (old, ended if dead == NEVER and old not in keep else dead)
                    for old, dead in cell
                ) + ((what, NEVER),)
            self.ghosts = [
                (start, stop, since, min(until, ended))
                for start, stop, since, until in self.ghosts
                if any(begin < until for begin in self.active.values())
            ]
            for write in keep:
                self._haunt(write)
            self._tidy(0, len(self.starts))


class FileModel(Readers):
    """Of a file that is replaced whole: a reader sees one version of it."""

    def __init__(self, name, size):
        self.name = name
        super().__init__()
        self.first = Write(0, size, "first")
        self.first.end = 0
        self.versions = [(self.first, NEVER)]
        self.tags = {}  # ETag: the version that it was seen with

    def end_read(self, token):
        """The versions that may have been read since begin_read()."""
        with self.lock:
            begin = self.active.pop(token)
            return [version for version, dead in self.versions if dead >= begin]

    def check(self, data, start, size, versions, tag=None):
        """Raises Wrong unless data is from start on of one version that has
        that size, if it is known, and that tag, if it has one."""
        for version in versions:
            if size not in (None, version.stop) or start + len(data) > version.stop:
                continue
            if version.bytes(start, start + len(data)) != data:
                continue
            if tag is not None and len(data) >= 16:
                with self.lock:
                    was = self.tags.setdefault(tag, version)
                if was is not version:
                    raise Wrong(f"{self.name}: ETag {tag} of {was} and {version}")
            return
        lines = [
            f"image {self.name}: {len(data)} bytes at {start} of {size} are of no "
            f"version; the first ones {bytes(data[:16]).hex()} "
            f"{origin(bytes(data[:16]), start)}"
        ]
        for version in versions:
            expected = version.bytes(start, start + 16)
            lines.append(f"  expected {expected.hex()}: {version}")
        raise Wrong("\n".join(lines))

    def begin_write(self, size, is_possible=True):
        """is_possible: not of a body that will never be sent to its end."""
        write = Write(0, size, "PUT")
        with self.lock:
            write.begin = self.active[write] = now()
            if is_possible:
                self.versions.append((write, NEVER))
        return write

    def end_write(self, write, outcome):
        ended = now()
        with self.lock:
            del self.active[write]
            horizon = min(self.active.values(), default=ended)
            # A process that is dead replaces nothing.
            write.end = ended
            kept = []
            for old, dead in self.versions:
                if outcome == "ok" and dead == NEVER and old.end < write.begin:
                    dead = ended
                if dead >= horizon and not (outcome == "refused" and old is write):
                    kept.append((old, dead))
            self.versions = kept

    def settle(self, data):
        """All writers have ended, and this is in the file."""
        token = self.begin_read()
        versions = self.end_read(token)
        self.check(data, 0, len(data), versions)
        with self.lock:
            ended = now()
            self.versions = [
                (old, dead if dead != NEVER or old.bytes(0, old.stop) == data else ended)
                for old, dead in self.versions
            ]
