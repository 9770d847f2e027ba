/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who stands on blocks whose counts are wrong: the devices, and the virtual blocks. */
#ifndef META_THIN_OWNERS_H
#define META_THIN_OWNERS_H

#include "meta/thin.h"
#include "pdata/walk_disk.h"

struct thin_owners {
	const struct thin_pool *pool;
	struct pd_disk_walk *walk; /* that was run over its trees */
	/* What was reported, in rising order: of data blocks begin..end - 1, of metadata blocks. */
	const struct problem *data, *metadata;
	size_t nr_data, nr_metadata;
	/* Each mapping of one of the data blocks, or NULL; @value as in the leaf. */
	void (*mapped)(void *context, uint64_t dev_id, uint64_t virtual_block, uint64_t value);
	void *context;
};

/*
 * Reports each of the problems again for every device that it touches, with is_touch set, its virtual blocks as the range,
 * to the pool's sink. Leaves are read in the order of the disk for data blocks, and those in question once more for each
 * device. On a pool on which that takes too long, which only a hostile one is, it stops, and those that are left are not
 * told. Returns 0 or -errno.
 */
int thin_tell_owners(const struct thin_owners *args);

#endif
