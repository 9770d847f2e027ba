// SPDX-License-Identifier: LGPL-2.1-or-later
/* bufio-copy --undo, --resume, --status: what a journal is for. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/copy.h"
#include "io/io_journal.h"
#include "ops/journal.h"

static enum cli_status fail(const struct copy_door *door, const struct op_result *result)
{
	cli_error(door->program, "%s", result->reason);
	return cli_status_of(result);
}

static enum cli_status show(const struct copy_door *door)
{
	struct op_result result;

	op_journal_show(door->program, door->file, door->quiet ? -1 : STDOUT_FILENO, door->json, &result);
	return result.outcome == OP_DONE ? CLI_OK : fail(door, &result);
}

static enum cli_status say(const struct copy_door *door, const char *target)
{
	const char *which = door->mode == COPY_UNDO ? "before" : "to be";

	if (door->quiet)
		return CLI_OK;
	if (door->json)
		return show(door);
	if (printf("%s: is as it was %s\n", target, which) >= 0 && !fflush(stdout))
		return CLI_OK;
	cli_error(door->program, "output: %s; %s is as it was %s", strerror(errno), target, which);
	return CLI_IO;
}

static enum cli_status replay(const struct copy_door *door, const char *target)
{
	struct cli_device d = door->device;
	struct op_result result;
	enum cli_status status;

	d.flags |= BUFIO_OPEN_WRITE;
	d.block_size = IO_JOURNAL_BLOCK_SIZE; /* the journal has its own, past the cache */
	status = cli_device_open(&d, door->program, target, 1);
	if (status)
		return status;
	op_journal_replay(d.client, target, door->file, door->mode == COPY_RESUME, &result);
	status = result.outcome == OP_DONE ? say(door, target) : fail(door, &result);
	cli_device_close(&d, door->program);
	return status;
}

enum cli_status copy_journal(struct copy_door *door)
{
	struct io_journal_status about;
	struct op_result result;

	if (door->mode == COPY_STATUS)
		return show(door);
	if (door->nr_words)
		return replay(door, door->words[0]);
	if (!op_journal_read(door->file, &about, &result))
		return fail(door, &result);
	if (about.target[0] != '/' && access(about.target, F_OK)) {
		cli_error(door->program, "%s: is of %s, which was named from another folder and is not here; name the TARGET",
			  door->file, about.target);
		return CLI_IO;
	}
	return replay(door, about.target);
}
