#!/usr/bin/env python3
"""Tables of HTTP peers that lie, each on a connection of its own, to a web
server with the program behind it.

http_hostile.py WEB SOCKET IMAGE TABLE

WEB is nginx or lighttpd. IMAGE, a small file, is what the tickets "file"
(backend file) and "disk" (NBD) stand for; the ticket "hidden" is for requests
that are hidden in others, and nobody may ever be served it; "token" is IMAGE
with the bearer token TOKEN. A row says what is sent and what may come:

    REFUSED     the answers are all 4xx or 5xx, or none comes at all
    a tuple     as many answers, each of this status (or one of several): a
                request that is right all the same, and the row says why
    a list      the same, but the connection may end after the first
    ANY         whatever the web server makes of it: without effect

The image must never change: PUTs that are right ones write what is there.
Exit status 0: all rows as told; 1: one line for each that was not.
"""

import random
import re
import socket
import sys
import time

sys.dont_write_bytecode = True

import rows

TOKEN = b"right-0123456789"
REFUSED, ANY = "refused", "any"
TIMEOUT_S = 15     # for an answer, or the connection's end
QUIET_S = 0.3      # after the last answer that was to come
HONEST = 20        # more than the program has workers
HONEST_S = 10
THREADS = 6


class Peer:
    def __init__(self, path):
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.settimeout(TIMEOUT_S)
        self.peer.connect(path)
        self.data, self.closed = b"", False

    def send(self, data):
        try:
            self.peer.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def more(self):
        """False: the end, or nothing in time."""
        try:
            data = self.peer.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            return False
        self.closed = not data
        self.data += data
        return bool(data)

    def answer(self, to_head=False):
        """(status, body), skipping 1xx; None: none."""
        while True:
            head, end, rest = self.data.partition(b"\r\n\r\n")
            if not end:
                if not self.more():
                    return None
                continue
            match = re.match(rb"HTTP/1\.[01] (\d{3})", head)
            if match is None:
                return (0, self.data)
            status = int(match[1])
            if 100 <= status < 200:
                self.data = rest
                continue
            lengths = re.findall(rb"(?im)^content-length: *(\d+)", head)
            length = 0 if to_head or status == 304 else \
                int(lengths[0]) if lengths else None
            while length is None and self.more():
                pass
            if length is None:      # up to the end
                self.data, body = b"", self.data.partition(b"\r\n\r\n")[2]
                return (status, body)
            while len(self.data) < len(head) + 4 + length:
                if not self.more():
                    return (status, b"")
            start = len(head) + 4
            body = self.data[start:start + length]
            self.data = self.data[start + length:]
            return (status, body)

    def close(self):
        self.peer.close()


class Check(rows.Check):
    def __init__(self, web, path, image):
        super().__init__(path, image)
        self.web = web

    def talk(self, data, wanted, shut):
        """All answers, until the connection's end or there are no more."""
        peer = Peer(self.path)
        answers = []
        for piece in data if isinstance(data, list) else [data]:
            peer.send(piece)
        if shut:
            try:
                peer.peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        to_head = (data[0] if isinstance(data, list) else
                   data).startswith(b"HEAD ")
        while True:
            if len(answers) >= wanted:
                peer.peer.settimeout(QUIET_S)
            answer = peer.answer(to_head)
            if answer is None:
                break
            answers.append(answer)
            if answer[0] == 0 or len(answers) > 20:
                break
        closed = peer.closed
        peer.close()
        return answers, closed

    def row(self, name, expected, data, shut=False):
        wanted = 1 if expected in (REFUSED, ANY) else len(expected)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            answers, closed = self.talk(data, wanted, shut)
            statuses = [status for status, _ in answers]
            # Writers of other rows are busy with the same image.
            if expected in (REFUSED, ANY) or time.monotonic() > deadline or \
                    not set(statuses) & {409, 503}:
                break
            time.sleep(0.01)
        if expected == REFUSED:
            if [s for s in statuses if s < 400]:
                self.fail(name, f"not refused: {statuses}")
            if not statuses and not closed:
                self.fail(name, "neither answered nor closed")
            for status, body in answers:
                if self.content[:20] in body:
                    self.fail(name, f"the image's bytes in a {status}")
        elif expected != ANY:
            right = (len(statuses) == len(expected) or
                     isinstance(expected, list) and closed and
                     0 < len(statuses) < len(expected)) and all(
                s == e or isinstance(e, tuple) and s in e
                for s, e in zip(statuses, expected))
            if not right:
                self.fail(name, f"expected {expected}: {statuses}")

    def rows(self, table):
        return rows.run(table, self.row, self.fail, THREADS)

    def honest(self):
        began = time.monotonic()
        peers = [Peer(self.path) for _ in range(HONEST)]
        for peer in peers:
            peer.peer.settimeout(HONEST_S)
            peer.send(b"GET /images/file HTTP/1.1\r\nHost: a\r\n\r\n")
        for number, peer in enumerate(peers):
            answer = peer.answer()
            # More readers than there may be at once are 503.
            if answer is None or answer[0] not in (200, 503) or \
                    answer[0] == 200 and answer[1] != self.content:
                self.fail(f"honest request {number}",
                          str(answer and answer[0]))
            peer.close()
        if time.monotonic() - began > HONEST_S:
            self.fail("honest requests", "not answered at once")


def request(method=b"GET", path=b"/images/file", headers=(), body=b"",
            version=b"HTTP/1.1", end=b"\r\n"):
    lines = [method + b" " + path + b" " + version, b"Host: a"]
    lines += headers
    return end.join(lines) + end + end + body


EVIL = b"EVIL BYTES " * 9
# What must never be run. It would write.
HIDDEN = request(b"PUT", b"/images/hidden",
                 [b"Content-Length: %d" % len(EVIL)], EVIL)


def put(headers, body=EVIL, path=b"/images/file", **more):
    return request(b"PUT", path, headers, body, **more)


def smuggling(check):
    """Where a body ends is told twice, or badly; a second request is hidden
    where one reader or another might take it for one."""
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVIL), EVIL)
    size = b"%d" % len(EVIL)
    both = b"Content-Length: %d" % (len(EVIL) + len(HIDDEN))
    for one, two in [(size, size), (size, b"0"), (b"0", size),
                     (size, b"%d" % (len(EVIL) + len(HIDDEN))),
                     (b"%d" % (len(EVIL) + len(HIDDEN)), size)]:
        # RFC 9112 6.3 lets a server take equal ones for one.
        yield (f"Content-Length {one!a} and {two!a}", REFUSED,
               put([b"Content-Length: " + one, b"Content-Length: " + two],
                   EVIL + HIDDEN))
        yield (f"Content-Length {one!a}, {two!a} in one line", REFUSED,
               put([b"Content-Length: " + one + b", " + two], EVIL + HIDDEN))
    for coding in [b"chunked", b"xchunked", b"chunked, identity", b"identity",
                   b"chunked, chunked", b" chunked", b"\tchunked", b"chunked;x",
                   b'"chunked"', b"CHUNKED", b"gzip, chunked", b"chunked\t",
                   b"chunked\x0b", b"chu nked", b"", b",", b"cow",
                   b"chunked,", b"\0chunked", b"identity, chunked"]:
        te = b"Transfer-Encoding: " + coding
        cl = b"Content-Length: %d" % len(chunk)
        if not coding:      # lighttpd drops an empty field: the length counts
            continue
        yield (f"Transfer-Encoding {coding!a} and Content-Length", REFUSED,
               put([te, cl], chunk + HIDDEN))
        yield (f"Content-Length and Transfer-Encoding {coding!a}", REFUSED,
               put([cl, te], chunk + HIDDEN))
        # lighttpd knows the length once all chunks are there, and says so.
        yield (f"Transfer-Encoding {coding!a} alone",
               ((200, 400, 411, 501),)
               if coding.strip().lower() == b"chunked"
               else REFUSED, put([te], b"%x\r\n%s\r\n0\r\n\r\n" % (
                   len(check.content), check.content)))
        # The chunks end, and the next request is hidden behind them, or the
        # length ends in the first of them.
        yield (f"0 chunk with Transfer-Encoding {coding!a}", REFUSED,
               put([te, b"Content-Length: 5"], b"0\r\n\r\n" + HIDDEN))
        yield (f"GET with Transfer-Encoding {coding!a} and a length", REFUSED,
               request(headers=[te, b"Content-Length: 5"],
                       body=b"0\r\n\r\n" + HIDDEN))
    te = b"Transfer-Encoding: chunked"
    for field in [b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked",
                  b"Transfer-Encoding\t: chunked", b"Transfer-Encoding:\r\n chunked",
                  b"X: y\r\n Transfer-Encoding: chunked", b"Transfer_Encoding: chunked",
                  b"Transfer-Encoding\0: chunked", b"X: y\rTransfer-Encoding: chunked",
                  b"X: y\nTransfer-Encoding: chunked"]:
        cl = b"Content-Length: %d" % len(HIDDEN)
        yield (f"{field!a} and a length for none", REFUSED,
               put([field, cl], HIDDEN, b"/images/none"))
        yield (f"a length and {field!a} for none", REFUSED,
               put([cl, field], HIDDEN, b"/images/none"))
    for field in [b"Content-Length : 5", b" Content-Length: 5",
                  b"Content-Length\t: 5", b"Content-Length:\r\n 5",
                  b"Content-Length: 5\r\n 5", b"Content-Length: -5",
                  b"Content-Length: +5", b"Content-Length: 0x5",
                  b"Content-Length: 5 5", b"Content-Length: 5;5",
                  b"Content-Length: 5\0", b"Content-Length: \xef\xbc\x95",
                  b"Content_Length: 5", b"Content-Length: ", b"Content-Length:",
                  b"Content-Length", b"Content-Length: 18446744073709551621",
                  b"Content-Length: 4294967301000000000000000000000"]:
        yield f"{field!a}", REFUSED, put([field], EVIL[:5])
    # Those that a reader may take: what follows would be a request.
    for sizes in [b"5\nEVIL \n0\n\n", b"5;x=\0\r\nEVIL \r\n0\r\n\r\n",
                  b"00000000000000000000005\r\nEVIL \r\n0\r\n\r\n"]:
        yield f"chunks {sizes[:24]!a}", REFUSED, \
            put([te], sizes, b"/images/none")
    for sizes in [b"5x\r\nEVIL \r\n0\r\n\r\n", b"-5\r\nEVIL \r\n0\r\n\r\n",
                  b"0x5\r\nEVIL \r\n0\r\n\r\n", b"+5\r\nEVIL \r\n0\r\n\r\n",
                  b"\r\nEVIL \r\n0\r\n\r\n",
                  b"10000000000000005\r\nEVIL \r\n0\r\n\r\n",
                  b"ffffffffffffffff\r\nEVIL \r\n0\r\n\r\n",
                  b"4\r\nEVIL \r\n0\r\n\r\n", b"g\r\nEVIL \r\n0\r\n\r\n",
                  b"5\r\nEVIL 0\r\n\r\n"]:
        yield f"chunks {sizes[:24]!a}", REFUSED, put([te], sizes + HIDDEN)
    # The hidden one lies in the body as its length says: it is not read as a
    # request, whatever the first was answered.
    for name, status, head in [
            ("a wrong path", 404, (b"PUT", b"/images/none", [])),
            ("no route", 404, (b"PUT", b"/image", [])),
            ("no token", 401, (b"PUT", b"/images/token", [])),
            ("a wrong token", 401, (b"PUT", b"/images/token",
                                    [b"Authorization: Bearer wrong"])),
            ("a Range in a PUT", 400, (b"PUT", b"/images/file",
                                       [b"Range: bytes=0-9"])),
            ("a failed condition", 412, (b"PUT", b"/images/file",
                                         [b'If-Match: "x"'])),
            ("a wrong size", 400, (b"PUT", b"/images/disk", [])),
            ("a PATCH of no kind", 415, (b"PATCH", b"/images/disk", [])),
            ("a JSON that is none", 400, (b"PATCH", b"/images/disk",
                                          [b"Content-Type: application/json"])),
            ("a method that is not here", 405, (b"DELETE", b"/images/file",
                                                [])),
            ("a GET that needs none", 200, (b"GET", b"/images/file", [])),
            ("a GET of nothing", 404, (b"GET", b"/images/none", []))]:
        for body_name, body in {
                "a request": HIDDEN,
                "a request after an end": b"0\r\n\r\n" + HIDDEN,
                "FastCGI": fcgi_put()}.items():
            data = request(*head[:2], head[2] +
                           [b"Content-Length: %d" % len(body)], body)
            # lighttpd refuses a GET that has a body.
            one = (status, 400) if head[0] == b"GET" else status
            yield f"{body_name} in the body of {name}", (one,), data
            yield (f"{body_name} in the body of {name}, and one after it",
                   [one, 200], data + request())
            yield f"{body_name} in the short body of {name}", \
                ANY if head[0] == b"GET" else REFUSED, data[:-5], True
    yield "a request in the body of a long one", REFUSED, \
        put([both], EVIL + HIDDEN[:-1]), True
    yield "LF only, which RFC 9112 2.2 lets a server take for an end", \
        ((200, 400),), request(end=b"\n")
    yield "CR only", REFUSED, request(end=b"\r"), True
    yield "LF only in a PUT of too short a body", REFUSED, \
        put([b"Content-Length: 5000"], end=b"\n"), True
    yield "an empty line with a space ends no head", REFUSED, \
        b"PUT /images/none HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n \r\n" \
        b"\r\nEVIL "
    yield "100-continue and no body", REFUSED, \
        put([b"Content-Length: 5", b"Expect: 100-continue"], b""), True
    yield "100-continue, none of it, for none", (404,), \
        put([b"Content-Length: 99", b"Expect: 100-continue"], b"",
            b"/images/none")
    yield "another expectation", ((417, 404),), \
        put([b"Content-Length: 9", b"Expect: nothing"], EVIL[:9],
            b"/images/none")


def fcgi_put():
    """FastCGI records of a PUT, as a body."""
    def record(kind, content=b""):
        return bytes((1, kind, 0, 1, len(content) >> 8, len(content) & 255, 0,
                      0)) + content
    env = b"".join(bytes((len(n), len(v))) + n + v for n, v in (
        (b"REQUEST_METHOD", b"PUT"), (b"PATH_INFO", b"/images/hidden"),
        (b"CONTENT_LENGTH", b"9")))
    return record(5) + record(1, b"\0\1\1\0\0\0\0\0") + record(4, env) + \
        record(4) + record(5, EVIL[:9]) + record(5)


def heads(check):
    """Request lines and headers that are too many, too long, or garbled."""
    many = [b"X%d: y" % i for i in range(10000)]
    yield "10,000 headers", REFUSED, request(headers=many)
    yield "10,000 headers of one name", REFUSED, request(headers=[b"X: y"] * 10000)
    yield "100 headers are a request", (200,), request(headers=many[:100])
    yield "10,000 Ranges", REFUSED, request(headers=[b"Range: bytes=0-1"] * 10000)
    for name in b"X", b"Range", b"Cookie", b"If-Match", b"Authorization":
        yield f"{name.decode()} of 1 MiB", REFUSED, \
            request(headers=[name + b": " + b"v" * (1 << 20)])
    yield "a header's name of 1 MiB", REFUSED, \
        request(headers=[b"n" * (1 << 20) + b": v"])
    yield "a header of 1 MiB without an end", REFUSED, \
        b"GET /images/file HTTP/1.1\r\nX: " + b"v" * (1 << 20), True
    yield "a path of 1 MiB", REFUSED, request(path=b"/images/" + b"p" * (1 << 20))
    yield "a query of 1 MiB", REFUSED, request(path=b"/images/file?" + b"q" * (1 << 20))
    yield "a method of 1 MiB", REFUSED, request(b"M" * (1 << 20))
    yield "a million empty lines", REFUSED, b"\r\n" * (1 << 20), True
    for at in range(3):
        line = [b"GET", b"/images/file", b"HTTP/1.1"]
        for byte in b"\0", b"\x01", b"\x7f", b"\xff", b"\n", b"\r", b"\x1b[2J":
            broken = list(line)
            broken[at] = broken[at][:2] + byte + broken[at][2:]
            yield f"{byte!a} in part {at} of the request line", REFUSED, \
                request(*broken[:2], version=broken[2]), True
    for byte in b"\0", b"\x01", b"\n\r", b"\x7f":
        ok = REFUSED if byte in (b"\0", b"\n\r") else ((200, 400),)
        yield f"{byte!a} in a header's value", ok, \
            request(headers=[b"X: a" + byte + b"b"]), byte == b"\n\r"
        yield f"{byte!a} in a header's name", ((200, 400),) \
            if byte in (b"\x01", b"\x7f") else REFUSED, \
            request(headers=[b"X" + byte + b"Y: a"]), byte == b"\n\r"
    for path in [b"%00", b"file%00", b"%00file", b"..%00/file", b"%c0%ae%c0%ae/file",
                 b"\xc0\xae\xc0\xae/file", b"fil%c1%a5", b"fil\xc1\xa5",
                 b"%e0%80%af", b"..%c0%affile", b"%ff%fe", b"%", b"%z", b"%6",
                 b"%u0066ile", b"%2e%2e%2fetc%2fpasswd", b"../../etc/passwd",
                 b"..%5c..%5cfile", b"file%0d%0aX:%20y", b"%0a", b"file;x",
                 b"file%3fflush=y", b"file%23", b"f%25ile", b"nothing%20HTTP/1.1"]:
        yield f"path {path!a}", REFUSED, request(path=b"/images/" + path)
        yield f"PUT path {path!a}", REFUSED, \
            put([b"Content-Length: %d" % len(EVIL)], path=b"/images/" + path)
    length = [b"Content-Length: %d" % len(EVIL)]
    yield "two spaces, which RFC 9112 3 lets a server take for one", \
        ((200, 400),), put([b"Content-Length: %d" % len(check.content)],
                           check.content, b" /images/file")
    for method in b"put", b"Put", b"pUT", b"PUT\t", b" PUT", b"\0PUT", \
            b"BREW", b"CONNECT", b"TRACE", b"PRI", b"PROPFIND", b"DELETE", \
            b"PUT/images", b"P" * 100, b"PUT,PUT", b"*":
        yield f"method {method!a}", REFUSED, method + put(length)[3:], \
            method == b"PRI"
    for method in b"get", b"Get", b"head", b"options":
        yield f"method {method!a}", REFUSED, request(method)
    yield "X-HTTP-Method-Override is no method", (200,), \
        request(headers=[b"X-HTTP-Method-Override: DELETE",
                         b"X-Method-Override: PUT"])
    for version in b"HTTP/9.9", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1", b"HTTP/", b"HTTP/1.1x", \
            b"HTTP/11", b"http/1.1", b"HTTP/1.1 x", b"ICAP/1.0", b"HTTP/-1.1", \
            b"HTTP/1.99999999999999999999":
        yield f"PUT version {version!a}", REFUSED, put(length, version=version), True
    yield "HTTP/0.9", REFUSED, b"GET /images/none\r\n", True
    yield "HTTP/0.9 PUT", REFUSED, b"PUT /images/file\r\n\r\n" + EVIL, True
    yield "HTTP/2 preface", REFUSED, \
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + HIDDEN, True
    yield "h2c, which lighttpd speaks", (200,) if check.web == "nginx" else ANY, \
        request(headers=[
        b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAAP__"]), check.web != "nginx"
    yield "TLS where there is none", REFUSED, \
        bytes.fromhex("16030100c8010000c40303") + bytes(200), True
    # RFC 9112 3.2.2: a server must take the absolute form.
    yield "absolute-form", (200,), request(path=b"http://a/images/file")
    yield "absolute-form of another host", ((200, 400),), \
        request(path=b"http://b/images/file")
    for target in b"ftp://b/images/none", b"http:///images/none", \
            b"http://b:99999999/images/none", b"//images/none", b"images/file", \
            b"http://b\\@c/images/none", b"*", b"b:443", b"file:///etc/passwd", \
            b"http://b", b"":
        yield f"target {target!a}", REFUSED, request(path=target), True
    for host in [[], [b"Host: a", b"Host: b"], [b"Host: a b"], [b"Host: a/b"],
                 [b"Host: a\0b"]]:
        yield f"hosts {host!a}", REFUSED, \
            b"GET /images/none HTTP/1.1\r\n" + \
            b"".join(h + b"\r\n" for h in host) + b"\r\n"
    # CVE-2016-5385: it is nobody's variable here.
    yield "Proxy", (200,), request(headers=[b"Proxy: http://b/"])
    for size in 1, 7, 100, 5000:
        yield f"garbage of {size} bytes", REFUSED, \
            random.Random(size).randbytes(size) + b"\r\n\r\n", True


def repeated(check):
    """Headers that come twice, or under names that only look like theirs."""
    length = b"Content-Length: %d" % len(EVIL)
    size = len(check.content)
    same = check.content[:2]
    for one, two in [(b"bytes=0-1", b"bytes=2-3"), (b"bytes=0-1", b"bytes=0-1"),
                     (b"", b"bytes=0-1"), (b"bytes=0-1", b""),
                     (b"bytes=0-1", b"x")]:
        name = f"Range {one!a} and {two!a}"
        fields = [b"Range: " + one, b"Range: " + two]
        # lighttpd drops an empty field: there is one.
        once = one and two or check.web == "nginx"
        yield f"GET {name}", REFUSED if once else (206,), \
            request(headers=fields)
        yield f"PATCH {name}", REFUSED if once else (200,), request(
            b"PATCH", b"/images/disk", fields + [b"Content-Length: 2"], same)
        yield f"PUT {name}", REFUSED, put(fields + [length])
    for one, two in [(b"bytes 0-1/*", b"bytes 2-3/*"),
                     (b"bytes 0-1/*", b"bytes 0-1/*"), (b"", b"bytes 0-1/*"),
                     (b"bytes 0-1/*", b"")]:
        once = one and two or check.web == "nginx"
        fields = [b"Content-Range: " + one, b"Content-Range: " + two,
                  b"Content-Length: 2"]
        yield f"PUT Content-Range {one!a} and {two!a}", \
            REFUSED if once else (200,), put(fields, same, b"/images/disk")
        yield f"PUT Content-Range {one!a} and {two!a} of a file", REFUSED, \
            put(fields, b"EV")
    field = b"Authorization: "
    for one, two in [(TOKEN, TOKEN), (TOKEN, b"wrong"), (b"wrong", TOKEN),
                     (b"", TOKEN), (TOKEN, b"")]:
        yield f"Bearer {one!a} and {two!a}", REFUSED, request(
            path=b"/images/token", headers=[field + b"Bearer " + one,
                                            field + b"Bearer " + two])
    for value in b"Bearer", b"Bearer ", b"Basic " + TOKEN, TOKEN, \
            b"Bearer" + TOKEN, b"Bearer " + TOKEN + b" x", \
            b"Bearer " + TOKEN + b",Bearer " + TOKEN, \
            b'Bearer "' + TOKEN + b'"', b"Bearer " + TOKEN * 2, \
            b"Bearer " + TOKEN[:-1], b"Bearer\t" + TOKEN, \
            b"Bearer " + TOKEN.upper():
        yield f"Authorization {value!a}", REFUSED, request(
            path=b"/images/token", headers=[field + value])
    yield "the right token", (200,), request(
        path=b"/images/token", headers=[field + b"Bearer " + TOKEN])
    for tags in [(b'"x"', b'"y"'), (b'"x"', b""), (b"", b'"x"')]:
        yield f"If-Match {tags!a}", REFUSED, put(
            [length] + [b"If-Match: " + tag for tag in tags])
    yield "If-None-Match * and a tag", REFUSED, put(
        [length, b"If-None-Match: *", b'If-None-Match: "x"'])
    # nginx itself refuses it.
    yield "If-Unmodified-Since twice is no date (RFC 9110 13.1.4)", \
        ((200, 400),), \
        request(headers=[b"If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"] * 2)
    # nginx passes the first one on.
    yield "Content-Type twice", ((200, 400, 415),), request(
        b"PATCH", b"/images/disk", [b"Content-Type: application/json",
                                    b"Content-Type: text/plain",
                                    b"Content-Length: 14"], b'{"op":"flush"}')
    # nginx drops names with an underscore. lighttpd makes the same variable of
    # it as of the right name, so that the program sees a field of the client's
    # there, or sees it twice.
    taken = check.web == "lighttpd"
    for mark in b"_", b".", b"!":
        if mark != b"_" and not taken:
            continue       # dropped as well, but that needs no table
        text = mark.decode()
        yield f"Content{text}Range", (200,) if taken else REFUSED, put(
            [b"Content" + mark + b"Range: bytes 0-1/*", b"Content-Length: 2"],
            same, b"/images/disk")
        yield f"Content{text}Range beside the right one", \
            REFUSED if taken else (200,), put(
                [b"Content" + mark + b"Range: bytes 4-5/*",
                 b"Content-Range: bytes 0-1/*", b"Content-Length: 2"],
                same, b"/images/disk")
        yield f"If{text}Match", (412,) if taken else (200,), \
            request(headers=[b"If" + mark + b'Match: "x"'])
        yield f"Content{text}Length", REFUSED, \
            request(b"PUT", headers=[b"Content" + mark + b"Length: 5"])
        yield f"Content{text}Length and a body", REFUSED, \
            put([b"Content" + mark + b"Length: 5"], EVIL[:5]), True
        yield f"Content{text}Type", REFUSED, request(
            b"PATCH", b"/images/disk", [
                b"Content" + mark + b"Type: application/json",
                b"Content-Length: 22"], b'{"op":"zero","size":9}')
    yield "Range_", REFUSED, request(b"PATCH", b"/images/disk", [
        b"Range_: bytes=0-1", b"Content-Length: 2"], b"EV")
    yield "Authorization_", REFUSED, request(
        path=b"/images/token", headers=[b"Authorization_: Bearer " + TOKEN])


def bodies(check):
    """JSON and ranges that are not what they should be."""
    texts = [b"{\"op\":\"zero\",\"size\":9}\0", b"\0{\"op\":\"zero\",\"size\":9}",
             b"{\"op\":\"ze\0ro\",\"size\":9}", b'{"op":"zero","size":9,"\xc0\xaf":1}',
             b'{"op":"zero\xc0\xa2,"size":9}', b'{"op":"zero","size":9}\xc0\x80',
             b'{"op":"zero","size":9,"x":"\xed\xa0\x80"}',
             b'{"op":"zero","size":9,"x":"\xe0\x80\x80"}',
             b'{"op":"zero","size":9,"x":"\xf8\x88\x80\x80\x80"}',
             b'{"op":"zero","size":9,"x":"\xff"}', b'{"op":"zero","size":9,"x":"\x80"}',
             b'{"op":"zero","size":9,"x":"\xc3"}', b'{"op":"zero","size":9,"x":' + b"[" * 17 +
             b"]" * 17 + b"}", b"[" * 65536, b"{\"a\":" * 10000, b" " * 65537,
             b'{"op":"zero","size":9}' + b" " * 65536, b'{"op":"zero","size":09}',
             b'{"op":"zero","size":9.0}', b'{"op":"zero","size":true}',
             b'{"op":"zero","size":9e0}', b'{"op":"zero","size":"0x9"}',
             b'{"op":"zero","size":" 9"}', b'{"op":"zero","size":-1}',
             b'{"op":"zero","size":9,"offset":-1}', b'{"op":"zero","size":9,"offset":1e1}',
             b'{"op":"zero","size":9,"offset":18446744073709551616}',
             b'{"op":"zero","size":9,"offset":99999999999999999999999}',
             b'{"op":"zero","size":9,"offset":null}', b'{"op":"zero","size":9,"flush":"y"}',
             b'{"op":"ZERO","size":9}', b'{"op":["zero"],"size":9}', b'{op:"zero",size:9}',
             b"{'op':'zero','size':9}", b'{"op":"zero","size":9,}', b'{"op":"zero","size":9',
             b'[{"op":"zero","size":9}]', b'"zero"', b"null", b"\xef\xbb\xbf{}",
             b'{"op":"zero","size":9,"op":"none"}', b'{"op":"zero","size":NaN}',
             b'{"op":"zero","size":Infinity}', b"9" * 65536, b'{"' + b"k" * 65000,
             b"\xfe\xff\0{\0}", b"op=zero&size=9", b"/**/{\"op\":\"zero\",\"size\":9}"]
    for text in texts:
        yield f"JSON {len(text)} {text[:60]!a}", REFUSED, request(
            b"PATCH", b"/images/disk", [
                b"Content-Type: application/json",
                b"Content-Length: %d" % len(text)], text)
    for value in b"bytes=0-1,2-3", b"bytes=-0", b"bytes=", b"bytes", b"0-1", b"bytes=1-0x2", \
            b"bytes=+0-1", b"bytes=0--1", b"bytes= 0-1", b"bytes=0 -1", b"lines=0-1", \
            b"bytes=99999999999999999999-", b"bytes=1-0", b"bytes=\xef\xbc\x90-1", \
            b"bytes=0-1;", b"bytes=0-1\x0b", b"bytes==0-1", b"bytes=18446744073709551615-", \
            b"bytes=0-1,", b",bytes=0-1":
        yield f"Range {value!a}", REFUSED, request(headers=[b"Range: " + value])
        yield f"PATCH Range {value!a}", REFUSED, request(
            b"PATCH", b"/images/disk", [b"Range: " + value,
                                        b"Content-Length: 2"], b"EV")
    for value in b"bytes 0-1", b"bytes 0-1/1", b"bytes 1-0/*", b"bytes=0-1/*", \
            b"bytes 0-18446744073709551615/*", b"bytes 18446744073709551615-*/*", \
            b"bytes 18446744073709551614-18446744073709551615/*", \
            b"bytes 0-9223372036854775808/*", b"bytes -1-0/*", b"bytes */*", b"bytes 0-1/-", \
            b"bytes 0-1/0x9", b"bytes 0-2/*", b"lines 0-1/*", b"bytes 99999999-*/*":
        yield f"Content-Range {value!a}", REFUSED, put(
            [b"Content-Range: " + value, b"Content-Length: 2"], b"EV",
            b"/images/disk")


def pipelines(check):
    """Several requests at once are as many, in their order."""
    same = put([b"Content-Length: %d" % len(check.content)], check.content)
    yield "ten requests at once", (200,) * 10, request() * 10
    yield "good, bad, good", (200, 404, 200), \
        request() + request(path=b"/images/none") + request()
    yield "PUT, GET, PUT, GET", (200,) * 4, (same + request()) * 2
    yield "a body of nobody, GET", (404, 200), \
        put([b"Content-Length: %d" % len(EVIL)], path=b"/images/none") + \
        request()
    yield "a GET with a body, which lighttpd refuses, GET", \
        (200, 200) if check.web == "nginx" else ANY, request(headers=[
            b"Content-Length: %d" % len(EVIL)], body=EVIL) + request()
    yield "in pieces of one byte", (200, 404), \
        [bytes((b,)) for b in request() + request(path=b"/images/none")]
    yield "after a close there is none", (200,), \
        request(headers=[b"Connection: close"]) + HIDDEN
    yield "after garbage there is none", REFUSED, b"\0\1\2\r\n\r\n" + HIDDEN, True
    yield "after a head that never ends there is none", REFUSED, \
        b"GET /images/none HTTP/1.1\r\nX: y\r\n" + b"Y" * 100, True


TABLES = (smuggling, heads, repeated, bodies, pipelines)


def main():
    web, path, image, name = sys.argv[1:]
    check = Check(web, path, image)
    tables = {table.__name__: table for table in TABLES}
    began = time.monotonic()
    count = check.rows(tables[name](check))
    with open(image, "rb") as file:
        if file.read() != check.content:
            check.fail(name, "the image has changed")
    check.honest()
    print(f"{count} rows in {time.monotonic() - began:.1f} s")
    for failure in check.failures[:40]:
        print(failure[:300])
    return 1 if check.failures else 0


sys.exit(main())
