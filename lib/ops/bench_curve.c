// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/bench_curve.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/stack_distance.h"

#define MIN_BUFFERS 8
#define STOP_EVERY 4096 /* accesses */
#define NARROW 50       /* a size is known to within a part of so many */

/* Of the blocks: close together where most curves have fallen far and cliffs are. */
static const double usual_parts[] = { 1.0 / 64, 1.0 / 32, 1.0 / 16, 1.0 / 8, 3.0 / 16, 1.0 / 4,
				      3.0 / 8, 1.0 / 2, 5.0 / 8, 3.0 / 4, 7.0 / 8, 1 };

#define NR_USUAL (sizeof(usual_parts) / sizeof(*usual_parts))

static const double wanted_hits[BENCH_CURVE_SIZES] = { 0.9, 0.95, 0.99 };

static bool is_stopped(const struct bench_curve_args *args)
{
	return args->stop && *args->stop;
}

/* --- least recently used --- */

static int follow(const struct bench_curve_args *args, struct stack_distance *lru)
{
	const struct bench_accesses *a = &args->accesses;
	struct bench_access_row row;
	int r = bench_access_open(a, &row);

	for (uint64_t i = 0; !r && i < a->nr; i++) {
		if (i % STOP_EVERY == 0 && is_stopped(args))
			break;
		if (i == a->warm_up)
			stack_distance_start(lru);
		stack_distance_access(lru, bench_access_next(&row));
	}
	if (!r)
		bench_access_close(&row);
	return r;
}

/* --- points --- */

static void add_point(struct bench_curve *curve, uint64_t limit, uint64_t buffers)
{
	curve->points[curve->nr_points++] = (struct bench_curve_point){ limit, buffers, NAN, NAN };
}

static int choose_points(const struct bench_curve_args *args, struct bench_curve *curve)
{
	uint64_t last = 0, limit;
	int r = 0;

	for (size_t i = 0; !r && i < NR_USUAL; i++) {
		uint64_t buffers = (uint64_t)ceil((double)curve->footprint * usual_parts[i]);

		buffers = buffers < MIN_BUFFERS ? MIN_BUFFERS : buffers;
		if (buffers == last)
			continue;
		last = buffers;
		r = bench_policy_limit(args->block_size, buffers, &limit);
		if (!r)
			add_point(curve, limit, buffers);
	}
	return r;
}

static int take_limits(const struct bench_curve_args *args, struct bench_curve *curve)
{
	uint64_t buffers;
	int r = 0;

	for (size_t i = 0; !r && i < args->nr_limits; i++) {
		r = bench_policy_buffers(args->block_size, args->limits[i], &buffers);
		if (!r)
			add_point(curve, args->limits[i], buffers);
	}
	return r;
}

/* --- the policy --- */

static int replay(const struct bench_curve_args *args, uint64_t buffers, double *hits)
{
	return bench_policy_hits(&args->accesses, (unsigned)buffers, args->stop, hits);
}

static int replay_points(const struct bench_curve_args *args, struct bench_curve *curve)
{
	int r = 0;

	for (size_t i = 0; !r && i < curve->nr_points; i++) {
		struct bench_curve_point *p = &curve->points[i];

		if (p->buffers <= BENCH_POLICY_MAX)
			r = replay(args, p->buffers, &p->policy_hits);
	}
	return r;
}

/* --- the least limit --- */

/* A size that has enough hits, and a smaller one that has not. */
struct bracket {
	uint64_t low, high;
	double high_hits; /* NAN: nothing has enough so far */
};

static struct bracket find_bracket(const struct bench_curve *curve, double hits)
{
	struct bracket b = { MIN_BUFFERS - 1, MIN_BUFFERS, NAN };

	for (size_t i = 0; i < curve->nr_points; i++) {
		const struct bench_curve_point *p = &curve->points[i];

		if (p->policy_hits >= hits)
			return (struct bracket){ b.low, p->buffers, p->policy_hits };
		b.low = p->buffers;
	}
	return b;
}

/* All blocks fit, also if their number is only nearly known. */
static uint64_t enough_for_all(const struct bench_curve *curve)
{
	uint64_t buffers = curve->footprint + (curve->lru_rate < 1 ? curve->footprint / NARROW : 0);

	buffers = buffers < MIN_BUFFERS ? MIN_BUFFERS : buffers;
	return buffers < BENCH_POLICY_MAX ? buffers : BENCH_POLICY_MAX;
}

static int close_bracket(const struct bench_curve_args *args, struct bracket *b, double wanted)
{
	int r = 0;

	while (!r && b->high - b->low > b->high / NARROW + 1) {
		uint64_t middle = b->low + (b->high - b->low) / 2;
		double hits;

		r = replay(args, middle, &hits);
		if (!r && hits >= wanted) {
			b->high = middle;
			b->high_hits = hits;
		} else {
			b->low = middle;
		}
	}
	return r;
}

static int find_size(const struct bench_curve_args *args, const struct bench_curve *curve,
		     struct bench_curve_size *size)
{
	struct bracket b = find_bracket(curve, size->hits);
	uint64_t all = enough_for_all(curve);
	int r = 0;

	if (isnan(b.high_hits) && b.low < all) {
		b.high = all;
		r = replay(args, all, &b.high_hits);
	}
	if (r || !(b.high_hits >= size->hits))
		return r;
	r = close_bracket(args, &b, size->hits);
	if (r)
		return r;
	size->buffers = b.high;
	size->policy_hits = b.high_hits;
	size->is_found = true;
	return bench_policy_limit(args->block_size, b.high, &size->limit);
}

static int find_sizes(const struct bench_curve_args *args, struct bench_curve *curve)
{
	int r = 0;

	for (size_t i = 0; !r && i < BENCH_CURVE_SIZES; i++)
		r = find_size(args, curve, &curve->sizes[i]);
	return r;
}

/* --- all of it --- */

static int make(const struct bench_curve_args *args, struct stack_distance *lru, struct bench_curve *curve)
{
	int r = follow(args, lru);

	curve->footprint = stack_distance_footprint(lru);
	curve->lru_rate = stack_distance_rate(lru);
	if (!r)
		r = args->nr_limits ? take_limits(args, curve) : choose_points(args, curve);
	for (size_t i = 0; !r && i < curve->nr_points; i++)
		curve->points[i].lru_hits = 1 - stack_distance_miss_ratio(lru, curve->points[i].buffers);
	if (!r)
		r = replay_points(args, curve);
	return r ? r : find_sizes(args, curve);
}

int bench_curve_make(const struct bench_curve_args *args, struct bench_curve *curve)
{
	size_t nr = args->nr_limits ? args->nr_limits : NR_USUAL;
	struct bench_curve made = { .points = calloc(nr, sizeof(*made.points)) };
	struct stack_distance *lru = stack_distance_create(STACK_DISTANCE_USUAL);
	int r = !made.points || !lru ? -ENOMEM : 0;

	for (size_t i = 0; i < BENCH_CURVE_SIZES; i++)
		made.sizes[i] = (struct bench_curve_size){ .hits = wanted_hits[i], .policy_hits = NAN };
	if (!r && args->accesses.warm_up > args->accesses.nr)
		r = -EINVAL;
	if (!r)
		r = make(args, lru, &made);
	stack_distance_destroy(lru);
	made.is_partial = is_stopped(args);
	if (r && r != -EINTR) {
		bench_curve_free(&made);
		return r;
	}
	*curve = made;
	return 0;
}

void bench_curve_free(struct bench_curve *curve)
{
	free(curve->points);
	curve->points = NULL;
	curve->nr_points = 0;
}
