// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/units.h"
#include "io/io.h"
#include "ops/copy_int.h"
#include "ops/target.h"

#define LOOK_BLOCK 4096
#define LOOK_MEMORY (UINT64_C(1) << 20)
#define SHOWN_RANGES 8

static bool refuse(struct copy *c, enum op_outcome outcome, const char *what, const char *why)
{
	op_fail(c->result, outcome, 0, "%s: %s", what, why);
	return false;
}

/* --- what is looked at before anything is written --- */

static bool ranges_overlap(uint64_t a, uint64_t b, uint64_t bytes)
{
	return a < b ? bytes > b - a : bytes > a - b;
}

/* How much there is to copy, and whether it can be where it is to be. */
static bool place(struct copy *c)
{
	const struct op_copy_args *a = c->args;
	uint64_t size = a->source_device->info.size, end = a->end == UINT64_MAX ? size : a->end;

	if (a->begin > size || end > size) {
		op_fail(c->result, OP_USAGE, 0, "%s: has %" PRIu64 " bytes, so there are no bytes %" PRIu64 "..%" PRIu64,
			a->source, size, a->begin, end);
		return false;
	}
	c->bytes = end - a->begin;
	if (a->to > INT64_MAX || c->bytes > INT64_MAX - a->to)
		return refuse(c, OP_USAGE, "--to", "no file or device is that large");
	if (a->source_device == a->target_device && ranges_overlap(a->begin, a->to, c->bytes))
		return refuse(c, OP_REFUSED, a->target, "is source and target, and the ranges overlap");
	if (a->source_device == a->target_device && a->truncate)
		return refuse(c, OP_REFUSED, a->target, "is source and target, and --truncate would cut off what is copied");
	if (a->progress)
		a->progress->total = (a->verify ? 2 : 1) * (c->bytes / 4096);
	return true;
}

static bool has_room(struct copy *c)
{
	const struct op_copy_args *a = c->args;
	const struct bufio_device_info *t = &a->target_device->info;
	char size[UNITS_SIZE_MAX];

	if (!t->block_device || c->bytes + a->to <= t->size)
		return true;
	op_fail(c->result, OP_REFUSED, 0,
		"%s: is too small: it has %" PRIu64 " bytes, and the copy ends at %" PRIu64 " (%s)", a->target, t->size, c->bytes + a->to, units_format_size(c->bytes + a->to, size));
	return false;
}

/* All of it, the end of a small file too. False: result says why not. */
static bool find_contents(struct copy *c, struct target_contents *found)
{
	struct bufio_device *t = c->args->target_device, *whole;
	struct io_pair_args pair = { .source = t, .target = t, .bytes = t->info.size, .unit = LOOK_BLOCK };
	struct bufio_client *client;
	int r = io_pair_open(&pair, &whole);

	if (!r) {
		r = copy_make_client(whole, LOOK_BLOCK, LOOK_MEMORY, &client);
		if (!r) {
			target_look(client, c->args->target, found);
			bufio_client_destroy(client);
		}
		bufio_device_close(whole);
	}
	if (r)
		op_fail_errno(c->result, c->args->target, r);
	return !r;
}

/* What a copy that is gone on with has written itself is no stranger. */
static bool look_at_target(struct copy *c)
{
	const struct op_copy_args *a = c->args;
	struct target_contents found;

	if (a->is_new || c->had_bytes)
		return true;
	if (!find_contents(c, &found))
		return false;
	return target_may_be_lost(&found, found.type, a->target, a->signature, c->result);
}

/* --- the size of a file --- */

static bool fail_resize(struct copy *c, int error)
{
	op_fail(c->result, OP_OUTPUT, error, "%s: cannot be made %" PRIu64 " bytes large: %s", c->args->target,
		c->args->to + c->bytes, strerror(-error));
	return false;
}

/*
 * With --truncate what lies behind the beginning of the copy goes at once, so that holes need not be written; but not what
 * an earlier run has copied.
 */
static bool make_room(struct copy *c)
{
	const struct op_copy_args *a = c->args;
	struct bufio_device *t = a->target_device;
	uint64_t end = a->to + c->bytes;
	int r = 0;

	c->old_size = t->info.size;
	if (t->info.block_device)
		return true;
	if (a->truncate && !c->is_resumed && t->info.size > a->to) {
		c->has_begun = true;
		r = io_resize(t, a->to);
	}
	if (!r && (t->info.size < end || a->truncate))
		r = io_resize(t, end);
	return !r || fail_resize(c, r);
}

static void undo_room(struct copy *c)
{
	if (!c->has_begun && c->args->target_device->info.size != c->old_size)
		io_resize(c->args->target_device, c->old_size);
}

/* --- how it ended --- */

static enum op_outcome ended_early(const struct copy *c, enum op_outcome otherwise)
{
	return c->has_begun || c->had_bytes ? OP_PARTLY : otherwise;
}

/* What to do next, for the end of a message. */
static void advise(const struct copy *c, char *text, size_t size)
{
	const struct op_copy_args *a = c->args;
	const struct text_map_piece *next = text_map_find(&c->map, 0, COPY_UNREAD);
	uint64_t done = next ? next->begin - a->begin : c->bytes;

	if (!c->has_begun && !c->had_bytes)
		snprintf(text, size, "%s is as it was", a->target);
	else if (a->map)
		snprintf(text, size, "%s is not finished; the same command goes on with it", a->target);
	else
		snprintf(text, size, "%s is not finished: it has the first %" PRIu64 " bytes of %" PRIu64
			 "; to go on: --range=%" PRIu64 "B..%" PRIu64 "B --to=%" PRIu64 "B", a->target, done, c->bytes,
			 a->begin + done, a->begin + c->bytes, a->to + done);
}

static void fail_signal(struct copy *c, const char *advice)
{
	op_fail(c->result, ended_early(c, OP_INPUT), -EINTR, "stopped by a signal; %s", advice);
}

static void fail_read(struct copy *c, const char *advice)
{
	op_fail(c->result, ended_early(c, OP_INPUT), c->bad_error,
		"%s: something in bytes %" PRIu64 "..%" PRIu64 " cannot be read: %s; --map=FILE or --skip-bad leave it out; %s",
		c->args->source, c->bad_begin, c->bad_end, strerror(-c->bad_error), advice);
}

static void fail_write(struct copy *c, const char *advice)
{
	op_fail(c->result, OP_PARTLY, c->lost_error,
		"%s: bytes %" PRIu64 "..%" PRIu64 " could not be written, and are not on stable media: %s; %s", c->args->target,
		c->lost_begin, c->lost_end, strerror(-c->lost_error), advice);
}

static void fail_memory(struct copy *c, const char *advice)
{
	op_fail(c->result, ended_early(c, OP_USAGE), -EINVAL,
		"blocks of %" PRIu32 " bytes need a larger --memory-limit, or take a smaller --block-size; %s",
		c->args->block_size, advice);
}

static void fail_map(struct copy *c, const char *advice)
{
	op_fail(c->result, ended_early(c, OP_OUTPUT), c->result->error, "%s: cannot be written: %s; %s", c->args->map,
		strerror(-c->result->error), advice);
}

static void fail_other(struct copy *c, const char *advice)
{
	int e = c->result->error;
	bool is_memory = e == -EDEADLK || e == -ENOMEM;

	op_fail(c->result, ended_early(c, is_memory ? OP_INTERNAL : OP_INPUT), e, "%s: %s; %s", c->args->source,
		is_memory ? "not enough memory within the limit" : strerror(-e), advice);
}

static bool end_early(struct copy *c, enum copy_end end, int error)
{
	static void (*const ends[])(struct copy *, const char *) = {
		[COPY_END_SIGNAL] = fail_signal, [COPY_END_READ] = fail_read, [COPY_END_WRITE] = fail_write,
		[COPY_END_MEMORY] = fail_memory, [COPY_END_MAP] = fail_map, [COPY_END_FAILED] = fail_other,
	};
	char advice[OP_REASON_MAX / 2];

	advise(c, advice, sizeof(advice));
	c->result->error = error;
	ends[end](c, advice);
	return false;
}

/* --- copying --- */

/* What failed in a large block is tried sector by sector, and what is bad then as often as is asked for. */
static bool run_passes(struct copy *c)
{
	uint32_t sector = copy_sector(c), block = c->args->block_size;
	bool is_large = block > sector;
	enum copy_end end;
	int error = 0;

	end = copy_pass(c, block, "?", is_large ? TEXT_MAP_FAILED : TEXT_MAP_BAD, &error);
	if (end == COPY_END && text_map_count(&c->map, "*"))
		end = copy_pass(c, sector, "*", TEXT_MAP_BAD, &error);
	for (unsigned i = 0; i < c->args->retries && end == COPY_END && text_map_count(&c->map, "-"); i++)
		end = copy_pass(c, sector, "-", TEXT_MAP_BAD, &error);
	return end == COPY_END || end_early(c, end, error);
}

static bool save_map(struct copy *c, char doing)
{
	int r = copy_map_save(c, doing);

	return !r || end_early(c, COPY_END_MAP, r);
}

static char doing_now(const struct copy *c)
{
	static const char *const unread[] = { "?", "*", "-" };

	for (size_t i = 0; i < sizeof(unread) / sizeof(*unread); i++)
		if (text_map_count(&c->map, unread[i]))
			return *unread[i];
	return TEXT_MAP_GOOD;
}

/* The map that was begun first, so that one that cannot be written is found before anything was. */
static bool copy_all(struct copy *c)
{
	char reason[OP_REASON_MAX];
	enum op_outcome outcome;
	bool ok = save_map(c, TEXT_MAP_UNTRIED) && run_passes(c);

	c->has_begun |= ok;
	if (ok)
		return save_map(c, doing_now(c));
	outcome = c->result->outcome;
	memcpy(reason, c->result->reason, sizeof(reason));
	if (c->has_begun && save_map(c, doing_now(c)))
		op_fail(c->result, outcome, c->result->error, "%s", reason);
	return false;
}

static bool flush_name(struct copy *c)
{
	int r = c->args->is_new ? target_flush_folder(c->args->target) : 0;

	if (r)
		op_fail(c->result, OP_PARTLY, r, "%s: its name is not on stable media: %s", c->args->target,
			strerror(-r));
	return !r;
}

/* A size that was changed alone has to be on stable media too. */
static bool flush_size(struct copy *c)
{
	struct bufio_device *t = c->args->target_device;
	int r = t->ops->flush(t);

	if (r)
		op_fail(c->result, OP_PARTLY, r, "%s: is not on stable media: %s", c->args->target, strerror(-r));
	return !r;
}

/* --- what is said --- */

/* "512..1024, 4096..8192 and 3 more" of what could not be read. */
static void list_bad(const struct copy *c, char *text, size_t size, uint64_t *nr)
{
	size_t len = 0;

	*nr = 0;
	*text = '\0';
	for (size_t i = 0; i < c->map.nr; i++) {
		const struct text_map_piece *m = &c->map.pieces[i];

		if (!strchr(COPY_UNREAD, m->status))
			continue;
		if ((*nr)++ < SHOWN_RANGES)
			len += (size_t)snprintf(text + len, size - len, "%s%" PRIu64 "..%" PRIu64, *nr > 1 ? ", " : "",
						m->begin, m->end);
	}
	if (*nr > SHOWN_RANGES)
		snprintf(text + len, size - len, " and %" PRIu64 " more", *nr - SHOWN_RANGES);
}

static bool show(struct copy *c, uint64_t bad_ranges)
{
	static const char *const ways[] = { [COPY_VERIFY_READBACK] = "readback", [COPY_VERIFY_HASH] = "hash" };
	const struct op_copy_args *a = c->args;
	char had[64] = "", bad[64] = "", verified[64] = "", size[UNITS_SIZE_MAX];
	struct record_copy record = {
		.source = a->source, .target = a->target, .begin = a->begin, .to = a->to, .bytes = c->bytes,
		.had_bytes = c->had_bytes, .read_bytes = c->read_bytes, .written_bytes = c->written_bytes,
		.hole_bytes = c->hole_bytes, .bad_bytes = text_map_count(&c->map, COPY_UNREAD), .bad_ranges = bad_ranges,
		.map = a->map, .verified = ways[a->verify], .hash = c->digest[0] ? c->digest : NULL,
		.had_text = had, .bad_text = bad, .verified_text = verified,
	};
	int r;

	if (c->is_resumed)
		snprintf(had, sizeof(had), "had       %10s\n", units_format_size(c->had_bytes, size));
	if (bad_ranges)
		snprintf(bad, sizeof(bad), "bad       %10s\n", units_format_size(record.bad_bytes, size));
	if (c->digest[0])
		snprintf(verified, sizeof(verified), "verified  XXH3 %s\n", c->digest);
	else if (a->verify)
		snprintf(verified, sizeof(verified), "verified  by reading back\n");
	r = op_show_record(a->out_fd, a->json, "bufio.copy/1", a->target, RECORD_COPY, &record);
	if (r)
		op_fail(c->result, OP_OUTPUT, r, "output: %s; %s is finished and good", strerror(-r), a->target);
	return !r;
}

static bool finish(struct copy *c)
{
	char list[512];
	uint64_t nr;

	list_bad(c, list, sizeof(list), &nr);
	if (!show(c, nr))
		return false;
	if (nr)
		op_fail(c->result, OP_PARTLY, c->bad_error,
			"%s: %" PRIu64 " bytes could not be read and were left out%s: %s%s", c->args->source,
			text_map_count(&c->map, COPY_UNREAD),
			c->args->verify ? ", and are not verified" : "", list,
			c->args->map ? "; the same command tries them again, with --retries" : "");
	return !nr;
}

/* --- all of it --- */

/* A map of a copy that was never begun is of no use. */
static void remove_map(const struct copy *c)
{
	if (c->args->map && !c->is_resumed && !c->has_begun)
		unlink(c->args->map);
}

bool op_copy(const struct op_copy_args *args, struct op_result *result)
{
	struct copy c = { .args = args, .result = result };
	bool ok;

	*result = (struct op_result){ .outcome = OP_DONE };
	ok = place(&c) && has_room(&c) && copy_map_open(&c) && look_at_target(&c);
	if (ok && args->verify == COPY_VERIFY_HASH && copy_hash_begin(&c))
		ok = refuse(&c, OP_INTERNAL, args->target, "out of memory");
	if (ok) {
		ok = make_room(&c) && copy_all(&c) && flush_size(&c) && flush_name(&c) && copy_verify(&c) && finish(&c);
		undo_room(&c);
		remove_map(&c);
	}
	result->keeps_target = c.has_begun;
	copy_hash_end(&c);
	text_map_destroy(&c.map);
	return ok;
}
