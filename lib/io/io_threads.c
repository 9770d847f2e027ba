// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Engine: preadv and pwritev in a few threads, for kernels and containers that have no io_uring.
 *
 * A thread that waits is a worker too: it takes queued requests itself, so a single read never changes threads, and
 * the engine works even where no thread can be started. Workers are started by the first batch that can use them.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "io/io_int.h"

#define MAX_WORKERS 8

struct thr_device {
	struct io_fd base;
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

/* Called and left with the lock held. */
static void run_queued(struct thr_device *t, struct io_request *r)
{
	pthread_mutex_unlock(&t->lock);
	io_fd_run(t->base.fd, r);
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

static unsigned thr_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	struct thr_device *t = thr(dev);
	unsigned n = 0;

	pthread_mutex_lock(&t->lock);
	while (!t->done.head && t->nr_outstanding && (block || (t->queued.head && !t->nr_workers))) {
		struct io_request *r = io_queue_pop(&t->queued);

		if (r) {
			run_queued(t, r);
		} else {
			t->nr_waiting++;
			pthread_cond_wait(&t->event, &t->lock);
			t->nr_waiting--;
		}
	}
	if (t->queued.head && !block)
		pthread_cond_signal(&t->work); /* one whose wait was to follow */
	while (n < max && (done[n] = io_queue_pop(&t->done)))
		n++;
	t->nr_outstanding -= n;
	if (t->nr_waiting && (t->done.head || !t->nr_outstanding))
		pthread_cond_broadcast(&t->event);
	pthread_mutex_unlock(&t->lock);
	return n;
}

static int thr_close(struct bufio_device *dev)
{
	struct thr_device *t = thr(dev);

	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->nr_workers; i++)
		pthread_join(t->workers[i], NULL);
	pthread_cond_destroy(&t->event);
	pthread_cond_destroy(&t->work);
	pthread_mutex_destroy(&t->lock);
	return io_fd_close(&t->base);
}

static int thr_again(struct bufio_device *dev, struct bufio_device **again)
{
	return io_fd_again(dev, io_threads_open, again);
}

static const struct io_ops thr_ops = {
	.submit = thr_submit,
	.wait = thr_wait,
	.flush = io_fd_flush,
	.discard = io_fd_discard,
	.refresh = io_fd_refresh,
	.close = thr_close,
	.next_data = io_fd_next_data,
	.zero = io_fd_zero,
	.edge = io_fd_edge,
	.resize = io_fd_resize,
	.again = thr_again,
};

int io_threads_open(int fd, const struct bufio_device_info *info, struct bufio_device **dev)
{
	struct thr_device *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	io_fd_init(&t->base, fd, info, "threads", &thr_ops);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_cond_init(&t->event, NULL);
	io_queue_init(&t->queued);
	io_queue_init(&t->done);
	*dev = &t->base.dev;
	return 0;
}
