/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reference counts in memory, while they are being counted: two bits a block, in bitmaps just as they are on disk, and
 * more for those bitmaps that have counts above 3.
 *
 * Counts take what memory there is for them. Where that is less than all of them need, they are of a window of bitmaps,
 * and who counts comes again for the next window: see pd_counts_next().
 */
#ifndef PDATA_REF_COUNTS_H
#define PDATA_REF_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "pdata/pdata_disk.h"

struct pd_counts {
	uint64_t nr_blocks;             /* that have counts */
	uint64_t begin;                 /* of these, the window */
	_Atomic uint64_t end;           /* it may lose its end while pd_counts_find_slots() looks */
	struct pd_bitmap_disk *bitmaps; /* of the window; their headers are not used */
	uint32_t **above;               /* by bitmap of the window: what its counts have above 3; NULL: none has */
	uint64_t nr_bitmaps;            /* that fit into the window */
	uint64_t memory, used;          /* bytes */
};

/* The least that pd_counts_create() wants for @nr_blocks, and what would be enough for all of them, counts above 3 aside. */
uint64_t pd_counts_least(void);
uint64_t pd_counts_enough(uint64_t nr_blocks);

/*
 * All counts are 0, and the window is as large as @memory, in bytes, allows. To be destroyed.
 * Errors: -ENOMEM  also when @memory is below pd_counts_least()
 */
int pd_counts_create(struct pd_counts *c, uint64_t nr_blocks, uint64_t memory);
void pd_counts_destroy(struct pd_counts *c);

/*
 * One reference more to each of the @nr blocks; those outside of the window are passed over. When memory runs out the
 * window loses its end, and what was counted there.
 */
int pd_counts_add(struct pd_counts *c, const uint64_t *blocks, unsigned nr);

/* The same for @nr neighbours. */
int pd_counts_add_run(struct pd_counts *c, uint64_t block, uint64_t nr);

/*
 * The same in two steps, for many at a time in no order: where the counts of blocks are, which is a number that is below
 * PD_COUNT_SLOTS times the bitmaps of the window and rises with the block; and one more there, in any order.
 */
#define PD_COUNT_SLOTS (PD_BLOCK_SIZE * 4) /* a bitmap */

/* Writes one slot for each of the @nr blocks that is in the window, and returns how many these are. */
unsigned pd_counts_find_slots(const struct pd_counts *c, const uint64_t *blocks, unsigned nr, uint32_t *slots);

/* For slots that are @first, a multiple of 2^16, and one of @behind each. */
int pd_counts_add_slots(struct pd_counts *c, uint32_t first, const uint16_t *behind, unsigned nr);

/* One less; outside of the window nothing. The count is not 0. */
void pd_counts_sub(struct pd_counts *c, uint64_t block);

/* Whether there is one window, and it has kept its end. */
static inline bool pd_counts_has_all(const struct pd_counts *c)
{
	return !c->begin && c->end == c->nr_blocks;
}

/* @block is in the window. */
uint64_t pd_counts_get(const struct pd_counts *c, uint64_t block);

/* How many counts in the window are 3 or more. */
uint64_t pd_counts_nr_large(const struct pd_counts *c);

/* The next window, all counts 0; false: there is none. */
bool pd_counts_next(struct pd_counts *c);

#endif
