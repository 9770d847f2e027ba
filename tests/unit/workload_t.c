// SPDX-License-Identifier: LGPL-2.1-or-later
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/radix_sort.h"
#include "ops/workload.h"
#include "unit.h"

#define BLOCKS 1000
#define DRAWS 400000

static uint64_t counts[BLOCKS];

static struct workload settled(enum workload_pattern pattern, uint64_t blocks)
{
	struct workload w = { .pattern = pattern, .blocks = blocks, .read_percent = 100, .seed = 7 };

	CU_ASSERT_PTR_NULL(workload_settle(&w));
	return w;
}

static struct workload_source *open_one(const struct workload *w)
{
	struct workload_source *s = workload_open(w, 0, 1);

	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	return s;
}

static void count(const struct workload *w, unsigned thread, unsigned nr_threads, unsigned nr)
{
	struct workload_source *s = workload_open(w, thread, nr_threads);
	unsigned beyond = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	for (unsigned i = 0; i < nr; i++) {
		uint64_t block = workload_next(s).block;

		if (block < BLOCKS)
			counts[block]++;
		else
			beyond++;
	}
	CU_ASSERT_EQUAL(beyond, 0);
	workload_close(s);
}

static void count_anew(const struct workload *w, unsigned nr)
{
	memset(counts, 0, sizeof(counts));
	count(w, 0, 1, nr);
}

static int compare_counts(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* Accesses of the @nr blocks that had most. */
static double share_of_top(unsigned nr)
{
	uint64_t sum = 0;

	qsort(counts, BLOCKS, sizeof(*counts), compare_counts);
	for (unsigned i = 0; i < nr; i++)
		sum += counts[i];
	return (double)sum / DRAWS;
}

/* @share, within five standard deviations of so many draws. */
static void is_share(double share, double expected)
{
	CU_ASSERT(fabs(share - expected) <= 5 * sqrt(expected * (1 - expected) / DRAWS));
}

/* --- shares --- */

static double zipf_share(double theta, unsigned nr, unsigned of)
{
	double sum = 0, all = 0;

	for (unsigned k = 1; k <= of; k++) {
		all += pow(k, -theta);
		sum += k <= nr ? pow(k, -theta) : 0;
	}
	return sum / all;
}

static void check_zipf(double theta)
{
	struct workload w = settled(WORKLOAD_ZIPF, BLOCKS);

	w.theta = theta;
	count_anew(&w, DRAWS);
	share_of_top(0); /* in order */
	for (unsigned k = 0; k < 4; k++)
		is_share((double)counts[k] / DRAWS, zipf_share(theta, k + 1, BLOCKS) - zipf_share(theta, k, BLOCKS));
	is_share(share_of_top(100), zipf_share(theta, 100, BLOCKS));
	is_share(share_of_top(400), zipf_share(theta, 400, BLOCKS));
}

static void zipf_shares(void)
{
	check_zipf(0.8);
	check_zipf(0.99);
	check_zipf(1);
	check_zipf(1.2);
	check_zipf(3);
}

/* How often those came that came most, of DRAWS sorted @blocks: the first three. */
static void find_top(const uint64_t *blocks, unsigned top[3])
{
	for (unsigned begin = 0, end; begin < DRAWS; begin = end) {
		unsigned run;

		for (end = begin + 1; end < DRAWS && blocks[end] == blocks[begin]; end++)
			;
		run = end - begin;
		for (unsigned i = 0; i < 3; i++) {
			unsigned less = top[i] < run ? top[i] : run;

			top[i] += run - less;
			run = less;
		}
	}
}

/* More blocks than a table could have. */
static void zipf_huge(void)
{
	const uint64_t nr = UINT64_C(1) << 50;
	struct workload w = settled(WORKLOAD_ZIPF, nr);
	uint64_t *blocks = malloc(2 * DRAWS * sizeof(*blocks));
	double harmonic = log((double)nr) + 0.57721566490153286;
	struct workload_source *s;
	unsigned top[3] = { 0 };

	CU_ASSERT_PTR_NOT_NULL_FATAL(blocks);
	w.theta = 1;
	s = open_one(&w);
	for (unsigned i = 0; i < DRAWS; i++)
		blocks[i] = workload_next(s).block;
	workload_close(s);
	radix_sort(blocks, blocks + DRAWS, DRAWS, sizeof(*blocks));
	find_top(blocks, top);
	for (unsigned i = 0; i < 3; i++)
		is_share((double)top[i] / DRAWS, 1 / harmonic / (i + 1));
	CU_ASSERT(blocks[DRAWS / 4] > nr / 8 && blocks[DRAWS / 4 * 3] < nr / 8 * 7);
	CU_ASSERT(blocks[DRAWS - 1] < nr);
	free(blocks);
}

static void random_is_even(void)
{
	struct workload w = settled(WORKLOAD_RANDOM, BLOCKS);
	double expected = (double)DRAWS / BLOCKS, chi = 0;

	count_anew(&w, DRAWS);
	for (unsigned i = 0; i < BLOCKS; i++)
		chi += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
	CU_ASSERT(fabs(chi - (BLOCKS - 1)) < 5 * sqrt(2.0 * (BLOCKS - 1)));
}

static void pareto_shares(void)
{
	struct workload w = settled(WORKLOAD_PARETO, BLOCKS);

	count_anew(&w, DRAWS);
	is_share(share_of_top(200), 0.8);
	is_share(share_of_top(40), 0.64);
	w.shape = 0.9;
	count_anew(&w, DRAWS);
	is_share(share_of_top(100), 0.9);
	is_share(share_of_top(10), 0.81);
}

static void pareto_of_half(void)
{
	struct workload w = settled(WORKLOAD_PARETO, BLOCKS);

	w.shape = 0.5;
	count_anew(&w, DRAWS);
	CU_ASSERT(share_of_top(BLOCKS / 2) < 0.53);
}

static double share_between(unsigned begin, unsigned end)
{
	uint64_t sum = 0;

	for (unsigned i = begin; i < end; i++)
		sum += counts[i];
	return (double)sum / DRAWS;
}

static void normal_shares(void)
{
	struct workload w = settled(WORKLOAD_NORMAL, BLOCKS);

	count_anew(&w, DRAWS);
	is_share(share_between(400, 600), erf(1 / sqrt(2)));
	is_share(share_between(300, 700), erf(2 / sqrt(2)));
	is_share(share_between(0, 500), 0.5);
	w.deviation = 1;
	count_anew(&w, DRAWS);
	is_share(share_between(250, 750), erf(0.25 / sqrt(2)) / erf(0.5 / sqrt(2)));
}

static void hot_and_cold_shares(void)
{
	struct workload w = settled(WORKLOAD_HOT_COLD, BLOCKS);

	count_anew(&w, DRAWS);
	is_share(share_of_top(100), 0.9);
	w.hot_accesses = w.hot_blocks = 100;
	count_anew(&w, DRAWS);
	CU_ASSERT_EQUAL(share_of_top(BLOCKS), 1);
	w.hot_accesses = 50;
	w.hot_blocks = 0.0001; /* one, at least */
	count_anew(&w, DRAWS);
	is_share(share_of_top(1), 0.5);
}

static void zipf_and_scan_in_turn(void)
{
	struct workload w = settled(WORKLOAD_ZIPF_SCAN, BLOCKS), alone = settled(WORKLOAD_ZIPF, BLOCKS);
	struct workload_source *s, *zipf;
	unsigned bad = 0;

	w.scan_every = 3;
	s = open_one(&w);
	zipf = open_one(&alone);
	for (unsigned i = 0; i < 3 * BLOCKS + 30; i++)
		bad += workload_next(s).block != (i % 3 == 2 ? i / 3 % BLOCKS : workload_next(zipf).block);
	CU_ASSERT_EQUAL(bad, 0);
	workload_close(s);
	workload_close(zipf);
}

/* --- where --- */

static void all_come(void)
{
	struct workload w = settled(WORKLOAD_SEQUENTIAL, BLOCKS);

	count_anew(&w, 3 * BLOCKS);
	for (unsigned i = 0; i < BLOCKS; i++)
		CU_ASSERT_EQUAL(counts[i], 3);
}

static void check_strides(uint64_t stride, uint64_t blocks)
{
	struct workload w = settled(WORKLOAD_STRIDED, blocks);
	struct workload_source *s;
	uint64_t last;

	w.stride = stride;
	count_anew(&w, 2 * (unsigned)blocks);
	for (unsigned i = 0; i < blocks; i++)
		CU_ASSERT_EQUAL(counts[i], 2);
	s = open_one(&w);
	last = workload_next(s).block;
	CU_ASSERT_EQUAL(last, 0);
	for (uint64_t i = 1; i < blocks; i++) {
		uint64_t block = workload_next(s).block;

		CU_ASSERT(block == last + stride || (last + stride >= blocks && block < stride));
		last = block;
	}
	workload_close(s);
}

static void strides_cover_all(void)
{
	check_strides(16, 1000);
	check_strides(7, 1000);
	check_strides(1, 10);
	check_strides(999, 1000);
	check_strides(5000, 1000);
	check_strides(3, 1);
}

/* What comes most often does not lie together. */
static void hot_blocks_are_spread(void)
{
	static const enum workload_pattern patterns[] = { WORKLOAD_ZIPF, WORKLOAD_PARETO, WORKLOAD_HOT_COLD };

	for (unsigned p = 0; p < 3; p++) {
		struct workload w = settled(patterns[p], BLOCKS);
		unsigned hot[10] = { 0 };

		count_anew(&w, DRAWS);
		for (unsigned i = 0; i < BLOCKS; i++)
			hot[i / 100] += counts[i] > DRAWS / BLOCKS;
		for (unsigned i = 0; i < 10; i++)
			CU_ASSERT(hot[i] > 0 && hot[i] < 60);
	}
}

/* Each rank has a block of its own, or the shares above would be wrong; of sizes that are no power of two too. */
static void ranks_have_their_own_blocks(void)
{
	for (uint64_t blocks = 1; blocks <= 130; blocks++) {
		struct workload w = settled(WORKLOAD_HOT_COLD, blocks);
		unsigned seen = 0;

		w.hot_accesses = w.hot_blocks = 100;
		count_anew(&w, 3000);
		for (unsigned i = 0; i < BLOCKS; i++)
			seen += counts[i] > 0;
		CU_ASSERT_EQUAL(seen, blocks);
	}
}

static void one_block(void)
{
	for (unsigned p = 0; p < NR_WORKLOAD_PATTERNS; p++) {
		struct workload w = settled((enum workload_pattern)p, 1);

		count_anew(&w, 1000);
		CU_ASSERT_EQUAL(counts[0], 1000);
	}
}

static void bounds_hold(void)
{
	static const uint64_t sizes[] = { 2, 3, 1000, UINT64_C(1) << 33, WORKLOAD_MAX_BLOCKS };
	unsigned bad = 0;

	for (unsigned p = 0; p < NR_WORKLOAD_PATTERNS; p++) {
		for (unsigned i = 0; i < 5; i++) {
			struct workload w = settled((enum workload_pattern)p, sizes[i]);
			struct workload_source *s = open_one(&w);

			for (unsigned n = 0; n < 3000; n++)
				bad += workload_next(s).block >= sizes[i];
			workload_close(s);
		}
	}
	CU_ASSERT_EQUAL(bad, 0);
}

/* --- the same again --- */

static unsigned differing(const struct workload *a, unsigned thread_a, const struct workload *b, unsigned thread_b)
{
	struct workload_source *x = workload_open(a, thread_a, 4), *y = workload_open(b, thread_b, 4);
	unsigned nr = 0;

	CU_ASSERT_FATAL(x && y);
	for (unsigned i = 0; i < 1000; i++) {
		struct workload_access m = workload_next(x), n = workload_next(y);

		nr += m.block != n.block || m.is_write != n.is_write;
	}
	workload_close(x);
	workload_close(y);
	return nr;
}

static void same_seed_same_accesses(void)
{
	for (unsigned p = 0; p < NR_WORKLOAD_PATTERNS; p++) {
		struct workload w = settled((enum workload_pattern)p, 100000), other;

		w.read_percent = 70;
		CU_ASSERT_EQUAL(differing(&w, 1, &w, 1), 0);
		CU_ASSERT(differing(&w, 1, &w, 2) > 300);
		other = w;
		other.seed++;
		CU_ASSERT(differing(&w, 1, &other, 1) > 300);
	}
}

static void check_first(enum workload_pattern pattern, const uint64_t expected[5])
{
	struct workload w = settled(pattern, 1000000);
	struct workload_source *s = open_one(&w);

	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(workload_next(s).block, expected[i]);
	workload_close(s);
}

/* Written down once: recorded results would not be comparable any more. */
static void accesses_stay(void)
{
	check_first(WORKLOAD_RANDOM, (const uint64_t[]){ 506935, 857837, 185549, 436505, 606956 });
	check_first(WORKLOAD_HOT_COLD, (const uint64_t[]){ 360535, 984398, 60973, 533746, 299541 });
}

static void threads_have_one_hot_set(void)
{
	struct workload w = settled(WORKLOAD_HOT_COLD, BLOCKS);

	w.hot_accesses = 100;
	memset(counts, 0, sizeof(counts));
	for (unsigned thread = 0; thread < 4; thread++)
		count(&w, thread, 4, DRAWS / 4);
	CU_ASSERT_EQUAL(share_of_top(100), 1);
}

/* --- threads --- */

static void check_shares(enum workload_pattern pattern, unsigned nr_threads)
{
	struct workload w = settled(pattern, BLOCKS);

	memset(counts, 0, sizeof(counts));
	for (unsigned t = 0; t < nr_threads; t++)
		count(&w, t, nr_threads, BLOCKS * (t + 1) / nr_threads - BLOCKS * t / nr_threads);
	for (unsigned i = 0; i < BLOCKS; i++)
		CU_ASSERT_EQUAL(counts[i], 1);
}

static void threads_share_a_sequence(void)
{
	static const unsigned numbers[] = { 1, 2, 3, 7, 64, BLOCKS };

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		check_shares(WORKLOAD_SEQUENTIAL, numbers[i]);
		check_shares(WORKLOAD_STRIDED, numbers[i]);
	}
}

static void more_threads_than_blocks(void)
{
	struct workload w = settled(WORKLOAD_SEQUENTIAL, 3);

	memset(counts, 0, sizeof(counts));
	for (unsigned t = 0; t < 6; t++)
		count(&w, t, 6, 10);
	CU_ASSERT_EQUAL(counts[0], 20);
	CU_ASSERT_EQUAL(counts[1], 20);
	CU_ASSERT_EQUAL(counts[2], 20);
}

/* --- reads and writes --- */

static unsigned count_writes(unsigned read_percent)
{
	struct workload w = settled(WORKLOAD_RANDOM, BLOCKS);
	struct workload_source *s;
	unsigned nr = 0;

	w.read_percent = read_percent;
	s = open_one(&w);
	for (unsigned i = 0; i < DRAWS; i++)
		nr += workload_next(s).is_write;
	workload_close(s);
	return nr;
}

static void writes_are_the_rest(void)
{
	CU_ASSERT_EQUAL(count_writes(100), 0);
	CU_ASSERT_EQUAL(count_writes(0), DRAWS);
	is_share((double)count_writes(70) / DRAWS, 0.3);
	is_share((double)count_writes(99) / DRAWS, 0.01);
}

static void writes_do_not_move_blocks(void)
{
	struct workload w = settled(WORKLOAD_ZIPF, BLOCKS), mixed = w;
	struct workload_source *s, *m;
	unsigned bad = 0;

	mixed.read_percent = 50;
	s = open_one(&w);
	m = open_one(&mixed);
	for (unsigned i = 0; i < 1000; i++)
		bad += workload_next(s).block != workload_next(m).block;
	CU_ASSERT_EQUAL(bad, 0);
	workload_close(s);
	workload_close(m);
}

/* --- descriptions --- */

static void names_come_back(void)
{
	enum workload_pattern found = NR_WORKLOAD_PATTERNS;

	for (unsigned p = 0; p < NR_WORKLOAD_PATTERNS; p++) {
		CU_ASSERT(workload_pattern_find(workload_pattern_name((enum workload_pattern)p), &found));
		CU_ASSERT_EQUAL(found, p);
	}
	CU_ASSERT(!workload_pattern_find("zip", &found));
	CU_ASSERT(!workload_pattern_find("", &found));
}

static void usual_is_filled_in(void)
{
	struct workload w = settled(WORKLOAD_ZIPF_SCAN, 10);

	CU_ASSERT_EQUAL(w.theta, 0.99);
	CU_ASSERT_EQUAL(w.scan_every, 2);
	CU_ASSERT_EQUAL(settled(WORKLOAD_PARETO, 10).shape, 0.8);
	CU_ASSERT_EQUAL(settled(WORKLOAD_NORMAL, 10).deviation, 0.1);
	CU_ASSERT_EQUAL(settled(WORKLOAD_HOT_COLD, 10).hot_blocks, 10);
	CU_ASSERT_EQUAL(settled(WORKLOAD_STRIDED, 10).stride, 16);
}

static void wrong_is_said(void)
{
	struct workload wrong[] = {
		{ .blocks = 0 },
		{ .blocks = WORKLOAD_MAX_BLOCKS + 1 },
		{ .blocks = 10, .read_percent = 101 },
		{ .blocks = 10, .pattern = WORKLOAD_ZIPF, .theta = -1 },
		{ .blocks = 10, .pattern = WORKLOAD_ZIPF, .theta = NAN },
		{ .blocks = 10, .pattern = WORKLOAD_ZIPF, .theta = INFINITY },
		{ .blocks = 10, .pattern = WORKLOAD_PARETO, .shape = 0.4 },
		{ .blocks = 10, .pattern = WORKLOAD_PARETO, .shape = 1 },
		{ .blocks = 10, .pattern = WORKLOAD_NORMAL, .deviation = 2 },
		{ .blocks = 10, .pattern = WORKLOAD_HOT_COLD, .hot_accesses = 101 },
		{ .blocks = 10, .pattern = WORKLOAD_HOT_COLD, .hot_blocks = -1 },
		{ .blocks = 10, .pattern = WORKLOAD_ZIPF_SCAN, .scan_every = 1 },
	};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		CU_ASSERT_PTR_NOT_NULL(workload_settle(&wrong[i]));
}

static const struct unit_case cases[] = {
	{ "zipf: ranks come as often as theory says, for a theta of 1 too", zipf_shares },
	{ "zipf: needs no table, up to 2^50 blocks", zipf_huge },
	{ "random: each block comes as often as any other", random_is_even },
	{ "pareto: 80 % go to 20 % of the blocks, and 64 % to 4 %", pareto_shares },
	{ "pareto: a shape of a half is random", pareto_of_half },
	{ "normal: 68 % are within one deviation, 95 % within two; a wide one is cut off", normal_shares },
	{ "hot-cold: 90 % go to 10 % of the blocks; one block at least is hot, and all may be", hot_and_cold_shares },
	{ "zipf-scan: the scan has its turn, the rest is as zipf alone", zipf_and_scan_in_turn },
	{ "sequential: each block comes once a round", all_come },
	{ "strided: each block comes once a round, so many blocks apart", strides_cover_all },
	{ "blocks that come often lie anywhere", hot_blocks_are_spread },
	{ "each rank has a block of its own, in regions of any size", ranks_have_their_own_blocks },
	{ "a region of one block has only that one", one_block },
	{ "no access is outside of the region", bounds_hold },
	{ "the same seed and thread give the same accesses, others give others", same_seed_same_accesses },
	{ "accesses of a seed stay what they were", accesses_stay },
	{ "all threads have the same hot blocks", threads_have_one_hot_set },
	{ "threads share a sequence: without overlap, and completely", threads_share_a_sequence },
	{ "threads beyond the number of blocks go where others go", more_threads_than_blocks },
	{ "so many percent are reads, the rest writes", writes_are_the_rest },
	{ "the blocks are the same for any share of reads", writes_do_not_move_blocks },
	{ "patterns are found by their names", names_come_back },
	{ "what is 0 becomes what is usual", usual_is_filled_in },
	{ "what cannot be is said", wrong_is_said },
	{ NULL, NULL },
};

const struct unit_suite workload_suite = { "workload", cases };
