// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * commit IMAGE: one more transaction on a thin pool's metadata, by way of the block manager.
 *
 * Checks every block that can be reached, rewrites two of them as they are, adds one to the transaction id, superblock
 * last, and checks everything again from the device. Prints what was checked. Status 1: something is damaged, nothing
 * was written.
 */
#include <linux/err.h>

#include <linux/crc32c.h>
#include <linux/dm-bufio.h>
#include <linux/slab.h>

#include <stdio.h>
#include <string.h>

#include "block_manager.h"
#include "meta/thin_disk.h"

#define MAX_HELD 16 /* a path through both levels of the mappings */

/* --- kinds of blocks: checksum over all behind it, salted with the kind, and the block's own number --- */

struct header {
	le32 csum;
	le32 other;
	le64 blocknr;
};

struct kind {
	struct dm_block_validator validator; /* first, so that a validator is its kind */
	u32 salt;
};

static u32 checksum(struct dm_block_validator *v, struct dm_block *b, size_t block_size)
{
	const char *data = dm_block_data(b);

	return crc32c(~0u, data + sizeof(le32), block_size - sizeof(le32)) ^ ((struct kind *)v)->salt;
}

static int check(struct dm_block_validator *v, struct dm_block *b, size_t block_size)
{
	const struct header *h = dm_block_data(b);

	if (le64_get(h->blocknr) != dm_block_location(b))
		return -ENOTBLK;
	return le32_get(h->csum) == checksum(v, b, block_size) ? 0 : -EILSEQ;
}

static void prepare_for_write(struct dm_block_validator *v, struct dm_block *b, size_t block_size)
{
	struct header *h = dm_block_data(b);

	h->blocknr = le64_put(dm_block_location(b));
	h->csum = le32_put(checksum(v, b, block_size));
}

#define KIND(what, salt) { { what, check, prepare_for_write }, salt }

static struct kind superblock = KIND("superblock", 160774), node = KIND("btree node", 121107),
		   bitmap = KIND("bitmap", 240779), metadata_index = KIND("index", 160478);

/* --- walking: every function returns 0 or a negative errno --- */

struct walk {
	struct dm_block_manager *bm;
	u64 nr_blocks, nr_checked;
	unsigned char *seen;
};

/* What is done with a leaf's value; NULL for nothing. */
typedef int (*value_fn)(struct walk *w, const void *value);

/* Returns 1 and a lock, or 0 if the block was there before. */
static int lock_unseen(struct walk *w, u64 block, struct kind *kind, struct dm_block **b)
{
	int r;

	if (block >= w->nr_blocks)
		return -ERANGE;
	if (w->seen[block])
		return 0;
	r = dm_bm_read_lock(w->bm, block, &kind->validator, b);
	if (r)
		return r;
	w->seen[block] = 1;
	w->nr_checked++;
	return 1;
}

static const uint8_t *value_of(const struct pd_node_disk *n, u32 i)
{
	return (const uint8_t *)(n + 1) + 8 * le32_get(n->max_entries) + i * le32_get(n->value_size);
}

static int walk_tree(struct walk *w, u64 root, value_fn fn)
{
	const struct pd_node_disk *n;
	struct dm_block *b;
	bool internal;
	int r = lock_unseen(w, root, &node, &b);

	if (r <= 0)
		return r;
	n = dm_block_data(b);
	internal = le32_get(n->flags) == PD_NODE_INTERNAL;
	for (u32 i = 0; internal && i < le32_get(n->nr_entries); i++)
		dm_bm_prefetch(w->bm, le_load(value_of(n, i), 8));
	r = 0;
	for (u32 i = 0; !r && i < le32_get(n->nr_entries); i++)
		if (internal)
			r = walk_tree(w, le_load(value_of(n, i), 8), fn);
		else if (fn)
			r = fn(w, value_of(n, i));
	dm_bm_unlock(b);
	return r;
}

static int walk_device(struct walk *w, const void *value)
{
	return walk_tree(w, le_load(value, 8), NULL);
}

static int walk_bitmap(struct walk *w, const void *value)
{
	struct dm_block *b;
	int r = lock_unseen(w, le_load(value, 8), &bitmap, &b);

	if (r <= 0)
		return r;
	dm_bm_unlock(b);
	return 0;
}

static int walk_data_space_map(struct walk *w, const struct pd_sm_root_disk *root)
{
	int r = walk_tree(w, le64_get(root->bitmap_root), walk_bitmap);

	return r ? r : walk_tree(w, le64_get(root->ref_count_root), NULL);
}

static int walk_metadata_space_map(struct walk *w, const struct pd_sm_root_disk *root)
{
	u64 nr_bitmaps = (le64_get(root->nr_blocks) + PD_BITMAP_ENTRIES - 1) / PD_BITMAP_ENTRIES;
	const struct pd_index_disk *index;
	struct dm_block *b;
	int r = lock_unseen(w, le64_get(root->bitmap_root), &metadata_index, &b);

	if (r <= 0)
		return r;
	index = dm_block_data(b);
	r = 0;
	for (u64 i = 0; !r && i < nr_bitmaps && i < PD_INDEX_ENTRIES; i++)
		r = walk_bitmap(w, &index->entries[i]);
	dm_bm_unlock(b);
	return r ? r : walk_tree(w, le64_get(root->ref_count_root), NULL);
}

static int walk_superblock(struct walk *w)
{
	const struct thin_superblock_disk *sb;
	struct dm_block *b;
	int r = lock_unseen(w, 0, &superblock, &b);

	if (r <= 0)
		return r;
	sb = dm_block_data(b);
	r = walk_tree(w, le64_get(sb->data_mapping_root), walk_device);
	r = r ? r : walk_tree(w, le64_get(sb->device_details_root), NULL);
	r = r ? r : walk_data_space_map(w, (const void *)sb->data_space_map_root);
	r = r ? r : walk_metadata_space_map(w, (const void *)sb->metadata_space_map_root);
	dm_bm_unlock(b);
	return r;
}

static int check_all(struct dm_block_manager *bm)
{
	struct walk w = { .bm = bm, .nr_blocks = dm_bm_nr_blocks(bm) };
	int r;

	w.seen = calloc(1, w.nr_blocks);
	if (!w.seen)
		return -ENOMEM;
	r = walk_superblock(&w);
	if (!r)
		printf("checked %llu blocks\n", w.nr_checked);
	kfree(w.seen);
	return r;
}

/* --- changing --- */

/* The validator has to put checksum and number back. */
static int rewrite(struct dm_block_manager *bm, u64 block)
{
	struct dm_block *b;
	int r = dm_bm_write_lock(bm, block, &node.validator, &b);

	if (r)
		return r;
	memset(dm_block_data(b), 0xee, sizeof(le32));
	memset((char *)dm_block_data(b) + 8, 0xee, sizeof(le64));
	dm_bm_unlock(b);
	return 0;
}

/* The same from nothing. */
static int rewrite_from_zeroes(struct dm_block_manager *bm, u64 block)
{
	static char copy[PD_BLOCK_SIZE], zeroes[PD_BLOCK_SIZE];
	struct dm_block *b;
	int r = dm_bm_read_lock(bm, block, &node.validator, &b);

	if (r)
		return r;
	memcpy(copy, dm_block_data(b), PD_BLOCK_SIZE);
	dm_bm_unlock(b);
	r = dm_bm_write_lock_zero(bm, block, &node.validator, &b);
	if (r)
		return r;
	if (memcmp(dm_block_data(b), zeroes, PD_BLOCK_SIZE))
		r = -EUCLEAN;
	memcpy((char *)dm_block_data(b) + 4, copy + 4, PD_BLOCK_SIZE - 4);
	dm_bm_unlock(b);
	return r;
}

static int begin_transaction(struct dm_block_manager *bm)
{
	const struct thin_superblock_disk *sb;
	u64 mappings, details;
	struct dm_block *b;
	int r = dm_bm_read_try_lock(bm, 0, &superblock.validator, &b); /* it was checked, so it is cached */

	if (r)
		return r;
	sb = dm_block_data(b);
	mappings = le64_get(sb->data_mapping_root);
	details = le64_get(sb->device_details_root);
	dm_bm_unlock(b);
	r = rewrite(bm, mappings);
	return r ? r : rewrite_from_zeroes(bm, details);
}

/* All others are on the device before the superblock is touched. */
static int commit(struct dm_block_manager *bm)
{
	struct thin_superblock_disk *sb;
	struct dm_block *b;
	int r = dm_bm_flush(bm);

	if (r)
		return r;
	r = dm_bm_write_lock(bm, 0, &superblock.validator, &b);
	if (r)
		return r;
	sb = dm_block_data(b);
	sb->trans_id = le64_put(le64_get(sb->trans_id) + 1);
	dm_bm_unlock(b);
	return dm_bm_flush(bm);
}

/* A block that has its validator is nobody else's, and the absent are not waited for. */
static int refusals(struct dm_block_manager *bm)
{
	struct dm_block *b;

	if (dm_bm_read_lock(bm, 0, &bitmap.validator, &b) != -EINVAL)
		return -EUCLEAN;
	if (dm_bm_read_lock(bm, dm_bm_nr_blocks(bm), &node.validator, &b) != -EINVAL)
		return -EUCLEAN;
	if (dm_bm_read_try_lock(bm, dm_bm_nr_blocks(bm) - 1, &node.validator, &b) != -EWOULDBLOCK)
		return -EUCLEAN;
	return 0;
}

static int change(struct dm_block_manager *bm)
{
	int r = check_all(bm);

	r = r ? r : refusals(bm);
	r = r ? r : begin_transaction(bm);
	return r ? r : commit(bm);
}

/* Opens @path for one job, which gets nothing that an earlier job cached. */
static int with_manager(const char *path, unsigned flags, int (*job)(struct dm_block_manager *))
{
	struct block_device *bdev = dm_bufio_bdev_open(path, flags);
	struct dm_block_manager *bm;
	int r;

	if (IS_ERR(bdev))
		return PTR_ERR(bdev);
	bm = dm_block_manager_create(bdev, PD_BLOCK_SIZE, MAX_HELD);
	r = IS_ERR(bm) ? PTR_ERR(bm) : job(bm);
	if (!IS_ERR(bm))
		dm_block_manager_destroy(bm);
	dm_bufio_bdev_put(bdev);
	return r;
}

int main(int argc, char **argv)
{
	int r;

	if (argc != 2)
		return 2;
	r = with_manager(argv[1], BUFIO_OPEN_WRITE, change);
	r = r ? r : with_manager(argv[1], 0, check_all);
	if (r)
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
	return r != 0;
}
