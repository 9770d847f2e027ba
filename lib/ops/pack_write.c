// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "ops/pack_int.h"

/* Higher levels take far more time, and save little of what is turned already. */
#define LEVEL ZSTD_CLEVEL_DEFAULT

/* Bytes of zstd's own at this level; a unit test compares. */
#define CONTEXT_BYTES (UINT64_C(3) << 20)

#define LEAST_CHUNK_BLOCKS 16

struct pack_writer {
	int fd;
	unsigned chunk_blocks;
	ZSTD_CCtx *zstd;
	uint8_t *chunk;                   /* blocks; the extents are put behind them in the end */
	struct pack_extent_disk *extents; /* chunk_blocks of them */
	uint8_t *packed;                  /* the chunk's header, and packed bytes */
	size_t packed_room;               /* for the bytes */
	unsigned nr_blocks, nr_extents;   /* of the chunk so far */
	uint64_t nr_chunks;
	uint32_t headers_csum; /* so far, not inverted */
	struct pack_totals totals;
};

static size_t extent_bytes(unsigned chunk_blocks)
{
	return chunk_blocks * sizeof(struct pack_extent_disk);
}

uint64_t pack_writer_bytes(unsigned chunk_blocks)
{
	size_t chunk = pack_chunk_bytes(chunk_blocks);

	return chunk + ZSTD_compressBound(chunk) + extent_bytes(chunk_blocks) + CONTEXT_BYTES;
}

unsigned pack_chunk_blocks(uint64_t memory)
{
	unsigned nr = PACK_MAX_CHUNK_BLOCKS;

	while (nr >= LEAST_CHUNK_BLOCKS && pack_writer_bytes(nr) > memory)
		nr /= 2;
	return nr >= LEAST_CHUNK_BLOCKS ? nr : 0;
}

/* --- bytes --- */

static int write_all(struct pack_writer *w, const void *data, size_t size)
{
	for (const char *at = data; size;) {
		ssize_t n = write(w->fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += n;
		size -= (size_t)n;
		w->totals.bytes += (uint64_t)n;
	}
	return 0;
}

static int write_header(struct pack_writer *w, const struct pack_info *info)
{
	struct pack_header_disk h = {
		.magic = PACK_MAGIC,
		.version = le32_put(PACK_VERSION),
		.flags = le32_put((info->is_damaged ? PACK_DAMAGED : 0) | (info->by_contents ? PACK_BY_CONTENTS : 0)),
		.block_size = le32_put(PD_BLOCK_SIZE),
		.chunk_blocks = le32_put(info->chunk_blocks),
		.device_bytes = le64_put(info->device_bytes),
		.transaction = le64_put(info->transaction),
	};

	h.csum = le32_put(pack_csum(&h, offsetof(struct pack_header_disk, csum)));
	w->headers_csum = crc32c_raw(UINT32_MAX, &h, sizeof(h));
	return write_all(w, &h, sizeof(h));
}

/* --- chunks --- */

static int compress(struct pack_writer *w, size_t *packed)
{
	size_t data = (size_t)w->nr_blocks * PD_BLOCK_SIZE, all = data + extent_bytes(w->nr_extents);
	size_t n;

	memcpy(w->chunk + data, w->extents, extent_bytes(w->nr_extents));
	n = ZSTD_compressCCtx(w->zstd, w->packed + sizeof(struct pack_chunk_disk), w->packed_room, w->chunk, all, LEVEL);
	if (ZSTD_isError(n))
		return -ENOMEM; /* there is room for any result, and so nothing else is left */
	*packed = n;
	return 0;
}

/* Header and bytes go as one piece. */
static int write_chunk(struct pack_writer *w)
{
	struct pack_chunk_disk *h = (struct pack_chunk_disk *)w->packed;
	size_t packed;
	int r = w->nr_extents ? compress(w, &packed) : 0;

	if (r || !w->nr_extents)
		return r;
	*h = (struct pack_chunk_disk){
		.magic = PACK_CHUNK_MAGIC,
		.nr_blocks = le32_put(w->nr_blocks),
		.nr_extents = le32_put(w->nr_extents),
		.packed_bytes = le32_put((uint32_t)packed),
		.packed_csum = le32_put(pack_csum(h + 1, packed)),
		.csum_inside = le32_put(pack_csum(w->chunk, (size_t)w->nr_blocks * PD_BLOCK_SIZE +
							    extent_bytes(w->nr_extents))),
		.number = le64_put(w->nr_chunks),
	};
	h->csum = le32_put(pack_csum(h, offsetof(struct pack_chunk_disk, csum)));
	w->headers_csum = crc32c_raw(w->headers_csum, h, sizeof(*h));
	w->nr_chunks++;
	w->nr_blocks = w->nr_extents = 0;
	return write_all(w, h, sizeof(*h) + packed);
}

static bool continues(const struct pack_extent_disk *e, uint64_t block, uint32_t flags)
{
	return le64_get(e->block) + le32_get(e->nr) == block && le32_get(e->flags) == flags;
}

static void add_to_extents(struct pack_writer *w, uint64_t block, uint32_t flags)
{
	struct pack_extent_disk *last = w->extents + w->nr_extents - 1;

	if (w->nr_extents && continues(last, block, flags))
		last->nr = le32_put(le32_get(last->nr) + 1);
	else
		w->extents[w->nr_extents++] = (struct pack_extent_disk){ le64_put(block), le32_put(1), le32_put(flags) };
}

int pack_write(struct pack_writer *w, uint64_t block, const void *data)
{
	int r = 0;

	if (w->nr_blocks == w->chunk_blocks || w->nr_extents == w->chunk_blocks)
		r = write_chunk(w);
	if (r)
		return r;
	add_to_extents(w, block, data ? 0 : PACK_UNREADABLE);
	w->totals.end = block + 1;
	if (data) {
		pack_turn(data, w->chunk + (size_t)w->nr_blocks++ * PD_BLOCK_SIZE);
		w->totals.blocks++;
	} else {
		w->totals.unreadable++;
	}
	return 0;
}

/* --- begin and end --- */

int pack_writer_create(int fd, const struct pack_info *info, struct pack_writer **writer)
{
	size_t chunk = pack_chunk_bytes(info->chunk_blocks);
	struct pack_writer *w = calloc(1, sizeof(*w));

	*writer = w;
	if (!w)
		return -ENOMEM;
	w->fd = fd;
	w->chunk_blocks = info->chunk_blocks;
	w->packed_room = ZSTD_compressBound(chunk);
	w->zstd = ZSTD_createCCtx();
	w->chunk = malloc(chunk);
	w->extents = malloc(extent_bytes(info->chunk_blocks));
	w->packed = malloc(sizeof(struct pack_chunk_disk) + w->packed_room);
	return w->zstd && w->chunk && w->extents && w->packed ? write_header(w, info) : -ENOMEM;
}

int pack_writer_finish(struct pack_writer *w, struct pack_totals *totals)
{
	struct pack_trailer_disk t = { .magic = PACK_TRAILER_MAGIC };
	int r = write_chunk(w);

	w->totals.csum = ~w->headers_csum;
	t.headers_csum = le32_put(w->totals.csum);
	t.nr_chunks = le64_put(w->nr_chunks);
	t.nr_blocks = le64_put(w->totals.blocks);
	t.nr_unreadable = le64_put(w->totals.unreadable);
	t.csum = le32_put(pack_csum(&t, offsetof(struct pack_trailer_disk, csum)));
	if (!r)
		r = write_all(w, &t, sizeof(t));
	if (!r)
		*totals = w->totals;
	return r;
}

void pack_writer_destroy(struct pack_writer *w)
{
	if (!w)
		return;
	ZSTD_freeCCtx(w->zstd);
	free(w->chunk);
	free(w->extents);
	free(w->packed);
	free(w);
}
