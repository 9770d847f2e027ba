// SPDX-License-Identifier: LGPL-2.1-or-later
/* Read, get, new, release and move. All devices start with each byte of block n being n + 1. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bufio/bufio_int.h"
#include "unit.h"

#define BLOCK 512
#define NR_BLOCKS 140
#define RESERVED 7
#define ALL (IO_FAULT_READ | IO_FAULT_WRITE | IO_FAULT_FLUSH)
#define UNTOUCHED ((struct bufio_buffer *)&plan)

static struct io_fault_plan plan;
static struct bufio_device *memory, *dev;
static struct bufio_client *c;

/* A device whose requests do not come back before the gate is open, but for as many as are let through. */
struct gate {
	struct bufio_device dev;
	struct bufio_device *below;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool open;
	unsigned let_through;
	unsigned submitted, completed, flushes;
	unsigned outstanding_at_flush;
};

static void gate_submit(struct bufio_device *d, struct io_request **r, unsigned nr)
{
	struct gate *g = (struct gate *)d;

	g->below->ops->submit(g->below, r, nr);
	pthread_mutex_lock(&g->lock);
	g->submitted += nr;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

static unsigned gate_wait(struct bufio_device *d, struct io_request **done, unsigned max, bool block)
{
	struct gate *g = (struct gate *)d;
	unsigned nr;

	pthread_mutex_lock(&g->lock);
	while (block && !g->open && !g->let_through)
		pthread_cond_wait(&g->changed, &g->lock);
	nr = g->open || max < g->let_through ? max : g->let_through;
	if (nr)
		nr = g->below->ops->wait(g->below, done, nr, block);
	g->completed += nr;
	g->let_through -= g->open ? 0 : nr;
	pthread_mutex_unlock(&g->lock);
	return nr;
}

static int gate_flush(struct bufio_device *d)
{
	struct gate *g = (struct gate *)d;

	pthread_mutex_lock(&g->lock);
	g->outstanding_at_flush = g->submitted - g->completed;
	g->flushes++;
	pthread_mutex_unlock(&g->lock);
	return g->below->ops->flush(g->below);
}

static int gate_refresh(struct bufio_device *d)
{
	struct gate *g = (struct gate *)d;
	int r = g->below->ops->refresh(g->below);

	d->info.size = g->below->info.size;
	return r;
}

static int gate_close(struct bufio_device *d)
{
	int r = bufio_device_close(((struct gate *)d)->below);

	free(d);
	return r;
}

static const struct io_ops gate_ops = {
	.submit = gate_submit, .wait = gate_wait, .flush = gate_flush, .refresh = gate_refresh, .close = gate_close,
};

static struct gate *make_gate(struct bufio_device *below)
{
	struct gate *g = calloc(1, sizeof(*g));

	g->dev.ops = &gate_ops;
	g->dev.info = below->info;
	g->below = below;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
	return g;
}

static void until_submitted(struct gate *g, unsigned nr)
{
	pthread_mutex_lock(&g->lock);
	while (g->submitted < nr)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static void open_gate(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->open = true;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

static void let_through(struct gate *g, unsigned nr)
{
	pthread_mutex_lock(&g->lock);
	g->let_through += nr;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

static unsigned nr_flushes(struct gate *g)
{
	unsigned nr;

	pthread_mutex_lock(&g->lock);
	nr = g->flushes;
	pthread_mutex_unlock(&g->lock);
	return nr;
}

static void open_devices(void)
{
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(NR_BLOCKS * BLOCK, &memory), 0);
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		memset((unsigned char *)io_mem_data(memory) + i * BLOCK, (int)i + 1, BLOCK);
	plan = (struct io_fault_plan){ .kinds = ALL, .error = EIO };
	CU_ASSERT_EQUAL_FATAL(io_fault_open(memory, &plan, &dev), 0);
}

static void create(void)
{
	c = bufio_client_create(dev, BLOCK, RESERVED, sizeof(int), NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
}

/* A client over memory with faults, and the smallest cache. */
static void setup(void)
{
	open_devices();
	create();
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c)), 0);
}

static struct gate *setup_gate(void)
{
	struct gate *g;

	open_devices();
	g = make_gate(dev);
	dev = &g->dev;
	create();
	return g;
}

static void finish(void)
{
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

/* Every byte of a block, or -1 if they are not all alike. */
static int value_of(const unsigned char *data)
{
	for (unsigned i = 1; i < BLOCK; i++)
		if (data[i] != data[0])
			return -1;
	return data[0];
}

static int value_on_device(uint64_t block)
{
	return value_of((unsigned char *)io_mem_data(memory) + block * BLOCK);
}

static int value_in_cache(uint64_t block)
{
	struct bufio_buffer *b;
	unsigned char *data = bufio_read(c, block, &b);
	int v = data ? value_of(data) : -2;

	if (data)
		CU_ASSERT_EQUAL(bufio_release(b), 0);
	return v;
}

static bool is_cached(uint64_t block)
{
	struct bufio_buffer *b;

	return bufio_get(c, block, &b) && bufio_release(b) == 0;
}

static unsigned char *hold(uint64_t block, struct bufio_buffer **b)
{
	unsigned char *data = bufio_read(c, block, b);

	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	return data;
}

static void hold_new(uint64_t block, int value, struct bufio_buffer **b)
{
	void *data = bufio_new(c, block, b);

	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	memset(data, value, BLOCK);
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(*b), 0);
}

static void put(uint64_t block, int value)
{
	struct bufio_buffer *b;

	hold_new(block, value, &b);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
}

static void scan(uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		CU_ASSERT_EQUAL(value_in_cache(i), i + 1);
}

static uint64_t nr_dirty(void)
{
	struct bufio_stats s;

	bufio_get_stats(c, &s);
	return s.dirty;
}

static uint64_t nr_waits(void)
{
	struct bufio_stats s;

	bufio_get_stats(c, &s);
	return s.waits;
}

/* Gives others the time to begin to wait. Only makes a test sharper: nothing depends on it. */
static void until_waits(uint64_t more_than)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		sched_yield();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (nr_waits() <= more_than && now.tv_sec - start.tv_sec < 2);
}

/* Both places on the device, after everything was written. */
static void expect_on_device(uint64_t a, int value_a, uint64_t b, int value_b)
{
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(value_on_device(a), value_a);
	CU_ASSERT_EQUAL(value_on_device(b), value_b);
}

/* --- read, get and release --- */

static void read_hit(void)
{
	struct bufio_buffer *a, *b;
	unsigned char *first, *second;

	setup();
	first = hold(5, &a);
	CU_ASSERT_EQUAL(value_of(first), 6);
	second = hold(5, &b);
	CU_ASSERT_PTR_EQUAL(first, second);
	CU_ASSERT_PTR_EQUAL(a, b);
	CU_ASSERT_EQUAL(bufio_release(a), 0);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(value_in_cache(5), 6);
	CU_ASSERT_EQUAL(plan.count, 1);
	finish();
}

static void holds_count(void)
{
	struct bufio_buffer *a, *b, *again;
	unsigned char *data;

	setup();
	data = hold(5, &a);
	hold(5, &b);
	bufio_release(a);
	scan(10, NR_BLOCKS);
	CU_ASSERT_EQUAL(value_of(data), 6);
	CU_ASSERT_PTR_EQUAL(bufio_get(c, 5, &again), data);
	bufio_release(again);
	bufio_forget(c, 5);
	CU_ASSERT_TRUE(is_cached(5));
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	bufio_forget(c, 5);
	CU_ASSERT_FALSE(is_cached(5));
	finish();
}

static void get_absent(void)
{
	struct bufio_buffer *b = UNTOUCHED;

	setup();
	errno = 0;
	CU_ASSERT_PTR_NULL(bufio_get(c, 5, &b));
	CU_ASSERT_EQUAL(errno, ENOENT);
	CU_ASSERT_PTR_EQUAL(b, UNTOUCHED);
	CU_ASSERT_EQUAL(plan.count, 0);
	finish();
}

static void get_present(void)
{
	struct bufio_buffer *a, *b;
	unsigned char *data;

	setup();
	data = hold(5, &a);
	CU_ASSERT_PTR_EQUAL(bufio_get(c, 5, &b), data);
	CU_ASSERT_PTR_EQUAL(a, b);
	bufio_release(a);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(plan.count, 1);
	finish();
}

static void past_the_end(void)
{
	static const uint64_t blocks[] = { NR_BLOCKS, NR_BLOCKS + 1, UINT64_MAX / BLOCK, UINT64_MAX / BLOCK + 2,
					   UINT64_MAX };
	void *(*calls[])(struct bufio_client *, uint64_t, struct bufio_buffer **) = {
		bufio_read, bufio_get, bufio_new,
	};

	setup();
	for (unsigned i = 0; i < 5; i++)
		for (unsigned j = 0; j < 3; j++) {
			struct bufio_buffer *b = UNTOUCHED;

			errno = 0;
			CU_ASSERT_PTR_NULL(calls[j](c, blocks[i], &b));
			CU_ASSERT_EQUAL(errno, EINVAL);
			CU_ASSERT_PTR_EQUAL(b, UNTOUCHED);
		}
	CU_ASSERT_EQUAL(plan.count, 0);
	CU_ASSERT_EQUAL(value_in_cache(NR_BLOCKS - 1), NR_BLOCKS);
	finish();
}

static void read_error(void)
{
	struct bufio_buffer *b = UNTOUCHED;

	setup();
	plan.fail_at = 1;
	plan.error = ENODATA;
	errno = 0;
	CU_ASSERT_PTR_NULL(bufio_read(c, 5, &b));
	CU_ASSERT_EQUAL(errno, ENODATA);
	CU_ASSERT_PTR_EQUAL(b, UNTOUCHED);
	CU_ASSERT_FALSE(is_cached(5));
	CU_ASSERT_EQUAL(value_in_cache(5), 6);
	CU_ASSERT_EQUAL(plan.count, 2);
	finish();
}

static void many_read_errors(void)
{
	struct bufio_buffer *b;

	setup();
	plan.fail_at = 1;
	plan.sticky = true;
	for (unsigned i = 0; i < 3 * NR_BLOCKS; i++)
		CU_ASSERT_PTR_NULL(bufio_read(c, i % NR_BLOCKS, &b));
	plan.fail_at = 0;
	scan(0, NR_BLOCKS);
	finish();
}

/* --- new --- */

static void new_zeroes(void)
{
	struct bufio_buffer *b;
	unsigned char *data;

	setup();
	CU_ASSERT_EQUAL(value_in_cache(6), 7);
	for (uint64_t block = 5; block <= 6; block++) {
		data = bufio_new(c, block, &b);
		CU_ASSERT_PTR_NOT_NULL_FATAL(data);
		CU_ASSERT_EQUAL(value_of(data), 0);
		CU_ASSERT_EQUAL(bufio_get_block_number(b), block);
		bufio_release(b);
	}
	CU_ASSERT_EQUAL(plan.count, 1);
	finish();
}

static void new_recycled(void)
{
	struct bufio_buffer *b;
	unsigned char *data;

	setup();
	scan(0, 50);
	for (uint64_t block = 50; block < NR_BLOCKS; block++) {
		data = bufio_new(c, block, &b);
		CU_ASSERT_PTR_NOT_NULL_FATAL(data);
		CU_ASSERT_EQUAL(value_of(data), 0);
		memset(data, 0xee, BLOCK);
		bufio_release(b);
	}
	finish();
}

static void new_forgotten(void)
{
	struct bufio_buffer *b;

	setup();
	CU_ASSERT_EQUAL(value_in_cache(6), 7);
	for (uint64_t block = 5; block <= 6; block++) {
		void *data = bufio_new(c, block, &b);

		CU_ASSERT_PTR_NOT_NULL_FATAL(data);
		memset(data, 0xee, BLOCK);
		CU_ASSERT_EQUAL(bufio_release(b), 0);
		CU_ASSERT_EQUAL(value_in_cache(block), block + 1);
	}
	CU_ASSERT_EQUAL(nr_dirty(), 0);
	expect_on_device(5, 6, 6, 7);
	finish();
}

static void new_marked(void)
{
	setup();
	put(5, 0x55);
	CU_ASSERT_EQUAL(value_in_cache(5), 0x55);
	CU_ASSERT_EQUAL(nr_dirty(), 1);
	expect_on_device(5, 0x55, 6, 7);
	finish();
}

static void new_over_dirty(void)
{
	struct bufio_buffer *b;
	unsigned char *data;

	setup();
	put(5, 0x55);
	data = bufio_new(c, 5, &b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	CU_ASSERT_EQUAL(value_of(data), 0);
	memset(data, 0x66, BLOCK);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(nr_dirty(), 1);
	CU_ASSERT_EQUAL(value_in_cache(5), 0x66);
	expect_on_device(5, 0x66, 6, 7);
	finish();
}

static void new_after_failed_read(void)
{
	struct bufio_buffer *b;

	setup();
	plan.fail_at = 1;
	plan.kinds = IO_FAULT_READ;
	plan.sticky = true;
	CU_ASSERT_PTR_NULL(bufio_read(c, 5, &b));
	put(5, 0x55);
	CU_ASSERT_EQUAL(value_in_cache(5), 0x55);
	expect_on_device(5, 0x55, 6, 7);
	finish();
}

static void new_dirty_then_forgotten(void)
{
	struct bufio_buffer *b;

	setup();
	put(5, 0x55);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_new(c, 5, &b));
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(value_in_cache(5), 0x55);
	expect_on_device(5, 0x55, 6, 7);
	finish();
}

/* --- threads --- */

struct taker {
	pthread_t thread;
	void *(*call)(struct bufio_client *, uint64_t, struct bufio_buffer **);
	uint64_t block;
	void *data;
	int error, value;
	sem_t held;
	bool hold_until_wait;
};

static void *take(void *arg)
{
	struct taker *t = arg;
	struct bufio_buffer *b;
	uint64_t waits;

	t->data = t->call(c, t->block, &b);
	t->error = t->data ? 0 : errno;
	waits = nr_waits();
	sem_post(&t->held);
	if (!t->data)
		return NULL;
	t->value = value_of(t->data);
	if (t->hold_until_wait)
		until_waits(waits);
	bufio_release(b);
	return NULL;
}

static void start(struct taker *t)
{
	sem_init(&t->held, 0, 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t->thread, NULL, take, t), 0);
}

static void join(struct taker *t)
{
	pthread_join(t->thread, NULL);
	sem_destroy(&t->held);
}

static void get_while_reading(void)
{
	struct gate *g = setup_gate();
	struct taker t = { .call = bufio_read, .block = 5 };
	struct bufio_buffer *b = UNTOUCHED;

	start(&t);
	until_submitted(g, 1);
	errno = 0;
	CU_ASSERT_PTR_NULL(bufio_get(c, 5, &b));
	CU_ASSERT_EQUAL(errno, EAGAIN);
	CU_ASSERT_PTR_EQUAL(b, UNTOUCHED);
	open_gate(g);
	join(&t);
	CU_ASSERT_EQUAL(t.value, 6);
	CU_ASSERT_TRUE(is_cached(5));
	finish();
}

static void shared_read(void)
{
	struct gate *g = setup_gate();
	struct taker t[4];

	for (unsigned i = 0; i < 4; i++) {
		t[i] = (struct taker){ .call = bufio_read, .block = 5 };
		start(&t[i]);
	}
	until_submitted(g, 1);
	until_waits(3);
	open_gate(g);
	for (unsigned i = 0; i < 4; i++) {
		join(&t[i]);
		CU_ASSERT_EQUAL(t[i].value, 6);
		CU_ASSERT_PTR_EQUAL(t[i].data, t[0].data);
	}
	CU_ASSERT_EQUAL(plan.count, 1);
	finish();
}

static void shared_error(void)
{
	struct gate *g = setup_gate();
	struct taker t[3];

	plan.fail_at = 1;
	plan.sticky = true;
	for (unsigned i = 0; i < 3; i++) {
		t[i] = (struct taker){ .call = bufio_read, .block = 5 };
		start(&t[i]);
	}
	until_submitted(g, 1);
	until_waits(2);
	open_gate(g);
	for (unsigned i = 0; i < 3; i++) {
		join(&t[i]);
		CU_ASSERT_EQUAL(t[i].error, EIO);
	}
	plan.fail_at = 0;
	CU_ASSERT_EQUAL(value_in_cache(5), 6);
	finish();
}

static void new_during_failing_read(void)
{
	struct gate *g = setup_gate();
	struct taker reader = { .call = bufio_read, .block = 5 }, writer = { .call = bufio_new, .block = 5 };

	plan.fail_at = 1;
	start(&reader);
	until_submitted(g, 1);
	start(&writer);
	until_waits(1);
	open_gate(g);
	join(&reader);
	join(&writer);
	CU_ASSERT_EQUAL(reader.error, EIO);
	CU_ASSERT_EQUAL(writer.error, 0);
	CU_ASSERT_EQUAL(writer.value, 0);
	CU_ASSERT_EQUAL(value_in_cache(5), 6);
	finish();
}

static void other_blocks_go_on(void)
{
	struct gate *g = setup_gate();
	struct taker t = { .call = bufio_read, .block = 5 };
	struct bufio_buffer *b;

	start(&t);
	until_submitted(g, 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_new(c, 6, &b));
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_TRUE(is_cached(6));
	open_gate(g);
	join(&t);
	finish();
}

/* Holds blocks from @from on until there is no room. */
static unsigned hold_all(uint64_t from, struct bufio_buffer **b)
{
	unsigned nr = 0;

	errno = 0;
	while (from + nr < NR_BLOCKS && bufio_read(c, from + nr, &b[nr]))
		nr++;
	CU_ASSERT_EQUAL(errno, EDEADLK);
	return nr;
}

static void release_all(struct bufio_buffer **b, unsigned nr)
{
	while (nr)
		CU_ASSERT_EQUAL(bufio_release(b[--nr]), 0);
}

static void everything_held(void)
{
	struct bufio_buffer *b[NR_BLOCKS], *more = UNTOUCHED;
	unsigned nr;

	setup();
	nr = hold_all(0, b);
	CU_ASSERT_TRUE(nr >= RESERVED + 1);
	CU_ASSERT_PTR_NULL(bufio_new(c, 99, &more));
	CU_ASSERT_EQUAL(errno, EDEADLK);
	CU_ASSERT_PTR_EQUAL(more, UNTOUCHED);
	CU_ASSERT_PTR_NOT_NULL(bufio_get(c, 0, &more));
	bufio_release(more);
	CU_ASSERT_EQUAL(bufio_release(b[--nr]), 0);
	CU_ASSERT_EQUAL(value_in_cache(99), 100);
	release_all(b, nr);
	scan(0, NR_BLOCKS);
	finish();
}

static void waits_for_release(void)
{
	struct taker t = { .call = bufio_read, .block = 90, .hold_until_wait = true };
	struct bufio_buffer *b[NR_BLOCKS];
	unsigned nr;

	setup();
	nr = hold_all(0, b);
	bufio_release(b[--nr]);
	start(&t);
	sem_wait(&t.held);
	CU_ASSERT_EQUAL(t.error, 0);
	CU_ASSERT_EQUAL(value_in_cache(91), 92);
	join(&t);
	release_all(b, nr);
	finish();
}

/* A thread that holds every buffer, block 1 in b[1], and then tries something. */
struct hoarder {
	pthread_t thread;
	int (*attempt)(struct hoarder *);
	struct bufio_buffer *b[NR_BLOCKS];
	unsigned nr;
	sem_t ready, go;
	atomic_bool done;
	int result;
};

static void *hoard(void *arg)
{
	struct hoarder *h = arg;

	while (bufio_read(c, h->nr, &h->b[h->nr]))
		h->nr++;
	sem_post(&h->ready);
	sem_wait(&h->go);
	h->result = h->attempt(h);
	atomic_store(&h->done, true);
	sem_wait(&h->go);
	for (unsigned i = 0; i < h->nr; i++)
		if (h->b[i])
			bufio_release(h->b[i]);
	return NULL;
}

/*
 * Another thread holds block 1 too for a while, which must not make the hoarder wait for a release that only it
 * could make. If it does wait, a release in its place lets this test fail instead of hang.
 */
static int result_after_visitor(int (*attempt)(struct hoarder *))
{
	struct hoarder h = { .attempt = attempt };
	uint64_t waits;

	sem_init(&h.ready, 0, 0);
	sem_init(&h.go, 0, 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&h.thread, NULL, hoard, &h), 0);
	sem_wait(&h.ready);
	CU_ASSERT_EQUAL(value_in_cache(1), 2);
	waits = nr_waits();
	sem_post(&h.go);
	while (!atomic_load(&h.done) && nr_waits() <= waits)
		sched_yield();
	if (!atomic_load(&h.done)) {
		bufio_release(h.b[1]);
		h.b[1] = NULL;
	}
	sem_post(&h.go);
	pthread_join(h.thread, NULL);
	sem_destroy(&h.ready);
	sem_destroy(&h.go);
	return h.result;
}

static int attempt_read(struct hoarder *h)
{
	struct bufio_buffer *b;

	(void)h;
	if (!bufio_read(c, 99, &b))
		return -errno;
	return bufio_release(b);
}

static void everything_held_after_visitor(void)
{
	setup();
	CU_ASSERT_EQUAL(result_after_visitor(attempt_read), -EDEADLK);
	scan(0, NR_BLOCKS);
	finish();
}

/* --- move --- */

static void move_to_itself(void)
{
	struct bufio_buffer *b;

	setup();
	hold(5, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 5), 0);
	CU_ASSERT_EQUAL(nr_dirty(), 0);
	scan(10, NR_BLOCKS);
	CU_ASSERT_FALSE(is_cached(5));
	hold_new(7, 0x77, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 7), 0);
	expect_on_device(5, 6, 7, 0x77);
	finish();
}

static void move_to_absent(void)
{
	struct bufio_buffer *b;

	setup();
	hold(5, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	CU_ASSERT_EQUAL(nr_dirty(), 1);
	CU_ASSERT_TRUE(is_cached(9));
	CU_ASSERT_EQUAL(value_in_cache(9), 6);
	CU_ASSERT_EQUAL(value_in_cache(5), 6);
	expect_on_device(5, 6, 9, 6);
	finish();
}

static void move_changed_but_unmarked(void)
{
	struct bufio_buffer *b;

	setup();
	memset(hold(5, &b), 0x55, BLOCK);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	CU_ASSERT_EQUAL(value_in_cache(9), 0x55);
	CU_ASSERT_EQUAL(value_in_cache(5), 6);
	expect_on_device(5, 6, 9, 0x55);
	finish();
}

static void move_to_clean(void)
{
	struct bufio_buffer *b;

	setup();
	CU_ASSERT_EQUAL(value_in_cache(9), 10);
	hold(5, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	CU_ASSERT_EQUAL(value_in_cache(9), 6);
	expect_on_device(5, 6, 9, 6);
	finish();
}

static void move_to_dirty(void)
{
	struct bufio_buffer *b;

	setup();
	put(9, 0x99);
	hold(5, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	CU_ASSERT_EQUAL(nr_dirty(), 1);
	CU_ASSERT_EQUAL(value_in_cache(9), 6);
	expect_on_device(5, 6, 9, 6);
	CU_ASSERT_EQUAL(value_in_cache(9), 6);
	finish();
}

/* What @new_block held is lost anyway, so that it cannot be written must not matter. */
static void move_to_unwritable_dirty(void)
{
	struct bufio_buffer *b;

	setup();
	put(9, 0x99);
	plan.kinds = IO_FAULT_WRITE;
	plan.fail_at = plan.count + 1;
	plan.sticky = true;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
	hold(5, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	plan.fail_at = 0;
	expect_on_device(5, 6, 9, 6);
	finish();
}

static void move_dirty(void)
{
	struct bufio_buffer *b;

	setup();
	hold_new(5, 0x55, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	CU_ASSERT_EQUAL(value_on_device(5), 0x55);
	CU_ASSERT_EQUAL(nr_dirty(), 1);
	CU_ASSERT_EQUAL(value_in_cache(5), 0x55);
	CU_ASSERT_EQUAL(value_in_cache(9), 0x55);
	expect_on_device(5, 0x55, 9, 0x55);
	finish();
}

static void move_unmarked_new(void)
{
	struct bufio_buffer *b;
	void *data;

	setup();
	data = bufio_new(c, 5, &b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	memset(data, 0x55, BLOCK);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	CU_ASSERT_EQUAL(value_in_cache(5), 6);
	CU_ASSERT_EQUAL(value_in_cache(9), 0x55);
	expect_on_device(5, 6, 9, 0x55);
	finish();
}

static void expect_copy_apart(struct bufio_buffer *kept, unsigned char *data, int value)
{
	struct bufio_buffer *copy;
	unsigned char *copied = hold(9, &copy);

	CU_ASSERT_EQUAL(bufio_get_block_number(kept), 5);
	CU_ASSERT_PTR_EQUAL(bufio_get_block_data(kept), data);
	CU_ASSERT_PTR_NOT_EQUAL(copied, data);
	CU_ASSERT_EQUAL(value_of(copied), value);
	CU_ASSERT_EQUAL(*(int *)bufio_get_aux_data(copy), 4711);
	memset(data, 0xcc, BLOCK);
	CU_ASSERT_EQUAL(value_of(copied), value);
	CU_ASSERT_EQUAL(bufio_release(copy), 0);
}

static void move_shared(void)
{
	struct bufio_buffer *kept, *moved;
	unsigned char *data;

	setup();
	data = hold(5, &kept);
	hold(5, &moved);
	*(int *)bufio_get_aux_data(kept) = 4711;
	CU_ASSERT_EQUAL(bufio_release_move(moved, 9), 0);
	expect_copy_apart(kept, data, 6);
	CU_ASSERT_EQUAL(bufio_release(kept), 0);
	expect_on_device(5, 6, 9, 6);
	finish();
}

static void move_shared_dirty(void)
{
	struct bufio_buffer *kept, *moved;
	unsigned char *data;

	setup();
	hold_new(5, 0x55, &kept);
	data = hold(5, &moved);
	*(int *)bufio_get_aux_data(kept) = 4711;
	CU_ASSERT_EQUAL(bufio_release_move(moved, 9), 0);
	CU_ASSERT_EQUAL(value_on_device(5), 0x55);
	expect_copy_apart(kept, data, 0x55);
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(kept), 0);
	CU_ASSERT_EQUAL(bufio_release(kept), 0);
	expect_on_device(5, 0xcc, 9, 0x55);
	finish();
}

static void move_shared_to_dirty(void)
{
	struct bufio_buffer *kept, *moved;

	setup();
	put(9, 0x99);
	hold(5, &kept);
	hold(5, &moved);
	CU_ASSERT_EQUAL(bufio_release_move(moved, 9), 0);
	CU_ASSERT_EQUAL(value_in_cache(9), 6);
	CU_ASSERT_EQUAL(bufio_release(kept), 0);
	expect_on_device(5, 6, 9, 6);
	finish();
}

/* A failed move leaves the caller a hold to release, and both blocks as they were. */
static void expect_still_held(struct bufio_buffer *b, int value)
{
	CU_ASSERT_EQUAL(bufio_get_block_number(b), 5);
	CU_ASSERT_EQUAL(value_of(bufio_get_block_data(b)), value);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
}

static void move_onto_own_hold(void)
{
	struct bufio_buffer *a, *b;

	setup();
	hold(5, &a);
	hold(9, &b);
	CU_ASSERT_EQUAL(bufio_release_move(a, 9), -EDEADLK);
	CU_ASSERT_EQUAL(bufio_get_block_number(b), 9);
	expect_still_held(a, 6);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(nr_dirty(), 0);
	expect_on_device(5, 6, 9, 10);
	finish();
}

static int attempt_move(struct hoarder *h)
{
	int r = bufio_release_move(h->b[0], 1);

	if (!r)
		h->b[0] = NULL;
	return r;
}

static void move_onto_own_hold_after_visitor(void)
{
	setup();
	CU_ASSERT_EQUAL(result_after_visitor(attempt_move), -EDEADLK);
	expect_on_device(0, 1, 1, 2);
	finish();
}

static void move_onto_others_hold(void)
{
	struct taker t = { .call = bufio_read, .block = 9, .hold_until_wait = true };
	struct bufio_buffer *b;

	setup();
	hold(5, &b);
	start(&t);
	sem_wait(&t.held);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), 0);
	join(&t);
	CU_ASSERT_EQUAL(t.value, 10);
	CU_ASSERT_EQUAL(value_in_cache(9), 6);
	expect_on_device(5, 6, 9, 6);
	finish();
}

static void move_past_the_end(void)
{
	struct bufio_buffer *b;

	setup();
	hold(5, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, NR_BLOCKS), -EINVAL);
	CU_ASSERT_EQUAL(bufio_release_move(b, UINT64_MAX), -EINVAL);
	expect_still_held(b, 6);
	CU_ASSERT_EQUAL(nr_dirty(), 0);
	finish();
}

static void move_read_only(void)
{
	struct bufio_buffer *b;

	open_devices();
	dev->info.read_only = true;
	create();
	hold(5, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), -EROFS);
	expect_still_held(b, 6);
	CU_ASSERT_EQUAL(value_in_cache(9), 10);
	CU_ASSERT_EQUAL(nr_dirty(), 0);
	finish();
}

static void move_unwritable(void)
{
	struct bufio_buffer *b;

	setup();
	put(9, 0x99);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	plan.kinds = IO_FAULT_WRITE;
	plan.fail_at = plan.count + 1;
	hold_new(5, 0x55, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), -EIO);
	CU_ASSERT_EQUAL(nr_dirty(), 1);
	expect_still_held(b, 0x55);
	CU_ASSERT_EQUAL(value_in_cache(9), 0x99);
	expect_on_device(5, 0x55, 9, 0x99);
	finish();
}

static void move_shared_without_room(void)
{
	struct bufio_buffer *b[NR_BLOCKS], *again;
	unsigned nr;

	setup();
	nr = hold_all(5, b);
	hold(5, &again);
	CU_ASSERT_EQUAL(bufio_release_move(again, 99), -EDEADLK);
	expect_still_held(again, 6);
	release_all(b, nr);
	expect_on_device(5, 6, 99, 100);
	finish();
}

static void *move_dirty_in_thread(void *arg)
{
	struct bufio_buffer *b;
	int *result = arg;

	if (!bufio_new(c, 91, &b))
		return NULL;
	*result = bufio_mark_buffer_dirty(b);
	*result |= bufio_release_move(b, 93);
	return NULL;
}

static void *write_in_thread(void *arg)
{
	*(int *)arg = bufio_write_dirty_buffers(c);
	return NULL;
}

/* More writes under way than there are transfers, so that the move's own write has to wait for one. */
static void write_waits_for_the_move(void)
{
	struct gate *g = setup_gate();
	int moved = -1, written = -1;
	pthread_t mover, writer;
	uint64_t waits;

	for (unsigned i = 0; i < NR_TRANSFERS; i++)
		put(2 * i, 0x77);
	bufio_write_dirty_buffers_async(c);
	until_submitted(g, NR_TRANSFERS);
	waits = nr_waits();
	pthread_create(&mover, NULL, move_dirty_in_thread, &moved);
	until_waits(waits);
	pthread_create(&writer, NULL, write_in_thread, &written);
	until_waits(waits + 1);
	let_through(g, NR_TRANSFERS);
	until_submitted(g, NR_TRANSFERS + 1);
	/* Either the writer waits on, as the mover does, or it has flushed already. */
	for (unsigned i = 0; i < 1000000 && !nr_flushes(g) && nr_waits() < waits + 4; i++)
		sched_yield();
	open_gate(g);
	pthread_join(mover, NULL);
	pthread_join(writer, NULL);
	CU_ASSERT_EQUAL(moved | written, 0);
	CU_ASSERT_EQUAL(g->outstanding_at_flush, 0);
	finish();
}

static void misuse(void)
{
/* With assertions these mistakes end the process. */
#ifdef NDEBUG
	struct bufio_buffer *b;

	setup();
	hold(5, &b);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(bufio_release(b), -EINVAL);
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), -EINVAL);
	CU_ASSERT_EQUAL(bufio_release_move(b, 9), -EINVAL);
	CU_ASSERT_EQUAL(nr_dirty(), 0);
	CU_ASSERT_EQUAL(value_in_cache(5), 6);
	finish();
#endif
}

static const struct unit_case cases[] = {
	{ "a second read of a block is a hit on the same memory", read_hit },
	{ "holds count: a block stays in memory until its last release", holds_count },
	{ "get of an absent block reads nothing", get_absent },
	{ "get of a cached block holds it", get_present },
	{ "blocks past the end are refused without I/O, however far", past_the_end },
	{ "a read error is returned, and not cached", read_error },
	{ "read errors use no memory up", many_read_errors },
	{ "new is all zeroes and reads nothing", new_zeroes },
	{ "new in a reused buffer is all zeroes", new_recycled },
	{ "new that was not marked dirty is forgotten", new_forgotten },
	{ "new that was marked dirty is written", new_marked },
	{ "new over a dirty block keeps it dirty with the new contents", new_over_dirty },
	{ "new works on a block that cannot be read", new_after_failed_read },
	{ "new over a written block that is not marked again is forgotten", new_dirty_then_forgotten },
	{ "get does not wait for a read", get_while_reading },
	{ "readers of one block share one read", shared_read },
	{ "readers of one block share its error", shared_error },
	{ "new is not hurt by a read that fails meanwhile", new_during_failing_read },
	{ "a read does not keep other blocks waiting", other_blocks_go_on },
	{ "whoever holds everything is told instead of waiting for ever", everything_held },
	{ "the same when another thread has shared one of the blocks before", everything_held_after_visitor },
	{ "whoever finds everything held by several waits for a release", waits_for_release },
	{ "a move onto itself is a release", move_to_itself },
	{ "a move to an absent block leaves the old place as it was", move_to_absent },
	{ "a move takes changes along that were never marked", move_changed_but_unmarked },
	{ "a move to a cached block replaces it", move_to_clean },
	{ "a move to a dirty block replaces it", move_to_dirty },
	{ "a move to a dirty block that cannot be written replaces it", move_to_unwritable_dirty },
	{ "a move of a dirty block ends with the contents in both places", move_dirty },
	{ "a move of an unmarked new block leaves the old place as it was", move_unmarked_new },
	{ "a move of a shared block moves a copy, aux data too", move_shared },
	{ "a move of a shared dirty block writes the old place and moves a copy", move_shared_dirty },
	{ "a move of a shared block to a dirty block replaces it", move_shared_to_dirty },
	{ "a move onto a block that the thread holds itself is refused", move_onto_own_hold },
	{ "the same when another thread has shared that block before", move_onto_own_hold_after_visitor },
	{ "a move onto a block that another holds waits", move_onto_others_hold },
	{ "a move past the end is refused and keeps the hold", move_past_the_end },
	{ "a move on a read-only device is refused and keeps the hold", move_read_only },
	{ "a move of a dirty block that cannot be written keeps hold and dirt", move_unwritable },
	{ "a move that finds no room for its copy keeps the hold", move_shared_without_room },
	{ "the write that a move has begun is on stable media when write_dirty_buffers returns",
	  write_waits_for_the_move },
	{ "what is not held cannot be released, marked or moved", misuse },
	{ NULL, NULL },
};

const struct unit_suite hold_suite = { "hold", cases };
