// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "image.h"
#include "meta/block_fields.h"
#include "meta/meta.h"
#include "meta/thin.h"
#include "meta/thin_disk.h"
#include "unit.h"

#define NR_BLOCKS 64
#define NR_DATA 1000
#define LEN(table) (sizeof(table) / sizeof(*(table)))

/* Where the blocks of the pool below are. */
enum { DETAILS = 7, TOP = 8, TREE1 = 10, TREE2 = 11, HELD = 20, HELD_TOP = 21, HELD_DETAILS = 22, HELD_TREE = 23 };

static struct thin_pool pool;

static const struct problem *told_of(enum problem_code code)
{
	static const struct problem none = { .code = NR_PROBLEMS };

	for (unsigned i = 0; i < image.told.nr && i < IMAGE_MAX_TOLD; i++)
		if (image.told.p[i].code == code)
			return &image.told.p[i];
	return &none;
}

/* --- making a pool --- */

struct details {
	uint64_t id, mapped, transaction;
	uint32_t created, snapshotted;
};

struct run {
	uint64_t virtual, data, length;
	uint32_t time;
};

static void node(uint64_t block, uint32_t flags, uint32_t nr, uint32_t value_size)
{
	image_node(block, flags, nr, value_size == 24 ? 126 : 252, value_size);
}

static void put_details(uint64_t block, const struct details *d, unsigned nr)
{
	node(block, 2, nr, 24);
	for (unsigned i = 0; i < nr; i++) {
		uint8_t *value = image_at(block) + 32 + 8 * 126 + 24 * i;

		le_store(image_at(block) + 32 + 8 * i, 8, d[i].id);
		le_store(value, 8, d[i].mapped);
		le_store(value + 8, 8, d[i].transaction);
		le_store(value + 16, 4, d[i].created);
		le_store(value + 20, 4, d[i].snapshotted);
	}
	pd_block_seal(image_at(block), PD_NODE, block);
}

static void put_pairs(uint64_t block, uint32_t flags, const uint64_t (*pairs)[2], unsigned nr)
{
	node(block, flags, nr, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, pairs[i][0], pairs[i][1], 8);
}

static void put_runs(uint64_t block, const struct run *runs, unsigned nr)
{
	unsigned n = 0;

	node(block, 2, 0, 8);
	for (unsigned r = 0; r < nr; r++)
		for (uint64_t i = 0; i < runs[r].length; i++)
			image_entry(block, n++, runs[r].virtual + i, (runs[r].data + i) << 24 | runs[r].time, 8);
	le_store(image_at(block) + 16, 4, n);
	pd_block_seal(image_at(block), PD_NODE, block);
}

#define ROWS(type, ...) (const type[]){ __VA_ARGS__ }, sizeof((const type[]){ __VA_ARGS__ }) / sizeof(type)
typedef uint64_t pair[2];
#define DETAILS_AT(block, ...) put_details(block, ROWS(struct details, __VA_ARGS__))
#define LEAF_AT(block, ...) put_pairs(block, 2, ROWS(pair, __VA_ARGS__))
#define INTERNAL_AT(block, ...) put_pairs(block, 1, ROWS(pair, __VA_ARGS__))
#define RUNS_AT(block, ...) put_runs(block, ROWS(struct run, __VA_ARGS__))

/* A field of the superblock, by its offset in the description of the format. */
static void set(unsigned offset, unsigned size, uint64_t value)
{
	le_store(image_at(0) + offset, size, value);
	pd_block_seal(image_at(0), PD_THIN_SUPERBLOCK, 0);
}

static void good_superblock(void)
{
	set(32, 8, 27022010);
	set(40, 4, 2);
	set(44, 4, 9);
	set(48, 8, 21);
	set(64, 8, NR_DATA);
	set(192, 8, NR_BLOCKS);
	set(320, 8, TOP);
	set(328, 8, DETAILS);
	set(336, 4, 128);
	set(340, 4, 8);
	set(344, 8, NR_BLOCKS);
}

/* Two devices: 0..9 and 20 are mapped in device 1, and 5 in device 2. */
static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 4 * (PD_MAX_DEPTH + 1));
	good_superblock();
	DETAILS_AT(DETAILS, { 1, 11, 3, 1, 4 }, { 2, 1, 5, 2, 6 });
	LEAF_AT(TOP, { 1, TREE1 }, { 2, TREE2 });
	RUNS_AT(TREE1, { 0, 100, 10, 1 }, { 20, 50, 1, 1 });
	RUNS_AT(TREE2, { 5, 200, 1, 2 });
}

static void open_pool(void)
{
	CU_ASSERT_EQUAL_FATAL(thin_pool_open(&pool, image.reader.client, &image.told.sink), 0);
}

/* --- a visitor that writes down what it is given --- */

static struct {
	struct meta_visitor v;
	char text[4096];
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
	const struct record_superblock *s = record;
	const struct record_device *d = record;

	(void)v;
	if (kind == RECORD_SUPERBLOCK)
		return note("pool %u/%u {", (unsigned)s->transaction, s->time);
	CU_ASSERT_EQUAL(kind, RECORD_DEVICE);
	return note(" %u: %u %u %u-%u {", (unsigned)d->dev_id, (unsigned)d->mapped_blocks, (unsigned)d->transaction,
		    d->creation_time, d->snap_time);
}

/* "5>200@2" or "0..9>100..109@1" */
static int note_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_mapping *m = record;

	(void)v;
	CU_ASSERT_EQUAL(m->origin_last - m->origin_begin + 1, m->length);
	CU_ASSERT_EQUAL(m->data_last - m->data_begin + 1, m->length);
	if (kind == RECORD_SINGLE) {
		CU_ASSERT_EQUAL(m->length, 1);
		return note(" %llu>%llu@%u", (unsigned long long)m->origin_begin, (unsigned long long)m->data_begin,
			    m->time);
	}
	CU_ASSERT_EQUAL(kind, RECORD_RANGE);
	CU_ASSERT_TRUE(m->length > 1);
	return note(" %llu..%llu>%llu..%llu@%u", (unsigned long long)m->origin_begin,
		    (unsigned long long)m->origin_last, (unsigned long long)m->data_begin,
		    (unsigned long long)m->data_last, m->time);
}

static int note_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)v;
	(void)kind;
	(void)record;
	return note(" }");
}

static int note_problem(struct meta_visitor *v, const struct problem *p)
{
	(void)v;
	(void)p;
	return 0;
}

static struct meta_visitor *fresh_notes(void)
{
	memset(&notes, 0, sizeof(notes));
	notes.v = (struct meta_visitor){ note_begin, note_record, note_end, note_problem };
	return &notes.v;
}

static int walk_with(struct thin_walk w)
{
	return thin_walk(&pool, &w, fresh_notes());
}

/* Opens the pool, walks all of it, closes everything; what was told and noted stays. */
static void walk_all(void)
{
	open_pool();
	CU_ASSERT_EQUAL(walk_with((struct thin_walk){ .only_device = PROBLEM_NO_DEVICE }), 0);
	image_close();
}

static void one_problem(enum problem_code code, enum problem_where where, uint64_t dev_id)
{
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.p[0].code, code);
	CU_ASSERT_EQUAL(image.told.p[0].where, where);
	CU_ASSERT_EQUAL(image.told.p[0].dev_id, dev_id);
}

/* --- formats --- */

static void probe(uint64_t magic, enum pd_kind kind, bool is_supported)
{
	uint8_t block[PD_BLOCK_SIZE] = { 0 };
	const struct meta_format *format;

	le_store(block + 32, 8, magic);
	format = meta_probe(block);
	CU_ASSERT_PTR_NOT_NULL_FATAL(format);
	CU_ASSERT_EQUAL(format->superblock, kind);
	CU_ASSERT_EQUAL(format->magic, magic);
	CU_ASSERT_EQUAL(format->is_supported, is_supported);
	le_store(block + 32, 8, 0);
	pd_block_seal(block, kind, 0);
	CU_ASSERT_PTR_EQUAL(meta_probe(block), format);
}

static void probes(void)
{
	probe(27022010, PD_THIN_SUPERBLOCK, true);
	probe(1623043, PD_CACHE_SUPERBLOCK, false);
	probe(2126579579, PD_ERA_SUPERBLOCK, false);
}

static void probes_nothing(void)
{
	uint8_t block[PD_BLOCK_SIZE] = { 0 };

	CU_ASSERT_PTR_NULL(meta_probe(block));
	memset(block, 'x', sizeof(block));
	CU_ASSERT_PTR_NULL(meta_probe(block));
	pd_block_seal(block, PD_NODE, 0);
	CU_ASSERT_PTR_NULL(meta_probe(block));
}

/* --- the superblock --- */

static void layout(void)
{
	CU_ASSERT_EQUAL(sizeof(struct thin_superblock_disk), 364);
	CU_ASSERT_EQUAL(offsetof(struct thin_superblock_disk, magic), 32);
	CU_ASSERT_EQUAL(offsetof(struct thin_superblock_disk, held_root), 56);
	CU_ASSERT_EQUAL(offsetof(struct thin_superblock_disk, data_space_map_root), 64);
	CU_ASSERT_EQUAL(offsetof(struct thin_superblock_disk, metadata_space_map_root), 192);
	CU_ASSERT_EQUAL(offsetof(struct thin_superblock_disk, data_mapping_root), 320);
	CU_ASSERT_EQUAL(offsetof(struct thin_superblock_disk, incompat_flags), 360);
	CU_ASSERT_EQUAL(sizeof(struct thin_details_disk), 24);
	CU_ASSERT_EQUAL(offsetof(struct thin_details_disk, transaction_id), 8);
	CU_ASSERT_EQUAL(offsetof(struct thin_details_disk, creation_time), 16);
	CU_ASSERT_EQUAL(offsetof(struct thin_details_disk, snapshotted_time), 20);
}

/* Each 32 bit word of the block holds its own offset times 0x10001. */
static uint32_t word(unsigned offset)
{
	return 0x10001 * offset;
}

static uint64_t words(unsigned offset)
{
	return (uint64_t)word(offset + 4) << 32 | word(offset);
}

static void decodes_numbers(void)
{
	uint8_t block[PD_BLOCK_SIZE];
	struct thin_superblock sb;

	for (unsigned i = 0; i < PD_BLOCK_SIZE; i += 4)
		le_store(block + i, 4, word(i));
	thin_superblock_decode(block, &sb);
	CU_ASSERT_EQUAL(sb.csum, word(0));
	CU_ASSERT_EQUAL(sb.csum_expected, pd_block_checksum(block, PD_THIN_SUPERBLOCK));
	CU_ASSERT_EQUAL(sb.flags, word(4));
	CU_ASSERT_EQUAL(sb.blocknr, words(8));
	CU_ASSERT_EQUAL(memcmp(sb.uuid, block + 16, 16), 0);
	CU_ASSERT_EQUAL(sb.magic, words(32));
	CU_ASSERT_EQUAL(sb.version, word(40));
	CU_ASSERT_EQUAL(sb.time, word(44));
	CU_ASSERT_EQUAL(sb.trans_id, words(48));
	CU_ASSERT_EQUAL(sb.held_root, words(56));
	CU_ASSERT_EQUAL(sb.data_block_size, word(336));
	CU_ASSERT_EQUAL(sb.metadata_block_size, word(340));
	CU_ASSERT_EQUAL(sb.metadata_nr_blocks, words(344));
	CU_ASSERT_EQUAL(sb.compat_flags, word(352));
	CU_ASSERT_EQUAL(sb.compat_ro_flags, word(356));
	CU_ASSERT_EQUAL(sb.incompat_flags, word(360));
}

static void decodes_roots(void)
{
	uint8_t block[PD_BLOCK_SIZE];
	struct thin_superblock sb;

	for (unsigned i = 0; i < PD_BLOCK_SIZE; i += 4)
		le_store(block + i, 4, word(i));
	thin_superblock_decode(block, &sb);
	CU_ASSERT_EQUAL(sb.data_sm.nr_blocks, words(64));
	CU_ASSERT_EQUAL(sb.data_sm.nr_allocated, words(72));
	CU_ASSERT_EQUAL(sb.data_sm.bitmap_root, words(80));
	CU_ASSERT_EQUAL(sb.data_sm.ref_count_root, words(88));
	CU_ASSERT_EQUAL(sb.metadata_sm.nr_blocks, words(192));
	CU_ASSERT_EQUAL(sb.metadata_sm.nr_allocated, words(200));
	CU_ASSERT_EQUAL(sb.metadata_sm.bitmap_root, words(208));
	CU_ASSERT_EQUAL(sb.metadata_sm.ref_count_root, words(216));
	CU_ASSERT_EQUAL(sb.data_mapping_root, words(320));
	CU_ASSERT_EQUAL(sb.device_details_root, words(328));
}

static void uuid(void)
{
	struct thin_superblock sb = { 0 };
	char text[THIN_UUID_MAX];

	CU_ASSERT_STRING_EQUAL(thin_uuid_text(&sb, text), "");
	for (unsigned i = 0; i < 16; i++)
		sb.uuid[i] = (uint8_t)(0x11 * i);
	CU_ASSERT_STRING_EQUAL(thin_uuid_text(&sb, text), "00112233445566778899aabbccddeeff");
	memset(sb.uuid, 0, 16);
	sb.uuid[15] = 1;
	CU_ASSERT_STRING_EQUAL(thin_uuid_text(&sb, text), "00000000000000000000000000000001");
}

static void good_pool(void)
{
	start();
	open_pool();
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(pool.sb.data_mapping_root, TOP);
	CU_ASSERT_EQUAL(pool.live.data_mapping_root, TOP);
	CU_ASSERT_EQUAL(pool.nr_data_blocks, NR_DATA);
	CU_ASSERT_PTR_EQUAL(pool.reader.client, image.reader.client);
	image_close();
}

static void good_variants(void)
{
	static const struct {
		unsigned offset, size;
		uint64_t value;
	} good[] = {
		{ 40, 4, 1 }, { 336, 4, 256 }, { 336, 4, 384 }, { 336, 4, 2097152 }, { 48, 8, UINT64_MAX },
		{ 44, 4, 0 }, { 64, 8, 1 }, { 64, 8, (UINT64_C(1) << 40) - 1 }, { 56, 8, HELD },
	};

	for (unsigned i = 0; i < LEN(good); i++) {
		start();
		set(good[i].offset, good[i].size, good[i].value);
		open_pool();
		CU_ASSERT_EQUAL(image.told.nr, 0);
		image_close();
	}
}

static void judges(unsigned offset, unsigned size, uint64_t value, enum problem_code code)
{
	start();
	set(offset, size, value);
	open_pool();
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.p[0].code, code);
	CU_ASSERT_EQUAL(image.told.p[0].where, WHERE_SUPERBLOCK);
	CU_ASSERT_EQUAL(image.told.p[0].block, 0);
	CU_ASSERT_EQUAL(image.told.p[0].dev_id, PROBLEM_NO_DEVICE);
	CU_ASSERT_EQUAL(image.told.p[0].found, value);
	image_close();
}

static void judges_magic(void)
{
	judges(32, 8, 27022011, PROBLEM_SB_MAGIC);
	CU_ASSERT_EQUAL(image.told.p[0].expected, 27022010);
	judges(32, 8, 0, PROBLEM_SB_MAGIC);
}

static void judges_version(void)
{
	judges(40, 4, 0, PROBLEM_SB_VERSION);
	judges(40, 4, 3, PROBLEM_SB_VERSION);
	judges(40, 4, UINT32_MAX, PROBLEM_SB_VERSION);
}

static void judges_incompat(void)
{
	judges(360, 4, 1, PROBLEM_SB_INCOMPAT);
	judges(360, 4, 0x80000000, PROBLEM_SB_INCOMPAT);
}

static void judges_data_block_size(void)
{
	static const uint32_t sizes[] = { 0, 1, 64, 100, 127, 129, 192, 2097152 + 128, 0xFFFFFF80 };

	for (unsigned i = 0; i < LEN(sizes); i++)
		judges(336, 4, sizes[i], PROBLEM_SB_DATA_BLOCK_SIZE);
}

static void judges_metadata_block_size(void)
{
	judges(340, 4, 0, PROBLEM_SB_META_BLOCK_SIZE);
	judges(340, 4, 16, PROBLEM_SB_META_BLOCK_SIZE);
	CU_ASSERT_EQUAL(image.told.p[0].expected, 8);
}

static void judges_metadata_blocks(void)
{
	judges(344, 8, 32, PROBLEM_SB_META_BLOCKS);
	CU_ASSERT_EQUAL(image.told.p[0].expected, NR_BLOCKS);
	CU_ASSERT_EQUAL(problem_severity(&image.told.p[0]), SEVERITY_COSMETIC);
}

static void judges_number(void)
{
	start();
	pd_block_seal(image_at(0), PD_THIN_SUPERBLOCK, 5);
	open_pool();
	one_problem(PROBLEM_SB_NUMBER, WHERE_SUPERBLOCK, PROBLEM_NO_DEVICE);
	CU_ASSERT_EQUAL(image.told.p[0].block, 0);
	CU_ASSERT_EQUAL(image.told.p[0].found, 5);
	image_close();
}

static void judges_checksum(void)
{
	start();
	le_store(image_at(0) + 48, 8, 99);
	open_pool();
	one_problem(PROBLEM_SB_CHECKSUM, WHERE_SUPERBLOCK, PROBLEM_NO_DEVICE);
	CU_ASSERT_EQUAL(image.told.p[0].found, le_load(image_at(0), 4));
	CU_ASSERT_EQUAL(image.told.p[0].expected, pd_block_checksum(image_at(0), PD_THIN_SUPERBLOCK));
	CU_ASSERT_EQUAL(pool.sb.trans_id, 99);
	image_close();
}

static void judges_needs_check(void)
{
	start();
	set(4, 4, 1);
	open_pool();
	one_problem(PROBLEM_NEEDS_CHECK, WHERE_SUPERBLOCK, PROBLEM_NO_DEVICE);
	CU_ASSERT_EQUAL(problem_severity(&image.told.p[0]), SEVERITY_COSMETIC);
	image_close();
}

static void judges_space_map(unsigned offset, uint64_t value, uint64_t most)
{
	start();
	set(offset, 8, value);
	open_pool();
	CU_ASSERT_EQUAL(told_of(PROBLEM_SM_ROOT_BLOCKS)->code, PROBLEM_SM_ROOT_BLOCKS);
	CU_ASSERT_EQUAL(told_of(PROBLEM_SM_ROOT_BLOCKS)->found, value);
	CU_ASSERT_EQUAL(told_of(PROBLEM_SM_ROOT_BLOCKS)->expected, most);
	CU_ASSERT_EQUAL(told_of(PROBLEM_SM_ROOT_BLOCKS)->block, 0);
	image_close();
}

static void judges_space_maps(void)
{
	judges_space_map(192, 0, 4161600);
	judges_space_map(192, 4161601, 4161600);
	judges_space_map(192, UINT64_MAX, 4161600);
	judges_space_map(64, (UINT64_C(1) << 40) + 1, UINT64_C(1) << 40);
}

/* The mappings' 40 bits number this many blocks. */
static void largest_data_device(void)
{
	start();
	set(64, 8, UINT64_C(1) << 40);
	open_pool();
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* Without block 0 there is nothing that could be walked. */
static void unreadable_superblock(void)
{
	start();
	image.plan.fail_at = 1;
	image.plan.error = ENXIO;
	CU_ASSERT_EQUAL(thin_pool_open(&pool, image.reader.client, &image.told.sink), -ENXIO);
	image_close();
}

static void judges_device_size(void)
{
	start();
	set(192, 8, NR_BLOCKS + 1);
	set(344, 8, NR_BLOCKS + 1);
	open_pool();
	CU_ASSERT_EQUAL_FATAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.p[0].code, PROBLEM_DEVICE_SMALL);
	CU_ASSERT_EQUAL(image.told.p[0].expected, NR_BLOCKS + 1);
	CU_ASSERT_EQUAL(image.told.p[0].found, NR_BLOCKS);
	CU_ASSERT_EQUAL(pool.reader.nr_blocks, NR_BLOCKS);
	image_close();
}

static void judges_every_field(void)
{
	start();
	set(32, 8, 1);
	set(40, 4, 7);
	set(336, 4, 100);
	set(4, 4, 1);
	open_pool();
	CU_ASSERT_EQUAL(image.told.nr, 4);
	CU_ASSERT_EQUAL(told_of(PROBLEM_SB_MAGIC)->code, PROBLEM_SB_MAGIC);
	CU_ASSERT_EQUAL(told_of(PROBLEM_SB_VERSION)->code, PROBLEM_SB_VERSION);
	CU_ASSERT_EQUAL(told_of(PROBLEM_SB_DATA_BLOCK_SIZE)->code, PROBLEM_SB_DATA_BLOCK_SIZE);
	CU_ASSERT_EQUAL(told_of(PROBLEM_NEEDS_CHECK)->code, PROBLEM_NEEDS_CHECK);
	image_close();
}

static void trusted_size(void)
{
	start();
	set(192, 8, 32);
	set(344, 8, 32);
	open_pool();
	CU_ASSERT_EQUAL(pool.reader.nr_blocks, 32);
	image_at(0)[0] ^= 1;
	image_close();

	start();
	set(192, 8, 32);
	set(344, 8, 32);
	image_at(0)[0] ^= 1;
	open_pool();
	CU_ASSERT_EQUAL(pool.reader.nr_blocks, NR_BLOCKS);
	image_close();
}

/* --- the metadata snapshot --- */

static void make_snapshot(void)
{
	memcpy(image_at(HELD), image_at(0), PD_BLOCK_SIZE);
	memset(image_at(HELD) + 64, 0, 256);
	le_store(image_at(HELD) + 320, 8, HELD_TOP);
	le_store(image_at(HELD) + 328, 8, HELD_DETAILS);
	le_store(image_at(HELD) + 48, 8, 20);
	pd_block_seal(image_at(HELD), PD_THIN_SUPERBLOCK, HELD);
	DETAILS_AT(HELD_DETAILS, { 7, 2, 3, 1, 1 });
	LEAF_AT(HELD_TOP, { 7, HELD_TREE });
	RUNS_AT(HELD_TREE, { 4, 998, 2, 1 });
	set(56, 8, HELD);
}

static void no_snapshot(void)
{
	start();
	open_pool();
	CU_ASSERT_EQUAL(thin_pool_use_snapshot(&pool, 0), 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void good_snapshot(void)
{
	start();
	make_snapshot();
	open_pool();
	CU_ASSERT_EQUAL(thin_pool_use_snapshot(&pool, 0), 1);
	CU_ASSERT_EQUAL(pool.sb.data_mapping_root, HELD_TOP);
	CU_ASSERT_EQUAL(pool.sb.device_details_root, HELD_DETAILS);
	CU_ASSERT_EQUAL(pool.live.data_mapping_root, TOP);
	CU_ASSERT_EQUAL(pool.nr_data_blocks, NR_DATA);
	CU_ASSERT_EQUAL(walk_with((struct thin_walk){ .only_device = PROBLEM_NO_DEVICE }), 0);
	CU_ASSERT_STRING_EQUAL(notes.text, "pool 20/9 { 7: 2 3 1-1 { 4..5>998..999@1 } }");
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void snapshot_at_a_block(void)
{
	start();
	make_snapshot();
	set(56, 8, 0);
	open_pool();
	CU_ASSERT_EQUAL(thin_pool_use_snapshot(&pool, HELD), 1);
	CU_ASSERT_EQUAL(pool.sb.data_mapping_root, HELD_TOP);
	image_close();
}

static void damaged_snapshot(uint64_t block, enum problem_code code)
{
	open_pool();
	CU_ASSERT_EQUAL(thin_pool_use_snapshot(&pool, block), 0);
	one_problem(code, WHERE_HELD, PROBLEM_NO_DEVICE);
	CU_ASSERT_EQUAL(image.told.p[0].block, block ? block : HELD);
	image_close();
}

static void damaged_snapshots(void)
{
	start();
	make_snapshot();
	image_at(HELD)[60] ^= 1;
	damaged_snapshot(0, PROBLEM_BLOCK_CHECKSUM);

	start();
	make_snapshot();
	pd_block_seal(image_at(HELD), PD_THIN_SUPERBLOCK, 0);
	damaged_snapshot(0, PROBLEM_BLOCK_NUMBER);

	start();
	make_snapshot();
	damaged_snapshot(TREE1, PROBLEM_BLOCK_KIND);

	start();
	make_snapshot();
	damaged_snapshot(NR_BLOCKS, PROBLEM_BLOCK_BEYOND);
}

/* --- devices --- */

static void devices_merged(void)
{
	struct thin_devices d;
	struct thin_device device;

	start();
	open_pool();
	thin_devices_open(&d, &pool);
	CU_ASSERT_EQUAL_FATAL(thin_devices_next(&d, &device), 1);
	CU_ASSERT_EQUAL(device.id, 1);
	CU_ASSERT_TRUE(device.has_details && device.has_root);
	CU_ASSERT_EQUAL(device.mapped_blocks, 11);
	CU_ASSERT_EQUAL(device.transaction_id, 3);
	CU_ASSERT_EQUAL(device.creation_time, 1);
	CU_ASSERT_EQUAL(device.snapshotted_time, 4);
	CU_ASSERT_EQUAL(device.root, TREE1);
	CU_ASSERT_EQUAL_FATAL(thin_devices_next(&d, &device), 1);
	CU_ASSERT_EQUAL(device.id, 2);
	CU_ASSERT_EQUAL(device.root, TREE2);
	CU_ASSERT_EQUAL(thin_devices_next(&d, &device), 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	thin_devices_close(&d);
	image_close();
}

/* Device by device: "12" in both, "d" details only, "t" top level only. */
static void devices_are(const char *expected)
{
	char got[32] = "";
	struct thin_devices d;
	struct thin_device device;
	size_t n = 0;

	open_pool();
	thin_devices_open(&d, &pool);
	while (thin_devices_next(&d, &device) == 1 && n < sizeof(got) - 4) {
		got[n++] = (char)('0' + device.id % 10);
		if (!device.has_root)
			got[n++] = 'd';
		if (!device.has_details)
			got[n++] = 't';
	}
	CU_ASSERT_STRING_EQUAL(got, expected);
	thin_devices_close(&d);
	image_close();
}

static void devices_in_one_tree(void)
{
	start();
	DETAILS_AT(DETAILS, { 1, 0, 0, 0, 0 }, { 2, 0, 0, 0, 0 }, { 4, 0, 0, 0, 0 });
	LEAF_AT(TOP, { 1, TREE1 }, { 3, TREE2 }, { 4, TREE1 });
	devices_are("12d3t4");
	CU_ASSERT_EQUAL(image.told.nr, 2);
	CU_ASSERT_EQUAL(told_of(PROBLEM_DEVICE_MAPPINGS)->dev_id, 2);
	CU_ASSERT_EQUAL(told_of(PROBLEM_DEVICE_DETAILS)->dev_id, 3);
}

/* Keys of the top level are device ids, so its range says which device is lost; a range of mappings would be theirs. */
static void missing_mappings_range(void)
{
	const struct problem *p;

	start();
	DETAILS_AT(DETAILS, { 1, 0, 0, 0, 0 }, { 2, 0, 0, 0, 0 });
	LEAF_AT(TOP, { 1, TREE1 });
	devices_are("12d");
	p = told_of(PROBLEM_DEVICE_MAPPINGS);
	CU_ASSERT_EQUAL(p->dev_id, 2);
	if (p->where == WHERE_TOP && p->begin != p->end) {
		CU_ASSERT_EQUAL(p->begin, 2);
		CU_ASSERT_EQUAL(p->end, 3);
	}
}

static void devices_at_the_ends(void)
{
	start();
	DETAILS_AT(DETAILS, { 1, 0, 0, 0, 0 }, { 9, 0, 0, 0, 0 });
	LEAF_AT(TOP, { 5, TREE1 });
	devices_are("1d5t9d");

	start();
	DETAILS_AT(DETAILS, { 5, 0, 0, 0, 0 });
	LEAF_AT(TOP, { 1, TREE1 }, { 9, TREE1 });
	devices_are("1t5d9t");
}

static void no_devices(void)
{
	start();
	node(DETAILS, 2, 0, 24);
	node(TOP, 2, 0, 8);
	devices_are("");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void details_lost(void)
{
	start();
	image_at(DETAILS)[50] ^= 1;
	devices_are("1t2t");
	one_problem(PROBLEM_BLOCK_CHECKSUM, WHERE_DETAILS, PROBLEM_NO_DEVICE);
	CU_ASSERT_EQUAL(image.told.p[0].begin, 0);
	CU_ASSERT_EQUAL(image.told.p[0].end, UINT64_MAX);
}

static void top_lost(void)
{
	start();
	image_at(TOP)[50] ^= 1;
	devices_are("1d2d");
	one_problem(PROBLEM_BLOCK_CHECKSUM, WHERE_TOP, PROBLEM_NO_DEVICE);
}

/* Device 1 was in the lost leaf, which was reported already. */
static void half_of_details_lost(void)
{
	start();
	DETAILS_AT(31, { 4, 0, 0, 0, 0 });
	DETAILS_AT(30, { 1, 0, 0, 0, 0 });
	image_at(30)[50] ^= 1;
	INTERNAL_AT(DETAILS, { 1, 30 }, { 4, 31 });
	LEAF_AT(TOP, { 1, TREE1 }, { 4, TREE2 });
	devices_are("1t4");
	one_problem(PROBLEM_BLOCK_CHECKSUM, WHERE_DETAILS, PROBLEM_NO_DEVICE);
	CU_ASSERT_EQUAL(image.told.p[0].begin, 1);
	CU_ASSERT_EQUAL(image.told.p[0].end, 4);
}

static void large_id(void)
{
	const uint64_t id = (UINT64_C(1) << 24) - 1;

	start();
	DETAILS_AT(DETAILS, { id, 0, 0, 0, 0 });
	LEAF_AT(TOP, { id, TREE1 });
	devices_are("5");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void too_large_id(void)
{
	const uint64_t id = UINT64_C(1) << 24;
	struct thin_devices d;
	struct thin_device device;

	start();
	DETAILS_AT(DETAILS, { 1, 11, 3, 1, 4 }, { id, 0, 0, 0, 0 });
	LEAF_AT(TOP, { 1, TREE1 }, { id, TREE2 });
	open_pool();
	thin_devices_open(&d, &pool);
	while (thin_devices_next(&d, &device) > 0)
		;
	thin_devices_close(&d);
	CU_ASSERT_EQUAL(told_of(PROBLEM_DEVICE_ID)->code, PROBLEM_DEVICE_ID);
	CU_ASSERT_EQUAL(told_of(PROBLEM_DEVICE_ID)->found, id);
	CU_ASSERT_EQUAL(told_of(PROBLEM_DEVICE_ID)->expected, id);
	CU_ASSERT_EQUAL(image.told.nr, 1);
	image_close();
}

static void devices_closed_early(void)
{
	struct thin_devices d;
	struct thin_device device;

	start();
	open_pool();
	thin_devices_open(&d, &pool);
	CU_ASSERT_EQUAL(thin_devices_next(&d, &device), 1);
	thin_devices_close(&d);
	image_close();
}

/* --- the walk --- */

static void walks_in_order(void)
{
	start();
	walk_all();
	CU_ASSERT_STRING_EQUAL(notes.text,
			       "pool 21/9 { 1: 11 3 1-4 { 0..9>100..109@1 20>50@1 } 2: 1 5 2-6 { 5>200@2 } }");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static int keep_superblock(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_superblock *s = record;

	(void)v;
	if (kind != RECORD_SUPERBLOCK)
		return 0;
	CU_ASSERT_STRING_EQUAL(s->uuid, "");
	CU_ASSERT_EQUAL(s->time, 9);
	CU_ASSERT_EQUAL(s->transaction, 21);
	CU_ASSERT_EQUAL(s->flags, 0);
	CU_ASSERT_EQUAL(s->version, 2);
	CU_ASSERT_EQUAL(s->data_block_size, 128);
	CU_ASSERT_EQUAL(s->nr_data_blocks, NR_DATA);
	notes.calls++;
	return 0;
}

static void superblock_record(void)
{
	struct thin_walk w = { .only_device = PROBLEM_NO_DEVICE };

	start();
	open_pool();
	fresh_notes()->begin = keep_superblock;
	CU_ASSERT_EQUAL(thin_walk(&pool, &w, &notes.v), 0);
	CU_ASSERT_TRUE(notes.calls > 0);
	image_close();
}

static void empty_pool(void)
{
	start();
	node(DETAILS, 2, 0, 24);
	node(TOP, 2, 0, 8);
	walk_all();
	CU_ASSERT_STRING_EQUAL(notes.text, "pool 21/9 { }");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

/* Device 1 alone, with @mapped mappings in its details. */
static void only_device_1(uint64_t mapped)
{
	DETAILS_AT(DETAILS, { 1, mapped, 3, 1, 4 });
	LEAF_AT(TOP, { 1, TREE1 });
}

static void merged_across_leaves(void)
{
	start();
	only_device_1(30);
	RUNS_AT(30, { 0, 100, 10, 1 });
	RUNS_AT(31, { 10, 110, 10, 1 });
	RUNS_AT(32, { 20, 120, 10, 1 });
	INTERNAL_AT(TREE1, { 0, 30 }, { 10, 31 }, { 20, 32 });
	walk_all();
	CU_ASSERT_STRING_EQUAL(notes.text, "pool 21/9 { 1: 30 3 1-4 { 0..29>100..129@1 } }");
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void split_runs(const char *expected, uint64_t mapped, const struct run *runs, unsigned nr)
{
	char text[200];

	start();
	only_device_1(mapped);
	put_runs(TREE1, runs, nr);
	walk_all();
	snprintf(text, sizeof(text), "pool 21/9 { 1: %u 3 1-4 { %s } }", (unsigned)mapped, expected);
	CU_ASSERT_STRING_EQUAL(notes.text, text);
	CU_ASSERT_EQUAL(image.told.nr, 0);
}

static void split_at_time(void)
{
	split_runs("0..4>100..104@1 5..9>105..109@2", 10, ROWS(struct run, { 0, 100, 5, 1 }, { 5, 105, 5, 2 }));
}

static void split_at_gaps(void)
{
	split_runs("0..4>100..104@1 6..9>105..108@1", 9, ROWS(struct run, { 0, 100, 5, 1 }, { 6, 105, 4, 1 }));
	split_runs("0..4>100..104@1 5..9>106..110@1", 10, ROWS(struct run, { 0, 100, 5, 1 }, { 5, 106, 5, 1 }));
	split_runs("0..4>100..104@1 5..9>100..104@1", 10, ROWS(struct run, { 0, 100, 5, 1 }, { 5, 100, 5, 1 }));
}

static void falling_data(void)
{
	split_runs("0>12@1 1>11@1 2>10@1", 3, ROWS(struct run, { 0, 12, 1, 1 }, { 1, 11, 1, 1 }, { 2, 10, 1, 1 }));
}

static void single_and_range(void)
{
	split_runs("0>5@1 2..3>7..8@1 5>9@1", 4, ROWS(struct run, { 0, 5, 1, 1 }, { 2, 7, 2, 1 }, { 5, 9, 1, 1 }));
}

/* A hole between two leaves that would fit together. */
static void not_merged_over_a_hole(void)
{
	start();
	only_device_1(30);
	RUNS_AT(30, { 0, 100, 10, 1 });
	RUNS_AT(31, { 10, 110, 10, 1 });
	RUNS_AT(32, { 20, 120, 10, 1 });
	INTERNAL_AT(TREE1, { 0, 30 }, { 10, 31 }, { 20, 32 });
	image_at(31)[60] ^= 1;
	walk_all();
	CU_ASSERT_STRING_EQUAL(notes.text, "pool 21/9 { 1: 30 3 1-4 { 0..9>100..109@1 20..29>120..129@1 } }");
	one_problem(PROBLEM_BLOCK_CHECKSUM, WHERE_MAPPINGS, 1);
	CU_ASSERT_EQUAL(image.told.p[0].begin, 10);
	CU_ASSERT_EQUAL(image.told.p[0].end, 20);
}

static void only_one_device(void)
{
	start();
	image_at(TREE1)[60] ^= 1;
	open_pool();
	CU_ASSERT_EQUAL(walk_with((struct thin_walk){ .only_device = 2 }), 0);
	CU_ASSERT_STRING_EQUAL(notes.text, "pool 21/9 { 2: 1 5 2-6 { 5>200@2 } }");
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void no_such_device(void)
{
	start();
	open_pool();
	CU_ASSERT_EQUAL(walk_with((struct thin_walk){ .only_device = 3 }), 0);
	CU_ASSERT_STRING_EQUAL(notes.text, "pool 21/9 { }");
	image_close();
}

static void skips_mappings(void)
{
	start();
	image_at(TREE1)[60] ^= 1;
	open_pool();
	CU_ASSERT_EQUAL(walk_with((struct thin_walk){ .only_device = PROBLEM_NO_DEVICE, .skip_mappings = true }), 0);
	CU_ASSERT_STRING_EQUAL(notes.text, "pool 21/9 { 1: 11 3 1-4 { } 2: 1 5 2-6 { } }");
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* Nine calls, each of which fails once. */
static void visitor_fails(void)
{
	struct thin_walk w = { .only_device = PROBLEM_NO_DEVICE };
	unsigned nr;

	start();
	open_pool();
	CU_ASSERT_EQUAL(thin_walk(&pool, &w, fresh_notes()), 0);
	nr = notes.calls;
	CU_ASSERT_EQUAL(nr, 9);
	for (unsigned i = 1; i <= nr; i++) {
		fresh_notes();
		notes.fail_at = i;
		CU_ASSERT_EQUAL(thin_walk(&pool, &w, &notes.v), -ECANCELED);
		CU_ASSERT_EQUAL(notes.calls, i);
	}
	image_close();
}

static void wrong_mapped_blocks(void)
{
	start();
	DETAILS_AT(DETAILS, { 1, 12, 3, 1, 4 }, { 2, 1, 5, 2, 6 });
	walk_all();
	one_problem(PROBLEM_MAPPED_BLOCKS, image.told.p[0].where, 1);
	CU_ASSERT_EQUAL(image.told.p[0].found, 12);
	CU_ASSERT_EQUAL(image.told.p[0].expected, 11);
}

static void mapped_blocks_with_holes(void)
{
	start();
	image_at(TREE1)[60] ^= 1;
	walk_all();
	one_problem(PROBLEM_BLOCK_CHECKSUM, WHERE_MAPPINGS, 1);
	CU_ASSERT_STRING_EQUAL(notes.text, "pool 21/9 { 1: 11 3 1-4 { } 2: 1 5 2-6 { 5>200@2 } }");
}

static void beyond_data(void)
{
	start();
	only_device_1(15);
	RUNS_AT(TREE1, { 0, 100, 3, 1 }, { 10, 995, 10, 1 }, { 50, 7, 1, 1 }, { 60, 5000, 1, 1 });
	walk_all();
	one_problem(PROBLEM_DATA_BEYOND, WHERE_MAPPINGS, 1);
	CU_ASSERT_EQUAL(image.told.p[0].block, TREE1);
	CU_ASSERT_EQUAL(image.told.p[0].expected, NR_DATA);
	CU_ASSERT_EQUAL(image.told.p[0].found, 1000);
	CU_ASSERT_EQUAL(image.told.p[0].count, 6);
	CU_ASSERT_EQUAL(image.told.p[0].begin, 15);
	CU_ASSERT_EQUAL(image.told.p[0].end, 61);
}

static void beyond_data_in_each_leaf(void)
{
	start();
	only_device_1(4);
	RUNS_AT(30, { 0, 1000, 2, 1 });
	RUNS_AT(31, { 10, 2000, 2, 1 });
	INTERNAL_AT(TREE1, { 0, 30 }, { 10, 31 });
	walk_all();
	CU_ASSERT_EQUAL(image.told.nr, 2);
	CU_ASSERT_EQUAL(image.told.p[0].block, 30);
	CU_ASSERT_EQUAL(image.told.p[0].count, 2);
	CU_ASSERT_EQUAL(image.told.p[1].block, 31);
	CU_ASSERT_EQUAL(image.told.p[1].found, 2000);
	CU_ASSERT_EQUAL(image.told.p[1].begin, 10);
	CU_ASSERT_EQUAL(image.told.p[1].end, 12);
}

static void last_data_block(void)
{
	split_runs("3>999@1", 1, ROWS(struct run, { 3, 999, 1, 1 }));
}

static void data_size_not_known(void)
{
	start();
	only_device_1(2);
	RUNS_AT(TREE1, { 1, (UINT64_C(1) << 40) - 2, 2, 0xFFFFFF });
	open_pool();
	pool.nr_data_blocks = THIN_UNKNOWN_SIZE;
	CU_ASSERT_EQUAL(walk_with((struct thin_walk){ .only_device = 1 }), 0);
	CU_ASSERT_STRING_EQUAL(notes.text,
			       "pool 21/9 { 1: 2 3 1-4 { 1..2>1099511627774..1099511627775@16777215 } }");
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

/* The bits of a block number that is one too large would be those of block 0. */
static void split_at_the_last_block(void)
{
	start();
	only_device_1(4);
	RUNS_AT(TREE1, { 1, (UINT64_C(1) << 40) - 2, 2, 5 }, { 3, 0, 2, 5 });
	open_pool();
	pool.nr_data_blocks = THIN_UNKNOWN_SIZE;
	CU_ASSERT_EQUAL(walk_with((struct thin_walk){ .only_device = 1 }), 0);
	CU_ASSERT_STRING_EQUAL(notes.text,
			       "pool 21/9 { 1: 4 3 1-4 { 1..2>1099511627774..1099511627775@5 3..4>0..1@5 } }");
	image_close();
}

static void invented_details(void)
{
	start();
	DETAILS_AT(DETAILS, { 2, 1, 5, 2, 6 });
	walk_all();
	CU_ASSERT_STRING_EQUAL(notes.text,
			       "pool 21/9 { 1: 11 21 9-9 { 0..9>100..109@1 20>50@1 } 2: 1 5 2-6 { 5>200@2 } }");
	CU_ASSERT_EQUAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(told_of(PROBLEM_DEVICE_DETAILS)->dev_id, 1);
}

/* A mapping's block counts as shared when the device's snapshot time is larger than the mapping's. */
static void invented_times_are_safe(void)
{
	start();
	DETAILS_AT(DETAILS, { 2, 1, 5, 2, 6 });
	RUNS_AT(TREE1, { 0, 100, 1, 8 }, { 1, 200, 1, 8 });
	walk_all();
	CU_ASSERT_PTR_NOT_NULL(strstr(notes.text, " 1: 2 21 9-9 {"));
}

static void counts_without_visitor(void)
{
	struct thin_device device = { .id = 1, .has_details = true, .has_root = true, .mapped_blocks = 11,
				      .root = TREE1 };
	struct thin_count count = { .mappings = 77, .holes = 77 };

	start();
	open_pool();
	CU_ASSERT_EQUAL(thin_walk_mappings(&pool, &device, NULL, NULL, &count), 0);
	CU_ASSERT_EQUAL(count.mappings, 11);
	CU_ASSERT_EQUAL(count.holes, 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(count.visited, 11);
	CU_ASSERT_EQUAL(count.highest, 20);
	device.mapped_blocks = 10;
	CU_ASSERT_EQUAL(thin_walk_mappings(&pool, &device, NULL, NULL, &count), 0);
	CU_ASSERT_EQUAL(told_of(PROBLEM_MAPPED_BLOCKS)->found, 10);
	CU_ASSERT_EQUAL(told_of(PROBLEM_MAPPED_BLOCKS)->expected, 11);
	image_close();
}

static uint64_t blocks_asked(void)
{
	struct bufio_stats s;

	bufio_get_stats(image.reader.client, &s);
	return s.hits + s.misses;
}

static void shared_counted_for_nothing(void)
{
	static struct pd_memo_entry entries[NR_BLOCKS];
	struct pd_memo memo = { .entries = entries, .nr = NR_BLOCKS, .retell = 1000 };
	struct thin_device origin = { .id = 1, .has_details = true, .has_root = true, .mapped_blocks = 11,
				      .root = TREE1 };
	struct thin_device snapshot = origin;
	struct thin_count count = { 0 };
	uint64_t before;

	memset(entries, 0, sizeof(entries));
	start();
	open_pool();
	CU_ASSERT_EQUAL(thin_walk_mappings(&pool, &origin, &memo, NULL, &count), 0);
	before = blocks_asked();
	snapshot.id = 2;
	CU_ASSERT_EQUAL(thin_walk_mappings(&pool, &snapshot, &memo, NULL, &count), 0);
	CU_ASSERT_EQUAL(count.mappings, 11);
	CU_ASSERT_EQUAL(count.visited, 0);
	CU_ASSERT_EQUAL(count.highest, 20);
	CU_ASSERT_EQUAL(blocks_asked() - before, 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	image_close();
}

static void counts_holes(void)
{
	struct thin_device device = { .id = 1, .has_details = true, .has_root = true, .mapped_blocks = 11,
				      .root = TREE1 };
	struct thin_count count = { .mappings = 77, .holes = 77 };

	start();
	image_at(TREE1)[60] ^= 1;
	open_pool();
	CU_ASSERT_EQUAL(thin_walk_mappings(&pool, &device, NULL, NULL, &count), 0);
	CU_ASSERT_EQUAL(count.mappings, 0);
	CU_ASSERT_EQUAL(count.holes, 1);
	image_close();
}

/* Device 2 is a snapshot of 1: what is wrong with the shared leaf is wrong with both. */
static void shared_flaw_told_to_each(void)
{
	static struct pd_memo_entry entries[NR_BLOCKS];
	struct pd_memo memo = { .entries = entries, .nr = NR_BLOCKS, .retell = 1000 };
	struct thin_device device = { .has_details = true, .has_root = true, .mapped_blocks = 3, .root = TREE1 };
	struct thin_count count = { 0 };

	memset(entries, 0, sizeof(entries));
	start();
	RUNS_AT(TREE1, { 0, 998, 3, 1 });
	open_pool();
	for (device.id = 1; device.id <= 2; device.id++) {
		CU_ASSERT_EQUAL(thin_walk_mappings(&pool, &device, &memo, NULL, &count), 0);
		CU_ASSERT_EQUAL(count.mappings, 3);
		CU_ASSERT_EQUAL(count.flaws, 1);
		CU_ASSERT_EQUAL(count.holes, 0);
		CU_ASSERT_EQUAL(image.told.nr, device.id);
		CU_ASSERT_EQUAL(image.told.p[device.id - 1].code, PROBLEM_DATA_BEYOND);
		CU_ASSERT_EQUAL(image.told.p[device.id - 1].dev_id, device.id);
	}
	image_close();
}

/* --- any block, field by field --- */

static struct {
	struct meta_visitor v;
	unsigned begins, ends, fields, fail_at, calls;
	uint64_t block;
	char kind[64], magic[64];
	unsigned size;
} shown;

static int shown_call(void)
{
	return ++shown.calls == shown.fail_at ? -ECANCELED : 0;
}

static int show_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_block *b = record;

	(void)v;
	CU_ASSERT_EQUAL(kind, RECORD_BLOCK);
	shown.begins++;
	shown.block = b->block;
	snprintf(shown.kind, sizeof(shown.kind), "%s", b->kind);
	return shown_call();
}

static int show_field(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_field *f = record;

	(void)v;
	CU_ASSERT_EQUAL(kind, RECORD_FIELD);
	CU_ASSERT_TRUE(f->offset < shown.size);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->hex);
	shown.fields++;
	if (f->name && !strcmp(f->name, "magic"))
		snprintf(shown.magic, sizeof(shown.magic), "%s", f->value);
	return shown_call();
}

static int show_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)v;
	(void)record;
	CU_ASSERT_EQUAL(kind, RECORD_BLOCK);
	shown.ends++;
	return shown_call();
}

static int show(const void *data, unsigned size, unsigned fail_at)
{
	memset(&shown, 0, sizeof(shown));
	shown.v = (struct meta_visitor){ show_begin, show_field, show_end, note_problem };
	shown.size = size;
	shown.fail_at = fail_at;
	return meta_visit_block(data, size, 33, &shown.v);
}

static void shows_superblock(void)
{
	start();
	CU_ASSERT_EQUAL(show(image_at(0), PD_BLOCK_SIZE, 0), 0);
	CU_ASSERT_EQUAL(shown.begins, 1);
	CU_ASSERT_EQUAL(shown.ends, 1);
	CU_ASSERT_EQUAL(shown.block, 33);
	CU_ASSERT_STRING_EQUAL(shown.kind, pd_kind_name(PD_THIN_SUPERBLOCK));
	CU_ASSERT_EQUAL(strncmp(shown.magic, "27022010", 8), 0);
	image_close();
}

static void shows_every_kind(void)
{
	uint8_t block[PD_BLOCK_SIZE];

	for (unsigned kind = PD_NODE; kind < NR_PD_KINDS; kind++)
		for (unsigned fill = 0; fill < 256; fill += 51) {
			memset(block, (int)fill, sizeof(block));
			pd_block_seal(block, kind, 33);
			CU_ASSERT_EQUAL(show(block, PD_BLOCK_SIZE, 0), 0);
			CU_ASSERT_STRING_EQUAL(shown.kind, pd_kind_name(kind));
			CU_ASSERT_TRUE(shown.fields > 2);
			CU_ASSERT_EQUAL(shown.ends, 1);
		}
}

static void shows_bytes(void)
{
	static uint8_t bytes[8192];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 >> 4);
	CU_ASSERT_EQUAL(show(bytes, 512, 0), 0);
	CU_ASSERT_TRUE(shown.fields > 0);
	CU_ASSERT_EQUAL(show(bytes, sizeof(bytes), 0), 0);
	CU_ASSERT_EQUAL(shown.fields, sizeof(bytes) / 16);
	CU_ASSERT_EQUAL(shown.ends, 1);
}

static void shown_visitor_fails(void)
{
	unsigned nr;

	start();
	CU_ASSERT_EQUAL(show(image_at(TREE2), PD_BLOCK_SIZE, 0), 0);
	nr = shown.calls;
	for (unsigned i = 1; i <= nr; i++) {
		CU_ASSERT_EQUAL(show(image_at(TREE2), PD_BLOCK_SIZE, i), -ECANCELED);
		CU_ASSERT_EQUAL(shown.calls, i);
	}
	image_close();
}

static const struct unit_case cases[] = {
	{ "the magic number or the checksum alone tells the format", probes },
	{ "neither magic number nor a superblock's checksum is no format", probes_nothing },
	{ "superblock and details lie on disk as described", layout },
	{ "the superblock's numbers are where the layout says", decodes_numbers },
	{ "the superblock's roots are where the layout says", decodes_roots },
	{ "a uuid is 32 digits, and nothing when it is zero", uuid },
	{ "opening a good pool reports nothing", good_pool },
	{ "every value that the format allows is good", good_variants },
	{ "a wrong magic number is reported", judges_magic },
	{ "a version that is neither 1 nor 2 is reported", judges_version },
	{ "incompatible features are reported", judges_incompat },
	{ "a data block size that is no multiple of 64 KiB up to 1 GiB is reported", judges_data_block_size },
	{ "a metadata block size other than 4 KiB is reported", judges_metadata_block_size },
	{ "another number of metadata blocks than the space map's is cosmetic", judges_metadata_blocks },
	{ "a superblock with another block's number is reported", judges_number },
	{ "a wrong checksum is reported with both, and the fields are used", judges_checksum },
	{ "needs_check is cosmetic", judges_needs_check },
	{ "a metadata space map of no blocks, and any of more than can be, is reported", judges_space_maps },
	{ "a data device of 2^40 blocks is the largest good one", largest_data_device },
	{ "an unreadable superblock is an error", unreadable_superblock },
	{ "a device that is smaller than its metadata is reported", judges_device_size },
	{ "every field is judged, whatever the others say", judges_every_field },
	{ "the metadata's own size is trusted where the checksum is right", trusted_size },
	{ "without a metadata snapshot there is none to use, and nothing wrong", no_snapshot },
	{ "a metadata snapshot has its own roots and the live pool's data size", good_snapshot },
	{ "a metadata snapshot can be named by its block", snapshot_at_a_block },
	{ "a damaged metadata snapshot is reported as such, and not used", damaged_snapshots },
	{ "a device is what both trees say about it", devices_merged },
	{ "devices in one tree only are given in order, and reported", devices_in_one_tree },
	{ "a device whose mappings are missing costs no other device", missing_mappings_range },
	{ "the trees may begin and end with different devices", devices_at_the_ends },
	{ "a pool may have no devices", no_devices },
	{ "missing details are not reported when details were lost", details_lost },
	{ "missing mappings are not reported when the top level was lost", top_lost },
	{ "missing details are not reported when a part of the details was lost", half_of_details_lost },
	{ "the largest device id is a good one", large_id },
	{ "a larger device id is reported, once", too_large_id },
	{ "devices may be closed before their end", devices_closed_early },
	{ "superblock, devices and mappings are given in order", walks_in_order },
	{ "the superblock's record has what block 0 says", superblock_record },
	{ "a pool without devices is a superblock", empty_pool },
	{ "a run goes on across leaves", merged_across_leaves },
	{ "a run ends where the time changes", split_at_time },
	{ "a run ends at a gap in virtual or data blocks", split_at_gaps },
	{ "falling data blocks are no run", falling_data },
	{ "one block is a single mapping, more are a range", single_and_range },
	{ "a run ends at a lost leaf", not_merged_over_a_hole },
	{ "a run ends at the last data block that there can be", split_at_the_last_block },
	{ "one device can be walked alone, and only its damage is found", only_one_device },
	{ "of a device that does not exist nothing is given", no_such_device },
	{ "skipped mappings are not read", skips_mappings },
	{ "the visitor's error stops the walk at once and is returned", visitor_fails },
	{ "a wrong mapped_blocks is reported with the right one", wrong_mapped_blocks },
	{ "mapped_blocks is not judged when mappings were lost", mapped_blocks_with_holes },
	{ "mappings beyond the data are counted, with the first one and the range", beyond_data },
	{ "mappings beyond the data are reported once for each leaf", beyond_data_in_each_leaf },
	{ "the last data block may be mapped", last_data_block },
	{ "mappings are not judged when the data's size is not known, and have 40 and 24 bits", data_size_not_known },
	{ "lost details are replaced by counted mappings and the pool's times", invented_details },
	{ "invented times make each block count as shared", invented_times_are_safe },
	{ "without a visitor mappings are counted and mapped_blocks is judged", counts_without_visitor },
	{ "a shared tree is counted again without a read", shared_counted_for_nothing },
	{ "lost nodes are counted", counts_holes },
	{ "mappings beyond the data in a shared leaf are reported for each device", shared_flaw_told_to_each },
	{ "a block shown is its number, its kind and its fields", shows_superblock },
	{ "a block of any kind with any contents can be shown", shows_every_kind },
	{ "a block of no known kind is shown as bytes, 16 a line", shows_bytes },
	{ "the visitor's error stops the showing of a block", shown_visitor_fails },
	{ NULL, NULL },
};

const struct unit_suite thin_suite = { "thin", cases };
