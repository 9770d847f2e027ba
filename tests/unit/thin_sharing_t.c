// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_sharing.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "image.h"
#include "unit.h"

#define NR_BLOCKS 64
#define NR_DATA 1000

/* Devices 1, 2 and 3 have the roots 11, 12 and 13; what else there is are leaves and nodes from 20 on. */
enum { DETAILS = 7, TOP = 8, ROOT = 10 };

static struct thin_pool pool;

/* --- making a pool --- */

static void set(unsigned offset, unsigned size, uint64_t value)
{
	le_store(image_at(0) + offset, size, value);
	pd_block_seal(image_at(0), PD_THIN_SUPERBLOCK, 0);
}

/* Devices from 1 on, with so many mapped blocks each. */
static void start(unsigned nr, const uint64_t *mapped)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 4 * (PD_MAX_DEPTH + 1));
	set(32, 8, 27022010);
	set(40, 4, 2);
	set(64, 8, NR_DATA);
	set(192, 8, NR_BLOCKS);
	set(320, 8, TOP);
	set(328, 8, DETAILS);
	set(336, 4, 128);
	set(340, 4, 8);
	set(344, 8, NR_BLOCKS);
	image_node(DETAILS, 2, nr, 126, 24);
	image_node(TOP, 2, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++) {
		image_entry(DETAILS, i, i + 1, mapped[i], 8);
		image_entry(TOP, i, i + 1, ROOT + i + 1, 8);
	}
}

#define START(...) \
	start(sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t), (const uint64_t[]){ __VA_ARGS__ })

/* @nr mappings from @key on, to the data blocks from @data on. */
static void leaf(uint64_t block, uint64_t key, unsigned nr, uint64_t data)
{
	image_node(block, 2, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, key + i, (data + i) << 24, 8);
}

typedef uint64_t child[2]; /* key, block */

static void parent(uint64_t block, const child *children, unsigned nr)
{
	image_node(block, 1, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, children[i][0], children[i][1], 8);
}

#define PARENT(block, ...) \
	parent(block, (const child[]){ __VA_ARGS__ }, sizeof((const child[]){ __VA_ARGS__ }) / sizeof(child))

/* --- a visitor that writes down what it is given --- */

static struct {
	struct meta_visitor v;
	char text[1024];
	size_t len;
	unsigned calls, fail_at; /* fail_at counts from 1; 0: never */
} notes;

__attribute__((format(printf, 1, 2))) static int note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	notes.len += (size_t)vsnprintf(notes.text + notes.len, sizeof(notes.text) - notes.len, format, args);
	va_end(args);
	CU_ASSERT_TRUE_FATAL(notes.len < sizeof(notes.text));
	return ++notes.calls == notes.fail_at ? -ECANCELED : 0;
}

static int note_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_device *d = record;
	const struct record_def *def = record;

	(void)v;
	if (kind == RECORD_DEVICE)
		return note("device %u{", (unsigned)d->dev_id);
	return kind == RECORD_DEF ? note("def %u{", (unsigned)def->name) : 0;
}

static int note_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_mapping *m = record;
	const struct record_def *def = record;

	(void)v;
	if (kind == RECORD_REF)
		return note(" ref %u", (unsigned)def->name);
	if (kind == RECORD_SINGLE)
		return note(" %llu>%llu", (unsigned long long)m->origin_begin, (unsigned long long)m->data_begin);
	return note(" %llu..%llu>%llu", (unsigned long long)m->origin_begin, (unsigned long long)m->origin_last,
		    (unsigned long long)m->data_begin);
}

static int note_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)v;
	(void)record;
	return kind == RECORD_DEVICE || kind == RECORD_DEF ? note(" } ") : 0;
}

static int walk(struct thin_sharing *sharing, unsigned fail_at)
{
	struct thin_walk w = { .only_device = PROBLEM_NO_DEVICE, .sharing = sharing };

	memset(&notes, 0, sizeof(notes));
	notes.v = (struct meta_visitor){ note_begin, note_record, note_end, NULL };
	notes.fail_at = fail_at;
	return thin_walk(&pool, &w, &notes.v);
}

static struct thin_sharing *learn(void)
{
	struct thin_sharing *sharing = NULL;

	CU_ASSERT_EQUAL_FATAL(thin_pool_open(&pool, image.reader.client, &image.told.sink), 0);
	CU_ASSERT_EQUAL_FATAL(thin_sharing_create(&pool, &sharing), 0);
	return sharing;
}

/* What was said of the whole pool; what was told of it is in image.told. */
static void says(const char *text)
{
	struct thin_sharing *sharing = learn();

	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(walk(sharing, 0), 0);
	CU_ASSERT_STRING_EQUAL(notes.text, text);
	if (strcmp(notes.text, text))
		printf("# %s\n", notes.text);
	thin_sharing_destroy(sharing);
	image_close();
}

/* Problem @i is this one. */
static void told(unsigned i, enum problem_code code, uint64_t block, uint64_t dev_id)
{
	CU_ASSERT_TRUE_FATAL(i < image.told.nr && i < IMAGE_MAX_TOLD);
	CU_ASSERT_EQUAL(image.told.p[i].code, code);
	CU_ASSERT_EQUAL(image.told.p[i].block, block);
	CU_ASSERT_EQUAL(image.told.p[i].dev_id, dev_id);
}

/* Leaf 20, of keys 10 and 11, is the devices' own second leaf; their first ones, 21 and 22, are not shared. */
static void one_shared_leaf(void)
{
	leaf(20, 10, 2, 110);
	leaf(21, 0, 1, 100);
	leaf(22, 0, 1, 200);
	PARENT(11, { 0, 21 }, { 10, 20 });
	PARENT(12, { 0, 22 }, { 10, 20 });
}

/* --- what is shared --- */

static void nothing_shared(void)
{
	START(2, 1);
	leaf(11, 10, 2, 110);
	leaf(12, 10, 1, 210);
	says("device 1{ 10..11>110 } device 2{ 10>210 } ");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void leaf_of_two(void)
{
	START(3, 3);
	one_shared_leaf();
	says("def 1{ 10..11>110 } device 1{ 0>100 ref 1 } device 2{ 0>200 ref 1 } ");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void equal_leaves(void)
{
	START(2, 2);
	leaf(11, 10, 2, 110);
	leaf(12, 10, 2, 110);
	says("device 1{ 10..11>110 } device 2{ 10..11>110 } ");
}

static void joined(void)
{
	START(5, 5);
	one_shared_leaf();
	leaf(23, 12, 2, 112);
	PARENT(11, { 0, 21 }, { 10, 20 }, { 12, 23 });
	PARENT(12, { 0, 22 }, { 10, 20 }, { 12, 23 });
	says("def 1{ 10..13>110 } device 1{ 0>100 ref 1 } device 2{ 0>200 ref 1 } ");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void split_by_leaf_between(void)
{
	START(5, 6);
	one_shared_leaf();
	leaf(23, 20, 2, 120);
	leaf(24, 15, 1, 215);
	PARENT(11, { 0, 21 }, { 10, 20 }, { 20, 23 });
	PARENT(12, { 0, 22 }, { 10, 20 }, { 15, 24 }, { 20, 23 });
	says("def 1{ 10..11>110 } def 2{ 20..21>120 } "
	     "device 1{ 0>100 ref 1 ref 2 } device 2{ 0>200 ref 1 15>215 ref 2 } ");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void split_where_one_ends(void)
{
	START(5, 3);
	one_shared_leaf();
	leaf(23, 20, 2, 120);
	PARENT(11, { 0, 21 }, { 10, 20 }, { 20, 23 });
	says("def 1{ 10..11>110 } device 1{ 0>100 ref 1 20..21>120 } device 2{ 0>200 ref 1 } ");
}

/* 20 and 23 follow each other in devices 1 and 3, but not in 2. */
static void three_in_two_orders(void)
{
	START(4, 3, 4);
	leaf(20, 10, 2, 110);
	leaf(23, 20, 2, 120);
	leaf(24, 20, 1, 220);
	PARENT(11, { 10, 20 }, { 20, 23 });
	PARENT(12, { 10, 20 }, { 20, 24 });
	PARENT(13, { 10, 20 }, { 20, 23 });
	says("def 1{ 10..11>110 } def 2{ 20..21>120 } "
	     "device 1{ ref 1 ref 2 } device 2{ ref 1 20>220 } device 3{ ref 1 ref 2 } ");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

/* Where its blocks are does not matter: names follow devices and keys. */
static void names(void)
{
	START(4, 2, 2);
	leaf(40, 0, 2, 100);
	leaf(20, 10, 2, 110);
	PARENT(11, { 0, 40 }, { 10, 20 });
	PARENT(12, { 10, 20 });
	PARENT(13, { 0, 40 });
	says("def 1{ 0..1>100 } def 2{ 10..11>110 } device 1{ ref 1 ref 2 } device 2{ ref 2 } device 3{ ref 1 } ");
}

static void whole_tree(void)
{
	START(4, 4);
	leaf(20, 10, 2, 110);
	leaf(23, 20, 2, 120);
	PARENT(11, { 10, 20 }, { 20, 23 });
	image_entry(TOP, 1, 2, 11, 8);
	says("def 1{ 10..11>110 20..21>120 } device 1{ ref 1 } device 2{ ref 1 } ");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void root_leaf(void)
{
	START(2, 2);
	leaf(11, 10, 2, 110);
	image_entry(TOP, 1, 2, 11, 8);
	says("def 1{ 10..11>110 } device 1{ ref 1 } device 2{ ref 1 } ");
}

static void empty_root(void)
{
	START(0, 0);
	leaf(11, 0, 0, 0);
	image_entry(TOP, 1, 2, 11, 8);
	says("device 1{ } device 2{ } ");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

/* Keys of 32 bits are remembered, the highest stands for all above. */
static void keys_beyond_32_bits(void)
{
	START(4, 4);
	leaf(20, UINT32_MAX - 2, 2, 110);
	leaf(23, UINT32_MAX, 2, 120);
	PARENT(11, { 0, 20 }, { UINT32_MAX, 23 });
	PARENT(12, { 0, 20 }, { UINT32_MAX, 23 });
	says("def 1{ 4294967293..4294967294>110 } device 1{ ref 1 4294967295..4294967296>120 } "
	     "device 2{ ref 1 4294967295..4294967296>120 } ");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void leaves_read_once(void)
{
	START(3, 3);
	one_shared_leaf();
	says("def 1{ 10..11>110 } device 1{ 0>100 ref 1 } device 2{ 0>200 ref 1 } ");
	CU_ASSERT_EQUAL(image.plan.count, 8); /* the superblock, both trees of devices, two roots, three leaves */
}

/* --- damage --- */

static void counts_judged(void)
{
	START(3, 9);
	one_shared_leaf();
	says("def 1{ 10..11>110 } device 1{ 0>100 ref 1 } device 2{ 0>200 ref 1 } ");
	CU_ASSERT_EQUAL(image.told.nr, 1);
	told(0, PROBLEM_MAPPED_BLOCKS, PROBLEM_NO_BLOCK, 2);
	CU_ASSERT_EQUAL(image.told.p[0].expected, 3);
	CU_ASSERT_EQUAL(image.told.p[0].found, 9);
}

/* 23 between 20 and 25, which are shared too. */
static void three_shared_leaves(void)
{
	one_shared_leaf();
	leaf(23, 12, 2, 112);
	leaf(25, 14, 2, 114);
	PARENT(11, { 0, 21 }, { 10, 20 }, { 12, 23 }, { 14, 25 });
	PARENT(12, { 0, 22 }, { 10, 20 }, { 12, 23 }, { 14, 25 });
}

static void damaged_leaf(void)
{
	START(7, 7);
	three_shared_leaves();
	image_at(23)[40] ^= 1;
	says("def 1{ 10..11>110 } def 2{ 14..15>114 } device 1{ 0>100 ref 1 ref 2 } device 2{ 0>200 ref 1 ref 2 } ");
	CU_ASSERT_EQUAL(image.told.nr, 2);
	told(0, PROBLEM_BLOCK_CHECKSUM, 23, 1);
	told(1, PROBLEM_BLOCK_CHECKSUM, 23, 2);
	CU_ASSERT_EQUAL(image.told.p[1].begin, 12);
	CU_ASSERT_EQUAL(image.told.p[1].end, 14);
}

static void leaf_beyond_data(void)
{
	START(7, 7);
	three_shared_leaves();
	leaf(23, 12, 2, NR_DATA - 1);
	says("def 1{ 10..11>110 } def 2{ 14..15>114 } device 1{ 0>100 ref 1 12..13>999 ref 2 } "
	     "device 2{ 0>200 ref 1 12..13>999 ref 2 } ");
	CU_ASSERT_EQUAL(image.told.nr, 2);
	told(0, PROBLEM_DATA_BEYOND, 23, 1);
	told(1, PROBLEM_DATA_BEYOND, 23, 2);
}

static void empty_leaf(void)
{
	START(5, 5);
	three_shared_leaves();
	leaf(23, 12, 0, 0);
	says("def 1{ 10..11>110 } def 2{ 14..15>114 } device 1{ 0>100 ref 1 ref 2 } device 2{ 0>200 ref 1 ref 2 } ");
	CU_ASSERT_EQUAL(image.told.nr, 2);
	told(0, PROBLEM_NODE_EMPTY, 23, 1);
	told(1, PROBLEM_NODE_EMPTY, 23, 2);
}

/* Device 2 says that the shared leaf's keys begin at 11. */
static void leaf_does_not_fit(void)
{
	START(3, 3);
	one_shared_leaf();
	PARENT(12, { 0, 22 }, { 11, 20 });
	says("device 1{ 0>100 10..11>110 } device 2{ 0>200 } ");
	CU_ASSERT_EQUAL(image.told.nr, 1);
	told(0, PROBLEM_NODE_KEY_RANGE, 20, 2);
}

/* And here that they end before 11. */
static void leaf_does_not_end(void)
{
	START(3, 4);
	one_shared_leaf();
	leaf(24, 11, 1, 300);
	PARENT(12, { 0, 22 }, { 10, 20 }, { 11, 24 });
	says("device 1{ 0>100 10..11>110 } device 2{ 0>200 11>300 } ");
	CU_ASSERT_EQUAL(image.told.nr, 1);
	told(0, PROBLEM_NODE_KEY_RANGE, 20, 2);
}

static void twice_in_one_device(void)
{
	START(2);
	leaf(20, 10, 2, 110);
	PARENT(11, { 10, 20 }, { 12, 20 });
	says("device 1{ 10..11>110 } ");
	CU_ASSERT_EQUAL(image.told.nr, 1);
	told(0, PROBLEM_NODE_KEY_RANGE, 20, 1);
}

/* Node 30 is where leaves are, its leaf 20 one level lower. */
static void node_among_leaves(void)
{
	START(3, 3);
	one_shared_leaf();
	PARENT(30, { 10, 20 });
	PARENT(11, { 0, 21 }, { 10, 30 });
	PARENT(12, { 0, 22 }, { 10, 30 });
	says("device 1{ 0>100 10..11>110 } device 2{ 0>200 10..11>110 } ");
	CU_ASSERT_EQUAL(image.told.nr, 2);
	told(0, PROBLEM_LEAF_DEPTH, 20, 1);
	told(1, PROBLEM_LEAF_DEPTH, 20, 2);
}

static void leaf_at_two_depths(void)
{
	START(3, 3);
	one_shared_leaf();
	PARENT(30, { 10, 20 });
	PARENT(12, { 0, 22 }, { 10, 30 });
	says("device 1{ 0>100 10..11>110 } device 2{ 0>200 10..11>110 } ");
	CU_ASSERT_EQUAL(image.told.nr, 1);
	told(0, PROBLEM_LEAF_DEPTH, 20, 2);
}

/* The first leaf is passed over, and still says how deep leaves are. */
static void depth_of_skipped_leaf(void)
{
	START(3, 3);
	leaf(20, 10, 2, 110);
	leaf(24, 20, 1, 220);
	PARENT(30, { 20, 24 });
	PARENT(11, { 10, 20 }, { 20, 30 });
	PARENT(12, { 10, 20 }, { 20, 30 });
	says("def 1{ 10..11>110 } device 1{ ref 1 20>220 } device 2{ ref 1 20>220 } ");
	CU_ASSERT_EQUAL(image.told.nr, 2);
	told(0, PROBLEM_LEAF_DEPTH, 24, 1);
	CU_ASSERT_EQUAL(image.told.p[0].expected, 2);
	CU_ASSERT_EQUAL(image.told.p[0].found, 3);
}

/* --- the world --- */

static void visitor_fails(void)
{
	struct thin_sharing *sharing;
	unsigned calls;

	START(3, 3);
	one_shared_leaf();
	sharing = learn();
	CU_ASSERT_EQUAL(walk(sharing, 0), 0);
	thin_sharing_destroy(sharing);
	calls = notes.calls;
	CU_ASSERT_EQUAL(calls, 11);
	for (unsigned n = 1; n <= calls; n++) {
		sharing = learn();
		CU_ASSERT_EQUAL(walk(sharing, n), -ECANCELED);
		CU_ASSERT_EQUAL(notes.calls, n);
		thin_sharing_destroy(sharing);
	}
	image_close();
}

static const struct unit_case cases[] = {
	{ "what is not shared has no name", nothing_shared },
	{ "a leaf of two devices is said once, and referred to by both", leaf_of_two },
	{ "leaves that are equal but not the same are not shared", equal_leaves },
	{ "shared leaves that follow each other in all their devices are one run", joined },
	{ "a leaf between them in one of the devices makes them two", split_by_leaf_between },
	{ "a run ends where it does in one of the devices", split_where_one_ends },
	{ "three devices that agree on one leaf and not on the next share two runs", three_in_two_orders },
	{ "names follow devices and keys, not blocks", names },
	{ "a tree that is shared from its root on is one run", whole_tree },
	{ "a root that is a leaf is shared too", root_leaf },
	{ "an empty tree is not worth a name", empty_root },
	{ "keys beyond 32 bits come again with every device", keys_beyond_32_bits },
	{ "every block is read once", leaves_read_once },
	{ "shared mappings count for a device's number of mapped blocks", counts_judged },
	{ "a damaged leaf is in no run, and told for each device", damaged_leaf },
	{ "a leaf with mappings beyond the data comes with every device, and is told for each", leaf_beyond_data },
	{ "an empty leaf is told for each device", empty_leaf },
	{ "a leaf that begins before one device's keys is not shared, and lost there alone", leaf_does_not_fit },
	{ "a leaf that ends behind one device's keys is not shared, and lost there alone", leaf_does_not_end },
	{ "a leaf that is in one device twice is there once", twice_in_one_device },
	{ "a node among leaves is walked for each device, and told", node_among_leaves },
	{ "a leaf at another depth in one of its devices is not shared, and told there", leaf_at_two_depths },
	{ "a leaf that is passed over says how deep leaves are", depth_of_skipped_leaf },
	{ "the visitor's error ends the walk, whenever it comes", visitor_fails },
	{ NULL, NULL },
};

const struct unit_suite thin_sharing_suite = { "thin_sharing", cases };
