// SPDX-License-Identifier: LGPL-2.1-or-later
/* Buffers to requests and back: merging neighbours on the way in, completing buffers on the way out. */
#include <errno.h>

#include "bufio/bufio_int.h"

void signal_event(struct bufio_client *c)
{
	if (c->nr_waiters)
		pthread_cond_broadcast(&c->changed);
}

static void complete_read(struct bufio_client *c, struct bufio_buffer *b, int result)
{
	b->state &= (uint8_t)~READING;
	b->read_error = result;
	c->stats.read_errors += result != 0;
}

/* A failed write leaves the buffer dirty: what is in memory is the only good copy. */
static void complete_write(struct bufio_client *c, struct bufio_buffer *b, int result)
{
	b->state &= (uint8_t)~WRITING;
	b->write_error = result;
	if (!result) {
		c->stats.blocks_written++;
		if (!(b->state & DIRTY))
			set_clean(c, b);
		if (!b->state && !b->hold_count && c->nr_buffers > c->nr_max)
			drop_buffer(c, b); /* above a lowered limit */
		return;
	}
	c->stats.write_errors++;
	set_dirty(c, b);
	if (c->report)
		c->report(c->report_context, BUFIO_REPORT_WRITE_ERROR, b->block, -result);
}

static void complete(struct bufio_client *c, struct transfer *t)
{
	for (unsigned i = 0; i < t->nr; i++) {
		if (t->request.direction == IO_READ)
			complete_read(c, t->buffers[i], t->request.result);
		else
			complete_write(c, t->buffers[i], t->request.result);
	}
	t->serial = 0;
	t->next = c->free_transfers;
	c->free_transfers = t;
	c->nr_inflight--;
}

static void reap(struct bufio_client *c)
{
	struct io_request *done[NR_TRANSFERS];
	unsigned nr;

	c->reaping = true;
	pthread_mutex_unlock(&c->lock);
	nr = c->dev->ops->wait(c->dev, done, NR_TRANSFERS);
	pthread_mutex_lock(&c->lock);
	c->reaping = false;
	for (unsigned i = 0; i < nr; i++)
		complete(c, (struct transfer *)done[i]);
	signal_event(c);
}

void wait_event(struct bufio_client *c)
{
	c->stats.waits++;
	if (c->nr_inflight && !c->reaping) {
		reap(c);
		return;
	}
	c->nr_waiters++;
	pthread_cond_wait(&c->changed, &c->lock);
	c->nr_waiters--;
}

static struct transfer *take_transfer(struct bufio_client *c)
{
	struct transfer *t;

	while (!c->free_transfers)
		wait_event(c);
	t = c->free_transfers;
	c->free_transfers = t->next;
	t->serial = ++c->last_serial;
	c->nr_inflight++;
	return t;
}

/* How many of the first buffers lie one behind the other. */
static unsigned run_length(struct bufio_buffer **buffers, uint64_t nr)
{
	unsigned n = 1;

	while (n < nr && n < TRANSFER_BLOCKS && buffers[n]->block == buffers[n - 1]->block + 1)
		n++;
	return n;
}

static void fill(struct transfer *t, const struct bufio_client *c, enum io_direction direction,
		 struct bufio_buffer **buffers, unsigned nr)
{
	t->nr = nr;
	for (unsigned i = 0; i < nr; i++) {
		t->buffers[i] = buffers[i];
		t->iov[i] = (struct iovec){ .iov_base = buffers[i]->data, .iov_len = c->block_size };
	}
	t->request = (struct io_request){
		.direction = direction,
		.offset = buffers[0]->block * c->block_size,
		.iov = t->iov,
		.nr_iov = nr,
	};
}

void start_transfers(struct bufio_client *c, enum io_direction direction, struct bufio_buffer **buffers, uint64_t nr,
		     bool wait_follows)
{
	while (nr) {
		struct io_request *requests[NR_TRANSFERS];
		unsigned n = 0;

		/* As many as there are free transfers, at least one, in one call to the engine. */
		do {
			unsigned run = run_length(buffers, nr);
			struct transfer *t = take_transfer(c);

			fill(t, c, direction, buffers, run);
			t->request.wait_follows = wait_follows;
			requests[n++] = &t->request;
			buffers += run;
			nr -= run;
			if (direction == IO_READ) {
				c->stats.read_requests++;
				c->stats.blocks_read += run;
			} else {
				c->stats.write_requests++;
			}
		} while (nr && c->free_transfers);
		c->dev->ops->submit(c->dev, requests, n);
	}
	signal_event(c); /* a sleeper may have to become the reaper */
}
