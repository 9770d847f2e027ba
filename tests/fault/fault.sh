#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Read number n fails, for every n; see fault.c. FAULT_ERRORS=1: with one error, not two.
. "$srcdir/tests/tap.sh"
"$srcdir/tests/corpus/get" thin-snaps image && "$srcdir/tests/corpus/get" bad-leak-data leaking &&
	"$srcdir/tests/corpus/get" bad-details-checksum damaged || exit 99
"$builddir/tests/fault/fault" image "${FAULT_ERRORS:-2}" >views
status=$?
"$builddir/tests/fault/fault-repair" leaking >repair || status=1
"$builddir/tests/fault/fault-repair" --in-place damaged >in-place || status=1
# One numbering and one plan for all.
cat views repair in-place | awk '$1 == "ok" { $2 = ++n } $1 == "not" { $3 = ++n } !/^1\.\./ { print } END { print "1.." n }'
exit $status
