// SPDX-License-Identifier: LGPL-2.1-or-later
/* One block: what it must read as, and what the device may have of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "model.h"

unsigned seal_bytes(void)
{
	return w.config.callback ? 4 : 0;
}

static unsigned size(void)
{
	return w.config.block_size;
}

static bool is_same(const unsigned char *a, const unsigned char *b)
{
	return !memcmp(a + seal_bytes(), b + seal_bytes(), size() - seal_bytes());
}

static unsigned char *new_bytes(void)
{
	unsigned char *p = calloc(1, size());

	if (!p)
		fail("no memory");
	return p;
}

void block_init(struct block *b)
{
	pthread_rwlock_init(&b->lock, NULL);
	pthread_mutex_init(&b->content, NULL);
	b->now = new_bytes();
	b->other = new_bytes();
	for (unsigned i = 0; i < NR_VERSIONS; i++)
		b->versions[i] = new_bytes();
}

void block_begin(struct block *b)
{
	b->generation = 0;
	b->doubtful = false;
	b->raw = true;
	b->moved_from = b->aux = 0;
	b->nr_versions = 1;
	memset(b->now, 0, size());
	memset(b->versions[0], 0, size());
}

void block_exit(struct block *b)
{
	for (unsigned i = 0; i < NR_VERSIONS; i++)
		free(b->versions[i]);
	free(b->other);
	free(b->now);
	pthread_mutex_destroy(&b->content);
	pthread_rwlock_destroy(&b->lock);
}

/* --- seals --- */

uint32_t seal_of(uint64_t block, const unsigned char *data)
{
	return crc32c_raw(0xffffffff, data + 4, size() - 4) ^ (uint32_t)mix(block);
}

static uint32_t first_bytes(const unsigned char *data)
{
	uint32_t v;

	memcpy(&v, data, sizeof(v));
	return v;
}

/* The write callback. */
void seal(struct bufio_buffer *b)
{
	uint64_t block = bufio_get_block_number(b);
	unsigned char *data = bufio_get_block_data(b);
	uint32_t v;

	if (block >= NR_BLOCKS)
		fail("write callback for block %llu", (unsigned long long)block);
	pthread_mutex_lock(&w.blocks[block].content);
	v = seal_of(block, data);
	memcpy(data, &v, sizeof(v));
	pthread_mutex_unlock(&w.blocks[block].content);
}

/* In memory: not sealed since the last change, or sealed as this block or as the one that it was moved from. */
static bool has_possible_seal(uint64_t block, const unsigned char *data)
{
	uint32_t v = first_bytes(data);
	uint64_t from = w.blocks[block].moved_from;

	return !v || v == seal_of(block, data) || (from && v == seal_of(from - 1, data));
}

static bool has_right_seal(uint64_t block, const unsigned char *data)
{
	return first_bytes(data) == (w.blocks[block].raw ? 0 : seal_of(block, data));
}

/* --- saying what is wrong --- */

/* The number of the version + 1, or 0. */
static unsigned find_version(const struct block *b, const unsigned char *data)
{
	for (unsigned i = 0; i < b->nr_versions && i < NR_VERSIONS; i++)
		if (is_same(b->versions[i], data))
			return i + 1;
	return 0;
}

/* The block's own contents are looked for first: many have zeroes. */
static void name_contents(uint64_t block, const unsigned char *data)
{
	for (uint64_t i = 0; i < NR_BLOCKS; i++) {
		uint64_t n = (block + i) % NR_BLOCKS;
		const struct block *b = &w.blocks[n];
		unsigned v = find_version(b, data);

		if (v)
			fail("... it has version %u of %u of block %llu%s%s", v, b->nr_versions, (unsigned long long)n,
			     v == b->nr_versions ? ", the newest" : "", b->raw ? ", zeroes" : "");
	}
	fail("... it has what no block has had lately");
}

static void complain(uint64_t block, const unsigned char *data, const char *where)
{
	const unsigned char *now = w.blocks[block].now;
	unsigned first = seal_bytes(), last = size() - 1;

	while (first < last && data[first] == now[first])
		first++;
	while (last > first && data[last] == now[last])
		last--;
	fflush(stdout);
	printf("# block %llu %s is not as it should be, from byte %u to %u of %u\n", (unsigned long long)block, where,
	       first, last, size());
	name_contents(block, data);
}

/* --- in memory --- */

static void settle(struct block *b, const unsigned char *data)
{
	if (b->doubtful && is_same(b->other, data))
		memcpy(b->now, b->other, size());
	b->doubtful = false;
}

void check_cached(uint64_t block, const unsigned char *data)
{
	struct block *b = &w.blocks[block];

	pthread_mutex_lock(&b->content);
	settle(b, data);
	if (!is_same(b->now, data))
		complain(block, data, "in memory");
	if (w.config.callback && !has_possible_seal(block, data))
		fail("block %llu in memory has the right contents, but a wrong seal", (unsigned long long)block);
	pthread_mutex_unlock(&b->content);
}

void check_zero(uint64_t block, const unsigned char *data)
{
	struct block *b = &w.blocks[block];

	pthread_mutex_lock(&b->content);
	for (unsigned i = seal_bytes(); i < size(); i++)
		if (data[i])
			fail("block %llu is new, but not zero at byte %u", (unsigned long long)block, i);
	pthread_mutex_unlock(&b->content);
}

/*
 * Bytes of a held buffer may change while the device reads them: they are marked again and written again. Nothing that
 * a sanitizer would understand, so it does not see these.
 */
__attribute__((no_sanitize("thread"), noinline)) static void poke(unsigned char *to, const unsigned char *from,
								  unsigned start, unsigned end)
{
	while (start < end && start % 8)
		*(volatile unsigned char *)(to + start) = from[start], start++;
	for (; end - start >= 8; start += 8)
		*(volatile uint64_t *)(to + start) = *(const uint64_t *)(from + start);
	while (start < end)
		*(volatile unsigned char *)(to + start) = from[start], start++;
}

static void paint(unsigned char *p, uint64_t base, unsigned start, unsigned end)
{
	while (start < end) {
		uint64_t word = base + start / 8 * UINT64_C(0x9e3779b97f4a7c15);

		if (start % 8 == 0 && end - start >= 8) {
			memcpy(p + start, &word, 8);
			start += 8;
		} else {
			p[start] = (unsigned char)(word >> (start % 8 * 8));
			start++;
		}
	}
}

/* One more that the device may have from now on. */
static void add_version(struct block *b, const unsigned char *contents)
{
	if (b->nr_versions < NR_VERSIONS)
		memcpy(b->versions[b->nr_versions], contents, size());
	if (b->nr_versions <= NR_VERSIONS)
		b->nr_versions++;
}

void change(uint64_t block, unsigned char *data, unsigned start, unsigned end)
{
	struct block *b = &w.blocks[block];

	pthread_mutex_lock(&b->content);
	b->generation++;
	paint(b->now, mix(w.config.seed ^ block << 48 ^ b->generation), start, end);
	memset(b->now, 0, seal_bytes());
	poke(data, b->now, start, end);
	poke(data, b->now, 0, seal_bytes());
	b->raw = false;
	add_version(b, b->now);
	pthread_mutex_unlock(&b->content);
}

static void replace(struct block *b, bool raw)
{
	b->generation++;
	b->doubtful = false;
	b->raw = raw;
	b->moved_from = 0;
	add_version(b, b->now);
}

void becomes_zero(uint64_t block)
{
	struct block *b = &w.blocks[block];

	pthread_mutex_lock(&b->content);
	memset(b->now, 0, size());
	replace(b, false);
	pthread_mutex_unlock(&b->content);
}

void becomes_discarded(uint64_t block)
{
	struct block *b = &w.blocks[block];

	pthread_mutex_lock(&b->content);
	memset(b->now, 0, size());
	replace(b, true);
	pthread_mutex_unlock(&b->content);
}

/* What is raw is not dirty: there is no doubt then. */
void becomes_doubtful(uint64_t block)
{
	struct block *b = &w.blocks[block];

	pthread_mutex_lock(&b->content);
	if (!b->raw) {
		b->generation++;
		b->doubtful = true;
		memset(b->other, 0, size());
		add_version(b, b->other);
	}
	pthread_mutex_unlock(&b->content);
}

void becomes_copy(uint64_t block, uint64_t of)
{
	struct block *b = &w.blocks[block];

	pthread_mutex_lock(&b->content);
	memcpy(b->now, w.blocks[of].now, size());
	replace(b, false);
	b->moved_from = of + 1;
	pthread_mutex_unlock(&b->content);
}

/* --- on the device --- */

bool is_on_device(uint64_t block)
{
	const struct block *b = &w.blocks[block];
	unsigned char room[size()];

	return is_same(b->now, device_block(block, room));
}

void check_on_device(uint64_t block)
{
	struct block *b = &w.blocks[block];
	unsigned char room[size()];
	const unsigned char *data = device_block(block, room);

	pthread_mutex_lock(&b->content);
	settle(b, data);
	if (!is_same(b->now, data))
		complain(block, data, "on the device");
	if (w.config.callback && !has_right_seal(block, data))
		fail("block %llu on the device has the right contents, but the wrong seal", (unsigned long long)block);
	if (b->nr_versions > 1)
		memcpy(b->versions[0], b->now, size());
	b->nr_versions = 1;
	pthread_mutex_unlock(&b->content);
}

/* A write that was under way during a change may have left some bytes of each. */
static bool is_mixture(const struct block *b, const unsigned char *data)
{
	for (unsigned i = seal_bytes(); i < size(); i++) {
		unsigned v = 0;

		while (v < b->nr_versions && b->versions[v][i] != data[i])
			v++;
		if (v == b->nr_versions)
			return false;
	}
	return true;
}

void check_plausible_on_device(uint64_t block)
{
	const struct block *b = &w.blocks[block];
	unsigned char room[size()];
	const unsigned char *data = device_block(block, room);

	if (b->nr_versions > NR_VERSIONS)
		return;
	for (unsigned v = 0; v < b->nr_versions; v++)
		if (is_same(b->versions[v], data))
			return;
	if (w.exact || !is_mixture(b, data))
		complain(block, data, "on the device, where a write failed,");
}
