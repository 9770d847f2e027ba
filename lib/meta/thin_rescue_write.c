// SPDX-License-Identifier: LGPL-2.1-or-later
/* Nodes in the place of dead ones: the pieces of a hole are their children. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "meta/thin_rescue_int.h"

#define MAX_CHILDREN 252

/* A child to be: a piece, or a new node. */
struct item {
	uint64_t key, block;
	unsigned level;
};

struct writer {
	struct thin_rescue *r;
	struct bufio_client *client;
	uint64_t next; /* block that may be free */
	unsigned choice;
	struct item *items; /* of the hole that is written */
	uint64_t nr, max;
};

/* --- blocks --- */

/* Which blocks may be taken, the next only if there are no others. Space maps are not needed where trees are only read. */
enum choice { ONLY_FREE, ALSO_WASTE, ALSO_SPACE_MAPS, NR_CHOICES };

/* No tree needs it. */
static bool is_free(const struct thin_rescue *r, uint64_t block, enum choice choice)
{
	enum node_kind kind = node_kind(&r->s->nodes[block]);
	bool is_waste = kind == NODE_NONE || kind == NODE_ZEROES, is_map = kind == NODE_OTHER || kind == NODE_BITMAP;

	if (thin_missing_found(r->m, block) || (r->hole_at && r->hole_at[block]))
		return false;
	return !thin_missing_of(r->m, block) || (choice >= ALSO_WASTE && is_waste) || (choice >= ALSO_SPACE_MAPS && is_map);
}

static int take_block(struct writer *w, uint64_t *block)
{
	while (w->next < w->r->s->nr && !is_free(w->r, w->next, w->choice))
		w->next++;
	if (w->next >= w->r->s->nr) {
		w->next = 1;
		return ++w->choice == NR_CHOICES ? -ENOSPC : take_block(w, block);
	}
	*block = w->next++;
	thin_missing_note(w->r->m, *block);
	return 0;
}

static int seal(struct bufio_buffer *b)
{
	int e;

	pd_block_seal(bufio_get_block_data(b), PD_NODE, bufio_get_block_number(b));
	e = bufio_mark_buffer_dirty(b);
	bufio_release(b);
	return e;
}

static struct pd_node_disk *new_node(struct writer *w, uint64_t block, uint32_t flags, struct bufio_buffer **b)
{
	struct pd_node_disk *d = bufio_new(w->client, block, b);

	if (!d)
		return NULL;
	memset(d, 0, PD_BLOCK_SIZE);
	d->flags = le32_put(flags);
	d->max_entries = le32_put(MAX_CHILDREN);
	d->value_size = le32_put(sizeof(le64));
	return d;
}

static void put_entry(struct pd_node_disk *d, uint64_t key, uint64_t value)
{
	uint32_t nr = le32_get(d->nr_entries);
	uint8_t *keys = (uint8_t *)(d + 1);

	le_store(keys + 8 * (size_t)nr, 8, key);
	le_store(keys + 8 * (size_t)(MAX_CHILDREN + nr), 8, value);
	d->nr_entries = le32_put(nr + 1);
}

static int write_node(struct writer *w, const struct item *items, unsigned nr, struct item *made)
{
	struct pd_node_disk *d;
	struct bufio_buffer *b;
	int e = take_block(w, &made->block);

	if (e)
		return e;
	d = new_node(w, made->block, PD_NODE_INTERNAL, &b);
	if (!d)
		return -errno;
	for (unsigned i = 0; i < nr; i++)
		put_entry(d, items[i].key, items[i].block);
	made->key = items[0].key;
	made->level = items[0].level + 1;
	return seal(b);
}

/* Has the pointer of a node lead elsewhere. */
static int write_pointer(const struct writer *w, const struct thin_place *p, uint64_t block)
{
	struct bufio_buffer *b;
	struct pd_node_disk *d = bufio_read(w->client, p->parent, &b);
	size_t at;

	if (!d)
		return -errno;
	at = sizeof(*d) + 8 * ((size_t)le32_get(d->max_entries) + p->index);
	if (at + 8 > PD_BLOCK_SIZE) {
		bufio_release(b);
		return -EIO; /* it was read before */
	}
	le_store((uint8_t *)d + at, 8, block);
	return seal(b);
}

/* --- a hole --- */

static int add_item(struct writer *w, uint64_t key, uint64_t block, unsigned level)
{
	int e = table_grow(&w->items, sizeof(*w->items), w->nr, &w->max, &w->r->memory);

	if (!e)
		w->items[w->nr++] = (struct item){ key, block, level };
	return e;
}

static int list_children(struct writer *w, const struct piece *pieces, unsigned nr)
{
	int e = 0;

	w->nr = 0;
	for (unsigned i = 0; i < nr && !e; i++)
		e = add_item(w, pieces[i].first, pieces[i].block, pieces[i].level);
	return e;
}

/* Neighbours at @level become children of new nodes one level up; where more are below, of as few as there can be. */
static int raise_level(struct writer *w, unsigned level)
{
	uint64_t kept = 0;
	int e = 0;

	for (uint64_t i = 0, end; i < w->nr && !e; i = end) {
		struct item made;

		for (end = i; end < w->nr && w->items[end].level == level && end - i < MAX_CHILDREN; end++)
			;
		if (end == i) {
			w->items[kept++] = w->items[end++];
			continue;
		}
		e = write_node(w, w->items + i, (unsigned)(end - i), &made);
		w->items[kept++] = made;
	}
	w->nr = kept;
	return e;
}

/* From the lowest up, until one node is left. */
static int build(struct writer *w, const struct hole *h, unsigned highest, uint64_t *root)
{
	unsigned top = h->height ? h->height : highest + 1;
	int e = 0;

	for (unsigned level = 1; level < top && !e; level++)
		e = raise_level(w, level);
	for (; !e && w->nr > 1 && !h->height && top < PD_MAX_DEPTH; top++)
		e = raise_level(w, top);
	if (!e)
		*root = w->items[0].block;
	return e || w->nr == 1 ? e : -E2BIG;
}

static uint64_t hole_of(const void *gap)
{
	return ((const struct gap *)gap)->hole;
}

static int by_hole(const void *a, const void *b)
{
	uint64_t x = hole_of(a), y = hole_of(b);

	return x < y ? -1 : x > y;
}

/* The gaps are in the order of holes now. */
static int mend_hole(struct writer *w, uint64_t hole, const struct piece *pieces, unsigned nr)
{
	struct thin_rescue *r = w->r;
	const struct hole *h = &r->holes[hole];
	uint64_t i = table_find(r->gaps, sizeof(*r->gaps), r->nr_gaps, hole_of, hole);
	bool is_whole = nr == 1 && (!h->height || pieces[0].level == h->height);
	uint64_t root = pieces[0].block;
	unsigned highest = 0;
	int e = 0;

	for (unsigned k = 0; k < nr; k++)
		highest = pieces[k].level > highest ? pieces[k].level : highest;
	if (!is_whole)
		e = list_children(w, pieces, nr);
	if (!e && !is_whole)
		e = build(w, h, highest, &root);
	for (; i < r->nr_gaps && r->gaps[i].hole == hole && !e; i++) {
		const struct thin_place *p = &r->gaps[i].place;

		if (p->parent != PROBLEM_NO_BLOCK) {
			e = write_pointer(w, p, root);
		} else {
			r->devices[p->device].has_root = true;
			r->devices[p->device].root = root;
			r->origins[p->device].root = ROOT_REATTACHED;
		}
	}
	return e;
}

/* --- the past --- */

/* A leaf of older mappings becomes a piece as any other. */
static int add_leaf(struct writer *w, uint64_t hole, const struct thin_claim *claims, uint64_t nr)
{
	struct thin_rescue *r = w->r;
	struct pd_node_disk *d;
	struct bufio_buffer *b;
	uint64_t block, first = UINT64_MAX, last = 0;
	int e = take_block(w, &block);

	if (!e)
		e = table_grow(&r->pieces, sizeof(*r->pieces), r->nr_pieces, &r->max_pieces, &r->memory);
	if (e)
		return e;
	d = new_node(w, block, PD_NODE_LEAF, &b);
	if (!d)
		return -errno;
	for (uint64_t i = 0; i < nr; i++) {
		if (claims[i].is_rejected)
			continue;
		put_entry(d, claims[i].key, claims[i].value);
		first = claims[i].key < first ? claims[i].key : first;
		last = claims[i].key;
	}
	r->pieces[r->nr_pieces++] = (struct piece){
		.block = (uint32_t)block, .hole = (uint32_t)hole, .first = (uint32_t)first, .last = (uint32_t)last, .level = 1,
	};
	return seal(b);
}

static int add_stale(struct writer *w, uint64_t hole)
{
	struct thin_claims *c = &w->r->claims;
	uint64_t begin, end, good = 0;
	int e = 0;

	rescue_claims_of(w->r, (uint32_t)hole, &begin, &end);
	for (uint64_t i = begin, from = begin; i < end && !e; i++) {
		good += !c->table[i].is_rejected;
		if (good && (good == MAX_CHILDREN || i + 1 == end)) {
			e = add_leaf(w, hole, c->table + from, i + 1 - from);
			from = i + 1;
			good = 0;
		}
	}
	return e;
}

static uint64_t key_of(const void *claim)
{
	return ((const struct thin_claim *)claim)->key;
}

/* Whether the claim on @key, among those of one owner, is in the way of somebody. */
static bool is_rejected(const struct thin_rescue *r, uint64_t begin, uint64_t end, uint64_t key)
{
	const struct thin_claim *c = r->claims.table + begin;
	uint64_t i = table_find(c, sizeof(*c), end - begin, key_of, key);

	return i < end - begin && c[i].key == key && c[i].is_rejected;
}

/* What is left of a leaf takes its place; living devices have no part in it. */
static int thin_out_leaf(struct writer *w, uint64_t block, uint64_t begin, uint64_t end)
{
	struct node_entries *old = malloc(sizeof(*old));
	struct pd_node_disk *d;
	struct bufio_buffer *b;
	int e = old ? rescue_read(w->r, block, old) : -ENOMEM;

	if (e <= 0 || w->r->living[block / 64] >> block % 64 & 1) {
		free(old);
		return e < 0 ? e : 0;
	}
	d = new_node(w, block, PD_NODE_LEAF, &b);
	for (unsigned i = 0; d && i < old->nr; i++)
		if (!is_rejected(w->r, begin, end, old->keys[i]))
			put_entry(d, old->keys[i], old->values[i]);
	free(old);
	return d ? seal(b) : -errno;
}

/* Leaves with claims that were rejected: they are written when the walk holds none of them. */
static int list_leaves(struct writer *w, size_t device, uint64_t begin, uint64_t end, uint32_t **blocks, uint64_t *nr)
{
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = PROBLEM_NO_DEVICE };
	struct pd_reader reader = w->r->pool.reader;
	const struct pd_node *leaf;
	uint64_t max = 0;
	struct pd_cursor c;
	int e = 0;

	reader.client = w->client;
	pd_cursor_open(&c, &reader, &ctx, w->r->devices[device].root, sizeof(le64));
	while (e >= 0 && (e = pd_cursor_next(&c, &leaf)) > 0) {
		bool is_any = false;

		for (unsigned i = 0; i < leaf->nr && !is_any; i++)
			is_any = is_rejected(w->r, begin, end, pd_key(leaf, i));
		if (!is_any)
			continue;
		e = table_grow(blocks, sizeof(**blocks), *nr, &max, &w->r->memory);
		if (!e)
			(*blocks)[(*nr)++] = (uint32_t)leaf->block;
	}
	pd_cursor_close(&c);
	return e < 0 ? e : 0;
}

static int thin_out_device(struct writer *w, size_t device)
{
	uint64_t begin, end, nr = 0;
	uint32_t *blocks = NULL;
	int e;

	rescue_claims_of(w->r, (uint32_t)device | OWNER_IS_DEVICE, &begin, &end);
	e = list_leaves(w, device, begin, end, &blocks, &nr);
	for (uint64_t i = 0; i < nr && !e; i++)
		e = thin_out_leaf(w, blocks[i], begin, end);
	free(blocks);
	return e;
}

/* Blocks of trees of the past must not be taken for new nodes. */
static int note_nothing(void *context, const struct thin_place *place)
{
	(void)context;
	(void)place;
	return 0;
}

static int keep_past(struct thin_rescue *r, size_t device)
{
	struct thin_missing_walk walk = { .m = r->m, .tree = TREE_OF_MAPPINGS, .hole = note_nothing, .context = r };
	struct thin_place place = { .parent = PROBLEM_NO_BLOCK, .block = r->devices[device].root, .end = UINT64_MAX };

	return thin_missing_follow(&walk, &place);
}

static int mend_past(struct writer *w)
{
	struct thin_rescue *r = w->r;
	int e = 0;

	for (size_t i = 0; i < r->nr && !e; i++)
		e = r->origins[i].root == ROOT_OF_ANOTHER ? keep_past(r, i) : 0;
	for (size_t i = 0; i < r->nr && !e; i++)
		e = r->origins[i].root == ROOT_OF_ANOTHER ? thin_out_device(w, i) : 0;
	for (uint64_t h = 0; r->args.use_stale && h < r->nr_holes && !e; h++)
		e = add_stale(w, h);
	return e;
}

int thin_rescue_mend(struct thin_rescue *r, struct bufio_client *client)
{
	struct writer w = { .r = r, .client = client, .next = 1 };
	int e = mend_past(&w);

	if (r->nr_gaps)
		qsort(r->gaps, r->nr_gaps, sizeof(*r->gaps), by_hole);
	for (uint64_t h = 0; h < r->nr_holes && !e; h++) {
		unsigned nr;
		const struct piece *pieces = rescue_pieces_of(r, h, &nr);

		if (nr)
			e = mend_hole(&w, h, pieces, nr);
	}
	free(w.items);
	return e;
}
