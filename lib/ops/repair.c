// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * repair: single wrong bytes are put right, the device is scanned, a generation is chosen, its devices are put together
 * (thin_rescue.h), and all of that is checked, which says what is lost; then it is written as new metadata, and checked.
 *
 * What is put together lies in a plan over the device (io_journal.h), which is never committed: so walks, checks and the
 * builder see a pool as any other.
 */
#include "ops/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meta/thin_build.h"
#include "meta/thin_disk.h"
#include "meta/thin_plan.h"
#include "meta/thin_sharing.h"
#include "meta/thin_size.h"
#include "ops/check_memory.h"
#include "ops/repair_int.h"
#include "ops/target.h"

#define MIB(bytes) (((bytes) >> 20) + 1)
#define STREAM_BYTES (UINT64_C(16) << 20)
#define STREAM_SHARE 64
#define LEAST_CACHE (UINT64_C(4) << 20)
#define RESCUE_SHARE 8 /* of the limit: devices, holes and pieces */
#define DIRTY_PERCENT 30

void repair_say(struct op_repair *r, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	text_printf(&r->messages, "%s: %s\n", r->args->program, line);
	text_out_flush(&r->messages);
}

static bool fail(struct op_repair *r, int e)
{
	if (r->result->outcome == OP_DONE)
		op_fail_errno(r->result, r->args->input, e);
	return false;
}

/* --- memory --- */

/* What is read is read in bulk, and nodes above leaves again: more memory would only have to be zeroed first. */
static bool set_cache(struct op_repair *r)
{
	uint64_t floor = bufio_get_memory_floor(r->source), rest = r->limit > r->taken ? r->limit - r->taken : 0;
	uint64_t enough = STREAM_BYTES + bufio_get_device_size(r->source) * PD_BLOCK_SIZE / STREAM_SHARE;

	rest = rest < enough ? rest : enough;
	return rest >= floor && !bufio_set_memory_limit(r->source, rest);
}

static bool fail_memory(struct op_repair *r, const char *what, uint64_t need)
{
	op_fail(r->result, OP_USAGE, 0, "%s: %s takes more memory than the limit leaves: give --memory-limit=%" PRIu64 "MiB",
		r->args->input, what, MIB(need + need / 4));
	return false;
}

static bool take_memory(void *context, uint64_t bytes)
{
	struct op_repair *r = context;

	if (r->taken + bytes + LEAST_CACHE > r->limit && !r->args->may_raise_memory)
		return false;
	if (r->taken + bytes + LEAST_CACHE > r->limit)
		r->limit = r->taken + bytes + STREAM_BYTES;
	r->taken += bytes;
	return set_cache(r);
}

static bool give_memory(struct op_repair *r, uint64_t taken)
{
	r->taken = taken;
	return set_cache(r);
}

/* --- what there is --- */

/* A size that the index has not as many bitmaps for, or too many, is wrong: then there is as much as is mapped. */
static int judge_data_size(struct op_repair *r)
{
	struct pd_context ctx = { .where = WHERE_DATA_SM, .dev_id = PROBLEM_NO_DEVICE };
	uint64_t nr = r->pool.nr_data_blocks, bitmaps = 0, key;
	const uint8_t *value;
	struct pd_cursor c;
	bool is_whole;
	int e;

	if (nr == THIN_UNKNOWN_SIZE || r->args->overrides.nr_data_blocks)
		return 0;
	pd_cursor_open(&c, &r->pool.reader, &ctx, r->pool.live.data_sm.bitmap_root, sizeof(struct pd_index_entry_disk));
	while ((e = pd_cursor_next_entry(&c, &key, &value)) > 0)
		bitmaps = key + 1;
	is_whole = !c.holes;
	pd_cursor_close(&c);
	if (e < 0)
		return e;
	if (is_whole ? pd_bitmaps(nr) != bitmaps : !nr) {
		r->pool.nr_data_blocks = THIN_UNKNOWN_SIZE;
		r->pool.sb.data_sm.nr_blocks = r->pool.live.data_sm.nr_blocks = 0;
		r->is_data_size_wrong = true;
	}
	return 0;
}

static bool open_pool(struct op_repair *r)
{
	const struct op_repair_args *a = r->args;
	struct thin_overrides overrides = {
		.has_transaction = a->overrides.has_transaction, .transaction = a->overrides.transaction,
		.data_block_size = (uint32_t)(a->overrides.data_block_bytes / 512), .nr_data_blocks = a->overrides.nr_data_blocks,
	};
	const struct meta_format *format;
	char reason[OP_REASON_MAX];
	int e, error;

	format = target_probe(r->source, a->input, reason, sizeof(reason), &error);
	if (format && !format->is_supported) {
		op_fail(r->result, OP_NOT_METADATA, 0, "%s: is %s, which this version cannot repair", a->input, format->name);
		return false;
	}
	if (!format && !target_has_metadata(r->source)) {
		op_fail(r->result, error ? OP_INPUT : OP_NOT_METADATA, error, "%s", reason);
		return false;
	}
	if (format)
		e = thin_pool_open_overridden(&r->pool, r->source, &overrides, &problem_silent);
	else
		e = thin_pool_open_lost(&r->pool, r->source, &overrides, &problem_silent);
	if (!e && a->progress)
		r->pool.reader.progress = &a->progress->blocks;
	if (!e && format)
		e = judge_data_size(r);
	return e ? fail(r, e) : true;
}

static bool scavenge(struct op_repair *r, void (*suspect)(void *, uint64_t, const void *))
{
	struct thin_scavenge_args args = {
		.pool = &r->pool, .take_memory = take_memory, .context = r, .suspect = suspect,
	};
	uint64_t needed = 0;
	int e;

	if (r->args->progress)
		r->args->progress->total += bufio_get_device_size(r->source);
	e = thin_scavenge_create(&args, &r->s, &needed);
	if (e == -ENOMEM && needed)
		return fail_memory(r, "to look for all that there is", needed + LEAST_CACHE);
	return e ? fail(r, e) : true;
}

/* With what could be put right it is scanned once more: nodes are what their children are. */
static bool look(struct op_repair *r)
{
	bool changed;

	if (!scavenge(r, repair_suspect) || !repair_correct(r, &changed))
		return false;
	if (!changed)
		return true;
	thin_scavenge_destroy(r->s);
	r->s = NULL;
	if (!give_memory(r, 0))
		return fail(r, -ENOMEM);
	return scavenge(r, NULL);
}

/* --- the choice --- */

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

static uint32_t any_data_block_size(const struct thin_scavenge *s)
{
	for (size_t i = 0; i < thin_scavenge_nr_generations(s); i++)
		if (thin_is_data_block_size(thin_scavenge_generation(s, i)->data_block_size))
			return thin_scavenge_generation(s, i)->data_block_size;
	return 0;
}

/*
 * The next transaction after the last device was made is what LVM expects, if it did nothing else since. Without details,
 * a snapshot may have been taken after the last mapping was made: its time was one more.
 */
static void make_superblock(struct op_repair *r)
{
	const struct thin_generation *g = &r->chosen;
	struct thin_superblock *sb = &r->pool.sb;

	if (!r->pool.overrides.has_transaction && g->transaction != RECORD_UNKNOWN)
		sb->trans_id = g->transaction + !g->is_exact;
	if (!r->pool.overrides.data_block_size)
		sb->data_block_size = any_data_block_size(r->s);
	sb->time = g->time + (g->details == PROBLEM_NO_BLOCK && !g->is_exact);
	sb->version = THIN_VERSION_MAX;
	r->is_superblock_made = true;
}

static void use_generation(struct op_repair *r, size_t n)
{
	r->generation = n;
	r->chosen = *thin_scavenge_generation(r->s, n);
	r->is_current = r->chosen.source == SOURCE_CURRENT;
	r->pool.sb = r->pool.live;
	r->pool.has_no_top = r->pool.has_no_details = false;
	thin_pool_set_roots(&r->pool, r->chosen.root, r->chosen.details);
	if (r->pool.is_lost)
		make_superblock(r);
	else if (r->chosen.is_exact && !r->pool.overrides.has_transaction)
		r->pool.sb.trans_id = r->chosen.transaction;
}

static const char *state_word(enum thin_state state)
{
	return state == STATE_HOLES ? "with holes" : thin_state_name(state);
}

/* Another one, where nothing is left of the current one. Devices alone that are lost can be had as --stale. */
static const struct thin_generation *instead_of_nothing(const struct op_repair *r)
{
	const struct thin_generation *best = thin_scavenge_best(r->s);

	return best && best->source != SOURCE_CURRENT && best->state != STATE_LOST && best->mappings ? best : NULL;
}

/* --- the devices --- */

static bool find_choices(struct op_repair *r, struct thin_rescue_choice *choices)
{
	for (unsigned i = 0; i < r->args->nr_choices; i++) {
		const struct op_repair_choice *c = &r->args->choices[i];
		const struct thin_generation *g;
		struct thin_pool pool = r->pool;
		struct thin_devices devices;
		struct thin_below below;
		struct thin_device d;
		bool found = false;
		int e = 0;

		choices[i] = (struct thin_rescue_choice){
			.dev_id = c->dev_id, .root = c->value, .details = PROBLEM_NO_BLOCK, .generation = PROBLEM_NO_BLOCK,
		};
		if (c->is_block && !thin_scavenge_below(r->s, c->value, &below)) {
			op_fail(r->result, OP_USAGE, 0, "--assign: block %" PRIu64 " is no root of mappings: --list shows trees "
				"that are left", c->value);
			return false;
		}
		if (c->is_block)
			continue;
		if (!has_generation(r, c->value, "device"))
			return false;
		g = thin_scavenge_generation(r->s, c->value);
		pool.reader.sink = &problem_silent;
		pool.list = NULL;
		thin_pool_set_roots(&pool, g->root, g->details);
		thin_devices_open(&devices, &pool);
		while (!found && (e = thin_devices_next(&devices, &d)) > 0)
			found = d.id == c->dev_id && d.has_root;
		thin_devices_close(&devices);
		if (e < 0)
			return fail(r, e);
		if (!found) {
			op_fail(r->result, OP_USAGE, 0, "--device: generation %" PRIu64 " has no device %" PRIu64, c->value,
				c->dev_id);
			return false;
		}
		choices[i].root = d.root;
		choices[i].details = g->details;
		choices[i].generation = c->value;
	}
	return true;
}

static bool rescue(struct op_repair *r)
{
	struct thin_rescue_choice *choices = calloc(r->args->nr_choices + 1, sizeof(*choices));
	struct thin_rescue_args args = {
		.pool = &r->pool, .is_current = r->is_current, .s = r->s, .choices = choices,
		.nr_choices = r->args->nr_choices, .memory = r->limit / RESCUE_SHARE,
		.look_for_stale = r->args->stale != REPAIR_STALE_NO, .use_stale = r->args->stale == REPAIR_STALE_USE,
	};
	int e = choices ? 0 : -ENOMEM;
	bool ok = !e && find_choices(r, choices);

	thin_rescue_destroy(r->rescue);
	r->rescue = NULL;
	if (ok)
		e = take_memory(r, args.memory) ? thin_rescue_create(&args, &r->rescue) : -ENOMEM;
	free(choices);
	if (e == -ENOMEM || e == -E2BIG)
		return fail_memory(r, "to put the devices together", 2 * r->limit);
	return e ? fail(r, e) : ok;
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
			 g->devices, g->mappings, state_word(g->state));

	if (best != g && best->state != STATE_LOST)
		snprintf(r->why + n, sizeof(r->why) - (size_t)n, "; older, with %" PRIu64 " mappings, and %s: --generation=%zu",
			 best->mappings, state_word(best->state), number_of(r, best));
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

static bool choose(struct op_repair *r)
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

static bool has_data_block_size(struct op_repair *r)
{
	if (thin_is_data_block_size(r->pool.sb.data_block_size))
		return true;
	op_fail(r->result, OP_USAGE, 0,
		"%s: the superblock does not tell the size of data blocks: give it with --data-block-size, as LVM has it (lvs "
		"-o chunk_size)", r->args->input);
	return false;
}

static bool mend(struct op_repair *r)
{
	int e;

	if (!thin_rescue_has_pieces(r->rescue))
		return true;
	if (!repair_make_overlay(r))
		return false;
	e = thin_rescue_mend(r->rescue, r->source);
	return e ? fail(r, e) : true;
}

/* From here on the pool is what was chosen. What the kernel knows nothing of goes, and so does what it refuses. */
static bool see(struct op_repair *r)
{
	struct thin_superblock *sb = &r->pool.sb;

	r->devices = thin_rescue_devices(r->rescue, &r->nr_devices);
	r->reports = calloc(r->nr_devices + 1, sizeof(*r->reports));
	if (!r->reports)
		return fail(r, -ENOMEM);
	r->pool.list = r->devices;
	r->pool.nr_list = r->nr_devices;
	r->pool.reader.client = r->source;
	sb->time = thin_rescue_time(r->rescue);
	if (r->pool.nr_data_blocks != THIN_UNKNOWN_SIZE)
		sb->data_sm.nr_blocks = r->pool.nr_data_blocks;
	sb->flags = 0;
	sb->version = sb->version > THIN_VERSION_MAX ? THIN_VERSION_MAX : sb->version;
	return true;
}

/* --- what is lost --- */

static void count_device(void *context, const struct thin_device *d, const struct thin_count *count)
{
	struct op_repair *r = context;
	struct device_report *report = &r->reports[d - r->devices];

	report->kept = count->mappings;
	report->has_holes = count->holes;
}

static size_t index_of(const struct op_repair *r, uint64_t dev_id)
{
	size_t begin = 0, end = r->nr_devices;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (r->devices[middle].id < dev_id)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

/* thin_check() has a copy of each device. */
static void count_copy(void *context, const struct thin_device *d, const struct thin_count *count)
{
	struct op_repair *r = context;

	count_device(r, &r->devices[index_of(r, d->id)], count);
}

/* Of data blocks there are at least as many as are mapped. */
static void use_highest(struct op_repair *r, uint64_t highest)
{
	uint64_t *nr = &r->pool.sb.data_sm.nr_blocks;

	r->totals.highest_data = highest;
	if (r->pool.nr_data_blocks != THIN_UNKNOWN_SIZE)
		return;
	if (*nr <= highest || *nr > THIN_MAX_DATA_BLOCKS)
		*nr = r->totals.mappings ? highest + 1 : 0;
	r->pool.nr_data_blocks = *nr;
}

static uint64_t share_memory(struct op_repair *r, const struct thin_pool *pool, struct bufio_client *c)
{
	struct check_memory m = {
		.pool = pool, .image = r->args->input, .purpose = "check", .tables = r->taken,
		.may_raise = r->args->may_raise_memory,
	};

	return check_share_memory(&m, c, r->limit, r->result);
}

static bool check_trees(struct op_repair *r)
{
	bool has_counts = r->is_current && !r->pool.is_lost;
	struct thin_check check = {
		.skip_space_maps = !has_counts, .skip_metadata_map = true, .device = count_copy, .mapped = repair_note_mapped,
		.context = r,
	};
	int e;

	r->suspects = malloc(REPAIR_MAX_SUSPECTS * sizeof(*r->suspects));
	if (!r->suspects)
		return fail(r, -ENOMEM);
	r->sink.report = repair_report_problem;
	r->pool.reader.sink = &r->sink;
	check.memory = share_memory(r, &r->pool, r->source);
	if (!check.memory)
		return false;
	if (r->args->progress)
		r->args->progress->total += 2 * r->pool.live.metadata_sm.nr_allocated;
	e = thin_check(&r->pool, &check);
	r->pool.reader.sink = &problem_silent;
	if (e)
		return fail(r, e);
	repair_sum_up(r);
	use_highest(r, check.highest_data);
	return true;
}

/* --- the room that it takes --- */

static int walk(struct op_repair *r, struct meta_visitor *v)
{
	struct thin_walk walk = { .only_device = PROBLEM_NO_DEVICE };
	uint64_t bytes = thin_sharing_bytes(&r->pool), taken = r->taken;
	int e;

	if (!take_memory(r, bytes))
		return -ENOMEM;
	e = thin_sharing_create(&r->pool, &walk.sharing);
	if (!e)
		e = thin_walk(&r->pool, &walk, v);
	thin_sharing_destroy(walk.sharing);
	give_memory(r, taken);
	return e;
}

/* --- opening --- */

/*
 * Where the scan saw no damage in any tree, and as many mappings as the details say, there is nothing to be found but blocks
 * that are mapped twice: the new counts will tell.
 */
static bool is_whole(struct op_repair *r)
{
	const struct thin_past *past;
	bool is = r->is_current && !r->pool.is_lost && r->pool.nr_data_blocks != THIN_UNKNOWN_SIZE &&
		  !thin_rescue_has_pieces(r->rescue) && !thin_rescue_past(r->rescue, &past);

	for (size_t i = 0; i < r->nr_devices && is; i++) {
		const struct thin_device *d = &r->devices[i];
		struct thin_below below = { .holes = 1 };

		if (d->has_root)
			thin_scavenge_below(r->s, d->root, &below);
		is = !below.holes && !below.has_beyond && below.mappings == thin_rescue_origin(r->rescue, i)->mapped;
		r->reports[i] = (struct device_report){ .kept = below.mappings };
	}
	if (is)
		repair_sum_up(r);
	else
		memset(r->reports, 0, r->nr_devices * sizeof(*r->reports));
	return is;
}

/* It was not so simple: what was taken for granted is looked at now. */
static bool look_again(struct op_repair *r)
{
	r->is_unchecked = false;
	r->nr_losses = 0;
	r->totals.mappings = r->totals.lost = r->totals.stale = 0;
	r->totals.is_lost_unknown = r->totals.is_doubtful = false;
	memset(r->reports, 0, r->nr_devices * sizeof(*r->reports));
	return check_trees(r);
}

static bool run(struct op_repair *r)
{
	set_cache(r);
	if (!repair_correct_superblock(r) || !open_pool(r) || !look(r) || !choose(r) || !has_data_block_size(r) ||
	    !mend(r) || !see(r))
		return false;
	r->is_unchecked = r->args->target && !r->args->dry_run && is_whole(r);
	if (!r->is_unchecked && !check_trees(r))
		return false;
	thin_scavenge_destroy(r->s);
	r->s = NULL;
	return give_memory(r, r->limit / RESCUE_SHARE) || fail(r, -ENOMEM);
}

struct op_repair *op_repair_open(const struct op_repair_args *args, struct op_result *result)
{
	struct op_repair *r = calloc(1, sizeof(*r));

	*result = (struct op_result){ .outcome = OP_DONE };
	if (!r) {
		op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
		return NULL;
	}
	r->args = args;
	r->result = result;
	r->source = args->client;
	r->limit = bufio_get_memory_limit(args->client);
	op_open_outputs(args->progress, &r->out, args->out_fd, &r->messages, args->message_fd);
	if (run(r))
		return r;
	op_repair_close(r);
	return NULL;
}

void op_repair_close(struct op_repair *r)
{
	if (!r)
		return;
	thin_rescue_destroy(r->rescue);
	thin_scavenge_destroy(r->s);
	bufio_client_destroy(r->patched);
	if (r->overlay)
		bufio_device_close(r->overlay);
	free(r->corrected);
	free(r->reports);
	free(r->losses);
	free(r->suspects);
	free(r->unowned);
	free(r);
}

/* --- mappings that cannot be kept --- */

/* Passes everything on but what lies beyond the data device. */
struct clip {
	struct meta_visitor visitor; /* first */
	struct meta_visitor *next;
	uint64_t nr_data_blocks;
};

static int clip_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct clip *c = (struct clip *)v;

	return c->next->begin(c->next, kind, record);
}

static int clip_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct clip *c = (struct clip *)v;
	struct record_mapping m;

	if (kind == RECORD_REF)
		return c->next->record(c->next, kind, record);
	m = *(const struct record_mapping *)record;
	if (m.data_begin >= c->nr_data_blocks)
		return 0;
	if (m.data_begin + m.length > c->nr_data_blocks) {
		m.length = c->nr_data_blocks - m.data_begin;
		m.origin_last = m.origin_begin + m.length - 1;
		m.data_last = m.data_begin + m.length - 1;
	}
	return c->next->record(c->next, m.length == 1 ? RECORD_SINGLE : RECORD_RANGE, &m);
}

static int clip_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct clip *c = (struct clip *)v;

	return c->next->end(c->next, kind, record);
}

static bool has_beyond(const struct op_repair *r)
{
	for (size_t i = 0; i < r->nr_devices; i++)
		if (r->reports[i].beyond)
			return true;
	return false;
}

static struct clip clip_to(const struct op_repair *r, struct meta_visitor *next)
{
	return (struct clip){
		.visitor = { clip_begin, clip_record, clip_end, NULL }, .next = next, .nr_data_blocks = r->pool.nr_data_blocks,
	};
}

/* --- the plan --- */

static uint64_t with_bitmaps(uint64_t blocks)
{
	return blocks + pd_bitmaps(blocks + pd_bitmaps(blocks));
}

static bool plan(struct op_repair *r)
{
	struct thin_plan_totals totals;
	struct thin_plan *p;
	struct clip clip;
	int e = thin_plan_create(r->limit / 4, &p);

	if (e)
		return fail(r, e);
	clip = clip_to(r, thin_plan_visitor(p));
	do {
		e = walk(r, &clip.visitor);
		if (!e)
			e = thin_plan_again(p);
	} while (e > 0);
	thin_plan_get_totals(p, &totals);
	thin_plan_destroy(p);
	if (e)
		return e == -ENOMEM || e == -E2BIG ? fail_memory(r, "to plan the new metadata", 2 * r->limit) : fail(r, e);
	r->needed_blocks = with_bitmaps(totals.blocks);
	r->advised_blocks = thin_blocks_advised(r->needed_blocks, r->pool.nr_data_blocks, totals.devices);
	return true;
}

bool op_repair_new_size(struct op_repair *r, uint64_t *bytes, struct op_result *result)
{
	r->result = result;
	if (!plan(r))
		return false;
	*bytes = r->advised_blocks * PD_BLOCK_SIZE;
	return true;
}

/* --- writing --- */

/* New trees are packed, so they do not take more than the old ones did; a smaller target may be enough all the same. */
static bool may_be_too_small(const struct op_repair *r, struct bufio_client *target)
{
	uint64_t blocks = bufio_get_device_size(target), used = r->pool.live.metadata_sm.nr_allocated;

	return blocks < bufio_get_device_size(r->args->client) && (r->pool.is_lost || blocks < used + pd_bitmaps(blocks));
}

bool op_repair_may_write(struct op_repair *r, struct bufio_client *target, struct op_result *result)
{
	const struct op_repair_args *a = r->args;
	struct target_contents c;

	r->result = result;
	target_look(target, a->target, &c);
	if (c.foreign[0] && (!a->signature || strcmp(a->signature, c.foreign) != 0)) {
		op_fail(result, OP_REFUSED, 0,
			"%s: holds what would be lost: %s; is this the right target? --force-signature=%s overwrites it",
			a->target, c.what, c.foreign);
		return false;
	}
	if (!r->needed_blocks && may_be_too_small(r, target) && !plan(r))
		return false;
	if (r->needed_blocks > bufio_get_device_size(target)) {
		op_fail(result, OP_REFUSED, 0,
			"%s: is too small: it has %" PRIu64 " blocks of 4 KiB, and %" PRIu64 " are needed; with room to go on "
			"in, make it %" PRIu64 " (%" PRIu64 " MiB)", a->target, bufio_get_device_size(target),
			r->needed_blocks, r->advised_blocks, r->advised_blocks * PD_BLOCK_SIZE >> 20);
		return false;
	}
	snprintf(r->replaced, sizeof(r->replaced), "%s", c.what);
	return true;
}

static bool fail_target(struct op_repair *r, int e, const char *what)
{
	enum op_outcome outcome = r->args->is_new ? OP_OUTPUT : OP_PARTLY;

	op_fail(r->result, outcome, e, "%s: %s: %s%s", r->args->target, what, strerror(-e),
		r->args->is_new ? "" : "; it is marked as not finished");
	return false;
}

static bool build(struct op_repair *r, struct bufio_client *target)
{
	struct thin_build_args args = { .client = target, .memory = r->limit / 4 };
	struct thin_build_result built;
	struct thin_build *b = NULL;
	uint64_t taken = r->taken, least = thin_build_least_memory(target), cache = r->limit / 8;
	struct clip clip;
	int e;

	args.memory = args.memory > least ? args.memory : least;
	cache = cache < STREAM_BYTES ? cache : STREAM_BYTES;
	if (bufio_get_memory_floor(target) > cache)
		cache = bufio_get_memory_floor(target);
	bufio_set_dirty_percent(target, DIRTY_PERCENT);
	if (!take_memory(r, args.memory + cache) || bufio_set_memory_limit(target, cache) || thin_build_create(&args, &b))
		return fail_memory(r, "to write the new metadata", 2 * r->limit + args.memory + cache);
	clip = clip_to(r, thin_build_visitor(b));
	e = walk(r, has_beyond(r) ? &clip.visitor : clip.next);
	thin_build_get_result(b, &built);
	thin_build_destroy(b);
	give_memory(r, taken);
	if (e == -ENOMEM || e == -E2BIG)
		return fail_memory(r, "to write the new metadata", 2 * r->limit);
	if (e)
		return fail_target(r, e, "cannot be written");
	r->result->blocks = built.nr_blocks;
	r->metadata_used = built.used_blocks;
	r->nr_built = built.mappings;
	r->metadata_total = built.nr_blocks;
	return true;
}

/* Anything worse than what needs nothing. */
struct verdict {
	struct problem_sink sink;
	uint64_t nr;
};

static void count_problem(struct problem_sink *sink, const struct problem *p)
{
	((struct verdict *)sink)->nr += problem_severity(p) != SEVERITY_COSMETIC;
}

static bool check_result(struct op_repair *r, struct bufio_client *target)
{
	struct verdict verdict = { .sink = { count_problem } };
	struct thin_check check = { .skip_mappings = false };
	struct thin_pool pool;
	int e = bufio_client_reset(target);

	if (!e)
		e = thin_pool_open(&pool, target, &verdict.sink);
	if (e)
		return fail_target(r, e, "cannot be read back");
	bufio_set_memory_limit(r->source, bufio_get_memory_floor(r->source));
	bufio_set_memory_limit(target, r->limit > r->taken ? r->limit - r->taken : r->limit);
	check.memory = share_memory(r, &pool, target);
	if (!check.memory)
		return false;
	e = thin_check(&pool, &check);
	if (e)
		return fail_target(r, e, "cannot be read back");
	if (!verdict.nr)
		return true;
	thin_build_mark_unfinished(target);
	r->result->blocks = 0;
	op_fail(r->result, OP_DIFFERS, 0, "%s: what was written is not clean (%" PRIu64 " problems); it is marked as not finished",
		r->args->target, verdict.nr);
	return false;
}

/* Data blocks that were in use, and that nobody has now. */
static bool find_unowned(struct op_repair *r, struct bufio_client *target);

bool op_repair_write(struct op_repair *r, struct bufio_client *target, struct op_result *result)
{
	r->result = result;
	*result = (struct op_result){ .outcome = OP_DONE };
	if (!build(r, target) || !check_result(r, target) || !find_unowned(r, target))
		return false;
	if (r->is_unchecked && (r->has_more_mappings || r->nr_built != r->totals.mappings) && !look_again(r))
		return false;
	r->is_written = true;
	return true;
}

/* --- data blocks without an owner --- */

#define MAX_UNOWNED 1000000

static void add_unowned(struct op_repair *r, uint64_t begin, uint64_t end)
{
	r->totals.unowned += end - begin;
	if (r->nr_unowned && r->unowned[r->nr_unowned - 1].end == begin) {
		r->unowned[r->nr_unowned - 1].end = end;
		return;
	}
	if (r->nr_unowned == r->max_unowned) {
		uint64_t max = r->max_unowned ? 2 * r->max_unowned : 64;
		void *more = max > MAX_UNOWNED ? NULL : realloc(r->unowned, max * sizeof(*r->unowned));

		if (!more)
			return; /* they are counted */
		r->unowned = more;
		r->max_unowned = max;
	}
	r->unowned[r->nr_unowned].begin = begin;
	r->unowned[r->nr_unowned++].end = end;
}

/* More mappings of a data block than were counted: one of them is not where it was. */
static int compare_count(struct op_repair *r, struct pd_sm_lookup *old, struct pd_sm_lookup *new, uint64_t block)
{
	uint64_t was = 0, is = 0, end;
	int e = pd_sm_lookup(old, block, block + 1, &was, &end);

	if (e > 0)
		e = pd_sm_lookup(new, block, block + 1, &is, &end);
	r->has_more_mappings |= e > 0 && is > was;
	return e;
}

static int compare_words(struct op_repair *r, struct pd_sm_lookup *old, struct pd_sm_lookup *new, uint64_t begin)
{
	uint64_t was = 0, is = 0;
	uint32_t gone, differ;
	int e = pd_sm_lookup_word(old, begin, &was);

	r->totals.is_unowned_known &= e != 0;
	if (e > 0)
		e = pd_sm_lookup_word(new, begin, &is);
	if (e <= 0)
		return e;
	gone = pd_sm_word_used(was) & ~pd_sm_word_used(is);
	differ = pd_sm_word_used(was ^ is) | (pd_sm_word_large(was) & pd_sm_word_large(is));
	for (uint32_t bits = gone; bits; bits &= bits - 1)
		add_unowned(r, begin + (unsigned)__builtin_ctz(bits), begin + (unsigned)__builtin_ctz(bits) + 1);
	for (uint32_t bits = differ & ~gone; bits && e >= 0 && !r->has_more_mappings; bits &= bits - 1)
		e = compare_count(r, old, new, begin + (unsigned)__builtin_ctz(bits));
	return e;
}

static int compare_counts(struct op_repair *r, struct pd_sm_lookup *old, struct pd_sm_lookup *new, uint64_t nr)
{
	int e = 1;

	r->totals.is_unowned_known = true;
	for (uint64_t b = 0; b < nr && e >= 0; b += PD_SM_WORD_BLOCKS)
		e = compare_words(r, old, new, b);
	return e < 0 ? e : 0;
}

static bool find_unowned(struct op_repair *r, struct bufio_client *target)
{
	struct pd_reader quiet = r->pool.reader;
	struct pd_sm_lookup old, new;
	struct thin_pool result;
	uint64_t nr = r->pool.live.data_sm.nr_blocks;
	int e;

	if (r->pool.is_lost || nr > THIN_MAX_DATA_BLOCKS)
		return true;
	e = thin_pool_open(&result, target, &problem_silent);
	if (e)
		return fail_target(r, e, "cannot be read back");
	nr = nr < result.live.data_sm.nr_blocks ? nr : result.live.data_sm.nr_blocks;
	quiet.client = r->source;
	quiet.sink = &problem_silent;
	pd_sm_lookup_open(&old, &quiet, &r->pool.live.data_sm, false, nr);
	pd_sm_lookup_open(&new, &result.reader, &result.live.data_sm, false, nr);
	e = compare_counts(r, &old, &new, nr);
	pd_sm_lookup_close(&old);
	pd_sm_lookup_close(&new);
	return e ? fail(r, e) : true;
}
