// SPDX-License-Identifier: LGPL-2.1-or-later
/* Operations: what is behind each verb. */
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/le.h"
#include "text/script_int.h"

/* --- words --- */

struct word {
	const char *name;
	int value;
};

static const struct word compare_words[] = {
	{ "=", COMPARE_EQ }, { "!=", COMPARE_NE }, { "<", COMPARE_LT },
	{ "<=", COMPARE_LE }, { ">", COMPARE_GT }, { ">=", COMPARE_GE },
};

static const struct word csum_words[] = { { "ok", EXPECT_CSUM_OK }, { "bad", EXPECT_CSUM_BAD } };

static const struct { const char *name; enum script_hash hash; uint32_t size; } hash_words[] = {
	[HASH_XXH3] = { "xxh3", HASH_XXH3, 8 },
	[HASH_SHA256] = { "sha256", HASH_SHA256, 32 },
};

/* Literal bytes; the size of numbers. */
enum { AS_HEX = 100, AS_TEXT };
static const struct word bytes_words[] = {
	{ "hex", AS_HEX }, { "text", AS_TEXT }, { "u8", 1 }, { "u16", 2 }, { "u32", 4 }, { "u64", 8 },
};

static bool read_override(struct script_reader *r, struct script_op *op, const char *expected)
{
	op->is_override = script_take(r, "override");
	return script_need_end(r, op->is_override ? "the end of the line" : expected);
}

static bool read_end(struct script_reader *r)
{
	return script_need_end(r, "the end of the line");
}

bool script_read_kind(struct script_reader *r, const char **kind, struct script_place *kind_place)
{
	struct script_place place = script_here(r);
	const char *word = script_read_dashed(r, "a kind of block, like btree-node");

	if (!word)
		return false;
	*kind = word;
	*kind_place = script_since(r, place);
	return true;
}

bool script_read_hash(struct script_reader *r, enum script_hash hash, struct script_bytes *digest)
{
	return script_read_digest(r, hash_words[hash].size, digest);
}

/* --- literal bytes --- */

static bool read_number_bytes(struct script_reader *r, unsigned size, struct script_bytes *bytes)
{
	struct script_expr *e;

	if (!script_read_constant(r, &e))
		return false;
	if (size < 8 && e->number >> (8 * size))
		return script_fail(r, &e->place, "%" PRIu64 " does not fit into u%u", e->number, 8 * size);
	bytes->data = script_alloc(r, size);
	if (!bytes->data)
		return false;
	bytes->size = size;
	le_store(bytes->data, size, e->number);
	return true;
}

static bool read_bytes_as(struct script_reader *r, int as, struct script_bytes *bytes)
{
	return as >= AS_HEX ? script_read_string(r, as == AS_HEX, bytes) : read_number_bytes(r, (unsigned)as, bytes);
}

/* Bytes must be in the range, as far as that can be told. */
static bool check_fit(struct script_reader *r, const struct script_range *range, struct script_place place,
		      uint32_t bytes)
{
	uint64_t at = range->at && range->at->kind == EXPR_NUMBER ? range->at->number : 0, blocks, size;

	if (!script_range_length(range, &blocks) || !checked_mul(blocks, r->s.block_size, &size) ||
	    (at <= size && bytes <= size - at))
		return true;
	return script_fail(r, &place, "%" PRIu32 " bytes do not fit: the range has %" PRIu64 " from there on", bytes,
			   size - at);
}

/* The word was passed, and begins at @place. */
static bool read_bytes_in(struct script_reader *r, const struct script_range *range, struct script_place place, int as,
			  struct script_bytes *bytes)
{
	return read_bytes_as(r, as, bytes) && check_fit(r, range, script_since(r, place), bytes->size);
}

/* --- fence, let, set --- */

bool script_read_fence(struct script_reader *r, struct script_op *op)
{
	op->to = script_read_range(r, RANGE_TARGET);
	return op->to && read_end(r);
}

bool script_read_let(struct script_reader *r, struct script_op *op)
{
	const char *name;
	int e;

	if (!script_read_new_name(r, "a name", &name) || !script_need(r, "=") || !(op->value = script_read_expr(r)))
		return false;
	if (!script_grow(r, &r->s.lets, sizeof(*r->s.lets), r->s.nr_lets, &r->room_lets) ||
	    !script_grow(r, &r->let_values, sizeof(*r->let_values), r->s.nr_lets, &r->room_values))
		return false;
	e = string_set_add(&r->let_names, name);
	if (!script_has_memory(r, e))
		return false;
	op->let = r->s.nr_lets++;
	r->s.lets[op->let] = name;
	r->let_values[op->let] = (struct script_let){ op->value, r->line_nr };
	return script_need_end(r, "an operator or the end of the line");
}

/* A name alone that a let has bound is no field. */
static bool check_not_let(struct script_reader *r, const struct script_field *f)
{
	const struct script_step *s = f->steps;
	long let = f->block || f->nr_steps > 1 || s->argument || s->index || f->place.column != s->place.column ?
		-1 : script_find_let(r, s->name, strlen(s->name));

	return let < 0 || script_fail(r, &f->place, "'%s' is what line %" PRIu32 " calls a number, not a field", s->name,
				      r->let_values[let].line);
}

bool script_read_set(struct script_reader *r, struct script_op *op)
{
	const struct script_volume *v;

	op->field = script_read_field(r);
	if (!op->field || !check_not_let(r, op->field))
		return false;
	v = &r->s.volumes[op->field->volume];
	if (!v->is_target)
		return script_fail(r, &op->field->place, "%s is a source, and these are only read", v->name);
	if (!script_need(r, "=") || !(op->value = script_read_expr(r)))
		return false;
	if (op->value->unit == SCRIPT_BYTES)
		return script_fail(r, &op->value->place, "a field is a number: expected one without a unit");
	return read_override(r, op, "an operator, 'override' or the end of the line");
}

/* --- expect, verify --- */

bool script_read_compare(struct script_reader *r, struct script_op *op)
{
	struct script_place place;
	int row;

	op->expectation = EXPECT_COMPARE;
	op->value = script_read_expr(r);
	if (!op->value)
		return false;
	place = script_here(r);
	if (script_take(r, "=="))
		return script_fail(r, &place, "'==' is '=' here");
	row = SCRIPT_NEED_ROW(r, "=, !=, <, <=, > or >=", compare_words);
	if (row < 0)
		return false;
	op->compare = (enum script_compare)compare_words[row].value;
	op->value2 = script_read_expr(r);
	if (!op->value2)
		return false;
	place = script_since(r, op->value->place);
	if (op->value->unit == op->value2->unit || (op->value->kind == EXPR_NUMBER && !op->value->number) ||
	    (op->value2->kind == EXPR_NUMBER && !op->value2->number))
		return true;
	return script_fail(r, &place, "mixes blocks and bytes");
}

static bool expect_csum(struct script_reader *r, struct script_op *op)
{
	int row = SCRIPT_NEED_ROW(r, "ok or bad", csum_words);

	if (row >= 0)
		op->expectation = (enum script_expectation)csum_words[row].value;
	return row >= 0;
}

static bool expect_zero(struct script_reader *r, struct script_op *op)
{
	(void)r;
	op->expectation = EXPECT_ZERO;
	return true;
}

static bool expect_same(struct script_reader *r, struct script_op *op)
{
	uint64_t from, to;

	op->expectation = EXPECT_SAME;
	op->to = script_read_range(r, 0);
	if (!op->to)
		return false;
	if (script_range_length(op->from, &from) && script_range_length(op->to, &to) && from != to)
		return script_fail(r, &op->to->place, "%" PRIu64 " and %" PRIu64 " blocks are not the same", from, to);
	return true;
}

static bool expect_hash(struct script_reader *r, struct script_op *op)
{
	int row = SCRIPT_NEED_ROW(r, "xxh3 or sha256", hash_words);

	if (row < 0 || !script_need(r, ":"))
		return false;
	op->expectation = EXPECT_HASH;
	op->hash = hash_words[row].hash;
	return script_read_hash(r, op->hash, &op->bytes);
}

static bool expect_kind(struct script_reader *r, struct script_op *op)
{
	op->expectation = EXPECT_KIND;
	return script_read_kind(r, &op->kind, &op->kind_place);
}

/* What is behind a range. */
static const struct expectation {
	const char *name;
	bool (*read)(struct script_reader *r, struct script_op *op);
	bool is_whole; /* of whole blocks */
} expectations[] = {
	{ "csum", expect_csum, true }, { "zero", expect_zero, false }, { "=", expect_same, true },
	{ "hash", expect_hash, false }, { "kind", expect_kind, true }, { "type", expect_kind, true },
};

static bool expect_bytes(struct script_reader *r, struct script_op *op, struct script_place place, unsigned row)
{
	op->expectation = EXPECT_BYTES;
	return read_bytes_in(r, op->from, place, bytes_words[row].value, &op->bytes);
}

static bool expect_range(struct script_reader *r, struct script_op *op)
{
	struct script_place place;
	int row;

	op->from = script_read_range(r, RANGE_BYTES);
	if (!op->from)
		return false;
	place = script_here(r);
	row = SCRIPT_TAKE_ROW(r, bytes_words);
	if (row >= 0)
		return expect_bytes(r, op, place, (unsigned)row);
	script_take(r, "."); /* as in T[0].csum */
	row = SCRIPT_NEED_ROW(r, "=, csum, zero, kind, hash, hex, text, u8, u16, u32 or u64", expectations);
	if (row < 0)
		return false;
	if (expectations[row].is_whole && op->from->at)
		return script_fail(r, &op->from->at->place, "expected whole blocks, without '@'");
	return expectations[row].read(r, op);
}

bool script_read_expect(struct script_reader *r, struct script_op *op)
{
	if (script_is_range(r))
		return expect_range(r, op) && read_end(r);
	return script_read_compare(r, op) && script_need_end(r, "an operator or the end of the line");
}

bool script_read_verify(struct script_reader *r, struct script_op *op)
{
	static const struct word kind_words[] = { { "kind", 0 }, { "type", 0 } };

	op->to = script_read_range(r, RANGE_TARGET);
	return op->to && SCRIPT_NEED_ROW(r, "kind", kind_words) >= 0 &&
	       script_read_kind(r, &op->kind, &op->kind_place) && read_end(r);
}

/* --- patch --- */

static bool read_was(struct script_reader *r, struct script_op *op)
{
	struct script_place place = script_here(r);
	int row = SCRIPT_NEED_ROW(r, "hex, text, u8, u16, u32 or u64", bytes_words);

	if (row < 0 || !read_bytes_as(r, bytes_words[row].value, &op->was))
		return false;
	place = script_since(r, place);
	return op->was.size == op->bytes.size ||
	       script_fail(r, &place, "%" PRIu32 " bytes in the place of %" PRIu32, op->bytes.size, op->was.size);
}

bool script_read_patch(struct script_reader *r, struct script_op *op)
{
	struct script_place place;
	int row;

	op->to = script_read_range(r, RANGE_BYTES | RANGE_TARGET);
	if (!op->to)
		return false;
	place = script_here(r);
	row = SCRIPT_NEED_ROW(r, "hex, text, u8, u16, u32 or u64", bytes_words);
	if (row < 0 || !read_bytes_in(r, op->to, place, bytes_words[row].value, &op->bytes))
		return false;
	if (!script_take(r, "was"))
		return read_override(r, op, "'was', 'override' or the end of the line");
	return read_was(r, op) && read_override(r, op, "'override' or the end of the line");
}

/* --- copy, move --- */

/* Where a range goes to. An end that is given must be the right one, and says nothing new. */
static bool read_place(struct script_reader *r, struct script_op *op)
{
	uint64_t from, to;
	bool is_known;

	op->to = script_read_range(r, RANGE_TARGET | RANGE_BEGIN);
	if (!op->to)
		return false;
	if (!op->to->end && !op->to->length)
		return true;
	is_known = script_range_length(op->from, &from) && script_range_length(op->to, &to);
	if (!is_known)
		return script_fail(r, &op->to->place,
				   "expected where it begins and no end: the lengths are not known yet");
	if (from != to)
		return script_fail(r, &op->to->place, "%" PRIu64 " blocks do not go to %" PRIu64, from, to);
	op->to->end = op->to->length = NULL;
	return true;
}

static bool read_ends(struct script_reader *r, struct script_op *op, unsigned flags)
{
	op->from = script_read_range(r, flags);
	return op->from && script_need(r, "->") && read_place(r, op);
}

bool script_read_copy(struct script_reader *r, struct script_op *op)
{
	return read_ends(r, op, 0) && read_override(r, op, "'override' or the end of the line");
}

bool script_read_move(struct script_reader *r, struct script_op *op)
{
	if (!read_ends(r, op, RANGE_TARGET))
		return false;
	if (!script_take(r, "then"))
		return read_override(r, op, "'then zero', 'override' or the end of the line");
	op->has_zero = true;
	return script_need(r, "zero") && read_override(r, op, "'override' or the end of the line");
}

/* --- fill, save, checksum --- */

static bool read_fill_byte(struct script_reader *r, struct script_op *op)
{
	if (!script_read_constant(r, &op->value))
		return false;
	return op->value->number <= UINT8_MAX ||
	       script_fail(r, &op->value->place, "%" PRIu64 " does not fit into a byte", op->value->number);
}

static bool read_seed(struct script_reader *r, struct script_op *op)
{
	return script_need(r, "seed") && script_need(r, "=") && script_read_constant(r, &op->value);
}

bool script_read_fill(struct script_reader *r, struct script_op *op)
{
	static const struct {
		const char *name;
		enum script_filling filling;
		bool (*read)(struct script_reader *r, struct script_op *op); /* what is behind, or NULL */
	} rows[] = {
		{ "zero", FILL_ZERO, NULL }, { "byte", FILL_BYTE, read_fill_byte },
		{ "discard", FILL_DISCARD, NULL }, { "random", FILL_RANDOM, read_seed },
	};
	int row;

	op->to = script_read_range(r, RANGE_TARGET);
	row = op->to ? SCRIPT_NEED_ROW(r, "zero, byte, discard or random", rows) : -1;
	if (row < 0 || (rows[row].read && !rows[row].read(r, op)))
		return false;
	op->filling = rows[row].filling;
	return read_override(r, op, "'override' or the end of the line");
}

bool script_read_save(struct script_reader *r, struct script_op *op)
{
	struct script_place place;
	struct script_bytes name;

	op->from = script_read_range(r, RANGE_BYTES);
	if (!op->from)
		return false;
	place = script_here(r);
	if (!script_read_string(r, false, &name))
		return false;
	if (memchr(name.data, '\0', name.size))
		return script_fail(r, &place, "no file has such a name");
	op->text = (const char *)name.data;
	return read_end(r);
}

static bool seal_as(struct script_reader *r, struct script_op *op)
{
	op->sealing = SEAL_AS;
	return script_read_kind(r, &op->kind, &op->kind_place);
}

static bool seal_value(struct script_reader *r, struct script_op *op)
{
	op->sealing = SEAL_VALUE;
	if (op->to->end || op->to->length)
		return script_fail(r, &op->to->place, "expected one block, like %s[9]",
				   r->s.volumes[op->to->volume].name);
	op->value = script_read_expr(r);
	if (!op->value)
		return false;
	return op->value->kind != EXPR_NUMBER || op->value->number <= UINT32_MAX ||
	       script_fail(r, &op->value->place, "%" PRIu64 " does not fit into a checksum", op->value->number);
}

static bool read_seal(struct script_reader *r, struct script_op *op)
{
	static const struct {
		const char *name;
		bool (*read)(struct script_reader *r, struct script_op *op);
	} rows[] = { { "as", seal_as }, { "value", seal_value } };
	int row;

	op->to = script_read_range(r, RANGE_TARGET);
	row = op->to ? SCRIPT_NEED_ROW(r, "as or value", rows) : -1;
	return row >= 0 && rows[row].read(r, op) && read_override(r, op, "'override' or the end of the line");
}

bool script_read_checksum(struct script_reader *r, struct script_op *op)
{
	static const struct word modes[] = { { "auto", SEAL_AUTO }, { "keep", SEAL_KEEP } };
	int row;

	if (script_is_volume(r))
		return read_seal(r, op);
	row = SCRIPT_NEED_ROW(r, "auto, keep or blocks, like T[9]", modes);
	if (row < 0)
		return false;
	op->sealing = (enum script_sealing)modes[row].value;
	return read_end(r);
}

