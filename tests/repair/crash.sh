#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bufio-repair --in-place loses power at each write and each flush, and so do --undo and --resume of it: the pool is as it
# was or as it was to be, or its journal brings it to either, to the byte.
#
# CRASH_SEEDS: how many things may have become of what was not flushed, for each of them; 1 unless set.
[ -w /dev/shm ] && TMPDIR=${TMPDIR:-/dev/shm} && export TMPDIR
. "$srcdir/tests/tap.sh"
tool=bufio-repair
. "$srcdir/tests/power.sh"

mend() { # IMAGE
	rm -f ./*.img ./*journal
	"$srcdir/tests/corpus/get" "$1" old.img && cp old.img T.img
	run --in-place --journal=journal T.img && bufio-check -q T.img
	is $? 0 "$1: can be mended" || return
	cp T.img new.img && cp journal new.journal
	what="$1: mending"
	each old --in-place --journal=journal T.img
	report "$1: a loss of power while it is mended: the pool is old or new"
	for way in undo resume; do
		what="$1: $way"
		each new --$way=journal T.img
	done
	report "$1: a loss of power while that is undone or resumed"
}

mend bad-details-checksum
[ "$seeds" = 1 ] || for image in bad-held-leaf bad-sm-all bad-count-low thin-needscheck; do
	mend $image
done
finish
