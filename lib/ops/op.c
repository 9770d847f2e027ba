// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/op.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/out.h"

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
