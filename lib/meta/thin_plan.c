// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_plan.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/table.h"
#include "meta/thin_disk.h"
#include "meta/thin_size.h"
#include "pdata/btree.h"
#include "pdata/ref_counts.h"

/* What the builder does at a seam may take so many nodes at each level: what was before, what comes, and both cut anew. */
#define NODES_A_SEAM 3
#define COUNTED_AT_ONCE 256 /* so that counts are on their way from memory when they are needed */

/* A tree, as far as its size depends on it. */
struct shape {
	uint64_t mapped;
	uint64_t leaves;   /* all of them */
	uint64_t own;      /* that are written for it */
	uint64_t joined;   /* leaves of defs that are too small for a node above leaves to be shared */
	uint64_t seams;    /* to defs that are not */
	uint64_t run;      /* mappings since the last leaf that was taken as it is */
	uint64_t refs;     /* it has; of a def that is closed: it was given */
	bool has_mappings; /* of its own */
	uint64_t nodes;    /* written for it, when it is closed */
};

struct thin_plan {
	struct meta_visitor visitor; /* first: calls find the rest by it */
	uint64_t memory;             /* that is left */
	struct shape open;
	struct shape *defs;
	uint64_t nr_defs, max_defs;
	struct pd_counts data;
	bool has_counts, is_again; /* there are counts; nothing else is added up any more */
	uint64_t large;            /* counts of 3 and more so far */
	uint64_t uncounted[COUNTED_AT_ONCE];
	unsigned nr_uncounted;
	uint64_t copied; /* mappings that are in leaves of defs too */
	struct thin_plan_totals totals;
};

static struct thin_plan *plan_of(struct meta_visitor *v)
{
	return (struct thin_plan *)v;
}

/* At one level of a mapping tree. */
static uint64_t nodes_for(uint64_t entries)
{
	uint64_t max = pd_max_entries(sizeof(le64));

	return entries / max + (entries % max != 0);
}

static uint64_t least_entries(void)
{
	return pd_max_entries(sizeof(le64)) / 3;
}

/* --- the beginning --- */

/* Most of the memory: the rest is for the table of defs. */
static int create_counts(struct thin_plan *p, uint64_t nr_data_blocks)
{
	uint64_t rest = p->memory / 8;
	int r = nr_data_blocks ? pd_counts_create(&p->data, nr_data_blocks, p->memory - rest) : 0;

	p->has_counts = !r && nr_data_blocks;
	p->memory = p->has_counts ? rest : p->memory;
	return r;
}

static int plan_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct thin_plan *p = plan_of(v);
	const struct record_superblock *sb = record;

	if (p->is_again)
		return 0;
	p->open = (struct shape){ 0 };
	if (kind != RECORD_SUPERBLOCK)
		return 0;
	p->totals.nr_data_blocks = sb->nr_data_blocks;
	return create_counts(p, sb->nr_data_blocks);
}

/* --- mappings --- */

static int count_rest(struct thin_plan *p)
{
	int r = pd_counts_add(&p->data, p->uncounted, p->nr_uncounted);

	p->nr_uncounted = 0;
	return r;
}

/* More than there can be, whatever the counts are: who asks for that much need not wait for them. */
static bool is_too_much(const struct thin_plan *p)
{
	return p->totals.blocks + p->open.own + p->open.run / pd_max_entries(sizeof(le64)) > PD_MAX_METADATA_BLOCKS;
}

static int count_data(struct thin_plan *p, const struct record_mapping *m)
{
	uint64_t block = m->data_begin, end = m->data_begin + m->length;
	int r = 0;

	if (!p->has_counts || is_too_much(p))
		return 0;
	if (block < p->data.begin)
		block = p->data.begin;
	for (; block < end && block < p->data.end && !r; block++) {
		p->uncounted[p->nr_uncounted++] = block;
		if (p->nr_uncounted == COUNTED_AT_ONCE)
			r = count_rest(p);
	}
	return r;
}

static int add_mapping(struct thin_plan *p, const struct record_mapping *m)
{
	uint64_t end = m->data_begin + m->length;

	if (p->is_again)
		return count_data(p, m);
	p->open.mapped += m->length;
	p->open.run += m->length;
	p->open.has_mappings = true;
	if (end > p->totals.needed_data_blocks)
		p->totals.needed_data_blocks = end;
	return count_data(p, m);
}

/* Too few mappings beside a leaf that is shared: that one is written again with them, as two. */
static void end_run(struct thin_plan *p, bool has_neighbour)
{
	struct shape *o = &p->open;

	if (has_neighbour && o->run && o->run < least_entries()) {
		o->own++;
		p->copied += pd_max_entries(sizeof(le64));
	}
	o->own += nodes_for(o->run);
	o->run = 0;
}

static void add_ref(struct thin_plan *p, const struct record_def *ref)
{
	struct shape *o = &p->open, *def = &p->defs[ref->name - 1];

	if (!def->mapped)
		return;
	def->refs++;
	o->refs++;
	o->mapped += def->mapped;
	if (def->mapped < least_entries()) {
		o->run += def->mapped;
		p->copied += def->mapped;
		return;
	}
	end_run(p, true);
	o->leaves += def->leaves;
	if (def->leaves < least_entries())
		o->joined += def->leaves;
	else
		o->seams++;
}

static int plan_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct thin_plan *p = plan_of(v);

	if (kind != RECORD_REF)
		return add_mapping(p, record);
	if (!p->is_again)
		add_ref(p, record);
	return 0;
}

/* --- trees --- */

/* Nodes above leaves: @children of them are pointed to one by one, the others through nodes that may be shared. */
static uint64_t nodes_above(uint64_t children, uint64_t others, uint64_t seams)
{
	uint64_t shared = nodes_for(others), total, level;

	if (children + others <= 1)
		return 0;
	total = nodes_for(children) + NODES_A_SEAM * seams;
	for (level = total + shared; level > 1; total += level)
		level = nodes_for(level);
	return shared < least_entries() ? total : total + NODES_A_SEAM * seams;
}

/* A tree that is one reference and nothing else is that of the def. */
static void close_tree(struct thin_plan *p)
{
	struct shape *o = &p->open;

	if (o->refs == 1 && !o->has_mappings) {
		o->leaves += nodes_for(o->run);
		return;
	}
	end_run(p, o->leaves > 0);
	if (!o->leaves && !o->own)
		o->own = 1;
	o->nodes = o->own + nodes_above(o->own + o->joined, o->leaves - o->joined, o->seams);
	o->leaves += o->own;
	p->totals.blocks += o->nodes;
}

static int end_def(struct thin_plan *p)
{
	int r = table_grow(&p->defs, sizeof(*p->defs), p->nr_defs, &p->max_defs, &p->memory);

	if (r)
		return r;
	close_tree(p);
	p->open.refs = 0;
	p->defs[p->nr_defs++] = p->open;
	return 0;
}

static void end_device(struct thin_plan *p)
{
	close_tree(p);
	p->totals.devices++;
	p->totals.mappings += p->open.mapped;
}

/* --- the end --- */

static uint64_t tree_of(uint64_t entries, uint32_t value_size)
{
	return thin_tree_nodes(entries, entries, value_size);
}

/* Data blocks with a count of 3 or more; the copies might all have that. */
static uint64_t large_data_counts(const struct thin_plan *p)
{
	uint64_t large = p->large + p->copied, most = p->totals.needed_data_blocks;

	return large < most ? large : most;
}

/* Of metadata only what is shared can have that. */
static uint64_t large_metadata_counts(const struct thin_plan *p)
{
	uint64_t large = 0;

	for (uint64_t i = 0; i < p->nr_defs; i++)
		if (p->defs[i].refs >= 2) /* and copies of the nodes above its leaves point to these too */
			large += p->defs[i].nodes;
	return large;
}

static int end_superblock(struct thin_plan *p)
{
	int r = count_rest(p);

	if (p->has_counts)
		p->large += pd_counts_nr_large(&p->data);
	return r;
}

int thin_plan_again(struct thin_plan *p)
{
	int r;

	if (p->has_counts) {
		p->is_again = true;
		return !is_too_much(p) && p->data.end < p->totals.needed_data_blocks && pd_counts_next(&p->data);
	}
	/* It was not known how many data blocks there are. */
	r = p->is_again ? 0 : create_counts(p, p->totals.needed_data_blocks);
	p->is_again = true;
	return r ? r : p->has_counts;
}

static int plan_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct thin_plan *p = plan_of(v);

	(void)record;
	if (kind == RECORD_SUPERBLOCK)
		return end_superblock(p);
	if (p->is_again)
		return 0;
	if (kind == RECORD_DEF)
		return end_def(p);
	end_device(p);
	return 0;
}

int thin_plan_create(uint64_t memory, struct thin_plan **plan)
{
	struct thin_plan *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->visitor = (struct meta_visitor){ plan_begin, plan_record, plan_end, NULL };
	p->memory = memory;
	*plan = p;
	return 0;
}

void thin_plan_destroy(struct thin_plan *p)
{
	if (!p)
		return;
	pd_counts_destroy(&p->data);
	free(p->defs);
	free(p);
}

struct meta_visitor *thin_plan_visitor(struct thin_plan *p)
{
	return &p->visitor;
}

void thin_plan_get_totals(const struct thin_plan *p, struct thin_plan_totals *totals)
{
	struct thin_plan_totals t = p->totals;
	uint64_t maps = pd_bitmaps(t.nr_data_blocks ? t.nr_data_blocks : t.needed_data_blocks);

	t.blocks += 1 + tree_of(t.devices, sizeof(struct thin_details_disk)) + tree_of(t.devices, sizeof(le64));
	t.blocks += maps + tree_of(maps, sizeof(struct pd_index_entry_disk)) + tree_of(large_data_counts(p), sizeof(le32));
	t.blocks += 1 + tree_of(large_metadata_counts(p), sizeof(le32));
	*totals = t;
}
