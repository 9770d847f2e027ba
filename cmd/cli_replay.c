// SPDX-License-Identifier: LGPL-2.1-or-later
/* --undo and --resume of repairs in place. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cli.h"
#include "ops/journal.h"

static enum cli_status say(const char *program, const char *image, const char *what)
{
	if (printf("%s: %s\n", image, what) >= 0 && !fflush(stdout))
		return CLI_OK;
	cli_error(program, "output: %s", strerror(errno));
	return CLI_IO;
}

enum cli_status cli_replay(const struct cli_replay *r, const char *program, struct bufio_client *client, const char *image,
			   bool quiet)
{
	struct op_result result;

	op_journal_replay(client, image, r->journal, r->is_forward, &result);
	if (result.outcome != OP_DONE) {
		cli_error(program, "%s", result.reason);
		return cli_status_of(&result);
	}
	return quiet ? CLI_OK : say(program, image, r->is_forward ? "the repair is finished" : "is as it was before the repair");
}
