// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading in bulk.
 *
 * The set of blocks is cut into chunks of neighbours, at most as many as go in one request. Chunks are read ahead, as
 * far as the window and the memory allow, and wait in a ring; any thread of the scan starts more of them, takes one
 * that has arrived, and calls back for its blocks. All of it is guarded by the client's lock but the callbacks.
 *
 * What is read ahead is not held, so whoever needs the memory more may have it: a block that is gone when it is its
 * turn is read again. A thread holds the one block that it calls back for, and the callback may hold another. That no
 * two wait for each other, half of the buffers are left to the second kind (nr_scanners), and only the caller's own
 * thread waits for memory: if it holds all there is itself, it must be told.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "bufio/bufio_int.h"

#define NR_CHUNKS NR_TRANSFERS
#define MAX_THREADS 64

struct chunk {
	enum { FREE, STARTED, TAKEN } state;
	bool is_callers; /* there was no memory for it at once */
	uint64_t block;  /* the first */
	unsigned nr, nr_done;
};

struct scan {
	struct bufio_client *c;
	const struct bufio_scan *what;
	uint32_t caller;          /* its thread */
	uint64_t window, nr_ahead; /* blocks: at most, and now in chunks */
	uint64_t nr_taken;        /* buffers that others might have had */
	uint64_t block, left;     /* of the range that is being started */
	bool asking;              /* a thread is in next() */
	bool is_at_end;           /* of the set */
	int result;               /* not 0: stop */
	unsigned first, nr;       /* chunks that are not free are among the @nr from @first on, in the order of the set */
	struct chunk chunks[NR_CHUNKS];
};

/* How many scans this thread is in the callback of. */
static _Thread_local unsigned depth;

static struct chunk *chunk_at(struct scan *s, unsigned i)
{
	return &s->chunks[(s->first + i) % NR_CHUNKS];
}

/* --- starting --- */

static void set_range(struct scan *s, uint64_t block, uint64_t nr)
{
	if (block > s->c->nr_blocks || nr > s->c->nr_blocks - block) {
		s->result = -EINVAL;
		return;
	}
	s->block = block;
	s->left = nr;
}

static void ask_next(struct scan *s)
{
	uint64_t block = 0, nr = 0;
	bool more;

	s->asking = true;
	pthread_mutex_unlock(&s->c->lock);
	more = s->what->next(s->what->context, &block, &nr);
	pthread_mutex_lock(&s->c->lock);
	s->asking = false;
	if (more)
		set_range(s, block, nr);
	else
		s->is_at_end = true;
	signal_event(s->c);
}

/* Asks for the next range when there is none; false while there is nothing to start. The lock may be dropped. */
static bool have_range(struct scan *s)
{
	while (!s->left && !s->asking && !s->is_at_end && !s->result)
		ask_next(s);
	return s->left;
}

/*
 * A buffer for a block ahead, if there is one at hand. A scan lives on a window's worth of them, over and over: memory
 * that was never touched, and caches that others fill, are slow.
 */
static struct bufio_buffer *alloc_ahead(struct scan *s)
{
	struct bufio_buffer *b = s->nr_taken < s->window ? NULL : alloc_scanned_buffer(s->c);

	if (b)
		return b;
	b = alloc_ahead_buffer(s->c);
	s->nr_taken += b != NULL;
	return b;
}

static uint64_t half_of_buffers(const struct bufio_client *c)
{
	uint64_t half = (c->nr_max - c->reserved) / 2;

	return half ? half : 1;
}

static bool has_room(const struct scan *s)
{
	return s->nr_ahead < s->window && s->nr_ahead < half_of_buffers(s->c);
}

/* What can be started without waiting, from the next block on; with nothing else under way, one block at least. */
static void fill_chunk(struct scan *s, struct chunk *chunk, struct plug *plug)
{
	struct bufio_buffer *run[TRANSFER_BLOCKS], *b;
	unsigned nr = 0;

	*chunk = (struct chunk){ .block = s->block };
	while (s->left && chunk->nr < transfer_blocks(s->c) && has_room(s)) {
		bool cached = index_find(s->c, s->block);

		if (!cached && (nr || s->c->free_transfers) && (b = alloc_ahead(s))) {
			insert_buffer(s->c, b, s->block, READING, AHEAD, NOBODY);
			run[nr++] = b;
		} else if (!cached && s->nr_ahead) {
			break;
		} else if (nr) {
			add_transfer(s->c, plug, run, nr);
			nr = 0;
		}
		chunk->nr++;
		s->nr_ahead++;
		s->block++;
		s->left--;
	}
	if (nr)
		add_transfer(s->c, plug, run, nr);
}

static void start_ahead(struct scan *s)
{
	struct plug plug = { .direction = IO_READ };

	while (have_range(s) && !s->result && s->nr < NR_CHUNKS && has_room(s)) {
		struct chunk *chunk = chunk_at(s, s->nr);

		fill_chunk(s, chunk, &plug);
		if (!chunk->nr)
			break;
		record(s->c, TRACE_SCAN, chunk->block, chunk->nr);
		chunk->state = STARTED;
		s->nr++;
	}
	pull_plug(s->c, &plug);
}

/* --- handing out --- */

static bool has_arrived(const struct scan *s, const struct chunk *chunk)
{
	for (unsigned i = chunk->nr_done; i < chunk->nr; i++) {
		const struct bufio_buffer *b = index_find(s->c, chunk->block + i);

		if (b && b->state & READING)
			return false;
	}
	return true;
}

static bool is_caller(const struct scan *s)
{
	return s->caller == this_thread();
}

static struct chunk *take_chunk(struct scan *s)
{
	if (!depth && s->c->nr_scanners >= half_of_buffers(s->c))
		return NULL;
	for (unsigned i = 0; i < s->nr; i++) {
		struct chunk *chunk = chunk_at(s, i);

		if (chunk->state == STARTED && (!chunk->is_callers || is_caller(s)) && has_arrived(s, chunk)) {
			chunk->state = TAKEN;
			s->c->nr_scanners++;
			return chunk;
		}
		if (s->what->in_order)
			break;
	}
	return NULL;
}

/* To the end of the queue from where they are taken first, unless somebody has asked for them too. */
static void release_cold(struct bufio_client *c, uint64_t block)
{
	struct bufio_buffer *b = index_find(c, block);
	bool cold;

	if (!b)
		return;
	lock_buffer(b);
	cold = b->use == AHEAD && b->state == CACHED && !b->hold_count;
	if (cold)
		b->use = SCANNED;
	unlock_buffer(b);
	if (cold) {
		requeue(c, b);
		list_del(&b->lru);
		list_add_tail(&c->cold, &b->lru);
	}
}

/* From the last to the first: they are taken again in the order of their addresses, and one iovec does for many. */
static void free_chunk(struct scan *s, struct chunk *chunk)
{
	for (unsigned i = chunk->nr; i;)
		release_cold(s->c, chunk->block + --i);
	s->nr_ahead -= chunk->nr;
	chunk->state = FREE;
	while (s->nr && chunk_at(s, 0)->state == FREE) {
		s->first = (s->first + 1) % NR_CHUNKS;
		s->nr--;
	}
}

/* Calls back for one block, which gives *@r; or the error that there is no memory for it. */
static int hand_out_block(struct scan *s, uint64_t block, int *r)
{
	struct bufio_buffer *b;
	int error = hold_and_read(s->c, block, is_caller(s) ? SCAN : SCAN_AT_ONCE, &b);

	if (error == -EAGAIN || error == -EDEADLK || error == -ENOMEM)
		return error;
	depth++;
	*r = s->what->block(s->what->context, block, error ? NULL : b->data, error);
	depth--;
	if (!error)
		bufio_release(b);
	return 0;
}

static void hand_out(struct scan *s, struct chunk *chunk)
{
	unsigned i = chunk->nr_done;
	int r = 0, no_memory = 0;

	pthread_mutex_unlock(&s->c->lock);
	while (i < chunk->nr && !r && !no_memory) {
		no_memory = hand_out_block(s, chunk->block + i, &r);
		i += !no_memory;
	}
	pthread_mutex_lock(&s->c->lock);
	s->c->nr_scanners--;
	chunk->nr_done = i;
	if (no_memory == -EAGAIN) {
		chunk->is_callers = true;
		chunk->state = STARTED;
	} else {
		if (!s->result)
			s->result = no_memory ? no_memory : r;
		free_chunk(s, chunk);
	}
	signal_event(s->c);
}

/* One thread's part. */
static void *take_part(void *arg)
{
	struct scan *s = arg;

	pthread_mutex_lock(&s->c->lock);
	for (;;) {
		struct chunk *chunk;

		start_ahead(s);
		if (s->result)
			break;
		chunk = take_chunk(s);
		if (chunk)
			hand_out(s, chunk);
		else if (s->is_at_end && !s->left && !s->nr)
			break; /* not before: what another thread has taken may become the caller's */
		else
			wait_event(s->c);
	}
	signal_event(s->c);
	pthread_mutex_unlock(&s->c->lock);
	return NULL;
}

/* --- the scan --- */

static uint64_t window_of(const struct bufio_client *c, const struct bufio_scan *what)
{
	uint64_t blocks = (what->window ? what->window : bufio_get_read_ahead(c)) / c->block_size;

	return blocks ? blocks : 1;
}

static unsigned count_threads(const struct bufio_scan *what)
{
	long nr = what->in_order ? 1 : what->threads ? (long)what->threads : sysconf(_SC_NPROCESSORS_ONLN);

	return nr < 1 ? 1 : nr > MAX_THREADS ? MAX_THREADS : (unsigned)nr;
}

/* The caller's thread takes part too, so it works with fewer threads, or none, as well. */
static void run_threads(struct scan *s, unsigned nr)
{
	pthread_t threads[MAX_THREADS];
	sigset_t all, before;
	unsigned started = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's own threads */
	while (started + 1 < nr && !pthread_create(&threads[started], NULL, take_part, s))
		started++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	take_part(s);
	while (started)
		pthread_join(threads[--started], NULL);
}

/* What was read ahead and nobody came for, when a scan ended early, is a block like any other. */
static void give_up_ahead(struct scan *s)
{
	pthread_mutex_lock(&s->c->lock);
	for (unsigned i = 0; i < s->nr; i++) {
		const struct chunk *chunk = chunk_at(s, i);

		for (unsigned n = chunk->nr_done; n < chunk->nr && chunk->state != FREE; n++) {
			struct bufio_buffer *b = index_find(s->c, chunk->block + n);

			if (!b)
				continue;
			lock_buffer(b);
			b->use = b->use == AHEAD ? UNTOUCHED : b->use;
			unlock_buffer(b);
		}
	}
	pthread_mutex_unlock(&s->c->lock);
}

int bufio_scan(struct bufio_client *c, const struct bufio_scan *what)
{
	struct scan *s;
	int r;

	if (what->in_order && what->threads > 1)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->c = c;
	s->what = what;
	s->caller = this_thread();
	s->window = window_of(c, what);
	if (!what->next) {
		set_range(s, what->first_block, what->nr_blocks);
		s->is_at_end = true;
	}
	run_threads(s, count_threads(what));
	give_up_ahead(s);
	r = s->result;
	free(s);
	return r;
}

void bufio_set_read_ahead(struct bufio_client *c, uint64_t bytes)
{
	atomic_store(&c->read_ahead, bytes);
}

uint64_t bufio_get_read_ahead(const struct bufio_client *c)
{
	return atomic_load(&c->read_ahead);
}
