// SPDX-License-Identifier: LGPL-2.1-or-later
/* Dirty buffers: collected, sorted by block, merged, written. */
#include <errno.h>
#include <stdlib.h>

#include "bufio/bufio_int.h"

void set_dirty(struct bufio_client *c, struct bufio_buffer *b)
{
	if (!(b->state & DIRTY))
		c->nr_dirty++;
	b->state |= DIRTY;
	list_move(&c->dirty, &b->lru);
}

void set_clean(struct bufio_client *c, struct bufio_buffer *b)
{
	list_move(&c->clean, &b->lru);
}

static int by_block(const void *x, const void *y)
{
	const struct bufio_buffer *a = *(struct bufio_buffer *const *)x;
	const struct bufio_buffer *b = *(struct bufio_buffer *const *)y;

	return a->block < b->block ? -1 : a->block > b->block;
}

static uint64_t collect(struct bufio_client *c, enum write_which which, uint64_t *nr_busy)
{
	uint64_t nr = 0;

	for (struct list *l = c->dirty.prev; l != &c->dirty; l = l->prev) {
		struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		if (!(b->state & DIRTY) || (which == WRITE_UNHELD && (b->hold_count || b->write_error)))
			continue;
		if (b->state & WRITING)
			++*nr_busy;
		else
			c->batch[nr++] = b;
	}
	qsort(c->batch, nr, sizeof(*c->batch), by_block);
	return nr;
}

static void to_writing(struct bufio_client *c, struct bufio_buffer *b)
{
	if (c->write_callback)
		c->write_callback(b);
	b->state = (uint8_t)((b->state & ~DIRTY) | WRITING);
	c->nr_dirty--;
}

/*
 * One batch at a time. When a batch can begin, every buffer that is WRITING has its transfer and so its serial number:
 * wait_for_writes() relies on that.
 */
static void begin_batch(struct bufio_client *c)
{
	while (c->batch_busy)
		wait_event(c);
	c->batch_busy = true;
}

static void end_batch(struct bufio_client *c)
{
	c->batch_busy = false;
	signal_event(c);
}

uint64_t start_writes(struct bufio_client *c, enum write_which which)
{
	uint64_t nr, nr_busy = 0;

	begin_batch(c);
	nr = collect(c, which, &nr_busy);
	for (uint64_t i = 0; i < nr; i++)
		to_writing(c, c->batch[i]);
	start_transfers(c, IO_WRITE, c->batch, nr, false);
	end_batch(c);
	return nr_busy;
}

static bool is_writing_since(const struct bufio_client *c, uint64_t serial)
{
	for (unsigned i = 0; i < NR_TRANSFERS; i++) {
		const struct transfer *t = &c->transfers[i];

		if (t->serial && t->serial <= serial && t->request.direction == IO_WRITE)
			return true;
	}
	return false;
}

/* By serial number, so that other threads that go on writing cannot keep the caller here for ever. */
void wait_for_writes(struct bufio_client *c)
{
	uint64_t serial = c->last_serial;

	while (is_writing_since(c, serial))
		wait_event(c);
}

int write_now(struct bufio_client *c, struct bufio_buffer *b)
{
	while (b->state & WRITING)
		wait_event(c);
	if (!(b->state & DIRTY))
		return 0;
	begin_batch(c);
	if (b->state & DIRTY && !(b->state & WRITING)) {
		to_writing(c, b);
		start_transfers(c, IO_WRITE, &b, 1, true);
	}
	end_batch(c);
	while (b->state & WRITING)
		wait_event(c);
	return b->write_error;
}

/* One that another thread is writing again counts too: whether that succeeds is not known yet. */
int first_write_error(const struct bufio_client *c)
{
	uint64_t lowest = UINT64_MAX;
	int error = 0;

	for (const struct list *l = c->dirty.next; l != &c->dirty; l = l->next) {
		const struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		if (b->write_error && b->block <= lowest) {
			lowest = b->block;
			error = b->write_error;
		}
	}
	return error;
}

void bufio_write_dirty_buffers_async(struct bufio_client *c)
{
	pthread_mutex_lock(&c->lock);
	start_writes(c, WRITE_ALL);
	pthread_mutex_unlock(&c->lock);
}

int bufio_issue_flush(struct bufio_client *c)
{
	int r;

	if (c->dev->info.read_only)
		return 0;
	/* One at a time: the kernel tells of a lost write once, and every thread that flushes has to know. */
	pthread_mutex_lock(&c->lock);
	while (c->flushing)
		wait_event(c);
	c->flushing = true;
	pthread_mutex_unlock(&c->lock);
	r = c->dev->ops->flush(c->dev);
	pthread_mutex_lock(&c->lock);
	c->flushing = false;
	c->stats.flushes++;
	if (!c->flush_error)
		c->flush_error = r;
	r = c->flush_error;
	signal_event(c);
	pthread_mutex_unlock(&c->lock);
	return r;
}

int bufio_write_dirty_buffers(struct bufio_client *c)
{
	int write_error, flush_error;

	pthread_mutex_lock(&c->lock);
	if (start_writes(c, WRITE_ALL)) {
		/* Some were dirtied again while an older write of them was under way: once more when that is over. */
		wait_for_writes(c);
		start_writes(c, WRITE_ALL);
	}
	wait_for_writes(c);
	write_error = first_write_error(c);
	pthread_mutex_unlock(&c->lock);

	/* Also after an error, and when nothing was dirty: earlier evictions wrote without a flush. */
	flush_error = bufio_issue_flush(c);
	return write_error ? write_error : flush_error;
}
