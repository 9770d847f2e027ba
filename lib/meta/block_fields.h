/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any block of metadata, field by field, under the names that the suite uses for them everywhere; and fields by their names. */
#ifndef META_BLOCK_FIELDS_H
#define META_BLOCK_FIELDS_H

#include <stdbool.h>

#include "meta/record.h"
#include "pdata/block.h"

/* The @size bytes of block @block: RECORD_BLOCK with its RECORD_FIELDs. Raw bytes where nothing is known. */
int meta_visit_block(const void *data, unsigned size, uint64_t block, struct meta_visitor *v);

/* The same, but the fields are those of @kind, whatever the checksum says. */
int meta_visit_block_as(const void *data, unsigned size, uint64_t block, enum pd_kind kind, struct meta_visitor *v);

/* Where the value of a field is: @bits bits, from bit @shift on, of the @size bytes at @offset, little-endian. */
struct meta_field {
	unsigned offset, size, shift, bits;
	bool is_count; /* of a bitmap: the higher bit comes first */
};

/*
 * The field of a block of @kind that goes by @name: one that meta_visit_block() gives, such as "trans_id", "key[3]",
 * "value[3].mapped_blocks", "entry[0].nr_free"; a count by its own number, "count[77]"; and of the value of 8 bytes in a
 * leaf "value[3].data" and "value[3].time" too. @data is the PD_BLOCK_SIZE bytes of the block.
 *
 * Errors: -ENOENT   there is no such field in blocks of this kind
 *         -EINVAL   it is not a number, but bytes or text
 *         -ERANGE   there are not so many entries
 *         -EBADMSG  where entries are cannot be known: the node is damaged
 */
int meta_field_find(const void *data, enum pd_kind kind, const char *name, struct meta_field *field);

/* The same without a block: whether there are blocks of @kind that have it. 0, -ENOENT, -EINVAL. */
int meta_field_check(enum pd_kind kind, const char *name);

uint64_t meta_field_load(const void *data, const struct meta_field *field);

/* -ERANGE: the value is too large for it, and nothing was changed. */
int meta_field_store(void *data, const struct meta_field *field, uint64_t value);

#endif
