// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pdata/space_map_build.h"

#include <errno.h>
#include <stdlib.h>

#define LOW_BITS UINT64_C(0x5555555555555555)
#define WORD_ENTRIES 32

/* Of both kinds of map. */
struct sm_build {
	struct pd_writer *w;
	const struct pd_counts *counts;
	struct pd_sm_root root;
	struct pd_build large; /* the tree of counts of 3 and more */
};

struct pd_sm_root_disk pd_sm_root_encode(const struct pd_sm_root *root)
{
	return (struct pd_sm_root_disk){
		.nr_blocks = le64_put(root->nr_blocks),
		.nr_allocated = le64_put(root->nr_allocated),
		.bitmap_root = le64_put(root->bitmap_root),
		.ref_count_root = le64_put(root->ref_count_root),
	};
}

static struct sm_build *create(struct pd_writer *w, const struct pd_counts *counts)
{
	struct sm_build *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->w = w;
	s->counts = counts;
	s->root.nr_blocks = counts->nr_blocks;
	pd_build_open(&s->large, w, sizeof(le32));
	return s;
}

static const struct pd_bitmap_disk *bitmap_at(const struct pd_counts *c, uint64_t index)
{
	return &c->bitmaps[index - c->begin / PD_BITMAP_ENTRIES];
}

/* A bit for each entry of a word, at its low bit: those with a count; those that say 3. */
static uint64_t counted(const struct pd_bitmap_disk *b, unsigned word)
{
	uint64_t v = le_load(b->counts + sizeof(v) * word, sizeof(v));

	return (v | v >> 1) & LOW_BITS;
}

static uint64_t threes(const struct pd_bitmap_disk *b, unsigned word)
{
	uint64_t v = le_load(b->counts + sizeof(v) * word, sizeof(v));

	return v & v >> 1 & LOW_BITS;
}

#define NR_WORDS (PD_BITMAP_ENTRIES / WORD_ENTRIES)

/* The hints of a bitmap with @entries entries: how many are free, and that none is before the first of these. */
static struct pd_index_entry_disk describe(const struct pd_bitmap_disk *b, unsigned entries, uint64_t block)
{
	unsigned used = 0, first = entries;

	for (unsigned word = 0; word < NR_WORDS; word++) {
		uint64_t is = counted(b, word);

		used += (unsigned)__builtin_popcountll(is);
		if (first == entries && is != LOW_BITS)
			first = word * WORD_ENTRIES + (unsigned)__builtin_ctzll(~is & LOW_BITS) / 2;
	}
	return (struct pd_index_entry_disk){
		.blocknr = le64_put(block),
		.nr_free = le32_put(entries - used),
		.none_free_before = le32_put(first < entries ? first : entries),
	};
}

static int add_large(struct sm_build *s, uint64_t index)
{
	const struct pd_bitmap_disk *b = bitmap_at(s->counts, index);
	int r = 0;

	for (unsigned word = 0; word < NR_WORDS; word++)
		for (uint64_t is = threes(b, word); is && !r; is &= is - 1) {
			uint64_t block = index * PD_BITMAP_ENTRIES + word * WORD_ENTRIES +
					 (unsigned)__builtin_ctzll(is) / 2;
			le32 count = le32_put((uint32_t)pd_counts_get(s->counts, block));

			r = pd_build_add(&s->large, block, &count);
		}
	return r;
}

static int write_bitmap(struct sm_build *s, uint64_t index, uint64_t block, struct pd_index_entry_disk *entry)
{
	const struct pd_bitmap_disk *b = bitmap_at(s->counts, index);
	uint64_t left = s->root.nr_blocks - index * PD_BITMAP_ENTRIES;
	struct bufio_buffer *buffer;
	struct pd_bitmap_disk *d = bufio_new(s->w->client, block, &buffer);

	if (!d)
		return -errno;
	memcpy(d->counts, b->counts, sizeof(d->counts));
	*entry = describe(b, left < PD_BITMAP_ENTRIES ? (unsigned)left : PD_BITMAP_ENTRIES, block);
	s->root.nr_allocated += (left < PD_BITMAP_ENTRIES ? left : PD_BITMAP_ENTRIES) - le32_get(entry->nr_free);
	return pd_write(buffer, PD_BITMAP);
}

/* @nr blocks, in a row as far as they are free, to be written later. The caller frees *@blocks. */
static int reserve(struct pd_writer *w, uint64_t nr, uint64_t **blocks)
{
	int r = 0;

	*blocks = NULL;
	if (nr > w->nr_blocks - w->next)
		return -ENOSPC;
	*blocks = malloc((nr + 1) * sizeof(**blocks));
	if (!*blocks)
		return -ENOMEM;
	for (uint64_t i = 0; i < nr && !r; i++) {
		r = pd_take_number(w, &(*blocks)[i]);
		if (!r)
			r = pd_refer(w, (*blocks)[i]);
	}
	return r;
}

/* --- of data --- */

static int write_window(struct sm_build *s, struct pd_build *index, const uint64_t *blocks)
{
	uint64_t i = s->counts->begin / PD_BITMAP_ENTRIES, end = pd_bitmaps(s->counts->end);
	struct pd_index_entry_disk entry;
	int r = 0;

	for (; i < end && !r; i++) {
		r = write_bitmap(s, i, blocks[i], &entry);
		if (!r)
			r = pd_build_add(index, i, &entry);
		if (!r)
			r = add_large(s, i);
	}
	return r;
}

static int write_windows(struct sm_build *s, struct pd_counts *counts, struct pd_build *index,
			 int (*recount)(void *context), void *context)
{
	uint64_t *blocks;
	int r = reserve(s->w, pd_bitmaps(counts->nr_blocks), &blocks);

	if (!r)
		r = write_window(s, index, blocks);
	while (!r && pd_counts_next(counts)) {
		r = recount(context);
		if (!r)
			r = write_window(s, index, blocks);
	}
	free(blocks);
	return r;
}

int pd_sm_write_data(struct pd_writer *w, struct pd_counts *counts, int (*recount)(void *context), void *context,
		     struct pd_sm_root *root)
{
	struct sm_build *s = create(w, counts);
	struct pd_build *index = malloc(sizeof(*index));
	int r = s && index ? 0 : -ENOMEM;

	if (!r) {
		pd_build_open(index, w, sizeof(struct pd_index_entry_disk));
		r = write_windows(s, counts, index, recount, context);
	}
	if (!r)
		r = pd_build_finish_root(index, &s->root.bitmap_root);
	if (!r)
		r = pd_build_finish_root(&s->large, &s->root.ref_count_root);
	if (!r)
		*root = s->root;
	free(index);
	free(s);
	return r;
}

/* --- of metadata --- */

static int write_index(struct sm_build *s, const uint64_t *blocks)
{
	struct bufio_buffer *buffer;
	struct pd_index_disk *d = bufio_new(s->w->client, s->root.bitmap_root, &buffer);
	uint64_t nr = pd_bitmaps(s->root.nr_blocks);
	int r = 0;

	if (!d)
		return -errno;
	for (uint64_t i = 0; i < nr && !r; i++)
		r = write_bitmap(s, i, blocks[i], &d->entries[i]);
	if (!r)
		return pd_write(buffer, PD_INDEX);
	bufio_release(buffer);
	return r;
}

int pd_sm_write_metadata(struct pd_writer *w, struct pd_sm_root *root)
{
	struct sm_build *s = create(w, &w->counts);
	uint64_t used = w->is_inhabited ? w->nr_blocks : w->next, *blocks = NULL;
	int r;

	if (!s)
		return -ENOMEM;
	s->root.nr_blocks = w->nr_blocks; /* there may be counts of more */
	r = pd_take_number(w, &s->root.bitmap_root);
	if (!r)
		r = pd_refer(w, s->root.bitmap_root);
	if (!r)
		r = reserve(w, pd_bitmaps(w->nr_blocks), &blocks);
	/* What comes now has a count of 1 each, and need not be looked at. */
	for (uint64_t i = 0; i < pd_bitmaps(used) && !r; i++)
		r = add_large(s, i);
	if (!r)
		r = pd_build_finish_root(&s->large, &s->root.ref_count_root);
	if (!r)
		r = write_index(s, blocks);
	if (!r)
		*root = s->root;
	free(blocks);
	free(s);
	return r;
}
