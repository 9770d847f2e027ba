/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of the thin-provisioning tools that dump answers to, with their options. thin_dump's are its own. */
#ifndef CMD_DUMP_NAMES_H
#define CMD_DUMP_NAMES_H

#include <argp.h>

#include "ops/dump.h"

/* The input of such a parser. */
struct dump_names_input {
	struct op_dump_args *args;
	struct op_range *ranges; /* of thin_rmap; to be freed */
};

/* How the tool called @program is called, NULL if it is none of these. */
const struct argp *dump_names_find(const char *program);

#endif
