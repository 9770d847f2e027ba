// SPDX-License-Identifier: LGPL-2.1-or-later
#include "text/svg.h"

#include "text/emit.h"

void svg_put_number(struct text_out *o, double v)
{
	uint64_t hundredths = (uint64_t)((v < 0 ? -v : v) * 100 + 0.5);

	if (v < 0 && hundredths)
		text_put(o, "-", 1);
	text_put_dec(o, hundredths / 100);
	if (hundredths % 10)
		text_printf(o, ".%02u", (unsigned)(hundredths % 100));
	else if (hundredths % 100)
		text_printf(o, ".%u", (unsigned)(hundredths % 100 / 10));
}

static void put_attribute(struct text_out *o, const char *name, double v)
{
	text_printf(o, " %s=\"", name);
	svg_put_number(o, v);
	text_put(o, "\"", 1);
}

/* @how is "fill" or "stroke": a paint has a class for each. */
static void put_paint(struct text_out *o, const struct svg_paint *paint, const char *how)
{
	text_printf(o, " class=\"%c-%s\" %s=\"%s\"", *how, paint->name, how, paint->light);
}

static void put_title(struct text_out *o, const char *title)
{
	text_puts(o, "<title>");
	text_put_xml_string(o, title);
	text_puts(o, "</title>");
}

static void put_dark_style(struct text_out *o, const struct svg_paint *paints, unsigned nr_paints)
{
	text_puts(o, "<style>@media(prefers-color-scheme:dark){");
	for (unsigned i = 0; i < nr_paints; i++)
		text_printf(o, ".f-%s{fill:%s}.s-%s{stroke:%s}", paints[i].name, paints[i].dark, paints[i].name,
			    paints[i].dark);
	text_puts(o, "}</style>\n");
}

void svg_open(struct text_out *o, unsigned width, unsigned height, const struct svg_paint *paints, unsigned nr_paints,
	      const char *title)
{
	text_printf(o,
		    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\" "
		    "role=\"img\" font-family=\"system-ui,'Segoe UI','DejaVu Sans',sans-serif\">\n",
		    width, height, width, height);
	put_title(o, title);
	text_put(o, "\n", 1);
	put_dark_style(o, paints, nr_paints);
	svg_rect(o, &paints[0], 0, 0, width, height, NULL);
}

void svg_close(struct text_out *o)
{
	text_puts(o, "</svg>\n");
}

void svg_rect(struct text_out *o, const struct svg_paint *fill, double x, double y, double w, double h,
	      const char *title)
{
	text_puts(o, "<rect");
	put_paint(o, fill, "fill");
	put_attribute(o, "x", x);
	put_attribute(o, "y", y);
	put_attribute(o, "width", w);
	put_attribute(o, "height", h);
	text_puts(o, title ? ">" : "/>\n");
	if (!title)
		return;
	put_title(o, title);
	text_puts(o, "</rect>\n");
}

void svg_text(struct text_out *o, const struct svg_font *font, double x, double y, const char *text)
{
	static const char *const anchors[] = {
		[SVG_START] = "", [SVG_MIDDLE] = " text-anchor=\"middle\"", [SVG_END] = " text-anchor=\"end\"",
	};

	text_puts(o, "<text");
	put_paint(o, font->paint, "fill");
	put_attribute(o, "x", x);
	put_attribute(o, "y", y);
	text_printf(o, " font-size=\"%u\"%s%s>", font->size, anchors[font->anchor],
		    font->is_bold ? " font-weight=\"bold\"" : "");
	text_put_xml_string(o, text);
	text_puts(o, "</text>\n");
}

void svg_fill_open(struct text_out *o, const struct svg_paint *paint)
{
	text_puts(o, "<path");
	put_paint(o, paint, "fill");
	text_puts(o, " d=\"");
}

void svg_stroke_open(struct text_out *o, const struct svg_paint *paint, double width)
{
	text_puts(o, "<path fill=\"none\"");
	put_paint(o, paint, "stroke");
	put_attribute(o, "stroke-width", width);
	text_puts(o, " d=\"");
}

static void put_command(struct text_out *o, char command, double v)
{
	text_put(o, &command, 1);
	svg_put_number(o, v);
}

void svg_path_move(struct text_out *o, double x, double y)
{
	put_command(o, 'M', x);
	put_command(o, ' ', y);
}

void svg_path_line(struct text_out *o, double x, double y)
{
	put_command(o, 'L', x);
	put_command(o, ' ', y);
}

void svg_path_box(struct text_out *o, double x, double y, double w, double h)
{
	svg_path_move(o, x, y);
	put_command(o, 'h', w);
	put_command(o, 'v', h);
	put_command(o, 'h', -w);
	text_put(o, "z", 1);
}

void svg_path_close(struct text_out *o)
{
	text_puts(o, "\"/>\n");
}
