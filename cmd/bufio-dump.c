// SPDX-License-Identifier: LGPL-2.1-or-later
/* The door of dump: argv in, exit status out. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "cmd/cli.h"
#include "cmd/dump_names.h"
#include "ops/dump.h"

enum {
	KEY_FLAT = 0x200, KEY_DEV_ID, KEY_SKIP_MAPPINGS, KEY_ROOT, KEY_LVM_BACKUP, KEY_SHARED, KEY_BYTES, KEY_COLUMNS,
	KEY_NO_HEADERS, KEY_LIST, KEY_DATA, KEY_VERBOSE, KEY_SVG, KEY_DATA_SIZE, KEY_DATA_BLOCK_SIZE, KEY_MAX_THINS,
	KEY_TRANSACTION_ID, KEY_NR_DATA_BLOCKS, KEY_LVM_POOL, KEY_AS_SCRIPT,
};

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "What to look at:", 1 },
	{ "dev-id", KEY_DEV_ID, "ID", 0, "This device alone", 0 },
	{ "lvm-backup", KEY_LVM_BACKUP, "FILE", 0, "LVM's text backup of the volume group: names beside device ids", 0 },
	{ "lvm-pool", KEY_LVM_POOL, "NAME", 0, "Which thin pool of that backup; else the one that fits best", 0 },
	{ "metadata-snap", 'm', "BLOCK", OPTION_ARG_OPTIONAL,
	  "Look at the metadata snapshot, also of an active pool; BLOCK if not where the superblock says", 0 },
	{ "repair", 'r', NULL, 0, "Where superblock or roots are dead: look through the best generation that can be found", 0 },
	{ "root", KEY_ROOT, "BLOCK", 0, "Look through an older root, as the view 'roots' lists them", 0 },
	{ "skip-mappings", KEY_SKIP_MAPPINGS, NULL, 0, "Superblock and devices without their mappings: fast", 0 },
	{ NULL, 0, NULL, 0, "Instead of what the superblock says:", 2 },
	{ "data-block-size", KEY_DATA_BLOCK_SIZE, "SECTORS", 0, "Size of a data block in sectors, or with a unit", 0 },
	{ "nr-data-blocks", KEY_NR_DATA_BLOCKS, "N", 0, "Blocks of the data device", 0 },
	{ "transaction-id", KEY_TRANSACTION_ID, "N", 0, "Transaction of the pool", 0 },
	{ NULL, 0, NULL, 0, "How to show it:", 3 },
	{ "format", 'f', "FORMAT", 0, "human, xml or json; without a VIEW: of the mappings", 0 },
	{ "json", 'J', NULL, 0, "The view as JSON", 0 },
	{ NULL, 0, NULL, 0, "Of single views:", 4 },
	{ "shared", KEY_SHARED, NULL, 0, "summary: count exclusive and shared blocks too", 0 },
	{ "columns", KEY_COLUMNS, "NAMES", 0, "ls: these columns, with commas between them", 0 },
	{ "no-headers", KEY_NO_HEADERS, NULL, 0, "ls: no line with the names of the columns", 0 },
	{ "flat", KEY_FLAT, NULL, 0, "mappings: of every device in full, shared ones again", 0 },
	{ "bytes", KEY_BYTES, NULL, 0, "mappings: extents in bytes, virtual start, data start, length", 0 },
	{ "data", KEY_DATA, NULL, 0, "owner: N is a data block; who maps it", 0 },
	{ "list", KEY_LIST, "FILE", 0, "owner: further ranges from FILE, also a map file of ddrescue", 0 },
	{ "verbose", KEY_VERBOSE, NULL, 0, "delta: with the data blocks; diff: every difference", 0 },
	{ "as-script", KEY_AS_SCRIPT, NULL, 0, "diff: a script that turns IMAGE into IMAGE2, for bufio-copy", 0 },
	{ "svg", KEY_SVG, "FILE", 0, "map: a picture", 0 },
	{ "data-size", KEY_DATA_SIZE, "SIZE", 0, "size: of the data device", 0 },
	{ "max-thins", KEY_MAX_THINS, "N", 0, "size: thin devices and snapshots at most", 0 },
	{ NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1 }, /* of the thin-provisioning tools */
	{ 0 },
};

static const char args_doc[] = "[VIEW] IMAGE [WORD...]";
static const char doc[] =
	"Show what is in device-mapper metadata (thin-pool), damaged or not.\v"
	"VIEW is one of:\n"
	"  summary IMAGE            one screen: state, devices, problems (the default)\n"
	"  ls IMAGE                 devices, in chosen columns\n"
	"  mappings IMAGE           every device with its mappings\n"
	"  block IMAGE N[..M]       blocks field by field\n"
	"  path IMAGE DEV VBLOCK    from the superblock to the data of a virtual block\n"
	"  owner IMAGE N[..M]...    what metadata blocks are for, and what depends on them\n"
	"  bad IMAGE                blocks that cannot be used, and what that costs\n"
	"  delta IMAGE A B          two devices compared\n"
	"  diff IMAGE IMAGE2        two images compared\n"
	"  map IMAGE                what every metadata block is\n"
	"  roots IMAGE              generations that can still be found\n"
	"  size [IMAGE]             how much metadata is needed\n"
	"IMAGE is a block device or a file. Nothing is ever written to it. "
	"A side of a delta is a device id; DEV@snap is that device in the metadata snapshot, DEV@BLOCK in the generation "
	"of that root, @BLOCK the device tree with this root.\n\n"
	"Exit status: 0 clean, 1 the images of a diff differ, 2 usage, 3 refused (in use), 4 unreadable, 8 internal, 9 mappings lost, "
	"10 not metadata, 11 damage that loses nothing.";

#define NR(table) (sizeof(table) / sizeof(*(table)))
#define MANY 1000000

struct door {
	struct op_dump_args args;
	struct cli_device device, device2;
	struct cli_output output, svg;
	struct cli_progress progress;
	bool has_format;
	const char *odd_format; /* none of the known ones: for ls they are columns */
	bool is_thin_dump; /* called by that name: XML of the mappings is the default */
	unsigned given;    /* options of single views: bits of enum option_bit */
	char **words;
	unsigned nr_words;
	struct op_range *ranges;
};

/* --- words of the views --- */

static void parse_nothing(struct argp_state *state, struct door *door, char **words, unsigned nr)
{
	(void)state;
	(void)door;
	(void)words;
	(void)nr;
}

static void allocate_ranges(struct argp_state *state, struct door *door, unsigned nr)
{
	door->ranges = calloc(nr + 1, sizeof(*door->ranges));
	if (!door->ranges)
		argp_failure(state, CLI_INTERNAL, 0, "out of memory");
	door->args.ranges = door->ranges;
	door->args.nr_ranges = nr;
}

static void parse_ranges(struct argp_state *state, struct door *door, char **words, unsigned nr)
{
	allocate_ranges(state, door, nr);
	for (unsigned i = 0; i < nr; i++)
		if (units_parse_range(words[i], &door->ranges[i].begin, &door->ranges[i].end))
			argp_error(state, "'%s' is neither a block number nor a range N..M", words[i]);
}

/* The same, or of bytes. */
static void parse_extents(struct argp_state *state, struct door *door, char **words, unsigned nr)
{
	allocate_ranges(state, door, nr);
	for (unsigned i = 0; i < nr; i++) {
		struct op_range *r = &door->ranges[i];

		if (units_parse_extent(words[i], &r->in_bytes, &r->begin, &r->end))
			argp_error(state, "'%s' is no block number N, no range N..M or N+COUNT, and none of bytes "
				   "such as 1GiB..2GiB or 123456s", words[i]);
	}
}

static void parse_path(struct argp_state *state, struct door *door, char **words, unsigned nr)
{
	(void)nr;
	door->args.only_device = true;
	if (units_parse_number(words[0], &door->args.dev_id))
		argp_error(state, "'%s' is not a device id", words[0]);
	if (units_parse_number(words[1], &door->args.virtual_block))
		argp_error(state, "'%s' is not a virtual block number", words[1]);
}

static void parse_side(struct argp_state *state, const char *word, struct op_side *side)
{
	char *dev = strdup(word), *at = strchr(word, '@');
	size_t len = strcspn(word, "@");

	*side = (struct op_side){ .has_dev = len, .of = SIDE_LIVE };
	if (dev)
		dev[len] = '\0';
	if (!dev || (len && units_parse_number(dev, &side->dev_id)))
		argp_error(state, "'%s' is not a device id", word);
	free(dev);
	if (at && len && !strcmp(at + 1, "snap"))
		side->of = SIDE_SNAPSHOT;
	else if (at)
		side->of = SIDE_ROOT;
	if (side->of == SIDE_ROOT && units_parse_number(at + 1, &side->root))
		argp_error(state, "'%s': '%s' is no block number", word, at + 1);
	if (!at && !len)
		argp_error(state, "a side of a delta is empty: DEV, DEV@snap, DEV@BLOCK or @BLOCK");
}

static void parse_delta(struct argp_state *state, struct door *door, char **words, unsigned nr)
{
	(void)nr;
	parse_side(state, words[0], &door->args.left);
	parse_side(state, words[1], &door->args.right);
}

static void parse_image2(struct argp_state *state, struct door *door, char **words, unsigned nr)
{
	(void)state;
	(void)nr;
	door->args.image2 = words[0];
}

static const struct view {
	const char *name, *words; /* behind IMAGE */
	enum dump_view view;
	unsigned min, max; /* of these words */
	void (*parse)(struct argp_state *state, struct door *door, char **words, unsigned nr);
} views[] = {
	{ "summary", "", DUMP_SUMMARY, 0, 0, parse_nothing },
	{ "ls", "", DUMP_LS, 0, 0, parse_nothing },
	{ "mappings", "", DUMP_MAPPINGS, 0, 0, parse_nothing },
	{ "block", "a block number or a range N..M", DUMP_BLOCK, 1, 1, parse_ranges },
	{ "path", "a device id and a virtual block", DUMP_PATH, 2, 2, parse_path },
	{ "owner", "block numbers or ranges N..M, or --list", DUMP_OWNER, 0, MANY, parse_extents },
	{ "bad", "", DUMP_BAD, 0, 0, parse_nothing },
	{ "delta", "two devices", DUMP_DELTA, 2, 2, parse_delta },
	{ "diff", "a second image", DUMP_DIFF, 1, 1, parse_image2 },
	{ "map", "", DUMP_MAP, 0, 0, parse_nothing },
	{ "roots", "", DUMP_ROOTS, 0, 0, parse_nothing },
	{ "size", "", DUMP_SIZE, 0, 0, parse_nothing },
};

static const struct view *find_view(const char *word)
{
	for (size_t i = 0; i < NR(views); i++)
		if (!strcmp(word, views[i].name))
			return &views[i];
	return NULL;
}

static bool plans_a_pool(const struct op_dump_args *a)
{
	return a->data_bytes || a->overrides.data_block_bytes || a->max_thins;
}

/* A first word alone is the image, even if it is called like a view; but 'size' needs none. */
static const struct view *choose_view(struct door *door, unsigned *first)
{
	const struct view *view = door->nr_words ? find_view(door->words[0]) : NULL;

	*first = 1;
	if (view && (door->nr_words > 1 || (view->view == DUMP_SIZE && plans_a_pool(&door->args))))
		return view;
	*first = 0;
	if (door->nr_words > 1)
		return NULL;
	return door->has_format || door->is_thin_dump ? &views[DUMP_MAPPINGS] : &views[DUMP_SUMMARY];
}

static void parse_words(struct argp_state *state, struct door *door)
{
	unsigned first, nr;
	const struct view *view = choose_view(door, &first);

	if (!door->nr_words)
		argp_error(state, "no IMAGE: name a block device or a file");
	if (!view)
		argp_error(state, "'%s' is no view: --help lists them%s", door->words[0],
			   door->args.use_snapshot && !door->args.snapshot ?
				   "; a block number goes behind --metadata-snap= without a blank" : "");
	door->args.view = view->view;
	if (door->is_thin_dump && !first && !door->has_format)
		door->args.format = DUMP_XML;
	if (view->view == DUMP_SIZE && door->nr_words == 1)
		return;
	nr = door->nr_words - first - 1;
	if (nr < view->min || (view->view == DUMP_OWNER && !nr && !door->args.list))
		argp_error(state, "the view '%s' wants IMAGE and %s", view->name, view->words);
	if (nr > view->max)
		argp_error(state, "too many words: '%s'", door->words[first + 1 + view->max]);
	door->args.image = door->words[first];
	view->parse(state, door, door->words + first + 1, nr);
}

/* --- options --- */

#define OF(view) (1u << (view))
#define POOL_VIEWS (OF(DUMP_SUMMARY) | OF(DUMP_LS) | OF(DUMP_MAPPINGS) | OF(DUMP_PATH) | OF(DUMP_OWNER) | OF(DUMP_BAD))
#define SNAPSHOT_VIEWS (POOL_VIEWS | OF(DUMP_DELTA) | OF(DUMP_SIZE))
#define ALL_VIEWS (OF(NR_DUMP_VIEWS) - 1)

/* Which options go with which views; those that are not here go with all. */
static const struct {
	int key;
	const char *name;
	unsigned views;
} belongs[] = {
	{ KEY_DEV_ID, "dev-id", OF(DUMP_SUMMARY) | OF(DUMP_LS) | OF(DUMP_MAPPINGS) | OF(DUMP_OWNER) | OF(DUMP_BAD) },
	{ KEY_SKIP_MAPPINGS, "skip-mappings", OF(DUMP_SUMMARY) | OF(DUMP_LS) | OF(DUMP_MAPPINGS) },
	{ 'm', "metadata-snap", SNAPSHOT_VIEWS },
	{ KEY_ROOT, "root", POOL_VIEWS | OF(DUMP_DELTA) | OF(DUMP_SIZE) },
	{ KEY_LVM_BACKUP, "lvm-backup", ALL_VIEWS & ~OF(DUMP_BLOCK) },
	{ KEY_LVM_POOL, "lvm-pool", ALL_VIEWS & ~OF(DUMP_BLOCK) },
	{ KEY_SHARED, "shared", OF(DUMP_SUMMARY) },
	{ KEY_COLUMNS, "columns", OF(DUMP_LS) },
	{ KEY_NO_HEADERS, "no-headers", OF(DUMP_LS) },
	{ KEY_FLAT, "flat", OF(DUMP_MAPPINGS) },
	{ KEY_BYTES, "bytes", OF(DUMP_MAPPINGS) },
	{ KEY_DATA, "data", OF(DUMP_OWNER) },
	{ KEY_LIST, "list", OF(DUMP_OWNER) },
	{ KEY_VERBOSE, "verbose", OF(DUMP_DELTA) | OF(DUMP_DIFF) },
	{ KEY_AS_SCRIPT, "as-script", OF(DUMP_DIFF) },
	{ KEY_SVG, "svg", OF(DUMP_MAP) },
	{ KEY_DATA_SIZE, "data-size", OF(DUMP_SIZE) },
	{ 'r', "repair", POOL_VIEWS },
	{ KEY_DATA_BLOCK_SIZE, "data-block-size", POOL_VIEWS | OF(DUMP_SIZE) },
	{ KEY_NR_DATA_BLOCKS, "nr-data-blocks", POOL_VIEWS | OF(DUMP_SIZE) },
	{ KEY_TRANSACTION_ID, "transaction-id", POOL_VIEWS },
	{ KEY_MAX_THINS, "max-thins", OF(DUMP_SIZE) },
};

static void note_given(struct door *door, int key)
{
	for (size_t i = 0; i < NR(belongs); i++)
		if (belongs[i].key == key)
			door->given |= 1u << i;
}

static void check_combination(struct argp_state *state, const struct door *door)
{
	const struct op_dump_args *a = &door->args;
	const char *name = views[a->view].name;

	for (size_t i = 0; i < NR(belongs); i++)
		if (door->given & 1u << i && !(belongs[i].views & OF(a->view)))
			argp_error(state, "--%s does not go with the view '%s'", belongs[i].name, name);
	if (a->format == DUMP_XML && a->view != DUMP_MAPPINGS && a->view != DUMP_DELTA)
		argp_error(state, "XML is a form of the mappings and of a delta only");
	if (a->format == DUMP_XML && a->bytes)
		argp_error(state, "--bytes: there is no XML of extents in bytes");
	if (a->view == DUMP_SIZE && a->image && a->data_bytes)
		argp_error(state, "--data-size is for a pool that is planned; that of IMAGE is known");
	if (a->use_root && a->use_snapshot)
		argp_error(state, "--root and --metadata-snap are two different places to look at");
	if (a->lvm_pool && !a->lvm_backup)
		argp_error(state, "--lvm-pool is a pool of --lvm-backup, which is not given");
	if (a->svg && door->output.path && !strcmp(a->svg, door->output.path))
		argp_error(state, "--svg and --output: one file cannot be both");
	if (a->view != DUMP_BLOCK && door->device.block_size != 4096)
		argp_error(state, "--block-size: metadata has blocks of 4KiB; other sizes are for the view 'block'");
}

static const struct format {
	const char *name;
	enum dump_format format;
} formats[] = {
	{ "human", DUMP_HUMAN },
	{ "human_readable", DUMP_HUMAN }, /* thin_dump's word */
	{ "xml", DUMP_XML },
	{ "json", DUMP_JSON },
};

static void parse_format(struct door *door, const char *arg)
{
	for (size_t i = 0; i < NR(formats); i++) {
		if (strcmp(arg, formats[i].name))
			continue;
		door->args.format = formats[i].format;
		door->has_format = true;
		return;
	}
	door->odd_format = arg;
}

/* What -o and --format mean depends on the view: for ls they choose columns, as thin_ls has it. */
static void parse_columns(struct argp_state *state, struct door *door)
{
	struct cli_output *o = &door->output;
	bool is_ls = door->args.view == DUMP_LS;

	if (is_ls && o->letter)
		door->args.columns = o->letter;
	else if (is_ls && door->odd_format)
		door->args.columns = door->odd_format;
	else if (door->odd_format)
		argp_error(state, "--format: '%s' is none of human, xml, json", door->odd_format);
	if (!is_ls && o->letter && !*o->letter)
		argp_error(state, "--output: the name is empty");
	if (!is_ls && o->letter)
		o->path = o->letter;
}

static uint64_t parse_size(struct argp_state *state, const char *option, const char *arg, unsigned unit)
{
	uint64_t value = 0;

	if (units_parse_size(arg, unit, &value) || !value)
		argp_error(state, "--%s: '%s' is not a size such as 64KiB or 1TiB", option, arg);
	return value;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct door *door = state->input;
	struct op_dump_args *a = &door->args;

	switch (key) {
	case 'h':
		argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
		return 0;
	case 'f':
		parse_format(door, arg);
		return 0;
	case 'J':
		a->format = DUMP_JSON;
		door->has_format |= door->is_thin_dump;
		return 0;
	case KEY_DEV_ID:
		a->only_device = true;
		a->dev_id = cli_parse_number(state, "dev-id", arg);
		return 0;
	case 'm':
		a->use_snapshot = true;
		if (arg && *arg == '=') /* "-m=5", as newer versions of thin_dump have it */
			arg++;
		a->snapshot = arg ? cli_parse_number(state, "metadata-snap", arg) : 0;
		return 0;
	case KEY_ROOT:
		a->use_root = true;
		a->root = cli_parse_number(state, "root", arg);
		return 0;
	case KEY_FLAT: a->flat = true; return 0;
	case KEY_SKIP_MAPPINGS: a->skip_mappings = true; return 0;
	case KEY_LVM_BACKUP: a->lvm_backup = arg; return 0;
	case KEY_LVM_POOL: a->lvm_pool = arg; return 0;
	case KEY_SHARED: a->count_shared = true; return 0;
	case KEY_COLUMNS: a->columns = arg; return 0;
	case KEY_NO_HEADERS: a->no_headers = true; return 0;
	case KEY_BYTES: a->bytes = true; return 0;
	case KEY_DATA: a->data = true; return 0;
	case KEY_LIST: a->list = arg; return 0;
	case KEY_VERBOSE: a->verbose = true; return 0;
	case KEY_AS_SCRIPT: a->as_script = true; return 0;
	case KEY_SVG:
		if (!*arg)
			argp_error(state, "--svg: the name is empty");
		a->svg = door->svg.path = arg;
		return 0;
	case 'r': a->repair = true; return 0;
	case KEY_DATA_SIZE: a->data_bytes = parse_size(state, "data-size", arg, 1); return 0;
	case KEY_DATA_BLOCK_SIZE:
		a->overrides.data_block_bytes = parse_size(state, "data-block-size", arg, 512);
		return 0;
	case KEY_NR_DATA_BLOCKS: a->overrides.nr_data_blocks = cli_parse_number(state, "nr-data-blocks", arg); return 0;
	case KEY_TRANSACTION_ID:
		a->overrides.has_transaction = true;
		a->overrides.transaction = cli_parse_number(state, "transaction-id", arg);
		return 0;
	case KEY_MAX_THINS: a->max_thins = cli_parse_number(state, "max-thins", arg); return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct door *door = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &door->output;
		state->child_inputs[1] = &door->progress;
		state->child_inputs[2] = &door->device;
		return 0;
	case ARGP_KEY_ARG:
		door->words[door->nr_words++] = arg;
		return 0;
	case ARGP_KEY_END:
		parse_words(state, door);
		parse_columns(state, door);
		check_combination(state, door);
		return 0;
	default:
		note_given(door, key);
		return parse_option(key, arg, state);
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

/* A picture is beside the output, never in place of it. */
static enum cli_status open_outputs(struct door *door)
{
	const char *program = door->args.program;
	enum cli_status status = cli_output_open(&door->output, program, door->args.image);

	if (!status && door->args.svg) {
		status = cli_output_open(&door->svg, program, door->args.image);
		if (status)
			cli_output_abort(&door->output);
	}
	door->args.out_fd = door->output.fd;
	door->args.svg_fd = door->svg.fd;
	return status;
}

static void abort_outputs(struct door *door)
{
	cli_output_abort(&door->output);
	cli_output_abort(&door->svg);
}

static enum cli_status commit_outputs(struct door *door)
{
	enum cli_status status = cli_output_commit(&door->output, door->args.program);
	enum cli_status svg = cli_output_commit(&door->svg, door->args.program);

	return status ? status : svg;
}

static enum cli_status dump(struct door *door)
{
	const char *program = door->args.program;
	struct op_result result;
	enum cli_status status;

	door->args.client = door->device.client;
	door->args.client2 = door->device2.client;
	door->output.input2 = door->args.image2;
	status = open_outputs(door);
	if (status)
		return status;
	door->args.message_fd = door->output.quiet ? -1 : STDERR_FILENO;
	door->args.progress = &door->progress.counts;
	cli_progress_start(&door->progress, program, door->args.out_fd);
	op_dump(&door->args, &result);
	cli_progress_stop(&door->progress);
	if (result.outcome != OP_DONE) {
		cli_error(program, "%s", result.reason);
		abort_outputs(door);
		return cli_status_of(&result);
	}
	status = commit_outputs(door);
	return status ? status : cli_status_of(&result);
}

static enum cli_status open_images(struct door *door)
{
	const char *program = door->args.program;
	enum cli_status status = CLI_OK;

	if (door->args.use_snapshot)
		door->device.flags |= BUFIO_OPEN_SHARED;
	door->device2 = door->device;
	if (door->args.image)
		status = cli_device_open(&door->device, program, door->args.image, DUMP_HELD_BUFFERS);
	if (status == CLI_REFUSED && OF(door->args.view) & SNAPSHOT_VIEWS)
		cli_advise_snapshot(program, door->args.image);
	if (!status && door->args.image2)
		status = cli_device_open(&door->device2, program, door->args.image2, DUMP_HELD_BUFFERS);
	return status;
}

/* Its own words, or those of the tool by whose name it was called. */
static error_t parse_all(struct door *door, int argc, char **argv)
{
	const struct argp *named = dump_names_find(door->args.program);
	struct dump_names_input input = { .args = &door->args };
	error_t e;

	if (!named)
		return argp_parse(&argp, argc, argv, 0, NULL, door);
	e = argp_parse(named, argc, argv, 0, NULL, &input);
	door->ranges = input.ranges;
	return e;
}

int main(int argc, char **argv)
{
	struct door door = {
		.args = { .program = cli_program(argv[0]) },
		.device = { .block_size = 4096 },
		.words = calloc((size_t)argc + 1, sizeof(char *)),
	};
	enum cli_status status;

	door.is_thin_dump = !strcmp(door.args.program, "thin_dump");
	cli_init();
	cli_progress_init();
	if (!door.words || parse_all(&door, argc, argv))
		return CLI_INTERNAL;
	if (door.output.quiet)
		cli_be_quiet();
	status = open_images(&door);
	if (!status)
		status = dump(&door);
	cli_device_close(&door.device2, door.args.program);
	cli_device_close(&door.device, door.args.program);
	free(door.ranges);
	free(door.words);
	return status;
}
