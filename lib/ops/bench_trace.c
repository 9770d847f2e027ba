// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/bench_trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stack_distance.h"
#include "base/units.h"
#include "text/emit.h"

#define TRACE_MEMORY (UINT64_C(1) << 30)
#define USUAL_BLOCK_SIZE 4096

/* --- reading --- */

int bench_trace_find_main(const struct text_trace *trace, uint32_t *file)
{
	uint64_t *bytes = calloc(trace->nr_files + 1, sizeof(*bytes));
	uint32_t most = 0;

	if (!bytes)
		return -ENOMEM;
	for (uint64_t i = 0; i < trace->nr; i++)
		bytes[trace->records[i].file] += trace->records[i].bytes;
	for (uint32_t i = 1; i < trace->nr_files; i++)
		if (bytes[i] > bytes[most])
			most = i;
	free(bytes);
	*file = most;
	return 0;
}

bool bench_trace_read(const char *path, struct text_trace *trace, struct op_result *result)
{
	struct text_trace_info info;
	FILE *f = fopen(path, "re");
	int r;

	if (!f) {
		op_fail_errno(result, path, -errno);
		return false;
	}
	r = text_trace_read(f, TRACE_MEMORY, trace, &info);
	fclose(f);
	if (r == -EINVAL)
		op_fail(result, OP_INPUT, r, "%s:%" PRIu64 ": expected %s", path, info.line, info.expected);
	else if (r == -E2BIG)
		op_fail(result, OP_INPUT, r, "%s: takes more than 1 GiB of memory", path);
	else if (r)
		op_fail_errno(result, path, r);
	return !r;
}

/* --- counting --- */

static const double hit_ratios[] = { 0.5, 0.9, 0.95, 0.99 };

#define NR_RATIOS (sizeof(hit_ratios) / sizeof(*hit_ratios))

/* What is asked of the main file, in blocks. */
struct sums {
	uint32_t file, block_size;
	uint64_t nr_lines, ns;
	uint64_t lines[NR_TEXT_TRACE_OPS];
	uint64_t accesses, sequential; /* blocks; those that are the one behind the block before */
	uint64_t last;                 /* block */
	struct stack_distance *distances;
};

/* What a cache must have or get: not what it is told beforehand or afterwards. */
static bool is_access(uint32_t op)
{
	static const bool is[NR_TEXT_TRACE_OPS] = {
		[TEXT_TRACE_READ] = true, [TEXT_TRACE_WRITE] = true, [TEXT_TRACE_GET] = true,
		[TEXT_TRACE_NEW] = true, [TEXT_TRACE_SCAN] = true, [TEXT_TRACE_MOVE] = true,
	};

	return is[op];
}

static void count_blocks(struct sums *s, const struct text_trace_record *r)
{
	uint64_t end = (r->offset + r->bytes - 1) / s->block_size + 1;

	for (uint64_t block = r->offset / s->block_size; block < end; block++) {
		s->sequential += s->accesses && block == s->last + 1;
		s->accesses++;
		s->last = block;
		stack_distance_access(s->distances, block);
	}
}

static void count_all(struct sums *s, const struct text_trace *trace)
{
	uint64_t first_ns = 0;

	for (uint64_t i = 0; i < trace->nr; i++) {
		const struct text_trace_record *r = &trace->records[i];

		if (r->file != s->file)
			continue;
		first_ns = s->nr_lines++ ? first_ns : r->ns;
		s->ns = r->ns - first_ns;
		s->lines[r->op]++;
		if (is_access(r->op))
			count_blocks(s, r);
	}
}

static bool count(const struct op_bench_trace_args *args, const struct text_trace *trace, struct sums *s,
		  struct op_result *result)
{
	*s = (struct sums){ .block_size = args->block_size, .distances = stack_distance_create(STACK_DISTANCE_USUAL) };
	if (!s->distances || bench_trace_find_main(trace, &s->file)) {
		op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
		return false;
	}
	if (!trace->nr) {
		op_fail(result, OP_INPUT, 0, "%s: there is nothing in this trace", args->file);
		return false;
	}
	if (!s->block_size)
		s->block_size = trace->files[s->file].block_size;
	if (!s->block_size)
		s->block_size = USUAL_BLOCK_SIZE;
	count_all(s, trace);
	return true;
}

/* --- saying --- */

static const char *const words[NR_TEXT_TRACE_OPS] = {
	[TEXT_TRACE_READ] = "read", [TEXT_TRACE_WRITE] = "write", [TEXT_TRACE_FLUSH] = "flush",
	[TEXT_TRACE_DISCARD] = "discard", [TEXT_TRACE_GET] = "get", [TEXT_TRACE_NEW] = "new",
	[TEXT_TRACE_PREFETCH] = "prefetch", [TEXT_TRACE_SCAN] = "scan", [TEXT_TRACE_DIRTY] = "dirty",
	[TEXT_TRACE_MOVE] = "move", [TEXT_TRACE_START] = "start-writing", [TEXT_TRACE_BARRIER] = "barrier",
	[TEXT_TRACE_FORGET] = "forget",
};

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

/* Data alone, without what a cache needs beside it. */
static bool find_size(const struct sums *s, double hits, uint64_t *bytes)
{
	uint64_t blocks;

	if (!stack_distance_find_size(s->distances, 1 - hits, &blocks))
		return false;
	*bytes = blocks * s->block_size;
	return true;
}

static void put_sizes(struct text_out *o, const struct sums *s)
{
	char size[UNITS_SIZE_MAX];
	uint64_t bytes;

	for (size_t i = 0; i < NR_RATIOS; i++)
		if (find_size(s, hit_ratios[i], &bytes))
			text_printf(o, "hits %.0f %%       with %s of blocks, least recently used thrown out\n",
				    100 * hit_ratios[i], units_format_size(bytes, size));
		else
			text_printf(o, "hits %.0f %%       never: too many accesses are the first of their block\n",
				    100 * hit_ratios[i]);
}

static void put_human(struct text_out *o, const char *file, const struct text_trace *trace, const struct sums *s)
{
	char size[UNITS_SIZE_MAX], time[UNITS_TIME_MAX];
	uint64_t footprint = stack_distance_footprint(s->distances);

	text_printf(o, "%.1000s: %s trace, of %s", file, trace->format, trace->files[s->file].block_size ? "client " : "");
	text_printf(o, "%.1000s\n", text_trace_name(trace, s->file));
	text_printf(o, "lines           %" PRIu64 " in %s; %" PRIu64 " of others\n", s->nr_lines,
		    units_format_time(s->ns, time), trace->nr - s->nr_lines);
	for (unsigned i = 0; i < NR_TEXT_TRACE_OPS; i++)
		if (s->lines[i])
			text_printf(o, "  %-13s %" PRIu64 "\n", words[i], s->lines[i]);
	text_printf(o, "accesses        %" PRIu64 " to blocks of %s\n", s->accesses,
		    units_format_size(s->block_size, size));
	text_printf(o, "different       %" PRIu64 " blocks, %s\n", footprint,
		    units_format_size(footprint * s->block_size, size));
	text_printf(o, "sequential      %.1f %% of the accesses\n", 100 * share(s->sequential, s->accesses));
	put_sizes(o, s);
}

static void put_json(struct text_out *o, const char *file, const struct text_trace *trace, const struct sums *s)
{
	bool is_next = false;
	uint64_t bytes;

	text_puts(o, "{\"schema\":\"bufio.bench-trace/1\",\"file\":");
	text_put_json_string(o, file);
	text_printf(o, ",\"format\":\"%s\",\"of\":", trace->format);
	text_put_json_string(o, text_trace_name(trace, s->file));
	text_printf(o, ",\"ns\":%" PRIu64 ",\"lines\":%" PRIu64 ",\"other_lines\":%" PRIu64 ",\"operations\":{", s->ns,
		    s->nr_lines, trace->nr - s->nr_lines);
	for (unsigned i = 0; i < NR_TEXT_TRACE_OPS; i++) {
		if (!s->lines[i])
			continue;
		text_printf(o, "%s\"%s\":%" PRIu64, is_next ? "," : "", words[i], s->lines[i]);
		is_next = true;
	}
	text_printf(o, "},\"block_size\":%" PRIu32 ",\"accesses\":%" PRIu64 ",\"different_blocks\":%" PRIu64 ",",
		    s->block_size, s->accesses, stack_distance_footprint(s->distances));
	text_printf(o, "\"sequential_share\":%.6g,\"sizes\":[", share(s->sequential, s->accesses));
	for (size_t i = 0; i < NR_RATIOS; i++) {
		text_printf(o, "%s{\"hit_ratio\":%g,\"bytes\":", i ? "," : "", hit_ratios[i]);
		if (find_size(s, hit_ratios[i], &bytes))
			text_put_dec(o, bytes);
		else
			text_puts(o, "null");
		text_puts(o, "}");
	}
	text_puts(o, "]}\n");
}

static int say(const struct op_bench_trace_args *args, const struct text_trace *trace, const struct sums *s)
{
	struct text_out *o = malloc(sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	text_out_init(o, args->out_fd);
	(args->json ? put_json : put_human)(o, args->file, trace, s);
	r = text_out_flush(o);
	free(o);
	return r;
}

void op_bench_trace(const struct op_bench_trace_args *args, struct op_result *result)
{
	struct text_trace trace = { 0 };
	struct sums s = { .distances = NULL };
	int r;

	*result = (struct op_result){ .outcome = OP_DONE };
	if (bench_trace_read(args->file, &trace, result) && count(args, &trace, &s, result)) {
		r = say(args, &trace, &s);
		if (r)
			op_fail(result, OP_OUTPUT, r, "standard output: %s", strerror(-r));
	}
	if (s.distances)
		stack_distance_destroy(s.distances);
	text_trace_destroy(&trace);
}
