// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pdata/btree.h"

#include <stdatomic.h>

#define HEADER sizeof(struct pd_node_disk)
#define KEY_SIZE 8
#define CHILD_SIZE 8
#define MAX_READ_AHEAD 128

unsigned pd_max_entries(uint32_t value_size)
{
	return (unsigned)((PD_BLOCK_SIZE - HEADER) / (KEY_SIZE + (uint64_t)value_size) / 3 * 3);
}

static bool wrong(struct problem *p, enum problem_code code, uint64_t expected, uint64_t found)
{
	p->code = code;
	p->expected = expected;
	p->found = found;
	return false;
}

/* In a loop without branches, as nearly all nodes are good. */
static bool do_keys_rise(const struct pd_node *n)
{
	bool is = true;

	for (unsigned i = 1; i < n->nr; i++)
		is &= pd_key(n, i) > pd_key(n, i - 1);
	return is;
}

static bool check_keys(const struct pd_node *n, struct problem *p)
{
	if (do_keys_rise(n))
		return true;
	for (unsigned i = 1; i < n->nr; i++)
		if (pd_key(n, i) <= pd_key(n, i - 1))
			return wrong(p, PROBLEM_NODE_KEY_ORDER, pd_key(n, i - 1), pd_key(n, i));
	return true;
}

bool pd_node_decode(const void *data, uint64_t block, uint32_t value_size, struct pd_node *node, struct problem *p)
{
	const struct pd_node_disk *d = data;
	uint32_t flags = le32_get(d->flags), nr = le32_get(d->nr_entries), max = le32_get(d->max_entries);
	uint32_t size = le32_get(d->value_size);
	bool is_leaf = flags == PD_NODE_LEAF;

	if (!is_leaf && flags != PD_NODE_INTERNAL)
		return wrong(p, PROBLEM_NODE_FLAGS, 0, flags);
	if (!is_leaf)
		value_size = CHILD_SIZE;
	else if (!value_size)
		value_size = size;
	if (size != value_size || !size)
		return wrong(p, PROBLEM_NODE_VALUE_SIZE, value_size, size);
	if (!max || HEADER + (uint64_t)max * (KEY_SIZE + (uint64_t)size) > PD_BLOCK_SIZE)
		return wrong(p, PROBLEM_NODE_MAX_ENTRIES, pd_max_entries(size), max);
	if (nr > max)
		return wrong(p, PROBLEM_NODE_NR_ENTRIES, max, nr);
	if (!nr && !is_leaf) /* an empty tree is a leaf; the kernel would take what lies behind the header for a child */
		return wrong(p, PROBLEM_NODE_CHILDLESS, 0, 0);
	*node = (struct pd_node){
		.block = block,
		.is_leaf = is_leaf,
		.nr = nr,
		.value_size = size,
		.keys = (const uint8_t *)data + HEADER,
		.values = (const uint8_t *)data + HEADER + (size_t)max * KEY_SIZE,
	};
	return check_keys(node, p);
}

bool pd_is_underfull(const struct pd_node *n)
{
	return n->nr < pd_max_entries(n->value_size) / 3;
}

unsigned pd_room(const struct pd_node *n)
{
	return (unsigned)((n->values - n->keys) / KEY_SIZE);
}

/* So many that a disk is kept busy, and that they are still there when it is their turn. */
static unsigned read_ahead(const struct bufio_client *client)
{
	uint64_t nr = bufio_get_memory_limit(client) / bufio_get_block_size(client) / 16;

	return nr < MAX_READ_AHEAD ? (unsigned)nr : MAX_READ_AHEAD;
}

void pd_cursor_open(struct pd_cursor *c, const struct pd_reader *r, const struct pd_context *ctx, uint64_t root,
		    uint32_t value_size)
{
	*c = (struct pd_cursor){
		.reader = r,
		.ctx = *ctx,
		.value_size = value_size,
		.root = root,
		.read_ahead = read_ahead(r->client),
		.ahead_end = UINT64_MAX,
	};
}

static bool is_on_path(const struct pd_cursor *c, uint64_t block)
{
	for (unsigned i = 0; i < c->depth; i++)
		if (c->path[i].node.block == block)
			return true;
	return false;
}

static struct pd_memo_entry *memo_entry(const struct pd_cursor *c, uint64_t block)
{
	return c->memo && block < c->memo->nr ? &c->memo->entries[block] : NULL;
}

/* Leaves of a tree are at one depth; one that is not is visited, for that to be told. */
static bool is_at_its_level(struct pd_cursor *c, const struct pd_memo_entry *e)
{
	unsigned depth = c->depth + e->height;

	if (!e->height)
		return true;
	if (!c->leaf_depth)
		c->leaf_depth = depth;
	return c->leaf_depth == depth;
}

static void accept(const struct pd_cursor *c, uint64_t block)
{
	if (c->memo && c->memo->accepted && block < c->memo->nr)
		c->memo->accepted[block / 64] |= UINT64_C(1) << block % 64;
}

/* Keys that do not fit here are left to a real visit, which reports them. */
static bool is_seen(struct pd_cursor *c, uint64_t block)
{
	const struct pd_memo_entry *e = memo_entry(c, block);
	uint64_t count;

	if (!e || !e->is_seen)
		return false;
	count = pd_memo_count(e);
	if (count && (e->first < c->ctx.begin || e->last >= c->ctx.end))
		return false;
	if (c->memo->retell && (e->is_damaged || !is_at_its_level(c, e))) {
		c->memo->retell--;
		return false;
	}
	accept(c, block);
	c->holes += e->is_damaged;
	c->entries += count;
	if (count)
		c->last_key = e->last;
	return true;
}

#define MAX_HEIGHT 15

/* Threads that take the last pages at once may take some more of them. */
static bool has_room(struct pd_memo *memo, uint64_t block)
{
	uint64_t page = block / PD_MEMO_PAGE, bit = UINT64_C(1) << page % 64;

	if (!memo->pages || atomic_load_explicit(&memo->pages[page / 64], memory_order_relaxed) & bit)
		return true;
	if (memo->nr_pages >= memo->max_pages)
		return false;
	memo->nr_pages += !(atomic_fetch_or(&memo->pages[page / 64], bit) & bit);
	return true;
}

void pd_memo_set(struct pd_memo *memo, uint64_t block, uint64_t first, uint64_t last, uint64_t count, unsigned height,
		 bool is_damaged)
{
	if (last >> PD_MEMO_KEY_BITS || !has_room(memo, block))
		return;
	memo->entries[block] = (struct pd_memo_entry){
		.first = first,
		.height = height <= MAX_HEIGHT ? height : 0,
		.is_seen = true,
		.is_damaged = is_damaged,
		.count_high = count >> 18 & 0xFFF,
		.last = last,
		.count_low = count & 0x3FFFF,
	};
}

/* @entries of them were below @block, and the last of the cursor is the last one of these. @height: 0, not known. */
static void remember(struct pd_cursor *c, uint64_t block, unsigned height, uint64_t first, uint64_t entries,
		     bool is_damaged)
{
	if (memo_entry(c, block))
		pd_memo_set(c->memo, block, entries ? first : 0, entries ? c->last_key : 0, entries, height, is_damaged);
}

/* Tells of damage in the node at @block, which then is a hole. */
static void hole(struct pd_cursor *c, enum problem_code code, uint64_t block, struct problem p)
{
	pd_report(c->reader, &c->ctx, code, block, p);
	c->holes++;
}

/* The same for damage that the node has wherever it is reached from. */
static void dead_node(struct pd_cursor *c, uint64_t block)
{
	c->holes++;
	remember(c, block, 0, 0, 0, true);
}

/* The keys of the node against what its parent said, and its place against the other leaves. */
static bool check_place(struct pd_cursor *c, const struct pd_node *n)
{
	if (n->nr && (pd_key(n, 0) < c->ctx.begin || pd_key(n, n->nr - 1) >= c->ctx.end)) {
		bool first = pd_key(n, 0) < c->ctx.begin;

		hole(c, PROBLEM_NODE_KEY_RANGE, n->block,
		     (struct problem){ .found = pd_key(n, first ? 0 : n->nr - 1) });
		return false;
	}
	if (!n->nr && c->depth)
		pd_report(c->reader, &c->ctx, PROBLEM_NODE_EMPTY, n->block, (struct problem){ 0 });
	if (n->is_leaf && !c->leaf_depth)
		c->leaf_depth = c->depth + 1;
	if (n->is_leaf && c->leaf_depth != c->depth + 1) {
		pd_report(c->reader, &c->ctx, PROBLEM_LEAF_DEPTH, n->block,
			  (struct problem){ .expected = c->leaf_depth, .found = c->depth + 1 });
		c->uneven++;
	}
	return true;
}

static void tell_reached(struct pd_cursor *c, uint64_t block)
{
	struct pd_observer *o = c->reader->observer;

	if (o && o->reached)
		o->reached(o, &c->ctx, block, c);
}

static void tell_entered(struct pd_cursor *c, const struct pd_node *n)
{
	struct pd_observer *o = c->reader->observer;

	if (o)
		o->entered(o, &c->ctx, n->block, c, n);
}

/* Enters the node at @block, which covers ctx.begin..end: 1 as the next level or as the leaf, 0 not to be entered. */
static int enter(struct pd_cursor *c, uint64_t block)
{
	struct bufio_buffer *b;
	struct problem p = { 0 };
	struct pd_node n;
	const void *data;
	int r;

	c->ctx.is_leaf = c->depth && c->leaf_depth == c->depth + 1;
	if (is_on_path(c, block)) {
		hole(c, PROBLEM_NODE_LOOP, block, p);
		return 0;
	}
	if (c->depth == PD_MAX_DEPTH) {
		hole(c, PROBLEM_TREE_DEPTH, block, (struct problem){ .expected = PD_MAX_DEPTH });
		return 0;
	}
	if (is_seen(c, block) || (c->skip && c->skip(c, block, false)))
		return 0;
	tell_reached(c, block);
	r = pd_read(c->reader, &c->ctx, block, PD_NODE, &data, &b);
	if (!r)
		dead_node(c, block);
	if (r <= 0)
		return r;
	if (!pd_node_decode(data, block, c->value_size, &n, &p)) {
		pd_report(c->reader, &c->ctx, p.code, block, p);
		dead_node(c, block);
		bufio_release(b);
		return 0;
	}
	if (!check_place(c, &n)) {
		bufio_release(b);
		return 0;
	}
	accept(c, block);
	if (n.is_leaf) {
		c->leaf = n;
		c->leaf_buffer = b;
		c->leaf_next = 0;
		c->entries += n.nr;
		if (n.nr)
			c->last_key = pd_key(&n, n.nr - 1);
		remember(c, block, 1, n.nr ? pd_key(&n, 0) : 0, n.nr, false);
		tell_entered(c, &n);
	} else {
		c->path[c->depth] = (struct pd_level){
			.buffer = b,
			.node = n,
			.begin = c->ctx.begin,
			.end = c->ctx.end,
			.entries = c->entries,
			.holes = c->holes,
			.flaws = c->flaws,
			.uneven = c->uneven,
			.revisits = c->revisits,
		};
		tell_entered(c, &n);
		c->depth++;
	}
	return 1;
}

/* What has leaves at another level below it has no height, and is visited by everyone for that to be told. */
static void leave(struct pd_cursor *c)
{
	struct pd_level *l = &c->path[--c->depth];
	bool is_damaged = c->holes != l->holes || c->flaws != l->flaws || c->uneven != l->uneven;
	bool has_height = c->entries != l->entries && c->leaf_depth > c->depth && !is_damaged;

	if (c->revisits == l->revisits)
		remember(c, l->node.block, has_height ? c->leaf_depth - c->depth : 0,
			 l->node.nr ? pd_key(&l->node, 0) : 0, c->entries - l->entries, is_damaged);
	bufio_release(l->buffer);
}

static bool is_wanted(struct pd_cursor *c, uint64_t block)
{
	const struct pd_memo_entry *e = memo_entry(c, block);

	return block < c->reader->nr_blocks && !(e && e->is_seen) && !(c->skip && c->skip(c, block, true));
}

/* Asks for children @i..@end-1, neighbours together. */
static void prefetch_range(struct pd_cursor *c, const struct pd_node *n, unsigned i, unsigned end)
{
	uint64_t first = 0, nr = 0;

	for (; i < end && i < n->nr && pd_key(n, i) < c->ahead_end; i++) {
		uint64_t block = pd_value64(n, i);

		if (!is_wanted(c, block))
			continue;
		if (nr && block != first + nr) {
			bufio_prefetch(c->reader->client, first, nr);
			nr = 0;
		}
		if (!nr)
			first = block;
		nr++;
	}
	if (nr)
		bufio_prefetch(c->reader->client, first, nr);
}

/* The first children of the node that follows, if it is here: else the disk would have nothing to do at its border. */
static void prefetch_beyond(struct pd_cursor *c)
{
	struct bufio_buffer *b;
	struct pd_level *above;
	struct pd_node next;
	struct problem p;
	uint64_t block;
	const void *data;

	if (c->depth < 2)
		return;
	above = &c->path[c->depth - 2];
	if (above->next == above->node.nr)
		return;
	block = pd_value64(&above->node, above->next);
	data = is_wanted(c, block) ? bufio_get(c->reader->client, block, &b) : NULL;
	if (!data)
		return;
	if (pd_node_decode(data, block, c->value_size, &next, &p) && !next.is_leaf)
		prefetch_range(c, &next, 0, c->read_ahead / 2);
	bufio_release(b);
}

/* Those that are next in line: half of the read-ahead whenever that is used up. */
static void prefetch_children(struct pd_cursor *c, struct pd_level *l)
{
	unsigned end = l->next + c->read_ahead;

	if (l->ahead > l->next + c->read_ahead / 2 || l->ahead == l->node.nr)
		return;
	prefetch_range(c, &l->node, l->ahead, end);
	l->ahead = end < l->node.nr ? end : l->node.nr;
	if (l->ahead == l->node.nr)
		prefetch_beyond(c);
}

static int enter_next_child(struct pd_cursor *c, struct pd_level *l)
{
	unsigned i;

	prefetch_children(c, l);
	i = l->next++;
	c->ctx.begin = pd_key(&l->node, i);
	c->ctx.end = i + 1 < l->node.nr ? pd_key(&l->node, i + 1) : l->end;
	return enter(c, pd_value64(&l->node, i));
}

/* Children that have no key from c->from on. */
static void pass_over(const struct pd_cursor *c, struct pd_level *l)
{
	if (l->end <= c->from)
		l->next = l->node.nr;
	while (l->next + 1 < l->node.nr && pd_key(&l->node, l->next + 1) <= c->from)
		l->next++;
	if (l->ahead < l->next)
		l->ahead = l->next;
}

static void release_leaf(struct pd_cursor *c)
{
	if (c->leaf_buffer)
		bufio_release(c->leaf_buffer);
	c->leaf_buffer = NULL;
}

int pd_cursor_next(struct pd_cursor *c, const struct pd_node **leaf)
{
	uint64_t holes = c->stops_at_holes ? c->holes : UINT64_MAX;
	int r = 0;

	release_leaf(c);
	if (!c->started) {
		c->started = true;
		c->ctx.begin = 0;
		c->ctx.end = UINT64_MAX;
		r = enter(c, c->root);
	}
	while (r >= 0 && !c->leaf_buffer && c->depth && c->holes <= holes) {
		struct pd_level *l = &c->path[c->depth - 1];

		pass_over(c, l);
		if (l->next < l->node.nr)
			r = enter_next_child(c, l);
		else
			leave(c);
	}
	if (r < 0)
		return r;
	if (!c->leaf_buffer && c->holes <= holes)
		return 0;
	*leaf = c->leaf_buffer ? &c->leaf : NULL;
	return 1;
}

void pd_cursor_flaw(struct pd_cursor *c, const struct pd_node *n)
{
	struct pd_memo_entry *e = memo_entry(c, n->block);

	c->flaws++;
	if (e && e->is_seen)
		e->is_damaged = true;
}

void pd_cursor_revisit(struct pd_cursor *c, const struct pd_node *leaf)
{
	struct pd_memo_entry *e = memo_entry(c, leaf->block);

	c->revisits++;
	if (e && e->is_seen)
		e->is_seen = false;
}

void pd_cursor_seek(struct pd_cursor *c, uint64_t key)
{
	if (key > c->from)
		c->from = key;
}

/* Whether the leaf has another entry from c->from on. */
static bool has_entry(struct pd_cursor *c)
{
	if (!c->leaf_buffer)
		return false;
	while (c->leaf_next < c->leaf.nr && pd_key(&c->leaf, c->leaf_next) < c->from)
		c->leaf_next++;
	return c->leaf_next < c->leaf.nr;
}

int pd_cursor_next_entry(struct pd_cursor *c, uint64_t *key, const uint8_t **value)
{
	const struct pd_node *leaf;
	int r;

	while (!has_entry(c)) {
		r = pd_cursor_next(c, &leaf);
		if (r <= 0)
			return r;
	}
	*key = pd_key(&c->leaf, c->leaf_next);
	*value = pd_value(&c->leaf, c->leaf_next);
	c->leaf_next++;
	return 1;
}

void pd_cursor_close(struct pd_cursor *c)
{
	release_leaf(c);
	while (c->depth)
		bufio_release(c->path[--c->depth].buffer);
}

/* The last entry whose key is not above @key, or nr. */
static unsigned find_entry(const struct pd_node *n, uint64_t key)
{
	unsigned low = 0, high = n->nr;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (pd_key(n, middle) <= key)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? low - 1 : n->nr;
}

/* Of the node that was just entered; true: it has a child on the way, and the cursor is set on that one's keys. */
static bool fill_hop(struct pd_cursor *c, uint64_t key, struct pd_hop *hop, uint64_t *child)
{
	const struct pd_node *n = c->leaf_buffer ? &c->leaf : &c->path[c->depth - 1].node;
	unsigned i = find_entry(n, key);

	hop->is_good = true;
	hop->is_leaf = n->is_leaf;
	hop->nr = n->nr;
	if (!n->is_leaf && i == n->nr)
		i = 0; /* a key below the first is not there, and the first child knows who comes next */
	hop->entry = i;
	if (i == n->nr)
		return false;
	hop->key = pd_key(n, i);
	memcpy(hop->value, pd_value(n, i), n->value_size < sizeof(hop->value) ? n->value_size : sizeof(hop->value));
	c->ctx.begin = hop->key;
	c->ctx.end = i + 1 < n->nr ? pd_key(n, i + 1) : hop->end;
	*child = le_load(hop->value, 8);
	return !n->is_leaf;
}

int pd_lookup(const struct pd_reader *r, const struct pd_context *ctx, uint64_t root, uint32_t value_size, uint64_t key,
	      struct pd_lookup *path)
{
	struct pd_cursor c; /* for the checks of a node in its place */
	bool goes_on = true;
	int found = 1;

	pd_cursor_open(&c, r, ctx, root, value_size);
	c.read_ahead = 0;
	c.ctx.begin = 0;
	c.ctx.end = UINT64_MAX;
	*path = (struct pd_lookup){ 0 };
	for (uint64_t block = root; found > 0 && goes_on;) {
		path->hops[path->nr] = (struct pd_hop){ .block = block, .begin = c.ctx.begin, .end = c.ctx.end };
		found = enter(&c, block);
		if (found > 0)
			goes_on = fill_hop(&c, key, &path->hops[path->nr], &block);
		path->nr++;
	}
	pd_cursor_close(&c);
	return found;
}
