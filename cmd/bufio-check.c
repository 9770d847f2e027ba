// SPDX-License-Identifier: LGPL-2.1-or-later
/* The door of check: argv in, exit status out. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "ops/check.h"

enum {
	KEY_SUPER_BLOCK_ONLY = 0x200, KEY_SKIP_MAPPINGS, KEY_IGNORE_NON_FATAL, KEY_MAPPING_ROOT, KEY_DETAILS_ROOT,
	KEY_AUTO_REPAIR, KEY_CLEAR_NEEDS_CHECK, KEY_JOURNAL, KEY_UNDO, KEY_RESUME,
	KEY_MAX_PROBLEMS
};

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "What is looked at:", 1 },
	{ "super-block-only", KEY_SUPER_BLOCK_ONLY, NULL, 0, "The superblock alone", 0 },
	{ "skip-mappings", KEY_SKIP_MAPPINGS, NULL, 0, "Which devices there are, but not their mappings, nor the space maps", 0 },
	{ "metadata-snap", 'm', NULL, 0, "The metadata snapshot, also of an active pool; not the space maps", 0 },
	{ "override-mapping-root", KEY_MAPPING_ROOT, "BLOCK", 0, "Mappings as if the superblock named this root", 0 },
	{ "override-details-root", KEY_DETAILS_ROOT, "BLOCK", 0, "Device details as if the superblock named this root", 0 },
	{ NULL, 0, NULL, 0, "What is mended, if nothing else is wrong:", 2 },
	{ "auto-repair", KEY_AUTO_REPAIR, NULL, 0, "Leaked blocks and wrong hints of the space maps", 0 },
	{ "clear-needs-check-flag", KEY_CLEAR_NEEDS_CHECK, NULL, 0, "The flag needs_check, and leaked blocks", 0 },
	{ "journal", KEY_JOURNAL, "FILE", 0, "What was there before goes to this new file, for --undo", 0 },
	{ "undo", KEY_UNDO, "FILE", 0, "Do not check: bring back what the repair with this journal changed", 0 },
	{ "resume", KEY_RESUME, "FILE", 0, "Do not check: finish the repair with this journal", 0 },
	{ NULL, 0, NULL, 0, "What is said:", 3 },
	{ "ignore-non-fatal-errors", KEY_IGNORE_NON_FATAL, NULL, 0, "Leaks do not count for the exit status", 0 },
	{ "max-problems", KEY_MAX_PROBLEMS, "N", 0, "Show so many at the most, the worst; 0: all. 100 unless --json", 0 },
	{ "json", 'J', NULL, 0, "The report as JSON", 0 },
	{ NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1 }, /* of the thin-provisioning tools */
	{ 0 },
};

static const char args_doc[] = "IMAGE";
static const char doc[] =
	"Check thin-pool metadata: find all that is wrong, say what it means and what to do.\v"
	"IMAGE is a block device or a file. Nothing is written unless an option says so.\n\n"
	"Exit status: 0 clean, 1 leaks (safe to run with), 2 usage, 3 refused (in use), 4 cannot be read, 5 a repair was "
	"begun and is not finished, 8 internal, 9 mappings lost, 10 no metadata of a known kind, 11 nothing is lost, but the "
	"pool is not safe to activate.";

#define MAX_PROBLEMS 100

struct door {
	struct op_check_args args;
	struct cli_device device;
	struct cli_output output;
	struct cli_progress progress;
	struct cli_replay replay;
	bool has_max;
	struct stat stat;
	bool is_named; /* called thin_check: its two lines, and the report is for people that look at errors */
};

static bool has_root(const struct op_check_args *a)
{
	return a->has_mapping_root || a->has_details_root;
}

static void check(struct argp_state *state, const struct door *door)
{
	const struct op_check_args *a = &door->args;
	bool is_part = a->use_snapshot || has_root(a);

	if (a->journal && (!*a->journal || !(a->auto_repair || a->clear_needs_check)))
		argp_error(state, "--journal: names a file, and goes with --auto-repair or --clear-needs-check-flag");
	if (!a->image)
		argp_error(state, "no IMAGE: name a block device or a file");
	if (door->device.block_size != 4096)
		argp_error(state, "--block-size: metadata has blocks of 4KiB");
	if (a->auto_repair && (is_part || a->ignore_non_fatal || a->superblock_only || a->skip_mappings))
		argp_error(state, "--auto-repair looks at everything: not with --ignore-non-fatal-errors, --metadata-snap, "
			   "--override-..., --super-block-only, --skip-mappings");
	if (a->clear_needs_check && is_part)
		argp_error(state, "--clear-needs-check-flag looks at the pool itself: not with --metadata-snap, "
			   "--override-...");
	if (door->replay.journal && (a->auto_repair || a->clear_needs_check || is_part))
		argp_error(state, "--undo and --resume do nothing else");
	if (a->use_snapshot && has_root(a))
		argp_error(state, "--metadata-snap and --override-... are different trees");
}

static uint64_t parse_root(struct argp_state *state, const char *option, const char *arg, bool *is_given)
{
	*is_given = true;
	return cli_parse_number(state, option, arg);
}

/* An empty word is passed over, as LVM's options may have one. */
static void parse_image(struct argp_state *state, struct op_check_args *a, const char *arg)
{
	if (!*arg)
		return;
	if (a->image)
		argp_error(state, "too many words: '%s'", arg);
	a->image = arg;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct door *door = state->input;
	struct op_check_args *a = &door->args;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &door->output;
		state->child_inputs[1] = &door->progress;
		state->child_inputs[2] = &door->device;
		return 0;
	case KEY_SUPER_BLOCK_ONLY: a->superblock_only = true; return 0;
	case KEY_SKIP_MAPPINGS: a->skip_mappings = true; return 0;
	case 'm': a->use_snapshot = true; return 0;
	case KEY_MAPPING_ROOT:
		a->mapping_root = parse_root(state, "override-mapping-root", arg, &a->has_mapping_root);
		return 0;
	case KEY_DETAILS_ROOT:
		a->details_root = parse_root(state, "override-details-root", arg, &a->has_details_root);
		return 0;
	case KEY_AUTO_REPAIR: a->auto_repair = true; return 0;
	case KEY_CLEAR_NEEDS_CHECK: a->clear_needs_check = true; return 0;
	case KEY_JOURNAL: a->journal = arg; return 0;
	case KEY_UNDO: door->replay = (struct cli_replay){ arg, false }; return 0;
	case KEY_RESUME: door->replay = (struct cli_replay){ arg, true }; return 0;
	case KEY_IGNORE_NON_FATAL: a->ignore_non_fatal = true; return 0;
	case KEY_MAX_PROBLEMS:
		a->max_problems = cli_parse_number(state, "max-problems", arg);
		door->has_max = true;
		return 0;
	case 'J': a->json = true; return 0;
	case 'h': argp_state_help(state, stdout, ARGP_HELP_STD_HELP); return 0;
	case ARGP_KEY_ARG: parse_image(state, a, arg); return 0;
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

/* --- running --- */

/*
 * io_uring takes longer to be set up and let go of than a small pool takes to be read, and this runs at every activation.
 */
#define SMALL_BYTES (INT64_C(64) << 20)

static bool is_small(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (fd >= 0)
		close(fd);
	return size >= 0 && size < SMALL_BYTES;
}

static enum cli_status open_device(struct door *door)
{
	struct op_check_args *a = &door->args;
	enum cli_status status;

	if (!door->device.engine && !getenv("BUFIO_IO_ENGINE") && is_small(a->image))
		door->device.engine = "threads";
	if (!stat(a->image, &door->stat))
		a->target_stat = &door->stat;
	if (a->use_snapshot)
		door->device.flags |= BUFIO_OPEN_SHARED;
	if (a->auto_repair || a->clear_needs_check || door->replay.journal)
		door->device.flags |= BUFIO_OPEN_WRITE;
	a->may_raise_memory = !door->device.memory_limit;
	status = cli_device_open(&door->device, a->program, a->image, CHECK_HELD_BUFFERS);
	if (status == CLI_REFUSED && !a->use_snapshot)
		cli_advise_snapshot(a->program, a->image);
	a->client = door->device.client;
	return status;
}

/* Under the other name the report is a message, and quiet means that there is none. */
static enum cli_status open_output(struct door *door)
{
	struct op_check_args *a = &door->args;
	enum cli_status status;

	if (door->output.letter)
		door->output.path = door->output.letter;
	status = cli_output_open(&door->output, a->program, a->image);

	a->out_fd = door->output.fd;
	a->info_fd = -1;
	a->message_fd = door->output.quiet ? -1 : STDERR_FILENO;
	if (door->is_named && !door->output.quiet)
		a->info_fd = STDOUT_FILENO;
	if (door->is_named && !door->output.path && !a->json)
		a->out_fd = a->message_fd;
	if (door->output.quiet && !door->output.path && !a->json)
		a->out_fd = -1;
	if (!door->has_max && !a->json)
		a->max_problems = MAX_PROBLEMS;
	return status;
}

static enum cli_status replay(const struct door *door)
{
	const struct op_check_args *a = &door->args;

	return cli_replay(&door->replay, a->program, a->client, a->image, door->output.quiet);
}

static enum cli_status run(struct door *door)
{
	struct op_check_args *a = &door->args;
	struct op_result result;
	enum cli_status status = open_output(door);

	if (status)
		return status;
	a->progress = &door->progress.counts;
	cli_progress_start(&door->progress, a->program, a->out_fd);
	op_check(a, &result);
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

	door.is_named = door.args.is_repair_optional = !strcmp(door.args.program, "thin_check");
	cli_init();
	cli_progress_init();
	if (argp_parse(&argp, argc, argv, 0, NULL, &door))
		return CLI_INTERNAL;
	if (door.output.quiet)
		cli_be_quiet();
	status = open_device(&door);
	if (!status)
		status = door.replay.journal ? replay(&door) : run(&door);
	cli_device_close(&door.device, door.args.program);
	return status;
}
