// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"
#include "ops/bench.h"
#include "unit.h"

#define SIZE (1 << 20)
#define OURS "bufio trace 1\nclient 1 block-size 4096 device-size 1048576 offset 0\n"

static struct bufio_device *dev;
static struct op_bench_result bench;
static struct op_result result;

static bool replay(const char *text, struct bench_run_args run)
{
	char name[] = "replayXXXXXX";
	struct op_bench_args args = { .image = "memory", .runs = &run, .nr_runs = 1, .out_fd = -1 };
	int fd = mkstemp(name);
	bool ok;

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE, &dev), 0);
	args.device = dev;
	run.name = run.replay = name;
	run.threads = 1;
	run.repeats = run.repeats ? run.repeats : 1;
	run.end = UINT64_MAX;
	run.depth = run.depth ? run.depth : 1;
	result = (struct op_result){ .outcome = OP_DONE };
	ok = op_bench_measure(&args, &bench, &result);
	unlink(name);
	return ok;
}

static void finish(void)
{
	op_bench_free(&bench);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

static bool is_zero(uint64_t offset, uint64_t bytes)
{
	const unsigned char *p = (unsigned char *)io_mem_data(dev) + offset;

	for (uint64_t i = 0; i < bytes; i++)
		if (p[i])
			return false;
	return true;
}

static const struct bench_run_args reading = { .workload = { .read_percent = 100 }, .is_cached = true };
static const struct bench_run_args writing = { .workload = { .read_percent = 0 }, .is_cached = true };

static void through_a_cache(void)
{
	const struct bench_repeat *r;

	CU_ASSERT_TRUE_FATAL(replay(OURS "1 get 7 1\n2 read 7 1\n"
					 "3 read 7 1\n4 prefetch 20 2\n5 scan 30 4\n6 get 7 1\n", reading));
	CU_ASSERT_EQUAL_FATAL(bench.runs[0].nr_repeats, 1);
	r = &bench.runs[0].repeats[0];
	CU_ASSERT_EQUAL(bench.runs[0].args.block_size, 4096);
	CU_ASSERT_EQUAL(r->ops, 8);
	CU_ASSERT_EQUAL(r->bytes, 8 * 4096);
	CU_ASSERT_EQUAL(r->hits, 3);
	CU_ASSERT_EQUAL(r->misses, 5); /* what was in the traced cache need not be in this one */
	CU_ASSERT_EQUAL(r->writes, 0);
	finish();
}

static void without_writing(void)
{
	CU_ASSERT_TRUE_FATAL(replay(OURS "1 new 7 1\n2 dirty 7 1\n3 move 9 1\n4 flush 0 0\n5 discard 9 1\n", reading));
	CU_ASSERT_EQUAL(bench.runs[0].repeats[0].ops, 2);
	CU_ASSERT_EQUAL(bench.runs[0].repeats[0].writes, 0);
	CU_ASSERT_TRUE(is_zero(0, SIZE));
	CU_ASSERT_STRING_EQUAL(bench.warnings[0].name, "trace-reads");
	finish();
}

static void with_writing(void)
{
	const struct bench_repeat *r;

	CU_ASSERT_TRUE_FATAL(replay("fio version 2 iolog\nf add\nf write 8192 4096\n"
				    "f write 20480 512\nf sync 0 0\nf read 40960 4096\n",
				    writing));
	r = &bench.runs[0].repeats[0];
	CU_ASSERT_EQUAL(r->ops, 3);
	CU_ASSERT_EQUAL(r->writes, 2);
	CU_ASSERT_FALSE(is_zero(8192, 4096));
	CU_ASSERT_FALSE(is_zero(20480, 512));
	CU_ASSERT_TRUE(is_zero(0, 8192) && is_zero(12288, 8192) && is_zero(24576, SIZE - 24576));
	CU_ASSERT_EQUAL(r->measures[BENCH_FLUSH].total, 1);
	finish();
}

static void straight(void)
{
	struct bench_run_args run = { .workload = { .read_percent = 0 }, .depth = 4, .repeats = 2 };
	const struct bench_repeat *r;

	CU_ASSERT_TRUE_FATAL(replay("8,0 0 1 0.000000001 1 Q R 8 + 8 [a]\n8,0 0 2 0.000000002 1 Q W 16 + 24 [a]\n"
				    "8,0 0 3 0.000000003 1 Q R 0 + 2048 [a]\n8,0 0 4 0.000000004 1 Q FWS [a]\n"
				    "8,0 0 5 0.000000005 1 Q R 2040 + 16 [a]\n", run));
	CU_ASSERT_EQUAL_FATAL(bench.runs[0].nr_repeats, 2);
	for (unsigned i = 0; i < 2; i++) {
		r = &bench.runs[0].repeats[i];
		CU_ASSERT_EQUAL(r->ops, 3);
		CU_ASSERT_EQUAL(r->bytes, 4096 + 12288 + SIZE);
		CU_ASSERT_EQUAL(r->writes, 1);
	}
	CU_ASSERT_FALSE(is_zero(8192, 12288));
	CU_ASSERT_STRING_EQUAL(bench.warnings[0].name, "trace-beyond");
	finish();
}

/* Half a second at ten times the speed. */
static void in_time(void)
{
	struct bench_run_args run = reading;
	const struct bench_repeat *r;

	run.speed = 10;
	for (unsigned is_raw = 0; is_raw < 2; is_raw++) {
		run.is_cached = !is_raw;
		CU_ASSERT_TRUE_FATAL(replay(OURS "1000000000 read 1 1\n1500000000 read 2 1\n", run));
		r = &bench.runs[0].repeats[0];
		CU_ASSERT_EQUAL(r->ops, 2);
		CU_ASSERT_TRUE(r->ns >= 50000000);
		CU_ASSERT_EQUAL(r->measures[BENCH_RESPONSE].total, 2);
		finish();
	}
}

static void one_of_several(void)
{
	CU_ASSERT_TRUE_FATAL(replay("fio version 2 iolog\na read 0 4096\nb read 4096 8192\na read 8192 2048\n", reading));
	CU_ASSERT_EQUAL(bench.runs[0].repeats[0].ops, 2);
	CU_ASSERT_STRING_EQUAL(bench.warnings[0].name, "trace-files");
	finish();
}

static void not_at_all(void)
{
	static const struct {
		const char *text, *word;
	} rows[] = {
		{ "nothing\n", ":1: expected" },
		{ OURS "1 read x 1\n", ":3: expected" },
		{ OURS, "nothing that could be replayed" },
		{ OURS "1 read 256 1\n", "nothing that could be replayed" },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		CU_ASSERT_FALSE(replay(rows[i].text, reading));
		CU_ASSERT_EQUAL(result.outcome, OP_INPUT);
		CU_ASSERT_PTR_NOT_NULL(strstr(result.reason, rows[i].word));
		finish();
	}
}

static const struct unit_case cases[] = {
	{ "through a cache each block of a line is an operation, with the trace's block size", through_a_cache },
	{ "where nothing may be written what was written is read, and nothing changes", without_writing },
	{ "where it may be, whole blocks and parts are written, and flushed", with_writing },
	{ "straight to the device requests keep their size, and each repeat is the whole trace", straight },
	{ "with a speed each is asked for when it is due", in_time },
	{ "of several files the one with the most bytes is replayed", one_of_several },
	{ "a trace that cannot be read, or has nothing, is refused with the place", not_at_all },
	{ NULL, NULL },
};

const struct unit_suite bench_replay_suite = { "bench_replay", cases };
