// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/units.h"
#include "cmd/cli.h"
#include "ops/target.h"

const char *cli_program(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;

	return slash ? slash + 1 : argv0 ? argv0 : "bufio";
}

void cli_error(const char *program, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void cli_print_version(FILE *stream, struct argp_state *state)
{
	/* Callers of the thin_ tools parse the first line: the bare version. */
	if (!strncmp(state->name, "thin_", 5))
		fprintf(stream, "%s\n", PACKAGE_VERSION);
	else
		fprintf(stream, "%s (%s) %s\nI/O engines: uring, threads\n", state->name, PACKAGE_NAME, PACKAGE_VERSION);
}

static const enum cli_status statuses[] = {
	[OP_DONE] = CLI_OK,
	[OP_USAGE] = CLI_USAGE,
	[OP_LOST] = CLI_LOST,
	[OP_NOT_METADATA] = CLI_NOT_METADATA,
	[OP_INPUT] = CLI_IO,
	[OP_OUTPUT] = CLI_IO,
	[OP_REFUSED] = CLI_REFUSED,
	[OP_EXPECT] = CLI_EXPECT,
	[OP_PARTLY] = CLI_PARTLY,
	[OP_DIFFERS] = CLI_VERIFY,
	[OP_INTERNAL] = CLI_INTERNAL,
};

enum cli_status cli_status_of(const struct op_result *result)
{
	if (result->outcome != OP_DONE)
		return statuses[result->outcome];
	if (result->problems[SEVERITY_LOSSY])
		return CLI_LOST;
	if (result->problems[SEVERITY_FATAL] || result->problems[SEVERITY_REPAIRABLE] || result->lvm_refuses)
		return CLI_REPAIRABLE;
	if (result->unreadable)
		return CLI_IO;
	return result->differs || result->problems[SEVERITY_LEAK] ? CLI_FINDING : CLI_OK;
}

void cli_init(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	argp_err_exit_status = CLI_USAGE;
	argp_program_version_hook = cli_print_version;
}

uint64_t cli_parse_number(struct argp_state *state, const char *option, const char *arg)
{
	uint64_t value = 0;

	if (units_parse_number(arg, &value))
		argp_error(state, "--%s: '%s' is not a number", option, arg);
	return value;
}

uint64_t cli_parse_data_block_size(struct argp_state *state, const char *arg)
{
	uint64_t bytes = 0;

	if (units_parse_size(arg, 512, &bytes) || !bytes || bytes % 65536 || bytes > UINT64_C(1) << 30)
		argp_error(state, "--data-block-size: '%s' is not a multiple of 64KiB up to 1GiB", arg);
	return bytes;
}

uint64_t cli_parse_nr_data_blocks(struct argp_state *state, const char *arg)
{
	uint64_t nr = cli_parse_number(state, "nr-data-blocks", arg);

	if (!nr)
		argp_error(state, "--nr-data-blocks: a data device has at least one block");
	return nr;
}

void cli_be_quiet(void)
{
	if (!freopen("/dev/null", "w", stderr))
		fclose(stderr);
}

enum { KEY_OUTPUT = 0x180 };

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "Output:", 5 },
	{ "output", KEY_OUTPUT, "FILE", 0, "Write there; an existing file is left alone when the run fails", 0 },
	{ NULL, 'o', NULL, OPTION_ALIAS, NULL, 0 },
	{ "quiet", 'q', NULL, 0, "Say nothing on the standard error; the exit status tells", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct cli_output *o = state->input;

	switch (key) {
	case KEY_OUTPUT:
		if (!*arg)
			argp_error(state, "--output: the name is empty");
		o->path = arg;
		return 0;
	case 'o':
		o->letter = arg;
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

const struct argp cli_output_argp = { .options = options, .parser = parse };

static void free_names(struct cli_output *o)
{
	free(o->temporary);
	free(o->place);
	o->temporary = o->place = NULL;
}

static enum cli_status fail(const char *program, const char *path, const char *why)
{
	cli_error(program, "%s: %s", path, why);
	return CLI_IO;
}

static enum cli_status refuse(const char *program, const char *path, const char *why)
{
	cli_error(program, "%s: %s", path, why);
	return CLI_REFUSED;
}

/* Pipes, terminals and /dev/null are written where they are. */
static enum cli_status open_in_place(struct cli_output *o, const char *program)
{
	o->fd = open(o->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	return o->fd < 0 ? fail(program, o->path, strerror(errno)) : CLI_OK;
}

static enum cli_status open_beside(struct cli_output *o, const char *program, mode_t mode)
{
	int e;

	if (asprintf(&o->temporary, "%s.XXXXXX", o->place) < 0) {
		o->temporary = NULL;
		return fail(program, o->path, strerror(ENOMEM));
	}
	o->fd = mkostemp(o->temporary, O_CLOEXEC);
	if (o->fd >= 0 && !fchmod(o->fd, mode))
		return CLI_OK;
	e = errno;
	cli_output_abort(o);
	return fail(program, o->path, strerror(e));
}

static mode_t new_file_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

/* Where the file is that a link leads to, so that it is that one which is replaced. */
static enum cli_status open_old(struct cli_output *o, const char *program, const struct stat *st)
{
	free(o->place);
	o->place = realpath(o->path, NULL);
	if (!o->place)
		return fail(program, o->path, strerror(errno));
	return open_beside(o, program, st->st_mode & 07777);
}

bool cli_is_there(const char *path)
{
	struct stat st;

	return !stat(path, &st) || errno != ENOENT;
}

bool cli_is_same(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool cli_is_same_file(const struct stat *st, const char *input)
{
	char path[64], file[4096] = "";
	struct stat in;
	FILE *f;

	if (stat(input, &in))
		return false;
	if (cli_is_same(st, &in) || !S_ISBLK(in.st_mode))
		return cli_is_same(st, &in);
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/loop/backing_file", major(in.st_rdev), minor(in.st_rdev));
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(file, sizeof(file), f))
		*file = '\0';
	fclose(f);
	file[strcspn(file, "\n")] = '\0';
	return !stat(file, &in) && cli_is_same(st, &in);
}

/* Device nodes are no place for output, and a mistyped one must not become a file in memory. */
static bool is_under_dev(const char *path)
{
	char *copy = strdup(path), *folder = copy ? realpath(dirname(copy), NULL) : NULL;
	bool is = folder && (!strcmp(folder, "/dev") || !strncmp(folder, "/dev/", 5)) && strncmp(folder, "/dev/shm", 8);

	free(folder);
	free(copy);
	return is;
}

enum cli_status cli_may_be_made(const char *program, const char *path)
{
	struct stat link;

	if (is_under_dev(path))
		return refuse(program, path, "does not exist; no file is made under /dev");
	if (!lstat(path, &link))
		return refuse(program, path, "is a link to what does not exist");
	return CLI_OK;
}

static const char *volatile to_be_removed;

static void on_signal(int number)
{
	if (to_be_removed)
		unlink(to_be_removed);
	signal(number, SIG_DFL);
	raise(number);
}

void cli_remove_if_stopped(const char *path)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction before;

	to_be_removed = path;
	for (size_t i = 0; path && i < sizeof(signals) / sizeof(*signals); i++)
		if (!sigaction(signals[i], NULL, &before) && before.sa_handler != SIG_IGN)
			signal(signals[i], on_signal);
}

enum cli_status cli_make_target(const char *program, const char *path, uint64_t bytes)
{
	enum cli_status status = cli_may_be_made(program, path);
	int e = status ? 0 : target_make_file(path, bytes);

	if (e)
		return fail(program, path, strerror(-e));
	if (!status)
		cli_remove_if_stopped(path);
	return status;
}

enum cli_status cli_finish_target(const char *program, const char *path, uint64_t bytes)
{
	int e = bytes ? target_finish_file(path, bytes) : 0;

	if (!bytes || e)
		unlink(path);
	cli_remove_if_stopped(NULL);
	return e ? fail(program, path, strerror(-e)) : CLI_OK;
}

static enum cli_status open_new(struct cli_output *o, const char *program)
{
	enum cli_status status = cli_may_be_made(program, o->path);

	return status ? status : open_beside(o, program, new_file_mode());
}

static enum cli_status open_path(struct cli_output *o, const char *program, const char *input)
{
	struct stat st;

	o->place = strdup(o->path);
	if (!o->place)
		return fail(program, o->path, strerror(ENOMEM));
	if (stat(o->path, &st)) {
		if (errno != ENOENT)
			return fail(program, o->path, strerror(errno));
		return open_new(o, program);
	}
	if (S_ISBLK(st.st_mode))
		return refuse(program, o->path, "is a block device, and the output is a file");
	if (cli_is_same_file(&st, input) || (o->input2 && cli_is_same_file(&st, o->input2)))
		return refuse(program, o->path, "is the input");
	return S_ISREG(st.st_mode) ? open_old(o, program, &st) : open_in_place(o, program);
}

enum cli_status cli_output_open(struct cli_output *o, const char *program, const char *input)
{
	enum cli_status status;

	o->fd = STDOUT_FILENO;
	o->temporary = o->place = NULL;
	if (!o->path)
		return CLI_OK;
	o->fd = -1;
	status = open_path(o, program, input);
	if (status)
		cli_output_abort(o);
	return status;
}

enum cli_status cli_output_commit(struct cli_output *o, const char *program)
{
	int e = 0;

	if (!o->path)
		return CLI_OK;
	if (o->temporary && fsync(o->fd))
		e = errno;
	if (close(o->fd) && !e)
		e = errno;
	if (!e && o->temporary && rename(o->temporary, o->place))
		e = errno;
	if (e && o->temporary)
		unlink(o->temporary);
	free_names(o);
	return e ? fail(program, o->path, strerror(e)) : CLI_OK;
}

void cli_output_abort(struct cli_output *o)
{
	if (!o->path)
		return;
	if (o->fd >= 0)
		close(o->fd);
	if (o->temporary)
		unlink(o->temporary);
	free_names(o);
}
