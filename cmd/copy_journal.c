// SPDX-License-Identifier: LGPL-2.1-or-later
/* bufio-copy --undo, --resume, --status: what a journal is for. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/copy_modes.h"
#include "io/io_journal.h"
#include "ops/journal.h"

static enum cli_status fail(const struct copy_journal *c, const struct op_result *result)
{
	cli_error(c->program, "%s", result->reason);
	return cli_status_of(result);
}

static enum cli_status show(const struct copy_journal *c)
{
	struct op_result result;

	op_journal_show(c->program, c->file, c->is_quiet ? -1 : STDOUT_FILENO, c->json, &result);
	return result.outcome == OP_DONE ? CLI_OK : fail(c, &result);
}

static enum cli_status say(const struct copy_journal *c, const char *target)
{
	if (c->is_quiet)
		return CLI_OK;
	if (printf("%s: %s\n", target, c->what == COPY_UNDO ? "is as it was before" : "is as it was to be") >= 0 &&
	    !fflush(stdout))
		return CLI_OK;
	cli_error(c->program, "output: %s", strerror(errno));
	return CLI_IO;
}

static enum cli_status replay(const struct copy_journal *c, const struct cli_device *device, const char *target)
{
	struct cli_device d = *device;
	struct op_result result;
	enum cli_status status;

	d.flags |= BUFIO_OPEN_WRITE;
	d.block_size = d.block_size ? d.block_size : IO_JOURNAL_BLOCK_SIZE;
	status = cli_device_open(&d, c->program, target, 1);
	if (status)
		return status;
	op_journal_replay(d.client, target, c->file, c->what == COPY_RESUME, &result);
	status = result.outcome == OP_DONE ? say(c, target) : fail(c, &result);
	cli_device_close(&d, c->program);
	return status;
}

enum cli_status copy_journal(const struct copy_journal *c, const struct cli_device *device)
{
	struct io_journal_status about;
	struct op_result result;

	if (c->what == COPY_STATUS)
		return show(c);
	if (c->target)
		return replay(c, device, c->target);
	if (!op_journal_read(c->file, &about, &result))
		return fail(c, &result);
	return replay(c, device, about.target);
}
