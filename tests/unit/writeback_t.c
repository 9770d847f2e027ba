// SPDX-License-Identifier: LGPL-2.1-or-later
/* Dirty buffers: when, in which order, and with which errors they are written. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bufio/bufio.h"
#include "io/io.h"
#include "unit.h"

#define BLOCK 512
#define NR_BLOCKS 64
#define LOG 256

/* A memory device that logs its writes, and fails those that it is told to: one error for each block. */
struct spy {
	struct bufio_device dev;
	pthread_mutex_t lock; /* everything below */
	struct io_queue done;
	unsigned char data[NR_BLOCKS * BLOCK];
	int errors[NR_BLOCKS]; /* -errno of a write that touches the block */
	int flush_error;
	bool newest_first; /* requests come back in reverse */
	unsigned delay;    /* microseconds before wait looks */
	unsigned flushes, waits;
	uint64_t log[LOG]; /* first block of each write */
	unsigned nr_log;
};

static struct spy *spy;
static struct bufio_client *c;

static struct {
	unsigned nr;
	uint64_t block[16];
	int error[16];
	bool other;
} told;

static void note(void *context, enum bufio_report what, uint64_t block, int error)
{
	(void)context;
	if (told.nr < 16) {
		told.block[told.nr] = block;
		told.error[told.nr] = abs(error);
	}
	told.nr++;
	told.other |= what != BUFIO_REPORT_WRITE_ERROR;
}

static size_t request_size(const struct io_request *r)
{
	size_t size = 0;

	for (unsigned i = 0; i < r->nr_iov; i++)
		size += r->iov[i].iov_len;
	return size;
}

static int spy_error(const struct spy *s, const struct io_request *r)
{
	uint64_t end = (r->offset + request_size(r)) / BLOCK;

	for (uint64_t b = r->offset / BLOCK; r->direction == IO_WRITE && b < end; b++)
		if (s->errors[b])
			return s->errors[b];
	return 0;
}

static void spy_move(struct spy *s, const struct io_request *r)
{
	unsigned char *p = s->data + r->offset;

	for (unsigned i = 0; i < r->nr_iov; p += r->iov[i++].iov_len)
		if (r->direction == IO_WRITE)
			memcpy(p, r->iov[i].iov_base, r->iov[i].iov_len);
		else
			memcpy(r->iov[i].iov_base, p, r->iov[i].iov_len);
}

/* The bytes move at once, but nobody learns of it before wait. */
static void spy_submit(struct bufio_device *dev, struct io_request **r, unsigned nr)
{
	struct spy *s = (struct spy *)dev;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < nr; i++) {
		if (r[i]->direction == IO_WRITE && s->nr_log < LOG)
			s->log[s->nr_log++] = r[i]->offset / BLOCK;
		r[i]->result = spy_error(s, r[i]);
		if (!r[i]->result)
			spy_move(s, r[i]);
		io_queue_push(&s->done, r[s->newest_first ? nr - 1 - i : i]);
	}
	pthread_mutex_unlock(&s->lock);
}

static unsigned spy_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	struct spy *s = (struct spy *)dev;
	unsigned nr = 0;

	if (s->delay)
		usleep(s->delay);
	pthread_mutex_lock(&s->lock);
	s->waits += block;
	while (nr < max && (done[nr] = io_queue_pop(&s->done)))
		nr++;
	pthread_mutex_unlock(&s->lock);
	return nr;
}

static int spy_flush(struct bufio_device *dev)
{
	struct spy *s = (struct spy *)dev;

	s->flushes++;
	return s->flush_error;
}

static int spy_refresh(struct bufio_device *dev)
{
	(void)dev;
	return 0;
}

static int spy_close(struct bufio_device *dev)
{
	free(dev);
	return 0;
}

static const struct io_ops spy_ops = {
	.submit = spy_submit, .wait = spy_wait, .flush = spy_flush, .refresh = spy_refresh, .close = spy_close,
};

static void make_spy(void)
{
	spy = calloc(1, sizeof(*spy));
	CU_ASSERT_PTR_NOT_NULL_FATAL(spy);
	spy->dev.ops = &spy_ops;
	spy->dev.info = (struct bufio_device_info){ .size = NR_BLOCKS * BLOCK, .logical_block_size = 512,
						    .physical_block_size = 512, .alignment = 1, .engine = "spy" };
	pthread_mutex_init(&spy->lock, NULL);
	io_queue_init(&spy->done);
	memset(&told, 0, sizeof(told));
}

static void create(void (*write_callback)(struct bufio_buffer *))
{
	c = bufio_client_create(&spy->dev, BLOCK, 4, sizeof(int), NULL, write_callback);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	bufio_set_report(c, note, NULL);
}

static void setup(void)
{
	make_spy();
	create(NULL);
}

static void finish(void)
{
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	CU_ASSERT_EQUAL(bufio_device_close(&spy->dev), 0);
}

static void set_floor(void)
{
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c)), 0);
}

static struct bufio_stats stats(void)
{
	struct bufio_stats s;

	bufio_get_stats(c, &s);
	return s;
}

static int value_of(const unsigned char *data)
{
	for (unsigned i = 1; i < BLOCK; i++)
		if (data[i] != data[0])
			return -1;
	return data[0];
}

static int on_device(uint64_t block)
{
	return value_of(spy->data + block * BLOCK);
}

static int in_cache(struct bufio_client *client, uint64_t block)
{
	struct bufio_buffer *b;
	unsigned char *data = bufio_read(client, block, &b);
	int v = data ? value_of(data) : -2;

	if (data)
		CU_ASSERT_EQUAL(bufio_release(b), 0);
	return v;
}

/* 0, or the errno of new. */
static int try_put(uint64_t block, int value)
{
	struct bufio_buffer *b;
	void *data = bufio_new(c, block, &b);

	if (!data)
		return errno;
	memset(data, value, BLOCK);
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	return 0;
}

static void put(uint64_t block, int value)
{
	CU_ASSERT_EQUAL_FATAL(try_put(block, value), 0);
}

static void seen_by_a_second_client(void)
{
	struct bufio_client *second;

	setup();
	put(3, 0x33);
	put(40, 0x44);
	CU_ASSERT_EQUAL(on_device(3), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	second = bufio_client_create(&spy->dev, BLOCK, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(second);
	CU_ASSERT_EQUAL(in_cache(second, 3), 0x33);
	CU_ASSERT_EQUAL(in_cache(second, 40), 0x44);
	CU_ASSERT_EQUAL(in_cache(second, 4), 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(second), 0);
	finish();
}

static void modified_after_read(void)
{
	struct bufio_buffer *b;
	unsigned char *data;

	setup();
	data = bufio_read(c, 3, &b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	data[100] = 1;
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(spy->data[3 * BLOCK + 100], 1);
	finish();
}

static void unmarked_is_not_written(void)
{
	struct bufio_buffer *b;

	setup();
	CU_ASSERT_PTR_NOT_NULL_FATAL(memset(bufio_read(c, 3, &b), 7, BLOCK));
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(spy->nr_log, 0);
	CU_ASSERT_EQUAL(on_device(3), 0);
	finish();
}

static void written_once(void)
{
	setup();
	put(3, 0x33);
	put(3, 0x34);
	CU_ASSERT_EQUAL(stats().dirty, 1);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(stats().blocks_written, 1);
	CU_ASSERT_EQUAL(on_device(3), 0x34);
	put(3, 0x35);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(stats().blocks_written, 2);
	CU_ASSERT_EQUAL(on_device(3), 0x35);
	finish();
}

static void held_is_written(void)
{
	struct bufio_buffer *b;
	void *data;

	setup();
	data = bufio_new(c, 3, &b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	memset(data, 0x33, BLOCK);
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(on_device(3), 0x33);
	memset(data, 0x44, BLOCK);
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(on_device(3), 0x44);
	finish();
}

static void neighbours_merge(void)
{
	static const uint64_t order[] = { 15, 11, 13, 10, 19, 12, 18, 14, 17, 16 };

	setup();
	for (unsigned i = 0; i < 10; i++)
		put(order[i], (int)order[i]);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(stats().write_requests, 1);
	CU_ASSERT_EQUAL(stats().blocks_written, 10);
	CU_ASSERT_EQUAL(spy->nr_log, 1);
	for (unsigned i = 10; i < 20; i++)
		CU_ASSERT_EQUAL(on_device(i), i);
	CU_ASSERT_EQUAL(on_device(9) | on_device(20), 0);
	finish();
}

static void sorted(void)
{
	setup();
	for (uint64_t i = 0; i < NR_BLOCKS; i += 2)
		put(i * 27 % NR_BLOCKS, 1);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(spy->nr_log, NR_BLOCKS / 2);
	for (unsigned i = 1; i < spy->nr_log; i++)
		CU_ASSERT_TRUE(spy->log[i - 1] < spy->log[i]);
	finish();
}

static void failed_stays_dirty(void)
{
	setup();
	put(3, 0x33);
	put(9, 0x99);
	spy->errors[3] = -ENOSPC;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -ENOSPC);
	CU_ASSERT_EQUAL(stats().dirty, 1);
	CU_ASSERT_EQUAL(on_device(9), 0x99);
	CU_ASSERT_EQUAL(in_cache(c, 3), 0x33);
	CU_ASSERT_EQUAL(told.nr, 1);
	CU_ASSERT_EQUAL(told.block[0], 3);
	CU_ASSERT_EQUAL(told.error[0], ENOSPC);
	CU_ASSERT_FALSE(told.other);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -ENOSPC);
	CU_ASSERT_EQUAL(told.nr, 2);
	spy->errors[3] = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(on_device(3), 0x33);
	CU_ASSERT_EQUAL(stats().dirty, 0);
	finish();
}

static void failed_in_a_merged_request(void)
{
	setup();
	for (uint64_t i = 10; i < 20; i++)
		put(i, (int)i);
	spy->errors[15] = -EIO;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
	CU_ASSERT_TRUE(stats().dirty >= 1);
	CU_ASSERT_TRUE(told.nr >= 1);
	spy->errors[15] = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	for (unsigned i = 10; i < 20; i++)
		CU_ASSERT_EQUAL(on_device(i), i);
	finish();
}

static void check_lowest_failed(bool newest_first)
{
	setup();
	spy->newest_first = newest_first;
	for (uint64_t i = 2; i < 40; i += 4)
		put(42 - i, 1);
	spy->errors[36] = -ENXIO;
	spy->errors[8] = -EIO;
	spy->errors[20] = -ENOSPC;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
	CU_ASSERT_EQUAL(told.nr, 3);
	spy->errors[8] = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -ENOSPC);
	spy->errors[20] = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -ENXIO);
	spy->errors[36] = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	finish();
}

static void lowest_failed(void)
{
	check_lowest_failed(false);
	check_lowest_failed(true);
}

static void failed_then_replaced(void)
{
	struct bufio_buffer *b;

	setup();
	put(3, 0x33);
	spy->errors[3] = -EIO;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
	spy->errors[3] = 0;
	CU_ASSERT_PTR_NOT_NULL_FATAL(memset(bufio_read(c, 3, &b), 0x34, BLOCK));
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(on_device(3), 0x34);
	finish();
}

static void always_flushes(void)
{
	setup();
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(spy->flushes, 1);
	CU_ASSERT_EQUAL(bufio_issue_flush(c), 0);
	CU_ASSERT_EQUAL(spy->flushes, 2);
	CU_ASSERT_EQUAL(stats().flushes, 2);
	finish();
}

static void flush_writes_nothing(void)
{
	setup();
	put(3, 0x33);
	CU_ASSERT_EQUAL(bufio_issue_flush(c), 0);
	CU_ASSERT_EQUAL(spy->nr_log, 0);
	CU_ASSERT_EQUAL(stats().dirty, 1);
	finish();
}

static void flush_error_is_final(void)
{
	setup();
	put(3, 0x33);
	spy->flush_error = -ENOSPC;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -ENOSPC);
	spy->flush_error = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -ENOSPC);
	CU_ASSERT_EQUAL(bufio_issue_flush(c), -ENOSPC);
	put(4, 0x44);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -ENOSPC);
	CU_ASSERT_EQUAL(on_device(4), 0x44);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -ENOSPC);
	bufio_device_close(&spy->dev);
}

static void issued_flush_error_is_final(void)
{
	setup();
	spy->flush_error = -EIO;
	CU_ASSERT_EQUAL(bufio_issue_flush(c), -EIO);
	spy->flush_error = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -EIO);
	bufio_device_close(&spy->dev);
}

static void write_error_before_flush_error(void)
{
	setup();
	put(3, 0x33);
	spy->errors[3] = -ENXIO;
	spy->flush_error = -EIO;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -ENXIO);
	spy->errors[3] = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
	CU_ASSERT_EQUAL(on_device(3), 0x33);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -EIO);
	bufio_device_close(&spy->dev);
}

static void async_then_sync(void)
{
	setup();
	for (uint64_t i = 0; i < 10; i++)
		put(2 * i, 0x11);
	bufio_write_dirty_buffers_async(c);
	CU_ASSERT_EQUAL(spy->waits, 0);
	CU_ASSERT_EQUAL(spy->nr_log, 10);
	CU_ASSERT_EQUAL(spy->flushes, 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(spy->nr_log, 10);
	CU_ASSERT_EQUAL(stats().blocks_written, 10);
	for (uint64_t i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(on_device(2 * i), 0x11);
	finish();
}

static void async_error(void)
{
	setup();
	put(3, 0x33);
	spy->errors[3] = -ENOSPC;
	bufio_write_dirty_buffers_async(c);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -ENOSPC);
	CU_ASSERT_EQUAL(stats().dirty, 1);
	CU_ASSERT_TRUE(told.nr >= 1);
	spy->errors[3] = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(on_device(3), 0x33);
	finish();
}

static void dirtied_while_written(void)
{
	struct bufio_buffer *b;
	unsigned char *data;

	setup();
	put(3, 0x33);
	bufio_write_dirty_buffers_async(c);
	data = bufio_get(c, 3, &b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	memset(data, 0x44, BLOCK);
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(on_device(3), 0x33);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(on_device(3), 0x44);
	CU_ASSERT_EQUAL(stats().blocks_written, 2);
	finish();
}

static void new_while_written(void)
{
	struct bufio_buffer *b;

	setup();
	put(3, 0x33);
	bufio_write_dirty_buffers_async(c);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_new(c, 3, &b));
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(in_cache(c, 3), 0x33);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(on_device(3), 0x33);
	finish();
}

/* Its write fails under way: the block is dirty again, and the contents are the new ones. */
static void new_while_failing(void)
{
	struct bufio_buffer *b;
	int v;

	setup();
	put(3, 0x33);
	spy->errors[3] = -EIO;
	bufio_write_dirty_buffers_async(c);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_new(c, 3, &b));
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	spy->errors[3] = 0;
	v = in_cache(c, 3);
	CU_ASSERT_EQUAL(v, 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(on_device(3), 0);
	CU_ASSERT_EQUAL(in_cache(c, 3), 0);
	finish();
}

static void read_only(void)
{
	struct bufio_buffer *b;

	make_spy();
	spy->dev.info.read_only = true;
	create(NULL);
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(i ? bufio_new(c, 3, &b) : bufio_read(c, 3, &b));
		CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), -EROFS);
		CU_ASSERT_EQUAL(bufio_release(b), 0);
	}
	CU_ASSERT_EQUAL(stats().dirty, 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	CU_ASSERT_EQUAL(spy->nr_log, 0);
	bufio_device_close(&spy->dev);
}

static unsigned nr_called;

/* As a checksum would: the block's number into the contents, and a mark into the aux data. */
static void stamp(struct bufio_buffer *b)
{
	memset(bufio_get_block_data(b), 0x80 + (int)bufio_get_block_number(b), BLOCK);
	*(int *)bufio_get_aux_data(b) = 4711;
	nr_called++;
}

static void write_callback(void)
{
	struct bufio_buffer *b;

	make_spy();
	create(stamp);
	nr_called = 0;
	put(3, 1);
	put(4, 1);
	put(20, 1);
	CU_ASSERT_EQUAL(nr_called, 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(nr_called, 3);
	CU_ASSERT_EQUAL(on_device(3), 0x83);
	CU_ASSERT_EQUAL(on_device(4), 0x84);
	CU_ASSERT_EQUAL(on_device(20), 0x94);
	CU_ASSERT_EQUAL(in_cache(c, 3), 0x83);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_get(c, 3, &b));
	CU_ASSERT_EQUAL(*(int *)bufio_get_aux_data(b), 4711);
	bufio_release(b);
	finish();
}

static void write_callback_after_move(void)
{
	struct bufio_buffer *b;

	make_spy();
	create(stamp);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_new(c, 3, &b));
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	CU_ASSERT_EQUAL(on_device(3), 0x83);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(on_device(9), 0x89);
	CU_ASSERT_EQUAL(on_device(3), 0x83);
	finish();
}

static void write_callback_on_eviction(void)
{
	make_spy();
	create(stamp);
	set_floor();
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		put(i, 1);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(on_device(i), 0x80 + i);
	finish();
}

static void write_callback_again_after_failure(void)
{
	make_spy();
	create(stamp);
	put(3, 1);
	spy->errors[3] = -EIO;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
	spy->errors[3] = 0;
	nr_called = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(nr_called, 1);
	CU_ASSERT_EQUAL(on_device(3), 0x83);
	finish();
}

static void eviction_loses_nothing(void)
{
	setup();
	set_floor();
	for (unsigned round = 1; round <= 3; round++)
		for (uint64_t i = 0; i < NR_BLOCKS; i++)
			put(i * 27 % NR_BLOCKS, (int)(round * 64 + i));
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(in_cache(c, i * 27 % NR_BLOCKS), (unsigned char)(3 * 64 + i));
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(on_device(i * 27 % NR_BLOCKS), (unsigned char)(3 * 64 + i));
	finish();
}

static void fail_all(int error)
{
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		spy->errors[i] = error;
}

static void full_of_unwritable(void)
{
	uint64_t nr = 0;

	setup();
	set_floor();
	fail_all(-ENOSPC);
	while (nr < NR_BLOCKS && try_put(nr, 0x77) == 0)
		nr++;
	CU_ASSERT_TRUE_FATAL(nr >= 1 && nr <= 8);
	CU_ASSERT_EQUAL(try_put(nr, 0x77), ENOSPC);
	CU_ASSERT_EQUAL(in_cache(c, NR_BLOCKS - 1), -2);
	CU_ASSERT_EQUAL(errno, ENOSPC);
	/* What is there can still be used. */
	for (uint64_t i = 0; i < nr; i++)
		CU_ASSERT_EQUAL(in_cache(c, i), 0x77);
	fail_all(0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(in_cache(c, i), i < nr ? 0x77 : 0);
	finish();
}

static void one_unwritable(void)
{
	setup();
	set_floor();
	spy->errors[5] = -EIO;
	for (unsigned round = 0; round < 3; round++)
		for (uint64_t i = 0; i < NR_BLOCKS; i += 2)
			put(i + 1, 0x77);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
	CU_ASSERT_EQUAL(stats().dirty, 1);
	CU_ASSERT_EQUAL(in_cache(c, 5), 0x77);
	spy->errors[5] = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	for (unsigned i = 1; i < NR_BLOCKS; i += 2)
		CU_ASSERT_EQUAL(on_device(i), 0x77);
	finish();
}

/* --- a script, and a fault at each of its operations --- */

#define SCRIPT_BLOCKS 24
#define SCRIPT_STEPS 120

static struct io_fault_plan plan;
static struct bufio_device *memory, *faulty;
static int model[SCRIPT_BLOCKS];
static unsigned mismatches;

static void script_put(uint64_t block, int value)
{
	if (!try_put(block, value))
		model[block] = value;
}

static void script_modify(uint64_t block, int value)
{
	struct bufio_buffer *b;
	unsigned char *data = bufio_read(c, block, &b);

	if (!data)
		return;
	mismatches += value_of(data) != model[block];
	memset(data, value, BLOCK);
	mismatches += bufio_mark_buffer_dirty(b) != 0;
	mismatches += bufio_release(b) != 0;
	model[block] = value;
}

static void script_move(uint64_t from, uint64_t to)
{
	struct bufio_buffer *b;
	unsigned char *data = bufio_read(c, from, &b);

	if (!data)
		return;
	mismatches += value_of(data) != model[from];
	if (bufio_release_move(b, to))
		mismatches += bufio_release(b) != 0;
	else
		model[to] = model[from];
}

static void run_script(void)
{
	uint32_t x = 1;

	for (int i = 1; i <= SCRIPT_STEPS; i++) {
		uint64_t block, other;

		x = x * 1103515245 + 12345;
		block = (x >> 16) % SCRIPT_BLOCKS;
		other = (x >> 21) % SCRIPT_BLOCKS;
		if (i % 40 == 0)
			bufio_write_dirty_buffers(c);
		else if (i % 25 == 0)
			bufio_write_dirty_buffers_async(c);
		else if (i % 5 == 0)
			script_move(block, other);
		else if (i % 3 == 0)
			script_put(block, i);
		else
			script_modify(block, i);
	}
}

static void start_script(unsigned kinds, uint64_t fail_at, bool sticky)
{
	plan = (struct io_fault_plan){ .kinds = kinds, .fail_at = fail_at, .sticky = sticky, .error = EIO };
	memset(model, 0, sizeof(model));
	mismatches = 0;
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SCRIPT_BLOCKS * BLOCK, &memory), 0);
	CU_ASSERT_EQUAL_FATAL(io_fault_open(memory, &plan, &faulty), 0);
	c = bufio_client_create(faulty, BLOCK, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	set_floor();
	run_script();
}

static void compare_with_model(void)
{
	for (unsigned i = 0; i < SCRIPT_BLOCKS; i++)
		mismatches += value_of((unsigned char *)io_mem_data(memory) + i * BLOCK) != model[i];
	CU_ASSERT_EQUAL(mismatches, 0);
}

static void end_script(void)
{
	compare_with_model();
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	compare_with_model();
	CU_ASSERT_EQUAL(bufio_device_close(faulty), 0);
}

static void script_without_faults(void)
{
	start_script(IO_FAULT_READ | IO_FAULT_WRITE, 0, false);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_TRUE(plan.count > SCRIPT_STEPS / 2);
	end_script();
}

static void one_fault_anywhere(void)
{
	uint64_t n = 0;

	do {
		n++;
		start_script(IO_FAULT_READ | IO_FAULT_WRITE, n, false);
		/* The one fault may hit the first of these calls, but not the second. */
		if (bufio_write_dirty_buffers(c))
			CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
		end_script();
	} while (plan.count >= n && n < 1000);
	CU_ASSERT_TRUE(n > SCRIPT_STEPS / 2 && n < 1000);
}

static void all_faults_from_anywhere(void)
{
	uint64_t n = 0;
	bool more;

	do {
		start_script(IO_FAULT_READ | IO_FAULT_WRITE, ++n, true);
		bufio_write_dirty_buffers(c);
		more = plan.count >= n;
		plan.fail_at = 0;
		CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
		end_script();
	} while (more && n < 1000);
	CU_ASSERT_TRUE(n > SCRIPT_STEPS / 2 && n < 1000);
}

static void any_flush_fails(void)
{
	for (uint64_t n = 1; n <= SCRIPT_STEPS / 40; n++) {
		start_script(IO_FAULT_FLUSH, n, false);
		CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
		CU_ASSERT_EQUAL(bufio_client_destroy(c), -EIO);
		compare_with_model();
		bufio_device_close(faulty);
	}
}

/* Each thread writes its block again and again; how often that was called a success. */
static void *write_in_vain(void *arg)
{
	uint64_t *nr_successes = arg;

	for (unsigned i = 0; i < 500; i++)
		*nr_successes += !bufio_write_dirty_buffers(c);
	return NULL;
}

/* One thread's failed write may be under way again for another before the first has looked. */
static void failing_for_two_threads(void)
{
	uint64_t successes[2] = { 0 };
	pthread_t other;

	setup();
	put(3, 0x33);
	put(40, 0x44);
	spy->errors[3] = spy->errors[40] = -EIO;
	spy->delay = 50;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&other, NULL, write_in_vain, &successes[1]), 0);
	write_in_vain(&successes[0]);
	pthread_join(other, NULL);
	CU_ASSERT_EQUAL(successes[0] + successes[1], 0);
	spy->errors[3] = spy->errors[40] = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(on_device(40), 0x44);
	finish();
}

static const struct unit_case cases[] = {
	{ "what was written is seen by a second client", seen_by_a_second_client },
	{ "one changed byte of a block that was read is written", modified_after_read },
	{ "changes that were never marked are not written", unmarked_is_not_written },
	{ "a dirty block is written once, and again when dirtied again", written_once },
	{ "held buffers are written too", held_is_written },
	{ "adjacent blocks go in one request, whatever the order of dirtying", neighbours_merge },
	{ "writes are sorted by block", sorted },
	{ "a failed write keeps its block dirty, is reported, and is tried again", failed_stays_dirty },
	{ "a failed merged request loses none of its blocks", failed_in_a_merged_request },
	{ "of several errors that of the lowest block is returned", lowest_failed },
	{ "a block whose write failed may be changed and written", failed_then_replaced },
	{ "two threads that write what cannot be written are both told, each time", failing_for_two_threads },
	{ "a flush follows even when nothing was dirty", always_flushes },
	{ "a flush alone writes nothing", flush_writes_nothing },
	{ "a flush error is final, but writes go on", flush_error_is_final },
	{ "the error of a flush alone is final too", issued_flush_error_is_final },
	{ "a write error comes before a flush error", write_error_before_flush_error },
	{ "an asynchronous write waits for nothing, and is completed by the next call", async_then_sync },
	{ "the error of an asynchronous write appears in the next call", async_error },
	{ "a block dirtied while it is written is written again", dirtied_while_written },
	{ "new on a block that is being written does not spoil it", new_while_written },
	{ "new on a block whose write fails meanwhile has the new contents", new_while_failing },
	{ "nothing can be marked on a read-only device", read_only },
	{ "the write callback sees the block's number, and its changes are written", write_callback },
	{ "the write callback sees the new number after a move", write_callback_after_move },
	{ "the write callback is called for evicted blocks", write_callback_on_eviction },
	{ "the write callback is called again for a second try", write_callback_again_after_failure },
	{ "eviction of dirty blocks loses nothing", eviction_loses_nothing },
	{ "a cache full of unwritable blocks is an error, not a hang, and loses nothing", full_of_unwritable },
	{ "one unwritable block does not stop the others", one_unwritable },
	{ "a script of changes ends as its model says", script_without_faults },
	{ "whichever one read or write fails, nothing is lost", one_fault_anywhere },
	{ "whenever the device goes away and comes back, nothing is lost", all_faults_from_anywhere },
	{ "whichever flush fails, success is never claimed again", any_flush_fails },
	{ NULL, NULL },
};

const struct unit_suite writeback_suite = { "writeback", cases };
