// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * repair --in-place: what needs no new trees of mappings is mended in one transaction. The pool is judged; mended in the
 * transaction; and checked there: only what is clean then is committed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/io_journal.h"
#include "meta/thin_disk.h"
#include "meta/thin_mend.h"
#include "ops/check_memory.h"
#include "ops/journal.h"
#include "ops/repair.h"
#include "ops/target.h"
#include "text/emit.h"

/* Judging, mending, checking. */
#define NR_ROUNDS 3

struct in_place {
	const struct op_repair_args *args;
	struct op_result *result;
	struct text_out out, messages;
	struct thin_pool pool;
	struct thin_mend mend;
	uint64_t limit; /* of memory, for all */
	struct bufio_device *journal;
	char path[OP_JOURNAL_PATH_MAX]; /* of it */
	uint64_t nr_changed;
	bool is_committed;
	char quoted[OP_REASON_MAX]; /* the image, for commands */
};

static bool fail(struct in_place *p, enum op_outcome outcome, int error, const char *why)
{
	op_fail(p->result, outcome, error, "%s: %s", p->args->input, why);
	return false;
}

static bool fail_errno(struct in_place *p, int error)
{
	op_fail_errno(p->result, p->args->input, error);
	return false;
}

/* --- what there is to be done --- */

static bool probe(struct in_place *p)
{
	char reason[OP_REASON_MAX];
	const struct meta_format *f;
	int error;

	f = target_probe(p->args->client, p->args->input, reason, sizeof(reason), &error);
	if (f && f->is_supported)
		return true;
	if (error)
		return fail_errno(p, error);
	if (f)
		op_fail(p->result, OP_NOT_METADATA, 0, "%s: %s, which this version cannot repair", p->args->input, f->name);
	else
		op_fail(p->result, OP_NOT_METADATA, 0, "%s", reason);
	return false;
}

/* 0: the result says why. */
static uint64_t take_memory(struct in_place *p, const struct thin_pool *pool, struct bufio_client *c, uint64_t limit)
{
	struct check_memory m = {
		.pool = pool, .image = p->args->input, .purpose = "repair", .may_raise = p->args->may_raise_memory,
		.tables = thin_mend_bytes(pool->reader.nr_blocks), .beside = p->limit - limit,
	};

	return check_share_memory(&m, c, limit, p->result);
}

static void show_progress(struct in_place *p, struct thin_pool *pool)
{
	struct op_progress *progress = p->args->progress;

	if (!progress)
		return;
	pool->reader.progress = &progress->blocks;
	progress->total = NR_ROUNDS * pool->live.metadata_sm.nr_allocated;
}

#define TEXT_MAX 1024

/* "block 7 (mapping tree): is all zeroes". */
static void format_problem(const struct problem *why, char text[TEXT_MAX])
{
	char message[TEXT_MAX / 2];

	text_message(why, message, sizeof(message));
	if (why->block != PROBLEM_NO_BLOCK)
		snprintf(text, TEXT_MAX, "block %" PRIu64 " (%s): %s", why->block, problem_where_text(why->where), message);
	else if (why->dev_id != PROBLEM_NO_DEVICE)
		snprintf(text, TEXT_MAX, "device %" PRIu64 ": %s", why->dev_id, message);
	else
		snprintf(text, TEXT_MAX, "%s: %s", problem_where_text(why->where), message);
}

static void format_double(const struct thin_mend_place place[2], char text[TEXT_MAX])
{
	snprintf(text, TEXT_MAX, "data block %" PRIu64 " is mapped at two places, and one of them is wrong: device %" PRIu64
		 ", virtual block %" PRIu64 ", and device %" PRIu64 ", virtual block %" PRIu64,
		 place[0].value >> THIN_TIME_BITS, place[0].dev_id, place[0].virtual_block, place[1].dev_id,
		 place[1].virtual_block);
}

static bool refuse(struct in_place *p)
{
	char text[TEXT_MAX];

	if (p->mend.is_double)
		format_double(p->mend.place, text);
	else
		format_problem(&p->mend.why, text);
	op_fail(p->result, OP_REFUSED, 0,
		"%s: cannot be mended in place, and nothing was changed: %s; it needs new metadata: bufio-repair -i %.2000s -o NEW",
		p->args->input, text, p->quoted);
	return false;
}

static bool judge(struct in_place *p)
{
	struct bufio_client *c = p->args->client;
	uint64_t memory;
	int r = thin_mend_create(&p->mend, bufio_get_device_size(c));

	if (!r)
		r = thin_pool_open(&p->pool, c, &p->mend.sink);
	if (r)
		return fail_errno(p, r);
	show_progress(p, &p->pool);
	memory = p->mend.is_refused ? 1 : take_memory(p, &p->pool, c, p->limit);
	if (!memory)
		return false;
	r = thin_mend_judge(&p->mend, &p->pool, memory);
	if (r)
		return fail_errno(p, r);
	return p->mend.is_refused ? refuse(p) : true;
}

/* --- doing it --- */

/* Problems that matter, of the pool as it is in the transaction. */
struct verdict {
	struct problem_sink sink;
	uint64_t nr;
	struct problem first;
};

static void note(struct problem_sink *sink, const struct problem *problem)
{
	struct verdict *v = (struct verdict *)sink;
	bool matters = problem_severity(problem) > SEVERITY_COSMETIC || problem->code == PROBLEM_NEEDS_CHECK;

	if (!problem->is_touch && matters && !v->nr++)
		v->first = *problem;
}

static bool fail_mend(struct in_place *p, int error)
{
	if (p->mend.is_refused)
		return refuse(p);
	if (error == -ENOSPC) {
		op_fail(p->result, OP_REFUSED, error,
			"%s: there is no room for what has to be built anew, and nothing was changed; to a larger place: bufio-repair "
			"-i %.2000s -o NEW", p->args->input, p->quoted);
		return false;
	}
	if (error == -ERANGE) {
		op_fail(p->result, OP_REFUSED, error,
			"%s: cannot be mended in place, and nothing was changed: a mapping has the last time that there is, and the "
			"superblock's has to be behind it; it needs new metadata: bufio-repair -i %.2000s -o NEW", p->args->input,
			p->quoted);
		return false;
	}
	if (error == -EUCLEAN)
		return fail(p, OP_INPUT, error, "reads differently from time to time; nothing was changed");
	return fail_errno(p, error);
}

/* Opens the pool for a round in the transaction. 0: the result says why not. */
static uint64_t open_round(struct in_place *p, struct bufio_client *c, uint64_t limit, struct problem_sink *sink,
			   struct thin_pool *pool)
{
	int r = thin_pool_open(pool, c, sink);

	if (r) {
		fail_errno(p, r);
		return 0;
	}
	show_progress(p, pool);
	return take_memory(p, pool, c, limit);
}

static bool mend(struct in_place *p, struct bufio_client *c, uint64_t limit)
{
	struct thin_pool pool;
	uint64_t memory = open_round(p, c, limit, &problem_silent, &pool);
	int r;

	if (!memory)
		return false;
	r = thin_mend(&p->mend, &pool, memory);
	if (r)
		return fail_mend(p, r);
	r = bufio_client_reset(c); /* writes what is dirty */
	if (!r)
		r = bufio_set_memory_limit(c, limit);
	return r ? fail_errno(p, r) : true;
}

static bool verify(struct in_place *p, struct bufio_client *c, uint64_t limit)
{
	struct verdict v = { .sink = { note } };
	struct thin_check check = { 0 };
	struct thin_pool pool;
	char text[TEXT_MAX];
	int r;

	check.memory = open_round(p, c, limit, &v.sink, &pool);
	if (!check.memory)
		return false;
	r = thin_check(&pool, &check);
	if (!r)
		r = bufio_client_reset(c);
	if (r)
		return fail_errno(p, r);
	if (!v.nr)
		return true;
	format_problem(&v.first, text);
	op_fail(p->result, OP_INTERNAL, 0, "%s: could not be mended, and nothing was changed; what was left: %s",
		p->args->input, text);
	return false;
}

static int count_change(void *context, uint64_t block, const void *old, const void *new)
{
	struct in_place *p = context;

	(void)block, (void)old, (void)new;
	p->nr_changed++;
	return 0;
}

static bool commit(struct in_place *p)
{
	struct bufio_reason why = { .text = "" };
	int r = io_journal_for_each_change(p->journal, count_change, p);

	if (r)
		return fail(p, OP_INPUT, r, "the journal cannot be read");
	if (p->args->dry_run)
		return true;
	r = io_journal_commit(p->journal, &why);
	p->is_committed = !r;
	if (!r)
		return true;
	return fail(p, io_journal_is_committed(p->journal) ? OP_PARTLY : r == -ENOMEM ? OP_INTERNAL : OP_OUTPUT, r, why.text);
}

static bool with_journal(struct in_place *p)
{
	struct bufio_client *below = p->args->client;
	uint64_t floor = bufio_get_memory_floor(below), limit = p->limit - floor;
	struct bufio_client *c = bufio_client_create(p->journal, PD_BLOCK_SIZE, REPAIR_HELD_BUFFERS, 0, NULL, NULL);
	bool ok = c && !bufio_set_memory_limit(below, floor) && !bufio_set_memory_limit(c, limit);

	if (!ok)
		fail(p, OP_INTERNAL, -ENOMEM, "out of memory");
	ok = ok && mend(p, c, limit) && verify(p, c, limit) && commit(p);
	bufio_client_destroy(c);
	bufio_client_reset(below); /* the device was changed behind its back */
	return ok;
}

static int begin(struct in_place *p, struct bufio_reason *why)
{
	struct io_journal_args args = { .target = p->args->input, .stat = p->args->target_stat };
	int r = 0;

	if (p->args->journal)
		snprintf(p->path, sizeof(p->path), "%s", p->args->journal);
	else if (!p->args->dry_run)
		r = op_journal_name("repair", p->args->input, p->path);
	if (r) {
		snprintf(why->text, sizeof(why->text), "%.4000s: %s", p->path, strerror(-r));
		return r;
	}
	args.path = p->args->dry_run ? NULL : p->path;
	return io_journal_begin(bufio_get_device(p->args->client), &args, why, &p->journal);
}

static bool transact(struct in_place *p)
{
	struct bufio_reason why = { .text = "" };
	int r = begin(p, &why);
	bool ok;

	if (r) {
		op_fail(p->result, OP_REFUSED, r, "%s: no journal: %.4000s%s", p->args->input, why.text,
			p->args->dry_run ? "" : "; name another place with --journal");
		return false;
	}
	ok = with_journal(p);
	bufio_device_close(p->journal);
	return ok;
}

/* --- saying it --- */

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void format_heading(const struct in_place *p, char *text, size_t size)
{
	const struct thin_mend *m = &p->mend;
	int n = snprintf(text, size, "thin-pool metadata, transaction %" PRIu64 ", %" PRIu64 " device%s, %" PRIu64 " mapping%s",
			 p->pool.sb.trans_id, m->nr_devices, plural(m->nr_devices), m->nr_mappings, plural(m->nr_mappings));

	if (thin_mend_is_needed(m))
		snprintf(text + n, size - (size_t)n, "\n\n%s", p->is_committed ? "Mended:" : "To be mended:");
}

static int add(char *text, size_t size, int n, const char *more)
{
	return n + snprintf(text + n, size - (size_t)n, "%s", more);
}

/* What was built anew, and how it is taken back. */
static void format_text(const struct in_place *p, const char *undo, char *text, size_t size)
{
	const struct thin_mend *m = &p->mend;
	int n = 0;

	if (!thin_mend_is_needed(m)) {
		snprintf(text, size, "Nothing has to be done, and nothing was changed.");
		return;
	}
	if (m->needs_details)
		n = add(text, size, n, "The device details are built anew");
	if (m->needs_details && m->nr_new_details)
		n += snprintf(text + n, size - (size_t)n, ", for %" PRIu64 " of %" PRIu64 " device%s with times that make "
			      "every block count as shared", m->nr_new_details, m->nr_devices, plural(m->nr_devices));
	if (m->needs_details)
		n = add(text, size, n, ".\n");
	if (m->needs_maps)
		n = add(text, size, n, "Both space maps are built anew from what the trees lead to.\n");
	if (p->is_committed)
		snprintf(text + n, size - (size_t)n, "%" PRIu64 " block%s changed, and the result was checked; to take that "
			 "back: %s", p->nr_changed, plural(p->nr_changed), undo);
	else
		snprintf(text + n, size - (size_t)n, "%" PRIu64 " block%s would change. Nothing was written.", p->nr_changed,
			 plural(p->nr_changed));
}

static int show_mended(const struct in_place *p, struct meta_visitor *v)
{
	int r = 0;

	for (unsigned kind = MEND_BY_WHERE + 1; kind < NR_MENDS && !r; kind++) {
		struct record_mended record = {
			.what = thin_mend_name(kind), .count = p->mend.nr[kind], .text = thin_mend_text(kind),
		};

		if (record.count)
			r = v->record(v, RECORD_MENDED, &record);
	}
	return r;
}

static const char *state_of(const struct in_place *p)
{
	if (!thin_mend_is_needed(&p->mend))
		return "sound";
	return p->is_committed ? "mended" : "plan";
}

static int show(const struct in_place *p, struct text_emitter *e)
{
	const struct thin_mend *m = &p->mend;
	char heading[256], journal[OP_REASON_MAX], undo[3 * OP_REASON_MAX], text[4 * OP_REASON_MAX];
	struct record_in_place record = {
		.image = p->args->input, .state = state_of(p), .transaction = p->pool.sb.trans_id,
		.time = thin_mend_is_needed(m) ? m->time : p->pool.sb.time, .devices = m->nr_devices,
		.mappings = m->nr_mappings, .blocks = p->nr_changed, .passes = m->passes,
		.new_details = m->nr_new_details,
		.has_new_details = m->needs_details, .has_new_maps = m->needs_maps, .heading = heading, .text = text,
		.journal = p->is_committed ? p->path : NULL, .undo = p->is_committed ? undo : NULL,
	};
	struct meta_visitor *v = &e->visitor;
	int r;

	op_quote(p->path, journal, sizeof(journal));
	snprintf(undo, sizeof(undo), "bufio-repair --undo=%s %s", journal, p->quoted);
	format_heading(p, heading, sizeof(heading));
	format_text(p, undo, text, sizeof(text));
	r = v->begin(v, RECORD_IN_PLACE, &record);
	if (!r)
		r = show_mended(p, v);
	if (!r)
		r = v->end(v, RECORD_IN_PLACE, &record);
	return r ? r : text_emit_finish(e);
}

static void show_report(struct in_place *p)
{
	struct text_emitter *e;
	int r;

	if (p->args->out_fd < 0)
		return;
	e = text_emit_create(&(struct text_emit_args){
		.format = p->args->json ? TEXT_JSON : TEXT_HUMAN, .out = &p->out, .messages = &p->messages,
		.schema = "bufio.repair-in-place/1", .image = p->args->input,
	});
	r = e ? show(p, e) : -ENOMEM;
	if (!r)
		r = text_out_flush(&p->out);
	if (r)
		op_fail(p->result, OP_OUTPUT, r, "output: %s%s%s", strerror(-r),
			p->is_committed ? "; the repair is done, and its journal is " : "", p->is_committed ? p->path : "");
	text_emit_destroy(e);
}

/* --- all --- */

static void run(struct in_place *p)
{
	p->limit = bufio_get_memory_limit(p->args->client);
	if (!probe(p) || !judge(p) || (thin_mend_is_needed(&p->mend) && !transact(p)))
		return;
	p->result->blocks = p->is_committed ? p->nr_changed : 0;
	show_report(p);
}

void op_repair_in_place(const struct op_repair_args *args, struct op_result *result)
{
	struct in_place *p = calloc(1, sizeof(*p));

	*result = (struct op_result){ .outcome = OP_DONE };
	if (!p) {
		op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
		return;
	}
	p->args = args;
	p->result = result;
	op_quote(args->input, p->quoted, sizeof(p->quoted));
	op_open_outputs(args->progress, &p->out, args->out_fd, &p->messages, args->message_fd);
	run(p);
	thin_mend_destroy(&p->mend);
	free(p);
}
