// SPDX-License-Identifier: LGPL-2.1-or-later
/* The map: every block at a glance. As characters, or as JSON; the picture is in dump_map_picture.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/units.h"
#include "ops/dump_map_int.h"

#define LINE_CELLS 64
#define MAX_LINES 32

#define BAD_SYMBOL 'X'

/* Of the roles in a cell the first one here is shown: what there is least of comes first, or it would never be seen. */
const struct map_look map_looks[NR_THIN_ROLES] = {
	{ ROLE_SUPERBLOCK, MAP_SUPERBLOCK, 'S' },
	{ ROLE_HELD, MAP_SUPERBLOCK, 'H' },
	{ ROLE_TOP, MAP_DEVICES, 'T' },
	{ ROLE_DETAILS, MAP_DEVICES, 'D' },
	{ ROLE_META_INDEX, MAP_META_SM, 'I' },
	{ ROLE_META_BITMAP, MAP_META_SM, 'B' },
	{ ROLE_META_COUNTS, MAP_META_SM, 'C' },
	{ ROLE_DATA_INDEX, MAP_DATA_SM, 'i' },
	{ ROLE_DATA_BITMAP, MAP_DATA_SM, 'b' },
	{ ROLE_DATA_COUNTS, MAP_DATA_SM, 'c' },
	{ ROLE_UNREACHED, MAP_UNREACHED, '?' },
	{ ROLE_MAPPINGS, MAP_MAPPINGS, 'm' },
	{ ROLE_ORPHAN, MAP_ORPHAN, 'o' },
	{ ROLE_FREE, MAP_FREE, '.' },
	{ ROLE_BEYOND, MAP_PAPER, ' ' },
};

void map_tally(const struct thin_survey *s, uint64_t begin, uint64_t end, struct map_tally *t)
{
	*t = (struct map_tally){ 0 };
	for (uint64_t i = begin; i < end; i++) {
		t->count[s->blocks[i] & SURVEY_ROLE]++;
		t->bad += !!(s->blocks[i] & SURVEY_BAD);
	}
}

static void add_to_legend(struct map_legend *l, enum map_colour colour, char symbol, const char *text, uint64_t blocks)
{
	if (blocks)
		l->rows[l->nr++] = (struct map_legend_row){ colour, symbol, text, blocks };
}

void map_fill_legend(const struct thin_survey *s, struct map_legend *legend)
{
	legend->nr = 0;
	add_to_legend(legend, MAP_BAD, BAD_SYMBOL, "bad, whatever else they are", s->bad);
	for (unsigned i = 0; i < NR_THIN_ROLES; i++) {
		const struct map_look *look = &map_looks[i];

		add_to_legend(legend, look->colour, look->symbol, thin_role_text(look->role), s->count[look->role]);
	}
}

uint64_t map_blocks_per_cell(uint64_t nr_blocks, uint64_t max_cells)
{
	uint64_t n = 1;

	while (nr_blocks > n * max_cells)
		n *= 2;
	return n;
}

/* --- characters --- */

struct drawing {
	struct dump *d;
	const struct thin_survey *s;
	bool in_colour;
	const char *ansi; /* the colour that is on */
};

static const char *const ansi[NR_MAP_COLOURS] = {
	[MAP_FREE] = "2", [MAP_ORPHAN] = "2", [MAP_UNREACHED] = "33", [MAP_MAPPINGS] = "34", [MAP_DATA_SM] = "32",
	[MAP_META_SM] = "36", [MAP_DEVICES] = "35", [MAP_SUPERBLOCK] = "1", [MAP_BAD] = "1;37;41",
};

/* On a terminal that has them, for a person who wants them (no-color.org). */
static bool wants_colour(int fd)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	return isatty(fd) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

static void set_colour(struct drawing *w, const char *colour)
{
	if (!w->in_colour || colour == w->ansi)
		return;
	text_printf(&w->d->out, "\033[0%s%sm", colour ? ";" : "", colour ? colour : "");
	w->ansi = colour;
}

static void put_symbol(struct drawing *w, enum map_colour colour, char symbol)
{
	set_colour(w, ansi[colour]);
	text_put(&w->d->out, &symbol, 1);
}

static void put_cell(struct drawing *w, uint64_t begin, uint64_t end)
{
	const struct map_look *look = map_looks;
	struct map_tally t;

	map_tally(w->s, begin, end, &t);
	while (!t.count[look->role])
		look++;
	if (t.bad)
		put_symbol(w, MAP_BAD, BAD_SYMBOL);
	else
		put_symbol(w, look->colour, look->symbol);
}

static void put_lines(struct drawing *w, uint64_t per_cell)
{
	for (uint64_t i = 0; i < w->s->nr; i += per_cell) {
		if (i % (per_cell * LINE_CELLS) == 0)
			text_printf(&w->d->out, "%s%9" PRIu64 "  ", i ? "\n" : "", i);
		put_cell(w, i, i + per_cell < w->s->nr ? i + per_cell : w->s->nr);
		if ((i / per_cell + 1) % LINE_CELLS == 0)
			set_colour(w, NULL);
	}
	set_colour(w, NULL);
	text_puts(&w->d->out, "\n\n");
}

static int put_legend(struct drawing *w)
{
	struct meta_visitor *v = &w->d->emitter->visitor;
	struct map_legend legend;
	int r = 0;

	map_fill_legend(w->s, &legend);
	for (unsigned i = 0; i < legend.nr && !r; i++) {
		const struct map_legend_row *row = &legend.rows[i];

		text_puts(&w->d->out, "  ");
		put_symbol(w, row->colour, row->symbol);
		set_colour(w, NULL);
		r = v->record(v, RECORD_MAP_ROLE, &(struct record_map_role){
			.text = row->text, .blocks = row->blocks, .bytes = row->blocks * PD_BLOCK_SIZE,
		});
	}
	return r;
}

static int draw(struct dump *d, const struct thin_survey *s, struct record_map *m)
{
	struct drawing w = { .d = d, .s = s, .in_colour = wants_colour(d->args->out_fd) };
	uint64_t per_cell = map_blocks_per_cell(s->nr, LINE_CELLS * MAX_LINES);
	struct meta_visitor *v = &d->emitter->visitor;
	char size[UNITS_SIZE_MAX], legend[160];
	int r;

	units_format_size(per_cell * PD_BLOCK_SIZE, size);
	snprintf(legend, sizeof(legend),
		 "A character is %" PRIu64 " block%s, %s; where they differ, the first one of the list.\n", per_cell,
		 per_cell > 1 ? "s" : "", size);
	m->legend = legend;
	r = v->begin(v, RECORD_MAP, m);
	if (r)
		return r;
	put_lines(&w, per_cell);
	r = put_legend(&w);
	return r ? r : v->end(v, RECORD_MAP, m);
}

/* --- JSON --- */

static int emit_roles(struct dump *d, const struct thin_survey *s)
{
	struct meta_visitor *v = &d->emitter->visitor;
	int r = 0;

	for (unsigned role = 0; role < NR_THIN_ROLES && !r; role++) {
		struct record_map_role row = {
			.role = thin_role_name(role),
			.blocks = s->count[role],
			.bytes = s->count[role] * PD_BLOCK_SIZE,
		};

		r = v->record(v, RECORD_MAP_ROLE, &row);
	}
	return r;
}

static bool is_of_tree(enum thin_role role)
{
	return role == ROLE_DETAILS || role == ROLE_TOP || role == ROLE_MAPPINGS || role == ROLE_DATA_INDEX ||
	       role == ROLE_DATA_COUNTS || role == ROLE_META_COUNTS;
}

static const char *level_of(uint8_t block)
{
	if (block & SURVEY_INTERNAL)
		return "internal";
	return is_of_tree(block & SURVEY_ROLE) && !(block & SURVEY_BAD) ? "leaf" : NULL;
}

static int emit_runs(struct dump *d, const struct thin_survey *s)
{
	struct meta_visitor *v = &d->emitter->visitor;
	uint64_t end;
	int r = 0;

	for (uint64_t i = 0; i < s->nr && !r; i = end) {
		uint8_t b = s->blocks[i];

		for (end = i + 1; end < s->nr && s->blocks[end] == b; end++)
			;
		r = v->record(v, RECORD_MAP_RUN, &(struct record_map_run){
			.block = i, .length = end - i, .role = thin_role_name(b & SURVEY_ROLE), .level = level_of(b),
			.shared = !!(b & SURVEY_SHARED), .bad = !!(b & SURVEY_BAD),
		});
	}
	return r;
}

static int emit(struct dump *d, const struct thin_survey *s, const struct record_map *m)
{
	struct meta_visitor *v = &d->emitter->visitor;
	int r = v->begin(v, RECORD_MAP, m);

	if (!r)
		r = dump_emit_kept(d);
	if (!r)
		r = emit_roles(d, s);
	if (!r)
		r = emit_runs(d, s);
	return r ? r : v->end(v, RECORD_MAP, m);
}

/* --- both --- */

static void fill_map(const struct dump *d, const struct thin_survey *s, struct record_map *m)
{
	const uint64_t *problems = d->result->problems;

	*m = (struct record_map){
		.image = d->args->image,
		.image_bytes = bufio_device_describe(bufio_get_device(d->args->client))->size,
		.blocks = s->nr,
		.bytes = s->nr * PD_BLOCK_SIZE,
		.orphan = s->count[ROLE_ORPHAN],
		.free = s->count[ROLE_FREE],
		.unreached = s->count[ROLE_UNREACHED],
		.beyond = s->count[ROLE_BEYOND],
		.bad = s->bad,
		.shared = s->shared,
		.fatal = problems[SEVERITY_FATAL],
		.lossy = problems[SEVERITY_LOSSY],
		.repairable = problems[SEVERITY_REPAIRABLE],
		.cosmetic = problems[SEVERITY_COSMETIC],
	};
	for (unsigned role = 0; role < NR_THIN_ROLES; role++)
		m->used += thin_role_is_live(role) ? s->count[role] : 0;
	m->used_percent = m->used * 100 / m->blocks;
}

int dump_map(struct dump *d)
{
	bool is_json = d->args->format == DUMP_JSON;
	struct thin_survey s = { 0 };
	struct record_map m;
	int r = 0;

	/* A document begins with what is known at the end: its problems wait, and the first ones are shown. */
	d->sink.report = is_json ? dump_report_later : dump_report_now;
	if (dump_open_pool(d) && dump_survey(d, &s, true)) {
		s.count[ROLE_BEYOND] = bufio_get_device_size(d->args->client) - s.nr;
		fill_map(d, &s, &m);
		r = is_json ? emit(d, &s, &m) : draw(d, &s, &m);
		if (!r && d->args->svg)
			r = map_draw_picture(d, &s, &m);
	}
	free(s.blocks);
	return r;
}
