// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "meta/field_path.h"
#include "meta/thin.h"
#include "pdata/btree.h"
#include "unit.h"

#define NR_BLOCKS 64
#define LEN(table) (sizeof(table) / sizeof(*(table)))

/* Where the blocks of the pool below are. */
enum { DETAILS = 7, TOP = 8, TREE1 = 10, LEAF1A = 11, LEAF1B = 12, TREE2 = 13, BITMAP = 20, INDEX = 21, ARRAY = 22, BAD = 30 };

/* --- paths --- */

#define MAX_STEPS 12

struct path {
	struct meta_step steps[MAX_STEPS];
	char names[MAX_STEPS][64];
	unsigned nr;
};

/* NAME, (ARGUMENT), [INDEX] of "thin(2).map(50).data", as the reader of scripts takes them apart. */
static void take_apart(const char *text, struct path *p)
{
	memset(p, 0, sizeof(*p));
	while (*text) {
		struct meta_step *s = &p->steps[p->nr];
		char *end = (char *)text + strcspn(text, ".([");

		CU_ASSERT_TRUE_FATAL(p->nr < MAX_STEPS && (size_t)(end - text) < sizeof(*p->names));
		memcpy(p->names[p->nr], text, (size_t)(end - text));
		s->name = p->names[p->nr++];
		if ((s->has_argument = *end == '('))
			s->argument = strtoull(end + 1, &end, 0), end++;
		if ((s->has_index = *end == '['))
			s->index = strtoull(end + 1, &end, 0), end++;
		text = *end == '.' ? end + 1 : end;
	}
}

static char reason[META_PATH_REASON];

static int check(const char *text, bool *is_number)
{
	struct path p;

	take_apart(text, &p);
	reason[0] = '\0';
	return meta_path_check(p.steps, p.nr, is_number, reason);
}

static int find(const char *text, struct meta_place *place)
{
	struct path p;
	bool is_number;

	take_apart(text, &p);
	CU_ASSERT_EQUAL_FATAL(meta_path_check(p.steps, p.nr, &is_number, reason), 0);
	reason[0] = '\0';
	return meta_path_find(image.reader.client, p.steps, p.nr, place, reason);
}

/* It leads to a field of @block, which has this value. */
static void is_field(const char *text, uint64_t block, uint64_t value)
{
	struct meta_place place;
	int r = find(text, &place);

	CU_ASSERT_EQUAL(r, 0);
	if (r) {
		printf("# %s: %s\n", text, reason);
		return;
	}
	CU_ASSERT_FALSE(place.is_number);
	CU_ASSERT_EQUAL(place.block, block);
	CU_ASSERT_EQUAL(meta_field_load(image_at(block), &place.field), value);
}

static void is_number(const char *text, uint64_t number)
{
	struct meta_place place;
	bool says = false;

	CU_ASSERT_EQUAL(check(text, &says), 0);
	CU_ASSERT_TRUE(says);
	CU_ASSERT_EQUAL(find(text, &place), 0);
	CU_ASSERT_TRUE(place.is_number);
	CU_ASSERT_EQUAL(place.number, number);
}

/* It leads nowhere, and that is said so. */
static void is_nowhere(const char *text, const char *why)
{
	struct meta_place place = { .block = 77 };

	CU_ASSERT_EQUAL(find(text, &place), -ENOENT);
	CU_ASSERT_EQUAL(place.block, 77);
	CU_ASSERT_PTR_NOT_NULL(strstr(reason, why));
	if (!strstr(reason, why))
		printf("# %s: %s\n", text, reason);
}

/* --- a pool --- */

static void set(unsigned offset, unsigned size, uint64_t value)
{
	le_store(image_at(0) + offset, size, value);
	pd_block_seal(image_at(0), PD_THIN_SUPERBLOCK, 0);
}

static void leaf(uint64_t block, uint64_t first, unsigned nr, uint64_t data)
{
	image_node(block, 2, nr, 252, 8);
	for (unsigned i = 0; i < nr; i++)
		image_entry(block, i, first + 2 * i, (data + i) << 24 | (i + 1), 8);
}

static void pair(uint64_t block, unsigned i, uint64_t key, uint64_t value)
{
	image_entry(block, i, key, value, 8);
}

static void details(unsigned i, uint64_t id, uint64_t mapped)
{
	uint8_t *value = image_at(DETAILS) + 32 + 8 * 126 + 24 * i;

	le_store(image_at(DETAILS) + 32 + 8 * i, 8, id);
	le_store(value, 8, mapped);
	le_store(value + 8, 8, 3 + i);
	le_store(value + 16, 4, 40 + i);
	le_store(value + 20, 4, 50 + i);
	pd_block_seal(image_at(DETAILS), PD_NODE, DETAILS);
}

/* Device 1 has the even blocks 0 to 18, and 100 to 118, in two leaves; device 2 has 4, 6, 8. */
static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 4 * (PD_MAX_DEPTH + 1));
	set(32, 8, 27022010);
	set(40, 4, 2);
	set(48, 8, 21);
	set(320, 8, TOP);
	set(328, 8, DETAILS);
	set(336, 4, 128);
	image_node(DETAILS, 2, 2, 126, 24);
	details(0, 1, 20);
	details(1, 2, 3);
	image_node(TOP, 2, 2, 252, 8);
	pair(TOP, 0, 1, TREE1);
	pair(TOP, 1, 2, TREE2);
	image_node(TREE1, 1, 2, 252, 8);
	pair(TREE1, 0, 0, LEAF1A);
	pair(TREE1, 1, 100, LEAF1B);
	leaf(LEAF1A, 0, 10, 500);
	leaf(LEAF1B, 100, 10, 600);
	leaf(TREE2, 4, 3, 700);
}

/* One more device, 3, with its mappings at @root. */
static void third_device(uint64_t root)
{
	start();
	image_node(TOP, 2, 3, 252, 8);
	pair(TOP, 0, 1, TREE1);
	pair(TOP, 1, 2, TREE2);
	pair(TOP, 2, 3, root);
}

/* --- checking --- */

static void good_paths(void)
{
	static const struct {
		const char *text;
		bool is_number;
	} rows[] = {
		{ "nr_blocks", true }, { "sb.trans_id", false }, { "sb.data_sm.nr_blocks", false },
		{ "sb.policy_version[1]", false }, { "sb.current_writeset.root", false }, { "block(9).nr_entries", false },
		{ "block(9).count[7]", false }, { "block(9).trans_id", false }, { "node(9).value[3].data", false },
		{ "node(9).key[3]", false }, { "bitmap(9).count[16319]", false }, { "index(9).entry[254].nr_free", false },
		{ "array(9).value[3]", false }, { "thin(2).root", false }, { "thin(2).mapped_blocks", false },
		{ "thin(2).transaction_id", false }, { "thin(2).creation_time", false },
		{ "thin(2).snapshotted_time", false }, { "thin(2).map(50).data", false }, { "thin(2).map(50).time", false },
		{ "thin(2).map(50).node", true }, { "thin(2).map(50).index", true },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		bool says = !rows[i].is_number;

		CU_ASSERT_EQUAL(check(rows[i].text, &says), 0);
		CU_ASSERT_EQUAL(says, rows[i].is_number);
		if (says != rows[i].is_number)
			printf("# %s: %s\n", rows[i].text, reason);
	}
}

static void wrong_paths(void)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "superblock.flags", "nothing that a path can begin with" }, { "x", "'x' is nothing" },
		{ "sb", "is not a field" }, { "node(9)", "such as node.blocknr" }, { "sb(1).flags", "sb has no number" },
		{ "sb[1].flags", "sb has no number" }, { "node.flags", "which node?" }, { "node[9].flags", "which node?" },
		{ "node(9)[1].flags", "which node?" }, { "block.flags", "which block?" }, { "thin.root", "which thin?" },
		{ "nr_blocks(1)", "nr_blocks has no number" }, { "nr_blocks.flags", "has no fields" },
		{ "sb.nr_entries", "no field nr_entries" }, { "sb.uuid", "uuid is not a number: patch" },
		{ "sb.policy_name", "is not a number" }, { "block(9).uuid", "is not a number" },
		{ "sb.flags(1)", "no arguments in parentheses" }, { "sb.flags[1]", "no field flags[1]" },
		{ "node(9).value", "no field value" }, { "node(9).value[3].dat", "no field" },
		{ "node(9).key[3].data", "no field" }, { "node(9).trans_id", "no field" },
		{ "bitmap(9).count", "no field count" }, { "bitmap(9).count[1].x", "no field" },
		{ "index(9).entry[1]", "no field" }, { "index(9).entry[255].nr_free", "no field" },
		{ "array(9).value[1].data", "no field" }, { "thin(2)", "a thin device has" },
		{ "thin(2).map", "a thin device has" }, { "thin(2).map(1)", "a thin device has" },
		{ "thin(2).map(1)[1].data", "a thin device has" }, { "thin(2).map[1].data", "a thin device has" },
		{ "thin(2).map(1).block", "a thin device has" }, { "thin(2).map(1).data[1]", "a thin device has" },
		{ "thin(2).map(1).data.x", "a thin device has" }, { "thin(2).root(1)", "a thin device has" },
		{ "thin(2).root.x", "a thin device has" }, { "thin(2).root[1]", "a thin device has" },
		{ "node(9).a_long_name_a_long_name_a_long_name.a_long_name_a_long_name_a_long_name."
		  "a_long_name_a_long_name_a_long_name.a_long_name_a_long_name_a_long_name.a_long_name_a_long_name_a",
		  "fields of blocks" },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		bool says = i % 2, before = says;

		CU_ASSERT_EQUAL(check(rows[i].text, &says), -EINVAL);
		CU_ASSERT_EQUAL(says, before);
		CU_ASSERT_PTR_NOT_NULL(strstr(reason, rows[i].why));
		if (!strstr(reason, rows[i].why))
			printf("# %s: %s\n", rows[i].text, reason);
	}
}

/* --- finding --- */

static void blocks_and_superblock(void)
{
	start();
	is_number("nr_blocks", NR_BLOCKS);
	is_field("sb.trans_id", 0, 21);
	is_field("sb.data_block_size", 0, 128);
	is_field("block(0).device_details_root", 0, DETAILS);
	is_field("block(13).nr_entries", TREE2, 3);
	is_field("node(13).value[1].data", TREE2, 701);
	is_field("node(13).key[2]", TREE2, 8);
	image_close();
}

static void other_kinds(void)
{
	start();
	memset(image_at(BITMAP), 0x6C, PD_BLOCK_SIZE);
	pd_block_seal(image_at(BITMAP), PD_BITMAP, BITMAP);
	le_store(image_at(INDEX) + 16 + 16 * 3 + 8, 4, 99);
	pd_block_seal(image_at(INDEX), PD_INDEX, INDEX);
	le_store(image_at(ARRAY) + 8, 4, 5);
	le_store(image_at(ARRAY) + 12, 4, 8);
	le_store(image_at(ARRAY) + 24 + 8 * 4, 8, 1234);
	pd_block_seal(image_at(ARRAY), PD_ARRAY, ARRAY);
	is_field("bitmap(20).count[1]", BITMAP, 3);
	is_field("block(20).count[1]", BITMAP, 3);
	is_field("index(21).entry[3].nr_free", INDEX, 99);
	is_field("array(22).value[4]", ARRAY, 1234);
	is_nowhere("array(22).value[5]", "has no value[5]: it has fewer entries");
	is_nowhere("block(22).count[1]", "has no field count[1]");
	image_close();
}

/* Only what begins with a kind does without a checksum. */
static void wrong_checksums(void)
{
	start();
	image_at(TREE2)[0] ^= 1;
	is_field("node(13).value[1].data", TREE2, 701);
	is_nowhere("block(13).nr_entries", "say what it is to be taken for, such as node(13)");
	is_nowhere("block(40).nr_entries", "block of zeroes");
	image_close();
}

static void superblock_by_either(void)
{
	start();
	image_at(0)[0] ^= 1; /* checksum */
	is_field("sb.trans_id", 0, 21);
	is_field("thin(1).root", TOP, TREE1);
	image_close();
	start();
	set(32, 8, 1); /* magic number */
	is_field("sb.trans_id", 0, 21);
	image_close();
	start();
	set(32, 8, 1);
	image_at(0)[0] ^= 1;
	is_nowhere("sb.trans_id", "block 0 is no superblock");
	is_nowhere("thin(1).root", "block 0 is not the superblock of a thin pool");
	image_close();
}

static void superblock_of_a_cache(void)
{
	start();
	set(32, 8, 06142003);
	pd_block_seal(image_at(0), PD_CACHE_SUPERBLOCK, 0);
	is_field("sb.policy_hint_size", 0, le_load(image_at(0) + 60, 4));
	is_nowhere("sb.trans_id", "has no field trans_id");
	is_nowhere("thin(1).root", "is not the superblock of a thin pool");
	image_close();
}

static void devices(void)
{
	start();
	is_field("thin(1).root", TOP, TREE1);
	is_field("thin(2).root", TOP, TREE2);
	is_field("thin(1).mapped_blocks", DETAILS, 20);
	is_field("thin(2).mapped_blocks", DETAILS, 3);
	is_field("thin(2).transaction_id", DETAILS, 4);
	is_field("thin(2).creation_time", DETAILS, 41);
	is_field("thin(2).snapshotted_time", DETAILS, 51);
	image_close();
}

static void mappings(void)
{
	start();
	is_field("thin(1).map(0).data", LEAF1A, 500);
	is_field("thin(1).map(18).data", LEAF1A, 509);
	is_field("thin(1).map(18).time", LEAF1A, 10);
	is_field("thin(1).map(100).data", LEAF1B, 600);
	is_field("thin(1).map(118).data", LEAF1B, 609);
	is_field("thin(2).map(6).data", TREE2, 701);
	is_number("thin(1).map(118).node", LEAF1B);
	is_number("thin(1).map(118).index", 9);
	is_number("thin(2).map(4).node", TREE2);
	is_number("thin(2).map(4).index", 0);
	image_close();
}

static void missing(void)
{
	start();
	is_nowhere("thin(0).root", "device 0 is not there");
	is_nowhere("thin(3).root", "device 3 is not there");
	is_nowhere("thin(3).mapped_blocks", "device 3 is not there");
	is_nowhere("thin(18446744073709551615).root", "is not there");
	is_nowhere("thin(3).map(1).data", "device 3 is not there");
	is_nowhere("thin(1).map(1).data", "a mapping of block 1 of device 1 is not there");
	is_nowhere("thin(1).map(99).node", "is not there");
	is_nowhere("thin(1).map(120).index", "is not there");
	is_nowhere("thin(2).map(3).data", "is not there");
	is_nowhere("thin(2).map(18446744073709551615).data", "is not there");
	is_nowhere("node(64).flags", "there is no block 64 among the 64");
	is_nowhere("block(18446744073709551615).flags", "there is no block");
	is_nowhere("node(13).value[3].data", "has no value[3].data: it has fewer entries");
	image_close();
}

static void no_blocks(void)
{
	image_open(0, 0, 4 * (PD_MAX_DEPTH + 1));
	is_number("nr_blocks", 0);
	is_nowhere("sb.flags", "there is no block 0 among the 0");
	is_nowhere("thin(1).root", "there is no block 0 among the 0");
	image_close();
}

static void empty_trees(void)
{
	start();
	image_node(TOP, 2, 0, 252, 8);
	image_node(DETAILS, 2, 0, 126, 24);
	is_nowhere("thin(1).root", "device 1 is not there");
	is_nowhere("thin(1).mapped_blocks", "device 1 is not there");
	image_close();
}

/* --- damage --- */

static void damage_on_the_way(void)
{
	static const struct {
		uint64_t block;
		const char *path, *why;
	} rows[] = {
		{ TOP, "thin(1).root", "device 1: damage is in the way, in block 8" },
		{ TOP, "thin(1).map(100).data", "device 1: damage is in the way, in block 8" },
		{ DETAILS, "thin(1).mapped_blocks", "device 1: damage is in the way, in block 7" },
		{ TREE1, "thin(1).map(100).data", "device 1: damage is in the way, in block 10" },
		{ LEAF1B, "thin(1).map(100).node", "device 1: damage is in the way, in block 12" },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		start();
		image_at(rows[i].block)[100] ^= 1;
		is_nowhere(rows[i].path, rows[i].why);
		if (rows[i].block != TOP)
			is_field("thin(2).map(6).data", TREE2, 701);
		image_close();
	}
}

static void damage_beside(void)
{
	start();
	image_at(LEAF1B)[100] ^= 1;
	image_at(DETAILS)[100] ^= 1;
	is_field("thin(1).map(18).data", LEAF1A, 509);
	image_close();
}

static void hostile_pointers(void)
{
	static const uint64_t roots[] = { 0, DETAILS, BITMAP, NR_BLOCKS - 1, NR_BLOCKS, UINT64_C(1) << 40, UINT64_MAX };

	for (size_t i = 0; i < LEN(roots); i++) {
		third_device(roots[i]);
		is_field("thin(3).root", TOP, roots[i]);
		is_nowhere("thin(3).map(1).data", "damage is in the way");
		image_close();
		start();
		set(320, 8, roots[i]);
		set(328, 8, roots[i] == DETAILS ? TOP : roots[i]);
		is_nowhere("thin(1).root", "device 1: damage is in the way");
		is_nowhere("thin(1).mapped_blocks", "device 1: damage is in the way");
		image_close();
	}
}

/* To itself, to its parent, and down more levels than there can be. */
static void cycles(void)
{
	third_device(BAD);
	image_node(BAD, 1, 1, 252, 8);
	pair(BAD, 0, 0, BAD);
	is_nowhere("thin(3).map(1).data", "damage is in the way, in block 30");
	image_close();
	third_device(BAD);
	for (unsigned i = 0; i < 2; i++) {
		image_node(BAD + i, 1, 1, 252, 8);
		pair(BAD + i, 0, 0, BAD + !i);
	}
	is_nowhere("thin(3).map(1).data", "damage is in the way, in block 30");
	image_close();
	third_device(BAD);
	for (unsigned i = 0; i < PD_MAX_DEPTH + 2; i++) {
		image_node(BAD + i, 1, 1, 252, 8);
		pair(BAD + i, 0, 0, BAD + (i + 1) % (PD_MAX_DEPTH + 2));
	}
	is_nowhere("thin(3).map(1).data", "damage is in the way");
	image_close();
}

static void damaged_nodes(void)
{
	start();
	le_store(image_at(BAD) + 16, 4, 500);
	is_nowhere("node(30).value[3]", "is no sound btree node: where value[3] would be cannot be known");
	is_field("node(30).nr_entries", BAD, 500);
	image_close();
}

/* --- reading --- */

/* Each read that a path takes may be the one that fails; nothing is held then, which image_close() sees. */
static void reads_that_fail(void)
{
	static const char *const paths[] = {
		"sb.trans_id", "block(13).nr_entries", "node(13).key[0]", "thin(1).root", "thin(1).mapped_blocks",
		"thin(1).map(100).data", "thin(1).map(100).node",
	};

	for (size_t i = 0; i < LEN(paths); i++) {
		struct meta_place place;
		unsigned n = 0;
		int r;

		do {
			start();
			image.plan.fail_at = ++n;
			r = find(paths[i], &place);
			CU_ASSERT_EQUAL(r != 0, image.plan.count >= n);
			CU_ASSERT_TRUE(!r || r == -EIO || r == -ENOENT);
			CU_ASSERT_EQUAL(r != 0, reason[0] != '\0');
			image.plan.fail_at = 0;
			CU_ASSERT_EQUAL(find(paths[i], &place), 0); /* a later try may succeed */
			image_close();
		} while (r && n < 100);
		CU_ASSERT_TRUE(n > 1 && n < 10);
	}
}

static void reasons_of_reads(void)
{
	struct meta_place place;

	start();
	image.plan.fail_at = 1;
	CU_ASSERT_EQUAL(find("node(13).flags", &place), -EIO);
	CU_ASSERT_PTR_NOT_NULL(strstr(reason, "block 13 cannot be read"));
	image_close();
}

static const struct unit_case cases[] = {
	{ "a path begins with what there is, and says whether it can be set", good_paths },
	{ "any other path is refused, and says what is expected", wrong_paths },
	{ "nr_blocks, sb, block(N) and node(N) lead to what is there", blocks_and_superblock },
	{ "so do bitmap(N), index(N) and array(N)", other_kinds },
	{ "a block with a wrong checksum is what the path says, and else nothing", wrong_checksums },
	{ "the superblock is known by its checksum or its magic number", superblock_by_either },
	{ "a superblock has the fields of its format", superblock_of_a_cache },
	{ "thin(D) leads to a device's root and details", devices },
	{ "thin(D).map(V) leads to a mapping, its leaf, and the entry there", mappings },
	{ "what is not there is said so", missing },
	{ "on a device without blocks there is nothing", no_blocks },
	{ "in trees without entries there is nothing", empty_trees },
	{ "damage on the way is said, with its block", damage_on_the_way },
	{ "damage beside the way does not matter", damage_beside },
	{ "pointers to anywhere are damage", hostile_pointers },
	{ "a path through a cycle ends, and so does one down too many levels", cycles },
	{ "in a damaged node the header alone can be named", damaged_nodes },
	{ "whichever read fails, nothing is held and the reason is told", reads_that_fail },
	{ "a block that cannot be read is named", reasons_of_reads },
	{ NULL, NULL },
};

const struct unit_suite field_path_suite = { "field_path", cases };
