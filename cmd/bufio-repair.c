// SPDX-License-Identifier: LGPL-2.1-or-later
/* The door of repair: argv in, exit status out. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "ops/journal.h"
#include "ops/repair.h"

enum { KEY_IN_PLACE = 0x200, KEY_DRY_RUN, KEY_JOURNAL, KEY_UNDO, KEY_RESUME };

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "In place:", 1 },
	{ "in-place", KEY_IN_PLACE, NULL, 0, "Mend what needs no new mappings where it lies, in one transaction", 0 },
	{ "dry-run", KEY_DRY_RUN, NULL, 0, "Say what would be mended, and write nothing", 0 },
	{ "journal", KEY_JOURNAL, "FILE", 0, "What was there before goes to this new file, for --undo", 0 },
	{ "undo", KEY_UNDO, "FILE", 0, "Bring back what the repair with this journal changed", 0 },
	{ "resume", KEY_RESUME, "FILE", 0, "Finish the repair with this journal", 0 },
	{ NULL, 0, NULL, 0, "What is said:", 2 },
	{ "json", 'J', NULL, 0, "The report as JSON", 0 },
	{ 0 },
};

static const char args_doc[] = "IMAGE";
static const char doc[] = "Repair thin-pool metadata.";

struct door {
	struct op_repair_args args;
	struct cli_device device;
	struct cli_output output;
	struct cli_progress progress;
	bool in_place;
	const char *replay; /* a journal */
	bool is_forward;
	struct stat stat;
};

static void check(struct argp_state *state, const struct door *door)
{
	if (!door->args.input)
		argp_error(state, "no IMAGE: name a block device or a file");
	if (door->args.journal && (!*door->args.journal || !door->in_place))
		argp_error(state, "--journal: names a file, and goes with --in-place");
	if (door->replay && (door->in_place || door->args.dry_run))
		argp_error(state, "--undo and --resume do nothing else");
	if (!door->replay && !door->in_place)
		argp_error(state, "--in-place, --undo or --resume");
	if (door->device.block_size != 4096)
		argp_error(state, "--block-size: metadata has blocks of 4KiB");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct door *door = state->input;
	struct op_repair_args *a = &door->args;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &door->output;
		state->child_inputs[1] = &door->progress;
		state->child_inputs[2] = &door->device;
		return 0;
	case KEY_IN_PLACE: door->in_place = true; return 0;
	case KEY_DRY_RUN: a->dry_run = true; return 0;
	case KEY_JOURNAL: a->journal = arg; return 0;
	case KEY_UNDO: door->replay = arg; return 0;
	case KEY_RESUME:
		door->replay = arg;
		door->is_forward = true;
		return 0;
	case 'J': a->json = true; return 0;
	case ARGP_KEY_ARG:
		if (*arg && a->input)
			argp_error(state, "too many words: '%s'", arg);
		if (*arg)
			a->input = arg;
		return 0;
	case ARGP_KEY_END: check(state, door); return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = {
	{ &cli_output_argp, 0, NULL, 0 },
	{ &cli_progress_argp, 0, NULL, 0 },
	{ &cli_device_argp, 0, NULL, 0 },
	{ 0 },
};

static const struct argp argp = { options, parse, args_doc, doc, children, NULL, NULL };

/* --- in place --- */

static enum cli_status open_in_place(struct door *door)
{
	struct op_repair_args *a = &door->args;
	enum cli_status status;

	if (!stat(a->input, &door->stat))
		a->target_stat = &door->stat;
	if (!a->dry_run)
		door->device.flags |= BUFIO_OPEN_WRITE;
	a->may_raise_memory = !door->device.memory_limit;
	status = cli_device_open(&door->device, a->program, a->input, REPAIR_HELD_BUFFERS);
	if (status == CLI_REFUSED)
		cli_advise_snapshot(a->program, a->input);
	a->client = door->device.client;
	return status;
}

static enum cli_status say_replayed(const struct door *door)
{
	const struct op_repair_args *a = &door->args;

	if (door->output.quiet)
		return CLI_OK;
	if (printf("%s: %s\n", a->input, door->is_forward ? "the repair is finished" : "is as it was before the repair") >= 0 &&
	    !fflush(stdout))
		return CLI_OK;
	cli_error(a->program, "output: %s", strerror(errno));
	return CLI_IO;
}

static enum cli_status replay(const struct door *door)
{
	const struct op_repair_args *a = &door->args;
	struct op_result result;

	op_journal_replay(a->client, a->input, door->replay, door->is_forward, &result);
	if (result.outcome == OP_DONE)
		return say_replayed(door);
	cli_error(a->program, "%s", result.reason);
	return cli_status_of(&result);
}

static enum cli_status open_output(struct door *door)
{
	struct op_repair_args *a = &door->args;
	enum cli_status status;

	if (door->output.letter)
		door->output.path = door->output.letter;
	status = cli_output_open(&door->output, a->program, a->input);
	a->out_fd = door->output.fd;
	a->message_fd = door->output.quiet ? -1 : STDERR_FILENO;
	if (door->output.quiet && !door->output.path && !a->json)
		a->out_fd = -1;
	return status;
}

static enum cli_status mend(struct door *door)
{
	struct op_repair_args *a = &door->args;
	struct op_result result;
	enum cli_status status = open_output(door);

	if (status)
		return status;
	a->progress = &door->progress.counts;
	cli_progress_start(&door->progress, a->program, a->out_fd);
	op_repair_in_place(a, &result);
	cli_progress_stop(&door->progress);
	if (result.outcome != OP_DONE) {
		cli_error(a->program, "%s", result.reason);
		cli_output_abort(&door->output);
		return cli_status_of(&result);
	}
	status = cli_output_commit(&door->output, a->program);
	return status ? status : cli_status_of(&result);
}

int main(int argc, char **argv)
{
	struct door door = {
		.args = { .program = cli_program(argv[0]) },
		.device = { .block_size = 4096 },
	};
	enum cli_status status;

	cli_init();
	cli_progress_init();
	if (argp_parse(&argp, argc, argv, 0, NULL, &door))
		return CLI_INTERNAL;
	if (door.output.quiet)
		cli_be_quiet();
	status = open_in_place(&door);
	if (!status)
		status = door.replay ? replay(&door) : mend(&door);
	cli_device_close(&door.device, door.args.program);
	return status;
}
