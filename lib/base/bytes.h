/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes: whether there is anything in them, and how they are shown. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* @size is not 0. */
bool bytes_are_zero(const void *data, size_t size);

#define BYTES_HEX_SHOWN 16
#define BYTES_HEX_MAX (3 * BYTES_HEX_SHOWN + 3) /* with the zero at the end */

/* "de ad", and " .." behind the first 16 if there are more. Returns @text. */
char *bytes_hex(const void *data, size_t size, char text[BYTES_HEX_MAX]);

#endif
