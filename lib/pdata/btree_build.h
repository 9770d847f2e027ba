/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Building btrees bottom-up, from entries in key order: full nodes, one behind the other on the device, each written
 * once. Trees that are there already can be taken in whole, and are shared then.
 *
 * As the kernel wants it, all leaves lie equally deep, and no node but a root has less than a third of its entries.
 */
#ifndef PDATA_BTREE_BUILD_H
#define PDATA_BTREE_BUILD_H

#include "pdata/btree.h"
#include "pdata/ref_counts.h"

/*
 * Where blocks go: counterpart of struct pd_reader. Blocks are taken one after the other, and counted: one reference for
 * each pointer that was written. A block whose count is 0 in the end is free.
 */
struct pd_writer {
	struct bufio_client *client;
	uint64_t next;           /* block to be taken */
	uint64_t nr_blocks;      /* there are no more */
	struct pd_counts counts; /* of all of them */
	/*
	 * There were blocks before: those with a count are passed over, and those of a bit in @kept, which may be NULL. The
	 * counts have all blocks in their window then.
	 */
	bool is_inhabited;
	const uint64_t *kept;
};

/* Takes the next block without a hold. -ENOSPC: there is none. */
int pd_take_number(struct pd_writer *w, uint64_t *block);

/*
 * Holds the next block, all zeroes, for it to be filled and given to pd_write().
 * Errors: -ENOSPC  nr_blocks are taken; those of bufio_new()
 */
int pd_take(struct pd_writer *w, void **data, struct bufio_buffer **b);

/* Seals a held block that was filled, and gives up the hold. */
int pd_write(struct bufio_buffer *b, enum pd_kind kind);

/* A reference to @block was written. */
int pd_refer(struct pd_writer *w, uint64_t block);

/* A finished tree. Nobody has counted a reference to its root yet. */
struct pd_tree {
	uint64_t root, first_key;
	unsigned height; /* 0: the root is a leaf */
	unsigned nr;     /* entries of the root */
};

/* Of a node that waits to become full: so many that what is left behind a full one still makes another. */
#define PD_PENDING_ENTRIES 448
#define PD_PENDING_BYTES 4032

struct pd_pending {
	unsigned nr, max, min;
	uint32_t value_size;
	uint64_t keys[PD_PENDING_ENTRIES];
	uint8_t values[PD_PENDING_BYTES];
};

/*
 * A tree that is being built. Level 0 are the leaves. Too large for a stack.
 *
 *	pd_build_open(&b, writer, 8);
 *	while (...)
 *		r = pd_build_add(&b, key, value);
 *	r = pd_build_finish(&b, &tree);
 */
struct pd_build {
	struct pd_writer *w;
	/*
	 * NULL, or told of each leaf that was written (@more), or that nothing leads to any more. Returns 0 or -errno.
	 */
	int (*leaf)(void *context, const struct pd_node *leaf, bool more);
	void *context;
	bool has_sole;
	struct pd_tree sole; /* all that was added so far is this tree */
	struct pd_pending levels[PD_MAX_DEPTH];
};

void pd_build_open(struct pd_build *b, struct pd_writer *w, uint32_t value_size);

/* Keys rise; @value has value_size bytes, as on disk. Returns 0 or -errno of the world. */
int pd_build_add(struct pd_build *b, uint64_t key, const void *value);

/*
 * Adds all entries of @tree, which has the same value size, and whose keys are above all that were added: as few of its
 * nodes as possible are written again. A tree that nothing else is added to comes out as it went in.
 */
int pd_build_add_tree(struct pd_build *b, const struct pd_tree *tree);

int pd_build_finish(struct pd_build *b, struct pd_tree *tree);

/* The same, and a reference to the root, which the caller will write, is counted. */
int pd_build_finish_root(struct pd_build *b, uint64_t *root);

/* One pointer less to @block, a node at @height: without any it is free, and its children have one less. */
int pd_build_drop(struct pd_build *b, uint64_t block, unsigned height);

#endif
