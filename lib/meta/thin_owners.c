// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_owners.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "meta/thin_disk.h"
#include "meta/thin_int.h"

/* Nodes that are visited for all devices together. */
#define MAX_VISITS 2000000

struct owners {
	struct pd_observer observer; /* first: what is entered finds its search by it */
	const struct thin_owners *args;
	struct problem_sink *sink;
	_Atomic uint64_t *wanted; /* a bit for each leaf with a data block in question */
	uint64_t nr_visits;
};

/* --- what is in question --- */

/* The one that the data block is in, or NULL. */
static const struct problem *find_data(const struct thin_owners *a, uint64_t data)
{
	size_t low = 0, high = a->nr_data;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (data >= a->data[middle].end)
			low = middle + 1;
		else
			high = middle;
	}
	return low < a->nr_data && data >= a->data[low].begin ? &a->data[low] : NULL;
}

static const struct problem *find_metadata(const struct thin_owners *a, uint64_t block)
{
	size_t low = 0, high = a->nr_metadata;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (a->metadata[middle].block < block)
			low = middle + 1;
		else
			high = middle;
	}
	return low < a->nr_metadata && a->metadata[low].block == block ? &a->metadata[low] : NULL;
}

static const struct problem *find_value(const struct thin_owners *a, const struct pd_node *leaf, unsigned i)
{
	return find_data(a, pd_value64(leaf, i) >> THIN_TIME_BITS);
}

static bool is_wanted_leaf(const struct owners *o, uint64_t block)
{
	return o->wanted[block / 64] >> block % 64 & 1;
}

/* --- leaves, in the order of the disk --- */

static int look_at_leaf(void *context, const struct pd_node *leaf)
{
	struct owners *o = context;

	for (unsigned i = 0; i < leaf->nr; i++)
		if (find_value(o->args, leaf, i)) {
			atomic_fetch_or(&o->wanted[leaf->block / 64], UINT64_C(1) << leaf->block % 64);
			break;
		}
	return 0;
}

static int find_leaves(struct owners *o)
{
	struct pd_disk_walk *w = o->args->walk;
	int (*leaf)(void *context, const struct pd_node *leaf) = w->leaf;
	void *context = w->context;
	int r;

	if (!o->args->nr_data)
		return 0;
	w->leaf = look_at_leaf;
	w->context = o;
	r = pd_disk_walk_leaves(w);
	w->leaf = leaf;
	w->context = context;
	return r;
}

/* --- devices, in the order of their keys --- */

static void tell(struct owners *o, const struct problem *p, uint64_t dev_id, uint64_t begin, uint64_t end)
{
	struct problem touch = *p;

	touch.is_touch = true;
	touch.dev_id = dev_id;
	touch.begin = begin;
	touch.end = end;
	o->sink->report(o->sink, &touch);
}

/* Neighbouring virtual blocks with the same problem are told together. */
static void tell_leaf(struct owners *o, uint64_t dev_id, const struct pd_node *leaf)
{
	for (unsigned i = 0, end; i < leaf->nr; i = end) {
		const struct problem *p = find_value(o->args, leaf, i);

		for (end = i + 1; end < leaf->nr && pd_key(leaf, end) == pd_key(leaf, end - 1) + 1 &&
				  find_value(o->args, leaf, end) == p; end++)
			;
		if (p)
			tell(o, p, dev_id, pd_key(leaf, i), pd_key(leaf, end - 1) + 1);
		for (unsigned e = i; p && o->args->mapped && e < end; e++)
			o->args->mapped(o->args->context, dev_id, pd_key(leaf, e), pd_value64(leaf, e));
	}
}

static void entered(struct pd_observer *observer, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c,
		    const struct pd_node *n)
{
	struct owners *o = (struct owners *)observer;
	const struct problem *p = find_metadata(o->args, block);

	(void)c;
	o->nr_visits++;
	if (p)
		tell(o, p, ctx->dev_id, ctx->begin, ctx->end);
	if (n && n->is_leaf && ctx->where == WHERE_MAPPINGS && is_wanted_leaf(o, block))
		tell_leaf(o, ctx->dev_id, n);
}

/* Leaves that nothing is wanted of; and everything, when it has been too much. */
static bool skip(struct pd_cursor *c, uint64_t block, bool ahead)
{
	const struct owners *o = (const struct owners *)c->reader->observer;

	(void)ahead;
	if (o->nr_visits > MAX_VISITS)
		return true;
	if (!pd_disk_walk_has_leaf(o->args->walk, block))
		return false;
	return !is_wanted_leaf(o, block) && !find_metadata(o->args, block);
}

static int visit_device(struct thin_pool *pool, const struct thin_device *d)
{
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = d->id };
	const struct pd_node *leaf;
	struct pd_cursor c;
	int r;

	pd_cursor_open(&c, &pool->reader, &ctx, d->root, sizeof(le64));
	c.skip = skip;
	while ((r = pd_cursor_next(&c, &leaf)) > 0)
		;
	pd_cursor_close(&c);
	return r;
}

static int visit_devices(struct owners *o)
{
	struct thin_pool pool = *o->args->pool;
	struct thin_devices devices;
	struct thin_device d;
	int r;

	pool.reader.observer = &o->observer;
	pool.reader.sink = &problem_silent;
	thin_devices_open(&devices, &pool);
	while ((r = thin_devices_next(&devices, &d)) > 0) {
		r = d.has_root && o->nr_visits <= MAX_VISITS ? visit_device(&pool, &d) : 0;
		if (r)
			break;
	}
	thin_devices_close(&devices);
	return r;
}

int thin_tell_owners(const struct thin_owners *args)
{
	struct owners o = { .observer = { .entered = entered }, .args = args, .sink = args->pool->reader.sink };
	int r;

	o.wanted = calloc(args->walk->reader->nr_blocks / 64 + 1, sizeof(*o.wanted));
	if (!o.wanted)
		return -ENOMEM;
	r = find_leaves(&o);
	if (!r)
		r = visit_devices(&o);
	free(o.wanted);
	return r;
}
