/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's dm-bufio calls, as static inline calls over bufio.h: the kernel's names, types, signatures and error
 * pointers, so that code written on <linux/dm-bufio.h> needs no change where it calls dm-bufio. Nothing more to link.
 *
 *	struct block_device *bdev = dm_bufio_bdev_open("pool_tmeta", BUFIO_OPEN_WRITE);
 *	struct dm_bufio_client *c;
 *	struct dm_buffer *b;
 *
 *	if (IS_ERR(bdev))
 *		return PTR_ERR(bdev);
 *	c = dm_bufio_client_create(bdev, 4096, 1, 0, NULL, NULL);
 *	char *data = dm_bufio_read(c, 7, &b);
 *	data[100] = 1;
 *	dm_bufio_mark_buffer_dirty(b);
 *	dm_bufio_release(b);
 *	int error = dm_bufio_write_dirty_buffers(c);	// on stable media when it returns 0
 *	dm_bufio_client_destroy(c);
 *	dm_bufio_bdev_put(bdev);
 *
 * Which kernel's. DM_BUFIO_API is a kernel release, major * 10000 + minor * 100 + patch, defined before the include.
 * There are two levels and none between, so that one look tells what there is:
 *
 *	not defined, or below 60000    the calls of 2011 (v3.2): client_create with six arguments, client_destroy, read,
 *	                               get, new, release, mark_buffer_dirty, write_dirty_buffers, _async, issue_flush,
 *	                               release_move and the questions (get_block_size ... get_client)
 *	60000 (v6.0) and above         the same, release_move too, which v6.4 took away; client_create has a seventh
 *	                               argument, the flags; and all that came since: prefetch, forget, forget_buffers,
 *	                               issue_discard, mark_partial_buffer_dirty, set_minimum_buffers, set_sector_offset,
 *	                               client_reset
 *
 * Each call is the one of bufio.h without dm_, where it is explained. What the signature makes different:
 *  - A failed client_create, read or new is an error pointer, never NULL. get is NULL whenever the block is not to be
 *    had at once: absent, being read, or past the end.
 *  - Where the kernel's call returns nothing, the error that bufio.h has for it is returned by the next
 *    dm_bufio_write_dirty_buffers() (see bufio_remember_error()): of the marks, release_move, set_sector_offset and
 *    client_reset. It is dropped by release and set_minimum_buffers, where nothing is lost with it, and by
 *    client_destroy, where nobody is left to be told: call dm_bufio_write_dirty_buffers() first, as in the kernel, or
 *    bufio_client_destroy(), which returns it.
 *
 * What is different from the kernel beyond the list of bufio(3):
 *  - A block past the end of the device is -EINVAL, not whatever the device says (-EIO).
 *  - reserved_buffers 0 is taken as 1.
 *  - A device has to be opened: dm_bufio_bdev_open() stands for what hands the kernel its struct block_device.
 */
#ifndef DM_BUFIO_H
#define DM_BUFIO_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bufio.h"

#ifndef DM_BUFIO_API
#define DM_BUFIO_API 30200
#endif

/* --- types ------------------------------------------------------------------------------------------------------ */

/*
 * The kernel's names by macro, not by a type of their own: the callbacks of a client are called by the library with a
 * struct bufio_buffer *, and to call a function through a pointer of another type is undefined. So both names are one
 * type, and calls of bufio.h may be mixed in. Include this file before anything that names the two.
 */
#define dm_buffer bufio_buffer
#define dm_bufio_client bufio_client

/*
 * Never complete: a struct bufio_device under the kernel's name, cast to it and back. (No macro: a member of
 * struct bufio_device_info is called block_device.)
 */
struct block_device;

/* As the kernel's u64. Code that has a sector_t already defines DM_BUFIO_HAVE_SECTOR_T. */
#ifndef DM_BUFIO_HAVE_SECTOR_T
typedef unsigned long long sector_t;
#endif

/*
 * Error pointers. The guard is that of the kernel's linux/err.h, so that a stand-in for that file works before or after
 * this one; what was defined as a macro is left alone.
 */
#ifndef _LINUX_ERR_H
#define _LINUX_ERR_H

#ifndef MAX_ERRNO
#define MAX_ERRNO 4095
#endif

#ifndef IS_ERR_VALUE
#define IS_ERR_VALUE(x) ((uintptr_t)(x) >= (uintptr_t)-MAX_ERRNO)
#endif

#ifndef ERR_PTR
static inline void *ERR_PTR(long error)
{
	return (void *)error;
}
#endif

#ifndef PTR_ERR
static inline long PTR_ERR(const void *ptr)
{
	return (long)ptr;
}
#endif

#ifndef IS_ERR
static inline bool IS_ERR(const void *ptr)
{
	return IS_ERR_VALUE(ptr);
}
#endif

#ifndef IS_ERR_OR_NULL
static inline bool IS_ERR_OR_NULL(const void *ptr)
{
	return !ptr || IS_ERR_VALUE(ptr);
}
#endif

#ifndef ERR_CAST
static inline void *ERR_CAST(const void *ptr)
{
	return (void *)(uintptr_t)ptr;
}
#endif

#ifndef PTR_ERR_OR_ZERO
static inline int PTR_ERR_OR_ZERO(const void *ptr)
{
	return IS_ERR_VALUE(ptr) ? (int)(long)ptr : 0;
}
#endif

#endif /* _LINUX_ERR_H */

/* --- opening and closing (not the kernel's) --------------------------------------------------------------------- */

/*
 * Open a block device or a file with BUFIO_OPEN_* flags. An error pointer says what bufio_device_open() returned; who
 * wants its reason in words, or a device of memory, opens with bufio.h and casts.
 */
static inline struct block_device *dm_bufio_bdev_open(const char *path, unsigned flags)
{
	struct bufio_device *dev = NULL;
	int r = bufio_device_open(path, flags, NULL, NULL, &dev);

	return r ? (struct block_device *)ERR_PTR(r) : (struct block_device *)dev;
}

/* After the client was destroyed. What dm_bufio_write_dirty_buffers() returned 0 for is safe whatever close(2) says. */
static inline void dm_bufio_bdev_put(struct block_device *bdev)
{
	(void)bufio_device_close((struct bufio_device *)bdev);
}

/* --- this header's own ------------------------------------------------------------------------------------------ */

static inline struct dm_bufio_client *
dm_bufio_own_create(struct block_device *bdev, unsigned block_size, unsigned reserved_buffers, unsigned aux_size,
		    void (*alloc_callback)(struct dm_buffer *), void (*write_callback)(struct dm_buffer *))
{
	struct dm_bufio_client *c = bufio_client_create((struct bufio_device *)bdev, block_size,
							reserved_buffers ? reserved_buffers : 1, aux_size,
							alloc_callback, write_callback);

	return c ? c : (struct dm_bufio_client *)ERR_PTR(-errno);
}

/* On failure *@bp is at first what it was, in later kernels NULL. */
static inline void *dm_bufio_own_data(void *data, struct dm_buffer **bp, long error)
{
	if (data)
		return data;
#if DM_BUFIO_API >= 60000
	*bp = NULL;
#else
	(void)bp;
#endif
	return ERR_PTR(error);
}

static inline void dm_bufio_own_remember(struct dm_bufio_client *c, int error)
{
	if (error)
		bufio_remember_error(c, error);
}

/* --- creating and destroying ------------------------------------------------------------------------------------ */

#if DM_BUFIO_API >= 60000

/* For clients that are used where sleeping is not allowed. There is no such place here: accepted, without meaning. */
#define DM_BUFIO_CLIENT_NO_SLEEP 0x1

/* @flags: 0 or DM_BUFIO_CLIENT_NO_SLEEP; -EINVAL for any other bit */
static inline struct dm_bufio_client *
dm_bufio_client_create(struct block_device *bdev, unsigned block_size, unsigned reserved_buffers, unsigned aux_size,
		       void (*alloc_callback)(struct dm_buffer *), void (*write_callback)(struct dm_buffer *),
		       unsigned flags)
{
	if (flags & ~(unsigned)DM_BUFIO_CLIENT_NO_SLEEP)
		return (struct dm_bufio_client *)ERR_PTR(-EINVAL);
	return dm_bufio_own_create(bdev, block_size, reserved_buffers, aux_size, alloc_callback, write_callback);
}

static inline void dm_bufio_client_reset(struct dm_bufio_client *c)
{
	dm_bufio_own_remember(c, bufio_client_reset(c));
}

#else

static inline struct dm_bufio_client *
dm_bufio_client_create(struct block_device *bdev, unsigned block_size, unsigned reserved_buffers, unsigned aux_size,
		       void (*alloc_callback)(struct dm_buffer *), void (*write_callback)(struct dm_buffer *))
{
	return dm_bufio_own_create(bdev, block_size, reserved_buffers, aux_size, alloc_callback, write_callback);
}

#endif

/* Writes what is dirty, but has no way to say that it could not: see the top of this file. */
static inline void dm_bufio_client_destroy(struct dm_bufio_client *c)
{
	(void)bufio_client_destroy(c);
}

/* --- holding ---------------------------------------------------------------------------------------------------- */

static inline void *dm_bufio_read(struct dm_bufio_client *c, sector_t block, struct dm_buffer **bp)
{
	void *data = bufio_read(c, block, bp);

	return dm_bufio_own_data(data, bp, data ? 0 : -errno);
}

static inline void *dm_bufio_get(struct dm_bufio_client *c, sector_t block, struct dm_buffer **bp)
{
	return dm_bufio_own_data(bufio_get(c, block, bp), bp, 0);
}

static inline void *dm_bufio_new(struct dm_bufio_client *c, sector_t block, struct dm_buffer **bp)
{
	void *data = bufio_new(c, block, bp);

	return dm_bufio_own_data(data, bp, data ? 0 : -errno);
}

static inline void dm_bufio_release(struct dm_buffer *b)
{
	(void)bufio_release(b);
}

static inline void dm_bufio_mark_buffer_dirty(struct dm_buffer *b)
{
	dm_bufio_own_remember(bufio_get_client(b), bufio_mark_buffer_dirty(b));
}

/* The hold is given up, whatever happens. When it fails the contents stay at the old place, as they were. */
static inline void dm_bufio_release_move(struct dm_buffer *b, sector_t new_block)
{
	struct dm_bufio_client *c = bufio_get_client(b);
	int r = bufio_release_move(b, new_block);

	dm_bufio_own_remember(c, r);
	if (r)
		(void)bufio_release(b);
}

#if DM_BUFIO_API >= 60000

static inline void dm_bufio_prefetch(struct dm_bufio_client *c, sector_t block, unsigned n_blocks)
{
	bufio_prefetch(c, block, n_blocks);
}

/* Bytes @start to @end - 1. */
static inline void dm_bufio_mark_partial_buffer_dirty(struct dm_buffer *b, unsigned start, unsigned end)
{
	dm_bufio_own_remember(bufio_get_client(b), bufio_mark_partial_buffer_dirty(b, start, end));
}

static inline void dm_bufio_forget(struct dm_bufio_client *c, sector_t block)
{
	bufio_forget(c, block);
}

static inline void dm_bufio_forget_buffers(struct dm_bufio_client *c, sector_t block, sector_t n_blocks)
{
	bufio_forget_buffers(c, block, n_blocks);
}

#endif

/* --- writing ---------------------------------------------------------------------------------------------------- */

static inline void dm_bufio_write_dirty_buffers_async(struct dm_bufio_client *c)
{
	bufio_write_dirty_buffers_async(c);
}

static inline int dm_bufio_write_dirty_buffers(struct dm_bufio_client *c)
{
	return bufio_write_dirty_buffers(c);
}

static inline int dm_bufio_issue_flush(struct dm_bufio_client *c)
{
	return bufio_issue_flush(c);
}

#if DM_BUFIO_API >= 60000

/* -EBUSY while one of the blocks is held or dirty; the kernel does not look. */
static inline int dm_bufio_issue_discard(struct dm_bufio_client *c, sector_t block, sector_t count)
{
	return bufio_issue_discard(c, block, count);
}

/* --- settings --------------------------------------------------------------------------------------------------- */

/*
 * Sectors of 512 bytes. It can fail here: with a block held or dirty, or @start not a multiple of the device's
 * alignment. Blocks are then where they were before; who wants to know before the next write calls
 * bufio_set_sector_offset().
 */
static inline void dm_bufio_set_sector_offset(struct dm_bufio_client *c, sector_t start)
{
	dm_bufio_own_remember(c, bufio_set_sector_offset(c, start));
}

static inline void dm_bufio_set_minimum_buffers(struct dm_bufio_client *c, unsigned n)
{
	(void)bufio_set_minimum_buffers(c, n);
}

#endif

/* --- asking ----------------------------------------------------------------------------------------------------- */

static inline unsigned dm_bufio_get_block_size(struct dm_bufio_client *c)
{
	return bufio_get_block_size(c);
}

static inline sector_t dm_bufio_get_device_size(struct dm_bufio_client *c)
{
	return bufio_get_device_size(c);
}

static inline sector_t dm_bufio_get_block_number(struct dm_buffer *b)
{
	return bufio_get_block_number(b);
}

static inline void *dm_bufio_get_block_data(struct dm_buffer *b)
{
	return bufio_get_block_data(b);
}

static inline void *dm_bufio_get_aux_data(struct dm_buffer *b)
{
	return bufio_get_aux_data(b);
}

static inline struct dm_bufio_client *dm_bufio_get_client(struct dm_buffer *b)
{
	return bufio_get_client(b);
}

#endif
