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

#include <stdbool.h>
#include <stddef.h>
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
 * The memory limit starts at a sixteenth of the memory that this process may use (the machine's, or less where a
 * control group says so), not below 8 MiB and not above 256 MiB. The environment may say otherwise:
 *	BUFIO_MEMORY_LIMIT   such as 64MiB           see bufio_set_memory_limit()
 *	BUFIO_DIRTY_PERCENT  1 to 100                see bufio_set_dirty_percent()
 *	BUFIO_READ_AHEAD     such as 4MiB            see bufio_set_read_ahead()
 * In each case the limit is not below the floor of bufio_get_memory_floor(). And
 *	BUFIO_TRACE          a file                  what is asked of the cache is written there
 * which is made if need be, and must be a regular file that is empty or a trace; bufio(3) has its format. All clients of
 * the process that are made while the variable says so are in it.
 *
 * Two clients of one device must not have I/O under way at the same time, as requests come back to whoever waits first:
 * open the device once more for each (dm-bufio: need not).
 *
 * Owner:  the caller destroys the client, then closes the device; the device stays the caller's.
 * Errors: EINVAL  a size outside the bounds above, or a variable that bufio_check_environment() explains
 *         EACCES ...  as bufio_check_environment()
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

/*
 * Forget everything that the cache holds, after writing what is dirty, and ask again how large the device is: for when
 * it was changed behind the cache's back. The client stays usable.
 *
 * Buffers that are held, or could not be written, stay.
 * Errors: as bufio_write_dirty_buffers(); -EBUSY when all was written, but buffers are held
 */
int bufio_client_reset(struct bufio_client *c);

/*
 * Whether the BUFIO_* variables of the environment can be understood, and the trace be written. Programs that run with
 * another user's rights (set-user-ID) do not read them.
 *
 * A trace that cannot be written ends, and nothing else does. Called when the clients are gone, this tells.
 * Errors: -EINVAL  one cannot; @reason, which may be NULL, says which and what is expected
 *         -EBUSY   another program writes that trace, or this one writes another
 *         -EACCES, -ENOSPC ...  of the file of the trace
 */
int bufio_check_environment(struct bufio_reason *reason);

enum bufio_report {
	BUFIO_REPORT_WRITE_ERROR, /* the block was not written, and is still dirty */
	BUFIO_REPORT_LEAKED_HOLD, /* the block was still held when the client was destroyed; error is 0 */
};

/*
 * Have @report called for each event above; @error is a positive errno. It runs in the thread that finds the event,
 * with the client locked: it may not call the library on this client.
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

/* The least limit that can be set: the client itself and max(8, reserved_buffers + 1, minimum) buffers. */
uint64_t bufio_get_memory_floor(const struct bufio_client *c);

/*
 * Have room for at least @nr buffers (dm-bufio: 8, and nothing reads it any more): raises the floor, and the limit
 * with it where that is lower. A lower minimum later leaves the limit alone.
 * Errors: -EINVAL  more than 16777216
 *         -ENOMEM  nothing is changed
 */
int bufio_set_minimum_buffers(struct bufio_client *c, unsigned nr);

/* Start a new peak: bufio_stats.peak_bytes becomes what is used now. */
void bufio_reset_peak(struct bufio_client *c);

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
 * It takes in what the device has finished meanwhile, so prefetch and get, tried again, come to an end.
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

/*
 * Start reading the @nr blocks from @block on that are not in the cache, neighbours merged, and wait for none.
 *
 * Never waits and never fails: where memory or requests are short, or past the end, the rest is left alone. A block
 * that could not be read is forgotten, so that a later bufio_read() tries again.
 */
void bufio_prefetch(struct bufio_client *c, uint64_t block, uint64_t nr);

/* Give one hold up; the data pointer dies with it. Errors: -EINVAL not held. */
int bufio_release(struct bufio_buffer *b);

/*
 * Say that the held buffer's contents changed: they will be written. That may happen at once, so a buffer that is
 * changed again after this call is marked again after its last change.
 * Errors: -EINVAL not held; -EROFS the device was opened read only
 */
int bufio_mark_buffer_dirty(struct bufio_buffer *b);

/*
 * The same for bytes @start to @end - 1 of the block: no others need to be written.
 *
 * Several ranges become one, from the lowest start to the highest end; it is widened to whole physical blocks of the
 * device, 4096 bytes at least. A client with a write callback always writes whole blocks, as the callback may change
 * any byte; and what could not be written is written whole the next time.
 * Errors: as bufio_mark_buffer_dirty(); -EINVAL also when @start >= @end, or @end is past the block
 */
int bufio_mark_partial_buffer_dirty(struct bufio_buffer *b, unsigned start, unsigned end);

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

/*
 * Forget block @block, or the @nr blocks from @block on: a hint, after they were changed by another route. Blocks that
 * are held, dirty, being read or being written stay. Nothing is written.
 */
void bufio_forget(struct bufio_client *c, uint64_t block);
void bufio_forget_buffers(struct bufio_client *c, uint64_t block, uint64_t nr);

/* --- reading in bulk -------------------------------------------------------------------------------------------- */

/* What to scan, and what to do with it. */
struct bufio_scan {
	/*
	 * The next blocks, consecutive: fills both and returns true, or returns false at the end. Ascending order is
	 * read fastest. Called by one thread at a time. NULL: the blocks are the @nr_blocks from @first_block on.
	 */
	bool (*next)(void *context, uint64_t *block, uint64_t *nr);
	/*
	 * One block; @data, until it returns. @error is 0, or a negative errno: it could not be read, and @data is
	 * NULL. What is not 0 ends the scan. May use the library, and hold one buffer of this client.
	 */
	int (*block)(void *context, uint64_t block, const void *data, int error);
	void *context;
	uint64_t first_block, nr_blocks; /* without @next */
	unsigned threads; /* that call @block at the same time, the caller's one of them; 0: one for each processor */
	bool in_order;    /* as @next gave them, in the caller's thread alone (threads: 0 or 1); else what is there first */
	uint64_t window;  /* bytes that are read ahead; 0: as bufio_set_read_ahead(). At most half of the memory limit */
};

/*
 * Read many blocks once: neighbours merged, far ahead, inside the memory limit, finished blocks handed to threads.
 *
 * A thread of the scan holds one block, and the callback may hold one more; half of the buffers are left for these. To
 * lower the memory limit under callbacks that take another can take that away, and have them wait for each other.
 *
 * What is in the cache is taken from there, dirty or not. What is not leaves it again: a scan of a whole device takes
 * little more memory than its window, and does not empty the cache of what is in use.
 *
 * Returns 0, or the first value other than 0 that @block returned, then or soon after: other threads finish what
 *         they have.
 * Errors: -EINVAL   a block past the end; @in_order with several threads
 *         -EDEADLK  as bufio_read()
 *         -ENOMEM
 */
int bufio_scan(struct bufio_client *c, const struct bufio_scan *scan);

/*
 * How far bufio_scan() reads ahead where it is not told, in bytes: 8 MiB at first. 0 is one request at a time.
 * The getter gives what was set.
 */
void bufio_set_read_ahead(struct bufio_client *c, uint64_t bytes);
uint64_t bufio_get_read_ahead(const struct bufio_client *c);

/* --- writing ---------------------------------------------------------------------------------------------------- */

/*
 * Start writing every dirty buffer, held ones too, and wait for none. What does not go at once follows whenever a
 * thread waits for I/O of this client, or looks for what is done. Errors appear in bufio_write_dirty_buffers().
 */
void bufio_write_dirty_buffers_async(struct bufio_client *c);

/*
 * Write every dirty buffer, held ones too, wait, and flush the device.
 *
 * 0 means: what was dirtied before the call is on stable media, whoever wrote it. Between two blocks there is no
 * order but this call. Buffers that could not be written stay dirty (dm-bufio: become clean) and are tried again by
 * the next call; each failure goes to the report callback. A failed flush is final: nobody knows what is on the
 * device, so every later call writes, but returns that error.
 *
 * Returns 0, or the error of the lowest block that failed, else of the flush, else of bufio_remember_error().
 */
int bufio_write_dirty_buffers(struct bufio_client *c);

/*
 * Have a bufio_write_dirty_buffers() return @error (negative): the next one that has no error of its own. The first
 * counts. For layers whose own calls return nothing, such as dm-bufio.h.
 */
void bufio_remember_error(struct bufio_client *c, int error);

/*
 * Start writing, oldest first, when more than @percent of the buffers are dirty: at each
 * bufio_mark_buffer_dirty(), not waited for. 75 at first.
 * Errors: -EINVAL  not 1 to 100
 */
int bufio_set_dirty_percent(struct bufio_client *c, unsigned percent);
unsigned bufio_get_dirty_percent(const struct bufio_client *c);

/*
 * Flush the device's own cache; dirty buffers are not written. Nothing to do on a device opened read only.
 * Errors: of the device; a failed flush is final.
 */
int bufio_issue_flush(struct bufio_client *c);

/*
 * Tell the device that the contents of @nr blocks from @block on are not needed: a hole in a file, a discard of a block
 * device. What they read as afterwards is the device's affair. Cached copies are forgotten (dm-bufio: stay).
 *
 * Errors: -EINVAL      past the end
 *         -EROFS       the device was opened read only
 *         -EBUSY       one of them is held, dirty, or has I/O under way; nothing is discarded
 *         -EOPNOTSUPP  the device cannot
 *         -EIO ...     of the device
 * Threads: nobody else may use these blocks meanwhile.
 */
int bufio_issue_discard(struct bufio_client *c, uint64_t block, uint64_t nr);

/*
 * Have block 0 begin @sectors of 512 bytes behind the start of the device: metadata inside a partition, say. The size
 * of bufio_get_device_size() is what is left, 0 when nothing is. Cached blocks are forgotten.
 *
 * Errors: -EINVAL  not a multiple of the device's alignment, or not a number of bytes
 *         -EBUSY   a block is held or dirty; nothing is changed
 */
int bufio_set_sector_offset(struct bufio_client *c, uint64_t sectors);

/* --- asking ----------------------------------------------------------------------------------------------------- */

unsigned bufio_get_block_size(const struct bufio_client *c);

/* Whole blocks on the device, from the sector offset on. */
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
	uint64_t misses;         /* blocks that were not: read, prefetched, scanned or made new */
	uint64_t evictions;      /* buffers reused for another block */
	uint64_t blocks_read;    /* and the requests they went in, neighbours merged */
	uint64_t read_requests;
	uint64_t read_bytes;
	uint64_t blocks_written;
	uint64_t write_requests;
	uint64_t written_bytes;
	uint64_t merged;         /* blocks that went with a neighbour's request, reads and writes */
	uint64_t read_errors;    /* blocks */
	uint64_t write_errors;   /* blocks */
	uint64_t flushes;
	uint64_t discards;
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
