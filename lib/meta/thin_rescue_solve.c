// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Pieces that several holes may have, as a device's and its snapshot's. Pieces that overlap cannot have the same place: so
 * who takes one leaves the others to the rest, and a group of pieces that overlap, each the next, has few solutions. Which
 * of these it is, is told by
 *
 *	the number of mappings: with the right ones each device has to the last one what it should have
 *	older versions of the devices' trees, and what these have in common with all pieces of the group together
 *
 * What neither tells stays ambiguous.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "meta/thin_rescue_int.h"

#define MAX_CLAIMS 4096
#define MAX_KEPT 8      /* solutions of a group, the best */
#define MAX_SOLUTIONS 64
#define MAX_TRIES 1000000
#define MAX_DEVICES 16  /* whose numbers are looked at */
#define MAX_CHANGES 3   /* groups of which not the best solution is taken */
#define LEAST_LEAD 8    /* of a solution over the next, in common entries */

struct claim {
	const struct node *node;
	uint32_t block;
	uint16_t missing, nr;
	uint64_t holes[MAX_FITS];
	uint32_t scores[MAX_FITS];
	uint16_t chosen; /* bits of holes */
};

struct solution {
	uint64_t score;
	int64_t mappings[MAX_DEVICES]; /* that it gives each */
	uint16_t *chosen;              /* by claim */
};

struct group {
	struct claim *claims;
	unsigned nr, nr_kept, nr_solutions;
	struct solution solutions[MAX_KEPT + 1]; /* the best first */
	unsigned taken;
};

struct puzzle {
	struct thin_rescue *r;
	struct group *groups;
	size_t nr_groups;
	size_t devices[MAX_DEVICES];
	int64_t lack[MAX_DEVICES];
	unsigned nr_devices;
	bool has_too_many, has_unknown; /* devices; numbers */
	uint64_t tries;
	/* Of all groups together. */
	unsigned nr_matches;
	uint64_t best, second;
	unsigned *best_taken;
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

/* Kept in order, as far as there is room. */
static void note_solution(struct puzzle *p, struct group *g, uint64_t score)
{
	struct solution *s = &g->solutions[g->nr_kept], last;

	g->nr_solutions++;
	s->score = score;
	memset(s->mappings, 0, sizeof(s->mappings));
	for (unsigned i = 0; i < g->nr; i++) {
		const struct claim *c = &g->claims[i];

		s->chosen[i] = c->chosen;
		for (unsigned k = 0; k < c->nr; k++)
			if (c->chosen >> k & 1)
				s->mappings[device_number(p, p->r->holes[c->holes[k]].device)] += c->node->count;
	}
	for (; s > g->solutions && s[-1].score < s->score; s--) {
		last = s[-1];
		s[-1] = s[0];
		s[0] = last;
	}
	g->nr_kept += g->nr_kept < MAX_KEPT;
}

static void try_claims(struct puzzle *p, struct group *g, unsigned claim, unsigned from, unsigned left, uint64_t score)
{
	struct claim *c = &g->claims[claim];

	if (g->nr_solutions > MAX_SOLUTIONS || p->tries > MAX_TRIES)
		return;
	if (claim == g->nr) {
		note_solution(p, g, score);
		return;
	}
	if (!left) {
		try_claims(p, g, claim + 1, 0, claim + 1 < g->nr ? c[1].missing : 0, score);
		return;
	}
	for (unsigned k = from; k < c->nr; k++) {
		if (clashes(p, g, claim, c->holes[k]))
			continue;
		c->chosen |= (uint16_t)(1u << k);
		try_claims(p, g, claim, k + 1, left - 1, score + c->scores[k]);
		c->chosen &= (uint16_t)~(1u << k);
	}
}

static int set_claim(struct puzzle *p, struct group *g, uint64_t block)
{
	struct thin_rescue *r = p->r;
	struct claim *c = &g->claims[g->nr];
	unsigned missing = thin_missing_of(r->m, block);
	bool lies_anywhere;
	int e = 0;

	*c = (struct claim){ .node = &r->s->nodes[block], .block = (uint32_t)block, .missing = (uint16_t)missing };
	c->nr = (uint16_t)rescue_find_holes(r, block, c->holes, &lies_anywhere);
	if (c->nr > MAX_FITS || c->nr < missing || thin_missing_is_unknown(r->m, block))
		return 0;
	for (unsigned k = 0; k < c->nr && !e; k++) {
		e = rescue_kinship(r, r->devices[r->holes[c->holes[k]].device].id, block, &c->scores[k]);
		if (c->scores[k] > c->node->count)
			c->scores[k] = c->node->count;
	}
	g->nr += !e;
	return e;
}

static int create_group(struct puzzle *p, struct group *g, const uint32_t *loose, uint64_t nr)
{
	int e = 0;

	g->claims = calloc(nr, sizeof(*g->claims));
	for (unsigned i = 0; i <= MAX_KEPT; i++) {
		g->solutions[i].chosen = calloc(nr, sizeof(*g->solutions[i].chosen));
		e = g->claims && g->solutions[i].chosen ? e : -ENOMEM;
	}
	for (uint64_t i = 0; i < nr && !e; i++)
		e = set_claim(p, g, loose[i]);
	p->tries = 0;
	if (!e && g->nr)
		try_claims(p, g, 0, 0, g->claims[0].missing, 0);
	if (p->tries > MAX_TRIES || g->nr_solutions > MAX_SOLUTIONS)
		g->nr_kept = 0;
	return e;
}

/* --- all groups --- */

static void note_match(struct puzzle *p)
{
	uint64_t score = 0;

	for (size_t i = 0; i < p->nr_groups; i++)
		if (p->groups[i].nr_kept)
			score += p->groups[i].solutions[p->groups[i].taken].score;
	if (p->nr_matches++ && score <= p->best) {
		p->second = score > p->second ? score : p->second;
		return;
	}
	p->second = p->best;
	p->best = score;
	for (size_t i = 0; i < p->nr_groups; i++)
		p->best_taken[i] = p->groups[i].taken;
}

static bool matches(const struct puzzle *p)
{
	for (unsigned d = 0; d < p->nr_devices; d++)
		if (p->lack[d])
			return false;
	return true;
}

static void take(struct puzzle *p, struct group *g, unsigned solution)
{
	for (unsigned d = 0; d < p->nr_devices; d++)
		p->lack[d] += g->solutions[g->taken].mappings[d] - g->solutions[solution].mappings[d];
	g->taken = solution;
}

/* All ways to take another solution than the best of so many groups. */
static void try_changes(struct puzzle *p, size_t from, unsigned changes)
{
	if (!changes) {
		if (matches(p))
			note_match(p);
		return;
	}
	for (size_t i = from; i < p->nr_groups && p->tries++ < MAX_TRIES; i++)
		for (unsigned k = 1; k < p->groups[i].nr_kept; k++) {
			take(p, &p->groups[i], k);
			try_changes(p, i + 1, changes - 1);
			take(p, &p->groups[i], 0);
		}
}

static int measure_lacks(struct puzzle *p)
{
	int e = 0;

	for (unsigned d = 0; d < p->nr_devices && !e; d++) {
		uint64_t has, should = p->r->origins[p->devices[d]].mapped;

		e = rescue_measure(p->r, p->devices[d], &has);
		p->has_unknown |= should == RECORD_UNKNOWN;
		p->lack[d] = (int64_t)(should - has);
	}
	return e;
}

/* With the fewest changes of what older versions tell, that the numbers of mappings are right. */
static bool match_numbers(struct puzzle *p)
{
	for (size_t i = 0; i < p->nr_groups; i++)
		for (unsigned d = 0; p->groups[i].nr_kept && d < p->nr_devices; d++)
			p->lack[d] -= p->groups[i].solutions[0].mappings[d];
	p->best_taken = calloc(p->nr_groups, sizeof(*p->best_taken));
	p->tries = 0;
	for (unsigned changes = 0; p->best_taken && changes <= MAX_CHANGES && !p->nr_matches; changes++)
		try_changes(p, 0, changes);
	return p->nr_matches == 1 || (p->nr_matches && p->best >= p->second + LEAST_LEAD);
}

static bool is_clear(const struct group *g)
{
	return g->nr_kept && g->nr > 1 && g->claims[0].node->level == 1 &&
	       (g->nr_solutions == 1 || g->solutions[0].score >= g->solutions[1].score + LEAST_LEAD);
}

static int attach_group(struct puzzle *p, const struct group *g, unsigned solution)
{
	int e = 0;

	for (unsigned i = 0; i < g->nr && !e; i++)
		for (unsigned k = 0; k < g->claims[i].nr && !e; k++)
			if (g->solutions[solution].chosen[i] >> k & 1)
				e = rescue_attach(p->r, g->claims[i].block, g->claims[i].holes[k], true);
	return e;
}

static int solve_groups(struct puzzle *p)
{
	bool are_known;
	int e = measure_lacks(p);

	if (e)
		return e;
	are_known = !p->has_too_many && !p->has_unknown && match_numbers(p);
	for (size_t i = 0; i < p->nr_groups && !e; i++) {
		const struct group *g = &p->groups[i];

		if (are_known && g->nr_kept)
			e = attach_group(p, g, p->best_taken[i]);
		else if (is_clear(g))
			e = attach_group(p, g, 0);
	}
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
		for (unsigned k = 0; k <= MAX_KEPT; k++)
			free(p->groups[i].solutions[k].chosen);
		free(p->groups[i].claims);
	}
	free(p->groups);
	free(p->best_taken);
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
	struct keyed *list = calloc(r->nr_loose + 1, sizeof(*list));
	uint32_t *blocks = calloc(r->nr_loose + 1, sizeof(*blocks));
	int e = list && blocks ? 0 : -ENOMEM;

	for (unsigned level = PD_MAX_DEPTH; level && !is_too_much && !e; level--) {
		uint64_t nr = list_level(r, level, list, blocks);

		if (nr)
			e = solve_level(r, list, blocks, nr);
	}
	for (uint64_t i = 0; i < r->nr_loose && !e; i++)
		if (thin_missing_of(r->m, r->loose[i]))
			e = rescue_add_doubt(r, r->loose[i], PROBLEM_NO_DEVICE);
	free(list);
	free(blocks);
	return e;
}
