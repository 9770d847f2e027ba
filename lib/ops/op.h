/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every verb returns: how it ended, and for a person why. The doors turn it into an exit status. */
#ifndef OPS_OP_H
#define OPS_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meta/record.h"
#include "pdata/problem.h"

enum op_outcome {
	OP_DONE,         /* to the end; what was found is in the problem counts */
	OP_USAGE,        /* asked for something that does not exist */
	OP_LOST,         /* what was asked for may be behind damage */
	OP_NOT_METADATA, /* no metadata of a known kind */
	OP_INPUT,        /* the input cannot be read */
	OP_OUTPUT,       /* the output cannot be written */
	OP_REFUSED,      /* what is there would be lost */
	OP_EXPECT,       /* something is not as it was said to be, and nothing was written */
	OP_PARTLY,       /* the target was begun, and is not finished */
	OP_DIFFERS,      /* the target was written, and is not what was to be written */
	OP_INTERNAL,     /* out of memory, or a fault of ours */
};

struct text_out;

/* How far a verb is, for whoever wants to show it; read by another thread. */
struct op_progress {
	_Atomic uint64_t blocks; /* that were read */
	_Atomic uint64_t total;  /* about so many it will be; 0: not known */
	/* Called with @context before something is written, or NULL: so that a line on the same terminal gives way. */
	void (*before_output)(void *context);
	void (*before_message)(void *context);
	void *context;
};

/* A path of any length, and a sentence. */
#define OP_REASON_MAX 5120

struct op_result {
	enum op_outcome outcome;
	int error; /* -errno of OP_OUTPUT and OP_INPUT */
	uint64_t problems[NR_SEVERITIES];
	bool lvm_refuses;    /* LVM would not activate the pool, or the kernel would not do it for LVM */
	uint64_t unreadable; /* blocks that were asked for by number and could not be read */
	uint64_t blocks;     /* of metadata that was written */
	bool keeps_target;   /* there is something in a target that was made for this */
	bool differs;        /* what was compared is not the same */
	char reason[OP_REASON_MAX]; /* unless OP_DONE: one line, what and what to do next */
};

__attribute__((format(printf, 4, 5))) void op_fail(struct op_result *r, enum op_outcome outcome, int error,
						   const char *format, ...);

/* @error, a -errno, of reading @image. */
void op_fail_errno(struct op_result *r, const char *image, int error);

/* A name as a shell takes it. */
void op_quote(const char *name, char *text, size_t size);

/* Both are made to write there; the line of @progress, or NULL, gives way. */
void op_open_outputs(const struct op_progress *progress, struct text_out *out, int out_fd, struct text_out *messages,
		     int message_fd);

/*
 * One record as a document of @schema, or for people: to @out_fd, which may be -1 for nothing. 0 or -errno. @image is what
 * it is of.
 */
int op_show_record(int out_fd, bool json, const char *schema, const char *image, enum record_kind kind, const void *record);

#endif
