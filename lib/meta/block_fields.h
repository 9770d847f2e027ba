/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any block of metadata, field by field, under the names that the suite uses for them everywhere. */
#ifndef META_BLOCK_FIELDS_H
#define META_BLOCK_FIELDS_H

#include "meta/record.h"

/* The @size bytes of block @block: RECORD_BLOCK with its RECORD_FIELDs. Raw bytes where nothing is known. */
int meta_visit_block(const void *data, unsigned size, uint64_t block, struct meta_visitor *v);

#endif
