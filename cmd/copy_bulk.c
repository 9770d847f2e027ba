// SPDX-License-Identifier: LGPL-2.1-or-later
/* bufio-copy SRC DST: opens both, makes DST if it is not there, and removes it again if nothing came of it. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/copy.h"
#include "ops/extents.h"
#include "ops/target.h"

/* Positions that are a multiple of it suit the direct I/O of every file system and device. */
#define DIRECT_UNIT 4096

struct bulk {
	struct copy_door *door;
	struct op_copy_args *args;
	struct cli_device source, target;
	bool is_one; /* source and target are the same */
	struct op_extents extents;
};

static enum cli_status fail(const struct bulk *b, enum cli_status status, const char *path, const char *why)
{
	cli_error(b->door->program, "%s: %s", path, why);
	return status;
}

/* --- what leads to the same --- */

/* Both are there. Ranges in one file may differ; where a loop device shows the file nobody knows which it shows. */
static enum cli_status compare_ends(struct bulk *b, const struct stat *source, const struct stat *target)
{
	b->is_one = cli_is_same(source, target);
	if (!b->is_one && (cli_is_same_file(source, b->args->target) || cli_is_same_file(target, b->args->source)))
		return fail(b, CLI_REFUSED, b->args->target, "shows the same as SRC");
	return CLI_OK;
}

static enum cli_status check_map(const struct bulk *b)
{
	const char *map = b->args->map;
	struct stat st;

	if (!map || stat(map, &st))
		return CLI_OK;
	if (!S_ISREG(st.st_mode))
		return fail(b, CLI_REFUSED, map, "is no regular file, and a map is one");
	if (cli_is_same_file(&st, b->args->source) || cli_is_same_file(&st, b->args->target))
		return fail(b, CLI_REFUSED, map, "is SRC or DST, and cannot be the map too");
	return CLI_OK;
}

/* --- opening --- */

/* Direct I/O needs positions that suit it. */
static enum cli_status open_end(const struct bulk *b, struct cli_device *d, const char *path, bool is_aligned)
{
	if (!is_aligned && d->flags & BUFIO_OPEN_DIRECT)
		return fail(b, CLI_USAGE, path, "--direct=on needs positions and blocks that are multiples of 4KiB");
	if (!is_aligned)
		d->flags |= BUFIO_OPEN_BUFFERED;
	return cli_device_open_bare(d, b->door->program, path);
}

static bool is_aligned(const struct bulk *b, uint64_t position)
{
	return position % DIRECT_UNIT == 0 && b->door->device.block_size % DIRECT_UNIT == 0;
}

/* The list takes part of the memory. */
static enum cli_status open_extents(struct bulk *b)
{
	struct op_extents_args args = {
		.list = b->door->extents, .data = b->args->source, .data_device = b->source.device, .size = b->door->size,
		.memory = b->args->memory_limit / 4,
	};
	struct op_result result = { .outcome = OP_DONE };

	if (!op_extents_open(&args, &b->extents, &result)) {
		cli_error(b->door->program, "%s", result.reason);
		return cli_status_of(&result);
	}
	if (b->extents.problems)
		cli_error(b->door->program, "%s: there were %" PRIu64 " problems in the metadata; zeroes stand for what they cost",
			  args.list, b->extents.problems);
	b->args->memory_limit -= b->extents.memory;
	b->args->source_device = b->extents.device;
	return CLI_OK;
}

static enum cli_status open_source(struct bulk *b)
{
	enum cli_status status;

	if (b->is_one)
		return CLI_OK;
	if (b->door->force_in_use)
		b->source.flags |= BUFIO_OPEN_SHARED;
	status = open_end(b, &b->source, b->args->source, is_aligned(b, b->args->begin));
	b->args->source_device = b->source.device;
	return status || !b->door->extents ? status : open_extents(b);
}

static enum cli_status open_target(struct bulk *b)
{
	enum cli_status status;

	b->target.flags |= BUFIO_OPEN_WRITE;
	b->target.prefers_direct = true;
	status = open_end(b, &b->target, b->args->target,
			  is_aligned(b, b->args->to) && (!b->is_one || is_aligned(b, b->args->begin)));
	b->args->target_device = b->target.device;
	if (b->is_one)
		b->args->source_device = b->target.device;
	return status;
}

static enum cli_status make_target(struct bulk *b)
{
	enum cli_status status = cli_may_be_made(b->door->program, b->args->target);
	int r = status ? 0 : target_make_file(b->args->target, 0);

	if (r)
		return fail(b, CLI_IO, b->args->target, strerror(-r));
	b->args->is_new = !status;
	return status;
}

/* --- running --- */

static enum cli_status open_both(struct bulk *b)
{
	struct stat source, target;
	bool is_old = !stat(b->args->target, &target) || errno != ENOENT;
	enum cli_status status = CLI_OK;

	if (is_old && !stat(b->args->source, &source) && !stat(b->args->target, &target))
		status = compare_ends(b, &source, &target);
	if (!status && b->is_one && b->door->extents)
		status = fail(b, CLI_REFUSED, b->args->target, "is DATA");
	if (!status)
		status = check_map(b);
	if (!status)
		status = open_source(b);
	if (!status && !is_old)
		status = make_target(b);
	return status ? status : open_target(b);
}

static enum cli_status copy(struct bulk *b, struct op_result *result)
{
	struct copy_door *door = b->door;
	struct bufio_stats stats = { 0 };

	b->args->stats = &stats;
	b->args->progress = &door->progress.counts;
	b->args->stop = &cli_stop;
	cli_catch_signals();
	cli_progress_start(&door->progress, door->program, b->args->out_fd);
	op_copy(b->args, result);
	cli_progress_stop(&door->progress);
	if (result->outcome != OP_DONE)
		cli_error(door->program, "%s", result->reason);
	if (door->device.stats)
		cli_print_stats(door->program, &stats, b->args->memory_limit);
	return cli_status_of(result);
}

enum cli_status copy_bulk(struct copy_door *door)
{
	struct bulk b = { .door = door, .args = &door->bulk, .source = door->device, .target = door->device };
	struct op_result result = { .outcome = OP_DONE };
	enum cli_status status;

	b.args->program = door->program;
	b.args->block_size = (uint32_t)door->device.block_size;
	b.args->json = door->json;
	b.args->out_fd = door->quiet ? -1 : STDOUT_FILENO;
	b.source.stats = b.target.stats = false;
	status = cli_default_memory_limit(&door->device, door->program, &b.args->memory_limit);
	if (!status)
		status = open_both(&b);
	if (!status)
		status = copy(&b, &result);
	op_extents_close(&b.extents);
	cli_device_close(&b.source, door->program);
	cli_device_close(&b.target, door->program);
	if (b.args->is_new && !result.keeps_target)
		unlink(b.args->target);
	return status;
}
