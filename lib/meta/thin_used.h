/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which metadata blocks of a pool a copy of it needs, so that whoever gets it sees what the original shows.
 *
 * Of a sound pool: what the metadata space map counts, and what its trees and those of the metadata snapshot lead to. Of
 * a damaged one these cannot be believed: then it is every block that is not all zeroes, those with a wrong checksum or
 * number included, as they are what has to be looked at; and what cannot be read.
 */
#ifndef META_THIN_USED_H
#define META_THIN_USED_H

#include "meta/thin.h"

struct thin_used_args {
	struct bufio_client *client; /* of 4096-byte blocks, with room for THIN_USED_HELD_BUFFERS */
	bool is_lost;                /* block 0 is no superblock */
	uint64_t memory;             /* bytes for what shared subtrees need not be walked again for; 0 will do */
	_Atomic uint64_t *progress;  /* or NULL: goes up by one with each block that is read */
};

#define THIN_USED_HELD_BUFFERS 64

struct thin_used {
	uint64_t *bits;       /* one for each block, the lowest first */
	uint64_t nr;          /* blocks that there are bits for: those of the device, as far as metadata can reach */
	uint64_t count, end;  /* blocks in use; behind the last of them */
	bool by_contents;     /* all that is not zeroes */
	struct problem why;   /* the first reason for that */
	bool is_damaged;      /* a problem was found that is more than cosmetic */
	uint64_t transaction; /* as the superblock says; 0: there is none */
};

/* Bytes that the call takes beside args->memory and the cache's, those of the result included. */
uint64_t thin_used_bytes(struct bufio_client *client);

/* The superblock is always in use. Returns 0 or -errno. The result is to be destroyed. */
int thin_used_find(const struct thin_used_args *args, struct thin_used *used);
void thin_used_destroy(struct thin_used *used);

/* The first run of blocks in use from @from on: 0 blocks, there are no more. */
uint64_t thin_used_run(const struct thin_used *used, uint64_t from, uint64_t *begin);

#endif
