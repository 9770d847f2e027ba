// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Three walks over the devices, each in order: the first goes down to the parents of leaves and notes which leaf follows
 * which; the second reads the leaves of shared runs, the third all others. So every leaf is read once, but for those of
 * damaged runs.
 */
#include "meta/thin_sharing.h"

#include <errno.h>
#include <stdlib.h>

#include "meta/thin_int.h"

/* A leaf's neighbours, as blocks. Block 0 is the superblock, and so no leaf. */
#define UNKNOWN 0
#define MAX_RETOLD 10000
#define NOBODY UINT32_MAX          /* the device begins or ends here */
#define DIFFERENT (UINT32_MAX - 1) /* not the same in all devices */
#define MAX_RUNS ((1u << 26) - 1) /* there can be no more than 2^22 blocks */

/* What is known of a block. */
struct leaf {
	uint32_t before, after; /* of a leaf; of a node above leaves the first and the last leaf below it */
	uint32_t run : 26;      /* of a leaf, from 1; 0: none yet */
	uint32_t is_leaf : 1;
	uint32_t is_shared : 1; /* reached twice or more */
	uint32_t is_node : 1;   /* above leaves */
	uint32_t is_odd : 1;    /* both leaf and node, which a sound pool does not have: shared with nobody */
	uint32_t is_done : 1;   /* a node: the second walk was there */
};

struct shared_run {
	uint64_t mappings;
	bool is_damaged;
};

struct thin_sharing {
	struct thin_pool *pool, quiet; /* quiet: reports nothing */
	struct leaf *leaves;           /* by block */
	struct shared_run *runs;       /* by name */
	uint32_t nr_runs, max_runs;
	unsigned retell; /* damaged leaves that may be visited again, for those who share them to be told */
};

/* One device's walk: the context of its cursor. */
struct pass {
	struct thin_sharing *s;
	struct thin_run mappings;
	uint32_t last;    /* the leaf before */
	uint32_t run;     /* that it belongs to, 0: none */
	uint64_t entries; /* first those before the open run, then those of runs that were passed over */
	uint64_t damage;  /* holes and flaws before the open run */
	int error;
};

uint64_t thin_sharing_bytes(const struct thin_pool *pool)
{
	/* Runs are no more than leaves, and in practice far fewer. */
	return pool->reader.nr_blocks * (sizeof(struct leaf) + sizeof(struct shared_run) / 8);
}

static void open_pass(struct pass *p, struct thin_sharing *s, const struct thin_pool *pool,
		      const struct thin_device *device, struct meta_visitor *v, struct pd_cursor *c)
{
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = device->id };

	*p = (struct pass){ .s = s, .mappings = { .m = { .dev_id = device->id }, .v = v }, .last = NOBODY };
	pd_cursor_open(c, &pool->reader, &ctx, device->root, sizeof(le64));
	c->context = p;
}

static struct leaf *leaf_at(const struct pass *p, uint64_t block)
{
	static struct leaf none;

	return block < p->s->pool->reader.nr_blocks ? &p->s->leaves[block] : &none;
}

static int for_each_device(struct thin_sharing *s, struct meta_visitor *v,
			   int (*visit)(struct thin_sharing *s, const struct thin_device *d, struct meta_visitor *v))
{
	struct thin_devices devices;
	struct thin_device device;
	int r;

	thin_devices_open(&devices, &s->quiet);
	while ((r = thin_devices_next(&devices, &device)) > 0) {
		r = device.has_root ? visit(s, &device, v) : 0;
		if (r)
			break;
	}
	thin_devices_close(&devices);
	return r;
}

/* --- the first walk: who follows whom --- */

static void link_neighbour(uint32_t *link, uint32_t neighbour)
{
	if (*link == UNKNOWN)
		*link = neighbour;
	else if (*link != neighbour)
		*link = DIFFERENT;
}

/* @first to @last are next, with nothing of interest between them. */
static void follow(struct pass *p, uint32_t first, uint32_t last)
{
	link_neighbour(&leaf_at(p, first)->before, p->last);
	if (p->last != NOBODY)
		link_neighbour(&leaf_at(p, p->last)->after, first);
	p->last = last;
}

/* The nodes above learn what is below them. */
static void note_below(struct pass *p, const struct pd_cursor *c, uint32_t first, uint32_t last)
{
	for (unsigned i = 0; i < c->depth; i++) {
		struct leaf *l = leaf_at(p, c->path[i].node.block);

		l->is_odd |= l->is_leaf;
		if (l->is_leaf)
			continue;
		if (!l->is_node)
			l->before = first;
		l->is_node = 1;
		l->after = last;
	}
}

static void note_leaf(struct pass *p, const struct pd_cursor *c, uint64_t block)
{
	struct leaf *l = leaf_at(p, block);

	if (!block || block >= p->s->pool->reader.nr_blocks)
		return;
	l->is_odd |= l->is_node;
	l->is_shared = l->is_leaf;
	l->is_leaf = 1;
	if (l->is_odd) {
		if (p->last != NOBODY)
			leaf_at(p, p->last)->after = DIFFERENT;
		p->last = NOBODY;
		return;
	}
	follow(p, (uint32_t)block, (uint32_t)block);
	note_below(p, c, (uint32_t)block, (uint32_t)block);
}

/*
 * All leaves lie equally deep: where the first one is tells what the parents of the others are. A node that was visited
 * twice has told all: that its leaves are shared, and which is the first and the last.
 */
static bool skip_known(struct pd_cursor *c, uint64_t block, bool ahead)
{
	struct pass *p = c->context;
	struct leaf *l = leaf_at(p, block);

	if (c->leaf_depth && c->depth + 1 == c->leaf_depth) {
		if (!ahead)
			note_leaf(p, c, block);
		return true;
	}
	if (ahead || !l->is_node || l->is_odd || !l->is_shared) {
		l->is_shared |= !ahead && l->is_node;
		return false;
	}
	follow(p, l->before, l->after);
	note_below(p, c, l->before, l->after);
	return true;
}

static int learn_device(struct thin_sharing *s, const struct thin_device *device, struct meta_visitor *v)
{
	const struct pd_node *leaf;
	struct pd_cursor c;
	struct pass p;
	int r;

	open_pass(&p, s, &s->quiet, device, v, &c);
	c.skip = skip_known;
	while ((r = pd_cursor_next(&c, &leaf)) > 0)
		note_leaf(&p, &c, leaf->block);
	pd_cursor_close(&c);
	if (p.last != NOBODY)
		link_neighbour(&leaf_at(&p, p.last)->after, NOBODY);
	return r;
}

static void ignore(struct problem_sink *sink, const struct problem *p)
{
	(void)sink;
	(void)p;
}

int thin_sharing_create(struct thin_pool *pool, struct thin_sharing **sharing)
{
	static struct problem_sink silent = { ignore };
	struct thin_sharing *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->pool = pool;
	s->quiet = *pool;
	s->quiet.reader.sink = &silent;
	s->retell = MAX_RETOLD;
	s->leaves = calloc(pool->reader.nr_blocks, sizeof(*s->leaves));
	r = s->leaves ? for_each_device(s, NULL, learn_device) : -ENOMEM;
	if (r)
		thin_sharing_destroy(s);
	else
		*sharing = s;
	return r;
}

void thin_sharing_destroy(struct thin_sharing *s)
{
	if (!s)
		return;
	free(s->leaves);
	free(s->runs);
	free(s);
}

/* --- the second: what is shared --- */

static struct shared_run *add_run(struct thin_sharing *s)
{
	struct shared_run *runs = s->runs;

	if (s->nr_runs + 1 >= s->max_runs) {
		s->max_runs = s->max_runs ? 2 * s->max_runs : 64;
		runs = realloc(s->runs, s->max_runs * sizeof(*runs));
		if (!runs)
			return NULL;
		s->runs = runs;
	}
	runs[++s->nr_runs] = (struct shared_run){ 0 };
	return &runs[s->nr_runs];
}

static int begin_run(struct pass *p, const struct pd_cursor *c)
{
	struct record_def def;

	if (!add_run(p->s))
		return -ENOMEM;
	def.name = p->run = p->s->nr_runs;
	p->entries = c->entries;
	p->damage = c->holes + c->flaws;
	return p->mappings.v->begin(p->mappings.v, RECORD_DEF, &def);
}

static int end_run(struct pass *p, const struct pd_cursor *c)
{
	struct record_def def = { .name = p->run };
	struct shared_run *run = &p->s->runs[p->run];
	int r;

	if (!p->run)
		return 0;
	run->mappings = c->entries - p->entries;
	run->is_damaged = c->holes + c->flaws != p->damage;
	p->run = 0;
	r = thin_run_flush(&p->mappings);
	return r ? r : p->mappings.v->end(p->mappings.v, RECORD_DEF, &def);
}

static bool is_joined(struct pass *p, uint64_t block)
{
	return p->run && leaf_at(p, p->last)->after == block && leaf_at(p, block)->before == p->last;
}

/* A leaf that nobody saw yet belongs to the run of the one before, or begins another. */
static bool skip_defined(struct pd_cursor *c, uint64_t block, bool ahead)
{
	struct pass *p = c->context;
	struct leaf *l = leaf_at(p, block);
	bool was_done = l->is_done;

	if (l->is_node || !l->is_leaf) {
		l->is_done |= !ahead;
		return was_done && !l->is_odd;
	}
	if (!l->is_shared || l->run || ahead)
		return !l->is_shared || l->run;
	if (!is_joined(p, block)) {
		p->error = end_run(p, c);
		if (!p->error)
			p->error = begin_run(p, c);
	}
	l->run = p->run & MAX_RUNS;
	p->last = (uint32_t)block;
	return p->error != 0;
}

static int define_device(struct thin_sharing *s, const struct thin_device *device, struct meta_visitor *v)
{
	const struct pd_node *leaf;
	struct pd_cursor c;
	struct pass p;
	int r;

	open_pass(&p, s, &s->quiet, device, v, &c);
	c.skip = skip_defined;
	while ((r = pd_cursor_next(&c, &leaf)) > 0 && !p.error) {
		thin_judge_leaf(&s->quiet, &c, leaf);
		r = p.run && leaf_at(&p, leaf->block)->run == p.run ? thin_run_add_leaf(&p.mappings, leaf) : 0;
		if (r)
			break;
	}
	if (r >= 0)
		r = p.error ? p.error : end_run(&p, &c);
	pd_cursor_close(&c);
	return r;
}

int thin_sharing_define(struct thin_sharing *s, struct meta_visitor *v)
{
	return for_each_device(s, v, define_device);
}

/* --- the third: what is left, and references --- */

static int refer(struct pass *p, uint32_t run)
{
	struct record_def ref = { .name = run };
	int r;

	if (p->run == run)
		return 0;
	p->run = run;
	if (!p->s->runs[run].is_damaged)
		p->entries += p->s->runs[run].mappings;
	r = thin_run_flush(&p->mappings);
	return r ? r : p->mappings.v->record(p->mappings.v, RECORD_REF, &ref);
}

/* The run that a leaf, or everything below a node, belongs to. */
static uint32_t run_of(const struct pass *p, const struct leaf *l)
{
	uint32_t run = l->is_node ? leaf_at(p, l->before)->run : l->run;

	return l->is_odd || (l->is_node && leaf_at(p, l->after)->run != run) ? 0 : run;
}

/* Damaged runs are entered, so that every device's reports are complete: as long as there are not too many. */
static bool skip_shared(struct pd_cursor *c, uint64_t block, bool ahead)
{
	struct pass *p = c->context;
	const struct leaf *l = leaf_at(p, block);
	uint32_t run = run_of(p, l);
	bool is_damaged = p->s->runs && p->s->runs[run].is_damaged;

	if (ahead)
		return run && !is_damaged;
	if (!run) {
		p->run = l->is_leaf ? 0 : p->run;
		return false;
	}
	if (!p->error)
		p->error = refer(p, run);
	if (p->error || !is_damaged)
		return true;
	c->holes++;
	if (!p->s->retell)
		return true;
	p->s->retell--;
	return false;
}

int thin_sharing_walk(struct thin_sharing *s, const struct thin_device *device, struct meta_visitor *v)
{
	const struct pd_node *leaf;
	struct pd_cursor c;
	struct pass p;
	int r;

	open_pass(&p, s, s->pool, device, v, &c);
	c.skip = skip_shared;
	while ((r = pd_cursor_next(&c, &leaf)) > 0 && !p.error) {
		thin_judge_leaf(s->pool, &c, leaf);
		r = run_of(&p, leaf_at(&p, leaf->block)) ? 0 : thin_run_add_leaf(&p.mappings, leaf);
		if (r)
			break;
	}
	pd_cursor_close(&c);
	if (r >= 0)
		r = p.error ? p.error : thin_run_flush(&p.mappings);
	if (!r && !c.holes)
		thin_judge_mapped(s->pool, device, c.entries + p.entries);
	return r;
}
