/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of short lines with a few words each, whose comments begin with #: lists of ranges, ddrescue's maps. */
#ifndef TEXT_LINES_H
#define TEXT_LINES_H

#include <stdint.h>
#include <stdio.h>

#define TEXT_LINE_MAX 255
#define TEXT_LINE_WORDS 4

extern const char text_lines_expected[]; /* what -EINVAL of text_lines_next() had expected */

/* All zero but for the file. */
struct text_lines {
	FILE *file;
	uint64_t number; /* of the line, from 1 on */
	char line[TEXT_LINE_MAX + 1];
	char *words[TEXT_LINE_WORDS]; /* into the line; those that are too many are not kept, but counted */
	unsigned nr_words;
};

/* 1: the next line is in line[], without its newline; 0: the end. -EINVAL too long, or binary; or how reading failed. */
int text_lines_next(struct text_lines *l);

/* Cuts line[] into words, without what is a comment. */
void text_lines_split(struct text_lines *l);

#endif
