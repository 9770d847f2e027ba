// SPDX-License-Identifier: LGPL-2.1-or-later
/* Statements: a row of verbs[] each. Words of the language are in tables, and so are told what was meant. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/le.h"
#include "text/script_int.h"

#define MAX_BLOCK_SIZE (1u << 30)
#define LANGUAGE 1

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

/* The row whose name is the next token, which is passed; or -1. */
static int take_row(struct script_reader *r, const void *table, size_t stride, size_t nr)
{
	const char *name;

	for (size_t i = 0; i < nr; i++) {
		memcpy(&name, (const char *)table + i * stride, sizeof(name));
		if (script_take(r, name))
			return (int)i;
	}
	return -1;
}

/* One of them must come. What is expected is said in words, or is the one that was meant. */
static int need_row(struct script_reader *r, const char *expected, const void *table, size_t stride, size_t nr)
{
	int row = take_row(r, table, stride, nr);
	struct script_place place;
	const char *word, *near;

	if (row >= 0)
		return row;
	if (!script_is_name(r)) {
		script_expected(r, expected);
		return -1;
	}
	place = script_here(r);
	word = script_read_token(r);
	near = word ? script_nearest(word, table, stride, nr) : NULL;
	if (near)
		script_fail(r, &place, "expected %s, found '%.40s': did you mean '%s'?", expected, word, near);
	else if (word)
		script_fail(r, &place, "expected %s, found '%.40s'", expected, word);
	return -1;
}

#define TAKE_ROW(r, table) take_row(r, table, sizeof(*(table)), NR(table))
#define NEED_ROW(r, expected, table) need_row(r, expected, table, sizeof(*(table)), NR(table))

static bool read_override(struct script_reader *r, struct script_op *op, const char *expected)
{
	op->is_override = script_take(r, "override");
	return script_need_end(r, op->is_override ? "the end of the line" : expected);
}

static bool read_end(struct script_reader *r)
{
	return script_need_end(r, "the end of the line");
}

static bool read_kind(struct script_reader *r, const char **kind, struct script_place *kind_place)
{
	struct script_place place = script_here(r);
	const char *word = script_read_dashed(r, "a kind of block, like btree-node");

	if (!word)
		return false;
	*kind = word;
	*kind_place = script_since(r, place);
	return true;
}

static bool read_hash(struct script_reader *r, enum script_hash kind, enum script_hash *hash, struct script_bytes *digest)
{
	*hash = kind;
	return script_read_digest(r, hash_words[kind].size, digest);
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
static bool check_fit(struct script_reader *r, const struct script_range *range, struct script_place place, uint32_t bytes)
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

static bool read_fence(struct script_reader *r, struct script_op *op)
{
	op->to = script_read_range(r, RANGE_TARGET);
	return op->to && read_end(r);
}

static bool read_new_name(struct script_reader *r, const char *what, const char **name);

static bool read_let(struct script_reader *r, struct script_op *op)
{
	const char *name;
	int e;

	if (!read_new_name(r, "a name", &name) || !script_need(r, "=") || !(op->value = script_read_expr(r)))
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

static bool read_set(struct script_reader *r, struct script_op *op)
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

static bool read_compare(struct script_reader *r, struct script_op *op)
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
	row = NEED_ROW(r, "=, !=, <, <=, > or >=", compare_words);
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
	int row = NEED_ROW(r, "ok or bad", csum_words);

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
	int row = NEED_ROW(r, "xxh3 or sha256", hash_words);

	op->expectation = EXPECT_HASH;
	return row >= 0 && script_need(r, ":") && read_hash(r, hash_words[row].hash, &op->hash, &op->bytes);
}

static bool expect_kind(struct script_reader *r, struct script_op *op)
{
	op->expectation = EXPECT_KIND;
	return read_kind(r, &op->kind, &op->kind_place);
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
	row = TAKE_ROW(r, bytes_words);
	if (row >= 0)
		return expect_bytes(r, op, place, (unsigned)row);
	script_take(r, "."); /* as in T[0].csum */
	row = NEED_ROW(r, "=, csum, zero, kind, hash, hex, text, u8, u16, u32 or u64", expectations);
	if (row < 0)
		return false;
	if (expectations[row].is_whole && op->from->at)
		return script_fail(r, &op->from->at->place, "expected whole blocks, without '@'");
	return expectations[row].read(r, op);
}

static bool read_expect(struct script_reader *r, struct script_op *op)
{
	if (script_is_range(r))
		return expect_range(r, op) && read_end(r);
	return read_compare(r, op) && script_need_end(r, "an operator or the end of the line");
}

static bool read_verify(struct script_reader *r, struct script_op *op)
{
	static const struct word kind_words[] = { { "kind", 0 }, { "type", 0 } };

	op->to = script_read_range(r, RANGE_TARGET);
	return op->to && NEED_ROW(r, "kind", kind_words) >= 0 && read_kind(r, &op->kind, &op->kind_place) && read_end(r);
}

/* --- patch --- */

static bool read_was(struct script_reader *r, struct script_op *op)
{
	struct script_place place = script_here(r);
	int row = NEED_ROW(r, "hex, text, u8, u16, u32 or u64", bytes_words);

	if (row < 0 || !read_bytes_as(r, bytes_words[row].value, &op->was))
		return false;
	place = script_since(r, place);
	return op->was.size == op->bytes.size ||
	       script_fail(r, &place, "%" PRIu32 " bytes in the place of %" PRIu32, op->bytes.size, op->was.size);
}

static bool read_patch(struct script_reader *r, struct script_op *op)
{
	struct script_place place;
	int row;

	op->to = script_read_range(r, RANGE_BYTES | RANGE_TARGET);
	if (!op->to)
		return false;
	place = script_here(r);
	row = NEED_ROW(r, "hex, text, u8, u16, u32 or u64", bytes_words);
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
		return script_fail(r, &op->to->place, "expected where it begins and no end: the lengths are not known yet");
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

static bool read_copy(struct script_reader *r, struct script_op *op)
{
	return read_ends(r, op, 0) && read_override(r, op, "'override' or the end of the line");
}

static bool read_move(struct script_reader *r, struct script_op *op)
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

static bool read_fill(struct script_reader *r, struct script_op *op)
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
	row = op->to ? NEED_ROW(r, "zero, byte, discard or random", rows) : -1;
	if (row < 0 || (rows[row].read && !rows[row].read(r, op)))
		return false;
	op->filling = rows[row].filling;
	return read_override(r, op, "'override' or the end of the line");
}

static bool read_save(struct script_reader *r, struct script_op *op)
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
	return read_kind(r, &op->kind, &op->kind_place);
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
	row = op->to ? NEED_ROW(r, "as or value", rows) : -1;
	return row >= 0 && rows[row].read(r, op) && read_override(r, op, "'override' or the end of the line");
}

static bool read_checksum(struct script_reader *r, struct script_op *op)
{
	static const struct word modes[] = { { "auto", SEAL_AUTO }, { "keep", SEAL_KEEP } };
	int row;

	if (script_is_volume(r))
		return read_seal(r, op);
	row = NEED_ROW(r, "auto, keep or blocks, like T[9]", modes);
	if (row < 0)
		return false;
	op->sealing = (enum script_sealing)modes[row].value;
	return read_end(r);
}

/* --- what comes first --- */

static bool read_version(struct script_reader *r)
{
	struct script_place place = script_here(r);
	enum script_unit unit;
	uint64_t version;

	if (!script_read_number(r, &version, &unit))
		return false;
	if (version != LANGUAGE || unit != SCRIPT_PLAIN)
		return script_fail(r, &place, "this is a script of another version: version %d is understood", LANGUAGE);
	r->version_line = r->line_nr;
	return read_end(r);
}

static bool read_block_size(struct script_reader *r)
{
	struct script_place place = script_here(r);
	enum script_unit unit;
	uint64_t size;

	if (!script_read_number(r, &size, &unit))
		return false;
	if (!size || size % 512 || size > MAX_BLOCK_SIZE)
		return script_fail(r, &place, "a block is a multiple of 512 bytes, and at most 1GiB");
	r->s.block_size = (uint32_t)size;
	r->s.block_size_place = place;
	return read_end(r);
}

/* --- declarations --- */

static bool volume_kind(struct script_reader *r, struct script_volume *v)
{
	return read_kind(r, &v->kind, &v->kind_place);
}

static bool volume_blocks(struct script_reader *r, struct script_volume *v)
{
	struct script_expr *e;

	if (!script_read_blocks(r, &e))
		return false;
	if (e->kind != EXPR_NUMBER)
		return script_fail(r, &e->place, "expected a number that is known before the script runs");
	v->has_blocks = true;
	v->blocks = e->number;
	return true;
}

static bool volume_xxh3(struct script_reader *r, struct script_volume *v)
{
	v->has_hash = true;
	return read_hash(r, HASH_XXH3, &v->hash, &v->digest);
}

static bool volume_sha256(struct script_reader *r, struct script_volume *v)
{
	v->has_hash = true;
	return read_hash(r, HASH_SHA256, &v->hash, &v->digest);
}

/* What a word says of a volume: once. */
enum { SAYS_KIND = 1, SAYS_BLOCKS = 2, SAYS_HASH = 4 };

static const struct {
	const char *name;
	bool (*read)(struct script_reader *r, struct script_volume *v);
	unsigned says;
} volume_words[] = {
	{ "kind", volume_kind, SAYS_KIND }, { "blocks", volume_blocks, SAYS_BLOCKS },
	{ "xxh3", volume_xxh3, SAYS_HASH }, { "sha256", volume_sha256, SAYS_HASH },
};

/* A target changes, and so has no hash. */
static bool read_volume_word(struct script_reader *r, struct script_volume *v, unsigned *said)
{
	static const char of_target[] = "kind=, blocks=, where or the end of the line";
	static const char of_source[] = "kind=, blocks=, sha256=, xxh3=, where or the end of the line";
	struct script_place place = script_here(r);
	int row;

	if (script_token_length(r) && strchr("\"/", *r->at))
		return script_fail(r, &place, "a script names no files: which file is %s is said on the command line",
				   v->name);
	row = NEED_ROW(r, v->is_target ? of_target : of_source, volume_words);
	if (row < 0)
		return false;
	if (v->is_target && volume_words[row].says == SAYS_HASH)
		return script_fail(r, &place, "only a source has a hash; 'expect %s hash' looks at a target", v->name);
	if (*said & volume_words[row].says)
		return script_fail(r, &place, "%s was said already",
				   volume_words[row].says == SAYS_HASH ? "the hash" : volume_words[row].name);
	*said |= volume_words[row].says;
	return script_need(r, "=") && volume_words[row].read(r, v);
}

static bool read_where(struct script_reader *r, struct script_volume *v)
{
	uint64_t room = 0;
	bool is_good;

	r->own = v;
	do {
		is_good = script_grow(r, &v->where, sizeof(*v->where), v->nr_where, &room);
		if (!is_good)
			break;
		v->where[v->nr_where] = (struct script_op){ .verb = SCRIPT_EXPECT, .place = script_here(r) };
		is_good = read_compare(r, &v->where[v->nr_where++]);
	} while (is_good && script_take(r, ","));
	r->own = NULL;
	return is_good && script_need_end(r, "an operator, ',' or the end of the line");
}

static bool read_volume(struct script_reader *r, bool is_target)
{
	struct script_volume v = { .is_target = is_target, .place = script_here(r) }, *added;
	unsigned said = 0;

	if (!read_new_name(r, is_target ? "a name for the target" : "a name for the source", &v.name))
		return false;
	if (r->s.nr_volumes == SCRIPT_MAX_VOLUMES)
		return script_fail(r, &v.place, "more than %d targets and sources", SCRIPT_MAX_VOLUMES);
	if (!script_grow(r, &r->s.volumes, sizeof(v), r->s.nr_volumes, &r->room_volumes))
		return false;
	added = &r->s.volumes[r->s.nr_volumes++];
	*added = v;
	while (!script_is_end(r)) {
		if (script_take(r, "where"))
			return read_where(r, added);
		if (!read_volume_word(r, added, &said))
			return false;
	}
	return true;
}

static bool read_target(struct script_reader *r)
{
	return read_volume(r, true);
}

static bool read_source(struct script_reader *r)
{
	return read_volume(r, false);
}

/* --- statements --- */

/* In the order in which they come in a script. */
enum part { PART_VERSION, PART_SIZE, PART_VOLUMES, PART_OPS };

static const struct verb {
	const char *name;
	enum part part;
	bool (*read_head)(struct script_reader *r);
	bool (*read_op)(struct script_reader *r, struct script_op *op);
	enum script_verb verb;
} verbs[] = {
	{ "bpatch", PART_VERSION, .read_head = read_version },
	{ "block-size", PART_SIZE, .read_head = read_block_size },
	{ "target", PART_VOLUMES, .read_head = read_target },
	{ "source", PART_VOLUMES, .read_head = read_source },
	{ "fence", PART_OPS, NULL, read_fence, SCRIPT_FENCE },
	{ "expect", PART_OPS, NULL, read_expect, SCRIPT_EXPECT },
	{ "let", PART_OPS, NULL, read_let, SCRIPT_LET },
	{ "set", PART_OPS, NULL, read_set, SCRIPT_SET },
	{ "patch", PART_OPS, NULL, read_patch, SCRIPT_PATCH },
	{ "copy", PART_OPS, NULL, read_copy, SCRIPT_COPY },
	{ "move", PART_OPS, NULL, read_move, SCRIPT_MOVE },
	{ "fill", PART_OPS, NULL, read_fill, SCRIPT_FILL },
	{ "save", PART_OPS, NULL, read_save, SCRIPT_SAVE },
	{ "checksum", PART_OPS, NULL, read_checksum, SCRIPT_CHECKSUM },
	{ "verify", PART_OPS, NULL, read_verify, SCRIPT_VERIFY },
};

/* Beside the verbs. */
static const char *const keywords[] = {
	"as", "auto", "bad", "blocks", "byte", "csum", "discard", "hash", "hex", "keep", "kind", "ok", "override", "random",
	"seed", "sha256", "text", "then", "type", "u16", "u32", "u64", "u8", "value", "was", "where", "xxh3", "zero",
};

static bool is_word(const char *word, const char *at, size_t len)
{
	return len && *word == *at && strlen(word) == len && !memcmp(word, at, len);
}

bool script_is_keyword(struct script_reader *r)
{
	size_t len = script_token_length(r);

	for (size_t i = 0; i < NR(keywords); i++)
		if (is_word(keywords[i], r->at, len))
			return true;
	for (size_t i = 0; i < NR(verbs); i++)
		if (is_word(verbs[i].name, r->at, len))
			return true;
	return false;
}

/* Of a volume or a let: nothing else is called so. */
static bool read_new_name(struct script_reader *r, const char *what, const char **name)
{
	struct script_place place = script_here(r);
	const char *word;
	bool is_taken;
	long let;
	int volume;

	if (!script_is_name(r))
		return script_expected(r, what);
	if (script_token_length(r) > SCRIPT_MAX_NAME)
		return script_fail(r, &place, "a name has at most %d characters", SCRIPT_MAX_NAME);
	is_taken = script_is_keyword(r) || script_is_next(r, "nr_blocks");
	word = script_read_token(r);
	if (!word)
		return false;
	if (is_taken)
		return script_fail(r, &place, "'%s' is a word of the language: choose another name", word);
	volume = script_find_volume(r, word, strlen(word));
	if (volume >= 0)
		return script_fail(r, &place, "'%s' is declared already, in line %" PRIu32, word,
				   r->s.volumes[volume].place.line);
	let = script_find_let(r, word, strlen(word));
	if (let >= 0)
		return script_fail(r, &place, "'%s' is bound already, in line %" PRIu32, word, r->let_values[let].line);
	*name = word;
	return true;
}

static const struct verb *find_verb(struct script_reader *r, const char *word, const struct script_place *place)
{
	const char *near;

	for (size_t i = 0; i < NR(verbs); i++)
		if (!strcmp(verbs[i].name, word))
			return &verbs[i];
	near = script_nearest(word, verbs, sizeof(*verbs), NR(verbs));
	if (near)
		script_fail(r, place, "no statement is called '%.40s': did you mean '%s'?", word, near);
	else
		script_fail(r, place, "no statement is called '%.40s'", word);
	return NULL;
}

static bool has_target(const struct script_reader *r)
{
	for (unsigned i = 0; i < r->s.nr_volumes; i++)
		if (r->s.volumes[i].is_target)
			return true;
	return false;
}

static bool check_order(struct script_reader *r, const struct verb *verb, const struct script_place *place)
{
	if (verb->part == PART_VERSION && r->version_line)
		return script_fail(r, place, "'bpatch' was said already, in line %" PRIu32, r->version_line);
	if (verb->part == PART_SIZE && r->s.block_size)
		return script_fail(r, place, "'block-size' was said already, in line %" PRIu32, r->s.block_size_place.line);
	if (verb->part > PART_SIZE && !r->s.block_size)
		return script_fail(r, place, "expected 'block-size SIZE' before '%s'", verb->name);
	if (verb->part == PART_VOLUMES && r->first_op_line)
		return script_fail(r, place, "declarations come before the first operation, which is in line %" PRIu32,
				   r->first_op_line);
	if (verb->part == PART_OPS && !has_target(r))
		return script_fail(r, place, "expected 'target NAME' before '%s'", verb->name);
	return true;
}

static bool read_op(struct script_reader *r, const struct verb *verb, const struct script_place *place)
{
	struct script_op op = { .verb = verb->verb, .place = *place };

	if (r->s.nr_ops == SCRIPT_MAX_OPS)
		return script_fail(r, place, "more than %d operations", SCRIPT_MAX_OPS);
	if (!r->first_op_line)
		r->first_op_line = r->line_nr;
	if (!verb->read_op(r, &op) || !script_grow(r, &r->s.ops, sizeof(op), r->s.nr_ops, &r->room_ops))
		return false;
	r->s.ops[r->s.nr_ops++] = op;
	return true;
}

bool script_read_statement(struct script_reader *r)
{
	struct script_place place = script_here(r);
	const struct verb *verb;
	const char *word;

	word = script_read_dashed(r, r->version_line ? "a statement" : "'bpatch 1'");
	if (!word)
		return false;
	place = script_since(r, place);
	if (!r->version_line && strcmp(word, "bpatch") != 0)
		return script_fail(r, &place, "expected 'bpatch 1', found '%.40s'", word);
	verb = find_verb(r, word, &place);
	if (!verb || !check_order(r, verb, &place))
		return false;
	if (!(verb->read_head ? verb->read_head(r) : read_op(r, verb, &place)))
		return false;
	place = script_since(r, place);
	r->last = (struct script_place){ place.line, place.column + place.length, 1 };
	return true;
}

static bool missing(struct script_reader *r, const char *what)
{
	return script_fail(r, &r->last, "expected %s, found the end of the script", what);
}

bool script_read_end(struct script_reader *r)
{
	if (!r->version_line)
		return missing(r, "'bpatch 1'");
	if (!r->s.block_size)
		return missing(r, "'block-size SIZE'");
	return has_target(r) || missing(r, "'target NAME'");
}
