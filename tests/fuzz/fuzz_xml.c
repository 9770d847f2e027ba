// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fuzz targets: XML of a pool, any bytes. Nothing may crash, hang, leak or read past anything.
 *
 *	expat     read by expat alone, and built: what was built is a sound pool
 *	scanner   the same with the scanner
 *	both      read both ways: the same records, or the same complaint in the same place
 *
 * As LLVMFuzzerTestOneInput for libFuzzer (compile with -fsanitize=fuzzer -DLIBFUZZER; all three), and as a program:
 *
 *	fuzz-xml TARGET SEED COUNT|SECONDSs FILE...
 *
 * takes damaged copies of the files, COUNT of them or for so many seconds. The seed of a case is printed before it runs,
 * so that a crash can be repeated with SEED and COUNT 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "meta/thin.h"
#include "meta/thin_build.h"
#include "meta/thin_input.h"
#include "mutate.h"
#include "text/xml_read.h"

#define METADATA_BYTES (UINT64_C(2) << 20)
#define MEMORY (1 << 20)
#define SECONDS_A_CASE 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz-xml: %s\n", what);
	abort();
}

/* --- a visitor that makes one number of all records --- */

struct digest {
	struct meta_visitor v;
	struct meta_visitor *next; /* or NULL */
	uint64_t sum, mapped;
};

static void add(struct digest *d, const void *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		d->sum = (d->sum ^ ((const uint8_t *)data)[i]) * UINT64_C(1099511628211);
}

static int take(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct digest *d = (struct digest *)v;
	const struct record_type *t = &record_types[kind];

	add(d, &kind, sizeof(kind));
	for (unsigned i = 0; i < t->nr_fields; i++) {
		const struct field *f = &t->fields[i];
		uint64_t n = f->format == FIELD_TEXT ? strlen(field_text(f, record)) : field_number(f, record);

		add(d, &n, sizeof(n));
	}
	return 0;
}

static int take_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)record;
	add((struct digest *)v, &kind, sizeof(kind));
	return 0;
}

/* --- both --- */

static int read_fd(int fd, bool without_scanner, struct meta_visitor *v, struct text_xml_error *e)
{
	struct text_xml_args args = { .fd = fd, .memory = MEMORY, .without_scanner = without_scanner };

	lseek(fd, 0, SEEK_SET);
	return text_xml_read(&args, v, e);
}

/* With the judge of records in between, so that complaints from there have a place too. */
static int judge_fd(int fd, bool without_scanner, struct digest *d, struct text_xml_error *e, char *reason)
{
	struct thin_input_args args = { .memory = MEMORY };
	struct thin_input *input;
	int r;

	*d = (struct digest){ .v = { take, take, take_end, NULL } };
	if (thin_input_create(&args, &d->v, &input))
		fail("no memory");
	r = read_fd(fd, without_scanner, thin_input_visitor(input), e);
	snprintf(reason, THIN_INPUT_REASON_MAX, "%s", thin_input_reason(input));
	thin_input_destroy(input);
	return r;
}

/* Lines are counted by newlines where the scanner is, by expat where also a carriage return ends one. */
static void compare(int fd, bool has_returns)
{
	char reason_a[THIN_INPUT_REASON_MAX], reason_b[THIN_INPUT_REASON_MAX];
	struct text_xml_error a, b;
	struct digest first, second;
	int r = judge_fd(fd, true, &first, &a, reason_a);

	if (judge_fd(fd, false, &second, &b, reason_b) != r)
		fail("one way it is right, the other wrong");
	if (first.sum != second.sum)
		fail("the records are not the same");
	if (r && (strcmp(a.reason, b.reason) != 0 || strcmp(reason_a, reason_b) != 0 || strcmp(a.element, b.element) != 0))
		fail("the complaints are not the same");
	if (r && !has_returns && (a.line != b.line || a.column != b.column))
		fail("the places are not the same");
}

/* --- building --- */

static void report(struct problem_sink *sink, const struct problem *p)
{
	(void)sink;
	if (p->code != PROBLEM_NEEDS_CHECK)
		fail(problem_table[p->code].name);
}

static int count_mapping(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)kind;
	((struct digest *)v)->mapped += ((const struct record_mapping *)record)->length;
	return 0;
}

static int ignore(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)v;
	(void)kind;
	(void)record;
	return 0;
}

static void check_pool(struct bufio_client *client, const struct thin_build_result *built)
{
	struct digest d = { .v = { ignore, count_mapping, ignore, NULL } };
	struct thin_walk walk = { .only_device = PROBLEM_NO_DEVICE };
	struct problem_sink sink = { report };
	struct thin_pool pool;

	if (thin_pool_open(&pool, client, &sink) || thin_walk(&pool, &walk, &d.v) || thin_verify_space_maps(&pool))
		fail("what was built cannot be read");
	if (d.mapped != built->mappings)
		fail("mappings are missing");
}

static void build(int fd, bool without_scanner)
{
	struct thin_input_args input_args = { .memory = MEMORY };
	struct thin_build_args args = { .memory = MEMORY };
	struct thin_build_result built;
	struct text_xml_error error;
	struct thin_input *input;
	struct thin_build *b;
	struct bufio_device *dev;
	const void *block;
	struct bufio_buffer *buffer;
	int r;

	if (bufio_device_open_memory(METADATA_BYTES, &dev))
		fail("no memory");
	args.client = bufio_client_create(dev, 4096, 64, 0, NULL, NULL);
	if (!args.client || thin_build_create(&args, &b) || thin_input_create(&input_args, thin_build_visitor(b), &input))
		fail("no memory");
	r = read_fd(fd, without_scanner, thin_input_visitor(input), &error);
	thin_build_get_result(b, &built);
	block = bufio_read(args.client, 0, &buffer);
	if (r && thin_build_has_begun(b) && !thin_build_is_unfinished(block))
		fail("what was not finished does not say so");
	bufio_release(buffer);
	if (!r)
		check_pool(args.client, &built);
	if (r == -EINVAL && (!error.line || (!error.reason[0] && !thin_input_reason(input)[0])))
		fail("a complaint without a place or a reason");
	thin_input_destroy(input);
	thin_build_destroy(b);
	if (bufio_client_destroy(args.client))
		fail("a hold is left");
	bufio_device_close(dev);
}

/* --- one case --- */

enum { EXPAT = 1, SCANNER = 2, BOTH = 4 };

static void run_case(const uint8_t *data, size_t size, unsigned targets)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		fail("memfd");
	alarm(SECONDS_A_CASE);
	if (targets & EXPAT)
		build(fd, true);
	if (targets & SCANNER)
		build(fd, false);
	if (targets & BOTH)
		compare(fd, memchr(data, '\r', size));
	alarm(0);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run_case(data, size, EXPAT | SCANNER | BOTH);
	return 0;
}

#ifndef LIBFUZZER

/* --- damage --- */

#define MAX_BYTES (64 << 10)

static const char *const pieces[] = {
	"<!--", "-->", "<![CDATA[", "]]>", "<?x", "?>", "&#49;", "&amp;", "\r\n", "\n", "\r", " ", "\t", "<", ">", "\"", "'",
	"/>", "/>\n", "=", "0", "1", "9", "-", "18446744073709551615", "18446744073709551616", "16777216", "4294967296",
	"<single_mapping origin_block=\"1\" data_block=\"2\" time=\"0\"/>\n",
	"    <range_mapping origin_begin=\"10000000\" data_begin=\"2\" length=\"3\" time=\"0\"/>\n",
	"<def name=\"x\">\n", "</def>\n", "<ref name=\"x\"/>\n", "<ref name=\"1\"/>\n", "</device>\n",
	"<device dev_id=\"77\" mapped_blocks=\"0\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">\n", "</superblock>",
	"<!DOCTYPE x [<!ENTITY y \"z\">]>", "<?xml version=\"1.0\" encoding=\"UTF-16\"?>", "\xEF\xBB\xBF", "\xFF", "time", "length",
};

static uint8_t text[MAX_BYTES + 1];
static size_t len;

/* @nr bytes at @at become the @size bytes at @with. */
static void replace(size_t at, size_t nr, const void *with, size_t size)
{
	if (len - nr + size > MAX_BYTES)
		return;
	memmove(text + at + size, text + at + nr, len - at - nr);
	memmove(text + at, with, size);
	len += size - nr;
}

static size_t line_at(size_t at)
{
	while (at && text[at - 1] != '\n')
		at--;
	return at;
}

static size_t line_length(size_t at)
{
	const uint8_t *end = memchr(text + at, '\n', len - at);

	return end ? (size_t)(end - (text + at)) + 1 : len - at;
}

static void damage(struct rng *r)
{
	size_t at = rng_below(r, len + 1), from = line_at(at), to = line_at(rng_below(r, len + 1));
	const char *piece = pieces[rng_below(r, sizeof(pieces) / sizeof(*pieces))];
	uint8_t line[512];
	size_t n = line_length(from);

	switch (rng_below(r, 9)) {
	case 0: /* a byte */
		if (at < len)
			text[at] = (uint8_t)rng_next(r);
		break;
	case 1: replace(at, 0, piece, strlen(piece)); break;
	case 2: replace(from, 0, piece, strlen(piece)); break;
	case 3: replace(at, rng_below(r, len - at + 1) % 40, "", 0); break;
	case 4: replace(from, n, "", 0); break;
	case 5: /* a line in another place */
	case 6:
		n = n < sizeof(line) ? n : sizeof(line);
		memcpy(line, text + from, n);
		replace(to, 0, line, n);
		break;
	case 7: /* a digit */
		while (at < len && (text[at] < '0' || text[at] > '9'))
			at++;
		if (at < len)
			text[at] = (uint8_t)('0' + rng_below(r, 10));
		break;
	default:
		if (!rng_below(r, 8))
			len = at;
	}
}

static void load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, MAX_BYTES);

	if (n < 0) {
		perror(path);
		exit(99);
	}
	len = (size_t)n;
	close(fd);
}

/* @limit: cases, or seconds if @is_time. */
static void run(unsigned targets, uint64_t seed, uint64_t limit, bool is_time, char **files, int nr_files)
{
	time_t end = time(NULL) + (time_t)limit;
	uint64_t nr = 0;

	for (; is_time ? time(NULL) < end : nr < limit; nr++) {
		struct rng r = { (seed + nr) * UINT64_C(0x9E3779B97F4A7C15) | 1 };

		if (!is_time || nr % 1000 == 0) {
			printf("%" PRIu64 "\n", seed + nr);
			fflush(stdout);
		}
		load(files[rng_below(&r, (uint64_t)nr_files)]);
		for (uint64_t i = 1 + rng_below(&r, 6); i; i--)
			damage(&r);
		run_case(text, len, targets);
	}
	printf("%" PRIu64 " cases\n", nr);
}

int main(int argc, char **argv)
{
	static const char *const targets[] = { "expat", "scanner", "both" };
	uint64_t seed, limit;
	size_t digits = argc > 3 ? strspn(argv[3], "0123456789") : 0;
	bool is_time = argc > 3 && !strcmp(argv[3] + digits, "s");
	unsigned target = 0;

	while (argc > 1 && target < 3 && strcmp(argv[1], targets[target]) != 0)
		target++;
	if (argc > 3)
		argv[3][digits] = '\0';
	if (argc < 5 || target == 3 || units_parse_number(argv[2], &seed) || units_parse_number(argv[3], &limit)) {
		fputs("fuzz-xml expat|scanner|both SEED COUNT|SECONDSs FILE...\n", stderr);
		return 99;
	}
	run(1u << target, seed, limit, is_time, argv + 4, argc - 4);
	return 0;
}

#endif
