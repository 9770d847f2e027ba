// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "image.h"
#include "meta/thin_disk.h"
#include "meta/thin_scavenge.h"
#include "unit.h"

#define NR_BLOCKS 64
#define TIME 5

/* The current generation, and an older one: device 2 was deleted since, and device 1 has grown. */
enum { DETAILS = 7, TOP = 8, TREE1 = 10, OLD_DETAILS = 17, OLD_TOP = 18, OLD_TREE1 = 20, TREE2 = 21, LOOSE = 30 };

static struct thin_pool pool;
static struct thin_scavenge *s;

/* --- making a pool --- */

static void leaf(uint64_t block, unsigned nr, unsigned max, uint32_t value_size)
{
	image_node(block, 2, nr, max, value_size);
}

/* Virtual blocks @first.. to data blocks 100.. */
static void mappings(uint64_t block, uint64_t first, unsigned nr, uint32_t time)
{
	leaf(block, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, first + i, (first + i + 100) << THIN_TIME_BITS | time, 8);
}

static void pairs(uint64_t block, uint32_t flags, unsigned nr, const uint64_t (*p)[2])
{
	image_node(block, flags, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, p[i][0], p[i][1], 8);
}

/* Devices with so many mappings, and the pool's time. */
static void details(uint64_t block, unsigned nr, const uint64_t (*p)[2], uint32_t time)
{
	leaf(block, nr, 126, 24);
	for (unsigned i = 0; i < nr; i++) {
		uint8_t *value = image_at(block) + 32 + 8 * 126 + 24 * i;

		image_entry(block, i, p[i][0], 0, 0);
		le_store(value, 8, p[i][1]);
		le_store(value + 8, 8, i + 1);
		le_store(value + 20, 4, time);
	}
	pd_block_seal(image_at(block), PD_NODE, block);
}

static void superblock(uint64_t block, uint64_t top, uint64_t details_root, uint64_t held)
{
	struct thin_superblock_disk *d = (void *)image_at(block);

	le_store((uint8_t *)&d->magic, 8, THIN_MAGIC);
	le_store((uint8_t *)&d->version, 4, 2);
	le_store((uint8_t *)&d->time, 4, TIME);
	le_store((uint8_t *)&d->trans_id, 8, 77);
	le_store((uint8_t *)&d->held_root, 8, held);
	le_store(d->data_space_map_root, 8, 1000);
	le_store(d->metadata_space_map_root, 8, NR_BLOCKS);
	le_store((uint8_t *)&d->data_mapping_root, 8, top);
	le_store((uint8_t *)&d->device_details_root, 8, details_root);
	le_store((uint8_t *)&d->data_block_size, 4, 128);
	pd_block_seal(image_at(block), PD_THIN_SUPERBLOCK, block);
}

#define PAIRS(...) (sizeof((uint64_t[][2]){ __VA_ARGS__ }) / 16), (const uint64_t[][2]){ __VA_ARGS__ }

static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 64);
	superblock(0, TOP, DETAILS, 0);
	details(DETAILS, PAIRS({ 1, 12 }), TIME);
	pairs(TOP, 2, PAIRS({ 1, TREE1 }));
	mappings(TREE1, 0, 12, 5);
	details(OLD_DETAILS, PAIRS({ 1, 10 }, { 2, 3 }), 4);
	pairs(OLD_TOP, 2, PAIRS({ 1, OLD_TREE1 }, { 2, TREE2 }));
	mappings(OLD_TREE1, 0, 10, 4);
	mappings(TREE2, 50, 3, 3);
}

static bool has_superblock = true;
static bool (*take)(void *context, uint64_t bytes);

static int scavenge(void)
{
	struct thin_scavenge_args args = { .pool = &pool, .take_memory = take };
	uint64_t needed = 0;
	int r;

	if (has_superblock)
		thin_pool_open(&pool, image.reader.client, &image.told.sink);
	else
		thin_pool_open_lost(&pool, image.reader.client, &(struct thin_overrides){ 0 }, &image.told.sink);
	r = thin_scavenge_create(&args, &s, &needed);
	CU_ASSERT_TRUE(!r || needed >= NR_BLOCKS);
	return r;
}

static void run(void)
{
	CU_ASSERT_EQUAL_FATAL(scavenge(), 0);
}

static void finish(void)
{
	thin_scavenge_destroy(s);
	image_close();
}

static const struct thin_generation *at(size_t i)
{
	CU_ASSERT_TRUE_FATAL(i < thin_scavenge_nr_generations(s));
	return thin_scavenge_generation(s, i);
}

/* --- generations --- */

static void current_first(void)
{
	start();
	run();
	CU_ASSERT_EQUAL(thin_scavenge_nr_generations(s), 2);
	CU_ASSERT_EQUAL(at(0)->source, SOURCE_CURRENT);
	CU_ASSERT_EQUAL(at(0)->root, TOP);
	CU_ASSERT_EQUAL(at(0)->transaction, 77);
	CU_ASSERT_EQUAL(at(1)->source, SOURCE_ORPHAN);
	CU_ASSERT_EQUAL(at(1)->root, OLD_TOP);
	finish();
}

static void pairs_details(void)
{
	start();
	run();
	CU_ASSERT_EQUAL(at(1)->details, OLD_DETAILS);
	CU_ASSERT_EQUAL(at(1)->fit, FIT_EXACT);
	CU_ASSERT_EQUAL(at(1)->state, STATE_COMPLETE);
	CU_ASSERT_EQUAL(at(1)->mappings, 13);
	CU_ASSERT_EQUAL(at(1)->devices, 2);
	CU_ASSERT_EQUAL(at(1)->transaction, 2);
	CU_ASSERT_FALSE(at(1)->is_exact);
	finish();
}

static void without_superblock(void)
{
	start();
	memset(image_at(0), 0, PD_BLOCK_SIZE);
	has_superblock = false;
	run();
	has_superblock = true;
	CU_ASSERT_EQUAL(thin_scavenge_nr_generations(s), 2);
	CU_ASSERT_EQUAL(at(0)->root, TOP);
	CU_ASSERT_EQUAL(thin_scavenge_best(s), at(0));
	finish();
}

static void reused_leaf_is_doubtful(void)
{
	start();
	mappings(OLD_TREE1, 0, 9, 4); /* by a newer tree, whose keys fit */
	run();
	CU_ASSERT_EQUAL(at(1)->state, STATE_DOUBTFUL);
	CU_ASSERT_EQUAL(at(1)->fit, FIT_DEVICES);
	finish();
}

static void younger_mapping_is_doubtful(void)
{
	start();
	mappings(OLD_TREE1, 0, 10, 5);
	run();
	CU_ASSERT_EQUAL(at(1)->fit, FIT_EXACT);
	CU_ASSERT_EQUAL(at(1)->state, STATE_DOUBTFUL);
	CU_ASSERT_EQUAL(at(1)->time, 5);
	finish();
}

static void reused_root_is_a_hole(void)
{
	start();
	memset(image_at(OLD_TREE1), 0, PD_BLOCK_SIZE);
	run();
	CU_ASSERT_EQUAL(at(1)->state, STATE_HOLES);
	CU_ASSERT_EQUAL(at(1)->holes, 1);
	CU_ASSERT_EQUAL(at(1)->complete_devices, 1);
	CU_ASSERT_EQUAL(at(1)->mappings, 3);
	finish();
}

static void child_with_other_keys_is_a_hole(void)
{
	start();
	pairs(OLD_TREE1, 1, PAIRS({ 0, 40 }, { 100, 41 }));
	mappings(40, 0, 10, 4);
	mappings(41, 50, 10, 4); /* below 100 */
	run();
	CU_ASSERT_EQUAL(at(1)->state, STATE_HOLES);
	CU_ASSERT_EQUAL(at(1)->mappings, 13);
	finish();
}

static void loop_is_no_tree(void)
{
	struct thin_below below;

	start();
	pairs(OLD_TREE1, 1, PAIRS({ 0, 40 }));
	pairs(40, 1, PAIRS({ 0, OLD_TREE1 }));
	run();
	CU_ASSERT_FALSE(thin_scavenge_below(s, OLD_TREE1, &below));
	CU_ASSERT_EQUAL(at(0)->state, STATE_COMPLETE);
	finish();
}

static void snapshot_is_told_from_copies(void)
{
	start();
	superblock(0, TOP, DETAILS, 50);
	superblock(50, OLD_TOP, OLD_DETAILS, 0);
	superblock(51, OLD_TOP, OLD_DETAILS, 0);
	run();
	CU_ASSERT_EQUAL(thin_scavenge_nr_generations(s), 3);
	for (size_t i = 1; i < 3; i++)
		CU_ASSERT_EQUAL(at(i)->source, at(i)->superblock == 50 ? SOURCE_SNAPSHOT : SOURCE_SUPERBLOCK);
	CU_ASSERT_TRUE(at(1)->is_exact);
	finish();
}

static void wild_pointer_in_the_current_top(void)
{
	start();
	pairs(TOP, 2, PAIRS({ 1, TREE1 }, { 9, UINT64_C(1) << 60 }));
	run();
	CU_ASSERT_EQUAL(at(0)->state, STATE_HOLES);
	CU_ASSERT_EQUAL(at(0)->mappings, 12);
	finish();
}

static void best_is_not_emptier(void)
{
	start();
	memset(image_at(0), 0, PD_BLOCK_SIZE);
	pairs(TOP, 2, PAIRS({ 1, TREE1 }, { 2, 60 })); /* a hole, but newer and fuller */
	mappings(TREE1, 0, 40, 5);
	details(DETAILS, PAIRS({ 1, 40 }, { 2, 3 }), TIME);
	has_superblock = false;
	run();
	has_superblock = true;
	CU_ASSERT_EQUAL(thin_scavenge_best(s)->root, TOP);
	finish();
}

static void one_mapping_of_data_block_0(void)
{
	struct thin_tree tree;

	start();
	leaf(LOOSE, 1, 252, 8);
	image_entry(LOOSE, 0, 3, 4, 8); /* data block 0, time 4; block 4 would be a number of a block as well */
	run();
	CU_ASSERT_EQUAL(thin_scavenge_nr_generations(s), 2);
	CU_ASSERT_EQUAL_FATAL(thin_scavenge_nr_trees(s), 1);
	thin_scavenge_tree(s, 0, &tree);
	CU_ASSERT_EQUAL(tree.block, LOOSE);
	CU_ASSERT_EQUAL(tree.mappings, 1);
	finish();
}

/* --- trees --- */

static void tree_is_named_by_details(void)
{
	struct thin_tree tree;

	start();
	memset(image_at(OLD_TOP), 0, PD_BLOCK_SIZE);
	run();
	CU_ASSERT_EQUAL_FATAL(thin_scavenge_nr_trees(s), 2);
	thin_scavenge_tree(s, 0, &tree);
	CU_ASSERT_EQUAL(tree.block, OLD_TREE1);
	CU_ASSERT_EQUAL(tree.dev_id, 1);
	thin_scavenge_tree(s, 1, &tree);
	CU_ASSERT_EQUAL(tree.block, TREE2);
	CU_ASSERT_EQUAL(tree.dev_id, 2);
	CU_ASSERT_EQUAL(tree.first, 50);
	CU_ASSERT_EQUAL(tree.last, 52);
	CU_ASSERT_EQUAL(tree.time, 3);
	finish();
}

static void tree_of_several_is_not_named(void)
{
	struct thin_tree tree;

	start();
	details(OLD_DETAILS, PAIRS({ 1, 10 }, { 2, 10 }), 4);
	memset(image_at(OLD_TOP), 0, PD_BLOCK_SIZE);
	run();
	thin_scavenge_tree(s, 0, &tree);
	CU_ASSERT_EQUAL(tree.dev_id, PROBLEM_NO_DEVICE);
	finish();
}

/* --- memory, and the device --- */

static bool take_nothing(void *context, uint64_t bytes)
{
	(void)context;
	(void)bytes;
	return false;
}

static void no_memory(void)
{
	start();
	take = take_nothing;
	CU_ASSERT_EQUAL(scavenge(), -ENOMEM);
	take = NULL;
	image_close();
}

static void counts_metadata(void)
{
	start();
	run();
	CU_ASSERT_EQUAL(thin_scavenge_nr_unreadable(s), 0);
	CU_ASSERT_EQUAL(thin_scavenge_nr_metadata(s), 8);
	finish();
}

static const struct unit_case cases[] = {
	{ "the current generation comes first, and an older one is found", current_first },
	{ "details with the same devices and as many mappings of each are found, and prove it complete", pairs_details },
	{ "no superblock is needed", without_superblock },
	{ "a leaf that was used again and fits makes it doubtful", reused_leaf_is_doubtful },
	{ "mappings younger than the details make it doubtful", younger_mapping_is_doubtful },
	{ "a root that was used again is a hole, and its device is not complete", reused_root_is_a_hole },
	{ "a child with keys that are not its parent's is a hole", child_with_other_keys_is_a_hole },
	{ "nodes that lead to each other are no tree", loop_is_no_tree },
	{ "the metadata snapshot is told from other copies of the superblock", snapshot_is_told_from_copies },
	{ "a wild pointer in the current top level is a hole", wild_pointer_in_the_current_top },
	{ "the best is not an older one that is emptier", best_is_not_emptier },
	{ "one mapping of data block 0 is no top level", one_mapping_of_data_block_0 },
	{ "a tree that is left over is named by details with as many mappings", tree_is_named_by_details },
	{ "it is not named where those of several devices have as many", tree_of_several_is_not_named },
	{ "memory that is refused ends the search, and how much was wanted is told", no_memory },
	{ "blocks of metadata are counted", counts_metadata },
	{ NULL, NULL },
};

const struct unit_suite thin_scavenge_suite = { "thin_scavenge", cases };
