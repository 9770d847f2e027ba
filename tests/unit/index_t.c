// SPDX-License-Identifier: LGPL-2.1-or-later
/* Block number -> buffer, without the cache around it. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bufio/bufio_int.h"
#include "unit.h"

#define NR 400

/* A client that has nothing but an index, and buffers that have nothing but a number. */
static struct bufio_client *c;
static struct bufio_buffer *buffers[NR];
static bool is_in[NR];

static void setup(uint64_t room)
{
	c = aligned_alloc(alignof(struct bufio_client), sizeof(*c));
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < NR; i++) {
		buffers[i] = aligned_alloc(64, (sizeof(*buffers[i]) + 63) / 64 * 64);
		CU_ASSERT_PTR_NOT_NULL_FATAL(buffers[i]);
		memset(buffers[i], 0, sizeof(*buffers[i]));
		is_in[i] = false;
	}
	CU_ASSERT_EQUAL_FATAL(index_resize(c, room), 0);
}

static void finish(void)
{
	index_release_all(c);
	free(c);
	for (unsigned i = 0; i < NR; i++)
		free(buffers[i]);
}

static void insert(unsigned i, uint64_t block)
{
	atomic_store_explicit(&buffers[i]->block, block, memory_order_relaxed);
	index_insert(c, buffers[i]);
	is_in[i] = true;
}

static void take_out(unsigned i)
{
	index_remove(c, buffers[i]);
	is_in[i] = false;
}

/* Whether each of the first @nr buffers is found if it is in, and not if it is out. */
static unsigned count_wrong(unsigned nr)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < nr; i++)
		wrong += index_find(c, block_of(buffers[i])) != (is_in[i] ? buffers[i] : NULL);
	return wrong;
}

static uint32_t next_random(void)
{
	static uint32_t x = 4711;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

/* Buffer i is always block n(i): all different. */
static void at_random(uint64_t (*number)(unsigned), unsigned nr, unsigned rounds)
{
	unsigned wrong = 0;

	setup(nr);
	for (unsigned i = 0; i < nr; i++)
		atomic_store_explicit(&buffers[i]->block, number(i), memory_order_relaxed);
	for (unsigned n = 0; n < rounds; n++) {
		unsigned i = next_random() % nr;

		if (is_in[i])
			take_out(i);
		else
			insert(i, number(i));
		if (n % 16 == 0)
			wrong += count_wrong(nr);
	}
	CU_ASSERT_EQUAL(wrong + count_wrong(nr), 0);
	finish();
}

static uint64_t plain(unsigned i)
{
	return i;
}

static uint64_t high(unsigned i)
{
	return UINT64_MAX - i;
}

static uint64_t far_apart(unsigned i)
{
	return (uint64_t)i << 48;
}

static uint64_t scattered(unsigned i)
{
	return (i + 1) * UINT64_C(0xD1B54A32D192ED03) >> 7;
}

static void model(void)
{
	at_random(plain, NR, 6000);
	at_random(high, NR, 6000);
	at_random(far_apart, NR, 6000);
	at_random(scattered, NR, 6000);
}

/* In tables of some entries every search soon comes to the end and goes on at the start. */
static void small_tables(void)
{
	for (unsigned nr = 1; nr <= 12; nr++) {
		at_random(plain, nr, 300);
		at_random(scattered, nr, 300);
	}
}

static void full(void)
{
	setup(NR);
	for (unsigned i = 0; i < NR; i++)
		insert(i, scattered(i));
	CU_ASSERT_EQUAL(count_wrong(NR), 0);
	for (unsigned i = 0; i < NR; i++)
		CU_ASSERT_PTR_NULL(index_find(c, scattered(NR + i)));
	for (unsigned i = 0; i < NR; i++)
		take_out(NR - 1 - i);
	CU_ASSERT_EQUAL(count_wrong(NR), 0);
	finish();
}

static void resized(void)
{
	static const unsigned rooms[] = { 100, 101, NR, 100, 5000, 100, 250, 100000, 100 };

	setup(100);
	for (unsigned i = 0; i < 100; i++)
		insert(i, scattered(i));
	for (unsigned i = 0; i < sizeof(rooms) / sizeof(*rooms); i++) {
		CU_ASSERT_EQUAL(index_resize(c, rooms[i]), 0);
		CU_ASSERT_EQUAL(count_wrong(NR), 0);
		for (unsigned n = 100; n < rooms[i] && n < NR; n++)
			insert(n, scattered(n));
		CU_ASSERT_EQUAL(count_wrong(NR), 0);
		for (unsigned n = 100; n < NR; n++)
			if (is_in[n])
				take_out(n);
		CU_ASSERT_EQUAL(count_wrong(NR), 0);
	}
	finish();
}

static void bytes(void)
{
	CU_ASSERT_TRUE(index_bytes(0) < 4096);
	for (uint64_t nr = 1; nr < UINT64_C(1) << 40; nr *= 3) {
		CU_ASSERT_TRUE(index_bytes(nr) >= nr * sizeof(void *));
		CU_ASSERT_TRUE(index_bytes(nr) <= nr * 4 * sizeof(void *) + 4096);
		CU_ASSERT_TRUE(index_bytes(nr + 1) >= index_bytes(nr));
	}
}

static atomic_bool stop;

/* What a reader without a lock finds is a buffer of ours, whatever is moved meanwhile. */
static void *find_for_ever(void *arg)
{
	uintptr_t wrong = 0;

	(void)arg;
	while (!atomic_load(&stop))
		for (unsigned i = 0; i < 60; i++) {
			struct bufio_buffer *b = index_find(c, i);
			bool ours = !b;

			for (unsigned n = 0; n < 60 && !ours; n++)
				ours = b == buffers[n];
			wrong += !ours;
		}
	return (void *)wrong;
}

static void readers(void)
{
	pthread_t t[2];
	void *wrong;

	setup(60);
	stop = false;
	for (unsigned i = 0; i < 2; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, find_for_ever, NULL), 0);
	for (unsigned n = 0; n < 20000; n++) {
		unsigned i = next_random() % 60;

		if (is_in[i])
			take_out(i);
		else
			insert(i, i);
		if (n % 500 == 0)
			CU_ASSERT_EQUAL(index_resize(c, 60 + n / 100), 0);
	}
	CU_ASSERT_EQUAL(count_wrong(60), 0);
	stop = true;
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(t[i], &wrong);
		CU_ASSERT_PTR_NULL(wrong);
	}
	finish();
}

static const struct unit_case cases[] = {
	{ "what is in the index is found, and what is not is not, whatever the numbers", model },
	{ "so it is in tables of any small size, around whose end every search goes", small_tables },
	{ "an index takes as many buffers as it has room for", full },
	{ "a new size keeps everything, larger or smaller", resized },
	{ "the bytes of an index grow with its buffers, and little faster", bytes },
	{ "readers without a lock find buffers, whatever is changed meanwhile", readers },
	{ NULL, NULL },
};

const struct unit_suite index_suite = { "index", cases };
