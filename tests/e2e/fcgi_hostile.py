#!/usr/bin/env python3
"""Tables of FastCGI peers that lie, each peer on a connection of its own.

fcgi_hostile.py SOCKET IMAGE TABLE

SOCKET is the program's, IMAGE a file of SIZE bytes at most that the tickets
"file" (backend file) and "disk" (NBD) stand for. TABLE is the name of one of
the functions below. Each row of a table of it is what is sent, and what may
come of it:

    REFUSED  the connection ends, and no answer is a 2xx
    SERVED   the request is a right one all the same (the row says why): 200
    DROPPED  the same as REFUSED, but it takes the program to end it: our side
             stays open

The image must never change: the PUTs that are right ones write what is there.
After each table more honest requests than there are workers are made at once.
Exit status 0: all rows as told; 1: one line for each that was not.
"""

import json
import random
import socket
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True

import rows

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA = range(1, 9)
GET_VALUES = 9
RESPONDER, KEEP = 1, 1
REFUSED, SERVED, DROPPED = "refused", "served", "dropped"
TIMEOUT_S = 20   # for an answer; the program's own limit is 5 s
HONEST = 20      # more than there are workers
HONEST_S = 10
THREADS = 12     # fewer than there are workers: no row waits for another
ENV_MAX = 256 << 10


# --- records -----------------------------------------------------------------

def record(kind, content=b"", rid=1, padding=0, version=1, length=None):
    """length: what the header says, if that is not the truth."""
    return struct.pack(">BBHHBx", version, kind, rid,
                       len(content) if length is None else length,
                       padding) + content + b"P" * padding


def begin(role=RESPONDER, flags=0, rid=1):
    return record(BEGIN, struct.pack(">HB5x", role, flags), rid)


def size_of(length, wide=False):
    if wide or length > 127:
        return struct.pack(">I", length | 1 << 31)
    return bytes([length])


def pair(name, value, wide=False):
    name, value = bytes(name), bytes(value)
    return (size_of(len(name), wide) + size_of(len(value), wide) +
            name + value)


def pairs(method=b"GET", path=b"/images/file", length=None, more=(),
          wide=False):
    all_pairs = [(b"REQUEST_METHOD", method), (b"PATH_INFO", path),
                 (b"QUERY_STRING", b""), (b"SERVER_PROTOCOL", b"HTTP/1.1")]
    if length is not None:
        all_pairs.append((b"CONTENT_LENGTH", b"%d" % length))
    all_pairs += more
    return b"".join(pair(n, v, wide) for n, v in all_pairs)


def params(content, rid=1, step=65000):
    return b"".join(record(PARAMS, content[i:i + step], rid)
                    for i in range(0, len(content), step))


def env(content, rid=1, flags=0):
    return (begin(flags=flags, rid=rid) + params(content, rid) +
            record(PARAMS, rid=rid))


GET_END = record(STDIN)


def get(path=b"/images/file", more=(), flags=0):
    return env(pairs(path=path, more=more), flags=flags) + GET_END


def put_env(length, path=b"/images/file", more=()):
    return env(pairs(b"PUT", path, length, more))


# --- talking -----------------------------------------------------------------

class Answer:
    def __init__(self):
        self.out = {}          # request id: its STDOUT
        self.closed = False    # by the program
        self.ended = set()     # request ids
        self.garbage = None

    def statuses(self):
        return {rid: int(out.split(b"\r\n", 1)[0].split()[1])
                for rid, out in self.out.items()
                if out.startswith(b"Status: ")}

    def body(self):
        return self.out.get(1, b"").partition(b"\r\n\r\n")[2]

    def __str__(self):
        return (f"statuses {self.statuses()}, ended {sorted(self.ended)}, "
                f"{'closed' if self.closed else 'still open'}"
                f"{', ' + self.garbage if self.garbage else ''}")


def take_records(data, answer):
    while len(data) >= 8:
        version, kind, rid, length, padding = struct.unpack(">BBHHBx",
                                                            data[:8])
        if version != 1:       # how an answer is cut
            answer.garbage = f"record of version {version}"
            return b""
        if len(data) < 8 + length + padding:
            break
        if kind == STDOUT:
            answer.out[rid] = answer.out.get(rid, b"") + data[8:8 + length]
        elif kind == END:
            answer.ended.add(rid)
        data = data[8 + length + padding:]
    return data


def talk(path, pieces, keep_open=False, until_ended=False):
    """Sends the pieces, and reads all that comes until the program closes."""
    answer, data = Answer(), b""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(TIMEOUT_S)
        peer.connect(path)
        try:
            for piece in pieces:
                peer.sendall(piece)
            if not keep_open:
                peer.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass               # it has seen enough
        except TimeoutError:
            answer.garbage = "takes no more"
            return answer
        try:
            while not (until_ended and answer.ended):
                more = peer.recv(1 << 16)
                if not more:
                    answer.closed = True
                    break
                data = take_records(data + more, answer)
        except ConnectionResetError:
            answer.closed = True
        except TimeoutError:
            pass
    return answer


class Check(rows.Check):
    def read_image(self):
        with open(self.image, "rb") as file:
            return file.read()

    def row(self, name, expected, pieces):
        if isinstance(pieces, bytes):
            pieces = [pieces]
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            answer = talk(self.path, pieces, keep_open=expected != REFUSED,
                          until_ended=expected == SERVED)
            statuses = answer.statuses()
            # Writers of other rows are busy with the same image.
            if expected != SERVED or time.monotonic() > deadline or \
                    not set(statuses.values()) & {409, 503}:
                break
            time.sleep(0.002)
        good = [s for s in statuses.values() if 200 <= s < 300]
        if expected == SERVED:
            if list(statuses.values()) != [200] or not answer.ended:
                self.fail(name, f"expected 200: {answer}")
        elif good:
            self.fail(name, f"a 2xx: {answer}")
        elif not answer.closed:
            self.fail(name, f"not ended in {TIMEOUT_S} s: {answer}")

    def rows(self, table):
        return rows.run(table, self.row, self.fail, THREADS)

    def honest(self):
        """More than there are workers, all connected before any is read."""
        began = time.monotonic()
        peers = []
        for _ in range(HONEST):
            peer = socket.socket(socket.AF_UNIX)
            peer.settimeout(HONEST_S)
            peer.connect(self.path)
            peer.sendall(get())
            peers.append(peer)
        for number, peer in enumerate(peers):
            answer, data = Answer(), b""
            try:
                while not answer.ended:
                    more = peer.recv(1 << 16)
                    if not more:
                        break
                    data = take_records(data + more, answer)
            except (TimeoutError, ConnectionResetError) as error:
                answer.garbage = repr(error)
            # More readers than there may be at once are 503.
            if answer.statuses().get(1) not in (200, 503) or (
                    answer.statuses()[1] == 200 and
                    answer.body() != self.content):
                self.fail(f"honest request {number}", str(answer))
            peer.close()
        if time.monotonic() - began > HONEST_S:
            self.fail("honest requests", "not answered at once")


# --- tables ------------------------------------------------------------------

def types(check):
    """Every record type wherever a record can stand."""
    same = check.content
    half = len(same) // 2
    put = put_env(len(same))
    evil = b"\xee" * len(same)
    content = {"empty": b"", "8 bytes": bytes(8)}
    for kind in range(256):
        for rid in 0, 1, 2:
            for name, text in content.items():
                one = record(kind, text, rid)
                if kind != BEGIN:
                    yield (f"type {kind} id {rid}, {name}, first", REFUSED,
                           one + get())
                if (kind, rid) != (PARAMS, 1):
                    yield (f"type {kind} id {rid}, {name}, in an environment",
                           REFUSED, begin() + params(pairs()) + one +
                           record(PARAMS) + GET_END)
        one = record(kind, bytes(8))
        if kind != STDIN:
            yield (f"type {kind} in a body", REFUSED,
                   put + record(STDIN, evil[:half]) + one +
                   record(STDIN, evil[half:]) + GET_END)
        # Of another request: not ours, so that the body is whole without it
        # (FastCGI 1.0, section 4.1: management records have id 0).
        if kind % 16 == 5 or kind < 16:
            for rid in 0, 2, 257, 65535:
                yield (f"type {kind} id {rid} in a body", SERVED,
                       put + record(STDIN, same[:half]) +
                       record(kind, bytes(8), rid, 3) +
                       record(kind, b"", rid) +
                       record(STDIN, same[half:]) + GET_END)
    for version in 0, 2, 128, 255:
        yield (f"version {version} first", REFUSED,
               record(BEGIN, struct.pack(">HB5x", 1, 0), version=version) +
               params(pairs()) + record(PARAMS) + GET_END)
        yield (f"version {version} in an environment", REFUSED,
               begin() + record(PARAMS, pairs(), version=version) +
               record(PARAMS) + GET_END)
        yield (f"version {version} at an environment's end", REFUSED,
               begin() + params(pairs()) + record(PARAMS, version=version) +
               GET_END)
        yield (f"version {version} in a body", REFUSED,
               put + record(STDIN, evil, version=version) + GET_END)


def begins(_check):
    """BEGIN_REQUEST twice, of other lengths, with other roles and flags."""
    rest = params(pairs()) + record(PARAMS) + GET_END
    for role in list(range(2, 12)) + [0, 255, 256, 257, 32769, 65535]:
        yield f"role {role}", REFUSED, begin(role) + rest
        yield f"role {role}, to be kept", REFUSED, begin(role, KEEP) + rest
    for flags in 0, 1, 2, 3, 128, 254, 255:
        yield f"flags {flags}: but for one bit unused", SERVED, \
            begin(flags=flags) + rest
    yield "reserved bytes are not looked at", SERVED, \
        record(BEGIN, b"\0\1\0\xff\xff\xff\xff\xff") + rest
    for length in 0, 1, 2, 3, 7, 9, 16, 255, 65535:
        yield f"BEGIN_REQUEST of {length} bytes", REFUSED, \
            record(BEGIN, (b"\0\1\0\0\0\0\0\0" * 8192)[:length]) + rest
    for said in 0, 7, 9, 16, 65535:
        yield f"BEGIN_REQUEST that says {said} bytes", REFUSED, \
            record(BEGIN, b"\0\1\0\0\0\0\0\0", length=said) + rest
    for padding in 1, 8, 255:
        yield f"BEGIN_REQUEST with {padding} bytes of padding", REFUSED, \
            record(BEGIN, b"\0\1\0\0\0\0\0\0", padding=padding) + rest
    yield "BEGIN_REQUEST twice", REFUSED, begin() + begin() + rest
    yield "BEGIN_REQUEST twice, another id", REFUSED, \
        begin() + begin(rid=2) + rest
    yield "BEGIN_REQUEST in the environment", REFUSED, \
        begin() + params(pairs()) + begin() + record(PARAMS) + GET_END
    yield "BEGIN_REQUEST only", REFUSED, begin()
    yield "nothing", REFUSED, b""


def ids(check):
    """Request ids that are 0, another's, or change."""
    same = check.content
    half = len(same) // 2
    muxed = pairs(path=b"/images/muxed")
    for rid in 0, 2, 256, 65535:
        yield f"environment of id {rid}", REFUSED, \
            begin() + params(pairs(), rid) + record(PARAMS, rid=rid) + GET_END
        yield f"environment that ends as id {rid}", REFUSED, \
            begin() + params(pairs()) + record(PARAMS, rid=rid) + GET_END
        yield f"environment that ends as id {rid} first", REFUSED, \
            begin() + params(pairs()) + record(PARAMS, rid=rid) + \
            record(PARAMS) + GET_END
        yield f"environment that goes on as id {rid}", REFUSED, \
            begin() + params(pairs()[:40]) + params(pairs()[40:], rid) + \
            record(PARAMS) + GET_END
        yield f"a record of id {rid} in the environment", REFUSED, \
            begin() + params(muxed, rid) + params(pairs()) + \
            record(PARAMS) + GET_END
        yield f"a body that goes on as id {rid}", REFUSED, \
            put_env(len(same)) + record(STDIN, b"\xee" * half) + \
            record(STDIN, b"\xee" * (len(same) - half), rid) + \
            record(STDIN, rid=rid)
        yield f"the body of id {rid} only", REFUSED, \
            put_env(len(same)) + record(STDIN, b"\xee" * len(same), rid) + \
            record(STDIN, rid=rid)
    yield "id 0", REFUSED, env(pairs(), 0) + record(STDIN, rid=0)
    for rid in 2, 255, 256, 32768, 65535:
        yield f"all of it with id {rid}", SERVED, \
            env(pairs(), rid) + record(STDIN, rid=rid)
    # One request after the other is all that there is here.
    yield "two that are interleaved", REFUSED, \
        begin() + begin(rid=2) + params(pairs()) + params(muxed, 2) + \
        record(PARAMS) + record(PARAMS, rid=2) + GET_END + \
        record(STDIN, rid=2)
    yield "another one in a body, which is skipped", SERVED, \
        put_env(len(same)) + record(STDIN, same[:half]) + env(muxed, 2) + \
        record(STDIN, rid=2) + record(STDIN, same[half:]) + GET_END
    yield "another one before the body, which is skipped", SERVED, \
        put_env(len(same)) + env(muxed, 2) + record(STDIN, rid=2) + \
        record(STDIN, same) + GET_END


def lengths(_check):
    """Names and values that reach past their record, or past anything."""
    largest = b"\xff\xff\xff\xff"
    for name, content in {
            "a name only": b"\x05",
            "a name's length only": b"\x80\0\0\5",
            "a name's length cut after 1": b"\x80",
            "a name's length cut after 2": b"\x80\0",
            "a name's length cut after 3": b"\x80\0\0",
            "a value's length cut": b"\x05\xff\xff",
            "both lengths, nothing else": b"\x05\x05",
            "a short name": b"\x05\0abcd",
            "a short value": b"\x01\x05aabcd",
            "127 + 127 bytes": b"\x7f\x7fab",
            "name of 2^31-1": largest + b"\0ab",
            "value of 2^31-1": b"\x01" + largest + b"ab",
            "both of 2^31-1": largest + largest + b"ab",
            "2^31-1 + 1": largest + b"\x01ab",
            "1 + 2^31-1": b"\x01" + largest + b"ab",
            "2^30 + 2^30": b"\xc0\0\0\0\xc0\0\0\0ab",
            "past the environment by 1": b"\x03\x80\0\0\x05abc1234",
            "of 16 MiB": b"\x81\0\0\0\x81\0\0\0ab",
    }.items():
        yield f"{name}, alone", REFUSED, env(content) + GET_END
        yield f"{name}, last", REFUSED, env(pairs() + content) + GET_END
        # Three bytes of a length and the 14 of REQUEST_METHOD are one of four.
        luck = SERVED if content == b"\x80\0\0" else REFUSED
        yield f"{name}, first", luck, env(content + pairs()) + GET_END
        yield f"{name}, on a record's end", luck, begin() + \
            record(PARAMS, content) + params(pairs()) + \
            record(PARAMS) + GET_END
    yield "lengths of four bytes that fit in one", SERVED, \
        env(pairs(wide=True)) + GET_END
    yield "an empty name", SERVED, env(pairs(more=[(b"", b"")])) + GET_END
    yield "an empty name with a value", SERVED, \
        env(pairs(more=[(b"", b"x")])) + GET_END
    for size in 127, 128, 65535, 65536, 200000:
        yield f"a name of {size} bytes", SERVED, \
            env(pairs(more=[(b"N" * size, b"")])) + GET_END
        yield f"a value of {size} bytes", SERVED, \
            env(pairs(more=[(b"N", b"v" * size)])) + GET_END
    for count in 1000, 10000, 60000:
        yield f"{count} variables", SERVED, \
            env(pairs(more=[(b"", b"")] * count)) + GET_END
    yield "more variables than there may be", REFUSED, \
        env(pairs(more=[(b"", b"")] * (ENV_MAX // 2))) + GET_END
    yield "an environment of 1 MiB", REFUSED, \
        env(pairs(more=[(b"N", b"v" * (1 << 20))])) + GET_END
    yield "an environment of 256 KiB in records of one byte", REFUSED, \
        begin() + params(pairs() + pair(b"N", b"v" * 30000), step=1) + \
        record(PARAMS) + GET_END
    text = pairs()
    for at in range(1, len(text)):
        yield f"split at byte {at}", SERVED, begin() + \
            record(PARAMS, text[:at]) + record(PARAMS, text[at:]) + \
            record(PARAMS) + GET_END
    yield "in records of one byte with padding", SERVED, begin() + \
        b"".join(record(PARAMS, text[i:i + 1], padding=i % 256)
                 for i in range(len(text))) + record(PARAMS) + GET_END
    # What is said and what comes.
    for said in 1, 2, 3, 8, 255:
        yield f"PARAMS that say {said} bytes more", REFUSED, begin() + \
            record(PARAMS, text, length=len(text) + said) + \
            record(PARAMS) + GET_END
        yield f"PARAMS that say {said} bytes less", REFUSED, begin() + \
            record(PARAMS, text, length=max(0, len(text) - said)) + \
            record(PARAMS) + GET_END
    for padding in 1, 7, 8, 255:
        lie = bytearray(record(PARAMS, text))
        lie[6] = padding
        yield f"PARAMS without their {padding} bytes of padding", REFUSED, \
            begin() + bytes(lie) + record(PARAMS) + GET_END


def stages(check):
    """Cut, aborted and out of order at every stage; our side has ended."""
    same = check.content
    half = len(same) // 2
    evil = b"\xee" * len(same)
    whole = put_env(len(same)) + record(STDIN, evil, padding=5)
    for at in list(range(0, 40)) + list(range(40, len(whole) - 5, 37)):
        yield f"a PUT cut at byte {at}", REFUSED, whole[:at]
    abort = record(ABORT)
    put = put_env(len(same))
    for name, data in {
            "before the request": abort + whole,
            "after BEGIN_REQUEST": begin() + abort + whole[16:],
            "in the environment": begin() + params(pairs()[:30]) + abort +
                                  params(pairs()[30:]) + record(PARAMS),
            "before the environment's end": begin() + params(pairs()) +
                                            abort + record(PARAMS),
            "before the body": put + abort + record(STDIN, evil),
            "in the body": put + record(STDIN, evil[:half]) + abort +
                           record(STDIN, evil[half:]),
            "before the body's last byte": put + record(STDIN, evil[:-1]) +
                                           abort + record(STDIN, evil[-1:]),
            "of 8 bytes in the body": put + record(STDIN, evil[:half]) +
                                      record(ABORT, bytes(8)) +
                                      record(STDIN, evil[half:]),
    }.items():
        yield f"ABORT_REQUEST {name}", REFUSED, data + GET_END
    yield "ABORT_REQUEST of another one in the body", SERVED, \
        put + record(STDIN, same[:half]) + record(ABORT, rid=2) + \
        record(STDIN, same[half:]) + GET_END
    yield "ABORT_REQUEST after the body: it was served by then", SERVED, \
        put + record(STDIN, same) + GET_END + abort
    yield "a body before the environment", REFUSED, \
        begin() + record(STDIN, evil) + params(pairs(b"PUT", length=len(
            evil))) + record(PARAMS) + GET_END
    yield "a body in the environment", REFUSED, \
        begin() + params(pairs(b"PUT", length=len(evil))) + \
        record(STDIN, evil) + record(PARAMS) + GET_END
    yield "a body's end before the environment's", REFUSED, \
        begin() + params(pairs()) + GET_END + record(PARAMS)
    yield "after a body's end, more of it", SERVED, \
        put + record(STDIN, same) + GET_END + record(STDIN, evil) + GET_END
    yield "a body's end in its middle", REFUSED, \
        put + record(STDIN, evil[:half]) + GET_END + \
        record(STDIN, evil[half:]) + GET_END
    yield "a body's end at once", REFUSED, \
        put + GET_END + record(STDIN, evil) + GET_END
    yield "a body that never ends: all of it was there", SERVED, \
        put + record(STDIN, same)
    yield "PARAMS after their end", REFUSED, \
        put + params(pairs()) + record(PARAMS) + record(STDIN, evil) + GET_END
    for said in 1, 8, 255, 60000:
        yield f"STDIN that says {said} bytes more", REFUSED, \
            put_env(len(same) + said) + \
            record(STDIN, evil, length=min(65535, len(same) + said))
        yield f"STDIN that says {min(said, half)} bytes less", REFUSED, \
            put + record(STDIN, evil, length=len(same) - min(said, half)) + \
            GET_END
    yield "a GET with one byte at a time", SERVED, \
        [get()[i:i + 1] for i in range(len(get()))]
    one = put + record(STDIN, same) + GET_END
    yield "a PUT with one byte at a time", SERVED, \
        [one[i:i + 1] for i in range(len(one))]
    yield "a request after one that is not to be kept: is not served", \
        SERVED, get() + get(b"/images/muxed")
    yield "a request after one that is to be kept, at once", SERVED, \
        get(flags=KEEP) + get()


def half_open(_check):
    """Begun, and no more said: no more of them than there are workers."""
    whole = get()
    for at in 1, 7, 8, 15, 16, 20, 24, 60, len(begin() + params(pairs())):
        yield f"a GET that stops after {at} bytes", DROPPED, whole[:at]
    yield "PARAMS that say more than comes", DROPPED, \
        begin() + record(PARAMS, pairs(), length=60000)
    yield "PARAMS whose padding does not come", DROPPED, \
        begin() + record(PARAMS, pairs()) + record(PARAMS)[:6] + b"\xff\0"
    yield "a version that is none", DROPPED, b"\0" * 8
    yield "an environment without end", DROPPED, \
        [begin()] + [record(PARAMS, bytes(60000))] * 1000


def environments(check):
    """Variables that contradict each other, or the body."""
    same = check.content
    size = len(same)
    evil = b"\xee" * size

    def put(name, variables, body=evil, expected=REFUSED):
        return (name, expected,
                env(b"".join(pair(n, v) for n, v in variables)) +
                record(STDIN, body) + GET_END)

    method, path = (b"REQUEST_METHOD", b"PUT"), (b"PATH_INFO", b"/images/file")
    length = b"CONTENT_LENGTH"
    right = [method, path, (length, b"%d" % size)]
    yield put("what the others are made of is right", right, same, SERVED)
    for value in [b"", b"-1", b"+5", b"-0", b" 5", b"5 ", b"5x", b"0x10",
                  b"1e3", b"5.0", b"5,5", b"5, 5", b"5\0", b"5\n", b"\xef\xbc\x95",
                  b"18446744073709551615", b"18446744073709551616",
                  b"18446744073709551617", b"9223372036854775807",
                  b"9223372036854775808", b"99999999999999999999999999",
                  b"-18446744073709551615", b"%d" % (size + 1),
                  b"9" * 10000]:
        name = value[:30].decode("latin-1")
        if value != b"5\0":    # ends there for everybody: see below
            yield put(f"CONTENT_LENGTH {name!a}", [method, path,
                                                   (length, value)])
        yield put(f"CONTENT_LENGTH {name!a} of NBD",
                  [method, (b"PATH_INFO", b"/images/disk"), (length, value)])
    yield put("CONTENT_LENGTH with leading zeroes is one (RFC 9110 8.6)",
              [method, path, (length, b"000000000000000000000000%d" % size)],
              same, SERVED)
    yield put("CONTENT_LENGTH with a NUL ends there",
              [method, path, (length, b"%d\0junk" % size)], same, SERVED)
    yield put("CONTENT_LENGTH twice, equal", right + right[2:])
    yield put("CONTENT_LENGTH twice, different", right + [(length, b"5")])
    yield put("no CONTENT_LENGTH", right[:2])
    yield put("CONTENT_LENGTH 0, which the client did not say",
              [method, path, (length, b"0")])
    yield put("a client that chunks", right +
              [(b"HTTP_TRANSFER_ENCODING", b"chunked")])
    yield put("a client that chunks twice", right +
              [(b"HTTP_TRANSFER_ENCODING", b"x"),
               (b"HTTP_TRANSFER_ENCODING", b"")])
    for text in [b"", b"put", b"Put", b"PUT ", b" PUT", b"PUTT", b"PU",
                 b"PUT\n", b"PUT\r\nX: y", b"X" * 10240, b"\xff\xfe",
                 b"PUT,PUT", b"\x1b[2J", b"OPTIONSX", b"*", b"CONNECT",
                 b"TRACE", b"DELETE", b"MOVE", b"\0PUT"]:
        yield put(f"REQUEST_METHOD {text[:20]!a}",
                  [(b"REQUEST_METHOD", text)] + right[1:])
    yield put("REQUEST_METHOD with a NUL ends there",
              [(b"REQUEST_METHOD", b"PUT\0GET")] + right[1:], same, SERVED)
    yield put("no REQUEST_METHOD", right[1:])
    yield put("REQUEST_METHOD twice", [method] + right)
    yield put("REQUEST_METHOD twice, different",
              [(b"REQUEST_METHOD", b"GET")] + right)
    for text in [b"", b"/", b"images", b"/image/file", b"/images",
                 b"/images/", b"/images/..", b"/images/.", b"/images/../file",
                 b"/images/../images/file", b"/images/./file",
                 b"/images/file/..", b"/images/file/.", b"/images/file/x",
                 b"/images/file/extents", b"/images/file/x/y",
                 b"/images/file/../file", b"/images/%66ile", b"/images/fil",
                 b"/images/file\n", b"/images/\nfile", b"/images/file\x7f",
                 b"/images/file ", b"/images/fil\xc1\xa5", b"/images/\xc0\xae",
                 b"/images/\xc0\xae\xc0\xae/file", b"/images\xc0\xaffile",
                 b"/images/\xe0\x80\xaf", b"/images/..\xc0\xaffile",
                 b"/images/\xff", b"/images/f\0ile", b"/images/\0file",
                 b"\0/images/file", b"/images\\file", b"/images/..\\file",
                 b"/images/*", b"*", b"/images/" + b"f" * 255,
                 b"/images/" + b"f" * 256, b"/images/" + b"f" * 100000,
                 b"/" * 100000, b"/images/" * 20000 + b"file",
                 b"/images/\x1b[2Jinfo: forged", b"/IMAGES/file"]:
        yield put(f"PATH_INFO {len(text)} {text[:40]!a}",
                  [method, (b"PATH_INFO", text)] + right[2:])
    # C strings: what comes after it is not there for anybody.
    yield put("PATH_INFO with a NUL ends there",
              [method, (b"PATH_INFO", b"/images/file\0/../none")] + right[2:],
              same, SERVED)
    yield put("empty segments are dropped",
              [method, (b"PATH_INFO", b"//images///file//")] + right[2:],
              same, SERVED)
    yield put("no PATH_INFO", [method] + right[2:])
    yield put("PATH_INFO twice", right + [path])
    yield put("PATH_INFO twice, different",
              right + [(b"PATH_INFO", b"/images/none")])
    for name in b"RANGE", b"CONTENT_RANGE", b"IF_MATCH":
        for value in b"bytes=0-9", b"bytes 0-9/*", b'"x"', b"", b"\n", b"\0":
            yield put(f"HTTP_{name.decode()} {value!a}, twice",
                      right + [(b"HTTP_" + name, value)] * 2)
    yield put("If-None-Match: * twice", right +
              [(b"HTTP_IF_NONE_MATCH", b"*")] * 2)
    yield put("a name with '=' in it is not what stands before it",
              right + [(b"CONTENT_LENGTH=5", b"")])
    yield put("names that only begin like ours", right +
              [(b"PATH_INFO_", b"/x"), (b"HTTP_RANGE2", b"y"), (b"PAT", b"z")],
              same, SERVED)
    yield put("no variable", [])
    yield put("a body for a GET is not looked at",
              [(b"REQUEST_METHOD", b"GET"), path], evil, SERVED)
    yield put("REQUEST_URI, DOCUMENT_ROOT and SCRIPT_NAME do not count",
              right + [(b"REQUEST_URI", b"/images/none"),
                       (b"SCRIPT_NAME", b"/x"), (b"REQUEST_METHOD_", b"GET"),
                       (b"HTTP_X_HTTP_METHOD_OVERRIDE", b"DELETE"),
                       (b"HTTP_PROXY", b"http://x")], same, SERVED)
    for body in [b"", b"\0" * 20, b'{"op":"zero","size":9}\0', b"\xc0\x80" * 9,
                 b'{"op":"zero\xc0\xa2,"size":9}', b"{" * 60000,
                 b"[" * 60000, b'{"a":' * 17 + b"1" + b"}" * 17,
                 b'{"op":"zero","size":9,"x":"\xed\xa0\x80"}',
                 b'{"op":"zero","size":9,"x":"\xf5\x80\x80\x80"}',
                 b'{"op":"zero\\u0000","size":9}', b'{"op":"zero","size":-9}',
                 b'{"op":"zero","size":1e9}', b'{"op":"zero","size":NaN}',
                 b'{"op":"zero","size":9,"offset":18446744073709551615}',
                 b'{"op":"zero","size":18446744073709551616,"offset":1e0}',
                 b'"' + b"\\u0000" * 9999 + b'"', b"9" * 60000,
                 b'{"op":"zero","size":9}{"op":"zero","size":9}',
                 b'\xef\xbb\xbf{"op":"zero","size":9}']:
        yield (f"PATCH {len(body)} {body[:50]!a}", REFUSED,
               env(pairs(b"PATCH", b"/images/disk", len(body),
                         [(b"CONTENT_TYPE", b"application/json")])) +
               (record(STDIN, body) if body else b"") + GET_END)


def parts(answer):
    return json.loads(answer.body())["bytes_written"]


def body_of(data):
    """What a strict reader takes for the body: STDIN of the first id up to
    its end, as far as all records are whole."""
    rid, body = None, b""
    while len(data) >= 8:
        _, kind, this, length, padding = struct.unpack(">BBHHBx", data[:8])
        if rid is None:
            rid = this
        if kind == STDIN and this == rid:
            if length == 0:
                break
            body += data[8:8 + length]
        data = data[8 + length + padding:]
    return body


def mutations(check):
    """A PUT and what it says with some bits turned, pieces left out or sent
    twice. Either it is refused and the image is what it was, or it was still
    one, and the image holds what it said."""
    dice = random.Random(20)
    size = len(check.content)
    count = {"2xx": 0, "refused": 0}
    for number in range(400):
        body = dice.randbytes(size)
        data = bytearray(put_env(size, more=[(b"HTTP_X", b"y" * 20)]) +
                         record(STDIN, body[:300], padding=5) +
                         record(STDIN, body[300:]) + GET_END)
        for _ in range(dice.choice((1, 1, 1, 2, 8))):
            at = dice.randrange(min(len(data), 700)) if dice.random() < .8 \
                else dice.randrange(len(data))
            span = dice.choice((1, 2, 8, 8, 50))
            kind = dice.randrange(6)
            if kind <= 1:
                data[at] ^= 1 << dice.randrange(8)
            elif kind == 2:
                data[at] = dice.choice((0, 1, 4, 5, 127, 128, 255))
            elif kind == 3:
                del data[at:at + span]
            elif kind == 4:
                data[at:at] = data[at:at + span]
            else:
                del data[at:]
            if not data:
                break
        before = check.read_image()
        answer = talk(check.path, [bytes(data)])
        after = check.read_image()
        if not answer.closed:
            check.fail(f"mutation {number}", f"not ended: {answer}")
        if 200 in answer.statuses().values():
            written = parts(answer) if 1 in answer.out else \
                json.loads(next(iter(answer.out.values()))
                           .partition(b"\r\n\r\n")[2])["bytes_written"]
            count["2xx"] += 1
            if after != body_of(bytes(data))[:written] or \
                    len(after) != written:
                check.fail(f"mutation {number}", "not what it said: "
                           + data.hex())
        else:
            count["refused"] += 1
            # A complete PUT whose answer is lost would be one as well.
            if after != before:
                check.fail(f"mutation {number}", f"{answer}, but the image "
                           "has changed: " + data.hex())
    with open(check.image, "wb") as file:
        file.write(check.content)
    # Neither all too tame nor all too wild to say anything.
    if count["2xx"] < 20 or count["refused"] < 100:
        check.fail("mutations", str(count))
    return sum(count.values())


class Flood(threading.Thread):
    """Sends head, and then one thing over and over, until it is told or the
    program takes no more; reads nothing."""

    def __init__(self, path, head, what):
        super().__init__(daemon=True)
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.settimeout(1)
        self.peer.connect(path)
        self.head, self.what = head, what
        self.is_over = self.was_dropped = False
        self.start()

    def run(self):
        try:
            self.peer.sendall(self.head)
            while not self.is_over:
                try:
                    self.peer.send(self.what)
                except TimeoutError:
                    pass
        except OSError:
            self.was_dropped = True
        self.peer.close()


def starve(check):
    """More that have begun and say no more than there are workers. Each of them
    holds one for five seconds: the honest ones come after the first of them."""
    peers = [socket.socket(socket.AF_UNIX) for _ in range(HONEST)]
    for peer in peers:
        peer.connect(check.path)
        peer.sendall(begin())
    check.honest()
    for peer in peers:
        peer.close()
    return len(peers)


def floods(check):
    """Peers that never stop: after the answer, and before there can be one."""
    filler = record(STDIN, bytes(4000))
    peers = {
        "after an answer": Flood(check.path, get(), filler),
        "after a 404": Flood(check.path, put_env(
            1 << 40, b"/images/none"), filler),
        "of empty records of nobody after a 404": Flood(check.path, put_env(
            1 << 40, b"/images/none"), record(STDIN, rid=7) * 500),
        "in place of a body's end": Flood(check.path, env(pairs()),
                                          record(STDIN, bytes(9), 3) * 200),
        "of garbage": Flood(check.path, b"", b"x" * 4096),
        "of variables": Flood(check.path, begin(),
                              record(PARAMS, pair(b"a", b"b") * 1000)),
    }
    deadline = time.monotonic() + TIMEOUT_S
    for name, peer in peers.items():
        peer.join(max(0, deadline - time.monotonic()))
        if not peer.was_dropped:
            check.fail(f"flood {name}", "not dropped")
        peer.is_over = True
    return len(peers)


TABLES = (types, begins, ids, lengths, stages, half_open, environments)

ACTS = {act.__name__: act
        for act in (mutations, starve, floods)}


def main():
    path, image, name = sys.argv[1:]
    check = Check(path, image)
    began = time.monotonic()
    if name in ACTS:
        count = ACTS[name](check)
    else:
        tables = {table.__name__: table for table in TABLES}
        count = check.rows(tables[name](check))
    if check.read_image() != check.content:
        check.fail(name, "the image has changed")
    check.honest()
    print(f"{count} rows in {time.monotonic() - began:.1f} s")
    for failure in check.failures[:30]:
        print(failure)
    return 1 if check.failures else 0


sys.exit(main())
