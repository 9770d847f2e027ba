// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_size.h"

#include "meta/thin_disk.h"
#include "pdata/btree.h"

#define EXTENT_BLOCKS 1024 /* LVM's extents are 4 MiB */

static uint64_t div_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

uint64_t thin_blocks_when_full(uint64_t data_blocks, uint64_t thins)
{
	return 1 + 2 * data_blocks / pd_max_entries(sizeof(le64)) + thins;
}

uint64_t thin_tree_nodes(uint64_t own, uint64_t all, uint32_t value_size)
{
	unsigned children = pd_max_entries(sizeof(le64));
	uint64_t nodes, level = div_up(all, pd_max_entries(value_size)), total;

	if (!all)
		return 1;
	total = nodes = div_up(own, pd_max_entries(value_size));
	while (level > 1 && nodes) {
		level = div_up(level, children);
		nodes = div_up(nodes, children);
		total += nodes;
	}
	return total;
}

uint64_t thin_blocks_with_bitmaps(uint64_t blocks)
{
	return blocks + pd_bitmaps(blocks + pd_bitmaps(blocks));
}

uint64_t thin_blocks_advised(uint64_t used, uint64_t data_blocks, uint64_t thins)
{
	uint64_t full = thin_blocks_when_full(data_blocks, thins), most = PD_MAX_METADATA_BLOCKS;
	uint64_t room = used + used / 4, blocks = room > full ? room : full;

	if (blocks >= most)
		return most;
	blocks = div_up(blocks, EXTENT_BLOCKS) * EXTENT_BLOCKS;
	return blocks < most ? blocks : most;
}
