#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Damaged copies of corpus images through fuzz-dump: FUZZ_COUNT each, with a fixed seed and with one of the day. Damaged
# XML through the three targets of fuzz-xml: FUZZ_XML_COUNT cases each, or so many seconds ("600s"), two at a time. Maps of
# ddrescue through fuzz-map, and damaged packed pools through fuzz-pack: FUZZ_MAP_COUNT and FUZZ_PACK_COUNT cases, or so
# many seconds.
. "$srcdir/tests/tap.sh"
count=${FUZZ_COUNT:-40}
xml_count=${FUZZ_XML_COUNT:-150}
pack_count=${FUZZ_PACK_COUNT:-1000}
map_count=${FUZZ_MAP_COUNT:-20000}
day=$(date +%Y%m%d)

for name in thin-empty thin-one thin-msnap thin-snaps thin-manydev thin-bigid; do
	"$srcdir/tests/corpus/get" "$name" "$name" || exit 99
	for seed in 1 "${day}1"; do
		"$builddir/tests/fuzz/fuzz-dump" $seed "$count" "$name" >log 2>messages
		is $? 0 "$name: $count damaged copies from seed $seed: no crash, hang or leak" || tail -n 1 log | sed 's/^/# last: /'
	done
done

for name in thin-snaps thin-needscheck thin-msnap; do
	"$srcdir/tests/corpus/get" "$name" "$name" || exit 99
	bufio-dump -q --format=xml "$name" >"$name.xml"
	bufio-dump -q --format=xml --flat "$name" >"$name-flat.xml"
done
cp "$srcdir/tests/restore/good.xml" . || exit 99

# Small files more often than large ones: most that is found is found in these.
fuzz_xml() { # TARGET SEED
	"$builddir/tests/fuzz/fuzz-xml" "$1" "$2" "$xml_count" good.xml good.xml good.xml thin-*.xml >"log.$1.$2" 2>"said.$1.$2"
	echo $? >"status.$1.$2"
}

xml_done() { # TARGET SEED
	cp "said.$1.$2" messages
	is "$(cat "status.$1.$2")" 0 "XML, $1: $xml_count from seed $2: no crash, hang or leak" ||
		tail -n 1 "log.$1.$2" | sed 's/^/# last: /'
}

for target in expat scanner both; do
	fuzz_xml $target 1 &
	fuzz_xml $target "${day}1" &
	wait
	xml_done $target 1
	xml_done $target "${day}1"
done

for name in thin-one thin-snaps thin-manydev; do
	"$srcdir/tests/corpus/get" "$name" "$name" || exit 99
	bufio-copy -q --pack --memory-limit=7MiB "$name" "$name.pack" || exit 99
done
for seed in 1 "${day}1"; do
	"$builddir/tests/fuzz/fuzz-pack" $seed "$pack_count" thin-*.pack >log 2>messages
	is $? 0 "packed pools: $pack_count from seed $seed: no crash, hang or leak" || tail -n 1 log | sed 's/^/# last: /'
done

for seed in 1 "${day}1"; do
	"$builddir/tests/fuzz/fuzz-map" $seed "$map_count" >log 2>messages
	is $? 0 "maps: $map_count from seed $seed: no crash, hang or leak" || tail -n 1 log | sed 's/^/# last: /'
done
finish
