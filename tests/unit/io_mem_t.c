// SPDX-License-Identifier: LGPL-2.1-or-later
/* The memory engine. What it shares with the others is in io_engine_t.c. */
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

static void same_memory(void)
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

static void discard(void)
{
	struct bufio_device *dev = open_device();
	unsigned char *memory = io_mem_data(dev);
	unsigned changed = 0;

	memset(memory, 0x55, SIZE);
	CU_ASSERT_EQUAL(dev->ops->discard(dev, SIZE - SECTOR, 2 * SECTOR), -EINVAL);
	CU_ASSERT_EQUAL(dev->ops->discard(dev, SIZE + SECTOR, SECTOR), -EINVAL);
	CU_ASSERT_EQUAL(dev->ops->discard(dev, UINT64_MAX - SECTOR + 1, 2 * SECTOR), -EINVAL);
	for (unsigned i = 0; i < SIZE; i++)
		changed += memory[i] != 0x55;
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
	{ "no device may be closed", close_null },
	{ "memory starts as zeroes", starts_zeroed },
	{ "what is written is in the memory that it has, and nothing beside it", same_memory },
	{ "a request that passes the end is an error, not a short success", past_the_end },
	{ "a discard that passes the end is refused, and changes nothing", discard },
	{ "more memory than there is is refused", no_memory },
	{ NULL, NULL },
};

const struct unit_suite io_mem_suite = { "io_mem", cases };
