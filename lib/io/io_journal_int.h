/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of a transaction share: io_journal.c begins, commits and ends it, io_journal_overlay.c is its device,
 * io_journal_file.c its file, and io_journal_replay.c writes the target.
 */
#ifndef IO_IO_JOURNAL_INT_H
#define IO_IO_JOURNAL_INT_H

#include <pthread.h>

#include "io/io_journal.h"

/*
 * Images lie in slots, in the order in which blocks were changed: the old one, and behind it the new one. Which slot is
 * whose is in the table of records, which is written behind the last slot when the transaction is committed.
 */
struct io_journal_record {
	uint64_t block;
	uint32_t slot;
	uint32_t old_sum, new_sum; /* checksums of the images, and of the block's number */
};

struct io_journal_file {
	int fd;
	const char *path; /* the caller's, for reasons */
	struct bufio_reason *why;
	uint64_t id;
	struct io_journal_status about;
	uint64_t sequence; /* of the newest mark; 0: none */
	uint64_t nr_slots;
	uint32_t table_sum;
	/* Room for IO_JOURNAL_RUN bytes each, which are whole blocks. */
	unsigned char *images, *current;
};

#define IO_JOURNAL_RUN 262144
#define IO_JOURNAL_MIN_BLOCK_SIZE 512
#define IO_JOURNAL_MAX_BLOCK_SIZE 65536

static inline bool io_journal_is_block_size(uint32_t size)
{
	return size >= IO_JOURNAL_MIN_BLOCK_SIZE && size <= IO_JOURNAL_MAX_BLOCK_SIZE && !(size & (size - 1));
}

static inline uint32_t io_journal_run_blocks(const struct io_journal_file *f)
{
	return IO_JOURNAL_RUN / f->about.block_size;
}

static inline uint64_t io_journal_nr_blocks(const struct io_journal_file *f)
{
	return f->about.target_size / f->about.block_size + (f->about.target_size % f->about.block_size != 0);
}

/* Bytes of the target in @nr blocks from @block on: its last block may be a part of one. The rest reads as zeroes. */
uint64_t io_journal_bytes(const struct io_journal_file *f, uint64_t block, uint64_t nr);

/* How large the file is with so many slots and records. */
uint64_t io_journal_file_size(const struct io_journal_file *f, uint64_t nr_slots, uint64_t nr_records);

/* Memory that any device takes, NULL if there is none. */
void *io_journal_memory(void);
int io_journal_take_memory(struct io_journal_file *f);

/*
 * Both leave a file that must be closed, if they fail too. Create writes the header into the new f->fd, and it is on
 * stable media; f->about is filled, but for the state. Open reads header and marks, and says what is wrong. @mode is
 * O_RDWR, and then nobody else may have it, or O_RDONLY.
 */
int io_journal_file_create(struct io_journal_file *f);
int io_journal_file_open(struct io_journal_file *f, int mode);
void io_journal_file_close(struct io_journal_file *f);

/* -EBUSY if another has it. */
int io_journal_file_lock(struct io_journal_file *f);

/* Both say it in f->why, and return an error. "FILE cannot be VERB: why" */
int io_journal_refuse_damaged(const struct io_journal_file *f, const char *what);
int io_journal_refuse_file(const struct io_journal_file *f, int error, const char *verb);

uint32_t io_journal_sum(const struct io_journal_file *f, uint64_t block, const void *image);

/* Images of a slot, either the new one, or both. */
int io_journal_read_new(const struct io_journal_file *f, uint32_t slot, void *image);
int io_journal_write_new(const struct io_journal_file *f, uint32_t slot, const void *image);
int io_journal_write_both(const struct io_journal_file *f, uint32_t slot, const void *old, const void *new);
int io_journal_is_unchanged(const struct io_journal_file *f, uint32_t slot, bool *is_unchanged);

/* The table, in rising order of blocks, into the file that has f->nr_slots. Its end is the end of the file. */
struct io_journal_table {
	struct io_journal_file *file;
	unsigned nr; /* in the buffer */
	unsigned char *buffer;
};

int io_journal_table_add(struct io_journal_table *t, const struct io_journal_record *r);
int io_journal_table_end(struct io_journal_table *t);

/* Says what is true now, on stable media when it returns 0. */
int io_journal_file_mark(struct io_journal_file *f, enum io_journal_state state);

/* All records in their order. They are checked each time, since another program may not mind locks. */
typedef int (*io_journal_visit_fn)(struct io_journal_file *f, const struct io_journal_record *r, void *context);
int io_journal_for_each(struct io_journal_file *f, io_journal_visit_fn visit, void *context);

/* An image that is what its record says. */
int io_journal_load(struct io_journal_file *f, const struct io_journal_record *r, enum io_journal_direction which,
		    unsigned char *image);

/* --- io_journal_replay.c --- */

/* Reads and checks all of the table and of the images. */
int io_journal_file_verify(struct io_journal_file *f);

/* Writes the images of one direction to @below, and reads them back. Only after verify. */
int io_journal_file_apply(struct io_journal_file *f, struct bufio_device *below, enum io_journal_direction direction);

/* --- io_journal_overlay.c --- */

enum io_journal_phase {
	IO_JOURNAL_IS_OPEN,
	IO_JOURNAL_IS_BROKEN,    /* to be given up: an image was half written, or a commit failed early */
	IO_JOURNAL_IS_COMMITTED, /* the journal stays, and the target may be anything */
	IO_JOURNAL_IS_DONE,
};

/* What is known of a slot. */
struct io_journal_slot {
	uint64_t block;
	uint32_t old_sum, new_sum;
};

struct io_journal_device {
	struct bufio_device dev;
	struct bufio_device *below;
	struct io_journal_file file;
	char *path;
	const char *name; /* the last part of it */
	int folder;       /* a descriptor; of a plan -1 */
	bool is_plan;
	uint64_t max_bytes;
	enum io_journal_phase phase; /* changed under working and lock, as the slots are and their number */
	struct io_journal_slot *slots;
	uint64_t max_slots, memory; /* as table_grow() counts them */
	uint32_t *places;           /* hash table of slots, by block: number + 1, or 0. At most half of it is used. */
	uint64_t nr_places;

	pthread_mutex_t working; /* on changed blocks, with the memory of file */
	pthread_mutex_t taking;
	pthread_mutex_t lock; /* all below */
	struct io_queue done;
	uint64_t nr_below;        /* requests that the device below has */
	struct io_request *inner; /* one of them that is ours, for who is working */
};

extern const struct io_ops io_journal_ops;

/* Called with working held. */
void io_journal_enter(struct io_journal_device *d, enum io_journal_phase phase);

/* --- io_journal.c --- */

int io_journal_close(struct bufio_device *dev);

#endif
