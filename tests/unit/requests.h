/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests to a device, one at a time and in batches, each of which must come back exactly once: what the tests of
 * every engine need.
 */
#ifndef UNIT_REQUESTS_H
#define UNIT_REQUESTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/io.h"

#define MAX_REQUESTS 256
#define MAX_REQUEST_SIZE 4096

/* One request, its memory, and how often it came back. */
struct request_item {
	struct io_request request; /* first, so that a request is its item */
	struct iovec iov;
	unsigned char data[MAX_REQUEST_SIZE];
	atomic_uint seen;
};

extern struct request_item requests[MAX_REQUESTS];

/* A file of @size bytes without a name: a descriptor of our own in *@fd, and a device. */
struct bufio_device *requests_open_file(const char *engine, uint64_t size, int *fd);
void requests_close_file(struct bufio_device *dev, int fd);

/* Submits one request, waits for it and gives its result. */
int requests_transfer_iov(struct bufio_device *dev, enum io_direction direction, uint64_t offset, struct iovec *iov,
			  unsigned nr, bool wait_follows);
int requests_transfer(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t len,
		      bool wait_follows);

/* Makes @nr requests of @size bytes, one behind the other from the device's start on. */
void requests_prepare(enum io_direction direction, unsigned nr, size_t size);

/* One batch of those from @first on. */
void requests_submit(struct bufio_device *dev, unsigned first, unsigned nr);

/* Waits until nothing is outstanding, for at most @max at once. */
void requests_take_all(struct bufio_device *dev, unsigned max);

/* Asks again and again, never waiting, until @nr came back. */
void requests_poll(struct bufio_device *dev, unsigned nr);

/* Submits all of them in small batches and takes them, from several threads at once. */
void requests_run_threads(struct bufio_device *dev);

/* How many did not come back exactly once, with success and the right data. */
unsigned requests_count_bad(void);

#endif
