// SPDX-License-Identifier: LGPL-2.1-or-later
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/statistics.h"
#include "unit.h"

#define MANY 400

static uint64_t state;

/* 0 to 1. */
static double part(void)
{
	uint64_t x = state += UINT64_C(0x9E3779B97F4A7C15);

	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	return (double)((x ^ x >> 31) >> 11) * 0x1p-53;
}

/* Nearly a bell, with a deviation of 1. */
static double bell(void)
{
	double sum = -6;

	for (unsigned i = 0; i < 12; i++)
		sum += part();
	return sum;
}

static bool is_near(double a, double b, double within)
{
	return fabs(a - b) <= within;
}

static struct statistics_samples sorted(double *values, size_t nr)
{
	statistics_sort(values, nr);
	return (struct statistics_samples){ values, nr, (double)nr };
}

/* Hollander and Wolfe, "Nonparametric statistical methods", 1973: permeability, at term and in weeks 12 to 26. */
static double term[] = { 0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46 };
static double earlier[] = { 1.15, 0.88, 0.90, 0.74, 1.21 };

/* --- one set --- */

static void quantiles(void)
{
	double values[] = { 40, 10, 30, 20 };

	statistics_sort(values, 4);
	CU_ASSERT_EQUAL(statistics_median(values, 4), 25);
	CU_ASSERT_EQUAL(statistics_quantile(values, 4, 0.25), 17.5);
	CU_ASSERT_EQUAL(statistics_quantile(values, 4, 0), 10);
	CU_ASSERT_EQUAL(statistics_quantile(values, 4, 1), 40);
	CU_ASSERT_EQUAL(statistics_median(values, 3), 20);
	CU_ASSERT_EQUAL(statistics_quantile(values, 1, 0.75), 10);
	CU_ASSERT_EQUAL(statistics_median(values, 0), 0);
}

/* --- worth --- */

static double worth_of(double likeness, size_t nr)
{
	double values[MANY], last = bell();

	for (size_t i = 0; i < nr; i++)
		values[i] = last = likeness * last + sqrt(1 - likeness * likeness) * bell();
	return statistics_worth(values, nr);
}

static double mean_worth(double likeness, size_t nr)
{
	double sum = 0;

	state = 2;
	for (unsigned i = 0; i < 200; i++)
		sum += worth_of(likeness, nr);
	return sum / 200;
}

static void worth_of_independent(void)
{
	double worth = mean_worth(0, MANY);

	CU_ASSERT(worth > 0.75 * MANY && worth <= MANY);
	worth = mean_worth(0, 30);
	CU_ASSERT(worth > 20 && worth <= 30);
}

/* Neighbours that correlate by r leave (1 - r) / (1 + r) of the values. */
static void worth_of_alike(void)
{
	CU_ASSERT(is_near(mean_worth(0.5, MANY), MANY / 3.0, MANY / 3.0 * 0.15));
	CU_ASSERT(is_near(mean_worth(0.8, MANY), MANY / 9.0, MANY / 9.0 * 0.2));
}

static void worth_of_swinging(void)
{
	CU_ASSERT(mean_worth(-0.5, MANY) > 0.95 * MANY);
}

static void worth_of_runs(void)
{
	double values[50];

	state = 3;
	for (unsigned run = 0; run < 5; run++) {
		double level = 100 + 3 * bell();

		for (unsigned i = 0; i < 10; i++)
			values[run * 10 + i] = level + 0.1 * bell();
	}
	CU_ASSERT(statistics_worth(values, 50) < 10);
	CU_ASSERT(statistics_worth(values, 50) >= 1);
}

static void worth_of_few(void)
{
	double values[] = { 7, 7, 7, 8 };

	CU_ASSERT_EQUAL(statistics_worth(values, 0), 0);
	CU_ASSERT_EQUAL(statistics_worth(values, 1), 1);
	CU_ASSERT_EQUAL(statistics_worth(values, 3), 3);
	CU_ASSERT(statistics_worth(values, 4) >= 1);
}

/* --- two sets --- */

static void known_chance(void)
{
	struct statistics_samples a = sorted(term, 10), b = sorted(earlier, 5);

	/* U is 35 of 50: 9.5 from the middle by the half rank, and the deviation is the root of 10 * 5 * 16 / 12 */
	CU_ASSERT(is_near(statistics_compare_ranks(&a, &b), 0.24463, 1e-5));
	CU_ASSERT_EQUAL(statistics_compare_ranks(&a, &b), statistics_compare_ranks(&b, &a));
}

static void known_chance_with_ties(void)
{
	double x[] = { 1, 2, 2, 3, 3, 3 }, y[] = { 2, 3, 4, 4, 5 };
	struct statistics_samples a = { x, 6, 6 }, b = { y, 5, 5 };
	/* Ranks of x: 1, 3, 3, 6.5, 6.5, 6.5; of 36. Ties of 3, 4 and 2 */
	double variance = 30.0 / 12 * (12 - (24 + 60 + 6) / 110.0);

	CU_ASSERT(is_near(statistics_compare_ranks(&a, &b), erfc((36 - 26.5 - 0.5) / sqrt(2 * variance)), 1e-12));
}

static void nothing_to_compare(void)
{
	double same[] = { 2, 2, 2, 2 };
	struct statistics_samples a = { same, 4, 4 }, none = { same, 0, 0 };

	CU_ASSERT_EQUAL(statistics_compare_ranks(&a, &a), 1);
	CU_ASSERT_EQUAL(statistics_compare_ranks(&a, &none), 1);
	CU_ASSERT_EQUAL(statistics_compare_ranks(&none, &a), 1);
}

/* --- many pairs of sets --- */

static void draw_run(double *values, size_t nr, double likeness, double level)
{
	double last = bell();

	for (size_t i = 0; i < nr; i++) {
		last = likeness * last + sqrt(1 - likeness * likeness) * bell();
		values[i] = level * (1 + 0.05 * last);
	}
}

/* Of 1000 pairs of runs of 30 s, those with a chance below 5 %. */
static unsigned count_different(double likeness, double level, bool looks_at_worth)
{
	double x[30], y[30];
	unsigned nr = 0;

	state = 5;
	for (unsigned i = 0; i < 1000; i++) {
		struct statistics_samples a = { x, 30, 30 }, b = { y, 30, 30 };

		draw_run(x, 30, likeness, 1000);
		draw_run(y, 30, likeness, level);
		if (looks_at_worth) {
			a.worth = statistics_worth(x, 30);
			b.worth = statistics_worth(y, 30);
		}
		statistics_sort(x, 30);
		statistics_sort(y, 30);
		nr += statistics_compare_ranks(&a, &b) < 0.05;
	}
	return nr;
}

static void equal_runs_seldom_differ(void)
{
	unsigned nr = count_different(0, 1000, false);

	CU_ASSERT(nr > 25 && nr < 75);
	CU_ASSERT(count_different(0, 1000, true) < 50);
}

static void alike_neighbours_are_allowed_for(void)
{
	unsigned naive = count_different(0.7, 1000, false), sound = count_different(0.7, 1000, true);

	CU_ASSERT(naive > 300);
	CU_ASSERT(sound < 150);
}

static void slower_runs_always_differ(void)
{
	CU_ASSERT_EQUAL(count_different(0, 800, true), 1000);
	CU_ASSERT(count_different(0.7, 800, true) > 980);
}

static const struct unit_case cases[] = {
	{ "quantiles lie between neighbours, the median in the middle", quantiles },
	{ "independent values are worth nearly as many as they are", worth_of_independent },
	{ "values alike their neighbours are worth what theory says", worth_of_alike },
	{ "values that swing are not worth more than they are", worth_of_swinging },
	{ "runs that differ, one behind the other, are worth little more than their number", worth_of_runs },
	{ "a few values, and equal ones, have a worth too", worth_of_few },
	{ "the chance of a known example is right", known_chance },
	{ "and of one with ties", known_chance_with_ties },
	{ "equal values, and none, do not differ", nothing_to_compare },
	{ "of equal runs one in 20 differs by a chance of 5 %", equal_runs_seldom_differ },
	{ "where neighbours are alike, far fewer differ than by number alone", alike_neighbours_are_allowed_for },
	{ "runs that are 20 % slower differ", slower_runs_always_differ },
	{ NULL, NULL },
};

const struct unit_suite statistics_suite = { "statistics", cases };
