// SPDX-License-Identifier: LGPL-2.1-or-later
#include "text/xml_scan.h"

#include <stdbool.h>

#define DIGITS 19 /* so many always fit into 64 bits */

/* Past @literal, or NULL. A zero byte, as behind the text, is never a part of one; so nothing is read behind the slack. */
#define SKIP(at, literal) (memcmp(at, literal, sizeof(literal) - 1) ? NULL : (at) + sizeof(literal) - 1)

static inline const char *scan_number(const char *at, uint64_t *value)
{
	const char *begin = at;
	uint64_t v = 0;

	for (unsigned digit; (digit = (unsigned char)*at - '0') <= 9; at++)
		v = v * 10 + digit;
	*value = v;
	return at == begin || at - begin > DIGITS ? NULL : at;
}

static inline const char *scan_time(const char *at, uint32_t *time)
{
	uint64_t value;

	at = SKIP(at, "\" time=\"");
	if (!at || !(at = scan_number(at, &value)) || value > UINT32_MAX)
		return NULL;
	*time = (uint32_t)value;
	return SKIP(at, "\"/>\n");
}

static inline const char *scan_single(const char *at, struct record_mapping *m)
{
	if (!(at = scan_number(at, &m->origin_begin)) || !(at = SKIP(at, "\" data_block=\"")) ||
	    !(at = scan_number(at, &m->data_begin)))
		return NULL;
	m->length = 1;
	return scan_time(at, &m->time);
}

static inline const char *scan_range(const char *at, struct record_mapping *m)
{
	if (!(at = scan_number(at, &m->origin_begin)) || !(at = SKIP(at, "\" data_begin=\"")) ||
	    !(at = scan_number(at, &m->data_begin)) || !(at = SKIP(at, "\" length=\"")) ||
	    !(at = scan_number(at, &m->length)))
		return NULL;
	return scan_time(at, &m->time);
}

const char *text_xml_scan(const char *text, struct record_mapping *m, enum record_kind *kind)
{
	const char *at = text, *next;

	while (*at == ' ')
		at++;
	if ((next = SKIP(at, "<single_mapping origin_block=\""))) {
		*kind = RECORD_SINGLE;
		next = scan_single(next, m);
	} else if ((next = SKIP(at, "<range_mapping origin_begin=\""))) {
		*kind = RECORD_RANGE;
		next = scan_range(next, m);
	}
	if (!next)
		return NULL;
	m->origin_last = m->origin_begin + m->length - 1;
	m->data_last = m->data_begin + m->length - 1;
	return next;
}
