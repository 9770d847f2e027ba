// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Lines are given to expat one by one. Behind a line of which expat has said that it ends with text, and not in the middle
 * of a tag, a comment or the like, it is between two elements: lines that are mappings may be left out there, as what is
 * left is well-formed XML just as before.
 */
#include "text/xml_read.h"

#include <errno.h>
#include <expat.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/string_set.h"
#include "text/xml_scan.h"

#define BUFFER_BYTES (1u << 20)
#define TOKEN_BYTES (1u << 20) /* expat keeps what has no end yet */
#define NAME_BYTES 255         /* of a def */
#define UUID_BYTES 64
#define MAX_DEPTH 3
#define SHOWN 40 /* bytes of what is wrong */

struct reader {
	const struct text_xml_args *args;
	struct meta_visitor *v;
	struct text_xml_error *error;
	XML_Parser expat;
	int result; /* 0, or why there is no more to be done */

	char *buffer;
	size_t at, len;
	bool at_end;
	uint64_t bytes; /* that were read */

	enum record_kind open[MAX_DEPTH]; /* elements that have begun */
	unsigned depth;
	struct record_superblock superblock;
	struct record_device device;
	struct record_def def;
	char uuid[UUID_BYTES];
	struct string_set names;

	bool can_scan;     /* bytes are what they look like */
	bool is_between;   /* two elements, at the beginning of a line */
	bool in_cdata;
	uint64_t lines;    /* that are done */
	uint64_t skipped;  /* of these: that expat does not know of */
	uint64_t fed;      /* bytes that expat knows */
	uint64_t told;     /* of these, when it last said something */
	uint64_t text_end; /* of these, behind the last text */
	uint64_t unclear;  /* bytes since is_between */
	bool has_ended;    /* the superblock */
	char shown[SHOWN + 8];
};

/*
 * A piece of the text for a message: not too long, letters whole, and without anything that would move a cursor.
 */
static const char *show(struct reader *r, const char *text, size_t len)
{
	size_t n = len <= SHOWN ? len : SHOWN;

	while (n < len && n && ((unsigned char)text[n] & 0xC0) == 0x80)
		n--;
	snprintf(r->shown, sizeof(r->shown), "%.*s%s", (int)n, text, n < len ? "..." : "");
	for (unsigned char *c = (unsigned char *)r->shown; *c; c++)
		if (*c < 0x20 || *c == 0x7F || (*c == 0xC2 && c[1] >= 0x80 && c[1] < 0xA0))
			*c = '?';
	for (unsigned char *c = (unsigned char *)r->shown; *c; c++)
		if (*c == '?' && c[1] >= 0x80 && c[1] < 0xC0)
			memmove(c + 1, c + 2, strlen((char *)c + 2) + 1);
	return r->shown;
}

#define SHOW(r, text) show(r, text, strlen(text))

/* --- giving up --- */

__attribute__((format(printf, 3, 4))) static void fail(struct reader *r, int result, const char *format, ...)
{
	va_list args;

	if (r->result)
		return;
	r->result = result;
	va_start(args, format);
	vsnprintf(r->error->reason, sizeof(r->error->reason), format, args);
	va_end(args);
	r->error->line = XML_GetCurrentLineNumber(r->expat) + r->skipped;
	r->error->column = XML_GetCurrentColumnNumber(r->expat) + 1;
	XML_StopParser(r->expat, XML_FALSE);
}

#define REFUSE(r, ...) fail(r, -EINVAL, __VA_ARGS__)

static void name_element(struct reader *r, const char *name)
{
	if (!r->result)
		snprintf(r->error->element, sizeof(r->error->element), "%s", name);
}

/* The visitor has the say. */
static void hand_over(struct reader *r, int result)
{
	if (result)
		fail(r, result, "%s", "");
}

/* --- attributes --- */

static bool is_optional(const char *attribute)
{
	return !strcmp(attribute, "uuid") || !strcmp(attribute, "flags") || !strcmp(attribute, "version");
}

static void read_number(struct reader *r, const struct field *f, const char *text, void *record)
{
	uint64_t v = 0, most = f->size == 8 ? UINT64_MAX : UINT32_MAX;
	size_t digits = strspn(text, "0123456789");
	uint32_t v32;

	if (!digits || text[digits]) {
		REFUSE(r, "%s: '%s' is not a number", f->xml, SHOW(r, text));
		return;
	}
	for (size_t i = 0; i < digits; i++)
		if (!checked_mul(v, 10, &v) || !checked_add(v, (uint64_t)(text[i] - '0'), &v) || v > most) {
			REFUSE(r, "%s: %s does not fit into %d bits", f->xml, SHOW(r, text), 8 * f->size);
			return;
		}
	v32 = (uint32_t)v;
	memcpy((char *)record + f->offset, f->size == 8 ? (const void *)&v : &v32, f->size);
}

/* A def is a new name, a ref one that there is. */
static void read_name(struct reader *r, enum record_kind kind, const char *text, struct record_def *def)
{
	int e;

	def->name = string_set_find(&r->names, text);
	if (kind == RECORD_REF && !def->name)
		REFUSE(r, "name: there is no def '%s' before this", SHOW(r, text));
	if (kind == RECORD_REF)
		return;
	if (def->name) {
		REFUSE(r, "name: there is a def '%s' already", SHOW(r, text));
	} else if (strlen(text) > NAME_BYTES) {
		REFUSE(r, "name: is longer than %d bytes", NAME_BYTES);
	} else {
		e = string_set_add(&r->names, text);
		if (e)
			fail(r, e, "there are more defs than the memory limit has room for, by '%s'", SHOW(r, text));
		def->name = r->names.nr;
	}
}

static void read_attribute(struct reader *r, enum record_kind kind, const struct field *f, const char *text,
			   void *record)
{
	if (kind == RECORD_DEF || kind == RECORD_REF) {
		read_name(r, kind, text, record);
	} else if (f->format == FIELD_TEXT) {
		snprintf(r->uuid, sizeof(r->uuid), "%s", text);
		r->superblock.uuid = r->uuid;
	} else {
		read_number(r, f, text, record);
	}
}

static int find_field(const struct record_type *t, const char *name)
{
	for (unsigned i = 0; i < t->nr_fields; i++)
		if (t->fields[i].xml && !strcmp(t->fields[i].xml, name))
			return (int)i;
	return -1;
}

static void read_attributes(struct reader *r, enum record_kind kind, const char **attributes, void *record)
{
	const struct record_type *t = &record_types[kind];
	unsigned seen = 0;

	for (; *attributes && !r->result; attributes += 2) {
		int i = find_field(t, attributes[0]);

		if (i < 0 && r->args->is_lenient)
			continue;
		if (i < 0) {
			REFUSE(r, "%s: is no attribute of this element", SHOW(r, attributes[0]));
			return;
		}
		seen |= 1u << i;
		read_attribute(r, kind, &t->fields[i], attributes[1], record);
	}
	for (unsigned i = 0; i < t->nr_fields && !r->result; i++)
		if (t->fields[i].xml && !(seen & 1u << i) && !is_optional(t->fields[i].xml))
			REFUSE(r, "%s: is missing", t->fields[i].xml);
}

/* --- elements --- */

#define NOWHERE NR_RECORD_KINDS

/* What may be where. */
static const struct element {
	enum record_kind kind, inside, or_inside;
} elements[] = {
	{ RECORD_SINGLE, RECORD_DEVICE, RECORD_DEF },
	{ RECORD_RANGE, RECORD_DEVICE, RECORD_DEF },
	{ RECORD_REF, RECORD_DEVICE, RECORD_DEF },
	{ RECORD_DEVICE, RECORD_SUPERBLOCK, RECORD_SUPERBLOCK },
	{ RECORD_DEF, RECORD_SUPERBLOCK, RECORD_SUPERBLOCK },
	{ RECORD_SUPERBLOCK, NOWHERE, NOWHERE },
};

static enum record_kind innermost(const struct reader *r)
{
	return r->depth ? r->open[r->depth - 1] : NOWHERE;
}

static const struct element *find_element(struct reader *r, const char *name)
{
	enum record_kind in = innermost(r);

	for (size_t i = 0; i < sizeof(elements) / sizeof(*elements); i++) {
		const struct element *e = &elements[i];

		if (strcmp(record_types[e->kind].xml, name) != 0)
			continue;
		if (in == e->inside || in == e->or_inside)
			return e;
		if (in == NOWHERE)
			REFUSE(r, "is not inside a <superblock>");
		else
			REFUSE(r, "does not belong into a <%s>", record_types[in].xml);
		return NULL;
	}
	REFUSE(r, "is no element of a pool's XML");
	return NULL;
}

static void begin_container(struct reader *r, enum record_kind kind, const char **attributes, void *record)
{
	read_attributes(r, kind, attributes, record);
	if (!r->result)
		hand_over(r, r->v->begin(r->v, kind, record));
}

static void read_mapping(struct reader *r, enum record_kind kind, const char **attributes)
{
	struct record_mapping m = { .dev_id = r->device.dev_id, .length = 1 };

	read_attributes(r, kind, attributes, &m);
	m.origin_last = m.origin_begin + m.length - 1;
	m.data_last = m.data_begin + m.length - 1;
	if (!r->result)
		hand_over(r, r->v->record(r->v, kind, &m));
}

static void read_ref(struct reader *r, const char **attributes)
{
	struct record_def ref = { 0 };

	read_attributes(r, RECORD_REF, attributes, &ref);
	if (!r->result)
		hand_over(r, r->v->record(r->v, RECORD_REF, &ref));
}

static void say(struct reader *r)
{
	r->told = r->fed;
}

static void XMLCALL on_begin(void *context, const char *name, const char **attributes)
{
	struct reader *r = context;
	const struct element *e;

	say(r);
	name_element(r, name);
	e = r->result ? NULL : find_element(r, name);
	if (!e)
		return;
	switch (e->kind) {
	case RECORD_SUPERBLOCK:
		r->superblock = (struct record_superblock){ .uuid = "", .version = 2 };
		begin_container(r, e->kind, attributes, &r->superblock);
		break;
	case RECORD_DEVICE:
		r->device = (struct record_device){ 0 };
		begin_container(r, e->kind, attributes, &r->device);
		break;
	case RECORD_DEF:
		begin_container(r, e->kind, attributes, &r->def);
		break;
	case RECORD_REF: read_ref(r, attributes); break;
	default: read_mapping(r, e->kind, attributes); break;
	}
	r->open[r->depth++] = e->kind;
}

static void XMLCALL on_end(void *context, const char *name)
{
	struct reader *r = context;
	enum record_kind kind;

	say(r);
	name_element(r, name);
	if (r->result)
		return;
	kind = r->open[--r->depth];
	if (kind == RECORD_SUPERBLOCK)
		r->has_ended = true; /* what follows may still be wrong */
	else if (kind == RECORD_DEVICE)
		hand_over(r, r->v->end(r->v, kind, &r->device));
	else if (kind == RECORD_DEF)
		hand_over(r, r->v->end(r->v, kind, &r->def));
}

/* --- all else --- */

static void XMLCALL on_text(void *context, const char *text, int len)
{
	struct reader *r = context;
	int i = 0;

	say(r);
	while (i < len && strchr(" \t\n\r", text[i]) && text[i])
		i++;
	if (i < len) {
		r->error->element[0] = '\0';
		REFUSE(r, "text where only elements belong: '%s'", show(r, text + i, (size_t)(len - i)));
	}
	r->text_end = (uint64_t)XML_GetCurrentByteIndex(r->expat) + (uint64_t)XML_GetCurrentByteCount(r->expat);
}

static void XMLCALL on_comment(void *context, const char *text)
{
	(void)text;
	say(context);
}

static void XMLCALL on_instruction(void *context, const char *target, const char *data)
{
	(void)target;
	(void)data;
	say(context);
}

static void XMLCALL on_cdata(void *context)
{
	struct reader *r = context;

	say(r);
	r->in_cdata = !r->in_cdata;
}

/* Entities could make a small file large. */
static void XMLCALL on_doctype(void *context, const char *name, const char *system, const char *public, int has_subset)
{
	struct reader *r = context;

	(void)name;
	(void)system;
	(void)public;
	(void)has_subset;
	r->error->element[0] = '\0';
	REFUSE(r, "has a document type, which a pool's XML has not");
}

static void XMLCALL on_declaration(void *context, const char *version, const char *encoding, int standalone)
{
	struct reader *r = context;

	(void)version;
	(void)standalone;
	say(r);
	if (encoding && strcasecmp(encoding, "UTF-8") != 0)
		r->can_scan = false;
}

static int create_parser(struct reader *r)
{
	r->expat = XML_ParserCreate(NULL);
	if (!r->expat)
		return -ENOMEM;
	XML_SetUserData(r->expat, r);
	XML_SetElementHandler(r->expat, on_begin, on_end);
	XML_SetCharacterDataHandler(r->expat, on_text);
	XML_SetCommentHandler(r->expat, on_comment);
	XML_SetProcessingInstructionHandler(r->expat, on_instruction);
	XML_SetCdataSectionHandler(r->expat, on_cdata, on_cdata);
	XML_SetStartDoctypeDeclHandler(r->expat, on_doctype);
	XML_SetXmlDeclHandler(r->expat, on_declaration);
	return 0;
}

/* --- bytes --- */

static uint64_t count_lines(const char *text, size_t len)
{
	const char *end = text + len;
	uint64_t nr = 0;

	while ((text = memchr(text, '\n', (size_t)(end - text)))) {
		text++;
		nr++;
	}
	return nr;
}

/* What expat says, in words for someone who did not write the file. */
static void refuse_xml(struct reader *r)
{
	enum XML_Error e = XML_GetErrorCode(r->expat);

	r->error->element[0] = '\0';
	if (e == XML_ERROR_NO_ELEMENTS && r->depth)
		REFUSE(r, "ends inside of <%s>: it was cut off", record_types[innermost(r)].xml);
	else if (e == XML_ERROR_NO_ELEMENTS)
		REFUSE(r, "is empty: there is no <superblock>");
	else if (e == XML_ERROR_UNCLOSED_TOKEN || e == XML_ERROR_UNCLOSED_CDATA_SECTION)
		REFUSE(r, "ends in the middle of a tag or a comment: it was cut off");
	else if (e == XML_ERROR_INVALID_TOKEN)
		REFUSE(r, "is not well-formed XML: a character that does not belong here");
	else
		REFUSE(r, "is not well-formed XML: %s", XML_ErrorString(e));
}

static void feed(struct reader *r, size_t len, bool is_final)
{
	const char *text = r->buffer + r->at;

	r->fed += len;
	if (XML_Parse(r->expat, text, (int)len, is_final) != XML_STATUS_OK && !r->result)
		refuse_xml(r);
	r->at += len;
	r->lines += count_lines(text, len);
	r->is_between = len && text[len - 1] == '\n' && r->text_end == r->fed && !r->in_cdata;
	r->unclear = r->is_between ? 0 : r->unclear + len;
	if (r->fed - r->told > TOKEN_BYTES) {
		r->error->element[0] = '\0';
		REFUSE(r, "has something of more than %u bytes that does not end", TOKEN_BYTES);
	}
}

/* Takes lines that are mappings past expat. */
static void scan(struct reader *r)
{
	struct record_mapping m = { .dev_id = r->device.dev_id };
	enum record_kind kind, in = innermost(r);
	const char *next;

	if (!r->can_scan || !r->is_between || (in != RECORD_DEVICE && in != RECORD_DEF))
		return;
	while (!r->result && (next = text_xml_scan(r->buffer + r->at, &m, &kind))) {
		int e = r->v->record(r->v, kind, &m);

		if (e) {
			name_element(r, record_types[kind].xml);
			hand_over(r, e);
			r->error->line = r->lines + 1;
			r->error->column = 1 + strspn(r->buffer + r->at, " ");
		}
		r->at = (size_t)(next - r->buffer);
		r->lines++;
		r->skipped++;
	}
}

/*
 * As far as expat gets to see next: to the end of the line. Where it is in the middle of something, as much again as it
 * has seen of that, as it begins anew with it each time. 0: the rest of the line is not there yet.
 */
static size_t next_piece(const struct reader *r)
{
	size_t rest = r->len - r->at, begin = r->unclear < rest ? (size_t)r->unclear : rest;
	const char *end = memchr(r->buffer + r->at + begin, '\n', rest - begin);

	if (end)
		return (size_t)(end - (r->buffer + r->at)) + 1;
	return r->at_end || r->unclear || rest == BUFFER_BYTES ? rest : 0;
}

static int fill(struct reader *r)
{
	ssize_t n;

	memmove(r->buffer, r->buffer + r->at, r->len - r->at);
	r->len -= r->at;
	r->at = 0;
	do
		n = read(r->args->fd, r->buffer + r->len, BUFFER_BYTES - r->len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (r->args->progress)
		*r->args->progress += (r->bytes + (uint64_t)n) / 4096 - r->bytes / 4096;
	r->bytes += (uint64_t)n;
	r->len += (size_t)n;
	r->at_end = !n;
	memset(r->buffer + r->len, 0, TEXT_XML_SCAN_SLACK);
	return 0;
}

static void use_up(struct reader *r)
{
	size_t len;

	while (r->at < r->len && !r->result) {
		scan(r);
		len = next_piece(r);
		if (!len || r->result)
			return;
		feed(r, len, false);
	}
}

/* UTF-16 begins with a byte that is not ASCII, or has a zero byte behind the first character. */
static void look_at_encoding(struct reader *r)
{
	for (size_t i = 0; i < 4 && i < r->len; i++)
		if (!r->buffer[i] || r->buffer[i] & 0x80)
			r->can_scan = false;
}

static int read_all(struct reader *r)
{
	int e = 0;

	while (!r->at_end && !r->result && !e) {
		bool is_first = !r->bytes;

		e = fill(r);
		if (is_first)
			look_at_encoding(r);
		if (!e)
			use_up(r);
	}
	if (e) {
		*r->error = (struct text_xml_error){ 0 };
		snprintf(r->error->reason, sizeof(r->error->reason), "%s", strerror(-e));
		return e;
	}
	if (!r->result)
		feed(r, 0, true);
	if (!r->result && r->has_ended)
		hand_over(r, r->v->end(r->v, RECORD_SUPERBLOCK, &r->superblock));
	return r->result;
}

int text_xml_read(const struct text_xml_args *args, struct meta_visitor *v, struct text_xml_error *error)
{
	struct reader r = { .args = args, .v = v, .error = error, .can_scan = !args->without_scanner };
	int e = create_parser(&r);

	*error = (struct text_xml_error){ 0 };
	string_set_init(&r.names, args->memory);
	posix_fadvise(args->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a wish */
	r.buffer = malloc(BUFFER_BYTES + TEXT_XML_SCAN_SLACK);
	if (!e)
		e = r.buffer ? read_all(&r) : -ENOMEM;
	if (e && !error->line && !error->reason[0])
		snprintf(error->reason, sizeof(error->reason), "%s", strerror(-e));
	free(r.buffer);
	string_set_destroy(&r.names);
	if (r.expat)
		XML_ParserFree(r.expat);
	return e;
}
