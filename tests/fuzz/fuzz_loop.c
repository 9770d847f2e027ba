// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fuzz_loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/units.h"

#define MAX_DIGITS 20

static void loop(uint64_t seed, uint64_t limit, bool is_time, void (*one)(struct rng *r, void *context), void *context)
{
	time_t end = time(NULL) + (time_t)limit;
	uint64_t nr = 0;

	for (; is_time ? time(NULL) < end : nr < limit; nr++) {
		struct rng r = { (seed + nr) * UINT64_C(0x9E3779B97F4A7C15) | 1 };

		if (!is_time || nr % 1000 == 0) {
			printf("%" PRIu64 "\n", seed + nr);
			fflush(stdout);
		}
		one(&r, context);
	}
	printf("%" PRIu64 " cases\n", nr);
}

bool fuzz_loop(const char *seed, const char *limit, void (*one)(struct rng *r, void *context), void *context)
{
	size_t digits = strspn(limit, "0123456789");
	bool is_time = !strcmp(limit + digits, "s");
	char number[MAX_DIGITS + 1] = "";
	uint64_t first, nr;

	if (!digits || digits > MAX_DIGITS || (limit[digits] && !is_time))
		return false;
	memcpy(number, limit, digits);
	if (units_parse_number(seed, &first) || units_parse_number(number, &nr))
		return false;
	loop(first, nr, is_time, one, context);
	return true;
}
