/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door of copy: what its options are read into, and its modes, each a file copy_MODE.c. */
#ifndef CMD_COPY_H
#define CMD_COPY_H

#include "cmd/cli.h"
#include "ops/copy.h"

enum copy_mode {
	COPY_BULK, /* SRC DST */
	COPY_SCRIPT,
	COPY_UNDO,
	COPY_RESUME,
	COPY_STATUS,
	NR_COPY_MODES
};

struct copy_door {
	enum copy_mode mode;
	const char *program;
	struct cli_device device; /* what the options say of every device */
	struct cli_progress progress;
	bool quiet, json;
	const char *range, *to; /* as they were given; the bulk args have them in bytes */
	struct op_copy_args bulk;
	bool force_in_use; /* a source that others use is read */
	unsigned given;    /* options of single modes, a bit each */
	const char **words; /* what is no option, in its order */
	unsigned nr_words;
	const char *file; /* the script, or the journal */
	struct copy_script_options {
		bool is_applied, has_exit_code, is_verbose, is_coloured;
		const char *digest;  /* NULL: --apply asks */
		const char *journal; /* NULL: where journals go */
	} script;
};

/* SRC to DST. */
enum cli_status copy_bulk(struct copy_door *door);

/* A script, and NAME=PATH for each of its volumes. */
enum cli_status copy_script(struct copy_door *door);

/* Undo, resume, status: a journal, and the target if it is not where the journal says. */
enum cli_status copy_journal(struct copy_door *door);

#endif
