// SPDX-License-Identifier: LGPL-2.1-or-later
/* XML, the form that thin_restore reads: an element a record, an attribute a field. */
#include <stdlib.h>

#include "text/emit.h"

struct xml_emitter {
	struct text_emitter e;
	unsigned depth;
	struct text_labels labels;
};

static struct xml_emitter *xml(struct meta_visitor *v)
{
	return (struct xml_emitter *)v;
}

/* Of @n bytes. U+FFFE and U+FFFF are UTF-8, but not text. */
static bool is_xml_character(const unsigned char *p, unsigned n)
{
	if (n == 1)
		return *p >= 0x20 || *p == '\t' || *p == '\n' || *p == '\r';
	return n && !(p[0] == 0xEF && p[1] == 0xBF && p[2] >= 0xBE);
}

/* File names may hold any bytes; what XML cannot have becomes the replacement character, as in JSON. */
void text_put_xml_string(struct text_out *o, const char *s)
{
	static const char *const entities[128] = {
		['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&apos;",
	};

	for (const unsigned char *p = (const unsigned char *)s; *p;) {
		unsigned n = text_utf8_length(p);

		if (*p < 128 && entities[*p])
			text_puts(o, entities[*p]);
		else if (is_xml_character(p, n))
			text_put(o, (const char *)p, n);
		else
			text_puts(o, "\xEF\xBF\xBD");
		p += n ? n : 1;
	}
}

static void indent(struct xml_emitter *x)
{
	text_put(x->e.out, "                ", 2 * (size_t)x->depth);
}

static void put_attribute(struct text_out *o, const struct text_label *label, const struct field *f, const void *record)
{
	if ((f->format == FIELD_OPTIONAL || f->format == FIELD_DEVICE) && field_number(f, record) == RECORD_UNKNOWN)
		return;
	if (f->format == FIELD_DEC) {
		text_put_label_and_dec(o, label, field_number(f, record));
	} else if (f->format == FIELD_TEXT) {
		text_put_label(o, label);
		text_put_xml_string(o, field_text(f, record));
	} else {
		text_put_label(o, label);
		text_put_field(o, f, record, false);
	}
	text_put(o, "\"", 1);
}

static void put_attributes(struct xml_emitter *x, enum record_kind kind, const void *record)
{
	const struct record_type *t = &record_types[kind];
	const struct text_label *labels = x->labels.fields[kind];

	for (unsigned i = 0; i < t->nr_fields; i++)
		if (labels[i].len)
			put_attribute(x->e.out, &labels[i], &t->fields[i], record);
}

/* But for its end. */
static void put_element(struct xml_emitter *x, enum record_kind kind, const void *record)
{
	x->e.nr_records++;
	indent(x);
	text_put_label(x->e.out, &x->labels.record[kind]);
	put_attributes(x, kind, record);
}

static int xml_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct xml_emitter *x = xml(v);

	put_element(x, kind, record);
	text_put(x->e.out, "/>\n", 3);
	return x->e.out->error;
}

/* The first line goes out at once: LVM reads it for the transaction and then closes the pipe. */
static int xml_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct xml_emitter *x = xml(v);

	put_element(x, kind, record);
	text_put(x->e.out, ">\n", 2);
	if (!x->depth++)
		text_out_flush(x->e.out);
	return x->e.out->error;
}

static int xml_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct xml_emitter *x = xml(v);

	(void)record;
	x->depth--;
	indent(x);
	text_puts(x->e.out, "</");
	text_puts(x->e.out, record_types[kind].xml);
	text_puts(x->e.out, ">\n");
	return x->e.out->error;
}

static void xml_destroy(struct text_emitter *e)
{
	text_labels_destroy(&((struct xml_emitter *)e)->labels);
	free(e);
}

static const char *element_name(const struct record_type *t)
{
	return t->xml;
}

static const char *attribute_name(const struct field *f)
{
	return f->xml;
}

struct text_emitter *text_emit_xml(const struct text_emit_args *args)
{
	static const struct text_label_style style = { element_name, "<", "", attribute_name, " ", "=\"" };
	struct xml_emitter *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->e = (struct text_emitter){
		.visitor = { xml_begin, xml_record, xml_end, text_message_problem },
		.out = args->out,
		.messages = args->messages,
		.program = args->program,
		.names = args->names,
		.destroy = xml_destroy,
	};
	if (text_labels_create(&style, &x->labels)) {
		xml_destroy(&x->e);
		return NULL;
	}
	return &x->e;
}
