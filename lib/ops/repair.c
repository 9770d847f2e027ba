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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meta/thin_disk.h"
#include "ops/check_memory.h"
#include "ops/repair_int.h"
#include "ops/target.h"

#define MIB(bytes) (((bytes) >> 20) + 1)
#define STREAM_BYTES (UINT64_C(16) << 20)
#define STREAM_SHARE 64
#define REPORT_SHARE 32 /* of the limit */
#define LEAST_CACHE (UINT64_C(4) << 20)
#define LEAST_SHARE (UINT64_C(64) << 20) /* where the limit may be raised */

bool repair_fail(struct op_repair *r, int e)
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

bool repair_fail_memory(struct op_repair *r, const char *what, uint64_t need)
{
	op_fail(r->result, OP_USAGE, 0, "%s: %s takes more memory than the limit leaves: give --memory-limit=%" PRIu64 "MiB",
		r->args->input, what, MIB(need + need / 4));
	return false;
}

uint64_t repair_share(const struct op_repair *r, unsigned share)
{
	uint64_t bytes = r->limit / share;

	return r->args->may_raise_memory && bytes < LEAST_SHARE ? LEAST_SHARE : bytes;
}

bool repair_take_memory(void *context, uint64_t bytes)
{
	struct op_repair *r = context;

	if (r->taken + bytes + LEAST_CACHE > r->limit && !r->args->may_raise_memory)
		return false;
	if (r->taken + bytes + LEAST_CACHE > r->limit)
		r->limit = r->taken + bytes + STREAM_BYTES;
	r->taken += bytes;
	return set_cache(r);
}

bool repair_give_memory(struct op_repair *r, uint64_t taken)
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

	if (r->args->overrides.nr_data_blocks)
		return 0;
	pd_cursor_open(&c, &r->pool.reader, &ctx, r->pool.live.data_sm.bitmap_root, sizeof(struct pd_index_entry_disk));
	while ((e = pd_cursor_next_entry(&c, &key, &value)) > 0)
		bitmaps = key + 1;
	is_whole = !c.holes;
	pd_cursor_close(&c);
	if (e < 0)
		return e;
	r->data_bitmaps = is_whole ? bitmaps : 0;
	if (nr != THIN_UNKNOWN_SIZE && (is_whole ? pd_bitmaps(nr) != bitmaps : !nr)) {
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
	return e ? repair_fail(r, e) : true;
}

static bool scavenge(struct op_repair *r, void (*suspect)(void *, uint64_t, const void *))
{
	struct thin_scavenge_args args = {
		.pool = &r->pool, .take_memory = repair_take_memory, .context = r, .suspect = suspect,
	};
	uint64_t needed = 0;
	int e;

	if (r->args->progress)
		r->args->progress->total += bufio_get_device_size(r->source);
	e = thin_scavenge_create(&args, &r->s, &needed);
	if (e == -ENOMEM && needed)
		return repair_fail_memory(r, "to look for all that there is", needed + LEAST_CACHE);
	return e ? repair_fail(r, e) : true;
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
	if (!repair_give_memory(r, 0))
		return repair_fail(r, -ENOMEM);
	return scavenge(r, NULL);
}

bool repair_has_bad_superblock(const struct op_repair *r)
{
	return !r->pool.is_lost && r->pool.live.csum != r->pool.live.csum_expected;
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
	return e ? repair_fail(r, e) : true;
}

/* From here on the pool is what was chosen. What the kernel knows nothing of goes, and so does what it refuses. */
static bool see(struct op_repair *r)
{
	struct thin_superblock *sb = &r->pool.sb;

	r->devices = thin_rescue_devices(r->rescue, &r->nr_devices);
	r->reports = calloc(r->nr_devices + 1, sizeof(*r->reports));
	if (!r->reports)
		return repair_fail(r, -ENOMEM);
	r->pool.list = r->devices;
	r->pool.nr_list = r->nr_devices;
	r->pool.reader.client = r->source;
	sb->time = thin_rescue_time(r->rescue);
	if (r->pool.nr_data_blocks != THIN_UNKNOWN_SIZE)
		sb->data_sm.nr_blocks = r->pool.nr_data_blocks;
	sb->flags = 0;
	if (!sb->version || sb->version > THIN_VERSION_MAX)
		sb->version = THIN_VERSION_MAX;
	return true;
}

/* --- what is lost --- */

/* thin_check() has a copy of each device. */
static void count_copy(void *context, const struct thin_device *d, const struct thin_count *count)
{
	struct op_repair *r = context;
	struct device_report *report = &r->reports[repair_index_of(r, d->id)];

	report->kept = count->mappings;
	report->has_holes = count->holes;
}

/* Of data blocks there are at least as many as are mapped. */
static void use_highest(struct op_repair *r, uint64_t highest)
{
	uint64_t *nr = &r->pool.sb.data_sm.nr_blocks;

	r->totals.highest_data = highest;
	if (r->pool.nr_data_blocks != THIN_UNKNOWN_SIZE)
		return;
	if (*nr <= highest || *nr > THIN_MAX_DATA_BLOCKS || pd_bitmaps(*nr) != r->data_bitmaps)
		*nr = r->totals.mappings ? highest + 1 : 0;
	r->pool.nr_data_blocks = *nr;
}

/* A leaf that the scan took for something else, because it could be, may have mappings of any time. */
static void use_newest(struct op_repair *r, uint64_t newest)
{
	if (newest > r->pool.sb.time)
		r->pool.sb.time = thin_rescue_raise_time(r->rescue, newest);
}

uint64_t repair_share_memory(struct op_repair *r, const struct thin_pool *pool, struct bufio_client *c)
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
		return repair_fail(r, -ENOMEM);
	r->sink.report = repair_report_problem;
	r->pool.reader.sink = &r->sink;
	check.memory = repair_share_memory(r, &r->pool, r->source);
	if (!check.memory)
		return false;
	if (r->args->progress)
		r->args->progress->total += 2 * r->pool.live.metadata_sm.nr_allocated;
	e = thin_check(&r->pool, &check);
	r->pool.reader.sink = &problem_silent;
	if (e)
		return repair_fail(r, e);
	repair_sum_up(r);
	use_highest(r, check.highest_data);
	use_newest(r, check.newest);
	return true;
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
bool repair_look_again(struct op_repair *r)
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
	if (!repair_correct_superblock(r) || !open_pool(r) || !look(r) || !repair_choose(r) || !has_data_block_size(r) ||
	    !mend(r) || !see(r))
		return false;
	r->is_unchecked = r->args->target && !r->args->dry_run && is_whole(r);
	if (!r->is_unchecked && !check_trees(r))
		return false;
	thin_scavenge_destroy(r->s);
	r->s = NULL;
	return repair_give_memory(r, repair_share(r, REPAIR_RESCUE_SHARE)) || repair_fail(r, -ENOMEM);
}

struct op_repair *op_repair_open(const struct op_repair_args *args, struct op_result *result)
{
	struct op_repair *r = calloc(1, sizeof(*r));

	*result = (struct op_result){ .outcome = OP_DONE };
	if (!r) {
		op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&r->lock, NULL);
	r->args = args;
	r->result = result;
	r->source = args->client;
	r->limit = bufio_get_memory_limit(args->client);
	r->report_memory = r->limit / REPORT_SHARE;
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
	pthread_mutex_destroy(&r->lock);
	free(r->corrected);
	free(r->reports);
	free(r->losses);
	free(r->suspects);
	free(r->unowned);
	free(r);
}

