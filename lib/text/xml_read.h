/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the XML of a pool: elements become records, and a visitor takes them as they come.
 *
 * expat reads. Most of a large file are mappings, one a line, as thin_dump and bufio-dump write them: a scanner takes these
 * lines past expat, and only where expat would find nothing else in them. What is different by a single byte is expat's.
 */
#ifndef TEXT_XML_READ_H
#define TEXT_XML_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "meta/record.h"

struct text_xml_args {
	int fd;
	uint64_t memory;            /* bytes for the names of defs */
	bool is_lenient;            /* attributes that are not known are passed over */
	bool without_scanner;       /* expat reads all of it: the records are the same */
	_Atomic uint64_t *progress; /* or NULL: goes up by one for each 4096 bytes */
};

#define TEXT_XML_REASON_MAX 256
#define TEXT_XML_ELEMENT_MAX 32

/* Where it went wrong. Lines and columns count from 1, columns in characters; line 0: in no particular place. */
struct text_xml_error {
	uint64_t line, column;
	char element[TEXT_XML_ELEMENT_MAX]; /* or empty */
	char reason[TEXT_XML_REASON_MAX];   /* "ATTRIBUTE: SENTENCE", or what is wrong; empty if the visitor ended it */
};

/*
 * Reads to the end; the end of the superblock is given to the visitor when nothing wrong came behind it. Names of defs become numbers in the order of the defs, from 1. Strings in records are valid during the
 * call only.
 *
 * Returns 0; -EINVAL: no XML, or not of a pool; -E2BIG: names take more than the memory; -errno of read(2); what the visitor
 * returned. *@error is filled unless 0 is returned.
 */
int text_xml_read(const struct text_xml_args *args, struct meta_visitor *v, struct text_xml_error *error);

#endif
