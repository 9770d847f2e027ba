/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Traces: what was asked of devices, and when. Reads those of BUFIO_TRACE ("bufio trace 1"), fio's of versions 2 and 3, and
 * what blkparse(1) prints. Nothing in them is believed before it was looked at.
 */
#ifndef TEXT_TRACE_READ_H
#define TEXT_TRACE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/string_set.h"

enum text_trace_op {
	TEXT_TRACE_READ,
	TEXT_TRACE_WRITE,    /* bytes that need not be whole blocks */
	TEXT_TRACE_FLUSH,    /* all that was written, to stable media; of no bytes, nor are the others that say so */
	TEXT_TRACE_DISCARD,
	/* The others are in traces of a cache alone. */
	TEXT_TRACE_GET,      /* that was in the cache: who looks and finds nothing reads it, or has not had it */
	TEXT_TRACE_NEW,      /* blocks whose contents do not matter, to be written */
	TEXT_TRACE_PREFETCH,
	TEXT_TRACE_SCAN,     /* read in bulk */
	TEXT_TRACE_DIRTY,    /* blocks that are held */
	TEXT_TRACE_MOVE,     /* others became these */
	TEXT_TRACE_START,    /* writing what is dirty; of no bytes */
	TEXT_TRACE_BARRIER,  /* the device's own cache alone; of no bytes */
	TEXT_TRACE_FORGET,
	NR_TEXT_TRACE_OPS
};

struct text_trace_record {
	uint64_t ns;     /* since the beginning; never less than that of the record before */
	uint64_t offset; /* bytes; the sum of both fits */
	uint64_t bytes;
	uint32_t file;   /* below nr_files */
	uint32_t op;     /* enum text_trace_op */
};

/* A client, file or device that was traced. */
struct text_trace_file {
	uint32_t block_size; /* of a client, as it was last; else 0: not known */
	uint64_t size;       /* of the device, bytes; 0: not known */
	uint64_t begin;      /* of block 0, bytes */
};

/* All zero before text_trace_read(). */
struct text_trace {
	const char *format; /* "bufio", "fio", "blkparse" */
	struct text_trace_record *records;
	uint64_t nr, max;
	struct text_trace_file *files;
	uint64_t nr_files, max_files;
	struct string_set names; /* of files, by number + 1: numbers of clients, paths, "8,16" */
	uint64_t nr_left_out;    /* of blkparse: lines of what was not taken */
};

struct text_trace_info {
	uint64_t line;        /* that was read last, from 1 on */
	const char *expected; /* instead of what is in it: set with -EINVAL */
};

/*
 * Reads @file to its end, in @memory bytes at most. Of blkparse's lines one kind is taken, the first of queued (Q), issued
 * (D) and completed (C) that there is, and the end of it, where sums stand, is passed over.
 *
 * -EINVAL, -E2BIG more memory is needed, -ENOMEM, or how reading failed. *@info is filled in any case; the trace is the
 * caller's to destroy, whatever is returned.
 */
int text_trace_read(FILE *file, uint64_t memory, struct text_trace *trace, struct text_trace_info *info);
void text_trace_destroy(struct text_trace *trace);

/* What a file is called. */
const char *text_trace_name(const struct text_trace *trace, uint32_t file);

#endif
