// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fuzz target: packed pools, any bytes. Nothing may crash, hang, leak or read past anything; blocks that are given rise,
 * lie inside of the device, and are as many as is said in the end; and none is given that is not in a sound chunk.
 *
 * As LLVMFuzzerTestOneInput for libFuzzer (compile with -fsanitize=fuzzer -DLIBFUZZER), and as a program:
 *
 *	fuzz-pack SEED COUNT|SECONDSs FILE...
 *
 * takes damaged copies of the files, as fuzz_loop() has it: raw, or with all checksums made right again, also those of what
 * was compressed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/crc32c.h"
#include "fuzz_loop.h"
#include "ops/pack_disk.h"
#include "ops/pack_file.h"

#define MEMORY (UINT64_C(12) << 20)
#define SECONDS_A_CASE 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz-pack: %s\n", what);
	abort();
}

/* --- one case --- */

struct taken {
	uint64_t end, blocks, unreadable;
	unsigned sum; /* so that every byte is looked at */
};

static int take(void *context, uint64_t block, const void *data)
{
	struct taken *t = context;

	if (block < t->end || (block && !t->end))
		fail("blocks do not rise from 0 on");
	t->end = block + 1;
	if (!data) {
		t->unreadable++;
		return 0;
	}
	t->blocks++;
	for (unsigned i = 0; i < PD_BLOCK_SIZE; i++)
		t->sum += ((const uint8_t *)data)[i];
	return 0;
}

static bool is_known_error(int e)
{
	return e == -EINVAL || e == -EPROTONOSUPPORT || e == -E2BIG;
}

static void read_once(int fd, bool with_blocks, int *error, struct pack_totals *totals)
{
	struct taken t = { 0 };
	struct pack_reader_args args = { .fd = fd, .memory = MEMORY, .context = &t };
	struct pack_error e;
	struct pack_info info;

	args.block = with_blocks ? take : NULL;
	*error = pack_read(&args, &info, totals, &e);
	if (*error && !is_known_error(*error))
		fail("an error of the world");
	if (*error && *error != -E2BIG && !e.reason[0])
		fail("a refusal without a reason");
	if (*error || !with_blocks)
		return;
	if (t.blocks != totals->blocks || t.unreadable != totals->unreadable || t.end != totals->end)
		fail("other blocks were given than were counted");
	if (!t.end || totals->end > info.device_bytes / PD_BLOCK_SIZE)
		fail("blocks outside of the device");
}

/* Verified or used, it is the same file. */
static void run_case(const uint8_t *data, size_t size)
{
	struct pack_totals first = { 0 }, second = { 0 };
	int fd = memfd_create("fuzz", MFD_CLOEXEC), a, b;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		fail("memfd");
	alarm(SECONDS_A_CASE);
	read_once(fd, false, &a, &first);
	read_once(fd, true, &b, &second);
	if (a != b || first.end != second.end || first.csum != second.csum)
		fail("what was verified is not what was read");
	alarm(0);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run_case(data, size);
	return 0;
}

#ifndef LIBFUZZER

/* --- damage --- */

#define MAX_BYTES (4 << 20)
#define MAX_INSIDE (2 * PACK_MAX_CHUNK_BLOCKS * PD_BLOCK_SIZE)

static uint8_t file[MAX_BYTES];
static uint8_t inside[MAX_INSIDE], packed[MAX_BYTES];
static size_t len;

static uint64_t odd_number(struct rng *r)
{
	static const uint64_t numbers[] = {
		0, 1, 2, 15, 16, 17, 255, 256, 1023, 1024, 1025, 4095, 4096, 4097, 4161599, 4161600, INT32_MAX, UINT32_MAX - 1,
		UINT32_MAX, UINT64_C(1) << 32, INT64_MAX, UINT64_MAX - 1, UINT64_MAX,
	};
	uint64_t i = rng_below(r, sizeof(numbers) / sizeof(*numbers) + 2);

	return i < sizeof(numbers) / sizeof(*numbers) ? numbers[i] : rng_below(r, 5000);
}

/* A number of 4 or 8 bytes at a place that is a multiple of 4. */
static void change_number(uint8_t *at, size_t size, struct rng *r)
{
	unsigned bytes = rng_below(r, 2) && size >= 8 ? 8 : 4;

	if (size >= bytes)
		le_store(at + rng_below(r, (size - bytes) / 4 + 1) * 4, bytes, odd_number(r));
}

/* The chunk that begins at or behind @at, as far as headers can be followed. 0: there is none. */
static size_t next_chunk(size_t at, size_t *size)
{
	const struct pack_chunk_disk *c = (const void *)(file + at);

	if (at + sizeof(*c) > len || memcmp(c->magic, PACK_CHUNK_MAGIC, sizeof(c->magic)) != 0)
		return 0;
	*size = sizeof(*c) + le32_get(c->packed_bytes);
	return at + *size <= len ? at : 0;
}

static size_t some_chunk(struct rng *r, size_t *size)
{
	size_t at = 0, next = sizeof(struct pack_header_disk);
	uint64_t nr = rng_below(r, 6);

	do {
		at = next_chunk(next, size);
		next = at + *size;
	} while (at && nr--);
	return at;
}

/* What is inside of a chunk is changed, and compressed again. */
static void damage_inside(struct rng *r)
{
	size_t size, at = some_chunk(r, &size), n, m, extents;
	struct pack_chunk_disk *c = (struct pack_chunk_disk *)(file + at);

	if (!at)
		return;
	n = ZSTD_decompress(inside, MAX_INSIDE, c + 1, size - sizeof(*c));
	if (ZSTD_isError(n))
		return;
	extents = (size_t)le32_get(c->nr_extents) * sizeof(struct pack_extent_disk);
	extents = extents < n ? extents : n;
	change_number(inside + n - extents, extents, r);
	if (!rng_below(r, 4))
		n = rng_below(r, MAX_INSIDE / 64);
	m = ZSTD_compress(packed, sizeof(packed), inside, n, 1);
	if (ZSTD_isError(m) || len - size + sizeof(*c) + m > MAX_BYTES)
		return;
	c->packed_bytes = le32_put((uint32_t)m);
	c->csum_inside = le32_put(~crc32c_raw(UINT32_MAX, inside, n));
	memmove(file + at + sizeof(*c) + m, file + at + size, len - at - size);
	memcpy(c + 1, packed, m);
	len = len - size + sizeof(*c) + m;
}

/* A chunk once more, in another's place, or gone. */
static void damage_order(struct rng *r)
{
	size_t size = 0, at = some_chunk(r, &size), size2 = 0, to = some_chunk(r, &size2);

	if (!at || !to)
		return;
	if (!rng_below(r, 2)) {
		memmove(file + at, file + at + size, len - at - size);
		len -= size;
	} else if (len + size <= MAX_BYTES && size <= sizeof(packed)) {
		memcpy(packed, file + at, size);
		memmove(file + to + size, file + to, len - to);
		memcpy(file + to, packed, size);
		len += size;
	}
}

static void damage(struct rng *r)
{
	size_t size = 0, at;

	switch (rng_below(r, 7)) {
	case 0:
		if (len)
			file[rng_below(r, len)] ^= (uint8_t)(1 + rng_below(r, 255));
		break;
	case 1: change_number(file, len < 48 ? len : 48, r); break;
	case 2:
		at = some_chunk(r, &size);
		if (at)
			change_number(file + at, sizeof(struct pack_chunk_disk), r);
		break;
	case 3: damage_order(r); break;
	case 4:
		if (len > sizeof(struct pack_trailer_disk))
			change_number(file + len - sizeof(struct pack_trailer_disk), sizeof(struct pack_trailer_disk), r);
		break;
	case 5:
		if (!rng_below(r, 8))
			len = rng_below(r, len + 1);
		break;
	default: damage_inside(r);
	}
}

static void seal(uint8_t *at, size_t csum)
{
	le_store(at + csum, 4, (uint32_t)~crc32c_raw(UINT32_MAX, at, csum));
}

static void reseal(bool renumber)
{
	struct pack_trailer_disk *t = (struct pack_trailer_disk *)(file + len - sizeof(*t));
	size_t at = sizeof(struct pack_header_disk), size;
	uint64_t nr = 0;
	uint32_t all;

	if (len < at + sizeof(*t))
		return;
	seal(file, offsetof(struct pack_header_disk, csum));
	all = crc32c_raw(UINT32_MAX, file, at);
	for (; next_chunk(at, &size); at += size) {
		struct pack_chunk_disk *c = (struct pack_chunk_disk *)(file + at);

		if (renumber)
			c->number = le64_put(nr++);
		c->packed_csum = le32_put(~crc32c_raw(UINT32_MAX, c + 1, size - sizeof(*c)));
		seal(file + at, offsetof(struct pack_chunk_disk, csum));
		all = crc32c_raw(all, c, sizeof(*c));
	}
	t->headers_csum = le32_put(~all);
	if (renumber)
		t->nr_chunks = le64_put(nr);
	seal((uint8_t *)t, offsetof(struct pack_trailer_disk, csum));
}

static void load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, file, MAX_BYTES);

	if (n < 0) {
		perror(path);
		exit(99);
	}
	len = (size_t)n;
	close(fd);
}

struct files {
	char **names;
	uint64_t nr;
};

static void make_case(struct rng *r, void *context)
{
	const struct files *files = context;

	load(files->names[rng_below(r, files->nr)]);
	for (uint64_t i = 1 + rng_below(r, 3); i; i--)
		damage(r);
	if (rng_below(r, 4))
		reseal(rng_below(r, 2));
	run_case(file, len);
}

int main(int argc, char **argv)
{
	struct files files = { argv + 3, (uint64_t)argc - 3 };

	if (argc > 3 && fuzz_loop(argv[1], argv[2], make_case, &files))
		return 0;
	fputs("fuzz-pack SEED COUNT|SECONDSs FILE...\n", stderr);
	return 99;
}

#endif
