// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * fault IMAGE: every view of a dump, with read number n failing, for n = 1, 2, ... until the view needs no more reads.
 *
 * An unreadable block is a hole, or the end with a word: never a crash, and never a result that looks whole. Prints a
 * TAP line for each view, read error, and whether later reads fail too.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"
#include "ops/dump.h"

static int null_fd;

static const struct view {
	const char *name;
	enum dump_view view;
	enum dump_format format;
} views[] = {
	{ "summary", DUMP_SUMMARY, DUMP_HUMAN },
	{ "summary as JSON", DUMP_SUMMARY, DUMP_JSON },
	{ "mappings as XML", DUMP_MAPPINGS, DUMP_XML },
	{ "mappings as JSON", DUMP_MAPPINGS, DUMP_JSON },
	{ "blocks", DUMP_BLOCK, DUMP_HUMAN },
};

#define NR_VIEWS (sizeof(views) / sizeof(*views))

static void die(const char *what)
{
	fprintf(stderr, "fault: %s: %s\n", what, strerror(errno));
	exit(99);
}

/* One run; true when the injected error was met. */
static bool run(const char *image, const struct view *view, struct io_fault_plan *plan, struct op_result *result)
{
	struct op_dump_args args = {
		.image = image, .program = "fault", .view = view->view, .format = view->format,
		.out_fd = null_fd, .message_fd = null_fd, .end = 20,
	};
	struct bufio_device *file, *dev;
	int r = bufio_device_open(image, 0, "auto", NULL, &file);

	if (r || io_fault_open(file, plan, &dev)) {
		errno = -r;
		die(image);
	}
	args.client = bufio_client_create(dev, 4096, DUMP_HELD_BUFFERS, 0, NULL, NULL);
	if (!args.client)
		die("client");
	plan->count = 0;
	op_dump(&args, result);
	bufio_client_destroy(args.client);
	bufio_device_close(dev);
	return plan->count >= plan->fail_at;
}

/* To the end, and without a word about anything missing. */
static bool is_whole(const struct op_result *r)
{
	uint64_t n = r->unreadable;

	for (unsigned s = 0; s < NR_SEVERITIES; s++)
		n += r->problems[s];
	return r->outcome == OP_DONE && !n;
}

/* Of an image without problems: how many values of n were tried, or 0 when one of them was not told. */
static uint64_t try_all(const char *image, const struct view *view, int error, bool sticky)
{
	struct op_result result;

	for (uint64_t n = 1;; n++) {
		struct io_fault_plan plan = { .kinds = IO_FAULT_READ, .fail_at = n, .sticky = sticky, .error = error };
		bool met = run(image, view, &plan, &result);

		if (!met)
			return is_whole(&result) ? n - 1 : 0;
		if (is_whole(&result)) {
			printf("# read %" PRIu64 " failed, and nothing was said\n", n);
			return 0;
		}
		if (result.outcome != OP_DONE && result.outcome != OP_INPUT) {
			printf("# read %" PRIu64 " failed: outcome %d, %s\n", n, result.outcome, result.reason);
			return 0;
		}
	}
}

int main(int argc, char **argv)
{
	static const int errors[] = { EIO, ENODATA };
	unsigned nr = 0;
	bool failed = false;

	if (argc != 2) {
		fprintf(stderr, "usage: fault IMAGE\n");
		return 99;
	}
	null_fd = open("/dev/null", O_WRONLY);
	for (size_t v = 0; v < NR_VIEWS; v++) {
		for (unsigned i = 0; i < 4; i++) {
			int error = errors[i & 1];
			uint64_t n = try_all(argv[1], &views[v], error, i & 2);

			printf("%sok %u - %s: each of %" PRIu64 " reads failing with %s%s\n", n ? "" : "not ", ++nr,
			       views[v].name, n, strerror(error), i & 2 ? ", and all later ones" : "");
			failed = failed || !n;
		}
	}
	printf("1..%u\n", nr);
	return failed;
}
