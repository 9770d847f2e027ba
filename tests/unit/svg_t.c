// SPDX-License-Identifier: LGPL-2.1-or-later
#include <string.h>

#include "text/svg.h"
#include "unit.h"

static const struct svg_paint paints[] = { { "paper", "#fff", "#000" }, { "ink", "#111", "#eee" } };
static struct text_out out;

/* Nothing here is as long as the buffer. */
static const char *written(void)
{
	out.buffer[out.len] = '\0';
	out.len = 0;
	return out.buffer;
}

static void has(const char *piece)
{
	CU_ASSERT_PTR_NOT_NULL(strstr(out.buffer, piece));
}

static void number_is(double v, const char *expected)
{
	svg_put_number(&out, v);
	CU_ASSERT_STRING_EQUAL(written(), expected);
}

static void numbers(void)
{
	text_out_init(&out, -1);
	number_is(0, "0");
	number_is(7, "7");
	number_is(-7, "-7");
	number_is(1.5, "1.5");
	number_is(0.25, "0.25");
	number_is(0.05, "0.05");
	number_is(-0.5, "-0.5");
	number_is(1.999, "2");
	number_is(-0.001, "0");
	number_is(1234567, "1234567");
}

static void frame(void)
{
	text_out_init(&out, -1);
	svg_open(&out, 20, 10, paints, 2, "a & b");
	svg_close(&out);
	written();
	CU_ASSERT_EQUAL(strncmp(out.buffer, "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 40), 0);
	has(" width=\"20\" height=\"10\" viewBox=\"0 0 20 10\" ");
	has("<title>a &amp; b</title>");
	CU_ASSERT_STRING_EQUAL(out.buffer + strlen(out.buffer) - 7, "</svg>\n");
}

static void colours(void)
{
	text_out_init(&out, -1);
	svg_open(&out, 20, 10, paints, 2, "");
	written();
	has("@media(prefers-color-scheme:dark){.f-paper{fill:#000}.s-paper{stroke:#000}");
	has("<rect class=\"f-paper\" fill=\"#fff\" x=\"0\" y=\"0\" width=\"20\" height=\"10\"/>");
	svg_stroke_open(&out, &paints[1], 0.5);
	CU_ASSERT_STRING_EQUAL(written(),
			       "<path fill=\"none\" class=\"s-ink\" stroke=\"#111\" stroke-width=\"0.5\" d=\"");
}

static void texts(void)
{
	static const struct svg_font font = { &paints[1], SVG_END, 12, 1 };

	text_out_init(&out, -1);
	svg_text(&out, &font, 1, 2.5, "<b>\x1B[1m\xFF");
	CU_ASSERT_STRING_EQUAL(written(),
			       "<text class=\"f-ink\" fill=\"#111\" x=\"1\" y=\"2.5\" font-size=\"12\" "
			       "text-anchor=\"end\" font-weight=\"bold\">"
			       "&lt;b&gt;\xEF\xBF\xBD[1m\xEF\xBF\xBD</text>\n");
}

static void titles(void)
{
	text_out_init(&out, -1);
	svg_rect(&out, &paints[1], 1, 2, 3, 4, "1 < 2");
	CU_ASSERT_STRING_EQUAL(written(),
			       "<rect class=\"f-ink\" fill=\"#111\" x=\"1\" y=\"2\" width=\"3\" height=\"4\">"
			       "<title>1 &lt; 2</title></rect>\n");
}

static void paths(void)
{
	text_out_init(&out, -1);
	svg_fill_open(&out, &paints[1]);
	svg_path_box(&out, 1, 2, 3, 4);
	svg_path_move(&out, 0, 1);
	svg_path_line(&out, 1, 0.5);
	svg_path_close(&out);
	CU_ASSERT_STRING_EQUAL(written(), "<path class=\"f-ink\" fill=\"#111\" d=\"M1 2h3v4h-3zM0 1L1 0.5\"/>\n");
}

static const struct unit_case cases[] = {
	{ "a number has a point, and two digits behind it at most", numbers },
	{ "a picture is a document of its own, and says what it shows", frame },
	{ "a colour is written light, with a dark one for those who ask", colours },
	{ "text has no markup of its own, and nothing that XML cannot have", texts },
	{ "a box can say what it is", titles },
	{ "boxes and lines are one path", paths },
	{ NULL, NULL },
};

const struct unit_suite svg_suite = { "svg", cases };
