// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "meta/thin_survey.h"
#include "meta/thin_disk.h"
#include "unit.h"

#define NR_BLOCKS 64
#define NR_DEVICE_BLOCKS 70

/* Where the blocks of the pool below are. All that is not here is zero and has no count. */
enum {
	META_INDEX = 1, META_BITMAP, META_COUNTS, DATA_INDEX, DATA_BITMAP, DATA_COUNTS, DETAILS, TOP,
	ROOT1 = 10, LEAF1, LEAF_OF_BOTH, ROOT2, LEAF2,
	HELD = 20, HELD_TOP, HELD_DETAILS, HELD_ROOT, HELD_LEAF,
};

static uint8_t blocks[NR_DEVICE_BLOCKS];
static struct pd_memo_entry entries[NR_DEVICE_BLOCKS];
static struct pd_memo memo;
static struct thin_survey survey;

/* --- making a pool --- */

static void seal(uint64_t block, enum pd_kind kind)
{
	pd_block_seal(image_at(block), kind, block);
}

/* A node with the keys 0, 100, 200, ... */
static void node(uint64_t block, uint32_t flags, uint32_t value_size, const uint64_t *values, unsigned nr)
{
	image_node(block, flags, nr, pd_max_entries(value_size), value_size);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, 100 * (uint64_t)i, values[i], value_size < 8 ? value_size : 8);
}

#define VALUES(...) (const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8
#define INTERNAL(block, ...) node(block, PD_NODE_INTERNAL, 8, VALUES(__VA_ARGS__))
#define LEAF(block, ...) node(block, PD_NODE_LEAF, 8, VALUES(__VA_ARGS__))

static void mapping_leaf(uint64_t block, uint64_t key)
{
	image_node(block, PD_NODE_LEAF, 1, pd_max_entries(8), 8);
	image_entry(block, 0, key, key << THIN_TIME_BITS, 8);
}

/* The stored count of a metadata block; the high bit comes first. */
static void set_count(uint64_t block, unsigned count)
{
	uint8_t *b = image_at(META_BITMAP) + 16 + block / 4;

	*b = (uint8_t)(*b | ((count & 1) << 1 | count >> 1) << (block % 4 * 2));
	seal(META_BITMAP, PD_BITMAP);
}

static void space_maps(void)
{
	static const uint64_t used[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, ROOT1, LEAF1, ROOT2, LEAF2 };

	image_space_map(64, 1000, 0, DATA_INDEX, DATA_COUNTS);
	node(DATA_INDEX, PD_NODE_LEAF, 16, VALUES(DATA_BITMAP));
	seal(DATA_BITMAP, PD_BITMAP);
	node(DATA_COUNTS, PD_NODE_LEAF, 4, NULL, 0);
	image_space_map(192, NR_BLOCKS, 0, META_INDEX, META_COUNTS);
	le_store(image_at(META_INDEX) + 16, 8, META_BITMAP);
	seal(META_INDEX, PD_INDEX);
	node(META_COUNTS, PD_NODE_LEAF, 4, NULL, 0);
	for (unsigned i = 0; i < sizeof(used) / sizeof(*used); i++)
		set_count(used[i], 1);
	set_count(LEAF_OF_BOTH, 2);
}

/* Two devices, 0 and 100, of two leaves each; the second leaf is the same. */
static void start(void)
{
	image_open(NR_BLOCKS, NR_DEVICE_BLOCKS, 4 * (PD_MAX_DEPTH + 1));
	image_superblock(0, TOP, DETAILS, NR_BLOCKS);
	space_maps();
	node(DETAILS, PD_NODE_LEAF, 24, VALUES(2, 2));
	LEAF(TOP, ROOT1, ROOT2);
	INTERNAL(ROOT1, LEAF1, LEAF_OF_BOTH);
	INTERNAL(ROOT2, LEAF2, LEAF_OF_BOTH);
	mapping_leaf(LEAF1, 1);
	mapping_leaf(LEAF2, 2);
	mapping_leaf(LEAF_OF_BOTH, 101);
}

/* Device 0 as it was: one leaf of its own, and one that it still shares. */
static void add_snapshot(void)
{
	image_superblock(HELD, HELD_TOP, HELD_DETAILS, NR_BLOCKS);
	image_set(0, 56, 8, HELD);
	node(HELD_DETAILS, PD_NODE_LEAF, 24, VALUES(2));
	LEAF(HELD_TOP, HELD_ROOT);
	INTERNAL(HELD_ROOT, HELD_LEAF, LEAF_OF_BOTH);
	mapping_leaf(HELD_LEAF, 3);
	for (uint64_t block = HELD; block <= HELD_LEAF; block++)
		set_count(block, 1);
}

/* Of the first @nr blocks; closes the image. */
static void run_on(uint64_t nr, bool with_memo, bool scan)
{
	struct thin_pool pool;

	memset(blocks, 0, sizeof(blocks));
	memset(entries, 0, sizeof(entries));
	memo = (struct pd_memo){ .entries = entries, .nr = NR_DEVICE_BLOCKS, .retell = 100 };
	survey = (struct thin_survey){ .blocks = blocks, .nr = nr, .memo = with_memo ? &memo : NULL };
	CU_ASSERT_EQUAL_FATAL(thin_pool_open(&pool, image.reader.client, &image.told.sink), 0);
	CU_ASSERT_EQUAL(thin_survey(&pool, &survey, scan), 0);
	image_close();
}

static void run(void)
{
	run_on(NR_BLOCKS, true, true);
}

static void is(uint64_t block, unsigned expected)
{
	CU_ASSERT_EQUAL(blocks[block], expected);
}

static void told(unsigned i, enum problem_code code, uint64_t block, enum problem_where where, uint64_t dev_id)
{
	CU_ASSERT_TRUE_FATAL(i < image.told.nr);
	CU_ASSERT_EQUAL(image.told.p[i].code, code);
	CU_ASSERT_EQUAL(image.told.p[i].block, block);
	CU_ASSERT_EQUAL(image.told.p[i].where, where);
	CU_ASSERT_EQUAL(image.told.p[i].dev_id, dev_id);
}

/* --- roles --- */

static void roles(void)
{
	start();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 0);
	is(0, ROLE_SUPERBLOCK);
	is(DETAILS, ROLE_DETAILS);
	is(TOP, ROLE_TOP);
	is(LEAF1, ROLE_MAPPINGS);
	is(LEAF2, ROLE_MAPPINGS);
	is(DATA_INDEX, ROLE_DATA_INDEX);
	is(DATA_BITMAP, ROLE_DATA_BITMAP);
	is(DATA_COUNTS, ROLE_DATA_COUNTS);
	is(META_INDEX, ROLE_META_INDEX);
	is(META_BITMAP, ROLE_META_BITMAP);
	is(META_COUNTS, ROLE_META_COUNTS);
	is(9, ROLE_FREE);
}

static void internal_nodes(void)
{
	start();
	run();
	is(ROOT1, ROLE_MAPPINGS | SURVEY_INTERNAL);
	is(ROOT2, ROLE_MAPPINGS | SURVEY_INTERNAL);
}

static void adds_up(void)
{
	uint64_t sum = 0;

	start();
	run();
	for (unsigned r = 0; r < NR_THIN_ROLES; r++)
		sum += survey.count[r];
	CU_ASSERT_EQUAL(sum, NR_BLOCKS);
	CU_ASSERT_EQUAL(survey.count[ROLE_MAPPINGS], 5);
	CU_ASSERT_EQUAL(survey.count[ROLE_FREE], NR_BLOCKS - 14);
	CU_ASSERT_EQUAL(survey.shared, 1);
	CU_ASSERT_EQUAL(survey.bad, 0);
}

static void names(void)
{
	for (unsigned a = 0; a < NR_THIN_ROLES; a++) {
		CU_ASSERT_TRUE(*thin_role_name(a) && *thin_role_text(a));
		for (unsigned b = 0; b < a; b++)
			CU_ASSERT_STRING_NOT_EQUAL(thin_role_name(a), thin_role_name(b));
	}
}

static void beyond(void)
{
	start();
	run_on(NR_DEVICE_BLOCKS, true, true);
	is(NR_BLOCKS - 1, ROLE_FREE);
	is(NR_BLOCKS, ROLE_BEYOND);
	CU_ASSERT_EQUAL(survey.count[ROLE_BEYOND], NR_DEVICE_BLOCKS - NR_BLOCKS);
}

/* --- sharing --- */

static void shared(void)
{
	start();
	run();
	is(LEAF_OF_BOTH, ROLE_MAPPINGS | SURVEY_SHARED);
}

static void shared_root(void)
{
	start();
	LEAF(TOP, ROOT1, ROOT1);
	run();
	is(ROOT1, ROLE_MAPPINGS | SURVEY_INTERNAL | SURVEY_SHARED);
	is(LEAF1, ROLE_MAPPINGS);
	is(LEAF_OF_BOTH, ROLE_MAPPINGS);
}

static void shared_without_memo(void)
{
	uint8_t with[NR_DEVICE_BLOCKS];

	start();
	add_snapshot();
	LEAF(TOP, ROOT1, ROOT1, ROOT2);
	run();
	memcpy(with, blocks, sizeof(with));
	start();
	add_snapshot();
	LEAF(TOP, ROOT1, ROOT1, ROOT2);
	run_on(NR_BLOCKS, false, true);
	CU_ASSERT_EQUAL(memcmp(with, blocks, sizeof(with)), 0);
}

/* The tree of the third device is the top level itself. */
static void claimed_twice(void)
{
	start();
	LEAF(TOP, LEAF1, ROOT2, TOP);
	run();
	is(TOP, ROLE_TOP | SURVEY_SHARED);
}

/* --- what nothing leads to --- */

static void unreached(void)
{
	start();
	set_count(30, 1);
	set_count(31, 3);
	run();
	is(30, ROLE_UNREACHED);
	is(31, ROLE_UNREACHED);
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void unreached_below_damage(void)
{
	start();
	image_at(ROOT1)[100] ^= 1;
	run();
	is(ROOT1, ROLE_MAPPINGS | SURVEY_BAD);
	is(LEAF1, ROLE_UNREACHED);
	is(LEAF_OF_BOTH, ROLE_MAPPINGS);
}

static void orphans(void)
{
	start();
	mapping_leaf(40, 7);
	seal(41, PD_BITMAP);
	mapping_leaf(42, 7);
	memcpy(image_at(43), image_at(42), PD_BLOCK_SIZE);
	memset(image_at(44), 'x', PD_BLOCK_SIZE);
	run();
	is(40, ROLE_ORPHAN);
	is(41, ROLE_ORPHAN);
	is(43, ROLE_FREE);
	is(44, ROLE_FREE);
}

static void orphans_not_wanted(void)
{
	start();
	mapping_leaf(40, 7);
	set_count(41, 1);
	run_on(NR_BLOCKS, true, false);
	is(40, ROLE_FREE);
	is(41, ROLE_UNREACHED);
}

static void unreadable_free(void)
{
	start();
	image.plan.bad_begin = 50 * PD_BLOCK_SIZE;
	image.plan.bad_end = 51 * PD_BLOCK_SIZE;
	run();
	is(50, ROLE_FREE | SURVEY_BAD);
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	told(0, PROBLEM_BLOCK_UNREADABLE, 50, WHERE_UNUSED, PROBLEM_NO_DEVICE);
	CU_ASSERT_EQUAL(problem_severity(&image.told.p[0]), SEVERITY_COSMETIC);
}

/* --- damage --- */

static void bad_leaf(void)
{
	start();
	image_at(LEAF_OF_BOTH)[100] ^= 1;
	run();
	is(LEAF_OF_BOTH, ROLE_MAPPINGS | SURVEY_SHARED | SURVEY_BAD);
	CU_ASSERT_EQUAL(survey.bad, 1);
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 2);
	told(0, PROBLEM_BLOCK_CHECKSUM, LEAF_OF_BOTH, WHERE_MAPPINGS, 0);
	told(1, PROBLEM_BLOCK_CHECKSUM, LEAF_OF_BOTH, WHERE_MAPPINGS, 100);
}

static void bad_contents(void)
{
	start();
	image_entry(LEAF1, 0, 1, UINT64_C(5000) << THIN_TIME_BITS, 8);
	run();
	is(LEAF1, ROLE_MAPPINGS);
	CU_ASSERT_EQUAL(image.told.last.code, PROBLEM_DATA_BEYOND);
}

static void bad_everywhere(void)
{
	static const struct {
		uint64_t block;
		enum thin_role role;
	} all[] = {
		{ DETAILS, ROLE_DETAILS }, { TOP, ROLE_TOP }, { DATA_INDEX, ROLE_DATA_INDEX },
		{ DATA_BITMAP, ROLE_DATA_BITMAP }, { DATA_COUNTS, ROLE_DATA_COUNTS },
		{ META_INDEX, ROLE_META_INDEX }, { META_BITMAP, ROLE_META_BITMAP }, { META_COUNTS, ROLE_META_COUNTS },
	};

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
		start();
		image_at(all[i].block)[100] ^= 1;
		run();
		is(all[i].block, all[i].role | SURVEY_BAD);
		CU_ASSERT_EQUAL(survey.bad, 1);
	}
}

/* Blocks of counts that several bitmaps would have had are lost with a node of the index, not with a bitmap. */
static void bad_index_leaf(void)
{
	start();
	image_space_map(64, 3 * PD_BITMAP_ENTRIES, 0, 30, DATA_COUNTS);
	INTERNAL(30, DATA_INDEX);
	image_at(DATA_INDEX)[100] ^= 1;
	run();
	is(30, ROLE_DATA_INDEX | SURVEY_INTERNAL);
	is(DATA_INDEX, ROLE_DATA_INDEX | SURVEY_BAD);
}

static void bad_superblock(void)
{
	start();
	image_at(0)[100] ^= 1;
	run();
	is(0, ROLE_SUPERBLOCK | SURVEY_BAD);
	is(LEAF1, ROLE_MAPPINGS);
}

static void misplaced(void)
{
	start();
	INTERNAL(ROOT2, LEAF_OF_BOTH, LEAF2);
	run();
	is(LEAF2, ROLE_MAPPINGS | SURVEY_BAD);
	is(LEAF_OF_BOTH, ROLE_MAPPINGS | SURVEY_SHARED | SURVEY_BAD);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_NODE_KEY_RANGE);
}

static void far_pointers(void)
{
	start();
	INTERNAL(ROOT2, NR_BLOCKS, UINT64_MAX);
	run();
	CU_ASSERT_EQUAL(survey.bad, 0);
	told(0, PROBLEM_BLOCK_BEYOND, NR_BLOCKS, WHERE_MAPPINGS, 100);
	told(1, PROBLEM_BLOCK_BEYOND, UINT64_MAX, WHERE_MAPPINGS, 100);
}

static void few_blocks(void)
{
	start();
	add_snapshot();
	run_on(LEAF1, true, true);
	is(ROOT1, ROLE_MAPPINGS | SURVEY_INTERNAL);
	is(LEAF1, 0);
	is(HELD, 0);
}

/* --- the metadata snapshot --- */

static void snapshot(void)
{
	start();
	add_snapshot();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 0);
	is(HELD, ROLE_HELD);
	is(HELD_TOP, ROLE_TOP);
	is(HELD_DETAILS, ROLE_DETAILS);
	is(HELD_ROOT, ROLE_MAPPINGS | SURVEY_INTERNAL);
	is(HELD_LEAF, ROLE_MAPPINGS);
	is(LEAF_OF_BOTH, ROLE_MAPPINGS | SURVEY_SHARED);
}

static void snapshot_of_now(void)
{
	start();
	add_snapshot();
	image_superblock(HELD, TOP, DETAILS, NR_BLOCKS);
	run();
	is(TOP, ROLE_TOP | SURVEY_SHARED);
	is(DETAILS, ROLE_DETAILS | SURVEY_SHARED);
	is(ROOT1, ROLE_MAPPINGS | SURVEY_INTERNAL);
	is(HELD_TOP, ROLE_UNREACHED);
}

static void snapshot_damaged(void)
{
	start();
	add_snapshot();
	image_at(HELD_LEAF)[100] ^= 1;
	run();
	is(HELD_LEAF, ROLE_MAPPINGS | SURVEY_BAD);
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	told(0, PROBLEM_BLOCK_CHECKSUM, HELD_LEAF, WHERE_HELD_TREES, 0);
	CU_ASSERT_EQUAL(problem_severity(&image.told.p[0]), SEVERITY_REPAIRABLE);
}

static void snapshot_superblock_damaged(void)
{
	start();
	add_snapshot();
	image_at(HELD)[100] ^= 1;
	run();
	is(HELD, ROLE_HELD | SURVEY_BAD);
	is(HELD_TOP, ROLE_UNREACHED);
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	told(0, PROBLEM_BLOCK_CHECKSUM, HELD, WHERE_HELD, PROBLEM_NO_DEVICE);
}

static void snapshot_shares_damage(void)
{
	start();
	add_snapshot();
	image_at(LEAF_OF_BOTH)[100] ^= 1;
	run();
	CU_ASSERT_EQUAL(image.told.nr, 2);
	CU_ASSERT_EQUAL(image.told.last.where, WHERE_MAPPINGS);
}

static const struct unit_case cases[] = {
	{ "every block has the role of its structure", roles },
	{ "nodes with children are told from leaves", internal_nodes },
	{ "every block is counted once, by its role", adds_up },
	{ "every role has a name and a text of its own", names },
	{ "blocks of the device past the metadata are beyond it", beyond },
	{ "a block that two pointers lead to is shared", shared },
	{ "what is below a shared node is not shared by that", shared_root },
	{ "without a memo the survey is the same", shared_without_memo },
	{ "a block that two structures claim keeps its first role", claimed_twice },
	{ "a block with a count that nothing leads to is unreached", unreached },
	{ "what only a damaged node leads to is unreached", unreached_below_damage },
	{ "a sound block without a count is an orphan, a copy of one is not", orphans },
	{ "without a scan orphans are free, and counts are compared all the same", orphans_not_wanted },
	{ "a free block that cannot be read is bad, and costs nothing", unreadable_free },
	{ "a damaged leaf is bad, and told for every device that has it", bad_leaf },
	{ "a block whose contents are at fault is not bad", bad_contents },
	{ "damage keeps the role of its structure", bad_everywhere },
	{ "a damaged leaf of the index is no bitmap", bad_index_leaf },
	{ "a superblock with a wrong checksum is bad, and the rest is surveyed", bad_superblock },
	{ "a node that does not belong where it is found is bad", misplaced },
	{ "a pointer past the end makes no block bad", far_pointers },
	{ "blocks that are not asked for are left alone", few_blocks },
	{ "the metadata snapshot's superblock and trees have roles too", snapshot },
	{ "a metadata snapshot of what is still live shares its roots", snapshot_of_now },
	{ "what only the metadata snapshot loses is told as its own", snapshot_damaged },
	{ "a metadata snapshot with a damaged superblock leads nowhere", snapshot_superblock_damaged },
	{ "damage that the metadata snapshot shares is told once, of the pool", snapshot_shares_damage },
	{ NULL, NULL },
};

const struct unit_suite thin_survey_suite = { "thin_survey", cases };
