// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_share.h"

#include <errno.h>
#include <string.h>

#include "meta/thin_disk.h"

enum { NEVER, ONCE, OFTEN };

/* One walk over all devices: first it marks, then it counts. */
struct walk {
	struct thin_pool pool; /* a quiet one */
	struct thin_share *share;
	bool (*skip)(struct pd_cursor *c, uint64_t block, bool ahead);
	void (*take)(struct walk *w, const struct pd_node *leaf, uint64_t *exclusive);
	uint64_t begin;    /* of the window */
	uint64_t next;     /* lowest data block behind the window, or nr_known */
	uint64_t nr_known; /* data blocks from here on are beyond the device */
};

static unsigned mark_of(const uint8_t *table, uint64_t i)
{
	return table[i / 4] >> (i % 4 * 2) & 3;
}

static void mark(uint8_t *table, uint64_t i)
{
	if (mark_of(table, i) != OFTEN)
		table[i / 4] += (uint8_t)(1u << (i % 4 * 2));
}

/* Whoever reaches a node the second time goes through it again, so that all below it is met twice. */
static bool skip_marked(struct pd_cursor *c, uint64_t block, bool ahead)
{
	struct walk *w = c->context;

	if (block >= w->pool.reader.nr_blocks)
		return false; /* the cursor refuses it */
	if (mark_of(w->share->nodes, block) == OFTEN)
		return true;
	if (!ahead)
		mark(w->share->nodes, block);
	return false;
}

static bool skip_shared(struct pd_cursor *c, uint64_t block, bool ahead)
{
	const struct walk *w = c->context;

	(void)ahead;
	return block >= w->pool.reader.nr_blocks || mark_of(w->share->nodes, block) != ONCE;
}

static void mark_data(struct walk *w, uint64_t data)
{
	struct thin_share *s = w->share;

	if (data >= w->nr_known)
		return;
	if (data >= s->nr_data)
		s->nr_data = data + 1;
	if (data - w->begin < s->nr_counts)
		mark(s->counts, data - w->begin);
	else if (data > w->begin && data < w->next)
		w->next = data;
}

static void mark_leaf(struct walk *w, const struct pd_node *leaf, uint64_t *exclusive)
{
	(void)exclusive;
	for (unsigned i = 0; i < leaf->nr; i++)
		mark_data(w, pd_value64(leaf, i) >> THIN_TIME_BITS);
}

static bool is_exclusive(const struct walk *w, uint64_t data)
{
	if (data >= w->nr_known)
		return !w->begin; /* in the first window, not in all */
	return data - w->begin < w->share->nr_counts && mark_of(w->share->counts, data - w->begin) == ONCE;
}

static void count_leaf(struct walk *w, const struct pd_node *leaf, uint64_t *exclusive)
{
	for (unsigned i = 0; i < leaf->nr; i++)
		*exclusive += is_exclusive(w, pd_value64(leaf, i) >> THIN_TIME_BITS);
}

static int walk_device(struct walk *w, const struct thin_device *device, uint64_t *exclusive)
{
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = device->id };
	const struct pd_node *leaf;
	struct pd_cursor c;
	int r;

	pd_cursor_open(&c, &w->pool.reader, &ctx, device->root, sizeof(le64));
	c.skip = w->skip;
	c.context = w;
	while ((r = pd_cursor_next(&c, &leaf)) > 0)
		w->take(w, leaf, exclusive);
	pd_cursor_close(&c);
	return r;
}

static int walk_devices(struct walk *w)
{
	struct thin_share *s = w->share;
	struct thin_devices devices;
	struct thin_device device;
	uint64_t i = 0;
	int r;

	thin_devices_open(&devices, &w->pool);
	while ((r = thin_devices_next(&devices, &device)) > 0 && i < s->nr_devices) {
		r = device.has_root ? walk_device(w, &device, &s->exclusive[i]) : 0;
		if (r)
			break;
		i++;
	}
	thin_devices_close(&devices);
	return r < 0 ? r : 0;
}

static int count_window(struct walk *w)
{
	int r;

	w->next = w->nr_known;
	w->skip = skip_marked;
	w->take = mark_leaf;
	r = walk_devices(w);
	if (r)
		return r;
	w->skip = skip_shared;
	w->take = count_leaf;
	w->share->walks++;
	return walk_devices(w);
}

int thin_share_count(const struct thin_pool *pool, struct thin_share *s)
{
	struct walk w = {
		.pool = *pool,
		.share = s,
		.nr_known = pool->nr_data_blocks < THIN_MAX_DATA_BLOCKS ? pool->nr_data_blocks : THIN_MAX_DATA_BLOCKS,
	};
	int r;

	w.pool.reader.sink = &problem_silent;
	w.pool.reader.observer = NULL;
	r = count_window(&w);
	while (!r && w.next < w.nr_known) {
		if (s->nr_data / s->nr_counts >= THIN_SHARE_MAX_WALKS)
			return -E2BIG;
		w.begin = w.next;
		memset(s->nodes, 0, THIN_SHARE_BYTES(pool->reader.nr_blocks));
		memset(s->counts, 0, THIN_SHARE_BYTES(s->nr_counts));
		r = count_window(&w);
	}
	return r;
}
