#!/usr/bin/env python3
"""old_or_new.py BLOCK OLD NEW IMAGE: fails unless each block of IMAGE is that
of OLD or that of NEW."""
import sys

block = int(sys.argv[1])
old, new, image = (open(name, "rb").read() for name in sys.argv[2:])
if not len(old) == len(new) == len(image):
    sys.exit(f"sizes: {len(old)} {len(new)} {len(image)}")
for at in range(0, len(image), block):
    if image[at:at + block] not in (old[at:at + block], new[at:at + block]):
        sys.exit(f"the block at {at} is neither old nor new")
