/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mappings that several devices share, said once: as thin_dump 1.x does it with <def> and <ref>.
 *
 * What is shared are leaves. Leaves that follow each other in every device that has one of them are one run, and a run
 * gets one name. Names count from 1 in the order of devices and virtual blocks, so they depend on what the pool holds
 * and not on where its blocks are.
 */
#ifndef META_THIN_SHARING_H
#define META_THIN_SHARING_H

#include "meta/thin.h"

/* Memory that is needed for @pool, in bytes. */
uint64_t thin_sharing_bytes(const struct thin_pool *pool);

/*
 * Learns which leaves of @pool's devices follow which: reads all internal nodes, and few leaves. Damage is not reported
 * yet. Returns 0 or -errno.
 */
int thin_sharing_create(struct thin_pool *pool, struct thin_sharing **sharing);
void thin_sharing_destroy(struct thin_sharing *s); /* NULL is allowed */

/* Gives every shared run to @v as RECORD_DEF. Once, before the devices. */
int thin_sharing_define(struct thin_sharing *s, struct meta_visitor *v);

/*
 * As thin_walk_mappings(), with RECORD_REF in the place of shared runs. Damage in a run is reported for each device that
 * has it.
 */
int thin_sharing_walk(struct thin_sharing *s, const struct thin_device *device, struct meta_visitor *v);

#endif
