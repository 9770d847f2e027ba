// SPDX-License-Identifier: LGPL-2.1-or-later
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text/chart.h"
#include "unit.h"

static const struct svg_paint paint = { "a", "#000000", "#ffffff" };
static struct text_out out;
static char svg[1 << 16];

static void format(double v, char label[CHART_LABEL_MAX])
{
	snprintf(label, CHART_LABEL_MAX, "%g", v);
}

static void draw(struct chart *c)
{
	int fd = memfd_create("chart", MFD_CLOEXEC);
	ssize_t n;

	c->title = "T";
	c->x.title = c->y.title = "";
	c->x.format = c->y.format = format;
	c->left = c->top = 100;
	c->width = 600;
	c->height = 200;
	c->paper = c->ink = c->faint = c->grid = &paint;
	text_out_init(&out, fd);
	chart_draw(&out, c);
	CU_ASSERT_EQUAL(text_out_flush(&out), 0);
	n = pread(fd, svg, sizeof(svg) - 1, 0);
	CU_ASSERT_TRUE_FATAL(n > 0);
	svg[n] = 0;
	close(fd);
}

/* The labels at the end of a line of text at the left, or below; each with a blank behind it. */
static const char *labels(const char *anchor)
{
	static char all[1024];
	char mark[64];

	snprintf(mark, sizeof(mark), "text-anchor=\"%s\"", anchor);
	all[0] = 0;
	for (char *at = svg; (at = strstr(at, mark)); at++) {
		const char *begin = strchr(at, '>') + 1;

		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%.*s ", (int)strcspn(begin, "<"), begin);
	}
	return all;
}

static void y_labels(bool is_log, double least, double most, const char *expected)
{
	struct chart c = { .y = { .is_log = is_log, .least = least, .most = most }, .x = { .most = 1 } };

	draw(&c);
	CU_ASSERT_STRING_EQUAL(labels("end"), expected);
}

static void linear(void)
{
	y_labels(false, 0, 100, "0 50 100 ");
	y_labels(false, 0, 387, "0 100 200 300 400 ");
	y_labels(false, 0, 0.013, "0 0.005 0.01 0.015 ");
	y_labels(false, 0, 123456, "0 50000 100000 150000 ");
	y_labels(false, 900, 1090, "900 950 1000 1050 1100 ");
	y_labels(false, 0, 0, "0 0.5 1 ");
	y_labels(false, 0, 1e15, "0 5e+14 1e+15 ");
}

static void logarithmic(void)
{
	y_labels(true, 30, 900, "20 50 100 200 500 1000 ");
	y_labels(true, 1, 1e9, "1 10 100 1000 10000 100000 1e+06 1e+07 1e+08 1e+09 ");
	y_labels(true, 40, 5e8, "10 100 1000 10000 100000 1e+06 1e+07 1e+08 1e+09 ");
	y_labels(true, 50, 50, "50 100 200 500 ");
	y_labels(true, 0, 0, "1e-09 2e-09 5e-09 1e-08 ");
}

/* Where each text with this size of letters stands. */
static size_t places(unsigned size, double *y)
{
	char mark[32];
	size_t nr = 0;

	snprintf(mark, sizeof(mark), "font-size=\"%u\"", size);
	for (char *at = svg; (at = strstr(at, mark)); at++) {
		char *begin = at;

		while (strncmp(begin, " y=\"", 4) != 0)
			begin--;
		y[nr++] = strtod(begin + 4, NULL);
	}
	return nr;
}

static void names(void)
{
	static const double x[] = { 0, 1 }, ys[] = { 5, 5 };
	struct chart_line lines[8];
	struct chart c = { .y = { .most = 10 }, .x = { .most = 1 }, .lines = lines, .nr_lines = 8 };
	double y[8];

	for (unsigned i = 0; i < 8; i++)
		lines[i] = (struct chart_line){ .name = "a name", .paint = &paint, .x = x, .y = ys, .nr = 2 };
	draw(&c);
	CU_ASSERT_EQUAL_FATAL(places(12, y), 8);
	for (unsigned i = 1; i < 8; i++)
		CU_ASSERT_TRUE(y[i] - y[i - 1] >= 13.99);
	CU_ASSERT_TRUE(y[0] >= 90 && y[7] <= 320);
	/* All at the bottom: they go up. */
	for (unsigned i = 0; i < 8; i++)
		lines[i].y = x; /* ends at 1 */
	draw(&c);
	CU_ASSERT_EQUAL_FATAL(places(12, y), 8);
	for (unsigned i = 1; i < 8; i++)
		CU_ASSERT_TRUE(y[i] - y[i - 1] >= 13.99);
	CU_ASSERT_TRUE(y[7] <= 302.01); /* the baseline: two pixels below the axis */
}

static void gaps(void)
{
	const double x[] = { 0, 1, 2, 3, 4 }, y[] = { 1, NAN, 2, 3, NAN }, none[] = { NAN, NAN };
	struct chart_line lines[] = {
		{ .name = "a", .paint = &paint, .x = x, .y = y, .nr = 5 },
		{ .name = "b", .paint = &paint, .x = x, .y = none, .nr = 2 },
		{ .name = "c", .paint = &paint },
	};
	struct chart c = { .y = { .most = 4 }, .x = { .most = 4 }, .lines = lines, .nr_lines = 3 };

	draw(&c);
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, "d=\"M100 250M400 200L550 150\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, ">a<"));
	CU_ASSERT_PTR_NULL(strstr(svg, ">b<"));
	CU_ASSERT_PTR_NULL(strstr(svg, "nan"));
}

static void long_names(void)
{
	static const double at[] = { 0, 1 };
	struct chart_line line = { .paint = &paint, .x = at, .y = at, .nr = 2 };
	struct chart c = { .y = { .most = 1 }, .x = { .most = 1 }, .lines = &line, .nr_lines = 1 };

	line.name = "a very long name of a run that has no room";
	draw(&c);
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, ">a very long name of a \xE2\x80\xA6<"));
	line.name = "<&\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4"
		    "\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4"
		    "\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4";
	draw(&c);
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, "\xC3\xA4\xE2\x80\xA6<"));
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, ">&lt;&amp;\xC3\xA4"));
}

static const struct unit_case cases[] = {
	{ "ticks of an axis are 1, 2 or 5 times a power of ten apart, and enclose what is drawn", linear },
	{ "those of logarithms are 1, 2, 5, 10 where there is room, else powers of ten", logarithmic },
	{ "names stand where their lines end, apart from each other and inside of the chart", names },
	{ "a line is interrupted where it has no value, and without any it has no name", gaps },
	{ "long names are cut off between characters, and escaped", long_names },
	{ NULL, NULL },
};

const struct unit_suite chart_suite = { "chart", cases };
