// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "pdata/space_map_check.h"
#include "unit.h"

#define NR_BLOCKS 64
#define ENTRIES ((uint64_t)PD_BITMAP_ENTRIES)
#define SIZE (2 * ENTRIES + 1000) /* of the map */
#define NR_BITMAPS 3
#define LEN(table) (sizeof(table) / sizeof(*(table)))
#define PLENTY (UINT64_C(16) << 20)

/* Where the blocks of the map are. */
enum { INDEX = 1, COUNTS = 2, INDEX_LOW = 3, INDEX_HIGH = 4, COUNTS_LOW = 5, COUNTS_HIGH = 6, BITMAP = 10 };

static uint32_t stored[SIZE], expected[SIZE];
static bool is_metadata;

/* What the last check said. */
#define MAX_DIFFERENCES 16

static struct {
	unsigned nr;
	struct difference {
		uint64_t block, expected, stored;
	} all[MAX_DIFFERENCES];
	unsigned windows;
	bool out_of_order;
} differ;

static struct pd_sm_check check;
static bool (*is_to_be_set)(uint64_t block);

/* --- making a map --- */

static void set_bits(uint8_t *bitmap, unsigned i, uint32_t count)
{
	unsigned c = count < 3 ? count : 3;

	bitmap[16 + i / 4] = (uint8_t)(bitmap[16 + i / 4] | ((c & 1) << 1 | c >> 1) << i % 4 * 2);
}

static void seal_index(uint64_t block)
{
	pd_block_seal(image_at(block), is_metadata ? PD_INDEX : PD_NODE, block);
}

/* The entry of bitmap @i, in the index block or in the only leaf. */
static uint8_t *hints_of(unsigned i)
{
	return image_at(INDEX) + (is_metadata ? 16 : 32 + 8 * 168) + 16 * (size_t)i;
}

static void set_hints(unsigned i, uint32_t nr_free, uint32_t none_free_before)
{
	le_store(hints_of(i) + 8, 4, nr_free);
	le_store(hints_of(i) + 12, 4, none_free_before);
	seal_index(INDEX);
}

static unsigned entries_of(unsigned i)
{
	return i < NR_BITMAPS - 1 ? (unsigned)ENTRIES : (unsigned)(SIZE % ENTRIES);
}

static void write_bitmap(unsigned i)
{
	uint8_t *b = image_at(BITMAP + i);
	uint32_t used = 0, first = entries_of(i);

	memset(b, 0, PD_BLOCK_SIZE);
	for (unsigned e = entries_of(i); e-- > 0;) {
		set_bits(b, e, stored[i * ENTRIES + e]);
		used += stored[i * ENTRIES + e] != 0;
		if (!stored[i * ENTRIES + e])
			first = e;
	}
	pd_block_seal(b, PD_BITMAP, BITMAP + i);
	if (!is_metadata)
		image_entry(INDEX, i, i, BITMAP + i, 8);
	le_store(hints_of(i), 8, BITMAP + i);
	set_hints(i, entries_of(i) - used, first);
}

static void index_node(uint64_t block, unsigned first, unsigned nr)
{
	image_node(block, 2, nr, 168, 16);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, first + i, BITMAP + first + i, 8);
	memcpy(image_at(block) + 32 + 8 * 168, hints_of(first), 16 * (size_t)nr);
	seal_index(block);
}

/* Instead of the one leaf: a root over two, bitmaps 0 and 1, and 2. */
static void index_in_two_levels(void)
{
	index_node(INDEX_LOW, 0, 2);
	index_node(INDEX_HIGH, 2, 1);
	image_node(INDEX, 1, 2, 252, 8);
	image_entry(INDEX, 0, 0, INDEX_LOW, 8);
	image_entry(INDEX, 1, 2, INDEX_HIGH, 8);
}

static void large_count(uint64_t leaf, uint64_t block, uint32_t count)
{
	unsigned nr = (unsigned)le_load(image_at(leaf) + 16, 4);

	le_store(image_at(leaf) + 16, 4, nr + 1);
	image_entry(leaf, nr, block, count, 4);
}

static void write_counts(uint64_t leaf, uint64_t begin, uint64_t end)
{
	image_node(leaf, 2, 0, 336, 4);
	for (uint64_t block = begin; block < end; block++)
		if (stored[block] >= 3)
			large_count(leaf, block, stored[block]);
}

/* Instead of the one leaf: a root over two, below and from ENTRIES on. */
static void counts_in_two_levels(void)
{
	write_counts(COUNTS_LOW, 0, ENTRIES);
	write_counts(COUNTS_HIGH, ENTRIES, SIZE);
	image_node(COUNTS, 1, 2, 252, 8);
	image_entry(COUNTS, 0, 0, COUNTS_LOW, 8);
	image_entry(COUNTS, 1, ENTRIES, COUNTS_HIGH, 8);
}

static void write_map(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 4 * (PD_MAX_DEPTH + 1));
	if (!is_metadata)
		image_node(INDEX, 2, NR_BITMAPS, 168, 16);
	for (unsigned i = 0; i < NR_BITMAPS; i++)
		write_bitmap(i);
	write_counts(COUNTS, 0, SIZE);
}

/* Blocks 0..99 have 1, some here and there have more; so many that all that counts is near the borders of bitmaps. */
static void fill(void)
{
	static const struct {
		uint64_t block;
		uint32_t count;
	} some[] = {
		{ 3, 2 }, { 10, 3 }, { 11, 70000 }, { 500, 1 }, { ENTRIES - 1, 4 }, { ENTRIES, 5 }, { ENTRIES + 40, 1 },
		{ 2 * ENTRIES - 1, 1 }, { 2 * ENTRIES + 7, 3 }, { SIZE - 1, 9 },
	};

	memset(stored, 0, sizeof(stored));
	for (unsigned i = 0; i < 100; i++)
		stored[i] = 1;
	for (unsigned i = 0; i < LEN(some); i++)
		stored[some[i].block] = some[i].count;
	memcpy(expected, stored, sizeof(expected));
}

static void start(bool metadata)
{
	is_metadata = metadata;
	is_to_be_set = NULL;
	fill();
	write_map();
}

/* --- checking it --- */

static bool note_difference(struct pd_sm_check *c, uint64_t block, uint64_t is_expected, uint64_t is_stored)
{
	CU_ASSERT_PTR_EQUAL(c->context, &differ);
	differ.out_of_order |= differ.nr && differ.nr < MAX_DIFFERENCES && differ.all[differ.nr - 1].block >= block;
	if (differ.nr < MAX_DIFFERENCES)
		differ.all[differ.nr] = (struct difference){ block, is_expected, is_stored };
	differ.nr++;
	return is_to_be_set && is_to_be_set(block);
}

static void expect_counts(struct pd_counts *c)
{
	for (uint64_t block = c->begin; block < c->end; block++)
		for (uint32_t n = 0; n < expected[block] && n < 70000; n++)
			CU_ASSERT_EQUAL_FATAL(pd_counts_add(c, &block, 1), 0);
}

/* In windows of so much memory; @pointers may be NULL. */
static void run_in(uint64_t memory, bool is_fixing, struct pd_counts *pointers)
{
	struct pd_counts counts;

	CU_ASSERT_EQUAL_FATAL(pd_counts_create(&counts, SIZE, memory), 0);
	memset(&differ, 0, sizeof(differ));
	check = (struct pd_sm_check){
		.reader = &image.reader, .root = { SIZE, 0, INDEX, COUNTS }, .is_metadata = is_metadata,
		.expected = &counts, .pointers = pointers, .differs = note_difference, .context = &differ,
		.is_fixing = is_fixing,
	};
	do {
		expect_counts(&counts);
		CU_ASSERT_EQUAL(pd_sm_check_window(&check), 0);
		differ.windows++;
	} while (pd_counts_next(&counts));
	CU_ASSERT_FALSE(differ.out_of_order);
	pd_counts_destroy(&counts);
}

static void run(void)
{
	run_in(PLENTY, false, NULL);
}

static uint64_t nr_stored(void)
{
	uint64_t nr = 0;

	for (uint64_t block = 0; block < SIZE; block++)
		nr += stored[block] != 0;
	return nr;
}

static void says_nothing(void)
{
	CU_ASSERT_EQUAL(differ.nr, 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(check.nr_stranded, 0);
	CU_ASSERT_EQUAL(check.nr_unknown, 0);
}

static void told(unsigned i, enum problem_code code, uint64_t block, uint64_t begin, uint64_t end)
{
	CU_ASSERT_TRUE_FATAL(i < image.told.nr);
	CU_ASSERT_EQUAL(image.told.p[i].code, code);
	CU_ASSERT_EQUAL(image.told.p[i].block, block);
	CU_ASSERT_EQUAL(image.told.p[i].begin, begin);
	CU_ASSERT_EQUAL(image.told.p[i].end, end);
	CU_ASSERT_EQUAL(image.told.p[i].dev_id, PROBLEM_NO_DEVICE);
}

static void only_told(enum problem_code code, enum problem_where data, enum problem_where metadata)
{
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.last.code, code);
	CU_ASSERT_EQUAL(image.told.last.where, is_metadata ? metadata : data);
}

static void differs(unsigned i, uint64_t block, uint64_t is_expected, uint64_t is_stored)
{
	CU_ASSERT_TRUE_FATAL(i < differ.nr);
	CU_ASSERT_EQUAL(differ.all[i].block, block);
	CU_ASSERT_EQUAL(differ.all[i].expected, is_expected);
	CU_ASSERT_EQUAL(differ.all[i].stored, is_stored);
}

/* --- no difference --- */

static void sound_maps(void)
{
	for (unsigned metadata = 0; metadata < 2; metadata++) {
		start(metadata);
		run();
		says_nothing();
		CU_ASSERT_EQUAL(check.nr_used, nr_stored());
		CU_ASSERT_EQUAL(image_blocks_read(), 1 + NR_BITMAPS + 1);
		image_close();
	}
}

static void sound_trees(void)
{
	start(false);
	index_in_two_levels();
	counts_in_two_levels();
	run();
	says_nothing();
	CU_ASSERT_EQUAL(image_blocks_read(), 3 + NR_BITMAPS + 3);
	image_close();
}

static void full_and_empty(void)
{
	for (uint32_t count = 0; count < 3; count++) {
		start(count == 1);
		for (uint64_t block = 0; block < SIZE; block++)
			stored[block] = expected[block] = count;
		image_close();
		write_map();
		run();
		says_nothing();
		CU_ASSERT_EQUAL(check.nr_used, count ? SIZE : 0);
		image_close();
	}
}

/* --- counts that differ --- */

static const uint64_t places[] = { 0, 33, 500, ENTRIES - 1, ENTRIES, 2 * ENTRIES + 7, SIZE - 1 };
static const uint32_t sizes[] = { 0, 1, 2, 3, 4, 1000 };

static void one_differs(uint64_t block, uint32_t is_stored, uint32_t is_expected)
{
	fill();
	stored[block] = is_stored;
	expected[block] = is_expected;
	write_map();
	run();
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(differ.nr, is_stored != is_expected);
	if (differ.nr)
		differs(0, block, is_expected, is_stored);
	CU_ASSERT_EQUAL(check.nr_used, nr_stored());
	image_close();
}

static void each_difference(void)
{
	for (unsigned p = 0; p < LEN(places); p++)
		for (unsigned i = 0; i < LEN(sizes) * LEN(sizes); i++) {
			is_metadata = (p + i) % 2;
			one_differs(places[p], sizes[i % LEN(sizes)], sizes[i / LEN(sizes)]);
		}
}

static void several_differ(void)
{
	start(false);
	for (unsigned i = 0; i < LEN(places); i++)
		expected[places[i]] += i + 1;
	run();
	CU_ASSERT_EQUAL(differ.nr, LEN(places));
	for (unsigned i = 0; i < LEN(places); i++)
		differs(i, places[i], stored[places[i]] + i + 1, stored[places[i]]);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* --- the tree of large counts --- */

static void count_is_missing(void)
{
	for (unsigned metadata = 0; metadata < 2; metadata++) {
		start(metadata);
		expected[11] = 1;
		expected[ENTRIES] = 1;
		image_node(COUNTS, 2, 0, 336, 4);
		large_count(COUNTS, 10, 3);
		large_count(COUNTS, ENTRIES, 5);
		run();
		CU_ASSERT_EQUAL(image.told.nr, 4);
		told(0, PROBLEM_SM_COUNT, PROBLEM_NO_BLOCK, 11, 12);
		told(1, PROBLEM_SM_COUNT, PROBLEM_NO_BLOCK, ENTRIES - 1, ENTRIES);
		told(2, PROBLEM_SM_COUNT, PROBLEM_NO_BLOCK, 2 * ENTRIES + 7, 2 * ENTRIES + 8);
		told(3, PROBLEM_SM_COUNT, PROBLEM_NO_BLOCK, SIZE - 1, SIZE);
		CU_ASSERT_EQUAL(image.told.p[0].where, metadata ? WHERE_META_COUNTS : WHERE_DATA_COUNTS);
		CU_ASSERT_EQUAL(differ.nr, 1);
		differs(0, ENTRIES, 1, 5);
		image_close();
	}
}

static void stray(uint64_t block)
{
	start(false);
	image_node(COUNTS, 2, 0, 336, 4);
	for (uint64_t b = 0; b < SIZE || b == block; b++)
		if (b == block || stored[b] >= 3)
			large_count(COUNTS, b, b == block ? 77 : stored[b]);
	if (block > SIZE)
		large_count(COUNTS, block, 77);
	run();
	only_told(PROBLEM_SM_STRAY, WHERE_DATA_COUNTS, WHERE_META_COUNTS);
	told(0, PROBLEM_SM_STRAY, COUNTS, block, block + 1);
	CU_ASSERT_EQUAL(image.told.last.found, block);
	CU_ASSERT_EQUAL(image.told.last.expected, 77);
	CU_ASSERT_EQUAL(differ.nr, 0);
	image_close();
}

static void strays(void)
{
	stray(0);
	stray(12);
	stray(600);
	stray(ENTRIES + 1);
	stray(2 * ENTRIES + 900);
	stray(SIZE);
	stray(SIZE + 5000000);
}

/* Counts of 3 and more that are lost are told once, as the leaf that had them, and nothing else is made of them. */
static void counts_are_lost(void)
{
	start(false);
	counts_in_two_levels();
	image_at(COUNTS_HIGH)[40] ^= 1;
	expected[500] = 2;
	expected[ENTRIES - 1] = 2;
	expected[ENTRIES] = 2;
	expected[2 * ENTRIES - 1] = 2;
	run();
	only_told(PROBLEM_BLOCK_CHECKSUM, WHERE_DATA_COUNTS, WHERE_META_COUNTS);
	told(0, PROBLEM_BLOCK_CHECKSUM, COUNTS_HIGH, ENTRIES, UINT64_MAX);
	CU_ASSERT_EQUAL(differ.nr, 3);
	differs(0, 500, 2, 1);
	differs(1, ENTRIES - 1, 2, 4);
	differs(2, 2 * ENTRIES - 1, 2, 1);
	CU_ASSERT_EQUAL(check.nr_used, nr_stored());
	image_close();
}

/* --- behind the last block --- */

static void tail(void)
{
	static const unsigned entries[] = { SIZE % ENTRIES, SIZE % ENTRIES + 1, ENTRIES - 1 };

	for (unsigned metadata = 0; metadata < 2; metadata++)
		for (unsigned e = 0; e < LEN(entries); e++)
			for (unsigned count = 1; count <= 3; count++) {
				start(metadata);
				set_bits(image_at(BITMAP + 2), entries[e], count);
				pd_block_seal(image_at(BITMAP + 2), PD_BITMAP, BITMAP + 2);
				run();
				only_told(PROBLEM_SM_TAIL, WHERE_DATA_SM, WHERE_META_SM);
				told(0, PROBLEM_SM_TAIL, BITMAP + 2, SIZE, 3 * ENTRIES);
				CU_ASSERT_EQUAL(image.told.last.found, 2);
				CU_ASSERT_EQUAL(differ.nr, 0);
				CU_ASSERT_EQUAL(check.nr_used, nr_stored());
				image_close();
			}
}

/* --- hints --- */

/* Of bitmap 2: blocks 7 and 999 are used, of 1000. Of bitmap 0: all from 100 on are free but two. */
static const struct hint {
	unsigned bitmap;
	uint32_t nr_free, none_free_before;
	bool is_told;
	unsigned stranded;
} hints[] = {
	{ 2, 998, 0, false, 0 },
	{ 2, 997, 0, false, 0 },
	{ 2, 999, 0, false, 0 },
	{ 2, 996, 0, true, 0 },
	{ 2, 1000, 0, true, 0 },
	{ 2, 998 + ENTRIES - 1000, 0, false, 0 }, /* the whole bitmap */
	{ 2, 998 + ENTRIES - 999, 0, true, 0 },
	{ 2, UINT32_MAX, 0, true, 0 },
	{ 2, 0, 0, true, 998 },
	{ 2, 998, 1, true, 1 },
	{ 2, 998, 8, true, 7 },
	{ 2, 998, 1000, true, 998 },
	{ 2, 998, 1001, true, 998 },
	{ 2, 998, UINT32_MAX, true, 998 },
	{ 0, ENTRIES - 102, 0, false, 0 },
	{ 0, ENTRIES - 102, 99, false, 0 },
	{ 0, ENTRIES - 102, 100, false, 0 },
	{ 0, ENTRIES - 102, 101, true, 1 },
	{ 0, ENTRIES - 102, 501, true, 400 },
	{ 0, 0, 100, true, ENTRIES - 102 },
};

static void run_with_hint(const struct hint *h)
{
	set_hints(h->bitmap, h->nr_free, h->none_free_before);
	run();
	CU_ASSERT_EQUAL(image.told.nr, h->is_told);
	CU_ASSERT_EQUAL(check.nr_stranded, h->stranded);
	CU_ASSERT_EQUAL(differ.nr, 0);
	if (!image.told.nr)
		return;
	only_told(PROBLEM_SM_HINTS, WHERE_DATA_SM, WHERE_META_SM);
	CU_ASSERT_EQUAL(image.told.last.count, h->bitmap);
	CU_ASSERT_EQUAL(image.told.last.found, h->nr_free);
	CU_ASSERT_EQUAL(image.told.last.expected, h->bitmap ? 998 : ENTRIES - 102);
	CU_ASSERT_EQUAL(image.told.last.block, BITMAP + h->bitmap);
}

static void wrong_hints(void)
{
	for (unsigned metadata = 0; metadata < 2; metadata++)
		for (unsigned i = 0; i < LEN(hints); i++) {
			start(metadata);
			run_with_hint(&hints[i]);
			image_close();
		}
}

/* The one free block: 0 is one less, which is no news, but the kernel does not find it. */
static void last_free_block(void)
{
	is_metadata = false;
	fill();
	for (uint64_t block = 0; block < SIZE; block++)
		stored[block] = expected[block] = block != 20;
	write_map();
	set_hints(0, 0, 0);
	run();
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(check.nr_stranded, 1);
	image_close();
}

static void full_bitmap_hints(void)
{
	static const struct {
		uint32_t nr_free, before;
		bool is_told;
	} all[] = { { 0, 0, false }, { 0, ENTRIES, false }, { 1, 5, false }, { 2, 0, true }, { 0, ENTRIES + 1, true } };

	for (unsigned i = 0; i < LEN(all); i++) {
		start(true);
		for (uint64_t block = 0; block < SIZE; block++)
			stored[block] = expected[block] = 1;
		image_close();
		write_map();
		set_hints(1, all[i].nr_free, all[i].before);
		run();
		CU_ASSERT_EQUAL(image.told.nr, all[i].is_told);
		CU_ASSERT_EQUAL(check.nr_stranded, 0);
		image_close();
	}
}

/* --- damage --- */

/* Differences around what is lost with bitmap 1. */
static void expect_around(void)
{
	expected[20] = 7;
	expected[ENTRIES - 1] = 7;
	expected[ENTRIES] = 7;
	expected[2 * ENTRIES - 1] = 7;
	expected[2 * ENTRIES] = 7;
}

static void differs_around(void)
{
	CU_ASSERT_EQUAL(differ.nr, 3);
	differs(0, 20, 7, 1);
	differs(1, ENTRIES - 1, 7, 4);
	differs(2, 2 * ENTRIES, 7, 0);
	CU_ASSERT_EQUAL(check.nr_unknown, 1);
	CU_ASSERT_EQUAL(check.nr_used, nr_stored() - 3);
}

static void bad_bitmap(void)
{
	for (unsigned metadata = 0; metadata < 2; metadata++) {
		start(metadata);
		expect_around();
		image_at(BITMAP + 1)[500] ^= 1;
		run();
		only_told(PROBLEM_BLOCK_CHECKSUM, WHERE_DATA_SM, WHERE_META_SM);
		told(0, PROBLEM_BLOCK_CHECKSUM, BITMAP + 1, ENTRIES, 2 * ENTRIES);
		CU_ASSERT_TRUE(image.told.last.is_leaf);
		differs_around();
		image_close();
	}
}

static void bitmap_not_in_index(void)
{
	start(false);
	expect_around();
	memcpy(hints_of(1), hints_of(2), 16);
	set_hints(1, 998, 7);
	le_store(image_at(INDEX) + 32 + 8, 8, 2);
	le_store(image_at(INDEX) + 16, 4, 2);
	seal_index(INDEX);
	set_hints(1, 998, 0);
	run();
	only_told(PROBLEM_SM_INDEX, WHERE_DATA_SM, WHERE_META_SM);
	told(0, PROBLEM_SM_INDEX, INDEX, ENTRIES, 2 * ENTRIES);
	CU_ASSERT_EQUAL(image.told.last.found, 1);
	differs_around();
	image_close();
}

static void last_bitmaps_not_in_index(void)
{
	start(false);
	expect_around();
	le_store(image_at(INDEX) + 16, 4, 1);
	seal_index(INDEX);
	run();
	only_told(PROBLEM_SM_INDEX, WHERE_DATA_SM, WHERE_META_SM);
	CU_ASSERT_EQUAL(image.told.last.begin, ENTRIES);
	CU_ASSERT_EQUAL(check.nr_unknown, 2);
	CU_ASSERT_EQUAL(differ.nr, 2);
	image_close();
}

/* Below a leaf of the index there are bitmaps: it does not count as one of the leaves that have nothing below. */
static void bad_index_leaf(void)
{
	start(false);
	expect_around();
	index_in_two_levels();
	image_at(INDEX_HIGH)[100] ^= 1;
	run();
	only_told(PROBLEM_BLOCK_CHECKSUM, WHERE_DATA_SM, WHERE_META_SM);
	told(0, PROBLEM_BLOCK_CHECKSUM, INDEX_HIGH, 2 * ENTRIES, SIZE);
	CU_ASSERT_FALSE(image.told.last.is_leaf);
	CU_ASSERT_EQUAL(check.nr_unknown, 1);
	CU_ASSERT_EQUAL(differ.nr, 4);
	image_close();
}

static void bad_index(void)
{
	for (unsigned metadata = 0; metadata < 2; metadata++) {
		start(metadata);
		expect_around();
		image_at(INDEX)[100] ^= 1;
		run();
		only_told(PROBLEM_BLOCK_CHECKSUM, WHERE_DATA_SM, WHERE_META_SM);
		told(0, PROBLEM_BLOCK_CHECKSUM, INDEX, 0, SIZE);
		CU_ASSERT_EQUAL(check.nr_unknown, NR_BITMAPS);
		CU_ASSERT_EQUAL(check.nr_used, 0);
		CU_ASSERT_EQUAL(differ.nr, 0);
		image_close();
	}
}

static void world_fails(void)
{
	for (unsigned n = 1; n <= 7; n++) {
		struct pd_counts counts;
		int r;

		start(n % 2);
		counts_in_two_levels();
		CU_ASSERT_EQUAL_FATAL(pd_counts_create(&counts, SIZE, PLENTY), 0);
		check = (struct pd_sm_check){
			.reader = &image.reader, .root = { SIZE, 0, INDEX, COUNTS }, .is_metadata = is_metadata,
			.expected = &counts, .differs = note_difference, .context = &differ,
		};
		image.plan.error = ENOMEM;
		image.plan.fail_at = n;
		image.plan.sticky = true;
		r = pd_sm_check_window(&check);
		CU_ASSERT_EQUAL(r, image.plan.count < n ? 0 : -ENOMEM);
		CU_ASSERT_EQUAL(image.told.nr, 0);
		pd_counts_destroy(&counts);
		image_close();
	}
}

/* --- several windows --- */

/* Everything that the checks say, one window after the other, is what one window says. */
static void windows_say_the_same(bool metadata, void (*make)(void))
{
	static struct image first;
	struct difference all[MAX_DIFFERENCES];
	struct pd_sm_check was;
	unsigned nr;

	start(metadata);
	make();
	run();
	CU_ASSERT_EQUAL(differ.windows, 1);
	first = image;
	was = check;
	nr = differ.nr;
	memcpy(all, differ.all, sizeof(all));
	image_close();

	start(metadata);
	make();
	run_in(pd_counts_least(), false, NULL);
	CU_ASSERT_EQUAL(differ.windows, NR_BITMAPS);
	CU_ASSERT_EQUAL(image.told.nr, first.told.nr);
	for (unsigned i = 0; i < first.told.nr && i < IMAGE_MAX_TOLD; i++) {
		const struct problem *p = &first.told.p[i];

		told(i, p->code, p->block, p->begin, p->end);
		CU_ASSERT_EQUAL(image.told.p[i].found, p->found);
		CU_ASSERT_EQUAL(image.told.p[i].expected, p->expected);
	}
	CU_ASSERT_EQUAL(differ.nr, nr);
	CU_ASSERT_EQUAL(memcmp(differ.all, all, sizeof(all)), 0);
	CU_ASSERT_EQUAL(check.nr_used, was.nr_used);
	CU_ASSERT_EQUAL(check.nr_stranded, was.nr_stranded);
	CU_ASSERT_EQUAL(check.nr_unknown, was.nr_unknown);
	image_close();
}

static void nothing_wrong(void)
{
}

static void much_wrong(void)
{
	expect_around();
	large_count(COUNTS, SIZE + 1, 7);
	set_hints(0, 7, 0);
	set_hints(2, 998, 8);
	set_bits(image_at(BITMAP + 2), ENTRIES - 1, 1);
	pd_block_seal(image_at(BITMAP + 2), PD_BITMAP, BITMAP + 2);
}

static void index_leaf_wrong(void)
{
	expect_around();
	index_in_two_levels();
	image_at(INDEX_LOW)[100] ^= 1;
}

static void index_leaf_wrong_too(void)
{
	expect_around();
	index_in_two_levels();
	image_at(INDEX_HIGH)[100] ^= 1;
}

static void index_wrong(void)
{
	expect_around();
	image_at(INDEX)[100] ^= 1;
}

static void bitmap_wrong(void)
{
	expect_around();
	image_at(BITMAP + 1)[100] ^= 1;
}

static void counts_wrong(void)
{
	expect_around();
	image_at(COUNTS)[100] ^= 1;
}

static void counts_leaf_wrong(void)
{
	expect_around();
	counts_in_two_levels();
	image_at(COUNTS_HIGH)[100] ^= 1;
}

static void counts_leaf_wrong_too(void)
{
	expect_around();
	counts_in_two_levels();
	image_at(COUNTS_LOW)[100] ^= 1;
}

static void pointer_wrong(void)
{
	index_in_two_levels();
	image_entry(INDEX, 0, 0, NR_BLOCKS + 7, 8);
}

static void index_gap(void)
{
	le_store(image_at(INDEX) + 16, 4, 1);
	seal_index(INDEX);
}

static void several_windows(void)
{
	static void (*const make[])(void) = {
		nothing_wrong, much_wrong, index_wrong, bitmap_wrong, counts_wrong, counts_leaf_wrong, counts_leaf_wrong_too,
		index_leaf_wrong, index_leaf_wrong_too, pointer_wrong, /* which metadata does not have */
	};

	for (unsigned i = 0; i < LEN(make); i++)
		windows_say_the_same(false, make[i]);
	for (unsigned i = 0; i < LEN(make) - 3; i++)
		windows_say_the_same(true, make[i]);
}

/* A gap that the index ends with is told once, by the window that it begins in: there is nothing to come. */
static void gap_in_windows(void)
{
	start(false);
	index_gap();
	run_in(pd_counts_least(), false, NULL);
	CU_ASSERT_EQUAL(image.told.nr, 1);
	told(0, PROBLEM_SM_INDEX, INDEX, ENTRIES, SIZE);
	CU_ASSERT_EQUAL(check.nr_unknown, 2);
	image_close();
}

/* --- references to the map's own blocks --- */

static void bitmaps_are_pointers(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct pd_counts pointers;

		start(false);
		image_at(BITMAP + 1)[100] ^= 1;
		CU_ASSERT_EQUAL_FATAL(pd_counts_create(&pointers, NR_BLOCKS, PLENTY), 0);
		run_in(i ? pd_counts_least() : PLENTY, false, &pointers);
		CU_ASSERT_EQUAL(differ.windows, i ? NR_BITMAPS : 1);
		for (uint64_t block = 0; block < NR_BLOCKS; block++)
			CU_ASSERT_EQUAL(pd_counts_get(&pointers, block), block >= BITMAP && block < BITMAP + NR_BITMAPS);
		pd_counts_destroy(&pointers);
		image_close();
	}
}

static struct {
	struct pd_observer o; /* first */
	unsigned entered[NR_BLOCKS];
} watch;

static void watch_entered(struct pd_observer *o, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c,
			  const struct pd_node *n)
{
	(void)o;
	(void)c;
	CU_ASSERT_EQUAL(ctx->where, WHERE_META_COUNTS);
	CU_ASSERT_PTR_NOT_NULL(n);
	watch.entered[block]++;
}

static void count_metadata(struct pd_counts *pointers, int expected_result)
{
	struct pd_sm_root root = { SIZE, 0, INDEX, COUNTS };

	memset(&watch, 0, sizeof(watch));
	watch.o.entered = watch_entered;
	image.reader.observer = &watch.o;
	CU_ASSERT_EQUAL_FATAL(pd_counts_create(pointers, NR_BLOCKS, PLENTY), 0);
	CU_ASSERT_EQUAL(pd_sm_count_metadata(&image.reader, &root, pointers), expected_result);
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void counts_metadata(void)
{
	struct pd_counts pointers;

	start(true);
	counts_in_two_levels();
	count_metadata(&pointers, 0);
	for (uint64_t block = 0; block < NR_BLOCKS; block++) {
		bool is_bitmap = block >= BITMAP && block < BITMAP + NR_BITMAPS;

		CU_ASSERT_EQUAL(pd_counts_get(&pointers, block), is_bitmap);
		CU_ASSERT_EQUAL(watch.entered[block], block == COUNTS || block == COUNTS_LOW || block == COUNTS_HIGH);
	}
	pd_counts_destroy(&pointers);
	image_close();
}

static void counts_damaged_metadata(void)
{
	struct pd_counts pointers;

	start(true);
	counts_in_two_levels();
	image_at(INDEX)[100] ^= 1;
	image_at(COUNTS_LOW)[100] ^= 1;
	count_metadata(&pointers, 1);
	for (uint64_t block = 0; block < NR_BLOCKS; block++)
		CU_ASSERT_EQUAL(pd_counts_get(&pointers, block), 0);
	CU_ASSERT_EQUAL(watch.entered[COUNTS_HIGH], 1);
	pd_counts_destroy(&pointers);
	image_close();
}

/* Below it there is nothing that was to be counted. */
static void counts_with_dead_leaf(void)
{
	struct pd_counts pointers;

	start(true);
	counts_in_two_levels();
	image_at(COUNTS_HIGH)[100] ^= 1;
	count_metadata(&pointers, 0);
	pd_counts_destroy(&pointers);
	image_close();
}

/* --- fixing --- */

static bool is_leak(uint64_t block)
{
	return !expected[block];
}

/* What was changed is on the device; and what is there now is read anew. */
static void write_out(void)
{
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(image.reader.client), 0);
	CU_ASSERT_EQUAL(bufio_client_reset(image.reader.client), 0);
	image.told.nr = 0;
}

static uint64_t blocks_written(void)
{
	struct bufio_stats s;

	bufio_get_stats(image.reader.client, &s);
	return s.blocks_written;
}

static void fixes_leaks(void)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t written;

		start(i % 2);
		expected[50] = expected[3] = expected[500] = expected[2 * ENTRIES - 1] = 0;
		expected[20] = 2; /* and what is no leak stays */
		is_to_be_set = is_leak;
		run_in(i < 2 ? PLENTY : pd_counts_least(), true, NULL);
		CU_ASSERT_EQUAL(differ.windows, i < 2 ? 1 : NR_BITMAPS);
		CU_ASSERT_EQUAL(differ.nr, 5);
		CU_ASSERT_EQUAL(check.nr_used, nr_stored() - 4);
		write_out();
		written = blocks_written();
		CU_ASSERT_EQUAL(written, 2 + 1); /* bitmaps 0 and 1; the index, whose hints are those of now */
		CU_ASSERT_TRUE(pd_is_block(image_at(BITMAP), PD_BITMAP, BITMAP));
		CU_ASSERT_TRUE(pd_is_block(image_at(BITMAP + 1), PD_BITMAP, BITMAP + 1));
		is_to_be_set = NULL;
		run();
		CU_ASSERT_EQUAL(image.told.nr, 0);
		CU_ASSERT_EQUAL(differ.nr, 1);
		differs(0, 20, 2, 1);
		CU_ASSERT_EQUAL(check.nr_stranded, 0);
		image_close();
	}
}

/* The whole bitmaps come out as if they had been written so. */
static void fixed_is_as_written(void)
{
	uint8_t as_written[NR_BITMAPS][PD_BLOCK_SIZE], hints_written[NR_BITMAPS * 16];

	for (unsigned metadata = 0; metadata < 2; metadata++) {
		is_metadata = metadata;
		fill();
		stored[0] = stored[50] = stored[ENTRIES + 40] = stored[2 * ENTRIES - 1] = 0;
		write_map();
		memcpy(as_written, image_at(BITMAP), sizeof(as_written));
		memcpy(hints_written, hints_of(0), sizeof(hints_written));
		image_close();
		start(metadata);
		expected[0] = expected[50] = expected[ENTRIES + 40] = expected[2 * ENTRIES - 1] = 0;
		set_hints(2, 0, 500);
		is_to_be_set = is_leak;
		run_in(PLENTY, true, NULL);
		write_out();
		CU_ASSERT_EQUAL(memcmp(as_written, image_at(BITMAP), sizeof(as_written)), 0);
		CU_ASSERT_EQUAL(memcmp(hints_written, hints_of(0), sizeof(hints_written)), 0);
		image_close();
	}
}

static void fixes_hints_and_tail(void)
{
	for (unsigned metadata = 0; metadata < 2; metadata++)
		for (unsigned i = 0; i < LEN(hints); i++) {
			start(metadata);
			set_bits(image_at(BITMAP + 2), 1200, 1);
			pd_block_seal(image_at(BITMAP + 2), PD_BITMAP, BITMAP + 2);
			set_hints(hints[i].bitmap, hints[i].nr_free, hints[i].none_free_before);
			run_in(PLENTY, true, NULL);
			CU_ASSERT_EQUAL(check.nr_stranded, hints[i].stranded);
			write_out();
			run();
			says_nothing();
			CU_ASSERT_EQUAL(check.nr_used, nr_stored());
			image_close();
		}
}

/* The leaves of an index of two levels are changed where they are. */
static void fixes_index_leaves(void)
{
	start(false);
	expected[2 * ENTRIES + 20] = 0;
	set_hints(2, 0, 0);
	index_in_two_levels();
	run_in(pd_counts_least(), true, NULL);
	CU_ASSERT_EQUAL(image.told.nr, 1);
	write_out();
	CU_ASSERT_EQUAL(blocks_written(), 1);
	CU_ASSERT_TRUE(pd_is_block(image_at(INDEX_HIGH), PD_NODE, INDEX_HIGH));
	run();
	says_nothing();
	image_close();
}

static void writes_nothing(void)
{
	for (unsigned metadata = 0; metadata < 2; metadata++) {
		start(metadata);
		run_in(PLENTY, true, NULL);
		says_nothing();
		write_out();
		CU_ASSERT_EQUAL(blocks_written(), 0);
		image_close();
		start(metadata);
		expected[50] = 0;
		set_hints(2, 0, 0);
		run_in(PLENTY, false, NULL);
		write_out();
		CU_ASSERT_EQUAL(blocks_written(), 0);
		image_close();
	}
}

/* A leak of a count that is in the tree leaves it there, as one that the bitmap does not ask for. */
static void fixes_large_leak(void)
{
	start(false);
	expected[11] = 0;
	is_to_be_set = is_leak;
	run_in(PLENTY, true, NULL);
	CU_ASSERT_EQUAL(differ.nr, 1);
	write_out();
	run();
	CU_ASSERT_EQUAL(differ.nr, 0);
	only_told(PROBLEM_SM_STRAY, WHERE_DATA_COUNTS, WHERE_META_COUNTS);
	image_close();
}

static const struct unit_case cases[] = {
	{ "of a map that has what is expected nothing is said, and each block is read once", sound_maps },
	{ "index and counts may be trees of several levels", sound_trees },
	{ "a map may be full, or empty", full_and_empty },
	{ "one count that differs is told, whatever it is and wherever", each_difference },
	{ "several counts that differ are told in rising order", several_differ },
	{ "a count of 3 or more that the tree does not have is told, and is not compared", count_is_missing },
	{ "a count that the bitmap does not ask for is told, also behind the last block", strays },
	{ "counts of 3 and more that are lost are not compared, and all others are", counts_are_lost },
	{ "counts behind the last block are told", tail },
	{ "hints may be one off, or of the whole bitmap; all else is told, with what it hides", wrong_hints },
	{ "the last free block is hidden by a hint that is one off", last_free_block },
	{ "nothing is hidden where nothing is free", full_bitmap_hints },
	{ "a damaged bitmap is unknown, and the rest is compared", bad_bitmap },
	{ "a bitmap that is missing from the index is unknown, and the rest is compared", bitmap_not_in_index },
	{ "an index that ends early lacks all bitmaps behind", last_bitmaps_not_in_index },
	{ "a damaged leaf of the index has lost bitmaps", bad_index_leaf },
	{ "without the index nothing is known", bad_index },
	{ "what the world does ends the check with its error", world_fails },
	{ "several windows say what one says", several_windows },
	{ "a gap that the index ends with is told once", gap_in_windows },
	{ "each bitmap is a reference, damaged or not, in several windows too", bitmaps_are_pointers },
	{ "a metadata map's own bitmaps are counted, and nodes are for the observer", counts_metadata },
	{ "of damage nothing is said while the metadata's own are counted, but that there is some", counts_damaged_metadata },
	{ "a dead leaf of the metadata's counts hides nothing", counts_with_dead_leaf },
	{ "what is to be set is set, and what is not is left", fixes_leaks },
	{ "a map that was fixed is as if it had been written so", fixed_is_as_written },
	{ "hints and counts behind the last block are mended, and then there is nothing to be said", fixes_hints_and_tail },
	{ "hints are mended in each leaf of the index", fixes_index_leaves },
	{ "where nothing is wrong, or is to be fixed, nothing is written", writes_nothing },
	{ "a large count that is set to 0 stays in the tree as a stray one", fixes_large_leak },
	{ NULL, NULL },
};

const struct unit_suite space_map_check_suite = { "space_map_check", cases };
