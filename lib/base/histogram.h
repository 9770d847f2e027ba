/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How often each value was seen, in buckets that are narrow for small values and wide for large ones: 256 for each
 * power of two, so that the middle of a bucket is within 0.2 % of every value in it, however these lie there. What is
 * below 512 is exact.
 *
 * Any 64-bit value fits; most are nanoseconds. 114 KiB each. One thread records; histograms of several threads are
 * added up afterwards.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 8 /* of a value behind its highest one that are kept */
#define HISTOGRAM_BUCKETS ((64u - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

/* All zeroes is an empty one. */
struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS];
	uint64_t total; /* values */
	uint64_t min, max;
	double sum;
};

/* The bucket of @value; and the lowest value of a bucket, the highest being one below that of the next. */
static inline unsigned histogram_bucket(uint64_t value)
{
	unsigned shift = value >> (HISTOGRAM_BITS + 1) ? 63 - HISTOGRAM_BITS - (unsigned)__builtin_clzll(value) : 0;

	return (shift << HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

uint64_t histogram_bucket_begin(unsigned bucket);

static inline void histogram_record(struct histogram *h, uint64_t value)
{
	h->counts[histogram_bucket(value)]++;
	h->min = !h->total || value < h->min ? value : h->min;
	h->max = value > h->max ? value : h->max;
	h->sum += (double)value;
	h->total++;
}

/* Adds what @from has. */
void histogram_add(struct histogram *h, const struct histogram *from);

/*
 * The value that @percent of 100 of all values do not exceed (nearest rank): the middle of its bucket, and never below
 * the least or above the greatest value that was recorded, which are what 0 and 100 give. 0 if there are none.
 */
uint64_t histogram_percentile(const struct histogram *h, double percent);

/* 0 if there are none. */
double histogram_mean(const struct histogram *h);

#endif
