// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "pdata/btree.h"
#include "unit.h"

#define NR_BLOCKS 128
#define MAX_SEEN 4096
#define LEN(table) (sizeof(table) / sizeof(*(table)))
#define TOO_LONG 30 /* seconds, after which a walk counts as endless */

/* What the last walk gave. */
static struct {
	unsigned nr, leaves;
	uint64_t keys[MAX_SEEN];
	uint64_t entries, holes;
} seen;

static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, PD_MAX_DEPTH + 1);
}

/* --- making nodes --- */

static void set_key(uint8_t *b, unsigned i, uint64_t key)
{
	le_store(b + 32 + 8 * i, 8, key);
}

/* A leaf of the keys from @first on; each value is ten times its key. */
static void leaf(uint64_t block, uint64_t first, unsigned nr)
{
	image_node(block, 2, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, first + i, 10 * (first + i), 8);
}

struct child {
	uint64_t key, block;
};

static void parent(uint64_t block, const struct child *children, unsigned nr)
{
	image_node(block, 1, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, children[i].key, children[i].block, 8);
}

#define PARENT(block, ...) \
	parent(block, (const struct child[]){ __VA_ARGS__ }, \
	       sizeof((const struct child[]){ __VA_ARGS__ }) / sizeof(struct child))

/* Root 1 over the leaves 2, 3 and 4: keys 0..9, 10..19, 20..29. */
static void three_leaves(void)
{
	leaf(2, 0, 10);
	leaf(3, 10, 10);
	leaf(4, 20, 10);
	PARENT(1, { 0, 2 }, { 10, 3 }, { 20, 4 });
}

/* Root 1 over 5 and 6, these over the leaves 2, 3 and 4, 7: keys 0..39. */
static void three_levels(void)
{
	leaf(2, 0, 10);
	leaf(3, 10, 10);
	leaf(4, 20, 10);
	leaf(7, 30, 10);
	PARENT(5, { 0, 2 }, { 10, 3 });
	PARENT(6, { 20, 4 }, { 30, 7 });
	PARENT(1, { 0, 5 }, { 20, 6 });
}

/* @nr internal nodes, each the only child of the one before, from block 10 on; a leaf below the last. */
static void chain(unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		PARENT(10 + i, { 0, 11 + i });
	leaf(10 + nr, 0, 3);
}

/* --- walking --- */

static const struct pd_context everything = { .where = WHERE_MAPPINGS, .dev_id = 3, .begin = 0, .end = UINT64_MAX };

static void note_leaf(const struct pd_node *n)
{
	seen.leaves++;
	CU_ASSERT_TRUE(n->is_leaf);
	for (unsigned i = 0; i < n->nr && seen.nr < MAX_SEEN; i++) {
		CU_ASSERT_EQUAL(pd_value64(n, i), 10 * pd_key(n, i));
		seen.keys[seen.nr++] = pd_key(n, i);
	}
}

static int walk_remembering(uint64_t root, struct pd_memo *memo)
{
	const struct pd_node *n = NULL;
	struct pd_cursor c;
	int r;

	memset(&seen, 0, sizeof(seen));
	pd_cursor_open(&c, &image.reader, &everything, root, 8);
	c.memo = memo;
	alarm(TOO_LONG);
	while ((r = pd_cursor_next(&c, &n)) > 0)
		note_leaf(n);
	alarm(0);
	seen.entries = c.entries;
	seen.holes = c.holes;
	pd_cursor_close(&c);
	return r;
}

static int walk(uint64_t root)
{
	return walk_remembering(root, NULL);
}

/* The walk gave exactly the keys of @first <= key < @last, from the @from'th on. */
static void saw(unsigned from, uint64_t first, uint64_t last)
{
	for (uint64_t key = first; key < last; key++)
		CU_ASSERT_EQUAL(seen.keys[from + (unsigned)(key - first)], key);
}

/* The only problem. */
static void one_problem(enum problem_code code, uint64_t block, uint64_t begin, uint64_t end)
{
	const struct problem *p = image.told.p;

	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(p->code, code);
	CU_ASSERT_EQUAL(p->block, block);
	CU_ASSERT_EQUAL(p->where, WHERE_MAPPINGS);
	CU_ASSERT_EQUAL(p->dev_id, 3);
	CU_ASSERT_EQUAL(p->begin, begin);
	CU_ASSERT_EQUAL(p->end, end);
}

static uint64_t blocks_asked(void)
{
	struct bufio_stats s;

	bufio_get_stats(image.reader.client, &s);
	return s.hits + s.misses;
}

/* --- decoding --- */

static void max_entries(void)
{
	CU_ASSERT_EQUAL(pd_max_entries(8), 252);
	CU_ASSERT_EQUAL(pd_max_entries(24), 126);
	CU_ASSERT_EQUAL(pd_max_entries(16), 168);
	CU_ASSERT_EQUAL(pd_max_entries(4), 336);
	CU_ASSERT_EQUAL(pd_max_entries(12), 201);
}

static void max_entries_of_giants(void)
{
	CU_ASSERT_EQUAL(pd_max_entries(1346), 3);
	CU_ASSERT_EQUAL(pd_max_entries(1347), 0);
	CU_ASSERT_EQUAL(pd_max_entries(5000), 0);
	CU_ASSERT_EQUAL(pd_max_entries(UINT32_MAX), 0);
	CU_ASSERT_EQUAL(pd_max_entries(UINT32_MAX - 7), 0);
}

static bool decode(const uint8_t *b, uint32_t value_size, struct pd_node *n, struct problem *p)
{
	memset(n, 0xAA, sizeof(*n));
	memset(p, 0, sizeof(*p));
	return pd_node_decode(b, 77, value_size, n, p);
}

static void rejects(const uint8_t *b, uint32_t value_size, enum problem_code code, uint64_t expected, uint64_t found)
{
	struct pd_node n;
	struct problem p;

	CU_ASSERT_FALSE(decode(b, value_size, &n, &p));
	CU_ASSERT_EQUAL(p.code, code);
	CU_ASSERT_EQUAL(p.expected, expected);
	CU_ASSERT_EQUAL(p.found, found);
}

static void decodes_leaf(void)
{
	uint8_t b[PD_BLOCK_SIZE];
	struct pd_node n;
	struct problem p;

	image_header(b, 2, 2, 201, 12);
	set_key(b, 0, 5);
	set_key(b, 1, 0xFFFFFFFFFFFFFFFF);
	le_store(b + 32 + 8 * 201 + 12, 8, 0x0102030405060708);
	CU_ASSERT_TRUE_FATAL(decode(b, 12, &n, &p));
	CU_ASSERT_EQUAL(n.block, 77);
	CU_ASSERT_TRUE(n.is_leaf);
	CU_ASSERT_EQUAL(n.nr, 2);
	CU_ASSERT_EQUAL(n.value_size, 12);
	CU_ASSERT_EQUAL(pd_key(&n, 0), 5);
	CU_ASSERT_EQUAL(pd_key(&n, 1), 0xFFFFFFFFFFFFFFFF);
	CU_ASSERT_PTR_EQUAL(pd_value(&n, 0), b + 32 + 8 * 201);
	CU_ASSERT_EQUAL(pd_value64(&n, 1), 0x0102030405060708);
}

/* An internal node's values are block numbers, whatever the tree's leaves hold. */
static void decodes_internal(void)
{
	uint8_t b[PD_BLOCK_SIZE];
	struct pd_node n;
	struct problem p;

	image_header(b, 1, 1, 252, 8);
	set_key(b, 0, 5);
	le_store(b + 32 + 8 * 252, 8, 99);
	CU_ASSERT_TRUE_FATAL(decode(b, 24, &n, &p));
	CU_ASSERT_FALSE(n.is_leaf);
	CU_ASSERT_EQUAL(n.value_size, 8);
	CU_ASSERT_EQUAL(pd_value64(&n, 0), 99);
}

static void accepts_empty_leaf(void)
{
	uint8_t b[PD_BLOCK_SIZE];
	struct pd_node n;
	struct problem p;

	image_header(b, 2, 0, 252, 8);
	CU_ASSERT_TRUE_FATAL(decode(b, 8, &n, &p));
	CU_ASSERT_TRUE(n.is_leaf);
	CU_ASSERT_EQUAL(n.nr, 0);
}

static void accepts_full_leaf(void)
{
	static const uint32_t sizes[] = { 4, 8, 12, 16, 24 };
	uint8_t b[PD_BLOCK_SIZE];
	struct pd_node n;
	struct problem p;

	for (unsigned s = 0; s < LEN(sizes); s++) {
		unsigned max = pd_max_entries(sizes[s]);

		image_header(b, 2, max, max, sizes[s]);
		for (unsigned i = 0; i < max; i++)
			set_key(b, i, 3 * i);
		CU_ASSERT_TRUE_FATAL(decode(b, sizes[s], &n, &p));
		CU_ASSERT_EQUAL(n.nr, max);
		CU_ASSERT_EQUAL(pd_key(&n, max - 1), 3 * (max - 1));
		CU_ASSERT_TRUE(pd_value(&n, max - 1) + sizes[s] <= b + PD_BLOCK_SIZE);
	}
}

/* The kernel checks that all fits, not that it is as much as would fit. */
static void accepts_smaller_max(void)
{
	uint8_t b[PD_BLOCK_SIZE];
	struct pd_node n;
	struct problem p;

	image_header(b, 2, 2, 3, 8);
	set_key(b, 1, 1);
	le_store(b + 32 + 8 * 3 + 8, 8, 1234);
	CU_ASSERT_TRUE_FATAL(decode(b, 8, &n, &p));
	CU_ASSERT_EQUAL(pd_value64(&n, 1), 1234);
}

static void takes_what_node_says(void)
{
	uint8_t b[PD_BLOCK_SIZE];
	struct pd_node n;
	struct problem p;

	image_header(b, 2, 1, 126, 24);
	CU_ASSERT_TRUE_FATAL(decode(b, 0, &n, &p));
	CU_ASSERT_EQUAL(n.value_size, 24);
	image_header(b, 2, 1, 1, 5000);
	CU_ASSERT_FALSE(decode(b, 0, &n, &p));
	image_header(b, 2, 1, 0x20000000, UINT32_MAX - 7);
	CU_ASSERT_FALSE(decode(b, 0, &n, &p));
}

static void rejects_flags(void)
{
	static const uint32_t flags[] = { 0, 3, 4, 5, 6, 0x80000001 };
	uint8_t b[PD_BLOCK_SIZE];

	for (unsigned i = 0; i < LEN(flags); i++) {
		struct pd_node n;
		struct problem p;

		image_header(b, flags[i], 1, 252, 8);
		CU_ASSERT_FALSE(decode(b, 8, &n, &p));
		CU_ASSERT_EQUAL(p.code, PROBLEM_NODE_FLAGS);
		CU_ASSERT_EQUAL(p.found, flags[i]);
	}
}

static void rejects_value_size(void)
{
	uint8_t b[PD_BLOCK_SIZE];

	image_header(b, 2, 1, 126, 24);
	rejects(b, 8, PROBLEM_NODE_VALUE_SIZE, 8, 24);
	image_header(b, 2, 1, 252, 8);
	rejects(b, 24, PROBLEM_NODE_VALUE_SIZE, 24, 8);
	image_header(b, 1, 1, 126, 24);
	rejects(b, 24, PROBLEM_NODE_VALUE_SIZE, 8, 24);
}

static void rejects_max_entries(void)
{
	static const uint32_t maxima[] = { 0, 255, 4096, 0x10000000, UINT32_MAX };
	uint8_t b[PD_BLOCK_SIZE];

	for (unsigned i = 0; i < LEN(maxima); i++) {
		image_header(b, 2, 0, maxima[i], 8);
		rejects(b, 8, PROBLEM_NODE_MAX_ENTRIES, 252, maxima[i]);
		image_header(b, 1, 0, maxima[i], 8);
		rejects(b, 24, PROBLEM_NODE_MAX_ENTRIES, 252, maxima[i]);
	}
	image_header(b, 2, 0, 128, 24);
	rejects(b, 24, PROBLEM_NODE_MAX_ENTRIES, 126, 128);
}

static void rejects_nr_entries(void)
{
	uint8_t b[PD_BLOCK_SIZE];

	image_header(b, 2, 253, 252, 8);
	rejects(b, 8, PROBLEM_NODE_NR_ENTRIES, 252, 253);
	image_header(b, 2, 4, 3, 8);
	rejects(b, 8, PROBLEM_NODE_NR_ENTRIES, 3, 4);
	image_header(b, 1, UINT32_MAX, 252, 8);
	rejects(b, 8, PROBLEM_NODE_NR_ENTRIES, 252, UINT32_MAX);
}

static void rejects_keys(void)
{
	uint8_t b[PD_BLOCK_SIZE];

	image_header(b, 2, 3, 252, 8);
	set_key(b, 0, 7);
	set_key(b, 1, 9);
	set_key(b, 2, 9);
	rejects(b, 8, PROBLEM_NODE_KEY_ORDER, 9, 9);
	set_key(b, 2, 8);
	rejects(b, 8, PROBLEM_NODE_KEY_ORDER, 9, 8);
	set_key(b, 1, 0);
	rejects(b, 8, PROBLEM_NODE_KEY_ORDER, 7, 0);
}

/* --- whole trees --- */

static void empty_tree(void)
{
	start();
	leaf(1, 0, 0);
	CU_ASSERT_EQUAL(walk(1), 0);
	CU_ASSERT_EQUAL(seen.nr, 0);
	CU_ASSERT_EQUAL(seen.entries, 0);
	CU_ASSERT_EQUAL(seen.holes, 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void one_leaf(void)
{
	start();
	leaf(1, 100, 252);
	CU_ASSERT_EQUAL(walk(1), 0);
	CU_ASSERT_EQUAL(seen.nr, 252);
	CU_ASSERT_EQUAL(seen.entries, 252);
	saw(0, 100, 352);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void two_levels(void)
{
	start();
	three_leaves();
	CU_ASSERT_EQUAL(walk(1), 0);
	CU_ASSERT_EQUAL(seen.leaves, 3);
	CU_ASSERT_EQUAL(seen.nr, 30);
	CU_ASSERT_EQUAL(seen.entries, 30);
	CU_ASSERT_EQUAL(seen.holes, 0);
	saw(0, 0, 30);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void three_levels_in_order(void)
{
	start();
	three_levels();
	CU_ASSERT_EQUAL(walk(1), 0);
	CU_ASSERT_EQUAL(seen.leaves, 4);
	CU_ASSERT_EQUAL(seen.nr, 40);
	CU_ASSERT_EQUAL(seen.entries, 40);
	saw(0, 0, 40);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* A key says where a child may begin, not where it does. */
static void gaps_at_edges(void)
{
	start();
	leaf(2, 4, 3);
	leaf(3, 15, 3);
	PARENT(1, { 0, 2 }, { 10, 3 });
	CU_ASSERT_EQUAL(walk(1), 0);
	CU_ASSERT_EQUAL(seen.nr, 6);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void largest_keys(void)
{
	start();
	leaf(2, 0, 1);
	leaf(3, UINT64_MAX - 2, 2);
	PARENT(1, { 0, 2 }, { UINT64_MAX - 2, 3 });
	CU_ASSERT_EQUAL(walk(1), 0);
	CU_ASSERT_EQUAL(seen.nr, 3);
	CU_ASSERT_EQUAL(seen.keys[2], UINT64_MAX - 1);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void entry_by_entry(void)
{
	struct pd_cursor c;
	const uint8_t *value;
	uint64_t key, nr = 0;

	start();
	three_levels();
	pd_cursor_open(&c, &image.reader, &everything, 1, 8);
	for (; pd_cursor_next_entry(&c, &key, &value) > 0; nr++) {
		CU_ASSERT_EQUAL(key, nr);
		CU_ASSERT_EQUAL(le_load(value, 8), 10 * nr);
	}
	CU_ASSERT_EQUAL(nr, 40);
	CU_ASSERT_EQUAL(pd_cursor_next_entry(&c, &key, &value), 0);
	pd_cursor_close(&c);
	image_close();
}

static void entries_skip_what_is_empty(void)
{
	struct pd_cursor c;
	const uint8_t *value;
	uint64_t key, sum = 0;

	start();
	three_leaves();
	leaf(2, 0, 0);
	image_at(3)[100] ^= 1;
	pd_cursor_open(&c, &image.reader, &everything, 1, 8);
	while (pd_cursor_next_entry(&c, &key, &value) > 0)
		sum += key;
	CU_ASSERT_EQUAL(sum, (20 + 29) * 10 / 2);
	pd_cursor_close(&c);
	image_close();
}

static void end_stays(void)
{
	const struct pd_node *n;
	struct pd_cursor c;

	start();
	leaf(1, 0, 5);
	pd_cursor_open(&c, &image.reader, &everything, 1, 8);
	CU_ASSERT_EQUAL(pd_cursor_next(&c, &n), 1);
	CU_ASSERT_EQUAL(pd_cursor_next(&c, &n), 0);
	CU_ASSERT_EQUAL(pd_cursor_next(&c, &n), 0);
	pd_cursor_close(&c);
	image_close();
}

static void opening_reads_nothing(void)
{
	struct pd_cursor c;

	start();
	pd_cursor_open(&c, &image.reader, &everything, NR_BLOCKS + 5, 8);
	CU_ASSERT_EQUAL(blocks_asked(), 0);
	pd_cursor_close(&c);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void close_in_the_middle(void)
{
	const struct pd_node *n;
	struct pd_cursor c;

	for (unsigned leaves = 1; leaves <= 4; leaves++) {
		start();
		three_levels();
		pd_cursor_open(&c, &image.reader, &everything, 1, 8);
		for (unsigned i = 0; i < leaves; i++)
			CU_ASSERT_EQUAL(pd_cursor_next(&c, &n), 1);
		pd_cursor_close(&c);
		pd_cursor_close(&c);
		image_close();
	}
}

/* --- damage --- */

static void bad_root(void)
{
	start();
	leaf(1, 0, 5);
	image_at(1)[50] ^= 1;
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_BLOCK_CHECKSUM, 1, 0, UINT64_MAX);
	CU_ASSERT_EQUAL(seen.holes, 1);
	CU_ASSERT_EQUAL(seen.nr, 0);
	image_close();
}

static void stops_at_holes(void)
{
	const uint64_t expected[][2] = { { 0, 10 }, { 10, 20 }, { 20, UINT64_MAX } };
	const struct pd_node *n;
	struct pd_cursor c;

	start();
	three_leaves();
	image_at(2)[50] ^= 1;
	image_at(4)[50] ^= 1;
	pd_cursor_open(&c, &image.reader, &everything, 1, 8);
	c.stops_at_holes = true;
	for (unsigned i = 0; i < LEN(expected); i++) {
		CU_ASSERT_EQUAL(pd_cursor_next(&c, &n), 1);
		CU_ASSERT_EQUAL(n != NULL, i == 1);
		CU_ASSERT_EQUAL(c.ctx.begin, expected[i][0]);
		CU_ASSERT_EQUAL(c.ctx.end, expected[i][1]);
	}
	CU_ASSERT_EQUAL(pd_cursor_next(&c, &n), 0);
	pd_cursor_close(&c);
	image_close();
}

static void bad_middle_leaf(void)
{
	start();
	three_leaves();
	memset(image_at(3), 0, PD_BLOCK_SIZE);
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_BLOCK_ZEROED, 3, 10, 20);
	CU_ASSERT_EQUAL(seen.entries, 20);
	CU_ASSERT_EQUAL(seen.holes, 1);
	saw(0, 0, 10);
	saw(10, 20, 30);
	image_close();
}

static void bad_outer_leaves(void)
{
	start();
	three_leaves();
	image_at(2)[40] ^= 1;
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_BLOCK_CHECKSUM, 2, 0, 10);
	image.told.nr = 0;
	leaf(2, 0, 10);
	image_close();

	start();
	three_leaves();
	image_at(4)[40] ^= 1;
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_BLOCK_CHECKSUM, 4, 20, UINT64_MAX);
	image_close();
}

static void bad_internal_node(void)
{
	start();
	three_levels();
	image_at(5)[40] ^= 1;
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_BLOCK_CHECKSUM, 5, 0, 20);
	CU_ASSERT_EQUAL(seen.entries, 20);
	CU_ASSERT_EQUAL(seen.holes, 1);
	saw(0, 20, 40);
	image_close();
}

static void last_leaf_of_a_subtree(void)
{
	start();
	three_levels();
	image_at(3)[40] ^= 1;
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_BLOCK_CHECKSUM, 3, 10, 20);
	CU_ASSERT_EQUAL(seen.entries, 30);
	image_close();
}

static void unreadable_leaf(void)
{
	start();
	three_leaves();
	image.plan.bad_begin = 3 * PD_BLOCK_SIZE;
	image.plan.bad_end = 4 * PD_BLOCK_SIZE;
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_BLOCK_UNREADABLE, 3, 10, 20);
	CU_ASSERT_EQUAL(image.told.p[0].error, EIO);
	CU_ASSERT_EQUAL(seen.entries, 20);
	image_close();
}

static void bad_pointer(void)
{
	start();
	three_leaves();
	PARENT(1, { 0, 2 }, { 10, NR_BLOCKS }, { 20, 4 });
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_BLOCK_BEYOND, NR_BLOCKS, 10, 20);
	CU_ASSERT_EQUAL(seen.entries, 20);
	image_close();
}

static void bad_contents(void)
{
	start();
	three_leaves();
	image_header(image_at(3), 2, 300, 252, 8);
	pd_block_seal(image_at(3), PD_NODE, 3);
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_NODE_NR_ENTRIES, 3, 10, 20);
	CU_ASSERT_EQUAL(image.told.p[0].expected, 252);
	CU_ASSERT_EQUAL(image.told.p[0].found, 300);
	CU_ASSERT_EQUAL(seen.entries, 20);
	CU_ASSERT_EQUAL(seen.holes, 1);
	image_close();
}

static void all_leaves_bad(void)
{
	start();
	three_leaves();
	for (unsigned b = 2; b <= 4; b++)
		image_at(b)[40] ^= 1;
	CU_ASSERT_EQUAL(walk(1), 0);
	CU_ASSERT_EQUAL(image.told.nr, 3);
	CU_ASSERT_EQUAL(seen.holes, 3);
	CU_ASSERT_EQUAL(seen.entries, 0);
	image_close();
}

static void leaf_key_out_of_range(uint64_t first, unsigned nr, uint64_t found)
{
	start();
	three_leaves();
	leaf(3, first, nr);
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_NODE_KEY_RANGE, 3, 10, 20);
	CU_ASSERT_EQUAL(image.told.p[0].found, found);
	CU_ASSERT_EQUAL(seen.holes, 1);
	CU_ASSERT_EQUAL(seen.entries, 20);
	image_close();
}

static void leaf_keys_out_of_range(void)
{
	leaf_key_out_of_range(9, 3, 9);
	leaf_key_out_of_range(18, 3, 20);
	leaf_key_out_of_range(20, 1, 20);
	leaf_key_out_of_range(0, 1, 0);
}

static void internal_key_out_of_range(void)
{
	start();
	three_levels();
	PARENT(5, { 0, 2 }, { 20, 3 });
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_NODE_KEY_RANGE, 5, 0, 20);
	CU_ASSERT_EQUAL(image.told.p[0].found, 20);
	CU_ASSERT_EQUAL(seen.entries, 20);
	image_close();
}

static void loop_to_itself(void)
{
	start();
	three_leaves();
	PARENT(1, { 0, 2 }, { 10, 1 }, { 20, 4 });
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_NODE_LOOP, 1, 10, 20);
	CU_ASSERT_EQUAL(seen.entries, 20);
	CU_ASSERT_EQUAL(seen.holes, 1);
	image_close();
}

static void loop_to_grandparent(void)
{
	start();
	three_levels();
	PARENT(5, { 0, 2 }, { 10, 1 });
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_NODE_LOOP, 1, 10, 20);
	CU_ASSERT_EQUAL(seen.entries, 30);
	image_close();
}

static void deepest_real_tree(void)
{
	start();
	chain(PD_MAX_DEPTH - 1);
	CU_ASSERT_EQUAL(walk(10), 0);
	CU_ASSERT_EQUAL(seen.entries, 3);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void too_deep(void)
{
	start();
	chain(PD_MAX_DEPTH + 4);
	CU_ASSERT_EQUAL(walk(10), 0);
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_TREE_DEPTH);
	CU_ASSERT_EQUAL(image.told.p[0].expected, PD_MAX_DEPTH);
	CU_ASSERT_EQUAL(image.told.p[0].begin, 0);
	CU_ASSERT_EQUAL(image.told.p[0].end, UINT64_MAX);
	CU_ASSERT_EQUAL(seen.entries, 0);
	CU_ASSERT_EQUAL(seen.holes, 1);
	image_close();
}

static void too_deep_then_more(void)
{
	start();
	chain(PD_MAX_DEPTH + 4);
	leaf(2, 1000, 7);
	PARENT(1, { 0, 10 }, { 1000, 2 });
	CU_ASSERT_EQUAL(walk(1), 0);
	CU_ASSERT_EQUAL(seen.nr, 7);
	saw(0, 1000, 1007);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_TREE_DEPTH);
	image_close();
}

/* Below the root, leaf 7 is at level 3, where the first leaf is at level 2. */
static void unequal_depth(void)
{
	start();
	leaf(2, 0, 10);
	leaf(7, 10, 10);
	PARENT(5, { 10, 7 });
	PARENT(1, { 0, 2 }, { 10, 5 });
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_LEAF_DEPTH, 7, 10, UINT64_MAX);
	CU_ASSERT_EQUAL(image.told.p[0].found, 3);
	CU_ASSERT_EQUAL(image.told.p[0].expected, 2);
	CU_ASSERT_EQUAL(seen.entries, 20);
	CU_ASSERT_EQUAL(seen.holes, 0);
	saw(0, 0, 20);
	image_close();
}

static void empty_leaf_below_root(void)
{
	start();
	three_leaves();
	leaf(3, 0, 0);
	CU_ASSERT_EQUAL(walk(1), 0);
	one_problem(PROBLEM_NODE_EMPTY, 3, 10, 20);
	CU_ASSERT_EQUAL(seen.entries, 20);
	CU_ASSERT_EQUAL(seen.holes, 0);
	image_close();
}

/* An internal node that has 252 times the same child. */
static void same_child(uint64_t block, uint64_t child, uint64_t step)
{
	struct child children[252];

	for (unsigned i = 0; i < 252; i++)
		children[i] = (struct child){ i * step, child };
	parent(block, children, 252);
}

/* Were each path walked, there would be 252^7 of them. */
static void bomb(void)
{
	uint64_t step = 1;

	for (unsigned level = 0; level < 7; level++, step *= 252)
		same_child(10 + 6 - level, 10 + 7 - level, step);
	leaf(17, 0, 1);
}

static void bomb_ends(void)
{
	start();
	bomb();
	CU_ASSERT_EQUAL(walk(10), 0);
	CU_ASSERT_EQUAL(seen.entries, 1);
	CU_ASSERT_EQUAL(image.told.nr, 7 * 251);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_NODE_KEY_RANGE);
	CU_ASSERT_TRUE(blocks_asked() <= 8 * 252);
	image_close();
}

static void bomb_of_empty_leaves(void)
{
	start();
	bomb();
	leaf(17, 0, 0);
	CU_ASSERT_EQUAL(walk(10), 0);
	CU_ASSERT_EQUAL(seen.entries, 0);
	CU_ASSERT_TRUE(blocks_asked() <= 8 * 252);
	image_close();
}

/* There is room for the root, and then for nothing below it. */
static void world_fails(void)
{
	struct bufio_buffer *held[NR_BLOCKS];
	const struct pd_node *n;
	struct pd_cursor c;
	unsigned nr = 0;

	start();
	three_levels();
	CU_ASSERT_EQUAL(bufio_set_memory_limit(image.reader.client, bufio_get_memory_floor(image.reader.client)), 0);
	while (nr < 100 && bufio_read(image.reader.client, 20 + nr, &held[nr]))
		nr++;
	CU_ASSERT_TRUE_FATAL(nr < 100);
	bufio_release(held[--nr]);
	pd_cursor_open(&c, &image.reader, &everything, 1, 8);
	CU_ASSERT_EQUAL(pd_cursor_next(&c, &n), -EDEADLK);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(c.holes, 0);
	pd_cursor_close(&c);
	while (nr)
		bufio_release(held[--nr]);
	image_close();
}

/* --- shared subtrees --- */

static struct pd_memo_entry memo_entries[NR_BLOCKS];

static struct pd_memo *new_memo(void)
{
	static struct pd_memo memo;

	memset(memo_entries, 0, sizeof(memo_entries));
	memo = (struct pd_memo){ .entries = memo_entries, .nr = NR_BLOCKS, .retell = 1000 };
	return &memo;
}

/* Entries below @block; 0: not remembered as sound. */
static uint64_t remembered(uint64_t block)
{
	return memo_entries[block].is_damaged ? 0 : pd_memo_count(&memo_entries[block]);
}

/* The roots 1 and 8 share 6 with its leaves 4 and 7; 8 has leaf 9 of its own. */
static void two_trees(void)
{
	three_levels();
	leaf(9, 0, 5);
	PARENT(11, { 0, 9 });
	PARENT(8, { 0, 11 }, { 20, 6 });
}

static void shared_counted_once(void)
{
	struct pd_memo *memo = new_memo();
	uint64_t before;

	start();
	two_trees();
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 40);
	CU_ASSERT_EQUAL(remembered(6), 20);
	before = image_blocks_read();
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 25);
	CU_ASSERT_EQUAL(seen.holes, 0);
	CU_ASSERT_EQUAL(image_blocks_read() - before, 3);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void shared_root_costs_nothing(void)
{
	struct pd_memo *memo = new_memo();
	uint64_t before;

	start();
	three_levels();
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(remembered(1), 40);
	before = blocks_asked();
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 40);
	CU_ASSERT_EQUAL(blocks_asked() - before, 0);
	image_close();
}

static void without_memo_walks_again(void)
{
	start();
	two_trees();
	CU_ASSERT_EQUAL(walk(1), 0);
	CU_ASSERT_EQUAL(walk(8), 0);
	CU_ASSERT_EQUAL(seen.nr, 25);
	saw(5, 20, 40);
	image_close();
}

static void damaged_not_remembered(void)
{
	struct pd_memo *memo = new_memo();

	start();
	two_trees();
	image_at(7)[40] ^= 1;
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 30);
	one_problem(PROBLEM_BLOCK_CHECKSUM, 7, 30, UINT64_MAX);
	CU_ASSERT_EQUAL(remembered(1) + remembered(6) + remembered(7), 0);
	CU_ASSERT_EQUAL(remembered(5), 20);
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 15);
	CU_ASSERT_EQUAL(seen.holes, 1);
	CU_ASSERT_EQUAL(image.told.nr, 2);
	image_close();
}

static void empty_tree_with_memo(void)
{
	struct pd_memo *memo = new_memo();

	start();
	leaf(1, 0, 0);
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
		CU_ASSERT_EQUAL(seen.entries, 0);
		CU_ASSERT_EQUAL(seen.holes, 0);
	}
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* Keys around 2^32, which a memo has no room for: the count is the same as without it. */
static void large_keys_with_memo(void)
{
	struct pd_memo *memo = new_memo();

	start();
	leaf(2, UINT32_MAX - 5, 3);
	leaf(3, UINT32_MAX - 1, 5);
	leaf(4, (UINT64_C(1) << 32) + 7, 6);
	PARENT(1, { 0, 2 }, { UINT32_MAX - 1, 3 }, { (UINT64_C(1) << 32) + 7, 4 });
	leaf(9, 100, 1);
	PARENT(8, { 7, 4 }, { 100, 9 });
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
		CU_ASSERT_EQUAL(seen.entries, 14);
	}
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	one_problem(PROBLEM_NODE_KEY_RANGE, 4, 7, 100);
	CU_ASSERT_EQUAL(seen.entries, 1);
	image_close();
}

/* Damage is told to a bounded number of sharers; the rest still count it as a hole. */
static void retelling_ends(void)
{
	struct pd_memo *memo = new_memo();

	start();
	three_levels();
	image_at(7)[40] ^= 1;
	memo->retell = 3; /* the nodes 1, 6 and 7 once more */
	for (unsigned i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
		CU_ASSERT_EQUAL(seen.entries, 30);
		CU_ASSERT_EQUAL(seen.holes, 1);
	}
	CU_ASSERT_EQUAL(image.told.nr, 2);
	image_close();
}

/* 252 pointers to one empty leaf, and a dead block likewise: each is read once. */
static void many_pointers_to_nothing(void)
{
	struct pd_memo *memo = new_memo();
	uint64_t before;

	start();
	three_leaves();
	leaf(2, 0, 0);
	image_at(3)[40] ^= 1;
	memo->retell = 0;
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	before = blocks_asked();
	for (unsigned i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(blocks_asked() - before, 0);
	CU_ASSERT_EQUAL(seen.holes, 1);
	image_close();
}

/* The edges of the range that another parent gives: 10..19 fit into 10..20, and no more tightly. */
static void memo_at_the_edges(void)
{
	struct pd_memo *memo = new_memo();

	start();
	three_leaves();
	leaf(9, 19, 1);
	leaf(12, 20, 1);
	PARENT(8, { 0, 2 }, { 10, 3 }, { 20, 12 });
	PARENT(11, { 10, 3 }, { 19, 9 });
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 21);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(walk_remembering(11, memo), 0);
	one_problem(PROBLEM_NODE_KEY_RANGE, 3, 10, 19);
	CU_ASSERT_EQUAL(seen.entries, 1);
	image_close();
}

/* The leaf that the caller is given at @at, counted from 0, has something that the caller does not like. */
static void walk_with_flaw(uint64_t root, struct pd_memo *memo, unsigned at_leaf)
{
	const struct pd_node *n;
	struct pd_cursor c;

	pd_cursor_open(&c, &image.reader, &everything, root, 8);
	c.memo = memo;
	for (unsigned i = 0; pd_cursor_next(&c, &n) > 0; i++)
		if (i == at_leaf)
			pd_cursor_flaw(&c, n);
	CU_ASSERT_EQUAL(c.flaws, 1);
	CU_ASSERT_EQUAL(c.holes, 0);
	pd_cursor_close(&c);
}

static void flawed_not_remembered(void)
{
	struct pd_memo *memo = new_memo();

	start();
	two_trees();
	walk_with_flaw(1, memo, 2);
	CU_ASSERT_EQUAL(remembered(1) + remembered(6) + remembered(4), 0);
	CU_ASSERT_EQUAL(remembered(5), 20);
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 25);
	CU_ASSERT_TRUE(seen.leaves >= 2);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* Leaf 3 is sound under 1, but 8 says that its keys begin at 12. */
static void memo_hides_no_damage(void)
{
	struct pd_memo *memo = new_memo();

	start();
	three_leaves();
	PARENT(8, { 0, 2 }, { 12, 3 });
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	CU_ASSERT_EQUAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_NODE_KEY_RANGE);
	CU_ASSERT_EQUAL(seen.entries, 10);
	CU_ASSERT_EQUAL(seen.holes, 1);
	image_close();
}

/* The last keys of 8 are those of 6, which was counted without being read: 20..39. */
static void remembered_below_remembered(void)
{
	struct pd_memo *memo = new_memo();

	start();
	two_trees();
	leaf(14, 30, 1);
	PARENT(13, { 0, 8 }, { 30, 14 });
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 25);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(walk_remembering(13, memo), 0);
	CU_ASSERT_EQUAL(image.told.nr, 2);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_NODE_KEY_RANGE);
	CU_ASSERT_EQUAL(image.told.p[0].block, 6);
	CU_ASSERT_EQUAL(image.told.p[1].code, PROBLEM_LEAF_DEPTH); /* 14, where those of 8 are known from the memo */
	CU_ASSERT_EQUAL(seen.entries, 6);
	image_close();
}

static void bomb_with_memo(void)
{
	start();
	bomb();
	CU_ASSERT_EQUAL(walk_remembering(10, new_memo()), 0);
	CU_ASSERT_TRUE(blocks_asked() <= 8 * 252);
	image_close();
}

/* Leaf 7 is asked for again: it and what leads to it, by whatever root, and nothing else. */
static void revisited_leaf(void)
{
	struct pd_memo *memo = new_memo();
	const struct pd_node *n;
	struct pd_cursor c;

	start();
	two_trees();
	for (unsigned i = 0; i < 3; i++) {
		unsigned leaves = 0;

		pd_cursor_open(&c, &image.reader, &everything, i < 2 ? 1 : 8, 8);
		c.memo = memo;
		while (pd_cursor_next(&c, &n) > 0) {
			leaves++;
			if (n->block == 7)
				pd_cursor_revisit(&c, n);
		}
		CU_ASSERT_EQUAL(leaves, i == 0 ? 4 : i == 1 ? 1 : 2);
		CU_ASSERT_EQUAL(c.entries, i < 2 ? 40 : 25);
		pd_cursor_close(&c);
	}
	CU_ASSERT_EQUAL(remembered(5), 20);
	CU_ASSERT_FALSE(memo_entries[1].is_seen || memo_entries[6].is_seen || memo_entries[7].is_seen);
	image_close();
}

/* --- what a memo remembers --- */

static void memo_entry_fields(void)
{
	static const uint64_t counts[] = { 0, 1, 252, (1 << 18) - 1, 1 << 18, (1 << 30) - 1 };
	static const uint64_t keys[] = { 0, 1, UINT64_C(1) << 40, (UINT64_C(1) << PD_MEMO_KEY_BITS) - 1 };
	struct pd_memo *memo = new_memo();
	const struct pd_memo_entry *e = &memo_entries[7];

	for (unsigned c = 0; c < LEN(counts); c++)
		for (unsigned k = 0; k < LEN(keys); k++)
			for (unsigned height = 0; height <= 15; height++) {
				pd_memo_set(memo, 7, keys[k] / 2, keys[k], counts[c], height, height % 2);
				CU_ASSERT_TRUE(e->is_seen);
				CU_ASSERT_EQUAL(e->first, keys[k] / 2);
				CU_ASSERT_EQUAL(e->last, keys[k]);
				CU_ASSERT_EQUAL(pd_memo_count(e), counts[c]);
				CU_ASSERT_EQUAL(e->height, height);
				CU_ASSERT_EQUAL(e->is_damaged, height % 2);
			}
	pd_memo_set(memo, 7, 0, 0, 0, 16, false);
	CU_ASSERT_EQUAL(e->height, 0);
	CU_ASSERT_FALSE(memo_entries[6].is_seen || memo_entries[8].is_seen);
}

static void memo_entry_of_large_keys(void)
{
	static const uint64_t keys[] = { UINT64_C(1) << PD_MEMO_KEY_BITS, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX };
	struct pd_memo *memo = new_memo();

	for (unsigned k = 0; k < LEN(keys); k++) {
		pd_memo_set(memo, 7, 5, keys[k], 2, 1, false);
		CU_ASSERT_FALSE(memo_entries[7].is_seen);
	}
}

/* Around the largest key that is remembered: counted right, and visited by everyone where it is not. */
static void largest_remembered_key(void)
{
	uint64_t last = (UINT64_C(1) << PD_MEMO_KEY_BITS) - 1;
	struct pd_memo *memo = new_memo();

	start();
	leaf(2, last - 4, 3);
	leaf(3, last - 1, 2);
	leaf(4, last + 1, 6);
	PARENT(5, { last - 4, 2 }, { last - 1, 3 });
	PARENT(6, { last + 1, 4 });
	PARENT(1, { last - 4, 5 }, { last + 1, 6 });
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
		CU_ASSERT_EQUAL(seen.entries, 11);
		CU_ASSERT_EQUAL(seen.nr, i ? 6 : 11);
	}
	CU_ASSERT_EQUAL(remembered(5), 5);
	CU_ASSERT_EQUAL(memo_entries[5].height, 2);
	CU_ASSERT_FALSE(memo_entries[1].is_seen || memo_entries[4].is_seen || memo_entries[6].is_seen);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void heights(void)
{
	struct pd_memo *memo = new_memo();

	start();
	three_levels();
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(memo_entries[1].height, 3);
	CU_ASSERT_EQUAL(memo_entries[5].height, 2);
	CU_ASSERT_EQUAL(memo_entries[6].height, 2);
	CU_ASSERT_EQUAL(memo_entries[2].height, 1);
	CU_ASSERT_EQUAL(memo_entries[7].height, 1);
	image_close();
}

static void told_of_depth(unsigned i, uint64_t block, uint64_t found, uint64_t expected)
{
	CU_ASSERT_TRUE_FATAL(i < image.told.nr);
	CU_ASSERT_EQUAL(image.told.p[i].code, PROBLEM_LEAF_DEPTH);
	CU_ASSERT_EQUAL(image.told.p[i].block, block);
	CU_ASSERT_EQUAL(image.told.p[i].found, found);
	CU_ASSERT_EQUAL(image.told.p[i].expected, expected);
}

/* The leaf 3 is at level 2, where others are at level 3, in the trees 1 and 8. In 13 it is where it belongs. */
static void leaf_too_high(bool is_known)
{
	struct pd_memo *memo = new_memo();

	start();
	leaf(2, 0, 10);
	leaf(3, 10, 10);
	leaf(9, 0, 5);
	leaf(12, 20, 5);
	PARENT(5, { 0, 2 });
	PARENT(1, { 0, 5 }, { 10, 3 });
	PARENT(11, { 0, 9 });
	PARENT(8, { 0, 11 }, { 10, 3 });
	PARENT(13, { 10, 3 }, { 20, 12 });
	if (is_known) { /* as from a walk in the order of the disk */
		pd_memo_set(memo, 2, 0, 9, 10, 1, false);
		pd_memo_set(memo, 3, 10, 19, 10, 1, false);
	}
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 20);
	CU_ASSERT_EQUAL(seen.leaves, is_known ? 1 : 2);
	told_of_depth(0, 3, 2, 3);
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 15);
	told_of_depth(1, 3, 2, 3);
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	told_of_depth(2, 3, 2, 3);
	CU_ASSERT_EQUAL(walk_remembering(13, memo), 0);
	CU_ASSERT_EQUAL(seen.entries, 15);
	CU_ASSERT_EQUAL(seen.leaves, 1);
	CU_ASSERT_EQUAL(image.told.nr, 3);
	image_close();
}

static void leaf_too_high_told_to_all(void)
{
	leaf_too_high(false);
	leaf_too_high(true);
}

/* What is below 5 is a level too deep in the trees 1 and 8, and is where it belongs in 13. */
static void subtree_too_deep_told_to_all(void)
{
	static const uint64_t orders[][3] = { { 1, 8, 13 }, { 13, 1, 8 }, { 1, 13, 8 } };

	for (unsigned o = 0; o < LEN(orders); o++) {
		struct pd_memo *memo = new_memo();
		unsigned nr_told = 0;

		start();
		leaf(2, 0, 10);
		leaf(9, 0, 5);
		leaf(7, 10, 10);
		leaf(12, 20, 5);
		PARENT(5, { 10, 7 });
		PARENT(1, { 0, 2 }, { 10, 5 });
		PARENT(8, { 0, 9 }, { 10, 5 });
		PARENT(14, { 20, 12 });
		PARENT(13, { 10, 5 }, { 20, 14 });
		for (unsigned i = 0; i < 3; i++) {
			CU_ASSERT_EQUAL(walk_remembering(orders[o][i], memo), 0);
			CU_ASSERT_EQUAL(seen.entries, orders[o][i] == 1 ? 20 : 15);
			CU_ASSERT_EQUAL(seen.holes, 0);
			if (orders[o][i] != 13)
				told_of_depth(nr_told++, 7, 3, 2);
			CU_ASSERT_EQUAL(image.told.nr, nr_told);
		}
		image_close();
	}
}

/* A node without children has no depth at which its leaves are. */
static void node_without_leaves(void)
{
	struct pd_memo *memo = new_memo();

	start();
	three_leaves();
	image_node(5, 1, 0, 252, 8);
	PARENT(1, { 0, 2 }, { 10, 3 }, { 20, 5 });
	leaf(7, 10, 5);
	PARENT(6, { 0, 5 });
	PARENT(9, { 10, 7 });
	PARENT(8, { 0, 6 }, { 10, 9 });
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	for (unsigned i = 0; i < image.told.nr; i++)
		CU_ASSERT_EQUAL(image.told.p[i].code, PROBLEM_NODE_CHILDLESS);
	image_close();
}

static void depth_retelling_ends(void)
{
	struct pd_memo *memo = new_memo();

	start();
	leaf(2, 0, 10);
	leaf(3, 10, 10);
	PARENT(5, { 0, 2 });
	PARENT(1, { 0, 5 }, { 10, 3 });
	memo->retell = 2;
	for (unsigned i = 0; i < 5; i++) {
		CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
		CU_ASSERT_EQUAL(seen.entries, 20);
	}
	CU_ASSERT_EQUAL(image.told.nr, 2);
	image_close();
}

/* --- nodes that were accepted --- */

static uint64_t accepted[NR_BLOCKS / 64 + 1];

static struct pd_memo *new_accepting_memo(void)
{
	struct pd_memo *memo = new_memo();

	memset(accepted, 0, sizeof(accepted));
	memo->accepted = accepted;
	return memo;
}

static void are_accepted(const uint64_t *blocks, unsigned nr)
{
	uint64_t expected[NR_BLOCKS / 64 + 1] = { 0 };

	for (unsigned i = 0; i < nr; i++)
		expected[blocks[i] / 64] |= UINT64_C(1) << blocks[i] % 64;
	CU_ASSERT_EQUAL(memcmp(accepted, expected, sizeof(expected)), 0);
}

#define ACCEPTED(...) are_accepted((const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8)

static void accepts_good_nodes(void)
{
	struct pd_memo *memo = new_accepting_memo();

	start();
	three_levels();
	leaf(100, 0, 5);
	image_at(4)[40] ^= 1;
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	ACCEPTED(1, 5, 2, 3, 6, 7);
	CU_ASSERT_EQUAL(walk_remembering(100, memo), 0);
	ACCEPTED(1, 5, 2, 3, 6, 7, 100);
	image_close();
}

/* Its parent says that the keys of 3 begin at 12; then another one, that they begin at 10. */
static void accepts_where_it_fits(void)
{
	for (unsigned is_known = 0; is_known < 2; is_known++) {
		struct pd_memo *memo = new_accepting_memo();

		start();
		three_leaves();
		PARENT(8, { 0, 2 }, { 12, 3 });
		if (is_known)
			pd_memo_set(memo, 3, 10, 19, 10, 1, false);
		CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
		ACCEPTED(8, 2);
		CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
		ACCEPTED(8, 2, 1, 3, 4);
		image_close();
	}
}

static void accepts_what_is_remembered(void)
{
	struct pd_memo *memo = new_accepting_memo();

	start();
	three_leaves();
	pd_memo_set(memo, 2, 0, 9, 10, 1, false);
	pd_memo_set(memo, 4, 20, 29, 10, 1, false);
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(seen.leaves, 1);
	CU_ASSERT_EQUAL(seen.entries, 30);
	ACCEPTED(1, 2, 3, 4);
	image_close();
}

static void accepts_no_loop(void)
{
	struct pd_memo *memo = new_accepting_memo();

	start();
	three_leaves();
	PARENT(1, { 0, 2 }, { 10, NR_BLOCKS }, { 20, 1 });
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	ACCEPTED(1, 2);
	image_close();
}

/* --- a memo that has room for a part of its entries --- */

#define NR_LARGE (3 * PD_MEMO_PAGE)

static struct pd_memo_entry large_entries[NR_LARGE];
static _Atomic uint64_t used_pages[1];

static struct pd_memo *start_large(uint64_t max_pages)
{
	static struct pd_memo memo;

	image_open(NR_LARGE, NR_LARGE, PD_MAX_DEPTH + 1);
	memset(large_entries, 0, sizeof(large_entries));
	used_pages[0] = 0;
	memo = (struct pd_memo){
		.entries = large_entries, .nr = NR_LARGE, .retell = 1000, .pages = used_pages, .max_pages = max_pages,
	};
	return &memo;
}

static unsigned nr_pages_touched(void)
{
	static const struct pd_memo_entry none[PD_MEMO_PAGE];
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_LARGE; i += PD_MEMO_PAGE)
		nr += memcmp(&large_entries[i], none, sizeof(none)) != 0;
	return nr;
}

/* Root 1 over leaves in all three pages; root 300 over two of them and one more. */
static void in_three_pages(void)
{
	leaf(2, 0, 10);
	leaf(257, 10, 10);
	leaf(600, 20, 10);
	leaf(3, 30, 10);
	PARENT(1, { 0, 2 }, { 10, 257 }, { 20, 600 }, { 30, 3 });
	leaf(301, 0, 5);
	PARENT(300, { 0, 301 }, { 10, 257 }, { 20, 600 });
}

static void pages_that_fit(void)
{
	for (uint64_t max = 0; max <= 4; max++) {
		struct pd_memo *memo = start_large(max);

		in_three_pages();
		for (unsigned i = 0; i < 3; i++) {
			CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
			CU_ASSERT_EQUAL(seen.entries, 40);
			CU_ASSERT_EQUAL(walk_remembering(300, memo), 0);
			CU_ASSERT_EQUAL(seen.entries, 25);
			CU_ASSERT_EQUAL(seen.holes, 0);
		}
		CU_ASSERT_EQUAL(memo->nr_pages, max < 3 ? max : 3);
		CU_ASSERT_EQUAL(nr_pages_touched(), memo->nr_pages);
		CU_ASSERT_EQUAL(__builtin_popcountll(used_pages[0]), memo->nr_pages);
		CU_ASSERT_EQUAL(image.told.nr, 0);
		image_close();
	}
}

/* Everyone who comes to a leaf that there was no room for is given it. */
static void no_room_visits_again(void)
{
	struct pd_memo *memo = start_large(1);

	in_three_pages();
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(seen.leaves, 4);
	CU_ASSERT_TRUE(large_entries[2].is_seen && large_entries[3].is_seen);
	CU_ASSERT_EQUAL(walk_remembering(300, memo), 0);
	CU_ASSERT_EQUAL(seen.leaves, 3);
	CU_ASSERT_EQUAL(walk_remembering(300, memo), 0);
	CU_ASSERT_EQUAL(seen.leaves, 3);
	image_close();
}

static void no_room_tells_again(void)
{
	struct pd_memo *memo = start_large(0);

	in_three_pages();
	image_at(257)[40] ^= 1;
	memo->retell = 0;
	for (unsigned i = 1; i <= 3; i++) {
		CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
		CU_ASSERT_EQUAL(seen.holes, 1);
		CU_ASSERT_EQUAL(seen.entries, 30);
		CU_ASSERT_EQUAL(image.told.nr, i);
	}
	image_close();
}

/* Fault that is found with a node does not take room either. */
static void no_room_for_flaws(void)
{
	struct pd_memo *memo = start_large(0);
	const struct pd_node *n;
	struct pd_cursor c;

	in_three_pages();
	pd_cursor_open(&c, &image.reader, &everything, 1, 8);
	c.memo = memo;
	while (pd_cursor_next(&c, &n) > 0) {
		pd_cursor_flaw(&c, n);
		pd_cursor_revisit(&c, n);
	}
	CU_ASSERT_EQUAL(c.flaws, 4);
	CU_ASSERT_EQUAL(nr_pages_touched(), 0);
	pd_cursor_close(&c);
	image_close();
}

/* --- seeking --- */

static void expect_entry(struct pd_cursor *c, uint64_t from, uint64_t expected)
{
	const uint8_t *value;
	uint64_t key = UINT64_MAX;

	pd_cursor_seek(c, from);
	CU_ASSERT_EQUAL(pd_cursor_next_entry(c, &key, &value), 1);
	CU_ASSERT_EQUAL(key, expected);
	CU_ASSERT_EQUAL(le_load(value, 8), 10 * expected);
}

static void seeks(void)
{
	const uint8_t *value;
	struct pd_cursor c;
	uint64_t key;

	start();
	three_levels();
	pd_cursor_open(&c, &image.reader, &everything, 1, 8);
	c.read_ahead = 0;
	expect_entry(&c, 13, 13);
	CU_ASSERT_EQUAL(image_blocks_read(), 3);
	expect_entry(&c, 13, 14);
	expect_entry(&c, 5, 15);
	expect_entry(&c, 19, 19);
	CU_ASSERT_EQUAL(image_blocks_read(), 3);
	expect_entry(&c, 35, 35);
	CU_ASSERT_EQUAL(image_blocks_read(), 5);
	pd_cursor_seek(&c, 40);
	CU_ASSERT_EQUAL(pd_cursor_next_entry(&c, &key, &value), 0);
	CU_ASSERT_EQUAL(pd_cursor_next_entry(&c, &key, &value), 0);
	pd_cursor_close(&c);
	image_close();
}

static void seeks_past_gaps(void)
{
	struct pd_cursor c;

	start();
	leaf(2, 5, 3);
	leaf(3, 50, 3);
	PARENT(1, { 0, 2 }, { 40, 3 });
	pd_cursor_open(&c, &image.reader, &everything, 1, 8);
	expect_entry(&c, 0, 5);
	expect_entry(&c, 20, 50);
	expect_entry(&c, 51, 51);
	pd_cursor_close(&c);
	image_close();
}

static void seeks_past_damage(void)
{
	struct pd_cursor c;

	start();
	three_levels();
	image_at(2)[40] ^= 1;
	image_at(4)[40] ^= 1;
	pd_cursor_open(&c, &image.reader, &everything, 1, 8);
	expect_entry(&c, 12, 12);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	expect_entry(&c, 25, 30);
	one_problem(PROBLEM_BLOCK_CHECKSUM, 4, 20, 30);
	pd_cursor_close(&c);
	image_close();
}

/* --- the way to a key --- */

static struct pd_lookup way;

static int look_up(uint64_t root, uint64_t key)
{
	memset(&way, 0xAA, sizeof(way));
	return pd_lookup(&image.reader, &everything, root, 8, key, &way);
}

/* The hop is good, and took the entry of @key, which has @value. */
static void hop(unsigned i, uint64_t block, uint64_t begin, uint64_t end, uint64_t key, uint64_t value)
{
	const struct pd_hop *h = &way.hops[i];

	CU_ASSERT_TRUE_FATAL(i < way.nr);
	CU_ASSERT_EQUAL(h->block, block);
	CU_ASSERT_EQUAL(h->begin, begin);
	CU_ASSERT_EQUAL(h->end, end);
	CU_ASSERT_TRUE(h->is_good);
	CU_ASSERT_TRUE(h->entry < h->nr);
	CU_ASSERT_EQUAL(h->key, key);
	CU_ASSERT_EQUAL(le_load(h->value, 8), value);
}

static void finds_key(void)
{
	start();
	three_levels();
	CU_ASSERT_EQUAL(look_up(1, 25), 1);
	CU_ASSERT_EQUAL(way.nr, 3);
	hop(0, 1, 0, UINT64_MAX, 20, 6);
	hop(1, 6, 20, UINT64_MAX, 20, 4);
	hop(2, 4, 20, 30, 25, 250);
	CU_ASSERT_FALSE(way.hops[1].is_leaf);
	CU_ASSERT_TRUE(way.hops[2].is_leaf);
	CU_ASSERT_EQUAL(way.hops[2].entry, 5);
	CU_ASSERT_EQUAL(way.hops[2].nr, 10);
	CU_ASSERT_EQUAL(image_blocks_read(), 3);
	image_close();
}

static void finds_first_and_last(void)
{
	start();
	three_levels();
	CU_ASSERT_EQUAL(look_up(1, 0), 1);
	hop(2, 2, 0, 10, 0, 0);
	CU_ASSERT_EQUAL(look_up(1, 39), 1);
	hop(2, 7, 30, UINT64_MAX, 39, 390);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void key_between(void)
{
	start();
	leaf(2, 0, 5);
	leaf(3, 10, 5);
	PARENT(1, { 0, 2 }, { 10, 3 });
	CU_ASSERT_EQUAL(look_up(1, 7), 1);
	CU_ASSERT_EQUAL(way.nr, 2);
	hop(1, 2, 0, 10, 4, 40);
	CU_ASSERT_EQUAL(look_up(1, UINT64_MAX), 1);
	hop(1, 3, 10, UINT64_MAX, 14, 140);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* The first child tells who comes next. */
static void key_before_first(void)
{
	start();
	leaf(2, 5, 5);
	leaf(3, 10, 5);
	PARENT(1, { 5, 2 }, { 10, 3 });
	CU_ASSERT_EQUAL(look_up(1, 3), 1);
	CU_ASSERT_EQUAL(way.nr, 2);
	hop(0, 1, 0, UINT64_MAX, 5, 2);
	CU_ASSERT_EQUAL(way.hops[1].block, 2);
	CU_ASSERT_TRUE(way.hops[1].is_leaf);
	CU_ASSERT_EQUAL(way.hops[1].entry, way.hops[1].nr);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void key_in_empty_tree(void)
{
	start();
	leaf(1, 0, 0);
	CU_ASSERT_EQUAL(look_up(1, 3), 1);
	CU_ASSERT_EQUAL(way.nr, 1);
	CU_ASSERT_TRUE(way.hops[0].is_good);
	CU_ASSERT_TRUE(way.hops[0].is_leaf);
	CU_ASSERT_EQUAL(way.hops[0].nr, 0);
	CU_ASSERT_EQUAL(way.hops[0].entry, 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* An internal node without a child leads nowhere; block 0 is not to be taken for one. */
static void key_in_node_without_children(void)
{
	start();
	image_node(1, 1, 0, 252, 8);
	CU_ASSERT_EQUAL(look_up(1, 3), 0);
	CU_ASSERT_EQUAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_NODE_CHILDLESS);
	CU_ASSERT_EQUAL(way.nr, 1);
	CU_ASSERT_EQUAL(image_blocks_read(), 1);
	image_close();
}

static void damage_on_the_way(void)
{
	start();
	three_levels();
	image_at(6)[40] ^= 1;
	CU_ASSERT_EQUAL(look_up(1, 25), 0);
	CU_ASSERT_EQUAL(way.nr, 2);
	hop(0, 1, 0, UINT64_MAX, 20, 6);
	CU_ASSERT_EQUAL(way.hops[1].block, 6);
	CU_ASSERT_FALSE(way.hops[1].is_good);
	CU_ASSERT_EQUAL(way.hops[1].nr, 0);
	one_problem(PROBLEM_BLOCK_CHECKSUM, 6, 20, UINT64_MAX);
	image_close();
}

static void damage_beside_the_way(void)
{
	start();
	three_levels();
	image_at(5)[40] ^= 1;
	image_at(7)[40] ^= 1;
	CU_ASSERT_EQUAL(look_up(1, 25), 1);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void key_behind_loop(void)
{
	start();
	PARENT(1, { 0, 2 });
	PARENT(2, { 0, 1 });
	alarm(TOO_LONG);
	CU_ASSERT_EQUAL(look_up(1, 25), 0);
	alarm(0);
	CU_ASSERT_EQUAL(way.nr, 3);
	CU_ASSERT_FALSE(way.hops[2].is_good);
	one_problem(PROBLEM_NODE_LOOP, 1, 0, UINT64_MAX);
	image_close();
}

static void key_too_deep(void)
{
	start();
	chain(PD_MAX_DEPTH + 3);
	CU_ASSERT_EQUAL(look_up(10, 1), 0);
	CU_ASSERT_EQUAL(way.nr, PD_MAX_DEPTH + 1);
	CU_ASSERT_TRUE(way.hops[PD_MAX_DEPTH - 1].is_good);
	CU_ASSERT_FALSE(way.hops[PD_MAX_DEPTH].is_good);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_TREE_DEPTH);
	image_close();
}

static void key_in_wrong_place(void)
{
	start();
	three_leaves();
	PARENT(1, { 0, 2 }, { 10, 4 });
	CU_ASSERT_EQUAL(look_up(1, 15), 1);
	PARENT(9, { 0, 2 }, { 21, 4 });
	CU_ASSERT_EQUAL(look_up(9, 25), 0);
	one_problem(PROBLEM_NODE_KEY_RANGE, 4, 21, UINT64_MAX);
	image_close();
}

static void world_fails_on_the_way(void)
{
	start();
	three_levels();
	image.plan.error = ENOMEM;
	image.plan.fail_at = 3;
	CU_ASSERT_EQUAL(look_up(1, 25), -ENOMEM);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* --- who looks on, and who passes over --- */

static struct {
	struct pd_observer o; /* first */
	unsigned reached[NR_BLOCKS], entered[NR_BLOCKS];
	uint64_t begin[NR_BLOCKS], end[NR_BLOCKS];
	uint64_t flaw_at; /* block, 0: none */
	bool out_of_order;
} watch;

static void watch_reached(struct pd_observer *o, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c)
{
	(void)o;
	CU_ASSERT_PTR_NOT_NULL(c);
	watch.reached[block % NR_BLOCKS]++;
	watch.begin[block % NR_BLOCKS] = ctx->begin;
	watch.end[block % NR_BLOCKS] = ctx->end;
}

static void watch_entered(struct pd_observer *o, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c,
			  const struct pd_node *n)
{
	(void)o;
	(void)ctx;
	CU_ASSERT_EQUAL(n->block, block);
	watch.out_of_order |= !watch.reached[block];
	watch.entered[block]++;
	if (block == watch.flaw_at)
		pd_cursor_flaw(c, n);
}

static void start_watch(void)
{
	memset(&watch, 0, sizeof(watch));
	watch.o = (struct pd_observer){ watch_reached, watch_entered };
	start();
	image.reader.observer = &watch.o;
}

static unsigned sum(const unsigned *of_blocks)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NR_BLOCKS; i++)
		n += of_blocks[i];
	return n;
}

static void each_block_observed(void)
{
	static const uint64_t blocks[] = { 1, 5, 2, 3, 6, 4, 7 };

	start_watch();
	three_levels();
	CU_ASSERT_EQUAL(walk(1), 0);
	for (unsigned i = 0; i < LEN(blocks); i++) {
		CU_ASSERT_EQUAL(watch.reached[blocks[i]], 1);
		CU_ASSERT_EQUAL(watch.entered[blocks[i]], 1);
	}
	CU_ASSERT_EQUAL(sum(watch.reached), LEN(blocks));
	CU_ASSERT_EQUAL(sum(watch.entered), LEN(blocks));
	CU_ASSERT_FALSE(watch.out_of_order);
	CU_ASSERT_EQUAL(watch.begin[3], 10);
	CU_ASSERT_EQUAL(watch.end[3], 20);
	CU_ASSERT_EQUAL(watch.begin[7], 30);
	CU_ASSERT_EQUAL(watch.end[7], UINT64_MAX);
	image_close();
}

static void damage_reached_not_entered(void)
{
	start_watch();
	three_levels();
	image_at(3)[40] ^= 1;
	CU_ASSERT_EQUAL(walk(1), 0);
	CU_ASSERT_EQUAL(watch.reached[3], 1);
	CU_ASSERT_EQUAL(watch.entered[3], 0);
	CU_ASSERT_EQUAL(sum(watch.entered), 6);
	image_close();
}

static void remembered_not_observed(void)
{
	struct pd_memo *memo = new_memo();

	start_watch();
	two_trees();
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	CU_ASSERT_EQUAL(watch.reached[6] + watch.reached[4] + watch.reached[7], 3);
	CU_ASSERT_EQUAL(watch.entered[6] + watch.entered[4] + watch.entered[7], 3);
	CU_ASSERT_EQUAL(sum(watch.reached), 10);
	image_close();
}

/* Only the way to the block, not its neighbours. */
static void flaw_of_observer(uint64_t block, const uint64_t *again, unsigned nr)
{
	struct pd_memo *memo = new_memo();

	start_watch();
	two_trees();
	watch.flaw_at = block;
	CU_ASSERT_EQUAL(walk_remembering(1, memo), 0);
	CU_ASSERT_EQUAL(walk_remembering(8, memo), 0);
	for (unsigned i = 0; i < nr; i++) {
		CU_ASSERT_EQUAL(watch.reached[again[i]], 2);
		CU_ASSERT_EQUAL(watch.entered[again[i]], 2);
	}
	CU_ASSERT_EQUAL(sum(watch.reached), 10 + nr);
	CU_ASSERT_EQUAL(seen.entries, 25);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void observer_wants_leaf_again(void)
{
	flaw_of_observer(7, (const uint64_t[]){ 6, 7 }, 2);
}

static void observer_wants_node_again(void)
{
	flaw_of_observer(6, (const uint64_t[]){ 6 }, 1);
}

static struct {
	uint64_t block; /* that is passed over */
	uint64_t begin, end;
	unsigned depth, asked;
} passed;

static bool pass_over(struct pd_cursor *c, uint64_t block, bool ahead)
{
	if (block != passed.block)
		return false;
	CU_ASSERT_PTR_EQUAL(c->context, &passed);
	if (!ahead) {
		passed.asked++;
		passed.begin = c->ctx.begin;
		passed.end = c->ctx.end;
		passed.depth = c->depth;
	}
	return true;
}

static void walk_passing_over(uint64_t block)
{
	const struct pd_node *n;
	struct pd_cursor c;

	memset(&seen, 0, sizeof(seen));
	memset(&passed, 0, sizeof(passed));
	passed.block = block;
	pd_cursor_open(&c, &image.reader, &everything, 1, 8);
	c.skip = pass_over;
	c.context = &passed;
	while (pd_cursor_next(&c, &n) > 0)
		note_leaf(n);
	seen.entries = c.entries;
	seen.holes = c.holes;
	pd_cursor_close(&c);
}

static void passes_over_leaf(void)
{
	start_watch();
	three_levels();
	walk_passing_over(3);
	CU_ASSERT_EQUAL(seen.nr, 30);
	saw(0, 0, 10);
	saw(10, 20, 40);
	CU_ASSERT_EQUAL(seen.entries, 30);
	CU_ASSERT_EQUAL(seen.holes, 0);
	CU_ASSERT_EQUAL(passed.asked, 1);
	CU_ASSERT_EQUAL(passed.begin, 10);
	CU_ASSERT_EQUAL(passed.end, 20);
	CU_ASSERT_EQUAL(passed.depth, 2);
	CU_ASSERT_EQUAL(watch.reached[3], 0);
	CU_ASSERT_EQUAL(image_blocks_read(), 6);
	image_close();
}

static void passes_over_subtree(void)
{
	start();
	three_levels();
	walk_passing_over(5);
	CU_ASSERT_EQUAL(seen.nr, 20);
	saw(0, 20, 40);
	CU_ASSERT_EQUAL(image_blocks_read(), 4);
	image_close();
}

static void passes_over_root(void)
{
	start();
	three_levels();
	walk_passing_over(1);
	CU_ASSERT_EQUAL(seen.nr, 0);
	CU_ASSERT_EQUAL(passed.begin, 0);
	CU_ASSERT_EQUAL(passed.end, UINT64_MAX);
	CU_ASSERT_EQUAL(image_blocks_read(), 0);
	image_close();
}

static const struct unit_case cases[] = {
	{ "as many entries fit into a node as the kernel puts there", max_entries },
	{ "nothing fits when values are larger than a block", max_entries_of_giants },
	{ "a leaf's keys and values are where the layout says", decodes_leaf },
	{ "an internal node has values of 8 bytes, whatever its leaves have", decodes_internal },
	{ "a leaf without entries is a good node", accepts_empty_leaf },
	{ "a full leaf is a good node, for every size of values", accepts_full_leaf },
	{ "a node may have room for fewer entries than would fit", accepts_smaller_max },
	{ "without a value size the node's own is taken, if it is possible", takes_what_node_says },
	{ "a node that is not just leaf or just internal is rejected", rejects_flags },
	{ "values of another size than the tree's are rejected", rejects_value_size },
	{ "room for no entries, or for more than a block holds, is rejected", rejects_max_entries },
	{ "more entries than there is room for are rejected", rejects_nr_entries },
	{ "keys that are equal or fall are rejected", rejects_keys },
	{ "an empty tree has no leaf with entries, and nothing wrong", empty_tree },
	{ "a tree of one leaf gives it", one_leaf },
	{ "two levels are walked in key order", two_levels },
	{ "three levels are walked in key order", three_levels_in_order },
	{ "a child may begin behind its parent's key", gaps_at_edges },
	{ "keys up to the largest that can lie in the range are walked", largest_keys },
	{ "entries come one by one across leaves", entry_by_entry },
	{ "entries go on behind empty and damaged leaves", entries_skip_what_is_empty },
	{ "the end stays the end", end_stays },
	{ "opening reads nothing", opening_reads_nothing },
	{ "closing gives up all holds at any place, and may be done twice", close_in_the_middle },
	{ "a damaged root costs the whole range", bad_root },
	{ "a cursor that stops at holes gives each with the keys that are lost", stops_at_holes },
	{ "a damaged child is skipped with its parent's keys, and the walk goes on behind it", bad_middle_leaf },
	{ "the first child's range begins, and the last one's ends, where its parent's does", bad_outer_leaves },
	{ "a damaged internal node costs all keys below it, and no others", bad_internal_node },
	{ "the last child of a subtree ends where the next subtree begins", last_leaf_of_a_subtree },
	{ "an unreadable child is skipped like a damaged one", unreadable_leaf },
	{ "a pointer out of the metadata is skipped like a damaged child", bad_pointer },
	{ "a child with a good checksum and bad contents is skipped", bad_contents },
	{ "a tree without one good leaf is walked to its end", all_leaves_bad },
	{ "a leaf with a key outside of its parent's range is skipped", leaf_keys_out_of_range },
	{ "an internal node with a key outside of its parent's range is skipped", internal_key_out_of_range },
	{ "a node that is its own child is a loop, and is not entered again", loop_to_itself },
	{ "a node that is its own grandchild is a loop", loop_to_grandparent },
	{ "a tree as deep as is allowed is walked", deepest_real_tree },
	{ "a chain of nodes that is too deep is cut off and reported once", too_deep },
	{ "behind what is too deep the walk goes on", too_deep_then_more },
	{ "a leaf at another level is reported with both levels, and used", unequal_depth },
	{ "an empty leaf below the root is reported, and loses nothing", empty_leaf_below_root },
	{ "nodes whose children are all the same end after one visit for each level", bomb_ends },
	{ "the same over an empty leaf ends too", bomb_of_empty_leaves },
	{ "what the world does ends the walk with its error", world_fails },
	{ "a shared subtree is counted again without being read again", shared_counted_once },
	{ "a tree that is shared from its root on costs no reads", shared_root_costs_nothing },
	{ "without a memo a shared subtree is walked again", without_memo_walks_again },
	{ "a subtree with damage is not remembered, its sound neighbour is", damaged_not_remembered },
	{ "a leaf that the caller found fault with is given to everyone who shares it", flawed_not_remembered },
	{ "an empty tree is empty with a memo too", empty_tree_with_memo },
	{ "keys that a memo has no room for are counted all the same", large_keys_with_memo },
	{ "a remembered subtree fits a range if all of its keys do", memo_at_the_edges },
	{ "damage in a shared subtree is told a bounded number of times", retelling_ends },
	{ "empty and dead nodes are remembered too", many_pointers_to_nothing },
	{ "a remembered subtree that does not fit another parent's keys is reported there", memo_hides_no_damage },
	{ "what is remembered of a tree covers the remembered subtrees in it", remembered_below_remembered },
	{ "nodes whose children are all the same end with a memo too", bomb_with_memo },
	{ "a leaf that is to be given again is, to everyone who shares it, and nothing else", revisited_leaf },
	{ "a memo keeps what it is told of a block, up to the largest numbers", memo_entry_fields },
	{ "a memo keeps nothing of a block with keys of more than 46 bits", memo_entry_of_large_keys },
	{ "up to the largest key of 46 bits subtrees are remembered, behind it they are visited", largest_remembered_key },
	{ "a memo knows how many levels there are from a node to its leaves", heights },
	{ "a shared leaf at another level is told to everyone in whose tree it is so", leaf_too_high_told_to_all },
	{ "a shared subtree at another level is told to everyone in whose tree it is so", subtree_too_deep_told_to_all },
	{ "a remembered node without leaves does not say at which level leaves are", node_without_leaves },
	{ "leaves at another level are told a bounded number of times", depth_retelling_ends },
	{ "nodes that are good where the walk comes to them are accepted", accepts_good_nodes },
	{ "a node is accepted if it fits one of its parents, known before or not", accepts_where_it_fits },
	{ "what is known from the memo is accepted without being read", accepts_what_is_remembered },
	{ "where a pointer leads back or outside nothing is accepted", accepts_no_loop },
	{ "a memo uses no more pages than it may, and the counts are right all the same", pages_that_fit },
	{ "a leaf that a memo has no room for is visited by everyone", no_room_visits_again },
	{ "damage that a memo has no room for is told to everyone", no_room_tells_again },
	{ "fault that is found takes no room in a memo that has none", no_room_for_flaws },
	{ "seeking goes forward and reads only the nodes on the way", seeks },
	{ "what is sought need not be there: the next key is given", seeks_past_gaps },
	{ "damage before the place that is sought is not seen", seeks_past_damage },
	{ "the way to a key is each node on it, with its keys and the entry that was taken", finds_key },
	{ "the first and the last key of a tree are found", finds_first_and_last },
	{ "the way to a key that is not there ends at the last entry before it", key_between },
	{ "the way to a key before all others ends in the first leaf, behind no entry", key_before_first },
	{ "the way to a key in an empty tree is its root", key_in_empty_tree },
	{ "the way through a node without children ends there", key_in_node_without_children },
	{ "the way ends at a damaged node, which is told with its keys", damage_on_the_way },
	{ "damage beside the way does not matter, and is not looked for", damage_beside_the_way },
	{ "the way ends where it comes back to itself", key_behind_loop },
	{ "the way ends where the tree is too deep", key_too_deep },
	{ "the way ends at a node whose keys are not those of its place", key_in_wrong_place },
	{ "what the world does ends the way with its error", world_fails_on_the_way },
	{ "an observer is told of each node once when it is reached, and once when it is entered", each_block_observed },
	{ "a damaged node is reached and not entered", damage_reached_not_entered },
	{ "what a memo has is not told to an observer again", remembered_not_observed },
	{ "a leaf that the observer found fault with is reached again, with all above it", observer_wants_leaf_again },
	{ "a node that the observer found fault with is reached again without what is below", observer_wants_node_again },
	{ "a leaf can be passed over without being read, and is no hole", passes_over_leaf },
	{ "a subtree can be passed over", passes_over_subtree },
	{ "a whole tree can be passed over", passes_over_root },
	{ NULL, NULL },
};

const struct unit_suite btree_suite = { "btree", cases };
