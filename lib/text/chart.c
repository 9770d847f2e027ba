// SPDX-License-Identifier: LGPL-2.1-or-later
#include "text/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TICK_DISTANCE 44.0 /* between round ticks, at least */
#define NAME_HEIGHT 14.0
#define NAME_MAX_CHARACTERS 22
#define MAX_NAMES 32
#define MAX_TICKS 64

/* Where on an axis: 0 to 1. */
struct scale {
	double begin, end; /* their logarithms, if it is one of these */
	bool is_log;
};

static double place(const struct scale *s, double v)
{
	double at = ((s->is_log ? log10(v) : v) - s->begin) / (s->end - s->begin);

	return at < 0 ? 0 : at > 1 ? 1 : at;
}

/* --- ticks --- */

struct ticks {
	double at[MAX_TICKS];
	unsigned nr;
};

/* 1, 2 or 5 times a power of ten, not below @v. */
static double round_up(double v)
{
	double power = pow(10, floor(log10(v)));
	static const double steps[] = { 1, 2, 5 };

	for (unsigned i = 0; i < 3; i++)
		if (v <= steps[i] * power * (1 + 1e-9))
			return steps[i] * power;
	return 10 * power;
}

static void add_tick(struct ticks *t, double v)
{
	if (t->nr < MAX_TICKS)
		t->at[t->nr++] = v;
}

static void linear_ticks(const struct chart_axis *axis, double pixels, struct scale *s, struct ticks *t)
{
	double range = axis->most > axis->least ? axis->most - axis->least : 1;
	double step = round_up(range / fmax(floor(pixels / TICK_DISTANCE), 1));
	double first = floor(axis->least / step + 1e-9), last = ceil(axis->least / step + range / step - 1e-9);

	for (double i = first; i <= last; i++)
		add_tick(t, i * step);
	*s = (struct scale){ first * step, last * step, false };
}

/* 1, 2, 5, 10 ... where there is room for that, else powers of ten. */
static void log_ticks(const struct chart_axis *axis, double pixels, struct scale *s, struct ticks *t)
{
	static const double steps[] = { 1, 2, 5 };
	double least = axis->least > 0 ? axis->least : 1e-9, most = axis->most > least ? axis->most : least * 10;
	double decades = log10(most / least), power = floor(log10(least) + 1e-9);
	bool is_dense = pixels / fmax(decades, 1) >= 3 * TICK_DISTANCE * 0.6;

	for (; t->nr < MAX_TICKS - 3; power++)
		for (unsigned i = 0; i < (is_dense ? 3 : 1); i++) {
			double v = steps[i] * pow(10, power);

			while (t->nr == 1 && v <= least * (1 + 1e-9))
				t->nr = 0; /* the last one that is not above the least is the first */
			add_tick(t, v);
			if (v >= most * (1 - 1e-9))
				goto out;
		}
out:
	*s = (struct scale){ log10(t->at[0]), log10(t->at[t->nr - 1]), true };
}

static void find_ticks(const struct chart_axis *axis, double pixels, struct scale *s, struct ticks *t)
{
	t->nr = 0;
	if (axis->ticks)
		*s = (struct scale){ axis->least, axis->most, false };
	else if (axis->is_log)
		log_ticks(axis, pixels, s, t);
	else
		linear_ticks(axis, pixels, s, t);
	for (unsigned i = 0; i < axis->nr_ticks && axis->ticks; i++)
		if (axis->ticks[i].at <= axis->most + 1e-9)
			add_tick(t, axis->ticks[i].at);
}

static const char *tick_label(const struct chart_axis *axis, double v, unsigned i, char label[CHART_LABEL_MAX])
{
	if (axis->ticks)
		return axis->ticks[i].label;
	axis->format(v, label);
	return label;
}

/* --- drawing --- */

struct view {
	struct text_out *out;
	const struct chart *chart;
	struct scale x, y;
	struct ticks x_ticks, y_ticks;
};

static double x_of(const struct view *v, double value)
{
	return v->chart->left + v->chart->width * place(&v->x, value);
}

static double y_of(const struct view *v, double value)
{
	return v->chart->top + v->chart->height * (1 - place(&v->y, value));
}

static void draw_grid(const struct view *v)
{
	const struct chart *c = v->chart;

	svg_stroke_open(v->out, c->grid, 1);
	for (unsigned i = 0; i < v->y_ticks.nr; i++) {
		svg_path_move(v->out, c->left, y_of(v, v->y_ticks.at[i]));
		svg_path_line(v->out, c->left + c->width, y_of(v, v->y_ticks.at[i]));
	}
	for (unsigned i = 0; i < v->x_ticks.nr; i++) {
		svg_path_move(v->out, x_of(v, v->x_ticks.at[i]), c->top);
		svg_path_line(v->out, x_of(v, v->x_ticks.at[i]), c->top + c->height);
	}
	svg_path_close(v->out);
}

static void draw_axes(const struct view *v)
{
	const struct chart *c = v->chart;
	const struct svg_font bold = { c->ink, SVG_START, 14, 1 }, title = { c->faint, SVG_START, 11, 0 };
	const struct svg_font left = { c->faint, SVG_END, 11, 0 }, below = { c->faint, SVG_MIDDLE, 11, 0 };
	char label[CHART_LABEL_MAX];

	svg_text(v->out, &bold, c->left - CHART_BEFORE + 8, c->top - 32, c->title);
	svg_text(v->out, &title, c->left - CHART_BEFORE + 8, c->top - 15, c->y.title);
	svg_text(v->out, &below, c->left + c->width / 2, c->top + c->height + 34, c->x.title);
	for (unsigned i = 0; i < v->y_ticks.nr; i++)
		svg_text(v->out, &left, c->left - 8, y_of(v, v->y_ticks.at[i]) + 4,
			 tick_label(&c->y, v->y_ticks.at[i], i, label));
	for (unsigned i = 0; i < v->x_ticks.nr; i++)
		svg_text(v->out, &below, x_of(v, v->x_ticks.at[i]), c->top + c->height + 16,
			 tick_label(&c->x, v->x_ticks.at[i], i, label));
}

static void draw_line(const struct view *v, const struct chart_line *line)
{
	bool is_drawn = false;

	svg_stroke_open(v->out, line->paint, line->is_thin ? 1.25 : 2);
	for (size_t i = 0; i < line->nr; i++) {
		if (isnan(line->y[i])) {
			is_drawn = false;
			continue;
		}
		(is_drawn ? svg_path_line : svg_path_move)(v->out, x_of(v, line->x[i]), y_of(v, line->y[i]));
		is_drawn = true;
	}
	svg_path_close(v->out);
}

/* --- names: beside the ends of their lines, and apart from each other --- */

struct name {
	const struct chart_line *line;
	double x, end, y; /* where the line ends; where the name stands */
};

static size_t collect_names(const struct view *v, struct name *names)
{
	size_t nr = 0;

	for (size_t i = 0; i < v->chart->nr_lines && nr < MAX_NAMES; i++) {
		const struct chart_line *line = &v->chart->lines[i];
		size_t last = line->nr;

		while (last && isnan(line->y[last - 1]))
			last--;
		if (!last)
			continue;
		names[nr] = (struct name){ line, x_of(v, line->x[last - 1]), y_of(v, line->y[last - 1]), 0 };
		names[nr].y = names[nr].end;
		nr++;
	}
	return nr;
}

/* A few, so the simple way: from the top down, and back up where they would leave the chart. */
static void spread_names(const struct chart *c, struct name *names, size_t nr)
{
	double bottom = c->top + c->height - 2; /* clear of the last label of the x axis */

	for (size_t i = 1; i < nr; i++)
		for (size_t j = i; j && names[j].end < names[j - 1].end; j--) {
			struct name swap = names[j];

			names[j] = names[j - 1];
			names[j - 1] = swap;
		}
	for (size_t i = 1; i < nr; i++)
		names[i].y = fmax(names[i].y, names[i - 1].y + NAME_HEIGHT);
	for (size_t i = nr; i--;)
		names[i].y = fmin(names[i].y, i + 1 < nr ? names[i + 1].y - NAME_HEIGHT : bottom);
}

/* Whole characters: bytes that go on begin with the bits 10. */
static const char *shorten(const char *name, char label[CHART_LABEL_MAX])
{
	size_t len = 0, nr = 0;

	for (; name[len] && nr < NAME_MAX_CHARACTERS && len + 8 < CHART_LABEL_MAX; nr++)
		for (len++; ((unsigned char)name[len] & 0xC0) == 0x80; len++)
			;
	if (len + 8 >= CHART_LABEL_MAX)
		return "?";
	snprintf(label, CHART_LABEL_MAX, "%.*s%s", (int)len, name, name[len] ? "\xE2\x80\xA6" : "");
	return label;
}

static void draw_names(const struct view *v)
{
	const struct chart *c = v->chart;
	double edge = c->left + c->width, at = edge + 14;
	struct name names[MAX_NAMES];
	size_t nr = collect_names(v, names);
	char label[CHART_LABEL_MAX];

	spread_names(c, names, nr);
	for (size_t i = 0; i < nr; i++) {
		const struct svg_font font = { names[i].line->paint, SVG_START, 12, 0 };

		svg_stroke_open(v->out, names[i].line->paint, 0.75);
		svg_path_move(v->out, names[i].x, names[i].end);
		svg_path_line(v->out, edge, names[i].end); /* along the grid, so that it is not taken for a line */
		svg_path_line(v->out, at - 3, names[i].y);
		svg_path_close(v->out);
		svg_text(v->out, &font, at, names[i].y + 4, shorten(names[i].line->name, label));
	}
}

void chart_draw(struct text_out *o, const struct chart *c)
{
	struct view v = { .out = o, .chart = c };

	find_ticks(&c->x, c->width, &v.x, &v.x_ticks);
	find_ticks(&c->y, c->height, &v.y, &v.y_ticks);
	draw_grid(&v);
	draw_axes(&v);
	for (size_t i = 0; i < c->nr_lines; i++)
		draw_line(&v, &c->lines[i]);
	draw_names(&v);
}
