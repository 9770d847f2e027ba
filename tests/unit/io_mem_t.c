// SPDX-License-Identifier: LGPL-2.1-or-later
/* The memory engine, and with it what every engine promises. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "io/io.h"
#include "requests.h"
#include "unit.h"

#define SECTOR 512
#define NR_REQUESTS 256
#define SIZE ((uint64_t)NR_REQUESTS * SECTOR)

static struct bufio_device *open_device(void)
{
	struct bufio_device *dev = NULL;

	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE, &dev), 0);
	return dev;
}

static void describes_itself(void)
{
	struct bufio_device *dev = open_device();
	const struct bufio_device_info *info = bufio_device_describe(dev);

	CU_ASSERT_EQUAL(info->size, SIZE);
	CU_ASSERT_STRING_EQUAL(info->engine, "memory");
	CU_ASSERT_FALSE(info->read_only);
	CU_ASSERT_FALSE(info->block_device);
	CU_ASSERT_TRUE(info->alignment >= 1);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

static void close_null(void)
{
	CU_ASSERT_EQUAL(bufio_device_close(NULL), 0);
}

static void starts_zeroed(void)
{
	struct bufio_device *dev = open_device();
	unsigned char data[SECTOR];
	unsigned nonzero = 0;

	for (uint64_t at = 0; at < SIZE; at += SECTOR) {
		memset(data, 0xee, SECTOR);
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, at, data, SECTOR, false), 0);
		for (unsigned i = 0; i < SECTOR; i++)
			nonzero += data[i] != 0;
	}
	CU_ASSERT_EQUAL(nonzero, 0);
	bufio_device_close(dev);
}

static void vectored(void)
{
	struct bufio_device *dev = open_device();
	unsigned char out[3 * SECTOR], in[3 * SECTOR];
	struct iovec write[] = { { out, SECTOR }, { out + SECTOR, 2 * SECTOR } };
	struct iovec read[] = { { in, 2 * SECTOR }, { in + 2 * SECTOR, SECTOR } };
	unsigned char *memory = io_mem_data(dev);

	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 3 + i / SECTOR);
	CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_WRITE, SECTOR, write, 2, false), 0);
	CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_READ, SECTOR, read, 2, false), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(memcmp(memory + SECTOR, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(memory[SECTOR - 1] | memory[4 * SECTOR], 0);
	bufio_device_close(dev);
}

static void wait_follows(void)
{
	struct bufio_device *dev = open_device();
	unsigned char out[SECTOR], in[SECTOR] = { 0 };
	struct iovec write = { out, SECTOR }, read = { in, SECTOR };

	memset(out, 9, SECTOR);
	CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_WRITE, 0, &write, 1, true), 0);
	CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_READ, 0, &read, 1, true), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, SECTOR), 0);
	bufio_device_close(dev);
}

static void past_the_end(void)
{
	static const uint64_t offsets[] = { SIZE - SECTOR, SIZE, SIZE + SECTOR, UINT64_MAX - SECTOR + 1,
					    UINT64_MAX - 2 * SECTOR + 1 };
	struct bufio_device *dev = open_device();
	unsigned char data[2 * SECTOR];

	memset(data, 0x77, sizeof(data));
	for (unsigned i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		CU_ASSERT_TRUE(requests_transfer(dev, IO_READ, offsets[i], data, sizeof(data), false) < 0);
		CU_ASSERT_TRUE(requests_transfer(dev, IO_WRITE, offsets[i], data, sizeof(data), false) < 0);
	}
	CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, SIZE - sizeof(data), data, sizeof(data), false), 0);
	bufio_device_close(dev);
}

static void nothing_outstanding(void)
{
	struct bufio_device *dev = open_device();
	struct io_request *done = NULL;
	unsigned char data[SECTOR];

	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1), 0);
	requests_transfer(dev, IO_READ, 0, data, SECTOR, false);
	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1), 0);
	CU_ASSERT_PTR_NULL(done);
	bufio_device_close(dev);
}

static void batch_once(void)
{
	struct bufio_device *dev = open_device();

	for (unsigned max = 1; max <= NR_REQUESTS; max = max * 3 + 1) {
		requests_prepare(IO_WRITE, NR_REQUESTS, SECTOR);
		requests_submit(dev, 0, NR_REQUESTS);
		requests_take_all(dev, max);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
		requests_prepare(IO_READ, NR_REQUESTS, SECTOR);
		requests_submit(dev, 0, NR_REQUESTS);
		requests_take_all(dev, max);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
	}
	bufio_device_close(dev);
}

static void at_most_max(void)
{
	struct bufio_device *dev = open_device();
	struct io_request *done[NR_REQUESTS];
	unsigned nr, sum = 0;

	requests_prepare(IO_WRITE, NR_REQUESTS, SECTOR);
	requests_submit(dev, 0, 50);
	while ((nr = dev->ops->wait(dev, done, 7))) {
		CU_ASSERT_TRUE(nr <= 7);
		sum += nr;
	}
	CU_ASSERT_EQUAL(sum, 50);
	bufio_device_close(dev);
}

static void many_threads(void)
{
	struct bufio_device *dev = open_device();

	for (unsigned round = 0; round < 30; round++) {
		requests_prepare(round % 2 ? IO_READ : IO_WRITE, NR_REQUESTS, SECTOR);
		requests_run_threads(dev);
		requests_take_all(dev, 1);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
	}
	bufio_device_close(dev);
}

static void flush(void)
{
	struct bufio_device *dev = open_device();

	CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
	bufio_device_close(dev);
}

static void discard(void)
{
	struct bufio_device *dev = open_device();
	unsigned char *memory = io_mem_data(dev);
	unsigned changed = 0;
	int r;

	memset(memory, 0x55, SIZE);
	r = dev->ops->discard(dev, 4 * SECTOR, 2 * SECTOR);
	CU_ASSERT_TRUE(r == 0 || r == -EOPNOTSUPP);
	for (unsigned i = 0; i < SIZE; i++)
		changed += memory[i] != 0x55 && i / SECTOR != 4 && i / SECTOR != 5;
	CU_ASSERT_EQUAL(changed, 0);
	bufio_device_close(dev);
}

static void no_memory(void)
{
/* The sanitizers' allocators end the process instead of failing. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	struct bufio_device *dev = (void *)&requests;

	CU_ASSERT_EQUAL(bufio_device_open_memory(UINT64_MAX / 2, &dev), -ENOMEM);
	CU_ASSERT_PTR_EQUAL(dev, (void *)&requests);
	CU_ASSERT_EQUAL(bufio_device_open_memory(UINT64_MAX, &dev), -ENOMEM);
#endif
}

static const struct unit_case cases[] = {
	{ "a memory device describes itself", describes_itself },
	{ "no device may be closed", close_null },
	{ "memory starts as zeroes", starts_zeroed },
	{ "vectors are written and read in order, and nothing beside them", vectored },
	{ "a request may leave the work to the wait that follows", wait_follows },
	{ "a request that passes the end is an error, not a short success", past_the_end },
	{ "wait gives 0 when nothing is outstanding", nothing_outstanding },
	{ "every request of a batch comes back exactly once", batch_once },
	{ "wait gives at most as many as asked for", at_most_max },
	{ "several threads submit and wait at once", many_threads },
	{ "flush succeeds", flush },
	{ "a discard leaves the neighbours alone", discard },
	{ "more memory than there is is refused", no_memory },
	{ NULL, NULL },
};

const struct unit_suite io_mem_suite = { "io_mem", cases };
