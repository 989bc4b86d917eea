"""client.py - one of many clients: asks for anything, anywhere, and looks at what
comes."""

import collections
import json
import random

from images import Windows
from model import Wrong, now
from peer import Peer

KIB, MIB = 1 << 10, 1 << 20
LEFT_BEHIND_S = 15  # so long may a request go on without its client
HOT_BYTES = 64 * KIB  # a place of each image where many meet
REFUSALS = (
    b'{"error":"image busy"}',
    b'{"error":"too many parallel reads"}',
    b'{"error":"too many parallel writes"}',
)
OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"


class Client:
    def __init__(self, soak, number):
        self.soak = soak
        self.random = random.Random(number)
        self.peer = Peer(soak.socket)
        self.requests = self.read_bytes = self.written_bytes = 0
        self.failed = self.refused = 0
        self.succeeded = collections.Counter()  # kinds of requests

    # --- one request -------------------------------------------------------

    def ask(self, image, kind, method, tail="", headers=(), body=None, leave_at=None,
            expected=(200,)):
        """The answer, and what that says about what was asked for."""
        ticket = self.random.choice(image.tickets)
        begin = now()
        reply = self.peer.request(
            method, f"/images/{ticket}{tail}", headers, body, leave_at
        )
        end = now()
        self.requests += 1
        if leave_at is not None and body is not None:
            self.succeeded["leave"] += 1
            return reply, UNKNOWN
        if reply.status in expected and (reply.is_complete or leave_at is not None):
            self.succeeded[f"{kind} {'file' if image.is_file else 'nbd'}"] += 1
            return reply, OK
        if reply.status in (409, 503) and bytes(reply.body) in REFUSALS:
            self.refused += 1
            return reply, REFUSED
        is_cut = reply.status in (0, 200, 206) and not reply.is_complete
        is_web = reply.status in (500, 502, 503, 504) and b'{"error"' not in reply.body
        is_nbd = reply.status == 500 and b'{"error":"backend error"}' == reply.body
        # lighttpd has been seen to begin a request twice on one connection after a
        # kill: the program refuses that with a 500 of its own.
        if (
            (is_cut or is_web or is_nbd)
            and self.soak.kills.has(begin, end)
            or (is_cut or is_nbd)
            and (image.has_errors or image.restarts.has(begin, end))
        ):
            self.failed += 1
        else:
            self.failed += 1
            self.soak.faults.add(
                f"{method} /images/{ticket}{tail} {headers} from {begin / 1e9:.6f} "
                f"to {end / 1e9:.6f}: {reply}",
                ticket=ticket,
            )
        return reply, UNKNOWN

    def expect(self, is_so, image, what, reply):
        if not is_so:
            self.soak.faults.add(
                f"{image.name}: {what}: {reply} {reply.headers}", ticket=image.name
            )

    # --- where -------------------------------------------------------------

    def length(self, most):
        """Of any order of magnitude."""
        return min(most, max(1, int(2 ** self.random.uniform(0, 23))))

    def span(self, size):
        """[start, stop): near the others, at whole blocks, or anywhere."""
        pick = self.random.random()
        if pick < 0.35:
            length = self.random.randint(1, 9000)
            start = size // 2 + self.random.randrange(HOT_BYTES)
        elif pick < 0.55:
            length = -(-self.length(size // 2) // 4096) * 4096
            start = self.random.randrange(0, size - length + 1, 4096)
        else:
            length = self.length(size // 2)
            start = self.random.randrange(size - length + 1)
        return start, min(size, start + length)

    # --- reading -----------------------------------------------------------

    def read(self, image):
        if image.is_file:
            self.read_file(image)
        else:
            self.read_nbd(image)

    def read_nbd(self, image):
        model, pick = image.model, self.random.random()
        start, stop = self.span(model.size)
        leave_at = None
        headers = [f"Range: bytes={start}-{stop - 1}"]
        if pick < 0.03:
            start, stop, headers = 0, model.size, []
        elif pick < 0.06:
            stop, headers = model.size, [f"Range: bytes={start}-"]
        elif pick < 0.09:
            headers = [f"Range: bytes=-{stop - start}"]
            start, stop = model.size - (stop - start), model.size
        elif pick < 0.11:
            leave_at = self.random.randrange(stop - start)
        token = model.begin_read()
        reply, outcome = self.ask(
            image, "GET", "GET", "", headers, leave_at=leave_at,
            expected=(206,) if headers else (200,),
        )
        if outcome == OK and headers:
            said = f"bytes {start}-{stop - 1}/{model.size}"
            self.expect(
                reply.headers.get("content-range") == said, image, said, reply
            )
        if outcome == OK and leave_at is None:
            self.expect(len(reply.body) == stop - start, image, "length", reply)
        if reply.status in (200, 206):
            self.read_bytes += len(reply.body)
            model.check(reply.body, start, token)
        else:
            model.end_read(token)

    def read_file(self, image):
        model, pick = image.model, self.random.random()
        start, stop = 0, None
        headers, expected = [], (200,)
        if pick < 0.6:
            start = self.random.randrange(512 * KIB)
            stop = start + self.length(2 * MIB)
            headers, expected = [f"Range: bytes={start}-{stop - 1}"], (206, 416)
        token = model.begin_read()
        reply, _ = self.ask(image, "GET", "GET", "", headers, expected=expected)
        versions = model.end_read(token)
        tag = reply.headers.get("etag")
        if reply.status == 416:
            size = int(reply.headers["content-range"].rpartition("/")[2])
            if size > start or all(version.stop != size for version in versions):
                raise Wrong(f"{image.name}: 416 at {start}, {reply.headers}, {versions}")
        elif reply.status == 206:
            said, _, size = reply.headers["content-range"][6:].partition("/")
            first, _, last = said.partition("-")
            size = int(size)
            self.read_bytes += len(reply.body)
            self.expect(
                int(first) == start
                and int(last) == min(stop, size) - 1
                and (len(reply.body) == int(last) + 1 - start or not reply.is_complete),
                image, "range", reply,
            )
            model.check(bytes(reply.body), start, size, versions, tag)
        elif reply.status == 200:
            size = int(reply.headers["content-length"])
            self.read_bytes += len(reply.body)
            model.check(bytes(reply.body), 0, size, versions, tag)

    def read_extents(self, image):
        """What is said to be zero has to be."""
        model = image.model
        token = model.begin_read()
        reply, outcome = self.ask(image, "extents", "GET", "/extents")
        at = 0
        if outcome == OK:
            before = None
            for extent in json.loads(bytes(reply.body)):
                start, length, zero = (extent[x] for x in ("start", "length", "zero"))
                self.expect(
                    start == at and length > 0 and zero != before, image, "list", reply
                )
                at, before = start + length, zero
                if zero:
                    try:
                        model.check(bytes(length), start, token, done=False)
                    except Wrong as wrong:
                        raise Wrong(f"said to be zero: {wrong}") from wrong
            self.expect(at == model.size, image, "list's end", reply)
        model.end_read(token)

    # --- writing -----------------------------------------------------------

    def write(self, image):
        pick = self.random.random()
        if image.read_only:
            self.ask(image, "forbidden", "PUT", "", (), b"x", expected=(403,))
        elif not image.gate.enter():
            self.read(image)
        else:
            try:
                if pick < 0.06:
                    self.flush(image)
                elif image.is_file:
                    self.put_file(image)
                elif pick < 0.25:
                    self.zero(image)
                elif pick < 0.26 and image.model.size <= 16 * MIB:
                    self.put(image, 0, image.model.size, is_part=False)
                elif pick < 0.7:
                    self.put(image, *self.span(image.model.size))
                else:
                    self.patch(image, *self.span(image.model.size))
            finally:
                image.gate.leave()

    def flush(self, image):
        if image.is_file or self.random.random() < 0.5:
            return self.ask(image, "flush", "POST", "/flush", (), b"")
        return self.ask(
            image, "flush", "PATCH", "", ("Content-Type: application/json",),
            b'{"op":"flush"}',
        )

    def leave_at(self, length, chance=0.015):
        if self.random.random() < chance:
            return self.random.randrange(length)
        return None

    def finish(self, image, write, reply, outcome, leave_at, answer):
        image.model.end_write(write, outcome)
        if outcome == OK:
            self.written_bytes += write.stop - write.start
            self.expect(json.loads(bytes(reply.body)) == answer, image, answer, reply)
        if leave_at is not None and not image.is_file:
            image.left.append((now(), write))

    def put(self, image, start, stop, is_part=True):
        flush = self.random.random() < 0.05
        size = image.model.size
        headers = []
        if is_part:
            said = self.random.choice(
                [f"{start}-{stop - 1}/*", f"{start}-{stop - 1}/{size}", f"{start}-*/*"]
            )
            headers = [f"Content-Range: bytes {said}"]
        write = image.model.begin_write(start, stop, "PUT")
        leave_at = self.leave_at(stop - start)
        reply, outcome = self.ask(
            image, "PUT part" if is_part else "PUT", "PUT",
            "?flush=y" if flush else "", headers, write.all_bytes(), leave_at,
        )
        self.finish(
            image, write, reply, outcome, leave_at,
            {"ok": True, "bytes_written": stop - start, "flushed": flush},
        )

    def patch(self, image, start, stop):
        said = f"{start}-{stop - 1}"
        if stop == image.model.size:
            said = self.random.choice([said, f"{start}-", f"-{stop - start}"])
        write = image.model.begin_write(start, stop, "PATCH")
        leave_at = self.leave_at(stop - start)
        reply, outcome = self.ask(
            image, "PATCH", "PATCH", "",
            (f"Range: bytes={said}", "Content-Type: application/octet-stream"),
            write.all_bytes(), leave_at,
        )
        self.finish(
            image, write, reply, outcome, leave_at,
            {"ok": True, "bytes_written": stop - start},
        )

    def zero(self, image):
        start, stop = self.span(image.model.size)
        command = {"op": "zero", "offset": start, "size": stop - start}
        if self.random.random() < 0.1:
            command["flush"] = True
        write = image.model.begin_write(start, stop, "zero")
        reply, outcome = self.ask(
            image, "PATCH zero", "PATCH", "", ("Content-Type: application/json",),
            json.dumps(command).encode(),
        )
        self.finish(image, write, reply, outcome, None, {"ok": True})

    def put_file(self, image):
        flush = self.random.random() < 0.2
        size = self.length(3 * MIB)
        leave_at = self.leave_at(size, 0.06)
        write = image.model.begin_write(size, is_possible=leave_at is None)
        reply, outcome = self.ask(
            image, "PUT", "PUT", "?flush=y" if flush else "", (),
            write.all_bytes(), leave_at,
        )
        self.finish(
            image, write, reply, outcome, leave_at,
            {"ok": True, "bytes_written": size, "flushed": flush},
        )

    # --- all of it ---------------------------------------------------------

    def step(self):
        image = self.random.choice(self.soak.choice)
        pick = self.random.random()
        try:
            if pick < 0.03 and not image.is_file:
                self.read_extents(image)
            elif pick < 0.5:
                self.read(image)
            else:
                self.write(image)
        except Wrong as wrong:
            self.soak.faults.add(str(wrong), True, image.name)

    def work(self):
        try:
            while not self.soak.is_over():
                self.step()
        except Exception as error:  # of the test itself
            self.soak.faults.add(f"client: {error!r}")
            raise
        finally:
            self.peer.close()

    # --- alone with an image -----------------------------------------------

    def insist(self, what, request):
        """Until it is neither refused nor failed for a good reason."""
        for _ in range(100):
            reply, outcome = request()
            if outcome == OK or self.soak.faults.are_many():
                return reply
        self.soak.faults.add(f"{what}: no success in 100 tries")
        return reply

    def read_all(self, image):
        """Of an image that nobody writes."""
        token = image.model.begin_read()
        reply = self.insist("GET", lambda: self.ask(image, "GET", "GET"))
        self.read_bytes += len(reply.body)
        if image.is_file:
            image.model.check(
                bytes(reply.body), 0, len(reply.body), image.model.end_read(token)
            )
        else:
            self.expect(len(reply.body) == image.model.size, image, "size", reply)
            image.model.check(reply.body, 0, token)

    def wait_for_writers(self, image):
        """Those whose clients left: by a request that is refused only after it
        had the image for itself."""
        self.insist(
            "PUT of one byte",
            lambda: self.ask(image, "refusal", "PUT", "", (), b"x", expected=(400,)),
        )

    def restart(self, image):
        """Writers pause; what was acknowledged must outlive its server."""
        image.gate.close()
        try:
            if not image.read_only:
                if not image.is_file:
                    self.wait_for_writers(image)
                self.insist("flush", lambda: self.flush(image))
            if image.is_file:
                image.model.settle(image.on_disk())
            else:
                self.restart_server(image)
            self.read_all(image)
        except Wrong as wrong:
            self.soak.faults.add(f"after a restart: {wrong}", True, image.name)
        finally:
            image.gate.open()

    def restart_server(self, image):
        recent = now() - LEFT_BEHIND_S * 10**9
        image.left = [x for x in image.left if x[0] >= recent]
        self.soak.look_for_servers()
        window = image.restarts.open()
        try:
            image.kill()
            data = image.on_disk()
            token = image.model.begin_read()
            image.model.check(data, 0, token)
            image.model.settle(data, [write for _, write in image.left])
        finally:
            image.start()
            Windows.close(window)
        self.soak.restarts += 1
