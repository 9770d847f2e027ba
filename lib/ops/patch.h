/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * patch: what a script says is done to a copy in a journal, shown field by field, and then, if asked for, committed.
 *
 *	op_script_read()   the text is good, and every path in it can be one; nothing is opened
 *	op_patch()         with the volumes open: the plan, or all of it
 *
 * Either all that the script says is done or nothing: what is wrong on the way, an expectation that fails included, ends
 * it before the target is written.
 */
#ifndef OPS_PATCH_H
#define OPS_PATCH_H

#include <sys/stat.h>

#include "bufio/bufio.h"
#include "ops/journal.h"
#include "ops/op.h"

struct op_script;

/* Reads all of @fd, called @name. False: the result says why, with the place, in several lines. To be freed. */
bool op_script_read(const char *name, int fd, struct op_script **script, struct op_result *result);
void op_script_free(struct op_script *script); /* NULL is allowed */

/* The volumes that it is about, by number. One of them is the target; the others are sources. */
unsigned op_script_nr_volumes(const struct op_script *script);
const char *op_script_volume(const struct op_script *script, unsigned i);
unsigned op_script_target(const struct op_script *script);
uint32_t op_script_block_size(const struct op_script *script);

/* At most so many buffers of a client are held. */
#define PATCH_HELD_BUFFERS 20

struct op_patch_args {
	const char *program;
	const struct op_script *script;
	struct op_patch_volume {
		const char *path;            /* for messages */
		struct bufio_client *client; /* blocks as op_script_block_size() */
		const struct stat *stat;     /* NULL: not known */
	} *volumes; /* as many as the script has, in its order */
	bool is_applied;     /* else it is a plan, and the target may be open for reading only */
	const char *digest;  /* that the plan must have, or NULL */
	/* Asked when the plan was shown and before it is applied, or NULL: false ends it. */
	bool (*confirm)(void *context, const char *digest);
	void *context;
	const char *journal;   /* NULL: op_journal_name() finds one */
	const char *signature; /* foreign one that the target may have, or NULL */
	int out_fd;            /* -1: nothing is shown */
	bool json, verbose, is_coloured;
	struct op_progress *progress; /* or NULL */
};

/*
 * *@result is filled in any case. result->differs: it is a plan, and would change something. Outcomes besides the usual:
 * OP_EXPECT, an expectation failed or something is not as the script takes it to be; OP_PARTLY, the target was begun,
 * and the journal, which the reason names, undoes or finishes it; OP_DIFFERS, it was applied, and is not as it should be.
 */
void op_patch(const struct op_patch_args *args, struct op_result *result);

#endif
