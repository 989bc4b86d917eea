#!/usr/bin/env python3
"""between.py OLD NEW FILE: whether each byte of FILE is that of OLD or that of
NEW: what a write that was cut may leave (where both are the same, nothing but
that).  Says which one is not."""

import sys

BLOCK = 4096

old, new, file = (open(path, "rb").read() for path in sys.argv[1:4])
if not len(old) == len(new) == len(file):
    sys.exit(f"{sys.argv[3]}: {len(file)} bytes, not {len(old)}")
for start in range(0, len(file), BLOCK):
    part = file[start:start + BLOCK]
    if part in (old[start:start + BLOCK], new[start:start + BLOCK]):
        continue
    for at, byte in enumerate(part, start):
        if byte not in (old[at], new[at]):
            sys.exit(f"{sys.argv[3]}: byte {at} is neither old nor new")
