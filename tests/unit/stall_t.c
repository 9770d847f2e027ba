// SPDX-License-Identifier: LGPL-2.1-or-later
/* Who need not wait for whom: slow callbacks, slow devices, devices on top of clients, changes of the budget. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rig.h"

#define BLOCK 4096
#define NR_BLOCKS 256

static void setup(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
}

/* Hits on blocks 0 to 7, which are in the cache, by read and get. */
static void expect_hits(int (*value)(uint64_t))
{
	struct bufio_buffer *b;
	unsigned hits = 0;

	for (uint64_t i = 0; i < 10000; i++) {
		hits += rig_read(i % 8) == value(i % 8);
		if (bufio_get(rig.c, i % 8, &b))
			hits += bufio_release(b) == 0;
	}
	CU_ASSERT_EQUAL(hits, 20000);
}

static int seventies(uint64_t block)
{
	return 0x70 + (int)block;
}

/* --- slow callbacks --- */

/* In the callback until told to go on; only the first time, and for some seconds at most. */
static sem_t inside, go_on;
static atomic_bool is_slow;

static void linger(struct bufio_buffer *b)
{
	struct timespec limit;

	(void)b;
	if (!atomic_exchange(&is_slow, false))
		return;
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 5;
	sem_post(&inside);
	CU_ASSERT_EQUAL(sem_timedwait(&go_on, &limit), 0);
}

static void *read_99(void *value)
{
	*(int *)value = rig_read(99);
	return NULL;
}

static void *write_dirty(void *result)
{
	*(int *)result = bufio_write_dirty_buffers(rig.c);
	return NULL;
}

static void hit_during_callback(void *(*run)(void *), int expected)
{
	pthread_t t;
	int r = -1;

	sem_init(&inside, 0, 0);
	sem_init(&go_on, 0, 0);
	is_slow = true;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, run, &r), 0);
	sem_wait(&inside);
	expect_hits(rig_pattern);
	sem_post(&go_on);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(r, expected);
	sem_destroy(&inside);
	sem_destroy(&go_on);
	rig_close();
}

static void slow_alloc(void)
{
	rig_open(BLOCK, NR_BLOCKS);
	is_slow = false;
	rig_create(1, 0, linger, NULL);
	rig_read_all(0, 8);
	hit_during_callback(read_99, rig_pattern(99));
}

static void slow_write(void)
{
	rig_open(BLOCK, NR_BLOCKS);
	is_slow = false;
	rig_create(1, 0, NULL, linger);
	rig_read_all(0, 8);
	CU_ASSERT_EQUAL(rig_put(20, 0x77), 0);
	hit_during_callback(write_dirty, 0);
}

/* --- slow devices --- */

/* Eight dirty buffers are all there is, and one has to be written for block 99; the write does not come back. */
static void hits_during_eviction(void)
{
	pthread_t t;
	int value = -1;

	setup();
	rig_set_floor();
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, 100), 0);
	for (uint64_t i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(rig_put(i, 0x70 + (int)i), 0);
	rig_keep(IO_FAULT_WRITE);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, read_99, &value), 0);
	rig_wait_for_requests(1);
	expect_hits(seventies);
	rig_let_all_go();
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(value, rig_pattern(99));
	rig_close();
}

/* The calls that never wait, while one thread waits for a read and another for a write. */
static void waitless_calls(void)
{
	struct bufio_buffer *b;
	pthread_t reader, writer;
	int value = -1, r = -1;

	setup();
	rig_read_all(0, 8);
	CU_ASSERT_EQUAL(rig_put(20, 0x77), 0);
	rig_keep(IO_FAULT_READ | IO_FAULT_WRITE);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&reader, NULL, read_99, &value), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&writer, NULL, write_dirty, &r), 0);
	rig_wait_for_requests(8 + 2);
	expect_hits(rig_pattern);
	bufio_prefetch(rig.c, 100, 20);
	bufio_forget_buffers(rig.c, 0, UINT64_MAX);
	CU_ASSERT_PTR_NULL(bufio_get(rig.c, 99, &b));
	CU_ASSERT_EQUAL(errno, EAGAIN);
	CU_ASSERT_PTR_NULL(bufio_get(rig.c, 0, &b));
	CU_ASSERT_EQUAL(errno, ENOENT);
	CU_ASSERT_EQUAL(rig_put(50, 0x77), 0);
	bufio_write_dirty_buffers_async(rig.c);
	rig_let_all_go();
	pthread_join(reader, NULL);
	pthread_join(writer, NULL);
	CU_ASSERT_EQUAL(value, rig_pattern(99));
	CU_ASSERT_EQUAL(r, 0);
	rig_close();
}

/* More of them than requests, none beside another, and none comes back. */
static void write_many_async(void)
{
	setup();
	for (uint64_t i = 0; i < NR_BLOCKS; i += 2)
		CU_ASSERT_EQUAL(rig_put(i, 0x77), 0);
	rig_keep(IO_FAULT_WRITE);
	bufio_write_dirty_buffers_async(rig.c);
	bufio_write_dirty_buffers_async(rig.c);
	CU_ASSERT_TRUE(rig.nr_writes > 0);
	rig_let_all_go();
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(rig_on_device(i), i % 2 ? rig_pattern(i) : 0x77);
	rig_close();
}

static void many_async(void)
{
	rig_run_apart(write_many_async, 5);
}

static unsigned count_writes_of(uint64_t block)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rig.nr_log && i < RIG_LOG; i++)
		n += rig.log[i].direction == IO_WRITE && rig.log[i].offset / BLOCK == block;
	return n;
}

/* The rest is written without a call that writes; what fails is not tried again and again. */
static void async_follows(void)
{
	struct bufio_buffer *b;

	for (unsigned by_reading = 0; by_reading < 2; by_reading++) {
		setup();
		for (uint64_t i = 0; i < NR_BLOCKS; i += 2)
			CU_ASSERT_EQUAL(rig_put(i, 0x77), 0);
		rig_damage(IO_WRITE, NR_BLOCKS - 2, EIO);
		bufio_write_dirty_buffers_async(rig.c);
		for (uint64_t i = 1; i < 100; i += 2) {
			if (by_reading)
				CU_ASSERT_EQUAL(rig_read(i), rig_pattern(i));
			CU_ASSERT_PTR_NULL(bufio_get(rig.c, NR_BLOCKS - 1, &b));
		}
		CU_ASSERT_EQUAL(rig_stats().dirty, 1);
		CU_ASSERT_EQUAL(count_writes_of(NR_BLOCKS - 2), 1);
		for (uint64_t i = 0; i < NR_BLOCKS - 2; i += 2)
			CU_ASSERT_EQUAL(rig_on_device(i), 0x77);
		CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), -EIO);
		rig_damage(IO_WRITE, NR_BLOCKS - 2, 0);
		rig_close();
	}
}

/* Not all of them are under way when one is changed, one discarded, one forgotten and the limit lowered. */
static void async_and_others(void)
{
	setup();
	for (uint64_t i = 0; i < NR_BLOCKS; i += 2)
		CU_ASSERT_EQUAL(rig_put(i, 0x77), 0);
	bufio_write_dirty_buffers_async(rig.c);
	CU_ASSERT_EQUAL(rig_put(NR_BLOCKS - 2, 0x66), 0);
	bufio_forget_buffers(rig.c, 0, UINT64_MAX);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 1, 1), 0);
	rig_set_floor();
	rig_within_limit();
	bufio_write_dirty_buffers_async(rig.c);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	for (uint64_t i = 0; i < NR_BLOCKS - 2; i += 2)
		CU_ASSERT_EQUAL(rig_on_device(i), 0x77);
	CU_ASSERT_EQUAL(rig_on_device(NR_BLOCKS - 2), 0x66);
	rig_close_device();
}

static atomic_bool stop;

static void *dirty_for_ever(void *arg)
{
	uintptr_t wrong = 0;

	for (unsigned i = 0; !atomic_load(&stop); i++)
		wrong += rig_put(*(uint64_t *)arg + i % 40, 0x77) != 0;
	return (void *)wrong;
}

/* Others dirty blocks faster than they can be written; what was dirty before is written all the same. */
static void write_beside_dirtiers(void)
{
	uint64_t first[2] = { 0, 100 };
	pthread_t t[2];
	void *wrong;

	setup();
	rig_set_buffers(64);
	stop = false;
	rig.plan.delay_us = 20;
	for (unsigned i = 0; i < 2; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, dirty_for_ever, &first[i]), 0);
	for (unsigned i = 0; i < 100; i++) {
		CU_ASSERT_EQUAL(rig_put(200 + i % 50, (int)i), 0);
		CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
		CU_ASSERT_EQUAL(rig_on_device(200 + i % 50), (int)i);
	}
	stop = true;
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(t[i], &wrong);
		CU_ASSERT_PTR_NULL(wrong);
	}
	rig_close();
}

static void writes_end(void)
{
	rig_run_apart(write_beside_dirtiers, 20);
}

/* --- the budget --- */

#define NR_USERS 3

/* Each has blocks of its own, so that it knows what is in them. */
static void *read_and_write(void *arg)
{
	uint64_t n = *(uint64_t *)arg;
	unsigned char value[NR_BLOCKS] = { 0 };
	uintptr_t wrong = 0;

	for (unsigned i = 0; !atomic_load(&stop); i++) {
		uint64_t block = (i * UINT64_C(11) % (NR_BLOCKS / NR_USERS)) * NR_USERS + n;

		if (value[block])
			wrong += rig_read(block) != value[block];
		value[block] = (unsigned char)(i % 255 + 1);
		wrong += rig_put(block, value[block]) != 0;
		if (i % 200 == 0)
			wrong += bufio_write_dirty_buffers(rig.c) != 0;
	}
	return (void *)wrong;
}

static unsigned change_everything(unsigned i)
{
	unsigned failed = 0;

	failed += bufio_set_memory_limit(rig.c, bufio_get_memory_floor(rig.c) + i % 7 * 100 * BLOCK) != 0;
	failed += bufio_set_dirty_percent(rig.c, i % 100 + 1) != 0;
	failed += bufio_set_minimum_buffers(rig.c, i % 3 * 40) != 0;
	bufio_set_read_ahead(rig.c, i * BLOCK);
	bufio_reset_peak(rig.c);
	return failed;
}

static void run_budget(void)
{
	uint64_t n[NR_USERS] = { 0, 1, 2 };
	pthread_t t[NR_USERS];
	unsigned failed = 0;
	void *wrong;

	setup();
	stop = false;
	for (unsigned i = 0; i < NR_USERS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, read_and_write, &n[i]), 0);
	for (unsigned i = 0; i < 300; i++) {
		failed += change_everything(i);
		sched_yield();
	}
	stop = true;
	for (unsigned i = 0; i < NR_USERS; i++) {
		pthread_join(t[i], &wrong);
		CU_ASSERT_PTR_NULL(wrong);
	}
	CU_ASSERT_EQUAL(failed, 0);
	rig_set_floor();
	rig_within_limit();
	rig_close();
}

static void budget_in_a_loop(void)
{
	rig_run_apart(run_budget, 30);
}

static uint64_t waits;

static bool somebody_waits_more(void)
{
	return rig_stats().waits > waits;
}

/* All buffers are held here, and stay so: another thread waits until the limit is raised, or the minimum. */
static void wait_for_room(int (*raise)(void))
{
	struct bufio_buffer *b[8];
	pthread_t t;
	int value = -1;

	setup();
	rig_set_floor();
	for (unsigned i = 0; i < 8; i++)
		rig_hold(i, &b[i]);
	waits = rig_stats().waits;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, read_99, &value), 0);
	CU_ASSERT_TRUE(rig_wait_until(somebody_waits_more, 2000));
	CU_ASSERT_EQUAL(raise(), 0);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(value, rig_pattern(99));
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(bufio_release(b[i]), 0);
	rig_close();
}

static int raise_limit(void)
{
	return bufio_set_memory_limit(rig.c, 4 * MIB);
}

static int raise_minimum(void)
{
	return bufio_set_minimum_buffers(rig.c, 20);
}

static void run_raised(void)
{
	wait_for_room(raise_limit);
	wait_for_room(raise_minimum);
}

static void raised(void)
{
	rig_run_apart(run_raised, 10);
}

static void *ask_for_ever(void *arg)
{
	uintptr_t wrong = 0;

	(void)arg;
	while (!atomic_load(&stop)) {
		struct bufio_stats s = rig_stats();
		uint64_t read_ahead = bufio_get_read_ahead(rig.c); /* once: it is changed meanwhile */

		wrong += s.current_bytes > s.peak_bytes && s.peak_bytes;
		wrong += bufio_get_memory_limit(rig.c) < 8 * BLOCK || bufio_get_memory_floor(rig.c) < 8 * BLOCK;
		wrong += bufio_get_dirty_percent(rig.c) > 100;
		wrong += read_ahead > 300 * BLOCK && read_ahead != 8 * MIB;
		wrong += bufio_get_device_size(rig.c) != NR_BLOCKS || bufio_get_block_size(rig.c) != BLOCK;
	}
	return (void *)wrong;
}

static void asked_meanwhile(void)
{
	pthread_t t;
	void *wrong;

	setup();
	stop = false;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, ask_for_ever, NULL), 0);
	for (unsigned i = 0; i < 300; i++)
		CU_ASSERT_EQUAL(change_everything(i), 0);
	stop = true;
	pthread_join(t, &wrong);
	CU_ASSERT_PTR_NULL(wrong);
	rig_close();
}

/* --- a device that is a client --- */

/* As a loop device over a file in a file system over a loop device: its I/O goes through another cache. */
struct stacked {
	struct bufio_device dev;
	struct bufio_client *below;
	pthread_mutex_t lock;
	struct io_queue done;
};

static int move_bytes(struct bufio_client *c, enum io_direction direction, uint64_t offset, struct iovec v)
{
	unsigned size = bufio_get_block_size(c);

	for (size_t at = 0; at < v.iov_len; at += size) {
		struct bufio_buffer *b;
		char *data = bufio_read(c, (offset + at) / size, &b);
		int r = 0;

		if (!data)
			return -errno;
		if (direction == IO_WRITE) {
			memcpy(data, (char *)v.iov_base + at, size);
			r = bufio_mark_buffer_dirty(b);
		} else {
			memcpy((char *)v.iov_base + at, data, size);
		}
		r |= bufio_release(b);
		if (r)
			return r;
	}
	return 0;
}

static void stacked_submit(struct bufio_device *dev, struct io_request **r, unsigned nr)
{
	struct stacked *s = (struct stacked *)dev;

	for (unsigned i = 0; i < nr; i++) {
		uint64_t offset = r[i]->offset;

		r[i]->result = 0;
		for (unsigned n = 0; n < r[i]->nr_iov && !r[i]->result; offset += r[i]->iov[n++].iov_len)
			r[i]->result = move_bytes(s->below, r[i]->direction, offset, r[i]->iov[n]);
		pthread_mutex_lock(&s->lock);
		io_queue_push(&s->done, r[i]);
		pthread_mutex_unlock(&s->lock);
	}
}

static unsigned stacked_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	struct stacked *s = (struct stacked *)dev;
	unsigned nr = 0;

	(void)block;
	pthread_mutex_lock(&s->lock);
	while (nr < max && (done[nr] = io_queue_pop(&s->done)))
		nr++;
	pthread_mutex_unlock(&s->lock);
	return nr;
}

static int stacked_flush(struct bufio_device *dev)
{
	return bufio_write_dirty_buffers(((struct stacked *)dev)->below);
}

static int stacked_refresh(struct bufio_device *dev)
{
	(void)dev;
	return 0;
}

static const struct io_ops stacked_ops = {
	.submit = stacked_submit, .wait = stacked_wait, .flush = stacked_flush, .refresh = stacked_refresh,
};

/* The rig's client is the upper one; both have as little memory as can be. */
static void run_stacked(void)
{
	struct stacked s = { .dev.ops = &stacked_ops };
	uint64_t n[NR_USERS] = { 0, 1, 2 };
	pthread_t t[NR_USERS];
	struct timespec moment = { .tv_nsec = 200000000 };
	void *wrong;

	rig_setup(1024, NR_BLOCKS * 4);
	rig_set_floor();
	s.below = rig.c;
	s.dev.info = rig.dev->info;
	pthread_mutex_init(&s.lock, NULL);
	io_queue_init(&s.done);
	rig.block_size = BLOCK;
	rig.c = bufio_client_create(&s.dev, BLOCK, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rig.c);
	rig_set_floor();
	stop = false;
	for (unsigned i = 0; i < NR_USERS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, read_and_write, &n[i]), 0);
	nanosleep(&moment, NULL);
	stop = true;
	for (unsigned i = 0; i < NR_USERS; i++) {
		pthread_join(t[i], &wrong);
		CU_ASSERT_PTR_NULL(wrong);
	}
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	rig.c = s.below;
	rig_close();
}

static void stacked(void)
{
	rig_run_apart(run_stacked, 20);
}

static const struct unit_case cases[] = {
	{ "while an allocation callback takes its time other threads hit", slow_alloc },
	{ "while a write callback takes its time other threads hit", slow_write },
	{ "while an eviction's write is under way other threads hit", hits_during_eviction },
	{ "what waits for nothing does not wait for a thread that waits", waitless_calls },
	{ "an asynchronous write of more blocks than there are requests waits for none", many_async },
	{ "the rest of them follows when somebody waits or looks, and what fails is tried once", async_follows },
	{ "what is to follow may be changed, forgotten, evicted and destroyed", async_and_others },
	{ "a write ends, however fast others dirty blocks", writes_end },
	{ "the budget may change in a loop while others read and write", budget_in_a_loop },
	{ "a raised limit or minimum is room for whoever waits for some", raised },
	{ "everything may be asked while everything is changed", asked_meanwhile },
	{ "a client over a device that is a client does not deadlock", stacked },
	{ NULL, NULL },
};

const struct unit_suite stall_suite = { "stall", cases };
