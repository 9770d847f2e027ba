// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"

/* Reads a number at *@text and moves *@text behind it. No sign, no leading blank: strtoull would take both. */
static int scan_number(const char **text, uint64_t *value)
{
	const char *p = *text;
	int base = 10;
	char *end;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	if (!(base == 16 ? isxdigit((unsigned char)*p) : isdigit((unsigned char)*p)))
		return -EINVAL;
	errno = 0;
	*value = strtoull(p, &end, base);
	if (errno)
		return -errno;
	if (base == 16 && (p[1] == 'x' || p[1] == 'X')) /* strtoull takes a second 0x */
		return -EINVAL;
	*text = end;
	return 0;
}

int units_parse_number(const char *text, uint64_t *value)
{
	uint64_t v;
	int r = scan_number(&text, &v);

	if (r)
		return r;
	if (*text)
		return -EINVAL;
	*value = v;
	return 0;
}

static int scan_unit(const char *unit, uint64_t bare, uint64_t *factor)
{
	static const char prefixes[] = "KMGTP";
	const char *prefix;
	uint64_t step = 1024, f = 1;

	if (!*unit)
		f = bare;
	else if (!strcmp(unit, "s"))
		f = 512;
	else if (strcasecmp(unit, "B")) {
		prefix = strchr(prefixes, toupper((unsigned char)*unit));
		if (!prefix)
			return -EINVAL;
		if (!strcasecmp(unit + 1, "B"))
			step = 1000;
		else if (unit[1] && strcasecmp(unit + 1, "iB"))
			return -EINVAL;
		for (const char *p = prefixes; p <= prefix; p++)
			f *= step;
	}
	*factor = f;
	return 0;
}

int units_parse_size(const char *text, uint64_t bare, uint64_t *bytes)
{
	uint64_t v, factor, product;
	int r = scan_number(&text, &v);

	if (!r)
		r = scan_unit(text, bare, &factor);
	if (r)
		return r;
	if (!checked_mul(v, factor, &product))
		return -ERANGE;
	*bytes = product;
	return 0;
}

int units_parse_range(const char *text, uint64_t *begin, uint64_t *end)
{
	uint64_t b, e;
	int r = scan_number(&text, &b);

	if (r)
		return r;
	if (!*text) {
		if (!checked_add(b, 1, &e))
			return -ERANGE;
	} else if (!strncmp(text, "..", 2)) {
		r = units_parse_number(text + 2, &e);
	} else if (*text == '+') {
		r = units_parse_number(text + 1, &e);
		if (!r && !checked_add(b, e, &e))
			return -ERANGE;
	} else {
		return -EINVAL;
	}
	if (r)
		return r;
	if (b >= e)
		return -EINVAL;
	*begin = b;
	*end = e;
	return 0;
}

char *units_format_size(uint64_t bytes, char buf[UNITS_SIZE_MAX])
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned u = 0;

	while (u < 6 && bytes >> (10 * (u + 1)))
		u++;

	/* Tenths, cut off, not rounded: a device of "4.0 GiB" has at least so much. */
	uint64_t whole = bytes >> (10 * u);
	uint64_t rest = u ? bytes & ((UINT64_C(1) << (10 * u)) - 1) : 0;
	uint64_t tenth = u ? (rest >> (10 * (u - 1))) * 10 / 1024 : 0;

	if (tenth)
		snprintf(buf, UNITS_SIZE_MAX, "%" PRIu64 ".%" PRIu64 " %s", whole, tenth, names[u]);
	else
		snprintf(buf, UNITS_SIZE_MAX, "%" PRIu64 " %s", whole, names[u]);
	return buf;
}

char *units_format_whole_size(uint64_t bytes, char buf[UNITS_SIZE_MAX])
{
	static const char *const names[] = { "", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t v = bytes, rest = 0;
	unsigned u = 0;

	for (; v > 8192; u++) {
		rest = v & 1023;
		v >>= 10;
	}
	v += rest >= 512 && v < 1024;
	snprintf(buf, UNITS_SIZE_MAX, "%" PRIu64 "%s", v, names[u]);
	return buf;
}
