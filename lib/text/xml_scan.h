/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mappings in the one form in which they are written, without a parser. */
#ifndef TEXT_XML_SCAN_H
#define TEXT_XML_SCAN_H

#include "meta/record.h"

/* Bytes behind the text that may be looked at: they are zeroes. */
#define TEXT_XML_SCAN_SLACK 64

/*
 * If a whole line at @text is a mapping, blanks before it, a newline behind it, and nothing in it that thin_dump would not
 * write, then *@m and *@kind (RECORD_SINGLE, RECORD_RANGE) are it. Returns where the next line begins, or NULL. All of *@m
 * but dev_id is filled.
 */
const char *text_xml_scan(const char *text, struct record_mapping *m, enum record_kind *kind);

#endif
