/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A target with a transaction on it: what the tests of the journal share.
 *
 * There is one at a time, in jrig. At the bottom is memory, which holds `old`; on it lies a spy, which logs what
 * reaches it; on that injected errors, which jrig.plan says. `new` is what the memory is to hold after a commit.
 */
#ifndef UNIT_JOURNAL_RIG_H
#define UNIT_JOURNAL_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "io/io.h"
#include "io/io_journal.h"
#include "unit.h"

#define JRIG_BLOCK 4096
#define JRIG_MAX_BLOCKS 48
#define JRIG_MAX_BYTES (JRIG_MAX_BLOCKS * JRIG_BLOCK)
#define JRIG_LOG 1024

struct jrig_op {
	bool is_flush, is_read; /* else a write */
	uint64_t offset, bytes;
	struct iovec *iov; /* of the request */
	unsigned char *data; /* of a write; freed by jrig_close() */
};

extern struct jrig {
	struct bufio_device *memory, *below; /* below: with the spy and the errors */
	struct bufio_device *dev;            /* the transaction; NULL: none */
	struct io_fault_plan plan;
	uint64_t bytes;
	unsigned char old[JRIG_MAX_BYTES], new[JRIG_MAX_BYTES];
	char folder[512], path[600];
	struct bufio_reason why;
	struct jrig_op log[JRIG_LOG];
	unsigned nr_log;
	uint64_t lie_at;              /* this byte is written wrong; 0: none is */
	void (*on_write)(void);       /* before the first one; NULL: nobody asks */
} jrig;

/* A target of @bytes, and a folder for the journal; jrig_close() takes both away. */
void jrig_open(uint64_t bytes);
void jrig_close(void);

/* What the target holds. */
unsigned char *jrig_target(void);
bool jrig_is_old(void);
bool jrig_is_new(void);
void jrig_set_target(const unsigned char *data);

/* Forgets the log. */
void jrig_forget(void);

/* Begins; must succeed. */
void jrig_begin(void);
void jrig_end(void);

/* Writes some bytes through the transaction, and into jrig.new. */
void jrig_write(uint64_t offset, size_t bytes, int value);

/* Blocks here and there, neighbours, a part of one, one twice, one that stays as it was; and block 0. */
void jrig_change(void);
#define JRIG_NR_CHANGED 11

/* All of it: jrig_begin(), jrig_change(), commit, jrig_end(). */
void jrig_commit(void);

/* On the memory alone. */
int jrig_replay(enum io_journal_direction direction);
enum io_journal_state jrig_state(void);

bool jrig_has_file(void);

/* The journal as bytes. */
struct jrig_file {
	unsigned char *data;
	size_t size;
};

void jrig_load(struct jrig_file *f);
void jrig_store(const struct jrig_file *f, size_t size);
void jrig_free(struct jrig_file *f);

#endif
