// SPDX-License-Identifier: LGPL-2.1-or-later
/* bufio-copy --script: volumes for the names of a script, and asking before it is applied. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/copy.h"
#include "ops/patch.h"

struct run {
	struct copy_door *door;
	struct op_script *script;
	struct op_patch_volume *volumes;
	struct cli_device *devices;
	struct stat *stats;
	unsigned nr; /* of each of them */
};

static enum cli_status fail(const struct run *r, const struct op_result *result)
{
	cli_error(r->door->program, "%s", result->reason);
	return cli_status_of(result);
}

static enum cli_status read_script(struct run *r)
{
	bool is_input = !strcmp(r->door->file, "-");
	struct op_result result = { .outcome = OP_DONE };
	int fd = is_input ? STDIN_FILENO : open(r->door->file, O_RDONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0) {
		cli_error(r->door->program, "%s: %s", r->door->file, strerror(errno));
		return CLI_IO;
	}
	ok = op_script_read(is_input ? "standard input" : r->door->file, fd, &r->script, &result);
	if (!is_input)
		close(fd);
	return ok ? CLI_OK : fail(r, &result);
}

/* --- names --- */

__attribute__((format(printf, 2, 3))) static enum cli_status wrong_word(const struct run *r, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	cli_error(r->door->program, "%s", text);
	return CLI_USAGE;
}

static int volume_called(const struct run *r, const char *word, size_t length)
{
	for (unsigned i = 0; i < r->nr; i++) {
		const char *name = op_script_volume(r->script, i);

		if (strlen(name) == length && !memcmp(name, word, length))
			return (int)i;
	}
	return -1;
}

static enum cli_status bind_word(struct run *r, const char *word)
{
	const char *equals = strchr(word, '=');
	int i = equals ? volume_called(r, word, (size_t)(equals - word)) : -1;

	if (!equals)
		return wrong_word(r, "'%s': volumes are given as NAME=PATH, such as %s=%s", word, op_script_volume(r->script, 0), word);
	if (i < 0)
		return wrong_word(r, "'%s': the script has no volume of that name", word);
	if (r->volumes[i].path)
		return wrong_word(r, "'%s': %s was given before", word, op_script_volume(r->script, (unsigned)i));
	if (!equals[1])
		return wrong_word(r, "'%s': the path is empty", word);
	r->volumes[i].path = equals + 1;
	return CLI_OK;
}

static enum cli_status bind_words(struct run *r)
{
	enum cli_status status = CLI_OK;

	r->nr = op_script_nr_volumes(r->script);
	r->volumes = calloc(r->nr, sizeof(*r->volumes));
	r->devices = calloc(r->nr, sizeof(*r->devices));
	r->stats = calloc(r->nr, sizeof(*r->stats));
	if (!r->volumes || !r->devices || !r->stats) {
		cli_error(r->door->program, "out of memory");
		return CLI_INTERNAL;
	}
	for (unsigned i = 0; i < r->door->nr_words && !status; i++)
		status = bind_word(r, r->door->words[i]);
	for (unsigned i = 0; i < r->nr && !status; i++)
		if (!r->volumes[i].path)
			status = wrong_word(r, "which is %s of %s? Say it behind the options: %s=PATH", op_script_volume(r->script, i),
					    r->door->file, op_script_volume(r->script, i));
	return status;
}

/* --- opening --- */

/* One limit for all of them; a part that would be too small for a cache is refused, and then it has more. */
static void share_memory(struct run *r)
{
	for (unsigned i = 0; i < r->nr; i++)
		bufio_set_memory_limit(r->devices[i].client, bufio_get_memory_limit(r->devices[i].client) / r->nr);
}

static enum cli_status open_volume(struct run *r, unsigned i)
{
	struct op_patch_volume *v = &r->volumes[i];
	enum cli_status status;

	r->devices[i] = r->door->device;
	r->devices[i].block_size = op_script_block_size(r->script);
	if (i == op_script_target(r->script) && r->door->script.is_applied)
		r->devices[i].flags |= BUFIO_OPEN_WRITE;
	status = cli_device_open(&r->devices[i], r->door->program, v->path, PATCH_HELD_BUFFERS);
	if (status == CLI_REFUSED)
		cli_advise_snapshot(r->door->program, v->path);
	v->client = r->devices[i].client;
	if (!stat(v->path, &r->stats[i]))
		v->stat = &r->stats[i];
	return status;
}

/* Nobody else reads what is being written, and nor do we; for plans too, so that what they show can be applied. */
static enum cli_status judge_source(const struct run *r, unsigned i)
{
	unsigned target = op_script_target(r->script);
	struct stat st;

	if (i == target || stat(r->volumes[i].path, &st) || !cli_is_same_file(&st, r->volumes[target].path))
		return CLI_OK;
	cli_error(r->door->program, "%s: is both %s and %s; name its blocks as those of %s", r->volumes[i].path,
		  op_script_volume(r->script, target), op_script_volume(r->script, i), op_script_volume(r->script, target));
	return CLI_REFUSED;
}

static enum cli_status open_volumes(struct run *r)
{
	const struct cli_device *device = &r->door->device;
	enum cli_status status = CLI_OK;

	if (device->block_size != device->default_block_size && device->block_size != op_script_block_size(r->script))
		status = wrong_word(r, "--block-size: the script says %u bytes itself", op_script_block_size(r->script));
	for (unsigned i = 0; i < r->nr && !status; i++)
		status = judge_source(r, i);
	for (unsigned i = 0; i < r->nr && !status; i++)
		status = open_volume(r, i);
	if (!status)
		share_memory(r);
	return status;
}

/* --- asking --- */

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static void no_answer(int signal)
{
	(void)signal;
}

/* A signal is an answer, too: then nothing stays behind of what was not confirmed, the journal neither. */
static void take_signals(void (*handler)(int))
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = handler }; /* without SA_RESTART */

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &action, NULL);
}

/* On the terminal, whatever becomes of the output. */
static bool ask(const struct run *r, const char *digest)
{
	const char *path = r->volumes[op_script_target(r->script)].path, *name = last_part(path);
	char line[4096] = "";

	take_signals(no_answer);
	fprintf(stderr, "%s: to apply plan %s to %s, type %s: ", r->door->program, digest, path, name);
	if (!fgets(line, sizeof(line), stdin))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return !strcmp(line, name);
}

/* What has begun comes to its end: a commit that is cut short has to be finished by another run. */
static bool confirm(void *context, const char *digest)
{
	const struct run *r = context;

	if (!r->door->script.digest && !ask(r, digest))
		return false;
	take_signals(SIG_IGN);
	return true;
}

static enum cli_status may_ask(const struct copy_door *door)
{
	if (!door->script.is_applied || door->script.digest || (isatty(STDIN_FILENO) && strcmp(door->file, "-") != 0))
		return CLI_OK;
	cli_error(door->program, "--apply asks before it writes, and there is no terminal: --apply=DIGEST does not, and the plan "
		  "shows which; nothing was written");
	return CLI_REFUSED;
}

/* --- all --- */

static enum cli_status run(struct run *r)
{
	const struct copy_door *door = r->door;
	const struct copy_script_options *o = &door->script;
	struct op_patch_args args = {
		.program = door->program, .script = r->script, .volumes = r->volumes, .is_applied = o->is_applied,
		.digest = o->digest, .confirm = confirm, .context = r, .journal = o->journal, .signature = door->bulk.signature,
		.out_fd = door->quiet ? -1 : STDOUT_FILENO, .json = door->json, .verbose = o->is_verbose,
		.is_coloured = o->is_coloured, .progress = &r->door->progress.counts,
	};
	struct op_result result;

	cli_progress_start(&r->door->progress, door->program, args.out_fd);
	op_patch(&args, &result);
	cli_progress_stop(&r->door->progress);
	if (result.outcome != OP_DONE)
		return fail(r, &result);
	return result.differs && o->has_exit_code ? CLI_FINDING : CLI_OK;
}

enum cli_status copy_script(struct copy_door *door)
{
	struct run r = { .door = door };
	enum cli_status status = may_ask(door);

	if (!status)
		status = read_script(&r);
	if (!status)
		status = bind_words(&r);
	if (!status)
		status = open_volumes(&r);
	if (!status)
		status = run(&r);
	for (unsigned i = 0; i < r.nr && r.devices; i++)
		cli_device_close(&r.devices[i], door->program);
	free(r.volumes);
	free(r.devices);
	free(r.stats);
	op_script_free(r.script);
	return status;
}
