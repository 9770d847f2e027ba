// SPDX-License-Identifier: LGPL-2.1-or-later
/* The door of dump: argv in, exit status out. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "cmd/cli.h"
#include "ops/dump.h"

enum { KEY_FLAT = 0x200, KEY_DEV_ID, KEY_SKIP_MAPPINGS };

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "What to show:", 1 },
	{ "format", 'f', "FORMAT", 0, "human, xml or json; without a VIEW: of the mappings", 0 },
	{ "json", 'J', NULL, 0, "The view as JSON", 0 },
	{ "flat", KEY_FLAT, NULL, 0, "Mappings of every device in full, shared ones again (this is the only form so far)", 0 },
	{ "dev-id", KEY_DEV_ID, "ID", 0, "This device alone", 0 },
	{ "skip-mappings", KEY_SKIP_MAPPINGS, NULL, 0, "Superblock and devices without their mappings: fast", 0 },
	{ "metadata-snap", 'm', "BLOCK", OPTION_ARG_OPTIONAL,
	  "Look at the metadata snapshot, also of an active pool; BLOCK if not where the superblock says", 0 },
	{ 0 },
};

static const char args_doc[] = "[VIEW] IMAGE\nblock IMAGE N[..M]";
static const char doc[] =
	"Show what is in device-mapper metadata (thin-pool), damaged or not.\v"
	"VIEW is summary (the default), mappings, or block (blocks N to M-1, or N+COUNT, field by field).\n"
	"IMAGE is a block device or a file. Nothing is ever written to it.\n\n"
	"Exit status: 0 clean, 2 usage, 3 refused (in use), 4 unreadable, 8 internal, 9 mappings lost, "
	"10 not metadata, 11 damage that loses nothing.";

static const struct view {
	const char *name;
	enum dump_view view;
} views[] = {
	{ "summary", DUMP_SUMMARY },
	{ "mappings", DUMP_MAPPINGS },
	{ "block", DUMP_BLOCK },
};

static const struct format {
	const char *name;
	enum dump_format format;
} formats[] = {
	{ "human", DUMP_HUMAN },
	{ "human_readable", DUMP_HUMAN }, /* thin_dump's word */
	{ "xml", DUMP_XML },
	{ "json", DUMP_JSON },
};

#define NR(table) (sizeof(table) / sizeof(*(table)))

struct door {
	struct op_dump_args args;
	struct cli_device device;
	struct cli_output output;
	bool has_format;
	bool is_thin_dump; /* called by that name: XML of the mappings is the default */
	char *words[3];
	unsigned nr_words;
};

static void parse_format(struct argp_state *state, struct door *door, const char *arg)
{
	for (size_t i = 0; i < NR(formats); i++) {
		if (strcmp(arg, formats[i].name))
			continue;
		door->args.format = formats[i].format;
		door->has_format = true;
		return;
	}
	argp_error(state, "--format: '%s' is none of human, xml, json", arg);
}

static uint64_t parse_number(struct argp_state *state, const char *option, const char *arg)
{
	uint64_t value = 0;

	if (units_parse_number(arg, &value))
		argp_error(state, "--%s: '%s' is not a number", option, arg);
	return value;
}

static const struct view *find_view(const char *word)
{
	for (size_t i = 0; i < NR(views); i++)
		if (!strcmp(word, views[i].name))
			return &views[i];
	return NULL;
}

/* A first word alone is the image, even if it is called like a view. */
static void parse_words(struct argp_state *state, struct door *door)
{
	const struct view *view = door->nr_words > 1 ? find_view(door->words[0]) : NULL;
	unsigned first = view ? 1 : 0, wanted;

	if (!door->nr_words)
		argp_error(state, "no IMAGE: name a block device or a file");
	if (view)
		door->args.view = view->view;
	else if (door->has_format || door->is_thin_dump)
		door->args.view = DUMP_MAPPINGS;
	if (door->is_thin_dump && !view && !door->has_format)
		door->args.format = DUMP_XML;
	wanted = first + (door->args.view == DUMP_BLOCK ? 2 : 1);
	if (door->nr_words > 1 && !view)
		argp_error(state, "'%s' is no view: summary, mappings, block%s", door->words[0],
			   door->args.use_snapshot && !door->args.snapshot ?
				   "; a block number goes behind --metadata-snap= without a blank" : "");
	if (door->nr_words < wanted)
		argp_error(state, "the view 'block' wants IMAGE and a block number or a range N..M");
	if (door->nr_words > wanted)
		argp_error(state, "too many words: '%s'", door->words[wanted]);
	door->args.image = door->words[first];
	if (door->args.view == DUMP_BLOCK &&
	    units_parse_range(door->words[first + 1], &door->args.begin, &door->args.end))
		argp_error(state, "'%s' is neither a block number nor a range N..M", door->words[first + 1]);
}

static void check_combination(struct argp_state *state, const struct door *door)
{
	const struct op_dump_args *a = &door->args;

	if (a->format == DUMP_XML && a->view != DUMP_MAPPINGS)
		argp_error(state, "XML is a form of the mappings only");
	if (a->view == DUMP_BLOCK && (a->only_device || a->skip_mappings || a->use_snapshot))
		argp_error(state, "--dev-id, --skip-mappings and --metadata-snap do not go with the view 'block'");
	if (a->view != DUMP_BLOCK && door->device.block_size != 4096)
		argp_error(state, "--block-size: metadata has blocks of 4KiB; other sizes are for the view 'block'");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct door *door = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &door->output;
		state->child_inputs[1] = &door->device;
		return 0;
	case 'f':
		parse_format(state, door, arg);
		return 0;
	case 'J':
		door->args.format = DUMP_JSON;
		door->has_format |= door->is_thin_dump;
		return 0;
	case KEY_FLAT:
		return 0;
	case KEY_DEV_ID:
		door->args.only_device = true;
		door->args.dev_id = parse_number(state, "dev-id", arg);
		return 0;
	case KEY_SKIP_MAPPINGS:
		door->args.skip_mappings = true;
		return 0;
	case 'm':
		door->args.use_snapshot = true;
		door->args.snapshot = arg ? parse_number(state, "metadata-snap", arg) : 0;
		return 0;
	case ARGP_KEY_ARG:
		if (door->nr_words == NR(door->words))
			argp_error(state, "too many words: '%s'", arg);
		door->words[door->nr_words++] = arg;
		return 0;
	case ARGP_KEY_END:
		parse_words(state, door);
		check_combination(state, door);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = {
	{ &cli_output_argp, 0, NULL, 0 },
	{ &cli_device_argp, 0, NULL, 0 },
	{ 0 },
};

static const struct argp argp = { options, parse, args_doc, doc, children, NULL, NULL };

static enum cli_status dump(struct door *door)
{
	const char *program = door->args.program;
	struct op_result result;
	enum cli_status status, committed;

	door->args.client = door->device.client;
	status = cli_output_open(&door->output, program, door->args.image);
	if (status)
		return status;
	door->args.out_fd = door->output.fd;
	door->args.message_fd = door->output.quiet ? -1 : STDERR_FILENO;
	op_dump(&door->args, &result);
	if (result.outcome != OP_DONE) {
		cli_error(program, "%s", result.reason);
		cli_output_abort(&door->output);
		return cli_status_of(&result);
	}
	committed = cli_output_commit(&door->output, program);
	return committed ? committed : cli_status_of(&result);
}

int main(int argc, char **argv)
{
	struct door door = {
		.args = { .program = cli_program(argv[0]) },
		.device = { .block_size = 4096 },
	};
	enum cli_status status;

	door.is_thin_dump = !strcmp(door.args.program, "thin_dump");
	cli_init();
	if (argp_parse(&argp, argc, argv, 0, NULL, &door))
		return CLI_INTERNAL;
	if (door.args.use_snapshot)
		door.device.flags |= BUFIO_OPEN_SHARED;
	if (door.output.quiet)
		cli_be_quiet();
	status = cli_device_open(&door.device, door.args.program, door.args.image, DUMP_HELD_BUFFERS);
	if (status)
		return status;
	status = dump(&door);
	cli_device_close(&door.device, door.args.program);
	return status;
}
