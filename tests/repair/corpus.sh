#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# bufio-repair on every thin image of the corpus; judge.py, which reads metadata by itself, says what is true.
# Damaged: expect.txt says how it ends and how much is kept at least. All that stands in leaves that are as they were is
# kept, nothing is invented, the report is the difference to the original, the result is clean, and repairing it again
# makes the same bytes. Healthy: all is kept.

corpus=$srcdir/tests/corpus
expect=$srcdir/tests/repair/expect.txt
judge=$srcdir/tests/repair/judge.py
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
[ -w /dev/shm ] && TMPDIR=${TMPDIR:-/dev/shm} && export TMPDIR
. "$srcdir/tests/tap.sh"

if ! command -v python3 >/dev/null; then
	skip "python3 is not installed to judge with"
	finish
	exit
fi
peer=$(command -v thin_check)
[ "$("${peer:-false}" -V 2>/dev/null)" = 0.9.0 ] || peer=

# The healthy image that a damaged one was made of.
original_of() { # NAME
	case $1 in
	bad-*) ;;
	*) echo "$1"; return ;;
	esac
	found=
	if [ -f "$corpus/$1.recipe" ]; then
		found=$(sed -n '1s/^# damage.py \([^ ]*\)\.img .*/\1/p' "$corpus/$1.recipe")
	fi
	found=${found:-$(sed -n "s/^$1 \([^ ]*\).*/\1/p" "$corpus/originals.txt")}
	echo "${found:-thin-snaps}"
}

fetch() { # NAME
	[ -f "$1.img" ] || "$corpus/get" "$1" "$1.img"
}

fresh() { # FILE SIZE-OF
	rm -f "$1"
	truncate -r "$2" "$1"
}

field() { # NAME-IN-SUMMARY
	tail -n 1 judged | sed -n "s/.*\"$1\": \([0-9]*\)[,}].*/\1/p"
}

# Repairs DAMAGED.img into target, which is as large as ORIGINAL.img, and judges that.
repair_and_judge() { # CASE DAMAGED ORIGINAL STATUS
	case=$1 damaged=$2.img original=$3.img want=$4
	fresh target "$original"
	before=$(cksum <"$damaged")
	timeout 120 bufio-repair --json $options -i "$damaged" -o target >report.json 2>messages
	status=$?
	case "|$want|" in
	*"|$status|"*) ok 1 "$case: ends with status $want" ;;
	*) is "$status" "$want" "$case: ends with status $want" || return 1 ;;
	esac
	is "$(cksum <"$damaged")" "$before" "$case: is not written to"
	python3 "$judge" $judge_options "$original" "$damaged" target report.json $status >judged 2>messages
	is "$?" 0 "$case: its result and its report are true" || head -n 12 judged | sed 's/^/# /'
	bufio-check target >out 2>messages
	is $? 0 "$case: its result is clean" || grep -v '^$' out | head -n 5 | sed 's/^/# /'
	if [ -n "$peer" ]; then
		"$peer" target >messages 2>&1
		is $? 0 "$case: its result is clean, thin_check says"
	fi
	fresh again "$original"
	bufio-repair -q -i target -o again >out 2>messages
	is $? 0 "$case: its result needs no repair"
	cmp target again >messages 2>&1
	is $? 0 "$case: repairing that again makes the same bytes"
}

damaged() { # NAME STATUS KEPT WORD...
	base=$1 name=$1 as=$1 want=$2 kept=$3
	options= judge_options= all= damage=
	shift 3
	for word; do
		case $word in
		judge:*) judge_options="$judge_options ${word#judge:}" ;;
		all:*) all=${word#all:} ;;
		as:*) as=${word#as:} ;;
		damage:*) damage="$damage ${word#damage:}" ;;
		*) options="$options $word" ;;
		esac
	done
	original=$(original_of "$name")
	fetch "$original" && fetch "$name" || { ok 0 "$name: cannot be made"; return; }
	if [ -n "$damage" ]; then
		name=$as
		"$corpus/get" "$base" "$name.img" $damage || { ok 0 "$name: cannot be made"; return; }
	fi
	repair_and_judge "$as" "$name" "$original" "$want" || return
	is "$(($(field kept) >= kept))" 1 "$as: keeps $kept mappings at least" || echo "# kept: $(field kept)"
	[ -z "$damage" ] || rm -f "$name.img"
	[ -z "$all" ] || is "$(($(field kept) + $(field changed)))" "$all" "$as: has $all mappings in all"
}

# As text. Only that a check is needed is gone.
mappings() { # IMAGE
	bufio-dump -q --format=xml --flat "$1" | sed '1s/ flags="1"/ flags="0"/'
}

healthy() { # NAME
	options= judge_options=
	fetch "$1"
	repair_and_judge "$1" "$1" "$1" 0 || return
	mappings "$1.img" >want
	mappings target >got
	same want got "$1: says the same as before, as text"
}

python3 "$judge" --self-test "$(fetch thin-snaps && echo thin-snaps.img)" >judged 2>messages
is $? 0 "the judge sees every planted fault, and nothing else"
is "$(grep -c '^ok' judged)" "$(sed -n 's/^1\.\.//p' judged)" "all of them"
grep -A 2 '^not ok' judged | sed 's/^/# /'

for xml in "$corpus"/*.xml.xz; do
	name=$(basename "$xml" .xml.xz)
	[ -f "$corpus/$name.img.xz" ] || continue # a record of something else
	is_sampled || continue
	healthy "$name"
done

while read -r line; do
	case $line in '#'* | '') continue ;; esac
	is_sampled || continue
	damaged $line
done <"$expect"

# Every damaged image of a thin pool is repaired here.
sed -n '/ damage:/!s/^\(bad-[^ ]*\) .*/\1/p' "$expect" | sort -u >got
sed -e '/^#/d' -e 's/ .*//' "$srcdir/tests/check/expect.txt" | sort -u >want
same want got "every damaged image of the corpus is repaired"

# --- doors ---

options= judge_options=
fetch thin-snaps
fetch bad-top-checksum
fetch bad-leaf-swapkeys

rm -f missing
bufio-repair -q -i bad-top-checksum.img -o missing >out 2>messages
is $? 0 "a target that is not there is made"
mappings thin-snaps.img >want
mappings missing >got
same want got "and it has all that the original has"

fresh target thin-snaps.img
bufio-repair --json --dry-run -i bad-leaf-swapkeys.img >dry.json 2>messages
is $? 9 "a dry run ends as the repair would"
bufio-repair --json -i bad-leaf-swapkeys.img -o target >report.json 2>messages
python3 - dry.json report.json >messages 2>&1 <<'end'
import json
import sys

dry, wet = (json.load(open(path)) for path in sys.argv[1:])
for key in ("verdict", "devices", "mappings", "mappings_lost", "device_list", "losses"):
    assert dry[key] == wet[key], key
assert dry["target"] is None
end
is $? 0 "and its report is that of the repair"
cp target want
fresh target thin-snaps.img
bufio-repair -q --accept-loss -i bad-leaf-swapkeys.img -o target >out 2>messages
is $? 0 "who accepts a loss gets status 0"
same want target "and the same result"

fresh target thin-snaps.img
cp target empty
bufio-repair -q --dry-run -i bad-leaf-swapkeys.img -o target >out 2>messages
same empty target "a dry run writes nothing"

cp bad-top-checksum.img self
bufio-repair -q -i self -o self >out 2>messages
status=$?
ok "$status" "an image is not repaired into itself"
same bad-top-checksum.img self "and is as it was"

# What no repair should hang on.
"$corpus/get" hostile-many-pointers hostile.img
fresh target hostile.img
timeout 60 bufio-repair -q -i hostile.img -o target >out 2>messages
status=$?
case $status in
0 | 9) bufio-check -q target >out 2>messages; is $? 0 "many pointers to one node: the result is clean" ;;
*) is $status 10 "many pointers to one node: no metadata" ;;
esac
finish
