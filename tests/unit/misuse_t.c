// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Mistakes of the caller: -EINVAL in a release build, in which nothing aborts, and an assertion in all others. This
 * file and the library are compiled both ways: see unit-release in tests/Makemodule.am.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

#define BLOCK 4096
#define NR_BLOCKS 32

#ifdef NDEBUG
#define HAS_ASSERTIONS false
#else
#define HAS_ASSERTIONS true
#endif

/* A buffer that was held, and is not any more. */
static struct bufio_buffer *released(void)
{
	struct bufio_buffer *b;

	rig_hold(5, &b);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	return b;
}

static int release_unheld(void)
{
	return bufio_release(released());
}

static int release_too_often(void)
{
	struct bufio_buffer *a, *b;
	int r;

	rig_hold(5, &a);
	rig_hold(5, &b);
	r = bufio_release(a) | bufio_release(b);
	return r ? r : bufio_release(a);
}

static int release_new_too_often(void)
{
	struct bufio_buffer *b;
	int r;

	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_new(rig.c, 5, &b));
	CU_ASSERT_EQUAL(bufio_mark_buffer_dirty(b), 0);
	r = bufio_release(b);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	memset(rig_memory_of(5), rig_pattern(5), BLOCK);
	bufio_forget(rig.c, 5);
	rig_read_all(5, 6);
	return r ? r : bufio_release(b);
}

static int mark_unheld(void)
{
	return bufio_mark_buffer_dirty(released());
}

static int mark_part_unheld(void)
{
	return bufio_mark_partial_buffer_dirty(released(), 0, 10);
}

static int move_unheld(void)
{
	return bufio_release_move(released(), 9);
}

static int move_unheld_to_itself(void)
{
	return bufio_release_move(released(), 5);
}

/* The hold stays the caller's. */
static int mark_part(unsigned start, unsigned end)
{
	struct bufio_buffer *b;
	int r;

	rig_hold(5, &b);
	r = bufio_mark_partial_buffer_dirty(b, start, end);
	CU_ASSERT_EQUAL(bufio_release(b), 0);
	return r;
}

static int mark_empty(void)
{
	return mark_part(10, 10);
}

static int mark_backward(void)
{
	return mark_part(11, 10);
}

static int mark_beyond(void)
{
	return mark_part(10, BLOCK + 1);
}

static int mark_far_beyond(void)
{
	return mark_part(~0u - 1, ~0u);
}

static int (*const mistakes[])(void) = {
	release_unheld, release_too_often, release_new_too_often, mark_unheld, mark_part_unheld, move_unheld,
	move_unheld_to_itself, mark_empty, mark_backward, mark_beyond, mark_far_beyond,
};

#define NR_MISTAKES (sizeof(mistakes) / sizeof(*mistakes))

/* In a process of its own; an assertion's last words are not for the log. */
static void make_and_exit(int (*mistake)(void))
{
	const struct rlimit no_core = { 0, 0 };
	int quiet = open("/dev/null", O_WRONLY), r;

	setrlimit(RLIMIT_CORE, &no_core);
	dup2(quiet, STDERR_FILENO);
	alarm(10);
	r = mistake();
	_exit(r == -EINVAL ? 0 : 1);
}

static int status_of(int (*mistake)(void))
{
	int status = -1;
	pid_t pid = fork();

	CU_ASSERT_TRUE_FATAL(pid >= 0);
	if (!pid)
		make_and_exit(mistake);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	return status;
}

static void each_alone(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	for (unsigned i = 0; i < NR_MISTAKES; i++) {
		int status = status_of(mistakes[i]);
		bool asserted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
		bool refused = WIFEXITED(status) && WEXITSTATUS(status) == 0;

		CU_ASSERT_TRUE(HAS_ASSERTIONS ? asserted : refused);
	}
	rig_close();
}

/* With assertions the first of them would have been the end. */
static void goes_on(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	rig_set_floor();
	for (unsigned i = 0; i < 20 * NR_MISTAKES && !HAS_ASSERTIONS; i++) {
		CU_ASSERT_EQUAL(mistakes[i % NR_MISTAKES](), -EINVAL);
		CU_ASSERT_EQUAL(rig_stats().dirty, 0);
		rig_read_all(0, NR_BLOCKS);
		CU_ASSERT_EQUAL(bufio_client_reset(rig.c), 0); /* so nothing is held */
	}
	rig_within_limit();
	rig_close();
}

static const struct unit_case cases[] = {
	{ "a mistake of the caller is an assertion, and -EINVAL where there are none", each_alone },
	{ "without assertions nothing is changed by mistakes, and the client goes on", goes_on },
	{ NULL, NULL },
};

const struct unit_suite misuse_suite = { "misuse", cases };
