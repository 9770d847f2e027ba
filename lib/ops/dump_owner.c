// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What metadata blocks are for. Everything that the pool consists of is walked; what leads to a wanted block is kept,
 * sorted by block, and shown. When that is more than the memory for it, the wanted blocks come in several windows, a
 * walk each.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "meta/thin_disk.h"
#include "ops/dump_int.h"
#include "pdata/space_map.h"

/* So often a wanted block below a shared subtree may be visited again for another device. A hostile pool has more. */
#define MAX_REVISITS 4000000

#define MAX_OWNERS 100000
#define TEXT_MAX 80
#define MAX_PATH (2 * PD_MAX_DEPTH + 4)
#define PATH_TEXT (21 * MAX_PATH)

struct owner {
	uint64_t block, dev_id, begin, end;
	uint8_t where; /* enum problem_where */
	bool is_snapshot, is_good, is_leaf, is_node;
};

struct owners {
	struct pd_observer observer; /* first: calls find the rest by it */
	struct dump *d;
	struct range_set wanted;
	struct range window;         /* blocks that are kept; its end comes nearer when the table is full */
	struct owner *table;
	size_t nr, max;
	uint64_t dropped;            /* of one block alone, that there was no room for */
	bool is_snapshot;            /* whose trees are walked */
	struct thin_pool held;       /* the metadata snapshot, if that is beside the pool */
	struct pd_reader quiet;      /* of the counts below */
	struct pd_sm_lookup counts;
};

/* --- finding --- */

static bool is_wanted(const struct owners *o, uint64_t block)
{
	return block >= o->window.begin && block < o->window.end && range_set_has(&o->wanted, block);
}

static int compare(const void *x, const void *y)
{
	const struct owner *a = x, *b = y;

	if (a->block != b->block)
		return a->block < b->block ? -1 : 1;
	if (a->is_snapshot != b->is_snapshot)
		return a->is_snapshot - b->is_snapshot;
	if (a->dev_id != b->dev_id)
		return a->dev_id < b->dev_id ? -1 : 1;
	return a->begin < b->begin ? -1 : a->begin > b->begin;
}

/* Gives up the upper half of the blocks in the table: they come in the next window. */
static void halve(struct owners *o)
{
	uint64_t cut;

	qsort(o->table, o->nr, sizeof(*o->table), compare);
	cut = o->table[o->nr / 2].block;
	if (cut == o->table[0].block)
		cut++;
	o->window.end = cut;
	while (o->nr && o->table[o->nr - 1].block >= cut)
		o->nr--;
}

static struct owner *add(struct owners *o, const struct pd_context *ctx, uint64_t block)
{
	if (o->nr == o->max)
		halve(o);
	if (block >= o->window.end || o->nr == o->max) {
		o->dropped += block < o->window.end;
		return NULL;
	}
	o->table[o->nr] = (struct owner){
		.block = block,
		.dev_id = ctx->dev_id,
		.begin = ctx->begin,
		.end = ctx->end,
		.where = (uint8_t)ctx->where,
		.is_snapshot = o->is_snapshot,
	};
	return &o->table[o->nr++];
}

/* Keys of the data space map's index tree are numbers of bitmaps; what is wanted are blocks. */
static void scale(struct owner *w, uint64_t nr_blocks)
{
	if (w->where != WHERE_DATA_SM)
		return;
	w->begin = w->begin < nr_blocks / PD_BITMAP_ENTRIES ? w->begin * PD_BITMAP_ENTRIES : nr_blocks;
	w->end = w->end < nr_blocks / PD_BITMAP_ENTRIES ? w->end * PD_BITMAP_ENTRIES : nr_blocks;
}

static void reached(struct pd_observer *observer, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c)
{
	struct owners *o = (struct owners *)observer;
	struct owner *w = is_wanted(o, block) ? add(o, ctx, block) : NULL;

	if (!w || !c) /* the keys of a bitmap are data blocks already */
		return;
	scale(w, o->d->pool.live.data_sm.nr_blocks);
	w->is_node = true;
}

/* It was the last one that was reached. What is wanted must be found again by all who share it. */
static void entered(struct pd_observer *observer, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c,
		    const struct pd_node *n)
{
	struct owners *o = (struct owners *)observer;
	struct owner *w = o->nr ? &o->table[o->nr - 1] : NULL;

	(void)ctx;
	if (!is_wanted(o, block))
		return;
	if (w && w->block == block) {
		w->is_good = true;
		w->is_leaf = n && n->is_leaf;
	}
	if (c)
		pd_cursor_flaw(c, n);
}

static bool is_other_generation(const struct op_dump_args *a)
{
	return a->use_snapshot || a->use_root;
}

static void add_superblock(struct owners *o, enum problem_where where, uint64_t block, bool is_good)
{
	struct pd_context ctx = { .where = where, .dev_id = PROBLEM_NO_DEVICE };
	struct owner *w = is_wanted(o, block) ? add(o, &ctx, block) : NULL;

	if (w)
		w->is_good = is_good;
}

static int find_held(struct owners *o, uint64_t only, struct pd_memo *memo)
{
	int r;

	o->held = o->d->pool;
	if (!o->held.live.held_root || is_other_generation(o->d->args))
		return 0;
	o->is_snapshot = true;
	r = thin_pool_use_snapshot(&o->held, 0);
	add_superblock(o, WHERE_HELD, o->held.live.held_root, r > 0);
	return r > 0 ? thin_verify_devices(&o->held, only, memo) : r;
}

/* The pool that was opened, then the metadata snapshot beside it. */
static int find_all(struct owners *o, struct pd_memo *memo)
{
	struct dump *d = o->d;
	const struct thin_superblock *live = &d->pool.live;
	uint64_t only = d->args->only_device ? d->args->dev_id : PROBLEM_NO_DEVICE;
	int r;

	o->is_snapshot = d->args->use_snapshot;
	add_superblock(o, WHERE_SUPERBLOCK, 0, live->csum == live->csum_expected);
	if (d->args->use_snapshot)
		add_superblock(o, WHERE_HELD, d->pool.sb.blocknr, true);
	r = thin_verify_devices(&d->pool, only, memo);
	if (!r && !d->args->only_device && !d->args->use_snapshot) /* else they change meanwhile */
		r = thin_verify_space_maps(&d->pool);
	return r ? r : find_held(o, only, memo);
}

/* --- showing --- */

struct path {
	uint64_t blocks[MAX_PATH];
	unsigned nr;
};

/* From @root down to the node for @key, or to @last if that comes first; returns the value found in the last leaf. */
static uint64_t descend(struct path *path, const struct thin_pool *pool, uint64_t root, uint32_t value_size, uint64_t key,
			uint64_t last)
{
	struct pd_context ctx = { .where = WHERE_NONE, .dev_id = PROBLEM_NO_DEVICE };
	struct pd_reader quiet = pool->reader;
	struct pd_lookup l;
	unsigned i = 0;

	quiet.sink = &problem_silent;
	quiet.observer = NULL;
	pd_lookup(&quiet, &ctx, root, value_size, key, &l);
	while (i < l.nr && l.hops[i].block != last && path->nr + 1 < MAX_PATH)
		path->blocks[path->nr++] = l.hops[i++].block;
	return l.nr ? le_load(l.hops[l.nr - 1].value, 8) : 0;
}

/* Which blocks lead to the one that is owned: it was found by its lowest key, and so it is again. */
static void find_path(const struct thin_pool *pool, const struct owner *w, struct path *path)
{
	const struct thin_superblock *sb = &pool->sb, *live = &pool->live;
	uint64_t root = w->block;

	switch ((enum problem_where)w->where) {
	case WHERE_DETAILS:
		descend(path, pool, sb->device_details_root, sizeof(struct thin_details_disk), w->begin, w->block);
		break;
	case WHERE_MAPPINGS:
		root = pool->single_root;
		if (!pool->is_single)
			root = descend(path, pool, sb->data_mapping_root, sizeof(le64), w->dev_id, w->block);
		descend(path, pool, root, sizeof(le64), w->begin, w->block);
		break;
	case WHERE_TOP:
		descend(path, pool, sb->data_mapping_root, sizeof(le64), w->begin, w->block);
		break;
	case WHERE_DATA_SM:
		descend(path, pool, live->data_sm.bitmap_root, sizeof(struct pd_index_entry_disk),
			w->begin / PD_BITMAP_ENTRIES, w->block);
		break;
	case WHERE_DATA_COUNTS:
		descend(path, pool, live->data_sm.ref_count_root, sizeof(le32), w->begin, w->block);
		break;
	case WHERE_META_COUNTS:
		descend(path, pool, live->metadata_sm.ref_count_root, sizeof(le32), w->begin, w->block);
		break;
	case WHERE_META_SM:
		if (w->block != live->metadata_sm.bitmap_root)
			path->blocks[path->nr++] = live->metadata_sm.bitmap_root;
		break;
	default:
		break;
	}
}

static void path_text(const struct thin_pool *pool, const struct owner *w, char text[PATH_TEXT])
{
	struct path path = { .blocks = { pool->sb.blocknr }, .nr = 1 };
	int n = 0;

	find_path(pool, w, &path);
	if (w->block != path.blocks[0])
		path.blocks[path.nr++] = w->block;
	for (unsigned i = 0; i < path.nr; i++)
		n += snprintf(text + n, PATH_TEXT - (size_t)n, "%s%" PRIu64, i ? "/" : "", path.blocks[i]);
}

static const struct thin_pool *pool_of(const struct owners *o, const struct owner *w)
{
	return w->is_snapshot && !o->d->args->use_snapshot ? &o->held : &o->d->pool;
}

static int show_owner(struct owners *o, const struct owner *w)
{
	char path[PATH_TEXT];
	struct dump_need need = {
		.block = w->block,
		.dev_id = w->dev_id,
		.begin = w->begin,
		.end = w->end,
		.where = (enum problem_where)w->where,
		.is_snapshot = w->is_snapshot,
		.path = path,
		.kind_of_device = RECORD_OWNER,
		.kind_of_pool = RECORD_OWNER_POOL,
	};

	path_text(pool_of(o, w), w, path);
	return dump_show_need(o->d, pool_of(o, w), &need);
}

static const char *shape_of(const struct dump *d, const struct owner *w)
{
	if (w->is_node)
		return !w->is_good ? NULL : w->is_leaf ? "leaf" : "node";
	if (w->where == WHERE_META_SM && w->block == d->pool.live.metadata_sm.bitmap_root)
		return "index";
	return w->where == WHERE_META_SM || w->where == WHERE_DATA_SM ? "bitmap" : NULL;
}

/* One block and all its owners. */
static int show_block(struct owners *o, const struct owner *w, size_t nr)
{
	struct dump *d = o->d;
	struct meta_visitor *v = &d->emitter->visitor;
	const char *shape = shape_of(d, w), *where = problem_where_text((enum problem_where)w->where);
	char text[TEXT_MAX];
	struct record_owned record = {
		.block = w->block,
		.role = problem_where_name((enum problem_where)w->where),
		.shape = shape,
		.state = w->is_good ? "ok" : "BAD",
		.text = text,
	};
	int r;

	snprintf(text, sizeof(text), "%s%s%s, %s", where, shape ? " " : "", shape ? shape : "", record.state);
	r = v->begin(v, RECORD_OWNED, &record);
	for (size_t i = 0; i < nr && !r; i++)
		r = show_owner(o, &w[i]);
	return r ? r : v->end(v, RECORD_OWNED, &record);
}

static int get_kind(struct dump *d, uint64_t block, const char **name)
{
	struct bufio_buffer *b;
	const void *data = bufio_read(d->args->client, block, &b);
	enum pd_kind kind;

	if (!data) {
		*name = "cannot be read";
		return dump_keep_unreadable(d, block, errno);
	}
	kind = pd_block_kind(data);
	*name = kind == PD_UNKNOWN ? "no metadata" : pd_kind_name(kind);
	bufio_release(b);
	return 0;
}

/* RECORD_UNKNOWN where the space map is damaged, or ends. */
static int get_count(struct owners *o, uint64_t block, uint64_t *count)
{
	uint64_t end;
	int r = pd_sm_lookup(&o->counts, block, block + 1, count, &end);

	if (!r)
		*count = RECORD_UNKNOWN;
	return r < 0 ? r : 0;
}

static int show_unowned(struct dump *d, struct record_unowned *run)
{
	struct meta_visitor *v = &d->emitter->visitor;
	char text[TEXT_MAX];
	int r;

	if (!run->kind)
		return 0;
	if (run->end - run->begin == 1)
		snprintf(text, sizeof(text), "block %" PRIu64, run->begin);
	else
		snprintf(text, sizeof(text), "blocks %" PRIu64 "..%" PRIu64, run->begin, run->end - 1);
	run->range = text;
	run->state = !run->count			? "free" :
		     run->count == RECORD_UNKNOWN	? "count unknown" :
		     is_other_generation(d->args)	? "counted for another generation, leaked, or below damage" :
							  "but counted: leaked, or below damage";
	r = v->record(v, RECORD_UNOWNED, run);
	run->kind = NULL;
	return r;
}

/* Neighbours of the same kind and count go into one line. */
static int add_unowned(struct owners *o, struct record_unowned *run, uint64_t block)
{
	const char *kind;
	uint64_t count;
	int r = get_kind(o->d, block, &kind);

	if (!r)
		r = get_count(o, block, &count);
	if (r)
		return r;
	if (run->kind != kind || run->count != count || run->end != block) {
		r = show_unowned(o->d, run);
		*run = (struct record_unowned){ .begin = block, .kind = kind, .count = count };
	}
	run->end = block + 1;
	return r;
}

static int show_range(struct owners *o, struct range range, size_t *at)
{
	struct record_unowned run = { 0 };
	int r = 0;

	for (uint64_t block = range.begin; block < range.end && !r; block++) {
		size_t first = *at;

		while (*at < o->nr && o->table[*at].block == block)
			++*at;
		if (*at == first) {
			r = add_unowned(o, &run, block);
			continue;
		}
		r = show_unowned(o->d, &run);
		if (!r)
			r = show_block(o, &o->table[first], *at - first);
	}
	return r ? r : show_unowned(o->d, &run);
}

static int show_window(struct owners *o)
{
	size_t at = 0;
	int r = 0;

	qsort(o->table, o->nr, sizeof(*o->table), compare);
	for (size_t i = 0; i < o->wanted.nr && !r; i++) {
		struct range range = o->wanted.ranges[i];

		range.begin = range.begin < o->window.begin ? o->window.begin : range.begin;
		range.end = range.end > o->window.end ? o->window.end : range.end;
		if (range.begin < range.end)
			r = show_range(o, range, &at);
	}
	return r;
}

/* --- all --- */

/* A quarter of the limit, but no more than there can be use for. */
static int make_table(struct owners *o)
{
	uint64_t max = bufio_get_memory_limit(o->d->args->client) / 4 / sizeof(*o->table);

	o->max = max < MAX_OWNERS ? (size_t)max : MAX_OWNERS;
	while (o->max && !dump_take_memory(o->d, o->max * sizeof(*o->table)))
		o->max /= 2;
	o->table = o->max > 1 ? malloc(o->max * sizeof(*o->table)) : NULL;
	return o->table ? 0 : -ENOMEM;
}

static int run_window(struct owners *o, struct pd_memo *memo)
{
	int r;

	memset(memo->entries, 0, memo->nr * sizeof(*memo->entries));
	memo->retell = MAX_REVISITS;
	o->nr = 0;
	r = find_all(o, memo);
	if (!r)
		r = show_window(o);
	if (o->dropped)
		text_printf(&o->d->messages, "%s: ... and %" PRIu64 " owners more; a larger --memory-limit shows them\n",
			    o->d->args->program, o->dropped);
	return r;
}

static int show_all(struct owners *o)
{
	struct dump *d = o->d;
	uint64_t end = o->wanted.ranges[o->wanted.nr - 1].end;
	struct pd_memo memo;
	int r = 0;

	dump_make_memo(d, &memo);
	o->quiet = d->pool.reader;
	o->quiet.sink = &problem_silent;
	pd_sm_lookup_open(&o->counts, &o->quiet, &d->pool.live.metadata_sm, true, end);
	d->pool.reader.observer = &o->observer;
	while (!r && o->window.begin < end) {
		o->window.end = end;
		r = run_window(o, &memo);
		o->window.begin = o->window.end;
		d->pool.reader.sink = &problem_silent; /* the next walk finds the same damage */
	}
	pd_sm_lookup_close(&o->counts);
	free(memo.entries);
	return r ? r : dump_emit_kept(d);
}

static int find_owners(struct dump *d)
{
	struct dump_space space = {
		.name = "metadata",
		.block_bytes = PD_BLOCK_SIZE,
		.nr_blocks = bufio_get_device_size(d->args->client),
	};
	struct owners o = { .observer = { reached, entered }, .d = d };
	int r = 0;

	if (dump_read_ranges(d, &space, &o.wanted) && o.wanted.nr) {
		r = make_table(&o);
		if (!r)
			r = show_all(&o);
	}
	free(o.table);
	range_set_destroy(&o.wanted);
	return r;
}

int dump_owner(struct dump *d)
{
	if (d->args->data)
		return dump_data_owner(d);
	d->sink.report = dump_report_now;
	return dump_open_pool(d) ? find_owners(d) : 0;
}
