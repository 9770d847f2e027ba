// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/patch_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io_journal.h"
#include "ops/target.h"

/* --- the script --- */

/* Whole, and no more of it than a script may have: one byte beyond that is enough for the parser to say so. */
static int read_all(int fd, char **text, size_t *size)
{
	size_t room = 65536, used = 0;
	char *data = malloc(room), *more;
	ssize_t n = 1;

	while (data && used <= SCRIPT_MAX_BYTES && (n = read(fd, data + used, room - used)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		used += n > 0 ? (size_t)n : 0;
		if (used < room)
			continue;
		more = realloc(data, room *= 2);
		if (!more)
			free(data);
		data = more;
	}
	if (!data)
		return -ENOMEM;
	*text = data;
	*size = used;
	return n < 0 ? -errno : 0;
}

static int parse(const char *name, const char *text, size_t size, struct op_script *s, char error[SCRIPT_ERROR_MAX])
{
	int r = text_script_parse(name, text, size, &s->script, error);

	if (r)
		return r;
	if (!patch_check_types(&s->script, error)) {
		text_script_free(&s->script);
		return -EINVAL;
	}
	while (!s->script.volumes[s->target].is_target)
		s->target++;
	return 0;
}

bool op_script_read(const char *name, int fd, struct op_script **script, struct op_result *result)
{
	struct op_script *s = calloc(1, sizeof(*s));
	char *text = NULL, error[SCRIPT_ERROR_MAX];
	size_t size = 0;
	int r = s ? read_all(fd, &text, &size) : -ENOMEM;

	if (r)
		op_fail(result, r == -ENOMEM ? OP_INTERNAL : OP_INPUT, r, "%s: %s", name, strerror(-r));
	if (!r && (r = parse(name, text, size, s, error)))
		op_fail(result, r == -EINVAL ? OP_USAGE : OP_INTERNAL, r, "%s", r == -EINVAL ? error : strerror(-r));
	free(text);
	if (r)
		free(s);
	else
		*script = s;
	return !r;
}

void op_script_free(struct op_script *script)
{
	if (script)
		text_script_free(&script->script);
	free(script);
}

unsigned op_script_nr_volumes(const struct op_script *script)
{
	return script->script.nr_volumes;
}

const char *op_script_volume(const struct op_script *script, unsigned i)
{
	return script->script.volumes[i].name;
}

unsigned op_script_target(const struct op_script *script)
{
	return script->target;
}

uint32_t op_script_block_size(const struct op_script *script)
{
	return script->script.block_size;
}

/* --- failing --- */

bool patch_fail(struct patch *p, enum op_outcome outcome, const struct script_place *place, const char *format, ...)
{
	char text[SCRIPT_ERROR_MAX], error[SCRIPT_ERROR_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	text_script_error(p->script, place, error, "%s", text);
	op_fail(p->result, outcome, 0, "%s", error);
	return false;
}

/* The transaction reads what a block was, and writes it and what it is to be. */
static bool fail_unkept(struct patch *p, int error)
{
	op_fail(p->result, OP_OUTPUT, error, "%s: block %" PRIu64 " cannot be kept in %s: %s; nothing was written",
		p->target->path, p->unkept, p->journal_path[0] ? p->journal_path : "the plan", strerror(-error));
	return false;
}

bool patch_fail_block(struct patch *p, const struct patch_volume *v, uint64_t block)
{
	int e = errno;

	if (e == ENOMEM || e == EDEADLK)
		op_fail_errno(p->result, v->path, -e);
	else if (p->has_unkept && v == p->target)
		fail_unkept(p, -e);
	else
		op_fail(p->result, OP_INPUT, -e, "%s: block %" PRIu64 ": %s%s", v->path, block, strerror(e),
			p->is_committed ? "" : "; nothing was written");
	return false;
}

/* False: the output is not whole. */
static bool flush_output(struct patch *p)
{
	if (text_out_flush(&p->out))
		op_fail(p->result, OP_OUTPUT, p->out.error, "output: %s", strerror(-p->out.error));
	return !p->out.error;
}

/* What goes wrong when the target was written is no word on that. */
static bool fail_committed(struct patch *p, enum op_outcome outcome)
{
	char why[OP_REASON_MAX];

	snprintf(why, sizeof(why), "%s", p->result->reason);
	op_fail(p->result, outcome, p->result->error, "%s\n%s was written; to undo that: --undo=%s", why, p->target->path,
		p->journal_path);
	return false;
}

/* --- running it --- */

static bool run_let(struct patch *p, const struct script_op *op)
{
	return patch_number(p, op->value, &p->lets[op->let]);
}

/* For when all is done. */
static bool run_verify(struct patch *p, const struct script_op *op)
{
	(void)p;
	(void)op;
	return true;
}

static bool (*const verbs[])(struct patch *p, const struct script_op *op) = {
	[SCRIPT_FENCE] = patch_fence, [SCRIPT_EXPECT] = patch_expect, [SCRIPT_LET] = run_let, [SCRIPT_SET] = patch_set,
	[SCRIPT_PATCH] = patch_bytes, [SCRIPT_COPY] = patch_copy, [SCRIPT_MOVE] = patch_copy, [SCRIPT_FILL] = patch_fill,
	[SCRIPT_SAVE] = patch_save, [SCRIPT_CHECKSUM] = patch_checksum, [SCRIPT_VERIFY] = run_verify,
};

/* For the reason of a write that fails, which only says that one has. */
static void note_unkept(void *context, enum bufio_report what, uint64_t block, int error)
{
	struct patch *p = context;

	(void)error;
	if (what != BUFIO_REPORT_WRITE_ERROR)
		return;
	p->has_unkept = true;
	p->unkept = block;
}

static bool keep(struct patch *p)
{
	int r = bufio_write_dirty_buffers(p->target->client);

	if (r == -ENOMEM)
		op_fail_errno(p->result, p->target->path, r);
	else if (r)
		fail_unkept(p, r);
	return !r;
}

/* All of it, into the transaction. */
static bool run_script(struct patch *p)
{
	if (!patch_identify(p))
		return false;
	for (unsigned i = 0; i < p->script->nr_ops; i++)
		if (!verbs[p->script->ops[i].verb](p, &p->script->ops[i]))
			return false;
	return patch_verify(p, p->target->client, OP_EXPECT) && keep(p);
}

/* --- committing it --- */

static bool refuse(struct patch *p, const char *format, const char *a, const char *b)
{
	char text[256];

	snprintf(text, sizeof(text), format, a, b);
	op_fail(p->result, OP_REFUSED, 0, "%s: %s; nothing was written", p->target->path, text);
	return false;
}

static bool may_commit(struct patch *p, const struct patch_totals *t)
{
	const struct op_patch_args *a = p->args;

	if (a->digest && strcmp(a->digest, t->digest) != 0)
		return refuse(p, "this is not the plan %.32s, but %s: the script or the target is another, or was changed since",
			      a->digest, t->digest);
	if (!flush_output(p))
		return false;
	if (a->confirm && !a->confirm(a->context, t->digest))
		return refuse(p, "not confirmed%s%s", "", "");
	return true;
}

/* Holes where zeroes were asked for that need no room: of a file, where it is certain that they read as zeroes. */
static void discard(struct patch *p, struct bufio_client *below)
{
	const struct stat *st = p->args->volumes[p->target - p->volumes].stat;

	if (!st || !S_ISREG(st->st_mode))
		return;
	for (uint64_t i = 0; i < p->nr_discards; i++)
		for (uint64_t block = p->discards[i].begin; block < p->discards[i].end; block++)
			if (patch_is_zero(p, block))
				bufio_issue_discard(below, block, 1);
}

static bool commit(struct patch *p, const struct patch_totals *t)
{
	struct bufio_reason why = { .text = "" };
	struct bufio_client *below = p->args->volumes[p->target - p->volumes].client;
	int r = io_journal_commit(p->journal, &why);

	if (r) {
		op_fail(p->result, io_journal_is_committed(p->journal) ? OP_PARTLY : r == -ENOMEM ? OP_INTERNAL : OP_OUTPUT, r,
			"%s", why.text);
		return false;
	}
	p->is_committed = true;
	r = bufio_client_reset(p->target->client);
	if (r)
		op_fail_errno(p->result, p->target->path, r);
	discard(p, below);
	if (r || !patch_verify(p, p->target->client, OP_DIFFERS))
		return fail_committed(p, OP_DIFFERS);
	return patch_show_end(p, t, true);
}

static bool plan_and_commit(struct patch *p)
{
	struct patch_totals totals;

	if (!run_script(p) || !patch_show_begin(p) || !patch_show(p, &totals))
		return false;
	if (!p->args->is_applied) {
		p->result->differs = totals.blocks;
		return patch_show_end(p, &totals, false);
	}
	if (!may_commit(p, &totals))
		return false;
	return totals.blocks ? commit(p, &totals) : patch_show_end(p, &totals, true);
}

/* --- the transaction --- */

static bool fail_journal(struct patch *p, int error, const char *why)
{
	op_fail(p->result, error == -ENOMEM ? OP_INTERNAL : OP_REFUSED, error, "%s: %s: %.4000s%s", p->target->path,
		p->args->is_applied ? "no journal" : "no plan", why,
		p->args->is_applied ? "; name another place with --journal" : "");
	return false;
}

/* Images are whole blocks, or parts of them that are blocks of metadata where they can be. */
static uint32_t image_size(uint32_t block_size)
{
	uint32_t size = PD_BLOCK_SIZE;

	while (block_size % size)
		size /= 2;
	return size;
}

static bool begin(struct patch *p)
{
	const struct op_patch_volume *v = &p->args->volumes[p->target - p->volumes];
	struct io_journal_args args = {
		.target = v->path, .stat = v->stat, .block_size = p->image_size, .max_memory = p->room / 4,
	};
	struct bufio_reason why = { .text = "" };
	int r = 0;

	if (p->args->is_applied && p->args->journal)
		snprintf(p->journal_path, sizeof(p->journal_path), "%s", p->args->journal);
	else if (p->args->is_applied)
		r = op_journal_name("copy", v->path, p->journal_path);
	if (r) {
		snprintf(why.text, sizeof(why.text), "%.4000s: %s", p->journal_path, strerror(-r));
		return fail_journal(p, r, why.text);
	}
	args.path = p->args->is_applied ? p->journal_path : NULL;
	r = io_journal_begin(bufio_get_device(v->client), &args, &why, &p->journal);
	return !r || fail_journal(p, r, why.text);
}

static bool fail_memory(struct patch *p, uint64_t needed)
{
	op_fail(p->result, OP_USAGE, 0, "%s: two caches of blocks of %" PRIu32 " bytes need a --memory-limit of %" PRIu64
		" bytes", p->target->path, p->block_size, needed);
	return false;
}

/* The client below is idle from here on: requests of two clients of one device would come back to either. */
static bool open_client(struct patch *p, struct bufio_client *below)
{
	uint64_t floor = bufio_get_memory_floor(below), room = p->room - p->room / 4 - p->memory;

	p->target->client = bufio_client_create(p->journal, p->block_size, PATCH_HELD_BUFFERS, 0, NULL, NULL);
	if (!p->target->client) {
		op_fail_errno(p->result, p->target->path, -errno);
		return false;
	}
	bufio_set_report(p->target->client, note_unkept, p);
	if (room < bufio_get_memory_floor(p->target->client))
		return fail_memory(p, floor + 2 * bufio_get_memory_floor(p->target->client));
	if (!bufio_set_memory_limit(below, floor) && !bufio_set_memory_limit(p->target->client, room))
		return true;
	op_fail_errno(p->result, p->target->path, -ENOMEM);
	return false;
}

/* The limit of the client below is one for all: a quarter is for the journal's tables, an eighth for ours. */
static bool with_transaction(struct patch *p)
{
	struct bufio_client *below = p->args->volumes[p->target - p->volumes].client;
	uint64_t limit = bufio_get_memory_limit(below);
	bool ok;

	p->room = limit - bufio_get_memory_floor(below);
	p->memory = p->room / 8;
	if (!begin(p))
		return false;
	ok = open_client(p, below) && plan_and_commit(p);
	bufio_client_destroy(p->target->client);
	bufio_device_close(p->journal);
	bufio_client_reset(below); /* it was changed behind its back */
	bufio_set_memory_limit(below, limit);
	return ok;
}

/* --- all --- */

static bool judge_target(struct patch *p)
{
	const struct op_patch_args *a = p->args;
	struct target_contents c;

	target_look(a->volumes[p->target - p->volumes].client, p->target->path, &c);
	if (!a->is_applied || !c.foreign[0] || (a->signature && !strcmp(a->signature, c.foreign)))
		return true;
	op_fail(p->result, OP_REFUSED, 0, "%s: is no metadata of ours, but %s; is this the right target? --force-signature=%s "
		"patches it", p->target->path, c.what, c.foreign);
	return false;
}

static bool open_run(struct patch *p)
{
	const struct op_patch_args *a = p->args;
	struct text_emit_args emit = {
		.format = a->json ? TEXT_JSON_LINES : TEXT_HUMAN, .out = &p->out, .messages = &p->messages,
		.program = a->program, .schema = "bufio.plan/1", .image = p->target->path, .is_coloured = a->is_coloured,
	};

	op_open_outputs(a->progress, &p->out, a->out_fd, &p->messages, STDERR_FILENO);
	p->emitter = text_emit_create(&emit);
	p->block = malloc(p->block_size);
	p->lets = calloc(p->script->nr_lets + 1, sizeof(*p->lets));
	if (p->emitter && p->block && p->lets)
		return true;
	op_fail(p->result, OP_INTERNAL, -ENOMEM, "out of memory");
	return false;
}

static bool judge_size(struct patch *p, const struct patch_volume *v)
{
	if (!v->nr_blocks)
		op_fail(p->result, OP_INPUT, 0, "%s: is smaller than a block of %" PRIu32 " bytes", v->path, p->block_size);
	else if (v->nr_blocks > PATCH_MAX_BYTES / p->block_size)
		op_fail(p->result, OP_INPUT, 0, "%s: is larger than the 2EiB that a script can be for", v->path);
	return p->result->outcome == OP_DONE;
}

static bool open_volumes(struct patch *p)
{
	p->volumes = calloc(p->script->nr_volumes, sizeof(*p->volumes));
	if (!p->volumes) {
		op_fail(p->result, OP_INTERNAL, -ENOMEM, "out of memory");
		return false;
	}
	for (unsigned i = 0; i < p->script->nr_volumes; i++)
		p->volumes[i] = (struct patch_volume){
			.script = &p->script->volumes[i], .path = p->args->volumes[i].path, .client = p->args->volumes[i].client,
			.nr_blocks = bufio_get_device_size(p->args->volumes[i].client),
		};
	p->target = &p->volumes[p->args->script->target];
	p->target->client = NULL;
	for (unsigned i = 0; i < p->script->nr_volumes; i++)
		if (!judge_size(p, &p->volumes[i]))
			return false;
	return true;
}

static void close_run(struct patch *p)
{
	text_emit_destroy(p->emitter);
	free(p->volumes);
	free(p->block);
	free(p->lets);
	free(p->written);
	free(p->fences);
	free(p->discards);
	free(p);
}

void op_patch(const struct op_patch_args *args, struct op_result *result)
{
	struct patch *p = calloc(1, sizeof(*p));
	bool ok;

	*result = (struct op_result){ .outcome = OP_DONE };
	if (!p) {
		op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
		return;
	}
	p->args = args;
	p->result = result;
	p->script = &args->script->script;
	p->block_size = p->script->block_size;
	p->image_size = image_size(p->block_size);
	ok = open_volumes(p) && open_run(p) && judge_target(p) && with_transaction(p);
	if (ok || result->outcome == OP_DONE) { /* else what is shown ends where it is */
		text_emit_finish(p->emitter);
		if (!flush_output(p) && p->is_committed)
			fail_committed(p, OP_OUTPUT);
	}
	text_out_flush(&p->out);
	close_run(p);
}
