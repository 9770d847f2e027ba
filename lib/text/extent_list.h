/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extents of one device, as "bufio-dump mappings --bytes" prints them: a line each of virtual start, data start and length
 * in bytes, behind a comment that names the device; or the same as JSON, a document a line.
 */
#ifndef TEXT_EXTENT_LIST_H
#define TEXT_EXTENT_LIST_H

#include <stddef.h>
#include <stdio.h>

#include "base/piece.h"

struct text_extents {
	struct piece *pieces; /* rising, without overlap; neighbours that go on in both places are one */
	size_t nr;
	uint64_t end;         /* behind the last byte that is mapped */
	uint64_t problems;    /* of the metadata, that JSON speaks of: what is behind them is not here */
};

struct text_extents_args {
	uint64_t data_bytes; /* of the data device */
	uint64_t unit;       /* all positions and lengths are multiples of it */
	uint64_t memory;     /* bytes that the pieces may take */
};

struct text_extents_error {
	uint64_t line;
	char reason[160];
};

/*
 * Reads @file to its end. The result is to be destroyed, in any case. Returns 0; -EINVAL, what is wrong is in *@e; -E2BIG,
 * there is no memory for so many; -ENOMEM, or how reading failed.
 */
int text_extents_read(FILE *file, const struct text_extents_args *args, struct text_extents *extents,
		      struct text_extents_error *e);
void text_extents_destroy(struct text_extents *extents);

#endif
