// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "text/emit.h"

#define SYSTEM_FOLDER "/var/lib/bufio"
#define MAX_TRIES 1000

/* Only the last folder may be missing. */
static int make_folder(const char *path)
{
	struct stat s;

	if (!mkdir(path, 0700))
		return 0;
	if (errno != EEXIST)
		return -errno;
	return stat(path, &s) ? -errno : S_ISDIR(s.st_mode) ? 0 : -ENOTDIR;
}

static int find_folder(char path[OP_JOURNAL_PATH_MAX])
{
	const char *state = getenv("XDG_STATE_HOME");
	int length;

	if (state && *state)
		length = snprintf(path, OP_JOURNAL_PATH_MAX, "%s/bufio", state);
	else
		length = snprintf(path, OP_JOURNAL_PATH_MAX, SYSTEM_FOLDER);
	return length >= OP_JOURNAL_PATH_MAX ? -ENAMETOOLONG : make_folder(path);
}

static const char *last_part(const char *image)
{
	const char *slash = strrchr(image, '/');

	return slash ? slash + 1 : image;
}

int op_journal_name(const char *verb, const char *image, char path[OP_JOURNAL_PATH_MAX])
{
	int r = find_folder(path);
	size_t used = strlen(path);
	time_t now = time(NULL);
	char when[32];
	struct tm tm;

	strftime(when, sizeof(when), "%Y%m%dT%H%M%S", gmtime_r(&now, &tm));
	for (unsigned i = 0; i < MAX_TRIES; i++) {
		size_t room = OP_JOURNAL_PATH_MAX - used;
		int length = snprintf(path + used, room, "/%s-%.200s-%s.%u.journal", verb, last_part(image), when, i);

		if (!r && (size_t)length >= room)
			return -ENAMETOOLONG;
		if (r || access(path, F_OK))
			return r;
	}
	return -EEXIST;
}

/* What went wrong before anything was written is a refusal, or a journal that cannot be opened. */
static enum op_outcome outcome_of(int error)
{
	switch (-error) {
	case EINVAL:
	case EPROTONOSUPPORT:
	case EBADMSG:
	case ENODATA:
	case ENODEV:
	case ESTALE:
	case EBUSY:
	case EROFS: return OP_REFUSED;
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG:
	case EACCES:
	case EPERM:
	case EISDIR: return OP_INPUT;
	case ENOMEM: return OP_INTERNAL;
	default: return OP_PARTLY;
	}
}

void op_journal_replay(struct bufio_client *client, const char *image, const char *path, bool forward,
		       struct op_result *result)
{
	struct bufio_reason why = { .text = "" };
	int r;

	*result = (struct op_result){ .outcome = OP_DONE };
	r = io_journal_replay(bufio_get_device(client), path, forward ? IO_JOURNAL_RESUME : IO_JOURNAL_UNDO, &why);
	bufio_client_reset(client);
	if (r)
		op_fail(result, outcome_of(r), r, "%s: %s", image, why.text[0] ? why.text : strerror(-r));
}

bool op_journal_read(const char *path, struct io_journal_status *status, struct op_result *result)
{
	struct bufio_reason why = { .text = "" };
	int r = io_journal_status(path, status, &why);

	*result = (struct op_result){ .outcome = OP_DONE };
	if (r) {
		op_fail(result, outcome_of(r), r, "%s", why.text[0] ? why.text : strerror(-r));
		if (result->outcome == OP_PARTLY) /* nothing writes here */
			result->outcome = OP_INPUT;
	}
	return !r;
}

static const struct {
	const char *name, *text;
} states[] = {
	[IO_JOURNAL_BEGUN] = { "begun", "was never committed: nothing was written by it" },
	[IO_JOURNAL_COMMITTED] = { "committed", "was cut short: the target may be anything between old and new; resume or undo" },
	[IO_JOURNAL_DONE] = { "done", "the target was written; it can be undone" },
	[IO_JOURNAL_UNDONE] = { "undone", "the target is as it was before; to resume does it again" },
};

void op_journal_show(const char *program, const char *path, int out_fd, bool json, struct op_result *result)
{
	struct io_journal_status s;
	struct record_journal record;
	struct text_emitter *e;
	struct text_out out;

	if (!op_journal_read(path, &s, result))
		return;
	record = (struct record_journal){
		.journal = path, .target = s.target, .state = states[s.state].name, .text = states[s.state].text,
		.target_bytes = s.target_size, .block_size = s.block_size, .blocks = s.nr_blocks,
	};
	text_out_init(&out, out_fd);
	e = text_emit_create(&(struct text_emit_args){
		.format = json ? TEXT_JSON : TEXT_HUMAN, .out = &out, .messages = &out, .program = program,
		.schema = "bufio.journal/1", .image = path });
	if (!e) {
		op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
		return;
	}
	e->visitor.begin(&e->visitor, RECORD_JOURNAL, &record);
	e->visitor.end(&e->visitor, RECORD_JOURNAL, &record);
	text_emit_finish(e);
	text_emit_destroy(e);
	if (text_out_flush(&out))
		op_fail(result, OP_OUTPUT, out.error, "output: %s", strerror(-out.error));
}
