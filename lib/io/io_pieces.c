// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Filter: a device that is made of pieces of another, and is only read. What no piece covers reads as zeroes.
 *
 * A request becomes as many below as there are pieces in it, and is done when the last of them is.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"

#define MAX_DONE 64

struct pieces_device {
	struct bufio_device dev;
	struct io_pieces_args args;
	pthread_mutex_t lock;
	struct io_queue done;
	uint64_t nr; /* requests that were submitted and are not in the queue */
};

/* A request of ours, and those below that it became. */
struct whole {
	struct io_request *request;
	_Atomic unsigned nr_left;
	_Atomic int result;
	struct part *parts;
	struct iovec *iov; /* for all of them */
};

struct part {
	struct io_request request; /* first: what is done finds its part by it */
	struct whole *whole;
};

static struct pieces_device *pieces(struct bufio_device *dev)
{
	return (struct pieces_device *)dev;
}

/* --- which piece --- */

/* The first piece that ends behind @offset, or how many there are. */
static size_t find(const struct pieces_device *p, uint64_t offset)
{
	size_t low = 0, high = p->args.nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct piece *m = &p->args.pieces[middle];

		if (m->to + m->bytes > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* The piece that has byte @at, else NULL; in *@end where that changes, no further than @limit. @i is advanced. */
static const struct piece *piece_at(const struct pieces_device *p, size_t *i, uint64_t at, uint64_t limit, uint64_t *end)
{
	const struct piece *piece = *i < p->args.nr ? &p->args.pieces[*i] : NULL;
	bool is_in = piece && piece->to <= at;
	uint64_t change = !piece ? limit : is_in ? piece->to + piece->bytes : piece->to;

	*end = change < limit ? change : limit;
	if (is_in && *end == change)
		++*i;
	return is_in ? piece : NULL;
}

/* --- memory of a request --- */

static size_t length(const struct io_request *r)
{
	size_t len = 0;

	for (unsigned i = 0; i < r->nr_iov; i++)
		len += r->iov[i].iov_len;
	return len;
}

/* The memory of @len bytes from byte @at on; returns how many of @iov that takes, nr_iov at the most. */
static unsigned slice(const struct io_request *r, size_t at, size_t len, struct iovec *iov)
{
	unsigned n = 0;

	for (unsigned i = 0; len; i++) {
		size_t here = r->iov[i].iov_len;

		if (at >= here) {
			at -= here;
			continue;
		}
		here = here - at < len ? here - at : len;
		iov[n++] = (struct iovec){ (char *)r->iov[i].iov_base + at, here };
		len -= here;
		at = 0;
	}
	return n;
}

static void clear(const struct iovec *iov, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
}

/* --- requests --- */

static void finish(struct pieces_device *p, struct io_request *r, int result)
{
	pthread_mutex_lock(&p->lock);
	r->result = result;
	p->nr--;
	io_queue_push(&p->done, r);
	pthread_mutex_unlock(&p->lock);
}

static void destroy_whole(struct whole *w)
{
	free(w->parts);
	free(w->iov);
	free(w);
}

/* One part less to wait for. */
static void put_whole(struct pieces_device *p, struct whole *w)
{
	if (--w->nr_left)
		return;
	finish(p, w->request, w->result);
	destroy_whole(w);
}

static unsigned count_parts(const struct pieces_device *p, uint64_t offset, uint64_t end)
{
	unsigned nr = 0;
	uint64_t next;

	for (size_t i = find(p, offset); offset < end; offset = next)
		nr += piece_at(p, &i, offset, end, &next) != NULL;
	return nr;
}

/* One part more than there are, which keeps it from being done while it is still submitted. */
static struct whole *create_whole(const struct pieces_device *p, struct io_request *r, uint64_t end)
{
	unsigned nr = count_parts(p, r->offset, end);
	struct whole *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->request = r;
	w->nr_left = nr + 1;
	w->parts = calloc(nr + 1, sizeof(*w->parts));
	w->iov = calloc((size_t)nr + 2 * (size_t)r->nr_iov, sizeof(*w->iov));
	if (w->parts && w->iov)
		return w;
	destroy_whole(w);
	return NULL;
}

/* The last nr_iov of w->iov are for what is cleared. */
static void submit_parts(struct pieces_device *p, struct whole *w, uint64_t end)
{
	struct bufio_device *below = p->args.below;
	struct io_request *r = w->request;
	uint64_t offset = r->offset, next;
	struct part *part = w->parts;
	struct iovec *iov = w->iov;

	for (size_t i = find(p, offset); offset < end; offset = next) {
		const struct piece *piece = piece_at(p, &i, offset, end, &next);
		unsigned nr = slice(r, offset - r->offset, next - offset, iov);
		struct io_request *request = &part->request;

		if (!piece) {
			clear(iov, nr);
			continue;
		}
		*part++ = (struct part){
			.request = { .offset = piece->from + (offset - piece->to), .iov = iov, .nr_iov = nr }, .whole = w,
		};
		iov += nr;
		below->ops->submit(below, &request, 1);
	}
}

static void submit_one(struct pieces_device *p, struct io_request *r)
{
	uint64_t end = r->offset + length(r);
	struct whole *w = r->direction == IO_READ ? create_whole(p, r, end) : NULL;

	pthread_mutex_lock(&p->lock);
	p->nr++;
	pthread_mutex_unlock(&p->lock);
	if (!w) {
		finish(p, r, r->direction == IO_READ ? -ENOMEM : -EROFS);
		return;
	}
	submit_parts(p, w, end);
	put_whole(p, w);
}

static void pieces_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		submit_one(pieces(dev), requests[i]);
}

/* *@is_idle: nothing is left that could be waited for. */
static unsigned take_done(struct pieces_device *p, struct io_request **done, unsigned max, bool *is_idle)
{
	unsigned n = 0;

	pthread_mutex_lock(&p->lock);
	while (n < max && (done[n] = io_queue_pop(&p->done)))
		n++;
	*is_idle = !p->nr;
	pthread_mutex_unlock(&p->lock);
	return n;
}

static unsigned wait_below(struct pieces_device *p, bool block)
{
	struct io_request *done[MAX_DONE];
	unsigned n = p->args.below->ops->wait(p->args.below, done, MAX_DONE, block);

	for (unsigned i = 0; i < n; i++) {
		struct part *part = (struct part *)done[i];

		if (part->request.result)
			part->whole->result = part->request.result;
		put_whole(p, part->whole);
	}
	return n;
}

/* Below there may be nothing to wait for while another thread has what was done in its hands. */
static unsigned pieces_wait(struct bufio_device *dev, struct io_request **done, unsigned max, bool block)
{
	struct pieces_device *p = pieces(dev);
	bool is_idle;
	unsigned n = take_done(p, done, max, &is_idle);

	while (!n && !is_idle) {
		if (!wait_below(p, block) && block)
			sched_yield();
		n = take_done(p, done, max, &is_idle);
		if (!block)
			break;
	}
	return n;
}

/* --- the rest --- */

static int pieces_flush(struct bufio_device *dev)
{
	(void)dev;
	return 0;
}

static int pieces_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	(void)dev;
	(void)offset;
	(void)bytes;
	return -EROFS;
}

static int pieces_refresh(struct bufio_device *dev)
{
	(void)dev;
	return 0;
}

static int pieces_close(struct bufio_device *dev)
{
	struct pieces_device *p = pieces(dev);

	pthread_mutex_destroy(&p->lock);
	free(p);
	return 0;
}

static int pieces_next_data(struct bufio_device *dev, uint64_t offset, uint64_t *begin, uint64_t *end)
{
	struct pieces_device *p = pieces(dev);
	size_t i = find(p, offset);
	const struct piece *piece = &p->args.pieces[i];

	*begin = *end = dev->info.size;
	if (i == p->args.nr)
		return 0;
	*begin = piece->to > offset ? piece->to : offset;
	for (*end = piece->to + piece->bytes; ++i < p->args.nr && p->args.pieces[i].to == *end;)
		*end += p->args.pieces[i].bytes;
	return 0;
}

static int pieces_edge(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t bytes)
{
	struct pieces_device *p = pieces(dev);
	uint64_t at = offset, end = offset + bytes, next;
	int r = direction == IO_READ ? 0 : -EROFS;

	for (size_t i = find(p, at); at < end && !r; at = next) {
		const struct piece *piece = piece_at(p, &i, at, end, &next);
		char *to = (char *)data + (at - offset);

		if (piece)
			r = io_edge(p->args.below, direction, piece->from + (at - piece->to), to, next - at);
		else
			memset(to, 0, next - at);
	}
	return r;
}

static const struct io_ops pieces_ops = {
	.submit = pieces_submit,
	.wait = pieces_wait,
	.flush = pieces_flush,
	.discard = pieces_discard,
	.refresh = pieces_refresh,
	.close = pieces_close,
	.next_data = pieces_next_data,
	.edge = pieces_edge,
};

int io_pieces_open(const struct io_pieces_args *args, struct bufio_device **dev)
{
	struct pieces_device *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->dev.ops = &pieces_ops;
	p->dev.info = args->below->info;
	p->dev.info.size = args->size;
	p->dev.info.read_only = true;
	p->args = *args;
	pthread_mutex_init(&p->lock, NULL);
	io_queue_init(&p->done);
	*dev = &p->dev;
	return 0;
}
