// SPDX-License-Identifier: LGPL-2.1-or-later
/* What was changed by another route: forgetting blocks, or all of them. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "requests.h"
#include "rig.h"

#define BLOCK 4096
#define NR_BLOCKS 64

static void setup(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
}

/* Changes what the device has, and not what the cache has. */
static void change_behind(uint64_t block, int value)
{
	memset(rig_memory_of(block), value, BLOCK);
}

/* --- forget --- */

static void forgets_one(void)
{
	setup();
	rig_read_all(0, NR_BLOCKS);
	change_behind(12, 0x77);
	change_behind(13, 0x77);
	CU_ASSERT_EQUAL(rig_read(12), rig_pattern(12));
	bufio_forget(rig.c, 12);
	CU_ASSERT_EQUAL(rig_read(12), 0x77);
	CU_ASSERT_EQUAL(rig_read(13), rig_pattern(13));
	CU_ASSERT_EQUAL(rig.nr_writes, 0);
	rig_close();
}

static void forgets_range(void)
{
	setup();
	rig_read_all(0, NR_BLOCKS);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		change_behind(i, 0x77);
	bufio_forget_buffers(rig.c, 10, 20);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(rig_read(i), i >= 10 && i < 30 ? 0x77 : rig_pattern(i));
	rig_close();
}

/* What is forgotten of @block. */
static bool forgets(uint64_t block, uint64_t nr)
{
	rig_read_all(5, 6);
	change_behind(5, 0x77);
	bufio_forget_buffers(rig.c, block, nr);
	change_behind(5, rig_pattern(5));
	return !rig_is_cached(5);
}

static void any_range(void)
{
	setup();
	CU_ASSERT_FALSE(forgets(5, 0));
	CU_ASSERT_FALSE(forgets(6, 1));
	CU_ASSERT_FALSE(forgets(6, UINT64_MAX));
	CU_ASSERT_FALSE(forgets(UINT64_MAX, UINT64_MAX));
	CU_ASSERT_FALSE(forgets(NR_BLOCKS, 10));
	CU_ASSERT_FALSE(forgets(UINT64_MAX - 4, 9)); /* there is no block behind the last number, 0 neither */
	CU_ASSERT_TRUE(forgets(0, UINT64_MAX));
	CU_ASSERT_TRUE(forgets(5, UINT64_MAX));
	CU_ASSERT_TRUE(forgets(0, UINT64_C(1) << 40));
	CU_ASSERT_TRUE(forgets(5, 1));
	CU_ASSERT_TRUE(forgets(4, 3));
	rig_close();
}

static void keeps_held(void)
{
	struct bufio_buffer *b;
	unsigned char *data;

	setup();
	rig_read_all(0, NR_BLOCKS);
	data = rig_hold(12, &b);
	change_behind(12, 0x77);
	bufio_forget(rig.c, 12);
	bufio_forget_buffers(rig.c, 0, NR_BLOCKS);
	CU_ASSERT_EQUAL(rig_value_of(data, BLOCK), rig_pattern(12));
	CU_ASSERT_EQUAL(rig_read(12), rig_pattern(12));
	CU_ASSERT_EQUAL(rig_count_cached(0, NR_BLOCKS), 1);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	bufio_forget(rig.c, 12);
	CU_ASSERT_EQUAL(rig_read(12), 0x77);
	rig_close();
}

static void keeps_dirty(void)
{
	setup();
	CU_ASSERT_EQUAL(rig_put(12, 0x77), 0);
	bufio_forget(rig.c, 12);
	bufio_forget_buffers(rig.c, 0, UINT64_MAX);
	CU_ASSERT_EQUAL(rig.nr_writes, 0);
	CU_ASSERT_EQUAL(rig_stats().dirty, 1);
	CU_ASSERT_EQUAL(rig_read(12), 0x77);
	/* One that could not be written, too. */
	rig_damage(IO_WRITE, 12, EIO);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), -EIO);
	bufio_forget_buffers(rig.c, 0, NR_BLOCKS);
	CU_ASSERT_EQUAL(rig_read(12), 0x77);
	rig_damage(IO_WRITE, 12, 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	bufio_forget(rig.c, 12);
	CU_ASSERT_FALSE(rig_is_cached(12));
	rig_close();
}

static void keeps_what_is_under_way(void)
{
	struct bufio_buffer *b;

	setup();
	rig_keep(IO_FAULT_READ | IO_FAULT_WRITE);
	bufio_prefetch(rig.c, 20, 4);
	CU_ASSERT_EQUAL(rig_put(12, 0x77), 0);
	bufio_write_dirty_buffers_async(rig.c);
	bufio_forget_buffers(rig.c, 0, UINT64_MAX);
	bufio_forget_buffers(rig.c, 10, 20);
	CU_ASSERT_PTR_NULL(bufio_get(rig.c, 20, &b));
	CU_ASSERT_EQUAL(errno, EAGAIN);
	CU_ASSERT_EQUAL(rig_read(12), 0x77);
	rig_let_all_go();
	rig_read_all(20, 24);
	CU_ASSERT_EQUAL(rig.nr_reads, 1);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	CU_ASSERT_EQUAL(rig_on_device(12), 0x77);
	rig_close();
}

/* --- reset --- */

static void sees_changes(void)
{
	setup();
	rig_read_all(0, NR_BLOCKS);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		change_behind(i, 0x77);
	CU_ASSERT_EQUAL(bufio_client_reset(rig.c), 0);
	CU_ASSERT_EQUAL(rig_count_cached(0, NR_BLOCKS), 0);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(rig_read(i), 0x77);
	CU_ASSERT_EQUAL(bufio_client_reset(rig.c), 0);
	rig_close();
}

static void writes_first(void)
{
	setup();
	CU_ASSERT_EQUAL(rig_put(12, 0x77), 0);
	CU_ASSERT_EQUAL(bufio_client_reset(rig.c), 0);
	CU_ASSERT_EQUAL(rig_on_device(12), 0x77);
	CU_ASSERT_EQUAL(rig_stats().flushes, 1);
	CU_ASSERT_EQUAL(rig_stats().dirty, 0);
	CU_ASSERT_FALSE(rig_is_cached(12));
	CU_ASSERT_EQUAL(rig_read(12), 0x77);
	rig_close();
}

static void reset_with_held(void)
{
	struct bufio_buffer *b;
	unsigned char *data;

	setup();
	rig_read_all(0, NR_BLOCKS);
	data = rig_hold(12, &b);
	CU_ASSERT_EQUAL(rig_put(20, 0x66), 0);
	change_behind(12, 0x77);
	change_behind(13, 0x77);
	CU_ASSERT_EQUAL(bufio_client_reset(rig.c), -EBUSY);
	CU_ASSERT_EQUAL(rig_value_of(data, BLOCK), rig_pattern(12));
	CU_ASSERT_EQUAL(rig_read(12), rig_pattern(12));
	CU_ASSERT_EQUAL(rig_read(13), 0x77);
	CU_ASSERT_EQUAL(rig_on_device(20), 0x66);
	/* It can still be changed and written. */
	memset(data, 0x55, BLOCK);
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(bufio_client_reset(rig.c), 0);
	CU_ASSERT_EQUAL(rig_on_device(12), 0x55);
	rig_close();
}

static void reset_with_unwritable(void)
{
	setup();
	CU_ASSERT_EQUAL(rig_put(12, 0x77), 0);
	rig_read_all(20, 30);
	change_behind(25, 0x66);
	rig_damage(IO_WRITE, 12, ENOSPC);
	CU_ASSERT_EQUAL(bufio_client_reset(rig.c), -ENOSPC);
	CU_ASSERT_EQUAL(rig_read(12), 0x77);
	CU_ASSERT_EQUAL(rig_read(25), 0x66);
	CU_ASSERT_EQUAL(rig_stats().dirty, 1);
	rig_damage(IO_WRITE, 12, 0);
	CU_ASSERT_EQUAL(bufio_client_reset(rig.c), 0);
	CU_ASSERT_EQUAL(rig_on_device(12), 0x77);
	rig_close();
}

static void reset_after_prefetch(void)
{
	setup();
	bufio_prefetch(rig.c, 10, 10);
	change_behind(12, 0x77);
	CU_ASSERT_EQUAL(bufio_client_reset(rig.c), 0);
	CU_ASSERT_EQUAL(rig_read(12), 0x77);
	rig_close();
}

static int value_in(struct bufio_client *c, uint64_t block)
{
	struct bufio_buffer *b;
	void *data = bufio_read(c, block, &b);
	int v = data ? rig_value_of(data, BLOCK) : -errno;

	if (data)
		CU_ASSERT_EQUAL(bufio_release(b), 0);
	return v;
}

/* Blocks of a file, all bytes alike. */
static void write_behind(int fd, uint64_t from, uint64_t to, int value)
{
	unsigned char data[BLOCK];

	memset(data, value, BLOCK);
	for (uint64_t i = from; i < to; i++)
		CU_ASSERT_EQUAL(pwrite(fd, data, BLOCK, (off_t)(i * BLOCK)), BLOCK);
}

static void grown_file(void)
{
	int fd;
	struct bufio_device *dev = requests_open_file(NULL, 10 * BLOCK, &fd);
	struct bufio_client *c = bufio_client_create(dev, BLOCK, 1, 0, NULL, NULL);

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_EQUAL(value_in(c, 9), 0);
	write_behind(fd, 9, 500, 0x77);
	CU_ASSERT_EQUAL(bufio_get_device_size(c), 10);
	CU_ASSERT_EQUAL(value_in(c, 10), -EINVAL);
	CU_ASSERT_EQUAL(bufio_client_reset(c), 0);
	CU_ASSERT_EQUAL(bufio_get_device_size(c), 500);
	for (uint64_t i = 9; i < 500; i++)
		CU_ASSERT_EQUAL(value_in(c, i), 0x77);
	CU_ASSERT_EQUAL(value_in(c, 500), -EINVAL);
	/* The limit has room for all of them, and is used. */
	for (uint64_t i = 9; i < 500; i++)
		CU_ASSERT_EQUAL(value_in(c, i), 0x77);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	requests_close_file(dev, fd);
}

static void shrunk_file(void)
{
	int fd;
	struct bufio_device *dev = requests_open_file(NULL, 100 * BLOCK, &fd);
	struct bufio_client *c = bufio_client_create(dev, BLOCK, 1, 0, NULL, NULL);

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	write_behind(fd, 0, 100, 0x77);
	for (uint64_t i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(value_in(c, i), 0x77);
	CU_ASSERT_EQUAL(ftruncate(fd, 9 * BLOCK + 1), 0);
	CU_ASSERT_EQUAL(bufio_client_reset(c), 0);
	CU_ASSERT_EQUAL(bufio_get_device_size(c), 9);
	CU_ASSERT_EQUAL(value_in(c, 8), 0x77);
	CU_ASSERT_EQUAL(value_in(c, 9), -EINVAL);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	requests_close_file(dev, fd);
}

static const struct unit_case cases[] = {
	{ "a forgotten block is read again, its neighbour is not, and nothing is written", forgets_one },
	{ "a range is forgotten, and nothing beside it", forgets_range },
	{ "a range may be empty, or reach past the end and past the last number", any_range },
	{ "what is held is not forgotten", keeps_held },
	{ "what is dirty is not forgotten, nor written", keeps_dirty },
	{ "what is being read or written is not forgotten", keeps_what_is_under_way },
	{ "after a reset all that was changed behind the cache's back is seen", sees_changes },
	{ "a reset writes what is dirty first, and flushes", writes_first },
	{ "a reset is busy when a block is held, which stays while all others go", reset_with_held },
	{ "a reset keeps what cannot be written, and says so", reset_with_unwritable },
	{ "a reset forgets what was prefetched", reset_after_prefetch },
	{ "a reset sees that a file grew, and caches all of it", grown_file },
	{ "a reset sees that a file shrank", shrunk_file },
	{ NULL, NULL },
};

const struct unit_suite forget_suite = { "forget", cases };
