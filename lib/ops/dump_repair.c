// SPDX-License-Identifier: LGPL-2.1-or-later
/* Looking at a pool through older roots: one that was asked for, or the best where the pool's own are dead. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "meta/thin_disk.h"
#include "meta/thin_scavenge.h"
#include "ops/dump_int.h"

/* --- the scan --- */

static bool take_memory(void *context, uint64_t bytes)
{
	return dump_take_memory(context, bytes);
}

bool dump_scavenge(struct dump *d, struct thin_scavenge **s)
{
	struct thin_scavenge_args args = {
		.pool = &d->pool, .take_memory = take_memory, .context = d,
	};
	uint64_t needed = 0;
	int r;

	dump_expect(d, bufio_get_device_size(d->args->client));
	r = thin_scavenge_create(&args, s, &needed);
	if (r == -ENOMEM && needed)
		dump_refuse_memory(d, "to look for older generations", needed);
	else if (r)
		dump_fail_errno(d, r);
	return !r;
}

/* What was done goes to the messages, before what comes of it. */
__attribute__((format(printf, 2, 3))) static void say(struct dump *d, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	text_printf(&d->messages, "%s: %s\n", d->args->program, line);
}

/* --- what a lost superblock said --- */

static int find_highest(struct thin_pool *pool, uint64_t root, struct pd_memo *memo, uint64_t *nr_data_blocks)
{
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = PROBLEM_NO_DEVICE };
	const struct pd_node *leaf;
	struct pd_cursor c;
	int r;

	pd_cursor_open(&c, &pool->reader, &ctx, root, sizeof(le64));
	c.memo = memo;
	while ((r = pd_cursor_next(&c, &leaf)) > 0)
		for (unsigned i = 0; i < leaf->nr; i++)
			if (pd_value64(leaf, i) >> THIN_TIME_BITS >= *nr_data_blocks)
				*nr_data_blocks = (pd_value64(leaf, i) >> THIN_TIME_BITS) + 1;
	pd_cursor_close(&c);
	return r;
}

static int find_highest_of_all(struct thin_pool *pool, struct pd_memo *memo, uint64_t *nr_data_blocks)
{
	struct thin_devices devices;
	struct thin_device device;
	int r;

	thin_devices_open(&devices, pool);
	while ((r = thin_devices_next(&devices, &device)) > 0) {
		r = device.has_root ? find_highest(pool, device.root, memo, nr_data_blocks) : 0;
		if (r)
			break;
	}
	thin_devices_close(&devices);
	return r;
}

/* As many data blocks as the mappings need: there are no fewer. Shared subtrees are visited once, if memory allows. */
static int count_data_blocks(struct dump *d, uint64_t *nr)
{
	struct thin_pool quiet = d->pool;
	struct pd_memo memo = { .nr = 0 };
	int r;

	*nr = 0;
	quiet.reader.sink = &problem_silent;
	if (dump_take_memory(d, quiet.reader.nr_blocks * sizeof(*memo.entries)))
		memo.entries = calloc(quiet.reader.nr_blocks, sizeof(*memo.entries));
	if (memo.entries)
		memo.nr = quiet.reader.nr_blocks;
	r = find_highest_of_all(&quiet, &memo, nr);
	free(memo.entries);
	return r;
}

/*
 * The next transaction after the last device was made is what LVM expects, if it did nothing else since. Without
 * details, a snapshot may have been taken after the last mapping was made: its time was one more.
 */
static int make_superblock(struct dump *d, const struct thin_scavenge *s, const struct thin_generation *g)
{
	struct thin_superblock *sb = &d->pool.sb;
	const struct thin_overrides *o = &d->pool.overrides;
	bool is_exact = o->has_transaction || g->is_exact;
	int r = 0;

	if (!o->has_transaction && g->transaction != RECORD_UNKNOWN)
		sb->trans_id = g->transaction + !g->is_exact;
	if (!o->data_block_size)
		sb->data_block_size = thin_scavenge_data_block_size(s);
	sb->time = g->time + (d->pool.has_no_details && !g->is_exact);
	if (!o->nr_data_blocks)
		r = count_data_blocks(d, &sb->data_sm.nr_blocks);
	d->pool.live = *sb;
	say(d, "--%s: instead of the superblock: transaction %" PRIu64 "%s, time %" PRIu32 ", %" PRIu64
	    " data blocks%s", d->args->use_root ? "root" : "repair", sb->trans_id, is_exact ? "" : " or higher",
	    sb->time, sb->data_sm.nr_blocks, o->nr_data_blocks ? "" : " or more");
	return r;
}

/* --- --root --- */

/* The tree that the scan thinks goes with the one at --root; says so. */
static int find_other_tree(struct dump *d, const struct thin_scavenge *s, enum thin_root root)
{
	uint64_t block = d->args->root;
	const struct thin_generation *found = NULL;

	for (size_t i = 0; i < thin_scavenge_nr_generations(s) && !found; i++) {
		const struct thin_generation *g = thin_scavenge_generation(s, i);

		if ((root == ROOT_TOP ? g->root : g->details) == block)
			found = g;
	}
	if (found && found->fit != FIT_NONE) {
		thin_pool_set_roots(&d->pool, found->root, found->details);
		say(d, "--root: top level %" PRIu64 " with the device details at block %" PRIu64 ", which %s",
		    found->root, found->details,
		    found->fit == FIT_EXACT ? "fit exactly" : "say other numbers of mappings");
	} else {
		say(d, "--root: no %s fits block %" PRIu64, root == ROOT_TOP ? "device details tree" : "top level",
		    block);
	}
	return found && d->pool.is_lost ? make_superblock(d, s, found) : 0;
}

/* Details that are made up need a time above that of every mapping: see make_superblock(). */
static int make_superblock_of_device(struct dump *d, const struct thin_scavenge *s)
{
	struct thin_superblock *sb = &d->pool.sb;
	struct thin_below below = { 0 };

	thin_scavenge_below(s, d->pool.single_root, &below);
	sb->time = below.time + 1;
	if (!d->pool.overrides.data_block_size)
		sb->data_block_size = thin_scavenge_data_block_size(s);
	return d->pool.overrides.nr_data_blocks ? 0 : count_data_blocks(d, &sb->data_sm.nr_blocks);
}

/* What the block itself does not tell. */
static bool complete_root(struct dump *d, enum thin_root root)
{
	struct thin_scavenge *s;
	int r;

	if (!dump_scavenge(d, &s))
		return false;
	if (d->pool.is_single)
		r = make_superblock_of_device(d, s);
	else
		r = find_other_tree(d, s, root);
	thin_scavenge_destroy(s);
	if (r)
		dump_fail_errno(d, r);
	return !r;
}

bool dump_use_root(struct dump *d)
{
	enum thin_root root;
	int r = thin_pool_use_root(&d->pool, d->args->root, d->args->only_device ? d->args->dev_id : 0, &root);

	if (r < 0)
		dump_fail_errno(d, r);
	else if (!r)
		op_fail(d->result, OP_USAGE, 0,
			"%s: block %" PRIu64 " is no root: neither of a top level, nor of device details, nor of a "
			"device's mappings, nor the copy of a superblock; the view 'roots' lists them",
			d->args->image, d->args->root);
	if (r <= 0)
		return false;
	if (d->pool.is_single ? d->pool.is_lost : d->pool.has_no_top || d->pool.has_no_details)
		return complete_root(d, root);
	return true;
}

/* --- --repair --- */

/* What is left of the current generation. */
struct rest {
	bool is_superblock_bad; /* its fields may be wrong */
	bool has_top, has_details;
};

/* Reads a whole tree of devices; what is wrong with it is reported. */
static int read_devices(const struct thin_pool *pool, enum problem_where where, uint64_t root, uint32_t value_size,
			bool *good)
{
	struct pd_context ctx = { .where = where, .dev_id = PROBLEM_NO_DEVICE };
	const struct pd_node *leaf;
	struct pd_cursor c;
	int r;

	pd_cursor_open(&c, &pool->reader, &ctx, root, value_size);
	while ((r = pd_cursor_next(&c, &leaf)) > 0)
		;
	*good = !c.holes;
	pd_cursor_close(&c);
	return r;
}

static const struct tree_of_devices {
	enum problem_where where;
	enum thin_root root, or;
	uint32_t value_size;
	const char *name;
} top_level = { WHERE_TOP, ROOT_TOP, ROOT_EMPTY, sizeof(le64), "top level" },
  details_tree = { WHERE_DETAILS, ROOT_DETAILS, ROOT_DETAILS, sizeof(struct thin_details_disk), "device details tree" };

/* Whether all of it is there, and it is what it should be. */
static int look_at_tree(const struct thin_pool *pool, const struct tree_of_devices *t, uint64_t block, bool *good)
{
	struct pd_context ctx = { .where = t->where, .dev_id = PROBLEM_NO_DEVICE, .begin = 0, .end = UINT64_MAX };
	enum thin_root root = ROOT_NONE;
	int r = read_devices(pool, t->where, block, t->value_size, good);

	if (!r && *good)
		r = thin_root_identify(pool, block, &root);
	if (r || !*good || root == t->root || root == t->or)
		return r;
	*good = false;
	pd_report(&pool->reader, &ctx, PROBLEM_BLOCK_KIND, block,
		  (struct problem){ .expected_kind = t->name, .found_kind = "node of another tree" });
	return 0;
}

static int look_at_rest(struct dump *d, struct rest *rest)
{
	const struct thin_superblock *sb = &d->pool.live;
	int r;

	*rest = (struct rest){ .is_superblock_bad = d->pool.is_lost || sb->csum != sb->csum_expected };
	if (d->pool.is_lost)
		return 0;
	r = look_at_tree(&d->pool, &top_level, sb->data_mapping_root, &rest->has_top);
	return r ? r : look_at_tree(&d->pool, &details_tree, sb->device_details_root, &rest->has_details);
}

static const struct thin_generation *fullest(const struct thin_scavenge *s)
{
	const struct thin_generation *most = NULL;

	for (size_t i = 0; i < thin_scavenge_nr_generations(s); i++) {
		const struct thin_generation *g = thin_scavenge_generation(s, i);

		if (g->state != STATE_LOST && (!most || g->mappings > most->mappings))
			most = g;
	}
	return most;
}

static void say_which(struct dump *d, const struct thin_scavenge *s, const struct thin_generation *g, const char *why)
{
	const struct thin_generation *most = fullest(s);

	say(d, "--repair: %s: %s top level at block %" PRIu64 " (%s), %" PRIu32 " devices, %" PRIu64 " mappings, %s",
	    why, g->source == SOURCE_CURRENT ? "what stays is the" : "the best generation found is used,", g->root,
	    thin_source_name(g->source), g->devices, g->mappings,
	    thin_state_phrase(g->state));
	if (g->holes)
		say(d, "--repair: nodes of it that are lost: %" PRIu64 "; devices that are complete: %" PRIu32,
		    g->holes, g->complete_devices);
	if (most->mappings > g->mappings)
		say(d, "--repair: the generation at block %" PRIu64 " has more mappings, %" PRIu64 " (%s): --root=%"
		    PRIu64 " looks through it", most->root, most->mappings,
		    most->state > g->state ? thin_state_phrase(most->state) : "older", most->root);
}

static void say_details(struct dump *d)
{
	if (d->pool.has_no_details)
		say(d, "--repair: no device details fit exactly: new ones are made from the mappings, with times that "
		    "make every block count as shared");
	else
		say(d, "--repair: device details at block %" PRIu64, d->pool.sb.device_details_root);
}

/* Where the top level is dead and the details are not, they tell what is missing. */
static int say_what_is_missing(struct dump *d, const struct thin_generation *g)
{
	struct pd_context ctx = { .where = WHERE_DETAILS, .dev_id = PROBLEM_NO_DEVICE };
	uint64_t id, devices = 0, mappings = 0;
	const uint8_t *value;
	struct pd_cursor c;
	int r;

	pd_cursor_open(&c, &d->pool.reader, &ctx, d->pool.live.device_details_root, sizeof(struct thin_details_disk));
	while ((r = pd_cursor_next_entry(&c, &id, &value)) > 0) {
		devices++;
		mappings += le64_get(((const struct thin_details_disk *)value)->mapped_blocks);
	}
	pd_cursor_close(&c);
	if (!r && (devices != g->devices || mappings != g->mappings))
		say(d, "--repair: the current device details know %" PRIu64 " devices with %" PRIu64
		    " mappings: see whether the view 'roots' lists trees with the rest", devices, mappings);
	return r;
}

/* Details may be used that have the right number of mappings for each device, but for those that were lost in holes. */
static int do_details_fit(const struct thin_pool *pool, const struct thin_scavenge *s, uint64_t top, uint64_t details,
			  bool *fit)
{
	struct thin_pool quiet = *pool;
	struct thin_devices devices;
	struct thin_device device;
	int r = 0;

	*fit = details != PROBLEM_NO_BLOCK;
	quiet.reader.sink = &problem_silent;
	thin_pool_set_roots(&quiet, top, details);
	thin_devices_open(&devices, &quiet);
	while (*fit && (r = thin_devices_next(&devices, &device)) > 0) {
		struct thin_below below = { .holes = 1 };

		thin_scavenge_below(s, device.root, &below);
		*fit = device.has_details && device.has_root && device.mapped_blocks >= below.mappings &&
		       (below.holes || device.mapped_blocks == below.mappings);
	}
	*fit = *fit && !devices.details.holes;
	thin_devices_close(&devices);
	return r < 0 ? r : 0;
}

/* No other details: with wrong times, blocks that are shared would not count as shared. */
static int use_generation(struct dump *d, const struct thin_scavenge *s, const struct thin_generation *g)
{
	uint64_t exact = thin_scavenge_details(s, g->root), details = exact == PROBLEM_NO_BLOCK ? g->details : exact;
	bool fit;
	int r = do_details_fit(&d->pool, s, g->root, details, &fit);

	if (!r)
		thin_pool_set_roots(&d->pool, g->root, fit ? details : PROBLEM_NO_BLOCK);
	return r;
}

static const char *what_is_dead(const struct dump *d, const struct rest *rest)
{
	return d->pool.is_lost ? "the superblock is lost" : rest->has_top ? "the device details are dead" :
								"the top level is dead";
}

/* The current top level, if it is one, whatever is wrong below it: there is none newer. */
static const struct thin_generation *choose(const struct thin_scavenge *s, const struct rest *rest)
{
	const struct thin_generation *first = thin_scavenge_nr_generations(s) ? thin_scavenge_generation(s, 0) : NULL;

	return first && first->source == SOURCE_CURRENT && rest->has_top ? first : thin_scavenge_best(s);
}

/* 1, 0 and the result says why, or -errno. */
static int repair_from(struct dump *d, const struct thin_scavenge *s, const struct rest *rest)
{
	const struct thin_generation *g = choose(s, rest);
	int r;

	if (!g || g->state == STATE_LOST) {
		op_fail(d->result, OP_LOST, 0,
			"%s: %s, and no older generation was found; single trees may be left, as the view 'roots' says; bufio-repair --assign takes them",
			d->args->image, what_is_dead(d, rest));
		return 0;
	}
	say_which(d, s, g, what_is_dead(d, rest));
	r = use_generation(d, s, g);
	if (!r)
		say_details(d);
	if (!r && rest->has_details && !rest->has_top)
		r = say_what_is_missing(d, g);
	if (!r && d->pool.is_lost)
		r = make_superblock(d, s, g);
	return r ? r : 1;
}

int dump_judge_roots(struct dump *d, bool *has_top, bool *has_details)
{
	struct rest rest;
	int r = look_at_rest(d, &rest);

	*has_top = rest.has_top;
	*has_details = rest.has_details;
	return r;
}

bool dump_repair(struct dump *d)
{
	struct thin_scavenge *s;
	struct rest rest;
	int r = look_at_rest(d, &rest);

	if (r) {
		dump_fail_errno(d, r);
		return false;
	}
	if (rest.has_top && rest.has_details && !d->pool.is_lost) {
		if (rest.is_superblock_bad)
			say(d, "--repair: the superblock's checksum is wrong, but its roots are good and used");
		return true;
	}
	if (!dump_scavenge(d, &s))
		return false;
	r = repair_from(d, s, &rest);
	thin_scavenge_destroy(s);
	if (r < 0)
		dump_fail_errno(d, r);
	return r > 0;
}
