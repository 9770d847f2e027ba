# SPDX-License-Identifier: LGPL-2.1-or-later
"""model.py SEED COUNT: random copies of ranges, positions, block sizes, holes and old targets, against the simple way.

Works in the current folder, with bufio-copy in PATH. Prints what differs, and how often it was tried; status 1 if anything
did.
"""
import os
import random
import subprocess
import sys

UNITS = [1, 512, 4096, 65536, 1 << 20]


def make(path, rng, limit):
    """A file of data, zeroes and holes; its bytes."""
    size = rng.randrange(limit) // rng.choice(UNITS) * rng.choice([1, 512, 4096]) if rng.random() < 0.9 else 0
    size = min(size, limit)
    with open(path, "wb") as f:
        f.truncate(size)
        at = 0
        while at < size:
            n = min(rng.randrange(1, limit // 3), size - at)
            kind = rng.randrange(3)
            if kind != 2:
                f.seek(at)
                f.write(rng.randbytes(n) if kind else bytes(n))
            at += n
    with open(path, "rb") as f:
        return f.read()


def choose(rng, size):
    """Options, and what they say: begin, end, to."""
    unit = rng.choice([1, 512, 4096])
    begin = rng.randrange(size + 1) // unit * unit
    end = begin + rng.randrange(size - begin + 1)
    to = rng.choice([begin, 0, rng.randrange(2 * size + 1) // rng.choice([1, 512, 4096])])
    options = ["--block-size=%d" % rng.choice([512, 4096, 65536, 12288, 1 << 18])]
    if end > begin and rng.random() < 0.7:
        options += ["--range=%dB..%dB" % (begin, end), "--to=%dB" % to]
    else:
        begin, end, to = 0, size, 0
    options.append("--sparse=" + rng.choice(["auto", "always", "never"]))
    options.append("--verify=" + rng.choice(["none", "readback", "hash"]))
    options.append("--direct=" + rng.choice(["auto", "off"]))
    options.append("--io-engine=" + rng.choice(["auto", "threads"]))
    options.append("--memory-limit=" + rng.choice(["4MiB", "16MiB", "64MiB"]))
    options += [o for o in ("--discard", "--truncate", "--map=map") if rng.random() < 0.3]
    return options, begin, end, to


def expected(source, old, options, begin, end, to):
    new = bytearray(old)
    if len(new) < to + end - begin:
        new += bytes(to + end - begin - len(new))
    new[to:to + end - begin] = source[begin:end]
    return bytes(new[:to + end - begin]) if "--truncate" in options else bytes(new)


def case(seed):
    rng = random.Random(seed)
    limit = rng.choice([3000, 100000, 3000000])
    for name in ("src", "dst", "map"):
        if os.path.exists(name):
            os.unlink(name)
    source = make("src", rng, limit)
    old = make("dst", rng, limit) if rng.random() < 0.6 else b""
    options, begin, end, to = choose(rng, len(source))
    run = subprocess.run(["bufio-copy", "-q", *options, "src", "dst"])
    with open("dst", "rb") as f:
        new = f.read()
    if run.returncode or new != expected(source, old, options, begin, end, to):
        print("seed %d: status %d, %s: bufio-copy %s" % (seed, run.returncode, "wrong" if not run.returncode else "failed",
                                                      " ".join(options)))
        return 1
    return 0


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    wrong = sum(case(s) for s in range(seed, seed + count))
    print("%d copies, %d wrong" % (count, wrong))
    return wrong != 0


sys.exit(main())
