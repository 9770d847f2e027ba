#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# bufio-dump over every image of the corpus, all made by the real kernel, some damaged afterwards.
# Healthy: the XML is what thin_dump 0.9.0 wrote, byte for byte, the JSON holds the same numbers, and so do the XML that
# says shared mappings once and the extents in bytes.
# Damaged: it ends by itself, with the status and the problems of expect.txt; and so does every other view.
#
# A healthy case is NAME.img.xz with NAME.xml.xz (and NAME.msnap.xml.xz for its metadata snapshot, NAME.before.xml.xz for
# what it was before volumes were deleted); a damaged one NAME.img.xz or NAME.recipe, and a line in expect.txt. Dropping
# the files in adds the case.

corpus=$srcdir/tests/corpus
. "$srcdir/tests/tap.sh"
# Tables of views are a share of this: filling them, as MALLOC_PERTURB_ does, would take longer than all the rest.
export BUFIO_MEMORY_LIMIT=16MiB

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

# As a program that knows <def> and <ref> reads it.
check_sharing() { # NAME FLAT-XML OPTION...
	name=$1 flat=$2
	shift 2
	bufio-dump --format=xml "$@" "$name.img" >shared.xml 2>messages
	is $? 0 "$name: dumps with def and ref $*"
	awk -f "$corpus/expand.awk" shared.xml >expanded.xml 2>>messages
	same "$flat" expanded.xml "$name: and that stands for the same $*"
}

check_bytes() { # NAME FLAT-XML
	awk -f "$corpus/blocks.awk" -v mode=extents "$2" >want
	bufio-dump mappings --bytes --json "$1.img" 2>messages |
		jq -r 'select(.type == "extent") | "\(.dev_id) \(.virtual_bytes) \(.data_bytes) \(.length_bytes)"' >got
	same want got "$1: --bytes has the same extents"
	bufio-dump mappings --bytes "$1.img" 2>messages |
		awk '/^# device/ { sub(":", "", $3); device = $3; next } NF { print device, $1, $2, $3 }' >got
	same want got "$1: --bytes has them for people too"
	# thin_dump's counts, which no run was made of.
	sed -n 's/.*<device dev_id="[0-9]*" mapped_blocks="\([0-9]*\)".*/\1/p' "$2" | awk '{ n += $1 } END { print n + 0 }' >blocks
	unit=$(sed -n 's/.* data_block_size="\([0-9]*\)".*/\1/p' "$2")
	is "$(awk -v unit="$unit" '{ n += $4 } END { printf "%.0f", n / 512 / unit }' got)" "$(cat blocks)" \
		"$1: and they are so long as the devices' mapped blocks"
}

# All mappings by data block, and no more.
check_data_owners() { # NAME FLAT-XML NR-DATA-BLOCKS
	bufio-dump owner --data "$1.img" "0..$3" >owners 2>messages
	awk '/^data / {
		split($2, data, /\.\./); split($4, device, /[()]/); split($5, virtual, /\.\./)
		for (i = 0; i < data[2] - data[1]; i++)
			print device[2], virtual[1] + i, data[1] + i
	}' owners | sort >got
	awk -f "$corpus/blocks.awk" -v mode=blocks "$2" | sed 's/ [^ ]*$//' | sort >want
	same want got "$1: data blocks belong to who maps them"
}

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
	check_sharing "$1" want.xml
	check_bytes "$1" want.xml
	check_data_owners "$1" want.xml "$(sed -n '1s/.* nr_data_blocks="\([0-9]*\)".*/\1/p' want.xml)"
	[ -f "$corpus/$1.msnap.xml.xz" ] || return 0
	xz -dc "$corpus/$1.msnap.xml.xz" >want.xml
	bufio-dump --format=xml --flat --metadata-snap "$1.img" >got.xml 2>messages
	same want.xml got.xml "$1: its metadata snapshot too"
	check_sharing "$1" want.xml --metadata-snap
}

# The same of what damage has left, with the same words about it.
check_damaged_sharing() { # NAME
	timeout 20 bufio-dump --format=xml --flat "$1.img" >flat.xml 2>flat.messages
	flat=$?
	timeout 20 bufio-dump --format=xml "$1.img" >shared.xml 2>messages
	is $? $flat "$1: the status is the same with def and ref"
	[ $flat = 10 ] && return
	awk -f "$corpus/expand.awk" shared.xml >expanded.xml 2>>messages
	same flat.xml expanded.xml "$1: the mappings are the same with def and ref"
	sort flat.messages >want
	sort messages >got
	same want got "$1: the messages are the same with def and ref"
}

# Every view, with words that mean something in most images.
run_view() { # NAME WORDS... with IMAGE for the image
	name=$1
	shift
	view=$*
	for word; do
		shift
		[ "$word" = IMAGE ] && word=$name.img
		set -- "$@" "$word"
	done
	timeout 20 bufio-dump "$@" >out 2>messages
	status=$?
	case $status in
	0 | 1 | 2 | 3 | 4 | 9 | 10 | 11) ok 1 "$name: $view ends by itself" ;;
	*) ok 0 "$name: $view ends by itself, but with status $status" ;;
	esac
	grep -qE 'Sanitizer|runtime error:' messages out && ok 0 "$name: $view: sanitizer report"
}

run_views() { # NAME
	while read -r words; do
		run_view "$1" $words </dev/null
	done <<-end
		summary IMAGE
		summary --shared IMAGE
		mappings --format=xml IMAGE
		mappings --format=xml --flat IMAGE
		mappings --format=human IMAGE
		mappings --json IMAGE
		mappings --bytes IMAGE
		mappings --json --root=140 IMAGE
		ls IMAGE
		ls --json IMAGE
		block IMAGE 0..40
		path IMAGE 1 500
		path --json IMAGE 4 500
		owner IMAGE 0..200
		owner --json IMAGE 40..60 140
		owner --data IMAGE 0..20000
		bad IMAGE
		bad --json IMAGE
		delta IMAGE 1 2
		delta --format=xml --verbose IMAGE 1 1@snap
		diff IMAGE IMAGE
		map IMAGE
		map --json --svg=picture.svg IMAGE
		roots IMAGE
		size IMAGE
	end
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
	check_damaged_sharing "$name"
	run_views "$name"
}

for xml in "$corpus"/*.xml.xz; do
	name=$(basename "$xml" .xml.xz)
	case $name in *.*) continue ;; esac
	is_sampled || continue
	"$corpus/get" "$name" "$name.img" && check_healthy "$name"
	rm -f "$name.img"
done

while read -r name status problems; do
	case $name in '#'*) continue ;; esac
	is_sampled || continue
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
bufio-dump --format=xml --flat thin-frag.img >want.xml
bufio-dump --format=xml --flat --memory-limit=1MiB --stats thin-frag.img >got.xml 2>messages
same want.xml got.xml "thin-frag: the same bytes with --memory-limit=1MiB"
peak=$(sed -n "s/.*peak memory \([0-9]*\) of [0-9]* bytes/\1/p" messages)
ok "$((${peak:-0} > 0 && ${peak:-0} <= 1048576))" \
	"thin-frag: and the cache stayed within it"

# The expander is no judge if it takes everything.
"$corpus/get" thin-snaps thin-snaps.img
bufio-dump --format=xml --flat thin-snaps.img >want.xml
bufio-dump --format=xml thin-snaps.img >shared.xml
refuses() { # SED-SCRIPT SENTENCE
	sed "$1" shared.xml >wrong.xml
	cmp -s wrong.xml shared.xml && ok 0 "$2: nothing was changed"
	awk -f "$corpus/expand.awk" wrong.xml >got.xml 2>/dev/null && cmp -s want.xml got.xml
	ok $? "$2 is seen"
}
refuses '0,/<ref name="1"/s//<ref name="2"/' "a ref to the wrong def"
refuses 's/<ref name="1"/<ref name="999999"/' "a ref without a def"
refuses '/<ref name="1"/d' "a ref that is missing"
refuses '0,/<def name="2"/s//<def name="1"/' "a def that is there twice"
refuses '0,/time="0"/s//time="1"/' "a wrong time"

# 30240 devices share one tree, whose 50400 pointers all lead to one empty leaf. The mappings alone, which are written for
# every device, take their time.
"$corpus/get" hostile-many-pointers hostile.img
for words in "summary IMAGE" "summary --shared IMAGE" "ls IMAGE" "path IMAGE 9 9" "owner IMAGE 0..200" "owner --data IMAGE 0..99" \
	"bad IMAGE" "bad --json IMAGE" "delta IMAGE 1 9" "diff IMAGE IMAGE" "map IMAGE" "roots IMAGE" "size IMAGE"; do
	run_view hostile $words
done

if command -v thin_dump >/dev/null; then
	"$corpus/get" thin-snaps thin-snaps.img
	thin_dump -f human_readable thin-snaps.img >want
	bufio-dump mappings --format=human thin-snaps.img >got
	same want got "thin-snaps: the human form is thin_dump's"
else
	skip "thin-snaps: thin_dump is not installed to compare the human form with"
fi
finish
