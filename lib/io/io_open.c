// SPDX-License-Identifier: LGPL-2.1-or-later
/* Opening a path: what it is, whether it may be had, how large it is, how it must be read, and by which engine. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/io_int.h"

static const struct engine {
	const char *name;
	int (*open)(int fd, const struct bufio_device_info *info, struct bufio_device **dev);
} engines[] = {
	/* The first that opens is "auto". The last needs nothing of the kernel. */
	{ "uring", io_ring_open },
	{ "threads", io_threads_open },
};

#define NR_ENGINES (sizeof(engines) / sizeof(*engines))
#define ENGINE_VARIABLE "BUFIO_IO_ENGINE"

static int refuse_type(const char *path, mode_t mode, struct bufio_reason *reason)
{
	if (S_ISDIR(mode))
		return refuse(reason, -EISDIR, "%s: is a directory; name a block device or an image file", path);
	return refuse(reason, -ENOTBLK, "%s: is neither a block device nor a regular file", path);
}

static int refuse_busy(const char *path, dev_t rdev, struct bufio_reason *reason)
{
	char user[300];

	io_name_user(rdev, user, sizeof(user));
	return refuse(reason, -EBUSY, "%s: in use%s%s; deactivate or unmount it first", path, *user ? ", " : "", user);
}

/* Block devices go direct unless told otherwise: their page cache does not see what device-mapper wrote below it. */
static int open_flags(unsigned flags, bool is_block)
{
	int o = O_CLOEXEC | (flags & BUFIO_OPEN_WRITE ? O_RDWR : O_RDONLY);

	if (is_block && !(flags & BUFIO_OPEN_SHARED))
		o |= O_EXCL;
	if (flags & BUFIO_OPEN_DIRECT || (is_block && !(flags & BUFIO_OPEN_BUFFERED)))
		o |= O_DIRECT;
	return o;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_rdev == b->st_rdev &&
	       (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT);
}

/* The type is looked at before open(2), because opening a FIFO waits, and some devices act; and again on the descriptor. */
static int open_path(const char *path, unsigned flags, struct stat *st, struct bufio_reason *reason, int *fd)
{
	struct stat first;
	int f, e;

	if (stat(path, &first))
		return refuse(reason, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISBLK(first.st_mode) && !S_ISREG(first.st_mode))
		return refuse_type(path, first.st_mode, reason);
	f = open(path, open_flags(flags, S_ISBLK(first.st_mode)));
	if (f < 0) {
		e = errno;
		if (e == EBUSY)
			return refuse_busy(path, first.st_rdev, reason);
		if (e == EINVAL && flags & BUFIO_OPEN_DIRECT)
			return refuse(reason, -e, "%s: direct I/O is not possible here", path);
		return refuse(reason, -e, "%s: %s", path, strerror(e));
	}
	if (fstat(f, st) || !is_same(st, &first)) {
		close(f);
		return refuse(reason, -EAGAIN, "%s: changed while it was opened; try again", path);
	}
	*fd = f;
	return 0;
}

static int describe_block(int fd, const char *path, struct bufio_device_info *info, struct bufio_reason *reason)
{
	unsigned physical = 0;
	int logical = 0, read_only = 0;

	if (ioctl(fd, BLKGETSIZE64, &info->size) || ioctl(fd, BLKSSZGET, &logical) || ioctl(fd, BLKROGET, &read_only))
		return refuse(reason, -errno, "%s: cannot ask for its size: %s", path, strerror(errno));
	if (ioctl(fd, BLKPBSZGET, &physical) || physical < (unsigned)logical)
		physical = (unsigned)logical;
	info->logical_block_size = (uint32_t)logical;
	info->physical_block_size = physical;
	info->read_only = info->read_only || read_only;
	return 0;
}

/* statx tells since Linux 6.1 how a file wants to be read directly; before, 4096 is right for every file system. */
static uint32_t file_alignment(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && sx.stx_mask & STATX_DIOALIGN &&
	    sx.stx_dio_offset_align)
		return sx.stx_dio_offset_align > sx.stx_dio_mem_align ? sx.stx_dio_offset_align : sx.stx_dio_mem_align;
#else
	(void)fd;
#endif
	return 4096;
}

static int describe(int fd, const struct stat *st, const char *path, unsigned flags, struct bufio_device_info *info,
		    struct bufio_reason *reason)
{
	int mode = fcntl(fd, F_GETFL);

	*info = (struct bufio_device_info){
		.size = (uint64_t)st->st_size,
		.logical_block_size = 512,
		.physical_block_size = (uint32_t)st->st_blksize,
		.alignment = 1,
		.block_device = S_ISBLK(st->st_mode),
		.read_only = !(flags & BUFIO_OPEN_WRITE),
		.direct = mode >= 0 && mode & O_DIRECT,
	};
	if (info->block_device) {
		int r = describe_block(fd, path, info, reason);

		if (r)
			return r;
	}
	if (info->direct)
		info->alignment = info->block_device ? info->logical_block_size : file_alignment(fd);
	return 0;
}

/* As O_EXCL for block devices: one writer, or any number of readers. Readers can do without where there are no locks. */
static int lock_file(int fd, const char *path, bool is_writer, struct bufio_reason *reason)
{
	struct flock whole = { .l_type = is_writer ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };

	if (!fcntl(fd, F_OFD_SETLK, &whole))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return refuse(reason, -EBUSY, "%s: another program is %s it; wait until that has ended", path,
			      is_writer ? "reading or writing" : "writing to");
	return is_writer ? refuse(reason, -errno, "%s: cannot be locked: %s", path, strerror(errno)) : 0;
}

/* What is mounted from a loop device does not see what is written to its file, and writes over it. */
static int claim_file(int fd, const char *path, unsigned flags, struct bufio_reason *reason)
{
	int r = flags & BUFIO_OPEN_SHARED ? 0 : lock_file(fd, path, flags & BUFIO_OPEN_WRITE, reason);
	struct stat st;
	char loop[64];

	if (r || !(flags & BUFIO_OPEN_WRITE))
		return r;
	if (!fstat(fd, &st) && io_name_loop("/sys", &st, loop, sizeof(loop)))
		return refuse(reason, -EBUSY, "%s: in use, shown by /dev/%s; detach that first (losetup -d), or name it "
			      "instead of the file", path, loop);
	return 0;
}

static int claim(int fd, const char *path, unsigned flags, const struct bufio_device_info *info,
		 struct bufio_reason *reason)
{
	if (flags & BUFIO_OPEN_WRITE && info->read_only)
		return refuse(reason, -EROFS, "%s: is a read-only device", path);
	return info->block_device ? 0 : claim_file(fd, path, flags, reason);
}

static bool is_auto(const char *name)
{
	return !name || !strcmp(name, "auto");
}

static const struct engine *find_engine(const char *name)
{
	for (size_t i = 0; i < NR_ENGINES; i++)
		if (!strcmp(name, engines[i].name))
			return engines + i;
	return NULL;
}

static int start_any(int fd, const struct bufio_device_info *info, struct bufio_reason *reason,
		     struct bufio_device **dev)
{
	int r = -ENOSYS;

	for (size_t i = 0; i < NR_ENGINES; i++) {
		r = engines[i].open(fd, info, dev);
		if (!r)
			return 0;
	}
	return refuse(reason, r, "I/O engine auto: %s", strerror(-r));
}

/* @by says who named the engine, for a reason. */
static int start_named(int fd, const char *name, const char *by, const struct bufio_device_info *info,
		       struct bufio_reason *reason, struct bufio_device **dev)
{
	const struct engine *e = find_engine(name), *last = engines + NR_ENGINES - 1;
	int r;

	if (!e)
		return refuse(reason, -EINVAL, "%sI/O engine %s: not known here", by, name);
	r = e->open(fd, info, dev);
	if (r && e != last)
		return refuse(reason, r, "%sI/O engine %s: not available here (%s); use %s or auto", by, name,
			      strerror(-r), last->name);
	return r ? refuse(reason, r, "%sI/O engine %s: %s", by, name, strerror(-r)) : 0;
}

static int start_engine(int fd, const char *name, const struct bufio_device_info *info, struct bufio_reason *reason,
			struct bufio_device **dev)
{
	const char *wish = secure_getenv(ENGINE_VARIABLE);

	if (!is_auto(name))
		return start_named(fd, name, "", info, reason, dev);
	if (wish && *wish && !is_auto(wish))
		return start_named(fd, wish, ENGINE_VARIABLE ": ", info, reason, dev);
	return start_any(fd, info, reason, dev);
}

int bufio_device_open(const char *path, unsigned flags, const char *engine, struct bufio_reason *reason,
		      struct bufio_device **dev)
{
	struct bufio_device_info info;
	struct stat st;
	int fd = -1, r;

	if ((flags & BUFIO_OPEN_DIRECT && flags & BUFIO_OPEN_BUFFERED) ||
	    (flags & BUFIO_OPEN_SHARED && flags & BUFIO_OPEN_WRITE))
		return refuse(reason, -EINVAL, "%s: open flags 0x%x exclude each other", path, flags);
	r = open_path(path, flags, &st, reason, &fd);
	if (r)
		return r;
	r = describe(fd, &st, path, flags, &info, reason);
	if (!r)
		r = claim(fd, path, flags, &info, reason);
	if (!r)
		r = start_engine(fd, engine, &info, reason, dev);
	if (r)
		close(fd);
	return r;
}

const struct bufio_device_info *bufio_device_describe(const struct bufio_device *dev)
{
	return &dev->info;
}

int bufio_device_close(struct bufio_device *dev)
{
	return dev ? dev->ops->close(dev) : 0;
}
