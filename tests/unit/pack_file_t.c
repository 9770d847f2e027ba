// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/crc32c.h"
#include "ops/pack_disk.h"
#include "ops/pack_file.h"
#include "unit.h"

#define MEMORY (UINT64_C(16) << 20)
#define MAX_FILE (1 << 20)
#define MAX_BLOCKS 4096

static const struct pack_info small = {
	.device_bytes = MAX_BLOCKS * PD_BLOCK_SIZE + 512, .transaction = 77, .is_damaged = true, .chunk_blocks = 16,
};

/* The file under test, in memory. */
static uint8_t file[MAX_FILE];
static size_t size;

/* What reading gave. */
static struct {
	struct pack_info info;
	struct pack_totals totals;
	struct pack_error error;
	uint64_t nr, unreadable, blocks[MAX_BLOCKS];
	bool is_wrong; /* a block does not have the contents that it was packed with */
	int stop_at, stop_with;
} got;

/* Every block has contents of its own. */
static void fill(uint64_t block, uint8_t *data)
{
	for (unsigned i = 0; i < PD_BLOCK_SIZE; i++)
		data[i] = (uint8_t)(i < 64 ? block * 31 + i * 7 : i % 8 ? 0 : block >> i % 5);
}

/* --- writing --- */

static struct pack_writer *writer;
static int fd;

static void begin(const struct pack_info *info)
{
	fd = memfd_create("packed", MFD_CLOEXEC);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL_FATAL(pack_writer_create(fd, info, &writer), 0);
}

static void add(uint64_t from, uint64_t nr)
{
	uint8_t data[PD_BLOCK_SIZE];

	for (; nr; nr--) {
		fill(from, data);
		CU_ASSERT_EQUAL(pack_write(writer, from++, data), 0);
	}
}

static struct pack_totals end(void)
{
	struct pack_totals totals;

	CU_ASSERT_EQUAL_FATAL(pack_writer_finish(writer, &totals), 0);
	pack_writer_destroy(writer);
	size = (size_t)pread(fd, file, MAX_FILE, 0);
	CU_ASSERT_EQUAL_FATAL(size, totals.bytes);
	close(fd);
	return totals;
}

/* Four chunks. */
static void write_some(void)
{
	begin(&small);
	add(0, 20);
	add(100, 30);
	pack_write(writer, 130, NULL);
	pack_write(writer, 131, NULL);
	add(132, 10);
	end();
}

/* --- reading --- */

static int take(void *context, uint64_t block, const void *data)
{
	uint8_t expected[PD_BLOCK_SIZE];

	(void)context;
	fill(block, expected);
	if (data && memcmp(data, expected, sizeof(expected)) != 0)
		got.is_wrong = true;
	got.unreadable += !data;
	if (got.nr < MAX_BLOCKS)
		got.blocks[got.nr] = block;
	got.nr++;
	return got.stop_with && got.nr == (uint64_t)got.stop_at ? got.stop_with : 0;
}

static int read_in(uint64_t memory)
{
	struct pack_reader_args args = { .memory = memory, .block = take };
	int e;

	args.fd = memfd_create("packed", MFD_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(write(args.fd, file, size), (ssize_t)size);
	got.nr = got.unreadable = 0;
	got.is_wrong = false;
	got.info.transaction = got.totals.bytes = 1;
	e = pack_read(&args, &got.info, &got.totals, &got.error);
	close(args.fd);
	CU_ASSERT_EQUAL(!got.error.reason[0], e != -EINVAL && e != -EPROTONOSUPPORT);
	return e;
}

static int reread(void)
{
	return read_in(MEMORY);
}

static void is_refused(void)
{
	CU_ASSERT_EQUAL(reread(), -EINVAL);
	CU_ASSERT_EQUAL(got.info.transaction, 1);
	CU_ASSERT_EQUAL(got.totals.bytes, 1);
}

/* --- what was packed comes back --- */

static void round_trip(void)
{
	write_some();
	CU_ASSERT_EQUAL(reread(), 0);
	CU_ASSERT_EQUAL(got.nr, 62);
	CU_ASSERT_EQUAL(got.unreadable, 2);
	CU_ASSERT_FALSE(got.is_wrong);
	for (unsigned i = 0; i < 62; i++)
		CU_ASSERT_EQUAL(got.blocks[i], i < 20 ? i : i + 80);
	CU_ASSERT_EQUAL(got.totals.blocks, 60);
	CU_ASSERT_EQUAL(got.totals.unreadable, 2);
	CU_ASSERT_EQUAL(got.totals.end, 142);
	CU_ASSERT_EQUAL(got.totals.bytes, size);
	CU_ASSERT_EQUAL(memcmp(&got.info, &small, sizeof(small)), 0);
}

static void totals_of_writer(void)
{
	struct pack_totals t;

	begin(&small);
	add(0, 3);
	pack_write(writer, 9, NULL);
	t = end();
	CU_ASSERT_EQUAL(t.blocks, 3);
	CU_ASSERT_EQUAL(t.unreadable, 1);
	CU_ASSERT_EQUAL(t.end, 10);
}

static void scattered(void)
{
	begin(&small);
	for (uint64_t i = 0; i < 40; i++)
		add(2 * i, 1);
	for (uint64_t i = 0; i < 40; i++)
		pack_write(writer, 200 + 2 * i, NULL);
	end();
	CU_ASSERT_EQUAL(reread(), 0);
	CU_ASSERT_EQUAL(got.nr, 80);
	CU_ASSERT_EQUAL(got.unreadable, 40);
	CU_ASSERT_EQUAL(got.blocks[79], 278);
}

static void only_verified(void)
{
	struct pack_reader_args args = { .memory = MEMORY };

	write_some();
	args.fd = memfd_create("packed", MFD_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(write(args.fd, file, size), (ssize_t)size);
	CU_ASSERT_EQUAL(pack_read(&args, &got.info, &got.totals, &got.error), 0);
	CU_ASSERT_EQUAL(got.totals.end, 142);
	close(args.fd);
}

static void largest(void)
{
	struct pack_info info = small;

	info.chunk_blocks = PACK_MAX_CHUNK_BLOCKS;
	begin(&info);
	add(0, 2 * PACK_MAX_CHUNK_BLOCKS + 1);
	end();
	CU_ASSERT_EQUAL(read_in(pack_reader_bytes(PACK_MAX_CHUNK_BLOCKS)), 0);
	CU_ASSERT_EQUAL(got.nr, 2 * PACK_MAX_CHUNK_BLOCKS + 1);
	CU_ASSERT_FALSE(got.is_wrong);
}

static void callers_error(void)
{
	write_some();
	got.stop_at = 25;
	got.stop_with = -ENOSPC;
	CU_ASSERT_EQUAL(reread(), -ENOSPC);
	CU_ASSERT_EQUAL(got.nr, 25);
	got.stop_with = 0;
}

/* Incompressible blocks, so that there is something to be written early. */
static void full_output(void)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), r;
	struct pack_writer *w;

	if (full < 0)
		return;
	r = pack_writer_create(full, &small, &w);
	CU_ASSERT_EQUAL(r, -ENOSPC);
	pack_writer_destroy(w);
	close(full);
}

/* --- damage --- */

static void every_byte(void)
{
	static const uint8_t flips[] = { 1, 0x80, 0xFF };

	write_some();
	for (size_t i = 0; i < size; i++)
		for (unsigned f = 0; f < sizeof(flips); f++) {
			file[i] ^= flips[f];
			is_refused();
			file[i] ^= flips[f];
		}
	CU_ASSERT_EQUAL(reread(), 0);
}

static void every_length(void)
{
	size_t whole;

	write_some();
	for (whole = size, size = 0; size < whole; size++)
		is_refused();
	CU_ASSERT_EQUAL(reread(), 0);
	file[size++] = 0;
	is_refused();
}

/* Where chunk @n begins; that behind the last is the trailer. */
static size_t chunk_at(unsigned n)
{
	size_t at = sizeof(struct pack_header_disk);

	while (n--)
		at += sizeof(struct pack_chunk_disk) + le32_get(((struct pack_chunk_disk *)(file + at))->packed_bytes);
	return at;
}

static void swapped_chunks(void)
{
	static uint8_t other[MAX_FILE];
	size_t a, b, c, d;

	write_some();
	a = chunk_at(1), b = chunk_at(2), c = chunk_at(3), d = chunk_at(4);
	CU_ASSERT_TRUE(a < b && b < c && c < d && d == size - sizeof(struct pack_trailer_disk));
	memcpy(other, file + b, c - b);
	memcpy(other + (c - b), file + a, b - a);
	memcpy(file + a, other, c - a);
	is_refused();
	CU_ASSERT_STRING_EQUAL(got.error.reason, "chunk 2 stands where 1 belongs");
	CU_ASSERT_EQUAL(got.error.offset, a);
}

static void missing_chunks(void)
{
	size_t at;

	for (unsigned n = 0; n < 4; n++) {
		write_some();
		at = chunk_at(n + 1);
		memmove(file + chunk_at(n), file + at, size - at);
		size -= at - chunk_at(n);
		is_refused();
	}
}

/* Those of another file, which are as good in themselves. */
static void foreign_chunk(void)
{
	static uint8_t first[MAX_FILE];
	size_t from, to;

	write_some();
	from = chunk_at(3), to = chunk_at(4);
	memcpy(first, file, size);
	begin(&small);
	add(0, 20);
	add(100, 30);
	add(1000, 12);
	end();
	memmove(file + chunk_at(3) + (to - from), file + chunk_at(4), size - chunk_at(4));
	size = size - chunk_at(4) + chunk_at(3) + (to - from);
	memcpy(file + chunk_at(3), first + from, to - from);
	is_refused();
}

/* --- hostile: every checksum is right --- */

static uint32_t csum(const void *data, size_t n)
{
	return ~crc32c_raw(UINT32_MAX, data, n);
}

static struct pack_header_disk *header(void)
{
	return (struct pack_header_disk *)file;
}

/* All checksums of headers, after one of them was changed. */
static void reseal(void)
{
	struct pack_trailer_disk *t = (struct pack_trailer_disk *)(file + size - sizeof(*t));
	struct pack_chunk_disk *c;
	uint32_t all;

	header()->csum = le32_put(csum(file, offsetof(struct pack_header_disk, csum)));
	all = crc32c_raw(UINT32_MAX, file, sizeof(*header()));
	for (size_t at = sizeof(*header()); at < size - sizeof(*t); at += sizeof(*c) + le32_get(c->packed_bytes)) {
		c = (struct pack_chunk_disk *)(file + at);
		c->packed_csum = le32_put(csum(c + 1, le32_get(c->packed_bytes)));
		c->csum = le32_put(csum(c, offsetof(struct pack_chunk_disk, csum)));
		all = crc32c_raw(all, c, sizeof(*c));
	}
	t->headers_csum = le32_put(~all);
	t->csum = le32_put(csum(t, offsetof(struct pack_trailer_disk, csum)));
}

static void resealed_is_good(void)
{
	write_some();
	header()->transaction = le64_put(78);
	reseal();
	CU_ASSERT_EQUAL(reread(), 0);
	CU_ASSERT_EQUAL(got.info.transaction, 78);
}

static void header_fields(void)
{
	static const struct {
		size_t offset;
		unsigned bytes;
		uint64_t value;
		int error;
	} rows[] = {
#define ROW(field, value, error) { offsetof(struct pack_header_disk, field), sizeof(header()->field), value, error }
		ROW(version, 0, -EPROTONOSUPPORT), ROW(version, 2, -EPROTONOSUPPORT), ROW(flags, 4, -EPROTONOSUPPORT),
		ROW(block_size, 512, -EPROTONOSUPPORT), ROW(reserved, 1, -EPROTONOSUPPORT),
		ROW(chunk_blocks, 0, -EINVAL), ROW(chunk_blocks, PACK_MAX_CHUNK_BLOCKS + 1, -EINVAL),
		ROW(chunk_blocks, UINT32_MAX, -EINVAL), ROW(chunk_blocks, 15, -EINVAL),
		ROW(device_bytes, 0, -EINVAL), ROW(device_bytes, PD_BLOCK_SIZE - 1, -EINVAL),
		ROW(device_bytes, UINT64_MAX, -EINVAL), ROW(device_bytes, 141 * PD_BLOCK_SIZE, -EINVAL),
		ROW(device_bytes, 142 * PD_BLOCK_SIZE, 0), ROW(device_bytes, INT64_MAX, 0),
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		write_some();
		le_store(file + rows[i].offset, rows[i].bytes, rows[i].value);
		reseal();
		CU_ASSERT_EQUAL(reread(), rows[i].error);
	}
}

static void chunk_fields(void)
{
	static const struct {
		size_t offset;
		uint64_t value;
	} rows[] = {
#define CHUNK(field, value) { offsetof(struct pack_chunk_disk, field), value }
		CHUNK(nr_blocks, 0), CHUNK(nr_blocks, 15), CHUNK(nr_blocks, 17), CHUNK(nr_blocks, UINT32_MAX),
		CHUNK(nr_extents, 0), CHUNK(nr_extents, 2), CHUNK(nr_extents, 17), CHUNK(nr_extents, UINT32_MAX),
		CHUNK(reserved, 1), CHUNK(number, 1), CHUNK(csum_inside, 1),
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		write_some();
		le_store(file + chunk_at(0) + rows[i].offset, 4, rows[i].value);
		reseal();
		CU_ASSERT_EQUAL(reread(), -EINVAL);
		CU_ASSERT_EQUAL(got.nr, 0);
	}
	/* That length comes first, so that nothing behind it can be sealed. */
	write_some();
	((struct pack_chunk_disk *)(file + chunk_at(0)))->packed_bytes = le32_put(UINT32_MAX);
	((struct pack_chunk_disk *)(file + chunk_at(0)))->csum =
		le32_put(csum(file + chunk_at(0), offsetof(struct pack_chunk_disk, csum)));
	is_refused();
}

/* A file of chunks, behind the header that is there. */
static struct pack_trailer_disk made;

static void begin_made(void)
{
	made = (struct pack_trailer_disk){ .magic = PACK_TRAILER_MAGIC };
	size = sizeof(*header());
}

/* One of @nr_blocks, with these extents; it unpacks to @extra bytes more than it should. */
static void add_made(unsigned nr_blocks, const struct pack_extent_disk *extents, unsigned nr_extents, size_t extra)
{
	static uint8_t inside[40 * PD_BLOCK_SIZE];
	size_t data = (size_t)nr_blocks * PD_BLOCK_SIZE, all = data + nr_extents * sizeof(*extents), packed;
	struct pack_chunk_disk c = {
		.magic = PACK_CHUNK_MAGIC, .nr_blocks = le32_put(nr_blocks), .nr_extents = le32_put(nr_extents),
		.number = made.nr_chunks,
	};

	for (unsigned i = 0; i < nr_extents; i++) {
		le64 *sum = le32_get(extents[i].flags) & PACK_UNREADABLE ? &made.nr_unreadable : &made.nr_blocks;

		*sum = le64_put(le64_get(*sum) + le32_get(extents[i].nr));
	}
	memset(inside, 0, sizeof(inside));
	memcpy(inside + data, extents, nr_extents * sizeof(*extents));
	packed = ZSTD_compress(file + size + sizeof(c), MAX_FILE / 2, inside, all + extra, 1);
	c.packed_bytes = le32_put((uint32_t)packed);
	c.csum_inside = le32_put(csum(inside, all));
	memcpy(file + size, &c, sizeof(c));
	size += sizeof(c) + packed;
	made.nr_chunks = le64_put(le64_get(made.nr_chunks) + 1);
}

static void end_made(void)
{
	memcpy(file + size, &made, sizeof(made));
	size += sizeof(made);
	reseal();
}

#define EXTENT(block, nr, flags) { le64_put(block), le32_put(nr), le32_put(flags) }

static int read_made(unsigned nr_blocks, const struct pack_extent_disk *extents, unsigned nr_extents, size_t extra)
{
	write_some(); /* for the header */
	begin_made();
	add_made(nr_blocks, extents, nr_extents, extra);
	end_made();
	return reread();
}

#define MADE(nr_blocks, ...) \
	read_made(nr_blocks, (const struct pack_extent_disk[]){ __VA_ARGS__ }, \
		  sizeof((const struct pack_extent_disk[]){ __VA_ARGS__ }) / sizeof(struct pack_extent_disk), 0)

static void extents(void)
{
	CU_ASSERT_EQUAL(MADE(3, EXTENT(0, 1, 0), EXTENT(5, 2, 0)), 0);
	CU_ASSERT_EQUAL(MADE(1, EXTENT(0, 1, 0), EXTENT(MAX_BLOCKS - 1, 1, 1)), 0);
	CU_ASSERT_EQUAL(MADE(0, EXTENT(0, MAX_BLOCKS, 1)), 0);
	CU_ASSERT_EQUAL(got.unreadable, MAX_BLOCKS);
	CU_ASSERT_EQUAL(MADE(3, EXTENT(0, 1, 0), EXTENT(5, 1, 0)), -EINVAL);
	CU_ASSERT_EQUAL(MADE(1, EXTENT(0, 1, 0), EXTENT(5, 1, 0)), -EINVAL);
	CU_ASSERT_EQUAL(MADE(2, EXTENT(0, 1, 0), EXTENT(0, 1, 0)), -EINVAL);
	CU_ASSERT_EQUAL(MADE(4, EXTENT(0, 1, 0), EXTENT(9, 2, 0), EXTENT(8, 1, 0)), -EINVAL);
	CU_ASSERT_EQUAL(MADE(1, EXTENT(1, 1, 0)), -EINVAL);
	CU_ASSERT_EQUAL(MADE(1, EXTENT(0, 1, 0), EXTENT(5, 0, 0)), -EINVAL);
	CU_ASSERT_EQUAL(MADE(1, EXTENT(0, 1, 2)), -EINVAL);
	CU_ASSERT_EQUAL(MADE(2, EXTENT(0, 1, 0), EXTENT(MAX_BLOCKS, 1, 0)), -EINVAL);
	CU_ASSERT_EQUAL(MADE(2, EXTENT(0, 1, 0), EXTENT(UINT64_MAX, 1, 0)), -EINVAL);
	CU_ASSERT_EQUAL(MADE(1, EXTENT(0, 1, 0), EXTENT(9, UINT32_MAX, 1)), -EINVAL);
	CU_ASSERT_EQUAL(MADE(0, EXTENT(0, UINT32_MAX, 0)), -EINVAL);
	CU_ASSERT_EQUAL(got.nr, 0);
}

static void unpacked_size(void)
{
	const struct pack_extent_disk two = EXTENT(0, 2, 0);

	CU_ASSERT_EQUAL(read_made(2, &two, 1, 0), 0);
	CU_ASSERT_EQUAL(read_made(2, &two, 1, 1), -EINVAL);
	CU_ASSERT_EQUAL(read_made(2, &two, 1, 30 * PD_BLOCK_SIZE), -EINVAL);
	CU_ASSERT_EQUAL(read_made(2, &two, 1, (size_t)-16), -EINVAL);
	CU_ASSERT_EQUAL(got.nr, 0);
}

/* What is missing of the second chunk would be there from the first one. */
static void unpacked_short(void)
{
	const struct pack_extent_disk first = EXTENT(0, 1, 0), second = EXTENT(5, 1, 0);

	for (size_t missing = 0; missing <= sizeof(le32); missing++) {
		write_some();
		begin_made();
		add_made(1, &first, 1, 0);
		add_made(1, &second, 1, -missing);
		end_made();
		CU_ASSERT_EQUAL(reread(), missing ? -EINVAL : 0);
	}
}

static void nothing_in_it(void)
{
	struct pack_trailer_disk t = { .magic = PACK_TRAILER_MAGIC };

	write_some();
	size = sizeof(struct pack_header_disk) + sizeof(t);
	memcpy(file + sizeof(struct pack_header_disk), &t, sizeof(t));
	reseal();
	is_refused();
}

static void trailer_fields(void)
{
	static const size_t offsets[] = {
		offsetof(struct pack_trailer_disk, nr_chunks), offsetof(struct pack_trailer_disk, nr_blocks),
		offsetof(struct pack_trailer_disk, nr_unreadable), offsetof(struct pack_trailer_disk, reserved),
	};

	for (unsigned i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		write_some();
		file[size - sizeof(struct pack_trailer_disk) + offsets[i]]++;
		reseal();
		is_refused();
	}
}

/* --- memory --- */

static void memory_of_reader(void)
{
	write_some();
	CU_ASSERT_EQUAL(read_in(pack_reader_bytes(16)), 0);
	CU_ASSERT_EQUAL(read_in(pack_reader_bytes(16) - 1), -E2BIG);
	CU_ASSERT_EQUAL(got.error.needed, pack_reader_bytes(16));
	CU_ASSERT_EQUAL(got.nr, 0);
}

static void memory_of_writer(void)
{
	CU_ASSERT_EQUAL(pack_chunk_blocks(0), 0);
	CU_ASSERT_EQUAL(pack_chunk_blocks(pack_writer_bytes(64)), 64);
	CU_ASSERT_EQUAL(pack_chunk_blocks(pack_writer_bytes(64) - 1), 32);
	CU_ASSERT_EQUAL(pack_chunk_blocks(UINT64_MAX), PACK_MAX_CHUNK_BLOCKS);
}

/* What zstd has for itself is in the figures. */
static void memory_of_zstd(void)
{
	size_t chunk = PACK_MAX_CHUNK_BLOCKS * (PD_BLOCK_SIZE + sizeof(struct pack_extent_disk));
	size_t room = ZSTD_compressBound(chunk), n;
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_DCtx *d = ZSTD_createDCtx();
	uint8_t *data = malloc(chunk), *packed = malloc(room);

	CU_ASSERT_TRUE_FATAL(c && d && data && packed);
	for (size_t i = 0; i < chunk; i++)
		data[i] = (uint8_t)(i * i >> 9);
	n = ZSTD_compressCCtx(c, packed, room, data, chunk, ZSTD_CLEVEL_DEFAULT);
	CU_ASSERT_EQUAL(ZSTD_decompressDCtx(d, data, chunk, packed, n), chunk);
	CU_ASSERT_TRUE(chunk + room + ZSTD_sizeof_CCtx(c) <= pack_writer_bytes(PACK_MAX_CHUNK_BLOCKS));
	CU_ASSERT_TRUE(chunk + room + ZSTD_sizeof_DCtx(d) <= pack_reader_bytes(PACK_MAX_CHUNK_BLOCKS));
	ZSTD_freeCCtx(c);
	ZSTD_freeDCtx(d);
	free(data);
	free(packed);
}

static void is_packed(void)
{
	write_some();
	CU_ASSERT_TRUE(pack_is_packed(file, size));
	CU_ASSERT_FALSE(pack_is_packed(file, 7));
	file[7]++;
	CU_ASSERT_FALSE(pack_is_packed(file, size));
}

static const struct unit_case cases[] = {
	{ "what was packed comes back, in its order", round_trip },
	{ "the writer says what the reader will", totals_of_writer },
	{ "blocks may lie alone, one by one", scattered },
	{ "a file can be verified without taking its blocks", only_verified },
	{ "chunks of the largest size fit the memory that is said", largest },
	{ "what the taker of blocks returns ends the reading", callers_error },
	{ "an output that is full is told", full_output },
	{ "any one damaged byte is seen", every_byte },
	{ "a file that is cut off, anywhere, or too long, is seen", every_length },
	{ "chunks in another order are seen", swapped_chunks },
	{ "a chunk that is missing is seen", missing_chunks },
	{ "a chunk of another file is seen", foreign_chunk },
	{ "resealing as the cases below do makes a good file", resealed_is_good },
	{ "impossible fields of the header are refused, later versions told apart", header_fields },
	{ "impossible fields of a chunk are refused, and none of its blocks is given", chunk_fields },
	{ "extents rise, lie inside of the device, and agree with the blocks", extents },
	{ "what unpacks to more or less than was said is refused", unpacked_size },
	{ "what unpacks to less is not made up from what was there before", unpacked_short },
	{ "a file without blocks is refused", nothing_in_it },
	{ "a trailer with wrong counts is refused", trailer_fields },
	{ "the reader takes no more memory than it may", memory_of_reader },
	{ "chunks are as large as memory allows", memory_of_writer },
	{ "zstd's own memory is counted", memory_of_zstd },
	{ "packed pools are known by their first bytes", is_packed },
	{ NULL, NULL },
};

const struct unit_suite pack_file_suite = { "pack_file", cases };
