// SPDX-License-Identifier: LGPL-2.1-or-later
/* How much metadata is needed: by a pool that is planned, or by one that is there. */
#include <stdlib.h>
#include <string.h>

#include "meta/thin_disk.h"
#include "meta/thin_size.h"
#include "ops/dump_int.h"

#define BLOCK_SECTORS (PD_BLOCK_SIZE / 512)

/* --- a size in a unit --- */

#define KIB UINT64_C(1024)
#define KB UINT64_C(1000)

static const struct size_unit {
	char letter;
	const char *name;
	uint64_t bytes;
} units[] = {
	{ 'b', "bytes", 1 },
	{ 's', "sectors", 512 },
	{ 'k', "kibibytes", KIB },
	{ 'K', "kilobytes", KB },
	{ 'm', "mebibytes", KIB * KIB },
	{ 'M', "megabytes", KB * KB },
	{ 'g', "gibibytes", KIB * KIB * KIB },
	{ 'G', "gigabytes", KB * KB * KB },
	{ 't', "tebibytes", KIB * KIB * KIB * KIB },
	{ 'T', "terabytes", KB * KB * KB * KB },
	{ 'p', "pebibytes", KIB * KIB * KIB * KIB * KIB },
	{ 'P', "petabytes", KB * KB * KB * KB * KB },
	{ 'e', "ebibytes", KIB * KIB * KIB * KIB * KIB * KIB }, /* spelt as thin_metadata_size does */
	{ 'E', "exabytes", KB * KB * KB * KB * KB * KB },
};

#define NR_UNITS (sizeof(units) / sizeof(*units))

static const struct size_unit *find_unit(char letter)
{
	const struct size_unit *u = units;

	while (u->letter != letter)
		u++;
	return u;
}

char op_size_unit(const char *name)
{
	for (size_t i = 0; i < NR_UNITS; i++)
		if (name[0] == units[i].letter && !name[1])
			return name[0];
	for (size_t i = 0; i < NR_UNITS && *name; i++)
		if (!strncmp(units[i].name, name, strlen(name)))
			return units[i].letter;
	return '\0';
}

uint64_t op_size_unit_bytes(char unit)
{
	return find_unit(unit)->bytes;
}

static void put_in_form(struct text_out *o, const struct op_size_form *form, uint64_t bytes)
{
	const struct size_unit *u = find_unit(form->unit);
	double value = (double)bytes / (double)u->bytes;

	if (bytes % u->bytes == 0)
		text_put_dec(o, bytes / u->bytes);
	else
		text_printf(o, value < 0.01 ? "%.2e" : "%.2f", value);
	if (form->what == SIZE_SHORT)
		text_put(o, &u->letter, 1);
	else if (form->what != SIZE_NUMBER)
		text_printf(o, "%s%s", form->what == SIZE_NAMED ? " " : "", u->name);
	text_put(o, "\n", 1);
}

/* --- a pool that is planned --- */

static bool fail(struct dump *d, const char *reason)
{
	op_fail(d->result, OP_USAGE, 0, "%s", reason);
	return false;
}

static bool check_plan(struct dump *d)
{
	const struct op_dump_args *a = d->args;
	uint64_t sectors = a->overrides.data_block_bytes / 512;

	if (!a->data_bytes)
		return fail(d, "no --data-size: name an IMAGE, or the size of the data device that is planned");
	if (!a->overrides.data_block_bytes)
		return fail(d, "no --data-block-size: the size of a data block is part of the sum");
	if (a->overrides.data_block_bytes % (THIN_BLOCK_SIZE_MIN * 512) || sectors > THIN_BLOCK_SIZE_MAX)
		return fail(d, "data blocks have a multiple of 64KiB, from 64KiB to 1GiB");
	if (a->data_bytes < a->overrides.data_block_bytes)
		return fail(d, "the data device is smaller than one data block");
	if (a->max_thins > THIN_MAX_DEVICES)
		return fail(d, "a pool has at most 16777216 thin devices and snapshots");
	return true;
}

static const char *too_much(uint64_t blocks)
{
	return blocks <= PD_MAX_METADATA_BLOCKS ? NULL :
	       "The kernel uses no more than 4161600 blocks, 15.8 GiB: take larger data blocks, or several pools.\n";
}

static int plan(struct dump *d)
{
	const struct op_dump_args *a = d->args;
	struct meta_visitor *v = &d->emitter->visitor;
	struct record_size_plan s = {
		.data_bytes = a->data_bytes,
		.data_block_bytes = a->overrides.data_block_bytes,
		.max_thins = a->max_thins ? a->max_thins : 1,
		.most_blocks = PD_MAX_METADATA_BLOCKS,
	};
	int r;

	if (!check_plan(d))
		return 0;
	s.data_blocks = s.data_bytes / s.data_block_bytes;
	s.blocks = thin_blocks_when_full(s.data_blocks, s.max_thins);
	s.sectors = s.blocks * BLOCK_SECTORS;
	s.bytes = s.blocks * PD_BLOCK_SIZE;
	s.note = too_much(s.blocks);
	if (a->size_form.unit) {
		put_in_form(&d->out, &a->size_form, s.bytes);
		return 0;
	}
	r = v->begin(v, RECORD_SIZE_PLAN, &s);
	return r ? r : v->end(v, RECORD_SIZE_PLAN, &s);
}

/* --- a pool that is there --- */

/* Adds up devices, mappings and the nodes of the mapping trees. */
static int add_devices(struct dump *d, struct pd_memo *memo, struct record_size_pool *s)
{
	struct thin_devices devices;
	struct thin_device device;
	int r;

	thin_devices_open(&devices, &d->pool);
	while ((r = thin_devices_next(&devices, &device)) > 0) {
		struct thin_count count = { 0 };

		r = device.has_root ? thin_walk_mappings(&d->pool, &device, memo, NULL, &count) : 0;
		if (r)
			break;
		s->devices++;
		s->mappings += count.visited;
		s->packed_mappings += thin_tree_nodes(count.visited, count.mappings, sizeof(le64));
	}
	thin_devices_close(&devices);
	return r;
}

static int count_entries(struct dump *d, enum problem_where where, uint64_t root, uint64_t *nr)
{
	struct pd_context ctx = { .where = where, .dev_id = PROBLEM_NO_DEVICE };
	const struct pd_node *leaf;
	struct pd_cursor c;
	int r;

	pd_cursor_open(&c, &d->pool.reader, &ctx, root, sizeof(le32));
	while ((r = pd_cursor_next(&c, &leaf)) > 0)
		;
	*nr = c.entries;
	pd_cursor_close(&c);
	return r;
}

/* Large counts get a tree; there are as many as now. A metadata snapshot has no space maps of its own. */
static int add_space_maps(struct dump *d, struct record_size_pool *s)
{
	const struct thin_superblock *live = &d->pool.live;
	uint64_t data_maps = pd_bitmaps(s->data_blocks), large;
	int r = count_entries(d, WHERE_DATA_COUNTS, live->data_sm.ref_count_root, &large);

	if (r)
		return r;
	s->packed_data_sm = data_maps + thin_tree_nodes(data_maps, data_maps, sizeof(struct pd_index_entry_disk)) +
			    thin_tree_nodes(large, large, sizeof(le32));
	r = count_entries(d, WHERE_META_COUNTS, live->metadata_sm.ref_count_root, &large);
	s->packed_metadata_sm = 1 + pd_bitmaps(s->total) + thin_tree_nodes(large, large, sizeof(le32));
	return r;
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

/* Numbers that are not possible were reported with the superblock. */
static int add_up(struct dump *d, struct pd_memo *memo, struct record_size_pool *s)
{
	const struct thin_superblock *live = &d->pool.live;
	int r;

	s->data_block_bytes = (uint64_t)d->pool.sb.data_block_size * 512;
	s->data_blocks = at_most(live->data_sm.nr_blocks, THIN_MAX_DATA_BLOCKS);
	s->used = live->metadata_sm.nr_allocated;
	s->total = at_most(live->metadata_sm.nr_blocks, PD_MAX_METADATA_BLOCKS);
	r = add_devices(d, memo, s);
	if (!r)
		r = add_space_maps(d, s);
	s->packed_superblock = 1;
	s->packed_details = thin_tree_nodes(s->devices, s->devices, sizeof(struct thin_details_disk));
	s->packed_top = thin_tree_nodes(s->devices, s->devices, sizeof(le64));
	s->packed = s->packed_superblock + s->packed_details + s->packed_top + s->packed_mappings + s->packed_data_sm +
		    s->packed_metadata_sm;
	s->max_thins = d->args->max_thins ? d->args->max_thins : s->devices;
	s->full = thin_blocks_when_full(s->data_blocks, s->max_thins);
	return r;
}

static int measure(struct dump *d, struct pd_memo *memo)
{
	const uint64_t *problems = d->result->problems;
	struct meta_visitor *v = &d->emitter->visitor;
	struct record_size_pool s = {
		.image = d->args->image,
		.what = d->args->use_snapshot ? "thin-pool metadata snapshot" : "thin-pool metadata",
		.most = PD_MAX_METADATA_BLOCKS,
	};
	int r = add_up(d, memo, &s);

	s.fatal = problems[SEVERITY_FATAL];
	s.lossy = problems[SEVERITY_LOSSY];
	s.repairable = problems[SEVERITY_REPAIRABLE];
	s.cosmetic = problems[SEVERITY_COSMETIC];
	s.note = too_much(s.full);
	if (!r)
		r = v->begin(v, RECORD_SIZE_POOL, &s);
	if (!r)
		r = dump_emit_kept(d);
	return r ? r : v->end(v, RECORD_SIZE_POOL, &s);
}

static int measure_pool(struct dump *d)
{
	struct pd_memo memo;
	int r = 0;

	d->sink.report = d->args->format == DUMP_JSON ? dump_report_later : dump_report_now;
	if (!dump_open_pool(d))
		return 0;
	dump_make_memo(d, &memo);
	if (memo.nr)
		r = measure(d, &memo);
	else
		dump_refuse_memory(d, "to know what is shared", d->pool.reader.nr_blocks * sizeof(*memo.entries));
	free(memo.entries);
	return r;
}

int dump_size(struct dump *d)
{
	return d->args->image ? measure_pool(d) : plan(d);
}
