// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_claims.h"

#include <errno.h>
#include <stdlib.h>

#include "base/table.h"
#include "meta/thin_disk.h"

#define FILTER_BITS (UINT64_C(1) << 20)

int thin_claims_add(struct thin_claims *c, uint32_t owner, uint64_t key, uint64_t value)
{
	int r = table_grow(&c->table, sizeof(*c->table), c->nr, &c->max, &c->memory);

	if (!r)
		c->table[c->nr++] = (struct thin_claim){ .key = key, .value = value, .owner = owner };
	return r;
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_data(const void *a, const void *b)
{
	const struct thin_claim *x = a, *y = b;
	int r = compare(x->value, y->value);

	return r ? r : compare(x->key, y->key);
}

static int by_owner(const void *a, const void *b)
{
	const struct thin_claim *x = a, *y = b;
	int r = compare(x->owner, y->owner);

	return r ? r : compare(x->key, y->key);
}

static bool is_same(const struct thin_claim *c, uint64_t key, uint64_t value)
{
	return c->key == key && c->value == value;
}

static void reject_rivals(struct thin_claims *c)
{
	for (uint64_t i = 0, end; i < c->nr; i = end) {
		bool differs = false;

		for (end = i + 1; end < c->nr && c->table[end].value >> THIN_TIME_BITS == c->table[i].value >> THIN_TIME_BITS;
		     end++)
			differs |= !is_same(&c->table[i], c->table[end].key, c->table[end].value);
		for (uint64_t k = i; k < end && differs; k++)
			c->table[k].is_rejected = true;
	}
}

static uint64_t bit_of(uint64_t data)
{
	return data % FILTER_BITS;
}

int thin_claims_sort(struct thin_claims *c)
{
	c->filter = calloc(FILTER_BITS / 64, sizeof(*c->filter));
	if (!c->filter)
		return -ENOMEM;
	for (uint64_t i = 0; i < c->nr; i++) {
		uint64_t bit = bit_of(c->table[i].value >> THIN_TIME_BITS);

		c->filter[bit / 64] |= UINT64_C(1) << bit % 64;
	}
	if (c->nr)
		qsort(c->table, c->nr, sizeof(*c->table), by_data);
	reject_rivals(c);
	return 0;
}

/* The first claim on the data block, or where it would be. */
static uint64_t find(const struct thin_claims *c, uint64_t data)
{
	uint64_t begin = 0, end = c->nr;

	while (begin < end) {
		uint64_t middle = begin + (end - begin) / 2;

		if (c->table[middle].value >> THIN_TIME_BITS < data)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

void thin_claims_judge(struct thin_claims *c, uint64_t key, uint64_t value)
{
	uint64_t data = value >> THIN_TIME_BITS, bit = bit_of(data);

	if (!(c->filter[bit / 64] >> bit % 64 & 1))
		return;
	for (uint64_t i = find(c, data); i < c->nr && c->table[i].value >> THIN_TIME_BITS == data; i++)
		if (is_same(&c->table[i], key, value))
			__atomic_store_n(&c->table[i].is_shared, true, __ATOMIC_RELAXED);
		else
			__atomic_store_n(&c->table[i].is_rejected, true, __ATOMIC_RELAXED);
}

void thin_claims_finish(struct thin_claims *c)
{
	if (c->nr)
		qsort(c->table, c->nr, sizeof(*c->table), by_owner);
}

void thin_claims_free(struct thin_claims *c)
{
	free(c->table);
	free(c->filter);
}
