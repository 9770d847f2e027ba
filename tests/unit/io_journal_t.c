// SPDX-License-Identifier: LGPL-2.1-or-later
/* What a transaction does where nothing is cut short: io_journal_crash_t.c is about all else. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "journal_rig.h"
#include "requests.h"
#include "unit.h"

#define BLOCK JRIG_BLOCK
#define BYTES (40 * BLOCK)
#define UNTOUCHED ((struct bufio_device *)&jrig)

static unsigned char data[JRIG_MAX_BYTES];

static int read_through(uint64_t offset, size_t bytes)
{
	memset(data, 0xEE, sizeof(data));
	return requests_transfer(jrig.dev, IO_READ, offset, data, bytes, true);
}

static bool reads_as(const unsigned char *wanted, uint64_t offset, size_t bytes)
{
	return !read_through(offset, bytes) && !memcmp(data, wanted + offset, bytes) && data[bytes] == 0xEE;
}

/* Begins with args that are refused: nothing is made, and the reason is one line that names @name. */
static void refused(const struct io_journal_args *args, int error, const char *name)
{
	struct bufio_device *dev = UNTOUCHED;
	bool had_file = jrig_has_file();

	jrig.why.text[0] = '\0';
	CU_ASSERT_EQUAL(io_journal_begin(jrig.below, args, &jrig.why, &dev), error);
	CU_ASSERT_PTR_EQUAL(dev, UNTOUCHED);
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, name));
	CU_ASSERT_PTR_NULL(strchr(jrig.why.text, '\n'));
	CU_ASSERT_EQUAL(io_journal_begin(jrig.below, args, NULL, &dev), error);
	CU_ASSERT_EQUAL(jrig_has_file(), had_file);
}

/* A replay that is refused writes nothing, and neither does one the other way. */
static void replay_refused(int error)
{
	memcpy(data, jrig_target(), jrig.bytes);
	for (enum io_journal_direction d = IO_JOURNAL_UNDO; d <= IO_JOURNAL_RESUME; d++) {
		jrig.why.text[0] = '\0';
		CU_ASSERT_EQUAL(jrig_replay(d), error);
		CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, jrig.path));
		CU_ASSERT_PTR_NULL(strchr(jrig.why.text, '\n'));
		CU_ASSERT_EQUAL(io_journal_replay(jrig.memory, jrig.path, d, NULL), error);
	}
	CU_ASSERT_EQUAL(memcmp(data, jrig_target(), jrig.bytes), 0);
}

/* --- reads and writes --- */

static void reads_see_writes(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	CU_ASSERT_TRUE(reads_as(jrig.new, 0, BYTES));
	for (uint64_t at = 0; at < BYTES; at += 512)
		CU_ASSERT_TRUE(reads_as(jrig.new, at, 512));
	for (uint64_t at = 0; at < 36 * BLOCK; at += 1536)
		CU_ASSERT_TRUE(reads_as(jrig.new, at, 3 * BLOCK + 512));
	CU_ASSERT_TRUE(jrig_is_old());
	jrig_end();
	jrig_close();
}

static void same_description(void)
{
	jrig_open(BYTES);
	jrig_begin();
	CU_ASSERT_EQUAL(bufio_device_describe(jrig.dev)->size, BYTES);
	CU_ASSERT_EQUAL(bufio_device_describe(jrig.dev)->alignment, bufio_device_describe(jrig.below)->alignment);
	CU_ASSERT_EQUAL(bufio_device_describe(jrig.dev)->read_only, false);
	CU_ASSERT_STRING_EQUAL(bufio_device_describe(jrig.dev)->engine, "memory");
	jrig_end();
	jrig_close();
}

static void passes_on(void)
{
	struct iovec iov[2] = { { data, 1024 }, { data + 8192, 512 } };

	jrig_open(BYTES);
	jrig_begin();
	CU_ASSERT_EQUAL(requests_transfer_iov(jrig.dev, IO_READ, 512, iov, 2, false), 0);
	CU_ASSERT_EQUAL(jrig.nr_log, 1);
	CU_ASSERT_PTR_EQUAL(jrig.log[0].iov, iov);
	jrig_change();
	jrig_forget();
	CU_ASSERT_EQUAL(requests_transfer_iov(jrig.dev, IO_READ, BLOCK, iov, 2, false), 0);
	CU_ASSERT_EQUAL(jrig.nr_log, 1);
	CU_ASSERT_PTR_EQUAL(jrig.log[0].iov, iov);
	CU_ASSERT_TRUE(reads_as(jrig.new, 3 * BLOCK, BLOCK));
	CU_ASSERT_EQUAL(jrig.nr_log, 1);
	jrig_end();
	jrig_close();
}

static void vectors(void)
{
	struct iovec in[4] = { { data, 512 }, { data + 512, 0 }, { data + 1024, 6144 }, { data + 8192, 512 } };
	struct iovec out[4];

	jrig_open(BYTES);
	jrig_begin();
	memset(data, 0x55, sizeof(data));
	memcpy(out, in, sizeof(in));
	CU_ASSERT_EQUAL(requests_transfer_iov(jrig.dev, IO_WRITE, 5 * BLOCK - 1024, out, 4, false), 0);
	memset(jrig.new + 5 * BLOCK - 1024, 0x55, 7168);
	CU_ASSERT_TRUE(reads_as(jrig.new, 0, BYTES));
	memset(data, 0, sizeof(data));
	memcpy(out, in, sizeof(in));
	CU_ASSERT_EQUAL(requests_transfer_iov(jrig.dev, IO_READ, 5 * BLOCK - 1536, out, 4, false), 0);
	CU_ASSERT_EQUAL(data[511], jrig.old[5 * BLOCK - 1025]);
	CU_ASSERT_EQUAL(data[512] | data[1023] | data[7168], 0);
	CU_ASSERT_TRUE(data[1024] == 0x55 && data[7167] == 0x55 && data[8192] == 0x55 && data[8703] == 0x55);
	jrig_end();
	jrig_close();
}

static void behind_the_end(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	CU_ASSERT_EQUAL(read_through(BYTES, 512), -EIO);
	CU_ASSERT_EQUAL(read_through(BYTES - BLOCK, 2 * BLOCK), -EIO);
	CU_ASSERT_EQUAL(read_through(UINT64_MAX - 511, 1024), -EIO);
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, BYTES - BLOCK, data, 2 * BLOCK, true), -EIO);
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, UINT64_MAX - 511, data, 1024, true), -EIO);
	CU_ASSERT_TRUE(reads_as(jrig.new, 0, BYTES));
	jrig_end();
	jrig_close();
}

/* A batch of everything: reads that pass, reads of what was changed, writes. */
static void batch(void)
{
	struct io_request r[40], *p[40], *done[40];
	struct iovec iov[40];
	unsigned seen[40] = { 0 }, got;

	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	for (unsigned i = 0; i < 40; i++) {
		iov[i] = (struct iovec){ data + i * BLOCK, BLOCK };
		r[i] = (struct io_request){ .direction = i % 3 ? IO_READ : IO_WRITE, .offset = i * BLOCK,
					    .iov = iov + i, .nr_iov = 1, .result = 1 };
		p[i] = r + i;
	}
	jrig.dev->ops->submit(jrig.dev, p, 40);
	while ((got = jrig.dev->ops->wait(jrig.dev, done, 7, true)))
		for (unsigned i = 0; i < got; i++)
			seen[done[i] - r] += done[i]->result == 0;
	for (unsigned i = 0; i < 40; i++)
		CU_ASSERT_EQUAL(seen[i], 1);
	CU_ASSERT_EQUAL(jrig.dev->ops->wait(jrig.dev, done, 7, false), 0);
	jrig_end();
	jrig_close();
}

static void nothing_to_flush(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	jrig_forget();
	CU_ASSERT_EQUAL(jrig.dev->ops->flush(jrig.dev), 0);
	CU_ASSERT_EQUAL(jrig.dev->ops->discard(jrig.dev, 0, BLOCK), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(jrig.nr_log, 0);
	jrig.memory->info.size -= BLOCK;
	CU_ASSERT_EQUAL(jrig.dev->ops->refresh(jrig.dev), 0);
	CU_ASSERT_EQUAL(bufio_device_describe(jrig.dev)->size, BYTES - BLOCK);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), -ESTALE);
	jrig.memory->info.size += BLOCK;
	CU_ASSERT_TRUE(jrig_is_old());
	jrig_end();
	jrig_close();
}

static void unreadable(void)
{
	jrig_open(BYTES);
	jrig.plan.kinds = IO_FAULT_READ;
	jrig.plan.bad_begin = 7 * BLOCK;
	jrig.plan.bad_end = 7 * BLOCK + 512;
	jrig_begin();
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, 7 * BLOCK, data, BLOCK, true), -EIO);
	CU_ASSERT_EQUAL(read_through(7 * BLOCK, BLOCK), -EIO);
	jrig_write(8 * BLOCK, BLOCK, 0x08);
	CU_ASSERT_TRUE(reads_as(jrig.new, 8 * BLOCK, BLOCK));
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	CU_ASSERT_TRUE(jrig_is_new());
	jrig_end();
	jrig_close();
}

/* --- begin --- */

static void existing_file(void)
{
	struct io_journal_args args = { .path = jrig.path, .target = "target" };
	struct stat st;

	jrig_open(BYTES);
	jrig_store(&(struct jrig_file){ (unsigned char *)"text", 4 }, 4);
	refused(&args, -EEXIST, jrig.path);
	CU_ASSERT_EQUAL(stat(jrig.path, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 4);
	unlink(jrig.path);
	CU_ASSERT_EQUAL(symlink("nowhere", jrig.path), 0);
	refused(&args, -EEXIST, jrig.path);
	jrig_close();
}

static void no_folder(void)
{
	char path[700];
	struct io_journal_args args = { .path = path, .target = "target" };

	jrig_open(BYTES);
	snprintf(path, sizeof(path), "%s/nowhere/journal", jrig.folder);
	refused(&args, -ENOENT, path);
	jrig_close();
}

static void private_file(void)
{
	struct stat st;

	jrig_open(BYTES);
	jrig_begin();
	CU_ASSERT_EQUAL(stat(jrig.path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	jrig_end();
	jrig_close();
}

static void bad_args(void)
{
	static const uint32_t sizes[] = { 1, 256, 511, 4095, 4097, 12288, 131072, UINT32_MAX };
	struct io_journal_args args = { .path = jrig.path, .target = "target" };

	jrig_open(BYTES);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		args.block_size = sizes[i];
		refused(&args, -EINVAL, "target");
	}
	args.block_size = 512;
	jrig.below->info.alignment = 4096;
	refused(&args, -EINVAL, "target");
	args.block_size = 0;
	jrig.below->info.read_only = true;
	refused(&args, -EROFS, "target");
	jrig_close();
}

static void on_its_target(void)
{
	struct stat folder, target = { .st_mode = S_IFBLK | 0600 };
	struct io_journal_args args = { .path = jrig.path, .target = "target", .stat = &target };

	jrig_open(BYTES);
	CU_ASSERT_EQUAL(stat(jrig.folder, &folder), 0);
	target.st_rdev = folder.st_dev;
	refused(&args, -EXDEV, "target");
	target.st_rdev++;
	CU_ASSERT_EQUAL_FATAL(io_journal_begin(jrig.below, &args, &jrig.why, &jrig.dev), 0);
	jrig_end();
	jrig_close();
}

static void run_command(const char *format, const char *where, const char *what)
{
	char command[1500];

	snprintf(command, sizeof(command), format, where, what);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

/* A made-up sysfs: 7:3 is a loop device over the file `image`, 259:1 its partition; 8:1 is a partition of 8:0. */
static void places(void)
{
	struct stat image, other = { .st_mode = S_IFREG }, disk = { .st_mode = S_IFBLK, .st_rdev = makedev(8, 0) };
	char sys[560], path[600];

	jrig_open(BYTES);
	snprintf(sys, sizeof(sys), "%s/sys", jrig.folder);
	snprintf(path, sizeof(path), "%s/image", jrig.folder);
	run_command("cd %s && mkdir -p sys/loop3/loop sys/loop3/loop3p1 sys/sda/sda1 sys/dev/block && "
		    "cd sys/dev/block && ln -s ../../loop3 7:3 && ln -s ../../loop3/loop3p1 259:1 && ln -s ../../sda 8:0 && "
		    "ln -s ../../sda/sda1 8:1 && echo 8:0 >../../sda/dev && : >'%s'", jrig.folder, path);
	run_command("echo '%s' >%s/loop3/loop/backing_file", path, sys);
	CU_ASSERT_EQUAL(stat(path, &image), 0);
	CU_ASSERT_TRUE(io_is_on(sys, makedev(7, 3), &image));
	CU_ASSERT_TRUE(io_is_on(sys, makedev(259, 1), &image));
	CU_ASSERT_FALSE(io_is_on(sys, makedev(7, 4), &image));
	CU_ASSERT_FALSE(io_is_on(sys, makedev(7, 3), &other));
	CU_ASSERT_TRUE(io_is_on(sys, makedev(8, 0), &disk));
	CU_ASSERT_TRUE(io_is_on(sys, makedev(8, 1), &disk));
	CU_ASSERT_FALSE(io_is_on(sys, makedev(8, 2), &disk));
	CU_ASSERT_FALSE(io_is_on("/nowhere", makedev(8, 1), &disk));
	run_command("rm -rf %s '%s'", sys, path);
	jrig_close();
}

static void abandoned(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	CU_ASSERT_TRUE(jrig_has_file());
	CU_ASSERT_EQUAL(jrig_state(), IO_JOURNAL_BEGUN);
	jrig_forget();
	jrig_end();
	CU_ASSERT_FALSE(jrig_has_file());
	CU_ASSERT_EQUAL(jrig.nr_log, 0);
	CU_ASSERT_TRUE(jrig_is_old());
	CU_ASSERT_EQUAL(requests_transfer(jrig.below, IO_READ, 0, data, BLOCK, true), 0); /* is open */
	jrig_close();
}

static void other_file(void)
{
	jrig_open(BYTES);
	jrig_begin();
	unlink(jrig.path);
	jrig_store(&(struct jrig_file){ (unsigned char *)"text", 4 }, 4);
	jrig_end();
	CU_ASSERT_TRUE(jrig_has_file());
	jrig_close();
}

static void relative_path(void)
{
	struct io_journal_args args = { .path = "journal", .target = "target" };
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	jrig_open(BYTES);
	CU_ASSERT_EQUAL(chdir(jrig.folder), 0);
	CU_ASSERT_EQUAL_FATAL(io_journal_begin(jrig.below, &args, &jrig.why, &jrig.dev), 0);
	CU_ASSERT_EQUAL(fchdir(here), 0);
	CU_ASSERT_TRUE(jrig_has_file());
	jrig_end();
	CU_ASSERT_FALSE(jrig_has_file());
	close(here);
	jrig_close();
}

/* --- limits --- */

static void too_large(void)
{
	struct io_journal_args args = { .path = jrig.path, .target = "target",
					.max_bytes = 16384 + 3 * (2 * BLOCK + 24) };
	struct stat st;

	jrig_open(BYTES);
	CU_ASSERT_EQUAL_FATAL(io_journal_begin(jrig.below, &args, &jrig.why, &jrig.dev), 0);
	for (unsigned i = 1; i <= 3; i++)
		jrig_write(i * BLOCK, BLOCK, 0x40);
	memset(data, 0x41, BLOCK);
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, 4 * BLOCK, data, BLOCK, true), -EFBIG);
	jrig_write(2 * BLOCK, BLOCK, 0x42);
	CU_ASSERT_TRUE(reads_as(jrig.new, 0, BYTES));
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	CU_ASSERT_TRUE(jrig_is_new());
	CU_ASSERT_EQUAL(stat(jrig.path, &st), 0);
	CU_ASSERT_EQUAL((uint64_t)st.st_size, args.max_bytes);
	jrig_end();
	jrig_close();
}

/* The tables begin with 64 slots of 16 bytes, and 1024 places of 4. */
static void too_much_memory(void)
{
	struct io_journal_args args = { .path = jrig.path, .target = "target", .max_memory = 64 * 16 + 1024 * 4 - 1 };

	jrig_open(BYTES);
	for (unsigned is_enough = 0; is_enough < 2; is_enough++, args.max_memory++) {
		CU_ASSERT_EQUAL_FATAL(io_journal_begin(jrig.below, &args, &jrig.why, &jrig.dev), 0);
		memset(data, 0x41, BLOCK);
		CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, 4 * BLOCK, data, BLOCK, true), is_enough ? 0 : -ENOMEM);
		CU_ASSERT_EQUAL(reads_as(jrig.old, 0, BYTES), !is_enough);
		jrig_end();
		CU_ASSERT_TRUE(jrig_is_old());
	}
	jrig_close();
}

/* Files may have @bytes from now on, and no signal comes of it. */
static void limit_files(rlim_t bytes)
{
	struct rlimit l;

	signal(SIGXFSZ, bytes == RLIM_INFINITY ? SIG_DFL : SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = bytes == RLIM_INFINITY ? l.rlim_max : bytes;
	setrlimit(RLIMIT_FSIZE, &l);
}

static void full_disk(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_write(BLOCK, BLOCK, 0x50);
	limit_files(16384 + 2 * BLOCK + BLOCK + 512);
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, 2 * BLOCK, data, BLOCK, true), -EFBIG);
	CU_ASSERT_TRUE(reads_as(jrig.new, 0, BYTES));
	jrig_write(BLOCK, 512, 0x51);
	limit_files(RLIM_INFINITY);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	CU_ASSERT_TRUE(jrig_is_new());
	jrig_end();
	CU_ASSERT_EQUAL(jrig_replay(IO_JOURNAL_UNDO), 0);
	CU_ASSERT_TRUE(jrig_is_old());
	jrig_close();
}

static void full_disk_at_commit(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	jrig_forget();
	limit_files(16384 + 2 * BLOCK);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), -EFBIG);
	limit_files(RLIM_INFINITY);
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, "nothing was written to target"));
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), -EIO);
	CU_ASSERT_EQUAL(jrig.nr_log, 0);
	CU_ASSERT_TRUE(jrig_is_old());
	jrig_end();
	CU_ASSERT_FALSE(jrig_has_file());
	jrig_close();
}

/* An image that cannot be overwritten may be half of each. */
static void half_written(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_write(BLOCK, BLOCK, 0x60);
	limit_files(16384 + BLOCK + 512);
	memset(data, 0x61, BLOCK);
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, BLOCK, data, BLOCK, true), -EFBIG);
	limit_files(RLIM_INFINITY);
	CU_ASSERT_EQUAL(read_through(BLOCK, BLOCK), -EIO);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), -EIO);
	CU_ASSERT_TRUE(jrig_is_old());
	jrig_end();
	CU_ASSERT_FALSE(jrig_has_file());
	jrig_close();
}

/* Blocks of 512 bytes in no order, as many as take several pieces of the table and a larger index. */
static void many_blocks(void)
{
	enum { NR = 3001, PRIME = 1009, SIZE = 512 };
	struct io_journal_args args = { .path = jrig.path, .target = "target", .block_size = SIZE };
	struct bufio_device *target;
	unsigned char *bytes, block[SIZE];
	unsigned bad = 0;

	jrig_open(BYTES);
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(NR * SIZE, &target), 0);
	bytes = io_mem_data(target);
	CU_ASSERT_EQUAL_FATAL(io_journal_begin(target, &args, &jrig.why, &jrig.dev), 0);
	for (unsigned i = 0; i < NR; i++) {
		uint64_t n = i * PRIME % NR;

		memset(block, (int)(n % 255 + 1), SIZE);
		bad += requests_transfer(jrig.dev, IO_WRITE, n * SIZE, block, SIZE, true) != 0;
	}
	for (unsigned i = 0; i < NR; i++)
		bad += requests_transfer(jrig.dev, IO_READ, i * SIZE, block, SIZE, true) || block[9] != i % 255 + 1;
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	jrig_end();
	for (unsigned i = 0; i < NR; i++)
		bad += bytes[i * SIZE + 511] != i % 255 + 1;
	CU_ASSERT_EQUAL(io_journal_replay(target, jrig.path, IO_JOURNAL_UNDO, &jrig.why), 0);
	for (unsigned i = 0; i < NR * SIZE; i++)
		bad += bytes[i] != 0;
	CU_ASSERT_EQUAL(bad, 0);
	bufio_device_close(target);
	jrig_close();
}

/* --- commit --- */

static void commits(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	CU_ASSERT_TRUE(jrig_is_old());
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	CU_ASSERT_TRUE(jrig_is_new());
	CU_ASSERT_TRUE(reads_as(jrig.new, 0, BYTES));
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, 0, data, BLOCK, true), -EROFS);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), -EINVAL);
	jrig_end();
	CU_ASSERT_TRUE(jrig_is_new());
	CU_ASSERT_EQUAL(jrig_state(), IO_JOURNAL_DONE);
	jrig_close();
}

static unsigned find_op(unsigned from, bool is_flush, bool is_read)
{
	while (from < jrig.nr_log && (jrig.log[from].is_flush != is_flush || jrig.log[from].is_read != is_read))
		from++;
	return from;
}

/* Writes in rising order without block 0, flush, block 0, flush, then reads. */
static void check_order(void)
{
	unsigned flush = find_op(0, true, false), i;

	for (i = 0; i < flush; i++) {
		CU_ASSERT_TRUE(!jrig.log[i].is_read && jrig.log[i].offset >= BLOCK);
		CU_ASSERT_TRUE(!i || jrig.log[i].offset >= jrig.log[i - 1].offset + jrig.log[i - 1].bytes);
	}
	CU_ASSERT_FATAL(flush + 2 < jrig.nr_log);
	CU_ASSERT_TRUE(!jrig.log[flush + 1].is_read && !jrig.log[flush + 1].is_flush);
	CU_ASSERT_TRUE(jrig.log[flush + 1].offset == 0 && jrig.log[flush + 1].bytes == BLOCK);
	CU_ASSERT_TRUE(jrig.log[flush + 2].is_flush);
	for (i = flush + 3; i < jrig.nr_log; i++)
		CU_ASSERT_TRUE(jrig.log[i].is_read);
}

static void order(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	jrig_forget();
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	check_order();
	CU_ASSERT_EQUAL(jrig.log[0].offset, 3 * BLOCK);
	CU_ASSERT_EQUAL(jrig.log[0].bytes, 4 * BLOCK); /* neighbours, whenever they were changed */
	jrig_end();
	jrig_close();
}

static void order_of_undo(void)
{
	unsigned nr_reads;

	jrig_open(BYTES);
	jrig_commit();
	jrig_forget();
	CU_ASSERT_EQUAL(io_journal_replay(jrig.below, jrig.path, IO_JOURNAL_UNDO, &jrig.why), 0);
	nr_reads = find_op(0, false, false);
	CU_ASSERT_EQUAL(nr_reads, JRIG_NR_CHANGED);
	while (nr_reads--) {
		free(jrig.log[0].data);
		memmove(jrig.log, jrig.log + 1, --jrig.nr_log * sizeof(*jrig.log));
	}
	check_order();
	jrig_close();
}

/* The journal says that it is committed before the target is written. */
static void expect_committed(void)
{
	CU_ASSERT_EQUAL(jrig_state(), IO_JOURNAL_COMMITTED);
}

static void journal_first(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	jrig.on_write = expect_committed;
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	CU_ASSERT_PTR_NULL(jrig.on_write);
	jrig_end();
	jrig.on_write = expect_committed;
	CU_ASSERT_EQUAL(io_journal_replay(jrig.below, jrig.path, IO_JOURNAL_UNDO, &jrig.why), 0);
	CU_ASSERT_PTR_NULL(jrig.on_write);
	jrig_close();
}

static void unchanged(void)
{
	struct io_journal_status st;
	struct stat file;

	jrig_open(BYTES);
	jrig_begin();
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, 5 * BLOCK, jrig.old + 5 * BLOCK, BLOCK, true), 0);
	CU_ASSERT_EQUAL(stat(jrig.path, &file), 0);
	CU_ASSERT_EQUAL(file.st_size, 16384); /* no room taken either */
	jrig_write(7 * BLOCK, BLOCK, 0x70);
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, 7 * BLOCK, jrig.old + 7 * BLOCK, BLOCK, true), 0);
	memcpy(jrig.new, jrig.old, BYTES);
	jrig_write(9 * BLOCK, BLOCK, 0x71);
	jrig_forget();
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	CU_ASSERT_TRUE(jrig_is_new());
	jrig_end();
	for (unsigned i = 0; i < jrig.nr_log; i++)
		CU_ASSERT_TRUE(jrig.log[i].is_flush || jrig.log[i].offset == 9 * BLOCK);
	CU_ASSERT_EQUAL(io_journal_status(jrig.path, &st, &jrig.why), 0);
	CU_ASSERT_EQUAL(st.nr_blocks, 1);
	jrig_close();
}

static void nothing_changed(void)
{
	jrig_open(BYTES);
	jrig_begin();
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	jrig_end();
	CU_ASSERT_EQUAL(jrig_replay(IO_JOURNAL_UNDO), 0);
	CU_ASSERT_EQUAL(jrig_replay(IO_JOURNAL_RESUME), 0);
	CU_ASSERT_TRUE(jrig_is_old());
	jrig_close();
}

/* The last block is a part of one. */
static void odd_size(void)
{
	jrig_open(10 * BLOCK + 1536);
	jrig_begin();
	jrig_write(10 * BLOCK + 512, 1024, 0x10);
	jrig_write(8 * BLOCK, 2 * BLOCK, 0x08);
	CU_ASSERT_TRUE(reads_as(jrig.new, 7 * BLOCK, 3 * BLOCK + 1536));
	CU_ASSERT_EQUAL(read_through(10 * BLOCK, 2048), -EIO);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	CU_ASSERT_TRUE(jrig_is_new());
	jrig_end();
	CU_ASSERT_EQUAL(jrig_replay(IO_JOURNAL_UNDO), 0);
	CU_ASSERT_TRUE(jrig_is_old());
	jrig_close();
}

static void read_back(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	jrig.lie_at = 12 * BLOCK + 100;
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), -EIO);
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, "block 12 "));
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, "resume or undo with"));
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, jrig.path));
	CU_ASSERT_TRUE(reads_as(jrig.new, 0, BYTES));
	jrig_end();
	CU_ASSERT_EQUAL(jrig_state(), IO_JOURNAL_COMMITTED);
	jrig.lie_at = 0;
	jrig_target()[12 * BLOCK + 100] = jrig.new[12 * BLOCK + 100];
	CU_ASSERT_EQUAL(jrig_replay(IO_JOURNAL_RESUME), 0);
	CU_ASSERT_TRUE(jrig_is_new());
	jrig_close();
}

/* --- undo and resume --- */

static void undo(void)
{
	jrig_open(BYTES);
	jrig_commit();
	CU_ASSERT_EQUAL(jrig_replay(IO_JOURNAL_UNDO), 0);
	CU_ASSERT_TRUE(jrig_is_old());
	CU_ASSERT_EQUAL(jrig_state(), IO_JOURNAL_UNDONE);
	jrig_close();
}

static void to_and_fro(void)
{
	static const bool to_new[] = { false, true, true, false, false, true, false };

	jrig_open(BYTES);
	jrig_commit();
	for (unsigned i = 0; i < sizeof(to_new); i++) {
		CU_ASSERT_EQUAL(jrig_replay(to_new[i] ? IO_JOURNAL_RESUME : IO_JOURNAL_UNDO), 0);
		CU_ASSERT_TRUE(to_new[i] ? jrig_is_new() : jrig_is_old());
		CU_ASSERT_EQUAL(jrig_state(), to_new[i] ? IO_JOURNAL_DONE : IO_JOURNAL_UNDONE);
	}
	jrig_close();
}

static void changed_target(void)
{
	static const uint64_t places[] = { 100, 4 * BLOCK, 9 * BLOCK, 30 * BLOCK + 4095 };

	jrig_open(BYTES);
	jrig_commit();
	for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
		jrig_target()[places[i]] ^= 0x80;
		replay_refused(-ESTALE);
		jrig_target()[places[i]] ^= 0x80;
	}
	CU_ASSERT_EQUAL(jrig_state(), IO_JOURNAL_DONE);
	jrig_target()[35 * BLOCK] ^= 0x80; /* a block of which the journal knows nothing */
	CU_ASSERT_EQUAL(jrig_replay(IO_JOURNAL_UNDO), 0);
	jrig_close();
}

/* A half of each is what a crash leaves. Of one that was all written it means that somebody else wrote. */
static void torn_block(void)
{
	jrig_open(BYTES);
	jrig_commit();
	memcpy(jrig_target() + 12 * BLOCK, jrig.old + 12 * BLOCK, 1024);
	replay_refused(-ESTALE);
	jrig_close();
}

static void other_size(void)
{
	struct bufio_device *other;

	jrig_open(BYTES);
	jrig_commit();
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(BYTES + BLOCK, &other), 0);
	memcpy(io_mem_data(other), jrig.new, BYTES);
	CU_ASSERT_EQUAL(io_journal_replay(other, jrig.path, IO_JOURNAL_UNDO, &jrig.why), -ENODEV);
	CU_ASSERT_EQUAL(memcmp(io_mem_data(other), jrig.new, BYTES), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, jrig.path));
	bufio_device_close(other);
	jrig_close();
}

static void unfit_target(void)
{
	jrig_open(BYTES);
	jrig_commit();
	jrig.memory->info.read_only = true;
	replay_refused(-EROFS);
	jrig.memory->info.read_only = false;
	jrig.memory->info.alignment = 8192;
	replay_refused(-EINVAL);
	jrig_close();
}

static void not_committed(void)
{
	struct jrig_file f;

	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	replay_refused(-EBUSY);
	jrig_load(&f);
	jrig_end();
	jrig_store(&f, f.size);
	CU_ASSERT_EQUAL(jrig_state(), IO_JOURNAL_BEGUN);
	replay_refused(-ENODATA);
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, "nothing was written"));
	jrig_free(&f);
	jrig_close();
}

static void status_refused(int error)
{
	static struct io_journal_status st;

	st.nr_blocks = 77;
	CU_ASSERT_EQUAL(io_journal_status(jrig.path, &st, &jrig.why), error);
	CU_ASSERT_EQUAL(io_journal_status(jrig.path, &st, NULL), error);
	CU_ASSERT_EQUAL(st.nr_blocks, 77);
}

static void not_a_journal(void)
{
	struct jrig_file f = { data, 20000 };

	jrig_open(BYTES);
	replay_refused(-ENOENT);
	status_refused(-ENOENT);
	memset(data, 'x', sizeof(data));
	for (f.size = 0; f.size <= 20000; f.size += 5000) {
		jrig_store(&f, f.size);
		replay_refused(-EINVAL);
		status_refused(-EINVAL);
		memset(data, 'x', sizeof(data));
	}
	unlink(jrig.path);
	CU_ASSERT_EQUAL(mkfifo(jrig.path, 0600), 0);
	replay_refused(-EINVAL);
	status_refused(-EINVAL);
	unlink(jrig.path);
	CU_ASSERT_EQUAL(mkdir(jrig.path, 0700), 0);
	replay_refused(-EISDIR);
	status_refused(-EINVAL);
	CU_ASSERT_EQUAL(rmdir(jrig.path), 0);
	jrig_close();
}

static void status(void)
{
	static struct io_journal_status st;
	struct stat target = { .st_mode = S_IFREG, .st_dev = 0x801, .st_ino = 1234, .st_rdev = 0 };
	struct io_journal_args args = { .path = jrig.path, .target = "/dev/pool", .stat = &target };

	jrig_open(BYTES);
	CU_ASSERT_EQUAL_FATAL(io_journal_begin(jrig.below, &args, &jrig.why, &jrig.dev), 0);
	jrig_change();
	CU_ASSERT_EQUAL(io_journal_status(jrig.path, &st, &jrig.why), 0);
	CU_ASSERT_TRUE(st.state == IO_JOURNAL_BEGUN && !st.nr_blocks);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	CU_ASSERT_EQUAL(io_journal_status(jrig.path, &st, &jrig.why), 0);
	CU_ASSERT_EQUAL(st.state, IO_JOURNAL_DONE);
	CU_ASSERT_EQUAL(st.nr_blocks, JRIG_NR_CHANGED);
	CU_ASSERT_EQUAL(st.block_size, BLOCK);
	CU_ASSERT_EQUAL(st.target_size, BYTES);
	CU_ASSERT_TRUE(st.target_dev == 0x801 && st.target_ino == 1234 && st.target_rdev == 0);
	CU_ASSERT_STRING_EQUAL(st.target, "/dev/pool");
	jrig_end();
	jrig_close();
}

static void long_name(void)
{
	static struct io_journal_status st;
	static char name[6000];
	struct io_journal_args args = { .path = jrig.path, .target = name };

	jrig_open(BYTES);
	memset(name, 'n', sizeof(name) - 1);
	CU_ASSERT_EQUAL_FATAL(io_journal_begin(jrig.below, &args, &jrig.why, &jrig.dev), 0);
	jrig_change();
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	jrig_end();
	CU_ASSERT_EQUAL(io_journal_status(jrig.path, &st, &jrig.why), 0);
	CU_ASSERT_EQUAL(strlen(st.target), sizeof(st.target) - 1);
	CU_ASSERT_EQUAL(jrig_replay(IO_JOURNAL_UNDO), 0);
	jrig_close();
}

/* --- threads --- */

#define NR_ROUNDS 8

static struct bufio_device *begin_on_file(const char *engine, int *fd)
{
	struct io_journal_args args = { .path = jrig.path, .target = "target" };
	struct bufio_device *file = requests_open_file(engine, MAX_REQUESTS * 1024, fd);
	CU_ASSERT_EQUAL_FATAL(io_journal_begin(file, &args, &jrig.why, &jrig.dev), 0);
	return file;
}

/* Requests are a quarter of a block each, so that every block is several threads'. */
static void write_and_read(const char *engine)
{
	int fd;
	struct bufio_device *file = begin_on_file(engine, &fd);

	requests_prepare(IO_WRITE, MAX_REQUESTS, 1024);
	requests_run_threads(jrig.dev);
	CU_ASSERT_EQUAL(requests_count_bad(), 0);
	requests_prepare(IO_READ, MAX_REQUESTS, 1024);
	requests_run_threads(jrig.dev);
	CU_ASSERT_EQUAL(requests_count_bad(), 0);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	jrig_end();
	requests_prepare(IO_READ, MAX_REQUESTS, 1024);
	requests_run_threads(file);
	CU_ASSERT_EQUAL(requests_count_bad(), 0);
	requests_close_file(file, fd);
	unlink(jrig.path);
}

/* Two threads read what is not changed, and two change something. */
static void write_beside_reads(const char *engine)
{
	int fd;
	struct bufio_device *file = begin_on_file(engine, &fd);

	requests_prepare(IO_WRITE, MAX_REQUESTS, 1024);
	requests_submit(file, 0, MAX_REQUESTS / 2);
	requests_take_all(file, 9);
	requests_prepare(IO_WRITE, MAX_REQUESTS, 1024);
	for (unsigned i = 0; i < MAX_REQUESTS / 2; i++) {
		requests[i].request.direction = IO_READ;
		memset(requests[i].data, 0, sizeof(requests[i].data));
	}
	requests_run_threads(jrig.dev);
	CU_ASSERT_EQUAL(requests_count_bad(), 0);
	jrig_end();
	requests_close_file(file, fd);
}

static void threads(void)
{
	jrig_open(BYTES);
	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		write_and_read(i % 2 ? "threads" : "auto");
		write_beside_reads(i % 2 ? "threads" : "auto");
	}
	jrig_close();
}

/* --- plans, and what changed --- */

struct changes {
	unsigned nr, wrong, stop_at; /* stop_at: the change that ends it; 0: none */
	uint64_t last;
};

static int note_change(void *context, uint64_t block, const void *old, const void *new)
{
	struct changes *c = context;

	c->wrong += c->nr && block <= c->last;
	c->wrong += memcmp(old, jrig.old + block * BLOCK, BLOCK) != 0 || memcmp(new, jrig.new + block * BLOCK, BLOCK) != 0 ||
		    !memcmp(old, new, BLOCK);
	c->last = block;
	return ++c->nr == c->stop_at ? 77 : 0;
}

static void tells_changes(void)
{
	struct changes all = { 0 }, some = { .stop_at = 3 }, none = { 0 };

	jrig_open(BYTES);
	jrig_begin();
	CU_ASSERT_EQUAL(io_journal_for_each_change(jrig.dev, note_change, &none), 0);
	CU_ASSERT_EQUAL(none.nr, 0);
	jrig_change();
	CU_ASSERT_EQUAL(io_journal_for_each_change(jrig.dev, note_change, &all), 0);
	CU_ASSERT_EQUAL(all.nr, JRIG_NR_CHANGED);
	CU_ASSERT_EQUAL(all.wrong, 0);
	CU_ASSERT_EQUAL(io_journal_for_each_change(jrig.dev, note_change, &some), 77);
	CU_ASSERT_EQUAL(some.nr, 3);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, NULL), 0);
	CU_ASSERT_EQUAL(io_journal_for_each_change(jrig.dev, note_change, &all), -EINVAL);
	CU_ASSERT_EQUAL(all.nr, JRIG_NR_CHANGED);
	jrig_end();
	jrig_close();
}

/* Of a target that is open for reading only, in a folder of its own. */
static void plans(void)
{
	struct io_journal_args args = { .target = "target" };
	struct changes all = { 0 };

	jrig_open(BYTES);
	CU_ASSERT_EQUAL(setenv("TMPDIR", jrig.folder, 1), 0);
	jrig.below->info.read_only = true;
	CU_ASSERT_EQUAL_FATAL(io_journal_begin(jrig.below, &args, &jrig.why, &jrig.dev), 0);
	CU_ASSERT_FALSE(bufio_device_describe(jrig.dev)->read_only);
	jrig_change();
	CU_ASSERT_TRUE(reads_as(jrig.new, 0, BYTES));
	CU_ASSERT_EQUAL(io_journal_for_each_change(jrig.dev, note_change, &all), 0);
	CU_ASSERT_EQUAL(all.nr, JRIG_NR_CHANGED);
	CU_ASSERT_EQUAL(all.wrong, 0);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, "nothing was written"));
	CU_ASSERT_TRUE(jrig_is_old());
	jrig_end();
	CU_ASSERT_EQUAL(rmdir(jrig.folder), 0); /* nothing was left in it */
	CU_ASSERT_EQUAL(mkdir(jrig.folder, 0700), 0);
	jrig.below->info.read_only = false;
	jrig_close();
}

static void no_place_for_plans(void)
{
	struct io_journal_args args = { .target = "target" };
	struct bufio_device *dev = UNTOUCHED;

	jrig_open(BYTES);
	CU_ASSERT_EQUAL(setenv("TMPDIR", "/nowhere", 1), 0);
	CU_ASSERT_EQUAL(io_journal_begin(jrig.below, &args, &jrig.why, &dev), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, "/nowhere"));
	CU_ASSERT_PTR_EQUAL(dev, UNTOUCHED);
	jrig_close();
}

/* $TMPDIR is everybody's. */
static void with_tmpdir(void (*test)(void))
{
	char *before = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;

	test();
	if (before)
		setenv("TMPDIR", before, 1);
	else
		unsetenv("TMPDIR");
	free(before);
}

static void no_room_for_plans(void)
{
	struct io_journal_args args = { .target = "target" };
	struct bufio_device *dev = NULL;

	jrig_open(BYTES);
	setenv("TMPDIR", jrig.folder, 1);
	limit_files(100);
	CU_ASSERT_EQUAL(io_journal_begin(jrig.below, &args, &jrig.why, &dev), -EFBIG);
	limit_files(RLIM_INFINITY);
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, jrig.folder));
	CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, "a file for the plan cannot be written there"));
	CU_ASSERT_PTR_NULL(dev);
	jrig_close();
}

static void plan_without_room(void)
{
	with_tmpdir(no_room_for_plans);
}

static void plan_is_a_plan(void)
{
	with_tmpdir(plans);
}

static void plan_without_place(void)
{
	with_tmpdir(no_place_for_plans);
}

static const struct unit_case cases[] = {
	{ "reads see what was written, whole blocks and parts, and the target is as it was", reads_see_writes },
	{ "it looks like the device below", same_description },
	{ "a read of unchanged blocks goes through as it is, and one of changed blocks asks nobody below", passes_on },
	{ "vectors are filled and emptied in their order, across blocks", vectors },
	{ "what ends behind the end is EIO, and changes nothing", behind_the_end },
	{ "requests of a mixed batch come back once each", batch },
	{ "flush has nothing to do, discard cannot be had, a new size is seen above, and refuses the commit",
	  nothing_to_flush },
	{ "a block whose old image cannot be read cannot be written, and others can", unreadable },
	{ "a file that is there is refused, and left alone", existing_file },
	{ "a folder that is not there is refused", no_folder },
	{ "the journal is its owner's", private_file },
	{ "a block size that is none is refused, and so is a target that cannot do it or is read-only", bad_args },
	{ "a journal that would lie on its own target is refused, and not made", on_its_target },
	{ "a file system is on a device, on a partition of it, or on a loop device that shows a file", places },
	{ "an abandoned transaction leaves the target as it was and open, and no journal", abandoned },
	{ "another file that took the journal's name stays", other_file },
	{ "a relative path is of where the transaction was begun", relative_path },
	{ "a write past the journal's limit is EFBIG, and the transaction goes on with what it has", too_large },
	{ "a write that the tables have no memory for is ENOMEM", too_much_memory },
	{ "a write that the journal has no room for fails alone", full_disk },
	{ "a commit that the journal has no room for writes nothing, and the journal goes", full_disk_at_commit },
	{ "after an image was half written there is no commit", half_written },
	{ "3001 blocks in no order are committed and undone", many_blocks },
	{ "a commit makes the target new; reads go on, and writes and another commit are refused", commits },
	{ "a commit writes in rising order, flushes, writes block 0, flushes, and reads back", order },
	{ "so does an undo, after it has read", order_of_undo },
	{ "the journal says that it is committed before the target is written, at a commit and at an undo",
	  journal_first },
	{ "a block that is as it was is not written, and has no record", unchanged },
	{ "a transaction without a change can be committed, undone and resumed", nothing_changed },
	{ "a last block that is a part of one is changed and undone like others", odd_size },
	{ "a target that does not hold what was written is EIO, and the reason says what to do", read_back },
	{ "undo makes the target what it was, bit for bit", undo },
	{ "undo and resume may be done again, and in turns", to_and_fro },
	{ "a target that was changed since is ESTALE, and nothing is written", changed_target },
	{ "a block that is a part of each is ESTALE where nothing was cut short", torn_block },
	{ "a target of another size is refused", other_size },
	{ "a target that is read-only, or cannot do the block size, is refused", unfit_target },
	{ "a journal that is in use is refused, and one that was never committed", not_committed },
	{ "what is not a journal is refused, without waiting for a FIFO", not_a_journal },
	{ "status says what a journal is of, how many blocks it changes, and how far it is", status },
	{ "a target's name is cut off where it is too long", long_name },
	{ "changes are told in rising order, with both images, until one is not 0", tells_changes },
	{ "a plan is for a target that may be read only, cannot be committed, and leaves nothing behind", plan_is_a_plan },
	{ "a plan has no place in a folder that is not there", plan_without_place },
	{ "a plan that has no room says where", plan_without_room },
	{ "four threads write and read through it, and each request comes back once", threads },
	{ NULL, NULL },
};

const struct unit_suite io_journal_suite = { "io_journal", cases };
