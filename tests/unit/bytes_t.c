// SPDX-License-Identifier: LGPL-2.1-or-later
#include <string.h>

#include "base/bytes.h"
#include "unit.h"

static void zeroes(void)
{
	char data[300] = { 0 };

	for (size_t size = 1; size <= sizeof(data); size++)
		CU_ASSERT_TRUE(bytes_are_zero(data, size));
	for (size_t at = 0; at < sizeof(data); at++) {
		data[at] = 1;
		CU_ASSERT_FALSE(bytes_are_zero(data, sizeof(data)));
		CU_ASSERT_FALSE(bytes_are_zero(data, at + 1));
		if (at)
			CU_ASSERT_TRUE(bytes_are_zero(data, at));
		data[at] = 0;
	}
}

static void hex(void)
{
	char data[17], text[BYTES_HEX_MAX + 1];

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (char)(0xF0 + i);
	text[BYTES_HEX_MAX] = '#';
	CU_ASSERT_STRING_EQUAL(bytes_hex(data, 0, text), "");
	CU_ASSERT_STRING_EQUAL(bytes_hex(data, 1, text), "f0");
	CU_ASSERT_STRING_EQUAL(bytes_hex(data, 2, text), "f0 f1");
	CU_ASSERT_STRING_EQUAL(bytes_hex(data, 16, text), "f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff");
	CU_ASSERT_STRING_EQUAL(bytes_hex(data, 17, text), "f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff ..");
	CU_ASSERT_EQUAL(text[BYTES_HEX_MAX], '#');
	CU_ASSERT_EQUAL(strlen(text) + 1, BYTES_HEX_MAX);
}

static const struct unit_case cases[] = {
	{ "bytes are zero when each of them is", zeroes },
	{ "bytes are shown in pairs of digits, and what is too much as two dots", hex },
	{ NULL, NULL },
};

const struct unit_suite bytes_suite = { "bytes", cases };
