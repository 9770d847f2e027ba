// SPDX-License-Identifier: LGPL-2.1-or-later
/* The blocks that a view is asked for: words of the command line and a list, as one set. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "ops/dump_int.h"
#include "text/range_list.h"

static bool fail(struct dump *d, const char *name, int error)
{
	if (error == -ENOMEM)
		op_fail(d->result, OP_INTERNAL, error, "out of memory");
	else if (error == -E2BIG)
		op_fail(d->result, OP_USAGE, 0, "%s: more than %u ranges", name, RANGE_SET_MAX);
	else
		op_fail(d->result, OP_INPUT, error, "%s: %s", name, strerror(-error));
	return false;
}

static bool add_words(struct dump *d, const struct dump_space *space, struct range_set *set)
{
	int r = 0;

	for (size_t i = 0; i < d->args->nr_ranges && !r; i++) {
		const struct op_range *range = &d->args->ranges[i];

		if (range->in_bytes && !space->block_bytes) {
			op_fail(d->result, OP_LOST, 0, "%s: the size of a %s block is not known: ask for blocks, not "
				"for bytes, or give --data-block-size", d->args->image, space->name);
			return false;
		}
		if (range->in_bytes)
			r = range_set_add_bytes(set, range->begin, range->end, space->block_bytes);
		else
			r = range_set_add(set, range->begin, range->end);
	}
	return !r || fail(d, "the command line", r);
}

static void tell_about_list(struct dump *d, const char *name, const struct text_range_list *list, bool has_ranges)
{
	char size[UNITS_SIZE_MAX];

	if (list->untried_bytes)
		text_printf(&d->messages, "%s: %s: %s that were not tried yet count as bad\n", d->args->program, name,
			    units_format_size(list->untried_bytes, size));
	if (!has_ranges)
		text_printf(&d->messages, "%s: %s: %s\n", d->args->program, name,
			    list->is_map ? "a map of ddrescue, all of it good" : "no ranges in it");
}

static bool add_list(struct dump *d, const struct dump_space *space, struct range_set *set)
{
	bool is_stdin = !strcmp(d->args->list, "-");
	const char *name = is_stdin ? "standard input" : d->args->list;
	FILE *file = is_stdin ? stdin : fopen(d->args->list, "re");
	size_t before = set->nr;
	struct text_range_list list;
	int r;

	if (!file)
		return fail(d, name, -errno);
	r = text_range_list_read(file, space->block_bytes, set, &list);
	if (!is_stdin)
		fclose(file);
	if (list.expected) {
		op_fail(d->result, OP_USAGE, 0, "%s:%" PRIu64 ": expected %s", name, list.line, list.expected);
		return false;
	}
	if (r)
		return fail(d, name, r);
	tell_about_list(d, name, &list, set->nr > before);
	return true;
}

/* What begins behind the end is a mistake; what only goes on there is shown up to it. */
static bool keep_within(struct dump *d, const struct dump_space *space, struct range_set *set)
{
	const struct range *last = set->nr ? &set->ranges[set->nr - 1] : NULL;

	if (!last || last->end <= space->nr_blocks)
		return true;
	if (last->begin >= space->nr_blocks) {
		op_fail(d->result, OP_USAGE, 0, "%s: has no %s block %" PRIu64 ": there are %" PRIu64, d->args->image,
			space->name, last->begin, space->nr_blocks);
		return false;
	}
	text_printf(&d->messages, "%s: %s: %s blocks end at %" PRIu64 ", before the end of the range %" PRIu64
		    "..%" PRIu64 "\n", d->args->program, d->args->image, space->name, space->nr_blocks, last->begin,
		    last->end);
	range_set_cut(set, space->nr_blocks);
	return true;
}

bool dump_read_ranges(struct dump *d, const struct dump_space *space, struct range_set *set)
{
	if (!add_words(d, space, set) || (d->args->list && !add_list(d, space, set)))
		return false;
	range_set_settle(set);
	return keep_within(d, space, set);
}
