// SPDX-License-Identifier: LGPL-2.1-or-later
/* Many blocks in few requests, few requests for many threads, and a model that all of it must agree with. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bufio/bufio_int.h"
#include "unit.h"

#define BLOCK 512
#define NR_BLOCKS 512
#define LONG_RUN (3 * TRANSFER_BLOCKS + 5)
#define SCATTERED (3 * NR_TRANSFERS + 1)

static struct io_fault_plan plan;
static struct bufio_device *dev;
static struct bufio_client *c;
static unsigned nr_told;

static void note(void *context, enum bufio_report what, uint64_t block, int error)
{
	(void)context;
	(void)block;
	nr_told += what == BUFIO_REPORT_WRITE_ERROR && error != 0;
}

static void create(void)
{
	c = bufio_client_create(dev, BLOCK, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	bufio_set_report(c, note, NULL);
	nr_told = 0;
}

static void setup_memory(void)
{
	struct bufio_device *memory;

	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(NR_BLOCKS * BLOCK, &memory), 0);
	plan = (struct io_fault_plan){ .kinds = IO_FAULT_WRITE, .error = EIO };
	CU_ASSERT_EQUAL_FATAL(io_fault_open(memory, &plan, &dev), 0);
	create();
}

static void setup_file(void)
{
	const char *dir = getenv("TMPDIR");
	char path[512];
	int fd, r;

	snprintf(path, sizeof(path), "%s/unitXXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(path);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(fd, NR_BLOCKS * BLOCK), 0);
	r = bufio_device_open(path, BUFIO_OPEN_WRITE, "threads", NULL, &dev);
	unlink(path);
	close(fd);
	CU_ASSERT_EQUAL_FATAL(r, 0);
	create();
}

static void finish(void)
{
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

static void set_floor(void)
{
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c)), 0);
}

static struct bufio_stats stats(void)
{
	struct bufio_stats s;

	bufio_get_stats(c, &s);
	return s;
}

static int put(uint64_t block, int value)
{
	struct bufio_buffer *b;
	void *data = bufio_new(c, block, &b);

	if (!data)
		return -errno;
	memset(data, value, BLOCK);
	return bufio_mark_buffer_dirty(b) | bufio_release(b);
}

static int value_of(struct bufio_client *client, uint64_t block)
{
	struct bufio_buffer *b;
	unsigned char *data = bufio_read(client, block, &b);
	int v = data ? data[0] : -2;

	for (unsigned i = 1; data && i < BLOCK; i++)
		if (data[i] != data[0])
			v = -1;
	return data && bufio_release(b) ? -3 : v;
}

/* What block @n holds in the tests below: never 0. */
static int value_for(uint64_t n)
{
	return (int)(n % 251) + 1;
}

/* Through a client of its own: what is on the device. @is_written tells which blocks hold value_for(). */
static void expect_on_device(bool (*is_written)(uint64_t))
{
	struct bufio_client *other = bufio_client_create(dev, BLOCK, 1, 0, NULL, NULL);
	unsigned wrong = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(other);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		wrong += value_of(other, i) != (is_written(i) ? value_for(i) : 0);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(other), 0);
}

static unsigned put_those(bool (*is_written)(uint64_t))
{
	unsigned nr = 0;

	/* Not in order: 27 has no factor in common with the number of blocks. */
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		if (is_written(i * 27 % NR_BLOCKS)) {
			CU_ASSERT_EQUAL(put(i * 27 % NR_BLOCKS, value_for(i * 27 % NR_BLOCKS)), 0);
			nr++;
		}
	return nr;
}

static bool in_long_run(uint64_t n) { return n >= 7 && n < 7 + LONG_RUN; }
static bool is_scattered(uint64_t n) { return n % 2 && n < 2 * SCATTERED; }
static bool in_mixed_runs(uint64_t n) { return n % 97 < n / 6; }

static void check_long_run(void)
{
	CU_ASSERT_EQUAL(put_those(in_long_run), LONG_RUN);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(stats().blocks_written, LONG_RUN);
	CU_ASSERT_EQUAL(stats().write_requests, (LONG_RUN + TRANSFER_BLOCKS - 1) / TRANSFER_BLOCKS);
	expect_on_device(in_long_run);
	finish();
}

static void check_scattered(void)
{
	CU_ASSERT_EQUAL(put_those(is_scattered), SCATTERED);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(stats().blocks_written, SCATTERED);
	CU_ASSERT_EQUAL(stats().write_requests, SCATTERED);
	expect_on_device(is_scattered);
	finish();
}

static void check_async(void)
{
	put_those(is_scattered);
	bufio_write_dirty_buffers_async(c);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(stats().blocks_written, SCATTERED);
	expect_on_device(is_scattered);
	finish();
}

static void long_run(void)
{
	setup_memory();
	check_long_run();
}

static void long_run_file(void)
{
	setup_file();
	check_long_run();
}

static void scattered(void)
{
	setup_memory();
	check_scattered();
}

static void scattered_file(void)
{
	setup_file();
	check_scattered();
}

static void many_async(void)
{
	setup_memory();
	check_async();
}

static void many_async_file(void)
{
	setup_file();
	check_async();
}

static void mixed_runs(void)
{
	unsigned nr;

	setup_file();
	nr = put_those(in_mixed_runs);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_EQUAL(stats().blocks_written, nr);
	CU_ASSERT_TRUE(stats().write_requests < nr / 8);
	expect_on_device(in_mixed_runs);
	finish();
}

static void small_cache(void)
{
	setup_file();
	set_floor();
	put_those(in_mixed_runs);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	expect_on_device(in_mixed_runs);
	finish();
}

static void one_request_fails(void)
{
	for (unsigned n = 1; n <= (LONG_RUN + TRANSFER_BLOCKS - 1) / TRANSFER_BLOCKS; n++) {
		setup_memory();
		put_those(in_long_run);
		plan.fail_at = n;
		CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
		CU_ASSERT_EQUAL(stats().dirty + nr_told, 0);
		expect_on_device(in_long_run);
		finish();
	}
}

static void one_block_fails(void)
{
	for (uint64_t block = 7; block < 7 + LONG_RUN; block += 37) {
		setup_memory();
		put_those(in_long_run);
		plan.bad_begin = block * BLOCK + 1;
		plan.bad_end = block * BLOCK + 2;
		CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
		CU_ASSERT_EQUAL(stats().dirty, 1);
		CU_ASSERT_EQUAL(nr_told, 1);
		CU_ASSERT_EQUAL(stats().blocks_written, LONG_RUN - 1);
		plan.bad_end = 0;
		CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
		expect_on_device(in_long_run);
		finish();
	}
}

static void all_requests_fail(void)
{
	setup_memory();
	put_those(is_scattered);
	plan.fail_at = 1;
	plan.sticky = true;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), -EIO);
	CU_ASSERT_EQUAL(stats().dirty, SCATTERED);
	CU_ASSERT_EQUAL(stats().write_errors, SCATTERED);
	CU_ASSERT_EQUAL(nr_told, SCATTERED);
	plan.fail_at = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	expect_on_device(is_scattered);
	finish();
}

/* --- threads --- */

#define NR_ACTORS 4

struct actor {
	pthread_t thread;
	unsigned id, nr_ops, wrong;
	uint32_t random;
};

static unsigned run_actors(void *(*act)(void *), unsigned nr_ops)
{
	struct actor a[NR_ACTORS];
	unsigned wrong = 0;

	for (unsigned i = 0; i < NR_ACTORS; i++) {
		a[i] = (struct actor){ .id = i, .nr_ops = nr_ops, .random = 1000 + i };
		CU_ASSERT_EQUAL_FATAL(pthread_create(&a[i].thread, NULL, act, a + i), 0);
	}
	for (unsigned i = 0; i < NR_ACTORS; i++) {
		pthread_join(a[i].thread, NULL);
		wrong += a[i].wrong;
	}
	return wrong;
}

/* Blocks of its own in each round: after the call they must be on the device, whoever wrote them. */
static void *write_and_look(void *arg)
{
	struct actor *a = arg;

	for (unsigned i = 0; i < a->nr_ops; i++) {
		uint64_t block = i * 7 % (NR_BLOCKS / NR_ACTORS) * NR_ACTORS + a->id;
		unsigned char data[BLOCK];

		a->wrong += put(block, value_for(i)) != 0;
		a->wrong += bufio_write_dirty_buffers(c) != 0;
		memcpy(data, (unsigned char *)io_mem_data(dev) + block * BLOCK, BLOCK);
		a->wrong += data[0] != value_for(i) || data[BLOCK - 1] != value_for(i);
	}
	return NULL;
}

static void writers_at_once(void)
{
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(NR_BLOCKS * BLOCK, &dev), 0);
	create();
	CU_ASSERT_EQUAL(run_actors(write_and_look, 500), 0);
	finish();
}

static void *read_all(void *arg)
{
	struct actor *a = arg;

	for (unsigned i = 0; i < a->nr_ops; i++) {
		uint64_t block = (i * (2 * a->id + 1) + a->id * 3) % NR_BLOCKS;

		a->wrong += value_of(c, block) != value_for(block);
	}
	return NULL;
}

static bool is_any(uint64_t n)
{
	(void)n;
	return true;
}

static void readers_at_once(void)
{
	setup_file();
	put_those(is_any);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	set_floor();
	CU_ASSERT_EQUAL(run_actors(read_all, 2 * NR_BLOCKS), 0);
	CU_ASSERT_TRUE(stats().blocks_read >= NR_BLOCKS - 8);
	finish();
}

/* --- random operations against a model --- */

#define MODEL_BLOCKS 64
#define WORDS (BLOCK / sizeof(uint64_t))

/* Each word of the block; the lock keeps the users of one block apart, as the library asks its callers to. */
static struct {
	pthread_rwlock_t lock;
	uint64_t word;
} model[MODEL_BLOCKS];

/* The device fails: calls may fail too, but what succeeded must not be lost. */
static bool is_faulty;

static uint32_t next_random(struct actor *a)
{
	a->random ^= a->random << 13;
	a->random ^= a->random >> 17;
	a->random ^= a->random << 5;
	return a->random;
}

/*
 * Not seen by ThreadSanitizer: a buffer that was dirty before may be on its way to the device meanwhile, as the
 * header says. The torn copy does no harm, because the buffer is written again.
 */
__attribute__((no_sanitize_thread)) static void fill(volatile uint64_t *data, uint64_t word)
{
	for (unsigned i = 0; i < WORDS; i++)
		data[i] = word;
}

static bool is_filled(const uint64_t *data, uint64_t word)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (data[i] != word)
			return false;
	return true;
}

/* Releases whatever it finds, so that a mistake is counted and does not end in a deadlock. */
static unsigned check_and_release(struct bufio_buffer *b, const void *data, uint64_t word)
{
	unsigned wrong = !is_filled(data, word);

	return wrong + (bufio_release(b) != 0);
}

static uint64_t new_word(struct actor *a, unsigned op)
{
	return (uint64_t)(a->id + 1) << 32 | op;
}

static void act_read(struct actor *a, unsigned n)
{
	struct bufio_buffer *b;
	void *data;

	pthread_rwlock_rdlock(&model[n].lock);
	data = bufio_read(c, n, &b);
	if (data)
		a->wrong += check_and_release(b, data, model[n].word);
	else
		a->wrong += !is_faulty;
	pthread_rwlock_unlock(&model[n].lock);
}

static void act_get(struct actor *a, unsigned n)
{
	struct bufio_buffer *b;
	void *data;

	pthread_rwlock_rdlock(&model[n].lock);
	data = bufio_get(c, n, &b);
	if (data)
		a->wrong += check_and_release(b, data, model[n].word);
	else
		a->wrong += errno != ENOENT && errno != EAGAIN;
	pthread_rwlock_unlock(&model[n].lock);
}

static void act_modify(struct actor *a, unsigned n, unsigned op)
{
	struct bufio_buffer *b;
	void *data;

	pthread_rwlock_wrlock(&model[n].lock);
	data = bufio_read(c, n, &b);
	a->wrong += data ? !is_filled(data, model[n].word) : !is_faulty;
	if (data) {
		model[n].word = new_word(a, op);
		fill(data, model[n].word);
		a->wrong += bufio_mark_buffer_dirty(b) != 0;
		a->wrong += bufio_release(b) != 0;
	}
	pthread_rwlock_unlock(&model[n].lock);
}

static void act_new(struct actor *a, unsigned n, unsigned op)
{
	struct bufio_buffer *b;
	void *data;

	pthread_rwlock_wrlock(&model[n].lock);
	data = bufio_new(c, n, &b);
	a->wrong += data ? !is_filled(data, 0) : !is_faulty;
	if (data) {
		model[n].word = new_word(a, op);
		fill(data, model[n].word);
		a->wrong += bufio_mark_buffer_dirty(b) != 0;
		a->wrong += bufio_release(b) != 0;
	}
	pthread_rwlock_unlock(&model[n].lock);
}

/* Forgotten, or zeroes if the block was dirty; but nothing else. */
static void act_new_unmarked(struct actor *a, unsigned n)
{
	struct bufio_buffer *b;
	void *data;

	pthread_rwlock_wrlock(&model[n].lock);
	data = bufio_new(c, n, &b);
	a->wrong += data ? check_and_release(b, data, 0) : 1;
	data = bufio_read(c, n, &b);
	if (data && is_filled(data, 0))
		model[n].word = 0;
	a->wrong += data ? check_and_release(b, data, model[n].word) : 1;
	pthread_rwlock_unlock(&model[n].lock);
}

static void act_move(struct actor *a, unsigned from, unsigned to)
{
	unsigned low = from < to ? from : to, high = from < to ? to : from;
	struct bufio_buffer *b;
	void *data;

	pthread_rwlock_wrlock(&model[low].lock);
	if (low != high)
		pthread_rwlock_wrlock(&model[high].lock);
	data = bufio_read(c, from, &b);
	a->wrong += data ? !is_filled(data, model[from].word) : !is_faulty;
	if (data && bufio_release_move(b, to))
		a->wrong += (bufio_release(b) != 0) + !is_faulty;
	else if (data)
		model[to].word = model[from].word;
	if (low != high)
		pthread_rwlock_unlock(&model[high].lock);
	pthread_rwlock_unlock(&model[low].lock);
}

static void act_once(struct actor *a, unsigned op)
{
	unsigned n = next_random(a) % MODEL_BLOCKS, kind = next_random(a) % 256;

	if (kind < 100)
		act_read(a, n);
	else if (kind < 170)
		act_modify(a, n, op);
	else if (kind < 200)
		act_new(a, n, op);
	else if (kind < 210 && !is_faulty)
		act_new_unmarked(a, n);
	else if (kind < 235)
		act_move(a, n, next_random(a) % MODEL_BLOCKS);
	else if (kind < 253)
		act_get(a, n);
	else if (kind < 254)
		bufio_write_dirty_buffers_async(c);
	else
		a->wrong += bufio_write_dirty_buffers(c) && !is_faulty;
}

static void *act(void *arg)
{
	struct actor *a = arg;

	for (unsigned op = 1; op <= a->nr_ops; op++)
		act_once(a, op);
	return NULL;
}

static void compare_with_model(void)
{
	struct bufio_client *other = bufio_client_create(dev, BLOCK, 1, 0, NULL, NULL);
	unsigned wrong = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(other);
	for (unsigned i = 0; i < MODEL_BLOCKS; i++) {
		struct bufio_buffer *b;
		void *data = bufio_read(other, i, &b);

		wrong += data ? check_and_release(b, data, model[i].word) : 1;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(other), 0);
}

static void check_model(unsigned nr_ops, uint64_t more_memory)
{
	for (unsigned i = 0; i < MODEL_BLOCKS; i++) {
		pthread_rwlock_init(&model[i].lock, NULL);
		model[i].word = 0;
	}
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c) + more_memory), 0);
	CU_ASSERT_EQUAL(run_actors(act, nr_ops), 0);
	if (is_faulty)
		bufio_write_dirty_buffers(c);
	plan.fail_at = 0; /* nothing is outstanding */
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	CU_ASSERT_TRUE(stats().peak_bytes > 0 && stats().current_bytes <= bufio_get_memory_limit(c));
	compare_with_model();
	CU_ASSERT_EQUAL(stats().dirty, 0);
	finish();
	for (unsigned i = 0; i < MODEL_BLOCKS; i++)
		pthread_rwlock_destroy(&model[i].lock);
}

static void model_in_small_cache(void)
{
	setup_memory();
	check_model(20000, 0);
}

static void model_in_large_cache(void)
{
	setup_memory();
	check_model(20000, 1 << 20);
}

static void model_in_file(void)
{
	setup_file();
	check_model(3000, 20 * BLOCK);
}

static void model_on_failing_device(void)
{
	static const uint64_t first[] = { 1, 50, 1000 };

	is_faulty = true;
	for (unsigned i = 0; i < 6; i++) {
		setup_memory();
		plan.kinds = i < 3 ? IO_FAULT_WRITE : IO_FAULT_WRITE | IO_FAULT_READ;
		plan.fail_at = first[i % 3];
		plan.sticky = true;
		check_model(2000, i % 2 * 10 * BLOCK);
	}
	is_faulty = false;
}

static const struct unit_case cases[] = {
	{ "a long run of blocks goes in as few requests as it can", long_run },
	{ "a long run of blocks reaches a file", long_run_file },
	{ "more scattered blocks than transfers are all written", scattered },
	{ "more scattered blocks than transfers reach a file", scattered_file },
	{ "more asynchronous writes than transfers are completed by the next call", many_async },
	{ "more asynchronous writes than transfers reach a file", many_async_file },
	{ "runs of all lengths are written, and the gaps between them are not", mixed_runs },
	{ "the same through the smallest cache", small_cache },
	{ "a request of a long run that fails once is made up for, block by block", one_request_fails },
	{ "one bad block of a long run fails alone: its neighbours are written", one_block_fails },
	{ "when every request fails each block is reported, and none is lost", all_requests_fail },
	{ "several threads write at once: what each dirtied is on the device", writers_at_once },
	{ "several threads read at once through the smallest cache", readers_at_once },
	{ "random operations of several threads agree with the model in the smallest cache", model_in_small_cache },
	{ "random operations of several threads agree with the model in a cache that holds all", model_in_large_cache },
	{ "random operations of several threads agree with the model on a file", model_in_file },
	{ "random operations on a device that goes away lose nothing that succeeded", model_on_failing_device },
	{ NULL, NULL },
};

const struct unit_suite transfer_suite = { "transfer", cases };
