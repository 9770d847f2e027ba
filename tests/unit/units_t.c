// SPDX-License-Identifier: LGPL-2.1-or-later
/* Numbers as people write them, and arithmetic on them that may not overflow. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/units.h"
#include "unit.h"

#define UNTOUCHED UINT64_C(0x5a5a5a5a5a5a5a5a)
#define KIB UINT64_C(1024)
#define KB UINT64_C(1000)
#define MAX_TEXT "18446744073709551615"
#define MAX_PLUS_1_TEXT "18446744073709551616"

struct number {
	const char *text;
	uint64_t value;
};

static void expect_numbers(const struct number *n)
{
	for (; n->text; n++) {
		uint64_t v = UNTOUCHED;

		CU_ASSERT_EQUAL(units_parse_number(n->text, &v), 0);
		CU_ASSERT_EQUAL(v, n->value);
		if (v != n->value)
			printf("# number \"%s\"\n", n->text);
	}
}

static void expect_sizes(const struct number *n, uint64_t bare)
{
	for (; n->text; n++) {
		uint64_t v = UNTOUCHED;

		CU_ASSERT_EQUAL(units_parse_size(n->text, bare, &v), 0);
		CU_ASSERT_EQUAL(v, n->value);
		if (v != n->value)
			printf("# size \"%s\"\n", n->text);
	}
}

static void refuse_numbers(const char *const *text, int error)
{
	for (; *text; text++) {
		uint64_t v = UNTOUCHED;
		int r = units_parse_number(*text, &v);

		CU_ASSERT_EQUAL(r, error);
		CU_ASSERT_EQUAL(v, UNTOUCHED);
		if (r != error)
			printf("# number \"%s\" gives %d\n", *text, r);
	}
}

static void refuse_sizes(const char *const *text, uint64_t bare, int error)
{
	for (; *text; text++) {
		uint64_t v = UNTOUCHED;
		int r = units_parse_size(*text, bare, &v);

		CU_ASSERT_EQUAL(r, error);
		CU_ASSERT_EQUAL(v, UNTOUCHED);
		if (r != error)
			printf("# size \"%s\" gives %d\n", *text, r);
	}
}

static void refuse_ranges(const char *const *text, int error)
{
	for (; *text; text++) {
		uint64_t begin = UNTOUCHED, end = UNTOUCHED;
		int r = units_parse_range(*text, &begin, &end);

		CU_ASSERT_EQUAL(r, error);
		CU_ASSERT_EQUAL(begin, UNTOUCHED);
		CU_ASSERT_EQUAL(end, UNTOUCHED);
		if (r != error)
			printf("# range \"%s\" gives %d\n", *text, r);
	}
}

static void numbers_decimal(void)
{
	static const struct number table[] = {
		{ "0", 0 }, { "1", 1 }, { "42", 42 }, { "4294967296", UINT64_C(1) << 32 },
		{ "010", 10 }, { "0000", 0 }, { MAX_TEXT, UINT64_MAX }, { NULL, 0 },
	};

	expect_numbers(table);
}

static void numbers_hexadecimal(void)
{
	static const struct number table[] = {
		{ "0x0", 0 }, { "0x1", 1 }, { "0xff", 255 }, { "0xFF", 255 }, { "0xaB09", 0xab09 },
		{ "0x0000000000000000001", 1 }, { "0xffffffffffffffff", UINT64_MAX }, { NULL, 0 },
	};

	expect_numbers(table);
}

static void numbers_bad(void)
{
	static const char *const table[] = {
		"", " ", "x", "0x", "-1", "-0", "+1", " 1", "1 ", "1\n", "12a", "ff", "0xg", "0x1g", "0x-1", "0x 1",
		"0x0x1", "1.5", "1e3", "1,000", "1K", "--", NULL,
	};

	refuse_numbers(table, -EINVAL);
}

static void numbers_too_large(void)
{
	static const char *const table[] = {
		MAX_PLUS_1_TEXT, "28446744073709551615", "99999999999999999999999999999999999999999",
		"0x10000000000000000", "0xfffffffffffffffffffffffff", NULL,
	};

	refuse_numbers(table, -ERANGE);
}

static void sizes_bare(void)
{
	static const struct number bytes[] = { { "0", 0 }, { "7", 7 }, { "0x10", 16 }, { NULL, 0 } };
	static const struct number sectors[] = { { "0", 0 }, { "7", 3584 }, { "0x10", 8192 }, { NULL, 0 } };

	expect_sizes(bytes, 1);
	expect_sizes(sectors, 512);
}

static void sizes_binary(void)
{
	static const struct number table[] = {
		{ "3s", 1536 }, { "3B", 3 }, { "0K", 0 },
		{ "3K", 3 * KIB }, { "3KiB", 3 * KIB },
		{ "3M", 3 * KIB * KIB }, { "3MiB", 3 * KIB * KIB },
		{ "3G", 3 * KIB * KIB * KIB }, { "3GiB", 3 * KIB * KIB * KIB },
		{ "3T", 3 * KIB * KIB * KIB * KIB }, { "3TiB", 3 * KIB * KIB * KIB * KIB },
		{ "3P", 3 * KIB * KIB * KIB * KIB * KIB }, { "3PiB", 3 * KIB * KIB * KIB * KIB * KIB },
		{ "0x10K", 16 * KIB }, { "0x10s", 8192 }, { NULL, 0 },
	};

	/* A unit overrules what a bare number would count. */
	expect_sizes(table, 1);
	expect_sizes(table, 4096);
}

static void sizes_decimal(void)
{
	static const struct number table[] = {
		{ "3KB", 3 * KB }, { "3MB", 3 * KB * KB }, { "3GB", 3 * KB * KB * KB },
		{ "3TB", 3 * KB * KB * KB * KB }, { "3PB", 3 * KB * KB * KB * KB * KB }, { NULL, 0 },
	};

	expect_sizes(table, 1);
	expect_sizes(table, 512);
}

static void sizes_bad(void)
{
	static const char *const table[] = {
		"", "K", "KiB", "s", "B", "1X", "1Ki", "1iB", "1KiBs", "1KK", "1K ", "-1K", "+1K", " 1K", "0xK",
		"1Kib2", "1sB", "1BB", NULL,
	};

	refuse_sizes(table, 1, -EINVAL);
}

static void sizes_too_large(void)
{
	static const char *const table[] = {
		"16384P", "16384PiB", "18447PB", "36028797018963968s", "18014398509481984K", MAX_TEXT "K",
		MAX_PLUS_1_TEXT, MAX_PLUS_1_TEXT "B", NULL,
	};
	static const char *const sectors[] = { "36028797018963968", MAX_TEXT, NULL };
	static const struct number largest[] = {
		{ "16383P", UINT64_C(16383) << 50 }, { "18446PB", UINT64_C(18446000000000000000) },
		{ "36028797018963967s", UINT64_C(36028797018963967) * 512 }, { MAX_TEXT "B", UINT64_MAX }, { NULL, 0 },
	};

	refuse_sizes(table, 1, -ERANGE);
	refuse_sizes(sectors, 512, -ERANGE);
	expect_sizes(largest, 1);
}

struct range {
	const char *text;
	uint64_t begin, end;
};

static void ranges_good(void)
{
	static const struct range table[] = {
		{ "3..7", 3, 7 }, { "3+4", 3, 7 }, { "3", 3, 4 }, { "0", 0, 1 }, { "0..1", 0, 1 }, { "0+1", 0, 1 },
		{ "0x10..0x20", 16, 32 }, { "0x10+0x10", 16, 32 }, { "0xa..11", 10, 11 },
		{ "0.." MAX_TEXT, 0, UINT64_MAX }, { "0+" MAX_TEXT, 0, UINT64_MAX },
		{ "18446744073709551614", UINT64_MAX - 1, UINT64_MAX }, { NULL, 0, 0 },
	};

	for (const struct range *r = table; r->text; r++) {
		uint64_t begin = UNTOUCHED, end = UNTOUCHED;

		CU_ASSERT_EQUAL(units_parse_range(r->text, &begin, &end), 0);
		CU_ASSERT_EQUAL(begin, r->begin);
		CU_ASSERT_EQUAL(end, r->end);
	}
}

static void ranges_empty(void)
{
	static const char *const table[] = { "3..3", "0..0", "3+0", "7..3", "1..0", MAX_TEXT "..0", NULL };

	refuse_ranges(table, -EINVAL);
}

static void ranges_bad(void)
{
	static const char *const table[] = {
		"", "..", "+", "3..", "..3", "3+", "+3", "3...7", "3.7", "3..7x", "3..7..9", "3+4+5", "3-7", "a..b",
		"-3..7", "3..-7", "3 ..7", "3.. 7", "3,7", "3:7", NULL,
	};

	refuse_ranges(table, -EINVAL);
}

static void ranges_too_large(void)
{
	static const char *const table[] = {
		MAX_TEXT, "1+" MAX_TEXT, MAX_TEXT "+1", "0.." MAX_PLUS_1_TEXT, MAX_PLUS_1_TEXT,
		"0+" MAX_PLUS_1_TEXT, NULL,
	};

	refuse_ranges(table, -ERANGE);
}

static void extents_good(void)
{
	static const struct extent {
		const char *text;
		uint64_t begin, end;
		bool in_bytes;
	} table[] = {
		{ "3..7", 3, 7, false }, { "3+4", 3, 7, false }, { "0x10", 16, 17, false },
		{ "0xB..0xC", 11, 12, false }, { "3s", 1536, 1537, true }, { "1K..3K", 1024, 3072, true },
		{ "1KiB+1s", 1024, 1536, true }, { "1KB..1KiB", 1000, 1024, true }, { "0..1GiB", 0, 1 << 30, true },
		{ "0+5B", 0, 5, true }, { "0s", 0, 1, true }, { NULL, 0, 0, false },
	};

	for (const struct extent *x = table; x->text; x++) {
		uint64_t begin = UNTOUCHED, end = UNTOUCHED;
		bool in_bytes = !x->in_bytes;

		CU_ASSERT_EQUAL(units_parse_extent(x->text, &in_bytes, &begin, &end), 0);
		CU_ASSERT_EQUAL(begin, x->begin);
		CU_ASSERT_EQUAL(end, x->end);
		CU_ASSERT_EQUAL(in_bytes, x->in_bytes);
	}
}

static void extents_bad(void)
{
	static const char *const table[] = {
		"", "s", "1s..", "..1s", "1K..7", "7..8K", "0s..7", "1K+1", "1K..1K", "2K..1K", "1K+0s", "1X..2X",
		"1K ..2K", "1K..2Kx", "1.5K", "1K..2K..3K", "2B..0x3B", NULL,
	};
	static const char *const ranges[] = { "3s", "1K..2K", "0..1K", "3B", NULL };

	for (const char *const *t = table; *t; t++) {
		uint64_t begin = UNTOUCHED, end = UNTOUCHED;
		bool in_bytes;

		CU_ASSERT_EQUAL(units_parse_extent(*t, &in_bytes, &begin, &end), -EINVAL);
		CU_ASSERT_EQUAL(begin, UNTOUCHED);
		CU_ASSERT_EQUAL(end, UNTOUCHED);
	}
	refuse_ranges(ranges, -EINVAL);
}

static void extents_too_large(void)
{
	static const char *const table[] = {
		"16384P", "1..16384P", "0.." MAX_TEXT "K", MAX_TEXT "B", "1B+" MAX_TEXT "B", NULL,
	};

	for (const char *const *t = table; *t; t++) {
		uint64_t begin, end;
		bool in_bytes;

		CU_ASSERT_EQUAL(units_parse_extent(*t, &in_bytes, &begin, &end), -ERANGE);
	}
}

static void format_exact(void)
{
	static const struct number table[] = {
		{ "0 B", 0 }, { "1 B", 1 }, { "512 B", 512 }, { "1000 B", 1000 }, { "1023 B", 1023 },
		{ "1 KiB", KIB }, { "1.5 KiB", 1536 }, { "64 KiB", 65536 }, { "1023 KiB", 1023 * KIB },
		{ "4 MiB", 4 * KIB * KIB }, { "1.5 GiB", 3 * KIB * KIB * KIB / 2 }, { "1 TiB", UINT64_C(1) << 40 },
		{ "1023 TiB", UINT64_C(1023) << 40 }, { "2 PiB", UINT64_C(1) << 51 }, { NULL, 0 },
	};
	char buf[UNITS_SIZE_MAX];

	for (const struct number *n = table; n->text; n++)
		CU_ASSERT_STRING_EQUAL(units_format_size(n->value, buf), n->text);
}

static double unit_bytes(const char *unit)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };

	for (unsigned i = 0; i < 7; i++)
		if (!strcmp(unit, units[i]))
			return (double)(UINT64_C(1) << (10 * i));
	return 0;
}

/* Within a tenth of the unit, in the largest unit that fits, with one digit after the point that is not 0. */
static int is_well_formatted(uint64_t bytes)
{
	char buf[UNITS_SIZE_MAX], unit[8];
	const char *point, *text = units_format_size(bytes, buf);
	double v, one, error;

	if (text != buf || memchr(buf, 0, sizeof(buf)) == NULL || sscanf(text, "%lf %7s", &v, unit) != 2)
		return 0;
	one = unit_bytes(unit);
	error = v * one - (double)bytes;
	point = strchr(text, '.');
	if (point && (point[1] == '0' || point[2] != ' '))
		return 0;
	return one > 0 && error < 0.1001 * one && error > -0.1001 * one && (v < 1024 || one >= 0x1p50) &&
	       (v >= 1 || one < 2);
}

static void format_boundaries(void)
{
	unsigned bad = 0;

	for (unsigned shift = 0; shift < 64; shift++)
		for (int off = -60; off <= 60; off++)
			bad += !is_well_formatted((UINT64_C(1) << shift) + (uint64_t)(int64_t)off);
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT(is_well_formatted(UINT64_MAX));
}

static void format_whole(void)
{
	static const struct number table[] = {
		{ "0", 0 }, { "512", 512 }, { "8192", 8192 }, { "8KiB", 8193 }, { "3648KiB", 3735552 },
		{ "4096KiB", 4 * KIB * KIB }, { "8192KiB", 8 * KIB * KIB }, { "8MiB", 8 * KIB * KIB + KIB },
		{ "13MiB", 13 * KIB * KIB + 511 * KIB }, { "14MiB", 13 * KIB * KIB + 512 * KIB },
		{ "1024MiB", 1023 * KIB * KIB + 512 * KIB }, { "1024MiB", 1024 * KIB * KIB + 1023 * KIB },
		{ "16EiB", UINT64_MAX }, { NULL, 0 },
	};
	char buf[UNITS_SIZE_MAX];

	for (const struct number *n = table; n->text; n++)
		CU_ASSERT_STRING_EQUAL(units_format_whole_size(n->value, buf), n->text);
}

static void times(void)
{
	static const struct number table[] = {
		{ "0", 0 }, { "3", 3000000000 }, { "7ns", 7 }, { "7us", 7000 }, { "250ms", 250000000 }, { "10s", 10000000000 },
		{ "2m", 120000000000 }, { "1h", 3600000000000 }, { NULL, 0 },
	};
	static const char *const bad[] = { "", "s", "1.5s", "-1", "1 s", "1S", "1min", "1sm", NULL };
	uint64_t v = 5;

	for (const char *const *b = bad; *b; b++)
		CU_ASSERT_EQUAL(units_parse_time(*b, &v), -EINVAL);
	CU_ASSERT_EQUAL(units_parse_time("6000000h", &v), -ERANGE);
	CU_ASSERT_EQUAL(v, 5);
	for (const struct number *n = table; n->text; n++) {
		CU_ASSERT_EQUAL(units_parse_time(n->text, &v), 0);
		CU_ASSERT_EQUAL(v, n->value);
	}
}

static void checked_sums(void)
{
	uint64_t v;

	CU_ASSERT_TRUE(checked_add(UINT64_MAX - 1, 1, &v));
	CU_ASSERT_EQUAL(v, UINT64_MAX);
	CU_ASSERT_FALSE(checked_add(UINT64_MAX, 1, &v));
	CU_ASSERT_FALSE(checked_add(UINT64_MAX, UINT64_MAX, &v));
}

static void checked_products(void)
{
	uint64_t v;

	CU_ASSERT_TRUE(checked_mul(UINT64_C(1) << 32, UINT32_MAX, &v));
	CU_ASSERT_EQUAL(v, UINT64_C(0xffffffff00000000));
	CU_ASSERT_TRUE(checked_mul(UINT64_MAX, 0, &v));
	CU_ASSERT_EQUAL(v, 0);
	CU_ASSERT_FALSE(checked_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &v));
}

static void formats_time(void)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} rows[] = {
		{ 0, "0ns" }, { 712, "712ns" }, { 999, "999ns" }, { 1000, "1.00us" }, { 43840, "43.8us" }, { 99949, "99.9us" },
		{ 99950, "100us" }, { 999499, "999us" }, { 999500, "1.00ms" }, { 9995000, "10.0ms" }, { 1520000000, "1.52s" },
		{ UINT64_C(3600000000000), "3600s" }, { UINT64_MAX, "18446744074s" },
	};
	char text[UNITS_TIME_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		CU_ASSERT_STRING_EQUAL(units_format_time(rows[i].ns, text), rows[i].text);
}

static const struct unit_case cases[] = {
	{ "a time has three digits that count", formats_time },
	{ "a plain number is decimal, leading zeroes or not", numbers_decimal },
	{ "a number after 0x is hexadecimal", numbers_hexadecimal },
	{ "signs, blanks, points and letters are no number", numbers_bad },
	{ "a number beyond 64 bits is out of range, not wrapped", numbers_too_large },
	{ "a bare size counts what the caller says", sizes_bare },
	{ "s is 512 bytes; K, M, G, T, P and KiB ... are powers of 1024", sizes_binary },
	{ "KB ... PB are powers of 1000", sizes_decimal },
	{ "a unit alone, an unknown unit or two units are no size", sizes_bad },
	{ "a size beyond 64 bits is out of range, not wrapped", sizes_too_large },
	{ "a..b, a+n and a are half-open ranges", ranges_good },
	{ "an empty or backward range is refused", ranges_empty },
	{ "half a range, or more than one, is refused", ranges_bad },
	{ "a range whose end is beyond 64 bits is out of range", ranges_too_large },
	{ "a range whose sides have units is one of bytes; a begin of 0 needs none", extents_good },
	{ "a range of bytes and blocks is refused, and one of bytes where blocks are wanted", extents_bad },
	{ "a range of bytes beyond 64 bits is out of range", extents_too_large },
	{ "sizes are printed in the largest unit", format_exact },
	{ "around each power of two a printed size is short and within a tenth", format_boundaries },
	{ "a whole size has up to 8192 of a unit, and is rounded below 1024", format_whole },
	{ "a time is a whole number and a unit from ns to h, bare in seconds", times },
	{ "a sum that does not fit is refused", checked_sums },
	{ "a product that does not fit is refused", checked_products },
	{ NULL, NULL },
};

const struct unit_suite units_suite = { "units", cases };
