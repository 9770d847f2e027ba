/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which block comes next: the access patterns of bench, as numbers alone. No I/O.
 *
 * The same description and seed give the same accesses, on every machine.
 */
#ifndef OPS_WORKLOAD_H
#define OPS_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum workload_pattern {
	WORKLOAD_SEQUENTIAL, /* from the first block on, and again from the first */
	WORKLOAD_STRIDED,    /* every so many blocks; at the end from the first that was not taken */
	WORKLOAD_RANDOM,     /* each block as likely as any other */
	WORKLOAD_ZIPF,       /* block of rank k as often as k to the power of -theta; ranks are spread over the region */
	WORKLOAD_PARETO,     /* the share "shape" of accesses goes to 1 - shape of the blocks, and again within these */
	WORKLOAD_NORMAL,     /* a bell around the middle of the region; what is beyond its ends is drawn again */
	WORKLOAD_HOT_COLD,   /* so many percent of accesses to so many percent of the blocks */
	WORKLOAD_ZIPF_SCAN,  /* zipf, and a scan of the whole region, in turn a block each of @scan_every accesses */
	NR_WORKLOAD_PATTERNS
};

struct workload {
	enum workload_pattern pattern;
	uint64_t blocks;      /* of the region, at least 1 */
	uint64_t stride;      /* blocks, of strided */
	double theta;         /* of zipf: 0.99 is usual; more than 0, not 1 exactly is not required */
	double shape;         /* of pareto: 0.8 is usual; between 0.5 and 1 */
	double deviation;     /* of normal, in parts of the region: 0.1 is usual */
	double hot_accesses, hot_blocks; /* percent, of hot-cold: 90 and 10 are usual */
	uint64_t scan_every;  /* of zipf-scan: 2 */
	unsigned read_percent; /* 0 to 100; the rest writes */
	uint64_t seed;
};

struct workload_access {
	uint64_t block; /* below @blocks */
	bool is_write;
};

/* "sequential", "zipf"; and back: false if there is none of that name. */
const char *workload_pattern_name(enum workload_pattern pattern);
bool workload_pattern_find(const char *name, enum workload_pattern *pattern);

/*
 * What is usual, for all that is 0 in @w but the counts; and whether the result can be: NULL, or what is wrong with it as a
 * sentence without an end.
 */
const char *workload_settle(struct workload *w);

/*
 * A source of accesses. @thread of @nr_threads: each has its own share of a sequence (sequential, strided: its part of the
 * region), or draws by itself. Calls that can fail return NULL for ENOMEM.
 */
struct workload_source;
struct workload_source *workload_open(const struct workload *w, unsigned thread, unsigned nr_threads);
void workload_close(struct workload_source *s);
struct workload_access workload_next(struct workload_source *s);

#endif
