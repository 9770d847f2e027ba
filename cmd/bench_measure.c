// SPDX-License-Identifier: LGPL-2.1-or-later
/* bufio-bench PATH: opens it, measures, and says what came out; the picture, if there is to be one. */
#include <string.h>

#include "cmd/bench.h"
#include "ops/bench_picture.h"

/* Nothing that is read is believed, so it may be in use. */
static enum cli_status open_device(struct bench_door *door)
{
	enum cli_status status;

	door->device.flags |= door->may_write ? BUFIO_OPEN_WRITE : BUFIO_OPEN_SHARED;
	door->device.prefers_direct = true;
	status = cli_device_open_bare(&door->device, door->args.program, door->args.image);
	door->args.device = door->device.device;
	return status;
}

static void print_stats(const struct bench_door *door, const struct op_bench_result *bench)
{
	for (size_t i = 0; i < bench->nr_runs; i++) {
		const struct bench_run *run = &bench->runs[i];

		for (unsigned j = 0; j < run->nr_repeats && run->args.is_cached; j++)
			cli_print_stats(door->args.program, &run->repeats[j].stats, run->args.memory_limit);
	}
}

static enum cli_status draw(struct bench_door *door, const struct op_bench_result *bench)
{
	int r = op_bench_draw(bench, door->svg.fd);

	if (!r)
		return cli_output_commit(&door->svg, door->args.program);
	cli_error(door->args.program, "%s: %s", door->svg.path, strerror(-r));
	cli_output_abort(&door->svg);
	return CLI_IO;
}

/* The picture is independent of whether the report could be written. */
static enum cli_status report(struct bench_door *door, const struct op_bench_result *bench)
{
	int r = door->is_quiet ? 0 : op_bench_report(&door->args, bench);
	enum cli_status status = door->svg.path ? draw(door, bench) : CLI_OK;

	if (r)
		cli_error(door->args.program, "standard output: %s", strerror(-r));
	/* Where the report is for people it says so, and elsewhere nobody may look at it now. */
	if (bench->is_partial && door->args.format != BENCH_HUMAN)
		cli_error(door->args.program, "stopped by a signal: the result is partial");
	if (door->device.stats)
		print_stats(door, bench);
	return r ? CLI_IO : status;
}

static enum cli_status run(struct bench_door *door)
{
	struct op_result result = { .outcome = OP_DONE };
	enum cli_status status = CLI_OK;
	struct op_bench_result bench;

	if (door->svg.path)
		status = cli_output_open(&door->svg, door->args.program, door->args.image);
	if (status)
		return status;
	door->args.stop = &cli_stop;
	cli_catch_signals();
	if (op_bench_measure(&door->args, &bench, &result)) {
		status = report(door, &bench);
	} else {
		cli_error(door->args.program, "%s", result.reason);
		cli_output_abort(&door->svg);
		status = cli_status_of(&result);
	}
	op_bench_free(&bench);
	return status;
}

enum cli_status bench_measure(struct bench_door *door)
{
	enum cli_status status = open_device(door);

	if (status)
		return status;
	status = run(door);
	cli_device_close(&door->device, door->args.program);
	return status;
}
