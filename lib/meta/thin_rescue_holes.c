// SPDX-License-Identifier: LGPL-2.1-or-later
/* Holes below the devices, and what belongs there. */
#include <errno.h>
#include <stdlib.h>

#include "base/table.h"
#include "meta/thin_rescue_int.h"

/* A candidate that fits more holes than this has no evidence worth looking for. */
#define MAX_FITS 64

/* --- holes --- */

/* Of one block there is one hole, wherever a pointer leads to it. NULL: it is in no place to be remembered. */
static uint32_t *hole_at(struct thin_rescue *r, uint64_t block)
{
	if (!r->hole_at)
		r->hole_at = scavenge_alloc(r->s, r->s->nr, sizeof(*r->hole_at));
	return r->hole_at && block < r->s->nr ? &r->hole_at[block] : NULL;
}

static void narrow(struct hole *h, const struct thin_place *p)
{
	h->begin = p->begin > h->begin ? p->begin : h->begin;
	h->end = p->end < h->end ? p->end : h->end;
	if (p->height && (!h->height || p->height < h->height))
		h->height = p->height;
}

static int note_hole(void *context, const struct thin_place *place)
{
	struct thin_rescue *r = context;
	uint32_t *at = hole_at(r, place->block);
	uint64_t i = at && *at ? *at - 1 : r->nr_holes;
	int e = table_grow(&r->gaps, sizeof(*r->gaps), r->nr_gaps, &r->max_gaps, &r->memory);

	r->origins[place->device].has_holes = true;
	if (!e && i == r->nr_holes)
		e = table_grow(&r->holes, sizeof(*r->holes), r->nr_holes, &r->max_holes, &r->memory);
	if (e)
		return e;
	if (i == r->nr_holes)
		r->holes[r->nr_holes++] = (struct hole){
			.block = place->block, .end = UINT64_MAX, .device = place->device,
		};
	if (at)
		*at = (uint32_t)i + 1;
	narrow(&r->holes[i], place);
	r->gaps[r->nr_gaps++] = (struct gap){ .place = *place, .hole = (uint32_t)i };
	return 0;
}

int rescue_walk(struct thin_rescue *r, size_t device)
{
	struct thin_missing_walk walk = { .m = r->m, .tree = TREE_OF_MAPPINGS, .hole = note_hole, .context = r };
	struct thin_place place = {
		.parent = PROBLEM_NO_BLOCK, .block = r->devices[device].root, .end = UINT64_MAX, .device = device,
	};

	return thin_missing_follow(&walk, &place);
}

/* --- the metadata snapshot, which has pointers of its own --- */

static int note_held_hole(void *context, const struct thin_place *place)
{
	struct thin_rescue *r = context;

	(void)place;
	r->is_doubtful = true;
	return 0;
}

static int walk_held_device(void *context, uint64_t dev_id, uint64_t root)
{
	struct thin_rescue *r = context;
	struct thin_missing_walk walk = { .m = r->m, .tree = TREE_OF_MAPPINGS, .hole = note_held_hole, .context = r };
	struct thin_place place = { .parent = PROBLEM_NO_BLOCK, .block = root, .end = UINT64_MAX };

	(void)dev_id;
	return thin_missing_follow(&walk, &place);
}

int rescue_walk_held(struct thin_rescue *r)
{
	struct thin_missing_walk walk = {
		.m = r->m, .tree = TREE_OF_DEVICES, .hole = note_held_hole, .device = walk_held_device, .context = r,
	};
	struct thin_place place = { .parent = PROBLEM_NO_BLOCK, .end = UINT64_MAX };
	struct thin_pool held = r->pool;
	int e;

	if (!r->args.is_current || !r->pool.live.held_root)
		return 0;
	e = thin_pool_use_snapshot(&held, 0);
	r->is_doubtful = !e;
	if (e <= 0)
		return e;
	place.block = held.sb.data_mapping_root;
	e = thin_missing_follow(&walk, &place);
	walk.tree = TREE_OF_DETAILS;
	place.block = held.sb.device_details_root;
	return e ? e : thin_missing_follow(&walk, &place);
}

/* --- pieces --- */

int rescue_add_doubt(struct thin_rescue *r, uint64_t block, uint64_t dev_id)
{
	const struct node *n = &r->s->nodes[block];
	int e = table_grow(&r->doubts, sizeof(*r->doubts), r->nr_doubts, &r->max_doubts, &r->memory);

	if (!e)
		r->doubts[r->nr_doubts++] = (struct thin_doubt){
			.block = block, .first = n->first, .last = n->last, .mappings = n->count, .dev_id = dev_id,
		};
	return e;
}

static bool take_step(struct thin_rescue *r)
{
	r->steps -= r->steps > 0;
	return r->steps;
}

static bool overlaps(struct thin_rescue *r, uint64_t hole, const struct node *n)
{
	for (uint64_t i = 0; i < r->nr_pieces && take_step(r); i++) {
		const struct piece *p = &r->pieces[i];

		if (p->hole == hole && p->first <= n->last && n->first <= p->last)
			return true;
	}
	return false;
}

static bool has_pieces(struct thin_rescue *r, uint64_t hole)
{
	for (uint64_t i = 0; i < r->nr_pieces && take_step(r); i++)
		if (r->pieces[i].hole == hole)
			return true;
	return false;
}

/* A node as high as the hole takes its place alone: a pointer was wrong. */
static bool fits(struct thin_rescue *r, uint64_t hole, const struct node *n)
{
	const struct hole *h = &r->holes[hole];

	if (n->first < h->begin || n->last >= h->end || (h->height && n->level > h->height))
		return false;
	return h->height && n->level == h->height ? !has_pieces(r, hole) : !overlaps(r, hole, n);
}

static int attach(struct thin_rescue *r, uint64_t block, uint64_t hole)
{
	struct thin_missing_walk walk = { .m = r->m, .tree = TREE_OF_MAPPINGS, .hole = note_hole, .context = r };
	const struct node *n = &r->s->nodes[block];
	struct thin_place place = {
		.parent = PROBLEM_NO_BLOCK, .block = block, .begin = r->holes[hole].begin, .end = r->holes[hole].end,
		.height = n->level, .device = r->holes[hole].device,
	};
	int e = table_grow(&r->pieces, sizeof(*r->pieces), r->nr_pieces, &r->max_pieces, &r->memory);

	if (e)
		return e;
	r->pieces[r->nr_pieces++] = (struct piece){
		.block = (uint32_t)block, .hole = (uint32_t)hole, .first = n->first, .last = n->last, .level = n->level,
		.is_proved = !thin_missing_is_unknown(r->m, block) && !r->is_doubtful,
	};
	return thin_missing_follow(&walk, &place);
}

/* Of several holes, those whose devices older versions of the piece belong to; or the one that it is closest to. */
static int choose_by_kinship(struct thin_rescue *r, uint64_t block, unsigned missing, uint64_t *found, unsigned *nr)
{
	unsigned scores[MAX_FITS], most = 0, nr_kin = 0, nr_most = 0;
	int e = 0;

	for (unsigned i = 0; i < *nr && !e; i++) {
		e = rescue_kinship(r, r->holes[found[i]].device, block, &scores[i]);
		if (e)
			break;
		nr_kin += scores[i] > 0;
		nr_most = scores[i] > most ? 1 : nr_most + (scores[i] == most);
		most = scores[i] > most ? scores[i] : most;
	}
	if (e)
		return e;
	if (nr_kin > missing && nr_most > missing)
		nr_kin = 0;
	for (unsigned i = 0, n = *nr, kept = 0; i < n; i++)
		if (nr_kin && scores[i] && (nr_kin <= missing || scores[i] == most))
			found[kept++] = found[i];
	*nr = !nr_kin ? 0 : nr_kin <= missing ? nr_kin : nr_most;
	return 0;
}

static int try_to_place(struct thin_rescue *r, uint64_t block)
{
	const struct node *n = &r->s->nodes[block];
	unsigned missing = thin_missing_of(r->m, block), nr = 0;
	uint64_t found[MAX_FITS];
	int e = 0;

	for (uint64_t h = 0; missing && h < r->nr_holes && nr <= MAX_FITS && take_step(r); h++) {
		if (!fits(r, h, n))
			continue;
		if (nr < MAX_FITS)
			found[nr] = h;
		nr++;
	}
	if (!missing || !nr)
		return 0;
	if (nr > MAX_FITS)
		return rescue_add_doubt(r, block, PROBLEM_NO_DEVICE);
	if (nr > missing)
		e = choose_by_kinship(r, block, missing, found, &nr);
	for (unsigned i = 0; i < nr && !e; i++)
		e = attach(r, block, found[i]);
	return e || nr ? e : rescue_add_doubt(r, block, PROBLEM_NO_DEVICE);
}

/* --- candidates --- */

struct candidate {
	uint32_t block, count;
	uint32_t time : 24, level : 8;
};

/* The highest first; of versions of the same, the newest. */
static int by_height(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->level != y->level)
		return x->level > y->level ? -1 : 1;
	if (x->time != y->time)
		return x->time > y->time ? -1 : 1;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

static int place_all(struct thin_rescue *r)
{
	struct candidate *table = NULL;
	uint64_t nr = 0, max = 0;
	int e = 0;

	for (uint64_t b = 1; b < r->s->nr && !e; b++) {
		const struct node *n = &r->s->nodes[b];

		if (node_kind(n) != NODE_MAPPINGS || !thin_missing_of(r->m, b))
			continue;
		e = table_grow(&table, sizeof(*table), nr, &max, &r->memory);
		if (!e)
			table[nr++] = (struct candidate){
				.block = (uint32_t)b, .count = n->count, .time = n->time, .level = n->level,
			};
	}
	if (nr)
		qsort(table, nr, sizeof(*table), by_height);
	for (uint64_t i = 0; i < nr && !e; i++)
		e = try_to_place(r, table[i].block);
	free(table);
	r->memory += max * sizeof(*table);
	return e;
}

/* --- proof --- */

static int by_place(const void *a, const void *b)
{
	const struct thin_place *x = &((const struct gap *)a)->place, *y = &((const struct gap *)b)->place;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	if (x->parent == PROBLEM_NO_BLOCK && x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static const struct gap *find_gap(const struct thin_rescue *r, uint64_t parent, unsigned index, size_t device)
{
	struct gap key = { .place = { .parent = parent, .index = index, .device = device } };

	return r->nr_gaps ? bsearch(&key, r->gaps, r->nr_gaps, sizeof(key), by_place) : NULL;
}

/* Of one device. */
struct measure {
	struct thin_rescue *r;
	uint64_t mappings;
	void (*hole)(struct measure *m, uint64_t hole);
};

static int measure_below(struct measure *m, uint64_t block, unsigned depth);

static int measure_hole(struct measure *m, uint64_t hole, unsigned depth)
{
	int e = 0;

	if (m->hole)
		m->hole(m, hole);
	for (uint64_t i = 0; i < m->r->nr_pieces && !e && take_step(m->r); i++)
		if (m->r->pieces[i].hole == hole)
			e = measure_below(m, m->r->pieces[i].block, depth + 1);
	return e;
}

static int measure_child(struct measure *m, uint64_t parent, unsigned index, uint64_t block, size_t device, unsigned depth)
{
	const struct gap *g = find_gap(m->r, parent, index, device);

	return g ? measure_hole(m, g->hole, depth) : measure_below(m, block, depth + 1);
}

/* What has no holes was summed up by the scan. */
static int measure_below(struct measure *m, uint64_t block, unsigned depth)
{
	const struct node *n = block < m->r->s->nr ? &m->r->s->nodes[block] : NULL;
	struct rescue_node *node;
	int e;

	if (!n || depth > 2 * PD_MAX_DEPTH || !take_step(m->r))
		return 0;
	if (!n->holes || n->level < 2) {
		m->mappings += n->count;
		return 0;
	}
	node = malloc(sizeof(*node));
	e = node ? rescue_read(m->r, block, node) : -ENOMEM;
	for (unsigned i = 0, nr = e > 0 ? node->nr : 0; i < nr && e >= 0; i++)
		e = measure_child(m, block, i, node->values[i], 0, depth);
	free(node);
	return e < 0 ? e : 0;
}

static int measure_device(struct thin_rescue *r, size_t i, struct measure *m)
{
	const struct gap *g = find_gap(r, PROBLEM_NO_BLOCK, 0, i);

	m->r = r;
	m->mappings = 0;
	if (g)
		return measure_hole(m, g->hole, 0);
	return r->devices[i].has_root ? measure_below(m, r->devices[i].root, 0) : 0;
}

static void fill_hole(struct measure *m, uint64_t hole)
{
	m->r->holes[hole].is_full = true;
}

/* Of holes that are not proved to be full, pieces that are not proved to belong there. */
static void empty_hole(struct measure *m, uint64_t hole)
{
	struct thin_rescue *r = m->r;

	for (uint64_t i = 0; !r->holes[hole].is_full && i < r->nr_pieces; i++)
		if (r->pieces[i].hole == hole && !r->pieces[i].is_proved)
			r->pieces[i].hole = UINT32_MAX;
}

static int drop_pieces(struct thin_rescue *r)
{
	uint64_t kept = 0;
	int e = 0;

	for (uint64_t i = 0; i < r->nr_pieces; i++) {
		if (r->pieces[i].hole == UINT32_MAX)
			e = e ? e : rescue_add_doubt(r, r->pieces[i].block, PROBLEM_NO_DEVICE);
		else
			r->pieces[kept++] = r->pieces[i];
	}
	r->nr_pieces = kept;
	return e;
}

/* A device that has all the mappings that it should have has no holes any more. */
static int prove(struct thin_rescue *r)
{
	void (*const passes[])(struct measure *, uint64_t) = { fill_hole, empty_hole };
	int e = 0;

	if (r->nr_gaps)
		qsort(r->gaps, r->nr_gaps, sizeof(*r->gaps), by_place);
	for (unsigned pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < r->nr && !e; i++) {
			struct measure m = { .hole = NULL };

			e = measure_device(r, i, &m);
			if (e || (m.mappings == r->origins[i].mapped) == (pass == 1))
				continue;
			m.hole = passes[pass];
			e = measure_device(r, i, &m);
		}
	return e ? e : drop_pieces(r);
}

int rescue_fill(struct thin_rescue *r)
{
	int e = 0;

	for (size_t i = 0; i < r->nr && !e; i++) {
		struct thin_place place = { .parent = PROBLEM_NO_BLOCK, .block = PROBLEM_NO_BLOCK, .end = UINT64_MAX, .device = i };

		if (!r->devices[i].has_root && r->origins[i].mapped && r->origins[i].mapped != RECORD_UNKNOWN)
			e = note_hole(r, &place);
	}
	if (!e && r->nr_holes)
		e = place_all(r);
	return e || !r->nr_holes ? e : prove(r);
}
