/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing space maps, from counts in memory. */
#ifndef PDATA_SPACE_MAP_BUILD_H
#define PDATA_SPACE_MAP_BUILD_H

#include "pdata/btree_build.h"
#include "pdata/space_map.h"

/*
 * Writes a data space map of the first window of @counts, has @recount (with @context) count each further window, and
 * writes that. References to its blocks are counted. Returns 0 or -errno.
 */
int pd_sm_write_data(struct pd_writer *w, struct pd_counts *counts, int (*recount)(void *context), void *context,
		     struct pd_sm_root *root);

/*
 * Writes the metadata space map, from the writer's own counts, in which there are its own blocks then. Nothing must be
 * taken from the writer afterwards. w->nr_blocks is the size of the map. Returns 0 or -errno.
 */
int pd_sm_write_metadata(struct pd_writer *w, struct pd_sm_root *root);

struct pd_sm_root_disk pd_sm_root_encode(const struct pd_sm_root *root);

#endif
