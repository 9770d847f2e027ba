// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/dump_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* Messages of one run, for people. */
#define MAX_TOLD 1000

uint64_t dump_nr_problems(const struct op_result *r)
{
	uint64_t n = 0;

	for (unsigned s = 0; s < NR_SEVERITIES; s++)
		n += r->problems[s];
	return n;
}

void dump_count_problem(struct dump *d, const struct problem *p)
{
	d->result->problems[problem_severity(p)]++;
}

void dump_report_now(struct problem_sink *sink, const struct problem *p)
{
	struct dump *d = (struct dump *)sink;

	dump_count_problem(d, p);
	/* A hostile pool has millions; a program that reads JSON wants them all the same. */
	if (d->args->format == DUMP_JSON || dump_nr_problems(d->result) <= MAX_TOLD)
		d->emitter->visitor.problem(&d->emitter->visitor, p);
}

void dump_report_later(struct problem_sink *sink, const struct problem *p)
{
	struct dump *d = (struct dump *)sink;

	dump_count_problem(d, p);
	if (d->nr_kept < MAX_KEPT)
		d->kept[d->nr_kept++] = *p;
}

void dump_expect(struct dump *d, uint64_t blocks)
{
	if (d->args->progress)
		d->args->progress->total = blocks;
}

void dump_advance(struct dump *d, uint64_t blocks)
{
	if (d->args->progress)
		d->args->progress->blocks += blocks;
}

void dump_fail_errno(struct dump *d, int error)
{
	if (d->out.error && error == d->out.error)
		op_fail(d->result, OP_OUTPUT, error, "output: %s", strerror(-error));
	else
		op_fail_errno(d->result, d->args->image, error);
}

/* What a view that was given up would have shown, and what was left out of one that was not. */
static void tell_rest(struct dump *d)
{
	uint64_t nr = dump_nr_problems(d->result);

	for (size_t i = 0; d->result->outcome != OP_DONE && i < d->nr_kept; i++)
		text_put_problem(&d->messages, d->args->program, d->emitter->names, &d->kept[i]);
	if (d->sink.report == dump_report_now && d->args->format != DUMP_JSON && nr > MAX_TOLD)
		text_printf(&d->messages, "%s: ... and %" PRIu64 " problems more\n", d->args->program, nr - MAX_TOLD);
	if (d->result->unreadable > d->nr_kept)
		text_printf(&d->messages, "%s: ... and %" PRIu64 " more blocks that cannot be read\n", d->args->program,
			    d->result->unreadable - d->nr_kept);
	text_out_flush(&d->messages);
}

int dump_emit_kept(struct dump *d)
{
	int r = 0;

	for (size_t i = 0; i < d->nr_kept && !r; i++)
		r = d->emitter->visitor.problem(&d->emitter->visitor, &d->kept[i]);
	return r;
}

int dump_keep_unreadable(struct dump *d, uint64_t block, int error)
{
	struct problem p = {
		.code = PROBLEM_BLOCK_UNREADABLE, .block = block, .dev_id = PROBLEM_NO_DEVICE, .error = error,
	};

	if (error == ENOMEM || error == EDEADLK)
		return -error;
	d->result->unreadable++;
	if (d->nr_kept < MAX_KEPT)
		d->kept[d->nr_kept++] = p;
	return 0;
}

bool dump_take_memory(struct dump *d, uint64_t bytes)
{
	struct bufio_client *c = d->args->client;
	uint64_t limit = bufio_get_memory_limit(c);

	return bytes <= limit / 2 && !bufio_set_memory_limit(c, limit - bytes);
}

/* So many damaged nodes are visited again for the devices that share them to be told. A hostile pool has more. */
#define MAX_RETOLD 10000

void dump_make_memo(struct dump *d, struct pd_memo *memo)
{
	uint64_t nr = d->pool.reader.nr_blocks;

	*memo = (struct pd_memo){ .retell = MAX_RETOLD };
	if (!dump_take_memory(d, saturating_mul(nr, sizeof(*memo->entries))))
		return;
	memo->entries = calloc(nr, sizeof(*memo->entries));
	if (memo->entries)
		memo->nr = nr;
}

/* Nodes above leaves, some hundredth of all, are what a walk comes back to. */
#define STREAM_BYTES (UINT64_C(16) << 20)
#define STREAM_SHARE 64

void dump_stream(struct dump *d)
{
	struct bufio_client *c = d->args->client;
	uint64_t enough = STREAM_BYTES + d->pool.reader.nr_blocks * PD_BLOCK_SIZE / STREAM_SHARE;

	if (enough < bufio_get_memory_limit(c))
		bufio_set_memory_limit(c, enough); /* cannot fail: a lower limit than before */
}

void dump_refuse_memory(struct dump *d, const char *what, uint64_t bytes)
{
	uint64_t mib = ((bufio_get_memory_limit(d->args->client) + 4 * bytes) >> 20) + 1;

	op_fail(d->result, OP_USAGE, 0,
		"%s: %s takes more memory than the limit leaves: give --memory-limit=%" PRIu64 "MiB", d->args->image,
		what, mib);
}

bool dump_need_memory(struct dump *d, const char *what, uint64_t bytes)
{
	if (dump_take_memory(d, bytes))
		return true;
	dump_refuse_memory(d, what, bytes);
	return false;
}

/* --- all --- */

static const struct {
	int (*run)(struct dump *d);
	const char *schema;
	enum text_format json;
	bool is_screen; /* for people, problems are a part of the text */
} views[NR_DUMP_VIEWS] = {
	[DUMP_SUMMARY] = { dump_summary, "bufio.summary/1", TEXT_JSON, true },
	[DUMP_LS] = { dump_ls, "bufio.ls/1", TEXT_JSON, false },
	[DUMP_MAPPINGS] = { dump_mappings, "bufio.mappings/1", TEXT_JSON_LINES, false },
	[DUMP_BLOCK] = { dump_blocks, "bufio.block/1", TEXT_JSON, false },
	[DUMP_PATH] = { dump_path, "bufio.path/1", TEXT_JSON, true },
	[DUMP_OWNER] = { dump_owner, "bufio.owner/1", TEXT_JSON_LINES, false },
	[DUMP_BAD] = { dump_bad, "bufio.bad/1", TEXT_JSON_LINES, false },
	[DUMP_DELTA] = { dump_delta, "bufio.delta/1", TEXT_JSON_LINES, false },
	[DUMP_DIFF] = { dump_diff, "bufio.diff/1", TEXT_JSON_LINES, false },
	[DUMP_MAP] = { dump_map, "bufio.map/1", TEXT_JSON, false },
	[DUMP_ROOTS] = { dump_roots, "bufio.roots/1", TEXT_JSON, false },
	[DUMP_SIZE] = { dump_size, "bufio.size/1", TEXT_JSON, false },
};

static enum text_format text_format(const struct op_dump_args *args)
{
	switch (args->format) {
	case DUMP_XML: return TEXT_XML;
	case DUMP_JSON: return views[args->view].json;
	case DUMP_HUMAN: break;
	}
	return TEXT_HUMAN;
}

static struct text_emitter *create_emitter(struct dump *d)
{
	bool is_screen = views[d->args->view].is_screen && d->args->format == DUMP_HUMAN;
	struct text_emit_args e = {
		.format = text_format(d->args),
		.out = &d->out,
		.messages = is_screen ? &d->out : &d->messages,
		.program = is_screen ? NULL : d->args->program,
		.schema = views[d->args->view].schema,
		.image = d->args->image,
		.names = d->lvm ? &d->names : NULL,
	};

	return text_emit_create(&e);
}

static void run(struct dump *d)
{
	int r = views[d->args->view].run(d);

	if (!r && d->result->outcome == OP_DONE)
		r = text_emit_finish(d->emitter);
	if (!r)
		r = text_out_flush(&d->out);
	if (r)
		dump_fail_errno(d, r);
	tell_rest(d);
}

void op_dump(const struct op_dump_args *args, struct op_result *result)
{
	struct dump *d = calloc(1, sizeof(*d));

	*result = (struct op_result){ .outcome = OP_DONE };
	if (!d) {
		op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
		return;
	}
	d->args = args;
	d->result = result;
	op_open_outputs(args->progress, &d->out, args->out_fd, &d->messages, args->message_fd);
	if (dump_open_lvm(d)) {
		d->emitter = create_emitter(d);
		if (d->emitter)
			run(d);
		else
			op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
	}
	text_emit_destroy(d->emitter);
	dump_close_lvm(d);
	free(d);
}
