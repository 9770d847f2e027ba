#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Damaged copies of corpus images through fuzz-dump: FUZZ_COUNT each, with a fixed seed and with one of the day.
. "$srcdir/tests/tap.sh"
count=${FUZZ_COUNT:-40}
day=$(date +%Y%m%d)

for name in thin-empty thin-one thin-msnap thin-snaps thin-manydev thin-bigid; do
	"$srcdir/tests/corpus/get" "$name" "$name" || exit 99
	for seed in 1 "${day}1"; do
		"$builddir/tests/fuzz/fuzz-dump" $seed "$count" "$name" >log 2>messages
		is $? 0 "$name: $count damaged copies from seed $seed: no crash, hang or leak" || tail -n 1 log | sed 's/^/# last: /'
	done
done
finish
