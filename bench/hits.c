// SPDX-License-Identifier: LGPL-2.1-or-later
/* Blocks that are in the cache: what a read and a release cost, and what a block costs beside its data. No disk. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "bench.h"

#define SEED UINT64_C(0x9e3779b97f4a7c15)
#define NR_THREADS 2

/* Memory with a client on it that has every block in its cache. */
struct cached {
	struct bufio_device *dev;
	struct bufio_client *c;
};

static inline void hit(struct bufio_client *c, uint64_t block)
{
	struct bufio_buffer *b;

	if (!bufio_read(c, block, &b))
		die("bufio_read: %s", strerror(errno));
	bufio_release(b);
}

/* One loop for each order, so that none carries the cost of another. Blocks @first to @first + @nr - 1. */
static void hit_random(struct bufio_client *c, uint64_t first, uint64_t nr, uint64_t ops)
{
	uint64_t state = SEED + first;

	while (ops--)
		hit(c, first + random_below(&state, nr));
}

static void hit_sequential(struct bufio_client *c, uint64_t first, uint64_t nr, uint64_t ops)
{
	uint64_t i = 0;

	while (ops--) {
		hit(c, first + i);
		if (++i == nr)
			i = 0;
	}
}

static void hit_same(struct bufio_client *c, uint64_t first, uint64_t nr, uint64_t ops)
{
	while (ops--)
		hit(c, first + nr / 2);
}

static const struct {
	const char *name;
	void (*loop)(struct bufio_client *c, uint64_t first, uint64_t nr, uint64_t ops);
} orders[] = {
	{ "random", hit_random },
	{ "sequential", hit_sequential },
	{ "same", hit_same },
};

static void open_cached(struct cached *cached, uint64_t blocks)
{
	struct bufio_stats before, after;

	check(bufio_device_open_memory(blocks * BLOCK, &cached->dev), "bufio_device_open_memory");
	cached->c = create_client(cached->dev, blocks * BLOCK / 4 * 5 + (1 << 20));
	hit_sequential(cached->c, 0, blocks, blocks);
	bufio_get_stats(cached->c, &before);
	hit_sequential(cached->c, 0, blocks, blocks);
	bufio_get_stats(cached->c, &after);
	if (after.misses != before.misses)
		die("the cache does not hold all of %llu blocks", (unsigned long long)blocks);
}

static void close_cached(struct cached *cached)
{
	check(bufio_client_destroy(cached->c), "bufio_client_destroy");
	check(bufio_device_close(cached->dev), "bufio_device_close");
}

double bench_hits(const struct bench *args)
{
	struct cached cached;
	double start, end;

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		if (strcmp(orders[i].name, args->order))
			continue;
		open_cached(&cached, args->blocks);
		orders[i].loop(cached.c, 0, args->blocks, args->ops / 10); /* warm */
		start = now();
		orders[i].loop(cached.c, 0, args->blocks, args->ops);
		end = now();
		close_cached(&cached);
		return (double)args->ops / (end - start);
	}
	die("what order is %s?", args->order);
}

struct worker {
	pthread_t thread;
	pthread_barrier_t *begin;
	struct bufio_client *c;
	uint64_t first, nr, ops;
	double start, end;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	hit_random(w->c, w->first, w->nr, w->ops / 10);
	pthread_barrier_wait(w->begin);
	w->start = now();
	hit_random(w->c, w->first, w->nr, w->ops);
	w->end = now();
	return NULL;
}

/* Sum of the rates of both: each thread's own time counts, as the second may begin or end a little later. */
static double run_workers(struct worker *workers)
{
	pthread_barrier_t begin;
	double rate = 0;

	pthread_barrier_init(&begin, NULL, NR_THREADS);
	for (unsigned i = 0; i < NR_THREADS; i++) {
		workers[i].begin = &begin;
		check(-pthread_create(&workers[i].thread, NULL, work, &workers[i]), "pthread_create");
	}
	for (unsigned i = 0; i < NR_THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		rate += (double)workers[i].ops / (workers[i].end - workers[i].start);
	}
	pthread_barrier_destroy(&begin);
	return rate;
}

double bench_pair(const struct bench *args)
{
	uint64_t half = args->blocks / NR_THREADS, clients = args->clients;
	struct worker workers[NR_THREADS] = { 0 };
	struct cached cached[NR_THREADS];
	double rate;

	if (clients != 1 && clients != NR_THREADS)
		die("--clients is 1 or %d", NR_THREADS);
	for (unsigned i = 0; i < clients; i++)
		open_cached(&cached[i], half * NR_THREADS / clients);
	for (unsigned i = 0; i < NR_THREADS; i++) {
		workers[i].c = cached[i % clients].c;
		workers[i].first = clients == 1 ? i * half : 0;
		workers[i].nr = half;
		workers[i].ops = args->ops;
	}
	rate = run_workers(workers);
	for (unsigned i = 0; i < clients; i++)
		close_cached(&cached[i]);
	return rate;
}

double bench_overhead(const struct bench *args)
{
	struct cached cached;
	struct bufio_stats stats;
	double data = (double)args->blocks * BLOCK;

	open_cached(&cached, args->blocks);
	bufio_get_stats(cached.c, &stats);
	close_cached(&cached);
	return ((double)stats.current_bytes - data) / data * 100;
}
