/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Btrees: decoding a node, and walking a tree in key order.
 *
 * Whatever the bytes are, a walk ends: a child's keys must lie between its parent's keys, so at each level a node that
 * has keys is visited once, and there are at most PD_MAX_DEPTH levels; one that has none, or is damaged, has nothing
 * below it and is visited once for each pointer to it. A node that cannot be trusted is reported with the keys that it
 * would have covered, skipped, and the walk goes on behind it.
 */
#ifndef PDATA_BTREE_H
#define PDATA_BTREE_H

#include <stdbool.h>

#include "pdata/block.h"

/* 84 children at the least, and keys of 64 bits: 11 levels are the most a kernel can make. */
#define PD_MAX_DEPTH 16

/* A node whose bounds were checked. Points into the block. */
struct pd_node {
	uint64_t block;
	bool is_leaf;
	unsigned nr;
	uint32_t value_size;
	const uint8_t *keys, *values;
};

static inline uint64_t pd_key(const struct pd_node *n, unsigned i)
{
	return le_load(n->keys + 8 * (size_t)i, 8);
}

static inline const uint8_t *pd_value(const struct pd_node *n, unsigned i)
{
	return n->values + (size_t)n->value_size * i;
}

static inline uint64_t pd_value64(const struct pd_node *n, unsigned i)
{
	return le_load(pd_value(n, i), 8);
}

/* Entries that fit into a node with values of so many bytes: a multiple of 3, as the kernel wants it. */
unsigned pd_max_entries(uint32_t value_size);

/*
 * Decodes a node. @value_size is that of the tree's leaves, 0 = take what the node says (if it is possible).
 * True on success; else *@p holds code, expected and found of the first thing that is wrong.
 */
bool pd_node_decode(const void *data, uint64_t block, uint32_t value_size, struct pd_node *node, struct problem *p);

/* max_entries, as the node says. */
unsigned pd_room(const struct pd_node *n);

/* Fewer entries than the kernel leaves in a node that is not a root, but for old ones. */
bool pd_is_underfull(const struct pd_node *n);

/*
 * For walks that visit shared subtrees once: what is below each block, and its lowest and highest key, which must lie
 * between those of every parent. Keys of more than 46 bits, as those of no device are, are not remembered. What has
 * damage below it is visited again for everyone who shares it, until retell is used up; from then on it counts as a
 * hole, without a report.
 */
#define PD_MEMO_KEY_BITS 46

struct pd_memo {
	struct pd_memo_entry {
		uint64_t first : PD_MEMO_KEY_BITS;
		uint64_t height : 4; /* levels from here to the leaves, 1: is a leaf; 0: not known */
		uint64_t is_seen : 1;
		uint64_t is_damaged : 1;
		uint64_t count_high : 12;
		uint64_t last : PD_MEMO_KEY_BITS;
		uint64_t count_low : 18; /* 30 bits in all: there are not so many blocks that they could hold more */
	} *entries;
	uint64_t nr;     /* blocks */
	uint64_t *accepted; /* or NULL: a bit for each node that was good where a cursor came to it */
	/*
	 * Or NULL: a bit for each page of entries that is in use. Then entries is memory that costs nothing before it is
	 * used, and no more than max_pages are: what has no room is not remembered, and is visited by everyone.
	 */
	_Atomic uint64_t *pages;
	_Atomic uint64_t nr_pages;
	uint64_t max_pages;
	uint64_t retell; /* damaged nodes that may be visited again, for those who share them to be told */
};

/* Entries in the leaf or below the node. */
static inline uint64_t pd_memo_count(const struct pd_memo_entry *e)
{
	return (uint64_t)e->count_high << 18 | e->count_low;
}

#define PD_MEMO_PAGE 256 /* entries */

/* What is known of a block that has an entry, unless there are keys that cannot be remembered, or there is no room. */
void pd_memo_set(struct pd_memo *memo, uint64_t block, uint64_t first, uint64_t last, uint64_t count, unsigned height,
		 bool is_damaged);

struct pd_level {
	struct bufio_buffer *buffer;
	struct pd_node node;
	unsigned next;       /* child to visit */
	unsigned ahead;      /* children before this one were asked for in advance */
	uint64_t begin, end; /* keys that this node may have */
	uint64_t entries, holes, flaws, uneven, revisits; /* the cursor's, when this node was entered */
};

/*
 * A place in a tree, moving in key order.
 *
 *	struct pd_cursor c;
 *	pd_cursor_open(&c, reader, &ctx, root, 8);
 *	while ((r = pd_cursor_next(&c, &leaf)) > 0)
 *		...pd_key(leaf, i), pd_value64(leaf, i)...
 *	pd_cursor_close(&c);
 *
 * Holds at most PD_MAX_DEPTH + 1 buffers. Children are prefetched, as far as the memory limit allows.
 */
struct pd_cursor {
	const struct pd_reader *reader;
	struct pd_context ctx; /* begin..end follow the place */
	uint32_t value_size;
	struct pd_memo *memo; /* NULL: visit shared subtrees again */
	/*
	 * NULL, or asked before the node at @block is entered, and with @ahead before it is prefetched; true: it is passed
	 * over. ctx.begin..end (not with @ahead), path and depth say where.
	 */
	bool (*skip)(struct pd_cursor *c, uint64_t block, bool ahead);
	void *context; /* the caller's */
	uint64_t root;
	unsigned read_ahead; /* children */
	bool stops_at_holes; /* the caller sets it, behind open */
	uint64_t ahead_end;  /* those from this key on are not read ahead; UINT64_MAX unless the caller knows better */
	struct pd_level path[PD_MAX_DEPTH];
	unsigned depth;      /* levels of path in use */
	bool started;
	unsigned leaf_depth; /* of the first leaf; 0 before it */
	struct bufio_buffer *leaf_buffer;
	struct pd_node leaf;
	unsigned leaf_next; /* of pd_cursor_next_entry() */
	/* So far: */
	uint64_t entries; /* in leaves, those of skipped shared subtrees included */
	uint64_t last_key; /* of the last entry */
	uint64_t holes;   /* nodes that were skipped as damaged */
	uint64_t flaws;   /* nodes that the caller found fault with */
	uint64_t uneven;  /* leaves that lie at another level than the first */
	uint64_t revisits; /* leaves of pd_cursor_revisit() */
	uint64_t from;     /* of pd_cursor_seek() */
};

/* Reads nothing yet. begin and end of @ctx do not matter: a root may have any keys. */
void pd_cursor_open(struct pd_cursor *c, const struct pd_reader *r, const struct pd_context *ctx, uint64_t root,
		    uint32_t value_size);

/*
 * 1: *@leaf is the next leaf, valid until the next call; 0: the end; -errno. With stops_at_holes also 1 at each node that
 * is skipped as damaged: then *@leaf is NULL, and ctx.begin..end are the keys that are lost with it.
 */
int pd_cursor_next(struct pd_cursor *c, const struct pd_node **leaf);

/*
 * The caller found fault with the leaf it was given, or with the node that its observer is told of: the memo must not hide
 * that from others who share it.
 */
void pd_cursor_flaw(struct pd_cursor *c, const struct pd_node *n);

/* The memo must not keep the leaf that was given, or the way to it, from any of the others who share it. */
void pd_cursor_revisit(struct pd_cursor *c, const struct pd_node *leaf);

/* Passes over what lies before @key, mostly without reading it; never goes back. Not with a memo. */
void pd_cursor_seek(struct pd_cursor *c, uint64_t key);

/* As pd_cursor_next(), entry by entry, also behind a seek. Not to be mixed with it. */
int pd_cursor_next_entry(struct pd_cursor *c, uint64_t *key, const uint8_t **value);

/* Gives up all holds; may be called twice. */
void pd_cursor_close(struct pd_cursor *c);

/* One node on the way from a root to a key. */
struct pd_hop {
	uint64_t block;
	uint64_t begin, end; /* keys that it may have */
	bool is_good;        /* else the rest is zero, and it was reported */
	bool is_leaf;
	unsigned nr, entry;  /* entries, and the one that was taken: the last that is not above the key; nr: none */
	uint64_t key;        /* of that entry */
	uint8_t value[24];
};

struct pd_lookup {
	struct pd_hop hops[PD_MAX_DEPTH + 1];
	unsigned nr;
};

/*
 * The way to @key, whether it is there or not: that is so if the last hop is a leaf and has it.
 * Returns 1; 0 when the last hop cannot be used; -errno.
 */
int pd_lookup(const struct pd_reader *r, const struct pd_context *ctx, uint64_t root, uint32_t value_size, uint64_t key,
	      struct pd_lookup *path);

#endif
