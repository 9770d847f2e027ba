#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Judges what a repair made of a damaged thin pool, beside the pool as it was before. No tool of ours says the truth here.

usage: judge.py [OPTION...] ORIGINAL DAMAGED RESULT REPORT STATUS   REPORT: what --json said; STATUS: how the repair ended
       judge.py --kept ORIGINAL DAMAGED     how many mappings stand in leaves that are as they were
       judge.py --self-test ORIGINAL        plants faults, each of which must be seen

  --count-intact      what belonged to what cannot be known: devices and mappings of intact leaves may be missing, and are
                      counted; the repair may say that more is lost than it can name
  --stale=use         the repair was asked to use what is stale
  --names=STATE:DEV:KEY   a loss in this state must name that virtual block; repeatable

Prints a sentence for each fault, and a summary as JSON; status 1 if there is any fault.
"""
import bisect
import collections
import copy
import json
import struct
import sys

BS = 4096
ENTRIES = 16320  # of a bitmap
END = 2 ** 64 - 1  # as reports say "to the end"
SALT_BITMAP = 240779
MAX_TIME = 2 ** 24 - 1
OFFERED = ("stale", "ambiguous")

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


class Malformed(Exception):
    pass


class Details:
    def __init__(self, value):
        self.mapped, self.transaction, self.created, self.snapshotted = struct.unpack("<QQII", value)


class Leaf:
    """A leaf of mapping trees: its entries, and the devices that have it."""

    def __init__(self, block, keys, values):
        self.block, self.keys, self.values, self.devices = block, keys, values, []


class Pool:
    """All that the superblock of a sound image leads to. Checksums are not looked at."""

    def __init__(self, data, with_space_maps=False):
        self.data = data
        self.flags, = struct.unpack_from("<I", data, 4)
        self.magic, self.version, self.time, self.transaction, self.held = struct.unpack_from("<QIIQQ", data, 32)
        self.top_root, self.details_root = struct.unpack_from("<QQ", data, 320)
        self.data_block_size, = struct.unpack_from("<I", data, 336)
        self.nr_data, _, self.index_root, self.ref_root = struct.unpack_from("<4Q", data, 64)
        self.nr_meta, _, self.meta_index, self.meta_ref_root = struct.unpack_from("<4Q", data, 192)
        self.blocks = {}  # what blocks are -> list of them, in the order of their keys
        self.leaves = {}  # block -> Leaf
        self.devices = {}  # device -> {virtual block: value}, in order
        self.starts = {}  # device -> first keys of its leaves, and those leaves' blocks
        self.details = {}  # device -> Details
        if self.magic != 27022010:
            raise Malformed("no superblock of a thin pool")
        try:
            self.walk()
            if with_space_maps:
                self.walk_space_maps()
        except struct.error as error:
            raise Malformed("a pointer leads nowhere: %s" % error)

    def walk(self):
        for device, root in self.tree(self.top_root, "top", "top"):
            self.add_device(device, root)
        for device, value in self.tree(self.details_root, "details", "details", 24):
            self.details[device] = Details(value)
        self.mappings = sum(map(len, self.devices.values()))

    def walk_space_maps(self):
        self.bitmaps = [struct.unpack_from("<Q", value)[0]
                        for _, value in self.tree(self.index_root, "data-index", "data-index", 16)]
        self.blocks["data-bitmap"] = self.bitmaps
        for _ in self.tree(self.ref_root, "data-ref", "data-ref", 4):
            pass
        for _ in self.tree(self.meta_ref_root, "meta-ref", "meta-ref", 4):
            pass
        self.blocks["meta-index"] = [self.meta_index]
        self.meta_bitmaps = [struct.unpack_from("<Q", self.data, self.meta_index * BS + 16 + 16 * i)[0]
                             for i in range(-(-self.nr_meta // ENTRIES))]
        self.blocks["meta-bitmap"] = self.meta_bitmaps

    def node(self, block, size):
        """Whether it is internal, the keys, and where the values are."""
        flags, _, nr, room, found = struct.unpack_from("<IQIII", self.data, block * BS + 4)
        if flags not in (1, 2) or nr > room or 32 + (8 + found) * room > BS or found != (8 if flags == 1 else size):
            raise Malformed("block %d is no node with values of %d bytes" % (block, size))
        return flags == 1, struct.unpack_from("<%dQ" % nr, self.data, block * BS + 32), block * BS + 32 + 8 * room

    def tree(self, root, leaf, node, size=8):
        """Each entry below root; nodes are listed under what they are."""
        is_internal, keys, at = self.node(root, size)
        listed = self.blocks.setdefault(node if is_internal else leaf, [])
        if root not in listed:
            listed.append(root)
        if is_internal:
            for child in struct.unpack_from("<%dQ" % len(keys), self.data, at):
                yield from self.tree(child, leaf, node, size)
        elif size == 8:
            yield from zip(keys, struct.unpack_from("<%dQ" % len(keys), self.data, at))
        else:
            for i, key in enumerate(keys):
                yield key, bytes(self.data[at + size * i:at + size * (i + 1)])

    def add_device(self, device, root):
        mappings, starts = {}, ([], [])
        for block in self.leaf_blocks(root, True):
            leaf = self.leaves.get(block)
            if leaf is None:
                _, keys, at = self.node(block, 8)
                leaf = Leaf(block, keys, struct.unpack_from("<%dQ" % len(keys), self.data, at))
                self.blocks.setdefault("leaf", []).append(block)
                self.leaves[block] = leaf
            leaf.devices.append(device)
            mappings.update(zip(leaf.keys, leaf.values))
            if leaf.keys:
                starts[0].append(leaf.keys[0])
                starts[1].append(block)
        if len(mappings) != sum(len(self.leaves[block].keys) for block in starts[1]):
            raise Malformed("device %d has a virtual block twice" % device)
        self.devices[device], self.starts[device] = mappings, starts

    def leaf_blocks(self, root, is_root):
        is_internal, keys, at = self.node(root, 8)
        if not is_internal:
            if is_root:
                self.blocks.setdefault("root", []).append(root)
            yield root
            return
        kind = self.blocks.setdefault("root" if is_root else "node", [])
        if root not in kind:
            kind.append(root)
        for child in struct.unpack_from("<%dQ" % len(keys), self.data, at):
            yield from self.leaf_blocks(child, False)

    def leaf_of(self, device, key):
        keys, blocks = self.starts[device]
        return blocks[bisect.bisect_right(keys, key) - 1]


def used(bitmap, first, nr):
    """Data blocks of a bitmap with a count that is not 0."""
    found = set()
    for i in range(-(-min(nr - first, ENTRIES) // 4)):
        byte = bitmap[16 + i]
        if byte:
            found.update(first + 4 * i + k for k in range(4) if byte >> 2 * k & 3)
    return {block for block in found if block < nr}


class Original(Pool):
    """What many repairs are judged beside."""

    def __init__(self, data):
        super().__init__(data, True)
        self.mapped_data = collections.Counter()  # data block -> how many virtual blocks have it
        for leaf in self.leaves.values():
            for value in leaf.values:
                self.mapped_data[value >> 24] += len(leaf.devices)
        self.used_data = [used(self.block(b), i * ENTRIES, self.nr_data) for i, b in enumerate(self.bitmaps)]

    def block(self, block):
        return self.data[block * BS:(block + 1) * BS]

    def is_intact(self, damaged, block):
        return self.block(block) == damaged[block * BS:(block + 1) * BS]

    def intact_mappings(self, damaged):
        return sum(len(leaf.keys) * len(leaf.devices) for leaf in self.leaves.values()
                   if self.is_intact(damaged, leaf.block))

    def is_space_map_intact(self, damaged):
        """Of the data."""
        return all(self.is_intact(damaged, block)
                   for kind in ("data-index", "data-bitmap", "data-ref") for block in self.blocks[kind] + [0])

    def used_bounds(self, damaged):
        """Data blocks that the damaged image surely says are in use, and all that it may say so of."""
        sure, maybe = set(), set()
        is_known = self.is_intact(damaged, 0) and all(self.is_intact(damaged, b) for b in self.blocks["data-index"])
        for i, block in enumerate(self.bitmaps):
            found = self.used_data[i]
            is_sound = True
            if not self.is_intact(damaged, block):
                bitmap = damaged[block * BS:(block + 1) * BS]
                is_sound = len(bitmap) == BS and struct.unpack_from("<Q", bitmap, 8)[0] == block and \
                    struct.unpack_from("<I", bitmap)[0] == csum(bitmap, SALT_BITMAP)
                if is_sound:
                    found = used(bitmap, i * ENTRIES, self.nr_data)
            if is_sound and is_known:
                sure |= found
            maybe |= found
        return sure, maybe


def read_report(text):
    """A range without an end goes on for ever."""
    report = json.loads(text)
    for loss in report.get("losses", []):
        loss["end"] = END if loss["end"] is None else loss["end"]
    return report


class Ranges:
    """Ranges of virtual blocks, per device. Nobody knows whose those of no device are: they may be anyone's."""

    def __init__(self, losses, states):
        self.of = {}
        for loss in losses:
            if loss["state"] in states:
                end = 2 ** 64 if loss["end"] == END else loss["end"]
                self.of.setdefault(loss["dev_id"], []).append((loss["begin"], end))
        for device, ranges in self.of.items():
            merged = []
            for begin, end in sorted(ranges):
                if merged and begin <= merged[-1][1]:
                    merged[-1][1] = max(end, merged[-1][1])
                else:
                    merged.append([begin, end])
            self.of[device] = merged

    def has(self, device, key, is_anyones=False):
        for which in (device, None) if is_anyones else (device,):
            ranges = self.of.get(which, ())
            i = bisect.bisect_right(ranges, [key, 2 ** 65]) - 1
            if i >= 0 and key < ranges[i][1]:
                return True
        return False


def some(places):
    """A few places, in words."""
    places = sorted(places)
    return ", ".join("device %d block %d" % place[:2] for place in places[:3]) + \
        (" and %d more" % (len(places) - 3) if len(places) > 3 else "")


class Judge:
    """Faults are (demand, sentence)."""

    def __init__(self, original, damaged, result, report, status, count_intact=False, stale_used=False, names=()):
        self.original, self.damaged, self.result, self.report, self.status = original, damaged, result, report, status
        self.stale_used, self.count_intact = stale_used, count_intact
        self.faults, self.notes = [], []
        losses = report["losses"]
        self.any = Ranges(losses, ("lost",) + OFFERED)
        self.offered = Ranges(losses, OFFERED)
        self.gone, self.changed, self.extra, self.retimed = [], [], [], {}
        for device in sorted(original.devices.keys() | result.devices.keys()):
            self.compare(device)
        self.intact_gone = [(d, k) for d, k in self.gone + self.changed
                            if original.is_intact(damaged, original.leaf_of(d, k))]
        self.kept = original.mappings - len(self.gone) - len(self.changed)

        if not self.count_intact:
            self.judge_intact()
        self.judge_places()
        self.judge_losses(losses, names)
        self.judge_status(losses)
        self.judge_devices()
        self.judge_sharing()
        self.judge_superblock()
        self.judge_report()
        self.judge_unowned()

    def fault(self, demand, sentence):
        self.faults.append((demand, sentence))

    def is_equal(self, what, found, expected):
        if found != expected:
            self.fault("report", "%s is %s, and should be %s" % (what, found, expected))

    def compare(self, device):
        want, have = self.original.devices.get(device, {}), self.result.devices.get(device, {})
        if want == have:
            return
        for key, value in want.items():
            found = have.get(key)
            if found == value:
                continue
            if found is None:
                self.gone.append((device, key))
            elif found >> 24 != value >> 24:
                self.changed.append((device, key))
            else:
                self.retimed.setdefault(device, []).append(key)
        self.extra += [(device, key) for key in have.keys() - want.keys()]

    def judge_intact(self):
        """All that stands in intact leaves is there. Being named is no excuse, but another fault."""
        offered = [place for place in self.intact_gone if self.offered.has(*place, is_anyones=True)]
        missing = sorted(set(self.intact_gone) - set(offered))
        if missing:
            self.fault("intact", "%d mappings of intact leaves are missing: %s" % (len(missing), some(missing)))
        if offered:
            self.fault("left-out", "%d mappings of intact leaves are left out, and offered: %s" %
                       (len(offered), some(offered)))

    def judge_places(self):
        """Nothing that the original never had at that place, but where the report says so."""
        wrong = [place for place in self.changed + self.extra if not self.offered.has(*place)]
        if wrong:
            self.fault("wrong", "%d mappings that were never there: %s" % (len(wrong), some(wrong)))
        new = self.changed + self.extra + [(device, key) for device, keys in self.retimed.items() for key in keys]
        if self.result.time < self.original.time:
            new = [(device, key) for device, mappings in self.result.devices.items() for key in mappings]
        late = [(device, key) for device, key in new if self.result.devices[device][key] & MAX_TIME > self.result.time]
        if late:
            self.fault("time", "%d mappings are later than the pool: %s" % (len(late), some(late)))
        if self.retimed:
            self.notes.append("%d mappings have another time" % sum(map(len, self.retimed.values())))

    def judge_losses(self, losses, names):
        """The ranges of the report are the difference."""
        unsaid = [place for place in self.gone + self.changed if not self.any.has(*place, is_anyones=True)]
        if self.count_intact and self.report["mappings_lost"] is None:
            unsaid = [place for place in unsaid if place[0] in self.result.devices]
        if unsaid:
            self.fault("unsaid", "%d mappings are gone and lie in no range of the report: %s" % (len(unsaid), some(unsaid)))
        empty = ("lost",) if self.stale_used else ("lost", "stale")
        for loss in losses:
            if not (loss["state"] in ("lost",) + OFFERED and 0 <= loss["begin"] < loss["end"] <= END):
                self.fault("report", "a loss is no range: %s" % loss)
        there = Ranges(losses, empty)
        kept = []
        for device, mappings in self.result.devices.items():
            keys = list(mappings)
            for begin, end in there.of.get(device, []):
                kept += [(device, key) for key in keys[bisect.bisect_left(keys, begin):bisect.bisect_left(keys, end)]]
        if kept:
            self.fault("kept", "%d mappings are there, and the report says they are not: %s" % (len(kept), some(kept)))
        self.judge_loss_counts(losses)
        for state, device, key in names:
            if not Ranges(losses, (state,)).has(device, key):
                self.fault("names", "device %d block %d is not named %s" % (device, key, state))

    def judge_loss_counts(self, losses):
        gone = {}
        for device, key in sorted(self.gone):
            gone.setdefault(device, []).append(key)
        for loss in losses:
            if loss["state"] == "lost" and loss["mappings"] is not None and loss["dev_id"] is not None:
                keys = gone.get(loss["dev_id"], [])
                nr = bisect.bisect_left(keys, loss["end"]) - bisect.bisect_left(keys, loss["begin"])
                self.is_equal("device %d, %d..%d: mappings of the loss" % (loss["dev_id"], loss["begin"], loss["end"]),
                              loss["mappings"], nr)
        if self.report["mappings_lost"] is not None:
            self.is_equal("mappings_lost", self.report["mappings_lost"], len(self.gone))
        # Of a device with older mappings nobody knows how many are lost.
        used = {loss["dev_id"] for loss in losses if loss["state"] == "stale"} if self.stale_used else set()
        # Nor of one that is not proved to be the last version.
        used |= {loss["dev_id"] for loss in losses if loss["state"] == "ambiguous"}
        are_details_intact = all(self.original.is_intact(self.damaged, b) for b in self.original.blocks["details"])
        for device in self.report["device_list"]:
            what = "device %d: mappings_lost" % device["dev_id"]
            if device["mappings_lost"] is not None:
                self.is_equal(what, device["mappings_lost"], len(gone.get(device["dev_id"], [])))
            elif are_details_intact and device["details"] == "kept" and device["dev_id"] not in used:
                self.fault("report", what + " is null, though its details say it")

    def judge_status(self, losses):
        is_less = bool(self.gone or self.changed)
        if self.status not in (0, 9):
            self.fault("status", "status %d is no repair's" % self.status)
        elif self.status == 0 and (is_less or losses):
            self.fault("status", "status 0, but %s" % ("mappings are missing" if is_less else "the report names losses"))
        elif self.status == 9 and not is_less and not losses and \
                not (self.count_intact or self.report["mappings_lost"] is None):
            self.fault("status", "status 9, but nothing is missing")
        verdict = "complete" if self.status == 0 else "lost"
        if self.report["verdict"] != verdict:
            self.fault("status", "the verdict is %s, with status %d" % (self.report["verdict"], self.status))

    def judge_devices(self):
        lacks = sorted(self.original.devices.keys() - self.result.devices.keys())
        if lacks and not self.count_intact:
            self.fault("devices", "devices are missing: %s" % lacks[:10])
        never = sorted(self.result.devices.keys() - self.original.devices.keys())
        if never:
            self.fault("devices", "devices that never were: %s" % never[:10])
        if self.result.details.keys() != self.result.devices.keys():
            self.fault("devices", "the two trees of the result have different devices")
        for device, details in self.result.details.items():
            if details.mapped != len(self.result.devices.get(device, ())):
                self.fault("devices", "device %d: mapped_blocks is %d, and it has %d mappings" %
                           (device, details.mapped, len(self.result.devices.get(device, ()))))

    def judge_sharing(self):
        """What a write had to copy has to be copied still."""
        unsafe = []
        for device, details in self.original.details.items():
            found = self.result.details.get(device)
            if found is None or (found.snapshotted >= details.snapshotted and device not in self.retimed):
                continue
            have = self.result.devices.get(device, {})
            for key, value in self.original.devices[device].items():
                new = have.get(key)
                if new is not None and new >> 24 == value >> 24 and \
                        details.snapshotted > value & MAX_TIME and found.snapshotted <= new & MAX_TIME:
                    unsafe.append((device, key))
        if unsafe:
            self.fault("sharing", "%d mappings were shared, and would be written in place now: %s" %
                       (len(unsafe), some(unsafe)))
        self.note_doubles()

    def note_doubles(self):
        if not (self.changed or self.extra):
            return
        owners = {}
        for device, mappings in self.result.devices.items():
            for key, value in mappings.items():
                owners.setdefault(value >> 24, []).append((device, key, value & MAX_TIME))
        new = {self.result.devices[d][k] >> 24 for d, k in self.changed + self.extra}
        for data in sorted(new):
            for device, key, time in owners[data] if len(owners[data]) > 1 else ():
                if self.result.details[device].snapshotted <= time:
                    self.notes.append("data block %d is mapped twice, and device %d writes to it in place" % (data, device))

    def judge_superblock(self):
        original, result = self.original, self.result
        if result.flags & 1:
            self.fault("superblock", "needs_check is set")
        if result.time < original.time:
            self.fault("superblock", "the time is %d, and was %d" % (result.time, original.time))
        if result.held:
            self.fault("superblock", "there is a metadata snapshot")
        if result.data_block_size != original.data_block_size:
            self.fault("superblock", "data blocks have %d sectors, and had %d" %
                       (result.data_block_size, original.data_block_size))
        if original.is_intact(self.damaged, 0):
            for what in ("transaction", "nr_data"):
                if getattr(result, what) != getattr(original, what):
                    self.fault("superblock", "%s is %d, and was %d" % (what, getattr(result, what), getattr(original, what)))

    def judge_report(self):
        report, result = self.report, self.result
        self.is_equal("schema", report["schema"], "bufio.repair/1")
        self.is_equal("devices", report["devices"], len(result.devices))
        self.is_equal("mappings", report["mappings"], result.mappings)
        self.is_equal("transaction", report["transaction"], result.transaction)
        self.is_equal("time", report["time"], result.time)
        if not self.stale_used:
            self.is_equal("mappings_stale", report["mappings_stale"], 0)
        listed = {device["dev_id"]: device["mappings"] for device in report["device_list"] if device["source"] != "lost"
                  or device["dev_id"] in result.devices}
        self.is_equal("device_list", listed, {device: len(mappings) for device, mappings in result.devices.items()})

    def judge_unowned(self):
        nr, ranges = self.report["unowned_data_blocks"], self.report["unowned"]
        if nr is None:
            if self.original.is_space_map_intact(self.damaged):
                self.fault("unowned", "unowned_data_blocks is null, though the space map is sound")
            return
        sure, maybe = self.original.used_bounds(self.damaged)
        self.is_equal("unowned_data_blocks", nr, sum(r["end"] - r["begin"] for r in ranges))
        said = {block for r in ranges for block in range(r["begin"], r["end"])}
        mapped = self.mapped_data()
        if sure - mapped - said:
            self.fault("unowned", "%d data blocks are in use by nobody, and not named: %s" %
                       (len(sure - mapped - said), sorted(sure - mapped - said)[:3]))
        if said - (maybe - mapped):
            self.fault("unowned", "%d data blocks are named unowned, and are not: %s" %
                       (len(said - (maybe - mapped)), sorted(said - (maybe - mapped))[:3]))

    def mapped_data(self):
        """Data blocks that the result maps."""
        mapped = set(self.original.mapped_data)
        less = collections.Counter(self.original.devices[d][k] >> 24 for d, k in self.gone + self.changed)
        mapped -= {data for data, nr in less.items() if nr == self.original.mapped_data[data]}
        return mapped | {self.result.devices[d][k] >> 24 for d, k in self.changed + self.extra}

    def summary(self):
        return {"faults": len(self.faults), "status": self.status, "kept": self.kept, "gone": len(self.gone),
                "changed": len(self.changed), "extra": len(self.extra), "gone_from_intact_leaves": len(self.intact_gone),
                "losses": len(self.report["losses"]), "notes": self.notes}


def judge(original, damaged, result, report, status, **options):
    """(faults, summary). RESULT is bytes."""
    try:
        pool = Pool(result)
    except Malformed as error:
        return [("malformed", "the result cannot be read: %s" % error)], {"status": status, "kept": 0}
    try:
        verdict = Judge(original, damaged, pool, report, status, **options)
    except (KeyError, TypeError) as error:
        return [("report", "the report lacks something: %r" % error)], {"status": status, "kept": 0}
    return verdict.faults, verdict.summary()


# --- the judge, judged ---

class Copy:
    """A pool that is changed in place, as no repair should."""

    def __init__(self, original):
        self.original, self.data = original, bytearray(original.data)

    def entries(self, block, size=8):
        nr, room = struct.unpack_from("<2I", self.data, block * BS + 16)
        at = block * BS + 32
        return [(struct.unpack_from("<Q", self.data, at + 8 * i)[0],
                 bytes(self.data[at + 8 * room + size * i:at + 8 * room + size * (i + 1)])) for i in range(nr)]

    def set_entries(self, block, entries, size=8):
        room, = struct.unpack_from("<I", self.data, block * BS + 20)
        struct.pack_into("<I", self.data, block * BS + 16, len(entries))
        for i, (key, value) in enumerate(entries):
            at = block * BS + 32
            struct.pack_into("<Q", self.data, at + 8 * i, key)
            self.data[at + 8 * room + size * i:at + 8 * room + size * (i + 1)] = value

    def change(self, block, index, value):
        """Entry INDEX of a leaf becomes VALUE, or goes."""
        entries = self.entries(block)
        entries[index:index + 1] = [] if value is None else [(entries[index][0], struct.pack("<Q", value))]
        self.set_entries(block, entries)

    def set_details(self, device, **fields):
        block, = self.original.blocks["details"]
        entries = self.entries(block, 24)
        for i, (key, value) in enumerate(entries):
            if key == device:
                details = Details(value)
                details.__dict__.update(fields)
                entries[i] = key, struct.pack("<QQII", details.mapped, details.transaction, details.created,
                                              details.snapshotted)
        self.set_entries(block, entries, 24)

    def set32(self, at, value):
        struct.pack_into("<I", self.data, at, value)


class Case:
    """A leaf is dead, all else is there, and the report says so: nothing to complain of. Then it is spoilt."""

    def __init__(self, original, dead):
        self.original = original
        damaged = bytearray(original.data)
        damaged[dead.block * BS + 1000] ^= 1
        self.damaged, self.copy, self.status = bytes(damaged), Copy(original), 9
        self.copy.set_entries(dead.block, [])
        for device in dead.devices:
            self.copy.set_details(device, mapped=original.details[device].mapped - len(dead.keys))
        self.copy.set32(4, 0)
        unowned = sorted({value >> 24 for value in dead.values} - {
            value >> 24 for leaf in original.leaves.values() if leaf is not dead for value in leaf.values})
        unowned += sorted(set().union(*original.used_data) - original.mapped_data.keys())
        lost = len(dead.keys) * len(dead.devices)
        self.report = {
            "schema": "bufio.repair/1", "verdict": "lost", "transaction": original.transaction, "time": original.time,
            "devices": len(original.devices), "mappings": original.mappings - lost, "mappings_lost": lost,
            "mappings_stale": 0, "unowned_data_blocks": len(unowned),
            "unowned": [{"begin": block, "end": block + 1} for block in unowned],
            "device_list": [
                {"dev_id": device, "details": "kept", "source": "current",
                 "mappings": len(mappings) - (len(dead.keys) if device in dead.devices else 0),
                 "mappings_lost": len(dead.keys) if device in dead.devices else 0}
                for device, mappings in original.devices.items()],
            "losses": [{"dev_id": device, "begin": dead.keys[0], "end": dead.keys[-1] + 1, "state": "lost",
                        "mappings": len(dead.keys)} for device in dead.devices]}

    def faults(self, **options):
        return {demand for demand, _ in judge(self.original, self.damaged, bytes(self.copy.data), self.report, self.status,
                                              **options)[0]}


def lost_superblock(case):
    case.damaged = bytes(BS) + case.damaged[BS:]


def planted(original, dead, other):
    """(sentence, demand, how to spoil a case, options of the judge)"""
    device, key = other.devices[0], other.keys[3]
    free = max(original.mapped_data) + 1

    def loss(case, state, begin, end):
        case.report["losses"].append({"dev_id": device, "begin": begin, "end": end, "state": state, "mappings": None})

    def wrong_place(case):
        entries = case.copy.entries(dead.block)
        case.copy.set_entries(dead.block, [(dead.keys[0], struct.pack("<Q", free << 24))] + entries)

    def named(case, what, value):
        case.report[what] = value

    def complete(case):
        case.status, case.report["verdict"] = 0, "complete"

    def nothing_lost(case):
        case.copy, case.report = Copy(original), copy.deepcopy(case.report)
        case.report["losses"] = []

    top, = original.blocks["top"]
    return [
        ("a mapping of an intact leaf is dropped", "intact", lambda c: c.copy.change(other.block, 3, None), {}),
        ("a mapping of an intact leaf is left out", "left-out", lambda c: (
            c.copy.change(other.block, 3, None), loss(c, "ambiguous", key, key + 1)), {}),
        ("a mapping that nobody reports is dropped", "unsaid", lambda c: c.copy.change(other.block, 3, None),
         {"count_intact": True}),
        ("a mapping leads elsewhere", "wrong", lambda c: c.copy.change(other.block, 3, free << 24), {}),
        ("a mapping is invented", "wrong", wrong_place, {}),
        ("a mapping is later than the pool", "time",
         lambda c: c.copy.change(other.block, 3, other.values[3] | MAX_TIME), {}),
        ("a loss is not reported", "unsaid", lambda c: c.report["losses"].pop(), {}),
        ("a loss ends too early", "unsaid",
         lambda c: c.report["losses"][0].update(end=dead.keys[-1], mappings=None), {}),
        ("a loss begins too late", "unsaid",
         lambda c: c.report["losses"][0].update(begin=dead.keys[0] + 1, mappings=None), {}),
        ("a loss is another device's", "unsaid",
         lambda c: c.report["losses"][0].update(dev_id=10 ** 6, mappings=None), {}),
        ("what is there is said to be lost", "kept", lambda c: loss(c, "lost", key, key + 1), {}),
        ("what is there is said to be stale and left out", "kept", lambda c: loss(c, "stale", key, END), {}),
        ("a loss has no blocks", "report", lambda c: loss(c, "lost", key, key), {}),
        ("a loss has a wrong number of mappings", "report", lambda c: c.report["losses"][0].update(mappings=1), {}),
        ("a place is not named", "names", lambda c: loss(c, "ambiguous", key, key + 1),
         {"names": [("ambiguous", device, key + 1)]}),
        ("mappings_lost is one too many", "report",
         lambda c: named(c, "mappings_lost", c.report["mappings_lost"] + 1), {}),
        ("a device's mappings_lost is wrong", "report",
         lambda c: c.report["device_list"][0].update(mappings_lost=10 ** 6), {}),
        ("a device's mappings_lost is not said", "report",
         lambda c: c.report["device_list"][0].update(mappings_lost=None), {}),
        ("status 0 on a loss", "status", complete, {}),
        ("a verdict that the status does not say", "status", lambda c: named(c, "verdict", "complete"), {}),
        ("status 9 where nothing is lost", "status", nothing_lost, {}),
        ("a mapping leads elsewhere, in a range of nobody knows which device", "wrong", lambda c: (
            c.copy.change(other.block, 3, free << 24), loss(c, "ambiguous", key, key + 1),
            c.report["losses"][-1].update(dev_id=None)), {}),
        ("a device is missing, and nobody says that more may be lost", "unsaid",
         lambda c: c.copy.set_entries(top, c.copy.entries(top)[1:]), {"count_intact": True}),
        ("another status", "status", lambda c: setattr(c, "status", 5), {}),
        ("a device is missing", "devices", lambda c: c.copy.set_entries(top, c.copy.entries(top)[1:]), {}),
        ("a device that never was", "devices", lambda c: c.copy.set_entries(
            top, c.copy.entries(top) + [(10 ** 6, struct.pack("<Q", dead.block))]), {}),
        ("mapped_blocks is wrong", "devices",
         lambda c: c.copy.set_details(device, mapped=original.details[device].mapped + 1), {}),
        ("what was shared is not any more", "sharing", lambda c: c.copy.set_details(device, snapshotted=0), {}),
        ("needs_check is set", "superblock", lambda c: c.copy.set32(4, 1), {}),
        ("the time goes back", "superblock", lambda c: c.copy.set32(44, original.time - 1), {}),
        ("the metadata snapshot is kept", "superblock", lambda c: c.copy.set32(56, 1), {}),
        ("data blocks have another size", "superblock", lambda c: c.copy.set32(336, 2 * original.data_block_size), {}),
        ("another transaction", "superblock", lambda c: c.copy.set32(48, 77), {}),
        ("a smaller data device", "superblock", lambda c: c.copy.set32(64, original.nr_data - 1), {}),
        ("the report has another number of mappings", "report", lambda c: named(c, "mappings", 1), {}),
        ("the report has another number of devices", "report", lambda c: named(c, "devices", 1), {}),
        ("the report has another time", "report", lambda c: named(c, "time", original.time + 9), {}),
        ("the report has another transaction", "report", lambda c: named(c, "transaction", 77), {}),
        ("the report lacks a device", "report", lambda c: c.report["device_list"].pop(), {}),
        ("the report lacks a field", "report", lambda c: c.report.pop("unowned"), {}),
        ("stale mappings nobody asked for", "report", lambda c: named(c, "mappings_stale", 1), {}),
        ("an unowned block is not named", "unowned", lambda c: (
            c.report["unowned"].pop(), named(c, "unowned_data_blocks", len(c.report["unowned"]))), {}),
        ("a block with an owner is named unowned", "unowned", lambda c: (
            c.report["unowned"].append({"begin": other.values[0] >> 24, "end": (other.values[0] >> 24) + 1}),
            named(c, "unowned_data_blocks", len(c.report["unowned"]))), {}),
        ("a free block is named unowned, with no superblock to say it", "unowned", lambda c: (
            lost_superblock(c), c.report["unowned"].append({"begin": free, "end": free + 1}),
            named(c, "unowned_data_blocks", len(c.report["unowned"]))), {}),
        ("unowned blocks are not said", "unowned", lambda c: named(c, "unowned_data_blocks", None), {}),
        ("unowned blocks are more than their ranges", "report", lambda c: named(c, "unowned_data_blocks", 10 ** 6), {}),
        ("a pointer of the result leads nowhere", "malformed",
         lambda c: c.copy.change(top, 0, 2 ** 40), {}),
    ]


def tolerated(original, dead, other):
    """(sentence, how to change a case, options): no faults."""
    device, key = other.devices[0], other.keys[3]
    free = max(original.mapped_data) + 1

    def ambiguous(case):
        case.copy.change(other.block, 3, free << 24)
        case.report["losses"] += [{"dev_id": d, "begin": key, "end": key + 1, "state": "ambiguous", "mappings": 1}
                                  for d in other.devices]
        old = other.values[3] >> 24
        if not any(value >> 24 == old for leaf in original.leaves.values() if leaf is not other for value in leaf.values):
            case.report["unowned"].append({"begin": old, "end": old + 1})
            case.report["unowned_data_blocks"] += 1

    def dropped(case):
        """A mapping goes from an intact leaf, and all that must say so does."""
        ambiguous(case)
        case.copy.change(other.block, 3, None)
        for d in other.devices:
            case.copy.set_details(d, mapped=case.original.details[d].mapped - 1 -
                                  (len(dead.keys) if d in dead.devices else 0))
        case.report["mappings"] -= len(other.devices)
        case.report["mappings_lost"] += len(other.devices)
        for d in case.report["device_list"]:
            if d["dev_id"] in other.devices:
                d["mappings"] -= 1
                d["mappings_lost"] += 1

    return [
        ("a dead leaf, all of it reported", lambda c: None, {}),
        ("the end of the device as the end of a loss", lambda c: c.report["losses"][0].update(
            begin=dead.keys[0], end=END) if dead.keys[-1] == max(original.devices[dead.devices[0]]) else None, {}),
        ("a loss of nobody knows which device", lambda c: [loss.update(dev_id=None) for loss in c.report["losses"]], {}),
        ("counts that are not known", lambda c: (c.report.update(mappings_lost=None), [
            d.update(mappings_lost=None, details="rebuilt") for d in c.report["device_list"]]), {}),
        ("unowned blocks that cannot be known", lambda c: (
            lost_superblock(c), c.report.update(unowned_data_blocks=None)), {}),
        ("a mapping that leads elsewhere and is named", ambiguous,
         {"count_intact": True, "names": [("ambiguous", device, key)]}),
        ("a mapping of an intact leaf that is missing, where they are counted", dropped, {"count_intact": True}),
        ("a later time of all", lambda c: (c.copy.set32(44, original.time + 1), c.copy.set_details(
            device, snapshotted=original.time + 1), c.report.update(time=original.time + 1)), {}),
    ]


def self_test(original):
    """Prints TAP."""
    leaves = [leaf for leaf in original.leaves.values() if len(leaf.keys) > 8]
    dead = next(leaf for leaf in leaves if leaf.keys[-1] == max(original.devices[leaf.devices[0]]))
    other = next(leaf for leaf in leaves if leaf is not dead and leaf.devices[0] != dead.devices[0] and any(
        original.details[leaf.devices[0]].snapshotted > value & MAX_TIME for value in leaf.values))
    nr, broken = 0, 0
    for sentence, demand, spoil, options in planted(original, dead, other):
        case = Case(original, dead)
        spoil(case)
        found = case.faults(**options)
        nr += 1
        broken += demand not in found
        print("%s %d - judge: %s" % ("ok" if demand in found else "not ok", nr, sentence))
        if demand not in found:
            print("# expected a fault of %s, found %s" % (demand, sorted(found)))
    for sentence, change, options in tolerated(original, dead, other):
        case = Case(original, dead)
        change(case)
        faults = judge(original, case.damaged, bytes(case.copy.data), case.report, case.status, **options)[0]
        nr += 1
        broken += bool(faults)
        print("%s %d - judge has nothing against %s" % ("not ok" if faults else "ok", nr, sentence))
        for fault in faults:
            print("# %s: %s" % fault)
    print("1..%d" % nr)
    return 1 if broken else 0


def read(path):
    with open(path, "rb") as f:
        return f.read()


def main(argv):
    options = [a for a in argv if a.startswith("--")]
    words = [a for a in argv if not a.startswith("--")]
    settings = {"names": []}
    for option in options:
        if option == "--count-intact":
            settings["count_intact"] = True
        elif option == "--stale=use":
            settings["stale_used"] = True
        elif option.startswith("--names="):
            state, device, key = option[len("--names="):].split(":")
            settings["names"].append((state, int(device), int(key)))
        elif option not in ("--kept", "--self-test"):
            sys.exit(__doc__)
    if len(words) != (1 if "--self-test" in options else 2 if "--kept" in options else 5):
        sys.exit(__doc__)
    original = Original(read(words[0]))
    if "--self-test" in options:
        return self_test(original)
    if "--kept" in options:
        print(original.intact_mappings(read(words[1])))
        return 0
    try:
        report = read_report(read(words[3]))
    except ValueError as error:
        print("the report is no JSON: %s" % error)
        return 1
    faults, summary = judge(original, read(words[1]), read(words[2]), report, int(words[4]), **settings)
    for demand, sentence in faults:
        print("%s: %s" % (demand, sentence))
    print(json.dumps(summary))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
