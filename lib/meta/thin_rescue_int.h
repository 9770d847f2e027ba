/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of thin_rescue share. */
#ifndef META_THIN_RESCUE_INT_H
#define META_THIN_RESCUE_INT_H

#include "meta/thin_claims.h"
#include "meta/thin_missing.h"
#include "meta/thin_rescue.h"
#include "meta/thin_scavenge_int.h"

/* What is dead: a block, or the root of a device that is not known. */
struct hole {
	uint64_t block;      /* or PROBLEM_NO_BLOCK */
	uint64_t begin, end; /* keys that it may have, wherever a pointer leads to it */
	unsigned height;     /* 0: any */
	size_t device;       /* the first that came to it */
	bool is_full;        /* its devices have all of their mappings */
	uint64_t generation; /* that an older version is taken from, or PROBLEM_NO_BLOCK */
	struct thin_place place; /* of a pointer to it in a node; parent PROBLEM_NO_BLOCK: there is none */
};

/* A pointer to it. */
struct gap {
	struct thin_place place;
	uint32_t hole;
};

struct piece {
	uint32_t block, hole;
	uint32_t first, last; /* keys */
	uint8_t level;
	bool is_proved; /* by the space map */
	bool is_dropped; /* it is not the hole's after all */
};

/* A device's root, as some top level had it. */
struct known_root {
	uint32_t dev_id, root;
};

struct thin_rescue {
	struct thin_rescue_args args;
	struct thin_pool pool; /* through the chosen roots, quiet */
	struct thin_scavenge *s;
	struct thin_missing *m;
	uint64_t memory; /* bytes for tables that are left */
	struct thin_device *devices;
	struct thin_rescued *origins;
	uint64_t nr, max, max_origins;
	struct hole *holes;
	uint64_t nr_holes, max_holes;
	uint32_t *hole_at; /* by block: number of its hole, from 1 */
	struct gap *gaps; /* of all holes; once all are known, in order of parents and entries */
	uint64_t nr_gaps, max_gaps;
	struct piece *pieces;
	uint64_t nr_pieces, max_pieces;
	uint64_t nr_sorted; /* pieces, the first of them, by hole and key */
	struct known_root *last_known; /* by device: of the newest generation that has it; only where no details tell */
	uint64_t nr_last_known, max_last_known;
	struct thin_doubt *doubts;
	uint64_t nr_doubts, max_doubts;
	uint64_t *living; /* bits of nodes that devices have, but those of other generations */
	uint32_t *held; /* roots of the metadata snapshot's devices */
	uint64_t nr_held, max_held;
	struct thin_claims claims; /* owners: holes, and devices with OWNER_IS_DEVICE */
	struct thin_past *past;
	uint64_t nr_past, max_past;
	uint32_t *loose; /* pieces that may go to several holes */
	uint64_t nr_loose, max_loose;
	struct thin_crack *cracks;
	uint64_t nr_cracks, max_cracks;
	/* Ranges of ids in which the top level is dead. */
	struct thin_place *top_holes;
	uint64_t nr_top_holes, max_top_holes;
	bool is_doubtful; /* there are pointers that cannot be found, and are of no device */
	bool has_details_holes, has_unknown_devices;
	/* Of the device that was asked for last: what older versions of its tree lead to. */
	uint64_t *below;
	uint64_t below_of; /* id */
	uint32_t time;  /* that the pool has to have */
	uint64_t at;    /* block of a scan */
	uint64_t steps; /* left: what takes longer is a hostile pool */
};

#define MAX_STEPS (UINT64_C(1) << 28)

/*
 * thin_rescue_holes.c: finds holes below a device; follows the metadata snapshot's trees of devices, behind the pool's own,
 * and those of mappings; finds pieces for all holes.
 */
int rescue_walk(struct thin_rescue *r, size_t device);
int rescue_walk_held(struct thin_rescue *r);
int rescue_walk_held_devices(struct thin_rescue *r);
int rescue_fill(struct thin_rescue *r);

/* A piece that fits more holes than this is not placed. */
#define MAX_FITS 16

/* The holes that may have it; MAX_FITS + 1: too many. *@lies_anywhere: or could, if they were empty. */
unsigned rescue_find_holes(struct thin_rescue *r, uint64_t block, uint64_t found[MAX_FITS], bool *lies_anywhere);
int rescue_keep_loose(struct thin_rescue *r, uint64_t block);
int rescue_attach(struct thin_rescue *r, uint64_t block, uint64_t hole, bool is_certain);

/* What a device has so far. The gaps are sorted. */
int rescue_measure(struct thin_rescue *r, size_t device, uint64_t *mappings);

/* Each device that has the hole @hole somewhere; what is not 0 ends it. The gaps are sorted. */
int rescue_for_each_hole(struct thin_rescue *r, int (*visit)(struct thin_rescue *r, size_t device, uint64_t hole));

/* thin_rescue_past.c: older versions of holes, and devices of other generations. */
#define OWNER_IS_DEVICE UINT32_C(0x80000000)

int rescue_past(struct thin_rescue *r);
int rescue_add_past(struct thin_rescue *r, const struct thin_past *past);

/* The claims of one owner: a range of the table. */
void rescue_claims_of(const struct thin_rescue *r, uint32_t owner, uint64_t *begin, uint64_t *end);

/* thin_rescue_solve.c: places for pieces that several holes may have. */
int rescue_solve(struct thin_rescue *r);

/* The root in the last generation that had the device, where no details tell; or PROBLEM_NO_BLOCK. */
uint64_t rescue_last_known_root(const struct thin_rescue *r, uint64_t dev_id);

/* thin_rescue_roots.c: finds roots for devices that have none. */
int rescue_roots(struct thin_rescue *r);

/* The same for devices that neither details nor the top level know any more, but older nodes of it do. */
int rescue_unknown(struct thin_rescue *r);

bool rescue_has_device(const struct thin_rescue *r, uint64_t dev_id);
int rescue_adopt(struct thin_rescue *r, uint64_t dev_id, uint64_t root);

int rescue_add_doubt(struct thin_rescue *r, uint64_t block, uint64_t dev_id);

/* The pieces of a hole, in the order of their keys, until there is another piece. */
struct piece *rescue_pieces_of(struct thin_rescue *r, uint64_t hole, unsigned *nr);

/* As scavenge_read_node(). */
int rescue_read(const struct thin_rescue *r, uint64_t block, struct node_entries *n);

/*
 * Whether the space map counts a pointer more to each child of a node that was not followed yet. If not, the node itself is
 * counted by mistake: it is an older version. But if it is one child alone, and there is no other version of either, it is
 * the child that is not counted by mistake. 1, 0, -errno.
 */
int rescue_is_counted_below(struct thin_rescue *r, uint64_t block);

#endif
