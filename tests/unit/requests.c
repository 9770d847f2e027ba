// SPDX-License-Identifier: LGPL-2.1-or-later
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "requests.h"
#include "unit.h"

#define NR_THREADS 4

struct request_item requests[MAX_REQUESTS];

/* What requests_prepare was asked for. */
static unsigned nr_prepared;
static size_t prepared_size;

struct bufio_device *requests_open_file(const char *engine, uint64_t size, int *fd)
{
	const char *dir = getenv("TMPDIR");
	struct bufio_device *dev = NULL;
	char path[512];
	int r;

	snprintf(path, sizeof(path), "%s/unitXXXXXX", dir ? dir : "/tmp");
	*fd = mkstemp(path);
	CU_ASSERT_TRUE_FATAL(*fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(*fd, (off_t)size), 0);
	r = bufio_device_open(path, BUFIO_OPEN_WRITE, engine, NULL, &dev);
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(r, 0);
	return dev;
}

void requests_close_file(struct bufio_device *dev, int fd)
{
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
	close(fd);
}

int requests_transfer_iov(struct bufio_device *dev, enum io_direction direction, uint64_t offset, struct iovec *iov,
			  unsigned nr, bool wait_follows)
{
	struct io_request r = { .direction = direction, .offset = offset, .iov = iov, .nr_iov = nr, .result = 1,
				.wait_follows = wait_follows };
	struct io_request *p = &r, *done[2] = { NULL, NULL };

	dev->ops->submit(dev, &p, 1);
	CU_ASSERT_EQUAL(dev->ops->wait(dev, done, 2, true), 1);
	CU_ASSERT_PTR_EQUAL(done[0], &r);
	return r.result;
}

int requests_transfer(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t len,
		      bool wait_follows)
{
	struct iovec iov = { data, len };

	return requests_transfer_iov(dev, direction, offset, &iov, 1, wait_follows);
}

static unsigned char byte_of(unsigned i)
{
	return (unsigned char)(i * 7 + 1);
}

void requests_prepare(enum io_direction direction, unsigned nr, size_t size)
{
	CU_ASSERT_TRUE_FATAL(nr <= MAX_REQUESTS && size <= MAX_REQUEST_SIZE);
	nr_prepared = nr;
	prepared_size = size;
	for (unsigned i = 0; i < nr; i++) {
		struct request_item *t = requests + i;

		memset(t->data, direction == IO_WRITE ? byte_of(i) : 0, size);
		t->iov = (struct iovec){ t->data, size };
		t->request = (struct io_request){ .direction = direction, .offset = (uint64_t)i * size,
						  .iov = &t->iov, .nr_iov = 1, .result = 1 };
		atomic_store(&t->seen, 0);
	}
}

void requests_submit(struct bufio_device *dev, unsigned first, unsigned nr)
{
	struct io_request *batch[MAX_REQUESTS];

	for (unsigned i = 0; i < nr; i++)
		batch[i] = &requests[first + i].request;
	dev->ops->submit(dev, batch, nr);
}

static unsigned take(struct bufio_device *dev, unsigned max, bool block)
{
	struct io_request *done[MAX_REQUESTS];
	unsigned nr = dev->ops->wait(dev, done, max, block);

	for (unsigned i = 0; i < nr; i++)
		atomic_fetch_add(&((struct request_item *)done[i])->seen, 1);
	return nr;
}

void requests_take_all(struct bufio_device *dev, unsigned max)
{
	while (take(dev, max, true))
		;
}

void requests_poll(struct bufio_device *dev, unsigned nr)
{
	while (nr)
		nr -= take(dev, nr, false);
}

struct worker {
	pthread_t thread;
	struct bufio_device *dev;
	unsigned first;
};

static void *submit_and_take(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < nr_prepared / NR_THREADS; i += 4) {
		requests_submit(w->dev, w->first + i, 4);
		requests_take_all(w->dev, 3);
	}
	return NULL;
}

void requests_run_threads(struct bufio_device *dev)
{
	struct worker w[NR_THREADS];

	/* Else the threads' shares would overlap, or leave some out. */
	CU_ASSERT_EQUAL_FATAL(nr_prepared % (4 * NR_THREADS), 0);
	for (unsigned i = 0; i < NR_THREADS; i++) {
		w[i] = (struct worker){ .dev = dev, .first = i * (nr_prepared / NR_THREADS) };
		pthread_create(&w[i].thread, NULL, submit_and_take, w + i);
	}
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(w[i].thread, NULL);
}

unsigned requests_count_bad(void)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < nr_prepared; i++) {
		const struct request_item *t = requests + i;

		bad += atomic_load(&t->seen) != 1 || t->request.result || t->data[0] != byte_of(i) ||
		       t->data[prepared_size - 1] != byte_of(i);
	}
	return bad;
}
