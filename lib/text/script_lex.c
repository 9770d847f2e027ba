// SPDX-License-Identifier: LGPL-2.1-or-later
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "text/script_int.h"

#define MAX_NUMBER 64 /* characters */

/* --- characters --- */

/* Of the first byte: how many bytes there are, and the smallest code that needs so many. */
static unsigned sequence_length(unsigned char first, uint32_t *smallest)
{
	static const uint32_t smallest_of[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned len = first < 0x80 ? 1 : first < 0xC0 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF8 ? 4 : 0;

	*smallest = smallest_of[len];
	return len;
}

unsigned script_character(const char *p, const char *end, uint32_t *code)
{
	uint32_t smallest, c = (unsigned char)*p;
	unsigned len = sequence_length((unsigned char)*p, &smallest);

	*code = UINT32_MAX;
	if (!len || (size_t)(end - p) < len)
		return 1;
	if (len > 1)
		c &= 0x7F >> len;
	for (unsigned i = 1; i < len; i++) {
		if (((unsigned char)p[i] & 0xC0) != 0x80)
			return 1;
		c = c << 6 | ((unsigned char)p[i] & 0x3F);
	}
	if (c < smallest || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 1;
	*code = c;
	return len;
}

static uint32_t count_characters(const char *p, const char *end)
{
	uint32_t nr = 0, code;

	for (; p < end; nr++)
		p += script_character(p, end, &code);
	return nr;
}

/* From 1 on. Places are asked for from left to right, so no line is counted twice. */
static uint32_t column_of(struct script_reader *r, const char *at)
{
	if (at < r->mark) {
		r->mark = r->line;
		r->mark_column = 1;
	}
	r->mark_column += count_characters(r->mark, at);
	r->mark = at;
	return r->mark_column;
}

static struct script_place place_of(struct script_reader *r, const char *at, size_t len)
{
	return (struct script_place){
		.line = r->line_nr, .column = column_of(r, at), .length = len ? count_characters(at, at + len) : 1,
	};
}

/* --- lines --- */

static bool check_characters(struct script_reader *r)
{
	struct script_place place;
	uint32_t code;
	unsigned len;

	for (const char *p = r->line; p < r->end; p += len) {
		len = script_character(p, r->end, &code);
		if (code != UINT32_MAX && (code >= 0x20 || code == '\t') && (code < 0x7F || code > 0x9F))
			continue;
		place = place_of(r, p, len);
		if (code == UINT32_MAX)
			return script_fail(r, &place, "this is not UTF-8: byte 0x%02x", (unsigned char)*p);
		return script_fail(r, &place, "a control character: 0x%02" PRIx32, code);
	}
	return true;
}

static bool begin_line(struct script_reader *r)
{
	const char *source_end = r->s.source + r->s.size;
	const char *newline = memchr(r->next_line, '\n', (size_t)(source_end - r->next_line));
	static const struct script_place whole = { .column = 1, .length = 1 };
	struct script_place place = whole;

	r->line = r->at = r->mark = r->token_end = r->next_line;
	r->mark_column = 1;
	r->end = newline ? newline : source_end;
	r->next_line = newline ? newline + 1 : source_end;
	r->end -= r->end > r->line && r->end[-1] == '\r';
	place.line = ++r->line_nr;
	if (r->end - r->line > SCRIPT_MAX_LINE)
		return script_fail(r, &place, "a line of more than %d bytes", SCRIPT_MAX_LINE);
	return check_characters(r);
}

int script_next_line(struct script_reader *r)
{
	while (r->next_line < r->s.source + r->s.size) {
		if (!begin_line(r))
			return r->result;
		r->nesting = r->operators = 0;
		r->is_offset = false;
		if (!script_is_end(r))
			return 1;
	}
	return 0;
}

/* --- tokens --- */

bool script_is_word_character(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Past blanks, to the next token. A comment ends the line. */
static char look(struct script_reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
		r->at++;
	if (r->at < r->end && *r->at == '#')
		r->end = r->at;
	return r->at < r->end ? *r->at : '\0';
}

bool script_is_end(struct script_reader *r)
{
	return !look(r);
}

bool script_is_name(struct script_reader *r)
{
	char c = look(r);

	return isalpha((unsigned char)c) || c == '_';
}

bool script_is_number(struct script_reader *r)
{
	return isdigit((unsigned char)look(r));
}

size_t script_token_length(struct script_reader *r)
{
	static const char pairs[] = "-> .. <= >= != ==";
	size_t left, len = 0;
	uint32_t code;

	if (!look(r))
		return 0;
	left = (size_t)(r->end - r->at);
	while (len < left && script_is_word_character(r->at[len]))
		len++;
	if (len)
		return len;
	for (const char *pair = pairs; left > 1; pair += 3) {
		if (pair[0] == r->at[0] && pair[1] == r->at[1])
			return 2;
		if (!pair[2])
			break;
	}
	return script_character(r->at, r->end, &code);
}

static void pass(struct script_reader *r, size_t len)
{
	r->at += len;
	r->token_end = r->at;
}

struct script_place script_here(struct script_reader *r)
{
	size_t len = script_token_length(r);

	return place_of(r, r->at, len);
}

struct script_place script_since(struct script_reader *r, struct script_place start)
{
	start.length = column_of(r, r->token_end) - start.column;
	return start;
}

bool script_is_next(struct script_reader *r, const char *token)
{
	size_t len = script_token_length(r);

	return len && len == strlen(token) && !memcmp(r->at, token, len);
}

bool script_take(struct script_reader *r, const char *token)
{
	bool is_next = script_is_next(r, token);

	if (is_next)
		pass(r, strlen(token));
	return is_next;
}

bool script_expected(struct script_reader *r, const char *what)
{
	struct script_place place = script_here(r);
	size_t len = script_token_length(r);

	if (!len)
		return script_fail(r, &place, "expected %s, found the end of the line", what);
	if (*r->at == '"')
		return script_fail(r, &place, "expected %s, found a string", what);
	return script_fail(r, &place, "expected %s, found '%.*s'%s", what, len > 40 ? 40 : (int)len, r->at,
			   len > 40 ? "..." : "");
}

bool script_need(struct script_reader *r, const char *token)
{
	char what[16];

	if (script_take(r, token))
		return true;
	snprintf(what, sizeof(what), "'%s'", token);
	return script_expected(r, what);
}

bool script_need_end(struct script_reader *r, const char *expected)
{
	static const char *const last_words[] = { "override", "then", "was" };
	struct script_place place = script_here(r);
	const char *word, *near;

	if (script_is_end(r))
		return true;
	if (!script_is_name(r))
		return script_expected(r, expected);
	word = script_read_token(r);
	near = word ? script_nearest(word, last_words, sizeof(*last_words), NR(last_words)) : NULL;
	if (near && strstr(expected, near))
		return script_fail(r, &place, "expected %s, found '%.40s': did you mean '%s'?", expected, word, near);
	return word && script_fail(r, &place, "expected %s, found '%.40s'", expected, word);
}

/* --- words --- */

char *script_read_token(struct script_reader *r)
{
	size_t len = script_token_length(r);
	char *word = script_copy(r, r->at, len);

	pass(r, len);
	return word;
}

char *script_read_dashed(struct script_reader *r, const char *what)
{
	size_t len = 0;
	char *word;

	if (!script_is_name(r)) {
		script_expected(r, what);
		return NULL;
	}
	while (r->at + len < r->end && (script_is_word_character(r->at[len]) || r->at[len] == '-'))
		len++;
	word = script_copy(r, r->at, len);
	pass(r, len);
	return word;
}

/* All letters and digits there are, so that "12Q" is one wrong number. */
bool script_read_number(struct script_reader *r, uint64_t *value, enum script_unit *unit)
{
	size_t len = script_token_length(r);
	struct script_place place = script_here(r);
	char text[MAX_NUMBER + 1];
	int e = -EINVAL;

	if (!script_is_number(r))
		return script_expected(r, "a number");
	snprintf(text, sizeof(text), "%.*s", (int)(len > MAX_NUMBER ? MAX_NUMBER : len), r->at);
	if (len <= MAX_NUMBER) {
		*unit = SCRIPT_PLAIN;
		e = units_parse_number(text, value);
		if (e == -EINVAL) {
			*unit = SCRIPT_BYTES;
			e = units_parse_size(text, 1, value);
		}
	}
	if (e == -ERANGE)
		return script_fail(r, &place, "%s does not fit into 64 bits", text);
	if (e)
		return script_fail(r, &place, "'%s' is no number, nor a size like 4KiB, 64M or 8s", text);
	pass(r, len);
	if (r->end - r->at > 1 && r->at[0] == '.' && isdigit((unsigned char)r->at[1]))
		return script_fail(r, &place, "numbers have no fractions");
	return true;
}

/* --- bytes --- */

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *digit = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return digit ? (int)(digit - digits) : -1;
}

/* A pair of digits at *@p, or -1. */
static int hex_pair(const char *p, const char *end)
{
	int high, low;

	if (end - p < 2)
		return -1;
	high = hex_digit(p[0]);
	low = hex_digit(p[1]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* What is behind a backslash at *@p, which is moved past it; or -1. */
static int escaped(const char **p, const char *end)
{
	static const char names[] = "\"\\n0", bytes[] = "\"\\\n";
	const char *name = *p < end && **p ? strchr(names, **p) : NULL;
	int byte;

	if (name) {
		(*p)++;
		return bytes[name - names];
	}
	if (*p == end || **p != 'x')
		return -1;
	byte = hex_pair(*p + 1, end);
	*p += byte < 0 ? 1 : 3;
	return byte;
}

static bool read_text(struct script_reader *r, const char *p, const char *end, struct script_bytes *bytes)
{
	while (p < end) {
		const char *from = p++;
		struct script_place place;
		int c = (unsigned char)*from;

		if (c == '\\')
			c = escaped(&p, end);
		if (c < 0) {
			place = place_of(r, from, (size_t)(end - from > 1 ? 2 : 1));
			return script_fail(r, &place, "expected \\\", \\\\, \\n, \\0 or \\x and two hex digits");
		}
		bytes->data[bytes->size++] = (uint8_t)c;
	}
	return true;
}

static bool read_hex(struct script_reader *r, const char *p, const char *end, struct script_bytes *bytes)
{
	struct script_place place;
	int byte;

	for (; p < end; p++) {
		if (*p == ' ' || *p == '\t')
			continue;
		byte = hex_pair(p, end);
		if (byte < 0) {
			place = place_of(r, p, 1);
			return script_fail(r, &place, "expected a pair of hex digits");
		}
		bytes->data[bytes->size++] = (uint8_t)byte;
		p++;
	}
	return true;
}

/* The quote that ends the string whose first character is at @p, or the end of the line: past escaped ones. */
static const char *find_quote(const struct script_reader *r, const char *p)
{
	for (; p < r->end && *p != '"'; p++)
		p += *p == '\\' && p + 1 < r->end;
	return p;
}

bool script_read_string(struct script_reader *r, bool is_hex, struct script_bytes *bytes)
{
	struct script_place place = script_here(r);
	const char *begin = r->at + 1, *end;
	struct script_bytes b = { 0 };

	if (look(r) != '"')
		return script_expected(r, "a string in \"\"");
	end = find_quote(r, begin);
	if (end == r->end)
		return script_fail(r, &place, "the string does not end in its line");
	b.data = script_alloc(r, (size_t)(end - begin) + 1);
	if (!b.data || !(is_hex ? read_hex : read_text)(r, begin, end, &b))
		return false;
	pass(r, (size_t)(end + 1 - r->at));
	place = script_since(r, place);
	if (!b.size)
		return script_fail(r, &place, "the string is empty");
	*bytes = b;
	return true;
}

bool script_read_digest(struct script_reader *r, uint32_t size, struct script_bytes *bytes)
{
	struct script_place place = script_here(r);
	size_t len = script_token_length(r);
	struct script_bytes b = { .size = size };

	if (!len || !script_is_word_character(*r->at))
		return script_expected(r, "hex digits");
	b.data = script_alloc(r, size);
	if (!b.data)
		return false;
	if (len != 2 * size)
		return script_fail(r, &place, "expected %" PRIu32 " hex digits, found %zu characters", 2 * size, len);
	for (uint32_t i = 0; i < size; i++) {
		int byte = hex_pair(r->at + 2 * i, r->end);

		if (byte < 0)
			return script_fail(r, &place, "expected %" PRIu32 " hex digits", 2 * size);
		b.data[i] = (uint8_t)byte;
	}
	pass(r, len);
	*bytes = b;
	return true;
}

/* --- names that were meant --- */

#define MAX_NEAR 32

/* Characters to insert, delete, replace, or swap with a neighbour, to make @b of @a. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[3][MAX_NEAR + 1], *before = rows[0], *above = rows[1], *row = rows[2], *swap;

	for (size_t k = 0; k <= strlen(b); k++)
		above[k] = before[k] = k;
	for (size_t i = 1; a[i - 1]; i++) {
		row[0] = i;
		for (size_t k = 1; b[k - 1]; k++) {
			size_t best = above[k - 1] + (a[i - 1] != b[k - 1]);

			best = above[k] + 1 < best ? above[k] + 1 : best;
			best = row[k - 1] + 1 < best ? row[k - 1] + 1 : best;
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] && before[k - 2] + 1 < best)
				best = before[k - 2] + 1;
			row[k] = best;
		}
		swap = before;
		before = above;
		above = row;
		row = swap;
	}
	return above[strlen(b)];
}

/* Two are few in a long word, and all of a short one. */
const char *script_nearest(const char *word, const void *table, size_t stride, size_t nr)
{
	const char *nearest = NULL, *name;
	size_t least = 3, d;

	if (strlen(word) > MAX_NEAR)
		return NULL;
	for (size_t i = 0; i < nr; i++) {
		memcpy(&name, (const char *)table + i * stride, sizeof(name));
		d = strlen(name) <= MAX_NEAR ? distance(word, name) : least;
		if (d < least && 2 * d < strlen(name)) {
			least = d;
			nearest = name;
		}
	}
	return nearest;
}

int script_take_row(struct script_reader *r, const void *table, size_t stride, size_t nr)
{
	const char *name;

	for (size_t i = 0; i < nr; i++) {
		memcpy(&name, (const char *)table + i * stride, sizeof(name));
		if (script_take(r, name))
			return (int)i;
	}
	return -1;
}

int script_need_row(struct script_reader *r, const char *expected, const void *table, size_t stride, size_t nr)
{
	int row = script_take_row(r, table, stride, nr);
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
