/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The journals of verbs that change metadata in place: where they go, and going back. See io_journal.h. */
#ifndef OPS_JOURNAL_H
#define OPS_JOURNAL_H

#include "bufio/bufio.h"
#include "io/io_journal.h"
#include "ops/op.h"

#define OP_JOURNAL_PATH_MAX 4096

/*
 * The name of a journal that is not there yet, for @verb on @image: in the folder "bufio" of $XDG_STATE_HOME, or in
 * /var/lib/bufio, which is made. Returns 0 or -errno; @path says in either case which it would be.
 */
int op_journal_name(const char *verb, const char *image, char path[OP_JOURNAL_PATH_MAX]);

/*
 * Has the device of @client, called @image, be as it was before what the journal @path did, or with @forward as it was
 * to be. The client is idle, and knows of the change afterwards. *@result is filled in any case.
 */
void op_journal_replay(struct bufio_client *client, const char *image, const char *path, bool forward,
		       struct op_result *result);

/* What the journal @path says of itself. False: the result says why it says nothing. */
bool op_journal_read(const char *path, struct io_journal_status *status, struct op_result *result);

/* The same for people, or as JSON; -1 for @out_fd: nowhere. *@result is filled in any case. */
void op_journal_show(const char *program, const char *path, int out_fd, bool json, struct op_result *result);

#endif
