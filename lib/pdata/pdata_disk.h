/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Layouts of the kernel's persistent-data blocks, as they lie on disk: packed, little-endian, 4096 bytes a block.
 * Sources of the facts: drivers/md/persistent-data/dm-btree-internal.h, dm-space-map-common.h, dm-array.c.
 */
#ifndef PDATA_DISK_H
#define PDATA_DISK_H

#include "base/le.h"

#define PD_BLOCK_SIZE 4096

/* Btree node. Then max_entries keys (le64), then max_entries values of value_size bytes, neither aligned. */
struct pd_node_disk {
	le32 csum;
	le32 flags; /* exactly one of the two below */
	le64 blocknr;
	le32 nr_entries;
	le32 max_entries;
	le32 value_size;
	le32 padding;
};

#define PD_NODE_INTERNAL 1
#define PD_NODE_LEAF 2

/* Space map root, inside a superblock. */
struct pd_sm_root_disk {
	le64 nr_blocks;
	le64 nr_allocated;
	le64 bitmap_root;    /* data: a btree of index entries; metadata: one index block */
	le64 ref_count_root; /* a btree of le32: the counts of 3 and more */
};

struct pd_index_entry_disk {
	le64 blocknr;
	le32 nr_free;
	le32 none_free_before;
};

#define PD_INDEX_ENTRIES 255

struct pd_index_disk {
	le32 csum;
	le32 padding;
	le64 blocknr;
	struct pd_index_entry_disk entries[PD_INDEX_ENTRIES];
};

/*
 * Bitmap: two bits a block. Entry i lies in bits 2(i%4) and 2(i%4)+1 of byte i/4, the *high* bit of the count first:
 * the pattern 1 is a count of 2. The pattern 3 means "3 or more, see the ref count tree".
 */
struct pd_bitmap_disk {
	le32 csum;
	le32 not_used;
	le64 blocknr;
	uint8_t counts[PD_BLOCK_SIZE - 16];
};

#define PD_BITMAP_ENTRIES ((PD_BLOCK_SIZE - 16) * 4)

/* Bitmaps for so many blocks. */
static inline uint64_t pd_bitmaps(uint64_t nr_blocks)
{
	return nr_blocks / PD_BITMAP_ENTRIES + (nr_blocks % PD_BITMAP_ENTRIES != 0);
}

/* The most metadata that there can be: 255 index entries of (2^14 - 64) blocks. */
#define PD_MAX_METADATA_BLOCKS (UINT64_C(255) * PD_BITMAP_ENTRIES)

/* Then nr_entries values. */
struct pd_array_disk {
	le32 csum;
	le32 max_entries;
	le32 nr_entries;
	le32 value_size;
	le64 blocknr;
};

_Static_assert(sizeof(struct pd_node_disk) == 32, "packed");
_Static_assert(sizeof(struct pd_sm_root_disk) == 32, "packed");
_Static_assert(sizeof(struct pd_index_disk) == PD_BLOCK_SIZE, "packed");
_Static_assert(sizeof(struct pd_bitmap_disk) == PD_BLOCK_SIZE, "packed");
_Static_assert(sizeof(struct pd_array_disk) == 24, "packed");

#endif
