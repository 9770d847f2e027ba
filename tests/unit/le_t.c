// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdalign.h>
#include <stddef.h>

#include "base/le.h"
#include "unit.h"

struct layout {
	uint8_t one;
	le16 two;
	le64 eight;
	le32 four;
};

static void sizes(void)
{
	CU_ASSERT_EQUAL(sizeof(le16), 2);
	CU_ASSERT_EQUAL(sizeof(le32), 4);
	CU_ASSERT_EQUAL(sizeof(le64), 8);
}

static void no_padding(void)
{
	CU_ASSERT_EQUAL(alignof(le64), 1);
	CU_ASSERT_EQUAL(offsetof(struct layout, two), 1);
	CU_ASSERT_EQUAL(offsetof(struct layout, eight), 3);
	CU_ASSERT_EQUAL(offsetof(struct layout, four), 11);
	CU_ASSERT_EQUAL(sizeof(struct layout), 15);
}

static void lowest_byte_first(void)
{
	static const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6, 7, 0x88 };
	le16 a;
	le32 b;
	le64 c;

	memcpy(&a, bytes, 2);
	memcpy(&b, bytes, 4);
	memcpy(&c, bytes, 8);
	CU_ASSERT_EQUAL(le16_get(a), 0x0201);
	CU_ASSERT_EQUAL(le32_get(b), 0x04030201);
	CU_ASSERT_EQUAL(le64_get(c), UINT64_C(0x8807060504030201));
}

static void stores_lowest_byte_first(void)
{
	static const uint8_t bytes[] = { 0x88, 7, 6, 5, 4, 3, 2, 1 };
	le32 a = le32_put(0x05060788);
	le64 b = le64_put(UINT64_C(0x0102030405060788));

	CU_ASSERT_EQUAL(memcmp(&a, bytes, 4), 0);
	CU_ASSERT_EQUAL(memcmp(&b, bytes, 8), 0);
}

static void round_trips(void)
{
	for (unsigned i = 0; i < 64; i++) {
		uint64_t v = UINT64_C(1) << i;

		CU_ASSERT_EQUAL(le64_get(le64_put(v)), v);
		CU_ASSERT_EQUAL(le64_get(le64_put(~v)), ~v);
		CU_ASSERT_EQUAL(le32_get(le32_put((uint32_t)v)), (uint32_t)v);
		CU_ASSERT_EQUAL(le32_get(le32_put((uint32_t)~v)), (uint32_t)~v);
	}
}

static void store_keeps_inside(void)
{
	uint8_t b[10];

	memset(b, 0xee, sizeof(b));
	le_store(b + 1, 8, 0);
	CU_ASSERT_EQUAL(b[0], 0xee);
	CU_ASSERT_EQUAL(b[1] | b[8], 0);
	CU_ASSERT_EQUAL(b[9], 0xee);
	CU_ASSERT_EQUAL(le_load(b + 7, 3), 0xee0000);
}

static const struct unit_case cases[] = {
	{ "the types are as large as they lie on disk", sizes },
	{ "a layout of them has no padding", no_padding },
	{ "the lowest byte comes first", lowest_byte_first },
	{ "the lowest byte is stored first", stores_lowest_byte_first },
	{ "every bit survives a round trip", round_trips },
	{ "a store touches its own bytes only", store_keeps_inside },
	{ NULL, NULL },
};

const struct unit_suite le_suite = { "le", cases };
