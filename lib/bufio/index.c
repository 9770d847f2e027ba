// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Block number -> buffer: open addressing with linear probing, two thirds full at most.
 *
 * An entry is a buffer's address with 16 bits of the block's hash above it, so that a search looks at no header but
 * the right one. Writers hold the client's lock. Readers need none: entries are atomic, a table outlives its use, and
 * an entry that is missed while it is being shifted is found again under the lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bufio/bufio_int.h"

#define TAG_SHIFT 48 /* no user address is larger, unless a program asks for one */
#define ADDRESS_MASK ((UINT64_C(1) << TAG_SHIFT) - 1)

struct table {
	_Atomic uint64_t *entries; /* 0: none */
	_Atomic uint64_t nr;       /* in use */
	uint64_t capacity;         /* mapped */
	struct table *next;        /* idle ones */
};

/* Entries in a cache line. */
#define GROUP 8
#define MIN_CAPACITY 512 /* a page */

static uint64_t hash(uint64_t block)
{
	/* Fibonacci hashing: neighbours spread, and the high bits are the good ones. */
	return block * UINT64_C(0x9E3779B97F4A7C15);
}

/*
 * Where the search for a block begins. Blocks that share all but their last bits share a cache line: who goes through
 * neighbours stays in it, and threads that work on different parts of the device do not meet. The hash of the rest is
 * scaled to the table, so that it need not be a power of two.
 */
static uint64_t home_of(uint64_t block, uint64_t nr)
{
	return (((hash(block / GROUP) >> 32) * (nr / GROUP)) >> 32) * GROUP + block % GROUP;
}

/* The bits of an entry above the address. */
static uint64_t tag_of(uint64_t block)
{
	return (hash(block) >> 16) << TAG_SHIFT;
}

static uint64_t load(const struct table *t, uint64_t i)
{
	return atomic_load_explicit(&t->entries[i], memory_order_acquire);
}

static void store(struct table *t, uint64_t i, uint64_t entry)
{
	atomic_store_explicit(&t->entries[i], entry, memory_order_release);
}

static struct bufio_buffer *buffer_of(uint64_t entry)
{
	return (struct bufio_buffer *)(uintptr_t)(entry & ADDRESS_MASK);
}

struct bufio_buffer *index_find(const struct bufio_client *c, uint64_t block)
{
	const struct table *t = atomic_load_explicit(&c->table, memory_order_acquire);
	uint64_t nr = atomic_load_explicit(&t->nr, memory_order_relaxed);
	uint64_t i = home_of(block, nr), tag = tag_of(block), entry;

	/* Bounded, because others may move what it looks at. */
	for (uint64_t n = 0; n < nr && (entry = load(t, i)); n++) {
		if (!((entry ^ tag) >> TAG_SHIFT) && block_of(buffer_of(entry)) == block)
			return buffer_of(entry);
		if (++i == nr)
			i = 0;
	}
	return NULL;
}

static void insert(struct table *t, struct bufio_buffer *b)
{
	uint64_t i = home_of(block_of(b), t->nr);

	while (load(t, i))
		if (++i == t->nr)
			i = 0;
	store(t, i, (uintptr_t)b | tag_of(block_of(b)));
}

void index_insert(struct bufio_client *c, struct bufio_buffer *b)
{
	insert(c->table, b);
}

/* Entries behind the removed one move up, unless that is before their home: a search must not meet a hole. */
void index_remove(struct bufio_client *c, struct bufio_buffer *b)
{
	struct table *t = c->table;
	uint64_t nr = t->nr, hole = home_of(block_of(b), nr), entry;

	while (buffer_of(load(t, hole)) != b)
		hole = hole + 1 == nr ? 0 : hole + 1;
	for (uint64_t i = hole;;) {
		uint64_t home;

		i = i + 1 == nr ? 0 : i + 1;
		entry = load(t, i);
		if (!entry)
			break;
		home = home_of(block_of(buffer_of(entry)), nr);
		/* Its home is cyclically behind the hole: it stays. */
		if (hole <= i ? hole < home && home <= i : hole < home || home <= i)
			continue;
		store(t, hole, entry);
		hole = i;
	}
	store(t, hole, 0);
}

static uint64_t entries_for(uint64_t nr)
{
	return (nr + nr / 2 + GROUP) / GROUP * GROUP;
}

uint64_t index_bytes(uint64_t nr)
{
	return entries_for(nr) * sizeof(uint64_t);
}

/* An idle table of about this size, or a new one. */
static struct table *take_table(struct bufio_client *c, uint64_t nr)
{
	struct table *t;

	for (struct table **link = &c->idle_tables; *link; link = &(*link)->next) {
		t = *link;
		if (t->capacity >= nr && (t->capacity == MIN_CAPACITY || t->capacity / 4 < nr)) {
			*link = t->next;
			return t;
		}
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	for (t->capacity = MIN_CAPACITY; t->capacity < nr;)
		t->capacity *= 2;
	t->entries = memory_map(t->capacity * sizeof(*t->entries));
	if (!t->entries) {
		free(t);
		return NULL;
	}
	return t;
}

int index_resize(struct bufio_client *c, uint64_t nr)
{
	struct table *old = c->table, *t = take_table(c, entries_for(nr));

	if (!t)
		return -ENOMEM;
	t->nr = entries_for(nr);
	for (uint64_t i = 0; old && i < old->nr; i++)
		if (load(old, i))
			insert(t, buffer_of(load(old, i)));
	atomic_store_explicit(&c->table, t, memory_order_release);
	if (old) {
		/* A reader may still be in it: it will find nothing, and ask again under the lock. */
		madvise((void *)old->entries, old->capacity * sizeof(*old->entries), MADV_DONTNEED);
		old->next = c->idle_tables;
		c->idle_tables = old;
	}
	return 0;
}

static void free_table(struct table *t)
{
	munmap((void *)t->entries, t->capacity * sizeof(*t->entries));
	free(t);
}

void index_release_all(struct bufio_client *c)
{
	struct table *t = c->idle_tables, *next;

	for (; t; t = next) {
		next = t->next;
		free_table(t);
	}
	if (c->table)
		free_table(c->table);
}
