/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walking trees in the order of the disk: nodes level by level, the blocks of each level in rising order, in bulk and on
 * all processors. Each block is read once, however many trees share it.
 *
 * Nothing is judged or reported: sound leaves go into a memo, and what looks odd in any way does not. A pd_cursor with
 * that memo then goes through the trees in key order, reads the nodes above the leaves, which are still in the cache,
 * and no leaf but the odd ones; so what is said of damage is said in one place.
 */
#ifndef PDATA_WALK_DISK_H
#define PDATA_WALK_DISK_H

#include "pdata/btree.h"

struct pd_block_set {
	_Atomic uint64_t *words;
	_Atomic uint64_t nr; /* blocks in it */
};

struct pd_disk_walk {
	const struct pd_reader *reader;
	struct pd_memo *memo; /* of as many blocks as the reader has, at least */
	uint32_t value_size;  /* of leaves */
	/*
	 * Each leaf that can be decoded, once; several threads at once. 1: it is sound, 0: the cursor has to see it, or
	 * -errno, which ends the walk.
	 */
	int (*leaf)(void *context, const struct pd_node *leaf);
	void *context;
	struct pd_block_set reached, next, leaves;
};

/* Bytes that a walk takes besides the memo. */
uint64_t pd_disk_walk_bytes(uint64_t nr_blocks);

/* The caller has filled in all but the sets. 0 or -ENOMEM; to be closed in either case. */
int pd_disk_walk_open(struct pd_disk_walk *w);

/* A root of one of the trees; blocks that are not there are passed over. */
void pd_disk_walk_add(struct pd_disk_walk *w, uint64_t root);

/* Walks everything below the roots. 0 or -errno. */
int pd_disk_walk_run(struct pd_disk_walk *w);

/* Gives all leaves again, in the order of the disk, without a look at their checksums; what w->leaf says of them is not kept. */
int pd_disk_walk_leaves(struct pd_disk_walk *w);

/* Whether the leaf at @block is one of those that were given. */
bool pd_disk_walk_has_leaf(const struct pd_disk_walk *w, uint64_t block);

/*
 * Takes leaves back that are not in @accepted, a bit for each block: gives them to @drop, by one thread, and they are no
 * leaves any more. 0 or -errno.
 */
int pd_disk_walk_drop(struct pd_disk_walk *w, const uint64_t *accepted,
		      int (*drop)(void *context, const struct pd_node *leaf));

void pd_disk_walk_close(struct pd_disk_walk *w);

#endif
