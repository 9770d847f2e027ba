// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "text/trace_read.h"
#include "unit.h"

#define MEMORY (1 << 20)
#define OURS "bufio trace 1\nclient 1 block-size 4096 device-size 1048576 offset 0\n"
#define FIO2 "fio version 2 iolog\n"
#define FIO3 "fio version 3 iolog\n"

static struct text_trace t;
static struct text_trace_info info;

static int read_bytes(const char *text, size_t len, uint64_t memory)
{
	FILE *f = tmpfile();
	int r;

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fwrite(text, 1, len, f), len);
	rewind(f);
	text_trace_destroy(&t);
	r = text_trace_read(f, memory, &t, &info);
	fclose(f);
	CU_ASSERT_EQUAL(!info.expected, r != -EINVAL);
	return r;
}

static int read_text(const char *text)
{
	return read_bytes(text, strlen(text), MEMORY);
}

static void has(uint64_t i, uint64_t ns, enum text_trace_op op, uint64_t offset, uint64_t bytes)
{
	CU_ASSERT_TRUE_FATAL(i < t.nr);
	CU_ASSERT_EQUAL(t.records[i].ns, ns);
	CU_ASSERT_EQUAL(t.records[i].op, op);
	CU_ASSERT_EQUAL(t.records[i].offset, offset);
	CU_ASSERT_EQUAL(t.records[i].bytes, bytes);
}

static void refuses(const char *text, uint64_t line)
{
	CU_ASSERT_EQUAL(read_text(text), -EINVAL);
	CU_ASSERT_EQUAL(info.line, line);
}

static void ours(void)
{
	CU_ASSERT_EQUAL(read_text(OURS "5 read 7 1\n9 new 3 2\n9 dirty 3 1\n12 prefetch 0 8\n13 get 7 1\n14 scan 8 64\n"
				  "20 move 5 1\n21 write 0 0\n22 flush 0 0\n23 barrier 0 0\n"
				  "24 discard 9 1\n25 forget 1 1\n"), 0);
	CU_ASSERT_STRING_EQUAL(t.format, "bufio");
	CU_ASSERT_EQUAL(t.nr, 12);
	has(0, 5, TEXT_TRACE_READ, 28672, 4096);
	has(1, 9, TEXT_TRACE_NEW, 12288, 8192);
	has(2, 9, TEXT_TRACE_DIRTY, 12288, 4096);
	has(3, 12, TEXT_TRACE_PREFETCH, 0, 32768);
	has(4, 13, TEXT_TRACE_GET, 28672, 4096);
	has(5, 14, TEXT_TRACE_SCAN, 32768, 262144);
	has(6, 20, TEXT_TRACE_MOVE, 20480, 4096);
	has(7, 21, TEXT_TRACE_START, 0, 0);
	has(8, 22, TEXT_TRACE_FLUSH, 0, 0);
	has(9, 23, TEXT_TRACE_BARRIER, 0, 0);
	has(10, 24, TEXT_TRACE_DISCARD, 36864, 4096);
	has(11, 25, TEXT_TRACE_FORGET, 4096, 4096);
	CU_ASSERT_EQUAL(t.nr_files, 1);
	CU_ASSERT_EQUAL(t.files[0].block_size, 4096);
	CU_ASSERT_EQUAL(t.files[0].size, 1048576);
	text_trace_destroy(&t);
}

static void clients(void)
{
	CU_ASSERT_EQUAL(read_text(OURS "client 2 block-size 512 device-size 4096 offset 1024\n1 read 1 1 2\n2 read 1 1\n"
				  "client 2 block-size 1024 device-size 4096 offset 0\n3 read 1 1 2\n"), 0);
	CU_ASSERT_EQUAL(t.nr, 3);
	has(0, 1, TEXT_TRACE_READ, 1536, 512);
	has(1, 2, TEXT_TRACE_READ, 4096, 4096);
	has(2, 3, TEXT_TRACE_READ, 1024, 1024);
	CU_ASSERT_EQUAL(t.records[0].file, 1);
	CU_ASSERT_EQUAL(t.records[1].file, 0);
	CU_ASSERT_STRING_EQUAL(text_trace_name(&t, 1), "2");
	refuses(OURS "1 read 1 1 2\n", 3);
	text_trace_destroy(&t);
}

static void fio_2(void)
{
	CU_ASSERT_EQUAL(read_text(FIO2 "/dev/sdb add\n/dev/sdb open\n/dev/sdb read 4096 8192\n/dev/sdb wait 250 0\n"
				  "/dev/sdb write 0 512\n/dev/sdc add\n/dev/sdc wait 50 0\n/dev/sdc trim 1048576 4096\n"
				  "/dev/sdb sync 0 0\n/dev/sdb datasync\n/dev/sdb close\n"), 0);
	CU_ASSERT_STRING_EQUAL(t.format, "fio");
	CU_ASSERT_EQUAL(t.nr, 5);
	has(0, 0, TEXT_TRACE_READ, 4096, 8192);
	has(1, 250000, TEXT_TRACE_WRITE, 0, 512);
	has(2, 300000, TEXT_TRACE_DISCARD, 1048576, 4096);
	has(3, 300000, TEXT_TRACE_FLUSH, 0, 0);
	has(4, 300000, TEXT_TRACE_FLUSH, 0, 0);
	CU_ASSERT_EQUAL(t.nr_files, 2);
	CU_ASSERT_STRING_EQUAL(text_trace_name(&t, t.records[2].file), "/dev/sdc");
	text_trace_destroy(&t);
}

/* As fio 3.33 writes it. */
static void fio_3(void)
{
	CU_ASSERT_EQUAL(read_text(FIO3 "33 /data/file add\n1521 /data/file open\n1534 /data/file read 1011712 4096\n"
				  "108932 /data/file write 12419072 4096\n510677 /data/file close\n"), 0);
	CU_ASSERT_EQUAL(t.nr, 2);
	has(0, 1534000, TEXT_TRACE_READ, 1011712, 4096);
	has(1, 108932000, TEXT_TRACE_WRITE, 12419072, 4096);
	refuses(FIO3 "1 /data/file wait 100 0\n", 2);
	text_trace_destroy(&t);
}

static void of_blkparse(void)
{
	CU_ASSERT_EQUAL(read_text("  8,16   1        1     0.000000000  4711  A   R 2056 + 8 <- (8,17) 8\n"
				  "  8,16   1        2     0.000001257  4711  Q   R 2056 + 8 [my program]\n"
				  "  8,16   1        3     0.000004000  4711  G   R 2056 + 8 [my program]\n"
				  "  8,16   1        4     0.000004500  4711  P   N [my program]\n"
				  "  8,16   1        5     0.000005000  4711 UT   N [my program] 1\n"
				  "  8,16   1        6     0.000006000  4711  D   R 2056 + 8 [my program]\n"
				  "  8,16   0        1     0.000090000     0  C   R 2056 + 8 [0]\n"
				  "  8,16   0        0     0.000091000     0  m   N a word of the scheduler\n"
				  "  8,16   0        2     1.000000002   333  Q  WS 16 + 24 [jbd2/sdb-8]\n"
				  "  8,16   0        3     1.000000003   333  Q FWS [jbd2/sdb-8]\n"
				  "  8,16   0        4     1.000000004   333  Q  DS 4096 + 2048 [fstrim]\n"
				  "  8,16   0        5     1.000000005   333  D   R 36 (12 00 00 00 24 00 ..) [smartctl]\n"
				  "CPU0 (8,16):\n Reads Queued:           1,        4KiB\n\n"
				  "Throughput (R/W): 1KiB/s\n"), 0);
	CU_ASSERT_STRING_EQUAL(t.format, "blkparse");
	CU_ASSERT_EQUAL(t.nr, 4);
	has(0, 1257, TEXT_TRACE_READ, 1052672, 4096);
	has(1, 1000000002, TEXT_TRACE_WRITE, 8192, 12288);
	has(2, 1000000003, TEXT_TRACE_FLUSH, 0, 0);
	has(3, 1000000004, TEXT_TRACE_DISCARD, 2097152, 1048576);
	CU_ASSERT_STRING_EQUAL(text_trace_name(&t, 0), "8,16");
	CU_ASSERT_EQUAL(t.nr_left_out, 8);
	text_trace_destroy(&t);
}

/* blktrace -a issue, -a complete. */
static void not_queued(void)
{
	CU_ASSERT_EQUAL(read_text("8,0 0 1 0.000000001 1 D R 8 + 8 [a]\n8,0 0 2 0.000000005 1 C R 8 + 8 [0]\n"), 0);
	CU_ASSERT_EQUAL(t.nr, 1);
	has(0, 1, TEXT_TRACE_READ, 4096, 4096);
	CU_ASSERT_EQUAL(read_text("8,0 0 2 0.000000005 1 C R 16 + 8 [0]\n"), 0);
	CU_ASSERT_EQUAL(t.nr, 1);
	has(0, 5, TEXT_TRACE_READ, 8192, 4096);
	text_trace_destroy(&t);
}

static void times(void)
{
	CU_ASSERT_EQUAL(read_text(OURS "500 read 1 1\n300 read 2 1\n600 read 3 1\n"), 0);
	has(1, 500, TEXT_TRACE_READ, 8192, 4096);
	has(2, 600, TEXT_TRACE_READ, 12288, 4096);
	refuses("8,0 0 1 0.5 1 Q R 8 + 8 [a]\n", 1);
	refuses("8,0 0 1 20000000000.000000000 1 Q R 8 + 8 [a]\n", 1);
	refuses(FIO2 "f wait 18446744073709551 0\nf wait 18446744073709551 0\n", 3);
	refuses(FIO3 "18446744073709552 f read 0 1\n", 2);
	text_trace_destroy(&t);
}

static void numbers(void)
{
	static const char *const bad[] = { "-1", "+1", "0x10", "1e3", "18446744073709551616", "1.5", "1,", "ten" };
	char text[256];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(text, sizeof(text), OURS "1 read 1 1\n2 read %s 1\n", bad[i]);
		refuses(text, 4);
		snprintf(text, sizeof(text), OURS "1 read 1 1\n%s read 1 1\n", bad[i]);
		refuses(text, 4);
		snprintf(text, sizeof(text), FIO2 "f add\nf read 1 %s\n", bad[i]);
		refuses(text, 3);
		snprintf(text, sizeof(text), "8,0 0 1 0.000000001 1 Q R %s + 8 [a]\n", bad[i]);
		refuses(text, 1);
	}
	refuses(OURS "1 read 4503599627370496 1\n", 3);     /* 2^52 blocks of 4 KiB */
	refuses(OURS "1 read 4503599627370495 1\n", 3);     /* the end is 2^64 */
	CU_ASSERT_EQUAL(read_text(OURS "1 read 4503599627370494 1\n"), 0);
	refuses(OURS "1 read 1 4503599627370496\n", 3);
	refuses(OURS "1 read 1 0\n", 3);
	refuses(FIO2 "f read 18446744073709551615 1\n", 2);
	refuses("8,0 0 1 0.000000001 1 Q R 36028797018963968 + 8 [a]\n", 1);
	text_trace_destroy(&t);
}

static void lines(void)
{
	static char longest[20000];

	refuses("", 1);
	refuses("bufio trace 2\n", 1);
	refuses("nothing of the kind\n", 1);
	refuses("bufio trace 1\n1 read 1 1\n", 2);
	refuses(OURS "1 read 1\n", 3);
	refuses(OURS "1 read 1 1 1 1\n", 3);
	refuses(OURS "1 fetch 1 1\n", 3);
	refuses(OURS "\n", 3);
	refuses(OURS "1 read 1 1", 3); /* might have been 11 */
	refuses("bufio trace 1\nclient 0 block-size 4096 device-size 1 offset 0\n", 2);
	refuses("bufio trace 1\nclient 1 block-size 0 device-size 1 offset 0\n", 2);
	refuses("bufio trace 1\nclient 1 block-size 4294967296 device-size 1 offset 0\n", 2);
	refuses("bufio trace 1\nclient 1 block-size 512 device-size 1\n", 2);
	refuses(FIO2 "f read 1\n", 2);
	refuses(FIO2 "f\n", 2);
	refuses(FIO2 "f burn 1 1\n", 2);
	refuses("8,0 0 1 0.000000001 1 Q\nfoo\n", 2);
	refuses("8 0 1 0.000000001 1 Q R 8 + 8 [a]\n", 1);
	memset(longest, 'x', sizeof(longest) - 1);
	memcpy(longest, FIO2, strlen(FIO2));
	refuses(longest, 2);
	CU_ASSERT_EQUAL(read_bytes(FIO2 "f\0read 1 1\n", sizeof(FIO2 "f\0read 1 1\n") - 1, MEMORY), -EINVAL);
	CU_ASSERT_EQUAL(read_text("fio version 2 iolog\r\nf read 1 1\r\n"), 0);
	CU_ASSERT_EQUAL(read_text("bufio trace 1\n"), 0);
	CU_ASSERT_EQUAL(t.nr, 0);
	text_trace_destroy(&t);
}

static void memory(void)
{
	static char text[100000];
	size_t len = (size_t)sprintf(text, FIO2);

	for (unsigned i = 0; i < 3000; i++)
		len += (size_t)sprintf(text + len, "f read %u 1\n", i);
	CU_ASSERT_EQUAL(read_bytes(text, len, 65536), -E2BIG);
	CU_ASSERT_EQUAL(read_bytes(text, len, MEMORY), 0);
	CU_ASSERT_EQUAL(t.nr, 3000);
	for (unsigned i = 0; i < 3000; i++)
		len += (size_t)sprintf(text + len, "f%u add\n", i);
	CU_ASSERT_EQUAL(read_bytes(text, len, 128 << 10), -E2BIG);
	text_trace_destroy(&t);
}

static const struct unit_case cases[] = {
	{ "a trace of BUFIO_TRACE gives what was asked, in bytes", ours },
	{ "clients have their own block size and beginning, which may change", clients },
	{ "fio's version 2 has waits between what was done", fio_2 },
	{ "fio's version 3 has microseconds in front", fio_3 },
	{ "of blkparse's lines what was queued counts, up to the sums", of_blkparse },
	{ "where nothing was queued what was issued counts, else what was completed", not_queued },
	{ "times do not go back, and all fit", times },
	{ "numbers are decimal, fit, and so do their products and sums", numbers },
	{ "what is no line of the kind is refused with its number, and a cut-off one too", lines },
	{ "no more memory is taken than may be", memory },
	{ NULL, NULL },
};

const struct unit_suite trace_read_suite = { "trace_read", cases };
