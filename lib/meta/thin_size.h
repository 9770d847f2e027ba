/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many metadata blocks a pool takes. */
#ifndef META_THIN_SIZE_H
#define META_THIN_SIZE_H

#include <stdint.h>

/*
 * For all data blocks to be mapped, in leaves that are half full, a block for each device, and the superblock. All else is
 * small beside these; thin_metadata_size cuts off in the same place.
 */
uint64_t thin_blocks_when_full(uint64_t data_blocks, uint64_t thins);

/*
 * Nodes of a tree of full ones, of which @own of its @all entries are in leaves that no other tree has. A tree without
 * leaves of its own has a shared root too; one without entries is an empty leaf.
 */
uint64_t thin_tree_nodes(uint64_t own, uint64_t all, uint32_t value_size);

/* So many blocks, and the bitmaps of a metadata device that is no larger than these are together. */
uint64_t thin_blocks_with_bitmaps(uint64_t blocks);

/*
 * A good size for new metadata of which @used blocks will be in use: with room to go on in, in whole 4 MiB, at most what
 * the kernel uses.
 */
uint64_t thin_blocks_advised(uint64_t used, uint64_t data_blocks, uint64_t thins);

#endif
