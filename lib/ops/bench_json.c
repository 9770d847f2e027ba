// SPDX-License-Identifier: LGPL-2.1-or-later
/* The report for programs: all that is known, as one document. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "ops/bench_curve.h"
#include "ops/bench_int.h"
#include "text/emit.h"

#define SCHEMA "bufio.bench/1"

/* Between members; nothing in front of the first one. */
static void put_key(struct text_out *o, const char *key, bool *is_next)
{
	text_printf(o, "%s\"%s\":", *is_next ? "," : "", key);
	*is_next = true;
}

static void put_number(struct text_out *o, const char *key, uint64_t v, bool *is_next)
{
	put_key(o, key, is_next);
	text_put_dec(o, v);
}

static void put_real(struct text_out *o, const char *key, double v, bool *is_next)
{
	put_key(o, key, is_next);
	text_printf(o, "%.6g", v);
}

static void put_boolean(struct text_out *o, const char *key, bool v, bool *is_next)
{
	put_key(o, key, is_next);
	text_puts(o, v ? "true" : "false");
}

static void put_string(struct text_out *o, const char *key, const char *v, bool *is_next)
{
	put_key(o, key, is_next);
	text_put_json_string(o, v);
}

static const struct {
	const char *name;
	double percent;
} percentiles[] = {
	{ "p50", 50 }, { "p90", 90 }, { "p99", 99 }, { "p99.9", 99.9 }, { "p99.99", 99.99 }, { "p99.999", 99.999 },
};

/* Left out if there is nothing in it. */
static void put_histogram(struct text_out *o, const char *key, const struct histogram *h, bool *is_next)
{
	bool is_inner = false;

	if (!h->total)
		return;
	put_key(o, key, is_next);
	text_puts(o, "{");
	put_number(o, "count", h->total, &is_inner);
	put_number(o, "min", h->min, &is_inner);
	put_real(o, "mean", histogram_mean(h), &is_inner);
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(*percentiles); i++)
		put_number(o, percentiles[i].name, histogram_percentile(h, percentiles[i].percent), &is_inner);
	put_number(o, "max", h->max, &is_inner);
	text_puts(o, "}");
}

static void put_sample(struct text_out *o, const struct bench_sample *s, bool is_cached)
{
	bool is_next = false;

	text_puts(o, "{");
	put_number(o, "ns", s->ns, &is_next);
	put_number(o, "ops", s->ops, &is_next);
	put_number(o, "bytes", s->bytes, &is_next);
	put_number(o, "p50", s->p50, &is_next);
	put_number(o, "p99", s->p99, &is_next);
	if (is_cached) {
		put_number(o, "hits", s->hits, &is_next);
		put_number(o, "misses", s->misses, &is_next);
	}
	text_puts(o, "}");
}

static void put_cache(struct text_out *o, const struct bench_repeat *r, bool *is_next)
{
	bool is_inner = false;

	put_number(o, "hits", r->hits, is_next);
	put_number(o, "misses", r->misses, is_next);
	put_key(o, "cache", is_next);
	text_puts(o, "{");
	put_number(o, "evictions", r->stats.evictions, &is_inner);
	put_number(o, "waits", r->stats.waits, &is_inner);
	put_number(o, "blocks_read", r->stats.blocks_read, &is_inner);
	put_number(o, "read_requests", r->stats.read_requests, &is_inner);
	put_number(o, "blocks_written", r->stats.blocks_written, &is_inner);
	put_number(o, "write_requests", r->stats.write_requests, &is_inner);
	put_number(o, "dirty", r->stats.dirty, &is_inner);
	put_number(o, "prefetch_issued", r->prefetch.issued, &is_inner);
	put_number(o, "prefetch_used", r->prefetch.used, &is_inner);
	put_number(o, "prefetch_wasted", r->prefetch.wasted, &is_inner);
	text_puts(o, "}");
}

static double rate(const struct bench_repeat *r, uint64_t n)
{
	return r->ns ? (double)n * (double)BENCH_SECOND / (double)r->ns : 0;
}

static void put_repeat(struct text_out *o, const struct bench_run *run, const struct bench_repeat *r)
{
	static const char *const measures[] = {
		[BENCH_SERVICE] = "service_ns", [BENCH_RESPONSE] = "response_ns", [BENCH_HIT] = "hit_ns",
		[BENCH_MISS] = "miss_ns",	[BENCH_FLUSH] = "flush_ns",
	};
	bool is_next = false;

	text_puts(o, "{");
	put_number(o, "ns", r->ns, &is_next);
	put_number(o, "ops", r->ops, &is_next);
	put_number(o, "bytes", r->bytes, &is_next);
	put_number(o, "writes", r->writes, &is_next);
	put_number(o, "errors", r->errors, &is_next);
	put_real(o, "ops_per_s", rate(r, r->ops), &is_next);
	put_real(o, "bytes_per_s", rate(r, r->bytes), &is_next);
	put_real(o, "cpu_ns_per_op", r->ops ? (double)r->cpu_ns / (double)r->ops : 0, &is_next);
	if (run->args.is_cached)
		put_cache(o, r, &is_next);
	put_boolean(o, "is_saturated", r->is_saturated, &is_next);
	put_real(o, "stall_share", bench_stall_share(&r->measures[BENCH_SERVICE]), &is_next);
	for (unsigned i = 0; i < NR_BENCH_MEASURES; i++)
		put_histogram(o, measures[i], &r->measures[i], &is_next);
	put_key(o, "samples", &is_next);
	for (size_t i = 0; i < r->nr_samples; i++) {
		text_puts(o, i ? ",\n" : "[\n");
		put_sample(o, &r->samples[i], run->args.is_cached);
	}
	text_puts(o, r->nr_samples ? "]}" : "[]}");
}

/* What is not known is null. */
static void put_part(struct text_out *o, const char *key, double part, bool *is_next)
{
	put_key(o, key, is_next);
	if (isnan(part))
		text_puts(o, "null");
	else
		text_printf(o, "%.6g", part);
}

static void put_point(struct text_out *o, const struct bench_curve_point *p)
{
	bool is_next = false;

	text_puts(o, "{");
	put_number(o, "limit", p->limit, &is_next);
	put_number(o, "buffers", p->buffers, &is_next);
	put_part(o, "lru_hits", p->lru_hits, &is_next);
	put_part(o, "hits", p->policy_hits, &is_next);
	text_puts(o, "}");
}

static void put_size(struct text_out *o, const struct bench_curve_size *s)
{
	bool is_next = false;

	text_puts(o, "{");
	put_real(o, "asked", s->hits, &is_next);
	put_key(o, "limit", &is_next);
	if (s->is_found)
		text_put_dec(o, s->limit);
	else
		text_puts(o, "null");
	text_puts(o, "}");
}

static void put_curve(struct text_out *o, const struct bench_curve *c)
{
	bool is_next = false;

	text_puts(o, "{");
	put_number(o, "footprint", c->footprint, &is_next);
	put_real(o, "lru_rate", c->lru_rate, &is_next);
	put_boolean(o, "partial", c->is_partial, &is_next);
	put_key(o, "points", &is_next);
	for (size_t i = 0; i < c->nr_points; i++) {
		text_puts(o, i ? ",\n" : "[\n");
		put_point(o, &c->points[i]);
	}
	text_puts(o, c->nr_points ? "]" : "[]");
	put_key(o, "least_limits", &is_next);
	for (unsigned i = 0; i < BENCH_CURVE_SIZES; i++) {
		text_puts(o, i ? "," : "[");
		put_size(o, &c->sizes[i]);
	}
	text_puts(o, "]}");
}

static void put_median(struct text_out *o, const struct bench_run *run)
{
	const struct bench_median *m = &run->median;
	bool is_next = false;

	text_puts(o, "{");
	put_real(o, "ops_per_s", m->ops_per_s, &is_next);
	put_real(o, "least_ops_per_s", m->least_ops_per_s, &is_next);
	put_real(o, "most_ops_per_s", m->most_ops_per_s, &is_next);
	put_real(o, "bytes_per_s", m->bytes_per_s, &is_next);
	put_number(o, "p50", m->p50, &is_next);
	put_number(o, "p99", m->p99, &is_next);
	if (run->args.is_cached)
		put_real(o, "hit_ratio", m->hit_ratio, &is_next);
	text_puts(o, "}");
}

static void put_run(struct text_out *o, const struct bench_run *run)
{
	const struct bench_run_args *a = &run->args;
	bool is_next = false;

	text_puts(o, "{");
	put_string(o, "name", a->name, &is_next);
	put_string(o, "pattern", a->replay ? "replay" : workload_pattern_name(a->workload.pattern), &is_next);
	if (a->replay) {
		put_string(o, "trace", a->replay, &is_next);
		put_real(o, "speed", a->speed, &is_next);
	}
	put_boolean(o, "is_cached", a->is_cached, &is_next);
	put_number(o, "block_size", a->block_size, &is_next);
	put_number(o, "depth", a->depth, &is_next);
	put_number(o, "threads", a->threads, &is_next);
	put_number(o, "read_percent", a->workload.read_percent, &is_next);
	put_number(o, "region_begin", a->begin, &is_next);
	put_number(o, "region_end", a->end, &is_next);
	put_real(o, "rate", a->rate, &is_next);
	put_string(o, "arrival", bench_arrival_name(a->arrival), &is_next);
	put_number(o, "flush_every", a->flush_every, &is_next);
	put_number(o, "seed", a->workload.seed, &is_next);
	if (a->is_cached)
		put_number(o, "memory_limit", a->memory_limit, &is_next);
	put_key(o, "repeats", &is_next);
	for (unsigned i = 0; i < run->nr_repeats; i++) {
		text_puts(o, i ? ",\n" : "[\n");
		put_repeat(o, run, &run->repeats[i]);
	}
	text_puts(o, run->nr_repeats ? "]" : "[]");
	if (run->nr_repeats) {
		put_key(o, "median", &is_next);
		put_median(o, run);
	}
	if (run->curve) {
		put_key(o, "curve", &is_next);
		put_curve(o, run->curve);
	}
	text_puts(o, "}");
}

static void put_device(struct text_out *o, const struct bench_device *d)
{
	bool is_next = false;

	text_puts(o, "{");
	put_number(o, "size", d->info.size, &is_next);
	put_number(o, "logical_block_size", d->info.logical_block_size, &is_next);
	put_number(o, "physical_block_size", d->info.physical_block_size, &is_next);
	put_boolean(o, "rotational", d->is_rotational, &is_next);
	put_boolean(o, "direct", d->info.direct, &is_next);
	put_string(o, "engine", d->info.engine, &is_next);
	put_string(o, "model", d->model, &is_next);
	text_puts(o, "}");
}

static void put_warnings(struct text_out *o, const struct op_bench_result *bench)
{
	for (unsigned i = 0; i < bench->nr_warnings; i++) {
		bool is_next = false;

		text_puts(o, i ? ",\n{" : "[\n{");
		put_string(o, "name", bench->warnings[i].name, &is_next);
		put_string(o, "message", bench->warnings[i].text, &is_next);
		text_puts(o, "}");
	}
	text_puts(o, bench->nr_warnings ? "]" : "[]");
}

void bench_put_json(struct text_out *o, const struct op_bench_result *bench)
{
	bool is_next = false;

	text_puts(o, "{");
	put_string(o, "schema", SCHEMA, &is_next);
	put_string(o, "image", bench->image, &is_next);
	put_boolean(o, "partial", bench->is_partial, &is_next);
	put_key(o, "device", &is_next);
	put_device(o, &bench->device);
	put_number(o, "memory_limit", bench->memory_limit, &is_next);
	put_real(o, "clock_ns", bench->clock_ns, &is_next);
	put_key(o, "runs", &is_next);
	for (size_t i = 0; i < bench->nr_runs; i++) {
		text_puts(o, i ? ",\n" : "[\n");
		put_run(o, &bench->runs[i]);
	}
	text_puts(o, "]");
	put_key(o, "warnings", &is_next);
	put_warnings(o, bench);
	text_puts(o, "}\n");
}
