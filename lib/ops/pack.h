/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The metadata of a pool without what is not in use: copied, packed into a file, and unpacked. In steps, so that a door
 * can open what comes next in between:
 *
 *	op_used_plan()      which blocks of the source are in use      or op_unpack_plan(): the file is sound
 *	op_pack_target()    what lies on the target may be overwritten; not for op_pack()
 *	op_used_copy(), op_pack(), op_unpack()
 *
 * On a target the superblock comes last, when all else is on stable media. What was begun and not finished says so in its
 * place, and neither the kernel nor any tool takes it for a pool.
 */
#ifndef OPS_PACK_H
#define OPS_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "bufio/bufio.h"
#include "ops/op.h"

struct op_pack_args {
	const char *program;
	const char *source, *target;   /* names, for messages */
	struct bufio_client *client;   /* of the source, 4096-byte blocks and room for PACK_HELD_BUFFERS; not for unpacking */
	int packed_fd;                 /* where op_pack() writes, and op_unpack() reads */
	struct bufio_client *target_client; /* 4096-byte blocks; not for op_pack() */
	bool is_new;                   /* the target was made for this */
	const char *signature;         /* that may be overwritten, or NULL */
	int out_fd;                    /* where the result is said; -1: nowhere */
	bool json;
	uint64_t memory_limit;         /* bytes, for all */
	struct op_progress *progress;  /* or NULL */
};

#define PACK_HELD_BUFFERS 64

struct thin_used;

/* All zero at first. To be destroyed. */
struct op_pack_plan {
	struct thin_used *used;  /* of a pool; NULL: the rest is a packed file's */
	uint64_t device_bytes;   /* of the source, or of the one that was packed: how large a new target is to be */
	uint64_t end;            /* blocks that a target has at the least */
	uint64_t blocks, unreadable, packed_bytes, transaction;
	uint32_t csum;           /* of the packed file */
	bool by_contents, is_damaged;
	char replaced[160];      /* what lies on the target, or empty */
};

void op_pack_plan_destroy(struct op_pack_plan *plan);

/*
 * Each returns true, or says in *@result why it ended. result->unreadable: blocks of the source, for which zeroes stand;
 * result->keeps_target: what was written is finished and good, even if that could not be said.
 */
bool op_used_plan(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result);
bool op_unpack_plan(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result);
bool op_pack_target(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result);
bool op_used_copy(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result);
bool op_pack(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result);
bool op_unpack(const struct op_pack_args *args, struct op_pack_plan *plan, struct op_result *result);

#endif
