/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A block manager as the kernel's persistent-data library has one: locks and validators for the blocks of a dm-bufio
 * client. It is here to show that code in the kernel's style runs on dm-bufio.h; it knows no bufio_ call.
 *
 * A block is read- or write-locked from a lock call until dm_bm_unlock(). What was write-locked is written at the next
 * dm_bm_flush(). The validator that a block is locked with checks it once after it was read, and prepares it each time
 * it is written; as long as the block is cached it cannot be locked with another.
 *
 * To commit: dm_bm_flush(), then change the superblock, then dm_bm_flush() again.
 *
 * Errors: 0 or a negative errno. -EINVAL also when another validator is asked for.
 */
#ifndef BLOCK_MANAGER_H
#define BLOCK_MANAGER_H

#include <linux/types.h>

typedef u64 dm_block_t;

struct block_device;
struct dm_block;
struct dm_block_manager;

struct dm_block_validator {
	const char *name;
	int (*check)(struct dm_block_validator *v, struct dm_block *b, size_t block_size);
	void (*prepare_for_write)(struct dm_block_validator *v, struct dm_block *b, size_t block_size);
};

/* An error pointer on failure. Destroying it writes what is left, but flush says whether that went well. */
struct dm_block_manager *dm_block_manager_create(struct block_device *bdev, unsigned block_size,
						 unsigned max_held_per_thread);
void dm_block_manager_destroy(struct dm_block_manager *bm);

dm_block_t dm_bm_nr_blocks(struct dm_block_manager *bm);

dm_block_t dm_block_location(struct dm_block *b);
void *dm_block_data(struct dm_block *b);

int dm_bm_read_lock(struct dm_block_manager *bm, dm_block_t block, struct dm_block_validator *v,
		    struct dm_block **result);
/* -EWOULDBLOCK if that needs a read. */
int dm_bm_read_try_lock(struct dm_block_manager *bm, dm_block_t block, struct dm_block_validator *v,
			struct dm_block **result);
int dm_bm_write_lock(struct dm_block_manager *bm, dm_block_t block, struct dm_block_validator *v,
		     struct dm_block **result);
/* All zeroes, without a read or a check. */
int dm_bm_write_lock_zero(struct dm_block_manager *bm, dm_block_t block, struct dm_block_validator *v,
			  struct dm_block **result);
void dm_bm_unlock(struct dm_block *b);

int dm_bm_flush(struct dm_block_manager *bm);

/* Nothing where the dm-bufio of that time had no such call. */
void dm_bm_prefetch(struct dm_block_manager *bm, dm_block_t block);

#endif
