// SPDX-License-Identifier: LGPL-2.1-or-later
/* What the engines over a file descriptor share: how a request goes on, and all that is not a transfer. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/io_int.h"

static struct io_fd *io_fd(struct bufio_device *dev)
{
	return (struct io_fd *)dev;
}

void io_fd_init(struct io_fd *f, int fd, const struct bufio_device_info *info, const char *engine,
		const struct io_ops *ops)
{
	f->dev.ops = ops;
	f->dev.info = *info;
	f->dev.info.engine = engine;
	f->fd = fd;
}

unsigned io_fd_nr_iov(const struct io_request *r)
{
	return r->nr_iov < IOV_MAX ? r->nr_iov : IOV_MAX;
}

/* Drops the first @bytes of the request. */
static void advance(struct io_request *r, size_t bytes)
{
	r->offset += bytes;
	while (r->nr_iov && bytes >= r->iov->iov_len) {
		bytes -= r->iov->iov_len;
		r->iov++;
		r->nr_iov--;
	}
	if (r->nr_iov) {
		r->iov->iov_base = (char *)r->iov->iov_base + bytes;
		r->iov->iov_len -= bytes;
	}
}

/* No progress without an error means that the device ended early: EIO. */
bool io_fd_account(struct io_request *r, ssize_t n)
{
	if (n == -EINTR || n == -EAGAIN)
		return false;
	if (n > 0) {
		advance(r, (size_t)n);
		if (r->nr_iov)
			return false;
	}
	r->result = n < 0 ? (int)n : r->nr_iov ? -EIO : 0;
	return true;
}

void io_fd_run(int fd, struct io_request *r)
{
	ssize_t n;

	do {
		int nr = (int)io_fd_nr_iov(r);

		n = r->direction == IO_READ ? preadv(fd, r->iov, nr, (off_t)r->offset)
					    : pwritev(fd, r->iov, nr, (off_t)r->offset);
	} while (!io_fd_account(r, n < 0 ? -errno : n));
}

/* Not repeated on EIO: the kernel reports a lost write once, so a second fsync would lie. */
int io_fd_flush(struct bufio_device *dev)
{
	int r;

	do
		r = fdatasync(io_fd(dev)->fd);
	while (r && errno == EINTR);
	return r ? -errno : 0;
}

/* File systems and drivers have several words for "not here". */
static int discard_error(int error)
{
	return error == ENOSYS || error == ENOTTY || error == ENODEV ? -EOPNOTSUPP : -error;
}

int io_fd_discard(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	uint64_t range[2] = { offset, bytes };
	int fd = io_fd(dev)->fd, r;

	do {
		if (dev->info.block_device)
			r = ioctl(fd, BLKDISCARD, range);
		else
			r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
	} while (r && errno == EINTR);
	return r ? discard_error(errno) : 0;
}

int io_fd_refresh(struct bufio_device *dev)
{
	struct stat st;

	if (dev->info.block_device)
		return ioctl(io_fd(dev)->fd, BLKGETSIZE64, &dev->info.size) ? -errno : 0;
	if (fstat(io_fd(dev)->fd, &st))
		return -errno;
	dev->info.size = (uint64_t)st.st_size;
	return 0;
}

/* The lock is dropped by name: the kernel may hold the file open for a ring a moment longer. */
int io_fd_close(struct io_fd *f)
{
	struct flock whole = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	int r;

	if (!f->dev.info.block_device)
		fcntl(f->fd, F_OFD_SETLK, &whole);
	r = close(f->fd) ? -errno : 0;
	free(f);
	return r;
}
