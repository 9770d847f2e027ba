// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_delta.h"

#include <string.h>

#include "meta/thin_disk.h"

static const struct {
	bool left, right;
} has[NR_DELTA_KINDS] = {
	[DELTA_SAME] = { true, true },	     [DELTA_DIFFERENT] = { true, true },   [DELTA_TIME] = { true, true },
	[DELTA_LEFT_ONLY] = { true, false }, [DELTA_RIGHT_ONLY] = { false, true }, [DELTA_UNKNOWN] = { false, false },
};

bool thin_delta_has_left(enum thin_delta_kind kind)
{
	return has[kind].left;
}

bool thin_delta_has_right(enum thin_delta_kind kind)
{
	return has[kind].right;
}

/* --- ranges --- */

struct walk {
	struct thin_delta *delta;
	struct side {
		struct thin_pool *pool;
		struct pd_cursor cursor;
		const struct pd_node *leaf; /* NULL: at a hole, or at the end */
		unsigned next;              /* entry of the leaf */
		uint64_t begin, end;        /* of the hole; both UINT64_MAX at the end */
	} left, right;
	uint64_t from; /* what lies before this was said already */
	struct thin_delta_range run; /* begin == end: none yet */
};

static int flush(struct walk *w)
{
	struct thin_delta_range run = w->run;

	w->run.end = w->run.begin;
	return run.begin == run.end ? 0 : w->delta->range(w->delta, &run);
}

static struct thin_delta_value value(const struct side *s)
{
	uint64_t v = pd_value64(s->leaf, s->next);

	return (struct thin_delta_value){ v >> THIN_TIME_BITS, (uint32_t)(v & THIN_TIME_MASK) };
}

static bool follows(const struct thin_delta *d, const struct thin_delta_value *first, uint64_t distance,
		    const struct thin_delta_value *next)
{
	return (!d->by_data || next->data == first->data + distance) && (!d->by_time || next->time == first->time);
}

static bool continues_run(const struct walk *w, const struct thin_delta_range *r)
{
	const struct thin_delta_range *run = &w->run;
	uint64_t distance = r->begin - run->begin;

	return run->kind == r->kind && run->end == r->begin && run->begin != run->end &&
	       (!has[r->kind].left || follows(w->delta, &run->left, distance, &r->left)) &&
	       (!has[r->kind].right || follows(w->delta, &run->right, distance, &r->right));
}

static int add(struct walk *w, const struct thin_delta_range *r)
{
	int error;

	if (r->kind == DELTA_SAME && w->delta->skip_same)
		return 0;
	if (continues_run(w, r)) {
		w->run.end = r->end;
		return 0;
	}
	error = flush(w);
	w->run = *r;
	return error;
}

/* --- one side --- */

static void open_side(struct side *s, const struct thin_delta_side *of)
{
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = of->dev_id };

	s->pool = of->pool;
	pd_cursor_open(&s->cursor, &of->pool->reader, &ctx, of->root, sizeof(le64));
	s->cursor.stops_at_holes = true;
}

/* The next leaf, hole, or the end. */
static int load(struct side *s)
{
	int r = pd_cursor_next(&s->cursor, &s->leaf);

	if (r < 0)
		return r;
	s->next = 0;
	if (!r)
		s->leaf = NULL;
	else if (s->leaf)
		thin_judge_leaf(s->pool, &s->cursor, s->leaf);
	s->begin = r ? s->cursor.ctx.begin : UINT64_MAX;
	s->end = r ? s->cursor.ctx.end : UINT64_MAX;
	return 0;
}

static bool is_at_end(const struct side *s)
{
	return !s->leaf && s->begin == UINT64_MAX;
}

static uint64_t place(const struct side *s)
{
	return s->leaf ? pd_key(s->leaf, s->next) : s->begin;
}

/* Has the side stand at something that was not said yet. */
static int settle(const struct walk *w, struct side *s)
{
	int r = 0;

	while (!r && !is_at_end(s)) {
		if (s->leaf) {
			while (s->next < s->leaf->nr && pd_key(s->leaf, s->next) < w->from)
				s->next++;
			if (s->next < s->leaf->nr)
				return 0;
		} else if (s->end > w->from) {
			if (s->begin < w->from)
				s->begin = w->from;
			return 0;
		}
		r = load(s);
	}
	return r;
}

/* --- both --- */

/* The same block of one image, or one that says the same. */
static bool is_same_leaf(const struct pd_node *a, const struct pd_node *b)
{
	return a->values == b->values ||
	       (a->nr == b->nr && !memcmp(a->keys, b->keys, 8 * (size_t)a->nr) &&
		!memcmp(a->values, b->values, 8 * (size_t)a->nr));
}

static int add_same_leaf(struct walk *w)
{
	struct side *l = &w->left;
	unsigned nr = l->leaf->nr;
	uint64_t first = pd_key(l->leaf, 0), last = pd_key(l->leaf, nr - 1);
	bool is_one = !w->delta->by_data && last - first == nr - 1;
	int r = 0;

	w->right.next = nr;
	for (l->next = 0; !w->delta->skip_same && l->next < nr && !r; l->next = is_one ? nr : l->next + 1) {
		uint64_t key = pd_key(l->leaf, l->next);
		struct thin_delta_value v = value(l);

		r = add(w, &(struct thin_delta_range){ DELTA_SAME, key, is_one ? last + 1 : key + 1, v, v });
	}
	l->next = nr;
	return r;
}

static int add_hole(struct walk *w, const struct side *s)
{
	w->from = s->end;
	return add(w, &(struct thin_delta_range){ .kind = DELTA_UNKNOWN, .begin = s->begin, .end = s->end });
}

static int add_one_side(struct walk *w, struct side *s, enum thin_delta_kind kind)
{
	struct thin_delta_range r = { .kind = kind, .begin = place(s), .end = place(s) + 1 };

	*(s == &w->left ? &r.left : &r.right) = value(s);
	s->next++;
	return add(w, &r);
}

static int add_both(struct walk *w)
{
	struct thin_delta_range r = {
		.begin = place(&w->left), .end = place(&w->left) + 1, .left = value(&w->left), .right = value(&w->right),
	};

	if (r.left.data != r.right.data)
		r.kind = DELTA_DIFFERENT;
	else if (w->delta->by_time && r.left.time != r.right.time)
		r.kind = DELTA_TIME;
	else
		r.kind = DELTA_SAME;
	w->left.next++;
	w->right.next++;
	return add(w, &r);
}

/* Says what is the next, on either side. */
static int step(struct walk *w)
{
	struct side *l = &w->left, *r = &w->right;
	uint64_t at_left = place(l), at_right = place(r);

	if (!l->leaf && at_left <= at_right)
		return add_hole(w, l);
	if (!r->leaf && at_right <= at_left)
		return add_hole(w, r);
	if (at_left < at_right)
		return add_one_side(w, l, DELTA_LEFT_ONLY);
	if (at_right < at_left)
		return add_one_side(w, r, DELTA_RIGHT_ONLY);
	if (!l->next && !r->next && is_same_leaf(l->leaf, r->leaf))
		return add_same_leaf(w);
	return add_both(w);
}

/* A hole without an end hides all that follows. */
static bool is_done(const struct walk *w)
{
	return w->from == UINT64_MAX || (is_at_end(&w->left) && is_at_end(&w->right));
}

static int compare(struct walk *w)
{
	int r;

	do {
		r = settle(w, &w->left);
		if (!r)
			r = settle(w, &w->right);
		if (!r && is_done(w))
			return flush(w);
		if (!r)
			r = step(w);
	} while (!r);
	return r;
}

int thin_delta(struct thin_delta *delta)
{
	struct walk w = { .delta = delta };
	int r;

	open_side(&w.left, &delta->left);
	open_side(&w.right, &delta->right);
	r = compare(&w);
	pd_cursor_close(&w.left.cursor);
	pd_cursor_close(&w.right.cursor);
	return r;
}

/* --- devices --- */

void thin_pairs_open(struct thin_pairs *p, struct thin_pool *left, struct thin_pool *right)
{
	p->has[THIN_LEFT] = p->has[THIN_RIGHT] = false;
	thin_devices_open(&p->walk[THIN_LEFT], left);
	thin_devices_open(&p->walk[THIN_RIGHT], right);
}

void thin_pairs_close(struct thin_pairs *p)
{
	thin_devices_close(&p->walk[THIN_LEFT]);
	thin_devices_close(&p->walk[THIN_RIGHT]);
}

static int fill(struct thin_pairs *p, unsigned side)
{
	int r = p->has[side] ? 1 : thin_devices_next(&p->walk[side], &p->next[side]);

	p->has[side] = r > 0;
	return r < 0 ? r : 0;
}

int thin_pairs_next(struct thin_pairs *p, const struct thin_device *devices[2])
{
	const struct thin_device *left = &p->next[THIN_LEFT], *right = &p->next[THIN_RIGHT];
	bool use_left, use_right;
	int r = fill(p, THIN_LEFT);

	if (!r)
		r = fill(p, THIN_RIGHT);
	if (r)
		return r;
	use_left = p->has[THIN_LEFT] && (!p->has[THIN_RIGHT] || left->id <= right->id);
	use_right = p->has[THIN_RIGHT] && (!p->has[THIN_LEFT] || right->id <= left->id);
	devices[THIN_LEFT] = use_left ? left : NULL;
	devices[THIN_RIGHT] = use_right ? right : NULL;
	p->has[THIN_LEFT] &= !use_left;
	p->has[THIN_RIGHT] &= !use_right;
	return use_left || use_right;
}

/* What neither of the two trees shows may be behind damage only if both have some. */
bool thin_pairs_may_hide(const struct thin_pairs *p, unsigned side)
{
	return p->walk[side].details.holes && p->walk[side].top.holes;
}
