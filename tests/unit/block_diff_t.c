// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "meta/block_diff.h"
#include "unit.h"

static uint8_t left[PD_BLOCK_SIZE], right[PD_BLOCK_SIZE];

static struct {
	struct meta_block_diff d; /* first: a difference finds the notes by it */
	char text[262144];
	size_t len;
	unsigned calls, fail_at;
} notes;

/* "name left>right" of a field, "@offset+length left>right" of bytes; what is not there is "-" */
static int note(struct meta_block_diff *d, const struct meta_difference *what)
{
	char place[64];
	size_t room = sizeof(notes.text) - notes.len;

	CU_ASSERT_PTR_EQUAL(d, &notes.d);
	snprintf(place, sizeof(place), "@%u+%u", what->offset, what->length);
	notes.len += (size_t)snprintf(notes.text + notes.len, room, "%s%s %s>%s", notes.len ? "; " : "",
				      what->name ? what->name : place, what->left ? what->left : "-",
				      what->right ? what->right : "-");
	CU_ASSERT_TRUE_FATAL(notes.len < sizeof(notes.text));
	return ++notes.calls == notes.fail_at ? -ECANCELED : 0;
}

static int diff(enum pd_kind kind)
{
	notes.len = notes.calls = 0;
	notes.text[0] = '\0';
	notes.d.difference = note;
	return meta_diff_blocks(&notes.d, kind, left, right);
}

static void gives(enum pd_kind kind, const char *expected)
{
	notes.fail_at = 0;
	CU_ASSERT_EQUAL(diff(kind), 0);
	CU_ASSERT_STRING_EQUAL(notes.text, expected);
	if (strcmp(notes.text, expected))
		printf("# found %s\n", notes.text);
}

/* Both sides: a leaf of the keys 1, 2, 3, with data blocks 10, 20, 30 of time 0. Checksums are left zero. */
static void two_leaves(void)
{
	image_header(left, 2, 3, 252, 8);
	for (unsigned i = 0; i < 3; i++) {
		le_store(left + 32 + 8 * i, 8, i + 1);
		le_store(left + 32 + 8 * (252 + i), 8, (uint64_t)(i + 1) * 10 << 24);
	}
	memcpy(right, left, sizeof(right));
}

static void equal_blocks(void)
{
	two_leaves();
	gives(PD_NODE, "");
	gives(PD_UNKNOWN, "");
	CU_ASSERT_EQUAL(meta_diff_bytes(left, right), 0);
}

static void fields(void)
{
	two_leaves();
	le_store(right + 8, 8, 7);
	le_store(right + 32 + 8 * 252, 8, UINT64_C(11) << 24 | 5);
	gives(PD_NODE, "blocknr 0>7; value[0] 167772160 = data block 10, time 0>184549381 = data block 11, time 5");
	CU_ASSERT_EQUAL(meta_diff_bytes(left, right), 3);
}

static void fields_of_one_side(void)
{
	two_leaves();
	le_store(right + 16, 4, 2);
	gives(PD_NODE, "nr_entries 3>2; key[2] 3>-; value[2] 503316480 = data block 30, time 0>-");
	le_store(right + 16, 4, 3);
	le_store(left + 16, 4, 2);
	gives(PD_NODE, "nr_entries 2>3; key[2] ->3; value[2] ->503316480 = data block 30, time 0");
}

static void bytes_without_a_field(void)
{
	two_leaves();
	right[32 + 8 * 3] = 0xAB; /* a key that is not in use */
	right[4095] = 1;
	gives(PD_NODE, "@56+1 00>ab; @4095+1 00>01");
}

static void near_bytes(void)
{
	memset(left, 0, sizeof(left));
	memset(right, 0, sizeof(right));
	right[100] = right[107] = right[116] = 1;
	gives(PD_UNKNOWN, "@100+8 00 00 00 00 00 00 00 00>01 00 00 00 00 00 00 01; @116+1 00>01");
	CU_ASSERT_EQUAL(meta_diff_bytes(left, right), 3);
}

static void many_bytes(void)
{
	memset(left, 0x11, sizeof(left));
	memset(right, 0x22, sizeof(right));
	gives(PD_UNKNOWN, "@0+4096 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 ..>"
			  "22 22 22 22 22 22 22 22 22 22 22 22 22 22 22 22 ..");
}

static void counts(void)
{
	memset(left, 0, sizeof(left));
	memset(right, 0, sizeof(right));
	right[16] = 0xAA; /* four counts of 1 */
	right[17] = 0x02;
	right[4095] = 0xC0;
	gives(PD_BITMAP, "count[0..4] 0>1; count[16319] 0>3 or more");
}

static void text_bytes(void)
{
	memset(left, 0, sizeof(left));
	memset(right, 0, sizeof(right));
	right[16] = 0xFE;
	gives(PD_THIN_SUPERBLOCK, "uuid 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00>"
				  "fe 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
}

static void kinds(void)
{
	two_leaves();
	pd_block_seal(left, PD_NODE, 3);
	memcpy(right, left, sizeof(right));
	CU_ASSERT_EQUAL(meta_diff_kind(left, right), PD_NODE);
	right[200] ^= 1;
	CU_ASSERT_EQUAL(meta_diff_kind(left, right), PD_NODE);
	CU_ASSERT_EQUAL(meta_diff_kind(right, left), PD_NODE);
	memset(right, 0x5A, sizeof(right));
	CU_ASSERT_EQUAL(meta_diff_kind(left, right), PD_UNKNOWN);
	memset(right, 0, sizeof(right));
	CU_ASSERT_EQUAL(meta_diff_kind(left, right), PD_UNKNOWN);
	pd_block_seal(right, PD_BITMAP, 3);
	CU_ASSERT_EQUAL(meta_diff_kind(left, right), PD_UNKNOWN);
}

static void caller_stops(void)
{
	two_leaves();
	le_store(right + 16, 4, 2);
	right[4095] = 1;
	for (notes.fail_at = 1; notes.fail_at <= 4; notes.fail_at++) {
		CU_ASSERT_EQUAL(diff(PD_NODE), -ECANCELED);
		CU_ASSERT_EQUAL(notes.calls, notes.fail_at);
	}
}

/* Whatever the bytes are: no byte is read past the end, and the differing bytes are all told of. */
static void any_bytes(void)
{
	notes.fail_at = 0;
	srand(1);
	for (unsigned i = 0; i < 200; i++) {
		notes.d.difference = note;
		for (unsigned k = 0; k < sizeof(left); k++)
			left[k] = right[k] = (uint8_t)rand();
		le_store(left + 4, 4, 1 + i % 2); /* a node, of any header */
		le_store(left + 16, 4, (uint64_t)rand() % 400);
		le_store(left + 20, 4, (uint64_t)rand() % 400);
		le_store(left + 24, 4, (uint64_t)rand() % 30);
		memcpy(right, left, sizeof(left));
		right[rand() % (int)sizeof(right)] ^= 0x80;
		for (enum pd_kind kind = PD_UNKNOWN; kind < NR_PD_KINDS; kind++) {
			CU_ASSERT_EQUAL(diff(kind), 0);
			CU_ASSERT_TRUE(notes.calls > 0);
		}
	}
}

static const struct unit_case cases[] = {
	{ "equal blocks have no difference", equal_blocks },
	{ "fields that differ are given by name, with both values", fields },
	{ "a field of one side is given with that side's value", fields_of_one_side },
	{ "bytes that no field has are given as bytes, behind the fields", bytes_without_a_field },
	{ "bytes that differ are one range where less than 8 equal ones lie between them", near_bytes },
	{ "of a range the first 16 bytes are shown", many_bytes },
	{ "counts of a bitmap are given in runs", counts },
	{ "a field that is no number is given as bytes", text_bytes },
	{ "a block of no known kind is taken for what the other is if a few bytes differ", kinds },
	{ "the caller's error ends the comparison and is returned", caller_stops },
	{ "blocks of any contents can be compared", any_bytes },
	{ NULL, NULL },
};

const struct unit_suite block_diff_suite = { "block_diff", cases };
