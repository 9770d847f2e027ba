// SPDX-License-Identifier: LGPL-2.1-or-later
#include "mutate.h"

#include <stdbool.h>
#include <string.h>

#include "pdata/block.h"

uint64_t rng_next(struct rng *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * UINT64_C(0x2545F4914F6CDD1D);
}

uint64_t rng_below(struct rng *r, uint64_t limit)
{
	return rng_next(r) % limit;
}

/* Numbers at which code goes wrong. */
static uint64_t odd_number(struct rng *r, uint64_t nr_blocks)
{
	static const uint64_t odd[] = { 0, 1, 2, 3, 251, 252, 253, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, INT64_MAX, UINT64_MAX };
	uint64_t i = rng_below(r, 16);

	if (i < sizeof(odd) / sizeof(*odd))
		return odd[i];
	return i < 14 ? rng_below(r, nr_blocks) : rng_next(r) >> rng_below(r, 64);
}

/* A block that carries a checksum, most of the time: free blocks are not worth much. */
static uint64_t pick_block(const uint8_t *image, uint64_t nr_blocks, struct rng *r)
{
	uint64_t block = rng_below(r, nr_blocks);

	for (unsigned i = 0; i < 64 && pd_block_kind(image + block * PD_BLOCK_SIZE) < PD_NODE; i++)
		block = rng_below(r, 8) ? rng_below(r, nr_blocks) : 0;
	return block;
}

static void change_field(uint8_t *block, uint64_t nr_blocks, struct rng *r)
{
	/* Headers and the start of keys and values are where the structure is. */
	size_t offset = rng_below(r, 2) ? rng_below(r, 48) : rng_below(r, PD_BLOCK_SIZE - 8);
	unsigned bytes = rng_below(r, 2) ? 4 : 8;

	le_store(block + (offset & ~(size_t)3), bytes, odd_number(r, nr_blocks));
}

static void swap_words(uint8_t *block, struct rng *r)
{
	size_t a = 32 + 8 * rng_below(r, 500), b = 32 + 8 * rng_below(r, 500);
	uint64_t va = le_load(block + a, 8), vb = le_load(block + b, 8);

	le_store(block + a, 8, vb);
	le_store(block + b, 8, va);
}

void mutate(uint8_t *image, size_t size, struct rng *r)
{
	uint64_t nr_blocks = size / PD_BLOCK_SIZE;
	uint64_t n = pick_block(image, nr_blocks, r), other = pick_block(image, nr_blocks, r);
	uint8_t *block = image + n * PD_BLOCK_SIZE;
	enum pd_kind kind = pd_block_kind(block);
	bool reseal = rng_below(r, 4) && kind >= PD_NODE;

	switch (rng_below(r, 8)) {
	case 0:
		block[rng_below(r, PD_BLOCK_SIZE)] ^= (uint8_t)(1 << rng_below(r, 8));
		break;
	case 1:
		memset(block + 512 * rng_below(r, 8), (int)rng_below(r, 256), 512);
		break;
	case 2:
		memmove(block, image + other * PD_BLOCK_SIZE, PD_BLOCK_SIZE);
		kind = pd_block_kind(block);
		reseal = reseal && kind >= PD_NODE;
		break;
	case 3:
		swap_words(block, r);
		break;
	default:
		change_field(block, nr_blocks, r);
		break;
	}
	if (reseal)
		pd_block_seal(block, kind, n);
}

size_t mutate_text(uint8_t *text, size_t len, size_t max, const char *const *pieces, size_t nr, struct rng *r)
{
	size_t at = rng_below(r, len + 1), n;
	const char *piece = pieces[rng_below(r, nr)];
	uint64_t kind = rng_below(r, 4);

	if (kind == 0 && at < len) {
		text[at] = (uint8_t)rng_next(r);
	} else if (kind == 1) {
		n = rng_below(r, len - at + 1) % 40;
		memmove(text + at, text + at + n, len - at - n);
		return len - n;
	} else if (kind == 2 && len + strlen(piece) <= max) {
		memmove(text + at + strlen(piece), text + at, len - at);
		memcpy(text + at, piece, strlen(piece));
		return len + strlen(piece);
	} else if (!rng_below(r, 8)) {
		return at;
	}
	return len;
}
