/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether two sets of measurements differ: ranks and medians, which a few stalls do not move, and which ask for no bell
 * shape. Nothing here allocates.
 *
 *	// in the order of time
 *	double worth_a = statistics_worth(a, nr_a), worth_b = statistics_worth(b, nr_b);
 *
 *	statistics_sort(a, nr_a);
 *	statistics_sort(b, nr_b);
 *	struct statistics_samples x = { a, nr_a, worth_a }, y = { b, nr_b, worth_b };
 *	if (statistics_compare_ranks(&x, &y) < 0.01)
 *		puts("differ");
 *
 * What no arithmetic can tell from one run each is how much whole runs differ from each other: of the same binary on
 * the same disk that is some percent. So a verdict needs a tolerance besides, or several runs one behind the other as
 * one sequence, whose worth is then near the number of runs if these differ.
 */
#ifndef BASE_STATISTICS_H
#define BASE_STATISTICS_H

#include <stddef.h>

/* Rising. None of the values is a NaN. */
void statistics_sort(double *values, size_t nr);

/*
 * What @part (0 to 1) of the values lie below, linear between neighbours: 0.5 is the median, 0.25 and 0.75 the
 * quartiles. 0 if there are none.
 */
double statistics_quantile(const double *sorted, size_t nr, double part);

static inline double statistics_median(const double *sorted, size_t nr)
{
	return statistics_quantile(sorted, nr, 0.5);
}

/*
 * How many independent values these are worth, which are in the order of time: neighbours that are alike (a burst, a
 * slow second half) say less than they seem to. 1 to @nr; 0 if there are none.
 */
double statistics_worth(const double *in_time, size_t nr);

struct statistics_samples {
	const double *sorted;
	size_t nr;
	double worth; /* of statistics_worth(), or @nr if they are independent */
};

/*
 * The chance that two sets of the same origin differ as much as these do, either way (rank sum of Mann and Whitney,
 * normal approximation, with ties; usable from about 4 values each, and wide where they are worth fewer). 1 if one is
 * empty, or if all values are equal.
 */
double statistics_compare_ranks(const struct statistics_samples *a, const struct statistics_samples *b);

#endif
