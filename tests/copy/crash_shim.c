// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Preloaded into a tool: a loss of power at its CRASH_AT-th write or flush, counted from 1.
 *
 * Until a file is flushed a sector of it may be on stable media or not, whatever was written first; so at that moment
 * sectors that were written since get back what they had before, by CRASH_SEED: 0 all of them, 1 none, else some. So
 * may the size of the file; and a file that was made vanishes, if its folder was not flushed. Then the process ends as by
 * SIGKILL. Without CRASH_AT, or when that many do not come, the tool runs as always, and CRASH_COUNT names a file that
 * gets the number of them.
 *
 * Regular files alone count, but not the standard ones. Writes are one at a time here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECTOR 512
#define MAX_FILES 16
#define MAX_SECTORS 65536 /* of a file: 32 MiB */

/* What a sector had before it was written. */
struct before {
	uint32_t sector;
	unsigned char bytes[SECTOR];
};

struct file {
	dev_t dev;
	ino_t ino;
	int fd;                /* of our own, for reading and writing back */
	char made[PATH_MAX];   /* it was, under this name, and its folder not flushed yet; empty otherwise */
	off_t size;            /* at the last flush */
	struct before *before; /* since then, the oldest first */
	size_t nr_before, max_before;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file files[MAX_FILES];
static unsigned nr_files;
static unsigned long nr_events, crash_at, seed;

/* --- system calls, past the C library that this stands before --- */

static ssize_t raw_pwrite(int fd, const void *data, size_t n, off_t at)
{
	return syscall(SYS_pwrite64, fd, data, n, at);
}

static ssize_t raw_pread(int fd, void *data, size_t n, off_t at)
{
	return syscall(SYS_pread64, fd, data, n, at);
}

__attribute__((noreturn)) static void broken(const char *what)
{
	fprintf(stderr, "crash_shim: %s\n", what);
	_exit(99);
}

/* --- files --- */

/* NULL: not one that counts. */
static struct file *find(int fd)
{
	struct stat st;
	struct file *f;

	if (fd <= STDERR_FILENO || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return NULL;
	for (f = files; f < files + nr_files; f++)
		if (f->dev == st.st_dev && f->ino == st.st_ino)
			return f;
	if (nr_files == MAX_FILES)
		broken("too many files");
	f = &files[nr_files++];
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	f->size = st.st_size;
	f->fd = dup(fd);
	return f;
}

static void remember(struct file *f, off_t begin, off_t end)
{
	if (end > (off_t)MAX_SECTORS * SECTOR)
		broken("a file is too large");
	for (off_t at = begin - begin % SECTOR; at < end; at += SECTOR) {
		struct before *b;

		if (f->nr_before == f->max_before) {
			f->max_before = f->max_before * 2 + 64;
			f->before = realloc(f->before, f->max_before * sizeof(*f->before));
			if (!f->before)
				broken("out of memory");
		}
		b = &f->before[f->nr_before++];
		memset(b->bytes, 0, SECTOR);
		b->sector = (uint32_t)(at / SECTOR);
		if (raw_pread(f->fd, b->bytes, SECTOR, at) < 0)
			broken("a file cannot be read");
	}
}

/* --- the loss --- */

/* The same for the same seed, file and number; true for one half of them. */
static bool coin(const struct file *f, uint64_t number)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + (uint64_t)(f - files) * 0xc2b2ae3d27d4eb4fu + number * 0x165667b19e3779f9u;

	x = (x ^ x >> 31) * 0xff51afd7ed558ccdu;
	x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
	return x >> 63;
}

static bool is_lost(const struct file *f, uint64_t number)
{
	return seed == 0 || (seed > 1 && coin(f, number));
}

/* From the newest back: where a sector was written several times, what it has may be any of these. */
static void lose_sectors(struct file *f)
{
	static bool is_kept[MAX_SECTORS];
	struct stat st;

	memset(is_kept, 0, sizeof(is_kept));
	fstat(f->fd, &st);
	for (size_t i = f->nr_before; i--; ) {
		const struct before *b = &f->before[i];

		if (is_kept[b->sector] || !is_lost(f, i))
			is_kept[b->sector] = true;
		else if (raw_pwrite(f->fd, b->bytes, SECTOR, (off_t)b->sector * SECTOR) != SECTOR)
			broken("a sector cannot be written back");
	}
	/* Writing back may have made it longer than it was. */
	if (ftruncate(f->fd, is_lost(f, UINT32_MAX) && f->size < st.st_size ? f->size : st.st_size))
		broken("a size cannot be set back");
}

__attribute__((noreturn)) static void lose_power(void)
{
	crash_at = 0;
	for (struct file *f = files; f < files + nr_files; f++) {
		lose_sectors(f);
		if (f->made[0] && is_lost(f, UINT32_MAX - 1))
			unlink(f->made);
	}
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* Whether it comes to the loss now; a write takes place before that, a flush does not. */
static bool is_the_one(void)
{
	return ++nr_events == crash_at;
}

__attribute__((constructor)) static void begin(void)
{
	const char *at = getenv("CRASH_AT"), *which = getenv("CRASH_SEED");

	crash_at = at ? strtoul(at, NULL, 10) : 0;
	seed = which ? strtoul(which, NULL, 10) : 0;
}

__attribute__((destructor)) static void end(void)
{
	const char *name = getenv("CRASH_COUNT");
	FILE *file = name ? fopen(name, "w") : NULL;

	if (file) {
		fprintf(file, "%lu\n", nr_events);
		fclose(file);
	}
}

/* --- what the tool calls --- */

static ssize_t write_at(int fd, const struct iovec *vec, int nr, off_t at)
{
	off_t length = 0;
	struct file *f;
	ssize_t n;

	for (int i = 0; i < nr; i++)
		length += (off_t)vec[i].iov_len;
	pthread_mutex_lock(&lock);
	f = find(fd);
	if (f)
		remember(f, at, at + length);
	n = syscall(SYS_pwritev, fd, vec, (unsigned long)nr, (unsigned long)at, 0ul);
	if (f && is_the_one())
		lose_power();
	pthread_mutex_unlock(&lock);
	return n;
}

ssize_t pwritev(int fd, const struct iovec *vec, int nr, off_t at)
{
	return write_at(fd, vec, nr, at);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	const struct iovec vec = { .iov_base = (void *)data, .iov_len = n };

	return write_at(fd, &vec, 1, at);
}

ssize_t write(int fd, const void *data, size_t n)
{
	pthread_mutex_lock(&lock);
	if (find(fd))
		broken("write(2) without a position: not simulated");
	pthread_mutex_unlock(&lock);
	return syscall(SYS_write, fd, data, n);
}

int fallocate(int fd, int mode, off_t at, off_t length)
{
	struct file *f;
	int r;

	pthread_mutex_lock(&lock);
	f = find(fd);
	if (f)
		remember(f, at, at + length);
	r = (int)syscall(SYS_fallocate, fd, mode, at, length);
	if (f && is_the_one())
		lose_power();
	pthread_mutex_unlock(&lock);
	return r;
}

static void flushed(int fd)
{
	struct file *f = find(fd);
	struct stat st;

	if (fstat(fd, &st))
		return;
	for (struct file *of = files; S_ISDIR(st.st_mode) && of < files + nr_files; of++)
		of->made[0] = '\0'; /* all are made in one folder */
	if (!f)
		return;
	f->nr_before = 0;
	f->size = st.st_size;
}

static int flush(int fd, long call)
{
	int r;

	pthread_mutex_lock(&lock);
	if (is_the_one())
		lose_power();
	r = (int)syscall(call, fd);
	if (!r)
		flushed(fd);
	pthread_mutex_unlock(&lock);
	return r;
}

int fsync(int fd)
{
	return flush(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return flush(fd, SYS_fdatasync);
}

int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;
	int fd;

	va_start(args, flags);
	if (flags & O_CREAT)
		mode = va_arg(args, mode_t);
	va_end(args);
	fd = (int)syscall(SYS_openat, dir, path, flags, mode);
	pthread_mutex_lock(&lock);
	if (fd >= 0 && flags & O_CREAT && flags & O_EXCL && find(fd)) {
		char link[32];

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		find(fd)->size = 0;
		if (readlink(link, find(fd)->made, PATH_MAX - 1) < 0)
			broken("the name of a new file cannot be had");
	}
	pthread_mutex_unlock(&lock);
	return fd;
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	va_start(args, flags);
	if (flags & O_CREAT)
		mode = va_arg(args, mode_t);
	va_end(args);
	return openat(AT_FDCWD, path, flags, mode);
}

/* Names that programs with 64-bit offsets use. */
#define SAME(name, as) extern __typeof__(name) as __attribute__((alias(#name)))
SAME(pwritev, pwritev64);
SAME(pwrite, pwrite64);
SAME(fallocate, fallocate64);
SAME(openat, openat64);
SAME(open, open64);
