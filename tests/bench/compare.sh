#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bufio-bench --compare: what is the same, better or worse, and what may not be compared; with results that are made by hand,
# and with runs. COMPARE_PAIRS=20 compares so many pairs of separate runs, equal ones and such that stand still for a fifth of
# the time, of COMPARE_TIME each: 20 minutes.
. "$srcdir/tests/tap.sh"
pairs=${COMPARE_PAIRS:-0} time=${COMPARE_TIME:-10s}

if ! command -v jq >/dev/null; then
	skip "needs jq"
	finish
	exit
fi

# result NAME OPS...: a result with a run "random" that did so many operations in each second.
result() {
	name=$1
	shift
	echo "$@" | jq -Rc 'split(" ") | map(tonumber) as $ops | ($ops | length) as $seconds | ($ops | add / $seconds) as $mean |
		{schema: "bufio.bench/1", image: "/dev/sdx", partial: false,
		device: {size: 1073741824, logical_block_size: 512, physical_block_size: 4096, rotational: false, direct: true,
			engine: "uring", model: "hand-made"}, memory_limit: 0, clock_ns: 25,
		runs: [{name: "random", pattern: "random", is_cached: false, block_size: 4096, depth: 1, threads: 1,
			read_percent: 100, region_begin: 0, region_end: 1073741824, rate: 0, arrival: "closed", flush_every: 0, seed: 0,
			repeats: [{ns: (1e9 * $seconds), ops: ($ops | add), bytes: (4096 * ($ops | add)), writes: 0, errors: 0,
				ops_per_s: $mean, bytes_per_s: (4096 * $mean), cpu_ns_per_op: 9000, is_saturated: false,
				service_ns: {count: ($ops | add), min: 1000, mean: (1e9 / $mean), p50: (1e9 / $mean), p90: (2e9 / $mean),
					p99: (3e9 / $mean), "p99.9": (4e9 / $mean), "p99.99": 5e9, "p99.999": 5e9, max: 5e9},
				samples: ($ops | to_entries | map({ns: (1e9 * (.key + 1)), ops: .value, bytes: (4096 * .value),
					p50: (1e9 / .value), p99: (3e9 / .value)}))}],
			median: {ops_per_s: $mean, bytes_per_s: (4096 * $mean), p50: (1e9 / $mean), p99: (3e9 / $mean)}}],
		warnings: []}' >"$name"
}

# compares STATUS VERDICT SENTENCE OPTION...
compares() {
	wanted=$1 verdict=$2 sentence=$3
	shift 3
	timeout 20 bufio-bench --compare --json "$@" >output 2>messages
	is $? "$wanted" "$sentence: exit status $wanted"
	is "$(jq -r '.compared[-1].verdict' output 2>&1)" "$verdict" "$sentence: $verdict"
}

# refuses STATUS WORD SENTENCE OPTION...: one line that has the word, and nothing else.
refuses() {
	wanted=$1 word=$2 sentence=$3
	shift 3
	timeout 20 bufio-bench --compare "$@" >output 2>messages
	is $? "$wanted" "$sentence: exit status $wanted"
	[ "$(grep -v '^Try ' messages | wc -l)" = 1 ] && grep -q -e "$word" messages && [ ! -s output ]
	is $? 0 "$sentence: one line tells, with $word"
}

metric() { # METRIC FIELD
	jq -r ".compared[0].runs[0].metrics[] | select(.name == \"$1\").$2" output
}

# At a rate that anything can do the operations are as many whatever else this machine does: 6 s, all at a time. They are
# needed last.
head -c 1048576 /dev/urandom >disk
start_at_rates() {
	rates=
	for run in "a 1000" "b 1000" "c 800"; do
		bufio-bench --json --cached --memory-limit=4MiB -t 6s --rate="${run#* }" disk >"run-${run% *}" 2>"messages-${run% *}" &
		rates="$rates $!"
	done
}
rates=
[ "${SAMPLE:-1}" != 1 ] || start_at_rates

# --- verdicts ---

result was 1000 1010 990 1005 995 1002 998 1000
result equal 1003 1000 985 1015 998 1000 1001 997
result slow 800 808 792 804 796 801 799 800
result fast 1250 1240 1260 1255 1245 1250 1252 1248
result almost 930 940 925 935 928 932 931 929
result short 800 800
result uneven 1500 200 1400 150 1450 300 700 200

compares 0 same "a result with itself" was was
is "$(metric ops_per_s ratio)" 1 "all ratios are 1"
compares 0 same "seconds in another order, and a little noise" was equal
compares 0 same "and the other way round" equal was
compares 1 worse "a fifth slower" was slow
is "$(metric ops_per_s verdict)" worse "in operations"
is "$(metric p50 verdict)" worse "and time, of which more is worse"
is "$(metric ops_per_s ratio)" 0.8 "the ratio is that of now to before"
is "$(metric ops_per_s was) $(metric ops_per_s is)" "1000 800" "and both are there"
compares 0 better "a fourth faster" slow was
compares 0 better "and another fourth" was fast
compares 0 same "less than the tolerance, though it is clear" was almost
compares 1 worse "which a smaller tolerance lets through" --tolerance=2 was almost
compares 0 same "a larger one lets through nothing" --tolerance=25 was slow
compares 0 same "two seconds prove nothing" was short
compares 0 same "nor does what goes up and down by far" was uneven
compares 1 worse "each file is compared with the first" was fast equal slow
is "$(jq -c '[.compared[] | .file, .verdict]' output)" '["fast","better","equal","same","slow","worse"]' "in their order"
compares 1 better "one that is worse gives the exit status, wherever it is" was slow fast

bufio-bench --compare was slow >output 2>messages
is $? 1 "as text: worse"
grep -q '^  ops/s .*0\.800  *worse$' output
is $? 0 "a row for each measure"
is "$(tail -n 1 output | cut -d, -f1)" worse "the last line is the verdict"
bufio-bench --compare -q was slow >output 2>&1
is "$?$(cat output)" 1 "silent with --quiet"
bufio-bench --compare was slow >/dev/full 2>messages
is $? 4 "output that cannot be written is an error"

# Only of what a single run has many values of, or where there are three repeats.
jq -c '.runs[0].repeats |= [.[0], .[0], .[0]]' was >was3
jq -c '.runs[0].repeats |= map(.cpu_ns_per_op = 9900)' was3 >cpu-little
jq -c '.runs[0].repeats |= map(.cpu_ns_per_op = 12000)' was3 >cpu-more
compares 0 same "a tenth more processor time" was3 cpu-little
compares 1 worse "a third more" was3 cpu-more
jq -c '.runs[0].repeats[0].cpu_ns_per_op = 12000' was >cpu-once
compares 0 same "but one repeat does not show it" was cpu-once

# --- what was not measured alike ---

# A line each: how it differs, and the word that tells.
jq -c '.runs[0] |= (.is_cached = true | .memory_limit = 8388608 | .name = "random, cached")' was >cached
while read -r change word; do
	[ "$change" ] && is_sampled || continue
	jq -c "$change" cached >other
	refuses 3 "$word" "$change" cached other
	timeout 20 bufio-bench --compare --force-conditions cached other >output 2>messages
	is $? 0 "$change: compared with --force-conditions"
	grep -q -e "$word" output messages
	is $? 0 "$change: which says it all the same"
done <<-END
	.device.size=2147483648 size
	.device.model="another" model
	.device.direct=false direct
	.device.engine="threads" engine
	.partial=true partial
	.runs[0].memory_limit=4194304 memory_limit
	.runs[0].pattern="zipf" pattern
	.runs[0].block_size=8192 block_size
	.runs[0].depth=8 depth
	.runs[0].threads=2 threads
	.runs[0].read_percent=50 read_percent
	.runs[0].region_end=4096 region
	.runs[0].rate=100 rate
	.runs[0].flush_every=7 flush_every
END
jq -c '.runs[0].name = "zipf"' was >other
refuses 3 "not there" "no run that both have" was other
timeout 20 bufio-bench --compare --force-conditions was other >output 2>messages
[ $? != 0 ]
is $? 0 "nothing at all was compared, and so nothing is the same"
jq -c '.runs[0].repeats = []' was >other
timeout 20 bufio-bench --compare was other >output 2>messages
[ $? != 0 ]
is $? 0 "nor where one side was never measured"
jq -c '.image = "/dev/sdy" | .clock_ns = 40 | .runs[0].seed = 5' was >other
compares 0 same "names, clocks and seeds may differ" was other

# --- what is no result ---

echo '{' >bad-json
: >bad-empty
echo '{"schema":"bufio.check/1"}' >bad-schema
echo '[]' >bad-array
jq -c '.schema = "bufio.bench/2"' was >bad-version
jq -c 'del(.runs)' was >bad-runs
jq -c '.runs[0].repeats[0].ops = "many"' was >bad-ops
jq -c '.runs[0].repeats[0].samples = 5' was >bad-samples
head -c 700 was >bad-end
head -c 5000 /dev/urandom >bad-noise
mkdir bad-folder
for bad in bad-*; do
	is_sampled || continue
	refuses 4 "$bad" "$bad" was "$bad"
	refuses 4 "$bad" "$bad before" "$bad" was
done
refuses 4 missing "one that is not there" was missing
refuses 2 two "one file alone" was
refuses 2 tolerance "a tolerance that is none" --tolerance=x was was
refuses 2 compare "other options" --pattern=zipf was was

# --- runs ---

# Whether a and b are the same, and c is worse. Where the machine stands still for a while they are run again, twice at most.
are_as_asked() {
	bufio-bench --compare --json run-a run-b >output 2>messages
	[ "$(metric ops_per_s verdict)" = same ] || return 1
	bufio-bench --compare -q --force-conditions run-a run-c 2>messages
	[ $? = 1 ]
}

if [ "$rates" ]; then
	wait $rates
	for try in 2 3; do
		are_as_asked && break
		echo "# at a rate: try $try"
		start_at_rates
		wait $rates
	done
	bufio-bench --compare --json run-a run-b >output 2>messages
	is "$(metric ops_per_s verdict)" same "two runs at one rate do as much"
	refuses 3 rate "another rate is another workload" run-a run-c
	compares 1 worse "a fifth less" --force-conditions run-a run-c
	is "$(metric ops_per_s verdict)" worse "in operations"
	compares 0 same "a run with itself" run-c run-c
fi

pairs_at_rates() {
	n=0 equal=0 worse=0
	while [ $n -lt "$pairs" ]; do
		n=$((n + 1))
		start_at_rates
		wait $rates
		bufio-bench --compare -q run-a run-b && equal=$((equal + 1))
		bufio-bench --compare -q --force-conditions run-a run-c || worse=$((worse + 1))
	done
	ok $((equal * 20 >= pairs * 19)) "at a rate: equal runs are not worse in $equal of $pairs pairs"
	is "$worse" "$pairs" "at a rate: a fifth less is worse in $worse of $pairs"
}

# pairs_of WHAT OPTION...: one after the other, so that what else goes on here meets all.
pairs_of() {
	what=$1 n=0 equal=0 worse=0
	shift
	while [ $n -lt "$pairs" ]; do
		n=$((n + 1))
		bufio-bench --json -t "$time" "$@" disk >run-a 2>messages
		bufio-bench --json -t "$time" "$@" disk >run-b 2>messages
		python3 "$srcdir/tests/bench/throttle.py" 20 bufio-bench --json -t "$time" "$@" disk >run-c 2>messages
		bufio-bench --compare --json run-a run-b >output
		first="$(jq -r '.compared[0].verdict' output) ($(jq -r '[.compared[0].runs[].metrics[].ratio] | map(tostring) | join(" ")' output))"
		bufio-bench --compare --json run-a run-c >output
		second="$(jq -r '.compared[0].verdict' output) ($(jq -r '[.compared[0].runs[].metrics[].ratio] | map(tostring) | join(" ")' output))"
		case $first in same*) equal=$((equal + 1)) ;; esac
		case $second in worse*) worse=$((worse + 1)) ;; esac
		echo "# $what, pair $n: equal $first, throttled $second"
	done
	ok $((equal * 20 >= pairs * 19)) "$what: equal runs are the same in $equal of $pairs pairs"
	is "$worse" "$pairs" "$what: throttled by a fifth they are worse in $worse of $pairs"
}

if [ "$pairs" = 0 ]; then
	skip "pairs of runs need COMPARE_PAIRS"
elif ! command -v python3 >/dev/null; then
	skip "pairs of runs need python3"
else
	pairs_at_rates
	head -c 268435456 /dev/urandom >disk
	pairs_of "random reads"
	pairs_of "hits" --cached --region=0..1MiB --memory-limit=8MiB --warm-up=200ms
fi
finish
