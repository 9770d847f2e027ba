// SPDX-License-Identifier: LGPL-2.1-or-later
/* Telling the device what is not needed, and a device that begins behind its start. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "rig.h"

#define BLOCK 4096
#define NR_BLOCKS 64
#define OFFSET 24 /* sectors: 3 blocks */

static void setup(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
}

static void setup_offset(void)
{
	setup();
	CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, OFFSET), 0);
}

/* All blocks of the device but @nr from @first on are as they were, and these are not. */
static void expect_hole(uint64_t first, uint64_t nr)
{
	unsigned wrong = 0;

	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		wrong += (rig_on_device(i) != rig_pattern(i)) != (i >= first && i - first < nr);
	CU_ASSERT_EQUAL(wrong, 0);
}

static void expect_discard(uint64_t offset, uint64_t bytes)
{
	CU_ASSERT_EQUAL(rig.nr_discards, 1);
	CU_ASSERT_EQUAL(rig.discarded.offset, offset);
	CU_ASSERT_EQUAL(rig.discarded.bytes, bytes);
	rig.nr_discards = 0;
}

/* --- discard --- */

static void exactly_the_range(void)
{
	setup();
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 5), 0);
	expect_discard(10 * BLOCK, 5 * BLOCK);
	expect_hole(10, 5);
	CU_ASSERT_EQUAL(rig_stats().discards, 1);
	CU_ASSERT_EQUAL(rig.nr_log, 0);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, NR_BLOCKS - 1, 1), 0);
	expect_discard((NR_BLOCKS - 1) * BLOCK, BLOCK);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 0, NR_BLOCKS), 0);
	expect_discard(0, NR_BLOCKS * BLOCK);
	rig_close();
}

static void behind_an_offset(void)
{
	setup_offset();
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 5), 0);
	expect_discard(13 * BLOCK, 5 * BLOCK);
	expect_hole(13, 5);
	rig_close();
}

static void cached_copies(void)
{
	setup();
	rig_read_all(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 5), 0);
	CU_ASSERT_FALSE(rig_is_cached(10));
	CU_ASSERT_TRUE(rig_is_cached(9));
	CU_ASSERT_TRUE(rig_is_cached(15));
	CU_ASSERT_EQUAL(rig_read(10), 0);
	CU_ASSERT_EQUAL(rig_read(14), 0);
	rig_close();
}

static void held(void)
{
	struct bufio_buffer *b;

	setup();
	rig_hold(12, &b);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 5), -EBUSY);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 0, NR_BLOCKS), -EBUSY);
	CU_ASSERT_EQUAL(rig.nr_discards, 0);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 2), 0);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 13, 2), 0);
	CU_ASSERT_EQUAL(rig_value_of(bufio_get_block_data(b), BLOCK), rig_pattern(12));
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 12, 1), 0);
	expect_hole(10, 5);
	rig_close();
}

static void dirty(void)
{
	setup();
	CU_ASSERT_EQUAL(rig_put(12, 0x77), 0);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 5), -EBUSY);
	CU_ASSERT_EQUAL(rig.nr_discards, 0);
	CU_ASSERT_EQUAL(rig_stats().dirty, 1);
	CU_ASSERT_EQUAL(rig_read(12), 0x77);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 5), 0);
	CU_ASSERT_EQUAL(rig_read(12), 0);
	rig_close();
}

static void under_way(void)
{
	setup();
	rig_keep(IO_FAULT_READ | IO_FAULT_WRITE);
	bufio_prefetch(rig.c, 12, 1);
	CU_ASSERT_EQUAL(rig_put(20, 0x77), 0);
	bufio_write_dirty_buffers_async(rig.c);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 5), -EBUSY);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 20, 1), -EBUSY);
	CU_ASSERT_EQUAL(rig.nr_discards, 0);
	rig_let_all_go();
	CU_ASSERT_EQUAL(rig_read(12), rig_pattern(12));
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	CU_ASSERT_EQUAL(rig_on_device(20), 0x77);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 11), 0);
	rig_close();
}

/* The device has long finished both; whoever issues the discard need not have called anything that waits. */
static void not_under_way_any_more(void)
{
	setup();
	bufio_prefetch(rig.c, 12, 1);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 5), 0);
	CU_ASSERT_EQUAL(rig_put(20, 0x77), 0);
	bufio_write_dirty_buffers_async(rig.c);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 20, 1), 0);
	CU_ASSERT_EQUAL(rig_read(12), 0);
	CU_ASSERT_EQUAL(rig_read(20), 0);
	rig_close();
}

static void past_the_end(void)
{
	static const uint64_t ranges[][2] = {
		{ NR_BLOCKS, 1 }, { NR_BLOCKS - 1, 2 }, { 0, NR_BLOCKS + 1 }, { UINT64_MAX, 1 }, { 1, UINT64_MAX },
		{ UINT64_MAX, UINT64_MAX }, { UINT64_MAX / BLOCK + 1, 1 },
	};

	setup_offset();
	for (unsigned i = 0; i < sizeof(ranges) / sizeof(*ranges); i++)
		CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, ranges[i][0], ranges[i][1]), -EINVAL);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, NR_BLOCKS - 3, 1), -EINVAL);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, NR_BLOCKS - 4, 2), -EINVAL);
	CU_ASSERT_EQUAL(rig.nr_discards, 0);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, NR_BLOCKS - 4, 1), 0);
	expect_hole(NR_BLOCKS - 1, 1);
	rig_close();
}

static void refused_by_device(void)
{
	static const int errors[] = { EOPNOTSUPP, EIO };

	setup();
	rig_read_all(8, 20);
	rig.plan.kinds = IO_FAULT_DISCARD;
	rig.plan.sticky = true;
	rig.plan.fail_at = 1;
	for (unsigned i = 0; i < 2; i++) {
		rig.plan.error = errors[i];
		CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 5), -errors[i]);
	}
	rig_read_all(0, NR_BLOCKS);
	rig_close();
}

static void read_only(void)
{
	rig_open(BLOCK, NR_BLOCKS);
	rig.dev->info.read_only = true;
	rig_create(1, 0, NULL, NULL);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 10, 5), -EROFS);
	CU_ASSERT_EQUAL(rig.nr_discards, 0);
	rig_close();
}

/* --- offset --- */

static void offset_moves_blocks(void)
{
	setup_offset();
	CU_ASSERT_EQUAL(bufio_get_device_size(rig.c), NR_BLOCKS - 3);
	CU_ASSERT_EQUAL(rig_read(0), rig_pattern(3));
	CU_ASSERT_EQUAL(rig_read(NR_BLOCKS - 4), rig_pattern(NR_BLOCKS - 1));
	CU_ASSERT_EQUAL(rig_put(7, 0x77), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	CU_ASSERT_EQUAL(rig_on_device(10), 0x77);
	CU_ASSERT_EQUAL(rig_on_device(7), rig_pattern(7));
	bufio_prefetch(rig.c, 20, 8);
	for (uint64_t i = 20; i < 28; i++)
		CU_ASSERT_EQUAL(rig_read(i), rig_pattern(i + 3));
	rig_close();
}

static void last_valid_block(void)
{
	struct bufio_buffer *b;
	void *(*calls[])(struct bufio_client *, uint64_t, struct bufio_buffer **) = {
		bufio_read, bufio_get, bufio_new,
	};

	/* One sector off, so that the last block would be cut. */
	for (uint64_t sectors = 1; sectors <= 9; sectors += 8) {
		uint64_t size = NR_BLOCKS - (sectors + 7) / 8;

		setup();
		CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, sectors), 0);
		CU_ASSERT_EQUAL(bufio_get_device_size(rig.c), size);
		CU_ASSERT_TRUE(rig_read(size - 1) >= -1); /* of two blocks' bytes */
		for (unsigned i = 0; i < 3; i++) {
			errno = 0;
			CU_ASSERT_PTR_NULL(calls[i](rig.c, size, &b));
			CU_ASSERT_EQUAL(errno, EINVAL);
		}
		rig.nr_log = 0;
		bufio_prefetch(rig.c, size, 3);
		CU_ASSERT_EQUAL(rig.nr_log, 0);
		rig_close();
	}
}

static void nothing_left(void)
{
	static const uint64_t sectors[] = {
		NR_BLOCKS * 8, NR_BLOCKS * 8 - 7, NR_BLOCKS * 8 + 1, 1 << 30, UINT64_MAX / 512,
	};

	for (unsigned i = 0; i < sizeof(sectors) / sizeof(*sectors); i++) {
		setup();
		CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, sectors[i]), 0);
		CU_ASSERT_EQUAL(bufio_get_device_size(rig.c), 0);
		CU_ASSERT_EQUAL(rig_read(0), -2 - EINVAL);
		CU_ASSERT_EQUAL(rig_put(0, 1), -EINVAL);
		CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 0, 1), -EINVAL);
		CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, 0), 0);
		rig_read_all(0, NR_BLOCKS);
		rig_close();
	}
}

static void bad_offsets(void)
{
	rig_open(BLOCK, NR_BLOCKS);
	rig.dev->info.alignment = 4096;
	rig_create(1, 0, NULL, NULL);
	for (uint64_t sectors = 1; sectors < 8; sectors++)
		CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, sectors), -EINVAL);
	CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, UINT64_MAX / 512 + 1), -EINVAL);
	CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, UINT64_MAX), -EINVAL);
	CU_ASSERT_EQUAL(bufio_get_device_size(rig.c), NR_BLOCKS);
	CU_ASSERT_EQUAL(rig_read(0), rig_pattern(0));
	CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, 16), 0);
	CU_ASSERT_EQUAL(rig_read(0), rig_pattern(2));
	rig_close();
}

static void expect_unmoved(void)
{
	CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, OFFSET), -EBUSY);
	CU_ASSERT_EQUAL(bufio_get_device_size(rig.c), NR_BLOCKS);
	CU_ASSERT_EQUAL(rig_read(0), rig_pattern(0));
}

static void busy_offset(void)
{
	struct bufio_buffer *b;

	setup();
	rig_hold(12, &b);
	expect_unmoved();
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(rig_put(12, 0x77), 0);
	expect_unmoved();
	CU_ASSERT_EQUAL(rig_stats().dirty, 1);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	CU_ASSERT_EQUAL(rig_on_device(12), 0x77);
	CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, OFFSET), 0);
	CU_ASSERT_EQUAL(rig_read(9), 0x77);
	rig_close();
}

static void *set_offset(void *result)
{
	*(int *)result = bufio_set_sector_offset(rig.c, OFFSET);
	return NULL;
}

static bool somebody_waits(void)
{
	return rig_stats().waits > 0;
}

/* Blocks that are on their way when the numbers change must not be taken for others. */
static void offset_during_prefetch(void)
{
	pthread_t setter;
	int r = 1;

	setup();
	rig_keep(IO_FAULT_READ);
	bufio_prefetch(rig.c, 0, 20);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&setter, NULL, set_offset, &r), 0);
	rig_wait_until(somebody_waits, 2000);
	rig_let_all_go();
	pthread_join(setter, NULL);
	CU_ASSERT_TRUE(r == 0 || r == -EBUSY);
	for (uint64_t i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(rig_read(i), rig_pattern(r ? i : i + 3));
	rig_close();
}

static void offset_to_and_fro(void)
{
	setup();
	for (unsigned i = 0; i < 20; i++) {
		uint64_t blocks = i % 2 ? i : 0;

		CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, blocks * 8), 0);
		CU_ASSERT_EQUAL(bufio_get_device_size(rig.c), NR_BLOCKS - blocks);
		CU_ASSERT_EQUAL(rig_read(5), rig_pattern(blocks + 5));
	}
	rig_close();
}

static const struct unit_case cases[] = {
	{ "exactly the range is discarded, and its neighbours stay", exactly_the_range },
	{ "behind a sector offset it is the same range, moved by the offset", behind_an_offset },
	{ "cached copies of what was discarded are forgotten, and no others", cached_copies },
	{ "a range with a held block is refused, and nothing of it discarded", held },
	{ "a range with a dirty block is refused, and nothing is lost", dirty },
	{ "a range with a block that is being read or written is refused", under_way },
	{ "a range whose reads and writes the device has finished is not refused", not_under_way_any_more },
	{ "a range past the end is refused, however far", past_the_end },
	{ "the device's refusal is returned, and blocks can be read after it", refused_by_device },
	{ "a read-only device is not discarded", read_only },
	{ "a sector offset moves reads, writes and prefetches", offset_moves_blocks },
	{ "behind an offset the last whole block reads, and the next is past the end", last_valid_block },
	{ "behind an offset at or past the end there are no blocks", nothing_left },
	{ "an offset that the device cannot address is refused and changes nothing", bad_offsets },
	{ "an offset is refused while a block is held or dirty, and changes nothing", busy_offset },
	{ "an offset during a prefetch mixes no blocks up", offset_during_prefetch },
	{ "an offset forgets what was cached", offset_to_and_fro },
	{ NULL, NULL },
};

const struct unit_suite discard_suite = { "discard", cases };
