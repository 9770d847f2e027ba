// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/op.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/emit.h"

void op_fail(struct op_result *r, enum op_outcome outcome, int error, const char *format, ...)
{
	va_list args;

	r->outcome = outcome;
	r->error = error;
	va_start(args, format);
	vsnprintf(r->reason, sizeof(r->reason), format, args);
	va_end(args);
}

void op_fail_errno(struct op_result *r, const char *image, int error)
{
	if (error == -ENOMEM || error == -EDEADLK)
		op_fail(r, OP_INTERNAL, error, "%s: not enough memory within the limit", image);
	else
		op_fail(r, OP_INPUT, error, "%s: %s", image, strerror(-error));
}

void op_open_outputs(const struct op_progress *progress, struct text_out *out, int out_fd, struct text_out *messages,
		     int message_fd)
{
	text_out_init(out, out_fd);
	text_out_init(messages, message_fd);
	if (!progress)
		return;
	out->before_write = progress->before_output;
	messages->before_write = progress->before_message;
	out->context = messages->context = progress->context;
}

void op_quote(const char *name, char *text, size_t size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-:@%,=";
	size_t n = 0;

	if (name[strspn(name, plain)] == '\0') {
		snprintf(text, size, "%s", name);
		return;
	}
	text[n++] = '\'';
	for (; *name && n + 6 < size; name++) {
		if (*name == '\'')
			n += (size_t)snprintf(text + n, size - n, "'\\'");
		text[n++] = *name;
	}
	snprintf(text + n, size - n, "'");
}

static int show(struct text_emitter *e, enum record_kind kind, const void *record)
{
	int r = e->visitor.begin(&e->visitor, kind, record);

	if (!r)
		r = e->visitor.end(&e->visitor, kind, record);
	if (!r)
		r = text_emit_finish(e);
	return r ? r : text_out_flush(e->out);
}

int op_show_record(int out_fd, bool json, const char *schema, const char *image, enum record_kind kind, const void *record)
{
	struct text_out *out;
	struct text_emitter *e;
	int r;

	if (out_fd < 0)
		return 0;
	out = malloc(sizeof(*out));
	if (!out)
		return -ENOMEM;
	text_out_init(out, out_fd);
	e = text_emit_create(&(struct text_emit_args){
		.format = json ? TEXT_JSON : TEXT_HUMAN, .out = out, .messages = out, .schema = schema, .image = image,
	});
	r = e ? show(e, kind, record) : -ENOMEM;
	text_emit_destroy(e);
	free(out);
	return r;
}
