/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Building thin-pool metadata from records: a visitor that writes trees, packed, then the space maps, and in the very end
 * the superblock.
 *
 *	superblock( def( single | range | ref ...)* device( single | range | ref ...)* )
 *
 * The records are taken as they are: who does not know whether they are good has thin_input.h look at them first. Devices
 * may come in any order. Names of defs count from 1, in order; a def that nobody refers to leaves no trace.
 *
 * Until the end, and if that does not come, block 0 says that this is no metadata: see thin_build_is_unfinished().
 */
#ifndef META_THIN_BUILD_H
#define META_THIN_BUILD_H

#include <stdbool.h>

#include "bufio/bufio.h"
#include "meta/record.h"

struct thin_build_args {
	struct bufio_client *client; /* of 4096-byte blocks; all but the memory below is its */
	uint64_t memory;             /* bytes for counts and tables */
	/*
	 * The end of the file may be cut off: the metadata has as many blocks as is good for what it holds, instead of
	 * all that there are.
	 */
	bool has_any_size;
};

/* What was written. Blocks are of the metadata unless they are called data. */
struct thin_build_result {
	uint64_t devices, mappings;
	uint64_t nr_blocks, used_blocks, data_blocks, used_data_blocks;
	uint64_t passes; /* over the leaves, to count data blocks */
};

struct thin_build;

/* Bytes below which thin_build_create() refuses. */
uint64_t thin_build_least_memory(struct bufio_client *client);

/* Writes nothing yet. To be destroyed. Errors: -ENOMEM  also when @args->memory is too little */
int thin_build_create(const struct thin_build_args *args, struct thin_build **build);
void thin_build_destroy(struct thin_build *b); /* NULL is allowed */

/*
 * Where the records go. Each call returns 0 or -errno: -ENOSPC when the metadata is too small, -E2BIG when tables would
 * take more than the memory; after an error there is no more to be done. When the end of the superblock was taken
 * everything is on stable media.
 */
struct meta_visitor *thin_build_visitor(struct thin_build *b);

/* After the end of the superblock. */
void thin_build_get_result(const struct thin_build *b, struct thin_build_result *result);

/* Whether anything was written to the device so far. */
bool thin_build_has_begun(const struct thin_build *b);

/*
 * Writes such a block 0: from here on nothing of what was there before is metadata, however this ends. On stable media when
 * it returns 0; else -errno.
 */
int thin_build_mark_unfinished(struct bufio_client *client);

/* Whether a block 0 is that of metadata which was not finished. */
bool thin_build_is_unfinished(const void *block);

#endif
