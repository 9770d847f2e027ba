/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door of copy: what its options are read into, and its modes, each a file copy_MODE.c. */
#ifndef CMD_COPY_H
#define CMD_COPY_H

#include "cmd/cli.h"
#include "ops/copy.h"

enum copy_mode {
	COPY_BULK,    /* SRC DST */
	COPY_EXTENTS, /* --extents LIST DATA OUT */
	COPY_USED,    /* --used SRC DST */
	COPY_PACK,    /* --pack SRC FILE */
	COPY_UNPACK,  /* --unpack FILE DST */
	COPY_SCRIPT,  /* --script FILE NAME=PATH... */
	COPY_UNDO,    /* --undo FILE, and TARGET if it is not where the journal says */
	COPY_RESUME,
	COPY_STATUS,
	NR_COPY_MODES
};

struct copy_door {
	enum copy_mode mode;
	uint64_t given; /* options that are not for every mode, a bit each */
	const char *program;
	struct cli_device device; /* what the options say of every device */
	struct cli_progress progress;
	bool quiet, json;
	const char *range, *to; /* as they were given; the bulk args have them in bytes */
	struct op_copy_args bulk;
	const char *extents; /* list of where the bytes of a device are; "-" is the standard input */
	uint64_t size;       /* of that device; 0: up to where the last extent ends */
	bool force_in_use; /* a source that others use is read */
	const char **words; /* what is no option, in its order */
	unsigned nr_words;
	const char *file; /* the script, or the journal */
	struct copy_script_options {
		bool is_applied, has_exit_code, is_verbose, is_coloured;
		const char *digest;  /* NULL: --apply asks */
		const char *journal; /* NULL: where journals go */
	} script;
};

/* SRC to DST; with door->extents, the device that they make of SRC. */
enum cli_status copy_bulk(struct copy_door *door);

/* copy_pack.c: what is in use of a pool's metadata, to a target, into a file, and back. */
enum cli_status copy_used(struct copy_door *door);
enum cli_status copy_pack(struct copy_door *door);
enum cli_status copy_unpack(struct copy_door *door);

/* A script, and NAME=PATH for each of its volumes. */
enum cli_status copy_script(struct copy_door *door);

/* Undo, resume, status: a journal, and the target if it is not where the journal says. */
enum cli_status copy_journal(struct copy_door *door);

#endif
