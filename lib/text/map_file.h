/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Map files of ddrescue: what became of each byte of a source. Lines of position, size and status in order and without
 * gaps, behind a line that says what was being done; comments begin with #.
 */
#ifndef TEXT_MAP_FILE_H
#define TEXT_MAP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "text/lines.h"
#include "text/out.h"

/* The statuses. A piece may have any other while it is in memory, and is written as one of these. */
#define TEXT_MAP_UNTRIED '?'
#define TEXT_MAP_FAILED '*'    /* in a large piece: parts may be good ("non-trimmed") */
#define TEXT_MAP_UNSCRAPED '/' /* ddrescue's own; as above for us */
#define TEXT_MAP_BAD '-'
#define TEXT_MAP_GOOD '+'

struct text_map_piece {
	uint64_t begin, end; /* bytes */
	char status;
};

/* More pieces than this are -E2BIG; they take 24 MiB. */
#define TEXT_MAP_MAX (1u << 20)

/* In order, without gaps; neighbours of one status are one piece. All zero: empty. */
struct text_map {
	struct text_map_piece *pieces;
	size_t nr, room;
};

/* What stands in comments of ours, "# bufio-copy: ..."; and what there is to say about a file that cannot be read. */
#define TEXT_MAP_NOTES 3
struct text_map_info {
	char notes[TEXT_MAP_NOTES][TEXT_LINE_MAX + 1]; /* the first of them; empty: there are no more */
	uint64_t line;        /* that was read last */
	const char *expected; /* instead of what is in it: set with -EINVAL */
};

/* --- lines, also for text/range_list.c --- */

extern const char text_map_expected[]; /* what text_map_parse_piece() had expected */

/* Whether the words are those of the line before the pieces. */
bool text_map_is_status_line(const struct text_lines *l);

/* The words as a piece. -EINVAL they are not. */
int text_map_parse_piece(const struct text_lines *l, struct text_map_piece *piece);

/* --- maps --- */

/* Adds a piece behind the last. Nothing is done for an empty one. -ENOMEM, -E2BIG. */
int text_map_append(struct text_map *map, uint64_t begin, uint64_t end, char status);

/*
 * Bytes @begin to @end - 1 get @status where theirs is one of @over, or everywhere if that is NULL. What is not in the map
 * stays out of it. -ENOMEM, -E2BIG: then only a first part may have been done.
 */
int text_map_set(struct text_map *map, uint64_t begin, uint64_t end, char status, const char *over);

/* All of status @from become @to. */
void text_map_replace(struct text_map *map, char from, char to);

/* The first piece that ends behind @at and has one of @statuses; NULL: there is none. */
const struct text_map_piece *text_map_find(const struct text_map *map, uint64_t at, const char *statuses);

/* How many bytes have one of @statuses. */
uint64_t text_map_count(const struct text_map *map, const char *statuses);

void text_map_destroy(struct text_map *map);

/*
 * Reads a file into @map, which is empty. -EINVAL, -ENOMEM, -E2BIG, or how reading failed. *@info is filled in any case;
 * the map is the caller's to destroy.
 */
int text_map_read(FILE *file, struct text_map *map, struct text_map_info *info);

/* Writes it. @at is where work goes on, @doing what it is: '?' copying, '*' trimming, '-' retrying, '+' finished. */
void text_map_write(struct text_out *o, const struct text_map *map, const struct text_map_info *info, uint64_t at,
		    char doing);

#endif
