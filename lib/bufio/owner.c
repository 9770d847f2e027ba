// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Whose the holds are, to tell a thread that waits for itself.
 *
 * Exact while one or two threads share a buffer: the owner's holds are those that are not other_holds, and those are
 * all of the second's. With three it is a crowd, in which nobody is known to be alone until all have left.
 */
#include <sched.h>
#include <time.h>

#include "base/relax.h"
#include "bufio/bufio_int.h"

/* Its holder is a few instructions from the end, unless it lost the processor: then give it ours. */
void wait_for_buffer_lock(struct bufio_buffer *b)
{
	static const struct timespec moment = { .tv_nsec = 50000 };
	unsigned tries = 0;

	do {
		while (atomic_load_explicit(&b->lock, memory_order_relaxed)) {
			tries++;
			if (tries < 64)
				relax();
			else if (tries < 1024)
				sched_yield();
			else
				nanosleep(&moment, NULL); /* a real-time thread's yield gives way to nobody below it */
		}
	} while (atomic_exchange_explicit(&b->lock, 1, memory_order_acquire));
}

uint32_t this_thread(void)
{
	static atomic_uint last;
	static _Thread_local uint32_t number;

	while (!number) /* 0 is nobody */
		number = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
	return number;
}

void share_hold(struct bufio_buffer *b, uint32_t thread)
{
	if (b->share == OWNER_ONLY) {
		b->share = OWNER_AND_SECOND;
		b->second = thread;
	} else if (b->second != thread) {
		b->share = CROWD;
	}
	b->other_holds++;
}

/* The hold is off hold_count already. It may be given up by a thread that never took it. */
void drop_shared_hold(struct bufio_buffer *b, uint32_t thread)
{
	uint32_t owners = b->hold_count + 1 - b->other_holds;

	if (owners && b->owner == thread)
		owners--;
	else
		b->other_holds--;
	if (!b->other_holds) {
		b->share = OWNER_ONLY;
	} else if (!owners && b->share == OWNER_AND_SECOND) {
		b->owner = b->second;
		b->other_holds = 0;
		b->share = OWNER_ONLY;
	}
}

bool is_held_by_me_alone(struct bufio_buffer *b)
{
	bool alone;

	lock_buffer(b);
	alone = b->hold_count && b->share == OWNER_ONLY && b->owner == this_thread();
	unlock_buffer(b);
	return alone;
}

bool is_held(struct bufio_buffer *b)
{
	bool held;

	lock_buffer(b);
	held = b->hold_count;
	unlock_buffer(b);
	return held;
}
