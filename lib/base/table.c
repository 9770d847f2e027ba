// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST 64 /* entries */

int table_grow(void *table, size_t size, uint64_t nr, uint64_t *max, uint64_t *memory)
{
	uint64_t wanted = *max ? *max + *max / 2 : FIRST, bytes = (wanted - *max) * size;
	void *now, *larger;

	if (nr < *max)
		return 0;
	if (bytes > *memory)
		return -E2BIG;
	memcpy(&now, table, sizeof(now));
	larger = reallocarray(now, wanted, size);
	if (!larger)
		return -ENOMEM;
	memcpy(table, &larger, sizeof(larger));
	*memory -= bytes;
	*max = wanted;
	return 0;
}

uint64_t table_find(const void *table, size_t size, uint64_t nr, uint64_t (*key_of)(const void *entry), uint64_t key)
{
	uint64_t begin = 0, end = nr;

	while (begin < end) {
		uint64_t middle = begin + (end - begin) / 2;

		if (key_of((const char *)table + middle * size) < key)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}
