// SPDX-License-Identifier: LGPL-2.1-or-later
#include "text/range_list.h"

#include <errno.h>

#include "base/units.h"
#include "text/map_file.h"

static const char list_line[] = "a block number, N..M or N+COUNT";
static const char sized_line[] = "blocks: their size is not known, so bytes cannot be told to be in one";

struct reader {
	struct text_lines lines;
	uint64_t block_bytes;
	struct range_set *set;
	struct text_range_list *list;
	bool has_form; /* known to be a map or not */
};

static int refuse(struct reader *r, const char *expected)
{
	r->list->expected = expected;
	return -EINVAL;
}

static int add_piece(struct reader *r)
{
	struct text_map_piece piece;

	if (text_map_parse_piece(&r->lines, &piece))
		return refuse(r, text_map_expected);
	if (piece.status == TEXT_MAP_GOOD)
		return 0;
	if (!r->block_bytes)
		return refuse(r, sized_line);
	if (piece.status == TEXT_MAP_UNTRIED)
		r->list->untried_bytes += piece.end - piece.begin;
	return range_set_add_bytes(r->set, piece.begin, piece.end, r->block_bytes);
}

static int add_range(struct reader *r)
{
	uint64_t begin, end;
	bool in_bytes;

	if (r->lines.nr_words != 1 || units_parse_extent(r->lines.words[0], &in_bytes, &begin, &end))
		return refuse(r, list_line);
	if (!in_bytes)
		return range_set_add(r->set, begin, end);
	return r->block_bytes ? range_set_add_bytes(r->set, begin, end, r->block_bytes) : refuse(r, sized_line);
}

static int add_line(struct reader *r)
{
	if (!r->lines.nr_words)
		return 0;
	if (!r->has_form) {
		r->has_form = true;
		r->list->is_map = text_map_is_status_line(&r->lines);
		if (r->list->is_map)
			return 0;
	}
	return r->list->is_map ? add_piece(r) : add_range(r);
}

int text_range_list_read(FILE *file, uint64_t block_bytes, struct range_set *set, struct text_range_list *list)
{
	struct reader r = { .lines.file = file, .block_bytes = block_bytes, .set = set, .list = list };
	int e;

	*list = (struct text_range_list){ 0 };
	while ((e = text_lines_next(&r.lines)) > 0) {
		text_lines_split(&r.lines);
		e = add_line(&r);
		if (e)
			break;
	}
	list->line = r.lines.number;
	return e == -EINVAL && !list->expected ? refuse(&r, text_lines_expected) : e;
}
