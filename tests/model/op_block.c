// SPDX-License-Identifier: LGPL-2.1-or-later
/* Operations that hold a block. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "model.h"

static unsigned size(void)
{
	return w.config.block_size;
}

/* Half of the time one of few, often one beside that of the thread's last operation, else any. */
uint64_t pick_block(struct thread *t)
{
	uint64_t way = roll(t, 4);

	if (way < 2)
		return roll(t, 12) * 5;
	return way == 2 ? (t->op + t->nr * 32) % NR_BLOCKS : roll(t, NR_BLOCKS);
}

/* --- taking and giving up --- */

/* What the aux data says: 0 in a new buffer, else the block that was changed in it, + 1. */
static uint64_t read_aux(const struct held *h)
{
	uint64_t tag;

	pthread_mutex_lock(&w.blocks[h->block].content);
	tag = *(uint64_t *)bufio_get_aux_data(h->b);
	pthread_mutex_unlock(&w.blocks[h->block].content);
	return tag;
}

static void check_aux(const struct held *h)
{
	uint64_t tag = read_aux(h);

	if (tag && tag != h->block + 1 && tag != w.blocks[h->block].aux)
		fail("block %" PRIu64 " has the aux data of block %" PRIu64, h->block, tag - 1);
}

static void use_aux(const struct held *h)
{
	pthread_mutex_lock(&w.blocks[h->block].content);
	*(uint64_t *)bufio_get_aux_data(h->b) = h->block + 1;
	pthread_mutex_unlock(&w.blocks[h->block].content);
}

/* @data as a call returned it, with errno. */
static bool has(struct held *h, uint64_t block, void *data, const char *call)
{
	if (!data) {
		expect_injected(call, -errno);
		return false;
	}
	h->block = block;
	h->data = data;
	if (bufio_get_block_number(h->b) != block || bufio_get_block_data(h->b) != data ||
	    bufio_get_client(h->b) != w.c || (uintptr_t)data % 512)
		fail("%s: a buffer that is not of block %" PRIu64, call, block);
	return true;
}

bool take(uint64_t block, struct held *h)
{
	if (!has(h, block, bufio_read(w.c, block, &h->b), "bufio_read"))
		return false;
	check_cached(block, h->data);
	check_aux(h);
	return true;
}

void give_up(struct held *h)
{
	int r = bufio_release(h->b);

	if (r)
		fail("bufio_release: %s", strerror(-r));
}

static void mark(struct held *h)
{
	int r = bufio_mark_buffer_dirty(h->b);

	if (r)
		fail("bufio_mark_buffer_dirty: %s", strerror(-r));
}

static void mark_part(struct held *h, unsigned start, unsigned end)
{
	int r = bufio_mark_partial_buffer_dirty(h->b, start, end);

	if (r)
		fail("bufio_mark_partial_buffer_dirty %u to %u: %s", start, end, strerror(-r));
}

/* --- looking --- */

void op_read(struct thread *t)
{
	uint64_t block = pick_block(t);
	struct held h;

	if (!lock_block(t, block, false))
		return;
	if (take(block, &h))
		give_up(&h);
	unlock_block(t, block);
}

void op_read_twice(struct thread *t)
{
	uint64_t block = pick_block(t);
	struct held first, second;

	if (!lock_block(t, block, false))
		return;
	if (take(block, &first)) {
		/* It is there, whatever the device does. */
		if (!take(block, &second) || second.b != first.b)
			fail("block %" PRIu64 " is held, but not found", block);
		give_up(&first);
		check_cached(block, second.data);
		give_up(&second);
	}
	unlock_block(t, block);
}

void op_get(struct thread *t)
{
	uint64_t block = pick_block(t);
	struct held h;
	void *data;

	if (!lock_block(t, block, false))
		return;
	data = bufio_get(w.c, block, &h.b);
	if (data) {
		has(&h, block, data, "bufio_get");
		check_cached(block, data);
		check_aux(&h);
		give_up(&h);
	} else if (errno != ENOENT && errno != EAGAIN) {
		fail("bufio_get: %s", strerror(errno));
	}
	unlock_block(t, block);
}

/* Held without the lock, so without looking: others may change it, write it, or want it out of the way. */
void op_pin(struct thread *t)
{
	struct timespec moment = { .tv_nsec = (long)roll(t, 4) * 10000 };
	uint64_t block = pick_block(t);
	struct held h;
	bool held;

	if (pthread_rwlock_tryrdlock(&w.strangers))
		return;
	if (lock_block(t, block, false)) {
		held = take(block, &h);
		unlock_block(t, block);
		if (held) {
			nanosleep(&moment, NULL);
			give_up(&h);
		}
	}
	pthread_rwlock_unlock(&w.strangers);
}

/* Held while something is done with the whole client. */
void op_hold_and(struct thread *t)
{
	static void (*const others[])(struct thread *t) = {
		op_write_dirty, op_write_async, op_flush, op_limit, op_minimum,
		op_percent, op_prefetch, op_forget_range, op_reset, op_stats,
	};
	uint64_t block = pick_block(t);
	struct held h;

	if (!lock_block(t, block, false))
		return;
	if (take(block, &h)) {
		t->holds_one = true;
		others[roll(t, sizeof(others) / sizeof(*others))](t);
		t->holds_one = false;
		check_cached(block, h.data);
		give_up(&h);
	}
	unlock_block(t, block);
}

static void drop_one(struct thread *t, unsigned i)
{
	struct held *h = &t->hoard[i];

	check_cached(h->block, h->data);
	give_up(h);
	unlock_block(t, h->block);
	*h = t->hoard[--t->nr_hoard];
}

void release_hoard(struct thread *t)
{
	while (t->nr_hoard)
		drop_one(t, 0);
}

/* Only one thread may hold several. */
void op_hoard(struct thread *t)
{
	uint64_t block = pick_block(t);

	if (t->nr || t->nr_hoard == RESERVED) {
		op_read(t);
		return;
	}
	if (!lock_block(t, block, false))
		return;
	if (take(block, &t->hoard[t->nr_hoard]))
		t->nr_hoard++;
	else
		unlock_block(t, block);
}

void op_release_hoard(struct thread *t)
{
	if (roll(t, 2))
		release_hoard(t);
	else if (t->nr_hoard)
		drop_one(t, (unsigned)roll(t, t->nr_hoard));
}

/* --- changing --- */

static void change_and_mark(struct thread *t, struct held *h)
{
	use_aux(h);
	for (uint64_t times = 1 + !roll(t, 4); times; times--) {
		change(h->block, h->data, 0, size());
		mark(h);
	}
}

/* Mostly short ones, anywhere; often at an end of the block. */
static void pick_range(struct thread *t, unsigned *start, unsigned *end)
{
	uint64_t most = roll(t, 3) ? 300 : size();
	unsigned bytes = (unsigned)(1 + roll(t, most));

	switch (roll(t, 4)) {
	case 0: *start = 0; break;
	case 1: *start = size() - bytes; break;
	default: *start = (unsigned)roll(t, size() - bytes + 1);
	}
	*end = *start + bytes;
}

static void change_part(struct thread *t, struct held *h)
{
	unsigned start, end;

	pick_range(t, &start, &end);
	change(h->block, h->data, start, end);
	mark_part(h, start, end);
}

void op_modify(struct thread *t)
{
	uint64_t block = pick_block(t);
	struct held h;

	if (!lock_block(t, block, true))
		return;
	if (take(block, &h)) {
		change_and_mark(t, &h);
		check_cached(block, h.data);
		give_up(&h);
	}
	unlock_block(t, block);
}

void op_modify_part(struct thread *t)
{
	uint64_t block = pick_block(t);
	struct held h;

	if (!lock_block(t, block, true))
		return;
	if (take(block, &h)) {
		use_aux(&h);
		for (uint64_t times = 1 + roll(t, 3); times; times--)
			change_part(t, &h);
		give_up(&h);
	}
	unlock_block(t, block);
}

static bool take_new(uint64_t block, struct held *h)
{
	if (!has(h, block, bufio_new(w.c, block, &h->b), "bufio_new"))
		return false;
	check_zero(block, h->data);
	return true;
}

void op_new(struct thread *t)
{
	uint64_t block = pick_block(t);
	struct held h;

	if (!lock_block(t, block, true))
		return;
	if (take_new(block, &h)) {
		becomes_zero(block);
		change_and_mark(t, &h);
		give_up(&h);
	}
	unlock_block(t, block);
}

/* The rest of the block is zeroes then. */
void op_new_part(struct thread *t)
{
	uint64_t block = pick_block(t);
	struct held h;

	if (!lock_block(t, block, true))
		return;
	if (take_new(block, &h)) {
		becomes_zero(block);
		use_aux(&h);
		change_part(t, &h);
		give_up(&h);
	}
	unlock_block(t, block);
}

/* Forgotten again, unless it was dirty. Nobody else may hold it: he would keep the zeroes alive. */
void op_new_unmarked(struct thread *t)
{
	uint64_t block = pick_block(t);
	struct held h;

	if (pthread_rwlock_trywrlock(&w.strangers))
		return;
	if (lock_block(t, block, true)) {
		if (take_new(block, &h)) {
			becomes_doubtful(block);
			give_up(&h);
		}
		unlock_block(t, block);
	}
	pthread_rwlock_unlock(&w.strangers);
}

/* --- moving --- */

static void check_move(struct held *h, uint64_t to)
{
	uint64_t aux = read_aux(h);
	int r = bufio_release_move(h->b, to);

	if (r) {
		expect_injected("bufio_release_move", r);
		check_cached(h->block, h->data);
		give_up(h);
	} else {
		becomes_copy(to, h->block);
		w.blocks[to].aux = aux;
		check_on_device(h->block); /* it was written to its old place, if it was dirty */
	}
}

static void move(struct thread *t, unsigned holds)
{
	uint64_t from = pick_block(t), to = pick_block(t);
	struct held h, again;

	if (!lock_block(t, from, false))
		return;
	if (to != from && lock_block(t, to, true)) {
		if (take(from, &h)) {
			if (holds == 2 && !take(from, &again))
				fail("block %" PRIu64 " is held, but not found", from);
			check_move(&h, to);
			if (holds == 2) {
				check_cached(from, again.data);
				give_up(&again);
			}
		}
		if (take(to, &h))
			give_up(&h);
		unlock_block(t, to);
	}
	unlock_block(t, from);
}

void op_move(struct thread *t)
{
	move(t, 1);
}

/* The buffer stays, and a copy moves. */
void op_move_held_twice(struct thread *t)
{
	move(t, 2);
}

/* To where it is, and past the end. */
void op_move_nowhere(struct thread *t)
{
	uint64_t block = pick_block(t);
	struct held h;
	int r;

	if (!lock_block(t, block, false))
		return;
	if (take(block, &h)) {
		r = bufio_release_move(h.b, NR_BLOCKS + roll(t, 2));
		if (r != -EINVAL)
			fail("bufio_release_move past the end: %s", strerror(-r));
		r = bufio_release_move(h.b, block);
		if (r)
			fail("bufio_release_move to its own block: %s", strerror(-r));
	}
	unlock_block(t, block);
}

/* One thread alone: with others it would have to wait for them first. */
void op_move_onto_held(struct thread *t)
{
	uint64_t from = pick_block(t), to = pick_block(t);
	struct held h, target;
	int r;

	if (w.config.threads > 1 || from == to || t->nr_hoard > RESERVED - 2 || !take(from, &h))
		return;
	if (take(to, &target)) {
		r = bufio_release_move(h.b, to);
		if (r != -EDEADLK)
			expect_injected("bufio_release_move onto a held block", r ? r : -ENOTSUP);
		check_cached(from, h.data);
		check_cached(to, target.data);
		give_up(&target);
	}
	give_up(&h);
}
