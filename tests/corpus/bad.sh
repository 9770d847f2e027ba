#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What "bufio-dump bad" says that a damaged block costs, on every image of the corpus with a block that cannot be used:
#
#   it is what "owner" says of that block on the healthy original, which sees the block itself and all that leads to it;
#   it is what is gone: the original's mappings, as thin_dump 0.9.0 wrote them, without the named ranges of the devices
#   are the mappings that the damaged image still gives. All that is missing lies in a named range, and nothing that
#   lies in one is there.

corpus=$srcdir/tests/corpus
. "$srcdir/tests/tap.sh"

if ! command -v jq >/dev/null; then
	skip "jq is not installed to read the JSON with"
	finish
	exit
fi

# A line for each cost: block, device or "-", first key, first key behind, generation, what the keys are.
to_lines='select(.type == $row and .keys != "") | [.block, .dev_id // "-", .begin // "-", .end // "end", .generation, .keys] | map(tostring | gsub(" "; "-")) | join(" ")'

# The original, and words WRONG=RIGHT.
original_of() { # NAME
	if [ -f "$corpus/$1.recipe" ]; then
		sed -n '1s/^# damage.py \([^ ]*\)\.img .*/\1/p' "$corpus/$1.recipe" | tr '\n' ' '
	fi
	sed -n "s/^$1 //p" "$corpus/originals.txt"
}

# Where both trees of devices are lost nobody can say which devices there were: the damaged image names a range of ids.
devices_as_range='
	FILENAME == "costs" { if ($2 == "-" && $6 == "devices") { begin[$1] = $3; end[$1] = $4; line[$1] = $0 } next }
	$1 in line && $2 != "-" && $2 >= begin[$1] + 0 && (end[$1] == "end" || $2 < end[$1] + 0) { $0 = line[$1] }
	{ print }'

check_owners() { # NAME ORIGINAL WRONG=RIGHT...
	name=$1 original=$2
	shift 2
	sed 's/ .*//' costs | sort -nu >blocks
	for pair; do
		sed -i "s/^${pair%=*}\$/${pair#*=}/" blocks
	done
	bufio-dump owner --json "$original.img" $(cat blocks) 2>messages | jq -r --arg row owner "$to_lines" >owners
	for pair; do
		sed -i "s/^${pair#*=} /${pair%=*} /" owners
	done
	awk "$devices_as_range" costs owners | sort -u >want
	sort -u costs >got
	same want got "$name: its costs are the owners of the block in the original"
	is "$(wc -l <got)" "$(wc -l <costs)" "$name: and none is named twice"
}

# Mappings come in the order of their keys: as one fares, so do those behind it, until a range begins or its own ends.
without_ranges='
	BEGIN { n = 0; all = 2 ^ 53 }
	function is_gone(id, key,    i, of) {
		until = all
		for (i = 0; i < n; i++) {
			of = any[i] ? id : key
			if ((!any[i] && device[i] != id) || of >= last[i])
				continue
			if (of >= first[i]) {
				until = any[i] ? all : last[i]
				return 1
			}
			if (!any[i] && first[i] < until)
				until = first[i]
		}
		return 0
	}
	FILENAME == "costs" {
		if ($5 != generation || !($6 == "virtual-blocks" || ($2 == "-" && $6 == "devices")))
			next
		any[n] = $6 == "devices"; device[n] = $2; first[n] = $3 + 0; last[n++] = $4 == "end" ? all : $4 + 0
		next
	}
	$1 != id || $2 + 0 >= until { id = $1; gone = is_gone($1 + 0, $2 + 0) }
	!gone { print }'

check_mappings() { # NAME ORIGINAL-XML GENERATION OPTION...
	name=$1 whole=$2.blocks generation=$3
	[ -f "$whole" ] || xz -dc "$corpus/$2.xml.xz" | awk -f "$corpus/blocks.awk" -v mode=blocks >"$whole"
	shift 3
	bufio-dump mappings --format=xml --flat "$@" "$name.img" 2>messages |
		awk -f "$corpus/blocks.awk" -v mode=blocks >got
	awk -v generation="$generation" "$without_ranges" costs "$whole" >want
	same want got "$name: its costs are what is gone of the $generation mappings"
}

# Mappings are lost, says the status: so some are gone. Else none is.
check_loss() { # NAME ORIGINAL STATUS
	gone=$(($(wc -l <"$2.blocks") - $(wc -l <got)))
	case $3 in
	9) ok $((gone > 0)) "$1: and some are" ;;
	*) is $gone 0 "$1: and none is" ;;
	esac
}

check() { # NAME STATUS ORIGINAL WRONG=RIGHT...
	name=$1 status=$2 original=$3
	shift 3
	"$corpus/get" "$name" "$name.img" || { skip "$name: needs python3 to be made"; return; }
	[ -f "$original.img" ] || "$corpus/get" "$original" "$original.img"
	bufio-dump bad --json "$name.img" >bad.json 2>messages
	is $? "$status" "$name: bad ends with status $status"
	jq -r --arg row cost "$to_lines" bad.json >costs
	check_owners "$name" "$original" "$@"
	check_mappings "$name" "$original" current && check_loss "$name" "$original" "$status"
	rm -f "$name.img"
}

while read -r name status problems; do
	case " $problems" in *" block-"* | *" node-"*) ;; *) continue ;; esac
	is_sampled || continue
	original=$(original_of "$name")
	ok "${original:+1}" "$name: its original is known" && check "$name" "$status" $original
done <"$corpus/expect.txt"

# Only the metadata snapshot has the leaf, so the summary finds nothing wrong with the pool.
if "$corpus/get" bad-held-leaf bad-held-leaf.img; then
	"$corpus/get" thin-msnap thin-msnap.img
	bufio-dump bad --json bad-held-leaf.img | jq -r --arg row cost "$to_lines" >costs
	is "$(cut -d' ' -f1,5 costs)" "21 metadata-snapshot" "bad-held-leaf: costs the metadata snapshot alone"
	check_owners bad-held-leaf thin-msnap
	check_mappings bad-held-leaf thin-msnap current && check_loss bad-held-leaf thin-msnap 0
	check_mappings bad-held-leaf thin-msnap.msnap metadata-snapshot --metadata-snap &&
		check_loss bad-held-leaf thin-msnap.msnap 9
fi
finish
