// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/histogram.h"

#include <math.h>

uint64_t histogram_bucket_begin(unsigned bucket)
{
	unsigned octave = bucket >> HISTOGRAM_BITS, shift = octave ? octave - 1 : 0;

	return (uint64_t)(bucket - (shift << HISTOGRAM_BITS)) << shift;
}

void histogram_add(struct histogram *h, const struct histogram *from)
{
	if (!from->total)
		return;
	for (unsigned b = histogram_bucket(from->min); b <= histogram_bucket(from->max); b++)
		h->counts[b] += from->counts[b];
	h->min = !h->total || from->min < h->min ? from->min : h->min;
	h->max = from->max > h->max ? from->max : h->max;
	h->sum += from->sum;
	h->total += from->total;
}

/* Counted from 1. 99.9 percent of 1000 are 999, though as a product of doubles they are a little more. */
static uint64_t rank_of(const struct histogram *h, double percent)
{
	double rank = ceil(percent / 100 * (double)h->total * (1 - 1e-12));

	if (!(rank > 1))
		return 1;
	return rank < (double)h->total ? (uint64_t)rank : h->total;
}

static uint64_t middle_of(const struct histogram *h, unsigned bucket)
{
	uint64_t begin = histogram_bucket_begin(bucket);
	uint64_t last = bucket + 1 < HISTOGRAM_BUCKETS ? histogram_bucket_begin(bucket + 1) - 1 : UINT64_MAX;
	uint64_t middle = begin + (last - begin) / 2;

	if (middle < h->min)
		return h->min;
	return middle < h->max ? middle : h->max;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
	uint64_t rank, seen = 0;

	if (!h->total)
		return 0;
	rank = rank_of(h, percent);
	if (rank == 1)
		return h->min;
	if (rank == h->total)
		return h->max;
	for (unsigned b = histogram_bucket(h->min); b < HISTOGRAM_BUCKETS; b++) {
		seen += h->counts[b];
		if (seen >= rank)
			return middle_of(h, b);
	}
	return h->max;
}

double histogram_mean(const struct histogram *h)
{
	return h->total ? h->sum / (double)h->total : 0;
}
