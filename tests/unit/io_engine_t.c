// SPDX-License-Identifier: LGPL-2.1-or-later
/* What every engine promises. Each case runs once for each engine; a failed one is followed by the engines' names. */
#include <errno.h>
#include <liburing.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/io.h"
#include "requests.h"
#include "unit.h"

#define BLOCK 4096
#define NR_REQUESTS 240
#define SIZE ((uint64_t)NR_REQUESTS * BLOCK)

/* Those over a file come first. */
static const char *const engines[] = { "uring", "threads", "memory" };

#define NR_ENGINES 3
#define NR_FILE_ENGINES 2

static unsigned at; /* the engine of the running case */
static int fd;      /* our own descriptor of the device's file, -1 for memory */
static unsigned nr_failures;

/* 0, or why this system has no io_uring. */
static int uring_error(void)
{
	struct io_uring ring;
	int r = io_uring_queue_init(8, &ring, 0);

	if (!r)
		io_uring_queue_exit(&ring);
	return r;
}

/* The next of the first @nr engines, or NULL behind the last. */
static struct bufio_device *open_next(unsigned nr)
{
	struct bufio_device *dev = NULL;

	nr_failures = CU_get_number_of_failures();
	if (at == 0 && uring_error())
		at++;
	if (at == nr)
		return NULL;
	fd = -1;
	if (at < NR_FILE_ENGINES)
		return requests_open_file(engines[at], SIZE, &fd);
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE, &dev), 0);
	return dev;
}

static void close_this(struct bufio_device *dev)
{
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
	if (fd >= 0)
		close(fd);
	if (CU_get_number_of_failures() > nr_failures)
		printf("# failed with the engine %s:\n", engines[at]);
	at++;
}

#define for_each_of(nr, dev) for (at = 0; ((dev) = open_next(nr)); close_this(dev))
#define for_each_engine(dev) for_each_of(NR_ENGINES, dev)
#define for_each_file_engine(dev) for_each_of(NR_FILE_ENGINES, dev)

/* The one case that is not for each engine: it tells when the others go without io_uring. */
static void uring_is_tested(void)
{
	struct bufio_device *dev = NULL;
	int r = uring_error(), f;

	if (r) {
		printf("# io_uring cannot be had here and is not tested: %s\n", strerror(-r));
		return;
	}
	dev = requests_open_file("uring", SIZE, &f);
	requests_close_file(dev, f);
}

static void describes_itself(void)
{
	struct bufio_device *dev;

	for_each_engine(dev) {
		const struct bufio_device_info *info = bufio_device_describe(dev);

		CU_ASSERT_EQUAL(info->size, SIZE);
		CU_ASSERT_EQUAL(info->logical_block_size, 512);
		CU_ASSERT_TRUE(info->alignment >= 1);
		CU_ASSERT_STRING_EQUAL(info->engine, engines[at]);
		CU_ASSERT_FALSE(info->read_only);
		CU_ASSERT_FALSE(info->block_device);
	}
}

static void vectored(void)
{
	static unsigned char out[4 * BLOCK], in[6 * BLOCK];
	struct bufio_device *dev;

	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 3 + i / 512);
	for_each_engine(dev) {
		struct iovec write[] = { { out, 512 }, { out + 512, BLOCK }, { out + 512 + BLOCK, 3 * BLOCK - 512 } };
		struct iovec read[] = { { in, BLOCK }, { in + BLOCK, 1024 }, { in + BLOCK + 1024, 3 * BLOCK - 1024 } };

		CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_WRITE, BLOCK, write, 3, false), 0);
		CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_READ, BLOCK, read, 3, true), 0);
		CU_ASSERT_EQUAL(memcmp(in, out, sizeof(out)), 0);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, in, sizeof(in), false), 0);
		CU_ASSERT_EQUAL(memcmp(in + BLOCK, out, sizeof(out)), 0);
		CU_ASSERT_EQUAL(in[BLOCK - 1] | in[5 * BLOCK], 0);
	}
}

/* More than one system call may have. The vectors are in memory in the opposite order. */
static void many_vectors(void)
{
	enum { NR = 2 * IOV_MAX + 3, LEN = 64 };
	static unsigned char out[NR * LEN], in[NR * LEN];
	static struct iovec iov[NR];
	struct bufio_device *dev;

	for_each_engine(dev) {
		unsigned wrong = 0;

		for (unsigned i = 0; i < NR; i++) {
			memset(out + i * LEN, (int)(i % 251) + 1, LEN);
			iov[i] = (struct iovec){ out + (NR - 1 - i) * LEN, LEN };
		}
		CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_WRITE, 512, iov, NR, false), 0);
		memset(in, 0, sizeof(in));
		for (unsigned i = 0; i < NR; i++)
			iov[i] = (struct iovec){ in + (NR - 1 - i) * LEN, LEN };
		CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_READ, 512, iov, NR, false), 0);
		CU_ASSERT_EQUAL(memcmp(in, out, sizeof(in)), 0);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 512, in, sizeof(in), false), 0);
		for (unsigned i = 0; i < NR; i++)
			wrong += memcmp(in + i * LEN, out + (NR - 1 - i) * LEN, LEN) != 0;
		CU_ASSERT_EQUAL(wrong, 0);
	}
}

static void wait_follows(void)
{
	struct bufio_device *dev;

	for_each_engine(dev) {
		unsigned char out[512], in[512] = { 0 };

		memset(out, 9, sizeof(out));
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_WRITE, 0, out, sizeof(out), true), 0);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, in, sizeof(in), true), 0);
		CU_ASSERT_EQUAL(memcmp(in, out, sizeof(in)), 0);
	}
}

static void past_the_end(void)
{
	static const uint64_t offsets[] = { SIZE - BLOCK, SIZE, SIZE + BLOCK, INT64_MAX, UINT64_MAX - 2 * BLOCK + 1,
					    UINT64_MAX };
	static unsigned char data[2 * BLOCK];
	struct bufio_device *dev;

	for_each_engine(dev) {
		for (unsigned i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
			CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, offsets[i], data, sizeof(data), false) < 0);
			CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, offsets[i], data, sizeof(data), true) < 0);
		}
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, SIZE - BLOCK, data, sizeof(data), false), -EIO);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, SIZE - sizeof(data), data, sizeof(data), false), 0);
	}
}

static void nothing_outstanding(void)
{
	static unsigned char data[BLOCK];
	struct bufio_device *dev;

	for_each_engine(dev) {
		struct io_request *done = NULL;

		CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, true), 0);
		CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, false), 0);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, data, BLOCK, false), 0);
		CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, true), 0);
		CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, false), 0);
		CU_ASSERT_PTR_NULL(done);
	}
}

static void run_batch(struct bufio_device *dev, enum io_direction direction, unsigned max)
{
	requests_prepare(direction, NR_REQUESTS, BLOCK);
	requests_submit(dev, 0, NR_REQUESTS);
	requests_take_all(dev, max);
	CU_ASSERT_EQUAL(requests_count_bad(), 0);
}

static void batch_once(void)
{
	struct bufio_device *dev;

	for_each_engine(dev)
		for (unsigned max = 1; max <= NR_REQUESTS; max = max * 5 + 1) {
			run_batch(dev, IO_WRITE, max);
			run_batch(dev, IO_READ, max);
		}
}

static void polled(void)
{
	struct bufio_device *dev;

	for_each_engine(dev) {
		struct io_request *done;

		requests_prepare(IO_WRITE, NR_REQUESTS, BLOCK);
		requests_submit(dev, 0, NR_REQUESTS);
		requests_poll(dev, NR_REQUESTS);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
		CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, true), 0);
		/* One alone, with a promise to wait that is not kept. */
		requests_prepare(IO_READ, 1, BLOCK);
		requests[0].request.wait_follows = true;
		requests_submit(dev, 0, 1);
		requests_poll(dev, 1);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
	}
}

static void at_most_max(void)
{
	struct bufio_device *dev;

	for_each_engine(dev) {
		struct io_request *done[NR_REQUESTS];
		unsigned nr, sum = 0;

		requests_prepare(IO_WRITE, NR_REQUESTS, BLOCK);
		requests_submit(dev, 0, 50);
		for (; (nr = dev->ops->wait(dev, done, 7, true)); sum += nr)
			CU_ASSERT_TRUE(nr <= 7);
		CU_ASSERT_EQUAL(sum, 50);
	}
}

/* Bad by its place on the device, or by its memory. */
static void one_bad_request(bool is_bad_memory, int error)
{
	struct bufio_device *dev;

	for_each_file_engine(dev) {
		unsigned failed = 0;

		requests_prepare(IO_READ, NR_REQUESTS, BLOCK);
		if (is_bad_memory)
			requests[100].iov.iov_base = (void *)16;
		else
			requests[100].request.offset = SIZE;
		requests_submit(dev, 0, NR_REQUESTS);
		requests_take_all(dev, NR_REQUESTS);
		for (unsigned i = 0; i < NR_REQUESTS; i++) {
			failed += requests[i].request.result != 0;
			CU_ASSERT_EQUAL(atomic_load(&requests[i].seen), 1);
		}
		CU_ASSERT_EQUAL(failed, 1);
		CU_ASSERT_EQUAL(requests[100].request.result, error);
	}
}

static void one_past_the_end(void)
{
	one_bad_request(false, -EIO);
}

static void one_without_memory(void)
{
	one_bad_request(true, -EFAULT);
}

static void mixed_waits(void)
{
	struct bufio_device *dev;

	for_each_engine(dev) {
		requests_prepare(IO_WRITE, NR_REQUESTS, BLOCK);
		requests_submit(dev, 0, NR_REQUESTS - 1);
		requests[NR_REQUESTS - 1].request.wait_follows = true;
		requests_submit(dev, NR_REQUESTS - 1, 1);
		requests_take_all(dev, NR_REQUESTS);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
	}
}

static void many_threads(void)
{
	struct bufio_device *dev;

	for_each_engine(dev)
		for (unsigned round = 0; round < 20; round++) {
			requests_prepare(round % 2 ? IO_READ : IO_WRITE, NR_REQUESTS, BLOCK);
			requests_run_threads(dev);
			requests_take_all(dev, 1);
			CU_ASSERT_EQUAL(requests_count_bad(), 0);
		}
}

static void *submit_all(void *dev)
{
	requests_submit(dev, 0, NR_REQUESTS);
	return NULL;
}

/* The file is not in memory, so that most reads are under way when the thread ends. */
static void submitter_ends(void)
{
	struct bufio_device *dev;

	for_each_engine(dev) {
		run_batch(dev, IO_WRITE, NR_REQUESTS);
		for (unsigned round = 0; round < 10; round++) {
			pthread_t thread;

			CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
			if (fd >= 0)
				posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
			requests_prepare(IO_READ, NR_REQUESTS, BLOCK);
			CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, submit_all, dev), 0);
			pthread_join(thread, NULL);
			requests_take_all(dev, 7);
			CU_ASSERT_EQUAL(requests_count_bad(), 0);
		}
	}
}

static sem_t submitted;

static void *submit_and_stay(void *dev)
{
	requests_submit(dev, 0, NR_REQUESTS);
	sem_post(&submitted);
	pause();
	return NULL;
}

/* The thread that submitted is elsewhere when the device is closed, and the kernel may not be done with it yet. */
static void reopened(void)
{
	struct bufio_device *dev;

	sem_init(&submitted, 0, 0);
	for_each_file_engine(dev) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		for (unsigned round = 0; round < 40; round++) {
			pthread_t thread;

			requests_prepare(round % 2 ? IO_READ : IO_WRITE, NR_REQUESTS, BLOCK);
			CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, submit_and_stay, dev), 0);
			sem_wait(&submitted);
			requests_poll(dev, NR_REQUESTS);
			CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
			CU_ASSERT_EQUAL_FATAL(bufio_device_open(path, BUFIO_OPEN_WRITE, engines[at], NULL, &dev), 0);
			pthread_cancel(thread);
			pthread_join(thread, NULL);
		}
	}
}

/* By the thread that opens it: what waits, what only asks, and what leaves the work to the wait. */
static void opened_again(void)
{
	struct bufio_device *dev, *again, *other;
	unsigned char data[512];
	char path[64];

	for_each_file_engine(dev) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		CU_ASSERT_EQUAL_FATAL(io_open_again(dev, &again), 0);
		CU_ASSERT_STRING_EQUAL(bufio_device_describe(again)->engine, engines[at]);
		for (unsigned i = 0; i < 2; i++) {
			requests_prepare(i ? IO_READ : IO_WRITE, NR_REQUESTS, BLOCK);
			requests_submit(again, 0, NR_REQUESTS);
			if (i)
				requests_take_all(again, 3);
			else
				requests_poll(again, NR_REQUESTS);
			CU_ASSERT_EQUAL(requests_count_bad(), 0);
		}
		CU_ASSERT_EQUAL(requests_transfer(again, IO_READ, 0, data, sizeof(data), true), 0);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, data, sizeof(data), true), 0);
		CU_ASSERT_EQUAL(bufio_device_close(again), 0);
		CU_ASSERT_EQUAL(bufio_device_open(path, BUFIO_OPEN_WRITE, engines[at], NULL, &other), -EBUSY);
	}
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE, &dev), 0);
	CU_ASSERT_EQUAL(io_open_again(dev, &again), -EOPNOTSUPP);
	bufio_device_close(dev);
}

static void flush(void)
{
	static unsigned char data[BLOCK];
	struct bufio_device *dev;

	for_each_engine(dev) {
		CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_WRITE, 0, data, BLOCK, false), 0);
		CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
	}
}

/* Discarded bytes read as anything; a file system that punches a hole makes them zeroes. */
static void discard(void)
{
	static unsigned char data[8 * BLOCK];
	struct bufio_device *dev;

	for_each_engine(dev) {
		unsigned changed = 0, left = 0;
		int r;

		memset(data, 0x55, sizeof(data));
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_WRITE, 0, data, sizeof(data), false), 0);
		r = dev->ops->discard(dev, 4 * BLOCK, 2 * BLOCK);
		CU_ASSERT_TRUE(r == 0 || r == -EOPNOTSUPP);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, data, sizeof(data), false), 0);
		for (unsigned i = 0; i < sizeof(data); i++) {
			bool is_inside = i / BLOCK == 4 || i / BLOCK == 5;

			changed += !is_inside && data[i] != 0x55;
			left += is_inside && data[i] != 0;
		}
		CU_ASSERT_EQUAL(changed, 0);
		CU_ASSERT_EQUAL(left, r ? 2 * BLOCK : 0);
	}
}

static void discard_last(void)
{
	struct bufio_device *dev;

	for_each_file_engine(dev) {
		int r = dev->ops->discard(dev, SIZE - BLOCK, BLOCK);

		CU_ASSERT_TRUE(r == 0 || r == -EOPNOTSUPP);
		CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_END), (off_t)SIZE);
		CU_ASSERT_EQUAL(dev->ops->refresh(dev), 0);
		CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, SIZE);
	}
}

static void refresh(void)
{
	static unsigned char data[BLOCK];
	struct bufio_device *dev;

	for_each_engine(dev) {
		CU_ASSERT_EQUAL(dev->ops->refresh(dev), 0);
		CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, SIZE);
	}
	for_each_file_engine(dev) {
		CU_ASSERT_EQUAL(ftruncate(fd, SIZE + BLOCK), 0);
		CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, SIZE);
		CU_ASSERT_EQUAL(dev->ops->refresh(dev), 0);
		CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, SIZE + BLOCK);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, SIZE, data, BLOCK, false), 0);
		CU_ASSERT_EQUAL(ftruncate(fd, BLOCK), 0);
		CU_ASSERT_EQUAL(dev->ops->refresh(dev), 0);
		CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, BLOCK);
	}
}

static void file_shrank(void)
{
	static unsigned char data[2 * BLOCK];
	struct bufio_device *dev;

	for_each_file_engine(dev) {
		CU_ASSERT_EQUAL(ftruncate(fd, BLOCK + 512), 0);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, data, sizeof(data), false), -EIO);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, data, sizeof(data), true), -EIO);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, data, BLOCK, false), 0);
	}
}

/* The file size limit lets the first half of the write through, and refuses the rest. */
static void half_written(void)
{
	static unsigned char data[2 * BLOCK];
	struct bufio_device *dev;
	struct rlimit old, low;
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

	getrlimit(RLIMIT_FSIZE, &old);
	low = (struct rlimit){ BLOCK, old.rlim_max };
	for_each_file_engine(dev) {
		int plain, follows;

		CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &low), 0);
		plain = requests_transfer(dev, IO_WRITE, 0, data, sizeof(data), false);
		follows = requests_transfer(dev, IO_WRITE, 0, data, sizeof(data), true);
		CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &old), 0);
		CU_ASSERT_EQUAL(plain, -EFBIG);
		CU_ASSERT_EQUAL(follows, -EFBIG);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_WRITE, 0, data, sizeof(data), false), 0);
	}
	signal(SIGXFSZ, handler);
}

static const struct unit_case cases[] = {
	{ "io_uring is tested, unless the system refuses it", uring_is_tested },
	{ "a device describes itself", describes_itself },
	{ "vectors are written and read in order, and nothing beside them", vectored },
	{ "a request of more vectors than a system call may have is moved whole", many_vectors },
	{ "a request may leave the work to the wait that follows", wait_follows },
	{ "a read that passes the end is an error, not a short success", past_the_end },
	{ "a wait gives 0 at once when nothing is outstanding", nothing_outstanding },
	{ "every request of a batch comes back exactly once", batch_once },
	{ "whoever only asks, never waiting, gets every request too", polled },
	{ "a wait gives at most as many as asked for", at_most_max },
	{ "one request of a batch that passes the end fails alone", one_past_the_end },
	{ "one request of a batch that has no memory fails alone", one_without_memory },
	{ "a request whose wait follows comes back beside a batch", mixed_waits },
	{ "several threads submit and wait at once", many_threads },
	{ "requests outlive the thread that submitted them", submitter_ends },
	{ "what was closed can be opened for writing at once", reopened },
	{ "a file that is opened again has requests of its own, and stays locked when that is closed", opened_again },
	{ "flush succeeds, with and without writes before it", flush },
	{ "a discard makes a hole, and leaves the neighbours alone", discard },
	{ "a discard at the end leaves the size alone", discard_last },
	{ "refresh sees that a file grew or shrank", refresh },
	{ "a file that shrank meanwhile gives an error, not a short success", file_shrank },
	{ "a write that was cut short by the system is an error", half_written },
	{ NULL, NULL },
};

const struct unit_suite io_engine_suite = { "io_engine", cases };
