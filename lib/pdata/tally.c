// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pdata/tally.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/huge_page.h"
#include "base/relax.h"

/* A bin's piece of the counts: 2^16 of them, 16 KiB, so that where one is in its bin has 16 bits. */
#define BIN_BITS 16
#define BIN_ROOM 2048
#define BIN_STRIDE (BIN_ROOM + 32) /* a cache line more: at powers of 2 all bins would want the same few lines of a cache */
#define MAX_STAGES 64
#define CACHE_LINE 64
#define WORTH_A_RUN 16
#define MAX_AT_ONCE (PD_TALLY_RUNS * WORTH_A_RUN) /* that an empty stage has room for, whatever they are */

_Static_assert(MAX_AT_ONCE <= PD_TALLY_STAGE, "they fit if none of them is in a run");

static unsigned count_stages(void)
{
	long nr = sysconf(_SC_NPROCESSORS_ONLN);

	return nr < 1 ? 1 : nr > MAX_STAGES ? MAX_STAGES : (unsigned)nr;
}

static uint64_t count_bins(uint64_t nr_bitmaps)
{
	return (nr_bitmaps * PD_COUNT_SLOTS >> BIN_BITS) + 1;
}

/* In huge pages, when it is worth one. */
static size_t bins_bytes(uint64_t nr_bins)
{
	size_t bytes = nr_bins * BIN_STRIDE * sizeof(uint16_t);
	size_t page = bytes < HUGE_PAGE ? CACHE_LINE : HUGE_PAGE;

	return (bytes + page - 1) / page * page;
}

uint64_t pd_tally_bytes(uint64_t memory)
{
	uint64_t nr = count_bins(memory / PD_BLOCK_SIZE + 1);

	return count_stages() * sizeof(struct pd_tally_stage) + bins_bytes(nr) + nr * sizeof(unsigned);
}

/* What grows with the counts is a quarter of them and a little, in whole huge pages. */
uint64_t pd_tally_memory(uint64_t counts)
{
	return pd_tally_bytes(0) + counts / 7 * 9 + 9 + (counts > HUGE_PAGE ? HUGE_PAGE : 0);
}

uint64_t pd_tally_memory_for_counts(uint64_t memory)
{
	uint64_t fixed = pd_tally_bytes(0), rest = memory > fixed ? memory - fixed : 0;

	if (rest > 4 * HUGE_PAGE)
		rest -= HUGE_PAGE;
	return rest / 9 * 7;
}

int pd_tally_create(struct pd_tally *t, struct pd_counts *counts)
{
	size_t bytes = bins_bytes(count_bins(counts->nr_bitmaps));

	*t = (struct pd_tally){ .counts = counts, .nr_stages = count_stages() };
	pthread_mutex_init(&t->lock, NULL);
	t->nr_bins = (unsigned)count_bins(counts->nr_bitmaps);
	t->stages = calloc(t->nr_stages, sizeof(*t->stages));
	t->bins = bytes < HUGE_PAGE ? aligned_alloc(CACHE_LINE, bytes) : huge_page_alloc(bytes);
	t->fill = calloc(t->nr_bins, sizeof(*t->fill));
	return t->stages && t->bins && t->fill ? 0 : -ENOMEM;
}

void pd_tally_destroy(struct pd_tally *t)
{
	if (t->nr_stages)
		pthread_mutex_destroy(&t->lock);
	free(t->stages);
	free(t->bins);
	free(t->fill);
	*t = (struct pd_tally){ 0 };
}

/* --- with the lock --- */

static int empty_bin(struct pd_tally *t, unsigned bin)
{
	int r = pd_counts_add_slots(t->counts, bin << BIN_BITS, &t->bins[(size_t)bin * BIN_STRIDE], t->fill[bin]);

	t->fill[bin] = 0;
	return r;
}

static int sort_stage(struct pd_tally *t, struct pd_tally_stage *s)
{
	int r = 0;

	for (unsigned i = 0; i < s->nr_runs && !r; i++)
		r = pd_counts_add_run(t->counts, s->runs[i].block, s->runs[i].nr);
	for (unsigned i = 0; i < s->nr && !r; i++) {
		unsigned bin = s->slots[i] >> BIN_BITS;

		t->bins[(size_t)bin * BIN_STRIDE + t->fill[bin]++] = (uint16_t)s->slots[i];
		if (t->fill[bin] == BIN_ROOM)
			r = empty_bin(t, bin);
	}
	s->nr = s->nr_runs = 0;
	return r;
}

/* --- any thread --- */

static struct pd_tally_stage *take_stage(struct pd_tally *t)
{
	for (;; relax())
		for (unsigned i = 0; i < t->nr_stages; i++)
			if (!atomic_exchange_explicit(&t->stages[i].is_taken, true, memory_order_acquire))
				return &t->stages[i];
}

static int empty_stage(struct pd_tally *t, struct pd_tally_stage *s)
{
	int r;

	pthread_mutex_lock(&t->lock);
	r = sort_stage(t, s);
	pthread_mutex_unlock(&t->lock);
	return r;
}

static unsigned length_of_run(const uint64_t *blocks, unsigned nr)
{
	unsigned i = 1;

	while (i < nr && blocks[i] == blocks[i - 1] + 1 && blocks[i])
		i++;
	return i;
}

/* The first run that is worth one, at @from or later; @nr: there is none. One look tells of most places that none begins. */
static unsigned find_run(const uint64_t *blocks, unsigned from, unsigned nr, unsigned *length)
{
	const unsigned last = WORTH_A_RUN - 1;

	for (; from + last < nr; from++) {
		if (blocks[from + last] != blocks[from] + last)
			continue;
		*length = length_of_run(&blocks[from], nr - from);
		if (*length >= WORTH_A_RUN)
			return from;
	}
	return nr;
}

/* Runs that are too short stay with what is around them. */
static void stage(const struct pd_tally *t, struct pd_tally_stage *s, const uint64_t *blocks, unsigned nr)
{
	unsigned length = 0;

	for (unsigned from = 0, run; from < nr; from = run + length) {
		run = find_run(blocks, from, nr, &length);
		s->nr += pd_counts_find_slots(t->counts, &blocks[from], run - from, &s->slots[s->nr]);
		if (run == nr)
			break;
		s->runs[s->nr_runs++] = (struct pd_tally_run){ blocks[run], length };
	}
}

static int add(struct pd_tally *t, const uint64_t *blocks, unsigned nr)
{
	struct pd_tally_stage *s = take_stage(t);
	int r = 0;

	if (s->nr + nr > PD_TALLY_STAGE || s->nr_runs + nr / WORTH_A_RUN > PD_TALLY_RUNS)
		r = empty_stage(t, s);
	stage(t, s, blocks, nr);
	atomic_store_explicit(&s->is_taken, false, memory_order_release);
	return r;
}

int pd_tally_add(struct pd_tally *t, const uint64_t *blocks, unsigned nr)
{
	int r = 0;

	for (; nr > MAX_AT_ONCE && !r; nr -= MAX_AT_ONCE, blocks += MAX_AT_ONCE)
		r = add(t, blocks, MAX_AT_ONCE);
	return r ? r : add(t, blocks, nr);
}

int pd_tally_settle(struct pd_tally *t)
{
	int r = 0;

	for (unsigned i = 0; i < t->nr_stages && !r; i++)
		r = sort_stage(t, &t->stages[i]);
	for (unsigned i = 0; i < t->nr_bins && !r; i++)
		r = empty_bin(t, i);
	return r;
}
