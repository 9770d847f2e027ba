// SPDX-License-Identifier: LGPL-2.1-or-later
#include <inttypes.h>

#include "meta/thin_sharing.h"
#include "ops/dump_int.h"

/* XML of all devices says shared mappings once, unless that takes too much memory. */
static int learn_sharing(struct dump *d, struct thin_walk *walk)
{
	const struct op_dump_args *a = d->args;
	uint64_t bytes = thin_sharing_bytes(&d->pool);

	if (a->format != DUMP_XML || a->flat || a->skip_mappings || a->only_device)
		return 0;
	if (!dump_take_memory(d, bytes)) {
		text_printf(&d->messages,
			    "%s: shared mappings are written again for every device: to find them takes "
			    "--memory-limit=%" PRIu64 "MiB\n", a->program, (bytes >> 19) + 1);
		text_out_flush(&d->messages);
		return 0;
	}
	return thin_sharing_create(&d->pool, &walk->sharing);
}

int dump_mappings(struct dump *d)
{
	struct thin_walk walk = {
		.only_device = d->args->only_device ? d->args->dev_id : PROBLEM_NO_DEVICE,
		.skip_mappings = d->args->skip_mappings,
	};
	int r;

	d->sink.report = dump_report_now;
	if (!dump_open_pool(d))
		return 0;
	r = learn_sharing(d, &walk);
	if (!r)
		r = thin_walk(&d->pool, &walk, &d->emitter->visitor);
	thin_sharing_destroy(walk.sharing);
	return r;
}
