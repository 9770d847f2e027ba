// SPDX-License-Identifier: LGPL-2.1-or-later
/* bufio-bench: what options say. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/units.h"
#include "cmd/bench.h"

uint64_t bench_parse_bounded(struct argp_state *state, const char *option, const char *arg, uint64_t least, uint64_t most)
{
	uint64_t n = cli_parse_number(state, option, arg);

	if (n < least || n > most)
		argp_error(state, "--%s: %s is not from %" PRIu64 " to %" PRIu64, option, arg, least, most);
	return n;
}

uint64_t bench_parse_time(struct argp_state *state, const char *option, const char *arg)
{
	uint64_t ns = 0;

	if (units_parse_time(arg, &ns) || !ns || ns > INT64_MAX)
		argp_error(state, "--%s: '%s' is not a time such as 10, 500ms or 2m", option, arg);
	return ns;
}

void bench_parse_warm_up(struct argp_state *state, struct bench_run_args *run, const char *arg)
{
	if (!strcmp(arg, "steady"))
		run->warms_until_steady = true;
	else
		run->warm_up_ns = bench_parse_time(state, "warm-up", arg);
}

/* @end is where the number ends, or NULL if there is none. */
static double parse_real(const char *arg, const char **end)
{
	char *behind;
	double v = strtod(arg, &behind);

	*end = behind == arg ? NULL : behind;
	return v;
}

/* --- patterns: what is behind the colon, up to where each gives; or NULL. What is 0 would be what is usual --- */

static const char *parse_parameter(double *v, const char *arg)
{
	const char *end;

	*v = parse_real(arg, &end);
	return *v > 0 ? end : NULL;
}

/* "90/10" */
static const char *parse_hot_cold(struct workload *w, const char *arg)
{
	const char *end = parse_parameter(&w->hot_accesses, arg);

	return end && *end == '/' ? parse_parameter(&w->hot_blocks, end + 1) : NULL;
}

static const char *parse_stride(struct workload *w, const char *arg)
{
	return units_parse_number(arg, &w->stride) || !w->stride ? NULL : "";
}

static const char *parse_theta(struct workload *w, const char *arg)
{
	return parse_parameter(&w->theta, arg);
}

static const char *parse_shape(struct workload *w, const char *arg)
{
	return parse_parameter(&w->shape, arg);
}

static const char *parse_deviation(struct workload *w, const char *arg)
{
	return parse_parameter(&w->deviation, arg);
}

static const char *(*const parameters[NR_WORKLOAD_PATTERNS])(struct workload *, const char *) = {
	[WORKLOAD_STRIDED] = parse_stride, [WORKLOAD_ZIPF] = parse_theta, [WORKLOAD_PARETO] = parse_shape,
	[WORKLOAD_NORMAL] = parse_deviation, [WORKLOAD_HOT_COLD] = parse_hot_cold, [WORKLOAD_ZIPF_SCAN] = parse_theta,
};

void bench_parse_pattern(struct argp_state *state, struct workload *w, const char *arg)
{
	size_t n = strcspn(arg, ":");
	char name[32];
	const char *end;

	snprintf(name, sizeof(name), "%.*s", (int)n, arg);
	if (!workload_pattern_find(name, &w->pattern))
		argp_error(state,
			   "--pattern: '%s' is none of sequential, strided, random, zipf, pareto, normal, hot-cold, "
			   "zipf-scan", name);
	if (!arg[n])
		return;
	end = parameters[w->pattern] ? parameters[w->pattern](w, arg + n + 1) : NULL;
	if (!end || *end)
		argp_error(state, "--pattern: '%s' is nothing that %s takes", arg + n + 1, name);
}

/* --- the others --- */

void bench_parse_rate(struct argp_state *state, struct bench_run_args *run, const char *arg)
{
	const char *end;

	run->rate = parse_real(arg, &end);
	if (!end || (*end && strcmp(end, "/s") != 0) || !(run->rate >= 0.001 && run->rate <= 1e9))
		argp_error(state, "--rate: '%s' is not so many operations a second, such as 500 or 500/s", arg);
}

void bench_parse_arrival(struct argp_state *state, struct bench_run_args *run, const char *arg)
{
	if (!strcmp(arg, "fixed"))
		run->arrival = BENCH_FIXED;
	else if (!strcmp(arg, "poisson"))
		run->arrival = BENCH_POISSON;
	else
		argp_error(state, "--arrival: '%s' is none of fixed, poisson", arg);
}

void bench_parse_speed(struct argp_state *state, struct bench_run_args *run, const char *arg)
{
	const char *end = NULL;

	run->speed = !strcmp(arg, "timed");
	if (!strcmp(arg, "asap") || run->speed > 0)
		return;
	if (*arg == 'x')
		run->speed = parse_real(arg + 1, &end);
	if (!end || *end || !(run->speed >= 0.001 && run->speed <= 1e6))
		argp_error(state, "--speed: '%s' is none of asap, timed, x0.001 to x1000000", arg);
}

enum bench_sweep bench_parse_sweep(struct argp_state *state, const char *arg)
{
	static const char *const words[] = { [SWEEP_BLOCK_SIZE] = "block-size", [SWEEP_DEPTH] = "depth",
					     [SWEEP_THREADS] = "threads" };

	for (unsigned i = SWEEP_NONE + 1; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(arg, words[i]))
			return i;
	argp_error(state, "--sweep: '%s' is none of block-size, depth, threads", arg);
	return SWEEP_NONE;
}

double bench_parse_tolerance(struct argp_state *state, const char *arg)
{
	const char *end;
	double percent = parse_real(arg, &end);

	if (!end || *end || !(percent >= 0 && percent < 100))
		argp_error(state, "--tolerance: '%s' is not so many percent, from 0 to less than 100", arg);
	return percent / 100;
}

void bench_parse_region(struct argp_state *state, struct bench_run_args *run, const char *arg)
{
	bool in_bytes;

	if (units_parse_extent(arg, &in_bytes, &run->begin, &run->end) ||
	    (!in_bytes && (!checked_mul(run->begin, run->block_size, &run->begin) ||
			   !checked_mul(run->end, run->block_size, &run->end))) || run->end > INT64_MAX)
		argp_error(state, "--region: '%s' is not a range such as 3..7, 3+4 or 1GiB..2GiB", arg);
}
