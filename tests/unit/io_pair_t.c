// SPDX-License-Identifier: LGPL-2.1-or-later
/* Reads from one device, writes to another. */
#include <errno.h>
#include <string.h>

#include "io/io.h"
#include "requests.h"
#include "unit.h"

#define SECTOR 512
#define SIZE (64 * SECTOR)
#define UNIT 4096

static struct bufio_device *source, *target, *pair;
static unsigned char *target_bytes;

static unsigned char at_source(uint64_t i)
{
	return (unsigned char)(i * 7 + i / 256);
}

static void open_memory(void)
{
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE, &source), 0);
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE, &target), 0);
	for (uint64_t i = 0; i < SIZE; i++)
		((unsigned char *)io_mem_data(source))[i] = at_source(i);
	target_bytes = io_mem_data(target);
	memset(target_bytes, 0x55, SIZE);
}

static int open_pair(uint64_t from, uint64_t to, uint64_t bytes)
{
	struct io_pair_args args = {
		.source = source, .target = target, .from = from, .to = to, .bytes = bytes, .unit = UNIT,
	};

	return io_pair_open(&args, &pair);
}

static void setup(uint64_t from, uint64_t to, uint64_t bytes)
{
	open_memory();
	CU_ASSERT_EQUAL_FATAL(open_pair(from, to, bytes), 0);
}

static void teardown(void)
{
	CU_ASSERT_EQUAL(bufio_device_close(pair), 0);
	bufio_device_close(source);
	bufio_device_close(target);
}

static unsigned char on_target(uint64_t i)
{
	return target_bytes[i];
}

/* How many of the bytes of the target are not a copy of the source at @from, or not untouched around it. */
static unsigned count_wrong(uint64_t from, uint64_t to, uint64_t bytes)
{
	unsigned wrong = 0;

	for (uint64_t i = 0; i < SIZE; i++)
		wrong += on_target(i) != (i >= to && i - to < bytes ? at_source(from + i - to) : 0x55);
	return wrong;
}

static void copy_block(uint64_t at, unsigned char *data)
{
	struct iovec read[] = { { data, 100 }, { data + 100, UNIT - 100 } };
	struct iovec write[] = { { data, UNIT - 1000 }, { data + UNIT - 1000, 1000 } };

	CU_ASSERT_EQUAL(requests_transfer_iov(pair, IO_READ, at, read, 2, true), 0);
	CU_ASSERT_EQUAL(requests_transfer_iov(pair, IO_WRITE, at, write, 2, false), 0);
}

static void copies(void)
{
	static const struct {
		uint64_t from, to, bytes;
	} rows[] = { { 0, 0, SIZE }, { 1024, 8192, 8192 }, { 5, 77, 10001 }, { 0, 0, 1 }, { 512, 0, 4096 }, { 0, 0, 0 } };
	unsigned char data[UNIT];

	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		setup(rows[i].from, rows[i].to, rows[i].bytes);
		CU_ASSERT_EQUAL(bufio_device_describe(pair)->size, (rows[i].bytes + UNIT - 1) / UNIT * UNIT);
		for (uint64_t at = 0; at < rows[i].bytes; at += UNIT)
			copy_block(at, data);
		CU_ASSERT_EQUAL(count_wrong(rows[i].from, rows[i].to, rows[i].bytes), 0);
		teardown();
	}
}

static void end_is_zeroes(void)
{
	unsigned char data[UNIT];
	unsigned other = 0;

	setup(0, 0, UNIT + 1000);
	memset(data, 0xee, sizeof(data));
	CU_ASSERT_EQUAL(requests_transfer(pair, IO_READ, UNIT, data, UNIT, false), 0);
	for (unsigned i = 0; i < UNIT; i++)
		other += data[i] != (i < 1000 ? at_source(UNIT + i) : 0);
	CU_ASSERT_EQUAL(other, 0);
	memset(data, 0xee, sizeof(data));
	CU_ASSERT_EQUAL(requests_transfer(pair, IO_READ, 2 * UNIT, data, UNIT, false), 0);
	CU_ASSERT_TRUE(data[0] == 0 && data[UNIT - 1] == 0);
	teardown();
}

/* With an alignment that the end does not have: the rest goes as an edge. */
static void aligned_end(void)
{
	unsigned char data[UNIT];

	open_memory();
	source->info.alignment = target->info.alignment = 512;
	CU_ASSERT_EQUAL_FATAL(open_pair(512, 1024, UNIT + 1300), 0);
	copy_block(0, data);
	copy_block(UNIT, data);
	CU_ASSERT_EQUAL(count_wrong(512, 1024, UNIT + 1300), 0);
	teardown();
}

/* The target's alignment is larger: its memory says nothing, so what comes to it otherwise is counted. */
static void other_alignment(void)
{
	struct io_fault_plan plan = { .kinds = IO_FAULT_WRITE, .error = EIO };
	static unsigned char data[2 * UNIT] __attribute__((aligned(UNIT)));
	struct iovec small[] = { { data, UNIT - 512 }, { data + UNIT - 512, 512 } };

	open_memory();
	CU_ASSERT_EQUAL_FATAL(io_fault_open(target, &plan, &target), 0);
	target->info.alignment = UNIT;
	CU_ASSERT_EQUAL_FATAL(open_pair(512, 0, 3 * UNIT), 0);
	CU_ASSERT_EQUAL(bufio_device_describe(pair)->alignment, 1);
	CU_ASSERT_EQUAL(requests_transfer(pair, IO_READ, 0, data, UNIT, false), 0);
	CU_ASSERT_EQUAL(requests_transfer(pair, IO_WRITE, 0, data, UNIT, false), 0);
	CU_ASSERT_EQUAL(plan.count, 1);
	CU_ASSERT_EQUAL(requests_transfer(pair, IO_READ, UNIT, data, UNIT, false), 0);
	CU_ASSERT_EQUAL(requests_transfer_iov(pair, IO_WRITE, UNIT, small, 2, false), 0);
	/* an edge for each piece */
	CU_ASSERT_EQUAL(plan.count, 3);
	CU_ASSERT_EQUAL(requests_transfer(pair, IO_READ, 2 * UNIT, data + 8, UNIT, false), 0);
	CU_ASSERT_EQUAL(requests_transfer(pair, IO_WRITE, 2 * UNIT, data + 8, UNIT, false), 0);
	CU_ASSERT_EQUAL(plan.count, 4);
	CU_ASSERT_EQUAL(count_wrong(512, 0, 3 * UNIT), 0);
	teardown();
}

static void many_at_once(void)
{
	unsigned char *from;

	setup(0, 0, SIZE);
	from = io_mem_data(source);
	for (unsigned round = 0; round < 20; round++) {
		requests_prepare(IO_WRITE, 64, SECTOR);
		requests_run_threads(pair);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
		memcpy(from, io_mem_data(target), SIZE);
		requests_prepare(IO_READ, 64, SECTOR);
		requests_submit(pair, 0, 64);
		requests_take_all(pair, 7);
		CU_ASSERT_EQUAL(requests_count_bad(), 0);
	}
	teardown();
}

static void each_fails_alone(void)
{
	struct io_fault_plan bad_read = { .kinds = IO_FAULT_READ, .error = EIO, .bad_begin = 600, .bad_end = 601 };
	struct io_fault_plan bad_write = { .kinds = IO_FAULT_WRITE, .error = ENOSPC, .bad_begin = 1100, .bad_end = 1101 };
	unsigned char data[SECTOR];

	open_memory();
	CU_ASSERT_EQUAL_FATAL(io_fault_open(source, &bad_read, &source), 0);
	CU_ASSERT_EQUAL_FATAL(io_fault_open(target, &bad_write, &target), 0);
	CU_ASSERT_EQUAL_FATAL(open_pair(0, 0, SIZE), 0);
	for (unsigned i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(requests_transfer(pair, IO_READ, i * SECTOR, data, SECTOR, false), i == 1 ? -EIO : 0);
		CU_ASSERT_EQUAL(requests_transfer(pair, IO_WRITE, i * SECTOR, data, SECTOR, false), i == 2 ? -ENOSPC : 0);
	}
	teardown();
}

static void flush_is_of_target(void)
{
	struct io_fault_plan plan = { .kinds = IO_FAULT_FLUSH | IO_FAULT_DISCARD, .error = EIO, .fail_at = 3 };

	open_memory();
	CU_ASSERT_EQUAL_FATAL(io_fault_open(target, &plan, &target), 0);
	CU_ASSERT_EQUAL_FATAL(open_pair(1024, 2048, 5000), 0);
	CU_ASSERT_EQUAL(pair->ops->flush(pair), 0);
	CU_ASSERT_EQUAL(pair->ops->discard(pair, 0, 512), 0);
	CU_ASSERT_EQUAL(pair->ops->flush(pair), -EIO);
	CU_ASSERT_EQUAL(io_zero(pair, 512, 8192), 0); /* not past the end of the copy */
	CU_ASSERT_EQUAL(plan.count, 4);
	CU_ASSERT_EQUAL(pair->ops->refresh(pair), 0);
	teardown();
}

static void zeroes_within(void)
{
	unsigned wrong = 0;

	setup(0, 2048, 5000);
	CU_ASSERT_EQUAL(io_zero(pair, 512, 8192), 0);
	for (uint64_t i = 0; i < SIZE; i++)
		wrong += on_target(i) != (i >= 2048 + 512 && i < 2048 + 5000 ? 0 : 0x55);
	CU_ASSERT_EQUAL(wrong, 0);
	teardown();
}

static void one_device(void)
{
	unsigned char data[UNIT], *memory;
	unsigned wrong = 0;

	open_memory();
	bufio_device_close(target);
	target = source;
	CU_ASSERT_EQUAL_FATAL(open_pair(0, 16384, 8000), 0);
	copy_block(0, data);
	copy_block(UNIT, data);
	memory = io_mem_data(source);
	for (uint64_t i = 0; i < SIZE; i++)
		wrong += memory[i] != at_source(i >= 16384 && i < 16384 + 8000 ? i - 16384 : i);
	CU_ASSERT_EQUAL(wrong, 0);
	bufio_device_close(pair);
	bufio_device_close(source);
}

static void data_of_source(void)
{
	uint64_t begin = 1, end = 1;
	int fd;

	source = requests_open_file("threads", 1 << 20, &fd);
	CU_ASSERT_PTR_NOT_NULL_FATAL(source);
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE, &target), 0);
	CU_ASSERT_EQUAL(requests_transfer(source, IO_WRITE, 65536, io_mem_data(target), 4096, false), 0);
	CU_ASSERT_EQUAL_FATAL(open_pair(4096, 0, 100000), 0);
	CU_ASSERT_EQUAL(io_next_data(pair, 0, &begin, &end), 0);
	CU_ASSERT_TRUE(begin == 65536 - 4096 && end == 65536);
	CU_ASSERT_EQUAL(io_next_data(pair, 65536, &begin, &end), 0);
	CU_ASSERT_TRUE(begin == pair->info.size && end == pair->info.size);
	bufio_device_close(pair);
	bufio_device_close(target);
	requests_close_file(source, fd);
}

static void idle(void)
{
	struct io_request *done;

	setup(0, 0, SIZE);
	CU_ASSERT_EQUAL(pair->ops->wait(pair, &done, 1, true), 0);
	CU_ASSERT_EQUAL(pair->ops->wait(pair, &done, 1, false), 0);
	teardown();
}

static const struct unit_case cases[] = {
	{ "what is read comes from the source, what is written goes to the target, each at its place", copies },
	{ "behind the end of the copy there are zeroes", end_is_zeroes },
	{ "an end that is not aligned is copied", aligned_end },
	{ "writes that do not suit the alignment of the target are done", other_alignment },
	{ "many requests at once, from several threads, come back once each", many_at_once },
	{ "what fails on one device fails alone", each_fails_alone },
	{ "flush, discard and zero are of the target", flush_is_of_target },
	{ "zeroes do not go past the end of the copy", zeroes_within },
	{ "both may be one device", one_device },
	{ "data is where the source has it", data_of_source },
	{ "wait gives 0 when nothing is outstanding", idle },
	{ NULL, NULL },
};

const struct unit_suite io_pair_suite = { "io_pair", cases };
