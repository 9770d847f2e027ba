// SPDX-License-Identifier: LGPL-2.1-or-later
/* Reading every block, and then deciding from the leaves up what each node is and what is below it. */
#include "meta/thin_scavenge_int.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "meta/thin_disk.h"

/* A device's tree, and the top level above it. */
#define MAX_LEVELS (2 * PD_MAX_DEPTH)

/* --- memory --- */

void *scavenge_alloc(struct thin_scavenge *s, uint64_t nr, uint64_t size)
{
	uint64_t bytes = saturating_mul(nr, size);

	if (s->args.take_memory && !s->args.take_memory(s->args.context, bytes)) {
		s->wanted = bytes;
		return NULL;
	}
	s->taken += bytes;
	return calloc(nr ? nr : 1, size);
}

static unsigned chunk_of(uint32_t i)
{
	return 31 - (unsigned)__builtin_clz(i / FIRST_CHUNK + 1);
}

struct summary *scavenge_summary(const struct thin_scavenge *s, uint32_t i)
{
	unsigned c = chunk_of(i);

	return &s->chunks[c][i - FIRST_CHUNK * ((1u << c) - 1)];
}

static int add_summary(struct thin_scavenge *s, const struct summary *summary, uint32_t *number)
{
	unsigned c;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	c = chunk_of(s->nr_summaries);
	if (!s->chunks[c])
		s->chunks[c] = scavenge_alloc(s, (uint64_t)FIRST_CHUNK << c, sizeof(**s->chunks));
	if (s->chunks[c]) {
		*number = s->nr_summaries++;
		*scavenge_summary(s, *number) = *summary;
	} else {
		r = -ENOMEM;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* --- sums --- */

/* Any change of the number changes half of the bits, so that sums of these differ where sets differ. */
static uint64_t mix(uint64_t v)
{
	v += UINT64_C(0x9E3779B97F4A7C15);
	v = (v ^ (v >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	v = (v ^ (v >> 27)) * UINT64_C(0x94D049BB133111EB);
	return v ^ (v >> 31);
}

static void add_device(struct summary *sum, uint64_t id, uint64_t mappings)
{
	sum->devices++;
	sum->ids += mix(id);
	sum->contents += mix(mix(id) + mappings);
	sum->mappings += mappings;
}

static uint32_t add_saturating(uint32_t a, uint32_t b, uint32_t most)
{
	return b < most - a ? a + b : most;
}

static void add_summaries(struct summary *sum, const struct summary *s)
{
	sum->ids += s->ids;
	sum->contents += s->contents;
	sum->mappings += s->mappings;
	sum->devices += s->devices;
	sum->complete_devices += s->complete_devices;
	sum->holes = add_saturating(sum->holes, s->holes, UINT32_MAX);
	if (s->transaction > sum->transaction)
		sum->transaction = s->transaction;
	if (s->time > sum->time)
		sum->time = s->time;
}

/* --- the scan --- */

static void publish(struct node *n, enum node_kind kind, unsigned level)
{
	uint8_t flags = atomic_load_explicit(&n->kind, memory_order_relaxed) & (uint8_t)~NODE_KIND;

	atomic_store_explicit(&n->kind, flags | (uint8_t)kind, memory_order_relaxed);
	atomic_store_explicit(&n->level, (uint8_t)level, memory_order_release);
}

static void keep_highest(_Atomic uint32_t *highest, uint32_t value)
{
	uint32_t old = atomic_load(highest);

	while (value > old && !atomic_compare_exchange_weak(highest, &old, value))
		;
}

static int scan_details(struct thin_scavenge *s, const struct pd_node *leaf, struct node *n)
{
	struct summary sum = { 0 };
	int r;

	for (unsigned i = 0; i < leaf->nr; i++) {
		const struct thin_details_disk *d = (const void *)pd_value(leaf, i);
		uint32_t created = le32_get(d->creation_time), snapshotted = le32_get(d->snapshotted_time);
		uint32_t time = created > snapshotted ? created : snapshotted;

		add_device(&sum, pd_key(leaf, i), le64_get(d->mapped_blocks));
		if (le64_get(d->transaction_id) > sum.transaction)
			sum.transaction = le64_get(d->transaction_id);
		if (time > sum.time && time <= THIN_TIME_MASK)
			sum.time = time;
	}
	keep_highest(&s->time, sum.time);
	r = add_summary(s, &sum, &n->count);
	if (!r)
		publish(n, NODE_DETAILS, 1);
	return r;
}

/* As mappings; whether they are rather numbers of blocks can be told when all blocks are known. */
static void scan_mappings(const struct thin_scavenge *s, const struct pd_node *leaf, struct node *n)
{
	bool is_maybe_top = true;
	uint32_t time = 0, flags = 0;

	for (unsigned i = 0; i < leaf->nr; i++) {
		uint64_t v = pd_value64(leaf, i);

		if (v >= s->nr)
			is_maybe_top = false;
		if ((v & THIN_TIME_MASK) > time)
			time = (uint32_t)(v & THIN_TIME_MASK);
		if (v >> THIN_TIME_BITS >= s->nr_data_blocks)
			flags = FLAG_BEYOND;
	}
	n->count = leaf->nr;
	n->time = time & THIN_TIME_MASK;
	n->flags = flags & 0xFF;
	if (is_maybe_top && leaf->nr)
		publish(n, NODE_MAYBE_TOP, 0);
	else
		publish(n, leaf->nr ? NODE_MAPPINGS : NODE_EMPTY, 1);
}

static int scan_node(struct thin_scavenge *s, uint64_t block, const void *data)
{
	struct node *n = &s->nodes[block];
	struct problem p;
	struct pd_node node;

	if (!pd_node_decode(data, block, 0, &node, &p) || (node.nr && pd_key(&node, node.nr - 1) > UINT32_MAX))
		return 0;
	n->first = node.nr ? (uint32_t)pd_key(&node, 0) : 0;
	n->last = node.nr ? (uint32_t)pd_key(&node, node.nr - 1) : 0;
	if (!node.is_leaf)
		publish(n, node.nr ? NODE_UNDECIDED : NODE_NONE, 0);
	else if (node.value_size == sizeof(struct thin_details_disk))
		return scan_details(s, &node, n);
	else if (node.value_size == sizeof(le64))
		scan_mappings(s, &node, n);
	else
		publish(n, NODE_OTHER, 1);
	return 0;
}

static int scan_block(void *context, uint64_t block, const void *data, int error)
{
	struct thin_scavenge *s = context;
	struct thin_superblock sb;
	enum pd_kind kind;

	if (error == -ENOMEM || error == -EDEADLK)
		return error;
	pd_advance(&s->args.pool->reader);
	s->nr_unreadable += error != 0;
	kind = error ? PD_UNKNOWN : pd_block_kind(data);
	if (kind == PD_UNKNOWN && !error && s->args.suspect)
		s->args.suspect(s->args.context, block, data);
	if (kind == PD_ZEROES)
		publish(&s->nodes[block], NODE_ZEROES, 1);
	if (kind == PD_UNKNOWN || kind == PD_ZEROES || pd_stored_number(data, kind) != block)
		return 0;
	s->nr_metadata++;
	keep_highest(&s->highest, (uint32_t)block);
	if (kind == PD_NODE)
		return scan_node(s, block, data);
	if (kind == PD_BITMAP)
		publish(&s->nodes[block], NODE_BITMAP, 1);
	if (kind == PD_THIN_SUPERBLOCK) {
		thin_superblock_decode(data, &sb);
		keep_highest(&s->time, sb.time);
		publish(&s->nodes[block], NODE_SUPERBLOCK, 1);
	}
	return 0;
}

bool scavenge_superblock(const struct thin_scavenge *s, uint64_t block, struct thin_superblock *sb)
{
	struct bufio_buffer *b;
	const void *data;

	if (node_kind(&s->nodes[block]) != NODE_SUPERBLOCK)
		return false;
	data = bufio_read(s->client, block, &b);
	if (!data)
		return false;
	thin_superblock_decode(data, sb);
	bufio_release(b);
	return sb->csum == sb->csum_expected;
}

int scavenge_scan(struct thin_scavenge *s, bool (*next)(void *, uint64_t *, uint64_t *),
		  int (*block)(void *, uint64_t, const void *, int), unsigned threads)
{
	struct bufio_scan scan = {
		.next = next, .block = block, .context = s, .nr_blocks = s->nr, .threads = threads,
	};

	s->cursor = 0;
	return bufio_scan(s->client, &scan);
}

/* --- single nodes --- */

int scavenge_read_node(const struct pd_reader *reader, uint64_t block, struct node_entries *entries)
{
	struct pd_context ctx = { .where = WHERE_NONE, .dev_id = PROBLEM_NO_DEVICE };
	struct bufio_buffer *b;
	struct pd_node n;
	struct problem p;
	const void *data;
	int r = pd_read(reader, &ctx, block, PD_NODE, &data, &b);

	if (r <= 0)
		return r;
	r = pd_node_decode(data, block, sizeof(le64), &n, &p);
	entries->nr = r ? n.nr : 0;
	entries->is_leaf = r && n.is_leaf;
	for (unsigned i = 0; i < entries->nr; i++) {
		entries->keys[i] = pd_key(&n, i);
		entries->values[i] = pd_value64(&n, i);
	}
	bufio_release(b);
	return r;
}

unsigned scavenge_count_common(const struct node_entries *a, const struct node_entries *b)
{
	unsigned common = 0;

	for (unsigned i = 0, j = 0; i < a->nr && j < b->nr;) {
		common += a->keys[i] == b->keys[j] && a->values[i] == b->values[j];
		if (a->keys[i] <= b->keys[j])
			i++;
		else
			j++;
	}
	return common;
}

/* --- deciding, from the leaves up --- */

/* What a node's children come to. */
struct below {
	unsigned nr[NR_NODE_KINDS];    /* children that fit, of each kind; NODE_UNDECIDED: that are waited for */
	unsigned level[NR_NODE_KINDS]; /* the highest of them */
};

static struct node *child_node(const struct thin_scavenge *s, const struct pd_node *n, unsigned i)
{
	uint64_t block = pd_value64(n, i);

	return block < s->nr ? &s->nodes[block] : NULL;
}

static bool is_pending(enum node_kind kind)
{
	return kind == NODE_UNDECIDED || kind == NODE_MAYBE_TOP;
}

/* What child @i is, as far as its keys fit; NODE_UNDECIDED: that cannot be said yet. */
static enum node_kind child_kind(const struct thin_scavenge *s, const struct pd_node *n, unsigned i)
{
	const struct node *c = child_node(s, n, i);
	unsigned level = c ? atomic_load_explicit(&c->level, memory_order_acquire) : 1;
	enum node_kind kind = c ? node_kind(c) : NODE_NONE;

	if (kind == NODE_NONE || kind == NODE_ZEROES || kind == NODE_SUPERBLOCK || kind == NODE_BITMAP)
		return NODE_NONE;
	if (n->is_leaf && kind != NODE_UNDECIDED && kind != NODE_MAPPINGS && kind != NODE_EMPTY)
		return NODE_NONE;
	if (!level || level >= s->level)
		return NODE_UNDECIDED;
	if (n->is_leaf)
		return NODE_MAPPINGS; /* a device's root may have any keys */
	/* An empty node has no place but the root's: a new device's, in a block that was used again. */
	if (kind == NODE_EMPTY || c->first < pd_key(n, i) || (i + 1 < n->nr && c->last >= pd_key(n, i + 1)))
		return NODE_NONE;
	return kind;
}

static void look_below(const struct thin_scavenge *s, const struct pd_node *n, struct below *b)
{
	*b = (struct below){ .nr[NODE_NONE] = 0 };
	for (unsigned i = 0; i < n->nr; i++) {
		enum node_kind kind = child_kind(s, n, i);
		unsigned level = kind == NODE_NONE ? 0 : child_node(s, n, i)->level;

		b->nr[kind]++;
		b->level[kind] = level > b->level[kind] ? level : b->level[kind];
	}
}

/* A node is what most of its children are: the others are blocks that were used again. */
static enum node_kind kind_of_most(const struct below *b)
{
	enum node_kind most = NODE_NONE;

	for (unsigned k = NODE_MAPPINGS; k <= NODE_OTHER; k++)
		if (b->nr[k] > (most == NODE_NONE ? 0 : b->nr[most]))
			most = k;
	return most;
}

static void refer(struct node *n)
{
	atomic_fetch_or_explicit(&n->kind, NODE_REFERENCED, memory_order_relaxed);
}

/* Of a device's tree: the node's own entry takes the sums. */
static void sum_mappings(const struct thin_scavenge *s, const struct pd_node *node, struct node *n)
{
	uint32_t count = 0, holes = 0, time = 0, flags = 0;
	unsigned level = 0;

	for (unsigned i = 0; i < node->nr; i++) {
		struct node *c = child_node(s, node, i);

		if (child_kind(s, node, i) != NODE_MAPPINGS) {
			holes = add_saturating(holes, 1, UINT16_MAX);
			continue;
		}
		refer(c);
		if (level && c->level != level)
			flags |= FLAG_UNEVEN;
		level = c->level;
		flags |= c->flags;
		count = add_saturating(count, c->count, UINT32_MAX);
		holes = add_saturating(holes, c->holes, UINT16_MAX);
		time = c->time > time ? c->time : time;
		n->last = c->last;
	}
	n->count = count;
	n->holes = (uint16_t)holes;
	n->time = time & THIN_TIME_MASK;
	n->flags = flags & 0xFF;
}

/* Of a leaf of the top level: the children are roots of devices. */
static void sum_devices(const struct thin_scavenge *s, const struct pd_node *node, struct node *n, struct summary *sum)
{
	for (unsigned i = 0; i < node->nr; i++) {
		struct node *c = child_node(s, node, i);

		if (child_kind(s, node, i) != NODE_MAPPINGS) {
			add_device(sum, pd_key(node, i), 0);
			sum->holes = add_saturating(sum->holes, 1, UINT32_MAX);
			continue;
		}
		refer(c);
		add_device(sum, pd_key(node, i), c->count);
		sum->complete_devices += !c->holes;
		sum->holes = add_saturating(sum->holes, c->holes, UINT32_MAX);
		sum->time = c->time > sum->time ? c->time : sum->time;
		n->flags |= c->flags;
	}
}

static void sum_summaries(const struct thin_scavenge *s, const struct pd_node *node, enum node_kind kind,
			  struct node *n, struct summary *sum)
{
	for (unsigned i = 0; i < node->nr; i++) {
		struct node *c = child_node(s, node, i);

		if (child_kind(s, node, i) != kind) {
			sum->holes = add_saturating(sum->holes, 1, UINT32_MAX);
			continue;
		}
		refer(c);
		n->flags |= c->flags;
		n->last = c->last;
		add_summaries(sum, scavenge_summary(s, c->count));
	}
}

static int decide_inner(struct thin_scavenge *s, const struct pd_node *node, const struct below *b, struct node *n)
{
	enum node_kind kind = kind_of_most(b);
	struct summary sum = { 0 };
	int r = 0;

	if (kind == NODE_MAPPINGS) {
		sum_mappings(s, node, n);
	} else if (kind == NODE_TOP || kind == NODE_DETAILS) {
		n->flags = 0;
		sum_summaries(s, node, kind, n, &sum);
		r = add_summary(s, &sum, &n->count);
	}
	publish(n, kind, kind == NODE_NONE ? s->level : b->level[kind] + 1);
	return r;
}

static int decide_leaf(struct thin_scavenge *s, const struct pd_node *leaf, const struct below *b, struct node *n)
{
	struct summary sum = { 0 };
	int r;

	if (!b->nr[NODE_MAPPINGS]) {
		publish(n, node_has(n, NODE_NAMED) ? NODE_MAPPINGS : NODE_NONE, 1);
		return 0;
	}
	n->flags = 0;
	sum_devices(s, leaf, n, &sum);
	r = add_summary(s, &sum, &n->count);
	publish(n, NODE_TOP, b->level[NODE_MAPPINGS] + 1);
	return r;
}

/*
 * Nodes may wait for each other: for a wild pointer up the tree, or for a leaf of another tree in the place of mappings. Of
 * those with children that are decided one is taken as it is: which waits for fewest, and of these the one with most.
 */
static void note_stuck(struct thin_scavenge *s, uint64_t block, const struct pd_node *node, const struct below *b)
{
	unsigned decided = kind_of_most(b) == NODE_NONE ? 0 : b->nr[kind_of_most(b)], waiting = b->nr[NODE_UNDECIDED];
	uint64_t key = (uint64_t)waiting << 48 | (uint64_t)(UINT16_MAX - decided) << 32 | block;

	if (node->is_leaf || decided <= waiting)
		return;
	pthread_mutex_lock(&s->lock);
	s->stuck = key < s->stuck ? key : s->stuck;
	pthread_mutex_unlock(&s->lock);
}

static int decide(void *context, uint64_t block, const void *data, int error)
{
	struct thin_scavenge *s = context;
	struct node *n = &s->nodes[block];
	struct pd_node node;
	struct problem p;
	struct below b;

	if (error == -ENOMEM || error == -EDEADLK)
		return error;
	/* It was good a moment ago: of a device that somebody writes to, anything may come. */
	if (error || !pd_node_decode(data, block, sizeof(le64), &node, &p) || !node.nr ||
	    pd_key(&node, node.nr - 1) > UINT32_MAX || node.is_leaf != (node_kind(n) == NODE_MAYBE_TOP)) {
		publish(n, NODE_NONE, s->level);
		return 0;
	}
	look_below(s, &node, &b);
	if (b.nr[NODE_UNDECIDED]) {
		note_stuck(s, block, &node, &b);
		return 0;
	}
	s->progress++;
	return node.is_leaf ? decide_leaf(s, &node, &b, n) : decide_inner(s, &node, &b, n);
}

static bool next_pending(void *context, uint64_t *block, uint64_t *nr)
{
	struct thin_scavenge *s = context;

	while (s->cursor < s->nr && !is_pending(node_kind(&s->nodes[s->cursor])))
		s->cursor++;
	*block = s->cursor;
	while (s->cursor < s->nr && is_pending(node_kind(&s->nodes[s->cursor])))
		s->cursor++;
	*nr = s->cursor - *block;
	return *nr;
}

/* One that waits is decided without those that it waits for. */
static int decide_stuck(struct thin_scavenge *s)
{
	uint64_t block = s->stuck & UINT32_MAX;
	struct bufio_buffer *buffer;
	const void *data = bufio_read(s->client, block, &buffer);
	struct pd_node node;
	struct problem p;
	struct below b;
	int r = 0;

	if (!data)
		return errno == ENOMEM || errno == EDEADLK ? -errno : 0;
	if (pd_node_decode(data, block, sizeof(le64), &node, &p)) {
		look_below(s, &node, &b);
		r = decide_inner(s, &node, &b, &s->nodes[block]);
		s->progress++;
	}
	bufio_release(buffer);
	return r;
}

/* What still waits is no tree. */
static void drop_pending(struct thin_scavenge *s)
{
	for (uint64_t i = 0; i < s->nr; i++)
		if (is_pending(node_kind(&s->nodes[i])))
			publish(&s->nodes[i], NODE_NONE, MAX_LEVELS);
}

/* One wild pointer makes no mappings of the numbers of blocks in a leaf that a superblock calls a top level. */
static void name_top(struct thin_scavenge *s, uint64_t root)
{
	struct node *n = root < s->nr ? &s->nodes[root] : NULL;

	if (!n)
		return;
	atomic_fetch_or(&n->kind, NODE_NAMED);
	if (node_kind(n) == NODE_MAPPINGS)
		publish(n, NODE_MAYBE_TOP, 0);
}

static void name_tops(struct thin_scavenge *s)
{
	if (!s->args.pool->is_lost)
		name_top(s, s->args.pool->live.data_mapping_root);
	for (uint64_t i = 0; i < s->nr; i++) {
		struct thin_superblock sb;

		if (scavenge_superblock(s, i, &sb))
			name_top(s, sb.data_mapping_root);
	}
}

/*
 * Numbers of blocks could be mappings of data block 0, too: which a device has once at most, with a time that is no
 * higher than the pool's. A leaf with one entry may be either, then; a top level is it only if a superblock says so.
 */
static void settle_single_entries(struct thin_scavenge *s)
{
	for (uint64_t i = 0; i < s->nr; i++) {
		struct node *n = &s->nodes[i];

		if (node_kind(n) == NODE_MAYBE_TOP && n->count == 1 && n->time <= s->time && !node_has(n, NODE_NAMED))
			publish(n, NODE_MAPPINGS, 1);
	}
}

static int decide_all(struct thin_scavenge *s)
{
	int r = 0;

	name_tops(s);
	settle_single_entries(s);
	for (s->level = 2, s->progress = 1; !r && s->progress && s->level < MAX_LEVELS; s->level++) {
		s->progress = 0;
		s->stuck = UINT64_MAX;
		r = scavenge_scan(s, next_pending, decide, 0);
		if (!r && !s->progress && s->stuck != UINT64_MAX)
			r = decide_stuck(s);
	}
	drop_pending(s);
	return r;
}

/* --- all --- */

static int run(struct thin_scavenge *s)
{
	int r;

	s->nodes = scavenge_alloc(s, s->nr, sizeof(*s->nodes));
	if (!s->nodes)
		return -ENOMEM;
	r = scavenge_scan(s, NULL, scan_block, 0);
	if (!r)
		r = decide_all(s);
	return r ? r : scavenge_generations(s);
}

int thin_scavenge_create(const struct thin_scavenge_args *args, struct thin_scavenge **result, uint64_t *needed)
{
	const struct thin_pool *pool = args->pool;
	struct thin_scavenge *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->args = *args;
	s->client = pool->reader.client;
	/* Numbers of blocks are below 2^24, then: see settle_single_entries(). */
	s->nr = pool->reader.nr_blocks < PD_MAX_METADATA_BLOCKS ? pool->reader.nr_blocks : PD_MAX_METADATA_BLOCKS;
	s->nr_data_blocks = pool->nr_data_blocks;
	pthread_mutex_init(&s->lock, NULL);
	r = run(s);
	if (r) {
		*needed = s->taken + s->wanted;
		thin_scavenge_destroy(s);
		return r;
	}
	*result = s;
	return 0;
}

void thin_scavenge_destroy(struct thin_scavenge *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < NR_CHUNKS; i++)
		free(s->chunks[i]);
	pthread_mutex_destroy(&s->lock);
	free(s->nodes);
	free(s->generations);
	free(s->trees);
	free(s->details);
	free(s);
}

uint64_t thin_scavenge_nr_metadata(const struct thin_scavenge *s)
{
	return s->nr_metadata;
}

uint64_t thin_scavenge_nr_unreadable(const struct thin_scavenge *s)
{
	return s->nr_unreadable;
}

bool thin_scavenge_below(const struct thin_scavenge *s, uint64_t root, struct thin_below *below)
{
	const struct node *n = root < s->nr ? &s->nodes[root] : NULL;

	if (!n || (node_kind(n) != NODE_MAPPINGS && node_kind(n) != NODE_EMPTY))
		return false;
	*below = (struct thin_below){
		.mappings = n->count, .holes = n->holes, .time = n->time, .has_beyond = n->flags & FLAG_BEYOND,
	};
	return true;
}
