/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths to fields, wherever these are: by block, or through the metadata itself.
 *
 *	nr_blocks                       of the device, a number
 *	block(9).nr_entries             a field of a block, whatever kind it is of
 *	node(9).value[3].data           the same of a block that is taken for a node; so bitmap(N), index(N), array(N)
 *	sb.trans_id                     of the superblock
 *	thin(2).mapped_blocks           a detail of a device, or .root
 *	thin(2).map(50).data            a mapping; .time, and what is a number: .node and .index, the leaf and the entry in it
 *
 * The names of fields are those of block_fields.h.
 */
#ifndef META_FIELD_PATH_H
#define META_FIELD_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "meta/block_fields.h"

/* NAME, NAME(ARGUMENT), NAME[INDEX]. */
struct meta_step {
	const char *name;
	bool has_argument, has_index;
	uint64_t argument, index;
};

#define META_PATH_REASON 256

struct meta_place {
	bool is_number; /* that is found out, and cannot be set; else: */
	uint64_t number;
	uint64_t block;
	enum pd_kind kind; /* that the block is taken for */
	struct meta_field field;
};

/* Whether there can be such a path, and whether it leads to what can be set. -EINVAL: @reason says what is expected. */
int meta_path_check(const struct meta_step *steps, unsigned nr, bool *is_number, char reason[META_PATH_REASON]);

/*
 * Where a path leads that was checked: in blocks of PD_BLOCK_SIZE behind @client, of which it holds none when it returns.
 *
 * Errors: -ENOENT  it leads nowhere: there is no such block, device, mapping or entry, or damage is in the way; @reason
 *                  says which
 *         as bufio_read()
 */
int meta_path_find(struct bufio_client *client, const struct meta_step *steps, unsigned nr, struct meta_place *place,
		   char reason[META_PATH_REASON]);

#endif
