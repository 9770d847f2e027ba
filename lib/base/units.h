/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers, sizes and ranges as people write them.
 *
 * A number is decimal, or hexadecimal after 0x. A size is a number and a unit: none (the caller says what a bare
 * number counts), s = 512-byte sectors, B, K M G T P or KiB MiB ... = powers of 1024, KB MB ... = powers of 1000. Letters
 * may be of either case, but for s. There are no fractions and no blanks.
 * A range is half open: "3..7" is 3, 4, 5, 6; "3+4" is the same; "3" alone is one.
 *
 * Errors of all parse calls: -EINVAL not understood, -ERANGE does not fit in 64 bits. Outputs are then untouched.
 */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int units_parse_number(const char *text, uint64_t *value);

/* @bare: how many bytes a bare number counts, 1 for bytes. */
int units_parse_size(const char *text, uint64_t bare, uint64_t *bytes);

/* A whole number and ns, us, ms, s, m or h; bare: seconds. Letters are small ones. */
int units_parse_time(const char *text, uint64_t *ns);

/* An empty or backward range is -EINVAL. */
int units_parse_range(const char *text, uint64_t *begin, uint64_t *end);

/*
 * A range of numbers, or of bytes where it has units: "1GiB..2GiB", "4KiB+1MiB", "123456s". Both sides have one, but a
 * begin of 0 needs none; a byte alone stands for itself.
 */
int units_parse_extent(const char *text, bool *in_bytes, uint64_t *begin, uint64_t *end);

/* Room for any result of units_format_size(). */
#define UNITS_SIZE_MAX 48

/* "4 MiB", "1.5 GiB", "512 B": at most one digit after the point, never more precise than it is. Returns @buf. */
char *units_format_size(uint64_t bytes, char buf[UNITS_SIZE_MAX]);

/* The same in whole numbers: "670MiB", "4096KiB", up to 8192 of a unit, rounded below 1024; "0" has none. */
char *units_format_whole_size(uint64_t bytes, char buf[UNITS_SIZE_MAX]);

/* Room for any result of units_format_time(). */
#define UNITS_TIME_MAX 32

/* Three digits that count, up to seconds: "712ns", "43.8us", "1.52ms", "3600s". Returns @buf. */
char *units_format_time(uint64_t ns, char buf[UNITS_TIME_MAX]);

#endif
