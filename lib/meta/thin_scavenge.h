/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Older generations of a pool. A block that is changed is written elsewhere, so the trees of earlier transactions stay
 * on the device until their blocks are used again: whole at first, then with more and more holes.
 *
 * The scan needs no superblock and reads every block once, on all cores; then nodes with children are read again, level
 * by level from the leaves up, and what is below each node is counted once, however many trees share it. That is
 *	time    O(blocks of the device + entries of nodes with children * levels), at most 32 levels
 *	memory  20 bytes a block, 48 for each node of a top level or of the device details, 80 for each generation,
 *	        12 for each tree that nothing leads to
 * Keys of 2^32 and above, which no device of a sensible size has, are not looked at.
 *
 * A pointer of an old node may lead to a block that a newer tree uses by now. It is a hole where kind or keys do not
 * fit, but they may. So no generation is called complete because it has no holes: each device must also have as many
 * mappings as details of the same age say, and no mapping may be younger than they are. Else it is doubtful.
 */
#ifndef META_THIN_SCAVENGE_H
#define META_THIN_SCAVENGE_H

#include <stddef.h>

#include "meta/thin.h"

/* What says that these roots belong together. */
enum thin_source {
	SOURCE_CURRENT,    /* block 0, damaged or not */
	SOURCE_SNAPSHOT,   /* the metadata snapshot that the superblock names */
	SOURCE_SUPERBLOCK, /* another copy of a superblock: a metadata snapshot that was given up */
	SOURCE_ORPHAN,     /* nothing: a top level that nothing leads to, and the details that fit best */
	NR_THIN_SOURCES
};

/* How well details and top level agree. */
enum thin_fit {
	FIT_EXACT,   /* the same devices, and of each as many mappings */
	FIT_DEVICES, /* the same devices */
	FIT_POOR,    /* other devices: only where a superblock says that they belong together */
	FIT_NONE,    /* there are no details */
	NR_THIN_FITS
};

enum thin_state {
	STATE_COMPLETE,
	STATE_DOUBTFUL, /* no holes, but see above */
	STATE_HOLES,
	STATE_LOST, /* the top level itself cannot be used */
	NR_THIN_STATES
};

/* "metadata snapshot" ... */
const char *thin_source_name(enum thin_source source);
const char *thin_fit_name(enum thin_fit fit);
const char *thin_state_name(enum thin_state state);
const char *thin_state_phrase(enum thin_state state); /* as a sentence has it: "with holes" */

struct thin_generation {
	uint64_t root;       /* of the top level */
	uint64_t details;    /* or PROBLEM_NO_BLOCK */
	uint64_t superblock; /* that names them, or PROBLEM_NO_BLOCK */
	enum thin_source source;
	enum thin_fit fit;
	enum thin_state state;
	bool is_exact;        /* transaction and time are a good superblock's; else they are at least these */
	bool has_beyond;      /* mappings lie beyond the data device */
	uint64_t transaction; /* or RECORD_UNKNOWN */
	uint32_t time;
	uint32_t data_block_size; /* of the superblock; 0: unknown */
	uint32_t devices, complete_devices;
	uint64_t mappings; /* that can be reached */
	uint64_t distance; /* orders those of equal time and transaction: more is older */
	uint64_t holes;    /* nodes that were overwritten or cannot be read; a range of keys is lost with each */
};

/* A device's tree that belongs to no generation, or a piece of one. */
struct thin_tree {
	uint64_t block;
	uint64_t dev_id;      /* by details that say as many mappings; or PROBLEM_NO_DEVICE: none, or several */
	uint64_t first, last; /* virtual blocks */
	uint64_t mappings, holes;
	uint32_t time; /* the highest of a mapping */
	bool is_leaf;  /* a single node */
};

/* What is below the root of a device's tree. */
struct thin_below {
	uint64_t mappings, holes;
	uint32_t time;
	bool has_beyond; /* mappings beyond the data device */
};

struct thin_scavenge;

struct thin_scavenge_args {
	const struct thin_pool *pool; /* client, bounds, and what block 0 says unless it is lost */
	/* Asked before memory is taken that grows with the device, by any thread. NULL: there is enough. */
	bool (*take_memory)(void *context, uint64_t bytes);
	void *context;
	/* Or NULL: told, by any thread, of blocks that are neither metadata nor zeroes. */
	void (*suspect)(void *context, uint64_t block, const void *data);
};

/*
 * Scans the device. Unreadable and damaged blocks are holes; nothing is reported. Returns 0 or -errno; after -ENOMEM
 * *@needed is what take_memory() would have had to give in all, roughly.
 */
int thin_scavenge_create(const struct thin_scavenge_args *args, struct thin_scavenge **s, uint64_t *needed);
void thin_scavenge_destroy(struct thin_scavenge *s); /* NULL is allowed */

/* Metadata blocks of any kind: 0 means that this is no metadata. */
uint64_t thin_scavenge_nr_metadata(const struct thin_scavenge *s);
uint64_t thin_scavenge_nr_unreadable(const struct thin_scavenge *s);

/*
 * The current one first, then the newest first: by time and transaction; where these are equal, by place, as the kernel
 * takes one free block after the other, and begins again at the device's end.
 */
size_t thin_scavenge_nr_generations(const struct thin_scavenge *s);
const struct thin_generation *thin_scavenge_generation(const struct thin_scavenge *s, size_t i);

/*
 * The one to go on with where the current one is damaged: complete before doubtful before one with holes, then the
 * newest; but an older one only if it does not have fewer mappings. NULL: there is none that leads to anything.
 */
const struct thin_generation *thin_scavenge_best(const struct thin_scavenge *s);

/* That a superblock on the device says, in sectors; 0: none does. */
uint32_t thin_scavenge_data_block_size(const struct thin_scavenge *s);

/* The details that have exactly the devices and mappings of the top level at @root; PROBLEM_NO_BLOCK: none have. */
uint64_t thin_scavenge_details(const struct thin_scavenge *s, uint64_t root);

/*
 * Details that no top level goes with, and that are newer than those of @g, by time, transaction and mappings: the newest,
 * or PROBLEM_NO_BLOCK. @g may be NULL: any.
 */
uint64_t thin_scavenge_newer_details(const struct thin_scavenge *s, const struct thin_generation *g);

/* A generation that has these details and no top level. */
void thin_scavenge_details_alone(const struct thin_scavenge *s, uint64_t details, struct thin_generation *g);

/* The largest first. */
size_t thin_scavenge_nr_trees(const struct thin_scavenge *s);
void thin_scavenge_tree(const struct thin_scavenge *s, size_t i, struct thin_tree *tree);

/* False: there is no device's tree at @root. */
bool thin_scavenge_below(const struct thin_scavenge *s, uint64_t root, struct thin_below *below);

#endif
