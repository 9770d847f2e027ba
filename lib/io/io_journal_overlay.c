// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Filter: what is written lands in a journal; reads of changed blocks come from there, and all others go through.
 *
 * What goes through is handed back from wait() as it comes. Whatever has to do with a changed block is done in
 * submit(), by one thread at a time. It reads the device below too, and since any thread may be given any completion,
 * whoever takes completions below takes them for all: `taking` is held by one thread, from asking until all are where
 * they belong.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "io/io_journal_int.h"

#define FIRST_PLACES 1024 /* a power of two */

static struct io_journal_device *journal(struct bufio_device *dev)
{
	return (struct io_journal_device *)dev;
}

/* --- block -> slot --- */

/* The place of @block, or the empty one where it would be. */
static uint32_t *place_of(const struct io_journal_device *d, uint64_t block)
{
	uint64_t i = (block * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (d->nr_places - 1);

	while (d->places[i] && d->slots[d->places[i] - 1].block != block)
		i = (i + 1) & (d->nr_places - 1);
	return d->places + i;
}

/* NULL: it was not changed. */
static struct io_journal_slot *slot_of(const struct io_journal_device *d, uint64_t block)
{
	uint32_t place = d->file.nr_slots ? *place_of(d, block) : 0;

	return place ? d->slots + place - 1 : NULL;
}

static uint32_t number_of(const struct io_journal_device *d, const struct io_journal_slot *s)
{
	return (uint32_t)(s - d->slots);
}

static int grow_places(struct io_journal_device *d)
{
	uint64_t nr = d->nr_places ? d->nr_places * 2 : FIRST_PLACES, more = (nr - d->nr_places) * sizeof(*d->places);
	uint32_t *places = more > d->memory ? NULL : calloc(nr, sizeof(*places));

	if (!places)
		return -ENOMEM;
	d->memory -= more;
	free(d->places);
	d->places = places;
	d->nr_places = nr;
	for (uint64_t i = 0; i < d->file.nr_slots; i++)
		*place_of(d, d->slots[i].block) = (uint32_t)i + 1;
	return 0;
}

/* Room for one more. */
static int grow(struct io_journal_device *d)
{
	int r;

	pthread_mutex_lock(&d->lock);
	r = table_grow(&d->slots, sizeof(*d->slots), d->file.nr_slots, &d->max_slots, &d->memory);
	if (!r && d->file.nr_slots * 2 >= d->nr_places)
		r = grow_places(d);
	pthread_mutex_unlock(&d->lock);
	return r ? -ENOMEM : 0;
}

static void add_slot(struct io_journal_device *d, const struct io_journal_slot *s)
{
	pthread_mutex_lock(&d->lock);
	d->slots[d->file.nr_slots] = *s;
	*place_of(d, s->block) = (uint32_t)++d->file.nr_slots;
	pthread_mutex_unlock(&d->lock);
}

void io_journal_enter(struct io_journal_device *d, enum io_journal_phase phase)
{
	pthread_mutex_lock(&d->lock);
	d->phase = phase;
	pthread_mutex_unlock(&d->lock);
}

/* --- the device below --- */

/* Counted before they can be taken, and by one who sees the count only when they can. */
static void submit_below(struct io_journal_device *d, struct io_request **requests, unsigned nr,
			 struct io_request *inner)
{
	pthread_mutex_lock(&d->lock);
	if (inner)
		d->inner = inner;
	d->nr_below += nr;
	d->below->ops->submit(d->below, requests, nr);
	pthread_mutex_unlock(&d->lock);
}

static unsigned take_done(struct io_journal_device *d, struct io_request **done, unsigned max)
{
	unsigned n = 0;

	pthread_mutex_lock(&d->lock);
	while (n < max && (done[n] = io_queue_pop(&d->done)))
		n++;
	pthread_mutex_unlock(&d->lock);
	return n;
}

static bool has_below(struct io_journal_device *d)
{
	bool has;

	pthread_mutex_lock(&d->lock);
	has = d->nr_below;
	pthread_mutex_unlock(&d->lock);
	return has;
}

/* Completions to where they belong; @got is room for @max of them. Called with taking held. */
static void take_below(struct io_journal_device *d, struct io_request **got, unsigned max, bool block)
{
	unsigned n = d->below->ops->wait(d->below, got, max, block);

	pthread_mutex_lock(&d->lock);
	d->nr_below -= n;
	for (unsigned i = 0; i < n; i++) {
		if (got[i] == d->inner)
			d->inner = NULL;
		else
			io_queue_push(&d->done, got[i]);
	}
	pthread_mutex_unlock(&d->lock);
}

/* Called with working held. */
static int read_below(struct io_journal_device *d, uint64_t offset, void *data, size_t len)
{
	struct iovec iov = { data, len };
	struct io_request r = { .direction = IO_READ, .wait_follows = true, .offset = offset, .iov = &iov,
				.nr_iov = 1 };
	struct io_request *p = &r, *got[8];

	submit_below(d, &p, 1, &r);
	pthread_mutex_lock(&d->taking);
	while (d->inner)
		take_below(d, got, 8, true);
	pthread_mutex_unlock(&d->taking);
	return r.result;
}

/* --- changed blocks; all of it with working held --- */

static uint32_t run_of_unchanged(const struct io_journal_device *d, uint64_t block, uint32_t nr)
{
	uint32_t n = 0;

	while (n < nr && !slot_of(d, block + n))
		n++;
	return n;
}

static int fill_unchanged(struct io_journal_device *d, uint64_t block, uint32_t nr, unsigned char *data)
{
	uint64_t bytes = io_journal_bytes(&d->file, block, nr);

	memset(data + bytes, 0, (size_t)nr * d->file.about.block_size - bytes);
	return read_below(d, block * d->file.about.block_size, data, bytes);
}

/* An image that was half written, say, is not what anybody wrote. */
static int fill_changed(struct io_journal_device *d, const struct io_journal_slot *s, unsigned char *data)
{
	int r = io_journal_read_new(&d->file, number_of(d, s), data);

	return !r && io_journal_sum(&d->file, s->block, data) != s->new_sum ? -EIO : r;
}

/* Blocks as they are in the transaction. */
static int fill(struct io_journal_device *d, uint64_t block, uint32_t nr, unsigned char *data)
{
	uint32_t n;
	int r = 0;

	for (; nr && !r; nr -= n, block += n, data += (size_t)n * d->file.about.block_size) {
		n = run_of_unchanged(d, block, nr);
		if (n) {
			r = fill_unchanged(d, block, n, data);
		} else {
			r = fill_changed(d, slot_of(d, block), data);
			n = 1;
		}
	}
	return r;
}

/* That it can be committed too is a matter of the table, one record of which goes with each slot. */
static bool is_full(const struct io_journal_device *d)
{
	uint64_t nr = d->file.nr_slots + 1, size = io_journal_file_size(&d->file, nr, nr);

	return nr > UINT32_MAX || size > INT64_MAX || (d->max_bytes && size > d->max_bytes);
}

static int add(struct io_journal_device *d, uint64_t block, const unsigned char *old, const unsigned char *new)
{
	struct io_journal_slot s = {
		.block = block,
		.old_sum = io_journal_sum(&d->file, block, old),
		.new_sum = io_journal_sum(&d->file, block, new),
	};
	int r = is_full(d) ? -EFBIG : grow(d);

	if (!r)
		r = io_journal_write_both(&d->file, (uint32_t)d->file.nr_slots, old, new);
	if (!r)
		add_slot(d, &s);
	return r;
}

/* Of an image that was half written nobody knows what it holds. */
static int change(struct io_journal_device *d, struct io_journal_slot *s, const unsigned char *new)
{
	int r = io_journal_write_new(&d->file, number_of(d, s), new);

	if (r)
		io_journal_enter(d, IO_JOURNAL_IS_BROKEN);
	else
		s->new_sum = io_journal_sum(&d->file, s->block, new);
	return r;
}

/* What is written as it was before is not a change. */
static int store(struct io_journal_device *d, uint64_t block, uint32_t nr, const unsigned char *now,
		 const unsigned char *new)
{
	uint32_t size = d->file.about.block_size;
	int r = 0;

	for (uint32_t i = 0; i < nr && !r; i++, now += size, new += size) {
		struct io_journal_slot *s = slot_of(d, block + i);

		if (memcmp(now, new, size) != 0)
			r = s ? change(d, s, new) : add(d, block + i, now, new);
	}
	return r;
}

/* The next @bytes of the request, which are used up. */
static void copy(struct io_request *r, unsigned char *data, size_t bytes)
{
	while (bytes) {
		size_t n = r->iov->iov_len < bytes ? r->iov->iov_len : bytes;

		if (n && r->direction == IO_READ)
			memcpy(r->iov->iov_base, data, n);
		else if (n)
			memcpy(data, r->iov->iov_base, n);
		data += n;
		bytes -= n;
		r->iov->iov_base = (char *)r->iov->iov_base + n;
		r->iov->iov_len -= n;
		if (!r->iov->iov_len) {
			r->iov++;
			r->nr_iov--;
		}
	}
}

/* The part of a request up to byte @end, in @nr blocks from @block on, of which the first may be met in the middle. */
static int run_part(struct io_journal_device *d, struct io_request *r, uint64_t end, uint64_t block, uint32_t nr)
{
	unsigned char *now = d->file.current, *new = d->file.images;
	uint32_t size = d->file.about.block_size;
	size_t skip = r->offset % size, bytes = end - r->offset;
	int e = fill(d, block, nr, now);

	if (e)
		return e;
	r->offset = end;
	if (r->direction == IO_READ) {
		copy(r, now + skip, bytes);
		return 0;
	}
	memcpy(new, now, (size_t)nr * size);
	copy(r, new + skip, bytes);
	return store(d, block, nr, now, new);
}

static int run_parts(struct io_journal_device *d, struct io_request *r, uint64_t end)
{
	uint32_t size = d->file.about.block_size;
	int e = 0;

	while (r->offset < end && !e) {
		uint64_t block = r->offset / size, nr = (end - 1) / size - block + 1, part_end = end;

		if (nr > io_journal_run_blocks(&d->file)) {
			nr = io_journal_run_blocks(&d->file);
			part_end = (block + nr) * size;
		}
		e = run_part(d, r, part_end, block, (uint32_t)nr);
	}
	return e;
}

/* False: it ends behind every end. */
static bool find_end(const struct io_request *r, uint64_t *end)
{
	*end = r->offset;
	for (unsigned i = 0; i < r->nr_iov; i++)
		if (__builtin_add_overflow(*end, r->iov[i].iov_len, end))
			return false;
	return true;
}

static void run(struct io_journal_device *d, struct io_request *r)
{
	uint64_t end;

	pthread_mutex_lock(&d->working);
	if (!find_end(r, &end) || end > d->file.about.target_size)
		r->result = -EIO;
	else if (r->direction == IO_WRITE && d->phase > IO_JOURNAL_IS_BROKEN)
		r->result = -EROFS;
	else
		r->result = run_parts(d, r, end);
	pthread_mutex_unlock(&d->working);
	pthread_mutex_lock(&d->lock);
	io_queue_push(&d->done, r);
	pthread_mutex_unlock(&d->lock);
}

/* --- operations --- */

static bool has_changed(const struct io_journal_device *d, uint64_t begin, uint64_t end)
{
	uint32_t size = d->file.about.block_size;

	for (uint64_t block = begin / size; block * size < end; block++)
		if (slot_of(d, block))
			return true;
	return false;
}

/* Whether a request is for the device below alone. One that ends behind its end gets the answer there. */
static bool goes_through(struct io_journal_device *d, const struct io_request *r)
{
	uint64_t end;
	bool does;

	if (r->direction != IO_READ)
		return false;
	pthread_mutex_lock(&d->lock);
	does = !d->file.nr_slots || d->phase == IO_JOURNAL_IS_DONE || !find_end(r, &end) ||
	       end > d->file.about.target_size || !has_changed(d, r->offset, end);
	pthread_mutex_unlock(&d->lock);
	return does;
}

static void journal_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	struct io_journal_device *d = journal(dev);
	unsigned i = 0, first;

	while (i < nr) {
		for (first = i; i < nr && goes_through(d, requests[i]);)
			i++;
		if (i > first)
			submit_below(d, requests + first, i - first, NULL);
		if (i < nr)
			run(d, requests[i++]);
	}
}

/*
 * What is being done in another thread's submit() is not outstanding yet, so it is not waited for: it is there when
 * that returns.
 */
static unsigned journal_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	struct io_journal_device *d = journal(dev);
	unsigned n = take_done(d, done, max);

	if (n)
		return n;
	if (block)
		pthread_mutex_lock(&d->taking);
	else if (pthread_mutex_trylock(&d->taking))
		return 0; /* another takes what there is */
	if (!block)
		take_below(d, done, max, false);
	while (!(n = take_done(d, done, max)) && block && has_below(d))
		take_below(d, done, max, true);
	pthread_mutex_unlock(&d->taking);
	return n;
}

/* Nothing is to last before the commit, and nothing is left to be flushed after it. */
static int journal_flush(struct bufio_device *dev)
{
	(void)dev;
	return 0;
}

static int journal_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	(void)dev;
	(void)offset;
	(void)bytes;
	return -EOPNOTSUPP;
}

static int journal_refresh(struct bufio_device *dev)
{
	struct io_journal_device *d = journal(dev);
	int r = d->below->ops->refresh(d->below);

	dev->info.size = d->below->info.size;
	return r;
}

const struct io_ops io_journal_ops = {
	.submit = journal_submit,
	.wait = journal_wait,
	.flush = journal_flush,
	.discard = journal_discard,
	.refresh = journal_refresh,
	.close = io_journal_close,
};
