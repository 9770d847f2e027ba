// SPDX-License-Identifier: LGPL-2.1-or-later
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
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

/* --- --bytes: a visitor in front of the emitter --- */

struct extents {
	struct meta_visitor visitor; /* first: calls find the rest by it */
	struct meta_visitor *below;
	uint64_t block_bytes;
	struct record_mapping m; /* length 0: none yet */
};

static int flush_extent(struct extents *x)
{
	struct record_extent e = {
		.dev_id = x->m.dev_id,
		.virtual = saturating_mul(x->m.origin_begin, x->block_bytes),
		.data = saturating_mul(x->m.data_begin, x->block_bytes),
		.length = saturating_mul(x->m.length, x->block_bytes),
	};

	if (!x->m.length)
		return 0;
	x->m.length = 0;
	return x->below->record(x->below, RECORD_EXTENT, &e);
}

/* Times do not matter to who copies. */
static int add_extent(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct extents *x = (struct extents *)v;
	const struct record_mapping *m = record;
	int r;

	(void)kind;
	if (x->m.length && m->origin_begin == x->m.origin_begin + x->m.length &&
	    m->data_begin == x->m.data_begin + x->m.length) {
		x->m.length += m->length;
		return 0;
	}
	r = flush_extent(x);
	x->m = *m;
	return r;
}

static int begin_extents(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct extents *x = (struct extents *)v;
	const struct record_device *device = record;

	if (kind != RECORD_DEVICE)
		return 0;
	return x->below->begin(x->below, RECORD_EXTENTS, &(struct record_extents){ device->dev_id });
}

static int end_extents(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct extents *x = (struct extents *)v;
	const struct record_device *device = record;
	int r = flush_extent(x);

	if (r || kind != RECORD_DEVICE)
		return r;
	return x->below->end(x->below, RECORD_EXTENTS, &(struct record_extents){ device->dev_id });
}

/* --- both --- */

int dump_mappings(struct dump *d)
{
	struct pd_memo memo;
	struct thin_walk walk = {
		.only_device = d->args->only_device ? d->args->dev_id : PROBLEM_NO_DEVICE,
		.skip_mappings = d->args->skip_mappings,
		.memo = &memo,
	};
	struct extents extents = {
		.visitor = { begin_extents, add_extent, end_extents, NULL },
		.below = &d->emitter->visitor,
	};
	int r;

	d->sink.report = dump_report_now;
	if (!dump_open_pool(d))
		return 0;
	extents.block_bytes = (uint64_t)d->pool.sb.data_block_size * 512;
	dump_make_memo(d, &memo);
	memo.retell = 0; /* what it counts is reported elsewhere */
	r = learn_sharing(d, &walk);
	dump_stream(d);
	if (!r)
		r = thin_walk(&d->pool, &walk, d->args->bytes ? &extents.visitor : extents.below);
	thin_sharing_destroy(walk.sharing);
	free(memo.entries);
	return r;
}
