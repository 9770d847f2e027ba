// SPDX-License-Identifier: LGPL-2.1-or-later
/* The report: for people, as rows of a table; and for other programs. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "ops/bench_curve.h"
#include "ops/bench_int.h"
#include "ops/bench_picture.h"
#include "text/out.h"

#define CELL_MAX 32

/* The slowest of a thousand: what a stall is depends on the device. */
#define STALL_PERCENT 99.9

double bench_stall_share(const struct histogram *h)
{
	uint64_t least = histogram_percentile(h, STALL_PERCENT);
	double sum = 0;

	for (unsigned i = histogram_bucket(least); i < HISTOGRAM_BUCKETS && h->total; i++)
		sum += (double)h->counts[i] * (double)histogram_bucket_begin(i);
	return h->sum > 0 && sum < h->sum ? sum / h->sum : 0;
}

/* --- cells --- */

static const char *format_rate(double v, char cell[CELL_MAX])
{
	snprintf(cell, CELL_MAX, "%.*f", v < 10 ? 2 : v < 100 ? 1 : 0, v);
	return cell;
}

enum { NAME, BLOCK, DEPTH, OPS, MIB, P50, P99, P999, MAX, HIT, NR_COLUMNS };

static const struct {
	const char *title;
	int width; /* of a cell for people; negative: to the left */
} columns[NR_COLUMNS] = {
	[NAME] = { "", -18 }, [BLOCK] = { "block", 8 }, [DEPTH] = { "depth", 6 }, [OPS] = { "ops/s", 9 }, [MIB] = { "MiB/s", 8 },
	[P50] = { "p50", 8 }, [P99] = { "p99", 8 }, [P999] = { "p99.9", 8 }, [MAX] = { "max", 8 }, [HIT] = { "hit %", 7 },
};

struct cells {
	char text[NR_COLUMNS][CELL_MAX];
};

/* The repeat in the middle, whose percentiles stand for all. */
static const struct bench_repeat *typical(const struct bench_run *run)
{
	const struct bench_repeat *best = &run->repeats[0];
	double least = -1;

	for (unsigned i = 0; i < run->nr_repeats; i++) {
		const struct bench_repeat *r = &run->repeats[i];
		double d = fabs(bench_per_second(r, r->ops) - run->median.ops_per_s);

		if (least < 0 || d < least) {
			least = d;
			best = r;
		}
	}
	return best;
}

static void fill_times(struct cells *c, const struct histogram *h, bool is_bound)
{
	static const struct {
		int column;
		double percent;
	} rows[] = { { P50, 50 }, { P99, 99 }, { P999, 99.9 }, { MAX, 100 } };
	char time[UNITS_TIME_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		snprintf(c->text[rows[i].column], CELL_MAX, "%s%.30s", is_bound ? ">" : "",
			 units_format_time(histogram_percentile(h, rows[i].percent), time));
}

static void fill_run(struct cells *c, const struct bench_run *run)
{
	const struct bench_repeat *r = typical(run);
	const struct bench_run_args *a = &run->args;
	char size[UNITS_SIZE_MAX];

	snprintf(c->text[NAME], CELL_MAX, "%.31s", a->name);
	snprintf(c->text[BLOCK], CELL_MAX, "%.31s", units_format_size(a->block_size, size));
	if (a->threads > 1)
		snprintf(c->text[DEPTH], CELL_MAX, "%ux%u", a->threads, a->depth);
	else
		snprintf(c->text[DEPTH], CELL_MAX, "%u", a->depth);
	format_rate(run->median.ops_per_s, c->text[OPS]);
	format_rate(run->median.bytes_per_s / (1 << 20), c->text[MIB]);
	fill_times(c, &r->measures[BENCH_SERVICE], false);
	if (r->hits + r->misses)
		snprintf(c->text[HIT], CELL_MAX, "%.1f", 100 * run->median.hit_ratio);
}

/* A row of times alone. */
static void fill_measure(struct cells *c, const char *name, const struct histogram *h, bool is_bound)
{
	*c = (struct cells){ 0 };
	snprintf(c->text[NAME], CELL_MAX, "  %.29s", name);
	fill_times(c, h, is_bound);
}

/* --- rows --- */

struct report {
	struct text_out *out;
	const struct op_bench_args *args;
	const struct op_bench_result *bench;
	void (*row)(struct text_out *o, const struct cells *c);
};

static void put_row_human(struct text_out *o, const struct cells *c)
{
	char line[NR_COLUMNS * (CELL_MAX + 2)];
	size_t n = 0;

	for (unsigned i = 0; i < NR_COLUMNS; i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, i ? " %*s" : "%*s", columns[i].width, c->text[i]);
	while (n && line[n - 1] == ' ')
		n--;
	text_put(o, line, n);
	text_puts(o, "\n");
}

static void put_row_markdown(struct text_out *o, const struct cells *c)
{
	for (unsigned i = 0; i < NR_COLUMNS; i++) {
		text_puts(o, i ? " | " : "| ");
		text_puts(o, c->text[i]);
	}
	text_puts(o, " |\n");
}

static void put_titles(struct report *r)
{
	struct cells c;

	for (unsigned i = 0; i < NR_COLUMNS; i++)
		snprintf(c.text[i], CELL_MAX, "%s", columns[i].title);
	r->row(r->out, &c);
}

/* The run, and what is measured apart in it. */
static void put_run(struct report *r, const struct bench_run *run)
{
	static const struct {
		enum bench_measure measure;
		const char *name;
	} rows[] = {
		{ BENCH_RESPONSE, "response" },
		{ BENCH_HIT, "hits" },
		{ BENCH_MISS, "misses" },
		{ BENCH_FLUSH, "flushes" },
	};
	const struct bench_repeat *repeat = typical(run);
	struct cells c = { 0 };

	fill_run(&c, run);
	r->row(r->out, &c);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct histogram *h = &repeat->measures[rows[i].measure];

		if (!h->total)
			continue;
		fill_measure(&c, rows[i].name, h, rows[i].measure == BENCH_RESPONSE && repeat->is_saturated);
		r->row(r->out, &c);
	}
}

/* --- for people --- */

#define WIDTH 100
#define INDENT "    "

/* Broken where words end. */
__attribute__((format(printf, 2, 3))) static void put_sentence(struct report *r, const char *format, ...)
{
	char text[640], *word, *rest = text;
	size_t column = 0;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	while ((word = strsep(&rest, " "))) {
		if (column && column + 1 + strlen(word) > WIDTH) {
			text_puts(r->out, "\n" INDENT);
			column = strlen(INDENT);
		} else if (column) {
			text_puts(r->out, " ");
			column++;
		}
		text_puts(r->out, word);
		column += strlen(word);
	}
	text_puts(r->out, "\n");
}

static void put_header(struct report *r)
{
	const struct bench_device *d = &r->bench->device;
	char size[UNITS_SIZE_MAX];

	text_puts(r->out, r->bench->image);
	text_printf(r->out, ": %s%s%s; blocks of %" PRIu32 " B, physical %" PRIu32 " B%s\n",
		    units_format_size(d->info.size, size), d->model[0] ? ", " : "", d->model, d->info.logical_block_size,
		    d->info.physical_block_size, d->is_rotational ? "; rotational" : "");
	text_printf(r->out, "%s, engine %s; ", d->info.direct ? "direct" : "through the page cache", d->info.engine);
	if (r->bench->memory_limit)
		text_printf(r->out, "cache of %s; ", units_format_size(r->bench->memory_limit, size));
	text_printf(r->out, "asking for the time costs %.0f ns\n", r->bench->clock_ns);
}

static void put_regions(struct report *r)
{
	const struct bench_run_args *first = &r->bench->runs[0].args;
	char begin[UNITS_SIZE_MAX], end[UNITS_SIZE_MAX];

	if (first->begin == 0 && first->end + first->block_size > r->bench->device.info.size)
		return;
	text_printf(r->out, "region: %s to %s\n", units_format_size(first->begin, begin),
		    units_format_size(first->end, end));
}

static void put_cache_line(struct report *r, const struct bench_run *run)
{
	const struct bench_repeat *repeat = typical(run);
	const struct histogram *h = &repeat->measures[BENCH_SERVICE];
	const struct bench_prefetch *ahead = &repeat->prefetch;
	const struct bufio_stats *s = &repeat->stats;
	char longest[UNITS_TIME_MAX];

	put_sentence(r,
		     "%s: %" PRIu64 " evictions, %" PRIu64 " waits; the slowest of a thousand took %.1f %% of the time, "
		     "the longest %s",
		     run->args.name, s->evictions, s->waits, 100 * bench_stall_share(h),
		     units_format_time(h->max, longest));
	if (s->blocks_written)
		text_printf(r->out,
			    "%s: written back %" PRIu64 " blocks in %" PRIu64 " requests; %" PRIu64 " still dirty\n",
			    run->args.name, s->blocks_written, s->write_requests, s->dirty);
	if (ahead->issued)
		text_printf(r->out, "%s: asked ahead for %" PRIu64 " blocks: used %" PRIu64 ", gone again %" PRIu64 "\n",
			    run->args.name, ahead->issued, ahead->used, ahead->wasted);
}

/* How even it was. */
static void put_bars(struct report *r, const struct bench_run *run)
{
	char bars[BENCH_SPARKLINE_BYTES];

	text_printf(r->out, "%*.31s %s\n", columns[NAME].width, run->args.name,
		    bench_sparkline(run, BENCH_SPARKLINE_MAX - 1, bars));
}

static void put_part(char cell[CELL_MAX], double part)
{
	if (isnan(part))
		snprintf(cell, CELL_MAX, "-");
	else
		snprintf(cell, CELL_MAX, "%.1f", 100 * part);
}

/* So many hits cannot be had: first accesses miss in any cache. */
static bool is_out_of_reach(const struct bench_curve *curve, const struct bench_curve_size *s)
{
	return !s->is_found && 1 - curve->cold_ratio < s->hits;
}

/* "least limit: 12 MiB for 90 %, none for 95 %, none for 99 %: 7.3 % of the accesses are the first of their block" */
static void put_sizes(struct report *r, const struct bench_curve *curve)
{
	char text[256], limit[UNITS_SIZE_MAX];
	bool is_any_out = false;
	size_t n = 0;

	for (unsigned i = 0; i < BENCH_CURVE_SIZES; i++) {
		const struct bench_curve_size *s = &curve->sizes[i];
		bool is_out = is_out_of_reach(curve, s);

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s for %.0f %%", i ? ", " : "",
				      s->is_found ? units_format_size(s->limit, limit) : is_out ? "none" : "not found out",
				      100 * s->hits);
		is_any_out |= is_out;
	}
	if (is_any_out)
		snprintf(text + n, sizeof(text) - n, ": %.3g %% of the accesses are the first of their block",
			 100 * curve->cold_ratio);
	put_sentence(r, "least limit: %s", text);
}

/* How much memory a cache needs. */
static void put_curve(struct report *r, const struct bench_run *run)
{
	const struct bench_curve *curve = run->curve;
	char limit[UNITS_SIZE_MAX], lru[CELL_MAX], policy[CELL_MAX];

	text_printf(r->out, "%s: hits by memory limit, in %%\n%12s %8s %8s\n", run->args.name, "limit", "libbufio", "LRU");
	for (size_t i = 0; i < curve->nr_points; i++) {
		put_part(lru, curve->points[i].lru_hits);
		put_part(policy, curve->points[i].policy_hits);
		text_printf(r->out, "%12s %8s %8s\n", units_format_size(curve->points[i].limit, limit), policy, lru);
	}
	put_sizes(r, curve);
}

static void put_range_line(struct report *r, const struct bench_run *run)
{
	text_printf(r->out, "%s: median of %u; %.0f to %.0f operations a second\n", run->args.name, run->nr_repeats,
		    run->median.least_ops_per_s, run->median.most_ops_per_s);
}

static const struct bench_run *find_run(const struct op_bench_result *bench, bool is_cached, enum workload_pattern pattern)
{
	for (size_t i = 0; i < bench->nr_runs; i++)
		if (bench->runs[i].nr_repeats && bench->runs[i].args.is_cached == is_cached &&
		    bench->runs[i].args.workload.pattern == pattern)
			return &bench->runs[i];
	return NULL;
}

/* What the first look comes to. */
static void put_verdict(struct report *r)
{
	const struct bench_run *all = find_run(r->bench, false, WORKLOAD_SEQUENTIAL);
	const struct bench_run *one = find_run(r->bench, false, WORKLOAD_RANDOM);
	const struct bench_run *cached = find_run(r->bench, true, WORKLOAD_ZIPF);
	char time[UNITS_TIME_MAX], hit[UNITS_TIME_MAX], limit[UNITS_SIZE_MAX];

	if (r->args->nr_runs || !all || !one || !cached)
		return;
	text_puts(r->out, "\n");
	put_sentence(r,
		     "Reads %.0f MiB/s in sequence, and a block anywhere in %s; with %s of cache %.0f %% of the zipf reads "
		     "are hits, in %s each.",
		     all->median.bytes_per_s / (1 << 20), units_format_time(one->median.p50, time),
		     units_format_size(cached->args.memory_limit, limit), 100 * cached->median.hit_ratio,
		     units_format_time(histogram_percentile(&typical(cached)->measures[BENCH_HIT], 50), hit));
}

static void put_partial(struct report *r)
{
	if (r->bench->is_partial)
		text_puts(r->out, "PARTIAL: stopped by a signal; this is what there was until then\n");
}

static void put_warnings(struct report *r)
{
	for (unsigned i = 0; i < r->bench->nr_warnings; i++)
		put_sentence(r, "warning: %s [%s]", r->bench->warnings[i].text, r->bench->warnings[i].name);
	put_partial(r);
}

static void put_runs(struct report *r)
{
	for (size_t i = 0; i < r->bench->nr_runs; i++)
		if (r->bench->runs[i].nr_repeats)
			put_run(r, &r->bench->runs[i]);
}

static void put_human(struct report *r)
{
	r->row = put_row_human;
	put_header(r);
	put_regions(r);
	text_puts(r->out, "\n");
	put_titles(r);
	put_runs(r);
	for (size_t i = 0; i < r->bench->nr_runs && r->args->has_bars; i++)
		if (r->bench->runs[i].nr_repeats)
			put_bars(r, &r->bench->runs[i]);
	for (size_t i = 0; i < r->bench->nr_runs; i++) {
		const struct bench_run *run = &r->bench->runs[i];

		if (run->nr_repeats > 1)
			put_range_line(r, run);
		if (run->nr_repeats && run->args.is_cached)
			put_cache_line(r, run);
		if (run->curve && run->curve->nr_points)
			put_curve(r, run);
	}
	put_verdict(r);
	put_warnings(r);
}

/* --- for other programs --- */

static void put_markdown(struct report *r)
{
	r->row = put_row_markdown;
	put_titles(r);
	for (unsigned i = 0; i < NR_COLUMNS; i++)
		text_puts(r->out, i ? "|---:" : "|---");
	text_puts(r->out, "|\n");
	put_runs(r);
	if (r->bench->is_partial)
		text_puts(r->out, "\n"); /* which ends the table */
	put_partial(r);
}

/* Exact, in plain units; a line for each repeat. What is partial is so of the whole result, as in JSON. */
static void put_csv_line(struct text_out *o, const struct bench_run *run, unsigned i, bool is_partial)
{
	static const double percents[] = { 50, 90, 99, 99.9, 99.99, 99.999, 100 };
	const struct bench_repeat *r = &run->repeats[i];
	const struct bench_run_args *a = &run->args;

	text_printf(o, "\"%s\",%s,%d,%" PRIu32 ",%u,%u,%u,%u,", a->name, bench_pattern_name(a), a->is_cached, a->block_size,
		    a->depth, a->threads, a->workload.read_percent, i + 1);
	text_printf(o, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.6g,%.6g,%" PRIu64 ",%" PRIu64, r->ns, r->ops, r->bytes,
		    bench_per_second(r, r->ops), r->ops ? (double)r->cpu_ns / (double)r->ops : 0, r->hits, r->misses);
	for (size_t p = 0; p < sizeof(percents) / sizeof(*percents); p++)
		text_printf(o, ",%" PRIu64, histogram_percentile(&r->measures[BENCH_SERVICE], percents[p]));
	text_puts(o, is_partial ? ",1\n" : ",0\n");
}

static void put_csv(struct report *r)
{
	text_puts(r->out,
		  "name,pattern,is_cached,block_size,depth,threads,read_percent,repeat,ns,ops,bytes,ops_per_s,"
		  "cpu_ns_per_op,hits,misses,p50,p90,p99,p99.9,p99.99,p99.999,max,partial\n");
	for (size_t i = 0; i < r->bench->nr_runs; i++)
		for (unsigned j = 0; j < r->bench->runs[i].nr_repeats; j++)
			put_csv_line(r->out, &r->bench->runs[i], j, r->bench->is_partial);
}

static void put_json(struct report *r)
{
	bench_put_json(r->out, r->bench);
}

int op_bench_report(const struct op_bench_args *args, const struct op_bench_result *bench)
{
	static void (*const formats[])(struct report *) = {
		[BENCH_HUMAN] = put_human, [BENCH_JSON] = put_json, [BENCH_CSV] = put_csv, [BENCH_MARKDOWN] = put_markdown,
	};
	struct report r = { .out = malloc(sizeof(*r.out)), .args = args, .bench = bench };
	int error;

	if (!r.out)
		return -ENOMEM;
	text_out_init(r.out, args->out_fd);
	formats[args->format](&r);
	error = text_out_flush(r.out);
	free(r.out);
	return error;
}
