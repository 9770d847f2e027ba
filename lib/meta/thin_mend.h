/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mending a pool where it lies: all that needs no new trees of mappings.
 *
 *	thin_mend_create()   what is wrong, and whether it can be mended; nothing is written
 *	thin_mend()          new device details if they are needed, both space maps, and the superblock in place
 *	thin_mend_destroy()
 *
 * New blocks go to where nothing leads to, which includes what the old space maps consist of. So it has to be done within
 * a transaction, see io_journal.h, and to be checked before that is committed.
 */
#ifndef META_THIN_MEND_H
#define META_THIN_MEND_H

#include "meta/thin_check.h"

enum thin_mend_kind {
	MEND_NOT,      /* needs new metadata */
	MEND_LET_BE,   /* matters to nobody */
	MEND_BY_WHERE, /* in tables only */
	MEND_DATA_LOW,
	MEND_DATA_HIGH,
	MEND_DATA_LEAKED,
	MEND_META_LOW,
	MEND_META_HIGH,
	MEND_META_LEAKED,
	MEND_DATA_SM,
	MEND_META_SM,
	MEND_HINTS,
	MEND_DETAILS,
	MEND_NO_DETAILS,
	MEND_ONLY_DETAILS,
	MEND_MAPPED_BLOCKS,
	MEND_DEVICE_TIMES,
	MEND_TIME,
	MEND_SNAPSHOT,
	MEND_NEEDS_CHECK,
	NR_MENDS
};

/* "data-leaked"; "data blocks that were counted as used though nothing maps them". */
const char *thin_mend_name(enum thin_mend_kind kind);
const char *thin_mend_text(enum thin_mend_kind kind);

/* A data block that two mappings have which are not one that is shared: no count of it is right. */
struct thin_mend_place {
	uint64_t dev_id, virtual_block, value; /* as in the leaf */
};

struct thin_mend {
	struct problem_sink sink;      /* first: reports come here */
	uint64_t nr[NR_MENDS];         /* problems, or blocks with a wrong count */
	bool is_refused;
	struct problem why;            /* then, unless it is_double: the worst that was met first */
	bool needs_details, needs_maps; /* new ones */
	bool drops_snapshot;
	bool is_missing;               /* a device has less mappings than its details say: */
	struct problem missing;
	bool is_double;                /* then it is refused */
	struct thin_mend_place place[2];
	struct thin_mend_place *places; /* of data blocks with wrong counts, by the block modulo a number */
	uint64_t *bad;                 /* a bit for each block that cannot be read; NULL: not created */
	uint64_t nr_blocks;
	/* of the thin_check that found this */
	uint64_t nr_devices, nr_mappings;
	uint64_t nr_new_details;       /* after thin_mend(): devices that have details of our own making */
	uint32_t time;                 /* and the superblock's */
	unsigned passes;               /* over the leaves */
};

/* Bytes that it takes beside what a check takes. */
uint64_t thin_mend_bytes(uint64_t nr_blocks);

/* For a device of @nr_blocks. 0 or -ENOMEM; to be destroyed in either case. */
int thin_mend_create(struct thin_mend *m, uint64_t nr_blocks);
void thin_mend_destroy(struct thin_mend *m);

/*
 * @pool was opened with the sink of @m, which so has heard of its superblock: checks the rest, with @memory for counts of
 * data, and decides. Returns 0 or -errno.
 */
int thin_mend_judge(struct thin_mend *m, struct thin_pool *pool, uint64_t memory);

/* Whether there is anything to be done. */
bool thin_mend_is_needed(const struct thin_mend *m);

/*
 * Does it, in the cache of @pool, which was opened with a silent sink; it is for the caller to write what is dirty.
 * Errors: -ENOSPC   there is no room for it
 *         -ERANGE   the time has to be behind that of a mapping, and there is none behind it
 *         -EUCLEAN  what is found now is another thing than thin_mend_judge() found, or is refused now
 *         as thin_check()
 */
int thin_mend(struct thin_mend *m, struct thin_pool *pool, uint64_t memory);

#endif
