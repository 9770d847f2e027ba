// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "meta/thin_disk.h"
#include "meta/thin_used.h"
#include "unit.h"

#define NR_BLOCKS 200
#define NR_DEVICE_BLOCKS 210

/* Where the blocks of the pool below are. All that is not here is zero and has no count. */
enum {
	META_INDEX = 1, META_BITMAP, META_COUNTS, DATA_INDEX, DATA_BITMAP, DATA_COUNTS, DETAILS, TOP, ROOT, LEAF,
	HELD = 20, HELD_TOP, HELD_DETAILS, HELD_ROOT,
	LEAKED = 100, FREE = 130,
};

static struct thin_used used;

/* --- making a pool --- */

static void superblock(uint64_t block, uint64_t top, uint64_t details)
{
	image_superblock(block, top, details, NR_BLOCKS);
	image_set(block, 48, 8, 7);
}

/* A leaf of one entry, its key 0. */
static void leaf(uint64_t block, uint32_t value_size, uint64_t value)
{
	image_node(block, PD_NODE_LEAF, 1, pd_max_entries(value_size), value_size);
	image_entry(block, 0, 0, value, value_size < 8 ? value_size : 8);
}

static void empty(uint64_t block, uint32_t value_size)
{
	image_node(block, PD_NODE_LEAF, 0, pd_max_entries(value_size), value_size);
}

/* The stored count of a metadata block, two bits of which the high one comes first. */
static void set_count(uint64_t block, unsigned count)
{
	uint8_t *b = image_at(META_BITMAP) + 16 + block / 4;
	unsigned shift = block % 4 * 2;

	*b = (uint8_t)((*b & ~(3u << shift)) | ((count & 1) << 1 | count >> 1) << shift);
	pd_block_seal(image_at(META_BITMAP), PD_BITMAP, META_BITMAP);
}

static void start(void)
{
	image_open(NR_BLOCKS, NR_DEVICE_BLOCKS, THIN_USED_HELD_BUFFERS);
	superblock(0, TOP, DETAILS);
	image_space_map(64, 1000, 0, DATA_INDEX, DATA_COUNTS);
	image_space_map(192, NR_BLOCKS, 0, META_INDEX, META_COUNTS);
	leaf(DATA_INDEX, 16, DATA_BITMAP);
	pd_block_seal(image_at(DATA_BITMAP), PD_BITMAP, DATA_BITMAP);
	empty(DATA_COUNTS, 4);
	le_store(image_at(META_INDEX) + 16, 8, META_BITMAP);
	pd_block_seal(image_at(META_INDEX), PD_INDEX, META_INDEX);
	empty(META_COUNTS, 4);
	leaf(DETAILS, 24, 1);
	leaf(TOP, 8, ROOT);
	image_node(ROOT, PD_NODE_INTERNAL, 1, pd_max_entries(8), 8);
	image_entry(ROOT, 0, 0, LEAF, 8);
	leaf(LEAF, 8, UINT64_C(5) << THIN_TIME_BITS);
	for (unsigned i = 0; i <= LEAF; i++)
		set_count(i, 1);
}

static void add_snapshot(void)
{
	superblock(HELD, HELD_TOP, HELD_DETAILS);
	image_set(0, 56, 8, HELD);
	leaf(HELD_DETAILS, 24, 1);
	leaf(HELD_TOP, 8, HELD_ROOT);
	leaf(HELD_ROOT, 8, UINT64_C(6) << THIN_TIME_BITS);
	for (unsigned i = HELD; i <= HELD_ROOT; i++)
		set_count(i, 1);
}

static void find_with(uint64_t memory, bool is_lost)
{
	struct thin_used_args args = { .client = image.reader.client, .is_lost = is_lost, .memory = memory };

	thin_used_destroy(&used);
	CU_ASSERT_EQUAL_FATAL(thin_used_find(&args, &used), 0);
	image_close();
}

static void find(void)
{
	find_with(1 << 20, false);
}

static bool has(uint64_t block)
{
	uint64_t begin;

	return thin_used_run(&used, block, &begin) && begin == block;
}

static void is_by_contents(enum problem_code why, uint64_t block)
{
	CU_ASSERT_TRUE(used.by_contents);
	CU_ASSERT_TRUE(used.is_damaged);
	CU_ASSERT_EQUAL(used.why.code, why);
	CU_ASSERT_EQUAL(used.why.block, block);
}

/* --- sound --- */

static void counted(void)
{
	start();
	set_count(LEAKED, 1);
	memset(image_at(FREE), 'x', PD_BLOCK_SIZE);
	leaf(FREE + 1, 8, 0);
	find();
	CU_ASSERT_FALSE(used.by_contents || used.is_damaged);
	CU_ASSERT_EQUAL(used.nr, NR_DEVICE_BLOCKS);
	CU_ASSERT_EQUAL(used.count, LEAF + 2);
	CU_ASSERT_EQUAL(used.end, LEAKED + 1);
	CU_ASSERT_EQUAL(used.transaction, 7);
	CU_ASSERT_TRUE(has(LEAKED));
	CU_ASSERT_FALSE(has(FREE) || has(FREE + 1));
}

static void large_count(void)
{
	start();
	leaf(META_COUNTS, 4, 3);
	image_entry(META_COUNTS, 0, LEAKED, 3, 4);
	set_count(LEAKED, 3);
	find();
	CU_ASSERT_FALSE(used.by_contents);
	CU_ASSERT_TRUE(has(LEAKED));
}

static void runs(void)
{
	uint64_t begin;

	start();
	set_count(LEAKED, 1);
	find();
	CU_ASSERT_EQUAL(thin_used_run(&used, 0, &begin), LEAF + 1);
	CU_ASSERT_EQUAL(begin, 0);
	CU_ASSERT_EQUAL(thin_used_run(&used, 3, &begin), LEAF - 2);
	CU_ASSERT_EQUAL(begin, 3);
	CU_ASSERT_EQUAL(thin_used_run(&used, LEAF + 1, &begin), 1);
	CU_ASSERT_EQUAL(begin, LEAKED);
	CU_ASSERT_EQUAL(thin_used_run(&used, LEAKED + 1, &begin), 0);
}

static void snapshot(void)
{
	start();
	add_snapshot();
	find();
	CU_ASSERT_FALSE(used.by_contents);
	CU_ASSERT_EQUAL(used.count, LEAF + 5);
	CU_ASSERT_TRUE(has(HELD) && has(HELD_TOP) && has(HELD_DETAILS) && has(HELD_ROOT));
}

static void no_memory_for_memo(void)
{
	start();
	add_snapshot();
	find_with(0, false);
	CU_ASSERT_EQUAL(used.count, LEAF + 5);
}

/* --- damaged --- */

static void dirty_free(void)
{
	memset(image_at(FREE), 'x', PD_BLOCK_SIZE);
	leaf(FREE + 1, 8, 0);
	memcpy(image_at(FREE + 2), image_at(FREE + 1), PD_BLOCK_SIZE);
	image_at(NR_BLOCKS + 3)[9] = 1;
}

static void has_contents(void)
{
	CU_ASSERT_EQUAL(used.count, LEAF + 5);
	CU_ASSERT_EQUAL(used.end, NR_BLOCKS + 4);
	CU_ASSERT_TRUE(has(FREE) && has(FREE + 1) && has(FREE + 2) && has(NR_BLOCKS + 3));
}

static void bad_everywhere(void)
{
	static const uint64_t all[] = {
		META_INDEX, META_BITMAP, META_COUNTS, DATA_INDEX, DATA_BITMAP, DATA_COUNTS, DETAILS, TOP, ROOT, LEAF,
	};

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
		start();
		dirty_free();
		image_at(all[i])[100] ^= 1;
		find();
		is_by_contents(PROBLEM_BLOCK_CHECKSUM, all[i]);
		has_contents();
	}
}

static void bad_snapshot(void)
{
	start();
	add_snapshot();
	image_at(HELD_ROOT)[100] ^= 1;
	find();
	is_by_contents(PROBLEM_BLOCK_CHECKSUM, HELD_ROOT);
	CU_ASSERT_TRUE(has(HELD_ROOT));
}

static void bad_superblock(void)
{
	start();
	dirty_free();
	image_at(0)[100] ^= 1;
	find();
	is_by_contents(PROBLEM_SB_CHECKSUM, 0);
	has_contents();
}

static void lost_superblock(void)
{
	start();
	dirty_free();
	memset(image_at(0), 0, PD_BLOCK_SIZE);
	find_with(0, true);
	is_by_contents(PROBLEM_BLOCK_ZEROED, 0);
	CU_ASSERT_EQUAL(used.transaction, 0);
	has_contents();
}

static void count_too_low(void)
{
	start();
	dirty_free();
	set_count(LEAF, 0);
	find();
	is_by_contents(PROBLEM_META_COUNT_LOW, LEAF);
	has_contents();
}

static void count_lost(void)
{
	start();
	set_count(LEAKED, 3);
	find();
	CU_ASSERT_TRUE(used.by_contents && used.is_damaged);
	CU_ASSERT_EQUAL(used.why.code, PROBLEM_SM_COUNT);
}

/* A copy that has something else where the original has zeroes would not look the same. */
static void zeroes_that_are_used(void)
{
	start();
	memset(image_at(LEAF), 0, PD_BLOCK_SIZE);
	find();
	is_by_contents(PROBLEM_BLOCK_ZEROED, LEAF);
	CU_ASSERT_TRUE(has(LEAF));
	CU_ASSERT_EQUAL(used.count, LEAF + 1);
}

static void unreadable(void)
{
	start();
	image.plan.bad_begin = FREE * PD_BLOCK_SIZE;
	image.plan.bad_end = (FREE + 1) * PD_BLOCK_SIZE;
	image_at(LEAF)[100] ^= 1;
	find();
	is_by_contents(PROBLEM_BLOCK_CHECKSUM, LEAF);
	CU_ASSERT_TRUE(has(FREE));
}

static const struct unit_case cases[] = {
	{ "of a sound pool it is what the space map counts, whatever else there is", counted },
	{ "counts of three and more are counts", large_count },
	{ "runs are found from any block on", runs },
	{ "the metadata snapshot and its trees are in use", snapshot },
	{ "without memory for shared subtrees it is the same", no_memory_for_memo },
	{ "where any tree or space map is damaged it is all that is not zeroes", bad_everywhere },
	{ "so it is where the metadata snapshot is", bad_snapshot },
	{ "so it is where the superblock is", bad_superblock },
	{ "so it is where there is no superblock, which is in use all the same", lost_superblock },
	{ "so it is where a block that is in use has no count", count_too_low },
	{ "so it is where a count of three or more is missing", count_lost },
	{ "a block that something leads to is in use though it is zeroes", zeroes_that_are_used },
	{ "what cannot be read is in use where contents count", unreadable },
	{ NULL, NULL },
};

const struct unit_suite thin_used_suite = { "thin_used", cases };
