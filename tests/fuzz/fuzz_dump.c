// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fuzz target: all views of a dump over any bytes. Nothing may crash, hang, leak or read past anything.
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

#include "io/io.h"
#include "mutate.h"
#include "ops/dump.h"

#define MEMORY_LIMIT (1 << 20)
#define SECONDS_A_CASE 60

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The other image of a diff; NULL: the same once more. */
static struct bufio_device *undamaged;

static struct bufio_client *create_client(struct bufio_device *dev)
{
	struct bufio_client *c = bufio_client_create(dev, 4096, DUMP_HELD_BUFFERS, 0, NULL, NULL);

	if (!c || bufio_set_memory_limit(c, MEMORY_LIMIT))
		abort();
	return c;
}

static void dump(struct bufio_device *dev, enum dump_view view, enum dump_format format, bool snapshot, int fd)
{
	struct op_dump_args args = {
		.image = "fuzz", .program = "fuzz", .view = view, .format = format,
		.out_fd = fd, .message_fd = fd, .use_snapshot = snapshot, .svg = "fuzz.svg", .svg_fd = fd, .verbose = true,
		.left = { .has_dev = true, .dev_id = 1 }, .right = { .has_dev = true, .dev_id = 2 },
		.image2 = "undamaged", .data = true,
	};
	struct op_range range = { 0 };
	struct op_result result;

	args.client = create_client(dev);
	args.client2 = create_client(undamaged ? undamaged : dev);
	range.end = bufio_get_device_size(args.client) < 64 ? bufio_get_device_size(args.client) : 64;
	args.ranges = &range;
	args.nr_ranges = 1;
	op_dump(&args, &result);
	/* A hold that was not given up is a leak. */
	if (bufio_client_destroy(args.client) || bufio_client_destroy(args.client2))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bufio_device *dev;
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || bufio_device_open_memory(size, &dev))
		abort();
	memcpy(io_mem_data(dev), data, size);
	alarm(SECONDS_A_CASE);
	dump(dev, DUMP_SUMMARY, DUMP_HUMAN, false, fd);
	dump(dev, DUMP_MAPPINGS, DUMP_JSON, false, fd);
	dump(dev, DUMP_MAPPINGS, DUMP_XML, true, fd);
	dump(dev, DUMP_BLOCK, DUMP_HUMAN, false, fd);
	dump(dev, DUMP_MAP, DUMP_HUMAN, false, fd);
	dump(dev, DUMP_MAP, DUMP_JSON, false, fd);
	dump(dev, DUMP_DELTA, DUMP_XML, false, fd);
	dump(dev, DUMP_DELTA, DUMP_JSON, true, fd);
	dump(dev, DUMP_DIFF, DUMP_HUMAN, false, fd);
	dump(dev, DUMP_OWNER, DUMP_JSON, false, fd);
	alarm(0);
	bufio_device_close(dev);
	close(fd);
	return 0;
}

#ifndef LIBFUZZER
struct image {
	uint8_t *data;
	size_t size;
};

static struct image load(const char *path)
{
	struct image im = { 0 };
	FILE *f = fopen(path, "rb");
	long size;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) <= 0)
		abort();
	rewind(f);
	im.size = (size_t)size;
	im.data = malloc(im.size);
	if (!im.data || fread(im.data, 1, im.size, f) != im.size)
		abort();
	fclose(f);
	return im;
}

static void run_case(const struct image *im, uint64_t seed)
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
		struct image im = load(argv[i]);

		if (bufio_device_open_memory(im.size, &undamaged))
			abort();
		memcpy(io_mem_data(undamaged), im.data, im.size);
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
