// SPDX-License-Identifier: LGPL-2.1-or-later
/* Blocks of which only a range was marked dirty. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define BLOCK 65536
#define NR_BLOCKS 16
#define UNIT 4096

static void mark(struct bufio_buffer *b, unsigned start, unsigned end, int value)
{
	memset((char *)bufio_get_block_data(b) + start, value, end - start);
	CU_ASSERT_EQUAL(bufio_mark_partial_buffer_dirty(b, start, end), 0);
}

/* Changes a range of a block that was read. */
static void change(uint64_t block, unsigned start, unsigned end, int value)
{
	struct bufio_buffer *b;

	rig_hold(block, &b);
	mark(b, start, end, value);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
}

static void write_all(void)
{
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
}

/* The last request of all was a write of these bytes of the block. */
static void expect_write(uint64_t block, unsigned start, unsigned end)
{
	CU_ASSERT_TRUE_FATAL(rig.nr_log > 0 && rig.nr_log <= RIG_LOG);
	CU_ASSERT_EQUAL(rig.log[rig.nr_log - 1].direction, IO_WRITE);
	CU_ASSERT_EQUAL(rig.log[rig.nr_log - 1].offset, block * rig.block_size + start);
	CU_ASSERT_EQUAL(rig.log[rig.nr_log - 1].bytes, end - start);
}

/* The only write since the last call was of these bytes. */
static void expect_one_write(uint64_t block, unsigned start, unsigned end)
{
	CU_ASSERT_EQUAL(rig.nr_writes, 1);
	expect_write(block, start, end);
	rig.nr_writes = 0;
}

static int device_value(uint64_t block, unsigned start, unsigned end)
{
	return rig_value_of(rig_memory_of(block) + start, end - start);
}

static void one_unit(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	change(3, 5000, 5001, 0xaa);
	/* What the device has beside the unit is not touched. */
	memset(rig_memory_of(3), 0x11, UNIT);
	memset(rig_memory_of(3) + 2 * UNIT, 0x11, BLOCK - 2 * UNIT);
	write_all();
	expect_one_write(3, UNIT, 2 * UNIT);
	CU_ASSERT_EQUAL(device_value(3, 0, UNIT), 0x11);
	CU_ASSERT_EQUAL(device_value(3, UNIT, 5000), rig_pattern(3));
	CU_ASSERT_EQUAL(rig_memory_of(3)[5000], 0xaa);
	CU_ASSERT_EQUAL(device_value(3, 5001, 2 * UNIT), rig_pattern(3));
	CU_ASSERT_EQUAL(device_value(3, 2 * UNIT, BLOCK), 0x11);
	rig_close();
}

static void on_boundaries(void)
{
	static const unsigned ranges[][4] = {
		{ 0, 1, 0, UNIT }, { 0, UNIT, 0, UNIT }, { UNIT, 2 * UNIT, UNIT, 2 * UNIT },
		{ UNIT - 1, UNIT, 0, UNIT }, { UNIT - 1, UNIT + 1, 0, 2 * UNIT },
		{ BLOCK - 1, BLOCK, BLOCK - UNIT, BLOCK }, { 1, BLOCK, 0, BLOCK }, { 0, BLOCK - UNIT, 0, BLOCK - UNIT },
	};

	rig_setup(BLOCK, NR_BLOCKS);
	for (unsigned i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		change(3, ranges[i][0], ranges[i][1], 0xaa);
		write_all();
		expect_one_write(3, ranges[i][2], ranges[i][3]);
	}
	rig_close();
}

static void union_of_ranges(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	change(3, 60000, 60010, 0xaa);
	change(3, 9000, 9010, 0xbb);
	change(3, 20000, 20010, 0xcc);
	write_all();
	expect_one_write(3, 2 * UNIT, 15 * UNIT);
	CU_ASSERT_EQUAL(device_value(3, 60000, 60010), 0xaa);
	CU_ASSERT_EQUAL(device_value(3, 9000, 9010), 0xbb);
	CU_ASSERT_EQUAL(device_value(3, 20000, 20010), 0xcc);
	rig_close();
}

static void whole_wins(void)
{
	struct bufio_buffer *b;

	rig_setup(BLOCK, NR_BLOCKS);
	for (unsigned i = 0; i < 2; i++) {
		rig_hold(3, &b);
		if (i)
			CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
		mark(b, 10, 20, 0xaa);
		if (!i)
			CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
		CU_ASSERT_EQUAL(bufio_release(b), 0);
		write_all();
		expect_one_write(3, 0, BLOCK);
	}
	rig_close();
}

static void next_range_alone(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	change(3, 0, 10, 0xaa);
	write_all();
	expect_one_write(3, 0, UNIT);
	change(3, 60000, 60010, 0xbb);
	write_all();
	expect_one_write(3, 14 * UNIT, 15 * UNIT);
	write_all();
	CU_ASSERT_EQUAL(rig.nr_writes, 0);
	rig_close();
}

static void small_blocks(void)
{
	static const unsigned sizes[] = { 512, 1536, 2048, UNIT };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		rig_setup(sizes[i], NR_BLOCKS);
		change(4, 100, 101, 0xaa);
		write_all();
		/* Blocks that are no part of 4096 bytes may lie across its boundary: at least the changed half then. */
		CU_ASSERT_EQUAL(rig.nr_writes, 1);
		if (UNIT % sizes[i] == 0)
			expect_write(4, 0, sizes[i]);
		CU_ASSERT_EQUAL(rig_memory_of(4)[100], 0xaa);
		CU_ASSERT_EQUAL(device_value(4, 101, sizes[i]), rig_pattern(4));
		rig_close();
	}
}

static void odd_block(void)
{
	rig_setup(25 * 512, NR_BLOCKS);
	change(8, 25 * 512 - 1, 25 * 512, 0xaa); /* block 8 begins at a multiple of 4096 */
	write_all();
	expect_one_write(8, 3 * UNIT, 25 * 512);
	CU_ASSERT_EQUAL(rig_on_device(9), rig_pattern(9));
	/* Block 1 begins 512 bytes behind such a multiple. */
	change(1, 3000, 3001, 0xbb);
	write_all();
	expect_one_write(1, 0, UNIT - 512);
	rig_close();
}

static void open_with_physical(unsigned block_size, unsigned physical)
{
	rig_open(block_size, NR_BLOCKS);
	rig.dev->info.physical_block_size = physical;
	rig_create(1, 0, NULL, NULL);
}

static void physical_16k(void)
{
	open_with_physical(BLOCK, 16384);
	change(3, 20000, 20001, 0xaa);
	write_all();
	expect_one_write(3, 16384, 32768);
	change(3, 16383, 16385, 0xbb);
	write_all();
	expect_one_write(3, 0, 32768);
	change(3, 65535, 65536, 0xcc);
	write_all();
	expect_one_write(3, 49152, 65536);
	rig_close();
}

static void physical_larger_than_block(void)
{
	open_with_physical(8192, 16384);
	change(3, 5000, 5001, 0xaa);
	write_all();
	expect_one_write(3, 0, 8192);
	CU_ASSERT_EQUAL(rig_on_device(2), rig_pattern(2));
	CU_ASSERT_EQUAL(rig_on_device(4), rig_pattern(4));
	rig_close();
	open_with_physical(BLOCK, 512);
	change(3, 5000, 5001, 0xaa);
	write_all();
	expect_one_write(3, UNIT, 2 * UNIT);
	rig_close();
}

/* With an offset of 4096 bytes a physical block of 16 KiB ends 12 KiB into each block. */
static void physical_and_offset(void)
{
	open_with_physical(BLOCK, 16384);
	CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, 8), 0);
	change(2, 100, 101, 0xaa);
	write_all();
	expect_one_write(2, UNIT, UNIT + 12288);
	change(2, 12288, 12289, 0xbb);
	write_all();
	expect_one_write(2, UNIT + 12288, UNIT + 28672);
	change(2, 65535, 65536, 0xcc);
	write_all();
	expect_one_write(2, UNIT + 61440, UNIT + 65536);
	rig_close();
}

static void new_and_range(void)
{
	struct bufio_buffer *b;

	rig_setup(BLOCK, NR_BLOCKS);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_new(rig.c, 3, &b));
	mark(b, 5000, 5001, 0xaa);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	write_all();
	expect_one_write(3, 0, BLOCK);
	CU_ASSERT_EQUAL(device_value(3, 0, 5000), 0);
	CU_ASSERT_EQUAL(device_value(3, 5001, BLOCK), 0);
	/* The same where the block was cached, and where it was dirty in part. */
	change(4, 60000, 60001, 0xbb);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_new(rig.c, 4, &b));
	mark(b, 5000, 5001, 0xaa);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	write_all();
	expect_one_write(4, 0, BLOCK);
	CU_ASSERT_EQUAL(device_value(4, 5001, BLOCK), 0);
	rig_close();
}

static void failed_is_whole(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	change(3, 5000, 5001, 0xaa);
	rig_damage(IO_WRITE, 3, ENOSPC);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), -ENOSPC);
	expect_one_write(3, UNIT, 2 * UNIT);
	rig_damage(IO_WRITE, 3, 0);
	change(3, 20000, 20001, 0xbb);
	write_all();
	expect_one_write(3, 0, BLOCK);
	change(3, 20000, 20001, 0xcc);
	write_all();
	expect_one_write(3, 4 * UNIT, 5 * UNIT);
	rig_close();
}

static void stamp(struct bufio_buffer *b)
{
	*(unsigned char *)bufio_get_block_data(b) = 0xee;
}

static void callback_is_whole(void)
{
	rig_open(BLOCK, NR_BLOCKS);
	rig_create(1, 0, NULL, stamp);
	change(3, 60000, 60001, 0xaa);
	write_all();
	expect_one_write(3, 0, BLOCK);
	CU_ASSERT_EQUAL(rig_memory_of(3)[0], 0xee);
	CU_ASSERT_EQUAL(rig_memory_of(3)[60000], 0xaa);
	rig_close();
}

static void marked_while_written(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	rig_keep(IO_FAULT_WRITE);
	change(3, 0, 10, 0xaa);
	bufio_write_dirty_buffers_async(rig.c);
	expect_one_write(3, 0, UNIT);
	change(3, 60000, 60010, 0xbb);
	CU_ASSERT_EQUAL(rig.nr_writes, 0);
	rig_let_all_go();
	write_all();
	expect_one_write(3, 14 * UNIT, 15 * UNIT);
	CU_ASSERT_EQUAL(device_value(3, 0, 10), 0xaa);
	CU_ASSERT_EQUAL(device_value(3, 60000, 60010), 0xbb);
	rig_close();
}

static void marked_while_failing(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	rig_keep(IO_FAULT_WRITE);
	rig_damage(IO_WRITE, 3, EIO);
	change(3, 0, 10, 0xaa);
	bufio_write_dirty_buffers_async(rig.c);
	change(3, 60000, 60010, 0xbb);
	rig_let_all_go();
	rig_damage(IO_WRITE, 3, 0);
	write_all();
	CU_ASSERT_EQUAL(device_value(3, 0, 10), 0xaa);
	CU_ASSERT_EQUAL(device_value(3, 60000, 60010), 0xbb);
	CU_ASSERT_EQUAL(rig_stats().dirty, 0);
	rig_close();
}

static void neighbours(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	change(3, 60000, BLOCK, 0xaa);
	change(4, 0, BLOCK, 0xbb);
	change(5, 0, 10, 0xcc);
	/* These two do not meet: block 7 ends before its end. */
	change(7, 0, 10, 0xdd);
	change(8, 0, 10, 0xdd);
	memset(rig_memory_of(7) + UNIT, 0x11, BLOCK - UNIT);
	memset(rig_memory_of(5) + UNIT, 0x11, BLOCK - UNIT);
	write_all();
	CU_ASSERT_EQUAL(rig.nr_writes, 3);
	CU_ASSERT_EQUAL(device_value(3, 0, 60000), rig_pattern(3));
	CU_ASSERT_EQUAL(device_value(3, 60000, BLOCK), 0xaa);
	CU_ASSERT_EQUAL(rig_on_device(4), 0xbb);
	CU_ASSERT_EQUAL(device_value(5, 0, 10), 0xcc);
	CU_ASSERT_EQUAL(device_value(5, UNIT, BLOCK), 0x11);
	CU_ASSERT_EQUAL(device_value(7, UNIT, BLOCK), 0x11);
	CU_ASSERT_EQUAL(device_value(8, 0, 10), 0xdd);
	CU_ASSERT_EQUAL(rig_stats().written_bytes, BLOCK + 5 * UNIT);
	CU_ASSERT_EQUAL(rig_stats().blocks_written, 5);
	CU_ASSERT_EQUAL(rig_stats().merged, 2);
	rig_close();
}

static void evicted(void)
{
	rig_setup(BLOCK, 64);
	rig_set_floor();
	for (uint64_t i = 0; i < 64; i++)
		change(i, 5000, 5001, 0xaa);
	write_all();
	for (unsigned i = 0; i < rig.nr_log; i++)
		if (rig.log[i].direction == IO_WRITE)
			CU_ASSERT_EQUAL(rig.log[i].bytes, UNIT);
	for (uint64_t i = 0; i < 64; i++)
		CU_ASSERT_EQUAL(rig_memory_of(i)[5000], 0xaa);
	rig_close();
}

static void moved_is_whole(void)
{
	struct bufio_buffer *b;

	rig_setup(BLOCK, NR_BLOCKS);
	rig_hold(3, &b);
	mark(b, 5000, 5001, 0xaa);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	expect_one_write(3, UNIT, 2 * UNIT);
	write_all();
	expect_one_write(9, 0, BLOCK);
	CU_ASSERT_EQUAL(memcmp(rig_memory_of(3), rig_memory_of(9), BLOCK), 0);
	rig_close();
}

/* A write of a range went before, whose range the move must not use again; or none at all. */
static void shared_move_is_whole(void)
{
	struct bufio_buffer *kept, *moved;

	rig_setup(BLOCK, NR_BLOCKS);
	for (uint64_t block = 3; block <= 4; block++) {
		rig_hold(block, &kept);
		if (block == 4) {
			mark(kept, 5000, 5001, 0xaa);
			write_all();
		}
		rig_hold(block, &moved);
		CU_ASSERT_EQUAL(bufio_release_move(moved, block + 6), 0);
		CU_ASSERT_EQUAL(bufio_release(kept), 0);
		write_all();
		CU_ASSERT_EQUAL(memcmp(rig_memory_of(block), rig_memory_of(block + 6), BLOCK), 0);
		CU_ASSERT_EQUAL(device_value(block + 6, 0, 5000), rig_pattern(block));
	}
	rig_close();
}

static uint32_t next_random(void)
{
	static uint32_t x = 12345;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

static void change_at_random(unsigned char *model)
{
	uint64_t block = next_random() % NR_BLOCKS;
	unsigned start = next_random() % BLOCK, length = next_random() % 9000 + 1;
	unsigned end = start + length < BLOCK ? start + length : BLOCK;
	int value = (int)(next_random() & 0xff);

	change(block, start, end, value);
	memset(model + block * BLOCK + start, value, end - start);
}

static void at_random(void)
{
	static const unsigned physical[] = { 512, UNIT, 16384, 1 << 20 };
	unsigned char *model = malloc(NR_BLOCKS * BLOCK);

	CU_ASSERT_PTR_NOT_NULL_FATAL(model);
	for (unsigned i = 0; i < 4; i++) {
		open_with_physical(BLOCK, physical[i]);
		rig_set_floor();
		memcpy(model, io_mem_data(rig.memory), NR_BLOCKS * BLOCK);
		for (unsigned n = 1; n <= 300; n++) {
			change_at_random(model);
			if (n % 50 == 0)
				write_all();
		}
		CU_ASSERT_EQUAL(memcmp(model, io_mem_data(rig.memory), NR_BLOCKS * BLOCK), 0);
		rig_close();
	}
	free(model);
}

static void read_only(void)
{
	struct bufio_buffer *b;

	rig_open(BLOCK, NR_BLOCKS);
	rig.dev->info.read_only = true;
	rig_create(1, 0, NULL, NULL);
	rig_hold(3, &b);
	CU_ASSERT_EQUAL(bufio_mark_partial_buffer_dirty(b, 5000, 5001), -EROFS);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(rig_stats().dirty, 0);
	rig_close();
}

static const struct unit_case cases[] = {
	{ "of a range only the 4096 bytes around it are written, beside them the device is left alone", one_unit },
	{ "a range that ends on such a boundary is not widened past it", on_boundaries },
	{ "several ranges become one, from the lowest start to the highest end", union_of_ranges },
	{ "a whole mark and a range are a whole write, in either order", whole_wins },
	{ "after a write only the next range counts", next_range_alone },
	{ "a block of at most 4096 bytes is written whole", small_blocks },
	{ "a block of any size is written to its end, and not beyond", odd_block },
	{ "where the device's physical blocks are larger, whole ones are written", physical_16k },
	{ "where they are larger than a block, the block is, and no neighbour; where smaller, 4096 bytes",
	  physical_larger_than_block },
	{ "physical blocks are the device's, whatever the sector offset", physical_and_offset },
	{ "new and a range is a whole write", new_and_range },
	{ "what could not be written is written whole the next time, and by ranges after that", failed_is_whole },
	{ "a client with a write callback writes whole blocks", callback_is_whole },
	{ "a range that is marked while the block is written is written next, alone", marked_while_written },
	{ "a range that is marked while a write fails loses nothing of either", marked_while_failing },
	{ "ranges that meet at the end of a block go in one request, and a gap is left alone", neighbours },
	{ "eviction writes ranges too", evicted },
	{ "a move writes the range to the old place, and the whole block to the new one", moved_is_whole },
	{ "a move of a shared block is whole, whatever range of it was written last", shared_move_is_whole },
	{ "random ranges of random blocks leave every byte as the model says", at_random },
	{ "no range can be marked on a read-only device", read_only },
	{ NULL, NULL },
};

const struct unit_suite partial_suite = { "partial", cases };
