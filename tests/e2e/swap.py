#!/usr/bin/env python3
"""swap.py A B: exchanges two names, over and over, until it is ended."""
import ctypes
import sys
import time

AT_FDCWD = -100
RENAME_EXCHANGE = 2

libc = ctypes.CDLL(None, use_errno=True)
a, b = (name.encode() for name in sys.argv[1:])
end = time.monotonic() + 120
while time.monotonic() < end:
    if libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) != 0:
        sys.exit(f"renameat2: {ctypes.get_errno()}")
