// SPDX-License-Identifier: LGPL-2.1-or-later
#include <inttypes.h>

#include "meta/block_fields.h"
#include "ops/dump_int.h"

static int dump_block(void *context, uint64_t block, const void *data, int error)
{
	struct dump *d = context;

	dump_advance(d, 1);
	if (!data)
		return dump_keep_unreadable(d, block, -error);
	return meta_visit_block(data, bufio_get_block_size(d->args->client), block, &d->emitter->visitor);
}

int dump_blocks(struct dump *d)
{
	const struct op_range *range = d->args->ranges;
	struct bufio_client *c = d->args->client;
	uint64_t nr = bufio_get_device_size(c);
	struct bufio_scan scan = {
		.block = dump_block,
		.context = d,
		.first_block = range->begin,
		.nr_blocks = range->end - range->begin,
		.in_order = true,
	};
	int r;

	if (range->end > nr) {
		op_fail(d->result, OP_USAGE, 0, "%s: has no block %" PRIu64 ", only %" PRIu64 " blocks of %u bytes",
			d->args->image, range->end - 1, nr, bufio_get_block_size(c));
		return 0;
	}
	dump_expect(d, scan.nr_blocks);
	r = bufio_scan(c, &scan);
	return r ? r : dump_emit_kept(d);
}
