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
  swap:WHERE:WHERE2          exchange the two blocks
  blocknr:WHERE:N            wrong block number in the header, checksum right
  set32|set64:WHERE:OFFSET:N set a field, checksum right
  badset64:WHERE:OFFSET:N    set a field, checksum left wrong
  swapkeys:WHERE:I:J         swap keys I and J of a node, checksum right
  setkey:WHERE:I:N           set key I of a node, checksum right
  setval:WHERE:I:N           set 64-bit value I of a node, checksum right; the first 64 bits
                             of a longer value, and 32 bits where values have no more
  field:WHERE:I:OFFSET:N     set a 32-bit field of value I of a node, checksum right
  nrentries:WHERE:N          set the number of entries, checksum right
  room:WHERE:N               give a node room for N entries, with the same contents
  insert:WHERE:KEY:N         new entry of a node, its value N as in setval, checksum right
  delete:WHERE:I             take entry I out of a node, checksum right
  node:WHERE:FLAGS:SIZE      new node without entries, values of SIZE bytes; FLAGS 1 internal, 2 leaf
  split:WHERE:I:PARENT:NEW   entries from I on go to the new node NEW, which PARENT leads to
  chain:WHERE:I:FIRST:N      N new internal nodes, in blocks from FIRST on, between entry I
                             of a node and its child; N is negative: the last leads to WHERE
  datacount:BLOCK:N          reference count 0..3 of a data block in its bitmap
  metacount:BLOCK:N          the same of a metadata block
  truncate:BLOCKS            cut the file after so many 4 KiB blocks
WHERE: block.N or one of the names that --map lists, such as superblock,
  map-leaf.K, map-node.K, top.K, details.K, data-bitmap.K, data-index.K,
  meta-index, meta-bitmap.K, ref-leaf.K; K may be negative (from the end).
  free.K is the K-th metadata block that is not in use.
A BLOCK of the form used.K means the K-th block in use (count > 0),
free.K the K-th with count 0; data blocks for datacount, metadata for metacount,
which takes the names of WHERE too.
Locations are those in the image before any damage; entries those of the
node as it is then, so what is new can be filled.
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
        self.seen = set()
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
        if (name, block) not in self.seen:
            self.seen.add((name, block))
            self.names.setdefault(name, []).append(block)
        self.type[block] = salt

    def tree(self, root, leaf, node, device=""):
        """Name all nodes below root, once more with the device if there is one; yield (key, raw value) of each
        entry, if there is none."""
        flags, n, mx, vs = (self.u32(root, o) for o in (4, 16, 20, 24))
        for suffix in {"", device}:
            self.add((node if flags & 1 else leaf) + suffix, root, "node")
        if device and not flags & 1:
            return
        for i in range(n):
            k = self.u64(root, 32 + 8 * i)
            o = root * BS + 32 + 8 * mx + vs * i
            v = bytes(self.d[o:o + vs])
            if flags & 1:
                yield from self.tree(struct.unpack("<Q", v)[0], leaf, node, device)
            else:
                yield k, v

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
        list(self.tree(ref, "ref-leaf", "ref-node"))

    def meta_sm(self, o=192):
        nr, _, bitmap, ref = struct.unpack_from("<4Q", self.d, o)
        self.add("meta-index", bitmap, "index")
        bs = []
        for i in range((nr + 16319) // 16320):
            b = self.u64(bitmap, 16 + 16 * i)
            self.add("meta-bitmap", b, "bitmap")
            bs.append(b)
        self.counts["meta"] = (nr, bs)
        list(self.tree(ref, "meta-ref-leaf", "meta-ref-node"))

    def walk_thin(self):
        self.disk_sm(64, "data")
        self.meta_sm()
        list(self.tree(self.u64(0, 328), "details", "details-node"))
        for k, v in self.tree(self.u64(0, 320), "top", "top-node"):
            list(self.tree(struct.unpack("<Q", v)[0], "map-leaf", "map-node", "-%d" % k))
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
        if name == "free":
            return self.pick("meta", where)
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
        if text.isdigit():
            return int(text)
        kind, _, k = text.partition(".")
        if kind not in ("used", "free"):
            return self.at(text)
        nr, _ = self.counts[which]
        hit = [b for b in range(nr) if (self.count(which, b)[2] > 0) == (kind == "used")]
        return hit[int(k)]


class Node:
    """A btree node of d, with its entries as (key, raw value)."""

    def __init__(self, d, block):
        self.d, self.base = d, block * BS
        self.nr, self.room, self.size = struct.unpack_from("<3I", d, self.base + 16)
        self.entries = [(struct.unpack_from("<Q", d, self.base + 32 + 8 * i)[0],
                         bytes(d[self.value(i):self.value(i) + self.size])) for i in range(self.nr)]

    def value(self, i):
        return self.base + 32 + 8 * self.room + self.size * i

    def pack(self, n):
        """N as the start of a value."""
        return struct.pack("<Q", n)[:self.size].ljust(self.size, b"\0")

    def save(self):
        self.d[self.base + 32:self.base + BS] = bytes(BS - 32)
        struct.pack_into("<2I", self.d, self.base + 16, len(self.entries), self.room)
        for i, (key, value) in enumerate(self.entries):
            struct.pack_into("<Q", self.d, self.base + 32 + 8 * i, key)
            self.d[self.value(i):self.value(i) + self.size] = value


def new_node(d, block, flags, size):
    d[block * BS:(block + 1) * BS] = bytes(BS)
    struct.pack_into("<IQ3I", d, block * BS + 4, flags, block, 0, (BS - 32) // (8 + size) // 3 * 3, size)
    return Node(d, block)


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
            nums = [int(x, 0) if x[0] in "-0123456789" else orig.at(x) for x in a[1:]]
            mx = orig.u32(b, 20)
            if verb == "flip":
                d[base + nums[0]] ^= nums[1]
            elif verb == "zero":
                d[base:base + BS] = bytes(BS)
            elif verb == "fill":
                d[base:base + BS] = bytes([nums[0]]) * BS
            elif verb == "copy":
                b2 = nums[0]
                note += " from block %d" % b2
                d[base:base + BS] = orig.d[b2 * BS:(b2 + 1) * BS]
            elif verb == "swap":
                b2 = nums[0] * BS
                note += " and block %d" % nums[0]
                d[base:base + BS], d[b2:b2 + BS] = d[b2:b2 + BS], d[base:base + BS]
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
                o = base + 32 + 8 * mx + vs * nums[0]
                n = min(vs, 8)
                d[o:o + n] = struct.pack("<Q", nums[1])[:n]; fix(b)
            elif verb == "field":
                struct.pack_into("<I", d, Node(d, b).value(nums[0]) + nums[1], nums[2]); fix(b)
            elif verb == "room":
                n = Node(d, b)
                n.room = nums[0]
                n.save(); fix(b)
            elif verb == "insert":
                n = Node(d, b)
                n.entries = sorted(n.entries + [(nums[0], n.pack(nums[1]))])
                n.save(); fix(b)
            elif verb == "delete":
                n = Node(d, b)
                del n.entries[nums[0]]
                n.save(); fix(b)
            elif verb == "node":
                orig.type[b] = "node"
                new_node(d, b, nums[0], nums[1]); fix(b)
            elif verb == "split":
                i, parent, new = nums
                note += ", entries from %d on to block %d, below block %d" % (i, new, parent)
                orig.type[new] = "node"
                n, p = Node(d, b), Node(d, parent)
                m = new_node(d, new, 2, n.size)
                n.entries, m.entries = n.entries[:i], n.entries[i:]
                p.entries = sorted(p.entries + [(m.entries[0][0], p.pack(new))])
                for node, block in ((n, b), (m, new), (p, parent)):
                    node.save(); fix(block)
            elif verb == "chain":
                i, first, nr = nums
                above = Node(d, b)
                key, child = above.entries[i]
                note += ", by block %d to block %d" % (first, first + abs(nr) - 1)
                above.entries[i] = (key, above.pack(first))
                above.save(); fix(b)
                for k in range(first, first + abs(nr)):
                    orig.type[k] = "node"
                    n = new_node(d, k, 1, 8)
                    last = child if nr > 0 else n.pack(b)
                    n.entries = [(key, n.pack(k + 1) if k + 1 < first + abs(nr) else last)]
                    n.save(); fix(k)
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
