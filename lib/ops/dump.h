/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* dump: every read-only view of metadata. */
#ifndef OPS_DUMP_H
#define OPS_DUMP_H

#include <stdbool.h>

#include "bufio/bufio.h"
#include "ops/op.h"

enum dump_view { DUMP_SUMMARY, DUMP_MAPPINGS, DUMP_BLOCK };
enum dump_format { DUMP_HUMAN, DUMP_XML, DUMP_JSON };

/* The most buffers that a view holds at once: two trees side by side, and a third below one of them. */
#define DUMP_HELD_BUFFERS 64

struct op_dump_args {
	struct bufio_client *client; /* of 4096-byte blocks; DUMP_BLOCK takes any */
	const char *image;           /* what it is called in the output */
	const char *program;         /* in front of messages */
	enum dump_view view;
	enum dump_format format; /* DUMP_XML is for DUMP_MAPPINGS alone */
	int out_fd;
	int message_fd; /* problems, where the format has no place for them; -1: not wanted */

	bool only_device;
	uint64_t dev_id;
	bool skip_mappings;
	bool use_snapshot;
	uint64_t snapshot; /* block, 0 = what the superblock says */
	uint64_t begin, end; /* of DUMP_BLOCK */
};

/* *@result is filled in any case. */
void op_dump(const struct op_dump_args *args, struct op_result *result);

#endif
