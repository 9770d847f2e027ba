// SPDX-License-Identifier: LGPL-2.1-or-later
/* From the superblock to the data of one virtual block: every block on the way is read and checked now. */
#include <inttypes.h>
#include <stdio.h>

#include "base/checked.h"
#include "meta/thin_disk.h"
#include "ops/dump_int.h"

#define TEXT_MAX 160

struct path {
	struct pd_lookup top, mappings;
	bool in_top, in_mappings; /* the key is there */
};

static const struct pd_hop *last_hop(const struct pd_lookup *l)
{
	return &l->hops[l->nr - 1];
}

static bool has_key(const struct pd_lookup *l, uint64_t key)
{
	const struct pd_hop *h = last_hop(l);

	return h->is_good && h->is_leaf && h->entry < h->nr && h->key == key;
}

static void judge(const struct dump *d, const struct pd_context *ctx, const struct pd_hop *h)
{
	uint64_t data = le_load(h->value, 8) >> THIN_TIME_BITS;

	if (data >= d->pool.nr_data_blocks)
		pd_report(&d->pool.reader, ctx, PROBLEM_DATA_BEYOND, h->block,
			  (struct problem){ .expected = d->pool.nr_data_blocks, .found = data, .count = 1,
					    .begin = h->key, .end = h->key + 1 });
}

/* The root of the device's tree, which --root may have named itself. 1, 0 when there is none, -errno. */
static int find_device(struct dump *d, struct path *path, uint64_t *root)
{
	struct pd_context ctx = { .where = WHERE_TOP, .dev_id = PROBLEM_NO_DEVICE };
	int r;

	*root = d->pool.single_root;
	if (d->pool.is_single)
		return 1;
	r = pd_lookup(&d->pool.reader, &ctx, d->pool.sb.data_mapping_root, sizeof(le64), d->args->dev_id, &path->top);
	if (r <= 0 || !has_key(&path->top, d->args->dev_id))
		return r < 0 ? r : 0;
	*root = le_load(last_hop(&path->top)->value, 8);
	return 1;
}

static int find(struct dump *d, struct path *path)
{
	struct pd_context mappings = { .where = WHERE_MAPPINGS, .dev_id = d->args->dev_id };
	uint64_t root;
	int r;

	*path = (struct path){ 0 };
	r = find_device(d, path, &root);
	if (r <= 0)
		return r;
	path->in_top = true;
	r = pd_lookup(&d->pool.reader, &mappings, root, sizeof(le64), d->args->virtual_block, &path->mappings);
	path->in_mappings = r > 0 && has_key(&path->mappings, d->args->virtual_block);
	if (path->in_mappings)
		judge(d, &mappings, last_hop(&path->mappings));
	return r < 0 ? r : 0;
}

static void fill_result(const struct dump *d, const struct path *path, struct record_path *r, char text[TEXT_MAX])
{
	uint64_t block_bytes = (uint64_t)d->pool.sb.data_block_size * 512, value;
	const struct pd_lookup *l = path->in_top ? &path->mappings : &path->top;

	r->text = text;
	if (!path->in_mappings) {
		bool is_lost = !last_hop(l)->is_good;

		r->result = is_lost ? "lost" : "not mapped";
		r->data_block = r->time = r->data_bytes = r->data_length = RECORD_UNKNOWN;
		snprintf(text, TEXT_MAX, "%s", is_lost ? "cannot be told, the way there is damaged" : "not mapped");
		return;
	}
	value = le_load(last_hop(l)->value, 8);
	r->result = "mapped";
	r->data_block = value >> THIN_TIME_BITS;
	r->time = value & THIN_TIME_MASK;
	r->data_bytes = saturating_mul(r->data_block, block_bytes);
	r->data_length = block_bytes;
	snprintf(text, TEXT_MAX, "data block %" PRIu64 ", bytes %" PRIu64 "..%" PRIu64 " of the data device", r->data_block,
		 r->data_bytes, r->data_bytes + block_bytes - 1);
}

static void hop_text(const struct pd_hop *h, bool is_mapping, char text[TEXT_MAX])
{
	uint64_t value = le_load(h->value, 8);
	int n = snprintf(text, TEXT_MAX, "%s, ", h->is_leaf ? "leaf" : "node");

	text += n;
	if (h->entry == h->nr)
		snprintf(text, TEXT_MAX - (size_t)n, "%u entries, all behind it", h->nr);
	else if (h->is_leaf && is_mapping)
		snprintf(text, TEXT_MAX - (size_t)n, "entry %u of %u: key %" PRIu64 " -> data block %" PRIu64 ", time %" PRIu64,
			 h->entry, h->nr, h->key, value >> THIN_TIME_BITS, value & THIN_TIME_MASK);
	else
		snprintf(text, TEXT_MAX - (size_t)n, "entry %u of %u: key %" PRIu64 " -> block %" PRIu64, h->entry, h->nr,
			 h->key, value);
}

static int emit_hops(struct dump *d, const struct pd_lookup *l, enum problem_where where)
{
	struct meta_visitor *v = &d->emitter->visitor;
	char text[TEXT_MAX];
	int r = 0;

	for (unsigned i = 0; i < l->nr && !r; i++) {
		const struct pd_hop *h = &l->hops[i];
		bool has_entry = h->is_good && h->entry < h->nr;
		struct record_hop hop = {
			.block = h->block,
			.where = where == WHERE_TOP ? "top level" : "mapping tree",
			.state = h->is_good ? "ok" : "BAD",
			.text = h->is_good ? text : "",
			.entry = has_entry ? h->entry : RECORD_UNKNOWN,
			.key = has_entry ? h->key : RECORD_UNKNOWN,
			.begin = h->begin,
			.end = h->end,
		};

		hop_text(h, where == WHERE_MAPPINGS, text);
		r = v->record(v, RECORD_HOP, &hop);
	}
	return r;
}

static int emit_superblock(struct dump *d)
{
	struct meta_visitor *v = &d->emitter->visitor;
	char text[TEXT_MAX];
	struct record_hop hop = {
		.block = d->pool.sb.blocknr,
		.where = "superblock",
		.state = d->pool.sb.csum == d->pool.sb.csum_expected ? "ok" : "BAD",
		.text = text,
		.entry = RECORD_UNKNOWN, .key = RECORD_UNKNOWN, .begin = RECORD_UNKNOWN, .end = RECORD_UNKNOWN,
	};

	snprintf(text, sizeof(text), "mapping root -> block %" PRIu64, d->pool.sb.data_mapping_root);
	return v->record(v, RECORD_HOP, &hop);
}

int dump_path(struct dump *d)
{
	struct meta_visitor *v = &d->emitter->visitor;
	struct record_path record = { .dev_id = d->args->dev_id, .virtual_block = d->args->virtual_block };
	char text[TEXT_MAX];
	struct path path;
	int r;

	d->sink.report = dump_report_later;
	if (!dump_open_pool(d))
		return 0;
	r = find(d, &path);
	if (r)
		return r;
	fill_result(d, &path, &record, text);
	r = v->begin(v, RECORD_PATH, &record);
	if (!r && !d->pool.is_single)
		r = emit_superblock(d);
	if (!r)
		r = emit_hops(d, &path.top, WHERE_TOP);
	if (!r)
		r = emit_hops(d, &path.mappings, WHERE_MAPPINGS);
	if (!r)
		r = dump_emit_kept(d);
	return r ? r : v->end(v, RECORD_PATH, &record);
}
