/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where text goes: a buffer in front of a file descriptor, written at memory speed.
 *
 * The first error sticks and swallows what follows; text_out_flush() tells it. A closed pipe is -EPIPE like any other
 * error (the caller leaves SIGPIPE at its default, if it wants to die quietly).
 */
#ifndef TEXT_OUT_H
#define TEXT_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TEXT_OUT_BUFFER 65536

struct text_out {
	int fd;    /* -1: nowhere */
	int error; /* -errno */
	size_t len;
	uint64_t written; /* bytes that left the buffer */
	void (*before_write)(void *context); /* or NULL */
	void *context;
	char buffer[TEXT_OUT_BUFFER];
};

/* @fd: -1: nowhere, without an error. */
void text_out_init(struct text_out *o, int fd);

/* 0, or the first -errno since init. */
int text_out_flush(struct text_out *o);

void text_put_slow(struct text_out *o, const char *p, size_t n);

static inline void text_put(struct text_out *o, const char *p, size_t n)
{
	if (n <= sizeof(o->buffer) - o->len) {
		memcpy(o->buffer + o->len, p, n);
		o->len += n;
	} else {
		text_put_slow(o, p, n);
	}
}

static inline void text_puts(struct text_out *o, const char *s)
{
	text_put(o, s, strlen(s));
}

#define TEXT_MAX_DIGITS 20

/* Writes the digits of @v at @at, and returns where they end. */
char *text_digits(uint64_t v, char *at);

/* The first @n bytes at @p, far fewer than the buffer has, and the digits of @v: most of a dump is such pairs. */
static inline void text_put_and_dec(struct text_out *o, const char *p, size_t n, uint64_t v)
{
	char *at;

	if (n + TEXT_MAX_DIGITS > sizeof(o->buffer) - o->len)
		text_out_flush(o);
	at = o->buffer + o->len;
	memcpy(at, p, n);
	o->len = (size_t)(text_digits(v, at + n) - o->buffer);
}

static inline void text_put_dec(struct text_out *o, uint64_t v)
{
	text_put_and_dec(o, "", 0, v);
}

void text_put_hex(struct text_out *o, uint64_t v); /* with 0x */
/* A short piece: what is longer than 1023 bytes is cut off. */
__attribute__((format(printf, 2, 3))) void text_printf(struct text_out *o, const char *format, ...);

#endif
