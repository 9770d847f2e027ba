/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening what blocks are read from: a block device, a regular file, or memory.
 *
 * Include bufio.h, which includes this. A device is opened once, given to bufio_client_create(), and closed after
 * the client was destroyed. Sizes and topology come from the kernel (BLKGETSIZE64, BLKSSZGET, BLKPBSZGET, BLKROGET).
 *
 * Errors: calls return 0 or -errno, never touch their output on failure, and never print.
 * Threads: a device may be used by several threads, but is opened and closed by one.
 */
#ifndef BUFIO_DEVICE_H
#define BUFIO_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct bufio_device;

/* Flags of bufio_device_open(). Without any: read only, alone, direct I/O for block devices only. */
#define BUFIO_OPEN_WRITE 0x1u    /* read and write */
#define BUFIO_OPEN_SHARED 0x2u   /* take one that is in use (read only: refused together with WRITE) */
#define BUFIO_OPEN_DIRECT 0x4u   /* O_DIRECT, or fail */
#define BUFIO_OPEN_BUFFERED 0x8u /* through the page cache, block devices too */

/* What is known about an open device. */
struct bufio_device_info {
	uint64_t size;                /* bytes */
	uint32_t logical_block_size;  /* bytes; the unit of addressing, 512 for files */
	uint32_t physical_block_size; /* bytes; the unit that is written without a read */
	uint32_t alignment;           /* bytes; offset, length and memory of each request are multiples of it */
	bool block_device;
	bool read_only;
	bool direct;
	const char *engine; /* "uring", "threads", "memory" */
};

/* One line without a newline: what was refused, why, and what to do about it. */
struct bufio_reason {
	char text[5120]; /* room for any path */
};

/*
 * Open @path, a block device or a regular file.
 *
 * A block device is opened with O_EXCL, so that one that is mounted or held by another (an active pool) is refused,
 * for reading too, unless BUFIO_OPEN_SHARED. A file is locked the same way against others that use this library (an
 * open-file-description lock): one writer, or any number of readers. A file that a loop device shows is not opened for
 * writing. Nothing is created or truncated.
 *
 * @flags:  BUFIO_OPEN_*
 * @engine: the name of an I/O engine: "uring" (io_uring, Linux 5.6) or "threads"; or NULL or "auto", which is the
 *          first of these that can be had, io_uring being forbidden in many containers. Where the choice is left
 *          open like that, the environment variable BUFIO_IO_ENGINE may name the engine instead.
 * @reason: filled on failure, untouched on success; may be NULL
 * Errors:  -ENOENT, -EACCES ...  as open(2)
 *          -EISDIR, -ENOTBLK     neither a block device nor a regular file
 *          -EBUSY                in use; the reason names the user
 *          -EROFS                opened for writing, but the device is read-only
 *          -EAGAIN               replaced by something else while it was opened
 *          -EINVAL               flags that exclude each other, an unknown engine, or direct I/O that cannot be had
 *          -EPERM, -ENOSYS ...   the engine that was named is forbidden, or not in this kernel
 *          -ENOMEM
 */
int bufio_device_open(const char *path, unsigned flags, const char *engine, struct bufio_reason *reason,
		      struct bufio_device **dev);

/* Open @size bytes of zeroed memory as a device, for tests and for work without a disk. Errors: -ENOMEM. */
int bufio_device_open_memory(uint64_t size, struct bufio_device **dev);

/* The facts about @dev; valid until it is closed. */
const struct bufio_device_info *bufio_device_describe(const struct bufio_device *dev);

/*
 * Close @dev; NULL is allowed. No request may be outstanding. Does not flush.
 * Returns 0, or -errno of close(2); the device is closed all the same.
 */
int bufio_device_close(struct bufio_device *dev);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
