// SPDX-License-Identifier: LGPL-2.1-or-later
#include "text/extent_list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/table.h"
#include "base/units.h"

#define MAX_LINE 8192 /* the first line of JSON has the name of an image in it */
#define MAX_KEY 32
#define SCHEMA "bufio.mappings/1"
#define DEVICE_COMMENT "# device "

/* What was not said. */
#define NONE UINT64_MAX

struct reader {
	FILE *file;
	const struct text_extents_args *args;
	struct text_extents *x;
	struct text_extents_error *e;
	uint64_t room, memory; /* of table_grow() */
	uint64_t device;       /* in JSON, its id; in text, how many were named */
	uint64_t records;      /* extents, and in JSON devices */
	bool is_json, has_end;
	char line[MAX_LINE];
};

__attribute__((format(printf, 2, 3))) static int refuse(struct reader *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->e->reason, sizeof(r->e->reason), format, args);
	va_end(args);
	return -EINVAL;
}

/* 1: a line, without its newline; 0: the end. */
static int next_line(struct reader *r)
{
	size_t len = 0;
	int c;

	r->e->line++;
	errno = 0;
	while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
		if (!c || len == MAX_LINE - 1)
			return refuse(r, "is not text in lines of at most %d characters", MAX_LINE - 1);
		r->line[len++] = (char)c;
	}
	if (c == EOF && ferror(r->file))
		return errno ? -errno : -EIO;
	if (c == EOF && len)
		return refuse(r, "ends in the middle of a line: was it cut off?");
	r->line[len] = '\0';
	return c != EOF;
}

/* --- an extent --- */

static bool is_odd(const struct reader *r, const struct piece *p)
{
	return p->to % r->args->unit || p->from % r->args->unit || p->bytes % r->args->unit;
}

static int judge(struct reader *r, const struct piece *p)
{
	uint64_t end;

	if (!p->bytes)
		return refuse(r, "an extent of 0 bytes");
	if (is_odd(r, p))
		return refuse(r, "not in multiples of %" PRIu64 " bytes", r->args->unit);
	if (!checked_add(p->to, p->bytes, &end) || end > INT64_MAX)
		return refuse(r, "ends behind what any file can have");
	if (!checked_add(p->from, p->bytes, &end) || end > r->args->data_bytes)
		return refuse(r, "ends behind the data, which has %" PRIu64 " bytes", r->args->data_bytes);
	if (p->to < r->x->end)
		return refuse(r, "begins at %" PRIu64 ", before the end of the one before it: %" PRIu64, p->to, r->x->end);
	return 0;
}

static int add(struct reader *r, const struct piece *p)
{
	struct text_extents *x = r->x;
	struct piece *last = x->nr ? &x->pieces[x->nr - 1] : NULL;
	int e = judge(r, p);

	if (e)
		return e;
	r->records++;
	x->end = p->to + p->bytes;
	if (last && last->to + last->bytes == p->to && last->from + last->bytes == p->from) {
		last->bytes += p->bytes;
		return 0;
	}
	e = table_grow(&x->pieces, sizeof(*x->pieces), x->nr, &r->room, &r->memory);
	if (!e)
		x->pieces[x->nr++] = *p;
	return e;
}

/* --- text --- */

static int take_text(struct reader *r)
{
	uint64_t numbers[3];
	unsigned nr = 0;
	char *rest = NULL, *word;

	if (!strncmp(r->line, DEVICE_COMMENT, strlen(DEVICE_COMMENT)) && r->device++)
		return refuse(r, "begins another device; choose one with bufio-dump --dev-id");
	r->line[strcspn(r->line, "#")] = '\0';
	for (word = strtok_r(r->line, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest)) {
		if (nr == 3 || units_parse_number(word, &numbers[nr++]))
			return refuse(r, "expected virtual start, data start and length, in bytes");
	}
	if (!nr)
		return 0;
	if (nr != 3)
		return refuse(r, "expected virtual start, data start and length, in bytes");
	return add(r, &(struct piece){ numbers[0], numbers[1], numbers[2] });
}

/* --- JSON: flat objects, whose first key says what they are --- */

/* A string from its quote on, without escapes undone, and cut off where it is too long. False: it does not end. */
static bool take_string(const char **at, char text[MAX_KEY])
{
	size_t len = 0;

	for (++*at; **at != '"'; ++*at) {
		if (**at == '\\' && (*at)[1])
			++*at;
		if (!**at)
			return false;
		if (len < MAX_KEY - 1)
			text[len++] = **at;
	}
	text[len] = '\0';
	++*at;
	return true;
}

/* A number, a string, or a word such as null. */
static bool take_value(const char **at, char text[MAX_KEY])
{
	size_t len;

	if (**at == '"')
		return take_string(at, text);
	len = strspn(*at, "0123456789abcdefghijklmnopqrstuvwxyz.+-");
	if (!len || len >= MAX_KEY)
		return false;
	memcpy(text, *at, len);
	text[len] = '\0';
	*at += len;
	return true;
}

/* The next key and value. @at is behind what was taken. */
static bool take_pair(const char **at, char key[MAX_KEY], char value[MAX_KEY])
{
	if ((**at != '{' && **at != ',') || (*at)[1] != '"')
		return false;
	++*at;
	return take_string(at, key) && *(*at)++ == ':' && take_value(at, value);
}

struct row {
	uint64_t dev_id, to, from, bytes, records, problems;
};

static const struct {
	const char *name;
	size_t offset;
} keys[] = {
	{ "dev_id", offsetof(struct row, dev_id) },
	{ "virtual_bytes", offsetof(struct row, to) },
	{ "data_bytes", offsetof(struct row, from) },
	{ "length_bytes", offsetof(struct row, bytes) },
	{ "records", offsetof(struct row, records) },
	{ "problems", offsetof(struct row, problems) },
};

#define NR_KEYS (sizeof(keys) / sizeof(*keys))

static bool set_field(struct row *row, const char *key, const char *value)
{
	for (unsigned i = 0; i < NR_KEYS; i++)
		if (!strcmp(key, keys[i].name))
			return !units_parse_number(value, (uint64_t *)((char *)row + keys[i].offset));
	return true;
}

static bool take_fields(const char *at, struct row *row)
{
	char key[MAX_KEY], value[MAX_KEY];

	*row = (struct row){ NONE, NONE, NONE, NONE, NONE, NONE };
	while (*at == ',')
		if (!take_pair(&at, key, value) || !set_field(row, key, value))
			return false;
	return *at == '}' && at[1 + strspn(at + 1, " \t\r")] == '\0';
}

static int take_device(struct reader *r, const struct row *row)
{
	if (row->dev_id == NONE)
		return refuse(r, "a device without an id");
	if (r->device != NONE && r->device != row->dev_id)
		return refuse(r, "begins another device; choose one with bufio-dump --dev-id");
	r->device = row->dev_id;
	r->records++;
	return 0;
}

static int take_extent(struct reader *r, const struct row *row)
{
	if (row->to == NONE || row->from == NONE || row->bytes == NONE)
		return refuse(r, "an extent without virtual_bytes, data_bytes or length_bytes");
	if (row->dev_id != r->device)
		return refuse(r, "an extent that is not of the device before it");
	return add(r, &(struct piece){ row->to, row->from, row->bytes });
}

static int take_end(struct reader *r, const struct row *row)
{
	if (row->records != r->records || row->problems == NONE)
		return refuse(r, "the end of %" PRIu64 " records, and there are %" PRIu64, row->records, r->records);
	r->x->problems = row->problems;
	r->has_end = true;
	return 0;
}

static int take_record(struct reader *r, const char *type, const struct row *row)
{
	if (!strcmp(type, "extent"))
		return take_extent(r, row);
	if (!strcmp(type, "device"))
		return take_device(r, row);
	return !strcmp(type, "end") ? take_end(r, row) : refuse(r, "no record of this type belongs here");
}

static int take_json(struct reader *r)
{
	char key[MAX_KEY], value[MAX_KEY];
	const char *at = r->line;
	struct row row;

	if (r->has_end)
		return refuse(r, "there is something behind the end");
	if (!take_pair(&at, key, value))
		return refuse(r, "expected JSON, an object a line");
	if (!strcmp(key, "schema"))
		return strcmp(value, SCHEMA) ? refuse(r, "expected the schema " SCHEMA) : 0;
	if (strcmp(key, "type") != 0)
		return refuse(r, "expected a record with its type");
	if (!strcmp(value, "problem")) /* these have more than flat values; the end counts them */
		return 0;
	return take_fields(at, &row) ? take_record(r, value, &row) : refuse(r, "expected an object of numbers");
}

/* --- all of it --- */

static int take_line(struct reader *r)
{
	if (r->e->line == 1 && *r->line == '{') {
		r->is_json = true;
		r->device = NONE;
	}
	return r->is_json ? take_json(r) : take_text(r);
}

/* A list of nothing is most likely the wrong file; one without an end was cut off. */
static int judge_end(struct reader *r)
{
	if (r->is_json && !r->has_end)
		return refuse(r, "has no end: was it cut off?");
	return r->records || r->device != (r->is_json ? NONE : 0) ? 0 : refuse(r, "has no extents");
}

int text_extents_read(FILE *file, const struct text_extents_args *args, struct text_extents *extents,
		      struct text_extents_error *error)
{
	struct reader r = { .file = file, .args = args, .x = extents, .e = error, .memory = args->memory };
	int e;

	*extents = (struct text_extents){ 0 };
	*error = (struct text_extents_error){ 0 };
	while ((e = next_line(&r)) > 0) {
		e = take_line(&r);
		if (e)
			break;
	}
	return e ? e : judge_end(&r);
}

void text_extents_destroy(struct text_extents *extents)
{
	free(extents->pieces);
	*extents = (struct text_extents){ 0 };
}
