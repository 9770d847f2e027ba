// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading is distrusting: a number is used when its checksum is right and its bounds were looked at, and a chunk when all
 * of it was. The checksums are against accidents; what keeps a hostile file in bounds is the bounds.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "ops/pack_int.h"

/* Bytes of zstd's own; a unit test compares. */
#define CONTEXT_BYTES (UINT64_C(256) << 10)

struct reader {
	const struct pack_reader_args *args;
	struct pack_error *e;
	struct pack_info info;
	struct pack_totals totals;
	ZSTD_DCtx *zstd;
	uint8_t *chunk, *packed;
	size_t packed_room;
	uint64_t device_blocks;
	uint64_t nr_chunks;
	uint32_t headers_csum; /* so far, not inverted */
};

uint64_t pack_reader_bytes(unsigned chunk_blocks)
{
	size_t chunk = pack_chunk_bytes(chunk_blocks);

	return chunk + ZSTD_compressBound(chunk) + CONTEXT_BYTES;
}

__attribute__((format(printf, 3, 4))) static int refuse(struct reader *r, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->e->reason, sizeof(r->e->reason), format, args);
	va_end(args);
	r->e->offset = r->totals.bytes;
	return error;
}

/* --- bytes --- */

/* Up to @size bytes; fewer only at the end of the file. */
static ssize_t read_some(struct reader *r, void *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(r->args->fd, (char *)data + done, size - done, (off_t)(r->totals.bytes + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int read_all(struct reader *r, void *data, size_t size)
{
	ssize_t n = read_some(r, data, size);

	if (n < 0)
		return (int)n;
	return (size_t)n == size ? 0 : refuse(r, -EINVAL, "is cut off");
}

/* --- the header --- */

bool pack_is_packed(const void *data, size_t size)
{
	return size >= 8 && !memcmp(data, PACK_MAGIC, 8);
}

static int take_header(struct reader *r, const struct pack_header_disk *h)
{
	uint32_t flags = le32_get(h->flags);

	r->info = (struct pack_info){
		.device_bytes = le64_get(h->device_bytes),
		.transaction = le64_get(h->transaction),
		.is_damaged = flags & PACK_DAMAGED,
		.by_contents = flags & PACK_BY_CONTENTS,
		.chunk_blocks = le32_get(h->chunk_blocks),
	};
	r->device_blocks = r->info.device_bytes / PD_BLOCK_SIZE;
	if (r->device_blocks > PD_MAX_METADATA_BLOCKS)
		r->device_blocks = PD_MAX_METADATA_BLOCKS;
	if (flags & ~PACK_FLAGS || le32_get(h->reserved) || le32_get(h->block_size) != PD_BLOCK_SIZE)
		return refuse(r, -EPROTONOSUPPORT, "has something in its header that this version does not know");
	if (!r->device_blocks || r->info.device_bytes > INT64_MAX)
		return refuse(r, -EINVAL, "says that the original had %" PRIu64 " bytes", r->info.device_bytes);
	if (!r->info.chunk_blocks || r->info.chunk_blocks > PACK_MAX_CHUNK_BLOCKS)
		return refuse(r, -EINVAL, "says that chunks have %u blocks", r->info.chunk_blocks);
	return 0;
}

static int read_header(struct reader *r)
{
	struct pack_header_disk h;
	ssize_t n = read_some(r, &h, sizeof(h));
	int e;

	if (n < 0)
		return (int)n;
	if (!pack_is_packed(&h, (size_t)n))
		return refuse(r, -EINVAL, "is not what bufio-copy --pack writes");
	if ((size_t)n < sizeof(h))
		return refuse(r, -EINVAL, "is cut off");
	if (le32_get(h.csum) != pack_csum(&h, offsetof(struct pack_header_disk, csum)))
		return refuse(r, -EINVAL, "the checksum of its header is wrong");
	if (le32_get(h.version) != PACK_VERSION)
		return refuse(r, -EPROTONOSUPPORT, "is of version %u, and this version of the program knows %u",
			      le32_get(h.version), PACK_VERSION);
	e = take_header(r, &h);
	r->headers_csum = crc32c_raw(UINT32_MAX, &h, sizeof(h));
	r->totals.bytes += sizeof(h);
	return e;
}

static int get_memory(struct reader *r)
{
	size_t chunk = pack_chunk_bytes(r->info.chunk_blocks);

	r->e->needed = pack_reader_bytes(r->info.chunk_blocks);
	if (r->e->needed > r->args->memory)
		return -E2BIG;
	r->packed_room = ZSTD_compressBound(chunk);
	r->zstd = ZSTD_createDCtx();
	r->chunk = malloc(chunk);
	r->packed = malloc(r->packed_room);
	return r->zstd && r->chunk && r->packed ? 0 : -ENOMEM;
}

/* --- a chunk --- */

static int judge_chunk(struct reader *r, const struct pack_chunk_disk *h)
{
	uint32_t blocks = le32_get(h->nr_blocks), extents = le32_get(h->nr_extents), packed = le32_get(h->packed_bytes);

	if (memcmp(h->magic, PACK_CHUNK_MAGIC, sizeof(h->magic)) != 0)
		return refuse(r, -EINVAL, "there is no chunk where one belongs");
	if (le32_get(h->csum) != pack_csum(h, offsetof(struct pack_chunk_disk, csum)))
		return refuse(r, -EINVAL, "the checksum of a chunk's header is wrong");
	if (le64_get(h->number) != r->nr_chunks)
		return refuse(r, -EINVAL, "chunk %" PRIu64 " stands where %" PRIu64 " belongs", le64_get(h->number),
			      r->nr_chunks);
	if (blocks > r->info.chunk_blocks || !extents || extents > r->info.chunk_blocks || !packed ||
	    packed > r->packed_room || le32_get(h->reserved))
		return refuse(r, -EINVAL, "chunk %" PRIu64 " has impossible sizes", r->nr_chunks);
	return 0;
}

static int unpack(struct reader *r, const struct pack_chunk_disk *h)
{
	size_t packed = le32_get(h->packed_bytes);
	size_t all = (size_t)le32_get(h->nr_blocks) * PD_BLOCK_SIZE +
		     le32_get(h->nr_extents) * sizeof(struct pack_extent_disk);
	size_t n;
	int e = read_all(r, r->packed, packed);

	if (e)
		return e;
	if (pack_csum(r->packed, packed) != le32_get(h->packed_csum))
		return refuse(r, -EINVAL, "the checksum of chunk %" PRIu64 " is wrong", r->nr_chunks);
	n = ZSTD_decompressDCtx(r->zstd, r->chunk, all, r->packed, packed);
	if (ZSTD_isError(n) || n != all || pack_csum(r->chunk, all) != le32_get(h->csum_inside))
		return refuse(r, -EINVAL, "chunk %" PRIu64 " does not unpack to what was packed", r->nr_chunks);
	return 0;
}

/* Before any of its blocks is used: extents rise, lie inside of the device, and have as many blocks as there are. */
static int judge_extents(struct reader *r, const struct pack_extent_disk *extents, unsigned nr, unsigned nr_blocks)
{
	uint64_t end = r->totals.end, blocks = 0;

	for (unsigned i = 0; i < nr; i++) {
		uint64_t block = le64_get(extents[i].block), n = le32_get(extents[i].nr);
		uint32_t flags = le32_get(extents[i].flags);

		if (block < end || !n || block >= r->device_blocks || n > r->device_blocks - block ||
		    flags & ~PACK_UNREADABLE || (block && !end))
			return refuse(r, -EINVAL, "chunk %" PRIu64 " has blocks that cannot be in it", r->nr_chunks);
		end = block + n;
		blocks += flags & PACK_UNREADABLE ? 0 : n;
	}
	if (blocks != nr_blocks)
		return refuse(r, -EINVAL, "chunk %" PRIu64 " has %u blocks, and says that it has %" PRIu64, r->nr_chunks,
			      nr_blocks, blocks);
	return 0;
}

static int give_extent(struct reader *r, const struct pack_extent_disk *x, const uint8_t **data)
{
	uint64_t block = le64_get(x->block), nr = le32_get(x->nr);
	bool has_data = !(le32_get(x->flags) & PACK_UNREADABLE);
	uint8_t turned_back[PD_BLOCK_SIZE];
	int e = 0;

	r->totals.end = block + nr;
	if (has_data)
		r->totals.blocks += nr;
	else
		r->totals.unreadable += nr;
	for (uint64_t i = 0; r->args->block && i < nr && !e; i++) {
		if (has_data)
			pack_turn_back(*data + i * PD_BLOCK_SIZE, turned_back);
		e = r->args->block(r->args->context, block + i, has_data ? turned_back : NULL);
	}
	*data += has_data ? nr * PD_BLOCK_SIZE : 0;
	return e;
}

static int read_chunk(struct reader *r, const struct pack_chunk_disk *h)
{
	unsigned nr_blocks = le32_get(h->nr_blocks), nr = le32_get(h->nr_extents);
	const uint8_t *data = r->chunk;
	const struct pack_extent_disk *extents;
	int e = judge_chunk(r, h);

	if (e)
		return e;
	r->headers_csum = crc32c_raw(r->headers_csum, h, sizeof(*h));
	r->totals.bytes += sizeof(*h);
	e = unpack(r, h);
	extents = (const struct pack_extent_disk *)(r->chunk + (size_t)nr_blocks * PD_BLOCK_SIZE);
	if (!e)
		e = judge_extents(r, extents, nr, nr_blocks);
	for (unsigned i = 0; i < nr && !e; i++)
		e = give_extent(r, extents + i, &data);
	r->totals.bytes += le32_get(h->packed_bytes);
	r->nr_chunks++;
	if (r->args->progress)
		*r->args->progress += nr_blocks;
	return e;
}

/* --- the end --- */

static int judge_trailer(struct reader *r, const struct pack_trailer_disk *t)
{
	char more;
	ssize_t n;

	if (le32_get(t->csum) != pack_csum(t, offsetof(struct pack_trailer_disk, csum)))
		return refuse(r, -EINVAL, "the checksum of its trailer is wrong");
	r->totals.csum = ~r->headers_csum;
	if (le32_get(t->headers_csum) != r->totals.csum || le64_get(t->nr_chunks) != r->nr_chunks ||
	    le64_get(t->nr_blocks) != r->totals.blocks || le64_get(t->nr_unreadable) != r->totals.unreadable ||
	    le32_get(t->reserved) || !r->nr_chunks)
		return refuse(r, -EINVAL, "its trailer belongs to something else");
	r->totals.bytes += sizeof(*t);
	n = read_some(r, &more, 1);
	if (n < 0)
		return (int)n;
	return n ? refuse(r, -EINVAL, "there is something behind its end") : 0;
}

/* Headers of chunks and the trailer are of one size, and begin with what they are. */
static int read_rest(struct reader *r)
{
	union {
		struct pack_chunk_disk chunk;
		struct pack_trailer_disk trailer;
	} next;
	int e;

	_Static_assert(sizeof(next.chunk) == sizeof(next.trailer), "read as one");
	while (!(e = read_all(r, &next, sizeof(next)))) {
		if (!memcmp(next.trailer.magic, PACK_TRAILER_MAGIC, sizeof(next.trailer.magic)))
			return judge_trailer(r, &next.trailer);
		e = read_chunk(r, &next.chunk);
		if (e)
			break;
	}
	return e;
}

int pack_read(const struct pack_reader_args *args, struct pack_info *info, struct pack_totals *totals,
	      struct pack_error *error)
{
	struct reader r = { .args = args, .e = error };
	int e;

	*error = (struct pack_error){ 0 };
	e = read_header(&r);
	if (!e)
		e = get_memory(&r);
	if (!e)
		e = read_rest(&r);
	ZSTD_freeDCtx(r.zstd);
	free(r.chunk);
	free(r.packed);
	if (e)
		return e;
	*info = r.info;
	*totals = r.totals;
	return 0;
}
