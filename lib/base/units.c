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

static bool is_unit(const char *text, size_t len, const char *unit)
{
	return strlen(unit) == len && !strncasecmp(text, unit, len);
}

/* The letters at *@text, which is moved behind them. */
static int scan_unit(const char **text, uint64_t bare, uint64_t *factor)
{
	static const char prefixes[] = "KMGTP";
	const char *unit = *text, *prefix;
	uint64_t step = 1024, f = 1;
	size_t len = 0;

	while (isalpha((unsigned char)unit[len]))
		len++;
	if (!len) {
		f = bare;
	} else if (len == 1 && *unit == 's') {
		f = 512;
	} else if (!is_unit(unit, len, "B")) {
		prefix = strchr(prefixes, toupper((unsigned char)*unit));
		if (!prefix)
			return -EINVAL;
		if (is_unit(unit + 1, len - 1, "B"))
			step = 1000;
		else if (len > 1 && !is_unit(unit + 1, len - 1, "iB"))
			return -EINVAL;
		for (const char *p = prefixes; p <= prefix; p++)
			f *= step;
	}
	*text = unit + len;
	*factor = f;
	return 0;
}

static int scan_size(const char **text, uint64_t bare, uint64_t *bytes)
{
	uint64_t v, factor;
	int r = scan_number(text, &v);

	if (!r)
		r = scan_unit(text, bare, &factor);
	if (r)
		return r;
	return checked_mul(v, factor, bytes) ? 0 : -ERANGE;
}

int units_parse_size(const char *text, uint64_t bare, uint64_t *bytes)
{
	uint64_t v;
	int r = scan_size(&text, bare, &v);

	if (r)
		return r;
	if (*text)
		return -EINVAL;
	*bytes = v;
	return 0;
}

int units_parse_time(const char *text, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "", 1000000000 }, { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 },
		{ "m", UINT64_C(60000000000) }, { "h", UINT64_C(3600000000000) },
	};
	uint64_t v, product;
	size_t i = 0;
	int r = scan_number(&text, &v);

	while (i < sizeof(units) / sizeof(*units) && strcmp(text, units[i].name))
		i++;
	if (r || i == sizeof(units) / sizeof(*units))
		return r ? r : -EINVAL;
	if (!checked_mul(v, units[i].ns, &product))
		return -ERANGE;
	*ns = product;
	return 0;
}

/* One side of a range. Letters behind the digits are a unit; those that may be digits of a hexadecimal number are. */
static int scan_side(const char **text, uint64_t *value, bool *has_unit)
{
	const char *number = *text;
	uint64_t plain;
	int r = scan_number(&number, &plain);

	*has_unit = !r && isalpha((unsigned char)*number);
	return r ? r : scan_size(text, 1, value);
}

/* What is behind the begin at @text. */
static int scan_end(const char *text, uint64_t begin, bool *has_unit, uint64_t *end)
{
	bool is_length = *text == '+';
	uint64_t e;
	int r;

	if (!is_length && strncmp(text, "..", 2))
		return -EINVAL;
	text += is_length ? 1 : 2;
	r = scan_side(&text, &e, has_unit);
	if (r)
		return r;
	if (*text)
		return -EINVAL;
	if (is_length && !checked_add(begin, e, &e))
		return -ERANGE;
	*end = e;
	return 0;
}

int units_parse_extent(const char *text, bool *in_bytes, uint64_t *begin, uint64_t *end)
{
	bool begin_unit, end_unit;
	uint64_t b, e;
	int r = scan_side(&text, &b, &begin_unit);

	if (r)
		return r;
	end_unit = begin_unit;
	if (*text)
		r = scan_end(text, b, &end_unit, &e);
	else if (!checked_add(b, 1, &e))
		r = -ERANGE;
	if (r)
		return r;
	if (b >= e || (begin_unit != end_unit && (begin_unit || b)))
		return -EINVAL;
	*in_bytes = end_unit;
	*begin = b;
	*end = e;
	return 0;
}

int units_parse_range(const char *text, uint64_t *begin, uint64_t *end)
{
	uint64_t b, e;
	bool in_bytes;
	int r = units_parse_extent(text, &in_bytes, &b, &e);

	if (r)
		return r;
	if (in_bytes)
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

char *units_format_time(uint64_t ns, char buf[UNITS_TIME_MAX])
{
	static const char *const names[] = { "ns", "us", "ms", "s" };
	double v = (double)ns;
	unsigned u = 0;

	for (; v >= 999.5 && u < 3; u++)
		v /= 1000;
	snprintf(buf, UNITS_TIME_MAX, "%.*f%s", !u || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2, v, names[u]);
	return buf;
}
