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
	o->written = 0;
	o->before_write = NULL;
}

static void write_all(struct text_out *o, const char *p, size_t n)
{
	o->written += n;
	if (o->fd < 0)
		return;
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

static unsigned nr_digits(uint64_t v)
{
	/* [n]: the least number of n + 1 digits. */
	static const uint64_t powers[] = {
		0, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000,
		1000000000000, 10000000000000, 100000000000000, 1000000000000000, 10000000000000000,
		100000000000000000, 1000000000000000000, 10000000000000000000u,
	};
	unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1), n = bits * 1233 >> 12; /* bits * log10(2) */

	return n + (v >= powers[n]);
}

char *text_digits(uint64_t v, char *at)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
				    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";
	char *end = at + nr_digits(v);

	at = end;
	for (; v >= 10000; v /= 10000) {
		uint32_t low = (uint32_t)(v % 10000);

		memcpy(at - 2, pairs + 2 * (low % 100), 2);
		memcpy(at -= 4, pairs + 2 * (low / 100), 2);
	}
	if (v >= 100) {
		memcpy(at -= 2, pairs + 2 * (v % 100), 2);
		v /= 100;
	}
	if (v >= 10)
		memcpy(at - 2, pairs + 2 * v, 2);
	else
		at[-1] = (char)('0' + v);
	return end;
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
