// SPDX-License-Identifier: LGPL-2.1-or-later
/* A pool is made block by block, with space maps that have what it takes; then something of it is changed. */
#include <errno.h>
#include <string.h>

#include "image.h"
#include "meta/thin_check.h"
#include "meta/thin_disk.h"
#include "unit.h"

#define NR_BLOCKS 64
#define ENTRIES ((uint64_t)PD_BITMAP_ENTRIES)
#define NR_DATA (2 * ENTRIES + 1000)
#define NR_BITMAPS 3
#define PER_LEAF 90
#define TIME 7
#define PLENTY (UINT64_C(16) << 20)
#define LEN(table) (sizeof(table) / sizeof(*(table)))

/* Where the blocks of the pool are. Nodes of mappings have no neighbours, so that each of them is a request of its own. */
enum {
	META_INDEX = 1, META_BITMAP, META_COUNTS, DATA_INDEX, DATA_COUNTS, DETAILS, TOP, DATA_BITMAP = 10,
	INDEX_LOW = 14, INDEX_HIGH, META_COUNTS_LOW, META_COUNTS_HIGH,
	ROOT1 = 20, LEAF1 = 22, LEAF_OF_BOTH = 24, ROOT2 = 26, LEAF2 = 28,
	HELD = 40, HELD_TOP = 42, HELD_DETAILS = 44, HELD_ROOT = 46, HELD_LEAF = 48, ELSEWHERE = 50,
};

/* What the space maps are to say. */
static uint32_t meta_counts[NR_BLOCKS], data_counts[NR_DATA];

static struct thin_check checked;

/* --- making a pool --- */

static void superblock(uint64_t block, uint64_t top, uint64_t details)
{
	image_superblock(block, top, details, NR_BLOCKS);
	image_set(block, 44, 4, TIME);
	image_set(block, 48, 8, 5);
}

static void mapping_leaf(uint64_t block, uint64_t key, uint64_t data, uint64_t time)
{
	image_node(block, PD_NODE_LEAF, PER_LEAF, 252, 8);
	for (unsigned i = 0; i < PER_LEAF; i++)
		image_entry(block, i, key + i, (data + i) << THIN_TIME_BITS | time, 8);
}

static void map(uint64_t leaf, unsigned i, uint64_t data)
{
	image_entry(leaf, i, pd_key(&(struct pd_node){ .keys = image_at(leaf) + 32 }, i), data << THIN_TIME_BITS | 1, 8);
}

/* Two children, with keys from 0 and from 100 on. */
static void mapping_root(uint64_t block, uint64_t low, uint64_t high)
{
	image_node(block, PD_NODE_INTERNAL, 2, 252, 8);
	image_entry(block, 0, 0, low, 8);
	image_entry(block, 1, 100, high, 8);
}

static void details(uint64_t block, unsigned i, unsigned nr, uint64_t id, uint32_t snapshotted)
{
	uint8_t *value;

	if (!i)
		image_node(block, PD_NODE_LEAF, nr, 126, 24);
	image_entry(block, i, id, 2 * PER_LEAF, 8);
	value = image_at(block) + 32 + 8 * 126 + 24 * (size_t)i;
	le_store(value + 8, 8, 3);
	le_store(value + 16, 4, 1);
	le_store(value + 20, 4, snapshotted);
	pd_block_seal(image_at(block), PD_NODE, block);
}

static void count_leaf(uint64_t block)
{
	const uint8_t *values = image_at(block) + 32 + 8 * 252;

	for (unsigned i = 0; i < PER_LEAF; i++)
		data_counts[le_load(values + 8 * i, 8) >> THIN_TIME_BITS]++;
}

/*
 * The leaves of devices 1 and 2 have data blocks of all three bitmaps; some are in one leaf several times or in two. Virtual
 * blocks from 100 on are those of both.
 */
static void trees(void)
{
	superblock(0, TOP, DETAILS);
	details(DETAILS, 0, 2, 1, TIME);
	details(DETAILS, 1, 2, 2, 2);
	image_node(TOP, PD_NODE_LEAF, 2, 252, 8);
	image_entry(TOP, 0, 1, ROOT1, 8);
	image_entry(TOP, 1, 2, ROOT2, 8);
	mapping_root(ROOT1, LEAF1, LEAF_OF_BOTH);
	mapping_root(ROOT2, LEAF2, LEAF_OF_BOTH);
	mapping_leaf(LEAF1, 0, 0, 1);
	mapping_leaf(LEAF2, 0, 2 * ENTRIES, 2);
	mapping_leaf(LEAF_OF_BOTH, 100, ENTRIES - 45, 3);
	map(LEAF2, 10, 5);
	for (unsigned i = 20; i < 25; i++)
		map(LEAF2, i, 7);
}

static void counts_of_pool(void)
{
	static const uint64_t blocks[] = {
		0, META_INDEX, META_BITMAP, META_COUNTS, DATA_INDEX, DATA_COUNTS, DETAILS, TOP, DATA_BITMAP, DATA_BITMAP + 1,
		DATA_BITMAP + 2, ROOT1, LEAF1, LEAF_OF_BOTH, LEAF_OF_BOTH, ROOT2, LEAF2,
	};

	memset(meta_counts, 0, sizeof(meta_counts));
	memset(data_counts, 0, sizeof(data_counts));
	for (unsigned i = 0; i < LEN(blocks); i++)
		meta_counts[blocks[i]]++;
	count_leaf(LEAF1);
	count_leaf(LEAF2);
	count_leaf(LEAF_OF_BOTH);
}

/* Bitmap @i of counts of @nr blocks at @block, and its hints at @hints; returns how many are used. */
static uint64_t bitmap(uint64_t block, uint8_t *hints, const uint32_t *counts, uint64_t nr, unsigned i)
{
	uint64_t begin = i * ENTRIES, end = nr - begin < ENTRIES ? nr : begin + ENTRIES, used = 0, first = end;

	memset(image_at(block), 0, PD_BLOCK_SIZE);
	for (uint64_t b = end; b-- > begin;) {
		unsigned c = counts[b] < 3 ? counts[b] : 3, e = (unsigned)(b - begin);
		uint8_t *byte = image_at(block) + 16 + e / 4;

		*byte = (uint8_t)(*byte | ((c & 1) << 1 | c >> 1) << e % 4 * 2);
		used += c != 0;
		first = c ? first : b;
	}
	pd_block_seal(image_at(block), PD_BITMAP, block);
	le_store(hints, 8, block);
	le_store(hints + 8, 4, end - begin - used);
	le_store(hints + 12, 4, first - begin);
	return used;
}

static void large_counts(uint64_t block, const uint32_t *counts, uint64_t nr)
{
	unsigned n = 0;

	image_node(block, PD_NODE_LEAF, 0, 336, 4);
	for (uint64_t b = 0; b < nr; b++)
		if (counts[b] >= 3) {
			le_store(image_at(block) + 16, 4, n + 1);
			image_entry(block, n++, b, counts[b], 4);
		}
}

static uint8_t *data_hints(unsigned i)
{
	return image_at(DATA_INDEX) + 32 + 8 * 168 + 16 * (size_t)i;
}

/* Of the counts as they are now. */
static void space_maps(void)
{
	uint64_t used = 0;

	image_node(DATA_INDEX, PD_NODE_LEAF, NR_BITMAPS, 168, 16);
	for (unsigned i = 0; i < NR_BITMAPS; i++) {
		image_entry(DATA_INDEX, i, i, 0, 8);
		used += bitmap(DATA_BITMAP + i, data_hints(i), data_counts, NR_DATA, i);
	}
	pd_block_seal(image_at(DATA_INDEX), PD_NODE, DATA_INDEX);
	large_counts(DATA_COUNTS, data_counts, NR_DATA);
	image_space_map(64, NR_DATA, used, DATA_INDEX, DATA_COUNTS);

	used = bitmap(META_BITMAP, image_at(META_INDEX) + 16, meta_counts, NR_BLOCKS, 0);
	pd_block_seal(image_at(META_INDEX), PD_INDEX, META_INDEX);
	large_counts(META_COUNTS, meta_counts, NR_BLOCKS);
	image_space_map(192, NR_BLOCKS, used, META_INDEX, META_COUNTS);
}

static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 4 * (PD_MAX_DEPTH + 1));
	trees();
	counts_of_pool();
	space_maps();
}

/* Device 1 as it was: another leaf, and the one of both. */
static void add_snapshot(void)
{
	static const uint64_t blocks[] = { HELD, HELD_TOP, HELD_DETAILS, HELD_ROOT, HELD_LEAF, LEAF_OF_BOTH };

	superblock(HELD, HELD_TOP, HELD_DETAILS);
	details(HELD_DETAILS, 0, 1, 1, 1);
	image_node(HELD_TOP, PD_NODE_LEAF, 1, 252, 8);
	image_entry(HELD_TOP, 0, 1, HELD_ROOT, 8);
	mapping_root(HELD_ROOT, HELD_LEAF, LEAF_OF_BOTH);
	mapping_leaf(HELD_LEAF, 0, 300, 1);
	for (unsigned i = 0; i < LEN(blocks); i++)
		meta_counts[blocks[i]]++;
	count_leaf(HELD_LEAF);
	space_maps();
	image_set(0, 56, 8, HELD);
}

/* The index of data in two leaves: bitmaps 0 and 1, and 2. */
static void index_in_two_levels(void)
{
	meta_counts[INDEX_LOW] = meta_counts[INDEX_HIGH] = 1;
	space_maps();
	for (unsigned i = 0; i < 2; i++) {
		image_node(INDEX_LOW + i, PD_NODE_LEAF, 2 - i, 168, 16);
		for (unsigned e = 0; e < 2 - i; e++)
			image_entry(INDEX_LOW + i, e, 2 * i + e, 0, 8);
		memcpy(image_at(INDEX_LOW + i) + 32 + 8 * 168, data_hints(2 * i), 32 - 16 * i);
		pd_block_seal(image_at(INDEX_LOW + i), PD_NODE, INDEX_LOW + i);
	}
	image_node(DATA_INDEX, PD_NODE_INTERNAL, 2, 252, 8);
	image_entry(DATA_INDEX, 0, 0, INDEX_LOW, 8);
	image_entry(DATA_INDEX, 1, 2, INDEX_HIGH, 8);
}

/* --- checking it --- */

static int check(struct thin_check how)
{
	struct thin_pool pool;

	image.told.nr = 0;
	checked = how;
	if (!checked.memory)
		checked.memory = PLENTY;
	CU_ASSERT_EQUAL_FATAL(thin_pool_open(&pool, image.reader.client, &image.told.sink), 0);
	return thin_check(&pool, &checked);
}

static void run(void)
{
	CU_ASSERT_EQUAL(check((struct thin_check){ 0 }), 0);
}

static unsigned nr_of(enum problem_code code, bool touches)
{
	unsigned nr = 0;

	CU_ASSERT_TRUE(image.told.nr <= IMAGE_MAX_TOLD);
	for (unsigned i = 0; i < image.told.nr; i++)
		nr += image.told.p[i].code == code && image.told.p[i].is_touch == touches;
	return nr;
}

static void told(unsigned i, enum problem_code code, enum problem_where where, uint64_t block, uint64_t begin, uint64_t end)
{
	const struct problem *p = &image.told.p[i];

	CU_ASSERT_TRUE_FATAL(i < image.told.nr);
	CU_ASSERT_FALSE(p->is_touch);
	CU_ASSERT_EQUAL(p->code, code);
	CU_ASSERT_EQUAL(p->where, where);
	CU_ASSERT_EQUAL(p->block, block);
	CU_ASSERT_EQUAL(p->begin, begin);
	CU_ASSERT_EQUAL(p->end, end);
}

static void differs(unsigned i, uint64_t expected, uint64_t found, uint64_t count)
{
	CU_ASSERT_EQUAL(image.told.p[i].expected, expected);
	CU_ASSERT_EQUAL(image.told.p[i].found, found);
	CU_ASSERT_EQUAL(image.told.p[i].count, count);
}

static void touches(unsigned i, enum problem_code code, uint64_t dev_id, uint64_t begin, uint64_t end)
{
	const struct problem *p = &image.told.p[i];

	CU_ASSERT_TRUE_FATAL(i < image.told.nr);
	CU_ASSERT_TRUE(p->is_touch);
	CU_ASSERT_EQUAL(p->code, code);
	CU_ASSERT_EQUAL(p->dev_id, dev_id);
	CU_ASSERT_EQUAL(p->begin, begin);
	CU_ASSERT_EQUAL(p->end, end);
}

#define NO_BLOCK PROBLEM_NO_BLOCK

/* --- sound pools --- */

static void sound_pool(void)
{
	start();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(checked.nr_devices, 2);
	CU_ASSERT_EQUAL(checked.nr_mappings, 4 * PER_LEAF);
	CU_ASSERT_EQUAL(checked.metadata_used, 16);
	CU_ASSERT_EQUAL(checked.data_used, 3 * PER_LEAF - 6);
	CU_ASSERT_EQUAL(checked.passes, 1);
	image_close();
}

static void sound_with_snapshot(void)
{
	start();
	add_snapshot();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(checked.nr_devices, 2);
	CU_ASSERT_EQUAL(checked.nr_mappings, 4 * PER_LEAF);
	CU_ASSERT_EQUAL(checked.metadata_used, 21);
	CU_ASSERT_EQUAL(checked.data_used, 4 * PER_LEAF - 6);
	image_close();
}

/* A snapshot of what is still live: its superblock is all that it has of its own. */
static void snapshot_of_now(void)
{
	start();
	superblock(HELD, TOP, DETAILS);
	meta_counts[HELD]++;
	meta_counts[TOP]++;
	meta_counts[DETAILS]++;
	space_maps();
	image_set(0, 56, 8, HELD);
	run();
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void each_block_read_once(void)
{
	start();
	run();
	CU_ASSERT_EQUAL(image_blocks_read(), 16);
	image_close();
}

/* --- counts of data --- */

static void data_count_low(void)
{
	start();
	data_counts[ENTRIES - 1] = 0;
	space_maps();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 3);
	told(0, PROBLEM_DATA_COUNT_LOW, WHERE_DATA_SM, NO_BLOCK, ENTRIES - 1, ENTRIES);
	differs(0, 1, 0, 1);
	touches(1, PROBLEM_DATA_COUNT_LOW, 1, 144, 145);
	touches(2, PROBLEM_DATA_COUNT_LOW, 2, 144, 145);
	image_close();
}

static void data_count_high(void)
{
	start();
	data_counts[3] = 9;
	space_maps();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 2);
	told(0, PROBLEM_DATA_COUNT_HIGH, WHERE_DATA_SM, NO_BLOCK, 3, 4);
	differs(0, 1, 9, 1);
	touches(1, PROBLEM_DATA_COUNT_HIGH, 1, 3, 4);
	image_close();
}

/* Of the block 7, which one leaf has five times, and another one once. */
static void large_data_count(void)
{
	CU_ASSERT_EQUAL(data_counts[7], 6);
	start();
	data_counts[7] = 5;
	space_maps();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 3);
	told(0, PROBLEM_DATA_COUNT_LOW, WHERE_DATA_SM, NO_BLOCK, 7, 8);
	differs(0, 6, 5, 1);
	touches(1, PROBLEM_DATA_COUNT_LOW, 1, 7, 8);
	touches(2, PROBLEM_DATA_COUNT_LOW, 2, 20, 25);
	image_close();
}

static void data_leaked(void)
{
	start();
	data_counts[1000] = data_counts[1001] = 1;
	data_counts[1002] = 5;
	data_counts[2000] = 1;
	space_maps();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 2);
	told(0, PROBLEM_DATA_LEAKED, WHERE_DATA_SM, NO_BLOCK, 1000, 1003);
	differs(0, 0, 0, 3);
	told(1, PROBLEM_DATA_LEAKED, WHERE_DATA_SM, NO_BLOCK, 2000, 2001);
	CU_ASSERT_EQUAL(checked.data_used, 3 * PER_LEAF - 6 + 4);
	image_close();
}

/* Blocks 10..19 lack one, 20 has one more, 21 lacks one, and 22 has two more. */
static void neighbours(void)
{
	start();
	for (unsigned b = 10; b < 20; b++)
		data_counts[b] = 0;
	data_counts[20] = 2;
	data_counts[21] = 0;
	data_counts[22] = 3;
	space_maps();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 8);
	told(0, PROBLEM_DATA_COUNT_LOW, WHERE_DATA_SM, NO_BLOCK, 10, 20);
	differs(0, 1, 0, 10);
	told(1, PROBLEM_DATA_COUNT_HIGH, WHERE_DATA_SM, NO_BLOCK, 20, 21);
	told(2, PROBLEM_DATA_COUNT_LOW, WHERE_DATA_SM, NO_BLOCK, 21, 22);
	told(3, PROBLEM_DATA_COUNT_HIGH, WHERE_DATA_SM, NO_BLOCK, 22, 23);
	touches(4, PROBLEM_DATA_COUNT_LOW, 1, 10, 20);
	touches(5, PROBLEM_DATA_COUNT_HIGH, 1, 20, 21);
	touches(6, PROBLEM_DATA_COUNT_LOW, 1, 21, 22);
	touches(7, PROBLEM_DATA_COUNT_HIGH, 1, 22, 23);
	image_close();
}

/* --- counts of metadata --- */

static void leaf_count_low(void)
{
	start();
	meta_counts[LEAF_OF_BOTH] = 1;
	space_maps();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 3);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_META_COUNT_LOW);
	CU_ASSERT_EQUAL(image.told.p[0].where, WHERE_MAPPINGS);
	CU_ASSERT_EQUAL(image.told.p[0].block, LEAF_OF_BOTH);
	differs(0, 2, 1, 1);
	touches(1, PROBLEM_META_COUNT_LOW, 1, 100, UINT64_MAX);
	touches(2, PROBLEM_META_COUNT_LOW, 2, 100, UINT64_MAX);
	image_close();
}

static void node_count_high(void)
{
	start();
	meta_counts[ROOT2] = 4;
	space_maps();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 2);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_META_COUNT_HIGH);
	CU_ASSERT_EQUAL(image.told.p[0].block, ROOT2);
	differs(0, 1, 4, 1);
	touches(1, PROBLEM_META_COUNT_HIGH, 2, 0, UINT64_MAX);
	image_close();
}

/* Each block that the pool stands on, by the name of its structure. */
static void each_meta_count(void)
{
	static const struct {
		uint64_t block;
		enum problem_where where;
	} all[] = {
		{ 0, WHERE_SUPERBLOCK }, { META_INDEX, WHERE_META_SM }, { META_BITMAP, WHERE_META_SM },
		{ META_COUNTS, WHERE_META_COUNTS }, { DATA_INDEX, WHERE_DATA_SM }, { DATA_COUNTS, WHERE_DATA_COUNTS },
		{ DETAILS, WHERE_DETAILS }, { TOP, WHERE_TOP }, { ROOT1, WHERE_MAPPINGS }, { LEAF2, WHERE_MAPPINGS },
		{ HELD, WHERE_HELD }, { HELD_ROOT, WHERE_MAPPINGS },
	};

	for (unsigned i = 0; i < LEN(all); i++) {
		start();
		add_snapshot();
		meta_counts[all[i].block] = 0;
		space_maps();
		image_set(0, 56, 8, HELD);
		run();
		CU_ASSERT_EQUAL(nr_of(PROBLEM_META_COUNT_LOW, false), 1);
		CU_ASSERT_EQUAL(image.told.p[0].where, all[i].where);
		CU_ASSERT_EQUAL(image.told.p[0].block, all[i].block);
		differs(0, 1, 0, 1);
		image_close();
	}
}

static void meta_leaked(void)
{
	start();
	meta_counts[33] = meta_counts[34] = meta_counts[63] = 1;
	space_maps();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 2);
	told(0, PROBLEM_META_LEAKED, WHERE_META_SM, NO_BLOCK, 33, 35);
	told(1, PROBLEM_META_LEAKED, WHERE_META_SM, NO_BLOCK, 63, 64);
	CU_ASSERT_EQUAL(checked.metadata_used, 19);
	image_close();
}

static void nr_allocated(void)
{
	for (int off = -2; off <= 2; off++) {
		start();
		image_set(0, 72, 8, (uint64_t)(3 * PER_LEAF - 6 + off));
		image_set(0, 200, 8, (uint64_t)(16 - off));
		run();
		CU_ASSERT_EQUAL(nr_of(PROBLEM_SM_USED, false), off * off == 4 ? 2 : 0);
		CU_ASSERT_EQUAL(image.told.nr, off * off == 4 ? 2 : 0);
		image_close();
	}
}

/* --- where something is hidden --- */

static void dead_leaf_hides_data(void)
{
	start();
	data_counts[2 * ENTRIES + 3] = 0; /* of LEAF2 */
	data_counts[1000] = 1;
	meta_counts[33] = 1;
	space_maps();
	image_at(LEAF_OF_BOTH)[100] ^= 1;
	run();
	CU_ASSERT_EQUAL(nr_of(PROBLEM_BLOCK_CHECKSUM, false), 2); /* for each device */
	CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_COUNT_LOW, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_COUNT_LOW, true), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_COUNTS_UNKNOWN, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_META_LEAKED, false), 1);
	CU_ASSERT_EQUAL(image.told.nr, 6);
	told(2, PROBLEM_DATA_COUNT_LOW, WHERE_DATA_SM, NO_BLOCK, 2 * ENTRIES + 3, 2 * ENTRIES + 4);
	CU_ASSERT_EQUAL(image.told.p[3].count, PER_LEAF + 1);
	image_close();
}

static void dead_node_hides_both(void)
{
	start();
	meta_counts[33] = 1;
	meta_counts[LEAF2] = 0;
	space_maps();
	image_at(ROOT1)[100] ^= 1;
	run();
	CU_ASSERT_EQUAL(nr_of(PROBLEM_BLOCK_CHECKSUM, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_COUNTS_UNKNOWN, false), 2);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_META_COUNT_LOW, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_META_COUNT_LOW, true), 1);
	CU_ASSERT_EQUAL(image.told.nr, 5);
	image_close();
}

/* Bitmaps below it are not leaked. */
static void dead_index_leaf_hides_bitmaps(void)
{
	start();
	index_in_two_levels();
	run();
	CU_ASSERT_EQUAL(image.told.nr, nr_of(PROBLEM_NODE_UNDERFULL, false));
	image_at(INDEX_HIGH)[100] ^= 1;
	CU_ASSERT_EQUAL(bufio_client_reset(image.reader.client), 0);
	run();
	CU_ASSERT_EQUAL(nr_of(PROBLEM_BLOCK_CHECKSUM, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_META_LEAKED, false), 0);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_COUNTS_UNKNOWN, false), 1);
	image_close();
}

/* Leaves below the damaged root of the metadata's own tree of counts are not leaked. */
static void dead_counts_hide_leaves(void)
{
	start();
	meta_counts[META_COUNTS_LOW] = meta_counts[META_COUNTS_HIGH] = 1;
	space_maps();
	image_node(META_COUNTS_LOW, PD_NODE_LEAF, 1, 336, 4);
	image_node(META_COUNTS_HIGH, PD_NODE_LEAF, 1, 336, 4);
	image_node(META_COUNTS, PD_NODE_INTERNAL, 2, 252, 8);
	image_entry(META_COUNTS, 0, 0, META_COUNTS_LOW, 8);
	image_entry(META_COUNTS, 1, 50, META_COUNTS_HIGH, 8);
	image_at(META_COUNTS)[100] ^= 1;
	run();
	CU_ASSERT_EQUAL(nr_of(PROBLEM_BLOCK_CHECKSUM, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_META_LEAKED, false), 0);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_COUNTS_UNKNOWN, false), 1);
	image_close();
}

/* What a wrong pointer leads to: its blocks are free, and its times are of another time. */
static void misplaced_leaf(void)
{
	start();
	data_counts[3] = 0;
	space_maps();
	mapping_leaf(ELSEWHERE, 50, 2 * ENTRIES + 500, TIME + 20);
	mapping_root(ROOT2, LEAF2, ELSEWHERE);
	run();
	CU_ASSERT_EQUAL(nr_of(PROBLEM_NODE_KEY_RANGE, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_COUNT_LOW, false), 1);
	told(1, PROBLEM_DATA_COUNT_LOW, WHERE_DATA_SM, NO_BLOCK, 3, 4);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_SB_TIME, false), 0);
	CU_ASSERT_EQUAL(checked.nr_mappings, 3 * PER_LEAF);
	image_close();
}

static void no_root(void)
{
	start();
	image_node(TOP, PD_NODE_LEAF, 1, 252, 8);
	image_entry(TOP, 0, 2, ROOT2, 8);
	run();
	CU_ASSERT_EQUAL(nr_of(PROBLEM_DEVICE_MAPPINGS, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_LEAKED, false), 0);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_COUNT_HIGH, false), 0);
	CU_ASSERT_EQUAL(checked.nr_devices, 2);
	image_close();
}

static void beyond_data(void)
{
	start();
	map(LEAF1, 4, NR_DATA);
	run();
	CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_BEYOND, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_LEAKED, false), 0); /* what it should map may be the one that is counted */
	CU_ASSERT_EQUAL(nr_of(PROBLEM_COUNTS_UNKNOWN, false), 1);
	CU_ASSERT_EQUAL(image.told.nr, 2);
	image_close();
}

/* --- times --- */

static void time_of_mapping(void)
{
	for (unsigned time = TIME; time <= TIME + 2; time++) {
		start();
		mapping_leaf(LEAF1, 0, 0, time);
		run();
		CU_ASSERT_EQUAL(image.told.nr, time > TIME);
		if (image.told.nr) {
			CU_ASSERT_EQUAL(image.told.last.code, PROBLEM_SB_TIME);
			CU_ASSERT_EQUAL(image.told.last.expected, time);
			CU_ASSERT_EQUAL(image.told.last.found, TIME);
		}
		image_close();
	}
}

static void time_of_device(void)
{
	start();
	details(DETAILS, 0, 2, 1, TIME + 1);
	details(DETAILS, 1, 2, 2, 0); /* made at time 1 */
	run();
	CU_ASSERT_EQUAL(image.told.nr, 2);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_SB_TIME, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_DEVICE_TIMES, false), 1);
	image_close();
}

/* --- the metadata snapshot --- */

static void snapshot_leaf_dead(void)
{
	start();
	add_snapshot();
	image_at(HELD_LEAF)[100] ^= 1;
	run();
	CU_ASSERT_EQUAL(image.told.nr, 2);
	CU_ASSERT_EQUAL(image.told.p[0].where, WHERE_HELD_TREES);
	CU_ASSERT_EQUAL(problem_severity(&image.told.p[0]), SEVERITY_REPAIRABLE);
	told(1, PROBLEM_COUNTS_UNKNOWN, WHERE_DATA_SM, NO_BLOCK, 0, 0);
	CU_ASSERT_EQUAL(image.told.p[1].count, PER_LEAF);
	image_close();
}

static void snapshot_dead(void)
{
	start();
	add_snapshot();
	image_at(HELD)[100] ^= 1;
	run();
	CU_ASSERT_EQUAL(image.told.p[0].where, WHERE_HELD);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_BLOCK_CHECKSUM, false), 1);
	CU_ASSERT_EQUAL(nr_of(PROBLEM_COUNTS_UNKNOWN, false), 2);
	CU_ASSERT_EQUAL(image.told.nr, 3);
	image_close();
}

static void snapshot_shares_damage(void)
{
	start();
	add_snapshot();
	image_at(LEAF_OF_BOTH)[100] ^= 1;
	run();
	CU_ASSERT_EQUAL(nr_of(PROBLEM_BLOCK_CHECKSUM, false), 2); /* of the devices 1 and 2 */
	CU_ASSERT_EQUAL(image.told.p[0].where, WHERE_MAPPINGS);
	CU_ASSERT_EQUAL(image.told.p[1].where, WHERE_MAPPINGS);
	image_close();
}

/* What only the snapshot has is told, but no device stands on it. */
static void snapshot_counts(void)
{
	start();
	add_snapshot();
	data_counts[310] = 0;
	space_maps();
	image_set(0, 56, 8, HELD);
	run();
	CU_ASSERT_EQUAL(image.told.nr, 1);
	told(0, PROBLEM_DATA_COUNT_LOW, WHERE_DATA_SM, NO_BLOCK, 310, 311);
	image_close();
}

/* --- several passes --- */

static void wrong_here_and_there(void)
{
	data_counts[3] = 0;
	data_counts[1000] = 1;
	data_counts[ENTRIES - 1] = 2;
	data_counts[ENTRIES] = 4;
	data_counts[2 * ENTRIES + 999] = 1;
	meta_counts[33] = 1;
	space_maps();
}

static void wrong_and_dead(void)
{
	wrong_here_and_there();
	image_at(LEAF_OF_BOTH)[100] ^= 1;
	image_at(DATA_BITMAP)[100] ^= 1;
}

static void wrong_and_misplaced(void)
{
	wrong_here_and_there();
	mapping_leaf(ELSEWHERE, 50, 2 * ENTRIES + 500, 1);
	mapping_root(ROOT2, LEAF2, ELSEWHERE);
}

static void index_leaf_dead(void)
{
	index_in_two_levels();
	image_at(INDEX_LOW)[100] ^= 1;
}

static void counts_dead(void)
{
	image_at(DATA_COUNTS)[100] ^= 1;
}

static void passes_say_the_same(void (*make)(void))
{
	static struct image first;

	start();
	make();
	run();
	CU_ASSERT_EQUAL(checked.passes, 1);
	first = image;
	image_close();
	start();
	make();
	CU_ASSERT_EQUAL(check((struct thin_check){ .memory = thin_check_least_memory() }), 0);
	CU_ASSERT_TRUE(checked.passes > 1 && checked.passes <= NR_BITMAPS); /* not for what lies behind the last mapping */
	CU_ASSERT_EQUAL(image.told.nr, first.told.nr);
	for (unsigned i = 0; i < first.told.nr && i < image.told.nr && i < IMAGE_MAX_TOLD; i++) {
		const struct problem *p = &image.told.p[i], *q = &first.told.p[i];

		CU_ASSERT_EQUAL(p->code, q->code);
		CU_ASSERT_EQUAL(p->is_touch, q->is_touch);
		CU_ASSERT_EQUAL(p->block, q->block);
		CU_ASSERT_EQUAL(p->dev_id, q->dev_id);
		CU_ASSERT_EQUAL(p->begin, q->begin);
		CU_ASSERT_EQUAL(p->end, q->end);
		CU_ASSERT_EQUAL(p->expected, q->expected);
		CU_ASSERT_EQUAL(p->found, q->found);
		CU_ASSERT_EQUAL(p->count, q->count);
	}
	image_close();
}

static void several_passes(void)
{
	static void (*const make[])(void) = {
		space_maps, add_snapshot, wrong_here_and_there, wrong_and_dead, wrong_and_misplaced, index_leaf_dead, counts_dead,
	};

	for (unsigned i = 0; i < LEN(make); i++)
		passes_say_the_same(make[i]);
}

static void memory(void)
{
	struct thin_pool pool;

	start();
	CU_ASSERT_EQUAL(check((struct thin_check){ .memory = thin_check_least_memory() / 2 }), -ENOMEM);
	CU_ASSERT_EQUAL_FATAL(thin_pool_open(&pool, image.reader.client, &image.told.sink), 0);
	CU_ASSERT_EQUAL(check((struct thin_check){ .memory = thin_check_enough_memory(&pool) }), 0);
	CU_ASSERT_EQUAL(checked.passes, 1);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_TRUE(thin_check_bytes(&pool) >= NR_BLOCKS);
	image_close();
}

/* --- a part of it --- */

static void without_mappings(void)
{
	start();
	image_at(ROOT1)[100] ^= 1;
	image_at(DATA_BITMAP)[100] ^= 1;
	CU_ASSERT_EQUAL(check((struct thin_check){ .skip_mappings = true }), 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(checked.nr_devices, 2);
	CU_ASSERT_EQUAL(checked.nr_mappings, 0);
	CU_ASSERT_EQUAL(checked.passes, 0);
	image_close();
}

static void without_space_maps(void)
{
	start();
	image_at(LEAF2)[100] ^= 1;
	image_at(DATA_BITMAP)[100] ^= 1;
	CU_ASSERT_EQUAL(check((struct thin_check){ .skip_space_maps = true }), 0);
	CU_ASSERT_EQUAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.last.block, LEAF2);
	CU_ASSERT_EQUAL(checked.nr_mappings, 3 * PER_LEAF);
	image_close();
}

/* --- fixing --- */

static void write_out(void)
{
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(image.reader.client), 0);
	CU_ASSERT_EQUAL(bufio_client_reset(image.reader.client), 0);
}

static void fixes(void)
{
	for (unsigned i = 0; i < 2; i++) {
		start();
		data_counts[1000] = data_counts[ENTRIES + 1000] = data_counts[NR_DATA - 1] = 1;
		meta_counts[33] = meta_counts[63] = 2;
		space_maps();
		le_store(data_hints(1) + 8, 4, 0);
		pd_block_seal(image_at(DATA_INDEX), PD_NODE, DATA_INDEX);
		image_set(0, 72, 8, 3);
		CU_ASSERT_EQUAL(check((struct thin_check){ .is_fixing = true, .memory = i ? thin_check_least_memory() : 0 }), 0);
		CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_LEAKED, false), 3);
		CU_ASSERT_EQUAL(nr_of(PROBLEM_META_LEAKED, false), 2);
		CU_ASSERT_EQUAL(nr_of(PROBLEM_SM_STRANDED, false), 1);
		CU_ASSERT_EQUAL(checked.data_used, 3 * PER_LEAF - 6);
		CU_ASSERT_EQUAL(checked.metadata_used, 16);
		write_out();
		run();
		CU_ASSERT_EQUAL(image.told.nr, 0);
		CU_ASSERT_EQUAL(le_load(image_at(0) + 72, 8), 3 * PER_LEAF - 6);
		CU_ASSERT_EQUAL(le_load(image_at(0) + 200, 8), 16);
		image_close();
	}
}

static void fixes_nothing_else(void)
{
	static uint8_t before[NR_BLOCKS * PD_BLOCK_SIZE];
	struct bufio_stats s;

	start();
	add_snapshot();
	memcpy(before, image_at(0), sizeof(before));
	CU_ASSERT_EQUAL(check((struct thin_check){ .is_fixing = true }), 0);
	write_out();
	bufio_get_stats(image.reader.client, &s);
	CU_ASSERT_EQUAL(s.blocks_written, 0);
	CU_ASSERT_EQUAL(memcmp(before, image_at(0), sizeof(before)), 0);
	image_close();
}

/*
 * Read number n fails, once: a leaf that was not there when data was counted, and is when it is judged, must not make its
 * blocks free. Whatever happens, what comes out is as sound as what went in.
 */
static void every_fault(bool is_fixing, uint64_t least_memory)
{
	for (uint64_t n = 1;; n++) {
		bool is_over;
		int r;

		start();
		add_snapshot();
		image.plan.fail_at = n + 1; /* the superblock is read when the pool is opened */
		r = check((struct thin_check){ .is_fixing = is_fixing, .memory = least_memory });
		is_over = image.plan.count <= n;
		CU_ASSERT_TRUE(r == 0 || r == -EIO);
		CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_LEAKED, false), 0);
		CU_ASSERT_EQUAL(nr_of(PROBLEM_META_LEAKED, false), 0);
		CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_COUNT_HIGH, false), 0);
		CU_ASSERT_EQUAL(nr_of(PROBLEM_META_COUNT_HIGH, false), 0);
		CU_ASSERT_EQUAL(nr_of(PROBLEM_DATA_COUNT_LOW, false), 0);
		CU_ASSERT_EQUAL(nr_of(PROBLEM_META_COUNT_LOW, false), 0);
		image.plan.fail_at = 0;
		write_out();
		run();
		CU_ASSERT_EQUAL(image.told.nr, 0);
		image_close();
		if (is_over)
			break;
	}
}

static void faults(void)
{
	every_fault(false, 0);
	every_fault(false, thin_check_least_memory());
}

static void faults_while_fixing(void)
{
	every_fault(true, 0);
	every_fault(true, thin_check_least_memory());
}

static const struct unit_case cases[] = {
	{ "of a sound pool nothing is said, and everything is counted", sound_pool },
	{ "a sound pool with a metadata snapshot is sound", sound_with_snapshot },
	{ "a metadata snapshot of what is still live is one more pointer to its roots", snapshot_of_now },
	{ "each block is read once", each_block_read_once },
	{ "a data block with too low a count is told, and the virtual blocks that stand on it, of each device", data_count_low },
	{ "so is one with too high a count", data_count_high },
	{ "large counts are compared, and neighbours that stand on one block are told together", large_data_count },
	{ "data blocks that nothing maps are leaked, whatever their counts", data_leaked },
	{ "neighbours that differ in the same way are one problem", neighbours },
	{ "a shared leaf with too low a count is told, and for each device the virtual blocks below it", leaf_count_low },
	{ "the root of a device is told with all of the device", node_count_high },
	{ "counts of metadata are told with the structure of the block", each_meta_count },
	{ "metadata that nothing leads to is leaked", meta_leaked },
	{ "the number of used blocks may be one off", nr_allocated },
	{ "behind a dead leaf larger counts of data are not compared; smaller ones are, and all of metadata",
	  dead_leaf_hides_data },
	{ "behind a dead node larger counts of metadata are not compared either", dead_node_hides_both },
	{ "bitmaps below a dead leaf of the index are not leaked", dead_index_leaf_hides_bitmaps },
	{ "leaves of the metadata's own counts below a dead node are not leaked", dead_counts_hide_leaves },
	{ "what a wrong pointer leads to is not counted, and its times are nobody's", misplaced_leaf },
	{ "what a device without mappings has lost is not leaked", no_root },
	{ "mappings beyond the data device are told, and what they should map is not called leaked", beyond_data },
	{ "the superblock's time may not be behind that of a mapping", time_of_mapping },
	{ "nor behind that of a device, nor a device's own snapshot before it", time_of_device },
	{ "what only the metadata snapshot loses is told as its own", snapshot_leaf_dead },
	{ "a dead metadata snapshot hides what it has", snapshot_dead },
	{ "damage that the metadata snapshot shares is told of the pool", snapshot_shares_damage },
	{ "counts of what only the metadata snapshot has are compared", snapshot_counts },
	{ "several passes say what one says", several_passes },
	{ "too little memory is refused, and enough is enough for one pass", memory },
	{ "without mappings only the devices are looked at", without_mappings },
	{ "without space maps only the trees are", without_space_maps },
	{ "leaks, hints and numbers of used blocks are mended, and then nothing is said", fixes },
	{ "where nothing is wrong nothing is written", fixes_nothing_else },
	{ "read number n fails, for every n: nothing is said of counts that is not so", faults },
	{ "read number n fails, for every n: nothing that is in use becomes free", faults_while_fixing },
	{ NULL, NULL },
};

const struct unit_suite thin_check_suite = { "thin_check", cases };
