/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every metadata block of a pool is: all its trees and space maps are walked, those of the metadata snapshot too,
 * and then, if wanted, the blocks that nothing led to are looked at one by one.
 */
#ifndef META_THIN_SURVEY_H
#define META_THIN_SURVEY_H

#include "meta/thin.h"

enum thin_role {
	ROLE_FREE,        /* nothing leads there, count 0, and nothing is in it that could be read */
	ROLE_ORPHAN,      /* nothing leads there, count 0, but it holds a sound block of an older generation */
	ROLE_UNREACHED,   /* nothing leads there, but it has a count: leaked, or below a node that cannot be used */
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

/* One byte a block: the role; of nodes of a tree whether it is a leaf; whether it cannot be used. */
#define SURVEY_ROLE 0x1F
#define SURVEY_INTERNAL 0x20 /* a node with children */
#define SURVEY_SHARED 0x40   /* reached more than once */
#define SURVEY_BAD 0x80      /* unreadable or damaged */

struct thin_survey {
	uint8_t *blocks;
	uint64_t nr;                         /* blocks of the device */
	uint64_t count[NR_THIN_ROLES];       /* blocks of each role, bad ones included */
	uint64_t bad;
};

/*
 * Fills in @s for the open @pool. The caller gives s->blocks, zeroed, and s->nr. Damage is reported to the pool's sink,
 * for every device that it costs something. @scan: look at the blocks that nothing leads to as well.
 * Returns 0 or -errno.
 */
int thin_survey(struct thin_pool *pool, struct thin_survey *s, bool scan);

#endif
