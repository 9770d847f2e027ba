// SPDX-License-Identifier: LGPL-2.1-or-later
/* What a transaction has changed, field by field where the kind of a block is known, and its digest. */
#include "ops/patch_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xxh3.h"
#include "io/io_journal.h"
#include "meta/block_diff.h"

/* For people, without --verbose. */
#define MAX_BLOCKS 64
#define MAX_FIELDS 24

struct plan {
	struct meta_block_diff blocks; /* first: a difference finds its plan by it */
	struct patch *p;
	struct patch_totals *totals;
	XXH3_state_t *digest;
	uint64_t block, at; /* at: byte of the block that the images begin with */
	uint64_t shown_blocks, shown_fields, last_block;
	bool is_shown; /* last_block */
};

static int put(const struct plan *x, enum record_kind kind, const void *record)
{
	struct meta_visitor *v = &x->p->emitter->visitor;

	return v->record(v, kind, record);
}

static bool has_room(const struct plan *x, uint64_t *shown, uint64_t most)
{
	return ++*shown <= most || x->p->args->json || x->p->args->verbose;
}

static int put_more(const struct plan *x, uint64_t *shown, uint64_t most, const char *before, const char *what)
{
	struct record_diff_more more = { before, what, *shown > most ? *shown - most : 0 };

	*shown = 0;
	return !more.count || x->p->args->json || x->p->args->verbose ? 0 : put(x, RECORD_DIFF_MORE, &more);
}

static int show_difference(struct meta_block_diff *blocks, const struct meta_difference *what)
{
	struct plan *x = (struct plan *)blocks;
	struct record_diff_block_field record = {
		.block = x->block, .offset = x->at + what->offset, .length = what->length, .name = what->name,
		.left = what->left, .right = what->right,
	};

	if (!x->p->args->json) {
		record.left = record.left ? record.left : "none";
		record.right = record.right ? record.right : "none";
	}
	if (!has_room(x, &x->shown_fields, MAX_FIELDS))
		return 0;
	return put(x, what->name ? RECORD_DIFF_BLOCK_FIELD : RECORD_DIFF_BYTES, &record);
}

/* Images are blocks of metadata, or pieces that are compared as if they were. */
static int show_images(struct plan *x, const uint8_t *old, const uint8_t *new)
{
	uint8_t copy[2][PD_BLOCK_SIZE] = { { 0 }, { 0 } };
	enum pd_kind kind = PD_UNKNOWN;
	int r;

	memcpy(copy[0], old, x->p->image_size);
	memcpy(copy[1], new, x->p->image_size);
	if (x->p->block_size == PD_BLOCK_SIZE)
		kind = meta_diff_kind(copy[0], copy[1]);
	r = meta_diff_blocks(&x->blocks, kind, copy[0], copy[1]);
	return r ? r : put_more(x, &x->shown_fields, MAX_FIELDS, "    ", "differences");
}

static int show_block(struct plan *x, const uint8_t *old, const uint8_t *new)
{
	bool is_metadata = x->p->block_size == PD_BLOCK_SIZE;
	const char *l = is_metadata ? pd_kind_name(pd_block_kind(old)) : "bytes";
	const char *r = is_metadata ? pd_kind_name(pd_block_kind(new)) : l;
	char kinds[128];
	struct record_diff_block record = { .block = x->block, .left_kind = l, .right_kind = r, .kinds = kinds };
	int error;

	snprintf(kinds, sizeof(kinds), "%s%s%s", l, l == r ? "" : " -> ", l == r ? "" : r);
	error = put(x, RECORD_DIFF_BLOCK, &record);
	return error ? error : show_images(x, old, new);
}

static uint64_t count_bytes(const uint8_t *old, const uint8_t *new, uint32_t size)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < size; i++)
		n += old[i] != new[i];
	return n;
}

/* An image is a block of the script's, or a part of one. */
static int add_change(void *context, uint64_t image, const void *old, const void *new)
{
	struct plan *x = context;
	uint64_t byte = image * x->p->image_size;
	uint8_t number[sizeof(uint64_t)];
	bool is_new;

	le_store(number, sizeof(number), byte);
	XXH3_64bits_update(x->digest, number, sizeof(number));
	XXH3_64bits_update(x->digest, old, x->p->image_size);
	XXH3_64bits_update(x->digest, new, x->p->image_size);
	x->block = byte / x->p->block_size;
	x->at = byte % x->p->block_size;
	is_new = !x->totals->blocks || x->block != x->last_block;
	x->totals->blocks += is_new;
	x->totals->bytes += count_bytes(old, new, x->p->image_size);
	x->last_block = x->block;
	if (is_new)
		x->is_shown = has_room(x, &x->shown_blocks, MAX_BLOCKS);
	if (!x->is_shown)
		return 0;
	return is_new ? show_block(x, old, new) : show_images(x, old, new);
}

static int run(struct plan *x)
{
	uint8_t size[sizeof(uint64_t)];
	int r;

	le_store(size, sizeof(size), bufio_device_describe(x->p->journal)->size);
	XXH3_64bits_reset(x->digest);
	XXH3_64bits_update(x->digest, size, sizeof(size));
	r = io_journal_for_each_change(x->p->journal, add_change, x);
	if (!r)
		r = put_more(x, &x->shown_blocks, MAX_BLOCKS, "  ", "blocks");
	snprintf(x->totals->digest, sizeof(x->totals->digest), "%016" PRIx64, (uint64_t)XXH3_64bits_digest(x->digest));
	return r;
}

bool patch_show(struct patch *p, struct patch_totals *totals)
{
	struct plan *x = calloc(1, sizeof(*x));
	int r = -ENOMEM;

	*totals = (struct patch_totals){ 0 };
	if (x) {
		x->p = p;
		x->totals = totals;
		x->blocks.difference = show_difference;
		x->digest = XXH3_createState();
	}
	if (x && x->digest)
		r = run(x);
	if (x)
		XXH3_freeState(x->digest);
	free(x);
	if (r && !p->out.error)
		op_fail_errno(p->result, p->target->path, r);
	return !r;
}

/* --- the last words --- */

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void say_plan(const struct patch *p, const struct patch_totals *t, char *text, size_t size)
{
	if (!t->blocks)
		snprintf(text, size, "Nothing would change.");
	else
		snprintf(text, size, "%" PRIu64 " block%s would change, %" PRIu64 " byte%s. Nothing was written to %s.\n"
			 "Next: the same command with --apply, or --apply=%s", t->blocks, plural(t->blocks), t->bytes,
			 plural(t->bytes), p->target->path, t->digest);
}

static void say_applied(const struct patch *p, const struct patch_totals *t, char *text, size_t size)
{
	if (!t->blocks)
		snprintf(text, size, "Nothing changed: it is as the script wants it.");
	else
		snprintf(text, size, "%" PRIu64 " block%s changed, %" PRIu64 " byte%s: written, flushed, and read back.\n"
			 "Undo: %s --undo=%s %s", t->blocks, plural(t->blocks), t->bytes, plural(t->bytes), p->args->program,
			 p->journal_path, p->target->path);
}

bool patch_show_end(struct patch *p, const struct patch_totals *totals, bool is_applied)
{
	char text[OP_REASON_MAX];
	struct record_plan_totals record = {
		.blocks = totals->blocks, .bytes = totals->bytes, .digest = totals->digest, .text = text,
		.state = is_applied ? "applied" : "plan", .journal = is_applied && totals->blocks ? p->journal_path : NULL,
	};
	struct meta_visitor *v = &p->emitter->visitor;

	(is_applied ? say_applied : say_plan)(p, totals, text, sizeof(text));
	return !v->record(v, RECORD_PLAN_TOTALS, &record);
}

bool patch_show_begin(struct patch *p)
{
	struct record_plan record = {
		.script = p->script->name, .name = p->target->script->name, .target = p->target->path,
		.blocks = p->target->nr_blocks, .block_size = p->block_size,
	};
	struct meta_visitor *v = &p->emitter->visitor;

	return !v->begin(v, RECORD_PLAN, &record);
}
