// SPDX-License-Identifier: LGPL-2.1-or-later
/* Who goes, who stays, and when dirty blocks are written on their own. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

#define BLOCK 512
#define CACHE 100 /* buffers */
#define NR_BLOCKS (22 * CACHE)

static void setup(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	rig_set_buffers(CACHE);
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, 100), 0);
}

/* How many of the blocks had to be read. */
static uint64_t count_misses(uint64_t from, uint64_t to)
{
	uint64_t before = rig_stats().blocks_read;

	rig_read_all(from, to);
	return rig_stats().blocks_read - before;
}

static void touch_twice(uint64_t from, uint64_t to)
{
	rig_read_all(from, to);
	rig_read_all(from, to);
}

/* --- ways to read everything once --- */

static void scan_by_read(uint64_t from, uint64_t to)
{
	rig_read_all(from, to);
}

static void scan_by_prefetch(uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		if ((i - from) % 16 == 0)
			bufio_prefetch(rig.c, i, to - i < 16 ? to - i : 16);
		CU_ASSERT_EQUAL_FATAL(rig_read(i), rig_pattern(i));
	}
}

static void scan_by_get(uint64_t from, uint64_t to)
{
	struct bufio_buffer *b;

	for (uint64_t i = from; i < to; i++) {
		bufio_prefetch(rig.c, i, 1);
		CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_get(rig.c, i, &b));
		CU_ASSERT_EQUAL(bufio_release(b), 0);
	}
}

struct range {
	uint64_t block, to;
	unsigned wrong;
};

static bool next_range(void *context, uint64_t *block, uint64_t *nr)
{
	struct range *r = context;

	if (r->block == r->to)
		return false;
	*block = r->block;
	*nr = r->to - r->block;
	r->block = r->to;
	return true;
}

static int check_block(void *context, uint64_t block, const void *data, int error)
{
	((struct range *)context)->wrong += error || rig_value_of(data, BLOCK) != rig_pattern(block);
	return 0;
}

static void scan_window(uint64_t from, uint64_t to, uint64_t window)
{
	struct range r = { .block = from, .to = to };
	struct bufio_scan s = { .next = next_range, .block = check_block, .context = &r, .threads = 1,
				.window = window };

	CU_ASSERT_EQUAL(bufio_scan(rig.c, &s), 0);
	CU_ASSERT_EQUAL(r.wrong, 0);
}

static void scan_by_scan(uint64_t from, uint64_t to)
{
	scan_window(from, to, CACHE / 10 * BLOCK);
}

/* --- who stays --- */

/* Touched between any two blocks of a scan, however it is read. */
static void check_touched(void (*scan)(uint64_t, uint64_t), unsigned step)
{
	setup();
	rig_read_all(0, 1);
	for (uint64_t i = 1; i + step <= NR_BLOCKS; i += step) {
		scan(i, i + step);
		CU_ASSERT_EQUAL(rig_read(0), rig_pattern(0));
	}
	bufio_forget(rig.c, 0);
	CU_ASSERT_EQUAL(count_misses(0, 1), 1);
	CU_ASSERT_EQUAL(rig_stats().misses, 1 + (NR_BLOCKS - 1) / step * step + 1);
	rig_close();
}

static void touched_stays(void)
{
	check_touched(scan_by_read, 1);
	check_touched(scan_by_read, 20);
	check_touched(scan_by_prefetch, 16);
	check_touched(scan_by_scan, 20);
}

/* A tenth of the cache, and most of it. */
static void check_hot_set(void (*scan)(uint64_t, uint64_t))
{
	static const unsigned sizes[] = { CACHE / 10, CACHE / 2, CACHE * 8 / 10 };

	for (unsigned i = 0; i < 3; i++) {
		setup();
		touch_twice(0, sizes[i]);
		scan(2 * CACHE, NR_BLOCKS);
		CU_ASSERT_EQUAL(count_misses(0, sizes[i]), 0);
		rig_within_limit();
		rig_close();
	}
}

static void hot_survives_read(void)
{
	check_hot_set(scan_by_read);
}

static void hot_survives_prefetch(void)
{
	check_hot_set(scan_by_prefetch);
	check_hot_set(scan_by_get);
}

static void hot_survives_scan(void)
{
	check_hot_set(scan_by_scan);
}

/* The widest window is half of the memory: the other half is there for what is in use. */
static void hot_beside_wide_window(void)
{
	setup();
	touch_twice(0, CACHE / 2);
	scan_window(2 * CACHE, NR_BLOCKS, NR_BLOCKS * BLOCK);
	CU_ASSERT_EQUAL(count_misses(0, CACHE / 2), 0);
	rig_close();
	setup();
	touch_twice(0, CACHE);
	scan_window(2 * CACHE, NR_BLOCKS, NR_BLOCKS * BLOCK);
	CU_ASSERT_TRUE(count_misses(0, CACHE) <= CACHE / 2);
	rig_close();
}

/* The hot set is dirtied, written, and touched no more than a set that was read. */
static void hot_after_write(void)
{
	setup();
	for (uint64_t i = 0; i < CACHE / 2; i++)
		CU_ASSERT_EQUAL(rig_put(i, rig_pattern(i)), 0);
	rig_read_all(0, CACHE / 2);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	scan_by_read(2 * CACHE, NR_BLOCKS);
	CU_ASSERT_EQUAL(count_misses(0, CACHE / 2), 0);
	rig_close();
}

/* Sets of every size that fits, after the old one had all of the cache. */
static void new_set_gets_in(void)
{
	static const unsigned sizes[] = { CACHE / 10, CACHE / 2, CACHE * 8 / 10, CACHE };

	for (unsigned i = 0; i < 4; i++) {
		setup();
		touch_twice(0, CACHE);
		touch_twice(0, CACHE);
		for (unsigned round = 0; round < 8; round++)
			rig_read_all(10 * CACHE, 10 * CACHE + sizes[i]);
		CU_ASSERT_EQUAL(count_misses(10 * CACHE, 10 * CACHE + sizes[i]), 0);
		rig_close();
	}
}

/* While the old one still is in use, both may. */
static void both_sets_stay(void)
{
	setup();
	touch_twice(0, CACHE * 4 / 10);
	for (unsigned round = 0; round < 8; round++) {
		rig_read_all(0, CACHE * 4 / 10);
		rig_read_all(10 * CACHE, 10 * CACHE + CACHE * 4 / 10);
		scan_by_read(11 * CACHE + round * CACHE / 10, 11 * CACHE + (round + 1) * CACHE / 10);
	}
	CU_ASSERT_EQUAL(count_misses(0, CACHE * 4 / 10), 0);
	CU_ASSERT_EQUAL(count_misses(10 * CACHE, 10 * CACHE + CACHE * 4 / 10), 0);
	rig_close();
}

/* A loop over a little more than fits is where exact ages would find nothing at all. */
static void loop_beyond_the_cache(void)
{
	uint64_t misses = 0;

	setup();
	for (unsigned round = 0; round < 20; round++)
		misses = count_misses(0, CACHE + CACHE / 5);
	CU_ASSERT_TRUE(misses < CACHE);
	rig_close();
}

static void clean_before_dirty(void)
{
	setup();
	for (uint64_t i = 0; i < CACHE / 2; i++)
		CU_ASSERT_EQUAL(rig_put(i, 0x77), 0);
	/* The dirty half is the older one. */
	scan_by_read(2 * CACHE, 10 * CACHE);
	CU_ASSERT_EQUAL(rig.nr_writes, 0);
	CU_ASSERT_EQUAL(rig_stats().dirty, CACHE / 2);
	for (uint64_t i = 0; i < CACHE / 2; i++)
		CU_ASSERT_EQUAL(rig_read(i), 0x77);
	rig_close();
}

static void held_are_passed_by(void)
{
	struct bufio_buffer *b[CACHE - 1];

	rig_open(BLOCK, NR_BLOCKS);
	rig_create(CACHE - 1, 0, NULL, NULL);
	rig_set_buffers(CACHE);
	for (unsigned i = 0; i < CACHE - 1; i++)
		rig_hold(i, &b[i]);
	scan_by_read(2 * CACHE, 10 * CACHE);
	for (unsigned i = 0; i < CACHE - 1; i++) {
		CU_ASSERT_EQUAL(rig_value_of(bufio_get_block_data(b[i]), BLOCK), rig_pattern(i));
		CU_ASSERT_EQUAL(bufio_release(b[i]), 0);
	}
	rig_within_limit();
	rig_close();
}

/* --- limits --- */

static void shrinks_by_so_many(void)
{
	static const unsigned less[] = { 1, 10, 42 };
	unsigned nr = CACHE;

	setup();
	rig_read_all(0, CACHE);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t before = rig_stats().evictions;

		nr -= less[i];
		rig_set_buffers(nr);
		CU_ASSERT_EQUAL(rig_stats().evictions - before, less[i]);
		rig_within_limit();
	}
	CU_ASSERT_EQUAL(rig_count_cached(0, CACHE), nr);
	/* No lower than the floor, whatever is asked. */
	CU_ASSERT_EQUAL(bufio_set_memory_limit(rig.c, bufio_get_memory_floor(rig.c) - 1), -EINVAL);
	CU_ASSERT_EQUAL(rig_count_cached(0, CACHE), nr);
	rig_set_floor();
	CU_ASSERT_EQUAL(rig_count_cached(0, CACHE), 8);
	rig_close();
}

/* After the limit was lowered no further call is needed for the memory to be back; nor before, to forget blocks. */
static void idle_shrinks(void)
{
	for (unsigned forgotten = 0; forgotten < 2; forgotten++) {
		uint64_t before;

		rig_setup(65536, 1024);
		CU_ASSERT_EQUAL(bufio_set_memory_limit(rig.c, 80 * MIB), 0);
		rig_read_all(0, 1024);
		CU_ASSERT_TRUE(rig_stats().current_bytes > 64 * MIB);
		before = rig_resident_bytes();
		if (forgotten)
			bufio_forget_buffers(rig.c, 0, 1024);
		rig_set_floor();
		CU_ASSERT_TRUE(rig_stats().current_bytes <= bufio_get_memory_floor(rig.c));
		CU_ASSERT_TRUE(before > rig_resident_bytes() + 56 * MIB);
		rig_read_all(0, 1024);
		rig_within_limit();
		rig_close();
	}
}

static void minimum_raises(void)
{
	struct bufio_buffer *b[20];
	uint64_t floor;

	setup();
	rig_set_floor();
	floor = bufio_get_memory_floor(rig.c);
	CU_ASSERT_EQUAL(bufio_set_minimum_buffers(rig.c, 20), 0);
	CU_ASSERT_TRUE(bufio_get_memory_floor(rig.c) >= floor + 12 * BLOCK);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(rig.c), bufio_get_memory_floor(rig.c));
	CU_ASSERT_EQUAL(bufio_set_memory_limit(rig.c, floor), -EINVAL);
	for (unsigned i = 0; i < 20; i++)
		rig_hold(i, &b[i]);
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(bufio_release(b[i]), 0);
	CU_ASSERT_EQUAL(bufio_set_minimum_buffers(rig.c, 0), 0);
	CU_ASSERT_EQUAL(bufio_get_memory_floor(rig.c), floor);
	CU_ASSERT_TRUE(bufio_get_memory_limit(rig.c) > floor);
	CU_ASSERT_EQUAL(rig_count_cached(0, 20), 20);
	rig_close();
}

static void minimum_below(void)
{
	uint64_t limit, floor;

	setup();
	limit = bufio_get_memory_limit(rig.c);
	floor = bufio_get_memory_floor(rig.c);
	CU_ASSERT_EQUAL(bufio_set_minimum_buffers(rig.c, 3), 0); /* 8 there are in any case */
	CU_ASSERT_EQUAL(bufio_get_memory_floor(rig.c), floor);
	CU_ASSERT_EQUAL(bufio_set_minimum_buffers(rig.c, 50), 0);
	CU_ASSERT_TRUE(bufio_get_memory_floor(rig.c) > floor);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(rig.c), limit);
	CU_ASSERT_EQUAL(bufio_set_minimum_buffers(rig.c, 16777217), -EINVAL);
	CU_ASSERT_EQUAL(bufio_set_minimum_buffers(rig.c, ~0u), -EINVAL);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(rig.c), limit);
	rig_close();
}

static void peak_starts_anew(void)
{
	struct bufio_stats s;

	setup();
	rig_read_all(0, CACHE);
	rig_set_floor();
	CU_ASSERT_TRUE(rig_stats().peak_bytes > rig_stats().current_bytes);
	bufio_reset_peak(rig.c);
	s = rig_stats();
	CU_ASSERT_EQUAL(s.peak_bytes, s.current_bytes);
	rig_set_buffers(50);
	rig_read_all(0, CACHE);
	CU_ASSERT_TRUE(rig_stats().peak_bytes > s.peak_bytes);
	rig_close();
}

/* --- writing on their own --- */

/* Dirty buffers that are not being written, and those that are. */
static void dirty_percent(void)
{
	setup();
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, 50), 0);
	CU_ASSERT_EQUAL(bufio_get_dirty_percent(rig.c), 50);
	rig_keep(IO_FAULT_WRITE); /* nothing may wait for these */
	for (uint64_t i = 0; i < 50; i++)
		CU_ASSERT_EQUAL(rig_put(1000 - 2 * i, 0x77), 0);
	CU_ASSERT_EQUAL(rig.nr_writes, 0);
	for (uint64_t i = 50; i < 60; i++)
		CU_ASSERT_EQUAL(rig_put(1000 - 2 * i, 0x77), 0);
	CU_ASSERT_TRUE(rig.nr_writes > 0);
	CU_ASSERT_TRUE(rig_stats().dirty <= 59);
	rig_let_all_go();
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	for (uint64_t i = 0; i < 60; i++)
		CU_ASSERT_EQUAL(rig_on_device(1000 - 2 * i), 0x77);
	rig_close();
}

/* The nth block to become dirty, none of them another's neighbour, in no order. */
static uint64_t nth_dirty(unsigned n)
{
	return 4 * (n * 7 % (10 * CACHE));
}

static bool was_written(uint64_t block)
{
	for (unsigned i = 0; i < rig.nr_log; i++)
		if (rig.log[i].direction == IO_WRITE && rig.log[i].offset == block * BLOCK)
			return true;
	return false;
}

/* A cache so large that not all of the dirty blocks go at once. */
static void oldest_first(void)
{
	unsigned newer = 0;

	rig_setup(BLOCK, 40 * CACHE);
	rig_set_buffers(10 * CACHE);
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, 50), 0);
	rig_keep(IO_FAULT_WRITE);
	for (unsigned i = 0; i <= 5 * CACHE; i++)
		CU_ASSERT_EQUAL(rig_put(nth_dirty(i), 0x77), 0);
	CU_ASSERT_TRUE(rig.nr_writes > 0 && rig.nr_writes < 5 * CACHE);
	for (unsigned i = rig.nr_writes; i <= 5 * CACHE; i++)
		newer += was_written(nth_dirty(i));
	CU_ASSERT_EQUAL(newer, 0);
	rig_let_all_go();
	rig_close();
}

static void bad_percents(void)
{
	setup();
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	rig_create(1, 0, NULL, NULL);
	CU_ASSERT_EQUAL(bufio_get_dirty_percent(rig.c), 75);
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, 0), -EINVAL);
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, 101), -EINVAL);
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, ~0u), -EINVAL);
	CU_ASSERT_EQUAL(bufio_get_dirty_percent(rig.c), 75);
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, 1), 0);
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(rig.c, 100), 0);
	rig_close();
}

/* Nothing happens by itself, however long one waits: there is no clock in the cache. */
static void nothing_by_itself(void)
{
	setup();
	CU_ASSERT_EQUAL(rig_put(5, 0x77), 0);
	rig_read_all(10, 20);
	usleep(100000);
	CU_ASSERT_EQUAL(rig.nr_writes, 0);
	CU_ASSERT_EQUAL(rig_count_cached(10, 20), 10);
	CU_ASSERT_EQUAL(rig_stats().dirty, 1);
	rig_close();
}

static const struct unit_case cases[] = {
	{ "a block that is touched all the time stays during a scan, by whatever call", touched_stays },
	{ "a set of blocks used twice survives a read of 20 times the cache", hot_survives_read },
	{ "it survives prefetch and read, and prefetch and get, of 20 times the cache", hot_survives_prefetch },
	{ "it survives a bufio_scan of 20 times the cache", hot_survives_scan },
	{ "beside a scan with the widest window half of the cache is left to what is in use", hot_beside_wide_window },
	{ "it survives when it was written and then used", hot_after_write },
	{ "a new set of any size that fits gets in when the old one is no longer used", new_set_gets_in },
	{ "a new set gets in beside one that still is used", both_sets_stay },
	{ "a loop over a little more than the cache finds some of it", loop_beyond_the_cache },
	{ "clean blocks go before dirty ones, and as long as there are some nothing is written", clean_before_dirty },
	{ "with all buffers but one held the rest of the device can be read", held_are_passed_by },
	{ "a limit lower by n buffers evicts exactly n, down to the floor and no further", shrinks_by_so_many },
	{ "an idle client gives memory back as soon as the limit is lowered", idle_shrinks },
	{ "a minimum of buffers raises the floor and the limit, and a lower one leaves the limit alone",
	  minimum_raises },
	{ "a minimum that the limit has room for leaves it alone; one that is too large is refused", minimum_below },
	{ "a new peak starts from what is used", peak_starts_anew },
	{ "above the percentage writes are started at a mark, and not waited for", dirty_percent },
	{ "the oldest dirty blocks are written first", oldest_first },
	{ "a percentage that is none is refused; 75 it is at first", bad_percents },
	{ "nothing is written or evicted by itself as time goes by", nothing_by_itself },
	{ NULL, NULL },
};

const struct unit_suite evict_suite = { "evict", cases };
