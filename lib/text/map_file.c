// SPDX-License-Identifier: LGPL-2.1-or-later
#include "text/map_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/units.h"

/* What ddrescue writes: what it was doing; of a piece: not tried, not trimmed, not scraped, bad, good. */
#define RUN_STATES "?*/-FG+"
#define PIECE_STATES "?*/-+"

#define NOTE "# bufio-copy: "

const char text_map_expected[] = "position, size and status of a piece, as ddrescue writes them";
static const char status_line[] = "position and status of the run, as ddrescue writes them";
static const char no_gap[] = "the piece behind the one before, as the pieces of a map have no gaps";

/* --- lines --- */

static bool is_state(const char *word, const char *states)
{
	return *word && !word[1] && strchr(states, *word);
}

/* Where it was, what it did, and since ddrescue 1.22 the number of the pass. */
bool text_map_is_status_line(const struct text_lines *l)
{
	uint64_t at;

	return (l->nr_words == 2 || l->nr_words == 3) && is_state(l->words[1], RUN_STATES) &&
	       !units_parse_number(l->words[0], &at);
}

int text_map_parse_piece(const struct text_lines *l, struct text_map_piece *piece)
{
	uint64_t begin, size, end;

	if (l->nr_words != 3 || !is_state(l->words[2], PIECE_STATES) || units_parse_number(l->words[0], &begin) ||
	    units_parse_number(l->words[1], &size) || !checked_add(begin, size, &end))
		return -EINVAL;
	*piece = (struct text_map_piece){ begin, end, *l->words[2] };
	return 0;
}

/* --- maps --- */

/* Room for @nr more. */
static int reserve(struct text_map *map, size_t nr)
{
	size_t room = map->room ? map->room * 2 : 16;
	struct text_map_piece *pieces;

	if (map->nr + nr <= map->room)
		return 0;
	if (map->nr + nr > TEXT_MAP_MAX)
		return -E2BIG;
	pieces = reallocarray(map->pieces, room, sizeof(*pieces));
	if (!pieces)
		return -ENOMEM;
	map->pieces = pieces;
	map->room = room;
	return 0;
}

int text_map_append(struct text_map *map, uint64_t begin, uint64_t end, char status)
{
	struct text_map_piece *last = map->nr ? &map->pieces[map->nr - 1] : NULL;
	int r;

	if (begin == end)
		return 0;
	if (last && last->end == begin && last->status == status) {
		last->end = end;
		return 0;
	}
	r = reserve(map, 1);
	if (!r)
		map->pieces[map->nr++] = (struct text_map_piece){ begin, end, status };
	return r;
}

/* The first piece that ends behind @at; nr if there is none. */
static size_t index_at(const struct text_map *map, uint64_t at)
{
	size_t low = 0, high = map->nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->pieces[middle].end > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Makes two of piece @i, so that one ends at @at. There is room. */
static void split_at(struct text_map *map, size_t i, uint64_t at)
{
	struct text_map_piece *p = &map->pieces[i];

	memmove(p + 1, p, (map->nr - i) * sizeof(*p));
	map->nr++;
	p[0].end = p[1].begin = at;
}

/* One piece of @i and its neighbours, where their statuses are the same; returns the index that it has then. */
static size_t merge_around(struct text_map *map, size_t i)
{
	struct text_map_piece *p = map->pieces;
	size_t first = i, last = i;

	if (first && p[first - 1].status == p[i].status)
		first--;
	if (last + 1 < map->nr && p[last + 1].status == p[i].status)
		last++;
	p[first].end = p[last].end;
	memmove(p + first + 1, p + last + 1, (map->nr - last - 1) * sizeof(*p));
	map->nr -= last - first;
	return first;
}

/* The part of piece @i that is in the range; returns the index of the piece that has it then, or -errno. */
static ssize_t set_piece(struct text_map *map, size_t i, uint64_t begin, uint64_t end, char status)
{
	int r = reserve(map, 2);

	if (r)
		return r;
	if (map->pieces[i].begin < begin)
		split_at(map, i++, begin);
	if (map->pieces[i].end > end)
		split_at(map, i, end);
	map->pieces[i].status = status;
	return (ssize_t)merge_around(map, i);
}

int text_map_set(struct text_map *map, uint64_t begin, uint64_t end, char status, const char *over)
{
	for (size_t i = index_at(map, begin); begin < end && i < map->nr && map->pieces[i].begin < end; i++) {
		const struct text_map_piece *p = &map->pieces[i];
		ssize_t at;

		if (p->status == status || (over && !strchr(over, p->status)))
			continue;
		at = set_piece(map, i, begin, end, status);
		if (at < 0)
			return (int)at;
		i = (size_t)at;
	}
	return 0;
}

void text_map_replace(struct text_map *map, char from, char to)
{
	size_t nr = map->nr;

	map->nr = 0;
	for (size_t i = 0; i < nr; i++) {
		struct text_map_piece p = map->pieces[i];

		text_map_append(map, p.begin, p.end, p.status == from ? to : p.status); /* there is room */
	}
}

const struct text_map_piece *text_map_find(const struct text_map *map, uint64_t at, const char *statuses)
{
	for (size_t i = index_at(map, at); i < map->nr; i++)
		if (strchr(statuses, map->pieces[i].status))
			return &map->pieces[i];
	return NULL;
}

uint64_t text_map_count(const struct text_map *map, const char *statuses)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < map->nr; i++)
		if (strchr(statuses, map->pieces[i].status))
			bytes += map->pieces[i].end - map->pieces[i].begin;
	return bytes;
}

void text_map_destroy(struct text_map *map)
{
	free(map->pieces);
	*map = (struct text_map){ 0 };
}

/* --- files --- */

struct reader {
	struct text_lines lines;
	struct text_map *map;
	struct text_map_info *info;
	unsigned nr_notes;
	bool has_status;
};

static int refuse(struct reader *r, const char *expected)
{
	r->info->expected = expected;
	return -EINVAL;
}

static void take_note(struct reader *r)
{
	const size_t len = sizeof(NOTE) - 1;

	if (!strncmp(r->lines.line, NOTE, len) && r->lines.line[len] && r->nr_notes < TEXT_MAP_NOTES)
		strcpy(r->info->notes[r->nr_notes++], r->lines.line + len);
}

static int add_piece(struct reader *r)
{
	const struct text_map *map = r->map;
	struct text_map_piece piece;

	if (text_map_parse_piece(&r->lines, &piece))
		return refuse(r, text_map_expected);
	if (map->nr && map->pieces[map->nr - 1].end != piece.begin)
		return refuse(r, no_gap);
	return text_map_append(r->map, piece.begin, piece.end, piece.status);
}

static int take_line(struct reader *r)
{
	take_note(r);
	text_lines_split(&r->lines);
	if (!r->lines.nr_words)
		return 0;
	if (r->has_status)
		return add_piece(r);
	r->has_status = true;
	return text_map_is_status_line(&r->lines) ? 0 : refuse(r, status_line);
}

int text_map_read(FILE *file, struct text_map *map, struct text_map_info *info)
{
	struct reader r = { .lines.file = file, .map = map, .info = info };
	int e;

	*info = (struct text_map_info){ 0 };
	while ((e = text_lines_next(&r.lines)) > 0) {
		e = take_line(&r);
		if (e)
			break;
	}
	info->line = r.lines.number;
	if (e == -EINVAL && !info->expected)
		return refuse(&r, text_lines_expected);
	return e || r.has_status ? e : refuse(&r, status_line);
}

static void put_note(struct text_out *o, const char *note)
{
	text_puts(o, NOTE);
	text_puts(o, note);
	text_puts(o, "\n");
}

void text_map_write(struct text_out *o, const struct text_map *map, const struct text_map_info *info, uint64_t at,
		    char doing)
{
	text_puts(o, "# Mapfile, as GNU ddrescue has it\n");
	for (unsigned i = 0; i < TEXT_MAP_NOTES && info->notes[i][0]; i++)
		put_note(o, info->notes[i]);
	text_puts(o, "# current_pos  current_status  current_pass\n");
	text_printf(o, "0x%08" PRIX64 "     %c               1\n#      pos        size  status\n", at, doing);
	for (size_t i = 0; i < map->nr; i++) {
		const struct text_map_piece *p = &map->pieces[i];

		text_printf(o, "0x%08" PRIX64 "  0x%08" PRIX64 "  %c\n", p->begin, p->end - p->begin, p->status);
	}
}
