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

static void touch(struct bufio_client *c, struct bufio_buffer *b)
{
	list_move(b->state & (DIRTY | WRITING) ? &c->dirty : &c->clean, &b->lru);
}

/* Holds the buffer of @block: the one in the cache, or an empty one that is now in it. *@found tells. */
static int hold_block(struct bufio_client *c, uint64_t block, bool *found, struct bufio_buffer **out)
{
	struct bufio_buffer *b, *spare = NULL;
	int r;

	if (block >= c->nr_blocks)
		return -EINVAL;
	/* Allocating may drop the lock, so another thread may have brought the block in: look again. */
	while (!(b = index_find(c, block)) && !spare) {
		r = alloc_buffer(c, &spare);
		if (r)
			return r;
	}
	*found = b;
	if (b) {
		if (spare)
			memory_give_back(c, spare);
		take_hold(b);
		touch(c, b);
		c->stats.hits++;
	} else {
		b = spare;
		insert_buffer(c, b, block);
	}
	*out = b;
	return 0;
}

static void give_up_hold(struct bufio_client *c, struct bufio_buffer *b)
{
	bool surplus = c->nr_buffers > c->nr_max;

	drop_hold(b);
	if (b->hold_count)
		return;
	if (!(b->state & (DIRTY | WRITING | READING)) && (b->read_error || b->state & FRESH || surplus))
		drop_buffer(c, b);
	else if (surplus && b->state & DIRTY && !c->batch_busy)
		start_writes(c, WRITE_UNHELD); /* and it goes when that is done */
	signal_event(c);
}

void *bufio_read(struct bufio_client *c, uint64_t block, struct bufio_buffer **bp)
{
	struct bufio_buffer *b;
	bool found;
	int r;

	pthread_mutex_lock(&c->lock);
	r = hold_block(c, block, &found, &b);
	if (!r) {
		if (!found) {
			b->state |= READING;
			start_transfers(c, IO_READ, &b, 1, true);
		}
		while (b->state & READING)
			wait_event(c);
		r = b->read_error;
		if (r)
			give_up_hold(c, b);
	}
	pthread_mutex_unlock(&c->lock);
	if (r)
		return fail(r);
	*bp = b;
	return b->data;
}

void *bufio_get(struct bufio_client *c, uint64_t block, struct bufio_buffer **bp)
{
	struct bufio_buffer *b;
	int r = 0;

	if (block >= c->nr_blocks)
		return fail(-EINVAL);
	pthread_mutex_lock(&c->lock);
	b = index_find(c, block);
	if (!b || b->read_error) {
		r = -ENOENT;
	} else if (b->state & READING) {
		r = -EAGAIN;
	} else {
		take_hold(b);
		touch(c, b);
		c->stats.hits++;
	}
	pthread_mutex_unlock(&c->lock);
	if (r)
		return fail(r);
	*bp = b;
	return b->data;
}

void *bufio_new(struct bufio_client *c, uint64_t block, struct bufio_buffer **bp)
{
	struct bufio_buffer *b;
	bool found;
	int r;

	pthread_mutex_lock(&c->lock);
	r = hold_block(c, block, &found, &b);
	if (!r) {
		while (b->state & (READING | WRITING))
			wait_event(c);
		b->read_error = 0;
		if (!(b->state & DIRTY))
			b->state |= FRESH;
		memset(b->data, 0, c->block_size);
	}
	pthread_mutex_unlock(&c->lock);
	if (r)
		return fail(r);
	*bp = b;
	return b->data;
}

int bufio_release(struct bufio_buffer *b)
{
	struct bufio_client *c = b->c;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	assert(b->hold_count);
	if (b->hold_count)
		give_up_hold(c, b);
	else
		r = -EINVAL;
	pthread_mutex_unlock(&c->lock);
	return r;
}

int bufio_mark_buffer_dirty(struct bufio_buffer *b)
{
	struct bufio_client *c = b->c;
	int r = 0;

	if (c->dev->info.read_only)
		return -EROFS;
	pthread_mutex_lock(&c->lock);
	assert(b->hold_count);
	if (!b->hold_count) {
		r = -EINVAL;
	} else {
		b->state &= (uint8_t)~FRESH;
		set_dirty(c, b);
		if (c->nr_dirty > c->nr_max / 4 * 3 && !c->batch_busy)
			start_writes(c, WRITE_UNHELD);
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* Gets the buffer at @block, if any, out of the way. What it held is doomed, so a dirty one is not written. */
static int clear_target(struct bufio_client *c, uint64_t block)
{
	struct bufio_buffer *t;

	while ((t = index_find(c, block))) {
		if (is_held_by_me_alone(t))
			return -EDEADLK;
		if (t->hold_count || t->state & (READING | WRITING))
			wait_event(c);
		else
			drop_buffer(c, t);
	}
	return 0;
}

/* Others stay with the old block, so the new one gets a copy. */
static int move_copy(struct bufio_client *c, struct bufio_buffer *b, uint64_t new_block)
{
	struct bufio_buffer *copy;
	int r = alloc_buffer(c, &copy);

	if (r)
		return r;
	r = clear_target(c, new_block);
	if (r) {
		memory_give_back(c, copy);
		return r;
	}
	insert_buffer(c, copy, new_block);
	memcpy(copy->data, b->data, c->block_size);
	memcpy(copy->aux, b->aux, c->aux_size);
	set_dirty(c, copy);
	give_up_hold(c, copy);
	return 0;
}

static void move_buffer(struct bufio_client *c, struct bufio_buffer *b, uint64_t new_block)
{
	index_remove(c, b);
	b->block = new_block;
	index_insert(c, b);
	b->state &= (uint8_t)~FRESH;
	set_dirty(c, b);
}

static int release_move(struct bufio_client *c, struct bufio_buffer *b, uint64_t new_block)
{
	int r;

	assert(b->hold_count);
	if (!b->hold_count || new_block >= c->nr_blocks)
		return -EINVAL;
	if (new_block != b->block) {
		if (c->dev->info.read_only)
			return -EROFS;
		/* Each step may drop the lock, so all must hold at once before anything is changed. */
		do {
			r = write_now(c, b);
			if (!r)
				r = clear_target(c, new_block);
			if (r)
				return r;
		} while (b->state & (DIRTY | WRITING));
		if (b->hold_count == 1) {
			move_buffer(c, b, new_block);
		} else {
			r = move_copy(c, b, new_block);
			if (r)
				return r;
		}
	}
	give_up_hold(c, b);
	return 0;
}

int bufio_release_move(struct bufio_buffer *b, uint64_t new_block)
{
	struct bufio_client *c = b->c;
	int r;

	pthread_mutex_lock(&c->lock);
	r = release_move(c, b, new_block);
	pthread_mutex_unlock(&c->lock);
	return r;
}
