/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What bufio-copy does besides copying: each mode is a file. All return the exit status, and have printed what went wrong. */
#ifndef CMD_COPY_MODES_H
#define CMD_COPY_MODES_H

#include "cmd/cli.h"

struct copy_script {
	const char *program, *file;
	char **words; /* NAME=PATH */
	unsigned nr_words;
	bool is_applied;
	const char *digest;    /* NULL: --apply asks */
	const char *journal;   /* NULL: where journals go */
	const char *signature; /* of the target, that may be patched; or NULL */
	bool has_exit_code;    /* a plan that would change something is a finding */
	bool json, verbose, is_quiet, is_coloured;
};

/* @device has the options for devices, and is not open. */
enum cli_status copy_script(const struct copy_script *c, const struct cli_device *device, struct cli_progress *progress);

enum copy_journal_what { COPY_UNDO, COPY_RESUME, COPY_STATUS };

struct copy_journal {
	const char *program, *file;
	enum copy_journal_what what;
	const char *target; /* NULL: the one that the journal names */
	bool json, is_quiet;
};

enum cli_status copy_journal(const struct copy_journal *c, const struct cli_device *device);

#endif
