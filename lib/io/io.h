/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How bytes reach a device: one interface, six operations and five that not every device has, and what an engine or a
 * filter fills in.
 *
 * An engine moves the bytes (io_uring.c, io_threads.c, io_mem.c: the first to read); a filter is a device that wraps a
 * device (io_fault.c). Above this line nobody knows which it is. Data flows one way: requests go in by submit(), come
 * out by wait(), each exactly once.
 */
#ifndef IO_IO_H
#define IO_IO_H

#include <stddef.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/piece.h"
#include "io/bufio_device.h"

enum io_direction { IO_READ, IO_WRITE };

/*
 * One transfer between consecutive bytes of the device and memory. The submitter owns it until submit(), and again
 * after wait().
 */
struct io_request {
	enum io_direction direction;
	/*
	 * The submitter calls wait() at once: an engine may leave the work to that call, which saves a single read
	 * the way to another thread and back.
	 */
	bool wait_follows;
	uint64_t offset; /* bytes */
	struct iovec *iov;
	unsigned nr_iov; /* the engine may use up iov[] and nr_iov on the way */
	int result;      /* 0: every byte was moved; else -errno. Never partial. */
	struct io_request *next; /* the engine's, while it has the request */
};

/*
 * submit:  takes @nr requests; never fails, errors come out as results.
 * wait:    gives up to @max (at least 1) requests that are done. With @block it waits until there is at least one,
 *          unless none is outstanding; without it never waits, though it may do work. Any thread may call it.
 * flush:   what was written before is on stable media when it returns 0. An error means that nobody knows.
 * discard: the bytes of the range may be forgotten; they read as anything. -EOPNOTSUPP where that cannot be had.
 * refresh: asks again how large the device is, and changes info.size; -errno when that fails.
 * close:   frees the device; nothing is outstanding.
 *
 * These may be NULL, and are called through the functions of io_extent.c, which say what is so then:
 *
 * next_data: where the next range begins and ends that may hold anything but zeroes.
 * zero:      the range reads as zeroes, and no data is moved for that; requests under way do not touch it.
 * edge:      moves bytes that are no whole unit of the alignment, at the end of a file, and waits for them.
 * resize:    the device has another size from then on; info.size is that.
 * again:     one more device for the same open file.
 */
struct io_ops {
	void (*submit)(struct bufio_device *dev, struct io_request **requests, unsigned nr);
	unsigned (*wait)(struct bufio_device *dev, struct io_request **done, unsigned max, bool block);
	int (*flush)(struct bufio_device *dev);
	int (*discard)(struct bufio_device *dev, uint64_t offset, uint64_t bytes);
	int (*refresh)(struct bufio_device *dev);
	int (*close)(struct bufio_device *dev);
	int (*next_data)(struct bufio_device *dev, uint64_t offset, uint64_t *begin, uint64_t *end);
	int (*zero)(struct bufio_device *dev, uint64_t offset, uint64_t bytes);
	int (*edge)(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t bytes);
	int (*resize)(struct bufio_device *dev, uint64_t size);
	int (*again)(struct bufio_device *dev, struct bufio_device **again);
};

/* An engine embeds this as its first member. */
struct bufio_device {
	const struct io_ops *ops;
	struct bufio_device_info info;
	bool is_untraced; /* what clients ask of it is in no trace */
};

/* A first-in first-out queue of requests, linked by their next field. */
struct io_queue {
	struct io_request *head, **tail;
};

static inline void io_queue_init(struct io_queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static inline void io_queue_push(struct io_queue *q, struct io_request *r)
{
	r->next = NULL;
	*q->tail = r;
	q->tail = &r->next;
}

static inline struct io_request *io_queue_pop(struct io_queue *q)
{
	struct io_request *r = q->head;

	if (r) {
		q->head = r->next;
		if (!q->head)
			q->tail = &q->head;
	}
	return r;
}

/* Engines over a file descriptor. Each takes ownership of @fd on success only. The names io_uring_* are liburing's. */
int io_ring_open(int fd, const struct bufio_device_info *info, struct bufio_device **dev);
int io_threads_open(int fd, const struct bufio_device_info *info, struct bufio_device **dev);

/* The memory of a device opened by bufio_device_open_memory(). */
void *io_mem_data(struct bufio_device *dev);

/*
 * Injected errors: a device over @below, in which operation number @fail_at of the kinds in @kinds fails with
 * @error (counted from 1; 0 = none fails), and every later one too if @sticky. Closing it closes @below.
 * The plan stays the caller's, who reads the count and may change it while nothing is outstanding.
 *
 * A bad place: reads and writes among @kinds fail that touch bytes @bad_begin to @bad_end - 1, whenever they are tried.
 *
 * Chance, the same in every run for the same order of operations: @random_per_mille of the reads and writes among
 * @kinds fail besides, which ones being a matter of @seed and the operation's number. And a wait() that has requests
 * to give sleeps for a time between 0 and @delay_us first, so that completions come late and in other company.
 */
#define IO_FAULT_READ 0x1u
#define IO_FAULT_WRITE 0x2u
#define IO_FAULT_FLUSH 0x4u
#define IO_FAULT_DISCARD 0x8u

struct io_fault_plan {
	unsigned kinds;
	uint64_t fail_at;
	bool sticky;
	int error; /* positive errno */
	uint64_t count;
	uint64_t bad_begin, bad_end;
	unsigned random_per_mille;
	uint64_t seed;
	unsigned delay_us;
};

int io_fault_open(struct bufio_device *below, struct io_fault_plan *plan, struct bufio_device **dev);

/* --- io_extent.c: what not every device can do --- */

/*
 * The first range from @offset on that may hold anything but zeroes, in bytes; empty, at the end of the device, if there is
 * none. A device that does not know its holes has none. Errors: of the device.
 */
int io_next_data(struct bufio_device *dev, uint64_t offset, uint64_t *begin, uint64_t *end);

/*
 * Has these bytes read as zeroes without moving any: a hole in a file, the zeroes of a block device that can make them by
 * itself. Requests under way must not touch them. Errors: -EOPNOTSUPP the device cannot; others of the device.
 */
int io_zero(struct bufio_device *dev, uint64_t offset, uint64_t bytes);

/*
 * Moves @bytes at @offset, which need not be aligned, and waits for them: for the end of a file that is read directly.
 * Errors: -EIO the device ends before; -EOPNOTSUPP; others of the device.
 */
int io_edge(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t bytes);

/* Makes a file larger, with a hole, or cuts it off. Errors: -EOPNOTSUPP no file; others of ftruncate(2). */
int io_resize(struct bufio_device *dev, uint64_t size);

/*
 * One more device for the file that @dev has open, under the same lock, with an engine for the calling thread alone: it alone
 * uses and closes the device, before @dev is closed. So io_uring needs fewer interrupts. Errors: -EOPNOTSUPP no file; others
 * of the engine.
 */
int io_open_again(struct bufio_device *dev, struct bufio_device **again);

/* --- io_pair.c: reads from one device, writes to another --- */

/*
 * A device of two: what is read comes from the source, what is written goes to the target, so that a block of a copy
 * stays in one buffer on its way. Byte 0 is @from in the source and @to in the target.
 */
struct io_pair_args {
	struct bufio_device *source, *target; /* may be the same one */
	uint64_t from, to;
	uint64_t bytes;    /* that are copied: any number */
	uint32_t unit;     /* the pair's size is a multiple of it: the end is read with zeroes behind it, and written without */
};

/*
 * Both devices stay the caller's, open until the pair is closed, and are used by nobody else meanwhile. flush, discard
 * and zero are of the target, next_data is of the source. Requests that do not suit the alignment of their device are done
 * too, but slowly.
 * Errors: -ENOMEM, -EAGAIN no thread.
 */
int io_pair_open(const struct io_pair_args *args, struct bufio_device **dev);

/* --- io_pieces.c: made of pieces of another device --- */

/* A device to be read: @pieces of @below, and zeroes between them. */
struct io_pieces_args {
	struct bufio_device *below;
	const struct piece *pieces; /* rising, without overlap, inside of both; multiples of the alignment of @below */
	size_t nr;
	uint64_t size; /* bytes: not less than where the last piece ends */
};

/* @below and @pieces stay the caller's, until it is closed. Errors: -ENOMEM. */
int io_pieces_open(const struct io_pieces_args *args, struct bufio_device **dev);

/* Who uses the block device @rdev, for a person: "held by dm-3 (vg-pool)", "mounted on /mnt". Empty if not known. */
void io_name_user(uint64_t rdev, char *text, size_t size);

/*
 * The loop device that shows @file, a regular file: "loop3". False: none does. @sys is "/sys" but in tests.
 */
bool io_name_loop(const char *sys, const struct stat *file, char *name, size_t size);

/*
 * What tells this file or block device from others, also after a restart, in one word or two: "file 1234 made
 * 1700000000.5", "device naa.5000c500", of a device-mapper device its UUID. Devices that have nothing of the kind are told
 * by their numbers. Errors: of stat(2).
 */
#define IO_IDENTITY_MAX 160
int io_identify(const char *path, char text[IO_IDENTITY_MAX]);

/*
 * Whether a file system with files of st_dev @fs lies on @target: on the block device, a partition of it, or a loop
 * device that shows the file. What cannot be known is false. @sys is "/sys" but in tests.
 */
bool io_is_on(const char *sys, uint64_t fs, const struct stat *target);

/* The name of the device-mapper device that holds @rdev, as dmsetup(8) takes it. False: none does. */
bool io_name_dm_holder(uint64_t rdev, char *name, size_t size);

#endif
