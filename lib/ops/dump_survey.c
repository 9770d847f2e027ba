// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>

#include "ops/dump_int.h"

bool dump_survey(struct dump *d, struct thin_survey *s, bool scan)
{
	uint64_t nr = thin_survey_size(&d->pool);
	struct pd_memo memo;
	int r = -ENOMEM;

	*s = (struct thin_survey){ .nr = nr };
	if (!dump_need_memory(d, "to know every block", nr))
		return false;
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
