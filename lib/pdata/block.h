/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every metadata block has: a checksum over bytes 4..4095, salted with the kind of the block, and its own number.
 * Because only the salt differs, the kind of any block can be told from its checksum alone.
 */
#ifndef PDATA_BLOCK_H
#define PDATA_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "bufio/bufio.h"
#include "pdata/pdata_disk.h"
#include "pdata/problem.h"

enum pd_kind {
	PD_UNKNOWN, /* no known salt fits */
	PD_ZEROES,  /* every byte is zero; has no salt */
	PD_NODE,
	PD_BITMAP,
	PD_INDEX,
	PD_ARRAY,
	PD_THIN_SUPERBLOCK,
	PD_CACHE_SUPERBLOCK,
	PD_ERA_SUPERBLOCK,
	NR_PD_KINDS
};

/* "btree node", "space map bitmap" ... */
const char *pd_kind_name(enum pd_kind kind);

/* The kind whose salt fits the stored checksum, and the checksum that would be right for @as (any kind with a salt). */
enum pd_kind pd_block_kind(const void *block);
uint32_t pd_block_checksum(const void *block, enum pd_kind as);

/* What the block stores. The number lies at another place in array blocks. */
uint32_t pd_stored_checksum(const void *block);
uint64_t pd_stored_number(const void *block, enum pd_kind kind);

/* Whether its checksum is that of a @kind, and its number @number. */
bool pd_is_block(const void *block, enum pd_kind kind, uint64_t number);

/* Makes the block valid: writes its number and checksum. */
void pd_block_seal(void *block, enum pd_kind kind, uint64_t number);

/* One byte that is wrong. */
struct pd_flaw {
	unsigned offset;
	uint8_t mask; /* of the bits to be turned over */
};

/*
 * Whether one wrong byte explains the checksum of a block whose kind is not known: a block of @kind, with the number
 * @number. The checksum tells which; that it does so by chance happens once in a million blocks that are damaged in another
 * way, so what is in the block is to be looked at as well.
 */
bool pd_block_find_flaw(const void *block, enum pd_kind kind, uint64_t number, struct pd_flaw *flaw);

/* The structure that a block is read for: goes into every problem found in it. */
struct pd_context {
	enum problem_where where;
	uint64_t dev_id;
	uint64_t begin, end; /* the keys that are lost with the block */
	bool is_leaf;        /* as in struct problem */
};

struct pd_cursor;
struct pd_node;

/*
 * Who is told of every block that a walk comes to: reached (may be NULL) before it is read, entered after it was found
 * good. Of a node of a tree, @c is the cursor: path[0..depth-1] lead to the node, and entered() may call
 * pd_cursor_flaw(). Of other blocks @c and @n are NULL.
 */
struct pd_observer {
	void (*reached)(struct pd_observer *o, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c);
	void (*entered)(struct pd_observer *o, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c,
			const struct pd_node *n);
};

/*
 * Where blocks are read from and who hears of damage. One for each walk; the caller owns all it points at.
 * nr_blocks: pointers at or past it are damage; the smaller of the device's and the metadata's size.
 */
struct pd_reader {
	struct bufio_client *client;
	uint64_t nr_blocks;
	struct problem_sink *sink;
	struct pd_observer *observer; /* or NULL */
	_Atomic uint64_t *progress;   /* or NULL: goes up by one with each block that is read */
	bool is_quiet;                /* nobody hears of damage: this walk goes before the one that is heard */
};

/* Counts a block that was read other than by pd_read(). */
void pd_advance(const struct pd_reader *r);

/* Reports a problem of @code at @block; @p's numbers are kept, the rest is filled in. */
void pd_report(const struct pd_reader *r, const struct pd_context *ctx, enum problem_code code, uint64_t block,
	       struct problem p);

/*
 * Reads and verifies one block of a known kind: bounds, kind and checksum, own number.
 * Returns 1 and a hold in *@data and *@bp; 0 when it is damaged, which was reported; -errno for the world
 * (an unreadable block is damage).
 */
int pd_read(const struct pd_reader *r, const struct pd_context *ctx, uint64_t block, enum pd_kind kind,
	    const void **data, struct bufio_buffer **bp);

#endif
