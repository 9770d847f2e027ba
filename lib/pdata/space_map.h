/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Space maps: reference counts of blocks, two bits each in bitmaps, larger ones in a btree. */
#ifndef PDATA_SPACE_MAP_H
#define PDATA_SPACE_MAP_H

#include <stdbool.h>

#include "pdata/block.h"

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

#endif
