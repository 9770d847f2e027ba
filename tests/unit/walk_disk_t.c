// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "pdata/walk_disk.h"
#include "unit.h"

#define NR_BLOCKS 1024
#define TOO_LONG 30 /* seconds, after which a walk counts as endless */

static struct pd_memo_entry entries[NR_BLOCKS];
static struct pd_memo memo;
static struct pd_disk_walk walk;

/* What the callback was told, and what it says. */
static struct {
	_Atomic unsigned given[NR_BLOCKS], dropped[NR_BLOCKS];
	uint64_t not_sound; /* the block that it says 0 of */
	uint64_t fails_at;  /* the block that it says -ENOTTY of */
} told;

static int see_leaf(void *context, const struct pd_node *n)
{
	CU_ASSERT_PTR_EQUAL(context, &told);
	CU_ASSERT_TRUE(n->is_leaf);
	told.given[n->block]++;
	return n->block == told.fails_at ? -ENOTTY : n->block != told.not_sound;
}

static int see_dropped(void *context, const struct pd_node *n)
{
	CU_ASSERT_PTR_EQUAL(context, &told);
	told.dropped[n->block]++;
	return n->block == told.fails_at ? -ENOTTY : 0;
}

static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 4 * (PD_MAX_DEPTH + 1));
	memset(entries, 0, sizeof(entries));
	memset(&told, 0, sizeof(told));
	memo = (struct pd_memo){ .entries = entries, .nr = NR_BLOCKS, .retell = 1000 };
	walk = (struct pd_disk_walk){
		.reader = &image.reader, .memo = &memo, .value_size = 8, .leaf = see_leaf, .context = &told,
	};
	CU_ASSERT_EQUAL_FATAL(pd_disk_walk_open(&walk), 0);
}

static void finish(void)
{
	CU_ASSERT_EQUAL(image.told.nr, 0);
	pd_disk_walk_close(&walk);
	image_close();
}

static int run(void)
{
	int r;

	alarm(TOO_LONG);
	r = pd_disk_walk_run(&walk);
	alarm(0);
	return r;
}

/* --- making trees --- */

/* A leaf of the keys from @first on. */
static void leaf(uint64_t block, uint64_t first, unsigned nr)
{
	image_node(block, 2, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, first + i, 7 * (first + i), 8);
}

/* A node over the @nr blocks from @child on, ten keys each, from @first on. */
static void parent(uint64_t block, uint64_t first, uint64_t child, unsigned nr)
{
	image_node(block, 1, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, first + 10 * (uint64_t)i, child + i, 8);
}

/*
 * Two trees, whose roots are 1 and 2. 1 has the nodes 10 and 11, 2 has 11 and 12; each node has ten leaves: 100.., 110..,
 * 120...
 */
static void two_trees(void)
{
	for (unsigned i = 0; i < 30; i++)
		leaf(100 + i, 10 * i, 1 + i % 10);
	for (unsigned i = 0; i < 3; i++)
		parent(10 + i, 100 * i, 100 + 10 * i, 10);
	for (unsigned i = 0; i < 2; i++) {
		image_node(1 + i, 1, 2, 252, 8);
		image_entry(1 + i, 0, 100 * i, 10 + i, 8);
		image_entry(1 + i, 1, 100 * i + 100, 11 + i, 8);
	}
	pd_disk_walk_add(&walk, 1);
	pd_disk_walk_add(&walk, 2);
}

static unsigned nr_given(void)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_BLOCKS; i++)
		nr += told.given[i];
	return nr;
}

static unsigned nr_in_memo(void)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_BLOCKS; i++)
		nr += entries[i].is_seen;
	return nr;
}

/* --- walking --- */

static void each_block_once(void)
{
	start();
	two_trees();
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(image_blocks_read(), 2 + 3 + 30);
	CU_ASSERT_EQUAL(nr_given(), 30);
	for (unsigned i = 0; i < 30; i++)
		CU_ASSERT_EQUAL(told.given[100 + i], 1);
	CU_ASSERT_EQUAL(walk.leaves.nr, 30);
	finish();
}

static void leaves_in_memo(void)
{
	start();
	two_trees();
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(nr_in_memo(), 30);
	for (unsigned i = 0; i < 30; i++) {
		const struct pd_memo_entry *e = &entries[100 + i];

		CU_ASSERT_TRUE(e->is_seen && !e->is_damaged);
		CU_ASSERT_EQUAL(e->height, 1);
		CU_ASSERT_EQUAL(pd_memo_count(e), 1 + i % 10);
		CU_ASSERT_EQUAL(e->first, 10 * i);
		CU_ASSERT_EQUAL(e->last, 10 * i + i % 10);
	}
	finish();
}

/* Then a cursor reads no leaf, and no node from the device. */
static void cursor_reads_no_leaf(void)
{
	static const struct pd_context ctx = { .where = WHERE_MAPPINGS };
	const struct pd_node *n;
	struct pd_cursor c;
	uint64_t before;

	start();
	two_trees();
	CU_ASSERT_EQUAL(run(), 0);
	before = image_blocks_read();
	for (uint64_t root = 1; root <= 2; root++) {
		pd_cursor_open(&c, &image.reader, &ctx, root, 8);
		c.memo = &memo;
		CU_ASSERT_EQUAL(pd_cursor_next(&c, &n), 0);
		CU_ASSERT_EQUAL(c.entries, 110);
		pd_cursor_close(&c);
	}
	CU_ASSERT_EQUAL(image_blocks_read(), before);
	finish();
}

static void root_is_a_leaf(void)
{
	start();
	leaf(5, 3, 4);
	leaf(6, 3, 4);
	pd_disk_walk_add(&walk, 5);
	pd_disk_walk_add(&walk, 6);
	pd_disk_walk_add(&walk, 5);
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(told.given[5], 1);
	CU_ASSERT_EQUAL(told.given[6], 1);
	CU_ASSERT_EQUAL(nr_in_memo(), 2);
	CU_ASSERT_EQUAL(image_blocks_read(), 2);
	finish();
}

static void no_roots(void)
{
	start();
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(pd_disk_walk_leaves(&walk), 0);
	CU_ASSERT_EQUAL(image_blocks_read(), 0);
	finish();
}

/* 1 has a leaf below it, and a node with a leaf below that, which is also a root. */
static void mixed_depth(void)
{
	start();
	leaf(101, 0, 5);
	leaf(102, 10, 5);
	parent(20, 10, 102, 1);
	image_node(1, 1, 2, 252, 8);
	image_entry(1, 0, 0, 101, 8);
	image_entry(1, 1, 10, 20, 8);
	pd_disk_walk_add(&walk, 1);
	pd_disk_walk_add(&walk, 102);
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(image_blocks_read(), 4);
	CU_ASSERT_EQUAL(nr_given(), 2);
	CU_ASSERT_EQUAL(entries[101].height, 1);
	CU_ASSERT_EQUAL(entries[102].height, 1);
	finish();
}

static void loops_end(void)
{
	start();
	parent(1, 0, 1, 3); /* itself, 2 and 3 */
	parent(2, 10, 1, 3);
	leaf(3, 20, 4);
	pd_disk_walk_add(&walk, 1);
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(image_blocks_read(), 3);
	CU_ASSERT_EQUAL(nr_given(), 1);
	finish();
}

/* A cursor does not come to what lies deeper; and a level at a time, a chain over all blocks would take for ever. */
static void chains_end(void)
{
	start();
	for (unsigned i = 0; i < NR_BLOCKS - 2; i++)
		parent(1 + i, 0, 2 + i, 1);
	leaf(NR_BLOCKS - 1, 0, 5);
	pd_disk_walk_add(&walk, 1);
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(image_blocks_read(), PD_MAX_DEPTH);
	CU_ASSERT_EQUAL(nr_given(), 0);
	finish();
	start();
	for (unsigned i = 0; i < PD_MAX_DEPTH - 1; i++)
		parent(1 + i, 0, 2 + i, 1);
	leaf(PD_MAX_DEPTH, 0, 5);
	pd_disk_walk_add(&walk, 1);
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(told.given[PD_MAX_DEPTH], 1);
	finish();
}

static void pointers_outside(void)
{
	static const uint64_t outside[] = { NR_BLOCKS, NR_BLOCKS + 63, UINT64_C(1) << 63, UINT64_MAX };

	start();
	image_node(1, 1, 5, 252, 8);
	for (unsigned i = 0; i < 4; i++) {
		pd_disk_walk_add(&walk, outside[i]);
		image_entry(1, i, i, outside[i], 8);
	}
	image_entry(1, 4, 4, 3, 8);
	leaf(3, 4, 1);
	pd_disk_walk_add(&walk, 1);
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(image_blocks_read(), 2);
	CU_ASSERT_EQUAL(told.given[3], 1);
	finish();
}

/* --- what does not go into the memo --- */

/* The leaf 105 is odd: it is given or not, is no part of what the memo has, and all others are as ever. */
static void odd_leaf(bool is_given)
{
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(told.given[105], is_given);
	CU_ASSERT_FALSE(entries[105].is_seen);
	CU_ASSERT_EQUAL(nr_in_memo(), 29);
	CU_ASSERT_EQUAL(nr_given(), 29 + is_given);
	finish();
}

static void not_sound(void)
{
	start();
	two_trees();
	told.not_sound = 105;
	odd_leaf(true);
}

static void empty_leaf(void)
{
	start();
	two_trees();
	leaf(105, 0, 0);
	odd_leaf(true);
}

static void wrong_checksum(void)
{
	start();
	two_trees();
	image_at(105)[500] ^= 1;
	odd_leaf(false);
}

static void wrong_number(void)
{
	start();
	two_trees();
	memcpy(image_at(105), image_at(104), PD_BLOCK_SIZE);
	odd_leaf(false);
}

static void wrong_contents(void)
{
	start();
	two_trees();
	image_node(105, 2, 3, 126, 24);
	odd_leaf(false);
	start();
	two_trees();
	image_node(105, 2, 2, 252, 8); /* two keys of 0 */
	odd_leaf(false);
}

static void unreadable(void)
{
	start();
	two_trees();
	image.plan.bad_begin = 105 * PD_BLOCK_SIZE;
	image.plan.bad_end = 106 * PD_BLOCK_SIZE;
	odd_leaf(false);
}

static void unreadable_node(void)
{
	start();
	two_trees();
	image.plan.bad_begin = 11 * PD_BLOCK_SIZE;
	image.plan.bad_end = 12 * PD_BLOCK_SIZE;
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(nr_given(), 20);
	CU_ASSERT_EQUAL(nr_in_memo(), 20);
	finish();
}

static void large_keys(void)
{
	start();
	leaf(5, (UINT64_C(1) << PD_MEMO_KEY_BITS) - 3, 3);
	leaf(6, (UINT64_C(1) << PD_MEMO_KEY_BITS) - 3, 4);
	pd_disk_walk_add(&walk, 5);
	pd_disk_walk_add(&walk, 6);
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(nr_given(), 2);
	CU_ASSERT_TRUE(entries[5].is_seen);
	CU_ASSERT_FALSE(entries[6].is_seen);
	finish();
}

/* --- the callback's errors, the world's --- */

static void callback_fails(void)
{
	start();
	two_trees();
	told.fails_at = 105;
	CU_ASSERT_EQUAL(run(), -ENOTTY);
	finish();
}

static void world_fails(void)
{
	start();
	two_trees();
	image.plan.error = ENOMEM;
	image.plan.fail_at = 1;
	image.plan.sticky = true;
	CU_ASSERT_EQUAL(run(), -ENOMEM);
	finish();
}

/* --- leaves once more --- */

static void leaves_again(void)
{
	uint64_t before;

	start();
	two_trees();
	leaf(103, 0, 0);
	image_at(105)[500] ^= 1;
	told.not_sound = 104;
	CU_ASSERT_EQUAL(run(), 0);
	before = image_blocks_read();
	for (unsigned again = 2; again <= 3; again++) {
		CU_ASSERT_EQUAL(pd_disk_walk_leaves(&walk), 0);
		for (unsigned i = 0; i < 30; i++)
			CU_ASSERT_EQUAL(told.given[100 + i], i == 5 ? 0 : again);
	}
	CU_ASSERT_TRUE(image_blocks_read() - before <= 2 * 29);
	CU_ASSERT_FALSE(entries[104].is_seen);
	CU_ASSERT_EQUAL(nr_in_memo(), 27);
	told.fails_at = 106;
	CU_ASSERT_EQUAL(pd_disk_walk_leaves(&walk), -ENOTTY);
	finish();
}

/* A leaf that was given, and now is not: who counts what is in leaves must not go on as if it were not there. */
static void leaf_is_gone(void)
{
	start();
	two_trees();
	CU_ASSERT_EQUAL(run(), 0);
	bufio_forget_buffers(image.reader.client, 0, NR_BLOCKS);
	image.plan.bad_begin = 105 * PD_BLOCK_SIZE;
	image.plan.bad_end = 106 * PD_BLOCK_SIZE;
	CU_ASSERT_EQUAL(pd_disk_walk_leaves(&walk), -EIO);
	image.plan.bad_end = 0;
	CU_ASSERT_EQUAL(pd_disk_walk_leaves(&walk), 0);
	bufio_forget_buffers(image.reader.client, 0, NR_BLOCKS);
	memset(image_at(105), 0, PD_BLOCK_SIZE);
	CU_ASSERT_TRUE(pd_disk_walk_leaves(&walk) < 0);
	finish();
}

/* --- taking leaves back --- */

static void accept(uint64_t *accepted, uint64_t block)
{
	accepted[block / 64] |= UINT64_C(1) << block % 64;
}

static void drops(void)
{
	uint64_t accepted[NR_BLOCKS / 64 + 1] = { 0 };

	start();
	two_trees();
	CU_ASSERT_EQUAL(run(), 0);
	for (unsigned i = 0; i < 30; i++)
		if (i % 7)
			accept(accepted, 100 + i);
	accept(accepted, 11);
	accept(accepted, 500);
	CU_ASSERT_EQUAL(pd_disk_walk_drop(&walk, accepted, see_dropped), 0);
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(told.dropped[i], i >= 100 && i < 130 && (i - 100) % 7 == 0);
	CU_ASSERT_EQUAL(pd_disk_walk_leaves(&walk), 0);
	for (unsigned i = 0; i < 30; i++)
		CU_ASSERT_EQUAL(told.given[100 + i], i % 7 ? 2 : 1);
	CU_ASSERT_EQUAL(pd_disk_walk_drop(&walk, accepted, see_dropped), 0);
	CU_ASSERT_EQUAL(told.dropped[100], 1);
	finish();
}

static void drops_nothing(void)
{
	uint64_t accepted[NR_BLOCKS / 64 + 1], before;

	memset(accepted, 0xFF, sizeof(accepted));
	start();
	two_trees();
	CU_ASSERT_EQUAL(run(), 0);
	before = image_blocks_read();
	CU_ASSERT_EQUAL(pd_disk_walk_drop(&walk, accepted, see_dropped), 0);
	CU_ASSERT_EQUAL(image_blocks_read(), before);
	CU_ASSERT_EQUAL(pd_disk_walk_leaves(&walk), 0);
	CU_ASSERT_EQUAL(nr_given(), 60);
	finish();
}

static void drop_fails(void)
{
	uint64_t accepted[NR_BLOCKS / 64 + 1] = { 0 };

	start();
	two_trees();
	CU_ASSERT_EQUAL(run(), 0);
	told.fails_at = 117;
	CU_ASSERT_EQUAL(pd_disk_walk_drop(&walk, accepted, see_dropped), -ENOTTY);
	finish();
	start();
	two_trees();
	CU_ASSERT_EQUAL(run(), 0);
	bufio_forget_buffers(image.reader.client, 0, NR_BLOCKS);
	image.plan.bad_begin = 117 * PD_BLOCK_SIZE;
	image.plan.bad_end = 118 * PD_BLOCK_SIZE;
	CU_ASSERT_EQUAL(pd_disk_walk_drop(&walk, accepted, see_dropped), -EIO);
	finish();
}

/* So many leaves that several threads have a part of them. */
static void many_leaves(void)
{
	enum { MANY = 900, FIRST = 100 };

	start();
	for (unsigned i = 0; i < MANY; i++)
		leaf(FIRST + i, 10 * i, 10);
	for (unsigned i = 0; i < 10; i++)
		parent(10 + i, 900 * i, FIRST + 90 * i, 90);
	parent(1, 0, 10, 10);
	pd_disk_walk_add(&walk, 1);
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(pd_disk_walk_leaves(&walk), 0);
	for (unsigned i = 0; i < MANY; i++)
		CU_ASSERT_EQUAL(told.given[FIRST + i], 2);
	CU_ASSERT_EQUAL(nr_in_memo(), MANY);
	CU_ASSERT_EQUAL(walk.leaves.nr, MANY);
	finish();
}

/* Pages of the memo that there is no room for stay as they are; the leaves are given all the same. */
static void memo_without_room(void)
{
	_Atomic uint64_t pages[1] = { 0 };
	unsigned in_memo;

	start();
	for (unsigned i = 0; i < 252; i++)
		leaf(3 * i + 200, 10 * i, 10);
	image_node(1, 1, 252, 252, 8);
	for (unsigned i = 0; i < 252; i++)
		image_entry(1, i, 10 * i, 3 * i + 200, 8);
	memo.pages = pages;
	memo.max_pages = 1;
	pd_disk_walk_add(&walk, 1);
	CU_ASSERT_EQUAL(run(), 0);
	CU_ASSERT_EQUAL(nr_given(), 252);
	in_memo = nr_in_memo();
	CU_ASSERT_TRUE(in_memo >= 1 && in_memo < 252);
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_TRUE(!entries[i].is_seen || pages[0] >> i / PD_MEMO_PAGE & 1);
	finish();
}

static void bytes(void)
{
	CU_ASSERT_TRUE(pd_disk_walk_bytes(NR_BLOCKS) >= 5 * NR_BLOCKS / 8);
	CU_ASSERT_TRUE(pd_disk_walk_bytes(UINT64_C(1) << 22) <= (UINT64_C(1) << 22) * 5 / 8 + 1000);
}

static const struct unit_case cases[] = {
	{ "each block is read once, and each leaf is given once, however many trees share it", each_block_once },
	{ "the memo has what each leaf has", leaves_in_memo },
	{ "a cursor with the memo counts all entries and reads no leaf", cursor_reads_no_leaf },
	{ "a root may be a leaf", root_is_a_leaf },
	{ "without roots there is nothing to be read", no_roots },
	{ "leaves may lie at any depth", mixed_depth },
	{ "a loop ends", loops_end },
	{ "what lies deeper than a tree can be is not read", chains_end },
	{ "pointers that lead outside of the metadata are passed over", pointers_outside },
	{ "a leaf that the callback does not call sound is not in the memo", not_sound },
	{ "an empty leaf is given, and is not in the memo", empty_leaf },
	{ "a leaf with a wrong checksum is passed over", wrong_checksum },
	{ "a leaf that says that it is another block is passed over", wrong_number },
	{ "a leaf that cannot be decoded is passed over", wrong_contents },
	{ "a leaf that cannot be read is passed over", unreadable },
	{ "behind a node that cannot be read the walk goes on", unreadable_node },
	{ "a leaf with keys that a memo has no room for is given, and is not in it", large_keys },
	{ "what the callback fails with ends the walk", callback_fails },
	{ "what the world does ends the walk with its error", world_fails },
	{ "all leaves are given again, as often as one likes, and the memo stays as it is", leaves_again },
	{ "a leaf that cannot be given again is an error", leaf_is_gone },
	{ "leaves that are not accepted are taken back, once, and are not given again", drops },
	{ "where all leaves are accepted nothing is read", drops_nothing },
	{ "a leaf that cannot be taken back is an error", drop_fails },
	{ "many leaves are given by several threads, once each", many_leaves },
	{ "a memo without room for more stays within its pages", memo_without_room },
	{ "a walk takes five bits a block", bytes },
	{ NULL, NULL },
};

const struct unit_suite walk_disk_suite = { "walk_disk", cases };
