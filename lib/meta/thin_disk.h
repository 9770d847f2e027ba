/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layouts of thin-pool metadata (drivers/md/dm-thin-metadata.c). */
#ifndef META_THIN_DISK_H
#define META_THIN_DISK_H

#include "pdata/pdata_disk.h"

#define THIN_MAGIC 27022010
#define THIN_VERSION_MAX 2
#define THIN_FLAG_NEEDS_CHECK 1u
#define THIN_MAX_DEVICES (UINT64_C(1) << 24)
#define THIN_BLOCK_SIZE_MIN 128     /* sectors: 64 KiB, and every size is a multiple of it */
#define THIN_BLOCK_SIZE_MAX 2097152 /* sectors: 1 GiB */
#define THIN_METADATA_BLOCK_SIZE 8  /* sectors */

struct thin_superblock_disk {
	le32 csum;
	le32 flags;
	le64 blocknr;
	uint8_t uuid[16];
	le64 magic;
	le32 version;
	le32 time;
	le64 trans_id;
	le64 held_root;
	uint8_t data_space_map_root[128]; /* struct pd_sm_root_disk, rest zero */
	uint8_t metadata_space_map_root[128];
	le64 data_mapping_root;
	le64 device_details_root;
	le32 data_block_size;     /* sectors */
	le32 metadata_block_size; /* sectors */
	le64 metadata_nr_blocks;
	le32 compat_flags;
	le32 compat_ro_flags;
	le32 incompat_flags;
};

struct thin_details_disk {
	le64 mapped_blocks;
	le64 transaction_id;
	le32 creation_time;
	le32 snapshotted_time;
};

/* A mapping's value: 40 bits of data block, 24 bits of time. */
#define THIN_TIME_BITS 24
#define THIN_MAX_DATA_BLOCKS (UINT64_C(1) << (64 - THIN_TIME_BITS))
#define THIN_TIME_MASK ((UINT64_C(1) << THIN_TIME_BITS) - 1)

_Static_assert(sizeof(struct thin_superblock_disk) == 364, "packed");
_Static_assert(sizeof(struct thin_details_disk) == 24, "packed");

#endif
