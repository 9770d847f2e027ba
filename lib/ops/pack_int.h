/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the writer and the reader of packed pools only. */
#ifndef OPS_PACK_INT_H
#define OPS_PACK_INT_H

#include "base/crc32c.h"
#include "ops/pack_disk.h"
#include "ops/pack_file.h"

/* Of a chunk, unpacked. */
static inline size_t pack_chunk_bytes(unsigned chunk_blocks)
{
	return chunk_blocks * (PD_BLOCK_SIZE + sizeof(struct pack_extent_disk));
}

static inline uint32_t pack_csum(const void *data, size_t size)
{
	return ~crc32c_raw(UINT32_MAX, data, size);
}

#define PACK_WORDS (PD_BLOCK_SIZE / 8)

/* Byte @i of all 64-bit words of the block, for i = 0 to 7. */
static inline void pack_turn(const uint8_t *block, uint8_t *turned)
{
	for (unsigned i = 0; i < 8; i++)
		for (unsigned w = 0; w < PACK_WORDS; w++)
			turned[i * PACK_WORDS + w] = block[w * 8 + i];
}

static inline void pack_turn_back(const uint8_t *turned, uint8_t *block)
{
	for (unsigned i = 0; i < 8; i++)
		for (unsigned w = 0; w < PACK_WORDS; w++)
			block[w * 8 + i] = turned[i * PACK_WORDS + w];
}

#endif
