// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Nodes in the place of dead ones. A new node has the pieces of a hole as its children, and, unless it is proved that nothing
 * is missing, between them the dead pointer itself, so that who walks the tree sees what is still lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "meta/thin_rescue_int.h"

#define MAX_CHILDREN 252

/* A child to be: a piece, a new node, or the dead block. */
struct item {
	uint64_t key, block;
	unsigned level;
};

struct writer {
	struct thin_rescue *r;
	struct bufio_client *client;
	uint64_t next; /* block that may be free */
	struct item *items; /* of the hole that is written */
	uint64_t nr, max;
};

/* --- blocks --- */

/* No tree needs it; bitmaps and nodes of space maps are not needed where trees are only read. */
static bool is_free(const struct thin_rescue *r, uint64_t block)
{
	enum node_kind kind = node_kind(&r->s->nodes[block]);

	return (kind == NODE_NONE || kind == NODE_OTHER) && !thin_missing_found(r->m, block) &&
	       !(r->hole_at && r->hole_at[block]);
}

static int take_block(struct writer *w, uint64_t *block)
{
	while (w->next < w->r->s->nr && !is_free(w->r, w->next))
		w->next++;
	if (w->next >= w->r->s->nr)
		return -ENOSPC;
	*block = w->next++;
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

static int write_node(struct writer *w, const struct item *items, unsigned nr, struct item *made)
{
	struct pd_node_disk *d;
	struct bufio_buffer *b;
	uint8_t *keys;
	int e = take_block(w, &made->block);

	if (e)
		return e;
	d = bufio_new(w->client, made->block, &b);
	if (!d)
		return -errno;
	memset(d, 0, PD_BLOCK_SIZE);
	d->flags = le32_put(PD_NODE_INTERNAL);
	d->nr_entries = le32_put(nr);
	d->max_entries = le32_put(MAX_CHILDREN);
	d->value_size = le32_put(sizeof(le64));
	keys = (uint8_t *)(d + 1);
	for (unsigned i = 0; i < nr; i++) {
		le64 key = le64_put(items[i].key), value = le64_put(items[i].block);

		memcpy(keys + 8 * (size_t)i, &key, sizeof(key));
		memcpy(keys + 8 * (size_t)(MAX_CHILDREN + i), &value, sizeof(value));
	}
	made->key = items[0].key;
	made->level = items[0].level + 1;
	return seal(b);
}

/* Has the pointer of a node lead elsewhere. */
static int write_pointer(const struct writer *w, const struct thin_place *p, uint64_t block)
{
	struct bufio_buffer *b;
	struct pd_node_disk *d = bufio_read(w->client, p->parent, &b);
	le64 value = le64_put(block);
	size_t at;

	if (!d)
		return -errno;
	at = sizeof(*d) + 8 * ((size_t)le32_get(d->max_entries) + p->index);
	if (at + 8 > PD_BLOCK_SIZE) {
		bufio_release(b);
		return -EIO; /* it was read before */
	}
	memcpy((uint8_t *)d + at, &value, sizeof(value));
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

static int by_key(const void *a, const void *b)
{
	const struct piece *x = *(struct piece *const *)a, *y = *(struct piece *const *)b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* The pieces of a hole, in order. */
static struct piece **sort_pieces(struct thin_rescue *r, uint64_t hole, unsigned *nr)
{
	struct piece **sorted;

	*nr = 0;
	for (uint64_t i = 0; i < r->nr_pieces; i++)
		*nr += r->pieces[i].hole == hole;
	sorted = malloc(*nr * sizeof(*sorted));
	for (uint64_t i = 0, n = 0; sorted && i < r->nr_pieces; i++)
		if (r->pieces[i].hole == hole)
			sorted[n++] = &r->pieces[i];
	if (sorted)
		qsort(sorted, *nr, sizeof(*sorted), by_key);
	return sorted;
}

/* Children of one node at @level + 1: pieces, and what may be missing between them. */
static int list_children(struct writer *w, const struct hole *h, struct piece **pieces, unsigned nr, unsigned level)
{
	uint64_t dead = h->block == PROBLEM_NO_BLOCK ? 0 : h->block, begin = h->begin;
	int e = 0;

	w->nr = 0;
	for (unsigned i = 0; i < nr && !e; i++) {
		if (!h->is_full && pieces[i]->first > begin)
			e = add_item(w, begin, dead, level);
		if (!e)
			e = add_item(w, pieces[i]->first, pieces[i]->block, pieces[i]->level);
		begin = (uint64_t)pieces[i]->last + 1;
	}
	if (!e && !h->is_full && begin < h->end)
		e = add_item(w, begin, dead, level);
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

static int mend_hole(struct writer *w, uint64_t hole, struct piece **pieces, unsigned nr)
{
	struct thin_rescue *r = w->r;
	const struct hole *h = &r->holes[hole];
	bool is_whole = nr == 1 && (h->height ? pieces[0]->level == h->height : h->is_full);
	uint64_t root = pieces[0]->block;
	unsigned highest = 0;
	int e = 0;

	for (unsigned i = 0; i < nr; i++)
		highest = pieces[i]->level > highest ? pieces[i]->level : highest;
	if (!is_whole)
		e = list_children(w, h, pieces, nr, h->height ? h->height - 1 : highest);
	if (!e && !is_whole)
		e = build(w, h, highest, &root);
	for (uint64_t i = 0; i < r->nr_gaps && !e; i++) {
		const struct thin_place *p = &r->gaps[i].place;

		if (r->gaps[i].hole != hole)
			continue;
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

int thin_rescue_mend(struct thin_rescue *r, struct bufio_client *client)
{
	struct writer w = { .r = r, .client = client, .next = 1 };
	int e = 0;

	for (uint64_t h = 0; h < r->nr_holes && !e; h++) {
		unsigned nr;
		struct piece **pieces = sort_pieces(r, h, &nr);

		if (!pieces && nr)
			e = -ENOMEM;
		else if (nr)
			e = mend_hole(&w, h, pieces, nr);
		free(pieces);
	}
	free(w.items);
	return e;
}
