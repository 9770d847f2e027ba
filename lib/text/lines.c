// SPDX-License-Identifier: LGPL-2.1-or-later
#include "text/lines.h"

#include <errno.h>
#include <string.h>

const char text_lines_expected[] = "text in lines of at most 255 characters";

int text_lines_next(struct text_lines *l)
{
	size_t len = 0;
	int c;

	l->number++;
	errno = 0;
	while ((c = getc_unlocked(l->file)) != EOF && c != '\n') {
		if (!c || len == TEXT_LINE_MAX)
			return -EINVAL;
		l->line[len++] = (char)c;
	}
	if (c == EOF && ferror(l->file))
		return errno ? -errno : -EIO;
	l->line[len] = '\0';
	return c != EOF || len;
}

void text_lines_split(struct text_lines *l)
{
	char *rest = NULL, *word;

	l->line[strcspn(l->line, "#")] = '\0';
	l->nr_words = 0;
	for (word = strtok_r(l->line, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest)) {
		if (l->nr_words < TEXT_LINE_WORDS)
			l->words[l->nr_words] = word;
		l->nr_words++;
	}
}
