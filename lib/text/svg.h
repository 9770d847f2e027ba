/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pictures: the few shapes of SVG that maps and charts are made of.
 *
 * A colour is a paint with two values. The light one is written as an attribute, which every viewer knows; the dark one
 * into a style sheet for those that are asked for dark pages. So a picture is a single file without anything around it.
 * Units are pixels, from the top left corner. Text is escaped.
 */
#ifndef TEXT_SVG_H
#define TEXT_SVG_H

#include "text/out.h"

struct svg_paint {
	const char *name; /* letters, digits and "-" */
	const char *light, *dark; /* "#0072b2" */
};

/* Where @x of a text is. */
enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END };

struct svg_font {
	const struct svg_paint *paint;
	enum svg_anchor anchor;
	unsigned size;
	unsigned is_bold;
};

/* On a ground of @paints[0]; @paints are all that are used. @title is what it shows, for those who cannot see. */
void svg_open(struct text_out *o, unsigned width, unsigned height, const struct svg_paint *paints, unsigned nr_paints,
	      const char *title);
void svg_close(struct text_out *o);

/* @title: shown where the pointer rests; NULL: none */
void svg_rect(struct text_out *o, const struct svg_paint *fill, double x, double y, double w, double h,
	      const char *title);
void svg_text(struct text_out *o, const struct svg_font *font, double x, double y, const char *text);

/* Many shapes of one colour as one: boxes, or lines of this width. */
void svg_fill_open(struct text_out *o, const struct svg_paint *paint);
void svg_stroke_open(struct text_out *o, const struct svg_paint *paint, double width);
void svg_path_box(struct text_out *o, double x, double y, double w, double h);
void svg_path_move(struct text_out *o, double x, double y);
void svg_path_line(struct text_out *o, double x, double y);
void svg_path_close(struct text_out *o);

/* At most two digits behind the point, whatever the locale. */
void svg_put_number(struct text_out *o, double v);

#endif
