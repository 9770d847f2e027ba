/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the cache.
 *
 * Two kinds of locks. The client's mutex guards lists, index, budget and transfers. Each buffer's own spinlock, held
 * for some instructions only, guards its holds. A hit takes the second alone: the index is read without a lock, the
 * buffer is locked, and it counts only if it still is CACHED as that block. What is changed with both locks held
 * (block, state, the read error) may be read with either. The mutex is taken first, never inside a buffer's lock.
 *
 * Invariants, true whenever the client's mutex is free:
 *  1. A buffer is either CACHED, in the index and on one of the four queues, or on the unused list with state 0 (or
 *     in the hands of the thread that allocated it). Never two buffers for one block.
 *  2. READING never meets DIRTY or WRITING.
 *  3. The dirty queue (or, for the length of a batch, the batch) has the buffers with DIRTY and not WRITING, the
 *     writing queue those with WRITING, hot and cold all others.
 *  4. A buffer that is held, READING or WRITING keeps its block number and stays in memory.
 *  5. nr_buffers counts the buffers that are not unused. It is above nr_max only between a lowered limit and the
 *     release of held buffers.
 *  6. One thread at most is in the device's wait(); it does the completions of all.
 *  7. Headers and index tables stay mapped until the client is destroyed, so that a reader without a lock always
 *     reads something; memory that was given back reads as zeroes: no entry, not CACHED.
 *
 * Life of a buffer:
 *	unused -> alloc_buffer() -> insert_buffer() READING -> complete() -> clean
 *	clean -> set_dirty() -> DIRTY -> start_writes() -> WRITING -> complete() -> clean, or DIRTY again if it failed
 *	clean, not held -> find_victim() -> another block, or drop_buffer() -> unused
 */
#ifndef BUFIO_INT_H
#define BUFIO_INT_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "bufio/bufio.h"
#include "io/io.h"

enum buffer_state {
	READING = 1,
	WRITING = 2,
	DIRTY = 4,
	FRESH = 8,   /* from new, not marked dirty yet: the contents are nobody's */
	CACHED = 16, /* is in the index */
};

/* What was done with a clean buffer since it came, or since the hand passed. */
enum buffer_use {
	UNTOUCHED,
	TOUCHED,    /* found by a reader */
	PREFETCHED, /* so that the first reader is no second use */
	AHEAD,      /* the same, for bufio_scan() */
	SCANNED,    /* bufio_scan() is done with it */
};

/* Whose the holds are besides the owner's. */
enum buffer_share { OWNER_ONLY, OWNER_AND_SECOND, CROWD };

struct segment;

/* Half a cache line is all that a hit touches, but for the client. Headers are laid out in steps of that. */
#define HOT_BYTES 32

struct bufio_buffer {
	atomic_uint lock;    /* no byte beside it is its own: compilers read neighbours together */
	uint32_t owner;      /* thread that took the first of the holds */
	uint32_t hold_count;
	uint8_t state;       /* enum buffer_state */
	uint8_t use : 4;     /* enum buffer_use */
	uint8_t share : 4;   /* enum buffer_share */
	uint16_t hits;       /* not yet in the client's counts */
	_Atomic uint64_t block;
	void *data;

	struct bufio_client *c;
	struct list lru; /* of a queue, the batch, or the unused list; the front is the newest */
	struct segment *segment; /* that it was cut from */
	uint32_t second, other_holds; /* holds that are not the owner's: see enum buffer_share */
	uint32_t dirty_start, dirty_end; /* bytes to be written, when DIRTY */
	int16_t read_error, write_error; /* -errno of the last attempt */
	bool hot;        /* where it goes when it is clean */
	bool hot_queued; /* it is there */
	bool unasked;    /* read ahead of time, with others: an error may not be this block's own */
	bool alone;      /* was written with others, which failed: goes without them the next time */
	alignas(max_align_t) unsigned char aux[];
};

/* Blocks in one request at most. Adjacent blocks of a batch go together. */
#define TRANSFER_BLOCKS 64
#define NR_TRANSFERS 64

struct transfer {
	struct io_request request; /* first, so that a request is its transfer */
	struct transfer *next;     /* free list */
	uint64_t serial;           /* in order of starting; 0 when free */
	unsigned nr;
	struct bufio_buffer *buffers[TRANSFER_BLOCKS];
	struct iovec iov[TRANSFER_BLOCKS];
};

struct table;

struct bufio_client {
	/* Read by hits; all but the table does not change. */
	_Atomic(struct table *) table;
	/* Somebody waits for a release, or there are more buffers than the limit allows: a release has to say so. */
	atomic_uint attention;
	unsigned block_size, aux_size, reserved;
	unsigned trace_number; /* 0: nothing is recorded */
	struct bufio_device *dev;
	_Atomic uint64_t nr_blocks;
	void (*alloc_callback)(struct bufio_buffer *);
	void (*write_callback)(struct bufio_buffer *);
	_Atomic uint64_t read_ahead;
	atomic_uint dirty_percent;

	alignas(64) _Atomic uint64_t more_hits; /* from buffers whose count was full */

	alignas(64) pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed; /* I/O was completed, a buffer released, or a resource given back */
	unsigned nr_waiters;
	void (*report)(void *context, enum bufio_report what, uint64_t block, int error);
	void *report_context;
	uint64_t offset; /* bytes before block 0 */

	struct list cold, hot, dirty, writing; /* the queues */
	struct list unused;
	uint64_t limit, nr_max, nr_buffers, nr_dirty, nr_hot;
	atomic_uint minimum; /* buffers, bufio_set_minimum_buffers() */
	bool over_limit;  /* nr_buffers is above nr_max, and counted in attention */
	struct segment *segments, *idle_segments;
	struct table *idle_tables;
	uint32_t *ghosts; /* of nr_ghosts blocks that were evicted cold: see evict.c */
	uint64_t nr_ghosts;

	bool reaping;             /* a thread is in wait() */
	unsigned nr_scanners;     /* threads that hold a block for a scan's callback */
	bool write_on;            /* an asynchronous write has more to start than went at once */
	unsigned nr_inflight;     /* transfers */
	unsigned nr_unsubmitted;  /* of these, not in the device's hands yet */
	uint64_t last_serial;     /* of the transfers started so far */
	struct transfer *free_transfers;
	uint64_t nr_split; /* writes of several blocks that failed, and whose blocks are to be tried one by one */
	struct list batch; /* dirty buffers that are about to be written, in block order */
	bool batch_busy;   /* it is in use */
	bool flushing;
	int flush_error; /* final */
	int remembered_error;

	struct bufio_stats stats;
	struct transfer transfers[NR_TRANSFERS];
};

/* --- a buffer's lock --- */

void wait_for_buffer_lock(struct bufio_buffer *b);

static inline void lock_buffer(struct bufio_buffer *b)
{
	if (atomic_exchange_explicit(&b->lock, 1, memory_order_acquire))
		wait_for_buffer_lock(b);
}

static inline void unlock_buffer(struct bufio_buffer *b)
{
	atomic_store_explicit(&b->lock, 0, memory_order_release);
}

static inline uint64_t block_of(const struct bufio_buffer *b)
{
	return atomic_load_explicit(&b->block, memory_order_relaxed);
}

/* With the client locked. */
static inline void change_state(struct bufio_buffer *b, unsigned clear, unsigned set)
{
	lock_buffer(b);
	b->state = (uint8_t)((b->state & ~clear) | set);
	unlock_buffer(b);
}

/* --- index.c: block number -> buffer --- */

/* Exact with the client locked; without, it may miss a buffer, or give one that has just become another block. */
struct bufio_buffer *index_find(const struct bufio_client *c, uint64_t block);
void index_insert(struct bufio_client *c, struct bufio_buffer *b);
void index_remove(struct bufio_client *c, struct bufio_buffer *b);
/* The bytes of an index for @nr buffers. */
uint64_t index_bytes(uint64_t nr);
/* Makes room for @nr buffers, as many as are in it at least. Errors: -ENOMEM, nothing is changed. */
int index_resize(struct bufio_client *c, uint64_t nr);
void index_release_all(struct bufio_client *c);

/* --- memory.c: the budget, and buffers out of large aligned areas --- */

size_t memory_per_buffer(const struct bufio_client *c);
uint64_t memory_for(const struct bufio_client *c, uint64_t nr_buffers);
uint64_t memory_floor_buffers(const struct bufio_client *c);
int memory_set_limit(struct bufio_client *c, uint64_t bytes);
struct bufio_buffer *memory_take(struct bufio_client *c);
/* Zeroed memory for munmap(), of huge pages where it is a whole number of those; or NULL. */
void *memory_map(size_t bytes);
void memory_give_back(struct bufio_client *c, struct bufio_buffer *b);
/* Gives back what unused buffers keep. */
void memory_trim(struct bufio_client *c);
void memory_release_all(struct bufio_client *c);

/* --- environment.c: what the machine and the BUFIO_* variables say --- */

/* Bytes that this process may use: of the machine, or of its control group; @root is "" but in tests. */
uint64_t memory_available(const char *root);
/* Applies the variables to a new client. Errors: -EINVAL one cannot be understood; as memory_set_limit(), trace_attach(). */
int apply_environment(struct bufio_client *c);

/* --- trace.c: what is asked of the cache goes to a file --- */

enum trace_op {
	TRACE_READ, TRACE_GET, TRACE_NEW, TRACE_PREFETCH,
	TRACE_SCAN,    /* blocks that bufio_scan() begins with */
	TRACE_DIRTY,
	TRACE_MOVE,    /* to this block */
	TRACE_WRITE,   /* bufio_write_dirty_buffers_async() */
	TRACE_FLUSH,   /* bufio_write_dirty_buffers() */
	TRACE_BARRIER, /* bufio_issue_flush() */
	TRACE_DISCARD, TRACE_FORGET,
};

/* What BUFIO_TRACE names can be written, and all went there so far. It is made if it has to be. As bufio_check_environment(). */
int trace_check(struct bufio_reason *reason);
/* The client is recorded from now on, if the variable says so. Errors: of opening the file. */
int trace_attach(struct bufio_client *c);
/* Block 0 is elsewhere. */
void trace_moved(struct bufio_client *c);
void trace_detach(struct bufio_client *c);
void trace_record(struct bufio_client *c, enum trace_op op, uint64_t block, uint64_t nr);

/* What is past the end is left out. */
static inline void record(struct bufio_client *c, enum trace_op op, uint64_t block, uint64_t nr)
{
	if (__builtin_expect(c->trace_number != 0, 0))
		trace_record(c, op, block, nr);
}

/* --- evict.c: a buffer for another block --- */

/* A buffer that is in no list and no index, with no state; the lock may have been dropped meanwhile. */
int alloc_buffer(struct bufio_client *c, struct bufio_buffer **b);
/* The same at once and without waiting, or NULL. */
struct bufio_buffer *alloc_buffer_now(struct bufio_client *c);
/* The same, but not at the cost of what a scan has read ahead: it would be read twice. */
struct bufio_buffer *alloc_ahead_buffer(struct bufio_client *c);
/* The same from what a scan is done with, or NULL: the last given up, which is still in the processor's caches. */
struct bufio_buffer *alloc_scanned_buffer(struct bufio_client *c);
/* Puts an allocated buffer into the cache as @block, held by @holder: this_thread() or NOBODY. */
#define NOBODY 0
void insert_buffer(struct bufio_client *c, struct bufio_buffer *b, uint64_t block, unsigned state,
		   enum buffer_use use, uint32_t holder);
/* Puts a buffer whose state changed on the queue where it belongs. */
void requeue(struct bufio_client *c, struct bufio_buffer *b);
/* Takes a buffer out of the cache, unless it is held or I/O is under way; a dirty one only if @dirty. */
bool drop_buffer(struct bufio_client *c, struct bufio_buffer *b, bool dirty);
/* Drops the clean buffers of a range that nobody holds; how many blocks of it stay. */
uint64_t forget_range(struct bufio_client *c, uint64_t block, uint64_t nr);
/* Down to nr_max, as far as holds allow. */
int evict_surplus(struct bufio_client *c);

/* --- owner.c: whose the holds are, and the lock that guards them --- */

/* A number for each thread, from 1. */
uint32_t this_thread(void);
/* With the buffer locked. */
void share_hold(struct bufio_buffer *b, uint32_t thread);
void drop_shared_hold(struct bufio_buffer *b, uint32_t thread);
/* Locks it. */
bool is_held_by_me_alone(struct bufio_buffer *b);
bool is_held(struct bufio_buffer *b);

static inline void take_hold(struct bufio_buffer *b, uint32_t thread)
{
	if (!b->hold_count)
		b->owner = thread;
	else if (b->owner != thread)
		share_hold(b, thread);
	b->hold_count++;
}

static inline void drop_hold(struct bufio_buffer *b, uint32_t thread)
{
	b->hold_count--;
	if (b->share != OWNER_ONLY)
		drop_shared_hold(b, thread);
}

/* --- hold.c --- */

/* What a caller who holds a block does to its standing, and whether he waits for memory; else it is -EAGAIN. */
enum holder { READER, SCAN, SCAN_AT_ONCE };
/* Holds a block and has its contents, or an error and no hold. */
int hold_and_read(struct bufio_client *c, uint64_t block, enum holder who, struct bufio_buffer **bp);

/* --- transfer.c: buffers to requests and back --- */

/* One event later: reaps completions if nobody does, else sleeps until something changed. The lock is dropped. */
void wait_event(struct bufio_client *c);
/* Takes in what is done, without waiting; the lock may be dropped. */
void poll_events(struct bufio_client *c);
void signal_event(struct bufio_client *c);
/* A release is such an event too, from now on; to be said before one looks whether there is something to wait for. */
void watch_releases(struct bufio_client *c);
void ignore_releases(struct bufio_client *c);

/* Transfers that were made and go to the device together. */
struct plug {
	enum io_direction direction;
	bool wait_follows;
	unsigned nr;
	struct io_request *requests[NR_TRANSFERS];
};

/* Has a free transfer at hand, so that the next add_transfer() does not wait; the lock may be dropped. */
void need_transfer(struct bufio_client *c, struct plug *plug);
/* Makes one transfer of up to TRANSFER_BLOCKS consecutive buffers; without a free one it waits. */
void add_transfer(struct bufio_client *c, struct plug *plug, struct bufio_buffer **buffers, unsigned nr);
/* Sends them on their way. The lock is dropped. */
void pull_plug(struct bufio_client *c, struct plug *plug);
/* Blocks in one transfer at most. */
unsigned transfer_blocks(const struct bufio_client *c);

/* --- writeback.c: dirty buffers --- */

enum write_which {
	WRITE_ALL,     /* whatever is dirty */
	WRITE_AT_ONCE, /* the oldest, as many as go without waiting */
	WRITE_ON,      /* the same, but those that failed before */
	WRITE_UNHELD,  /* for room: nor held ones */
};
/* Starts writes of dirty buffers, sorted and merged; how many could not start because they are being written. */
uint64_t start_writes(struct bufio_client *c, enum write_which which);
/* Goes on with an asynchronous write, when transfers have become free. */
void write_on(struct bufio_client *c);
/* Waits until every write that was started before this call has ended. */
void wait_for_writes(struct bufio_client *c);
/* Writes one held buffer, and waits. */
int write_now(struct bufio_client *c, struct bufio_buffer *b);
/* Bytes @start to @end of the block have to be written. */
void set_dirty(struct bufio_client *c, struct bufio_buffer *b, uint32_t start, uint32_t end);
/* The error of the lowest dirty block that could not be written. */
int first_write_error(const struct bufio_client *c);

#endif
