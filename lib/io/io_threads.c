// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Engine: preadv and pwritev in a few threads, for kernels and containers that have no io_uring.
 *
 * A thread that waits is a worker too: it takes queued requests itself, so a single read never changes threads, and
 * the engine works even where no thread can be started. Workers are started by the first batch that can use them.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "io/io.h"

#define MAX_WORKERS 8

struct thr_device {
	struct bufio_device dev;
	int fd;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t work;  /* a request was queued, or stopping */
	pthread_cond_t event; /* a request is done, or was queued while somebody waits */
	struct io_queue queued, done;
	unsigned nr_outstanding; /* queued, running, or done and not yet handed back */
	unsigned nr_waiting;     /* threads in wait() */
	unsigned nr_workers;
	bool stopping;
	pthread_t workers[MAX_WORKERS];
};

static struct thr_device *thr(struct bufio_device *dev)
{
	return (struct thr_device *)dev;
}

/* Drops the first @bytes of the request. */
static void advance(struct io_request *r, size_t bytes)
{
	r->offset += bytes;
	while (r->nr_iov && bytes >= r->iov->iov_len) {
		bytes -= r->iov->iov_len;
		r->iov++;
		r->nr_iov--;
	}
	if (r->nr_iov) {
		r->iov->iov_base = (char *)r->iov->iov_base + bytes;
		r->iov->iov_len -= bytes;
	}
}

/* To the last byte or an error. No progress without an error means that the device ended early: EIO. */
static void run(int fd, struct io_request *r)
{
	while (r->nr_iov) {
		int nr = r->nr_iov < IOV_MAX ? (int)r->nr_iov : IOV_MAX;
		ssize_t n = r->direction == IO_READ ? preadv(fd, r->iov, nr, (off_t)r->offset)
						    : pwritev(fd, r->iov, nr, (off_t)r->offset);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0) {
			r->result = n ? -errno : -EIO;
			return;
		}
		advance(r, (size_t)n);
	}
	r->result = 0;
}

/* Called and left with the lock held. */
static void run_queued(struct thr_device *t, struct io_request *r)
{
	pthread_mutex_unlock(&t->lock);
	run(t->fd, r);
	pthread_mutex_lock(&t->lock);
	io_queue_push(&t->done, r);
	pthread_cond_signal(&t->event);
}

static void *worker(void *arg)
{
	struct thr_device *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->stopping) {
		struct io_request *r = io_queue_pop(&t->queued);

		if (r)
			run_queued(t, r);
		else
			pthread_cond_wait(&t->work, &t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void wake_workers(struct thr_device *t, unsigned nr)
{
	sigset_t all, before;

	/* Signals are for the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (t->nr_workers < MAX_WORKERS && t->nr_workers < nr) {
		if (pthread_create(&t->workers[t->nr_workers], NULL, worker, t))
			break; /* those that run, or the waiter, do the work */
		t->nr_workers++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (nr > 1)
		pthread_cond_broadcast(&t->work);
	else
		pthread_cond_signal(&t->work);
}

static void thr_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	struct thr_device *t = thr(dev);

	if (!nr)
		return;
	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < nr; i++)
		io_queue_push(&t->queued, requests[i]);
	t->nr_outstanding += nr;
	if (t->nr_outstanding > 1 || !requests[0]->wait_follows)
		wake_workers(t, nr);
	if (t->nr_waiting)
		pthread_cond_signal(&t->event);
	pthread_mutex_unlock(&t->lock);
}

static unsigned thr_wait(struct bufio_device *dev, struct io_request **done, unsigned max)
{
	struct thr_device *t = thr(dev);
	unsigned n = 0;

	pthread_mutex_lock(&t->lock);
	while (!t->done.head && t->nr_outstanding) {
		struct io_request *r = io_queue_pop(&t->queued);

		if (r) {
			run_queued(t, r);
		} else {
			t->nr_waiting++;
			pthread_cond_wait(&t->event, &t->lock);
			t->nr_waiting--;
		}
	}
	while (n < max && (done[n] = io_queue_pop(&t->done)))
		n++;
	t->nr_outstanding -= n;
	if (t->nr_waiting && (t->done.head || !t->nr_outstanding))
		pthread_cond_broadcast(&t->event);
	pthread_mutex_unlock(&t->lock);
	return n;
}

/* Not repeated on EIO: the kernel reports a lost write once, so a second fsync would lie. */
static int thr_flush(struct bufio_device *dev)
{
	int r;

	do
		r = fdatasync(thr(dev)->fd);
	while (r && errno == EINTR);
	return r ? -errno : 0;
}

static int thr_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	uint64_t range[2] = { offset, bytes };
	int fd = thr(dev)->fd, r;

	if (dev->info.block_device)
		r = ioctl(fd, BLKDISCARD, range);
	else
		r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
	return r ? -errno : 0;
}

static int thr_close(struct bufio_device *dev)
{
	struct thr_device *t = thr(dev);
	int r;

	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->nr_workers; i++)
		pthread_join(t->workers[i], NULL);
	pthread_cond_destroy(&t->event);
	pthread_cond_destroy(&t->work);
	pthread_mutex_destroy(&t->lock);
	r = close(t->fd) ? -errno : 0;
	free(t);
	return r;
}

static const struct io_ops thr_ops = {
	.submit = thr_submit,
	.wait = thr_wait,
	.flush = thr_flush,
	.discard = thr_discard,
	.close = thr_close,
};

int io_threads_open(int fd, const struct bufio_device_info *info, struct bufio_device **dev)
{
	struct thr_device *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->dev.ops = &thr_ops;
	t->dev.info = *info;
	t->dev.info.engine = "threads";
	t->fd = fd;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_cond_init(&t->event, NULL);
	io_queue_init(&t->queued);
	io_queue_init(&t->done);
	*dev = &t->dev;
	return 0;
}
