// SPDX-License-Identifier: LGPL-2.1-or-later
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "allocation.h"
#include "base/stack_distance.h"
#include "ops/workload.h"
#include "unit.h"

/* --- a cache, the simple way --- */

#define SMALL 5000 /* blocks */

static struct {
	unsigned next[SMALL + 1], before[SMALL + 1]; /* a ring of blocks, from the last used on; SMALL is its head */
	bool is_cached[SMALL];
	unsigned nr;
} lru;

static void lru_clear(void)
{
	lru.next[SMALL] = lru.before[SMALL] = SMALL;
	for (unsigned i = 0; i < SMALL; i++)
		lru.is_cached[i] = false;
	lru.nr = 0;
}

static void lru_remove(unsigned block)
{
	lru.next[lru.before[block]] = lru.next[block];
	lru.before[lru.next[block]] = lru.before[block];
	lru.is_cached[block] = false;
	lru.nr--;
}

/* Whether it was there. */
static bool lru_access(unsigned block, unsigned size)
{
	bool is_hit = lru.is_cached[block];

	if (is_hit)
		lru_remove(block);
	else if (lru.nr == size)
		lru_remove(lru.before[SMALL]);
	lru.next[block] = lru.next[SMALL];
	lru.before[block] = SMALL;
	lru.before[lru.next[SMALL]] = block;
	lru.next[SMALL] = block;
	lru.is_cached[block] = true;
	lru.nr++;
	return is_hit;
}

/* --- traces --- */

struct trace {
	uint64_t *blocks;
	size_t nr;
};

static struct trace draw(enum workload_pattern pattern, uint64_t nr_blocks, size_t nr)
{
	struct workload w = { .pattern = pattern, .blocks = nr_blocks, .read_percent = 100, .seed = 5 };
	struct trace t = { malloc(nr * sizeof(*t.blocks)), nr };
	struct workload_source *s;

	CU_ASSERT_PTR_NOT_NULL_FATAL(t.blocks);
	CU_ASSERT_PTR_NULL_FATAL(workload_settle(&w));
	s = workload_open(&w, 0, 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	for (size_t i = 0; i < nr; i++)
		t.blocks[i] = workload_next(s).block;
	workload_close(s);
	return t;
}

static struct stack_distance *create(uint64_t max_tracked)
{
	struct stack_distance *s = stack_distance_create(max_tracked);

	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	return s;
}

static struct stack_distance *follow(const struct trace *t, uint64_t max_tracked)
{
	struct stack_distance *s = create(max_tracked);

	for (size_t i = 0; i < t->nr; i++)
		stack_distance_access(s, t->blocks[i]);
	return s;
}

/* --- exact --- */

static uint64_t count_misses(const struct trace *t, unsigned size)
{
	uint64_t nr = 0;

	lru_clear();
	for (size_t i = 0; i < t->nr; i++)
		nr += !lru_access((unsigned)t->blocks[i], size);
	return nr;
}

static void check_exact(enum workload_pattern pattern, unsigned nr_blocks, size_t nr)
{
	const unsigned sizes[] = { 1, nr_blocks / 20, nr_blocks / 4, nr_blocks - 1, nr_blocks };
	struct trace t = draw(pattern, nr_blocks, nr);
	struct stack_distance *s = follow(&t, UINT64_MAX);

	CU_ASSERT_EQUAL(stack_distance_rate(s), 1);
	for (unsigned i = 0; i < 5; i++) {
		double misses = stack_distance_miss_ratio(s, sizes[i]) * (double)nr;

		CU_ASSERT_EQUAL((uint64_t)llround(misses), count_misses(&t, sizes[i]));
	}
	stack_distance_destroy(s);
	free(t.blocks);
}

static void zipf_is_exact(void)
{
	check_exact(WORKLOAD_ZIPF, SMALL, 100000);
}

static void scan_is_exact(void)
{
	check_exact(WORKLOAD_SEQUENTIAL, SMALL, SMALL);
}

static void loop_is_exact(void)
{
	check_exact(WORKLOAD_SEQUENTIAL, 3000, 50000);
}

static void mixture_is_exact(void)
{
	check_exact(WORKLOAD_ZIPF_SCAN, SMALL, 100000);
}

static void exact_up_to_the_limit(void)
{
	struct trace t = draw(WORKLOAD_RANDOM, 2048, 50000);
	struct stack_distance *s = follow(&t, 2000); /* is 2048 */

	CU_ASSERT_EQUAL(stack_distance_rate(s), 1);
	CU_ASSERT_EQUAL(stack_distance_footprint(s), 2048);
	CU_ASSERT_EQUAL((uint64_t)llround(stack_distance_miss_ratio(s, 1000) * 50000), count_misses(&t, 1000));
	stack_distance_access(s, 2048);
	CU_ASSERT_EQUAL(stack_distance_rate(s), 0.5);
	stack_distance_destroy(s);
	free(t.blocks);
}

/* --- sampled --- */

static double worst_error(const struct stack_distance *exact, const struct stack_distance *sampled, uint64_t nr_blocks)
{
	const double parts[] = { 0.05, 0.1, 0.25, 0.5, 0.9 };
	double worst = 0;

	for (unsigned i = 0; i < 5; i++) {
		uint64_t size = (uint64_t)((double)nr_blocks * parts[i]);

		worst = fmax(worst, fabs(stack_distance_miss_ratio(exact, size) -
					 stack_distance_miss_ratio(sampled, size)));
	}
	return worst;
}

/* One block of eight is chosen in the end, or fewer. */
static void check_sampled(enum workload_pattern pattern, uint64_t nr_blocks, size_t nr)
{
	struct trace t = draw(pattern, nr_blocks, nr);
	struct stack_distance *exact = follow(&t, UINT64_MAX), *sampled = follow(&t, 16384);

	CU_ASSERT_EQUAL(stack_distance_rate(exact), 1);
	CU_ASSERT(stack_distance_rate(sampled) <= 0.125);
	CU_ASSERT(worst_error(exact, sampled, nr_blocks) <= 0.005);
	CU_ASSERT(fabs((double)stack_distance_footprint(sampled) / (double)stack_distance_footprint(exact) - 1) < 0.01);
	stack_distance_destroy(exact);
	stack_distance_destroy(sampled);
	free(t.blocks);
}

static void zipf_is_near(void)
{
	check_sampled(WORKLOAD_ZIPF, 100000, 500000);
}

static void scan_is_near(void)
{
	check_sampled(WORKLOAD_SEQUENTIAL, 100000, 100000);
}

static void loop_is_near(void)
{
	check_sampled(WORKLOAD_SEQUENTIAL, 100000, 500000);
}

static void mixture_is_near(void)
{
	check_sampled(WORKLOAD_ZIPF_SCAN, 100000, 500000);
}

static void cliffs_are_in_place(void)
{
	struct trace t = draw(WORKLOAD_SEQUENTIAL, 100000, 1000000);
	struct stack_distance *s = follow(&t, 1024);

	CU_ASSERT(stack_distance_rate(s) < 0.02);
	CU_ASSERT(stack_distance_miss_ratio(s, 99000) > 0.99);
	CU_ASSERT(stack_distance_miss_ratio(s, 101000) < 0.11);
	stack_distance_destroy(s);
	free(t.blocks);
}

/* A block that has half of all accesses may be among those that are not followed. */
static void much_used_blocks_count(void)
{
	unsigned bad = 0;

	for (uint64_t hot = 0; hot < 40; hot++) {
		struct stack_distance *s = create(1024);

		for (uint64_t i = 0; i < 50000; i++) {
			stack_distance_access(s, hot * 1000003);
			stack_distance_access(s, (1 << 30) + i % 5000);
		}
		bad += fabs(stack_distance_miss_ratio(s, 100) - 0.5) > 0.01;
		stack_distance_destroy(s);
	}
	CU_ASSERT_EQUAL(bad, 0);
}

/* It comes up when most blocks are not followed any more. */
static void much_used_later(void)
{
	unsigned bad = 0;

	for (uint64_t hot = 0; hot < 40; hot++) {
		struct stack_distance *s = create(1024);

		for (uint64_t i = 0; i < 50000; i++) {
			stack_distance_access(s, i < 10000 ? 3 : hot * 1000003);
			stack_distance_access(s, (1 << 30) + i % 5000);
		}
		bad += fabs(stack_distance_miss_ratio(s, 100) - 0.5) > 0.05;
		stack_distance_destroy(s);
	}
	CU_ASSERT_EQUAL(bad, 0);
}

static void no_memory_no_more_blocks(void)
{
	struct trace t = draw(WORKLOAD_RANDOM, SMALL, 50000);
	struct stack_distance *s;

	allocation_fail_at(1, true);
	CU_ASSERT_PTR_NULL(stack_distance_create(1));
	allocation_relent();
	s = create(UINT64_MAX);
	for (unsigned n = 1; n <= 4; n++) {
		stack_distance_destroy(s);
		s = create(UINT64_MAX);
		allocation_fail_at(n, false);
		for (size_t i = 0; i < t.nr; i++)
			stack_distance_access(s, t.blocks[i]);
		allocation_relent();
		CU_ASSERT(stack_distance_rate(s) < 1);
		CU_ASSERT(fabs(stack_distance_miss_ratio(s, SMALL / 2) - 0.5) < 0.1);
	}
	stack_distance_destroy(s);
	free(t.blocks);
}

/* --- asking --- */

static void sizes_are_found(void)
{
	static const double ratios[] = { 0.7, 0.5, 0.2, 0.1, 0.07 };
	struct trace t = draw(WORKLOAD_ZIPF, SMALL, 100000);
	struct stack_distance *all[] = { follow(&t, UINT64_MAX), follow(&t, 1024) };

	for (unsigned i = 0; i < 10; i++) {
		struct stack_distance *s = all[i / 5];
		uint64_t size = 0;

		CU_ASSERT(stack_distance_find_size(s, ratios[i % 5], &size));
		CU_ASSERT(stack_distance_miss_ratio(s, size) <= ratios[i % 5] + 1e-6);
		CU_ASSERT(stack_distance_miss_ratio(s, size - 1) > ratios[i % 5]);
	}
	stack_distance_destroy(all[0]);
	stack_distance_destroy(all[1]);
	free(t.blocks);
}

static void round_ratios_are_met(void)
{
	struct stack_distance *s = create(UINT64_MAX);
	uint64_t size = 0;

	for (unsigned i = 0; i < 1000; i++)
		stack_distance_access(s, i % 100);
	CU_ASSERT(stack_distance_find_size(s, 0.1, &size)); /* 100 are first accesses */
	CU_ASSERT_EQUAL(size, 100);
	size = 7;
	CU_ASSERT(!stack_distance_find_size(s, 0.05, &size));
	CU_ASSERT_EQUAL(size, 7);
	CU_ASSERT(stack_distance_find_size(s, 1, &size));
	CU_ASSERT_EQUAL(size, 1);
	stack_distance_destroy(s);
}

static void one_block(void)
{
	struct stack_distance *s = create(1);

	for (unsigned i = 0; i < 10000; i++)
		stack_distance_access(s, UINT64_MAX);
	CU_ASSERT_EQUAL(stack_distance_miss_ratio(s, 0), 1);
	CU_ASSERT_DOUBLE_EQUAL(stack_distance_miss_ratio(s, 1), 0.0001, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(stack_distance_miss_ratio(s, UINT64_MAX), 0.0001, 1e-9);
	stack_distance_destroy(s);
}

static void after_a_warm_up(void)
{
	struct stack_distance *s = create(UINT64_MAX);

	for (unsigned i = 0; i < 100; i++)
		stack_distance_access(s, i);
	stack_distance_start(s);
	CU_ASSERT_EQUAL(stack_distance_miss_ratio(s, 100), 1);
	for (unsigned i = 0; i < 100; i++)
		stack_distance_access(s, i);
	CU_ASSERT_EQUAL(stack_distance_miss_ratio(s, 99), 1);
	CU_ASSERT_EQUAL(stack_distance_miss_ratio(s, 100), 0);
	CU_ASSERT_EQUAL(stack_distance_footprint(s), 100);
	stack_distance_destroy(s);
}

static void nothing(void)
{
	struct stack_distance *s = create(1024);
	uint64_t size;

	CU_ASSERT_EQUAL(stack_distance_miss_ratio(s, 1000), 1);
	CU_ASSERT(!stack_distance_find_size(s, 0.5, &size));
	CU_ASSERT_EQUAL(stack_distance_footprint(s), 0);
	stack_distance_destroy(s);
	stack_distance_destroy(NULL);
}

static const struct unit_case cases[] = {
	{ "zipf misses as often as in a simulated cache, at five sizes", zipf_is_exact },
	{ "a scan misses as often as in a simulated cache", scan_is_exact },
	{ "a loop as well, also where it just fits", loop_is_exact },
	{ "and zipf with a scan in it", mixture_is_exact },
	{ "it is exact up to as many blocks as may be followed, not beyond", exact_up_to_the_limit },
	{ "zipf is within 0.005 when one block of eight is chosen, at five sizes", zipf_is_near },
	{ "a scan is so near", scan_is_near },
	{ "a loop is so near", loop_is_near },
	{ "zipf with a scan in it is so near", mixture_is_near },
	{ "a loop's cliff is within 1 % even if one block of a hundred is chosen", cliffs_are_in_place },
	{ "a block with half of all accesses counts, followed or not", much_used_blocks_count },
	{ "and one that comes up late counts nearly so", much_used_later },
	{ "without memory for more fewer blocks are followed", no_memory_no_more_blocks },
	{ "the size found misses no more than asked, and one block less does", sizes_are_found },
	{ "ratios that are met exactly are met; those below the first accesses never", round_ratios_are_met },
	{ "one block used again and again hits in a cache of one", one_block },
	{ "after a start only what comes is counted, and blocks are known", after_a_warm_up },
	{ "nothing counted misses", nothing },
	{ NULL, NULL },
};

const struct unit_suite stack_distance_suite = { "stack_distance", cases };
