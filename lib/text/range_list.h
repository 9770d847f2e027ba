/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ranges from a file: either one a line, as words are on the command line, or what is not good in a map file of
 * ddrescue, which is recognised by its status line.
 */
#ifndef TEXT_RANGE_LIST_H
#define TEXT_RANGE_LIST_H

#include <stdbool.h>
#include <stdio.h>

#include "base/range_set.h"

/* What there is to say about a file that was read, or was not. */
struct text_range_list {
	bool is_map;
	uint64_t untried_bytes; /* of a map file: not known to be bad, but in the set */
	uint64_t line;          /* that was read last */
	const char *expected;   /* instead of what is in it: set with -EINVAL */
};

/*
 * Adds the ranges to @set, as blocks; 0 for @block_bytes: their size is not known, and bytes are refused.
 * -EINVAL, -ENOMEM, -E2BIG as range_set_add(), or how reading failed. *@list is filled in any case.
 */
int text_range_list_read(FILE *file, uint64_t block_bytes, struct range_set *set, struct text_range_list *list);

#endif
