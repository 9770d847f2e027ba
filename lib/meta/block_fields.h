/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any block of metadata, field by field, under the names that the suite uses for them everywhere. */
#ifndef META_BLOCK_FIELDS_H
#define META_BLOCK_FIELDS_H

#include "meta/record.h"
#include "pdata/block.h"

/* The @size bytes of block @block: RECORD_BLOCK with its RECORD_FIELDs. Raw bytes where nothing is known. */
int meta_visit_block(const void *data, unsigned size, uint64_t block, struct meta_visitor *v);

/* The same, but the fields are those of @kind, whatever the checksum says. */
int meta_visit_block_as(const void *data, unsigned size, uint64_t block, enum pd_kind kind, struct meta_visitor *v);

#endif
