// SPDX-License-Identifier: LGPL-2.1-or-later
#include "text/out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void text_out_init(struct text_out *o, int fd)
{
	o->fd = fd;
	o->error = 0;
	o->len = 0;
	o->before_write = NULL;
}

static void write_all(struct text_out *o, const char *p, size_t n)
{
	if (n && o->before_write)
		o->before_write(o->context);
	while (n && !o->error) {
		ssize_t w = write(o->fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			o->error = w ? -errno : -EIO;
			return;
		}
		p += w;
		n -= (size_t)w;
	}
}

int text_out_flush(struct text_out *o)
{
	write_all(o, o->buffer, o->len);
	o->len = 0;
	return o->error;
}

void text_put_slow(struct text_out *o, const char *p, size_t n)
{
	text_out_flush(o);
	if (n > sizeof(o->buffer)) {
		write_all(o, p, n);
		return;
	}
	memcpy(o->buffer, p, n);
	o->len = n;
}

char *text_digits(uint64_t v, char *end)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
				    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";

	for (; v >= 100; v /= 100)
		memcpy(end -= 2, pairs + 2 * (v % 100), 2);
	if (v >= 10)
		memcpy(end -= 2, pairs + 2 * v, 2);
	else
		*--end = (char)('0' + v);
	return end;
}

void text_put_dec(struct text_out *o, uint64_t v)
{
	char digits[20], *end = digits + sizeof(digits), *begin = text_digits(v, end);

	text_put(o, begin, (size_t)(end - begin));
}

void text_put_hex(struct text_out *o, uint64_t v)
{
	char hex[18], *p = hex + sizeof(hex);

	do
		*--p = "0123456789abcdef"[v & 15];
	while (v >>= 4);
	*--p = 'x';
	*--p = '0';
	text_put(o, p, (size_t)(hex + sizeof(hex) - p));
}

void text_printf(struct text_out *o, const char *format, ...)
{
	char line[1024];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n > 0)
		text_put(o, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}
