# SPDX-License-Identifier: LGPL-2.1-or-later
# What is true of every result of bufio-bench --json that was not stopped: prints a line for each thing that is not. With
# jq --slurp --argjson count N: the operations of each repeat, 0 where it was not said how many.

def near($a; $b): ($a - $b) * ($a - $b) <= 1e-6 * $b * $b;

# A time may be that of its histogram's bucket: 0.4 %.
def rises: . as $times | all(range(1; length); $times[.] >= $times[. - 1]);

def histogram($name; $count):
	select(.count != $count) | "\($name): \(.count) of \($count) operations";
def times($name):
	(if [.min, .p50, .p90, .p99, ."p99.9", ."p99.99", ."p99.999", .max] | rises then empty
		else "\($name): percentiles fall" end),
	(if .mean >= .min and .mean <= .max then empty else "\($name): the mean is out of range" end),
	(if .min >= 0 and .max > 0 then empty else "\($name): times are not above 0" end);

def repeat($run):
	. as $r |
	(if .ns > 0 and .ops > 0 then empty else "nothing was done" end),
	(if $count == 0 or .ops == $count then empty else "\(.ops) operations of \($count)" end),
	(if .errors == 0 then empty else "\(.errors) errors" end),
	(if .bytes == .ops * $run.block_size then empty else "bytes are not those of \(.ops) blocks" end),
	(if .writes <= .ops and (.writes == 0 or $run.read_percent < 100) then empty else "\(.writes) writes" end),
	(if near(.ops_per_s; .ops * 1e9 / .ns) then empty else "ops_per_s is not ops in ns" end),
	(if near(.bytes_per_s; .bytes * 1e9 / .ns) then empty else "bytes_per_s is not bytes in ns" end),
	(if .cpu_ns_per_op > 0 then empty else "no processor time" end),
	(if .stall_share >= 0 and .stall_share <= 1 then empty else "stall_share is \(.stall_share)" end),
	(.service_ns | histogram("service"; $r.ops), times("service")),
	(if $run.rate == 0 then (select(has("response_ns")) | "response times without a rate")
	else
		(.response_ns | histogram("response"; $r.ops), times("response")),
		(if .response_ns.p50 >= .service_ns.p50 * 0.99 and .response_ns.max >= .service_ns.max * 0.99 then empty
			else "response is shorter than service" end)
	end),
	(if $run.is_cached then
		(if .hits + .misses == .ops - .writes then empty else "\(.hits) hits and \(.misses) misses of \(.ops - .writes) reads" end),
		(if .hits > 0 then .hit_ns | histogram("hits"; $r.hits), times("hits") else empty end),
		(if .misses > 0 then .miss_ns | histogram("misses"; $r.misses), times("misses") else empty end)
	else (select(has("hit_ns") or has("miss_ns")) | "hits without a cache") end),
	# Less than half a second in the end is none of them.
	(([.samples[].ops] | add) as $ops | ([.samples[].bytes] | add) as $bytes |
		if ($ops == .ops and $bytes == .bytes) or ($ops < .ops and $bytes < .bytes and .ns - .samples[-1].ns < 5e8) then empty
		else "the seconds do not add up to the whole" end),
	(if ([.samples[].ns] | rises) and .samples[-1].ns <= .ns * 1.001 then empty else "seconds are not in order" end),
	(if all(.samples[]; .ops == 0 or .p99 >= .p50) then empty else "percentiles of a second fall" end),
	(if (.samples | length) <= .ns / 1e9 + 1 then empty else "\(.samples | length) seconds" end);

def run:
	. as $run |
	(.repeats[] | repeat($run)),
	(if .region_begin % .block_size == 0 and .region_begin < .region_end then empty else "no region" end),
	(if has("memory_limit") == .is_cached then empty else "a memory limit goes with a cache" end),
	([.repeats[].ops_per_s] as $all |
		if .median.ops_per_s >= ($all | min) and .median.ops_per_s <= ($all | max)
			and .median.least_ops_per_s == ($all | min) and .median.most_ops_per_s == ($all | max) then empty
		else "the median is out of range" end);

(if length == 1 then empty else "\(length) documents" end),
.[] |
(if .schema == "bufio.bench/1" then empty else "schema" end),
(if .partial == false then empty else "partial" end),
(if .device.size > 0 and .device.logical_block_size >= 512 and .clock_ns > 0 then empty else "device" end),
(if (.runs | length) > 0 then empty else "no runs" end),
(if ([.runs[].name] | unique | length) == (.runs | length) then empty else "two runs have one name" end),
(.runs[] | .name as $name | run | "\($name): \(.)"),
(.warnings[] | select((.name | test("^[a-z-]+$")) and (.message | length > 0) | not) | "a warning without name or message")
