/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Everything that can be wrong with a pool: all trees, those of the metadata snapshot too, and every reference count
 * against what was found.
 *
 * Trees are read in the order of the disk on all processors (pd_disk_walk), which counts data blocks, and are then judged
 * in key order (pd_cursor) from a memo. Space maps are compared with the counts, the metadata's last. Counts of data that
 * do not fit in memory are taken in windows, and the leaves are read again for each.
 */
#ifndef META_THIN_CHECK_H
#define META_THIN_CHECK_H

#include "meta/thin.h"

/* What the trees of a pool lead to, as it was counted: but no space maps, nor what they consist of. */
struct thin_counted {
	struct thin_pool *pool;     /* as it was given; a walk over it is not heard of */
	struct pd_memo *memo;       /* what was walked costs nothing now */
	struct pd_counts *pointers; /* of metadata, all of it; the superblock is in */
	struct pd_counts *data;     /* the first window; another one is counted by recount() after pd_counts_next() */
	int (*recount)(void *context);
	void *context;
	uint64_t newest; /* time that was found, if it is above the superblock's; else it may be below what there is */
};

struct thin_check {
	/* Instead of comparing the space maps with what was counted; or NULL. Returns 0 or -errno. */
	int (*counted)(struct thin_check *c, const struct thin_counted *n);
	/* Told of the mappings of data blocks that have wrong counts, as far as owners are looked up; or NULL. */
	void (*mapped)(void *context, uint64_t dev_id, uint64_t virtual_block, uint64_t value);
	bool skip_mappings;   /* the superblock, and which devices there are; then there is nothing to compare either */
	bool skip_space_maps; /* the trees are not those that the space maps were written for */
	bool skip_metadata_map; /* the devices are a list, or the trees have been changed without it */
	bool is_fixing;       /* leaks and wrong hints are mended in the cache, superblock included; nothing else is wrong */
	uint64_t memory;      /* bytes for counts of data, at least thin_check_least_memory() */
	/* Or NULL: told of each device that has a tree, in order, and what was found below it. */
	void (*device)(void *context, const struct thin_device *device, const struct thin_count *count);
	void *context;
	/* What was found. */
	uint64_t highest_data; /* block that is mapped, if any is */
	uint64_t newest;       /* time of a mapping or device, where one is beyond the superblock's */
	uint64_t nr_devices, nr_mappings;
	uint64_t metadata_used, data_used; /* blocks that are counted as used */
	unsigned passes;                   /* over the leaves */
};

/*
 * Bytes of the tables that a check of this pool makes, besides thin_check.memory, if as many blocks are used as the pool
 * says. If there are more, or they lie scattered, it takes longer instead.
 */
uint64_t thin_check_bytes(const struct thin_pool *pool);

/* For counts of data: the least that works, and what would be enough for one pass. */
uint64_t thin_check_least_memory(void);
uint64_t thin_check_enough_memory(const struct thin_pool *pool);

/*
 * Checks an open pool, whose superblock was judged when it was opened, and fills in @c. Damage is reported to the pool's
 * sink, for each device that it costs something. The pool is the live one, or, with skip_space_maps, another one.
 * Returns 0 or -errno.
 */
int thin_check(struct thin_pool *pool, struct thin_check *c);

#endif
