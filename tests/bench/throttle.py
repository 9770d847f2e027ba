# SPDX-License-Identifier: LGPL-2.1-or-later
"""throttle.py PERCENT COMMAND...: runs it, but lets it stand still for this part of the time.

Stopped from outside, as its own options would be another workload: nothing of what it says it did differs. In steps that
are short against the seconds that are compared. What was stopped too long is made up for, so the part is right also where
sleeping is not.
"""
import os
import signal
import subprocess
import sys
import time

STEP = 0.04

share = float(sys.argv[1]) / 100
child = subprocess.Popen(sys.argv[2:])
start = time.monotonic()
stopped = 0.0
while child.poll() is None:
    time.sleep(STEP * (1 - share))
    now = time.monotonic()
    missing = share * (now - start) - stopped
    if missing <= 0 or child.poll() is not None:
        continue
    os.kill(child.pid, signal.SIGSTOP)
    begin = time.monotonic()
    time.sleep(missing)
    os.kill(child.pid, signal.SIGCONT)
    stopped += time.monotonic() - begin
sys.exit(child.returncode if child.returncode >= 0 else 128 - child.returncode)
