// SPDX-License-Identifier: LGPL-2.1-or-later
/* bench: the runs one after the other, and what is made of their repeats. */
#include "ops/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/statistics.h"
#include "base/units.h"
#include "ops/bench_curve.h"
#include "ops/bench_int.h"
#include "ops/target.h"

struct bench {
	const struct op_bench_args *args;
	struct op_bench_result *out;
	struct op_result *result;
};

const char *bench_arrival_name(enum bench_arrival arrival)
{
	static const char *const names[] = {
		[BENCH_CLOSED] = "closed",
		[BENCH_FIXED] = "fixed",
		[BENCH_POISSON] = "poisson",
	};

	return names[arrival];
}

const char *bench_pattern_name(const struct bench_run_args *run)
{
	return run->replay ? "replay" : workload_pattern_name(run->workload.pattern);
}

/* --- the first look: ten seconds in all, with what is looked at before --- */

#define LOOK_NS UINT64_C(2800000000)
#define LOOK_WARM_UP_NS UINT64_C(800000000)
#define LOOK_SEQUENTIAL_DEPTH 8

/* Large enough for the device, and a power of two that fits into it. */
static uint32_t choose_block_size(const struct bufio_device_info *info, uint32_t wanted)
{
	while (wanted > info->alignment && wanted > 4096 && wanted > info->size)
		wanted /= 2;
	return wanted < info->alignment ? info->alignment : wanted;
}

static size_t look_runs(const struct op_bench_args *args, struct bench_run_args *runs)
{
	const struct bufio_device_info *info = bufio_device_describe(args->device);
	uint32_t large = choose_block_size(info, UINT32_C(1) << 20), small = choose_block_size(info, 4096);
	struct bench_run_args one = {
		.workload = { .read_percent = 100 },
		.block_size = small,
		.end = UINT64_MAX,
		.depth = 1,
		.threads = 1,
		.ns = LOOK_NS,
		.repeats = 1,
	};

	runs[0] = runs[1] = runs[2] = one;
	runs[0].name = "sequential";
	runs[0].block_size = large;
	runs[0].depth = LOOK_SEQUENTIAL_DEPTH;
	runs[1].name = "random";
	runs[1].workload.pattern = WORKLOAD_RANDOM;
	runs[2].name = "zipf, cached";
	runs[2].workload.pattern = WORKLOAD_ZIPF;
	runs[2].is_cached = true;
	runs[2].memory_limit = args->memory_limit;
	runs[2].warm_up_ns = LOOK_WARM_UP_NS;
	return 3;
}

/* --- settling --- */

static bool fail_region(struct bench *b, const struct bench_run_args *run, uint64_t size)
{
	char have[UNITS_SIZE_MAX], block[UNITS_SIZE_MAX];

	units_format_size(size, have);
	units_format_size(run->block_size, block);
	if (!size)
		op_fail(b->result, OP_INPUT, 0, "%s: is empty: there is nothing to read", b->args->image);
	else if (run->begin >= size)
		op_fail(b->result, OP_USAGE, 0, "%s: ends at %s, before the region begins", b->args->image, have);
	else if (run->end != UINT64_MAX && run->end > size)
		op_fail(b->result, OP_USAGE, 0, "%s: ends at byte %" PRIu64 ", %s, before the region does",
			b->args->image, size, have);
	else if (size >= run->block_size)
		op_fail(b->result, OP_USAGE, 0, "%s: the region is smaller than a block of %s", b->args->image, block);
	else
		op_fail(b->result, OP_INPUT, 0, "%s: has %s, less than one block of %s: there is nothing to measure",
			b->args->image, have, block);
	return false;
}

static bool settle_region(struct bench *b, struct bench_run_args *run)
{
	const struct bufio_device_info *info = bufio_device_describe(b->args->device);
	uint64_t end = run->end == UINT64_MAX ? info->size : run->end;

	if (run->block_size % info->alignment) {
		op_fail(b->result, OP_USAGE, 0,
			"%s: blocks of %" PRIu32 " bytes do not fit its alignment of %" PRIu32 " bytes", b->args->image,
			run->block_size, info->alignment);
		return false;
	}
	if (end > info->size || run->begin >= end || (end - run->begin) / run->block_size == 0)
		return fail_region(b, run, info->size);
	if (run->begin % run->block_size) {
		op_fail(b->result, OP_USAGE, 0, "%s: the region begins at %" PRIu64 ", which is not where a block does",
			b->args->image, run->begin);
		return false;
	}
	run->workload.blocks = (end - run->begin) / run->block_size;
	run->end = run->begin + run->workload.blocks * run->block_size;
	return true;
}

static bool settle(struct bench *b, struct bench_run_args *run)
{
	const char *why;

	if (run->replay && !bench_replay_load(b->out, b->args, run, b->result))
		return false;
	if (!settle_region(b, run))
		return false;
	why = workload_settle(&run->workload);
	if (why)
		op_fail(b->result, OP_USAGE, 0, "%s", why);
	return !why;
}

static bool settle_runs(struct bench *b)
{
	struct bench_run_args look[3];
	size_t nr = b->args->nr_runs ? b->args->nr_runs : look_runs(b->args, look);
	const struct bench_run_args *runs = b->args->nr_runs ? b->args->runs : look;

	b->out->runs = calloc(nr, sizeof(*b->out->runs));
	if (!b->out->runs) {
		op_fail(b->result, OP_INTERNAL, -ENOMEM, "out of memory");
		return false;
	}
	b->out->nr_runs = nr;
	for (size_t i = 0; i < nr; i++) {
		b->out->runs[i].args = runs[i];
		if (!settle(b, &b->out->runs[i].args))
			return false;
	}
	return true;
}

/* --- what would be lost --- */

static bool has_writes(const struct bench *b)
{
	for (size_t i = 0; i < b->out->nr_runs; i++)
		if (b->out->runs[i].args.workload.read_percent < 100)
			return true;
	return false;
}

static bool may_write(struct bench *b)
{
	const struct op_bench_args *a = b->args;
	struct target_contents found;
	struct bufio_client *c;

	if (!has_writes(b))
		return true;
	c = bufio_client_create(a->device, 4096, 1, 0, NULL, NULL);
	if (!c) {
		op_fail_errno(b->result, a->image, -errno);
		return false;
	}
	target_look(c, a->image, &found);
	bufio_client_destroy(c);
	return target_may_be_lost(&found, found.type, a->image, a->signature, b->result);
}

/* --- medians --- */

static double ops_of(const struct bench_repeat *r)
{
	return bench_per_second(r, r->ops);
}

static double bytes_of(const struct bench_repeat *r)
{
	return bench_per_second(r, r->bytes);
}

static double hit_ratio_of(const struct bench_repeat *r)
{
	uint64_t all = r->hits + r->misses;

	return all ? (double)r->hits / (double)all : 0;
}

static double p50_of(const struct bench_repeat *r)
{
	return (double)histogram_percentile(&r->measures[BENCH_SERVICE], 50);
}

static double p99_of(const struct bench_repeat *r)
{
	return (double)histogram_percentile(&r->measures[BENCH_SERVICE], 99);
}

static double median_of(const struct bench_run *run, double (*of)(const struct bench_repeat *), double *room)
{
	for (unsigned i = 0; i < run->nr_repeats; i++)
		room[i] = of(&run->repeats[i]);
	statistics_sort(room, run->nr_repeats);
	return statistics_median(room, run->nr_repeats);
}

static bool take_medians(struct bench_run *run)
{
	double *room = calloc(run->nr_repeats + 1, sizeof(*room));
	struct bench_median *m = &run->median;

	if (!room)
		return false;
	m->p50 = (uint64_t)median_of(run, p50_of, room);
	m->p99 = (uint64_t)median_of(run, p99_of, room);
	m->hit_ratio = median_of(run, hit_ratio_of, room);
	m->bytes_per_s = median_of(run, bytes_of, room);
	m->ops_per_s = median_of(run, ops_of, room);
	m->least_ops_per_s = room[0]; /* they are sorted now */
	m->most_ops_per_s = room[run->nr_repeats - 1];
	free(room);
	return true;
}

/* --- running --- */

#define NOTHING_DONE (-ENOMSG) /* which no device says */

static bool is_stopped(const struct bench *b)
{
	return b->args->stop && *b->args->stop;
}

static bool fail_run(struct bench *b, const struct bench_run *run, int error)
{
	if (error == -EDOM)
		op_fail(b->result, OP_USAGE, error,
			"%s: a memory limit of %" PRIu64 " bytes is too low for a cache of such blocks", b->args->image,
			run->args.memory_limit);
	else if (error == -EOPNOTSUPP)
		op_fail(b->result, OP_USAGE, error, "%s: cannot be opened once more for each thread", b->args->image);
	else if (error == NOTHING_DONE)
		op_fail(b->result, run->args.replay ? OP_INPUT : OP_USAGE, error, run->args.replay ?
			"%s: the trace has nothing that would be asked for in this way" :
			"%s: no operation was done in that time: measure longer", b->args->image);
	else
		op_fail_errno(b->result, b->args->image, error);
	return false;
}

static int repeat(struct bench *b, struct bench_machine *m, struct bench_run *run)
{
	int r = bench_machine_warm_up(m);

	while (!r && run->nr_repeats < run->args.repeats && !is_stopped(b)) {
		struct bench_repeat *next = &run->repeats[run->nr_repeats];

		r = bench_machine_run(m, next);
		if (!r && !next->ops && !is_stopped(b))
			r = NOTHING_DONE;
		if (!r && next->ops)
			run->nr_repeats++;
		else
			bench_repeat_free(next);
	}
	return r;
}

/* As many accesses as were measured, within what does not take long. The first fifth fills the caches. */
#define LEAST_CURVE 100000
#define MOST_CURVE 1000000

static int make_curve(struct bench *b, struct bench_run *run)
{
	uint64_t nr = run->repeats[0].ops;
	struct bench_curve_args args = {
		.accesses = { .workload = &run->args.workload },
		.block_size = run->args.block_size,
		.stop = b->args->stop,
	};
	int r;

	nr = nr < LEAST_CURVE ? LEAST_CURVE : nr > MOST_CURVE ? MOST_CURVE : nr;
	args.accesses.nr = nr;
	args.accesses.warm_up = nr / 5;
	run->curve = calloc(1, sizeof(*run->curve));
	if (!run->curve)
		return -ENOMEM;
	r = bench_curve_make(&args, run->curve);
	if (r) {
		free(run->curve);
		run->curve = NULL;
	}
	return r;
}

static bool do_run(struct bench *b, struct bench_run *run)
{
	struct bench_machine m;
	int r, closed;

	run->repeats = calloc(run->args.repeats, sizeof(*run->repeats));
	if (!run->repeats)
		return fail_run(b, run, -ENOMEM);
	bench_drop_pages(b->args, run->args.begin, run->args.end);
	r = bench_machine_open(&m, b->args, &run->args);
	if (!r)
		r = repeat(b, &m, run);
	closed = bench_machine_close(&m);
	r = r ? r : closed;
	if (!r && run->nr_repeats && !take_medians(run))
		r = -ENOMEM;
	if (r || !run->nr_repeats)
		return !r || fail_run(b, run, r);
	bench_look_at_run(b->out, run);
	r = run->args.has_curve ? make_curve(b, run) : 0;
	if (r)
		return fail_run(b, run, r);
	if (run->args.is_cached)
		b->out->memory_limit = run->args.memory_limit;
	return true;
}

/* From where the first region begins to where the last one ends. */
static void find_bounds(const struct bench *b, uint64_t *begin, uint64_t *end)
{
	*begin = UINT64_MAX;
	*end = 0;
	for (size_t i = 0; i < b->out->nr_runs; i++) {
		const struct bench_run_args *a = &b->out->runs[i].args;

		*begin = a->begin < *begin ? a->begin : *begin;
		*end = a->end > *end ? a->end : *end;
	}
}

static bool look(struct bench *b)
{
	uint64_t begin, end;
	int r;

	find_bounds(b, &begin, &end);
	bench_look_at_device(b->out, b->args);
	r = bench_look_at_region(b->out, b->args, begin, end);
	if (r)
		op_fail_errno(b->result, b->args->image, r);
	return !r;
}

bool op_bench_measure(const struct op_bench_args *args, struct op_bench_result *bench, struct op_result *result)
{
	struct bench b = { args, bench, result };
	bool ok;

	*bench = (struct op_bench_result){ .image = args->image };
	ok = settle_runs(&b) && may_write(&b) && look(&b);
	for (size_t i = 0; i < bench->nr_runs && ok && !is_stopped(&b); i++)
		ok = do_run(&b, &bench->runs[i]);
	bench->is_partial = is_stopped(&b);
	return ok;
}

void op_bench_free(struct op_bench_result *bench)
{
	for (size_t i = 0; i < bench->nr_runs; i++) {
		for (unsigned j = 0; j < bench->runs[i].nr_repeats; j++)
			bench_repeat_free(&bench->runs[i].repeats[j]);
		free(bench->runs[i].repeats);
		if (bench->runs[i].curve)
			bench_curve_free(bench->runs[i].curve);
		free(bench->runs[i].curve);
		bench_replay_free(bench->runs[i].args.trace);
	}
	free(bench->runs);
	*bench = (struct op_bench_result){ .runs = NULL };
}
