// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_missing.h"

#include <errno.h>
#include <stdlib.h>

#include "meta/thin_scavenge_int.h"

#define UNKNOWN UINT16_MAX
#define MANY (UINT16_MAX - 1) /* or more */

struct thin_missing {
	struct thin_scavenge *s;
	const struct thin_pool *pool;
	struct pd_reader quiet;
	bool is_current; /* block 0 tells of these trees */
	uint16_t *stored, *found; /* by block */
};

/* --- counts --- */

static void store_counts(struct thin_missing *m, uint64_t begin, uint64_t end, uint64_t count)
{
	for (uint64_t b = begin; b < end; b++)
		m->stored[b] = count < MANY ? (uint16_t)count : MANY;
}

static int read_counts(struct thin_missing *m)
{
	const struct pd_sm_root *root = &m->pool->live.metadata_sm;
	struct pd_sm_lookup l;
	int r = 0;

	for (uint64_t b = 0; b < m->s->nr; b++)
		m->stored[b] = UNKNOWN;
	if (!m->is_current || root->nr_blocks > PD_MAX_METADATA_BLOCKS)
		return 0;
	pd_sm_lookup_open(&l, &m->quiet, root, true, m->s->nr);
	for (uint64_t b = 0, end; b < m->s->nr && r >= 0; b = end) {
		uint64_t count = 0;

		r = pd_sm_lookup(&l, b, m->s->nr, &count, &end);
		if (r > 0)
			store_counts(m, b, end, count);
		else if (!r && l.bitmap && b >= l.begin && b < l.end) /* the tree of large counts is dead: 3 or more */
			store_counts(m, b, end, 3);
	}
	pd_sm_lookup_close(&l);
	return r < 0 ? r : 0;
}

bool thin_missing_is_unknown(const struct thin_missing *m, uint64_t block)
{
	return m->stored[block] == UNKNOWN;
}

unsigned thin_missing_found(const struct thin_missing *m, uint64_t block)
{
	return m->found[block];
}

void thin_missing_note(struct thin_missing *m, uint64_t block)
{
	m->found[block] += m->found[block] < MANY;
}

unsigned thin_missing_of(const struct thin_missing *m, uint64_t block)
{
	if (m->stored[block] == UNKNOWN)
		return !m->found[block];
	return m->stored[block] > m->found[block] ? m->stored[block] - m->found[block] : 0;
}

/* --- walking --- */

static bool has_room(const struct thin_place *p, unsigned level)
{
	return !p->height || level <= p->height;
}

static const enum node_kind kinds[] = {
	[TREE_OF_MAPPINGS] = NODE_MAPPINGS, [TREE_OF_DEVICES] = NODE_TOP, [TREE_OF_DETAILS] = NODE_DETAILS,
};

/* 1: what is there may be there, and has so many levels; 0: not; -errno. */
static int judge(const struct thin_missing_walk *w, const struct thin_place *p, unsigned *level)
{
	const struct thin_missing *m = w->m;
	const struct node *n = p->block && p->block < m->s->nr ? &m->s->nodes[p->block] : NULL;
	struct node_entries c;
	int r;

	if (!n)
		return 0;
	*level = n->level;
	if (node_kind(n) == kinds[w->tree])
		return has_room(p, n->level) && (!p->height || (n->first >= p->begin && n->last < p->end));
	if (node_kind(n) == NODE_EMPTY)
		return w->tree != TREE_OF_DETAILS && has_room(p, 1);
	if (node_kind(n) != NODE_NONE || w->tree != TREE_OF_MAPPINGS)
		return 0;
	/* The scan passes over keys that are too high for it. */
	r = scavenge_read_node(&m->quiet, p->block, &c);
	if (r <= 0 || !c.nr || c.keys[c.nr - 1] <= UINT32_MAX)
		return r < 0 ? r : 0;
	*level = c.is_leaf ? 1 : p->height ? p->height : PD_MAX_DEPTH;
	return !p->height || (c.keys[0] >= p->begin && c.keys[c.nr - 1] < p->end);
}

static int follow_children(const struct thin_missing_walk *w, const struct thin_place *p, unsigned level)
{
	struct node_entries *c = malloc(sizeof(*c));
	int r = c ? scavenge_read_node(&w->m->quiet, p->block, c) : -ENOMEM;

	for (unsigned i = 0; r > 0 && i < c->nr; i++) {
		struct thin_place child = {
			.parent = p->block, .index = i, .block = c->values[i], .begin = c->keys[i],
			.end = i + 1 < c->nr ? c->keys[i + 1] : p->end, .height = level - 1, .device = p->device,
		};
		int e = 0;

		if (!c->is_leaf)
			e = thin_missing_follow(w, &child);
		else if (w->tree == TREE_OF_DEVICES && w->device)
			e = w->device(w->context, c->keys[i], c->values[i]);
		if (e)
			r = e;
	}
	free(c);
	return r < 0 ? r : 0;
}

int thin_missing_follow(const struct thin_missing_walk *w, const struct thin_place *place)
{
	struct thin_missing *m = w->m;
	unsigned level = 0;
	bool is_new;
	int r = judge(w, place, &level);

	if (r < 0)
		return r;
	if (!r)
		return w->hole(w->context, place);
	is_new = !m->found[place->block];
	thin_missing_note(m, place->block);
	if (is_new && w->node)
		w->node(w->context, place->block);
	return is_new && (level > 1 || w->tree == TREE_OF_DEVICES) ? follow_children(w, place, level) : 0;
}

/* --- bitmaps without an index --- */

static bool is_range_unknown(const struct thin_missing *m, uint64_t begin, uint64_t end)
{
	for (uint64_t b = begin; b < end; b++)
		if (m->stored[b] != UNKNOWN)
			return false;
	return true;
}

/* What the superblock names is in use, dead or not; the transaction before had it elsewhere. */
static bool counts_what_is_named(const struct thin_missing *m, const struct pd_bitmap_disk *bitmap, uint64_t begin,
				 uint64_t end)
{
	const struct thin_superblock *sb = &m->pool->live;
	const uint64_t named[] = {
		sb->metadata_sm.bitmap_root, sb->metadata_sm.ref_count_root, sb->data_sm.bitmap_root,
		sb->data_sm.ref_count_root, sb->data_mapping_root, sb->device_details_root, sb->held_root,
	};

	for (size_t i = 0; m->is_current && i < sizeof(named) / sizeof(*named); i++)
		if (named[i] >= begin && named[i] < end && !pd_bitmap_count(bitmap, (unsigned)(named[i] - begin)))
			return false;
	return true;
}

/* What is in use was written: but for blocks that the damage has zeroed. The data device's bitmaps count others. */
#define MAX_ZEROED 64

/* How many of the blocks that were found it counts; 0: it does not count one of them, or not itself. */
static unsigned judge_bitmap(const struct thin_missing *m, const struct pd_bitmap_disk *bitmap, uint64_t block,
			     uint64_t begin, uint64_t end)
{
	uint64_t nr_used = m->pool->live.metadata_sm.nr_allocated;
	unsigned nr = 0, nr_zeroes = 0, nr_counted = 0;

	if (!counts_what_is_named(m, bitmap, begin, end))
		return 0;
	for (uint64_t b = begin; b < end; b++) {
		unsigned count = pd_bitmap_count(bitmap, (unsigned)(b - begin)), found = m->found[b] < 3 ? m->found[b] : 3;

		if (count < found || (b == block && !count) || (!b && count != 1))
			return 0;
		nr += found > 0;
		nr_counted += count > 0;
		nr_zeroes += count && node_kind(&m->s->nodes[b]) == NODE_ZEROES;
	}
	/* thin_restore 0.9.0 writes a number that is off by one. */
	if (m->is_current && m->s->nr <= PD_BITMAP_ENTRIES && (nr_counted > nr_used + 1 || nr_counted + 1 < nr_used))
		return 0;
	return nr_zeroes <= MAX_ZEROED ? nr : 0;
}

/* The bitmaps of the data device count other blocks. */
static int mark_data_bitmaps(const struct thin_missing *m, uint64_t *marked)
{
	struct pd_context ctx = { .where = WHERE_DATA_SM, .dev_id = PROBLEM_NO_DEVICE };
	const uint8_t *value;
	struct pd_cursor c;
	uint64_t key;
	int r = 0;

	if (m->pool->is_lost)
		return 0;
	pd_cursor_open(&c, &m->quiet, &ctx, m->pool->live.data_sm.bitmap_root, sizeof(struct pd_index_entry_disk));
	while ((r = pd_cursor_next_entry(&c, &key, &value)) > 0) {
		uint64_t block = le64_get(((const struct pd_index_entry_disk *)value)->blocknr);

		if (block < m->s->nr)
			marked[block / 64] |= UINT64_C(1) << block % 64;
	}
	pd_cursor_close(&c);
	return r;
}

/* 1: one bitmap, and no other, may be that of these blocks: its counts are kept; 0; -errno. */
static int guess_range(struct thin_missing *m, const uint64_t *marked, uint64_t begin, uint64_t end)
{
	uint8_t *counts = calloc(end - begin, 1);
	unsigned nr = 0;
	int r = counts ? 0 : -ENOMEM;

	for (uint64_t block = 1; block < m->s->nr && !r; block++) {
		const struct pd_bitmap_disk *bitmap;
		struct bufio_buffer *b;
		bool differs = false;

		if (node_kind(&m->s->nodes[block]) != NODE_BITMAP || marked[block / 64] >> block % 64 & 1)
			continue;
		bitmap = bufio_read(m->quiet.client, block, &b);
		if (!bitmap)
			continue;
		if (judge_bitmap(m, bitmap, block, begin, end)) {
			for (uint64_t i = begin; i < end; i++) {
				uint8_t count = (uint8_t)pd_bitmap_count(bitmap, (unsigned)(i - begin));

				differs |= counts[i - begin] != count;
				counts[i - begin] = count;
			}
			nr += !nr || differs;
		}
		bufio_release(b);
	}
	for (uint64_t i = begin; i < end && nr == 1; i++) /* 3 is 3 or more */
		store_counts(m, i, i + 1, counts[i - begin] < 3 || m->found[i] < 3 ? counts[i - begin] : m->found[i]);
	free(counts);
	return r;
}

int thin_missing_guess(struct thin_missing *m)
{
	uint64_t *marked = scavenge_alloc(m->s, m->s->nr / 64 + 1, sizeof(*marked));
	int r = marked ? mark_data_bitmaps(m, marked) : -ENOMEM;

	for (uint64_t begin = 0; begin < m->s->nr && !r; begin += PD_BITMAP_ENTRIES) {
		uint64_t end = begin + PD_BITMAP_ENTRIES < m->s->nr ? begin + PD_BITMAP_ENTRIES : m->s->nr;

		if (is_range_unknown(m, begin, end))
			r = guess_range(m, marked, begin, end);
	}
	free(marked);
	return r;
}

/* --- all --- */

int thin_missing_create(struct thin_scavenge *s, const struct thin_pool *pool, bool has_counts,
			struct thin_missing **result)
{
	struct thin_missing *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->s = s;
	m->pool = pool;
	m->is_current = has_counts && !pool->is_lost;
	m->quiet = pool->reader;
	m->quiet.sink = &problem_silent;
	m->quiet.observer = NULL;
	m->stored = scavenge_alloc(s, s->nr, sizeof(*m->stored));
	m->found = scavenge_alloc(s, s->nr, sizeof(*m->found));
	r = m->stored && m->found ? read_counts(m) : -ENOMEM;
	if (r)
		thin_missing_destroy(m);
	else
		*result = m;
	return r;
}

void thin_missing_destroy(struct thin_missing *m)
{
	if (!m)
		return;
	free(m->stored);
	free(m->found);
	free(m);
}
