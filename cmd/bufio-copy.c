// SPDX-License-Identifier: LGPL-2.1-or-later
/* The door of copy: argv in, exit status out. */
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/units.h"
#include "cmd/copy.h"

enum {
	KEY_RANGE = 0x200, KEY_TO, KEY_SPARSE, KEY_DISCARD, KEY_TRUNCATE, KEY_RETRIES, KEY_SKIP_BAD, KEY_MAP, KEY_VERIFY,
	KEY_RATE, KEY_FORCE_SIGNATURE, KEY_FORCE_IN_USE, KEY_USED, KEY_PACK, KEY_UNPACK, KEY_EXTENTS, KEY_SIZE
};

/* Small enough for what a bad sector costs at first; neighbours go in requests of 1 MiB. */
#define BLOCK_SIZE 65536

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "What is copied where:", 1 },
	{ "range", KEY_RANGE, "A..B", 0, "These blocks of SRC, or bytes with units: A..B without B, or A+N", 0 },
	{ "to", KEY_TO, "N", 0, "To this block of DST, or byte with a unit (default: as in SRC)", 0 },
	{ "sparse", KEY_SPARSE, "WHEN", 0,
	  "Leave out zeroes: auto (holes of SRC where DST has zeroes), always (blocks of zeroes too), never", 0 },
	{ "discard", KEY_DISCARD, NULL, 0, "Take from an old DST what becomes zeroes", 0 },
	{ "truncate", KEY_TRUNCATE, NULL, 0, "Cut a file DST that is there off behind the copy", 0 },
	{ "used", KEY_USED, NULL, 0, "Of a thin pool's metadata: what is in use, each block to its own place", 0 },
	{ "pack", KEY_PACK, NULL, 0, "The same into FILE, compressed; - is the standard output", 0 },
	{ "unpack", KEY_UNPACK, NULL, 0, "What is packed in FILE, each block to its own place", 0 },
	{ "extents", KEY_EXTENTS, "LIST", 0, "Of the data of a thin pool: one device. LIST is what 'bufio-dump mappings' prints "
	  "of it in bytes; - is the standard input", 0 },
	{ "size", KEY_SIZE, "BYTES", 0, "Size of that device (default: up to its last extent)", 0 },
	{ NULL, 0, NULL, 0, "A SRC that cannot all be read:", 2 },
	{ "map", KEY_MAP, "FILE", 0,
	  "Go on past bad places, and note in FILE, a map of ddrescue, what is done: the same command goes on with it", 0 },
	{ "skip-bad", KEY_SKIP_BAD, NULL, 0, "Go on past bad places without a map", 0 },
	{ "retries", KEY_RETRIES, "N", 0, "Read bad sectors up to N times more", 0 },
	{ NULL, 0, NULL, 0, "How:", 3 },
	{ "verify", KEY_VERIFY, "HOW", 0,
	  "Afterwards compare: readback (both ends are read), hash (DST is read), none", 0 },
	{ "rate", KEY_RATE, "SIZE", 0, "Read no more than SIZE a second", 0 },
	{ NULL, 0, NULL, 0, "Safety:", 4 },
	{ "force-signature", KEY_FORCE_SIGNATURE, "TYPE", 0, "Overwrite a DST that holds this, such as ext4", 0 },
	{ "force-in-use", KEY_FORCE_IN_USE, NULL, 0,
	  "Read a SRC that is mounted or held: what changes meanwhile is torn", 0 },
	{ NULL, 0, NULL, 0, "Output:", 5 },
	{ "json", 'J', NULL, 0, "What was copied, as JSON", 0 },
	{ "quiet", 'q', NULL, 0, "Say nothing; the exit status tells", 0 },
	{ NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1 },
	{ 0 },
};

static const char args_doc[] = "SRC DST\n--used SRC DST\n--pack SRC FILE\n--unpack FILE DST\n--extents=LIST DATA OUT";
static const char doc[] =
	"Copy a device or file, or part of one, to another.\v"
	"A DST that is not there is made, a file as large as it has to be. One that is there is never cut off unless "
	"--truncate says so. Success means that all of it is on stable media.\n\n"
	"Exit status: 0 done, 2 usage, 3 refused (in use, too small, holds something else, a map of something else), 4 "
	"cannot be read and DST is as it was, 5 DST was written and is not a whole copy, 7 what was read back is something "
	"else, 8 internal.";

/* The one of @words that @arg is; they end with NULL. */
static unsigned parse_choice(struct argp_state *state, const char *option, const char *arg, const char *const *words)
{
	char all[128] = "";

	for (unsigned i = 0; words[i]; i++) {
		if (!strcmp(arg, words[i]))
			return i;
		if (i)
			strcat(all, ", ");
		strcat(all, words[i]);
	}
	argp_error(state, "--%s: '%s' is none of %s", option, arg, all);
	return 0;
}

static const char *const sparse_words[] = {
	[COPY_SPARSE_AUTO] = "auto", [COPY_SPARSE_NEVER] = "never", [COPY_SPARSE_ALWAYS] = "always", NULL
};
static const char *const verify_words[] = {
	[COPY_VERIFY_NONE] = "none", [COPY_VERIFY_READBACK] = "readback", [COPY_VERIFY_HASH] = "hash", NULL
};

static const char *parse_name(struct argp_state *state, const char *what, const char *arg)
{
	if (!*arg)
		argp_error(state, "%s: the name is empty", what);
	return arg;
}

static void parse_word(struct argp_state *state, struct op_copy_args *a, const char *arg)
{
	if (!a->source)
		a->source = parse_name(state, "SRC", arg);
	else if (!a->target)
		a->target = parse_name(state, "DST", arg);
	else
		argp_error(state, "too many words: '%s'", arg);
}

static uint64_t parse_size(struct argp_state *state, const char *option, const char *arg, uint64_t bare)
{
	uint64_t bytes = 0;

	if (units_parse_size(arg, bare, &bytes) || bytes > INT64_MAX)
		argp_error(state, "--%s: '%s' is not a size such as 100 or 64MiB", option, arg);
	return bytes;
}

static uint64_t parse_rate(struct argp_state *state, const char *arg)
{
	uint64_t rate = parse_size(state, "rate", arg, 1);

	if (!rate)
		argp_error(state, "--rate: nothing comes to an end at 0 bytes a second");
	return rate;
}

static uint64_t parse_volume_size(struct argp_state *state, const char *arg)
{
	uint64_t size = parse_size(state, "size", arg, 1);

	if (!size || size % 512)
		argp_error(state, "--size: '%s' is no size of a device: these are in sectors of 512 bytes", arg);
	return size;
}

static unsigned parse_retries(struct argp_state *state, const char *arg)
{
	uint64_t n = cli_parse_number(state, "retries", arg);

	if (n > 1000)
		argp_error(state, "--retries: 1000 are the most");
	return (unsigned)n;
}

/* In blocks, whose size may have been said later. */
static void parse_range(struct argp_state *state, struct copy_door *door)
{
	struct op_copy_args *a = &door->bulk;
	bool in_bytes;

	if (units_parse_extent(door->range, &in_bytes, &a->begin, &a->end) ||
	    (!in_bytes && (!checked_mul(a->begin, door->device.block_size, &a->begin) ||
			   !checked_mul(a->end, door->device.block_size, &a->end))) || a->end > INT64_MAX)
		argp_error(state, "--range: '%s' is not a range such as 3..7, 3+4 or 1GiB..2GiB", door->range);
}

/* --- modes --- */

#define OF(mode) (1u << (mode))
#define PACKS (OF(COPY_USED) | OF(COPY_PACK) | OF(COPY_UNPACK))

/* Which modes an option is for; those that are not here are for all. */
static const struct limit {
	int key;
	const char *name;
	unsigned modes;
} limits[] = {
	{ KEY_RANGE, "range", OF(COPY_BULK) },
	{ KEY_TO, "to", OF(COPY_BULK) },
	{ KEY_MAP, "map", OF(COPY_BULK) },
	{ KEY_SPARSE, "sparse", OF(COPY_BULK) | OF(COPY_EXTENTS) },
	{ KEY_DISCARD, "discard", OF(COPY_BULK) | OF(COPY_EXTENTS) },
	{ KEY_TRUNCATE, "truncate", OF(COPY_BULK) | OF(COPY_EXTENTS) },
	{ KEY_SKIP_BAD, "skip-bad", OF(COPY_BULK) | OF(COPY_EXTENTS) },
	{ KEY_RETRIES, "retries", OF(COPY_BULK) | OF(COPY_EXTENTS) },
	{ KEY_VERIFY, "verify", OF(COPY_BULK) | OF(COPY_EXTENTS) },
	{ KEY_RATE, "rate", OF(COPY_BULK) | OF(COPY_EXTENTS) },
	{ KEY_SIZE, "size", OF(COPY_EXTENTS) },
	{ KEY_FORCE_IN_USE, "force-in-use", OF(COPY_BULK) | OF(COPY_EXTENTS) | OF(COPY_USED) | OF(COPY_PACK) },
	{ KEY_FORCE_SIGNATURE, "force-signature", OF(COPY_BULK) | OF(COPY_EXTENTS) | OF(COPY_USED) | OF(COPY_UNPACK) },
};

#define NR_LIMITS (sizeof(limits) / sizeof(*limits))

static const struct copy_mode_row {
	const char *option; /* that chooses it, or NULL */
	int key;
	const char *first, *second; /* what its words are */
	enum cli_status (*run)(struct copy_door *door);
} modes[NR_COPY_MODES] = {
	[COPY_BULK] = { NULL, 0, "SRC", "DST", copy_bulk },
	[COPY_EXTENTS] = { "extents", KEY_EXTENTS, "DATA", "OUT", copy_bulk },
	[COPY_USED] = { "used", KEY_USED, "SRC", "DST", copy_used },
	[COPY_PACK] = { "pack", KEY_PACK, "SRC", "FILE", copy_pack },
	[COPY_UNPACK] = { "unpack", KEY_UNPACK, "FILE", "DST", copy_unpack },
};

static void choose_mode(struct argp_state *state, struct copy_door *door, int key)
{
	for (unsigned m = 0; m < NR_COPY_MODES; m++) {
		if (!modes[m].option || modes[m].key != key)
			continue;
		if (door->mode != COPY_BULK && door->mode != m)
			argp_error(state, "--%s and --%s: only one of them", modes[door->mode].option, modes[m].option);
		door->mode = m;
	}
}

static void note_given(struct copy_door *door, int key)
{
	for (unsigned i = 0; i < NR_LIMITS; i++)
		if (limits[i].key == key)
			door->given |= 1u << i;
}

/* Metadata has blocks of its own. */
static void check_mode(struct argp_state *state, struct copy_door *door)
{
	const char *option = modes[door->mode].option;

	for (unsigned i = 0; i < NR_LIMITS; i++)
		if (door->given >> i & 1 && !(limits[i].modes & OF(door->mode)))
			argp_error(state, "--%s: goes not with %s%s", limits[i].name, option ? "--" : "a copy of all of SRC",
				   option ? option : "");
	if (!(OF(door->mode) & PACKS))
		return;
	if (door->device.block_size != BLOCK_SIZE && door->device.block_size != 4096)
		argp_error(state, "--block-size: metadata has blocks of 4KiB");
	door->device.block_size = 4096;
}

static void check(struct argp_state *state, struct copy_door *door)
{
	struct op_copy_args *a = &door->bulk;

	check_mode(state, door);
	if (!a->target)
		argp_error(state, "no %s: name what is copied, and to where",
			   a->source ? modes[door->mode].second : modes[door->mode].first);
	a->end = UINT64_MAX;
	if (door->range)
		parse_range(state, door);
	a->to = door->to ? parse_size(state, "to", door->to, door->device.block_size) : a->begin;
	if (a->retries && !a->map && !a->skip_bad)
		argp_error(state, "--retries: goes with --map or --skip-bad");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct copy_door *door = state->input;
	struct op_copy_args *a = &door->bulk;

	note_given(door, key);
	choose_mode(state, door, key);
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &door->progress;
		state->child_inputs[1] = &door->device;
		return 0;
	case KEY_RANGE: door->range = arg; return 0;
	case KEY_TO: door->to = arg; return 0;
	case KEY_SPARSE: a->sparse = parse_choice(state, "sparse", arg, sparse_words); return 0;
	case KEY_DISCARD: a->discard = true; return 0;
	case KEY_TRUNCATE: a->truncate = true; return 0;
	case KEY_MAP: a->map = parse_name(state, "--map", arg); return 0;
	case KEY_SKIP_BAD: a->skip_bad = true; return 0;
	case KEY_RETRIES: a->retries = parse_retries(state, arg); return 0;
	case KEY_VERIFY: a->verify = parse_choice(state, "verify", arg, verify_words); return 0;
	case KEY_RATE: a->rate = parse_rate(state, arg); return 0;
	case KEY_FORCE_SIGNATURE: a->signature = arg; return 0;
	case KEY_FORCE_IN_USE: door->force_in_use = true; return 0;
	case KEY_USED:
	case KEY_PACK:
	case KEY_UNPACK: return 0;
	case KEY_EXTENTS: door->extents = parse_name(state, "--extents", arg); return 0;
	case KEY_SIZE: door->size = parse_volume_size(state, arg); return 0;
	case 'J': door->json = true; return 0;
	case 'q': door->quiet = true; return 0;
	case 'h': argp_state_help(state, stdout, ARGP_HELP_STD_HELP); return 0;
	case ARGP_KEY_ARG: parse_word(state, a, arg); return 0;
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

int main(int argc, char **argv)
{
	struct copy_door door = {
		.program = cli_program(argv[0]),
		.device = { .block_size = BLOCK_SIZE, .default_block_size = BLOCK_SIZE },
	};

	cli_init();
	cli_progress_init();
	if (argp_parse(&argp, argc, argv, 0, NULL, &door))
		return CLI_INTERNAL;
	if (door.quiet)
		cli_be_quiet();
	return modes[door.mode].run(&door);
}
