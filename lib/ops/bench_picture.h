/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Results of bench as a picture, and its throughput as a line of small bars. */
#ifndef OPS_BENCH_PICTURE_H
#define OPS_BENCH_PICTURE_H

#include "ops/bench.h"

/*
 * Charts of latency by percentile and of throughput over time, a line for each run, as one SVG to @fd.
 * 0 or -errno.
 */
int op_bench_draw(const struct op_bench_result *bench, int fd);

/* "▄▅█▇": a bar for each second of a run, from 0 to the most; several seconds share one if there are more than @width. */
#define BENCH_SPARKLINE_MAX 61
#define BENCH_SPARKLINE_BYTES (3 * (BENCH_SPARKLINE_MAX - 1) + 1)
char *bench_sparkline(const struct bench_run *run, unsigned width, char text[BENCH_SPARKLINE_BYTES]);

#endif
