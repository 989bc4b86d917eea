#!/usr/bin/env python3
"""Keeps a free TCP port of 127.0.0.1 until it is ended, and names it in a file.

    clients_port.py FILE

The socket is bound with SO_REUSEADDR and does not listen: the kernel gives the
port to nobody else, but a web server, which sets SO_REUSEADDR too, can bind it
by its number and listen.
"""
import os
import signal
import socket
import sys

with socket.socket() as reserved:
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    with open(sys.argv[1] + ".new", "w") as file:
        print(reserved.getsockname()[1], file=file)
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    signal.pause()
