/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of repair share. */
#ifndef OPS_REPAIR_INT_H
#define OPS_REPAIR_INT_H

#include <pthread.h>

#include "meta/thin_check.h"
#include "meta/thin_rescue.h"
#include "ops/repair.h"
#include "text/out.h"

/* More are not looked at. */
#define REPAIR_MAX_SUSPECTS 65536

/* Virtual blocks of which something is to be said. */
enum loss_state { LOSS_LOST, LOSS_STALE, LOSS_AMBIGUOUS, NR_LOSS_STATES };

enum loss_cause {
	CAUSE_DEAD,     /* a block is, by code */
	CAUSE_NOTHING,  /* that leads there was found */
	CAUSE_BELOW,    /* a dead block, and around it pieces were found */
	CAUSE_BEYOND,   /* the data device */
	CAUSE_TWICE,    /* a data block is mapped */
	CAUSE_UNPLACED, /* a tree */
	CAUSE_REUSED,   /* data blocks of a device of another generation */
	CAUSE_OLDER,    /* version */
	CAUSE_OLDER_GENERATION,
	CAUSE_MIXED,    /* with what is newer */
	CAUSE_UNDECIDED, /* whose parts of trees are */
	CAUSE_UNPROVED, /* to be the last version */
};

struct loss {
	enum loss_state state;
	enum loss_cause cause;
	uint64_t dev_id, begin, end;
	uint64_t block;    /* of metadata, or PROBLEM_NO_BLOCK */
	uint64_t mappings; /* or RECORD_UNKNOWN */
	uint64_t pieces;   /* of CAUSE_UNDECIDED */
	uint64_t data;     /* block of CAUSE_TWICE and CAUSE_BEYOND; generation of CAUSE_OLDER */
	enum problem_code code; /* of CAUSE_DEAD */
};

/* By device of the rescue. */
struct device_report {
	uint64_t kept, lost; /* mappings; lost may be RECORD_UNKNOWN */
	uint64_t stale;      /* of these that are kept */
	uint64_t beyond;     /* of these that were found, not kept */
	bool has_holes, is_doubtful;
};

struct op_repair {
	struct problem_sink sink; /* first: what is wrong with the trees that were chosen */
	const struct op_repair_args *args;
	struct op_result *result;
	struct text_out out, messages;
	uint64_t limit; /* of memory, for all */
	uint64_t taken; /* by tables, of that */
	/* The device, and what was changed of it, in a plan alone. */
	struct bufio_client *source;
	struct bufio_device *overlay;
	struct bufio_client *patched;
	pthread_mutex_t lock; /* of what the threads of a scan find */
	struct corrected {
		uint64_t block;
		struct pd_flaw flaw;
		enum pd_kind kind;
	} *corrected;
	uint64_t nr_corrected, max_corrected;
	struct thin_pool pool; /* as it is; then as it is seen: with its list of devices */
	struct thin_scavenge *s;
	struct thin_rescue *rescue;
	struct thin_generation chosen;
	size_t generation;   /* its number */
	bool is_current, is_superblock_made;
	uint64_t data_bitmaps;   /* in the index of the data space map; 0: not known */
	bool is_data_size_wrong; /* that the superblock says */
	bool is_guess; /* an older generation than the last one, or it may be */
	char why[512];       /* it was chosen, or empty */
	const struct thin_device *devices;
	size_t nr_devices;
	struct device_report *reports;
	uint64_t report_memory; /* bytes that the two tables may still take: losses, data blocks without an owner */
	struct loss *losses;
	uint64_t nr_losses, max_losses, not_kept;
	struct suspect {
		uint64_t dev_id, key, data;
	} *suspects; /* mappings of data blocks whose counts are wrong */
	size_t nr_suspects;
	struct {
		uint64_t mappings, lost, stale;
		bool is_lost_unknown, is_doubtful;
		uint64_t highest_data, unowned;
		bool is_unowned_known;
	} totals;
	struct {
		uint64_t begin, end;
	} *unowned;
	uint64_t nr_unowned, max_unowned;
	uint64_t needed_blocks, advised_blocks; /* 0: not looked at */
	char replaced[160];
	bool is_written;
	bool is_unchecked;      /* the trees: what the scan said was believed */
	bool has_more_mappings; /* of a data block than were counted */
	uint64_t nr_built;      /* mappings */
	uint64_t metadata_used, metadata_total;
};

/* The outcome of the result, if it has none yet. False. */
bool repair_fail(struct op_repair *r, int error);
bool repair_fail_memory(struct op_repair *r, const char *what, uint64_t need);

/*
 * Tables take from the limit, and what is left, as far as it is of use, is the cache's: more bytes, if there are any; or so
 * many are in use now. Shares of the limit, at least 64 MiB where it may be raised.
 */
bool repair_take_memory(void *r, uint64_t bytes);
bool repair_give_memory(struct op_repair *r, uint64_t taken);
uint64_t repair_share(const struct op_repair *r, unsigned share);

/* Of the limit: devices, holes and pieces. */
#define REPAIR_RESCUE_SHARE 8

/* Its checksum is wrong, and not by a single byte: any of its fields may be. */
bool repair_has_bad_superblock(const struct op_repair *r);

/* For a check of @pool through @c; 0: the result says why not. */
uint64_t repair_share_memory(struct op_repair *r, const struct thin_pool *pool, struct bufio_client *c);

/* repair_choose.c: finds the generation, and has its devices put together. */
bool repair_choose(struct op_repair *r);

/* What was taken for granted before it was written is looked at. */
bool repair_look_again(struct op_repair *r);

/* repair_correct.c: single bytes that are wrong are put right, in a plan over the device. False: the result says why. */
bool repair_correct_superblock(struct op_repair *r);
bool repair_correct(struct op_repair *r, bool *changed);
void repair_suspect(void *context, uint64_t block, const void *data);
bool repair_make_overlay(struct op_repair *r);

/* repair_losses.c: what is lost, from what is wrong with the trees, and what the rescue says. */
size_t repair_index_of(const struct op_repair *r, uint64_t dev_id); /* or where it would be */
void repair_report_problem(struct problem_sink *sink, const struct problem *p);
void repair_note_mapped(void *context, uint64_t dev_id, uint64_t virtual_block, uint64_t value);
int repair_add_loss(struct op_repair *r, const struct loss *loss);
void repair_sum_up(struct op_repair *r);
bool repair_has_lost(const struct op_repair *r);

#endif
