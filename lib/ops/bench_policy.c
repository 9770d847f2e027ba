// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/bench_policy.h"

#include <errno.h>
#include <stdlib.h>

#include "bufio/bufio.h"
#include "io/io.h"

#define REPLAY_BLOCK 512
#define MIN_BUFFERS 8 /* that a client has at least */
#define STOP_EVERY 4096 /* accesses */

/* --- accesses --- */

int bench_access_open(const struct bench_accesses *accesses, struct bench_access_row *row)
{
	*row = (struct bench_access_row){ .accesses = accesses };
	if (accesses->blocks)
		return 0;
	row->source = workload_open(accesses->workload, 0, 1);
	return row->source ? 0 : -ENOMEM;
}

uint64_t bench_access_next(struct bench_access_row *row)
{
	return row->source ? workload_next(row->source).block : row->accesses->blocks[row->at++];
}

void bench_access_close(struct bench_access_row *row)
{
	workload_close(row->source);
}

/* --- a device of nothing --- */

struct nothing {
	struct bufio_device dev;
	struct io_queue done;
};

/* Memory keeps what is in it: nobody looks, and pages that are not touched cost nothing. */
static void nothing_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		requests[i]->result = 0;
		io_queue_push(&((struct nothing *)dev)->done, requests[i]);
	}
}

static unsigned nothing_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	unsigned n = 0;

	(void)block;
	while (n < max && (done[n] = io_queue_pop(&((struct nothing *)dev)->done)))
		n++;
	return n;
}

static int nothing_to_do(struct bufio_device *dev)
{
	(void)dev;
	return 0;
}

static int nothing_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	(void)dev;
	(void)offset;
	(void)bytes;
	return -EOPNOTSUPP;
}

static const struct io_ops nothing_ops = {
	.submit = nothing_submit,
	.wait = nothing_wait,
	.flush = nothing_to_do,
	.discard = nothing_discard,
	.refresh = nothing_to_do,
	.close = nothing_to_do,
};

static void nothing_init(struct nothing *n)
{
	n->dev.ops = &nothing_ops;
	n->dev.info = (struct bufio_device_info){
		.size = (uint64_t)INT64_MAX + 1 - REPLAY_BLOCK,
		.logical_block_size = REPLAY_BLOCK,
		.physical_block_size = REPLAY_BLOCK,
		.alignment = REPLAY_BLOCK,
		.read_only = true,
		.engine = "nothing",
	};
	n->dev.is_untraced = true; /* nobody asked for what is replayed */
	io_queue_init(&n->done);
}

/* --- sizes --- */

/* The floor of a client that has to have so many buffers is what these need. */
static int limit_of(struct bufio_client *c, uint64_t buffers, uint64_t *limit)
{
	int r = bufio_set_minimum_buffers(c, (unsigned)buffers);

	if (!r)
		*limit = bufio_get_memory_floor(c);
	return r;
}

static int limit_in_proportion(struct bufio_client *c, uint64_t buffers, uint64_t *limit)
{
	uint64_t bytes, asked = buffers < BENCH_POLICY_MAX ? buffers : BENCH_POLICY_MAX;
	int r = limit_of(c, asked, &bytes);

	if (!r)
		*limit = (uint64_t)((unsigned __int128)bytes * buffers / asked);
	return r;
}

static int most_buffers(struct bufio_client *c, uint64_t limit, uint64_t *buffers)
{
	uint64_t low = MIN_BUFFERS, high = limit / bufio_get_block_size(c) + 1, least;
	int r = 0;

	while (!r && low + 1 < high) {
		uint64_t middle = low + (high - low) / 2;

		r = limit_in_proportion(c, middle, &least);
		if (!r && least <= limit)
			low = middle;
		else
			high = middle;
	}
	if (!r)
		*buffers = low;
	return r;
}

static int ask(unsigned block_size, int (*question)(struct bufio_client *c, uint64_t given, uint64_t *answer),
	       uint64_t given, uint64_t *answer)
{
	struct nothing nothing;
	struct bufio_client *c;
	int r;

	nothing_init(&nothing);
	c = bufio_client_create(&nothing.dev, block_size, 1, 0, NULL, NULL);
	if (!c)
		return -errno;
	r = question(c, given, answer);
	bufio_client_destroy(c);
	return r;
}

int bench_policy_limit(unsigned block_size, uint64_t buffers, uint64_t *limit)
{
	return ask(block_size, limit_in_proportion, buffers, limit);
}

int bench_policy_buffers(unsigned block_size, uint64_t limit, uint64_t *buffers)
{
	return ask(block_size, most_buffers, limit, buffers);
}

/* --- replay --- */

static uint64_t count_misses(struct bufio_client *c)
{
	struct bufio_stats stats;

	bufio_get_stats(c, &stats);
	return stats.misses;
}

static int replay_some(struct bufio_client *c, struct bench_access_row *row, uint64_t nr,
		       const volatile sig_atomic_t *stop)
{
	struct bufio_buffer *b;

	for (uint64_t i = 0; i < nr; i++) {
		if (i % STOP_EVERY == 0 && stop && *stop)
			return -EINTR;
		if (!bufio_read(c, bench_access_next(row), &b))
			return -errno;
		bufio_release(b);
	}
	return 0;
}

static int replay(struct bufio_client *c, const struct bench_accesses *accesses, const volatile sig_atomic_t *stop,
		  double *hits)
{
	uint64_t counted = accesses->nr - accesses->warm_up, before;
	struct bench_access_row row;
	int r = bench_access_open(accesses, &row);

	if (r)
		return r;
	r = replay_some(c, &row, accesses->warm_up, stop);
	before = count_misses(c);
	if (!r)
		r = replay_some(c, &row, counted, stop);
	if (!r)
		*hits = counted ? 1 - (double)(count_misses(c) - before) / (double)counted : 0;
	bench_access_close(&row);
	return r;
}

int bench_policy_hits(const struct bench_accesses *accesses, unsigned buffers, const volatile sig_atomic_t *stop,
		      double *hits)
{
	struct nothing nothing;
	struct bufio_client *c;
	int r;

	nothing_init(&nothing);
	c = bufio_client_create(&nothing.dev, REPLAY_BLOCK, 1, 0, NULL, NULL);
	if (!c)
		return -errno;
	r = bufio_set_minimum_buffers(c, buffers);
	if (!r)
		r = bufio_set_memory_limit(c, bufio_get_memory_floor(c));
	if (!r)
		r = replay(c, accesses, stop, hits);
	bufio_client_destroy(c);
	return r;
}
