// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bufio/bufio.h"
#include "io/io.h"
#include "unit.h"

#define SIZE 65536
#define UNTOUCHED ((struct bufio_device *)&reason)

static struct bufio_reason reason;
static char path[512];

/* A file of @size bytes at path; the descriptor is ours. */
static int make_file(off_t size)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	snprintf(path, sizeof(path), "%s/unitXXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(path);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(fd, size), 0);
	return fd;
}

static void remove_file(int fd)
{
	unlink(path);
	close(fd);
}

/* A failed open touches no output but the reason, which names the path or the engine in one line. */
static void refused(const char *name, unsigned flags, const char *engine, int error)
{
	struct bufio_device *dev = UNTOUCHED;

	memset(&reason, 0, sizeof(reason));
	CU_ASSERT_EQUAL(bufio_device_open(name, flags, engine, &reason, &dev), error);
	CU_ASSERT_PTR_EQUAL(dev, UNTOUCHED);
	CU_ASSERT_PTR_NOT_NULL(memchr(reason.text, 0, sizeof(reason.text)));
	CU_ASSERT_TRUE(strstr(reason.text, name) || strstr(reason.text, "I/O engine"));
	CU_ASSERT_PTR_NULL(strchr(reason.text, '\n'));
	CU_ASSERT_EQUAL(bufio_device_open(name, flags, engine, NULL, &dev), error);
	CU_ASSERT_PTR_EQUAL(dev, UNTOUCHED);
}

static struct bufio_device *opened(unsigned flags, const char *engine)
{
	struct bufio_device *dev = NULL;

	CU_ASSERT_EQUAL(bufio_device_open(path, flags, engine, &reason, &dev), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(dev);
	return dev;
}

static void missing_file(void)
{
	int fd = make_file(SIZE);

	remove_file(fd);
	refused(path, 0, NULL, -ENOENT);
	refused(path, BUFIO_OPEN_WRITE, "auto", -ENOENT);
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
}

static void directory(void)
{
	refused("/", 0, NULL, -EISDIR);
	refused("/", BUFIO_OPEN_WRITE, NULL, -EISDIR);
}

static void character_device(void)
{
	refused("/dev/null", 0, NULL, -ENOTBLK);
	refused("/dev/null", BUFIO_OPEN_WRITE, NULL, -ENOTBLK);
}

/* A FIFO without a writer must not make the open wait for one. */
static void fifo(void)
{
	int fd = make_file(0);

	unlink(path);
	CU_ASSERT_EQUAL_FATAL(mkfifo(path, 0600), 0);
	refused(path, 0, NULL, -ENOTBLK);
	refused(path, BUFIO_OPEN_WRITE, NULL, -ENOTBLK);
	remove_file(fd);
}

static void unreadable(void)
{
	int fd = make_file(SIZE);

	if (geteuid() != 0) {
		CU_ASSERT_EQUAL(chmod(path, 0), 0);
		refused(path, 0, NULL, -EACCES);
		CU_ASSERT_EQUAL(chmod(path, 0400), 0);
		refused(path, BUFIO_OPEN_WRITE, NULL, -EACCES);
		bufio_device_close(opened(0, NULL));
	}
	remove_file(fd);
}

static void exclusive_flags(void)
{
	int fd = make_file(SIZE);

	refused(path, BUFIO_OPEN_WRITE | BUFIO_OPEN_SHARED, NULL, -EINVAL);
	refused(path, BUFIO_OPEN_DIRECT | BUFIO_OPEN_BUFFERED, NULL, -EINVAL);
	remove_file(fd);
}

static void opens_as(const char *engine, const char *is)
{
	struct bufio_device *dev = opened(0, engine);

	CU_ASSERT_STRING_EQUAL(bufio_device_describe(dev)->engine, is);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

/* The variable as the tests were started with it, which may be to try all of them with one engine. */
static char *variable_before;
static bool is_variable_saved;

static void set_variable(const char *value)
{
	const char *old = getenv("BUFIO_IO_ENGINE");

	if (!is_variable_saved)
		variable_before = old ? strdup(old) : NULL;
	is_variable_saved = true;
	if (value)
		setenv("BUFIO_IO_ENGINE", value, 1);
	else
		unsetenv("BUFIO_IO_ENGINE");
}

static void restore_variable(void)
{
	set_variable(variable_before);
	free(variable_before);
	is_variable_saved = false;
}

static void engines(void)
{
	int fd = make_file(SIZE);

	opens_as("threads", "threads");
	refused(path, 0, "no-such-engine", -EINVAL);
	refused(path, 0, "thread", -EINVAL);
	refused(path, 0, "", -EINVAL);
	remove_file(fd);
}

/* The first of the table that can be had: what that is here, an open by name tells. */
static void engine_auto(void)
{
	int fd = make_file(SIZE);
	struct bufio_device *dev = NULL;
	const char *best = "threads";

	if (!bufio_device_open(path, 0, "uring", NULL, &dev)) {
		CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
		best = "uring";
	}
	set_variable(NULL);
	opens_as(NULL, best);
	opens_as("auto", best);
	set_variable("");
	opens_as(NULL, best);
	set_variable("auto");
	opens_as(NULL, best);
	restore_variable();
	remove_file(fd);
}

static void engine_variable(void)
{
	int fd = make_file(SIZE);

	set_variable("threads");
	opens_as(NULL, "threads");
	opens_as("auto", "threads");
	set_variable("magic");
	opens_as("threads", "threads");
	refused(path, 0, NULL, -EINVAL);
	CU_ASSERT_STRING_EQUAL(reason.text, "BUFIO_IO_ENGINE: I/O engine magic: not known here");
	refused(path, 0, "auto", -EINVAL);
	refused(path, 0, "no-such-engine", -EINVAL);
	CU_ASSERT_PTR_NULL(strstr(reason.text, "BUFIO_IO_ENGINE"));
	restore_variable();
	remove_file(fd);
}

static void sizes(void)
{
	static const off_t table[] = { 0, 1, 512, 4097, 1 << 30 };

	for (unsigned i = 0; i < sizeof(table) / sizeof(*table); i++) {
		int fd = make_file(table[i]);
		struct bufio_device *dev = opened(0, NULL);

		CU_ASSERT_EQUAL(bufio_device_describe(dev)->size, (uint64_t)table[i]);
		CU_ASSERT_EQUAL(bufio_device_describe(dev)->logical_block_size, 512);
		CU_ASSERT_FALSE(bufio_device_describe(dev)->block_device);
		bufio_device_close(dev);
		remove_file(fd);
	}
}

static void read_only(void)
{
	int fd = make_file(SIZE);
	struct bufio_device *dev = opened(0, NULL);

	CU_ASSERT_TRUE(bufio_device_describe(dev)->read_only);
	bufio_device_close(dev);
	dev = opened(BUFIO_OPEN_WRITE, NULL);
	CU_ASSERT_FALSE(bufio_device_describe(dev)->read_only);
	bufio_device_close(dev);
	CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_END), SIZE);
	remove_file(fd);
}

static void second_writer(void)
{
	int fd = make_file(SIZE);
	struct bufio_device *dev = opened(BUFIO_OPEN_WRITE, NULL);

	refused(path, BUFIO_OPEN_WRITE, NULL, -EBUSY);
	/* The refused open must not have taken the first one's lock away. */
	refused(path, BUFIO_OPEN_WRITE, NULL, -EBUSY);
	bufio_device_close(dev);
	bufio_device_close(opened(BUFIO_OPEN_WRITE, NULL));
	remove_file(fd);
}

static void readers_beside_a_writer(void)
{
	int fd = make_file(SIZE);
	struct bufio_device *writer = opened(BUFIO_OPEN_WRITE, NULL), *reader, *second;

	refused(path, 0, NULL, -EBUSY);
	bufio_device_close(opened(BUFIO_OPEN_SHARED, NULL));
	refused(path, BUFIO_OPEN_WRITE, NULL, -EBUSY);
	bufio_device_close(writer);
	reader = opened(0, NULL);
	second = opened(0, NULL);
	bufio_device_close(reader);
	refused(path, BUFIO_OPEN_WRITE, NULL, -EBUSY);
	bufio_device_close(second);
	reader = opened(BUFIO_OPEN_SHARED, NULL);
	bufio_device_close(opened(BUFIO_OPEN_WRITE, NULL));
	bufio_device_close(reader);
	remove_file(fd);
}

static void reason_on_success(void)
{
	int fd = make_file(SIZE);

	strcpy(reason.text, "as before");
	bufio_device_close(opened(0, NULL));
	CU_ASSERT_STRING_EQUAL(reason.text, "as before");
	remove_file(fd);
}

static void long_path(void)
{
	static char name[3000];
	struct bufio_device *dev = UNTOUCHED;

	memset(name, 'x', sizeof(name) - 1);
	CU_ASSERT_EQUAL(bufio_device_open(name, 0, NULL, &reason, &dev), -ENAMETOOLONG);
	CU_ASSERT_PTR_NOT_NULL(memchr(reason.text, 0, sizeof(reason.text)));
	CU_ASSERT_PTR_EQUAL(dev, UNTOUCHED);
}

static void buffered(void)
{
	int fd = make_file(SIZE);
	struct bufio_device *dev = opened(0, NULL);

	CU_ASSERT_FALSE(bufio_device_describe(dev)->direct);
	bufio_device_close(dev);
	dev = opened(BUFIO_OPEN_BUFFERED, NULL);
	CU_ASSERT_FALSE(bufio_device_describe(dev)->direct);
	bufio_device_close(dev);
	remove_file(fd);
}

static void write_one_block(struct bufio_device *dev)
{
	struct bufio_client *c = bufio_client_create(dev, 4096, 1, 0, NULL, NULL);
	struct bufio_buffer *b;
	void *data;

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	data = bufio_read(c, 3, &b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	CU_ASSERT_EQUAL((uintptr_t)data % bufio_device_describe(dev)->alignment, 0);
	memset(data, 0x3c, 4096);
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	bufio_release(b);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
}

/* Not every file system has direct I/O: the refusal is then -EINVAL, and all there is to test. */
static void direct(void)
{
	int fd = make_file(SIZE), r;
	struct bufio_device *dev = UNTOUCHED;
	unsigned char data[4096];

	r = bufio_device_open(path, BUFIO_OPEN_DIRECT | BUFIO_OPEN_WRITE, NULL, NULL, &dev);
	CU_ASSERT_TRUE(r == 0 || r == -EINVAL);
	if (r == 0) {
		CU_ASSERT_TRUE(bufio_device_describe(dev)->direct);
		CU_ASSERT_TRUE(bufio_device_describe(dev)->alignment > 1);
		write_one_block(dev);
		CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
		CU_ASSERT_EQUAL(pread(fd, data, sizeof(data), 3 * 4096), sizeof(data));
		CU_ASSERT_EQUAL(data[0] & data[4095], 0x3c);
	} else {
		CU_ASSERT_PTR_EQUAL(dev, UNTOUCHED);
	}
	remove_file(fd);
}

static void survives_the_close(void)
{
	int fd = make_file(SIZE);
	struct bufio_device *dev = opened(BUFIO_OPEN_WRITE, NULL);
	unsigned char data[2 * 4096];

	write_one_block(dev);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
	CU_ASSERT_EQUAL(pread(fd, data, sizeof(data), 3 * 4096), sizeof(data));
	CU_ASSERT_EQUAL(data[0] & data[4095], 0x3c);
	CU_ASSERT_EQUAL(data[4096], 0);
	remove_file(fd);
}

static void unknown_user(void)
{
	char text[64] = "old", one[2] = { 'x', 'y' };

	io_name_user(0, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "");
	io_name_user(0, one, 1);
	CU_ASSERT_EQUAL(one[0], 0);
	CU_ASSERT_EQUAL(one[1], 'y');
}

/* A place that looks like /sys, with loop devices that show a file that is gone, none, and ours. */
static void loop_device(void)
{
	char sys[sizeof(path) + 8], command[16 * sizeof(path)], name[64] = "old";
	int fd = make_file(SIZE);
	struct stat st, other;

	snprintf(sys, sizeof(sys), "%s.sys", path);
	snprintf(command, sizeof(command),
		 "mkdir -p %s/block/loop0/loop %s/block/loop1 %s/block/loop7/loop %s/block/sda && "
		 "echo /nowhere >%s/block/loop0/loop/backing_file && echo %s >%s/block/loop7/loop/backing_file",
		 sys, sys, sys, sys, sys, path, sys);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	CU_ASSERT_EQUAL(stat("/", &other), 0);
	CU_ASSERT_FALSE(io_name_loop(sys, &other, name, sizeof(name)));
	CU_ASSERT_FALSE(io_name_loop("/nowhere", &st, name, sizeof(name)));
	CU_ASSERT_STRING_EQUAL(name, "old");
	CU_ASSERT_TRUE(io_name_loop(sys, &st, name, sizeof(name)));
	CU_ASSERT_STRING_EQUAL(name, "loop7");
	snprintf(command, sizeof(command), "rm -rf %s", sys);
	CU_ASSERT_EQUAL(system(command), 0);
	remove_file(fd);
}

static const struct unit_case cases[] = {
	{ "a missing file is refused, and not created", missing_file },
	{ "a directory is refused as one", directory },
	{ "a character device is refused", character_device },
	{ "a FIFO is refused without waiting for its other end", fifo },
	{ "a file without permission is refused", unreadable },
	{ "flags that exclude each other are refused", exclusive_flags },
	{ "an engine is named; an unknown one is refused", engines },
	{ "the choice is left open, or to auto, or to an empty variable: the first that can be had", engine_auto },
	{ "the environment names the engine where the choice is left open; an unknown one is refused", engine_variable },
	{ "a file is as large as it is, whole blocks or not", sizes },
	{ "a file is read only unless opened for writing, and never truncated", read_only },
	{ "a second writer is refused while the first has the file", second_writer },
	{ "one writer or many readers have a file, but for readers that take what is in use", readers_beside_a_writer },
	{ "a success leaves the reason alone", reason_on_success },
	{ "a reason fits, however long the path", long_path },
	{ "a file goes through the page cache unless asked otherwise", buffered },
	{ "direct I/O on a file demands alignment, and buffers have it", direct },
	{ "what was written is in the file after the close", survives_the_close },
	{ "a device that nobody uses has no user's name", unknown_user },
	{ "a file that a loop device shows is known by it", loop_device },
	{ NULL, NULL },
};

const struct unit_suite io_open_suite = { "io_open", cases };
