// SPDX-License-Identifier: LGPL-2.1-or-later
/* What every program here begins with, and how it gives up. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define HELD_BUFFERS 3

void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("bench: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

void check(int r, const char *what)
{
	if (r)
		die("%s: %s", what, strerror(-r));
}

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct bufio_client *create_client(struct bufio_device *dev, uint64_t limit)
{
	struct bufio_client *c = bufio_client_create(dev, BLOCK, HELD_BUFFERS, 0, NULL, NULL);

	if (!c)
		die("bufio_client_create: %s", strerror(errno));
	check(bufio_set_memory_limit(c, limit), "bufio_set_memory_limit");
	return c;
}
