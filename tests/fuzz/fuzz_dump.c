// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fuzz target: all views of a dump, and checks, over any bytes. Nothing may crash, hang, leak or read past anything.
 *
 * As LLVMFuzzerTestOneInput for libFuzzer (compile with -fsanitize=fuzzer -DLIBFUZZER), and as a program of its own:
 *
 *	fuzz-dump SEED COUNT IMAGE...     COUNT damaged copies of the images, one after the other
 *
 * prints the seed of a case before it runs, so that a crash can be repeated with SEED and COUNT 1.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz_image.h"
#include "io/io.h"
#include "meta/thin.h"
#include "mutate.h"
#include "ops/check.h"
#include "ops/dump.h"

#define MEMORY_LIMIT (1 << 20)
#define CHECK_MEMORY_LIMIT (4 << 20)
#define SECONDS_A_VIEW 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What an image was before, to be compared with it; NULL: not known. */
static struct bufio_device *undamaged;

#define ALL_COLUMNS \
	"DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS,HIGHEST_BLOCK,MAPPED_SECTORS,EXCLUSIVE_SECTORS,SHARED_SECTORS," \
	"MAPPED_BYTES,EXCLUSIVE_BYTES,SHARED_BYTES,MAPPED,EXCLUSIVE,SHARED,TRANSACTION,CREATE_TIME,SNAP_TIME"

/* Devices are those of the images; ranges and roots are set for each image. */
static const struct op_dump_args views[] = {
	{ .view = DUMP_SUMMARY },
	{ .view = DUMP_SUMMARY, .count_shared = true },
	{ .view = DUMP_SUMMARY, .format = DUMP_JSON, .use_root = true },
	{ .view = DUMP_SUMMARY, .repair = true, .overrides = { .data_block_bytes = 65536, .nr_data_blocks = 100 } },
	{ .view = DUMP_LS, .columns = ALL_COLUMNS },
	{ .view = DUMP_LS, .format = DUMP_JSON, .use_snapshot = true },
	{ .view = DUMP_MAPPINGS, .format = DUMP_JSON },
	{ .view = DUMP_MAPPINGS, .format = DUMP_XML, .use_snapshot = true },
	{ .view = DUMP_MAPPINGS, .format = DUMP_XML, .use_root = true },
	{ .view = DUMP_MAPPINGS, .bytes = true },
	{ .view = DUMP_BLOCK, .nr_ranges = 1 },
	{ .view = DUMP_PATH, .only_device = true, .dev_id = 1, .virtual_block = 500 },
	{ .view = DUMP_PATH, .only_device = true, .dev_id = 2, .format = DUMP_JSON, .use_snapshot = true },
	{ .view = DUMP_OWNER, .nr_ranges = 1 },
	{ .view = DUMP_OWNER, .nr_ranges = 1, .format = DUMP_JSON, .only_device = true, .dev_id = 1 },
	{ .view = DUMP_OWNER, .nr_ranges = 1, .data = true },
	{ .view = DUMP_BAD },
	{ .view = DUMP_BAD, .format = DUMP_JSON, .use_snapshot = true },
	{ .view = DUMP_DELTA, .left = { .has_dev = true, .dev_id = 1 }, .right = { .has_dev = true, .dev_id = 2 } },
	{ .view = DUMP_DELTA, .left = { .has_dev = true, .dev_id = 1 }, .format = DUMP_XML, .verbose = true,
	  .right = { .has_dev = true, .dev_id = 1, .of = SIDE_SNAPSHOT } },
	{ .view = DUMP_DIFF },
	{ .view = DUMP_MAP, .svg = "fuzz.svg" },
	{ .view = DUMP_MAP, .format = DUMP_JSON },
	{ .view = DUMP_ROOTS },
	{ .view = DUMP_ROOTS, .format = DUMP_JSON },
	{ .view = DUMP_SIZE },
};

static const struct op_check_args checks[] = {
	{ .max_problems = 100 },
	{ .json = true, .use_snapshot = true },
	{ .json = true, .may_raise_memory = true },
};

static struct op_result dump(struct bufio_device *dev, struct op_dump_args args, uint64_t root, int fd)
{
	struct op_range range = { 0 };
	struct op_result result;

	args.image = args.image2 = args.program = "fuzz";
	args.out_fd = args.message_fd = args.svg_fd = fd;
	args.root = root;
	args.client = fuzz_client(dev, DUMP_HELD_BUFFERS, MEMORY_LIMIT);
	args.client2 = args.view == DUMP_DIFF ? fuzz_client(undamaged, DUMP_HELD_BUFFERS, MEMORY_LIMIT) : NULL;
	range.end = bufio_get_device_size(args.client) < 64 ? bufio_get_device_size(args.client) : 64;
	args.ranges = &range;
	alarm(SECONDS_A_VIEW);
	op_dump(&args, &result);
	alarm(0);
	if (args.client2)
		fuzz_client_destroy(args.client2);
	fuzz_client_destroy(args.client);
	return result;
}

/* Whether shared mappings are said once or for every device, what is wrong with them is the same. */
static void compare_forms(struct bufio_device *dev, int fd)
{
	struct op_dump_args args = { .view = DUMP_MAPPINGS, .format = DUMP_XML };
	struct op_result once = dump(dev, args, 0, fd), flat;

	args.flat = true;
	flat = dump(dev, args, 0, fd);
	if (once.outcome != flat.outcome || memcmp(once.problems, flat.problems, sizeof(once.problems)))
		abort();
}

static void check(struct bufio_device *dev, struct op_check_args args, int fd)
{
	struct op_result result;

	args.image = args.program = "fuzz";
	args.out_fd = args.info_fd = args.message_fd = fd;
	args.client = fuzz_client(dev, CHECK_HELD_BUFFERS, CHECK_MEMORY_LIMIT);
	alarm(SECONDS_A_VIEW);
	op_check(&args, &result);
	alarm(0);
	fuzz_client_destroy(args.client);
}

/* Older roots are at hand where the superblock had its own. */
static uint64_t some_root(const uint8_t *data, size_t size)
{
	struct thin_superblock sb;

	if (size < PD_BLOCK_SIZE)
		return 0;
	thin_superblock_decode(data, &sb);
	return sb.csum & 1 ? sb.data_mapping_root : sb.device_details_root;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bufio_device *dev = fuzz_device(data, size);
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		abort();
	for (size_t v = 0; v < sizeof(views) / sizeof(*views); v++)
		if (views[v].view != DUMP_DIFF || undamaged)
			dump(dev, views[v], some_root(data, size), fd);
	compare_forms(dev, fd);
	for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++)
		check(dev, checks[i], fd);
	bufio_device_close(dev);
	close(fd);
	return 0;
}

#ifndef LIBFUZZER
static void run_case(const struct fuzz_image *im, uint64_t seed)
{
	struct rng rng = { seed | 1 };
	uint8_t *copy = malloc(im->size);
	uint64_t changes = 1 + rng_below(&rng, 8);
	size_t size = im->size;

	if (!copy)
		abort();
	memcpy(copy, im->data, im->size);
	for (uint64_t i = 0; i < changes; i++)
		mutate(copy, size, &rng);
	if (!rng_below(&rng, 16))
		size = rng_below(&rng, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

int main(int argc, char **argv)
{
	uint64_t seed, count;

	if (argc < 4) {
		fprintf(stderr, "usage: fuzz-dump SEED COUNT IMAGE...\n");
		return 99;
	}
	seed = strtoull(argv[1], NULL, 0);
	count = strtoull(argv[2], NULL, 0);
	for (int i = 3; i < argc; i++) {
		struct fuzz_image im = fuzz_image_load(argv[i]);

		undamaged = fuzz_device(im.data, im.size);
		for (uint64_t n = 0; n < count; n++) {
			printf("%s seed %" PRIu64 "\n", argv[i], seed + 2 * n);
			fflush(stdout);
			run_case(&im, seed + 2 * n);
		}
		bufio_device_close(undamaged);
		free(im.data);
	}
	return 0;
}
#endif
