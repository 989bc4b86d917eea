#!/usr/bin/env python3
"""Says to a Unix socket what no well-behaved peer would.

fcgi_peer.py http SOCKET <REQUEST >ANSWER
    The request's bytes as they are, to a web server; the sending side stays
    open. Ends with the first whole answer that is not a 1xx.

fcgi_peer.py fcgi SOCKET OPERATION... >ANSWER
    Records to a FastCGI server, then the answer's STDOUT. Operations:
    begin[=ROLE[,FLAGS]]     BEGIN_REQUEST of request 1
    params=METHOD,PATH[,LENGTH[,NAME=VALUE]...]
                             as PARAMS records of at most 65,000 bytes
    params-split=N           the following PARAMS in records of N bytes
    end-params               the empty PARAMS record
    stdin=FILE               as STDIN records
    stdin-split=N            the following STDIN in records of N bytes
    end-stdin                the empty STDIN record
    padding=N                of all following records
    id=N                     of all following records
    version=N                of all following records
    record=TYPE[,HEX]        any other record
    raw=HEX                  those bytes
    random=N                 N bytes of garbage, always the same
    limit=N                  only the first N bytes of all that is sent
    times=N                  all of it N times, each after the answer to the
                             one before, of which the last is printed
    close                    at once, unread
    silent                   no answer is expected until the end of input

Exit status: 0 a whole answer; 3 the connection ended before; 4 none came in
time. What the peer did not want to read is no failure.
"""

import random
import socket
import struct
import sys

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT = 1, 2, 3, 4, 5, 6
TIMEOUT_S = 15
CLOSED, LATE = 3, 4


def connect(path):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(TIMEOUT_S)
    peer.connect(path)
    return peer


def send(peer, data):
    """Returns whether the other side took all of it."""
    try:
        peer.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def receive(peer):
    try:
        return peer.recv(1 << 16)
    except ConnectionResetError:
        return b""


def http(path):
    peer = connect(path)
    send(peer, sys.stdin.buffer.read())
    answer = b""
    while True:
        head, end, body = answer.partition(b"\r\n\r\n")
        if end and head.split()[1].startswith(b"1"):
            answer = body
            continue
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if end and len(body) >= length:
            break
        more = receive(peer)
        if not more:
            sys.stdout.buffer.write(answer)
            return 0 if end else CLOSED
        answer += more
    sys.stdout.buffer.write(answer)
    return 0


class Records:
    """Collects what will be sent."""

    def __init__(self):
        self.data = bytearray()
        self.id = self.version = 1
        self.padding = 0
        self.split = {PARAMS: 65000, STDIN: 65000}

    def add(self, kind, content=b""):
        self.data += struct.pack(">BBHHBx", self.version, kind, self.id,
                                 len(content), self.padding)
        self.data += content + b"P" * self.padding

    def stream(self, kind, content):
        size = self.split[kind]
        for start in range(0, len(content), size):
            self.add(kind, content[start:start + size])

    def params(self, method, path, length=None, *more):
        pairs = {"REQUEST_METHOD": method, "PATH_INFO": path,
                 "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1"}
        if length:
            pairs["CONTENT_LENGTH"] = length
        pairs.update(pair.split("=", 1) for pair in more)
        content = b""
        for name, value in pairs.items():
            name, value = name.encode(), value.encode()
            for text in name, value:
                content += (struct.pack(">I", len(text) | 1 << 31)
                            if len(text) > 127 else bytes([len(text)]))
            content += name + value
        self.stream(PARAMS, content)


def read_answer(peer):
    """The answer's STDOUT, and whether it was ended."""
    data, body = b"", b""
    while True:
        while len(data) < 8:
            more = receive(peer)
            if not more:
                return body, False
            data += more
        _, kind, _, length, padding = struct.unpack(">BBHHBx", data[:8])
        while len(data) < 8 + length + padding:
            more = receive(peer)
            if not more:
                return body, False
            data += more
        if kind == STDOUT:
            body += data[8:8 + length]
        elif kind == END:
            return body, True
        data = data[8 + length + padding:]


def fcgi(path, operations):
    records = Records()
    closes = silent = False
    limit = None
    times = 1
    for operation in operations:
        name, _, value = operation.partition("=")
        if name == "begin":
            role, flags = ([int(n) for n in value.split(",")] + [0])[:2] \
                if value else (1, 0)
            records.add(BEGIN, struct.pack(">HB5x", role, flags))
        elif name == "params":
            records.params(*value.split(","))
        elif name == "params-split":
            records.split[PARAMS] = int(value)
        elif name == "end-params":
            records.add(PARAMS)
        elif name == "stdin":
            with open(value, "rb") as file:
                records.stream(STDIN, file.read())
        elif name == "stdin-split":
            records.split[STDIN] = int(value)
        elif name == "end-stdin":
            records.add(STDIN)
        elif name in ("padding", "id", "version"):
            setattr(records, name, int(value))
        elif name == "record":
            kind, _, content = value.partition(",")
            records.add(int(kind), bytes.fromhex(content))
        elif name == "raw":
            records.data += bytes.fromhex(value)
        elif name == "random":
            records.data += random.Random(1).randbytes(int(value))
        elif name == "limit":
            limit = int(value)
        elif name == "times":
            times = int(value)
        elif name == "close":
            closes = True
        elif name == "silent":
            silent = True
        else:
            sys.exit(f"no such operation: {operation}")
    peer = connect(path)
    ended = True
    for _ in range(times):
        send(peer, records.data[:limit])
        if silent:
            sys.stdin.buffer.read()
        if silent or closes:
            return 0
        body, ended = read_answer(peer)
        if not ended:
            break
    sys.stdout.buffer.write(body)
    return 0 if ended else CLOSED


def main():
    try:
        if sys.argv[1] == "http":
            return http(sys.argv[2])
        return fcgi(sys.argv[2], sys.argv[3:])
    except TimeoutError:
        return LATE


sys.exit(main())
