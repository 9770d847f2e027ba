/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Emitters: visitors that write records as text. Each output format is one file here and knows fields, not pools.
 */
#ifndef TEXT_EMIT_H
#define TEXT_EMIT_H

#include <stdbool.h>

#include "meta/record.h"
#include "text/out.h"

enum text_format {
	TEXT_HUMAN,
	TEXT_XML,        /* what thin_restore reads */
	TEXT_JSON,       /* one document: for views that fit one screen */
	TEXT_JSON_LINES, /* a document a line: a schema line, records, a closing count */
};

/* What devices are called; NULL for one without a name. */
struct text_names {
	const char *(*device)(void *context, uint64_t dev_id);
	void *context;
};

/* Each format fills this in; a private struct embeds it. */
struct text_emitter {
	struct meta_visitor visitor;
	struct text_out *out;
	struct text_out *messages; /* where problems go when the format has no place for them */
	const char *program;       /* in front of each message; NULL: none */
	const struct text_names *names;
	const char *subject;       /* the image that problems are of, where there are several; or NULL */
	uint64_t nr_records, nr_problems;
	int (*finish)(struct text_emitter *e);
	void (*destroy)(struct text_emitter *e);
};

struct text_emit_args {
	enum text_format format;
	struct text_out *out, *messages;
	const char *program;
	const char *schema; /* "bufio.mappings/1", for JSON */
	const char *image;  /* for JSON */
	const struct text_names *names; /* beside each device's id, but in XML; NULL: none */
	bool is_coloured;               /* for people */
};

/* Nothing is written before the first record. NULL when there is no memory. */
struct text_emitter *text_emit_create(const struct text_emit_args *args);

/* Closes what is open. A stream that was not finished can be told by its missing end. 0 or -errno. */
int text_emit_finish(struct text_emitter *e);

/* NULL is allowed. */
void text_emit_destroy(struct text_emitter *e);

/* The three formats. */
struct text_emitter *text_emit_human(const struct text_emit_args *args);
struct text_emitter *text_emit_xml(const struct text_emit_args *args);
struct text_emitter *text_emit_json(const struct text_emit_args *args);

/* --- for the emitters --- */

/* One field; sizes with a unit for people, in bytes for programs. Not escaped. */
void text_put_field(struct text_out *o, const struct field *f, const void *record, bool people);

/* NULL when it has none. @names may be NULL. */
const char *text_device_name(const struct text_names *names, uint64_t dev_id);

/* " (home)"; nothing for a device without a name. */
void text_put_device_name(struct text_out *o, const struct text_names *names, uint64_t dev_id);

/* "PROGRAM: block 7 (mapping tree, device 1): is all zeroes; virtual blocks 0..5 [block-zeroed]", and a newline. */
void text_put_problem(struct text_out *o, const char *program, const struct text_names *names, const struct problem *p);

/* Its message alone, the template filled in. */
void text_put_message(struct text_out *o, const struct problem *p);
const char *text_message(const struct problem *p, char *text, size_t size);

/* A problem in a format that has no place for it: a line among the messages, flushed so that it comes in time. */
int text_message_problem(struct meta_visitor *v, const struct problem *p);

/* How long the UTF-8 character at @s is, 0 if it is none. */
unsigned text_utf8_length(const unsigned char *s);

/*
 * What stands in front of values, made once: of fields ` time="` or `,"time":`, of records `<device`. A length of 0: the
 * format does not have it.
 */
struct text_label {
	const char *text;
	size_t len;
};

struct text_labels {
	struct text_label record[NR_RECORD_KINDS];
	const struct text_label *fields[NR_RECORD_KINDS]; /* one a field of the kind */
	struct text_label *all_fields;
	struct text_out text; /* of all labels; not flushed anywhere, because together they are shorter than the buffer */
};

/* How a format makes them: a name between two pieces of text. A name of NULL has no label. */
struct text_label_style {
	const char *(*record_name)(const struct record_type *t);
	const char *before_record, *behind_record;
	const char *(*field_name)(const struct field *f);
	const char *before_field, *behind_field;
};

/* 0 or -errno; to be destroyed in either case. */
int text_labels_create(const struct text_label_style *style, struct text_labels *labels);
void text_labels_destroy(struct text_labels *labels);

static inline void text_put_label(struct text_out *o, const struct text_label *label)
{
	text_put(o, label->text, label->len);
}

static inline void text_put_label_and_dec(struct text_out *o, const struct text_label *label, uint64_t v)
{
	text_put_and_dec(o, label->text, label->len, v);
}

void text_put_json_string(struct text_out *o, const char *s);
void text_put_xml_string(struct text_out *o, const char *s);

#endif
