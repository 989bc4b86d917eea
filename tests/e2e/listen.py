#!/usr/bin/env python3
"""listen.py FILE COMMAND...: runs COMMAND with a socket that listens on a free
port of 127.0.0.1, handed over as systemd does it (sd_listen_fds(3)), and writes
the port to FILE.  Nobody can take the port in between."""
import os
import socket
import sys

SD_LISTEN_FDS_START = 3

listener = socket.create_server(("127.0.0.1", 0))
os.dup2(listener.fileno(), SD_LISTEN_FDS_START)
os.set_inheritable(SD_LISTEN_FDS_START, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
with open(sys.argv[1] + ".new", "w", encoding="ascii") as file:
    print(listener.getsockname()[1], file=file)
os.rename(sys.argv[1] + ".new", sys.argv[1])
os.execvp(sys.argv[2], sys.argv[2:])
