// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The budget, and where buffers come from.
 *
 * Buffers are cut from segments: mappings of about a megabyte, headers and data apart, whose pages cost nothing until
 * a buffer is used. The limit is kept by counting buffers: each costs the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "bufio/bufio_int.h"

#define SEGMENT_BYTES (1u << 20)
#define MIN_BUFFERS 8

struct segment {
	struct segment *next;
	char *headers, *data; /* one mapping each */
	size_t header_bytes, data_bytes;
	unsigned nr, used; /* the first @used were cut off */
	unsigned live;     /* and so many are not on the unused list */
};

static size_t header_size(const struct bufio_client *c)
{
	size_t align = alignof(max_align_t);

	return (sizeof(struct bufio_buffer) + c->aux_size + align - 1) / align * align;
}

size_t memory_per_buffer(const struct bufio_client *c)
{
	return c->block_size + header_size(c);
}

/* Everything that @nr buffers need: their memory, the client with its transfers, index, batch list. */
uint64_t memory_for(const struct bufio_client *c, uint64_t nr)
{
	return sizeof(*c) + nr * memory_per_buffer(c) + (index_size(nr) + nr) * sizeof(void *);
}

uint64_t memory_floor_buffers(const struct bufio_client *c)
{
	return c->reserved + 1 > MIN_BUFFERS ? c->reserved + 1 : MIN_BUFFERS;
}

/* The most buffers that fit into @bytes: at least the floor, and no more than there are blocks. */
static uint64_t buffers_for(const struct bufio_client *c, uint64_t bytes)
{
	uint64_t low = memory_floor_buffers(c);
	uint64_t high = c->nr_blocks > low ? c->nr_blocks : low;

	if (high > bytes / memory_per_buffer(c))
		high = bytes / memory_per_buffer(c);
	while (low < high) {
		uint64_t mid = low + (high - low + 1) / 2;

		if (memory_for(c, mid) <= bytes)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

int memory_set_limit(struct bufio_client *c, uint64_t bytes)
{
	struct bufio_buffer **buckets, **batch, **old_buckets = c->buckets;
	uint64_t nr, nr_batch;

	if (bytes < memory_for(c, memory_floor_buffers(c)))
		return -EINVAL;
	nr = buffers_for(c, bytes);
	/* Held and dirty buffers outlive a lowered limit for a while. */
	nr_batch = nr > c->nr_buffers ? nr : c->nr_buffers;
	buckets = calloc(index_size(nr), sizeof(*buckets));
	batch = calloc(nr_batch, sizeof(*batch));
	if (!buckets || !batch) {
		free(buckets);
		free(batch);
		return -ENOMEM;
	}
	index_rebuild(c, buckets, index_size(nr));
	free(old_buckets);
	free(c->batch);
	c->batch = batch;
	c->nr_max = nr;
	c->limit = bytes;
	return 0;
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static struct segment *add_segment(struct bufio_client *c)
{
	struct segment *s = calloc(1, sizeof(*s));
	uint64_t left = c->nr_max - c->nr_buffers;

	if (!s)
		return NULL;
	s->nr = SEGMENT_BYTES / c->block_size;
	if (s->nr > left)
		s->nr = (unsigned)left;
	if (!s->nr)
		s->nr = 1;
	s->header_bytes = s->nr * header_size(c);
	s->data_bytes = (size_t)s->nr * c->block_size;
	s->headers = map(s->header_bytes);
	s->data = map(s->data_bytes);
	if (!s->headers || !s->data) {
		if (s->headers)
			munmap(s->headers, s->header_bytes);
		if (s->data)
			munmap(s->data, s->data_bytes);
		free(s);
		return NULL;
	}
	s->next = c->segments;
	c->segments = s;
	return s;
}

static struct bufio_buffer *cut(struct bufio_client *c, struct segment *s)
{
	struct bufio_buffer *b = (struct bufio_buffer *)(s->headers + s->used * header_size(c));

	b->c = c;
	b->data = s->data + (size_t)s->used * c->block_size;
	list_init(&b->lru);
	b->segment = s;
	s->used++;
	return b;
}

static void account(struct bufio_client *c)
{
	c->stats.current_bytes = memory_for(c, c->nr_max) - (c->nr_max - c->nr_buffers) * memory_per_buffer(c);
	if (c->stats.current_bytes > c->stats.peak_bytes)
		c->stats.peak_bytes = c->stats.current_bytes;
}

/* A buffer that was not in use, if the limit has room for one. */
struct bufio_buffer *memory_take(struct bufio_client *c)
{
	struct bufio_buffer *b;

	if (c->nr_buffers >= c->nr_max)
		return NULL;
	if (!list_is_empty(&c->unused)) {
		b = list_entry(c->unused.next, struct bufio_buffer, lru);
		list_del(&b->lru);
	} else {
		struct segment *s = c->segments;

		if (!s || s->used == s->nr)
			s = add_segment(c);
		if (!s)
			return NULL;
		b = cut(c, s);
	}
	b->segment->live++;
	c->nr_buffers++;
	account(c);
	return b;
}

static void free_segment(struct segment *s)
{
	munmap(s->headers, s->header_bytes);
	munmap(s->data, s->data_bytes);
	free(s);
}

/* A segment without a buffer in use goes back to the system, with the unused buffers that were cut from it. */
static void release_segment(struct bufio_client *c, struct segment *s)
{
	struct segment **link = &c->segments;

	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	for (unsigned i = 0; i < s->used; i++)
		list_del(&((struct bufio_buffer *)(s->headers + i * header_size(c)))->lru);
	free_segment(s);
}

/* The pages of an unused buffer, where it has pages of its own; its address range stays. */
static void release_pages(const struct bufio_client *c, struct bufio_buffer *b)
{
	if (c->block_size % (unsigned)sysconf(_SC_PAGESIZE) == 0)
		madvise(b->data, c->block_size, MADV_DONTNEED);
}

/* Above the limit the memory is not kept for the next buffer. */
void memory_give_back(struct bufio_client *c, struct bufio_buffer *b)
{
	bool surplus = c->nr_buffers > c->nr_max;

	list_add(&c->unused, &b->lru);
	c->nr_buffers--;
	if (!--b->segment->live && surplus)
		release_segment(c, b->segment);
	else if (surplus)
		release_pages(c, b);
	account(c);
}

void memory_trim(struct bufio_client *c)
{
	struct segment *s = c->segments, *next;

	for (; s; s = next) {
		next = s->next;
		if (!s->live)
			release_segment(c, s);
	}
	for (struct list *l = c->unused.next; l != &c->unused; l = l->next)
		release_pages(c, list_entry(l, struct bufio_buffer, lru));
}

void memory_release_all(struct bufio_client *c)
{
	struct segment *s = c->segments, *next;

	for (; s; s = next) {
		next = s->next;
		free_segment(s);
	}
	free(c->buckets);
	free(c->batch);
}
