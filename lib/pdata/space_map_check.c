// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pdata/space_map_check.h"

#include <string.h>

#define NO_MORE UINT64_MAX
#define LOW_BITS UINT64_C(0x5555555555555555)
#define COUNTS_BYTES sizeof(((struct pd_bitmap_disk *)0)->counts)

/* The bitmap that is compared. */
struct bitmap {
	struct pd_sm_check *c;
	struct pd_context ctx;
	uint64_t index, block;
	const struct pd_bitmap_disk *data;
	unsigned nr;                     /* entries that stand for blocks */
	struct pd_index_entry_disk *hints; /* in the index: in the cache */
	unsigned nr_free, first_free;
	bool is_changed;
};

static struct pd_context context_of(const struct pd_sm_check *c, enum problem_where data, enum problem_where metadata)
{
	return (struct pd_context){ .where = c->is_metadata ? metadata : data, .dev_id = PROBLEM_NO_DEVICE };
}

/* --- what is news of a tree --- */

static void report_news(struct problem_sink *sink, const struct problem *p)
{
	struct pd_sm_news *news = (struct pd_sm_news *)sink;

	if (!news->is_again || p->begin > news->last)
		news->below->report(news->below, p);
}

static struct problem_sink *news_to(struct pd_sm_news *news, struct problem_sink *below)
{
	news->sink.report = report_news;
	news->below = below;
	return &news->sink;
}

/* A cursor stops at a leaf, and all that it comes to later begins behind it. */
static void close_tree(struct pd_cursor *c, struct pd_sm_news *news)
{
	if (c->started) {
		news->is_again = true;
		news->last = c->ctx.begin;
	}
	pd_cursor_close(c);
}

/* --- counts of 3 and more --- */

static void open_counts(struct pd_sm_check *c)
{
	struct pd_context ctx = context_of(c, WHERE_DATA_COUNTS, WHERE_META_COUNTS);

	c->counts_reader = *c->reader;
	c->counts_reader.sink = news_to(&c->counts_news, c->reader->sink);
	pd_cursor_open(&c->counts, &c->counts_reader, &ctx, c->root.ref_count_root, sizeof(le32));
	pd_cursor_seek(&c->counts, c->expected->begin);
	c->counts.ahead_end = c->expected->end;
	c->next_count = 0;
}

static int next_count(struct pd_sm_check *c)
{
	const uint8_t *value;
	int r = pd_cursor_next_entry(&c->counts, &c->next_count, &value);

	if (r <= 0)
		c->next_count = NO_MORE;
	else
		c->next_value = le_load(value, sizeof(le32));
	return r < 0 ? r : 0;
}

static void report_stray(struct pd_sm_check *c)
{
	struct pd_context ctx = context_of(c, WHERE_DATA_COUNTS, WHERE_META_COUNTS);

	pd_report(c->reader, &ctx, PROBLEM_SM_STRAY, c->counts.leaf.block,
		  (struct problem){ .begin = c->next_count, .end = c->next_count + 1, .found = c->next_count,
				    .expected = c->next_value });
}

/* Goes to the first count of @block or behind it; those before it are strays, if @are_strays. */
static int seek_count(struct pd_sm_check *c, uint64_t block, bool are_strays)
{
	int r = c->counts.started ? 0 : next_count(c);

	while (!r && c->next_count < block) {
		if (are_strays)
			report_stray(c);
		r = next_count(c);
	}
	return r;
}

/* --- one bitmap --- */

static uint64_t first_block(const struct bitmap *b)
{
	return b->index * PD_BITMAP_ENTRIES;
}

/* The bytes of what is expected: as long as the bitmap, because windows begin and end at bitmaps. */
static const uint8_t *expected_counts(const struct bitmap *b)
{
	const struct pd_counts *e = b->c->expected;

	return e->bitmaps[(first_block(b) - e->begin) / PD_BITMAP_ENTRIES].counts;
}

static bool has_large(const uint8_t *counts)
{
	uint64_t all = 0;

	for (size_t at = 0; at < COUNTS_BYTES; at += sizeof(uint64_t)) {
		uint64_t v = le_load(counts + at, sizeof(v));

		all |= v & v >> 1 & LOW_BITS;
	}
	return all;
}

static bool is_as_expected(const struct bitmap *b)
{
	return !memcmp(b->data->counts, expected_counts(b), COUNTS_BYTES) && !has_large(b->data->counts);
}

/* The disk's buffer, which is held: changed in place, and written when the cache is. */
static void set_count(struct bitmap *b, unsigned i, uint64_t count)
{
	uint8_t *byte = &((struct pd_bitmap_disk *)b->data)->counts[i / 4];
	unsigned pattern = (unsigned)(count >> 1 | (count & 1) << 1), shift = i % 4 * 2;

	*byte = (uint8_t)((*byte & ~(3u << shift)) | pattern << shift);
	b->is_changed = true;
}

/* The count that is stored; false: it cannot be known, which was reported. */
static int stored_count(struct bitmap *b, unsigned i, uint64_t *count, bool *is_known)
{
	struct pd_context ctx = context_of(b->c, WHERE_DATA_COUNTS, WHERE_META_COUNTS);
	uint64_t block = first_block(b) + i;
	int r;

	*count = pd_bitmap_count(b->data, i);
	*is_known = true;
	if (*count < 3)
		return 0;
	r = seek_count(b->c, block, true);
	if (r)
		return r;
	if (b->c->next_count == block) {
		*count = b->c->next_value;
		return next_count(b->c);
	}
	*is_known = false;
	if (!b->c->counts.holes)
		pd_report(b->c->reader, &ctx, PROBLEM_SM_COUNT, PROBLEM_NO_BLOCK,
			  (struct problem){ .begin = block, .end = block + 1, .found = block });
	return 0;
}

static int compare_entry(struct bitmap *b, unsigned i)
{
	uint64_t expected = pd_counts_get(b->c->expected, first_block(b) + i), stored;
	bool is_known;
	int r = stored_count(b, i, &stored, &is_known);

	if (r || !is_known || stored == expected)
		return r;
	if (b->c->differs(b->c, first_block(b) + i, expected, stored))
		set_count(b, i, expected);
	return 0;
}

static int compare_entries(struct bitmap *b)
{
	int r = 0;

	if (is_as_expected(b))
		return 0;
	for (unsigned i = 0; i < b->nr && !r; i++)
		r = compare_entry(b, i);
	return r;
}

/* Free entries among the first @nr. */
static unsigned count_free(const struct bitmap *b, unsigned nr)
{
	unsigned used = 0, i = 0;

	for (; i + 32 <= nr; i += 32) {
		uint64_t v = le_load(&b->data->counts[i / 4], sizeof(v));

		used += (unsigned)__builtin_popcountll((v | v >> 1) & LOW_BITS);
	}
	for (; i < nr; i++)
		used += pd_bitmap_count(b->data, i) != 0;
	return nr - used;
}

static unsigned find_free(const struct bitmap *b)
{
	unsigned i = 0;

	while (i + 32 <= b->nr) {
		uint64_t v = le_load(&b->data->counts[i / 4], sizeof(v));

		if (((v | v >> 1) & LOW_BITS) != LOW_BITS)
			break;
		i += 32;
	}
	while (i < b->nr && pd_bitmap_count(b->data, i))
		i++;
	return i;
}

/*
 * nr_free may count the blocks alone or all entries that the bitmap has room for, as the kernel does when it makes one;
 * none_free_before is good as long as nothing is free before it. One more or less is what thin_restore leaves.
 */
static bool is_good_hint(const struct bitmap *b)
{
	uint32_t said = le32_get(b->hints->nr_free), before = le32_get(b->hints->none_free_before);
	unsigned behind = PD_BITMAP_ENTRIES - b->nr;

	return before <= b->first_free &&
	       ((said + 1 >= b->nr_free && said <= b->nr_free + 1) || said == b->nr_free + behind);
}

/* Free blocks that the kernel does not find. */
static unsigned count_stranded(const struct bitmap *b)
{
	uint32_t before = le32_get(b->hints->none_free_before);

	if (!le32_get(b->hints->nr_free))
		return b->nr_free;
	return before > b->nr ? b->nr_free : count_free(b, before);
}

static void judge_hints(struct bitmap *b)
{
	struct pd_sm_check *c = b->c;
	unsigned stranded = count_stranded(b);

	if (is_good_hint(b) && !stranded)
		return;
	c->nr_stranded += stranded;
	if (!is_good_hint(b))
		pd_report(c->reader, &b->ctx, PROBLEM_SM_HINTS, b->block,
			  (struct problem){ .expected = b->nr_free, .found = le32_get(b->hints->nr_free),
					    .count = b->index });
	if (!c->is_fixing)
		return;
	b->hints->nr_free = le32_put(b->nr_free);
	b->hints->none_free_before = le32_put(b->first_free);
}

static void judge_tail(struct bitmap *b)
{
	unsigned behind = PD_BITMAP_ENTRIES - b->nr;

	if (!behind || count_free(b, PD_BITMAP_ENTRIES) - count_free(b, b->nr) == behind)
		return;
	pd_report(b->c->reader, &b->ctx, PROBLEM_SM_TAIL, b->block,
		  (struct problem){ .begin = first_block(b) + b->nr, .end = first_block(b) + PD_BITMAP_ENTRIES,
				    .found = b->index });
	for (unsigned i = b->nr; b->c->is_fixing && i < PD_BITMAP_ENTRIES; i++)
		set_count(b, i, 0);
}

static int compare_bitmap(struct bitmap *b)
{
	int r = compare_entries(b);

	if (r)
		return r;
	r = seek_count(b->c, first_block(b) + b->nr, true);
	b->nr_free = count_free(b, b->nr);
	b->first_free = find_free(b);
	b->c->nr_used += b->nr - b->nr_free;
	judge_tail(b);
	judge_hints(b);
	return r;
}

static int save(struct bitmap *b, struct bufio_buffer *buffer)
{
	pd_block_seal((void *)b->data, PD_BITMAP, b->block);
	return bufio_mark_buffer_dirty(buffer);
}

static int check_bitmap(struct pd_sm_check *c, uint64_t index, struct pd_index_entry_disk *hints)
{
	struct bitmap b = {
		.c = c, .ctx = context_of(c, WHERE_DATA_SM, WHERE_META_SM), .index = index,
		.block = le64_get(hints->blocknr), .hints = hints,
	};
	uint64_t left = c->root.nr_blocks - first_block(&b);
	struct bufio_buffer *buffer;
	const void *data;
	int r = 0;

	b.nr = left < PD_BITMAP_ENTRIES ? (unsigned)left : PD_BITMAP_ENTRIES;
	b.ctx.begin = first_block(&b);
	b.ctx.end = b.ctx.begin + b.nr;
	b.ctx.is_leaf = true;
	if (c->pointers)
		r = pd_counts_add(c->pointers, &b.block, 1);
	if (!r)
		r = pd_read(c->reader, &b.ctx, b.block, PD_BITMAP, &data, &buffer);
	if (r > 0 && c->reader->observer)
		c->reader->observer->entered(c->reader->observer, &b.ctx, b.block, NULL, NULL);
	if (!r)
		c->nr_unknown++;
	if (r <= 0)
		return r ? r : seek_count(c, b.ctx.end, false);
	b.data = data;
	r = compare_bitmap(&b);
	if (!r && b.is_changed)
		r = save(&b, buffer);
	bufio_release(buffer);
	return r;
}

/* --- the index --- */

struct window {
	uint64_t begin, end; /* bitmaps */
};

static struct window window_of(const struct pd_counts *c)
{
	return (struct window){ c->begin / PD_BITMAP_ENTRIES, pd_bitmaps(c->end) };
}

/* Bitmaps that are next to each other in the index often are on the disk. */
static void prefetch(const struct pd_sm_check *c, const struct pd_index_entry_disk *entries, unsigned nr)
{
	for (unsigned i = 0, end; i < nr; i = end) {
		uint64_t block = le64_get(entries[i].blocknr);

		for (end = i + 1; end < nr && le64_get(entries[end].blocknr) == block + (end - i); end++)
			;
		bufio_prefetch(c->reader->client, block, end - i);
	}
}

static int check_entries(struct pd_sm_check *c, uint64_t first, struct pd_index_entry_disk *entries, unsigned nr)
{
	int r = 0;

	prefetch(c, entries, nr);
	for (unsigned i = 0; i < nr && !r; i++)
		r = check_bitmap(c, first + i, &entries[i]);
	return r;
}

/* Hints are changed in the index itself. */
static int save_hints(struct pd_sm_check *c, uint64_t block, enum pd_kind kind, const void *before)
{
	struct bufio_buffer *b;
	void *data = c->is_fixing ? bufio_read(c->reader->client, block, &b) : NULL;
	int r = 0;

	if (!data)
		return 0;
	if (memcmp(data, before, PD_BLOCK_SIZE)) {
		pd_block_seal(data, kind, block);
		r = bufio_mark_buffer_dirty(b);
	}
	bufio_release(b);
	return r;
}

static int check_index_block(struct pd_sm_check *c)
{
	struct pd_context ctx = context_of(c, WHERE_DATA_SM, WHERE_META_SM);
	struct window w = window_of(c->expected);
	uint64_t end = pd_bitmaps(c->root.nr_blocks), nr;
	struct pd_reader reader = *c->reader;
	struct pd_index_disk *index;
	uint8_t before[PD_BLOCK_SIZE];
	struct bufio_buffer *b;
	const void *data;
	int r;

	nr = end > w.begin ? (end < w.end ? end : w.end) - w.begin : 0;
	ctx.end = c->root.nr_blocks;
	if (w.begin) /* its damage was told with the first window */
		reader.sink = &problem_silent;
	r = pd_read(&reader, &ctx, c->root.bitmap_root, PD_INDEX, &data, &b);
	if (!r)
		c->nr_unknown += nr;
	if (r <= 0)
		return r;
	index = (struct pd_index_disk *)data;
	memcpy(before, data, sizeof(before));
	if (w.begin < PD_INDEX_ENTRIES)
		r = check_entries(c, w.begin, &index->entries[w.begin],
				  (unsigned)(nr < PD_INDEX_ENTRIES - w.begin ? nr : PD_INDEX_ENTRIES - w.begin));
	if (r >= 0)
		r = save_hints(c, c->root.bitmap_root, PD_INDEX, before);
	bufio_release(b);
	return r;
}

/* Bitmaps that the index does not have: counts of theirs are no strays. */
static int pass_gap(struct pd_sm_check *c, const struct pd_cursor *index, uint64_t first, uint64_t end)
{
	struct pd_context ctx = context_of(c, WHERE_DATA_SM, WHERE_META_SM);

	if (first >= end)
		return 0;
	c->nr_unknown += end - first;
	ctx.begin = first * PD_BITMAP_ENTRIES;
	ctx.end = end == pd_bitmaps(c->root.nr_blocks) ? c->root.nr_blocks : end * PD_BITMAP_ENTRIES;
	if (!index->holes)
		pd_report(c->reader, &ctx, PROBLEM_SM_INDEX, index->leaf_buffer ? index->leaf.block : c->root.bitmap_root,
			  (struct problem){ .found = first });
	return seek_count(c, ctx.end, false);
}

/* Bitmaps of a larger map than this one says it is: nobody looks at them, but they are referred to. */
static int count_surplus(struct pd_sm_check *c, const struct pd_index_entry_disk *entries, unsigned nr)
{
	int r = 0;

	for (unsigned i = 0; i < nr && c->pointers && !r; i++) {
		uint64_t block = le64_get(entries[i].blocknr);

		r = pd_counts_add(c->pointers, &block, 1);
	}
	return r;
}

/* The entries that are left are of the next window, or of none. */
static int end_window(struct pd_sm_check *c, const struct pd_cursor *index, const struct window *w, uint64_t *next,
		      const struct pd_index_entry_disk *left, unsigned nr)
{
	bool is_last = w->end == pd_bitmaps(c->root.nr_blocks);
	int r = pass_gap(c, index, *next, w->end);

	*next = w->end;
	return r || !is_last ? r : count_surplus(c, left, nr);
}

/* The entries of one leaf that are in the window, in runs of neighbours. */
static int check_index_leaf(struct pd_sm_check *c, const struct pd_cursor *index, const struct window *w, uint64_t *next)
{
	const struct pd_node *leaf = &index->leaf;
	struct pd_index_entry_disk *entries = (struct pd_index_entry_disk *)leaf->values;
	int r = 0;

	for (unsigned i = 0, end; i < leaf->nr && !r; i = end) {
		uint64_t first = pd_key(leaf, i);

		for (end = i + 1; end < leaf->nr && pd_key(leaf, end) == first + (end - i) &&
				  first + (end - i) < w->end; end++)
			;
		if (first < w->begin) { /* the window begins in this run, or behind it */
			if (first + (end - i) > w->begin)
				end = i + (unsigned)(w->begin - first);
			continue;
		}
		if (first >= w->end)
			return end_window(c, index, w, next, &entries[i], leaf->nr - i);
		r = pass_gap(c, index, *next, first);
		*next = first + (end - i);
		if (!r)
			r = check_entries(c, first, &entries[i], end - i);
	}
	return r;
}

static int check_index_tree(struct pd_sm_check *c)
{
	struct pd_sm_sink sink = pd_sm_sink(c->reader->sink, c->root.nr_blocks);
	struct pd_context ctx = context_of(c, WHERE_DATA_SM, WHERE_META_SM);
	struct window w = window_of(c->expected);
	struct pd_reader reader = *c->reader;
	uint8_t before[PD_BLOCK_SIZE];
	const struct pd_node *leaf;
	uint64_t next = w.begin;
	struct pd_cursor index;
	int r = 0, e = 0;

	if (c->is_at_end)
		return 0;
	reader.sink = news_to(&c->index_news, &sink.sink);
	pd_cursor_open(&index, &reader, &ctx, c->root.bitmap_root, sizeof(struct pd_index_entry_disk));
	pd_cursor_seek(&index, w.begin);
	index.ahead_end = w.end;
	/* Of a map of no blocks too, as there may be bitmaps. */
	while (!e && (next < w.end || !index.started) && (r = pd_cursor_next(&index, &leaf)) > 0) {
		memcpy(before, leaf->keys - sizeof(struct pd_node_disk), sizeof(before));
		e = check_index_leaf(c, &index, &w, &next);
		if (!e)
			e = save_hints(c, leaf->block, PD_NODE, before);
	}
	c->is_at_end = !r;
	if (!e && r >= 0)
		e = pass_gap(c, &index, next, r ? w.end : pd_bitmaps(c->root.nr_blocks));
	close_tree(&index, &c->index_news);
	return r < 0 ? r : e;
}

int pd_sm_check_window(struct pd_sm_check *c)
{
	bool is_last = c->expected->end >= c->root.nr_blocks;
	int r;

	open_counts(c);
	r = c->is_metadata ? check_index_block(c) : check_index_tree(c);
	if (!r) /* behind the last block there may be counts, too */
		r = seek_count(c, is_last ? NO_MORE : c->expected->end, !c->nr_unknown);
	close_tree(&c->counts, &c->counts_news);
	return r;
}

static int count_bitmaps(const struct pd_reader *r, const struct pd_sm_root *root, struct pd_counts *pointers)
{
	struct pd_context ctx = { .where = WHERE_META_SM, .dev_id = PROBLEM_NO_DEVICE };
	uint64_t nr = pd_bitmaps(root->nr_blocks);
	const struct pd_index_disk *index;
	struct bufio_buffer *b;
	const void *data;
	int found, e = 0;

	found = pd_read(r, &ctx, root->bitmap_root, PD_INDEX, &data, &b);
	if (found <= 0)
		return found;
	index = data;
	for (uint64_t i = 0; i < nr && i < PD_INDEX_ENTRIES && !e; i++) {
		uint64_t block = le64_get(index->entries[i].blocknr);

		e = pd_counts_add(pointers, &block, 1);
	}
	bufio_release(b);
	return e;
}

/* Remembers that something was lost, below which there may be more. */
struct loss {
	struct problem_sink sink;
	bool is_any;
};

static void note_loss(struct problem_sink *sink, const struct problem *p)
{
	((struct loss *)sink)->is_any |= problem_is_block_lost(p) && !p->is_leaf;
}

int pd_sm_count_metadata(const struct pd_reader *r, const struct pd_sm_root *root, struct pd_counts *pointers)
{
	struct pd_context ctx = { .where = WHERE_META_COUNTS, .dev_id = PROBLEM_NO_DEVICE };
	struct loss loss = { { note_loss }, false };
	struct pd_reader quiet = *r;
	const struct pd_node *leaf;
	struct pd_cursor c;
	int e;

	quiet.sink = &loss.sink;
	quiet.is_quiet = true;
	e = count_bitmaps(&quiet, root, pointers);
	if (e)
		return e;
	pd_cursor_open(&c, &quiet, &ctx, root->ref_count_root, sizeof(le32));
	while ((e = pd_cursor_next(&c, &leaf)) > 0)
		;
	pd_cursor_close(&c);
	return e ? e : loss.is_any;
}
