// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/bytes.h"

#include <string.h>

bool bytes_are_zero(const void *data, size_t size)
{
	const char *bytes = data;

	return !bytes[0] && !memcmp(bytes, bytes + 1, size - 1);
}

char *bytes_hex(const void *data, size_t size, char text[BYTES_HEX_MAX])
{
	static const char digits[] = "0123456789abcdef";
	size_t shown = size < BYTES_HEX_SHOWN ? size : BYTES_HEX_SHOWN;
	const uint8_t *bytes = data;
	char *at = text;

	for (size_t i = 0; i < shown; i++) {
		if (i)
			*at++ = ' ';
		*at++ = digits[bytes[i] >> 4];
		*at++ = digits[bytes[i] & 15];
	}
	strcpy(at, shown < size ? " .." : "");
	return text;
}
