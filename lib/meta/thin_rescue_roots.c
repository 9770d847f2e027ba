// SPDX-License-Identifier: LGPL-2.1-or-later
/* The roots of devices whose place in the top level is dead. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "meta/thin_rescue_int.h"

/* --- kinship: what older versions of a device's tree lead to --- */

static bool has_bit(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static int mark_below(struct thin_rescue *r, uint64_t block)
{
	struct node_entries *n;
	int e = 0;

	if (block >= r->s->nr || node_kind(&r->s->nodes[block]) != NODE_MAPPINGS || has_bit(r->below, block))
		return 0;
	r->below[block / 64] |= UINT64_C(1) << block % 64;
	if (r->s->nodes[block].level <= 1)
		return 0;
	n = malloc(sizeof(*n));
	e = n ? rescue_read(r, block, n) : -ENOMEM;
	for (unsigned i = 0, nr = e > 0 ? n->nr : 0; i < nr && e >= 0; i++)
		if (n->values[i] < r->s->nr && r->s->nodes[n->values[i]].level < r->s->nodes[block].level)
			e = mark_below(r, n->values[i]);
	free(n);
	return e < 0 ? e : 0;
}

/* The last root that is known. */
static int mark_device(struct thin_rescue *r, uint64_t id)
{
	uint64_t words = r->s->nr / 64 + 1;

	if (!r->below)
		r->below = scavenge_alloc(r->s, words, sizeof(*r->below));
	if (!r->below)
		return -ENOMEM;
	memset(r->below, 0, words * sizeof(*r->below));
	r->below_of = id;
	return mark_below(r, rescue_last_known_root(r, id));
}

/* Whether a leaf has an entry that an older leaf of the device has as well. 1, 0, -errno. */
static int has_common_entries(struct thin_rescue *r, uint64_t block, const struct node_entries *leaf)
{
	const struct node *n = &r->s->nodes[block];
	struct node_entries *old = malloc(sizeof(*old));
	int e = old ? 0 : -ENOMEM;

	for (uint64_t b = 1; b < r->s->nr && !e && r->steps; b++) {
		const struct node *o = &r->s->nodes[b];

		r->steps--;
		if (!has_bit(r->below, b) || o->level != 1 || o->last < n->first || o->first > n->last)
			continue;
		e = rescue_read(r, b, old);
		if (e > 0)
			e = scavenge_count_common(leaf, old) > 0;
	}
	free(old);
	return e;
}

/* Whether older versions of the device's tree had the tree at @block, or any of it. 1, 0, -errno. */
static int is_kin(struct thin_rescue *r, uint64_t dev_id, uint64_t block)
{
	struct node_entries *n;
	int e = r->below_of == dev_id ? 0 : mark_device(r, dev_id);

	if (e || has_bit(r->below, block))
		return e ? e : 1;
	n = malloc(sizeof(*n));
	e = n ? rescue_read(r, block, n) : -ENOMEM;
	if (e > 0 && n->is_leaf)
		e = has_common_entries(r, block, n);
	else if (e > 0)
		for (unsigned i = e = 0; i < n->nr && !e; i++)
			e = n->values[i] < r->s->nr && has_bit(r->below, n->values[i]);
	free(n);
	return e;
}

/* --- roots --- */

static bool is_rootless(const struct thin_rescue *r, size_t i)
{
	return !r->devices[i].has_root && r->origins[i].mapped && r->origins[i].mapped != RECORD_UNKNOWN;
}

static int use_root(struct thin_rescue *r, size_t i, uint64_t block)
{
	bool is_proved = !thin_missing_is_unknown(r->m, block);
	int e;

	r->devices[i].has_root = true;
	r->devices[i].root = block;
	r->origins[i].root = ROOT_REATTACHED;
	e = rescue_walk(r, i);
	return e || is_proved ? e : rescue_add_past(r, &(struct thin_past){
		.kind = PAST_UNPROVED, .device = i, .end = UINT64_MAX, .mappings = r->s->nodes[block].count,
	});
}

/* A tree that has all of the device's mappings; or, with @has_holes, one that has lost some. 1, 0, -errno. */
static int is_root_of(struct thin_rescue *r, size_t device, uint64_t block, bool has_holes)
{
	const struct node *n = &r->s->nodes[block];
	uint64_t mapped = r->origins[device].mapped;

	if (node_kind(n) != NODE_MAPPINGS || !thin_missing_of(r->m, block))
		return 0;
	if (has_holes ? !n->holes || n->count >= mapped : n->holes || n->count != mapped)
		return 0;
	return rescue_is_counted_below(r, block);
}

static bool has_new_devices(const struct thin_rescue *r)
{
	for (size_t i = 0; i < r->nr; i++)
		if (is_rootless(r, i) && rescue_last_known_root(r, r->devices[i].id) == PROBLEM_NO_BLOCK)
			return true;
	return false;
}

/*
 * The root that the last generation had that knew the device, if it is still counted: the device was not changed since, or
 * it is a snapshot's by now, which has the same number of mappings only if the device was not changed. Of a tree that lost
 * some the number tells nothing: then there must be no new device that could have it.
 */
static int all_by_last_known(struct thin_rescue *r, bool has_holes)
{
	int e = 0;

	if (has_holes && has_new_devices(r))
		return 0;
	for (size_t i = 0; i < r->nr && !e; i++) {
		uint64_t root = is_rootless(r, i) ? rescue_last_known_root(r, r->devices[i].id) : PROBLEM_NO_BLOCK;

		e = root == PROBLEM_NO_BLOCK ? 0 : is_root_of(r, i, root, has_holes);
		if (e > 0)
			e = use_root(r, i, root);
	}
	return e;
}

/* Nodes above which another one that was cut off lies are no roots. */
static int mark_children(struct thin_rescue *r, uint64_t *is_child)
{
	struct node_entries *n = malloc(sizeof(*n));
	int e = n ? 0 : -ENOMEM;

	for (uint64_t b = 1; b < r->s->nr && e >= 0; b++) {
		if (node_kind(&r->s->nodes[b]) != NODE_MAPPINGS || r->s->nodes[b].level < 2 || !thin_missing_of(r->m, b))
			continue;
		e = rescue_read(r, b, n);
		for (unsigned i = 0; e > 0 && i < n->nr; i++)
			if (n->values[i] < r->s->nr)
				is_child[n->values[i] / 64] |= UINT64_C(1) << n->values[i] % 64;
	}
	free(n);
	return e < 0 ? e : 0;
}

/* Trees that were cut off, by their number of mappings. */
struct tree {
	uint32_t mappings, block;
};

struct trees {
	struct tree *table;
	uint64_t nr;
};

static int by_mappings(const void *a, const void *b)
{
	const struct tree *x = a, *y = b;

	if (x->mappings != y->mappings)
		return x->mappings < y->mappings ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

/* What the space map tells nothing of is cut off as well, if no node leads there; unless it @is_counted. */
static bool is_cut_off(const struct thin_rescue *r, uint64_t block, bool is_counted)
{
	return node_kind(&r->s->nodes[block]) == NODE_MAPPINGS && thin_missing_of(r->m, block) &&
	       !(is_counted && thin_missing_is_unknown(r->m, block));
}

static int list_trees(struct thin_rescue *r, bool is_counted, struct trees *t)
{
	uint64_t *is_child = scavenge_alloc(r->s, r->s->nr / 64 + 1, sizeof(*is_child)), nr = 0;
	int e = is_child ? mark_children(r, is_child) : -ENOMEM;

	for (uint64_t b = 1; b < r->s->nr && !e; b++)
		nr += is_cut_off(r, b, is_counted) && !has_bit(is_child, b);
	if (!e) {
		t->table = scavenge_alloc(r->s, nr, sizeof(*t->table));
		e = t->table ? 0 : -ENOMEM;
	}
	for (uint64_t b = 1; b < r->s->nr && !e; b++)
		if (is_cut_off(r, b, is_counted) && !has_bit(is_child, b))
			t->table[t->nr++] = (struct tree){ r->s->nodes[b].count, (uint32_t)b };
	if (!e)
		qsort(t->table, t->nr, sizeof(*t->table), by_mappings);
	free(is_child);
	return e;
}

static uint64_t mappings_of(const void *tree)
{
	return ((const struct tree *)tree)->mappings;
}

static bool has_more_rivals(const struct thin_rescue *r, size_t device, unsigned most)
{
	unsigned rivals = 0;

	for (size_t i = 0; i < r->nr && rivals <= most; i++)
		rivals += is_rootless(r, i) && r->origins[i].mapped == r->origins[device].mapped;
	return rivals > most;
}

/* The only one that has the right number of mappings, unless other devices have as many. */
static int root_by_contents(struct thin_rescue *r, size_t device, const struct trees *t)
{
	uint64_t found = PROBLEM_NO_BLOCK, mapped = r->origins[device].mapped;
	uint64_t i = table_find(t->table, sizeof(*t->table), t->nr, mappings_of, mapped);
	unsigned nr = 0;
	int e = 0;

	for (; i < t->nr && t->table[i].mappings == mapped && nr < 2 && e >= 0; i++) {
		e = is_root_of(r, device, t->table[i].block, false);
		if (e <= 0)
			continue;
		found = t->table[i].block;
		nr++;
	}
	if (e < 0 || !nr)
		return e < 0 ? e : 0;
	if (nr > 1 || has_more_rivals(r, device, thin_missing_of(r->m, found)))
		return rescue_add_doubt(r, found, r->devices[device].id);
	r->origins[device].is_by_number = true;
	return use_root(r, device, found);
}

/* A tree that was found by its number of mappings may be a part of another, as long as some device has none. */
static int doubt_numbers(struct thin_rescue *r)
{
	bool is_open = false;
	int e = 0;

	for (size_t i = 0; i < r->nr; i++)
		is_open |= is_rootless(r, i);
	for (size_t i = 0; is_open && i < r->nr && !e; i++)
		if (r->origins[i].is_by_number)
			e = rescue_add_past(r, &(struct thin_past){
				.kind = PAST_UNPROVED, .device = i, .end = UINT64_MAX, .mappings = r->origins[i].mapped,
			});
	return e;
}

static int all_by_contents(struct thin_rescue *r)
{
	struct trees t = { .nr = 0 };
	int e = list_trees(r, false, &t);

	for (size_t i = 0; i < r->nr && !e; i++)
		e = is_rootless(r, i) ? root_by_contents(r, i, &t) : 0;
	free(t.table);
	return e;
}

int rescue_roots(struct thin_rescue *r)
{
	bool is_needed = false;
	int e;

	for (size_t i = 0; i < r->nr; i++)
		is_needed |= is_rootless(r, i);
	if (!is_needed)
		return 0;
	e = all_by_last_known(r, false);
	if (!e)
		e = all_by_contents(r);
	if (!e)
		e = all_by_last_known(r, true);
	return e ? e : doubt_numbers(r);
}

/* --- devices that no details know --- */

/* A tree that was cut off, and an id that had one like it. */
struct match {
	uint32_t dev_id, block;
};

#define MAX_MATCHES 4096

struct matches {
	struct match *table;
	uint64_t nr, max;
};

/* Each tree that was cut off, as a version of those that the id had. */
static int match_id(struct thin_rescue *r, uint64_t dev_id, const struct trees *trees, struct matches *t)
{
	int e = 0;

	for (uint64_t i = 0; i < trees->nr && e >= 0 && r->steps && t->nr < MAX_MATCHES; i++) {
		r->steps--;
		e = is_kin(r, dev_id, trees->table[i].block);
		if (e <= 0)
			continue;
		e = table_grow(&t->table, sizeof(*t->table), t->nr, &t->max, &r->memory);
		if (!e)
			t->table[t->nr++] = (struct match){ (uint32_t)dev_id, trees->table[i].block };
	}
	return e;
}

/* Nobody else has to do with the tree, and the device has no other. */
static bool is_only_match(const struct matches *t, uint64_t i)
{
	for (uint64_t j = 0; j < t->nr; j++)
		if (j != i && (t->table[j].block == t->table[i].block || t->table[j].dev_id == t->table[i].dev_id))
			return false;
	return true;
}

static int note_adopted(struct thin_rescue *r, uint64_t dev_id, uint64_t block)
{
	struct thin_past past = { .kind = PAST_UNPROVED, .end = UINT64_MAX, .mappings = r->s->nodes[block].count };

	while (r->devices[past.device].id != dev_id)
		past.device++;
	return rescue_add_past(r, &past);
}

static int use_matches(struct thin_rescue *r, struct matches *t)
{
	int e = 0;

	for (uint64_t i = 0; i < t->nr && !e; i++) {
		const struct match *m = &t->table[i];

		if (!thin_missing_of(r->m, m->block) || rescue_has_device(r, m->dev_id))
			continue;
		if (!is_only_match(t, i) || !r->steps || t->nr == MAX_MATCHES) { /* not all were compared */
			e = rescue_add_doubt(r, m->block, m->dev_id);
			continue;
		}
		e = rescue_adopt(r, m->dev_id, m->block);
		if (!e)
			e = note_adopted(r, m->dev_id, m->block);
	}
	return e;
}

/* One tree, and one device, that are left over. */
static int match_last(struct thin_rescue *r, const struct trees *t)
{
	uint64_t block = PROBLEM_NO_BLOCK, id = PROBLEM_NO_DEVICE;
	unsigned nr_trees = 0, nr_ids = 0;

	for (uint64_t i = 0; i < t->nr; i++)
		if (thin_missing_of(r->m, t->table[i].block)) {
			block = t->table[i].block;
			nr_trees += thin_missing_of(r->m, block);
		}
	for (uint64_t i = 0; i < r->nr_last_known; i++)
		if (!rescue_has_device(r, r->last_known[i].dev_id)) {
			id = r->last_known[i].dev_id;
			nr_ids++;
		}
	if (!nr_trees)
		r->has_unknown_devices = thin_missing_is_unknown(r->m, 0);
	if (nr_trees != 1 || nr_ids != 1)
		return 0;
	r->has_unknown_devices = false;
	return rescue_adopt(r, id, block);
}

int rescue_unknown(struct thin_rescue *r)
{
	struct trees trees = { .nr = 0 };
	struct matches t = { .nr = 0 };
	int e = list_trees(r, true, &trees);

	for (uint64_t i = 0; i < r->nr_last_known && !e; i++)
		if (!rescue_has_device(r, r->last_known[i].dev_id))
			e = match_id(r, r->last_known[i].dev_id, &trees, &t);
	if (!e)
		e = use_matches(r, &t);
	if (!e)
		e = match_last(r, &trees);
	free(t.table);
	free(trees.table);
	return e;
}
