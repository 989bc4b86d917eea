#!/usr/bin/env python3
"""rude_client.py SOCKET METHOD PATH [OPTION...]: one HTTP request by a client
that stops, leaves, half-closes or creeps.

    --header LINE     one more, "Name: value"; may be given again
    --body FILE       the body, and its Content-Length
    --save FILE       where the answer's body goes, as far as it came
    --stop-sent N     stop after the head and N bytes of the body
    --stop-read N     stop after N bytes of the answer's body or more; -1: after
                      all but the last byte of the answer
    --go FILE         go on when FILE is there (else at once)
    --leave           ... by closing the connection, in place of going on
    --slow            ... byte by byte, one a second, until FILE is there
    --half-close      once all is sent, say that there will be no more

It prints "stopped" where it stops, "slow N" after the Nth slow byte, and at the
end one of
    left              as it was told
    whole STATUS      a whole answer, by its Content-Length or its last chunk
    cut STATUS        an answer that ended before
    none              no answer
    late              nothing happened for a long time
"""

import argparse
import os
import socket
import sys
import time

PATIENCE_S = 240
SLOW_S = 1
PIECE = 1 << 16


class Left(Exception):
    """As it was told."""


class Ended(Exception):
    """The other side closed the connection."""


class Client:
    def __init__(self, options):
        self.options = options
        self.is_slow = False
        self.slow = 0  # bytes that it has crept
        self.got = 0  # bytes of the answer's body
        self.save = open(options.save or os.devnull, "wb")
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.settimeout(PATIENCE_S)
        self.peer.connect(options.socket)

    def may_go(self):
        return self.options.go is None or os.path.exists(self.options.go)

    def stop(self):
        if self.options.slow:
            self.is_slow = True
            return
        print("stopped", flush=True)
        end = time.monotonic() + PATIENCE_S
        while not self.may_go():
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.01)
        if self.options.leave:
            self.peer.close()
            raise Left

    def pace(self):
        """Before a slow byte; returns whether it is one."""
        if self.is_slow and self.may_go():
            self.is_slow = False
        if self.is_slow:
            end = time.monotonic() + SLOW_S
            while time.monotonic() < end and not self.may_go():
                time.sleep(0.02)
        return self.is_slow

    def note_slow(self):
        self.slow += 1
        print("slow", self.slow, flush=True)

    def send(self):
        options = self.options
        lines = [f"{options.method} {options.path} HTTP/1.1", "Host: localhost"]
        body = b""
        if options.body is not None:
            with open(options.body, "rb") as file:
                body = file.read()
            lines.append(f"Content-Length: {len(body)}")
        lines += options.header
        self.peer.sendall("\r\n".join(lines + ["", ""]).encode())
        at = 0
        if options.stop_sent is not None:
            at = min(options.stop_sent, len(body))
            self.peer.sendall(body[:at])
            self.stop()
        while self.is_slow and at < len(body) and self.pace():
            self.peer.sendall(body[at:at + 1])
            at += 1
            self.note_slow()
        self.peer.sendall(body[at:])
        self.is_slow = False
        if options.half_close:
            self.peer.shutdown(socket.SHUT_WR)

    def receive(self, most):
        data = self.peer.recv(most)
        if not data:
            raise Ended
        return data

    def line(self):
        text = b""
        while not text.endswith(b"\n"):
            text += self.receive(1)
        return text.strip().decode()

    def take(self, length, is_end):
        """That much of the answer's body; it is_end, and the last byte of all
        may have to stay."""
        most = self.options.stop_read
        while length > 0:
            if most is not None and 0 <= most <= self.got:
                most = self.options.stop_read = None
                self.stop()
            step = 1 if self.pace() else min(length, PIECE)
            if is_end and most == -1:
                if length == 1:
                    self.stop()
                step = min(step, max(length - 1, 1))
            data = self.receive(step)
            self.save.write(data)
            self.got += len(data)
            length -= len(data)
            if self.is_slow:
                self.note_slow()

    def read(self):
        """Returns the status of a whole answer."""
        head = {}
        self.status = int(self.line().split()[1])
        while line := self.line():
            name, _, value = line.partition(":")
            head[name.lower()] = value.strip()
        if head.get("transfer-encoding") == "chunked":
            while length := int(self.line(), 16):
                self.take(length, False)
                self.line()
            if self.options.stop_read == -1:
                self.receive(1)
                self.stop()
            self.line()
        elif "content-length" in head:
            self.take(int(head["content-length"]), True)
        else:
            raise Ended  # nothing tells where it ends

    def run(self):
        self.status = None
        try:
            try:
                self.send()
            except (BrokenPipeError, ConnectionResetError):
                pass  # there may be an answer all the same
            self.read()
            result = f"whole {self.status}"
        except Left:
            result = "left"
        except TimeoutError:
            result = "late"
        except (Ended, ConnectionError):
            result = f"cut {self.status}" if self.status else "none"
        self.save.close()
        print(result, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("method")
    parser.add_argument("path")
    parser.add_argument("--header", action="append", default=[])
    for name in "--body", "--save", "--go":
        parser.add_argument(name)
    for name in "--stop-sent", "--stop-read":
        parser.add_argument(name, type=int)
    for name in "--leave", "--slow", "--half-close":
        parser.add_argument(name, action="store_true")
    Client(parser.parse_args()).run()


sys.exit(main())
