#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Random corruptions of every healthy image of the corpus, one at a time: a check finds what can be found, and says
# nothing of what nothing leads to. CORRUPT_COUNT for each image, CORRUPT_SEED to begin with; CORRUPT_LOG: where the cases
# are listed, for who wants to see them.
corpus=$srcdir/tests/corpus
. "$srcdir/tests/tap.sh"
count=${CORRUPT_COUNT:-50}
corrupt=$builddir/tests/check/corrupt
log=${CORRUPT_LOG:-log}

set --
for xml in "$corpus"/*.xml.xz; do
	name=$(basename "$xml" .xml.xz)
	case $name in *.*) continue ;; esac
	"$corpus/get" "$name" "$name" || exit 99
	set -- "$@" "$name"
done

"$corrupt" --seed "${CORRUPT_SEED:-1}" --count "$count" "$@" >"$log" 2>messages
status=$?
for name; do
	is "$(sed -n "s/^$name: //p" "$log")" "$count corruptions, 0 unexplained" \
		"$name: $count corruptions are found or explained" ||
		awk -v name="$name" '
			/^[^\t]/ { mine = index($0, name " seed ") == 1; last = $0; next }
			mine && last != "" { print "# " last; last = "" }
			mine { print "# " substr($0, 2) }' "$log" | head -n 40
done
is $status 0 "no crash, hang or leak" || tail -n 1 "$log" | sed 's/^/# last: /'
grep '^#' "$log"

# Who takes everything is no judge.
"$corrupt" --blind --count 50 thin-snaps >log 2>messages
is $? 1 "a check that finds nothing is noticed"
finish
