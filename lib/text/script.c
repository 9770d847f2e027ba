// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "text/script_int.h"

#define MEMORY_PIECE (64 << 10)

/* Of a name of a file, its end; of a line, what is around the place, in characters. */
#define SHOWN_NAME 255
#define SHOWN_LINE 100
#define SHOWN_BEFORE 60
#define INDENT "    "

struct script_memory {
	struct script_memory *next;
	size_t used, size;
	_Alignas(8) char data[];
};

/* --- memory --- */

bool script_has_memory(struct script_reader *r, int error)
{
	struct script_place here = { .line = r->line_nr ? r->line_nr : 1, .column = 1, .length = 1 };

	if (!error)
		return true;
	if (error == -E2BIG)
		return script_fail(r, &here, "too large: so far it takes more than %u MiB of memory",
				   (unsigned)(SCRIPT_MAX_MEMORY >> 20));
	r->result = error;
	return false;
}

static bool add_piece(struct script_reader *r, size_t size)
{
	size_t bytes = sizeof(struct script_memory) + size;
	struct script_memory *piece;

	if (bytes > r->memory)
		return script_has_memory(r, -E2BIG);
	piece = calloc(1, bytes);
	if (!piece)
		return script_has_memory(r, -ENOMEM);
	r->memory -= bytes;
	piece->size = size;
	piece->next = r->s.memory;
	r->s.memory = piece;
	return true;
}

void *script_alloc(struct script_reader *r, size_t size)
{
	struct script_memory *m = r->s.memory;
	size_t bytes = (size + 7) & ~(size_t)7;

	if ((!m || m->size - m->used < bytes) && !add_piece(r, bytes < MEMORY_PIECE ? MEMORY_PIECE : bytes))
		return NULL;
	m = r->s.memory;
	m->used += bytes;
	return m->data + m->used - bytes;
}

char *script_copy(struct script_reader *r, const char *text, size_t size)
{
	char *copy = script_alloc(r, size + 1);

	if (copy)
		memcpy(copy, text, size);
	return copy;
}

bool script_grow(struct script_reader *r, void *table, size_t size, uint64_t nr, uint64_t *room)
{
	return script_has_memory(r, table_grow(table, size, nr, room, &r->memory));
}

void text_script_free(struct script *s)
{
	struct script_memory *next;

	for (unsigned i = 0; i < s->nr_volumes; i++)
		free(s->volumes[i].where);
	free(s->volumes);
	free(s->ops);
	free(s->lets);
	for (; s->memory; s->memory = next) {
		next = s->memory->next;
		free(s->memory);
	}
	*s = (struct script){ 0 };
}

/* --- errors --- */

struct message {
	char *at;
	size_t room; /* without that of the zero byte */
};

static void put(struct message *m, const char *text, size_t len)
{
	if (len > m->room)
		return;
	memcpy(m->at, text, len);
	m->at += len;
	m->room -= len;
}

/* What moves the cursor, or turns the direction of what is behind it, would make a terminal show something else. */
static bool is_shown(uint32_t code)
{
	static const struct { uint32_t first, last; } hidden[] = {
		{ 0, 0x1F }, { 0x7F, 0x9F }, { 0xAD, 0xAD }, { 0x61C, 0x61C }, { 0x200B, 0x200F }, { 0x2028, 0x202E },
		{ 0x2060, 0x206F }, { 0xFEFF, 0xFEFF }, { UINT32_MAX, UINT32_MAX },
	};

	for (size_t i = 0; i < NR(hidden); i++)
		if (code >= hidden[i].first && code <= hidden[i].last)
			return false;
	return true;
}

/* @nr characters, or all to @end. */
static void put_text(struct message *m, const char *p, const char *end, size_t nr)
{
	uint32_t code;
	unsigned len;

	for (; p < end && nr; p += len, nr--) {
		len = script_character(p, end, &code);
		if (code == '\t' || is_shown(code))
			put(m, p, len);
		else
			put(m, "?", 1);
	}
}

static const char *skip(const char *p, const char *end, size_t nr)
{
	uint32_t code;

	for (; nr && p < end; nr--)
		p += script_character(p, end, &code);
	return p;
}

static size_t count(const char *p, const char *end)
{
	size_t nr = 0;
	uint32_t code;

	for (; p < end; nr++)
		p += script_character(p, end, &code);
	return nr;
}

/* Under the characters from @p on: the caret is @before of them behind, as far on as tabs bring the text above. */
static void put_caret(struct message *m, const char *p, const char *end, size_t before, size_t length)
{
	for (; before; before--) {
		put(m, p < end && *p == '\t' ? "\t" : " ", 1);
		p = skip(p, end, 1);
	}
	put(m, "^", 1);
	while (--length)
		put(m, "~", 1);
}

/* Of a long line, what is around the place. */
static void put_line(struct message *m, const char *line, const char *end, const struct script_place *place)
{
	size_t nr = count(line, end), column = place->column - 1 < nr ? place->column - 1 : nr;
	size_t first = nr > SHOWN_LINE && column > SHOWN_BEFORE ? column - SHOWN_BEFORE : 0;
	size_t shown = nr - first < SHOWN_LINE ? nr - first : SHOWN_LINE, before = column - first;
	size_t length = place->length < shown - before ? place->length : shown - before;
	const char *from = skip(line, end, first);

	put(m, "\n" INDENT, sizeof("\n" INDENT) - 1);
	put(m, "...", first ? 3 : 0);
	put_text(m, from, end, shown);
	put(m, "...", first + shown < nr ? 3 : 0);
	put(m, "\n" INDENT, sizeof("\n" INDENT) - 1);
	put(m, "   ", first ? 3 : 0);
	put_caret(m, from, end, before, length ? length : 1);
}

/* From 1 on. Returns its begin; *@end is before its CR LF or LF. */
static const char *find_line(const struct script *s, uint32_t nr, const char **end)
{
	const char *line = s->source, *source_end = s->source + s->size, *newline;

	while (--nr && (newline = memchr(line, '\n', (size_t)(source_end - line))))
		line = newline + 1;
	newline = memchr(line, '\n', (size_t)(source_end - line));
	*end = newline ? newline : source_end;
	*end -= *end > line && (*end)[-1] == '\r';
	return line;
}

static void put_error(const struct script *s, const struct script_place *place, char *error, const char *format,
		      va_list args)
{
	struct message m = { .at = error, .room = SCRIPT_ERROR_MAX - 1 };
	size_t name_len = strlen(s->name), cut = name_len > SHOWN_NAME ? name_len - SHOWN_NAME : 0;
	char text[512], where[32];
	const char *line, *end;

	vsnprintf(text, sizeof(text), format, args);
	snprintf(where, sizeof(where), ":%" PRIu32 ":%" PRIu32 ": ", place->line, place->column);
	put(&m, "...", cut ? 3 : 0);
	put_text(&m, s->name + cut, s->name + name_len, SIZE_MAX);
	put(&m, where, strlen(where));
	put_text(&m, text, text + strlen(text), SIZE_MAX);
	line = find_line(s, place->line, &end);
	if (line < end)
		put_line(&m, line, end, place);
	*m.at = '\0';
}

void text_script_error(const struct script *s, const struct script_place *place, char error[SCRIPT_ERROR_MAX],
		       const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_error(s, place, error, format, args);
	va_end(args);
}

bool script_fail(struct script_reader *r, const struct script_place *place, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_error(&r->s, place, r->error, format, args);
	va_end(args);
	r->result = -EINVAL;
	return false;
}

/* --- all of it --- */

static bool keep_source(struct script_reader *r, const char *name, const char *source, size_t size)
{
	static const struct script_place begin = { 1, 1, 1 };

	r->s.source = "";
	r->s.name = script_copy(r, name, strlen(name));
	if (!r->s.name)
		return false;
	if (size > SCRIPT_MAX_BYTES)
		return script_fail(r, &begin, "more than %d MiB are no script", SCRIPT_MAX_BYTES >> 20);
	r->s.source = script_copy(r, source, size);
	r->s.size = size;
	r->next_line = r->s.source;
	return r->s.source;
}

static bool read_all(struct script_reader *r)
{
	int has_line;

	while ((has_line = script_next_line(r)) > 0)
		if (!script_read_statement(r))
			return false;
	return !has_line && script_read_end(r);
}

int text_script_parse(const char *name, const char *source, size_t size, struct script *script,
		      char error[SCRIPT_ERROR_MAX])
{
	struct script_reader r = { .error = error, .memory = SCRIPT_MAX_MEMORY, .last = { 1, 1, 1 } };

	string_set_init(&r.let_names, SCRIPT_MAX_MEMORY / 8);
	if (keep_source(&r, name, source, size) && read_all(&r))
		*script = r.s;
	else
		text_script_free(&r.s);
	string_set_destroy(&r.let_names);
	free(r.let_values);
	return r.result;
}
