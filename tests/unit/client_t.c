// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bufio/bufio.h"
#include "io/io.h"
#include "unit.h"

#define BLOCK 4096
#define NR_BLOCKS 64
#define MIB (UINT64_C(1) << 20)

static struct bufio_device *dev;
static struct io_fault_plan plan;

/* What the report callback was told. */
static struct {
	unsigned nr;
	enum bufio_report what[8];
	uint64_t block[8];
	int error[8];
	void *context;
} told;

static void note(void *context, enum bufio_report what, uint64_t block, int error)
{
	if (told.nr < 8) {
		told.what[told.nr] = what;
		told.block[told.nr] = block;
		told.error[told.nr] = error;
	}
	told.nr++;
	told.context = context;
}

static void open_device(uint64_t size)
{
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(size, &dev), 0);
	memset(&told, 0, sizeof(told));
}

/* Fails the operations that the plan says. */
static struct bufio_client *open_faulty(unsigned kinds, uint64_t fail_at, int error)
{
	struct bufio_device *below;
	struct bufio_client *c;

	open_device(NR_BLOCKS * BLOCK);
	below = dev;
	plan = (struct io_fault_plan){ .kinds = kinds, .fail_at = fail_at, .sticky = true, .error = error };
	CU_ASSERT_EQUAL_FATAL(io_fault_open(below, &plan, &dev), 0);
	c = bufio_client_create(dev, BLOCK, 4, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	bufio_set_report(c, note, &plan);
	return c;
}

static struct bufio_client *create(unsigned block_size)
{
	struct bufio_client *c = bufio_client_create(dev, block_size, 4, 0, NULL, NULL);

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	bufio_set_report(c, note, &told);
	return c;
}

static void finish(struct bufio_client *c)
{
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

static void *get_new(struct bufio_client *c, uint64_t block, int value, struct bufio_buffer **b)
{
	void *data = bufio_new(c, block, b);

	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	memset(data, value, bufio_get_block_size(c));
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(*b), 0);
	return data;
}

static void put(struct bufio_client *c, uint64_t block, int value)
{
	struct bufio_buffer *b;

	get_new(c, block, value, &b);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
}

static void refused(unsigned block_size, unsigned reserved, unsigned aux_size)
{
	errno = 0;
	CU_ASSERT_PTR_NULL(bufio_client_create(dev, block_size, reserved, aux_size, NULL, NULL));
	CU_ASSERT_EQUAL(errno, EINVAL);
}

static void bad_block_sizes(void)
{
	static const unsigned sizes[] = { 0, 1, 100, 511, 513, 1000, 4095, (1u << 30) + 512, 0xfffffe00u, ~0u };

	open_device(NR_BLOCKS * BLOCK);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		refused(sizes[i], 1, 0);
	bufio_device_close(dev);
}

static void good_block_sizes(void)
{
	static const unsigned sizes[] = { 512, 1024, 1536, 4096, 5 * 512, 65536, 1 << 20 };

	open_device(2 * MIB);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct bufio_client *c = create(sizes[i]);

		CU_ASSERT_EQUAL(bufio_get_block_size(c), sizes[i]);
		CU_ASSERT_EQUAL(bufio_get_device_size(c), 2 * MIB / sizes[i]);
		put(c, 2 * MIB / sizes[i] - 1, 0x21);
		CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
		CU_ASSERT_EQUAL(((unsigned char *)io_mem_data(dev))[2 * MIB / sizes[i] * sizes[i] - 1], 0x21);
	}
	bufio_device_close(dev);
}

static void other_bad_sizes(void)
{
	open_device(NR_BLOCKS * BLOCK);
	refused(BLOCK, 0, 0);
	refused(BLOCK, 1, 65537);
	refused(BLOCK, 1, ~0u);
	bufio_device_close(dev);
}

static void device_alignment(void)
{
	open_device(NR_BLOCKS * BLOCK);
	dev->info.alignment = 4096;
	refused(512, 1, 0);
	refused(1536, 1, 0);
	refused(4096 + 512, 1, 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(create(4096)), 0);
	finish(create(12288));
}

static void incomplete_last_block(void)
{
	static const uint64_t sizes[] = { 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK - 1, 3 * BLOCK };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct bufio_buffer *b = (void *)&told;
		uint64_t nr = sizes[i] / BLOCK;
		struct bufio_client *c;

		open_device(sizes[i]);
		c = create(BLOCK);
		CU_ASSERT_EQUAL(bufio_get_device_size(c), nr);
		errno = 0;
		CU_ASSERT_PTR_NULL(bufio_read(c, nr, &b));
		CU_ASSERT_EQUAL(errno, EINVAL);
		CU_ASSERT_PTR_EQUAL(b, (void *)&told);
		finish(c);
	}
}

static void accessors(void)
{
	struct bufio_client *c;
	struct bufio_buffer *b;
	void *data;

	open_device(NR_BLOCKS * BLOCK);
	c = create(BLOCK);
	data = bufio_read(c, 7, &b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	CU_ASSERT_EQUAL(bufio_get_block_size(c), BLOCK);
	CU_ASSERT_EQUAL(bufio_get_device_size(c), NR_BLOCKS);
	CU_ASSERT_PTR_EQUAL(bufio_get_device(c), dev);
	CU_ASSERT_EQUAL(bufio_get_block_number(b), 7);
	CU_ASSERT_PTR_EQUAL(bufio_get_block_data(b), data);
	CU_ASSERT_PTR_EQUAL(bufio_get_client(b), c);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	finish(c);
}

static void check_aux(unsigned size)
{
	struct bufio_client *c = bufio_client_create(dev, 512, 4, size, NULL, NULL);
	struct bufio_buffer *b[4];

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	for (unsigned i = 0; i < 4; i++) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_read(c, i, &b[i]));
		CU_ASSERT_EQUAL((uintptr_t)bufio_get_aux_data(b[i]) % alignof(max_align_t), 0);
		memset(bufio_get_aux_data(b[i]), (int)i + 1, size);
	}
	for (unsigned i = 0; i < 4; i++) {
		unsigned char *aux = bufio_get_aux_data(b[i]), *data = bufio_get_block_data(b[i]);

		for (unsigned at = 0; at < size; at += size - at > 1 ? size - at - 1 : 1)
			CU_ASSERT_EQUAL(aux[at], i + 1);
		CU_ASSERT_EQUAL(data[0] | data[511], 0);
		CU_ASSERT_EQUAL(bufio_get_block_number(b[i]), i);
		CU_ASSERT_EQUAL(bufio_release(b[i]), 0);
	}
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
}

static void aux_data(void)
{
	static const unsigned sizes[] = { 1, 7, 8, 24, 100, 4097, 65536 };

	open_device(NR_BLOCKS * BLOCK);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		check_aux(sizes[i]);
	bufio_device_close(dev);
}

static void aux_stays(void)
{
	struct bufio_client *c;
	struct bufio_buffer *b;

	open_device(NR_BLOCKS * BLOCK);
	c = bufio_client_create(dev, BLOCK, 1, sizeof(int), NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_read(c, 5, &b));
	*(int *)bufio_get_aux_data(b) = 4711;
	bufio_release(b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_get(c, 5, &b));
	CU_ASSERT_EQUAL(*(int *)bufio_get_aux_data(b), 4711);
	bufio_release(b);
	finish(c);
}

static unsigned nr_prepared;

static void prepare(struct bufio_buffer *b)
{
	nr_prepared++;
	*(unsigned *)bufio_get_aux_data(b) = 0xabcd;
}

/* Enough blocks that buffers are handed out again: their aux data must have been prepared anew. */
static void alloc_callback(void)
{
	struct bufio_client *c;
	struct bufio_buffer *b;

	open_device(NR_BLOCKS * BLOCK);
	c = bufio_client_create(dev, BLOCK, 1, sizeof(unsigned), prepare, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c)), 0);
	nr_prepared = 0;
	for (uint64_t i = 0; i < NR_BLOCKS; i++) {
		void *data = i % 2 ? bufio_read(c, i, &b) : bufio_new(c, i, &b);

		CU_ASSERT_PTR_NOT_NULL_FATAL(data);
		CU_ASSERT_EQUAL(*(unsigned *)bufio_get_aux_data(b), 0xabcd);
		*(unsigned *)bufio_get_aux_data(b) = 1;
		bufio_release(b);
	}
	CU_ASSERT_EQUAL(nr_prepared, NR_BLOCKS);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_read(c, NR_BLOCKS - 1, &b));
	CU_ASSERT_EQUAL(*(unsigned *)bufio_get_aux_data(b), 1);
	CU_ASSERT_EQUAL(nr_prepared, NR_BLOCKS);
	bufio_release(b);
	finish(c);
}

static void default_limit(void)
{
	struct bufio_client *c;
	uint64_t limit, floor;

	open_device(NR_BLOCKS * BLOCK);
	c = create(BLOCK);
	limit = bufio_get_memory_limit(c);
	floor = bufio_get_memory_floor(c);
	CU_ASSERT_TRUE(floor > 8 * BLOCK);
	CU_ASSERT_TRUE(floor < 8 * MIB);
	CU_ASSERT_TRUE(limit >= 8 * MIB && limit <= 256 * MIB);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	c = create(64 << 20);
	CU_ASSERT_TRUE(bufio_get_memory_floor(c) >= 8 * 64 * MIB);
	CU_ASSERT_TRUE(bufio_get_memory_limit(c) >= bufio_get_memory_floor(c));
	finish(c);
}

static void destroy_null(void)
{
	CU_ASSERT_EQUAL(bufio_client_destroy(NULL), 0);
}

static void destroy_writes(void)
{
	struct bufio_client *c;
	unsigned char *memory;

	open_device(NR_BLOCKS * BLOCK);
	memory = io_mem_data(dev);
	c = create(BLOCK);
	put(c, 3, 0x33);
	put(c, 60, 0x60);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	CU_ASSERT_EQUAL(memory[3 * BLOCK] & memory[4 * BLOCK - 1], 0x33);
	CU_ASSERT_EQUAL(memory[60 * BLOCK] & memory[61 * BLOCK - 1], 0x60);
	CU_ASSERT_EQUAL(told.nr, 0);
	bufio_device_close(dev);
}

static void destroy_flushes(void)
{
	struct bufio_client *c = open_faulty(IO_FAULT_FLUSH, 0, EIO);

	put(c, 3, 0x33);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	CU_ASSERT_TRUE(plan.count >= 1);
	bufio_device_close(dev);
}

static void destroy_write_error(void)
{
	struct bufio_client *c = open_faulty(IO_FAULT_WRITE, 1, ENOSPC);

	put(c, 3, 0x33);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -ENOSPC);
	CU_ASSERT_TRUE(told.nr >= 1);
	CU_ASSERT_EQUAL(told.what[0], BUFIO_REPORT_WRITE_ERROR);
	CU_ASSERT_EQUAL(told.block[0], 3);
	CU_ASSERT_EQUAL(abs(told.error[0]), ENOSPC);
	CU_ASSERT_PTR_EQUAL(told.context, &plan);
	bufio_device_close(dev);
}

static void destroy_flush_error(void)
{
	struct bufio_client *c = open_faulty(IO_FAULT_FLUSH, 1, EIO);

	put(c, 3, 0x33);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -EIO);
	bufio_device_close(dev);
}

static void destroy_leaked(void)
{
	struct bufio_client *c;
	struct bufio_buffer *b;

	open_device(NR_BLOCKS * BLOCK);
	c = create(BLOCK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_read(c, 9, &b));
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -EBUSY);
	CU_ASSERT_EQUAL(told.nr, 1);
	CU_ASSERT_EQUAL(told.what[0], BUFIO_REPORT_LEAKED_HOLD);
	CU_ASSERT_EQUAL(told.block[0], 9);
	CU_ASSERT_EQUAL(told.error[0], 0);
	CU_ASSERT_PTR_EQUAL(told.context, &told);
	bufio_device_close(dev);
}

static void destroy_leaked_dirty(void)
{
	struct bufio_client *c;
	struct bufio_buffer *b;
	unsigned blocks = 0;

	open_device(NR_BLOCKS * BLOCK);
	c = create(BLOCK);
	get_new(c, 2, 0x22, &b);
	get_new(c, 4, 0x44, &b);
	put(c, 6, 0x66);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -EBUSY);
	CU_ASSERT_EQUAL(told.nr, 2);
	for (unsigned i = 0; i < 2; i++)
		blocks |= 1u << told.block[i];
	CU_ASSERT_EQUAL(blocks, 1 << 2 | 1 << 4);
	for (unsigned i = 2; i <= 6; i += 2)
		CU_ASSERT_EQUAL(((unsigned char *)io_mem_data(dev))[i * BLOCK], i * 0x11);
	bufio_device_close(dev);
}

static void destroy_leaked_and_failed(void)
{
	struct bufio_client *c = open_faulty(IO_FAULT_WRITE, 1, ENOSPC);
	struct bufio_buffer *b;

	get_new(c, 3, 0x33, &b);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -ENOSPC);
	bufio_device_close(dev);
}

static void destroy_without_report(void)
{
	struct bufio_client *c = open_faulty(IO_FAULT_WRITE, 1, EIO);
	struct bufio_buffer *b;

	bufio_set_report(c, NULL, NULL);
	get_new(c, 3, 0x33, &b);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), -EIO);
	CU_ASSERT_EQUAL(told.nr, 0);
	bufio_device_close(dev);
}

static void again_on_the_device(void)
{
	struct bufio_client *c;
	struct bufio_buffer *b;
	unsigned char *data;

	open_device(NR_BLOCKS * BLOCK);
	c = create(BLOCK);
	put(c, 1, 0x11);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	c = create(512);
	data = bufio_read(c, 8, &b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	CU_ASSERT_EQUAL(data[0] & data[511], 0x11);
	bufio_release(b);
	finish(c);
}

static void reads_counted(void)
{
	struct bufio_stats s;
	struct bufio_client *c;
	struct bufio_buffer *b;

	open_device(NR_BLOCKS * BLOCK);
	c = create(BLOCK);
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_read(c, 5, &b));
		bufio_release(b);
	}
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_get(c, 5, &b));
	bufio_release(b);
	bufio_get_stats(c, &s);
	CU_ASSERT_EQUAL(s.misses, 1);
	CU_ASSERT_EQUAL(s.hits, 3);
	CU_ASSERT_EQUAL(s.blocks_read, 1);
	CU_ASSERT_EQUAL(s.read_requests, 1);
	CU_ASSERT_EQUAL(s.blocks_written + s.write_requests + s.read_errors + s.write_errors + s.dirty, 0);
	CU_ASSERT_TRUE(s.current_bytes >= BLOCK && s.current_bytes <= s.peak_bytes);
	finish(c);
}

static void writes_counted(void)
{
	struct bufio_stats s;
	struct bufio_client *c;

	open_device(NR_BLOCKS * BLOCK);
	c = create(BLOCK);
	put(c, 1, 1);
	put(c, 10, 1);
	bufio_get_stats(c, &s);
	CU_ASSERT_EQUAL(s.misses, 2);
	CU_ASSERT_EQUAL(s.dirty, 2);
	CU_ASSERT_EQUAL(s.blocks_read, 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	bufio_get_stats(c, &s);
	CU_ASSERT_EQUAL(s.dirty, 0);
	CU_ASSERT_EQUAL(s.blocks_written, 2);
	CU_ASSERT_EQUAL(s.write_requests, 2);
	CU_ASSERT_EQUAL(s.flushes, 1);
	finish(c);
}

static void errors_counted(void)
{
	struct bufio_client *c = open_faulty(IO_FAULT_READ | IO_FAULT_WRITE, 1, EIO);
	struct bufio_stats s;
	struct bufio_buffer *b;

	CU_ASSERT_PTR_NULL(bufio_read(c, 1, &b));
	put(c, 2, 1);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
	bufio_get_stats(c, &s);
	CU_ASSERT_EQUAL(s.read_errors, 1);
	CU_ASSERT_EQUAL(s.write_errors, 1);
	CU_ASSERT_EQUAL(s.dirty, 1);
	plan.fail_at = 0;
	finish(c);
}

static void evictions_counted(void)
{
	struct bufio_stats s;
	struct bufio_client *c;
	struct bufio_buffer *b;

	open_device(NR_BLOCKS * BLOCK);
	c = create(BLOCK);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c)), 0);
	for (uint64_t i = 0; i < NR_BLOCKS; i++) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_read(c, i, &b));
		bufio_release(b);
	}
	bufio_get_stats(c, &s);
	CU_ASSERT_EQUAL(s.misses, NR_BLOCKS);
	CU_ASSERT_TRUE(s.evictions > 0 && s.evictions < NR_BLOCKS);
	finish(c);
}

static const struct unit_case cases[] = {
	{ "a block size of 0, too large or no multiple of 512 is refused", bad_block_sizes },
	{ "any other block size works, powers of two or not", good_block_sizes },
	{ "no reserve at all, or too much aux data, is refused", other_bad_sizes },
	{ "a block size that the device cannot address is refused", device_alignment },
	{ "an incomplete last block is not reachable", incomplete_last_block },
	{ "a held buffer tells its block, data and client", accessors },
	{ "aux data is aligned, and as large as asked for", aux_data },
	{ "aux data stays with the cached block", aux_stays },
	{ "the allocation callback prepares aux data for each new block, and only then", alloc_callback },
	{ "the memory limit starts inside its bounds", default_limit },
	{ "no client may be destroyed", destroy_null },
	{ "destroy writes what is dirty", destroy_writes },
	{ "destroy flushes", destroy_flushes },
	{ "destroy returns a write error, and reports the block", destroy_write_error },
	{ "destroy returns a flush error", destroy_flush_error },
	{ "a leaked hold is reported and makes destroy busy", destroy_leaked },
	{ "each leaked hold is reported, and dirty ones are written", destroy_leaked_dirty },
	{ "a write error counts more than a leaked hold", destroy_leaked_and_failed },
	{ "nothing is reported to nobody", destroy_without_report },
	{ "the device may be used by a next client", again_on_the_device },
	{ "hits, misses and reads are counted", reads_counted },
	{ "dirty buffers, writes and flushes are counted", writes_counted },
	{ "errors are counted", errors_counted },
	{ "evictions are counted", evictions_counted },
	{ NULL, NULL },
};

const struct unit_suite client_suite = { "client", cases };
