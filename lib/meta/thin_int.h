/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the walks over a pool only. */
#ifndef META_THIN_INT_H
#define META_THIN_INT_H

#include "meta/thin.h"

/* Mappings on their way to a visitor: neighbours that can be said as one are. */
struct thin_run {
	struct record_mapping m; /* length 0: none yet */
	struct meta_visitor *v;
};

int thin_run_add_leaf(struct thin_run *run, const struct pd_node *leaf);

/* Gives what is left to the visitor; the run is empty then. */
int thin_run_flush(struct thin_run *run);

/* Reports a device whose details disagree with the @mappings that were found, all of them. */
void thin_judge_mapped(const struct thin_pool *pool, const struct thin_device *device, uint64_t mappings);

#endif
