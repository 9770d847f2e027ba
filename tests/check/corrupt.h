/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random corruptions of healthy pools: what is known of a healthy image (world.c), and what must be said when one thing
 * in it is changed (rows.c). Both are made from what the format says, and know nothing of how a pool is checked.
 */
#ifndef CORRUPT_H
#define CORRUPT_H

#include "meta/thin_disk.h"
#include "meta/thin_survey.h"
#include "tests/fuzz/mutate.h"

/* --- a healthy image --- */

/* Of a block that something leads to. */
struct facts {
	bool is_seen;
	bool is_live;              /* the pool stands on it, not its metadata snapshot alone */
	uint64_t begin, end;       /* a node: keys that all its parents let it have */
	uint64_t lowest, highest;  /* that are in it or below it; lowest > highest: none */
	uint64_t first;            /* a bitmap: whose count it has first */
};

struct space {
	uint64_t nr;       /* blocks */
	uint32_t *counts;  /* references that there are, whatever the space map says */
	uint64_t used;     /* blocks that have a count in the space map */
	uint64_t used_end; /* the last of them is before it */
};

enum { POOL, HELD, NR_POOLS };

struct world {
	const char *name;
	uint8_t *image;
	size_t size;
	uint64_t nr_blocks;    /* of the device */
	uint8_t *roles;        /* of the survey */
	struct facts *facts;
	struct thin_superblock sb[NR_POOLS];
	uint32_t newest[NR_POOLS]; /* time of a mapping or device */
	struct space data, metadata;
	bool in_held;          /* while it is walked */
};

/* Exits if @path is no healthy pool. */
void world_open(struct world *w, const char *path);
void world_close(struct world *w);

static inline uint8_t *block_at(const struct world *w, uint64_t block)
{
	return w->image + block * PD_BLOCK_SIZE;
}

static inline enum thin_role role_of(const struct world *w, uint64_t block)
{
	return w->roles[block] & SURVEY_ROLE;
}

/* A node that is known to be good. */
struct node {
	bool is_leaf;
	unsigned nr, max, value_size;
	const uint8_t *keys, *values;
};

struct node node_at(const struct world *w, uint64_t block);

static inline uint64_t node_key(const struct node *n, unsigned i)
{
	return le_load(n->keys + 8 * (size_t)i, 8);
}

static inline uint64_t node_child(const struct node *n, unsigned i)
{
	return le_load(n->values + 8 * (size_t)i, 8);
}

/* Entry @i of a bitmap. */
unsigned bitmap_count(const uint8_t *bitmap, unsigned i);

/* The entries of the bitmap at @block that stand for blocks of @s. */
unsigned bitmap_length(const struct world *w, const struct space *s, uint64_t block);

/* --- a change --- */

struct change {
	const struct rule *rule;
	uint64_t block;
	uint64_t other;        /* that it was swapped with; or NO_OTHER */
	unsigned entry;        /* of keys, values, counts: which one */
	unsigned offset;       /* in the block */
	uint64_t old, new;
};

#define NO_OTHER UINT64_MAX

/* Where a field lies. */
enum place {
	AT,             /* at its offset */
	SPAN,           /* eight bytes anywhere in so many from its offset on */
	KEY,            /* of an entry of a node */
	VALUE,          /* the same; the offset is that in the value */
	SPARE_KEY,      /* behind the last entry */
	SPARE_VALUE,
	USED_COUNT,     /* in a bitmap */
	FREE_COUNT,
	TAIL_COUNT,     /* behind the last block */
	INDEX_ENTRY,    /* of metadata; the offset is that in the entry */
	INDEX_SPARE,    /* behind the last bitmap */
	RAW,            /* any bytes, and nothing is made right again */
};

enum shape { ANY, LEAF, INTERNAL };

/* What is right again behind the change. */
enum seal {
	SEAL_ALL,
	SEAL_CHECKSUM, /* and not the block's number, which is what was changed */
	SEAL_NOTHING,
};

enum expectation {
	MUST_BE_FOUND,   /* with at least this severity, and one of these names */
	CANNOT_BE_KNOWN, /* anything up to this severity may be said */
	FREE_BLOCK,      /* nothing may be said */
	NR_EXPECTATIONS
};

#define MAX_NAMES 5
#define MAX_ROWS 8

struct row {
	bool (*when)(const struct world *w, const struct change *c); /* NULL: always */
	enum expectation expect;
	enum problem_severity severity;
	bool names_block; /* the damaged block itself is named */
	const char *why;  /* it cannot be known */
	const char *names[MAX_NAMES];
};

struct rule {
	const char *name;
	unsigned roles; /* a bit for each */
	enum shape shape;
	enum place place;
	unsigned offset, bytes;
	unsigned shift, bits; /* of these bytes; no bits: all of them */
	unsigned span;
	enum seal seal;
	struct row rows[MAX_ROWS]; /* the first one whose condition holds */
};

extern const struct rule rules[];
extern const unsigned nr_rules;

const struct row *row_of(const struct world *w, const struct change *c);

#endif
