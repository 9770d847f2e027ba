/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Charts: lines over two axes with round ticks, and their names where they end. As SVG, on what svg_open() has begun. */
#ifndef TEXT_CHART_H
#define TEXT_CHART_H

#include <stdbool.h>
#include <stddef.h>

#include "text/svg.h"

#define CHART_LABEL_MAX 64

struct chart_tick {
	double at;
	const char *label;
};

struct chart_axis {
	const char *title; /* with the unit */
	bool is_log;       /* then all values are above 0 */
	double least, most; /* that must be in it; it goes on to the next round value */
	const struct chart_tick *ticks; /* these, and no round ones; NULL: the latter */
	unsigned nr_ticks;
	void (*format)(double value, char label[CHART_LABEL_MAX]); /* of round ticks */
};

struct chart_line {
	const char *name;
	const struct svg_paint *paint;
	const double *x, *y; /* where y is a NaN the line is interrupted */
	size_t nr;
	bool is_thin;
};

struct chart {
	const char *title;
	struct chart_axis x, y;
	const struct chart_line *lines;
	size_t nr_lines;
	/* Pixels; axes and names are around it: as much as follows. */
	double left, top, width, height;
	const struct svg_paint *paper, *ink, *faint, *grid;
};

#define CHART_ABOVE 46.0  /* the title, and that of the y axis */
#define CHART_BELOW 42.0  /* labels and title of the x axis */
#define CHART_BEFORE 76.0
#define CHART_BEHIND 170.0 /* names of lines */

void chart_draw(struct text_out *o, const struct chart *c);

#endif
