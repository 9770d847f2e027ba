// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "meta/thin_build.h"
#include "meta/thin_disk.h"
#include "meta/thin_input.h"
#include "meta/thin_plan.h"
#include "meta/thin_size.h"
#include "ops/target.h"
#include "text/emit.h"
#include "text/xml_read.h"

/* Of the memory limit: what the tables may take. Blocks are written once, and more of them would find nothing. */
#define BUILD_SHARE 2
#define TEXT_SHARE 8
#define PLAN_SHARE 2 /* before there is anything to be cached */
#define STREAM_BYTES (UINT64_C(16) << 20)
#define DIRTY_PERCENT 30

/* Superblock; top level and details; of data a bitmap, its index, large counts; of metadata the same but a bitmap. */
#define EMPTY_POOL_BLOCKS 8

#define MIB(blocks) ((double)(blocks) * PD_BLOCK_SIZE / 1048576)

/* --- the target --- */

bool op_restore_target(const struct op_restore_args *args, struct op_restore_plan *plan, struct op_result *result)
{
	struct target_contents c;

	target_look(args->client, args->target, &c);
	if (!target_may_be_lost(&c, c.foreign, args->target, args->signature, result))
		return false;
	snprintf(plan->replaced, sizeof(plan->replaced), "%s", c.what);
	return true;
}

/* --- reading --- */

static struct thin_input_args input_args(const struct op_restore_args *args)
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
		       const char *reason, const char *advice, enum op_outcome outcome, struct op_result *result)
{
	if (error == -EINVAL)
		fail_text(args, e, reason, advice, outcome, error, result);
	else if (error == -E2BIG)
		fail_text(args, e, "there are more defs or devices than the memory limit has room for: give a larger "
			  "--memory-limit", advice, outcome, error, result);
	else
		op_fail(result, outcome, error, "%s: %s%s", args->input, strerror(-error), advice);
}

/* Records go through a judge to @v. What is wrong is in *@e, or else in *@reason. */
static int read_text(const struct op_restore_args *args, const struct thin_input_args *in, struct meta_visitor *v,
		     struct text_xml_error *e, char reason[THIN_INPUT_REASON_MAX])
{
	struct text_xml_args xml = {
		.fd = args->in_fd,
		.memory = args->memory_limit / TEXT_SHARE / 2,
		.is_lenient = args->is_lenient,
		.progress = args->progress ? &args->progress->blocks : NULL,
	};
	struct thin_input *input;
	int r = thin_input_create(in, v, &input);

	*e = (struct text_xml_error){ 0 };
	*reason = '\0';
	if (r)
		return r;
	r = text_xml_read(&xml, thin_input_visitor(input), e);
	snprintf(reason, THIN_INPUT_REASON_MAX, "%s", thin_input_reason(input));
	thin_input_destroy(input);
	return r;
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

static void use_totals(struct op_restore_plan *plan, const struct thin_plan_totals *t)
{
	plan->is_known = true;
	plan->blocks = t->blocks;
	plan->needed_data_blocks = t->needed_data_blocks;
	plan->advised_blocks = thin_blocks_advised(thin_blocks_with_bitmaps(t->blocks), t->nr_data_blocks ? t->nr_data_blocks :
						   t->needed_data_blocks, t->devices);
}

uint64_t op_restore_new_size(const struct op_restore_plan *plan)
{
	return (plan->is_known ? plan->advised_blocks : PD_MAX_METADATA_BLOCKS) * PD_BLOCK_SIZE;
}

/* So many passes more are to come over an input of so many bytes. */
static void expect_passes(const struct op_restore_args *args, unsigned passes, off_t bytes)
{
	if (args->progress)
		args->progress->total += passes * (uint64_t)bytes / 4096;
}

/* More than once if there is not memory enough for all counts. */
static int make_plan(const struct op_restore_args *args, off_t start, off_t bytes, struct thin_plan_totals *totals,
		     struct text_xml_error *e, char reason[THIN_INPUT_REASON_MAX])
{
	struct thin_input_args in = input_args(args);
	struct thin_plan *p;
	int r = thin_plan_create(args->memory_limit / PLAN_SHARE, &p);

	if (r)
		return r;
	in.unknown_data_blocks = DATA_BLOCKS_MAY_BE_ANY;
	do {
		lseek(args->in_fd, start, SEEK_SET);
		r = read_text(args, &in, thin_plan_visitor(p), e, reason);
		if (!r)
			r = thin_plan_again(p);
		if (r > 0)
			expect_passes(args, 1, bytes);
	} while (r > 0);
	thin_plan_get_totals(p, totals);
	thin_plan_destroy(p);
	return r;
}

/* A pipe is read once: then what is wrong with the text is found while it is written. */
bool op_restore_plan(const struct op_restore_args *args, struct op_restore_plan *plan, struct op_result *result)
{
	off_t start = lseek(args->in_fd, 0, SEEK_CUR), end = start < 0 ? -1 : lseek(args->in_fd, 0, SEEK_END);
	char reason[THIN_INPUT_REASON_MAX] = "";
	struct text_xml_error error = { 0 };
	struct thin_plan_totals totals;
	int r;

	if (end < 0)
		return true;
	lseek(args->in_fd, start, SEEK_SET);
	if (is_metadata(args, start, result))
		return false;
	expect_passes(args, 2, end - start);
	r = make_plan(args, start, end - start, &totals, &error, reason);
	lseek(args->in_fd, start, SEEK_SET);
	if (r)
		fail_input(args, r, &error, reason, "", r == -E2BIG || r == -ENOMEM ? OP_INTERNAL : OP_INPUT, result);
	else
		use_totals(plan, &totals);
	return !r;
}

/* --- writing --- */

static uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

static bool has_room(const struct op_restore_args *args, const struct op_restore_plan *plan, struct op_result *result)
{
	uint64_t blocks = bufio_get_device_size(args->client);
	uint64_t least = plan->is_known ? plan->blocks : EMPTY_POOL_BLOCKS, needed = thin_blocks_with_bitmaps(least);
	uint64_t advised = plan->is_known ? plan->advised_blocks : thin_blocks_advised(needed, 0, 0);

	if (needed > PD_MAX_METADATA_BLOCKS)
		op_fail(result, OP_REFUSED, 0,
			"%s: takes %" PRIu64 " blocks of metadata, and the kernel uses no more than %" PRIu64, args->input,
			needed, PD_MAX_METADATA_BLOCKS);
	else if (least + pd_bitmaps(at_most(blocks, PD_MAX_METADATA_BLOCKS)) > blocks)
		op_fail(result, OP_REFUSED, 0,
			"%s: is too small: it has %" PRIu64 " blocks of 4 KiB, and %" PRIu64 " (%.1f MiB) are needed; with "
			"room to go on in, make it %" PRIu64 " (%.0f MiB)", args->target, blocks, needed, MIB(needed),
			advised, MIB(advised));
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

	if (error == -ENOSPC)
		op_fail(result, outcome, error,
			"%s: is too small: its %" PRIu64 " blocks of 4 KiB are full%s", args->target, blocks,
			args->is_new ? "" : "; it is marked as not finished: take a larger one");
	else
		op_fail(result, outcome, error, "%s: cannot be written: %s%s", args->target, strerror(-error),
			what_is_left(args, false));
}

/* Whose error it was: the text's, the tables', or the target's. */
static void fail_write(const struct op_restore_args *args, int error, const struct text_xml_error *e,
		       const char *reason, bool has_begun, struct op_result *result)
{
	bool is_ours = error == -E2BIG || error == -ENOMEM, is_text = error == -EINVAL || e->reason[0];
	bool is_left = has_begun && !args->is_new;

	if (!is_text && !is_ours)
		fail_target(args, error, result);
	else
		fail_input(args, error, e, reason, is_left ? what_is_left(args, is_text) : "",
			   is_left ? OP_PARTLY : is_ours ? OP_INTERNAL : OP_INPUT, result);
}

/*
 * The kernel keeps a tenth of the metadata for itself, 4096 blocks at most (drivers/md/dm-thin-metadata.c), and wants two
 * blocks more for the first write (measured with Linux 6.1).
 */
static bool has_reserve(const struct thin_build_result *built)
{
	uint64_t reserve = at_most(built->nr_blocks / 10, 4096);

	return built->used_blocks + reserve + 2 <= built->nr_blocks;
}

static const char no_reserve[] = "The kernel keeps a tenth of the metadata for itself, and so will activate this pool "
				 "read only: make the\nmetadata larger first.\n";

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
		.is_writable = has_reserve(built),
	};
	char text[sizeof(plan->replaced) + 32];

	snprintf(text, sizeof(text), "replaced  %s\n", plan->replaced);
	record.replaced_text = plan->replaced[0] ? text : "";
	record.reserve_text = record.is_writable ? "" : no_reserve;
	return op_show_record(args->out_fd, args->json, "bufio.restore/1", args->target, RECORD_RESTORE, &record);
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
	struct thin_input_args in = input_args(args);
	char reason[THIN_INPUT_REASON_MAX];
	struct text_xml_error error;
	int r;

	if (plan->is_known) {
		in.unknown_data_blocks = DATA_BLOCKS_ARE_GIVEN;
		in.data_blocks = plan->needed_data_blocks;
	}
	r = read_text(args, &in, thin_build_visitor(build), &error, reason);
	if (r)
		fail_write(args, r, &error, reason, thin_build_has_begun(build), result);
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
	r = show(args, plan, &built);
	if (r)
		op_fail(result, OP_OUTPUT, r, "output: %s; %s is finished and good", strerror(-r), args->target);
	return !r;
}
