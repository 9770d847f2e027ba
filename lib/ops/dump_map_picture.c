// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The map as a picture: the metadata in reading order, a cell for each power of two of blocks. How far a cell is filled
 * says how much of it is used, the colour what most of that is. A bad block is seen however large the pool is: its cell
 * is marked, and its row at the margin.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "ops/dump_map_int.h"
#include "text/emit.h"
#include "text/svg.h"

#define MIN_COLUMNS 16
#define MAX_COLUMNS 128
#define MAX_ROWS 96
#define LEVELS 6 /* that a cell can be filled to; every size of a cell is a multiple */

#define GRID_WIDTH 768
#define MARGIN 84 /* left and right, for the axes */
#define PICTURE_WIDTH (GRID_WIDTH + 2 * MARGIN)
#define GRID_TOP 104
#define LABEL_HEIGHT 18 /* of what is written at the axes and in the legend */
#define NAME_MAX_BYTES 60

/* Told apart with any kind of colour blindness (Okabe and Ito), on white and on black. */
static const struct svg_paint paints[NR_MAP_COLOURS] = {
	[MAP_PAPER] = { "paper", "#ffffff", "#16181c" },
	[MAP_INK] = { "ink", "#1f2328", "#e6e8eb" },
	[MAP_FAINT] = { "faint", "#59636e", "#9aa4af" },
	[MAP_FREE] = { "free", "#e9ecef", "#2b3036" },
	[MAP_ORPHAN] = { "orphan", "#b9c0c8", "#566069" },
	[MAP_UNREACHED] = { "unreached", "#e8b500", "#e8b500" },
	[MAP_MAPPINGS] = { "mappings", "#0072b2", "#2f8fd0" },
	[MAP_DATA_SM] = { "data-sm", "#009e73", "#19b389" },
	[MAP_META_SM] = { "meta-sm", "#56b4e9", "#8fd0f5" },
	[MAP_DEVICES] = { "devices", "#cc79a7", "#dd92bb" },
	[MAP_SUPERBLOCK] = { "superblock", "#1f2328", "#ffffff" },
	[MAP_BAD] = { "bad", "#d55e00", "#ff7a1a" },
};

struct cell {
	uint8_t colour;
	uint8_t used, orphan; /* levels, from the bottom up */
	uint8_t is_bad;
};

struct picture {
	struct text_out out;
	const struct thin_survey *s;
	const struct record_map *m;
	uint64_t per_cell;
	unsigned nr, columns, rows, side; /* cells; pixels of one */
	struct cell cells[MAX_COLUMNS * MAX_ROWS];
};

/* --- cells --- */

/* Something is never shown as nothing. */
static uint8_t level(uint64_t part, uint64_t whole)
{
	return (uint8_t)((part * LEVELS + whole - 1) / whole);
}

/* The role that most blocks have, of those that are in use or should be. */
static const struct map_look *most_used(const struct map_tally *t, uint64_t *nr_used)
{
	const struct map_look *most = NULL;

	*nr_used = 0;
	for (unsigned i = 0; i < NR_THIN_ROLES; i++) {
		const struct map_look *look = &map_looks[i];

		if (!thin_role_is_live(look->role) && look->role != ROLE_UNREACHED)
			continue;
		*nr_used += t->count[look->role];
		if (!most || t->count[look->role] > t->count[most->role])
			most = look;
	}
	return most;
}

static void fill_cell(struct picture *p, unsigned i)
{
	uint64_t begin = i * p->per_cell, end = begin + p->per_cell, nr_used;
	const struct map_look *most;
	struct cell *cell = &p->cells[i];
	struct map_tally t;

	if (end > p->s->nr)
		end = p->s->nr;
	map_tally(p->s, begin, end, &t);
	most = most_used(&t, &nr_used);
	*cell = (struct cell){
		.colour = most->colour,
		.used = level(nr_used, end - begin),
		.orphan = level(t.count[ROLE_ORPHAN], end - begin),
		.is_bad = t.bad > 0,
	};
	if (cell->used + cell->orphan > LEVELS)
		cell->orphan = (uint8_t)(LEVELS - cell->used);
}

static void lay_out(struct picture *p)
{
	p->per_cell = map_blocks_per_cell(p->s->nr, MAX_COLUMNS * MAX_ROWS);
	p->nr = (unsigned)((p->s->nr + p->per_cell - 1) / p->per_cell);
	p->columns = MIN_COLUMNS;
	while (p->columns < MAX_COLUMNS && p->columns * p->columns < 2 * p->nr)
		p->columns *= 2;
	p->rows = (p->nr + p->columns - 1) / p->columns;
	p->side = GRID_WIDTH / p->columns;
	for (unsigned i = 0; i < p->nr; i++)
		fill_cell(p, i);
}

static double x_of(const struct picture *p, unsigned i)
{
	return MARGIN + (double)(i % p->columns) * p->side;
}

static double y_of(const struct picture *p, unsigned i)
{
	return GRID_TOP + (double)(i / p->columns) * p->side;
}

/* How many cells from @i on, in the same row, are drawn as one. */
static unsigned run_length(const struct picture *p, unsigned i)
{
	unsigned row_end = (i / p->columns + 1) * p->columns, end = i + 1;

	while (end < row_end && end < p->nr && !memcmp(&p->cells[end], &p->cells[i], sizeof(*p->cells)))
		end++;
	return end - i;
}

/* --- the grid --- */

/* Boxes from level @from on, @levels high; what of a cell has a colour is one of its two. */
static void put_levels(struct picture *p, unsigned i, unsigned nr, unsigned from, unsigned levels)
{
	double unit = (double)p->side / LEVELS;

	if (levels)
		svg_path_box(&p->out, x_of(p, i), y_of(p, i) + unit * (LEVELS - from - levels), nr * (double)p->side,
			     unit * levels);
}

static void draw_colour(struct picture *p, enum map_colour colour)
{
	unsigned nr;

	svg_fill_open(&p->out, &paints[colour]);
	for (unsigned i = 0; i < p->nr; i += nr) {
		const struct cell *cell = &p->cells[i];

		nr = run_length(p, i);
		if (colour == MAP_FREE)
			put_levels(p, i, nr, cell->used + cell->orphan, LEVELS - cell->used - cell->orphan);
		else if (colour == MAP_ORPHAN)
			put_levels(p, i, nr, cell->used, cell->orphan);
		else if (colour == cell->colour)
			put_levels(p, i, nr, 0, cell->used);
	}
	svg_path_close(&p->out);
}

/* Lines of the ground's colour, as neighbours were drawn as one. Between small cells they would be all one sees. */
static void draw_lines(struct picture *p)
{
	double bottom = GRID_TOP + (double)p->rows * p->side;

	if (p->columns == MAX_COLUMNS)
		return;
	svg_stroke_open(&p->out, &paints[MAP_PAPER], 1);
	for (unsigned c = 1; c < p->columns; c++) {
		svg_path_move(&p->out, MARGIN + (double)c * p->side, GRID_TOP);
		svg_path_line(&p->out, MARGIN + (double)c * p->side, bottom);
	}
	for (unsigned r = 1; r < p->rows; r++) {
		svg_path_move(&p->out, MARGIN, GRID_TOP + (double)r * p->side);
		svg_path_line(&p->out, MARGIN + GRID_WIDTH, GRID_TOP + (double)r * p->side);
	}
	svg_path_close(&p->out);
}

/* --- bad cells --- */

static uint64_t first_bad(const struct thin_survey *s, uint64_t block)
{
	while (!(s->blocks[block] & SURVEY_BAD))
		block++;
	return block;
}

static void describe_bad(const struct picture *p, unsigned i, unsigned nr, char *text, size_t size)
{
	uint64_t begin = i * p->per_cell, end = begin + nr * p->per_cell, first = first_bad(p->s, begin);
	const char *of = thin_role_text(p->s->blocks[first] & SURVEY_ROLE);
	struct map_tally t;

	if (end > p->s->nr)
		end = p->s->nr;
	map_tally(p->s, begin, end, &t);
	if (end - begin == 1)
		snprintf(text, size, "block %" PRIu64 " is bad: %s", first, of);
	else
		snprintf(text, size, "blocks %" PRIu64 "..%" PRIu64 ": %" PRIu32 " bad, the first is %" PRIu64 ": %s",
			 begin, end - 1, t.bad, first, of);
}

/* A box that is larger by @more on every side. */
static void put_frame(struct picture *p, enum map_colour colour, unsigned i, unsigned nr, unsigned more,
		      const char *title)
{
	svg_rect(&p->out, &paints[colour], x_of(p, i) - more, y_of(p, i) - more, nr * (double)p->side + 2 * more,
		 p->side + 2 * (double)more, title);
}

static void draw_bad(struct picture *p)
{
	char text[160];
	unsigned nr;

	for (unsigned i = 0; i < p->nr; i += nr) {
		nr = run_length(p, i);
		if (!p->cells[i].is_bad)
			continue;
		describe_bad(p, i, nr, text, sizeof(text));
		put_frame(p, MAP_INK, i, nr, 2, NULL);
		put_frame(p, MAP_BAD, i, nr, 1, text);
	}
}

static bool is_bad_row(const struct picture *p, unsigned row)
{
	for (unsigned i = row * p->columns; i < (row + 1) * p->columns && i < p->nr; i++)
		if (p->cells[i].is_bad)
			return true;
	return false;
}

static void draw_bad_rows(struct picture *p)
{
	svg_fill_open(&p->out, &paints[MAP_BAD]);
	for (unsigned row = 0; row < p->rows; row++) {
		double y = y_of(p, row * p->columns) + p->side / 2.0;

		if (!is_bad_row(p, row))
			continue;
		svg_path_move(&p->out, MARGIN - 12, y - 4);
		svg_path_line(&p->out, MARGIN - 4, y);
		svg_path_line(&p->out, MARGIN - 12, y + 4);
		text_put(&p->out, "z", 1);
	}
	svg_path_close(&p->out);
}

/* --- what is written --- */

/* In the largest unit that it is a whole number of: rows are at the same distance everywhere. */
static const char *whole_size(uint64_t bytes, char text[UNITS_SIZE_MAX])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB" };
	unsigned u = 0;

	for (; u < 3 && bytes && bytes % 1024 == 0; u++)
		bytes /= 1024;
	snprintf(text, UNITS_SIZE_MAX, "%" PRIu64 " %s", bytes, units[u]);
	return text;
}

static void draw_axes(struct picture *p)
{
	static const struct svg_font left = { &paints[MAP_FAINT], SVG_END, 11, 0 };
	static const struct svg_font right = { &paints[MAP_FAINT], SVG_START, 11, 0 };
	char text[UNITS_SIZE_MAX];
	unsigned step = 1;

	while (step * p->side < LABEL_HEIGHT)
		step *= 2;
	svg_text(&p->out, &left, MARGIN - 16, GRID_TOP - 12, "block");
	svg_text(&p->out, &right, MARGIN + GRID_WIDTH + 8, GRID_TOP - 12, "offset");
	for (unsigned row = 0; row < p->rows; row += step) {
		uint64_t block = row * p->columns * p->per_cell;
		double y = y_of(p, row * p->columns) + (p->side < LABEL_HEIGHT ? p->side : p->side / 2.0 + 4);

		snprintf(text, sizeof(text), "%" PRIu64, block);
		svg_text(&p->out, &left, MARGIN - 16, y, text);
		svg_text(&p->out, &right, MARGIN + GRID_WIDTH + 8, y, whole_size(block * PD_BLOCK_SIZE, text));
	}
}

/* The end of a long name says more than its beginning. */
static const char *short_name(const char *image, char *name, size_t size)
{
	const char *slash = strrchr(image, '/'), *tail = slash && slash[1] ? slash + 1 : image;
	size_t len = strlen(tail);

	if (len <= NAME_MAX_BYTES)
		return tail;
	tail += len - NAME_MAX_BYTES;
	while (*tail && !text_utf8_length((const unsigned char *)tail))
		tail++;
	snprintf(name, size, "\xE2\x80\xA6%s", tail);
	return name;
}

static void draw_headline(struct picture *p)
{
	static const struct svg_font title = { &paints[MAP_INK], SVG_START, 18, 1 };
	static const struct svg_font plain = { &paints[MAP_INK], SVG_START, 13, 0 };
	char name[NAME_MAX_BYTES + 8], text[256], size[UNITS_SIZE_MAX];
	const struct record_map *m = p->m;

	svg_text(&p->out, &title, MARGIN, 32, short_name(m->image, name, sizeof(name)));
	snprintf(text, sizeof(text),
		 "%s of metadata, %" PRIu64 " blocks: %" PRIu64 " used (%" PRIu64 " %%), %" PRIu64 " orphan, %" PRIu64
		 " free, %" PRIu64 " unreached, %" PRIu64 " bad",
		 units_format_size(m->bytes, size), m->blocks, m->used, m->used_percent, m->orphan, m->free,
		 m->unreached, m->bad);
	svg_text(&p->out, &plain, MARGIN, 54, text);
}

static void draw_scale(struct picture *p)
{
	static const struct svg_font faint = { &paints[MAP_FAINT], SVG_START, 12, 0 };
	char text[256], size[UNITS_SIZE_MAX], row[UNITS_SIZE_MAX];

	units_format_size(p->per_cell * PD_BLOCK_SIZE, size);
	units_format_size(p->columns * p->per_cell * PD_BLOCK_SIZE, row);
	if (p->per_cell == 1)
		snprintf(text, sizeof(text), "A cell is a block of %s, a row %u of them (%s).", size, p->columns, row);
	else
		snprintf(text, sizeof(text),
			 "A cell is %" PRIu64 " blocks (%s), a row %" PRIu64 " (%s). "
			 "A cell is filled as far as it is used.", p->per_cell, size, p->columns * p->per_cell, row);
	svg_text(&p->out, &faint, MARGIN, 74, text);
}

/* --- the legend: two columns below the grid --- */

static double legend_top(const struct picture *p)
{
	return GRID_TOP + (double)p->rows * p->side + 24;
}

static void draw_legend(struct picture *p, const struct map_legend *legend)
{
	static const struct svg_font text = { &paints[MAP_INK], SVG_START, 12, 0 };
	static const struct svg_font number = { &paints[MAP_INK], SVG_END, 12, 0 };
	char buf[UNITS_SIZE_MAX];
	unsigned height = (legend->nr + 1) / 2;

	for (unsigned i = 0; i < legend->nr; i++) {
		const struct map_legend_row *row = &legend->rows[i];
		double x = MARGIN + (double)(i / height) * (GRID_WIDTH / 2.0 + 12);
		double y = legend_top(p) + (double)(i % height) * LABEL_HEIGHT;

		svg_rect(&p->out, &paints[row->colour], x, y, 12, 12, NULL);
		svg_text(&p->out, &text, x + 20, y + 10, row->text);
		snprintf(buf, sizeof(buf), "%" PRIu64, row->blocks);
		svg_text(&p->out, &number, x + 300, y + 10, buf);
		svg_text(&p->out, &number, x + 372, y + 10, units_format_size(row->blocks * PD_BLOCK_SIZE, buf));
	}
}

static void draw_all(struct picture *p)
{
	struct map_legend legend;
	unsigned height;

	map_fill_legend(p->s, &legend);
	height = (unsigned)legend_top(p) + (legend.nr + 1) / 2 * LABEL_HEIGHT + 16;
	svg_open(&p->out, PICTURE_WIDTH, height, paints, NR_MAP_COLOURS, p->m->image);
	draw_headline(p);
	draw_scale(p);
	draw_axes(p);
	for (unsigned colour = MAP_FREE; colour < MAP_BAD; colour++)
		draw_colour(p, colour);
	draw_lines(p);
	draw_bad(p);
	draw_bad_rows(p);
	draw_legend(p, &legend);
	svg_close(&p->out);
}

int map_draw_picture(struct dump *d, const struct thin_survey *s, const struct record_map *m)
{
	struct picture *p = malloc(sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->s = s;
	p->m = m;
	text_out_init(&p->out, d->args->svg_fd);
	lay_out(p);
	draw_all(p);
	r = text_out_flush(&p->out);
	if (r)
		op_fail(d->result, OP_OUTPUT, r, "%s: %s", d->args->svg, strerror(-r));
	free(p);
	return 0;
}
