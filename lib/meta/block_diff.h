/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two blocks compared field by field, under the names of block_fields.h, and byte by byte where no field is. */
#ifndef META_BLOCK_DIFF_H
#define META_BLOCK_DIFF_H

#include "meta/block_fields.h"

/* A node of the smallest values that are in use has 336 keys and values; an array block a thousand values. */
#define META_DIFF_FIELDS 1200
#define META_DIFF_NAME 48
#define META_DIFF_TEXT 96

struct meta_difference {
	unsigned offset, length; /* bytes of the block */
	const char *name;        /* NULL: bytes that are no field */
	const char *left, *right; /* values, or bytes in hexadecimal; NULL: the side has no such field */
};

/* 200 KiB: not for the stack. The caller sets difference(), and what it needs behind this struct. */
struct meta_block_diff {
	/* One difference; 0, or what ends the comparison. Fields come as block_fields.h has them, bytes at the end. */
	int (*difference)(struct meta_block_diff *d, const struct meta_difference *what);
	struct meta_diff_field {
		char name[META_DIFF_NAME], text[META_DIFF_TEXT];
		unsigned offset, length;
		bool is_paired; /* the other side has it too */
	} fields[META_DIFF_FIELDS];
	unsigned nr_fields;
	uint16_t at[PD_BLOCK_SIZE];   /* fields[at[offset] - 1]; 0: none begins there */
	bool is_field[PD_BLOCK_SIZE]; /* bytes that a field told of */
};

/*
 * What two blocks of PD_BLOCK_SIZE bytes are compared as: what both are; or what one is, if the other is nothing known
 * and only a few bytes differ; else PD_UNKNOWN, and then there are only bytes.
 */
enum pd_kind meta_diff_kind(const void *left, const void *right);

/* Returns 0, or what difference() did. */
int meta_diff_blocks(struct meta_block_diff *d, enum pd_kind kind, const void *left, const void *right);

/* How many bytes differ. */
unsigned meta_diff_bytes(const void *left, const void *right);

#endif
