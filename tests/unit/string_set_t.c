// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdio.h>

#include "base/string_set.h"
#include "unit.h"

static void numbers(void)
{
	struct string_set s;

	string_set_init(&s, 1 << 20);
	CU_ASSERT_EQUAL(string_set_find(&s, "a"), 0);
	CU_ASSERT_EQUAL(string_set_add(&s, "a"), 0);
	CU_ASSERT_EQUAL(string_set_add(&s, ""), 0);
	CU_ASSERT_EQUAL(string_set_add(&s, "ab"), 0);
	CU_ASSERT_EQUAL(string_set_find(&s, "a"), 1);
	CU_ASSERT_EQUAL(string_set_find(&s, ""), 2);
	CU_ASSERT_EQUAL(string_set_find(&s, "ab"), 3);
	CU_ASSERT_EQUAL(string_set_find(&s, "b"), 0);
	string_set_destroy(&s);
}

static void many(void)
{
	struct string_set s;
	char text[32];

	string_set_init(&s, 64 << 20);
	for (unsigned i = 1; i <= 100000; i++) {
		snprintf(text, sizeof(text), "d%u", i);
		if (string_set_find(&s, text) || string_set_add(&s, text))
			CU_FAIL_FATAL("cannot be added");
	}
	for (unsigned i = 1; i <= 100000; i++) {
		snprintf(text, sizeof(text), "d%u", i);
		if (string_set_find(&s, text) != i)
			CU_FAIL_FATAL("is another");
	}
	string_set_destroy(&s);
}

static void memory(void)
{
	struct string_set s;
	char text[32];
	int r = 0;
	unsigned nr = 0;

	string_set_init(&s, 20000);
	while (!r && nr < 100000) {
		snprintf(text, sizeof(text), "%u", ++nr);
		r = string_set_add(&s, text);
	}
	CU_ASSERT_EQUAL(r, -E2BIG);
	CU_ASSERT_TRUE(s.text_max + s.max * sizeof(*s.strings) + s.nr_slots * sizeof(*s.slots) <= 20000);
	CU_ASSERT_EQUAL(string_set_find(&s, text), 0);
	CU_ASSERT_EQUAL(string_set_find(&s, "1"), 1);
	CU_ASSERT_EQUAL(string_set_find(&s, "100"), 100);
	string_set_destroy(&s);
}

static const struct unit_case cases[] = {
	{ "strings are numbered in the order in which they come", numbers },
	{ "a hundred thousand find their way back", many },
	{ "no more memory is taken than may be, and what is there stays", memory },
	{ NULL, NULL },
};

const struct unit_suite string_set_suite = { "string_set", cases };
