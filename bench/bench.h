/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the measurements of bench share: their arguments, a clock, and one way to give up. */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

#include "bufio/bufio.h"

#define BLOCK 4096u

/* All arguments; each verb uses some. Defaults are in bench.c, sizes in bytes. */
struct bench {
	const char *file, *engine, *order;
	uint64_t blocks, ops, size, limit, window, threads, clients;
	char **command; /* the words behind --, and NULL behind them; or NULL */
};

/* One verb: measures once, and returns the figure to print. */
double bench_hits(const struct bench *args);
double bench_pair(const struct bench *args);
double bench_overhead(const struct bench *args);
double bench_fill(const struct bench *args);
double bench_open(const struct bench *args);
double bench_scan(const struct bench *args);
double bench_prefetch(const struct bench *args);
double bench_write(const struct bench *args);
double bench_rss(const struct bench *args);
double bench_time(const struct bench *args);
double bench_times(const struct bench *args);
double bench_memory(const struct bench *args);
double bench_floor(const struct bench *args);

double now(void); /* seconds */

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check(int r, const char *what); /* dies unless @r is 0; it is -errno */

struct bufio_client *create_client(struct bufio_device *dev, uint64_t limit);

/* Xorshift: a few instructions, and never 0 for a state that is not 0. */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* A number below @nr, which is below 2^32. */
static inline uint64_t random_below(uint64_t *state, uint64_t nr)
{
	return (random_next(state) >> 32) * nr >> 32;
}

/* Fills a buffer with what no disk can compress. */
static inline void random_fill(uint64_t *state, uint64_t *words, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes / sizeof(*words); i++)
		words[i] = random_next(state);
}

#endif
