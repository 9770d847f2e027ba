// SPDX-License-Identifier: LGPL-2.1-or-later
/* A run's workers: made once, and put to work for each phase. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/huge_page.h"
#include "ops/bench_int.h"

#define LARGE_DATA (HUGE_PAGE / 16)
#define SMALL_ALIGNMENT 4096

char *bench_alloc_data(size_t bytes)
{
	size_t whole = (bytes + SMALL_ALIGNMENT - 1) / SMALL_ALIGNMENT * SMALL_ALIGNMENT;

	return bytes < LARGE_DATA ? aligned_alloc(SMALL_ALIGNMENT, whole) : huge_page_alloc(bytes);
}

static void close_worker(struct bench_worker *w)
{
	w->machine->engine->close(w);
	workload_close(w->source);
	free(w->second);
	free(w->measures);
}

static int open_worker(struct bench_machine *m, unsigned index)
{
	struct bench_worker *w = &m->workers[index];

	*w = (struct bench_worker){
		.machine = m,
		.index = index,
		.random = m->run->workload.seed + index + UINT64_C(0x9E3779B97F4A7C15),
		.source = workload_open(&m->run->workload, index, m->nr_workers),
		.second = calloc(1, sizeof(*w->second)),
		.measures = calloc(NR_BENCH_MEASURES, sizeof(*w->measures)),
	};
	return w->source && w->second && w->measures ? m->engine->open(w) : -ENOMEM;
}

/* An eighth of what is looked at, where that can be filled in a moment. */
#define LIMIT_SHARE 8
#define LEAST_LIMIT (UINT64_C(1) << 20)
#define MOST_LIMIT (UINT64_C(64) << 20)

static uint64_t usual_limit(const struct bench_run_args *run, uint64_t floor)
{
	uint64_t limit = (run->end - run->begin) / LIMIT_SHARE;

	limit = limit < LEAST_LIMIT ? LEAST_LIMIT : limit > MOST_LIMIT ? MOST_LIMIT : limit;
	return limit < floor ? floor : limit;
}

static int open_client(struct bench_machine *m, struct bench_run_args *run)
{
	int r;

	m->client = bufio_client_create(m->args->device, run->block_size, 1, 0, NULL, NULL);
	if (!m->client)
		return -errno;
	if (!run->memory_limit)
		run->memory_limit = usual_limit(run, bufio_get_memory_floor(m->client));
	r = bufio_set_memory_limit(m->client, run->memory_limit);
	return r == -EINVAL ? -EDOM : r;
}

static const struct bench_engine *find_engine(const struct bench_run_args *run)
{
	if (run->trace)
		return run->is_cached ? &bench_replay_cached : &bench_replay_raw;
	return run->is_cached ? &bench_cached : &bench_raw;
}

int bench_machine_open(struct bench_machine *m, const struct op_bench_args *args, struct bench_run_args *run)
{
	int r = 0;

	*m = (struct bench_machine){
		.args = args,
		.run = run,
		.engine = find_engine(run),
	};
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->event, NULL);
	m->workers = calloc(run->threads, sizeof(*m->workers));
	if (!m->workers)
		return -ENOMEM;
	if (run->is_cached)
		r = open_client(m, run);
	m->nr_workers = run->threads;
	for (unsigned i = 0; i < run->threads && !r; i++)
		r = open_worker(m, i);
	return r;
}

static void clear_seconds(struct bench_machine *m)
{
	for (size_t i = 0; i < m->nr_seconds; i++) {
		free(m->seconds[i].service);
		m->seconds[i] = (struct bench_second){ .service = NULL };
	}
	m->nr_seconds = 0;
}

/* In the order that devices want: those that were opened again before the first. */
int bench_machine_close(struct bench_machine *m)
{
	for (unsigned i = m->nr_workers; i--;)
		if (m->workers[i].machine)
			close_worker(&m->workers[i]);
	free(m->workers);
	clear_seconds(m);
	free(m->seconds);
	pthread_cond_destroy(&m->event);
	pthread_mutex_destroy(&m->lock);
	return bufio_client_destroy(m->client);
}

/* --- a phase --- */

/* False if the phase was given up. */
static bool pass_gate(struct bench_machine *m, int error)
{
	bool is_open;

	pthread_mutex_lock(&m->lock);
	m->error = m->error ? m->error : error;
	m->nr_ready++;
	pthread_cond_broadcast(&m->event);
	while (m->gate == GATE_CLOSED)
		pthread_cond_wait(&m->event, &m->lock);
	is_open = m->gate == GATE_OPEN;
	pthread_mutex_unlock(&m->lock);
	return is_open;
}

static void *work(void *context)
{
	struct bench_worker *w = context;
	int r = w->machine->engine->begin(w);

	if (pass_gate(w->machine, r)) {
		w->machine->engine->work(w);
		bench_close_book(w);
	}
	if (!r)
		w->machine->engine->end(w);
	return NULL;
}

static void clear_book(struct bench_worker *w)
{
	struct bench_machine *m = w->machine;
	double gap = m->run->arrival == BENCH_CLOSED ? 0 : (double)BENCH_SECOND * m->nr_workers / m->run->rate;

	memset(w->second, 0, sizeof(*w->second));
	memset(w->measures, 0, NR_BENCH_MEASURES * sizeof(*w->measures));
	memset(&w->counts, 0, sizeof(w->counts));
	memset(&w->counted, 0, sizeof(w->counted));
	w->gap_ns = gap;
	w->due_ns = (double)m->begin_ns + gap * w->index / m->nr_workers;
	w->second_end = m->begin_ns + BENCH_SECOND;
	w->last_ns = m->begin_ns;
	w->unflushed = 0;
	w->error = 0;
}

/* All workers get as much of @count as each other, but for the rest. */
static void share(struct bench_machine *m, uint64_t count)
{
	for (unsigned i = 0; i < m->nr_workers; i++)
		m->workers[i].quota = count ? count / m->nr_workers + (i < count % m->nr_workers) : UINT64_MAX;
}

/* What a phase is bounded by; 0 for no bound. */
struct bounds {
	uint64_t ns, count;
};

static void begin_time(struct bench_machine *m, const struct bounds *b)
{
	m->begin_ns = bench_now();
	m->half_ns = b->ns ? m->begin_ns + b->ns / 2 : 0;
	m->end_ns = b->ns ? m->begin_ns + b->ns : UINT64_MAX;
	share(m, b->count);
	for (unsigned i = 0; i < m->nr_workers; i++)
		clear_book(&m->workers[i]);
}

/* When all @nr that were started are ready the time begins. */
static void open_gate(struct bench_machine *m, unsigned nr, const struct bounds *b)
{
	pthread_mutex_lock(&m->lock);
	while (m->nr_ready < nr)
		pthread_cond_wait(&m->event, &m->lock);
	if (!m->error)
		begin_time(m, b);
	m->gate = m->error ? GATE_GIVEN_UP : GATE_OPEN;
	pthread_cond_broadcast(&m->event);
	pthread_mutex_unlock(&m->lock);
}

static int run_phase(struct bench_machine *m, struct bounds bounds)
{
	unsigned nr = 0;

	clear_seconds(m);
	m->gate = GATE_CLOSED;
	m->nr_ready = 0;
	m->error = 0;
	while (nr < m->nr_workers) {
		int r = pthread_create(&m->workers[nr].thread, NULL, work, &m->workers[nr]);

		if (r) {
			pthread_mutex_lock(&m->lock);
			m->error = -r;
			pthread_mutex_unlock(&m->lock);
			break;
		}
		nr++;
	}
	open_gate(m, nr, &bounds);
	while (nr--)
		pthread_join(m->workers[nr].thread, NULL);
	return m->error;
}

/* --- warming up --- */

/* Steady is a hit ratio that has moved by less than the difference in so many seconds; after most it is as it is. */
#define STEADY_DIFFERENCE 0.01
#define STEADY_SECONDS 2
#define STEADY_MOST 60

static double hit_ratio(const struct bench_machine *m)
{
	uint64_t hits = 0, all = 0;

	for (unsigned i = 0; i < m->nr_workers; i++) {
		hits += m->workers[i].counts.hits;
		all += m->workers[i].counts.hits + m->workers[i].counts.misses;
	}
	return all ? (double)hits / (double)all : 0;
}

static bool is_steady(const double *ratios, unsigned nr)
{
	double least = 1, most = 0;

	if (nr <= STEADY_SECONDS)
		return false;
	for (unsigned i = nr - 1 - STEADY_SECONDS; i < nr; i++) {
		least = ratios[i] < least ? ratios[i] : least;
		most = ratios[i] > most ? ratios[i] : most;
	}
	return most - least < STEADY_DIFFERENCE;
}

static int warm_until_steady(struct bench_machine *m)
{
	double ratios[STEADY_MOST];
	unsigned nr = 0;
	int r = 0;

	while (!r && nr < STEADY_MOST && !is_steady(ratios, nr) && !bench_is_stopped(m)) {
		r = run_phase(m, (struct bounds){ .ns = BENCH_SECOND });
		ratios[nr++] = hit_ratio(m);
	}
	return r;
}

int bench_machine_warm_up(struct bench_machine *m)
{
	int r = m->run->warm_up_ns ? run_phase(m, (struct bounds){ .ns = m->run->warm_up_ns }) : 0;

	return r || !m->run->warms_until_steady ? r : warm_until_steady(m);
}

/* --- measuring --- */

static uint64_t processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * BENCH_SECOND + (uint64_t)t.tv_nsec;
}

/* The counters of the library, which all are of 64 bits: what came to them since @before. */
static void subtract(struct bufio_stats *now, const struct bufio_stats *before)
{
	now->hits -= before->hits;
	now->misses -= before->misses;
	now->evictions -= before->evictions;
	now->blocks_read -= before->blocks_read;
	now->read_requests -= before->read_requests;
	now->read_bytes -= before->read_bytes;
	now->blocks_written -= before->blocks_written;
	now->write_requests -= before->write_requests;
	now->written_bytes -= before->written_bytes;
	now->merged -= before->merged;
	now->read_errors -= before->read_errors;
	now->write_errors -= before->write_errors;
	now->flushes -= before->flushes;
	now->discards -= before->discards;
	now->waits -= before->waits;
}

static int first_error(const struct bench_machine *m)
{
	for (unsigned i = 0; i < m->nr_workers; i++)
		if (m->workers[i].error)
			return m->workers[i].error;
	return 0;
}

/*
 * Where the arrivals are that were come to, of where they should be at the end. Operations are not counted: how many arrive
 * at random is not what the rate says.
 */
#define SATURATED 0.95

static bool is_saturated(const struct bench_machine *m, const struct bench_repeat *repeat)
{
	double reached = 0;

	for (unsigned i = 0; i < m->nr_workers; i++)
		reached += m->workers[i].due_ns - (double)m->begin_ns;
	return m->run->arrival != BENCH_CLOSED && !bench_is_stopped(m) &&
	       reached < SATURATED * (double)repeat->ns * m->nr_workers;
}

int bench_machine_run(struct bench_machine *m, struct bench_repeat *repeat)
{
	struct bufio_stats before = { 0 };
	uint64_t cpu;
	int r;

	if (m->client)
		bufio_get_stats(m->client, &before);
	cpu = processor_time();
	r = run_phase(m, (struct bounds){ m->run->ns, m->run->count });
	if (r)
		return r;
	repeat->cpu_ns = processor_time() - cpu;
	if (m->client) {
		bufio_get_stats(m->client, &repeat->stats);
		subtract(&repeat->stats, &before);
	}
	r = bench_add_up(m, repeat);
	repeat->is_saturated = is_saturated(m, repeat);
	return r || repeat->ops ? r : first_error(m);
}

void bench_repeat_free(struct bench_repeat *repeat)
{
	free(repeat->measures);
	free(repeat->samples);
}
