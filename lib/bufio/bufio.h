/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libbufio: a cache of device blocks, the userspace sibling of the Linux kernel's dm-bufio.
 *
 * A client is one device, one block size and one cache. A block is read once and then held as a buffer; a changed
 * buffer is marked dirty and written later, in large sorted batches; memory stays inside a limit.
 *
 *	struct bufio_device *dev;
 *	struct bufio_client *c;
 *	struct bufio_buffer *b;
 *	struct bufio_reason why;
 *
 *	if (bufio_device_open("pool_tmeta", BUFIO_OPEN_WRITE, "auto", &why, &dev))
 *		errx(1, "%s", why.text);
 *	c = bufio_client_create(dev, 4096, 1, 0, NULL, NULL);
 *	char *data = bufio_read(c, 7, &b);
 *	data[100] = 1;
 *	bufio_mark_buffer_dirty(b);
 *	bufio_release(b);
 *	int error = bufio_write_dirty_buffers(c);	// on stable media when it returns 0
 *
 * Errors. Calls that return a pointer return NULL and set errno; every other call that can fail returns 0 or a
 * negative errno. Outputs are untouched on failure. Nothing here prints, exits, or aborts because of a device.
 * A mistake of the caller (a release too many, dirtying what is not held) is -EINVAL, and an assertion in a build
 * without NDEBUG.
 *
 * Blocks are numbered from 0 in units of the client's block size. A device's incomplete last block is not reachable.
 *
 * Holding. A buffer is held from read, get or new until release; meanwhile it stays in memory and its data pointer
 * stays valid. To be free of deadlock, at any time at most one thread may hold several buffers, up to the
 * @reserved_buffers of bufio_client_create(); every other thread holds at most one. Holds count: two reads of one
 * block need two releases.
 *
 * Threads. Every call is safe from any thread, except that create and destroy are made by one. The cache does not
 * lock the contents: two holders of one block agree between themselves who writes. A held buffer may be written to
 * the device at any moment after it was marked dirty, so it is marked when its contents are consistent.
 *
 * Model: drivers/md/dm-bufio.c, whose verbs these are. Differences are deliberate and named at each call.
 */
#ifndef BUFIO_H
#define BUFIO_H

#include <stdint.h>

#include "bufio_device.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct bufio_client;
struct bufio_buffer;

/* --- creating and destroying ------------------------------------------------------------------------------------ */

/*
 * Create a cache over @dev.
 *
 * @block_size:       bytes; a multiple of 512 and of the device's alignment, at most 1 GiB. Need not be a power of two
 * @reserved_buffers: how many buffers the one thread that may hold several holds at most; 1 to 1048576
 * @aux_size:         bytes of the caller's own in each buffer, see bufio_get_aux_data(); at most 64 KiB
 * @alloc_callback:   called when a buffer is handed out for another block, to prepare its aux data; or NULL.
 *                    Block number and data are not valid yet, and the aux data is as the last user left it
 * @write_callback:   called directly before a buffer is written, to fill in checksum and block number; or NULL.
 *                    It may change the data, whole block, and the aux data
 * Of the library, a callback may call the accessors of a buffer (bufio_get_block_data() and so on), nothing else.
 *
 * The memory limit starts at a sixteenth of the machine's memory, not below 8 MiB and not above 256 MiB, and not
 * below the floor of bufio_get_memory_floor().
 *
 * Owner:  the caller destroys the client, then closes the device; the device stays the caller's.
 * Errors: EINVAL  a size outside the bounds above
 *         ENOMEM
 */
struct bufio_client *bufio_client_create(struct bufio_device *dev, unsigned block_size, unsigned reserved_buffers,
					 unsigned aux_size, void (*alloc_callback)(struct bufio_buffer *),
					 void (*write_callback)(struct bufio_buffer *));

/*
 * Write what is dirty, flush, and free the client; NULL is allowed.
 *
 * Buffers still held are reported as BUFIO_REPORT_LEAKED_HOLD, one by one, and freed: their pointers die.
 * The client is gone whatever is returned. dm-bufio drops errors here; this does not.
 *
 * Returns 0, or the first error: as bufio_write_dirty_buffers(); -EBUSY when all was written, but holds leaked.
 */
int bufio_client_destroy(struct bufio_client *c);

enum bufio_report {
	BUFIO_REPORT_WRITE_ERROR, /* the block was not written, and is still dirty */
	BUFIO_REPORT_LEAKED_HOLD, /* the block was still held when the client was destroyed; error is 0 */
};

/*
 * Have @report called for each event above; @error is a positive errno. It runs in the thread that finds the event, with the client locked: it
 * may not call the library on this client.
 */
void bufio_set_report(struct bufio_client *c,
		      void (*report)(void *context, enum bufio_report what, uint64_t block, int error), void *context);

/* --- memory ----------------------------------------------------------------------------------------------------- */

/*
 * Set the bytes that the client may use: block data, buffer headers, aux data, index and transfer lists together.
 *
 * Takes effect at once: surplus buffers are evicted, dirty ones after they were written, held ones when released, and
 * their memory goes back to the system (where a block is no whole number of pages, by the megabyte).
 * Errors: -EINVAL  below bufio_get_memory_floor()
 *         -ENOMEM  the index for so many buffers; nothing is changed
 *         -EIO ... surplus dirty buffers could not be written; the new limit holds for all others
 */
int bufio_set_memory_limit(struct bufio_client *c, uint64_t bytes);

uint64_t bufio_get_memory_limit(const struct bufio_client *c);

/* The least limit that can be set: the client itself and max(8, reserved_buffers + 1) buffers. */
uint64_t bufio_get_memory_floor(const struct bufio_client *c);

/* --- holding ---------------------------------------------------------------------------------------------------- */

/*
 * Read one block and hold it.
 *
 * On success *@bp is held and the returned pointer is exactly one block, aligned for direct I/O. Contents are not
 * checked.
 *
 * Owner:   the caller holds the buffer and releases it once, with bufio_release() or bufio_release_move().
 * Errors:  EINVAL   @block is past the end of the device
 *          EDEADLK  the memory limit is reached and this thread holds every buffer (else the call waits for a release)
 *          EIO ...  the device failed; this is not cached, a later call tries again. Also when the limit is reached
 *                   and every buffer that could make room is dirty and cannot be written
 *          ENOMEM
 * Threads: callers of the same block share one read.
 */
void *bufio_read(struct bufio_client *c, uint64_t block, struct bufio_buffer **bp);

/*
 * Hold one block if it is in the cache, without waiting for anything.
 *
 * Errors: ENOENT  not in the cache
 *         EAGAIN  is being read
 *         EINVAL  past the end of the device
 */
void *bufio_get(struct bufio_client *c, uint64_t block, struct bufio_buffer **bp);

/*
 * Hold one block to overwrite it entirely: nothing is read, the contents are zeroes (dm-bufio: whatever was there).
 *
 * A buffer that is released without having been marked dirty is forgotten, so the device's contents come back; but a
 * block that was dirty before stays dirty, with the new contents.
 *
 * Errors: as bufio_read(), except that nothing is read, and an earlier read error of the block does not matter.
 */
void *bufio_new(struct bufio_client *c, uint64_t block, struct bufio_buffer **bp);

/* Give one hold up; the data pointer dies with it. Errors: -EINVAL not held. */
int bufio_release(struct bufio_buffer *b);

/*
 * Say that the held buffer's contents changed: they will be written. That may happen at once, so a buffer that is changed
 * again after this call is marked again after its last change.
 * Errors: -EINVAL not held; -EROFS the device was opened read only
 */
int bufio_mark_buffer_dirty(struct bufio_buffer *b);

/*
 * Give the hold up and have the contents become block @new_block, dirty. Whatever @new_block held is lost; a dirty
 * buffer is written to its old place first, so that both places end with the contents.
 *
 * If others hold the buffer too they keep it at its old place, and a copy (data and aux) becomes @new_block.
 * With @new_block the block's own number this is bufio_release().
 *
 * Owner:  on success the hold is given up; on failure the caller still has it.
 * Errors: -EINVAL   not held, or @new_block is past the end
 *         -EROFS    the device was opened read only
 *         -EDEADLK  this thread holds @new_block itself (another holder is waited for), or as bufio_read()
 *         -EIO ...  the buffer was dirty and could not be written to its old place; or as bufio_read()
 */
int bufio_release_move(struct bufio_buffer *b, uint64_t new_block);

/* --- writing ---------------------------------------------------------------------------------------------------- */

/* Start writing every dirty buffer, held ones too, and wait for none. Errors appear in bufio_write_dirty_buffers(). */
void bufio_write_dirty_buffers_async(struct bufio_client *c);

/*
 * Write every dirty buffer, held ones too, wait, and flush the device.
 *
 * 0 means: what was dirtied before the call is on stable media, whoever wrote it. Between two blocks there is no
 * order but this call. Buffers that could not be written stay dirty (dm-bufio: become clean) and are tried again by
 * the next call; each failure goes to the report callback. A failed flush is final: nobody knows what is on the
 * device, so every later call writes, but returns that error.
 *
 * Returns 0, or the error of the lowest block that failed, else of the flush.
 */
int bufio_write_dirty_buffers(struct bufio_client *c);

/*
 * Flush the device's own cache; dirty buffers are not written. Nothing to do on a device opened read only.
 * Errors: of the device; a failed flush is final.
 */
int bufio_issue_flush(struct bufio_client *c);

/* --- asking ----------------------------------------------------------------------------------------------------- */

unsigned bufio_get_block_size(const struct bufio_client *c);

/* Whole blocks on the device. */
uint64_t bufio_get_device_size(const struct bufio_client *c);

struct bufio_device *bufio_get_device(const struct bufio_client *c);

/* Of a held buffer. The aux data is aligned for any type and is the caller's; it has no destructor. */
uint64_t bufio_get_block_number(const struct bufio_buffer *b);
void *bufio_get_block_data(const struct bufio_buffer *b);
void *bufio_get_aux_data(struct bufio_buffer *b);
struct bufio_client *bufio_get_client(const struct bufio_buffer *b);

/* Counters since creation, and gauges. */
struct bufio_stats {
	uint64_t hits;           /* blocks found in the cache */
	uint64_t misses;         /* blocks read for it, or made new */
	uint64_t evictions;      /* buffers reused for another block */
	uint64_t blocks_read;    /* and the requests they went in, neighbours merged */
	uint64_t read_requests;
	uint64_t blocks_written;
	uint64_t write_requests;
	uint64_t read_errors;    /* blocks */
	uint64_t write_errors;   /* blocks */
	uint64_t flushes;
	uint64_t waits;          /* times a thread waited for I/O or a release */
	uint64_t current_bytes;  /* of the memory limit */
	uint64_t peak_bytes;
	uint64_t dirty;          /* buffers */
};

void bufio_get_stats(struct bufio_client *c, struct bufio_stats *stats);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
