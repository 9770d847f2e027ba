// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdlib.h>
#include <string.h>

#include "pdata/tally.h"
#include "unit.h"

#define PLENTY (UINT64_C(64) << 20)
#define ENTRIES PD_BITMAP_ENTRIES
#define NR_BLOCKS (5 * ENTRIES + 77)
#define NR_THREADS 4
#define MAX_BATCH 252 /* as a leaf has them */

static struct pd_counts counts;
static struct pd_tally tally;
static unsigned plain[NR_BLOCKS]; /* what is expected */

/* A stream of blocks, which comes out the same from the same seed. */
struct stream {
	uint64_t state;
	enum { RANDOM, SEQUENTIAL, REPEATED, MIXED, NR_KINDS } kind;
	uint64_t at;
};

static uint64_t below(struct stream *s, uint64_t n)
{
	s->state = s->state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (s->state >> 33) % n;
}

/* A few of them lie behind the last block. */
static void next_batch(struct stream *s, uint64_t *blocks, unsigned nr)
{
	unsigned kind = s->kind == MIXED ? (unsigned)below(s, MIXED) : s->kind;

	s->at = kind == SEQUENTIAL ? s->at : below(s, NR_BLOCKS);
	for (unsigned i = 0; i < nr; i++)
		blocks[i] = kind == RANDOM ? below(s, NR_BLOCKS + 50) :
			    kind == SEQUENTIAL ? s->at++ % (NR_BLOCKS + 50) :
			    s->at + i / (1 + nr / 3) * ENTRIES;
}

static unsigned next_size(struct stream *s)
{
	return below(s, 3) ? MAX_BATCH : (unsigned)below(s, MAX_BATCH + 1);
}

#define NR_BATCHES 250

static void *add_stream(void *context)
{
	struct stream s = *(struct stream *)context;
	uint64_t blocks[MAX_BATCH];
	uintptr_t failed = 0;

	for (unsigned n = 0; n < NR_BATCHES; n++) {
		unsigned nr = next_size(&s);

		next_batch(&s, blocks, nr);
		failed |= (uintptr_t)(pd_tally_add(&tally, blocks, nr) != 0);
	}
	return (void *)failed;
}

static void expect_stream(const struct stream *of)
{
	struct stream s = *of;
	uint64_t blocks[MAX_BATCH];

	for (unsigned n = 0; n < NR_BATCHES; n++) {
		unsigned nr = next_size(&s);

		next_batch(&s, blocks, nr);
		for (unsigned i = 0; i < nr; i++)
			if (blocks[i] < NR_BLOCKS)
				plain[blocks[i]]++;
	}
}

static void add_from_threads(struct stream *streams, unsigned nr)
{
	pthread_t threads[NR_THREADS];

	for (unsigned i = 1; i < nr; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, add_stream, &streams[i]), 0);
	CU_ASSERT_PTR_NULL(add_stream(&streams[0]));
	for (unsigned i = 1; i < nr; i++) {
		void *failed = &failed;

		CU_ASSERT_EQUAL(pthread_join(threads[i], &failed), 0);
		CU_ASSERT_PTR_NULL(failed);
	}
}

static void is_as_plain(void)
{
	unsigned wrong = 0;

	for (uint64_t block = counts.begin; block < counts.end; block++)
		wrong += pd_counts_get(&counts, block) != plain[block];
	CU_ASSERT_EQUAL(wrong, 0);
}

static void open_tally(uint64_t memory)
{
	memset(plain, 0, sizeof(plain));
	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&counts, NR_BLOCKS, memory), 0);
	CU_ASSERT_EQUAL_FATAL(pd_tally_create(&tally, &counts), 0);
}

static void close_tally(void)
{
	pd_tally_destroy(&tally);
	pd_counts_destroy(&counts);
}

/* All windows, one after the other, in memory of so many bytes; returns how many there were. */
static unsigned run(unsigned kind, unsigned nr_threads, uint64_t memory)
{
	struct stream streams[NR_THREADS];
	uint64_t end = 0;
	unsigned windows = 0;

	open_tally(memory);
	for (unsigned i = 0; i < nr_threads; i++) {
		streams[i] = (struct stream){ .state = 17 * kind + i, .kind = kind, .at = i * 1000 };
		expect_stream(&streams[i]);
	}
	do {
		CU_ASSERT_EQUAL(counts.begin, end);
		add_from_threads(streams, nr_threads);
		CU_ASSERT_EQUAL(pd_tally_settle(&tally), 0);
		is_as_plain();
		end = counts.end;
		windows++;
	} while (pd_counts_next(&counts) && windows < 100);
	CU_ASSERT_EQUAL(end, NR_BLOCKS);
	close_tally();
	return windows;
}

static void one_thread(void)
{
	for (unsigned kind = 0; kind < NR_KINDS; kind++)
		CU_ASSERT_EQUAL(run(kind, 1, PLENTY), 1);
}

static void several_threads(void)
{
	for (unsigned kind = 0; kind < NR_KINDS; kind++)
		CU_ASSERT_EQUAL(run(kind, NR_THREADS, PLENTY), 1);
}

static void windows(void)
{
	CU_ASSERT_EQUAL(run(SEQUENTIAL, 1, pd_counts_least()), 6);
	CU_ASSERT_TRUE(run(RANDOM, 1, pd_counts_least() + 2 * 4104) >= 2);
	CU_ASSERT_TRUE(run(MIXED, NR_THREADS, pd_counts_least() + 4104) >= 3);
}

/* Large counts in several bitmaps, and room for those of one: the window loses its end while all threads add. */
static void window_gives_way(void)
{
	CU_ASSERT_TRUE(run(REPEATED, NR_THREADS, pd_counts_enough(NR_BLOCKS) + 1) > 1);
	CU_ASSERT_TRUE(run(MIXED, NR_THREADS, pd_counts_enough(NR_BLOCKS) + 1) > 1);
}

static void settles_again(void)
{
	const uint64_t blocks[] = { 3, 4, NR_BLOCKS - 1 };

	open_tally(PLENTY);
	CU_ASSERT_EQUAL(pd_tally_settle(&tally), 0);
	for (unsigned n = 1; n <= 3; n++) {
		CU_ASSERT_EQUAL(pd_tally_add(&tally, blocks, 3), 0);
		CU_ASSERT_EQUAL(pd_tally_add(&tally, blocks, 0), 0);
		CU_ASSERT_EQUAL(pd_tally_settle(&tally), 0);
		CU_ASSERT_EQUAL(pd_tally_settle(&tally), 0);
		plain[3] = plain[4] = plain[NR_BLOCKS - 1] = n;
		is_as_plain();
	}
	close_tally();
}

/* More than a thread collects, at once: neighbours, and others. */
static void as_many_as_can_be(void)
{
	enum { MANY = 3 * PD_TALLY_STAGE };
	static uint64_t blocks[MANY];

	open_tally(PLENTY);
	for (unsigned step = 1; step <= 2; step++) {
		for (unsigned i = 0; i < MANY; i++)
			plain[blocks[i] = (uint64_t)i * step % NR_BLOCKS]++;
		CU_ASSERT_EQUAL(pd_tally_add(&tally, blocks, MANY), 0);
	}
	/* Runs that are as short as runs can be. */
	for (unsigned i = 0; i < MANY; i++)
		plain[blocks[i] = (i + i / 16) % NR_BLOCKS]++;
	CU_ASSERT_EQUAL(pd_tally_add(&tally, blocks, MANY), 0);
	CU_ASSERT_EQUAL(pd_tally_settle(&tally), 0);
	is_as_plain();
	close_tally();
}

/* Its ends are as far apart as those of a run, and in between is something else; wherever a real one begins. */
static void looks_like_a_run(void)
{
	enum { LENGTH = 16, MOST = 40 };

	open_tally(PLENTY);
	for (unsigned odd = 0; odd < LENGTH; odd++)
		for (unsigned before = 0; before < MOST - LENGTH; before++) {
			uint64_t blocks[MOST];

			for (unsigned i = 0; i < MOST; i++)
				blocks[i] = i < before ? 7 * i : 1000 + i;
			blocks[before + odd] = 3 * ENTRIES + odd;
			for (unsigned i = 0; i < MOST; i++)
				plain[blocks[i]]++;
			CU_ASSERT_EQUAL(pd_tally_add(&tally, blocks, MOST), 0);
		}
	CU_ASSERT_EQUAL(pd_tally_settle(&tally), 0);
	is_as_plain();
	close_tally();
}

/* Numbers do not go on behind the largest. */
static void largest_number(void)
{
	uint64_t blocks[40];

	open_tally(PLENTY);
	for (unsigned i = 0; i < 40; i++)
		blocks[i] = i - UINT64_C(1);
	for (unsigned i = 0; i < 39; i++)
		plain[i] = 1;
	CU_ASSERT_EQUAL(pd_tally_add(&tally, blocks, 40), 0);
	CU_ASSERT_EQUAL(pd_tally_settle(&tally), 0);
	is_as_plain();
	close_tally();
}

static void memory(void)
{
	static const uint64_t budgets[] = { 0, 1, 2, 5, 40, 1000 };

	for (unsigned i = 0; i < sizeof(budgets) / sizeof(*budgets); i++) {
		uint64_t bytes = pd_counts_least() + budgets[i] * 4104, taken;

		CU_ASSERT_EQUAL_FATAL(pd_counts_create(&counts, UINT64_C(1) << 40, bytes), 0);
		CU_ASSERT_EQUAL_FATAL(pd_tally_create(&tally, &counts), 0);
		taken = tally.nr_stages * sizeof(*tally.stages) + tally.nr_bins * sizeof(*tally.fill) +
			(uint64_t)tally.nr_bins * 2048 * sizeof(*tally.bins);
		CU_ASSERT_TRUE(taken <= pd_tally_bytes(bytes));
		CU_ASSERT_TRUE(pd_tally_bytes(bytes) - taken <= 64 << 10); /* a bin for each 2^16 counts */
		close_tally();
	}
	for (uint64_t bytes = 4096; bytes < UINT64_C(1) << 40; bytes += bytes / 3) {
		uint64_t both = pd_tally_memory(bytes), counted = pd_tally_memory_for_counts(bytes);

		CU_ASSERT_TRUE(pd_tally_memory_for_counts(both) >= bytes); /* what is enough, is */
		CU_ASSERT_TRUE(!counted || counted + pd_tally_bytes(counted) <= bytes);
	}
	CU_ASSERT_TRUE(pd_tally_bytes(800 << 20) - pd_tally_bytes(0) <= 206 << 20); /* a quarter and a little */
}

static const struct unit_case cases[] = {
	{ "what one thread adds is in the counts when it is settled, in whatever order it came", one_thread },
	{ "what several threads add is, too", several_threads },
	{ "window by window has all counts", windows },
	{ "a window that loses its end while threads add loses nothing else", window_gives_way },
	{ "after it was settled a tally takes more, and none counts twice", settles_again },
	{ "so many may be added at once as one likes", as_many_as_can_be },
	{ "what only looks like neighbours by its ends is counted as it is", looks_like_a_run },
	{ "block 0 is no neighbour of the largest number", largest_number },
	{ "a tally takes as many bytes as it says, and not many less", memory },
	{ NULL, NULL },
};

const struct unit_suite tally_suite = { "tally", cases };
