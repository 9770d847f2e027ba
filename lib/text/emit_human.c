// SPDX-License-Identifier: LGPL-2.1-or-later
/* Text for people: the templates of record_types[], cut into pieces once and then filled in. */
#include <ctype.h>
#include <stdlib.h>

#include "text/emit.h"

/*
 * Literal text, then a field (NULL at the end of the template), or the name of the device that the field is, in a
 * column of @width, to the left if negative.
 */
struct piece {
	const char *literal;
	size_t len;
	const struct field *field;
	bool is_name;
	char mark; /* instead of a field: '-' '+' '.', what is gone, what is new, the end of either; 0: none */
	int width;
};

struct template {
	struct piece *pieces;
	unsigned nr;
};

struct human_emitter {
	struct text_emitter e;
	struct template begin[NR_RECORD_KINDS], end[NR_RECORD_KINDS];
	const struct problem_info *last_problem;
	bool is_coloured;
};

static struct human_emitter *human(struct meta_visitor *v)
{
	return (struct human_emitter *)v;
}

static const struct field *find_field(const struct record_type *t, const char *name, size_t len)
{
	for (unsigned i = 0; i < t->nr_fields; i++)
		if (strlen(t->fields[i].name) == len && !memcmp(t->fields[i].name, name, len))
			return &t->fields[i];
	return NULL;
}

static const struct field *find_device(const struct record_type *t)
{
	for (unsigned i = 0; i < t->nr_fields; i++)
		if (t->fields[i].format == FIELD_DEVICE)
			return &t->fields[i];
	return NULL;
}

/* Of "literal{name:width}rest": returns the rest. */
static const char *cut_piece(const char *text, const struct record_type *t, struct piece *p)
{
	const char *open = strchr(text, '{'), *name_end;

	*p = (struct piece){ .literal = text };
	if (!open) {
		p->len = strlen(text);
		return text + p->len;
	}
	p->len = (size_t)(open - text);
	name_end = open + 1 + strcspn(open + 1, ":}");
	if (name_end - open == 2 && strchr("-+.", open[1])) {
		p->mark = open[1];
		return name_end + 1;
	}
	p->is_name = name_end - open == 3 && !memcmp(open + 1, "lv", 2);
	p->field = p->is_name ? find_device(t) : find_field(t, open + 1, (size_t)(name_end - open - 1));
	if (*name_end == ':')
		p->width = atoi(name_end + 1);
	return strchr(name_end, '}') + 1;
}

static int compile(const char *text, const struct record_type *t, struct template *out)
{
	unsigned nr = 1;

	if (!text)
		return 0;
	for (const char *p = text; *p; p++)
		nr += *p == '{';
	out->pieces = calloc(nr, sizeof(*out->pieces));
	if (!out->pieces)
		return -1;
	while (*text)
		text = cut_piece(text, t, &out->pieces[out->nr++]);
	return 0;
}

static void put_piece(struct text_out *o, const struct text_names *names, const struct piece *p, const void *record)
{
	const char *name;

	if (p->is_name) {
		name = text_device_name(names, field_number(p->field, record));
		text_puts(o, name ? name : "");
		return;
	}
	text_put_field(o, p->field, record, true);
	if (p->field->format == FIELD_DEVICE && !p->width)
		text_put_device_name(o, names, field_number(p->field, record));
}

static void put_column(struct text_out *o, const struct text_names *names, const struct piece *p, const void *record)
{
	static const char blanks[] = "                                                                ";
	size_t width = (size_t)abs(p->width), pad;
	struct text_out column;

	/* Not flushed anywhere: no field is as long as the buffer. */
	text_out_init(&column, -1);
	put_piece(&column, names, p, record);
	pad = column.len < width ? width - column.len : 0;
	if (p->width > 0)
		text_put(o, blanks, pad);
	text_put(o, column.buffer, column.len);
	if (p->width < 0)
		text_put(o, blanks, pad);
}

/* An empty last column leaves no blanks at the end of the line. */
static void trim(struct text_out *o)
{
	while (o->len && o->buffer[o->len - 1] == ' ')
		o->len--;
}

/* Red, green, and as it was: what a diff has everywhere. */
static void put_colour(struct text_out *o, char mark)
{
	text_puts(o, mark == '-' ? "\033[31m" : mark == '+' ? "\033[32m" : "\033[0m");
}

static int fill(struct human_emitter *h, const struct template *t, const void *record)
{
	struct text_out *o = h->e.out;

	for (unsigned i = 0; i < t->nr; i++) {
		const struct piece *p = &t->pieces[i];

		if (p->len && *p->literal == '\n')
			trim(o);
		if (p->field && p->field->format == FIELD_DEC && !p->width) {
			text_put_and_dec(o, p->literal, p->len, field_number(p->field, record));
			continue;
		}
		text_put(o, p->literal, p->len);
		if (p->mark && h->is_coloured)
			put_colour(o, p->mark);
		if (p->field && p->width)
			put_column(o, h->e.names, p, record);
		else if (p->field)
			put_piece(o, h->e.names, p, record);
	}
	return o->error;
}

static int human_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct human_emitter *h = human(v);

	h->e.nr_records++;
	return fill(h, &h->begin[kind], record);
}

static int human_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	return fill(human(v), &human(v)->end[kind], record);
}

/* On a screen of its own a problem is part of the text; in a stream it goes to the messages. */
static int human_problem(struct meta_visitor *v, const struct problem *p)
{
	struct human_emitter *h = human(v);
	struct text_emitter *e = &h->e;

	if (e->messages != e->out)
		return text_message_problem(v, p);
	if (!e->nr_problems)
		text_put(e->out, "\n", 1);
	text_message_problem(v, p);
	if (h->last_problem != &problem_table[p->code]) /* once for several in a row */
		text_printf(e->out, "    what to do: %s\n", problem_table[p->code].remedy);
	h->last_problem = &problem_table[p->code];
	return e->out->error;
}

static void human_destroy(struct text_emitter *e)
{
	struct human_emitter *h = (struct human_emitter *)e;

	for (unsigned k = 0; k < NR_RECORD_KINDS; k++) {
		free(h->begin[k].pieces);
		free(h->end[k].pieces);
	}
	free(h);
}

struct text_emitter *text_emit_human(const struct text_emit_args *args)
{
	struct human_emitter *h = calloc(1, sizeof(*h));
	int r = 0;

	if (!h)
		return NULL;
	h->e = (struct text_emitter){
		.visitor = { human_begin, human_begin, human_end, human_problem },
		.out = args->out,
		.messages = args->messages,
		.program = args->program,
		.names = args->names,
		.destroy = human_destroy,
	};
	h->is_coloured = args->is_coloured;
	for (unsigned k = 0; k < NR_RECORD_KINDS && !r; k++) {
		r = compile(record_types[k].begin, &record_types[k], &h->begin[k]);
		if (!r)
			r = compile(record_types[k].end, &record_types[k], &h->end[k]);
	}
	if (r) {
		human_destroy(&h->e);
		return NULL;
	}
	return &h->e;
}
