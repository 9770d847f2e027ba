/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many mappings of each device are exclusive: lead to a data block that no other mapping of the pool leads to.
 *
 * A node that is reached more than once holds shared mappings only; so each is read twice at most, however many
 * snapshots there are. Two bits a data block say whether it was met once or more often; what does not fit at once is
 * counted in windows of data blocks, one after the other, each with a walk of its own.
 */
#ifndef META_THIN_SHARE_H
#define META_THIN_SHARE_H

#include "meta/thin.h"

/* A hostile pool names data blocks far apart. */
#define THIN_SHARE_MAX_WALKS 64

/* Of a table of @nr times two bits. */
#define THIN_SHARE_BYTES(nr) ((nr) / 4 + 1)

struct thin_share {
	/* The caller's tables, zeroed. */
	uint8_t *nodes;      /* of pool->reader.nr_blocks */
	uint8_t *counts;     /* of nr_counts data blocks */
	uint64_t nr_counts;
	uint64_t *exclusive; /* the result: one for each device, in their order */
	uint64_t nr_devices;
	/* So far: */
	unsigned walks;
	uint64_t nr_data; /* the highest data block of a mapping, and 1 */
};

/*
 * Fills in s->exclusive for the open @pool. Nothing is reported: a node that cannot be used has no mappings. A mapping
 * beyond the data device is exclusive unless its node is shared.
 * Returns 0, -E2BIG when nr_counts is too small for nr_data, -errno.
 */
int thin_share_count(const struct thin_pool *pool, struct thin_share *s);

#endif
