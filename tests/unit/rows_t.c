// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What the kernel's dm-bufio does, got wrong once, or does otherwise, as far as no other file tests it:
 * tests/kernel-rows.txt has all of it, row by row.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "requests.h"
#include "rig.h"

#define BLOCK 4096
#define NR_BLOCKS 128

static void setup(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
}

static void write_all(void)
{
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
}

/* --- moves --- */

static void target_not_written(void)
{
	struct bufio_buffer *b;

	setup();
	CU_ASSERT_EQUAL(rig_put(9, 0x99), 0);
	rig_hold(5, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	CU_ASSERT_EQUAL(rig.nr_writes, 0);
	write_all();
	CU_ASSERT_EQUAL(rig.nr_writes, 1);
	CU_ASSERT_EQUAL(rig_on_device(9), rig_pattern(5));
	rig_close();
}

static void *move_5_to_9(void *result)
{
	struct bufio_buffer *b;

	*(int *)result = bufio_read(rig.c, 5, &b) ? bufio_release_move(b, 9) : -errno;
	return NULL;
}

static bool somebody_waits(void)
{
	return rig_stats().waits > 0;
}

/* Block 9 is on its way from or to the device when something else is to become block 9. */
static void move_to_busy(unsigned kind, int error)
{
	pthread_t mover;
	int r = 1;

	setup();
	rig_read_all(5, 6);
	rig_keep(kind);
	if (kind == IO_FAULT_READ)
		bufio_prefetch(rig.c, 9, 1);
	else
		CU_ASSERT_EQUAL(rig_put(9, 0x99), 0);
	bufio_write_dirty_buffers_async(rig.c);
	rig_damage(kind == IO_FAULT_READ ? IO_READ : IO_WRITE, 9, error);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&mover, NULL, move_5_to_9, &r), 0);
	rig_wait_until(somebody_waits, 2000);
	rig_let_all_go();
	pthread_join(mover, NULL);
	CU_ASSERT_EQUAL(r, 0);
	rig_damage(kind == IO_FAULT_READ ? IO_READ : IO_WRITE, 9, 0);
	CU_ASSERT_EQUAL(rig_read(9), rig_pattern(5));
	write_all();
	CU_ASSERT_EQUAL(rig_on_device(9), rig_pattern(5));
	CU_ASSERT_EQUAL(rig_on_device(5), rig_pattern(5));
	rig_close();
}

static void target_is_read(void)
{
	move_to_busy(IO_FAULT_READ, 0);
	move_to_busy(IO_FAULT_READ, EIO);
}

static void target_is_written(void)
{
	move_to_busy(IO_FAULT_WRITE, 0);
	move_to_busy(IO_FAULT_WRITE, EIO);
}

static void moved_while_written(void)
{
	pthread_t mover;
	int r = 1;

	setup();
	rig_keep(IO_FAULT_WRITE);
	CU_ASSERT_EQUAL(rig_put(5, 0x55), 0);
	bufio_write_dirty_buffers_async(rig.c);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&mover, NULL, move_5_to_9, &r), 0);
	rig_wait_until(somebody_waits, 2000);
	rig_let_all_go();
	pthread_join(mover, NULL);
	CU_ASSERT_EQUAL(r, 0);
	write_all();
	CU_ASSERT_EQUAL(rig_on_device(5), 0x55);
	CU_ASSERT_EQUAL(rig_on_device(9), 0x55);
	rig_close();
}

static unsigned nr_stamped;

/* The holders of the old block never see the new number. */
static void stamp(struct bufio_buffer *b)
{
	memset(bufio_get_block_data(b), (int)bufio_get_block_number(b), BLOCK);
	nr_stamped++;
}

static void shared_move_stamped(void)
{
	struct bufio_buffer *kept, *moved;

	rig_open(BLOCK, NR_BLOCKS);
	rig_create(1, 0, NULL, stamp);
	nr_stamped = 0;
	rig_hold(5, &kept);
	rig_hold(5, &moved);
	CU_ASSERT_EQUAL(bufio_release_move(moved, 9), 0);
	CU_ASSERT_EQUAL(bufio_get_block_number(kept), 5);
	write_all();
	CU_ASSERT_EQUAL(nr_stamped, 1);
	CU_ASSERT_EQUAL(rig_on_device(9), 9);
	CU_ASSERT_EQUAL(rig_value_of(bufio_get_block_data(kept), BLOCK), rig_pattern(5));
	CU_ASSERT_EQUAL(bufio_release(kept), 0);
	CU_ASSERT_EQUAL(rig_on_device(5), rig_pattern(5));
	rig_close();
}

/* --- errors --- */

static struct {
	unsigned nr;
	uint64_t block[32];
	int error[32];
} told;

static void note(void *context, enum bufio_report what, uint64_t block, int error)
{
	(void)context;
	CU_ASSERT_EQUAL(what, BUFIO_REPORT_WRITE_ERROR);
	if (told.nr < 32) {
		told.block[told.nr] = block;
		told.error[told.nr] = error;
	}
	told.nr++;
}

static unsigned count_told(uint64_t block, int error)
{
	unsigned n = 0;

	for (unsigned i = 0; i < told.nr && i < 32; i++)
		n += told.block[i] == block && told.error[i] == error;
	return n;
}

static void told_each_time(void)
{
	setup();
	bufio_set_report(rig.c, note, NULL);
	for (uint64_t i = 10; i < 40; i += 2)
		CU_ASSERT_EQUAL(rig_put(i, 0x77), 0);
	rig_damage(IO_WRITE, 20, ENOSPC);
	rig_damage(IO_WRITE, 30, EIO);
	for (unsigned round = 1; round <= 3; round++) {
		memset(&told, 0, sizeof(told));
		CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), -ENOSPC);
		CU_ASSERT_EQUAL(told.nr, 2);
		CU_ASSERT_EQUAL(count_told(20, ENOSPC), 1);
		CU_ASSERT_EQUAL(count_told(30, EIO), 1);
		CU_ASSERT_EQUAL(rig_stats().dirty, 2);
	}
	rig_damage(IO_WRITE, 20, 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), -EIO);
	rig_damage(IO_WRITE, 30, 0);
	rig_close();
	CU_ASSERT_EQUAL(told.nr, 3);
}

/* A run of neighbours, one of them bad, which goes in one request as long as all goes well. */
static void bad_neighbour(void)
{
	setup();
	bufio_set_report(rig.c, note, NULL);
	memset(&told, 0, sizeof(told));
	for (uint64_t i = 10; i < 40; i++)
		CU_ASSERT_EQUAL(rig_put(i, 0x77), 0);
	rig_damage(IO_WRITE, 25, EIO);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), -EIO);
	for (uint64_t i = 10; i < 40; i++)
		CU_ASSERT_EQUAL(rig_on_device(i), i == 25 ? rig_pattern(25) : 0x77);
	CU_ASSERT_EQUAL(rig_stats().dirty, 1);
	CU_ASSERT_EQUAL(rig_stats().write_errors, 1);
	CU_ASSERT_EQUAL(told.nr, 1);
	CU_ASSERT_EQUAL(count_told(25, EIO), 1);
	rig_damage(IO_WRITE, 25, 0);
	write_all();
	CU_ASSERT_EQUAL(rig_on_device(25), 0x77);
	rig_close();
}

static void read_only_flush(void)
{
	rig_open(BLOCK, NR_BLOCKS);
	rig.dev->info.read_only = true;
	rig.plan.kinds = IO_FAULT_FLUSH;
	rig_create(1, 0, NULL, NULL);
	rig_read_all(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(bufio_issue_flush(rig.c), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	CU_ASSERT_EQUAL(bufio_client_reset(rig.c), 0);
	CU_ASSERT_EQUAL(rig.plan.count, 0);
	rig_close();
	CU_ASSERT_EQUAL(rig.plan.count, 0);
}

static void *write_in_thread(void *result)
{
	*(int *)result = bufio_write_dirty_buffers(rig.c);
	return NULL;
}

/* Of writes that were started by a mark, and of those of another thread. */
static void flush_comes_last(void)
{
	pthread_t t[2];
	int r[2] = { 1, 1 };

	setup();
	rig.plan.kinds = IO_FAULT_FLUSH;
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, 1), 0);
	rig_set_floor();
	rig_keep(IO_FAULT_WRITE);
	for (uint64_t i = 0; i < 8; i += 2)
		CU_ASSERT_EQUAL(rig_put(i, 0x77), 0);
	CU_ASSERT_TRUE(rig.nr_writes > 0);
	for (unsigned i = 0; i < 2; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, write_in_thread, &r[i]), 0);
	rig_wait_until(somebody_waits, 2000);
	usleep(20000);
	CU_ASSERT_EQUAL(rig.plan.count, 0);
	rig_let_all_go();
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(t[i], NULL);
		CU_ASSERT_EQUAL(r[i], 0);
	}
	CU_ASSERT_EQUAL(rig.plan.count, 2);
	for (uint64_t i = 0; i < 8; i += 2)
		CU_ASSERT_EQUAL(rig_on_device(i), 0x77);
	rig_close();
}

static void remembered(void)
{
	setup();
	bufio_remember_error(rig.c, -EROFS);
	bufio_remember_error(rig.c, -EINVAL);
	CU_ASSERT_EQUAL(rig_put(5, 0x77), 0);
	rig_damage(IO_WRITE, 5, ENOSPC);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), -ENOSPC);
	rig_damage(IO_WRITE, 5, 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), -EROFS);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	CU_ASSERT_EQUAL(rig_on_device(5), 0x77);
	bufio_remember_error(rig.c, -EROFS);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), -EROFS);
	rig_close_device();
}

#define NR_READERS 3

static pthread_barrier_t barrier;
static atomic_uint nr_failed;

static void *fail_together(void *nothing)
{
	for (unsigned i = 0; i < 300; i++) {
		pthread_barrier_wait(&barrier);
		nr_failed += rig_read(5) == -2 - EIO;
		pthread_barrier_wait(&barrier);
	}
	return nothing;
}

/* Their holds of the buffer that could not be read end at the same time: nothing of it may be left. */
static void last_releases(void)
{
	pthread_t t[NR_READERS];
	struct bufio_buffer *b;

	setup();
	nr_failed = 0;
	pthread_barrier_init(&barrier, NULL, NR_READERS + 1);
	for (unsigned i = 0; i < NR_READERS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, fail_together, NULL), 0);
	for (unsigned i = 0; i < 300; i++) {
		rig_damage(IO_READ, 5, EIO);
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		rig_damage(IO_READ, 5, 0);
		CU_ASSERT_PTR_NULL(bufio_get(rig.c, 5, &b));
		CU_ASSERT_EQUAL(errno, ENOENT);
		CU_ASSERT_EQUAL(rig_read(5), rig_pattern(5));
		bufio_forget(rig.c, 5);
	}
	for (unsigned i = 0; i < NR_READERS; i++)
		pthread_join(t[i], NULL);
	CU_ASSERT_EQUAL(nr_failed, 300 * NR_READERS);
	pthread_barrier_destroy(&barrier);
	rig_close();
}

/* --- clients --- */

/* Same sizes, same block numbers, and nothing in common: neither contents nor errors nor memory. */
static void same_sizes(void)
{
	struct bufio_device *memory;
	struct bufio_client *first;

	setup();
	first = rig.c;
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(NR_BLOCKS * BLOCK, &memory), 0);
	CU_ASSERT_EQUAL(rig_put(5, 0x55), 0);
	rig_damage(IO_WRITE, 5, EIO);
	rig.c = bufio_client_create(memory, BLOCK, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rig.c);
	CU_ASSERT_EQUAL(rig_read(5), 0);
	CU_ASSERT_EQUAL(rig_put(5, 0x66), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(first), -EIO);
	rig_set_floor();
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	CU_ASSERT_EQUAL(((unsigned char *)io_mem_data(memory))[5 * BLOCK], 0x66);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	rig.c = first;
	CU_ASSERT_EQUAL(rig_read(5), 0x55);
	CU_ASSERT_TRUE(bufio_get_memory_limit(first) > bufio_get_memory_floor(first));
	rig_damage(IO_WRITE, 5, 0);
	rig_close();
	bufio_device_close(memory);
}

static void bounds(void)
{
	static const struct {
		unsigned block_size, reserved, aux_size;
		bool good;
	} sizes[] = {
		{ 512, 1, 0, true }, { 1 << 30, 1, 0, true }, { BLOCK, 1048576, 0, true }, { BLOCK, 1, 65536, true },
		{ 256, 1, 0, false }, { (1 << 30) + 512, 1, 0, false }, { BLOCK, 1048577, 0, false },
		{ BLOCK, 0, 0, false }, { BLOCK, ~0u, 0, false }, { BLOCK, 1, 65537, false },
	};

	rig_open(BLOCK, NR_BLOCKS);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		errno = 0;
		rig.c = bufio_client_create(rig.dev, sizes[i].block_size, sizes[i].reserved, sizes[i].aux_size,
					    NULL, NULL);
		CU_ASSERT_EQUAL(rig.c != NULL, sizes[i].good);
		CU_ASSERT_EQUAL(errno == EINVAL, !sizes[i].good);
		CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	}
	rig_close_device();
}

static unsigned nr_asked;

/* What a callback may call. */
static void ask(struct bufio_buffer *b)
{
	nr_asked += bufio_get_client(b) == rig.c && bufio_get_block_data(b) && bufio_get_aux_data(b);
	nr_asked += bufio_get_block_number(b) < NR_BLOCKS;
}

static void asked_in_callbacks(void)
{
	rig_open(BLOCK, NR_BLOCKS);
	rig_create(1, 16, ask, ask);
	rig_set_floor();
	nr_asked = 0;
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(rig_put(i, 0x77), 0);
	write_all();
	CU_ASSERT_TRUE(nr_asked >= 3 * NR_BLOCKS);
	rig_close();
}

/* --- direct I/O --- */

static int make_file(char *path, size_t size)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	snprintf(path, size, "%s/unitXXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(path);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(fd, 2 * MIB), 0);
	return fd;
}

/* Writes blocks of this size through one client, and reads them through the next; false if the device cannot. */
static bool write_and_read(struct bufio_device *dev, unsigned size)
{
	rig.block_size = size;
	rig.c = bufio_client_create(dev, size, 1, 0, NULL, NULL);
	if (!rig.c) {
		CU_ASSERT_EQUAL(errno, EINVAL);
		CU_ASSERT_TRUE(size % bufio_device_describe(dev)->alignment != 0);
		return false;
	}
	rig_set_floor();
	for (uint64_t i = 0; i < 30; i++)
		CU_ASSERT_EQUAL(rig_put(i * 7 % 30, (int)(size / 512 + i * 7 % 30) & 0xff), 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	rig.c = bufio_client_create(dev, size, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rig.c);
	for (uint64_t i = 0; i < 30; i++)
		CU_ASSERT_EQUAL(rig_read(i), (int)(size / 512 + i) & 0xff);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	return true;
}

/* Not every file system has direct I/O, nor for every size: the refusal is all there is to test then. */
static void direct_sizes(void)
{
	static const unsigned sizes[] = { 512, 1024, 3 * 512, 4096, 65536 };
	struct bufio_device *dev;
	unsigned char byte;
	char path[512];
	int fd = make_file(path, sizeof(path));
	int r = bufio_device_open(path, BUFIO_OPEN_WRITE | BUFIO_OPEN_DIRECT, NULL, NULL, &dev);

	unlink(path);
	CU_ASSERT_TRUE(r == 0 || r == -EINVAL);
	for (unsigned i = 0; i < 5 && !r; i++)
		if (write_and_read(dev, sizes[i])) {
			CU_ASSERT_EQUAL(pread(fd, &byte, 1, 30 * (off_t)sizes[i] - 1), 1);
			CU_ASSERT_EQUAL(byte, (sizes[i] / 512 + 29) & 0xff);
		}
	if (!r)
		bufio_device_close(dev);
	close(fd);
}

/* --- signals --- */

static atomic_uint nr_signals;

static void on_signal(int nr)
{
	(void)nr;
	atomic_fetch_add(&nr_signals, 1);
}

static void use_interrupted(const char *engine)
{
	int fd;
	struct bufio_device *dev = requests_open_file(engine, NR_BLOCKS * BLOCK, &fd);
	unsigned wrong = 0;

	rig.block_size = BLOCK;
	rig.c = bufio_client_create(dev, BLOCK, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rig.c);
	rig_set_floor();
	nr_signals = 0;
	for (unsigned i = 0; nr_signals < 200 && i < 100000; i++) {
		wrong += rig_put(i % NR_BLOCKS, (int)(i % 250)) != 0;
		wrong += rig_read((i + 50) % NR_BLOCKS) < 0;
		bufio_prefetch(rig.c, (i + 20) % NR_BLOCKS, 5);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	requests_close_file(dev, fd);
}

/* In a process of its own, and with a handler after which system calls are not begun again. */
static void run_interrupted(void)
{
	const struct itimerspec often = { .it_interval = { .tv_nsec = 300000 }, .it_value = { .tv_nsec = 300000 } };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct sigaction action = { .sa_handler = on_signal };
	timer_t timer;

	sigaction(SIGUSR1, &action, NULL);
	CU_ASSERT_EQUAL_FATAL(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	CU_ASSERT_EQUAL(timer_settime(timer, 0, &often, NULL), 0);
	use_interrupted("threads");
	use_interrupted("auto");
	timer_delete(timer);
}

static void interrupted(void)
{
	rig_run_apart(run_interrupted, 30);
}

static const struct unit_case cases[] = {
	{ "a move to a dirty block does not write what it replaces", target_not_written },
	{ "a move to a block that is being read waits for the read, and replaces it, whatever comes of it",
	  target_is_read },
	{ "a move to a block that is being written waits for the write, and replaces it, whatever comes of it",
	  target_is_written },
	{ "a move of a block that is being written waits, and both places end with the contents", moved_while_written },
	{ "the write callback of a moved shared block sees the new number, and the holders the old one",
	  shared_move_stamped },
	{ "every failed write is reported each time, with block and errno", told_each_time },
	{ "a block that cannot be written does not keep its neighbours from the device", bad_neighbour },
	{ "a read-only device is not flushed", read_only_flush },
	{ "a flush comes after all writes that were started before, whoever started them", flush_comes_last },
	{ "an error is remembered for the next write that has none, the first one, once", remembered },
	{ "readers that end at the same instant leave no errored buffer", last_releases },
	{ "two clients of the same sizes have nothing in common", same_sizes },
	{ "the bounds of create are accepted, and what is outside of them is not", bounds },
	{ "callbacks may use the accessors of a buffer", asked_in_callbacks },
	{ "direct I/O with blocks of 512, 1024, 1536, 4096 and 65536 bytes, where the file system has it",
	  direct_sizes },
	{ "signals interrupt nothing", interrupted },
	{ NULL, NULL },
};

const struct unit_suite rows_suite = { "rows", cases };
