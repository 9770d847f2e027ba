// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text/emit.h"
#include "unit.h"

#define LEN(table) (sizeof(table) / sizeof(*(table)))
#define NO_BLOCK PROBLEM_NO_BLOCK
#define NO_DEVICE PROBLEM_NO_DEVICE

static struct text_out out, messages;
static char written[2 * TEXT_OUT_BUFFER + 1000];

/* --- files in memory --- */

static void open_out(struct text_out *o)
{
	int fd = memfd_create("emit_t", 0);

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	text_out_init(o, fd);
}

/* Flushes @o, gives what was written to it, and closes it. */
static const char *text_of(struct text_out *o)
{
	ssize_t n;

	CU_ASSERT_EQUAL(text_out_flush(o), 0);
	n = pread(o->fd, written, sizeof(written) - 1, 0);
	CU_ASSERT_TRUE_FATAL(n >= 0);
	written[n] = '\0';
	close(o->fd);
	return written;
}

static void start(void)
{
	open_out(&out);
	open_out(&messages);
}

static int starts_with(const char *text, const char *beginning)
{
	return !strncmp(text, beginning, strlen(beginning));
}

static struct text_emitter *emitter(enum text_format format)
{
	struct text_emit_args args = { .format = format, .out = &out, .messages = &messages, .program = "prog",
				       .schema = "bufio.test/1", .image = "pool.img" };
	struct text_emitter *e;

	start();
	e = text_emit_create(&args);
	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	return e;
}

/* Ends and destroys @e; the output and the messages must be these. */
static void gives(struct text_emitter *e, const char *expected, const char *expected_messages)
{
	CU_ASSERT_EQUAL(text_emit_finish(e), 0);
	text_emit_destroy(e);
	CU_ASSERT_STRING_EQUAL(text_of(&out), expected);
	if (strcmp(written, expected))
		fprintf(stderr, "# %s\n", written);
	CU_ASSERT_STRING_EQUAL(text_of(&messages), expected_messages);
	if (strcmp(written, expected_messages))
		fprintf(stderr, "# %s\n", written);
}

/* --- records --- */

static const struct record_superblock superblock = { "", 4, 7, 1, 2, 128, 4096 };
static const struct record_device device = { 1, 57, 3, 5, 6 };
static const struct record_mapping single = { 1, 57, 57, 35, 35, 1, 2 };
static const struct record_mapping range = { 1, 100, 119, 37, 56, 20, 3 };
static const struct problem lost_leaf = { .code = PROBLEM_BLOCK_ZEROED, .where = WHERE_MAPPINGS, .block = 44,
					  .dev_id = 1, .begin = 10, .end = 20 };

static void begin(struct text_emitter *e, enum record_kind kind, const void *record)
{
	CU_ASSERT_EQUAL(e->visitor.begin(&e->visitor, kind, record), 0);
}

static void put(struct text_emitter *e, enum record_kind kind, const void *record)
{
	CU_ASSERT_EQUAL(e->visitor.record(&e->visitor, kind, record), 0);
}

static void end(struct text_emitter *e, enum record_kind kind, const void *record)
{
	CU_ASSERT_EQUAL(e->visitor.end(&e->visitor, kind, record), 0);
}

static void tell(struct text_emitter *e, const struct problem *p)
{
	CU_ASSERT_EQUAL(e->visitor.problem(&e->visitor, p), 0);
}

/* A pool of one device, a problem in the middle. */
static void emit_pool(struct text_emitter *e)
{
	begin(e, RECORD_SUPERBLOCK, &superblock);
	begin(e, RECORD_DEVICE, &device);
	put(e, RECORD_SINGLE, &single);
	tell(e, &lost_leaf);
	put(e, RECORD_RANGE, &range);
	end(e, RECORD_DEVICE, &device);
	end(e, RECORD_SUPERBLOCK, &superblock);
}

/* --- the buffer --- */

static void digits(uint64_t v, const char *expected)
{
	char text[TEXT_MAX_DIGITS + 1] = "xxxxxxxxxxxxxxxxxxxx", *end = text_digits(v, text);

	CU_ASSERT_EQUAL(end - text, (ptrdiff_t)strlen(expected));
	CU_ASSERT_EQUAL(memcmp(text, expected, strlen(expected)), 0);
	for (; end < text + TEXT_MAX_DIGITS; end++)
		CU_ASSERT_EQUAL(*end, 'x');
}

static void all_digits(void)
{
	uint64_t power = 1;
	char text[24];

	digits(0, "0");
	digits(9, "9");
	digits(10, "10");
	digits(99, "99");
	digits(100, "100");
	digits(UINT64_MAX, "18446744073709551615");
	for (unsigned i = 0; i < 19; i++) {
		power *= 10;
		snprintf(text, sizeof(text), "%llu", (unsigned long long)power);
		digits(power, text);
		snprintf(text, sizeof(text), "%llu", (unsigned long long)power - 1);
		digits(power - 1, text);
		snprintf(text, sizeof(text), "%llu", (unsigned long long)power + 7);
		digits(power + 7, text);
	}
}

static void numbers(void)
{
	start();
	text_put_dec(&out, 0);
	text_puts(&out, " ");
	text_put_dec(&out, UINT64_MAX);
	text_puts(&out, " ");
	text_put_hex(&out, 0);
	text_puts(&out, " ");
	text_put_hex(&out, 0xDEADBEEF0);
	text_printf(&out, " %s-%d", "text", -5);
	CU_ASSERT_STRING_EQUAL(text_of(&out), "0 18446744073709551615 0x0 0xdeadbeef0 text--5");
	close(messages.fd);
}

static void nothing_before_flush(void)
{
	char c;

	start();
	text_puts(&out, "abc");
	CU_ASSERT_EQUAL(pread(out.fd, &c, 1, 0), 0);
	CU_ASSERT_STRING_EQUAL(text_of(&out), "abc");
	close(messages.fd);
}

/* Wherever the end of the buffer is. */
static void text_and_number(void)
{
	static char filler[TEXT_OUT_BUFFER];

	memset(filler, '.', sizeof(filler));
	for (size_t left = 0; left < TEXT_MAX_DIGITS + 10; left++) {
		size_t n = sizeof(filler) - left;

		open_out(&out);
		text_put(&out, filler, n);
		text_put_and_dec(&out, " n=", 3, UINT64_MAX);
		text_put_and_dec(&out, ";", 1, 0);
		text_of(&out);
		CU_ASSERT_EQUAL(memcmp(written, filler, n), 0);
		CU_ASSERT_STRING_EQUAL(written + n, " n=18446744073709551615;0");
	}
}

/* Pieces of every size around the buffer's, after a few bytes that are there already. */
static void large_pieces(void)
{
	static const size_t sizes[] = { TEXT_OUT_BUFFER - 4, TEXT_OUT_BUFFER - 3, TEXT_OUT_BUFFER - 2, TEXT_OUT_BUFFER,
					TEXT_OUT_BUFFER + 1, 2 * TEXT_OUT_BUFFER + 500 };
	static char piece[2 * TEXT_OUT_BUFFER + 500];

	for (unsigned i = 0; i < sizeof(piece); i++)
		piece[i] = (char)('a' + i * 7 % 26);
	for (unsigned i = 0; i < LEN(sizes); i++) {
		open_out(&out);
		text_puts(&out, "123");
		text_put(&out, piece, sizes[i]);
		text_puts(&out, "456");
		text_of(&out);
		CU_ASSERT_EQUAL(strlen(written), sizes[i] + 6);
		CU_ASSERT_EQUAL(memcmp(written, "123", 3), 0);
		CU_ASSERT_EQUAL(memcmp(written + 3, piece, sizes[i]), 0);
		CU_ASSERT_STRING_EQUAL(written + 3 + sizes[i], "456");
	}
}

static void many_pieces(void)
{
	unsigned nr = TEXT_OUT_BUFFER / 7 + 1000;

	open_out(&out);
	for (unsigned i = 0; i < nr; i++)
		text_printf(&out, "%07u", i);
	CU_ASSERT_EQUAL(strlen(text_of(&out)), 7 * nr);
	for (unsigned i = 0; i < nr; i += 101) {
		char text[8];

		snprintf(text, sizeof(text), "%07u", i);
		CU_ASSERT_EQUAL(memcmp(written + 7 * i, text, 7), 0);
	}
}

static void error_sticks(void)
{
	char c;

	open_out(&out);
	open_out(&messages);
	close(out.fd);
	text_puts(&out, "lost");
	CU_ASSERT_EQUAL(text_out_flush(&out), -EBADF);
	out.fd = messages.fd;
	text_puts(&out, "swallowed");
	CU_ASSERT_EQUAL(text_out_flush(&out), -EBADF);
	CU_ASSERT_EQUAL(pread(messages.fd, &c, 1, 0), 0);
	close(messages.fd);
}

static void disk_full(void)
{
	text_out_init(&out, open("/dev/full", O_WRONLY));
	CU_ASSERT_TRUE_FATAL(out.fd >= 0);
	for (unsigned i = 0; i < 2 * TEXT_OUT_BUFFER; i++)
		text_put(&out, "x", 1);
	CU_ASSERT_EQUAL(text_out_flush(&out), -ENOSPC);
	close(out.fd);
}

static void closed_pipe(void)
{
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	int fds[2];

	CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
	close(fds[0]);
	text_out_init(&out, fds[1]);
	text_puts(&out, "x");
	CU_ASSERT_EQUAL(text_out_flush(&out), -EPIPE);
	close(fds[1]);
	signal(SIGPIPE, before);
}

static void flush_of_nothing(void)
{
	open_out(&out);
	CU_ASSERT_EQUAL(text_out_flush(&out), 0);
	CU_ASSERT_STRING_EQUAL(text_of(&out), "");
}

/* --- escaping --- */

static void json_string(const char *text, const char *expected)
{
	open_out(&out);
	text_put_json_string(&out, text);
	CU_ASSERT_STRING_EQUAL(text_of(&out), expected);
	if (strcmp(written, expected))
		fprintf(stderr, "# %s, not %s\n", written, expected);
}

static void json_plain(void)
{
	json_string("", "\"\"");
	json_string("a/b <c> 'd' ~", "\"a/b <c> 'd' ~\"");
	json_string("a\"b\\c", "\"a\\\"b\\\\c\"");
}

static void json_control(void)
{
	for (char c = 1; c < 0x20; c++) {
		const char text[] = { 'a', c, 'b', '\0' };
		char expected[16];

		snprintf(expected, sizeof(expected), "\"a\\u%04xb\"", (unsigned)c);
		json_string(text, expected);
	}
}

static void json_utf8(void)
{
	json_string("\xC3\xA4", "\"\xC3\xA4\"");
	json_string("\xE2\x82\xAC", "\"\xE2\x82\xAC\"");
	json_string("\xF0\x9F\x98\x80", "\"\xF0\x9F\x98\x80\"");
	json_string("\xF4\x8F\xBF\xBF", "\"\xF4\x8F\xBF\xBF\"");
}

/* How many bytes one replacement stands for is not promised: one is, at the least. */
static void json_bad(const char *bad)
{
	char text[16], expected[32];
	size_t n;

	snprintf(text, sizeof(text), "a%sb", bad);
	open_out(&out);
	text_put_json_string(&out, text);
	text_of(&out);
	n = strlen(written);
	CU_ASSERT_TRUE_FATAL(n >= 10);
	CU_ASSERT_EQUAL(memcmp(written, "\"a\\ufffd", 8), 0);
	CU_ASSERT_STRING_EQUAL(written + n - 2, "b\"");
	for (size_t i = 2; i + 2 < n; i += 6) {
		snprintf(expected, sizeof(expected), "%.6s", written + i);
		CU_ASSERT_STRING_EQUAL(expected, "\\ufffd");
	}
}

static void json_bad_utf8(void)
{
	static const char *const bad[] = {
		"\xFF", "\xFE", "\x80", "\xBF",         /* never a beginning */
		"\xC3", "\xE2\x82", "\xF0\x9F\x98",     /* cut off */
		"\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", /* longer than need be */
		"\xF0\x80\x80\x80",
		"\xED\xA0\x80",                         /* a half of a pair */
		"\xF4\x90\x80\x80", "\xF5\x80\x80\x80", /* past the last character */
	};

	for (unsigned i = 0; i < LEN(bad); i++)
		json_bad(bad[i]);
}

static void json_bad_at_the_end(void)
{
	json_string("\xC3", "\"\\ufffd\"");
	json_string("x\xFF", "\"x\\ufffd\"");
}

static void xml_string(void)
{
	open_out(&out);
	text_put_xml_string(&out, "a<b>&\"c\" \xC3\xA4");
	text_of(&out);
	CU_ASSERT_PTR_NULL(strpbrk(written, "<\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "a&lt;b"));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "&amp;"));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "&quot;c&quot;"));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "\xC3\xA4"));
}

/* --- XML --- */

static void xml_pool(void)
{
	struct text_emitter *e = emitter(TEXT_XML);

	emit_pool(e);
	CU_ASSERT_EQUAL(e->nr_problems, 1);
	gives(e, "<superblock uuid=\"\" time=\"4\" transaction=\"7\" flags=\"1\" version=\"2\" data_block_size=\"128\""
		 " nr_data_blocks=\"4096\">\n"
		 "  <device dev_id=\"1\" mapped_blocks=\"57\" transaction=\"3\" creation_time=\"5\" snap_time=\"6\">\n"
		 "    <single_mapping origin_block=\"57\" data_block=\"35\" time=\"2\"/>\n"
		 "    <range_mapping origin_begin=\"100\" data_begin=\"37\" length=\"20\" time=\"3\"/>\n"
		 "  </device>\n"
		 "</superblock>\n",
	      "prog: block 44 (mapping tree, device 1): is all zeroes; virtual blocks 10..19 [block-zeroed]\n");
}

static void xml_escapes(void)
{
	struct text_emitter *e = emitter(TEXT_XML);
	struct record_superblock sb = superblock;

	sb.uuid = "a\"<&";
	begin(e, RECORD_SUPERBLOCK, &sb);
	end(e, RECORD_SUPERBLOCK, &sb);
	gives(e, "<superblock uuid=\"a&quot;&lt;&amp;\" time=\"4\" transaction=\"7\" flags=\"1\" version=\"2\""
		 " data_block_size=\"128\" nr_data_blocks=\"4096\">\n</superblock>\n", "");
}

static void xml_largest_numbers(void)
{
	struct text_emitter *e = emitter(TEXT_XML);
	struct record_mapping m = { 1, UINT64_MAX - 1, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX, 1, UINT32_MAX };

	begin(e, RECORD_SUPERBLOCK, &superblock);
	begin(e, RECORD_DEVICE, &device);
	put(e, RECORD_SINGLE, &m);
	end(e, RECORD_DEVICE, &device);
	end(e, RECORD_SUPERBLOCK, &superblock);
	CU_ASSERT_EQUAL(text_emit_finish(e), 0);
	text_emit_destroy(e);
	CU_ASSERT_PTR_NOT_NULL(strstr(text_of(&out), "    <single_mapping origin_block=\"18446744073709551614\" "
						     "data_block=\"18446744073709551615\" time=\"4294967295\"/>\n"));
	close(messages.fd);
}

/* --- JSON lines --- */

static void xml_unknown(void)
{
	struct text_emitter *e = emitter(TEXT_XML);
	struct record_delta_range r = { .kind = "same", .begin = 5, .length = RECORD_UNKNOWN };

	put(e, RECORD_DELTA_SAME, &r);
	gives(e, "<same begin=\"5\"/>\n", "");
}

static void problem_of_an_image(void)
{
	struct text_emitter *e = emitter(TEXT_XML);

	e->subject = "left.img";
	tell(e, &lost_leaf);
	gives(e, "", "prog: left.img: block 44 (mapping tree, device 1): is all zeroes; virtual blocks 10..19 "
		     "[block-zeroed]\n");
	e = emitter(TEXT_JSON_LINES);
	e->subject = "left.img";
	tell(e, &lost_leaf);
	CU_ASSERT_EQUAL(text_emit_finish(e), 0);
	text_emit_destroy(e);
	CU_ASSERT_PTR_NOT_NULL(strstr(text_of(&out), "{\"type\":\"problem\",\"image\":\"left.img\",\"name\":"));
	close(messages.fd);
}

static void json_lines_pool(void)
{
	struct text_emitter *e = emitter(TEXT_JSON_LINES);
	char expected[1500];

	emit_pool(e);
	snprintf(expected, sizeof(expected),
		 "{\"schema\":\"bufio.test/1\",\"image\":\"pool.img\"}\n"
		 "{\"type\":\"superblock\",\"uuid\":\"\",\"time\":4,\"transaction\":7,\"flags\":1,\"version\":2,"
		 "\"data_block_size\":128,\"nr_data_blocks\":4096}\n"
		 "{\"type\":\"device\",\"dev_id\":1,\"mapped_blocks\":57,\"transaction\":3,\"creation_time\":5,"
		 "\"snap_time\":6}\n"
		 "{\"type\":\"mapping\",\"dev_id\":1,\"origin\":57,\"data\":35,\"length\":1,\"time\":2}\n"
		 "{\"type\":\"problem\",\"name\":\"block-zeroed\",\"severity\":\"lossy\",\"where\":\"mappings\","
		 "\"block\":44,\"dev_id\":1,\"begin\":10,\"end\":20,\"expected\":\"0x0\",\"found\":\"0x0\","
		 "\"message\":\"is all zeroes\",\"remedy\":\"%s\"}\n"
		 "{\"type\":\"mapping\",\"dev_id\":1,\"origin\":100,\"data\":37,\"length\":20,\"time\":3}\n"
		 "{\"type\":\"end\",\"records\":4,\"problems\":1}\n",
		 problem_table[PROBLEM_BLOCK_ZEROED].remedy);
	gives(e, expected, "");
}

/* The problem's line, what comes between the name and the expected number. */
static void json_problem(const struct problem *p, const char *expected)
{
	struct text_emitter *e = emitter(TEXT_JSON_LINES);
	char *from, *to;

	begin(e, RECORD_SUPERBLOCK, &superblock);
	tell(e, p);
	end(e, RECORD_SUPERBLOCK, &superblock);
	CU_ASSERT_EQUAL(text_emit_finish(e), 0);
	text_emit_destroy(e);
	close(messages.fd);
	text_of(&out);
	from = strstr(written, "\"where\":");
	to = from ? strstr(from, "\"expected\":") : NULL;
	CU_ASSERT_PTR_NOT_NULL_FATAL(to);
	*to = '\0';
	CU_ASSERT_STRING_EQUAL(from, expected);
}

static void json_problem_members(void)
{
	json_problem(&(struct problem){ .code = PROBLEM_NEEDS_CHECK, .where = WHERE_SUPERBLOCK, .block = 0,
					.dev_id = NO_DEVICE },
		     "\"where\":\"superblock\",\"block\":0,");
	json_problem(&(struct problem){ .code = PROBLEM_DEVICE_DETAILS, .where = WHERE_DETAILS, .block = NO_BLOCK,
					.dev_id = 0 },
		     "\"where\":\"details\",\"dev_id\":0,");
	json_problem(&(struct problem){ .code = PROBLEM_BLOCK_ZEROED, .where = WHERE_TOP, .block = 5,
					.dev_id = NO_DEVICE, .begin = 3, .end = UINT64_MAX },
		     "\"where\":\"top-level\",\"block\":5,\"begin\":3,\"end\":null,");
}

/* --- JSON documents --- */

static const struct record_device_row row = {
	.dev_id = 1, .mapped_blocks = 57, .mapped_bytes = 3735552, .transaction = 3, .creation_time = 5,
	.snap_time = RECORD_UNKNOWN, .found_blocks = 56, .exclusive_blocks = RECORD_UNKNOWN, .shared_blocks = 7,
	.state = "DAMAGED",
};

/* The members of a document that are no arrays differ with the table of fields; this cuts them out. */
static const char *without_members(char *text)
{
	char *arrays = strstr(text, "\"devices\":[");

	CU_ASSERT_PTR_NOT_NULL_FATAL(arrays);
	return arrays;
}

static void json_summary(unsigned nr_devices, unsigned nr_problems)
{
	struct record_summary s = { .image = "pool.img", .what = "thin-pool metadata", .state = "clean", .uuid = "",
				    .checksum_state = "good", .flag_names = "none", .checksum = 0xAB, .version = 2 };
	struct text_emitter *e = emitter(TEXT_JSON);

	s.more = "";
	begin(e, RECORD_SUMMARY, &s);
	for (unsigned i = 0; i < nr_devices; i++)
		put(e, RECORD_DEVICE_ROW, &row);
	for (unsigned i = 0; i < nr_problems; i++)
		tell(e, &lost_leaf);
	end(e, RECORD_SUMMARY, &s);
	CU_ASSERT_EQUAL(text_emit_finish(e), 0);
	text_emit_destroy(e);
	text_of(&out);
	close(messages.fd);
}

#define ROW "{\"dev_id\":1,\"mapped_blocks\":57,\"mapped_bytes\":3735552,\"found_blocks\":56," \
	    "\"transaction\":3,\"creation_time\":5,\"snap_time\":null,\"exclusive_blocks\":null," \
	    "\"shared_blocks\":7,\"state\":\"DAMAGED\"}"

static void json_document(void)
{
	char expected[1500], *at;

	json_summary(2, 1);
	snprintf(expected, sizeof(expected),
		 "\"devices\":[\n " ROW ",\n " ROW "],\n"
		 "\"problems\":[\n {\"name\":\"block-zeroed\",\"severity\":\"lossy\",\"where\":\"mappings\","
		 "\"block\":44,\"dev_id\":1,\"begin\":10,\"end\":20,\"expected\":\"0x0\",\"found\":\"0x0\","
		 "\"message\":\"is all zeroes\",\"remedy\":\"%s\"}],\n"
		 "\"not_in_pool\":[],\n\"not_in_lvm\":[]}\n",
		 problem_table[PROBLEM_BLOCK_ZEROED].remedy);
	CU_ASSERT_TRUE(starts_with(written, "{\"schema\":\"bufio.test/1\",\n\"image\":\"pool.img\","));
	at = strstr(written, "\"checksum\":");
	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	CU_ASSERT_TRUE(starts_with(at, "\"checksum\":\"0xab\","));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "\"version\":2,"));
	CU_ASSERT_STRING_EQUAL(without_members(written), expected);
}

static void json_empty_arrays(void)
{
	char compact[100];
	size_t n = 0;

	json_summary(0, 0);
	for (const char *p = without_members(written); *p && n < sizeof(compact) - 1; p++)
		if (*p != '\n' && *p != ' ')
			compact[n++] = *p;
	compact[n] = '\0';
	CU_ASSERT_STRING_EQUAL(compact, "\"devices\":[],\"not_in_pool\":[],\"not_in_lvm\":[],\"problems\":[]}");
}

static void json_one_array_empty(void)
{
	json_summary(0, 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "\"devices\":["));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "\"problems\":["));
	CU_ASSERT_PTR_NULL(strstr(written, "\"devices\":[{"));
	json_summary(3, 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(written, ROW ",\n " ROW ",\n " ROW "]"));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "\"problems\":["));
}

/* Brackets that close what was opened last, and strings that end. */
static int is_balanced(const char *text)
{
	char open[64];
	unsigned depth = 0;

	for (; *text; text++) {
		if (*text == '"') {
			while (*++text && *text != '"')
				text += *text == '\\';
			if (!*text)
				return 0;
		} else if (*text == '{' || *text == '[') {
			open[depth++ % sizeof(open)] = *text;
		} else if (*text == '}' || *text == ']') {
			if (!depth-- || open[depth % sizeof(open)] != (*text == '}' ? '{' : '['))
				return 0;
		}
	}
	return !depth;
}

static void json_nested(void)
{
	struct record_block b = { .block = 7, .kind = "bitmap", .state = "good", .checksum = 0xFF };
	struct record_field f = { 16, "00 01", "name", "a\"b" };
	struct text_emitter *e = emitter(TEXT_JSON);

	for (b.block = 7; b.block < 9; b.block++) {
		begin(e, RECORD_BLOCK, &b);
		put(e, RECORD_FIELD, &f);
		put(e, RECORD_FIELD, &f);
		end(e, RECORD_BLOCK, &b);
	}
	CU_ASSERT_EQUAL(text_emit_finish(e), 0);
	text_emit_destroy(e);
	text_of(&out);
	close(messages.fd);
	CU_ASSERT_TRUE(is_balanced(written));
	CU_ASSERT_PTR_NOT_NULL_FATAL(strstr(written, "\"blocks\":["));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "{\"block\":7,"));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "{\"block\":8,"));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "\"fields\":["));
	CU_ASSERT_PTR_NOT_NULL(strstr(written,
				      "{\"offset\":16,\"hex\":\"00 01\",\"name\":\"name\",\"value\":\"a\\\"b\"}"));
	CU_ASSERT_PTR_NULL(strstr(strstr(written, "\"blocks\":[") + 1, "\"blocks\":["));
}

static void json_always_balanced(void)
{
	for (unsigned devices = 0; devices < 3; devices++)
		for (unsigned problems = 0; problems < 3; problems++) {
			json_summary(devices, problems);
			CU_ASSERT_TRUE(is_balanced(written));
			CU_ASSERT_EQUAL(written[strlen(written) - 1], '\n');
		}
}

static void json_image_escaped(void)
{
	struct text_emit_args args = { .format = TEXT_JSON_LINES, .out = &out, .messages = &messages,
				       .schema = "s", .image = "a\"b\n\xFF" };
	struct text_emitter *e;

	start();
	e = text_emit_create(&args);
	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	begin(e, RECORD_SUPERBLOCK, &superblock);
	end(e, RECORD_SUPERBLOCK, &superblock);
	CU_ASSERT_EQUAL(text_emit_finish(e), 0);
	text_emit_destroy(e);
	text_of(&out);
	close(messages.fd);
	CU_ASSERT_TRUE(starts_with(written, "{\"schema\":\"s\",\"image\":\"a\\\"b\\u000a\\ufffd\"}\n"));
}

/* --- people --- */

static void human_pool(void)
{
	struct text_emitter *e = emitter(TEXT_HUMAN);

	emit_pool(e);
	gives(e, "begin superblock: \"\", 4, 7, 1, 2, 128, 4096\n"
		 "device: 1\nmapped_blocks: 57\ntransaction: 3\ncreation time: 5\nsnap time: 6\n"
		 "    57 -> 35, 2\n"
		 "    (100..119) -> (37..56), 3\n"
		 "\n"
		 "end superblock\n",
	      "prog: block 44 (mapping tree, device 1): is all zeroes; virtual blocks 10..19 [block-zeroed]\n");
}

static void human_widths(void)
{
	struct record_field f = { 16, "00 01", "name", "value" };
	struct record_block b = { .block = 7, .kind = "bitmap", .state = "good" };
	struct text_emitter *e = emitter(TEXT_HUMAN);

	begin(e, RECORD_BLOCK, &b);
	put(e, RECORD_FIELD, &f);
	f.value = "";
	put(e, RECORD_FIELD, &f);
	f.value = "value";
	f.offset = 123456;
	f.name = "a name that is longer than its column";
	put(e, RECORD_FIELD, &f);
	end(e, RECORD_BLOCK, &b);
	CU_ASSERT_EQUAL(text_emit_finish(e), 0);
	text_emit_destroy(e);
	text_of(&out);
	close(messages.fd);
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "\n    16  00 01                                            "
					       "name                       value\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "  name\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, "\n  123456  00 01 "));
	CU_ASSERT_PTR_NOT_NULL(strstr(written, " a name that is longer than its column value\n"));
}

static void human_unknown(void)
{
	struct text_emitter *e = emitter(TEXT_HUMAN);

	put(e, RECORD_DEVICE_ROW, &row);
	CU_ASSERT_EQUAL(text_emit_finish(e), 0);
	text_emit_destroy(e);
	CU_ASSERT_PTR_NOT_NULL(strstr(text_of(&out), "        ?"));
	close(messages.fd);
}

/* --- fields --- */

static void field(enum field_format format, uint64_t value, bool people, const char *expected)
{
	struct field f = { .name = "f", .size = 8, .format = format };

	open_out(&out);
	text_put_field(&out, &f, &value, people);
	CU_ASSERT_STRING_EQUAL(text_of(&out), expected);
}

static void field_formats(void)
{
	field(FIELD_DEC, 300, true, "300");
	field(FIELD_DEC, RECORD_UNKNOWN, false, "18446744073709551615");
	field(FIELD_HEX, 300, true, "0x12c");
	field(FIELD_BYTES, 4 << 20, true, "4 MiB");
	field(FIELD_BYTES, 4 << 20, false, "4194304");
	field(FIELD_DEVICE, 300, true, "300");
	field(FIELD_DEVICE, RECORD_UNKNOWN, false, "null");
	field(FIELD_BYTES, RECORD_UNKNOWN, true, "?");
	field(FIELD_BYTES, RECORD_UNKNOWN, false, "null");
	field(FIELD_OPTIONAL, 300, true, "300");
	field(FIELD_OPTIONAL, RECORD_UNKNOWN, true, "?");
	field(FIELD_OPTIONAL, RECORD_UNKNOWN, false, "null");
}

static void field_sizes(void)
{
	const struct { uint8_t before; uint32_t small; uint64_t large; } r = { 0xEE, 0xFFFFFFFF, UINT64_MAX - 5 };
	const struct field small = { .offset = (uint16_t)((const char *)&r.small - (const char *)&r), .size = 4 };
	const struct field large = { .offset = (uint16_t)((const char *)&r.large - (const char *)&r), .size = 8 };

	CU_ASSERT_EQUAL(field_number(&small, &r), 0xFFFFFFFF);
	CU_ASSERT_EQUAL(field_number(&large, &r), UINT64_MAX - 5);
}

static const struct field *find_field(const struct record_type *t, const char *name, size_t len)
{
	for (unsigned i = 0; i < t->nr_fields; i++)
		if (strlen(t->fields[i].name) == len && !memcmp(t->fields[i].name, name, len))
			return &t->fields[i];
	return NULL;
}

static unsigned check_template(const struct record_type *t, const char *text)
{
	unsigned nr = 0;

	for (const char *p = text; p && (p = strchr(p, '{')); nr++) {
		size_t len = strcspn(++p, "}"), name = strcspn(p, ":}");

		CU_ASSERT_EQUAL(p[len], '}');
		if (name == 1 && strchr("-+.", *p))
			continue;
		if (name == 2 && !memcmp(p, "lv", 2)) {
			CU_ASSERT_PTR_NOT_NULL(find_field(t, "dev_id", 6));
			continue;
		}
		CU_ASSERT_PTR_NOT_NULL(find_field(t, p, name));
		if (!find_field(t, p, name))
			fprintf(stderr, "# %s: {%.*s}\n", t->name, (int)name, p);
		if (p[name] == ':')
			CU_ASSERT_NOT_EQUAL(strtol(p + name + 1, NULL, 10), 0);
	}
	return nr;
}

static void templates(void)
{
	unsigned nr = 0;

	for (unsigned kind = 0; kind < NR_RECORD_KINDS; kind++)
		nr += check_template(&record_types[kind], record_types[kind].begin) +
		      check_template(&record_types[kind], record_types[kind].end);
	CU_ASSERT_TRUE(nr > 40);
}

static void rows_of_fields(void)
{
	for (unsigned kind = 0; kind < NR_RECORD_KINDS; kind++) {
		const struct record_type *t = &record_types[kind];

		CU_ASSERT_PTR_NOT_NULL_FATAL(t->name);
		CU_ASSERT_TRUE(t->nr_fields > 0);
		for (unsigned i = 0; i < t->nr_fields; i++) {
			const struct field *f = &t->fields[i];

			CU_ASSERT_TRUE(f->format == FIELD_TEXT || f->size == 4 || f->size == 8);
			CU_ASSERT_PTR_EQUAL(find_field(t, f->name, strlen(f->name)), f);
				}
	}
}

/* A line for people with the id in a column has the name in another, as "3 (home)" would push the rest aside. */
static bool has_place_for_name(const char *template)
{
	return !template || !strstr(template, "{dev_id:") || strstr(template, "{lv");
}

static void rows_of_devices(void)
{
	for (unsigned kind = 0; kind < NR_RECORD_KINDS; kind++) {
		const struct record_type *t = &record_types[kind];
		const struct field *f = find_field(t, "dev_id", 6);

		CU_ASSERT_TRUE(!f || f->format == FIELD_DEVICE);
		CU_ASSERT_TRUE(has_place_for_name(t->begin) && has_place_for_name(t->end));
	}
}

/* --- names --- */

static const char *name_of(void *context, uint64_t dev_id)
{
	return dev_id == 1 ? context : NULL;
}

static struct text_names names = { name_of, "home" };

static struct text_emitter *naming_emitter(enum text_format format)
{
	struct text_emit_args args = { .format = format, .out = &out, .messages = &messages, .program = "prog",
				       .schema = "bufio.test/1", .image = "pool.img", .names = &names };

	start();
	return text_emit_create(&args);
}

static void names_for_people(void)
{
	struct record_device_row nameless = row;
	struct text_emitter *e = naming_emitter(TEXT_HUMAN);

	nameless.dev_id = 2;
	begin(e, RECORD_DEVICE, &device);
	put(e, RECORD_DEVICE_ROW, &row);
	put(e, RECORD_DEVICE_ROW, &nameless);
	tell(e, &lost_leaf);
	gives(e, "device: 1 (home)\nmapped_blocks: 57\ntransaction: 3\ncreation time: 5\nsnap time: 6\n"
		 "       1                 57    3.5 MiB            3        5         ?  DAMAGED        home\n"
		 "       2                 57    3.5 MiB            3        5         ?  DAMAGED\n",
	      "prog: block 44 (mapping tree, device 1 (home)): is all zeroes; virtual blocks 10..19 [block-zeroed]\n");
}

static void names_in_json(void)
{
	struct record_mapping of_2 = single;
	struct text_emitter *e = naming_emitter(TEXT_JSON_LINES);

	of_2.dev_id = 2;
	put(e, RECORD_SINGLE, &single);
	put(e, RECORD_SINGLE, &of_2);
	gives(e, "{\"schema\":\"bufio.test/1\",\"image\":\"pool.img\"}\n"
		 "{\"type\":\"mapping\",\"dev_id\":1,\"lv\":\"home\",\"origin\":57,\"data\":35,\"length\":1,\"time\":2}\n"
		 "{\"type\":\"mapping\",\"dev_id\":2,\"lv\":null,\"origin\":57,\"data\":35,\"length\":1,\"time\":2}\n"
		 "{\"type\":\"end\",\"records\":2,\"problems\":0}\n", "");
	e = naming_emitter(TEXT_JSON_LINES);
	tell(e, &lost_leaf);
	text_emit_destroy(e);
	CU_ASSERT_PTR_NOT_NULL(strstr(text_of(&out), "\"dev_id\":1,\"lv\":\"home\",\"begin\""));
	close(messages.fd);
}

static void no_names_in_xml(void)
{
	struct text_emitter *e = naming_emitter(TEXT_XML);

	begin(e, RECORD_DEVICE, &device);
	text_emit_destroy(e);
	CU_ASSERT_PTR_NULL(strstr(text_of(&out), "home"));
	close(messages.fd);
}

/* --- problems --- */

static void sentence(const struct problem *p, const char *program, const char *expected)
{
	open_out(&out);
	text_put_problem(&out, program, NULL, p);
	CU_ASSERT_STRING_EQUAL(text_of(&out), expected);
	if (strcmp(written, expected))
		fprintf(stderr, "# %s", written);
}

static void problem_of_a_device(void)
{
	sentence(&(struct problem){ .code = PROBLEM_BLOCK_CHECKSUM, .where = WHERE_MAPPINGS, .block = 3736,
				    .dev_id = 1, .begin = 33361, .end = 33978, .found = 0xcf42469b,
				    .expected = 0x85d75fb4 },
		 NULL, "block 3736 (mapping tree, device 1): checksum is 0xcf42469b, its contents give 0x85d75fb4; "
		       "virtual blocks 33361..33977 [block-checksum]\n");
}

static void problem_of_all_devices(void)
{
	sentence(&(struct problem){ .code = PROBLEM_BLOCK_ZEROED, .where = WHERE_DETAILS, .block = 150,
				    .dev_id = NO_DEVICE, .begin = 0, .end = UINT64_MAX },
		 "prog", "prog: block 150 (device details tree): is all zeroes; devices 0..end [block-zeroed]\n");
}

static void problem_of_kinds(void)
{
	sentence(&(struct problem){ .code = PROBLEM_BLOCK_KIND, .where = WHERE_TOP, .block = 7, .dev_id = NO_DEVICE,
				    .begin = 1, .end = 2, .found_kind = "space map bitmap",
				    .expected_kind = "btree node" },
		 NULL, "block 7 (top level of the mapping tree): is a space map bitmap, where a btree node belongs; "
		       "devices 1..1 [block-kind]\n");
}

static void problem_unreadable(void)
{
	char expected[200];

	snprintf(expected, sizeof(expected),
		 "block 9 (mapping tree, device 2): cannot be read: %s; virtual blocks 5..9 [block-unreadable]\n",
		 strerror(EREMOTEIO));
	sentence(&(struct problem){ .code = PROBLEM_BLOCK_UNREADABLE, .where = WHERE_MAPPINGS, .block = 9, .dev_id = 2,
				    .begin = 5, .end = 10, .error = EREMOTEIO }, NULL, expected);
}

static void problem_without_range(void)
{
	sentence(&(struct problem){ .code = PROBLEM_SB_VERSION, .where = WHERE_SUPERBLOCK, .block = 0,
				    .dev_id = NO_DEVICE, .found = 3 },
		 NULL, "block 0 (superblock): version is 3, only 1 and 2 are known [superblock-version]\n");
}

static void problem_without_block(void)
{
	sentence(&(struct problem){ .code = PROBLEM_MAPPED_BLOCKS, .where = WHERE_DETAILS, .block = NO_BLOCK,
				    .dev_id = 4, .found = 12, .expected = 11 },
		 NULL, "device details tree, device 4: mapped_blocks is 12, there are 11 mappings [mapped-blocks]\n");
}

static void every_message_filled_in(void)
{
	for (unsigned c = 0; c < NR_PROBLEMS; c++) {
		struct problem p = { .code = c, .where = WHERE_MAPPINGS, .block = 1, .dev_id = 1, .expected = 12345,
				     .found = 54321, .count = 77777, .expected_kind = "a", .found_kind = "b",
				     .error = EIO };

		open_out(&out);
		text_put_message(&out, &p);
		CU_ASSERT_PTR_NULL(strpbrk(text_of(&out), "{}\n"));
		CU_ASSERT_NOT_EQUAL(written[0], '\0');
	}
}

/* --- emitters as such --- */

static void silent_before_first_record(void)
{
	for (unsigned format = TEXT_HUMAN; format <= TEXT_JSON_LINES; format++) {
		struct text_emitter *e = emitter(format);

		CU_ASSERT_STRING_EQUAL(text_of(&out), "");
		close(messages.fd);
		text_emit_destroy(e);
	}
	text_emit_destroy(NULL);
}

static void unfinished_lacks_its_end(void)
{
	static const enum text_format formats[] = { TEXT_XML, TEXT_JSON_LINES };
	static const char *const ends[] = { "</superblock>", "\"type\":\"end\"" };

	for (unsigned i = 0; i < LEN(formats); i++) {
		struct text_emitter *e = emitter(formats[i]);

		begin(e, RECORD_SUPERBLOCK, &superblock);
		begin(e, RECORD_DEVICE, &device);
		text_emit_destroy(e);
		CU_ASSERT_NOT_EQUAL(strlen(text_of(&out)), 0);
		CU_ASSERT_PTR_NULL(strstr(written, ends[i]));
		close(messages.fd);
	}
}

/* Puts a device that is full in the place of the output; gives the file that it was. */
static int fill_disk(void)
{
	int good = out.fd;

	out.fd = open("/dev/full", O_WRONLY);
	CU_ASSERT_TRUE_FATAL(out.fd >= 0);
	return good;
}

/* By finish or by the flush after it: either may be the first to write. */
static void write_errors_told(void)
{
	for (unsigned format = TEXT_HUMAN; format <= TEXT_JSON_LINES; format++) {
		struct text_emitter *e = emitter(format);
		int good = fill_disk(), error;

		e->visitor.begin(&e->visitor, RECORD_SUPERBLOCK, &superblock);
		e->visitor.end(&e->visitor, RECORD_SUPERBLOCK, &superblock);
		error = text_emit_finish(e);
		CU_ASSERT_TRUE(error == 0 || error == -ENOSPC);
		CU_ASSERT_EQUAL(text_out_flush(&out), -ENOSPC);
		CU_ASSERT_EQUAL(text_emit_finish(e), -ENOSPC);
		text_emit_destroy(e);
		close(out.fd);
		close(good);
		close(messages.fd);
	}
}

static void error_stops_the_walk(void)
{
	for (unsigned format = TEXT_HUMAN; format <= TEXT_JSON_LINES; format++) {
		struct text_emitter *e = emitter(format);
		int good = fill_disk(), error = 0;

		for (unsigned i = 0; i < TEXT_OUT_BUFFER && !error; i++)
			error = e->visitor.record(&e->visitor, RECORD_RANGE, &range);
		CU_ASSERT_EQUAL(error, -ENOSPC);
		text_emit_destroy(e);
		close(out.fd);
		close(good);
		close(messages.fd);
	}
}

static const struct unit_case cases[] = {
	{ "a number's digits end where they should, and nothing is written before them", all_digits },
	{ "numbers and formatted text are put as they are", numbers },
	{ "small text stays in the buffer until it is flushed", nothing_before_flush },
	{ "a number and the text in front of it arrive whole wherever the buffer ends", text_and_number },
	{ "text around and above the buffer's size arrives whole", large_pieces },
	{ "many small pieces arrive in order", many_pieces },
	{ "the first error sticks and swallows what follows", error_sticks },
	{ "a full disk is told by flush", disk_full },
	{ "a closed pipe is an error like any other", closed_pipe },
	{ "flushing nothing writes nothing", flush_of_nothing },
	{ "quotes and backslashes are escaped in JSON, and nothing else that is readable", json_plain },
	{ "control characters are escaped in JSON", json_control },
	{ "characters of several bytes are kept in JSON", json_utf8 },
	{ "bytes that are no UTF-8 become the replacement character", json_bad_utf8 },
	{ "a character cut off at the end becomes the replacement character", json_bad_at_the_end },
	{ "text in XML has no markup of its own", xml_string },
	{ "XML is what thin_restore reads, and problems are messages", xml_pool },
	{ "text in XML attributes is escaped", xml_escapes },
	{ "XML has numbers of 64 bits in full", xml_largest_numbers },
	{ "what is not known is no attribute in XML", xml_unknown },
	{ "a problem of one of several images names it", problem_of_an_image },
	{ "JSON lines begin with the schema, have problems between records, and end with the counts", json_lines_pool },
	{ "a problem in JSON has only the members that it has values for, and an open end is null",
	  json_problem_members },
	{ "a JSON document has its fields, then its arrays", json_document },
	{ "the arrays of a summary are there when they are empty", json_empty_arrays },
	{ "one array may be empty and the other not", json_one_array_empty },
	{ "containers in a document are arrays of objects with arrays", json_nested },
	{ "whatever a document holds, it is closed and ends with a newline", json_always_balanced },
	{ "the image's name is escaped in JSON", json_image_escaped },
	{ "people get the forms of thin_dump, and problems as messages", human_pool },
	{ "columns are filled up to their width, longer text is not cut, and lines end without blanks", human_widths },
	{ "what is not known is a question mark for people", human_unknown },
	{ "each format of a field has its form for people and for programs", field_formats },
	{ "a field is read in its size", field_sizes },
	{ "templates name fields that exist", templates },
	{ "a record's fields have names of their own, and sizes that can be read", rows_of_fields },
	{ "every dev_id is a device's, and where it has a column its name has one", rows_of_devices },
	{ "for people a device's name stands beside its id or in its column, and in problems", names_for_people },
	{ "in JSON the name is a member beside the id, null where there is none", names_in_json },
	{ "XML has no names: thin_restore would refuse them", no_names_in_xml },
	{ "a problem is where, what, which keys, and its name", problem_of_a_device },
	{ "a range to the end of the keys says so", problem_of_all_devices },
	{ "a wrong kind is named with the right one", problem_of_kinds },
	{ "an unreadable block is said with the system's words", problem_unreadable },
	{ "a problem without keys names none", problem_without_range },
	{ "a problem without a block begins with its structure", problem_without_block },
	{ "every message is filled in", every_message_filled_in },
	{ "nothing is written before the first record", silent_before_first_record },
	{ "a stream that was not finished has no end", unfinished_lacks_its_end },
	{ "an error of writing is told when the output is finished", write_errors_told },
	{ "an error of writing stops the walk", error_stops_the_walk },
	{ NULL, NULL },
};

const struct unit_suite emit_suite = { "emit", cases };
