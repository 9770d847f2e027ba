// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What workers note. Each has a histogram for the second that it is in, and for the whole; when it leaves a second,
 * that becomes part of what all workers did in it.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/bench_int.h"

/* --- seconds; under the machine's lock --- */

static bool grow(struct bench_machine *m, size_t index)
{
	size_t max = index + 64;
	struct bench_second *seconds;

	if (index < m->max_seconds)
		return true;
	seconds = realloc(m->seconds, max * sizeof(*seconds));
	if (!seconds)
		return false;
	memset(seconds + m->max_seconds, 0, (max - m->max_seconds) * sizeof(*seconds));
	m->seconds = seconds;
	m->max_seconds = max;
	return true;
}

static struct bench_second *find_second(struct bench_machine *m, size_t index)
{
	struct bench_second *s;

	if (!grow(m, index))
		return NULL;
	s = &m->seconds[index];
	if (!s->service && !s->nr_passed)
		s->service = calloc(1, sizeof(*s->service));
	m->nr_seconds = index >= m->nr_seconds ? index + 1 : m->nr_seconds;
	return s->service ? s : NULL;
}

static void finish_second(struct bench_second *s)
{
	s->sample.p50 = histogram_percentile(s->service, 50);
	s->sample.p99 = histogram_percentile(s->service, 99);
	free(s->service);
	s->service = NULL;
}

static void add_counts(struct bench_worker *w, struct bench_sample *s)
{
	s->ops += w->counts.ops - w->counted.ops;
	s->bytes += w->counts.bytes - w->counted.bytes;
	s->hits += w->counts.hits - w->counted.hits;
	s->misses += w->counts.misses - w->counted.misses;
	w->counted = w->counts;
}

/* The worker leaves the second that ends at @end. */
static void leave(struct bench_worker *w, uint64_t end)
{
	struct bench_machine *m = w->machine;
	struct bench_second *s = find_second(m, (w->second_end - m->begin_ns) / BENCH_SECOND - 1);

	if (!s) {
		m->error = -ENOMEM;
		return;
	}
	histogram_add(s->service, w->second);
	add_counts(w, &s->sample);
	s->sample.ns = end - m->begin_ns > s->sample.ns ? end - m->begin_ns : s->sample.ns;
	if (++s->nr_passed == m->nr_workers)
		finish_second(s);
}

static void begin_second(struct bench_worker *w)
{
	memset(w->second, 0, sizeof(*w->second));
	w->second_end += BENCH_SECOND;
}

void bench_turn(struct bench_worker *w, uint64_t now)
{
	histogram_add(&w->measures[BENCH_SERVICE], w->second);
	pthread_mutex_lock(&w->machine->lock);
	while (now >= w->second_end) {
		leave(w, w->second_end);
		begin_second(w);
	}
	pthread_mutex_unlock(&w->machine->lock);
}

void bench_close_book(struct bench_worker *w)
{
	struct bench_machine *m = w->machine;

	histogram_add(&w->measures[BENCH_SERVICE], w->second);
	pthread_mutex_lock(&m->lock);
	if (w->last_ns + BENCH_SECOND > w->second_end)
		leave(w, w->last_ns);
	pthread_mutex_unlock(&m->lock);
}

uint64_t bench_note_flush(struct bench_worker *w, int r, uint64_t start)
{
	uint64_t now = bench_now();

	if (r)
		bench_note_error(w, r);
	else
		histogram_record(&w->measures[BENCH_FLUSH], now - start);
	w->unflushed = 0;
	return now;
}

/* --- all together --- */

/* Half a second and less at the end says little of a second. */
static bool is_sample(const struct bench_sample *s, size_t index)
{
	return s->ops && (s->ns - index * BENCH_SECOND > BENCH_SECOND / 2 || !index);
}

static int take_samples(struct bench_machine *m, struct bench_repeat *repeat)
{
	repeat->samples = calloc(m->nr_seconds + 1, sizeof(*repeat->samples));
	if (!repeat->samples)
		return -ENOMEM;
	for (size_t i = 0; i < m->nr_seconds; i++) {
		if (m->seconds[i].service)
			finish_second(&m->seconds[i]);
		if (is_sample(&m->seconds[i].sample, i))
			repeat->samples[repeat->nr_samples++] = m->seconds[i].sample;
	}
	return 0;
}

static void add_worker(struct bench_repeat *repeat, const struct bench_worker *w)
{
	const struct bench_counts *c = &w->counts;

	for (unsigned i = 0; i < NR_BENCH_MEASURES; i++)
		histogram_add(&repeat->measures[i], &w->measures[i]);
	repeat->ops += c->ops;
	repeat->bytes += c->bytes;
	repeat->writes += c->writes;
	repeat->errors += c->errors;
	repeat->half_ops += c->half_ops;
	repeat->hits += c->hits;
	repeat->misses += c->misses;
	repeat->prefetch.issued += c->prefetch.issued;
	repeat->prefetch.used += c->prefetch.used;
	repeat->prefetch.wasted += c->prefetch.wasted;
	if (w->last_ns - w->machine->begin_ns > repeat->ns)
		repeat->ns = w->last_ns - w->machine->begin_ns;
}

int bench_add_up(struct bench_machine *m, struct bench_repeat *repeat)
{
	repeat->measures = calloc(NR_BENCH_MEASURES, sizeof(*repeat->measures));
	if (!repeat->measures || m->error)
		return -ENOMEM;
	for (unsigned i = 0; i < m->nr_workers; i++)
		add_worker(repeat, &m->workers[i]);
	return take_samples(m, repeat);
}

/* --- chance, and time --- */

uint64_t bench_draw(struct bench_worker *w)
{
	uint64_t x = w->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	w->random = x;
	return x * UINT64_C(0x2545F4914F6CDD1D);
}

void bench_fill(struct bench_worker *w, char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
		uint64_t word = bench_draw(w);

		memcpy(data + i, &word, sizeof(word));
	}
}

/* Between 0 and 1, neither included. */
static double draw_part(struct bench_worker *w)
{
	return ((double)(bench_draw(w) >> 12) + 0.5) / (double)(UINT64_C(1) << 52);
}

uint64_t bench_next_arrival(struct bench_worker *w)
{
	double due = w->due_ns;
	bool is_random = w->machine->run->arrival == BENCH_POISSON;

	w->due_ns += is_random ? -log(draw_part(w)) * w->gap_ns : w->gap_ns;
	return (uint64_t)due;
}

/* Sleep ends late by about so much; what is left is waited for awake, because the times are what is to be found out. */
#define WAKE_UP_NS 100000

static void sleep_until(uint64_t ns)
{
	struct timespec until = { .tv_sec = (time_t)(ns / BENCH_SECOND), .tv_nsec = (long)(ns % BENCH_SECOND) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

uint64_t bench_wait_until(const struct bench_worker *w, uint64_t due)
{
	uint64_t now = bench_now(), end = w->machine->end_ns;

	due = due < end ? due : end;
	while (now < due && !bench_is_stopped(w->machine)) {
		if (due - now > 2 * WAKE_UP_NS)
			sleep_until(due - WAKE_UP_NS);
		now = bench_now();
	}
	return now;
}
