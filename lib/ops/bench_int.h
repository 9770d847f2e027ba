/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of bench share. A run is a machine: workers, each a thread with its own part of the workload, an
 * engine that does what they ask for, and a book in which they note what happened.
 */
#ifndef OPS_BENCH_INT_H
#define OPS_BENCH_INT_H

#include <pthread.h>
#include <time.h>

#include "io/io.h"
#include "ops/bench.h"

#define BENCH_SECOND UINT64_C(1000000000)

static inline uint64_t bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * BENCH_SECOND + (uint64_t)now.tv_nsec;
}

/* A second in which some workers still are; when all have passed it, it is a sample. */
struct bench_second {
	struct histogram *service;
	struct bench_sample sample;
	unsigned nr_passed;
};

struct bench_machine;

/* Counters of a phase. */
struct bench_counts {
	uint64_t ops, bytes, writes, errors, half_ops, hits, misses;
	struct bench_prefetch prefetch;
};

struct bench_worker {
	struct bench_machine *machine;
	unsigned index;
	struct bufio_device *device; /* its own, of a raw run, during a phase */
	struct workload_source *source;
	void *buffer;                /* the engine's */
	uint64_t random;             /* state, for arrivals and for what is written */
	/* Of a phase. */
	pthread_t thread;
	uint64_t quota;              /* operations that may still begin */
	double due_ns, gap_ns;       /* when one more arrives, and how far apart they are; gap 0: as soon as may be */
	uint64_t unflushed;          /* writes since the last flush */
	uint64_t last_ns;            /* when the last operation was done */
	uint64_t second_end;
	struct histogram *second;    /* service, since then */
	struct histogram *measures;  /* NR_BENCH_MEASURES */
	struct bench_counts counts, counted; /* and those of full seconds */
	int error;                   /* the first one, -errno */
};

/* How blocks are asked for. */
struct bench_engine {
	/* For each worker, before its first phase and after the last. 0 or -errno; close takes what was left undone. */
	int (*open)(struct bench_worker *w);
	void (*close)(struct bench_worker *w);
	/* In the worker's thread: before a phase (0 or -errno), in it, until bench_goes_on() says no, and after it. */
	int (*begin)(struct bench_worker *w);
	void (*work)(struct bench_worker *w);
	void (*end)(struct bench_worker *w);
};

extern const struct bench_engine bench_raw, bench_cached, bench_replay_raw, bench_replay_cached;

struct bench_machine {
	const struct op_bench_args *args;
	const struct bench_run_args *run;
	const struct bench_engine *engine;
	struct bufio_client *client; /* of a cached run */
	struct bench_worker *workers;
	unsigned nr_workers;
	/* A phase: warming up, or a repeat. */
	uint64_t begin_ns, half_ns, end_ns; /* the last two UINT64_MAX if the time is not set */
	pthread_mutex_t lock; /* all below */
	pthread_cond_t event; /* a worker is ready, or the gate is open */
	unsigned nr_ready;
	enum { GATE_CLOSED, GATE_OPEN, GATE_GIVEN_UP } gate;
	struct bench_second *seconds;
	size_t nr_seconds, max_seconds;
	int error; /* the first: no memory for the seconds, or what a worker needs */
};

/* --- bench_machine.c --- */

/* What requests carry, for free(), or NULL. Where that is much it is one piece of memory, as the buffers of a cache are. */
char *bench_alloc_data(size_t bytes);

/* Errors: -EINVAL blocks do not suit the device; -EDOM the memory limit does not; others of the engine. */
int bench_machine_open(struct bench_machine *m, const struct op_bench_args *args, struct bench_run_args *run);

/* Writes what the cache has. 0, or -errno of that. */
int bench_machine_close(struct bench_machine *m);

/* Warms up, and then measures. 0 or -errno; a phase that was stopped is none. */
int bench_machine_warm_up(struct bench_machine *m);
int bench_machine_run(struct bench_machine *m, struct bench_repeat *repeat);

/* Of what bench_machine_run() filled. */
void bench_repeat_free(struct bench_repeat *repeat);

/* --- bench_book.c: what workers note --- */

/* Ends the second that @now is past. */
void bench_turn(struct bench_worker *w, uint64_t now);

/* The end of a phase: the second that is not full, too. */
void bench_close_book(struct bench_worker *w);

/* What all workers have noted. 0 or -ENOMEM. */
int bench_add_up(struct bench_machine *m, struct bench_repeat *repeat);

static inline bool bench_is_stopped(const struct bench_machine *m)
{
	return m->args->stop && *m->args->stop;
}

static inline bool bench_may_go_on(const struct bench_worker *w, uint64_t now)
{
	return w->quota && now < w->machine->end_ns && !bench_is_stopped(w->machine);
}

/* Whether one more operation may begin, and then it counts. */
static inline bool bench_goes_on(struct bench_worker *w, uint64_t now)
{
	bool may = bench_may_go_on(w, now);

	w->quota -= may;
	return may;
}

/* An operation that began at @start, and was due to at @due, is done. */
static inline void bench_note(struct bench_worker *w, uint64_t due, uint64_t start, uint64_t now, bool is_write)
{
	if (now >= w->second_end)
		bench_turn(w, now);
	histogram_record(w->second, now - start);
	if (w->gap_ns)
		histogram_record(&w->measures[BENCH_RESPONSE], now > due ? now - due : 0);
	w->counts.ops++;
	w->counts.bytes += w->machine->run->block_size;
	w->counts.writes += is_write;
	w->counts.half_ops += now < w->machine->half_ns;
	w->last_ns = now;
}

static inline void bench_note_error(struct bench_worker *w, int error)
{
	w->counts.errors++;
	w->error = w->error ? w->error : error;
}

/* @r of having waited for stable media since @start. Returns what time it is. */
uint64_t bench_note_flush(struct bench_worker *w, int r, uint64_t start);

/* When the next operation arrives; and the one behind it is drawn. */
uint64_t bench_next_arrival(struct bench_worker *w);

/* Until @due, or the end of the phase. Returns what time it is then. */
uint64_t bench_wait_until(const struct bench_worker *w, uint64_t due);

/* xorshift64*: 64 bits. */
uint64_t bench_draw(struct bench_worker *w);

/* What cannot be compressed, nor is alike; a multiple of 8 bytes. */
void bench_fill(struct bench_worker *w, char *data, size_t bytes);

/* Of @n in the repeat. */
static inline double bench_per_second(const struct bench_repeat *r, uint64_t n)
{
	return r->ns ? (double)n * (double)BENCH_SECOND / (double)r->ns : 0;
}

/* --- bench_look.c: what was measured, and what is odd about it --- */

/* The facts; and what can be known beforehand. */
void bench_look_at_device(struct op_bench_result *bench, const struct op_bench_args *args);
int bench_look_at_region(struct op_bench_result *bench, const struct op_bench_args *args, uint64_t begin, uint64_t end);

/* Has the page cache forget the region, as far as it does. */
void bench_drop_pages(const struct op_bench_args *args, uint64_t begin, uint64_t end);

/* What can be known afterwards. */
void bench_look_at_run(struct op_bench_result *bench, const struct bench_run *run);

__attribute__((format(printf, 3, 4))) void bench_warn(struct op_bench_result *bench, const char *name,
						      const char *format, ...);

/* --- bench_replay.c --- */

/* Reads the trace of @run, which gets the trace's block size if it has none. False: said in @result. */
bool bench_replay_load(struct op_bench_result *bench, const struct op_bench_args *args, struct bench_run_args *run,
		       struct op_result *result);
void bench_replay_free(struct bench_trace *trace);

/* --- bench_json.c --- */

struct text_out;
void bench_put_json(struct text_out *o, const struct op_bench_result *bench);

/* The part of a run's time that the slowest of a thousand operations took, 0 to 1. */
double bench_stall_share(const struct histogram *h);

#endif
