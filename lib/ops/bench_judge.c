// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Whether one series of measurements is better than another.
 *
 * Separate runs of the same thing on the same machine differ by some percent, which the seconds of one run do not show: so
 * that there is a difference proves nothing, however small its chance. What is asked is whether the difference is beyond
 * the tolerance, by more than the seconds of each side scatter.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/statistics.h"
#include "ops/bench_compare_int.h"

/*
 * Of both ends together: what runs may do by chance that differ by the whole tolerance. It is large, as equal ones are far
 * from that: against the drift of whole runs there is the tolerance, this is against single seconds that are far out.
 */
#define CHANCE 0.3

/*
 * With fewer than FEW on a side no order of them is unlikely enough: then the gap between the sides must be wider than what
 * either of them spreads over. From fewer than LEAST nothing is to be learned.
 */
#define FEW 4
#define LEAST 3

const struct bench_metric bench_metrics[NR_BENCH_METRICS] = {
	[METRIC_OPS] = { "ops_per_s", "ops/s", BENCH_PER_SECOND, true, 1 },
	[METRIC_BYTES] = { "bytes_per_s", "MiB/s", BENCH_BYTES_PER_SECOND, true, 1 },
	[METRIC_P50] = { "p50", "p50", BENCH_NS, false, 1.5 },
	[METRIC_P99] = { "p99", "p99", BENCH_NS, false, 3 },
	[METRIC_RESPONSE_P50] = { "response_p50", "response p50", BENCH_NS, false, 1.5 },
	[METRIC_RESPONSE_P99] = { "response_p99", "response p99", BENCH_NS, false, 3 },
	[METRIC_HITS] = { "hit_ratio", "hits", BENCH_RATIO, true, 1 },
	[METRIC_CPU] = { "cpu_ns_per_op", "CPU per op", BENCH_NS, false, 2 },
};

const char *bench_verdict_name(enum bench_verdict verdict)
{
	static const char *const names[] = { [BENCH_SAME] = "same", [BENCH_BETTER] = "better", [BENCH_WORSE] = "worse" };

	return names[verdict];
}

/* --- beyond --- */

static double spread_of(const struct statistics_samples *s)
{
	return s->sorted[s->nr - 1] - s->sorted[0];
}

static bool is_apart(const struct statistics_samples *low, const struct statistics_samples *high)
{
	return high->sorted[0] - low->sorted[low->nr - 1] > fmax(spread_of(low), spread_of(high));
}

/* What @value may sink to and be the same. */
static double lower(double value, double tolerance, double least)
{
	return fmin(value * (1 - tolerance), value - least);
}

/*
 * The chance that equal runs have @low so far below @high, when @high is lowered to @room by what it may be. Both are sorted.
 */
static double chance_below(const struct statistics_samples *low, const struct statistics_samples *high, double tolerance,
			   double least, double *room)
{
	struct statistics_samples lowered = { room, high->nr, high->worth };

	for (size_t i = 0; i < high->nr; i++)
		room[i] = lower(high->sorted[i], tolerance, least);
	if (low->nr < LEAST || high->nr < LEAST)
		return 1;
	if (low->nr < FEW || high->nr < FEW)
		return is_apart(low, &lowered) ? 0 : 1;
	if (statistics_median(low->sorted, low->nr) >= statistics_median(room, high->nr))
		return 1;
	return statistics_compare_ranks(low, &lowered);
}

static double ratio_of(double a, double b)
{
	return a > 0 ? b / a : b > 0 ? INFINITY : 1;
}

static struct statistics_samples sort(struct bench_series *s)
{
	struct statistics_samples sorted = { s->samples, s->nr, statistics_worth(s->samples, s->nr) };

	statistics_sort(s->samples, s->nr);
	return sorted;
}

int bench_judge(const struct bench_metric *metric, const struct bench_limits *limits, struct bench_series *a,
		struct bench_series *b, struct bench_comparison *c)
{
	double by = fmin(limits->tolerance * metric->slack, 0.99), least = metric->unit == BENCH_NS ? limits->clock_ns : 0;
	bool is_lower = b->value < lower(a->value, by, least), is_higher = a->value < lower(b->value, by, least);
	struct statistics_samples x, y;
	double *room;

	*c = (struct bench_comparison){
		.is_there = a->nr && b->nr, .a = a->value, .b = b->value, .ratio = ratio_of(a->value, b->value),
		.chance = 1, .is_beyond = is_lower || is_higher,
	};
	if (!c->is_there || !c->is_beyond)
		return 0;
	room = malloc((a->nr > b->nr ? a->nr : b->nr) * sizeof(*room));
	if (!room)
		return -ENOMEM;
	x = sort(a);
	y = sort(b);
	c->chance = is_lower ? chance_below(&y, &x, by, least, room) : chance_below(&x, &y, by, least, room);
	if (c->chance < CHANCE)
		c->verdict = is_lower == metric->is_more_better ? BENCH_WORSE : BENCH_BETTER;
	free(room);
	return 0;
}
