// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pdata/space_map.h"

#include "base/checked.h"

struct pd_sm_root pd_sm_root_decode(const struct pd_sm_root_disk *d)
{
	return (struct pd_sm_root){
		.nr_blocks = le64_get(d->nr_blocks),
		.nr_allocated = le64_get(d->nr_allocated),
		.bitmap_root = le64_get(d->bitmap_root),
		.ref_count_root = le64_get(d->ref_count_root),
	};
}

unsigned pd_bitmap_count(const struct pd_bitmap_disk *bitmap, unsigned i)
{
	unsigned pattern = bitmap->counts[i / 4] >> (i % 4 * 2) & 3;

	return (pattern & 1) << 1 | pattern >> 1; /* the high bit comes first */
}

/* pd_read(), and the observer hears of it. */
static int read_observed(const struct pd_reader *r, const struct pd_context *ctx, uint64_t block, enum pd_kind kind,
			 const void **data, struct bufio_buffer **bp)
{
	struct pd_observer *o = r->observer;
	int found;

	if (o && o->reached)
		o->reached(o, ctx, block, NULL);
	found = pd_read(r, ctx, block, kind, data, bp);
	if (found > 0 && o)
		o->entered(o, ctx, block, NULL, NULL);
	return found;
}

/* The bitmap's keys are the blocks whose counts it has. */
static void set_bitmap_keys(struct pd_context *ctx, const struct pd_sm_root *root, uint64_t index)
{
	ctx->begin = index * PD_BITMAP_ENTRIES;
	ctx->end = root->nr_blocks - ctx->begin < PD_BITMAP_ENTRIES ? root->nr_blocks : ctx->begin + PD_BITMAP_ENTRIES;
}

static int verify_bitmap(const struct pd_reader *r, struct pd_context ctx, const struct pd_sm_root *root, uint64_t index,
			 uint64_t block)
{
	struct bufio_buffer *b;
	const void *data;
	int found;

	set_bitmap_keys(&ctx, root, index);
	found = read_observed(r, &ctx, block, PD_BITMAP, &data, &b);
	if (found > 0)
		bufio_release(b);
	return found < 0 ? found : 0;
}

static int verify_index_block(const struct pd_reader *r, const struct pd_context *ctx, const struct pd_sm_root *root)
{
	const struct pd_index_disk *index;
	struct bufio_buffer *b;
	const void *data;
	struct pd_context all = *ctx;
	int e = 0, found;

	all.end = root->nr_blocks;
	found = read_observed(r, &all, root->bitmap_root, PD_INDEX, &data, &b);
	if (found <= 0)
		return found;
	index = data;
	for (uint64_t i = 0; !e && i < pd_bitmaps(root->nr_blocks) && i < PD_INDEX_ENTRIES; i++)
		e = verify_bitmap(r, *ctx, root, i, le64_get(index->entries[i].blocknr));
	bufio_release(b);
	return e;
}

static void report_blocks(struct problem_sink *sink, const struct problem *p)
{
	struct pd_sm_sink *s = (struct pd_sm_sink *)sink;
	struct problem q = *p;

	q.is_leaf = false; /* below those of an index there are bitmaps */
	if (q.begin != q.end && !checked_mul(q.begin, PD_BITMAP_ENTRIES, &q.begin))
		q.begin = s->nr_blocks;
	if (p->begin != p->end && (!checked_mul(q.end, PD_BITMAP_ENTRIES, &q.end) || q.end > s->nr_blocks))
		q.end = s->nr_blocks;
	s->below->report(s->below, &q);
}

struct pd_sm_sink pd_sm_sink(struct problem_sink *below, uint64_t nr_blocks)
{
	return (struct pd_sm_sink){ { report_blocks }, below, nr_blocks };
}

static int verify_index_tree(const struct pd_reader *r, const struct pd_context *ctx, const struct pd_sm_root *root)
{
	struct pd_sm_sink sink = pd_sm_sink(r->sink, root->nr_blocks);
	struct pd_reader tree = *r;
	const struct pd_index_entry_disk *entry;
	uint64_t key, expected = 0;
	const uint8_t *value;
	struct pd_cursor c;
	int e;

	tree.sink = &sink.sink;
	pd_cursor_open(&c, &tree, ctx, root->bitmap_root, sizeof(*entry));
	while ((e = pd_cursor_next_entry(&c, &key, &value)) > 0 && key < pd_bitmaps(root->nr_blocks)) {
		entry = (const struct pd_index_entry_disk *)value;
		if (key != expected && !c.holes)
			pd_report(r, ctx, PROBLEM_SM_INDEX, c.leaf.block, (struct problem){ .found = expected });
		expected = key + 1;
		e = verify_bitmap(r, *ctx, root, key, le64_get(entry->blocknr));
		if (e)
			break;
	}
	if (e >= 0 && expected < pd_bitmaps(root->nr_blocks) && !c.holes)
		pd_report(r, ctx, PROBLEM_SM_INDEX, root->bitmap_root, (struct problem){ .found = expected });
	pd_cursor_close(&c);
	return e < 0 ? e : 0;
}

static int verify_counts(const struct pd_reader *r, const struct pd_context *ctx, uint64_t root)
{
	const struct pd_node *leaf;
	struct pd_cursor c;
	int e;

	pd_cursor_open(&c, r, ctx, root, sizeof(le32));
	while ((e = pd_cursor_next(&c, &leaf)) > 0)
		;
	pd_cursor_close(&c);
	return e;
}

static struct pd_context index_context(bool is_metadata)
{
	return (struct pd_context){
		.where = is_metadata ? WHERE_META_SM : WHERE_DATA_SM,
		.dev_id = PROBLEM_NO_DEVICE,
	};
}

static struct pd_context counts_context(bool is_metadata)
{
	return (struct pd_context){
		.where = is_metadata ? WHERE_META_COUNTS : WHERE_DATA_COUNTS,
		.dev_id = PROBLEM_NO_DEVICE,
	};
}

int pd_sm_verify(const struct pd_reader *r, const struct pd_sm_root *root, bool is_metadata)
{
	struct pd_context index = index_context(is_metadata), counts = counts_context(is_metadata);
	int e = is_metadata ? verify_index_block(r, &index, root) : verify_index_tree(r, &index, root);

	return e ? e : verify_counts(r, &counts, root->ref_count_root);
}

/* --- single counts --- */

#define NO_MORE UINT64_MAX

void pd_sm_lookup_open(struct pd_sm_lookup *l, const struct pd_reader *r, const struct pd_sm_root *root,
		       bool is_metadata, uint64_t end)
{
	struct pd_context index = index_context(is_metadata), counts = counts_context(is_metadata);

	*l = (struct pd_sm_lookup){
		.reader = r,
		.root = *root,
		.is_metadata = is_metadata,
		.sink = pd_sm_sink(r->sink, root->nr_blocks),
		.index_reader = *r,
	};
	l->index_reader.sink = &l->sink.sink;
	pd_cursor_open(&l->index, &l->index_reader, &index, root->bitmap_root, sizeof(struct pd_index_entry_disk));
	pd_cursor_open(&l->counts, r, &counts, root->ref_count_root, sizeof(le32));
	l->index.ahead_end = end / PD_BITMAP_ENTRIES + 1;
	l->counts.ahead_end = end;
}

static void release(struct bufio_buffer **b)
{
	if (*b)
		bufio_release(*b);
	*b = NULL;
}

void pd_sm_lookup_close(struct pd_sm_lookup *l)
{
	release(&l->buffer);
	release(&l->index_buffer);
	pd_cursor_close(&l->index);
	pd_cursor_close(&l->counts);
}

/* Sets next_bitmap to the first bitmap from @index on that the tree has. */
static int seek_entry(struct pd_sm_lookup *l, uint64_t index)
{
	struct pd_context ctx = index_context(false);
	const struct pd_index_entry_disk *entry;
	const uint8_t *value = NULL;
	uint64_t key;
	int r;

	if (l->index.started && l->next_bitmap >= index)
		return 0;
	pd_cursor_seek(&l->index, index);
	r = pd_cursor_next_entry(&l->index, &key, &value);
	if (r < 0)
		return r;
	entry = (const struct pd_index_entry_disk *)value;
	l->next_bitmap = r ? key : NO_MORE;
	l->next_bitmap_block = r ? le64_get(entry->blocknr) : 0;
	if (l->next_bitmap != index && !l->index.holes)
		pd_report(l->reader, &ctx, PROBLEM_SM_INDEX, l->root.bitmap_root, (struct problem){ .found = index });
	return 0;
}

/* The same with the index block, which has every bitmap, or is lost with all of them. */
static int seek_slot(struct pd_sm_lookup *l, uint64_t index)
{
	struct pd_context ctx = index_context(true);
	const void *data;
	int r;

	if (!l->index_buffer) {
		ctx.end = l->root.nr_blocks;
		r = pd_read(l->reader, &ctx, l->root.bitmap_root, PD_INDEX, &data, &l->index_buffer);
		if (r < 0)
			return r;
		l->index_block = r ? data : NULL;
	}
	l->next_bitmap = l->index_block && index < PD_INDEX_ENTRIES ? index : NO_MORE;
	if (l->next_bitmap == index)
		l->next_bitmap_block = le64_get(l->index_block->entries[index].blocknr);
	return 0;
}

/* Makes @block one of begin..end. */
static int load_bitmap(struct pd_sm_lookup *l, uint64_t block)
{
	struct pd_context ctx = index_context(l->is_metadata);
	uint64_t index = block / PD_BITMAP_ENTRIES;
	const void *data;
	int r = l->is_metadata ? seek_slot(l, index) : seek_entry(l, index);

	if (r)
		return r;
	release(&l->buffer);
	l->bitmap = NULL;
	l->begin = block;
	if (l->next_bitmap != index) {
		if (!checked_mul(l->next_bitmap, PD_BITMAP_ENTRIES, &l->end) || l->end > l->root.nr_blocks)
			l->end = l->root.nr_blocks;
		return 0;
	}
	set_bitmap_keys(&ctx, &l->root, index);
	r = pd_read(l->reader, &ctx, l->next_bitmap_block, PD_BITMAP, &data, &l->buffer);
	if (r < 0)
		return r;
	l->bitmap = r ? data : NULL;
	l->begin = ctx.begin;
	l->end = ctx.end;
	return 0;
}

/* A count of 3 or more. */
static int look_in_tree(struct pd_sm_lookup *l, uint64_t block, uint64_t *count)
{
	struct pd_context ctx = counts_context(l->is_metadata);
	const uint8_t *value;
	uint64_t key;
	int r;

	if (!l->counts.started || l->next_count < block) {
		pd_cursor_seek(&l->counts, block);
		r = pd_cursor_next_entry(&l->counts, &key, &value);
		if (r < 0)
			return r;
		l->next_count = r ? key : NO_MORE;
		l->next_count_value = r ? le_load(value, sizeof(le32)) : 0;
	}
	if (l->next_count == block) {
		*count = l->next_count_value;
		return 1;
	}
	if (!l->counts.holes)
		pd_report(l->reader, &ctx, PROBLEM_SM_COUNT, PROBLEM_NO_BLOCK,
			  (struct problem){ .begin = block, .end = block + 1, .found = block });
	return 0;
}

/* Every other bit, packed. */
static uint32_t pack(uint64_t bits)
{
	bits &= UINT64_C(0x5555555555555555);
	bits = (bits | bits >> 1) & UINT64_C(0x3333333333333333);
	bits = (bits | bits >> 2) & UINT64_C(0x0F0F0F0F0F0F0F0F);
	bits = (bits | bits >> 4) & UINT64_C(0x00FF00FF00FF00FF);
	bits = (bits | bits >> 8) & UINT64_C(0x0000FFFF0000FFFF);
	return (uint32_t)(bits | bits >> 16);
}

uint32_t pd_sm_word_used(uint64_t word)
{
	return pack(word | word >> 1);
}

uint32_t pd_sm_word_large(uint64_t word)
{
	return pack(word & word >> 1);
}

int pd_sm_lookup_word(struct pd_sm_lookup *l, uint64_t begin, uint64_t *word)
{
	int r;

	if (begin >= l->root.nr_blocks)
		return 0;
	if (begin >= l->end || begin < l->begin) {
		r = load_bitmap(l, begin);
		if (r)
			return r;
	}
	if (!l->bitmap)
		return 0;
	*word = le_load(l->bitmap->counts + (begin - l->begin) / 4, 8);
	if (l->end - begin < PD_SM_WORD_BLOCKS)
		*word &= (UINT64_C(1) << 2 * (l->end - begin)) - 1;
	return 1;
}

int pd_sm_lookup(struct pd_sm_lookup *l, uint64_t begin, uint64_t end, uint64_t *count, uint64_t *run_end)
{
	unsigned found, i;
	int r;

	*run_end = end;
	if (begin >= l->root.nr_blocks)
		return 0;
	if (begin >= l->end || begin < l->begin) {
		r = load_bitmap(l, begin);
		if (r)
			return r;
	}
	if (end > l->end)
		end = *run_end = l->end;
	if (!l->bitmap)
		return 0;
	i = (unsigned)(begin - l->begin);
	found = pd_bitmap_count(l->bitmap, i);
	*run_end = begin + 1;
	if (found == 3)
		return look_in_tree(l, begin, count);
	while (*run_end < end && pd_bitmap_count(l->bitmap, ++i) == found)
		++*run_end;
	*count = found;
	return 1;
}
