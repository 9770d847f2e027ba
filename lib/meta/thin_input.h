/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looks at the records of a pool on their way from a text to the builder: a visitor in front of another. What is not
 * possible in a pool ends with -EINVAL and a sentence.
 */
#ifndef META_THIN_INPUT_H
#define META_THIN_INPUT_H

#include <stdbool.h>

#include "meta/record.h"
#include "meta/thin.h"

struct thin_input_args {
	struct thin_overrides overrides;
	bool count_mapped;    /* mapped_blocks is counted, whatever the text says */
	bool is_lenient;      /* with what only the kernel would mind: sizes, versions and times are taken as they are */
	/* What 0 data blocks mean, as XML of a metadata snapshot has it: an error; any number; or data_blocks. */
	enum { DATA_BLOCKS_MUST_BE_KNOWN, DATA_BLOCKS_MAY_BE_ANY, DATA_BLOCKS_ARE_GIVEN } unknown_data_blocks;
	uint64_t data_blocks;
	uint64_t memory;      /* bytes for tables */
};

#define THIN_INPUT_REASON_MAX 240

struct thin_input;

/* @next gets the records, with the overrides applied. To be destroyed. Errors: -ENOMEM */
int thin_input_create(const struct thin_input_args *args, struct meta_visitor *next, struct thin_input **input);
void thin_input_destroy(struct thin_input *input); /* NULL is allowed */

/* Its calls return 0; -EINVAL: see the reason; -E2BIG: tables take more than the memory; what @next returns. */
struct meta_visitor *thin_input_visitor(struct thin_input *input);

/* After -EINVAL: "ATTRIBUTE: SENTENCE", or what is wrong with the element. Empty if it was not this visitor. */
const char *thin_input_reason(const struct thin_input *input);

#endif
