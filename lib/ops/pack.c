// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/pack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "io/io.h"
#include "meta/thin_build.h"
#include "meta/thin_used.h"
#include "ops/pack_file.h"
#include "ops/target.h"
#include "text/emit.h"

_Static_assert(PACK_HELD_BUFFERS >= THIN_USED_HELD_BUFFERS, "the walk has room");

/* Of the memory limit: what the walk may remember; what compressing and decompressing take; what the target is given. */
#define MEMO_SHARE 4
#define ZSTD_SHARE 2
#define TARGET_SHARE 4

/* Blocks pass through once, and more of them would find nothing. */
#define STREAM_BYTES (UINT64_C(32) << 20)

#define DIRTY_PERCENT 30
#define MIB(bytes) (((bytes) >> 20) + 1)

static bool refuse_memory(const char *what, uint64_t least, struct op_result *result)
{
	op_fail(result, OP_USAGE, -ENOMEM, "%s: takes more memory than the limit leaves: give --memory-limit=%" PRIu64 "MiB",
		what, MIB(least));
	return false;
}

/* A cache of what is left of @bytes, no larger than is good. */
static bool set_cache(struct bufio_client *client, uint64_t bytes, uint64_t taken)
{
	uint64_t left = bytes > taken ? bytes - taken : 0;

	return !bufio_set_memory_limit(client, left < STREAM_BYTES ? left : STREAM_BYTES);
}

static void expect(const struct op_pack_args *args, uint64_t blocks)
{
	if (args->progress)
		args->progress->total += blocks;
}

void op_pack_plan_destroy(struct op_pack_plan *plan)
{
	if (plan->used)
		thin_used_destroy(plan->used);
	free(plan->used);
	*plan = (struct op_pack_plan){ 0 };
}

/* --- which blocks --- */

/* Where the superblock is lost there may be a pool behind it all the same. */
static bool probe(const struct op_pack_args *args, bool *is_lost, struct op_result *result)
{
	const struct meta_format *format;
	char reason[OP_REASON_MAX];
	int error;

	format = target_probe(args->client, args->source, reason, sizeof(reason), &error);
	*is_lost = !format;
	if (format && !format->is_supported)
		op_fail(result, OP_NOT_METADATA, 0, "%s: is %s, and only thin-pool metadata can be packed", args->source,
			format->name);
	else if (!format && !target_has_metadata(args->client))
		op_fail(result, error ? OP_INPUT : OP_NOT_METADATA, error, "%s", reason);
	else
		return true;
	return false;
}

static bool find_used(const struct op_pack_args *args, struct thin_used *used, struct op_result *result)
{
	struct thin_used_args find = {
		.client = args->client, .memory = args->memory_limit / MEMO_SHARE,
		.progress = args->progress ? &args->progress->blocks : NULL,
	};
	uint64_t tables = thin_used_bytes(args->client), floor = bufio_get_memory_floor(args->client);
	uint64_t left = args->memory_limit - args->memory_limit / MEMO_SHARE;
	int r;

	if (!probe(args, &find.is_lost, result))
		return false;
	if (left < tables + floor || bufio_set_memory_limit(args->client, left - tables))
		return refuse_memory(args->source, (tables + floor) * MEMO_SHARE / (MEMO_SHARE - 1), result);
	r = thin_used_find(&find, used);
	if (r)
		op_fail_errno(result, args->source, r);
	return !r;
}

bool op_used_plan(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result)
{
	struct thin_used *used = calloc(1, sizeof(*used));

	*result = (struct op_result){ .outcome = OP_DONE };
	plan->used = used;
	if (!used) {
		op_fail_errno(result, args->source, -ENOMEM);
		return false;
	}
	if (!find_used(args, used, result))
		return false;
	plan->device_bytes = bufio_device_describe(bufio_get_device(args->client))->size;
	plan->end = used->end;
	plan->blocks = used->count;
	plan->transaction = used->transaction;
	plan->by_contents = used->by_contents;
	plan->is_damaged = used->is_damaged;
	expect(args, used->count);
	return true;
}

/* --- saying --- */

#define REASON_MAX 448
#define CHOSEN_MAX (REASON_MAX + 64)

static void say_chosen(const struct op_pack_plan *plan, char reason[REASON_MAX], char text[CHOSEN_MAX])
{
	const struct problem *p = plan->used ? &plan->used->why : NULL;
	char message[320];

	*reason = '\0';
	if (!plan->by_contents) {
		snprintf(text, CHOSEN_MAX, "as the space map counts them");
		return;
	}
	if (p && p->block != PROBLEM_NO_BLOCK)
		snprintf(reason, REASON_MAX, "block %" PRIu64 " (%s) %s", p->block, problem_where_text(p->where),
			 text_message(p, message, sizeof(message)));
	else if (p)
		snprintf(reason, REASON_MAX, "%s: %s", problem_where_text(p->where), text_message(p, message, sizeof(message)));
	snprintf(text, CHOSEN_MAX, "all that are not zeroes, as the pool is damaged%s%s", *reason ? ": " : "", reason);
}

static void say_packed(const struct op_pack_plan *plan, char *text, size_t size)
{
	char all[UNITS_SIZE_MAX], packed[UNITS_SIZE_MAX];

	*text = '\0';
	if (plan->packed_bytes)
		snprintf(text, size, "; %s, packed %s", units_format_size(plan->blocks * PD_BLOCK_SIZE, all),
			 units_format_size(plan->packed_bytes, packed));
}

/* What was done is good, whether it can be said or not. */
static bool show(const struct op_pack_args *args, const struct op_pack_plan *plan, struct op_result *result)
{
	char reason[REASON_MAX], chosen[CHOSEN_MAX], packed[2 * UNITS_SIZE_MAX + 16], unreadable[96] = "", replaced[192] = "";
	struct record_pack record = {
		.source = args->source, .target = args->target,
		.replaced = plan->replaced[0] ? plan->replaced : NULL,
		.chosen_by = plan->by_contents ? "contents" : "space-map",
		.reason = reason,
		.blocks = plan->blocks, .bytes = plan->blocks * PD_BLOCK_SIZE,
		.total_blocks = plan->device_bytes / PD_BLOCK_SIZE,
		.unreadable = plan->unreadable,
		.packed_bytes = plan->packed_bytes ? plan->packed_bytes : RECORD_UNKNOWN,
		.transaction = plan->transaction,
		.is_damaged = plan->is_damaged,
		.chosen_text = chosen, .packed_text = packed, .unreadable_text = unreadable, .replaced_text = replaced,
	};
	int r;

	say_chosen(plan, reason, chosen);
	say_packed(plan, packed, sizeof(packed));
	if (!*reason)
		record.reason = NULL;
	if (plan->unreadable)
		snprintf(unreadable, sizeof(unreadable), "unreadable  %" PRIu64 " blocks more, for which zeroes stand\n",
			 plan->unreadable);
	if (plan->replaced[0])
		snprintf(replaced, sizeof(replaced), "replaced  %s\n", plan->replaced);
	r = op_show_record(args->out_fd, args->json, "bufio.pack/1", args->target, RECORD_PACK, &record);
	if (r)
		op_fail(result, OP_OUTPUT, r, "output: %s; %s is finished and good", strerror(-r), args->target);
	return !r;
}

/* --- from a pool --- */

struct transfer {
	const struct op_pack_args *args;
	const struct thin_used *used;
	uint64_t next;
	int (*put)(struct transfer *t, uint64_t block, const void *data);
	struct pack_writer *writer;
	uint8_t superblock[PD_BLOCK_SIZE];
	uint64_t unreadable;
	int error; /* of what is written, not of what is read */
};

static bool next_run(void *context, uint64_t *block, uint64_t *nr)
{
	struct transfer *t = context;

	*nr = thin_used_run(t->used, t->next, block);
	t->next = *block + *nr;
	return *nr;
}

static int take_block(void *context, uint64_t block, const void *data, int error)
{
	struct transfer *t = context;

	if (t->args->progress)
		t->args->progress->blocks++;
	if (error == -ENOMEM || error == -EDEADLK)
		return error;
	t->unreadable += !data;
	t->error = t->put(t, block, data);
	return t->error;
}

/* Every block in use, in rising order, to t->put. */
static int read_used(struct transfer *t)
{
	struct bufio_scan scan = { .next = next_run, .block = take_block, .context = t, .in_order = true };

	return bufio_scan(t->args->client, &scan);
}

static void count(struct op_pack_plan *plan, uint64_t unreadable, struct op_result *result)
{
	plan->unreadable = unreadable;
	plan->blocks -= unreadable;
	result->unreadable = unreadable;
}

/* --- packing --- */

static int put_packed(struct transfer *t, uint64_t block, const void *data)
{
	return pack_write(t->writer, block, data);
}

static int pack(struct transfer *t, const struct pack_info *info, struct pack_totals *totals)
{
	int r = t->error = pack_writer_create(t->args->packed_fd, info, &t->writer);

	if (!r)
		r = read_used(t);
	if (!r)
		r = t->error = pack_writer_finish(t->writer, totals);
	pack_writer_destroy(t->writer);
	return r;
}

bool op_pack(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result)
{
	struct transfer t = { .args = args, .used = plan->used, .put = put_packed };
	struct pack_info info = {
		.device_bytes = plan->device_bytes, .transaction = plan->transaction, .is_damaged = plan->is_damaged,
		.by_contents = plan->by_contents, .chunk_blocks = pack_chunk_blocks(args->memory_limit / ZSTD_SHARE),
	};
	uint64_t tables = thin_used_bytes(args->client);
	struct pack_totals totals;
	int r;

	*result = (struct op_result){ .outcome = OP_DONE };
	if (!info.chunk_blocks || !set_cache(args->client, args->memory_limit - args->memory_limit / ZSTD_SHARE, tables))
		return refuse_memory(args->source, ZSTD_SHARE * (pack_writer_bytes(16) + tables), result);
	r = pack(&t, &info, &totals);
	if (r && t.error && t.error != -ENOMEM)
		op_fail(result, OP_OUTPUT, r, "%s: %s", args->target, strerror(-r));
	else if (r)
		op_fail_errno(result, args->source, r);
	if (r)
		return false;
	plan->packed_bytes = totals.bytes;
	count(plan, t.unreadable, result);
	result->keeps_target = true;
	return show(args, plan, result);
}

/* --- onto a target --- */

/* A file becomes as large as the original was. */
static int grow(const struct op_pack_args *args, const struct op_pack_plan *plan)
{
	struct bufio_device *dev = bufio_get_device(args->target_client);
	int r;

	if (dev->info.block_device || dev->info.size >= plan->device_bytes)
		return 0;
	r = io_resize(dev, plan->device_bytes);
	if (!r)
		r = bufio_client_reset(args->target_client);
	return r == -EOPNOTSUPP ? 0 : r;
}

static bool has_room(const struct op_pack_args *args, const struct op_pack_plan *plan, struct op_result *result)
{
	int r = grow(args, plan);
	uint64_t blocks = bufio_get_device_size(args->target_client);

	if (r)
		op_fail(result, OP_OUTPUT, r, "%s: cannot be made %" PRIu64 " bytes large: %s", args->target, plan->device_bytes,
			strerror(-r));
	else if (blocks < plan->end)
		op_fail(result, OP_REFUSED, 0, "%s: is too small: it has %" PRIu64 " blocks of 4 KiB, and the last one of %s that "
			"is in use is block %" PRIu64, args->target, blocks, args->source, plan->end - 1);
	return result->outcome == OP_DONE;
}

bool op_pack_target(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result)
{
	struct target_contents c;

	*result = (struct op_result){ .outcome = OP_DONE };
	target_look(args->target_client, args->target, &c);
	snprintf(plan->replaced, sizeof(plan->replaced), "%s", c.what);
	return (c.is_unfinished || target_may_be_lost(&c, c.type, args->target, args->signature, result)) &&
	       has_room(args, plan, result);
}

/* Zeroes for what is not there. */
static int put_new(struct bufio_client *client, uint64_t block, const void *data)
{
	struct bufio_buffer *b;
	void *to = bufio_new(client, block, &b);

	if (!to)
		return -errno;
	if (data)
		memcpy(to, data, PD_BLOCK_SIZE);
	bufio_mark_buffer_dirty(b);
	bufio_release(b);
	return 0;
}

/* That of the superblock is kept for the end. */
static int put_on_target(struct transfer *t, uint64_t block, const void *data)
{
	if (block)
		return put_new(t->args->target_client, block, data);
	if (data)
		memcpy(t->superblock, data, PD_BLOCK_SIZE);
	return 0;
}

static int begin_target(struct transfer *t)
{
	bufio_set_dirty_percent(t->args->target_client, DIRTY_PERCENT);
	t->error = thin_build_mark_unfinished(t->args->target_client);
	return t->error;
}

static int finish_target(struct transfer *t)
{
	struct bufio_client *c = t->args->target_client;
	int r = bufio_write_dirty_buffers(c);

	if (!r)
		r = put_new(c, 0, t->superblock);
	if (!r)
		r = bufio_write_dirty_buffers(c);
	t->error = r;
	return r;
}

/* What stands there now says that it is not finished; a file that was made for this will be removed. */
static void fail_target(const struct op_pack_args *args, const struct transfer *t, int error, struct op_result *result)
{
	enum op_outcome outcome = args->is_new ? t->error ? OP_OUTPUT : OP_INPUT : OP_PARTLY;

	op_fail(result, outcome, error, "%s: %s%s", t->error ? args->target : args->source, strerror(-error),
		args->is_new ? "" : "; the target is marked as not finished: run this again");
}

/* --- copying what is in use --- */

static bool share_memory(const struct op_pack_args *args, struct op_result *result)
{
	uint64_t target = args->memory_limit / TARGET_SHARE, tables = thin_used_bytes(args->client);

	if (set_cache(args->client, args->memory_limit - target, tables) && set_cache(args->target_client, target, 0))
		return true;
	return refuse_memory(args->source, TARGET_SHARE * bufio_get_memory_floor(args->client) + tables, result);
}

bool op_used_copy(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result)
{
	struct transfer t = { .args = args, .used = plan->used, .put = put_on_target };
	int r;

	*result = (struct op_result){ .outcome = OP_DONE };
	if (!share_memory(args, result))
		return false;
	r = begin_target(&t);
	if (!r)
		r = read_used(&t);
	if (!r)
		r = finish_target(&t);
	if (r) {
		fail_target(args, &t, r, result);
		return false;
	}
	count(plan, t.unreadable, result);
	result->keeps_target = true;
	return show(args, plan, result);
}

/* --- unpacking --- */

/* Metadata where a packed file belongs, most likely because the two were swapped. */
static bool is_metadata(int fd)
{
	uint8_t block[PD_BLOCK_SIZE];

	return pread(fd, block, sizeof(block), 0) == (ssize_t)sizeof(block) && meta_probe(block);
}

static void fail_packed(const struct op_pack_args *args, int error, const struct pack_error *e, struct op_result *result)
{
	if (error == -E2BIG)
		refuse_memory(args->source, ZSTD_SHARE * e->needed, result);
	else if (error == -EINVAL && !e->offset && is_metadata(args->packed_fd))
		op_fail(result, OP_INPUT, 0, "%s: is metadata that is not packed; are source and target swapped?",
			args->source);
	else if (error == -EINVAL)
		op_fail(result, OP_INPUT, 0, "%s: byte %" PRIu64 ": %s", args->source, e->offset, e->reason);
	else if (error == -EPROTONOSUPPORT)
		op_fail(result, OP_INPUT, 0, "%s: %s", args->source, e->reason);
	else
		op_fail_errno(result, args->source, error);
}

bool op_unpack_plan(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result)
{
	struct pack_reader_args read = {
		.fd = args->packed_fd, .memory = args->memory_limit / ZSTD_SHARE,
		.progress = args->progress ? &args->progress->blocks : NULL,
	};
	struct pack_totals totals;
	struct pack_error error;
	struct pack_info info;
	int r;

	*result = (struct op_result){ .outcome = OP_DONE };
	if (lseek(args->packed_fd, 0, SEEK_CUR) < 0) {
		op_fail(result, OP_USAGE, 0, "%s: is a pipe, and a packed pool is read twice: save it to a file first",
			args->source);
		return false;
	}
	r = pack_read(&read, &info, &totals, &error);
	if (r) {
		fail_packed(args, r, &error, result);
		return false;
	}
	*plan = (struct op_pack_plan){
		.device_bytes = info.device_bytes, .end = totals.end, .blocks = totals.blocks,
		.unreadable = totals.unreadable, .packed_bytes = totals.bytes, .transaction = info.transaction,
		.csum = totals.csum, .by_contents = info.by_contents, .is_damaged = info.is_damaged,
	};
	expect(args, totals.blocks);
	return true;
}

static int put_unpacked(void *context, uint64_t block, const void *data)
{
	struct transfer *t = context;

	t->error = put_on_target(t, block, data);
	return t->error;
}

/* The second time. A file that is another one by now must not become a pool, good as it may be. */
static int read_again(struct transfer *t, const struct op_pack_plan *plan)
{
	struct pack_reader_args read = {
		.fd = t->args->packed_fd, .memory = t->args->memory_limit / ZSTD_SHARE, .block = put_unpacked, .context = t,
		.progress = t->args->progress ? &t->args->progress->blocks : NULL,
	};
	struct pack_totals totals;
	struct pack_error error;
	struct pack_info info;
	int r = pack_read(&read, &info, &totals, &error);

	if (r == -EINVAL || r == -EPROTONOSUPPORT)
		r = -ESTALE;
	return !r && (totals.csum != plan->csum || totals.bytes != plan->packed_bytes) ? -ESTALE : r;
}

bool op_unpack(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result)
{
	struct transfer t = { .args = args };
	int r;

	*result = (struct op_result){ .outcome = OP_DONE };
	if (!set_cache(args->target_client, args->memory_limit, args->memory_limit / ZSTD_SHARE))
		return refuse_memory(args->target, ZSTD_SHARE * bufio_get_memory_floor(args->target_client), result);
	r = begin_target(&t);
	if (!r)
		r = read_again(&t, plan);
	if (!r)
		r = finish_target(&t);
	if (r) {
		fail_target(args, &t, r, result);
		return false;
	}
	result->keeps_target = true;
	return show(args, plan, result);
}
