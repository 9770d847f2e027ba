/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A space map against what was counted: every reference count, and what the index says of every bitmap. */
#ifndef PDATA_SPACE_MAP_CHECK_H
#define PDATA_SPACE_MAP_CHECK_H

#include "pdata/ref_counts.h"
#include "pdata/space_map.h"

struct pd_sm_check {
	const struct pd_reader *reader; /* its sink hears of damage, stray counts and wrong hints */
	struct pd_sm_root root;
	bool is_metadata;
	const struct pd_counts *expected;
	struct pd_counts *pointers; /* counts of metadata blocks: each bitmap that is met is one reference more; or NULL */
	/*
	 * A count that differs, in rising order. True: it is to be set to what is expected, which is 0.
	 */
	bool (*differs)(struct pd_sm_check *c, uint64_t block, uint64_t expected, uint64_t stored);
	void *context;
	bool is_fixing; /* what is to be set, and wrong hints, are changed in the cache, which writes */
	/* So far: */
	uint64_t nr_used;     /* blocks with a count, as it is stored, or after it was fixed */
	uint64_t nr_stranded; /* free blocks that the hints hide */
	uint64_t nr_unknown;  /* bitmaps that could not be read */
	bool is_at_end;       /* there are no bitmaps behind this window, which was reported if there should be */
	/* Trees are walked once more for each window, and what was told of nodes that were met before is no news. */
	struct pd_sm_news {
		struct problem_sink sink;
		struct problem_sink *below;
		bool is_again;
		uint64_t last; /* where the last node begins that was met before */
	} index_news, counts_news;
	/* Within one call. */
	struct pd_reader counts_reader;
	struct pd_cursor counts;
	uint64_t next_count, next_value;
};

/*
 * Compares the window of @expected; to be called for one window after the other, with the rest unchanged. The bitmap
 * blocks are those of the index as it is met: the metadata's own have to be counted first, see pd_sm_count_metadata().
 * Returns 0 or -errno.
 */
int pd_sm_check_window(struct pd_sm_check *c);

/*
 * The bitmaps of a space map of metadata as references in @pointers; the nodes of its tree are for the observer of @r to
 * count. Says nothing of damage; returns 0, 1 when there may be more of either behind some, or -errno.
 */
int pd_sm_count_metadata(const struct pd_reader *r, const struct pd_sm_root *root, struct pd_counts *pointers);

#endif
