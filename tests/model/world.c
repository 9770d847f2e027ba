// SPDX-License-Identifier: LGPL-2.1-or-later
/* The device, the client, and the locks of the test. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model.h"

struct world w;

/* --- device --- */

/* The last block is incomplete, unless blocks are no larger than a sector. */
static unsigned tail_bytes(void)
{
	return w.config.block_size > 512 ? 512 : 0;
}

static uint64_t device_bytes(void)
{
	return (uint64_t)NR_BLOCKS * w.config.block_size + tail_bytes();
}

static struct bufio_device *open_file(void)
{
	const char *dir = getenv("TMPDIR");
	char path[4096];
	struct bufio_reason why;
	struct bufio_device *dev;
	int r;

	snprintf(path, sizeof(path), "%s/bufio-model.XXXXXX", dir && *dir ? dir : "/tmp");
	w.fd = mkstemp(path);
	if (w.fd < 0 || ftruncate(w.fd, (off_t)device_bytes()))
		fail("%s: %s", path, strerror(errno));
	r = bufio_device_open(path, BUFIO_OPEN_WRITE | BUFIO_OPEN_BUFFERED, w.config.engine, &why, &dev);
	unlink(path);
	if (!r)
		return dev;
	printf("# %s\n", why.text);
	exit(77);
}

static void open_device(void)
{
	int r = 0;

	w.fd = -1;
	if (!strcmp(w.config.engine, "memory"))
		r = bufio_device_open_memory(device_bytes(), &w.below);
	else
		w.below = open_file();
	if (!r)
		r = io_fault_open(w.below, &w.plan, &w.dev);
	if (r)
		fail("opening the device: %s", strerror(-r));
}

static const unsigned char *device_data(uint64_t offset, size_t nr, unsigned char *room)
{
	if (w.fd < 0)
		return (unsigned char *)io_mem_data(w.below) + offset;
	if (pread(w.fd, room, nr, (off_t)offset) != (ssize_t)nr)
		fail("pread at %" PRIu64 ": %s", offset, strerror(errno));
	return room;
}

const unsigned char *device_block(uint64_t block, unsigned char *room)
{
	return device_data(block * w.config.block_size, w.config.block_size, room);
}

/* Nobody may have written behind the last whole block. */
void check_tail(void)
{
	unsigned char room[512];
	const unsigned char *data = device_data((uint64_t)NR_BLOCKS * w.config.block_size, tail_bytes(), room);

	for (unsigned i = 0; i < tail_bytes(); i++)
		if (data[i])
			fail("something was written behind the last whole block");
}

/* --- client --- */

static void clear_aux(struct bufio_buffer *b)
{
	*(uint64_t *)bufio_get_aux_data(b) = 0;
}

static void on_report(void *context, enum bufio_report what, uint64_t block, int error)
{
	if (context != &w || what != BUFIO_REPORT_WRITE_ERROR || block >= NR_BLOCKS)
		fail("report %d of block %" PRIu64 ", error %d", (int)what, block, error);
	expect_injected("reported", -error);
	atomic_fetch_add(&w.reports, 1);
}

void note_limit(uint64_t bytes)
{
	uint64_t most = atomic_load(&w.max_limit);

	while (most < bytes && !atomic_compare_exchange_weak(&w.max_limit, &most, bytes))
		;
}

static void must(const char *what, int r)
{
	if (r)
		fail("%s: %s", what, strerror(-r));
}

void client_open(void)
{
	uint64_t limit;

	w.c = bufio_client_create(w.dev, w.config.block_size, RESERVED, sizeof(uint64_t), clear_aux,
				  w.config.callback ? seal : NULL);
	if (!w.c)
		fail("bufio_client_create: %s", strerror(errno));
	bufio_set_report(w.c, on_report, &w);
	atomic_store(&w.reports, 0);
	must("minimum", bufio_set_minimum_buffers(w.c, MAX_MINIMUM));
	w.most_minimum_limit = bufio_get_memory_floor(w.c);
	must("minimum", bufio_set_minimum_buffers(w.c, 0));
	limit = bufio_get_memory_floor(w.c);
	must("limit", bufio_set_memory_limit(w.c, limit));
	bufio_reset_peak(w.c);
	atomic_store(&w.max_limit, limit);
}

int client_close(void)
{
	int r = bufio_client_destroy(w.c);

	w.c = NULL;
	return r;
}

void world_init(void)
{
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		block_init(&w.blocks[i]);
	pthread_rwlock_init(&w.strangers, NULL);
}

void world_exit(void)
{
	pthread_rwlock_destroy(&w.strangers);
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		block_exit(&w.blocks[i]);
}

void world_open(void)
{
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		block_begin(&w.blocks[i]);
	open_device();
	client_open();
}

void world_close(void)
{
	must("bufio_device_close", bufio_device_close(w.dev));
	if (w.fd >= 0)
		close(w.fd);
}

/* --- errors --- */

/* Number n: from then on. The plan is only changed by this thread's own calls then. */
static bool errors_are_allowed(void)
{
	if (w.config.kinds)
		return w.plan.fail_at && w.plan.count >= w.plan.fail_at;
	return w.may_fail;
}

void expect_injected(const char *what, int r)
{
	if (!errors_are_allowed() || r != -w.plan.error)
		fail("%s: %s", what, strerror(-r));
}

/* --- locks --- */

static int try_lock(pthread_rwlock_t *lock, bool write)
{
	return write ? pthread_rwlock_trywrlock(lock) : pthread_rwlock_tryrdlock(lock);
}

static int wait_lock(pthread_rwlock_t *lock, bool write)
{
	return write ? pthread_rwlock_wrlock(lock) : pthread_rwlock_rdlock(lock);
}

/* Waits only where there is nothing that another could wait for. */
bool lock_block(struct thread *t, uint64_t block, bool write)
{
	pthread_rwlock_t *lock = &w.blocks[block].lock;
	int r = t->nr_locks ? try_lock(lock, write) : wait_lock(lock, write);

	if (r && r != EBUSY && r != EAGAIN)
		fail("lock of block %" PRIu64 ": %s", block, strerror(r));
	t->nr_locks += !r;
	return !r;
}

void unlock_block(struct thread *t, uint64_t block)
{
	pthread_rwlock_unlock(&w.blocks[block].lock);
	t->nr_locks--;
}
