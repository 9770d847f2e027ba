// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pdata/space_map.h"

#include "base/checked.h"
#include "pdata/btree.h"

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

static uint64_t nr_bitmaps(const struct pd_sm_root *root)
{
	return root->nr_blocks / PD_BITMAP_ENTRIES + (root->nr_blocks % PD_BITMAP_ENTRIES != 0);
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
static int verify_bitmap(const struct pd_reader *r, struct pd_context ctx, const struct pd_sm_root *root, uint64_t index,
			 uint64_t block)
{
	struct bufio_buffer *b;
	const void *data;
	int found;

	ctx.begin = index * PD_BITMAP_ENTRIES;
	ctx.end = root->nr_blocks - ctx.begin < PD_BITMAP_ENTRIES ? root->nr_blocks : ctx.begin + PD_BITMAP_ENTRIES;
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
	for (uint64_t i = 0; !e && i < nr_bitmaps(root) && i < PD_INDEX_ENTRIES; i++)
		e = verify_bitmap(r, *ctx, root, i, le64_get(index->entries[i].blocknr));
	bufio_release(b);
	return e;
}

/*
 * The keys of the index tree are numbers of bitmaps: what is reported of its nodes is turned into the blocks whose
 * counts are lost.
 */
struct block_sink {
	struct problem_sink sink;
	struct problem_sink *below;
	uint64_t nr_blocks;
};

static void report_blocks(struct problem_sink *sink, const struct problem *p)
{
	struct block_sink *s = (struct block_sink *)sink;
	struct problem q = *p;

	if (q.begin != q.end && !checked_mul(q.begin, PD_BITMAP_ENTRIES, &q.begin))
		q.begin = s->nr_blocks;
	if (p->begin != p->end && (!checked_mul(q.end, PD_BITMAP_ENTRIES, &q.end) || q.end > s->nr_blocks))
		q.end = s->nr_blocks;
	s->below->report(s->below, &q);
}

static int verify_index_tree(const struct pd_reader *r, const struct pd_context *ctx, const struct pd_sm_root *root)
{
	struct block_sink sink = { { report_blocks }, r->sink, root->nr_blocks };
	struct pd_reader tree = *r;
	const struct pd_index_entry_disk *entry;
	uint64_t key, expected = 0;
	const uint8_t *value;
	struct pd_cursor c;
	int e;

	tree.sink = &sink.sink;
	pd_cursor_open(&c, &tree, ctx, root->bitmap_root, sizeof(*entry));
	while ((e = pd_cursor_next_entry(&c, &key, &value)) > 0 && key < nr_bitmaps(root)) {
		entry = (const struct pd_index_entry_disk *)value;
		if (key != expected && !c.holes)
			pd_report(r, ctx, PROBLEM_SM_INDEX, c.leaf.block, (struct problem){ .found = expected });
		expected = key + 1;
		e = verify_bitmap(r, *ctx, root, key, le64_get(entry->blocknr));
		if (e)
			break;
	}
	if (e >= 0 && expected < nr_bitmaps(root) && !c.holes)
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

int pd_sm_verify(const struct pd_reader *r, const struct pd_sm_root *root, bool is_metadata)
{
	struct pd_context index = { .where = is_metadata ? WHERE_META_SM : WHERE_DATA_SM, .dev_id = PROBLEM_NO_DEVICE };
	struct pd_context counts = index;
	int e;

	counts.where = is_metadata ? WHERE_META_COUNTS : WHERE_DATA_COUNTS;
	e = is_metadata ? verify_index_block(r, &index, root) : verify_index_tree(r, &index, root);
	return e ? e : verify_counts(r, &counts, root->ref_count_root);
}
