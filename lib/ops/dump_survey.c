// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "ops/dump_int.h"

#define MIB (UINT64_C(1) << 20)

/* What dump_take_memory() wants: the cache keeps as much again, and what it needs at least. */
static void fail_memory(struct dump *d, uint64_t bytes)
{
	uint64_t floor = bufio_get_memory_floor(d->args->client), need = bytes + (bytes > floor ? bytes : floor);

	op_fail(d->result, OP_INTERNAL, 0, "%s: too large for the memory limit; it takes --memory-limit=%" PRIu64 "MiB",
		d->args->image, need / MIB + 1);
}

bool dump_survey(struct dump *d, struct thin_survey *s, bool scan)
{
	uint64_t nr = thin_survey_size(&d->pool);
	struct pd_memo memo;
	int r = -ENOMEM;

	*s = (struct thin_survey){ .nr = nr };
	if (!dump_take_memory(d, nr)) {
		fail_memory(d, nr);
		return false;
	}
	s->blocks = calloc(nr, 1);
	dump_make_memo(d, &memo);
	s->memo = memo.nr ? &memo : NULL;
	if (scan)
		dump_expect(d, nr);
	if (s->blocks)
		r = thin_survey(&d->pool, s, scan);
	s->memo = NULL;
	free(memo.entries);
	if (r)
		dump_fail_errno(d, r);
	return !r;
}
