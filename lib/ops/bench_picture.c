// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The picture of a bench. Latency is drawn by the number of nines of its percentile, as that is where runs differ; no
 * further than there are operations for. Throughput is in bytes, so that runs of different blocks have a common scale.
 */
#include "ops/bench_picture.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "ops/bench_curve.h"
#include "text/chart.h"
#include "text/emit.h"

#define PICTURE_WIDTH 936
#define PLOT_WIDTH (PICTURE_WIDTH - CHART_BEFORE - CHART_BEHIND)
#define PLOT_HEIGHT 220.0
#define HEADLINE_HEIGHT 76.0
#define MIB 1048576.0
#define NS_PER_S 1e9
#define NAME_MAX_BYTES 64

#define NINES 5           /* at most: 99.999 % */
#define STEPS_A_NINE 20
#define MAX_POINTS (NINES * STEPS_A_NINE + 2)

enum paint { PAPER, INK, FAINT, GRID, FIRST_LINE, NR_PAINTS = FIRST_LINE + 7 };

/* Lines can be told apart with any kind of colour blindness (Okabe and Ito), on white and on black. */
static const struct svg_paint paints[NR_PAINTS] = {
	[PAPER] = { "paper", "#ffffff", "#16181c" },
	[INK] = { "ink", "#1f2328", "#e6e8eb" },
	[FAINT] = { "faint", "#59636e", "#9aa4af" },
	[GRID] = { "grid", "#e3e6ea", "#2b3036" },
	[FIRST_LINE] = { "blue", "#0072b2", "#4ba3dd" },
	{ "vermilion", "#d55e00", "#ff7a1a" },
	{ "green", "#008a65", "#19b389" },
	{ "purple", "#b0528a", "#dd92bb" },
	{ "ochre", "#a07800", "#e8b500" },
	{ "sky", "#2f8fc0", "#8fd0f5" },
	{ "grey", "#59636e", "#b9c0c8" },
};

struct picture {
	struct text_out out;
	const struct op_bench_result *bench;
	struct chart_line *lines; /* one or two for each run that has something in it */
	char (*names)[NAME_MAX_BYTES]; /* of those that are not called as their runs */
	size_t nr;
};

static const struct svg_paint *paint_of(size_t line)
{
	return &paints[FIRST_LINE + line % (NR_PAINTS - FIRST_LINE)];
}

/* --- latency --- */

/* All repeats together. NULL: no memory. */
static struct histogram *service_of(const struct bench_run *run)
{
	struct histogram *h = calloc(1, sizeof(*h));

	for (unsigned i = 0; i < run->nr_repeats && h; i++)
		histogram_add(h, &run->repeats[i].measures[BENCH_SERVICE]);
	return h;
}

/* From the least to the last percentile that some operation is beyond. */
static size_t fill_latency(const struct histogram *h, double *x, double *y)
{
	size_t nr = 0;

	for (; nr <= NINES * STEPS_A_NINE; nr++) {
		double nines = (double)nr / STEPS_A_NINE, beyond = pow(10, -nines);

		if (nr && beyond * (double)h->total < 1)
			break;
		x[nr] = nines;
		y[nr] = fmax((double)(nr ? histogram_percentile(h, 100 * (1 - beyond)) : h->min), 1);
	}
	return nr;
}

/* Round numbers only: 1, 2 or 5 of a power of ten. */
static void format_time(double ns, char label[CHART_LABEL_MAX])
{
	static const char *const units[] = { "ns", "\xC2\xB5s", "ms", "s" };
	unsigned u = 0;

	for (; ns >= 999.5 && u < 3; u++)
		ns /= 1000;
	snprintf(label, CHART_LABEL_MAX, "%g %s", ns, units[u]);
}

static void format_plain(double v, char label[CHART_LABEL_MAX])
{
	snprintf(label, CHART_LABEL_MAX, "%g", v);
}

/* @x and @y become the range of what is drawn. */
static void find_range(const struct picture *p, struct chart_axis *x, struct chart_axis *y)
{
	y->least = x->least = INFINITY;
	y->most = x->most = 0;
	for (size_t i = 0; i < p->nr; i++)
		for (size_t j = 0; j < p->lines[i].nr; j++) {
			double at = p->lines[i].x[j], v = p->lines[i].y[j];

			x->least = fmin(x->least, at);
			x->most = fmax(x->most, at);
			y->least = fmin(y->least, v); /* a NaN is not taken */
			y->most = fmax(y->most, v);
		}
}

/* Room for one more line of @max points. */
static double *add_line(struct picture *p, const struct bench_run *run, size_t max)
{
	double *values = calloc(2 * max, sizeof(*values));

	if (values)
		p->lines[p->nr] = (struct chart_line){
			.name = run->args.name, .paint = paint_of(p->nr), .x = values, .y = values + max,
		};
	return values;
}

static void free_lines(struct picture *p)
{
	while (p->nr)
		free((double *)p->lines[--p->nr].x);
}

static int add_latency(struct picture *p, const struct bench_run *run)
{
	struct histogram *h = service_of(run);
	double *values = h ? add_line(p, run, MAX_POINTS) : NULL;

	if (values)
		p->lines[p->nr++].nr = fill_latency(h, values, values + MAX_POINTS);
	free(h);
	return values ? 0 : -ENOMEM;
}

static void draw(struct picture *p, struct chart *c, double top)
{
	c->lines = p->lines;
	c->nr_lines = p->nr;
	c->left = CHART_BEFORE;
	c->top = top + CHART_ABOVE;
	c->width = PLOT_WIDTH;
	c->height = PLOT_HEIGHT;
	c->paper = &paints[PAPER];
	c->ink = &paints[INK];
	c->faint = &paints[FAINT];
	c->grid = &paints[GRID];
	chart_draw(&p->out, c);
}

static void draw_latency(struct picture *p, double top)
{
	static const struct chart_tick ticks[] = {
		{ 0, "least" }, { 0.30103, "50 %" }, { 1, "90 %" }, { 2, "99 %" }, { 3, "99.9 %" }, { 4, "99.99 %" },
		{ 5, "99.999 %" },
	};
	struct chart c = {
		.title = "Latency",
		.x = { .title = "so many of all operations took no longer", .ticks = ticks, .nr_ticks = 7 },
		.y = { .title = "time of an operation", .is_log = true, .format = format_time },
	};

	find_range(p, &c.x, &c.y);
	c.x.least = 0;
	c.x.most = fmax(ceil(c.x.most), 1);
	draw(p, &c, top);
}

/* --- throughput --- */

static size_t count_points(const struct bench_run *run)
{
	size_t nr = 0;

	for (unsigned i = 0; i < run->nr_repeats; i++)
		nr += 2 * run->repeats[i].nr_samples + 1;
	return nr;
}

/* A step for each second; repeats one behind the other, with a gap. */
static size_t fill_throughput(const struct bench_run *run, double *x, double *y)
{
	double start = 0;
	size_t nr = 0;

	for (unsigned i = 0; i < run->nr_repeats; i++) {
		const struct bench_repeat *r = &run->repeats[i];
		uint64_t before = 0;

		for (size_t j = 0; j < r->nr_samples; j++) {
			const struct bench_sample *s = &r->samples[j];
			double rate = (double)s->bytes / MIB / ((double)(s->ns > before ? s->ns - before : 1) / NS_PER_S);

			x[nr] = start + (double)before / NS_PER_S;
			y[nr++] = rate;
			x[nr] = start + (double)s->ns / NS_PER_S;
			y[nr++] = rate;
			before = s->ns;
		}
		start += (double)before / NS_PER_S;
		x[nr] = start;
		y[nr++] = NAN;
	}
	return nr;
}

static int add_throughput(struct picture *p, const struct bench_run *run)
{
	size_t max = count_points(run);
	double *values = add_line(p, run, max);

	if (!values)
		return -ENOMEM;
	p->lines[p->nr++].nr = fill_throughput(run, values, values + max);
	return 0;
}

static void draw_throughput(struct picture *p, double top)
{
	struct chart c = {
		.title = "Throughput",
		.x = { .title = "seconds", .format = format_plain },
		.y = { .title = "MiB/s", .format = format_plain },
	};

	find_range(p, &c.x, &c.y);
	c.x.least = c.y.least = 0;
	draw(p, &c, top);
}

/* --- misses by memory limit --- */

#define MAX_LIMIT_TICKS 16

static const struct bench_curve *curve_of(const struct bench_run *run)
{
	return run->curve && run->curve->nr_points ? run->curve : NULL;
}

static double as_misses(double hits)
{
	return isnan(hits) ? NAN : 100 * (1 - hits);
}

static int add_curve_line(struct picture *p, const struct bench_run *run, bool is_lru)
{
	const struct bench_curve *curve = run->curve;
	double *values = add_line(p, run, curve->nr_points);
	struct chart_line *line = &p->lines[p->nr];

	if (!values)
		return -ENOMEM;
	for (size_t i = 0; i < curve->nr_points; i++) {
		const struct bench_curve_point *point = &curve->points[i];

		values[i] = log2((double)point->limit);
		values[curve->nr_points + i] = as_misses(is_lru ? point->lru_hits : point->policy_hits);
	}
	line->nr = curve->nr_points;
	line->is_thin = is_lru;
	line->paint = paint_of(p->nr / 2); /* a pair has one colour */
	snprintf(p->names[p->nr], NAME_MAX_BYTES, is_lru ? "%.40s, LRU" : "%.40s", run->args.name);
	line->name = p->names[p->nr];
	p->nr++;
	return 0;
}

static int add_curve(struct picture *p, const struct bench_run *run)
{
	int r = curve_of(run) ? add_curve_line(p, run, false) : 0;

	return r || !curve_of(run) ? r : add_curve_line(p, run, true);
}

/* Powers of two: of all of them, or of every other. */
static unsigned limit_ticks(const struct chart_axis *x, struct chart_tick *ticks, char labels[][UNITS_SIZE_MAX])
{
	unsigned first = (unsigned)x->least, last = (unsigned)x->most, nr = 0;
	unsigned step = (last - first) / (MAX_LIMIT_TICKS / 2) + 1;

	for (unsigned i = first; i <= last && nr < MAX_LIMIT_TICKS; i += step, nr++)
		ticks[nr] = (struct chart_tick){ i, units_format_size(UINT64_C(1) << i, labels[nr]) };
	return nr;
}

static void draw_curve(struct picture *p, double top)
{
	char labels[MAX_LIMIT_TICKS][UNITS_SIZE_MAX];
	struct chart_tick ticks[MAX_LIMIT_TICKS];
	struct chart c = {
		.title = "Misses",
		.x = { .title = "memory limit of the cache", .ticks = ticks },
		.y = { .title = "% of all accesses", .format = format_plain },
	};

	find_range(p, &c.x, &c.y);
	c.x.least = floor(c.x.least);
	c.x.most = fmax(ceil(c.x.most), c.x.least + 1);
	c.x.nr_ticks = limit_ticks(&c.x, ticks, labels);
	c.y.least = 0;
	draw(p, &c, top);
}

/* --- all --- */

static const struct panel {
	int (*add)(struct picture *p, const struct bench_run *run);
	void (*draw)(struct picture *p, double top);
} panels[] = {
	{ add_latency, draw_latency },
	{ add_throughput, draw_throughput },
	{ add_curve, draw_curve },
};

#define NR_PANELS (sizeof(panels) / sizeof(*panels))
#define PANEL_HEIGHT (CHART_ABOVE + PLOT_HEIGHT + CHART_BELOW)

static int draw_panel(struct picture *p, const struct panel *panel, double top)
{
	int r = 0;

	for (size_t i = 0; i < p->bench->nr_runs && !r; i++)
		if (p->bench->runs[i].nr_repeats)
			r = panel->add(p, &p->bench->runs[i]);
	if (!r && p->nr)
		panel->draw(p, top);
	free_lines(p);
	return r;
}

/* The end of a long name says more than its beginning. */
static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static void draw_headline(struct picture *p)
{
	static const struct svg_font title = { &paints[INK], SVG_START, 18, 1 }, plain = { &paints[INK], SVG_START, 13, 0 };
	const struct bench_device *d = &p->bench->device;
	char text[512], size[UNITS_SIZE_MAX], limit[UNITS_SIZE_MAX];
	size_t n;

	snprintf(text, sizeof(text), "%.70s", last_part(p->bench->image));
	svg_text(&p->out, &title, 8, 28, text);
	n = (size_t)snprintf(text, sizeof(text), "%s%s%.60s, %s, engine %s", units_format_size(d->info.size, size),
			     d->model[0] ? ", " : "", d->model, d->info.direct ? "direct" : "through the page cache",
			     d->info.engine);
	if (p->bench->memory_limit)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "; cache of %s",
				      units_format_size(p->bench->memory_limit, limit));
	if (p->bench->is_partial)
		snprintf(text + n, sizeof(text) - n, "; PARTIAL: stopped by a signal");
	svg_text(&p->out, &plain, 8, 50, text);
}

/* The last one only if there is something in it. */
static size_t count_panels(const struct op_bench_result *bench)
{
	for (size_t i = 0; i < bench->nr_runs; i++)
		if (bench->runs[i].nr_repeats && curve_of(&bench->runs[i]))
			return NR_PANELS;
	return NR_PANELS - 1;
}

static int draw_all(struct picture *p)
{
	size_t nr_panels = count_panels(p->bench);
	int r = 0;

	svg_open(&p->out, PICTURE_WIDTH, (unsigned)(HEADLINE_HEIGHT + (double)nr_panels * PANEL_HEIGHT), paints, NR_PAINTS,
		 p->bench->image);
	draw_headline(p);
	for (size_t i = 0; i < nr_panels && !r; i++)
		r = draw_panel(p, &panels[i], HEADLINE_HEIGHT + (double)i * PANEL_HEIGHT);
	svg_close(&p->out);
	return r ? r : text_out_flush(&p->out);
}

int op_bench_draw(const struct op_bench_result *bench, int fd)
{
	struct picture *p = calloc(1, sizeof(*p));
	int r = -ENOMEM;

	if (!p)
		return r;
	p->bench = bench;
	p->lines = calloc(2 * bench->nr_runs + 1, sizeof(*p->lines));
	p->names = calloc(2 * bench->nr_runs + 1, sizeof(*p->names));
	text_out_init(&p->out, fd);
	if (p->lines && p->names)
		r = draw_all(p);
	free(p->lines);
	free(p->names);
	free(p);
	return r;
}

/* --- small bars --- */

struct bars {
	uint64_t ops[BENCH_SPARKLINE_MAX], ns[BENCH_SPARKLINE_MAX];
	size_t nr;
};

static void fill_bars(const struct bench_run *run, size_t width, struct bars *bars)
{
	size_t nr = 0, at = 0;

	for (unsigned i = 0; i < run->nr_repeats; i++)
		nr += run->repeats[i].nr_samples;
	bars->nr = nr < width ? nr : width;
	for (unsigned i = 0; i < run->nr_repeats; i++) {
		uint64_t before = 0;

		for (size_t j = 0; j < run->repeats[i].nr_samples; j++, at++) {
			const struct bench_sample *s = &run->repeats[i].samples[j];
			size_t bar = at * bars->nr / nr;

			bars->ops[bar] += s->ops;
			bars->ns[bar] += s->ns - before;
			before = s->ns;
		}
	}
}

char *bench_sparkline(const struct bench_run *run, unsigned width, char text[BENCH_SPARKLINE_BYTES])
{
	struct bars bars = { .nr = 0 };
	double most = 0, rates[BENCH_SPARKLINE_MAX];
	char *at = text;

	fill_bars(run, width < BENCH_SPARKLINE_MAX ? width : BENCH_SPARKLINE_MAX - 1, &bars);
	for (size_t i = 0; i < bars.nr; i++) {
		rates[i] = bars.ns[i] ? (double)bars.ops[i] / (double)bars.ns[i] : 0;
		most = fmax(most, rates[i]);
	}
	*at = 0;
	for (size_t i = 0; i < bars.nr; i++) {
		unsigned eighths = most > 0 ? (unsigned)ceil(rates[i] / most * 8) : 0;

		/* U+2581 is an eighth, U+2588 all. */
		at += sprintf(at, "\xE2\x96%c", 0x80 + (eighths ? (int)eighths : 1));
	}
	return text;
}
