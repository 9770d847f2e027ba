// SPDX-License-Identifier: LGPL-2.1-or-later
/* A comparison for people, and for programs. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "ops/bench_compare_int.h"
#include "text/emit.h"

#define CELL_MAX 32
#define MIB 1048576.0

static const char *format_value(enum bench_unit unit, double v, char cell[CELL_MAX])
{
	char time[UNITS_TIME_MAX];

	if (unit == BENCH_NS)
		snprintf(cell, CELL_MAX, "%.31s", units_format_time((uint64_t)v, time));
	else if (unit == BENCH_RATIO)
		snprintf(cell, CELL_MAX, "%.1f %%", 100 * v);
	else if (unit == BENCH_BYTES_PER_SECOND)
		snprintf(cell, CELL_MAX, "%.*f", v < 100 * MIB ? 1 : 0, v / MIB);
	else
		snprintf(cell, CELL_MAX, "%.*f", v < 100 ? 1 : 0, v);
	return cell;
}

/* --- for people --- */

/* What is beyond the tolerance and may be chance is said to be no more than that. */
static const char *describe(const struct bench_comparison *c)
{
	if (c->verdict == BENCH_SAME && c->is_beyond)
		return "same, or too uneven to tell";
	return bench_verdict_name(c->verdict);
}

static void put_row(struct text_out *o, const struct bench_metric *metric, const struct bench_comparison *c)
{
	char a[CELL_MAX], b[CELL_MAX];

	text_printf(o, "  %-14s %10s %10s %8.3f  %s\n", metric->label, format_value(metric->unit, c->a, a),
		    format_value(metric->unit, c->b, b), c->ratio, describe(c));
}

static void put_run(struct text_out *o, const struct bench_compared_run *run)
{
	text_puts(o, run->name);
	text_puts(o, run->is_compared ? "\n" : ": not compared, as it was not measured in both\n");
	for (unsigned m = 0; m < NR_BENCH_METRICS; m++)
		if (run->rows[m].is_there)
			put_row(o, &bench_metrics[m], &run->rows[m]);
}

static void put_differences(struct text_out *o, const struct bench_compared *other)
{
	for (size_t i = 0; i < other->nr_differences; i++) {
		text_puts(o, "not alike: ");
		text_puts(o, other->differences[i]);
		text_puts(o, "\n");
	}
}

static void put_human(struct text_out *o, const struct op_bench_compare_args *args, const char *image,
		      const struct bench_compared *others, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		const struct bench_compared *other = &others[i];

		text_printf(o, "%s%.1000s (%.1000s), against ", i ? "\n" : "", other->file, other->image);
		text_printf(o, "%.1000s (%.1000s)\n", args->files[0], image);
		put_differences(o, other);
		text_printf(o, "  %-14s %10s %10s %8s\n", "", "was", "is", "ratio");
		for (size_t j = 0; j < other->nr_runs; j++)
			put_run(o, &other->runs[j]);
		text_printf(o, "%s, with a tolerance of %g %%\n", bench_verdict_name(other->verdict),
			    100 * args->tolerance);
	}
}

/* --- for programs --- */

static void put_real(struct text_out *o, const char *key, double v)
{
	if (isfinite(v))
		text_printf(o, "\"%s\":%.6g,", key, v);
	else
		text_printf(o, "\"%s\":null,", key);
}

static void put_run_json(struct text_out *o, const struct bench_compared_run *run)
{
	bool is_next = false;

	text_puts(o, "{\"name\":");
	text_put_json_string(o, run->name);
	text_puts(o, ",\"metrics\":[");
	for (unsigned m = 0; m < NR_BENCH_METRICS; m++) {
		const struct bench_comparison *c = &run->rows[m];

		if (!c->is_there)
			continue;
		text_printf(o, "%s\n{\"name\":\"%s\",", is_next ? "," : "", bench_metrics[m].name);
		put_real(o, "was", c->a);
		put_real(o, "is", c->b);
		put_real(o, "ratio", c->ratio);
		put_real(o, "tolerance_factor", bench_metrics[m].slack);
		put_real(o, "chance", c->chance);
		text_printf(o, "\"is_beyond_tolerance\":%s,\"verdict\":\"%s\"}", c->is_beyond ? "true" : "false",
			    bench_verdict_name(c->verdict));
		is_next = true;
	}
	text_puts(o, "]}");
}

static void put_other_json(struct text_out *o, const struct bench_compared *other)
{
	text_puts(o, "{\"file\":");
	text_put_json_string(o, other->file);
	text_puts(o, ",\"image\":");
	text_put_json_string(o, other->image);
	text_puts(o, ",\"not_alike\":[");
	for (size_t i = 0; i < other->nr_differences; i++) {
		text_puts(o, i ? "," : "");
		text_put_json_string(o, other->differences[i]);
	}
	text_puts(o, "],\"runs\":[");
	for (size_t i = 0; i < other->nr_runs; i++) {
		text_puts(o, i ? ",\n" : "\n");
		put_run_json(o, &other->runs[i]);
	}
	text_printf(o, "],\"verdict\":\"%s\"}", bench_verdict_name(other->verdict));
}

static void put_json(struct text_out *o, const struct op_bench_compare_args *args, const char *image,
		     const struct bench_compared *others, size_t nr)
{
	text_puts(o, "{\"schema\":\"bufio.bench-compare/1\",\"file\":");
	text_put_json_string(o, args->files[0]);
	text_puts(o, ",\"image\":");
	text_put_json_string(o, image);
	text_puts(o, ",");
	put_real(o, "tolerance", args->tolerance);
	text_puts(o, "\"compared\":[");
	for (size_t i = 0; i < nr; i++) {
		text_puts(o, i ? ",\n" : "\n");
		put_other_json(o, &others[i]);
	}
	text_puts(o, "]}\n");
}

int bench_compare_report(const struct op_bench_compare_args *args, const char *image, const struct bench_compared *others,
			 size_t nr)
{
	struct text_out *o = malloc(sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	text_out_init(o, args->out_fd);
	(args->json ? put_json : put_human)(o, args, image, others, nr);
	r = text_out_flush(o);
	free(o);
	return r;
}
