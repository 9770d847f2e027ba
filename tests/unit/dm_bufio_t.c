// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The kernel's calls of dm-bufio.h. Compiled twice: as it is for the level of 2011, and by dm_bufio_60000_t.c. That
 * the calls of bufio.h do their work is tested elsewhere; here is what their names and signatures promise.
 *
 * All devices start with each byte of block n being n + 1.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bufio/dm-bufio.h"
#include "io/io.h"
#include "unit.h"

#if DM_BUFIO_API >= 60000
#define SUITE dm_bufio_60000_suite
#define SUITE_NAME "dm_bufio 60000"
#define FLAGS , 0
#define BP_ON_FAILURE NULL
#else
#define SUITE dm_bufio_suite
#define SUITE_NAME "dm_bufio"
#define FLAGS
#define BP_ON_FAILURE UNTOUCHED
#endif

#define BLOCK 16384
#define NR_BLOCKS 16
#define RESERVED 4
#define UNTOUCHED ((struct dm_buffer *)&plan)

static struct io_fault_plan plan;
static struct bufio_device *memory;
static struct block_device *bdev;
static struct dm_bufio_client *c;

/* What the callbacks saw. */
static unsigned nr_allocs, nr_writes;
static sector_t written_block;

static void on_alloc(struct dm_buffer *b)
{
	nr_allocs++;
	*(int *)dm_bufio_get_aux_data(b) = 77;
}

static void on_write(struct dm_buffer *b)
{
	nr_writes++;
	written_block = dm_bufio_get_block_number(b);
}

static struct dm_bufio_client *create(unsigned block_size, unsigned reserved, unsigned aux_size)
{
	return dm_bufio_client_create(bdev, block_size, reserved, aux_size, NULL, NULL FLAGS);
}

static void open_memory(void)
{
	struct bufio_device *dev;

	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(NR_BLOCKS * BLOCK, &memory), 0);
	for (int i = 0; i < NR_BLOCKS; i++)
		memset((char *)io_mem_data(memory) + i * BLOCK, i + 1, BLOCK);
	plan = (struct io_fault_plan){ .kinds = IO_FAULT_READ | IO_FAULT_WRITE | IO_FAULT_FLUSH, .error = EIO };
	CU_ASSERT_EQUAL_FATAL(io_fault_open(memory, &plan, &dev), 0);
	bdev = (struct block_device *)dev;
	nr_allocs = nr_writes = 0;
}

static void setup(void)
{
	open_memory();
	c = create(BLOCK, RESERVED, sizeof(int));
	CU_ASSERT_FATAL(!IS_ERR_OR_NULL(c));
}

/* By the call that tells of leaked holds and of lost updates. */
static void finish(void)
{
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	dm_bufio_bdev_put(bdev);
}

/* A file with the same contents, opened with @flags. */
static struct block_device *open_file(unsigned flags)
{
	char path[] = "dm_bufio_t.XXXXXX", block[BLOCK];
	int fd = mkstemp(path);
	struct block_device *d;

	CU_ASSERT_FATAL(fd >= 0);
	for (int i = 0; i < NR_BLOCKS; i++) {
		memset(block, i + 1, BLOCK);
		CU_ASSERT_EQUAL(write(fd, block, BLOCK), BLOCK);
	}
	close(fd);
	d = dm_bufio_bdev_open(path, flags);
	unlink(path);
	CU_ASSERT_FATAL(!IS_ERR_OR_NULL(d));
	return d;
}

static void setup_read_only(void)
{
	bdev = open_file(0);
	c = create(BLOCK, RESERVED, 0);
	CU_ASSERT_FATAL(!IS_ERR_OR_NULL(c));
}

static char *hold(sector_t block, struct dm_buffer **b)
{
	char *data = dm_bufio_read(c, block, b);

	CU_ASSERT_FATAL(!IS_ERR_OR_NULL(data));
	return data;
}

static void put(sector_t block, int value)
{
	struct dm_buffer *b;
	char *data = dm_bufio_new(c, block, &b);

	CU_ASSERT_FATAL(!IS_ERR_OR_NULL(data));
	memset(data, value, BLOCK);
	dm_bufio_mark_buffer_dirty(b);
	dm_bufio_release(b);
}

static int value_in_cache(sector_t block)
{
	struct dm_buffer *b;
	int value = *hold(block, &b);

	dm_bufio_release(b);
	return value;
}

static int value_on_device(sector_t block)
{
	return ((char *)io_mem_data(memory))[block * BLOCK];
}

static bool is_cached(sector_t block)
{
	struct dm_buffer *b;
	void *data = dm_bufio_get(c, block, &b);

	CU_ASSERT_FALSE(IS_ERR(data));
	if (data)
		dm_bufio_release(b);
	return data;
}

/* The next write returns the error, the one after that does not. */
static void comes_out_once(int error)
{
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), error);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
}

/* --- error pointers, opening --- */

static void error_pointers(void)
{
	int here;

	for (long e = 1; e <= MAX_ERRNO; e++) {
		CU_ASSERT_TRUE(IS_ERR(ERR_PTR(-e)) && IS_ERR_OR_NULL(ERR_PTR(-e)));
		CU_ASSERT_EQUAL(PTR_ERR(ERR_PTR(-e)), -e);
		CU_ASSERT_EQUAL(PTR_ERR_OR_ZERO(ERR_PTR(-e)), -e);
	}
	CU_ASSERT_FALSE(IS_ERR(ERR_PTR(-MAX_ERRNO - 1)));
	CU_ASSERT_FALSE(IS_ERR(NULL));
	CU_ASSERT_TRUE(IS_ERR_OR_NULL(NULL));
	CU_ASSERT_FALSE(IS_ERR_OR_NULL(&here));
	CU_ASSERT_EQUAL(PTR_ERR_OR_ZERO(&here), 0);
	CU_ASSERT_PTR_EQUAL(ERR_CAST(ERR_PTR(-EIO)), ERR_PTR(-EIO));
}

static void missing_device(void)
{
	CU_ASSERT_PTR_EQUAL(dm_bufio_bdev_open("/nowhere/at/all", 0), ERR_PTR(-ENOENT));
	CU_ASSERT_PTR_EQUAL(dm_bufio_bdev_open("/dev", 0), ERR_PTR(-EISDIR));
	CU_ASSERT_PTR_EQUAL(dm_bufio_bdev_open("/dev/null", ~0u), ERR_PTR(-EINVAL));
}

static void real_device(void)
{
	bdev = open_file(BUFIO_OPEN_WRITE);
	c = create(BLOCK, RESERVED, 0);
	CU_ASSERT_EQUAL(value_in_cache(3), 4);
	put(3, 0x55);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	c = create(BLOCK, RESERVED, 0);
	CU_ASSERT_EQUAL(value_in_cache(3), 0x55);
	finish();
}

/* --- creating and destroying --- */

static void bad_sizes(void)
{
	open_memory();
	CU_ASSERT_PTR_EQUAL(create(0, 1, 0), ERR_PTR(-EINVAL));
	CU_ASSERT_PTR_EQUAL(create(511, 1, 0), ERR_PTR(-EINVAL));
	CU_ASSERT_PTR_EQUAL(create(1000, 1, 0), ERR_PTR(-EINVAL));
	CU_ASSERT_PTR_EQUAL(create(~0u, 1, 0), ERR_PTR(-EINVAL));
	CU_ASSERT_PTR_EQUAL(create(BLOCK, ~0u, 0), ERR_PTR(-EINVAL));
	CU_ASSERT_PTR_EQUAL(create(BLOCK, 1, ~0u), ERR_PTR(-EINVAL));
	dm_bufio_bdev_put(bdev);
}

static void no_reserve(void)
{
	open_memory();
	c = create(BLOCK, 0, 0);
	CU_ASSERT_FATAL(!IS_ERR_OR_NULL(c));
	CU_ASSERT_EQUAL(value_in_cache(3), 4);
	finish();
}

static void callbacks(void)
{
	struct dm_buffer *b;

	open_memory();
	c = dm_bufio_client_create(bdev, BLOCK, RESERVED, sizeof(int), on_alloc, on_write FLAGS);
	CU_ASSERT_FATAL(!IS_ERR_OR_NULL(c));
	hold(3, &b);
	CU_ASSERT_EQUAL(nr_allocs, 1);
	CU_ASSERT_EQUAL(*(int *)dm_bufio_get_aux_data(b), 77);
	dm_bufio_mark_buffer_dirty(b);
	dm_bufio_release(b);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(nr_writes, 1);
	CU_ASSERT_EQUAL(written_block, 3);
	finish();
}

static void destroy_writes(void)
{
	setup();
	put(3, 0x55);
	dm_bufio_client_destroy(c);
	CU_ASSERT_EQUAL(value_on_device(3), 0x55);
	dm_bufio_bdev_put(bdev);
}

static void asking(void)
{
	struct dm_buffer *b;
	void *data;

	open_memory();
	c = create(BLOCK - 512, RESERVED, sizeof(int));
	CU_ASSERT_EQUAL(dm_bufio_get_block_size(c), BLOCK - 512);
	CU_ASSERT_EQUAL(dm_bufio_get_device_size(c), NR_BLOCKS * BLOCK / (BLOCK - 512));
	data = hold(3, &b);
	CU_ASSERT_EQUAL(dm_bufio_get_block_number(b), 3);
	CU_ASSERT_PTR_EQUAL(dm_bufio_get_block_data(b), data);
	CU_ASSERT_PTR_EQUAL(dm_bufio_get_client(b), c);
	CU_ASSERT_PTR_NOT_NULL(dm_bufio_get_aux_data(b));
	dm_bufio_release(b);
	finish();
}

static void one_type(void)
{
	struct bufio_buffer *b;

	setup();
	CU_ASSERT_FATAL(!IS_ERR_OR_NULL(dm_bufio_read(c, 3, &b)));
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	finish();
}

/* --- holding --- */

static void out_of_range(void)
{
	struct dm_buffer *b = UNTOUCHED;

	setup();
	CU_ASSERT_PTR_EQUAL(dm_bufio_read(c, NR_BLOCKS, &b), ERR_PTR(-EINVAL));
	CU_ASSERT_PTR_EQUAL(dm_bufio_new(c, NR_BLOCKS, &b), ERR_PTR(-EINVAL));
	CU_ASSERT_PTR_EQUAL(dm_bufio_read(c, ~0ull, &b), ERR_PTR(-EINVAL));
	CU_ASSERT_PTR_NULL(dm_bufio_get(c, NR_BLOCKS, &b));
	CU_ASSERT_EQUAL(plan.count, 0);
	finish();
}

static void read_error(void)
{
	struct dm_buffer *b;

	setup();
	plan.fail_at = 1;
	plan.error = EILSEQ;
	CU_ASSERT_PTR_EQUAL(dm_bufio_read(c, 3, &b), ERR_PTR(-EILSEQ));
	CU_ASSERT_FALSE(is_cached(3));
	CU_ASSERT_EQUAL(value_in_cache(3), 4);
	finish();
}

static void output_on_failure(void)
{
	struct dm_buffer *b;

	setup();
	b = UNTOUCHED;
	CU_ASSERT_TRUE(IS_ERR(dm_bufio_read(c, NR_BLOCKS, &b)));
	CU_ASSERT_PTR_EQUAL(b, BP_ON_FAILURE);
	b = UNTOUCHED;
	CU_ASSERT_TRUE(IS_ERR(dm_bufio_new(c, NR_BLOCKS, &b)));
	CU_ASSERT_PTR_EQUAL(b, BP_ON_FAILURE);
	b = UNTOUCHED;
	CU_ASSERT_PTR_NULL(dm_bufio_get(c, 3, &b));
	CU_ASSERT_PTR_EQUAL(b, BP_ON_FAILURE);
	finish();
}

static void get_only_cached(void)
{
	struct dm_buffer *a, *b;
	void *data;

	setup();
	CU_ASSERT_PTR_NULL(dm_bufio_get(c, 3, &b));
	CU_ASSERT_EQUAL(plan.count, 0);
	data = hold(3, &a);
	CU_ASSERT_PTR_EQUAL(dm_bufio_get(c, 3, &b), data);
	CU_ASSERT_PTR_EQUAL(a, b);
	dm_bufio_release(a);
	dm_bufio_release(b);
	finish();
}

static void new_is_zeroed(void)
{
	static const char zeroes[BLOCK];
	struct dm_buffer *b;
	void *data;

	setup();
	CU_ASSERT_EQUAL(value_in_cache(3), 4);
	for (sector_t block = 2; block <= 3; block++) {
		data = dm_bufio_new(c, block, &b);
		CU_ASSERT_FATAL(!IS_ERR_OR_NULL(data));
		CU_ASSERT_FALSE(memcmp(data, zeroes, BLOCK));
		dm_bufio_release(b);
	}
	CU_ASSERT_EQUAL(plan.count, 1);
	finish();
}

/* --- writing --- */

static void marked_is_written(void)
{
	setup();
	put(3, 0x55);
	CU_ASSERT_EQUAL(value_on_device(3), 4);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(value_on_device(3), 0x55);
	finish();
}

static void async_then_waited_for(void)
{
	setup();
	put(3, 0x55);
	dm_bufio_write_dirty_buffers_async(c);
	CU_ASSERT_EQUAL(plan.count, 1);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(value_on_device(3), 0x55);
	finish();
}

static void write_error(void)
{
	setup();
	put(3, 0x55);
	plan.fail_at = 1;
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), -EIO);
	CU_ASSERT_EQUAL(value_on_device(3), 4);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(value_on_device(3), 0x55);
	finish();
}

static void flush_error(void)
{
	setup();
	CU_ASSERT_EQUAL(dm_bufio_issue_flush(c), 0);
	plan.fail_at = plan.count + 1;
	CU_ASSERT_EQUAL(dm_bufio_issue_flush(c), -EIO);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -EIO);
	dm_bufio_bdev_put(bdev);
}

static void mark_read_only(void)
{
	struct dm_buffer *b;

	setup_read_only();
	hold(3, &b);
	dm_bufio_mark_buffer_dirty(b);
	dm_bufio_release(b);
	comes_out_once(-EROFS);
	finish();
}

static void mark_read_only_destroy(void)
{
	struct dm_buffer *b;

	setup_read_only();
	hold(3, &b);
	dm_bufio_mark_buffer_dirty(b);
	dm_bufio_release(b);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -EROFS);
	dm_bufio_bdev_put(bdev);
}

/* --- moving --- */

static void move(void)
{
	struct dm_buffer *b;

	setup();
	hold(3, &b);
	dm_bufio_release_move(b, 9);
	CU_ASSERT_EQUAL(value_in_cache(9), 4);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(value_on_device(3), 4);
	CU_ASSERT_EQUAL(value_on_device(9), 4);
	finish();
}

static void move_onto_held(void)
{
	struct dm_buffer *a, *b;

	setup();
	hold(3, &a);
	hold(9, &b);
	dm_bufio_release_move(a, 9);
	comes_out_once(-EDEADLK);
	dm_bufio_release(b);
	CU_ASSERT_EQUAL(value_in_cache(3), 4);
	CU_ASSERT_EQUAL(value_in_cache(9), 10);
	finish();
}

static void move_past_the_end(void)
{
	struct dm_buffer *b;

	setup();
	hold(3, &b);
	dm_bufio_release_move(b, NR_BLOCKS);
	comes_out_once(-EINVAL);
	finish();
}

static void move_read_only(void)
{
	struct dm_buffer *b;

	setup_read_only();
	hold(3, &b);
	dm_bufio_release_move(b, 9);
	comes_out_once(-EROFS);
	CU_ASSERT_EQUAL(value_in_cache(9), 10);
	finish();
}

/* The buffer is dirty and cannot go to its old place. */
static void move_unwritable(void)
{
	struct dm_buffer *b;
	char *data;

	setup();
	data = hold(3, &b);
	memset(data, 0x55, BLOCK);
	dm_bufio_mark_buffer_dirty(b);
	plan.fail_at = plan.count + 1;
	dm_bufio_release_move(b, 9);
	comes_out_once(-EIO);
	CU_ASSERT_EQUAL(value_on_device(3), 0x55);
	CU_ASSERT_EQUAL(value_on_device(9), 10);
	finish();
}

/* --- what came later --- */

#if DM_BUFIO_API >= 60000

static void create_flags(void)
{
	open_memory();
	for (unsigned bit = 1; bit; bit <<= 1) {
		c = dm_bufio_client_create(bdev, BLOCK, 1, 0, NULL, NULL, bit);
		if (bit != DM_BUFIO_CLIENT_NO_SLEEP)
			CU_ASSERT_PTR_EQUAL_FATAL(c, ERR_PTR(-EINVAL));
		if (!IS_ERR(c))
			dm_bufio_client_destroy(c);
	}
	c = dm_bufio_client_create(bdev, BLOCK, 1, 0, NULL, NULL, DM_BUFIO_CLIENT_NO_SLEEP);
	CU_ASSERT_FATAL(!IS_ERR_OR_NULL(c));
	CU_ASSERT_EQUAL(value_in_cache(3), 4);
	finish();
}

/* Whether a block that was prefetched gets there, ten seconds at most. */
static bool comes(sector_t block)
{
	time_t start = time(NULL);

	while (!is_cached(block) && time(NULL) - start < 10)
		sched_yield();
	return is_cached(block);
}

static void prefetch(void)
{
	setup();
	dm_bufio_prefetch(c, NR_BLOCKS - 2, 100);
	dm_bufio_prefetch(c, NR_BLOCKS, 1);
	CU_ASSERT_TRUE(comes(NR_BLOCKS - 1));
	CU_ASSERT_TRUE(is_cached(NR_BLOCKS - 2));
	CU_ASSERT_EQUAL(value_in_cache(NR_BLOCKS - 1), NR_BLOCKS);
	finish();
}

/* A device that gives no request back before it is let go; for one read at a time. */
static struct {
	struct bufio_device dev;
	struct bufio_device *below;
	bool let_go;
} slow;

static void slow_submit(struct bufio_device *d, struct io_request **requests, unsigned nr)
{
	(void)d;
	slow.below->ops->submit(slow.below, requests, nr);
}

static unsigned slow_wait(struct bufio_device *d, struct io_request **done, unsigned max, bool block)
{
	(void)d;
	return slow.let_go || block ? slow.below->ops->wait(slow.below, done, max, block) : 0;
}

static int slow_flush(struct bufio_device *d)
{
	(void)d;
	return slow.below->ops->flush(slow.below);
}

static void get_being_read(void)
{
	static const struct io_ops ops = { .submit = slow_submit, .wait = slow_wait, .flush = slow_flush };

	open_memory();
	slow.below = (struct bufio_device *)bdev;
	slow.dev = (struct bufio_device){ .ops = &ops, .info = slow.below->info };
	slow.let_go = false;
	c = dm_bufio_client_create((struct block_device *)&slow.dev, BLOCK, RESERVED, 0, NULL, NULL, 0);
	CU_ASSERT_FATAL(!IS_ERR_OR_NULL(c));
	dm_bufio_prefetch(c, 3, 1);
	CU_ASSERT_EQUAL(plan.count, 1);
	CU_ASSERT_FALSE(is_cached(3));
	slow.let_go = true;
	CU_ASSERT_TRUE(comes(3));
	CU_ASSERT_EQUAL(value_in_cache(3), 4);
	CU_ASSERT_EQUAL(plan.count, 1);
	dm_bufio_client_destroy(c);
	dm_bufio_bdev_put(bdev);
}

static void forget(void)
{
	struct dm_buffer *b;

	setup();
	CU_ASSERT_EQUAL(value_in_cache(3), 4);
	put(4, 0x55);
	hold(5, &b);
	dm_bufio_forget(c, 3);
	dm_bufio_forget(c, 4);
	dm_bufio_forget(c, 5);
	CU_ASSERT_FALSE(is_cached(3));
	CU_ASSERT_TRUE(is_cached(4));
	CU_ASSERT_TRUE(is_cached(5));
	dm_bufio_release(b);
	finish();
}

static void forget_several(void)
{
	setup();
	for (sector_t block = 0; block < NR_BLOCKS; block++)
		CU_ASSERT_EQUAL(value_in_cache(block), (int)block + 1);
	dm_bufio_forget_buffers(c, 3, 4);
	for (sector_t block = 0; block < NR_BLOCKS; block++)
		CU_ASSERT_EQUAL(is_cached(block), block < 3 || block >= 7);
	finish();
}

static void mark_partial(void)
{
	struct dm_buffer *b;
	char *data;

	setup();
	data = hold(3, &b);
	memset(data, 0x55, BLOCK);
	dm_bufio_mark_partial_buffer_dirty(b, 4096, 4097);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
	data = (char *)io_mem_data(memory) + 3 * BLOCK;
	CU_ASSERT_EQUAL(data[4095], 4);
	CU_ASSERT_EQUAL(data[4096], 0x55);
	CU_ASSERT_EQUAL(data[8191], 0x55);
	CU_ASSERT_EQUAL(data[8192], 4);
	dm_bufio_release(b);
	finish();
}

static void mark_partial_read_only(void)
{
	struct dm_buffer *b;

	setup_read_only();
	hold(3, &b);
	dm_bufio_mark_partial_buffer_dirty(b, 0, 1);
	dm_bufio_release(b);
	comes_out_once(-EROFS);
	finish();
}

static void discard(void)
{
	struct dm_buffer *b;

	setup();
	hold(3, &b);
	CU_ASSERT_EQUAL(dm_bufio_issue_discard(c, 2, 2), -EBUSY);
	CU_ASSERT_EQUAL(dm_bufio_issue_discard(c, NR_BLOCKS - 1, 2), -EINVAL);
	CU_ASSERT_EQUAL(value_on_device(2), 3);
	dm_bufio_release(b);
	CU_ASSERT_EQUAL(dm_bufio_issue_discard(c, 2, 2), 0);
	CU_ASSERT_EQUAL(value_on_device(1), 2);
	CU_ASSERT_EQUAL(value_on_device(4), 5);
	finish();
}

static void sector_offset(void)
{
	setup();
	CU_ASSERT_EQUAL(value_in_cache(3), 4);
	dm_bufio_set_sector_offset(c, 2 * BLOCK / 512);
	CU_ASSERT_EQUAL(dm_bufio_get_device_size(c), NR_BLOCKS - 2);
	CU_ASSERT_EQUAL(value_in_cache(3), 6);
	put(0, 0x55);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(value_on_device(2), 0x55);
	finish();
}

static void sector_offset_refused(void)
{
	struct dm_buffer *b;

	setup();
	hold(3, &b);
	dm_bufio_set_sector_offset(c, 8);
	comes_out_once(-EBUSY);
	dm_bufio_release(b);
	CU_ASSERT_EQUAL(dm_bufio_get_device_size(c), NR_BLOCKS);
	finish();
}

static void minimum_buffers(void)
{
	uint64_t floor;

	setup();
	floor = bufio_get_memory_floor(c);
	dm_bufio_set_minimum_buffers(c, 100);
	CU_ASSERT_TRUE(bufio_get_memory_floor(c) >= floor + 92 * BLOCK);
	dm_bufio_set_minimum_buffers(c, ~0u);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
	finish();
}

static void reset(void)
{
	setup();
	CU_ASSERT_EQUAL(value_in_cache(3), 4);
	put(4, 0x55);
	memset((char *)io_mem_data(memory) + 3 * BLOCK, 0x66, BLOCK);
	dm_bufio_client_reset(c);
	CU_ASSERT_FALSE(is_cached(4));
	CU_ASSERT_EQUAL(value_on_device(4), 0x55);
	CU_ASSERT_EQUAL(value_in_cache(3), 0x66);
	CU_ASSERT_EQUAL(dm_bufio_write_dirty_buffers(c), 0);
	finish();
}

static void reset_with_error(void)
{
	setup();
	put(3, 0x55);
	plan.fail_at = plan.count + 1;
	dm_bufio_client_reset(c);
	comes_out_once(-EIO);
	CU_ASSERT_EQUAL(value_on_device(3), 0x55);
	finish();
}

static void reset_keeps_error(void)
{
	struct dm_buffer *b;

	setup_read_only();
	hold(3, &b);
	dm_bufio_mark_buffer_dirty(b);
	dm_bufio_release(b);
	dm_bufio_client_reset(c);
	comes_out_once(-EROFS);
	finish();
}

#endif

static const struct unit_case cases[] = {
	{ "an error pointer is one from -1 to -4095, and NULL is none", error_pointers },
	{ "bdev_open of what is no device or cannot be had so is an error pointer", missing_device },
	{ "bdev_open of a file gives a device to read and write", real_device },
	{ "create with a bad size is ERR_PTR(-EINVAL), never NULL", bad_sizes },
	{ "create takes no reserved buffers for one", no_reserve },
	{ "callbacks have the kernel's type and see the buffer", callbacks },
	{ "destroy writes what is dirty", destroy_writes },
	{ "the accessors say what was asked for", asking },
	{ "a dm_buffer is a bufio_buffer", one_type },
	{ "read and new past the end are ERR_PTR(-EINVAL), get is NULL", out_of_range },
	{ "a read that failed is the device's error as a pointer, and not cached", read_error },
	{ "what a failed call leaves in its output is what the kernel of that time leaves", output_on_failure },
	{ "get is NULL when the block is absent, and reads nothing", get_only_cached },
	{ "new is all zeroes, cached or not, and reads nothing", new_is_zeroed },
	{ "what was marked is on the device after write_dirty_buffers", marked_is_written },
	{ "write_dirty_buffers_async starts writes, and write_dirty_buffers waits for them", async_then_waited_for },
	{ "write_dirty_buffers returns a write's error, and writes it the next time", write_error },
	{ "issue_flush returns the device's error", flush_error },
	{ "the error of a mark on a read-only device comes out of write_dirty_buffers, once", mark_read_only },
	{ "or out of bufio_client_destroy", mark_read_only_destroy },
	{ "release_move moves", move },
	{ "release_move onto a block held here: the hold is gone, -EDEADLK comes out", move_onto_held },
	{ "release_move past the end: the hold is gone, -EINVAL comes out", move_past_the_end },
	{ "release_move on a read-only device: the hold is gone, -EROFS comes out", move_read_only },
	{ "release_move of what cannot be written: the hold is gone, the error comes out, no change is lost",
	  move_unwritable },
#if DM_BUFIO_API >= 60000
	{ "create takes the flag for no sleep, and no other", create_flags },
	{ "prefetch brings blocks in, and none past the end", prefetch },
	{ "get of a block that is being read is NULL, and reads nothing", get_being_read },
	{ "forget forgets what is clean and not held", forget },
	{ "forget_buffers forgets the range and nothing else", forget_several },
	{ "mark_partial_buffer_dirty has the 4096 bytes around the range written, no others", mark_partial },
	{ "the error of a partial mark on a read-only device comes out as well", mark_partial_read_only },
	{ "issue_discard discards the range, and refuses one in use or past the end", discard },
	{ "set_sector_offset moves block 0, and the size with it", sector_offset },
	{ "set_sector_offset with a block held: -EBUSY comes out, nothing moved", sector_offset_refused },
	{ "set_minimum_buffers raises the floor, and one that cannot be is ignored", minimum_buffers },
	{ "client_reset writes, forgets and reads anew", reset },
	{ "client_reset with a write that fails: the error comes out, the change is kept", reset_with_error },
	{ "client_reset loses no error from before", reset_keeps_error },
#endif
	{ NULL, NULL },
};

const struct unit_suite SUITE = { SUITE_NAME, cases };
