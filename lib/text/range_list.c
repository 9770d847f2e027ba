// SPDX-License-Identifier: LGPL-2.1-or-later
#include "text/range_list.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/units.h"

#define MAX_LINE 256
#define MAX_WORDS 4

/* What ddrescue writes: what it was doing; of a piece: not tried, not trimmed, not scraped, bad, good. */
#define RUN_STATES "?*/-FG+"
#define PIECE_STATES "?*/-+"

static const char list_line[] = "a block number, N..M or N+COUNT";
static const char sized_line[] = "blocks: their size is not known, so bytes cannot be told to be in one";
static const char map_line[] = "position, size and status of a piece, as ddrescue writes them";
static const char text_line[] = "text in lines of at most 255 characters";

struct reader {
	FILE *file;
	uint64_t block_bytes;
	struct range_set *set;
	struct text_range_list *list;
	bool has_form; /* known to be a map or not */
	char line[MAX_LINE];
	char *words[MAX_WORDS];
	unsigned nr_words;
};

static int refuse(struct reader *r, const char *expected)
{
	r->list->expected = expected;
	return -EINVAL;
}

/* 1: a line; 0: the end. The newline is not kept. */
static int read_line(struct reader *r)
{
	size_t len = 0;
	int c;

	r->list->line++;
	while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
		if (!c || len == MAX_LINE - 1)
			return refuse(r, text_line);
		r->line[len++] = (char)c;
	}
	if (c == EOF && ferror(r->file))
		return errno ? -errno : -EIO;
	r->line[len] = '\0';
	return c != EOF || len;
}

/* A comment goes to the end of its line. Words that are too many are not kept, but counted. */
static void split(struct reader *r)
{
	char *rest = NULL, *word;

	r->line[strcspn(r->line, "#")] = '\0';
	r->nr_words = 0;
	for (word = strtok_r(r->line, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest)) {
		if (r->nr_words < MAX_WORDS)
			r->words[r->nr_words] = word;
		r->nr_words++;
	}
}

static bool is_state(const char *word, const char *states)
{
	return *word && !word[1] && strchr(states, *word);
}

/* Where it was, what it did, and since ddrescue 1.22 the number of the pass. */
static bool is_status_line(const struct reader *r)
{
	uint64_t at;

	return (r->nr_words == 2 || r->nr_words == 3) && is_state(r->words[1], RUN_STATES) &&
	       !units_parse_number(r->words[0], &at);
}

static int add_piece(struct reader *r)
{
	uint64_t begin, size, end;

	if (r->nr_words != 3 || !is_state(r->words[2], PIECE_STATES) || units_parse_number(r->words[0], &begin) ||
	    units_parse_number(r->words[1], &size) || !checked_add(begin, size, &end))
		return refuse(r, map_line);
	if (*r->words[2] == '+')
		return 0;
	if (!r->block_bytes)
		return refuse(r, sized_line);
	if (*r->words[2] == '?')
		r->list->untried_bytes += size;
	return range_set_add_bytes(r->set, begin, end, r->block_bytes);
}

static int add_range(struct reader *r)
{
	uint64_t begin, end;
	bool in_bytes;

	if (r->nr_words != 1 || units_parse_extent(r->words[0], &in_bytes, &begin, &end))
		return refuse(r, list_line);
	if (!in_bytes)
		return range_set_add(r->set, begin, end);
	return r->block_bytes ? range_set_add_bytes(r->set, begin, end, r->block_bytes) : refuse(r, sized_line);
}

static int add_line(struct reader *r)
{
	if (!r->nr_words)
		return 0;
	if (!r->has_form) {
		r->has_form = true;
		r->list->is_map = is_status_line(r);
		if (r->list->is_map)
			return 0;
	}
	return r->list->is_map ? add_piece(r) : add_range(r);
}

int text_range_list_read(FILE *file, uint64_t block_bytes, struct range_set *set, struct text_range_list *list)
{
	struct reader r = { .file = file, .block_bytes = block_bytes, .set = set, .list = list };
	int e;

	*list = (struct text_range_list){ 0 };
	errno = 0;
	while ((e = read_line(&r)) > 0) {
		split(&r);
		e = add_line(&r);
		if (e)
			break;
	}
	return e;
}
