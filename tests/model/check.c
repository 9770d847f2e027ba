// SPDX-License-Identifier: LGPL-2.1-or-later
/* What must be true when all threads rest. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>

#include "model.h"

/* Every block as the model has it. */
void check_device(void)
{
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		check_on_device(i);
	check_tail();
}

void drain(struct thread *t)
{
	for (uint64_t i = 0; i < NR_BLOCKS; i++) {
		struct held h;

		atomic_fetch_add(&t->progress, 1);
		while (!(h.data = bufio_get(w.c, i, &h.b)) && errno == EAGAIN)
			sched_yield();
		if (h.data)
			give_up(&h);
		else if (errno != ENOENT)
			fail("bufio_get of block %" PRIu64 ": %s", i, strerror(errno));
	}
}

/* Each failed write of a block was reported. */
void check_reports(void)
{
	struct bufio_stats s;

	bufio_get_stats(w.c, &s);
	if (s.write_errors != atomic_load(&w.reports))
		fail("%" PRIu64 " blocks could not be written, %u were reported", s.write_errors,
		     atomic_load(&w.reports));
}

static void read_all(struct thread *t)
{
	uint64_t first = roll(t, NR_BLOCKS);

	for (uint64_t i = 0; i < NR_BLOCKS; i++) {
		struct held h;

		if (take((first + i * 5) % NR_BLOCKS, &h))
			give_up(&h);
	}
}

static void check_plausible_device(void)
{
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		check_plausible_on_device(i);
	check_tail();
}

static void barrier_with_errors(void)
{
	struct bufio_stats s;
	int r = bufio_write_dirty_buffers(w.c);

	bufio_get_stats(w.c, &s);
	if (!r) {
		check_device();
	} else {
		expect_injected("bufio_write_dirty_buffers", r);
		check_plausible_device();
	}
	if (!r != !s.dirty)
		fail("bufio_write_dirty_buffers: %s, but %" PRIu64 " buffers are dirty", strerror(-r), s.dirty);
}

static void barrier_without_errors(void)
{
	struct bufio_stats s;
	int r = bufio_write_dirty_buffers(w.c);

	if (r)
		fail("bufio_write_dirty_buffers, without errors: %s", strerror(-r));
	bufio_get_stats(w.c, &s);
	if (s.dirty)
		fail("bufio_write_dirty_buffers: %" PRIu64 " buffers are dirty", s.dirty);
	if (s.current_bytes > bufio_get_memory_limit(w.c))
		fail("%" PRIu64 " bytes in use, the limit is %" PRIu64, s.current_bytes, bufio_get_memory_limit(w.c));
	check_device();
	check_reports();
}

static void next_client(struct thread *t)
{
	int r = client_close();

	if (r)
		fail("bufio_client_destroy: %s", strerror(-r));
	check_device();
	client_open();
	for (unsigned i = 0; i < w.config.threads; i++)
		memset(&w.threads[i]->last, 0, sizeof(w.threads[i]->last));
	read_all(t);
}

/* What is dirty is left to the call that comes next. */
static void write_some(struct thread *t)
{
	for (unsigned i = 0; i < 6; i++) {
		op_modify(t);
		op_new(t);
	}
}

static void end_it_somehow(struct thread *t)
{
	switch (roll(t, 4)) {
	case 0:
		write_some(t);
		op_reset(t);
		break;
	case 1:
		write_some(t);
		next_client(t);
		break;
	default:
		bufio_reset_peak(w.c);
		atomic_store(&w.max_limit, bufio_get_memory_limit(w.c));
	}
}

void checkpoint(struct thread *t)
{
	w.resting = true;
	op_stats(t);
	drain(t);
	barrier_with_errors();
	read_all(t);
	drain(t);
	w.plan.fail_at = 0;
	w.plan.random_per_mille = 0;
	w.may_fail = false;
	barrier_without_errors();
	read_all(t);
	op_stats(t);
	end_it_somehow(t);
	drain(t);
	w.resting = false;
}
