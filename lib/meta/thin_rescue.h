/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Putting a damaged pool together again, from what the scan of its device has found (thin_scavenge.h): which devices there
 * are, where their trees begin, and what belongs where a node is dead.
 *
 * A tree with a dead node has a hole there: keys, and a height. What was below it is still on the device, and a piece is
 * taken for the hole's if
 *
 *	the metadata space map counts a pointer to it that was not found (thin_missing.h),
 *	its keys fit, and
 *	no other hole may have a claim to it, or there is a single way to give each device as many mappings as it should have
 *
 * A root that is lost is a hole too, and is looked for by the number of mappings that the device's details say. Where the
 * space map does not tell, all of a device has to be there to the last mapping, or else nothing is taken; and that is no
 * proof, as an older version may have as many. What stays open is said, and not used.
 */
#ifndef META_THIN_RESCUE_H
#define META_THIN_RESCUE_H

#include "meta/thin_scavenge.h"

enum thin_root_origin {
	ROOT_OF_TREE,     /* the top level says so */
	ROOT_REATTACHED,  /* it was found */
	ROOT_ASSIGNED,    /* by the caller */
	ROOT_OF_ANOTHER,  /* generation */
	ROOT_LOST,
};

enum thin_details_origin { DETAILS_KEPT, DETAILS_REBUILT };

/* What is known of a device besides its struct thin_device. */
struct thin_rescued {
	enum thin_root_origin root;
	enum thin_details_origin details;
	uint64_t generation; /* of ROOT_OF_ANOTHER */
	uint64_t mapped;     /* mappings that it should have, or RECORD_UNKNOWN */
	bool is_by_number;   /* its root was found by these */
};

/* A tree that may be a device's, or another one's. */
struct thin_doubt {
	uint64_t block, mappings;
	uint64_t dev_id; /* PROBLEM_NO_DEVICE: any of several */
};

/* Mappings of the past, of a device that has no others there. */
struct thin_past {
	enum { PAST_STALE, PAST_REUSED, PAST_DOUBTFUL, PAST_UNPROVED, PAST_UNDECIDED } kind;
	size_t device;
	uint64_t begin, end; /* virtual blocks */
	uint64_t mappings;
	uint64_t generation; /* of PAST_STALE */
};

struct thin_rescue;

struct thin_rescue_choice {
	uint64_t dev_id, root;
	uint64_t details; /* a tree that knows it, or PROBLEM_NO_BLOCK */
	uint64_t generation; /* or PROBLEM_NO_BLOCK: assigned */
};

struct thin_rescue_args {
	const struct thin_pool *pool; /* through the roots that were chosen */
	bool is_current;              /* these are block 0's: its space map is theirs */
	struct thin_scavenge *s;      /* of the same device; stays, and lends its memory */
	const struct thin_rescue_choice *choices; /* devices that come from elsewhere */
	size_t nr_choices;
	uint64_t memory; /* bytes for tables of devices, holes and pieces */
	bool is_time_known; /* the pool's; else there may have been a snapshot after all that is found */
	bool look_for_stale, use_stale; /* older versions of what is dead */
};

/* Finds devices, holes and pieces. Returns 0 or -errno; -ENOMEM, -E2BIG: there is not memory enough. */
int thin_rescue_create(const struct thin_rescue_args *args, struct thin_rescue **rescue);
void thin_rescue_destroy(struct thin_rescue *r); /* NULL is allowed */

/* In order of their ids; roots may change by thin_rescue_mend(). */
const struct thin_device *thin_rescue_devices(const struct thin_rescue *r, size_t *nr);
const struct thin_rescued *thin_rescue_origin(const struct thin_rescue *r, size_t i);
size_t thin_rescue_doubts(const struct thin_rescue *r, const struct thin_doubt **doubts);

/*
 * PAST_STALE: an older version of a hole, as far as its data blocks belong to nobody else; it is in the result if that was
 * asked for. PAST_REUSED: of a device of another generation, data blocks that others have by now: they are not in the
 * result. PAST_DOUBTFUL: the device has other mappings than its details say: blocks of its tree were used again.
 * PAST_UNPROVED: what was found has the right number of mappings, and nothing else tells that it is the last version.
 * PAST_UNDECIDED: pieces fit there, and elsewhere, or they are no last versions; none was taken. Of these mappings is the
 * number of pieces.
 */
size_t thin_rescue_past(const struct thin_rescue *r, const struct thin_past **past);

/* That the pool has to have: no mapping is newer, and those that may be shared count as that. */
uint32_t thin_rescue_time(const struct thin_rescue *r);

/* There are mappings of time @newest, which is later than that. What counts as shared until now does it until then. */
uint32_t thin_rescue_raise_time(struct thin_rescue *r, uint64_t newest);

/* Ids of the top level are lost that nothing tells. */
bool thin_rescue_has_unknown_devices(const struct thin_rescue *r);

/* In pieces. */
uint64_t thin_rescue_mappings_of_pieces(const struct thin_rescue *r);

/*
 * Whether nodes behind @block are of no tree that was found: as the kernel takes one block after the other, they are newer
 * than what begins there. Where it has come to the end and begun again, there may be.
 */
bool thin_rescue_has_newer_nodes(const struct thin_rescue *r, uint64_t block);

/* Whether there is something to be written before the trees are whole. */
bool thin_rescue_has_pieces(const struct thin_rescue *r);

/* Keys between pieces, of a device that does not have all of its mappings: some may be lost there. */
struct thin_crack {
	size_t device;
	uint64_t begin, end;
	uint64_t block; /* that is dead, or PROBLEM_NO_BLOCK */
};

size_t thin_rescue_cracks(const struct thin_rescue *r, const struct thin_crack **cracks);

/*
 * Writes nodes that lead to the pieces, into blocks that no tree needs, and has their parents lead to them: to a device that
 * is a copy of the pool's, or a transaction over it. A hole without pieces stays one.
 */
int thin_rescue_mend(struct thin_rescue *r, struct bufio_client *client);

#endif
