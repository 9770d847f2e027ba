/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Space maps: reference counts of blocks, two bits each in bitmaps, larger ones in a btree. */
#ifndef PDATA_SPACE_MAP_H
#define PDATA_SPACE_MAP_H

#include <stdbool.h>

#include "pdata/btree.h"

struct pd_sm_root {
	uint64_t nr_blocks, nr_allocated, bitmap_root, ref_count_root;
};

struct pd_sm_root pd_sm_root_decode(const struct pd_sm_root_disk *d);

/* Of one entry of a bitmap block: 0, 1, 2, or 3 for "3 or more". @i < PD_BITMAP_ENTRIES */
unsigned pd_bitmap_count(const struct pd_bitmap_disk *bitmap, unsigned i);

/*
 * Reads and verifies every block that the space map consists of; what is wrong goes to the reader's sink.
 * @is_metadata: the bitmap root is an index block, not a btree.
 * Returns 0 or -errno.
 */
int pd_sm_verify(const struct pd_reader *r, const struct pd_sm_root *root, bool is_metadata);

/*
 * The keys of a data index are numbers of bitmaps: a sink that turns what is reported of its nodes into the blocks
 * whose counts are lost, and passes it on.
 */
struct pd_sm_sink {
	struct problem_sink sink;
	struct problem_sink *below;
	uint64_t nr_blocks;
};

struct pd_sm_sink pd_sm_sink(struct problem_sink *below, uint64_t nr_blocks);

/*
 * Counts that are asked for in rising order: each block of the space map is read once at the most, and only if it is
 * needed. Must stay where it was opened.
 */
struct pd_sm_lookup {
	const struct pd_reader *reader;
	struct pd_sm_root root;
	bool is_metadata;
	struct pd_sm_sink sink;
	struct pd_reader index_reader;
	struct pd_cursor index, counts; /* of data: the next entries, read ahead */
	uint64_t next_bitmap, next_bitmap_block, next_count, next_count_value;
	struct bufio_buffer *index_buffer; /* of metadata: the index block */
	const struct pd_index_disk *index_block;
	struct bufio_buffer *buffer;
	const struct pd_bitmap_disk *bitmap; /* NULL: lost */
	uint64_t begin, end;                 /* blocks that it is for */
};

/* Blocks from @end on will not be asked for. */
void pd_sm_lookup_open(struct pd_sm_lookup *l, const struct pd_reader *r, const struct pd_sm_root *root,
		       bool is_metadata, uint64_t end);

/*
 * The count of block @begin, and in *@run_end up to where it is the same, looking no further than @end. Neighbours may
 * have the same count all the same. Returns 1; 0 when the count is unknown, by damage (reported) or because the space
 * map has no such block; -errno.
 */
int pd_sm_lookup(struct pd_sm_lookup *l, uint64_t begin, uint64_t end, uint64_t *count, uint64_t *run_end);

/*
 * The counts of the 32 blocks from @begin on, a multiple of 32, as a bitmap has them: to be compared, and taken apart by the
 * two below, which give a bit for each block, the lowest for the first. Returns as pd_sm_lookup().
 */
#define PD_SM_WORD_BLOCKS 32
int pd_sm_lookup_word(struct pd_sm_lookup *l, uint64_t begin, uint64_t *word);

uint32_t pd_sm_word_used(uint64_t word);  /* counts above 0 */
uint32_t pd_sm_word_large(uint64_t word); /* 3 or more */

void pd_sm_lookup_close(struct pd_sm_lookup *l);

#endif
