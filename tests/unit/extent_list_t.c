// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "text/extent_list.h"
#include "unit.h"

#define DATA_BYTES 1048576

static struct text_extents x;
static struct text_extents_error error;

static int read_bytes(const char *text, size_t len, uint64_t memory)
{
	struct text_extents_args args = { .data_bytes = DATA_BYTES, .unit = 512, .memory = memory };
	FILE *f = tmpfile();
	int r;

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fwrite(text, 1, len, f), len);
	rewind(f);
	text_extents_destroy(&x);
	r = text_extents_read(f, &args, &x, &error);
	fclose(f);
	CU_ASSERT_EQUAL(!error.reason[0], r != -EINVAL);
	return r;
}

static int read_text(const char *text)
{
	return read_bytes(text, strlen(text), 65536);
}

static void has(size_t i, uint64_t to, uint64_t from, uint64_t bytes)
{
	CU_ASSERT_TRUE_FATAL(i < x.nr);
	CU_ASSERT_EQUAL(x.pieces[i].to, to);
	CU_ASSERT_EQUAL(x.pieces[i].from, from);
	CU_ASSERT_EQUAL(x.pieces[i].bytes, bytes);
}

static void refuses(const char *text, uint64_t line)
{
	CU_ASSERT_EQUAL(read_text(text), -EINVAL);
	CU_ASSERT_EQUAL(error.line, line);
}

/* --- both forms --- */

static void as_text(void)
{
	CU_ASSERT_EQUAL(read_text("# device 1: virtual start, data start, length; bytes\n0 512 1024\n4096 2048 512\n"), 0);
	CU_ASSERT_EQUAL(x.nr, 2);
	has(0, 0, 512, 1024);
	has(1, 4096, 2048, 512);
	CU_ASSERT_EQUAL(x.end, 4608);
	CU_ASSERT_EQUAL(x.problems, 0);
}

static void blanks_and_comments(void)
{
	CU_ASSERT_EQUAL(read_text("\n  0\t0x200 512\r\n\n# more\n512 0 512 # odd order\n"), 0);
	CU_ASSERT_EQUAL(x.nr, 2);
	has(1, 512, 0, 512);
}

#define BEGIN "{\"schema\":\"bufio.mappings/1\",\"image\":\"a \\\" b\"}\n"
#define DEVICE "{\"type\":\"device\",\"dev_id\":7,\"lv\":\"home\"}\n"
#define EXTENT(to, from, bytes) "{\"type\":\"extent\",\"dev_id\":7,\"lv\":\"ho\\\\me\",\"virtual_bytes\":" #to \
	",\"data_bytes\":" #from ",\"length_bytes\":" #bytes "}\n"
#define END(records, problems) "{\"type\":\"end\",\"records\":" #records ",\"problems\":" #problems "}\n"

static void as_json(void)
{
	CU_ASSERT_EQUAL(read_text(BEGIN DEVICE EXTENT(0, 512, 1024) EXTENT(4096, 2048, 512) END(3, 0)), 0);
	CU_ASSERT_EQUAL(x.nr, 2);
	has(0, 0, 512, 1024);
	has(1, 4096, 2048, 512);
	CU_ASSERT_EQUAL(x.end, 4608);
}

static void json_with_problems(void)
{
	CU_ASSERT_EQUAL(read_text(BEGIN DEVICE "{\"type\":\"problem\",\"name\":\"x\",\"devices\":[1,{\"a\":2}]}\n"
				  EXTENT(0, 512, 1024) END(2, 1)), 0);
	CU_ASSERT_EQUAL(x.problems, 1);
}

static void merged(void)
{
	CU_ASSERT_EQUAL(read_text("0 512 512\n512 1024 1024\n1536 2048 512\n2048 512 512\n"), 0);
	CU_ASSERT_EQUAL(x.nr, 2);
	has(0, 0, 512, 2048);
	has(1, 2048, 512, 512);
}

/* The same data may be found twice. */
static void shared_data(void)
{
	CU_ASSERT_EQUAL(read_text("0 512 512\n512 512 512\n"), 0);
	CU_ASSERT_EQUAL(x.nr, 2);
}

static void nothing_mapped(void)
{
	CU_ASSERT_EQUAL(read_text("# device 3: virtual start, data start, length; bytes\n"), 0);
	CU_ASSERT_EQUAL(x.nr, 0);
	CU_ASSERT_EQUAL(x.end, 0);
	CU_ASSERT_EQUAL(read_text(BEGIN DEVICE END(1, 0)), 0);
	CU_ASSERT_EQUAL(x.nr, 0);
	refuses("", 1);
	refuses("# nothing\n", 2);
	refuses(BEGIN END(0, 0), 3);
}

static void long_lines(void)
{
	static char text[20000];
	int n = snprintf(text, sizeof(text), "{\"schema\":\"bufio.mappings/1\",\"image\":\"");

	memset(text + n, 'x', 5000);
	strcpy(text + n + 5000, "\"}\n" DEVICE EXTENT(0, 0, 512) END(2, 0));
	CU_ASSERT_EQUAL(read_text(text), 0);
	memset(text, ' ', 9000);
	strcpy(text + 9000, "\n");
	refuses(text, 1);
}

/* --- what is wrong --- */

static void positions(void)
{
	refuses("0 0 512\n0 512 512\n", 2);
	refuses("512 0 1024\n\n1024 2048 512\n", 3);
	refuses("512 0 512\n0 512 512\n", 2);
	refuses("0 0 0\n", 1);
	refuses("100 0 512\n", 1);
	refuses("0 100 512\n", 1);
	refuses("0 0 100\n", 1);
	refuses("0 1048576 512\n", 1);
	refuses("0 0 1049088\n", 1);
	refuses("0 18446744073709551104 512\n", 1);
	refuses("18446744073709551104 0 512\n", 1);
	refuses("18446744073709551104 0 1024\n", 1);
	refuses("9223372036854775296 0 1024\n", 1);
	CU_ASSERT_EQUAL(read_text("0 0 1048576\n"), 0);
	CU_ASSERT_EQUAL(read_text("9223372036854774784 0 512\n"), 0);
}

static void words(void)
{
	refuses("0 0\n", 1);
	refuses("0 0 512 512\n", 1);
	refuses("0 0 512 0 0\n", 1);
	refuses("0 0 4KiB\n", 1);
	refuses("0 0 -512\n", 1);
	refuses("a b c\n", 1);
	refuses("0 0 18446744073709551616\n", 1);
	refuses("0 0 512", 1);
	CU_ASSERT_EQUAL(read_bytes("0 0 512\n0 \0 512\n", 16, 65536), -EINVAL);
	CU_ASSERT_EQUAL(error.line, 2);
}

static void devices(void)
{
	refuses("# device 1: x\n0 0 512\n# device 2: x\n", 3);
	refuses(BEGIN DEVICE "{\"type\":\"device\",\"dev_id\":8}\n", 3);
	refuses(BEGIN EXTENT(0, 0, 512), 2);
	refuses(BEGIN "{\"type\":\"device\",\"dev_id\":8}\n" EXTENT(0, 0, 512), 3);
}

static void json_ends(void)
{
	refuses(BEGIN DEVICE EXTENT(0, 0, 512), 4);
	refuses(BEGIN DEVICE EXTENT(0, 0, 512) END(3, 0), 4);
	refuses(BEGIN DEVICE END(2, 0), 3);
	refuses(BEGIN DEVICE "{\"type\":\"end\",\"records\":1}\n", 3);
	refuses(BEGIN DEVICE END(1, 0) "\n", 4);
	refuses(BEGIN DEVICE END(1, 0) END(1, 0), 4);
}

static void json_forms(void)
{
	static const char *const wrong[] = {
		"{}", "{\"type\"}", "{\"type\":}", "{\"type\":\"extent", "{\"type\":\"extent\\", "[1]", "{\"type\":\"extent\"}", "0 0 512",
		"{\"type\":\"extent\",\"dev_id\":7,\"virtual_bytes\":0,\"data_bytes\":0}",
		"{\"type\":\"extent\",\"dev_id\":7,\"virtual_bytes\":0,\"data_bytes\":0,\"length_bytes\":512",
		"{\"type\":\"extent\",\"dev_id\":7,\"virtual_bytes\":0,\"data_bytes\":0,\"length_bytes\":512}}",
		"{\"type\":\"extent\",\"dev_id\":7,\"virtual_bytes\":null,\"data_bytes\":0,\"length_bytes\":512}",
		"{\"type\":\"extent\",\"dev_id\":7,\"virtual_bytes\":0,\"data_bytes\":0,\"length_bytes\":512,}",
		"{\"type\":\"extent\",\"dev_id\":7,\"virtual_bytes\":0,\"data_bytes\":0,\"length_bytes\":[512]}",
		"{\"type\":\"extent\",\"dev_id\":7,\"virtual_bytes\":00000000000000000000000000000000000000000001,"
		"\"data_bytes\":0,\"length_bytes\":512}",
		"{\"type\":\"other\",\"dev_id\":7}", "{\"name\":\"extent\"}", "{\"schema\":\"bufio.mappings/2\"}",
	};
	char text[1024];

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		snprintf(text, sizeof(text), BEGIN DEVICE "%s\n", wrong[i]);
		refuses(text, 3);
	}
	refuses("{\"schema\":\"bufio.map/1\"}\n", 1);
}

static void memory(void)
{
	static char text[64 * 1024];
	size_t len = 0;

	for (unsigned i = 0; i < 500; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%u 0 512\n", i * 1024);
	CU_ASSERT_EQUAL(read_bytes(text, len, 500 * 2 * sizeof(struct piece)), 0);
	CU_ASSERT_EQUAL(x.nr, 500);
	CU_ASSERT_EQUAL(read_bytes(text, len, 500 * sizeof(struct piece) - 1), -E2BIG);
}

static const struct unit_case cases[] = {
	{ "lines of text are extents, and their comments the device", as_text },
	{ "blanks, empty lines and comments do not matter, in text", blanks_and_comments },
	{ "JSON says the same, whatever else is in it", as_json },
	{ "problems are counted by the end of JSON", json_with_problems },
	{ "neighbours that go on in both places are one", merged },
	{ "data may be found in two places", shared_data },
	{ "a device may map nothing, but a file that names none is refused", nothing_mapped },
	{ "lines may be as long as the name of an image is, and no longer", long_lines },
	{ "what overlaps, does not rise, is not aligned, or lies behind an end is refused", positions },
	{ "other words are refused, and what ends in the middle of a line", words },
	{ "a second device is refused", devices },
	{ "JSON without its end, or with another, is refused", json_ends },
	{ "other forms of JSON are refused", json_forms },
	{ "pieces take no more memory than they may", memory },
	{ NULL, NULL },
};

const struct unit_suite extent_list_suite = { "extent_list", cases };
