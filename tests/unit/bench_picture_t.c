// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ops/bench_curve.h"
#include "ops/bench_picture.h"
#include "unit.h"

static struct histogram measures[NR_BENCH_MEASURES];
static struct bench_sample samples[100];
static char svg[1 << 16];

static struct bench_repeat repeat_of(size_t nr_samples)
{
	memset(measures, 0, sizeof(measures));
	for (unsigned i = 0; i < 1000; i++)
		histogram_record(&measures[BENCH_SERVICE], 1000 + i * i);
	for (size_t i = 0; i < nr_samples; i++)
		samples[i] = (struct bench_sample){
			.ns = (i + 1) * 1000000000, .ops = 10 * (i + 1), .bytes = 40960 * (i + 1),
		};
	return (struct bench_repeat){ .ns = nr_samples * 1000000000, .ops = 1000, .measures = measures, .samples = samples,
				      .nr_samples = nr_samples };
}

static void draw(const struct op_bench_result *bench)
{
	int fd = memfd_create("picture", MFD_CLOEXEC);
	ssize_t n;

	CU_ASSERT_EQUAL(op_bench_draw(bench, fd), 0);
	n = pread(fd, svg, sizeof(svg) - 1, 0);
	CU_ASSERT_TRUE_FATAL(n > 0);
	svg[n] = 0;
	close(fd);
	CU_ASSERT_EQUAL(strncmp(svg, "<svg ", 5), 0);
	CU_ASSERT_STRING_EQUAL(svg + n - 7, "</svg>\n");
	CU_ASSERT_PTR_NULL(strstr(svg, "nan"));
	CU_ASSERT_PTR_NULL(strstr(svg, "inf"));
}

static void both_charts(void)
{
	struct bench_repeat repeat = repeat_of(5);
	struct bench_run run = { .args = { .name = "a<b" }, .repeats = &repeat, .nr_repeats = 1 };
	struct op_bench_result bench = { .image = "dir/disk", .device = { .info = { .size = 4096, .engine = "uring" } },
					 .runs = &run, .nr_runs = 1, .is_partial = true };

	draw(&bench);
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, ">disk<"));
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, "PARTIAL"));
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, ">Latency<"));
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, ">Throughput<"));
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, ">a&lt;b<"));
	CU_ASSERT_PTR_NOT_NULL(strstr(svg, ">99.9 %<"));
	CU_ASSERT_PTR_NULL(strstr(svg, ">99.99 %<")); /* of 1000 operations none is beyond that */
}

static void curves(void)
{
	struct bench_curve_point points[] = {
		{ .limit = 1 << 20, .lru_hits = 0.5, .policy_hits = 0.6 },
		{ .limit = 4 << 20, .lru_hits = 0.7, .policy_hits = 0.75 },
		{ .limit = 48 << 20, .lru_hits = 0.9, .policy_hits = NAN },
	};
	struct bench_curve curve = { .points = points, .nr_points = 3 };
	struct bench_repeat repeat = repeat_of(5);
	struct bench_run run = { .args = { .name = "zipf" }, .repeats = &repeat, .nr_repeats = 1, .curve = &curve };
	struct op_bench_result bench = {
		.image = "disk", .device = { .info = { .engine = "uring" } }, .runs = &run, .nr_runs = 1,
	};
	static const char *const texts[] = {
		">Misses<", ">zipf<", ">zipf, LRU<", ">1 MiB<", ">4 MiB<", ">64 MiB<", ">50<", ">0<",
	};

	draw(&bench);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		CU_ASSERT_PTR_NOT_NULL(strstr(svg, texts[i]));
	curve.nr_points = 0;
	draw(&bench);
	CU_ASSERT_PTR_NULL(strstr(svg, ">Misses<"));
}

/* Nothing, or no more than one operation. */
static void little(void)
{
	struct bench_repeat repeat = repeat_of(0);
	struct bench_run runs[] = {
		{ .args = { .name = "none" } },
		{ .args = { .name = "one" }, .repeats = &repeat, .nr_repeats = 1 },
	};
	struct op_bench_result bench = { .image = "disk", .device = { .info = { .engine = "uring" } } };

	draw(&bench);
	bench.runs = runs;
	bench.nr_runs = 1;
	draw(&bench);
	bench.nr_runs = 2;
	memset(measures, 0, sizeof(measures));
	histogram_record(&measures[BENCH_SERVICE], 0);
	draw(&bench);
}

static void not_written(void)
{
	struct op_bench_result bench = { .image = "disk", .device = { .info = { .engine = "uring" } } };
	int ends[2];

	CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
	CU_ASSERT_EQUAL(op_bench_draw(&bench, ends[0]), -EBADF);
	close(ends[0]);
	close(ends[1]);
}

static void bars(void)
{
	struct bench_repeat repeat = repeat_of(8);
	struct bench_run run = { .repeats = &repeat, .nr_repeats = 1 };
	char text[BENCH_SPARKLINE_BYTES];

	CU_ASSERT_STRING_EQUAL(bench_sparkline(&run, 60, text),
			       "\xE2\x96\x81\xE2\x96\x82\xE2\x96\x83\xE2\x96\x84\xE2\x96\x85"
								"\xE2\x96\x86\xE2\x96\x87\xE2\x96\x88");
	CU_ASSERT_STRING_EQUAL(bench_sparkline(&run, 2, text), "\xE2\x96\x84\xE2\x96\x88"); /* 25 and 65 a second */
	CU_ASSERT_STRING_EQUAL(bench_sparkline(&run, 0, text), "");
	repeat = repeat_of(100);
	CU_ASSERT_EQUAL(strlen(bench_sparkline(&run, 1000, text)), 180);
	run.nr_repeats = 0;
	CU_ASSERT_STRING_EQUAL(bench_sparkline(&run, 60, text),
			       "");
}

static const struct unit_case cases[] = {
	{ "latency and throughput are drawn, no further than there are operations for", both_charts },
	{ "misses by memory limit are drawn where they are known, beside those of LRU", curves },
	{ "nothing, and a single operation, can be drawn", little },
	{ "what cannot be written is an error", not_written },
	{ "there is a bar for each second, or for several", bars },
	{ NULL, NULL },
};

const struct unit_suite bench_picture_suite = { "bench_picture", cases };
