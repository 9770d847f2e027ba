// SPDX-License-Identifier: LGPL-2.1-or-later
/* The memory limit, what it evicts, and the memory that buffers get. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bufio/bufio.h"
#include "io/io.h"
#include "unit.h"

#define BLOCK 4096
#define NR_BLOCKS 256
#define MIB (UINT64_C(1) << 20)

static struct io_fault_plan plan;
static struct bufio_device *memory, *dev;
static struct bufio_client *c;

/* Each byte of block n starts as n + 1. */
static void open_devices(unsigned block_size)
{
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory((uint64_t)NR_BLOCKS * block_size, &memory), 0);
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		memset((unsigned char *)io_mem_data(memory) + (size_t)i * block_size, (int)(i + 1) & 0xff, block_size);
	plan = (struct io_fault_plan){ .kinds = IO_FAULT_WRITE, .error = EIO };
	CU_ASSERT_EQUAL_FATAL(io_fault_open(memory, &plan, &dev), 0);
}

static void set_floor(void)
{
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c)), 0);
}

static void setup(unsigned block_size, unsigned reserved)
{
	open_devices(block_size);
	c = bufio_client_create(dev, block_size, reserved, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
}

static void finish(void)
{
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

static struct bufio_stats stats(void)
{
	struct bufio_stats s;

	bufio_get_stats(c, &s);
	return s;
}

static int value_of(const unsigned char *data, unsigned size)
{
	for (unsigned i = 1; i < size; i++)
		if (data[i] != data[0])
			return -1;
	return data[0];
}

static int value_in_cache(uint64_t block)
{
	struct bufio_buffer *b;
	unsigned char *data = bufio_read(c, block, &b);
	int v = data ? value_of(data, bufio_get_block_size(c)) : -2;

	if (data)
		CU_ASSERT_EQUAL(bufio_release(b), 0);
	return v;
}

static void scan(uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		CU_ASSERT_EQUAL(value_in_cache(i), (int)(i + 1) & 0xff);
}

static void put(uint64_t block, int value)
{
	struct bufio_buffer *b;
	void *data = bufio_new(c, block, &b);

	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	memset(data, value, bufio_get_block_size(c));
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
}

static bool is_cached(uint64_t block)
{
	struct bufio_buffer *b;

	return bufio_get(c, block, &b) && bufio_release(b) == 0;
}

static unsigned count_cached(void)
{
	unsigned nr = 0;

	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		nr += is_cached(i);
	return nr;
}

static unsigned hold_many(struct bufio_buffer **b, unsigned max)
{
	unsigned nr = 0;

	while (nr < max && bufio_read(c, nr, &b[nr]))
		nr++;
	return nr;
}

static void release_many(struct bufio_buffer **b, unsigned nr)
{
	while (nr)
		CU_ASSERT_EQUAL(bufio_release(b[--nr]), 0);
}

static void within_limit(void)
{
	CU_ASSERT_TRUE(stats().current_bytes <= bufio_get_memory_limit(c));
	CU_ASSERT_TRUE(stats().current_bytes <= stats().peak_bytes);
}

static void floor_holds_reserve(void)
{
	static const unsigned reserved[] = { 1, 7, 8, 20, 100 };
	struct bufio_buffer *b[NR_BLOCKS];

	for (unsigned i = 0; i < sizeof(reserved) / sizeof(*reserved); i++) {
		unsigned want = reserved[i] + 1 > 8 ? reserved[i] + 1 : 8, nr;

		setup(BLOCK, reserved[i]);
		CU_ASSERT_TRUE(bufio_get_memory_floor(c) > (uint64_t)want * BLOCK);
		set_floor();
		nr = hold_many(b, NR_BLOCKS);
		CU_ASSERT_EQUAL(errno, EDEADLK);
		CU_ASSERT_EQUAL(nr, want);
		within_limit();
		release_many(b, nr);
		finish();
	}
}

static void below_floor(void)
{
	uint64_t before, floor;

	setup(BLOCK, 1);
	before = bufio_get_memory_limit(c);
	floor = bufio_get_memory_floor(c);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, floor - 1), -EINVAL);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, 0), -EINVAL);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), before);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, floor), 0);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), floor);
	CU_ASSERT_EQUAL(bufio_get_memory_floor(c), floor);
	scan(0, NR_BLOCKS);
	finish();
}

static void scans_stay_inside(void)
{
	setup(BLOCK, 1);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c) + 17 * BLOCK), 0);
	for (unsigned round = 0; round < 3; round++)
		for (uint64_t i = 0; i < NR_BLOCKS; i++) {
			CU_ASSERT_EQUAL(value_in_cache(i), (int)(i + 1) & 0xff);
			within_limit();
		}
	CU_ASSERT_TRUE(stats().peak_bytes <= bufio_get_memory_limit(c));
	CU_ASSERT_TRUE(stats().evictions >= 3 * (NR_BLOCKS - 40));
	finish();
}

static void writes_stay_inside(void)
{
	setup(BLOCK, 1);
	set_floor();
	for (uint64_t i = 0; i < NR_BLOCKS; i++) {
		put(i, (int)(i + 7) & 0xff);
		within_limit();
	}
	CU_ASSERT_TRUE(stats().peak_bytes <= bufio_get_memory_limit(c));
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(value_in_cache(i), (int)(i + 7) & 0xff);
	finish();
}

static void limit_is_used(void)
{
	setup(BLOCK, 1);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, 4 * MIB), 0);
	scan(0, NR_BLOCKS);
	scan(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(stats().blocks_read, NR_BLOCKS);
	CU_ASSERT_TRUE(stats().current_bytes >= NR_BLOCKS * BLOCK);
	within_limit();
	finish();
}

static void lowered(void)
{
	setup(BLOCK, 1);
	scan(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(count_cached(), NR_BLOCKS);
	set_floor();
	within_limit();
	CU_ASSERT_TRUE(count_cached() <= 8);
	scan(0, NR_BLOCKS);
	within_limit();
	finish();
}

static void lowered_a_little(void)
{
	setup(BLOCK, 1);
	scan(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c) + 100 * BLOCK), 0);
	within_limit();
	CU_ASSERT_TRUE(count_cached() >= 90);
	CU_ASSERT_TRUE(count_cached() <= 108);
	/* What was used last is what is left. */
	CU_ASSERT_TRUE(is_cached(NR_BLOCKS - 1));
	CU_ASSERT_FALSE(is_cached(0));
	finish();
}

static void lowered_with_dirty(void)
{
	unsigned char *bytes;
	unsigned written = 0;

	setup(BLOCK, 1);
	bytes = io_mem_data(memory);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		put(i, 0xd1);
	set_floor();
	within_limit();
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		written += value_of(bytes + i * BLOCK, BLOCK) == 0xd1;
	CU_ASSERT_TRUE(written >= NR_BLOCKS - 8);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(value_in_cache(i), 0xd1);
	finish();
}

static void lowered_with_unwritable(void)
{
	setup(BLOCK, 1);
	for (uint64_t i = 0; i < 100; i++)
		put(i, 0xd1);
	scan(100, NR_BLOCKS);
	plan.fail_at = 1;
	plan.sticky = true;
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c)), -EIO);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), bufio_get_memory_floor(c));
	CU_ASSERT_EQUAL(stats().dirty, 100);
	plan.fail_at = 0;
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	for (uint64_t i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(value_in_cache(i), 0xd1);
	set_floor();
	within_limit();
	finish();
}

static void raised(void)
{
	uint64_t before;

	setup(BLOCK, 1);
	set_floor();
	scan(0, NR_BLOCKS);
	CU_ASSERT_TRUE(count_cached() <= 8);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, 8 * MIB), 0);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), 8 * MIB);
	scan(0, NR_BLOCKS);
	before = stats().blocks_read;
	scan(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(stats().blocks_read, before);
	CU_ASSERT_EQUAL(count_cached(), NR_BLOCKS);
	finish();
}

static void beyond_32_bits(void)
{
	setup(65536, 1);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, UINT64_C(6) << 30), 0);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), UINT64_C(6) << 30);
	scan(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(count_cached(), NR_BLOCKS);
	CU_ASSERT_TRUE(stats().current_bytes < 64 * MIB);
	finish();
}

/* An index for so many buffers cannot be had. */
static void absurdly_large(void)
{
	uint64_t before;
	int r;

	setup(BLOCK, 1);
	before = bufio_get_memory_limit(c);
	r = bufio_set_memory_limit(c, UINT64_MAX);
	CU_ASSERT_TRUE(r == 0 || r == -ENOMEM);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), r ? before : UINT64_MAX);
	scan(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(count_cached(), NR_BLOCKS);
	finish();
}

static void up_and_down(void)
{
	setup(BLOCK, 1);
	for (unsigned round = 0; round < 8; round++) {
		CU_ASSERT_EQUAL(bufio_set_memory_limit(c, 2 * MIB), 0);
		for (uint64_t i = 0; i < NR_BLOCKS; i++)
			put(i, (int)round);
		set_floor();
		within_limit();
	}
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		CU_ASSERT_EQUAL(value_in_cache(i), 7);
	finish();
}

static void held_survive(void)
{
	struct bufio_buffer *b[30];
	void *data[30];

	setup(BLOCK, 1);
	CU_ASSERT_EQUAL(hold_many(b, 30), 30);
	for (unsigned i = 0; i < 30; i++)
		data[i] = bufio_get_block_data(b[i]);
	scan(30, NR_BLOCKS);
	set_floor();
	CU_ASSERT_EQUAL(count_cached(), 30);
	for (unsigned i = 0; i < 30; i++) {
		CU_ASSERT_PTR_EQUAL(bufio_get_block_data(b[i]), data[i]);
		CU_ASSERT_EQUAL(value_of(data[i], BLOCK), i + 1);
	}
	release_many(b, 30);
	within_limit();
	CU_ASSERT_TRUE(count_cached() <= 8);
	scan(0, NR_BLOCKS);
	within_limit();
	finish();
}

static void held_dirty_survive(void)
{
	struct bufio_buffer *b[30];

	setup(BLOCK, 1);
	CU_ASSERT_EQUAL(hold_many(b, 30), 30);
	for (unsigned i = 0; i < 30; i++) {
		memset(bufio_get_block_data(b[i]), 0xd2, BLOCK);
		CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b[i]), 0);
	}
	set_floor();
	for (unsigned i = 0; i < 30; i++)
		CU_ASSERT_EQUAL(value_of(bufio_get_block_data(b[i]), BLOCK), 0xd2);
	release_many(b, 30);
	/* A release cannot report a write error, so it need not write; but once written they must be gone. */
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(c), 0);
	within_limit();
	for (unsigned i = 0; i < 30; i++)
		CU_ASSERT_EQUAL(value_in_cache(i), 0xd2);
	finish();
}

static void touched_stays(void)
{
	setup(BLOCK, 1);
	set_floor();
	for (uint64_t i = 1; i < NR_BLOCKS; i++) {
		CU_ASSERT_EQUAL(value_in_cache(0), 1);
		CU_ASSERT_EQUAL(value_in_cache(i), (int)(i + 1) & 0xff);
	}
	CU_ASSERT_EQUAL(stats().blocks_read, NR_BLOCKS);
	CU_ASSERT_TRUE(is_cached(0));
	finish();
}

static void oldest_goes(void)
{
	setup(BLOCK, 1);
	set_floor();
	scan(0, 8);
	CU_ASSERT_EQUAL(value_in_cache(0), 1);
	CU_ASSERT_TRUE(is_cached(1));
	CU_ASSERT_EQUAL(value_in_cache(8), 9);
	/* Even a get is a touch, so 2 is the oldest. */
	CU_ASSERT_FALSE(is_cached(2));
	CU_ASSERT_TRUE(is_cached(0));
	CU_ASSERT_TRUE(is_cached(1));
	CU_ASSERT_TRUE(is_cached(3));
	CU_ASSERT_TRUE(is_cached(8));
	finish();
}

static void held_stays(void)
{
	struct bufio_buffer *b;
	unsigned char *data;

	setup(BLOCK, 1);
	set_floor();
	data = bufio_read(c, 0, &b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	scan(1, NR_BLOCKS);
	CU_ASSERT_EQUAL(value_of(data, BLOCK), 1);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	CU_ASSERT_EQUAL(value_in_cache(0), 1);
	CU_ASSERT_EQUAL(stats().blocks_read, NR_BLOCKS);
	finish();
}

static uintptr_t expected_alignment(unsigned block_size)
{
	uintptr_t power_of_two = block_size & -block_size;

	return power_of_two < 4096 ? power_of_two : 4096;
}

static void check_block_size(unsigned size)
{
	struct bufio_buffer *b[8];
	unsigned char *data[8];

	setup(size, 8);
	set_floor();
	for (unsigned i = 0; i < 8; i++) {
		data[i] = bufio_read(c, 3 * i, &b[i]);
		CU_ASSERT_PTR_NOT_NULL_FATAL(data[i]);
		CU_ASSERT_EQUAL((uintptr_t)data[i] % expected_alignment(size), 0);
		CU_ASSERT_EQUAL(value_of(data[i], size), 3 * i + 1);
		memset(data[i], 0x80 + (int)i, size);
		CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b[i]), 0);
	}
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(value_of(data[i], size), 0x80 + i);
	release_many(b, 8);
	for (unsigned i = 1; i < NR_BLOCKS - 3; i += 3)
		CU_ASSERT_EQUAL(value_in_cache(i), (int)(i + 1) & 0xff);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(value_in_cache(3 * i), 0x80 + i);
	finish();
}

static void block_sizes(void)
{
	static const unsigned sizes[] = { 512, 1024, 1536, 4096, 4608, 12288, 65536 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		check_block_size(sizes[i]);
}

/* A device that wants page-aligned memory gets it for blocks of three sectors too. */
static void device_alignment(void)
{
	struct bufio_buffer *b;
	void *data;

	open_devices(3 * BLOCK);
	dev->info.alignment = 4096;
	c = bufio_client_create(dev, 3 * BLOCK, 1, 40, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	for (uint64_t i = 0; i < 20; i++) {
		data = bufio_read(c, i, &b);
		CU_ASSERT_PTR_NOT_NULL_FATAL(data);
		CU_ASSERT_EQUAL((uintptr_t)data % 4096, 0);
		bufio_release(b);
	}
	finish();
}

struct scanner {
	pthread_t thread;
	atomic_bool *stop;
	uint64_t start;
	unsigned wrong;
};

static void *scan_for_ever(void *arg)
{
	struct scanner *s = arg;

	for (uint64_t i = s->start; !atomic_load(s->stop); i = (i + 7) % NR_BLOCKS) {
		struct bufio_buffer *b;
		unsigned char *data = bufio_read(c, i, &b);

		s->wrong += !data || data[0] != (unsigned char)(i + 1) || data[BLOCK - 1] != data[0];
		if (data)
			s->wrong += bufio_release(b) != 0;
	}
	return NULL;
}

static void changed_meanwhile(void)
{
	struct scanner s[2];
	atomic_bool stop = false;
	unsigned failed = 0;

	setup(BLOCK, 1);
	for (unsigned i = 0; i < 2; i++) {
		s[i] = (struct scanner){ .stop = &stop, .start = i * 100 };
		pthread_create(&s[i].thread, NULL, scan_for_ever, s + i);
	}
	for (unsigned i = 0; i < 200; i++)
		failed += bufio_set_memory_limit(c, i % 2 ? 2 * MIB : bufio_get_memory_floor(c) + i * 100) != 0;
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(s[i].thread, NULL);
		CU_ASSERT_EQUAL(s[i].wrong, 0);
	}
	CU_ASSERT_EQUAL(failed, 0);
	set_floor();
	within_limit();
	finish();
}

static uint64_t address_space(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fscanf(f, "%lu", &pages), 1);
	fclose(f);
	return pages * 4096;
}

/* The tables of the index outlive their use, so they have to be used again. */
static void changed_often(void)
{
	uint64_t before;

	setup(BLOCK, 1);
	set_floor();
	before = address_space();
	for (unsigned i = 0; i < 2000; i++)
		CU_ASSERT_EQUAL(bufio_set_memory_limit(c, bufio_get_memory_floor(c) + i % 2 * 10000), 0);
	CU_ASSERT_TRUE(address_space() < before + MIB);
	finish();
}

static uint64_t resident_bytes(void)
{
	unsigned long total = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fscanf(f, "%lu %lu", &total, &resident), 2);
	fclose(f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Blocks that are no whole number of pages, and aux data, which never are. */
static void memory_goes_back(void)
{
	uint64_t before;

	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(32 * MIB, &dev), 0);
	c = bufio_client_create(dev, 1536, 1, 1000, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(c, 100 * MIB), 0);
	for (uint64_t i = 0; i < bufio_get_device_size(c); i++) {
		struct bufio_buffer *b;
		void *data = bufio_read(c, i, &b);

		CU_ASSERT_PTR_NOT_NULL_FATAL(data);
		memset(data, 1, 1536);
		memset(bufio_get_aux_data(b), 1, 1000);
		bufio_release(b);
	}
	before = resident_bytes();
	set_floor();
	CU_ASSERT_TRUE(before - resident_bytes() > 40 * MIB);
	finish();
}

static const struct unit_case cases[] = {
	{ "the floor is room for the reserve and one more, and for 8 at least", floor_holds_reserve },
	{ "a limit below the floor is refused and changes nothing", below_floor },
	{ "reading many times the limit never exceeds it", scans_stay_inside },
	{ "writing many times the limit never exceeds it", writes_stay_inside },
	{ "what fits into the limit is read once", limit_is_used },
	{ "a lowered limit takes effect at once", lowered },
	{ "a lowered limit evicts what it must, the oldest first", lowered_a_little },
	{ "a lowered limit writes what it evicts", lowered_with_dirty },
	{ "a lowered limit loses nothing that cannot be written", lowered_with_unwritable },
	{ "a raised limit makes room", raised },
	{ "a limit of more than 4 GiB works, and costs nothing in advance", beyond_32_bits },
	{ "a limit without bounds works, or is refused and changes nothing", absurdly_large },
	{ "a limit may go up and down", up_and_down },
	{ "a lowered limit gives memory back to the system, headers and aux data too", memory_goes_back },
	{ "held buffers survive a lowered limit, and go when released", held_survive },
	{ "held dirty buffers survive a lowered limit, and go when released and written", held_dirty_survive },
	{ "a block that is touched again and again stays", touched_stays },
	{ "the block that was used longest ago goes first", oldest_goes },
	{ "a held block stays, however old", held_stays },
	{ "blocks of every size are aligned and apart", block_sizes },
	{ "blocks are aligned as the device demands", device_alignment },
	{ "the limit may change while others read", changed_meanwhile },
	{ "the limit may change often, and nothing is used up", changed_often },
	{ NULL, NULL },
};

const struct unit_suite memory_suite = { "memory", cases };
