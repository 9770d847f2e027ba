// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fuzz target: map files, any bytes. Nothing may crash, hang, leak or read past anything. A map that is read has pieces in
 * order and without gaps; what is written of it is read again as the same; a list of ranges takes the same bytes or not.
 *
 * As LLVMFuzzerTestOneInput for libFuzzer (compile with -fsanitize=fuzzer -DLIBFUZZER), and as a program:
 *
 *	fuzz-map SEED COUNT|SECONDSs
 *
 * makes maps and damages them, as fuzz_loop() has it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz_loop.h"
#include "text/map_file.h"
#include "text/range_list.h"

#define SECONDS_A_CASE 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz-map: %s\n", what);
	abort();
}

static FILE *open_bytes(const uint8_t *data, size_t size)
{
	FILE *file = fmemopen((void *)data, size, "r");

	if (!file)
		fail("no memory");
	return file;
}

static int read_map(FILE *file, struct text_map *map, struct text_map_info *info)
{
	int r = text_map_read(file, map, info);

	if (r && r != -EINVAL && r != -E2BIG)
		fail("an error that is none of reading");
	if (r == -EINVAL && (!info->expected || !info->line))
		fail("a complaint without a place or a reason");
	fclose(file);
	return r;
}

static void check_pieces(const struct text_map *map)
{
	for (size_t i = 0; i < map->nr; i++) {
		const struct text_map_piece *p = &map->pieces[i];

		if (p->begin >= p->end || !strchr("?*/-+", p->status))
			fail("a piece that is none");
		if (i && (p->begin != p[-1].end || p->status == p[-1].status))
			fail("a gap, or two that are one");
	}
}

static bool are_same(const struct text_map *a, const struct text_map *b)
{
	if (a->nr != b->nr)
		return false;
	for (size_t i = 0; i < a->nr; i++)
		if (a->pieces[i].begin != b->pieces[i].begin || a->pieces[i].end != b->pieces[i].end ||
		    a->pieces[i].status != b->pieces[i].status)
			return false;
	return true;
}

/* A map as it is written, read again. */
static void check_written(const struct text_map *map, const struct text_map_info *info)
{
	static struct text_out out;
	struct text_map_info info2;
	struct text_map map2 = { 0 };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	text_out_init(&out, fd);
	text_map_write(&out, map, info, 0, '?');
	if (text_out_flush(&out) || lseek(fd, 0, SEEK_SET) || read_map(fdopen(fd, "r"), &map2, &info2))
		fail("what was written cannot be read");
	if (!are_same(map, &map2))
		fail("what was written is another map");
	if (memcmp(info2.notes, info->notes, sizeof(info->notes)) != 0) /* zeroes behind each */
		fail("what was written has other notes");
	text_map_destroy(&map2);
}

static void check_list(const uint8_t *data, size_t size, int r)
{
	FILE *file = open_bytes(data, size);
	struct text_range_list list;
	struct range_set set = { 0 };
	int e = text_range_list_read(file, 512, &set, &list);

	if (!r && (e || !list.is_map))
		fail("a map that is no list of ranges");
	fclose(file);
	range_set_destroy(&set);
}

static void run_case(const uint8_t *data, size_t size)
{
	struct text_map_info info;
	struct text_map map = { 0 };
	int r;

	if (!size)
		return;
	alarm(SECONDS_A_CASE);
	r = read_map(open_bytes(data, size), &map, &info);
	check_pieces(&map);
	if (!r)
		check_written(&map, &info);
	check_list(data, size, r);
	text_map_destroy(&map);
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
	"# bufio-copy: ", "#", "\n", "\r\n", "0x", "?", "*", "/", "-", "+", " ", "\t", "0", "18446744073709551615",
	"0xFFFFFFFFFFFFFFFF", "0x00000000  0x00001000  +\n", "0 ?\n", "0 0 +\n", "512 -1 +\n", "F", "G", "1",
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

/* One that is right. */
static void make_map(struct rng *r)
{
	uint64_t at = rng_below(r, 4) * 512, nr = rng_below(r, 30);
	char line[128];

	len = 0;
	for (uint64_t i = rng_below(r, 5); i; i--) {
		snprintf(line, sizeof(line), "# bufio-copy: note %" PRIu64 "\n", i);
		add(line);
	}
	add("0x00000000     ?               1\n");
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t size = rng_below(r, 8) * 512;

		snprintf(line, sizeof(line), "0x%08" PRIX64 "  0x%08" PRIX64 "  %c\n", at, size, "?*/-+"[rng_below(r, 5)]);
		add(line);
		at += size;
	}
}

static void make_case(struct rng *r, void *context)
{
	(void)context;
	make_map(r);
	for (uint64_t i = rng_below(r, 5); i; i--)
		len = mutate_text(text, len, MAX_BYTES, pieces, sizeof(pieces) / sizeof(*pieces), r);
	run_case(text, len);
}

int main(int argc, char **argv)
{
	if (argc == 3 && fuzz_loop(argv[1], argv[2], make_case, NULL))
		return 0;
	fputs("fuzz-map SEED COUNT|SECONDSs\n", stderr);
	return 99;
}

#endif
