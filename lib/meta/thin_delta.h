/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two mapping trees compared in key order: of one pool, of a pool and its metadata snapshot, or of two images.
 * What lies behind a node that cannot be used, on either side, is unknown: it is never called the same, or missing.
 */
#ifndef META_THIN_DELTA_H
#define META_THIN_DELTA_H

#include "meta/thin.h"

enum thin_delta_kind {
	DELTA_SAME,
	DELTA_DIFFERENT,  /* mapped on both sides, to different data blocks */
	DELTA_TIME,       /* to the same data block, at different times */
	DELTA_LEFT_ONLY,
	DELTA_RIGHT_ONLY,
	DELTA_UNKNOWN,    /* lost on one side at least */
	NR_DELTA_KINDS
};

bool thin_delta_has_left(enum thin_delta_kind kind);
bool thin_delta_has_right(enum thin_delta_kind kind);

/* A mapping's value of the first block of a range; there is none where the side is not mapped. */
struct thin_delta_value {
	uint64_t data;
	uint32_t time;
};

struct thin_delta_range {
	enum thin_delta_kind kind;
	uint64_t begin, end; /* virtual blocks; end is not included, and UINT64_MAX where nobody knows it */
	struct thin_delta_value left, right;
};

struct thin_delta_side {
	struct thin_pool *pool;
	uint64_t dev_id; /* PROBLEM_NO_DEVICE: the tree is nobody's */
	uint64_t root;
};

struct thin_delta {
	struct thin_delta_side left, right;
	bool by_data;   /* a range ends where its data blocks stop being consecutive */
	bool by_time;   /* times count: else DELTA_TIME is the same, and does not end a range */
	bool skip_same; /* only differences are wanted */
	/* One range, in order; 0, or what ends the comparison. */
	int (*range)(struct thin_delta *delta, const struct thin_delta_range *range);
};

/* Damage is reported to each side's own sink. Holds 2 (PD_MAX_DEPTH + 1) buffers. 0, -errno, or what range() returned. */
int thin_delta(struct thin_delta *delta);

enum { THIN_LEFT, THIN_RIGHT };

/* The devices of two pools, in order of their ids. */
struct thin_pairs {
	struct thin_devices walk[2];
	struct thin_device next[2]; /* read ahead, if has[] */
	bool has[2];
};

void thin_pairs_open(struct thin_pairs *p, struct thin_pool *left, struct thin_pool *right);
/* 1: the next device, until the next call; devices[] of a side that does not have it is NULL. 0: the end; -errno. */
int thin_pairs_next(struct thin_pairs *p, const struct thin_device *devices[2]);
void thin_pairs_close(struct thin_pairs *p);

/* Whether a device that was not found on @side may be there, behind damage. */
bool thin_pairs_may_hide(const struct thin_pairs *p, unsigned side);

#endif
