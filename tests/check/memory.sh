#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A pool of 66 million mappings and a gibibyte of metadata, damaged in many places: a check within 16 MiB, which counts in
# several passes, finds what a check within 1 GiB finds. Takes 1.2 GB of space in TMPDIR.
. "$srcdir/tests/tap.sh"

if [ "${LARGE_POOL:-yes}" = no ] || [ "${SANITIZERS:-no}" != no ]; then
	skip "a large pool: not asked for, or with sanitizers"
	finish
	exit
fi
command -v python3 >/dev/null || { skip "a large pool: python3 is not installed to damage it with"; finish; exit; }
if [ "$(df -k --output=avail . | tail -n 1)" -lt $((2 << 20)) ]; then
	skip "a large pool: there are not 2 GiB of space"
	finish
	exit
fi

"$builddir/bench/make-pool" pool runs 8 8250000 >made 2>messages && python3 "$srcdir/tests/check/spoil.py" pool
is $? 0 "a large pool is made and damaged"
check() { # LIMIT FILE
	bufio-check --json --memory-limit="$1" --stats -o "$2" pool 2>"$2.messages"
	is $? 9 "with $1: ends with status 9"
	# How often it was read is another matter.
	tr ',' '\n' <"$2" | grep -v '^"passes":' >"$2.found"
}
passes() { tr ',' '\n' <"$1" | sed -n 's/^"passes"://p'; }

check 1GiB large
check 16MiB small
same large.found small.found "with 16MiB the findings are those with 1GiB"
is "$(passes large)" 1 "with 1GiB the counts fit at once"
ok "$(($(passes small) > 1))" "with 16MiB they do not: $(passes small) passes"
for name in block-checksum data-count-low counts-not-compared; do
	ok "$(grep -c "\"name\":\"$name\"" large.found)" "$name is among them"
done
rm -f pool
finish
