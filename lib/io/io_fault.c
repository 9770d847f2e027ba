// SPDX-License-Identifier: LGPL-2.1-or-later
/* Filter: injected errors and delays. A request that is to fail never reaches the device below. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "io/io.h"

struct fault_device {
	struct bufio_device dev;
	struct bufio_device *below;
	struct io_fault_plan *plan;
	pthread_mutex_t lock; /* the plan and the queue */
	struct io_queue failed;
	uint64_t nr_delays;
};

static struct fault_device *fault(struct bufio_device *dev)
{
	return (struct fault_device *)dev;
}

/* Number @n of the sequence that @seed begins (splitmix64). */
static uint64_t chance(uint64_t seed, uint64_t n)
{
	uint64_t x = seed + n * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static bool is_unlucky(const struct io_fault_plan *p, unsigned kind)
{
	return kind & (IO_FAULT_READ | IO_FAULT_WRITE) && chance(p->seed, p->count) % 1000 < p->random_per_mille;
}

static bool is_due(struct fault_device *f, unsigned kind)
{
	struct io_fault_plan *p = f->plan;

	if (!(p->kinds & kind))
		return false;
	p->count++;
	if (p->fail_at && (p->count == p->fail_at || (p->sticky && p->count > p->fail_at)))
		return true;
	return is_unlucky(p, kind);
}

/* 0, or the -errno with which this operation is to fail. */
static int injected_error(struct fault_device *f, unsigned kind)
{
	int r;

	pthread_mutex_lock(&f->lock);
	r = is_due(f, kind) ? -f->plan->error : 0;
	pthread_mutex_unlock(&f->lock);
	return r;
}

static bool is_in_bad_place(const struct io_fault_plan *p, const struct io_request *r, unsigned kind)
{
	uint64_t end = r->offset;

	for (unsigned i = 0; i < r->nr_iov; i++)
		end += r->iov[i].iov_len;
	return p->kinds & kind && r->offset < p->bad_end && end > p->bad_begin;
}

static void fault_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	struct fault_device *f = fault(dev);

	for (unsigned i = 0; i < nr; i++) {
		struct io_request *r = requests[i];
		unsigned kind = r->direction == IO_READ ? IO_FAULT_READ : IO_FAULT_WRITE;
		bool due;

		pthread_mutex_lock(&f->lock);
		due = is_due(f, kind) || is_in_bad_place(f->plan, r, kind);
		if (due) {
			r->result = -f->plan->error;
			io_queue_push(&f->failed, r);
		}
		pthread_mutex_unlock(&f->lock);
		if (!due)
			f->below->ops->submit(f->below, &r, 1);
	}
}

static void delay(struct fault_device *f)
{
	struct timespec t;
	uint64_t us = 0;

	pthread_mutex_lock(&f->lock);
	if (f->plan->delay_us)
		us = chance(~f->plan->seed, ++f->nr_delays) % (UINT64_C(1) + f->plan->delay_us);
	pthread_mutex_unlock(&f->lock);
	if (!us)
		return;
	t = (struct timespec){ .tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000 };
	nanosleep(&t, NULL);
}

static unsigned fault_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	struct fault_device *f = fault(dev);
	unsigned n = 0;

	pthread_mutex_lock(&f->lock);
	while (n < max && (done[n] = io_queue_pop(&f->failed)))
		n++;
	pthread_mutex_unlock(&f->lock);
	if (!n)
		n = f->below->ops->wait(f->below, done, max, block);
	if (n)
		delay(f);
	return n;
}

static int fault_flush(struct bufio_device *dev)
{
	struct fault_device *f = fault(dev);
	int r = injected_error(f, IO_FAULT_FLUSH);

	return r ? r : f->below->ops->flush(f->below);
}

static int fault_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	struct fault_device *f = fault(dev);
	int r = injected_error(f, IO_FAULT_DISCARD);

	return r ? r : f->below->ops->discard(f->below, offset, bytes);
}

static int fault_refresh(struct bufio_device *dev)
{
	struct fault_device *f = fault(dev);
	int r = f->below->ops->refresh(f->below);

	dev->info.size = f->below->info.size;
	return r;
}

static int fault_close(struct bufio_device *dev)
{
	struct fault_device *f = fault(dev);
	int r = f->below->ops->close(f->below);

	pthread_mutex_destroy(&f->lock);
	free(f);
	return r;
}

static int fault_next_data(struct bufio_device *dev, uint64_t offset, uint64_t *begin, uint64_t *end)
{
	return io_next_data(fault(dev)->below, offset, begin, end);
}

static int fault_zero(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	int r = injected_error(fault(dev), IO_FAULT_DISCARD);

	return r ? r : io_zero(fault(dev)->below, offset, bytes);
}

static int fault_edge(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t bytes)
{
	int r = injected_error(fault(dev), direction == IO_READ ? IO_FAULT_READ : IO_FAULT_WRITE);

	return r ? r : io_edge(fault(dev)->below, direction, offset, data, bytes);
}

static int fault_resize(struct bufio_device *dev, uint64_t size)
{
	int r = io_resize(fault(dev)->below, size);

	dev->info.size = fault(dev)->below->info.size;
	return r;
}

static const struct io_ops fault_ops = {
	.submit = fault_submit,
	.wait = fault_wait,
	.flush = fault_flush,
	.discard = fault_discard,
	.refresh = fault_refresh,
	.close = fault_close,
	.next_data = fault_next_data,
	.zero = fault_zero,
	.edge = fault_edge,
	.resize = fault_resize,
};

int io_fault_open(struct bufio_device *below, struct io_fault_plan *plan, struct bufio_device **dev)
{
	struct fault_device *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->dev.ops = &fault_ops;
	f->dev.info = below->info;
	f->below = below;
	f->plan = plan;
	pthread_mutex_init(&f->lock, NULL);
	io_queue_init(&f->failed);
	*dev = &f->dev;
	return 0;
}
