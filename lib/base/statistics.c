// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/statistics.h"

#include <math.h>
#include <stdlib.h>

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
