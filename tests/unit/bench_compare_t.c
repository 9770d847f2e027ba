// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops/bench_compare_int.h"
#include "unit.h"

#define NR_SECONDS 10

static uint64_t random_state;

/* Around 1, within @spread on both sides. */
static double draw(double spread)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return 1 + spread * ((double)(random_state * UINT64_C(2685821657736338717) >> 11) / 0x1p52 - 1);
}

/* --- judging --- */

static const struct bench_limits limits = { 0.1, 10 };
static double room_a[64], room_b[64];

static struct bench_series series(double *room, size_t nr, double level, double spread)
{
	struct bench_series s = { .value = level, .samples = room, .nr = nr };

	for (size_t i = 0; i < nr; i++)
		room[i] = level * draw(spread);
	return s;
}

static struct bench_comparison compare(unsigned metric, const struct bench_limits *limit, struct bench_series a,
				       struct bench_series b)
{
	struct bench_comparison c;

	CU_ASSERT_EQUAL(bench_judge(&bench_metrics[metric], limit, &a, &b, &c), 0);
	return c;
}

static enum bench_verdict judge(unsigned metric, double ratio, double spread, size_t nr)
{
	struct bench_series a = series(room_a, nr, 1000, spread);
	struct bench_comparison c = compare(metric, &limits, a, series(room_b, nr, 1000 * ratio, spread));

	CU_ASSERT_DOUBLE_EQUAL(c.ratio, ratio, 1e-9);
	return c.verdict;
}

static void both_ways(void)
{
	random_state = 1;
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 0.8, 0.05, NR_SECONDS), BENCH_WORSE);
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 1.25, 0.05, NR_SECONDS), BENCH_BETTER);
	CU_ASSERT_EQUAL(judge(METRIC_P50, 1.25, 0.05, NR_SECONDS), BENCH_WORSE);
	CU_ASSERT_EQUAL(judge(METRIC_P50, 0.8, 0.05, NR_SECONDS), BENCH_BETTER);
	CU_ASSERT_EQUAL(judge(METRIC_HITS, 0.8, 0.05, NR_SECONDS), BENCH_WORSE);
	CU_ASSERT_EQUAL(judge(METRIC_CPU, 0.5, 0.05, 4), BENCH_BETTER);
}

/* However sure it is. */
static void within_tolerance(void)
{
	random_state = 2;
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 0.91, 0.001, 64), BENCH_SAME);
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 1.09, 0.001, 64), BENCH_SAME);
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 0.89, 0.001, 64), BENCH_WORSE);
	CU_ASSERT_EQUAL(judge(METRIC_P50, 1.15, 0.001, 64), BENCH_SAME);
	CU_ASSERT_EQUAL(judge(METRIC_P50, 1.2, 0.001, 64), BENCH_WORSE);
	CU_ASSERT_EQUAL(judge(METRIC_P99, 1.3, 0.001, 64), BENCH_SAME);
	CU_ASSERT_EQUAL(judge(METRIC_P99, 1.5, 0.001, 64), BENCH_WORSE);
}

static void too_uneven(void)
{
	struct bench_series a;
	struct bench_comparison c;

	random_state = 3;
	a = series(room_a, NR_SECONDS, 1000, 0.9);
	c = compare(METRIC_OPS, &limits, a, series(room_b, NR_SECONDS, 880, 0.9));
	CU_ASSERT_EQUAL(c.verdict, BENCH_SAME);
	CU_ASSERT_TRUE(c.is_beyond);
	CU_ASSERT_TRUE(c.chance > 0.3);
}

/* One side rises slowly, the other is at one level for seven seconds and at another for three; or the same seconds mixed. */
static enum bench_verdict judge_order(unsigned step)
{
	struct bench_series a = series(room_a, NR_SECONDS, 1000, 0), b = series(room_b, NR_SECONDS, 880, 0);

	for (unsigned i = 0; i < NR_SECONDS; i++) {
		unsigned n = i * step % NR_SECONDS;

		a.samples[i] = 991 + 2 * n;
		b.samples[i] = (n < 7 ? 850 : 950) + n;
	}
	return compare(METRIC_OPS, &limits, a, b).verdict;
}

static void drift(void)
{
	CU_ASSERT_EQUAL(judge_order(1), BENCH_SAME);
	CU_ASSERT_EQUAL(judge_order(3), BENCH_WORSE);
}

static void few(void)
{
	random_state = 5;
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 0.8, 0.02, 3), BENCH_WORSE);
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 0.8, 0.9, 3), BENCH_SAME);
	random_state = 8;
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 0.85, 0.06, 3), BENCH_SAME);
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 0.89, 0, 3), BENCH_WORSE);
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 0.91, 0, 3), BENCH_SAME);
	CU_ASSERT_EQUAL(judge(METRIC_OPS, 0.5, 0, 2), BENCH_SAME);
}

/* 25 to 40 is much, but two ticks of some clocks. */
static enum bench_verdict judge_ticks(unsigned metric, double clock_ns)
{
	struct bench_limits limit = { 0.1, clock_ns };
	struct bench_series a = series(room_a, NR_SECONDS, 25, 0.01);

	return compare(metric, &limit, a, series(room_b, NR_SECONDS, 40, 0.01)).verdict;
}

static void below_the_clock(void)
{
	random_state = 7;
	CU_ASSERT_EQUAL(judge_ticks(METRIC_P50, 30), BENCH_SAME);
	CU_ASSERT_EQUAL(judge_ticks(METRIC_P50, 10), BENCH_WORSE);
	CU_ASSERT_EQUAL(judge_ticks(METRIC_OPS, 30), BENCH_BETTER);
}

static void nothing(void)
{
	struct bench_series none = { 0 }, zero = { .samples = room_a, .nr = 3 };
	struct bench_series one = { .value = 1, .samples = room_b, .nr = 3 };
	struct bench_comparison c;

	for (unsigned i = 0; i < 3; i++) {
		room_a[i] = 0;
		room_b[i] = 1;
	}
	c = compare(METRIC_HITS, &limits, none, one);
	CU_ASSERT_FALSE(c.is_there);
	c = compare(METRIC_HITS, &limits, zero, zero);
	CU_ASSERT_EQUAL(c.ratio, 1);
	CU_ASSERT_EQUAL(c.verdict, BENCH_SAME);
	c = compare(METRIC_HITS, &limits, zero, one);
	CU_ASSERT_EQUAL(c.verdict, BENCH_BETTER);
	c = compare(METRIC_HITS, &limits, one, zero);
	CU_ASSERT_EQUAL(c.verdict, BENCH_WORSE);
}

/* Levels of separate runs within 5 %, seconds within 5 %. */
static void many_pairs(void)
{
	unsigned nr_same = 0, nr_worse = 0;

	random_state = 6;
	for (unsigned i = 0; i < 200; i++) {
		nr_same += judge(METRIC_OPS, draw(0.05), 0.05, NR_SECONDS) == BENCH_SAME;
		nr_worse += judge(METRIC_OPS, 0.8 * draw(0.05), 0.05, NR_SECONDS) == BENCH_WORSE;
	}
	CU_ASSERT_EQUAL(nr_same, 200);
	CU_ASSERT_EQUAL(nr_worse, 200);
}

/* --- files --- */

#define HEAD "{\"schema\":\"bufio.bench/1\",\"image\":\"disk\",\"partial\":false,\"device\":{\"size\":1048576},\"runs\":["
#define RUN "{\"name\":\"random\",\"pattern\":\"random\",\"block_size\":4096,\"repeats\":["
#define SECOND(n) "{\"ns\":" #n "000000000,\"ops\":%u,\"bytes\":4096000,\"p50\":1,\"p99\":2}"
#define REPEAT \
	"{\"ns\":3000000000,\"ops\":%u,\"bytes\":12288000,\"samples\":[" SECOND(1) "," SECOND(2) "," SECOND(3) "]}]}]}\n"

static char names[2][32];

static void put_file(unsigned i, const char *text)
{
	int fd;

	strcpy(names[i], "compareXXXXXX");
	fd = mkstemp(names[i]);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static struct op_result compare_texts(const char *a, const char *b, bool may_differ)
{
	const char *files[] = { names[0], names[1] };
	struct op_bench_compare_args args = { files, 2, 0.1, may_differ, false, -1 };
	struct op_result result;

	put_file(0, a);
	put_file(1, b);
	op_bench_compare(&args, &result);
	unlink(names[0]);
	unlink(names[1]);
	return result;
}

static void text_of_run(char *text, size_t size, const char *head, unsigned ops)
{
	size_t n = (size_t)snprintf(text, size, "%s", head);

	snprintf(text + n, size - n, REPEAT, 3 * ops, ops, ops, ops);
}

static void files(void)
{
	char a[1024], b[1024];
	struct op_result r;

	text_of_run(a, sizeof(a), HEAD RUN, 1000);
	text_of_run(b, sizeof(b), HEAD RUN, 990);
	r = compare_texts(a, b, false);
	CU_ASSERT_EQUAL(r.outcome, OP_DONE);
	CU_ASSERT_FALSE(r.differs);
	text_of_run(b, sizeof(b), HEAD RUN, 800);
	r = compare_texts(a, b, false);
	CU_ASSERT_EQUAL(r.outcome, OP_DONE);
	CU_ASSERT_TRUE(r.differs);
	CU_ASSERT_FALSE(compare_texts(b, a, false).differs);
}

static void not_alike(void)
{
	static const char *const heads[] = {
		HEAD "{\"name\":\"random\",\"pattern\":\"random\",\"block_size\":8192,\"repeats\":[",
		HEAD "{\"name\":\"random\",\"pattern\":\"zipf\",\"block_size\":4096,\"repeats\":[",
		HEAD "{\"name\":\"random\",\"pattern\":\"random\",\"block_size\":4096,\"memory_limit\":1,\"repeats\":[",
		"{\"schema\":\"bufio.bench/1\",\"partial\":true,\"device\":{\"size\":1048576},\"runs\":[" RUN,
		"{\"schema\":\"bufio.bench/1\",\"partial\":false,\"device\":{\"size\":2097152},\"runs\":[" RUN,
	};
	char a[1024], b[1024];
	struct op_result r;

	text_of_run(a, sizeof(a), HEAD RUN, 1000);
	for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
		text_of_run(b, sizeof(b), heads[i], 800);
		r = compare_texts(a, b, false);
		CU_ASSERT_EQUAL(r.outcome, OP_REFUSED);
		CU_ASSERT_PTR_NOT_NULL(strstr(r.reason, "--force-conditions"));
		r = compare_texts(a, b, true);
		CU_ASSERT_EQUAL(r.outcome, OP_DONE);
		CU_ASSERT_TRUE(r.differs);
	}
}

static void no_results(void)
{
	static const char *const texts[] = {
		"", "{", "[]", "null", "{\"schema\":\"bufio.bench/2\"}", "{\"schema\":\"bufio.bench/1\"}",
		"{\"schema\":\"bufio.bench/1\",\"device\":{},\"runs\":7}",
		"{\"schema\":\"bufio.bench/1\",\"device\":{},\"runs\":[7]}",
		"{\"schema\":\"bufio.bench/1\",\"runs\":[]}",
		"{\"schema\":\"bufio.bench/1\",\"device\":{},\"runs\":[{\"name\":\"a\"}]}",
		"{\"schema\":\"bufio.bench/1\",\"schema\":\"bufio.bench/1\",\"device\":{},\"runs\":[]}",
		"{\"schema\":\"bufio.bench/1\",\"device\":{},\"runs\":[]} more",
	};
	struct op_result r;
	char a[1024];

	text_of_run(a, sizeof(a), HEAD RUN, 1000);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		r = compare_texts(a, texts[i], true);
		CU_ASSERT_EQUAL(r.outcome, OP_INPUT);
		CU_ASSERT_PTR_NOT_NULL(strstr(r.reason, names[1]));
	}
}

#define OF_REPEAT(path) ".runs[0].repeats[0]" path

static void wrong_types(void)
{
	static const struct {
		const char *text, *path;
	} rows[] = {
		{ "{\"schema\":\"bufio.bench/1\",\"device\":7,\"runs\":[]}", ".device" },
		{ "{\"schema\":\"bufio.bench/1\",\"device\":{\"direct\":1},\"runs\":[]}", ".device.direct" },
		{ "{\"schema\":\"bufio.bench/1\",\"partial\":0,\"device\":{},\"runs\":[]}", ".partial" },
		{ "{\"schema\":\"bufio.bench/1\",\"device\":{},\"runs\":[{\"name\":\"a\"}]}", ".runs[0].repeats" },
		{ HEAD RUN "]},7]}", ".runs[1]" },
		{ HEAD RUN "{},null]}]}", ".runs[0].repeats[1]" },
		{ HEAD RUN "{\"ops\":\"x\"}]}]}", OF_REPEAT(".ops") },
		{ HEAD RUN "{\"ns\":-1}]}]}", OF_REPEAT(".ns") },
		{ HEAD RUN "{\"ns\":1e300}]}]}", OF_REPEAT(".ns") },
		{ HEAD RUN "{\"hits\":null}]}]}", OF_REPEAT(".hits") },
		{ HEAD RUN "{\"samples\":5}]}]}", OF_REPEAT(".samples") },
		{ HEAD RUN "{\"samples\":[{},[]]}]}]}", OF_REPEAT(".samples[1]") },
		{ HEAD RUN "{\"samples\":[{\"p99\":[]}]}]}]}", OF_REPEAT(".samples[0].p99") },
		{ HEAD RUN "{\"service_ns\":{\"p50\":\"\"}}]}]}", OF_REPEAT(".service_ns.p50") },
	};
	struct op_result r;
	char a[1024], reason[256];

	text_of_run(a, sizeof(a), HEAD RUN, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		r = compare_texts(a, rows[i].text, true);
		CU_ASSERT_EQUAL(r.outcome, OP_INPUT);
		snprintf(reason, sizeof(reason), "%s: %s is not ", names[1], rows[i].path);
		CU_ASSERT_EQUAL(strncmp(r.reason, reason, strlen(reason)), 0);
		CU_ASSERT_EQUAL(compare_texts(rows[i].text, a, true).outcome, OP_INPUT);
	}
}

/* Neither forced nor with itself. */
static void nothing_in_common(void)
{
	static const char *const odd[] = {
		HEAD "]}", HEAD RUN "]}]}", HEAD RUN "{}]}]}", HEAD RUN "{\"ns\":0,\"ops\":1}]}]}",
		HEAD RUN "{\"ns\":1,\"samples\":[{\"ns\":3},{\"ns\":1}]}]}]}",
	};
	struct op_result r;
	char a[1024], b[1024];

	text_of_run(a, sizeof(a), HEAD RUN, 1000);
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		r = compare_texts(a, odd[i], true);
		CU_ASSERT_EQUAL(r.outcome, OP_INPUT);
		CU_ASSERT_PTR_NOT_NULL(strstr(r.reason, "nothing is compared"));
		CU_ASSERT_EQUAL(compare_texts(odd[i], a, true).outcome, OP_INPUT);
		CU_ASSERT_EQUAL(compare_texts(odd[i], odd[i], false).outcome, OP_INPUT);
	}
	text_of_run(b, sizeof(b), HEAD "{\"name\":\"other\",\"repeats\":[", 800);
	CU_ASSERT_EQUAL(compare_texts(a, b, false).outcome, OP_REFUSED);
	CU_ASSERT_EQUAL(compare_texts(a, b, true).outcome, OP_INPUT);
}

static const struct unit_case cases[] = {
	{ "more is better or worse, as the measure has it", both_ways },
	{ "what is within the tolerance is the same, however sure", within_tolerance },
	{ "what may be chance is the same, and is said to be beyond the tolerance", too_uneven },
	{ "seconds that are alike because they are neighbours are worth fewer", drift },
	{ "three seconds must be further from the others than either scatter, and fewer prove nothing", few },
	{ "times are the same if they differ by less than what asking for them costs", below_the_clock },
	{ "what is not there is not compared, and zero is a value", nothing },
	{ "equal runs that drift are the same, and those a fifth slower are worse, in 200 of 200 pairs", many_pairs },
	{ "files are compared, and what is worse is told", files },
	{ "what was not measured alike is refused, unless forced", not_alike },
	{ "what is no result is refused with its name", no_results },
	{ "what has a wrong type is refused, with its place", wrong_types },
	{ "without a run that both have measured there is no verdict, also if forced", nothing_in_common },
	{ NULL, NULL },
};

const struct unit_suite bench_compare_suite = { "bench_compare", cases };
