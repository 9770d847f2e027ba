// SPDX-License-Identifier: LGPL-2.1-or-later
#include "journal_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "requests.h"

struct jrig jrig;

/* --- the spy --- */

struct spy_device {
	struct bufio_device dev;
	struct bufio_device *below;
};

static struct bufio_device *below_spy(struct bufio_device *dev)
{
	return ((struct spy_device *)dev)->below;
}

static struct jrig_op *log_op(void)
{
	CU_ASSERT_FATAL(jrig.nr_log < JRIG_LOG);
	return jrig.log + jrig.nr_log++;
}

static unsigned char *copy_of(const struct io_request *r, uint64_t *bytes)
{
	unsigned char *data, *to;

	*bytes = 0;
	for (unsigned i = 0; i < r->nr_iov; i++)
		*bytes += r->iov[i].iov_len;
	to = data = malloc(*bytes + 1);
	for (unsigned i = 0; i < r->nr_iov; to += r->iov[i++].iov_len)
		if (r->iov[i].iov_len)
			memcpy(to, r->iov[i].iov_base, r->iov[i].iov_len);
	return data;
}

static void log_request(const struct io_request *r)
{
	struct jrig_op *op = log_op();

	*op = (struct jrig_op){ .is_read = r->direction == IO_READ, .offset = r->offset, .iov = r->iov };
	op->data = copy_of(r, &op->bytes);
	if (!op->is_read && jrig.on_write) {
		void (*on_write)(void) = jrig.on_write;

		jrig.on_write = NULL;
		on_write();
	}
}

static void lie(void)
{
	if (jrig.lie_at)
		jrig_target()[jrig.lie_at] ^= 1;
}

static void spy_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		bool is_write = requests[i]->direction == IO_WRITE;

		log_request(requests[i]);
		below_spy(dev)->ops->submit(below_spy(dev), requests + i, 1);
		if (is_write)
			lie();
	}
}

static unsigned spy_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	return below_spy(dev)->ops->wait(below_spy(dev), done, max, block);
}

static int spy_flush(struct bufio_device *dev)
{
	*log_op() = (struct jrig_op){ .is_flush = true };
	return below_spy(dev)->ops->flush(below_spy(dev));
}

static int spy_refresh(struct bufio_device *dev)
{
	dev->info.size = below_spy(dev)->info.size;
	return 0;
}

static int spy_close(struct bufio_device *dev)
{
	int r = bufio_device_close(below_spy(dev));

	free(dev);
	return r;
}

static const struct io_ops spy_ops = {
	.submit = spy_submit,
	.wait = spy_wait,
	.flush = spy_flush,
	.refresh = spy_refresh,
	.close = spy_close,
};

static struct bufio_device *open_spy(struct bufio_device *below)
{
	struct spy_device *s = calloc(1, sizeof(*s));

	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	s->dev.ops = &spy_ops;
	s->dev.info = below->info;
	s->below = below;
	return &s->dev;
}

void jrig_forget(void)
{
	while (jrig.nr_log) {
		struct jrig_op *op = jrig.log + --jrig.nr_log;

		free(op->data);
		op->data = NULL;
	}
}

/* --- target and folder --- */

/* Thousands of fsyncs are wanted for what they return: memory is good enough, where nobody says otherwise. */
static const char *folder(void)
{
	const char *dir = getenv("TMPDIR");

	return dir ? dir : !access("/dev/shm", W_OK) ? "/dev/shm" : "/tmp";
}

void jrig_open(uint64_t bytes)
{
	memset(&jrig, 0, sizeof(jrig));
	CU_ASSERT_FATAL(bytes <= JRIG_MAX_BYTES);
	jrig.bytes = bytes;
	snprintf(jrig.folder, sizeof(jrig.folder), "%s/unitXXXXXX", folder());
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(jrig.folder));
	snprintf(jrig.path, sizeof(jrig.path), "%s/journal", jrig.folder);
	for (uint64_t i = 0; i < bytes; i++)
		jrig.old[i] = (unsigned char)(i / JRIG_BLOCK * 7 + i % 251);
	memcpy(jrig.new, jrig.old, bytes);
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(bytes, &jrig.memory), 0);
	jrig_set_target(jrig.old);
	jrig.plan.error = EIO;
	CU_ASSERT_EQUAL_FATAL(io_fault_open(open_spy(jrig.memory), &jrig.plan, &jrig.below), 0);
}

void jrig_close(void)
{
	CU_ASSERT_PTR_NULL(jrig.dev);
	bufio_device_close(jrig.below);
	jrig_forget();
	unlink(jrig.path);
	CU_ASSERT_EQUAL(rmdir(jrig.folder), 0);
}

unsigned char *jrig_target(void)
{
	return io_mem_data(jrig.memory);
}

bool jrig_is_old(void)
{
	return !memcmp(jrig_target(), jrig.old, jrig.bytes);
}

bool jrig_is_new(void)
{
	return !memcmp(jrig_target(), jrig.new, jrig.bytes);
}

void jrig_set_target(const unsigned char *data)
{
	memcpy(jrig_target(), data, jrig.bytes);
}

/* --- transactions --- */

void jrig_begin(void)
{
	struct io_journal_args args = { .path = jrig.path, .target = "target" };

	CU_ASSERT_EQUAL_FATAL(io_journal_begin(jrig.below, &args, &jrig.why, &jrig.dev), 0);
}

void jrig_end(void)
{
	CU_ASSERT_EQUAL(bufio_device_close(jrig.dev), 0);
	jrig.dev = NULL;
}

void jrig_write(uint64_t offset, size_t bytes, int value)
{
	memset(jrig.new + offset, value, bytes);
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, offset, jrig.new + offset, bytes, true), 0);
}

void jrig_change(void)
{
	jrig_write(20 * JRIG_BLOCK, JRIG_BLOCK, 0x20);
	jrig_write(3 * JRIG_BLOCK, 3 * JRIG_BLOCK, 0x03);
	jrig_write(0, JRIG_BLOCK, 0x11);
	jrig_write(9 * JRIG_BLOCK + 512, 1024, 0x09);
	jrig_write(12 * JRIG_BLOCK, JRIG_BLOCK, 0x12);
	jrig_write(12 * JRIG_BLOCK, 2048, 0x13);
	jrig_write(30 * JRIG_BLOCK - 512, 1024, 0x30);
	jrig_write(17 * JRIG_BLOCK, JRIG_BLOCK, 0x17);
	jrig_write(6 * JRIG_BLOCK, JRIG_BLOCK, 0x06);
	memcpy(jrig.new + 17 * JRIG_BLOCK, jrig.old + 17 * JRIG_BLOCK, JRIG_BLOCK);
	CU_ASSERT_EQUAL(requests_transfer(jrig.dev, IO_WRITE, 17 * JRIG_BLOCK, jrig.new + 17 * JRIG_BLOCK, JRIG_BLOCK,
					  true), 0);
	jrig_write(25 * JRIG_BLOCK, JRIG_BLOCK, 0x25);
}

void jrig_commit(void)
{
	jrig_begin();
	jrig_change();
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	jrig_end();
}

int jrig_replay(enum io_journal_direction direction)
{
	return io_journal_replay(jrig.memory, jrig.path, direction, &jrig.why);
}

enum io_journal_state jrig_state(void)
{
	static struct io_journal_status st;

	CU_ASSERT_EQUAL(io_journal_status(jrig.path, &st, &jrig.why), 0);
	return st.state;
}

/* --- the file --- */

bool jrig_has_file(void)
{
	return !access(jrig.path, F_OK);
}

void jrig_load(struct jrig_file *f)
{
	int fd = open(jrig.path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	CU_ASSERT_FATAL(fd >= 0 && !fstat(fd, &st));
	f->size = (size_t)st.st_size;
	f->data = malloc(f->size);
	CU_ASSERT_EQUAL(read(fd, f->data, f->size), (ssize_t)f->size);
	close(fd);
}

void jrig_store(const struct jrig_file *f, size_t size)
{
	int fd = open(jrig.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, f->data, size), (ssize_t)size);
	/* Not before: some file systems flush such a file at its close. */
	CU_ASSERT_EQUAL(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

void jrig_free(struct jrig_file *f)
{
	free(f->data);
}
