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
