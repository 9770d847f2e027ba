/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the scan leaves behind, for who makes generations of it. */
#ifndef META_THIN_SCAVENGE_INT_H
#define META_THIN_SCAVENGE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "meta/thin_scavenge.h"

enum node_kind {
	NODE_NONE, /* nothing of a tree */
	NODE_ZEROES,
	NODE_SUPERBLOCK,
	NODE_EMPTY,    /* a leaf that may be a device's or the top level's */
	NODE_MAPPINGS,
	NODE_TOP,
	NODE_DETAILS,
	NODE_OTHER,    /* of a space map's tree */
	NODE_BITMAP,   /* of a space map */
	NODE_UNDECIDED, /* has children: they say what it is */
	NODE_MAYBE_TOP, /* a leaf in which all values are numbers of blocks */
	NR_NODE_KINDS
};

#define NODE_KIND 0x1F
#define NODE_NAMED 0x40      /* by a superblock, as a top level */
#define NODE_REFERENCED 0x80 /* by a node of its own tree, or as a device's root */

#define FLAG_BEYOND 1u /* mappings beyond the data device below */
#define FLAG_UNEVEN 2u /* leaves at different depths below: not all are of one time */

struct node {
	uint32_t first, last; /* keys below */
	uint32_t count;       /* mappings below; NODE_TOP and NODE_DETAILS: number of the summary */
	uint32_t time : 24, flags : 8;
	uint16_t holes; /* no more than fit */
	_Atomic uint8_t kind;
	_Atomic uint8_t level; /* 1: a leaf; 0: not known yet. All else is valid once this is not 0 */
};

/* What is below a node of a top level or of the details. Sums over devices, so that equal ones are equal. */
struct summary {
	uint64_t ids;      /* of what devices there are */
	uint64_t contents; /* and of how many mappings each has */
	uint64_t mappings;
	uint64_t transaction; /* NODE_DETAILS: the highest */
	uint32_t devices, complete_devices;
	uint32_t holes;
	uint32_t time;
};

#define NR_CHUNKS 20
#define FIRST_CHUNK 256

struct details_root;

struct tree_entry {
	uint32_t block, mappings, dev_id;
};

#define DEV_UNKNOWN UINT32_MAX
#define DEV_SEVERAL (UINT32_MAX - 1)

struct thin_scavenge {
	struct thin_scavenge_args args;
	struct bufio_client *client;
	uint64_t nr_data_blocks;
	struct node *nodes;
	uint64_t nr; /* of them: blocks of the device */
	uint64_t taken, wanted; /* bytes */
	/* Summaries never move while threads add to them. */
	pthread_mutex_t lock;
	struct summary *chunks[NR_CHUNKS];
	uint32_t nr_summaries;
	/* The scan. */
	_Atomic uint64_t nr_metadata, nr_unreadable;
	_Atomic uint32_t highest; /* block of metadata */
	_Atomic uint32_t time;    /* the highest in superblocks and details */
	uint64_t cursor;       /* of the blocks that are read again */
	unsigned level;        /* that is being decided */
	_Atomic uint64_t progress;
	uint64_t stuck;        /* a node that waits for nodes that wait for it, and what speaks for it */
	/* The result. */
	struct thin_generation *generations;
	size_t nr_generations;
	struct tree_entry *trees;
	size_t nr_trees;
	struct details_root *details;
	size_t nr_details;
};

/* What a node has, after its block was given back. */
struct node_entries {
	unsigned nr;
	bool is_leaf;
	uint64_t keys[PD_BLOCK_SIZE / 16], values[PD_BLOCK_SIZE / 16]; /* or pointers to children */
};

/* 1: a sound node with values of 64 bits; 0: none; -errno. */
int scavenge_read_node(const struct pd_reader *reader, uint64_t block, struct node_entries *entries);

/* Of both: the same key with the same value. */
unsigned scavenge_count_common(const struct node_entries *a, const struct node_entries *b);

static inline enum node_kind node_kind(const struct node *n)
{
	return atomic_load_explicit(&n->kind, memory_order_relaxed) & NODE_KIND;
}

static inline bool node_has(const struct node *n, uint8_t flag)
{
	return atomic_load_explicit(&n->kind, memory_order_relaxed) & flag;
}

struct summary *scavenge_summary(const struct thin_scavenge *s, uint32_t i);

/* Zeroed, after asking for it. NULL: refused, or there is none. */
void *scavenge_alloc(struct thin_scavenge *s, uint64_t nr, uint64_t size);

/* The copy of a superblock at @block. False: there is none. */
bool scavenge_superblock(const struct thin_scavenge *s, uint64_t block, struct thin_superblock *sb);

/* bufio_scan() of the blocks that @next gives; NULL: of all. s->cursor is @next's, 0 at first. */
int scavenge_scan(struct thin_scavenge *s, bool (*next)(void *, uint64_t *, uint64_t *),
		  int (*block)(void *, uint64_t, const void *, int), unsigned threads);

/* thin_scavenge.c calls this last. */
int scavenge_generations(struct thin_scavenge *s);

#endif
