#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# bufio-check over every image of the corpus.
# Healthy: clean, and its numbers are those of the XML. Damaged: it ends with the status and the problems of expect.txt,
# and names the blocks that are not as they are in the original.
# Called thin_check: its verdict is not milder than that of thin_check 0.9.0, and is the same but for differences.txt.

corpus=$srcdir/tests/corpus
expect=$srcdir/tests/check
. "$srcdir/tests/tap.sh"

if ! command -v jq >/dev/null; then
	skip "jq is not installed to read the JSON with"
	finish
	exit
fi
ln -s "$(command -v bufio-check)" thin_check

# --- healthy ---

expected_of() { # NAME
	case $1 in
	thin-needscheck) echo "0 needs-check 1" ;;
	thin-metafull) echo "1 data-leaked 1" ;; # as the kernel left it when the metadata was full
	*) echo "0" ;;
	esac
}

check_healthy() { # NAME
	bufio-check --json "$1.img" >got.json 2>messages
	found=$?
	is "$found$(jq -r '.problems[] | " \(.name) \(.count)"' got.json)" "$(expected_of "$1")" \
		"$1: is what the kernel left, and nothing is said about it"
	xz -dc "$corpus/$1.xml.xz" | sed -n 's/.*<device .* mapped_blocks="\([0-9]*\)".*/\1/p' |
		awk '{ n += $1 } END { print NR, n + 0 }' >want
	jq -r '"\(.devices) \(.mappings)"' got.json >got
	same want got "$1: has the devices and mappings of the XML"
	[ -f "$corpus/$1.msnap.xml.xz" ] || return 0
	bufio-check --metadata-snap "$1.img" >out 2>messages
	is $? 0 "$1: its metadata snapshot is clean"
}

# --- damaged ---

# The healthy original of a damaged image, and words WRONG=RIGHT for pointers that are damaged; see originals.txt.
original_of() { # NAME
	if [ -f "$corpus/$1.recipe" ]; then
		sed -n '1s/^# damage.py \([^ ]*\)\.img .*/\1/p' "$corpus/$1.recipe" | tr '\n' ' '
	fi
	sed -n "s/^$1 //p" "$corpus/originals.txt"
	[ "$1" != bad-sb-held ] || echo 3=39 # no pointer of the pool itself
}

# What differs is damaged, and said to be. A wrong pointer is seen where it leads to, and a superblock has no number.
check_blocks() { # NAME ORIGINAL WRONG=RIGHT...
	name=$1 original=$2
	shift 2
	[ -f "$original.img" ] || "$corpus/get" "$original" "$original.img"
	if [ $# -gt 0 ]; then
		for pair; do
			echo "${pair%=*}"
		done
	else
		cmp -l "$original.img" "$name.img" 2>/dev/null | awk '{ print int(($1 - 1) / 4096) }' | uniq
	fi | sort -u >want
	jq '.problems[].block // empty' got.json | sort -u >named
	comm -23 want named >got
	is "$(paste -sd' ' got)" "" "$name: names all $(wc -l <want) damaged blocks"
}

check_damaged() { # NAME STATUS PROBLEM...
	name=$1 want=$2
	shift 2
	timeout 120 bufio-check --json "$name.img" >got.json 2>messages
	is $? "$want" "$name: ends with status $want"
	if [ "$want" = 10 ]; then
		ok "$(grep -c "$name.img: " messages)" "$name: says why in one line"
		return
	fi
	jq -r '.problems[].name' got.json | sort -u | paste -sd' ' >got
	[ "$1" = - ] && shift
	echo "$@" >want
	same want got "$name: names ${*:-no problem}"
	original=$(original_of "$name")
	[ -z "$original" ] || check_blocks "$name" $original
}

# --- thin_check ---

peer=$(command -v thin_check)
[ "$("${peer:-false}" -V 2>/dev/null)" = 0.9.0 ] || peer=
: >milder
: >differences

compare() { # NAME
	[ -n "$peer" ] || return 0
	while read -r set options; do
		timeout 60 "$peer" $options "$1.img" >out 2>&1
		theirs=$?
		timeout 60 ./thin_check $options "$1.img" >out 2>&1
		ours=$?
		[ $theirs != 0 ] && [ $ours = 0 ] && echo "$1 $set" >>milder
		[ $((theirs != 0)) = $((ours != 0)) ] || echo "$1 $set" >>differences
	done <<-end
		none
		quiet -q
		skip-mappings --skip-mappings
		super-block-only --super-block-only
		ignore-non-fatal-errors --ignore-non-fatal-errors
		metadata-snap -m
	end
}

listed() {
	sed -e '/^#/d' "$expect/differences.txt" | while read -r name sets reason; do
		for set in $(echo "$sets" | tr , ' '); do
			echo "$name $set"
		done
	done
}

compare_all() {
	if [ -z "$peer" ]; then
		skip "thin_check 0.9.0 is not installed to compare with"
		return
	fi
	is "$(cat milder)" "" "the verdict is nowhere milder than thin_check's"
	listed | sort >want
	sort differences >got
	is "$(comm -13 want got)" "" "no difference from thin_check but those that are listed"
	is "$(comm -23 want got)" "" "no difference from thin_check is listed that is gone"
	is "$(awk '!/^#/ && NF < 3' "$expect/differences.txt")" "" "all that differs from thin_check has a reason"
}

# --- all ---

for xml in "$corpus"/*.xml.xz; do
	name=$(basename "$xml" .xml.xz)
	case $name in *.*) continue ;; esac
	is_sampled || { listed | grep "^$name " >>differences; continue; }
	"$corpus/get" "$name" "$name.img"
	check_healthy "$name"
	compare "$name"
done

while read -r name status problems; do
	case $name in '#'*) continue ;; esac
	is_sampled || { listed | grep "^$name " >>differences; continue; }
	"$corpus/get" "$name" "$name.img"
	case $? in
	0) check_damaged "$name" "$status" $problems; compare "$name" ;;
	77) skip "$name: needs python3 to be made"; listed | grep "^$name " >>differences ;;
	*) ok 0 "$name: cannot be unpacked" ;;
	esac
	rm -f "$name.img"
done <"$expect/expect.txt"

# Every image that the views are tried on is one here.
sed -e '/^#/d' -e 's/ .*//' "$corpus/expect.txt" | sort >want
sed -e '/^#/d' -e 's/ .*//' "$expect/expect.txt" | sort >got
is "$(comm -23 want got)" "" "every damaged image of the corpus is checked"
compare_all
finish
