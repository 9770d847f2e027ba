/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * restore: text to metadata. In three steps, so that a door can open the target in between:
 *
 *	op_restore_target()   what lies on the target may be overwritten
 *	op_restore_plan()     the text is good, and how much room it takes; nothing is written
 *	op_restore()          it is written
 */
#ifndef OPS_RESTORE_H
#define OPS_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "bufio/bufio.h"
#include "ops/op.h"

struct op_restore_args {
	const char *program;
	const char *input, *target; /* names, for messages */
	int in_fd;
	struct bufio_client *client; /* of the target, 4096-byte blocks; op_restore_plan() needs none */
	int out_fd; /* -1: nothing is said */
	bool json;
	struct {
		bool has_transaction;
		uint64_t transaction, data_block_bytes, nr_data_blocks; /* 0: as the text says */
	} overrides;
	bool count_mapped;     /* and do not mind what mapped_blocks says */
	bool is_lenient;       /* as thin_restore is: what only the kernel would mind is taken as it is */
	bool is_new;           /* the target was made for this, larger than it has to be */
	const char *signature; /* that may be overwritten, or NULL */
	uint64_t memory_limit; /* bytes, for all */
	struct op_progress *progress;
};

#define RESTORE_HELD_BUFFERS 3

/* What is known before anything is written. */
struct op_restore_plan {
	bool is_known;   /* the input could be read twice */
	uint64_t blocks; /* of metadata that it takes, but for the bitmaps of these */
	uint64_t advised_blocks;
	uint64_t needed_data_blocks;
	char replaced[160]; /* what lies on the target, or empty */
};

/* Bytes of a file that is made for this plan: what is good for the pool, or all that there can be. */
uint64_t op_restore_new_size(const struct op_restore_plan *plan);

/* Each returns true, or says in *@result why it ended. */
bool op_restore_target(const struct op_restore_args *args, struct op_restore_plan *plan, struct op_result *result);
bool op_restore_plan(const struct op_restore_args *args, struct op_restore_plan *plan, struct op_result *result);
/*
 * result->blocks is the size of the metadata, and not 0 if it was finished, even if the result could not be said: then the
 * target is good. What lies behind that in a new target is to be cut off.
 */
bool op_restore(const struct op_restore_args *args, const struct op_restore_plan *plan, struct op_result *result);

#endif
