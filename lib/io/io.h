/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How bytes reach a device: one interface, six operations, and what an engine or a filter fills in.
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
 */
struct io_ops {
	void (*submit)(struct bufio_device *dev, struct io_request **requests, unsigned nr);
	unsigned (*wait)(struct bufio_device *dev, struct io_request **done, unsigned max, bool block);
	int (*flush)(struct bufio_device *dev);
	int (*discard)(struct bufio_device *dev, uint64_t offset, uint64_t bytes);
	int (*refresh)(struct bufio_device *dev);
	int (*close)(struct bufio_device *dev);
};

/* An engine embeds this as its first member. */
struct bufio_device {
	const struct io_ops *ops;
	struct bufio_device_info info;
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

/* Who uses the block device @rdev, for a person: "held by dm-3 (vg-pool)", "mounted on /mnt". Empty if not known. */
void io_name_user(uint64_t rdev, char *text, size_t size);

/*
 * The loop device that shows @file, a regular file: "loop3". False: none does. @sys is "/sys" but in tests.
 */
bool io_name_loop(const char *sys, const struct stat *file, char *name, size_t size);

/*
 * Whether a file system with files of st_dev @fs lies on @target: on the block device, a partition of it, or a loop
 * device that shows the file. What cannot be known is false. @sys is "/sys" but in tests.
 */
bool io_is_on(const char *sys, uint64_t fs, const struct stat *target);

/* The name of the device-mapper device that holds @rdev, as dmsetup(8) takes it. False: none does. */
bool io_name_dm_holder(uint64_t rdev, char *name, size_t size);

#endif
