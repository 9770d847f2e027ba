/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the views of dump only. */
#ifndef OPS_DUMP_INT_H
#define OPS_DUMP_INT_H

#include "meta/thin.h"
#include "ops/dump.h"
#include "text/emit.h"

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
	/* Problems that are shown behind everything else. */
	struct problem kept[MAX_KEPT];
	size_t nr_kept;
};

/* The sink's report for views that show problems behind everything else. */
void dump_report_later(struct problem_sink *sink, const struct problem *p);

/* A sink for a second look at what was reported already. */
extern struct problem_sink dump_silent;

/* Opens d->pool, or its metadata snapshot, and sees to it that --dev-id exists. False: the result says why not. */
bool dump_open_pool(struct dump *d);

/* Gives the kept problems to the emitter. */
int dump_emit_kept(struct dump *d);

uint64_t dump_nr_problems(const struct op_result *r);

/* dump_summary.c */
int dump_summary(struct dump *d);

#endif
