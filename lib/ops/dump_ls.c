// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A row a device, in columns that were chosen. The devices are walked twice: to find out how wide the columns are, with
 * reports of damage, and to show them. Mappings are looked at only for columns that need them.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "ops/dump_int.h"

#define MAX_COLUMNS 64
#define DEFAULT_COLUMNS "DEV,MAPPED,CREATE_TIME,SNAP_TIME"
#define NAMED_COLUMNS DEFAULT_COLUMNS ",LV"

struct ls {
	struct dump *d;
	const struct field *columns[MAX_COLUMNS];
	size_t widths[MAX_COLUMNS];
	unsigned nr_columns;
	bool needs_mappings, needs_shares;
	struct pd_memo memo;
	struct thin_share share;
};

/* --- columns --- */

static const struct field *find_column(const char *name, size_t len)
{
	const struct record_type *t = &record_types[RECORD_LS_ROW];

	for (unsigned i = 0; i < t->nr_fields; i++)
		if (strlen(t->fields[i].name) == len && !strncasecmp(t->fields[i].name, name, len))
			return &t->fields[i];
	return NULL;
}

static void put_upper(struct text_out *o, const char *s)
{
	for (; *s; s++) {
		char c = (char)toupper((unsigned char)*s);

		text_put(o, &c, 1);
	}
}

static void refuse_column(struct dump *d, const char *name, size_t len)
{
	const struct record_type *t = &record_types[RECORD_LS_ROW];
	struct text_out known;

	text_out_init(&known, -1);
	for (unsigned i = 0; i < t->nr_fields; i++) {
		text_puts(&known, i ? ", " : "");
		put_upper(&known, t->fields[i].name);
	}
	op_fail(d->result, OP_USAGE, 0, "'%.*s' is no column; there are %.*s", (int)len, name, (int)known.len,
		known.buffer);
}

static bool add_column(struct ls *ls, const char *name, size_t len)
{
	const struct field *f = find_column(name, len);

	if (!f) {
		refuse_column(ls->d, name, len);
		return false;
	}
	if (ls->nr_columns == MAX_COLUMNS) {
		op_fail(ls->d->result, OP_USAGE, 0, "at most %d columns can be shown", MAX_COLUMNS);
		return false;
	}
	ls->columns[ls->nr_columns++] = f;
	ls->needs_mappings |= f->offset >= offsetof(struct record_ls_row, highest);
	ls->needs_shares |= f->offset >= offsetof(struct record_ls_row, exclusive);
	return true;
}

static bool parse_columns(struct ls *ls, const char *names)
{
	for (size_t len; *names; names += len + (names[len] == ',')) {
		len = strcspn(names, ",");
		if (len && !add_column(ls, names, len))
			return false;
	}
	return true;
}

/* --- rows --- */

static struct record_amount amount(const struct dump *d, uint64_t blocks)
{
	uint64_t sectors = d->pool.sb.data_block_size;

	if (blocks == RECORD_UNKNOWN)
		return (struct record_amount){ blocks, blocks, blocks, blocks };
	return (struct record_amount){
		.blocks = blocks,
		.sectors = saturating_mul(blocks, sectors),
		.bytes = saturating_mul(blocks, sectors * 512),
		.size = saturating_mul(blocks, sectors * 512),
	};
}

/* Of the last block that is mapped: its last sector and byte, and the size that a device with so much must have. */
static struct record_amount last(const struct dump *d, uint64_t block)
{
	struct record_amount a = amount(d, block == RECORD_UNKNOWN ? block : block + 1);

	if (block == RECORD_UNKNOWN)
		return a;
	return (struct record_amount){ block, a.sectors - 1, a.bytes - 1, a.size };
}

/* Mappings that were not reached are neither exclusive nor shared. @exclusive_of: NULL, or of this device. */
static void fill_counted(struct ls *ls, const struct thin_count *count, const uint64_t *exclusive_of,
			 struct record_ls_row *row)
{
	uint64_t exclusive = RECORD_UNKNOWN, shared = RECORD_UNKNOWN;

	if (exclusive_of) {
		exclusive = *exclusive_of;
		shared = count->mappings > exclusive ? count->mappings - exclusive : 0;
	}
	row->highest = last(ls->d, ls->needs_mappings && count->mappings ? count->highest : RECORD_UNKNOWN);
	row->exclusive = amount(ls->d, exclusive);
	row->shared = amount(ls->d, shared);
}

/* Without details the mappings themselves say how many they are. */
static int fill_row(struct ls *ls, const struct thin_device *device, uint64_t index, struct record_ls_row *row)
{
	struct dump *d = ls->d;
	struct thin_count count = { 0 };
	bool walks = !d->args->skip_mappings && device->has_root && (ls->needs_mappings || !device->has_details);
	uint64_t mapped = device->mapped_blocks;
	int r = walks ? thin_walk_mappings(&d->pool, device, ls->memo.nr ? &ls->memo : NULL, NULL, &count) : 0;

	if (!device->has_details)
		mapped = walks ? count.mappings : RECORD_UNKNOWN;
	*row = (struct record_ls_row){
		.dev_id = device->id,
		.transaction = device->has_details ? device->transaction_id : RECORD_UNKNOWN,
		.creation_time = device->has_details ? device->creation_time : RECORD_UNKNOWN,
		.snap_time = device->has_details ? device->snapshotted_time : RECORD_UNKNOWN,
		.lv = dump_device_name(d, device->id),
		.mapped = amount(d, mapped),
	};
	fill_counted(ls, &count, walks && ls->share.exclusive ? &ls->share.exclusive[index] : NULL, row);
	return r;
}

static int walk_devices(struct ls *ls, int (*take)(struct ls *ls, const struct record_ls_row *row))
{
	const struct op_dump_args *args = ls->d->args;
	struct record_ls_row row;
	struct thin_devices devices;
	struct thin_device device;
	int r;

	thin_devices_open(&devices, &ls->d->pool);
	for (uint64_t i = 0; (r = thin_devices_next(&devices, &device)) > 0; i++) {
		if (args->only_device && device.id != args->dev_id)
			continue;
		r = fill_row(ls, &device, i, &row);
		if (!r)
			r = take(ls, &row);
		if (r)
			break;
	}
	thin_devices_close(&devices);
	return r;
}

/* --- showing them --- */

static void put_cell(struct text_out *cell, const struct field *f, const struct record_ls_row *row)
{
	bool is_unknown = f->format == FIELD_TEXT ? !field_text(f, row) : field_number(f, row) == RECORD_UNKNOWN;

	text_out_init(cell, -1); /* not flushed anywhere: no cell is as long as the buffer */
	if (is_unknown)
		text_put(cell, "-", 1);
	else
		text_put_field(cell, f, row, true);
}

static void widen(struct ls *ls, unsigned column, size_t len)
{
	if (len > ls->widths[column])
		ls->widths[column] = len;
}

static int measure(struct ls *ls, const struct record_ls_row *row)
{
	struct text_out cell;

	for (unsigned i = 0; i < ls->nr_columns; i++) {
		put_cell(&cell, ls->columns[i], row);
		widen(ls, i, cell.len);
	}
	return 0;
}

static void put_padding(struct text_out *o, size_t width, size_t len)
{
	for (; len < width; len++)
		text_put(o, " ", 1);
}

static int put_row(struct ls *ls, const struct record_ls_row *row)
{
	struct text_out cell, *o = &ls->d->out;

	for (unsigned i = 0; i < ls->nr_columns; i++) {
		put_cell(&cell, ls->columns[i], row);
		put_padding(o, ls->widths[i], cell.len);
		text_put(o, cell.buffer, cell.len);
		text_put(o, " ", 1);
	}
	text_put(o, "\n", 1);
	return o->error;
}

static void put_headers(struct ls *ls)
{
	struct text_out *o = &ls->d->out;

	for (unsigned i = 0; i < ls->nr_columns; i++) {
		const char *name = ls->columns[i]->name;

		widen(ls, i, strlen(name));
		put_padding(o, ls->widths[i], strlen(name));
		put_upper(o, name);
		text_put(o, " ", 1);
	}
	text_put(o, "\n", 1);
}

static int show_table(struct ls *ls)
{
	if (!ls->d->args->no_headers)
		put_headers(ls);
	return walk_devices(ls, put_row);
}

static int emit_row(struct ls *ls, const struct record_ls_row *row)
{
	struct meta_visitor *v = &ls->d->emitter->visitor;

	return v->record(v, RECORD_LS_ROW, row);
}

static int show_document(struct ls *ls)
{
	struct dump *d = ls->d;
	const uint64_t *problems = d->result->problems;
	struct meta_visitor *v = &d->emitter->visitor;
	struct record_ls record = {
		.image = d->args->image,
		.data_block_bytes = (uint64_t)d->pool.sb.data_block_size * 512,
		.fatal = problems[SEVERITY_FATAL],
		.lossy = problems[SEVERITY_LOSSY],
		.repairable = problems[SEVERITY_REPAIRABLE],
		.cosmetic = problems[SEVERITY_COSMETIC],
	};
	int r = v->begin(v, RECORD_LS, &record);

	if (!r)
		r = walk_devices(ls, emit_row);
	if (!r)
		r = dump_emit_kept(d);
	return r ? r : v->end(v, RECORD_LS, &record);
}

static int list(struct ls *ls)
{
	struct dump *d = ls->d;
	int r = 0;

	dump_make_memo(d, &ls->memo);
	if (ls->needs_shares && !d->args->skip_mappings)
		r = dump_count_shares(d, &ls->share);
	if (!r && d->result->outcome == OP_DONE)
		r = walk_devices(ls, measure);
	if (r || d->result->outcome != OP_DONE)
		return r;
	d->pool.reader.sink = &problem_silent;
	ls->memo.retell = 0;
	return d->args->format == DUMP_JSON ? show_document(ls) : show_table(ls);
}

int dump_ls(struct dump *d)
{
	struct ls ls = { .d = d };
	int r;

	d->sink.report = d->args->format == DUMP_JSON ? dump_report_later : dump_report_now;
	if (!parse_columns(&ls, d->args->columns ? d->args->columns : "") ||
	    (!ls.nr_columns && !parse_columns(&ls, d->lvm ? NAMED_COLUMNS : DEFAULT_COLUMNS)) || !dump_open_pool(d))
		return 0;
	r = list(&ls);
	dump_share_free(&ls.share);
	free(ls.memo.entries);
	return r;
}
