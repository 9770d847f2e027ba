// SPDX-License-Identifier: LGPL-2.1-or-later
/* Every text is read twice, by expat alone and with the scanner: records and complaints are the same. */
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text/xml_read.h"
#include "text/xml_scan.h"
#include "unit.h"

#define HEAD "<superblock time=\"1\" transaction=\"2\" data_block_size=\"128\" nr_data_blocks=\"1000\">\n"
#define DEVICE "<device dev_id=\"1\" mapped_blocks=\"1\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">\n"
#define ONE "<single_mapping origin_block=\"5\" data_block=\"6\" time=\"1\"/>\n"
#define RANGE "<range_mapping origin_begin=\"7\" data_begin=\"8\" length=\"3\" time=\"0\"/>\n"
#define TAIL "</device>\n</superblock>\n"

/* --- a visitor that writes down what comes --- */

static struct recorder {
	struct meta_visitor v;
	char text[4096];
	unsigned left; /* records until it has enough; 0: never */
} recorder;

static void note(const char *text)
{
	size_t len = strlen(recorder.text);

	snprintf(recorder.text + len, sizeof(recorder.text) - len, "%s", text);
}

static int enough(void)
{
	return recorder.left && !--recorder.left ? -EXDEV : 0;
}

static int on_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_superblock *sb = record;
	const struct record_device *d = record;
	const struct record_def *def = record;
	char text[200] = "";

	(void)v;
	if (kind == RECORD_SUPERBLOCK)
		snprintf(text, sizeof(text), "sb '%s' %u %" PRIu64 " %u %u %u %" PRIu64 ";", sb->uuid, sb->time,
			 sb->transaction, sb->flags, sb->version, sb->data_block_size, sb->nr_data_blocks);
	else if (kind == RECORD_DEVICE)
		snprintf(text, sizeof(text), "dev %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %u;", d->dev_id,
			 d->mapped_blocks, d->transaction, d->creation_time, d->snap_time);
	else
		snprintf(text, sizeof(text), "def %" PRIu64 ";", def->name);
	note(text);
	return enough();
}

static int on_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_mapping *m = record;
	const struct record_def *ref = record;
	char text[200];

	(void)v;
	if (kind == RECORD_REF)
		snprintf(text, sizeof(text), "ref %" PRIu64 ";", ref->name);
	else
		snprintf(text, sizeof(text), "%c %" PRIu64 "..%" PRIu64 " %" PRIu64 "..%" PRIu64 " %" PRIu64 " %u;",
			 kind == RECORD_SINGLE ? 's' : 'r', m->origin_begin, m->origin_last, m->data_begin,
			 m->data_last, m->length, m->time);
	note(text);
	return enough();
}

static int on_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)v;
	(void)record;
	note(kind == RECORD_SUPERBLOCK ? "/sb" : kind == RECORD_DEVICE ? "/dev;" : "/def;");
	return enough();
}

/* --- reading --- */

static struct text_xml_error error;

static int read_one_way(const char *text, size_t len, bool without_scanner, unsigned left)
{
	struct text_xml_args args = {
		.fd = memfd_create("xml", 0), .memory = 1 << 20, .without_scanner = without_scanner,
	};
	int r;

	recorder = (struct recorder){ .v = { on_begin, on_record, on_end, NULL }, .left = left };
	CU_ASSERT_EQUAL_FATAL(write(args.fd, text, len), (ssize_t)len);
	lseek(args.fd, 0, SEEK_SET);
	r = text_xml_read(&args, &recorder.v, &error);
	close(args.fd);
	return r;
}

/* Both ways. */
static int read_bytes(const char *text, size_t len, unsigned left)
{
	static char first[sizeof(recorder.text)];
	struct text_xml_error e;
	int r = read_one_way(text, len, true, left);

	e = error;
	memcpy(first, recorder.text, sizeof(first));
	CU_ASSERT_EQUAL(read_one_way(text, len, false, left), r);
	CU_ASSERT_STRING_EQUAL(recorder.text, first);
	CU_ASSERT_EQUAL(error.line, e.line);
	CU_ASSERT_EQUAL(error.column, e.column);
	CU_ASSERT_STRING_EQUAL(error.element, e.element);
	CU_ASSERT_STRING_EQUAL(error.reason, e.reason);
	return r;
}

static void gives(const char *text, const char *records)
{
	CU_ASSERT_EQUAL(read_bytes(text, strlen(text), 0), 0);
	CU_ASSERT_STRING_EQUAL(recorder.text, records);
}

static void refused(const char *text, unsigned line, unsigned column, const char *element, const char *reason)
{
	CU_ASSERT_EQUAL(read_bytes(text, strlen(text), 0), -EINVAL);
	CU_ASSERT_EQUAL(error.line, line);
	CU_ASSERT_EQUAL(error.column, column);
	CU_ASSERT_STRING_EQUAL(error.element, element);
	CU_ASSERT_STRING_EQUAL(error.reason, reason);
}

#define SB "sb '' 1 2 0 2 128 1000;"
#define DEV "dev 1 1 0 0 0;"
#define S "s 5..5 6..6 1 1;"
#define R "r 7..9 8..10 3 0;"

static void records(void)
{
	gives(HEAD DEVICE ONE RANGE TAIL, SB DEV S R "/dev;/sb");
	gives(HEAD "</superblock>", SB "/sb");
	gives(HEAD "<def name=\"x\">\n" ONE "</def>\n" DEVICE "<ref name=\"x\"/>\n" RANGE TAIL,
	      SB "def 1;" S "/def;" DEV "ref 1;" R "/dev;/sb");
	gives("<superblock uuid=\"u\" time=\"4294967295\" transaction=\"18446744073709551615\" flags=\"1\" version=\"1\" "
	      "data_block_size=\"0\" nr_data_blocks=\"0\"/>",
	      "sb 'u' 4294967295 18446744073709551615 1 1 0 0;/sb");
}

static void same_in_any_form(void)
{
	static const char *const is = SB DEV S R "/dev;/sb";

	gives("<?xml version=\"1.0\"?>" HEAD DEVICE ONE RANGE TAIL, is);
	gives("\xEF\xBB\xBF" HEAD DEVICE ONE RANGE TAIL, is);
	gives(HEAD DEVICE "\t" ONE "  \r\n  " RANGE TAIL "<!-- end -->\n", is);
	gives(HEAD DEVICE ONE "<!-- a comment\n" ONE RANGE "-->" RANGE TAIL, is);
	gives(HEAD DEVICE "<!--\n" ONE "-->\n" ONE RANGE TAIL, is);
	gives(HEAD DEVICE "<?php\n" ONE "?>\n" ONE RANGE TAIL, is);
	gives(HEAD DEVICE ONE "<![CDATA[\n  \n]]>\n" RANGE TAIL, is);
	gives(HEAD DEVICE "<single_mapping time='1' data_block = \"&#54;\"\n origin_block=\"005\" >\n</single_mapping>" RANGE
	      TAIL, is);
	gives(HEAD DEVICE "<single_mapping origin_block=\"5\" data_block=\"00000000000000000000000006\" time=\"1\"/>\n" RANGE
	      TAIL, is);
}

/* What expat sees as something else is nothing that the scanner may take. */
static void not_taken(void)
{
	CU_ASSERT_EQUAL(read_bytes(HEAD DEVICE "<![CDATA[\n" ONE "]]>\n" TAIL,
				   strlen(HEAD DEVICE "<![CDATA[\n" ONE "]]>\n" TAIL), 0), -EINVAL);
	CU_ASSERT_EQUAL(read_bytes(HEAD DEVICE "<single_mapping\n" ONE TAIL, strlen(HEAD DEVICE "<single_mapping\n" ONE TAIL),
				   0), -EINVAL);
	CU_ASSERT_EQUAL(read_bytes(HEAD DEVICE "<ref name=\"\n" ONE "\"/>\n" TAIL,
				   strlen(HEAD DEVICE "<ref name=\"\n" ONE "\"/>\n" TAIL), 0), -EINVAL);
	refused(HEAD ONE "</superblock>", 2, 1, "single_mapping", "does not belong into a <superblock>");
	refused(HEAD DEVICE "text\n" ONE TAIL, 3, 1, "", "text where only elements belong: 'text'");
}

static void places(void)
{
	refused(HEAD DEVICE ONE ONE ONE "  <single_mapping origin_block=\"1\" data_block=\"x\" time=\"1\"/>\n" TAIL, 6, 3,
		"single_mapping", "data_block: 'x' is not a number");
	refused(HEAD DEVICE ONE ONE "<bad/>" TAIL, 5, 1, "bad", "is no element of a pool's XML");
	refused(HEAD DEVICE ONE "</device>\n<def name=\"a\"/>\n<def name=\"a\"/>" TAIL, 6, 1, "def",
		"name: there is a def 'a' already");
	refused(HEAD DEVICE ONE "\n\n<ref name=\"q\"/>" TAIL, 6, 1, "ref", "name: there is no def 'q' before this");
	refused(HEAD DEVICE ONE, 4, 1, "", "ends inside of <device>: it was cut off");
	refused("", 1, 1, "", "is empty: there is no <superblock>");
	refused(HEAD DEVICE "<single", 3, 1, "", "ends in the middle of a tag or a comment: it was cut off");
	refused(HEAD "</superblock>\n<superblock/>", 3, 1, "",
		"is not well-formed XML: junk after document element");
	refused(HEAD "<!DOCTYPE x>" TAIL, 2, 3, "", "is not well-formed XML: a character that does not belong here");
	refused("<!DOCTYPE x [<!ENTITY e \"eeee\">]>\n" HEAD TAIL, 1, 13, "", "has a document type, which a pool's XML has not");
	refused(HEAD DEVICE "<range_mapping origin_begin=\"1\" data_begin=\"1\" time=\"0\"/>" TAIL, 3, 1, "range_mapping",
		"length: is missing");
	refused(HEAD DEVICE "<single_mapping origin_block=\"1\" data_block=\"1\" time=\"4294967296\"/>\n" TAIL, 3, 1,
		"single_mapping", "time: 4294967296 does not fit into 32 bits");
	refused(HEAD DEVICE "<single_mapping origin_block=\"99999999999999999999\" data_block=\"1\" time=\"0\"/>\n" TAIL, 3, 1,
		"single_mapping", "origin_block: 99999999999999999999 does not fit into 64 bits");
	refused(HEAD DEVICE "<single_mapping origin_block=\"1\" data_block=\"1\" time=\"0\" colour=\"1\"/>\n" TAIL, 3, 1,
		"single_mapping", "colour: is no attribute of this element");
}

/* What is shown of a text is short, has whole letters, and nothing that moves a cursor. */
static void shown(void)
{
	char text[600];

	setlocale(LC_CTYPE, "C.UTF-8");
	refused(HEAD DEVICE "<ref name=\"a&#10;b&#155;31m&#9;\"/>" TAIL, 3, 1, "ref",
		"name: there is no def 'a?b?31m?' before this");
	for (unsigned n = 30; n < 50; n++) {
		snprintf(text, sizeof(text), HEAD DEVICE "<ref name=\"%.*s\xC3\xA4\xE2\x82\xAC%s\"/>" TAIL, (int)n,
			 "0123456789012345678901234567890123456789012345678901234567890123456789", "tail");
		CU_ASSERT_EQUAL(read_bytes(text, strlen(text), 0), -EINVAL);
		CU_ASSERT_TRUE(strlen(error.reason) < 80);
		CU_ASSERT_EQUAL(mbstowcs(NULL, error.reason, 0) == (size_t)-1, 0);
		CU_ASSERT_EQUAL(strstr(error.reason, "...") != NULL, n > 31);
	}
	setlocale(LC_CTYPE, "C");
}

static void visitor_ends_it(void)
{
	static const char text[] = HEAD DEVICE ONE RANGE TAIL;

	/* The end of the superblock is known when the text has come to its end, and not before. */
	for (unsigned left = 1; left <= 6; left++) {
		CU_ASSERT_EQUAL(read_bytes(text, strlen(text), left), -EXDEV);
		CU_ASSERT_EQUAL(error.line, left < 6 ? left : 7);
		CU_ASSERT_STRING_EQUAL(error.reason, "");
	}
	CU_ASSERT_EQUAL(read_bytes(text, strlen(text), 7), 0);
}

/* The buffer ends in the middle of lines, tags and comments. */
static void longer_than_the_buffer(void)
{
	static char text[4 << 20];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s%s", HEAD, DEVICE);
	unsigned nr = 0;

	while (len < 3 << 20) {
		const char *piece = nr % 1000 == 7 ? "<!-- \n comment \n -->\n" : ONE;

		len += (size_t)snprintf(text + len, sizeof(text) - len, "%*s%s", (int)(nr % 7), "", piece);
		nr++;
	}
	snprintf(text + len, sizeof(text) - len, "<bad/>");
	CU_ASSERT_EQUAL(read_bytes(text, len + 6, 0), -EINVAL);
	CU_ASSERT_EQUAL(error.line, 3 + nr + 2 * ((nr + 992) / 1000));
	CU_ASSERT_STRING_EQUAL(error.element, "bad");
}

static void endless_token(void)
{
	static char text[4 << 20];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s<!--", HEAD);

	memset(text + len, '\n', sizeof(text) - len);
	CU_ASSERT_EQUAL(read_bytes(text, sizeof(text), 0), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.reason, "does not end"));
}

/* A declared encoding in which the bytes mean something else. */
static void encodings(void)
{
	static const char text[] = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>" HEAD DEVICE ONE RANGE TAIL;

	gives(text, SB DEV S R "/dev;/sb");
	CU_ASSERT_EQUAL(read_bytes("<\0s\0u\0", 6, 0), -EINVAL);
}

static void is_scanned(const char *text, bool is)
{
	char padded[256] = "";
	struct record_mapping m;
	enum record_kind kind;
	const char *next;

	snprintf(padded, sizeof(padded), "%s", text);
	next = text_xml_scan(padded, &m, &kind);
	CU_ASSERT_EQUAL(next != NULL, is);
	if (next)
		CU_ASSERT_EQUAL(next - padded, (long)strlen(text));
}

static void lines(void)
{
	is_scanned(ONE, true);
	is_scanned("    " RANGE, true);
	is_scanned("\t" ONE, false);
	is_scanned("", false);
	is_scanned("\n", false);
	is_scanned("<single_mapping origin_block=\"\" data_block=\"6\" time=\"1\"/>\n", false);
	is_scanned("<single_mapping origin_block=\"-1\" data_block=\"6\" time=\"1\"/>\n", false);
	is_scanned("<single_mapping origin_block=\"5\" data_block=\"6\" time=\"1\" />\n", false);
	is_scanned("<single_mapping origin_block=\"5\" data_block=\"6\" time=\"1\"/>\r\n", false);
	is_scanned("<single_mapping origin_block=\"5\" data_block=\"6\" time=\"4294967295\"/>\n", true);
	is_scanned("<single_mapping origin_block=\"5\" data_block=\"6\" time=\"4294967296\"/>\n", false);
	is_scanned("<single_mapping origin_block=\"9999999999999999999\" data_block=\"6\" time=\"1\"/>\n", true);
	is_scanned("<single_mapping origin_block=\"18446744073709551615\" data_block=\"6\" time=\"1\"/>\n", false);
}

static const struct unit_case cases[] = {
	{ "elements become records, attributes their fields", records },
	{ "comments, blanks, quotes, order and entities make no difference", same_in_any_form },
	{ "the scanner takes no line that is something else to expat", not_taken },
	{ "what is wrong is said with line, column, element and attribute", places },
	{ "what is shown of a text is short, and moves no cursor", shown },
	{ "a visitor that has enough ends it, and the place is known", visitor_ends_it },
	{ "text that is longer than the buffer is read as if it were not", longer_than_the_buffer },
	{ "what has no end is given up after a megabyte", endless_token },
	{ "other encodings are expat's", encodings },
	{ "a line is a mapping only as thin_dump writes it", lines },
	{ NULL, NULL },
};

const struct unit_suite xml_read_suite = { "xml_read", cases };
