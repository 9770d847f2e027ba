/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much metadata a pool will take: a visitor that adds up what thin_build would write of the same records, and writes
 * nothing. The records are taken as they are, as thin_input.h lets them pass.
 */
#ifndef META_THIN_PLAN_H
#define META_THIN_PLAN_H

#include "meta/record.h"

struct thin_plan_totals {
	uint64_t devices, mappings;
	uint64_t nr_data_blocks;     /* as the superblock says, 0: not known */
	uint64_t needed_data_blocks; /* one more than the highest that is mapped */
	/*
	 * Metadata blocks, but for the bitmaps of the metadata itself, which depend on how large it is. Exact where
	 * nothing is shared; else some more than it will be, as it is not known how shared parts will meet.
	 */
	uint64_t blocks;
};

struct thin_plan;

/* @memory: bytes. To be destroyed. Errors: -ENOMEM */
int thin_plan_create(uint64_t memory, struct thin_plan **plan);
void thin_plan_destroy(struct thin_plan *p); /* NULL is allowed */

/* Its calls return 0, -ENOMEM, or -E2BIG: tables take more than the memory. */
struct meta_visitor *thin_plan_visitor(struct thin_plan *p);

/*
 * After the end of the superblock: whether all records are wanted once more, as not all counts of data blocks had room in
 * the memory. Returns 1, 0, -ENOMEM.
 */
int thin_plan_again(struct thin_plan *p);

/* When they are not wanted any more. */
void thin_plan_get_totals(const struct thin_plan *p, struct thin_plan_totals *totals);

#endif
