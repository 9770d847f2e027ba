/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Thin-pool metadata: the superblock, the devices, their mappings.
 *
 * Damage goes to the reader's sink, and everything else is still walked. Calls return -errno only for the world.
 */
#ifndef META_THIN_H
#define META_THIN_H

#include <stdbool.h>

#include "meta/record.h"
#include "pdata/btree.h"
#include "pdata/space_map.h"

/* Decoded. Sizes are in sectors of 512 bytes, as on disk. */
struct thin_superblock {
	uint32_t csum, csum_expected;
	uint32_t flags, version, time;
	uint64_t blocknr, magic, trans_id, held_root;
	uint8_t uuid[16];
	struct pd_sm_root data_sm, metadata_sm;
	uint64_t data_mapping_root, device_details_root;
	uint32_t data_block_size, metadata_block_size;
	uint64_t metadata_nr_blocks;
	uint32_t compat_flags, compat_ro_flags, incompat_flags;
};

void thin_superblock_decode(const void *block, struct thin_superblock *sb);

#define THIN_UNKNOWN_SIZE UINT64_MAX

/* Instead of what superblocks say; 0: as found. */
struct thin_overrides {
	bool has_transaction;
	uint64_t transaction;
	uint32_t data_block_size; /* sectors */
	uint64_t nr_data_blocks;
};

struct thin_device;

/* A pool: where its blocks are read from, and what block 0 says. */
struct thin_pool {
	struct pd_reader reader;
	struct thin_superblock sb;   /* whose trees are walked: the live one's, the metadata snapshot's, older ones */
	struct thin_superblock live; /* block 0 */
	uint64_t nr_data_blocks;     /* or THIN_UNKNOWN_SIZE: mappings are not compared with it */
	struct thin_overrides overrides; /* applied to sb and live already */
	bool is_lost;                /* block 0 is no superblock: both are zeroes but for the overrides */
	/* There is no such tree, which was said already: it counts as empty. See thin_pool_use_root(). */
	bool has_no_details, has_no_top;
	bool is_single; /* then there is this one device */
	uint64_t single_id, single_root;
	/* Or these, in order of their ids, whatever the trees of devices say; NULL: as they say. */
	const struct thin_device *list;
	size_t nr_list;
};

/*
 * Reads block 0 and judges every field of it; what is wrong is reported, and the fields are used as they are.
 * Blocks are trusted up to the metadata's own size where the checksum is right, else up to the device's.
 * Returns 0 or -errno, also when block 0 cannot be read: there is no pool without it.
 */
int thin_pool_open(struct thin_pool *pool, struct bufio_client *client, struct problem_sink *sink);

/* The same with @overrides, which come before anything is judged. */
int thin_pool_open_overridden(struct thin_pool *pool, struct bufio_client *client,
			      const struct thin_overrides *overrides, struct problem_sink *sink);

/*
 * Where block 0 is no superblock, which is reported: a pool of whole device's size that has nothing in it until
 * thin_pool_use_snapshot() or thin_pool_use_root(). Returns 0 or -errno.
 */
int thin_pool_open_lost(struct thin_pool *pool, struct bufio_client *client, const struct thin_overrides *overrides,
			struct problem_sink *sink);

/*
 * Changes to the roots of the metadata snapshot at @block, 0 = the one that the superblock names. The data device's
 * size stays the live pool's. Returns 1, 0 when there is none or it is damaged (reported), -errno.
 */
int thin_pool_use_snapshot(struct thin_pool *pool, uint64_t block);

/* What lies at a block that is taken for a root. */
enum thin_root {
	ROOT_NONE, /* nothing that a pool could be looked at through */
	ROOT_SUPERBLOCK,
	ROOT_TOP,
	ROOT_DETAILS,
	ROOT_DEVICE, /* a device's tree */
	ROOT_EMPTY,  /* a leaf that could be a new device's, or the top level of a pool without devices */
};

/* Looks at the block, and at some below it; nothing is reported. Returns 0 or -errno. */
int thin_root_identify(const struct thin_pool *pool, uint64_t block, enum thin_root *root);

/*
 * Looks at the pool through @block, any of the above, from now on. A top level goes with the details in use, and
 * details with the top level in use, if both know the same devices; else the other tree counts as empty
 * (has_no_details, has_no_top), and the caller may know a better one: see thin_scavenge.h. The tree of a device becomes
 * the only device, with the id @dev_id. Space maps, the data device's size, and all but the roots stay the live pool's,
 * but a superblock's copy brings its own transaction and time.
 * Returns 1, 0 when there is no such thing at @block, -errno. *@root may be NULL.
 */
int thin_pool_use_root(struct thin_pool *pool, uint64_t block, uint64_t dev_id, enum thin_root *root);

/* From now on, these trees: PROBLEM_NO_BLOCK: none. */
void thin_pool_set_roots(struct thin_pool *pool, uint64_t top, uint64_t details);

bool thin_is_data_block_size(uint64_t sectors);

/* A device as the two trees know it. */
struct thin_device {
	uint64_t id;
	bool has_details, has_root;
	uint64_t mapped_blocks, transaction_id;
	uint32_t creation_time, snapshotted_time;
	uint64_t root;
};

/* Fills in what an entry of the details says. */
void thin_device_decode(struct thin_device *d, const void *value);

/*
 * Where there is no telling, all that a device maps must count as shared: a mapping is if its time is below the device's,
 * and none is above the pool's time @now. So details that are missing, or whose times cannot be right, get that one; true:
 * this one's did.
 */
bool thin_device_settle_times(struct thin_device *d, uint32_t now);

/* The device with the id, as far as the trees can be read. 1; 0: neither of them has it; -errno. */
int thin_device_find(const struct thin_pool *pool, uint64_t id, struct thin_device *d);

/* All devices, in order of their ids: both trees walked side by side. */
struct thin_devices {
	struct thin_pool *pool;
	struct pd_cursor details, top;
	struct thin_device from_details, from_top; /* read ahead; no has_... when used up */
	size_t next; /* of the pool's list */
};

void thin_devices_open(struct thin_devices *d, struct thin_pool *pool);
/* 1: the next device; 0: the end; -errno. */
int thin_devices_next(struct thin_devices *d, struct thin_device *device);
void thin_devices_close(struct thin_devices *d);

/* What was found below a device's root. */
struct thin_count {
	uint64_t mappings;
	uint64_t visited; /* of these: in leaves that were really read, and not known from the memo */
	uint64_t highest; /* virtual block that is mapped, when there are mappings */
	uint64_t holes; /* nodes that could not be used */
	uint64_t flaws; /* leaves with mappings beyond the data device */
};

/*
 * Walks a device's mappings in order, merges neighbours into runs, and gives them to @v as RECORD_SINGLE and
 * RECORD_RANGE; or only counts, with @v NULL, and then @memo (may be NULL) makes shared subtrees cost nothing the
 * second time. A wrong mapped_blocks is reported.
 */
int thin_walk_mappings(struct thin_pool *pool, const struct thin_device *device, struct pd_memo *memo,
		       struct meta_visitor *v, struct thin_count *count);

/* Reports mappings of the leaf at @c that lie beyond the data device: once, with a count, as they come in heaps. */
void thin_judge_leaf(const struct thin_pool *pool, struct pd_cursor *c, const struct pd_node *leaf);

struct thin_sharing;

struct thin_walk {
	uint64_t only_device; /* PROBLEM_NO_DEVICE: all */
	bool skip_mappings;
	struct thin_sharing *sharing; /* NULL: mappings that are shared come again with every device */
	struct pd_memo *memo;         /* for counting the mappings of devices without details; may be NULL */
};

/*
 * Gives the whole pool to @v: superblock, devices, mappings. A device whose details are lost gets some that are safe
 * to run with: counted mappings, and times that make every block count as shared.
 */
int thin_walk(struct thin_pool *pool, const struct thin_walk *walk, struct meta_visitor *v);

/*
 * Walks everything that the pool's own superblock leads to, for the reader's sink and observer to hear of it: the
 * devices' trees (those of @only_device alone, unless PROBLEM_NO_DEVICE), then the space maps. @memo may be NULL.
 */
int thin_verify_devices(struct thin_pool *pool, uint64_t only_device, struct pd_memo *memo);
int thin_verify_space_maps(const struct thin_pool *pool);

/* "", or 32 hexadecimal digits: the kernel leaves it zero. */
#define THIN_UUID_MAX 33
const char *thin_uuid_text(const struct thin_superblock *sb, char text[THIN_UUID_MAX]);

#endif
