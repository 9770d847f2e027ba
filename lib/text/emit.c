// SPDX-License-Identifier: LGPL-2.1-or-later
/* What the emitters share: choosing one, fields, and problems as sentences. */
#include "text/emit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"

struct text_emitter *text_emit_create(const struct text_emit_args *args)
{
	switch (args->format) {
	case TEXT_HUMAN:
		return text_emit_human(args);
	case TEXT_XML:
		return text_emit_xml(args);
	case TEXT_JSON:
	case TEXT_JSON_LINES:
		break;
	}
	return text_emit_json(args);
}

int text_emit_finish(struct text_emitter *e)
{
	int r = e->finish ? e->finish(e) : 0;

	return r ? r : e->out->error;
}

void text_emit_destroy(struct text_emitter *e)
{
	if (e)
		e->destroy(e);
}

unsigned text_utf8_length(const unsigned char *s)
{
	unsigned n = *s < 0x80 ? 1 : *s >= 0xC2 && *s < 0xE0 ? 2 : (*s & 0xF0) == 0xE0 ? 3 : *s >= 0xF0 && *s < 0xF5 ? 4 : 0;

	for (unsigned i = 1; i < n; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and what lies past the last character. */
	if ((*s == 0xE0 && s[1] < 0xA0) || (*s == 0xED && s[1] > 0x9F) || (*s == 0xF0 && s[1] < 0x90) ||
	    (*s == 0xF4 && s[1] > 0x8F))
		return 0;
	return n;
}

void text_put_field(struct text_out *o, const struct field *f, const void *record, bool people)
{
	char size[UNITS_SIZE_MAX];
	const char *text;

	switch (f->format) {
	case FIELD_DEC:
		text_put_dec(o, field_number(f, record));
		break;
	case FIELD_HEX:
		text_put_hex(o, field_number(f, record));
		break;
	case FIELD_BYTES:
		if (field_number(f, record) == RECORD_UNKNOWN)
			text_puts(o, people ? "?" : "null");
		else if (people)
			text_puts(o, units_format_size(field_number(f, record), size));
		else
			text_put_dec(o, field_number(f, record));
		break;
	case FIELD_SIZE:
		if (people && field_number(f, record) != RECORD_UNKNOWN) {
			text_puts(o, units_format_whole_size(field_number(f, record), size));
			break;
		}
		/* fall through */
	case FIELD_OPTIONAL:
	case FIELD_DEVICE:
		if (field_number(f, record) == RECORD_UNKNOWN)
			text_puts(o, people ? "?" : "null");
		else
			text_put_dec(o, field_number(f, record));
		break;
	case FIELD_BOOL:
		if (people)
			text_puts(o, field_number(f, record) ? "yes" : "no");
		else
			text_puts(o, field_number(f, record) ? "true" : "false");
		break;
	case FIELD_TEXT:
		text = field_text(f, record);
		text_puts(o, text ? text : "");
		break;
	}
}

static struct text_label make_label(struct text_out *o, const char *before, const char *name, const char *behind)
{
	size_t start = o->len;

	if (!name)
		return (struct text_label){ 0 };
	text_puts(o, before);
	text_puts(o, name);
	text_puts(o, behind);
	return (struct text_label){ .text = o->buffer + start, .len = o->len - start };
}

int text_labels_create(const struct text_label_style *style, struct text_labels *labels)
{
	struct text_label *next;
	size_t nr = 0;

	for (unsigned k = 0; k < NR_RECORD_KINDS; k++)
		nr += record_types[k].nr_fields;
	text_out_init(&labels->text, -1);
	labels->all_fields = next = calloc(nr, sizeof(*next));
	if (!next)
		return -ENOMEM;
	for (unsigned k = 0; k < NR_RECORD_KINDS; k++) {
		const struct record_type *t = &record_types[k];

		labels->record[k] = make_label(&labels->text, style->before_record, style->record_name(t),
					       style->behind_record);
		labels->fields[k] = next;
		for (unsigned i = 0; i < t->nr_fields; i++)
			*next++ = make_label(&labels->text, style->before_field, style->field_name(&t->fields[i]),
					     style->behind_field);
	}
	return labels->text.error;
}

void text_labels_destroy(struct text_labels *labels)
{
	free(labels->all_fields);
}

static void put_variable(struct text_out *o, const char *name, size_t len, const struct problem *p)
{
#define IS(word) (len == sizeof(word) - 1 && !memcmp(name, word, sizeof(word) - 1))
	if (IS("expected"))
		text_put_dec(o, p->expected);
	else if (IS("found"))
		text_put_dec(o, p->found);
	else if (IS("count"))
		text_put_dec(o, p->count);
	else if (IS("xexpected"))
		text_put_hex(o, p->expected);
	else if (IS("xfound"))
		text_put_hex(o, p->found);
	else if (IS("kexpected"))
		text_puts(o, p->expected_kind);
	else if (IS("kfound"))
		text_puts(o, p->found_kind);
	else if (IS("error"))
		text_puts(o, strerror(p->error));
#undef IS
}

void text_put_message(struct text_out *o, const struct problem *p)
{
	const char *t = problem_table[p->code].message, *open;

	while ((open = strchr(t, '{'))) {
		const char *close = strchr(open, '}');

		text_put(o, t, (size_t)(open - t));
		put_variable(o, open + 1, (size_t)(close - open - 1), p);
		t = close + 1;
	}
	text_puts(o, t);
}

const char *text_message(const struct problem *p, char *text, size_t size)
{
	struct text_out o;

	text_out_init(&o, -1); /* not flushed anywhere: no message is as long as the buffer */
	text_put_message(&o, p);
	snprintf(text, size, "%.*s", (int)o.len, o.buffer);
	return text;
}

const char *text_device_name(const struct text_names *names, uint64_t dev_id)
{
	return names ? names->device(names->context, dev_id) : NULL;
}

void text_put_device_name(struct text_out *o, const struct text_names *names, uint64_t dev_id)
{
	const char *name = text_device_name(names, dev_id);

	if (!name)
		return;
	text_put(o, " (", 2);
	text_puts(o, name);
	text_put(o, ")", 1);
}

static void put_place(struct text_out *o, const struct text_names *names, const struct problem *p)
{
	const char *where = problem_where_text(p->where);

	if (p->block != PROBLEM_NO_BLOCK)
		text_printf(o, "block %" PRIu64 "%s%s", p->block, p->where ? " (" : "", where);
	else
		text_printf(o, "%s%s", where, p->dev_id == PROBLEM_NO_DEVICE ? "" : ", ");
	if (p->dev_id != PROBLEM_NO_DEVICE) {
		text_printf(o, "%sdevice %" PRIu64, p->block != PROBLEM_NO_BLOCK ? ", " : "", p->dev_id);
		text_put_device_name(o, names, p->dev_id);
	}
	text_puts(o, p->block != PROBLEM_NO_BLOCK && p->where ? "): " : ": ");
}

static void put_cost(struct text_out *o, const struct problem *p)
{
	const char *keys = problem_where_keys(p->where);

	if (p->begin == p->end || !*keys)
		return;
	text_printf(o, "; %s %" PRIu64 "..", keys, p->begin);
	if (p->end == UINT64_MAX)
		text_puts(o, "end");
	else
		text_put_dec(o, p->end - 1);
}

void text_put_problem(struct text_out *o, const char *program, const struct text_names *names, const struct problem *p)
{
	if (program)
		text_printf(o, "%s: ", program);
	put_place(o, names, p);
	text_put_message(o, p);
	put_cost(o, p);
	text_printf(o, " [%s]\n", problem_table[p->code].name);
}

int text_message_problem(struct meta_visitor *v, const struct problem *p)
{
	struct text_emitter *e = (struct text_emitter *)v;

	e->nr_problems++;
	if (e->subject && e->program)
		text_printf(e->messages, "%s: ", e->program);
	text_put_problem(e->messages, e->subject ? e->subject : e->program, e->names, p);
	if (e->messages != e->out)
		text_out_flush(e->messages); /* lost messages do not stop the output */
	return 0;
}
