// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Each level keeps the entries of its next node, until there are so many that a full node can be written and what is left
 * makes another. So a level never has too few entries, but at the beginning, or directly behind a subtree that was taken in
 * whole: then that subtree, or the one that comes next, is taken apart, down to where it is needed.
 */
#include "pdata/btree_build.h"

#include <errno.h>

#include "base/le.h"

#define CHILD_SIZE 8

static bool is_taken(const struct pd_writer *w, uint64_t block)
{
	return pd_counts_get(&w->counts, block) || (w->kept && w->kept[block / 64] >> block % 64 & 1);
}

static int find_next(struct pd_writer *w)
{
	while (w->is_inhabited && w->next < w->nr_blocks && is_taken(w, w->next))
		w->next++;
	return w->next < w->nr_blocks ? 0 : -ENOSPC;
}

int pd_take_number(struct pd_writer *w, uint64_t *block)
{
	int r = find_next(w);

	if (!r)
		*block = w->next++;
	return r;
}

int pd_take(struct pd_writer *w, void **data, struct bufio_buffer **b)
{
	int r = find_next(w);

	if (r)
		return r;
	*data = bufio_new(w->client, w->next, b);
	if (!*data)
		return -errno;
	w->next++;
	return 0;
}

int pd_write(struct bufio_buffer *b, enum pd_kind kind)
{
	int r;

	pd_block_seal(bufio_get_block_data(b), kind, bufio_get_block_number(b));
	r = bufio_mark_buffer_dirty(b);
	bufio_release(b);
	return r;
}

int pd_refer(struct pd_writer *w, uint64_t block)
{
	return pd_counts_add(&w->counts, &block, 1);
}

void pd_build_open(struct pd_build *b, struct pd_writer *w, uint32_t value_size)
{
	b->w = w;
	b->leaf = NULL;
	b->context = NULL;
	b->has_sole = false;
	for (unsigned i = 0; i < PD_MAX_DEPTH; i++) {
		struct pd_pending *p = &b->levels[i];

		p->nr = 0;
		p->value_size = i ? CHILD_SIZE : value_size;
		p->max = pd_max_entries(p->value_size);
		p->min = p->max / 3;
	}
}

/* --- reading what was written --- */

struct copy {
	uint8_t block[PD_BLOCK_SIZE];
	struct pd_node node;
};

/* It is our own: what does not come back as it was written is the device's fault. */
static int read_node(const struct pd_build *b, uint64_t block, struct copy *copy)
{
	struct pd_reader reader = { .client = b->w->client, .nr_blocks = b->w->next, .sink = &problem_silent };
	struct pd_context ctx = { 0 };
	struct bufio_buffer *buffer;
	struct problem p;
	const void *data;
	int r = pd_read(&reader, &ctx, block, PD_NODE, &data, &buffer);

	if (r <= 0)
		return r ? r : -EIO;
	memcpy(copy->block, data, PD_BLOCK_SIZE);
	bufio_release(buffer);
	return pd_node_decode(copy->block, block, 0, &copy->node, &p) ? 0 : -EIO;
}

/* --- writing nodes --- */

static struct pd_node fill(uint8_t *block, uint64_t number, const struct pd_pending *p, unsigned nr, bool is_leaf)
{
	struct pd_node n = {
		.block = number,
		.is_leaf = is_leaf,
		.nr = nr,
		.value_size = p->value_size,
		.keys = block + sizeof(struct pd_node_disk),
		.values = block + sizeof(struct pd_node_disk) + sizeof(le64) * p->max,
	};
	uint8_t *keys = block + sizeof(struct pd_node_disk), *values = keys + sizeof(le64) * p->max;

	*(struct pd_node_disk *)block = (struct pd_node_disk){
		.flags = le32_put(is_leaf ? PD_NODE_LEAF : PD_NODE_INTERNAL),
		.nr_entries = le32_put(nr),
		.max_entries = le32_put(p->max),
		.value_size = le32_put(p->value_size),
	};
	for (unsigned i = 0; i < nr; i++)
		le_store(keys + sizeof(le64) * i, sizeof(le64), p->keys[i]);
	memcpy(values, p->values, (size_t)p->value_size * nr);
	return n;
}

/* What a node points to has one reference more. */
static int count_entries(struct pd_build *b, const struct pd_node *n)
{
	uint64_t children[PD_PENDING_ENTRIES];

	if (n->is_leaf)
		return b->leaf ? b->leaf(b->context, n, true) : 0;
	for (unsigned i = 0; i < n->nr; i++)
		children[i] = pd_value64(n, i);
	return pd_counts_add(&b->w->counts, children, n->nr);
}

static void drop_front(struct pd_pending *p, unsigned nr)
{
	p->nr -= nr;
	memmove(p->keys, p->keys + nr, sizeof(*p->keys) * p->nr);
	memmove(p->values, p->values + (size_t)p->value_size * nr, (size_t)p->value_size * p->nr);
}

/* Writes a node of the first @nr entries of a level. */
static int write_node(struct pd_build *b, unsigned level, unsigned nr, uint64_t *block, uint64_t *key)
{
	struct pd_pending *p = &b->levels[level];
	struct bufio_buffer *buffer;
	struct pd_node n;
	void *data;
	int r = pd_take(b->w, &data, &buffer);

	if (r)
		return r;
	*block = bufio_get_block_number(buffer);
	*key = p->keys[0];
	n = fill(data, *block, p, nr, level == 0);
	r = count_entries(b, &n);
	if (r) {
		bufio_release(buffer);
		return r;
	}
	drop_front(p, nr);
	return pd_write(buffer, PD_NODE);
}

static int add_child(struct pd_build *b, unsigned level, uint64_t key, uint64_t block);

static int write_up(struct pd_build *b, unsigned level, unsigned nr)
{
	uint64_t block, key;
	int r = write_node(b, level, nr, &block, &key);

	return r ? r : add_child(b, level + 1, key, block);
}

static int add_entry(struct pd_build *b, unsigned level, uint64_t key, const void *value)
{
	struct pd_pending *p = &b->levels[level];

	p->keys[p->nr] = key;
	memcpy(p->values + (size_t)p->value_size * p->nr, value, p->value_size);
	return ++p->nr == p->max + p->min ? write_up(b, level, p->max) : 0;
}

static int add_child(struct pd_build *b, unsigned level, uint64_t key, uint64_t block)
{
	le64 child = le64_put(block);

	return level < PD_MAX_DEPTH ? add_entry(b, level, key, &child) : -E2BIG;
}

/* All that a level has, at least its min, becomes one node, or two that are equally full. */
static int close_level(struct pd_build *b, unsigned level)
{
	struct pd_pending *p = &b->levels[level];
	int r = p->nr > p->max ? write_up(b, level, p->nr / 2) : 0;

	return r ? r : write_up(b, level, p->nr);
}

/* --- taking in subtrees --- */

static int add_node(struct pd_build *b, uint64_t block, unsigned height, uint64_t first_key);

/* The entries of a node, one by one. */
static int add_entries_of(struct pd_build *b, uint64_t block, unsigned height)
{
	struct copy copy;
	int r = read_node(b, block, &copy);

	for (unsigned i = 0; !r && i < copy.node.nr; i++) {
		if (height)
			r = add_node(b, pd_value64(&copy.node, i), height - 1, pd_key(&copy.node, i));
		else
			r = add_entry(b, 0, pd_key(&copy.node, i), pd_value(&copy.node, i));
	}
	return r;
}

/* A node that has enough entries comes whole, once everything below the level where it goes was written. */
static int add_node(struct pd_build *b, uint64_t block, unsigned height, uint64_t first_key)
{
	int r = 0;

	for (unsigned level = 0; level <= height && !r; level++) {
		const struct pd_pending *p = &b->levels[level];

		if (p->nr && p->nr < p->min)
			return add_entries_of(b, block, height);
		if (p->nr)
			r = close_level(b, level);
	}
	return r ? r : add_child(b, height + 1, first_key, block);
}

/* What a root has may be too little for a node. */
static int add_root(struct pd_build *b, const struct pd_tree *t)
{
	if (t->nr < b->levels[t->height].min)
		return add_entries_of(b, t->root, t->height);
	return add_node(b, t->root, t->height, t->first_key);
}

static int add_sole(struct pd_build *b)
{
	if (!b->has_sole)
		return 0;
	b->has_sole = false;
	return add_root(b, &b->sole);
}

static bool is_empty(const struct pd_build *b)
{
	for (unsigned i = 0; i < PD_MAX_DEPTH; i++)
		if (b->levels[i].nr)
			return false;
	return !b->has_sole;
}

int pd_build_add(struct pd_build *b, uint64_t key, const void *value)
{
	int r = b->has_sole ? add_sole(b) : 0;

	return r ? r : add_entry(b, 0, key, value);
}

int pd_build_add_tree(struct pd_build *b, const struct pd_tree *tree)
{
	int r;

	if (!tree->nr)
		return 0;
	if (is_empty(b)) {
		b->sole = *tree;
		b->has_sole = true;
		return 0;
	}
	r = add_sole(b);
	return r ? r : add_root(b, tree);
}

/* --- the end --- */

static void insert_front(struct pd_pending *p, const struct pd_node *n)
{
	memmove(p->keys + n->nr, p->keys, sizeof(*p->keys) * p->nr);
	memmove(p->values + (size_t)p->value_size * n->nr, p->values, (size_t)p->value_size * p->nr);
	for (unsigned i = 0; i < n->nr; i++)
		p->keys[i] = pd_key(n, i);
	memcpy(p->values, n->values, (size_t)p->value_size * n->nr);
	p->nr += n->nr;
}

/* The last node above a level is taken apart: its entries come before those that wait. It was taken in, not written. */
static int take_back(struct pd_build *b, unsigned level)
{
	struct pd_pending *above = &b->levels[level + 1];
	struct copy copy;
	int r = above->nr ? 0 : take_back(b, level + 1);

	if (r)
		return r;
	above->nr--;
	r = read_node(b, le_load(above->values + CHILD_SIZE * (size_t)above->nr, CHILD_SIZE), &copy);
	if (!r)
		insert_front(&b->levels[level], &copy.node);
	return r;
}

static bool is_top(const struct pd_build *b, unsigned level)
{
	while (++level < PD_MAX_DEPTH)
		if (b->levels[level].nr)
			return false;
	return true;
}

static int finish_root(struct pd_build *b, unsigned level, struct pd_tree *tree)
{
	struct pd_tree t = { .height = level, .nr = b->levels[level].nr };
	int r = write_node(b, level, t.nr, &t.root, &t.first_key);

	if (!r)
		*tree = t;
	return r;
}

/* A single child is the root itself. */
static int finish_child(struct pd_build *b, unsigned level, struct pd_tree *tree)
{
	struct pd_pending *p = &b->levels[level];
	struct copy copy;
	int r = read_node(b, le_load(p->values, CHILD_SIZE), &copy);

	p->nr = 0;
	if (!r)
		*tree = (struct pd_tree){
			.root = copy.node.block, .first_key = p->keys[0], .height = level - 1, .nr = copy.node.nr,
		};
	return r;
}

int pd_build_finish(struct pd_build *b, struct pd_tree *tree)
{
	int r = 0;

	if (b->has_sole) {
		b->has_sole = false;
		*tree = b->sole;
		return 0;
	}
	for (unsigned level = 0; !r; level++) {
		struct pd_pending *p = &b->levels[level];

		if (p->nr < p->min && !is_top(b, level) && p->nr)
			r = take_back(b, level);
		if (r)
			break;
		if (is_top(b, level) && level && p->nr == 1)
			return finish_child(b, level, tree);
		if (is_top(b, level) && p->nr <= p->max)
			return finish_root(b, level, tree);
		if (p->nr)
			r = close_level(b, level);
	}
	return r;
}

int pd_build_finish_root(struct pd_build *b, uint64_t *root)
{
	struct pd_tree tree;
	int r = pd_build_finish(b, &tree);

	if (r)
		return r;
	*root = tree.root;
	return pd_refer(b->w, tree.root);
}

int pd_build_drop(struct pd_build *b, uint64_t block, unsigned height)
{
	struct copy copy;
	int r;

	pd_counts_sub(&b->w->counts, block);
	if (pd_counts_get(&b->w->counts, block))
		return 0;
	r = read_node(b, block, &copy);
	if (!r && !height)
		return b->leaf ? b->leaf(b->context, &copy.node, false) : 0;
	for (unsigned i = 0; !r && i < copy.node.nr; i++)
		r = pd_build_drop(b, pd_value64(&copy.node, i), height - 1);
	return r;
}
