// SPDX-License-Identifier: LGPL-2.1-or-later
/* What can be said of a script before a volume is open: paths, kinds of blocks, and the block size that they need. */
#include "ops/patch_int.h"

#include <inttypes.h>
#include <string.h>

#define BIT(kind) (1u << (kind))

/* Words for kinds of blocks. One with a single kind can be sealed as that. */
static const struct kind_word {
	const char *word;
	unsigned kinds;
} kind_words[] = {
	{ "btree-node", BIT(PD_NODE) },
	{ "bitmap", BIT(PD_BITMAP) },
	{ "index", BIT(PD_INDEX) },
	{ "array", BIT(PD_ARRAY) },
	{ "thin-superblock", BIT(PD_THIN_SUPERBLOCK) },
	{ "cache-superblock", BIT(PD_CACHE_SUPERBLOCK) },
	{ "era-superblock", BIT(PD_ERA_SUPERBLOCK) },
	{ "superblock", BIT(PD_THIN_SUPERBLOCK) | BIT(PD_CACHE_SUPERBLOCK) | BIT(PD_ERA_SUPERBLOCK) },
	{ "zeroes", BIT(PD_ZEROES) },
	{ "unknown", BIT(PD_UNKNOWN) },
	{ "any", ~BIT(PD_UNKNOWN) },
};

#define KIND_WORDS "btree-node, bitmap, index, array, thin-superblock, cache-superblock, era-superblock"

unsigned patch_kinds(const char *word)
{
	for (size_t i = 0; i < sizeof(kind_words) / sizeof(*kind_words); i++)
		if (!strcmp(kind_words[i].word, word))
			return kind_words[i].kinds;
	return 0;
}

enum pd_kind patch_sealed_kind(const char *word)
{
	unsigned kinds = patch_kinds(word);

	for (enum pd_kind kind = PD_NODE; kind < NR_PD_KINDS; kind++)
		if (kinds == BIT(kind))
			return kind;
	return PD_UNKNOWN;
}

/* --- checking; what is wrong first is in error --- */

struct types {
	const struct script *script;
	char *error;
};

#define WRONG(t, place, ...) (text_script_error((t)->script, place, (t)->error, __VA_ARGS__), false)

static bool needs_metadata(const struct types *t, const struct script_place *place, const char *what)
{
	return t->script->block_size == PD_BLOCK_SIZE ||
	       WRONG(t, place, "%s of metadata, which has blocks of 4KiB; this script has blocks of %" PRIu32 " bytes", what,
		     t->script->block_size);
}

static bool check_expr(const struct types *t, const struct script_expr *e);

static bool check_steps(const struct types *t, const struct script_field *f, bool *is_number)
{
	struct meta_step steps[SCRIPT_MAX_STEPS + 1];
	char reason[META_PATH_REASON];
	unsigned nr = 0;

	if (f->block)
		steps[nr++] = (struct meta_step){ .name = "block", .has_argument = true };
	for (unsigned i = 0; i < f->nr_steps; i++) {
		const struct script_step *s = &f->steps[i];

		steps[nr++] = (struct meta_step){ .name = s->name, .has_argument = s->argument, .has_index = s->index };
		if (!check_expr(t, s->argument) || !check_expr(t, s->index))
			return false;
	}
	return !meta_path_check(steps, nr, is_number, reason) || WRONG(t, &f->place, "%s", reason);
}

static bool check_field(const struct types *t, const struct script_field *f, bool is_set)
{
	bool is_number = false;

	if (!f)
		return true;
	if (!check_expr(t, f->block) || !check_steps(t, f, &is_number))
		return false;
	if (is_number && is_set)
		return WRONG(t, &f->place, "is a number that is found out, not a field that can be set");
	return is_number || needs_metadata(t, &f->place, "is a field");
}

static bool check_expr(const struct types *t, const struct script_expr *e)
{
	if (!e || e->kind == EXPR_NUMBER || e->kind == EXPR_LET)
		return true;
	if (e->kind == EXPR_FIELD)
		return check_field(t, e->field, false);
	return check_expr(t, e->left) && check_expr(t, e->right);
}

static bool check_range(const struct types *t, const struct script_range *r)
{
	return !r || (check_expr(t, r->begin) && check_expr(t, r->end) && check_expr(t, r->length) && check_expr(t, r->at));
}

static bool check_kind(const struct types *t, const struct script_op *op)
{
	bool is_sealing = op->verb == SCRIPT_CHECKSUM;

	if (!op->kind)
		return true;
	if (!patch_kinds(op->kind))
		return WRONG(t, &op->kind_place, "'%.32s' is no kind of block: " KIND_WORDS "%s", op->kind,
			     is_sealing ? "" : ", superblock, zeroes, unknown, any");
	if (is_sealing && patch_sealed_kind(op->kind) == PD_UNKNOWN)
		return WRONG(t, &op->kind_place, "'%s' is several kinds of blocks, or has no checksum: " KIND_WORDS, op->kind);
	return needs_metadata(t, &op->kind_place, "is a kind of block");
}

static bool looks_at_checksums(const struct script_op *op)
{
	return (op->verb == SCRIPT_EXPECT && op->expectation <= EXPECT_CSUM_BAD) ||
	       (op->verb == SCRIPT_CHECKSUM && op->sealing >= SEAL_AS);
}

static bool check_op(const struct types *t, const struct script_op *op)
{
	if (looks_at_checksums(op) && !needs_metadata(t, &op->place, "is about checksums"))
		return false;
	return check_range(t, op->from) && check_range(t, op->to) && check_field(t, op->field, op->verb == SCRIPT_SET) &&
	       check_expr(t, op->value) && check_expr(t, op->value2) && check_kind(t, op);
}

/* The formats that a volume can be said to have. */
static bool check_volume(const struct types *t, const struct script_volume *v)
{
	for (unsigned i = 0; i < v->nr_where; i++)
		if (!check_op(t, &v->where[i]))
			return false;
	if (!v->kind)
		return true;
	if (strcmp(v->kind, "thin-metadata") != 0 && strcmp(v->kind, "cache-metadata") != 0 &&
	    strcmp(v->kind, "era-metadata") != 0)
		return WRONG(t, &v->kind_place, "'%.32s' is no kind of volume: thin-metadata, cache-metadata, era-metadata",
			     v->kind);
	return needs_metadata(t, &v->kind_place, "is a kind");
}

/* One apply is one transaction, and that has one journal. */
static bool check_targets(const struct types *t)
{
	bool has_target = false;

	for (unsigned i = 0; i < t->script->nr_volumes; i++) {
		const struct script_volume *v = &t->script->volumes[i];

		if (v->is_target && has_target)
			return WRONG(t, &v->place, "a second target: a script has one, so that all of it is one transaction");
		has_target |= v->is_target;
	}
	return true;
}

bool patch_check_types(const struct script *script, char error[SCRIPT_ERROR_MAX])
{
	struct types t = { script, error };

	if (!check_targets(&t))
		return false;
	for (unsigned i = 0; i < script->nr_volumes; i++)
		if (!check_volume(&t, &script->volumes[i]))
			return false;
	for (unsigned i = 0; i < script->nr_ops; i++)
		if (!check_op(&t, &script->ops[i]))
			return false;
	return true;
}
