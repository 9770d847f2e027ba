/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door of copy: what its options are read into, and its modes, each a file copy_MODE.c. */
#ifndef CMD_COPY_H
#define CMD_COPY_H

#include "cmd/cli.h"
#include "ops/copy.h"

enum copy_mode {
	COPY_BULK, /* SRC DST */
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
};

/* SRC to DST. */
enum cli_status copy_bulk(struct copy_door *door);

#endif
