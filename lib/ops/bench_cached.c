// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Through libbufio: each worker asks for a block, has it, and gives it back. Whether it was there is asked first, so
 * that what a hit costs and what a miss costs are told apart. With a depth, the cache is asked ahead for what comes
 * next.
 */
#include <errno.h>
#include <stdlib.h>

#include "ops/bench_int.h"

struct ahead {
	struct workload_access access;
	bool is_asked_for; /* it was not in the cache then */
};

struct cached {
	struct ahead *ring; /* as many as the depth, beginning at @first */
	unsigned first, nr;
};

static int cached_open(struct bench_worker *w)
{
	struct cached *c = w->buffer = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->ring = calloc(w->machine->run->depth, sizeof(*c->ring));
	return c->ring ? 0 : -ENOMEM;
}

static void cached_close(struct bench_worker *w)
{
	struct cached *c = w->buffer;

	if (c)
		free(c->ring);
	free(c);
	w->buffer = NULL;
}

static uint64_t block_of(const struct bench_worker *w, const struct workload_access *a)
{
	return w->machine->run->begin / w->machine->run->block_size + a->block;
}

/* --- one block --- */

static void note_hit(struct bench_worker *w, uint64_t ns, bool was_there)
{
	histogram_record(&w->measures[was_there ? BENCH_HIT : BENCH_MISS], ns);
	w->counts.hits += was_there;
	w->counts.misses += !was_there;
}

/* One that is still on its way counts as used, and as missed. */
static void note_prefetch(struct bench_worker *w, const struct ahead *a, bool is_used)
{
	w->counts.prefetch.used += a->is_asked_for && is_used;
	w->counts.prefetch.wasted += a->is_asked_for && !is_used;
}

/* Returns when it was done. What was asked for ahead is no hit: the device brought it. */
static uint64_t do_read(struct bench_worker *w, const struct ahead *a, uint64_t due, uint64_t start)
{
	struct bufio_client *c = w->machine->client;
	uint64_t block = block_of(w, &a->access), now;
	struct bufio_buffer *b;
	void *data = bufio_get(c, block, &b);
	bool was_there = data;

	note_prefetch(w, a, was_there || errno == EAGAIN);
	if (!data)
		data = bufio_read(c, block, &b);
	now = bench_now();
	if (!data) {
		bench_note_error(w, -errno);
		return now;
	}
	bench_note(w, due, start, now, false);
	note_hit(w, now - start, was_there && !a->is_asked_for);
	bufio_release(b);
	return now;
}

static uint64_t do_write(struct bench_worker *w, const struct ahead *a, uint64_t due, uint64_t start)
{
	struct bufio_buffer *b;
	void *data = bufio_new(w->machine->client, block_of(w, &a->access), &b);
	uint64_t now;

	if (!data) {
		bench_note_error(w, -errno);
		return bench_now();
	}
	bench_fill(w, data, w->machine->run->block_size);
	bufio_mark_buffer_dirty(b);
	bufio_release(b);
	now = bench_now();
	bench_note(w, due, start, now, true);
	w->unflushed++;
	return now;
}

static uint64_t flush(struct bench_worker *w)
{
	uint64_t start = bench_now();

	return bench_note_flush(w, bufio_write_dirty_buffers(w->machine->client), start);
}

/* --- all of them --- */

/* A look that takes no hold would be cheaper, and there is none; a hit that is looked at twice is hotter for that. */
static bool ask_ahead(struct bench_worker *w, const struct workload_access *a)
{
	struct bufio_client *c = w->machine->client;
	struct bufio_buffer *b;

	if (a->is_write)
		return false;
	if (bufio_get(c, block_of(w, a), &b)) {
		bufio_release(b);
		return false;
	}
	bufio_prefetch(c, block_of(w, a), 1);
	w->counts.prefetch.issued++;
	return true;
}

/* As far ahead as the depth says; and the next one. */
static struct ahead take_next(struct bench_worker *w, struct cached *c)
{
	unsigned depth = w->machine->run->depth;
	struct ahead next;

	while (c->nr < depth) {
		struct ahead *a = &c->ring[(c->first + c->nr++) % depth];

		a->access = workload_next(w->source);
		a->is_asked_for = depth > 1 && ask_ahead(w, &a->access);
	}
	next = c->ring[c->first];
	c->first = (c->first + 1) % depth;
	c->nr--;
	return next;
}

static uint64_t do_next(struct bench_worker *w, uint64_t due)
{
	const struct bench_run_args *run = w->machine->run;
	struct ahead a = take_next(w, w->buffer);
	uint64_t start = bench_now(), now;

	now = a.access.is_write ? do_write(w, &a, due, start) : do_read(w, &a, due, start);
	return run->flush_every && w->unflushed >= run->flush_every ? flush(w) : now;
}

static void cached_work(struct bench_worker *w)
{
	uint64_t now = bench_now();

	while (bench_goes_on(w, now)) {
		uint64_t due = w->gap_ns ? bench_next_arrival(w) : now;

		if (due > now)
			now = bench_wait_until(w, due);
		if (now >= w->machine->end_ns)
			break;
		now = do_next(w, due);
	}
}

/* They share the device: the cache has it. */
static int cached_begin(struct bench_worker *w)
{
	(void)w;
	return 0;
}

static void cached_end(struct bench_worker *w)
{
	(void)w;
}

const struct bench_engine bench_cached = { cached_open, cached_close, cached_begin, cached_work, cached_end };
