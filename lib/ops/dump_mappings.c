// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/dump_int.h"

int dump_mappings(struct dump *d)
{
	struct thin_walk walk = {
		.only_device = d->args->only_device ? d->args->dev_id : PROBLEM_NO_DEVICE,
		.skip_mappings = d->args->skip_mappings,
	};

	d->sink.report = dump_report_now;
	return dump_open_pool(d) ? thin_walk(&d->pool, &walk, &d->emitter->visitor) : 0;
}
