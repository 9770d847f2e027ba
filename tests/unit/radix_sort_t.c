// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdint.h>
#include <stdlib.h>

#include "base/radix_sort.h"
#include "unit.h"

#define MANY 1000

struct element {
	uint64_t key, place;
};

static struct element elements[MANY], spare[MANY];

static void sort_keys_below(uint64_t mask)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < MANY; i++)
		elements[i] = (struct element){ ((uint64_t)rand() << 33 ^ (uint64_t)rand() << 11) & mask, i };
	radix_sort(elements, spare, MANY, sizeof(*elements));
	for (unsigned i = 1; i < MANY; i++) {
		const struct element *a = &elements[i - 1], *b = &elements[i];

		bad += a->key > b->key || (a->key == b->key && a->place >= b->place);
	}
	CU_ASSERT_EQUAL(bad, 0);
}

static void sorts(void)
{
	srand(1);
	sort_keys_below(UINT64_MAX);
	sort_keys_below(0xFF00FF0000);
}

static void is_stable(void)
{
	srand(2);
	sort_keys_below(0xF00);
	sort_keys_below(0);
}

static void few(void)
{
	struct element two[2] = { { UINT64_MAX, 0 }, { 1, 1 } };

	radix_sort(two, spare, 0, sizeof(*two));
	radix_sort(two, spare, 1, sizeof(*two));
	CU_ASSERT_EQUAL(two[0].key, UINT64_MAX);
	radix_sort(two, spare, 2, sizeof(*two));
	CU_ASSERT_EQUAL(two[0].key, 1);
	CU_ASSERT_EQUAL(two[1].key, UINT64_MAX);
}

static const struct unit_case cases[] = {
	{ "elements are sorted by the number that they begin with", sorts },
	{ "equal ones stay in their order", is_stable },
	{ "none, one and two are sorted", few },
	{ NULL, NULL },
};

const struct unit_suite radix_sort_suite = { "radix_sort", cases };
