// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * fuzz-repair SEED LIMIT IMAGE...: damaged copies of the images are repaired to new metadata, with any of the options. The image
 * is not touched; what is written is clean, or was refused before anything was; and a repair of that has the same mappings.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz_image.h"
#include "fuzz_loop.h"
#include "io/io.h"
#include "ops/repair.h"

#define LEAST_MEMORY (UINT64_C(8) << 20)
#define SECONDS_A_CASE 60

static struct {
	struct fuzz_image *images;
	unsigned nr;
	uint64_t whole, lossy, refused; /* cases */
} test;

/* What nobody has to ask for, half of the time; and then any of it. */
static struct op_repair_choice choose(struct op_repair_args *args, struct rng *r, uint64_t blocks)
{
	struct op_repair_choice choice = { .dev_id = rng_below(r, 12), .is_block = rng_below(r, 2) };

	choice.value = rng_below(r, choice.is_block ? blocks : 8);
	args->overrides.data_block_bytes = 131072;
	if (rng_below(r, 2))
		return choice;
	args->stale = rng_below(r, REPAIR_STALE_NO + 1);
	args->use_generation = !rng_below(r, 4);
	args->generation = rng_below(r, 6);
	args->nr_choices = (unsigned)rng_below(r, 2);
	return choice;
}

static struct op_result repair(struct op_repair_args *args, struct bufio_device *dev, struct bufio_device *target,
			       uint64_t memory)
{
	struct bufio_client *out = fuzz_client(target, REPAIR_HELD_BUFFERS, memory);
	struct op_result result;
	struct op_repair *r;

	args->client = fuzz_client(dev, REPAIR_HELD_BUFFERS, memory);
	r = op_repair_open(args, &result);
	if (r && op_repair_may_write(r, out, &result) && op_repair_write(r, out, &result))
		op_repair_show(r, &result);
	op_repair_close(r);
	fuzz_client_destroy(out);
	fuzz_client_destroy(args->client);
	return result;
}

static bool is_lossy(const struct op_result *result)
{
	return result->problems[SEVERITY_LOSSY];
}

static void judge_written(struct bufio_device *target, const struct op_result *result, uint64_t memory)
{
	struct op_repair_args args = {
		.input = "result", .target = "again", .program = "fuzz-repair", .out_fd = -1, .message_fd = -1,
		.may_raise_memory = true,
	};
	size_t size = bufio_device_describe(target)->size;
	void *zeroes = calloc(1, size);
	struct bufio_device *again = zeroes ? fuzz_device(zeroes, size) : NULL;
	struct fuzz_sum first, sum;
	struct op_result second;

	if (!again)
		abort();
	if (!fuzz_is_clean(target))
		fuzz_fail("not clean", result);
	second = repair(&args, target, again, memory);
	if (second.outcome != OP_DONE || (is_lossy(&second) && !is_lossy(result))) /* what is mapped twice still is */
		fuzz_fail("what was repaired is not whole", &second);
	first = fuzz_sum_mappings(target);
	sum = fuzz_sum_mappings(again);
	if (sum.nr != first.nr || sum.value != first.value)
		fuzz_fail("a second repair has other mappings", &second);
	bufio_device_close(again);
	free(zeroes);
	*(is_lossy(result) ? &test.lossy : &test.whole) += 1;
}

static void judge(struct bufio_device *dev, const uint8_t *old, size_t size, struct rng *r)
{
	struct op_repair_args args = {
		.input = "image", .target = "target", .program = "fuzz-repair", .out_fd = -1, .message_fd = -1,
		.may_raise_memory = true,
	};
	struct op_repair_choice choice = choose(&args, r, size / 4096);
	uint64_t memory = LEAST_MEMORY + rng_below(r, LEAST_MEMORY);
	uint8_t *zeroes = calloc(1, size);
	struct bufio_device *target = zeroes ? fuzz_device(zeroes, size) : NULL;
	struct op_result result;

	if (!target)
		abort();
	args.choices = &choice;
	result = repair(&args, dev, target, memory);
	if (memcmp(io_mem_data(dev), old, size))
		fuzz_fail("the image was changed", &result);
	if (result.outcome == OP_DIFFERS || result.outcome == OP_INTERNAL)
		fuzz_fail("should not happen", &result);
	if (result.outcome == OP_DONE)
		judge_written(target, &result, memory);
	else if (result.outcome != OP_PARTLY && memcmp(io_mem_data(target), zeroes, size))
		fuzz_fail("refused, and something was written", &result);
	else
		test.refused++;
	bufio_device_close(target);
	free(zeroes);
}

static void one(struct rng *r, void *context)
{
	const struct fuzz_image *im = &test.images[rng_below(r, test.nr)];
	uint64_t changes = 1 + rng_below(r, 6);
	uint8_t *old = malloc(im->size);
	struct bufio_device *dev;

	(void)context;
	if (!old)
		abort();
	memcpy(old, im->data, im->size);
	for (uint64_t i = 0; i < changes; i++)
		mutate(old, im->size, r);
	dev = fuzz_device(old, im->size);
	alarm(SECONDS_A_CASE);
	judge(dev, old, im->size, r);
	alarm(0);
	bufio_device_close(dev);
	free(old);
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: fuzz-repair SEED LIMIT IMAGE...\n");
		return 99;
	}
	test.nr = (unsigned)argc - 3;
	test.images = fuzz_images_load(argv + 3, test.nr);
	if (!fuzz_loop(argv[1], argv[2], one, NULL))
		return 99;
	printf("# %" PRIu64 " without a loss, %" PRIu64 " with one, %" PRIu64 " refused\n", test.whole, test.lossy,
	       test.refused);
	fuzz_images_free(test.images, test.nr);
	return 0;
}
