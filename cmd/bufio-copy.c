// SPDX-License-Identifier: LGPL-2.1-or-later
/* The door of copy: argv in, exit status out. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/units.h"
#include "cmd/copy.h"

enum {
	KEY_RANGE = 0x200, KEY_TO, KEY_SPARSE, KEY_DISCARD, KEY_TRUNCATE, KEY_RETRIES, KEY_SKIP_BAD, KEY_MAP, KEY_VERIFY,
	KEY_RATE, KEY_FORCE_SIGNATURE, KEY_FORCE_IN_USE, KEY_SCRIPT, KEY_APPLY, KEY_JOURNAL, KEY_UNDO, KEY_RESUME, KEY_STATUS,
	KEY_EXIT_CODE, KEY_VERBOSE, KEY_COLOR
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
	{ NULL, 0, NULL, 0, "A SRC that cannot all be read:", 2 },
	{ "map", KEY_MAP, "FILE", 0, "Go on past bad places, and note in FILE, a map of ddrescue, what is done: the same command "
	  "goes on with it", 0 },
	{ "skip-bad", KEY_SKIP_BAD, NULL, 0, "Go on past bad places without a map", 0 },
	{ "retries", KEY_RETRIES, "N", 0, "Read bad sectors up to N times more", 0 },
	{ NULL, 0, NULL, 0, "How:", 3 },
	{ "verify", KEY_VERIFY, "HOW", 0, "Afterwards compare: readback (both ends are read), hash (DST is read), none", 0 },
	{ "rate", KEY_RATE, "SIZE", 0, "Read no more than SIZE a second", 0 },
	{ NULL, 0, NULL, 0, "Changes instead of a copy:", 4 },
	{ "script", KEY_SCRIPT, "FILE", 0, "What is to be changed, see bufio-script(5); alone it shows the plan and writes nothing", 0 },
	{ "apply", KEY_APPLY, "DIGEST", OPTION_ARG_OPTIONAL,
	  "Do what the script says: after asking, or if the plan still has this digest", 0 },
	{ "journal", KEY_JOURNAL, "FILE", 0, "What was there before goes to this new file, for --undo", 0 },
	{ "exit-code", KEY_EXIT_CODE, NULL, 0, "Exit with 1 if the plan would change something", 0 },
	{ "undo", KEY_UNDO, "FILE", 0, "Bring back what was there before the change with this journal", 0 },
	{ "resume", KEY_RESUME, "FILE", 0, "Finish the change with this journal, or do it again after an undo", 0 },
	{ "status", KEY_STATUS, "FILE", 0, "What became of the change with this journal", 0 },
	{ NULL, 0, NULL, 0, "Safety:", 5 },
	{ "force-signature", KEY_FORCE_SIGNATURE, "TYPE", 0, "Overwrite a DST that holds this, such as ext4", 0 },
	{ "force-in-use", KEY_FORCE_IN_USE, NULL, 0, "Read a SRC that is mounted or held: what changes meanwhile is torn", 0 },
	{ NULL, 0, NULL, 0, "Output:", 6 },
	{ "json", 'J', NULL, 0, "What was copied, or the plan, as JSON", 0 },
	{ "verbose", KEY_VERBOSE, NULL, 0, "--script: all that would change, however much it is", 0 },
	{ "color", KEY_COLOR, "WHEN", 0, "--script: auto, always, never", 0 },
	{ "quiet", 'q', NULL, 0, "Say nothing; the exit status tells", 0 },
	{ NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1 },
	{ 0 },
};

static const char args_doc[] = "SRC DST\n--script=FILE NAME=PATH...\n--undo=FILE [TARGET]";
static const char doc[] =
	"Copy a device or file, or part of one, to another; or change one as a script says, all of it or nothing.\v"
	"A DST that is not there is made, a file as large as it has to be. One that is there is never cut off unless "
	"--truncate says so. Success means that all of it is on stable media.\n\n"
	"Exit status: 0 done, 1 a plan would change something (--exit-code), 2 usage or an error in the script, 3 refused (in "
	"use, too small, holds something else, a map of something else, not confirmed), 4 cannot be read and DST is as it was, "
	"5 DST was written and is not a whole copy, or the journal waits for --resume or --undo, 6 the script expected "
	"something else and nothing was written, 7 what was read back is something else, 8 internal.";

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

static void set_mode(struct argp_state *state, struct copy_door *door, enum copy_mode mode, const char *option, const char *file)
{
	if (door->mode != COPY_BULK)
		argp_error(state, "%s: one of --script, --undo, --resume, --status is enough", option);
	door->mode = mode;
	door->file = parse_name(state, option, file);
}

static void parse_apply(struct argp_state *state, struct copy_script_options *o, const char *digest)
{
	o->is_applied = true;
	o->digest = digest;
	if (digest && (strlen(digest) != 16 || strspn(digest, "0123456789abcdef") != 16))
		argp_error(state, "--apply: '%s' is not a digest, 16 hexadecimal digits as the plan shows them", digest);
}

/* As ls(1) and others do it: never where nobody sees it, or somebody does not want it. */
static bool parse_color(struct argp_state *state, const char *arg)
{
	static const char *const words[] = { "auto", "always", "never", NULL };
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
	unsigned when = parse_choice(state, "color", arg, words);

	return when == 1 || (!when && isatty(STDOUT_FILENO) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0);
}

/* --- what goes with what --- */

#define OF(mode) (1u << (mode))
#define JOURNALS (OF(COPY_UNDO) | OF(COPY_RESUME) | OF(COPY_STATUS))

/* Which options go with which modes; those that are not here go with all. */
static const struct {
	int key;
	const char *name;
	unsigned modes;
} belongs[] = {
	{ KEY_RANGE, "range", OF(COPY_BULK) },
	{ KEY_TO, "to", OF(COPY_BULK) },
	{ KEY_SPARSE, "sparse", OF(COPY_BULK) },
	{ KEY_DISCARD, "discard", OF(COPY_BULK) },
	{ KEY_TRUNCATE, "truncate", OF(COPY_BULK) },
	{ KEY_MAP, "map", OF(COPY_BULK) },
	{ KEY_SKIP_BAD, "skip-bad", OF(COPY_BULK) },
	{ KEY_RETRIES, "retries", OF(COPY_BULK) },
	{ KEY_VERIFY, "verify", OF(COPY_BULK) },
	{ KEY_RATE, "rate", OF(COPY_BULK) },
	{ KEY_FORCE_SIGNATURE, "force-signature", OF(COPY_BULK) | OF(COPY_SCRIPT) },
	{ KEY_FORCE_IN_USE, "force-in-use", OF(COPY_BULK) },
	{ KEY_APPLY, "apply", OF(COPY_SCRIPT) },
	{ KEY_JOURNAL, "journal", OF(COPY_SCRIPT) },
	{ KEY_EXIT_CODE, "exit-code", OF(COPY_SCRIPT) },
	{ KEY_VERBOSE, "verbose", OF(COPY_SCRIPT) },
	{ KEY_COLOR, "color", OF(COPY_SCRIPT) },
};

static const struct {
	const char *name;
	unsigned least_words, most_words;
	const char *words[2]; /* that are needed */
} modes[NR_COPY_MODES] = {
	[COPY_BULK] = { "a copy", 2, 2, { "SRC: name what is copied, and to where", "DST: name what is copied, and to where" } },
	[COPY_SCRIPT] = { "--script", 1, UINT_MAX, { "NAME=PATH: say what the names of the script stand for" } },
	[COPY_UNDO] = { "--undo", 0, 1, { NULL } },
	[COPY_RESUME] = { "--resume", 0, 1, { NULL } },
	[COPY_STATUS] = { "--status", 0, 0, { NULL } },
};

static void note_given(struct copy_door *door, int key)
{
	for (size_t i = 0; i < sizeof(belongs) / sizeof(*belongs); i++)
		if (belongs[i].key == key)
			door->given |= 1u << i;
}

static void check_mode(struct argp_state *state, const struct copy_door *door)
{
	for (size_t i = 0; i < sizeof(belongs) / sizeof(*belongs); i++)
		if (door->given & 1u << i && !(belongs[i].modes & OF(door->mode)))
			argp_error(state, "--%s does not go with %s", belongs[i].name, modes[door->mode].name);
	if (door->nr_words < modes[door->mode].least_words)
		argp_error(state, "no %s", modes[door->mode].words[door->nr_words]);
	if (door->nr_words > modes[door->mode].most_words)
		argp_error(state, "too many words: '%s'", door->words[modes[door->mode].most_words]);
	if (door->script.journal && !door->script.is_applied)
		argp_error(state, "--journal: goes with --apply; a plan writes nothing");
}

static void check_bulk(struct argp_state *state, struct copy_door *door)
{
	struct op_copy_args *a = &door->bulk;

	a->source = parse_name(state, "SRC", door->words[0]);
	a->target = parse_name(state, "DST", door->words[1]);
	a->end = UINT64_MAX;
	if (door->range)
		parse_range(state, door);
	a->to = door->to ? parse_size(state, "to", door->to, door->device.block_size) : a->begin;
	if (a->retries && !a->map && !a->skip_bad)
		argp_error(state, "--retries: goes with --map or --skip-bad");
}

static void check(struct argp_state *state, struct copy_door *door)
{
	check_mode(state, door);
	if (door->mode == COPY_BULK)
		check_bulk(state, door);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct copy_door *door = state->input;
	struct op_copy_args *a = &door->bulk;

	note_given(door, key);
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
	case 'J': door->json = true; return 0;
	case 'q': door->quiet = true; return 0;
	case 'h': argp_state_help(state, stdout, ARGP_HELP_STD_HELP); return 0;
	case KEY_SCRIPT: set_mode(state, door, COPY_SCRIPT, "--script", arg); return 0;
	case KEY_UNDO: set_mode(state, door, COPY_UNDO, "--undo", arg); return 0;
	case KEY_RESUME: set_mode(state, door, COPY_RESUME, "--resume", arg); return 0;
	case KEY_STATUS: set_mode(state, door, COPY_STATUS, "--status", arg); return 0;
	case KEY_APPLY: parse_apply(state, &door->script, arg); return 0;
	case KEY_JOURNAL: door->script.journal = parse_name(state, "--journal", arg); return 0;
	case KEY_EXIT_CODE: door->script.has_exit_code = true; return 0;
	case KEY_VERBOSE: door->script.is_verbose = true; return 0;
	case KEY_COLOR: door->script.is_coloured = parse_color(state, arg); return 0;
	case ARGP_KEY_ARG: door->words[door->nr_words++] = arg; return 0;
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
	static enum cli_status (*const runs[NR_COPY_MODES])(struct copy_door *) = {
		[COPY_BULK] = copy_bulk, [COPY_SCRIPT] = copy_script, [COPY_UNDO] = copy_journal, [COPY_RESUME] = copy_journal,
		[COPY_STATUS] = copy_journal,
	};
	struct copy_door door = {
		.program = cli_program(argv[0]),
		.device = { .block_size = BLOCK_SIZE, .default_block_size = BLOCK_SIZE },
		.words = calloc((size_t)argc + 1, sizeof(*door.words)),
	};
	enum cli_status status;

	cli_init();
	cli_progress_init();
	if (!door.words)
		return CLI_INTERNAL;
	door.script.is_coloured = parse_color(NULL, "auto");
	if (argp_parse(&argp, argc, argv, 0, NULL, &door))
		return CLI_INTERNAL;
	if (door.quiet)
		cli_be_quiet();
	status = runs[door.mode](&door);
	free(door.words);
	return status;
}
