#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damages a sound pool at random, has each copy repaired, and judges the result; see judge.py.

usage: random_damage.py [--seed=N] [--count=N] [--only=N] [--tool=PROGRAM] IMAGE

--only=N does case N alone, and leaves damaged, result and report.json behind. PROGRAM takes the place of bufio-repair.

Each case has 1 to 5 damages: bits, zeroes, another block's contents or zeroed sectors in a block of some kind; or a
reference count, with the checksum made right. Demanded is what judge.py demands, and that bufio-check finds nothing in the
result. Where nobody can know what belonged to what, as the superblock or both space maps are hit and so are nodes that lead
to others, or both trees of devices are, mappings may be missing: they are counted. But nothing may be invented, no loss may
be passed over with status 0, and the result has to be clean.

Prints what was wrong, and a line that sums up; status 1 if anything was.
"""
import collections
import json
import os
import random
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
from judge import BS, ENTRIES, SALT_BITMAP, Original, csum, judge, read_report  # noqa: E402

SALT_INDEX, SALT_NODE = 160478, 121107
# How often which kind of block is hit.
KINDS = {"leaf": 8, "node": 4, "root": 4, "top": 2, "details": 2, "data-bitmap": 2, "data-index": 1, "data-ref": 1,
         "meta-bitmap": 1, "meta-index": 1, "meta-ref": 1, "superblock": 1, "free": 3, "count": 2}
NODES = {"node", "root", "top"}
DATA_MAP, META_MAP = {"data-bitmap", "data-index", "data-count"}, {"meta-bitmap", "meta-index", "meta-count"}
# What a repair cannot say when it does not know what there was.
UNKNOWABLE = {"unsaid", "report", "unowned"}


class Damage:
    """One damaged copy of an image: its blocks that differ, and what was done."""

    def __init__(self, original, blocks, rng):
        self.original, self.rng = original, rng
        self.changed, self.said, self.hit = {}, [], set()
        self.counted = set()  # bitmaps with another count: no other damage, which might be undone by the checksum
        for _ in range(rng.randint(1, 5)):
            kind = rng.choices(list(blocks), [KINDS[kind] for kind in blocks])[0]
            if kind == "count":
                self.count(rng.choice(["data", "meta"]))
            else:
                self.block(kind, rng.choice([block for block in blocks[kind] if block not in self.counted] or blocks["free"]))

    def get(self, block):
        return self.changed.get(block) or bytearray(self.original.block(block))

    def block(self, kind, block):
        rng, data = self.rng, self.get(block)
        how = rng.choice(["flip", "flip", "zero", "overwrite", "sectors"])
        if how == "flip":
            for _ in range(rng.choice([1, 1, 2, 8])):
                data[rng.randrange(BS)] ^= 1 << rng.randrange(8)
        elif how == "zero":
            data[:] = bytes(BS)
        elif how == "overwrite":
            other = rng.randrange(len(self.original.data) // BS)
            data[:] = self.original.block(other)
            how += " with %d" % other
        else:
            first = rng.randrange(8)
            last = rng.choice([8, rng.randrange(first + 1, 9)])
            data[512 * first:512 * last] = bytes(512 * (last - first))
            how += " %d..%d" % (first, last)
        self.note(kind, block, data, how)

    def count(self, which):
        """Another reference count, under a sound checksum; the map of counts of 3 and more stays as it is."""
        rng, original = self.rng, self.original
        nr, bitmaps = (original.nr_data, original.bitmaps) if which == "data" else (original.nr_meta, original.meta_bitmaps)
        counted = rng.randrange(nr)
        block, at, shift = bitmaps[counted // ENTRIES], 16 + counted % ENTRIES // 4, 2 * (counted % 4)
        if block in self.changed and block not in self.counted:
            return
        self.counted.add(block)
        data = self.get(block)
        new = (data[at] >> shift & 3) ^ rng.randint(1, 3)
        data[at] = data[at] & ~(3 << shift) | new << shift
        struct.pack_into("<I", data, 0, csum(data, SALT_BITMAP))
        self.note(which + "-count", block, data, "of %d" % counted)

    def note(self, kind, block, data, how):
        self.changed[block] = data
        self.hit.add(kind)
        self.said.append("%s at %d: %s" % (kind, block, how))

    def is_unknowable(self):
        """Whether what belonged to what cannot be known."""
        is_blind = "superblock" in self.hit or (self.hit & DATA_MAP and self.hit & META_MAP)
        return bool(is_blind and self.hit & NODES) or {"top", "details"} <= self.hit


class Run:
    def __init__(self, path, seed, tool):
        with open(path, "rb") as f:
            self.original = Original(f.read())
        self.name, self.seed, self.tool = os.path.basename(path), seed, tool
        blocks = dict(self.original.blocks, superblock=[0], count=[0])
        owned = {block for listed in self.original.blocks.values() for block in listed} | {0}
        blocks["free"] = [block for block in range(len(self.original.data) // BS) if block not in owned]
        self.blocks = {kind: blocks[kind] for kind in KINDS if blocks.get(kind)}
        self.statuses, self.bad = collections.Counter(), 0
        self.cases = self.unknowable = self.intact_gone = self.with_intact_gone = self.unsaid = self.left_out = 0
        self.write("damaged", self.original.data)
        self.written = {}

    def write(self, path, data):
        with open(path, "wb") as f:
            f.write(data)

    def damage(self, nr):
        """Makes the file "damaged" from what it was for the last case."""
        damage = Damage(self.original, self.blocks, random.Random("%s %d %d" % (self.name, self.seed, nr)))
        with open("damaged", "r+b") as f:
            for block in self.written.keys() | damage.changed.keys():
                f.seek(block * BS)
                f.write(damage.changed.get(block) or self.original.block(block))
        self.written = damage.changed
        return damage

    def repair(self, damage):
        """Status, report, and result."""
        self.write("result", b"")
        os.truncate("result", len(self.original.data))
        options = ["--data-block-size=%d" % self.original.data_block_size] if 0 in damage.changed else []
        with open("report.json", "wb") as out, open("said", "wb") as err:
            try:
                status = subprocess.run([self.tool, "--json", *options, "-i", "damaged", "-o", "result"],
                                        stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=120).returncode
            except subprocess.TimeoutExpired:
                status = "hangs"
        return status

    def faults(self, damage, status):
        self.statuses[status] += 1
        is_unknowable = damage.is_unknowable()
        self.unknowable += is_unknowable
        if status in (3, 10) and is_unknowable:  # refuses
            return []
        if status not in (0, 9):
            with open("said", errors="replace") as f:
                return [("status", "ends with %s: %s" % (status, f.read().strip()[:300]))]
        try:
            with open("report.json") as f:
                report = read_report(f.read())
        except ValueError as error:
            return [("report", "no JSON: %s" % error)]
        damaged = bytearray(self.original.data)
        for block, data in damage.changed.items():
            damaged[block * BS:(block + 1) * BS] = data
        with open("result", "rb") as f:
            faults, summary = judge(self.original, bytes(damaged), f.read(), report, status, count_intact=is_unknowable)
        lost = summary.get("gone_from_intact_leaves", 0)
        self.left_out += any(demand == "left-out" for demand, _ in faults)
        faults = [fault for fault in faults if fault[0] != "left-out"]  # named, and nothing told whose they are
        self.intact_gone += lost
        self.with_intact_gone += lost > 0
        if is_unknowable:
            self.unsaid += any(demand in UNKNOWABLE for demand, _ in faults)
            faults = [fault for fault in faults if fault[0] not in UNKNOWABLE]
        checked = subprocess.run(["bufio-check", "result"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, timeout=120)
        if checked.returncode:
            faults.append(("check", "bufio-check ends with %d: %s" % (
                checked.returncode, checked.stdout.decode(errors="replace").strip()[:300])))
        return faults

    def case(self, nr):
        self.cases += 1
        damage = self.damage(nr)
        faults = self.faults(damage, self.repair(damage))
        if faults:
            self.bad += 1
            print("%s seed %d case %d%s: %s" % (self.name, self.seed, nr, ", unknowable" if damage.is_unknowable() else "",
                                                "; ".join(damage.said)))
            for demand, sentence in faults:
                print("\t%s: %s" % (demand, sentence))

    def sum_up(self):
        statuses = ", ".join("%d with status %s" % (n, status) for status, n in sorted(self.statuses.items(), key=str))
        print("%s: %d cases, %d bad: %s; in %d of them nobody can know all: %d say less than is lost, and %d cases lose %d "
              "mappings of intact leaves; %d leave out what may be of several devices" % (
                  self.name, self.cases, self.bad, statuses, self.unknowable, self.unsaid, self.with_intact_gone,
                  self.intact_gone, self.left_out))


def main(argv):
    options = dict(a[2:].split("=", 1) for a in argv if a.startswith("--"))
    words = [a for a in argv if not a.startswith("--")]
    if len(words) != 1 or options.keys() - {"seed", "count", "only", "tool"}:
        sys.exit(__doc__)
    run = Run(words[0], int(options.get("seed", 1)), options.get("tool", "bufio-repair"))
    only = int(options.get("only", 0))
    for nr in [only] if only else range(1, int(options.get("count", 20)) + 1):
        run.case(nr)
    run.sum_up()
    return 1 if run.bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
