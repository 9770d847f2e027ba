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

static const struct unit_case cases[] = {
	{ "a count goes up and down, above 3 too", up_and_down },
	{ "counts are kept as they are on disk", as_on_disk },
	{ "many blocks are counted at once, some twice", many_at_once },
	{ "where memory is short, window by window has all counts", windows },
	{ "large counts take memory from the end of the window, and nothing is lost", window_gives_way },
	{ "what lies outside of the window is passed over", outside },
	{ "less memory than for one bitmap is refused", too_little },
	{ "no blocks are no counts", none },
	{ NULL, NULL },
};

const struct unit_suite ref_counts_suite = { "ref_counts", cases };
