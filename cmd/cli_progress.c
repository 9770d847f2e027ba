// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Progress of long work. One thread waits for SIGUSR1 or for the next time to show the line; the same signal, sent to
 * it alone, wakes it in the end, so that a run of milliseconds takes no longer.
 *
 * On a terminal the line ends with a carriage return: a message that comes meanwhile is written over it.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "cmd/cli.h"

#define SECOND UINT64_C(1000000000)
#define FIRST (1 * SECOND)
#define ON_TERMINAL (SECOND / 2)
#define ELSEWHERE (10 * SECOND)
#define BLOCK_BYTES 4096
#define LEFT_MAX 64

static const struct argp_option options[] = {
	{ "progress", 'P' + 0x200, "WHEN", 0,
	  "Show how far it is: auto (on a terminal), always (elsewhere a line every 10 seconds), never", 5 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	static const char *const words[] = {
		[PROGRESS_AUTO] = "auto", [PROGRESS_NEVER] = "never", [PROGRESS_ALWAYS] = "always",
	};
	struct cli_progress *p = state->input;

	if (key != options[0].key)
		return ARGP_ERR_UNKNOWN;
	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(arg, words[i])) {
			p->when = i;
			return 0;
		}
	argp_error(state, "--progress: '%s' is none of auto, always, never", arg);
	return EINVAL;
}

const struct argp cli_progress_argp = { .options = options, .parser = parse };

/* --- the line --- */

static uint64_t per_second(uint64_t n, uint64_t ns)
{
	uint64_t ms = ns / 1000000;

	return ms ? n / ms * 1000 + n % ms * 1000 / ms : 0;
}

static void format_left(uint64_t seconds, char text[LEFT_MAX])
{
	if (seconds >= 3600)
		snprintf(text, LEFT_MAX, ", %" PRIu64 " h %02" PRIu64 " min left", seconds / 3600, seconds % 3600 / 60);
	else if (seconds >= 60)
		snprintf(text, LEFT_MAX, ", %" PRIu64 " min %02" PRIu64 " s left", seconds / 60, seconds % 60);
	else
		snprintf(text, LEFT_MAX, ", %" PRIu64 " s left", seconds);
}

/* What is read more than once makes more than the total, and then there is no telling how much is left. */
void cli_progress_format(uint64_t blocks, uint64_t total, uint64_t ns, char text[CLI_PROGRESS_MAX])
{
	uint64_t rate = per_second(blocks, ns);
	char size[UNITS_SIZE_MAX], left[LEFT_MAX] = "";

	units_format_size(rate * BLOCK_BYTES, size);
	if (!total || blocks > total) {
		snprintf(text, CLI_PROGRESS_MAX, "read %" PRIu64 " blocks, %s/s", blocks, size);
		return;
	}
	if (rate)
		format_left((total - blocks) / rate, left);
	snprintf(text, CLI_PROGRESS_MAX, "read %" PRIu64 " of %" PRIu64 " blocks (%.0f %%), %s/s%s", blocks, total,
		 100.0 * (double)blocks / (double)total, size, left);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void erase(struct cli_progress *p)
{
	if (p->is_drawn)
		fputs("\033[K", stderr);
	fflush(stderr);
	p->is_drawn = false;
}

/* As a line that stays, or as the one that is kept up to date. */
static void show(struct cli_progress *p, bool stays)
{
	char text[CLI_PROGRESS_MAX];

	cli_progress_format(p->counts.blocks, p->counts.total, now_ns() - p->start_ns, text);
	erase(p);
	fprintf(stderr, "%s: %s%s", p->program, text, stays ? "\n" : "\r");
	fflush(stderr);
	p->is_drawn = !stays;
}

/* The work's own thread, before it writes. */
static void before_message(void *context)
{
	struct cli_progress *p = context;

	pthread_mutex_lock(&p->lock);
	erase(p);
	pthread_mutex_unlock(&p->lock);
}

static void before_output(void *context)
{
	struct cli_progress *p = context;

	pthread_mutex_lock(&p->lock);
	if (p->output_on_terminal) {
		erase(p);
		p->on_terminal = false;
	}
	pthread_mutex_unlock(&p->lock);
}

/* --- the thread --- */

static sigset_t status_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return set;
}

void cli_progress_init(void)
{
	sigset_t set = status_signal();

	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* How often something is shown unasked; 0: never. Output on a terminal that has begun leaves no place for it. */
static uint64_t interval(const struct cli_progress *p)
{
	if (p->on_terminal)
		return ON_TERMINAL;
	return p->when == PROGRESS_ALWAYS && !p->output_on_terminal ? ELSEWHERE : 0;
}

static int wait_for(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND) };
	sigset_t set = status_signal();

	return sigtimedwait(&set, NULL, &t);
}

static void *watch(void *context)
{
	struct cli_progress *p = context;
	uint64_t ns = p->on_terminal ? FIRST : interval(p);

	for (;;) {
		bool was_asked = wait_for(ns ? ns : ELSEWHERE) == SIGUSR1;

		if (p->is_over)
			break;
		pthread_mutex_lock(&p->lock);
		ns = interval(p);
		if (was_asked || ns)
			show(p, was_asked || !p->on_terminal);
		pthread_mutex_unlock(&p->lock);
	}
	erase(p);
	return NULL;
}

void cli_progress_start(struct cli_progress *p, const char *program, int output)
{
	if (p->when == PROGRESS_NEVER)
		return;
	p->program = program;
	p->start_ns = now_ns();
	p->on_terminal = isatty(STDERR_FILENO);
	p->output_on_terminal = isatty(output);
	p->counts.before_output = before_output;
	p->counts.before_message = before_message;
	p->counts.context = p;
	pthread_mutex_init(&p->lock, NULL);
	p->is_running = !pthread_create(&p->thread, NULL, watch, p);
}

void cli_progress_stop(struct cli_progress *p)
{
	if (!p->is_running)
		return;
	p->is_over = true;
	pthread_kill(p->thread, SIGUSR1);
	pthread_join(p->thread, NULL);
	pthread_mutex_destroy(&p->lock);
}
