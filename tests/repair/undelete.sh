#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Volumes that were deleted come back: thin-undelete of the corpus, beside the record of what it was before. The real
# kernel made it, of 3000 data blocks (make-thin.sh -b 128 -n 3000):
#
#	thin:4:2000 write:4:rand:11:450 thin:1:3000 write:1:rand:12:400 write:1:seq:2500:60 thin:2:2000 write:2:rand:13:400
#	thin:8:2000 write:8:rand:14:300 tid:1 snap:6:1 write:6:rand:15:60 write:1:rand:16:40 snap:3:2 write:3:rand:17:100
#	write:2:rand:18:80 snap:9:8 write:9:rand:19:50 write:8:rand:20:40 tid:2 save:FILE
#	delete:4 delete:1 delete:6 delete:3 delete:8 tid:3 commit
#	thin:5:3000 write:5:seq:0:1220 write:2:rand:21:60 write:9:rand:22:60
#
# 1 and its snapshot 6 are all free. 3 is a snapshot whose origin lives, 8 an origin whose snapshot lives: what they share
# is mapped there still. Blocks of 4 have other data by now.
#
# A mapping of the record has to come back just as it was if its data block is free, or if a living device has it at the
# same virtual block with the same time. Every other one is lost: its block was given to somebody else.

corpus=$srcdir/tests/corpus
. "$srcdir/tests/tap.sh"

if ! command -v jq >/dev/null; then
	skip "jq is not installed to read the JSON with"
	finish
	exit
fi

image=thin-undelete.img
deleted="1 3 4 6 8" living="2 5 9"
"$corpus/get" thin-undelete $image && xz -dc "$corpus/thin-undelete.before.xml.xz" >before.xml &&
	xz -dc "$corpus/thin-undelete.xml.xz" >now.xml || exit 99
cp $image original
blocks() { awk -f "$corpus/blocks.awk" -v mode=blocks; }
blocks <before.xml >before
blocks <now.xml >now

# --- what there is to come back, by the record ---

awk '
	FILENAME == "now" { is_used[$3] = 1; has[$2, $3, $4] = 1; is_living[$1] = 1; next }
	$1 in is_living { next }
	{ print > (!($3 in is_used) || ($2, $3, $4) in has ? "safe" : "reused") }' now before
of() { awk -v id="$1" '$1 == id' "$2"; } # DEVICE FILE: its mappings
number_of() { of "$1" "$2" | wc -l; }

# What makes it a test: were the image made anew it might be another.
ok "$(($(number_of 1 reused) + $(number_of 3 reused) + $(number_of 6 reused) + $(number_of 8 reused) == 0))" \
	"the record: all of 1, 3, 6 and 8 can come back"
ok "$(($(number_of 4 reused) > 0 && $(number_of 4 safe) > 0))" "the record: some of 4 can, and some cannot"
ok "$(awk 'FILENAME == "now" { is_used[$3] = 1; next } $1 == 3 && $3 in is_used { n++ } END { print n + 0 }' now safe)" \
	"the record: 3 shares data blocks with what lives"

# --- repair ---

bufio-repair --list --json $image >list.json 2>messages
is $? 0 "the generations are listed"
# The newest that has all mappings of the device.
generation_of() { # DEVICE
	jq -r --argjson id "$1" --argjson n "$(number_of "$1" before)" '
		first(.generations | to_entries[] |
			select(any(.value.devices[]; .dev_id == $id and .mappings == $n and .holes == 0)) | .value.generation // .key)' \
		list.json 2>>messages
}
options() { # DEVICE...
	for device; do
		echo "--device=$device@$(generation_of "$device")"
	done
}

element() { sed -n "/<device dev_id=\"$1\"/,/<\/device>/p" "$2"; } # DEVICE XML

check_device() { # DEVICE WHAT
	of "$1" safe >want
	of "$1" result >got
	same want got "$2: $1 has all that can come back, as it was, and nothing else"
	if [ "$(number_of "$1" reused)" = 0 ]; then
		element "$1" before.xml >want
		element "$1" result.xml >got
		same want got "$2: and its details are those of then"
	fi
	is "$(jq -r --argjson id "$1" '.device_list[] | select(.dev_id == $id) | "\(.source), \(.mappings) of \(.mappings + .mappings_lost)"' report)" \
		"generation $(generation_of "$1"), $(number_of "$1" safe) of $(number_of "$1" before)" "$2: the report says so of $1"
	check_losses "$1" "$2"
}

# Each range is lost: what lies in one is not there, and what is not there lies in one.
check_losses() { # DEVICE WHAT
	jq -r --argjson id "$1" '.losses[] | select(.dev_id == $id) | "\(.state) \(.begin) \(.end) \(.mappings // "?")"' report >losses
	is "$(cut -d' ' -f1 losses | sort -u)" "$([ "$(number_of "$1" reused)" = 0 ] || echo lost)" \
		"$2: of $1 nothing is stale or ambiguous"
	of "$1" before | awk '
		BEGIN { n = 0 }
		FILENAME == "losses" { first[n] = $2; last[n] = $3; if ($4 == "?") unsure = 1; sum += $4; n++; next }
		{
			for (i = 0; i < n; i++)
				if ($2 >= first[i] && $2 < last[i]) {
					print
					break
				}
			if (i < n) found++
		}
		END { if (!unsure && sum != found) print "mappings of the losses: " sum }' losses - >got
	of "$1" reused >want
	same want got "$2: of $1 what was given to somebody else is named as lost, and nothing else"
}

check() { # WHAT DEVICE...
	what=$1 status=0
	shift
	for device; do
		[ "$(number_of "$device" reused)" = 0 ] || status=9
	done
	rm -f result.img
	bufio-repair -i $image -o result.img --json $(options "$@") >report 2>messages
	is $? $status "$what: ends with status $status"
	bufio-check --quiet result.img >out 2>&1
	is $? 0 "$what: bufio-check finds nothing wrong with it"
	bufio-dump --format=xml --flat result.img >result.xml 2>messages
	blocks <result.xml >result
	for device; do
		check_device "$device" "$what"
	done
	for device in $living; do
		element "$device" now.xml
	done >want
	for device in $living; do
		element "$device" result.xml
	done >got
	same want got "$what: the living devices are as they were"
	is "$(sed -n 's/.*<device dev_id="\([0-9]*\)".*/\1/p' result.xml | paste -sd' ')" \
		"$(echo $living "$@" | tr ' ' '\n' | sort -n | paste -sd' ')" "$what: and there are no others"
	is "$(jq -c '[.verdict, .devices, .mappings, .mappings_lost]' report)" \
		"[\"$([ $status = 0 ] && echo complete || echo lost)\",$(($# + 3)),$(wc -l <result),$(for device; do of "$device" reused; done | wc -l)]" \
		"$what: the report's sums are right"
}

for device in $deleted; do
	check "$device alone" "$device"
done
check "all at once" $deleted
check "none"
cmp original $image >messages 2>&1
is $? 0 "the image itself is as it was"
finish
