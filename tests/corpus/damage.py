#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damage a copy of a thin, cache or era metadata image in a chosen place.

usage: damage.py IN OUT OP...        (the recipe, with block numbers, on stdout)
       damage.py --map IN            (list what each selector can name)

OP:
  flip:WHERE:OFFSET:MASK     xor one byte; checksums stay as they were
  zero:WHERE                 zero the block
  fill:WHERE:BYTE            fill the block with BYTE
  copy:WHERE:WHERE2          overwrite the first block with the second
  blocknr:WHERE:N            wrong block number in the header, checksum right
  set32|set64:WHERE:OFFSET:N set a field, checksum right
  badset64:WHERE:OFFSET:N    set a field, checksum left wrong
  swapkeys:WHERE:I:J         swap keys I and J of a node, checksum right
  setkey:WHERE:I:N           set key I of a node, checksum right
  setval:WHERE:I:N           set 64-bit value I of a node, checksum right
  nrentries:WHERE:N          set the number of entries, checksum right
  datacount:BLOCK:N          reference count 0..3 of a data block in its bitmap
  metacount:BLOCK:N          the same of a metadata block
  truncate:BLOCKS            cut the file after so many 4 KiB blocks
WHERE: block.N or one of the names that --map lists, such as superblock,
  map-leaf.K, map-node.K, top.K, details.K, data-bitmap.K, data-index.K,
  meta-index, meta-bitmap.K, ref-leaf.K; K may be negative (from the end).
A BLOCK of the form used.K means the K-th block in use (count > 0),
free.K the K-th with count 0; data blocks for datacount, metadata for metacount.
Locations are those in the image before any damage.
"""
import struct
import sys

BS = 4096
TABLE = []
for _i in range(256):
    _c = _i
    for _ in range(8):
        _c = (_c >> 1) ^ (0x82F63B78 if _c & 1 else 0)
    TABLE.append(_c)


def csum(block, salt):
    c = 0xFFFFFFFF
    for b in block[4:]:
        c = TABLE[(c ^ b) & 0xFF] ^ (c >> 8)
    return c ^ salt


SALT = {"node": 121107, "bitmap": 240779, "index": 160478, "array": 595846735,
        "thin": 160774, "cache": 9031977, "era": 146538381}
MAGIC = {27022010: "thin", 0o6142003: "cache", 2126579579: "era"}


class Image:
    def __init__(self, data):
        self.d = bytearray(data)
        self.names = {"superblock": []}
        self.type = {}
        self.counts = {}        # "data"/"meta" -> list of (bitmap block, entries)
        self.kind = MAGIC.get(self.u64(0, 32), "?")
        self.add("superblock", 0, self.kind)
        try:
            getattr(self, "walk_" + self.kind, lambda: None)()
        except (struct.error, IndexError, RecursionError) as e:
            print("note: the walk stopped:", e, file=sys.stderr)

    def u32(self, b, o): return struct.unpack_from("<I", self.d, b * BS + o)[0]
    def u64(self, b, o): return struct.unpack_from("<Q", self.d, b * BS + o)[0]

    def add(self, name, block, salt):
        if block not in self.names.setdefault(name, []):
            self.names[name].append(block)
        self.type[block] = salt

    def tree(self, root, leaf, node):
        """Name all nodes below root; yield (key, raw value) of each entry."""
        flags, n, mx, vs = (self.u32(root, o) for o in (4, 16, 20, 24))
        self.add(node if flags & 1 else leaf, root, "node")
        for i in range(n):
            k = self.u64(root, 32 + 8 * i)
            o = root * BS + 32 + 8 * mx + vs * i
            v = bytes(self.d[o:o + vs])
            if flags & 1:
                yield from self.tree(struct.unpack("<Q", v)[0], leaf, node)
            else:
                yield k, v

    def nodes(self, root, *names):
        """Name all nodes below root, for each pair of names of leaves and nodes. Does not look into leaves."""
        inner = self.u32(root, 4) & 1
        for leaf, node in names:
            self.add(node if inner else leaf, root, "node")
        values = 32 + 8 * self.u32(root, 20)
        for i in range(self.u32(root, 16) if inner else 0):
            self.nodes(self.u64(root, values + 8 * i), *names)

    def array(self, root, name):
        for k, v in self.tree(root, name + "-index", name + "-node"):
            self.add(name + "-block", struct.unpack("<Q", v)[0], "array")

    def disk_sm(self, o, name):
        nr, _, bitmap, ref = struct.unpack_from("<4Q", self.d, o)
        bs = []
        for k, v in self.tree(bitmap, name + "-index", name + "-index-node"):
            b = struct.unpack_from("<Q", v)[0]
            self.add(name + "-bitmap", b, "bitmap")
            bs.append(b)
        self.counts[name] = (nr, bs)
        self.nodes(ref, ("ref-leaf", "ref-node"))

    def meta_sm(self, o=192):
        nr, _, bitmap, ref = struct.unpack_from("<4Q", self.d, o)
        self.add("meta-index", bitmap, "index")
        bs = []
        for i in range((nr + 16319) // 16320):
            b = self.u64(bitmap, 16 + 16 * i)
            self.add("meta-bitmap", b, "bitmap")
            bs.append(b)
        self.counts["meta"] = (nr, bs)
        self.nodes(ref, ("meta-ref-leaf", "meta-ref-node"))

    def walk_thin(self):
        self.disk_sm(64, "data")
        self.meta_sm()
        self.nodes(self.u64(0, 328), ("details", "details-node"))
        for k, v in self.tree(self.u64(0, 320), "top", "top-node"):
            self.nodes(struct.unpack("<Q", v)[0], ("map-leaf", "map-node"), ("map-leaf-%d" % k, "map-node-%d" % k))
        if self.u64(0, 56):
            self.add("held", self.u64(0, 56), "thin")

    # cache: csum flags blocknr uuid[16] magic version policy[16] hint_size
    #        sm_root[128] at 64, then the roots
    def walk_cache(self):
        self.meta_sm(64)
        self.array(self.u64(0, 192), "mapping")
        for name, o in (("hint", 200), ("discard", 208), ("dirty", 284)):
            if self.u64(0, o) and (name != "dirty" or self.u32(0, 40) >= 2):
                self.array(self.u64(0, o), name)

    # era: csum flags blocknr uuid[16] magic version sm_root[128] data_block_size
    #      metadata_block_size nr_blocks current_era writeset{nr_bits root}
    #      writeset_tree era_array snap
    def walk_era(self):
        self.meta_sm(44)
        o = 44 + 128
        nb, cur = self.u32(0, o + 8), self.u32(0, o + 12)
        ws_root, ws_tree, era_array, snap = struct.unpack_from("<4Q", self.d, o + 20)
        if ws_root:
            self.array(ws_root, "writeset")
        for k, v in self.tree(ws_tree, "eras", "eras-node"):
            self.array(struct.unpack_from("<Q", v, 4)[0], "old-writeset")
        self.array(era_array, "era")
        if snap:
            self.add("held", snap, "era")

    def at(self, where):
        name, _, k = where.partition(".")
        if name == "block":
            return int(k)
        blocks = self.names.get(name)
        if not blocks:
            sys.exit("damage: no %s in this image" % where)
        return blocks[int(k or 0)]

    def count(self, which, b):
        nr, bs = self.counts[which]
        bm, e = bs[b // 16320], b % 16320
        w = self.u64(bm, 16 + e // 32 * 8)
        hi, lo = w >> (e % 32 * 2) & 1, w >> (e % 32 * 2 + 1) & 1
        return bm, e, hi * 2 + lo

    def pick(self, which, text):
        if "." not in text:
            return int(text)
        kind, k = text.split(".")
        nr, _ = self.counts[which]
        hit = [b for b in range(nr) if (self.count(which, b)[2] > 0) == (kind == "used")]
        return hit[int(k)]


def main(argv):
    if len(argv) == 2 and argv[0] == "--map":
        im = Image(open(argv[1], "rb").read())
        for n, b in sorted(im.names.items()):
            print("%-16s %4d  %s%s" % (n, len(b), " ".join(map(str, b[:12])), " ..." if len(b) > 12 else ""))
        return
    if len(argv) < 3:
        sys.exit(__doc__)
    src, dst, ops = argv[0], argv[1], argv[2:]
    orig = Image(open(src, "rb").read())
    d = bytearray(orig.d)
    cut = None

    def fix(b):
        t = orig.type.get(b)
        if t is None or t == "?":
            sys.exit("damage: block %d is of no known type, cannot set its checksum" % b)
        struct.pack_into("<I", d, b * BS, csum(d[b * BS:(b + 1) * BS], SALT[t]))

    for op in ops:
        verb, *a = op.split(":")
        note = ""
        if verb == "truncate":
            cut = int(a[0])
        elif verb in ("datacount", "metacount"):
            which = verb[:4]
            b = orig.pick(which, a[0])
            bm, e, was = orig.count(which, b)
            n = int(a[1])
            o = bm * BS + 16 + e // 32 * 8
            w = struct.unpack_from("<Q", d, o)[0]
            w &= ~(3 << (e % 32 * 2))
            w |= ((n >> 1 & 1) | (n & 1) << 1) << (e % 32 * 2)
            struct.pack_into("<Q", d, o, w)
            fix(bm)
            note = "%s block %d, bitmap at block %d, count %d -> %d" % (which, b, bm, was, n)
        else:
            b = orig.at(a[0])
            note = "block %d" % b
            base = b * BS
            nums = [int(x, 0) for x in a[1:]] if verb != "copy" else []
            mx = orig.u32(b, 20)
            if verb == "flip":
                d[base + nums[0]] ^= nums[1]
            elif verb == "zero":
                d[base:base + BS] = bytes(BS)
            elif verb == "fill":
                d[base:base + BS] = bytes([nums[0]]) * BS
            elif verb == "copy":
                b2 = orig.at(a[1])
                note += " from block %d" % b2
                d[base:base + BS] = orig.d[b2 * BS:(b2 + 1) * BS]
            elif verb == "blocknr":
                struct.pack_into("<Q", d, base + 8, nums[0]); fix(b)
            elif verb == "set32":
                struct.pack_into("<I", d, base + nums[0], nums[1]); fix(b)
            elif verb == "set64":
                struct.pack_into("<Q", d, base + nums[0], nums[1]); fix(b)
            elif verb == "badset64":
                struct.pack_into("<Q", d, base + nums[0], nums[1])
            elif verb == "swapkeys":
                i, j = (base + 32 + 8 * k for k in nums)
                d[i:i + 8], d[j:j + 8] = d[j:j + 8], d[i:i + 8]; fix(b)
            elif verb == "setkey":
                struct.pack_into("<Q", d, base + 32 + 8 * nums[0], nums[1]); fix(b)
            elif verb == "setval":
                vs = orig.u32(b, 24)
                struct.pack_into("<Q", d, base + 32 + 8 * mx + vs * nums[0], nums[1]); fix(b)
            elif verb == "nrentries":
                struct.pack_into("<I", d, base + 16, nums[0]); fix(b)
            else:
                sys.exit("damage: no such operation: " + op)
        print("%s%s" % (op, "   # " + note if note else ""))
    if cut is not None:
        del d[cut * BS:]
    with open(dst, "wb") as f:
        f.write(d)


if __name__ == "__main__":
    main(sys.argv[1:])
