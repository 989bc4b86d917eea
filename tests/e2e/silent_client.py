#!/usr/bin/env python3
"""silent_client.py SOCKET METHOD PATH FILE BYTES [HEADER...]: announces FILE as
the body of a request, sends BYTES of it and no more, but stays.  Prints the
answer, when it has ended.  (curl, whose input has paused, does not look.)"""
import os
import socket
import sys

_, path, method, target, name, count, *headers = sys.argv
head = [f"{method} {target} HTTP/1.1", "Host: localhost",
        f"Content-Length: {os.path.getsize(name)}", *headers, "", ""]
with socket.socket(socket.AF_UNIX) as wire, open(name, "rb") as body:
    wire.settimeout(60)
    wire.connect(path)
    wire.sendall("\r\n".join(head).encode("ascii") + body.read(int(count)))
    while True:
        piece = wire.recv(65536)
        if not piece:
            break
        sys.stdout.buffer.write(piece)
