#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bufio-bench: each kind of run gives figures that can be true (sane.jq), of the blocks that it should, and nothing else
# stands where a program reads them.
. "$srcdir/tests/tap.sh"

if ! command -v jq >/dev/null; then
	skip "needs jq"
	finish
	exit
fi

head -c 4194304 /dev/urandom >disk # 1024 blocks
cp disk old

# sane SENTENCE OPTION...: "output" is then the result, one document with figures that can be true, of exactly as many
# operations as -n says; and not a word is said besides. With SAMPLE one of several runs is done, and what is looked at
# after the others ("seen") is left out.
sane() {
	sentence=$1 count=0 before= seen=
	is_sampled || return
	seen=yes
	shift
	for option; do
		[ "$before" != -n ] || count=$option
		before=$option
	done
	timeout 60 bufio-bench --json "$@" disk >output 2>messages
	echo $? >>messages
	jq -rsf "$srcdir/tests/bench/sane.jq" --argjson count $count output >>messages 2>&1
	is "$(cat messages)" 0 "$sentence"
}

# shows JQ EXPECTED SENTENCE: of the last result.
shows() {
	[ ! "$seen" ] || is "$(jq -c "$1" output 2>&1 | tr '\n' ' ')" "$2 " "$3"
}

# --- kinds of runs ---

patterns="sequential strided strided:7 random zipf zipf:0.5 zipf:1.2 pareto pareto:0.9 normal normal:0.02
	hot-cold hot-cold:80/20 zipf-scan zipf-scan:1.1"
for pattern in $patterns; do
	for how in --raw --memory-limit=1MiB; do
		sane "$pattern $how" --pattern=$pattern $how -n 500
	done
done
sane "four threads together do what was asked for" -n 1001 --threads=4
shows '.runs[0].threads' 4 "and are told"
sane "four threads through a cache" -n 1001 --threads=4 --cached
sane "eight at a time" -n 1001 --depth=8
shows '.runs[0].depth' 8 "and are told"
sane "eight ahead" -n 1001 --depth=8 --cached --pattern=sequential
sane "threads that have eight at a time each" -n 1001 --depth=8 --threads=3 --io-engine=threads
shows '.device.engine' '"threads"' "of the engine asked for"
sane "large blocks" -n 50 --block-size=256KiB
shows '.runs[0] | [.block_size, .region_end]' '[262144,4194304]' "of the size asked for"
sane "small blocks" -n 500 --block-size=512B --cached
sane "a region that is one block" -n 100 --region=5+1
shows '.runs[0] | [.region_begin, .region_end]' '[20480,24576]' "in bytes"
sane "by time" -t 300ms
shows '.runs[0].repeats[0].ns | . >= 3e8 and . < 2e9' true "for as long as asked"
sane "by time and count" -n 100 -t 20s
shows '.runs[0].repeats[0] | .ops == 100 and .ns < 1e10' true "whatever comes first"
sane "three times" -n 200 --repeat=3
shows '.runs[0].repeats | length' 3 "are three repeats"
sane "page cache" -n 200 --direct=off
shows '[.device.direct, ([.warnings[].name] | contains(["page-cache"]))]' '[false,true]' "is told"
sane "warmed up" --cached --region=0..16 -n 1000 --warm-up=100ms --pattern=sequential
shows '.runs[0].repeats[0].misses' 0 "what fits is all there, and nothing before counts"
sane "until it is steady" --cached --region=0..16 -n 1000 --warm-up=steady
shows '.runs[0].repeats[0].misses' 0 "is all there too"
sane "a cache that is too small" --cached --memory-limit=1MiB --pattern=sequential -n 2048
shows '.runs[0].memory_limit' 1048576 "has the limit asked for"
sane "a fixed rate" --rate=2000/s -n 600
shows '.runs[0] | [.rate, .arrival, .repeats[0].ns >= 599 * 5e5 * 0.99]' '[2000,"fixed",true]' "is never faster"
sane "arrivals at random" --rate=2000/s --arrival=poisson -n 600
shows '.runs[0] | [.rate, .arrival, .repeats[0].ns >= 2e8]' '[2000,"poisson",true]' "are as many in a second"
sane "a rate through a cache" --rate=2000/s --cached -n 600 --threads=2
for how in --raw --cached; do
	sane "what nothing can do, $how" --rate=1000000000 -n 3000 $how
	shows '([.warnings[].name] | contains(["saturated"])), (.runs[0].repeats[0] | .is_saturated, .response_ns.p50 > .service_ns.p50)' \
		"true true true" "is saturated, and operations wait"
	[ "$seen" ] || continue
	bufio-bench --rate=1000000000 -n 3000 $how disk >output 2>messages
	ok "$(grep -c SATURATED output)" "and it is said aloud"
done
sane "the seconds" --cached --region=0..16 -t 1600ms
shows '.runs[0].repeats[0].samples | length' 2 "one and a part"

processors=$(getconf _NPROCESSORS_ONLN)
sane "sizes of blocks" --sweep=block-size -n 30
shows '[.runs[].block_size] | [first, last]' '[4096,1048576]' "from 4 KiB to 1 MiB"
sane "depths" --sweep=depth -n 100
shows '[.runs[].depth] | [first, last]' '[1,64]' "from 1 to 64"
sane "threads" --sweep=threads -n 100 --cached
shows '[.runs[].threads] | [first, last]' "[1,$((2 * processors))]" "up to twice the processors"
same old disk "nothing of all that has written"

# --- the curve of hits ---

for pattern in zipf:0.9 random sequential; do
	sane "$pattern with a curve" --curve --cached --memory-limit=1MiB --pattern=$pattern -n 50
	shows '.runs[0].curve.points | (map(.limit) == (map(.limit) | sort)), all(.[]; .hits >= 0 and .hits <= 1 and .lru_hits >= 0 and .lru_hits <= 1),
		(map(.lru_hits) == (map(.lru_hits) | sort)), (length >= 5)' "true true true true" "$pattern: more memory is more hits, from 0 to 1"
	shows '.runs[0].curve | . as $c | all(.least_limits[]; .limit == null or (.asked as $asked | .limit as $limit |
		all($c.points[]; if .limit >= $limit then .hits >= $asked - 0.01 else .hits <= $asked + 0.01 end)))' true \
		"$pattern: the least limits are on it"
	# What a run has with the limit of a point.
	[ "$seen" ] || continue
	cp output curve
	for n in 3 6; do
		limit=$(jq ".runs[0].curve.points[$n].limit" curve)
		foreseen=$(jq ".runs[0].curve.points[$n].hits" curve)
		sane "$pattern with a limit of the curve" --cached --memory-limit=$limit --pattern=$pattern -n 8000 --warm-up=300ms
		shows ".runs[0].repeats[0] | .hits / .ops - $foreseen | . < 0.03 and . > -0.03" true "$pattern: as many hits as foreseen, to 3 %"
	done
done

# --- which blocks ---

# ask OPTION...: "asked" has the blocks that a cache is asked for, in their order, and "output" the result.
ask() {
	rm -f trace
	timeout 60 bufio-bench --json --cached "$@" --record=trace disk >output 2>messages
	awk '$2 == "get" || $2 == "new" || $2 == "read" { print $3 }' trace >asked
}

# The same for what is looked at below; with SAMPLE one of several.
blocks() {
	seen=
	is_sampled && seen=yes || return
	ask "$@"
}

# holds SENTENCE AWK: for the numbers in "asked", of which "n" is the number, it prints 1.
holds() {
	[ ! "$seen" ] || is "$(awk "$2" asked)" 1 "$1"
}

blocks --pattern=sequential -n 3000
holds "in sequence: each follows the one before, and the first the last" '$1 != (NR - 1) % 1024 { bad = 1 } END { print NR == 3000 && !bad }'
blocks --pattern=strided:16 -n 1024
holds "strided: every 16th, then those that were left out" '
	$1 != (NR - 1) % 64 * 16 + int((NR - 1) / 64) { bad = 1 } END { print NR == 1024 && !bad }'
blocks --pattern=random -n 20480
holds "at random: each block as often as others, 20 times and a bit" '
	{ n[$1]++ } END { for (b = 0; b < 1024; b++) sum += (n[b] - 20) ^ 2 / 20; print (NR == 20480 && sum > 800 && sum < 1250) }'
holds "and not in any order" '$1 > last { up++ } { last = $1 } END { print (up > 9500 && up < 11000) }'
# The share of the blocks that are asked for most.
share='{ n[$1]++ } END { for (b in n) print n[b] }'
top() { # NUMBER-OF-BLOCKS
	[ ! "$seen" ] || awk "$share" asked | sort -rn | head -n "$1" | awk '{ sum += $1 } END { print int(100 * sum / 20480 + 0.5) }'
}
between() { # VALUE LEAST MOST SENTENCE
	[ ! "$seen" ] || ok $(($1 >= $2 && $1 <= $3)) "$4: $1"
}
# Of 1024 blocks with theta 0.99 the first has 1 in 7.79, the first ten 37.9 %.
blocks --pattern=zipf:0.99 -n 20480
between "$(top 1)" 12 14 "zipf: percent that ask for the first block"
between "$(top 10)" 36 40 "zipf: for the first ten"
blocks --pattern=hot-cold:90/10 -n 20480
between "$(top 102)" 89 92 "hot-cold: percent that ask for the hot tenth"
blocks --pattern=pareto:0.8 -n 20480
between "$(top 205)" 78 83 "pareto: percent that ask for a fifth"
blocks --pattern=normal:0.1 -n 20480
holds "normal: around the middle, with the deviation asked for" '
	{ sum += $1; squares += $1 * $1 } END { mean = sum / NR; deviation = sqrt(squares / NR - mean * mean)
		print (mean > 507 && mean < 517 && deviation > 99 && deviation < 106) }'
blocks --pattern=zipf-scan -n 4096
holds "zipf and a scan: every other one is of the scan" '
	function step(i) { if (!(NR % 2 == i)) return; if (NR > 2 && $1 != (last[i] + 1) % 1024) bad[i]++; last[i] = $1 }
	{ step(0); step(1) } END { print !bad[0] != !bad[1] }'

for pattern in $patterns; do
	blocks --pattern=$pattern -n 2000 --region=100..200
	[ "$seen" ] || continue
	holds "$pattern: stays in its region" '$1 < 100 || $1 > 199 { bad = 1 } END { print NR == 2000 && !bad }'
	cp asked before
	ask --pattern=$pattern -n 2000 --region=100..200
	same before asked "$pattern: the same blocks again"
	case $pattern in sequential | strided*) continue ;; esac
	ask --pattern=$pattern -n 2000 --region=100..200 --seed=7
	cmp -s before asked
	is $? 1 "$pattern: others with another seed"
done
ask --pattern=sequential --threads=4 -n 1024
sort -n asked | uniq | awk 'END { print NR }' >number
is "$(cat number)" 1024 "threads: each has a part of its own of the sequence"
blocks -n 5000 --region=400KiB..800KiB --threads=3
holds "threads stay in the region, which may be in bytes" '$1 < 100 || $1 > 199 { bad = 1 } END { print NR == 5000 && !bad }'
blocks -n 5000 --block-size=16KiB --region=1MiB+1MiB
holds "or begin and length, of larger blocks" '$1 < 64 || $1 > 127 { bad = 1 } END { print NR == 5000 && !bad }'
bufio-bench --region=1024+1 -n 5 disk >output 2>messages
is $? 2 "a region beyond the end is refused"
bufio-bench --region=0..1025 -n 5 disk >output 2>messages
is $? 2 "one that ends beyond it as well"

# --- writing ---

# outside SENTENCE: blocks 0 to 255 and 512 to the end are as they were, and the others are not.
outside() {
	[ "$seen" ] || return
	cmp -s -n 1048576 old disk && cmp -s -i 2097152 old disk
	is $? 0 "$1: outside of the region nothing is written"
	cmp -s old disk
	is $? 1 "$1: but within"
	cp old disk
}

for how in --raw --cached; do
	sane "writes, $how" --write $how --region=256..512 -n 1000
	shows '.runs[0] | [.read_percent, .repeats[0].writes]' '[0,1000]' "all are writes"
	outside "writes, $how"
	sane "half of them, $how" --write $how --region=256..512 -n 1000 --read-percent=50
	shows '.runs[0].repeats[0].writes | . > 420 and . < 580' true "about half are"
	outside "half of them, $how"
	sane "and flushes, $how" --write $how --region=256..512 -n 200 --flush-every=20
	shows '.runs[0].repeats[0].flush_ns.count' 10 "as many as asked for"
	outside "and flushes, $how"
	for options in "--threads=3" "--depth=8" "--pattern=sequential --block-size=64KiB" "--rate=5000"; do
		sane "writes $options, $how" --write $how --region=1MiB..2MiB -n 600 $options
		outside "writes $options, $how"
	done
done
sane "flushes with many at a time" --write --region=256..512 -n 400 --depth=8 --flush-every=20
shows '.runs[0].repeats[0].flush_ns.count' 20 "are as many"
cp old disk

# --- forms ---

# How many runs and repeats these have, and the options.
while read -r runs repeats options; do
	is_sampled || continue
	bufio-bench --csv $options disk >output 2>messages
	is "$? $(cat messages)" "0 " "csv $options: without a word besides"
	is "$(wc -l <output)" $((repeats + 1)) "csv $options: a line for each repeat, and names"
	# A name may have a comma in it.
	is "$(sed 's/"[^"]*"/NAME/g' output | awk -F, '{ print NF }' | sort -u | wc -l)" 1 "csv $options: as many fields in each"
	is "$(sed 1d output | sed 's/"[^"]*"/NAME/g' | grep -Evc '^NAME,[a-z-]+(,[0-9][0-9.e+-]*)*$')" 0 "csv $options: numbers"
	bufio-bench --markdown $options disk >output 2>messages
	is "$? $(cat messages)" "0 " "markdown $options: without a word besides"
	is "$(grep -vc '^|.*|$' output)" 0 "markdown $options: the table alone"
	is "$(sed 's/[^|]//g' output | sort -u | wc -l)" 1 "markdown $options: as many cells in each row"
	ok $(($(wc -l <output) >= runs + 2)) "markdown $options: a row for each run"
	bufio-bench -q $options disk >output 2>&1
	is "$? $(cat output)" "0 " "quiet $options: not a word"
	bufio-bench $options disk >output 2>messages
	is "$? $(cat messages)" "0 " "text $options: without a word besides"
	is "$(awk 'length > 120' output)" "" "text $options: in 120 columns"
done <<-END
	1 1 -n 100
	1 3 -n 100 --cached --repeat=3
	5 5 -n 20 --sweep=block-size
	1 1 -n 100 --rate=3000 --direct=off
END
bufio-bench -q --json -n 10 disk >output 2>&1
is "$?$(cat output)" 0 "quiet before all"
for form in "" --json --csv --markdown; do
	bufio-bench $form -n 10 disk >/dev/full 2>messages
	is $? 4 "output that cannot be written is an error $form"
	is "$(wc -l <messages)" 1 "which a line tells $form"
done
bufio-bench --json --csv -n 10 disk >output 2>messages
is $? 2 "two forms at a time are refused"
if command -v xmllint >/dev/null; then
	bufio-bench -q --svg=picture.svg --cached --repeat=2 -n 500 disk >output 2>&1
	xmllint --noout picture.svg >messages 2>&1
	is $? 0 "the picture is well formed"
	is "$(grep -ciE '(href|src)=|<script|url\(http' picture.svg)" 0 "and needs nothing besides"
	ok "$(grep -c prefers-color-scheme picture.svg)" "it is for light and dark"
else
	skip "the picture needs xmllint"
fi

# --- what makes no sense ---

while read -r options; do
	is_sampled || continue
	timeout 20 bufio-bench -n 10 $options disk >output 2>messages
	is "$? $(wc -l <output)" "2 0" "refused: $options"
	is "$(grep -v '^Try ' messages | wc -l)" 1 "in one line: $options"
done <<-END
	--pattern=none
	--pattern=zipf:-1
	--pattern=zipf:nan
	--pattern=zipf:0.9x
	--pattern=pareto:1
	--pattern=pareto:0
	--pattern=normal:0
	--pattern=normal:-1
	--pattern=strided:0
	--pattern=hot-cold:90
	--pattern=hot-cold:101/10
	--pattern=random:5
	--threads=0
	--depth=0
	--count=0
	--time=0
	--time=1x
	--rate=0
	--rate=-1
	--arrival=poisson
	--rate=5 --arrival=never
	--read-percent=50
	--write --read-percent=101
	--write --read-percent=100
	--flush-every=3
	--force-signature=ext4
	--region=5..3
	--region=5+0
	--region=1B..9000B
	--block-size=1000
	--block-size=0
	--block-size=1TiB
	--repeat=0
	--sweep=none
	--raw --cached
	--raw --memory-limit=1MiB
	--speed=asap
	--warm-up=steady
	--memory-limit=1KiB
	--speed=x2
	--tolerance=3
	--curve --replay=disk
END
finish
