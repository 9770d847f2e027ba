#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# bufio-dump over every image of the corpus, all made by the real kernel, some damaged afterwards.
# Healthy: the XML is what thin_dump 0.9.0 wrote, byte for byte, the JSON holds the same numbers.
# Damaged: it ends by itself, with the status and the problems of expect.txt.
#
# A healthy case is NAME.img.xz with NAME.xml.xz (and NAME.msnap.xml.xz for its metadata snapshot); a damaged one
# NAME.img.xz or NAME.recipe, and a line in expect.txt. Dropping the files in adds the case.

corpus=$srcdir/tests/corpus
. "$srcdir/tests/tap.sh"

if ! command -v jq >/dev/null; then
	skip "jq is not installed to read the JSON with"
	finish
	exit
fi

# JSON lines of the mappings, as the XML that they must be equal to.
json_to_xml='
	def a(k): " \(k)=\"\(.[k])\"";
	def close: if . then "  </device>\n" else "" end;
	foreach inputs as $r ({open: false};
		if $r.type == "superblock" then .open = false
			| .out = "<superblock uuid=\"\($r.uuid)\"" + ($r | a("time") + a("transaction") + a("flags")
				+ a("version") + a("data_block_size") + a("nr_data_blocks")) + ">\n"
		elif $r.type == "device" then .out = (.open | close) + "  <device" + ($r | a("dev_id")
				+ a("mapped_blocks") + a("transaction") + a("creation_time") + a("snap_time")) + ">\n"
			| .open = true
		elif $r.type == "mapping" and $r.length == 1 then
			.out = "    <single_mapping origin_block=\"\($r.origin)\" data_block=\"\($r.data)\" time=\"\($r.time)\"/>\n"
		elif $r.type == "mapping" then
			.out = "    <range_mapping origin_begin=\"\($r.origin)\" data_begin=\"\($r.data)\" length=\"\($r.length)\" time=\"\($r.time)\"/>\n"
		elif $r.type == "end" then .out = (.open | close) + "</superblock>\n"
		else .out = "" end;
		.out)'

check_healthy() { # NAME
	xz -dc "$corpus/$1.xml.xz" >want.xml
	bufio-dump --format=xml --flat "$1.img" >got.xml 2>messages
	is $? 0 "$1: dumps" && same want.xml got.xml "$1: XML is thin_dump's"
	bufio-dump mappings --json "$1.img" 2>messages | jq -nrj "$json_to_xml" >got.xml
	same want.xml got.xml "$1: JSON holds the same numbers"
	bufio-dump --json "$1.img" 2>messages | jq -e '.devices | length >= 0' >/dev/null
	is $? 0 "$1: the summary is one JSON document"
	bufio-dump --json "$1.img" 2>messages | jq -c '[.devices[] | [.dev_id, .mapped_blocks, .found_blocks]]' >got
	sed -n 's/.*<device dev_id="\([0-9]*\)" mapped_blocks="\([0-9]*\)".*/[\1,\2,\2]/p' want.xml |
		paste -sd, | sed 's/^/[/; s/$/]/' >want
	same want got "$1: the summary's devices are those of the XML"
	[ -f "$corpus/$1.msnap.xml.xz" ] || return 0
	xz -dc "$corpus/$1.msnap.xml.xz" >want.xml
	bufio-dump --format=xml --metadata-snap "$1.img" >got.xml 2>messages
	same want.xml got.xml "$1: its metadata snapshot too"
}

check_damaged() { # NAME STATUS PROBLEM...
	name=$1 want=$2
	shift 2
	timeout 120 bufio-dump --json "$name.img" >got.json 2>messages
	is $? "$want" "$name: ends with status $want"
	if [ "$want" != 10 ]; then
		jq -r '.problems[].name' got.json | sort -u | paste -sd' ' >got
		[ "$1" = - ] && shift
		echo "$@" >want
		same want got "$name: names ${*:-no problem}"
	else
		ok "$(grep -c "$name.img: " messages)" "$name: says why in one line"
	fi
	for view in "mappings --format=xml" "mappings --format=human" "mappings --json" "summary"; do
		timeout 120 bufio-dump $view "$name.img" >out 2>messages
		status=$?
		case $status in
		0 | 4 | 9 | 10 | 11) ok 1 "$name: $view ends by itself" ;;
		*) ok 0 "$name: $view ends by itself, but with status $status" ;;
		esac
		grep -q Sanitizer messages out && ok 0 "$name: $view: sanitizer report"
	done
}

for xml in "$corpus"/*.xml.xz; do
	name=$(basename "$xml" .xml.xz)
	case $name in *.msnap) continue ;; esac
	"$corpus/get" "$name" "$name.img" && check_healthy "$name"
	rm -f "$name.img"
done

while read -r name status problems; do
	case $name in '#'*) continue ;; esac
	"$corpus/get" "$name" "$name.img"
	case $? in
	0) check_damaged "$name" "$status" $problems ;;
	77) skip "$name: needs python3 to be made" ;;
	*) ok 0 "$name: cannot be unpacked" ;;
	esac
	rm -f "$name.img"
done <"$corpus/expect.txt"

# The largest image within a mebibyte.
"$corpus/get" thin-frag thin-frag.img
bufio-dump --format=xml thin-frag.img >want.xml
bufio-dump --format=xml --memory-limit=1MiB --stats thin-frag.img >got.xml 2>messages
same want.xml got.xml "thin-frag: the same bytes with --memory-limit=1MiB"
peak=$(sed -n "s/.*peak memory \([0-9]*\) of 1048576 bytes/\1/p" messages)
ok "$((${peak:-0} > 0 && ${peak:-0} <= 1048576))" \
	"thin-frag: and the cache stayed within it"

if command -v thin_dump >/dev/null; then
	"$corpus/get" thin-snaps thin-snaps.img
	thin_dump -f human_readable thin-snaps.img >want
	bufio-dump mappings --format=human thin-snaps.img >got
	same want got "thin-snaps: the human form is thin_dump's"
else
	skip "thin-snaps: thin_dump is not installed to compare the human form with"
fi
finish
