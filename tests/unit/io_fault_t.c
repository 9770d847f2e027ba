// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "io/io.h"
#include "requests.h"
#include "unit.h"

#define SECTOR 512
#define NR_SECTORS 64
#define ALL (IO_FAULT_READ | IO_FAULT_WRITE | IO_FAULT_FLUSH | IO_FAULT_DISCARD)

static struct io_fault_plan plan;
static struct bufio_device *below;

static struct bufio_device *open_device(unsigned kinds, uint64_t fail_at, bool sticky, int error)
{
	struct bufio_device *dev = NULL;

	plan = (struct io_fault_plan){ .kinds = kinds, .fail_at = fail_at, .sticky = sticky, .error = error };
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(NR_SECTORS * SECTOR, &below), 0);
	CU_ASSERT_EQUAL_FATAL(io_fault_open(below, &plan, &dev), 0);
	return dev;
}

static int transfer(struct bufio_device *dev, enum io_direction direction, uint64_t sector, void *data)
{
	return requests_transfer(dev, direction, sector * SECTOR, data, SECTOR, false);
}

static int read_sector(struct bufio_device *dev, uint64_t sector)
{
	unsigned char data[SECTOR];

	return transfer(dev, IO_READ, sector, data);
}

static int write_sector(struct bufio_device *dev, uint64_t sector, int value)
{
	unsigned char data[SECTOR];

	memset(data, value, SECTOR);
	return transfer(dev, IO_WRITE, sector, data);
}

static int sector_below(uint64_t sector)
{
	return ((unsigned char *)io_mem_data(below))[sector * SECTOR];
}

static void passes_on(void)
{
	struct bufio_device *dev = open_device(ALL, 0, false, EIO);
	unsigned char data[SECTOR];

	CU_ASSERT_EQUAL(write_sector(dev, 3, 0x33), 0);
	CU_ASSERT_EQUAL(sector_below(3), 0x33);
	CU_ASSERT_EQUAL(transfer(dev, IO_READ, 3, data), 0);
	CU_ASSERT_EQUAL(data[0], 0x33);
	CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
	CU_ASSERT_EQUAL(plan.count, 3);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

static void same_description(void)
{
	struct bufio_device *dev = open_device(ALL, 0, false, EIO);

	CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, bufio_device_describe(below)->size);
	CU_ASSERT_EQUAL(bufio_device_describe(dev)->alignment, bufio_device_describe(below)->alignment);
	CU_ASSERT_EQUAL(bufio_device_describe(dev)->read_only, false);
	bufio_device_close(dev);
}

static void nth_read(void)
{
	for (unsigned n = 1; n <= 4; n++) {
		struct bufio_device *dev = open_device(IO_FAULT_READ, n, false, ENXIO);

		for (unsigned i = 1; i <= 6; i++) {
			CU_ASSERT_EQUAL(read_sector(dev, i), i == n ? -ENXIO : 0);
			CU_ASSERT_EQUAL(write_sector(dev, i, 1), 0);
			CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
		}
		CU_ASSERT_EQUAL(plan.count, 6);
		bufio_device_close(dev);
	}
}

static void nth_write(void)
{
	for (unsigned n = 1; n <= 4; n++) {
		struct bufio_device *dev = open_device(IO_FAULT_WRITE, n, false, ENOSPC);

		for (unsigned i = 1; i <= 6; i++) {
			CU_ASSERT_EQUAL(write_sector(dev, i, 0x44), i == n ? -ENOSPC : 0);
			CU_ASSERT_EQUAL(sector_below(i), i == n ? 0 : 0x44);
			CU_ASSERT_EQUAL(read_sector(dev, i), 0);
		}
		CU_ASSERT_EQUAL(plan.count, 6);
		bufio_device_close(dev);
	}
}

static void nth_flush(void)
{
	struct bufio_device *dev = open_device(IO_FAULT_FLUSH, 2, false, EIO);

	CU_ASSERT_EQUAL(write_sector(dev, 0, 1), 0);
	CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
	CU_ASSERT_EQUAL(dev->ops->flush(dev), -EIO);
	CU_ASSERT_EQUAL(read_sector(dev, 0), 0);
	CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
	CU_ASSERT_EQUAL(plan.count, 3);
	bufio_device_close(dev);
}

static void nth_discard(void)
{
	struct bufio_device *dev = open_device(IO_FAULT_DISCARD, 2, false, EOPNOTSUPP);

	CU_ASSERT_EQUAL(write_sector(dev, 0, 0x11), 0);
	CU_ASSERT_EQUAL(write_sector(dev, 1, 0x22), 0);
	CU_ASSERT_EQUAL(dev->ops->discard(dev, 0, SECTOR), 0);
	CU_ASSERT_EQUAL(dev->ops->discard(dev, SECTOR, SECTOR), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(sector_below(0), 0);
	CU_ASSERT_EQUAL(sector_below(1), 0x22);
	CU_ASSERT_EQUAL(dev->ops->discard(dev, SECTOR, SECTOR), 0);
	CU_ASSERT_EQUAL(plan.count, 3);
	bufio_device_close(dev);
}

static void sticky(void)
{
	struct bufio_device *dev = open_device(ALL, 3, true, EIO);

	CU_ASSERT_EQUAL(write_sector(dev, 0, 1), 0);
	CU_ASSERT_EQUAL(read_sector(dev, 0), 0);
	CU_ASSERT_EQUAL(write_sector(dev, 1, 1), -EIO);
	CU_ASSERT_EQUAL(read_sector(dev, 0), -EIO);
	CU_ASSERT_EQUAL(dev->ops->flush(dev), -EIO);
	CU_ASSERT_EQUAL(write_sector(dev, 2, 1), -EIO);
	CU_ASSERT_EQUAL(sector_below(1) | sector_below(2), 0);
	CU_ASSERT_EQUAL(plan.count, 6);
	bufio_device_close(dev);
}

static void plan_changes(void)
{
	struct bufio_device *dev = open_device(ALL, 1, true, EIO);

	CU_ASSERT_EQUAL(write_sector(dev, 0, 1), -EIO);
	plan.fail_at = 0;
	CU_ASSERT_EQUAL(write_sector(dev, 0, 1), 0);
	plan.fail_at = plan.count + 2;
	plan.error = ETIMEDOUT;
	CU_ASSERT_EQUAL(read_sector(dev, 0), 0);
	CU_ASSERT_EQUAL(read_sector(dev, 0), -ETIMEDOUT);
	bufio_device_close(dev);
}

static void counts_across_kinds(void)
{
	struct bufio_device *dev = open_device(IO_FAULT_READ | IO_FAULT_WRITE, 4, false, EIO);

	CU_ASSERT_EQUAL(write_sector(dev, 0, 1), 0);
	CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
	CU_ASSERT_EQUAL(read_sector(dev, 0), 0);
	CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
	CU_ASSERT_EQUAL(write_sector(dev, 0, 2), 0);
	CU_ASSERT_EQUAL(read_sector(dev, 0), -EIO);
	CU_ASSERT_EQUAL(plan.count, 4);
	bufio_device_close(dev);
}

/* How many of @nr writes in one batch failed; each must come back once. */
static unsigned write_batch(struct bufio_device *dev, unsigned nr)
{
	static struct io_request r[NR_SECTORS];
	static struct iovec iov[NR_SECTORS];
	static unsigned char data[SECTOR];
	struct io_request *p[NR_SECTORS], *done[NR_SECTORS];
	unsigned got, failed = 0, back = 0;

	memset(data, 0x66, SECTOR);
	for (unsigned i = 0; i < nr; i++) {
		iov[i] = (struct iovec){ data, SECTOR };
		r[i] = (struct io_request){ .direction = IO_WRITE, .offset = i * SECTOR, .iov = iov + i, .nr_iov = 1 };
		p[i] = r + i;
	}
	dev->ops->submit(dev, p, nr);
	for (; (got = dev->ops->wait(dev, done, 3, true)); back += got)
		for (unsigned i = 0; i < got; i++)
			failed += done[i]->result != 0;
	CU_ASSERT_EQUAL(back, nr);
	return failed;
}

static void one_of_a_batch(void)
{
	struct bufio_device *dev = open_device(IO_FAULT_WRITE, 5, false, EIO);
	unsigned missing = 0;

	CU_ASSERT_EQUAL(write_batch(dev, 20), 1);
	for (unsigned i = 0; i < 20; i++)
		missing += sector_below(i) != 0x66;
	CU_ASSERT_EQUAL(missing, 1);
	CU_ASSERT_EQUAL(plan.count, 20);
	bufio_device_close(dev);
}

static void all_of_a_batch(void)
{
	struct bufio_device *dev = open_device(IO_FAULT_WRITE, 1, true, EIO);
	struct io_request *done;

	CU_ASSERT_EQUAL(write_batch(dev, 20), 20);
	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, true), 0);
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(sector_below(i), 0);
	bufio_device_close(dev);
}

/* Which of 64 writes failed, as bits. Flushes and discards between them fail in no run. */
static uint64_t random_failures(unsigned kinds, unsigned per_mille, uint64_t seed)
{
	struct bufio_device *dev = open_device(kinds, 0, false, EIO);
	uint64_t failed = 0;

	plan.random_per_mille = per_mille;
	plan.seed = seed;
	for (unsigned i = 0; i < NR_SECTORS; i++) {
		int r = write_sector(dev, i, 0x77);

		CU_ASSERT_EQUAL(sector_below(i), r ? 0 : 0x77);
		failed |= (uint64_t)(r != 0) << i;
	}
	for (unsigned i = 0; i < NR_SECTORS; i++) {
		CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
		CU_ASSERT_EQUAL(dev->ops->discard(dev, 0, SECTOR), 0);
	}
	bufio_device_close(dev);
	return failed;
}

static void chance(void)
{
	uint64_t first = random_failures(ALL, 300, 1);
	unsigned nr = 0;

	for (uint64_t seed = 1; seed <= 100; seed++)
		nr += (unsigned)__builtin_popcountll(random_failures(ALL, 300, seed));
	CU_ASSERT_TRUE(nr > 6400 * 250 / 1000 && nr < 6400 * 350 / 1000);
	CU_ASSERT_EQUAL(random_failures(ALL, 300, 1), first);
	CU_ASSERT_NOT_EQUAL(random_failures(ALL, 300, 2), first);
	CU_ASSERT_EQUAL(random_failures(ALL, 0, 1), 0);
	CU_ASSERT_EQUAL(random_failures(ALL, 1000, 1), UINT64_MAX);
	CU_ASSERT_EQUAL(random_failures(IO_FAULT_READ, 1000, 1), 0);
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Twenty delays of 5 ms on average. That an idle wait is not delayed only shows where the machine is not too busy. */
static void delays(void)
{
	struct bufio_device *dev = open_device(ALL, 3, false, EIO);
	struct io_request *done;
	int64_t start = now_us();

	plan.delay_us = 10000;
	for (unsigned i = 1; i <= 20; i++)
		CU_ASSERT_EQUAL(write_sector(dev, i, 1), i == 3 ? -EIO : 0);
	CU_ASSERT_TRUE(now_us() - start > 20000);
	plan.delay_us = 100000000;
	start = now_us();
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, true), 0);
	CU_ASSERT_TRUE(now_us() - start < 10000000);
	bufio_device_close(dev);
}

static void refresh(void)
{
	struct bufio_device *dev = open_device(ALL, 1, true, EIO);

	below->info.size -= SECTOR;
	CU_ASSERT_EQUAL(dev->ops->refresh(dev), 0);
	CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, bufio_device_describe(below)->size);
	CU_ASSERT_EQUAL(plan.count, 0);
	bufio_device_close(dev);
}

static void nothing_outstanding(void)
{
	struct bufio_device *dev = open_device(ALL, 1, true, EIO);
	struct io_request *done;

	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1, true), 0);
	CU_ASSERT_EQUAL(plan.count, 0);
	bufio_device_close(dev);
}

static const struct unit_case cases[] = {
	{ "without a fault everything reaches the device below, and is counted", passes_on },
	{ "it looks like the device below", same_description },
	{ "the nth read fails and no other", nth_read },
	{ "the nth write fails and reaches nothing below", nth_write },
	{ "the nth flush fails and no other", nth_flush },
	{ "the nth discard fails and changes nothing below", nth_discard },
	{ "a sticky fault fails everything from there on", sticky },
	{ "the plan may be changed between requests", plan_changes },
	{ "the kinds of a plan are counted together, and no others", counts_across_kinds },
	{ "one failed request of a batch fails alone", one_of_a_batch },
	{ "a batch of nothing but failures comes back whole", all_of_a_batch },
	{ "reads and writes fail by chance, and the same ones for the same seed", chance },
	{ "a wait that has something to give is late, failed requests included", delays },
	{ "a new size below is seen above", refresh },
	{ "wait gives 0 when nothing is outstanding", nothing_outstanding },
	{ NULL, NULL },
};

const struct unit_suite io_fault_suite = { "io_fault", cases };
