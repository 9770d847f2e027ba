// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "io/io.h"
#include "requests.h"
#include "unit.h"

#define SECTOR 512
#define NR_SECTORS 64
#define ALL (IO_FAULT_READ | IO_FAULT_WRITE | IO_FAULT_FLUSH)

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
	for (; (got = dev->ops->wait(dev, done, 3)); back += got)
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
	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1), 0);
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(sector_below(i), 0);
	bufio_device_close(dev);
}

static void nothing_outstanding(void)
{
	struct bufio_device *dev = open_device(ALL, 1, true, EIO);
	struct io_request *done;

	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1), 0);
	CU_ASSERT_EQUAL(plan.count, 0);
	bufio_device_close(dev);
}

static const struct unit_case cases[] = {
	{ "without a fault everything reaches the device below, and is counted", passes_on },
	{ "it looks like the device below", same_description },
	{ "the nth read fails and no other", nth_read },
	{ "the nth write fails and reaches nothing below", nth_write },
	{ "the nth flush fails and no other", nth_flush },
	{ "a sticky fault fails everything from there on", sticky },
	{ "the plan may be changed between requests", plan_changes },
	{ "the kinds of a plan are counted together, and no others", counts_across_kinds },
	{ "one failed request of a batch fails alone", one_of_a_batch },
	{ "a batch of nothing but failures comes back whole", all_of_a_batch },
	{ "wait gives 0 when nothing is outstanding", nothing_outstanding },
	{ NULL, NULL },
};

const struct unit_suite io_fault_suite = { "io_fault", cases };
