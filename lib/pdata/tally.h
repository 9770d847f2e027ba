/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Counting references from several threads, many at a time and in no order, as the leaves of a pool have them.
 *
 * A count is two bits somewhere in megabytes: to go there for each costs more than all else that is done with a leaf. So
 * each thread collects what it has; that is sorted into bins, one for each piece of the counts that fits into a
 * processor's own cache; and a bin that is full is counted in one go.
 */
#ifndef PDATA_TALLY_H
#define PDATA_TALLY_H

#include <pthread.h>

#include "pdata/ref_counts.h"

#define PD_TALLY_STAGE 16384 /* references that a thread collects */
#define PD_TALLY_RUNS 512    /* and neighbours, as sequential writes leave them, that are counted together */

struct pd_tally_stage {
	_Atomic bool is_taken; /* by a thread */
	unsigned nr, nr_runs;
	uint32_t slots[PD_TALLY_STAGE];
	struct pd_tally_run {
		uint64_t block;
		unsigned nr;
	} runs[PD_TALLY_RUNS];
};

struct pd_tally {
	struct pd_counts *counts;
	unsigned nr_stages;
	struct pd_tally_stage *stages;
	pthread_mutex_t lock; /* everything below, and the counts */
	unsigned nr_bins;
	uint16_t *bins;
	unsigned *fill; /* of each bin */
};

/* Bytes that a tally for counts of @memory bytes takes besides these. */
uint64_t pd_tally_bytes(uint64_t memory);

/* Bytes that counts of @counts bytes take together with their tally; and how many of @memory are for the counts then. */
uint64_t pd_tally_memory(uint64_t counts);
uint64_t pd_tally_memory_for_counts(uint64_t memory);

/* For the counts' windows, one after the other. 0 or -ENOMEM; to be destroyed in either case. */
int pd_tally_create(struct pd_tally *t, struct pd_counts *counts);
void pd_tally_destroy(struct pd_tally *t);

/* As pd_counts_add(), by any thread; counted at the latest by pd_tally_settle(). */
int pd_tally_add(struct pd_tally *t, const uint64_t *blocks, unsigned nr);

/* All that was added is in the counts. By one thread, when nobody adds. */
int pd_tally_settle(struct pd_tally *t);

#endif
