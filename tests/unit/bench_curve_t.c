// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <math.h>

#include "allocation.h"
#include "ops/bench_curve.h"
#include "unit.h"

#define BLOCK 4096

static struct workload settled(enum workload_pattern pattern, uint64_t blocks)
{
	struct workload w = { .pattern = pattern, .blocks = blocks, .read_percent = 100, .seed = 9 };

	CU_ASSERT_PTR_NULL_FATAL(workload_settle(&w));
	return w;
}

static struct bench_curve_args args_of(const struct workload *w, uint64_t nr, uint64_t warm_up)
{
	return (struct bench_curve_args){
		.accesses = { .workload = w, .nr = nr, .warm_up = warm_up },
		.block_size = BLOCK,
	};
}

static struct bench_curve make(const struct bench_curve_args *args)
{
	struct bench_curve curve;

	CU_ASSERT_EQUAL_FATAL(bench_curve_make(args, &curve), 0);
	return curve;
}

/* --- points --- */

static void points_rise(void)
{
	struct workload w = settled(WORKLOAD_ZIPF, 5000);
	struct bench_curve_args args = args_of(&w, 60000, 20000);
	struct bench_curve c = make(&args);

	CU_ASSERT_EQUAL(c.nr_points, 12);
	CU_ASSERT_EQUAL(c.points[11].buffers, c.footprint);
	CU_ASSERT_EQUAL(c.lru_rate, 1);
	CU_ASSERT(!c.is_partial);
	for (size_t i = 0; i < c.nr_points; i++) {
		const struct bench_curve_point *p = &c.points[i];

		CU_ASSERT(p->limit > p->buffers * BLOCK);
		CU_ASSERT(p->policy_hits >= p->lru_hits - 0.02 && p->policy_hits <= 1);
		CU_ASSERT(!i || (p->limit > p[-1].limit && p->lru_hits >= p[-1].lru_hits));
	}
	/* Nothing is thrown out there. */
	CU_ASSERT_DOUBLE_EQUAL(c.points[11].policy_hits, c.points[11].lru_hits, 1e-9);
	bench_curve_free(&c);
}

static void given_limits_are_taken(void)
{
	static const uint64_t limits[] = { 0, 1 << 20, 4 << 20, UINT64_C(1) << 40 };
	struct workload w = settled(WORKLOAD_RANDOM, 1000);
	struct bench_curve_args args = args_of(&w, 20000, 10000);
	struct bench_curve c;

	args.limits = limits;
	args.nr_limits = 4;
	c = make(&args);
	CU_ASSERT_EQUAL(c.nr_points, 4);
	CU_ASSERT_EQUAL(c.points[0].buffers, 8);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(c.points[i].limit, limits[i]);
	CU_ASSERT(fabs(c.points[1].policy_hits - (double)c.points[1].buffers / 1000) < 0.03);
	CU_ASSERT(c.points[2].policy_hits > 0.85);
	CU_ASSERT(isnan(c.points[3].policy_hits)); /* more than can be replayed */
	CU_ASSERT_EQUAL(c.points[3].lru_hits, 1);
	bench_curve_free(&c);
}

static void few_blocks(void)
{
	struct workload w = settled(WORKLOAD_RANDOM, 3);
	struct bench_curve_args args = args_of(&w, 1000, 100);
	struct bench_curve c = make(&args);

	CU_ASSERT_EQUAL(c.nr_points, 1);
	CU_ASSERT_EQUAL(c.points[0].policy_hits, 1);
	for (unsigned i = 0; i < BENCH_CURVE_SIZES; i++)
		CU_ASSERT(c.sizes[i].is_found && c.sizes[i].buffers == 8);
	bench_curve_free(&c);
}

/* --- sizes --- */

static void check_sizes(const struct bench_curve_args *args, const struct bench_curve *c)
{
	for (unsigned i = 0; i < BENCH_CURVE_SIZES; i++) {
		const struct bench_curve_size *s = &c->sizes[i];
		double hits = 0, fewer = 1;
		uint64_t limit = 0;

		CU_ASSERT_FATAL(s->is_found);
		CU_ASSERT_EQUAL(bench_policy_hits(&args->accesses, (unsigned)s->buffers, NULL, &hits), 0);
		CU_ASSERT_EQUAL(bench_policy_hits(&args->accesses, (unsigned)(s->buffers * 0.97), NULL, &fewer), 0);
		CU_ASSERT(hits >= s->hits && hits == s->policy_hits);
		CU_ASSERT(fewer < s->hits);
		CU_ASSERT_EQUAL(bench_policy_limit(BLOCK, s->buffers, &limit), 0);
		CU_ASSERT_EQUAL(s->limit, limit);
		CU_ASSERT(!i || s->limit > s[-1].limit);
	}
}

static void sizes_of_zipf(void)
{
	static const uint64_t few[] = { 1 << 20 };
	struct workload w = settled(WORKLOAD_ZIPF, 2000);
	struct bench_curve_args args = args_of(&w, 60000, 20000);
	struct bench_curve c = make(&args);

	CU_ASSERT_EQUAL(c.sizes[0].hits, 0.9);
	CU_ASSERT_EQUAL(c.sizes[1].hits, 0.95);
	CU_ASSERT_EQUAL(c.sizes[2].hits, 0.99);
	check_sizes(&args, &c);
	bench_curve_free(&c);
	args.limits = few; /* they need not lie between points */
	args.nr_limits = 1;
	c = make(&args);
	check_sizes(&args, &c);
	bench_curve_free(&c);
}

static void sizes_of_a_loop(void)
{
	struct workload w = settled(WORKLOAD_SEQUENTIAL, 2000);
	struct bench_curve_args args = args_of(&w, 20000, 4000);
	struct bench_curve c = make(&args);

	CU_ASSERT(c.sizes[2].is_found);
	CU_ASSERT(c.sizes[2].buffers > 1950 && c.sizes[2].buffers <= 2000);
	bench_curve_free(&c);
}

static void first_accesses_cannot_hit(void)
{
	struct workload w = settled(WORKLOAD_SEQUENTIAL, 20000), twice = settled(WORKLOAD_SEQUENTIAL, 1000);
	struct bench_curve_args args = args_of(&w, 10000, 0);
	struct bench_curve c = make(&args);

	for (unsigned i = 0; i < BENCH_CURVE_SIZES; i++)
		CU_ASSERT(!c.sizes[i].is_found);
	CU_ASSERT_DOUBLE_EQUAL(c.cold_ratio, 1, 1e-9);
	bench_curve_free(&c);
	args = args_of(&twice, 12000, 0); /* of twelve rounds eleven can hit */
	c = make(&args);
	CU_ASSERT(c.sizes[0].is_found);
	CU_ASSERT(!c.sizes[1].is_found && !c.sizes[2].is_found);
	CU_ASSERT_DOUBLE_EQUAL(c.cold_ratio, 1.0 / 12, 1e-9);
	bench_curve_free(&c);
}

/* --- ends --- */

static void stopped_is_partial(void)
{
	struct workload w = settled(WORKLOAD_ZIPF, 2000);
	struct bench_curve_args args = args_of(&w, 60000, 20000);
	volatile sig_atomic_t stop = 1;
	struct bench_curve c;

	args.stop = &stop;
	c = make(&args);
	CU_ASSERT(c.is_partial);
	for (size_t i = 0; i < c.nr_points; i++)
		CU_ASSERT(isnan(c.points[i].policy_hits));
	for (unsigned i = 0; i < BENCH_CURVE_SIZES; i++)
		CU_ASSERT(!c.sizes[i].is_found && c.sizes[i].hits >= 0.9);
	CU_ASSERT(isnan(c.cold_ratio));
	bench_curve_free(&c);
}

static void wrong_is_refused(void)
{
	static const uint64_t beyond[] = { UINT64_MAX };
	struct workload w = settled(WORKLOAD_RANDOM, 1000);
	struct bench_curve_args args = args_of(&w, 100, 101);
	struct bench_curve c;

	CU_ASSERT_EQUAL(bench_curve_make(&args, &c), -EINVAL);
	args = args_of(&w, 100, 0);
	args.block_size = 100;
	CU_ASSERT_EQUAL(bench_curve_make(&args, &c), -EINVAL);
	args = args_of(NULL, 1, 0);
	args.accesses.blocks = beyond;
	CU_ASSERT_EQUAL(bench_curve_make(&args, &c), -EINVAL);
}

static void no_memory(void)
{
	struct workload w = settled(WORKLOAD_RANDOM, 100);
	struct bench_curve_args args = args_of(&w, 500, 0);
	struct bench_curve c;
	int r = -ENOMEM;

	for (unsigned n = 1; r && n < 2000; n++) {
		allocation_fail_at(n, false);
		r = bench_curve_make(&args, &c);
		allocation_relent();
		CU_ASSERT(r == -ENOMEM || !r);
	}
	CU_ASSERT_EQUAL_FATAL(r, 0);
	bench_curve_free(&c);
}

static void nothing(void)
{
	struct workload w = settled(WORKLOAD_RANDOM, 100);
	struct bench_curve_args args = args_of(&w, 0, 0);
	struct bench_curve c = make(&args);

	CU_ASSERT_EQUAL(c.footprint, 0);
	for (unsigned i = 0; i < BENCH_CURVE_SIZES; i++)
		CU_ASSERT(!c.sizes[i].is_found);
	bench_curve_free(&c);
}

static const struct unit_case cases[] = {
	{ "points rise to where all blocks fit; the policy is never far below LRU", points_rise },
	{ "limits that are given are the points; one too large to replay has LRU alone", given_limits_are_taken },
	{ "three blocks have one point", few_blocks },
	{ "the least limit for 90, 95 and 99 % hits has them, and 3 % less has not", sizes_of_zipf },
	{ "a loop of which 99 % are to hit has to fit", sizes_of_a_loop },
	{ "what is used for the first time cannot hit, with any memory", first_accesses_cannot_hit },
	{ "stopped, the curve is what was done, and says so", stopped_is_partial },
	{ "a warm-up of more than all, no block size and no block are refused", wrong_is_refused },
	{ "without memory it fails", no_memory },
	{ "no accesses have no sizes", nothing },
	{ NULL, NULL },
};

const struct unit_suite bench_curve_suite = { "bench_curve", cases };
