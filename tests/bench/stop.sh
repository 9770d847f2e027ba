#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bufio-bench stopped by a signal: what there is until then is said, marked as partial, and then the signal does its work.
. "$srcdir/tests/tap.sh"

head -c 4194304 /dev/urandom >disk

# All at a time, each in a folder of its own. stop NAME SIGNAL SECONDS OPTION...
#
# Not what this shell starts in the background, which ignores SIGINT.
jobs=
stop() {
	mkdir "$1" && ln disk "$1/disk" && echo "$2" >"$1/signal"
	(
		cd "$1" || exit
		name=$1 signal=$2 seconds=$3
		shift 3
		timeout --foreground -k 20 -s "$signal" --preserve-status "$seconds" \
			env --default-signal=INT bufio-bench "$@" disk >output 2>messages
		echo $? >status
	) 2>/dev/null &
	jobs="$jobs $!"
}
if ! env --default-signal=INT true 2>/dev/null; then
	skip "needs env --default-signal"
	finish
	exit
fi

for signal in INT TERM HUP; do
	stop text-$signal $signal 1.2 -t 60s
	stop json-$signal $signal 1.2 -t 60s --json
done
stop json-cached INT 1.2 -t 60s --json --cached --threads=3
stop json-rate TERM 1.2 -t 60s --json --rate=200 --arrival=poisson
stop json-idle INT 1.2 -t 60s --json --rate=1
stop json-saturated INT 1.2 -t 60s --json --rate=100000000
stop json-warming INT 1.2 -t 60s --json --warm-up=60s
stop json-count INT 1.2 -n 1000000000 --json --depth=8
stop json-repeat INT 1.2 -t 500ms --repeat=100 --json
stop json-sweep INT 1.2 -t 500ms --sweep=block-size --json
stop json-first INT 1.2 --json
stop json-write INT 1.2 -t 60s --json --write --cached --flush-every=100
stop json-soon TERM 0.02 -t 60s --json
stop text-first INT 1.2
stop text-repeat TERM 1.2 -t 500ms --repeat=100
stop text-warming INT 1.2 -t 60s --warm-up=60s
stop csv INT 1.2 -t 500ms --repeat=100 --csv
stop markdown INT 1.2 -t 500ms --repeat=100 --markdown
stop quiet INT 1.2 -t 60s -q
stop svg INT 1.2 -t 60s --svg=picture
stop record INT 1.2 -t 60s --cached --record=trace
wait $jobs

for job in */; do
	job=${job%/}
	cp $job/messages messages
	case $(cat $job/signal) in HUP) wanted=129 ;; INT) wanted=130 ;; TERM) wanted=143 ;; esac
	is "$(cat $job/status)" $wanted "$job: the signal has done its work"
	case $job in
	json-*)
		command -v jq >/dev/null || continue
		[ $job != json-soon ] || [ -s $job/output ] || continue # before it listens
		is "$(jq -s length $job/output 2>&1)" 1 "$job: one whole document"
		is "$(jq -r .partial $job/output 2>&1)" true "$job: marked as partial"
		case $job in
		json-idle | json-warming | json-soon) ;;
		*) is "$(jq '[.runs[].repeats[].ops] | add > 0' $job/output)" true "$job: has what there was" ;;
		esac
		is "$(jq -r '.runs[].repeats[] | select(.ops > 0) | select(.service_ns.count != .ops or .ns > 60e9) | .ops' $job/output)" \
			"" "$job: and that is whole"
		;;
	text-*)
		is "$(grep -c '^PARTIAL' $job/output)" 1 "$job: marked as partial"
		[ $job = text-warming ] || ok "$(grep -cE '^(random|sequential) +[0-9]' $job/output)" "$job: has what there was"
		;;
	csv | markdown)
		ok $(($(wc -l <$job/output) >= 2)) "$job: has what there was"
		ok "$(cat $job/output $job/messages | grep -ci partial)" "$job: marked as partial"
		;;
	quiet) is "$(cat $job/output $job/messages)" "" "$job: not a word" ;;
	svg) ok "$(tail -n 1 $job/picture 2>&1 | grep -c '</svg>')" "$job: the picture is whole" ;;
	record)
		is "$(head -n 1 $job/trace)" "bufio trace 1" "$job: there is a trace"
		bufio-bench -q --cached --replay=$job/trace -t 200ms disk >output 2>messages
		is "$?" 0 "$job: that can be repeated"
		;;
	esac
done
if command -v jq >/dev/null; then
	is "$(jq -c '[.runs[0].repeats | length] | . > [1] and . < [4]' json-repeat/output)" true "repeats that were done are there"
	is "$(jq -c '[.runs[] | .repeats | length] | add > 1' json-sweep/output)" true "so are values of a sweep"
	is "$(jq -c '[.runs[0].name, (.runs[0].repeats | length)]' json-first/output)" '["sequential",1]' "and parts of the first look"
fi

# Again and again ends it at once, whatever it waits for.
(
	env --default-signal=INT timeout -s KILL 30 bufio-bench --rate=1 -t 60s disk >output 2>messages & pid=$!
	sleep 0.3
	kill -INT $pid
	kill -INT $pid
	wait $pid
) 2>/dev/null
is $? 130 "two signals end it"

# Who ignores a signal, such as nohup, goes on.
(trap '' HUP; bufio-bench -t 1s disk >output 2>messages & pid=$!; sleep 0.3; kill -HUP $pid; wait $pid)
is "$? $(grep -c PARTIAL output)" "0 0" "a signal that is ignored stays so"
finish
