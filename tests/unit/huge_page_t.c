// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/huge_page.h"
#include "unit.h"

static void whole_pages(void)
{
	static const size_t sizes[] = { 1, HUGE_PAGE - 1, HUGE_PAGE, HUGE_PAGE + 1 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		char *p = huge_page_alloc(sizes[i]);

		CU_ASSERT_PTR_NOT_NULL_FATAL(p);
		CU_ASSERT_EQUAL((uintptr_t)p % HUGE_PAGE, 0);
		memset(p, 1, (sizes[i] + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE); /* all of the last page is there */
		free(p);
	}
}

static void too_many(void)
{
	CU_ASSERT_PTR_NULL(huge_page_alloc(SIZE_MAX));
	CU_ASSERT_PTR_NULL(huge_page_alloc(SIZE_MAX - HUGE_PAGE + 2));
}

static const struct unit_case cases[] = {
	{ "memory begins with a huge page, and has whole ones", whole_pages },
	{ "more than there are addresses is refused", too_many },
	{ NULL, NULL },
};

const struct unit_suite huge_page_suite = { "huge_page", cases };
