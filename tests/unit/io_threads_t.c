// SPDX-License-Identifier: LGPL-2.1-or-later
/* The thread engine over a file in the temporary directory. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/io.h"
#include "requests.h"
#include "unit.h"

#define BLOCK 4096
#define NR_REQUESTS 240
#define SIZE ((uint64_t)NR_REQUESTS * BLOCK)

/* A file of @size bytes without a name: a descriptor of our own in *@fd, and a device. */
static struct bufio_device *open_device(uint64_t size, int *fd)
{
	const char *dir = getenv("TMPDIR");
	struct bufio_device *dev = NULL;
	char path[512];
	int r;

	snprintf(path, sizeof(path), "%s/unitXXXXXX", dir ? dir : "/tmp");
	*fd = mkstemp(path);
	CU_ASSERT_TRUE_FATAL(*fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(*fd, (off_t)size), 0);
	r = bufio_device_open(path, BUFIO_OPEN_WRITE, "threads", NULL, &dev);
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(r, 0);
	return dev;
}

static void close_device(struct bufio_device *dev, int fd)
{
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
	close(fd);
}

static void describes_itself(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	const struct bufio_device_info *info = bufio_device_describe(dev);

	CU_ASSERT_EQUAL(info->size, SIZE);
	CU_ASSERT_EQUAL(info->logical_block_size, 512);
	CU_ASSERT_STRING_EQUAL(info->engine, "threads");
	CU_ASSERT_FALSE(info->read_only);
	CU_ASSERT_FALSE(info->block_device);
	close_device(dev, fd);
}

static void vectored(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	static unsigned char out[4 * BLOCK], in[4 * BLOCK];
	struct iovec write[] = { { out, 512 }, { out + 512, BLOCK }, { out + 512 + BLOCK, 3 * BLOCK - 512 } };
	struct iovec read[] = { { in, BLOCK }, { in + BLOCK, 1024 }, { in + BLOCK + 1024, 3 * BLOCK - 1024 } };

	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 3 + i / 512);
	CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_WRITE, BLOCK, write, 3, false), 0);
	CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_READ, BLOCK, read, 3, true), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(pread(fd, in, sizeof(in), BLOCK), sizeof(in));
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(pread(fd, in, BLOCK, 0), BLOCK);
	CU_ASSERT_EQUAL(in[BLOCK - 1], 0);
	close_device(dev, fd);
}

static void many_vectors(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	static unsigned char out[64 * 512], in[64 * 512];
	struct iovec iov[64];

	for (unsigned i = 0; i < 64; i++) {
		memset(out + i * 512, (int)i + 1, 512);
		iov[i] = (struct iovec){ out + (63 - i) * 512, 512 };
	}
	CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_WRITE, 512, iov, 64, false), 0);
	CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 512, in, sizeof(in), false), 0);
	for (unsigned i = 0; i < 64; i++)
		CU_ASSERT_EQUAL(memcmp(in + i * 512, out + (63 - i) * 512, 512), 0);
	close_device(dev, fd);
}

static void past_the_end(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	static unsigned char data[2 * BLOCK];

	CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, SIZE - BLOCK, data, sizeof(data), false) < 0);
	CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, SIZE - BLOCK, data, sizeof(data), true) < 0);
	CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, SIZE, data, sizeof(data), false) < 0);
	CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, SIZE + BLOCK, data, sizeof(data), true) < 0);
	CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, UINT64_MAX - BLOCK + 1, data, sizeof(data), false) < 0);
	CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, SIZE - sizeof(data), data, sizeof(data), false), 0);
	close_device(dev, fd);
}

static void file_shrank(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	static unsigned char data[2 * BLOCK];

	CU_ASSERT_EQUAL(ftruncate(fd, BLOCK + 512), 0);
	CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, 0, data, sizeof(data), false) < 0);
	CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, 0, data, sizeof(data), true) < 0);
	CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, data, BLOCK, false), 0);
	close_device(dev, fd);
}

/* The file size limit lets the first half of the write through, and refuses the rest. */
static void half_written(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	static unsigned char data[2 * BLOCK];
	struct rlimit old, low;
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

	getrlimit(RLIMIT_FSIZE, &old);
	low = (struct rlimit){ BLOCK, old.rlim_max };
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &low), 0);
	int plain = requests_transfer(dev, IO_WRITE, 0, data, sizeof(data), false);
	int direct = requests_transfer(dev, IO_WRITE, 0, data, sizeof(data), true);
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, handler);
	CU_ASSERT_EQUAL(plain, -EFBIG);
	CU_ASSERT_EQUAL(direct, -EFBIG);
	CU_ASSERT_EQUAL(requests_transfer(dev, IO_WRITE, 0, data, sizeof(data), false), 0);
	close_device(dev, fd);
}

static void nothing_outstanding(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	struct io_request *done = NULL;
	static unsigned char data[BLOCK];

	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1), 0);
	CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, data, BLOCK, false), 0);
	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1), 0);
	CU_ASSERT_PTR_NULL(done);
	close_device(dev, fd);
}

static void batch_once(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);

	for (unsigned max = 1; max <= NR_REQUESTS; max = max * 5 + 1) {
		requests_prepare(IO_WRITE, NR_REQUESTS, BLOCK);
		requests_submit(dev, 0, NR_REQUESTS);
		requests_take_all(dev, max);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
		requests_prepare(IO_READ, NR_REQUESTS, BLOCK);
		requests_submit(dev, 0, NR_REQUESTS);
		requests_take_all(dev, max);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
	}
	close_device(dev, fd);
}

static void one_bad_request(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	unsigned failed = 0;

	requests_prepare(IO_READ, NR_REQUESTS, BLOCK);
	requests[100].request.offset = SIZE;
	requests_submit(dev, 0, NR_REQUESTS);
	requests_take_all(dev, NR_REQUESTS);
	for (unsigned i = 0; i < NR_REQUESTS; i++) {
		failed += requests[i].request.result != 0;
		CU_ASSERT_EQUAL(atomic_load(&requests[i].seen), 1);
	}
	CU_ASSERT_EQUAL(failed, 1);
	CU_ASSERT_TRUE(requests[100].request.result < 0);
	close_device(dev, fd);
}

static void mixed_waits(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);

	requests_prepare(IO_WRITE, NR_REQUESTS, BLOCK);
	requests_submit(dev, 0, NR_REQUESTS - 1);
	requests[NR_REQUESTS - 1].request.wait_follows = true;
	requests_submit(dev, NR_REQUESTS - 1, 1);
	requests_take_all(dev, NR_REQUESTS);
	CU_ASSERT_EQUAL(requests_count_bad(), 0);
	close_device(dev, fd);
}

static void many_threads(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);

	for (unsigned round = 0; round < 20; round++) {
		requests_prepare(round % 2 ? IO_READ : IO_WRITE, NR_REQUESTS, BLOCK);
		requests_run_threads(dev);
		requests_take_all(dev, 1);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
	}
	close_device(dev, fd);
}

static void flush(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	static unsigned char data[BLOCK];

	CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
	CU_ASSERT_EQUAL(requests_transfer(dev, IO_WRITE, 0, data, BLOCK, false), 0);
	CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
	close_device(dev, fd);
}

static void discard(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	static unsigned char data[8 * BLOCK];
	unsigned changed = 0;
	int r;

	memset(data, 0x55, sizeof(data));
	CU_ASSERT_EQUAL(requests_transfer(dev, IO_WRITE, 0, data, sizeof(data), false), 0);
	r = dev->ops->discard(dev, 4 * BLOCK, 2 * BLOCK);
	CU_ASSERT_TRUE(r == 0 || r == -EOPNOTSUPP);
	CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 0, data, sizeof(data), false), 0);
	for (unsigned i = 0; i < sizeof(data); i++)
		changed += data[i] != 0x55 && i / BLOCK != 4 && i / BLOCK != 5;
	CU_ASSERT_EQUAL(changed, 0);
	CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_END), (off_t)SIZE);
	close_device(dev, fd);
}

static void discard_last(void)
{
	int fd;
	struct bufio_device *dev = open_device(SIZE, &fd);
	int r = dev->ops->discard(dev, SIZE - BLOCK, BLOCK);

	CU_ASSERT_TRUE(r == 0 || r == -EOPNOTSUPP);
	CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_END), (off_t)SIZE);
	close_device(dev, fd);
}

static void owns_its_descriptor(void)
{
	int fd, own;
	struct bufio_device *named = open_device(SIZE, &fd), *dev = NULL;
	struct bufio_device_info info = *bufio_device_describe(named);

	own = dup(fd);
	CU_ASSERT_EQUAL_FATAL(io_threads_open(own, &info, &dev), 0);
	CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, SIZE);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
	CU_ASSERT_EQUAL(fcntl(own, F_GETFD), -1);
	CU_ASSERT_EQUAL(errno, EBADF);
	close_device(named, fd);
}

static const struct unit_case cases[] = {
	{ "a file describes itself", describes_itself },
	{ "vectors are written and read in order, and nothing beside them", vectored },
	{ "a request of 64 vectors is moved whole", many_vectors },
	{ "a read that passes the end is an error, not a short success", past_the_end },
	{ "a file that shrank meanwhile gives an error, not a short success", file_shrank },
	{ "a write that was cut short by the system is an error", half_written },
	{ "wait gives 0 when nothing is outstanding", nothing_outstanding },
	{ "every request of a batch comes back exactly once", batch_once },
	{ "one bad request of a batch fails alone", one_bad_request },
	{ "a request whose wait follows comes back beside a batch", mixed_waits },
	{ "several threads submit and wait at once", many_threads },
	{ "flush succeeds, with and without writes before it", flush },
	{ "a discard leaves the neighbours and the size alone", discard },
	{ "a discard at the end leaves the size alone", discard_last },
	{ "an engine closes the descriptor it was given", owns_its_descriptor },
	{ NULL, NULL },
};

const struct unit_suite io_threads_suite = { "io_threads", cases };
