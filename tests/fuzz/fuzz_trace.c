// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fuzz target: traces, any bytes. Nothing may crash, hang, leak, read past anything or take more memory than it may. Of a
 * trace that is read every record has a file and bytes that can be counted, and times do not go back.
 *
 * As LLVMFuzzerTestOneInput for libFuzzer (compile with -fsanitize=fuzzer -DLIBFUZZER), and as a program:
 *
 *	fuzz-trace SEED COUNT|SECONDSs
 *
 * makes traces of every kind and damages them, as fuzz_loop() has it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz_loop.h"
#include "text/trace_read.h"

#define SECONDS_A_CASE 20
#define MEMORY (256 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz-trace: %s\n", what);
	abort();
}

static bool has_no_bytes(uint32_t op)
{
	return op == TEXT_TRACE_FLUSH || op == TEXT_TRACE_START || op == TEXT_TRACE_BARRIER;
}

static void check_records(const struct text_trace *t)
{
	for (uint64_t i = 0; i < t->nr; i++) {
		const struct text_trace_record *r = &t->records[i];

		if (r->op >= NR_TEXT_TRACE_OPS || r->file >= t->nr_files)
			fail("an operation or a file that is none");
		if (r->offset + r->bytes < r->offset || has_no_bytes(r->op) != !r->bytes)
			fail("bytes that cannot be counted");
		if (i && r->ns < r[-1].ns)
			fail("times that go back");
	}
	for (uint32_t i = 0; i < t->nr_files; i++)
		if (!*text_trace_name(t, i))
			fail("a file without a name");
}

static void run_case(const uint8_t *data, size_t size)
{
	struct text_trace_info info;
	struct text_trace t = { 0 };
	FILE *file;
	int r;

	if (!size)
		return;
	alarm(SECONDS_A_CASE);
	file = fmemopen((void *)data, size, "r");
	if (!file)
		fail("no memory");
	r = text_trace_read(file, MEMORY, &t, &info);
	fclose(file);
	if (r && r != -EINVAL && r != -E2BIG)
		fail("an error that is none of reading");
	if (r == -EINVAL && (!info.expected || !info.line))
		fail("a complaint without a place or a reason");
	if (t.max * sizeof(*t.records) + t.max_files * sizeof(*t.files) > MEMORY)
		fail("too much memory");
	if (!r)
		check_records(&t);
	text_trace_destroy(&t);
	alarm(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run_case(data, size);
	return 0;
}

#ifndef LIBFUZZER

#define MAX_BYTES 8192

static const char *const pieces[] = {
	"bufio trace 1\n", "fio version 2 iolog\n", "fio version 3 iolog\n",
	"client 1 block-size 4096 device-size 0 offset 0\n",
	"client ", " block-size ", " offset ", "\n", "\r\n", " ", "\t", "0", "18446744073709551615", "18446744073709551616",
	"4503599627370496", "-1", "0x1", " read ", " wait ", " write ", " flush 0 0", " trim ", " sync", " add",
	"Q", "D", "C",
	" FWS ", " + ", "8,0", ",", "0.000000001", "CPU0", "[", "]", "(8,17)",
};

static uint8_t text[MAX_BYTES];
static size_t len;

static void add(const char *s)
{
	size_t n = strlen(s);

	if (len + n <= MAX_BYTES) {
		memcpy(text + len, s, n);
		len += n;
	}
}

static const char *one_of(struct rng *r, const char *const *words, uint64_t nr)
{
	return words[rng_below(r, nr)];
}

static void bufio_line(struct rng *r, char *line, size_t size, uint64_t i)
{
	static const char *const ops[] = { "read", "get", "new", "prefetch", "scan", "dirty", "move", "discard", "forget" };

	if (!rng_below(r, 10))
		snprintf(line, size, "client %" PRIu64 " block-size 512 device-size 65536 offset 512\n",
			 1 + rng_below(r, 3));
	else if (!rng_below(r, 8))
		snprintf(line, size, "%" PRIu64 " flush 0 0\n", i);
	else
		snprintf(line, size, "%" PRIu64 " %s %" PRIu64 " %" PRIu64 "\n", i, one_of(r, ops, 9), rng_below(r, 100),
			 1 + rng_below(r, 9));
}

static void fio2_line(struct rng *r, char *line, size_t size, uint64_t i)
{
	static const char *const ops[] = { "read", "write", "trim", "wait", "sync", "datasync" };

	snprintf(line, size, "/f%" PRIu64 " %s %" PRIu64 " 4096\n", i % 3, one_of(r, ops, 6), rng_below(r, 100) * 512);
}

static void fio3_line(struct rng *r, char *line, size_t size, uint64_t i)
{
	static const char *const ops[] = { "read", "write", "trim", "sync", "datasync" };

	snprintf(line, size, "%" PRIu64 " /f%" PRIu64 " %s %" PRIu64 " 4096\n", i, i % 3, one_of(r, ops, 5),
		 rng_below(r, 100) * 512);
}

static void blkparse_line(struct rng *r, char *line, size_t size, uint64_t i)
{
	static const char *const actions[] = { "Q", "G", "D", "C", "A", "UT" };
	static const char *const letters[] = { "R", "W", "WS", "RA", "FWS", "D", "N" };

	snprintf(line, size, "  8,%" PRIu64 " 1 %8" PRIu64 " %5" PRIu64 ".%09" PRIu64 " 99 %2s %3s %" PRIu64 " + 8 [a b]\n",
		 rng_below(r, 3), i, i / 10, i, one_of(r, actions, 6), one_of(r, letters, 7), rng_below(r, 1000));
}

static const struct {
	const char *begin;
	void (*line)(struct rng *r, char *line, size_t size, uint64_t i);
} kinds[] = {
	{ "bufio trace 1\nclient 1 block-size 4096 device-size 65536 offset 0\n", bufio_line },
	{ "fio version 2 iolog\n", fio2_line },
	{ "fio version 3 iolog\n", fio3_line },
	{ "", blkparse_line },
};

/* One that is right. */
static void make_trace(struct rng *r)
{
	uint64_t kind = rng_below(r, sizeof(kinds) / sizeof(*kinds)), nr = rng_below(r, 40);
	char line[256];

	len = 0;
	add(kinds[kind].begin);
	for (uint64_t i = 0; i < nr; i++) {
		kinds[kind].line(r, line, sizeof(line), i);
		add(line);
	}
}

static void make_case(struct rng *r, void *context)
{
	(void)context;
	make_trace(r);
	for (uint64_t i = rng_below(r, 5); i; i--)
		len = mutate_text(text, len, MAX_BYTES, pieces, sizeof(pieces) / sizeof(*pieces), r);
	run_case(text, len);
}

int main(int argc, char **argv)
{
	if (argc == 3 && fuzz_loop(argv[1], argv[2], make_case, NULL))
		return 0;
	fputs("fuzz-trace SEED COUNT|SECONDSs\n", stderr);
	return 99;
}

#endif
