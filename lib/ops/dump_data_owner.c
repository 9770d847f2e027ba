// SPDX-License-Identifier: LGPL-2.1-or-later
/* Who maps data blocks; then, for a whole live pool, whether the space map has counted that right. */
#include <stdlib.h>
#include <string.h>

#include "meta/thin_rmap.h"
#include "ops/dump_int.h"

/* As in the summary. */
#define MAX_RETOLD 10000

/* Neighbours of which the same is said. */
struct counts {
	struct dump *d;
	bool is_complete; /* all mappings were found */
	struct record_data_count group; /* length 0: none yet */
};

static int emit_run(struct dump *d, const struct thin_rmap_run *run)
{
	struct meta_visitor *v = &d->emitter->visitor;
	struct record_data_mapping m = {
		.data = run->data,
		.length = run->length,
		.dev_id = run->dev_id,
		.origin = run->virtual_begin,
		.data_end = run->data + run->length,
		.origin_end = run->virtual_begin + run->length,
		.time = run->time,
	};

	return v->record(v, RECORD_DATA_MAPPING, &m);
}

static int emit_runs(struct dump *d, struct thin_rmap *rmap)
{
	const struct thin_rmap_run *runs;
	size_t nr;
	int r;

	while ((r = thin_rmap_next_runs(rmap, &runs, &nr)) > 0)
		for (size_t i = 0; i < nr; i++) {
			r = emit_run(d, &runs[i]);
			if (r)
				return r;
		}
	return r;
}

/* Where mappings are lost, only a count below those that were found is wrong for sure. */
static bool is_wrong(const struct counts *c)
{
	const struct record_data_count *g = &c->group;

	return g->stored != RECORD_UNKNOWN && (g->stored < g->found || (g->stored > g->found && c->is_complete));
}

static int emit_count(struct counts *c)
{
	struct meta_visitor *v = &c->d->emitter->visitor;
	struct record_data_count *g = &c->group;
	struct problem p = {
		.code = g->stored < g->found ? PROBLEM_DATA_COUNT_LOW : PROBLEM_DATA_COUNT_HIGH,
		.where = WHERE_DATA_SM,
		.block = PROBLEM_NO_BLOCK,
		.dev_id = PROBLEM_NO_DEVICE,
		.begin = g->data,
		.end = g->data + g->length,
		.expected = g->found,
		.found = g->stored,
	};
	int r;

	if (!g->length)
		return 0;
	g->end = p.end;
	g->verdict = is_wrong(c) ? "  WRONG" : "";
	r = v->record(v, g->stored || g->found ? RECORD_DATA_COUNT : RECORD_DATA_FREE, g);
	if (is_wrong(c))
		c->d->sink.report(&c->d->sink, &p);
	return r;
}

static int add_count(struct counts *c, uint64_t begin, uint64_t end, uint64_t stored, uint64_t found)
{
	struct record_data_count *g = &c->group;
	int r;

	if (g->length && begin == g->data + g->length && stored == g->stored && found == g->found) {
		g->length += end - begin;
		return 0;
	}
	r = emit_count(c);
	*g = (struct record_data_count){ .data = begin, .length = end - begin, .stored = stored, .found = found };
	return r;
}

static int add_stored(struct counts *c, struct pd_sm_lookup *lookup, const struct thin_rmap_count *found)
{
	uint64_t begin = found->begin, end, stored;
	int r = 0;

	for (; begin < found->end && !r; begin = end) {
		r = pd_sm_lookup(lookup, begin, found->end, &stored, &end);
		if (r < 0)
			return r;
		r = add_count(c, begin, end, r ? stored : RECORD_UNKNOWN, found->found);
	}
	return r;
}

static int emit_counts(struct dump *d, struct thin_rmap *rmap)
{
	struct counts c = { .d = d, .is_complete = !rmap->holes };
	struct thin_rmap_count found;
	struct pd_sm_lookup lookup;
	int r, e = 0;

	pd_sm_lookup_open(&lookup, &d->pool.reader, &d->pool.live.data_sm, false, rmap->hull.end);
	while (!e && (r = thin_rmap_next_count(rmap, &found)) > 0)
		e = add_stored(&c, &lookup, &found);
	pd_sm_lookup_close(&lookup);
	if (!e)
		e = r;
	return e ? e : emit_count(&c);
}

/* Called by that name it prints the mappings, whatever the ranges are, and no more. */
static bool is_thin_rmap(const struct op_dump_args *args)
{
	return !strcmp(args->program, "thin_rmap");
}

/* They are those of all devices of the live generation, together with the metadata snapshot's. */
static bool has_counts(const struct dump *d)
{
	const struct op_dump_args *a = d->args;

	return !is_thin_rmap(a) && !a->only_device && !a->use_snapshot && !a->use_root &&
	       d->pool.sb.data_mapping_root == d->pool.live.data_mapping_root;
}

/* For what is found a quarter of the memory limit, or the least that works. 0: the result says why not even that. */
static uint64_t take_memory(struct dump *d, const struct range_set *ranges)
{
	uint64_t rest = thin_rmap_bitmap_bytes(&d->pool) + ranges->nr * sizeof(*ranges->ranges);
	uint64_t quarter = bufio_get_memory_limit(d->args->client) / 4;

	if (quarter > THIN_RMAP_MIN_MEMORY && dump_take_memory(d, quarter + rest))
		return quarter;
	return dump_need_memory(d, "to keep what is found", THIN_RMAP_MIN_MEMORY + rest) ? THIN_RMAP_MIN_MEMORY : 0;
}

static bool open_rmap(struct dump *d, const struct range_set *ranges, struct pd_memo *memo, struct thin_rmap *rmap)
{
	struct thin_rmap_args args = {
		.wanted = ranges,
		.only_device = d->args->only_device ? d->args->dev_id : PROBLEM_NO_DEVICE,
		.split_times = d->args->format == DUMP_JSON,
		.count = has_counts(d),
		.memory = take_memory(d, ranges),
		.memo = memo,
	};
	int r = args.memory ? thin_rmap_open(rmap, &d->pool, &args) : 0;

	if (r)
		dump_fail_errno(d, r);
	return args.memory && !r;
}

/* It is the last to be taken out of the memory limit, as it goes without. */
static void make_memo(struct dump *d, struct pd_memo *memo)
{
	uint64_t nr = d->pool.reader.nr_blocks;

	if (dump_take_memory(d, nr * sizeof(*memo->entries)))
		memo->entries = calloc(nr, sizeof(*memo->entries));
	memo->nr = memo->entries ? nr : 0;
}

static void warn_of_holes(struct dump *d, const struct thin_rmap *rmap)
{
	if (rmap->holes && d->args->format != DUMP_JSON)
		text_printf(&d->messages, "%s: parts of the mapping trees are damaged: there may be more mappings of "
			    "these blocks\n", d->args->program);
}

static int show(struct dump *d, const struct range_set *ranges)
{
	struct pd_memo memo = { .retell = MAX_RETOLD };
	struct thin_rmap rmap = { 0 };
	int r = 0;

	if (open_rmap(d, ranges, &memo, &rmap)) {
		make_memo(d, &memo);
		r = emit_runs(d, &rmap);
		if (!r && rmap.args.count)
			r = emit_counts(d, &rmap);
		warn_of_holes(d, &rmap);
	}
	thin_rmap_close(&rmap);
	free(memo.entries);
	return r;
}

/* 0: what the superblock says is impossible. */
static uint64_t data_block_bytes(const struct thin_pool *pool)
{
	uint32_t sectors = pool->sb.data_block_size;

	if (!sectors || sectors > THIN_BLOCK_SIZE_MAX || sectors % THIN_BLOCK_SIZE_MIN)
		return 0;
	return sectors * UINT64_C(512);
}

int dump_data_owner(struct dump *d)
{
	struct range_set ranges = { 0 };
	struct dump_space space = { .name = "data" };
	int r = 0;

	d->sink.report = dump_report_now;
	if (!dump_open_pool(d))
		return 0;
	space.block_bytes = data_block_bytes(&d->pool);
	space.nr_blocks = is_thin_rmap(d->args) ? THIN_UNKNOWN_SIZE : d->pool.nr_data_blocks;
	if (dump_read_ranges(d, &space, &ranges) && ranges.nr)
		r = show(d, &ranges);
	range_set_destroy(&ranges);
	return r;
}
