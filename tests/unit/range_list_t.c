// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "text/range_list.h"
#include "unit.h"

static struct range_set set;
static struct text_range_list list;

static int read_bytes(const char *text, size_t len, uint64_t block_bytes)
{
	FILE *f = tmpfile();
	int r;

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	range_set_destroy(&set);
	CU_ASSERT_EQUAL(fwrite(text, 1, len, f), len);
	rewind(f);
	r = text_range_list_read(f, block_bytes, &set, &list);
	range_set_settle(&set);
	fclose(f);
	return r;
}

static int read_text(const char *text)
{
	return read_bytes(text, strlen(text), 65536);
}

static void has(unsigned nr, uint64_t first, uint64_t last_end)
{
	CU_ASSERT_EQUAL_FATAL(set.nr, nr);
	CU_ASSERT_EQUAL(set.ranges[0].begin, first);
	CU_ASSERT_EQUAL(set.ranges[nr - 1].end, last_end);
}

static void refuses(const char *text, uint64_t line)
{
	CU_ASSERT_EQUAL(read_text(text), -EINVAL);
	CU_ASSERT_EQUAL(list.line, line);
	CU_ASSERT_PTR_NOT_NULL(list.expected);
}

static void words(void)
{
	CU_ASSERT_EQUAL(read_text("5\n7..9\n0x20+2\n"), 0);
	has(3, 5, 34);
	CU_ASSERT_FALSE(list.is_map);
	CU_ASSERT_EQUAL(list.untried_bytes, 0);
}

static void blanks_and_comments(void)
{
	CU_ASSERT_EQUAL(read_text("\n# all\n  5\t\r\n\t7#seven\n#\n \n9"), 0);
	has(3, 5, 10);
}

static void bytes(void)
{
	CU_ASSERT_EQUAL(read_text("64KiB\n255s\n1GiB..1048577KiB\n"), 0);
	has(2, 1, 16385);
}

static void empty(void)
{
	CU_ASSERT_EQUAL(read_text(""), 0);
	CU_ASSERT_EQUAL(set.nr, 0);
	CU_ASSERT_EQUAL(read_text("# Mapfile\n0x0 +\n0x0 0x5000 +\n"), 0);
	CU_ASSERT_EQUAL(set.nr, 0);
	CU_ASSERT_TRUE(list.is_map);
}

static void bad_words(void)
{
	refuses("1\n2\nx\n", 3);
	refuses("1 2\n", 1);
	refuses("-1", 1);
	refuses("5..5\n", 1);
	refuses("1\n# 1\n3..2K", 3);
	refuses("1\n0x0 0x1000 -\n", 2);
	refuses("18446744073709551616\n", 1);
}

static void no_text(void)
{
	char line[300];

	CU_ASSERT_EQUAL(read_bytes("5\0", 2, 65536), -EINVAL);
	memset(line, '#', sizeof(line));
	CU_ASSERT_EQUAL(read_bytes(line, 255, 65536), 0);
	CU_ASSERT_EQUAL(read_bytes(line, 256, 65536), -EINVAL);
}

static void map(void)
{
	CU_ASSERT_EQUAL(read_text("# Mapfile\n0x00120000 ? 1\n# pos size status\n0x0 0x10000 +\n0x10000 0x200 -\n"
				  "0x10200 0xFE00 +\n0x20000 0x10000 *\n0x30000 0x10000 +\n0x40000 0x1 /\n"), 0);
	CU_ASSERT_TRUE(list.is_map);
	CU_ASSERT_EQUAL(list.untried_bytes, 0);
	has(2, 1, 5);
	CU_ASSERT_EQUAL(set.ranges[0].end, 3);
}

/* Of before ddrescue 1.22. */
static void old_map(void)
{
	CU_ASSERT_EQUAL(read_text("0x0 F\n0 65536 ?\n65536 1 ?\n"), 0);
	CU_ASSERT_TRUE(list.is_map);
	CU_ASSERT_EQUAL(list.untried_bytes, 65537);
	has(1, 0, 2);
}

static void bad_map(void)
{
	refuses("0x0 + 1\n5\n", 2);
	refuses("0x0 + 1\n0x0 0x10 !\n", 2);
	refuses("0x0 + 1\n0x0 0x10 - -\n", 2);
	refuses("0x0 + 1\n0x0 0x10 --\n", 2);
	refuses("0x0 + 1\n0x10 -\n", 2);
	refuses("0x0 + 1\n0xFFFFFFFFFFFFFFFF 0x10 -\n", 2);
	refuses("0x0 X 1\n", 1);
}

static void unknown_size(void)
{
	CU_ASSERT_EQUAL(read_bytes("5\n", 2, 0), 0);
	CU_ASSERT_EQUAL(read_bytes("5s\n", 3, 0), -EINVAL);
	CU_ASSERT_EQUAL(read_bytes("0 +\n0 1 -\n", 10, 0), -EINVAL);
	CU_ASSERT_EQUAL(read_bytes("0 +\n0 1 +\n", 10, 0), 0);
}

static void anything(void)
{
	static const char alphabet[] = "0123456789xsKiB.+-*/?# \n\n\r\tF";
	unsigned odd = 0;

	srand(1);
	for (unsigned round = 0; round < 2000; round++) {
		char text[200];
		size_t len = (size_t)rand() % sizeof(text);
		int r;

		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[(size_t)rand() % (sizeof(alphabet) - (round % 2))];
		r = read_bytes(text, len, 4096);
		odd += r != 0 && r != -EINVAL;
		odd += (r == -EINVAL) != (list.expected != NULL);
	}
	CU_ASSERT_EQUAL(odd, 0);
	range_set_destroy(&set);
}

static const struct unit_case cases[] = {
	{ "a list has a range a line, as words of the command line", words },
	{ "blanks, empty lines, carriage returns and comments do not matter", blanks_and_comments },
	{ "numbers with a unit are bytes, rounded outwards to blocks", bytes },
	{ "a list may be empty, and a map without a fault has nothing", empty },
	{ "a line that is no range is refused with its number", bad_words },
	{ "what has NUL bytes or long lines is no text", no_text },
	{ "of a map of ddrescue all is taken that is not good", map },
	{ "an older map is one too, and what was not tried is counted", old_map },
	{ "a line of a map that is none of a piece is refused with its number", bad_map },
	{ "bytes are refused where the size of a block is not known", unknown_size },
	{ "whatever the bytes are, reading ends, with a reason when it fails", anything },
	{ NULL, NULL },
};

const struct unit_suite range_list_suite = { "range_list", cases };
