// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What was: devices of other generations, and older versions of what is dead. Data blocks that somebody has at another place
 * by now are not theirs any more (thin_claims.h).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/table.h"
#include "meta/thin_disk.h"
#include "meta/thin_rescue_int.h"

static int walk_entries(struct thin_rescue *r, uint64_t root, uint64_t begin, uint64_t end, uint32_t owner, uint64_t *nr,
			uint64_t *holes)
{
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = PROBLEM_NO_DEVICE };
	const uint8_t *value;
	struct pd_cursor c;
	uint64_t key;
	int e = 0;

	*nr = 0;
	pd_cursor_open(&c, &r->pool.reader, &ctx, root, sizeof(le64));
	pd_cursor_seek(&c, begin);
	c.ahead_end = end;
	while (e >= 0 && (e = pd_cursor_next_entry(&c, &key, &value)) > 0 && key < end) {
		e = thin_claims_add(&r->claims, owner, key, le_load(value, 8));
		++*nr;
	}
	*holes = c.holes;
	pd_cursor_close(&c);
	return e < 0 ? e : 0;
}

/* --- devices of other generations --- */

int rescue_add_past(struct thin_rescue *r, const struct thin_past *past)
{
	int e = table_grow(&r->past, sizeof(*past), r->nr_past, &r->max_past, &r->memory);

	if (!e)
		r->past[r->nr_past++] = *past;
	return e;
}

static int claim_devices(struct thin_rescue *r)
{
	int e = 0;

	for (size_t i = 0; i < r->nr && !e; i++) {
		uint64_t nr, holes, mapped = r->origins[i].mapped;

		if (r->origins[i].root != ROOT_OF_ANOTHER)
			continue;
		e = walk_entries(r, r->devices[i].root, 0, UINT64_MAX, (uint32_t)i | OWNER_IS_DEVICE, &nr, &holes);
		if (!e && mapped != RECORD_UNKNOWN && (nr > mapped || (nr < mapped && !holes)))
			e = rescue_add_past(r, &(struct thin_past){
				.kind = PAST_DOUBTFUL, .device = i, .end = UINT64_MAX, .mappings = nr,
			});
	}
	return e;
}

/* --- older versions of holes --- */

/* The root that the device had in the generation. 1, 0, -errno. */
static int find_root(const struct thin_rescue *r, const struct thin_generation *g, uint64_t dev_id, uint64_t *root)
{
	struct thin_pool pool = r->pool;
	struct thin_device d;
	int e;

	thin_pool_set_roots(&pool, g->root, PROBLEM_NO_BLOCK);
	e = thin_device_find(&pool, dev_id, &d);
	*root = d.root;
	return e;
}

static bool is_empty(struct thin_rescue *r, uint64_t hole)
{
	unsigned nr;

	rescue_pieces_of(r, hole, &nr);
	return !nr;
}

/* Nodes that have the most children in common with the one above the hole: older versions of it, or a snapshot's. */
static int find_relative(struct thin_rescue *r, const struct thin_place *p, uint64_t *relative)
{
	struct node_entries *parent = malloc(sizeof(*parent)), *other = malloc(sizeof(*other));
	unsigned most = 0, level = r->s->nodes[p->parent].level;
	int e = parent && other ? rescue_read(r, p->parent, parent) : -ENOMEM;

	*relative = PROBLEM_NO_BLOCK;
	for (uint64_t b = 1; e > 0 && b < r->s->nr && r->steps; b++) {
		const struct node *n = &r->s->nodes[b];
		unsigned common = 0;
		int found;

		r->steps--;
		if (b == p->parent || node_kind(n) != NODE_MAPPINGS || n->level != level || n->first > p->begin ||
		    n->last < p->begin)
			continue;
		found = rescue_read(r, b, other);
		for (unsigned i = 0; found > 0 && i < other->nr; i++) /* the same dead block is no version */
			found = other->values[i] == p->block ? 0 : found;
		common = found > 0 ? scavenge_count_common(parent, other) : 0;
		if (common > most) {
			most = common;
			*relative = b;
		}
		e = found < 0 ? found : e;
	}
	free(parent);
	free(other);
	return e < 0 ? e : 0;
}

static int claim_of_relative(struct thin_rescue *r, uint64_t h)
{
	const struct thin_place *p = &r->holes[h].place;
	uint64_t relative = PROBLEM_NO_BLOCK, nr, holes;
	int e = p->parent == PROBLEM_NO_BLOCK ? 0 : find_relative(r, p, &relative);

	if (e || relative == PROBLEM_NO_BLOCK)
		return e;
	e = walk_entries(r, relative, r->holes[h].begin, r->holes[h].end, (uint32_t)h, &nr, &holes);
	return e == -E2BIG ? 0 : e;
}

/* Of the newest generation that has something there. What has no room in memory is not offered. */
static int claim_hole(struct thin_rescue *r, uint64_t h)
{
	struct hole *hole = &r->holes[h];
	uint64_t nr = 0, holes, root;
	int e = 0;

	for (size_t i = 0; i < thin_scavenge_nr_generations(r->s) && !nr && e >= 0 && r->steps; i++) {
		const struct thin_generation *g = thin_scavenge_generation(r->s, i);

		r->steps--;
		if (g->source == SOURCE_CURRENT || g->state == STATE_LOST || g->root == r->pool.sb.data_mapping_root)
			continue;
		e = find_root(r, g, r->devices[hole->device].id, &root);
		if (e > 0)
			e = walk_entries(r, root, hole->begin, hole->end, (uint32_t)h, &nr, &holes);
		if (nr)
			hole->generation = i;
	}
	if (e >= 0 && !nr)
		e = claim_of_relative(r, h);
	return e == -E2BIG ? 0 : e < 0 ? e : 0;
}

static int claim_holes(struct thin_rescue *r)
{
	int e = 0;

	for (uint64_t h = 0; r->args.look_for_stale && h < r->nr_holes && !e; h++)
		if (!r->holes[h].is_full && is_empty(r, h))
			e = claim_hole(r, h);
	return e;
}

/* --- who has the data blocks now --- */

static bool is_living_leaf(const struct thin_rescue *r, uint64_t block)
{
	return r->living[block / 64] >> block % 64 & 1 && r->s->nodes[block].level == 1;
}

static bool next_living(void *context, uint64_t *block, uint64_t *nr)
{
	struct thin_rescue *r = context;

	while (r->at < r->s->nr && !is_living_leaf(r, r->at))
		r->at++;
	*block = r->at;
	while (r->at < r->s->nr && is_living_leaf(r, r->at))
		r->at++;
	*nr = r->at - *block;
	return *nr;
}

static int judge_leaf(void *context, uint64_t block, const void *data, int error)
{
	struct thin_rescue *r = context;
	struct pd_node n;
	struct problem p;

	if (error == -ENOMEM || error == -EDEADLK)
		return error;
	if (error || !pd_node_decode(data, block, sizeof(le64), &n, &p) || !n.is_leaf)
		return 0;
	for (unsigned i = 0; i < n.nr; i++)
		thin_claims_judge(&r->claims, pd_key(&n, i), pd_value64(&n, i));
	return 0;
}

static bool has_open_holes(const struct thin_rescue *r)
{
	for (uint64_t h = 0; h < r->nr_holes; h++)
		if (!r->holes[h].is_full)
			return true;
	return false;
}

/*
 * What the dead leaf has is counted as used: a block that is not was given up. What a device of another generation claims,
 * and is used though no living device has it, may be what a dead leaf has.
 */
static int judge_by_counts(struct thin_rescue *r)
{
	const struct pd_sm_root *root = &r->pool.live.data_sm;
	struct thin_claims *c = &r->claims;
	bool is_open = has_open_holes(r);
	struct pd_sm_lookup l;
	int e = 1;

	if (r->pool.is_lost || root->nr_blocks > THIN_MAX_DATA_BLOCKS)
		return 0;
	pd_sm_lookup_open(&l, &r->pool.reader, root, false, root->nr_blocks);
	for (uint64_t i = 0; i < c->nr && e >= 0; i++) {
		uint64_t data = c->table[i].value >> THIN_TIME_BITS, count = 0, end;
		bool is_device = c->table[i].owner & OWNER_IS_DEVICE;

		e = pd_sm_lookup(&l, data, data + 1, &count, &end);
		if (e > 0 && !count && !is_device)
			c->table[i].is_rejected = true;
		if (e > 0 && count && !c->table[i].is_shared && is_device && is_open)
			c->table[i].is_rejected = true;
		if (data >= root->nr_blocks)
			c->table[i].is_rejected = true;
	}
	pd_sm_lookup_close(&l);
	return e < 0 ? e : 0;
}

static int judge_claims(struct thin_rescue *r)
{
	struct bufio_scan scan = { .next = next_living, .block = judge_leaf, .context = r, .nr_blocks = r->s->nr };
	int e = thin_claims_sort(&r->claims);

	r->at = 0;
	if (!e)
		e = bufio_scan(r->pool.reader.client, &scan);
	if (!e)
		e = judge_by_counts(r);
	thin_claims_finish(&r->claims);
	return e;
}

/* --- what comes of it --- */

static uint64_t owner_of(const void *claim)
{
	return ((const struct thin_claim *)claim)->owner;
}

void rescue_claims_of(const struct thin_rescue *r, uint32_t owner, uint64_t *begin, uint64_t *end)
{
	const struct thin_claims *c = &r->claims;

	*begin = table_find(c->table, sizeof(*c->table), c->nr, owner_of, owner);
	*end = table_find(c->table, sizeof(*c->table), c->nr, owner_of, (uint64_t)owner + 1);
}

/* Neighbours are said together. */
static int note_reused(struct thin_rescue *r, size_t device)
{
	uint64_t begin, end, next;
	int e = 0;

	rescue_claims_of(r, (uint32_t)device | OWNER_IS_DEVICE, &begin, &end);
	for (uint64_t i = begin; i < end && !e; i = next) {
		const struct thin_claim *c = &r->claims.table[i];

		for (next = i + 1; next < end && r->claims.table[next].is_rejected == c->is_rejected &&
				   r->claims.table[next].key == c[next - i - 1].key + 1; next++)
			;
		if (c->is_rejected)
			e = rescue_add_past(r, &(struct thin_past){
				.kind = PAST_REUSED, .device = device, .begin = c->key, .end = c->key + (next - i),
				.mappings = next - i,
			});
	}
	return e;
}

static int note_stale(struct thin_rescue *r, size_t device, uint64_t hole)
{
	struct thin_past past = { .kind = PAST_STALE, .device = device, .generation = r->holes[hole].generation };
	uint64_t begin, end;

	rescue_claims_of(r, (uint32_t)hole, &begin, &end);
	for (uint64_t i = begin; i < end; i++) {
		const struct thin_claim *c = &r->claims.table[i];

		if (c->is_rejected)
			continue;
		past.begin = past.mappings++ ? past.begin : c->key;
		past.end = c->key + 1;
	}
	if (past.mappings && r->args.use_stale) { /* of all that was there it is not known what has changed since */
		past.begin = r->holes[hole].begin;
		past.end = r->holes[hole].end;
	}
	return past.mappings ? rescue_add_past(r, &past) : 0;
}

int rescue_past(struct thin_rescue *r)
{
	int e;

	r->claims.memory = r->memory / 2;
	e = claim_devices(r);
	if (!e)
		e = claim_holes(r);
	if (e || !r->claims.nr)
		return e;
	e = judge_claims(r);
	for (size_t i = 0; i < r->nr && !e; i++)
		e = r->origins[i].root == ROOT_OF_ANOTHER ? note_reused(r, i) : 0;
	return e ? e : rescue_for_each_hole(r, note_stale);
}
