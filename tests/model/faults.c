// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A script, and a fault at operation number n of the device, for n = 1, 2, ... until the script gets by without it.
 *
 * The script is one thread's operations, each kind in turn.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model.h"

static void run_script(struct thread *t)
{
	t->op = 0;
	t->random = w.config.seed;
	memset(&t->last, 0, sizeof(t->last));
	while (t->op < w.config.ops)
		run_op(t);
	release_hoard(t);
	drain(t);
}

/*
 * What was told has happened. Not the other way round: of blocks that failed together, each is tried again before it
 * is called a failure.
 */
static void check_was_told(bool met)
{
	struct bufio_stats s;

	bufio_get_stats(w.c, &s);
	if (s.read_errors && !(met && w.config.kinds == IO_FAULT_READ))
		fail("%" PRIu64 " failed reads were counted", s.read_errors);
	if (atomic_load(&w.reports) && !(met && w.config.kinds == IO_FAULT_WRITE))
		fail("%u failed writes were reported", atomic_load(&w.reports));
	check_reports();
}

static void barrier(int expected)
{
	int r = bufio_write_dirty_buffers(w.c);

	if (r != expected)
		fail("bufio_write_dirty_buffers at the end: %s", strerror(-r));
}

/* All is written with the fault over, but a failed flush is never forgotten. */
static void check_end(bool met)
{
	int r, expected = met && w.config.kinds == IO_FAULT_FLUSH ? -w.plan.error : 0;

	/* A write that was not waited for may tell only now; what is tried again does not fail. */
	if (met && w.config.kinds == IO_FAULT_WRITE && (r = bufio_write_dirty_buffers(w.c)))
		expect_injected("bufio_write_dirty_buffers", r);
	barrier(expected);
	check_device();
	check_was_told(met);
	r = client_close();
	if (r != expected)
		fail("bufio_client_destroy: %s", strerror(-r));
	check_device();
}

/* Whether the script was long enough to meet the fault. */
static bool try(uint64_t n)
{
	bool met;

	w.plan = (struct io_fault_plan){ .kinds = w.config.kinds, .fail_at = n, .sticky = w.config.sticky,
					 .error = n % 2 ? EIO : ENOSPC };
	world_open();
	run_script(w.threads[0]);
	met = w.plan.count >= n;
	w.plan.sticky = false;
	if (!met)
		w.plan.fail_at = 0;
	check_end(met);
	world_close();
	return met;
}

int run_faults(void)
{
	uint64_t n = 0;

	w.exact = !strcmp(w.config.engine, "memory");
	while (try(n + 1))
		n++;
	if (!n)
		fail("the script has no such operation");
	printf("# each of %" PRIu64 " failed%s\n", n, w.config.sticky ? ", and all later ones" : "");
	return 0;
}
