// SPDX-License-Identifier: LGPL-2.1-or-later
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/histogram.h"
#include "base/radix_sort.h"
#include "unit.h"

#define MANY 5000000

static struct histogram h, other;

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);

	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	return x ^ x >> 31;
}

/* Above 0, up to 1. */
static double next_part(uint64_t *state)
{
	return (double)((next_random(state) >> 11) + 1) * 0x1p-53;
}

static void clear(struct histogram *which)
{
	memset(which, 0, sizeof(*which));
}

static void record_each(const uint64_t *values, size_t nr)
{
	clear(&h);
	for (size_t i = 0; i < nr; i++)
		histogram_record(&h, values[i]);
}

/* --- against sorting --- */

/* Latencies of a device: most near 80 us, few far above. */
static uint64_t log_normal(uint64_t *state)
{
	double normal = sqrt(-2 * log(next_part(state))) * cos(2 * M_PI * next_part(state));

	return (uint64_t)(80000 * exp(0.6 * normal));
}

static uint64_t uniform(uint64_t *state)
{
	return next_random(state) % 1000000000;
}

/* So heavy a tail that there is no mean. */
static uint64_t heavy_tail(uint64_t *state)
{
	return (uint64_t)(1000 / next_part(state));
}

/* A coarse clock, and two kinds of accesses: what is cached, what is not. */
static uint64_t two_peaks(uint64_t *state)
{
	return next_random(state) % 10 ? 50 + next_random(state) % 60 : 2000000 + next_random(state) % 300 * 1000;
}

static void compare(const uint64_t *sorted, double percent)
{
	uint64_t rank = (uint64_t)ceil(percent * MANY / 100 - 1e-6), exact = sorted[rank ? rank - 1 : 0];
	uint64_t is = histogram_percentile(&h, percent);

	CU_ASSERT(fabs((double)is - (double)exact) <= 0.002 * (double)exact);
}

static void compare_percentiles(uint64_t (*draw)(uint64_t *state))
{
	static const double percents[] = { 0, 0.1, 1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 99.999, 100 };
	uint64_t *values = malloc(2 * MANY * sizeof(*values)), state = 1;

	CU_ASSERT_PTR_NOT_NULL_FATAL(values);
	for (size_t i = 0; i < MANY; i++)
		values[i] = draw(&state);
	record_each(values, MANY);
	radix_sort(values, values + MANY, MANY, sizeof(*values));
	for (size_t i = 0; i < sizeof(percents) / sizeof(*percents); i++)
		compare(values, percents[i]);
	CU_ASSERT_EQUAL(h.min, values[0]);
	CU_ASSERT_EQUAL(h.max, values[MANY - 1]);
	free(values);
}

static void of_log_normal(void)
{
	compare_percentiles(log_normal);
}

static void of_uniform(void)
{
	compare_percentiles(uniform);
}

static void of_heavy_tail(void)
{
	compare_percentiles(heavy_tail);
}

static void of_two_peaks(void)
{
	compare_percentiles(two_peaks);
}

/* --- buckets --- */

static void buckets_follow(void)
{
	unsigned bad = 0;

	for (unsigned b = 1; b < HISTOGRAM_BUCKETS; b++) {
		uint64_t begin = histogram_bucket_begin(b);

		bad += histogram_bucket(begin) != b || histogram_bucket(begin - 1) != b - 1;
	}
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT_EQUAL(histogram_bucket(0), 0);
	CU_ASSERT_EQUAL(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void middles_are_near(void)
{
	double worst = 0;

	for (unsigned b = 1; b + 1 < HISTOGRAM_BUCKETS; b++) {
		double begin = (double)histogram_bucket_begin(b), last = (double)(histogram_bucket_begin(b + 1) - 1);

		worst = fmax(worst, (last - begin + 1) / 2 / begin * (last > begin));
	}
	CU_ASSERT(worst < 0.002);
}

/* --- few values --- */

static void small_are_exact(void)
{
	clear(&h);
	for (uint64_t v = 1; v <= 500; v++)
		histogram_record(&h, v);
	CU_ASSERT_EQUAL(histogram_percentile(&h, 50), 250);
	CU_ASSERT_EQUAL(histogram_percentile(&h, 99), 495);
	CU_ASSERT_EQUAL(histogram_percentile(&h, 99.9), 500);
	CU_ASSERT_EQUAL(histogram_mean(&h), 250.5);
}

static void ranks_are_exact(void)
{
	clear(&h);
	for (uint64_t v = 0; v < 1000; v++)
		histogram_record(&h, v < 999 ? 1 : 7);
	CU_ASSERT_EQUAL(histogram_percentile(&h, 99.9), 1);
	CU_ASSERT_EQUAL(histogram_percentile(&h, 99.91), 7);
}

static void one_is_itself(void)
{
	clear(&h);
	histogram_record(&h, 123456789);
	for (double percent = 0; percent <= 100; percent += 12.5)
		CU_ASSERT_EQUAL(histogram_percentile(&h, percent), 123456789);
}

static void none_is_0(void)
{
	clear(&h);
	CU_ASSERT_EQUAL(histogram_percentile(&h, 50), 0);
	CU_ASSERT_EQUAL(histogram_mean(&h), 0);
}

/* --- several --- */

static void adds_up(void)
{
	static const uint64_t values[] = { 5, 70000, 12, UINT64_MAX, 0 };
	struct histogram whole;

	record_each(values, 5);
	whole = h;
	record_each(values + 2, 3);
	other = h;
	record_each(values, 2);
	histogram_add(&h, &other);
	CU_ASSERT_EQUAL(memcmp(&h, &whole, sizeof(h)), 0);
}

static void adds_to_none(void)
{
	static const uint64_t values[] = { 600, 500 };

	record_each(values, 2);
	other = h;
	clear(&h);
	histogram_add(&other, &h); /* nothing comes from an empty one, not even its 0 */
	histogram_add(&h, &other);
	CU_ASSERT_EQUAL(memcmp(&h, &other, sizeof(h)), 0);
	CU_ASSERT_EQUAL(h.min, 500);
	CU_ASSERT_EQUAL(h.total, 2);
}

static const struct unit_case cases[] = {
	{ "percentiles of 5 million log-normal latencies are within 0.2 % of sorting", of_log_normal },
	{ "and of uniform ones", of_uniform },
	{ "and of a tail without a mean", of_heavy_tail },
	{ "and of two peaks, one on a coarse clock", of_two_peaks },
	{ "each bucket begins where the one before ends, up to the largest number", buckets_follow },
	{ "no value is further than 0.2 % from the middle of its bucket", middles_are_near },
	{ "what is below 512 is exact", small_are_exact },
	{ "99.9 % of 1000 are 999", ranks_are_exact },
	{ "all percentiles of one value are that value", one_is_itself },
	{ "of no value, percentiles and mean are 0", none_is_0 },
	{ "histograms added up are as one that saw everything", adds_up },
	{ "an empty one adds nothing, and takes everything", adds_to_none },
	{ NULL, NULL },
};

const struct unit_suite histogram_suite = { "histogram", cases };
