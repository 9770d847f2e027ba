// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Each access takes the next slot of a row; the slot of a block's last access is marked, so the marks behind it are the
 * blocks that came since. A Fenwick tree counts marks. When the row is full, the marked slots move to its beginning.
 *
 * As long as all blocks are followed, those that are used most are known. They go on being followed whatever their
 * number, and stand for themselves; each of the others stands for 2^shift.
 */
#include "base/stack_distance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIN_TRACKED 1024
#define MAX_SLOTS (UINT64_C(1) << 31)

struct slot {
	uint64_t block;
	uint32_t uses; /* of the block, all that were seen */
	bool is_marked, is_much_used;
};

/* Accesses of one distance. */
struct bucket {
	uint64_t nr;
	double uses; /* summed up, that their blocks had had: of those that stand for others */
};

struct stack_distance {
	uint64_t max_slots;
	uint64_t nr_slots;      /* twice the blocks there is room for; a power of two. Slots are counted from 1 */
	uint64_t last_slot;     /* in use */
	uint64_t nr_tracked;    /* marks */
	uint64_t footprint;     /* what all these stand for */
	unsigned shift;
	struct slot *slots;
	uint64_t *sums;         /* of what marks stand for, as Fenwick */
	uint32_t *places;       /* hash table of slots by block: nr_slots, of which at most half are taken; 0 is none */
	struct bucket *buckets; /* by distance >> shift; nr_slots / 2 */
	struct bucket first;    /* accesses to blocks that were not known */
	uint64_t nr_accesses;
};

/* --- which blocks are followed --- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
	x = (x ^ x >> 29) * UINT64_C(0xA0761D6478BD642F);
	return x ^ x >> 32;
}

#define RANGE_BITS 12

/*
 * A number for each block: those that begin with enough zeroes are followed. In each range of 4096 blocks every
 * beginning of 12 bits comes once, in an order of the range's own: so of a range as many are followed as should be, and
 * the length of a scan is known better than by chance.
 */
static uint64_t number_of(uint64_t block)
{
	uint64_t range = mix((block >> RANGE_BITS) + 1), mask = (1 << RANGE_BITS) - 1, x = block & mask;

	for (unsigned i = 0; i < 3; i++) {
		x = (x * 0x9E5 + (range >> RANGE_BITS * i)) & mask;
		x ^= x >> 5;
	}
	return x << (64 - RANGE_BITS) | range >> RANGE_BITS;
}

static bool is_chosen(const struct stack_distance *s, uint64_t block)
{
	return !s->shift || !(number_of(block) >> (64 - s->shift));
}

static uint64_t weight_of(const struct stack_distance *s, const struct slot *slot)
{
	return slot->is_much_used ? 1 : UINT64_C(1) << s->shift;
}

/* --- marks --- */

static void add(struct stack_distance *s, uint64_t slot, uint64_t what)
{
	s->footprint += what;
	for (; slot <= s->nr_slots; slot += slot & -slot)
		s->sums[slot] += what;
}

static void mark(struct stack_distance *s, uint64_t slot)
{
	s->slots[slot].is_marked = true;
	s->nr_tracked++;
	add(s, slot, weight_of(s, &s->slots[slot]));
}

static void unmark(struct stack_distance *s, uint64_t slot)
{
	s->slots[slot].is_marked = false;
	s->nr_tracked--;
	add(s, slot, -weight_of(s, &s->slots[slot]));
}

/* Blocks since the one that was marked there. */
static uint64_t distance_of(const struct stack_distance *s, uint64_t slot)
{
	uint64_t before = 0;

	for (; slot; slot &= slot - 1)
		before += s->sums[slot];
	return s->footprint - before;
}

/* --- block -> slot --- */

/* Where it is, or where it belongs. */
static uint32_t *find(const struct stack_distance *s, uint64_t block)
{
	for (uint64_t i = mix(block);; i++) {
		uint32_t *place = &s->places[i & (s->nr_slots - 1)];

		if (!*place || s->slots[*place].block == block)
			return place;
	}
}

/* --- room --- */

/* Each slot gives its sum to the next larger one that has it in its own. */
static void sum_up(struct stack_distance *s)
{
	s->footprint = 0;
	for (uint64_t slot = 1; slot <= s->nr_slots; slot++)
		s->sums[slot] = slot <= s->last_slot ? weight_of(s, &s->slots[slot]) : 0;
	for (uint64_t slot = 1; slot <= s->last_slot; slot++)
		s->footprint += s->sums[slot];
	for (uint64_t slot = 1; slot <= s->nr_slots; slot++) {
		uint64_t larger = slot + (slot & -slot);

		if (larger <= s->nr_slots)
			s->sums[larger] += s->sums[slot];
	}
}

/* Moves the marked slots to the beginning, without blocks that are not followed any more. */
static void compact(struct stack_distance *s)
{
	uint64_t to = 0;

	memset(s->places, 0, s->nr_slots * sizeof(*s->places));
	for (uint64_t from = 1; from <= s->last_slot; from++) {
		struct slot slot = s->slots[from];

		if (!slot.is_marked || !(slot.is_much_used || is_chosen(s, slot.block)))
			continue;
		s->slots[++to] = slot;
		*find(s, slot.block) = (uint32_t)to;
	}
	s->last_slot = s->nr_tracked = to;
	sum_up(s);
}

static bool resize(void *array, size_t nr, size_t size)
{
	void **at = array, *larger = reallocarray(*at, nr, size);

	if (larger)
		*at = larger;
	return larger;
}

/* If it fails, what there was is as good as before. */
static bool set_slots(struct stack_distance *s, uint64_t nr)
{
	uint64_t nr_buckets = s->nr_slots / 2;

	if (!resize(&s->slots, nr + 1, sizeof(*s->slots)) || !resize(&s->sums, nr + 1, sizeof(*s->sums)) ||
	    !resize(&s->places, nr, sizeof(*s->places)) || !resize(&s->buckets, nr / 2, sizeof(*s->buckets)))
		return false;
	memset(s->buckets + nr_buckets, 0, (nr / 2 - nr_buckets) * sizeof(*s->buckets));
	s->nr_slots = nr;
	compact(s);
	return true;
}

/* The number of uses that a quarter of the blocks at most have had, of powers of two. */
static uint32_t find_much(const struct stack_distance *s)
{
	uint64_t nr[33] = { 0 }, sum = 0;
	unsigned bits = 32;

	for (uint64_t slot = 1; slot <= s->last_slot; slot++)
		if (s->slots[slot].is_marked)
			nr[31 - __builtin_clz(s->slots[slot].uses)]++;
	while (bits > 1 && sum + nr[bits - 1] <= s->nr_tracked / 4)
		sum += nr[--bits];
	return bits < 32 ? UINT32_C(1) << bits : UINT32_MAX;
}

/* All that was counted so far is exact. */
static void begin_to_choose(struct stack_distance *s)
{
	uint32_t much = find_much(s);

	for (uint64_t slot = 1; slot <= s->last_slot; slot++)
		s->slots[slot].is_much_used = s->slots[slot].uses >= much;
	for (uint64_t d = 0; d < s->nr_slots / 2; d++)
		s->buckets[d].uses = 0;
	s->first.uses = 0;
}

static void follow_half(struct stack_distance *s)
{
	uint64_t nr = s->nr_slots / 4;

	if (!s->shift)
		begin_to_choose(s);
	s->shift++;
	for (uint64_t d = 0; d < nr; d++) {
		const struct bucket *from = &s->buckets[2 * d];

		s->buckets[d] = (struct bucket){ from[0].nr + from[1].nr, from[0].uses + from[1].uses };
	}
	memset(s->buckets + nr, 0, nr * sizeof(*s->buckets));
	compact(s);
}

static bool is_full(const struct stack_distance *s)
{
	return s->nr_tracked == s->nr_slots / 2;
}

/* For one more block. Afterwards it may not be followed any more. */
static void make_room(struct stack_distance *s)
{
	if (s->nr_slots < s->max_slots && set_slots(s, 2 * s->nr_slots))
		return;
	s->max_slots = s->nr_slots; /* also if the system has no more */
	follow_half(s);
}

/* --- counting --- */

static void count(struct stack_distance *s, struct bucket *b, const struct slot *slot)
{
	b->nr += weight_of(s, slot);
	if (!slot->is_much_used)
		b->uses += (double)weight_of(s, slot) * slot->uses;
}

static void use(struct stack_distance *s, uint64_t block)
{
	uint32_t *place = find(s, block);
	struct slot slot = { .block = block };

	if (*place) {
		slot = s->slots[*place];
		slot.uses += slot.uses < UINT32_MAX;
		count(s, &s->buckets[distance_of(s, *place) >> s->shift], &slot);
		unmark(s, *place);
	} else {
		slot.uses = 1;
		count(s, &s->first, &slot);
	}
	*place = (uint32_t)++s->last_slot;
	s->slots[*place] = slot;
	mark(s, *place);
}

void stack_distance_access(struct stack_distance *s, uint64_t block)
{
	s->nr_accesses++;
	while (!*find(s, block)) {
		if (!is_chosen(s, block))
			return;
		if (!is_full(s))
			break;
		make_room(s);
	}
	if (s->last_slot == s->nr_slots)
		compact(s);
	use(s, block);
}

void stack_distance_start(struct stack_distance *s)
{
	memset(s->buckets, 0, s->nr_slots / 2 * sizeof(*s->buckets));
	s->first = (struct bucket){ 0, 0 };
	s->nr_accesses = 0;
}

struct stack_distance *stack_distance_create(uint64_t max_tracked)
{
	struct stack_distance *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->max_slots = 2 * MIN_TRACKED;
	while (s->max_slots / 2 < max_tracked && s->max_slots < MAX_SLOTS)
		s->max_slots *= 2;
	if (!set_slots(s, 2 * MIN_TRACKED)) {
		stack_distance_destroy(s);
		return NULL;
	}
	return s;
}

void stack_distance_destroy(struct stack_distance *s)
{
	if (!s)
		return;
	free(s->slots);
	free(s->sums);
	free(s->places);
	free(s->buckets);
	free(s);
}

/* --- asking --- */

double stack_distance_rate(const struct stack_distance *s)
{
	return ldexp(1, -(int)s->shift);
}

uint64_t stack_distance_footprint(const struct stack_distance *s)
{
	return s->footprint;
}

/* What is added to the counts. */
struct correction {
	double per_use; /* to each bucket */
	double hits;    /* of the smallest cache */
};

/*
 * How many accesses there were is known; that those of the chosen blocks stand for more or for fewer is a matter of
 * which these are. A block that is used often is to blame for more of it, so the difference is shared out as uses are
 * (a regression through 0 on them). What chance cannot explain is the use of a block that came up late and was not
 * chosen.
 */
static struct correction correct(const struct stack_distance *s)
{
	struct bucket all = s->first;
	double missing, chance;

	for (uint64_t d = 0; d < s->nr_slots / 2; d++) {
		all.nr += s->buckets[d].nr;
		all.uses += s->buckets[d].uses;
	}
	missing = (double)s->nr_accesses - (double)all.nr;
	/* Of n uses, 1 + 2 + ... + n were summed up: half of the square that the variance is made of. */
	chance = 3 * sqrt(2 * all.uses * (ldexp(1, (int)s->shift) - 1));
	if (missing > chance)
		return (struct correction){ 0, missing };
	return (struct correction){ all.uses > 0 ? missing / all.uses : 0, 0 };
}

static double hits_of(const struct bucket *b, const struct correction *c)
{
	return fmax((double)b->nr + c->per_use * b->uses, 0);
}

double stack_distance_miss_ratio(const struct stack_distance *s, uint64_t cache_blocks)
{
	uint64_t whole = cache_blocks >> s->shift, nr = s->nr_slots / 2;
	double part = ldexp((double)(cache_blocks - (whole << s->shift)), -(int)s->shift);
	struct correction c = correct(s);
	double hits = c.hits;

	if (!s->nr_accesses || !cache_blocks)
		return 1;
	for (uint64_t d = 0; d < whole && d < nr; d++)
		hits += hits_of(&s->buckets[d], &c);
	if (whole < nr)
		hits += part * hits_of(&s->buckets[whole], &c);
	return fmin(fmax(1 - hits / (double)s->nr_accesses, 0), 1);
}

bool stack_distance_find_size(const struct stack_distance *s, double miss_ratio, uint64_t *cache_blocks)
{
	/* Ratios as people say them are no sums of doubles: a part of an access is none. */
	struct correction c = correct(s);
	double needed = (1 - miss_ratio - 1e-9) * (double)s->nr_accesses - c.hits;

	for (uint64_t d = 0; s->nr_accesses && d < s->nr_slots / 2; d++) {
		double hits = hits_of(&s->buckets[d], &c);

		if (needed <= hits) {
			double part = needed > 0 ? ceil(ldexp(needed / hits, (int)s->shift)) : 0;

			*cache_blocks = (d << s->shift) + (uint64_t)fmax(part, d ? 0 : 1);
			return true;
		}
		needed -= hits;
	}
	return false;
}
