/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* dump: every read-only view of metadata. */
#ifndef OPS_DUMP_H
#define OPS_DUMP_H

#include <stdbool.h>
#include <stddef.h>

#include "bufio/bufio.h"
#include "ops/op.h"

enum dump_view {
	DUMP_SUMMARY,
	DUMP_LS,       /* a row a device, chosen columns */
	DUMP_MAPPINGS,
	DUMP_BLOCK,    /* blocks field by field */
	DUMP_PATH,     /* from the superblock to one virtual block's data */
	DUMP_OWNER,    /* what metadata blocks are for, or who maps data blocks */
	DUMP_BAD,      /* what cannot be used, and what that costs */
	DUMP_DELTA,    /* two devices */
	DUMP_DIFF,     /* two images */
	DUMP_MAP,      /* every block at a glance */
	DUMP_ROOTS,    /* generations that can still be found */
	DUMP_SIZE,     /* how much metadata a pool needs */
	NR_DUMP_VIEWS
};

enum dump_format { DUMP_HUMAN, DUMP_XML, DUMP_JSON };

/* The most buffers that a view holds at once: two trees side by side, and a third below one of them. */
#define DUMP_HELD_BUFFERS 64

struct op_range {
	uint64_t begin, end; /* end is not included */
	bool in_bytes;       /* of the device, not blocks of it */
};

/* One side of a delta: a device as a generation knows it, or the tree at a block. */
struct op_side {
	bool has_dev;
	uint64_t dev_id;
	enum { SIDE_LIVE, SIDE_SNAPSHOT, SIDE_ROOT } of;
	uint64_t root; /* of SIDE_ROOT: of the generation, or without has_dev of the device's tree */
};

/* A size as thin_metadata_size prints it. */
struct op_size_form {
	char unit; /* a letter that op_size_unit() knows; 0: not in this form */
	enum { SIZE_NAMED, SIZE_NUMBER, SIZE_SHORT, SIZE_LONG } what; /* "9 sectors", "9", "9s", "9sectors" */
};

/* The letter of a unit by that letter or the begin of its name, 0: there is none such; and its bytes. */
char op_size_unit(const char *name);
uint64_t op_size_unit_bytes(char unit);

struct op_dump_args {
	struct bufio_client *client; /* of 4096-byte blocks; DUMP_BLOCK takes any; NULL: DUMP_SIZE without an image */
	const char *image;           /* what it is called in the output */
	const char *program;         /* in front of messages */
	enum dump_view view;
	enum dump_format format; /* DUMP_XML is for DUMP_MAPPINGS and DUMP_DELTA alone */
	int out_fd;
	struct op_progress *progress; /* or NULL */
	int message_fd; /* problems, where the format has no place for them; -1: not wanted */

	/* Which metadata, for all views of a pool. */
	bool only_device;
	uint64_t dev_id;
	bool skip_mappings;
	bool use_snapshot;
	uint64_t snapshot; /* block, 0 = what the superblock says */
	bool use_root;     /* look through this block instead: a root of any tree, or a superblock's copy */
	uint64_t root;
	bool repair;         /* a dead superblock or root is replaced by the best generation that can be found */
	struct op_overrides { /* of what the superblock says; 0: as found */
		bool has_transaction;
		uint64_t transaction, data_block_bytes, nr_data_blocks;
	} overrides;
	const char *lvm_backup; /* LVM's text backup of the volume group, for the names of devices; or NULL */
	const char *lvm_pool;   /* the one of its pools that this is; NULL: the one that fits best */

	/* Of single views. */
	bool count_shared;      /* DUMP_SUMMARY: exclusive and shared blocks too */
	bool flat;              /* DUMP_MAPPINGS: shared subtrees again for every device */
	bool bytes;             /* DUMP_MAPPINGS: extents in bytes */
	const char *columns;    /* DUMP_LS: names with commas between them, or NULL */
	bool no_headers;        /* DUMP_LS */
	const struct op_range *ranges; /* DUMP_BLOCK: one; DUMP_OWNER */
	size_t nr_ranges;
	const char *list;       /* DUMP_OWNER: a file of further ranges, "-" is standard input; or NULL */
	bool data;              /* DUMP_OWNER: they are data blocks */
	uint64_t virtual_block; /* DUMP_PATH, with dev_id */
	struct op_side left, right; /* DUMP_DELTA */
	bool verbose;           /* DUMP_DELTA: where the data is too; DUMP_DIFF: every difference */
	struct bufio_client *client2; /* DUMP_DIFF */
	const char *image2;
	bool as_script;         /* DUMP_DIFF: what makes the one the other, as text */
	const char *svg;        /* DUMP_MAP: file for a picture, or NULL */
	int svg_fd;
	uint64_t data_bytes, max_thins; /* DUMP_SIZE without an image, with overrides.data_block_bytes */
	struct op_size_form size_form;  /* DUMP_SIZE without an image */
};

/* *@result is filled in any case. */
void op_dump(const struct op_dump_args *args, struct op_result *result);

#endif
