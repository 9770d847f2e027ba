#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""spoil.py POOL: damages a large pool in place, without reading all of it: bytes of leaves, and counts of data blocks with
the checksum made right. Every LEAVES-th block that is in use gets a wrong byte, and in every BITMAPS-th bitmap of the data
space map one count of 1 becomes 0, or one of 0 becomes 1."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../corpus"))
from damage import BS, SALT, csum  # noqa: E402

LEAVES = 40000
BITMAPS = 400
USED, FREE = 2, 0  # as they lie in a bitmap, the high bit of a count first


def read(f, block):
    f.seek(block * BS)
    return bytearray(f.read(BS))


def write(f, block, data):
    f.seek(block * BS)
    f.write(data)


def entries(f, block, size):
    """The values of a tree's leaves, in order."""
    data = read(f, block)
    flags, nr, room = struct.unpack_from("<I", data, 4)[0], *struct.unpack_from("<2I", data, 16)
    for i in range(nr):
        at = 32 + 8 * room
        if flags & 1:
            yield from entries(f, struct.unpack_from("<Q", data, at + 8 * i)[0], size)
        else:
            yield bytes(data[at + size * i:at + size * (i + 1)])


def swap_count(data, old, new):
    for i in range(16, BS):
        for shift in (0, 2, 4, 6):
            if data[i] >> shift & 3 == old:
                data[i] = data[i] & ~(3 << shift) | new << shift
                return


def main(path):
    with open(path, "r+b") as f:
        superblock = read(f, 0)
        used = struct.unpack_from("<Q", superblock, 192 + 8)[0]
        for n, entry in enumerate(entries(f, struct.unpack_from("<Q", superblock, 64 + 16)[0], 16)):
            if n % BITMAPS:
                continue
            block = struct.unpack_from("<Q", entry)[0]
            data = read(f, block)
            if n % (2 * BITMAPS):
                swap_count(data, FREE, USED)
            else:
                swap_count(data, USED, FREE)
            struct.pack_into("<I", data, 0, csum(data, SALT["bitmap"]))
            write(f, block, data)
        for block in range(LEAVES, used, LEAVES):
            data = read(f, block)
            data[2000] ^= 0x55
            write(f, block, data)


main(sys.argv[1])
