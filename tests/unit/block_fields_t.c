// SPDX-License-Identifier: LGPL-2.1-or-later
/* Fields by their names; what a visitor is shown of them is tested in thin_t.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "meta/block_fields.h"
#include "pdata/space_map.h"
#include "unit.h"

#define LEN(table) (sizeof(table) / sizeof(*(table)))

/* On the heap, with its end at the end: whatever reads behind it is seen by the sanitizers. */
static uint8_t *block;

static void start(void)
{
	block = malloc(PD_BLOCK_SIZE);
	CU_ASSERT_PTR_NOT_NULL_FATAL(block);
	for (unsigned i = 0; i < PD_BLOCK_SIZE; i++)
		block[i] = (uint8_t)(i * 37 + i / 256 + 1);
}

static void stop(void)
{
	free(block);
	block = NULL;
}

/* A node with keys 10, 20 ... and values of rising bytes. */
static void make_node(uint32_t flags, uint32_t nr, uint32_t max, uint32_t value_size)
{
	uint8_t values[PD_BLOCK_SIZE];

	memcpy(values, block, sizeof(values));
	image_header(block, flags, nr, max, value_size);
	memcpy(block + 32, values + 32, PD_BLOCK_SIZE - 32);
	for (uint32_t i = 0; i < nr; i++)
		le_store(block + 32 + 8 * (size_t)i, 8, 10 * (i + 1));
}

static void make_array(uint32_t nr, uint32_t value_size)
{
	le_store(block + 8, 4, nr);
	le_store(block + 12, 4, value_size);
}

static int find(enum pd_kind kind, const char *name, struct meta_field *f)
{
	return meta_field_find(block, kind, name, f);
}

/* --- what is printed is found --- */

static struct {
	struct meta_visitor v;
	enum pd_kind kind;
	unsigned nr_found, nr_no_numbers;
} walk;

/* "17", "0x11", "17 = data block 0, time 17", "3 or more" */
static int compare_with_printed(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_field *printed = record;
	struct meta_field f;
	int r;

	CU_ASSERT_PTR_EQUAL(v, &walk.v);
	CU_ASSERT_EQUAL(kind, RECORD_FIELD);
	if (!printed->name[0] || strstr(printed->name, ".."))
		return 0; /* bytes, or a run of counts, whose first and last have names of their own */
	r = find(walk.kind, printed->name, &f);
	if (r == -EINVAL) {
		walk.nr_no_numbers++;
		return 0;
	}
	CU_ASSERT_EQUAL(r, 0);
	CU_ASSERT_EQUAL(f.offset, printed->offset);
	CU_ASSERT_TRUE(f.offset + f.size <= PD_BLOCK_SIZE);
	CU_ASSERT_EQUAL(meta_field_load(block, &f), strtoull(printed->value, NULL, 0));
	CU_ASSERT_EQUAL(meta_field_check(walk.kind, printed->name), 0);
	walk.nr_found++;
	return r;
}

static int ignore(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)v;
	(void)kind;
	(void)record;
	return 0;
}

static void is_found(enum pd_kind kind, unsigned numbers, unsigned no_numbers)
{
	memset(&walk, 0, sizeof(walk));
	walk.v = (struct meta_visitor){ .begin = ignore, .record = compare_with_printed, .end = ignore };
	walk.kind = kind;
	CU_ASSERT_EQUAL(meta_visit_block_as(block, PD_BLOCK_SIZE, 0, kind, &walk.v), 0);
	CU_ASSERT_EQUAL(walk.nr_found, numbers);
	CU_ASSERT_EQUAL(walk.nr_no_numbers, no_numbers);
}

static void superblocks(void)
{
	start();
	is_found(PD_THIN_SUPERBLOCK, 24, 1);
	is_found(PD_CACHE_SUPERBLOCK, 29, 2);
	is_found(PD_ERA_SUPERBLOCK, 18, 1);
	stop();
}

static void nodes(void)
{
	static const struct {
		uint32_t flags, max, value_size;
		unsigned fields; /* of a value */
	} rows[] = {
		{ 1, 252, 8, 1 }, { 2, 252, 8, 1 }, { 2, 336, 4, 1 }, { 2, 201, 12, 2 }, { 2, 168, 16, 3 }, { 2, 126, 24, 4 },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		start();
		make_node(rows[i].flags, 100, rows[i].max, rows[i].value_size);
		is_found(PD_NODE, 7 + 100 * (1 + rows[i].fields), 0);
		make_node(rows[i].flags, rows[i].max, rows[i].max, rows[i].value_size);
		is_found(PD_NODE, 7 + rows[i].max * (1 + rows[i].fields), 0);
		stop();
	}
}

/* Entries that are not in use are not printed. */
static void indexes(void)
{
	struct meta_field f;

	start();
	is_found(PD_INDEX, 3 + 255 * 3, 0);
	CU_ASSERT_EQUAL(find(PD_INDEX, "entry[254].none_free_before", &f), 0);
	CU_ASSERT_EQUAL(f.offset + f.size, PD_BLOCK_SIZE);
	le_store(block + 16 + 16 * 7, 8, 0);
	is_found(PD_INDEX, 3 + 254 * 3, 0);
	CU_ASSERT_EQUAL(find(PD_INDEX, "entry[7].nr_free", &f), 0);
	stop();
}

static void arrays(void)
{
	start();
	make_array(1018, 4);
	is_found(PD_ARRAY, 5 + 1018, 0);
	make_array(509, 8);
	is_found(PD_ARRAY, 5 + 509, 0);
	stop();
}

/* Each byte has four counts, of which no two neighbours are equal: so each has a line. */
static void bitmaps(void)
{
	start();
	memset(block + 16, 0x6C, PD_BLOCK_SIZE - 16);
	is_found(PD_BITMAP, 3 + PD_BITMAP_ENTRIES, 0);
	stop();
}

static void every_count(void)
{
	unsigned wrong = 0;

	start();
	for (unsigned i = 0; i < PD_BITMAP_ENTRIES; i++) {
		struct meta_field f;
		char name[32];

		snprintf(name, sizeof(name), "count[%u]", i);
		wrong += find(PD_BITMAP, name, &f) || f.offset >= PD_BLOCK_SIZE || f.bits != 2 ||
			 meta_field_load(block, &f) != pd_bitmap_count((const void *)block, i);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	stop();
}

static void stored_counts(void)
{
	struct meta_field f;
	uint8_t before;

	start();
	CU_ASSERT_EQUAL(find(PD_BITMAP, "count[41]", &f), 0);
	before = block[16 + 10];
	for (unsigned count = 0; count < 4; count++) {
		CU_ASSERT_EQUAL(meta_field_store(block, &f, count), 0);
		CU_ASSERT_EQUAL(pd_bitmap_count((const void *)block, 41), count);
		CU_ASSERT_EQUAL(block[16 + 10] & ~0x0C, before & ~0x0C);
	}
	meta_field_store(block, &f, 1);
	CU_ASSERT_EQUAL(block[16 + 10] & 0x0C, 0x08); /* the high bit of the count is the low one of the two */
	CU_ASSERT_EQUAL(meta_field_store(block, &f, 4), -ERANGE);
	stop();
}

/* --- parts of mappings --- */

static void mapping_parts(void)
{
	struct meta_field data, time, all;

	start();
	make_node(2, 3, 252, 8);
	CU_ASSERT_EQUAL(find(PD_NODE, "value[1]", &all), 0);
	CU_ASSERT_EQUAL(find(PD_NODE, "value[1].data", &data), 0);
	CU_ASSERT_EQUAL(find(PD_NODE, "value[1].time", &time), 0);
	CU_ASSERT_EQUAL(data.offset, all.offset);
	CU_ASSERT_EQUAL(data.bits + time.bits, 64);
	CU_ASSERT_EQUAL(meta_field_store(block, &all, UINT64_C(7) << 24 | 5), 0);
	CU_ASSERT_EQUAL(meta_field_load(block, &data), 7);
	CU_ASSERT_EQUAL(meta_field_load(block, &time), 5);
	CU_ASSERT_EQUAL(meta_field_store(block, &data, (UINT64_C(1) << 40) - 1), 0);
	CU_ASSERT_EQUAL(meta_field_store(block, &time, 0), 0);
	CU_ASSERT_EQUAL(meta_field_load(block, &all), UINT64_MAX << 24);
	CU_ASSERT_EQUAL(meta_field_store(block, &time, (1 << 24) - 1), 0);
	CU_ASSERT_EQUAL(meta_field_store(block, &data, 0), 0);
	CU_ASSERT_EQUAL(meta_field_load(block, &all), (1 << 24) - 1);
	stop();
}

/* A child is no mapping, and neither is what has another size. */
static void no_mapping(void)
{
	struct meta_field f;

	start();
	make_node(1, 3, 252, 8);
	CU_ASSERT_EQUAL(find(PD_NODE, "value[1]", &f), 0);
	CU_ASSERT_EQUAL(find(PD_NODE, "value[1].data", &f), -ENOENT);
	make_node(2, 3, 126, 24);
	CU_ASSERT_EQUAL(find(PD_NODE, "value[1].time", &f), -ENOENT);
	CU_ASSERT_EQUAL(find(PD_NODE, "value[1].mapped_blocks", &f), 0);
	CU_ASSERT_EQUAL(find(PD_NODE, "value[1]", &f), -ENOENT);
	stop();
}

/* --- storing --- */

static void too_large(void)
{
	static const struct {
		enum pd_kind kind;
		const char *name;
		uint64_t largest;
	} rows[] = {
		{ PD_THIN_SUPERBLOCK, "flags", UINT32_MAX }, { PD_NODE, "value[2].data", (UINT64_C(1) << 40) - 1 },
		{ PD_NODE, "value[2].time", (1 << 24) - 1 }, { PD_BITMAP, "count[9]", 3 },
		{ PD_INDEX, "entry[9].nr_free", UINT32_MAX },
	};
	uint8_t before[PD_BLOCK_SIZE];

	start();
	for (size_t i = 0; i < LEN(rows); i++) {
		struct meta_field f;

		make_node(2, 3, 252, 8);
		CU_ASSERT_EQUAL_FATAL(find(rows[i].kind, rows[i].name, &f), 0);
		memcpy(before, block, sizeof(before));
		CU_ASSERT_EQUAL(meta_field_store(block, &f, rows[i].largest + 1), -ERANGE);
		CU_ASSERT_EQUAL(meta_field_store(block, &f, UINT64_MAX), -ERANGE);
		CU_ASSERT_EQUAL(memcmp(block, before, sizeof(before)), 0);
		CU_ASSERT_EQUAL(meta_field_store(block, &f, rows[i].largest), 0);
		CU_ASSERT_EQUAL(meta_field_load(block, &f), rows[i].largest);
	}
	stop();
}

static void neighbours_stay(void)
{
	uint8_t before[PD_BLOCK_SIZE];
	struct meta_field f;

	start();
	memcpy(before, block, sizeof(before));
	CU_ASSERT_EQUAL(find(PD_THIN_SUPERBLOCK, "trans_id", &f), 0);
	CU_ASSERT_EQUAL(meta_field_store(block, &f, UINT64_MAX), 0);
	CU_ASSERT_EQUAL(meta_field_load(block, &f), UINT64_MAX);
	CU_ASSERT_EQUAL(memcmp(block, before, 48), 0);
	CU_ASSERT_EQUAL(memcmp(block + 56, before + 56, PD_BLOCK_SIZE - 56), 0);
	stop();
}

/* --- what is not there --- */

static void past_the_end(void)
{
	static const struct {
		enum pd_kind kind;
		const char *last, *behind;
	} rows[] = {
		{ PD_NODE, "key[2]", "key[3]" }, { PD_NODE, "value[2].data", "value[3].data" },
		{ PD_NODE, "value[2]", "value[18446744073709551615]" }, { PD_NODE, "key[0]", "key[4294967296]" },
		{ PD_INDEX, "entry[254].blocknr", "entry[255].blocknr" },
		{ PD_INDEX, "entry[0].blocknr", "entry[1152921504606846976].blocknr" },
		{ PD_BITMAP, "count[16319]", "count[16320]" }, { PD_BITMAP, "count[0]", "count[18446744073709551615]" },
		{ PD_ARRAY, "value[508]", "value[509]" }, { PD_ARRAY, "value[0]", "value[4294967296]" },
	};
	struct meta_field f;

	start();
	for (size_t i = 0; i < LEN(rows); i++) {
		make_node(2, 3, 252, 8);
		if (rows[i].kind == PD_ARRAY)
			make_array(509, 8);
		CU_ASSERT_EQUAL(find(rows[i].kind, rows[i].last, &f), 0);
		CU_ASSERT_EQUAL(find(rows[i].kind, rows[i].behind, &f), -ERANGE);
	}
	CU_ASSERT_EQUAL(meta_field_check(PD_INDEX, "entry[255].blocknr"), -ENOENT);
	CU_ASSERT_EQUAL(meta_field_check(PD_BITMAP, "count[16320]"), -ENOENT);
	stop();
}

static void almost_names(void)
{
	static const char *const names[] = {
		"", "[", "[0]", "value", "value[", "value[]", "value[-1]", "value[+1]", "value[ 1]", "value[1", "value[1]x",
		"value[1]]", "value[1][1]", "value[1].", "value[1].dat", "value[1].data ", "value[1].data.data", "value[x]",
		"value[0x1]", "value[18446744073709551616]", "value[99999999999999999999999999]", "key[1].data", "key[1]x",
		"keys[1]", "ke[1]", "Key[1]", "count[1]", "entry[1].nr_free", "nr_entries ", "nr_entries[0]", "trans_id",
		"a_name_longer_than_any[1]",
	};
	struct meta_field f = { .offset = 77 };

	start();
	make_node(2, 3, 252, 8);
	for (size_t i = 0; i < LEN(names); i++) {
		CU_ASSERT_EQUAL(find(PD_NODE, names[i], &f), -ENOENT);
		CU_ASSERT_EQUAL(meta_field_check(PD_NODE, names[i]), -ENOENT);
	}
	CU_ASSERT_EQUAL(find(PD_BITMAP, "count[1].data", &f), -ENOENT);
	CU_ASSERT_EQUAL(find(PD_INDEX, "entry[1]", &f), -ENOENT);
	CU_ASSERT_EQUAL(find(PD_ARRAY, "value[1].data", &f), -ENOENT);
	CU_ASSERT_EQUAL(find(PD_THIN_SUPERBLOCK, "trans_id[0]", &f), -ENOENT);
	CU_ASSERT_EQUAL(find(PD_UNKNOWN, "csum", &f), -ENOENT);
	CU_ASSERT_EQUAL(find(PD_ZEROES, "csum", &f), -ENOENT);
	CU_ASSERT_EQUAL(f.offset, 77);
	stop();
}

static void no_numbers(void)
{
	struct meta_field f;

	start();
	CU_ASSERT_EQUAL(find(PD_THIN_SUPERBLOCK, "uuid", &f), -EINVAL);
	CU_ASSERT_EQUAL(find(PD_CACHE_SUPERBLOCK, "policy_name", &f), -EINVAL);
	CU_ASSERT_EQUAL(meta_field_check(PD_ERA_SUPERBLOCK, "uuid"), -EINVAL);
	stop();
}

static void check_without_a_block(void)
{
	static const char *const suffixes[] = {
		"", ".data", ".time", ".blocknr", ".nr_free", ".none_free_before", ".mapped_blocks", ".transaction_id",
		".creation_time", ".snapshotted_time", ".nr_bits", ".root",
	};
	char name[64];

	for (size_t i = 0; i < LEN(suffixes); i++) {
		snprintf(name, sizeof(name), "value[3]%s", suffixes[i]);
		CU_ASSERT_EQUAL(meta_field_check(PD_NODE, name), 0);
	}
	CU_ASSERT_EQUAL(meta_field_check(PD_NODE, "key[335]"), 0);
	CU_ASSERT_EQUAL(meta_field_check(PD_ARRAY, "value[3]"), 0);
	CU_ASSERT_EQUAL(meta_field_check(PD_ARRAY, "value[3].data"), -ENOENT);
	CU_ASSERT_EQUAL(meta_field_check(PD_UNKNOWN, "csum"), -ENOENT);
}

/* --- damage --- */

static void damaged_nodes(void)
{
	static const struct {
		uint32_t flags, nr, max, value_size;
	} rows[] = {
		{ 2, 253, 252, 8 }, { 2, UINT32_MAX, 252, 8 }, { 2, 3, 255, 8 }, { 2, 3, UINT32_MAX, 8 }, { 2, 3, 0, 8 },
		{ 2, 3, 252, 0 }, { 2, 3, 252, UINT32_MAX }, { 2, 3, UINT32_MAX, UINT32_MAX }, { 3, 3, 252, 8 },
		{ 0, 3, 252, 8 }, { 1, 0, 252, 8 }, { 1, 3, 252, 4 }, { 2, 1, 2, 4064 },
	};
	struct meta_field f;

	start();
	for (size_t i = 0; i < LEN(rows); i++) {
		make_node(2, 3, 252, 8);
		le_store(block + 4, 4, rows[i].flags);
		le_store(block + 16, 4, rows[i].nr);
		le_store(block + 20, 4, rows[i].max);
		le_store(block + 24, 4, rows[i].value_size);
		CU_ASSERT_EQUAL(find(PD_NODE, "key[1]", &f), -EBADMSG);
		CU_ASSERT_EQUAL(find(PD_NODE, "value[250]", &f), -EBADMSG);
		CU_ASSERT_EQUAL(find(PD_NODE, "nr_entries", &f), 0);
		CU_ASSERT_EQUAL(meta_field_load(block, &f), rows[i].nr);
	}
	stop();
}

/* So that it can be mended. */
static void keys_out_of_order(void)
{
	struct meta_field f;

	start();
	make_node(2, 3, 252, 8);
	le_store(block + 32 + 8, 8, 5);
	CU_ASSERT_EQUAL(find(PD_NODE, "key[1]", &f), 0);
	CU_ASSERT_EQUAL(meta_field_load(block, &f), 5);
	CU_ASSERT_EQUAL(find(PD_NODE, "key[3]", &f), -ERANGE);
	stop();
}

static void damaged_arrays(void)
{
	static const uint32_t rows[][2] = {
		{ 1019, 4 }, { 510, 8 }, { UINT32_MAX, 4 }, { UINT32_MAX, 8 }, { 3, 0 }, { 3, 3 }, { 3, UINT32_MAX }, { 3, 16 },
	};
	struct meta_field f;

	start();
	for (size_t i = 0; i < LEN(rows); i++) {
		make_array(rows[i][0], rows[i][1]);
		CU_ASSERT_EQUAL(find(PD_ARRAY, "value[0]", &f), -EBADMSG);
		CU_ASSERT_EQUAL(find(PD_ARRAY, "nr_entries", &f), 0);
	}
	stop();
}

/* Whatever the header says, a field that is found lies in the block. */
static void random_headers(void)
{
	static const char *const names[] = { "key[0]", "key[335]", "value[0]", "value[167].nr_free", "value[1].root",
					     "value[125].snapshotted_time", "value[251].time" };
	static const enum pd_kind kinds[] = { PD_NODE, PD_ARRAY };
	static const uint8_t bytes[] = { 0, 1, 2, 3, 4, 8, 12, 16, 24, 0x7F, 0xFC, 0xFF };
	unsigned outside = 0, found = 0;
	uint64_t seed = 1;

	start();
	for (unsigned n = 0; n < 200000; n++) {
		struct meta_field f;

		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		if (n % 16 == 0)
			make_node(2 - n / 16 % 2, 3, n / 16 % 3 ? 126 : 252, n / 16 % 3 ? 24 : 8);
		block[4 + (seed >> 33) % 24] = bytes[(seed >> 50) % LEN(bytes)];
		if (find(kinds[n % 2], names[(seed >> 40) % LEN(names)], &f))
			continue;
		outside += f.offset + f.size > PD_BLOCK_SIZE || f.shift + f.bits > 8 * f.size;
		found += meta_field_store(block, &f, meta_field_load(block, &f)) == 0;
	}
	CU_ASSERT_EQUAL(outside, 0);
	CU_ASSERT_TRUE(found > 1000);
	stop();
}

static const struct unit_case cases[] = {
	{ "each number of a superblock is found by its name, where it was printed", superblocks },
	{ "so are the keys and values of nodes, of each size", nodes },
	{ "so are the entries of an index, in use or not", indexes },
	{ "so are the values of an array", arrays },
	{ "so are the counts of a bitmap that have a line of their own", bitmaps },
	{ "each count of a bitmap is what the space map reads there", every_count },
	{ "a count is stored with its high bit first, and its neighbours stay", stored_counts },
	{ "a mapping is a data block of 40 bits and a time of 24", mapping_parts },
	{ "children and details are no mappings", no_mapping },
	{ "a value that is too large changes nothing", too_large },
	{ "a value that is stored changes its own bytes alone", neighbours_stay },
	{ "an entry behind the last one is out of range", past_the_end },
	{ "a name that is almost right is none", almost_names },
	{ "text and bytes are no numbers", no_numbers },
	{ "without a block a name is right that some block could have", check_without_a_block },
	{ "of a damaged node the header alone is found", damaged_nodes },
	{ "a node whose keys are out of order is found, to be mended", keys_out_of_order },
	{ "of a damaged array the header alone is found", damaged_arrays },
	{ "whatever a block says of itself, its fields lie in it", random_headers },
	{ NULL, NULL },
};

const struct unit_suite block_fields_suite = { "block_fields", cases };
