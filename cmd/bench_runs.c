// SPDX-License-Identifier: LGPL-2.1-or-later
/* bufio-bench: the runs that the options come to, and whether these go together. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "cmd/bench.h"

#define USUAL_BLOCK_SIZE 4096
#define USUAL_NS UINT64_C(10000000000)
#define OPEN_DEPTH 64 /* with a rate: so many may wait for a slow one before others are late for that */
#define MAX_BUFFERS (UINT64_C(1) << 30) /* bytes, without a cache */

static void settle_writes(struct argp_state *state, struct bench_door *door)
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
static void check_replay(struct argp_state *state, const struct bench_door *door)
{
	const struct bench_run_args *run = &door->run;
	const char *record = getenv("BUFIO_TRACE");

	if (!run->replay) {
		if (door->has_speed)
			argp_error(state, "--speed: goes with --replay");
		return;
	}
	if (run->workload.pattern != WORKLOAD_RANDOM || door->region || run->threads > 1 || door->has_read_percent ||
	    run->rate > 0 || run->flush_every || door->sweep || run->count || run->has_curve)
		argp_error(state,
			   "--replay: the trace says what is asked for: not --pattern, --region, --threads, "
			   "--read-percent, --rate, --flush-every, --sweep, --count or --curve");
	if (record && !strcmp(record, run->replay))
		argp_error(state, "--replay: %s is where the trace of this goes", record);
}

static uint32_t choose_block_size(const struct bench_door *door)
{
	if (door->device.block_size)
		return (uint32_t)door->device.block_size;
	return door->run.replay ? 0 : USUAL_BLOCK_SIZE; /* 0: the trace says */
}

static void settle_run(struct argp_state *state, struct bench_door *door)
{
	struct bench_run_args *run = &door->run;

	check_replay(state, door);
	run->block_size = choose_block_size(door);
	run->memory_limit = door->device.memory_limit;
	if (door->is_raw && (run->is_cached || run->memory_limit))
		argp_error(state, "--raw: without a cache, so neither --cached nor --memory-limit");
	run->is_cached |= run->memory_limit > 0;
	if (run->arrival && run->rate == 0)
		argp_error(state, "--arrival: goes with --rate");
	if (run->rate > 0 && !run->arrival)
		run->arrival = BENCH_FIXED;
	if (!run->depth)
		run->depth = (run->rate > 0 || run->speed > 0) && !run->is_cached ? OPEN_DEPTH : 1;
	if (run->warms_until_steady && !run->is_cached)
		argp_error(state, "--warm-up: 'steady' is of the hit ratio, and goes with --cached");
	if (!run->count && !door->has_time && !run->replay)
		run->ns = USUAL_NS;
	settle_writes(state, door);
	if (door->region)
		bench_parse_region(state, run, door->region);
}

/* Each request under way has room for its bytes. */
static void check_buffers(struct argp_state *state, const struct bench_run_args *run)
{
	uint64_t bytes = run->replay ? BENCH_MAX_REPLAYED : run->block_size;

	if (!run->is_cached && bytes * run->depth * run->threads > MAX_BUFFERS)
		argp_error(state, "--depth: so many requests of such blocks take more than 1GiB");
}

/* "4KiB": one word. */
static const char *format_block_size(uint64_t bytes, char text[UNITS_SIZE_MAX])
{
	char *blank = strchr(units_format_size(bytes, text), ' ');

	memmove(blank, blank + 1, strlen(blank));
	return text;
}

/* @v: what is swept over. */
static void add_run(struct argp_state *state, struct bench_door *door, uint64_t v)
{
	size_t i = door->args.nr_runs++;
	struct bench_run_args *run = &door->runs[i];
	char size[UNITS_SIZE_MAX], what[UNITS_SIZE_MAX + 16] = "";

	*run = door->run;
	if (door->sweep == SWEEP_BLOCK_SIZE) {
		run->block_size = (uint32_t)v;
		snprintf(what, sizeof(what), " %s", format_block_size(v, size));
	} else if (door->sweep == SWEEP_DEPTH) {
		run->depth = (unsigned)v;
		snprintf(what, sizeof(what), " x%" PRIu64, v);
	} else if (door->sweep == SWEEP_THREADS) {
		run->threads = (unsigned)v;
		snprintf(what, sizeof(what), " %" PRIu64 "t", v);
	}
	check_buffers(state, run);
	snprintf(door->names[i], BENCH_NAME_MAX_LENGTH, "%s%.31s%s", bench_pattern_name(run), what,
		 run->is_cached ? ", cached" : "");
	run->name = door->names[i];
}

/* To twice the processors. */
static uint64_t most_threads(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t most = processors > 0 ? 2 * (uint64_t)processors : 2;

	return most < BENCH_MAX_THREADS ? most : BENCH_MAX_THREADS;
}

void bench_make_runs(struct argp_state *state, struct bench_door *door)
{
	static const struct {
		uint64_t first, last, step;
	} rows[] = {
		[SWEEP_NONE] = { 1, 1, 2 },
		[SWEEP_BLOCK_SIZE] = { 4096, 1 << 20, 4 },
		[SWEEP_DEPTH] = { 1, 64, 2 },
		[SWEEP_THREADS] = { 1, 0, 2 }, /* as the machine says */
	};
	uint64_t last = door->sweep == SWEEP_THREADS ? most_threads() : rows[door->sweep].last;

	settle_run(state, door);
	for (uint64_t v = rows[door->sweep].first; v <= last; v *= rows[door->sweep].step)
		add_run(state, door, v);
	door->args.runs = door->runs;
}
