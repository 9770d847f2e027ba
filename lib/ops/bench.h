/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench: how fast a device is, and how fast a cache over it.
 *
 * A bench is a list of runs, each of which does one workload, with or without a cache, once or several times. Positions and
 * sizes are in bytes, times in nanoseconds. Nothing is written unless a run's workload writes, and then what lies on the
 * device is looked at first.
 */
#ifndef OPS_BENCH_H
#define OPS_BENCH_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/histogram.h"
#include "bufio/bufio.h"
#include "ops/op.h"
#include "ops/workload.h"

/* When the next operation begins. */
enum bench_arrival {
	BENCH_CLOSED,  /* when one before it is done: as many are under way as the depth says */
	BENCH_FIXED,   /* at its time, so many a second; one that comes late has waited */
	BENCH_POISSON, /* the same, at random times */
};

/* "closed", "fixed", "poisson". */
const char *bench_arrival_name(enum bench_arrival arrival);

struct bench_trace;
struct bench_curve;

/* What a run does. */
struct bench_run_args {
	const char *name; /* of its row */
	struct workload workload; /* its blocks are those of the region */
	uint32_t block_size;
	uint64_t begin, end;   /* the region; end UINT64_MAX: where the device ends */
	unsigned depth;        /* requests under way in each thread; of a cache, how far ahead it is asked for blocks */
	unsigned threads;
	bool is_cached;        /* through libbufio; else straight to the device */
	uint64_t memory_limit; /* of the cache; 0: an eighth of the region, within bounds */
	uint64_t flush_every;  /* writes of a thread; 0: never */
	uint64_t ns;           /* how long; 0: until @count is reached */
	uint64_t count;        /* operations of all threads; 0: until the time is over */
	uint64_t warm_up_ns;   /* before anything counts */
	bool warms_until_steady; /* until the hit ratio is, however long that takes (at most a minute) */
	double rate;           /* operations a second of all threads, unless closed */
	enum bench_arrival arrival;
	unsigned repeats;
	bool has_curve;          /* find out how many would be hits, by memory limit; not of a trace */
	const char *replay;      /* a trace instead of a workload, which then says with read_percent < 100 that it may write; or NULL */
	double speed;            /* of the trace: 0 as soon as may be, 1 as it was, 2 twice as fast */
	struct bench_trace *trace; /* in memory, once it is settled; of the bench */
};

/* What happened in a second. */
struct bench_sample {
	uint64_t ns; /* from the beginning of the repeat to the end of this second */
	uint64_t ops, bytes;
	uint64_t p50, p99; /* of service */
	uint64_t hits, misses;
};

/* What is measured apart. All are of one repeat and may be empty. */
enum bench_measure {
	BENCH_SERVICE,  /* from asking for a block to having it */
	BENCH_RESPONSE, /* from when that was to begin; only with a rate */
	BENCH_HIT,      /* service of what was in the cache, and of what was not */
	BENCH_MISS,
	BENCH_FLUSH,    /* waiting for stable media */
	NR_BENCH_MEASURES
};

/* Blocks that the cache was asked for ahead. */
struct bench_prefetch {
	uint64_t issued; /* that were not in the cache */
	uint64_t used;   /* and were there, or on their way, when they were needed */
	uint64_t wasted; /* and were gone again */
};

struct bench_repeat {
	uint64_t ns, ops, bytes, writes;
	uint64_t errors; /* operations that failed, and are in nothing else */
	uint64_t half_ops; /* of the first half, where the time was set */
	uint64_t cpu_ns; /* of the whole process */
	uint64_t hits, misses;
	struct histogram *measures; /* NR_BENCH_MEASURES */
	struct bench_sample *samples;
	size_t nr_samples;
	struct bench_prefetch prefetch;
	struct bufio_stats stats; /* what the cache did meanwhile; gauges are those of the end */
	bool is_saturated; /* less than 95 % of the rate: response times would have been longer yet */
};

/* Over all repeats. */
struct bench_median {
	double ops_per_s, bytes_per_s, hit_ratio; /* the last is of cached runs */
	double least_ops_per_s, most_ops_per_s;
	uint64_t p50, p99; /* of service */
};

struct bench_run {
	struct bench_run_args args; /* as they were settled: nothing in it is open */
	struct bench_repeat *repeats;
	unsigned nr_repeats;        /* that have something in them; fewer than asked for if stopped */
	struct bench_median median;
	struct bench_curve *curve;  /* hits by memory limit, if that was found out; or NULL */
};

/* The facts about what was measured. */
struct bench_device {
	struct bufio_device_info info;
	char model[128]; /* "Samsung SSD 980", "loop0: /var/image", "file on ext4"; empty: not known */
	bool is_rotational;
};

/* What makes figures mean something else than it seems. */
struct bench_warning {
	const char *name; /* "page-cache": for programs, never changes */
	char text[400];
};

#define BENCH_MAX_WARNINGS 24

struct op_bench_result {
	const char *image;
	struct bench_device device;
	uint64_t memory_limit; /* of the runs that have a cache; 0: none has */
	double clock_ns;       /* what it costs to ask for the time */
	struct bench_run *runs;
	size_t nr_runs; /* of which the last may have no repeat, if stopped */
	struct bench_warning warnings[BENCH_MAX_WARNINGS];
	unsigned nr_warnings;
	bool is_partial; /* stopped by a signal */
};

enum bench_format { BENCH_HUMAN, BENCH_JSON, BENCH_CSV, BENCH_MARKDOWN };

struct op_bench_args {
	const char *program;
	const char *image;
	struct bufio_device *device; /* opened for writing if a run writes */
	const struct bench_run_args *runs; /* 0 of them: the three parts of a first look */
	size_t nr_runs;
	uint64_t memory_limit;   /* of the first look's cache; 0: as in a run */
	const char *signature;   /* that may be overwritten, or NULL */
	enum bench_format format;
	bool has_bars;           /* for people: a bar for each second, which takes UTF-8 */
	int out_fd;              /* -1: nothing is said */
	const volatile sig_atomic_t *stop; /* not 0: come to an end and say what there is; or NULL */
};

/*
 * Measures, and fills *@bench, which op_bench_free() frees whatever is returned. Returns true, or says in *@result why
 * it ended: OP_REFUSED there is something on a device that would be written to; OP_USAGE a run does not fit the device;
 * OP_INPUT, OP_OUTPUT it cannot be read or written.
 */
bool op_bench_measure(const struct op_bench_args *args, struct op_bench_result *bench, struct op_result *result);

/* Writes a report of *@bench. 0 or -errno. */
int op_bench_report(const struct op_bench_args *args, const struct op_bench_result *bench);

void op_bench_free(struct op_bench_result *bench);

#endif
