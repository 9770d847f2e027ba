// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "allocation.h"
#include "base/stack_distance.h"
#include "bufio/bufio.h"
#include "ops/bench_policy.h"
#include "unit.h"

#define BLOCKS 10000
#define ACCESSES 150000

static uint64_t trace[ACCESSES];

static void draw(enum workload_pattern pattern, uint64_t blocks)
{
	struct workload w = { .pattern = pattern, .blocks = blocks, .read_percent = 100, .seed = 3 };
	struct workload_source *s;

	CU_ASSERT_PTR_NULL_FATAL(workload_settle(&w));
	s = workload_open(&w, 0, 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	for (unsigned i = 0; i < ACCESSES; i++)
		trace[i] = workload_next(s).block;
	workload_close(s);
}

static double hits_of(const struct bench_accesses *a, unsigned buffers)
{
	double hits = NAN;

	CU_ASSERT_EQUAL(bench_policy_hits(a, buffers, NULL, &hits), 0);
	return hits;
}

/* --- against throwing out what was used least recently --- */

/* The most and the least that the policy hits beyond LRU, of five sizes. */
struct lead {
	double least, most;
};

static struct lead compare_with_lru(void)
{
	static const double parts[] = { 0.02, 0.1, 0.25, 0.5, 0.9 };
	struct bench_accesses a = { .blocks = trace, .nr = ACCESSES };
	struct stack_distance *lru = stack_distance_create(UINT64_MAX);
	struct lead lead = { 1, -1 };

	CU_ASSERT_PTR_NOT_NULL_FATAL(lru);
	for (unsigned i = 0; i < ACCESSES; i++)
		stack_distance_access(lru, trace[i]);
	for (unsigned i = 0; i < 5; i++) {
		unsigned buffers = (unsigned)(BLOCKS * parts[i]);
		double more = hits_of(&a, buffers) - (1 - stack_distance_miss_ratio(lru, buffers));

		lead.least = fmin(lead.least, more);
		lead.most = fmax(lead.most, more);
	}
	stack_distance_destroy(lru);
	return lead;
}

static void zipf_is_not_worse(void)
{
	draw(WORKLOAD_ZIPF, BLOCKS);
	CU_ASSERT(compare_with_lru().least >= -0.02);
}

static void scan_is_not_worse(void)
{
	draw(WORKLOAD_SEQUENTIAL, ACCESSES);
	CU_ASSERT(compare_with_lru().least >= -0.02);
}

static void loop_is_better(void)
{
	struct lead lead;

	draw(WORKLOAD_SEQUENTIAL, BLOCKS);
	lead = compare_with_lru();
	CU_ASSERT(lead.least >= -0.02);
	CU_ASSERT(lead.most > 0.3);
}

static void mixture_is_better(void)
{
	draw(WORKLOAD_ZIPF_SCAN, BLOCKS);
	CU_ASSERT(compare_with_lru().least > 0.02);
}

/* Blocks that are wanted change. LRU forgets the old ones at once; here they have a round as hot ones left. */
static void moving_is_little_worse(void)
{
	draw(WORKLOAD_NORMAL, BLOCKS / 2);
	for (unsigned i = 0; i < ACCESSES; i++)
		trace[i] += (uint64_t)i * (BLOCKS / 2) / ACCESSES;
	CU_ASSERT(compare_with_lru().least >= -0.03);
}

/* --- replay --- */

static void all_fit(void)
{
	struct bench_accesses a = { .blocks = trace, .nr = ACCESSES };

	draw(WORKLOAD_SEQUENTIAL, 1000);
	CU_ASSERT_DOUBLE_EQUAL(hits_of(&a, 1000), 1 - 1000.0 / ACCESSES, 1e-12);
	a.warm_up = 1000;
	CU_ASSERT_EQUAL(hits_of(&a, 1000), 1);
	CU_ASSERT(hits_of(&a, 900) < 1);
	a.warm_up = ACCESSES;
	CU_ASSERT_EQUAL(hits_of(&a, 1000), 0);
}

static void workload_as_its_blocks(void)
{
	struct workload w = { .pattern = WORKLOAD_ZIPF, .blocks = BLOCKS, .read_percent = 30, .seed = 3 };
	struct bench_accesses of_blocks = { .blocks = trace, .nr = ACCESSES };
	struct bench_accesses of_workload = { .workload = &w, .nr = ACCESSES };

	draw(WORKLOAD_ZIPF, BLOCKS);
	CU_ASSERT_PTR_NULL(workload_settle(&w));
	CU_ASSERT_EQUAL(hits_of(&of_blocks, 500), hits_of(&of_workload, 500));
	CU_ASSERT_EQUAL(hits_of(&of_workload, 500), hits_of(&of_workload, 500));
}

static void far_blocks(void)
{
	const uint64_t last = (UINT64_C(1) << 54) - 2, blocks[] = { 0, last, 0, last }, beyond[] = { UINT64_MAX };
	struct bench_accesses a = { .blocks = blocks, .nr = 4 };
	double hits = 7;

	CU_ASSERT_EQUAL(hits_of(&a, 8), 0.5);
	a = (struct bench_accesses){ .blocks = beyond, .nr = 1 };
	CU_ASSERT_EQUAL(bench_policy_hits(&a, 8, NULL, &hits), -EINVAL);
	CU_ASSERT_EQUAL(hits, 7);
}

static void stops(void)
{
	struct bench_accesses a = { .blocks = trace, .nr = ACCESSES };
	volatile sig_atomic_t stop = 1;
	double hits = 7;

	CU_ASSERT_EQUAL(bench_policy_hits(&a, 8, &stop, &hits), -EINTR);
	CU_ASSERT_EQUAL(hits, 7);
	stop = 0;
	CU_ASSERT_EQUAL(bench_policy_hits(&a, 8, &stop, &hits), 0);
}

static void no_memory(void)
{
	struct workload w = { .pattern = WORKLOAD_RANDOM, .blocks = BLOCKS, .read_percent = 100 };
	struct bench_accesses a = { .workload = &w, .nr = 1000 };
	int r = -ENOMEM;

	for (unsigned n = 1; r && n < 100; n++) {
		double hits = 7;

		allocation_fail_at(n, false);
		r = bench_policy_hits(&a, 100, NULL, &hits);
		allocation_relent();
		CU_ASSERT(r == -ENOMEM || !r);
		CU_ASSERT(!r || hits == 7);
	}
	CU_ASSERT_EQUAL(r, 0);
}

/* --- limits --- */

/* Buffers of a client with this limit, by filling it. */
static uint64_t count_buffers(uint64_t limit)
{
	struct bufio_device *dev;
	struct bufio_client *c;
	struct bufio_buffer *b;
	struct bufio_stats stats;

	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(UINT64_C(4096) * 4096, &dev), 0);
	c = bufio_client_create(dev, 4096, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, limit), 0);
	for (uint64_t i = 0; i < 4096; i++) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_read(c, i, &b));
		bufio_release(b);
	}
	bufio_get_stats(c, &stats);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	bufio_device_close(dev);
	return 4096 - stats.evictions;
}

static void limits_are_the_clients(void)
{
	static const uint64_t numbers[] = { 8, 9, 100, 1000, 1111, 4000 };

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		uint64_t limit = 0, buffers = 0;

		CU_ASSERT_EQUAL(bench_policy_limit(4096, numbers[i], &limit), 0);
		CU_ASSERT_EQUAL(count_buffers(limit), numbers[i]);
		CU_ASSERT_EQUAL(bench_policy_buffers(4096, limit, &buffers), 0);
		CU_ASSERT_EQUAL(buffers, numbers[i]);
		CU_ASSERT_EQUAL(bench_policy_buffers(4096, limit - 1, &buffers), 0);
		CU_ASSERT_EQUAL(buffers, numbers[i] > 8 ? numbers[i] - 1 : 8);
	}
}

static void large_limits(void)
{
	uint64_t buffers = 0, limit = 0;

	CU_ASSERT_EQUAL(bench_policy_buffers(4096, UINT64_C(1) << 40, &buffers), 0);
	CU_ASSERT(buffers > 240000000 && buffers < 268435456);
	CU_ASSERT_EQUAL(bench_policy_limit(4096, buffers, &limit), 0);
	CU_ASSERT(limit <= UINT64_C(1) << 40 && limit > (UINT64_C(1) << 40) - 8192);
}

static void limits_of_nothing(void)
{
	uint64_t out = 7;

	CU_ASSERT_EQUAL(bench_policy_limit(100, 10, &out), -EINVAL);
	CU_ASSERT_EQUAL(bench_policy_buffers(100, 1 << 20, &out), -EINVAL);
	CU_ASSERT_EQUAL(out, 7);
	CU_ASSERT_EQUAL(bench_policy_buffers(4096, 0, &out), 0);
	CU_ASSERT_EQUAL(out, 8);
}

static const struct unit_case cases[] = {
	{ "zipf hits no more than 0.02 less often than with LRU, at five sizes", zipf_is_not_worse },
	{ "nor does a scan", scan_is_not_worse },
	{ "nor a loop, which hits far more often at some", loop_is_better },
	{ "zipf with a scan hits more often at each", mixture_is_better },
	{ "what was hot goes when a bell moves: it hits no more than 0.03 less often", moving_is_little_worse },
	{ "where all blocks fit, only first accesses miss, and after a warm-up none", all_fit },
	{ "a workload is as the blocks that it draws, read or written", workload_as_its_blocks },
	{ "blocks may be as far as a device can be long, and no further", far_blocks },
	{ "it ends when it is told to", stops },
	{ "without memory it fails and leaves the output alone", no_memory },
	{ "a limit has as many buffers as a client that is filled", limits_are_the_clients },
	{ "limits beyond any replay are in proportion", large_limits },
	{ "no block size, no limit; a limit of nothing has 8", limits_of_nothing },
	{ NULL, NULL },
};

const struct unit_suite bench_policy_suite = { "bench_policy", cases };
