/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench --trace-stats: what a trace asks for, without any device. */
#ifndef OPS_BENCH_TRACE_H
#define OPS_BENCH_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "ops/op.h"
#include "text/trace_read.h"

struct op_bench_trace_args {
	const char *file;
	uint32_t block_size; /* 0: the traced cache's, else 4096 */
	bool json;
	int out_fd; /* -1: nothing is said */
};

/* *@result is filled in any case: OP_INPUT it cannot be read, or is no trace; OP_OUTPUT. */
void op_bench_trace(const struct op_bench_trace_args *args, struct op_result *result);

/* --- also for a replay --- */

/* Reads a file. False: said in *@result. The trace is the caller's to destroy in any case. */
bool bench_trace_read(const char *path, struct text_trace *trace, struct op_result *result);

/* The file or client with the most bytes. Errors: -ENOMEM. */
int bench_trace_find_main(const struct text_trace *trace, uint32_t *file);

#endif
