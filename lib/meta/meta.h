/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The formats of device-mapper metadata, and telling them apart by their first block. */
#ifndef META_META_H
#define META_META_H

#include <stdbool.h>
#include <stdint.h>

#include "pdata/block.h"

/* A row for each format. */
struct meta_format {
	const char *name; /* "thin-pool metadata" */
	enum pd_kind superblock;
	uint64_t magic;
	bool is_supported; /* can be walked by this version */
};

/*
 * The format of the 4096 bytes of a first block, or NULL. Its magic number or its checksum is enough: one of them may
 * be damaged.
 */
const struct meta_format *meta_probe(const void *block);

#endif
