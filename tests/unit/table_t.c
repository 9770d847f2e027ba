// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/table.h"
#include "unit.h"

static void grows_in_its_budget(void)
{
	uint64_t nr = 0, max = 0, memory = 4096;
	uint32_t *table = NULL;
	int r = 0;

	while (!(r = table_grow(&table, sizeof(*table), nr, &max, &memory))) {
		CU_ASSERT_FATAL(nr < max && nr < 10000);
		table[nr] = (uint32_t)nr;
		nr++;
	}
	CU_ASSERT_EQUAL(r, -E2BIG);
	CU_ASSERT_EQUAL(nr, max);
	CU_ASSERT_EQUAL(memory, 4096 - max * sizeof(*table));
	for (uint64_t i = 0; i < nr; i++)
		CU_ASSERT_EQUAL(table[i], i);
	free(table);
}

struct pair {
	uint32_t key, place;
};

static uint64_t key_of(const void *entry)
{
	return ((const struct pair *)entry)->key;
}

static void finds_the_first(void)
{
	static const struct pair table[] = { { 3, 0 }, { 5, 1 }, { 5, 2 }, { 5, 3 }, { UINT32_MAX, 4 } };
	static const struct {
		uint64_t key, place;
	} rows[] = { { 0, 0 }, { 3, 0 }, { 4, 1 }, { 5, 1 }, { 6, 4 }, { UINT32_MAX, 4 }, { UINT64_MAX, 5 } };

	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		CU_ASSERT_EQUAL(table_find(table, sizeof(*table), 5, key_of, rows[i].key), rows[i].place);
	CU_ASSERT_EQUAL(table_find(NULL, sizeof(*table), 0, key_of, 1), 0);
}

static const struct unit_case cases[] = {
	{ "grows until its memory is used up, and keeps what it has", grows_in_its_budget },
	{ "finds the first entry that is not below a key", finds_the_first },
	{ NULL, NULL },
};

const struct unit_suite table_suite = { "table", cases };
