/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A transaction on a device: a filter that keeps what is written in a file, the journal, until all of it is to be had
 * or nothing. The only way by which metadata is changed in place.
 *
 *	io_journal_begin()    a device whose writes land in the journal; the one below is only read
 *	io_journal_for_each_change()  what has become of it so far
 *	io_journal_commit()   all of it is written below, and can be undone from then on
 *	bufio_device_close()  ends it; without a commit nothing was changed, and the journal is removed
 *	io_journal_replay()   later, by itself: goes back to what was, or forward again
 *
 * The journal holds each changed block as it was and as it is to be. It is on stable media before the first byte of the
 * target is written, so whatever happens then can be finished or taken back.
 *
 * The transaction takes no more memory than 24 to 40 bytes a changed block. Any threads may use its device, as any
 * other; begin, commit and close are for one thread while nothing is outstanding.
 */
#ifndef IO_IO_JOURNAL_H
#define IO_IO_JOURNAL_H

#include "io/io.h"

#define IO_JOURNAL_BLOCK_SIZE 4096

struct io_journal_args {
	/*
	 * Of the journal, which is made; its folder must be there. NULL: a plan, in a file without a name in $TMPDIR. That
	 * cannot be committed, and the device below may be open for reading only.
	 */
	const char *path;
	const char *target;      /* what it is of, for people */
	const struct stat *stat; /* of the target; NULL: not known, so nobody sees whether the journal lies on it */
	uint32_t block_size;     /* a power of two, 512 to 65536; 0: IO_JOURNAL_BLOCK_SIZE */
	uint64_t max_bytes;      /* that the journal may take; 0: no limit. A write past it fails with -EFBIG. */
	uint64_t max_memory;     /* bytes that its tables may take; 0: no limit. A write past it fails with -ENOMEM. */
};

/*
 * Begins a transaction over @below, which stays the caller's and must be open for writing. Until it is committed the
 * device's flush has nothing to do; discard is -EOPNOTSUPP; a write also fails when the block's old image cannot be
 * read, or the journal not be written.
 *
 * @why:   filled on failure, untouched on success; may be NULL. So in all calls.
 * Errors: -EEXIST          there is a file of that name
 *         -EXDEV           the journal would lie on its own target
 *         -EROFS           @below is read-only, and it is not a plan
 *         -EINVAL          a block size that is none, or that @below cannot do
 *         -ENOMEM; -ENOENT, -EACCES, -ENOSPC ... as open(2), write(2) and fsync(2)
 */
int io_journal_begin(struct bufio_device *below, const struct io_journal_args *args, struct bufio_reason *why,
		     struct bufio_device **dev);

/*
 * Calls @change for each block that is not as it was, in rising order, with its images of a whole block each, which are
 * valid until it returns; what is not 0 ends it, and is returned. Before the commit, while nothing is outstanding; @change
 * does not use the device.
 *
 * Errors: -EINVAL          it was committed
 *         -EBADMSG         an image is not in the journal as it was written
 *         -ENOMEM; as read(2)
 */
int io_journal_for_each_change(struct bufio_device *dev,
			       int (*change)(void *context, uint64_t block, const void *old, const void *new),
			       void *context);

/*
 * Writes the target: blocks in rising order, then a flush, then block 0, another flush, and all is read back. Nothing
 * may be outstanding on the device, nor on the one below. Afterwards reads go through, and writes are -EROFS.
 *
 * After an error either nothing was written below, and close removes the journal; or the journal is complete and stays,
 * to undo or to resume with. The reason says which.
 *
 * Errors: -EINVAL          it was committed before, or is a plan
 *         -ESTALE          the size of the target is another now
 *         -EIO             what was read back is not what was written
 *         -ENOMEM; what the device below or the journal's file system failed with
 */
int io_journal_commit(struct bufio_device *dev, struct bufio_reason *why);

/* Whether the journal is complete and stays, so that the target may have been written, if a commit failed in part. */
bool io_journal_is_committed(const struct bufio_device *dev);

enum io_journal_direction {
	IO_JOURNAL_UNDO,   /* to the old images */
	IO_JOURNAL_RESUME, /* to the new ones */
};

/*
 * Writes the old or the new images of the journal @path to @below, in the order of a commit. All of the file is checked
 * first, and that each of its blocks still is as it was or as it was to be. May be done again, and in turns.
 *
 * Errors, after which nothing was written:
 *         -EINVAL          not a journal, or a block size that @below cannot do
 *         -EPROTONOSUPPORT of a later version
 *         -EBADMSG         damaged
 *         -ENODATA         never committed: nothing was written by it, so there is nothing to undo
 *         -ENODEV          of a target of another size
 *         -ESTALE          a block was changed since
 *         -EBUSY           another program uses the journal
 *         -EROFS           @below is read-only
 *         -ENOMEM; -ENOENT, -EACCES ... as open(2)
 * Errors, after which it has to be done again: as io_journal_commit().
 */
int io_journal_replay(struct bufio_device *below, const char *path, enum io_journal_direction direction,
		      struct bufio_reason *why);

enum io_journal_state {
	IO_JOURNAL_BEGUN,     /* not committed: the target is as it was */
	IO_JOURNAL_COMMITTED, /* the target may be anything between old and new */
	IO_JOURNAL_DONE,      /* the target is new */
	IO_JOURNAL_UNDONE,    /* the target is old */
};

struct io_journal_status {
	enum io_journal_state state;
	uint64_t nr_blocks; /* that are changed; 0 while begun */
	uint32_t block_size;
	uint64_t target_size;                         /* bytes */
	uint64_t target_dev, target_rdev, target_ino; /* 0: not known */
	char target[4096];                            /* as begin was told, cut off if longer */
};

/* What the journal @path says of itself; the images are not looked at. Errors: as io_journal_replay(). */
int io_journal_status(const char *path, struct io_journal_status *st, struct bufio_reason *why);

#endif
