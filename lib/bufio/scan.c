// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading in bulk.
 *
 * The set of blocks is cut into chunks of neighbours, at most as many as go in one request. Chunks are started ahead,
 * as far as the window and the memory allow, and wait in a ring; any thread of the scan starts more of them, takes one
 * that has arrived, and calls back for its blocks. All of it is guarded by the client's lock but the callbacks.
 *
 * Blocks of started chunks are held by the scan, which is no thread: another thread that finds all memory held has
 * something to wait for. The window leaves half of the buffers to others.
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
	unsigned nr;
	struct bufio_buffer *buffers[TRANSFER_BLOCKS];
};

struct scan {
	struct bufio_client *c;
	const struct bufio_scan *what;
	uint64_t window, nr_held; /* blocks */
	uint64_t block, left;     /* of the range that is being started */
	bool asking;              /* a thread is in next() */
	bool is_at_end;           /* of the set */
	int result;               /* not 0: stop */
	unsigned first, nr;       /* chunks that are not free are among the @nr from @first on, in the order of the set */
	struct chunk chunks[NR_CHUNKS];
};

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
	if (!s->left && !s->asking && !s->is_at_end && !s->result)
		ask_next(s);
	return s->left;
}

/* The next block, if it is in the cache. */
static struct bufio_buffer *hold_cached(struct scan *s)
{
	struct bufio_buffer *b = index_find(s->c, s->block);

	if (b) {
		lock_buffer(b);
		take_hold(b, THE_SCAN);
		b->hits++;
		unlock_buffer(b);
	}
	return b;
}

/* The next block, to be read into a buffer that is at hand; NULL without one. */
static struct bufio_buffer *hold_missing(struct scan *s)
{
	struct bufio_buffer *b = alloc_buffer_now(s->c);

	if (b)
		insert_buffer(s->c, b, s->block, READING, SCANNED, THE_SCAN);
	return b;
}

/* The last @nr of the chunk. There is a free transfer. */
static void read_run(struct scan *s, struct plug *plug, struct chunk *chunk, unsigned *nr)
{
	if (*nr)
		add_transfer(s->c, plug, &chunk->buffers[chunk->nr - *nr], *nr);
	*nr = 0;
}

/* As many blocks as there are, and as can be had without waiting. */
static void fill_chunk(struct scan *s, struct chunk *chunk, struct plug *plug)
{
	unsigned run = 0;

	chunk->nr = 0;
	while (s->left && chunk->nr < transfer_blocks(s->c) && s->nr_held < s->window) {
		struct bufio_buffer *b = hold_cached(s);

		if (b)
			read_run(s, plug, chunk, &run);
		else if (!(run || s->c->free_transfers) || !(b = hold_missing(s)))
			break;
		else
			run++;
		chunk->buffers[chunk->nr++] = b;
		s->nr_held++;
		s->block++;
		s->left--;
	}
	read_run(s, plug, chunk, &run);
}

static void start_ahead(struct scan *s)
{
	struct plug plug = { .direction = IO_READ };

	while (have_range(s) && !s->result && s->nr < NR_CHUNKS && s->nr_held < s->window) {
		struct chunk *chunk = chunk_at(s, s->nr);

		fill_chunk(s, chunk, &plug);
		if (!chunk->nr)
			break;
		chunk->state = STARTED;
		s->nr++;
	}
	pull_plug(s->c, &plug);
}

/* With nothing under way, something has to give way: a buffer or a transfer. */
static int make_way(struct scan *s)
{
	struct bufio_buffer *b;
	int r;

	if (!s->c->free_transfers) {
		wait_event(s->c);
		return 0;
	}
	r = alloc_buffer(s->c, &b);
	if (!r)
		memory_give_back(s->c, b);
	return r;
}

/* --- handing out --- */

static bool has_arrived(const struct chunk *chunk)
{
	for (unsigned i = 0; i < chunk->nr; i++)
		if (chunk->buffers[i]->state & READING)
			return false;
	return true;
}

static struct chunk *take_chunk(struct scan *s)
{
	for (unsigned i = 0; i < s->nr; i++) {
		struct chunk *chunk = chunk_at(s, i);

		if (chunk->state == STARTED && has_arrived(chunk)) {
			chunk->state = TAKEN;
			return chunk;
		}
		if (s->what->in_order)
			break;
	}
	return NULL;
}

/* To the end of the queue where the next victim is, unless somebody else has asked for it. */
static void release_cold(struct bufio_client *c, struct bufio_buffer *b)
{
	bool cold;

	lock_buffer(b);
	cold = b->use == SCANNED && !(b->state & (DIRTY | WRITING));
	unlock_buffer(b);
	if (cold) {
		list_del(&b->lru);
		list_add_tail(&c->cold, &b->lru);
	}
	give_up_hold(c, b, THE_SCAN);
}

/* From the last to the first: they are taken again in the order of their addresses, and one iovec does for many. */
static void free_chunk(struct scan *s, struct chunk *chunk)
{
	for (unsigned i = chunk->nr; i;)
		release_cold(s->c, chunk->buffers[--i]);
	s->nr_held -= chunk->nr;
	chunk->state = FREE;
	while (s->nr && chunk_at(s, 0)->state == FREE) {
		s->first = (s->first + 1) % NR_CHUNKS;
		s->nr--;
	}
	signal_event(s->c);
}

static void hand_out(struct scan *s, struct chunk *chunk)
{
	int errors[TRANSFER_BLOCKS], r = 0;

	for (unsigned i = 0; i < chunk->nr; i++)
		errors[i] = finish_read(s->c, chunk->buffers[i]);
	pthread_mutex_unlock(&s->c->lock);
	for (unsigned i = 0; i < chunk->nr && !r; i++) {
		struct bufio_buffer *b = chunk->buffers[i];

		r = s->what->block(s->what->context, block_of(b), errors[i] ? NULL : b->data, errors[i]);
	}
	pthread_mutex_lock(&s->c->lock);
	if (!s->result)
		s->result = r;
	free_chunk(s, chunk);
}

static bool is_started(struct scan *s)
{
	for (unsigned i = 0; i < s->nr; i++)
		if (chunk_at(s, i)->state == STARTED)
			return true;
	return false;
}

/* One thread's part. */
static void *take_part(void *arg)
{
	struct scan *s = arg;
	struct bufio_client *c = s->c;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		struct chunk *chunk;

		start_ahead(s);
		if (s->result)
			break;
		chunk = take_chunk(s);
		if (chunk)
			hand_out(s, chunk);
		else if (s->is_at_end && !s->left && !is_started(s))
			break;
		else if (s->left && !s->nr)
			s->result = make_way(s);
		else
			wait_event(c);
	}
	signal_event(c);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* --- the scan --- */

/* Chunks that were started for nothing. */
static void drain(struct scan *s)
{
	pthread_mutex_lock(&s->c->lock);
	while (s->nr) {
		struct chunk *chunk = chunk_at(s, 0);

		while (!has_arrived(chunk))
			wait_event(s->c);
		free_chunk(s, chunk);
	}
	pthread_mutex_unlock(&s->c->lock);
}

static void set_window(struct scan *s)
{
	struct bufio_client *c = s->c;
	uint64_t most, bytes = s->what->window ? s->what->window : bufio_get_read_ahead(c);

	pthread_mutex_lock(&c->lock);
	most = (c->nr_max - c->reserved) / 2;
	pthread_mutex_unlock(&c->lock);
	s->window = bytes / c->block_size;
	if (s->window > most)
		s->window = most;
	if (!s->window)
		s->window = 1;
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
	set_window(s);
	if (!what->next) {
		set_range(s, what->first_block, what->nr_blocks);
		s->is_at_end = true;
	}
	run_threads(s, count_threads(what));
	drain(s);
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
