// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fuzz targets: XML of a pool, any bytes. Nothing may crash, hang, leak or read past anything.
 *
 *	expat     read by expat alone, and built: what was built is a sound pool
 *	scanner   the same with the scanner
 *	both      read both ways: the same records, or the same complaint in the same place
 *
 * As LLVMFuzzerTestOneInput for libFuzzer (compile with -fsanitize=fuzzer -DLIBFUZZER; all three), and as the program
 * fuzz-xml expat|scanner|both (fuzz_text.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "meta/thin.h"
#include "meta/thin_build.h"
#include "meta/thin_input.h"
#include "fuzz_text.h"
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

static const char *const pieces[] = {
	"<!--", "-->", "<![CDATA[", "]]>", "<?x", "?>", "&#49;", "&amp;", "\r\n", "\n", "\r", " ", "\t", "<", ">", "\"", "'",
	"/>", "/>\n", "=", "0", "1", "9", "-", "18446744073709551615", "18446744073709551616", "16777216", "4294967296",
	"<single_mapping origin_block=\"1\" data_block=\"2\" time=\"0\"/>\n",
	"    <range_mapping origin_begin=\"10000000\" data_begin=\"2\" length=\"3\" time=\"0\"/>\n",
	"<def name=\"x\">\n", "</def>\n", "<ref name=\"x\"/>\n", "<ref name=\"1\"/>\n", "</device>\n",
	"<device dev_id=\"77\" mapped_blocks=\"0\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">\n", "</superblock>",
	"<!DOCTYPE x [<!ENTITY y \"z\">]>", "<?xml version=\"1.0\" encoding=\"UTF-16\"?>", "\xEF\xBB\xBF", "\xFF", "time", "length",
};

int main(int argc, char **argv)
{
	static const char *const targets[] = { "expat", "scanner", "both" };
	static const struct fuzz_text fuzz = {
		.name = "fuzz-xml",
		.targets = targets, .nr_targets = sizeof(targets) / sizeof(*targets),
		.pieces = pieces, .nr_pieces = sizeof(pieces) / sizeof(*pieces),
		.run = run_case,
	};

	return fuzz_text_main(&fuzz, argc, argv);
}

#endif
