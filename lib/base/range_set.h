/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A set of numbers as half-open ranges. Filled first, in any order; settled; then asked. */
#ifndef BASE_RANGE_SET_H
#define BASE_RANGE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* So many that neither overlap nor touch always have room; they take 32 MiB while they are added. */
#define RANGE_SET_MAX (1u << 20)

struct range {
	uint64_t begin, end;
};

/* Of @nr ranges that rise and do not overlap: the first that ends behind @number; nr: none does. */
size_t range_find(const struct range *ranges, size_t nr, uint64_t number);

/* All zero: empty. */
struct range_set {
	struct range *ranges;
	size_t nr, room;
};

/* An empty range adds nothing. -ENOMEM, or -E2BIG: more than RANGE_SET_MAX. */
int range_set_add(struct range_set *s, uint64_t begin, uint64_t end);

/* The blocks that these bytes touch. */
int range_set_add_bytes(struct range_set *s, uint64_t begin, uint64_t end, uint64_t block_bytes);

/* Sorts the ranges and makes one of those that overlap or touch. */
void range_set_settle(struct range_set *s);

/* Of a settled set: takes out the numbers from @end on. */
void range_set_cut(struct range_set *s, uint64_t end);

/* Of a settled set. */
bool range_set_has(const struct range_set *s, uint64_t number);

void range_set_destroy(struct range_set *s);

#endif
