// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/range_set.h"
#include "unit.h"

#define SPACE 200

static bool is_set(const struct range_set *s, size_t nr, const struct range *expected)
{
	return s->nr == nr && (!nr || !memcmp(s->ranges, expected, nr * sizeof(*expected)));
}

static void sorted_and_merged(void)
{
	static const struct range expected[] = { { 1, 9 }, { 20, 21 } };
	struct range_set s = { 0 };

	CU_ASSERT_EQUAL(range_set_add(&s, 20, 21), 0);
	CU_ASSERT_EQUAL(range_set_add(&s, 5, 9), 0);
	CU_ASSERT_EQUAL(range_set_add(&s, 1, 3), 0);
	CU_ASSERT_EQUAL(range_set_add(&s, 6, 7), 0);
	CU_ASSERT_EQUAL(range_set_add(&s, 3, 5), 0);
	CU_ASSERT_EQUAL(range_set_add(&s, 4, 4), 0);
	range_set_settle(&s);
	CU_ASSERT_TRUE(is_set(&s, 2, expected));
	range_set_destroy(&s);
}

static void empty_set(void)
{
	struct range_set s = { 0 };

	range_set_settle(&s);
	range_set_cut(&s, 5);
	CU_ASSERT_EQUAL(s.nr, 0);
	CU_ASSERT_FALSE(range_set_has(&s, 0));
	range_set_destroy(&s);
}

static void bytes_round_outwards(void)
{
	static const struct range expected[] = { { 0, 2 }, { 3, 4 }, { 8, 9 } };
	struct range_set s = { 0 };

	CU_ASSERT_EQUAL(range_set_add_bytes(&s, 4095, 4097, 4096), 0);
	CU_ASSERT_EQUAL(range_set_add_bytes(&s, 3 * 4096, 4 * 4096, 4096), 0);
	CU_ASSERT_EQUAL(range_set_add_bytes(&s, 9 * 4096 - 1, 9 * 4096, 4096), 0);
	CU_ASSERT_EQUAL(range_set_add_bytes(&s, 7, 7, 4096), 0);
	range_set_settle(&s);
	CU_ASSERT_TRUE(is_set(&s, 3, expected));
	range_set_destroy(&s);
}

static void largest_numbers(void)
{
	struct range_set s = { 0 };

	CU_ASSERT_EQUAL(range_set_add(&s, 5, UINT64_MAX), 0);
	CU_ASSERT_EQUAL(range_set_add_bytes(&s, 0, UINT64_MAX, 4096), 0);
	range_set_settle(&s);
	CU_ASSERT_EQUAL(s.nr, 1);
	CU_ASSERT_TRUE(range_set_has(&s, UINT64_MAX - 1));
	CU_ASSERT_FALSE(range_set_has(&s, UINT64_MAX));
	range_set_destroy(&s);
}

static void agrees(const struct range_set *s, const bool model[SPACE])
{
	unsigned bad = 0;

	for (unsigned i = 0; i < SPACE; i++)
		bad += range_set_has(s, i) != model[i];
	for (size_t i = 1; i < s->nr; i++)
		bad += s->ranges[i].begin <= s->ranges[i - 1].end;
	CU_ASSERT_EQUAL(bad, 0);
}

static void like_a_bitmap(void)
{
	srand(1);
	for (unsigned round = 0; round < 300; round++) {
		struct range_set s = { 0 };
		bool model[SPACE] = { 0 };
		unsigned end = (unsigned)rand() % SPACE;

		for (int i = rand() % 30; i > 0; i--) {
			unsigned b = (unsigned)rand() % SPACE, e = b + (unsigned)rand() % 12;

			e = e < SPACE ? e : SPACE;
			CU_ASSERT_EQUAL(range_set_add(&s, b, e), 0);
			for (unsigned n = b; n < e; n++)
				model[n] = true;
		}
		range_set_settle(&s);
		agrees(&s, model);
		range_set_cut(&s, end);
		memset(model + end, 0, SPACE - end);
		agrees(&s, model);
		range_set_destroy(&s);
	}
}

/* Again and again in the other order, and then more than there may be. */
static void too_many(void)
{
	struct range_set s = { 0 };
	unsigned bad = 0;
	int r = 0;

	for (unsigned round = 0; round < 5; round++)
		for (uint64_t i = RANGE_SET_MAX; i-- > 0;)
			bad += range_set_add(&s, 2 * i, 2 * i + 1) != 0;
	CU_ASSERT_EQUAL(bad, 0);
	for (uint64_t i = RANGE_SET_MAX; !r; i++)
		r = range_set_add(&s, 2 * i, 2 * i + 1);
	CU_ASSERT_EQUAL(r, -E2BIG);
	CU_ASSERT_TRUE(s.nr <= 2 * RANGE_SET_MAX);
	range_set_destroy(&s);
}

static const struct unit_case cases[] = {
	{ "a settled set is sorted, and ranges that overlap or touch are one", sorted_and_merged },
	{ "an empty set has nothing", empty_set },
	{ "bytes are the blocks that they touch", bytes_round_outwards },
	{ "the largest numbers do not wrap", largest_numbers },
	{ "whatever is added and cut off, a set is like a bitmap", like_a_bitmap },
	{ "more ranges than there is room for are refused, unless they touch", too_many },
	{ NULL, NULL },
};

const struct unit_suite range_set_suite = { "range_set", cases };
