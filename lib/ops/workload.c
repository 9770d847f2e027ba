// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- numbers that look random --- */

/* Number after number of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */
static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);

	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	return x ^ x >> 31;
}

/* Below @nr. */
static uint64_t next_below(uint64_t *state, uint64_t nr)
{
	return (uint64_t)((unsigned __int128)next_random(state) * nr >> 64);
}

/* Above 0, below 1. */
static double next_part(uint64_t *state)
{
	return ((double)(next_random(state) >> 12) + 0.5) * 0x1p-52;
}

/* Where a sequence of its own begins. */
static uint64_t begin_random(uint64_t seed, uint64_t which)
{
	uint64_t state = seed, first = next_random(&state);

	state = first ^ which;
	return next_random(&state);
}

/* --- ranks, spread over the region --- */

/*
 * Every number below a power of two to another one: each step can be undone. What comes out beyond the region is put in
 * again until it is inside, which also leaves no two ranks on one block.
 */
struct spread {
	uint64_t nr, mask;
	unsigned shift;
	uint64_t add[3];
};

static void spread_init(struct spread *p, uint64_t nr, uint64_t seed)
{
	unsigned bits = nr > 1 ? 64 - (unsigned)__builtin_clzll(nr - 1) : 0;
	uint64_t state = begin_random(seed, 1);

	p->nr = nr;
	p->mask = (UINT64_C(1) << bits) - 1;
	p->shift = bits / 2 + 1;
	for (unsigned i = 0; i < 3; i++)
		p->add[i] = next_random(&state);
}

static uint64_t spread_rank(const struct spread *p, uint64_t rank)
{
	do {
		for (unsigned i = 0; i < 3; i++) {
			rank = ((rank + p->add[i]) * UINT64_C(0xD6E8FEB86659FD93)) & p->mask;
			rank ^= rank >> p->shift;
		}
	} while (rank >= p->nr);
	return rank;
}

/* --- zipf --- */

/*
 * Rejection-inversion (Hoermann and Derflinger, "Rejection-inversion to generate variates from monotone discrete
 * distributions", 1996): a real number is drawn under the curve x to the power of -theta, by the inverse of its
 * integral, and rounded; it is drawn again where the curve lies above the steps. No table, whatever the number of
 * ranks.
 */
struct zipf {
	double theta;
	double nr;
	double lowest, highest; /* of the integral, over all ranks */
	double sure; /* what is rounded up by no more than this needs no closer look */
};

/* (exp(t) - 1) / t and log(1 + t) / t; both are 1 at 0, so that a theta of 1 is nothing special. */
static double exp_part(double t)
{
	return fabs(t) > 1e-8 ? expm1(t) / t : 1 + t / 2;
}

static double log_part(double t)
{
	return fabs(t) > 1e-8 ? log1p(t) / t : 1 - t / 2;
}

static double weight(const struct zipf *z, double x)
{
	return exp(-z->theta * log(x));
}

/* Of the weight, from 1 to @x. */
static double integral(const struct zipf *z, double x)
{
	double l = log(x);

	return exp_part((1 - z->theta) * l) * l;
}

static double inverse(const struct zipf *z, double area)
{
	double t = fmax((1 - z->theta) * area, -1); /* rounding may have put it below */

	return exp(log_part(t) * area);
}

static void zipf_init(struct zipf *z, double theta, uint64_t nr)
{
	z->theta = theta;
	z->nr = (double)nr;
	z->lowest = integral(z, 1.5) - 1; /* the first step is as wide as its weight is high */
	z->highest = integral(z, z->nr + 0.5);
	z->sure = 2 - inverse(z, integral(z, 2.5) - weight(z, 2));
}

/* A rank, from 0. */
static uint64_t zipf_next(const struct zipf *z, uint64_t *state)
{
	for (;;) {
		double area = z->highest + next_part(state) * (z->lowest - z->highest);
		double x = inverse(z, area), rank = fmin(fmax(floor(x + 0.5), 1), z->nr);

		if (rank - x <= z->sure || area >= integral(z, rank + 0.5) - weight(z, rank))
			return (uint64_t)rank - 1;
	}
}

/* --- sources --- */

struct workload_source {
	struct workload w;
	uint64_t random, write_random;
	uint64_t begin, end;         /* this thread's share of a sequence */
	uint64_t at, lane;           /* the next block of it, and the first of this round of strides: from begin on */
	uint64_t turn;               /* accesses since the scan's last */
	struct spread spread;
	struct zipf zipf;
	double exponent;             /* of pareto */
	uint64_t nr_hot;
};

static uint64_t next_in_sequence(struct workload_source *s)
{
	uint64_t block = s->begin + s->at;

	if (++s->at == s->end - s->begin)
		s->at = 0;
	return block;
}

static uint64_t next_strided(struct workload_source *s)
{
	uint64_t size = s->end - s->begin, block = s->begin + s->at;

	if (s->w.stride < size - s->at) {
		s->at += s->w.stride;
	} else {
		s->lane = s->lane + 1 < s->w.stride && s->lane + 1 < size ? s->lane + 1 : 0;
		s->at = s->lane;
	}
	return block;
}

static uint64_t next_any(struct workload_source *s)
{
	return next_below(&s->random, s->w.blocks);
}

static uint64_t next_zipf(struct workload_source *s)
{
	return spread_rank(&s->spread, zipf_next(&s->zipf, &s->random));
}

/* Self-similar: of the part that gets most, a part as large gets as much of what it gets. */
static uint64_t next_pareto(struct workload_source *s)
{
	double rank = (double)s->w.blocks * exp(s->exponent * log(next_part(&s->random)));

	return spread_rank(&s->spread, (uint64_t)fmin(rank, (double)(s->w.blocks - 1)));
}

static uint64_t next_normal(struct workload_source *s)
{
	double nr = (double)s->w.blocks, at;

	do {
		double radius = sqrt(-2 * log(next_part(&s->random))), angle = 2 * M_PI * next_part(&s->random);

		at = nr * (0.5 + s->w.deviation * radius * cos(angle));
	} while (at < 0 || at >= nr);
	return (uint64_t)at;
}

static uint64_t next_hot_or_cold(struct workload_source *s)
{
	uint64_t nr_cold = s->w.blocks - s->nr_hot;
	bool is_hot = next_part(&s->random) * 100 < s->w.hot_accesses || !nr_cold;
	uint64_t rank = is_hot ? next_below(&s->random, s->nr_hot) : s->nr_hot + next_below(&s->random, nr_cold);

	return spread_rank(&s->spread, rank);
}

static uint64_t next_zipf_or_scan(struct workload_source *s)
{
	if (++s->turn < s->w.scan_every)
		return next_zipf(s);
	s->turn = 0;
	return next_in_sequence(s);
}

/* --- patterns --- */

/* 0 is what is usual; false as well for what is no number. */
static bool settle(double *value, double usual, double most)
{
	*value = *value == 0 ? usual : *value;
	return *value > 0 && *value <= most;
}

static const char *settle_nothing(struct workload *w)
{
	(void)w;
	return NULL;
}

static const char *settle_strided(struct workload *w)
{
	w->stride = w->stride ? w->stride : 16;
	return NULL;
}

static const char *settle_zipf(struct workload *w)
{
	return settle(&w->theta, 0.99, 10) ? NULL : "zipf: theta is not above 0 and at most 10";
}

static const char *settle_pareto(struct workload *w)
{
	bool is_right = settle(&w->shape, 0.8, 1) && w->shape >= 0.5 && w->shape < 1;

	return is_right ? NULL : "pareto: shape is not at least 0.5 and below 1";
}

static const char *settle_normal(struct workload *w)
{
	return settle(&w->deviation, 0.1, 1) ? NULL : "normal: deviation is not above 0 and at most 1, the region";
}

static const char *settle_hot_cold(struct workload *w)
{
	bool is_right = settle(&w->hot_accesses, 90, 100) && settle(&w->hot_blocks, 10, 100);

	return is_right ? NULL : "hot-cold: hot accesses and hot blocks are not above 0 and at most 100 percent";
}

static const char *settle_zipf_scan(struct workload *w)
{
	w->scan_every = w->scan_every ? w->scan_every : 2;
	return w->scan_every >= 2 ? settle_zipf(w) : "zipf-scan: the scan's turn is not every 2 accesses or fewer";
}

static void prepare_zipf(struct workload_source *s)
{
	zipf_init(&s->zipf, s->w.theta, s->w.blocks);
}

static void prepare_pareto(struct workload_source *s)
{
	s->exponent = log(1 - s->w.shape) / log(s->w.shape);
}

/* At least one block is hot. */
static void prepare_hot_cold(struct workload_source *s)
{
	double nr = ceil((double)s->w.blocks * s->w.hot_blocks / 100 * (1 - 1e-12));

	s->nr_hot = (uint64_t)fmin(fmax(nr, 1), (double)s->w.blocks);
}

static const struct pattern {
	const char *name;
	const char *(*settle)(struct workload *w);
	void (*prepare)(struct workload_source *s);
	uint64_t (*next)(struct workload_source *s);
} patterns[NR_WORKLOAD_PATTERNS] = {
	[WORKLOAD_SEQUENTIAL] = { "sequential", settle_nothing, NULL, next_in_sequence },
	[WORKLOAD_STRIDED] = { "strided", settle_strided, NULL, next_strided },
	[WORKLOAD_RANDOM] = { "random", settle_nothing, NULL, next_any },
	[WORKLOAD_ZIPF] = { "zipf", settle_zipf, prepare_zipf, next_zipf },
	[WORKLOAD_PARETO] = { "pareto", settle_pareto, prepare_pareto, next_pareto },
	[WORKLOAD_NORMAL] = { "normal", settle_normal, NULL, next_normal },
	[WORKLOAD_HOT_COLD] = { "hot-cold", settle_hot_cold, prepare_hot_cold, next_hot_or_cold },
	[WORKLOAD_ZIPF_SCAN] = { "zipf-scan", settle_zipf_scan, prepare_zipf, next_zipf_or_scan },
};

const char *workload_pattern_name(enum workload_pattern pattern)
{
	return patterns[pattern].name;
}

bool workload_pattern_find(const char *name, enum workload_pattern *pattern)
{
	for (unsigned i = 0; i < NR_WORKLOAD_PATTERNS; i++) {
		if (!strcmp(name, patterns[i].name)) {
			*pattern = (enum workload_pattern)i;
			return true;
		}
	}
	return false;
}

const char *workload_settle(struct workload *w)
{
	if (!w->blocks)
		return "the region has no block";
	if (w->blocks > WORKLOAD_MAX_BLOCKS)
		return "the region has more than 2^52 blocks";
	if (w->read_percent > 100)
		return "reads are more than 100 percent";
	return patterns[w->pattern].settle(w);
}

/* Of equal parts, but for a block. */
static uint64_t part_begin(uint64_t blocks, uint64_t part, uint64_t nr_parts)
{
	return (uint64_t)((unsigned __int128)blocks * part / nr_parts);
}

struct workload_source *workload_open(const struct workload *w, unsigned thread, unsigned nr_threads)
{
	struct workload_source *s = calloc(1, sizeof(*s));
	uint64_t nr_parts = nr_threads < w->blocks ? nr_threads : w->blocks;

	if (!s)
		return NULL;
	s->w = *w;
	s->random = begin_random(w->seed, 2 + 2 * (uint64_t)thread);
	s->write_random = begin_random(w->seed, 3 + 2 * (uint64_t)thread);
	s->begin = part_begin(w->blocks, thread % nr_parts, nr_parts);
	s->end = part_begin(w->blocks, thread % nr_parts + 1, nr_parts);
	spread_init(&s->spread, w->blocks, w->seed);
	if (patterns[w->pattern].prepare)
		patterns[w->pattern].prepare(s);
	return s;
}

void workload_close(struct workload_source *s)
{
	free(s);
}

struct workload_access workload_next(struct workload_source *s)
{
	return (struct workload_access){
		.block = patterns[s->w.pattern].next(s),
		.is_write = s->w.read_percent < 100 && next_below(&s->write_random, 100) >= s->w.read_percent,
	};
}
