// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cmd/dump_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/units.h"
#include "cmd/cli.h"

enum {
	KEY_NO_HEADERS = 0x300, KEY_REGION, KEY_THIN1, KEY_THIN2, KEY_ROOT1, KEY_ROOT2, KEY_VERBOSE
};

#define HELP { NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1 }

/* The newer tools take "-m=5" for "-m5". */
static const char *without_equals(const char *arg)
{
	return arg && *arg == '=' ? arg + 1 : arg;
}

static uint64_t parse_number(struct argp_state *state, const char *what, const char *arg)
{
	uint64_t value = 0;

	if (units_parse_number(arg, &value))
		argp_error(state, "'%s' is not a %s", arg, what);
	return value;
}

static void use_snapshot(struct argp_state *state, struct op_dump_args *a, const char *arg)
{
	a->use_snapshot = true;
	if (arg)
		a->snapshot = parse_number(state, "block number", without_equals(arg));
}

/* What all have in common: one word, the image, and help. */
static error_t parse_rest(int key, char *arg, struct argp_state *state)
{
	struct dump_names_input *in = state->input;

	switch (key) {
	case 'h':
		argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
		return 0;
	case ARGP_KEY_ARG:
		if (in->args->image || in->args->view == DUMP_SIZE)
			argp_error(state, "too many words: '%s'", arg);
		in->args->image = arg;
		return 0;
	case ARGP_KEY_END:
		if (!in->args->image && in->args->view != DUMP_SIZE)
			argp_error(state, "no IMAGE: name a block device or a file");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- thin_ls --- */

static const struct argp_option ls_options[] = {
	{ "metadata-snap", 'm', "BLOCK", OPTION_ARG_OPTIONAL, "Look at the metadata snapshot", 0 },
	{ "no-headers", KEY_NO_HEADERS, NULL, 0, "No line with the names of the columns", 0 },
	{ "format", 'o', "NAMES", 0, "These columns, with commas between them", 0 },
	HELP,
	{ 0 },
};

static error_t parse_ls(int key, char *arg, struct argp_state *state)
{
	struct op_dump_args *a = ((struct dump_names_input *)state->input)->args;

	switch (key) {
	case ARGP_KEY_INIT: a->view = DUMP_LS; return 0;
	case 'm': use_snapshot(state, a, arg); return 0;
	case KEY_NO_HEADERS: a->no_headers = true; return 0;
	case 'o': a->columns = arg; return 0;
	default: return parse_rest(key, arg, state);
	}
}

/* --- thin_rmap --- */

static const struct argp_option rmap_options[] = {
	{ "region", KEY_REGION, "BEGIN..END", 0, "Data blocks, END not included; may be given several times", 0 },
	HELP,
	{ 0 },
};

static void add_region(struct argp_state *state, struct dump_names_input *in, const char *arg)
{
	size_t nr = in->args->nr_ranges;
	struct op_range *ranges = reallocarray(in->ranges, nr + 1, sizeof(*ranges));

	if (!ranges)
		argp_failure(state, CLI_INTERNAL, 0, "out of memory");
	ranges[nr] = (struct op_range){ 0 };
	if (units_parse_range(arg, &ranges[nr].begin, &ranges[nr].end))
		argp_error(state, "--region: '%s' is no range BEGIN..END with BEGIN below END", arg);
	in->args->ranges = in->ranges = ranges;
	in->args->nr_ranges = nr + 1;
}

static error_t parse_rmap(int key, char *arg, struct argp_state *state)
{
	struct dump_names_input *in = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		in->args->view = DUMP_OWNER;
		in->args->data = true;
		return 0;
	case KEY_REGION:
		add_region(state, in, arg);
		return 0;
	case ARGP_KEY_END:
		if (!in->args->nr_ranges)
			argp_error(state, "no --region: name data blocks, such as 5..45");
		return parse_rest(key, arg, state);
	default:
		return parse_rest(key, arg, state);
	}
}

/* --- thin_delta --- */

static const struct argp_option delta_options[] = {
	{ "thin1", KEY_THIN1, "ID", 0, "The left side: this device", 1 },
	{ "snap1", 0, NULL, OPTION_ALIAS, NULL, 1 },
	{ "root1", KEY_ROOT1, "BLOCK", 0, "Or the device tree with this root", 1 },
	{ "thin2", KEY_THIN2, "ID", 0, "The right side", 2 },
	{ "snap2", 0, NULL, OPTION_ALIAS, NULL, 2 },
	{ "root2", KEY_ROOT2, "BLOCK", 0, "", 2 },
	{ "metadata-snap", 'm', "BLOCK", OPTION_ARG_OPTIONAL, "Look at the metadata snapshot", 3 },
	{ "verbose", KEY_VERBOSE, NULL, 0, "With the data blocks", 3 },
	HELP,
	{ 0 },
};

static bool is_given(const struct op_side *side)
{
	return side->has_dev || side->of == SIDE_ROOT;
}

static error_t parse_delta(int key, char *arg, struct argp_state *state)
{
	struct op_dump_args *a = ((struct dump_names_input *)state->input)->args;
	struct op_side *side = key == KEY_THIN1 || key == KEY_ROOT1 ? &a->left : &a->right;

	switch (key) {
	case ARGP_KEY_INIT:
		a->view = DUMP_DELTA;
		a->format = DUMP_XML;
		return 0;
	case KEY_THIN1:
	case KEY_THIN2:
		*side = (struct op_side){ .has_dev = true, .dev_id = parse_number(state, "device id", arg) };
		return 0;
	case KEY_ROOT1:
	case KEY_ROOT2:
		*side = (struct op_side){ .of = SIDE_ROOT, .root = parse_number(state, "block number", arg) };
		return 0;
	case 'm': use_snapshot(state, a, arg); return 0;
	case KEY_VERBOSE: a->verbose = true; return 0;
	case ARGP_KEY_END:
		if (!is_given(&a->left) || !is_given(&a->right))
			argp_error(state, "a side is missing: give --thin1 or --root1, and --thin2 or --root2");
		return parse_rest(key, arg, state);
	default:
		return parse_rest(key, arg, state);
	}
}

/* --- thin_metadata_size --- */

static const struct argp_option size_options[] = {
	{ "block-size", 'b', "SIZE", 0, "Of a data block, in sectors, or with one of the units bskKmMgGtTpPeE", 0 },
	{ "pool-size", 's', "SIZE", 0, "Of the data device", 0 },
	{ "max-thins", 'm', "N", 0, "Thin devices and snapshots at most", 0 },
	{ "unit", 'u', "UNIT", 0, "Of the result (default s, sectors)", 0 },
	{ "numeric-only", 'n', "short|long", OPTION_ARG_OPTIONAL, "The number alone, or with its unit behind it", 0 },
	HELP,
	{ 0 },
};

/* A number and a unit of thin_metadata_size's, in which capital letters are powers of 1000. */
static uint64_t parse_amount(struct argp_state *state, const char *option, const char *arg, char bare)
{
	size_t len = strspn(arg, "0123456789");
	char digits[32] = "", unit = arg[len] ? op_size_unit(arg + len) : bare;
	uint64_t value = 0;

	if (len < sizeof(digits))
		memcpy(digits, arg, len);
	if (!unit || units_parse_number(digits, &value) || !value ||
	    !checked_mul(value, op_size_unit_bytes(unit), &value))
		argp_error(state, "--%s: '%s' is not a size such as 128, 64k or 1t", option, arg);
	return value;
}

static void parse_numeric_only(struct argp_state *state, struct op_size_form *form, const char *arg)
{
	if (!arg)
		form->what = SIZE_NUMBER;
	else if (!strcmp(arg, "short"))
		form->what = SIZE_SHORT;
	else if (!strcmp(arg, "long"))
		form->what = SIZE_LONG;
	else
		argp_error(state, "--numeric-only: '%s' is neither short nor long", arg);
}

static void parse_unit(struct argp_state *state, struct op_size_form *form, const char *arg)
{
	form->unit = op_size_unit(arg);
	if (!form->unit)
		argp_error(state, "--unit: '%s' is none of bskKmMgGtTpPeE", arg);
}

static error_t parse_size(int key, char *arg, struct argp_state *state)
{
	struct op_dump_args *a = ((struct dump_names_input *)state->input)->args;

	switch (key) {
	case ARGP_KEY_INIT:
		a->view = DUMP_SIZE;
		a->size_form.unit = 's';
		return 0;
	case 'b': a->overrides.data_block_bytes = parse_amount(state, "block-size", arg, 's'); return 0;
	case 's': a->data_bytes = parse_amount(state, "pool-size", arg, 's'); return 0;
	case 'm': a->max_thins = parse_amount(state, "max-thins", arg, 'b'); return 0;
	case 'u': parse_unit(state, &a->size_form, without_equals(arg)); return 0;
	case 'n': parse_numeric_only(state, &a->size_form, without_equals(arg)); return 0;
	case ARGP_KEY_END:
		if (!a->overrides.data_block_bytes || !a->data_bytes || !a->max_thins)
			argp_error(state, "--block-size, --pool-size and --max-thins are all needed");
		return 0;
	default: return parse_rest(key, arg, state);
	}
}

/* --- all --- */

static const struct {
	const char *name;
	struct argp argp;
} names[] = {
	{ "thin_ls", { ls_options, parse_ls, "IMAGE", "List the thin devices of a pool.", NULL, NULL, NULL } },
	{ "thin_rmap", { rmap_options, parse_rmap, "IMAGE", "Show who maps data blocks.", NULL, NULL, NULL } },
	{ "thin_delta", { delta_options, parse_delta, "IMAGE", "Compare two thin devices.", NULL, NULL, NULL } },
	{ "thin_metadata_size",
	  { size_options, parse_size, NULL, "Tell how much metadata a pool needs.", NULL, NULL, NULL } },
};

const struct argp *dump_names_find(const char *program)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(program, names[i].name))
			return &names[i].argp;
	return NULL;
}
