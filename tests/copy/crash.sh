#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bufio-copy loses power at each write and each flush, while it applies crash.bp, undoes and resumes: whatever of it
# reached the disk, afterwards the target is new or old, as was asked for, to the byte. crash_shim.c is what loses power.
#
# CRASH_SEEDS: how many things may have become of what was not flushed, for each of them; 1 unless set.
[ -w /dev/shm ] && TMPDIR=${TMPDIR:-/dev/shm} && export TMPDIR
. "$srcdir/tests/tap.sh"
tool=bufio-copy
. "$srcdir/tests/power.sh"

apply() { # OPTION...: the words for it, behind them
	set -- "$@" --script="$srcdir/tests/copy/crash.bp" --apply="$digest" --journal=journal T=T.img S=S.img
	run "$@"
}

"$srcdir/tests/corpus/get" thin-snaps old.img && "$srcdir/tests/corpus/get" thin-128k S.img
is $? 0 "the images can be made"
cp old.img T.img
run --script="$srcdir/tests/copy/crash.bp" T=T.img S=S.img
is $? 0 "a plan can be made"
digest=$(sed -n 's/.*--apply=//p' messages)
blocks=$(sed -n 's/^\([0-9]*\) blocks would change.*/\1/p' messages)
ops=$(grep -cE '^(set|patch|copy|move|fill|checksum T|save|let|fence|expect|verify)' "$srcdir/tests/copy/crash.bp")
ok $((ops >= 50 && ${blocks:-0} >= 40)) "the script has $ops operations, and changes $blocks blocks"
apply
is $? 0 "it can be applied"
cp T.img new.img && cp journal new.journal
run --undo=journal T.img && cmp -s T.img old.img
is $? 0 "and undone"
cp journal undone.journal && cp old.img undone.img

what=apply
each old --script="$srcdir/tests/copy/crash.bp" --apply="$digest" --journal=journal T=T.img S=S.img
report "a loss of power while a script is applied: the target is new or old"

# A state in the middle, and one in the middle of what was to mend that.
halfway() { # FILES NAME NUMBER OPTION...
	cp "$1.img" T.img
	rm -f journal
	[ ! -e "$1.journal" ] || cp "$1.journal" journal
	as=$2 at=$3
	shift 3
	dying "$at" "$at" "$@"
	is $? 137 "$as: dies at $at" && is "$(state)" committed "$as: the target may be anything"
	! cmp -s T.img old.img && ! cmp -s T.img new.img
	is $? 0 "$as: it is neither old nor new"
	cp T.img "$as.img" && cp journal "$as.journal"
}

# The last that it does: the blocks of the target, block 0, the mark of the journal, holes.
halfway old mid $((n - 15)) --script="$srcdir/tests/copy/crash.bp" --apply="$digest" --journal=journal T=T.img S=S.img
halfway mid mid-undo 16 --undo=journal T.img
for from in new mid mid-undo undone; do
	for way in undo resume; do
		what="$way of $from"
		each $from --$way=journal T.img
	done
done
report "a loss of power while a journal is undone or resumed: and then again"

# --- killed at any time, the disk keeps its power; any engine ---

# The kernel lets go of io_uring's files a little later than of the process.
until_free() {
	for try in $(seq 50); do
		bufio-dump block T.img 0 >/dev/null 2>&1 && return
		sleep 0.2
	done
}

what=killed at=-
for seed in $(seq $((20 * seeds))); do
	cp old.img T.img
	rm -f journal
	[ $((seed % 2)) = 0 ] && BUFIO_IO_ENGINE=threads || BUFIO_IO_ENGINE=auto
	bufio-copy -q --script="$srcdir/tests/copy/crash.bp" --apply="$digest" --journal=journal T=T.img S=S.img &
	sleep "0.0$((10 + seed * 37 % 40))"
	{ kill -KILL $! && wait $!; } 2>/dev/null
	until_free
	judge "$(direction_of "$seed" "$seed")"
done
report "killed at any time while a script is applied"
finish
