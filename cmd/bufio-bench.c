// SPDX-License-Identifier: LGPL-2.1-or-later
/* The door of bench: argv in, exit status out. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/bench.h"

enum {
	/* What is asked for: is_of_run(). */
	KEY_PATTERN = 0x200, KEY_REGION, KEY_DEPTH, KEY_THREADS, KEY_READ_PERCENT, KEY_WRITE, KEY_FLUSH_EVERY, KEY_WARM_UP,
	KEY_RAW, KEY_CACHED, KEY_CURVE, KEY_RATE, KEY_ARRIVAL, KEY_REPEAT, KEY_SEED, KEY_SWEEP, KEY_REPLAY, KEY_SPEED,
	/* And the rest. */
	KEY_FORCE_SIGNATURE, KEY_RECORD, KEY_TRACE_STATS, KEY_COMPARE, KEY_TOLERANCE, KEY_FORCE_CONDITIONS, KEY_CSV,
	KEY_MARKDOWN, KEY_SVG
};

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "What is asked for (without any of these: a first look in ten seconds):", 1 },
	{ "pattern", KEY_PATTERN, "NAME[:N]", 0,
	  "sequential, strided:BLOCKS, random (default), zipf:THETA, pareto:SHARE, normal:DEVIATION, "
	  "hot-cold:PERCENT/PERCENT, zipf-scan:THETA", 0 },
	{ "region", KEY_REGION, "A..B", 0, "In these blocks only, or bytes with units: A..B without B, or A+N", 0 },
	{ "depth", KEY_DEPTH, "N", 0,
	  "Requests under way in each thread (default 1); of a cache: how far ahead it is asked", 0 },
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
	{ "cached", KEY_CACHED, NULL, 0,
	  "Through a cache of libbufio, of --memory-limit (default: an eighth of the region, up to 64MiB)", 0 },
	{ "curve", KEY_CURVE, NULL, 0,
	  "Also how many would be hits, by memory limit; the least limit for 90, 95 and 99 %", 0 },
	{ "rate", KEY_RATE, "N/s", 0,
	  "So many operations a second, on time or late: latency counts from when each was due", 0 },
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
	{ "tolerance", KEY_TOLERANCE, "PERCENT", 0, "What differs by less is the same (default 10)", 0 },
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
	"Nothing is written without --write. Alone, PATH is read in three ways of about three seconds: in sequence, one "
	"block anywhere, and zipf through a cache.\n\n"
	"Exit status: 0 measured, or nothing is worse, 1 something is worse than the tolerance, 2 usage, 3 refused (in "
	"use, holds something that would be lost, not measured alike), 4 cannot be read or written, 8 internal. "
	"A signal ends it as usual, after what there is has been said.";

#define MAX_DEPTH 4096
#define MAX_REPEATS 1000

/* Whether the words and options go together; the runs, if any are asked for. */
static void check(struct argp_state *state, struct bench_door *door)
{
	if (door->is_comparison) {
		bench_check_comparison(state, door);
		return;
	}
	if (door->compare.tolerance != BENCH_DEFAULT_TOLERANCE || door->compare.may_differ)
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
		bench_check_trace_stats(state, door);
		return;
	}
	if (door->args.signature && !door->may_write)
		argp_error(state, "--force-signature: goes with --write");
	if (door->is_run || door->device.block_size)
		bench_make_runs(state, door);
}

static void parse_path(struct argp_state *state, struct bench_door *door, const char *arg)
{
	if (!*arg)
		argp_error(state, "PATH: the name is empty");
	door->files[door->compare.nr_files++] = arg;
}

static bool is_of_run(int key)
{
	return key == 't' || key == 'n' || (key >= KEY_PATTERN && key <= KEY_SPEED);
}

static void set_format(struct argp_state *state, struct bench_door *door, enum bench_format format)
{
	if (door->args.format != BENCH_HUMAN && door->args.format != format)
		argp_error(state, "--json, --csv and --markdown: only one of them");
	door->args.format = format;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct bench_door *door = state->input;
	struct bench_run_args *run = &door->run;

	door->is_run |= is_of_run(key);
	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = &door->device; return 0;
	case KEY_PATTERN: bench_parse_pattern(state, &run->workload, arg); return 0;
	case KEY_REGION: door->region = arg; return 0;
	case KEY_DEPTH: run->depth = (unsigned)bench_parse_bounded(state, "depth", arg, 1, MAX_DEPTH); return 0;
	case KEY_THREADS:
		run->threads = (unsigned)bench_parse_bounded(state, "threads", arg, 1, BENCH_MAX_THREADS);
		return 0;
	case KEY_READ_PERCENT:
		run->workload.read_percent = (unsigned)bench_parse_bounded(state, "read-percent", arg, 0, 100);
		door->has_read_percent = true;
		return 0;
	case KEY_WRITE: door->may_write = true; return 0;
	case KEY_FLUSH_EVERY: run->flush_every = bench_parse_bounded(state, "flush-every", arg, 1, UINT64_MAX); return 0;
	case 't':
		run->ns = bench_parse_time(state, "time", arg);
		door->has_time = true;
		return 0;
	case 'n': run->count = bench_parse_bounded(state, "count", arg, 1, UINT64_MAX - 1); return 0;
	case KEY_WARM_UP: bench_parse_warm_up(state, run, arg); return 0;
	case KEY_REPEAT: run->repeats = (unsigned)bench_parse_bounded(state, "repeat", arg, 1, MAX_REPEATS); return 0;
	case KEY_SEED: run->workload.seed = cli_parse_number(state, "seed", arg); return 0;
	case KEY_SWEEP: door->sweep = bench_parse_sweep(state, arg); return 0;
	case KEY_RAW: door->is_raw = true; return 0;
	case KEY_CACHED: run->is_cached = true; return 0;
	case KEY_CURVE: run->has_curve = true; return 0;
	case KEY_RATE: bench_parse_rate(state, run, arg); return 0;
	case KEY_ARRIVAL: bench_parse_arrival(state, run, arg); return 0;
	case KEY_RECORD:
		if (setenv("BUFIO_TRACE", arg, 1))
			argp_error(state, "--record: %s", strerror(errno));
		door->device.trace_option = "--record";
		return 0;
	case KEY_REPLAY: run->replay = arg; return 0;
	case KEY_SPEED:
		bench_parse_speed(state, run, arg);
		door->has_speed = true;
		return 0;
	case KEY_TRACE_STATS: door->is_trace_stats = true; return 0;
	case KEY_COMPARE: door->is_comparison = true; return 0;
	case KEY_TOLERANCE: door->compare.tolerance = bench_parse_tolerance(state, arg); return 0;
	case KEY_FORCE_CONDITIONS: door->compare.may_differ = true; return 0;
	case KEY_FORCE_SIGNATURE: door->args.signature = arg; return 0;
	case 'J': set_format(state, door, BENCH_JSON); return 0;
	case KEY_CSV: set_format(state, door, BENCH_CSV); return 0;
	case KEY_MARKDOWN: set_format(state, door, BENCH_MARKDOWN); return 0;
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

/* As if it had not been caught. */
static void end_by_signal(void)
{
	if (!cli_stop)
		return;
	signal(cli_stop, SIG_DFL);
	raise(cli_stop);
}

int main(int argc, char **argv)
{
	struct bench_door door = {
		.args = { .program = cli_program(argv[0]), .out_fd = STDOUT_FILENO },
		.run = { .workload = { .pattern = WORKLOAD_RANDOM }, .end = UINT64_MAX, .threads = 1, .repeats = 1 },
		.compare = { .tolerance = BENCH_DEFAULT_TOLERANCE },
	};
	enum cli_status status;

	cli_init();
	door.files = calloc((size_t)argc, sizeof(*door.files));
	if (!door.files || argp_parse(&argp, argc, argv, 0, NULL, &door))
		return CLI_INTERNAL;
	if (door.is_quiet)
		cli_be_quiet();
	door.args.has_bars = isatty(STDOUT_FILENO) && setlocale(LC_CTYPE, "") && !strcmp(nl_langinfo(CODESET), "UTF-8");
	if (door.is_comparison)
		status = bench_compare(&door);
	else
		status = door.is_trace_stats ? bench_show_trace(&door) : bench_measure(&door);
	free(door.files);
	end_by_signal();
	return status;
}
