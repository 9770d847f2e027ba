/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * copy: bytes of one device or file to another, in bulk.
 *
 * What may be lost is looked at before anything is written: what lies on the target, whether the copy fits, whose map it
 * is that a copy is to go on with. Success means that all of it is on stable media, and was compared if that was asked for.
 */
#ifndef OPS_COPY_H
#define OPS_COPY_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "bufio/bufio.h"
#include "ops/op.h"

enum op_copy_sparse {
	COPY_SPARSE_AUTO,   /* holes of the source are not read, nor written where the target has nothing but zeroes */
	COPY_SPARSE_NEVER,  /* everything is read and written */
	COPY_SPARSE_ALWAYS, /* and blocks of zeroes are as holes */
};

enum op_copy_verify {
	COPY_VERIFY_NONE,
	COPY_VERIFY_READBACK, /* both are read again and compared */
	COPY_VERIFY_HASH,     /* the target is read again, and its hash compared with that of what was read */
};

/* Positions and sizes are in bytes. */
struct op_copy_args {
	const char *program;
	const char *source, *target; /* names, for messages and for what they lead to */
	struct bufio_device *source_device, *target_device; /* may be the same, for ranges that do not overlap */
	uint32_t block_size;   /* of requests and of what is left out when it cannot be read */
	uint64_t memory_limit; /* for all */
	uint64_t begin, end;   /* in the source, end is not included; UINT64_MAX: where the source ends */
	uint64_t to;           /* in the target */
	enum op_copy_sparse sparse;
	enum op_copy_verify verify;
	bool discard;          /* what becomes zeroes is taken from an old target, as holes or by a discard */
	bool truncate;         /* a file that is there ends where the copy does */
	bool is_new;           /* the target was made for this */
	bool skip_bad;         /* go on past what cannot be read; implied by a map */
	const char *map;       /* file that says what became of every byte, to go on with; or NULL */
	unsigned retries;      /* how often what was bad is tried again */
	uint64_t rate;         /* bytes a second; 0: no limit */
	const char *signature; /* that may be overwritten, or NULL */
	int out_fd;            /* -1: nothing is said */
	bool json;
	struct op_progress *progress;
	const volatile sig_atomic_t *stop; /* not 0: come to a clean end; or NULL */
	struct bufio_stats *stats;         /* of all passes together; or NULL */
};

/*
 * Returns true, or says in *@result why it ended. OP_PARTLY: the target was written to, and is not a whole copy; so also
 * when something of the source could not be read and was left out. OP_DIFFERS: it was written, and what was read back is
 * something else. All other outcomes: the target is as it was, but for OP_OUTPUT, which may be of what is said about a whole
 * copy. One that was made for this may be removed unless result->keeps_target.
 */
bool op_copy(const struct op_copy_args *args, struct op_result *result);

#endif
