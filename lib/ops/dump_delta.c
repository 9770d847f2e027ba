// SPDX-License-Identifier: LGPL-2.1-or-later
/* Two devices of one pool compared: live, in the metadata snapshot, in an older generation, or any mapping tree. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/checked.h"
#include "ops/dump_int.h"

static const struct {
	enum record_kind row;         /* of a range */
	enum record_kind verbose_row; /* of one with its data blocks */
	const char *name, *text;
} kinds[NR_DELTA_KINDS] = {
	[DELTA_SAME] = { RECORD_DELTA_SAME, RECORD_DELTA_LEFT_DATA, "same", "same" },
	[DELTA_DIFFERENT] = { RECORD_DELTA_DIFFERENT, RECORD_DELTA_BOTH_DATA, "different", "different" },
	[DELTA_TIME] = { RECORD_DELTA_SAME, RECORD_DELTA_LEFT_DATA, "time", "time" },
	[DELTA_LEFT_ONLY] = { RECORD_DELTA_LEFT_ONLY, RECORD_DELTA_LEFT_DATA, "left_only", "left only" },
	[DELTA_RIGHT_ONLY] = { RECORD_DELTA_RIGHT_ONLY, RECORD_DELTA_RIGHT_DATA, "right_only", "right only" },
	[DELTA_UNKNOWN] = { RECORD_DELTA_UNKNOWN, RECORD_DELTA_UNKNOWN, "unknown", "unknown" },
};

#define NO_GROUP NR_DELTA_KINDS

struct comparison {
	struct thin_delta delta; /* first: a range finds its comparison by it */
	struct dump *d;
	struct thin_pool left_pool, right_pool; /* as each side's generation knows it */
	uint64_t blocks[NR_DELTA_KINDS];
	enum thin_delta_kind group; /* XML with data blocks: the element that is open */
};

/* --- the sides --- */

/* The pool as the side's generation knows it. */
static bool open_generation(struct dump *d, const struct op_side *side, struct thin_pool *pool)
{
	int r;

	*pool = d->pool;
	if (side->of == SIDE_SNAPSHOT) {
		pool->sb = pool->live;
		return dump_use_snapshot(d, pool);
	}
	if (side->of != SIDE_ROOT)
		return true;
	if (side->root >= pool->reader.nr_blocks) {
		op_fail(d->result, OP_USAGE, 0, "%s: has no block %" PRIu64 ", only %" PRIu64 " blocks of metadata",
			d->args->image, side->root, pool->reader.nr_blocks);
		return false;
	}
	r = side->has_dev ? thin_pool_use_root(pool, side->root, side->dev_id, NULL) : 1;
	if (r < 0)
		dump_fail_errno(d, r);
	else if (!r)
		op_fail(d->result, OP_USAGE, 0, "%s: block %" PRIu64 " is no root: the view 'roots' lists them",
			d->args->image, side->root);
	return r > 0;
}

/* There are details of the device, but no root: once more, with reports of why. */
static void tell_lost_root(struct dump *d, struct thin_pool *pool, uint64_t dev_id)
{
	struct thin_device device = { .id = PROBLEM_NO_DEVICE };
	struct thin_devices devices;

	thin_devices_open(&devices, pool);
	while (device.id != dev_id && thin_devices_next(&devices, &device) > 0)
		;
	thin_devices_close(&devices);
	op_fail(d->result, OP_LOST, 0, "%s: the mappings of device %" PRIu64 " cannot be reached", d->args->image, dev_id);
}

static bool open_side(struct dump *d, const struct op_side *side, struct thin_pool *pool, struct thin_delta_side *out)
{
	struct thin_device device;

	*out = (struct thin_delta_side){ .pool = pool, .dev_id = PROBLEM_NO_DEVICE, .root = side->root };
	if (!open_generation(d, side, pool))
		return false;
	if (!side->has_dev)
		return true;
	if (!dump_find_device(d, pool, side->dev_id, &device))
		return false;
	if (!device.has_root)
		tell_lost_root(d, pool, side->dev_id);
	out->dev_id = side->dev_id;
	out->root = device.root;
	return device.has_root;
}

#define SIDE_TEXT_MAX 256

static struct record_delta_side side_record(const struct dump *d, const struct op_side *side, uint64_t root,
					    char text[SIDE_TEXT_MAX])
{
	static const char *const ofs[] = {
		[SIDE_LIVE] = "live", [SIDE_SNAPSHOT] = "metadata-snapshot", [SIDE_ROOT] = "root",
	};
	bool is_old = side->has_dev && side->of == SIDE_ROOT;
	const char *lv = side->has_dev ? dump_device_name(d, side->dev_id) : NULL;
	char name[160] = "";

	if (lv)
		snprintf(name, sizeof(name), " (%s)", lv);
	if (!side->has_dev)
		snprintf(text, SIDE_TEXT_MAX, "tree %" PRIu64, root);
	else if (is_old)
		snprintf(text, SIDE_TEXT_MAX, "device %" PRIu64 "%s of root %" PRIu64, side->dev_id, name, side->root);
	else
		snprintf(text, SIDE_TEXT_MAX, "device %" PRIu64 "%s%s", side->dev_id, name,
			 side->of == SIDE_SNAPSHOT ? " of the metadata snapshot" : "");
	return (struct record_delta_side){
		.text = text,
		.of = side->has_dev ? ofs[side->of] : "tree",
		.dev_id = side->has_dev ? side->dev_id : RECORD_UNKNOWN,
		.generation = is_old ? side->root : RECORD_UNKNOWN,
		.root = root,
		.tree = side->has_dev ? RECORD_UNKNOWN : root,
	};
}

/* --- ranges --- */

static uint64_t sum(uint64_t a, uint64_t b)
{
	uint64_t s;

	return checked_add(a, b, &s) ? s : RECORD_UNKNOWN;
}

struct record_delta_range dump_delta_range(const struct thin_delta_range *r, bool with_data)
{
	uint64_t length = r->end == UINT64_MAX ? RECORD_UNKNOWN : r->end - r->begin;
	struct record_delta_range record = {
		.kind = kinds[r->kind].name,
		.text = kinds[r->kind].text,
		.begin = r->begin,
		.last = length == RECORD_UNKNOWN ? RECORD_UNKNOWN : r->end - 1,
		.length = length,
		.left_data = RECORD_UNKNOWN,
		.right_data = RECORD_UNKNOWN,
	};

	if (with_data && thin_delta_has_left(r->kind)) {
		record.left_data = r->left.data;
		record.left_last = r->left.data + length - 1;
	}
	if (with_data && thin_delta_has_right(r->kind)) {
		record.right_data = r->right.data;
		record.right_last = r->right.data + length - 1;
	}
	return record;
}

/* XML with data blocks has neighbours of one kind in one element. */
static int change_group(struct comparison *c, enum thin_delta_kind kind)
{
	static const struct record_delta_range none = { .begin = RECORD_UNKNOWN, .length = RECORD_UNKNOWN };
	struct meta_visitor *v = &c->d->emitter->visitor;
	int r = 0;

	if (c->group == kind)
		return 0;
	if (c->group != NO_GROUP)
		r = v->end(v, kinds[c->group].row, &none);
	c->group = kind;
	return r || kind == NO_GROUP ? r : v->begin(v, kinds[kind].row, &none);
}

static int show_range(struct thin_delta *delta, const struct thin_delta_range *range)
{
	struct comparison *c = (struct comparison *)delta;
	struct meta_visitor *v = &c->d->emitter->visitor;
	const struct op_dump_args *args = c->d->args;
	struct record_delta_range record = dump_delta_range(range, args->verbose);
	bool grouped = args->verbose && args->format == DUMP_XML && range->kind != DELTA_UNKNOWN;
	int r = change_group(c, grouped ? range->kind : NO_GROUP);

	c->blocks[range->kind] = sum(c->blocks[range->kind], record.length);
	if (r)
		return r;
	return v->record(v, args->verbose ? kinds[range->kind].verbose_row : kinds[range->kind].row, &record);
}

static struct record_delta_total total(const struct comparison *c, enum thin_delta_kind kind)
{
	uint64_t blocks = c->blocks[kind];

	return (struct record_delta_total){ blocks, saturating_mul(blocks, (uint64_t)c->d->pool.sb.data_block_size * 512) };
}

static int show_totals(const struct comparison *c)
{
	struct meta_visitor *v = &c->d->emitter->visitor;
	struct record_delta_totals totals = {
		.same = total(c, DELTA_SAME),
		.different = total(c, DELTA_DIFFERENT),
		.left_only = total(c, DELTA_LEFT_ONLY),
		.right_only = total(c, DELTA_RIGHT_ONLY),
		.unknown = total(c, DELTA_UNKNOWN),
	};

	return v->record(v, RECORD_DELTA_TOTALS, &totals);
}

/* --- all --- */

static int show(struct comparison *c)
{
	const struct op_dump_args *args = c->d->args;
	char left[SIDE_TEXT_MAX], right[SIDE_TEXT_MAX];
	struct record_delta record = {
		.image = args->image,
		.left = side_record(c->d, &args->left, c->delta.left.root, left),
		.right = side_record(c->d, &args->right, c->delta.right.root, right),
	};
	struct meta_visitor *v = &c->d->emitter->visitor;
	int r = v->begin(v, RECORD_DELTA, &record);

	if (!r)
		r = thin_delta(&c->delta);
	if (!r)
		r = change_group(c, NO_GROUP);
	if (!r && args->format != DUMP_XML)
		r = show_totals(c);
	return r ? r : v->end(v, RECORD_DELTA, &record);
}

/* As thin_delta has it: the superblock is around the comparison. */
static int show_xml(struct comparison *c)
{
	const struct thin_superblock *sb = &c->d->pool.sb;
	struct meta_visitor *v = &c->d->emitter->visitor;
	char uuid[THIN_UUID_MAX];
	struct record_delta_pool record = {
		.uuid = thin_uuid_text(sb, uuid),
		.time = sb->time,
		.transaction = sb->trans_id,
		.data_block_size = sb->data_block_size,
		.nr_data_blocks = sb->data_sm.nr_blocks,
		.metadata_snap = sb->held_root ? sb->held_root : RECORD_UNKNOWN,
	};
	int r = v->begin(v, RECORD_DELTA_POOL, &record);

	if (!r)
		r = show(c);
	return r ? r : v->end(v, RECORD_DELTA_POOL, &record);
}

int dump_delta(struct dump *d)
{
	struct comparison c = { .d = d, .delta = { .by_data = d->args->verbose, .range = show_range }, .group = NO_GROUP };

	d->sink.report = dump_report_now;
	if (!dump_open_pool(d) || !open_side(d, &d->args->left, &c.left_pool, &c.delta.left) ||
	    !open_side(d, &d->args->right, &c.right_pool, &c.delta.right))
		return 0;
	return d->args->format == DUMP_XML ? show_xml(&c) : show(&c);
}
