// SPDX-License-Identifier: LGPL-2.1-or-later
/* The door of bench: argv in, exit status out. */
#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/units.h"
#include "cmd/cli.h"
#include "ops/bench.h"
#include "ops/bench_compare.h"
#include "ops/bench_picture.h"
#include "ops/bench_trace.h"

enum {
	KEY_PATTERN = 0x200, KEY_REGION, KEY_DEPTH, KEY_THREADS, KEY_READ_PERCENT, KEY_WRITE, KEY_FLUSH_EVERY, KEY_WARM_UP, KEY_RAW,
	KEY_CACHED, KEY_CURVE, KEY_RATE, KEY_ARRIVAL, KEY_REPEAT, KEY_SEED, KEY_SWEEP, KEY_FORCE_SIGNATURE, KEY_CSV,
	KEY_MARKDOWN, KEY_SVG, KEY_RECORD, KEY_REPLAY, KEY_SPEED,
	KEY_TRACE_STATS, KEY_COMPARE, KEY_TOLERANCE, KEY_FORCE_CONDITIONS
};

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "What is asked for (without any of these: a first look in ten seconds):", 1 },
	{ "pattern", KEY_PATTERN, "NAME[:N]", 0,
	  "sequential, strided:BLOCKS, random (default), zipf:THETA, pareto:SHARE, normal:DEVIATION, hot-cold:PERCENT/PERCENT, "
	  "zipf-scan:THETA", 0 },
	{ "region", KEY_REGION, "A..B", 0, "In these blocks only, or bytes with units: A..B without B, or A+N", 0 },
	{ "depth", KEY_DEPTH, "N", 0, "Requests under way in each thread (default 1); of a cache: how far ahead it is asked", 0 },
	{ "threads", KEY_THREADS, "N", 0, "Threads (default 1)", 0 },
	{ "read-percent", KEY_READ_PERCENT, "N", 0, "So many of 100 operations read (default 100, with --write 0)", 0 },
	{ "flush-every", KEY_FLUSH_EVERY, "N", 0, "Wait for stable media after N writes of a thread", 0 },
	{ "time", 't', "TIME", 0, "How long: seconds, or with a unit such as 500ms or 2m (default 10s)", 0 },
	{ "count", 'n', "N", 0, "So many operations; without --time however long they take", 0 },
	{ "warm-up", KEY_WARM_UP, "TIME", 0, "Before anything counts; 'steady': until the hit ratio is", 0 },
	{ "repeat", KEY_REPEAT, "K", 0, "Measure K times: median and range", 0 },
	{ "seed", KEY_SEED, "N", 0, "Another order of the same kind", 0 },
	{ "sweep", KEY_SWEEP, "WHAT", 0, "A run for each of several: block-size, depth, threads", 0 },
	{ NULL, 0, NULL, 0, "How:", 2 },
	{ "raw", KEY_RAW, NULL, 0, "Straight to the device (default)", 0 },
	{ "cached", KEY_CACHED, NULL, 0, "Through a cache of libbufio, of --memory-limit (default: an eighth of the region, up to 64MiB)",
	  0 },
	{ "curve", KEY_CURVE, NULL, 0, "Also how many would be hits, by memory limit; the least limit for 90, 95 and 99 %", 0 },
	{ "rate", KEY_RATE, "N/s", 0, "So many operations a second, on time or late: latency counts from when each was due", 0 },
	{ "arrival", KEY_ARRIVAL, "HOW", 0, "They are due: fixed (default), poisson", 0 },
	{ NULL, 0, NULL, 0, "Writing:", 3 },
	{ "write", KEY_WRITE, NULL, 0, "May overwrite PATH: what is in the region is lost", 0 },
	{ "force-signature", KEY_FORCE_SIGNATURE, "TYPE", 0, "Overwrite a PATH that holds this, such as ext4", 0 },
	{ NULL, 0, NULL, 0, "Traces:", 4 },
	{ "record", KEY_RECORD, "FILE", 0, "What is asked of caches goes there, as with BUFIO_TRACE", 0 },
	{ "replay", KEY_REPLAY, "FILE", 0, "What was asked for in a trace: ours, fio's iolog, blkparse's text", 0 },
	{ "speed", KEY_SPEED, "HOW", 0, "asap (default), timed, or a factor such as x2", 0 },
	{ "trace-stats", KEY_TRACE_STATS, NULL, 0, "Measure nothing: what is in the trace FILE", 0 },
	{ NULL, 0, NULL, 0, "Comparing (instead of all that):", 5 },
	{ "compare", KEY_COMPARE, NULL, 0, "The FILEs, which --json wrote: each with the first", 0 },
	{ "tolerance", KEY_TOLERANCE, "PERCENT", 0, "What differs by less is the same (default 5)", 0 },
	{ "force-conditions", KEY_FORCE_CONDITIONS, NULL, 0, "Although devices, limits or workloads differ", 0 },
	{ NULL, 0, NULL, 0, "Output:", 6 },
	{ "json", 'J', NULL, 0, "All there is, as JSON", 0 },
	{ "csv", KEY_CSV, NULL, 0, "A line for each repeat", 0 },
	{ "markdown", KEY_MARKDOWN, NULL, 0, "The table alone, as Markdown", 0 },
	{ "svg", KEY_SVG, "FILE", 0, "A picture too: latency by percentile, throughput over time", 0 },
	{ "quiet", 'q', NULL, 0, "Say nothing; the exit status tells", 0 },
	{ NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1 },
	{ 0 },
};

static const char args_doc[] = "PATH\n--compare FILE FILE...\n--trace-stats FILE";
static const char doc[] =
	"Measure how fast a block device or file is, and a cache over it.\v"
	"Nothing is written without --write. Alone, PATH is read in three ways of about three seconds: in sequence, one block anywhere, "
	"and zipf through a cache.\n\n"
	"Exit status: 0 measured, or nothing is worse, 1 something is worse than the tolerance, 2 usage, 3 refused (in use, holds something that would be lost, not measured alike), 4 cannot be read or written, 8 internal. "
	"A signal ends it as usual, after what there is has been said.";

#define MAX_DEPTH 4096
#define MAX_THREADS 256
#define MAX_REPEATS 1000
#define MAX_BUFFERS (UINT64_C(1) << 30)
#define MAX_REPLAYED (UINT64_C(1) << 20) /* bytes of a request */
#define USUAL_NS UINT64_C(10000000000)
#define OPEN_DEPTH 64
#define MAX_SWEEP 16
#define NAME_MAX_LENGTH 96
#define DEFAULT_TOLERANCE 0.05

enum sweep { SWEEP_NONE, SWEEP_BLOCK_SIZE, SWEEP_DEPTH, SWEEP_THREADS };

static const char *const sweep_words[] = { "", "block-size", "depth", "threads" };

struct door {
	struct op_bench_args args;
	struct op_bench_compare_args compare;
	const char **files; /* words that are no options */
	bool is_comparison, is_trace_stats;
	struct bench_run_args run;
	struct cli_device device;
	struct cli_output svg;
	const char *region, *parameter;
	enum sweep sweep;
	bool is_run; /* something says what is asked for */
	bool is_raw, may_write, has_read_percent, has_time, is_quiet;
	struct bench_run_args runs[MAX_SWEEP];
	char names[MAX_SWEEP][NAME_MAX_LENGTH];
};

/* --- options --- */

static uint64_t parse_bounded(struct argp_state *state, const char *option, const char *arg, uint64_t least, uint64_t most)
{
	uint64_t n = cli_parse_number(state, option, arg);

	if (n < least || n > most)
		argp_error(state, "--%s: %s is not from %" PRIu64 " to %" PRIu64, option, arg, least, most);
	return n;
}

static uint64_t parse_time(struct argp_state *state, const char *option, const char *arg)
{
	uint64_t ns = 0;

	if (units_parse_time(arg, &ns) || !ns || ns > INT64_MAX)
		argp_error(state, "--%s: '%s' is not a time such as 10, 500ms or 2m", option, arg);
	return ns;
}

static void parse_warm_up(struct argp_state *state, struct bench_run_args *run, const char *arg)
{
	if (!strcmp(arg, "steady"))
		run->warms_until_steady = true;
	else
		run->warm_up_ns = parse_time(state, "warm-up", arg);
}

static double parse_real(const char *arg, const char **end)
{
	char *behind;
	double v = strtod(arg, &behind);

	*end = behind == arg ? NULL : behind;
	return v;
}

/* "90/10" */
static const char *parse_hot_cold(struct workload *w, const char *arg)
{
	const char *end;

	w->hot_accesses = parse_real(arg, &end);
	if (!end || *end != '/')
		return NULL;
	w->hot_blocks = parse_real(end + 1, &end);
	return end;
}

static const char *parse_stride(struct workload *w, const char *arg)
{
	return units_parse_number(arg, &w->stride) ? NULL : "";
}

static const char *parse_theta(struct workload *w, const char *arg)
{
	const char *end;

	w->theta = parse_real(arg, &end);
	return end;
}

static const char *parse_shape(struct workload *w, const char *arg)
{
	const char *end;

	w->shape = parse_real(arg, &end);
	return end;
}

static const char *parse_deviation(struct workload *w, const char *arg)
{
	const char *end;

	w->deviation = parse_real(arg, &end);
	return end;
}

/* What is behind the colon; each gives where that ends, or NULL if it is none. */
static const char *(*const parameters[NR_WORKLOAD_PATTERNS])(struct workload *, const char *) = {
	[WORKLOAD_STRIDED] = parse_stride, [WORKLOAD_ZIPF] = parse_theta, [WORKLOAD_PARETO] = parse_shape,
	[WORKLOAD_NORMAL] = parse_deviation, [WORKLOAD_HOT_COLD] = parse_hot_cold, [WORKLOAD_ZIPF_SCAN] = parse_theta,
};

static void parse_pattern(struct argp_state *state, struct workload *w, const char *arg)
{
	size_t n = strcspn(arg, ":");
	char name[32];
	const char *end;

	snprintf(name, sizeof(name), "%.*s", (int)n, arg);
	if (!workload_pattern_find(name, &w->pattern))
		argp_error(state, "--pattern: '%s' is none of sequential, strided, random, zipf, pareto, normal, hot-cold, zipf-scan", name);
	if (!arg[n])
		return;
	end = parameters[w->pattern] ? parameters[w->pattern](w, arg + n + 1) : NULL;
	if (!end || *end)
		argp_error(state, "--pattern: '%s' is nothing that %s takes", arg + n + 1, name);
}

static void parse_rate(struct argp_state *state, struct bench_run_args *run, const char *arg)
{
	const char *end;

	run->rate = parse_real(arg, &end);
	if (!end || (*end && strcmp(end, "/s") != 0) || !(run->rate >= 0.001 && run->rate <= 1e9))
		argp_error(state, "--rate: '%s' is not so many operations a second, such as 500 or 500/s", arg);
}

static void parse_arrival(struct argp_state *state, struct bench_run_args *run, const char *arg)
{
	if (!strcmp(arg, "fixed"))
		run->arrival = BENCH_FIXED;
	else if (!strcmp(arg, "poisson"))
		run->arrival = BENCH_POISSON;
	else
		argp_error(state, "--arrival: '%s' is none of fixed, poisson", arg);
}

static void parse_speed(struct argp_state *state, struct bench_run_args *run, const char *arg)
{
	const char *end = NULL;

	run->speed = !strcmp(arg, "timed");
	if (!strcmp(arg, "asap") || run->speed > 0)
		return;
	if (*arg == 'x')
		run->speed = parse_real(arg + 1, &end);
	if (!end || *end || !(run->speed >= 0.001 && run->speed <= 1e6))
		argp_error(state, "--speed: '%s' is none of asap, timed, x0.001 to x1000000", arg);
}

static enum sweep parse_sweep(struct argp_state *state, const char *arg)
{
	for (unsigned i = 1; i < sizeof(sweep_words) / sizeof(*sweep_words); i++)
		if (!strcmp(arg, sweep_words[i]))
			return i;
	argp_error(state, "--sweep: '%s' is none of block-size, depth, threads", arg);
	return SWEEP_NONE;
}

/* In blocks, whose size may have been said later. */
static void parse_region(struct argp_state *state, struct door *door)
{
	struct bench_run_args *run = &door->run;
	bool in_bytes;

	if (units_parse_extent(door->region, &in_bytes, &run->begin, &run->end) ||
	    (!in_bytes && (!checked_mul(run->begin, run->block_size, &run->begin) ||
			   !checked_mul(run->end, run->block_size, &run->end))) || run->end > INT64_MAX)
		argp_error(state, "--region: '%s' is not a range such as 3..7, 3+4 or 1GiB..2GiB", door->region);
}

/* --- what they come to --- */

static void settle_writes(struct argp_state *state, struct door *door)
{
	unsigned *percent = &door->run.workload.read_percent;

	if (!door->has_read_percent)
		*percent = door->may_write ? 0 : 100;
	if (*percent < 100 && !door->may_write)
		argp_error(state, "--read-percent: the rest writes, and what is there is lost; --write allows it");
	if (*percent == 100 && door->may_write)
		argp_error(state, "--write: with --read-percent=100 nothing is written");
	if (door->run.flush_every && !door->may_write)
		argp_error(state, "--flush-every: goes with --write");
}

/* The trace says all that a workload would. */
static void check_replay(struct argp_state *state, const struct door *door)
{
	const struct bench_run_args *run = &door->run;
	const char *record = getenv("BUFIO_TRACE");

	if (!run->replay) {
		if (run->speed > 0)
			argp_error(state, "--speed: goes with --replay");
		return;
	}
	if (run->workload.pattern != WORKLOAD_RANDOM || door->region || run->threads > 1 || door->has_read_percent || run->rate > 0 ||
	    run->flush_every || door->sweep || run->count || run->has_curve)
		argp_error(state, "--replay: the trace says what is asked for: not --pattern, --region, --threads, --read-percent, --rate, "
				  "--flush-every, --sweep, --count or --curve");
	if (record && !strcmp(record, run->replay))
		argp_error(state, "--replay: %s is where the trace of this goes", record);
}

static void settle_run(struct argp_state *state, struct door *door)
{
	struct bench_run_args *run = &door->run;

	check_replay(state, door);
	run->block_size = door->device.block_size ? (uint32_t)door->device.block_size : run->replay ? 0 : 4096;
	run->memory_limit = door->device.memory_limit;
	run->is_cached |= run->memory_limit && !door->is_raw;
	if (run->is_cached && door->is_raw)
		argp_error(state, "--raw and --cached: only one of them");
	if (run->arrival && run->rate == 0)
		argp_error(state, "--arrival: goes with --rate");
	if (run->rate > 0 && !run->arrival)
		run->arrival = BENCH_FIXED;
	if (!run->depth)
		run->depth = (run->rate > 0 || run->speed > 0) && !run->is_cached ? OPEN_DEPTH : 1;
	if (!run->is_cached && (uint64_t)run->depth * run->threads * (run->replay ? MAX_REPLAYED : run->block_size) > MAX_BUFFERS)
		argp_error(state, "--depth: so many requests of such blocks take more than 1GiB");
	if (run->warms_until_steady && !run->is_cached)
		argp_error(state, "--warm-up: 'steady' is of the hit ratio, and goes with --cached");
	if (!run->count && !door->has_time && !run->replay)
		run->ns = USUAL_NS;
	settle_writes(state, door);
	if (door->region)
		parse_region(state, door);
}

/* @v: what is swept over. */
static void add_run(struct door *door, size_t i, uint64_t v)
{
	struct bench_run_args *run = &door->runs[i];
	char size[UNITS_SIZE_MAX], what[UNITS_SIZE_MAX + 16] = "";

	*run = door->run;
	if (door->sweep == SWEEP_BLOCK_SIZE) {
		run->block_size = (uint32_t)v;
		snprintf(what, sizeof(what), " %s", units_format_whole_size(v / 1024 * 1024, size));
	} else if (door->sweep == SWEEP_DEPTH) {
		run->depth = (unsigned)v;
		snprintf(what, sizeof(what), " x%" PRIu64, v);
	} else if (door->sweep == SWEEP_THREADS) {
		run->threads = (unsigned)v;
		snprintf(what, sizeof(what), " %" PRIu64 "t", v);
	}
	snprintf(door->names[i], NAME_MAX_LENGTH, "%s%.31s%s", run->replay ? "replay" : workload_pattern_name(run->workload.pattern), what,
		 run->is_cached ? ", cached" : "");
	run->name = door->names[i];
	door->args.nr_runs = i + 1;
}

static void make_runs(struct door *door)
{
	static const struct {
		uint64_t first, last, step;
	} rows[] = {
		[SWEEP_NONE] = { 1, 1, 2 }, [SWEEP_BLOCK_SIZE] = { 4096, 1 << 20, 4 }, [SWEEP_DEPTH] = { 1, 64, 2 },
		[SWEEP_THREADS] = { 1, 0, 2 },
	};
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t last = door->sweep == SWEEP_THREADS ? 2 * (uint64_t)(processors > 0 ? processors : 1) : rows[door->sweep].last;
	size_t nr = 0;

	for (uint64_t v = rows[door->sweep].first; v <= last && nr < MAX_SWEEP; v *= rows[door->sweep].step)
		add_run(door, nr++, v);
	door->args.runs = door->runs;
}

static void check_comparison(struct argp_state *state, struct door *door)
{
	if (door->compare.nr_files < 2)
		argp_error(state, "--compare: name two FILEs at least, which --json wrote");
	if (door->is_run || door->may_write || door->is_trace_stats || door->device.block_size || door->device.memory_limit)
		argp_error(state, "--compare: nothing is measured, so nothing can be asked for");
	if (door->svg.path)
		argp_error(state, "--svg: there is no picture of a comparison");
	if (door->args.format == BENCH_CSV || door->args.format == BENCH_MARKDOWN)
		argp_error(state, "--compare: only --json is another form of it");
	door->compare.files = door->files;
	door->compare.json = door->args.format == BENCH_JSON;
	door->compare.out_fd = door->is_quiet ? -1 : STDOUT_FILENO;
}

static void check_trace_stats(struct argp_state *state, const struct door *door)
{
	if (door->is_run || door->may_write || door->device.memory_limit || door->svg.path)
		argp_error(state, "--trace-stats: nothing is measured, so nothing can be asked for");
	if (door->args.format == BENCH_CSV || door->args.format == BENCH_MARKDOWN)
		argp_error(state, "--trace-stats: only --json is another form of it");
}

static void check(struct argp_state *state, struct door *door)
{
	if (door->is_comparison) {
		check_comparison(state, door);
		return;
	}
	if (door->compare.tolerance != DEFAULT_TOLERANCE || door->compare.may_differ)
		argp_error(state, "--tolerance and --force-conditions go with --compare");
	if (!door->compare.nr_files && door->is_trace_stats)
		argp_error(state, "--trace-stats: name a FILE with a trace");
	if (!door->compare.nr_files)
		argp_error(state, "no PATH: name a block device or a file");
	if (door->compare.nr_files > 1)
		argp_error(state, "too many words: '%s'", door->files[1]);
	door->args.image = door->files[0];
	door->args.memory_limit = door->device.memory_limit;
	if (door->is_trace_stats) {
		check_trace_stats(state, door);
		return;
	}
	if (door->args.signature && !door->may_write)
		argp_error(state, "--force-signature: goes with --write");
	if (!door->is_run && !door->device.block_size)
		return;
	settle_run(state, door);
	make_runs(door);
}

static void parse_path(struct argp_state *state, struct door *door, const char *arg)
{
	if (!*arg)
		argp_error(state, "PATH: the name is empty");
	door->files[door->compare.nr_files++] = arg;
}

static void parse_tolerance(struct argp_state *state, struct door *door, const char *arg)
{
	const char *end;
	double percent = parse_real(arg, &end);

	if (!end || *end || !(percent >= 0 && percent < 100))
		argp_error(state, "--tolerance: '%s' is not so many percent, from 0 to less than 100", arg);
	door->compare.tolerance = percent / 100;
}

static bool is_of_run(int key)
{
	return key == 't' || key == 'n' || (key >= KEY_PATTERN && key <= KEY_SWEEP);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct door *door = state->input;
	struct bench_run_args *run = &door->run;

	door->is_run |= is_of_run(key);
	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = &door->device; return 0;
	case KEY_PATTERN: parse_pattern(state, &run->workload, arg); return 0;
	case KEY_REGION: door->region = arg; return 0;
	case KEY_DEPTH: run->depth = (unsigned)parse_bounded(state, "depth", arg, 1, MAX_DEPTH); return 0;
	case KEY_THREADS: run->threads = (unsigned)parse_bounded(state, "threads", arg, 1, MAX_THREADS); return 0;
	case KEY_READ_PERCENT:
		run->workload.read_percent = (unsigned)parse_bounded(state, "read-percent", arg, 0, 100);
		door->has_read_percent = true;
		return 0;
	case KEY_WRITE: door->may_write = true; return 0;
	case KEY_FLUSH_EVERY: run->flush_every = parse_bounded(state, "flush-every", arg, 1, UINT64_MAX); return 0;
	case 't':
		run->ns = parse_time(state, "time", arg);
		door->has_time = true;
		return 0;
	case 'n': run->count = parse_bounded(state, "count", arg, 1, UINT64_MAX - 1); return 0;
	case KEY_WARM_UP: parse_warm_up(state, run, arg); return 0;
	case KEY_REPEAT: run->repeats = (unsigned)parse_bounded(state, "repeat", arg, 1, MAX_REPEATS); return 0;
	case KEY_SEED: run->workload.seed = cli_parse_number(state, "seed", arg); return 0;
	case KEY_SWEEP: door->sweep = parse_sweep(state, arg); return 0;
	case KEY_RAW: door->is_raw = true; return 0;
	case KEY_CACHED: run->is_cached = true; return 0;
	case KEY_CURVE: run->has_curve = true; return 0;
	case KEY_RATE: parse_rate(state, run, arg); return 0;
	case KEY_ARRIVAL: parse_arrival(state, run, arg); return 0;
	case KEY_RECORD:
		if (setenv("BUFIO_TRACE", arg, 1))
			argp_error(state, "--record: %s", strerror(errno));
		return 0;
	case KEY_REPLAY:
		run->replay = arg;
		door->is_run = true;
		return 0;
	case KEY_SPEED:
		parse_speed(state, run, arg);
		door->is_run = true;
		return 0;
	case KEY_TRACE_STATS: door->is_trace_stats = true; return 0;
	case KEY_COMPARE: door->is_comparison = true; return 0;
	case KEY_TOLERANCE: parse_tolerance(state, door, arg); return 0;
	case KEY_FORCE_CONDITIONS: door->compare.may_differ = true; return 0;
	case KEY_FORCE_SIGNATURE: door->args.signature = arg; return 0;
	case 'J': door->args.format = BENCH_JSON; return 0;
	case KEY_CSV: door->args.format = BENCH_CSV; return 0;
	case KEY_MARKDOWN: door->args.format = BENCH_MARKDOWN; return 0;
	case KEY_SVG:
		if (!*arg)
			argp_error(state, "--svg: the name is empty");
		door->svg.path = arg;
		return 0;
	case 'q': door->is_quiet = true; return 0;
	case 'h': argp_state_help(state, stdout, ARGP_HELP_STD_HELP); return 0;
	case ARGP_KEY_ARG: parse_path(state, door, arg); return 0;
	case ARGP_KEY_END: check(state, door); return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = {
	{ &cli_device_argp, 0, NULL, 0 },
	{ 0 },
};

static const struct argp argp = { options, parse, args_doc, doc, children, NULL, NULL };

/* --- running --- */

static volatile sig_atomic_t stop;

/* The first asks for a clean end, the second is for one at once. */
static void on_signal(int number)
{
	stop = number;
	signal(number, SIG_DFL);
}

/* But for those that whoever started this has turned off, as nohup(1) does. */
static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction before;

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (!sigaction(signals[i], NULL, &before) && before.sa_handler != SIG_IGN)
			signal(signals[i], on_signal);
}

/* Nothing that is read is believed, so it may be in use. */
static enum cli_status open_device(struct door *door)
{
	enum cli_status status;

	door->device.flags |= door->may_write ? BUFIO_OPEN_WRITE : BUFIO_OPEN_SHARED;
	door->device.prefers_direct = true;
	status = cli_device_open_bare(&door->device, door->args.program, door->args.image);
	door->args.device = door->device.device;
	return status;
}

static void print_stats(const struct door *door, const struct op_bench_result *bench)
{
	for (size_t i = 0; i < bench->nr_runs; i++)
		for (unsigned j = 0; j < bench->runs[i].nr_repeats && bench->runs[i].args.is_cached; j++)
			cli_print_stats(door->args.program, &bench->runs[i].repeats[j].stats, bench->runs[i].args.memory_limit);
}

/* The picture, if there is to be one. */
static enum cli_status draw(struct door *door, const struct op_bench_result *bench)
{
	const char *program = door->args.program;
	int r;

	if (!door->svg.path)
		return CLI_OK;
	r = op_bench_draw(bench, door->svg.fd);
	if (!r)
		return cli_output_commit(&door->svg, program);
	cli_error(program, "%s: %s", door->svg.path, strerror(-r));
	cli_output_abort(&door->svg);
	return CLI_IO;
}

static enum cli_status run(struct door *door)
{
	struct op_result result = { .outcome = OP_DONE };
	struct op_bench_result bench;
	enum cli_status status;
	int r;

	if (door->svg.path) {
		status = cli_output_open(&door->svg, door->args.program, door->args.image);
		if (status)
			return status;
	}
	catch_signals();
	if (!op_bench_measure(&door->args, &bench, &result)) {
		cli_error(door->args.program, "%s", result.reason);
		op_bench_free(&bench);
		cli_output_abort(&door->svg);
		return cli_status_of(&result);
	}
	r = door->is_quiet ? 0 : op_bench_report(&door->args, &bench);
	if (r)
		cli_error(door->args.program, "standard output: %s", strerror(-r));
	status = r ? CLI_IO : draw(door, &bench);
	if (door->device.stats)
		print_stats(door, &bench);
	op_bench_free(&bench);
	return status;
}

static enum cli_status compare(const struct door *door)
{
	struct op_result result;

	op_bench_compare(&door->compare, &result);
	if (result.outcome != OP_DONE)
		cli_error(door->args.program, "%s", result.reason);
	return cli_status_of(&result);
}

static enum cli_status show_trace(const struct door *door)
{
	struct op_bench_trace_args args = {
		.file = door->files[0],
		.block_size = (uint32_t)door->device.block_size,
		.json = door->args.format == BENCH_JSON,
		.out_fd = door->is_quiet ? -1 : STDOUT_FILENO,
	};
	struct op_result result;

	op_bench_trace(&args, &result);
	if (result.outcome != OP_DONE)
		cli_error(door->args.program, "%s", result.reason);
	return cli_status_of(&result);
}

/* As if it had not been caught. */
static void end_by_signal(void)
{
	if (!stop)
		return;
	signal(stop, SIG_DFL);
	raise(stop);
}

static enum cli_status measure(struct door *door)
{
	enum cli_status status = open_device(door);

	if (status)
		return status;
	status = run(door);
	door->device.stats = false;
	cli_device_close(&door->device, door->args.program);
	return status;
}

int main(int argc, char **argv)
{
	struct door door = {
		.args = { .program = cli_program(argv[0]), .out_fd = STDOUT_FILENO, .stop = &stop },
		.run = { .workload = { .pattern = WORKLOAD_RANDOM }, .end = UINT64_MAX, .threads = 1, .repeats = 1 },
		.compare = { .tolerance = DEFAULT_TOLERANCE },
	};
	enum cli_status status;

	cli_init();
	door.files = calloc((size_t)argc, sizeof(*door.files));
	if (!door.files || argp_parse(&argp, argc, argv, 0, NULL, &door))
		return CLI_INTERNAL;
	if (door.is_quiet)
		cli_be_quiet();
	door.args.has_bars = isatty(STDOUT_FILENO) && setlocale(LC_CTYPE, "") && !strcmp(nl_langinfo(CODESET), "UTF-8");
	status = door.is_comparison ? compare(&door) : door.is_trace_stats ? show_trace(&door) : measure(&door);
	free(door.files);
	end_by_signal();
	return status;
}
