// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/op.h"

#include <stdarg.h>
#include <stdio.h>

void op_fail(struct op_result *r, enum op_outcome outcome, int error, const char *format, ...)
{
	va_list args;

	r->outcome = outcome;
	r->error = error;
	va_start(args, format);
	vsnprintf(r->reason, sizeof(r->reason), format, args);
	va_end(args);
}
