// SPDX-License-Identifier: LGPL-2.1-or-later
/* Buffers to requests and back: merging neighbours on the way in, completing buffers on the way out. */
#include <errno.h>

#include "bufio/bufio_int.h"

#define TRANSFER_BYTES (UINT64_C(1) << 20)

/* --- events --- */

void signal_event(struct bufio_client *c)
{
	if (c->nr_waiters)
		pthread_cond_broadcast(&c->changed);
}

/*
 * No release is missed: the count is raised before the waiter looks at the buffers, each under its lock. A release
 * that came before that look was seen by it; one that comes later locks the buffer after it, and sees the count.
 */
void watch_releases(struct bufio_client *c)
{
	atomic_fetch_add_explicit(&c->attention, 1, memory_order_relaxed);
}

void ignore_releases(struct bufio_client *c)
{
	atomic_fetch_sub_explicit(&c->attention, 1, memory_order_relaxed);
}

static void complete_read(struct bufio_client *c, struct bufio_buffer *b, int result, bool together)
{
	if (!together)
		b->unasked = false; /* whatever comes is its own */
	lock_buffer(b);
	b->state &= (uint8_t)~READING;
	b->read_error = (int16_t)result;
	unlock_buffer(b);
	c->stats.read_errors += result && !b->unasked;
	if (result)
		drop_buffer(c, b, false); /* prefetched: nobody is there to be told; else the last holder does it */
}

/*
 * A failed write leaves the buffer dirty, all of it: what is in memory is the only good copy. Of several blocks that
 * failed together nobody knows yet which is to blame.
 */
static void complete_write(struct bufio_client *c, struct bufio_buffer *b, int result, bool together)
{
	bool blamed = result && !together;

	change_state(b, WRITING, 0);
	b->alone = result;
	b->write_error = (int16_t)(blamed ? result : 0);
	if (result)
		set_dirty(c, b, 0, c->block_size);
	requeue(c, b);
	if (blamed && c->report)
		c->report(c->report_context, BUFIO_REPORT_WRITE_ERROR, block_of(b), -result);
	c->stats.write_errors += blamed;
	c->stats.blocks_written += !result;
	if (c->over_limit)
		drop_buffer(c, b, false);
}

static void complete(struct bufio_client *c, struct transfer *t)
{
	for (unsigned i = 0; i < t->nr; i++) {
		if (t->request.direction == IO_READ)
			complete_read(c, t->buffers[i], t->request.result, t->nr > 1);
		else
			complete_write(c, t->buffers[i], t->request.result, t->nr > 1);
	}
	c->nr_split += t->request.direction == IO_WRITE && t->request.result && t->nr > 1;
	t->serial = 0;
	t->next = c->free_transfers;
	c->free_transfers = t;
	c->nr_inflight--;
}

static void reap(struct bufio_client *c, bool block)
{
	struct io_request *done[NR_TRANSFERS];
	unsigned nr;

	c->reaping = true;
	pthread_mutex_unlock(&c->lock);
	nr = c->dev->ops->wait(c->dev, done, NR_TRANSFERS, block);
	pthread_mutex_lock(&c->lock);
	c->reaping = false;
	for (unsigned i = 0; i < nr; i++)
		complete(c, (struct transfer *)done[i]);
	write_on(c);
	signal_event(c);
}

static bool can_reap(const struct bufio_client *c)
{
	return !c->reaping && c->nr_inflight > c->nr_unsubmitted;
}

void wait_event(struct bufio_client *c)
{
	c->stats.waits++;
	if (can_reap(c)) {
		reap(c, true);
		return;
	}
	c->nr_waiters++;
	pthread_cond_wait(&c->changed, &c->lock);
	c->nr_waiters--;
}

void poll_events(struct bufio_client *c)
{
	if (can_reap(c))
		reap(c, false);
}

/* --- transfers --- */

unsigned transfer_blocks(const struct bufio_client *c)
{
	uint64_t nr = TRANSFER_BYTES / c->block_size;

	return nr < 1 ? 1 : nr > TRANSFER_BLOCKS ? TRANSFER_BLOCKS : (unsigned)nr;
}

void need_transfer(struct bufio_client *c, struct plug *plug)
{
	while (!c->free_transfers) {
		pull_plug(c, plug);
		if (!c->free_transfers)
			wait_event(c);
	}
}

static struct transfer *take_transfer(struct bufio_client *c, struct plug *plug)
{
	struct transfer *t;

	need_transfer(c, plug);
	t = c->free_transfers;
	c->free_transfers = t->next;
	t->serial = ++c->last_serial;
	c->nr_inflight++;
	c->nr_unsubmitted++;
	return t;
}

/* What of a buffer moves: all when it is read, the dirty range when it is written. */
static struct iovec piece(const struct bufio_client *c, const struct bufio_buffer *b, enum io_direction direction)
{
	if (direction == IO_READ)
		return (struct iovec){ .iov_base = b->data, .iov_len = c->block_size };
	return (struct iovec){ .iov_base = (char *)b->data + b->dirty_start, .iov_len = b->dirty_end - b->dirty_start };
}

/* Buffers that lie one behind the other in memory too are one piece. Returns the bytes. */
static uint64_t fill(const struct bufio_client *c, struct transfer *t, enum io_direction direction,
		     struct bufio_buffer **buffers, unsigned nr)
{
	uint64_t bytes = 0, first = direction == IO_READ ? 0 : buffers[0]->dirty_start;
	unsigned nr_iov = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct iovec v = piece(c, buffers[i], direction);

		t->buffers[i] = buffers[i];
		bytes += v.iov_len;
		if (nr_iov && (char *)t->iov[nr_iov - 1].iov_base + t->iov[nr_iov - 1].iov_len == v.iov_base)
			t->iov[nr_iov - 1].iov_len += v.iov_len;
		else
			t->iov[nr_iov++] = v;
	}
	t->nr = nr;
	t->request = (struct io_request){
		.direction = direction,
		.offset = c->offset + block_of(buffers[0]) * c->block_size + first,
		.iov = t->iov,
		.nr_iov = nr_iov,
	};
	return bytes;
}

static void count(struct bufio_stats *s, enum io_direction direction, unsigned nr, uint64_t bytes)
{
	s->merged += nr - 1;
	if (direction == IO_READ) {
		s->read_requests++;
		s->blocks_read += nr;
		s->read_bytes += bytes;
	} else {
		s->write_requests++;
		s->written_bytes += bytes;
	}
}

void add_transfer(struct bufio_client *c, struct plug *plug, struct bufio_buffer **buffers, unsigned nr)
{
	struct transfer *t = take_transfer(c, plug);

	count(&c->stats, plug->direction, nr, fill(c, t, plug->direction, buffers, nr));
	t->request.wait_follows = plug->wait_follows;
	plug->requests[plug->nr++] = &t->request;
}

void pull_plug(struct bufio_client *c, struct plug *plug)
{
	unsigned nr = plug->nr;

	if (!nr)
		return;
	pthread_mutex_unlock(&c->lock);
	c->dev->ops->submit(c->dev, plug->requests, nr);
	pthread_mutex_lock(&c->lock);
	plug->nr = 0;
	c->nr_unsubmitted -= nr;
	signal_event(c); /* a sleeper may have to become the reaper */
}
