// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>

#include "pdata/ref_counts.h"
#include "unit.h"

#define PLENTY (UINT64_C(64) << 20)
#define ENTRIES PD_BITMAP_ENTRIES

static void add(struct pd_counts *c, uint64_t block, unsigned times)
{
	while (times--)
		CU_ASSERT_EQUAL(pd_counts_add(c, &block, 1), 0);
}

static void up_and_down(void)
{
	struct pd_counts c;

	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&c, 3 * ENTRIES, PLENTY), 0);
	for (unsigned n = 0; n <= 9; n++) {
		add(&c, 100 + n, n);
		CU_ASSERT_EQUAL(pd_counts_get(&c, 100 + n), n);
	}
	for (unsigned n = 9; n > 0; n--) {
		pd_counts_sub(&c, 109);
		CU_ASSERT_EQUAL(pd_counts_get(&c, 109), n - 1);
	}
	CU_ASSERT_EQUAL(pd_counts_get(&c, 108), 8);
	CU_ASSERT_EQUAL(pd_counts_get(&c, 110), 0);
	pd_counts_destroy(&c);
}

/* Entries 0 to 3 lie in byte 0, and a count of 1 is the bits 10, a count of 2 the bits 01. */
static void as_on_disk(void)
{
	struct pd_counts c;

	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&c, ENTRIES + 4, PLENTY), 0);
	add(&c, 1, 1);
	add(&c, 2, 2);
	add(&c, 3, 5);
	add(&c, ENTRIES, 1);
	CU_ASSERT_EQUAL(c.bitmaps[0].counts[0], 2 << 2 | 1 << 4 | 3 << 6);
	CU_ASSERT_EQUAL(c.bitmaps[1].counts[0], 2);
	pd_counts_destroy(&c);
}

static void many_at_once(void)
{
	uint64_t blocks[300];
	struct pd_counts c;

	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&c, 300, PLENTY), 0);
	for (unsigned i = 0; i < 300; i++)
		blocks[i] = 299 - i % 150;
	CU_ASSERT_EQUAL(pd_counts_add(&c, blocks, 300), 0);
	for (unsigned i = 0; i < 300; i++)
		CU_ASSERT_EQUAL(pd_counts_get(&c, i), i < 150 ? 0 : 2);
	pd_counts_destroy(&c);
}

static void windows(void)
{
	struct pd_counts c;
	unsigned nr = 0;
	uint64_t end = 0;

	/* Room for three bitmaps of eight. */
	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&c, 8 * ENTRIES - 5, pd_counts_least() + 2 * 4104), 0);
	do {
		CU_ASSERT_EQUAL(c.begin, end);
		CU_ASSERT_TRUE(c.end > c.begin && c.end <= c.nr_blocks);
		CU_ASSERT_EQUAL(pd_counts_has_all(&c), 0);
		end = c.end;
		for (uint64_t block = 0; block < 8 * ENTRIES - 5; block += 1000)
			add(&c, block, 1);
		for (uint64_t block = c.begin; block < c.end; block++)
			CU_ASSERT_EQUAL(pd_counts_get(&c, block), block % 1000 == 0);
		nr++;
	} while (pd_counts_next(&c));
	CU_ASSERT_EQUAL(nr, 3);
	CU_ASSERT_EQUAL(end, c.nr_blocks);
	pd_counts_destroy(&c);
}

/* Every third count is large, in all bitmaps: all windows together have all of them. */
static void window_gives_way(void)
{
	struct pd_counts c;
	uint64_t end = 0;
	unsigned nr = 0;

	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&c, 6 * ENTRIES, pd_counts_enough(6 * ENTRIES) + 1), 0);
	CU_ASSERT_EQUAL(c.end, 6 * ENTRIES);
	do {
		CU_ASSERT_EQUAL(c.begin, end);
		for (uint64_t block = 0; block < 6 * ENTRIES; block += 3)
			add(&c, block, 4 + block % 2);
		for (uint64_t block = c.begin; block < c.end; block += 3)
			CU_ASSERT_EQUAL(pd_counts_get(&c, block), 4 + block % 2);
		end = c.end;
		CU_ASSERT_TRUE(c.used <= c.memory);
		nr++;
	} while (pd_counts_next(&c) && nr < 100);
	CU_ASSERT_EQUAL(end, 6 * ENTRIES);
	CU_ASSERT_TRUE(nr > 1 && nr <= 6);
	pd_counts_destroy(&c);
}

static void outside(void)
{
	struct pd_counts c;

	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&c, 3 * ENTRIES, pd_counts_least()), 0);
	CU_ASSERT_EQUAL(c.end, ENTRIES);
	add(&c, ENTRIES, 9);
	add(&c, 3 * ENTRIES, 1);
	add(&c, UINT64_MAX, 1);
	pd_counts_sub(&c, ENTRIES);
	CU_ASSERT_TRUE(pd_counts_next(&c));
	CU_ASSERT_EQUAL(pd_counts_get(&c, ENTRIES), 0);
	add(&c, 0, 9);
	pd_counts_destroy(&c);
}

static void too_little(void)
{
	struct pd_counts c;

	CU_ASSERT_EQUAL(pd_counts_create(&c, ENTRIES, pd_counts_least() - 1), -ENOMEM);
	CU_ASSERT_EQUAL(pd_counts_create(&c, ENTRIES, pd_counts_least()), 0);
	CU_ASSERT_TRUE(pd_counts_has_all(&c));
	pd_counts_destroy(&c);
	pd_counts_destroy(&c);
}

static void none(void)
{
	struct pd_counts c;

	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&c, 0, PLENTY), 0);
	add(&c, 0, 1);
	CU_ASSERT_EQUAL(c.end, 0);
	CU_ASSERT_FALSE(pd_counts_next(&c));
	pd_counts_destroy(&c);
}

/* --- runs and slots against one by one --- */

static uint64_t random_state = 1;

static uint64_t below(uint64_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (random_state >> 33) % n;
}

static void are_equal(const struct pd_counts *a, const struct pd_counts *b)
{
	unsigned nr_wrong = 0;

	CU_ASSERT_EQUAL(a->begin, b->begin);
	CU_ASSERT_EQUAL_FATAL(a->end, b->end);
	for (uint64_t block = a->begin; block < a->end; block++)
		nr_wrong += pd_counts_get(a, block) != pd_counts_get(b, block);
	CU_ASSERT_EQUAL(nr_wrong, 0);
	CU_ASSERT_EQUAL(pd_counts_nr_large(a), pd_counts_nr_large(b));
	CU_ASSERT_EQUAL(a->used, b->used);
}

/* Counts of @nr_blocks twice, at the second window where there is one; what both get must come out the same. */
static struct pd_counts one, other;

static void open_both(uint64_t nr_blocks, uint64_t memory)
{
	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&one, nr_blocks, memory), 0);
	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&other, nr_blocks, memory), 0);
	CU_ASSERT_EQUAL(pd_counts_next(&one), pd_counts_next(&other));
}

static void close_both(void)
{
	are_equal(&one, &other);
	pd_counts_destroy(&one);
	pd_counts_destroy(&other);
}

static void add_run(uint64_t block, uint64_t nr)
{
	CU_ASSERT_EQUAL(pd_counts_add_run(&one, block, nr), 0);
	for (uint64_t i = 0; i < nr; i++)
		CU_ASSERT_EQUAL(pd_counts_add(&other, (const uint64_t[]){ block + i }, 1), 0);
}

/* As a tally does it: slots in pieces of 2^16. */
static void add_slots(const uint64_t *blocks, unsigned nr)
{
	uint32_t slots[1000];
	unsigned found = pd_counts_find_slots(&one, blocks, nr, slots);
	uint16_t behind[1000];

	for (uint32_t piece = 0; piece <= one.nr_bitmaps * PD_COUNT_SLOTS >> 16; piece++) {
		unsigned in_piece = 0;

		for (unsigned i = 0; i < found; i++)
			if (slots[i] >> 16 == piece)
				behind[in_piece++] = (uint16_t)slots[i];
		CU_ASSERT_EQUAL(pd_counts_add_slots(&one, piece << 16, behind, in_piece), 0);
	}
	CU_ASSERT_EQUAL(pd_counts_add(&other, blocks, nr), 0);
}

/* Places that matter: where bitmaps, words of counts, the window and everything begin and end, or a little off. */
static uint64_t some_place(const struct pd_counts *c)
{
	const uint64_t at[] = { 0, ENTRIES, 2 * ENTRIES, 3 * ENTRIES, c->begin, c->end, c->nr_blocks, ENTRIES + 32 };

	return below(3) ? at[below(8)] + below(70) - (below(2) ? below(70) : 0) : below(c->nr_blocks);
}

static const struct {
	uint64_t nr_blocks, memory;
} shapes[] = {
	{ 5, PLENTY }, { ENTRIES, PLENTY }, { 3 * ENTRIES + 100, PLENTY }, { 4 * ENTRIES - 5, 74000 + 4104 },
	{ 8 * ENTRIES, 74000 + 3 * 4104 },
};

#define NR_SHAPES (sizeof(shapes) / sizeof(*shapes))

static void runs_at_random(void)
{
	for (unsigned i = 0; i < NR_SHAPES; i++) {
		open_both(shapes[i].nr_blocks, shapes[i].memory);
		for (unsigned n = 0; n < 120; n++) {
			uint64_t block = some_place(&one), nr = below(2) ? below(100) : below(300);

			add_run(block <= UINT64_MAX - nr ? block : 0, nr);
		}
		close_both();
	}
}

static void slots_at_random(void)
{
	for (unsigned i = 0; i < NR_SHAPES; i++) {
		open_both(shapes[i].nr_blocks, shapes[i].memory);
		for (unsigned n = 0; n < 40; n++) {
			uint64_t blocks[1000];
			unsigned nr = (unsigned)below(n % 2 ? 1000 : 20);

			for (unsigned b = 0; b < nr; b++)
				blocks[b] = some_place(&one);
			add_slots(blocks, nr);
		}
		close_both();
	}
}

/* Runs over all entries of a bitmap that has counts of 0 to 5 and one of many: each is one more. */
static void runs_over_all_counts(void)
{
	open_both(2 * ENTRIES, PLENTY);
	for (uint64_t block = 0; block < 2 * ENTRIES; block += 1 + block % 3)
		for (unsigned n = below(6); n; n--)
			add_run(block, 1);
	for (unsigned n = 0; n < 300; n++)
		add_run(77, 1);
	add_run(0, 2 * ENTRIES);
	add_run(1, 2 * ENTRIES);
	CU_ASSERT_EQUAL(pd_counts_get(&one, 77), pd_counts_get(&other, 77));
	CU_ASSERT_TRUE(pd_counts_get(&one, 77) >= 302);
	close_both();
}

static void slots_of_all_counts(void)
{
	uint64_t blocks[600];

	open_both(2 * ENTRIES, PLENTY);
	for (unsigned times = 0; times < 6; times++) {
		unsigned nr = 0;

		for (unsigned b = times; b < 60; b++) /* block @b once for each of 0..b */
			blocks[nr++] = ENTRIES - 30 + b;
		for (unsigned n = 0; n < 500; n++)
			blocks[nr++] = 9;
		add_slots(blocks, nr);
	}
	CU_ASSERT_EQUAL(pd_counts_get(&one, 9), 3000);
	CU_ASSERT_EQUAL(pd_counts_get(&one, ENTRIES - 30), 1);
	CU_ASSERT_EQUAL(pd_counts_get(&one, ENTRIES + 29), 6);
	close_both();
}

static void slots_rise(void)
{
	static const uint64_t blocks[] = {
		ENTRIES, ENTRIES + 1, 2 * ENTRIES - 1, 2 * ENTRIES, 2 * ENTRIES + 1, 3 * ENTRIES - 1, 3 * ENTRIES,
	};
	uint32_t slots[7];

	/* A window of two bitmaps, behind the first two. */
	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&one, 5 * ENTRIES, pd_counts_least() + 4104), 0);
	CU_ASSERT_EQUAL(one.end, 2 * ENTRIES);
	CU_ASSERT_EQUAL(pd_counts_find_slots(&one, blocks, 7, slots), 3);
	CU_ASSERT_TRUE(slots[0] < slots[1] && slots[1] < slots[2]);
	CU_ASSERT_TRUE(slots[2] < 2 * PD_COUNT_SLOTS);
	CU_ASSERT_TRUE(pd_counts_next(&one));
	CU_ASSERT_EQUAL(pd_counts_find_slots(&one, blocks, 7, slots), 4);
	CU_ASSERT_TRUE(slots[0] < slots[1] && slots[1] < slots[2] && slots[2] < slots[3]);
	CU_ASSERT_TRUE(slots[3] < 2 * PD_COUNT_SLOTS);
	pd_counts_destroy(&one);
}

static void outside_passed_over(void)
{
	static const uint64_t blocks[] = { 0, ENTRIES - 1, 2 * ENTRIES, 3 * ENTRIES, UINT64_MAX, UINT64_C(1) << 63 };
	uint32_t slots[6];

	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&one, 3 * ENTRIES, pd_counts_least()), 0);
	CU_ASSERT_TRUE(pd_counts_next(&one));
	CU_ASSERT_EQUAL(pd_counts_find_slots(&one, blocks, 6, slots), 0);
	CU_ASSERT_EQUAL(pd_counts_add_run(&one, 0, ENTRIES), 0);
	CU_ASSERT_EQUAL(pd_counts_add_run(&one, 2 * ENTRIES, 5 * ENTRIES), 0);
	CU_ASSERT_EQUAL(pd_counts_add_run(&one, ENTRIES, 0), 0);
	for (uint64_t block = one.begin; block < one.end; block++)
		CU_ASSERT_EQUAL(pd_counts_get(&one, block), 0);
	pd_counts_destroy(&one);
}

/*
 * Every third count is large, so that the window's end gives way while they are counted: what is left, and the windows
 * that follow, have all of them. Slots that were found before are of blocks that are gone, and are passed over.
 */
static void gives_way(bool with_slots)
{
	static uint64_t blocks[6 * ENTRIES / 3];
	static uint32_t slots[6 * ENTRIES / 3];
	uint64_t end = 0;
	unsigned nr = 0;

	for (uint64_t i = 0; i < 6 * ENTRIES / 3; i++)
		blocks[i] = 3 * i;
	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&one, 6 * ENTRIES, pd_counts_enough(6 * ENTRIES) + 1), 0);
	do {
		unsigned found = pd_counts_find_slots(&one, blocks, 6 * ENTRIES / 3, slots), wrong = 0;

		CU_ASSERT_EQUAL(one.begin, end);
		for (unsigned times = 0; times < 4 + nr % 2; times++)
			for (unsigned i = 0; with_slots && i < found; i++) {
				uint16_t behind = (uint16_t)slots[i];

				wrong += pd_counts_add_slots(&one, slots[i] & ~0xFFFFu, &behind, 1) != 0;
			}
		for (uint64_t block = 0; !with_slots && block < 6 * ENTRIES; block += 3)
			for (unsigned times = 0; times < 4 + nr % 2; times++)
				wrong += pd_counts_add_run(&one, block, 1) != 0;
		for (uint64_t block = one.begin; block < one.end; block++)
			wrong += pd_counts_get(&one, block) != (block % 3 ? 0 : 4 + nr % 2);
		CU_ASSERT_EQUAL(wrong, 0);
		CU_ASSERT_TRUE(one.used <= one.memory);
		end = one.end;
		nr++;
	} while (pd_counts_next(&one) && nr < 100);
	CU_ASSERT_EQUAL(end, 6 * ENTRIES);
	CU_ASSERT_TRUE(nr > 1 && nr <= 6);
	pd_counts_destroy(&one);
}

static void runs_and_slots_give_way(void)
{
	gives_way(false);
	gives_way(true);
}

static const struct unit_case cases[] = {
	{ "a count goes up and down, above 3 too", up_and_down },
	{ "counts are kept as they are on disk", as_on_disk },
	{ "many blocks are counted at once, some twice", many_at_once },
	{ "where memory is short, window by window has all counts", windows },
	{ "large counts take memory from the end of the window, and nothing is lost", window_gives_way },
	{ "what lies outside of the window is passed over", outside },
	{ "less memory than for one bitmap is refused", too_little },
	{ "no blocks are no counts", none },
	{ "a run counts as its blocks one by one, wherever it begins and ends", runs_at_random },
	{ "slots count as their blocks one by one, in any order", slots_at_random },
	{ "a run is one more for counts of any size", runs_over_all_counts },
	{ "a slot is one more for counts of any size, also several times at once", slots_of_all_counts },
	{ "slots rise with the block, and are as many as the window's bitmaps have", slots_rise },
	{ "runs and slots outside of the window are passed over", outside_passed_over },
	{ "what runs and slots make large takes memory from the end of the window, and nothing is lost",
	  runs_and_slots_give_way },
	{ NULL, NULL },
};

const struct unit_suite ref_counts_suite = { "ref_counts", cases };
