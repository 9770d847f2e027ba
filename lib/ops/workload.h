/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which block comes next: the access patterns of bench, as numbers alone. No I/O.
 *
 * The same description, seed and number of threads give the same accesses in every run; on another machine too, but for
 * what depends on the last bit of exp() and log() there.
 *
 *	struct workload w = { .pattern = WORKLOAD_ZIPF, .blocks = 1000000, .read_percent = 100 };
 *	const char *wrong = workload_settle(&w);
 *	struct workload_source *s = wrong ? NULL : workload_open(&w, 0, 1);
 *	struct workload_access a = workload_next(s);
 *
 * An access takes about 5 ns, of zipf, pareto and normal 60 to 80: little beside I/O, not beside a hit. Who measures
 * hits draws beforehand.
 */
#ifndef OPS_WORKLOAD_H
#define OPS_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Blocks that are wanted often lie anywhere in the region with zipf, pareto and hot-cold: ranks are spread over it, in
 * a way that depends on the seed and is the same for all threads.
 */
enum workload_pattern {
	WORKLOAD_SEQUENTIAL, /* from the first block on, and again from the first */
	WORKLOAD_STRIDED,    /* every so many blocks; at the end from the first that was not taken, until each was */
	WORKLOAD_RANDOM,     /* each block as likely as any other */
	WORKLOAD_ZIPF,       /* block of rank k as often as k to the power of -theta */
	WORKLOAD_PARETO,     /* the share "shape" of accesses goes to 1 - shape of the blocks, and again within these */
	WORKLOAD_NORMAL,     /* a bell around the middle of the region; what is beyond its ends is drawn again */
	WORKLOAD_HOT_COLD,   /* so many percent of accesses to so many percent of the blocks, the rest to the rest */
	WORKLOAD_ZIPF_SCAN,  /* zipf, but one access of each @scan_every is the next of a sequential scan */
	NR_WORKLOAD_PATTERNS
};

struct workload {
	enum workload_pattern pattern;
	uint64_t blocks;       /* of the region, at least 1 */
	uint64_t stride;       /* blocks, of strided */
	double theta;          /* of zipf: above 0, at most 10; 1 is as good as any */
	double shape;          /* of pareto: 0.5, which is random, to below 1 */
	double deviation;      /* of normal, in parts of the region: above 0, at most 1 */
	double hot_accesses, hot_blocks; /* percent, of hot-cold: above 0, at most 100 */
	uint64_t scan_every;   /* of zipf-scan: at least 2 */
	unsigned read_percent; /* 0 to 100; the rest writes. The blocks are the same for any */
	uint64_t seed;
};

/* 2 to the power of 52: whole numbers up to here are exact in a double. */
#define WORKLOAD_MAX_BLOCKS (UINT64_C(1) << 52)

struct workload_access {
	uint64_t block; /* below @blocks */
	bool is_write;
};

/* "sequential", "zipf-scan"; and back: false if there is none of that name. */
const char *workload_pattern_name(enum workload_pattern pattern);
bool workload_pattern_find(const char *name, enum workload_pattern *pattern);

/*
 * Fills in what is usual where a parameter of the pattern is 0: a stride of 16, theta 0.99, shape 0.8, deviation 0.1,
 * 90 % of accesses to 10 % of the blocks, a scan's turn every 2. Returns NULL, or what is wrong with @w: "zipf: theta
 * is not above 0 and at most 10". Only what the pattern uses is looked at.
 */
const char *workload_settle(struct workload *w);

/*
 * A source of accesses, @thread of @nr_threads, of what was settled. Each has its own share of what goes in sequence
 * (of sequential, strided, and the scan: a part of the region; threads beyond the number of blocks go where others go),
 * or draws by itself. One thread uses it. Errors: ENOMEM.
 */
struct workload_source;
struct workload_source *workload_open(const struct workload *w, unsigned thread, unsigned nr_threads);
void workload_close(struct workload_source *s);
struct workload_access workload_next(struct workload_source *s);

#endif
