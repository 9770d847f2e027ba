/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mappings backwards: which devices map given data blocks, and how often these are mapped in all.
 *
 * All trees are walked once, if what is found fits in the memory that may be used for it; else once for each window,
 * whose size follows from what is found.
 */
#ifndef META_THIN_RMAP_H
#define META_THIN_RMAP_H

#include "base/range_set.h"
#include "meta/thin.h"
#include "meta/thin_disk.h"

/* Neighbouring mappings of a device. */
struct thin_rmap_run {
	uint64_t data; /* first: they are sorted by it */
	uint64_t virtual_begin, dev_id;
	uint64_t length : 40, time : THIN_TIME_BITS; /* time of the first */
};

/* From block @at on there are so many mappings more than before. */
struct thin_rmap_step {
	uint64_t at; /* first, as above */
	uint64_t by; /* modulo 2^64: a fall is a large number */
};

/* Data blocks that are mapped equally often: entries in leaves, where a leaf counts once, however many share it. */
struct thin_rmap_count {
	uint64_t begin, end, found;
};

struct thin_rmap_args {
	const struct range_set *wanted; /* settled */
	uint64_t only_device;  /* PROBLEM_NO_DEVICE: all */
	bool split_times;      /* a run has one time */
	bool count;            /* the metadata snapshot's mappings too; for a live pool and all devices */
	uint64_t memory;       /* bytes for what is found, at least THIN_RMAP_MIN_MEMORY */
	struct pd_memo *memo;  /* or NULL: subtrees that have nothing are walked again for everyone who shares them */
};

#define THIN_RMAP_MIN_MEMORY 65536

struct thin_rmap {
	struct thin_rmap_args args;
	struct thin_pool pool, held;
	struct range hull;      /* of what is wanted */
	bool has_held, was_walked;
	uint64_t holes;         /* nodes that could not be used: there may be more mappings than were found */
	struct thin_rmap_run run; /* put together just now; length 0: none */
	struct range counted;     /* the same of what is counted */
	struct {
		struct thin_rmap_run *found;
		size_t nr, room;
		struct thin_rmap_run begin, end; /* the window; by data, dev_id, virtual_begin */
		bool has_end, is_wanted;
	} runs;
	struct {
		struct thin_rmap_step *found;
		size_t nr, room, next;
		struct range window;
		bool is_wanted;
	} steps;
	void *spare;            /* for sorting */
	uint8_t *leaves;        /* a bit for each block: was counted */
	size_t next_range;
	uint64_t next_block, nr_mapped; /* of thin_rmap_next_count() */
};

/* Bytes beside args.memory. */
uint64_t thin_rmap_bitmap_bytes(const struct thin_pool *pool);

/* Damage is told to the pool's sink, once. 0 or -errno; closed in any case. */
int thin_rmap_open(struct thin_rmap *r, const struct thin_pool *pool, const struct thin_rmap_args *args);

/* 1: the next *@nr runs, by data, then device, then virtual block; 0: that was all; -errno. */
int thin_rmap_next_runs(struct thin_rmap *r, const struct thin_rmap_run **runs, size_t *nr);

/* After all runs. 1: the next wanted blocks, in order, none left out; neighbours may be equal. 0: the end; -errno. */
int thin_rmap_next_count(struct thin_rmap *r, struct thin_rmap_count *count);

void thin_rmap_close(struct thin_rmap *r);

#endif
