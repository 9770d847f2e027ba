// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is asked of the cache, as a file: BUFIO_TRACE.
 *
 * There is one trace in a process, of all clients that are made while the variable says so. Its lock is taken last, inside
 * a client's or none, and no call of the library is made under it. Lines are in the order of their times. A trace that
 * cannot be written ends; the cache goes on, and bufio_check_environment() tells.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bufio/bufio_int.h"

#define VARIABLE "BUFIO_TRACE"
#define FIRST_LINE "bufio trace 1\n"
#define LINE_MAX_BYTES 128

static const struct {
	char name[10];
	bool is_of_all; /* of no blocks in particular */
} ops[] = {
	[TRACE_READ] = { "read", false },
	[TRACE_GET] = { "get", false },
	[TRACE_NEW] = { "new", false },
	[TRACE_PREFETCH] = { "prefetch", false },
	[TRACE_SCAN] = { "scan", false },
	[TRACE_DIRTY] = { "dirty", false },
	[TRACE_MOVE] = { "move", false },
	[TRACE_WRITE] = { "write", true },
	[TRACE_FLUSH] = { "flush", true },
	[TRACE_BARRIER] = { "barrier", true },
	[TRACE_DISCARD] = { "discard", false },
	[TRACE_FORGET] = { "forget", false },
};

static struct {
	pthread_mutex_t lock; /* everything below */
	char path[PATH_MAX];  /* empty: none is open */
	int fd;
	int error;            /* of writing: nothing more is written */
	unsigned nr_clients;  /* that had a number so far */
	unsigned nr_users;    /* clients that are there now */
	uint64_t start_ns;
	size_t len;
	char buffer[1 << 16];
} trace = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* --- writing --- */

static void write_out(void)
{
	const char *p = trace.buffer;

	while (trace.len && !trace.error) {
		ssize_t n = write(trace.fd, p, trace.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			trace.error = n ? -errno : -EIO;
			break;
		}
		p += n;
		trace.len -= (size_t)n;
	}
	trace.len = 0;
}

/* Where a whole line fits. */
static char *room_for_line(void)
{
	if (sizeof(trace.buffer) - trace.len < LINE_MAX_BYTES)
		write_out();
	return trace.buffer + trace.len;
}

static void end_line(char *end)
{
	*end++ = '\n';
	trace.len = (size_t)(end - trace.buffer);
}

/* printf() would take longer than a hit by far. */
static char *put_number(char *at, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do
		digits[--n] = (char)('0' + v % 10);
	while (v /= 10);
	memcpy(at, digits + n, sizeof(digits) - n);
	return at + sizeof(digits) - n;
}

static char *put_word(char *at, const char *word)
{
	*at++ = ' ';
	return stpcpy(at, word);
}

static void put_client(const struct bufio_client *c)
{
	char *at = room_for_line();

	end_line(at + sprintf(at, "client %u block-size %u device-size %" PRIu64 " offset %" PRIu64, c->trace_number,
			      c->block_size, c->dev->info.size, c->offset));
}

static void put_op(const struct bufio_client *c, enum trace_op op, uint64_t block, uint64_t nr)
{
	char *at = put_number(room_for_line(), now_ns() - trace.start_ns);

	at = put_word(at, ops[op].name);
	*at++ = ' ';
	at = put_number(at, block);
	*at++ = ' ';
	at = put_number(at, nr);
	if (c->trace_number > 1) {
		*at++ = ' ';
		at = put_number(at, c->trace_number);
	}
	end_line(at);
}

void trace_record(struct bufio_client *c, enum trace_op op, uint64_t block, uint64_t nr)
{
	uint64_t nr_blocks = c->nr_blocks;

	if (!ops[op].is_of_all && (!nr || block >= nr_blocks))
		return;
	if (!ops[op].is_of_all && nr > nr_blocks - block)
		nr = nr_blocks - block;
	pthread_mutex_lock(&trace.lock);
	put_op(c, op, block, nr);
	pthread_mutex_unlock(&trace.lock);
}

/* --- opening --- */

__attribute__((format(printf, 3, 4))) static int refuse(struct bufio_reason *reason, int error, const char *format, ...)
{
	size_t len;
	va_list ap;

	if (!reason)
		return error;
	len = (size_t)snprintf(reason->text, sizeof(reason->text), "the environment variable " VARIABLE ": ");
	va_start(ap, format);
	vsnprintf(reason->text + len, sizeof(reason->text) - len, format, ap);
	va_end(ap);
	return error;
}

/* Looked at before it is opened, as to open some devices does something, and again when it is open. */
static int check_type(const char *path, const struct stat *st, struct bufio_reason *reason)
{
	return S_ISREG(st->st_mode) ? 0 : refuse(reason, -EINVAL, "%s is not a regular file", path);
}

/* An image whose name stands here by mistake must stay what it is. */
static int check_contents(const char *path, int fd, off_t size, struct bufio_reason *reason)
{
	char line[sizeof(FIRST_LINE) - 1];

	if (!size || (pread(fd, line, sizeof(line), 0) == (ssize_t)sizeof(line) && !memcmp(line, FIRST_LINE, sizeof(line))))
		return 0;
	return refuse(reason, -EINVAL, "%s holds something else than a trace, and stays as it is: name a new file", path);
}

static int prepare(const char *path, int fd, struct bufio_reason *reason)
{
	struct stat st;
	int r = fstat(fd, &st) ? refuse(reason, -errno, "%s: %s", path, strerror(errno)) : check_type(path, &st, reason);

	if (!r)
		r = check_contents(path, fd, st.st_size, reason);
	if (!r && flock(fd, LOCK_EX | LOCK_NB))
		r = refuse(reason, errno == EWOULDBLOCK ? -EBUSY : -errno, "%s: another program writes a trace there",
			   path);
	if (!r && ftruncate(fd, 0))
		r = refuse(reason, -errno, "%s: %s", path, strerror(errno));
	return r;
}

static int open_file(const char *path, struct bufio_reason *reason)
{
	struct stat st;
	int fd, r;

	if (strlen(path) >= sizeof(trace.path))
		return refuse(reason, -ENAMETOOLONG, "%s", strerror(ENAMETOOLONG));
	r = stat(path, &st) ? 0 : check_type(path, &st, reason);
	if (r)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	if (fd < 0)
		return refuse(reason, -errno, "%s cannot be written: %s", path, strerror(errno));
	r = prepare(path, fd, reason);
	if (r) {
		close(fd);
		return r;
	}
	if (*trace.path)
		close(trace.fd);
	strcpy(trace.path, path);
	trace.fd = fd;
	trace.error = 0;
	trace.nr_clients = 0;
	trace.start_ns = now_ns();
	trace.len = (size_t)(stpcpy(trace.buffer, FIRST_LINE) - trace.buffer);
	return 0;
}

/* Has the file open that the variable names, if it names one. */
static int open_named(const char *path, struct bufio_reason *reason)
{
	if (!path || !*path || !strcmp(path, trace.path))
		return 0;
	if (trace.nr_users)
		return refuse(reason, -EBUSY, "there is a trace in %s, and only one at a time", trace.path);
	return open_file(path, reason);
}

int trace_check(struct bufio_reason *reason)
{
	const char *path = secure_getenv(VARIABLE);
	int r;

	pthread_mutex_lock(&trace.lock);
	r = open_named(path, reason);
	if (!r && path && *path && trace.error)
		r = refuse(reason, trace.error, "%s is not complete: %s", path, strerror(-trace.error));
	pthread_mutex_unlock(&trace.lock);
	return r;
}

int trace_attach(struct bufio_client *c)
{
	const char *path = secure_getenv(VARIABLE);
	int r;

	pthread_mutex_lock(&trace.lock);
	r = open_named(path, NULL);
	if (!r && path && *path && !c->dev->is_untraced) {
		trace.nr_users++;
		c->trace_number = ++trace.nr_clients;
		put_client(c);
	}
	pthread_mutex_unlock(&trace.lock);
	return r;
}

void trace_moved(struct bufio_client *c)
{
	pthread_mutex_lock(&trace.lock);
	if (c->trace_number)
		put_client(c);
	pthread_mutex_unlock(&trace.lock);
}

void trace_detach(struct bufio_client *c)
{
	if (!c->trace_number)
		return;
	pthread_mutex_lock(&trace.lock);
	trace.nr_users--;
	write_out();
	pthread_mutex_unlock(&trace.lock);
}
