// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/extents.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"
#include "text/extent_list.h"

#define SECTOR 512

static const char *name_of(const struct op_extents_args *args)
{
	return strcmp(args->list, "-") ? args->list : "standard input";
}

static void fail_read(const struct op_extents_args *args, int error, const struct text_extents_error *e,
		      struct op_result *result)
{
	if (error == -EINVAL)
		op_fail(result, OP_INPUT, 0, "%s:%" PRIu64 ": %s", name_of(args), e->line, e->reason);
	else if (error == -E2BIG)
		op_fail(result, OP_USAGE, error, "%s: has more extents than the memory limit has room for: give a larger "
			"--memory-limit", name_of(args));
	else
		op_fail_errno(result, name_of(args), error);
}

static int read_list(const struct op_extents_args *args, struct text_extents *list, struct text_extents_error *e)
{
	const struct bufio_device_info *data = &args->data_device->info;
	struct text_extents_args read = {
		.data_bytes = data->size, .unit = data->alignment > SECTOR ? data->alignment : SECTOR,
		.memory = args->memory,
	};
	bool is_input = !strcmp(args->list, "-");
	FILE *file = is_input ? stdin : fopen(args->list, "re");
	int r = file ? text_extents_read(file, &read, list, e) : -errno;

	if (file && !is_input)
		fclose(file);
	return r;
}

/* As large as was asked for, if that is possible. */
static bool find_size(const struct op_extents_args *args, uint64_t end, uint64_t *size, struct op_result *result)
{
	*size = args->size ? args->size : end;
	if (*size >= end)
		return true;
	op_fail(result, OP_USAGE, 0, "--size: %" PRIu64 " bytes are less than where the last extent of %s ends: %" PRIu64,
		args->size, name_of(args), end);
	return false;
}

bool op_extents_open(const struct op_extents_args *args, struct op_extents *x, struct op_result *result)
{
	struct text_extents_error error = { 0 };
	struct io_pieces_args pieces = { .below = args->data_device };
	int r;

	*x = (struct op_extents){ .list = calloc(1, sizeof(*x->list)) };
	r = x->list ? read_list(args, x->list, &error) : -ENOMEM;
	if (r) {
		fail_read(args, r, &error, result);
		return false;
	}
	pieces.pieces = x->list->pieces;
	pieces.nr = x->list->nr;
	x->problems = x->list->problems;
	x->memory = x->list->nr * sizeof(*x->list->pieces);
	if (!find_size(args, x->list->end, &pieces.size, result))
		return false;
	r = io_pieces_open(&pieces, &x->device);
	if (r)
		op_fail_errno(result, args->data, r);
	return !r;
}

void op_extents_close(struct op_extents *x)
{
	if (x->device)
		bufio_device_close(x->device);
	if (x->list)
		text_extents_destroy(x->list);
	free(x->list);
	*x = (struct op_extents){ 0 };
}
