/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is compared, how it comes out, and how that is said. */
#ifndef OPS_BENCH_COMPARE_INT_H
#define OPS_BENCH_COMPARE_INT_H

#include "ops/bench_compare.h"

struct json_t;

enum bench_verdict { BENCH_SAME, BENCH_BETTER, BENCH_WORSE };

enum bench_unit { BENCH_PER_SECOND, BENCH_BYTES_PER_SECOND, BENCH_NS, BENCH_RATIO };

/* What is compared of each run. */
struct bench_metric {
	const char *name;  /* of the JSON */
	const char *label; /* for people */
	enum bench_unit unit;
	bool is_more_better;
	double slack; /* so many times the tolerance: what moves more between equal runs */
};

enum { METRIC_OPS, METRIC_BYTES, METRIC_P50, METRIC_P99, METRIC_RESPONSE_P50, METRIC_RESPONSE_P99, METRIC_HITS, METRIC_CPU,
       NR_BENCH_METRICS };

extern const struct bench_metric bench_metrics[NR_BENCH_METRICS];

/* What two sides may differ by. */
struct bench_limits {
	double tolerance; /* of the larger: 0.1 is 10 percent */
	double clock_ns;  /* and times by this: what it costs to ask for them */
};

/* One side: all that was measured, in the order of time; seconds, or whole repeats where there is nothing shorter. */
struct bench_series {
	double value; /* the median of repeats: what is shown */
	double *samples;
	size_t nr, max;
};

struct bench_comparison {
	bool is_there; /* both sides have it */
	double a, b, ratio; /* b by a; 1 if both are 0 */
	enum bench_verdict verdict;
	bool is_beyond; /* the tolerance: if it is the same all the same, that is not certain */
	double chance;  /* that equal runs differ so much beyond the tolerance; 1 where it is not beyond */
};

struct bench_compared_run {
	const char *name;
	bool is_compared; /* a row is there */
	struct bench_comparison rows[NR_BENCH_METRICS];
};

/* A file against the first one. */
struct bench_compared {
	const char *file, *image;
	struct bench_limits limits;
	struct bench_compared_run *runs;
	size_t nr_runs;
	char **differences; /* sentences: what was not alike */
	size_t nr_differences;
	bool is_compared; /* in a run at least */
	enum bench_verdict verdict; /* worse if anything is */
};

/*
 * A saved result, to be freed with json_decref(). All that is compared of it has the right type, if it is there at all: its
 * device, its runs, their names and repeats are; amounts are not below 0. NULL: *@result says why, and where in the file.
 */
struct json_t *bench_compare_load(const char *file, struct op_result *result);

/*
 * How @b compares with @a. The samples may be sorted meanwhile.
 * Errors: -ENOMEM
 */
int bench_judge(const struct bench_metric *metric, const struct bench_limits *limits, struct bench_series *a,
		struct bench_series *b, struct bench_comparison *c);

/* "better", "same", "worse". */
const char *bench_verdict_name(enum bench_verdict verdict);

/* Says it. 0 or -errno. */
int bench_compare_report(const struct op_bench_compare_args *args, const char *image, const struct bench_compared *others,
			 size_t nr);

#endif
