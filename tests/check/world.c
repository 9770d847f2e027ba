// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A healthy image: roles by the survey, and by a walk of our own the bounds of all nodes, and every reference. The walk
 * is the simple one, which trusts what it finds; that both see the same blocks is made sure of.
 */
#include <stdio.h>
#include <stdlib.h>

#include "corrupt.h"
#include "io/io.h"

static void fail(const struct world *w, const char *what)
{
	fprintf(stderr, "corrupt: %s: %s\n", w->name, what);
	exit(99);
}

static void *allocate(const struct world *w, uint64_t nr, size_t size)
{
	void *p = calloc(nr + 1, size);

	if (!p)
		fail(w, "out of memory");
	return p;
}

struct node node_at(const struct world *w, uint64_t block)
{
	const struct pd_node_disk *d = (const void *)block_at(w, block);
	struct node n = {
		.is_leaf = le32_get(d->flags) == PD_NODE_LEAF, .nr = le32_get(d->nr_entries),
		.max = le32_get(d->max_entries), .value_size = le32_get(d->value_size),
	};

	n.keys = block_at(w, block) + sizeof(*d);
	n.values = n.keys + 8 * (size_t)n.max;
	return n;
}

unsigned bitmap_count(const uint8_t *bitmap, unsigned i)
{
	unsigned pattern = bitmap[16 + i / 4] >> i % 4 * 2 & 3;

	return pattern >> 1 | (pattern & 1) << 1;
}

unsigned bitmap_length(const struct world *w, const struct space *s, uint64_t block)
{
	uint64_t left = s->nr - w->facts[block].first;

	return left < PD_BITMAP_ENTRIES ? (unsigned)left : PD_BITMAP_ENTRIES;
}

/* --- the walk --- */

static void point_to(struct world *w, uint64_t block)
{
	if (block >= w->metadata.nr)
		fail(w, "a pointer leads out of the metadata");
	w->metadata.counts[block]++;
}

/* True if it was not there before. */
static bool see(struct world *w, uint64_t block)
{
	struct facts *f = &w->facts[block];
	bool is_new = !f->is_seen;

	f->is_seen = true;
	f->is_live |= !w->in_held;
	return is_new;
}

static void see_bitmap(struct world *w, struct space *s, uint64_t block, uint64_t index)
{
	uint64_t first = index * PD_BITMAP_ENTRIES;

	point_to(w, block);
	see(w, block);
	w->facts[block].first = first;
	for (unsigned i = 0; i < bitmap_length(w, s, block); i++)
		if (bitmap_count(block_at(w, block), i)) {
			s->used++;
			s->used_end = first + i + 1;
		}
}

struct tree {
	void (*leaf)(struct world *w, const struct node *n, bool is_new);
};

static void walk(struct world *w, const struct tree *t, uint64_t block, uint64_t begin, uint64_t end);

static void walk_children(struct world *w, const struct tree *t, const struct node *n, uint64_t end, bool is_new)
{
	for (unsigned i = 0; i < n->nr; i++) {
		if (is_new)
			point_to(w, node_child(n, i));
		walk(w, t, node_child(n, i), node_key(n, i), i + 1 < n->nr ? node_key(n, i + 1) : end);
	}
}

/* Shared subtrees are walked again, for the bounds that they have there; what is in them counts once. */
static void walk(struct world *w, const struct tree *t, uint64_t block, uint64_t begin, uint64_t end)
{
	struct facts *f = &w->facts[block];
	struct node n = node_at(w, block);
	bool is_new = see(w, block);

	f->begin = is_new || begin > f->begin ? begin : f->begin;
	f->end = is_new || end < f->end ? end : f->end;
	f->lowest = n.nr ? node_key(&n, 0) : UINT64_MAX;
	f->highest = n.nr ? node_key(&n, n.nr - 1) : 0;
	if (n.is_leaf) {
		if (t->leaf)
			t->leaf(w, &n, is_new);
		return;
	}
	walk_children(w, t, &n, end, is_new);
	if (n.nr && w->facts[node_child(&n, n.nr - 1)].highest > f->highest)
		f->highest = w->facts[node_child(&n, n.nr - 1)].highest;
}

static void note_time(struct world *w, unsigned pool, uint32_t time)
{
	if (time > w->newest[pool])
		w->newest[pool] = time;
}

/* A mapping that the metadata snapshot alone has is older than the pool, too. */
static void mappings_leaf(struct world *w, const struct node *n, bool is_new)
{
	for (unsigned i = 0; i < n->nr; i++) {
		uint64_t value = node_child(n, i), data = value >> THIN_TIME_BITS;

		if (data >= w->data.nr)
			fail(w, "a mapping leads out of the data device");
		w->data.counts[data] += is_new;
		note_time(w, POOL, value & THIN_TIME_MASK);
		if (w->in_held)
			note_time(w, HELD, value & THIN_TIME_MASK);
	}
}

static void top_leaf(struct world *w, const struct node *n, bool is_new)
{
	static const struct tree mappings = { mappings_leaf };

	for (unsigned i = 0; i < n->nr; i++) {
		if (is_new)
			point_to(w, node_child(n, i));
		walk(w, &mappings, node_child(n, i), 0, UINT64_MAX);
	}
}

static void details_leaf(struct world *w, const struct node *n, bool is_new)
{
	(void)is_new;
	for (unsigned i = 0; i < n->nr; i++) {
		const struct thin_details_disk *d = (const void *)(n->values + (size_t)n->value_size * i);

		note_time(w, w->in_held ? HELD : POOL, le32_get(d->snapshotted_time));
	}
}

static void index_leaf(struct world *w, const struct node *n, bool is_new)
{
	for (unsigned i = 0; i < n->nr && is_new; i++)
		see_bitmap(w, &w->data, le_load(n->values + (size_t)n->value_size * i, 8), node_key(n, i));
}

static void walk_root(struct world *w, void (*leaf)(struct world *w, const struct node *n, bool is_new), uint64_t root)
{
	const struct tree t = { leaf };

	point_to(w, root);
	walk(w, &t, root, 0, UINT64_MAX);
}

static void walk_devices(struct world *w, const struct thin_superblock *sb)
{
	walk_root(w, details_leaf, sb->device_details_root);
	walk_root(w, top_leaf, sb->data_mapping_root);
}

static void walk_space_maps(struct world *w)
{
	const struct pd_sm_root *metadata = &w->sb[POOL].metadata_sm;
	const struct pd_index_disk *index = (const void *)block_at(w, metadata->bitmap_root);

	walk_root(w, index_leaf, w->sb[POOL].data_sm.bitmap_root);
	walk_root(w, NULL, w->sb[POOL].data_sm.ref_count_root);
	walk_root(w, NULL, metadata->ref_count_root);
	point_to(w, metadata->bitmap_root);
	see(w, metadata->bitmap_root);
	for (unsigned i = 0; i < pd_bitmaps(metadata->nr_blocks); i++)
		see_bitmap(w, &w->metadata, le64_get(index->entries[i].blocknr), i);
}

static void walk_held(struct world *w)
{
	uint64_t block = w->sb[POOL].held_root;

	if (!block)
		return;
	w->in_held = true;
	point_to(w, block);
	see(w, block);
	thin_superblock_decode(block_at(w, block), &w->sb[HELD]);
	walk_devices(w, &w->sb[HELD]);
	w->in_held = false;
}

static void walk_all(struct world *w)
{
	point_to(w, 0);
	see(w, 0);
	walk_devices(w, &w->sb[POOL]);
	walk_space_maps(w);
	walk_held(w);
}

/* --- the survey --- */

static void survey(struct world *w)
{
	struct thin_survey s = { .blocks = w->roles, .nr = w->nr_blocks };
	struct bufio_client *client;
	struct bufio_device *dev;
	struct thin_pool pool;

	if (bufio_device_open_memory(w->size, &dev))
		fail(w, "out of memory");
	memcpy(io_mem_data(dev), w->image, w->size);
	client = bufio_client_create(dev, PD_BLOCK_SIZE, 64, 0, NULL, NULL);
	if (!client || thin_pool_open(&pool, client, &problem_silent) || thin_survey(&pool, &s, true) || s.bad)
		fail(w, "cannot be surveyed");
	bufio_client_destroy(client);
	bufio_device_close(dev);
}

static void compare(const struct world *w)
{
	for (uint64_t b = 0; b < w->nr_blocks; b++)
		if (w->facts[b].is_seen != thin_role_is_live(role_of(w, b)))
			fail(w, "the survey and the walk see different blocks");
}

/* --- all --- */

static void load(struct world *w)
{
	FILE *f = fopen(w->name, "rb");
	long size;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < PD_BLOCK_SIZE)
		fail(w, "cannot be read");
	rewind(f);
	w->nr_blocks = (uint64_t)size / PD_BLOCK_SIZE;
	w->size = w->nr_blocks * PD_BLOCK_SIZE;
	w->image = allocate(w, w->size, 1);
	if (fread(w->image, 1, w->size, f) != w->size)
		fail(w, "cannot be read");
	fclose(f);
}

void world_open(struct world *w, const char *path)
{
	*w = (struct world){ .name = path };
	load(w);
	thin_superblock_decode(w->image, &w->sb[POOL]);
	w->data.nr = w->sb[POOL].data_sm.nr_blocks;
	w->metadata.nr = w->sb[POOL].metadata_sm.nr_blocks;
	if (!pd_is_block(w->image, PD_THIN_SUPERBLOCK, 0) || w->metadata.nr > w->nr_blocks)
		fail(w, "is no whole pool");
	w->roles = allocate(w, w->nr_blocks, 1);
	w->facts = allocate(w, w->nr_blocks, sizeof(*w->facts));
	w->data.counts = allocate(w, w->data.nr, sizeof(*w->data.counts));
	w->metadata.counts = allocate(w, w->metadata.nr, sizeof(*w->metadata.counts));
	survey(w);
	walk_all(w);
	compare(w);
}

void world_close(struct world *w)
{
	free(w->image);
	free(w->roles);
	free(w->facts);
	free(w->data.counts);
	free(w->metadata.counts);
}
