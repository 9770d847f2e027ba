// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pdata/block.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

/* Salts: the *_CSUM_XOR constants of dm-thin-metadata.c, dm-cache-metadata.c, dm-era-target.c, persistent-data/. */
static const struct {
	const char *name;
	uint32_t salt;
	unsigned number_offset;
} kinds[NR_PD_KINDS] = {
	[PD_UNKNOWN] = { "block of no known kind", 0, 8 },
	[PD_ZEROES] = { "block of zeroes", 0, 8 },
	[PD_NODE] = { "btree node", 121107, 8 },
	[PD_BITMAP] = { "space map bitmap", 240779, 8 },
	[PD_INDEX] = { "metadata index", 160478, 8 },
	[PD_ARRAY] = { "array block", 595846735, 16 },
	[PD_THIN_SUPERBLOCK] = { "thin-pool superblock", 160774, 8 },
	[PD_CACHE_SUPERBLOCK] = { "dm-cache superblock", 9031977, 8 },
	[PD_ERA_SUPERBLOCK] = { "dm-era superblock", 146538381, 8 },
};

#define FIRST_SALTED PD_NODE

const char *pd_kind_name(enum pd_kind kind)
{
	return kinds[kind].name;
}

/* device-mapper's crc is the inverted one's complement: neither is the result inverted here. */
static uint32_t unsalted(const void *block)
{
	return crc32c_raw(UINT32_MAX, (const uint8_t *)block + 4, PD_BLOCK_SIZE - 4);
}

uint32_t pd_stored_checksum(const void *block)
{
	return (uint32_t)le_load(block, 4);
}

uint64_t pd_stored_number(const void *block, enum pd_kind kind)
{
	return le_load((const uint8_t *)block + kinds[kind].number_offset, 8);
}

enum pd_kind pd_block_kind(const void *block)
{
	uint32_t salt;

	if (bytes_are_zero(block, PD_BLOCK_SIZE))
		return PD_ZEROES;
	salt = pd_stored_checksum(block) ^ unsalted(block);
	for (unsigned k = FIRST_SALTED; k < NR_PD_KINDS; k++)
		if (kinds[k].salt == salt)
			return k;
	return PD_UNKNOWN;
}

uint32_t pd_block_checksum(const void *block, enum pd_kind as)
{
	return unsalted(block) ^ kinds[as].salt;
}

bool pd_is_block(const void *block, enum pd_kind kind, uint64_t number)
{
	return pd_stored_checksum(block) == pd_block_checksum(block, kind) && pd_stored_number(block, kind) == number;
}

void pd_block_seal(void *block, enum pd_kind kind, uint64_t number)
{
	le_store((uint8_t *)block + kinds[kind].number_offset, 8, number);
	le_store(block, 4, pd_block_checksum(block, kind));
}

/* What one byte of zero bits behind it makes of a checksum, taken back; by_top: the byte that has these upper bits. */
static uint32_t step_back(uint32_t crc, const uint32_t table[256], const uint8_t by_top[256])
{
	uint8_t byte = by_top[crc >> 24];

	return (crc ^ table[byte]) << 8 | byte;
}

/*
 * Checksums are linear: one wrong byte changes them by what that byte gives alone, moved on by the bytes behind it. So the
 * difference is moved back, byte by byte, until it is that of a single one.
 */
bool pd_block_find_flaw(const void *block, enum pd_kind kind, uint64_t number, struct pd_flaw *flaw)
{
	uint32_t table[256], difference = pd_stored_checksum(block) ^ pd_block_checksum(block, kind), crc = difference;
	uint8_t by_top[256], mended[PD_BLOCK_SIZE];
	bool found = false;

	for (unsigned i = 0; i < 256; i++) {
		uint8_t byte = (uint8_t)i;

		table[i] = crc32c_raw(0, &byte, 1);
		by_top[table[i] >> 24] = byte;
	}
	for (unsigned i = 0; i < 4 && !found; i++) {
		found = difference && !(difference & ~(UINT32_C(0xFF) << 8 * i));
		*flaw = (struct pd_flaw){ i, (uint8_t)(difference >> 8 * i) };
	}
	for (unsigned i = PD_BLOCK_SIZE; i-- > 4 && !found && difference; crc = step_back(crc, table, by_top)) {
		found = table[by_top[crc >> 24]] == crc;
		*flaw = (struct pd_flaw){ i, by_top[crc >> 24] };
	}
	memcpy(mended, block, sizeof(mended));
	mended[flaw->offset] ^= flaw->mask;
	return found && pd_is_block(mended, kind, number);
}

void pd_report(const struct pd_reader *r, const struct pd_context *ctx, enum problem_code code, uint64_t block,
	       struct problem p)
{
	p.code = code;
	p.block = block;
	p.where = ctx->where;
	p.dev_id = ctx->dev_id;
	p.is_leaf = ctx->is_leaf;
	if (p.begin == p.end) {
		p.begin = ctx->begin;
		p.end = ctx->end;
	}
	r->sink->report(r->sink, &p);
}

/* Number before kind before checksum would hide what happened; this order says the most. */
static bool verify(const struct pd_reader *r, const struct pd_context *ctx, uint64_t block, enum pd_kind kind,
		   const void *data)
{
	uint32_t found = pd_stored_checksum(data), expected = pd_block_checksum(data, kind);
	enum pd_kind is;

	if (found != expected) {
		is = pd_block_kind(data);
		if (is == PD_ZEROES)
			pd_report(r, ctx, PROBLEM_BLOCK_ZEROED, block, (struct problem){ 0 });
		else if (is != PD_UNKNOWN)
			pd_report(r, ctx, PROBLEM_BLOCK_KIND, block,
				  (struct problem){ .expected_kind = pd_kind_name(kind), .found_kind = pd_kind_name(is) });
		else
			pd_report(r, ctx, PROBLEM_BLOCK_CHECKSUM, block,
				  (struct problem){ .expected = expected, .found = found });
		return false;
	}
	if (pd_stored_number(data, kind) != block) {
		pd_report(r, ctx, PROBLEM_BLOCK_NUMBER, block,
			  (struct problem){ .expected = block, .found = pd_stored_number(data, kind) });
		return false;
	}
	return true;
}

/* An error of the block, not of us: another block may still be readable. */
static bool is_unreadable(int error)
{
	return error == EIO || error == EILSEQ || error == ENODATA || error == EREMOTEIO || error == ETIMEDOUT ||
	       error == ENXIO || error == EBADMSG;
}

void pd_advance(const struct pd_reader *r)
{
	if (r->progress)
		++*r->progress;
}

int pd_read(const struct pd_reader *r, const struct pd_context *ctx, uint64_t block, enum pd_kind kind,
	    const void **data, struct bufio_buffer **bp)
{
	struct bufio_buffer *b;
	const void *d;

	if (block >= r->nr_blocks) {
		pd_report(r, ctx, PROBLEM_BLOCK_BEYOND, block, (struct problem){ .expected = r->nr_blocks });
		return 0;
	}
	pd_advance(r);
	d = bufio_read(r->client, block, &b);
	if (!d) {
		int error = errno;

		if (!is_unreadable(error))
			return -error;
		pd_report(r, ctx, PROBLEM_BLOCK_UNREADABLE, block, (struct problem){ .error = error });
		return 0;
	}
	if (!verify(r, ctx, block, kind, d)) {
		bufio_release(b);
		return 0;
	}
	*data = d;
	*bp = b;
	return 1;
}
