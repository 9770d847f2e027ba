// SPDX-License-Identifier: LGPL-2.1-or-later
/* Reading in bulk: what is given, in which order, and how far ahead. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "requests.h"
#include "scan_set.h"

/* --- each block once --- */

static void everything(void)
{
	static const unsigned buffers[] = { 8, 50, NR_BLOCKS };

	for (unsigned i = 0; i < 12; i++) {
		set_setup_everything(buffers[i / 4]);
		CU_ASSERT_EQUAL(set_scan(some_threads[i % 4]), 0);
		set_expect();
		CU_ASSERT_EQUAL(set.nr_errors, 0);
		CU_ASSERT_TRUE(rig_stats().peak_bytes <= bufio_get_memory_limit(rig.c));
		rig_close();
	}
}

static void add_many_ranges(void)
{
	for (uint64_t i = 0; i < 60; i++)
		set_add(i * 7, i % 5 + 1);
	for (uint64_t i = 100; i; i--) /* backwards, some of them for the second time */
		set_add(i * 5, 2);
	set_add(NR_BLOCKS - 1, 1);
	set_add(0, 1);
}

static void any_set(void)
{
	for (unsigned i = 0; i < 8; i++) {
		set_setup();
		rig_set_buffers(i < 4 ? 8 : 64);
		add_many_ranges();
		CU_ASSERT_EQUAL(set_scan(some_threads[i % 4]), 0);
		set_expect();
		rig_close();
	}
}

static void empty_set(void)
{
	set_setup();
	CU_ASSERT_EQUAL(set_scan(1), 0);
	CU_ASSERT_EQUAL(set_scan(4), 0);
	CU_ASSERT_EQUAL(set.nr_calls, 0);
	rig_close();
}

static void scan_empty_ranges(void)
{
	for (unsigned i = 0; i < 4; i++) {
		set_setup();
		set_add(3, 0);
		set_add(5, 2);
		set_add(0, 0);
		set_add(9, 1);
		set_add(NR_BLOCKS, 0);
		CU_ASSERT_EQUAL(set_scan(some_threads[i]), 0);
		set_expect();
		rig_close();
	}
}

static void empty_ranges(void)
{
	rig_run_apart(scan_empty_ranges, 10);
}

/* A range needs no callback. */
static int scan_range(uint64_t block, uint64_t nr, unsigned threads, bool in_order)
{
	struct bufio_scan what = { .block = set_take, .context = &set, .first_block = block, .nr_blocks = nr,
				   .threads = threads, .in_order = in_order };

	set_add(block, nr); /* for the comparison only */
	return bufio_scan(rig.c, &what);
}

static void range_alone(void)
{
	for (unsigned i = 0; i < 5; i++) {
		set_setup();
		CU_ASSERT_EQUAL(scan_range(10, 400, i < 4 ? some_threads[i] : 1, i == 4), 0);
		set_expect();
		set_clear();
		CU_ASSERT_EQUAL(scan_range(NR_BLOCKS, 0, 1, false), 0);
		CU_ASSERT_EQUAL(set.nr_calls, 0);
		CU_ASSERT_EQUAL(scan_range(NR_BLOCKS - 1, 2, 1, false), -EINVAL);
		CU_ASSERT_EQUAL(scan_range(1, UINT64_MAX, 2, false), -EINVAL);
		CU_ASSERT_EQUAL(set.nr_calls, 0);
		rig_close();
	}
}

static void in_order(void)
{
	unsigned n = 0, wrong = 0;

	for (unsigned threads = 0; threads <= 1; threads++) {
		set_setup();
		add_many_ranges();
		rig.plan.delay_us = 20;
		rig_read_all(30, 50); /* these are there first */
		CU_ASSERT_EQUAL(set_scan_with(&set, threads, true, 0), 0);
		set_expect();
		n = 0;
		for (unsigned i = 0; i < set.nr_ranges; i++)
			for (uint64_t k = 0; k < set.ranges[i].nr; k++)
				wrong += set.order[n++] != set.ranges[i].block + k;
		CU_ASSERT_EQUAL(wrong, 0);
		rig_close();
	}
}

static int is_caller(struct set *s, uint64_t block)
{
	(void)block;
	return !pthread_equal(s->caller, pthread_self());
}

static void callers_thread_alone(void)
{
	for (unsigned i = 0; i < 3; i++) {
		set_setup_everything(64);
		set.also = is_caller;
		CU_ASSERT_EQUAL(set_scan_with(&set, i == 2, i < 2, 0), 0);
		set_expect();
		rig_close();
	}
}

static sem_t arrived;
static atomic_uint nr_met;

/* Two of these at the same time, each of which waits for the other. */
static int meet(struct set *s, uint64_t block)
{
	struct timespec limit;

	(void)s;
	if (block != 0 && block != NR_BLOCKS / 2)
		return 0;
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 5;
	atomic_fetch_add(&nr_met, 1);
	if (atomic_load(&nr_met) == 2) {
		sem_post(&arrived);
		return 0;
	}
	return sem_timedwait(&arrived, &limit);
}

static void at_the_same_time(void)
{
	set_setup_everything(NR_BLOCKS);
	sem_init(&arrived, 0, 0);
	nr_met = 0;
	set.also = meet;
	CU_ASSERT_EQUAL(set_scan_with(&set, 4, false, NR_BLOCKS * BLOCK), 0);
	CU_ASSERT_EQUAL(nr_met, 2);
	set_expect();
	sem_destroy(&arrived);
	rig_close();
}

/* --- what is in the cache --- */

static int is_as_put(struct set *s, uint64_t block)
{
	(void)s;
	return rig_read(block) != (block % 3 ? rig_pattern(block) : 0x77);
}

/* Dirty, being written, and written; the device has something else. */
static void dirty_contents(void)
{
	set_setup_everything(NR_BLOCKS);
	for (uint64_t i = 0; i < NR_BLOCKS; i += 3)
		CU_ASSERT_EQUAL(rig_put(i, 0x77), 0);
	set.also = is_as_put;
	CU_ASSERT_EQUAL(set_scan(1), 0);
	set_expect();
	CU_ASSERT_EQUAL(rig.nr_writes, 0);
	rig_keep(IO_FAULT_WRITE);
	for (uint64_t i = 0; i < 30; i += 3)
		CU_ASSERT_EQUAL(rig_put(i, 0x77), 0);
	set_clear();
	set_add(0, 30);
	set.also = is_as_put;
	CU_ASSERT_EQUAL(set_scan(1), 0);
	set_expect();
	rig_let_all_go();
	rig_close();
}

/* What is handed out for a block is the cache's own memory: the callback sees what a holder has put there. */
static void held_contents(void)
{
	struct bufio_buffer *b;

	set_setup_everything(16);
	memset(rig_hold(100, &b), 0x77, BLOCK);
	CU_ASSERT_EQUAL(set_scan(2), 0);
	CU_ASSERT_EQUAL(set.nr_wrong, 1);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	rig_close();
}

static void read_once(void)
{
	set_setup_everything(NR_BLOCKS);
	rig_read_all(10, 20);
	bufio_prefetch(rig.c, 100, 50);
	CU_ASSERT_EQUAL(set_scan(2), 0);
	set_expect();
	CU_ASSERT_EQUAL(rig_stats().blocks_read, NR_BLOCKS);
	CU_ASSERT_EQUAL(rig_stats().misses, NR_BLOCKS);
	CU_ASSERT_EQUAL(rig_stats().hits, 10 + 50);
	rig_close();
}

static int dirty_it(struct set *s, uint64_t block)
{
	struct bufio_buffer *b;

	(void)s;
	if (!bufio_get(rig.c, block, &b) || bufio_mark_buffer_dirty(b))
		return 1;
	return bufio_release(b);
}

/* Memory fills with what is dirty, and the next clean buffer is one that was read ahead. */
static void ahead_is_spared(void)
{
	set_setup_everything(64);
	set.also = dirty_it;
	rig.plan.delay_us = 50;
	CU_ASSERT_EQUAL(set_scan_with(&set, 1, true, 24 * BLOCK), 0);
	set_expect();
	CU_ASSERT_EQUAL(rig_stats().blocks_read, NR_BLOCKS);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	CU_ASSERT_EQUAL(rig_stats().blocks_written, NR_BLOCKS);
	rig_close();
}

/* What was read ahead then is in nobody's way: the next scan reads in large requests. */
static void ended_is_not_spared(void)
{
	uint64_t before;

	set_setup();
	rig_set_buffers(200);
	for (unsigned i = 0; i < 12; i++) {
		set_clear();
		set_add(0, 1);
		set_add(64 + i * 32, 32); /* is read ahead when the scan ends */
		set.end_at = 1;
		set.value = 7;
		CU_ASSERT_EQUAL(set_scan_with(&set, 1, true, 0), 7);
	}
	set_clear();
	set_add(448, 64);
	before = rig_stats().read_requests;
	CU_ASSERT_EQUAL(set_scan_with(&set, 1, true, 0), 0);
	CU_ASSERT_TRUE(rig_stats().read_requests - before <= 64 / 8);
	rig_close();
}

/* Whatever room there is. */
static void little_memory(void)
{
	uint64_t before;

	for (unsigned i = 0; i < 4; i++) {
		set_setup_everything(NR_BLOCKS);
		rig_read_all(0, 20);
		before = rig_stats().current_bytes;
		CU_ASSERT_EQUAL(set_scan_with(&set, some_threads[i], false, 64 * BLOCK), 0);
		set_expect();
		CU_ASSERT_TRUE(rig_stats().peak_bytes <= before + 2 * 64 * BLOCK);
		/* And what was there before is there still. */
		CU_ASSERT_EQUAL(rig_count_cached(0, 20), 20);
		rig_close();
	}
}

static void merged(void)
{
	struct bufio_stats s;

	set_setup_everything(NR_BLOCKS);
	CU_ASSERT_EQUAL(set_scan(1), 0);
	s = rig_stats();
	CU_ASSERT_TRUE(s.read_requests <= NR_BLOCKS / 32);
	CU_ASSERT_EQUAL(s.read_requests, rig.nr_reads);
	CU_ASSERT_EQUAL(s.blocks_read, NR_BLOCKS);
	CU_ASSERT_EQUAL(s.merged, NR_BLOCKS - s.read_requests);
	CU_ASSERT_EQUAL(s.read_bytes, NR_BLOCKS * BLOCK);
	rig_close();
}

static void behind_offset(void)
{
	set_setup();
	CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, 8 * 251), 0); /* the pattern repeats */
	set_add(0, NR_BLOCKS - 251);
	CU_ASSERT_EQUAL(set_scan(2), 0);
	set_expect();
	set_clear();
	set_add(NR_BLOCKS - 251, 1);
	CU_ASSERT_EQUAL(set_scan(2), -EINVAL);
	rig_close();
}

static void check_file(const char *engine, unsigned threads)
{
	unsigned char data[BLOCK];
	int fd;
	struct bufio_device *dev = requests_open_file(engine, NR_BLOCKS * BLOCK, &fd);

	for (uint64_t i = 0; i < NR_BLOCKS; i++) {
		memset(data, rig_pattern(i), BLOCK);
		CU_ASSERT_EQUAL(pwrite(fd, data, BLOCK, (off_t)(i * BLOCK)), BLOCK);
	}
	set_clear();
	memset(&rig, 0, sizeof(rig));
	rig.c = bufio_client_create(dev, BLOCK, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rig.c);
	rig_set_buffers(100);
	set_add(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(set_scan(threads), 0);
	set_expect();
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	requests_close_file(dev, fd);
}

static void files(void)
{
	for (unsigned threads = 1; threads <= 3; threads += 2) {
		check_file("threads", threads);
		check_file("auto", threads);
	}
}

/* --- errors --- */

static void errors_go_on(void)
{
	for (unsigned i = 0; i < 4; i++) {
		set_setup();
		for (uint64_t n = 0; n < 100; n++)
			set_add(n * 3, 1);
		rig_damage(IO_READ, 33, EIO);
		rig_damage(IO_READ, 99, ENODATA);
		CU_ASSERT_EQUAL(set_scan(some_threads[i]), 0);
		set_expect();
		CU_ASSERT_EQUAL(set.nr_errors, 2);
		CU_ASSERT_TRUE(set.error == -EIO || set.error == -ENODATA);
		/* Not cached: both can be read when the device can. */
		rig_damage(IO_READ, 33, 0);
		rig_damage(IO_READ, 99, 0);
		rig_read_all(0, NR_BLOCKS);
		rig_close();
	}
}

static void whole_device_fails(void)
{
	set_setup_everything(20);
	rig.plan.kinds = IO_FAULT_READ;
	rig.plan.fail_at = 1;
	rig.plan.sticky = true;
	CU_ASSERT_EQUAL(set_scan(3), 0);
	set_expect();
	CU_ASSERT_EQUAL(set.nr_errors, NR_BLOCKS);
	rig.plan.fail_at = 0;
	rig_read_all(0, NR_BLOCKS);
	rig_close();
}

/* Their neighbours went in the same request, and can be read: each by itself would be. */
static void bad_among_neighbours(void)
{
	static const uint64_t bad[] = { 37, 100, 101, NR_BLOCKS - 1 };

	for (unsigned i = 0; i < 8; i++) {
		unsigned wrong = 0;

		set_setup_everything(i < 4 ? NR_BLOCKS : 8);
		for (unsigned n = 0; n < 4; n++)
			rig_damage(IO_READ, bad[n], EIO);
		CU_ASSERT_EQUAL(set_scan(some_threads[i % 4]), 0);
		set_expect();
		CU_ASSERT_EQUAL(set.nr_errors, 4);
		/* Ahead, alone, and once more when it is wanted; but none for a neighbour. */
		CU_ASSERT_TRUE(rig_stats().read_errors >= 4 && rig_stats().read_errors <= 8);
		for (unsigned n = 0; n < 4; n++)
			wrong += !set.failed[bad[n]];
		CU_ASSERT_EQUAL(wrong, 0);
		rig_close();
	}
}

static void past_the_end(void)
{
	static const uint64_t ranges[][2] = {
		{ NR_BLOCKS, 1 }, { NR_BLOCKS - 1, 2 }, { 0, NR_BLOCKS + 1 }, { UINT64_MAX, 1 }, { 2, UINT64_MAX },
		{ UINT64_MAX / BLOCK + 2, 1 },
	};

	for (unsigned i = 0; i < 4 * sizeof(ranges) / sizeof(*ranges); i++) {
		set_setup();
		set_add(10, 2);
		set_add(ranges[i / 4][0], ranges[i / 4][1]);
		CU_ASSERT_EQUAL(set_scan(some_threads[i % 4]), -EINVAL);
		CU_ASSERT_EQUAL(set.nr_wrong, 0);
		rig_read_all(0, NR_BLOCKS);
		rig_close();
	}
}

static void in_order_with_threads(void)
{
	set_setup_everything(64);
	CU_ASSERT_EQUAL(set_scan_with(&set, 2, true, 0), -EINVAL);
	CU_ASSERT_EQUAL(set.at, 0);
	CU_ASSERT_EQUAL(set.nr_calls, 0);
	rig_close();
}

/* --- ended early --- */

static void ended(void)
{
	static const int values[] = { 1, 4711, -EIO, -1 };

	for (unsigned i = 0; i < 4; i++) {
		set_setup_everything(100);
		set.end_at = 70;
		set.value = values[i];
		CU_ASSERT_EQUAL(set_scan(1), values[i]);
		CU_ASSERT_EQUAL(set.nr_calls, 70);
		CU_ASSERT_EQUAL(set.nr_wrong, 0);
		rig_read_all(0, NR_BLOCKS);
		rig_close();
	}
}

static void ended_with_threads(void)
{
	for (unsigned i = 0; i < 50; i++) {
		set_setup_everything(100);
		set.end_at = 1 + 3 * i;
		set.value = 5;
		CU_ASSERT_EQUAL(set_scan(4), 5);
		CU_ASSERT_TRUE(set.nr_calls >= set.end_at && set.nr_calls < NR_BLOCKS);
		CU_ASSERT_EQUAL(set.nr_wrong, 0);
		rig_close();
	}
}

/* A buffer that a scan had kept would be held, and soon there would be none left. */
static void ended_often(void)
{
	struct bufio_buffer *b[8];

	set_setup_everything(8);
	for (unsigned i = 0; i < 500; i++) {
		set_clear();
		set_add(i, NR_BLOCKS - i);
		set.end_at = 1 + i % 5;
		set.value = 1;
		CU_ASSERT_EQUAL(set_scan(1 + i % 3), 1);
	}
	for (unsigned i = 0; i < 8; i++)
		rig_hold(i, &b[i]);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(bufio_release(b[i]), 0);
	CU_ASSERT_EQUAL(bufio_client_reset(rig.c), 0);
	rig_close();
}

/* --- the window --- */

static void *scan_in_thread(void *s)
{
	CU_ASSERT_EQUAL(set_scan_with(s, 1, false, 0), 0);
	return NULL;
}

static uint64_t kept_bytes(void)
{
	uint64_t bytes = 0;

	rig_wait_for_requests(1);
	usleep(50000); /* for more than there should be */
	for (unsigned i = 0; i < rig_count_kept(); i++)
		bytes += rig.log[i].bytes;
	return bytes;
}

/* What is under way when nothing comes back. */
static uint64_t bytes_ahead(unsigned buffers, uint64_t read_ahead, unsigned *requests)
{
	pthread_t t;
	uint64_t bytes;

	set_setup_everything(buffers);
	bufio_set_read_ahead(rig.c, read_ahead);
	CU_ASSERT_EQUAL(bufio_get_read_ahead(rig.c), read_ahead);
	rig_keep(IO_FAULT_READ);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, scan_in_thread, &set), 0);
	bytes = kept_bytes();
	*requests = rig_count_kept();
	rig_let_all_go();
	pthread_join(t, NULL);
	set_expect();
	rig_close();
	return bytes;
}

static void window(void)
{
	unsigned requests;

	CU_ASSERT_EQUAL(bytes_ahead(NR_BLOCKS, 100 * BLOCK, &requests), 100 * BLOCK);
	CU_ASSERT_TRUE(bytes_ahead(NR_BLOCKS, 0, &requests) > 0);
	CU_ASSERT_EQUAL(requests, 1);
	CU_ASSERT_EQUAL(bytes_ahead(NR_BLOCKS, 1, &requests), BLOCK);
	CU_ASSERT_EQUAL(requests, 1);
}

static void half_of_the_limit(void)
{
	static const unsigned buffers[] = { 8, 33, 200 };
	unsigned requests;

	for (unsigned i = 0; i < 3; i++) {
		uint64_t bytes = bytes_ahead(buffers[i], UINT64_MAX, &requests);

		CU_ASSERT_TRUE(bytes > 0 && bytes <= buffers[i] / 2 * BLOCK);
		/* And nearly as much as allowed. */
		CU_ASSERT_TRUE(bytes >= (buffers[i] / 2 - 1) * BLOCK);
	}
}

static void default_read_ahead(void)
{
	set_setup();
	CU_ASSERT_EQUAL(bufio_get_read_ahead(rig.c), 8 * MIB);
	bufio_set_read_ahead(rig.c, UINT64_MAX);
	CU_ASSERT_EQUAL(bufio_get_read_ahead(rig.c), UINT64_MAX);
	rig_close();
}

static const struct unit_case cases[] = {
	{ "each block is given exactly once, with its contents, whatever the threads and the memory", everything },
	{ "a set of many ranges, backwards and overlapping, is given as it is", any_set },
	{ "an empty set is no error", empty_set },
	{ "an empty range inside a set is not its end", empty_ranges },
	{ "a range needs no callback to give it", range_alone },
	{ "in order is the order of the set, whatever is there first", in_order },
	{ "in order, or with one thread, the caller's thread alone is called", callers_thread_alone },
	{ "several threads are called at the same time", at_the_same_time },
	{ "dirty blocks, and those being written, are given as they are in the cache", dirty_contents },
	{ "a held block is given as its holder has it", held_contents },
	{ "what is cached or on its way is not read again, and hits and misses are counted", read_once },
	{ "what is read ahead is not given up to read further ahead, and so is read once", ahead_is_spared },
	{ "what a scan that ended early had read ahead is given up to read ahead", ended_is_not_spared },
	{ "a scan takes little more memory than its window, and leaves what was there", little_memory },
	{ "neighbours are read in one request, and counted as merged", merged },
	{ "a sector offset is obeyed", behind_offset },
	{ "files are scanned through every engine", files },
	{ "a block that cannot be read is given as an error, and the scan goes on; it is not cached", errors_go_on },
	{ "a device that fails altogether gives an error for each block", whole_device_fails },
	{ "a block that cannot be read costs none of its neighbours", bad_among_neighbours },
	{ "a block past the end is refused, however far", past_the_end },
	{ "in order with several threads is refused, and nothing called", in_order_with_threads },
	{ "the first value that is not 0 ends the scan and is its result", ended },
	{ "it ends several threads soon", ended_with_threads },
	{ "a scan that ended early keeps no buffer", ended_often },
	{ "as much is read ahead as the window says, at least one request", window },
	{ "the window is at most half of the memory limit, and nearly that if it may", half_of_the_limit },
	{ "8 MiB are read ahead at first, and the getter gives what was set", default_read_ahead },
	{ NULL, NULL },
};

const struct unit_suite scan_suite = { "scan", cases };
