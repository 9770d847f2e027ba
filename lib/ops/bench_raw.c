// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Straight to the device: as many requests under way as the depth says. What is asked for again goes in with the call
 * that waits for the next, so that a request costs one call of the kernel.
 */
#include <errno.h>
#include <stdlib.h>

#include "ops/bench_int.h"

struct slot {
	struct io_request request; /* first: a request finds its slot */
	struct iovec iov;
	char *data;
	uint64_t due, start;
	struct slot *next; /* while it is free */
};

struct raw {
	struct slot *slots, *free;
	char *data;
	unsigned nr_busy;
};

static void raw_close(struct bench_worker *w)
{
	struct raw *raw = w->buffer;

	if (raw) {
		free(raw->slots);
		free(raw->data);
		free(raw);
	}
	w->buffer = NULL;
}

static int create_slots(struct bench_worker *w, struct raw *raw)
{
	const struct bench_run_args *run = w->machine->run;

	raw->slots = calloc(run->depth, sizeof(*raw->slots));
	raw->data = bench_alloc_data((size_t)run->depth * run->block_size);
	if (!raw->slots || !raw->data)
		return -ENOMEM;
	bench_fill(w, raw->data, (size_t)run->depth * run->block_size);
	for (unsigned i = run->depth; i--;) {
		raw->slots[i].data = raw->data + (size_t)i * run->block_size;
		raw->slots[i].next = raw->free;
		raw->free = &raw->slots[i];
	}
	return 0;
}

static int raw_open(struct bench_worker *w)
{
	struct raw *raw = w->buffer = calloc(1, sizeof(*raw));

	return raw ? create_slots(w, raw) : -ENOMEM;
}

/* Where it cannot be had once more, one worker can do with the device itself. */
static int raw_begin(struct bench_worker *w)
{
	struct bufio_device *dev = w->machine->args->device;
	int r = io_open_again(dev, &w->device);

	if (r == -EOPNOTSUPP && w->machine->nr_workers == 1) {
		w->device = dev;
		r = 0;
	}
	return r;
}

static void raw_end(struct bench_worker *w)
{
	if (w->device != w->machine->args->device)
		bufio_device_close(w->device);
	w->device = NULL;
}

/* The next access, in a free slot. */
static struct io_request *arm(struct bench_worker *w, struct raw *raw, uint64_t due, uint64_t start)
{
	const struct bench_run_args *run = w->machine->run;
	struct workload_access access = workload_next(w->source);
	struct slot *s = raw->free;

	raw->free = s->next;
	s->due = due;
	s->start = start;
	s->iov = (struct iovec){ s->data, run->block_size };
	s->request = (struct io_request){
		.direction = access.is_write ? IO_WRITE : IO_READ,
		.offset = run->begin + access.block * run->block_size,
		.iov = &s->iov,
		.nr_iov = 1,
	};
	if (access.is_write)
		bench_fill(w, s->data, sizeof(uint64_t)); /* other than before is enough */
	w->unflushed += access.is_write;
	raw->nr_busy++;
	return &s->request;
}

static void finish(struct bench_worker *w, struct raw *raw, struct io_request *r, uint64_t now)
{
	struct slot *s = (struct slot *)r;
	bool is_write = r->direction == IO_WRITE;

	if (r->result)
		bench_note_error(w, r->result);
	else
		bench_note(w, s->due, s->start, now, is_write);
	s->next = raw->free;
	raw->free = s;
	raw->nr_busy--;
}

/*
 * One at a time, and the next goes in before another is looked at: so as many as the depth says are always under way,
 * and a block that has come while others were asked for counts as had when this gets to it. Returns when that was.
 */
static uint64_t reap(struct bench_worker *w, struct raw *raw, bool block)
{
	struct io_request *done;
	unsigned nr = w->device->ops->wait(w->device, &done, 1, block);
	uint64_t now = bench_now();

	if (nr)
		finish(w, raw, done, now);
	return now;
}

static bool is_flush_due(const struct bench_worker *w)
{
	return w->machine->run->flush_every && w->unflushed >= w->machine->run->flush_every;
}

/* With nothing else under way, so that it alone is measured. */
static uint64_t flush(struct bench_worker *w, struct raw *raw)
{
	uint64_t start;

	while (raw->nr_busy)
		reap(w, raw, true);
	start = bench_now();
	return bench_note_flush(w, w->device->ops->flush(w->device), start);
}

/*
 * To the device; NULL is allowed. The last one before a wait goes with that, the others one by one: a device that gets
 * many in one lump is done with them in one lump, and idle in between.
 */
static void hand_over(struct bench_worker *w, struct io_request *armed, bool wait_follows)
{
	if (!armed)
		return;
	armed->wait_follows = wait_follows;
	w->device->ops->submit(w->device, &armed, 1);
}

/* As soon as one is done, the next begins. */
static void work_closed(struct bench_worker *w, struct raw *raw)
{
	uint64_t now = bench_now();

	do {
		struct io_request *armed = NULL;

		if (is_flush_due(w))
			now = flush(w, raw);
		while (raw->free && !is_flush_due(w) && bench_goes_on(w, now)) {
			hand_over(w, armed, false);
			now = armed ? bench_now() : now;
			armed = arm(w, raw, now, now);
		}
		hand_over(w, armed, true);
		if (raw->nr_busy)
			now = reap(w, raw, true);
	} while (raw->nr_busy || bench_may_go_on(w, now));
}

/* Each begins when it is due, or when a slot is free at last. */
static void work_open(struct bench_worker *w, struct raw *raw)
{
	uint64_t now = bench_now(), due = bench_next_arrival(w);

	do {
		if (is_flush_due(w))
			now = flush(w, raw);
		while (raw->free && due <= now && !is_flush_due(w) && bench_goes_on(w, now)) {
			hand_over(w, arm(w, raw, due, now), false);
			now = bench_now();
			due = bench_next_arrival(w);
		}
		now = raw->nr_busy ? reap(w, raw, !raw->free) : bench_wait_until(w, due);
	} while (raw->nr_busy || bench_may_go_on(w, now));
}

static void raw_work(struct bench_worker *w)
{
	if (w->gap_ns)
		work_open(w, w->buffer);
	else
		work_closed(w, w->buffer);
	if (is_flush_due(w))
		flush(w, w->buffer);
}

const struct bench_engine bench_raw = { raw_open, raw_close, raw_begin, raw_work, raw_end };
