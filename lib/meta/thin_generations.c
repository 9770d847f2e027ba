// SPDX-License-Identifier: LGPL-2.1-or-later
/* What the scan found as generations: roots, the details that go with them, and what is left over. */
#include <errno.h>
#include <stdlib.h>

#include "meta/thin_disk.h"
#include "meta/thin_scavenge_int.h"

static const char *const source_names[NR_THIN_SOURCES] = {
	[SOURCE_CURRENT] = "current",
	[SOURCE_SNAPSHOT] = "metadata snapshot",
	[SOURCE_SUPERBLOCK] = "superblock copy",
	[SOURCE_ORPHAN] = "orphan",
};

static const char *const fit_names[NR_THIN_FITS] = {
	[FIT_EXACT] = "exact",
	[FIT_DEVICES] = "devices",
	[FIT_POOR] = "poor",
	[FIT_NONE] = "none",
};

static const char *const state_names[NR_THIN_STATES] = {
	[STATE_COMPLETE] = "complete",
	[STATE_DOUBTFUL] = "doubtful",
	[STATE_HOLES] = "holes",
	[STATE_LOST] = "lost",
};

const char *thin_source_name(enum thin_source source)
{
	return source_names[source];
}

const char *thin_fit_name(enum thin_fit fit)
{
	return fit_names[fit];
}

const char *thin_state_name(enum thin_state state)
{
	return state_names[state];
}

const char *thin_state_phrase(enum thin_state state)
{
	return state == STATE_HOLES ? "with holes" : thin_state_name(state);
}

static const struct summary *summary_of(const struct thin_scavenge *s, uint64_t block, enum node_kind kind)
{
	const struct node *n = block < s->nr ? &s->nodes[block] : NULL;

	return n && node_kind(n) == kind ? scavenge_summary(s, n->count) : NULL;
}

static bool is_root(const struct node *n, enum node_kind kind)
{
	return node_kind(n) == kind && !node_has(n, NODE_REFERENCED);
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* --- details that go with a top level --- */

/* Sorted by devices and contents, or by devices and mappings; the newest of equal ones last. */
struct details_root {
	uint64_t ids, value;
	uint32_t time, block;
};

static int by_value(const void *a, const void *b)
{
	const struct details_root *x = a, *y = b;
	int r = compare(x->ids, y->ids);

	r = r ? r : compare(x->value, y->value);
	r = r ? r : compare(x->time, y->time);
	return r ? r : compare(x->block, y->block);
}

/* How many of the sorted roots are not above this one. */
static size_t count_up_to(const struct thin_scavenge *s, const struct details_root *key)
{
	size_t begin = 0, end = s->nr_details;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (by_value(&s->details[middle], key) <= 0)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

static void sort_details(struct thin_scavenge *s, bool by_mappings)
{
	for (size_t i = 0; i < s->nr_details; i++) {
		struct details_root *d = &s->details[i];
		const struct summary *sum = summary_of(s, d->block, NODE_DETAILS);

		d->value = by_mappings ? sum->mappings : sum->contents;
	}
	qsort(s->details, s->nr_details, sizeof(*s->details), by_value);
}

static int collect_details(struct thin_scavenge *s)
{
	size_t nr = 0;

	for (uint64_t i = 0; i < s->nr; i++)
		nr += is_root(&s->nodes[i], NODE_DETAILS);
	s->details = scavenge_alloc(s, nr, sizeof(*s->details));
	if (!s->details)
		return -ENOMEM;
	for (uint64_t i = 0; i < s->nr; i++) {
		const struct summary *sum = summary_of(s, i, NODE_DETAILS);

		if (is_root(&s->nodes[i], NODE_DETAILS))
			s->details[s->nr_details++] = (struct details_root){
				.ids = sum->ids, .time = sum->time, .block = (uint32_t)i,
			};
	}
	return 0;
}

/*
 * The newest details with exactly these devices and mappings; the roots are sorted by contents. Where there are holes, those
 * would be of a time when what was lost was not there yet.
 */
static uint64_t exact_details(const struct thin_scavenge *s, const struct summary *top)
{
	struct details_root key = { top->ids, top->contents, UINT32_MAX, UINT32_MAX };
	size_t i = count_up_to(s, &key);
	const struct details_root *d = i && !top->holes ? &s->details[i - 1] : NULL;

	return d && d->ids == top->ids && d->value == top->contents ? d->block : PROBLEM_NO_BLOCK;
}

static int by_news(const struct summary *a, const struct summary *b)
{
	int r = compare(a->time, b->time);

	r = r ? r : compare(a->transaction, b->transaction);
	return r ? r : compare(a->mappings, b->mappings);
}

/* Of the same devices the newest that know no less. */
static uint64_t newest_details(const struct thin_scavenge *s, const struct summary *top)
{
	const struct summary *newest = NULL;
	uint64_t block = PROBLEM_NO_BLOCK;

	for (size_t i = 0; i < s->nr_details; i++) {
		const struct summary *sum = summary_of(s, s->details[i].block, NODE_DETAILS);

		if (sum->ids != top->ids || sum->mappings < top->mappings || (newest && by_news(sum, newest) <= 0))
			continue;
		newest = sum;
		block = s->details[i].block;
	}
	return block;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a < b ? b - a : a - b;
}

/* Those of the same devices whose number of mappings is nearest; the roots are sorted by mappings. */
static uint64_t nearest_details(const struct thin_scavenge *s, const struct summary *top)
{
	struct details_root key = { top->ids, top->mappings, UINT32_MAX, UINT32_MAX };
	size_t i = count_up_to(s, &key);
	const struct details_root *below = i && s->details[i - 1].ids == top->ids ? &s->details[i - 1] : NULL;
	const struct details_root *above = i < s->nr_details && s->details[i].ids == top->ids ? &s->details[i] : NULL;

	if (top->holes)
		return newest_details(s, top);
	if (below && above && distance(below->value, top->mappings) < distance(above->value, top->mappings))
		return below->block;
	return above ? above->block : below ? below->block : PROBLEM_NO_BLOCK;
}

uint64_t thin_scavenge_details(const struct thin_scavenge *s, uint64_t root)
{
	const struct summary *top = summary_of(s, root, NODE_TOP);
	const struct details_root *newest = NULL;

	for (size_t i = 0; top && !top->holes && i < s->nr_details; i++) {
		const struct details_root *d = &s->details[i];
		const struct summary *sum = summary_of(s, d->block, NODE_DETAILS);

		if (sum->ids == top->ids && sum->contents == top->contents && sum->time >= top->time &&
		    (!newest || d->time >= newest->time))
			newest = d;
	}
	return newest ? newest->block : PROBLEM_NO_BLOCK;
}

uint64_t thin_scavenge_newer_details(const struct thin_scavenge *s, const struct thin_generation *g)
{
	static const struct summary none;
	const struct summary *newest = g ? summary_of(s, g->details, NODE_DETAILS) : &none;
	uint64_t block = PROBLEM_NO_BLOCK;

	for (size_t i = 0; newest && i < s->nr_details; i++) {
		const struct summary *sum = summary_of(s, s->details[i].block, NODE_DETAILS);

		if (by_news(sum, newest) > 0) {
			newest = sum;
			block = s->details[i].block;
		}
	}
	return block;
}

void thin_scavenge_details_alone(const struct thin_scavenge *s, uint64_t details, struct thin_generation *g)
{
	const struct summary *sum = summary_of(s, details, NODE_DETAILS);

	*g = (struct thin_generation){
		.root = PROBLEM_NO_BLOCK,
		.details = details,
		.superblock = PROBLEM_NO_BLOCK,
		.source = SOURCE_ORPHAN,
		.fit = FIT_NONE,
		.state = STATE_LOST,
		.transaction = sum ? sum->transaction : RECORD_UNKNOWN,
		.time = sum ? sum->time : 0,
		.devices = sum ? sum->devices : 0,
	};
}

/* --- generations --- */

static enum thin_fit fit_of(const struct summary *top, const struct summary *details)
{
	if (!top || !details)
		return FIT_NONE;
	if (top->ids != details->ids)
		return FIT_POOR;
	return top->contents == details->contents ? FIT_EXACT : FIT_DEVICES;
}

static void count_top(const struct thin_scavenge *s, struct thin_generation *g, const struct summary *top)
{
	g->devices = top->devices;
	g->complete_devices = top->complete_devices;
	g->mappings = top->mappings;
	g->holes = top->holes;
	g->has_beyond = s->nodes[g->root].flags & FLAG_BEYOND;
}

/* Blocks in use are not used again, so what a live superblock leads to needs no further proof. */
static enum thin_state state_of(const struct thin_scavenge *s, const struct thin_generation *g,
				const struct summary *top, const struct summary *details)
{
	bool is_live = g->source == SOURCE_CURRENT || g->source == SOURCE_SNAPSHOT;
	uint32_t time = g->is_exact ? g->time : details ? details->time : 0;

	if (!top)
		return g->root < s->nr && node_kind(&s->nodes[g->root]) == NODE_EMPTY ? STATE_COMPLETE : STATE_LOST;
	if (top->holes)
		return STATE_HOLES;
	if (!is_live && (g->fit != FIT_EXACT || top->time > time || s->nodes[g->root].flags & FLAG_UNEVEN))
		return STATE_DOUBTFUL;
	return STATE_COMPLETE;
}

/* The highest time that is in the trees. */
static uint32_t time_of(const struct summary *top, const struct summary *details)
{
	uint32_t a = top ? top->time : 0, b = details ? details->time : 0;

	return a > b ? a : b;
}

/* Whether the kernel, which takes one free block after the other, has come to the device's end and begun again. */
static bool has_begun_again(const struct thin_scavenge *s)
{
	return s->highest >= s->nr - s->nr / 64 - 1;
}

/* From the newest root back. Where nothing tells which that is, pools that grow are the likelier ones. */
static uint64_t distance_of(const struct thin_scavenge *s, const struct thin_generation *g)
{
	const struct thin_pool *pool = s->args.pool;
	uint64_t newest = pool->is_lost ? s->nr : pool->live.data_mapping_root;

	if (pool->is_lost && has_begun_again(s))
		return UINT64_MAX - g->mappings;
	return newest >= g->root ? newest - g->root : newest + s->nr - g->root;
}

/* The roots, the superblock and what that says are filled in. */
static void judge(const struct thin_scavenge *s, struct thin_generation *g)
{
	const struct summary *top = summary_of(s, g->root, NODE_TOP);
	const struct summary *details = summary_of(s, g->details, NODE_DETAILS);

	g->fit = fit_of(top, details);
	if (top)
		count_top(s, g, top);
	if (!g->is_exact) {
		g->transaction = details ? details->transaction : RECORD_UNKNOWN;
		g->time = time_of(top, details);
	}
	g->state = state_of(s, g, top, details);
	g->distance = distance_of(s, g);
}

static void add_named(struct thin_scavenge *s, enum thin_source source, uint64_t block,
		      const struct thin_superblock *sb)
{
	struct thin_generation g = {
		.root = sb->data_mapping_root,
		.details = sb->device_details_root,
		.superblock = block,
		.source = source,
		.is_exact = sb->csum == sb->csum_expected,
		.transaction = sb->trans_id,
		.time = sb->time,
		.data_block_size = sb->data_block_size,
	};

	judge(s, &g);
	if (g.state != STATE_LOST || source != SOURCE_SUPERBLOCK)
		s->generations[s->nr_generations++] = g;
}

static void add_all_named(struct thin_scavenge *s)
{
	const struct thin_superblock *live = &s->args.pool->live;

	if (!s->args.pool->is_lost)
		add_named(s, SOURCE_CURRENT, 0, live);
	for (uint64_t i = 1; i < s->nr; i++) {
		bool is_held = !s->args.pool->is_lost && i == live->held_root;
		struct thin_superblock sb;

		if (scavenge_superblock(s, i, &sb))
			add_named(s, is_held ? SOURCE_SNAPSHOT : SOURCE_SUPERBLOCK, i, &sb);
	}
}

static bool is_orphan_top(const struct node *n)
{
	return is_root(n, NODE_TOP) && !node_has(n, NODE_NAMED);
}

static void add_orphans(struct thin_scavenge *s)
{
	sort_details(s, false);
	for (uint64_t i = 0; i < s->nr; i++) {
		const struct summary *top = summary_of(s, i, NODE_TOP);

		if (is_orphan_top(&s->nodes[i]) && (top->mappings || !top->holes))
			s->generations[s->nr_generations++] = (struct thin_generation){
				.root = i,
				.details = exact_details(s, top),
				.superblock = PROBLEM_NO_BLOCK,
				.source = SOURCE_ORPHAN,
			};
	}
	sort_details(s, true);
	for (size_t i = 0; i < s->nr_generations; i++) {
		struct thin_generation *g = &s->generations[i];

		if (g->source != SOURCE_ORPHAN)
			continue;
		if (g->details == PROBLEM_NO_BLOCK)
			g->details = nearest_details(s, summary_of(s, g->root, NODE_TOP));
		judge(s, g);
	}
}

/* The newest first, as far as the trees tell. */
static int by_age(const void *a, const void *b)
{
	const struct thin_generation *x = a, *y = b;
	int r = compare(y->source == SOURCE_CURRENT, x->source == SOURCE_CURRENT);

	r = r ? r : compare(y->time, x->time);
	r = r ? r : compare(y->transaction + 1, x->transaction + 1); /* unknown is 0 */
	r = r ? r : compare(x->distance, y->distance);
	return r ? r : compare(x->superblock, y->superblock);
}

static int make_generations(struct thin_scavenge *s)
{
	size_t nr = 1;

	for (uint64_t i = 0; i < s->nr; i++)
		nr += node_kind(&s->nodes[i]) == NODE_SUPERBLOCK || is_orphan_top(&s->nodes[i]);
	s->generations = scavenge_alloc(s, nr, sizeof(*s->generations));
	if (!s->generations)
		return -ENOMEM;
	add_all_named(s);
	add_orphans(s);
	qsort(s->generations, s->nr_generations, sizeof(*s->generations), by_age);
	return 0;
}

size_t thin_scavenge_nr_generations(const struct thin_scavenge *s)
{
	return s->nr_generations;
}

const struct thin_generation *thin_scavenge_generation(const struct thin_scavenge *s, size_t i)
{
	return &s->generations[i];
}

/* An older one, for being in a better state; but not if it is emptier as well. */
static bool is_better(const struct thin_generation *g, const struct thin_generation *newer)
{
	if (g->state != newer->state)
		return g->state < newer->state && g->mappings >= newer->mappings;
	return g->state == STATE_HOLES && g->mappings > newer->mappings;
}

const struct thin_generation *thin_scavenge_best(const struct thin_scavenge *s)
{
	const struct thin_generation *best = NULL;

	for (size_t i = 0; i < s->nr_generations; i++) {
		const struct thin_generation *g = &s->generations[i];

		if (g->state != STATE_LOST && (!best || is_better(g, best)))
			best = g;
	}
	return best;
}

uint32_t thin_scavenge_data_block_size(const struct thin_scavenge *s)
{
	for (size_t i = 0; i < s->nr_generations; i++)
		if (thin_is_data_block_size(s->generations[i].data_block_size))
			return s->generations[i].data_block_size;
	return 0;
}

/* --- trees of devices that are left over --- */

static int by_size(const void *a, const void *b)
{
	const struct tree_entry *x = a, *y = b;
	int r = compare(y->mappings, x->mappings);

	return r ? r : compare(x->block, y->block);
}

static int collect_trees(struct thin_scavenge *s)
{
	size_t nr = 0;

	for (uint64_t i = 0; i < s->nr; i++)
		nr += is_root(&s->nodes[i], NODE_MAPPINGS);
	s->trees = scavenge_alloc(s, nr, sizeof(*s->trees));
	if (!s->trees)
		return -ENOMEM;
	for (uint64_t i = 0; i < s->nr; i++)
		if (is_root(&s->nodes[i], NODE_MAPPINGS))
			s->trees[s->nr_trees++] = (struct tree_entry){
				.block = (uint32_t)i, .mappings = s->nodes[i].count, .dev_id = DEV_UNKNOWN,
			};
	qsort(s->trees, s->nr_trees, sizeof(*s->trees), by_size);
	return 0;
}

/* The first of the trees with so many mappings; NULL: none has. */
static struct tree_entry *first_tree(const struct thin_scavenge *s, uint64_t mappings)
{
	struct tree_entry key = { .mappings = mappings < UINT32_MAX ? (uint32_t)mappings : 0 };
	size_t begin = 0, end = s->nr_trees;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (by_size(&s->trees[middle], &key) < 0)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin < s->nr_trees && s->trees[begin].mappings == mappings ? &s->trees[begin] : NULL;
}

static int match_details(void *context, uint64_t block, const void *data, int error)
{
	struct thin_scavenge *s = context;
	struct pd_node leaf;
	struct problem p;

	if (error || !pd_node_decode(data, block, sizeof(struct thin_details_disk), &leaf, &p) || !leaf.is_leaf)
		return error == -ENOMEM || error == -EDEADLK ? error : 0;
	for (unsigned i = 0; i < leaf.nr; i++) {
		const struct thin_details_disk *d = (const void *)pd_value(&leaf, i);
		struct tree_entry *t = first_tree(s, le64_get(d->mapped_blocks));
		uint64_t id = pd_key(&leaf, i);

		if (t && id < DEV_SEVERAL && t->dev_id != id)
			t->dev_id = t->dev_id == DEV_UNKNOWN ? (uint32_t)id : DEV_SEVERAL;
	}
	return 0;
}

static bool is_details_leaf(const struct node *n)
{
	return node_kind(n) == NODE_DETAILS && n->level == 1;
}

static bool next_details(void *context, uint64_t *block, uint64_t *nr)
{
	struct thin_scavenge *s = context;

	while (s->cursor < s->nr && !is_details_leaf(&s->nodes[s->cursor]))
		s->cursor++;
	*block = s->cursor;
	while (s->cursor < s->nr && is_details_leaf(&s->nodes[s->cursor]))
		s->cursor++;
	*nr = s->cursor - *block;
	return *nr;
}

/*
 * Whose a tree is may be told by details of any generation that say as many mappings: if those are of one device, and
 * no other tree has as many, as pieces of larger ones do.
 */
static int name_trees(struct thin_scavenge *s)
{
	int r = s->nr_trees ? scavenge_scan(s, next_details, match_details, 1) : 0;

	for (size_t i = 1; i < s->nr_trees; i++)
		if (s->trees[i].mappings == s->trees[i - 1].mappings)
			s->trees[i].dev_id = s->trees[i - 1].dev_id = DEV_SEVERAL;
	return r;
}

size_t thin_scavenge_nr_trees(const struct thin_scavenge *s)
{
	return s->nr_trees;
}

void thin_scavenge_tree(const struct thin_scavenge *s, size_t i, struct thin_tree *tree)
{
	const struct tree_entry *t = &s->trees[i];
	const struct node *n = &s->nodes[t->block];

	*tree = (struct thin_tree){
		.block = t->block,
		.dev_id = t->dev_id < DEV_SEVERAL && !n->holes ? t->dev_id : PROBLEM_NO_DEVICE,
		.first = n->first,
		.last = n->last,
		.mappings = n->count,
		.holes = n->holes,
		.time = n->time,
		.is_leaf = n->level == 1,
	};
}

int scavenge_generations(struct thin_scavenge *s)
{
	int r = collect_details(s);

	if (!r)
		r = make_generations(s);
	if (!r)
		r = collect_trees(s);
	return r ? r : name_trees(s);
}
