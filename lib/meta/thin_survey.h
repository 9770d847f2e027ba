/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every metadata block of a pool is: all its trees and space maps are walked, those of the metadata snapshot too,
 * and then, if wanted, the blocks that nothing led to are looked at one by one.
 */
#ifndef META_THIN_SURVEY_H
#define META_THIN_SURVEY_H

#include "meta/thin.h"

enum thin_role {
	/* Nothing leads there: */
	ROLE_FREE,        /* it has no count, and there is nothing in it that could be used */
	ROLE_ORPHAN,      /* it has none, or one that cannot be read, but is sound: of an older generation, as a rule */
	ROLE_UNREACHED,   /* it has a count: leaked, or below a node that cannot be used */
	ROLE_SUPERBLOCK,
	ROLE_HELD,        /* superblock of the metadata snapshot */
	ROLE_DETAILS,     /* nodes */
	ROLE_TOP,
	ROLE_MAPPINGS,
	ROLE_DATA_INDEX,
	ROLE_DATA_BITMAP,
	ROLE_DATA_COUNTS,
	ROLE_META_INDEX,
	ROLE_META_BITMAP,
	ROLE_META_COUNTS,
	ROLE_BEYOND,      /* past the metadata's own size */
	NR_THIN_ROLES
};

/* "mappings", for programs; "mapping tree", for people. */
const char *thin_role_name(enum thin_role role);
const char *thin_role_text(enum thin_role role);

/* Whether the pool, or its metadata snapshot, stands on blocks of this role. */
static inline bool thin_role_is_live(enum thin_role role)
{
	return role >= ROLE_SUPERBLOCK && role <= ROLE_META_COUNTS;
}

/*
 * One byte a block: its role and flags. Where two structures claim a block the first one keeps it, in the order of a
 * walk: devices, mappings, metadata snapshot, space maps.
 */
#define SURVEY_ROLE 0x0F
#define SURVEY_INTERNAL 0x20 /* a node with children; never of a block that could not be read as one */
#define SURVEY_SHARED 0x40   /* more than one pointer leads to it. What is below it may have one alone */
#define SURVEY_BAD 0x80      /* reported as unreadable, damaged, or not belonging where it was found */

struct thin_survey {
	uint8_t *blocks;
	uint64_t nr;                   /* of them; thin_survey_size() are enough */
	struct pd_memo *memo;          /* or NULL: shared subtrees are walked again for every device */
	uint64_t count[NR_THIN_ROLES]; /* blocks of each role, bad ones included */
	uint64_t bad, shared;          /* blocks of any role */
};

/* Blocks that can be anything but ROLE_BEYOND, whatever the size of the device. */
uint64_t thin_survey_size(const struct thin_pool *pool);

/*
 * Fills in @s for the open @pool, which is the live one. The caller gives s->blocks, zeroed, s->nr and s->memo.
 * Damage is reported to the pool's sink, for every device that it costs something; what only the metadata snapshot
 * loses, as of WHERE_HELD_TREES. @scan: look at the blocks that nothing leads to as well.
 * Returns 0 or -errno.
 */
int thin_survey(struct thin_pool *pool, struct thin_survey *s, bool scan);

#endif
