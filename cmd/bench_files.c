// SPDX-License-Identifier: LGPL-2.1-or-later
/* bufio-bench --compare and --trace-stats: nothing is measured, and files are looked at. */
#include <unistd.h>

#include "cmd/bench.h"
#include "ops/bench_trace.h"

static void check_form(struct argp_state *state, const struct bench_door *door, const char *option)
{
	if (door->args.format == BENCH_CSV || door->args.format == BENCH_MARKDOWN)
		argp_error(state, "--%s: only --json is another form of it", option);
}

void bench_check_comparison(struct argp_state *state, struct bench_door *door)
{
	if (door->compare.nr_files < 2)
		argp_error(state, "--compare: name two FILEs at least, which --json wrote");
	if (door->is_run || door->may_write || door->is_trace_stats || door->device.block_size || door->device.memory_limit)
		argp_error(state, "--compare: nothing is measured, so nothing can be asked for");
	if (door->svg.path)
		argp_error(state, "--svg: there is no picture of a comparison");
	check_form(state, door, "compare");
	door->compare.files = door->files;
	door->compare.json = door->args.format == BENCH_JSON;
	door->compare.out_fd = door->is_quiet ? -1 : STDOUT_FILENO;
}

enum cli_status bench_compare(const struct bench_door *door)
{
	struct op_result result;

	op_bench_compare(&door->compare, &result);
	if (result.outcome != OP_DONE)
		cli_error(door->args.program, "%s", result.reason);
	return cli_status_of(&result);
}

void bench_check_trace_stats(struct argp_state *state, const struct bench_door *door)
{
	if (door->is_run || door->may_write || door->device.memory_limit || door->svg.path)
		argp_error(state, "--trace-stats: nothing is measured, so nothing can be asked for");
	check_form(state, door, "trace-stats");
}

enum cli_status bench_show_trace(const struct bench_door *door)
{
	struct op_bench_trace_args args = {
		.file = door->files[0],
		.block_size = (uint32_t)door->device.block_size,
		.json = door->args.format == BENCH_JSON,
		.out_fd = door->is_quiet ? -1 : STDOUT_FILENO,
	};
	struct op_result result;

	op_bench_trace(&args, &result);
	if (result.outcome != OP_DONE)
		cli_error(door->args.program, "%s", result.reason);
	return cli_status_of(&result);
}
