// SPDX-License-Identifier: LGPL-2.1-or-later
/* Who goes: a buffer for another block, the least recently used clean one first. */
#include <errno.h>

#include "bufio/bufio_int.h"

void take_hold(struct bufio_buffer *b)
{
	pthread_t me = pthread_self();
	unsigned others = b->hold_count - b->owner_holds;

	if (!b->hold_count) {
		b->owner = me;
		b->crowd = false;
	}
	if (pthread_equal(b->owner, me))
		b->owner_holds++;
	else if (!others)
		b->second = me;
	else if (!pthread_equal(b->second, me))
		b->crowd = true;
	b->hold_count++;
}

void drop_hold(struct bufio_buffer *b)
{
	b->hold_count--;
	if (b->owner_holds && pthread_equal(b->owner, pthread_self()))
		b->owner_holds--;
	else if (b->owner_holds > b->hold_count)
		b->owner_holds = b->hold_count; /* given up by a thread that never took it */
	if (b->owner_holds == b->hold_count)
		b->crowd = false;
	if (!b->owner_holds && !b->crowd) {
		b->owner = b->second;
		b->owner_holds = b->hold_count;
	}
}

bool is_held_by_me_alone(const struct bufio_buffer *b)
{
	return b->hold_count && b->owner_holds == b->hold_count && pthread_equal(b->owner, pthread_self());
}

void insert_buffer(struct bufio_client *c, struct bufio_buffer *b, uint64_t block)
{
	b->block = block;
	b->state = 0;
	b->read_error = b->write_error = 0;
	b->hold_count = b->owner_holds = 0;
	take_hold(b);
	index_insert(c, b);
	list_add(&c->clean, &b->lru);
	c->stats.misses++;
}

static void detach(struct bufio_client *c, struct bufio_buffer *b)
{
	if (b->state & DIRTY)
		c->nr_dirty--;
	index_remove(c, b);
	list_del(&b->lru);
	b->state = 0;
}

void drop_buffer(struct bufio_client *c, struct bufio_buffer *b)
{
	detach(c, b);
	memory_give_back(c, b);
}

static struct bufio_buffer *oldest_evictable(struct bufio_client *c)
{
	for (struct list *l = c->clean.prev; l != &c->clean; l = l->prev) {
		struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		if (!b->hold_count && !(b->state & READING))
			return b;
	}
	return NULL;
}

/* What stands in the way of making room, when no clean buffer can go. */
enum obstacle { IN_FLIGHT, DIRTY_BUFFERS, FAILED_BUFFERS, HELD_BY_OTHERS, HELD_BY_ME };

static enum obstacle find_obstacle(const struct bufio_client *c, int *error)
{
	enum obstacle o = HELD_BY_ME;

	if (c->nr_inflight)
		return IN_FLIGHT;
	for (const struct list *l = c->dirty.next; l != &c->dirty; l = l->next) {
		const struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		if (!b->hold_count && !b->write_error)
			return DIRTY_BUFFERS;
		if (!b->hold_count) {
			*error = b->write_error;
			o = FAILED_BUFFERS;
		} else if (o == HELD_BY_ME && !is_held_by_me_alone(b)) {
			o = HELD_BY_OTHERS;
		}
	}
	for (const struct list *l = c->clean.next; l != &c->clean; l = l->next)
		if (o == HELD_BY_ME && !is_held_by_me_alone(list_entry(l, struct bufio_buffer, lru)))
			o = HELD_BY_OTHERS;
	return o;
}

/* Waits for something that may make room; an error when nothing will. */
static int make_room(struct bufio_client *c)
{
	int error = 0;

	switch (find_obstacle(c, &error)) {
	case DIRTY_BUFFERS:
		start_writes(c, WRITE_UNHELD);
		return 0;
	case FAILED_BUFFERS:
		return error;
	case HELD_BY_ME:
		return c->nr_buffers >= c->nr_max ? -EDEADLK : -ENOMEM; /* below: the system had no more */
	case IN_FLIGHT:
	case HELD_BY_OTHERS:
		break;
	}
	wait_event(c);
	return 0;
}

int alloc_buffer(struct bufio_client *c, struct bufio_buffer **out)
{
	struct bufio_buffer *b;

	while (!(b = memory_take(c))) {
		b = oldest_evictable(c);
		if (b && c->nr_buffers <= c->nr_max) {
			detach(c, b);
			c->stats.evictions++;
			break;
		}
		if (b) {
			drop_buffer(c, b); /* above a lowered limit: one less */
			continue;
		}
		int r = make_room(c);
		if (r)
			return r;
	}
	if (c->alloc_callback)
		c->alloc_callback(b);
	*out = b;
	return 0;
}

int evict_surplus(struct bufio_client *c)
{
	int error = 0;

	while (c->nr_buffers > c->nr_max) {
		struct bufio_buffer *b = oldest_evictable(c);
		enum obstacle o = b ? DIRTY_BUFFERS : find_obstacle(c, &error);

		if (b) {
			drop_buffer(c, b);
			c->stats.evictions++;
		} else if (o == DIRTY_BUFFERS) {
			start_writes(c, WRITE_UNHELD);
		} else if (o == IN_FLIGHT) {
			wait_event(c);
		} else {
			return first_write_error(c); /* the rest is held, or could not be written */
		}
	}
	return 0;
}
