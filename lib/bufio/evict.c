// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Who goes: a buffer for another block, clean before dirty.
 *
 * Clean buffers are on two queues. What comes in for the first time is cold; what is found again before it reaches the
 * end of the cold queue becomes hot. Cold ones go first, so that one long read, however long, moves through the cold
 * queue and leaves the hot blocks alone. Once the hot have taken nine tenths, the oldest of them that nobody has
 * touched go. A block that comes back soon after it went cold is hot at once: the ghosts remember a few bits of those,
 * else a new set of blocks, larger than what the hot leave it, would never get in.
 * The idea is S3-FIFO's (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).
 */
#include <errno.h>

#include "bufio/bufio_int.h"

/* --- ghosts: one slot of 32 bits for each hash, so that newer ones push older ones out --- */

static uint32_t *ghost_of(const struct bufio_client *c, uint64_t block, uint32_t *mark)
{
	uint64_t h = (block + 1) * UINT64_C(0xD1B54A32D192ED03);

	*mark = (uint32_t)h | 1; /* 0 is none */
	return &c->ghosts[((h >> 32) * c->nr_ghosts) >> 32];
}

static void remember_ghost(struct bufio_client *c, uint64_t block)
{
	uint32_t mark, *ghost = ghost_of(c, block, &mark);

	*ghost = mark;
}

static bool recall_ghost(struct bufio_client *c, uint64_t block)
{
	uint32_t mark, *ghost = ghost_of(c, block, &mark);

	if (*ghost != mark)
		return false;
	*ghost = 0;
	return true;
}

/* --- queues --- */

static void leave_queue(struct bufio_client *c, struct bufio_buffer *b)
{
	list_del(&b->lru);
	if (b->hot_queued)
		c->nr_hot--;
	b->hot_queued = false;
}

static void enter_queue(struct bufio_client *c, struct bufio_buffer *b)
{
	if (b->state & WRITING) {
		list_add(&c->writing, &b->lru);
	} else if (b->state & DIRTY) {
		list_add(&c->dirty, &b->lru);
	} else if (b->hot) {
		list_add(&c->hot, &b->lru);
		b->hot_queued = true;
		c->nr_hot++;
	} else {
		list_add(&c->cold, &b->lru);
	}
}

void requeue(struct bufio_client *c, struct bufio_buffer *b)
{
	leave_queue(c, b);
	enter_queue(c, b);
}

void insert_buffer(struct bufio_client *c, struct bufio_buffer *b, uint64_t block, unsigned state,
		   enum buffer_use use, uint32_t holder)
{
	lock_buffer(b);
	atomic_store_explicit(&b->block, block, memory_order_relaxed);
	b->state = (uint8_t)(state | CACHED);
	b->use = use;
	b->read_error = b->write_error = 0;
	b->unasked = holder == NOBODY;
	b->alone = false;
	b->hot = use != AHEAD && recall_ghost(c, block);
	if (holder != NOBODY)
		take_hold(b, holder);
	unlock_buffer(b);
	index_insert(c, b);
	enter_queue(c, b);
	c->stats.misses++;
}

/* Ends a buffer's time as its block, unless it is held or I/O is under way: from then on nobody finds it. */
static bool detach(struct bufio_client *c, struct bufio_buffer *b, bool dirty)
{
	bool can_go, was_dirty;

	lock_buffer(b);
	was_dirty = b->state & DIRTY;
	can_go = !b->hold_count && !(b->state & (READING | WRITING)) && (dirty || !was_dirty);
	if (can_go)
		b->state = 0;
	unlock_buffer(b);
	if (!can_go)
		return false;
	c->nr_dirty -= was_dirty;
	c->stats.hits += b->hits;
	b->hits = 0;
	index_remove(c, b);
	leave_queue(c, b);
	return true;
}

bool drop_buffer(struct bufio_client *c, struct bufio_buffer *b, bool dirty)
{
	if (!detach(c, b, dirty))
		return false;
	memory_give_back(c, b);
	return true;
}

/* --- the choice --- */

/* Looks at the oldest of a queue: it goes, or begins anew, as what is read ahead does if that is to be spared. */
static bool try_oldest(struct bufio_client *c, struct list *queue, struct bufio_buffer *b, bool spares_ahead)
{
	enum buffer_use use;

	lock_buffer(b);
	use = b->use;
	if (use == TOUCHED) {
		b->use = UNTOUCHED;
		b->hot = true;
	}
	unlock_buffer(b);
	if (use != TOUCHED && !(use == AHEAD && spares_ahead) && detach(c, b, false)) {
		if (queue == &c->cold && use == UNTOUCHED)
			remember_ghost(c, block_of(b));
		return true;
	}
	requeue(c, b);
	return false;
}

static struct bufio_buffer *take_from(struct bufio_client *c, struct list *queue, uint64_t nr, bool spares_ahead)
{
	while (nr-- && !list_is_empty(queue)) {
		struct bufio_buffer *b = list_entry(queue->prev, struct bufio_buffer, lru);

		if (try_oldest(c, queue, b, spares_ahead))
			return b;
	}
	return NULL;
}

/* A clean buffer that nobody holds, out of the cache; NULL when there is none. */
static struct bufio_buffer *find_victim(struct bufio_client *c, bool spares_ahead)
{
	struct bufio_buffer *b = NULL;

	if (c->nr_hot > c->nr_max - c->nr_max / 10 - 1)
		b = take_from(c, &c->hot, 2 * c->nr_hot, false);
	if (!b)
		b = take_from(c, &c->cold, c->nr_buffers, spares_ahead);
	if (!b)
		b = take_from(c, &c->hot, 2 * c->nr_hot, false);
	if (b)
		c->stats.evictions++;
	return b;
}

/* --- when there is none --- */

/* What stands in the way of making room. */
enum obstacle { NOTHING, IN_FLIGHT, DIRTY_BUFFERS, FAILED_BUFFERS, HELD_BY_OTHERS, HELD_BY_ME };

static enum obstacle look_at_dirty(struct list *queue, enum obstacle o, int *error)
{
	for (struct list *l = queue->next; l != queue; l = l->next) {
		struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);
		bool held = is_held(b);

		if (!held && !b->write_error)
			return DIRTY_BUFFERS;
		if (!held) {
			*error = b->write_error;
			o = FAILED_BUFFERS;
		} else if (o == HELD_BY_ME && !is_held_by_me_alone(b)) {
			o = HELD_BY_OTHERS;
		}
	}
	return o;
}

static enum obstacle look_at_clean(struct list *queue, enum obstacle o)
{
	for (struct list *l = queue->next; l != queue; l = l->next) {
		struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		if (!is_held(b))
			return NOTHING;
		if (o == HELD_BY_ME && !is_held_by_me_alone(b))
			o = HELD_BY_OTHERS;
	}
	return o;
}

static enum obstacle find_obstacle(struct bufio_client *c, int *error)
{
	enum obstacle o = HELD_BY_ME;

	if (c->nr_inflight || c->batch_busy)
		return IN_FLIGHT;
	o = look_at_dirty(&c->dirty, o, error);
	if (o != DIRTY_BUFFERS)
		o = look_at_clean(&c->cold, o);
	if (o != DIRTY_BUFFERS && o != NOTHING)
		o = look_at_clean(&c->hot, o);
	return o;
}

/* Does or waits for something that may make room; an error when nothing will. */
static int make_room(struct bufio_client *c)
{
	enum obstacle o;
	int error, r = 0;

	watch_releases(c); /* before looking: a release from now on is an event */
	o = find_obstacle(c, &error);
	if (o == DIRTY_BUFFERS)
		start_writes(c, WRITE_UNHELD);
	else if (o == FAILED_BUFFERS)
		r = error;
	else if (o == HELD_BY_ME)
		r = c->nr_buffers >= c->nr_max ? -EDEADLK : -ENOMEM; /* below: the system had no more */
	else if (o == IN_FLIGHT || o == HELD_BY_OTHERS)
		wait_event(c);
	ignore_releases(c);
	return r;
}

static struct bufio_buffer *alloc_at_once(struct bufio_client *c, bool spares_ahead)
{
	struct bufio_buffer *b = memory_take(c);

	while (!b && (b = find_victim(c, spares_ahead)) && c->nr_buffers > c->nr_max) {
		memory_give_back(c, b); /* above a lowered limit: one less */
		b = NULL;
	}
	if (b && c->alloc_callback)
		c->alloc_callback(b);
	return b;
}

struct bufio_buffer *alloc_buffer_now(struct bufio_client *c)
{
	return alloc_at_once(c, false);
}

struct bufio_buffer *alloc_ahead_buffer(struct bufio_client *c)
{
	return alloc_at_once(c, true);
}

struct bufio_buffer *alloc_scanned_buffer(struct bufio_client *c)
{
	struct bufio_buffer *b = list_entry(c->cold.prev, struct bufio_buffer, lru);
	bool is_free;

	if (list_is_empty(&c->cold) || c->over_limit)
		return NULL;
	lock_buffer(b);
	is_free = b->use == SCANNED;
	unlock_buffer(b);
	if (!is_free || !detach(c, b, false))
		return NULL;
	c->stats.evictions++;
	if (c->alloc_callback)
		c->alloc_callback(b);
	return b;
}

int alloc_buffer(struct bufio_client *c, struct bufio_buffer **out)
{
	struct bufio_buffer *b;
	int r;

	while (!(b = alloc_buffer_now(c))) {
		r = make_room(c);
		if (r)
			return r;
	}
	*out = b;
	return 0;
}

int evict_surplus(struct bufio_client *c)
{
	int error;

	while (c->nr_buffers > c->nr_max) {
		struct bufio_buffer *b = find_victim(c, false);
		enum obstacle o = b ? NOTHING : find_obstacle(c, &error);

		if (b)
			memory_give_back(c, b);
		else if (o == DIRTY_BUFFERS)
			start_writes(c, WRITE_UNHELD);
		else if (o == IN_FLIGHT)
			wait_event(c);
		else if (o != NOTHING)
			return first_write_error(c); /* the rest is held, or could not be written */
	}
	return 0;
}

/* --- forgetting --- */

static bool is_in(const struct bufio_buffer *b, uint64_t block, uint64_t nr)
{
	return block_of(b) >= block && block_of(b) - block < nr;
}

static uint64_t forget_queue(struct bufio_client *c, struct list *queue, uint64_t block, uint64_t nr)
{
	uint64_t left = 0;

	for (struct list *l = queue->next, *next; l != queue; l = next) {
		struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		next = l->next;
		left += is_in(b, block, nr) && !drop_buffer(c, b, false);
	}
	return left;
}

static uint64_t forget_each(struct bufio_client *c, uint64_t block, uint64_t nr)
{
	uint64_t left = 0;

	for (uint64_t i = 0; i < nr; i++) {
		struct bufio_buffer *b = index_find(c, block + i);

		left += b && !drop_buffer(c, b, false);
	}
	return left;
}

uint64_t forget_range(struct bufio_client *c, uint64_t block, uint64_t nr)
{
	struct list *const queues[] = { &c->cold, &c->hot, &c->dirty, &c->batch, &c->writing };
	uint64_t left = 0;

	if (nr <= c->nr_buffers)
		return forget_each(c, block, nr);
	for (size_t i = 0; i < sizeof(queues) / sizeof(*queues); i++)
		left += forget_queue(c, queues[i], block, nr);
	return left;
}
