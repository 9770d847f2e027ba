// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The io_uring engine. What it shares with the others is in io_engine_t.c.
 *
 * A pipe is the slow device: its reads end when the test writes. And a child that forbids itself a system call is the
 * system that has no io_uring, or loses it. Where io_uring cannot be had to begin with, only those cases mean anything.
 */
#include <errno.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io/io.h"
#include "requests.h"
#include "unit.h"

#define BLOCK 4096
#define SIZE (64 * BLOCK)
#define LOTS 2000 /* several times what the ring has room for */

struct item {
	struct io_request request; /* first, so that a request is its item */
	struct iovec iov;
	unsigned char data;
	atomic_uint seen;
};

static struct item items[LOTS];

static bool has_uring(void)
{
	struct io_uring ring;
	int r = io_uring_queue_init(8, &ring, 0);

	if (!r)
		io_uring_queue_exit(&ring);
	return !r;
}

/* A device over the reading end of a pipe; NULL where there is no io_uring. */
static struct bufio_device *open_pipe(int *writing_end)
{
	struct bufio_device_info info = { .alignment = 1 };
	struct bufio_device *dev = NULL;
	int fds[2];

	if (!has_uring())
		return NULL;
	CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
	CU_ASSERT_EQUAL_FATAL(io_ring_open(fds[0], &info, &dev), 0);
	*writing_end = fds[1];
	return dev;
}

static void close_pipe(struct bufio_device *dev, int writing_end)
{
	close(writing_end);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

static void put(int writing_end, const void *data, size_t len)
{
	CU_ASSERT_EQUAL(write(writing_end, data, len), (ssize_t)len);
}

/* Byte @i of the device into item @i, for @nr items in one batch. */
static void submit_items(struct bufio_device *dev, unsigned first, unsigned nr)
{
	struct io_request *batch[LOTS];

	for (unsigned i = first; i < first + nr; i++) {
		struct item *t = items + i;

		t->data = 0;
		t->iov = (struct iovec){ &t->data, 1 };
		t->request = (struct io_request){ .offset = i, .iov = &t->iov, .nr_iov = 1, .result = 1 };
		atomic_store(&t->seen, 0);
		batch[i - first] = &t->request;
	}
	dev->ops->submit(dev, batch, nr);
}

static unsigned take_items(struct bufio_device *dev, bool block)
{
	struct io_request *done[LOTS];
	unsigned nr = dev->ops->wait(dev, done, LOTS, block);

	for (unsigned i = 0; i < nr; i++)
		atomic_fetch_add(&((struct item *)done[i])->seen, 1);
	return nr;
}

static void take_all_items(struct bufio_device *dev)
{
	while (take_items(dev, true))
		;
}

/* How many of the first @nr did not come back once, with success and a byte that was written. */
static unsigned count_bad(unsigned nr)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < nr; i++)
		bad += atomic_load(&items[i].seen) != 1 || items[i].request.result || items[i].data != 'x';
	return bad;
}

static void only_asking(void)
{
	int end;
	struct bufio_device *dev = open_pipe(&end);

	if (!dev)
		return;
	submit_items(dev, 0, 2);
	for (unsigned i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(take_items(dev, false), 0);
	put(end, "x", 1);
	CU_ASSERT_EQUAL(take_items(dev, true), 1);
	CU_ASSERT_EQUAL(take_items(dev, false), 0);
	put(end, "x", 1);
	while (!take_items(dev, false))
		;
	CU_ASSERT_EQUAL(take_items(dev, true), 0);
	CU_ASSERT_EQUAL(count_bad(2), 0);
	close_pipe(dev, end);
}

/* Data comes in pieces of all lengths; the vectors have others. */
static void in_pieces(void)
{
	static unsigned char out[1000], in[1000];
	int end;
	struct bufio_device *dev = open_pipe(&end);
	struct iovec iov[] = { { in, 10 }, { in + 10, 1 }, { in + 11, 489 }, { in + 500, 500 } };
	struct io_request r = { .iov = iov, .nr_iov = 4, .result = 1 }, *p = &r, *done;

	if (!dev)
		return;
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 7);
	dev->ops->submit(dev, &p, 1);
	for (unsigned at = 0, len = 1; at < sizeof(out); at += len++) {
		CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, false), 0);
		if (len > sizeof(out) - at)
			len = sizeof(out) - at;
		put(end, out + at, len);
	}
	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, true), 1);
	CU_ASSERT_EQUAL(r.result, 0);
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof(in)), 0);
	close_pipe(dev, end);
}

static void end_in_mid_request(void)
{
	unsigned char data[100];
	int end;
	struct bufio_device *dev = open_pipe(&end);
	struct iovec iov = { data, sizeof(data) };
	struct io_request r = { .iov = &iov, .nr_iov = 1, .result = 1 }, *p = &r, *done;

	if (!dev)
		return;
	dev->ops->submit(dev, &p, 1);
	put(end, "forty-two", 9);
	close(end);
	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, true), 1);
	CU_ASSERT_EQUAL(r.result, -EIO);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

static void lots_under_way(void)
{
	static char data[LOTS];
	int end;
	struct bufio_device *dev = open_pipe(&end);

	if (!dev)
		return;
	memset(data, 'x', sizeof(data));
	submit_items(dev, 0, LOTS);
	CU_ASSERT_EQUAL(take_items(dev, false), 0);
	put(end, data, 100);
	CU_ASSERT_TRUE(take_items(dev, true) <= 100);
	put(end, data, LOTS - 100);
	take_all_items(dev);
	CU_ASSERT_EQUAL(count_bad(LOTS), 0);
	close_pipe(dev, end);
}

struct waiter {
	pthread_t thread;
	struct bufio_device *dev;
	unsigned first, nr;
};

static void *submit_and_take(void *arg)
{
	struct waiter *w = arg;

	submit_items(w->dev, w->first, w->nr);
	take_all_items(w->dev);
	return NULL;
}

static void lots_from_threads(void)
{
	static char data[LOTS];
	struct waiter w[4];
	int fd;
	struct bufio_device *dev;

	if (!has_uring())
		return;
	dev = requests_open_file("uring", LOTS, &fd);
	memset(data, 'x', sizeof(data));
	CU_ASSERT_EQUAL(pwrite(fd, data, LOTS, 0), LOTS);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 4; i++) {
			w[i] = (struct waiter){ .dev = dev, .first = i * (LOTS / 4), .nr = LOTS / 4 };
			CU_ASSERT_EQUAL_FATAL(pthread_create(&w[i].thread, NULL, submit_and_take, w + i), 0);
		}
		for (unsigned i = 0; i < 4; i++)
			pthread_join(w[i].thread, NULL);
		CU_ASSERT_EQUAL(count_bad(LOTS), 0);
	}
	requests_close_file(dev, fd);
}

static void *take_some(void *arg)
{
	struct waiter *w = arg;

	w->nr = take_items(w->dev, true);
	return NULL;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

/* The pause only makes the test sharper: both threads are to be waiting when the byte comes. */
static void two_wait_for_one(void)
{
	int end;
	struct bufio_device *dev = open_pipe(&end);
	struct waiter w[2];

	if (!dev)
		return;
	submit_items(dev, 0, 1);
	for (unsigned i = 0; i < 2; i++) {
		w[i].dev = dev;
		CU_ASSERT_EQUAL_FATAL(pthread_create(&w[i].thread, NULL, take_some, w + i), 0);
	}
	pause_ms(20);
	CU_ASSERT_EQUAL(take_items(dev, false), 0);
	put(end, "x", 1);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(w[i].thread, NULL);
	CU_ASSERT_EQUAL(w[0].nr + w[1].nr, 1);
	CU_ASSERT_EQUAL(count_bad(1), 0);
	close_pipe(dev, end);
}

static void *submit_ten(void *dev)
{
	submit_items(dev, 0, 10);
	return NULL;
}

/* The kernel cancels what a thread has under way when it ends. */
static void submitter_ends(void)
{
	int end;
	struct bufio_device *dev = open_pipe(&end);
	pthread_t thread;

	if (!dev)
		return;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, submit_ten, dev), 0);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(take_items(dev, false), 0);
	put(end, "xxxxxxxxxx", 10);
	take_all_items(dev);
	CU_ASSERT_EQUAL(count_bad(10), 0);
	close_pipe(dev, end);
}

static void last_offset(void)
{
	unsigned char data[16] = { 1 };
	int fd;
	struct bufio_device *dev;

	if (!has_uring())
		return;
	dev = requests_open_file("uring", SIZE, &fd);
	CU_ASSERT_TRUE(requests_transfer(dev, IO_WRITE, UINT64_MAX, data, sizeof(data), false) < 0);
	CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, UINT64_MAX, data, sizeof(data), false) < 0);
	CU_ASSERT_EQUAL(pread(fd, data, sizeof(data), 0), sizeof(data));
	CU_ASSERT_EQUAL(data[0], 0);
	requests_close_file(dev, fd);
}

/* --- in a child, which may forbid itself things --- */

/* From now on the system call fails, if its second argument is @arg or @arg is negative. */
static bool forbid(long call, int arg, unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | (arg < 0 ? BPF_JGE : BPF_JEQ) | BPF_K, arg < 0 ? 0 : (unsigned)arg, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* True if @run, in a child, is. Assertions do not reach the parent. */
static bool holds_in_child(bool (*run)(void))
{
	int status = -1;
	pid_t child = fork();

	if (!child)
		_exit(!run());
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	return status == 0;
}

static char path[] = "/proc/self/exe"; /* a file that surely can be opened for reading */

static bool opens_as(const char *engine, const char *is)
{
	struct bufio_device *dev = NULL;
	unsigned char data[16];

	return !bufio_device_open(path, 0, engine, NULL, &dev) && !strcmp(bufio_device_describe(dev)->engine, is) &&
	       !requests_transfer(dev, IO_READ, 0, data, sizeof(data), true) && !bufio_device_close(dev);
}

static bool falls_back_from(unsigned error)
{
	unsetenv("BUFIO_IO_ENGINE");
	return forbid(SYS_io_uring_setup, -1, error) && opens_as("auto", "threads") && opens_as(NULL, "threads") &&
	       opens_as("threads", "threads");
}

static bool falls_back_when_forbidden(void)
{
	return falls_back_from(EPERM);
}

static bool falls_back_when_missing(void)
{
	return falls_back_from(ENOSYS);
}

static bool falls_back_when_short(void)
{
	return falls_back_from(ENOMEM);
}

static void fallback(void)
{
	CU_ASSERT_TRUE(holds_in_child(falls_back_when_forbidden));
	CU_ASSERT_TRUE(holds_in_child(falls_back_when_missing));
	CU_ASSERT_TRUE(holds_in_child(falls_back_when_short));
}

static bool refuses(const char *engine, int error, const char *text)
{
	struct bufio_reason reason;
	struct bufio_device *dev = NULL;

	return bufio_device_open(path, 0, engine, &reason, &dev) == error && !dev && !strcmp(reason.text, text);
}

static bool refuses_with_a_reason(void)
{
	return forbid(SYS_io_uring_setup, -1, EPERM) &&
	       refuses("uring", -EPERM,
		       "I/O engine uring: not available here (Operation not permitted); use threads or auto") &&
	       !setenv("BUFIO_IO_ENGINE", "uring", 1) &&
	       refuses("auto", -EPERM,
		       "BUFIO_IO_ENGINE: I/O engine uring: not available here (Operation not permitted); "
		       "use threads or auto") &&
	       opens_as("threads", "threads");
}

static void refusal(void)
{
	CU_ASSERT_TRUE(holds_in_child(refuses_with_a_reason));
}

/* A device with bytes of 'x', opened before anything is forbidden. */
static struct bufio_device *open_items(void)
{
	char data[LOTS];
	int fd;
	struct bufio_device *dev = requests_open_file("uring", LOTS, &fd);

	memset(data, 'x', sizeof(data));
	return pwrite(fd, data, LOTS, 0) == LOTS ? dev : NULL;
}

static bool works_when_forbidden_later(void)
{
	struct bufio_device *dev = open_items();

	submit_items(dev, 0, 10);
	if (!forbid(SYS_io_uring_enter, -1, EPERM))
		return false;
	submit_items(dev, 10, LOTS - 10);
	take_all_items(dev);
	return !count_bad(LOTS) && !bufio_device_close(dev);
}

static void forbidden_later(void)
{
	if (has_uring())
		CU_ASSERT_TRUE(holds_in_child(works_when_forbidden_later));
}

static bool repeats_what_was_put_off(unsigned error)
{
	struct bufio_device *dev = open_items();

	if (!forbid(SYS_io_uring_enter, 5, error))
		return false;
	submit_items(dev, 0, 3);
	submit_items(dev, 3, 5);
	if (take_items(dev, true) + take_items(dev, false) > 3)
		return false; /* the five are still put off */
	submit_items(dev, 8, 1);
	take_all_items(dev);
	return !count_bad(9) && !bufio_device_close(dev);
}

static bool repeats_after_eagain(void)
{
	return repeats_what_was_put_off(EAGAIN);
}

static bool repeats_after_ebusy(void)
{
	return repeats_what_was_put_off(EBUSY);
}

static bool repeats_after_eintr(void)
{
	return repeats_what_was_put_off(EINTR);
}

static void put_off(void)
{
	if (!has_uring())
		return;
	CU_ASSERT_TRUE(holds_in_child(repeats_after_eagain));
	CU_ASSERT_TRUE(holds_in_child(repeats_after_ebusy));
	CU_ASSERT_TRUE(holds_in_child(repeats_after_eintr));
}

static void *submit_one_later(void *dev)
{
	pause_ms(300);
	submit_items(dev, 5, 1);
	return NULL;
}

/* Five are put off until there is a sixth. The wait for that takes 300 ms, and next to none of the processor. */
static bool waits_in_peace(void)
{
	struct bufio_device *dev = open_items();
	struct rusage before, after;
	pthread_t thread;
	long us;

	if (!forbid(SYS_io_uring_enter, 5, EAGAIN))
		return false;
	submit_items(dev, 0, 5);
	if (pthread_create(&thread, NULL, submit_one_later, dev))
		return false;
	getrusage(RUSAGE_SELF, &before);
	take_all_items(dev);
	getrusage(RUSAGE_SELF, &after);
	pthread_join(thread, NULL);
	us = (after.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_utime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
	     after.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_utime.tv_usec - before.ru_stime.tv_usec;
	return us < 150000 && !count_bad(6) && !bufio_device_close(dev);
}

static void no_spinning(void)
{
	if (has_uring())
		CU_ASSERT_TRUE(holds_in_child(waits_in_peace));
}

static const struct unit_case cases[] = {
	{ "a wait that only asks returns at once while requests are under way", only_asking },
	{ "a request whose data comes in pieces is moved whole", in_pieces },
	{ "the end of the device in mid-request is EIO", end_in_mid_request },
	{ "more requests than the ring has room for are kept until it has", lots_under_way },
	{ "so are those of several threads", lots_from_threads },
	{ "of two threads that wait for one request one gets it, and both return", two_wait_for_one },
	{ "requests that wait for data outlive the thread that submitted them", submitter_ends },
	{ "the last offset of all is not the file's position", last_offset },
	{ "where io_uring is forbidden, missing or short of memory, auto takes threads", fallback },
	{ "where io_uring is forbidden, asking for it by name is refused with a reason", refusal },
	{ "a ring that is forbidden later is done without", forbidden_later },
	{ "what the kernel puts off is neither lost nor done twice", put_off },
	{ "waiting for what the kernel puts off costs no processor", no_spinning },
	{ NULL, NULL },
};

const struct unit_suite io_uring_suite = { "io_uring", cases };
