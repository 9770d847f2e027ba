/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much memory a cache needs: the part of the accesses that hit, by memory limit. Once for a cache that throws out
 * what was used least recently, for every size from one pass (stack_distance.h), and once as libbufio does it, replayed
 * at some limits (bench_policy.h).
 */
#ifndef OPS_BENCH_CURVE_H
#define OPS_BENCH_CURVE_H

#include "ops/bench_policy.h"

struct bench_curve_args {
	struct bench_accesses accesses;
	unsigned block_size;    /* of the cache, by which limits count */
	const uint64_t *limits; /* bytes, @nr_limits of them, rising; without: twelve, up to where all blocks fit */
	size_t nr_limits;
	const volatile sig_atomic_t *stop; /* not 0: come to an end; or NULL */
};

struct bench_curve_point {
	uint64_t limit;     /* bytes */
	uint64_t buffers;   /* blocks that are in it at once */
	double lru_hits;    /* of the counted accesses, 0 to 1 */
	double policy_hits; /* NAN: was not replayed, as stopped or more than BENCH_POLICY_MAX */
};

/* The least limit for so many hits. It was replayed: @policy_hits came out, and 2 % less memory gave less. */
struct bench_curve_size {
	double hits;  /* that are asked for: 0.9, 0.95, 0.99 */
	bool is_found; /* else there is none, as too much was used for the first time; or stopped */
	uint64_t limit, buffers;
	double policy_hits;
};

#define BENCH_CURVE_SIZES 3

struct bench_curve {
	struct bench_curve_point *points;
	size_t nr_points;
	struct bench_curve_size sizes[BENCH_CURVE_SIZES];
	uint64_t footprint; /* different blocks, of the warm-up too; about, unless @lru_rate is 1 */
	double lru_rate;    /* the part of the blocks that the LRU curve was made from: 1 is exact */
	bool is_partial;    /* stopped */
};

/*
 * Takes about thirty passes over the accesses, 0.1 to 1 us each. Stopping is no error: the curve has what was done.
 * Owner:  the caller frees the result; on failure there is none.
 * Errors: -EINVAL a block that no device has, a block size that no client has, or a warm-up of more than all; -ENOMEM
 */
int bench_curve_make(const struct bench_curve_args *args, struct bench_curve *curve);
void bench_curve_free(struct bench_curve *curve);

#endif
