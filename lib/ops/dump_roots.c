// SPDX-License-Identifier: LGPL-2.1-or-later
/* The generations that can still be found, against the current one; then trees of devices that are left over. */
#include <inttypes.h>
#include <stdio.h>

#include "meta/thin_disk.h"
#include "meta/thin_scavenge.h"
#include "ops/dump_int.h"

/* A screen for people; a program gets all. */
#define MAX_SHOWN_GENERATIONS 100
#define MAX_SHOWN_TREES 20
#define MAX_SHOWN_IDS 8
/* In all: old top levels share their leaves, and could make up more devices than any program wants. */
#define MAX_TOLD_DEVICES 1000000

struct roots {
	struct dump *d;
	const struct thin_scavenge *s;
	struct pd_reader quiet;
	/* The current devices: the keys of this tree. */
	bool has_current;
	uint64_t current_root;
	uint32_t current_value_size;
	uint64_t nr_told; /* devices */
};

/* --- devices --- */

static void open_ids(const struct roots *v, struct pd_cursor *c, uint64_t root, uint32_t value_size)
{
	struct pd_context ctx = { .where = WHERE_TOP, .dev_id = PROBLEM_NO_DEVICE };

	pd_cursor_open(c, &v->quiet, &ctx, root, value_size);
}

/* "; has 5, 9 (gone now)": written piece by piece. */
struct ids {
	char text[160];
	int len;
	unsigned nr;
};

static void add_id(struct ids *ids, const char *intro, uint64_t id)
{
	size_t room = sizeof(ids->text) - (size_t)ids->len;

	if (ids->nr < MAX_SHOWN_IDS)
		ids->len += snprintf(ids->text + ids->len, room, "%s%" PRIu64, ids->nr ? ", " : intro, id);
	ids->nr++;
}

static const char *ids_text(struct ids *ids, const char *outro)
{
	size_t room = sizeof(ids->text) - (size_t)ids->len;

	if (ids->nr > MAX_SHOWN_IDS)
		snprintf(ids->text + ids->len, room, " and %u more%s", ids->nr - MAX_SHOWN_IDS, outro);
	else if (ids->nr)
		snprintf(ids->text + ids->len, room, "%s", outro);
	return ids->text;
}

/* Both sorted lists of ids side by side. */
static int compare_ids(const struct roots *v, uint64_t root, struct ids *gone, struct ids *missing)
{
	struct pd_cursor a, b;
	uint64_t x = 0, y = 0;
	const uint8_t *value;
	int ra, rb;

	open_ids(v, &a, root, sizeof(le64));
	open_ids(v, &b, v->current_root, v->current_value_size);
	ra = pd_cursor_next_entry(&a, &x, &value);
	rb = pd_cursor_next_entry(&b, &y, &value);
	while ((ra > 0 || rb > 0) && ra >= 0 && rb >= 0) {
		bool use_a = ra > 0 && (!rb || x <= y), use_b = rb > 0 && (!ra || y <= x);

		if (!use_b)
			add_id(gone, "; has ", x);
		else if (!use_a)
			add_id(missing, "; lacks ", y);
		if (use_a)
			ra = pd_cursor_next_entry(&a, &x, &value);
		if (use_b)
			rb = pd_cursor_next_entry(&b, &y, &value);
	}
	pd_cursor_close(&a);
	pd_cursor_close(&b);
	return ra < 0 ? ra : rb < 0 ? rb : 0;
}

static int emit_devices(struct roots *v, const struct thin_generation *g)
{
	struct meta_visitor *out = &v->d->emitter->visitor;
	struct record_generation_device record;
	struct pd_cursor c;
	const uint8_t *value;
	int r = 0;

	open_ids(v, &c, g->root, sizeof(le64));
	while (v->nr_told < MAX_TOLD_DEVICES && (r = pd_cursor_next_entry(&c, &record.dev_id, &value)) > 0) {
		struct thin_below below = { .holes = 1 };

		record.root = le_load(value, 8);
		thin_scavenge_below(v->s, record.root, &below);
		record.mappings = below.mappings;
		record.holes = below.holes;
		v->nr_told++;
		r = out->record(out, RECORD_GENERATION_DEVICE, &record);
		if (r)
			break;
	}
	pd_cursor_close(&c);
	return r < 0 ? r : 0;
}

/* --- generations --- */

/* By how well the details fit. */
static const char *const doubts[NR_THIN_FITS] = {
	[FIT_EXACT] = "doubtful: parts are younger than its details",
	[FIT_DEVICES] = "doubtful: its details say other numbers of mappings",
	[FIT_POOR] = "doubtful: its details say other devices",
	[FIT_NONE] = "doubtful: no details fit",
};

static const char *state_text(const struct thin_generation *g, char *text, size_t size)
{
	if (g->state == STATE_HOLES)
		snprintf(text, size, "%" PRIu32 " of %" PRIu32 " devices complete, %" PRIu64 " hole%s",
			 g->complete_devices, g->devices, g->holes, g->holes == 1 ? "" : "s");
	else if (g->state == STATE_DOUBTFUL)
		snprintf(text, size, "%s", doubts[g->fit]);
	else
		snprintf(text, size, "%s", g->state == STATE_LOST ? "top level lost" : thin_state_name(g->state));
	return text;
}

/* Where a number is only what was found, there may have been more. */
static const char *at_least(const struct thin_generation *g, uint64_t number, char *text, size_t size)
{
	if (number == RECORD_UNKNOWN)
		snprintf(text, size, "?");
	else
		snprintf(text, size, "%s%" PRIu64, g->is_exact ? "" : ">=", number);
	return text;
}

/* What a generation is called; the strings of a record live here. */
struct texts {
	char state[96], transaction[32], time[32];
	struct ids gone, missing;
};

static struct record_generation describe(const struct thin_generation *g, size_t number, struct texts *t)
{
	bool is_copy = g->source == SOURCE_SNAPSHOT || g->source == SOURCE_SUPERBLOCK;

	return (struct record_generation){
		.number = number,
		.block = is_copy ? g->superblock : g->root,
		.root = g->root,
		.details = g->details,
		.superblock = g->superblock,
		.source = thin_source_name(g->source),
		.fit = thin_fit_name(g->fit),
		.state = thin_state_name(g->state),
		.transaction = g->transaction,
		.time = g->time,
		.transaction_is = g->is_exact ? "exact" : "at least",
		.devices = g->devices,
		.complete_devices = g->complete_devices,
		.mappings = g->mappings,
		.holes = g->holes,
		.beyond_data = g->has_beyond,
		.data_block_size = g->data_block_size ? g->data_block_size : RECORD_UNKNOWN,
		.state_text = state_text(g, t->state, sizeof(t->state)),
		.transaction_text = at_least(g, g->transaction, t->transaction, sizeof(t->transaction)),
		.time_text = at_least(g, g->time, t->time, sizeof(t->time)),
		.beyond_text = g->has_beyond ? "; some beyond the data device" : "",
		.gone = ids_text(&t->gone, " (gone now)"),
		.missing = ids_text(&t->missing, ""),
	};
}

static int emit_generation(struct roots *v, size_t number)
{
	const struct thin_generation *g = thin_scavenge_generation(v->s, number);
	struct meta_visitor *out = &v->d->emitter->visitor;
	bool is_json = v->d->args->format == DUMP_JSON, can_be_walked = g->state != STATE_LOST;
	struct texts texts = { .gone = { .len = 0 } };
	struct record_generation record;
	int r = 0;

	if (!is_json && v->has_current && g->source != SOURCE_CURRENT && can_be_walked)
		r = compare_ids(v, g->root, &texts.gone, &texts.missing);
	record = describe(g, number, &texts);
	if (!r)
		r = out->begin(out, RECORD_GENERATION, &record);
	if (!r && is_json && can_be_walked)
		r = emit_devices(v, g);
	return r ? r : out->end(out, RECORD_GENERATION, &record);
}

static int emit_generations(struct roots *v, size_t max)
{
	int r = 0;

	for (size_t i = 0; i < thin_scavenge_nr_generations(v->s) && i < max && !r; i++)
		r = emit_generation(v, i);
	return r;
}

/* --- trees --- */

static int emit_trees(const struct roots *v, size_t max)
{
	struct meta_visitor *out = &v->d->emitter->visitor;
	int r = 0;

	for (size_t i = 0; i < thin_scavenge_nr_trees(v->s) && i < max && !r; i++) {
		struct thin_tree t;

		thin_scavenge_tree(v->s, i, &t);
		r = out->record(out, RECORD_ORPHAN_TREE, &(struct record_orphan_tree){
			.heading = i ? NULL : "\nTrees of devices, or pieces of them, that belong to none of these:\n"
					      "\n   block   mappings  virtual blocks          time  device  state\n",
			.block = t.block,
			.dev_id = t.dev_id == PROBLEM_NO_DEVICE ? RECORD_UNKNOWN : t.dev_id,
			.mappings = t.mappings,
			.first = t.first,
			.last = t.last,
			.time = t.time,
			.holes = t.holes,
			.shape = t.is_leaf ? "leaf" : "tree",
			.state = t.holes ? ", with holes" : "",
		});
	}
	return r;
}

/* --- all --- */

/* Of two trees that know the current devices, one that is whole. */
static void find_current(struct roots *v, bool has_top, bool has_details)
{
	const struct thin_superblock *sb = &v->d->pool.live;
	bool use_details = !has_top && has_details;

	v->has_current = has_top || has_details;
	v->current_root = use_details ? sb->device_details_root : sb->data_mapping_root;
	v->current_value_size = use_details ? sizeof(struct thin_details_disk) : sizeof(le64);
}

static const char *more_text(const struct roots *v, char *text, size_t size)
{
	size_t generations = thin_scavenge_nr_generations(v->s), trees = thin_scavenge_nr_trees(v->s);

	generations -= generations < MAX_SHOWN_GENERATIONS ? generations : MAX_SHOWN_GENERATIONS;
	trees -= trees < MAX_SHOWN_TREES ? trees : MAX_SHOWN_TREES;
	*text = '\0';
	if (generations || trees)
		snprintf(text, size, "... and %zu generations and %zu smaller trees more: --json lists all\n",
			 generations, trees);
	return text;
}

static int emit_all(struct roots *v)
{
	struct dump *d = v->d;
	struct meta_visitor *out = &d->emitter->visitor;
	bool is_screen = d->args->format == DUMP_HUMAN;
	char more[128];
	struct record_roots record = {
		.image = d->args->image,
		.blocks = d->pool.reader.nr_blocks,
		.metadata_blocks = thin_scavenge_nr_metadata(v->s),
		.unreadable_blocks = thin_scavenge_nr_unreadable(v->s),
		.nr_generations = thin_scavenge_nr_generations(v->s),
		.nr_trees = thin_scavenge_nr_trees(v->s),
		.more = more_text(v, more, sizeof(more)),
	};
	int r = out->begin(out, RECORD_ROOTS, &record);

	if (!r)
		r = emit_generations(v, is_screen ? MAX_SHOWN_GENERATIONS : SIZE_MAX);
	if (!r)
		r = emit_trees(v, is_screen ? MAX_SHOWN_TREES : SIZE_MAX);
	if (!r)
		r = out->end(out, RECORD_ROOTS, &record);
	return r ? r : dump_emit_kept(d);
}

int dump_roots(struct dump *d)
{
	struct thin_scavenge *s;
	struct roots v = { .d = d };
	bool has_top, has_details;
	int r;

	d->sink.report = dump_report_later;
	if (!dump_open_pool(d))
		return 0;
	r = dump_judge_roots(d, &has_top, &has_details);
	if (r || !dump_scavenge(d, &s))
		return r;
	v.s = s;
	d->result->unreadable = thin_scavenge_nr_unreadable(s);
	v.quiet = d->pool.reader;
	v.quiet.sink = &problem_silent;
	find_current(&v, has_top, has_details);
	r = emit_all(&v);
	thin_scavenge_destroy(s);
	return r;
}
