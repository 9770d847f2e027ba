// SPDX-License-Identifier: LGPL-2.1-or-later
/* Statements, a row of verbs[] each; and those that come first. */
#include <inttypes.h>
#include <string.h>

#include "text/script_int.h"

#define MAX_BLOCK_SIZE (1u << 30)
#define LANGUAGE 1

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
	return script_need_end(r, "the end of the line");
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
	return script_need_end(r, "the end of the line");
}

/* --- declarations --- */

static bool volume_kind(struct script_reader *r, struct script_volume *v)
{
	return script_read_kind(r, &v->kind, &v->kind_place);
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
	v->hash = HASH_XXH3;
	return script_read_hash(r, HASH_XXH3, &v->digest);
}

static bool volume_sha256(struct script_reader *r, struct script_volume *v)
{
	v->has_hash = true;
	v->hash = HASH_SHA256;
	return script_read_hash(r, HASH_SHA256, &v->digest);
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
	row = SCRIPT_NEED_ROW(r, v->is_target ? of_target : of_source, volume_words);
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
		is_good = script_read_compare(r, &v->where[v->nr_where++]);
	} while (is_good && script_take(r, ","));
	r->own = NULL;
	return is_good && script_need_end(r, "an operator, ',' or the end of the line");
}

static bool read_volume(struct script_reader *r, bool is_target)
{
	struct script_volume v = { .is_target = is_target, .place = script_here(r) }, *added;
	unsigned said = 0;

	if (!script_read_new_name(r, is_target ? "a name for the target" : "a name for the source", &v.name))
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
	{ "fence", PART_OPS, NULL, script_read_fence, SCRIPT_FENCE },
	{ "expect", PART_OPS, NULL, script_read_expect, SCRIPT_EXPECT },
	{ "let", PART_OPS, NULL, script_read_let, SCRIPT_LET },
	{ "set", PART_OPS, NULL, script_read_set, SCRIPT_SET },
	{ "patch", PART_OPS, NULL, script_read_patch, SCRIPT_PATCH },
	{ "copy", PART_OPS, NULL, script_read_copy, SCRIPT_COPY },
	{ "move", PART_OPS, NULL, script_read_move, SCRIPT_MOVE },
	{ "fill", PART_OPS, NULL, script_read_fill, SCRIPT_FILL },
	{ "save", PART_OPS, NULL, script_read_save, SCRIPT_SAVE },
	{ "checksum", PART_OPS, NULL, script_read_checksum, SCRIPT_CHECKSUM },
	{ "verify", PART_OPS, NULL, script_read_verify, SCRIPT_VERIFY },
};

/* Beside the verbs. */
static const char *const keywords[] = {
	"as", "auto", "bad", "blocks", "byte", "csum", "discard", "hash", "hex", "keep", "kind", "ok", "override",
	"random", "seed", "sha256", "text", "then", "type", "u16", "u32", "u64", "u8", "value", "was", "where", "xxh3",
	"zero",
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
bool script_read_new_name(struct script_reader *r, const char *what, const char **name)
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
		return script_fail(r, place, "'block-size' was said already, in line %" PRIu32,
				   r->s.block_size_place.line);
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
