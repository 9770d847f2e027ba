// SPDX-License-Identifier: LGPL-2.1-or-later
/* The roots of devices whose place in the top level is dead. */
#include <errno.h>
#include <stdlib.h>

#include "meta/thin_rescue_int.h"

/* --- kinship: what older versions of a device's tree lead to --- */

static bool has_bit(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static int mark_below(struct thin_rescue *r, uint64_t block)
{
	struct rescue_node *n;
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

/* Roots in older nodes of the top level, and the device's own. */
static int mark_device(struct thin_rescue *r, size_t device)
{
	uint64_t words = r->s->nr / 64 + 1, id = r->devices[device].id;
	int e = 0;
	size_t i;

	if (!r->below)
		r->below = scavenge_alloc(r->s, words, sizeof(*r->below));
	if (!r->below)
		return -ENOMEM;
	for (uint64_t w = 0; w < words; w++)
		r->below[w] = 0;
	r->below_of = device;
	if (rescue_find_hints(r, id, &i))
		for (; i < r->nr_hints && r->hints[i].dev_id == id && !e; i++)
			e = mark_below(r, r->hints[i].root);
	return e;
}

/* Entries of a leaf that an older leaf has as well. */
static unsigned count_common(const struct rescue_node *a, const struct rescue_node *b)
{
	unsigned common = 0;

	for (unsigned i = 0, j = 0; i < a->nr && j < b->nr;) {
		common += a->keys[i] == b->keys[j] && a->values[i] == b->values[j];
		if (a->keys[i] <= b->keys[j])
			i++;
		else
			j++;
	}
	return common;
}

static int compare_leaves(struct thin_rescue *r, uint64_t block, const struct rescue_node *leaf, unsigned *score)
{
	const struct node *n = &r->s->nodes[block];
	struct rescue_node *old = malloc(sizeof(*old));
	int e = old ? 0 : -ENOMEM;

	for (uint64_t b = 1; b < r->s->nr && e >= 0 && r->steps; b++) {
		const struct node *o = &r->s->nodes[b];
		unsigned common;

		r->steps--;
		if (!has_bit(r->below, b) || o->level != 1 || o->last < n->first || o->first > n->last)
			continue;
		e = rescue_read(r, b, old);
		common = e > 0 ? count_common(leaf, old) : 0;
		*score = common > *score ? common : *score;
	}
	free(old);
	return e < 0 ? e : 0;
}

int rescue_kinship(struct thin_rescue *r, size_t device, uint64_t block, unsigned *score)
{
	struct rescue_node *n;
	int e = r->below_of == device ? 0 : mark_device(r, device);

	*score = 0;
	if (e)
		return e;
	if (has_bit(r->below, block)) {
		*score = UINT32_MAX;
		return 0;
	}
	n = malloc(sizeof(*n));
	e = n ? rescue_read(r, block, n) : -ENOMEM;
	if (e > 0 && n->is_leaf)
		e = compare_leaves(r, block, n, score);
	for (unsigned i = 0; e > 0 && !n->is_leaf && i < n->nr; i++)
		*score += n->values[i] < r->s->nr && has_bit(r->below, n->values[i]);
	free(n);
	return e < 0 ? e : 0;
}

/* --- roots --- */

static bool is_rootless(const struct thin_rescue *r, size_t i)
{
	return !r->devices[i].has_root && r->origins[i].mapped && r->origins[i].mapped != RECORD_UNKNOWN;
}

static int use_root(struct thin_rescue *r, size_t i, uint64_t block)
{
	r->devices[i].has_root = true;
	r->devices[i].root = block;
	r->origins[i].root = ROOT_REATTACHED;
	return rescue_walk(r, i);
}

/* A tree that has all of the device's mappings; or, with @has_holes, one that has lost some. */
static bool is_root_of(const struct thin_rescue *r, size_t device, uint64_t block, bool has_holes)
{
	const struct node *n = &r->s->nodes[block];
	uint64_t mapped = r->origins[device].mapped;

	if (node_kind(n) != NODE_MAPPINGS || !thin_missing_of(r->m, block))
		return false;
	return has_holes ? n->holes && n->count < mapped : !n->holes && n->count == mapped;
}

/* The root that a node of the top level named, if there is one that is still counted. */
static int root_by_hint(struct thin_rescue *r, size_t device, bool has_holes)
{
	uint64_t id = r->devices[device].id, found = PROBLEM_NO_BLOCK;
	unsigned nr = 0;
	size_t i;

	if (!rescue_find_hints(r, id, &i))
		return 0;
	for (; i < r->nr_hints && r->hints[i].dev_id == id; i++)
		if (is_root_of(r, device, r->hints[i].root, has_holes)) {
			found = r->hints[i].root;
			nr++;
		}
	return nr == 1 ? use_root(r, device, found) : 0;
}

/* Nodes above which another one that was cut off lies are no roots. */
static int mark_children(struct thin_rescue *r, uint64_t *is_child)
{
	struct rescue_node *n = malloc(sizeof(*n));
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

/* The only one that fits by the number of mappings; or of several the one that older versions of the device tell. */
static int root_by_contents(struct thin_rescue *r, size_t device, const uint64_t *is_child, bool has_holes)
{
	uint64_t best = PROBLEM_NO_BLOCK;
	unsigned most = 0, nr = 0, nr_best = 0, pointers = 0, rivals = 0;
	int e = 0;

	for (uint64_t b = 1; b < r->s->nr && r->steps && !e; b++) {
		unsigned score;

		r->steps--;
		if (has_bit(is_child, b) || !is_root_of(r, device, b, has_holes))
			continue;
		e = rescue_kinship(r, device, b, &score);
		nr++;
		pointers += thin_missing_of(r->m, b);
		nr_best = score > most || nr == 1 ? 1 : nr_best + (score == most);
		best = score > most || nr == 1 ? b : best;
		most = score > most ? score : most;
	}
	for (size_t i = 0; i < r->nr; i++)
		rivals += is_rootless(r, i) && r->origins[i].mapped == r->origins[device].mapped;
	if (e || !nr)
		return e;
	if ((nr == 1 && !has_holes && rivals <= pointers) || (nr_best == 1 && most))
		return use_root(r, device, best);
	return rescue_add_doubt(r, best, r->devices[device].id);
}

static int for_each_rootless(struct thin_rescue *r, const uint64_t *is_child, bool has_holes)
{
	int e = 0;

	for (size_t i = 0; i < r->nr && !e; i++) {
		if (is_rootless(r, i))
			e = root_by_hint(r, i, has_holes);
		if (!e && is_rootless(r, i) && is_child)
			e = root_by_contents(r, i, is_child, has_holes);
	}
	return e;
}

int rescue_roots(struct thin_rescue *r)
{
	uint64_t *is_child, nr = 0;
	int e;

	for (size_t i = 0; i < r->nr; i++)
		nr += is_rootless(r, i);
	if (!nr)
		return 0;
	e = for_each_rootless(r, NULL, false);
	is_child = scavenge_alloc(r->s, r->s->nr / 64 + 1, sizeof(*is_child));
	if (!e)
		e = is_child ? mark_children(r, is_child) : -ENOMEM;
	if (!e)
		e = for_each_rootless(r, is_child, false);
	if (!e)
		e = for_each_rootless(r, NULL, true);
	if (!e)
		e = for_each_rootless(r, is_child, true);
	free(is_child);
	return e;
}
