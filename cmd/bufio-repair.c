// SPDX-License-Identifier: LGPL-2.1-or-later
/* The door of repair: argv in, exit status out. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "ops/dump.h"
#include "ops/repair.h"

enum {
	KEY_LIST = 0x200, KEY_IN_PLACE, KEY_DRY_RUN, KEY_JOURNAL, KEY_UNDO, KEY_RESUME, KEY_ROOT, KEY_GENERATION, KEY_DEVICE,
	KEY_ASSIGN, KEY_STALE, KEY_ACCEPT_LOSS, KEY_TRANSACTION_ID, KEY_DATA_BLOCK_SIZE, KEY_NR_DATA_BLOCKS, KEY_FORCE_SIGNATURE
};

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "From where to where:", 1 },
	{ "input", 'i', "IMAGE", 0, "Damaged metadata: block device or file", 0 },
	{ "output", 'o', "TARGET", 0, "Block device or file for the new metadata; a file that is not there is made", 0 },
	{ "in-place", KEY_IN_PLACE, NULL, 0, "Mend IMAGE itself, where no mapping is lost", 0 },
	{ "dry-run", KEY_DRY_RUN, NULL, 0, "Say what would be done, and write nothing", 0 },
	{ "list", KEY_LIST, NULL, 0, "Do not repair: list the generations and devices that can be had", 0 },
	{ NULL, 0, NULL, 0, "What is taken:", 2 },
	{ "generation", KEY_GENERATION, "N", 0, "This generation, as --list counts them", 0 },
	{ "root", KEY_ROOT, "BLOCK", 0, "The generation with this top level, or with this copy of a superblock", 0 },
	{ "device", KEY_DEVICE, "DEV@N", 0, "This device from generation N, also one that was removed; may be repeated", 0 },
	{ "assign", KEY_ASSIGN, "DEV=BLOCK", 0, "The tree at BLOCK is this device's; may be repeated", 0 },
	{ "stale", KEY_STALE, "WHAT", 0, "Older versions of dead nodes: offer (say so), use, or no. Default offer", 0 },
	{ "transaction-id", KEY_TRANSACTION_ID, "N", 0, "Transaction of the pool", 0 },
	{ "data-block-size", KEY_DATA_BLOCK_SIZE, "SECTORS", 0, "Size of a data block in sectors, or with a unit", 0 },
	{ "nr-data-blocks", KEY_NR_DATA_BLOCKS, "N", 0, "Blocks of the data device", 0 },
	{ NULL, 0, NULL, 0, "Safety:", 3 },
	{ "accept-loss", KEY_ACCEPT_LOSS, NULL, 0, "Exit with 0 also when mappings are lost", 0 },
	{ "force-signature", KEY_FORCE_SIGNATURE, "TYPE", 0, "Overwrite a TARGET that holds this, such as ext4", 0 },
	{ "journal", KEY_JOURNAL, "FILE", 0, "With --in-place: what was there before goes to this new file", 0 },
	{ "undo", KEY_UNDO, "FILE", 0, "Do not repair: bring back what the repair with this journal changed", 0 },
	{ "resume", KEY_RESUME, "FILE", 0, "Do not repair: finish the repair with this journal", 0 },
	{ NULL, 0, NULL, 0, "Output:", 5 },
	{ "json", 'J', NULL, 0, "The report as JSON", 0 },
	{ "quiet", 'q', NULL, 0, "Say nothing; the exit status tells", 0 },
	{ NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1 }, /* of the thin-provisioning tools */
	{ 0 },
};

static const char args_doc[] = "-i IMAGE -o TARGET\n--in-place IMAGE\n--list IMAGE";
static const char doc[] =
	"Repair thin-pool metadata: bring back all that can be brought back, and say what cannot.\v"
	"IMAGE is only read, but with --in-place. TARGET may hold zeroes, thin-pool metadata that is not in use, or nothing "
	"that is known. Anything else is refused. The result is checked; one that is not clean is marked as not finished.\n\n"
	"Exit status: 0 nothing is lost, 2 usage, 3 refused (in use, too small, holds something else), 4 cannot be read, 5 "
	"TARGET was begun and is not finished, 7 the result is not clean, 8 internal, 9 mappings are lost, or ambiguous, 10 no "
	"metadata of a known kind.";

struct door {
	struct op_repair_args args;
	struct cli_device device, target;
	struct cli_progress progress;
	struct op_repair_choice *choices;
	bool quiet, is_list, is_in_place;
	struct cli_replay replay;
	bool is_named; /* called thin_repair: the target must be there, and nothing is said but what is lost */
	struct stat stat;
};

/* --- options --- */

/* "5@2", "5=1234". */
static void parse_choice(struct argp_state *state, struct door *door, const char *option, char *arg, char separator)
{
	char *at = strchr(arg, separator);
	struct op_repair_choice *c;

	if (!at)
		argp_error(state, "--%s: '%s' has no '%c'", option, arg, separator);
	c = realloc(door->choices, (door->args.nr_choices + 1) * sizeof(*c));
	if (!c)
		argp_failure(state, CLI_INTERNAL, ENOMEM, "--%s", option);
	door->choices = c;
	door->args.choices = c;
	c += door->args.nr_choices++;
	*at = '\0';
	c->dev_id = cli_parse_number(state, option, arg);
	c->value = cli_parse_number(state, option, at + 1);
	c->is_block = separator == '=';
	*at = separator;
	if (c->dev_id >= 1 << 24)
		argp_error(state, "--%s: ids of devices are below 16777216", option);
}

static enum op_repair_stale parse_stale(struct argp_state *state, const char *arg)
{
	static const char *const words[] = {
		[REPAIR_STALE_OFFER] = "offer", [REPAIR_STALE_USE] = "use", [REPAIR_STALE_NO] = "no",
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(arg, words[i]))
			return i;
	argp_error(state, "--stale: '%s' is none of offer, use, no", arg);
	return REPAIR_STALE_OFFER;
}

/* LVM passes an empty word in front of everything else. */
static void parse_image(struct argp_state *state, struct op_repair_args *a, const char *arg)
{
	if (!*arg)
		return;
	if (a->input)
		argp_error(state, "too many words: '%s'", arg);
	a->input = arg;
}

static bool has_choice(const struct op_repair_args *a)
{
	return a->use_root || a->use_generation || a->nr_choices || a->stale != REPAIR_STALE_OFFER ||
	       a->overrides.has_transaction || a->overrides.data_block_bytes || a->overrides.nr_data_blocks;
}

static void check(struct argp_state *state, const struct door *door)
{
	const struct op_repair_args *a = &door->args;
	unsigned modes = door->is_list + door->is_in_place + (door->replay.journal != NULL) + (a->target != NULL);

	if (!a->input)
		argp_error(state, "no input: name the damaged metadata with -i");
	if (modes > 1)
		argp_error(state, "--output, --in-place, --list, --undo and --resume do different things");
	if (!modes && !a->dry_run)
		argp_error(state, "no output: name the device or file with -o");
	if (a->target && !*a->target)
		argp_error(state, "--output: the name is empty");
	if (a->use_root && a->use_generation)
		argp_error(state, "--root and --generation both choose the generation");
	if (a->journal && !door->is_in_place)
		argp_error(state, "--journal goes with --in-place");
	if (a->dry_run && (door->is_list || door->replay.journal))
		argp_error(state, "--dry-run goes with a repair, not with --list, --undo and --resume");
	if (door->is_in_place && has_choice(a))
		argp_error(state, "--in-place: what is taken can be chosen only with -o");
	if (door->device.block_size != 4096)
		argp_error(state, "--block-size: metadata has blocks of 4KiB");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct door *door = state->input;
	struct op_repair_args *a = &door->args;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &door->progress;
		state->child_inputs[1] = &door->device;
		return 0;
	case 'i': parse_image(state, a, arg); return 0;
	case 'o': a->target = arg; return 0;
	case 'q': door->quiet = true; return 0;
	case 'J': a->json = true; return 0;
	case KEY_LIST: door->is_list = true; return 0;
	case KEY_IN_PLACE: door->is_in_place = true; return 0;
	case KEY_DRY_RUN: a->dry_run = true; return 0;
	case KEY_JOURNAL: a->journal = arg; return 0;
	case KEY_UNDO: door->replay = (struct cli_replay){ arg, false }; return 0;
	case KEY_RESUME: door->replay = (struct cli_replay){ arg, true }; return 0;
	case KEY_ROOT:
		a->use_root = true;
		a->root = cli_parse_number(state, "root", arg);
		return 0;
	case KEY_GENERATION:
		a->use_generation = true;
		a->generation = cli_parse_number(state, "generation", arg);
		return 0;
	case KEY_DEVICE: parse_choice(state, door, "device", arg, '@'); return 0;
	case KEY_ASSIGN: parse_choice(state, door, "assign", arg, '='); return 0;
	case KEY_STALE: a->stale = parse_stale(state, arg); return 0;
	case KEY_ACCEPT_LOSS: a->accept_loss = true; return 0;
	case KEY_TRANSACTION_ID:
		a->overrides.has_transaction = true;
		a->overrides.transaction = cli_parse_number(state, "transaction-id", arg);
		return 0;
	case KEY_DATA_BLOCK_SIZE: a->overrides.data_block_bytes = cli_parse_data_block_size(state, arg); return 0;
	case KEY_NR_DATA_BLOCKS: a->overrides.nr_data_blocks = cli_parse_nr_data_blocks(state, arg); return 0;
	case KEY_FORCE_SIGNATURE: a->signature = arg; return 0;
	case 'h': argp_state_help(state, stdout, ARGP_HELP_STD_HELP); return 0;
	case ARGP_KEY_ARG: parse_image(state, a, arg); return 0;
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

static enum cli_status result_status(const struct door *door, const struct op_result *result)
{
	if (result->outcome != OP_DONE)
		cli_error(door->args.program, "%s", result->reason);
	return cli_status_of(result);
}

static enum cli_status open_input(struct door *door)
{
	struct op_repair_args *a = &door->args;
	enum cli_status status;

	if ((door->is_in_place && !a->dry_run) || door->replay.journal)
		door->device.flags |= BUFIO_OPEN_WRITE;
	a->may_raise_memory = !door->device.memory_limit;
	if (!stat(a->input, &door->stat))
		a->target_stat = &door->stat;
	status = cli_device_open(&door->device, a->program, a->input, REPAIR_HELD_BUFFERS);
	a->client = door->device.client;
	return status;
}

static enum cli_status list(const struct door *door)
{
	const struct op_repair_args *a = &door->args;
	struct op_dump_args args = {
		.client = a->client, .image = a->input, .program = a->program, .view = DUMP_ROOTS,
		.format = a->json ? DUMP_JSON : DUMP_HUMAN, .out_fd = STDOUT_FILENO, .progress = a->progress,
		.message_fd = a->message_fd,
	};
	struct op_result result;

	op_dump(&args, &result);
	return result.outcome == OP_DONE ? CLI_OK : result_status(door, &result);
}

static enum cli_status mend_in_place(const struct door *door)
{
	struct op_result result;

	op_repair_in_place(&door->args, &result);
	return result_status(door, &result);
}

/* --- the target --- */

static enum cli_status open_target(struct door *door)
{
	struct op_repair_args *a = &door->args;

	if (a->target_stat && cli_is_same_file(a->target_stat, a->target)) {
		cli_error(a->program, "%s: is the input; --in-place mends it where it is", a->target);
		return CLI_REFUSED;
	}
	door->target = (struct cli_device){
		.block_size = 4096, .flags = BUFIO_OPEN_WRITE, .engine = door->device.engine,
	};
	return cli_device_open(&door->target, a->program, a->target, REPAIR_HELD_BUFFERS);
}

static enum cli_status make_target(struct door *door, struct op_repair *r)
{
	struct op_repair_args *a = &door->args;
	struct op_result result = { .outcome = OP_DONE };
	enum cli_status status;
	uint64_t bytes;

	if (!op_repair_new_size(r, &bytes, &result))
		return result_status(door, &result);
	status = cli_make_target(a->program, a->target, bytes);
	a->is_new = !status;
	return status ? status : open_target(door);
}

static enum cli_status write_target(struct door *door, struct op_repair *r)
{
	struct op_repair_args *a = &door->args;
	struct op_result result = { .outcome = OP_DONE };
	enum cli_status status = CLI_OK, finished = CLI_OK;

	if (!door->target.client)
		status = make_target(door, r);
	if (!status && (!op_repair_may_write(r, door->target.client, &result) ||
			!op_repair_write(r, door->target.client, &result)))
		status = result_status(door, &result);
	if (a->is_new)
		finished = cli_finish_target(a->program, a->target, result.blocks * 4096);
	if (status || finished)
		return status ? status : finished;
	op_repair_show(r, &result);
	status = result_status(door, &result);
	if (status == CLI_LOST && door->is_named)
		cli_error(a->program, "%s: mappings are lost; the report of bufio-repair says which; --accept-loss, for "
			  "thin_repair_options of lvm.conf, takes the result all the same", a->input);
	return status;
}

static enum cli_status repair(struct door *door)
{
	struct op_repair_args *a = &door->args;
	struct op_result result;
	struct op_repair *r;
	enum cli_status status = CLI_OK;

	if (a->target && (door->is_named || cli_is_there(a->target)))
		status = open_target(door);
	else if (a->target)
		status = cli_may_be_made(a->program, a->target);
	if (status)
		return status;
	r = op_repair_open(a, &result);
	if (!r)
		return result_status(door, &result);
	if (a->target && !a->dry_run) {
		status = write_target(door, r);
	} else if (door->target.client && !op_repair_may_write(r, door->target.client, &result)) {
		status = result_status(door, &result);
	} else {
		op_repair_show(r, &result);
		status = result_status(door, &result);
	}
	op_repair_close(r);
	return status;
}

static enum cli_status run(struct door *door)
{
	if (door->replay.journal)
		return cli_replay(&door->replay, door->args.program, door->args.client, door->args.input, door->quiet);
	if (door->is_list)
		return list(door);
	if (door->is_in_place)
		return mend_in_place(door);
	return repair(door);
}

int main(int argc, char **argv)
{
	struct door door = {
		.args = { .program = cli_program(argv[0]) },
		.device = { .block_size = 4096 },
	};
	enum cli_status status;

	door.is_named = !strcmp(door.args.program, "thin_repair");
	cli_init();
	cli_progress_init();
	if (argp_parse(&argp, argc, argv, 0, NULL, &door))
		return CLI_INTERNAL;
	door.args.out_fd = door.quiet || (door.is_named && !door.args.json) ? -1 : STDOUT_FILENO;
	door.args.message_fd = door.quiet ? -1 : STDERR_FILENO;
	if (door.quiet)
		cli_be_quiet();
	status = open_input(&door);
	if (!status) {
		door.args.progress = &door.progress.counts;
		cli_progress_start(&door.progress, door.args.program, door.args.out_fd);
		status = run(&door);
		cli_progress_stop(&door.progress);
	}
	cli_device_close(&door.target, door.args.program);
	cli_device_close(&door.device, door.args.program);
	free(door.choices);
	return status;
}
