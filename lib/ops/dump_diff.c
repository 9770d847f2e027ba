// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Two images compared, from the meaning down to the bytes: superblock, devices, virtual blocks, metadata blocks.
 * What is not thin-pool metadata on both sides is compared by its blocks alone.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "meta/block_diff.h"
#include "meta/meta.h"
#include "ops/dump_int.h"

#define AHEAD 64 /* blocks of the right image that are read in advance */

/* For people, without --verbose: so many lines of a kind in one place. */
#define MAX_SHOWN 10

struct image {
	struct problem_sink sink; /* first: a report finds its image by it */
	struct diff *diff;
	const char *name;
	const struct meta_format *format; /* NULL: not known */
	struct bufio_client *client;
	struct thin_pool pool;
};

struct diff {
	struct meta_block_diff blocks; /* first: a difference finds its diff by it */
	struct thin_delta delta;
	struct dump *d;
	struct image images[2];
	const char *section;   /* the last heading */
	uint64_t dev_id;       /* whose virtual blocks are compared */
	uint64_t same[2];      /* roots of the last trees that did not differ; 0: none */
	uint64_t block;        /* of the metadata, that is compared */
	uint64_t shown_devices, shown_ranges, shown_blocks, shown_fields; /* lines, those left out included */
	struct record_diff_totals totals;
};

static int put(struct diff *x, enum record_kind kind, const void *record)
{
	struct meta_visitor *v = &x->d->emitter->visitor;

	return v->record(v, kind, record);
}

static bool is_for_people(const struct diff *x)
{
	return x->d->args->format == DUMP_HUMAN;
}

/* The heading of @title comes with the first thing below it. */
static int put_in(struct diff *x, const char *title, enum record_kind kind, const void *record)
{
	bool is_new = is_for_people(x) && x->section != title;
	int r = is_new ? put(x, RECORD_DIFF_SECTION, &(struct record_diff_section){ title }) : 0;

	x->section = title;
	return r ? r : put(x, kind, record);
}

/* Counts a line in @shown; whether there is still room for it. */
static bool has_room(const struct diff *x, uint64_t *shown)
{
	return ++*shown <= MAX_SHOWN || !is_for_people(x) || x->d->args->verbose;
}

/* Behind the lines that were @shown: how many were left out, in a line that begins with @before. */
static int put_more(struct diff *x, uint64_t *shown, const char *before, const char *what)
{
	uint64_t left_out = *shown > MAX_SHOWN ? *shown - MAX_SHOWN : 0;

	*shown = 0;
	if (!left_out || !is_for_people(x) || x->d->args->verbose)
		return 0;
	return put(x, RECORD_DIFF_MORE, &(struct record_diff_more){ before, what, left_out });
}

/* One bad sector does not hide the rest. */
static int note_unreadable(struct image *image, uint64_t block, int error)
{
	struct dump *d = image->diff->d;
	struct problem p = {
		.code = PROBLEM_BLOCK_UNREADABLE, .block = block, .dev_id = PROBLEM_NO_DEVICE, .error = error,
	};

	if (error == ENOMEM || error == EDEADLK)
		return -error;
	d->result->unreadable++;
	image->diff->totals.unreadable_blocks++;
	if (d->nr_kept == MAX_KEPT)
		return 0;
	d->kept[d->nr_kept++] = p;
	d->emitter->subject = image->name;
	return d->emitter->visitor.problem(&d->emitter->visitor, &p);
}

/* --- the superblock --- */

static const char in_superblock[] = "superblock";

/* What one side does not have. */
static const char *or_none(const struct diff *x, const char *text)
{
	return text || !is_for_people(x) ? text : "none";
}

static int show_superblock_field(struct meta_block_diff *blocks, const struct meta_difference *what)
{
	struct diff *x = (struct diff *)blocks;

	if (!what->name)
		return 0; /* is shown with the blocks */
	x->totals.fields++;
	return put_in(x, in_superblock, RECORD_DIFF_FIELD,
		      &(struct record_diff_field){ what->name, or_none(x, what->left), or_none(x, what->right) });
}

static int diff_superblocks(struct diff *x)
{
	uint8_t copy[2][PD_BLOCK_SIZE];

	for (unsigned i = THIN_LEFT; i <= THIN_RIGHT; i++) {
		struct bufio_buffer *b;
		const void *data = bufio_read(x->images[i].client, 0, &b);

		if (!data)
			return note_unreadable(&x->images[i], 0, errno);
		memcpy(copy[i], data, PD_BLOCK_SIZE);
		bufio_release(b);
	}
	x->blocks.difference = show_superblock_field;
	return meta_diff_blocks(&x->blocks, PD_THIN_SUPERBLOCK, copy[THIN_LEFT], copy[THIN_RIGHT]);
}

/* --- devices --- */

static const char in_devices[] = "devices";

static const struct detail {
	const char *name;
	size_t offset, size;
} details[] = {
#define DETAIL(member) { #member, offsetof(struct thin_device, member), sizeof(((struct thin_device *)0)->member) }
	DETAIL(mapped_blocks), DETAIL(transaction_id), DETAIL(creation_time), DETAIL(snapshotted_time),
};

static uint64_t detail(const struct thin_device *device, const struct detail *f)
{
	const struct field number = { .offset = (uint16_t)f->offset, .size = (uint8_t)f->size };

	return device && device->has_details ? field_number(&number, device) : RECORD_UNKNOWN;
}

static int diff_details(struct diff *x, const struct thin_device *left, const struct thin_device *right)
{
	struct record_diff_device record = {
		.dev_id = left->id,
		.kind = left->has_details && right->has_details ? "different" : "unknown",
	};
	bool differs = false;
	int r = 0;

	for (size_t i = 0; i < sizeof(details) / sizeof(*details) && !r; i++) {
		record.field = details[i].name;
		record.left = detail(left, &details[i]);
		record.right = detail(right, &details[i]);
		if (record.left == record.right)
			continue;
		differs = true;
		r = has_room(x, &x->shown_devices) ? put_in(x, in_devices, RECORD_DIFF_DEVICE_FIELD, &record) : 0;
	}
	x->totals.devices += differs;
	return r;
}

static int show_lone_device(struct diff *x, const struct thin_pairs *p, const struct thin_device *left,
			    const struct thin_device *right)
{
	const struct thin_device *device = left ? left : right;
	bool is_unknown = thin_pairs_may_hide(p, left ? THIN_RIGHT : THIN_LEFT);
	struct record_diff_device record = {
		.dev_id = device->id,
		.kind = is_unknown ? "unknown" : left ? "left_only" : "right_only",
		.text = is_unknown ? left ? "was not found on the right, where the trees of devices are damaged" :
					    "was not found on the left, where the trees of devices are damaged" :
				     left ? "left only" : "right only",
		.left = RECORD_UNKNOWN,
		.right = RECORD_UNKNOWN,
	};

	x->totals.devices++;
	return has_room(x, &x->shown_devices) ? put_in(x, in_devices, RECORD_DIFF_DEVICE, &record) : 0;
}

static int diff_devices(struct diff *x)
{
	const struct thin_device *devices[2];
	struct thin_pairs p;
	int r;

	thin_pairs_open(&p, &x->images[THIN_LEFT].pool, &x->images[THIN_RIGHT].pool);
	while ((r = thin_pairs_next(&p, devices)) > 0) {
		r = devices[THIN_LEFT] && devices[THIN_RIGHT] ? diff_details(x, devices[THIN_LEFT], devices[THIN_RIGHT]) :
						      show_lone_device(x, &p, devices[THIN_LEFT], devices[THIN_RIGHT]);
		if (r)
			break;
	}
	thin_pairs_close(&p);
	return r ? r : put_more(x, &x->shown_devices, "  ", "lines");
}

/* --- virtual blocks --- */

static const char in_virtual_blocks[] = "virtual blocks";

static int show_range(struct thin_delta *delta, const struct thin_delta_range *range)
{
	struct diff *x = (struct diff *)((char *)delta - offsetof(struct diff, delta));
	bool has_left = thin_delta_has_left(range->kind), has_right = thin_delta_has_right(range->kind);
	struct record_diff_range record = {
		.dev_id = x->dev_id,
		.range = dump_delta_range(range, true),
		.left_time = has_left ? range->left.time : RECORD_UNKNOWN,
		.right_time = has_right ? range->right.time : RECORD_UNKNOWN,
	};
	enum record_kind row = has_left && has_right ? RECORD_DIFF_RANGE_BOTH :
			       has_left		     ? RECORD_DIFF_RANGE_LEFT :
			       has_right	     ? RECORD_DIFF_RANGE_RIGHT : RECORD_DIFF_RANGE_UNKNOWN;

	x->totals.ranges++;
	return has_room(x, &x->shown_ranges) ? put_in(x, in_virtual_blocks, row, &record) : 0;
}

static int diff_virtual_blocks(struct diff *x, const struct thin_device *left, const struct thin_device *right)
{
	static const struct thin_delta_range all = { .kind = DELTA_UNKNOWN, .end = UINT64_MAX };
	uint64_t ranges = x->totals.ranges;
	int r;

	if (!left || !right)
		return 0;
	x->dev_id = left->id;
	if (!left->has_root || !right->has_root)
		return show_range(&x->delta, &all);
	if (left->root == x->same[THIN_LEFT] && right->root == x->same[THIN_RIGHT])
		return 0; /* devices that share a whole tree: a hostile pool has many */
	x->delta = (struct thin_delta){
		.left = { &x->images[THIN_LEFT].pool, left->id, left->root },
		.right = { &x->images[THIN_RIGHT].pool, right->id, right->root },
		.by_data = true,
		.by_time = true,
		.skip_same = true,
		.range = show_range,
	};
	r = thin_delta(&x->delta);
	if (!r && x->totals.ranges == ranges) {
		x->same[THIN_LEFT] = left->root;
		x->same[THIN_RIGHT] = right->root;
	}
	return r;
}

/* The trees of devices were reported on by diff_devices(). */
static int diff_mappings(struct diff *x)
{
	struct thin_pool quiet[2] = { x->images[THIN_LEFT].pool, x->images[THIN_RIGHT].pool };
	const struct thin_device *devices[2];
	char before[48];
	struct thin_pairs p;
	int r;

	quiet[THIN_LEFT].reader.sink = quiet[THIN_RIGHT].reader.sink = &problem_silent;
	thin_pairs_open(&p, &quiet[THIN_LEFT], &quiet[THIN_RIGHT]);
	while ((r = thin_pairs_next(&p, devices)) > 0) {
		r = diff_virtual_blocks(x, devices[THIN_LEFT], devices[THIN_RIGHT]);
		snprintf(before, sizeof(before), "  device %" PRIu64 ": ", x->dev_id);
		if (!r)
			r = put_more(x, &x->shown_ranges, before, "ranges");
		if (r)
			break;
	}
	thin_pairs_close(&p);
	return r;
}

/* --- metadata blocks --- */

static const char in_blocks[] = "metadata blocks";

static int show_difference(struct meta_block_diff *blocks, const struct meta_difference *what)
{
	struct diff *x = (struct diff *)blocks;
	struct record_diff_block_field record = {
		.block = x->block,
		.offset = what->offset,
		.length = what->length,
		.name = what->name,
		.left = or_none(x, what->left),
		.right = or_none(x, what->right),
	};

	if (!has_room(x, &x->shown_fields))
		return 0;
	return put(x, what->name ? RECORD_DIFF_BLOCK_FIELD : RECORD_DIFF_BYTES, &record);
}

static int diff_block(struct diff *x, const void *left, const void *right)
{
	const char *l = pd_kind_name(pd_block_kind(left)), *r = pd_kind_name(pd_block_kind(right));
	char kinds[128];
	struct record_diff_block record = { .block = x->block, .left_kind = l, .right_kind = r, .kinds = kinds };
	int error;

	x->totals.blocks++;
	x->totals.bytes += meta_diff_bytes(left, right);
	if (!has_room(x, &x->shown_blocks))
		return 0;
	snprintf(kinds, sizeof(kinds), "%s%s%s", l, l == r ? "" : " -> ", l == r ? "" : r);
	error = put_in(x, in_blocks, RECORD_DIFF_BLOCK, &record);
	if (!error)
		error = meta_diff_blocks(&x->blocks, meta_diff_kind(left, right), left, right);
	return error ? error : put_more(x, &x->shown_fields, "    ", "differences");
}

static int compare_block(void *context, uint64_t block, const void *left, int error)
{
	struct diff *x = context;
	struct image *other = &x->images[THIN_RIGHT];
	struct bufio_buffer *b;
	const void *right;
	int r = 0;

	dump_advance(x->d, 1);
	if (block % AHEAD == 0)
		bufio_prefetch(other->client, block, 2 * AHEAD);
	right = bufio_read(other->client, block, &b);
	if (!right)
		r = note_unreadable(other, block, errno);
	if (!r && !left)
		r = note_unreadable(&x->images[THIN_LEFT], block, -error);
	x->block = block;
	if (!r && left && right && memcmp(left, right, PD_BLOCK_SIZE))
		r = diff_block(x, left, right);
	if (right)
		bufio_release(b);
	return r;
}

/* Those past the end of the shorter image. */
static int show_lone_blocks(struct diff *x, uint64_t nr_left, uint64_t nr_right)
{
	bool is_left = nr_left > nr_right;
	struct record_diff_blocks record = {
		.kind = is_left ? "left_only" : "right_only",
		.text = is_left ? "left only" : "right only",
		.begin = is_left ? nr_right : nr_left,
		.last = (is_left ? nr_left : nr_right) - 1,
		.length = is_left ? nr_left - nr_right : nr_right - nr_left,
	};

	*(is_left ? &x->totals.left_only_blocks : &x->totals.right_only_blocks) = record.length;
	return record.length ? put_in(x, in_blocks, RECORD_DIFF_BLOCKS, &record) : 0;
}

static int diff_blocks(struct diff *x)
{
	uint64_t left = bufio_get_device_size(x->images[THIN_LEFT].client);
	uint64_t right = bufio_get_device_size(x->images[THIN_RIGHT].client);
	struct bufio_scan scan = {
		.block = compare_block, .context = x, .nr_blocks = left < right ? left : right, .in_order = true,
	};
	int r;

	dump_expect(x->d, scan.nr_blocks);
	x->blocks.difference = show_difference;
	r = bufio_scan(x->images[THIN_LEFT].client, &scan);
	if (!r)
		r = put_more(x, &x->shown_blocks, "  ", "blocks");
	return r ? r : show_lone_blocks(x, left, right);
}

/* --- all --- */

static void report(struct problem_sink *sink, const struct problem *p)
{
	const struct image *image = (const struct image *)sink;
	struct dump *d = image->diff->d;

	d->emitter->subject = image->name;
	dump_report_now(&d->sink, p);
}

/* An image that is no metadata, or whose first block cannot be read, is a row of blocks. */
static void open_image(struct diff *x, unsigned i, const char *name, struct bufio_client *client)
{
	struct image *image = &x->images[i];
	struct bufio_buffer *b;
	const void *data;

	*image = (struct image){ .sink = { report }, .diff = x, .name = name, .client = client };
	data = bufio_read(client, 0, &b);
	if (!data)
		return;
	image->format = meta_probe(data);
	bufio_release(b);
}

static struct record_diff_side side_record(const struct image *image)
{
	return (struct record_diff_side){
		.image = image->name,
		.what = image->format ? image->format->name : "no metadata of a known kind",
		.bytes = bufio_device_describe(bufio_get_device(image->client))->size,
	};
}

static bool is_pool(const struct image *image)
{
	return image->format && image->format->is_supported;
}

static int diff_pools(struct diff *x)
{
	int r;

	for (unsigned i = THIN_LEFT; i <= THIN_RIGHT; i++) {
		r = thin_pool_open(&x->images[i].pool, x->images[i].client, &x->images[i].sink);
		if (r)
			return note_unreadable(&x->images[i], 0, -r);
	}
	r = diff_superblocks(x);
	if (!r)
		r = diff_devices(x);
	return r ? r : diff_mappings(x);
}

static int put_totals(struct diff *x, const struct record_diff *sizes)
{
	const struct record_diff_totals *t = &x->totals;
	uint64_t lone = t->left_only_blocks + t->right_only_blocks;
	char text[320], *end = text + sizeof(text), *p = text;

	bool has_tail = sizes->left.bytes % PD_BLOCK_SIZE || sizes->right.bytes % PD_BLOCK_SIZE;

	x->d->result->differs = t->blocks || sizes->left.bytes != sizes->right.bytes;
	if (!x->d->result->differs)
		p += snprintf(p, (size_t)(end - p), t->unreadable_blocks || has_tail ? "no difference found" : "identical");
	else
		p += snprintf(p, (size_t)(end - p),
			      "different: superblock fields %" PRIu64 ", devices %" PRIu64 ", ranges of virtual blocks %" PRIu64
			      ", metadata blocks %" PRIu64 " (%" PRIu64 " bytes)",
			      t->fields, t->devices, t->ranges, t->blocks, t->bytes);
	if (lone)
		p += snprintf(p, (size_t)(end - p), "; blocks that only one image has: %" PRIu64, lone);
	if (t->unreadable_blocks)
		p += snprintf(p, (size_t)(end - p), "; blocks that cannot be read: %" PRIu64, t->unreadable_blocks);
	if (has_tail)
		snprintf(p, (size_t)(end - p), "; bytes past the last whole block were not compared");
	x->totals.text = text;
	return put(x, RECORD_DIFF_TOTALS, &x->totals);
}

static int diff_images(struct diff *x)
{
	struct meta_visitor *v = &x->d->emitter->visitor;
	struct record_diff record = { side_record(&x->images[THIN_LEFT]), side_record(&x->images[THIN_RIGHT]) };
	int r = v->begin(v, RECORD_DIFF, &record);

	if (!r && is_pool(&x->images[THIN_LEFT]) && is_pool(&x->images[THIN_RIGHT]))
		r = diff_pools(x);
	if (!r)
		r = diff_blocks(x);
	if (!r)
		r = put_totals(x, &record);
	return r ? r : v->end(v, RECORD_DIFF, &record);
}

void dump_share_limit(struct dump *d)
{
	bufio_set_memory_limit(d->args->client, bufio_get_memory_limit(d->args->client) / 2);
	bufio_set_memory_limit(d->args->client2, bufio_get_memory_limit(d->args->client2) / 2);
}

int dump_diff(struct dump *d)
{
	struct diff *x;
	int r;

	if (d->args->as_script)
		return dump_diff_script(d);
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->d = d;
	d->sink.report = dump_report_now;
	dump_share_limit(d);
	open_image(x, THIN_LEFT, d->args->image, d->args->client);
	open_image(x, THIN_RIGHT, d->args->image2, d->args->client2);
	r = diff_images(x);
	free(x);
	return r;
}
