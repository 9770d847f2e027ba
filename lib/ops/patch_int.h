/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of patch share: patch.c runs a script, patch_types.c checks what can be checked without a volume,
 * patch_eval.c finds out what expressions and paths stand for, patch_expect.c compares, patch_write.c changes, and
 * patch_plan.c shows what has changed.
 */
#ifndef OPS_PATCH_INT_H
#define OPS_PATCH_INT_H

#include "base/range_set.h"
#include "meta/field_path.h"
#include "ops/patch.h"
#include "text/emit.h"
#include "text/script.h"

struct op_script {
	struct script script;
	unsigned target;
};

/* Of one run. The target's client is one of the transaction. */
struct patch_volume {
	const struct script_volume *script;
	const char *path;
	struct bufio_client *client;
	uint64_t nr_blocks;
};

/* In a volume of so many bytes each bit has a number. */
#define PATCH_MAX_BYTES (UINT64_MAX / 8)

struct patch {
	const struct op_patch_args *args;
	struct op_result *result;
	const struct script *script;
	struct patch_volume *volumes, *target;
	uint32_t block_size, image_size; /* image_size: of the transaction's blocks, at most PD_BLOCK_SIZE */
	uint64_t *lets;
	bool keeps_checksums;
	uint8_t *block; /* room for one */
	/* What was written, in rising order, none touch: bits, so that counts of a bitmap have places of their own. */
	struct range *written;
	uint64_t nr_written, max_written;
	struct range *fences; /* blocks; none: no fence */
	uint64_t nr_fences, max_fences;
	struct range *discards; /* blocks, that were filled so */
	uint64_t nr_discards, max_discards;
	/* Bytes of the limit: what the client below leaves, and of that what the tables here may still take. */
	uint64_t room, memory;
	bool is_committed;
	bool has_unkept;
	uint64_t unkept; /* block that the transaction could not take */
	struct text_out out, messages;
	struct text_emitter *emitter;
	struct bufio_device *journal;
	char journal_path[OP_JOURNAL_PATH_MAX];
};

/* Calls that return bool: false, and the result says why. */

/* What is wrong is at @place of the script. */
__attribute__((format(printf, 4, 5))) bool patch_fail(struct patch *p, enum op_outcome outcome,
						      const struct script_place *place, const char *format, ...);

/* A block of a volume could not be had: errno says why. That may be another one, for which it was to make room. */
bool patch_fail_block(struct patch *p, const struct patch_volume *v, uint64_t block);

/* --- patch_types.c --- */

/* Paths, kinds of blocks, and the block size that they need. False: @error says what is wrong where. */
bool patch_check_types(const struct script *script, char error[SCRIPT_ERROR_MAX]);

/* The kinds of blocks that @word stands for, a bit each; 0: it is no such word. */
unsigned patch_kinds(const char *word);

/* The one that blocks can be sealed as; PD_UNKNOWN: none. */
enum pd_kind patch_sealed_kind(const char *word);

/* --- patch_eval.c --- */

bool patch_number(struct patch *p, const struct script_expr *e, uint64_t *value);

/* Bytes @begin to @end - 1 of a volume: whole blocks unless there is an @. */
struct patch_extent {
	struct patch_volume *volume;
	uint64_t first, nr;      /* blocks that it is in */
	uint64_t begin, end;     /* bytes of the volume */
	bool has_at;
};

/* Inside the volume, or it is an error. */
bool patch_extent(struct patch *p, const struct script_range *r, struct patch_extent *x);

bool patch_place(struct patch *p, const struct script_field *f, struct patch_volume **volume, struct meta_place *place);

/* --- patch_expect.c --- */

bool patch_expect(struct patch *p, const struct script_op *op);

/* The extent begins with what the operation says that it was, if it says so. */
bool patch_was(struct patch *p, const struct patch_extent *x, const struct script_op *op);

/* What the volumes must be. */
bool patch_identify(struct patch *p);

/* All verify operations, with the target as it is behind @client. */
bool patch_verify(struct patch *p, struct bufio_client *client, enum op_outcome outcome);

/* --- patch_write.c --- */

bool patch_fence(struct patch *p, const struct script_op *op);
bool patch_set(struct patch *p, const struct script_op *op);
bool patch_bytes(struct patch *p, const struct script_op *op);
bool patch_copy(struct patch *p, const struct script_op *op);
bool patch_fill(struct patch *p, const struct script_op *op);
bool patch_save(struct patch *p, const struct script_op *op);
bool patch_checksum(struct patch *p, const struct script_op *op);

/* Whether a block of the target is; what cannot be read is not. */
bool patch_is_zero(struct patch *p, uint64_t block);

/* --- patch_plan.c --- */

#define PATCH_DIGEST_MAX 17

struct patch_totals {
	uint64_t blocks, bytes;
	char digest[PATCH_DIGEST_MAX]; /* of the target's size, and of all blocks that change, as they are and as they will be */
};

/* What is shown begins with what it is of; a failure of the output shows at the end. */
bool patch_show_begin(struct patch *p);

/* Shows what the transaction has changed. */
bool patch_show(struct patch *p, struct patch_totals *totals);

/* The last words. @is_applied: it was. */
bool patch_show_end(struct patch *p, const struct patch_totals *totals, bool is_applied);

#endif
