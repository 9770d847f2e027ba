// SPDX-License-Identifier: LGPL-2.1-or-later
/* Dirty buffers: collected, sorted by block, merged, written. */
#include <errno.h>

#include "bufio/bufio_int.h"

/* The least that a partly dirty block is written by, as the kernel's dm-bufio has it. */
#define WRITE_UNIT 4096

void set_dirty(struct bufio_client *c, struct bufio_buffer *b, uint32_t start, uint32_t end)
{
	if (b->state & FRESH) { /* what the device has is not what the rest of the block is */
		start = 0;
		end = c->block_size;
	}
	if (b->state & DIRTY) { /* and so on its queue, or in the batch: it stays there */
		b->dirty_start = b->dirty_start < start ? b->dirty_start : start;
		b->dirty_end = b->dirty_end > end ? b->dirty_end : end;
		return;
	}
	c->nr_dirty++;
	b->dirty_start = start;
	b->dirty_end = end;
	change_state(b, FRESH, DIRTY);
	requeue(c, b);
}

/* --- sorting a list by block: runs that are in order already, merged two by two --- */

static uint64_t block_at(const struct list *l)
{
	return block_of(list_entry(l, struct bufio_buffer, lru));
}

/* Cuts the first ascending run off a chain that ends with NULL. */
static struct list *cut_run(struct list **chain)
{
	struct list *run = *chain, *l = run;

	while (l->next && block_at(l) < block_at(l->next))
		l = l->next;
	*chain = l->next;
	l->next = NULL;
	return run;
}

static struct list *merge(struct list *a, struct list *b)
{
	struct list *first = NULL, **tail = &first;

	while (a && b) {
		struct list **lower = block_at(a) < block_at(b) ? &a : &b;

		*tail = *lower;
		tail = &(*lower)->next;
		*lower = *tail;
	}
	*tail = a ? a : b;
	return first;
}

static void sort_by_block(struct list *head)
{
	struct list *bins[64] = { NULL }, *chain = head->next, *all = NULL;
	unsigned i, nr_bins = 0;

	if (list_is_empty(head))
		return;
	head->prev->next = NULL;
	while (chain) {
		struct list *run = cut_run(&chain);

		/* Bin i holds 2^i runs, as the bits of a counter. */
		for (i = 0; i < nr_bins && bins[i]; i++) {
			run = merge(bins[i], run);
			bins[i] = NULL;
		}
		if (i == nr_bins)
			nr_bins++;
		bins[i] = run;
	}
	for (i = 0; i < nr_bins; i++)
		all = merge(bins[i], all);
	list_init(head);
	while (all) {
		struct list *next = all->next;

		list_add_tail(head, all);
		all = next;
	}
}

/* --- batches --- */

/*
 * One batch at a time. When a batch can begin, every buffer that is WRITING has its transfer and so its serial number:
 * wait_for_writes() relies on that.
 */
static void begin_batch(struct bufio_client *c)
{
	while (c->batch_busy)
		wait_event(c);
	c->batch_busy = true;
}

static void end_batch(struct bufio_client *c)
{
	c->batch_busy = false;
	signal_event(c);
}

static uint64_t count_busy(const struct bufio_client *c)
{
	uint64_t nr = 0;

	for (const struct list *l = c->writing.next; l != &c->writing; l = l->next)
		nr += (list_entry(l, struct bufio_buffer, lru)->state & DIRTY) != 0;
	return nr;
}

static bool is_for(struct bufio_buffer *b, enum write_which which)
{
	return !(which >= WRITE_ON && b->write_error) && !(which == WRITE_UNHELD && is_held(b));
}

/* Moves dirty buffers to the batch, oldest first; at once, as many as free transfers take even if no more merge. */
static void collect(struct bufio_client *c, enum write_which which)
{
	uint64_t room = which == WRITE_ALL ? UINT64_MAX : NR_TRANSFERS - c->nr_inflight;
	struct bufio_buffer *before = NULL;
	unsigned run = 0;

	for (struct list *l = c->dirty.prev, *prev; l != &c->dirty; l = prev) {
		struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		prev = l->prev;
		if (!is_for(b, which))
			continue;
		run = before && run < transfer_blocks(c) && block_of(b) == block_of(before) + 1 ? run + 1 : 1;
		if (run == 1 && !room--)
			break;
		list_del(l);
		list_add_tail(&c->batch, l);
		before = b;
	}
	sort_by_block(&c->batch);
}

/* The dirty bytes, widened to what the device writes without reading. A callback may have changed any byte. */
static void widen(const struct bufio_client *c, struct bufio_buffer *b)
{
	uint64_t unit = c->dev->info.physical_block_size, base = c->offset + block_of(b) * c->block_size;
	uint64_t start = base + b->dirty_start, end = base + b->dirty_end;

	if (unit < WRITE_UNIT)
		unit = WRITE_UNIT;
	start -= start % unit;
	end += (unit - end % unit) % unit;
	b->dirty_start = c->write_callback || start < base ? 0 : (uint32_t)(start - base);
	b->dirty_end = c->write_callback || end - base > c->block_size ? c->block_size : (uint32_t)(end - base);
}

static void to_writing(struct bufio_client *c, struct bufio_buffer *b)
{
	if (c->write_callback)
		c->write_callback(b);
	widen(c, b);
	change_state(b, DIRTY, WRITING);
	c->nr_dirty--;
	requeue(c, b);
}

/* Whether the second block's dirty bytes are right behind the first's on the device. */
static bool are_adjacent(const struct bufio_client *c, const struct bufio_buffer *a, const struct bufio_buffer *b)
{
	return block_of(a) + 1 == block_of(b) && a->dirty_end == c->block_size && b->dirty_start == 0 && !a->alone &&
	       !b->alone;
}

/* Takes the first run of neighbours off the batch. */
static unsigned take_run(struct bufio_client *c, struct bufio_buffer **run)
{
	unsigned nr = 0;

	while (nr < transfer_blocks(c) && !list_is_empty(&c->batch)) {
		struct bufio_buffer *b = list_entry(c->batch.next, struct bufio_buffer, lru);

		if (nr && !are_adjacent(c, run[nr - 1], b))
			break;
		to_writing(c, b);
		run[nr++] = b;
		if (b->dirty_end != c->block_size)
			break;
	}
	return nr;
}

/* What there was no transfer for. */
static void return_batch(struct bufio_client *c)
{
	while (!list_is_empty(&c->batch))
		requeue(c, list_entry(c->batch.next, struct bufio_buffer, lru));
}

uint64_t start_writes(struct bufio_client *c, enum write_which which)
{
	struct plug plug = { .direction = IO_WRITE };
	struct bufio_buffer *run[TRANSFER_BLOCKS];
	uint64_t nr_busy;

	begin_batch(c);
	nr_busy = count_busy(c);
	collect(c, which);
	while (!list_is_empty(&c->batch)) {
		if (which != WRITE_ALL && !c->free_transfers)
			break;
		need_transfer(c, &plug);
		add_transfer(c, &plug, run, take_run(c, run));
	}
	return_batch(c);
	pull_plug(c, &plug);
	end_batch(c);
	return nr_busy;
}

static bool is_writing_since(const struct bufio_client *c, uint64_t serial)
{
	for (unsigned i = 0; i < NR_TRANSFERS; i++) {
		const struct transfer *t = &c->transfers[i];

		if (t->serial && t->serial <= serial && t->request.direction == IO_WRITE)
			return true;
	}
	return false;
}

/* By serial number, so that other threads that go on writing cannot keep the caller here for ever. */
void wait_for_writes(struct bufio_client *c)
{
	uint64_t serial = c->last_serial;

	while (is_writing_since(c, serial))
		wait_event(c);
}

int write_now(struct bufio_client *c, struct bufio_buffer *b)
{
	struct plug plug = { .direction = IO_WRITE, .wait_follows = true };

	while (b->state & WRITING)
		wait_event(c);
	if (!(b->state & DIRTY))
		return 0;
	begin_batch(c);
	need_transfer(c, &plug);
	if (b->state & DIRTY && !(b->state & WRITING)) {
		to_writing(c, b);
		add_transfer(c, &plug, &b, 1);
		pull_plug(c, &plug);
	}
	end_batch(c);
	while (b->state & WRITING)
		wait_event(c);
	return b->write_error;
}

/* --- barriers --- */

static void lowest_error(const struct list *queue, uint64_t *lowest, int *error)
{
	for (const struct list *l = queue->next; l != queue; l = l->next) {
		const struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		if (b->write_error && block_of(b) <= *lowest) {
			*lowest = block_of(b);
			*error = b->write_error;
		}
	}
}

/* One that another thread is writing again counts too: whether that succeeds is not known yet. */
int first_write_error(const struct bufio_client *c)
{
	uint64_t lowest = UINT64_MAX;
	int error = 0;

	lowest_error(&c->dirty, &lowest, &error);
	lowest_error(&c->batch, &lowest, &error);
	lowest_error(&c->writing, &lowest, &error);
	return error;
}

/* With the client locked, and no batch under way: what an asynchronous write could not start so far. */
static void start_some(struct bufio_client *c, enum write_which which)
{
	start_writes(c, which);
	c->write_on = !list_is_empty(&c->dirty);
}

void write_on(struct bufio_client *c)
{
	if (c->write_on && c->free_transfers && !c->batch_busy) {
		c->write_on = false;
		start_some(c, WRITE_ON);
	}
}

void bufio_write_dirty_buffers_async(struct bufio_client *c)
{
	record(c, TRACE_WRITE, 0, 0);
	pthread_mutex_lock(&c->lock);
	poll_events(c);
	if (c->batch_busy)
		c->write_on = true;
	else
		start_some(c, WRITE_AT_ONCE);
	pthread_mutex_unlock(&c->lock);
}

static int flush_device(struct bufio_client *c)
{
	int r;

	if (c->dev->info.read_only)
		return 0;
	/* One at a time: the kernel tells of a lost write once, and every thread that flushes has to know. */
	pthread_mutex_lock(&c->lock);
	while (c->flushing)
		wait_event(c);
	c->flushing = true;
	pthread_mutex_unlock(&c->lock);
	r = c->dev->ops->flush(c->dev);
	pthread_mutex_lock(&c->lock);
	c->flushing = false;
	c->stats.flushes++;
	if (!c->flush_error)
		c->flush_error = r;
	r = c->flush_error;
	signal_event(c);
	pthread_mutex_unlock(&c->lock);
	return r;
}

int bufio_issue_flush(struct bufio_client *c)
{
	record(c, TRACE_BARRIER, 0, 0);
	return flush_device(c);
}

static int take_remembered_error(struct bufio_client *c)
{
	int r;

	pthread_mutex_lock(&c->lock);
	r = c->remembered_error;
	c->remembered_error = 0;
	pthread_mutex_unlock(&c->lock);
	return r;
}

int bufio_write_dirty_buffers(struct bufio_client *c)
{
	int write_error, flush_error;
	uint64_t split;

	record(c, TRACE_FLUSH, 0, 0);
	pthread_mutex_lock(&c->lock);
	split = c->nr_split;
	if (start_writes(c, WRITE_ALL)) {
		/* Some were dirtied again while an older write of them was under way: once more when that is over. */
		wait_for_writes(c);
		start_writes(c, WRITE_ALL);
	}
	wait_for_writes(c);
	if (c->nr_split != split) {
		start_writes(c, WRITE_ALL); /* of those that failed together, the innocent */
		wait_for_writes(c);
	}
	write_error = first_write_error(c);
	pthread_mutex_unlock(&c->lock);

	/* Also after an error, and when nothing was dirty: earlier evictions wrote without a flush. */
	flush_error = flush_device(c);
	if (write_error || flush_error)
		return write_error ? write_error : flush_error;
	return take_remembered_error(c);
}

void bufio_remember_error(struct bufio_client *c, int error)
{
	pthread_mutex_lock(&c->lock);
	if (!c->remembered_error)
		c->remembered_error = error;
	pthread_mutex_unlock(&c->lock);
}

int bufio_set_dirty_percent(struct bufio_client *c, unsigned percent)
{
	if (!percent || percent > 100)
		return -EINVAL;
	atomic_store(&c->dirty_percent, percent);
	return 0;
}

unsigned bufio_get_dirty_percent(const struct bufio_client *c)
{
	return atomic_load(&c->dirty_percent);
}

int bufio_issue_discard(struct bufio_client *c, uint64_t block, uint64_t nr)
{
	int r;

	if (block > c->nr_blocks || nr > c->nr_blocks - block)
		return -EINVAL;
	if (c->dev->info.read_only)
		return -EROFS;
	if (nr)
		record(c, TRACE_DISCARD, block, nr);
	pthread_mutex_lock(&c->lock);
	poll_events(c);
	r = forget_range(c, block, nr) ? -EBUSY : 0;
	c->stats.discards += !r;
	pthread_mutex_unlock(&c->lock);
	if (!r && nr)
		r = c->dev->ops->discard(c->dev, c->offset + block * c->block_size, nr * c->block_size);
	return r;
}
