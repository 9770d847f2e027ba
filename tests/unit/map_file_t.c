// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text/map_file.h"
#include "unit.h"

static struct text_map map;
static struct text_map_info info;

static int read_text(const char *text, size_t size)
{
	FILE *file = fmemopen((void *)text, size, "r");
	int r;

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	text_map_destroy(&map);
	r = text_map_read(file, &map, &info);
	fclose(file);
	return r;
}

static void expect(const char *pieces)
{
	char text[1024] = "";
	size_t len = 0;

	for (size_t i = 0; i < map.nr; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%lu-%lu%c", i ? " " : "",
					(unsigned long)map.pieces[i].begin, (unsigned long)map.pieces[i].end,
					map.pieces[i].status);
	CU_ASSERT_STRING_EQUAL(text, pieces);
}

static void read_one(void)
{
	static const char text[] =
		"# Mapfile. Created by GNU ddrescue version 1.27\n"
		"# bufio-copy: \n"
		"# bufio-copy: one\n"
		"# bufio-copy: two # and more\n"
		"# current_pos  current_status  current_pass\n"
		"0x00000000     ?               1\n"
		"#      pos        size  status\n"
		"0x00000000  0x00001000  +\n"
		"4096  512 -   # bad\n"
		"0x1200  0x200  *\n"
		"5120 0 /\n"
		"0x1400  0x400  /\r\n"
		"0x1800  0x400  ?";

	CU_ASSERT_EQUAL(read_text(text, sizeof(text) - 1), 0);
	expect("0-4096+ 4096-4608- 4608-5120* 5120-6144/ 6144-7168?");
	CU_ASSERT_STRING_EQUAL(info.notes[0], "one");
	CU_ASSERT_STRING_EQUAL(info.notes[1], "two # and more");
	CU_ASSERT_STRING_EQUAL(info.notes[2], "");
	CU_ASSERT_EQUAL(text_map_count(&map, "+"), 4096);
	CU_ASSERT_EQUAL(text_map_count(&map, "*/-?"), 512 + 512 + 1024 + 1024);
	text_map_destroy(&map);
}

static void refused(void)
{
	static const struct {
		const char *text;
		uint64_t line;
		const char *expected;
	} rows[] = {
		{ "", 1, "status of the run" },
		{ "# nothing\n", 2, "status of the run" },
		{ "0 512 +\n", 1, "status of the run" },
		{ "0 X\n", 1, "status of the run" },
		{ "0 ?\n0 512\n", 2, "status of a piece" },
		{ "0 ?\n0 512 F\n", 2, "status of a piece" },
		{ "0 ?\n0 512 ++\n", 2, "status of a piece" },
		{ "0 ?\n0 512 + 1\n", 2, "status of a piece" },
		{ "0 ?\n0 -512 +\n", 2, "status of a piece" },
		{ "0 ?\n0xffffffffffffffff 512 +\n", 2, "status of a piece" },
		{ "0 ?\n0 512 +\n1024 512 +\n", 3, "no gaps" },
		{ "0 ?\n0 512 +\n0 512 +\n", 3, "no gaps" },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		/* An empty file cannot be made of memory. */
		const char *text = *rows[i].text ? rows[i].text : "\n";

		CU_ASSERT_EQUAL(read_text(text, strlen(text)), -EINVAL);
		CU_ASSERT_EQUAL(info.line, rows[i].line + !*rows[i].text);
		CU_ASSERT_PTR_NOT_NULL_FATAL(info.expected);
		CU_ASSERT_PTR_NOT_NULL(strstr(info.expected, rows[i].expected));
	}
	text_map_destroy(&map);
}

static void hostile_lines(void)
{
	char text[400];

	CU_ASSERT_EQUAL(read_text("0 ?\n0 5\00012 +\n", 15), -EINVAL);
	CU_ASSERT_EQUAL(info.line, 2);
	memset(text, ' ', sizeof(text));
	memcpy(text, "0 ?\n0 512 +", 11);
	CU_ASSERT_EQUAL(read_text(text, sizeof(text)), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(info.expected, "255"));
	/* As long as a line may be, all of it a note. */
	memset(text, 'n', sizeof(text));
	memcpy(text, "# bufio-copy: ", 14);
	memcpy(text + 255, "\n0 ?\n", 5);
	CU_ASSERT_EQUAL(read_text(text, 260), 0);
	CU_ASSERT_EQUAL(strlen(info.notes[0]), 255 - 14);
	text_map_destroy(&map);
}

/* Read by the table of pieces: there is room for so many, and one more is an error. */
static void too_many(void)
{
	struct text_map m = { 0 };

	for (uint64_t i = 0; i < TEXT_MAP_MAX; i++)
		if (text_map_append(&m, i, i + 1, i % 2 ? '+' : '-'))
			CU_FAIL_FATAL("no room");
	CU_ASSERT_EQUAL(text_map_append(&m, TEXT_MAP_MAX, TEXT_MAP_MAX + 1, '?'), -E2BIG);
	CU_ASSERT_EQUAL(text_map_append(&m, TEXT_MAP_MAX, TEXT_MAP_MAX + 9, '+'), 0); /* more of the last */
	CU_ASSERT_EQUAL(m.nr, TEXT_MAP_MAX);
	CU_ASSERT_EQUAL(text_map_set(&m, TEXT_MAP_MAX, TEXT_MAP_MAX + 2, '*', NULL), -E2BIG);
	text_map_destroy(&m);
}

static void setting(void)
{
	CU_ASSERT_EQUAL(text_map_append(&map, 100, 200, '?'), 0);
	CU_ASSERT_EQUAL(text_map_set(&map, 120, 130, 'w', NULL), 0);
	expect("100-120? 120-130w 130-200?");
	CU_ASSERT_EQUAL(text_map_set(&map, 130, 140, 'w', NULL), 0);
	expect("100-120? 120-140w 140-200?");
	CU_ASSERT_EQUAL(text_map_set(&map, 0, 121, 'w', NULL), 0);
	expect("100-140w 140-200?");
	CU_ASSERT_EQUAL(text_map_set(&map, 135, 150, '*', "?"), 0);
	expect("100-140w 140-150* 150-200?");
	CU_ASSERT_EQUAL(text_map_set(&map, 0, 1000, '-', "*?"), 0);
	expect("100-140w 140-200-");
	CU_ASSERT_EQUAL(text_map_set(&map, 130, 150, '+', NULL), 0);
	expect("100-130w 130-150+ 150-200-");
	CU_ASSERT_EQUAL(text_map_set(&map, 150, 150, '?', NULL), 0);
	CU_ASSERT_EQUAL(text_map_set(&map, 300, 400, '?', NULL), 0);
	expect("100-130w 130-150+ 150-200-");
	text_map_replace(&map, 'w', '+');
	expect("100-150+ 150-200-");
	CU_ASSERT_EQUAL(text_map_set(&map, 150, 200, '+', NULL), 0);
	expect("100-200+");
	text_map_destroy(&map);
}

/* Against an array of bytes. */
static void setting_any(void)
{
	static const char statuses[] = "?*/-+w";
	char bytes[64];
	uint64_t seed = 1;

	memset(bytes, '?', sizeof(bytes));
	CU_ASSERT_EQUAL(text_map_append(&map, 0, sizeof(bytes), '?'), 0);
	for (unsigned n = 0; n < 20000; n++) {
		unsigned begin, end, wrong = 0;
		char status, over[3] = "";

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		begin = seed >> 40 & 63;
		end = seed >> 46 & 63;
		status = statuses[(seed >> 52) % 6];
		over[0] = statuses[(seed >> 55) % 6];
		over[1] = statuses[(seed >> 58) % 6];
		CU_ASSERT_EQUAL(text_map_set(&map, begin, end, status, n % 3 ? over : NULL), 0);
		for (unsigned i = begin; i < end; i++)
			if (!(n % 3) || strchr(over, bytes[i]))
				bytes[i] = status;
		for (size_t i = 0; i < map.nr; i++) {
			wrong += i && (map.pieces[i].begin != map.pieces[i - 1].end ||
				       map.pieces[i].status == map.pieces[i - 1].status);
			for (uint64_t at = map.pieces[i].begin; at < map.pieces[i].end; at++)
				wrong += bytes[at] != map.pieces[i].status;
		}
		if (wrong || map.pieces[map.nr - 1].end != sizeof(bytes))
			CU_FAIL_FATAL("not as the bytes");
	}
	text_map_destroy(&map);
}

static void finding(void)
{
	const struct text_map_piece *p;

	text_map_append(&map, 0, 10, '+');
	text_map_append(&map, 10, 20, '*');
	text_map_append(&map, 20, 30, '?');
	p = text_map_find(&map, 0, "?*");
	CU_ASSERT_TRUE(p && p->begin == 10);
	p = text_map_find(&map, 19, "*");
	CU_ASSERT_TRUE(p && p->begin == 10);
	CU_ASSERT_PTR_NULL(text_map_find(&map, 20, "*"));
	CU_ASSERT_PTR_NULL(text_map_find(&map, 30, "+*?"));
	text_map_destroy(&map);
}

static void round_trip(void)
{
	struct text_map_info notes = { .notes = { "a", "b" } };
	char text[2048];
	static struct text_out out;
	int fd = memfd_create("map", MFD_CLOEXEC);
	ssize_t n;

	text_map_append(&map, 512, 1024, '+');
	text_map_append(&map, 1024, UINT64_C(1) << 40, '-');
	text_out_init(&out, fd);
	text_map_write(&out, &map, &notes, 1024, '-');
	CU_ASSERT_EQUAL(text_out_flush(&out), 0);
	n = pread(fd, text, sizeof(text), 0);
	CU_ASSERT_TRUE_FATAL(n > 0);
	CU_ASSERT_EQUAL(read_text(text, (size_t)n), 0);
	expect("512-1024+ 1024-1099511627776-");
	CU_ASSERT_STRING_EQUAL(info.notes[0], "a");
	CU_ASSERT_STRING_EQUAL(info.notes[1], "b");
	CU_ASSERT_STRING_EQUAL(info.notes[2], "");
	close(fd);
	text_map_destroy(&map);
}

static const struct unit_case cases[] = {
	{ "pieces, comments and notes are read, in numbers of either kind", read_one },
	{ "what is no map is refused, with the line and what was expected", refused },
	{ "lines with a NUL, and lines that are too long, are refused", hostile_lines },
	{ "there may be a million pieces, and no more", too_many },
	{ "a range gets a status where it has one of some, and neighbours of one status are one piece", setting },
	{ "any setting does what it does to an array of bytes", setting_any },
	{ "the first piece of a status from a byte on is found", finding },
	{ "what is written is read again as it was", round_trip },
	{ NULL, NULL },
};

const struct unit_suite map_file_suite = { "map_file", cases };
