#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Damaged copies of corpus images through fuzz-dump: FUZZ_COUNT each, with a fixed seed and with one of the day. Damaged
# XML through the three targets of fuzz-xml, and damaged scripts through those of fuzz-script: FUZZ_XML_COUNT and
# FUZZ_SCRIPT_COUNT cases each, or so many seconds ("600s"), two at a time. Maps of ddrescue through fuzz-map, traces
# through fuzz-trace, journals through fuzz-journal, packed pools through fuzz-pack, and damaged images through fuzz-repair:
# FUZZ_MAP_COUNT, FUZZ_TRACE_COUNT, FUZZ_JOURNAL_COUNT, FUZZ_PACK_COUNT and FUZZ_REPAIR_COUNT cases, or so many seconds.
. "$srcdir/tests/tap.sh"
count=${FUZZ_COUNT:-40}
xml_count=${FUZZ_XML_COUNT:-150}
script_count=${FUZZ_SCRIPT_COUNT:-3000}
pack_count=${FUZZ_PACK_COUNT:-1000}
map_count=${FUZZ_MAP_COUNT:-20000}
trace_count=${FUZZ_TRACE_COUNT:-20000}
journal_count=${FUZZ_JOURNAL_COUNT:-3000}
repair_count=${FUZZ_REPAIR_COUNT:-100}
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

# Each statement of the language in a script of its own, and all of them in one.
head -n 10 "$srcdir/tests/script/all.bp" | grep -v '^#' >head.bp
nr=0
tail -n +10 "$srcdir/tests/script/all.bp" | while IFS= read -r line; do
	nr=$((nr + 1))
	{ cat head.bp && echo 'let leaf = sb.time' && echo 'let four = 4' && printf '%s\n' "$line"; } >"statement-$nr.bp"
done
cp "$srcdir/tests/script/all.bp" . || exit 99

# Two seeds of a target, at the same time.
fuzz_text() { # PROGRAM TARGET COUNT FILE...
	program=$1 target=$2 text_count=$3
	shift 3
	for seed in 1 "${day}1"; do
		{
			"$builddir/tests/fuzz/$program" "$target" $seed "$text_count" "$@" >"log.$seed" 2>"said.$seed"
			echo $? >"status.$seed"
		} &
	done
	wait
	for seed in 1 "${day}1"; do
		cp "said.$seed" messages
		is "$(cat "status.$seed")" 0 "$program, $target: $text_count from seed $seed: no crash, hang or leak" ||
			tail -n 1 "log.$seed" | sed 's/^/# last: /'
	done
}

# Small files more often than large ones: most that is found is found in these.
for target in expat scanner both; do
	fuzz_text fuzz-xml $target "$xml_count" good.xml good.xml good.xml thin-*.xml
done
for target in read twice memory; do
	fuzz_text fuzz-script $target "$script_count" statement-*.bp all.bp
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
	"$builddir/tests/fuzz/fuzz-trace" $seed "$trace_count" >log 2>messages
	is $? 0 "traces: $trace_count from seed $seed: no crash, hang or leak" || tail -n 1 log | sed 's/^/# last: /'
	"$builddir/tests/fuzz/fuzz-journal" $seed "$journal_count" >log 2>messages
	is $? 0 "journals: $journal_count from seed $seed: nothing is written but what they say" ||
		tail -n 1 log | sed 's/^/# last: /'
done

set --
for name in thin-one thin-msnap thin-snaps thin-manydev thin-undelete thin-sharedmany; do
	"$srcdir/tests/corpus/get" $name $name || exit 99
	set -- "$@" $name
done
for seed in 1 "${day}1"; do
	"$builddir/tests/fuzz/fuzz-repair" $seed "$repair_count" "$@" >log 2>messages
	is $? 0 "repairs: $repair_count from seed $seed: what is written is clean, or nothing is" ||
		tail -n 1 log | sed 's/^/# last: /'
done
finish
