// SPDX-License-Identifier: LGPL-2.1-or-later
/* The door of restore: argv in, exit status out. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "ops/restore.h"

enum { KEY_TRANSACTION_ID = 0x200, KEY_DATA_BLOCK_SIZE, KEY_NR_DATA_BLOCKS, KEY_COUNT_MAPPED, KEY_FORCE_SIGNATURE };

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "From where to where:", 1 },
	{ "input", 'i', "FILE", 0, "XML of a pool, as bufio-dump and thin_dump write it; - is the standard input", 0 },
	{ "output", 'o', "TARGET", 0, "Block device or file; a file that is not there is made", 0 },
	{ NULL, 0, NULL, 0, "Instead of what the XML says:", 2 },
	{ "transaction-id", KEY_TRANSACTION_ID, "N", 0, "Transaction of the pool", 0 },
	{ "data-block-size", KEY_DATA_BLOCK_SIZE, "SECTORS", 0, "Size of a data block in sectors, or with a unit", 0 },
	{ "nr-data-blocks", KEY_NR_DATA_BLOCKS, "N", 0, "Blocks of the data device", 0 },
	{ "count-mapped-blocks", KEY_COUNT_MAPPED, NULL, 0,
	  "Count the mappings of each device and do not mind mapped_blocks, as of a damaged pool", 0 },
	{ NULL, 0, NULL, 0, "Safety:", 3 },
	{ "force-signature", KEY_FORCE_SIGNATURE, "TYPE", 0, "Overwrite a TARGET that holds this, such as ext4", 0 },
	{ NULL, 0, NULL, 0, "Output:", 5 },
	{ "json", 'J', NULL, 0, "What was restored, as JSON", 0 },
	{ "quiet", 'q', NULL, 0, "Say nothing; the exit status tells", 0 },
	{ NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1 }, /* of the thin-provisioning tools */
	{ 0 },
};

static const char args_doc[] = "-i FILE -o TARGET";
static const char doc[] =
	"Write thin-pool metadata from XML.\v"
	"The XML is read to its end before anything is written, unless it comes from a pipe. The superblock is written last: "
	"a run that was interrupted leaves a TARGET that says so, and that neither the kernel nor any tool takes for a "
	"pool.\n\n"
	"TARGET may hold zeroes, thin-pool metadata that is not in use, or nothing that is known. Anything else is refused.\n\n"
	"Exit status: 0 done, 2 usage, 3 refused (in use, too small, holds something else), 4 the XML is wrong or cannot be "
	"read and TARGET is as it was, 5 TARGET was begun and is not finished, 8 internal.";

struct door {
	struct op_restore_args args;
	struct cli_device device;
	struct cli_progress progress;
	bool quiet, is_named; /* called thin_restore: the target must be there, and nothing is said */
};

static const char *parse_name(struct argp_state *state, const char *option, const char *arg)
{
	if (!*arg)
		argp_error(state, "--%s: the name is empty", option);
	return arg;
}

/* LVM passes an empty word in front of everything else. */
static void parse_word(struct argp_state *state, const char *arg)
{
	if (*arg)
		argp_error(state, "too many words: '%s'; files are named with -i and -o", arg);
}

static void check(struct argp_state *state, const struct door *door)
{
	if (!door->args.input)
		argp_error(state, "no input: name the XML with -i");
	if (!door->args.target)
		argp_error(state, "no output: name the device or file with -o");
	if (door->device.block_size != 4096)
		argp_error(state, "--block-size: metadata has blocks of 4KiB");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct door *door = state->input;
	struct op_restore_args *a = &door->args;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &door->progress;
		state->child_inputs[1] = &door->device;
		return 0;
	case 'i': a->input = parse_name(state, "input", arg); return 0;
	case 'o': a->target = parse_name(state, "output", arg); return 0;
	case 'q': door->quiet = true; return 0;
	case 'J': a->json = true; return 0;
	case KEY_TRANSACTION_ID:
		a->overrides.has_transaction = true;
		a->overrides.transaction = cli_parse_number(state, "transaction-id", arg);
		return 0;
	case KEY_DATA_BLOCK_SIZE: a->overrides.data_block_bytes = cli_parse_data_block_size(state, arg); return 0;
	case KEY_NR_DATA_BLOCKS: a->overrides.nr_data_blocks = cli_parse_nr_data_blocks(state, arg); return 0;
	case KEY_COUNT_MAPPED: a->count_mapped = true; return 0;
	case KEY_FORCE_SIGNATURE: a->signature = arg; return 0;
	case 'h': argp_state_help(state, stdout, ARGP_HELP_STD_HELP); return 0;
	case ARGP_KEY_ARG: parse_word(state, arg); return 0;
	case ARGP_KEY_END: check(state, door); return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = {
	{ &cli_progress_argp, 0, NULL, 0 },
	{ &cli_device_argp, 0, NULL, 0 },
	{ 0 },
};

static const struct argp argp = { options, parse, args_doc, doc, children, NULL, NULL };

/* --- running --- */

static enum cli_status fail(const struct door *door, const char *path, const char *why)
{
	cli_error(door->args.program, "%s: %s", path, why);
	return CLI_IO;
}

static enum cli_status open_input(struct door *door)
{
	struct op_restore_args *a = &door->args;
	struct stat st;

	if (!strcmp(a->input, "-")) {
		a->input = "standard input";
		a->in_fd = STDIN_FILENO;
		return CLI_OK;
	}
	a->in_fd = open(a->input, O_RDONLY | O_CLOEXEC);
	if (a->in_fd < 0)
		return fail(door, a->input, strerror(errno));
	if (!fstat(a->in_fd, &st) && S_ISDIR(st.st_mode))
		return fail(door, a->input, "is a directory; name a file of XML");
	return CLI_OK;
}

static enum cli_status result_status(const struct door *door, const struct op_result *result)
{
	if (result->outcome != OP_DONE)
		cli_error(door->args.program, "%s", result->reason);
	return cli_status_of(result);
}

static enum cli_status open_device(struct door *door)
{
	struct op_restore_args *a = &door->args;
	enum cli_status status = cli_device_open(&door->device, a->program, a->target, RESTORE_HELD_BUFFERS);

	if (status)
		return status;
	a->client = door->device.client;
	a->memory_limit = bufio_get_memory_limit(a->client);
	return CLI_OK;
}

/* One that is there is looked at before anything else is done. */
static enum cli_status open_target(struct door *door, struct op_restore_plan *plan)
{
	struct op_restore_args *a = &door->args;
	struct op_result result = { .outcome = OP_DONE };
	struct stat st;
	enum cli_status status;

	if (!fstat(a->in_fd, &st) && cli_is_same_file(&st, a->target)) {
		cli_error(a->program, "%s: is the input", a->target);
		return CLI_REFUSED;
	}
	status = open_device(door);
	if (status)
		return status;
	return op_restore_target(a, plan, &result) ? CLI_OK : result_status(door, &result);
}

/* --- a target that is not there yet --- */

/* It goes again if this does not come to its end. */
static enum cli_status make_target(struct door *door, const struct op_restore_plan *plan)
{
	struct op_restore_args *a = &door->args;
	enum cli_status status = cli_make_target(a->program, a->target, op_restore_new_size(plan));

	a->is_new = !status;
	return status ? status : open_device(door);
}

static enum cli_status plan_and_write(struct door *door, struct op_restore_plan *plan)
{
	struct op_restore_args *a = &door->args;
	struct op_result result = { .outcome = OP_DONE };
	enum cli_status status = CLI_OK, finished = CLI_OK;

	if (!op_restore_plan(a, plan, &result))
		return result_status(door, &result);
	if (!a->client)
		status = make_target(door, plan);
	if (!status && !op_restore(a, plan, &result))
		status = result_status(door, &result);
	if (a->is_new)
		finished = cli_finish_target(a->program, a->target, result.blocks * 4096);
	return status ? status : finished;
}

static enum cli_status restore(struct door *door)
{
	struct op_restore_args *a = &door->args;
	struct op_restore_plan plan = { 0 };
	bool is_old = door->is_named || cli_is_there(a->target);
	enum cli_status status = is_old ? open_target(door, &plan) : cli_may_be_made(a->program, a->target);

	if (!status && !is_old)
		status = cli_default_memory_limit(&door->device, a->program, &a->memory_limit);
	if (status)
		return status;
	a->progress = &door->progress.counts;
	cli_progress_start(&door->progress, a->program, a->out_fd);
	status = plan_and_write(door, &plan);
	cli_progress_stop(&door->progress);
	return status;
}

int main(int argc, char **argv)
{
	struct door door = {
		.args = { .program = cli_program(argv[0]), .in_fd = -1 },
		.device = { .block_size = 4096, .flags = BUFIO_OPEN_WRITE },
	};
	enum cli_status status;

	door.is_named = !strcmp(door.args.program, "thin_restore");
	door.args.count_mapped = door.args.is_lenient = door.is_named;
	cli_init();
	cli_progress_init();
	if (argp_parse(&argp, argc, argv, 0, NULL, &door))
		return CLI_INTERNAL;
	door.args.out_fd = door.quiet || door.is_named ? -1 : STDOUT_FILENO;
	if (door.quiet)
		cli_be_quiet();
	status = open_input(&door);
	if (!status)
		status = restore(&door);
	cli_device_close(&door.device, door.args.program);
	if (door.args.in_fd > STDERR_FILENO)
		close(door.args.in_fd);
	return status;
}
