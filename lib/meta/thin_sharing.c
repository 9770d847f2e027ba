// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Three walks over the devices, each in order: the first goes down to the parents of leaves and notes which leaf follows
 * which, and which keys it may have wherever it is; the second reads the leaves of shared runs, the third all others. So
 * every leaf is read once, but for damaged ones: they belong to no run, and every device tells of them.
 */
#include "meta/thin_sharing.h"

#include <errno.h>
#include <stdlib.h>

#include "meta/thin_int.h"

/* Neighbours, as blocks. Block 0 is the superblock, and so no leaf. */
#define UNKNOWN 0
#define NOBODY UINT32_MAX          /* the device begins or ends here */
#define DIFFERENT (UINT32_MAX - 1) /* not the same in all devices */

#define MAX_RUNS ((1u << 25) - 1) /* there can be no more than 2^22 blocks */

/* So many dead blocks may be visited again for those who share them to be told. A hostile pool has more. */
#define MAX_RETOLD 10000

/* What is known of a block that is a leaf somewhere, or a node above leaves. */
struct leaf {
	uint32_t before, after; /* of a leaf; of a node the first and the last leaf below it */
	uint32_t begin, end;    /* of a leaf the keys that it may have in every place where it is; of a node its first and
				   its last key. The highest of 32 bits stands for all that is higher */
	uint32_t run : 25;      /* of a leaf, from 1; 0: none yet. Of a node a bit for each depth at which it was met */
	uint32_t is_leaf : 1;
	uint32_t is_node : 1;
	uint32_t is_odd : 1;    /* both, which a sound pool does not have */
	uint32_t is_shared : 1; /* reached twice or more */
	uint32_t is_done : 1;   /* the second walk was there */
	uint32_t is_alive : 1;  /* and found mappings there, or below */
	uint32_t is_told : 1;   /* of what is dead: the third walk was there */
};

struct thin_sharing {
	struct thin_pool *pool, quiet; /* quiet: reports nothing */
	struct leaf *leaves;           /* by block */
	uint64_t *runs;                /* mappings, by name */
	uint32_t nr_runs, max_runs;
	unsigned retell; /* left of MAX_RETOLD */
};

/* One device's walk: the context of its cursor. */
struct pass {
	struct thin_sharing *s;
	struct thin_run mappings;
	uint32_t last;    /* the leaf before */
	uint32_t run;     /* that it belongs to, 0: none */
	uint64_t entries; /* of runs that were passed over */
	int error;
};

uint64_t thin_sharing_bytes(const struct thin_pool *pool)
{
	/* Runs are no more than leaves, and in practice far fewer. */
	return pool->reader.nr_blocks * (sizeof(struct leaf) + sizeof(uint64_t) / 8);
}

static void open_pass(struct pass *p, struct thin_sharing *s, const struct thin_pool *pool,
		      const struct thin_device *device, struct meta_visitor *v, struct pd_cursor *c)
{
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = device->id };

	*p = (struct pass){ .s = s, .mappings = { .m = { .dev_id = device->id }, .v = v }, .last = NOBODY };
	pd_cursor_open(c, &pool->reader, &ctx, device->root, sizeof(le64));
	c->context = p;
}

static bool is_beyond(const struct pass *p, uint64_t block)
{
	return block >= p->s->pool->reader.nr_blocks;
}

static struct leaf *leaf_at(const struct pass *p, uint64_t block)
{
	return &p->s->leaves[block];
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

static uint32_t clip(uint64_t key)
{
	return key < UINT32_MAX ? (uint32_t)key : UINT32_MAX;
}

/* The nodes above learn what is below them. */
static void note_below(struct pass *p, const struct pd_cursor *c, uint32_t first, uint32_t last)
{
	for (unsigned i = 0; i < c->depth; i++) {
		const struct pd_node *n = &c->path[i].node;
		struct leaf *l = leaf_at(p, n->block);

		l->is_odd |= l->is_leaf;
		if (!l->is_node && !l->is_leaf)
			*l = (struct leaf){ .is_node = 1, .before = first, .begin = clip(pd_key(n, 0)),
					    .end = clip(pd_key(n, n->nr - 1)) };
		if (!l->is_node)
			continue;
		l->after = last;
		l->run |= 1u << i;
	}
}

static void narrow(struct leaf *l, uint32_t begin, uint32_t end)
{
	l->begin = l->is_leaf && l->begin > begin ? l->begin : begin;
	l->end = l->is_leaf && l->end < end ? l->end : end;
}

/* A shared leaf in a place where its keys or its depth are wrong is damage there. */
static void note_place(struct leaf *l, const struct pd_cursor *c)
{
	narrow(l, clip(c->ctx.begin), c->depth + 1 == c->leaf_depth ? clip(c->ctx.end) : 0);
	l->is_shared = l->is_leaf;
	l->is_leaf = 1;
}

static void note_leaf(struct pass *p, const struct pd_cursor *c, uint64_t block)
{
	struct leaf *l;

	if (!block || is_beyond(p, block))
		return;
	l = leaf_at(p, block);
	if (l->is_node) {
		l->is_odd = 1;
		p->last = NOBODY;
		return;
	}
	note_place(l, c);
	follow(p, (uint32_t)block, (uint32_t)block);
	note_below(p, c, (uint32_t)block, (uint32_t)block);
}

/* Whether a node may be where it is met, and it is known what that means for the leaves below it. */
static bool fits(const struct pd_cursor *c, const struct leaf *l)
{
	return l->is_node && !l->is_odd && l->run & 1u << c->depth && c->ctx.begin <= l->begin && l->end < c->ctx.end &&
	       l->end < UINT32_MAX;
}

/*
 * All leaves lie equally deep: where the first one is tells what the parents of the others are. A node that was visited
 * twice has told all: that its leaves are shared, which is the first, and which the last.
 */
static bool skip_known(struct pd_cursor *c, uint64_t block, bool ahead)
{
	struct pass *p = c->context;
	bool is_leaf = c->leaf_depth && c->depth + 1 == c->leaf_depth;
	struct leaf *l;

	if (ahead || is_beyond(p, block))
		return is_leaf;
	if (is_leaf) {
		note_leaf(p, c, block);
		return true;
	}
	l = leaf_at(p, block);
	if (!l->is_shared || !fits(c, l)) {
		l->is_shared |= l->is_node;
		return false;
	}
	narrow(leaf_at(p, l->after), 0, clip(c->ctx.end));
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

int thin_sharing_create(struct thin_pool *pool, struct thin_sharing **sharing)
{
	struct thin_sharing *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->pool = pool;
	s->quiet = *pool;
	s->quiet.reader.sink = &problem_silent;
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

static int begin_run(struct pass *p)
{
	struct thin_sharing *s = p->s;
	struct record_def def;
	uint64_t *runs;

	if (s->nr_runs + 1 >= s->max_runs) {
		s->max_runs = s->max_runs ? 2 * s->max_runs : 64;
		runs = realloc(s->runs, s->max_runs * sizeof(*runs));
		if (!runs)
			return -ENOMEM;
		s->runs = runs;
	}
	def.name = p->run = ++s->nr_runs;
	s->runs[p->run] = 0;
	return p->mappings.v->begin(p->mappings.v, RECORD_DEF, &def);
}

static int end_run(struct pass *p)
{
	struct record_def def = { .name = p->run };
	int r;

	if (!p->run)
		return 0;
	p->run = 0;
	r = thin_run_flush(&p->mappings);
	return r ? r : p->mappings.v->end(p->mappings.v, RECORD_DEF, &def);
}

static bool is_joined(struct pass *p, uint64_t block)
{
	return p->run && leaf_at(p, p->last)->after == block && leaf_at(p, block)->before == p->last;
}

/* So that it can stand for itself, with nothing to be told of it, wherever it is. */
static bool is_sound(const struct thin_sharing *s, struct pd_cursor *c, const struct pd_node *n, const struct leaf *l)
{
	uint64_t flaws = c->flaws;

	thin_judge_leaf(&s->quiet, c, n);
	return c->flaws == flaws && n->nr && pd_key(n, 0) >= l->begin && pd_key(n, n->nr - 1) < l->end;
}

static void note_alive(struct pass *p, const struct pd_cursor *c, struct leaf *l)
{
	l->is_alive = 1;
	for (unsigned i = 0; i < c->depth; i++)
		leaf_at(p, c->path[i].node.block)->is_alive = 1;
}

/* What no other device has is for the third walk; a node that was visited has defined everything below it. */
static bool skip_defined(struct pd_cursor *c, uint64_t block, bool ahead)
{
	struct leaf *l;
	bool is_private, skip;

	if (is_beyond(c->context, block))
		return false; /* the cursor tells */
	l = leaf_at(c->context, block);
	is_private = l->is_leaf && !l->is_shared && !l->is_odd;
	skip = is_private || (l->is_done && !l->is_odd);
	if (ahead)
		return skip;
	if (is_private || l->is_alive)
		note_alive(c->context, c, l);
	l->is_done = 1;
	return skip;
}

/* A leaf that nobody saw yet belongs to the run of the one before, or begins another. */
static int add_shared(struct pass *p, struct pd_cursor *c, const struct pd_node *n)
{
	struct leaf *l = leaf_at(p, n->block);
	int r = 0;

	if (n->nr)
		note_alive(p, c, l);
	if (l->is_odd || !l->is_leaf || !l->is_shared || !is_sound(p->s, c, n, l))
		return 0;
	if (!is_joined(p, n->block)) {
		r = end_run(p);
		if (!r)
			r = begin_run(p);
		if (r)
			return r;
	}
	l->run = p->run & MAX_RUNS;
	p->last = (uint32_t)n->block;
	p->s->runs[p->run] += n->nr;
	return thin_run_add_leaf(&p->mappings, n);
}

static int define_device(struct thin_sharing *s, const struct thin_device *device, struct meta_visitor *v)
{
	const struct pd_node *leaf;
	struct pd_cursor c;
	struct pass p;
	int r;

	open_pass(&p, s, &s->quiet, device, v, &c);
	c.skip = skip_defined;
	while ((r = pd_cursor_next(&c, &leaf)) > 0) {
		r = add_shared(&p, &c, leaf);
		if (r)
			break;
	}
	pd_cursor_close(&c);
	return r < 0 ? r : end_run(&p);
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
	p->entries += p->s->runs[run];
	r = thin_run_flush(&p->mappings);
	return r ? r : p->mappings.v->record(p->mappings.v, RECORD_REF, &ref);
}

/* The run that a leaf, or everything below a node, belongs to. */
static uint32_t run_of(const struct pass *p, const struct leaf *l)
{
	uint32_t run;

	if (l->is_odd || !l->is_node)
		return l->is_odd || !l->is_leaf ? 0 : l->run;
	run = leaf_at(p, l->before)->run;
	return leaf_at(p, l->after)->run == run ? run : 0;
}

/* What is dead is told of the first device that has it, and of others as long as there are not too many. */
static bool skip_dead(struct pd_cursor *c, struct leaf *l, struct thin_sharing *s)
{
	if (!l->is_done || l->is_alive || l->is_odd)
		return false;
	if (!l->is_told || s->retell) {
		s->retell -= l->is_told;
		l->is_told = 1;
		return false;
	}
	c->holes++;
	return true;
}

static bool skip_shared(struct pd_cursor *c, uint64_t block, bool ahead)
{
	struct pass *p = c->context;
	struct leaf *l;
	uint32_t run;

	if (is_beyond(p, block))
		return false;
	l = leaf_at(p, block);
	run = run_of(p, l);
	if (ahead)
		return run;
	if (!run || (l->is_node && !fits(c, l)))
		return skip_dead(c, l, p->s);
	if (!c->leaf_depth && l->is_leaf)
		c->leaf_depth = c->depth + 1;
	if (!p->error)
		p->error = refer(p, run);
	return true;
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
		p.run = 0;
		r = thin_run_add_leaf(&p.mappings, leaf);
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
