// SPDX-License-Identifier: LGPL-2.1-or-later
/* Filter: injected errors. A request that is to fail never reaches the device below. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "io/io.h"

struct fault_device {
	struct bufio_device dev;
	struct bufio_device *below;
	struct io_fault_plan *plan;
	pthread_mutex_t lock; /* the plan and the queue */
	struct io_queue failed;
};

static struct fault_device *fault(struct bufio_device *dev)
{
	return (struct fault_device *)dev;
}

static bool is_due(struct fault_device *f, unsigned kind)
{
	struct io_fault_plan *p = f->plan;

	if (!(p->kinds & kind))
		return false;
	p->count++;
	return p->fail_at && (p->count == p->fail_at || (p->sticky && p->count > p->fail_at));
}

static void fault_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	struct fault_device *f = fault(dev);

	for (unsigned i = 0; i < nr; i++) {
		struct io_request *r = requests[i];
		bool due;

		pthread_mutex_lock(&f->lock);
		due = is_due(f, r->direction == IO_READ ? IO_FAULT_READ : IO_FAULT_WRITE);
		if (due) {
			r->result = -f->plan->error;
			io_queue_push(&f->failed, r);
		}
		pthread_mutex_unlock(&f->lock);
		if (!due)
			f->below->ops->submit(f->below, &r, 1);
	}
}

static unsigned fault_wait(struct bufio_device *dev, struct io_request **done, unsigned max)
{
	struct fault_device *f = fault(dev);
	unsigned n = 0;

	pthread_mutex_lock(&f->lock);
	while (n < max && (done[n] = io_queue_pop(&f->failed)))
		n++;
	pthread_mutex_unlock(&f->lock);
	return n ? n : f->below->ops->wait(f->below, done, max);
}

static int fault_flush(struct bufio_device *dev)
{
	struct fault_device *f = fault(dev);
	bool due;

	pthread_mutex_lock(&f->lock);
	due = is_due(f, IO_FAULT_FLUSH);
	pthread_mutex_unlock(&f->lock);
	return due ? -f->plan->error : f->below->ops->flush(f->below);
}

static int fault_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	struct fault_device *f = fault(dev);

	return f->below->ops->discard(f->below, offset, bytes);
}

static int fault_close(struct bufio_device *dev)
{
	struct fault_device *f = fault(dev);
	int r = f->below->ops->close(f->below);

	pthread_mutex_destroy(&f->lock);
	free(f);
	return r;
}

static const struct io_ops fault_ops = {
	.submit = fault_submit,
	.wait = fault_wait,
	.flush = fault_flush,
	.discard = fault_discard,
	.close = fault_close,
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
