// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which generation a repair begins with, and which devices come from elsewhere. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "meta/thin_disk.h"
#include "ops/repair_int.h"

static bool has_generation(struct op_repair *r, uint64_t n, const char *option)
{
	if (n < thin_scavenge_nr_generations(r->s))
		return true;
	op_fail(r->result, OP_USAGE, 0, "--%s: there is no generation %" PRIu64 ": --list shows what there is", option, n);
	return false;
}

static bool find_root(struct op_repair *r, size_t *n)
{
	for (*n = 0; *n < thin_scavenge_nr_generations(r->s); ++*n) {
		const struct thin_generation *g = thin_scavenge_generation(r->s, *n);

		if (g->root == r->args->root || (g->superblock == r->args->root && g->superblock))
			return true;
	}
	op_fail(r->result, OP_USAGE, 0, "--root: block %" PRIu64 " is no root of a generation: --list shows what there is",
		r->args->root);
	return false;
}

static size_t number_of(const struct op_repair *r, const struct thin_generation *g)
{
	size_t n = 0;

	while (n < thin_scavenge_nr_generations(r->s) && thin_scavenge_generation(r->s, n) != g)
		n++;
	return n;
}

/*
 * The next transaction after the last device was made is what LVM expects, if it did nothing else since.
 */
static void make_superblock(struct op_repair *r)
{
	const struct thin_generation *g = &r->chosen;
	struct thin_superblock *sb = &r->pool.sb;

	if (!r->pool.overrides.has_transaction && g->transaction != RECORD_UNKNOWN)
		sb->trans_id = g->transaction + !g->is_exact;
	if (!r->pool.overrides.data_block_size)
		sb->data_block_size = thin_scavenge_data_block_size(r->s);
	sb->time = g->time;
	sb->version = THIN_VERSION_MAX;
	r->is_superblock_made = true;
}

/* Of a pool that has no superblock the details' may be: a snapshot that was taken changed them. */
static bool is_time_known(const struct op_repair *r)
{
	if (r->pool.is_lost)
		return r->chosen.details != PROBLEM_NO_BLOCK || r->chosen.is_exact;
	return !repair_has_bad_superblock(r) && r->pool.live.time <= THIN_TIME_MASK;
}

static void use_generation(struct op_repair *r, size_t n)
{
	r->generation = n;
	r->chosen = *thin_scavenge_generation(r->s, n);
	r->is_current = r->chosen.source == SOURCE_CURRENT;
	r->pool.sb = r->pool.live;
	r->pool.has_no_top = r->pool.has_no_details = false;
	thin_pool_set_roots(&r->pool, r->chosen.root, r->chosen.details);
	if (!is_time_known(r))
		r->pool.sb.time = 0; /* what the trees say counts */
	if (r->pool.is_lost)
		make_superblock(r);
	else if (r->chosen.is_exact && !r->pool.overrides.has_transaction)
		r->pool.sb.trans_id = r->chosen.transaction;
}

/* Another one, where nothing is left of the current one. Devices alone that are lost can be had as --stale. */
static const struct thin_generation *instead_of_nothing(const struct op_repair *r)
{
	const struct thin_generation *best = thin_scavenge_best(r->s);

	return best && best->source != SOURCE_CURRENT && best->state != STATE_LOST && best->mappings ? best : NULL;
}

/* --- the devices --- */

/* 1: the generation has a tree for the device; 0: not; -errno. */
static int find_device(const struct op_repair *r, const struct thin_generation *g, uint64_t dev_id, uint64_t *root)
{
	struct thin_pool pool = r->pool;
	struct thin_device d;
	int e;

	pool.reader.sink = &problem_silent;
	thin_pool_set_roots(&pool, g->root, g->details);
	e = thin_device_find(&pool, dev_id, &d);
	*root = d.root;
	return e < 0 ? e : d.has_root;
}

static bool find_assigned(struct op_repair *r, struct thin_rescue_choice *choice)
{
	struct thin_below below;

	if (thin_scavenge_below(r->s, choice->root, &below))
		return true;
	op_fail(r->result, OP_USAGE, 0, "--assign: block %" PRIu64 " is no root of mappings: --list shows trees that are left",
		choice->root);
	return false;
}

static bool find_in_generation(struct op_repair *r, uint64_t n, struct thin_rescue_choice *choice)
{
	const struct thin_generation *g;
	int e;

	if (!has_generation(r, n, "device"))
		return false;
	g = thin_scavenge_generation(r->s, n);
	e = find_device(r, g, choice->dev_id, &choice->root);
	if (e < 0)
		return repair_fail(r, e);
	choice->details = g->details;
	choice->generation = n;
	if (!e)
		op_fail(r->result, OP_USAGE, 0, "--device: generation %" PRIu64 " has no device %" PRIu64, n, choice->dev_id);
	return e;
}

static bool find_choices(struct op_repair *r, struct thin_rescue_choice *choices)
{
	bool ok = true;

	for (unsigned i = 0; i < r->args->nr_choices && ok; i++) {
		const struct op_repair_choice *c = &r->args->choices[i];

		choices[i] = (struct thin_rescue_choice){
			.dev_id = c->dev_id, .root = c->value, .details = PROBLEM_NO_BLOCK, .generation = PROBLEM_NO_BLOCK,
		};
		ok = c->is_block ? find_assigned(r, &choices[i]) : find_in_generation(r, c->value, &choices[i]);
	}
	return ok;
}

static bool rescue(struct op_repair *r)
{
	struct thin_rescue_choice *choices = calloc(r->args->nr_choices + 1, sizeof(*choices));
	struct thin_rescue_args args = {
		.pool = &r->pool, .is_current = r->is_current, .s = r->s, .choices = choices,
		.nr_choices = r->args->nr_choices, .memory = repair_share(r, REPAIR_RESCUE_SHARE),
		.is_time_known = is_time_known(r),
		.look_for_stale = r->args->stale != REPAIR_STALE_NO, .use_stale = r->args->stale == REPAIR_STALE_USE,
	};
	int e = choices ? 0 : -ENOMEM;
	bool ok = !e && find_choices(r, choices);

	if (r->rescue)
		repair_give_memory(r, r->taken - args.memory);
	thin_rescue_destroy(r->rescue);
	r->rescue = NULL;
	if (ok)
		e = repair_take_memory(r, args.memory) ? thin_rescue_create(&args, &r->rescue) : -ENOMEM;
	free(choices);
	if (e == -ENOMEM || e == -E2BIG)
		return repair_fail_memory(r, "to put the devices together", 2 * r->limit);
	return e ? repair_fail(r, e) : ok;
}

/* Mappings that the rescue can reach; pieces come on top. */
static uint64_t count_reachable(const struct op_repair *r)
{
	uint64_t mappings = 0;
	size_t nr;
	const struct thin_device *d = thin_rescue_devices(r->rescue, &nr);

	for (size_t i = 0; i < nr; i++) {
		struct thin_below below;

		if (d[i].has_root && thin_scavenge_below(r->s, d[i].root, &below))
			mappings += below.mappings;
	}
	return mappings + thin_rescue_mappings_of_pieces(r->rescue);
}

/* Those of a device that is whole tell whether they are of the same transaction as the top level. */
static bool do_details_fit(const struct op_repair *r)
{
	size_t nr;
	const struct thin_device *d = thin_rescue_devices(r->rescue, &nr);

	for (size_t i = 0; i < nr; i++) {
		uint64_t mapped = thin_rescue_origin(r->rescue, i)->mapped;
		struct thin_below below = { .holes = 1 };

		if (d[i].has_root)
			thin_scavenge_below(r->s, d[i].root, &below);
		if (mapped != RECORD_UNKNOWN && (below.mappings > mapped || (!below.holes && below.mappings < mapped)))
			return false;
	}
	return true;
}

static void say_which(struct op_repair *r, const char *why, const struct thin_generation *g)
{
	const struct thin_generation *best = thin_scavenge_best(r->s);
	int n = snprintf(r->why, sizeof(r->why), "%s; generation %zu is used: top level at block %" PRIu64 " (%s), %" PRIu32
			 " devices, %" PRIu64 " mappings, %s", why, number_of(r, g), g->root, thin_source_name(g->source),
			 g->devices, g->mappings, thin_state_phrase(g->state));

	if (best != g && best->state != STATE_LOST)
		snprintf(r->why + n, sizeof(r->why) - (size_t)n, "; older, with %" PRIu64 " mappings, and %s: --generation=%zu",
			 best->mappings, thin_state_phrase(best->state), number_of(r, best));
}

static bool use_older(struct op_repair *r, const struct thin_generation *g)
{
	say_which(r, "nothing is left of the current generation", g);
	use_generation(r, number_of(r, g));
	r->is_guess = true;
	return rescue(r);
}

/* Where the details of one are dead, nothing but its place tells its age. */
static size_t find_newest(const struct op_repair *r)
{
	size_t newest = 0;

	for (size_t i = 1; i < thin_scavenge_nr_generations(r->s); i++) {
		const struct thin_generation *g = thin_scavenge_generation(r->s, i);

		if (g->fit == FIT_NONE && g->state != STATE_LOST &&
		    g->distance < thin_scavenge_generation(r->s, newest)->distance)
			newest = i;
	}
	return newest;
}

/* The newest, whatever its state; or, if that has lost its top level, the device details that are newer than any. */
static bool choose_without_superblock(struct op_repair *r)
{
	size_t newest = find_newest(r);
	const struct thin_generation *g = thin_scavenge_generation(r->s, newest);
	uint64_t details = thin_scavenge_newer_details(r->s, g), mappings;

	say_which(r, "the superblock is lost", g);
	use_generation(r, newest);
	if (!rescue(r))
		return false;
	mappings = count_reachable(r);
	r->is_guess = g->state == STATE_DOUBTFUL || !do_details_fit(r) || thin_rescue_has_newer_nodes(r->rescue, g->root);
	if (details == PROBLEM_NO_BLOCK)
		return true;
	thin_scavenge_details_alone(r->s, details, &r->chosen);
	thin_pool_set_roots(&r->pool, PROBLEM_NO_BLOCK, details);
	make_superblock(r);
	if (!rescue(r))
		return false;
	if (count_reachable(r) > mappings) {
		snprintf(r->why, sizeof(r->why), "the superblock is lost; the device details at block %" PRIu64 " are newer "
			 "than any top level, and trees were found for them", details);
		r->is_guess = false;
		return true;
	}
	say_which(r, "the superblock is lost, and there are newer device details without a top level", g);
	use_generation(r, newest);
	r->is_guess = true;
	return rescue(r);
}

bool repair_choose(struct op_repair *r)
{
	const struct op_repair_args *a = r->args;
	const struct thin_generation *best = thin_scavenge_best(r->s);
	size_t n = a->generation;
	bool is_asked = a->use_generation || a->use_root;

	if ((a->use_generation && !has_generation(r, n, "generation")) || (a->use_root && !find_root(r, &n)))
		return false;
	if (!is_asked && r->pool.is_lost && (!best || best->state == STATE_LOST)) {
		op_fail(r->result, OP_LOST, 0, "%s: the superblock is lost, and no generation was found; single trees may be "
			"left, as --list says", a->input);
		return false;
	}
	if (!is_asked && r->pool.is_lost)
		return choose_without_superblock(r);
	use_generation(r, is_asked ? n : 0);
	if (!rescue(r))
		return false;
	best = is_asked || r->chosen.state != STATE_LOST || count_reachable(r) ? NULL : instead_of_nothing(r);
	return !best || use_older(r, best);
}
