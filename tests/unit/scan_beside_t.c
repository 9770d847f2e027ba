// SPDX-License-Identifier: LGPL-2.1-or-later
/* Reading in bulk beside others who want memory or blocks, and out of its own callback. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "scan_set.h"

/* --- at the floor --- */

static void others_hold(void)
{
	struct bufio_buffer *b;

	for (unsigned i = 0; i < 4; i++) {
		set_setup_everything(8);
		rig_hold(300, &b);
		CU_ASSERT_EQUAL(set_scan(some_threads[i]), 0);
		set_expect();
		CU_ASSERT_EQUAL(bufio_release(b), 0);
		rig_close();
	}
}

struct holder {
	pthread_t thread;
	uint64_t block;
	sem_t held, go;
};

static void *hold_until_told(void *arg)
{
	struct holder *h = arg;
	struct bufio_buffer *b;
	void *data = bufio_read(rig.c, h->block, &b);

	sem_post(&h->held);
	sem_wait(&h->go);
	if (data)
		bufio_release(b);
	return data;
}

#define NR_HOLDERS 6

static void start_holders(struct holder *h)
{
	for (unsigned i = 0; i < NR_HOLDERS; i++) {
		h[i].block = 100 + 50 * i;
		sem_init(&h[i].held, 0, 0);
		sem_init(&h[i].go, 0, 0);
		CU_ASSERT_EQUAL_FATAL(pthread_create(&h[i].thread, NULL, hold_until_told, &h[i]), 0);
		sem_wait(&h[i].held);
	}
}

static void end_holders(struct holder *h)
{
	for (unsigned i = 0; i < NR_HOLDERS; i++) {
		sem_post(&h[i].go);
		pthread_join(h[i].thread, NULL);
		sem_destroy(&h[i].held);
		sem_destroy(&h[i].go);
	}
}

/* Six of the eight buffers are held by other threads all the time. */
static void scan_beside_holders(void)
{
	struct holder h[NR_HOLDERS];

	for (unsigned i = 0; i < 4; i++) {
		set_setup_everything(8);
		start_holders(h);
		CU_ASSERT_EQUAL(set_scan(some_threads[i]), 0);
		set_expect();
		end_holders(h);
		rig_close();
	}
}

static void beside_holders(void)
{
	rig_run_apart(scan_beside_holders, 10);
}

static int read_another(struct set *s, uint64_t block)
{
	uint64_t other = (block * 7 + 100) % NR_BLOCKS;

	(void)s;
	return rig_read(other) != rig_pattern(other);
}

static void scan_and_read_another(void)
{
	for (unsigned i = 0; i < 4; i++) {
		set_setup_everything(8);
		set.also = read_another;
		CU_ASSERT_EQUAL(set_scan(some_threads[i]), 0);
		set_expect();
		rig_within_limit();
		rig_close();
	}
}

static void reads_another(void)
{
	rig_run_apart(scan_and_read_another, 10);
}

static int use_everything(struct set *s, uint64_t block)
{
	struct bufio_buffer *b;
	int r = 0;

	(void)s;
	bufio_prefetch(rig.c, (block + 200) % NR_BLOCKS, 3);
	if (bufio_get(rig.c, block, &b))
		r |= bufio_mark_buffer_dirty(b) | bufio_release(b);
	if (block % 50 == 0)
		r |= bufio_write_dirty_buffers(rig.c);
	bufio_forget(rig.c, block);
	return r;
}

/* The block that is being given is held for this thread. */
static int move_onto_it(struct set *s, uint64_t block)
{
	struct bufio_buffer *b;

	(void)s;
	if (block % 50 || !bufio_read(rig.c, (block + 1) % NR_BLOCKS, &b))
		return block % 50 == 0;
	return (bufio_release_move(b, block) != -EDEADLK) | bufio_release(b);
}

static void scan_and_move(void)
{
	for (unsigned i = 0; i < 4; i++) {
		set_setup_everything(30);
		set.also = move_onto_it;
		CU_ASSERT_EQUAL(set_scan(some_threads[i]), 0);
		set_expect();
		rig_close();
	}
}

static void moves_onto_it(void)
{
	rig_run_apart(scan_and_move, 10);
}

static void scan_and_use_everything(void)
{
	for (unsigned i = 0; i < 4; i++) {
		set_setup_everything(12);
		set.also = use_everything;
		CU_ASSERT_EQUAL(set_scan(some_threads[i]), 0);
		set_expect();
		rig_close();
	}
}

static void uses_everything(void)
{
	rig_run_apart(scan_and_use_everything, 10);
}

static void hold_everything_and_scan(void)
{
	struct bufio_buffer *b[8];

	for (unsigned i = 0; i < 80; i++) {
		set_setup_everything(8);
		for (unsigned n = 0; n < 8; n++)
			rig_hold(100 + n, &b[n]);
		CU_ASSERT_EQUAL(set_scan(some_threads[i % 4]), -EDEADLK);
		for (unsigned n = 0; n < 8; n++)
			CU_ASSERT_EQUAL(bufio_release(b[n]), 0);
		rig_close();
	}
}

static void everything_held(void)
{
	rig_run_apart(hold_everything_and_scan, 10);
}

/* --- at the same time --- */

#define NR_SCANS 4

static struct set sets[NR_SCANS];

static void *scan_one_of_many(void *arg)
{
	struct set *s = arg;

	return (void *)(intptr_t)set_scan_with(s, s == &sets[0] ? 2 : 1, false, 0);
}

static void run_scans(unsigned buffers, int (*also)(struct set *s, uint64_t block))
{
	pthread_t t[NR_SCANS];
	void *r;

	set_setup_everything(buffers);
	for (unsigned i = 0; i < NR_SCANS; i++) {
		memset(&sets[i], 0, sizeof(sets[i]));
		sets[i].ranges[0].block = i * 50;
		sets[i].ranges[0].nr = NR_BLOCKS - i * 50;
		sets[i].nr_ranges = 1;
		sets[i].also = also;
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, scan_one_of_many, &sets[i]), 0);
	}
	for (unsigned i = 0; i < NR_SCANS; i++) {
		pthread_join(t[i], &r);
		CU_ASSERT_PTR_NULL(r);
		CU_ASSERT_EQUAL(sets[i].nr_calls, NR_BLOCKS - i * 50);
		CU_ASSERT_EQUAL(sets[i].nr_wrong, 0);
	}
	rig_within_limit();
	rig_close();
}

static void run_several(void)
{
	run_scans(64, NULL);
	run_scans(8, NULL);
}

static void several(void)
{
	rig_run_apart(run_several, 10);
}

static atomic_uint nr_started;

static bool have_all_started(void)
{
	return atomic_load(&nr_started) >= NR_SCANS;
}

/* Once all scans have what they take, if they can: then each thread wants one buffer more, which it may. */
static int start_and_read_another(struct set *s, uint64_t block)
{
	if (atomic_load(&s->nr_calls) == 1) {
		atomic_fetch_add(&nr_started, 1);
		rig_wait_until(have_all_started, 100);
	}
	return read_another(s, block);
}

static void run_several_readers(void)
{
	static const unsigned buffers[] = { 8, 30, 64, 100 };

	for (unsigned i = 0; i < 4; i++) {
		nr_started = 0;
		run_scans(buffers[i], start_and_read_another);
	}
}

static void several_readers(void)
{
	rig_run_apart(run_several_readers, 10);
}

static struct {
	pthread_rwlock_t lock;
	unsigned char value;
} model[NR_BLOCKS];

static atomic_bool stop;

/* The lock keeps writers away from the contents, as the library asks its callers to. */
static int is_as_modelled(struct set *s, uint64_t block)
{
	int wrong;

	(void)s;
	pthread_rwlock_rdlock(&model[block].lock);
	wrong = rig_read(block) != model[block].value;
	pthread_rwlock_unlock(&model[block].lock);
	return wrong;
}

static void *write_blocks(void *arg)
{
	uint64_t n = *(uint64_t *)arg;
	uintptr_t wrong = 0;

	for (unsigned i = 0; !atomic_load(&stop); i++) {
		uint64_t block = (n + i * UINT64_C(31)) % NR_BLOCKS;

		pthread_rwlock_wrlock(&model[block].lock);
		model[block].value = (unsigned char)(i % 255 + 1);
		wrong += rig_put(block, model[block].value) != 0;
		pthread_rwlock_unlock(&model[block].lock);
		if (i % 100 == 0)
			wrong += bufio_write_dirty_buffers(rig.c) != 0;
	}
	return (void *)wrong;
}

static void beside_writers(void)
{
	uint64_t first[2] = { 0, 200 };
	pthread_t t[2];
	void *wrong;

	set_setup_everything(64);
	stop = false;
	for (unsigned i = 0; i < NR_BLOCKS; i++) {
		pthread_rwlock_init(&model[i].lock, NULL);
		model[i].value = (unsigned char)rig_pattern(i);
	}
	for (unsigned i = 0; i < 2; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, write_blocks, &first[i]), 0);
	for (unsigned i = 0; i < 8; i++) {
		set_clear();
		set_add(0, NR_BLOCKS);
		set.also = is_as_modelled;
		CU_ASSERT_EQUAL(set_scan(some_threads[i % 4]), 0);
		set_expect();
	}
	stop = true;
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(t[i], &wrong);
		CU_ASSERT_PTR_NULL(wrong);
	}
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	for (unsigned i = 0; i < NR_BLOCKS; i++) {
		CU_ASSERT_EQUAL(rig_on_device(i), model[i].value);
		pthread_rwlock_destroy(&model[i].lock);
	}
	rig_close();
}

static void *change_limit(void *nothing)
{
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		uint64_t floor = bufio_get_memory_floor(rig.c);

		usleep(200); /* a lock need not be fair */
		if (bufio_set_memory_limit(rig.c, floor + i % 5 * 50 * BLOCK))
			return &set;
	}
	return nothing;
}

static void scan_while_limit_changes(void)
{
	pthread_t t;
	void *wrong;

	set_setup();
	stop = false;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, change_limit, NULL), 0);
	for (unsigned i = 0; i < 40; i++) {
		set_clear();
		set_add(0, NR_BLOCKS);
		set.also = i % 2 ? read_another : NULL;
		CU_ASSERT_EQUAL(set_scan(some_threads[i % 4]), 0);
		set_expect();
	}
	stop = true;
	pthread_join(t, &wrong);
	CU_ASSERT_PTR_NULL(wrong);
	rig_within_limit();
	rig_close();
}

static void limit_changes(void)
{
	rig_run_apart(scan_while_limit_changes, 20);
}

static int scan_inside(struct set *s, uint64_t block)
{
	static struct set inner;

	if (block % 100)
		return 0;
	(void)s;
	memset(&inner, 0, sizeof(inner));
	inner.nr_ranges = 1;
	inner.ranges[0].block = (block + 50) % (NR_BLOCKS - 40);
	inner.ranges[0].nr = 40;
	return set_scan_with(&inner, 1, false, 0) || inner.nr_calls != 40 || inner.nr_wrong;
}

static void run_scan_in_scan(void)
{
	for (unsigned i = 0; i < 2; i++) {
		set_setup_everything(i ? 8 : 100);
		set.also = scan_inside;
		CU_ASSERT_EQUAL(set_scan(1), 0);
		set_expect();
		rig_close();
	}
}

static void scan_in_scan(void)
{
	rig_run_apart(run_scan_in_scan, 10);
}

static const struct unit_case cases[] = {
	{ "a scan works at the memory floor while the caller holds a buffer", others_hold },
	{ "a scan works at the memory floor while other threads hold most buffers", beside_holders },
	{ "the callback may read another block, at the memory floor too", reads_another },
	{ "the callback may use the library", uses_everything },
	{ "the callback is refused to move something onto the block that it was given", moves_onto_it },
	{ "whoever holds everything is told, however many threads", everything_held },
	{ "several scans at once each get their set", several },
	{ "several scans at once may each read another block, at the memory floor too", several_readers },
	{ "a scan beside writers gives what they wrote", beside_writers },
	{ "the limit may change during a scan", limit_changes },
	{ "the callback may scan", scan_in_scan },
	{ NULL, NULL },
};

const struct unit_suite scan_beside_suite = { "scan_beside", cases };
