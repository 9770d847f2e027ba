// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The budget, and where buffers come from.
 *
 * Buffers are cut from segments: mappings, headers and data apart, whose pages cost nothing until a buffer is used.
 * The limit is kept by counting buffers: each costs the same. A segment that is given back keeps its addresses,
 * without memory: see invariant 7.
 *
 * Unless the limit is small, the data of a segment is made of huge pages: a request then is one piece of physical
 * memory and not 64, which doubles what a fast disk gives. The last segment may so take up to 2 MiB more than is used.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/huge_page.h"
#include "bufio/bufio_int.h"

#define MIN_HUGE_PAGES 4 /* of less memory the last one would be too much */
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
	return (offsetof(struct bufio_buffer, aux) + c->aux_size + HOT_BYTES - 1) / HOT_BYTES * HOT_BYTES;
}

size_t memory_per_buffer(const struct bufio_client *c)
{
	return c->block_size + header_size(c);
}

/* Everything that @nr buffers need: their memory, the client with its transfers, index, ghosts. */
uint64_t memory_for(const struct bufio_client *c, uint64_t nr)
{
	return sizeof(*c) + nr * memory_per_buffer(c) + index_bytes(nr) + nr * sizeof(*c->ghosts);
}

uint64_t memory_floor_buffers(const struct bufio_client *c)
{
	uint64_t nr = c->reserved + 1 > MIN_BUFFERS ? c->reserved + 1 : MIN_BUFFERS, minimum = c->minimum;

	return nr > minimum ? nr : minimum;
}

/* The most buffers that fit into @bytes: at least the floor, and no more than there are blocks. */
static uint64_t buffers_for(const struct bufio_client *c, uint64_t bytes)
{
	uint64_t low = memory_floor_buffers(c), blocks = c->dev->info.size / c->block_size;
	uint64_t high = blocks > low ? blocks : low;

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

/* Whether releases have to look at the limit: on the edges only, because hits read the counter. */
static void note_surplus(struct bufio_client *c)
{
	bool over = c->nr_buffers > c->nr_max;

	if (over == c->over_limit)
		return;
	c->over_limit = over;
	if (over)
		watch_releases(c);
	else
		ignore_releases(c);
}

static void account(struct bufio_client *c)
{
	c->stats.current_bytes = memory_for(c, c->nr_max) - (c->nr_max - c->nr_buffers) * memory_per_buffer(c);
	if (c->stats.current_bytes > c->stats.peak_bytes)
		c->stats.peak_bytes = c->stats.current_bytes;
	note_surplus(c);
}

int memory_set_limit(struct bufio_client *c, uint64_t bytes)
{
	uint32_t *ghosts;
	uint64_t nr;

	if (bytes < memory_for(c, memory_floor_buffers(c)))
		return -EINVAL;
	nr = buffers_for(c, bytes);
	ghosts = calloc(nr, sizeof(*ghosts));
	/* Held and dirty buffers outlive a lowered limit for a while. */
	if (!ghosts || index_resize(c, nr > c->nr_buffers ? nr : c->nr_buffers)) {
		free(ghosts);
		return -ENOMEM;
	}
	free(c->ghosts);
	c->ghosts = ghosts;
	c->nr_ghosts = nr;
	c->nr_max = nr;
	c->limit = bytes;
	account(c);
	return 0;
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* At an address of a huge page. */
static void *map_aligned(size_t bytes)
{
	char *p = map(bytes + HUGE_PAGE), *start;

	if (!p)
		return NULL;
	start = p + (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
	if (start != p)
		munmap(p, (size_t)(start - p));
	munmap(start + bytes, (size_t)(p + HUGE_PAGE - start));
	madvise(start, bytes, MADV_HUGEPAGE);
	return start;
}

void *memory_map(size_t bytes)
{
	return bytes % HUGE_PAGE ? map(bytes) : map_aligned(bytes);
}

/* A thousandth of what may be used, where that is much, because the number of mappings is limited too. */
static unsigned segment_buffers(const struct bufio_client *c)
{
	uint64_t all = c->nr_max * c->block_size, pages = all / 1024 / HUGE_PAGE + 1;
	uint64_t bytes = all < MIN_HUGE_PAGES * HUGE_PAGE ? HUGE_PAGE / 2 : pages * HUGE_PAGE;

	return bytes > c->block_size ? (unsigned)(bytes / c->block_size) : 1;
}

static struct segment *new_segment(const struct bufio_client *c, unsigned nr)
{
	struct segment *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->nr = nr;
	s->header_bytes = nr * header_size(c);
	s->data_bytes = (size_t)nr * c->block_size;
	s->headers = map(s->header_bytes);
	s->data = memory_map(s->data_bytes);
	if (s->headers && s->data)
		return s;
	if (s->headers)
		munmap(s->headers, s->header_bytes);
	if (s->data)
		munmap(s->data, s->data_bytes);
	free(s);
	return NULL;
}

static struct segment *add_segment(struct bufio_client *c)
{
	struct segment *s = c->idle_segments;
	uint64_t left = c->nr_max - c->nr_buffers;
	unsigned nr = segment_buffers(c);

	if (s) {
		c->idle_segments = s->next;
	} else {
		if (nr > left)
			nr = (unsigned)left;
		s = new_segment(c, nr);
		if (!s)
			return NULL;
	}
	s->next = c->segments;
	c->segments = s;
	return s;
}

static struct bufio_buffer *header(const struct bufio_client *c, const struct segment *s, unsigned i)
{
	return (struct bufio_buffer *)(s->headers + i * header_size(c));
}

static struct bufio_buffer *cut(struct bufio_client *c, struct segment *s)
{
	struct bufio_buffer *b = header(c, s, s->used);

	lock_buffer(b);
	b->c = c;
	b->data = s->data + (size_t)s->used * c->block_size;
	list_init(&b->lru);
	b->segment = s;
	unlock_buffer(b);
	s->used++;
	return b;
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

/* A segment without a buffer in use loses its memory, and the unused buffers that were cut from it. */
static void release_segment(struct bufio_client *c, struct segment *s)
{
	struct segment **link = &c->segments;

	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	for (unsigned i = 0; i < s->used; i++) {
		list_del(&header(c, s, i)->lru);
		/* Locked, nobody is looking at it when it is wiped; wiped, it is not locked. */
		lock_buffer(header(c, s, i));
	}
	madvise(s->headers, s->header_bytes, MADV_DONTNEED);
	madvise(s->data, s->data_bytes, MADV_DONTNEED);
	s->used = 0;
	s->next = c->idle_segments;
	c->idle_segments = s;
}

/*
 * The pages of an unused buffer, where it has pages of its own; its address range stays. From then on the kernel must
 * not make huge pages of the segment by itself, which would bring them back.
 */
static void release_pages(const struct bufio_client *c, struct bufio_buffer *b)
{
	if (c->block_size % (unsigned)sysconf(_SC_PAGESIZE))
		return;
	madvise(b->segment->data, b->segment->data_bytes, MADV_NOHUGEPAGE);
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

static void free_segments(struct segment *s)
{
	struct segment *next;

	for (; s; s = next) {
		next = s->next;
		munmap(s->headers, s->header_bytes);
		munmap(s->data, s->data_bytes);
		free(s);
	}
}

void memory_release_all(struct bufio_client *c)
{
	free_segments(c->segments);
	free_segments(c->idle_segments);
	index_release_all(c);
	free(c->ghosts);
}
