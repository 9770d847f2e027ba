// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * model [--seed S] [--ops N] [--threads T] [--engine memory|uring|threads] [--block-size B] [--callback]
 * model --faults reads|writes|flushes|discards [--sticky] [the same, but for the threads]
 *
 * Without a seed it takes a new one. What it prints first is a command that does the same again. Status 1: the cache is
 * not as the model says; 77: the engine cannot be had here.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "model.h"

#define PATIENCE 60 /* seconds without progress */

static _Thread_local struct thread *self;
static char command[512];

/* --- the end --- */

void fail(const char *format, ...)
{
	va_list args;

	flockfile(stdout);
	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (self)
		printf("# in operation %" PRIu64 " of thread %u: %s\n", self->op, self->nr, atomic_load(&self->doing));
	if (w.config.kinds)
		printf("# operation %" PRIu64 " of the device was to fail; it had %" PRIu64 "\n", w.plan.fail_at,
		       w.plan.count);
	printf("# %s\n", command);
	fflush(stdout);
	_exit(1);
}

/* --- chance --- */

uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t roll_on(uint64_t *random, uint64_t n)
{
	*random = mix(*random);
	return *random % n;
}

uint64_t roll(struct thread *t, uint64_t n)
{
	return roll_on(&t->random, n ? n : 1);
}

/* --- operations --- */

static const struct op {
	const char *name;
	unsigned weight;
	void (*run)(struct thread *t);
} ops[] = {
#define OP_ROW(name, weight) { #name, weight, op_##name },
	ALL_OPS(OP_ROW)
};

#define NR_OPS (sizeof(ops) / sizeof(*ops))

static const struct op *pick_op(struct thread *t)
{
	unsigned sum = 0;
	uint64_t n;

	for (size_t i = 0; i < NR_OPS; i++)
		sum += ops[i].weight;
	n = roll(t, sum);
	for (const struct op *o = ops;; o++) {
		if (n < o->weight)
			return o;
		n -= o->weight;
	}
}

void run_op(struct thread *t)
{
	const struct op *o;

	self = t;
	t->random = mix(w.config.seed ^ mix(t->op ^ (uint64_t)t->nr << 56));
	/* A script has each of them in turn. */
	o = w.config.kinds ? &ops[t->op % NR_OPS] : pick_op(t);
	atomic_store(&t->doing, o->name);
	if (t->nr_hoard == RESERVED)
		op_release_hoard(t);
	if (t->nr_hoard == RESERVED)
		release_hoard(t);
	o->run(t);
	t->op++;
	atomic_fetch_add(&t->progress, 1);
}

/* --- rounds: between two of them all threads rest --- */

static pthread_barrier_t rest;
static uint64_t nr_rounds, nr_failing;

/* The same for every thread. */
static uint64_t round_length(uint64_t round, uint64_t left)
{
	uint64_t length = (200 + mix(mix(w.config.seed) + round) % 4000) / w.config.threads;

	return length < left ? length : left;
}

struct trouble {
	unsigned kinds, per_mille, delay_us;
	bool dies; /* everything fails after a while */
};

/* Each is as probable as the others. */
static const struct trouble troubles[] = {
	{ 0, 0, 0, false },
	{ 0, 0, 20, false },
	{ IO_FAULT_READ | IO_FAULT_WRITE, 5, 0, false },
	{ IO_FAULT_READ | IO_FAULT_WRITE, 50, 5, false },
	{ IO_FAULT_WRITE, 100, 0, false },
	{ IO_FAULT_WRITE, 500, 5, false },
	{ IO_FAULT_READ, 200, 0, false },
	{ IO_FAULT_WRITE, 0, 0, true },
	{ IO_FAULT_READ | IO_FAULT_WRITE, 0, 0, true },
};

static void plan_round(void)
{
	static const int errors[] = { EIO, ENOSPC, ENODATA };
	uint64_t random = mix(mix(~w.config.seed) + nr_rounds);
	const struct trouble *trouble = &troubles[roll_on(&random, sizeof(troubles) / sizeof(*troubles))];

	w.plan.kinds = trouble->kinds;
	w.plan.random_per_mille = trouble->per_mille;
	w.plan.seed = random;
	w.plan.delay_us = trouble->delay_us;
	w.plan.error = errors[roll_on(&random, 3)];
	w.plan.count = 0;
	w.plan.fail_at = trouble->dies ? 1 + roll_on(&random, 300) : 0;
	w.plan.sticky = trouble->dies;
	w.may_fail = trouble->kinds;
}

static void end_round(struct thread *t)
{
	release_hoard(t);
	pthread_barrier_wait(&rest);
	if (!t->nr) {
		atomic_store(&t->doing, "checkpoint");
		t->random = mix(w.config.seed + t->op);
		nr_rounds++;
		nr_failing += w.may_fail;
		checkpoint(t);
		plan_round();
	}
	pthread_barrier_wait(&rest);
}

static void *run_thread(void *arg)
{
	struct thread *t = arg;
	uint64_t nr = w.config.ops / w.config.threads;

	self = t;
	for (uint64_t round = 0; t->op < nr; round++) {
		for (uint64_t left = round_length(round, nr - t->op); left; left--)
			run_op(t);
		end_round(t);
	}
	return NULL;
}

/* --- nobody waits for ever --- */

static atomic_bool over;
static pthread_t watchdog;

static uint64_t all_progress(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < w.config.threads; i++)
		sum += atomic_load(&w.threads[i]->progress);
	return sum;
}

static void *watch(void *arg)
{
	static const struct timespec tick = { .tv_nsec = 50000000 };
	uint64_t last = 0;
	unsigned ticks = 0;

	(void)arg;
	while (!atomic_load(&over)) {
		nanosleep(&tick, NULL);
		ticks = all_progress() == last ? ticks + 1 : 0;
		last = all_progress();
		if (ticks < PATIENCE * 20)
			continue;
		for (unsigned i = 0; i < w.config.threads; i++)
			printf("# thread %u: %s, after %" PRIu64 " others\n", i, atomic_load(&w.threads[i]->doing),
			       (uint64_t)atomic_load(&w.threads[i]->progress));
		fail("nothing has moved for %d seconds", PATIENCE);
	}
	return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	int r = pthread_create(thread, NULL, run, arg);

	if (r)
		fail("pthread_create: %s", strerror(r));
}

static void make_threads(void)
{
	for (unsigned i = 0; i < w.config.threads; i++) {
		w.threads[i] = calloc(1, sizeof(struct thread));
		if (!w.threads[i])
			fail("no memory");
		w.threads[i]->nr = i;
		atomic_store(&w.threads[i]->doing, "nothing");
	}
	start(&watchdog, watch, NULL);
}

static void free_threads(void)
{
	atomic_store(&over, true);
	pthread_join(watchdog, NULL);
	for (unsigned i = 0; i < w.config.threads; i++)
		free(w.threads[i]);
}

/* --- the run --- */

static int run_random(void)
{
	struct bufio_stats s;
	int r;

	w.exact = w.config.threads == 1 && !strcmp(w.config.engine, "memory");
	world_open();
	plan_round();
	pthread_barrier_init(&rest, NULL, w.config.threads);
	for (unsigned i = 1; i < w.config.threads; i++)
		start(&w.threads[i]->id, run_thread, w.threads[i]);
	run_thread(w.threads[0]);
	for (unsigned i = 1; i < w.config.threads; i++)
		pthread_join(w.threads[i]->id, NULL);
	w.plan.random_per_mille = 0;
	w.plan.fail_at = 0;
	bufio_get_stats(w.c, &s);
	r = client_close();
	if (r)
		fail("bufio_client_destroy: %s", strerror(-r));
	check_device();
	world_close();
	pthread_barrier_destroy(&rest);
	printf("# %" PRIu64 " operations in %" PRIu64 " rounds, %" PRIu64 " of them with errors\n", w.config.ops,
	       nr_rounds, nr_failing);
	return 0;
}

/* --- the command line --- */

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (!*text || *end) {
		fprintf(stderr, "model: %s is not a number\n", text);
		exit(2);
	}
	return n;
}

static unsigned kind(const char *name)
{
	static const char *const names[] = { "reads", "writes", "flushes", "discards" };

	for (unsigned i = 0; i < 4; i++)
		if (!strcmp(name, names[i]))
			return IO_FAULT_READ << i;
	fprintf(stderr, "model: %s are none of reads, writes, flushes, discards\n", name);
	exit(2);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", 1, NULL, 's' },	{ "ops", 1, NULL, 'n' },    { "threads", 1, NULL, 't' },
		{ "engine", 1, NULL, 'e' },	{ "faults", 1, NULL, 'f' }, { "block-size", 1, NULL, 'b' },
		{ "callback", 0, NULL, 'c' },	{ "sticky", 0, NULL, 'y' },
		{ NULL, 0, NULL, 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (o) {
		case 's': w.config.seed = number(optarg); break;
		case 'n': w.config.ops = number(optarg); break;
		case 't': w.config.threads = (unsigned)number(optarg); break;
		case 'e': w.config.engine = optarg; break;
		case 'f': w.config.kinds = kind(optarg); break;
		case 'b': w.config.block_size = (unsigned)number(optarg); break;
		case 'c': w.config.callback = true; break;
		case 'y': w.config.sticky = true; break;
		default: exit(2);
		}
	}
	if (w.config.kinds || !w.config.threads)
		w.config.threads = w.config.kinds ? 1 : 4;
	if (!w.config.ops)
		w.config.ops = w.config.kinds ? 200 : 100000;
	if (optind < argc || w.config.threads > MAX_THREADS || w.config.block_size % 512) {
		fprintf(stderr, "model: see the head of main.c\n");
		exit(2);
	}
}

static void choose_block_size(void)
{
	static const unsigned sizes[] = { 512, 1024, 4096, 4096, 8192, 12288 };

	w.config.block_size = sizes[mix(w.config.seed) % 6];
}

static void choose_seed(void)
{
	/* Short enough to be typed. */
	if (getrandom(&w.config.seed, sizeof(w.config.seed), 0) != sizeof(w.config.seed))
		w.config.seed = (uint64_t)time(NULL);
	w.config.seed %= 1000000000;
}

static void print_command(void)
{
	static const char *const names[] = { "", "reads", "writes", "", "flushes", [8] = "discards" };
	int n = snprintf(command, sizeof(command), "model --seed %" PRIu64 " --ops %" PRIu64 " --threads %u --engine %s"
			 " --block-size %u%s", w.config.seed, w.config.ops, w.config.threads, w.config.engine,
			 w.config.block_size, w.config.callback ? " --callback" : "");

	if (w.config.kinds)
		snprintf(command + n, sizeof(command) - (size_t)n, " --faults %s%s", names[w.config.kinds],
			 w.config.sticky ? " --sticky" : "");
	printf("# %s\n", command);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int r;

	w.config = (struct config){ .seed = UINT64_MAX, .engine = "memory" };
	parse(argc, argv);
	if (w.config.seed == UINT64_MAX)
		choose_seed();
	if (!w.config.block_size)
		choose_block_size();
	prctl(PR_SET_TIMERSLACK, 1UL); /* delays of some microseconds, as they were asked for */
	print_command();
	world_init();
	make_threads();
	r = w.config.kinds ? run_faults() : run_random();
	free_threads();
	world_exit();
	return r;
}
