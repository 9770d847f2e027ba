// SPDX-License-Identifier: LGPL-2.1-or-later
/* Saved results: what is in them, whether they can be compared, and the comparison run by run. */
#include "ops/bench_compare.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/statistics.h"
#include "ops/bench_compare_int.h"

#define NS_PER_S 1e9

/* Seconds that were cut off by the end say little. */
#define LEAST_SECOND_NS 5e8

struct compare {
	const struct op_bench_compare_args *args;
	struct op_result *result;
	json_t **saved; /* of each file */
	struct bench_compared *others; /* of each file but the first */
};

static bool fail_memory(struct compare *c)
{
	op_fail(c->result, OP_INTERNAL, -ENOMEM, "out of memory");
	return false;
}

/* --- what is saved, which is as bench_compare_load() lets it be --- */

/* False if there is none. */
static bool number_of(const json_t *object, const char *key, double *value)
{
	const json_t *v = json_object_get(object, key);

	*value = json_number_value(v);
	return v;
}

static const char *string_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

/* --- whether they are alike --- */

static const char *const device_conditions[] = {
	"size", "logical_block_size", "physical_block_size", "rotational", "direct", "engine", "model", NULL
};
static const char *const run_conditions[] = {
	"pattern", "stride", "theta", "shape", "deviation", "hot_accesses", "hot_blocks", "trace", "speed", "is_cached",
	"block_size", "depth", "threads", "read_percent", "region_begin", "region_end", "rate", "arrival", "flush_every",
	"memory_limit", NULL
};

/* One more sentence about @other. */
__attribute__((format(printf, 3, 4))) static bool add_difference(struct compare *c, struct bench_compared *other,
								 const char *format, ...)
{
	char **larger = reallocarray(other->differences, other->nr_differences + 1, sizeof(*larger));
	va_list ap;
	int r;

	if (!larger)
		return fail_memory(c);
	other->differences = larger;
	va_start(ap, format);
	r = vasprintf(&larger[other->nr_differences], format, ap);
	va_end(ap);
	if (r < 0)
		return fail_memory(c);
	other->nr_differences++;
	return true;
}

#define DIGITS 6 /* of numbers that are not whole, as bench_json.c writes them */

/* As it stands in the file; to be freed. */
static char *text_of(const json_t *value)
{
	return value ? json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(DIGITS)) : strdup("not said");
}

static bool compare_value(struct compare *c, struct bench_compared *other, const char *of, const char *key, const json_t *a,
			  const json_t *b)
{
	char *was, *is;
	bool ok;

	if (a == b || (a && b && json_equal(a, b)))
		return true;
	was = text_of(a);
	is = text_of(b);
	ok = was && is ? add_difference(c, other, "%s: %s is %s, and was %s", of, key, is, was) : fail_memory(c);
	free(was);
	free(is);
	return ok;
}

static bool compare_values(struct compare *c, struct bench_compared *other, const char *of, const char *const *keys,
			   const json_t *a, const json_t *b)
{
	for (; *keys; keys++)
		if (!compare_value(c, other, of, *keys, json_object_get(a, *keys), json_object_get(b, *keys)))
			return false;
	return true;
}

/* --- which runs belong together --- */

static bool is_called(const json_t *run, const char *name)
{
	return run && !strcmp(string_of(run, "name"), name);
}

/* The run of the same name, at the same place if there are several; or NULL. */
static const json_t *partner(const json_t *runs, size_t i, const char *name)
{
	const json_t *run;
	size_t j;

	if (is_called(json_array_get(runs, i), name))
		return json_array_get(runs, i);
	json_array_foreach (runs, j, run)
		if (is_called(run, name))
			return run;
	return NULL;
}

/* --- what was measured --- */

/* What a second says, or the repeat as a whole. */
typedef bool measure_fn(const json_t *object, double ns, double *value);

static bool rate_of(const json_t *object, const char *key, double ns, double *value)
{
	if (!number_of(object, key, value) || !(ns > 0))
		return false;
	*value *= NS_PER_S / ns;
	return true;
}

static bool ops_of(const json_t *object, double ns, double *value)
{
	return rate_of(object, "ops", ns, value);
}

static bool bytes_of(const json_t *object, double ns, double *value)
{
	return rate_of(object, "bytes", ns, value);
}

static bool hits_of(const json_t *object, double ns, double *value)
{
	double hits, misses;

	(void)ns;
	if (!number_of(object, "hits", &hits) || !number_of(object, "misses", &misses) || !(hits + misses > 0))
		return false;
	*value = hits / (hits + misses);
	return true;
}

static bool second_p50(const json_t *second, double ns, double *value)
{
	(void)ns;
	return number_of(second, "p50", value);
}

static bool second_p99(const json_t *second, double ns, double *value)
{
	(void)ns;
	return number_of(second, "p99", value);
}

static bool repeat_p50(const json_t *repeat, double ns, double *value)
{
	return second_p50(json_object_get(repeat, "service_ns"), ns, value);
}

static bool repeat_p99(const json_t *repeat, double ns, double *value)
{
	return second_p99(json_object_get(repeat, "service_ns"), ns, value);
}

static bool response_p50(const json_t *repeat, double ns, double *value)
{
	return second_p50(json_object_get(repeat, "response_ns"), ns, value);
}

static bool response_p99(const json_t *repeat, double ns, double *value)
{
	return second_p99(json_object_get(repeat, "response_ns"), ns, value);
}

static bool cpu_of(const json_t *repeat, double ns, double *value)
{
	(void)ns;
	return number_of(repeat, "cpu_ns_per_op", value);
}

static const struct {
	measure_fn *of_repeat, *of_second; /* the latter NULL: seconds do not say */
} measures[NR_BENCH_METRICS] = {
	[METRIC_OPS] = { ops_of, ops_of },
	[METRIC_BYTES] = { bytes_of, bytes_of },
	[METRIC_P50] = { repeat_p50, second_p50 },
	[METRIC_P99] = { repeat_p99, second_p99 },
	[METRIC_RESPONSE_P50] = { response_p50, NULL },
	[METRIC_RESPONSE_P99] = { response_p99, NULL },
	[METRIC_HITS] = { hits_of, hits_of },
	[METRIC_CPU] = { cpu_of, NULL },
};

static bool append(struct bench_series *s, double value)
{
	size_t max = s->max ? 2 * s->max : 64;
	double *larger;

	if (s->nr == s->max) {
		larger = reallocarray(s->samples, max, sizeof(*larger));
		if (!larger)
			return false;
		s->samples = larger;
		s->max = max;
	}
	s->samples[s->nr++] = value;
	return true;
}

static bool append_seconds(struct bench_series *s, const json_t *repeat, measure_fn *of_second)
{
	const json_t *second;
	double before = 0, end, value;
	size_t i;

	json_array_foreach (json_object_get(repeat, "samples"), i, second) {
		if (!number_of(second, "ns", &end))
			continue;
		if (end - before >= LEAST_SECOND_NS && of_second(second, end - before, &value) && !append(s, value))
			return false;
		before = end;
	}
	return true;
}

/* The seconds of all repeats; the repeats themselves if these are more, or nothing else is known. */
static bool fill_series(const json_t *run, unsigned metric, struct bench_series *s)
{
	struct bench_series whole = { 0 };
	const json_t *repeat;
	double ns, value;
	bool ok = true;
	size_t i;

	json_array_foreach (json_object_get(run, "repeats"), i, repeat) {
		if (!ok || !number_of(repeat, "ns", &ns) || !measures[metric].of_repeat(repeat, ns, &value))
			continue;
		ok = append(&whole, value);
		if (ok && measures[metric].of_second)
			ok = append_seconds(s, repeat, measures[metric].of_second);
	}
	if (ok && s->nr < whole.nr) {
		s->nr = 0;
		for (i = 0; i < whole.nr && ok; i++)
			ok = append(s, whole.samples[i]);
	}
	statistics_sort(whole.samples, whole.nr);
	s->value = statistics_median(whole.samples, whole.nr);
	free(whole.samples);
	return ok;
}

static bool compare_metric(struct compare *c, const struct bench_limits *limits, unsigned metric, const json_t *a,
			   const json_t *b, struct bench_comparison *row)
{
	struct bench_series x = { 0 }, y = { 0 };
	bool ok = fill_series(a, metric, &x) && fill_series(b, metric, &y) &&
		  !bench_judge(&bench_metrics[metric], limits, &x, &y, row);

	free(x.samples);
	free(y.samples);
	return ok || fail_memory(c);
}

/* --- file by file --- */

static void add_verdict(struct bench_compared *other, const struct bench_comparison *row)
{
	if (row->verdict == BENCH_WORSE || (row->verdict == BENCH_BETTER && other->verdict == BENCH_SAME))
		other->verdict = row->verdict;
}

static bool compare_run(struct compare *c, struct bench_compared *other, const json_t *a, const json_t *b)
{
	struct bench_compared_run *run = &other->runs[other->nr_runs++];

	run->name = string_of(a, "name");
	if (!compare_values(c, other, run->name, run_conditions, a, b))
		return false;
	for (unsigned m = 0; m < NR_BENCH_METRICS; m++) {
		if (!compare_metric(c, &other->limits, m, a, b, &run->rows[m]))
			return false;
		run->is_compared |= run->rows[m].is_there;
		add_verdict(other, &run->rows[m]);
	}
	other->is_compared |= run->is_compared;
	return true;
}

static bool compare_runs(struct compare *c, struct bench_compared *other, const json_t *ours, const json_t *theirs)
{
	const json_t *run, *b;
	size_t i;

	other->runs = calloc(json_array_size(ours) + 1, sizeof(*other->runs));
	if (!other->runs)
		return fail_memory(c);
	json_array_foreach (ours, i, run) {
		b = partner(theirs, i, string_of(run, "name"));
		if (b ? !compare_run(c, other, run, b)
		      : !add_difference(c, other, "%s: is not there", string_of(run, "name")))
			return false;
	}
	return json_array_size(ours) == json_array_size(theirs) ||
	       add_difference(c, other, "runs: there are %zu, and there were %zu", json_array_size(theirs),
			      json_array_size(ours));
}

static double clock_of(const json_t *saved)
{
	double ns;

	number_of(saved, "clock_ns", &ns);
	return ns;
}

static bool compare_file(struct compare *c, size_t i)
{
	static const char *const whole[] = { "partial", NULL };
	struct bench_compared *other = &c->others[i - 1];
	const json_t *a = c->saved[0], *b = c->saved[i];

	other->limits = (struct bench_limits){ c->args->tolerance, fmax(clock_of(a), clock_of(b)) };
	other->file = c->args->files[i];
	other->image = string_of(b, "image");
	if (!compare_values(c, other, "result", whole, a, b) ||
	    !compare_values(c, other, "device", device_conditions, json_object_get(a, "device"),
			    json_object_get(b, "device")) ||
	    !compare_runs(c, other, json_object_get(a, "runs"), json_object_get(b, "runs")))
		return false;
	if (other->nr_differences && !c->args->may_differ)
		op_fail(c->result, OP_REFUSED, 0, "%s: was not measured as %s was: %s%s%s", other->file, c->args->files[0],
			other->differences[0], other->nr_differences > 1 ? ", and more" : "",
			other->is_compared ? "; --force-conditions compares them" : "");
	else if (!other->is_compared)
		op_fail(c->result, OP_INPUT, -ENODATA,
			"%s: no run of the same name was measured in %s too: nothing is compared", other->file,
			c->args->files[0]);
	return c->result->outcome == OP_DONE;
}

static void compare_all(struct compare *c)
{
	int r;

	for (size_t i = 0; i < c->args->nr_files; i++) {
		c->saved[i] = bench_compare_load(c->args->files[i], c->result);
		if (!c->saved[i] || (i && !compare_file(c, i)))
			return;
	}
	for (size_t i = 0; i + 1 < c->args->nr_files; i++)
		c->result->differs |= c->others[i].verdict == BENCH_WORSE;
	r = bench_compare_report(c->args, string_of(c->saved[0], "image"), c->others, c->args->nr_files - 1);
	if (r)
		op_fail(c->result, OP_OUTPUT, r, "standard output: %s", strerror(-r));
}

static void free_compared(struct bench_compared *other)
{
	for (size_t i = 0; i < other->nr_differences; i++)
		free(other->differences[i]);
	free(other->differences);
	free(other->runs);
}

void op_bench_compare(const struct op_bench_compare_args *args, struct op_result *result)
{
	struct compare c = { args, result, calloc(args->nr_files, sizeof(*c.saved)),
			     calloc(args->nr_files, sizeof(*c.others)) };

	*result = (struct op_result){ .outcome = OP_DONE };
	if (c.saved && c.others)
		compare_all(&c);
	else
		fail_memory(&c);
	for (size_t i = 0; i < args->nr_files && c.saved && c.others; i++) {
		json_decref(c.saved[i]);
		free_compared(&c.others[i]);
	}
	free(c.saved);
	free(c.others);
}
