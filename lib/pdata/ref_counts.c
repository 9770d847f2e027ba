// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pdata/ref_counts.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/le.h"

#define AHEAD 16 /* counts that are on their way from memory */
#define CACHE_LINE 64
#define WORTH_FETCHING 128

/* Patterns as they are on disk, where the high bit of a count comes first: 0, 2, 1, 3 are the counts 0, 1, 2, 3. */
static const uint8_t one_more[4] = { 2, 3, 1, 3 }, one_less[4] = { 0, 2, 0, 1 }, count_of[4] = { 0, 2, 1, 3 };

/* Those of a bitmap's header come first, and stand for nothing. */
#define HEADER_SLOTS (PD_COUNT_SLOTS - PD_BITMAP_ENTRIES)
#define MAX_BITMAPS ((UINT64_C(1) << 32) / PD_COUNT_SLOTS) /* a slot has 32 bits */

#define ABOVE_BYTES (PD_BITMAP_ENTRIES * sizeof(uint32_t))
#define BITMAP_BYTES (sizeof(struct pd_bitmap_disk) + sizeof(uint32_t *))

uint64_t pd_counts_least(void)
{
	return BITMAP_BYTES + ABOVE_BYTES;
}

uint64_t pd_counts_enough(uint64_t nr_blocks)
{
	return ABOVE_BYTES + pd_bitmaps(nr_blocks) * BITMAP_BYTES;
}

/* At @begin, as large as can be. */
static void set_window(struct pd_counts *c, uint64_t begin)
{
	uint64_t room = c->nr_bitmaps * PD_BITMAP_ENTRIES;

	c->begin = begin;
	c->end = room < c->nr_blocks - begin ? begin + room : c->nr_blocks;
}

int pd_counts_create(struct pd_counts *c, uint64_t nr_blocks, uint64_t memory)
{
	uint64_t all = pd_bitmaps(nr_blocks), fit;

	*c = (struct pd_counts){ .nr_blocks = nr_blocks, .memory = memory };
	if (memory < pd_counts_least())
		return -ENOMEM;
	fit = (memory - ABOVE_BYTES) / BITMAP_BYTES;
	c->nr_bitmaps = all < fit ? all : fit;
	if (c->nr_bitmaps > MAX_BITMAPS)
		c->nr_bitmaps = MAX_BITMAPS;
	if (!c->nr_bitmaps)
		return 0;
	c->used = c->nr_bitmaps * BITMAP_BYTES;
	c->above = calloc(c->nr_bitmaps, sizeof(*c->above));
	c->bitmaps = mmap(NULL, c->nr_bitmaps * sizeof(*c->bitmaps), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->bitmaps == MAP_FAILED)
		c->bitmaps = NULL;
	if (!c->above || !c->bitmaps) {
		pd_counts_destroy(c);
		return -ENOMEM;
	}
	madvise(c->bitmaps, c->nr_bitmaps * sizeof(*c->bitmaps), MADV_HUGEPAGE); /* they are hit at random */
	set_window(c, 0);
	return 0;
}

static void free_above(struct pd_counts *c, uint64_t bitmap)
{
	if (!c->above[bitmap])
		return;
	free(c->above[bitmap]);
	c->above[bitmap] = NULL;
	c->used -= ABOVE_BYTES;
}

void pd_counts_destroy(struct pd_counts *c)
{
	for (uint64_t i = 0; c->above && i < c->nr_bitmaps; i++)
		free_above(c, i);
	free(c->above);
	if (c->bitmaps)
		munmap(c->bitmaps, c->nr_bitmaps * sizeof(*c->bitmaps));
	*c = (struct pd_counts){ 0 };
}

/* Makes room for a bitmap's large counts. The last bitmaps of the window give way; the first always has room. */
static void make_room(struct pd_counts *c)
{
	while (c->used + ABOVE_BYTES > c->memory && c->end - c->begin > PD_BITMAP_ENTRIES) {
		uint64_t last = (c->end - c->begin - 1) / PD_BITMAP_ENTRIES;

		free_above(c, last);
		madvise(&c->bitmaps[last], sizeof(*c->bitmaps), MADV_DONTNEED);
		c->used -= sizeof(*c->bitmaps);
		c->end = c->begin + last * PD_BITMAP_ENTRIES;
	}
}

static int add_above(struct pd_counts *c, uint64_t bitmap, unsigned i)
{
	if (!c->above[bitmap]) {
		make_room(c);
		if (c->begin + bitmap * PD_BITMAP_ENTRIES >= c->end)
			return 0; /* it gave way itself */
		c->above[bitmap] = calloc(PD_BITMAP_ENTRIES, sizeof(uint32_t));
		if (!c->above[bitmap])
			return -ENOMEM;
		c->used += ABOVE_BYTES;
	}
	c->above[bitmap][i]++;
	return 0;
}

static int add(struct pd_counts *c, uint64_t block)
{
	uint64_t at = block - c->begin, bitmap = at / PD_BITMAP_ENTRIES;
	unsigned i = (unsigned)(at % PD_BITMAP_ENTRIES), shift = i % 4 * 2, pattern;
	uint8_t *byte;

	if (block < c->begin || block >= c->end)
		return 0;
	byte = &c->bitmaps[bitmap].counts[i / 4];
	pattern = *byte >> shift & 3;
	*byte = (uint8_t)((*byte & ~(3u << shift)) | (unsigned)one_more[pattern] << shift);
	return pattern == 3 ? add_above(c, bitmap, i) : 0;
}

static void fetch(const struct pd_counts *c, uint64_t block)
{
	uint64_t at = block - c->begin;

	if (block >= c->begin && block < c->end)
		__builtin_prefetch(&c->bitmaps[at / PD_BITMAP_ENTRIES].counts[at % PD_BITMAP_ENTRIES / 4], 1);
}

int pd_counts_add(struct pd_counts *c, const uint64_t *blocks, unsigned nr)
{
	int r = 0;

	for (unsigned i = 0; i < nr && i < AHEAD; i++)
		fetch(c, blocks[i]);
	for (unsigned i = 0; i < nr && !r; i++) {
		if (i + AHEAD < nr)
			fetch(c, blocks[i + AHEAD]);
		r = add(c, blocks[i]);
	}
	return r;
}

#define HIGH_BITS UINT64_C(0x5555555555555555) /* of each count, which lies first */
#define WORD_COUNTS 32

/* One more for each of 32 counts at once; false: one of them is 3, and nothing is changed. */
static bool add_word(uint8_t *bytes)
{
	uint64_t v = le_load(bytes, sizeof(v)), high = v & HIGH_BITS, low = v >> 1 & HIGH_BITS;

	if (high & low)
		return false;
	v = htole64((high ^ low) | (low ^ HIGH_BITS) << 1);
	memcpy(bytes, &v, sizeof(v));
	return true;
}

int pd_counts_add_run(struct pd_counts *c, uint64_t block, uint64_t nr)
{
	uint64_t end = block + nr;
	int r = 0;

	if (block < c->begin)
		block = c->begin;
	while (block < end && block < c->end && !r) {
		uint64_t at = block - c->begin, i = at % PD_BITMAP_ENTRIES;
		bool is_word = i % WORD_COUNTS == 0 && block + WORD_COUNTS <= end && block + WORD_COUNTS <= c->end;

		if (is_word && add_word(&c->bitmaps[at / PD_BITMAP_ENTRIES].counts[i / 4]))
			block += WORD_COUNTS;
		else
			r = add(c, block++);
	}
	return r;
}

unsigned pd_counts_find_slots(const struct pd_counts *c, const uint64_t *blocks, unsigned nr, uint32_t *slots)
{
	uint64_t length = atomic_load_explicit(&c->end, memory_order_relaxed) - c->begin;
	unsigned found = 0;

	for (unsigned i = 0; i < nr; i++) {
		uint64_t at = blocks[i] - c->begin; /* before the window: a large number */

		slots[found] = (uint32_t)(at + (at / PD_BITMAP_ENTRIES + 1) * HEADER_SLOTS);
		found += at < length;
	}
	return found;
}

/* Of the window's last count, and one more. */
static uint32_t last_slot(const struct pd_counts *c)
{
	uint64_t at = c->end - c->begin - 1;

	return c->end == c->begin ? 0 : (uint32_t)(at + (at / PD_BITMAP_ENTRIES + 1) * HEADER_SLOTS);
}

/* In the order of memory, which is many times faster than what follows. */
static void fetch_slots(const struct pd_counts *c, uint32_t first, uint32_t last)
{
	const char *bytes = (const char *)c->bitmaps;
	uint32_t end = last - first > UINT16_MAX ? first + UINT16_MAX : last;

	for (uint32_t at = first / 4; at <= end / 4; at += CACHE_LINE)
		__builtin_prefetch(bytes + at, 1);
}

int pd_counts_add_slots(struct pd_counts *c, uint32_t first, const uint16_t *behind, unsigned nr)
{
	uint8_t *bytes = (uint8_t *)c->bitmaps;
	uint32_t last = last_slot(c);
	int r = 0;

	if (nr >= WORTH_FETCHING && first <= last)
		fetch_slots(c, first, last);
	for (unsigned i = 0; i < nr && !r; i++) {
		uint32_t slot = first + behind[i];
		unsigned shift = slot % 4 * 2, pattern;

		if (slot > last)
			continue; /* the window lost it meanwhile */
		pattern = bytes[slot / 4] >> shift & 3;
		if (pattern != 3) {
			bytes[slot / 4] ^= (uint8_t)((2 | pattern >> 1) << shift); /* as one_more[] */
			continue;
		}
		r = add_above(c, slot / PD_COUNT_SLOTS, slot % PD_COUNT_SLOTS - HEADER_SLOTS);
		last = last_slot(c);
	}
	return r;
}

void pd_counts_sub(struct pd_counts *c, uint64_t block)
{
	uint64_t at = block - c->begin, bitmap = at / PD_BITMAP_ENTRIES;
	unsigned i = (unsigned)(at % PD_BITMAP_ENTRIES), shift = i % 4 * 2, pattern;
	uint8_t *byte;

	if (block < c->begin || block >= c->end)
		return;
	if (c->above[bitmap] && c->above[bitmap][i]) {
		c->above[bitmap][i]--;
		return;
	}
	byte = &c->bitmaps[bitmap].counts[i / 4];
	pattern = *byte >> shift & 3;
	*byte = (uint8_t)((*byte & ~(3u << shift)) | (unsigned)one_less[pattern] << shift);
}

uint64_t pd_counts_get(const struct pd_counts *c, uint64_t block)
{
	uint64_t at = block - c->begin, bitmap = at / PD_BITMAP_ENTRIES;
	unsigned i = (unsigned)(at % PD_BITMAP_ENTRIES);
	uint64_t count = count_of[c->bitmaps[bitmap].counts[i / 4] >> i % 4 * 2 & 3];

	return c->above[bitmap] ? count + c->above[bitmap][i] : count;
}

uint64_t pd_counts_nr_large(const struct pd_counts *c)
{
	uint64_t nr = 0;

	for (uint64_t i = 0; c->begin + i * PD_BITMAP_ENTRIES < c->end; i++)
		for (size_t at = 0; at < sizeof(c->bitmaps->counts); at += sizeof(uint64_t)) {
			uint64_t v = le_load(c->bitmaps[i].counts + at, sizeof(v));

			nr += (unsigned)__builtin_popcountll(v & v >> 1 & UINT64_C(0x5555555555555555));
		}
	return nr;
}

bool pd_counts_next(struct pd_counts *c)
{
	if (c->end == c->nr_blocks)
		return false;
	for (uint64_t i = 0; i < c->nr_bitmaps; i++)
		free_above(c, i);
	madvise(c->bitmaps, c->nr_bitmaps * sizeof(*c->bitmaps), MADV_DONTNEED);
	c->used = c->nr_bitmaps * BITMAP_BYTES;
	set_window(c, c->end);
	return true;
}
