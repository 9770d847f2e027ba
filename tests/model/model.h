/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cache against a simple model of it.
 *
 * Threads do random operations on one client, over a device that fails and is late. The model knows what each block
 * must read as, and what the device may have of it. What bufio.h promises is checked after every call; when all
 * threads rest, all of it.
 *
 * Who may use a block is agreed on by the locks of the test: readers together, or one writer. A thread waits for such
 * a lock only while it has no other and holds nothing, so that none of its waits can be the library's fault. The first
 * thread is the one that may hold several buffers; it keeps some from one operation to the next.
 *
 * Every operation has random numbers of its own, made of the seed, the thread and the operation's number. So a thread
 * does the same operations in every run. With one thread and the memory engine the whole run is the same.
 */
#ifndef MODEL_H
#define MODEL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bufio/bufio.h"
#include "io/io.h"

#define NR_BLOCKS 128
#define RESERVED 4
#define NR_VERSIONS 12
#define MAX_THREADS 16
#define MAX_MINIMUM 16 /* of bufio_set_minimum_buffers() */

struct config {
	uint64_t seed, ops;
	unsigned threads, block_size;
	const char *engine;
	bool callback; /* the client has a write callback */
	unsigned kinds; /* IO_FAULT_*: number n of these fails; 0: errors at random */
	bool sticky;
};

/* What is known about a block. */
struct block {
	pthread_rwlock_t lock; /* who may use it */
	/*
	 * Its bytes in memory and what is said below of them, against the write callback and other readers. Held for
	 * an instant, and never around a call.
	 */
	pthread_mutex_t content;
	uint64_t generation; /* of changes; under the first lock */
	unsigned char *now;  /* what it reads as */
	unsigned char *other; /* or this, if doubtful */
	bool doubtful;       /* released after bufio_new() without a mark: depends on whether it was dirty */
	bool raw;            /* zeroes of the device, never written: no seal */
	uint64_t moved_from; /* the last bufio_release_move() to it, + 1 */
	uint64_t aux;        /* and what came with it; under the first lock */
	/* What it was since it was last seen on the device, and is now; too many to know them all: NR_VERSIONS + 1. */
	unsigned nr_versions;
	unsigned char *versions[NR_VERSIONS];
};

struct world {
	struct config config;
	struct bufio_device *below, *dev;
	int fd; /* our own of the device's file, or -1 */
	struct bufio_client *c;
	struct io_fault_plan plan;
	bool may_fail; /* the plan has errors, but see errors_are_allowed() */
	bool resting;  /* all threads but one */
	bool exact;    /* one thread and memory: what is on the device is known at every moment */
	struct block blocks[NR_BLOCKS];
	/* For what nobody may do meanwhile who does not have the locks of the blocks: shared by those who do it. */
	pthread_rwlock_t strangers;
	atomic_uint_fast64_t max_limit; /* set since the peak was reset */
	uint64_t most_minimum_limit;    /* what bufio_set_minimum_buffers() may raise it to */
	atomic_bool scan_reads;         /* the callback of a scan uses the library */
	atomic_uint reports;            /* of failed writes, to this client */
	struct thread *threads[MAX_THREADS];
};

extern struct world w;

struct held {
	uint64_t block;
	struct bufio_buffer *b;
	unsigned char *data;
};

struct thread {
	unsigned nr;
	pthread_t id;
	uint64_t random;
	uint64_t op;
	unsigned nr_locks;
	struct held hoard[RESERVED]; /* with the lock of a reader */
	unsigned nr_hoard;
	bool holds_one; /* besides */
	struct bufio_stats last;
	_Atomic uint64_t progress;
	_Atomic(const char *) doing;
};

/* --- main.c --- */

/* Prints what is wrong and how to repeat it, and ends the program. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
uint64_t mix(uint64_t x);
/* 0 to @n - 1. */
uint64_t roll(struct thread *t, uint64_t n);

/* --- world.c: device, client, and the locks of the test --- */

/* The locks and the blocks, once. */
void world_init(void);
void world_exit(void);
/* A new device of zeroes, and a client. Ends the program with status 77 where the engine cannot be had. */
void world_open(void);
void world_close(void);
void client_open(void);
/* Returns what bufio_client_destroy() does. */
int client_close(void);
/* What is on the device; @room has space for a block. */
const unsigned char *device_block(uint64_t block, unsigned char *room);
void check_tail(void);
bool lock_block(struct thread *t, uint64_t block, bool write);
void unlock_block(struct thread *t, uint64_t block);
/* @r is not 0: ends the program unless it is the injected error. */
void expect_injected(const char *what, int r);
void note_limit(uint64_t bytes);

/* --- block.c: the model of one --- */

void block_init(struct block *b);
/* Zeroes, on the device too. */
void block_begin(struct block *b);
void block_exit(struct block *b);
/* What was read must be what the model says; settles doubt. Under the block's lock. */
void check_cached(uint64_t block, const unsigned char *data);
void check_zero(uint64_t block, const unsigned char *data);
/* Changes bytes @start to @end - 1, in the model and at @data. Under a writer's lock, as all below. */
void change(uint64_t block, unsigned char *data, unsigned start, unsigned end);
void becomes_zero(uint64_t block);      /* by bufio_new(): with a mark to come */
void becomes_discarded(uint64_t block);
void becomes_doubtful(uint64_t block);
void becomes_copy(uint64_t block, uint64_t of);
/* Under any lock. The device must have the block as it is now; that is what it has from then on. */
void check_on_device(uint64_t block);
bool is_on_device(uint64_t block);
/* What the device may have after a failure: any version since it was last seen there. */
void check_plausible_on_device(uint64_t block);
/* The checksum that the write callback puts into the first bytes. */
uint32_t seal_of(uint64_t block, const unsigned char *data);
void seal(struct bufio_buffer *b);
unsigned seal_bytes(void);

/* --- op_block.c, op_client.c: the operations --- */

/* And how often each is chosen. */
#define ALL_OPS(X) \
	X(read, 20) X(read_twice, 3) X(get, 6) X(modify, 14) X(modify_part, 12) \
	X(new, 9) X(new_part, 2) X(new_unmarked, 2) \
	X(move, 6) X(move_held_twice, 1) X(move_nowhere, 1) X(move_onto_held, 1) \
	X(pin, 3) X(hold_and, 5) X(hoard, 5) X(release_hoard, 2) \
	X(prefetch, 5) X(forget, 2) X(forget_range, 1) X(discard, 2) X(discard_held, 1) \
	X(write_dirty, 2) X(write_async, 2) X(flush, 1) X(percent, 1) \
	X(limit, 2) X(minimum, 1) X(scan, 2) X(blind_scan, 1) X(reset, 1) X(stats, 2) X(past_end, 1)

#define DECLARE_OP(name, weight) void op_##name(struct thread *t);
ALL_OPS(DECLARE_OP)

/* Reads a block and holds it; false if that failed, as it may. */
bool take(uint64_t block, struct held *h);
void give_up(struct held *h);
/* Releases all that the first thread holds on to. */
void release_hoard(struct thread *t);
uint64_t pick_block(struct thread *t);
/* Number t->op of the thread's operations. */
void run_op(struct thread *t);

/* --- check.c: all threads rest --- */

void check_device(void);
void check_reports(void);
/* Waits for what was started and not waited for. */
void drain(struct thread *t);
/* Everything, with the errors of the plan and without; they are off afterwards. */
void checkpoint(struct thread *t);

/* --- faults.c: number n of some kind fails --- */

int run_faults(void);

#endif
