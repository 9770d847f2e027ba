// SPDX-License-Identifier: LGPL-2.1-or-later
/* Reading ahead without waiting, and get beside it. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "requests.h"
#include "rig.h"

#define BLOCK 4096
#define NR_BLOCKS 256
#define UNTOUCHED ((struct bufio_buffer *)&rig)

static void setup(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
}

/* get's errno, or 0. */
static int try_get(uint64_t block)
{
	struct bufio_buffer *b = UNTOUCHED;

	errno = 0;
	if (bufio_get(rig.c, block, &b)) {
		CU_ASSERT_EQUAL(rig_value_of(bufio_get_block_data(b), BLOCK), rig_pattern(block));
		CU_ASSERT_EQUAL(bufio_release(b), 0);
		return 0;
	}
	CU_ASSERT_PTR_EQUAL(b, UNTOUCHED);
	return errno;
}

static void reads_ahead(void)
{
	setup();
	bufio_prefetch(rig.c, 10, 16);
	CU_ASSERT_EQUAL(rig.nr_reads, 1);
	CU_ASSERT_EQUAL(rig.log[0].offset, 10 * BLOCK);
	CU_ASSERT_EQUAL(rig.log[0].bytes, 16 * BLOCK);
	rig_read_all(10, 26);
	CU_ASSERT_EQUAL(rig.nr_reads, 1);
	CU_ASSERT_EQUAL(try_get(9), ENOENT);
	CU_ASSERT_EQUAL(try_get(26), ENOENT);
	CU_ASSERT_EQUAL(rig_stats().blocks_read, 16);
	CU_ASSERT_EQUAL(rig_stats().misses, 16);
	CU_ASSERT_EQUAL(rig_stats().merged, 15);
	rig_close();
}

static void leaves_out_what_is_there(void)
{
	setup();
	rig_read_all(12, 14);
	CU_ASSERT_EQUAL(rig_put(20, 0x77), 0);
	bufio_prefetch(rig.c, 10, 16);
	bufio_prefetch(rig.c, 10, 16);
	CU_ASSERT_EQUAL(rig.nr_reads, 2 + 3);
	CU_ASSERT_EQUAL(rig_stats().blocks_read, 2 + 13);
	rig_read_all(10, 20);
	rig_read_all(21, 26);
	CU_ASSERT_EQUAL(rig_read(20), 0x77);
	CU_ASSERT_EQUAL(rig_stats().blocks_read, 2 + 13);
	rig_close();
}

static void past_the_end(void)
{
	setup();
	bufio_prefetch(rig.c, NR_BLOCKS, 1);
	bufio_prefetch(rig.c, UINT64_MAX, 1);
	bufio_prefetch(rig.c, UINT64_MAX, UINT64_MAX);
	bufio_prefetch(rig.c, UINT64_MAX / BLOCK + 1, 5);
	bufio_prefetch(rig.c, 3, 0);
	CU_ASSERT_EQUAL(rig.nr_reads, 0);
	bufio_prefetch(rig.c, NR_BLOCKS - 2, 100);
	CU_ASSERT_EQUAL(rig_stats().blocks_read, 2);
	bufio_prefetch(rig.c, 0, UINT64_MAX);
	rig_read_all(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(rig_stats().blocks_read, NR_BLOCKS);
	CU_ASSERT_EQUAL(try_get(NR_BLOCKS), EINVAL);
	CU_ASSERT_EQUAL(try_get(UINT64_MAX), EINVAL);
	rig_close();
}

/* Nothing that the device does would ever end it: that it ends is the test. */
static void waits_for_nothing(void)
{
	setup();
	rig_keep(IO_FAULT_READ);
	bufio_prefetch(rig.c, 0, 10);
	bufio_prefetch(rig.c, 0, UINT64_MAX);
	CU_ASSERT_TRUE(rig.nr_reads > 0);
	rig_let_all_go();
	rig_read_all(0, NR_BLOCKS);
	rig_close();
}

/* One block a request, so that requests run out before memory does. */
static void requests_are_short(void)
{
	setup();
	rig_keep(IO_FAULT_READ);
	for (uint64_t i = 0; i < NR_BLOCKS; i += 2)
		bufio_prefetch(rig.c, i, 1);
	CU_ASSERT_TRUE(rig.nr_reads >= 1 && rig.nr_reads <= NR_BLOCKS / 2);
	CU_ASSERT_EQUAL(try_get(0), EAGAIN);
	rig_let_all_go();
	rig_read_all(0, NR_BLOCKS);
	rig_close();
}

static void memory_is_held(void)
{
	struct bufio_buffer *b[8];

	setup();
	rig_set_floor();
	for (unsigned i = 0; i < 8; i++)
		rig_hold(i, &b[i]);
	bufio_prefetch(rig.c, 100, 50);
	CU_ASSERT_EQUAL(rig.nr_reads, 8);
	CU_ASSERT_EQUAL(try_get(100), ENOENT);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(bufio_release(b[i]), 0);
	bufio_prefetch(rig.c, 100, 4);
	rig_read_all(100, 104);
	CU_ASSERT_EQUAL(rig.nr_reads, 9);
	rig_close();
}

static void memory_is_dirty(void)
{
	setup();
	rig_set_floor();
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, 100), 0);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(rig_put(i, 0x70 + (int)i), 0);
	rig_keep(IO_FAULT_WRITE);
	bufio_prefetch(rig.c, 100, 50);
	bufio_write_dirty_buffers_async(rig.c);
	bufio_prefetch(rig.c, 100, 50);
	CU_ASSERT_EQUAL(rig.nr_reads, 0);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(rig_read(i), 0x70 + (int)i);
	rig_let_all_go();
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	rig_read_all(100, 150);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(rig_read(i), 0x70 + (int)i);
	rig_close();
}

static void stays_inside_the_limit(void)
{
	setup();
	rig_set_buffers(20);
	for (unsigned round = 0; round < 10; round++)
		for (uint64_t i = 0; i < NR_BLOCKS; i += 8) {
			bufio_prefetch(rig.c, i, 100);
			rig_within_limit();
			CU_ASSERT_EQUAL(rig_read(i), rig_pattern(i));
		}
	CU_ASSERT_TRUE(rig_stats().peak_bytes <= bufio_get_memory_limit(rig.c));
	rig_close();
}

static void absent_or_on_its_way(void)
{
	setup();
	CU_ASSERT_EQUAL(try_get(5), ENOENT);
	rig_keep(IO_FAULT_READ);
	bufio_prefetch(rig.c, 5, 1);
	CU_ASSERT_EQUAL(try_get(5), EAGAIN);
	CU_ASSERT_EQUAL(try_get(5), EAGAIN);
	CU_ASSERT_EQUAL(try_get(6), ENOENT);
	rig_let_all_go();
	CU_ASSERT_EQUAL(try_get(5), 0);
	CU_ASSERT_EQUAL(rig.nr_reads, 1);
	rig_close();
}

/* Nothing but prefetch and get, as a caller does that may not wait. 0, or the errno that does not end. */
static int poll_block(struct bufio_client *c, uint64_t block)
{
	struct bufio_buffer *b;
	int error = 0;

	for (unsigned i = 0; i < 20000; i++) {
		if (bufio_get(c, block, &b))
			return bufio_release(b);
		error = errno;
		if (error == ENOENT)
			bufio_prefetch(c, block, 4);
		else if (error != EAGAIN)
			break;
		usleep(50);
	}
	return error;
}

static void polling_ends(void)
{
	setup();
	rig_set_floor();
	rig.plan.delay_us = 100;
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(poll_block(rig.c, i * 27 % NR_BLOCKS), 0);
	rig_close();
}

static void polling_files_ends(void)
{
	static const char *const engines[] = { "threads", "auto" };

	for (unsigned i = 0; i < 2; i++) {
		int fd;
		struct bufio_device *dev = requests_open_file(engines[i], NR_BLOCKS * BLOCK, &fd);
		struct bufio_client *c = bufio_client_create(dev, BLOCK, 1, 0, NULL, NULL);

		CU_ASSERT_PTR_NOT_NULL_FATAL(c);
		CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c)), 0);
		for (uint64_t n = 0; n < NR_BLOCKS; n++)
			CU_ASSERT_EQUAL(poll_block(c, n * 27 % NR_BLOCKS), 0);
		CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
		requests_close_file(dev, fd);
	}
}

static void failure_is_forgotten(void)
{
	setup();
	rig_damage(IO_READ, 12, EIO);
	bufio_prefetch(rig.c, 12, 1);
	CU_ASSERT_EQUAL(try_get(12), ENOENT);
	CU_ASSERT_EQUAL(rig_stats().read_errors, 1);
	bufio_prefetch(rig.c, 12, 1);
	rig_damage(IO_READ, 12, 0);
	/* Whether or not anybody has looked since: this read is a new one, and succeeds. */
	CU_ASSERT_EQUAL(try_get(12), ENOENT);
	CU_ASSERT_EQUAL(rig_read(12), rig_pattern(12));
	CU_ASSERT_EQUAL(try_get(12), 0);
	rig_close();
}

/* The prefetch has failed on the device, and nobody has asked for it since. */
static void failure_nobody_saw(void)
{
	setup();
	rig_damage(IO_READ, 12, EIO);
	bufio_prefetch(rig.c, 10, 8);
	rig_damage(IO_READ, 12, 0);
	CU_ASSERT_EQUAL(try_get(10), ENOENT);
	rig_read_all(10, 18);
	rig_close();
}

static void failures_use_nothing_up(void)
{
	setup();
	rig_set_buffers(16);
	for (unsigned i = 0; i < 4; i++)
		rig_damage(IO_READ, 3 + 5 * i, EIO);
	for (unsigned round = 0; round < 200; round++) {
		bufio_prefetch(rig.c, 0, 20);
		try_get(0);
	}
	for (unsigned i = 0; i < 4; i++)
		rig_damage(IO_READ, 3 + 5 * i, 0);
	for (unsigned i = 0; i < 4; i++)
		try_get(3 + 5 * i);
	rig_read_all(0, NR_BLOCKS);
	rig_within_limit();
	rig_close();
}

static bool somebody_waits(void)
{
	return rig_stats().waits > 0;
}

static void *read_block(void *value)
{
	*(int *)value = rig_read(12);
	return NULL;
}

static void read_joins(void)
{
	pthread_t reader;
	int value = -1;

	setup();
	rig_keep(IO_FAULT_READ);
	bufio_prefetch(rig.c, 10, 8);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&reader, NULL, read_block, &value), 0);
	CU_ASSERT_TRUE(rig_wait_until(somebody_waits, 2000));
	rig_let_all_go();
	pthread_join(reader, NULL);
	CU_ASSERT_EQUAL(value, rig_pattern(12));
	CU_ASSERT_EQUAL(rig.nr_reads, 1);
	rig_close();
}

/* Overwriting does not want what was prefetched, nor its error. */
static void new_over_prefetch(void)
{
	for (int error = 0; error <= EIO; error += EIO) {
		setup();
		if (error)
			rig_damage(IO_READ, 12, error);
		bufio_prefetch(rig.c, 12, 1);
		CU_ASSERT_EQUAL(rig_put(12, 0x77), 0);
		CU_ASSERT_EQUAL(rig_read(12), 0x77);
		CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
		CU_ASSERT_EQUAL(rig_on_device(12), 0x77);
		rig_close();
	}
}

static void nobody_came(void)
{
	setup();
	bufio_prefetch(rig.c, 0, NR_BLOCKS);
	rig_close();
	setup();
	rig_damage(IO_READ, 5, EIO);
	bufio_prefetch(rig.c, 0, NR_BLOCKS);
	rig_close();
}

/* Once the memory limit does not allow more, what was prefetched and not asked for makes room. */
static void gives_way(void)
{
	setup();
	rig_set_floor();
	bufio_prefetch(rig.c, 0, 8);
	rig_read_all(100, 120);
	CU_ASSERT_EQUAL(rig_count_cached(0, 8), 0);
	rig_within_limit();
	rig_close();
}

static void *prefetch_and_read(void *arg)
{
	uint64_t first = *(uint64_t *)arg;
	uintptr_t wrong = 0;

	for (uint64_t i = 0; i < 4 * NR_BLOCKS; i++) {
		uint64_t block = (first + i * 5) % NR_BLOCKS;

		bufio_prefetch(rig.c, block, 10);
		wrong += rig_read((block + 3) % NR_BLOCKS) != rig_pattern((block + 3) % NR_BLOCKS);
	}
	return (void *)wrong;
}

static void many_threads(void)
{
	uint64_t first[4] = { 0, 1, 50, 200 };
	pthread_t t[4];
	void *wrong;

	setup();
	rig_set_buffers(24);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, prefetch_and_read, &first[i]), 0);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(t[i], &wrong);
		CU_ASSERT_PTR_NULL(wrong);
	}
	rig_within_limit();
	rig_close();
}

static const struct unit_case cases[] = {
	{ "what was prefetched is read in one request, and is a hit from then on", reads_ahead },
	{ "blocks that are cached are left out", leaves_out_what_is_there },
	{ "past the end nothing is prefetched, and across the end what there is, however far", past_the_end },
	{ "a prefetch returns while no read comes back, however long it is", waits_for_nothing },
	{ "a prefetch returns where no request is to be had", requests_are_short },
	{ "a prefetch gives up where all memory is held", memory_is_held },
	{ "a prefetch gives up where all memory is dirty or being written, and loses nothing", memory_is_dirty },
	{ "prefetching many times the limit never exceeds it", stays_inside_the_limit },
	{ "get tells what is absent from what is being read", absent_or_on_its_way },
	{ "prefetch and get, tried again by a thread that never waits, come to an end", polling_ends },
	{ "so they do on files", polling_files_ends },
	{ "a failed prefetch is forgotten, and the next read tries again", failure_is_forgotten },
	{ "so it is when nobody has asked before the device recovered", failure_nobody_saw },
	{ "failed prefetches use no memory up", failures_use_nothing_up },
	{ "a read of a block that is being prefetched waits for that read", read_joins },
	{ "new over a block that is being prefetched has its own contents, whatever comes of the read",
	  new_over_prefetch },
	{ "a client may be destroyed after prefetches that nobody came for", nobody_came },
	{ "what was prefetched and not asked for makes room", gives_way },
	{ "several threads prefetch and read at once", many_threads },
	{ NULL, NULL },
};

const struct unit_suite prefetch_suite = { "prefetch", cases };
