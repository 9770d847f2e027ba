/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client over a device that a test can watch, hold back and damage: what the tests of the cache share.
 *
 * There is one at a time, in rig. At the bottom is memory in which each byte of block n is rig_pattern(n) at first; on
 * it lie injected errors, which rig.plan says; on top is the rig, which logs every request, keeps those that it is
 * told to keep, and fails those that touch a bad block.
 */
#ifndef UNIT_RIG_H
#define UNIT_RIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bufio/bufio.h"
#include "io/io.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

struct rig_request {
	enum io_direction direction;
	uint64_t offset, bytes;
};

#define RIG_LOG 4096

extern struct rig {
	struct bufio_device *memory, *dev;
	struct bufio_client *c;
	struct io_fault_plan plan;
	unsigned block_size;
	uint64_t nr_blocks;
	/* What came in since rig_open(). Read it while nothing is under way. */
	struct rig_request log[RIG_LOG];
	unsigned nr_log, nr_reads, nr_writes, nr_discards;
	struct rig_request discarded; /* the last one */
} rig;

/* --- device --- */

void rig_open(unsigned block_size, uint64_t nr_blocks);
void rig_create(unsigned reserved, unsigned aux_size, void (*alloc_callback)(struct bufio_buffer *),
		void (*write_callback)(struct bufio_buffer *));
/* Both, with one reserved buffer. */
void rig_setup(unsigned block_size, uint64_t nr_blocks);
/* The client must be destroyed without an error. */
void rig_close(void);
void rig_close_device(void);

/* Keeps requests of these kinds (IO_FAULT_READ, IO_FAULT_WRITE) from now on; lets those of all others go. */
void rig_keep(unsigned kinds);
void rig_let_all_go(void);
/* Until so many requests came in since rig_open(). */
void rig_wait_for_requests(unsigned nr);
unsigned rig_count_kept(void);

/* Requests of this direction that touch the block fail with the errno; 0 heals it. */
void rig_damage(enum io_direction direction, uint64_t block, int error);

/* --- blocks --- */

int rig_pattern(uint64_t block);
/* What every one of the bytes is, or -1 if they are not all alike. */
int rig_value_of(const void *data, size_t size);
unsigned char *rig_memory_of(uint64_t block);
int rig_on_device(uint64_t block);
/* Through the cache; -2 - errno when it cannot be read. */
int rig_read(uint64_t block);
/* Reads blocks, from @from to @to - 1, which must be as they were at first. */
void rig_read_all(uint64_t from, uint64_t to);
/* Overwrites the block; 0 or -errno. */
int rig_put(uint64_t block, int value);
unsigned char *rig_hold(uint64_t block, struct bufio_buffer **b);
/* Looking counts as a use. */
bool rig_is_cached(uint64_t block);
unsigned rig_count_cached(uint64_t from, uint64_t to);

/* --- memory --- */

void rig_set_floor(void);
/* A limit with room for exactly so many buffers, 8 at least. */
void rig_set_buffers(unsigned nr);
struct bufio_stats rig_stats(void);
void rig_within_limit(void);
uint64_t rig_resident_bytes(void);

/* --- ends --- */

/*
 * Runs a test in a process of its own, which must end within so many seconds with every assertion true: for promises
 * that show themselves broken by a hang or a crash. Instrumented code has more time.
 */
void rig_run_apart(void (*run)(void), unsigned seconds);
/* Waits until it is so, for so many milliseconds at most; whether it is. */
bool rig_wait_until(bool (*is_so)(void), unsigned ms);

#endif
