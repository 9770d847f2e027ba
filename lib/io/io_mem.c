// SPDX-License-Identifier: LGPL-2.1-or-later
/* Engine: memory. A request is done when it is submitted; wait() only hands it back. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"

#define ALIGNMENT 512

struct mem_device {
	struct bufio_device dev;
	char *data;
	pthread_mutex_t lock; /* the done queue and the data */
	struct io_queue done;
};

static struct mem_device *mem(struct bufio_device *dev)
{
	return (struct mem_device *)dev;
}

static void mem_run(struct mem_device *m, struct io_request *r)
{
	uint64_t at = r->offset;

	r->result = 0;
	for (unsigned i = 0; i < r->nr_iov; i++) {
		size_t len = r->iov[i].iov_len;

		if (at > m->dev.info.size || len > m->dev.info.size - at) {
			r->result = -EIO;
			return;
		}
		if (r->direction == IO_READ)
			memcpy(r->iov[i].iov_base, m->data + at, len);
		else
			memcpy(m->data + at, r->iov[i].iov_base, len);
		at += len;
	}
}

static void mem_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	struct mem_device *m = mem(dev);

	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < nr; i++) {
		mem_run(m, requests[i]);
		io_queue_push(&m->done, requests[i]);
	}
	pthread_mutex_unlock(&m->lock);
}

static unsigned mem_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	struct mem_device *m = mem(dev);
	unsigned n = 0;

	(void)block;
	pthread_mutex_lock(&m->lock);
	while (n < max && (done[n] = io_queue_pop(&m->done)))
		n++;
	pthread_mutex_unlock(&m->lock);
	return n;
}

static int mem_flush(struct bufio_device *dev)
{
	(void)dev;
	return 0;
}

static int mem_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	struct mem_device *m = mem(dev);

	if (offset > dev->info.size || bytes > dev->info.size - offset)
		return -EINVAL;
	pthread_mutex_lock(&m->lock);
	memset(m->data + offset, 0, bytes);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int mem_refresh(struct bufio_device *dev)
{
	(void)dev;
	return 0;
}

static int mem_edge(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t bytes)
{
	struct iovec iov = { data, bytes };
	struct io_request r = { .direction = direction, .offset = offset, .iov = &iov, .nr_iov = 1 };

	pthread_mutex_lock(&mem(dev)->lock);
	mem_run(mem(dev), &r);
	pthread_mutex_unlock(&mem(dev)->lock);
	return r.result;
}

static int mem_close(struct bufio_device *dev)
{
	struct mem_device *m = mem(dev);

	pthread_mutex_destroy(&m->lock);
	free(m->data);
	free(m);
	return 0;
}

static const struct io_ops mem_ops = {
	.submit = mem_submit,
	.wait = mem_wait,
	.flush = mem_flush,
	.discard = mem_discard,
	.refresh = mem_refresh,
	.close = mem_close,
	.zero = mem_discard,
	.edge = mem_edge,
};

void *io_mem_data(struct bufio_device *dev)
{
	return mem(dev)->data;
}

int bufio_device_open_memory(uint64_t size, struct bufio_device **dev)
{
	struct mem_device *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->data = calloc(1, size ? size : 1);
	if (!m->data) {
		free(m);
		return -ENOMEM;
	}
	pthread_mutex_init(&m->lock, NULL);
	io_queue_init(&m->done);
	m->dev = (struct bufio_device){
		.ops = &mem_ops,
		.info = {
			.size = size,
			.logical_block_size = ALIGNMENT,
			.physical_block_size = ALIGNMENT,
			.alignment = 1,
			.engine = "memory",
		},
	};
	*dev = &m->dev;
	return 0;
}
