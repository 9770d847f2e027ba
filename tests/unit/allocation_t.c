// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Memory that is not to be had, or slow to come, and memory that must not be used up. The program is linked so that
 * every allocation of the library passes through here (ld --wrap); see tests/Makemodule.am.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "allocation.h"
#include "rig.h"

#define BLOCK 4096
#define NR_BLOCKS 1024

/* --- the allocators --- */

static struct {
	atomic_bool armed, sticky, slow, no_threads;
	atomic_uint fail_at; /* counted from 1, down to it; 0: none */
	atomic_uint nr_calls;
	atomic_int nr_live; /* pieces of the heap */
	atomic_long mapped, most_mapped; /* bytes */
	sem_t reached, go_on;
} memory;

static bool is_refused(void)
{
	unsigned n, fail_at;

	if (!atomic_load(&memory.armed))
		return false;
	n = atomic_fetch_add(&memory.nr_calls, 1) + 1;
	fail_at = atomic_load(&memory.fail_at);
	if (atomic_load(&memory.slow)) {
		sem_post(&memory.reached);
		sem_wait(&memory.go_on);
	}
	return fail_at && (n == fail_at || (n > fail_at && atomic_load(&memory.sticky)));
}

static void *count_live(void *p)
{
	atomic_fetch_add(&memory.nr_live, p != NULL);
	return p;
}

/* A mapping may be given back in parts. */
static long whole_pages(size_t bytes)
{
	long page = sysconf(_SC_PAGESIZE);

	return ((long)bytes + page - 1) / page * page;
}

/* Weak, so that the test can be linked without the others' help; it then fails. */
extern void *__real_malloc(size_t) __attribute__((weak));
extern void *__real_calloc(size_t, size_t) __attribute__((weak));
extern void *__real_realloc(void *, size_t) __attribute__((weak));
extern void *__real_reallocarray(void *, size_t, size_t) __attribute__((weak));
extern void *__real_aligned_alloc(size_t, size_t) __attribute__((weak));
extern void *__real_mmap(void *, size_t, int, int, int, off_t) __attribute__((weak));
extern void __real_free(void *) __attribute__((weak));
extern int __real_munmap(void *, size_t) __attribute__((weak));
extern int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) __attribute__((weak));

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t nr, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t nr, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void __wrap_free(void *p);
int __wrap_munmap(void *p, size_t size);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

static void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

void *__wrap_malloc(size_t size)
{
	return is_refused() ? no_memory() : count_live(__real_malloc(size));
}

void *__wrap_calloc(size_t nr, size_t size)
{
	return is_refused() ? no_memory() : count_live(__real_calloc(nr, size));
}

void *__wrap_realloc(void *p, size_t size)
{
	return is_refused() ? no_memory() : p ? __real_realloc(p, size) : count_live(__real_realloc(p, size));
}

void *__wrap_reallocarray(void *p, size_t nr, size_t size)
{
	return is_refused() ? no_memory() : p ? __real_reallocarray(p, nr, size) : count_live(__real_reallocarray(p, nr, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return is_refused() ? no_memory() : count_live(__real_aligned_alloc(alignment, size));
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	void *p;

	if (is_refused()) {
		no_memory();
		return MAP_FAILED;
	}
	p = __real_mmap(address, size, protection, flags, fd, offset);
	if (p != MAP_FAILED)
		atomic_fetch_add(&memory.mapped, whole_pages(size));
	if (memory.mapped > memory.most_mapped)
		memory.most_mapped = memory.mapped;
	return p;
}

void __wrap_free(void *p)
{
	atomic_fetch_sub(&memory.nr_live, p != NULL);
	__real_free(p);
}

int __wrap_munmap(void *p, size_t size)
{
	atomic_fetch_sub(&memory.mapped, whole_pages(size));
	return __real_munmap(p, size);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	return atomic_load(&memory.no_threads) ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

void allocation_fail_at(unsigned n, bool sticky)
{
	memory.nr_calls = 0;
	memory.fail_at = n;
	memory.sticky = sticky;
	memory.armed = true;
}

unsigned allocation_relent(void)
{
	memory.armed = false;
	return atomic_load(&memory.nr_calls);
}

long allocation_most_mapped(void)
{
	long most = memory.most_mapped;

	memory.most_mapped = memory.mapped;
	return most - memory.mapped;
}

/* --- failing --- */

/* Calls @run with the first, the second ... allocation failing, until there is none that would. */
static void fail_each(void (*prepare)(void), bool (*run)(void), void (*check)(bool went_well))
{
	unsigned n = 0, calls;

	do {
		int live = memory.nr_live;
		long mapped = memory.mapped;
		bool well;

		prepare();
		allocation_fail_at(++n, false);
		well = run();
		calls = allocation_relent();
		check(well);
		CU_ASSERT_TRUE(well || calls >= n);
		CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
		rig_close_device();
		CU_ASSERT_EQUAL(memory.nr_live, live);
		CU_ASSERT_EQUAL(memory.mapped, mapped);
	} while (calls >= n && n < 1000);
	CU_ASSERT_TRUE(n > 1 && n < 1000);
}

static void prepare_device(void)
{
	rig_open(BLOCK, NR_BLOCKS);
}

static bool run_create(void)
{
	errno = 0;
	rig.c = bufio_client_create(rig.dev, BLOCK, 20, 100, NULL, NULL);
	return rig.c;
}

static void check_create(bool well)
{
	if (well)
		rig_read_all(0, NR_BLOCKS);
	else
		CU_ASSERT_EQUAL(errno, ENOMEM);
}

static void create(void)
{
	fail_each(prepare_device, run_create, check_create);
}

static uint64_t limit_before, floor_before;

static void prepare_full_cache(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(rig.c, 1 * MIB), 0);
	rig_read_all(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(rig_put(5, 0x77), 0);
	limit_before = bufio_get_memory_limit(rig.c);
	floor_before = bufio_get_memory_floor(rig.c);
}

static int result;

static bool run_limit(void)
{
	result = bufio_set_memory_limit(rig.c, 3 * MIB);
	return !result;
}

static void check_unchanged(bool well)
{
	if (!well) {
		CU_ASSERT_EQUAL(result, -ENOMEM);
		CU_ASSERT_EQUAL(bufio_get_memory_limit(rig.c), limit_before);
		CU_ASSERT_EQUAL(bufio_get_memory_floor(rig.c), floor_before);
	}
	CU_ASSERT_EQUAL(rig_read(5), 0x77);
	rig_read_all(100, NR_BLOCKS);
	rig_within_limit();
}

static void limit(void)
{
	fail_each(prepare_full_cache, run_limit, check_unchanged);
}

static bool run_minimum(void)
{
	result = bufio_set_minimum_buffers(rig.c, 500);
	return !result;
}

static void minimum(void)
{
	fail_each(prepare_full_cache, run_minimum, check_unchanged);
}

static bool run_reset(void)
{
	result = bufio_client_reset(rig.c);
	return !result;
}

static void check_reset(bool well)
{
	CU_ASSERT_TRUE(well || result == -ENOMEM);
	CU_ASSERT_EQUAL(rig_on_device(5), 0x77);
	CU_ASSERT_EQUAL(rig_read(5), 0x77);
	rig_read_all(100, NR_BLOCKS);
}

static void reset(void)
{
	fail_each(prepare_full_cache, run_reset, check_reset);
}

/* Each block of the device, once. */
static struct {
	atomic_uint nr_calls, nr_wrong;
	bool is_at_end;
} seen;

static bool next_range(void *context, uint64_t *block, uint64_t *nr)
{
	(void)context;
	if (seen.is_at_end)
		return false;
	*block = 0;
	*nr = NR_BLOCKS;
	seen.is_at_end = true;
	return true;
}

static int check_block(void *context, uint64_t block, const void *data, int error)
{
	(void)context;
	seen.nr_calls++;
	seen.nr_wrong += error || rig_value_of(data, BLOCK) != rig_pattern(block);
	return 0;
}

static bool run_scan(void)
{
	struct bufio_scan s = { .next = next_range, .block = check_block, .threads = 3 };

	memset(&seen, 0, sizeof(seen));
	result = bufio_scan(rig.c, &s);
	return !result;
}

static void check_scan(bool well)
{
	CU_ASSERT_TRUE(well || result == -ENOMEM);
	CU_ASSERT_TRUE(!well || seen.nr_calls == NR_BLOCKS);
	CU_ASSERT_EQUAL(seen.nr_wrong, 0);
	rig_read_all(0, NR_BLOCKS);
}

static void prepare_empty_cache(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
}

static void scan(void)
{
	fail_each(prepare_empty_cache, run_scan, check_scan);
}

static void scan_alone(void)
{
	prepare_empty_cache();
	memory.no_threads = true;
	CU_ASSERT_TRUE(run_scan());
	memory.no_threads = false;
	check_scan(true);
	rig_close();
}

static bool run_reads(void)
{
	bool well = true;

	for (uint64_t i = 0; i < NR_BLOCKS; i += 3) {
		int v = rig_read(i);

		well &= v == rig_pattern(i);
		CU_ASSERT_TRUE(v == rig_pattern(i) || v == -2 - ENOMEM);
	}
	return well;
}

static void check_reads(bool well)
{
	(void)well;
	rig_read_all(0, NR_BLOCKS);
	rig_within_limit();
}

static void reads(void)
{
	fail_each(prepare_empty_cache, run_reads, check_reads);
}

/* No memory at all, from the first block on. */
static void nothing_to_be_had(void)
{
	struct bufio_buffer *b = (void *)&seen;

	prepare_empty_cache();
	allocation_fail_at(1, true);
	CU_ASSERT_PTR_NULL(bufio_read(rig.c, 5, &b));
	CU_ASSERT_EQUAL(errno, ENOMEM);
	CU_ASSERT_PTR_NULL(bufio_new(rig.c, 5, &b));
	CU_ASSERT_EQUAL(errno, ENOMEM);
	CU_ASSERT_PTR_EQUAL(b, (void *)&seen);
	bufio_prefetch(rig.c, 5, 100);
	CU_ASSERT_TRUE(!run_scan() && result == -ENOMEM);
	CU_ASSERT_EQUAL(rig.nr_log, 0);
	allocation_relent();
	rig_read_all(0, NR_BLOCKS);
	rig_close();
}

/* What there is goes on to be used. */
static void nothing_more(void)
{
	struct bufio_buffer *b;

	prepare_empty_cache();
	rig_read_all(0, 10);
	allocation_fail_at(1, true);
	rig_read_all(0, NR_BLOCKS);
	CU_ASSERT_EQUAL(rig_put(7, 0x77), 0);
	rig_hold(9, &b);
	CU_ASSERT_EQUAL(bufio_release_move(b, 20), 0);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	allocation_relent();
	CU_ASSERT_EQUAL(rig_on_device(7), 0x77);
	CU_ASSERT_EQUAL(rig_on_device(20), rig_pattern(9));
	rig_close();
}

/* --- slow --- */

static void *read_in_thread(void *value)
{
	*(int *)value = rig_read(NR_BLOCKS - 1);
	return NULL;
}

static void *set_limit_in_thread(void *r)
{
	*(int *)r = bufio_set_memory_limit(rig.c, 20 * MIB);
	return NULL;
}

static unsigned count_hits(unsigned nr)
{
	struct bufio_buffer *b;
	unsigned hits = 0;

	for (unsigned i = 0; i < nr; i++)
		hits += rig_read(i % 100) == rig_pattern(i % 100) && bufio_get(rig.c, i % 100, &b) && !bufio_release(b);
	return hits;
}

/* The first allocation of @run waits until all hits were made. */
static void hit_meanwhile(void *(*run)(void *), int expected)
{
	pthread_t t;
	int r = -1;

	rig_setup(65536, NR_BLOCKS);
	rig_read_all(0, 128); /* a whole number of any larger pieces that memory may come in */
	sem_init(&memory.reached, 0, 0);
	sem_init(&memory.go_on, 0, 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, run, &r), 0);
	sem_wait(&memory.reached);
	CU_ASSERT_EQUAL(count_hits(10000), 10000);
	memory.slow = false;
	memory.armed = false;
	for (unsigned i = 0; i < 100; i++)
		sem_post(&memory.go_on);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(r, expected);
	sem_destroy(&memory.reached);
	sem_destroy(&memory.go_on);
	rig_close();
}

static void *slow_read(void *r)
{
	allocation_fail_at(0, false);
	memory.slow = true;
	return read_in_thread(r);
}

static void *slow_limit(void *r)
{
	allocation_fail_at(0, false);
	memory.slow = true;
	return set_limit_in_thread(r);
}

static void run_slow(void)
{
	hit_meanwhile(slow_read, rig_pattern(NR_BLOCKS - 1));
	hit_meanwhile(slow_limit, 0);
}

static void slow(void)
{
	rig_run_apart(run_slow, 10);
}

/* --- none at all --- */

/* Reads, writes, hits, moves and prefetches through a small cache, after it has taken the memory that it has. */
static void use_everything(unsigned rounds)
{
	struct bufio_buffer *b;
	unsigned wrong = 0;

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t block = i * UINT64_C(7919) % NR_BLOCKS;

		wrong += rig_read(block) < 0;
		wrong += rig_put((block + 1) % NR_BLOCKS, (int)(i % 250)) != 0;
		bufio_prefetch(rig.c, (block + 2) % NR_BLOCKS, 2);
		if (bufio_read(rig.c, (block + 2) % NR_BLOCKS, &b))
			wrong += bufio_release_move(b, (block + 500) % NR_BLOCKS) != 0;
		if (i % 1000 == 0)
			wrong += bufio_write_dirty_buffers(rig.c) != 0;
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void steady(void)
{
	const char *rounds = getenv("UNIT_IO_COUNT");
	uint64_t before;
	long mapped;
	int live;

	rig_setup(512, NR_BLOCKS);
	rig_set_buffers(64);
	use_everything(1000);
	before = rig_stats().read_requests + rig_stats().write_requests;
	live = memory.nr_live;
	mapped = memory.mapped;
	allocation_fail_at(0, false);
	use_everything(rounds ? (unsigned)atoi(rounds) : 40000);
	CU_ASSERT_EQUAL(allocation_relent(), 0);
	CU_ASSERT_EQUAL(memory.nr_live, live);
	CU_ASSERT_EQUAL(memory.mapped, mapped);
	CU_ASSERT_TRUE(rig_stats().read_requests + rig_stats().write_requests - before >= 100000);
	rig_within_limit();
	rig_close();
}

static void hundred_clients(void)
{
	struct bufio_client *c[100];
	uint64_t before, bytes = 0;
	struct bufio_stats s;

	rig_open(BLOCK, NR_BLOCKS);
	before = rig_resident_bytes();
	for (unsigned i = 0; i < 100; i++) {
		c[i] = bufio_client_create(rig.dev, BLOCK, 1, 0, NULL, NULL);
		CU_ASSERT_PTR_NOT_NULL_FATAL(c[i]);
		bufio_get_stats(c[i], &s);
		bytes += s.current_bytes;
	}
	CU_ASSERT_TRUE(bytes < 40 * MIB);
	CU_ASSERT_TRUE(rig_resident_bytes() < before + 100 * MIB); /* instrumented memory is larger */
	for (unsigned i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(bufio_client_destroy(c[i]), 0);
	rig_close_device();
}

static void is_wrapped(void)
{
	void *volatile p; /* else the compiler sees that it is for nothing */

	allocation_fail_at(0, false);
	p = calloc(1, 1);
	CU_ASSERT_EQUAL(allocation_relent(), 1);
	free(p);
}

static const struct unit_case cases[] = {
	{ "the program is linked so that allocations can be made to fail", is_wrapped },
	{ "whichever allocation of create fails, it is ENOMEM and nothing is lost", create },
	{ "whichever allocation of a new limit fails, nothing is changed", limit },
	{ "whichever allocation of a new minimum fails, nothing is changed", minimum },
	{ "whichever allocation of a reset fails, what was dirty is written and the client goes on", reset },
	{ "whichever allocation of a scan fails, it ends with ENOMEM or does without", scan },
	{ "a scan that gets no threads does without", scan_alone },
	{ "whichever allocation of a read fails, it is ENOMEM or done without, and later reads go on", reads },
	{ "without any memory read, new and scan are ENOMEM, and prefetch does nothing", nothing_to_be_had },
	{ "without more memory the cache goes on with what it has", nothing_more },
	{ "while an allocation takes its time other threads hit", slow },
	{ "100000 reads and writes through a full cache allocate nothing", steady },
	{ "100 clients that were not used cost little", hundred_clients },
	{ NULL, NULL },
};

const struct unit_suite allocation_suite = { "allocation", cases };
