/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mappings of the past that somebody wants back: of a device that was removed, or of an older version of what is dead. A
 * claim is good unless a living device has the data block at another place by now; at the same virtual block and with the
 * same time it was shared, and still is.
 */
#ifndef META_THIN_CLAIMS_H
#define META_THIN_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thin_claim {
	uint64_t key, value; /* virtual block; data block and time, as on disk */
	uint32_t owner;      /* the caller's */
	uint16_t is_rejected, is_shared; /* a living device has the same */
};

struct thin_claims {
	struct thin_claim *table;
	uint64_t nr, max;
	uint64_t memory; /* bytes that are left */
	uint64_t *filter; /* bits that data blocks of claims have */
};

/* The rest is zero. 0, -ENOMEM, -E2BIG: the memory is used up. */
int thin_claims_add(struct thin_claims *c, uint32_t owner, uint64_t key, uint64_t value);

/* When all were added: those of two owners for one data block reject each other unless they are the same. 0 or -ENOMEM */
int thin_claims_sort(struct thin_claims *c);

/* A living device has this: by any thread, once they are sorted. */
void thin_claims_judge(struct thin_claims *c, uint64_t key, uint64_t value);

/* Puts them in the order of owners and keys, for them to be read. */
void thin_claims_finish(struct thin_claims *c);

void thin_claims_free(struct thin_claims *c);

#endif
