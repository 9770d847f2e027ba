// SPDX-License-Identifier: LGPL-2.1-or-later
/* Trees are built here, walked with the cursor, which finds fault with keys and depths, and their pointers counted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "pdata/btree_build.h"
#include "unit.h"

#define NR_BLOCKS 20000
#define FEW_BLOCKS 1000 /* enough for the largest of many: all that is there is filled anew for each */
#define LEAF 252
#define CHILDREN 252

static struct {
	struct pd_writer w;
	struct pd_build *build;
	uint64_t more, less; /* entries of leaves that the builder told of */
} t;

static int count_leaf(void *context, const struct pd_node *leaf, bool more)
{
	(void)context;
	*(more ? &t.more : &t.less) += leaf->nr;
	return 0;
}

static void start(uint64_t nr_blocks)
{
	image_open(nr_blocks, nr_blocks, 4 * (PD_MAX_DEPTH + 1));
	memset(&t, 0, sizeof(t));
	t.w = (struct pd_writer){ .client = image.reader.client, .next = 1, .nr_blocks = nr_blocks };
	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&t.w.counts, nr_blocks, 1 << 20), 0);
	t.build = malloc(sizeof(*t.build));
	CU_ASSERT_PTR_NOT_NULL_FATAL(t.build);
}

static void finish(void)
{
	pd_counts_destroy(&t.w.counts);
	free(t.build);
	image_close();
}

static void open_build(void)
{
	pd_build_open(t.build, &t.w, 8);
	t.build->leaf = count_leaf;
}

static void add(uint64_t first, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++) {
		le64 value = le64_put(1000000 + first + i);

		CU_ASSERT_EQUAL_FATAL(pd_build_add(t.build, first + i, &value), 0);
	}
}

/* The root's reference is counted, as of someone who keeps it. */
static struct pd_tree end(void)
{
	struct pd_tree tree = { 0 };

	CU_ASSERT_EQUAL_FATAL(pd_build_finish(t.build, &tree), 0);
	CU_ASSERT_EQUAL(pd_refer(&t.w, tree.root), 0);
	return tree;
}

static struct pd_tree tree_of(uint64_t first, uint64_t nr)
{
	open_build();
	add(first, nr);
	return end();
}

/* Walks a tree and looks at every node on the way: how full it is, too. Returns the number of nodes. */
static unsigned nodes_below(uint64_t block, unsigned height, bool is_root)
{
	unsigned nr = 1, min = LEAF / 3;
	struct bufio_buffer *b;
	struct pd_node n;
	struct problem p;
	const void *data = bufio_read(image.reader.client, block, &b);

	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	CU_ASSERT_TRUE_FATAL(pd_node_decode(data, block, 8, &n, &p));
	CU_ASSERT_EQUAL(n.is_leaf, height == 0);
	CU_ASSERT_TRUE(is_root || n.nr >= min);
	CU_ASSERT_TRUE(pd_counts_get(&t.w.counts, block) > 0);
	for (unsigned i = 0; height && i < n.nr; i++)
		nr += nodes_below(pd_value64(&n, i), height - 1, false);
	bufio_release(b);
	return nr;
}

/* That it holds @nr entries, from @first on without a gap, and nothing is wrong with it. Returns its nodes. */
static unsigned judge(const struct pd_tree *tree, uint64_t first, uint64_t nr)
{
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = 1 };
	const uint8_t *value;
	struct pd_cursor c;
	uint64_t key, seen = 0, wrong = 0;
	int r;

	pd_cursor_open(&c, &image.reader, &ctx, tree->root, 8);
	while ((r = pd_cursor_next_entry(&c, &key, &value)) > 0) {
		wrong += key != first + seen || le_load(value, 8) != 1000000 + key;
		seen++;
	}
	pd_cursor_close(&c);
	CU_ASSERT_EQUAL(r, 0);
	CU_ASSERT_EQUAL(seen, nr);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	return nodes_below(tree->root, tree->height, true);
}

/* Blocks that are in use. */
static uint64_t used(void)
{
	uint64_t nr = 0;

	for (uint64_t i = 1; i < t.w.next; i++)
		nr += pd_counts_get(&t.w.counts, i) != 0;
	return nr;
}

static void sizes(void)
{
	static const unsigned sizes[] = { 0, 1, 83, 84, 251, 252, 253, 335, 336, 337, 503, 504, 505, 587, 588, 63503, 63504,
					  63505, 63504 + 83, 63504 + 84, 200000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		unsigned nr = sizes[i], leaves = nr ? (nr + LEAF - 1) / LEAF : 1, level = leaves, nodes = leaves;
		struct pd_tree tree;

		while (level > 1) {
			level = (level + CHILDREN - 1) / CHILDREN;
			nodes += level;
		}
		start(NR_BLOCKS);
		tree = tree_of(7, nr);
		CU_ASSERT_EQUAL(judge(&tree, 7, nr), nodes);
		CU_ASSERT_EQUAL(used(), nodes);
		CU_ASSERT_EQUAL(t.w.next, 1 + nodes);
		CU_ASSERT_EQUAL(t.more, nr);
		finish();
	}
}

static void sole(void)
{
	struct pd_tree def, tree;

	start(NR_BLOCKS);
	def = tree_of(0, 1000);
	open_build();
	CU_ASSERT_EQUAL(pd_build_add_tree(t.build, &def), 0);
	tree = end();
	CU_ASSERT_EQUAL(tree.root, def.root);
	CU_ASSERT_EQUAL(tree.height, 1);
	CU_ASSERT_EQUAL(tree.nr, 4);
	CU_ASSERT_EQUAL(pd_counts_get(&t.w.counts, def.root), 2);
	CU_ASSERT_EQUAL(used(), 5);
	judge(&tree, 0, 1000);
	finish();
}

static void empty_tree(void)
{
	struct pd_tree def, tree;

	start(NR_BLOCKS);
	def = tree_of(0, 0);
	open_build();
	add(5, 10);
	CU_ASSERT_EQUAL(pd_build_add_tree(t.build, &def), 0);
	add(15, 10);
	tree = end();
	judge(&tree, 5, 20);
	finish();
}

/* Leaves that lie side by side are taken as they are, and the node above them is new. */
static void leaves_are_shared(void)
{
	struct pd_tree a, b, tree;

	start(NR_BLOCKS);
	a = tree_of(0, 504);
	b = tree_of(504, 252);
	open_build();
	CU_ASSERT_EQUAL(pd_build_add_tree(t.build, &a), 0);
	CU_ASSERT_EQUAL(pd_build_add_tree(t.build, &b), 0);
	add(756, 100);
	t.more = 0;
	tree = end();
	CU_ASSERT_EQUAL(t.more, 100);
	CU_ASSERT_EQUAL(judge(&tree, 0, 856), 5);
	CU_ASSERT_EQUAL(used(), 3 + 1 + 2);
	finish();
}

/* A whole node above leaves, too. */
static void subtrees_are_shared(void)
{
	uint64_t nr = 3 * LEAF * CHILDREN;
	struct pd_tree def, tree;
	uint64_t before;

	start(NR_BLOCKS);
	def = tree_of(1000, nr);
	CU_ASSERT_EQUAL(def.height, 2);
	before = used();
	open_build();
	add(0, 1000); /* four leaves, too few for a node of their own */
	CU_ASSERT_EQUAL(pd_build_add_tree(t.build, &def), 0);
	tree = end();
	judge(&tree, 0, 1000 + nr);
	CU_ASSERT_EQUAL(used() - before, 4 + 2 + 1); /* leaves; two nodes with those of the first one; a root */
	finish();
}

/* One thread only, so of no interest to that sanitizer, which makes it slow: some combinations, with each size. */
#ifdef __SANITIZE_THREAD__
#define STEP 7
#else
#define STEP 1
#endif

/* Whatever comes before, between and behind: keys, depths, how full nodes are, and how often each is pointed to. */
static void every_seam(void)
{
	static const unsigned sizes[] = { 0, 1, 83, 84, 85, 251, 252, 253, 336, 1000, 21167, 21168, 30000, 63504, 64000 };
	size_t nr_sizes = sizeof(sizes) / sizeof(*sizes);
	unsigned bad = 0;

	for (size_t i = 0; i < nr_sizes * nr_sizes * 6; i += STEP) {
		uint64_t own = sizes[i % 6], first = sizes[i / 6 % nr_sizes], second = sizes[i / 6 / nr_sizes];
		struct pd_tree a, b, tree;
		uint64_t at = 0;

		if (first > 30000 && second > 30000)
			continue;
		start(FEW_BLOCKS);
		a = tree_of(own, first);
		b = tree_of(2 * own + first, second);
		open_build();
		add(at, own);
		pd_build_add_tree(t.build, &a);
		add(at += own + first, own);
		pd_build_add_tree(t.build, &b);
		add(at += own + second, own);
		tree = end();
		judge(&tree, 0, 3 * own + first + second);
		/* Whoever made the parts lets go of them: what is left is the tree, and nothing else. */
		CU_ASSERT_EQUAL(pd_build_drop(t.build, a.root, a.height), 0);
		CU_ASSERT_EQUAL(pd_build_drop(t.build, b.root, b.height), 0);
		bad += used() != nodes_below(tree.root, tree.height, true);
		bad += t.more - t.less != 3 * own + first + second;
		CU_ASSERT_EQUAL(pd_build_drop(t.build, tree.root, tree.height), 0);
		bad += used() != 0 || t.more != t.less;
		finish();
	}
	CU_ASSERT_EQUAL(bad, 0);
}

static void full(void)
{
	int r = 0;

	start(4);
	open_build();
	for (uint64_t i = 0; i < 5 * LEAF && !r; i++) {
		le64 value = le64_put(i);

		r = pd_build_add(t.build, i, &value);
	}
	CU_ASSERT_EQUAL(r, -ENOSPC);
	finish();
}

/* 2 and 5 are in use, 3 is kept: what is left is 1, 4, 6, 7. */
static void among_others(void)
{
	static const uint64_t left[] = { 1, 4, 6, 7 }, used[] = { 2, 5 };
	const uint64_t kept[] = { UINT64_C(1) << 3 };
	uint64_t block;

	start(8);
	t.w.is_inhabited = true;
	t.w.kept = kept;
	CU_ASSERT_EQUAL(pd_counts_add(&t.w.counts, used, 2), 0);
	for (unsigned i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(pd_take_number(&t.w, &block), 0);
		CU_ASSERT_EQUAL(block, left[i]);
	}
	CU_ASSERT_EQUAL(pd_take_number(&t.w, &block), -ENOSPC);
	CU_ASSERT_EQUAL(block, 7);
	finish();
}

static void other_sizes(void)
{
	static const unsigned sizes[][2] = { { 4, 336 }, { 16, 168 }, { 24, 126 } };

	for (unsigned i = 0; i < 3; i++) {
		struct pd_context ctx = { .where = WHERE_DETAILS, .dev_id = PROBLEM_NO_DEVICE };
		uint8_t value[24] = { 1, 2, 3 };
		const uint8_t *found;
		struct pd_cursor c;
		uint64_t key, nr = 0;
		struct pd_tree tree;

		start(NR_BLOCKS);
		pd_build_open(t.build, &t.w, sizes[i][0]);
		for (unsigned k = 0; k < 5000; k++)
			CU_ASSERT_EQUAL(pd_build_add(t.build, 3 * k, value), 0);
		tree = end();
		CU_ASSERT_EQUAL(used(), (5000 + sizes[i][1] - 1) / sizes[i][1] + 1);
		pd_cursor_open(&c, &image.reader, &ctx, tree.root, sizes[i][0]);
		while (pd_cursor_next_entry(&c, &key, &found) > 0)
			nr += key == 3 * nr && !memcmp(found, value, sizes[i][0]);
		pd_cursor_close(&c);
		CU_ASSERT_EQUAL(nr, 5000);
		CU_ASSERT_EQUAL(image.told.nr, 0);
		finish();
	}
}

static const struct unit_case cases[] = {
	{ "of any size, with as few nodes as there can be, none but the root less than a third full", sizes },
	{ "nodes have as many entries as their values allow", other_sizes },
	{ "a tree that nothing is added to is shared as a whole", sole },
	{ "an empty tree adds nothing", empty_tree },
	{ "leaves of trees side by side are shared, and told of once", leaves_are_shared },
	{ "nodes above leaves are shared where they can be", subtrees_are_shared },
	{ "trees and entries in any order give a sound tree, and every pointer is counted", every_seam },
	{ "a full device is no place for more", full },
	{ "blocks that are in use, or kept, are passed over", among_others },
	{ NULL, NULL },
};

const struct unit_suite btree_build_suite = { "btree_build", cases };
