// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The map of a copy, and its file.
 *
 * The file is of one source, one target and one place in each: notes in comments say so, and a file that says something
 * else is refused. It is written beside its place and moved there, so that there is always a whole one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"
#include "ops/copy_int.h"
#include "ops/target.h"

enum { NOTE_SOURCE, NOTE_TARGET, NOTE_PLACE };

static const char *const note_names[] = {
	[NOTE_SOURCE] = "another source",
	[NOTE_TARGET] = "another target",
	[NOTE_PLACE] = "another part of the source, or another place in the target",
};

static bool fail_errno(struct copy *c, const char *path, int error)
{
	op_fail(c->result, error == -ENOMEM ? OP_INTERNAL : OP_INPUT, error, "%s: %s", path, strerror(-error));
	return false;
}

/* --- notes --- */

static int write_note(char note[TEXT_LINE_MAX + 1], const char *what, const char *path, uint64_t size)
{
	char identity[IO_IDENTITY_MAX];
	int r = io_identify(path, identity);

	if (!r)
		snprintf(note, TEXT_LINE_MAX - 16, "%s %" PRIu64 " bytes, %s", what, size, identity);
	return r;
}

/* The size of the target is the one that it has while it is copied to. */
static bool write_notes(struct copy *c, struct text_map_info *notes)
{
	const struct op_copy_args *a = c->args;
	uint64_t end = a->to + c->bytes, size = a->target_device->info.size;
	int r = write_note(notes->notes[NOTE_SOURCE], "source", a->source, a->source_device->info.size);

	if (r)
		return fail_errno(c, a->source, r);
	r = write_note(notes->notes[NOTE_TARGET], "target", a->target, size < end || a->truncate ? end : size);
	if (r)
		return fail_errno(c, a->target, r);
	snprintf(notes->notes[NOTE_PLACE], sizeof(notes->notes[NOTE_PLACE]), "from %" PRIu64 " to %" PRIu64 ", %" PRIu64
		 " bytes", a->begin, a->to, c->bytes);
	return true;
}

static bool has_notes(struct copy *c, const struct text_map_info *found)
{
	if (!found->notes[0][0]) {
		op_fail(c->result, OP_REFUSED, 0,
			"%s: is a map, but does not say of which source and target; only maps of bufio-copy can be gone on with",
			c->args->map);
		return false;
	}
	for (unsigned i = 0; i < TEXT_MAP_NOTES; i++)
		if (strcmp(found->notes[i], c->notes.notes[i]) != 0) {
			op_fail(c->result, OP_REFUSED, 0, "%s: is of %s: it says \"%s\", and this is \"%s\"",
				c->args->map, note_names[i], found->notes[i], c->notes.notes[i]);
			return false;
		}
	return true;
}

/* --- reading --- */

static bool covers(struct copy *c)
{
	const struct text_map *m = &c->map;
	uint64_t begin = c->args->begin, end = begin + c->bytes;

	if (begin == end || (m->nr && m->pieces[0].begin == begin && m->pieces[m->nr - 1].end == end))
		return true;
	op_fail(c->result, OP_REFUSED, 0, "%s: its pieces are not those of bytes %" PRIu64 "..%" PRIu64, c->args->map,
		begin, end);
	return false;
}

static bool fail_read(struct copy *c, int error, const struct text_map_info *info)
{
	if (error == -E2BIG)
		op_fail(c->result, OP_INPUT, error, "%s: more than %u pieces", c->args->map, TEXT_MAP_MAX);
	else if (error == -EINVAL)
		op_fail(c->result, OP_REFUSED, 0, "%s:%" PRIu64 ": expected %s; it is not a map, or is damaged",
			c->args->map, info->line, info->expected);
	else
		return fail_errno(c, c->args->map, error);
	return false;
}

static bool read_map(struct copy *c, FILE *file)
{
	struct text_map_info found;
	int r = text_map_read(file, &c->map, &found);

	if (r)
		return fail_read(c, r, &found);
	c->is_resumed = true;
	c->had_bytes = text_map_count(&c->map, COPY_HAVE);
	text_map_replace(&c->map, TEXT_MAP_UNSCRAPED, TEXT_MAP_FAILED);
	return has_notes(c, &found) && covers(c);
}

bool copy_map_open(struct copy *c)
{
	const struct op_copy_args *a = c->args;
	FILE *file = a->map ? fopen(a->map, "re") : NULL;
	bool ok;
	int r;

	if (a->map && !file && errno != ENOENT)
		return fail_errno(c, a->map, -errno);
	ok = !a->map || write_notes(c, &c->notes);
	if (file) {
		ok = ok && read_map(c, file);
		fclose(file);
		return ok;
	}
	r = ok ? text_map_append(&c->map, a->begin, a->begin + c->bytes, TEXT_MAP_UNTRIED) : 0;
	return ok && (!r || fail_errno(c, a->source, r));
}

/* --- writing --- */

static int write_file(const struct copy *c, int fd, char doing)
{
	const struct text_map_piece *next = text_map_find(&c->map, 0, COPY_UNREAD);
	struct text_out *out = malloc(sizeof(*out));
	int r;

	if (!out)
		return -ENOMEM;
	text_out_init(out, fd);
	text_map_write(out, &c->map, &c->notes, next ? next->begin : c->args->begin + c->bytes, doing);
	r = text_out_flush(out);
	free(out);
	return r ? r : fsync(fd) ? -errno : 0;
}

static int replace_file(const struct copy *c, const char *temporary, char doing)
{
	int fd, r;

	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	r = write_file(c, fd, doing);
	if (close(fd) && !r)
		r = -errno;
	if (!r && rename(temporary, c->args->map))
		r = -errno;
	if (r)
		unlink(temporary);
	return r ? r : target_flush_folder(c->args->map);
}

int copy_map_save(const struct copy *c, char doing)
{
	char *temporary;
	int r;

	if (!c->args->map)
		return 0;
	if (asprintf(&temporary, "%s.new", c->args->map) < 0)
		return -ENOMEM;
	r = replace_file(c, temporary, doing);
	free(temporary);
	return r;
}
