/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of copy share. Positions are relative to the beginning of the copy unless they say otherwise. */
#ifndef OPS_COPY_INT_H
#define OPS_COPY_INT_H

#include "ops/copy.h"
#include "text/map_file.h"

/* Written, but not known to be on stable media: never in a file. */
#define COPY_WRITTEN 'w'
#define COPY_HAVE "+w"
#define COPY_UNREAD "?*/-"

struct copy_hash; /* copy_verify.c */

struct copy {
	const struct op_copy_args *args;
	struct op_result *result;
	uint64_t bytes;    /* that are copied */
	uint64_t old_size; /* of the target */
	struct text_map map; /* in positions of the source */
	struct text_map_info notes;
	bool is_resumed, has_begun, is_stopped;
	uint64_t had_bytes; /* when it was resumed */
	uint64_t read_bytes, written_bytes, hole_bytes;
	uint64_t bad_begin, bad_end; /* of the source: what could not be read first */
	int bad_error;
	uint64_t lost_begin, lost_end; /* of the target: what could not be written */
	int lost_error;
	struct copy_hash *hash; /* of what was read so far; NULL: not asked for, or not known any more */
	char digest[17];
	uint64_t start_ns, saved_ns;
};

/* --- copy_map.c --- */

/* An empty map, or that of the file if there is one. False: result says why not. */
bool copy_map_open(struct copy *c);

/* Has the map in its file, on stable media; nothing to do without one. 0 or -errno. @doing as text_map_write(). */
int copy_map_save(const struct copy *c, char doing);

/* --- copy_pass.c --- */

/* How a pass over part of the map went. */
enum copy_end {
	COPY_END,         /* to its end */
	COPY_END_SIGNAL,
	COPY_END_READ,    /* bad_error, and what is bad is not to be left out */
	COPY_END_WRITE,   /* lost_error */
	COPY_END_MEMORY,  /* error is -EINVAL: the memory limit is less than lost_end bytes */
	COPY_END_MAP,     /* the map cannot be saved */
	COPY_END_FAILED,
};

/*
 * Copies all that has one of @wanted, in blocks of @unit, and what of that cannot be read gets @failed. What was copied is
 * on stable media when this returns COPY_END. *@error is -errno of the last three.
 */
enum copy_end copy_pass(struct copy *c, uint32_t unit, const char *wanted, char failed, int *error);

/* The least that can be read of the source. */
uint32_t copy_sector(const struct copy *c);

/* A cache for one pass over @dev within @limit bytes. 0 or -errno. */
int copy_make_client(struct bufio_device *dev, uint32_t unit, uint64_t limit, struct bufio_client **client);

/* Adds what the client did to the figures of the run. */
void copy_add_stats(const struct copy *c, struct bufio_client *client);

bool copy_is_stopped(const struct copy *c);

/* --- copy_verify.c --- */

/* 0 or -ENOMEM. */
int copy_hash_begin(struct copy *c);
/* What was read of bytes @at on; NULL is zeroes. If that is not what comes next nothing is known any more. */
void copy_hash_add(struct copy *c, uint64_t at, const void *data, uint64_t bytes);
void copy_hash_end(struct copy *c);

/* Compares what has been copied as args say. False: result says what is wrong. */
bool copy_verify(struct copy *c);

#endif
