"""peer.py - an HTTP client that says what came, also if it is not the whole
answer."""

import socket
import time

TIMEOUT_S = 120
PIECE = 1 << 18


class Reply:
    def __init__(self):
        self.status = 0  # none came
        self.headers = {}  # names in small letters
        self.body = b""
        self.is_complete = False
        self.why = ""

    def __str__(self):
        what = bytes(self.body[:200]) if self.status not in (200, 206) else b""
        return f"status {self.status} {self.why} {what!r}"


class Peer:
    """A connection that is kept, and made anew when it has ended."""

    def __init__(self, path):
        self.path = path
        self.socket = None
        self.rest = b""
        self.last = "nothing"  # that was asked for on this connection

    def connect(self):
        for _ in range(200):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(TIMEOUT_S)
            try:
                self.socket.connect(self.path)
                break
            except BlockingIOError:  # its queue is full
                self.close()
                time.sleep(0.05)
        self.rest = b""

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None

    def request(self, method, target, headers=(), body=None, leave_at=None):
        """leave_at: of the body, or of the answer's body where the request
        has none: the client then closes the connection."""
        reply = Reply()
        lines = [f"{method} {target} HTTP/1.1", "Host: soak", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        try:
            if self.socket is None:
                self.last = "nothing"
                self.connect()
            self._send(head, body, leave_at)
            if body is None or leave_at is None:
                self._receive(reply, method, leave_at)
        except TimeoutError:
            reply.why = f"no progress in {TIMEOUT_S} s"
        except (OSError, ValueError) as error:
            reply.why = f"{error!r} after {self.last}"
        self.last = f"{method} {target} {headers} {reply.status}"
        if not reply.is_complete or leave_at is not None:
            self.close()
        elif reply.headers.get("connection", "").lower() == "close":
            self.close()
        elif reply.status >= 400 and body:
            # Perhaps before all of the body was read: nginx then closes.
            self.close()
        return reply

    def _send(self, head, body, leave_at):
        try:
            if body is None or len(body) < 1024:
                self.socket.sendall(head + (body or b"")[:leave_at])
            else:
                self.socket.sendall(head)
                self.socket.sendall(memoryview(body)[:leave_at])
        except (BrokenPipeError, ConnectionResetError):
            pass  # there may be an answer all the same

    def _more(self):
        data = self.socket.recv(PIECE)
        if not data:
            raise ConnectionError("closed")
        return data

    def _line_end(self, mark):
        while mark not in self.rest:
            self.rest += self._more()
        line, _, self.rest = self.rest.partition(mark)
        return line

    def _receive(self, reply, method, leave_at):
        lines = self._line_end(b"\r\n\r\n").decode("latin-1").split("\r\n")
        reply.status = int(lines[0].split()[1])
        for line in lines[1:]:
            name, _, value = line.partition(":")
            reply.headers[name.strip().lower()] = value.strip()
        if method == "HEAD" or reply.status == 304:
            reply.is_complete = True
        elif reply.headers.get("transfer-encoding") == "chunked":
            self._receive_chunks(reply)
        else:
            self._receive_bytes(
                reply, int(reply.headers["content-length"]), leave_at
            )

    def _receive_chunks(self, reply):
        body = reply.body = bytearray()
        while True:
            size = int(self._line_end(b"\r\n"), 16)
            while len(self.rest) < size + 2:
                self.rest += self._more()
            body += self.rest[:size]
            self.rest = self.rest[size + 2 :]
            if size == 0:
                reply.is_complete = True
                return

    def _receive_bytes(self, reply, size, leave_at):
        body = bytearray(size)
        have = min(size, len(self.rest))
        body[:have] = self.rest[:have]
        self.rest = self.rest[have:]
        wanted = size if leave_at is None else min(size, leave_at)
        view = memoryview(body)
        try:
            while have < wanted:
                got = self.socket.recv_into(view[have:])
                if got == 0:
                    raise ConnectionError("cut")
                have += got
            reply.is_complete = have == size
        finally:
            view.release()
            if have < size:
                del body[have:]
            reply.body = body
