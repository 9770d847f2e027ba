// SPDX-License-Identifier: LGPL-2.1-or-later
/* The thread engine. What it shares with the others is in io_engine_t.c. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "io/io.h"
#include "requests.h"
#include "unit.h"

#define BLOCK 4096
#define NR_BLOCKS 16
#define SIZE ((uint64_t)NR_BLOCKS * BLOCK)

static void owns_its_descriptor(void)
{
	int fd, own;
	struct bufio_device *named = requests_open_file("threads", SIZE, &fd), *dev = NULL;
	struct bufio_device_info info = *bufio_device_describe(named);

	own = dup(fd);
	CU_ASSERT_EQUAL_FATAL(io_threads_open(own, &info, &dev), 0);
	CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, SIZE);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
	CU_ASSERT_EQUAL(fcntl(own, F_GETFD), -1);
	CU_ASSERT_EQUAL(errno, EBADF);
	requests_close_file(named, fd);
}

static unsigned nr_threads(void)
{
	unsigned n = 0;
	DIR *tasks = opendir("/proc/self/task");

	CU_ASSERT_PTR_NOT_NULL_FATAL(tasks);
	while (readdir(tasks))
		n++;
	closedir(tasks);
	return n;
}

/* The first wait only asks, and does the work all the same, as nobody else would. */
static void single_reads(void)
{
	static unsigned char data[BLOCK];
	int fd;
	struct bufio_device *dev = requests_open_file("threads", SIZE, &fd);
	unsigned before = nr_threads();

	requests_prepare(IO_READ, 1, BLOCK);
	requests[0].request.wait_follows = true;
	requests_submit(dev, 0, 1);
	requests_poll(dev, 1);
	CU_ASSERT_EQUAL(requests[0].request.result, 0);
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, i * BLOCK, data, BLOCK, true), 0);
	CU_ASSERT_TRUE(nr_threads() <= before);
	requests_close_file(dev, fd);
}

static const struct unit_case cases[] = {
	{ "single reads start no thread", single_reads },
	{ "an engine closes the descriptor it was given", owns_its_descriptor },
	{ NULL, NULL },
};

const struct unit_suite io_threads_suite = { "io_threads", cases };
