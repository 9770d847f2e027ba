#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The largest there can be: a pool with more than 4,000,000 metadata blocks in use and a thousand million mappings is made,
# listed, checked, and dumped, inside a memory limit. Times and peaks are printed. A part of make soak alone: it takes some minutes,
# and 17 GB of space in LARGE_DIR, or else in TMPDIR.
. "$srcdir/tests/tap.sh"

limit=256MiB
limit_bytes=$((256 << 20))
beside=$((4 << 20)) # what a process needs besides
devices=16 own=63000000
make_pool=$builddir/bench/make-pool
bench=$builddir/bench/bench
dir=${LARGE_DIR:-${TMPDIR:-/tmp}}
pool=$dir/bufio-large.$$
trap 'rm -f "$pool"; cd /; rm -rf "$tap_dir"' EXIT

if [ "$(df -k --output=avail "$dir" | tail -n 1)" -lt $((17 << 20)) ]; then
	skip "the largest pool: there are not 17 GiB of space in $dir"
	finish
	exit
fi

# run SENTENCE COMMAND...: inside the limit; what the command has resident at most is measured by bench.
run() {
	sentence=$1
	shift
	begin=$(date +%s)
	above=$("$bench" memory --file "$pool" --limit $limit_bytes -- "$@" 2>messages)
	is $? 0 "$sentence: done" || return
	echo "# $sentence: $(($(date +%s) - begin)) s, $(((${above%.*} + limit_bytes) >> 20)) MiB at most"
	ok "$([ "${above%.*}" -le $beside ] && echo 1)" "$sentence: inside of $limit"
}

begin=$(date +%s)
BENCH_MEMORY=$limit "$make_pool" "$pool" frag $devices $own >made 2>messages
is $? 0 "made"
sed 's/^/# /' made
echo "# made in $(($(date +%s) - begin)) s"
ok "$(awk '$1 >= 4000000 { print 1 }' made)" "4000000 blocks and more are in use"
is "$(sed 's/.* \([0-9]*\) mappings.*/\1/' made)" $((devices * own)) "as many mappings as were asked for"
run "listed" bufio-dump ls --memory-limit=$limit "$pool"
run "checked" bufio-check --memory-limit=$limit --json -o "$tap_dir/check.json" "$pool"
number() { # MEMBER
	tr ',' '\n' <"$tap_dir/check.json" | sed -n "s/^\"$1\"://p"
}
is "$(number mappings) $(number not_shown)" "$((devices * own)) 0" "checked: all mappings are there, and nothing is wrong"
begin=$(date +%s)
dd if="$pool" of=/dev/null bs=1M iflag=direct count=$(($(number metadata_used_blocks) / 256)) 2>messages
echo "# checked in $(number passes) passes; to read what is used once takes $(($(date +%s) - begin)) s"
run "dumped as XML" bufio-dump mappings --format=xml --memory-limit=$limit "$pool"
finish
