// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Engine: io_uring, one ring for each device.
 *
 * A request is queued, then prepared (in the submission ring), running (the kernel's, or its completion was not looked
 * at yet), and done. No more are prepared or running than the completion ring has room for, so that it never overflows;
 * the others stay queued until completions make room.
 *
 * Two locks. Whoever waits holds `completion` all the while, and the next one then looks at what was left; nobody
 * waits under `submission`, which is taken second. Every request passes through it on the way in and on the way out,
 * which also is what orders the memory accesses of submitter and taker.
 *
 * A ring for one thread alone (io_open_again) has its completions prepared when that thread asks the kernel for them, and not
 * by an interrupt of whatever it does; and a request whose wait follows goes to the kernel with that wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/relax.h"
#include "io/io_int.h"

#define NR_ENTRIES 256
#define NAP_NS 1000000
#define MAX_CLOSE_MS 500
#define MAX_GLANCES 1000 /* some ten microseconds */

struct ring_device {
	struct io_fd base;
	struct io_uring ring;
	unsigned nr_slots; /* what the completion ring has room for */
	pthread_mutex_t completion; /* the completion ring */
	pthread_mutex_t submission; /* the submission ring, and all below */
	struct io_queue queued, prepared, done;
	unsigned nr_prepared, nr_running;
	bool refused; /* for good: this process may not use the ring any more */
	bool is_private; /* one thread's */
};

static struct ring_device *ring(struct bufio_device *dev)
{
	return (struct ring_device *)dev;
}

static void prepare(struct io_uring_sqe *sqe, int fd, struct io_request *r)
{
	/* All ones would mean the file's own position. This offset is as far behind every end. */
	uint64_t offset = r->offset < UINT64_MAX ? r->offset : INT64_MAX;
	bool is_single = r->nr_iov == 1 && r->iov->iov_len <= UINT_MAX;

	if (is_single && r->direction == IO_READ)
		io_uring_prep_read(sqe, fd, r->iov->iov_base, (unsigned)r->iov->iov_len, offset);
	else if (is_single)
		io_uring_prep_write(sqe, fd, r->iov->iov_base, (unsigned)r->iov->iov_len, offset);
	else if (r->direction == IO_READ)
		io_uring_prep_readv(sqe, fd, r->iov, io_fd_nr_iov(r), offset);
	else
		io_uring_prep_writev(sqe, fd, r->iov, io_fd_nr_iov(r), offset);
	io_uring_sqe_set_data(sqe, r);
}

/* From the queue into the submission ring, as far as there is room. */
static void fill(struct ring_device *d)
{
	while (d->queued.head && d->nr_prepared + d->nr_running < d->nr_slots) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&d->ring);
		struct io_request *r;

		if (!sqe)
			return;
		r = io_queue_pop(&d->queued);
		prepare(sqe, d->base.fd, r);
		io_queue_push(&d->prepared, r);
		d->nr_prepared++;
	}
}

/* The kernel took the first @nr of the submission ring. */
static void start(struct ring_device *d, unsigned nr)
{
	d->nr_prepared -= nr;
	d->nr_running += nr;
	while (nr--)
		io_queue_pop(&d->prepared);
}

/* What the ring does not take is done by this thread: slow, but nobody waits for ever. */
static void run_all(struct ring_device *d)
{
	struct io_request *r;

	while ((r = io_queue_pop(&d->prepared)) || (r = io_queue_pop(&d->queued))) {
		io_fd_run(d->base.fd, r);
		io_queue_push(&d->done, r);
	}
	d->nr_prepared = 0;
}

/* What the kernel puts off stays prepared, in the ring too: the next call to submit or wait offers it again. */
static bool is_put_off(int r)
{
	return r == 0 || r == -EAGAIN || r == -EBUSY || r == -EINTR;
}

/* What a call of the kernel gave. False when there is no use in another one now. */
static bool account(struct ring_device *d, int n)
{
	if (is_put_off(n))
		return false;
	if (n > 0)
		start(d, (unsigned)n);
	else
		d->refused = true; /* a sandbox that was entered meanwhile, say */
	return true;
}

/* To the kernel with everything that there is room for. Called with the submission lock held. */
static void push(struct ring_device *d)
{
	while (!d->refused) {
		fill(d);
		if (!d->prepared.head ||
		    !account(d, d->is_private ? io_uring_submit_and_get_events(&d->ring) : io_uring_submit(&d->ring)))
			return;
	}
	run_all(d);
}

static void ring_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	struct ring_device *d = ring(dev);

	pthread_mutex_lock(&d->submission);
	for (unsigned i = 0; i < nr; i++)
		io_queue_push(&d->queued, requests[i]);
	if (!d->is_private || !nr || !requests[nr - 1]->wait_follows)
		push(d);
	pthread_mutex_unlock(&d->submission);
}

/*
 * True when the request has its result. A thread that ends takes along what it submitted: the kernel cancels it, or
 * fails it with EFAULT, which is told from bad memory by doing the work here.
 */
static bool settle(struct ring_device *d, struct io_request *r, int n)
{
	if (n == -ECANCELED)
		return false;
	if (n != -EFAULT)
		return io_fd_account(r, n);
	io_fd_run(d->base.fd, r);
	return true;
}

static void settle_completions(struct ring_device *d)
{
	struct io_uring_cqe *cqe;
	unsigned head, nr = 0;

	io_uring_for_each_cqe(&d->ring, head, cqe) {
		struct io_request *r = io_uring_cqe_get_data(cqe);

		io_queue_push(settle(d, r, cqe->res) ? &d->done : &d->queued, r);
		nr++;
	}
	io_uring_cq_advance(&d->ring, nr);
	d->nr_running -= nr;
}

/* A private ring's are prepared only when they are asked for; who waits asks in any case. */
static void ask_for_completions(struct ring_device *d, bool will_wait)
{
	if (d->is_private && !will_wait && d->nr_running && !io_uring_cq_ready(&d->ring))
		io_uring_get_events(&d->ring);
}

/* Called with the completion lock held. */
static unsigned take(struct ring_device *d, struct io_request **done, unsigned max, bool will_wait)
{
	unsigned n = 0;

	pthread_mutex_lock(&d->submission);
	ask_for_completions(d, will_wait);
	settle_completions(d);
	if (!d->is_private || !will_wait || d->done.head || d->refused)
		push(d);
	while (n < max && (done[n] = io_queue_pop(&d->done)))
		n++;
	pthread_mutex_unlock(&d->submission);
	return n;
}

/* With many requests running the next is done before a thread has slept and been woken, in a guest above all. */
static void glance(struct ring_device *d)
{
	for (unsigned i = 0; i < MAX_GLANCES && !io_uring_cq_ready(&d->ring); i++)
		relax();
}

static bool is_idle(const struct ring_device *d)
{
	return !d->nr_running && !d->prepared.head && !d->queued.head && !d->done.head;
}

/* Nothing to wait for in the kernel, or no way to: looking again is all that is left, but not at full speed. */
static void nap(void)
{
	static const struct timespec time = { .tv_nsec = NAP_NS };

	nanosleep(&time, NULL);
}

/* Sleeps until there may be more to take; false if there will not. Called with the completion lock held. */
static bool await_more(struct ring_device *d)
{
	struct io_uring_cqe *cqe;
	bool is_running, is_busy, is_over;
	int r = -EAGAIN;

	pthread_mutex_lock(&d->submission);
	is_running = d->nr_running;
	is_busy = d->nr_running > 1;
	is_over = is_idle(d);
	pthread_mutex_unlock(&d->submission);
	if (is_busy)
		glance(d);
	if (is_running)
		r = io_uring_wait_cqe(&d->ring, &cqe);
	if (r && r != -EINTR && !is_over)
		nap();
	return !is_over;
}

/* The same for a private ring: what is queued goes with it, as there is nobody else that could want the lock. */
static bool await_private(struct ring_device *d)
{
	int n;

	if (is_idle(d))
		return false;
	fill(d);
	n = io_uring_submit_and_wait(&d->ring, 1);
	if (d->prepared.head && !account(d, n) && !n)
		n = -EAGAIN;
	if (n < 0 && n != -EINTR)
		nap();
	return true;
}

static unsigned ring_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	struct ring_device *d = ring(dev);
	unsigned n;

	if (block)
		pthread_mutex_lock(&d->completion);
	else if (pthread_mutex_trylock(&d->completion))
		return 0; /* another takes what there is */
	do
		n = take(d, done, max, block);
	while (!n && block && (d->is_private ? await_private(d) : await_more(d)));
	pthread_mutex_unlock(&d->completion);
	return n;
}

/* Gives the ring the only writing end of a pipe, which is closed with the last of the ring. The reading end, or -1. */
static int tie_pipe(struct io_uring *ring)
{
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	r = io_uring_register_files(ring, ends + 1, 1);
	close(ends[1]);
	if (!r)
		return ends[0];
	close(ends[0]);
	return -1;
}

/*
 * The kernel lets go of a request, and of the file with it, a little after its completion was seen; whoever opens a
 * block device exclusively just then finds it in use. So its close waits until the ring is gone, which is some 20 ms;
 * not for ever, as a child of this process may have inherited the ring.
 */
static void close_ring(struct ring_device *d)
{
	struct pollfd gone = { .fd = d->base.dev.info.block_device ? tie_pipe(&d->ring) : -1 };

	io_uring_queue_exit(&d->ring);
	if (gone.fd < 0)
		return;
	while (poll(&gone, 1, MAX_CLOSE_MS) < 0 && errno == EINTR)
		;
	close(gone.fd);
}

static int ring_close(struct bufio_device *dev)
{
	struct ring_device *d = ring(dev);

	close_ring(d);
	pthread_mutex_destroy(&d->submission);
	pthread_mutex_destroy(&d->completion);
	return io_fd_close(&d->base);
}

static int ring_again(struct bufio_device *dev, struct bufio_device **again);

static const struct io_ops ring_ops = {
	.submit = ring_submit,
	.wait = ring_wait,
	.flush = io_fd_flush,
	.discard = io_fd_discard,
	.refresh = io_fd_refresh,
	.close = ring_close,
	.next_data = io_fd_next_data,
	.zero = io_fd_zero,
	.edge = io_fd_edge,
	.resize = io_fd_resize,
	.again = ring_again,
};

/* Since Linux 6.1. Its thread is the one that opens it. */
#define PRIVATE_FLAGS (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN)

/* Reads and writes without vectors came with Linux 5.6, and so did this feature. */
static int open_ring(struct ring_device *d, unsigned flags)
{
	struct io_uring_params params = { .flags = flags };
	int r = io_uring_queue_init_params(NR_ENTRIES, &d->ring, &params);

	if (r)
		return r;
	if (!(params.features & IORING_FEAT_RW_CUR_POS)) {
		io_uring_queue_exit(&d->ring);
		return -ENOSYS;
	}
	d->nr_slots = params.cq_entries;
	d->is_private = flags;
	return 0;
}

static int open_with(int fd, const struct bufio_device_info *info, unsigned flags, struct bufio_device **dev)
{
	struct ring_device *d = calloc(1, sizeof(*d));
	int r = d ? open_ring(d, flags) : -ENOMEM;

	if (r) {
		free(d);
		return r;
	}
	io_fd_init(&d->base, fd, info, "uring", &ring_ops);
	pthread_mutex_init(&d->completion, NULL);
	pthread_mutex_init(&d->submission, NULL);
	io_queue_init(&d->queued);
	io_queue_init(&d->prepared);
	io_queue_init(&d->done);
	*dev = &d->base.dev;
	return 0;
}

int io_ring_open(int fd, const struct bufio_device_info *info, struct bufio_device **dev)
{
	return open_with(fd, info, 0, dev);
}

static int open_private(int fd, const struct bufio_device_info *info, struct bufio_device **dev)
{
	int r = open_with(fd, info, PRIVATE_FLAGS, dev);

	return r == -EINVAL ? open_with(fd, info, 0, dev) : r;
}

static int ring_again(struct bufio_device *dev, struct bufio_device **again)
{
	return io_fd_again(dev, open_private, again);
}
