/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a check's memory is shared between the cache, counts of data blocks, and all else. */
#ifndef OPS_CHECK_MEMORY_H
#define OPS_CHECK_MEMORY_H

#include "bufio/bufio.h"
#include "meta/thin_check.h"
#include "ops/op.h"

struct check_memory {
	const struct thin_pool *pool;
	const char *image;
	const char *purpose; /* "check" */
	uint64_t tables;     /* bytes of the caller's own */
	uint64_t beside;     /* bytes that are not in the limit, but in what the user gave */
	bool may_raise;      /* the limit was not asked for */
};

/*
 * @limit, for the cache @c, whose limit is set, and all else. Returns bytes for thin_check.memory; 0: the result says that
 * the limit is too low.
 */
uint64_t check_share_memory(const struct check_memory *m, struct bufio_client *c, uint64_t limit,
			    struct op_result *result);

#endif
