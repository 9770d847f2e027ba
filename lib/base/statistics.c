// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/statistics.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int compare_values(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void statistics_sort(double *values, size_t nr)
{
	if (nr)
		qsort(values, nr, sizeof(*values), compare_values);
}

double statistics_quantile(const double *sorted, size_t nr, double part)
{
	double at = nr ? part * (double)(nr - 1) : 0, below = floor(at);
	size_t i = (size_t)below;

	if (!nr)
		return 0;
	return i + 1 < nr ? sorted[i] + (at - below) * (sorted[i + 1] - sorted[i]) : sorted[nr - 1];
}

/* --- deviation --- */

/* Distance number @which from @middle, from 0: they rise to both sides, so the two sides are merged. */
static double distance_at(const double *sorted, size_t nr, double middle, size_t which)
{
	size_t above = 0, below;
	double distance = 0;

	while (above < nr && sorted[above] < middle)
		above++;
	below = above;
	for (size_t i = 0; i <= which; i++) {
		double up = above < nr ? sorted[above] - middle : INFINITY;
		double down = below ? middle - sorted[below - 1] : INFINITY;

		if (up < down)
			above++;
		else
			below--;
		distance = fmin(up, down);
	}
	return distance;
}

double statistics_deviation(const double *sorted, size_t nr)
{
	double middle = statistics_median(sorted, nr);

	if (!nr)
		return 0;
	return (distance_at(sorted, nr, middle, (nr - 1) / 2) + distance_at(sorted, nr, middle, nr / 2)) / 2;
}

/* --- worth --- */

static double covariance(const double *values, size_t nr, double mean, size_t lag)
{
	double sum = 0;

	for (size_t i = lag; i < nr; i++)
		sum += (values[i] - mean) * (values[i - lag] - mean);
	return sum / (double)nr;
}

static double mean_of(const double *values, size_t nr)
{
	double sum = 0;

	for (size_t i = 0; i < nr; i++)
		sum += values[i];
	return sum / (double)nr;
}

/*
 * The variance of a mean grows with the sum of all correlations. That is taken as far as two lags, 0 and 1, 2 and 3,
 * are positive together (Geyer's initial positive sequence): behind that there is noise alone.
 */
double statistics_worth(const double *in_time, size_t nr)
{
	double mean, variance, sum = 0;

	if (!nr)
		return 0;
	mean = mean_of(in_time, nr);
	variance = covariance(in_time, nr, mean, 0);
	if (!(variance > 0))
		return (double)nr;
	for (size_t lag = 0; lag < nr; lag += 2) {
		double pair = covariance(in_time, nr, mean, lag) + covariance(in_time, nr, mean, lag + 1);

		if (pair <= 0)
			break;
		sum += pair / variance;
	}
	return fmin(fmax((double)nr / fmax(2 * sum - 1, 1), 1), (double)nr);
}

/* --- rank sum --- */

/* How many are equal to @value, from @at on. */
static size_t count_equal(const struct statistics_samples *s, size_t at, double value)
{
	size_t end = at;

	while (end < s->nr && s->sorted[end] == value)
		end++;
	return end - at;
}

struct rank_sum {
	double ranks; /* of a's values, together; equal ones share theirs */
	double ties;  /* the sum of t^3 - t, where t values are equal */
};

static struct rank_sum sum_ranks(const struct statistics_samples *a, const struct statistics_samples *b)
{
	struct rank_sum sum = { 0, 0 };
	size_t i = 0, j = 0;

	while (i < a->nr || j < b->nr) {
		double value = fmin(i < a->nr ? a->sorted[i] : INFINITY, j < b->nr ? b->sorted[j] : INFINITY);
		size_t of_a = count_equal(a, i, value), of_b = count_equal(b, j, value);
		double ties = (double)(of_a + of_b);

		sum.ranks += (double)of_a * ((double)(i + j) + (ties + 1) / 2);
		sum.ties += ties * ties * ties - ties;
		i += of_a;
		j += of_b;
	}
	return sum;
}

double statistics_compare_ranks(const struct statistics_samples *a, const struct statistics_samples *b)
{
	double n = (double)a->nr, m = (double)b->nr, all = n + m, distance, variance;
	struct rank_sum sum;

	if (!a->nr || !b->nr)
		return 1;
	sum = sum_ranks(a, b);
	distance = fabs(sum.ranks - n * (all + 1) / 2) - 0.5; /* half a rank: whole ones stand for a curve */
	variance = n * m / 12 * (all + 1 - sum.ties / (all * (all - 1)));
	variance *= (1 / a->worth + 1 / b->worth) / (1 / n + 1 / m);
	if (!(variance > 0) || distance <= 0)
		return 1;
	return erfc(distance / sqrt(2 * variance));
}

/* --- pairs --- */

typedef double combine_fn(double of_a, double of_b); /* rises with the first, falls with the second */

static double difference(double of_a, double of_b)
{
	return of_a - of_b;
}

static double quotient(double of_a, double of_b)
{
	return of_a / of_b;
}

static uint64_t count_up_to(const struct statistics_samples *a, const struct statistics_samples *b, combine_fn *combine,
			    double most)
{
	uint64_t nr = 0;
	size_t j = 0;

	for (size_t i = 0; i < a->nr; i++) {
		while (j < b->nr && combine(a->sorted[i], b->sorted[j]) > most)
			j++;
		nr += b->nr - j;
	}
	return nr;
}

/* Doubles as numbers in the same order, and back. */
static uint64_t place_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

static double value_at(uint64_t place)
{
	uint64_t bits = place >> 63 ? place & ~(UINT64_C(1) << 63) : ~place;
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Pair number @which, from 0, by halving: the pairs themselves may be too many to list. */
static double find_pair(const struct statistics_samples *a, const struct statistics_samples *b, combine_fn *combine,
			uint64_t which)
{
	uint64_t low = place_of(combine(a->sorted[0], b->sorted[b->nr - 1]));
	uint64_t high = place_of(combine(a->sorted[a->nr - 1], b->sorted[0]));

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (count_up_to(a, b, combine, value_at(middle)) > which)
			high = middle;
		else
			low = middle + 1;
	}
	return value_at(low);
}

static double median_pair(const struct statistics_samples *a, const struct statistics_samples *b, combine_fn *combine)
{
	uint64_t nr = (uint64_t)a->nr * b->nr;
	double lower = find_pair(a, b, combine, (nr - 1) / 2);

	return nr % 2 ? lower : (lower + find_pair(a, b, combine, nr / 2)) / 2;
}

double statistics_shift(const struct statistics_samples *a, const struct statistics_samples *b)
{
	return median_pair(a, b, difference);
}

double statistics_ratio(const struct statistics_samples *a, const struct statistics_samples *b)
{
	return median_pair(a, b, quotient);
}
