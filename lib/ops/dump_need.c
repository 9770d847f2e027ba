// SPDX-License-Identifier: LGPL-2.1-or-later
/* Who needs a block: a line for each device, or for a structure of the pool. */
#include <inttypes.h>
#include <stdio.h>

#include "ops/dump_int.h"

/* Nodes of the trees of devices are told device by device, each of which is a walk over all devices: not without end. */
#define MAX_EXPANSIONS 1000

#define TEXT_MAX 80

static void range_text(const struct dump_need *n, char text[TEXT_MAX])
{
	const char *keys = problem_where_keys(n->where);

	if (n->begin == n->end || !*keys)
		snprintf(text, TEXT_MAX, "%s", n->where == WHERE_DETAILS ? "details" : "");
	else if (n->end == UINT64_MAX)
		snprintf(text, TEXT_MAX, "%s %" PRIu64 "..end", keys, n->begin);
	else
		snprintf(text, TEXT_MAX, "%s %" PRIu64 "..%" PRIu64, keys, n->begin, n->end - 1);
}

static int put_need(struct dump *d, const struct dump_need *n)
{
	struct meta_visitor *v = &d->emitter->visitor;
	bool has_device = n->dev_id != PROBLEM_NO_DEVICE, has_keys = n->begin != n->end;
	char range[TEXT_MAX];
	struct record_owner record = {
		.block = n->block,
		.dev_id = n->dev_id,
		.begin = has_keys ? n->begin : RECORD_UNKNOWN,
		.end = has_keys ? n->end : RECORD_UNKNOWN,
		.keys = problem_where_keys(n->where),
		.range = range,
		.generation = n->is_snapshot ? "metadata snapshot" : d->args->use_root ? "older root" : "current",
		.path = n->path,
	};

	range_text(n, range);
	return v->record(v, has_device ? n->kind_of_device : n->kind_of_pool, &record);
}

struct expansion {
	struct dump *d;
	struct dump_need n;
};

static int put_device(void *context, uint64_t dev_id)
{
	struct expansion *x = context;

	if (x->d->args->only_device && x->d->args->dev_id != dev_id)
		return 0;
	x->n.dev_id = dev_id;
	return put_need(x->d, &x->n);
}

/* All mappings of a device lie below its entry in the top level; in the details tree that is its details alone. */
static int put_devices(struct dump *d, const struct thin_pool *pool, const struct dump_need *n)
{
	struct expansion x = { d, *n };
	uint64_t found;
	int r;

	x.n.begin = 0;
	x.n.end = n->where == WHERE_TOP ? UINT64_MAX : 0;
	x.n.where = n->where == WHERE_TOP ? WHERE_MAPPINGS : WHERE_DETAILS;
	r = dump_devices_in(pool, n->begin, n->end, put_device, &x, &found);
	return r || found ? r : put_need(d, n);
}

int dump_show_need(struct dump *d, const struct thin_pool *pool, const struct dump_need *n)
{
	bool has_devices = n->where == WHERE_TOP || n->where == WHERE_DETAILS;

	if (has_devices && n->begin != n->end && d->nr_expansions++ < MAX_EXPANSIONS)
		return put_devices(d, pool, n);
	return put_need(d, n);
}
