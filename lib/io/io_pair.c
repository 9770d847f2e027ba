// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Filter: reads come from one device, writes go to another.
 *
 * Nobody can wait for two devices at once, so each has a thread that waits for it alone, and hands over what is done.
 * A thread that has nothing to wait for sleeps.
 *
 * The end of the copy is seldom the end of a block. Of a request that goes past it the part behind is not transferred (it
 * reads as zeroes), and what is left over of the device's alignment goes as an edge, before the request itself. So does all
 * of a request that is not aligned for its device: the two may differ in that.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"

#define MAX_DONE 64

struct pair_device;

/* One of the devices, and who waits for it. */
struct side {
	struct pair_device *pair;
	struct bufio_device *below;
	pthread_t thread;
	pthread_cond_t submitted;
	int64_t nr; /* that the thread waits for; below 0 when one was done before it was counted */
};

struct pair_device {
	struct bufio_device dev;
	struct io_pair_args args;
	struct side source, target;
	bool is_one; /* both are the same device: the source's side has all requests */
	pthread_mutex_t lock; /* what is below, and nr of the sides */
	pthread_cond_t arrived;
	struct io_queue done;
	uint64_t nr; /* requests that were submitted and are not in the queue */
	bool is_closing;
};

static struct pair_device *pair(struct bufio_device *dev)
{
	return (struct pair_device *)dev;
}

/* --- the threads --- */

static void *wait_for_side(void *arg)
{
	struct side *s = arg;
	struct pair_device *p = s->pair;
	struct io_request *done[MAX_DONE];

	pthread_mutex_lock(&p->lock);
	for (;;) {
		unsigned n;

		while (s->nr <= 0 && !p->is_closing)
			pthread_cond_wait(&s->submitted, &p->lock);
		if (s->nr <= 0)
			break;
		pthread_mutex_unlock(&p->lock);
		n = s->below->ops->wait(s->below, done, MAX_DONE, true);
		pthread_mutex_lock(&p->lock);
		s->nr -= n;
		p->nr -= n;
		for (unsigned i = 0; i < n; i++)
			io_queue_push(&p->done, done[i]);
		pthread_cond_broadcast(&p->arrived);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are for the program's own threads. */
static int start_side(struct side *s)
{
	sigset_t all, before;
	int e;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(&s->thread, NULL, wait_for_side, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -e;
}

/* --- requests --- */

static size_t length(const struct io_request *r)
{
	size_t len = 0;

	for (unsigned i = 0; i < r->nr_iov; i++)
		len += r->iov[i].iov_len;
	return len;
}

/* Where byte @at of the request is in memory, and how much goes on from there. */
static void *memory_at(const struct io_request *r, size_t at, size_t *len)
{
	unsigned i = 0;

	while (at >= r->iov[i].iov_len)
		at -= r->iov[i++].iov_len;
	*len = r->iov[i].iov_len - at;
	return (char *)r->iov[i].iov_base + at;
}

static void clear(const struct io_request *r, size_t from, size_t to)
{
	while (from < to) {
		size_t len;
		void *data = memory_at(r, from, &len);

		len = len < to - from ? len : to - from;
		memset(data, 0, len);
		from += len;
	}
}

/* Bytes @from to @to - 1 of the request, at @base on the device. */
static int move_edge(struct bufio_device *below, const struct io_request *r, uint64_t base, size_t from, size_t to)
{
	int e = 0;

	while (from < to && !e) {
		size_t len;
		void *data = memory_at(r, from, &len);

		len = len < to - from ? len : to - from;
		e = io_edge(below, r->direction, base + r->offset + from, data, len);
		from += len;
	}
	return e;
}

static void cut(struct io_request *r, size_t len)
{
	unsigned n = 0;

	while (len) {
		if (r->iov[n].iov_len > len)
			r->iov[n].iov_len = len;
		len -= r->iov[n++].iov_len;
	}
	r->nr_iov = n;
}

static bool suits(const struct io_request *r, uint64_t base, uint32_t alignment)
{
	if ((base + r->offset) % alignment)
		return false;
	for (unsigned i = 0; i < r->nr_iov; i++)
		if ((uintptr_t)r->iov[i].iov_base % alignment || r->iov[i].iov_len % alignment)
			return false;
	return true;
}

/* Does what cannot be one aligned request within the copy, and leaves the rest. */
static int trim(const struct pair_device *p, struct bufio_device *below, uint64_t base, struct io_request *r)
{
	size_t len = length(r), exact = len, aligned;
	bool can_go = suits(r, base, below->info.alignment);
	int e;

	if (r->offset + len > p->args.bytes)
		exact = r->offset < p->args.bytes ? p->args.bytes - r->offset : 0;
	if (can_go && exact == len)
		return 0;
	aligned = can_go ? exact - exact % below->info.alignment : 0;
	e = move_edge(below, r, base, aligned, exact);
	if (!e && r->direction == IO_READ)
		clear(r, exact, len);
	cut(r, aligned);
	return e;
}

/* True: nothing is left to be done below. */
static bool prepare(const struct pair_device *p, struct bufio_device *below, struct io_request *r)
{
	uint64_t base = r->direction == IO_READ ? p->args.from : p->args.to;

	r->wait_follows = false;
	r->result = trim(p, below, base, r);
	r->offset += base;
	return r->result || !r->nr_iov;
}

static void submit_one(struct pair_device *p, struct io_request *r)
{
	struct side *s = r->direction == IO_READ || p->is_one ? &p->source : &p->target;
	bool is_done;

	pthread_mutex_lock(&p->lock);
	p->nr++;
	pthread_mutex_unlock(&p->lock);
	is_done = prepare(p, s->below, r);
	if (!is_done)
		s->below->ops->submit(s->below, &r, 1);
	pthread_mutex_lock(&p->lock);
	if (is_done) {
		p->nr--;
		io_queue_push(&p->done, r);
		pthread_cond_broadcast(&p->arrived);
	} else {
		s->nr++;
		pthread_cond_signal(&s->submitted);
	}
	pthread_mutex_unlock(&p->lock);
}

static void pair_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		submit_one(pair(dev), requests[i]);
}

static unsigned pair_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	struct pair_device *p = pair(dev);
	unsigned n = 0;

	pthread_mutex_lock(&p->lock);
	while (block && !p->done.head && p->nr)
		pthread_cond_wait(&p->arrived, &p->lock);
	while (n < max && (done[n] = io_queue_pop(&p->done)))
		n++;
	pthread_mutex_unlock(&p->lock);
	return n;
}

/* --- the rest is of one side --- */

static int pair_flush(struct bufio_device *dev)
{
	struct bufio_device *target = pair(dev)->args.target;

	return target->ops->flush(target);
}

static uint64_t within(const struct pair_device *p, uint64_t offset, uint64_t bytes)
{
	uint64_t left = offset < p->args.bytes ? p->args.bytes - offset : 0;

	return bytes < left ? bytes : left;
}

static int pair_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	struct pair_device *p = pair(dev);
	struct bufio_device *target = p->args.target;

	return target->ops->discard(target, p->args.to + offset, within(p, offset, bytes));
}

static int pair_zero(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	struct pair_device *p = pair(dev);

	return io_zero(p->args.target, p->args.to + offset, within(p, offset, bytes));
}

static uint64_t from_source(const struct pair_device *p, uint64_t at)
{
	uint64_t offset = at - p->args.from;

	return offset < p->args.bytes ? offset : p->dev.info.size;
}

static int pair_next_data(struct bufio_device *dev, uint64_t offset, uint64_t *begin, uint64_t *end)
{
	struct pair_device *p = pair(dev);
	uint64_t b, e;
	int r = io_next_data(p->args.source, p->args.from + offset, &b, &e);

	if (r)
		return r;
	*begin = from_source(p, b);
	*end = from_source(p, e);
	return 0;
}

/* What is copied was settled when the pair was opened. */
static int pair_refresh(struct bufio_device *dev)
{
	(void)dev;
	return 0;
}

static void stop(struct pair_device *p)
{
	pthread_mutex_lock(&p->lock);
	p->is_closing = true;
	pthread_cond_signal(&p->source.submitted);
	pthread_cond_signal(&p->target.submitted);
	pthread_mutex_unlock(&p->lock);
}

static void destroy(struct pair_device *p)
{
	pthread_cond_destroy(&p->source.submitted);
	pthread_cond_destroy(&p->target.submitted);
	pthread_cond_destroy(&p->arrived);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static int pair_close(struct bufio_device *dev)
{
	struct pair_device *p = pair(dev);

	stop(p);
	pthread_join(p->source.thread, NULL);
	if (!p->is_one)
		pthread_join(p->target.thread, NULL);
	destroy(p);
	return 0;
}

static const struct io_ops pair_ops = {
	.submit = pair_submit,
	.wait = pair_wait,
	.flush = pair_flush,
	.discard = pair_discard,
	.refresh = pair_refresh,
	.close = pair_close,
	.next_data = pair_next_data,
	.zero = pair_zero,
};

/* --- opening --- */

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static struct bufio_device_info describe(const struct io_pair_args *a)
{
	const struct bufio_device_info *s = &a->source->info, *t = &a->target->info;

	return (struct bufio_device_info){
		.size = (a->bytes + a->unit - 1) / a->unit * a->unit,
		.logical_block_size = larger(s->logical_block_size, t->logical_block_size),
		.physical_block_size = t->physical_block_size,
		.alignment = 1,
		.block_device = t->block_device,
		.read_only = t->read_only,
		.direct = s->direct || t->direct,
		.engine = s->engine,
	};
}

static int start(struct pair_device *p)
{
	int r = start_side(&p->source);

	if (r || p->is_one)
		return r;
	r = start_side(&p->target);
	if (r) {
		stop(p);
		pthread_join(p->source.thread, NULL);
	}
	return r;
}

int io_pair_open(const struct io_pair_args *args, struct bufio_device **dev)
{
	struct pair_device *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->dev.ops = &pair_ops;
	p->dev.info = describe(args);
	p->args = *args;
	p->is_one = args->source == args->target;
	p->source = (struct side){ .pair = p, .below = args->source };
	p->target = (struct side){ .pair = p, .below = args->target };
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->arrived, NULL);
	pthread_cond_init(&p->source.submitted, NULL);
	pthread_cond_init(&p->target.submitted, NULL);
	io_queue_init(&p->done);
	r = start(p);
	if (r) {
		destroy(p);
		return r;
	}
	*dev = &p->dev;
	return 0;
}
