// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * fault IMAGE: every view of a dump, and a check, with read number n failing, for n = 1, 2, ... until it needs no more
 * reads; then with block n of the image unreadable, for each n.
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
#include "ops/check.h"
#include "ops/dump.h"

#define MEMORY_LIMIT (16 << 20)

static int null_fd;

#define ALL_COLUMNS \
	"DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS,HIGHEST_BLOCK,MAPPED_SECTORS,EXCLUSIVE_SECTORS,SHARED_SECTORS," \
	"MAPPED_BYTES,EXCLUSIVE_BYTES,SHARED_BYTES,MAPPED,EXCLUSIVE,SHARED,TRANSACTION,CREATE_TIME,SNAP_TIME"

/* No block of thin-snaps from here on is in use. */
#define ALL_USED 200
/* Of its 1024 blocks these are tried: all that are used, and some. */
#define ALL_TRIED (ALL_USED + (1024 - ALL_USED + 49) / 50)

#define DEVICE(n) { .has_dev = true, .dev_id = (n) }

static const struct view {
	const char *name;
	struct op_dump_args args;
	unsigned blocks; /* of thin-snaps, that it cannot do without; 0: some. In use are 55, of these 12 in space maps */
} views[] = {
	{ "summary", { .view = DUMP_SUMMARY }, 55 },
	{ "summary as JSON", { .view = DUMP_SUMMARY, .format = DUMP_JSON }, 55 },
	{ "mappings as XML, flat", { .view = DUMP_MAPPINGS, .format = DUMP_XML, .flat = true }, 43 },
	{ "mappings as XML", { .view = DUMP_MAPPINGS, .format = DUMP_XML }, 43 },
	{ "mappings as JSON", { .view = DUMP_MAPPINGS, .format = DUMP_JSON }, 43 },
	{ "mappings in bytes", { .view = DUMP_MAPPINGS, .bytes = true }, 43 },
	{ "blocks", { .view = DUMP_BLOCK, .nr_ranges = 1 }, 20 },
	{ "path", { .view = DUMP_PATH, .only_device = true, .dev_id = 4, .virtual_block = 500 }, 4 },
	{ "owner", { .view = DUMP_OWNER, .nr_ranges = 1 }, 72 },
	{ "owner of data", { .view = DUMP_OWNER, .data = true, .nr_ranges = 1 }, 47 },
	{ "bad", { .view = DUMP_BAD }, ALL_TRIED },
	{ "bad as JSON", { .view = DUMP_BAD, .format = DUMP_JSON }, ALL_TRIED },
	{ "ls", { .view = DUMP_LS, .columns = ALL_COLUMNS }, 0 },
	{ "delta", { .view = DUMP_DELTA, .verbose = true, .left = DEVICE(1), .right = DEVICE(2) }, 17 },
	{ "map", { .view = DUMP_MAP }, ALL_TRIED },
	{ "roots", { .view = DUMP_ROOTS }, 0 },
	{ "size", { .view = DUMP_SIZE }, 0 },
	{ "diff", { .view = DUMP_DIFF }, 0 },
};

/* All blocks that are in use. */
static const struct view check_view = { .name = "check", .blocks = 55 };

#define NR_VIEWS (sizeof(views) / sizeof(*views))

static void die(const char *what)
{
	fprintf(stderr, "fault: %s: %s\n", what, strerror(errno));
	exit(99);
}

static void check(const struct op_dump_args *a, struct op_result *result)
{
	struct op_check_args args = {
		.client = a->client, .image = a->image, .program = a->program, .may_raise_memory = true,
		.out_fd = null_fd, .info_fd = null_fd, .message_fd = null_fd,
	};

	op_check(&args, result);
}

/* One run; the number of blocks on the device. */
static uint64_t run(const char *image, const struct view *view, struct io_fault_plan *plan, struct op_result *result)
{
	struct op_dump_args args = view->args;
	struct bufio_device *file, *dev, *other;
	uint64_t nr_blocks;
	int r = bufio_device_open(image, 0, "auto", NULL, &file);

	if (!r)
		r = bufio_device_open(image, 0, "auto", NULL, &other);
	if (r || io_fault_open(file, plan, &dev)) {
		errno = -r;
		die(image);
	}
	args.image = args.image2 = image;
	args.program = "fault";
	args.out_fd = args.message_fd = args.svg_fd = null_fd;
	args.ranges = &(struct op_range){ .end = 20 };
	args.client = bufio_client_create(dev, 4096, view == &check_view ? CHECK_HELD_BUFFERS : DUMP_HELD_BUFFERS, 0, NULL, NULL);
	args.client2 = bufio_client_create(other, 4096, DUMP_HELD_BUFFERS, 0, NULL, NULL);
	if (!args.client || !args.client2)
		die("client");
	/* Tables of views are a share of this: filling them, as MALLOC_PERTURB_ does, would take longer than all the rest. */
	bufio_set_memory_limit(args.client, MEMORY_LIMIT);
	bufio_set_memory_limit(args.client2, MEMORY_LIMIT);
	nr_blocks = bufio_get_device_size(args.client);
	plan->count = 0;
	if (view == &check_view)
		check(&args, result);
	else
		op_dump(&args, result);
	if (bufio_client_destroy(args.client) || bufio_client_destroy(args.client2))
		die("a hold was not given up");
	bufio_device_close(dev);
	bufio_device_close(other);
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
	if (r->outcome == OP_DONE || r->outcome == OP_INPUT || r->outcome == OP_LOST)
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

	for (uint64_t block = 0; block < nr; block += block < ALL_USED ? 1 : 50) {
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
	uint64_t once, sticky, blocks;
	bool all;

	once = fail_each_read(image, view, error, false);
	sticky = fail_each_read(image, view, error, true);
	blocks = fail_each_block(image, view, error);
	all = view->blocks ? blocks == view->blocks : blocks > 0;
	say(once, ++*nr, view, "reads failing", once, error, "");
	say(sticky, ++*nr, view, "reads failing", sticky, error, ", and all later ones");
	say(all, ++*nr, view, "blocks unreadable", blocks, error, ", and told");
	return once && sticky && all;
}

int main(int argc, char **argv)
{
	static const int errors[] = { EIO, ENODATA };
	unsigned nr = 0, nr_errors = 2;
	bool failed = false;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: fault IMAGE [NR-ERRORS]\n");
		return 99;
	}
	if (argc == 3 && !strcmp(argv[2], "1"))
		nr_errors = 1;
	null_fd = open("/dev/null", O_WRONLY);
	for (unsigned i = 0; i < nr_errors; i++)
		failed |= !test_view(argv[1], &check_view, errors[i], &nr);
	for (size_t v = 0; v < NR_VIEWS; v++)
		for (unsigned i = 0; i < nr_errors; i++)
			failed |= !test_view(argv[1], &views[v], errors[i], &nr);
	printf("1..%u\n", nr);
	return failed;
}
