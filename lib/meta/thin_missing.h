/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What damage has cut off: blocks of metadata to which fewer pointers lead than their reference counts say.
 *
 * The metadata space map knows what was in use at the last commit. A node that it counts, and to which nothing leads, was
 * below a node that is dead; an older version of the same node has no count any more. So this tells what belongs to the
 * pool from what only looks like it.
 *
 * Trees are walked by their pointers, each node once however many share it, with what the scan has learned of them: only
 * nodes with children are read.
 */
#ifndef META_THIN_MISSING_H
#define META_THIN_MISSING_H

#include "meta/thin_scavenge.h"

/* A pointer: in a node, or a device's root. */
struct thin_place {
	uint64_t parent; /* PROBLEM_NO_BLOCK: no node */
	unsigned index;  /* entry of the parent */
	uint64_t block;  /* where it leads; PROBLEM_NO_BLOCK: that is not known */
	uint64_t begin, end; /* keys that may be below */
	unsigned height;     /* levels down to the leaves, these included, at the most; 0: any, as of a root */
	size_t device;       /* of the caller's; the first one that came here */
};

struct thin_missing;

enum thin_tree_kind { TREE_OF_MAPPINGS, TREE_OF_DEVICES, TREE_OF_DETAILS };

struct thin_missing_walk {
	struct thin_missing *m;
	enum thin_tree_kind tree;
	/* What cannot be used there. Returns 0 or -errno. */
	int (*hole)(void *context, const struct thin_place *place);
	/* Of a tree of devices: each device, with its root, which is not followed. NULL: of no interest. */
	int (*device)(void *context, uint64_t dev_id, uint64_t root);
	void (*node)(void *context, uint64_t block); /* NULL, or told of each node that can be used, the first time */
	void *context;
};

/*
 * Reads the space map of block 0, as far as it can be; not without @has_counts, as where older trees are to be walked: then
 * no count is known. @s has scanned @pool. Returns 0, -errno, or -ENOMEM if the scan's memory is used up.
 */
int thin_missing_create(struct thin_scavenge *s, const struct thin_pool *pool, bool has_counts, struct thin_missing **m);
void thin_missing_destroy(struct thin_missing *m); /* NULL is allowed */

/* Follows a pointer, and all below that were not followed before. Returns 0 or -errno. */
int thin_missing_follow(const struct thin_missing_walk *walk, const struct thin_place *place);

/*
 * Where the space map's index is lost its bitmaps are still there, and older ones. Once the trees have been followed: one
 * that counts all that was found, and itself, is taken. Returns 0 or -errno.
 */
int thin_missing_guess(struct thin_missing *m);

/* Whether nothing is known of the count of @block. */
bool thin_missing_is_unknown(const struct thin_missing *m, uint64_t block);

/* Pointers to @block that were not found. Where the count is not known 1 if none was found, else 0. */
unsigned thin_missing_of(const struct thin_missing *m, uint64_t block);

/* Pointers that were found. */
unsigned thin_missing_found(const struct thin_missing *m, uint64_t block);

/* Something leads there, whatever it is. */
void thin_missing_note(struct thin_missing *m, uint64_t block);

#endif
