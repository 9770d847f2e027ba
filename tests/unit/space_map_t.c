// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "pdata/space_map.h"
#include "unit.h"

#define NR_BLOCKS 64
#define PER_BITMAP UINT64_C(16320)
#define LEN(table) (sizeof(table) / sizeof(*(table)))
#define TOO_LONG 30 /* seconds, after which a call counts as endless */

/* Where the blocks of the maps below are. */
enum { INDEX = 1, COUNTS = 2, COUNTS_LOW = 3, COUNTS_HIGH = 4, BITMAP = 10 };

static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 17);
}

/* --- making space maps --- */

static void bitmap(uint64_t block)
{
	memset(image_at(block) + 16, 0xAA, 100);
	pd_block_seal(image_at(block), PD_BITMAP, block);
}

/* The counts of 3 and more: two leaves, block numbers below and from 100 on. */
static void counts(void)
{
	image_node(COUNTS_LOW, 2, 1, 336, 4);
	image_entry(COUNTS_LOW, 0, 7, 3, 4);
	image_node(COUNTS_HIGH, 2, 1, 336, 4);
	image_entry(COUNTS_HIGH, 0, 120, 9, 4);
	image_node(COUNTS, 1, 2, 252, 8);
	image_entry(COUNTS, 0, 0, COUNTS_LOW, 8);
	image_entry(COUNTS, 1, 100, COUNTS_HIGH, 8);
}

static struct pd_sm_root root_of(uint64_t nr_blocks)
{
	return (struct pd_sm_root){ nr_blocks, 10, INDEX, COUNTS };
}

static void index_entry(unsigned i, uint64_t block)
{
	le_store(image_at(INDEX) + 16 + 16 * i, 8, block);
	le_store(image_at(INDEX) + 16 + 16 * i + 8, 4, 5);
	pd_block_seal(image_at(INDEX), PD_INDEX, INDEX);
}

static unsigned bitmaps_of(uint64_t nr_blocks)
{
	return (unsigned)((nr_blocks + PER_BITMAP - 1) / PER_BITMAP);
}

static struct pd_sm_root metadata_map(uint64_t nr_blocks)
{
	for (unsigned i = 0; i < bitmaps_of(nr_blocks); i++) {
		bitmap(BITMAP + i);
		index_entry(i, BITMAP + i);
	}
	counts();
	return root_of(nr_blocks);
}

/* Without the entry @missing; pass one too large for a whole map. */
static struct pd_sm_root data_map_without(uint64_t nr_blocks, unsigned missing)
{
	unsigned nr = bitmaps_of(nr_blocks), n = 0;

	image_node(INDEX, 2, nr - (missing < nr), 168, 16);
	for (unsigned i = 0; i < nr; i++) {
		bitmap(BITMAP + i);
		if (i != missing)
			image_entry(INDEX, n++, i, BITMAP + i, 8);
	}
	counts();
	return root_of(nr_blocks);
}

static struct pd_sm_root data_map(uint64_t nr_blocks)
{
	return data_map_without(nr_blocks, UINT32_MAX);
}

/* --- verifying them --- */

static void verify(const struct pd_sm_root *root, bool is_metadata)
{
	alarm(TOO_LONG);
	CU_ASSERT_EQUAL(pd_sm_verify(&image.reader, root, is_metadata), 0);
	alarm(0);
}

static void one_problem(enum problem_code code, enum problem_where where, uint64_t begin, uint64_t end)
{
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.last.code, code);
	CU_ASSERT_EQUAL(image.told.last.where, where);
	CU_ASSERT_EQUAL(image.told.last.dev_id, PROBLEM_NO_DEVICE);
	CU_ASSERT_EQUAL(image.told.last.begin, begin);
	CU_ASSERT_EQUAL(image.told.last.end, end);
}

static void decodes_root(void)
{
	struct pd_sm_root_disk d;
	struct pd_sm_root root;

	le_store((uint8_t *)&d, 8, 0x1111111122222222);
	le_store((uint8_t *)&d + 8, 8, 0x3333333344444444);
	le_store((uint8_t *)&d + 16, 8, 0x5555555566666666);
	le_store((uint8_t *)&d + 24, 8, 0x7777777788888888);
	root = pd_sm_root_decode(&d);
	CU_ASSERT_EQUAL(root.nr_blocks, 0x1111111122222222);
	CU_ASSERT_EQUAL(root.nr_allocated, 0x3333333344444444);
	CU_ASSERT_EQUAL(root.bitmap_root, 0x5555555566666666);
	CU_ASSERT_EQUAL(root.ref_count_root, 0x7777777788888888);
}

/* Bit 2i is the high bit of the count, bit 2i + 1 the low one. */
static void bit_order(void)
{
	static const unsigned count_of[] = { 0, 2, 1, 3 };
	static const unsigned entries[] = { 0, 1, 2, 3, 4, 5, 6, 7, 63, 64, 8161, 16318, 16319 };
	static union {
		struct pd_bitmap_disk d;
		uint8_t bytes[PD_BLOCK_SIZE];
	} b;

	for (unsigned e = 0; e < LEN(entries); e++)
		for (unsigned pattern = 0; pattern < 4; pattern++) {
			unsigned i = entries[e];

			memset(&b, 0, sizeof(b));
			b.bytes[16 + i / 4] = (uint8_t)(pattern << i % 4 * 2);
			CU_ASSERT_EQUAL(pd_bitmap_count(&b.d, i), count_of[pattern]);
			CU_ASSERT_EQUAL(pd_bitmap_count(&b.d, (i + 1) % 16320), 0);
			CU_ASSERT_EQUAL(pd_bitmap_count(&b.d, (i + 16319) % 16320), 0);
		}
}

static void known_byte(void)
{
	static struct pd_bitmap_disk b;

	b.counts[0] = 0xE4; /* the patterns 0, 1, 2, 3 */
	CU_ASSERT_EQUAL(pd_bitmap_count(&b, 0), 0);
	CU_ASSERT_EQUAL(pd_bitmap_count(&b, 1), 2);
	CU_ASSERT_EQUAL(pd_bitmap_count(&b, 2), 1);
	CU_ASSERT_EQUAL(pd_bitmap_count(&b, 3), 3);
}

static void good_metadata_maps(void)
{
	static const uint64_t sizes[] = { 1, NR_BLOCKS, PER_BITMAP, PER_BITMAP + 1, 3 * PER_BITMAP };

	for (unsigned i = 0; i < LEN(sizes); i++) {
		struct pd_sm_root root;

		start();
		root = metadata_map(sizes[i]);
		verify(&root, true);
		CU_ASSERT_EQUAL(image.told.nr, 0);
		CU_ASSERT_EQUAL(image_blocks_read(), 1 + bitmaps_of(sizes[i]) + 3);
		image_close();
	}
}

static void good_data_maps(void)
{
	static const uint64_t sizes[] = { 1, 1000, PER_BITMAP, PER_BITMAP + 1, 40000 };

	for (unsigned i = 0; i < LEN(sizes); i++) {
		struct pd_sm_root root;

		start();
		root = data_map(sizes[i]);
		verify(&root, false);
		CU_ASSERT_EQUAL(image.told.nr, 0);
		CU_ASSERT_EQUAL(image_blocks_read(), 1 + bitmaps_of(sizes[i]) + 3);
		image_close();
	}
}

static void index_of_two_levels(void)
{
	struct pd_sm_root root;

	start();
	root = data_map(40000);
	image_node(20, 2, 2, 168, 16);
	image_entry(20, 0, 0, BITMAP, 8);
	image_entry(20, 1, 1, BITMAP + 1, 8);
	image_node(21, 2, 1, 168, 16);
	image_entry(21, 0, 2, BITMAP + 2, 8);
	image_node(INDEX, 1, 2, 252, 8);
	image_entry(INDEX, 0, 0, 20, 8);
	image_entry(INDEX, 1, 2, 21, 8);
	verify(&root, false);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* Real pools have had bytes in slots that are not used, and hints that were off by one. */
static void harmless_bytes(void)
{
	struct pd_sm_root root;

	start();
	root = metadata_map(PER_BITMAP + 1);
	root.nr_allocated = 12345;
	index_entry(2, 999);
	index_entry(254, UINT64_MAX);
	verify(&root, true);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void missing_data_entry(unsigned missing)
{
	struct pd_sm_root root;

	start();
	root = data_map_without(40000, missing);
	verify(&root, false);
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.last.code, PROBLEM_SM_INDEX);
	CU_ASSERT_EQUAL(image.told.last.where, WHERE_DATA_SM);
	CU_ASSERT_EQUAL(image.told.last.found, missing);
	image_close();
}

static void missing_data_entries(void)
{
	for (unsigned missing = 0; missing < 3; missing++)
		missing_data_entry(missing);
}

/* A slot of zeroes points at the superblock. */
static void missing_metadata_entry(void)
{
	struct pd_sm_root root;

	start();
	root = metadata_map(40000);
	index_entry(1, 0);
	pd_block_seal(image_at(0), PD_THIN_SUPERBLOCK, 0);
	verify(&root, true);
	one_problem(PROBLEM_BLOCK_KIND, WHERE_META_SM, PER_BITMAP, 2 * PER_BITMAP);
	image_close();
}

static void bad_bitmap(bool is_metadata, unsigned i, uint64_t begin, uint64_t end)
{
	struct pd_sm_root root;

	start();
	root = is_metadata ? metadata_map(40000) : data_map(40000);
	image_at(BITMAP + i)[500] ^= 1;
	verify(&root, is_metadata);
	one_problem(PROBLEM_BLOCK_CHECKSUM, is_metadata ? WHERE_META_SM : WHERE_DATA_SM, begin, end);
	CU_ASSERT_EQUAL(image.told.last.block, BITMAP + i);
	image_close();
}

static void bad_bitmaps(void)
{
	for (unsigned is_metadata = 0; is_metadata < 2; is_metadata++) {
		bad_bitmap(is_metadata, 0, 0, PER_BITMAP);
		bad_bitmap(is_metadata, 1, PER_BITMAP, 2 * PER_BITMAP);
	}
}

static void bad_last_bitmap(void)
{
	bad_bitmap(true, 2, 2 * PER_BITMAP, 40000);
	bad_bitmap(false, 2, 2 * PER_BITMAP, 40000);
}

static void every_bad_bitmap(void)
{
	struct pd_sm_root root;

	start();
	root = metadata_map(40000);
	for (unsigned i = 0; i < 3; i++)
		image_at(BITMAP + i)[500] ^= 1;
	verify(&root, true);
	CU_ASSERT_EQUAL(image.told.nr, 3);
	image_close();
}

static void node_as_bitmap(void)
{
	struct pd_sm_root root;

	start();
	root = data_map(PER_BITMAP);
	image_node(BITMAP, 2, 0, 252, 8);
	verify(&root, false);
	one_problem(PROBLEM_BLOCK_KIND, WHERE_DATA_SM, 0, PER_BITMAP);
	CU_ASSERT_STRING_EQUAL(image.told.last.expected_kind, pd_kind_name(PD_BITMAP));
	CU_ASSERT_STRING_EQUAL(image.told.last.found_kind, pd_kind_name(PD_NODE));
	image_close();
}

static void bitmap_beyond(void)
{
	struct pd_sm_root root;

	start();
	root = metadata_map(PER_BITMAP);
	index_entry(0, NR_BLOCKS);
	verify(&root, true);
	one_problem(PROBLEM_BLOCK_BEYOND, WHERE_META_SM, 0, PER_BITMAP);
	CU_ASSERT_EQUAL(image.told.last.block, NR_BLOCKS);
	image_close();
}

static void bad_index_block(void)
{
	struct pd_sm_root root;

	start();
	root = metadata_map(40000);
	image_at(INDEX)[100] ^= 1;
	verify(&root, true);
	one_problem(PROBLEM_BLOCK_CHECKSUM, WHERE_META_SM, 0, 40000);
	CU_ASSERT_EQUAL(image.told.last.block, INDEX);
	CU_ASSERT_EQUAL(image_blocks_read(), 4);
	image_close();
}

static void bad_index_tree(void)
{
	struct pd_sm_root root;

	start();
	root = data_map(40000);
	memset(image_at(INDEX), 0, PD_BLOCK_SIZE);
	verify(&root, false);
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.last.code, PROBLEM_BLOCK_ZEROED);
	CU_ASSERT_EQUAL(image.told.last.where, WHERE_DATA_SM);
	CU_ASSERT_EQUAL(image.told.last.block, INDEX);
	image_close();
}

static void wrong_index(bool is_metadata)
{
	struct pd_sm_root root;

	start();
	root = is_metadata ? data_map(1000) : metadata_map(1000);
	verify(&root, is_metadata);
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.last.code, PROBLEM_BLOCK_KIND);
	CU_ASSERT_EQUAL(image.told.last.where, is_metadata ? WHERE_META_SM : WHERE_DATA_SM);
	image_close();
}

static void index_of_wrong_kind(void)
{
	wrong_index(true);
	wrong_index(false);
}

static void bad_counts(bool is_metadata, uint64_t block, uint64_t begin, uint64_t end)
{
	struct pd_sm_root root;

	start();
	root = is_metadata ? metadata_map(40000) : data_map(40000);
	image_at(block)[60] ^= 1;
	verify(&root, is_metadata);
	one_problem(PROBLEM_BLOCK_CHECKSUM, is_metadata ? WHERE_META_COUNTS : WHERE_DATA_COUNTS, begin, end);
	CU_ASSERT_EQUAL(image.told.last.block, block);
	image_close();
}

static void bad_count_trees(void)
{
	for (unsigned is_metadata = 0; is_metadata < 2; is_metadata++) {
		bad_counts(is_metadata, COUNTS_LOW, 0, 100);
		bad_counts(is_metadata, COUNTS, 0, UINT64_MAX);
		bad_counts(is_metadata, COUNTS_HIGH, 100, UINT64_MAX);
	}
}

static void counts_of_wrong_size(void)
{
	struct pd_sm_root root;

	start();
	root = data_map(1000);
	image_node(COUNTS, 2, 0, 252, 8);
	verify(&root, false);
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.last.code, PROBLEM_NODE_VALUE_SIZE);
	CU_ASSERT_EQUAL(image.told.last.where, WHERE_DATA_COUNTS);
	CU_ASSERT_EQUAL(image.told.last.expected, 4);
	CU_ASSERT_EQUAL(image.told.last.found, 8);
	image_close();
}

static void unreadable_bitmap(void)
{
	struct pd_sm_root root;

	start();
	root = metadata_map(40000);
	image_at(BITMAP + 1)[0] ^= 1;
	image.plan.fail_at = 2;
	verify(&root, true);
	CU_ASSERT_EQUAL(image.told.nr, 2);
	CU_ASSERT_EQUAL(image.told.last.block, BITMAP + 1);
	image_close();
}

static void both_halves_verified(void)
{
	struct pd_sm_root root;

	start();
	root = data_map(1000);
	image_at(INDEX)[60] ^= 1;
	image_at(COUNTS)[60] ^= 1;
	verify(&root, false);
	CU_ASSERT_EQUAL(image.told.nr, 2);
	CU_ASSERT_EQUAL(image.told.last.where, WHERE_DATA_COUNTS);
	image_close();
}

/* As many blocks as a number can say, and bitmaps for 1000 of them. */
static void hostile_size(bool is_metadata, uint64_t nr_blocks)
{
	struct pd_sm_root root;

	start();
	root = is_metadata ? metadata_map(1000) : data_map(1000);
	root.nr_blocks = nr_blocks;
	verify(&root, is_metadata);
	CU_ASSERT_TRUE(image.told.nr <= 255);
	CU_ASSERT_TRUE(image_blocks_read() <= 20);
	image_close();
}

static void hostile_sizes(void)
{
	static const uint64_t sizes[] = { UINT64_MAX, UINT64_MAX - 16319, UINT64_C(1) << 63, UINT64_C(1) << 40 };

	for (unsigned i = 0; i < LEN(sizes); i++) {
		hostile_size(true, sizes[i]);
		hostile_size(false, sizes[i]);
	}
}

/* An index whose last key is as far away as can be. */
static void hostile_index(void)
{
	struct pd_sm_root root;

	start();
	root = data_map(1000);
	image_node(INDEX, 2, 2, 168, 16);
	image_entry(INDEX, 0, 0, BITMAP, 8);
	image_entry(INDEX, 1, UINT64_MAX - 1, BITMAP, 8);
	root.nr_blocks = UINT64_MAX;
	verify(&root, false);
	CU_ASSERT_TRUE(image.told.nr <= 255);
	image_close();
}

static void no_blocks(void)
{
	struct pd_sm_root root;

	start();
	image_node(INDEX, 2, 0, 168, 16);
	counts();
	root = root_of(0);
	verify(&root, false);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* --- single counts --- */

static struct pd_sm_lookup lookup;

static void open_lookup(const struct pd_sm_root *root, bool is_metadata)
{
	pd_sm_lookup_open(&lookup, &image.reader, root, is_metadata, UINT64_MAX);
}

static void finish(void)
{
	pd_sm_lookup_close(&lookup);
	image_close();
}

static void is_count(uint64_t begin, uint64_t end, uint64_t expected, uint64_t expected_end)
{
	uint64_t count = UINT64_MAX, run_end = 0;

	CU_ASSERT_EQUAL(pd_sm_lookup(&lookup, begin, end, &count, &run_end), 1);
	CU_ASSERT_EQUAL(count, expected);
	CU_ASSERT_EQUAL(run_end, expected_end);
}

static void is_unknown(uint64_t begin, uint64_t end, uint64_t expected_end)
{
	uint64_t count = 77, run_end = 0;

	CU_ASSERT_EQUAL(pd_sm_lookup(&lookup, begin, end, &count, &run_end), 0);
	CU_ASSERT_EQUAL(count, 77);
	CU_ASSERT_EQUAL(run_end, expected_end);
}

/* A bitmap has counts of 1 (the pattern 2) up to block 399 and of 0 behind it; here 7, 120 and 121 have more. */
static void large_counts(uint64_t block)
{
	image_at(block)[16 + 7 / 4] |= 3 << 7 % 4 * 2;
	image_at(block)[16 + 120 / 4] |= 3 | 3 << 2;
	pd_block_seal(image_at(block), PD_BITMAP, block);
}

static void looks_up(void)
{
	for (unsigned is_metadata = 0; is_metadata < 2; is_metadata++) {
		struct pd_sm_root root;

		start();
		root = is_metadata ? metadata_map(40000) : data_map(40000);
		large_counts(BITMAP);
		open_lookup(&root, is_metadata);
		is_count(0, 500, 1, 7);
		is_count(7, 500, 3, 8);
		is_count(8, 9, 1, 9);
		is_count(120, 500, 9, 121);
		is_count(122, 500, 1, 400);
		is_count(400, 40000, 0, PER_BITMAP);
		is_count(2 * PER_BITMAP + 400, UINT64_MAX, 0, 40000);
		CU_ASSERT_EQUAL(image.told.nr, 0);
		CU_ASSERT_EQUAL(image_blocks_read(), 1 + 2 + 3);
		is_unknown(40000, UINT64_MAX, UINT64_MAX);
		CU_ASSERT_EQUAL(image.told.nr, 0);
		finish();
	}
}

static void looks_up_no_further(void)
{
	struct pd_sm_root root;

	start();
	root = data_map(40000);
	large_counts(BITMAP);
	pd_sm_lookup_open(&lookup, &image.reader, &root, false, 50);
	is_count(7, 50, 3, 8);
	CU_ASSERT_EQUAL(image_blocks_read(), 1 + 1 + 2);
	finish();
}

static void looks_up_missing_count(void)
{
	struct pd_sm_root root;

	start();
	root = data_map(1000);
	large_counts(BITMAP);
	open_lookup(&root, false);
	is_unknown(121, 500, 122);
	one_problem(PROBLEM_SM_COUNT, WHERE_DATA_COUNTS, 121, 122);
	is_count(122, 500, 1, 400);
	finish();
}

static void looks_up_in_damage(void)
{
	struct pd_sm_root root;

	start();
	root = data_map(40000);
	large_counts(BITMAP);
	image_at(COUNTS_LOW)[60] ^= 1;
	image_at(BITMAP + 1)[60] ^= 1;
	open_lookup(&root, false);
	is_unknown(7, 500, 8);
	is_count(120, 500, 9, 121);
	is_unknown(PER_BITMAP + 5, 40000, 2 * PER_BITMAP);
	is_unknown(PER_BITMAP + 6, 40000, 2 * PER_BITMAP);
	is_count(2 * PER_BITMAP, 40000, 1, 2 * PER_BITMAP + 400);
	CU_ASSERT_EQUAL(image.told.nr, 2);
	finish();
}

static void looks_up_without_index(void)
{
	for (unsigned is_metadata = 0; is_metadata < 2; is_metadata++) {
		struct pd_sm_root root;

		start();
		root = is_metadata ? metadata_map(40000) : data_map(40000);
		image_at(INDEX)[60] ^= 1;
		open_lookup(&root, is_metadata);
		is_unknown(5, 100, 100);
		is_unknown(200, UINT64_MAX, 40000);
		CU_ASSERT_EQUAL(image.told.nr, 1);
		finish();
	}
}

static void looks_up_missing_bitmap(void)
{
	struct pd_sm_root root;

	start();
	root = data_map_without(40000, 1);
	open_lookup(&root, false);
	is_unknown(PER_BITMAP, 40000, 2 * PER_BITMAP);
	is_unknown(PER_BITMAP + 1, 40000, 2 * PER_BITMAP);
	one_problem(PROBLEM_SM_INDEX, WHERE_DATA_SM, 0, 0);
	is_count(2 * PER_BITMAP, 40000, 1, 2 * PER_BITMAP + 400);
	finish();
}

static void looks_up_hostile_sizes(void)
{
	for (unsigned is_metadata = 0; is_metadata < 2; is_metadata++) {
		struct pd_sm_root root;

		start();
		root = is_metadata ? metadata_map(1000) : data_map(1000);
		root.nr_blocks = UINT64_MAX;
		open_lookup(&root, is_metadata);
		is_count(0, UINT64_MAX, 1, 400);
		is_unknown(UINT64_MAX - 5, UINT64_MAX, UINT64_MAX);
		finish();
	}
}

static const struct unit_case cases[] = {
	{ "a root's fields are where the layout says", decodes_root },
	{ "the first bit of each pair is the high bit of the count", bit_order },
	{ "the byte 0xE4 is the counts 0, 2, 1, 3", known_byte },
	{ "a sound metadata space map of any size has each block read once and no problem", good_metadata_maps },
	{ "a sound data space map of any size has each block read once and no problem", good_data_maps },
	{ "a data space map's index may have several levels", index_of_two_levels },
	{ "leftovers in unused index slots and wrong hints are no problem", harmless_bytes },
	{ "a bitmap that the data index lacks is reported with its number", missing_data_entries },
	{ "a bitmap that the metadata index lacks is reported with the blocks that it would count",
	  missing_metadata_entry },
	{ "a damaged bitmap is reported with the blocks that it counts", bad_bitmaps },
	{ "the last bitmap's blocks end where the map does", bad_last_bitmap },
	{ "behind a damaged bitmap the others are read", every_bad_bitmap },
	{ "a block of another kind is no bitmap", node_as_bitmap },
	{ "a bitmap out of the metadata is reported", bitmap_beyond },
	{ "a damaged index block costs all bitmaps, and is reported once", bad_index_block },
	{ "a damaged index tree costs all bitmaps, and is reported once", bad_index_tree },
	{ "the metadata index is no tree and the data index no index block", index_of_wrong_kind },
	{ "a damaged node of the count tree is reported there, with its keys", bad_count_trees },
	{ "reference counts have four bytes", counts_of_wrong_size },
	{ "an unreadable bitmap is damage, and the next one is read", unreadable_bitmap },
	{ "when the index is lost the counts are verified all the same", both_halves_verified },
	{ "a size that cannot be ends quickly with few problems", hostile_sizes },
	{ "an index with a gap of nearly 2^64 bitmaps ends quickly", hostile_index },
	{ "a map of no blocks has no bitmaps to miss", no_blocks },
	{ "single counts come with the run that they belong to, and each block is read once", looks_up },
	{ "what will not be asked for is not read ahead", looks_up_no_further },
	{ "a count of 3 or more that the tree lacks is unknown and reported", looks_up_missing_count },
	{ "counts in damaged blocks are unknown, those behind them are not", looks_up_in_damage },
	{ "without an index all counts are unknown, reported once", looks_up_without_index },
	{ "counts of a bitmap that the index lacks are unknown, reported once", looks_up_missing_bitmap },
	{ "counts of a map of 2^64 blocks can be looked up", looks_up_hostile_sizes },
	{ NULL, NULL },
};

const struct unit_suite space_map_suite = { "space_map", cases };
