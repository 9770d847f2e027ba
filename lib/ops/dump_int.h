/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the views of dump only. */
#ifndef OPS_DUMP_INT_H
#define OPS_DUMP_INT_H

#include "base/range_set.h"
#include "meta/thin_delta.h"
#include "meta/thin_share.h"
#include "meta/thin_survey.h"
#include "ops/dump.h"
#include "text/emit.h"
#include "text/lvm_backup.h"

/* A screen of problems is enough for a summary; all are counted. */
#define MAX_KEPT 64

/* One run of the verb: the emitter and the sink in front of it. */
struct dump {
	struct problem_sink sink; /* first: a report finds its dump by it */
	const struct op_dump_args *args;
	struct op_result *result;
	struct text_out out, messages;
	struct text_emitter *emitter;
	struct thin_pool pool;
	void *view; /* what the view's own report of problems needs */
	unsigned nr_expansions; /* of dump_show_need() */
	struct text_names names;
	struct lvm_backup *lvm;    /* NULL: none was given */
	struct lvm_pool *lvm_pool; /* the one of it that is looked at; NULL: not known yet */
	uint64_t nr_devices;       /* with a backup: that were found, and there may be more behind damage */
	bool devices_may_miss;
	/* Problems that are shown behind everything else. */
	struct problem kept[MAX_KEPT];
	size_t nr_kept;
};

/* The sink's report for views that show problems where they are found. */
void dump_report_now(struct problem_sink *sink, const struct problem *p);

/* And for views that show them behind everything else. */
void dump_report_later(struct problem_sink *sink, const struct problem *p);

/*
 * A block that was asked for by its number could not be read: one bad sector does not hide the rest. Kept, and counted
 * for the exit status; -@error, errno's, if that was not the block's.
 */
int dump_keep_unreadable(struct dump *d, uint64_t block, int error);

/* Gives the kept problems to the emitter. */
int dump_emit_kept(struct dump *d);

uint64_t dump_nr_problems(const struct op_result *r);

/* The view will read about @blocks in all; and has read some, other than by d->pool. */
void dump_expect(struct dump *d, uint64_t blocks);
void dump_advance(struct dump *d, uint64_t blocks);

/* Says in the result why @error, the world's, ended the run. */
void dump_fail_errno(struct dump *d, int error);

/*
 * Takes @bytes for a view's own tables out of the memory limit. False, and nothing is changed, when that would leave
 * the cache less than half of it.
 */
bool dump_take_memory(struct dump *d, uint64_t bytes);

/*
 * For walks that visit shared subtrees once. If it would be more than half of the memory limit there is none, nr is 0,
 * and every device is walked in full. memo->entries is to be freed.
 */
void dump_make_memo(struct dump *d, struct pd_memo *memo);

/* Counts a problem for the exit status. */
void dump_count_problem(struct dump *d, const struct problem *p);

/*
 * The view has all its tables, and reads most blocks once from now on: a larger cache would find nothing more, and its
 * fresh memory costs time.
 */
void dump_stream(struct dump *d);

/* Ends the run after dump_take_memory() of @bytes failed: the result says which limit would do for @what. */
void dump_refuse_memory(struct dump *d, const char *what, uint64_t bytes);

/* Both: false after the refusal. */
bool dump_need_memory(struct dump *d, const char *what, uint64_t bytes);

/* dump_survey.c */

/*
 * Surveys d->pool within the memory limit. False: the result says why.
 * The caller frees s->blocks, in any case.
 */
bool dump_survey(struct dump *d, struct thin_survey *s, bool scan);

/* dump_pool.c */

/* Opens d->pool, or what --metadata-snap or --root lead to, and sees that --dev-id exists. False: the result says why. */
bool dump_open_pool(struct dump *d);

/*
 * Calls @visit for each device of @pool whose id is begin..end-1, as far as either of the two trees of devices knows it.
 * Nothing is reported. *@found says how many; stops when @visit returns anything but 0, and returns that.
 */
int dump_devices_in(const struct thin_pool *pool, uint64_t begin, uint64_t end,
		    int (*visit)(void *context, uint64_t dev_id), void *context, uint64_t *found);

/* dump_need.c */

/* A structure needs a block. */
struct dump_need {
	uint64_t block, dev_id; /* dev_id: or PROBLEM_NO_DEVICE */
	uint64_t begin, end;    /* keys; equal: none */
	enum problem_where where;
	bool is_snapshot;       /* a tree of the metadata snapshot beside the pool */
	const char *path;       /* or NULL */
	enum record_kind kind_of_device, kind_of_pool; /* how it is told: struct record_owner */
};

/* Tells it; for nodes above the devices device by device. @pool: whose trees it belongs to. */
int dump_show_need(struct dump *d, const struct thin_pool *pool, const struct dump_need *need);

/* dump_lvm.c: names of devices, and whether LVM and the pool agree. Nothing is done when no backup was given. */

/* Reads the backup. False: the result says why. */
bool dump_open_lvm(struct dump *d);
void dump_close_lvm(struct dump *d);

/* Finds out which pool of the backup d->pool is. False: the result says why. */
bool dump_choose_lvm_pool(struct dump *d);

/* Of a logical volume, NULL if it is not known. */
const char *dump_device_name(const struct dump *d, uint64_t dev_id);

/* What the summary says of LVM. The texts are @lvm's. */
struct dump_lvm_texts {
	char line[512], advice[LVM_REASON_MAX], ending[LVM_REASON_MAX];
};
void dump_fill_lvm(const struct dump *d, struct dump_lvm_texts *lvm, struct record_summary *s);
int dump_emit_strays(struct dump *d);

/* dump_share.c */

/*
 * Counts every device's exclusive mappings: s->exclusive has them, in the order of the devices. Returns 0 or -errno;
 * if the result has an outcome then, they were not counted. s is to be given to dump_share_free() in any case.
 */
int dump_count_shares(struct dump *d, struct thin_share *s);
void dump_share_free(struct thin_share *s);

/* Changes @pool to the metadata snapshot that the options name. False: there is none, and the result says so. */
bool dump_use_snapshot(struct dump *d, struct thin_pool *pool);

/* False: @pool has no such device, or it may be behind damage; the result says which. */
bool dump_find_device(struct dump *d, struct thin_pool *pool, uint64_t dev_id, struct thin_device *device);

/* dump_ranges.c */

/* What ranges are of. */
struct dump_space {
	const char *name;     /* "data" */
	uint64_t block_bytes; /* 0: not known, and bytes are refused */
	uint64_t nr_blocks;   /* UINT64_MAX: not known */
};

/*
 * Everything that was asked for, settled: args->ranges and args->list, bytes as the blocks that they touch. False: the
 * result says why. The caller takes the memory of @set out of the limit, and destroys it in any case.
 */
bool dump_read_ranges(struct dump *d, const struct dump_space *space, struct range_set *set);

/* dump_delta.c: a range as a record. @with_data: with the data blocks, else these are not known. */
struct record_delta_range dump_delta_range(const struct thin_delta_range *range, bool with_data);

/*
 * dump_diff.c: the limit is for both images; a half that is too small for a cache is refused, and then each has it all.
 */
void dump_share_limit(struct dump *d);
int dump_diff_script(struct dump *d); /* dump_diff() with --as-script */

/* dump_repair.c: false, and the result says why */

struct thin_scavenge;

/* Looks for older generations, within the memory limit. To be destroyed. */
bool dump_scavenge(struct dump *d, struct thin_scavenge **s);

/* Has d->pool look through --root. */
bool dump_use_root(struct dump *d);

/* Reports what is wrong with the live pool's top level and device details; which of them are whole. 0 or -errno. */
int dump_judge_roots(struct dump *d, bool *has_top, bool *has_details);

/* Has d->pool look through the best generation there is, where its own superblock or roots are dead. */
bool dump_repair(struct dump *d);

/* The views: 0, or -errno for the world. */
int dump_bad(struct dump *d);
int dump_blocks(struct dump *d);
int dump_delta(struct dump *d);
int dump_diff(struct dump *d);
int dump_ls(struct dump *d);
int dump_map(struct dump *d);
int dump_mappings(struct dump *d);
int dump_owner(struct dump *d);
int dump_data_owner(struct dump *d); /* dump_owner() with --data */
int dump_path(struct dump *d);
int dump_roots(struct dump *d);
int dump_size(struct dump *d);
int dump_summary(struct dump *d);

#endif
