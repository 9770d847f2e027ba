// SPDX-License-Identifier: LGPL-2.1-or-later
/* Block number -> buffer: a chained hash table, as large as the most buffers that the limit allows. */
#include "bufio/bufio_int.h"

static struct bufio_buffer **bucket_of(const struct bufio_client *c, uint64_t block)
{
	/* Fibonacci hashing: neighbours spread, and the high bits are the good ones. */
	uint64_t h = block * UINT64_C(0x9E3779B97F4A7C15);

	return &c->buckets[(h >> 32) & (c->nr_buckets - 1)];
}

struct bufio_buffer *index_find(const struct bufio_client *c, uint64_t block)
{
	struct bufio_buffer *b = *bucket_of(c, block);

	while (b && b->block != block)
		b = b->chain;
	return b;
}

void index_insert(struct bufio_client *c, struct bufio_buffer *b)
{
	struct bufio_buffer **bucket = bucket_of(c, b->block);

	b->chain = *bucket;
	*bucket = b;
}

void index_remove(struct bufio_client *c, struct bufio_buffer *b)
{
	struct bufio_buffer **link = bucket_of(c, b->block);

	while (*link != b)
		link = &(*link)->chain;
	*link = b->chain;
}

uint64_t index_size(uint64_t nr)
{
	uint64_t n = 16;

	while (n < nr && n < UINT64_C(1) << 32)
		n *= 2;
	return n;
}

void index_rebuild(struct bufio_client *c, struct bufio_buffer **buckets, uint64_t nr_buckets)
{
	struct bufio_buffer **old = c->buckets;
	uint64_t nr_old = c->nr_buckets;

	c->buckets = buckets;
	c->nr_buckets = nr_buckets;
	for (uint64_t i = 0; i < nr_old; i++) {
		struct bufio_buffer *b = old[i], *next;

		for (; b; b = next) {
			next = b->chain;
			index_insert(c, b);
		}
	}
}
