/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the cache.
 *
 * Invariants, true whenever the client's lock is free:
 *  1. A buffer is either in the index and on the clean or dirty list, or on the unused list; never two buffers for
 *     one block.
 *  2. READING is seen on the clean list only, and never together with DIRTY or WRITING.
 *  3. The dirty list holds the buffers with DIRTY or WRITING set, the clean list all others.
 *  4. A buffer that is held, READING or WRITING keeps its block number and stays in memory.
 *  5. nr_buffers counts the buffers that are not unused. It is above nr_max only between a lowered limit and the
 *     release of held buffers.
 *  6. One thread at most is in the device's wait(); it does the completions of all.
 *
 * Life of a buffer:
 *	unused -> alloc_buffer() -> index_insert() -> READING -> complete() -> clean
 *	clean -> mark_dirty() -> DIRTY -> start_writes() -> WRITING -> complete() -> clean, or DIRTY again if it failed
 *	clean, not held -> evicted -> another block, or drop_buffer() -> unused
 */
#ifndef BUFIO_INT_H
#define BUFIO_INT_H

#include <pthread.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "bufio/bufio.h"
#include "io/io.h"

enum buffer_state {
	READING = 1,
	WRITING = 2,
	DIRTY = 4,
	FRESH = 8, /* from new, not marked dirty yet: the contents are nobody's */
};

struct segment;

struct bufio_buffer {
	struct bufio_client *c;
	uint64_t block;
	void *data;
	struct segment *segment; /* that it was cut from */
	struct list lru; /* clean, dirty or unused list; the front is the newest */
	struct bufio_buffer *chain; /* next in the index bucket */
	/*
	 * Whose holds these are, to tell a thread that waits for itself: owner has owner_holds of them, the rest are
	 * second's, or nobody knows whose when there is a crowd.
	 */
	pthread_t owner, second;
	unsigned hold_count, owner_holds;
	bool crowd;
	uint8_t state; /* enum buffer_state */
	int read_error, write_error; /* -errno of the last attempt */
	alignas(max_align_t) unsigned char aux[];
};

/* Blocks in one request at most. Adjacent blocks of a batch go together. */
#define TRANSFER_BLOCKS 64
#define NR_TRANSFERS 32

struct transfer {
	struct io_request request; /* first, so that a request is its transfer */
	struct transfer *next;     /* free list */
	uint64_t serial;           /* in order of starting; 0 when free */
	unsigned nr;
	struct bufio_buffer *buffers[TRANSFER_BLOCKS];
	struct iovec iov[TRANSFER_BLOCKS];
};

struct bufio_client {
	struct bufio_device *dev;
	unsigned block_size, aux_size, reserved;
	uint64_t nr_blocks;
	void (*alloc_callback)(struct bufio_buffer *);
	void (*write_callback)(struct bufio_buffer *);
	void (*report)(void *context, enum bufio_report what, uint64_t block, int error);
	void *report_context;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed; /* I/O was completed, a buffer released, or a resource given back */
	unsigned nr_waiters;
	struct list clean, dirty, unused;
	struct bufio_buffer **buckets;
	uint64_t nr_buckets; /* a power of two */
	uint64_t limit, nr_max, nr_buffers, nr_dirty;
	struct segment *segments;

	bool reaping;             /* a thread is in wait() */
	unsigned nr_inflight;     /* transfers */
	uint64_t last_serial;     /* of the transfers started so far */
	struct transfer *free_transfers;
	struct bufio_buffer **batch; /* nr_max pointers: scratch for one batch of writes */
	bool batch_busy; /* buffers were marked WRITING, and not all have their transfer yet */
	bool flushing;
	int flush_error; /* final */

	struct bufio_stats stats;
	struct transfer transfers[NR_TRANSFERS];
};

/* index.c: block number -> buffer. */
struct bufio_buffer *index_find(const struct bufio_client *c, uint64_t block);
void index_insert(struct bufio_client *c, struct bufio_buffer *b);
void index_remove(struct bufio_client *c, struct bufio_buffer *b);
/* Buckets for @nr buffers: how many there would be, and the change to them. */
uint64_t index_size(uint64_t nr);
void index_rebuild(struct bufio_client *c, struct bufio_buffer **buckets, uint64_t nr_buckets);

/* memory.c: the budget, and buffers out of large aligned areas. */
size_t memory_per_buffer(const struct bufio_client *c);
uint64_t memory_for(const struct bufio_client *c, uint64_t nr_buffers);
uint64_t memory_floor_buffers(const struct bufio_client *c);
int memory_set_limit(struct bufio_client *c, uint64_t bytes);
struct bufio_buffer *memory_take(struct bufio_client *c);
void memory_give_back(struct bufio_client *c, struct bufio_buffer *b);
/* Gives back what unused buffers keep. */
void memory_trim(struct bufio_client *c);
void memory_release_all(struct bufio_client *c);

/* evict.c: a buffer for another block. */
/* A buffer that is in no list and no index, with no state; the lock may have been dropped meanwhile. */
int alloc_buffer(struct bufio_client *c, struct bufio_buffer **b);
/* Puts an allocated buffer into the cache as @block, held by this thread. */
void insert_buffer(struct bufio_client *c, struct bufio_buffer *b, uint64_t block);
/* Takes an unheld buffer with no I/O under way out of the cache, dirty or not. */
void drop_buffer(struct bufio_client *c, struct bufio_buffer *b);
/* Down to nr_max, as far as holds allow. */
int evict_surplus(struct bufio_client *c);
void take_hold(struct bufio_buffer *b);
void drop_hold(struct bufio_buffer *b);
bool is_held_by_me_alone(const struct bufio_buffer *b);

/* transfer.c: buffers to requests and back. */
/* One event later: reaps completions if nobody does, else sleeps until something changed. The lock is dropped. */
void wait_event(struct bufio_client *c);
void signal_event(struct bufio_client *c);
/* Starts the I/O of buffers in block order whose READING or WRITING is set already; the lock may be dropped. */
void start_transfers(struct bufio_client *c, enum io_direction direction, struct bufio_buffer **buffers, uint64_t nr,
		     bool wait_follows);

/* writeback.c: dirty buffers. */
enum write_which {
	WRITE_ALL,    /* whatever is dirty */
	WRITE_UNHELD, /* for room: neither held ones nor those that failed before */
};
/* Starts writes of dirty buffers, sorted and merged; how many could not start because they are being written. */
uint64_t start_writes(struct bufio_client *c, enum write_which which);
/* Waits until every write that was started before this call has ended. */
void wait_for_writes(struct bufio_client *c);
/* Writes one held buffer, and waits. */
int write_now(struct bufio_client *c, struct bufio_buffer *b);
void set_dirty(struct bufio_client *c, struct bufio_buffer *b);
void set_clean(struct bufio_client *c, struct bufio_buffer *b);
/* The error of the lowest dirty block that could not be written. */
int first_write_error(const struct bufio_client *c);

#endif
