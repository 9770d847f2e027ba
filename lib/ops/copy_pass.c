// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One pass over the source: what has certain statuses in the map is read, in order and far ahead, and written behind.
 *
 * The cache is over a pair of devices (io_pair.c): a block that was read is marked dirty and goes to the target, from the
 * same buffer. Holes of the source are neither read nor written where the target has zeroes already; where it has not they
 * are taken from it with --discard, and else are read and written like everything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "io/io.h"
#include "ops/copy_int.h"

/* More would find nothing: what is read once is not read again. */
#define MOST_MEMORY (UINT64_C(64) << 20)
#define WINDOW (UINT64_C(16) << 20)
#define DIRTY_PERCENT 25

#define SECOND UINT64_C(1000000000)
#define SAVE_NS (30 * SECOND) /* how much of the work an end without warning may cost */
#define NAP_NS (SECOND / 10)

struct pass {
	struct copy *c;
	struct bufio_device *pair;
	struct bufio_client *client;
	uint32_t unit;
	const char *wanted;
	char failed;
	uint64_t at; /* block: where next_blocks() goes on */
	bool no_zero; /* the target cannot make zeroes by itself */
	enum copy_end end;
	int error;
};

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

bool copy_is_stopped(const struct copy *c)
{
	return c->args->stop && *c->args->stop;
}

/* Ends the pass; the value is for bufio_scan(). */
static int end_pass(struct pass *p, enum copy_end end, int error)
{
	p->end = end;
	p->error = error;
	return 1;
}

/* --- what is where --- */

static uint64_t blocks_up(const struct pass *p, uint64_t bytes)
{
	return bytes / p->unit + (bytes % p->unit != 0);
}

/* Blocks that end before byte @at of the copy; the last may be incomplete. */
static uint64_t whole_blocks(const struct pass *p, uint64_t at)
{
	return at >= p->c->bytes ? blocks_up(p, p->c->bytes) : at / p->unit;
}

static uint64_t bytes_at(const struct pass *p, uint64_t block)
{
	return smaller(block * p->unit, p->c->bytes);
}

static int set_status(struct pass *p, uint64_t block, uint64_t end, char status)
{
	struct copy *c = p->c;
	int r = text_map_set(&c->map, c->args->begin + bytes_at(p, block), c->args->begin + bytes_at(p, end), status,
			     status == COPY_WRITTEN ? NULL : COPY_UNREAD);

	return r ? end_pass(p, COPY_END_FAILED, r) : 0;
}

static void count_progress(struct pass *p, uint64_t bytes)
{
	if (p->c->args->progress)
		p->c->args->progress->blocks += bytes / 4096;
}

/* How many blocks from @block on read as zeroes on @dev, where byte 0 of the copy is @base. */
static int count_zeroes(struct pass *p, struct bufio_device *dev, uint64_t base, uint64_t block, uint64_t *nr)
{
	uint64_t begin, end, zeroes;
	int r = io_next_data(dev, base + bytes_at(p, block), &begin, &end);

	if (r)
		return r;
	zeroes = whole_blocks(p, begin >= dev->info.size ? UINT64_MAX : begin - base);
	*nr = zeroes > block ? zeroes - block : 0;
	return 0;
}

/* The same of data, where there are no zeroes. */
static int count_data(struct pass *p, uint64_t block, uint64_t *nr)
{
	uint64_t begin, end, data;
	int r = io_next_data(p->pair, block * p->unit, &begin, &end);

	if (r)
		return r;
	data = blocks_up(p, smaller(end, p->c->bytes));
	*nr = data > block ? data - block : 1;
	return 0;
}

/* The target gets zeroes there without having them written. False: it cannot. */
static bool make_zero(struct pass *p, uint64_t block, uint64_t nr)
{
	uint64_t at = bytes_at(p, block);

	if (!p->c->args->discard || p->no_zero)
		return false;
	p->no_zero = io_zero(p->pair, at, bytes_at(p, block + nr) - at) != 0;
	p->c->has_begun |= !p->no_zero;
	return !p->no_zero;
}

/* Of @nr blocks of zeroes in the source: how many need not be written, from the first on. May be 0. */
static int spare_zeroes(struct pass *p, uint64_t block, uint64_t *nr)
{
	const struct op_copy_args *a = p->c->args;
	uint64_t there;
	int r = count_zeroes(p, a->target_device, a->to, block, &there);

	if (r)
		return r;
	if (there)
		*nr = smaller(*nr, there);
	else if (!make_zero(p, block, *nr))
		*nr = 0;
	return 0;
}

static int leave_out(struct pass *p, uint64_t block, uint64_t nr)
{
	uint64_t at = bytes_at(p, block), bytes = bytes_at(p, block + nr) - at;

	p->c->hole_bytes += bytes;
	copy_hash_add(p->c, at, NULL, bytes);
	count_progress(p, bytes);
	return set_status(p, block, block + nr, COPY_WRITTEN);
}

/* --- which blocks --- */

/* Passes over holes at @block, before @end; *@block is where there is something to copy. */
static int pass_holes(struct pass *p, uint64_t *block, uint64_t end, uint64_t *nr)
{
	const struct op_copy_args *a = p->c->args;

	while (*block < end) {
		uint64_t zeroes;
		int r = count_zeroes(p, a->source_device, a->begin, *block, &zeroes);

		if (!r && !zeroes)
			r = count_data(p, *block, nr);
		if (r || !zeroes)
			return r;
		zeroes = *nr = smaller(zeroes, end - *block);
		r = spare_zeroes(p, *block, &zeroes);
		if (r || !zeroes)
			return r;
		r = leave_out(p, *block, zeroes);
		if (r)
			return r;
		*block += zeroes;
	}
	*nr = 0;
	return 0;
}

/* For bufio_scan(). */
static bool next_blocks(void *context, uint64_t *block, uint64_t *nr)
{
	struct pass *p = context;
	struct copy *c = p->c;
	const struct text_map_piece *piece;

	while (!p->end && (piece = text_map_find(&c->map, c->args->begin + bytes_at(p, p->at), p->wanted))) {
		uint64_t at = piece->begin - c->args->begin, begin = piece->begin > c->args->begin ? at / p->unit : 0;
		uint64_t end = blocks_up(p, smaller(piece->end - c->args->begin, c->bytes)), n;
		int r = 0;

		begin = begin > p->at ? begin : p->at;
		if (begin >= end)
			return false;
		n = end - begin;
		if (c->args->sparse != COPY_SPARSE_NEVER)
			r = pass_holes(p, &begin, end, &n);
		n = smaller(n, end - begin);
		p->at = begin + n;
		if (r) {
			end_pass(p, COPY_END_FAILED, r < 0 ? r : p->error);
			return false;
		}
		if (n) {
			*block = begin;
			*nr = n;
			return true;
		}
	}
	return false;
}

/* --- one block --- */

static int write_block(struct pass *p, uint64_t block)
{
	struct bufio_buffer *b;
	int r = bufio_get(p->client, block, &b) ? bufio_mark_buffer_dirty(b) : -errno;

	if (r)
		return end_pass(p, COPY_END_FAILED, r);
	bufio_release(b);
	p->c->has_begun = true;
	return 0;
}

static int take_block(struct pass *p, uint64_t block, const void *data)
{
	uint64_t at = bytes_at(p, block), bytes = bytes_at(p, block + 1) - at, nr = 1;
	int r;

	p->c->read_bytes += bytes;
	copy_hash_add(p->c, at, data, bytes);
	count_progress(p, bytes);
	if (p->c->args->sparse == COPY_SPARSE_ALWAYS && bytes_are_zero(data, p->unit)) {
		r = spare_zeroes(p, block, &nr);
		if (r)
			return end_pass(p, COPY_END_FAILED, r);
		if (nr) {
			p->c->hole_bytes += bytes;
			return set_status(p, block, block + 1, COPY_WRITTEN);
		}
	}
	r = write_block(p, block);
	if (r)
		return r;
	p->c->written_bytes += bytes;
	return set_status(p, block, block + 1, COPY_WRITTEN);
}

static int take_bad(struct pass *p, uint64_t block, int error)
{
	struct copy *c = p->c;

	if (!c->bad_error) {
		c->bad_begin = c->args->begin + bytes_at(p, block);
		c->bad_end = c->args->begin + bytes_at(p, block + 1);
		c->bad_error = error;
	}
	if (!c->args->skip_bad && !c->args->map)
		return end_pass(p, COPY_END_READ, error);
	return set_status(p, block, block + 1, p->failed);
}

/* Sleeps until as much as was copied may have been. */
static void keep_pace(struct pass *p)
{
	const struct copy *c = p->c;
	uint64_t due, now;

	if (!c->args->rate)
		return;
	due = c->start_ns + (uint64_t)((double)(c->read_bytes) / (double)c->args->rate * (double)SECOND);
	while (!copy_is_stopped(c) && (now = now_ns()) < due) {
		struct timespec t = { .tv_nsec = (long)smaller(due - now, NAP_NS) };

		nanosleep(&t, NULL);
	}
}

/* --- on stable media --- */

static void on_report(void *context, enum bufio_report what, uint64_t block, int error)
{
	struct pass *p = context;
	struct copy *c = p->c;
	uint64_t begin = c->args->to + bytes_at(p, block), end = c->args->to + bytes_at(p, block + 1);

	if (what != BUFIO_REPORT_WRITE_ERROR)
		return;
	c->lost_begin = c->lost_error ? smaller(c->lost_begin, begin) : begin;
	c->lost_end = c->lost_error && c->lost_end > end ? c->lost_end : end;
	c->lost_error = -error;
}

/* After a flush that failed nobody knows which of what was written since the last one is there. */
static void lose_written(struct copy *c, int error)
{
	for (size_t i = 0; !c->lost_error && i < c->map.nr; i++) {
		const struct text_map_piece *m = &c->map.pieces[i];

		if (m->status != COPY_WRITTEN)
			continue;
		if (!c->lost_end)
			c->lost_begin = c->args->to + m->begin - c->args->begin;
		c->lost_end = c->args->to + m->end - c->args->begin;
	}
	c->lost_error = error;
	text_map_replace(&c->map, COPY_WRITTEN, TEXT_MAP_UNTRIED);
}

static int make_durable(struct pass *p)
{
	int r = bufio_write_dirty_buffers(p->client);

	if (r) {
		lose_written(p->c, p->c->lost_error ? p->c->lost_error : r);
		return end_pass(p, COPY_END_WRITE, r);
	}
	text_map_replace(&p->c->map, COPY_WRITTEN, TEXT_MAP_GOOD);
	return 0;
}

static int save_now_and_then(struct pass *p)
{
	struct copy *c = p->c;
	uint64_t now = c->args->map ? now_ns() : 0;
	int r;

	if (now < c->saved_ns + SAVE_NS)
		return 0;
	c->saved_ns = now;
	r = make_durable(p);
	if (r)
		return r;
	r = copy_map_save(c, TEXT_MAP_UNTRIED);
	return r ? end_pass(p, COPY_END_MAP, r) : 0;
}

/* For bufio_scan(). A write that failed may be what a block could not be read for. */
static int on_block(void *context, uint64_t block, const void *data, int error)
{
	struct pass *p = context;
	int r;

	if (p->end)
		return 1;
	if (copy_is_stopped(p->c))
		return end_pass(p, COPY_END_SIGNAL, 0);
	if (p->c->lost_error)
		return end_pass(p, COPY_END_WRITE, p->c->lost_error);
	r = error ? take_bad(p, block, error) : take_block(p, block, data);
	if (r)
		return r;
	keep_pace(p);
	return save_now_and_then(p);
}

/* --- the pass --- */

int copy_make_client(struct bufio_device *dev, uint32_t unit, uint64_t limit, struct bufio_client **client)
{
	struct bufio_client *c = bufio_client_create(dev, unit, 2, 0, NULL, NULL);
	int r = c ? bufio_set_memory_limit(c, smaller(limit, MOST_MEMORY)) : -errno;

	/* What is floor for large blocks may be more than is needed. */
	if (r == -EINVAL && c && bufio_get_memory_floor(c) <= limit)
		r = bufio_set_memory_limit(c, bufio_get_memory_floor(c));
	if (r) {
		bufio_client_destroy(c);
		return r;
	}
	*client = c;
	return 0;
}

uint32_t copy_sector(const struct copy *c)
{
	const struct bufio_device_info *s = &c->args->source_device->info;

	return s->logical_block_size > s->alignment ? s->logical_block_size : s->alignment;
}

void copy_add_stats(const struct copy *c, struct bufio_client *client)
{
	struct bufio_stats s, *sum = c->args->stats;

	if (!sum)
		return;
	bufio_get_stats(client, &s);
	sum->hits += s.hits;
	sum->misses += s.misses;
	sum->evictions += s.evictions;
	sum->blocks_read += s.blocks_read;
	sum->read_requests += s.read_requests;
	sum->blocks_written += s.blocks_written;
	sum->write_requests += s.write_requests;
	sum->read_errors += s.read_errors;
	sum->write_errors += s.write_errors;
	sum->peak_bytes = sum->peak_bytes > s.peak_bytes ? sum->peak_bytes : s.peak_bytes;
}

static int open_pass(struct pass *p)
{
	const struct op_copy_args *a = p->c->args;
	struct io_pair_args pair = {
		.source = a->source_device, .target = a->target_device, .from = a->begin, .to = a->to,
		.bytes = p->c->bytes, .unit = p->unit,
	};
	int r = io_pair_open(&pair, &p->pair);

	if (r)
		return r;
	r = copy_make_client(p->pair, p->unit, a->memory_limit, &p->client);
	if (r) {
		bufio_device_close(p->pair);
		return r;
	}
	bufio_set_dirty_percent(p->client, DIRTY_PERCENT);
	bufio_set_report(p->client, on_report, p);
	return 0;
}

static void run_pass(struct pass *p)
{
	struct bufio_scan scan = {
		.next = next_blocks, .block = on_block, .context = p, .in_order = true, .window = WINDOW,
	};
	int r = bufio_scan(p->client, &scan);

	if (r < 0)
		end_pass(p, p->c->lost_error ? COPY_END_WRITE : COPY_END_FAILED, r);
	make_durable(p); /* whatever has ended it */
}

enum copy_end copy_pass(struct copy *c, uint32_t unit, const char *wanted, char failed, int *error)
{
	struct pass p = { .c = c, .unit = unit, .wanted = wanted, .failed = failed };
	int r = open_pass(&p);

	if (!c->start_ns)
		c->start_ns = c->saved_ns = now_ns();
	if (r) {
		*error = r;
		return r == -EINVAL ? COPY_END_MEMORY : COPY_END_FAILED;
	}
	run_pass(&p);
	copy_add_stats(c, p.client);
	bufio_client_destroy(p.client);
	bufio_device_close(p.pair);
	*error = p.error;
	return p.end;
}
