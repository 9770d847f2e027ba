// SPDX-License-Identifier: LGPL-2.1-or-later
/* Holes below the devices, and what belongs there. */
#include <errno.h>
#include <stdlib.h>

#include "base/table.h"
#include "meta/thin_rescue_int.h"

#define MAX_LEAF_ENTRIES 252

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

	if (!e && i == r->nr_holes)
		e = table_grow(&r->holes, sizeof(*r->holes), r->nr_holes, &r->max_holes, &r->memory);
	if (e)
		return e;
	if (i == r->nr_holes)
		r->holes[r->nr_holes++] = (struct hole){
			.block = place->block, .end = UINT64_MAX, .device = place->device, .generation = PROBLEM_NO_BLOCK,
			.place = *place,
		};
	if (r->holes[i].place.parent == PROBLEM_NO_BLOCK)
		r->holes[i].place = *place;
	if (at)
		*at = (uint32_t)i + 1;
	narrow(&r->holes[i], place);
	r->gaps[r->nr_gaps++] = (struct gap){ .place = *place, .hole = (uint32_t)i };
	return 0;
}

static void note_living(void *context, uint64_t block)
{
	struct thin_rescue *r = context;

	r->living[block / 64] |= UINT64_C(1) << block % 64;
}

int rescue_walk(struct thin_rescue *r, size_t device)
{
	struct thin_missing_walk walk = {
		.m = r->m, .tree = TREE_OF_MAPPINGS, .hole = note_hole, .node = note_living, .context = r,
	};
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

static int note_held_device(void *context, uint64_t dev_id, uint64_t root)
{
	struct thin_rescue *r = context;
	int e = root < r->s->nr ? table_grow(&r->held, sizeof(*r->held), r->nr_held, &r->max_held, &r->memory) : 0;

	(void)dev_id;
	if (!e && root < r->s->nr)
		r->held[r->nr_held++] = (uint32_t)root;
	return e;
}

int rescue_walk_held(struct thin_rescue *r)
{
	struct thin_missing_walk walk = {
		.m = r->m, .tree = TREE_OF_DEVICES, .hole = note_held_hole, .device = note_held_device, .context = r,
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

int rescue_walk_held_devices(struct thin_rescue *r)
{
	struct thin_missing_walk walk = { .m = r->m, .tree = TREE_OF_MAPPINGS, .hole = note_held_hole, .context = r };
	int e = 0;

	for (uint64_t i = 0; i < r->nr_held && !e; i++) {
		struct thin_place place = { .parent = PROBLEM_NO_BLOCK, .block = r->held[i], .end = UINT64_MAX };

		e = thin_missing_follow(&walk, &place);
	}
	return e;
}

/* --- pieces --- */

int rescue_add_doubt(struct thin_rescue *r, uint64_t block, uint64_t dev_id)
{
	const struct node *n = &r->s->nodes[block];
	int e = table_grow(&r->doubts, sizeof(*r->doubts), r->nr_doubts, &r->max_doubts, &r->memory);

	if (!e)
		r->doubts[r->nr_doubts++] = (struct thin_doubt){
			.block = block, .mappings = n->count, .dev_id = dev_id,
		};
	return e;
}

static bool take_step(struct thin_rescue *r)
{
	r->steps -= r->steps > 0;
	return r->steps;
}

static int by_hole_and_key(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	if (x->hole != y->hole)
		return x->hole < y->hole ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

static uint64_t hole_of(const void *piece)
{
	return ((const struct piece *)piece)->hole;
}

struct piece *rescue_pieces_of(struct thin_rescue *r, uint64_t hole, unsigned *nr)
{
	uint64_t begin;

	if (r->nr_sorted != r->nr_pieces)
		qsort(r->pieces, r->nr_pieces, sizeof(*r->pieces), by_hole_and_key);
	r->nr_sorted = r->nr_pieces;
	begin = table_find(r->pieces, sizeof(*r->pieces), r->nr_pieces, hole_of, hole);
	*nr = (unsigned)(table_find(r->pieces, sizeof(*r->pieces), r->nr_pieces, hole_of, hole + 1) - begin);
	return r->pieces + begin;
}

/* Where the steps have run out it is not known, and so nothing is put there. */
static bool overlaps(struct thin_rescue *r, uint64_t hole, const struct node *n)
{
	for (uint64_t i = 0; i < r->nr_pieces && take_step(r); i++) {
		const struct piece *p = &r->pieces[i];

		if (p->hole == hole && p->first <= n->last && n->first <= p->last)
			return true;
	}
	return !r->steps;
}

/* While pieces are placed they are not sorted. */
static bool has_pieces(struct thin_rescue *r, uint64_t hole)
{
	for (uint64_t i = 0; i < r->nr_pieces && take_step(r); i++)
		if (r->pieces[i].hole == hole)
			return true;
	return !r->steps;
}

/* Where a pointer leads to what is sound, but belongs elsewhere, or to nothing, the pointer is wrong, and no block is dead. */
static bool is_pointer_wrong(const struct thin_rescue *r, const struct hole *h)
{
	enum node_kind kind = h->block < r->s->nr ? node_kind(&r->s->nodes[h->block]) : NODE_SUPERBLOCK;

	return (kind != NODE_NONE && kind != NODE_ZEROES) || !thin_missing_of(r->m, h->block);
}

/* So few mappings that a dead root was a leaf: nothing was below it, and what fits there is older, or a leak. */
static bool was_leaf(const struct thin_rescue *r, const struct hole *h)
{
	bool is_dead = h->block == PROBLEM_NO_BLOCK || !is_pointer_wrong(r, h);

	return !h->height && is_dead && r->origins[h->device].mapped <= MAX_LEAF_ENTRIES;
}

static bool lies_in(const struct thin_rescue *r, uint64_t hole, const struct node *n)
{
	const struct hole *h = &r->holes[hole];

	return n->first >= h->begin && n->last < h->end && (!h->height || n->level <= h->height) && !was_leaf(r, h);
}

/*
 * Where nothing else was put. A node as high as the hole takes its place alone, if a pointer was wrong; but where no count
 * tells, it is most likely an older version of what is dead.
 */
static bool has_place(struct thin_rescue *r, uint64_t hole, const struct node *n)
{
	const struct hole *h = &r->holes[hole];

	if (!h->height || n->level < h->height)
		return !overlaps(r, hole, n);
	return !thin_missing_is_unknown(r->m, (uint64_t)(n - r->s->nodes)) && is_pointer_wrong(r, h) && !has_pieces(r, hole);
}

int rescue_attach(struct thin_rescue *r, uint64_t block, uint64_t hole, bool is_certain)
{
	struct thin_missing_walk walk = {
		.m = r->m, .tree = TREE_OF_MAPPINGS, .hole = note_hole, .node = note_living, .context = r,
	};
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
		.is_proved = is_certain && !thin_missing_is_unknown(r->m, block) && !r->is_doubtful,
	};
	return thin_missing_follow(&walk, &place);
}

/* What is not decided yet. */
int rescue_keep_loose(struct thin_rescue *r, uint64_t block)
{
	int e = table_grow(&r->loose, sizeof(*r->loose), r->nr_loose, &r->max_loose, &r->memory);

	if (!e)
		r->loose[r->nr_loose++] = (uint32_t)block;
	return e;
}

unsigned rescue_find_holes(struct thin_rescue *r, uint64_t block, uint64_t found[MAX_FITS], bool *lies_anywhere)
{
	const struct node *n = &r->s->nodes[block];
	unsigned nr = 0;

	*lies_anywhere = false;
	for (uint64_t h = 0; h < r->nr_holes && nr <= MAX_FITS && take_step(r); h++) {
		if (!lies_in(r, h, n))
			continue;
		*lies_anywhere = true;
		if (!has_place(r, h, n))
			continue;
		if (nr < MAX_FITS)
			found[nr] = h;
		nr++;
	}
	return nr;
}

static int try_to_place(struct thin_rescue *r, uint64_t block)
{
	unsigned missing = thin_missing_of(r->m, block), nr;
	uint64_t found[MAX_FITS];
	bool lies_anywhere;
	int e = missing ? rescue_is_counted_below(r, block) : 0;

	if (e <= 0)
		return e;
	e = 0;
	nr = rescue_find_holes(r, block, found, &lies_anywhere);
	if (!lies_anywhere)
		return 0;
	if (nr > missing || nr > MAX_FITS)
		nr = 0;
	for (unsigned i = 0; i < nr && !e; i++)
		e = rescue_attach(r, block, found[i], true);
	return e || nr ? e : rescue_keep_loose(r, block);
}

/* Where others have been put, fewer places are left. */
static int try_again(struct thin_rescue *r)
{
	uint64_t before;
	int e = 0;

	do {
		uint64_t nr = r->nr_loose;

		before = r->nr_pieces;
		r->nr_loose = 0;
		for (uint64_t i = 0; i < nr && !e; i++) /* what stays loose goes where it was, or before */
			e = try_to_place(r, r->loose[i]);
	} while (!e && r->nr_pieces > before);
	return e;
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
	if (!e)
		e = try_again(r);
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
	size_t device;
	uint64_t mappings;
	int (*visit)(struct thin_rescue *r, size_t device, uint64_t hole); /* or NULL */
};

static int measure_below(struct measure *m, uint64_t block, unsigned depth);

static int measure_hole(struct measure *m, uint64_t hole, unsigned depth)
{
	int e = m->visit ? m->visit(m->r, m->device, hole) : 0;
	unsigned nr;
	const struct piece *pieces = rescue_pieces_of(m->r, hole, &nr);

	for (unsigned i = 0; i < nr && !e && take_step(m->r); i++)
		if (!pieces[i].is_dropped)
			e = measure_below(m, pieces[i].block, depth + 1);
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
	struct node_entries *node;
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

static int measure_device(struct measure *m)
{
	const struct gap *g = find_gap(m->r, PROBLEM_NO_BLOCK, 0, m->device);
	const struct thin_device *d = &m->r->devices[m->device];

	if (g)
		return measure_hole(m, g->hole, 0);
	return d->has_root ? measure_below(m, d->root, 0) : 0;
}

int rescue_measure(struct thin_rescue *r, size_t device, uint64_t *mappings)
{
	struct measure m = { .r = r, .device = device };
	int e = measure_device(&m);

	*mappings = m.mappings;
	return e;
}

static int for_each_hole_of(struct thin_rescue *r, size_t device,
			    int (*visit)(struct thin_rescue *r, size_t device, uint64_t hole))
{
	struct measure m = { .r = r, .device = device, .visit = visit };

	return measure_device(&m);
}

int rescue_for_each_hole(struct thin_rescue *r, int (*visit)(struct thin_rescue *r, size_t device, uint64_t hole))
{
	int e = 0;

	for (size_t i = 0; i < r->nr && !e; i++)
		e = r->origins[i].root == ROOT_OF_ANOTHER ? 0 : for_each_hole_of(r, i, visit);
	return e;
}

static int fill_hole(struct thin_rescue *r, size_t device, uint64_t hole)
{
	struct thin_past past = { .kind = PAST_UNPROVED, .device = device };
	unsigned nr;
	const struct piece *pieces = rescue_pieces_of(r, hole, &nr);

	r->holes[hole].is_full = true;
	for (unsigned i = 0; i < nr; i++)
		if (!pieces[i].is_proved)
			past.mappings += r->s->nodes[pieces[i].block].count;
	past.begin = r->holes[hole].begin;
	past.end = r->holes[hole].end;
	return past.mappings ? rescue_add_past(r, &past) : 0;
}

/* Of holes that are not proved to be full, pieces that are not proved to belong there. */
static int empty_hole(struct thin_rescue *r, size_t device, uint64_t hole)
{
	unsigned nr;
	struct piece *pieces = rescue_pieces_of(r, hole, &nr);

	(void)device;
	for (unsigned i = 0; !r->holes[hole].is_full && i < nr; i++)
		pieces[i].is_dropped |= !pieces[i].is_proved;
	return 0;
}

static int add_crack(struct thin_rescue *r, size_t device, const struct hole *h, uint64_t begin, uint64_t end)
{
	int e = table_grow(&r->cracks, sizeof(*r->cracks), r->nr_cracks, &r->max_cracks, &r->memory);

	if (!e && begin < end)
		r->cracks[r->nr_cracks++] = (struct thin_crack){ device, begin, end, h->block };
	return e;
}

/* Where there are no pieces, the hole is seen by who walks the tree. */
static int note_cracks(struct thin_rescue *r, size_t device, uint64_t hole)
{
	const struct hole *h = &r->holes[hole];
	uint64_t begin = h->begin;
	unsigned nr;
	const struct piece *pieces = rescue_pieces_of(r, hole, &nr);
	int e = 0;

	if (h->is_full || !nr)
		return 0;
	for (unsigned i = 0; i < nr && !e; i++) {
		e = add_crack(r, device, h, begin, pieces[i].first);
		begin = (uint64_t)pieces[i].last + 1;
	}
	return e ? e : add_crack(r, device, h, begin, h->end);
}

static int drop_pieces(struct thin_rescue *r)
{
	uint64_t kept = 0;
	int e = 0;

	for (uint64_t i = 0; i < r->nr_pieces; i++) {
		if (r->pieces[i].is_dropped)
			e = e ? e : rescue_keep_loose(r, r->pieces[i].block);
		else
			r->pieces[kept++] = r->pieces[i];
	}
	r->nr_pieces = r->nr_sorted = kept;
	return e;
}

/* Of what was not decided, that which lies there. */
static int note_undecided(struct thin_rescue *r, size_t device, uint64_t hole)
{
	struct thin_past past = { .kind = PAST_UNDECIDED, .device = device, .begin = UINT64_MAX };

	for (uint64_t i = 0; i < r->nr_loose && !r->holes[hole].is_full && take_step(r); i++) {
		const struct node *n = &r->s->nodes[r->loose[i]];

		if (!lies_in(r, hole, n) || overlaps(r, hole, n))
			continue;
		past.mappings++;
		past.begin = n->first < past.begin ? n->first : past.begin;
		past.end = (uint64_t)n->last + 1 > past.end ? (uint64_t)n->last + 1 : past.end;
	}
	return past.mappings ? rescue_add_past(r, &past) : 0;
}

/* Two that overlap are not both below one node: one of the counts is wrong, and which is not known. */
static void contest(struct thin_rescue *r)
{
	for (uint64_t i = 0; i < r->nr_loose; i++) {
		const struct node *n = &r->s->nodes[r->loose[i]];

		for (uint64_t k = 0; k < r->nr_pieces && take_step(r); k++) {
			struct piece *p = &r->pieces[k];

			if (p->first <= n->last && n->first <= p->last && lies_in(r, p->hole, n))
				p->is_proved = false;
		}
	}
}

/* Pieces may have had holes of their own. */
static int sort_gaps(struct thin_rescue *r)
{
	int e;

	qsort(r->gaps, r->nr_gaps, sizeof(*r->gaps), by_place);
	e = rescue_solve(r);
	contest(r);
	qsort(r->gaps, r->nr_gaps, sizeof(*r->gaps), by_place);
	return e;
}

/* A device that has all the mappings that it should have has no holes any more. */
static int prove(struct thin_rescue *r)
{
	uint64_t mappings;
	int e = sort_gaps(r);

	for (size_t i = 0; i < r->nr && !e; i++) {
		e = rescue_measure(r, i, &mappings);
		if (!e && mappings == r->origins[i].mapped)
			e = for_each_hole_of(r, i, fill_hole);
	}
	for (size_t i = 0; i < r->nr && !e; i++) {
		e = rescue_measure(r, i, &mappings);
		if (!e && mappings != r->origins[i].mapped)
			e = for_each_hole_of(r, i, empty_hole);
	}
	if (!e)
		e = drop_pieces(r);
	for (size_t i = 0; i < r->nr && !e; i++)
		e = for_each_hole_of(r, i, note_cracks);
	return e ? e : rescue_for_each_hole(r, note_undecided);
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
