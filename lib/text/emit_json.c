// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * JSON: as one document, or as lines.
 *
 * In a document a container is an object in the array that its row of record_types[] names, or belongs to the document
 * itself; what it contains becomes arrays inside it. As lines every record stands alone, its "type" first; the first
 * line has the schema, the last one counts, so that a stream that was cut off can be told.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/emit.h"

#define MAX_DEPTH 8

struct json_emitter {
	struct text_emitter e;
	struct text_labels labels;
	const char *schema, *image;
	bool lines, started;
	unsigned depth;
	const char *const *arrays; /* of the document, which are there even when empty */
	unsigned opened;           /* which of them were; bit i is arrays[i] */
	struct {
		const char *array; /* the one that is open, or NULL */
	} levels[MAX_DEPTH];
};

static struct json_emitter *json(struct meta_visitor *v)
{
	return (struct json_emitter *)v;
}

/* File names may hold any bytes; what is not UTF-8 becomes the replacement character, or the document would be invalid. */
void text_put_json_string(struct text_out *o, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	text_put(o, "\"", 1);
	while (*p) {
		unsigned n = text_utf8_length(p);

		if (*p == '"' || *p == '\\') {
			text_put(o, "\\", 1);
			text_put(o, (const char *)p, 1);
		} else if (*p < 0x20 || *p == 0x7F) {
			text_printf(o, "\\u%04x", *p);
		} else if (!n) {
			text_puts(o, "\\ufffd");
		} else {
			text_put(o, (const char *)p, n);
		}
		p += n ? n : 1;
	}
	text_put(o, "\"", 1);
}

static void put_key(struct text_out *o, const char *key)
{
	text_put(o, "\"", 1);
	text_puts(o, key);
	text_put(o, "\":", 2);
}

static void put_member(struct text_out *o, const char *key, const char *text)
{
	put_key(o, key);
	if (text)
		text_put_json_string(o, text);
	else
		text_puts(o, "null");
}

static void put_value(struct text_out *o, const struct field *f, const void *record)
{
	if (f->format == FIELD_TEXT && !field_text(f, record)) {
		text_puts(o, "null");
	} else if (f->format == FIELD_TEXT) {
		text_put_json_string(o, field_text(f, record));
	} else if (f->format == FIELD_HEX) {
		text_put(o, "\"", 1);
		text_put_field(o, f, record, false);
		text_put(o, "\"", 1);
	} else {
		text_put_field(o, f, record, false);
	}
}

/*
 * Of the device whose id was just put as @id: "lv" beside "dev_id", "left_dev_lv" beside "left_dev". When there are
 * names at all, a device without one has null.
 */
static void put_name(struct text_out *o, const struct text_names *names, const char *id, uint64_t dev_id)
{
	char key[64];

	if (!names)
		return;
	snprintf(key, sizeof(key), "%s_lv", id);
	text_put(o, ",", 1);
	put_member(o, strcmp(id, "dev_id") ? key : "lv", text_device_name(names, dev_id));
}

/* The label's comma is left out in front of the @first. */
static void put_field(struct text_out *o, struct text_label label, const struct field *f, const void *record, bool first)
{
	label.text += first;
	label.len -= first;
	if (f->format == FIELD_DEC) {
		text_put_label_and_dec(o, &label, field_number(f, record));
	} else {
		text_put_label(o, &label);
		put_value(o, f, record);
	}
}

static void put_fields(struct json_emitter *j, enum record_kind kind, const void *record, bool first)
{
	const struct record_type *t = &record_types[kind];
	const struct text_label *labels = j->labels.fields[kind];

	for (unsigned i = 0; i < t->nr_fields; i++) {
		const struct field *f = &t->fields[i];

		if (!labels[i].len)
			continue;
		put_field(j->e.out, labels[i], f, record, first);
		if (f->format == FIELD_DEVICE)
			put_name(j->e.out, j->e.names, f->name, field_number(f, record));
		first = false;
	}
}

static void start(struct json_emitter *j)
{
	struct text_out *o = j->e.out;

	if (j->started)
		return;
	j->started = true;
	text_put(o, "{", 1);
	put_member(o, "schema", j->schema);
	if (j->lines) {
		text_put(o, ",", 1);
		put_member(o, "image", j->image);
		text_puts(o, "}\n");
	}
}

/* --- as lines --- */

static int lines_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct json_emitter *j = json(v);
	struct text_out *o = j->e.out;

	start(j);
	j->e.nr_records++;
	text_put_label(o, &j->labels.record[kind]);
	put_fields(j, kind, record, false);
	text_put(o, "}\n", 2);
	return o->error;
}

static int lines_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)kind;
	(void)record;
	return json(v)->e.out->error;
}

/* --- as a document --- */

/* After this the next thing written is an element of @array in the object that is open. */
static void open_element(struct json_emitter *j, const char *array)
{
	struct text_out *o = j->e.out;
	const char **open = &j->levels[j->depth].array;

	if (*open && !strcmp(*open, array)) {
		text_puts(o, ",\n ");
		return;
	}
	for (unsigned i = 0; !j->depth && j->arrays && j->arrays[i]; i++)
		if (!strcmp(j->arrays[i], array))
			j->opened |= 1u << i;
	text_puts(o, *open ? "],\n" : ",\n");
	put_key(o, array);
	text_puts(o, "[\n ");
	*open = array;
}

static void close_array(struct json_emitter *j)
{
	if (j->levels[j->depth].array)
		text_put(j->e.out, "]", 1);
	j->levels[j->depth].array = NULL;
}

static void put_object(struct json_emitter *j, enum record_kind kind, const void *record)
{
	const struct record_type *t = &record_types[kind];

	start(j);
	j->e.nr_records++;
	if (!t->plural) {
		j->arrays = t->arrays;
		text_puts(j->e.out, ",\n");
		put_fields(j, kind, record, true);
		return;
	}
	open_element(j, t->plural);
	text_put(j->e.out, "{", 1);
	put_fields(j, kind, record, true);
}

static int document_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	put_object(json(v), kind, record);
	text_put(json(v)->e.out, "}", 1);
	return json(v)->e.out->error;
}

static int document_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct json_emitter *j = json(v);

	put_object(j, kind, record);
	if (record_types[kind].plural && j->depth + 1 < MAX_DEPTH)
		j->levels[++j->depth].array = NULL;
	return j->e.out->error;
}

static int document_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct json_emitter *j = json(v);

	(void)record;
	if (!record_types[kind].plural)
		return 0;
	close_array(j);
	j->depth--;
	text_put(j->e.out, "}", 1);
	return j->e.out->error;
}

/* --- both --- */

static void put_number(struct text_out *o, const char *key, uint64_t v)
{
	text_put(o, ",", 1);
	put_key(o, key);
	text_put_dec(o, v);
}

static void put_word(struct text_out *o, const char *key, uint64_t v)
{
	text_put(o, ",", 1);
	put_key(o, key);
	text_put(o, "\"", 1);
	text_put_hex(o, v);
	text_put(o, "\"", 1);
}

static void put_problem_members(struct json_emitter *j, const struct problem *p)
{
	struct text_out *o = j->e.out;
	char message[512];

	put_member(o, "name", problem_table[p->code].name);
	text_put(o, ",", 1);
	put_member(o, "severity", problem_severity_name(problem_severity(p)));
	text_put(o, ",", 1);
	put_member(o, "where", problem_where_name(p->where));
	if (p->block != PROBLEM_NO_BLOCK)
		put_number(o, "block", p->block);
	if (p->dev_id != PROBLEM_NO_DEVICE) {
		put_number(o, "dev_id", p->dev_id);
		put_name(o, j->e.names, "dev_id", p->dev_id);
	}
	if (p->begin != p->end) {
		put_number(o, "begin", p->begin);
		if (p->end == UINT64_MAX)
			text_puts(o, ",\"end\":null");
		else
			put_number(o, "end", p->end);
	}
	put_word(o, "expected", p->expected);
	put_word(o, "found", p->found);
	text_put(o, ",", 1);
	put_member(o, "message", text_message(p, message, sizeof(message)));
	text_put(o, ",", 1);
	put_member(o, "remedy", problem_table[p->code].remedy);
}

static int json_problem(struct meta_visitor *v, const struct problem *p)
{
	struct json_emitter *j = json(v);
	struct text_out *o = j->e.out;

	start(j);
	j->e.nr_problems++;
	if (!j->lines) {
		open_element(j, "problems");
		text_put(o, "{", 1);
	} else {
		text_put(o, "{", 1);
		put_member(o, "type", "problem");
		text_put(o, ",", 1);
	}
	if (j->e.subject) {
		put_member(o, "image", j->e.subject);
		text_put(o, ",", 1);
	}
	put_problem_members(j, p);
	text_puts(o, j->lines ? "}\n" : "}");
	return o->error;
}

/* So that a program can walk an array without asking first whether it is there. */
static void put_empty_arrays(struct json_emitter *j)
{
	for (unsigned i = 0; j->arrays && j->arrays[i]; i++) {
		if (j->opened & 1u << i)
			continue;
		text_puts(j->e.out, ",\n");
		put_key(j->e.out, j->arrays[i]);
		text_puts(j->e.out, "[]");
	}
}

static int json_finish(struct text_emitter *e)
{
	struct json_emitter *j = (struct json_emitter *)e;
	struct text_out *o = e->out;

	start(j);
	if (j->lines) {
		text_printf(o, "{\"type\":\"end\",\"records\":%" PRIu64 ",\"problems\":%" PRIu64 "}\n", e->nr_records,
			    e->nr_problems);
	} else {
		close_array(j);
		put_empty_arrays(j);
		text_puts(o, "}\n");
	}
	return o->error;
}

static void json_destroy(struct text_emitter *e)
{
	text_labels_destroy(&((struct json_emitter *)e)->labels);
	free(e);
}

static const char *type_name(const struct record_type *t)
{
	return t->name;
}

static const char *member_name(const struct field *f)
{
	return f->hidden ? NULL : f->name;
}

struct text_emitter *text_emit_json(const struct text_emit_args *args)
{
	static const struct meta_visitor lines = { lines_record, lines_record, lines_end, json_problem };
	static const struct text_label_style style = { type_name, "{\"type\":\"", "\"", member_name, ",\"", "\":" };
	static const struct meta_visitor document = { document_begin, document_record, document_end, json_problem };
	struct json_emitter *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->lines = args->format == TEXT_JSON_LINES;
	j->schema = args->schema;
	j->image = args->image;
	j->e = (struct text_emitter){
		.visitor = j->lines ? lines : document,
		.out = args->out,
		.messages = args->messages,
		.program = args->program,
		.names = args->names,
		.finish = json_finish,
		.destroy = json_destroy,
	};
	if (text_labels_create(&style, &j->labels)) {
		json_destroy(&j->e);
		return NULL;
	}
	return &j->e;
}
