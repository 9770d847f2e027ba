// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * fuzz-mend SEED LIMIT IMAGE...: damaged copies of the images are repaired in place. What is refused is not touched. What is
 * mended is clean, has the mappings that could be seen before, needs no second run, and --undo and --resume bring back the old
 * and the new bytes; a plan says the same, and writes nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz_image.h"
#include "fuzz_loop.h"
#include "io/io.h"
#include "ops/journal.h"
#include "ops/repair.h"

#define LEAST_MEMORY (UINT64_C(3) << 20)
#define CHECK_MEMORY (4 << 20)
#define SECONDS_A_CASE 60

static struct {
	struct fuzz_image *images;
	unsigned nr;
	char journal[4096];
	uint64_t mended, refused, sound; /* cases */
} test;

/* --- a case --- */

static struct op_result repair(struct bufio_device *dev, uint64_t memory, bool dry_run)
{
	struct op_repair_args args = {
		.input = "image", .program = "fuzz-mend", .out_fd = -1, .message_fd = -1, .dry_run = dry_run,
		.journal = test.journal, .client = fuzz_client(dev, REPAIR_HELD_BUFFERS, memory), .may_raise_memory = true,
	};
	struct op_result result;

	op_repair_in_place(&args, &result);
	fuzz_client_destroy(args.client);
	return result;
}

static void replay(struct bufio_device *dev, bool forward, const uint8_t *want, size_t size)
{
	struct bufio_client *c = fuzz_client(dev, REPAIR_HELD_BUFFERS, CHECK_MEMORY);
	struct op_result result;

	op_journal_replay(c, "image", test.journal, forward, &result);
	fuzz_client_destroy(c);
	if (result.outcome != OP_DONE)
		fuzz_fail(forward ? "resume" : "undo", &result);
	if (memcmp(io_mem_data(dev), want, size))
		fuzz_fail("other bytes after undo or resume", NULL);
}

static void judge_mended(struct bufio_device *dev, uint64_t memory, const struct fuzz_sum *before, const uint8_t *old, size_t size)
{
	struct fuzz_sum after = fuzz_sum_mappings(dev);
	uint8_t *new = malloc(size);
	struct op_result again;

	if (!new)
		abort();
	memcpy(new, io_mem_data(dev), size);
	if (!fuzz_is_clean(dev))
		fuzz_fail("not clean", NULL);
	if (after.value != before->value || after.nr != before->nr)
		fuzz_fail("other mappings", NULL);
	replay(dev, false, old, size);
	replay(dev, true, new, size);
	unlink(test.journal);
	again = repair(dev, memory, false);
	if (again.outcome != OP_DONE || again.blocks || memcmp(io_mem_data(dev), new, size))
		fuzz_fail("a second run has something to do", &again);
	free(new);
}

static void judge(struct bufio_device *dev, uint64_t memory, const uint8_t *old, size_t size)
{
	struct fuzz_sum before = fuzz_sum_mappings(dev);
	struct op_result plan = repair(dev, memory, true), result;

	if (memcmp(io_mem_data(dev), old, size))
		fuzz_fail("a plan writes", &plan);
	result = repair(dev, memory, false);
	if (plan.outcome != result.outcome)
		fuzz_fail("the plan was another one", &result);
	if (result.outcome == OP_INTERNAL || result.outcome == OP_PARTLY || result.outcome == OP_OUTPUT)
		fuzz_fail("should not happen", &result);
	if (result.outcome == OP_DONE && result.blocks) {
		test.mended++;
		judge_mended(dev, memory, &before, old, size);
		return;
	}
	*(result.outcome == OP_DONE ? &test.sound : &test.refused) += 1;
	if (memcmp(io_mem_data(dev), old, size) || !access(test.journal, F_OK))
		fuzz_fail("something was written", &result);
}

static void one(struct rng *r, void *context)
{
	const struct fuzz_image *im = &test.images[rng_below(r, test.nr)];
	uint64_t changes = 1 + rng_below(r, 3), memory = LEAST_MEMORY + rng_below(r, LEAST_MEMORY);
	struct bufio_device *dev;
	uint8_t *old = malloc(im->size);

	(void)context;
	if (!old)
		abort();
	memcpy(old, im->data, im->size);
	for (uint64_t i = 0; i < changes; i++)
		mutate(old, im->size, r);
	dev = fuzz_device(old, im->size);
	unlink(test.journal);
	alarm(SECONDS_A_CASE);
	judge(dev, memory, old, im->size);
	alarm(0);
	unlink(test.journal);
	bufio_device_close(dev);
	free(old);
}

int main(int argc, char **argv)
{
	const char *folder = getenv("TMPDIR");

	if (argc < 4) {
		fprintf(stderr, "usage: fuzz-mend SEED LIMIT IMAGE...\n");
		return 99;
	}
	snprintf(test.journal, sizeof(test.journal), "%s/fuzz-mend.%ld.journal", folder ? folder : "/tmp", (long)getpid());
	test.nr = (unsigned)argc - 3;
	test.images = fuzz_images_load(argv + 3, test.nr);
	if (!fuzz_loop(argv[1], argv[2], one, NULL))
		return 99;
	printf("# %" PRIu64 " mended, %" PRIu64 " refused, %" PRIu64 " with nothing to do\n", test.mended, test.refused, test.sound);
	fuzz_images_free(test.images, test.nr);
	return 0;
}
