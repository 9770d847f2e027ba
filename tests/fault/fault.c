// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * fault IMAGE: every view of a dump, with read number n failing, for n = 1, 2, ... until the view needs no more reads;
 * then with block n of the image unreadable, for each n.
 *
 * An unreadable block is a hole, or the end with a word: never a crash, and never a result that looks whole. A read that
 * fails once may be healed: what was read ahead of time is read again in its turn. Prints a TAP line for each view, read
 * error, and way of failing.
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
	unsigned blocks; /* of thin-snaps, that it reads: all 55 in use, or all but 12 of the space maps */
} views[] = {
	{ "summary", DUMP_SUMMARY, DUMP_HUMAN, 55 },
	{ "summary as JSON", DUMP_SUMMARY, DUMP_JSON, 55 },
	{ "mappings as XML", DUMP_MAPPINGS, DUMP_XML, 43 },
	{ "mappings as JSON", DUMP_MAPPINGS, DUMP_JSON, 43 },
	{ "blocks", DUMP_BLOCK, DUMP_HUMAN, 20 },
	{ "map", DUMP_MAP, DUMP_JSON, 1024 }, /* free ones too */
};

#define NR_VIEWS (sizeof(views) / sizeof(*views))

static void die(const char *what)
{
	fprintf(stderr, "fault: %s: %s\n", what, strerror(errno));
	exit(99);
}

/* One run; the number of blocks on the device. */
static uint64_t run(const char *image, const struct view *view, struct io_fault_plan *plan, struct op_result *result)
{
	struct op_dump_args args = {
		.image = image, .program = "fault", .view = view->view, .format = view->format,
		.out_fd = null_fd, .message_fd = null_fd, .ranges = &(struct op_range){ .end = 20 }, .nr_ranges = 1,
	};
	struct bufio_device *file, *dev;
	uint64_t nr_blocks;
	int r = bufio_device_open(image, 0, "auto", NULL, &file);

	if (r || io_fault_open(file, plan, &dev)) {
		errno = -r;
		die(image);
	}
	args.client = bufio_client_create(dev, 4096, DUMP_HELD_BUFFERS, 0, NULL, NULL);
	if (!args.client)
		die("client");
	nr_blocks = bufio_get_device_size(args.client);
	plan->count = 0;
	op_dump(&args, result);
	bufio_client_destroy(args.client);
	bufio_device_close(dev);
	return nr_blocks;
}

/* To the end, and without a word about anything missing. */
static bool is_whole(const struct op_result *r)
{
	uint64_t n = r->unreadable;

	for (unsigned s = 0; s < NR_SEVERITIES; s++)
		n += r->problems[s];
	return r->outcome == OP_DONE && !n;
}

static bool is_sane(const struct op_result *r, uint64_t n)
{
	if (r->outcome == OP_DONE || r->outcome == OP_INPUT)
		return true;
	printf("# %" PRIu64 ": outcome %d, %s\n", n, r->outcome, r->reason);
	return false;
}

/* Of an image without problems: how many values of n were tried, or 0 when one of them went wrong. */
static uint64_t fail_each_read(const char *image, const struct view *view, int error, bool sticky)
{
	struct op_result result;

	for (uint64_t n = 1;; n++) {
		struct io_fault_plan plan = { .kinds = IO_FAULT_READ, .fail_at = n, .sticky = sticky, .error = error };

		run(image, view, &plan, &result);
		if (plan.count < n)
			return is_whole(&result) ? n - 1 : 0;
		if (is_whole(&result) && sticky) {
			printf("# read %" PRIu64 " and later ones failed, and nothing was said\n", n);
			return 0;
		}
		if (!is_sane(&result, n))
			return 0;
	}
}

/* How many blocks the view cannot do without, and says so; 0 when something went wrong. */
static uint64_t fail_each_block(const char *image, const struct view *view, int error)
{
	uint64_t missed = 0, nr = 1;

	for (uint64_t block = 0; block < nr; block++) {
		struct io_fault_plan plan = { .kinds = IO_FAULT_READ, .error = error,
					      .bad_begin = block * 4096, .bad_end = (block + 1) * 4096 };
		struct op_result result;

		nr = run(image, view, &plan, &result);
		missed += !is_whole(&result);
		if (!is_sane(&result, block))
			return 0;
	}
	return missed;
}

static void say(bool good, unsigned nr, const struct view *view, const char *what, uint64_t n, int error,
		const char *how)
{
	printf("%sok %u - %s: each of %" PRIu64 " %s with %s%s\n", good ? "" : "not ", nr, view->name, n, what,
	       strerror(error), how);
}

static bool test_view(const char *image, const struct view *view, int error, unsigned *nr)
{
	uint64_t once = fail_each_read(image, view, error, false);
	uint64_t sticky = fail_each_read(image, view, error, true);
	uint64_t blocks = fail_each_block(image, view, error);

	say(once, ++*nr, view, "reads failing", once, error, "");
	say(sticky, ++*nr, view, "reads failing", sticky, error, ", and all later ones");
	say(blocks == view->blocks, ++*nr, view, "blocks unreadable", blocks, error, ", and told");
	return once && sticky && blocks == view->blocks;
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
	for (size_t v = 0; v < NR_VIEWS; v++)
		for (unsigned i = 0; i < 2; i++)
			failed |= !test_view(argv[1], &views[v], errors[i], &nr);
	printf("1..%u\n", nr);
	return failed;
}
