/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * repair: what can be brought back of damaged metadata, written as new metadata; and what cannot, said.
 *
 *	op_repair_open()    finds what there is and chooses; nothing is written
 *	op_repair_write()   it is written to the target, and checked
 *	op_repair_show()    the report
 *	op_repair_close()
 *
 * or op_repair_in_place(), for what needs no new trees of mappings.
 */
#ifndef OPS_REPAIR_H
#define OPS_REPAIR_H

#include <sys/stat.h>

#include "bufio/bufio.h"
#include "ops/op.h"

/* As check has, and restore. */
#define REPAIR_HELD_BUFFERS 96

/* Older versions of what is dead, whose data blocks nobody else has. */
enum op_repair_stale {
	REPAIR_STALE_OFFER, /* are named, and not used */
	REPAIR_STALE_USE,
	REPAIR_STALE_NO, /* are not looked for */
};

/* A device that is not to come from where the others do. */
struct op_repair_choice {
	uint64_t dev_id;
	bool is_block; /* value is the root of its tree; else a generation's number, as the list has it */
	uint64_t value;
};

struct op_repair_args {
	const char *program;
	const char *input, *target;  /* names, for messages; target NULL: nothing is written */
	struct bufio_client *client; /* of the input; 4096-byte blocks */
	bool may_raise_memory;       /* the limit was not asked for: tables that need more get it */
	bool json;
	int out_fd;     /* the report; -1: none is wanted */
	int message_fd; /* -1: not wanted */
	struct op_progress *progress; /* or NULL */
	struct {
		bool has_transaction;
		uint64_t transaction, data_block_bytes, nr_data_blocks; /* 0: as found */
	} overrides;
	/* What to begin with; else the best that there is. */
	bool use_root, use_generation;
	uint64_t root, generation;
	const struct op_repair_choice *choices;
	unsigned nr_choices;
	enum op_repair_stale stale;
	bool accept_loss; /* then it is no failure */
	const char *signature; /* that may be overwritten, or NULL */
	bool is_new;           /* the target was made for this */

	/* In place. */
	bool dry_run;
	const char *journal; /* a file that is made; NULL: see op_journal_name() */
	const struct stat *target_stat;
};

struct op_repair;

/* NULL: *@result says why. */
struct op_repair *op_repair_open(const struct op_repair_args *args, struct op_result *result);
void op_repair_close(struct op_repair *r); /* NULL is allowed */

/* Bytes of a file that is made for it. False: *@result says why. */
bool op_repair_new_size(struct op_repair *r, uint64_t *bytes, struct op_result *result);

/*
 * Writes all to the device of @target, whose contents may be overwritten if op_repair_may_write() says so. False: *@result
 * says why. result->blocks is not 0 when the target is good.
 */
bool op_repair_may_write(struct op_repair *r, struct bufio_client *target, struct op_result *result);
bool op_repair_write(struct op_repair *r, struct bufio_client *target, struct op_result *result);

/* What came back and what did not; result->problems has something lossy if anything was lost, unless that is accepted. */
void op_repair_show(struct op_repair *r, struct op_result *result);

/*
 * Reference counts, leaks, hints, mapped_blocks, needs_check, both space maps, the device details: mended in one
 * transaction, superblock last. Refused if a mapping tree is damaged. The report is said too.
 */
void op_repair_in_place(const struct op_repair_args *args, struct op_result *result);

#endif
