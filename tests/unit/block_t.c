// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "image.h"
#include "pdata/block.h"
#include "unit.h"

#define NR_BLOCKS 64
#define NR_DEVICE_BLOCKS 80 /* larger than what the metadata says */
#define LEN(table) (sizeof(table) / sizeof(*(table)))

/* From the format's description. */
static const struct {
	enum pd_kind kind;
	uint32_t salt;
	unsigned number_at;
} kinds[] = {
	{ PD_NODE, 121107, 8 },
	{ PD_BITMAP, 240779, 8 },
	{ PD_INDEX, 160478, 8 },
	{ PD_ARRAY, 595846735, 16 },
	{ PD_THIN_SUPERBLOCK, 160774, 8 },
	{ PD_CACHE_SUPERBLOCK, 9031977, 8 },
	{ PD_ERA_SUPERBLOCK, 146538381, 8 },
};

static const struct pd_context context = { .where = WHERE_MAPPINGS, .dev_id = 17, .begin = 1000, .end = 2000 };

/* Bit by bit, as in the polynomial's definition. */
static uint32_t slow_crc(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xFFFFFFFF;

	while (len--) {
		crc ^= *p++;
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
	}
	return crc;
}

/* A block of the kind of row @k, made from the description alone. */
static void make(uint8_t *block, unsigned k, uint64_t number)
{
	for (unsigned i = 0; i < PD_BLOCK_SIZE; i++)
		block[i] = (uint8_t)(i * 7 + k + 1);
	le_store(block + kinds[k].number_at, 8, number);
	le_store(block, 4, slow_crc(block + 4, PD_BLOCK_SIZE - 4) ^ kinds[k].salt);
}

static void start(void)
{
	image_open(NR_BLOCKS, NR_DEVICE_BLOCKS, 4);
}

/* Reads what is damaged: exactly one problem, and nothing given out. */
static void read_damaged(uint64_t block, enum pd_kind kind, enum problem_code code)
{
	struct bufio_buffer *b = NULL;
	const void *data = NULL;

	image.told.nr = 0;
	CU_ASSERT_EQUAL(pd_read(&image.reader, &context, block, kind, &data, &b), 0);
	CU_ASSERT_PTR_NULL(data);
	CU_ASSERT_PTR_NULL(b);
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.last.code, code);
	CU_ASSERT_EQUAL(image.told.last.block, block);
	CU_ASSERT_EQUAL(image.told.last.where, context.where);
	CU_ASSERT_EQUAL(image.told.last.dev_id, context.dev_id);
	CU_ASSERT_EQUAL(image.told.last.begin, context.begin);
	CU_ASSERT_EQUAL(image.told.last.end, context.end);
}

static void reference(void)
{
	CU_ASSERT_EQUAL(~slow_crc((const uint8_t *)"123456789", 9), 0xE3069283);
}

static void checksums(void)
{
	uint8_t block[PD_BLOCK_SIZE];

	for (unsigned k = 0; k < LEN(kinds); k++) {
		make(block, k, 5);
		CU_ASSERT_EQUAL(pd_block_checksum(block, kinds[k].kind), le_load(block, 4));
		CU_ASSERT_EQUAL(pd_stored_checksum(block), le_load(block, 4));
		for (unsigned other = 0; other < LEN(kinds); other++)
			CU_ASSERT_EQUAL(pd_block_checksum(block, kinds[other].kind),
					(slow_crc(block + 4, PD_BLOCK_SIZE - 4) ^ kinds[other].salt));
	}
}

static void checksum_ignores_itself(void)
{
	uint8_t block[PD_BLOCK_SIZE];
	uint32_t right;

	make(block, 0, 5);
	right = pd_block_checksum(block, PD_NODE);
	memset(block, 0xFF, 4);
	CU_ASSERT_EQUAL(pd_block_checksum(block, PD_NODE), right);
	CU_ASSERT_EQUAL(pd_stored_checksum(block), 0xFFFFFFFF);
}

static void kind_told(void)
{
	uint8_t block[PD_BLOCK_SIZE];

	for (unsigned k = 0; k < LEN(kinds); k++) {
		make(block, k, 5);
		CU_ASSERT_EQUAL(pd_block_kind(block), kinds[k].kind);
	}
}

static void zeroes(void)
{
	static const unsigned places[] = { 0, 3, 4, 8, 2048, PD_BLOCK_SIZE - 1 };
	uint8_t block[PD_BLOCK_SIZE] = { 0 };

	CU_ASSERT_EQUAL(pd_block_kind(block), PD_ZEROES);
	for (unsigned i = 0; i < LEN(places); i++) {
		block[places[i]] = 1;
		CU_ASSERT_EQUAL(pd_block_kind(block), PD_UNKNOWN);
		block[places[i]] = 0;
	}
}

static void any_bit_matters(void)
{
	uint8_t block[PD_BLOCK_SIZE];

	make(block, 0, 5);
	for (unsigned bit = 0; bit < 8 * PD_BLOCK_SIZE; bit += 61) {
		block[bit / 8] ^= 1u << bit % 8;
		CU_ASSERT_EQUAL(pd_block_kind(block), PD_UNKNOWN);
		block[bit / 8] ^= 1u << bit % 8;
	}
	CU_ASSERT_EQUAL(pd_block_kind(block), PD_NODE);
}

static void other_salt(void)
{
	uint8_t block[PD_BLOCK_SIZE];

	make(block, 0, 5);
	le_store(block, 4, slow_crc(block + 4, PD_BLOCK_SIZE - 4));
	CU_ASSERT_EQUAL(pd_block_kind(block), PD_UNKNOWN);
	le_store(block, 4, slow_crc(block + 4, PD_BLOCK_SIZE - 4) ^ 121108);
	CU_ASSERT_EQUAL(pd_block_kind(block), PD_UNKNOWN);
}

static void numbers(void)
{
	uint8_t block[PD_BLOCK_SIZE];

	for (unsigned k = 0; k < LEN(kinds); k++) {
		make(block, k, 0x8877665544332211);
		CU_ASSERT_EQUAL(pd_stored_number(block, kinds[k].kind), 0x8877665544332211);
	}
}

/* Sealing changes checksum and number, and nothing else. */
static void seal(void)
{
	uint8_t made[PD_BLOCK_SIZE], sealed[PD_BLOCK_SIZE];

	for (unsigned k = 0; k < LEN(kinds); k++) {
		make(made, k, 0x123456789ABCDEF0);
		memcpy(sealed, made, sizeof(made));
		memset(sealed, 0xEE, 4);
		memset(sealed + kinds[k].number_at, 0xEE, 8);
		pd_block_seal(sealed, kinds[k].kind, 0x123456789ABCDEF0);
		CU_ASSERT_EQUAL(memcmp(sealed, made, sizeof(made)), 0);
		CU_ASSERT_EQUAL(pd_block_kind(sealed), kinds[k].kind);
		CU_ASSERT_EQUAL(pd_stored_number(sealed, kinds[k].kind), 0x123456789ABCDEF0);
	}
}

static void names(void)
{
	for (unsigned k = 0; k < NR_PD_KINDS; k++) {
		CU_ASSERT_NOT_EQUAL(strlen(pd_kind_name(k)), 0);
		for (unsigned other = 0; other < k; other++)
			CU_ASSERT_STRING_NOT_EQUAL(pd_kind_name(k), pd_kind_name(other));
	}
	CU_ASSERT_STRING_EQUAL(pd_kind_name(PD_NODE), "btree node");
	CU_ASSERT_STRING_EQUAL(pd_kind_name(PD_BITMAP), "space map bitmap");
}

static void node_layout(void)
{
	CU_ASSERT_EQUAL(sizeof(struct pd_node_disk), 32);
	CU_ASSERT_EQUAL(offsetof(struct pd_node_disk, csum), 0);
	CU_ASSERT_EQUAL(offsetof(struct pd_node_disk, flags), 4);
	CU_ASSERT_EQUAL(offsetof(struct pd_node_disk, blocknr), 8);
	CU_ASSERT_EQUAL(offsetof(struct pd_node_disk, nr_entries), 16);
	CU_ASSERT_EQUAL(offsetof(struct pd_node_disk, max_entries), 20);
	CU_ASSERT_EQUAL(offsetof(struct pd_node_disk, value_size), 24);
	CU_ASSERT_EQUAL(offsetof(struct pd_array_disk, max_entries), 4);
	CU_ASSERT_EQUAL(offsetof(struct pd_array_disk, nr_entries), 8);
	CU_ASSERT_EQUAL(offsetof(struct pd_array_disk, value_size), 12);
	CU_ASSERT_EQUAL(offsetof(struct pd_array_disk, blocknr), 16);
	CU_ASSERT_EQUAL(sizeof(struct pd_array_disk), 24);
}

static void map_layout(void)
{
	CU_ASSERT_EQUAL(sizeof(struct pd_sm_root_disk), 32);
	CU_ASSERT_EQUAL(offsetof(struct pd_sm_root_disk, nr_allocated), 8);
	CU_ASSERT_EQUAL(offsetof(struct pd_sm_root_disk, bitmap_root), 16);
	CU_ASSERT_EQUAL(offsetof(struct pd_sm_root_disk, ref_count_root), 24);
	CU_ASSERT_EQUAL(sizeof(struct pd_index_entry_disk), 16);
	CU_ASSERT_EQUAL(offsetof(struct pd_index_entry_disk, nr_free), 8);
	CU_ASSERT_EQUAL(offsetof(struct pd_index_entry_disk, none_free_before), 12);
	CU_ASSERT_EQUAL(offsetof(struct pd_index_disk, blocknr), 8);
	CU_ASSERT_EQUAL(offsetof(struct pd_index_disk, entries), 16);
	CU_ASSERT_EQUAL(offsetof(struct pd_bitmap_disk, blocknr), 8);
	CU_ASSERT_EQUAL(offsetof(struct pd_bitmap_disk, counts), 16);
	CU_ASSERT_EQUAL(PD_BITMAP_ENTRIES, 16320);
	CU_ASSERT_EQUAL(PD_MAX_METADATA_BLOCKS, 4161600);
}

static void reads_every_kind(void)
{
	struct bufio_buffer *b;
	const void *data;

	start();
	for (unsigned k = 0; k < LEN(kinds); k++) {
		make(image_at(k), k, k);
		CU_ASSERT_EQUAL_FATAL(pd_read(&image.reader, &context, k, kinds[k].kind, &data, &b), 1);
		CU_ASSERT_EQUAL(memcmp(data, image_at(k), PD_BLOCK_SIZE), 0);
		CU_ASSERT_EQUAL(bufio_get_block_number(b), k);
		CU_ASSERT_EQUAL(bufio_release(b), 0);
	}
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void last_block(void)
{
	struct bufio_buffer *b;
	const void *data;

	start();
	make(image_at(NR_BLOCKS - 1), 0, NR_BLOCKS - 1);
	CU_ASSERT_EQUAL_FATAL(pd_read(&image.reader, &context, NR_BLOCKS - 1, PD_NODE, &data, &b), 1);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	bufio_release(b);
	image_close();
}

static void beyond(void)
{
	static const uint64_t blocks[] = { NR_BLOCKS, NR_BLOCKS + 1, NR_DEVICE_BLOCKS, UINT64_MAX / PD_BLOCK_SIZE + 2,
					   UINT64_MAX - 1 };

	start();
	make(image_at(NR_BLOCKS), 0, NR_BLOCKS);
	for (unsigned i = 0; i < LEN(blocks); i++) {
		read_damaged(blocks[i], PD_NODE, PROBLEM_BLOCK_BEYOND);
		CU_ASSERT_EQUAL(image.told.last.expected, NR_BLOCKS);
	}
	CU_ASSERT_EQUAL(image.plan.count, 0);
	image_close();
}

static void all_zero(void)
{
	start();
	for (unsigned k = 0; k < LEN(kinds); k++)
		read_damaged(9, kinds[k].kind, PROBLEM_BLOCK_ZEROED);
	image_close();
}

static void wrong_kind(void)
{
	start();
	for (unsigned k = 0; k < LEN(kinds); k++) {
		unsigned other = (k + 1) % LEN(kinds);

		make(image_at(k), k, k);
		read_damaged(k, kinds[other].kind, PROBLEM_BLOCK_KIND);
		CU_ASSERT_STRING_EQUAL(image.told.last.found_kind, pd_kind_name(kinds[k].kind));
		CU_ASSERT_STRING_EQUAL(image.told.last.expected_kind, pd_kind_name(kinds[other].kind));
	}
	image_close();
}

static void bad_checksum(void)
{
	start();
	for (unsigned k = 0; k < LEN(kinds); k++) {
		make(image_at(k), k, k);
		image_at(k)[77] ^= 0x10;
		read_damaged(k, kinds[k].kind, PROBLEM_BLOCK_CHECKSUM);
		CU_ASSERT_EQUAL(image.told.last.found, le_load(image_at(k), 4));
		CU_ASSERT_EQUAL(image.told.last.expected,
				(slow_crc(image_at(k) + 4, PD_BLOCK_SIZE - 4) ^ kinds[k].salt));
	}
	image_close();
}

static void wrong_number(void)
{
	start();
	for (unsigned k = 0; k < LEN(kinds); k++) {
		make(image_at(k), k, k + 100);
		read_damaged(k, kinds[k].kind, PROBLEM_BLOCK_NUMBER);
		CU_ASSERT_EQUAL(image.told.last.found, k + 100);
	}
	image_close();
}

static void unreadable(void)
{
	struct bufio_buffer *b;
	const void *data;

	start();
	make(image_at(3), 0, 3);
	image.plan.fail_at = 1;
	image.plan.error = EREMOTEIO;
	read_damaged(3, PD_NODE, PROBLEM_BLOCK_UNREADABLE);
	CU_ASSERT_EQUAL(image.told.last.error, EREMOTEIO);
	CU_ASSERT_EQUAL_FATAL(pd_read(&image.reader, &context, 3, PD_NODE, &data, &b), 1);
	bufio_release(b);
	image_close();
}

/* Only this thread holds buffers, so no waiting could help. */
static void world_fails(void)
{
	struct bufio_buffer *held[NR_BLOCKS], *b = NULL;
	const void *data = NULL;
	unsigned nr = 0;

	start();
	make(image_at(NR_BLOCKS - 1), 0, NR_BLOCKS - 1);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(image.reader.client, bufio_get_memory_floor(image.reader.client)), 0);
	while (nr < NR_BLOCKS - 1 && bufio_read(image.reader.client, nr, &held[nr]))
		nr++;
	CU_ASSERT_TRUE(nr < NR_BLOCKS - 1);
	CU_ASSERT_EQUAL(pd_read(&image.reader, &context, NR_BLOCKS - 1, PD_NODE, &data, &b), -EDEADLK);
	CU_ASSERT_PTR_NULL(b);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	while (nr)
		bufio_release(held[--nr]);
	image_close();
}

static void report_fills_in(void)
{
	start();
	pd_report(&image.reader, &context, PROBLEM_NODE_KEY_ORDER, 40,
		  (struct problem){ .expected = 6, .found = 5, .count = 4, .error = 3 });
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.last.code, PROBLEM_NODE_KEY_ORDER);
	CU_ASSERT_EQUAL(image.told.last.block, 40);
	CU_ASSERT_EQUAL(image.told.last.where, WHERE_MAPPINGS);
	CU_ASSERT_EQUAL(image.told.last.dev_id, 17);
	CU_ASSERT_EQUAL(image.told.last.begin, 1000);
	CU_ASSERT_EQUAL(image.told.last.end, 2000);
	CU_ASSERT_EQUAL(image.told.last.expected, 6);
	CU_ASSERT_EQUAL(image.told.last.found, 5);
	CU_ASSERT_EQUAL(image.told.last.count, 4);
	CU_ASSERT_EQUAL(image.told.last.error, 3);
	image_close();
}

/* A block with something in every byte. */
static void make_full(uint8_t *block, enum pd_kind kind, uint64_t number)
{
	for (unsigned i = 0; i < PD_BLOCK_SIZE; i++)
		block[i] = (uint8_t)(i * 7 + 1);
	pd_block_seal(block, kind, number);
}

static void finds_flaw(void)
{
	static const enum pd_kind kinds[] = { PD_NODE, PD_BITMAP, PD_INDEX, PD_THIN_SUPERBLOCK };
	uint8_t block[PD_BLOCK_SIZE];
	struct pd_flaw flaw;

	for (unsigned k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
		for (unsigned i = 0; i < PD_BLOCK_SIZE; i += 5) {
			uint8_t mask = (uint8_t)(i % 255 + 1);

			make_full(block, kinds[k], 77);
			CU_ASSERT_FALSE(pd_block_find_flaw(block, kinds[k], 77, &flaw)); /* nothing is wrong */
			block[i] ^= mask;
			CU_ASSERT_TRUE(pd_block_find_flaw(block, kinds[k], 77, &flaw));
			CU_ASSERT_EQUAL(flaw.offset, i);
			CU_ASSERT_EQUAL(flaw.mask, mask);
		}
}

static void finds_no_flaw(void)
{
	uint8_t block[PD_BLOCK_SIZE];
	struct pd_flaw flaw;

	for (unsigned i = 16; i < PD_BLOCK_SIZE; i += 5) {
		make_full(block, PD_NODE, 77);
		CU_ASSERT_FALSE(pd_block_find_flaw(block, PD_NODE, 78, &flaw)); /* it is another block */
		CU_ASSERT_FALSE(pd_block_find_flaw(block, PD_BITMAP, 77, &flaw));
		block[i] ^= 1;
		block[i - 7] ^= 1;
		CU_ASSERT_FALSE(pd_block_find_flaw(block, PD_NODE, 77, &flaw));
	}
	memset(block, 0, sizeof(block));
	CU_ASSERT_FALSE(pd_block_find_flaw(block, PD_NODE, 77, &flaw));
}

static const struct unit_case cases[] = {
	{ "the test's own crc gives the standard's check value", reference },
	{ "the checksum of every kind is the crc of bytes 4..4095 xor the kind's salt", checksums },
	{ "the stored checksum is not part of what is summed", checksum_ignores_itself },
	{ "every kind is told by its checksum", kind_told },
	{ "a block is zeroes only when each of its bytes is zero", zeroes },
	{ "one changed bit anywhere makes the kind unknown", any_bit_matters },
	{ "a checksum with no known salt is of no known kind", other_salt },
	{ "the stored number lies at offset 16 in array blocks and at 8 in all others", numbers },
	{ "sealing writes the number and the checksum and leaves all else alone", seal },
	{ "every kind has a name of its own", names },
	{ "nodes and array blocks lie on disk as described", node_layout },
	{ "space map roots, indexes and bitmaps lie on disk as described", map_layout },
	{ "a good block of every kind is read, held and not reported", reads_every_kind },
	{ "the last block that the metadata has can be read", last_block },
	{ "a pointer past the end of the metadata is reported without being followed", beyond },
	{ "a block of zeroes is reported as such, whatever was wanted", all_zero },
	{ "a sound block of another kind is reported with both kinds", wrong_kind },
	{ "a wrong checksum is reported with the stored and the right one", bad_checksum },
	{ "a block that carries another number is reported with it", wrong_number },
	{ "an unreadable block is damage, is reported with its errno, and is tried again", unreadable },
	{ "what the world does is returned as an error, and not reported", world_fails },
	{ "a report takes place and range from the context, and keeps the problem's numbers", report_fills_in },
	{ "a single wrong byte is found by the checksum, wherever it is", finds_flaw },
	{ "two wrong bytes, another block, or another kind are not taken for one", finds_no_flaw },
	{ NULL, NULL },
};

const struct unit_suite block_suite = { "block", cases };
