/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* check: everything that can be wrong with metadata, what it means, and what to do next. */
#ifndef OPS_CHECK_H
#define OPS_CHECK_H

#include <sys/stat.h>

#include "bufio/bufio.h"
#include "ops/op.h"

/* Two trees side by side, a third below one of them, and a space map's. */
#define CHECK_HELD_BUFFERS 96

struct op_check_args {
	struct bufio_client *client; /* of 4096-byte blocks */
	const char *image;           /* what it is called in the output, and its path */
	const char *program;         /* in front of messages */
	bool may_raise_memory;       /* the client's limit was not asked for: tables that need more get it */
	bool json;
	int out_fd;     /* the report; -1: none is wanted */
	int info_fd;    /* -1, or where thin_check's two lines go: TRANSACTION_ID, METADATA_FREE_BLOCKS */
	int message_fd; /* -1: not wanted */
	uint64_t max_problems; /* that are shown; 0: all */
	struct op_progress *progress; /* or NULL */

	bool superblock_only;
	bool skip_mappings;     /* and the space maps */
	bool ignore_non_fatal;  /* leaks do not count */
	bool use_snapshot;      /* the metadata snapshot's trees, and no space maps */
	bool has_mapping_root, has_details_root; /* as if the superblock said so, and no space maps */
	uint64_t mapping_root, details_root;

	/* The client can write. Only if nothing is wrong but what is mended. */
	bool auto_repair;        /* leaks, and wrong hints of the space maps */
	bool clear_needs_check;  /* and the same */
	bool is_repair_optional; /* if it cannot be begun that is said, and leaks do not count: it is safe to run with them */
	const char *journal;     /* a file that is made for the repair; NULL: see op_journal_name() */
	const struct stat *target_stat; /* of the image, or NULL */
};

/* *@result is filled in any case. */
void op_check(const struct op_check_args *args, struct op_result *result);

#endif
