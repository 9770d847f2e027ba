// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A trace as a run: what was asked for is asked for again, as soon as may be, when it was due, or so many times faster;
 * through a cache, or straight to the device.
 *
 * Where nothing may be written what was written is read, as it takes the same place in a cache. Of a trace of several
 * files or clients the one of which there is most is taken; what lies beyond the end of the device is left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/bench_int.h"
#include "ops/bench_trace.h"

struct bench_trace {
	struct text_trace text;
	uint64_t nr; /* records at the front of text.records that count */
	uint64_t begin_ns; /* of the first of them */
};

/* --- reading --- */

static bool moves_bytes(const struct text_trace_record *r)
{
	return r->bytes;
}

static bool writes(uint32_t op)
{
	return op == TEXT_TRACE_WRITE || op == TEXT_TRACE_NEW || op == TEXT_TRACE_DIRTY || op == TEXT_TRACE_MOVE;
}

struct sums {
	uint64_t nr_elsewhere, nr_beyond, nr_written;
};

/* Keeps what is of @file and inside of the device. */
static struct sums select_records(struct bench_trace *trace, uint32_t file, uint64_t size)
{
	struct sums s = { 0 };

	for (uint64_t i = 0; i < trace->text.nr; i++) {
		const struct text_trace_record *r = &trace->text.records[i];

		if (r->file != file) {
			s.nr_elsewhere++;
		} else if (r->offset + r->bytes > size) {
			s.nr_beyond++;
		} else {
			s.nr_written += writes(r->op);
			trace->text.records[trace->nr++] = *r;
		}
	}
	trace->begin_ns = trace->nr ? trace->text.records[0].ns : 0;
	return s;
}

static void warn(struct op_bench_result *bench, const struct bench_run_args *run, const struct sums *s)
{
	if (s->nr_elsewhere)
		bench_warn(bench, "trace-files",
			   "lines of the trace that are of other files or clients than the one that is replayed: %" PRIu64,
			   s->nr_elsewhere);
	if (s->nr_beyond)
		bench_warn(bench, "trace-beyond",
			   "lines of the trace that lie beyond the end of the device, and are left out: %" PRIu64,
			   s->nr_beyond);
	if (s->nr_written && run->workload.read_percent == 100)
		bench_warn(bench, "trace-reads", "lines of the trace that write, and without --write read: %" PRIu64,
			   s->nr_written);
}

bool bench_replay_load(struct op_bench_result *bench, const struct op_bench_args *args, struct bench_run_args *run,
		       struct op_result *result)
{
	struct bench_trace *trace = run->trace = calloc(1, sizeof(*trace));
	uint32_t file = 0;
	struct sums s;

	if (trace && !bench_trace_read(run->replay, &trace->text, result))
		return false;
	if (!trace || bench_trace_find_main(&trace->text, &file)) {
		op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
		return false;
	}
	if (trace->text.nr_files && trace->text.files[file].block_size && !run->block_size)
		run->block_size = trace->text.files[file].block_size;
	run->block_size = run->block_size ? run->block_size : 4096;
	s = select_records(trace, file, bufio_device_describe(args->device)->size);
	if (!trace->nr) {
		op_fail(result, OP_INPUT, 0, "%s: has nothing that could be replayed on %s", run->replay, args->image);
		return false;
	}
	if (!s.nr_written)
		run->workload.read_percent = 100;
	warn(bench, run, &s);
	return true;
}

void bench_replay_free(struct bench_trace *trace)
{
	if (trace)
		text_trace_destroy(&trace->text);
	free(trace);
}

/* --- what both engines share --- */

static const struct text_trace_record *record_at(const struct bench_worker *w, uint64_t i)
{
	const struct bench_trace *trace = w->machine->run->trace;

	return i < trace->nr ? &trace->text.records[i] : NULL;
}

static bool may_write(const struct bench_worker *w)
{
	return w->machine->run->workload.read_percent < 100;
}

/* When it is its turn; as soon as may be: @now. */
static uint64_t due_of(const struct bench_worker *w, const struct text_trace_record *r, uint64_t now)
{
	const struct bench_run_args *run = w->machine->run;

	if (run->speed == 0)
		return now;
	return w->machine->begin_ns + (uint64_t)((double)(r->ns - run->trace->begin_ns) / run->speed);
}

/* With times, latency counts from when each was due, as with a rate. */
static void begin_times(struct bench_worker *w)
{
	w->gap_ns = w->machine->run->speed > 0;
}

static void note(struct bench_worker *w, uint64_t due, uint64_t start, uint64_t now, bool is_write, uint64_t bytes)
{
	bench_note(w, due, start, now, is_write);
	w->counts.bytes += bytes - w->machine->run->block_size;
}

/* --- through a cache: block by block --- */

static int no_open(struct bench_worker *w)
{
	(void)w;
	return 0;
}

static void no_close(struct bench_worker *w)
{
	(void)w;
}

/* A block, and what is asked of it. */
struct step {
	const struct text_trace_record *record;
	uint64_t block, due, start;
};

static void done(struct bench_worker *w, const struct step *s, bool is_write)
{
	bench_note(w, s->due, s->start, bench_now(), is_write);
}

/* NULL: there was an error. */
static void *hold(struct bench_worker *w, const struct step *s, struct bufio_buffer **b)
{
	struct bufio_client *c = w->machine->client;
	void *data = bufio_get(c, s->block, b);
	bool was_there = data;

	if (!data)
		data = bufio_read(c, s->block, b);
	if (!data) {
		bench_note_error(w, -errno);
		return NULL;
	}
	histogram_record(&w->measures[was_there ? BENCH_HIT : BENCH_MISS], bench_now() - s->start);
	w->counts.hits += was_there;
	w->counts.misses += !was_there;
	return data;
}

static void read_block(struct bench_worker *w, const struct step *s)
{
	struct bufio_buffer *b;

	if (!hold(w, s, &b))
		return;
	bufio_release(b);
	done(w, s, false);
}

static void overwrite(struct bench_worker *w, char *data, struct bufio_buffer *b)
{
	bench_fill(w, data, sizeof(uint64_t));
	bufio_mark_buffer_dirty(b);
	bufio_release(b);
}

/* Part of a block. */
static void change_block(struct bench_worker *w, const struct step *s)
{
	struct bufio_buffer *b;
	char *data = hold(w, s, &b);

	if (!data)
		return;
	overwrite(w, data, b);
	done(w, s, true);
}

/* Of a block that is counted already: it was held when it was marked. */
static void mark_block(struct bench_worker *w, const struct step *s)
{
	struct bufio_buffer *b;
	char *data = bufio_read(w->machine->client, s->block, &b);

	if (!data) {
		bench_note_error(w, -errno);
		return;
	}
	overwrite(w, data, b);
}

static void make_block(struct bench_worker *w, const struct step *s)
{
	struct bufio_buffer *b;
	char *data = bufio_new(w->machine->client, s->block, &b);

	if (!data) {
		bench_note_error(w, -errno);
		return;
	}
	overwrite(w, data, b);
	done(w, s, true);
}

static void write_block(struct bench_worker *w, const struct step *s)
{
	uint64_t size = w->machine->run->block_size, begin = s->block * size;

	if (begin >= s->record->offset && begin + size <= s->record->offset + s->record->bytes)
		make_block(w, s);
	else
		change_block(w, s);
}

static void ignore(struct bench_worker *w, const struct step *s)
{
	(void)w;
	(void)s;
}

/* What is done for each block of a line, where writing is allowed and where not. NULL: for all of its blocks at once. */
static const struct {
	void (*writing)(struct bench_worker *w, const struct step *s);
	void (*reading)(struct bench_worker *w, const struct step *s);
} block_ops[NR_TEXT_TRACE_OPS] = {
	[TEXT_TRACE_READ] = { read_block, read_block },
	[TEXT_TRACE_SCAN] = { read_block, read_block },
	[TEXT_TRACE_GET] = { read_block, read_block },
	[TEXT_TRACE_WRITE] = { write_block, read_block },
	[TEXT_TRACE_NEW] = { make_block, read_block },
	[TEXT_TRACE_MOVE] = { make_block, read_block },
	[TEXT_TRACE_DIRTY] = { mark_block, ignore },
};

static void do_blocks(struct bench_worker *w, const struct text_trace_record *r, uint64_t due)
{
	uint64_t size = w->machine->run->block_size, end = (r->offset + r->bytes + size - 1) / size;
	uint64_t nr_blocks = bufio_get_device_size(w->machine->client);

	end = end < nr_blocks ? end : nr_blocks;
	for (uint64_t block = r->offset / size; block < end && !bench_is_stopped(w->machine); block++) {
		struct step s = { r, block, due, bench_now() };

		if (w->machine->run->speed == 0)
			s.due = s.start;
		(may_write(w) ? block_ops[r->op].writing : block_ops[r->op].reading)(w, &s);
	}
}

static void do_all(struct bench_worker *w, const struct text_trace_record *r)
{
	uint64_t size = w->machine->run->block_size, first = r->offset / size, start = bench_now();
	uint64_t nr = (r->offset + r->bytes + size - 1) / size - first;
	struct bufio_client *c = w->machine->client;

	if (r->op == TEXT_TRACE_PREFETCH)
		bufio_prefetch(c, first, nr);
	else if (r->op == TEXT_TRACE_FORGET || r->op == TEXT_TRACE_DISCARD)
		bufio_forget_buffers(c, first, nr);
	else if (r->op == TEXT_TRACE_START)
		bufio_write_dirty_buffers_async(c);
	else if (may_write(w) && r->op == TEXT_TRACE_FLUSH)
		bench_note_flush(w, bufio_write_dirty_buffers(c), start);
	else if (may_write(w) && r->op == TEXT_TRACE_BARRIER)
		bench_note_flush(w, bufio_issue_flush(c), start);
}

static void cached_work(struct bench_worker *w)
{
	const struct text_trace_record *r;
	uint64_t now = bench_now();

	begin_times(w);
	for (uint64_t i = 0; (r = record_at(w, i)) && bench_goes_on(w, now); i++) {
		uint64_t due = due_of(w, r, now);

		if (due > now)
			now = bench_wait_until(w, due);
		if (now >= w->machine->end_ns)
			break;
		if (block_ops[r->op].reading)
			do_blocks(w, r, due);
		else
			do_all(w, r);
		now = bench_now();
	}
}

const struct bench_engine bench_replay_cached = { no_open, no_close, no_open, cached_work, no_close };

/* --- straight to the device: what was read and written, in requests of any size --- */

struct slot {
	struct io_request request; /* first: a request finds its slot */
	struct iovec iov;
	char *data;
	uint64_t due, start, bytes;
	struct slot *next; /* while it is free */
};

struct raw {
	struct slot *slots, *free;
	struct io_request **list;
	char *data;
	unsigned nr_busy;
	uint64_t at, done; /* the record that comes next, and how many of its bytes are done */
};

static void raw_close(struct bench_worker *w)
{
	struct raw *raw = w->buffer;

	if (raw) {
		free(raw->slots);
		free(raw->list);
		free(raw->data);
	}
	free(raw);
	w->buffer = NULL;
}

static int raw_open(struct bench_worker *w)
{
	unsigned depth = w->machine->run->depth;
	struct raw *raw = w->buffer = calloc(1, sizeof(*raw));

	if (!raw)
		return -ENOMEM;
	raw->slots = calloc(depth, sizeof(*raw->slots));
	raw->list = calloc(depth, sizeof(*raw->list));
	raw->data = bench_alloc_data(depth * BENCH_MAX_REPLAYED);
	if (!raw->slots || !raw->list || !raw->data)
		return -ENOMEM;
	memset(raw->data, 0, depth * BENCH_MAX_REPLAYED);
	for (unsigned i = 0; i < depth; i++) {
		raw->slots[i].data = raw->data + i * BENCH_MAX_REPLAYED;
		raw->slots[i].next = raw->free;
		raw->free = &raw->slots[i];
	}
	return 0;
}

static int raw_begin(struct bench_worker *w)
{
	struct raw *raw = w->buffer;

	raw->at = raw->done = 0;
	return bench_raw.begin(w);
}

static void raw_end(struct bench_worker *w)
{
	bench_raw.end(w);
}

static bool is_of_device(const struct text_trace_record *r)
{
	static const bool is[NR_TEXT_TRACE_OPS] = {
		[TEXT_TRACE_READ] = true, [TEXT_TRACE_SCAN] = true, [TEXT_TRACE_WRITE] = true, [TEXT_TRACE_NEW] = true,
		[TEXT_TRACE_FLUSH] = true, [TEXT_TRACE_BARRIER] = true,
	};

	return is[r->op];
}

/* The record whose turn it is; NULL: there is none left. */
static const struct text_trace_record *next_record(const struct bench_worker *w, struct raw *raw)
{
	const struct text_trace_record *r;

	while ((r = record_at(w, raw->at)) && !is_of_device(r))
		raw->at++;
	return r;
}

/* The next request of @r, widened to what the device takes. False if that would be beyond its end. */
static bool set_range(const struct bench_worker *w, struct raw *raw, const struct text_trace_record *r, struct slot *s)
{
	const struct bufio_device_info *info = &w->device->info;
	uint64_t begin = (r->offset + raw->done) / info->alignment * info->alignment;
	uint64_t end = r->offset + r->bytes, most = begin + BENCH_MAX_REPLAYED / info->alignment * info->alignment;

	end = (end + info->alignment - 1) / info->alignment * info->alignment;
	end = end < most ? end : most;
	if (end > info->size)
		end = info->size / info->alignment * info->alignment;
	s->request.offset = begin;
	s->bytes = end > begin ? end - begin : 0;
	raw->done = begin + s->bytes - r->offset;
	if (!s->bytes || raw->done >= r->bytes) {
		raw->done = 0;
		raw->at++;
	}
	return s->bytes;
}

static void start_request(struct bench_worker *w, struct raw *raw, const struct text_trace_record *r, uint64_t due,
			  uint64_t now)
{
	struct slot *s = raw->free;
	struct io_request *request = &s->request;

	*request = (struct io_request){ .direction = may_write(w) && writes(r->op) ? IO_WRITE : IO_READ,
					.iov = &s->iov,
					.nr_iov = 1 };
	if (!set_range(w, raw, r, s))
		return;
	s->due = due;
	s->start = now;
	s->iov = (struct iovec){ s->data, s->bytes };
	if (request->direction == IO_WRITE)
		bench_fill(w, s->data, sizeof(uint64_t));
	raw->free = s->next;
	raw->nr_busy++;
	w->device->ops->submit(w->device, &request, 1);
}

static uint64_t reap(struct bench_worker *w, struct raw *raw, bool block)
{
	unsigned nr = w->device->ops->wait(w->device, raw->list, w->machine->run->depth, block);
	uint64_t now = bench_now();

	for (unsigned i = 0; i < nr; i++) {
		struct slot *s = (struct slot *)raw->list[i];

		if (s->request.result)
			bench_note_error(w, s->request.result);
		else
			note(w, s->due, s->start, now, s->request.direction == IO_WRITE, s->bytes);
		s->next = raw->free;
		raw->free = s;
		raw->nr_busy--;
	}
	return now;
}

/* With nothing else under way. */
static void flush(struct bench_worker *w, struct raw *raw)
{
	uint64_t start;

	raw->at++;
	if (!may_write(w))
		return;
	while (raw->nr_busy)
		reap(w, raw, true);
	start = bench_now();
	bench_note_flush(w, w->device->ops->flush(w->device), start);
}

static void raw_work(struct bench_worker *w)
{
	struct raw *raw = w->buffer;
	const struct text_trace_record *r;
	uint64_t now = bench_now(), due;

	begin_times(w);
	while ((r = next_record(w, raw)) && bench_may_go_on(w, now)) {
		due = due_of(w, r, now);
		if (due > now && !raw->nr_busy)
			now = bench_wait_until(w, due);
		else if (due > now || !raw->free)
			now = reap(w, raw, !raw->free);
		else if (!moves_bytes(r))
			flush(w, raw);
		else if (bench_goes_on(w, now))
			start_request(w, raw, r, due, now);
		now = bench_now();
	}
	while (raw->nr_busy)
		reap(w, raw, true);
}

const struct bench_engine bench_replay_raw = { raw_open, raw_close, raw_begin, raw_work, raw_end };
