// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Pieces that several holes may have, as a device's and its snapshot's. Pieces that overlap cannot have the same place: so
 * who takes one leaves the others to the rest, and a group of pieces that overlap, each the next, has few solutions. Of all
 * ways to solve all groups, the right one gives each device to the last mapping what it should have; if it is the only one
 * that does, it is taken. What older versions of the trees have in common with a piece is no evidence here: what a snapshot
 * has is an older version of its origin's tree.
 */
#include <errno.h>
#include <stdlib.h>

#include "meta/thin_rescue_int.h"

#define MAX_CLAIMS 4096
#define MAX_SOLUTIONS 16 /* of a group */
#define MAX_TRIES 1000000
#define MAX_DEVICES 16   /* whose numbers are looked at */

struct claim {
	const struct node *node;
	uint32_t block;
	uint16_t missing, nr;
	uint64_t holes[MAX_FITS];
	uint16_t chosen; /* bits of holes */
};

struct solution {
	int64_t mappings[MAX_DEVICES]; /* that it gives each */
	uint16_t *chosen;              /* by claim */
};

struct group {
	struct claim *claims;
	unsigned nr, nr_solutions;
	struct solution solutions[MAX_SOLUTIONS];
	unsigned taken, right;
};

struct puzzle {
	struct thin_rescue *r;
	struct group *groups;
	size_t nr_groups;
	size_t devices[MAX_DEVICES];
	int64_t lack[MAX_DEVICES], lack_before[MAX_DEVICES];
	unsigned nr_devices;
	bool has_too_many, has_unknown; /* devices; numbers */
	uint64_t tries;
	unsigned nr_matches; /* of all groups together */
};

/* --- the solutions of a group --- */

static unsigned device_number(struct puzzle *p, size_t device)
{
	unsigned i = 0;

	while (i < p->nr_devices && p->devices[i] != device)
		i++;
	if (i == MAX_DEVICES)
		p->has_too_many = true;
	else if (i == p->nr_devices)
		p->devices[p->nr_devices++] = device;
	return i < MAX_DEVICES ? i : 0;
}

static bool clashes(struct puzzle *p, const struct group *g, unsigned claim, uint64_t hole)
{
	const struct node *n = g->claims[claim].node;

	for (unsigned i = claim; i-- > 0;) {
		const struct claim *c = &g->claims[i];

		p->tries++;
		for (unsigned k = 0; c->node->last >= n->first && k < c->nr; k++)
			if (c->chosen >> k & 1 && c->holes[k] == hole)
				return true;
	}
	return false;
}

static void note_solution(struct puzzle *p, struct group *g)
{
	struct solution *s = &g->solutions[g->nr_solutions++];

	for (unsigned i = 0; i < g->nr; i++) {
		const struct claim *c = &g->claims[i];

		s->chosen[i] = c->chosen;
		for (unsigned k = 0; k < c->nr; k++)
			if (c->chosen >> k & 1)
				s->mappings[device_number(p, p->r->holes[c->holes[k]].device)] += c->node->count;
	}
}

static void try_claims(struct puzzle *p, struct group *g, unsigned claim, unsigned from, unsigned left)
{
	struct claim *c = &g->claims[claim];

	if (p->has_too_many || p->tries > MAX_TRIES)
		return;
	if (claim == g->nr) {
		p->has_too_many |= g->nr_solutions == MAX_SOLUTIONS;
		if (!p->has_too_many)
			note_solution(p, g);
		return;
	}
	if (!left) {
		try_claims(p, g, claim + 1, 0, claim + 1 < g->nr ? c[1].missing : 0);
		return;
	}
	for (unsigned k = from; k < c->nr; k++) {
		if (clashes(p, g, claim, c->holes[k]))
			continue;
		c->chosen |= (uint16_t)(1u << k);
		try_claims(p, g, claim, k + 1, left - 1);
		c->chosen &= (uint16_t)~(1u << k);
	}
}

static void set_claim(struct puzzle *p, struct group *g, uint64_t block)
{
	struct thin_rescue *r = p->r;
	struct claim *c = &g->claims[g->nr];
	unsigned missing = thin_missing_of(r->m, block);
	bool lies_anywhere;

	*c = (struct claim){ .node = &r->s->nodes[block], .block = (uint32_t)block, .missing = (uint16_t)missing };
	c->nr = (uint16_t)rescue_find_holes(r, block, c->holes, &lies_anywhere);
	if (c->nr > MAX_FITS || c->nr < missing || thin_missing_is_unknown(r->m, block))
		return; /* it has no place beside the others */
	g->nr++;
}

static int create_group(struct puzzle *p, struct group *g, const uint32_t *loose, uint64_t nr)
{
	int e = 0;

	g->claims = calloc(nr, sizeof(*g->claims));
	for (unsigned i = 0; i < MAX_SOLUTIONS; i++) {
		g->solutions[i].chosen = calloc(nr, sizeof(*g->solutions[i].chosen));
		e = g->claims && g->solutions[i].chosen ? e : -ENOMEM;
	}
	for (uint64_t i = 0; i < nr && !e; i++)
		set_claim(p, g, loose[i]);
	if (!e && g->nr)
		try_claims(p, g, 0, 0, g->claims[0].missing);
	return e;
}

/* --- all groups --- */

/* A device may get nothing, if what it had is dead. */
static bool matches(const struct puzzle *p)
{
	for (unsigned d = 0; d < p->nr_devices; d++)
		if (p->lack[d] && p->lack[d] != p->lack_before[d])
			return false;
	return true;
}

static void note_match(struct puzzle *p)
{
	p->nr_matches++;
	for (size_t i = 0; i < p->nr_groups; i++)
		p->groups[i].right = p->groups[i].taken;
}

/* All ways to solve the groups from @i on. */
static void try_groups(struct puzzle *p, size_t i)
{
	struct group *g = &p->groups[i];

	if (p->tries++ > MAX_TRIES || p->nr_matches > 1)
		return;
	if (i == p->nr_groups) {
		if (matches(p))
			note_match(p);
		return;
	}
	if (!g->nr_solutions)
		try_groups(p, i + 1);
	for (unsigned k = 0; k < g->nr_solutions; k++) {
		for (unsigned d = 0; d < p->nr_devices; d++)
			p->lack[d] -= g->solutions[k].mappings[d];
		g->taken = k;
		try_groups(p, i + 1);
		for (unsigned d = 0; d < p->nr_devices; d++)
			p->lack[d] += g->solutions[k].mappings[d];
	}
}

static int measure_lacks(struct puzzle *p)
{
	int e = 0;

	for (unsigned d = 0; d < p->nr_devices && !e; d++) {
		uint64_t has, should = p->r->origins[p->devices[d]].mapped;

		e = rescue_measure(p->r, p->devices[d], &has);
		p->has_unknown |= should == RECORD_UNKNOWN;
		p->lack[d] = p->lack_before[d] = (int64_t)(should - has);
	}
	return e;
}

static int attach_group(struct puzzle *p, const struct group *g)
{
	int e = 0;

	for (unsigned i = 0; g->nr_solutions && i < g->nr && !e; i++)
		for (unsigned k = 0; k < g->claims[i].nr && !e; k++)
			if (g->solutions[g->right].chosen[i] >> k & 1)
				e = rescue_attach(p->r, g->claims[i].block, g->claims[i].holes[k], true);
	return e;
}

static int solve_groups(struct puzzle *p)
{
	int e = measure_lacks(p);

	if (e || p->has_too_many || p->has_unknown)
		return e;
	p->tries = 0;
	try_groups(p, 0);
	for (size_t i = 0; p->nr_matches == 1 && p->tries <= MAX_TRIES && i < p->nr_groups && !e; i++)
		e = attach_group(p, &p->groups[i]);
	return e;
}

/* --- one height after the other --- */

struct keyed {
	uint32_t first, last, block;
	uint32_t level;
};

static int by_first_key(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

/* Loose ones of this height, in order; @blocks gets the same. */
static uint64_t list_level(const struct thin_rescue *r, unsigned level, struct keyed *list, uint32_t *blocks)
{
	uint64_t nr = 0;

	for (uint64_t i = 0; i < r->nr_loose; i++) {
		const struct node *n = &r->s->nodes[r->loose[i]];

		if (n->level == level && thin_missing_of(r->m, r->loose[i]))
			list[nr++] = (struct keyed){ n->first, n->last, r->loose[i], level };
	}
	if (nr)
		qsort(list, nr, sizeof(*list), by_first_key);
	for (uint64_t i = 0; i < nr; i++)
		blocks[i] = list[i].block;
	return nr;
}

static uint64_t end_of_group(const struct keyed *list, uint64_t begin, uint64_t nr)
{
	uint32_t last = list[begin].last;
	uint64_t end = begin + 1;

	for (; end < nr && list[end].first <= last; end++)
		last = list[end].last > last ? list[end].last : last;
	return end;
}

static void destroy_groups(struct puzzle *p)
{
	for (size_t i = 0; i < p->nr_groups; i++) {
		for (unsigned k = 0; k < MAX_SOLUTIONS; k++)
			free(p->groups[i].solutions[k].chosen);
		free(p->groups[i].claims);
	}
	free(p->groups);
}

static int solve_level(struct thin_rescue *r, struct keyed *list, uint32_t *blocks, uint64_t nr)
{
	struct puzzle p = { .r = r, .groups = calloc(nr, sizeof(*p.groups)) };
	int e = p.groups ? 0 : -ENOMEM;

	for (uint64_t i = 0, end; i < nr && !e; i = end) {
		end = end_of_group(list, i, nr);
		e = create_group(&p, &p.groups[p.nr_groups++], blocks + i, end - i);
	}
	if (!e)
		e = solve_groups(&p);
	destroy_groups(&p);
	return e;
}

int rescue_solve(struct thin_rescue *r)
{
	bool is_too_much = r->nr_loose > MAX_CLAIMS;
	uint64_t kept = 0;
	struct keyed *list = calloc(r->nr_loose + 1, sizeof(*list));
	uint32_t *blocks = calloc(r->nr_loose + 1, sizeof(*blocks));
	int e = list && blocks ? 0 : -ENOMEM;

	for (unsigned level = PD_MAX_DEPTH; level && !is_too_much && !e; level--) {
		uint64_t nr = list_level(r, level, list, blocks);

		if (nr)
			e = solve_level(r, list, blocks, nr);
	}
	for (uint64_t i = 0; i < r->nr_loose; i++)
		if (thin_missing_of(r->m, r->loose[i]))
			r->loose[kept++] = r->loose[i];
	r->nr_loose = kept;
	free(list);
	free(blocks);
	return e;
}
