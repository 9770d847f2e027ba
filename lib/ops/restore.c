// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "meta/thin_build.h"
#include "meta/thin_disk.h"
#include "meta/thin_input.h"
#include "meta/thin_size.h"
#include "ops/target.h"
#include "text/emit.h"
#include "text/xml_read.h"

/* Of the memory limit: what the tables may take. Blocks are written once, and more of them would find nothing. */
#define BUILD_SHARE 2
#define TEXT_SHARE 8
#define STREAM_BYTES (UINT64_C(16) << 20)
#define DIRTY_PERCENT 30

#define MIB(blocks) ((double)(blocks) * PD_BLOCK_SIZE / 1048576)

/* --- the target --- */

bool op_restore_target(const struct op_restore_args *args, struct op_restore_plan *plan, struct op_result *result)
{
	struct target_contents c;

	target_look(args->client, args->target, &c);
	if (c.foreign[0] && (!args->signature || strcmp(args->signature, c.foreign) != 0)) {
		op_fail(result, OP_REFUSED, 0,
			"%s: holds what would be lost: %s; is this the right target? --force-signature=%s overwrites it",
			args->target, c.what, c.foreign);
		return false;
	}
	snprintf(plan->replaced, sizeof(plan->replaced), "%s", c.what);
	return true;
}

/* --- reading --- */

static struct thin_input_args input_args(const struct op_restore_args *args, const struct op_restore_plan *plan)
{
	return (struct thin_input_args){
		.overrides = {
			.has_transaction = args->overrides.has_transaction,
			.transaction = args->overrides.transaction,
			.data_block_size = (uint32_t)(args->overrides.data_block_bytes / 512),
			.nr_data_blocks = args->overrides.nr_data_blocks,
		},
		.count_mapped = args->count_mapped,
		.is_lenient = args->is_lenient,
		.has_data_blocks = plan->is_known,
		.data_blocks = plan->needed_data_blocks,
		.memory = args->memory_limit / TEXT_SHARE / 2,
	};
}

/* "FILE:LINE:COLUMN: <ELEMENT>: " in front of what is wrong. */
static void say_where(const struct op_restore_args *args, const struct text_xml_error *e, char *text, size_t size)
{
	int n = snprintf(text, size, "%s", args->input);

	if (e->line && n > 0 && (size_t)n < size)
		n += snprintf(text + n, size - (size_t)n, ":%" PRIu64 ":%" PRIu64, e->line, e->column);
	if (e->line && e->element[0] && n > 0 && (size_t)n < size)
		snprintf(text + n, size - (size_t)n, ": <%s>", e->element);
}

static void fail_text(const struct op_restore_args *args, const struct text_xml_error *e, const char *reason,
		      const char *advice, enum op_outcome outcome, int error, struct op_result *result)
{
	char where[OP_REASON_MAX / 2];

	say_where(args, e, where, sizeof(where));
	op_fail(result, outcome, error, "%s: %s%s", where, e->reason[0] ? e->reason : reason, advice);
}

/* @advice goes behind the reason; @outcome is what it means for the target. */
static void fail_input(const struct op_restore_args *args, int error, const struct text_xml_error *e,
		       const struct thin_input *input, const char *advice, enum op_outcome outcome,
		       struct op_result *result)
{
	if (error == -EINVAL)
		fail_text(args, e, thin_input_reason(input), advice, outcome, error, result);
	else if (error == -E2BIG)
		fail_text(args, e, "there are more defs or devices than the memory limit has room for: give a larger "
			  "--memory-limit", advice, outcome, error, result);
	else
		op_fail(result, outcome, error, "%s: %s%s", args->input, strerror(-error), advice);
}

static bool fail_memory(struct op_result *result)
{
	op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
	return false;
}

static int read_text(const struct op_restore_args *args, struct thin_input *input, struct text_xml_error *e)
{
	struct text_xml_args xml = {
		.fd = args->in_fd,
		.memory = args->memory_limit / TEXT_SHARE / 2,
		.is_lenient = args->is_lenient,
		.progress = args->progress ? &args->progress->blocks : NULL,
	};

	return text_xml_read(&xml, thin_input_visitor(input), e);
}

/* --- the plan --- */

/* Binary metadata where text belongs, most likely because input and output were swapped. */
static bool is_metadata(const struct op_restore_args *args, off_t start, struct op_result *result)
{
	uint8_t block[PD_BLOCK_SIZE];
	const struct meta_format *format;

	if (pread(args->in_fd, block, sizeof(block), start) != (ssize_t)sizeof(block))
		return false;
	format = meta_probe(block);
	if (format)
		op_fail(result, OP_INPUT, 0, "%s: is binary %s, not XML; are input and output swapped?", args->input,
			format->name);
	return format;
}

static void use_totals(struct op_restore_plan *plan, const struct thin_input_totals *totals)
{
	plan->is_known = true;
	plan->blocks = totals->blocks;
	plan->needed_data_blocks = totals->needed_data_blocks;
	plan->advised_blocks = thin_blocks_advised(totals->blocks, totals->nr_data_blocks ? totals->nr_data_blocks :
						   totals->needed_data_blocks, totals->devices);
}

uint64_t op_restore_new_size(const struct op_restore_plan *plan)
{
	return (plan->is_known ? plan->advised_blocks : PD_MAX_METADATA_BLOCKS) * PD_BLOCK_SIZE;
}

/* A pipe is read once: then what is wrong with the text is found while it is written. */
bool op_restore_plan(const struct op_restore_args *args, struct op_restore_plan *plan, struct op_result *result)
{
	off_t start = lseek(args->in_fd, 0, SEEK_CUR), end = start < 0 ? -1 : lseek(args->in_fd, 0, SEEK_END);
	struct thin_input_args in = input_args(args, plan);
	struct thin_input_totals totals;
	struct text_xml_error error;
	struct thin_input *input;
	int r;

	if (end < 0)
		return true;
	lseek(args->in_fd, start, SEEK_SET);
	if (is_metadata(args, start, result))
		return false;
	if (thin_input_create(&in, NULL, &input))
		return fail_memory(result);
	if (args->progress)
		args->progress->total = 2 * (uint64_t)(end - start) / 4096;
	r = read_text(args, input, &error);
	if (r)
		fail_input(args, r, &error, input, "", r == -E2BIG || r == -ENOMEM ? OP_INTERNAL : OP_INPUT, result);
	thin_input_get_totals(input, &totals);
	thin_input_destroy(input);
	lseek(args->in_fd, start, SEEK_SET);
	if (!r)
		use_totals(plan, &totals);
	return !r;
}

/* --- writing --- */

static bool has_room(const struct op_restore_args *args, const struct op_restore_plan *plan, struct op_result *result)
{
	uint64_t blocks = bufio_get_device_size(args->client);

	if (plan->is_known && plan->blocks > PD_MAX_METADATA_BLOCKS)
		op_fail(result, OP_REFUSED, 0,
			"%s: takes %" PRIu64 " blocks of metadata, and the kernel uses no more than %" PRIu64, args->input,
			plan->blocks, PD_MAX_METADATA_BLOCKS);
	else if (plan->is_known && plan->blocks > blocks)
		op_fail(result, OP_REFUSED, 0,
			"%s: is too small: it has %" PRIu64 " blocks of 4 KiB, and %" PRIu64 " (%.1f MiB) are needed; with "
			"room to go on in, make it %" PRIu64 " (%.0f MiB)", args->target, blocks, plan->blocks,
			MIB(plan->blocks), plan->advised_blocks, MIB(plan->advised_blocks));
	else
		return true;
	return false;
}

/* A file that was made for this will be removed. */
static const char *what_is_left(const struct op_restore_args *args, bool is_text)
{
	if (args->is_new)
		return "";
	return is_text ? "; the target is marked as not finished: mend the XML and run this again" :
			 "; the target is marked as not finished: run this again";
}

static void fail_target(const struct op_restore_args *args, int error, struct op_result *result)
{
	uint64_t blocks = bufio_get_device_size(args->client);
	enum op_outcome outcome = args->is_new ? OP_OUTPUT : OP_PARTLY;
	const char *left = what_is_left(args, false);

	if (error == -ENOSPC)
		op_fail(result, outcome, error,
			"%s: is too small: its %" PRIu64 " blocks of 4 KiB are full, some more are needed%s", args->target,
			blocks, left);
	else
		op_fail(result, outcome, error, "%s: cannot be written: %s%s", args->target, strerror(-error), left);
}

/* Whose error it was: the text's, the tables', or the target's. */
static void fail_write(const struct op_restore_args *args, int error, const struct text_xml_error *e,
		       const struct thin_input *input, bool has_begun, struct op_result *result)
{
	bool is_ours = error == -E2BIG || error == -ENOMEM, is_text = error == -EINVAL || e->reason[0];
	bool is_left = has_begun && !args->is_new;

	if (!is_text && !is_ours)
		fail_target(args, error, result);
	else
		fail_input(args, error, e, input, is_left ? what_is_left(args, is_text) : "",
			   is_left ? OP_PARTLY : is_ours ? OP_INTERNAL : OP_INPUT, result);
}

static int show(const struct op_restore_args *args, const struct op_restore_plan *plan,
		const struct thin_build_result *built)
{
	struct record_restore record = {
		.input = args->input,
		.target = args->target,
		.replaced = plan->replaced[0] ? plan->replaced : NULL,
		.devices = built->devices,
		.mappings = built->mappings,
		.used_blocks = built->used_blocks,
		.total_blocks = built->nr_blocks,
		.used_data_blocks = built->used_data_blocks,
		.total_data_blocks = built->data_blocks,
		.passes = built->passes,
	};
	struct text_out *out = malloc(sizeof(*out));
	struct text_emitter *e = NULL;
	char text[sizeof(plan->replaced) + 32];
	int r = out ? 0 : -ENOMEM;

	snprintf(text, sizeof(text), "replaced  %s\n", plan->replaced);
	record.replaced_text = plan->replaced[0] ? text : "";
	if (!r) {
		text_out_init(out, args->out_fd);
		e = text_emit_create(&(struct text_emit_args){
			.format = args->json ? TEXT_JSON : TEXT_HUMAN, .out = out, .messages = out,
			.schema = "bufio.restore/1", .image = args->target,
		});
		r = e ? 0 : -ENOMEM;
	}
	if (!r)
		r = e->visitor.begin(&e->visitor, RECORD_RESTORE, &record);
	if (!r)
		r = e->visitor.end(&e->visitor, RECORD_RESTORE, &record);
	if (!r)
		r = text_emit_finish(e);
	if (!r)
		r = text_out_flush(out);
	text_emit_destroy(e);
	free(out);
	return r;
}

/* Takes the tables out of the limit, and begins to write early. */
static int set_memory(const struct op_restore_args *args, uint64_t *build)
{
	uint64_t limit = args->memory_limit, rest;

	*build = limit / BUILD_SHARE;
	rest = limit - *build - limit / TEXT_SHARE;
	bufio_set_dirty_percent(args->client, DIRTY_PERCENT);
	return bufio_set_memory_limit(args->client, rest < STREAM_BYTES ? rest : STREAM_BYTES);
}

static bool write_pool(const struct op_restore_args *args, const struct op_restore_plan *plan, struct thin_build *build,
		       struct op_result *result)
{
	struct thin_input_args in = input_args(args, plan);
	struct text_xml_error error;
	struct thin_input *input;
	int r;

	if (thin_input_create(&in, thin_build_visitor(build), &input))
		return fail_memory(result);
	r = read_text(args, input, &error);
	if (r)
		fail_write(args, r, &error, input, thin_build_has_begun(build), result);
	thin_input_destroy(input);
	return !r;
}

bool op_restore(const struct op_restore_args *args, const struct op_restore_plan *plan, struct op_result *result)
{
	struct thin_build_args build_args = { .client = args->client, .has_any_size = args->is_new && !plan->is_known };
	struct thin_build_result built;
	struct thin_build *build = NULL;
	bool ok;
	int r;

	*result = (struct op_result){ .outcome = OP_DONE };
	if (!has_room(args, plan, result))
		return false;
	if (set_memory(args, &build_args.memory) || thin_build_create(&build_args, &build)) {
		op_fail(result, OP_USAGE, -ENOMEM, "%s: reference counts of %" PRIu64 " blocks take more than the memory limit "
			"leaves: give --memory-limit=%" PRIu64 "MiB", args->target, bufio_get_device_size(args->client),
			(BUILD_SHARE * thin_build_least_memory(args->client) >> 20) + 1);
		return false;
	}
	ok = write_pool(args, plan, build, result);
	thin_build_get_result(build, &built);
	thin_build_destroy(build);
	if (!ok)
		return false;
	result->blocks = built.nr_blocks;
	r = args->out_fd < 0 ? 0 : show(args, plan, &built);
	if (r)
		op_fail(result, OP_OUTPUT, r, "output: %s; %s is finished and good", strerror(-r), args->target);
	return !r;
}
