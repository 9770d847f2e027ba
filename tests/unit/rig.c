// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

#define MAX_BAD 8

/* What is slow because it is instrumented, and beside other tests, does not hang. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define PATIENCE 6
#else
#define PATIENCE 1
#endif

struct rig rig;

/* The device on top. */
struct top {
	struct bufio_device dev;
	struct bufio_device *below;
	pthread_mutex_t lock; /* everything below, and the log */
	pthread_cond_t changed;
	unsigned kinds; /* that are kept */
	unsigned nr_kept;
	struct io_queue kept, failed;
	struct {
		enum io_direction direction;
		uint64_t block;
		int error;
	} bad[MAX_BAD];
};

static struct top *top(void)
{
	return (struct top *)rig.dev;
}

/* --- operations --- */

static uint64_t size_of(const struct io_request *r)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < r->nr_iov; i++)
		bytes += r->iov[i].iov_len;
	return bytes;
}

static void note(const struct io_request *r)
{
	if (rig.nr_log < RIG_LOG)
		rig.log[rig.nr_log] = (struct rig_request){ r->direction, r->offset, size_of(r) };
	rig.nr_log++;
	rig.nr_reads += r->direction == IO_READ;
	rig.nr_writes += r->direction == IO_WRITE;
}

static int error_of(const struct top *t, const struct io_request *r)
{
	uint64_t end = r->offset + size_of(r);

	for (unsigned i = 0; i < MAX_BAD; i++) {
		uint64_t start = t->bad[i].block * rig.block_size;

		if (t->bad[i].error && t->bad[i].direction == r->direction && r->offset < start + rig.block_size &&
		    start < end)
			return t->bad[i].error;
	}
	return 0;
}

static void pass_on(struct top *t, struct io_request *r)
{
	int error = error_of(t, r);

	if (error) {
		r->result = -error;
		io_queue_push(&t->failed, r);
	} else {
		t->below->ops->submit(t->below, &r, 1);
	}
}

static bool is_kept(const struct top *t, const struct io_request *r)
{
	return t->kinds & (r->direction == IO_READ ? IO_FAULT_READ : IO_FAULT_WRITE);
}

static void top_submit(struct bufio_device *dev, struct io_request **r, unsigned nr)
{
	struct top *t = (struct top *)dev;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < nr; i++) {
		note(r[i]);
		if (is_kept(t, r[i])) {
			io_queue_push(&t->kept, r[i]);
			t->nr_kept++;
		} else {
			pass_on(t, r[i]);
		}
	}
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

/* Memory never makes one wait, so that there is nothing to wait for but what is kept. */
static unsigned top_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	struct top *t = (struct top *)dev;
	unsigned nr;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		nr = 0;
		while (nr < max && (done[nr] = io_queue_pop(&t->failed)))
			nr++;
		if (!nr)
			nr = t->below->ops->wait(t->below, done, max, false);
		if (nr || !block || !t->nr_kept)
			break;
		pthread_cond_wait(&t->changed, &t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return nr;
}

static int top_flush(struct bufio_device *dev)
{
	struct top *t = (struct top *)dev;

	return t->below->ops->flush(t->below);
}

static int top_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	struct top *t = (struct top *)dev;

	pthread_mutex_lock(&t->lock);
	rig.nr_discards++;
	rig.discarded = (struct rig_request){ IO_WRITE, offset, bytes };
	pthread_mutex_unlock(&t->lock);
	return t->below->ops->discard(t->below, offset, bytes);
}

static int top_refresh(struct bufio_device *dev)
{
	struct top *t = (struct top *)dev;
	int r = t->below->ops->refresh(t->below);

	dev->info.size = t->below->info.size;
	return r;
}

static int top_close(struct bufio_device *dev)
{
	struct top *t = (struct top *)dev;
	int r = bufio_device_close(t->below);

	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->changed);
	free(t);
	return r;
}

static const struct io_ops top_ops = {
	.submit = top_submit,
	.wait = top_wait,
	.flush = top_flush,
	.discard = top_discard,
	.refresh = top_refresh,
	.close = top_close,
};

/* --- device --- */

void rig_open(unsigned block_size, uint64_t nr_blocks)
{
	struct top *t = calloc(1, sizeof(*t));

	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	memset(&rig, 0, sizeof(rig));
	rig.block_size = block_size;
	rig.nr_blocks = nr_blocks;
	rig.plan = (struct io_fault_plan){ .error = EIO };
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(nr_blocks * block_size, &rig.memory), 0);
	for (uint64_t i = 0; i < nr_blocks; i++)
		memset(rig_memory_of(i), rig_pattern(i), block_size);
	CU_ASSERT_EQUAL_FATAL(io_fault_open(rig.memory, &rig.plan, &t->below), 0);
	t->dev.ops = &top_ops;
	t->dev.info = t->below->info;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	io_queue_init(&t->kept);
	io_queue_init(&t->failed);
	rig.dev = &t->dev;
}

void rig_create(unsigned reserved, unsigned aux_size, void (*alloc_callback)(struct bufio_buffer *),
		void (*write_callback)(struct bufio_buffer *))
{
	rig.c = bufio_client_create(rig.dev, rig.block_size, reserved, aux_size, alloc_callback, write_callback);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rig.c);
}

void rig_setup(unsigned block_size, uint64_t nr_blocks)
{
	rig_open(block_size, nr_blocks);
	rig_create(1, 0, NULL, NULL);
}

void rig_close_device(void)
{
	CU_ASSERT_EQUAL(bufio_device_close(rig.dev), 0);
}

void rig_close(void)
{
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	rig_close_device();
}

void rig_keep(unsigned kinds)
{
	struct top *t = top();
	struct io_queue before;
	struct io_request *r;

	pthread_mutex_lock(&t->lock);
	t->kinds = kinds;
	before = t->kept;
	if (!before.head)
		io_queue_init(&before);
	io_queue_init(&t->kept);
	t->nr_kept = 0;
	while ((r = io_queue_pop(&before)))
		if (is_kept(t, r)) {
			io_queue_push(&t->kept, r);
			t->nr_kept++;
		} else {
			pass_on(t, r);
		}
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

void rig_let_all_go(void)
{
	rig_keep(0);
}

void rig_wait_for_requests(unsigned nr)
{
	struct top *t = top();

	pthread_mutex_lock(&t->lock);
	while (rig.nr_log < nr)
		pthread_cond_wait(&t->changed, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

unsigned rig_count_kept(void)
{
	unsigned nr;

	pthread_mutex_lock(&top()->lock);
	nr = top()->nr_kept;
	pthread_mutex_unlock(&top()->lock);
	return nr;
}

void rig_damage(enum io_direction direction, uint64_t block, int error)
{
	struct top *t = top();
	unsigned slot = MAX_BAD;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < MAX_BAD; i++) {
		bool same = t->bad[i].direction == direction && t->bad[i].block == block;

		if (t->bad[i].error ? same : slot == MAX_BAD)
			slot = i;
		if (t->bad[i].error && same)
			break;
	}
	if (slot < MAX_BAD) {
		t->bad[slot].direction = direction;
		t->bad[slot].block = block;
		t->bad[slot].error = error;
	}
	pthread_mutex_unlock(&t->lock);
	CU_ASSERT_TRUE_FATAL(slot < MAX_BAD);
}

/* --- blocks --- */

int rig_pattern(uint64_t block)
{
	return (int)(block % 251) + 1;
}

int rig_value_of(const void *data, size_t size)
{
	const unsigned char *p = data;

	return memcmp(p, p + 1, size - 1) ? -1 : p[0];
}

unsigned char *rig_memory_of(uint64_t block)
{
	return (unsigned char *)io_mem_data(rig.memory) + block * rig.block_size;
}

int rig_on_device(uint64_t block)
{
	return rig_value_of(rig_memory_of(block), rig.block_size);
}

int rig_read(uint64_t block)
{
	struct bufio_buffer *b;
	void *data = bufio_read(rig.c, block, &b);
	int v;

	if (!data)
		return -2 - errno;
	v = rig_value_of(data, rig.block_size);
	return bufio_release(b) ? -2 : v;
}

void rig_read_all(uint64_t from, uint64_t to)
{
	unsigned wrong = 0;

	for (uint64_t i = from; i < to; i++)
		wrong += rig_read(i) != rig_pattern(i);
	CU_ASSERT_EQUAL(wrong, 0);
}

/*
 * Not seen by ThreadSanitizer: a buffer that was dirty before may be on its way to the device meanwhile, as the header
 * says. The torn copy does no harm, because the buffer is written again.
 */
__attribute__((no_sanitize_thread)) static void fill(volatile uint64_t *data, int value)
{
	for (unsigned i = 0; i < rig.block_size / sizeof(*data); i++)
		data[i] = (unsigned char)value * UINT64_C(0x0101010101010101);
}

int rig_put(uint64_t block, int value)
{
	struct bufio_buffer *b;
	void *data = bufio_new(rig.c, block, &b);

	if (!data)
		return -errno;
	fill(data, value);
	return bufio_mark_buffer_dirty(b) | bufio_release(b);
}

unsigned char *rig_hold(uint64_t block, struct bufio_buffer **b)
{
	unsigned char *data = bufio_read(rig.c, block, b);

	CU_ASSERT_PTR_NOT_NULL_FATAL(data);
	return data;
}

bool rig_is_cached(uint64_t block)
{
	struct bufio_buffer *b;

	return bufio_get(rig.c, block, &b) && bufio_release(b) == 0;
}

unsigned rig_count_cached(uint64_t from, uint64_t to)
{
	unsigned nr = 0;

	for (uint64_t i = from; i < to; i++)
		nr += rig_is_cached(i);
	return nr;
}

/* --- memory --- */

void rig_set_floor(void)
{
	CU_ASSERT_EQUAL(bufio_set_memory_limit(rig.c, bufio_get_memory_floor(rig.c)), 0);
}

void rig_set_buffers(unsigned nr)
{
	CU_ASSERT_EQUAL(bufio_set_minimum_buffers(rig.c, nr), 0);
	rig_set_floor();
	CU_ASSERT_EQUAL(bufio_set_minimum_buffers(rig.c, 0), 0);
}

struct bufio_stats rig_stats(void)
{
	struct bufio_stats s;

	bufio_get_stats(rig.c, &s);
	return s;
}

void rig_within_limit(void)
{
	struct bufio_stats s = rig_stats();

	CU_ASSERT_TRUE(s.current_bytes <= bufio_get_memory_limit(rig.c));
	CU_ASSERT_TRUE(s.current_bytes <= s.peak_bytes);
}

uint64_t rig_resident_bytes(void)
{
	unsigned long total = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fscanf(f, "%lu %lu", &total, &resident), 2);
	fclose(f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* --- ends --- */

/* In the new process. A fatal assertion ends the test there, and must not go on with the next one. */
static void run_and_exit(void (*run)(void), unsigned seconds)
{
	unsigned before = CU_get_number_of_failure_records();
	CU_pFailureRecord f = CU_get_failure_list();
	jmp_buf end;

	for (unsigned i = 0; f && i < before; i++)
		f = f->pNext;
	CU_get_current_test()->pJumpBuf = &end;
	alarm(PATIENCE * seconds);
	if (!setjmp(end))
		run();
	f = CU_get_failure_list();
	for (unsigned i = 0; f; f = f->pNext, i++)
		if (i >= before)
			printf("# %s:%u: %s\n", f->strFileName, f->uiLineNumber, f->strCondition);
	fflush(stdout);
	_exit(CU_get_number_of_failure_records() != before);
}

void rig_run_apart(void (*run)(void), unsigned seconds)
{
	int status = -1;
	bool hung;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CU_ASSERT_TRUE_FATAL(pid >= 0);
	if (!pid)
		run_and_exit(run, seconds);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	hung = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
	CU_ASSERT_FALSE(hung);
	CU_ASSERT_TRUE(hung || status == 0);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool rig_wait_until(bool (*is_so)(void), unsigned ms)
{
	uint64_t end = now_ms() + ms;

	while (!is_so()) {
		if (now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}
