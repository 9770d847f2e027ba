// SPDX-License-Identifier: LGPL-2.1-or-later
/* The calls that take, use and give up holds. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bufio/bufio_int.h"

static void *fail(int error)
{
	errno = -error;
	return NULL;
}

/* --- taking --- */

/* With the buffer locked: one more hold, of what was in the cache. What a scan has read ahead is no hit of its own. */
static void hit(struct bufio_buffer *b, enum holder who)
{
	take_hold(b, this_thread());
	if (who == READER)
		b->use = b->use == PREFETCHED || b->use == AHEAD ? UNTOUCHED : TOUCHED;
	else if (b->use == AHEAD)
		return;
	if (++b->hits == UINT16_MAX) {
		atomic_fetch_add_explicit(&b->c->more_hits, b->hits, memory_order_relaxed);
		b->hits = 0;
	}
}

/* The quick way, for a block that is there and sound: no lock but the buffer's. */
static struct bufio_buffer *hold_hit(struct bufio_client *c, uint64_t block, enum holder who)
{
	struct bufio_buffer *b = index_find(c, block);
	bool sound;

	if (!b)
		return NULL;
	lock_buffer(b);
	sound = block_of(b) == block && (b->state & (CACHED | READING)) == CACHED && !b->read_error;
	if (sound)
		hit(b, who);
	unlock_buffer(b);
	return sound ? b : NULL;
}

static int alloc_for(struct bufio_client *c, enum holder who, struct bufio_buffer **out)
{
	struct bufio_buffer *b;

	if (who != SCAN_AT_ONCE)
		return alloc_buffer(c, out);
	b = alloc_buffer_now(c);
	if (!b)
		return -EAGAIN;
	*out = b;
	return 0;
}

/*
 * Holds the buffer of @block: the one in the cache, or one that is now in it with @state. *@found tells.
 * A new one of state FRESH is filled with zeroes before anybody can find it.
 */
static int hold_block(struct bufio_client *c, uint64_t block, unsigned state, enum holder who, bool *found,
		      struct bufio_buffer **out)
{
	struct bufio_buffer *b, *spare = NULL;
	int r;

	if (block >= c->nr_blocks)
		return -EINVAL;
	/* Allocating may drop the lock, so another thread may have brought the block in: look again. */
	while (!(b = index_find(c, block)) && !spare) {
		r = alloc_for(c, who, &spare);
		if (r)
			return r;
	}
	*found = b;
	if (b) {
		if (spare)
			memory_give_back(c, spare);
		lock_buffer(b);
		hit(b, who);
		unlock_buffer(b);
	} else {
		b = spare;
		if (state & FRESH)
			memset(b->data, 0, c->block_size);
		insert_buffer(c, b, block, state, who == READER ? UNTOUCHED : AHEAD, this_thread());
	}
	*out = b;
	return 0;
}

/* With the client locked: one hold less, and all that follows from it. */
static void give_up_hold(struct bufio_client *c, struct bufio_buffer *b)
{
	bool last;

	lock_buffer(b);
	drop_hold(b, this_thread());
	last = !b->hold_count;
	unlock_buffer(b);
	if (!last)
		return;
	if (b->read_error || b->state & FRESH || c->over_limit)
		drop_buffer(c, b, false);
	if (c->over_limit && b->state & DIRTY && !c->batch_busy)
		start_writes(c, WRITE_UNHELD); /* and it goes when that is done */
	signal_event(c);
}

static void read_in(struct bufio_client *c, struct bufio_buffer *b)
{
	struct plug plug = { .direction = IO_READ, .wait_follows = true };

	add_transfer(c, &plug, &b, 1);
	pull_plug(c, &plug);
}

/* Waits until a held block is read. What failed unasked, perhaps by a neighbour's fault, is read again by itself. */
static int finish_read(struct bufio_client *c, struct bufio_buffer *b)
{
	while (b->state & READING)
		wait_event(c);
	if (b->read_error && b->unasked) {
		b->unasked = false;
		lock_buffer(b);
		b->read_error = 0;
		b->state |= READING;
		unlock_buffer(b);
		read_in(c, b);
		while (b->state & READING)
			wait_event(c);
	}
	return b->read_error;
}

static int read_miss(struct bufio_client *c, uint64_t block, enum holder who, struct bufio_buffer **bp)
{
	struct bufio_buffer *b;
	bool found;
	int r;

	pthread_mutex_lock(&c->lock);
	r = hold_block(c, block, READING, who, &found, &b);
	if (!r) {
		if (!found)
			read_in(c, b);
		r = finish_read(c, b);
		if (r)
			give_up_hold(c, b);
	}
	pthread_mutex_unlock(&c->lock);
	if (!r)
		*bp = b;
	return r;
}

int hold_and_read(struct bufio_client *c, uint64_t block, enum holder who, struct bufio_buffer **bp)
{
	struct bufio_buffer *b = hold_hit(c, block, who);

	if (!b)
		return read_miss(c, block, who, bp);
	*bp = b;
	return 0;
}

void *bufio_read(struct bufio_client *c, uint64_t block, struct bufio_buffer **bp)
{
	struct bufio_buffer *b;
	int r;

	record(c, TRACE_READ, block, 1);
	r = hold_and_read(c, block, READER, &b);
	if (r)
		return fail(r);
	*bp = b;
	return b->data;
}

/* Why a block was not to be had at once; what has arrived meanwhile is taken in first. */
static int get_miss(struct bufio_client *c, uint64_t block, struct bufio_buffer **bp)
{
	struct bufio_buffer *b;
	int r = -ENOENT;

	if (block >= c->nr_blocks)
		return -EINVAL;
	pthread_mutex_lock(&c->lock);
	poll_events(c);
	b = index_find(c, block);
	if (b && b->state & READING) {
		r = -EAGAIN;
	} else if (b && (b = hold_hit(c, block, READER))) {
		*bp = b;
		r = 0;
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

void *bufio_get(struct bufio_client *c, uint64_t block, struct bufio_buffer **bp)
{
	struct bufio_buffer *b = hold_hit(c, block, READER);
	int r = b ? 0 : get_miss(c, block, &b);

	if (r)
		return fail(r);
	record(c, TRACE_GET, block, 1);
	*bp = b;
	return b->data;
}

/* A block that was there: what it held, or failed to read, does not matter any more. */
static void clear(struct bufio_client *c, struct bufio_buffer *b)
{
	while (b->state & (READING | WRITING))
		wait_event(c);
	lock_buffer(b);
	b->read_error = 0;
	if (!(b->state & DIRTY))
		b->state |= FRESH;
	unlock_buffer(b);
	if (b->state & DIRTY)
		set_dirty(c, b, 0, c->block_size);
	memset(b->data, 0, c->block_size);
}

void *bufio_new(struct bufio_client *c, uint64_t block, struct bufio_buffer **bp)
{
	struct bufio_buffer *b;
	bool found;
	int r;

	record(c, TRACE_NEW, block, 1);
	pthread_mutex_lock(&c->lock);
	r = hold_block(c, block, FRESH, READER, &found, &b);
	if (!r && found)
		clear(c, b);
	pthread_mutex_unlock(&c->lock);
	if (r)
		return fail(r);
	*bp = b;
	return b->data;
}

/* --- ahead --- */

/* The first run of blocks that are not cached, read into buffers that are at hand; how many. */
static unsigned prefetch_run(struct bufio_client *c, uint64_t block, uint64_t nr, struct bufio_buffer **run)
{
	unsigned n = 0;

	while (n < nr && n < transfer_blocks(c) && !index_find(c, block + n)) {
		struct bufio_buffer *b = alloc_buffer_now(c);

		if (!b)
			break;
		insert_buffer(c, b, block + n, READING, PREFETCHED, NOBODY);
		run[n++] = b;
	}
	return n;
}

static void prefetch(struct bufio_client *c, uint64_t block, uint64_t nr)
{
	struct plug plug = { .direction = IO_READ };
	struct bufio_buffer *run[TRANSFER_BLOCKS];

	while (nr && c->free_transfers) {
		unsigned n = prefetch_run(c, block, nr, run);

		if (n)
			add_transfer(c, &plug, run, n);
		else if (!index_find(c, block))
			break; /* no memory at hand */
		else
			n = 1;
		block += n;
		nr -= n;
	}
	pull_plug(c, &plug);
}

void bufio_prefetch(struct bufio_client *c, uint64_t block, uint64_t nr)
{
	if (block >= c->nr_blocks)
		return;
	if (nr > c->nr_blocks - block)
		nr = c->nr_blocks - block;
	record(c, TRACE_PREFETCH, block, nr);
	pthread_mutex_lock(&c->lock);
	if (!c->free_transfers)
		poll_events(c);
	prefetch(c, block, nr);
	pthread_mutex_unlock(&c->lock);
}

void bufio_forget_buffers(struct bufio_client *c, uint64_t block, uint64_t nr)
{
	record(c, TRACE_FORGET, block, nr);
	pthread_mutex_lock(&c->lock);
	poll_events(c);
	forget_range(c, block, nr);
	pthread_mutex_unlock(&c->lock);
}

void bufio_forget(struct bufio_client *c, uint64_t block)
{
	bufio_forget_buffers(c, block, 1);
}

/* --- giving up --- */

/* The quick way, when nobody has to hear of it. */
static bool release_quietly(struct bufio_buffer *b)
{
	bool quiet;

	lock_buffer(b);
	quiet = b->hold_count && !(b->state & FRESH) && !b->read_error &&
		!atomic_load_explicit(&b->c->attention, memory_order_relaxed);
	if (quiet)
		drop_hold(b, this_thread());
	unlock_buffer(b);
	return quiet;
}

int bufio_release(struct bufio_buffer *b)
{
	struct bufio_client *c = b->c;
	int r = 0;

	if (release_quietly(b))
		return 0;
	pthread_mutex_lock(&c->lock);
	if (is_held(b))
		give_up_hold(c, b);
	else
		r = -EINVAL;
	pthread_mutex_unlock(&c->lock);
	assert(!r);
	return r;
}

/* --- changing --- */

int bufio_mark_partial_buffer_dirty(struct bufio_buffer *b, unsigned start, unsigned end)
{
	struct bufio_client *c = b->c;
	bool right;

	right = start < end && end <= c->block_size && is_held(b);
	assert(right);
	if (!right)
		return -EINVAL;
	if (c->dev->info.read_only)
		return -EROFS;
	record(c, TRACE_DIRTY, block_of(b), 1);
	pthread_mutex_lock(&c->lock);
	set_dirty(c, b, start, end);
	if (c->nr_dirty > c->nr_max * c->dirty_percent / 100 && !c->batch_busy) {
		poll_events(c);
		if (!c->batch_busy && c->nr_inflight < NR_TRANSFERS / 2)
			start_writes(c, WRITE_UNHELD);
	}
	pthread_mutex_unlock(&c->lock);
	return 0;
}

int bufio_mark_buffer_dirty(struct bufio_buffer *b)
{
	return bufio_mark_partial_buffer_dirty(b, 0, b->c->block_size);
}

/* --- moving --- */

/* Waits until the buffer at @block, if any, could be dropped. */
static int wait_for_target(struct bufio_client *c, uint64_t block)
{
	struct bufio_buffer *t;
	int r = 0;

	watch_releases(c);
	while (!r && (t = index_find(c, block)) && (is_held(t) || t->state & (READING | WRITING))) {
		if (is_held_by_me_alone(t))
			r = -EDEADLK;
		else
			wait_event(c);
	}
	ignore_releases(c);
	return r;
}

/* What the target held is doomed, so a dirty one is not written. False: somebody has taken a hold. */
static bool drop_target(struct bufio_client *c, uint64_t block)
{
	struct bufio_buffer *t = index_find(c, block);

	return !t || drop_buffer(c, t, true);
}

/* If this is the only hold, nobody can take another by the quick way from now on. */
static bool withdraw(struct bufio_buffer *b)
{
	bool alone;

	lock_buffer(b);
	alone = b->hold_count == 1;
	if (alone)
		b->state &= (uint8_t)~CACHED;
	unlock_buffer(b);
	return alone;
}

/* The buffer itself becomes the new block. */
static void rename_buffer(struct bufio_client *c, struct bufio_buffer *b, uint64_t new_block)
{
	index_remove(c, b);
	lock_buffer(b);
	atomic_store_explicit(&b->block, new_block, memory_order_relaxed);
	b->state |= CACHED;
	unlock_buffer(b);
	index_insert(c, b);
	set_dirty(c, b, 0, c->block_size);
}

/* Others stay with the old block, so the new one gets a copy. */
static void insert_copy(struct bufio_client *c, const struct bufio_buffer *b, struct bufio_buffer *copy,
			uint64_t new_block)
{
	memcpy(copy->data, b->data, c->block_size);
	memcpy(copy->aux, b->aux, c->aux_size);
	insert_buffer(c, copy, new_block, 0, UNTOUCHED, NOBODY);
	set_dirty(c, copy, 0, c->block_size);
}

/*
 * Each step may drop the lock, so all must hold at once; and nothing may fail once the target is gone. Uses up *@copy,
 * which it allocates when there are other holders.
 */
static int move(struct bufio_client *c, struct bufio_buffer *b, uint64_t new_block, struct bufio_buffer **copy)
{
	for (;;) {
		bool alone;
		int r = write_now(c, b);

		if (!r)
			r = wait_for_target(c, new_block);
		if (r)
			return r;
		if (b->state & (DIRTY | WRITING))
			continue;
		alone = withdraw(b);
		if (!alone && !*copy) {
			r = alloc_buffer(c, copy);
			if (r)
				return r;
		} else if (!drop_target(c, new_block)) {
			change_state(b, 0, CACHED);
		} else if (alone) {
			rename_buffer(c, b, new_block);
			return 0;
		} else {
			insert_copy(c, b, *copy, new_block);
			*copy = NULL;
			return 0;
		}
	}
}

static int release_move(struct bufio_client *c, struct bufio_buffer *b, uint64_t new_block)
{
	struct bufio_buffer *copy = NULL;
	int r = 0;

	if (new_block != block_of(b)) {
		if (c->dev->info.read_only)
			return -EROFS;
		record(c, TRACE_MOVE, new_block, 1);
		r = move(c, b, new_block, &copy);
		if (copy)
			memory_give_back(c, copy);
	}
	if (!r)
		give_up_hold(c, b);
	return r;
}

int bufio_release_move(struct bufio_buffer *b, uint64_t new_block)
{
	struct bufio_client *c = b->c;
	int r = -EINVAL;

	pthread_mutex_lock(&c->lock);
	if (is_held(b) && new_block < c->nr_blocks)
		r = release_move(c, b, new_block);
	else
		assert(is_held(b));
	pthread_mutex_unlock(&c->lock);
	return r;
}
