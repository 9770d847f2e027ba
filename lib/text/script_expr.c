// SPDX-License-Identifier: LGPL-2.1-or-later
/* Expressions, fields and ranges. What is constant is computed here, so that its mistakes have a place. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "text/script_int.h"

#define MAX_FIELD_NAME 32

/* --- names --- */

int script_find_volume(const struct script_reader *r, const char *name, size_t len)
{
	for (unsigned i = 0; i < r->s.nr_volumes; i++)
		if (strlen(r->s.volumes[i].name) == len && !memcmp(r->s.volumes[i].name, name, len))
			return (int)i;
	return -1;
}

long script_find_let(const struct script_reader *r, const char *name, size_t len)
{
	char text[SCRIPT_MAX_NAME + 1];

	if (len > SCRIPT_MAX_NAME)
		return -1;
	memcpy(text, name, len);
	text[len] = '\0';
	return (long)string_set_find(&r->let_names, text) - 1;
}

/* The volume that the next token names, or -1. */
static int next_volume(struct script_reader *r)
{
	return script_is_name(r) ? script_find_volume(r, r->at, script_token_length(r)) : -1;
}

bool script_is_volume(struct script_reader *r)
{
	return next_volume(r) >= 0;
}

/* --- nesting --- */

/* Into brackets. Errors end it all, so only what is right needs to leave. */
static bool enter(struct script_reader *r)
{
	struct script_place place = script_here(r);

	return r->nesting++ < SCRIPT_MAX_NESTING ||
	       script_fail(r, &place, "brackets are more than %d deep", SCRIPT_MAX_NESTING);
}

static bool leave(struct script_reader *r, const char *closing)
{
	r->nesting--;
	return script_need(r, closing);
}

/* --- fields --- */

static bool is_field_name(const char *name, size_t len)
{
	if (len > MAX_FIELD_NAME)
		return false;
	for (size_t i = 0; i < len; i++)
		if (isupper((unsigned char)name[i]))
			return false;
	return true;
}

/* The number of something: no bytes. */
static bool read_plain(struct script_reader *r, struct script_expr **e)
{
	struct script_expr *plain = script_read_expr(r);

	if (!plain)
		return false;
	if (plain->unit == SCRIPT_BYTES)
		return script_fail(r, &plain->place, "expected a number, found bytes");
	*e = plain;
	return true;
}

/* What is between brackets; the first one was passed. Inside, what is said of an @ before it does not hold. */
static bool read_inside(struct script_reader *r, const char *closing, bool is_block, struct script_expr **e)
{
	bool was_offset = r->is_offset;

	r->is_offset = false;
	if (!enter(r) || !(is_block ? script_read_blocks : read_plain)(r, e))
		return false;
	r->is_offset = was_offset;
	return leave(r, closing);
}

static bool read_step(struct script_reader *r, struct script_step *step)
{
	struct script_place place = script_here(r);
	size_t len = script_token_length(r);

	if (!script_is_name(r))
		return script_expected(r, "the name of a field");
	if (!is_field_name(r->at, len))
		return script_fail(r, &place, "expected the name of a field: small letters, digits and _, at most %d",
				   MAX_FIELD_NAME);
	*step = (struct script_step){ .name = script_read_token(r) };
	if (!step->name || (script_take(r, "(") && !read_inside(r, ")", false, &step->argument)) ||
	    (script_take(r, "[") && !read_inside(r, "]", false, &step->index)))
		return false;
	step->place = script_since(r, place);
	return true;
}

/* From a name on. A path that is too long is no path of any format. */
static bool read_steps(struct script_reader *r, struct script_field *f)
{
	struct script_step steps[SCRIPT_MAX_STEPS];

	do {
		struct script_place place = script_here(r);

		if (f->nr_steps == SCRIPT_MAX_STEPS)
			return script_fail(r, &place, "a path of more than %d names", SCRIPT_MAX_STEPS);
		if (!read_step(r, &steps[f->nr_steps++]))
			return false;
	} while (script_take(r, "."));
	f->steps = script_alloc(r, f->nr_steps * sizeof(*steps));
	if (f->steps)
		memcpy(f->steps, steps, f->nr_steps * sizeof(*steps));
	return f->steps;
}

/* The names of all volumes, or of the targets, for a message. */
static const char *list_volumes(const struct script_reader *r, bool only_targets, char *text, size_t room)
{
	const char *separator = "";
	size_t len = 0;

	*text = '\0';
	for (unsigned i = 0; i < r->s.nr_volumes; i++) {
		const struct script_volume *v = &r->s.volumes[i];

		if (only_targets && !v->is_target)
			continue;
		if (len + strlen(v->name) + 8 > room) {
			memcpy(text + len, ", ...", 6);
			break;
		}
		len += (size_t)sprintf(text + len, "%s%s", separator, v->name);
		separator = ", ";
	}
	return text;
}

/* What a path without a volume is of. */
static bool find_only_target(struct script_reader *r, unsigned *volume)
{
	struct script_place place = script_here(r);
	size_t len = script_token_length(r);
	unsigned nr = 0;
	char names[128];

	for (unsigned i = 0; i < r->s.nr_volumes; i++)
		if (r->s.volumes[i].is_target && !nr++)
			*volume = i;
	if (r->own)
		*volume = (unsigned)(r->own - r->s.volumes);
	if (r->own || nr == 1)
		return true;
	return script_fail(r, &place, "'%.*s' of which target? There are %s", len > 40 ? 40 : (int)len, r->at,
			   list_volumes(r, true, names, sizeof(names)));
}

/* VOLUME. or VOLUME[BLOCK]. */
static bool read_volume(struct script_reader *r, unsigned volume, struct script_field *f)
{
	struct script_place place = script_here(r);

	if (r->own && volume != (unsigned)(r->own - r->s.volumes))
		return script_fail(r, &place, "what is behind 'where' is of %s alone", r->own->name);
	f->volume = volume;
	script_take(r, r->s.volumes[volume].name);
	if (script_take(r, "[") && !read_inside(r, "]", true, &f->block))
		return false;
	return script_take(r, ".") || script_expected(r, "'.' and the name of a field");
}

/* No field has capital letters. */
static bool is_like_volume(struct script_reader *r)
{
	size_t len = script_token_length(r);

	return len <= SCRIPT_MAX_NAME && !is_field_name(r->at, len);
}

/* A name that should have been declared. */
static bool unknown_volume(struct script_reader *r)
{
	struct script_place place = script_here(r);
	char names[128], word[SCRIPT_MAX_NAME + 1];
	size_t len = script_token_length(r);
	const char *near = NULL;

	if (!script_is_name(r))
		return script_expected(r, "blocks, like T[7..9]");
	if (len <= SCRIPT_MAX_NAME) {
		memcpy(word, r->at, len);
		word[len] = '\0';
		near = script_nearest(word, r->s.volumes, sizeof(*r->s.volumes), r->s.nr_volumes);
	}
	if (near)
		return script_fail(r, &place, "'%s' is not declared: did you mean '%s'?", word, near);
	return script_fail(r, &place, "'%.*s' is not declared: there are %s", (int)(len > 40 ? 40 : len), r->at,
			   list_volumes(r, false, names, sizeof(names)));
}

struct script_field *script_read_field(struct script_reader *r)
{
	struct script_place place = script_here(r);
	struct script_field *f = script_alloc(r, sizeof(*f));
	int volume = next_volume(r);

	if (!f)
		return NULL;
	if (!script_is_name(r) || script_is_keyword(r)) {
		script_expected(r, "a field, like sb.flags");
		return NULL;
	}
	if (volume < 0 && is_like_volume(r) && !unknown_volume(r))
		return NULL;
	if (volume >= 0 ? !read_volume(r, (unsigned)volume, f) : !find_only_target(r, &f->volume))
		return NULL;
	if (!read_steps(r, f))
		return NULL;
	f->place = script_since(r, place);
	return f;
}

/* --- expressions --- */

static struct script_expr *new_expr(struct script_reader *r, enum script_expr_kind kind, struct script_place place)
{
	struct script_expr *e = script_alloc(r, sizeof(*e));

	if (e) {
		e->kind = kind;
		e->place = place;
	}
	return e;
}

static struct script_expr *read_number(struct script_reader *r)
{
	struct script_expr *e = new_expr(r, EXPR_NUMBER, script_here(r));

	return e && script_read_number(r, &e->number, &e->unit) ? e : NULL;
}

/* What is known is as good as if it stood here. */
static struct script_expr *read_let(struct script_reader *r, unsigned let)
{
	struct script_expr *e = new_expr(r, EXPR_LET, script_here(r));
	const struct script_expr *value = r->let_values[let].value;

	if (!e)
		return NULL;
	if (value->kind == EXPR_NUMBER)
		e->kind = EXPR_NUMBER;
	e->number = value->number;
	e->unit = value->unit;
	e->let = let;
	script_take(r, r->s.lets[let]);
	return e;
}

/* A let is one name and no more. */
static long next_let(struct script_reader *r)
{
	size_t len = script_token_length(r);
	const char *behind = r->at + len;

	while (behind < r->end && (*behind == ' ' || *behind == '\t'))
		behind++;
	if (behind < r->end && (*behind == '(' || *behind == '[' ||
				(*behind == '.' && (behind + 1 == r->end || behind[1] != '.'))))
		return -1;
	return script_find_let(r, r->at, len);
}

static struct script_expr *read_name(struct script_reader *r)
{
	long let = next_let(r);
	struct script_expr *e;

	if (let >= 0)
		return read_let(r, (unsigned)let);
	e = new_expr(r, EXPR_FIELD, script_here(r));
	if (!e || !(e->field = script_read_field(r)))
		return NULL;
	e->place = e->field->place;
	return e;
}

static struct script_expr *read_parentheses(struct script_reader *r)
{
	struct script_place place = script_here(r);
	struct script_expr *e;

	script_take(r, "(");
	e = enter(r) ? script_read_expr(r) : NULL;
	if (!e || !leave(r, ")"))
		return NULL;
	e->place = script_since(r, place);
	return e;
}

static struct script_expr *read_primary(struct script_reader *r)
{
	if (script_is_number(r))
		return read_number(r);
	if (script_is_name(r) && !script_is_keyword(r))
		return read_name(r);
	if (script_is_next(r, "("))
		return read_parentheses(r);
	script_expected(r, "a number, a name or '('");
	return NULL;
}

static bool is_zero(const struct script_expr *e)
{
	return e->kind == EXPR_NUMBER && e->unit == SCRIPT_PLAIN && !e->number;
}

/* The unit of a sum is that of both sides. Zero has any, and behind an @ everything is bytes in the end. */
static bool find_unit(struct script_reader *r, struct script_expr *e)
{
	const struct script_expr *a = e->left, *b = e->right;

	e->unit = a->unit == SCRIPT_BYTES || b->unit == SCRIPT_BYTES ? SCRIPT_BYTES : SCRIPT_PLAIN;
	if (e->kind == EXPR_MUL)
		return a->unit == SCRIPT_PLAIN || b->unit == SCRIPT_PLAIN ||
		       script_fail(r, &e->place, "multiplies bytes by bytes");
	return a->unit == b->unit || is_zero(a) || is_zero(b) || r->is_offset ||
	       script_fail(r, &e->place, "mixes blocks and bytes");
}

static bool fold(struct script_reader *r, struct script_expr *e)
{
	uint64_t a = e->left->number, b = e->right->number;

	if (e->left->kind != EXPR_NUMBER || e->right->kind != EXPR_NUMBER)
		return true;
	if (e->kind == EXPR_SUB && a < b)
		return script_fail(r, &e->place, "goes below 0: %" PRIu64 " - %" PRIu64, a, b);
	if (e->kind == EXPR_SUB)
		e->number = a - b;
	else if (!(e->kind == EXPR_ADD ? checked_add : checked_mul)(a, b, &e->number))
		return script_fail(r, &e->place, "does not fit into 64 bits");
	e->kind = EXPR_NUMBER;
	e->left = e->right = NULL;
	return true;
}

/* The operator was passed; what is on its left is *@e, which becomes all of it. */
static bool combine(struct script_reader *r, enum script_expr_kind kind, struct script_expr *right,
		    struct script_expr **e)
{
	struct script_expr *both = right ? new_expr(r, kind, script_since(r, (*e)->place)) : NULL;

	if (!both)
		return false;
	if (r->operators++ == SCRIPT_MAX_NESTING)
		return script_fail(r, &both->place, "more than %d operators in a line", SCRIPT_MAX_NESTING);
	both->left = *e;
	both->right = right;
	*e = both;
	return find_unit(r, both) && fold(r, both);
}

static struct script_expr *read_product(struct script_reader *r)
{
	struct script_expr *e = read_primary(r);

	while (e && script_take(r, "*"))
		if (!combine(r, EXPR_MUL, read_primary(r), &e))
			return NULL;
	return e;
}

struct script_expr *script_read_expr(struct script_reader *r)
{
	struct script_expr *e = read_product(r);

	while (e) {
		enum script_expr_kind kind = script_take(r, "+") ? EXPR_ADD : EXPR_SUB;

		if (kind == EXPR_SUB && !script_take(r, "-"))
			return e;
		if (!combine(r, kind, read_product(r), &e))
			return NULL;
	}
	return NULL;
}

bool script_read_constant(struct script_reader *r, struct script_expr **e)
{
	struct script_expr *constant = script_read_expr(r);

	if (!constant)
		return false;
	if (constant->kind != EXPR_NUMBER)
		return script_fail(r, &constant->place, "expected a number that is known before the script runs");
	*e = constant;
	return true;
}

bool script_read_blocks(struct script_reader *r, struct script_expr **e)
{
	struct script_expr *blocks = script_read_expr(r);

	if (!blocks)
		return false;
	if (blocks->unit == SCRIPT_BYTES && blocks->kind != EXPR_NUMBER)
		return script_fail(r, &blocks->place, "expected blocks, found bytes whose number is not known yet");
	if (blocks->unit == SCRIPT_BYTES && blocks->number % r->s.block_size)
		return script_fail(r, &blocks->place, "%" PRIu64 " bytes are no whole number of blocks of %" PRIu32,
				   blocks->number, r->s.block_size);
	if (blocks->unit == SCRIPT_BYTES)
		blocks->number /= r->s.block_size;
	blocks->unit = SCRIPT_PLAIN;
	*e = blocks;
	return true;
}

/* --- ranges --- */

bool script_range_length(const struct script_range *range, uint64_t *blocks)
{
	const struct script_expr *begin = range->begin, *end = range->end, *length = range->length;

	if ((length && length->kind != EXPR_NUMBER) ||
	    (end && (end->kind != EXPR_NUMBER || begin->kind != EXPR_NUMBER)))
		return false;
	*blocks = length ? length->number : end ? end->number - begin->number : 1;
	return true;
}

static bool check_range(struct script_reader *r, const struct script_range *range)
{
	const struct script_expr *begin = range->begin, *end = range->end, *length = range->length;
	bool is_known = begin->kind == EXPR_NUMBER;
	uint64_t blocks;

	if (is_known && end && end->kind == EXPR_NUMBER && end->number < begin->number)
		return script_fail(r, &range->place, "the range ends before it begins");
	if (script_range_length(range, &blocks) && !blocks)
		return script_fail(r, &range->place, "the range is empty: its end is the first block that is not in it");
	return !is_known || !length || length->kind != EXPR_NUMBER ||
	       checked_add(begin->number, length->number, &blocks) ||
	       script_fail(r, &range->place, "does not fit into 64 bits");
}

/* All of it: [0..nr_blocks]; or where it begins. */
static bool make_whole(struct script_reader *r, struct script_range *range, bool is_begin)
{
	struct script_field *f;

	range->begin = new_expr(r, EXPR_NUMBER, range->place);
	if (!range->begin || is_begin)
		return range->begin;
	range->end = new_expr(r, EXPR_FIELD, range->place);
	f = range->end ? script_alloc(r, sizeof(*f)) : NULL;
	if (!f || !(f->steps = script_alloc(r, sizeof(*f->steps))))
		return false;
	f->place = f->steps->place = range->place;
	f->volume = range->volume;
	f->steps->name = "nr_blocks";
	f->nr_steps = 1;
	range->end->field = f;
	return true;
}

static bool read_blocks_inside(struct script_reader *r, struct script_range *range)
{
	if (!enter(r) || !script_read_blocks(r, &range->begin))
		return false;
	if (script_take(r, "..") &&
	    !script_read_blocks(r, script_take(r, "+") ? &range->length : &range->end))
		return false;
	return leave(r, "]");
}

static bool read_offset(struct script_reader *r, struct script_range *range)
{
	uint64_t blocks, size;
	struct script_expr *at;

	r->is_offset = true;
	at = script_read_expr(r);
	r->is_offset = false;
	if (!at)
		return false;
	at->unit = SCRIPT_BYTES;
	range->at = at;
	if (at->kind != EXPR_NUMBER || !script_range_length(range, &blocks) ||
	    !checked_mul(blocks, r->s.block_size, &size) || at->number < size)
		return true;
	return script_fail(r, &at->place, "byte %" PRIu64 " is not in the range, which has %" PRIu64 " bytes", at->number,
			   size);
}

/* What was asked for, and what it is. */
static bool check_use(struct script_reader *r, const struct script_range *range, unsigned flags)
{
	const struct script_volume *v = &r->s.volumes[range->volume];

	if (flags & RANGE_TARGET && !v->is_target)
		return script_fail(r, &range->place, "%s is a source, and these are only read", v->name);
	if (!(flags & RANGE_BYTES) && range->at)
		return script_fail(r, &range->at->place, "expected whole blocks, without '@'");
	return true;
}

struct script_range *script_read_range(struct script_reader *r, unsigned flags)
{
	struct script_range *range = script_alloc(r, sizeof(*range));
	int volume = next_volume(r);

	if (!range || (volume < 0 && !unknown_volume(r)))
		return NULL;
	range->place = script_here(r);
	range->volume = (unsigned)volume;
	script_take(r, r->s.volumes[volume].name);
	if (!(script_take(r, "[") ? read_blocks_inside(r, range) : make_whole(r, range, flags & RANGE_BEGIN)))
		return NULL;
	range->place = script_since(r, range->place);
	if (!check_range(r, range) || (script_take(r, "@") && !read_offset(r, range)))
		return NULL;
	range->place = script_since(r, range->place);
	return check_use(r, range, flags) ? range : NULL;
}

/* --- ranges and fields --- */

static const char *skip_blanks(const struct script_reader *r, const char *p)
{
	while (p < r->end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

/* Behind the bracket that closes the one at @p, or the end of the line. */
static const char *skip_brackets(const struct script_reader *r, const char *p)
{
	unsigned depth = 0;

	for (; p < r->end && *p != '#' && *p != '"'; p++) {
		depth += *p == '[';
		depth -= *p == ']';
		if (!depth)
			return p + 1;
	}
	return r->end;
}

static const char *skip_word(const struct script_reader *r, const char *p, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(r->end - p) < len || memcmp(p, word, len) != 0 ||
	    (p + len < r->end && script_is_word_character(p[len])))
		return NULL;
	return p + len;
}

/* Before ".csum ok" there is a range; before ".csum =", as before all other fields, there is not. */
bool script_is_range(struct script_reader *r)
{
	const char *p;

	if (!script_is_volume(r))
		return false;
	p = skip_blanks(r, r->at + script_token_length(r));
	if (p < r->end && *p == '[')
		p = skip_blanks(r, skip_brackets(r, p));
	if (p == r->end || *p != '.')
		return true;
	p = skip_word(r, skip_blanks(r, p + 1), "csum");
	p = p ? skip_blanks(r, p) : NULL;
	return p && (skip_word(r, p, "ok") || skip_word(r, p, "bad"));
}
