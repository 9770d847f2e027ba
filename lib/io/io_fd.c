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
	pthread_mutex_init(&f->edge, NULL);
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

/* File systems without holes say EINVAL, and their files are all data, as block devices are. */
int io_fd_next_data(struct bufio_device *dev, uint64_t offset, uint64_t *begin, uint64_t *end)
{
	off_t data = lseek(io_fd(dev)->fd, (off_t)offset, SEEK_DATA), hole;
	uint64_t size = dev->info.size;

	if (data < 0 && errno != ENXIO && errno != EINVAL)
		return -errno;
	if (dev->info.block_device || (data < 0 && errno == EINVAL))
		data = (off_t)offset;
	hole = data < 0 || dev->info.block_device ? -1 : lseek(io_fd(dev)->fd, data, SEEK_HOLE);
	*begin = data < 0 || (uint64_t)data > size ? size : (uint64_t)data;
	*end = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
	return 0;
}

/* A block device takes a hole for zeroes that it makes by itself, or fails: the kernel does not write them then. */
int io_fd_zero(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	int r;

	do
		r = fallocate(io_fd(dev)->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
	while (r && errno == EINTR);
	return r ? discard_error(errno) : 0;
}

static int move(int fd, enum io_direction direction, uint64_t offset, void *data, size_t bytes)
{
	struct iovec iov = { data, bytes };
	struct io_request r = { .direction = direction, .offset = offset, .iov = &iov, .nr_iov = 1 };

	io_fd_run(fd, &r);
	return r.result;
}

/* Requests that are under way meanwhile may go through the page cache too, which is slower and no less right. */
int io_fd_edge(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t bytes)
{
	struct io_fd *f = io_fd(dev);
	int mode, r;

	pthread_mutex_lock(&f->edge);
	mode = fcntl(f->fd, F_GETFL);
	r = mode < 0 || fcntl(f->fd, F_SETFL, mode & ~O_DIRECT) ? -errno : move(f->fd, direction, offset, data, bytes);
	if (mode >= 0 && fcntl(f->fd, F_SETFL, mode) && !r)
		r = -errno;
	pthread_mutex_unlock(&f->edge);
	return r;
}

int io_fd_resize(struct bufio_device *dev, uint64_t size)
{
	if (dev->info.block_device)
		return -EOPNOTSUPP;
	if (ftruncate(io_fd(dev)->fd, (off_t)size))
		return -errno;
	dev->info.size = size;
	return 0;
}

int io_fd_again(struct bufio_device *dev, int (*open)(int, const struct bufio_device_info *, struct bufio_device **),
		struct bufio_device **again)
{
	int fd = fcntl(io_fd(dev)->fd, F_DUPFD_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	r = open(fd, &dev->info, again);
	if (r)
		close(fd);
	else
		io_fd(*again)->is_second = true;
	return r;
}

/* The lock is dropped by name: the kernel may hold the file open for a ring a moment longer. */
int io_fd_close(struct io_fd *f)
{
	struct flock whole = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	int r;

	if (!f->dev.info.block_device && !f->is_second)
		fcntl(f->fd, F_OFD_SETLK, &whole);
	r = close(f->fd) ? -errno : 0;
	pthread_mutex_destroy(&f->edge);
	free(f);
	return r;
}
