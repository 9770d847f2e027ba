// SPDX-License-Identifier: LGPL-2.1-or-later
/* Exclusive and shared mappings. */
#include <errno.h>
#include <string.h>

#include "image.h"
#include "meta/thin_share.h"
#include "unit.h"

#define NR_BLOCKS 32
#define DETAILS 1
#define TOP 2
#define FIRST_TREE 3 /* of device 1; device n has block FIRST_TREE + n - 1 */
#define MAX_DEVICES 200

static struct {
	struct thin_pool pool;
	struct thin_share share;
	uint8_t nodes[THIN_SHARE_BYTES(NR_BLOCKS)], counts[4096];
	uint64_t exclusive[MAX_DEVICES];
} t;

static void leaf(uint64_t block, unsigned nr, const uint64_t *data)
{
	image_node(block, 2, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, i, data[i] << 24, 8);
}

#define LEAF(block, ...) \
	leaf(block, sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8, (const uint64_t[]){ __VA_ARGS__ })

/* @nr devices, each with the root that @roots says. */
static void devices(unsigned nr, const uint64_t *roots)
{
	image_node(DETAILS, 2, 0, 126, 24);
	image_node(TOP, 2, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(TOP, i, i + 1, roots[i], 8);
	t.share.nr_devices = nr;
}

#define DEVICES(...) devices(sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8, (const uint64_t[]){ __VA_ARGS__ })

static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 4 * (PD_MAX_DEPTH + 1));
	memset(&t, 0, sizeof(t));
	t.pool.reader = image.reader;
	t.pool.sb.device_details_root = DETAILS;
	t.pool.sb.data_mapping_root = TOP;
	t.pool.nr_data_blocks = 4 * 4096 - 4;
	t.share.nodes = t.nodes;
	t.share.counts = t.counts;
	t.share.exclusive = t.exclusive;
	t.share.nr_counts = t.pool.nr_data_blocks;
}

static void finish(unsigned walks)
{
	CU_ASSERT_EQUAL(thin_share_count(&t.pool, &t.share), 0);
	CU_ASSERT_EQUAL(t.share.walks, walks);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void alone_is_exclusive(void)
{
	start();
	LEAF(3, 10, 11, 12);
	LEAF(4, 20, 0);
	DEVICES(3, 4);
	finish(1);
	CU_ASSERT_EQUAL(t.exclusive[0], 3);
	CU_ASSERT_EQUAL(t.exclusive[1], 2);
	CU_ASSERT_EQUAL(t.share.nr_data, 21);
}

static void two_devices(void)
{
	start();
	LEAF(3, 10, 11, 12);
	LEAF(4, 11, 20, 21);
	LEAF(5, 11);
	DEVICES(3, 4, 5);
	finish(1);
	CU_ASSERT_EQUAL(t.exclusive[0], 2);
	CU_ASSERT_EQUAL(t.exclusive[1], 2);
	CU_ASSERT_EQUAL(t.exclusive[2], 0);
}

static void twice_in_one_device(void)
{
	start();
	LEAF(3, 10, 10, 10, 12);
	DEVICES(3);
	finish(1);
	CU_ASSERT_EQUAL(t.exclusive[0], 1);
}

static void shared_root(void)
{
	start();
	LEAF(3, 10, 11);
	LEAF(4, 12, 13);
	DEVICES(3, 4, 3);
	finish(1);
	CU_ASSERT_EQUAL(t.exclusive[0], 0);
	CU_ASSERT_EQUAL(t.exclusive[1], 2);
	CU_ASSERT_EQUAL(t.exclusive[2], 0);
}

/* Blocks 10 and 11 are met through node 6 only, but node 6 hangs under two; and device 3 maps block 10 by itself. */
static void below_shared_node(void)
{
	start();
	LEAF(7, 10, 11);
	image_node(6, 1, 1, 252, 8);
	image_entry(6, 0, 0, 7, 8);
	for (uint64_t root = 3; root <= 4; root++) {
		LEAF(root + 5, 20 + root);
		image_node(root, 1, 2, 252, 8);
		image_entry(root, 0, 0, 6, 8);
		image_node(root + 5, 2, 1, 252, 8);
		image_entry(root + 5, 0, 100, (20 + root) << 24, 8);
		image_entry(root, 1, 100, root + 5, 8);
	}
	LEAF(5, 10, 30);
	DEVICES(3, 4, 5);
	finish(1);
	CU_ASSERT_EQUAL(t.exclusive[0], 1);
	CU_ASSERT_EQUAL(t.exclusive[1], 1);
	CU_ASSERT_EQUAL(t.exclusive[2], 1);
}

static uint64_t blocks_asked(void)
{
	struct bufio_stats s;

	bufio_get_stats(image.reader.client, &s);
	return s.hits + s.misses;
}

static void many_snapshots(void)
{
	uint64_t roots[MAX_DEVICES];

	start();
	LEAF(3, 10, 11);
	for (unsigned i = 0; i < MAX_DEVICES; i++)
		roots[i] = 3;
	devices(MAX_DEVICES, roots);
	CU_ASSERT_EQUAL(thin_share_count(&t.pool, &t.share), 0);
	/* The leaf twice; and twice the devices, which take two blocks. */
	CU_ASSERT_EQUAL(blocks_asked(), 2 + 2 * 2);
	CU_ASSERT_EQUAL(t.exclusive[0], 0);
	CU_ASSERT_EQUAL(t.exclusive[MAX_DEVICES - 1], 0);
	image_close();
}

/* 100 lies behind the first window of 64, 1000 behind the gap after the second. */
static void windows(void)
{
	start();
	LEAF(3, 10, 11, 100, 101, 1000, 1001);
	LEAF(4, 11, 101, 1001, 163);
	DEVICES(3, 4);
	t.share.nr_counts = 64;
	finish(3);
	CU_ASSERT_EQUAL(t.exclusive[0], 3);
	CU_ASSERT_EQUAL(t.exclusive[1], 1);
}

static void too_many_windows(void)
{
	start();
	LEAF(3, 10, 11, 16000);
	DEVICES(3);
	t.share.nr_counts = 64;
	CU_ASSERT_EQUAL(thin_share_count(&t.pool, &t.share), -E2BIG);
	CU_ASSERT_EQUAL(t.share.nr_data, 16001);
	image_close();
}

static void beyond_data(void)
{
	start();
	t.pool.nr_data_blocks = 100;
	t.share.nr_counts = 64;
	LEAF(3, 10, 70, 100, UINT64_C(0xFFFFFFFFFF));
	LEAF(4, 11, 200);
	DEVICES(3, 4, 4);
	finish(2);
	CU_ASSERT_EQUAL(t.exclusive[0], 4);
	CU_ASSERT_EQUAL(t.exclusive[1], 0);
}

static void size_not_known(void)
{
	start();
	t.pool.nr_data_blocks = THIN_UNKNOWN_SIZE;
	t.share.nr_counts = 16380;
	LEAF(3, 10, 20000);
	LEAF(4, 20000);
	DEVICES(3, 4);
	finish(2);
	CU_ASSERT_EQUAL(t.exclusive[0], 1);
	CU_ASSERT_EQUAL(t.exclusive[1], 0);
}

static void lost_node(void)
{
	start();
	LEAF(3, 10, 11);
	LEAF(4, 10, 12);
	image_at(4)[60] ^= 1;
	DEVICES(3, 4, NR_BLOCKS + 7);
	finish(1);
	CU_ASSERT_EQUAL(t.exclusive[0], 2);
	CU_ASSERT_EQUAL(t.exclusive[1], 0);
	CU_ASSERT_EQUAL(t.exclusive[2], 0);
}

static void world_fails(void)
{
	start();
	LEAF(3, 10);
	DEVICES(3);
	image.plan.error = ENOMEM;
	image.plan.fail_at = 3;
	CU_ASSERT_EQUAL(thin_share_count(&t.pool, &t.share), -ENOMEM);
	image_close();
}

static const struct unit_case cases[] = {
	{ "a data block with one mapping is exclusive to its device", alone_is_exclusive },
	{ "a data block that several devices map is exclusive to none", two_devices },
	{ "a data block that one device maps several times is not exclusive", twice_in_one_device },
	{ "devices with the same root have nothing exclusive", shared_root },
	{ "what lies below a shared node is shared", below_shared_node },
	{ "a shared node is read twice, however many share it", many_snapshots },
	{ "windows of data blocks give the same counts, and those without mappings are left out", windows },
	{ "too many windows are refused, and how many counts it takes is told", too_many_windows },
	{ "a mapping beyond the data is exclusive, unless its node is shared", beyond_data },
	{ "without the data's size every block is counted", size_not_known },
	{ "a lost node has no mappings, and nothing is reported", lost_node },
	{ "an error of the world is returned", world_fails },
	{ NULL, NULL },
};

const struct unit_suite thin_share_suite = { "thin_share", cases };
