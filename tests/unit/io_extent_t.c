// SPDX-License-Identifier: LGPL-2.1-or-later
/* What not every device can do: data and holes, zeroes, ends that are not aligned, sizes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"
#include "requests.h"
#include "unit.h"

#define KIB UINT64_C(1024)
#define SIZE (1024 * KIB)

static const char *const engines[] = { "uring", "threads" };

/* A file with data at 256 KiB to 320 KiB, and at its end from 960 KiB on. */
static struct bufio_device *open_sparse(const char *engine, int *fd)
{
	struct bufio_device *dev = requests_open_file(engine, SIZE, fd);
	char data[64 * KIB];

	memset(data, 'x', sizeof(data));
	CU_ASSERT_EQUAL(pwrite(*fd, data, sizeof(data), 256 * KIB), (ssize_t)sizeof(data));
	CU_ASSERT_EQUAL(pwrite(*fd, data, sizeof(data), 960 * KIB), (ssize_t)sizeof(data));
	return dev;
}

static void expect_data(struct bufio_device *dev, uint64_t at, uint64_t begin, uint64_t end)
{
	uint64_t b = 1, e = 1;

	CU_ASSERT_EQUAL(io_next_data(dev, at, &b, &e), 0);
	CU_ASSERT_EQUAL(b, begin);
	CU_ASSERT_EQUAL(e, end);
}

static void holes(void)
{
	for (unsigned i = 0; i < 2; i++) {
		int fd;
		struct bufio_device *dev = open_sparse(engines[i], &fd);

		expect_data(dev, 0, 256 * KIB, 320 * KIB);
		expect_data(dev, 256 * KIB + 1, 256 * KIB + 1, 320 * KIB);
		expect_data(dev, 320 * KIB, 960 * KIB, SIZE);
		expect_data(dev, SIZE, SIZE, SIZE);
		expect_data(dev, 2 * SIZE, SIZE, SIZE);
		CU_ASSERT_EQUAL(io_zero(dev, 900 * KIB, 124 * KIB), 0);
		expect_data(dev, 320 * KIB, SIZE, SIZE);
		requests_close_file(dev, fd);
	}
}

static void all_data(void)
{
	struct bufio_device *dev;

	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE, &dev), 0);
	expect_data(dev, 0, 0, SIZE);
	expect_data(dev, 4096, 4096, SIZE);
	expect_data(dev, SIZE + 5, SIZE, SIZE);
	CU_ASSERT_EQUAL(io_resize(dev, 2 * SIZE), -EOPNOTSUPP);
	bufio_device_close(dev);
}

static void zeroes(void)
{
	for (unsigned i = 0; i < 2; i++) {
		int fd;
		struct bufio_device *dev = open_sparse(engines[i], &fd);
		char data[3] = "abc";

		CU_ASSERT_EQUAL(io_zero(dev, 256 * KIB + 1, 64 * KIB - 2), 0);
		CU_ASSERT_EQUAL(pread(fd, data, 2, 256 * KIB), 2);
		CU_ASSERT_TRUE(data[0] == 'x' && data[1] == 0);
		CU_ASSERT_EQUAL(pread(fd, data, 3, 320 * KIB - 2), 3);
		CU_ASSERT_TRUE(data[0] == 0 && data[1] == 'x' && data[2] == 0);
		CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_END), (off_t)SIZE);
		requests_close_file(dev, fd);
	}
}

static void sizes(void)
{
	for (unsigned i = 0; i < 2; i++) {
		int fd;
		struct bufio_device *dev = open_sparse(engines[i], &fd);

		CU_ASSERT_EQUAL(io_resize(dev, 1000001), 0);
		CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, 1000001);
		CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_END), 1000001);
		CU_ASSERT_EQUAL(io_resize(dev, 2 * SIZE), 0);
		expect_data(dev, 1000 * KIB, 2 * SIZE, 2 * SIZE);
		requests_close_file(dev, fd);
	}
}

/* As a file that is read directly has it: no request can be for 123 bytes. */
static void edges(void)
{
	char path[512], data[200] = "", text[123];
	struct bufio_device *dev = NULL;
	int fd;

	snprintf(path, sizeof(path), "%s/unitXXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	fd = mkstemp(path);
	memset(text, 't', sizeof(text));
	CU_ASSERT_EQUAL(pwrite(fd, text, sizeof(text), 8192), (ssize_t)sizeof(text));
	if (!bufio_device_open(path, BUFIO_OPEN_WRITE | BUFIO_OPEN_DIRECT, "auto", NULL, &dev) ||
	    !bufio_device_open(path, BUFIO_OPEN_WRITE, "auto", NULL, &dev)) {
		int unaligned = requests_transfer(dev, IO_READ, 1, data, 100, true);

		CU_ASSERT_EQUAL(io_edge(dev, IO_READ, 8192, data, 123), 0);
		CU_ASSERT_EQUAL(memcmp(data, text, 123), 0);
		CU_ASSERT_EQUAL(io_edge(dev, IO_READ, 8192, data, 124), -EIO);
		CU_ASSERT_EQUAL(io_edge(dev, IO_WRITE, 8192 + 123, "end", 3), 0);
		CU_ASSERT_EQUAL(pread(fd, data, 10, 8192 + 121), 5);
		CU_ASSERT_EQUAL(memcmp(data, "ttend", 5), 0);
		/* And it is read directly as before. */
		CU_ASSERT_EQUAL(requests_transfer(dev, IO_READ, 1, data, 100, true), unaligned);
		bufio_device_close(dev);
	}
	unlink(path);
	close(fd);
}

static void memory_edges(void)
{
	struct bufio_device *dev;
	char data[4] = "";

	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(1000, &dev), 0);
	CU_ASSERT_EQUAL(io_edge(dev, IO_WRITE, 997, "end", 3), 0);
	CU_ASSERT_EQUAL(io_edge(dev, IO_READ, 997, data, 3), 0);
	CU_ASSERT_STRING_EQUAL(data, "end");
	CU_ASSERT_EQUAL(io_edge(dev, IO_READ, 998, data, 3), -EIO);
	bufio_device_close(dev);
}

static void through_fault(void)
{
	struct io_fault_plan plan = { .kinds = IO_FAULT_READ | IO_FAULT_WRITE | IO_FAULT_DISCARD, .error = EIO };
	struct bufio_device *below, *dev;
	char data[4] = "";
	int fd;

	below = requests_open_file("threads", SIZE, &fd);
	CU_ASSERT_PTR_NOT_NULL_FATAL(below);
	CU_ASSERT_EQUAL_FATAL(io_fault_open(below, &plan, &dev), 0);
	CU_ASSERT_EQUAL(io_resize(dev, SIZE + 3), 0);
	CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, SIZE + 3);
	expect_data(dev, 0, SIZE + 3, SIZE + 3);
	CU_ASSERT_EQUAL(io_edge(dev, IO_WRITE, SIZE, "end", 3), 0);
	plan.fail_at = 2;
	CU_ASSERT_EQUAL(io_edge(dev, IO_READ, SIZE, data, 3), -EIO);
	CU_ASSERT_EQUAL(io_edge(dev, IO_READ, SIZE, data, 3), 0);
	CU_ASSERT_STRING_EQUAL(data, "end");
	plan.fail_at = 4;
	CU_ASSERT_EQUAL(io_zero(dev, 0, SIZE + 3), -EIO);
	CU_ASSERT_EQUAL(io_zero(dev, 0, SIZE + 3), 0);
	requests_close_file(dev, fd);
}

/* The same by another name, another under the same name. */
static void identity(void)
{
	char path[512], link[520], first[IO_IDENTITY_MAX], second[IO_IDENTITY_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/unitXXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	fd = mkstemp(path);
	snprintf(link, sizeof(link), "%s.link", path);
	CU_ASSERT_EQUAL(symlink(path, link), 0);
	CU_ASSERT_EQUAL(io_identify(path, first), 0);
	CU_ASSERT_EQUAL(io_identify(link, second), 0);
	CU_ASSERT_STRING_EQUAL(first, second);
	CU_ASSERT_EQUAL(strncmp(first, "file ", 5), 0);
	unlink(link);
	CU_ASSERT_EQUAL(io_identify(link, second), -ENOENT);
	CU_ASSERT_STRING_EQUAL(first, second);
	CU_ASSERT_EQUAL(mkdir(link, 0700), 0);
	CU_ASSERT_EQUAL(io_identify(link, second), 0);
	CU_ASSERT_STRING_NOT_EQUAL(first, second);
	rmdir(link);
	unlink(path);
	close(fd);
}

static const struct unit_case cases[] = {
	{ "a file tells where it has data", holes },
	{ "a device that does not know its holes is all data, and memory has one size", all_data },
	{ "bytes become zeroes, and no others", zeroes },
	{ "a file gets another size, larger with a hole", sizes },
	{ "what is left over at the end of a file that is read directly is moved", edges },
	{ "memory has edges too", memory_edges },
	{ "injected errors are in the way, and reach nothing below", through_fault },
	{ "a file is known by another name, and another is not taken for it", identity },
	{ NULL, NULL },
};

const struct unit_suite io_extent_suite = { "io_extent", cases };
