/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench --compare: results that were saved as JSON, beside each other.
 *
 * A measure is better or worse only if it is so by more than the tolerance, and if chance alone is not likely to have
 * made it so: the seconds of all repeats of one side, brought nearer by the tolerance, are still on the other side (a rank
 * sum, in which seconds that are alike because they are neighbours count as fewer). All else is the same. The tolerance is
 * larger for measures that move more between equal runs.
 */
#ifndef OPS_BENCH_COMPARE_H
#define OPS_BENCH_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include "ops/op.h"

struct op_bench_compare_args {
	const char *const *files; /* at least 2; the others are compared with the first */
	size_t nr_files;
	double tolerance;  /* 0 to less than 1: 0.1 is 10 percent */
	bool may_differ;   /* devices, limits, regions, workloads: what is there is compared */
	bool json;
	int out_fd;        /* -1: nothing is said */
};

/*
 * *@result is filled in any case: it differs if something is worse. OP_INPUT a file cannot be read, or is no result of
 * bench, or has nothing that the first one has too; OP_REFUSED they were not measured alike.
 */
void op_bench_compare(const struct op_bench_compare_args *args, struct op_result *result);

#endif
