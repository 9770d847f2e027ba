// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "requests.h"
#include "unit.h"

#define UNIT 512
#define BELOW_UNITS 64
#define UNITS 100
#define LEN(table) (sizeof(table) / sizeof(*(table)))

#define PIECE(to, from, nr) { (to) * UNIT, (from) * UNIT, (nr) * UNIT }

/* In units: 2 and 3 lie at 10 and 11; 4 to 6 at 5 to 7; 20 to 39 at 0 to 19; 99 at 63. */
static const struct piece pieces[] = { PIECE(2, 10, 2), PIECE(4, 5, 3), PIECE(20, 0, 20), PIECE(99, 63, 1) };

static struct bufio_device *memory, *below, *dev;
static struct io_fault_plan plan;
static uint8_t data[UNITS * UNIT];

/* Every unit of what is below has a value of its own. */
static void start(void)
{
	struct io_pieces_args args = { .pieces = pieces, .nr = LEN(pieces), .size = UNITS * UNIT };

	plan = (struct io_fault_plan){ .kinds = IO_FAULT_READ, .error = EIO };
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(BELOW_UNITS * UNIT, &memory), 0);
	for (unsigned i = 0; i < BELOW_UNITS; i++)
		memset((uint8_t *)io_mem_data(memory) + i * UNIT, (int)(i + 1), UNIT);
	CU_ASSERT_EQUAL_FATAL(io_fault_open(memory, &plan, &below), 0);
	args.below = below;
	CU_ASSERT_EQUAL_FATAL(io_pieces_open(&args, &dev), 0);
	memset(data, 0xEE, sizeof(data));
}

static void finish(void)
{
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
	CU_ASSERT_EQUAL(bufio_device_close(below), 0);
}

/* What unit @unit reads as. */
static unsigned expected(unsigned unit)
{
	for (unsigned i = 0; i < LEN(pieces); i++)
		if (unit * UNIT >= pieces[i].to && unit * UNIT < pieces[i].to + pieces[i].bytes)
			return (unsigned)((pieces[i].from + unit * UNIT - pieces[i].to) / UNIT + 1);
	return 0;
}

static bool is_right(unsigned first, unsigned nr)
{
	for (unsigned i = 0; i < nr * UNIT; i++)
		if (data[i] != expected(first + i / UNIT))
			return false;
	return true;
}

static int transfer(unsigned first, unsigned nr)
{
	return requests_transfer(dev, IO_READ, first * UNIT, data, nr * UNIT, false);
}

static void every_range(void)
{
	start();
	for (unsigned first = 0; first < UNITS; first++)
		for (unsigned nr = 1; first + nr <= UNITS; nr++) {
			CU_ASSERT_EQUAL(transfer(first, nr), 0);
			CU_ASSERT_TRUE(is_right(first, nr));
		}
	finish();
}

/* Pieces begin and end inside of what is one in memory, and the other way round. */
static void scattered_memory(void)
{
	static const unsigned lengths[] = { 1, 2, 5, 1, 30, 61 };

	start();
	for (unsigned turn = 0; turn < LEN(lengths); turn++) {
		struct iovec iov[LEN(lengths)];
		uint8_t *at = data;

		for (unsigned i = 0; i < LEN(lengths); i++) {
			iov[i] = (struct iovec){ at, lengths[(i + turn) % LEN(lengths)] * UNIT };
			at += iov[i].iov_len;
		}
		memset(data, 0xEE, sizeof(data));
		CU_ASSERT_EQUAL(requests_transfer_iov(dev, IO_READ, 0, iov, LEN(lengths), false), 0);
		CU_ASSERT_TRUE(is_right(0, UNITS));
	}
	finish();
}

static void errors(void)
{
	start();
	plan.bad_begin = 6 * UNIT;
	plan.bad_end = 7 * UNIT;
	CU_ASSERT_EQUAL(transfer(0, UNITS), -EIO);
	CU_ASSERT_EQUAL(transfer(5, 1), -EIO);
	CU_ASSERT_EQUAL(transfer(4, 1), 0);
	CU_ASSERT_EQUAL(transfer(7, 10), 0);
	CU_ASSERT_EQUAL(transfer(26, 1), -EIO);
	finish();
}

static void only_read(void)
{
	start();
	CU_ASSERT_TRUE(dev->info.read_only);
	CU_ASSERT_EQUAL(requests_transfer(dev, IO_WRITE, 20 * UNIT, data, UNIT, false), -EROFS);
	CU_ASSERT_EQUAL(dev->ops->discard(dev, 20 * UNIT, UNIT), -EROFS);
	CU_ASSERT_EQUAL(io_edge(dev, IO_WRITE, 20 * UNIT, data, 7), -EROFS);
	CU_ASSERT_EQUAL(((uint8_t *)io_mem_data(memory))[0], 1);
	finish();
}

static void data_is(unsigned offset, unsigned want_begin, unsigned want_end)
{
	uint64_t begin, end;

	CU_ASSERT_EQUAL(io_next_data(dev, offset * UNIT, &begin, &end), 0);
	CU_ASSERT_EQUAL(begin, want_begin * UNIT);
	CU_ASSERT_EQUAL(end, want_end * UNIT);
}

static void holes(void)
{
	start();
	data_is(0, 2, 7);
	data_is(3, 3, 7);
	data_is(6, 6, 7);
	data_is(7, 20, 40);
	data_is(39, 39, 40);
	data_is(40, 99, 100);
	data_is(100, 100, 100);
	finish();
}

static void no_pieces(void)
{
	struct io_pieces_args args = { .size = 10 * UNIT };

	start();
	args.below = below;
	bufio_device_close(dev);
	CU_ASSERT_EQUAL_FATAL(io_pieces_open(&args, &dev), 0);
	data_is(0, 10, 10);
	CU_ASSERT_EQUAL(transfer(0, 10), 0);
	CU_ASSERT_EQUAL(data[0], 0);
	CU_ASSERT_EQUAL(data[10 * UNIT - 1], 0);
	finish();
}

/* Each unit a request, all in one batch. */
static void submit_units(struct io_request *all[MAX_REQUESTS])
{
	requests_prepare(IO_READ, UNITS, UNIT);
	for (unsigned i = 0; i < UNITS; i++)
		all[i] = &requests[i].request;
	dev->ops->submit(dev, all, UNITS);
}

static void batches(void)
{
	struct io_request *all[MAX_REQUESTS];

	start();
	submit_units(all);
	requests_take_all(dev, 7);
	for (unsigned i = 0; i < UNITS; i++) {
		CU_ASSERT_EQUAL(requests[i].seen, 1);
		CU_ASSERT_EQUAL(requests[i].request.result, 0);
		CU_ASSERT_EQUAL(requests[i].data[UNIT - 1], expected(i));
	}
	CU_ASSERT_EQUAL(dev->ops->wait(dev, all, 1, true), 0);
	finish();
}

static void polling(void)
{
	struct io_request *all[MAX_REQUESTS];

	start();
	submit_units(all);
	requests_poll(dev, UNITS);
	for (unsigned i = 0; i < UNITS; i++)
		CU_ASSERT_EQUAL(requests[i].seen, 1);
	finish();
}

/* A file, whose edges need not be aligned. */
static void edges(void)
{
	struct io_pieces_args args = { .pieces = pieces, .nr = LEN(pieces), .size = UNITS * UNIT };
	struct bufio_device *file, *made;
	int fd;

	file = requests_open_file("threads", BELOW_UNITS * UNIT, &fd);
	start();
	CU_ASSERT_EQUAL(pwrite(fd, io_mem_data(memory), BELOW_UNITS * UNIT, 0), BELOW_UNITS * UNIT);
	args.below = file;
	CU_ASSERT_EQUAL_FATAL(io_pieces_open(&args, &made), 0);
	CU_ASSERT_EQUAL(io_edge(made, IO_READ, 2 * UNIT - 3, data, 3 + 2 * UNIT + 5), 0);
	CU_ASSERT_EQUAL(data[2], 0);
	CU_ASSERT_EQUAL(data[3], 11);
	CU_ASSERT_EQUAL(data[2 * UNIT + 2], 12);
	CU_ASSERT_EQUAL(data[2 * UNIT + 7], 6);
	CU_ASSERT_EQUAL(data[2 * UNIT + 8], 0xEE);
	bufio_device_close(made);
	requests_close_file(file, fd);
	finish();
}

static const struct unit_case cases[] = {
	{ "every range reads as its pieces, and zeroes between them", every_range },
	{ "so it does where memory is in pieces too", scattered_memory },
	{ "an error below is that of the requests that touch it", errors },
	{ "nothing is written", only_read },
	{ "data is where pieces are, neighbours together", holes },
	{ "without pieces it is all zeroes", no_pieces },
	{ "each request of a batch comes back once, and then there is nothing to wait for", batches },
	{ "who only asks gets all as well", polling },
	{ "edges of pieces need not be aligned", edges },
	{ NULL, NULL },
};

const struct unit_suite io_pieces_suite = { "io_pieces", cases };
