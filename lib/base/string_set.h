/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Strings that are numbered, from 1, in the order in which they come. */
#ifndef BASE_STRING_SET_H
#define BASE_STRING_SET_H

#include <stddef.h>
#include <stdint.h>

struct string_set {
	char *text; /* all of them, each with its zero byte */
	size_t text_len, text_max;
	uint64_t *strings; /* where each begins, by number - 1 */
	uint64_t nr, max;
	uint32_t *slots; /* numbers, or 0; by hash, and what comes behind */
	size_t nr_slots; /* a power of two, or 0 */
	uint64_t memory; /* bytes that may be used, and are left */
};

/* Begins empty, with nothing allocated. To be destroyed. */
void string_set_init(struct string_set *s, uint64_t memory);
void string_set_destroy(struct string_set *s);

/* 0: it is not there. */
uint32_t string_set_find(const struct string_set *s, const char *string);

/* The string is not there yet. Errors: -E2BIG no more memory may be used; -ENOMEM */
int string_set_add(struct string_set *s, const char *string);

#endif
