/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sets of blocks for bufio_scan(), and what a scan of them must have brought in the end. */
#ifndef UNIT_SCAN_SET_H
#define UNIT_SCAN_SET_H

#include <pthread.h>

#include "rig.h"

#define BLOCK 4096
#define NR_BLOCKS 512
#define MAX_RANGES 256

/* A set of blocks, and what a scan of it has brought so far. */
struct set {
	struct {
		uint64_t block, nr;
	} ranges[MAX_RANGES];
	unsigned nr_ranges, at;
	/* What the callback does besides. */
	int (*also)(struct set *s, uint64_t block);
	uint64_t end_at; /* the call that returns @value, counted from 1 */
	int value;
	atomic_uint nr_calls, nr_errors, nr_wrong, nr_inside_next;
	atomic_uint seen[NR_BLOCKS];
	atomic_int error; /* the last one */
	atomic_bool failed[NR_BLOCKS];
	pthread_t caller;
	uint64_t order[2 * NR_BLOCKS]; /* of the calls */
};

extern struct set set;

/* Numbers of threads to try: 0 is one for each processor. */
#define NR_THREAD_COUNTS 4
extern const unsigned some_threads[NR_THREAD_COUNTS];

/* bufio_scan's callbacks; the context is a set. */
bool set_next(void *context, uint64_t *block, uint64_t *nr);
int set_take(void *context, uint64_t block, const void *data, int error);

void set_clear(void);
void set_add(uint64_t block, uint64_t nr);
/* A client, and an empty set. */
void set_setup(void);
/* A client that has memory for so many blocks, and a set of all there are. */
void set_setup_everything(unsigned buffers);

/* Scans any set, and the one. */
int set_scan_with(struct set *s, unsigned threads, bool in_order, uint64_t window);
int set_scan(unsigned threads);
/* Each block of the set was given as often as the set has it. */
void set_expect(void);

#endif
