/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Layout of a packed pool, all of it little-endian; bufio-pack(5) says the same in words.
 *
 *	header, chunk..., trailer, end of the file
 *	chunk = chunk header, packed bytes
 *
 * Unpacked, a chunk is its blocks, those that could be read, and behind them its extents. Each block is turned by
 * pack_turn() before it is compressed: keys of nodes rise slowly, so bytes of the same weight are much alike.
 */
#ifndef OPS_PACK_DISK_H
#define OPS_PACK_DISK_H

#include "base/le.h"
#include "pdata/pdata_disk.h"

#define PACK_MAGIC "bufiopak" /* 8 bytes, no end */
#define PACK_VERSION 1
#define PACK_DAMAGED 1u     /* the pool was when it was packed */
#define PACK_BY_CONTENTS 2u /* all blocks that are not zeroes are here, not only those that are counted */
#define PACK_FLAGS (PACK_DAMAGED | PACK_BY_CONTENTS)

/* Checksums are CRC-32C as everyone has it: inverted at the begin and at the end. */
struct pack_header_disk {
	uint8_t magic[8];
	le32 version;
	le32 flags;
	le32 block_size;   /* 4096 */
	le32 chunk_blocks; /* most of a chunk, and most extents of one: what memory it takes to read */
	le64 device_bytes; /* of the original */
	le64 transaction;
	le32 reserved; /* 0 */
	le32 csum;     /* of all before it */
};

struct pack_chunk_disk {
	uint8_t magic[4];
	le32 nr_blocks;    /* that are in it */
	le32 nr_extents;
	le32 packed_bytes; /* a frame of zstd */
	le32 packed_csum;  /* of these */
	le32 csum_inside;  /* of what they unpack to */
	le64 number;       /* of the chunk, from 0 on */
	le32 reserved;     /* 0 */
	le32 csum;         /* of all before it */
};

/* Rising, over all chunks. */
struct pack_extent_disk {
	le64 block;
	le32 nr;
	le32 flags;
};

#define PACK_CHUNK_MAGIC "chnk"
#define PACK_UNREADABLE 1u /* these blocks could not be read: there is nothing of them */

struct pack_trailer_disk {
	uint8_t magic[4];
	le32 headers_csum; /* of the header and all headers of chunks */
	le64 nr_chunks;
	le64 nr_blocks;    /* that are in the file */
	le64 nr_unreadable;
	le32 reserved; /* 0 */
	le32 csum;     /* of all before it */
};

#define PACK_TRAILER_MAGIC "end."

#define PACK_MAX_CHUNK_BLOCKS 1024

_Static_assert(sizeof(struct pack_header_disk) == 48, "packed");
_Static_assert(sizeof(struct pack_chunk_disk) == 40, "packed");
_Static_assert(sizeof(struct pack_extent_disk) == 16, "packed");
_Static_assert(sizeof(struct pack_trailer_disk) == 40, "packed");

#endif
