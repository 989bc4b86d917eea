#!/usr/bin/env python3
"""nbd_link.py LISTEN SERVER [--cut BYTES] [--rate BYTES] [--full]

Passes each connection to the Unix socket LISTEN on to the Unix socket SERVER.
--cut: closes it after so many bytes of the server's. --rate: passes on no more
than that in a second, of the server's. --full: takes none, and has its queue
full of connections of its own."""
import argparse
import os
import socket
import threading
import time


def path_socket():
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def carry(source, target, cut=None, rate=None):
    sent = 0
    size = 65536 if rate is None else max(rate // 20, 1)
    try:
        while data := source.recv(size):
            if cut is not None:
                data = data[:cut - sent]
            target.sendall(data)
            sent += len(data)
            if sent == cut:
                break
            if rate is not None:
                time.sleep(len(data) / rate)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client, options):
    server = path_socket()
    try:
        server.connect(options.server)
    except OSError:
        client.close()
        return
    back = threading.Thread(target=carry, args=(
        server, client, options.cut, options.rate))
    back.start()
    carry(client, server)
    back.join()
    client.close()
    server.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("listen")
    parser.add_argument("server")
    parser.add_argument("--cut", type=int)
    parser.add_argument("--rate", type=int)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    listener = path_socket()
    listener.bind(options.listen + ".new")
    listener.listen(0 if options.full else 16)
    queued = []
    while options.full:
        one = path_socket()
        one.setblocking(False)
        queued.append(one)
        try:
            one.connect(options.listen + ".new")
        except BlockingIOError:
            break
    os.rename(options.listen + ".new", options.listen)
    while options.full:
        time.sleep(1000)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, options),
                         daemon=True).start()


main()
