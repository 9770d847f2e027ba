/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engines over a file descriptor share (io_fd.c), and what all that refuses does. */
#ifndef IO_IO_INT_H
#define IO_IO_INT_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/types.h>

#include "io/io.h"

/* Fills the reason and hands @error through, so that a refusal is one line where it is found. */
__attribute__((format(printf, 3, 4))) static inline int refuse(struct bufio_reason *reason, int error,
							       const char *format, ...)
{
	va_list args;

	if (reason) {
		va_start(args, format);
		vsnprintf(reason->text, sizeof(reason->text), format, args);
		va_end(args);
	}
	return error;
}

/* Such an engine embeds this as its first member. */
struct io_fd {
	struct bufio_device dev;
	int fd;
	pthread_mutex_t edge; /* one at a time, as it changes the descriptor's mode */
	bool is_second;       /* of a file that another device has open, and unlocks */
};

/* Fills @f for a device as @info says; "engine" is what it calls itself. */
void io_fd_init(struct io_fd *f, int fd, const struct bufio_device_info *info, const char *engine,
		const struct io_ops *ops);

/* How many of the request's vectors one attempt may have. */
unsigned io_fd_nr_iov(const struct io_request *r);

/* Takes @n, what one attempt gave: bytes, or -errno. True when the request has its result, false to try again. */
bool io_fd_account(struct io_request *r, ssize_t n);

/* The whole request, by this thread. */
void io_fd_run(int fd, struct io_request *r);

/* Operations that need no engine. */
int io_fd_flush(struct bufio_device *dev);
int io_fd_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes);
int io_fd_refresh(struct bufio_device *dev);
int io_fd_next_data(struct bufio_device *dev, uint64_t offset, uint64_t *begin, uint64_t *end);
int io_fd_zero(struct bufio_device *dev, uint64_t offset, uint64_t bytes);
int io_fd_edge(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t bytes);
int io_fd_resize(struct bufio_device *dev, uint64_t size);

/* For io_open_again(), with the engine's way of opening for one thread. */
int io_fd_again(struct bufio_device *dev, int (*open)(int, const struct bufio_device_info *, struct bufio_device **),
		struct bufio_device **again);

/* Closes the descriptor and frees @f, the engine's own memory. */
int io_fd_close(struct io_fd *f);

#endif
