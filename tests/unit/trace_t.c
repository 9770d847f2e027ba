// SPDX-License-Identifier: LGPL-2.1-or-later
/* What BUFIO_TRACE has written of what is asked of a cache. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rig.h"

#define BLOCK 4096
#define NR_BLOCKS 512
#define NAME "BUFIO_TRACE"

static char folder[512], path[600], text[1 << 20];

static void setup(void)
{
	const char *dir = getenv("TMPDIR");

	snprintf(folder, sizeof(folder), "%s/unitXXXXXX", dir ? dir : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/trace", folder);
	setenv(NAME, path, 1);
	rig_open(BLOCK, NR_BLOCKS);
}

static void finish(void)
{
	rig_close_device();
	unsetenv(NAME);
	unlink(path);
	CU_ASSERT_EQUAL(rmdir(folder), 0);
}

/* The file, which must have come to its end. */
static void load(void)
{
	FILE *f = fopen(path, "r");
	size_t n;

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	CU_ASSERT_TRUE(n && text[n - 1] == '\n');
	fclose(f);
}

/* Cuts the next line off; without its time, which must not go back. NULL: there is none. */
static const char *next_line(char **rest, uint64_t *time)
{
	char *line = strsep(rest, "\n"), *behind;
	uint64_t t;

	if (!line || !*line || *line < '0' || *line > '9')
		return line && *line ? line : NULL;
	t = strtoull(line, &behind, 10);
	CU_ASSERT_TRUE(t >= *time);
	*time = t;
	CU_ASSERT_EQUAL(*behind, ' ');
	return behind + 1;
}

static void expect(const char *const *lines)
{
	char *rest = text;
	const char *line;
	uint64_t time = 0;

	load();
	while ((line = next_line(&rest, &time))) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(*lines);
		CU_ASSERT_STRING_EQUAL(line, *lines);
		lines++;
	}
	CU_ASSERT_PTR_NULL(*lines);
}

static void each_call(void)
{
	static const char *const lines[] = {
		"bufio trace 1", "client 1 block-size 4096 device-size 2097152 offset 0", "read 7 1", "get 7 1",
		"new 9 1", "dirty 9 1", "move 11 1", "prefetch 20 8", "write 0 0", "flush 0 0", "barrier 0 0",
		"forget 20 8", "discard 40 3", "flush 0 0", NULL,
	};
	struct bufio_buffer *b, *b2;

	setup();
	rig_create(3, 0, NULL, NULL);
	CU_ASSERT_PTR_NULL(bufio_get(rig.c, 7, &b)); /* there is nothing to be had, and no line */
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_read(rig.c, 7, &b));
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_get(rig.c, 7, &b2));
	bufio_release(b);
	bufio_release(b2);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_new(rig.c, 9, &b));
	CU_ASSERT_EQUAL(bufio_mark_partial_buffer_dirty(b, 0, 512), 0);
	CU_ASSERT_EQUAL(bufio_release_move(b, 11), 0);
	bufio_prefetch(rig.c, 20, 8);
	bufio_write_dirty_buffers_async(rig.c);
	CU_ASSERT_EQUAL(bufio_write_dirty_buffers(rig.c), 0);
	CU_ASSERT_EQUAL(bufio_issue_flush(rig.c), 0);
	bufio_forget_buffers(rig.c, 20, 8);
	CU_ASSERT_EQUAL(bufio_issue_discard(rig.c, 40, 3), 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	expect(lines);
	finish();
}

static void past_the_end(void)
{
	static const char *const lines[] = {
		"bufio trace 1", "client 1 block-size 4096 device-size 2097152 offset 0", "forget 500 12", "prefetch 511 1",
		"client 1 block-size 4096 device-size 2097152 offset 1048576", "read 255 1", "flush 0 0", NULL,
	};
	struct bufio_buffer *b;

	setup();
	rig_create(1, 0, NULL, NULL);
	CU_ASSERT_PTR_NULL(bufio_read(rig.c, NR_BLOCKS, &b));
	bufio_forget_buffers(rig.c, 500, UINT64_MAX);
	bufio_prefetch(rig.c, 511, 2);
	bufio_prefetch(rig.c, 512, 2);
	bufio_prefetch(rig.c, 0, 0);
	CU_ASSERT_EQUAL(bufio_set_sector_offset(rig.c, 2048), 0);
	CU_ASSERT_PTR_NULL(bufio_read(rig.c, 256, &b));
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_read(rig.c, 255, &b));
	bufio_release(b);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	expect(lines);
	finish();
}

static int ignore(void *context, uint64_t block, const void *data, int error)
{
	(void)context;
	(void)block;
	(void)data;
	return error;
}

/* Every block is in one of the lines. */
static void of_a_scan(void)
{
	struct bufio_scan scan = { .block = ignore, .nr_blocks = NR_BLOCKS, .in_order = true };
	uint64_t block, nr, next = 0, time = 0;
	char *rest = text;
	const char *line;

	setup();
	rig_create(1, 0, NULL, NULL);
	CU_ASSERT_EQUAL(bufio_scan(rig.c, &scan), 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	load();
	while ((line = next_line(&rest, &time)))
		if (sscanf(line, "scan %" SCNu64 " %" SCNu64, &block, &nr) == 2) {
			CU_ASSERT_EQUAL(block, next);
			next = block + nr;
		}
	CU_ASSERT_EQUAL(next, NR_BLOCKS);
	finish();
}

static void several_clients(void)
{
	static const char *const lines[] = {
		"bufio trace 1", "client 1 block-size 4096 device-size 2097152 offset 0",
		"client 2 block-size 8192 device-size 2097152 offset 0", "read 5 1 2", "read 5 1",
		"flush 0 0 2", "flush 0 0", "client 3 block-size 4096 device-size 2097152 offset 0", "flush 0 0 3", NULL,
	};
	struct bufio_client *other;
	struct bufio_buffer *b;

	setup();
	rig_create(1, 0, NULL, NULL);
	other = bufio_client_create(rig.dev, 2 * BLOCK, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(other);
	CU_ASSERT_PTR_NOT_NULL_FATAL(bufio_read(other, 5, &b));
	bufio_release(b);
	CU_ASSERT_EQUAL(rig_read(5), rig_pattern(5));
	CU_ASSERT_EQUAL(bufio_client_destroy(other), 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	/* And one after all others are gone. */
	rig_create(1, 0, NULL, NULL);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	expect(lines);
	finish();
}

#define NR_THREADS 4
#define NR_READS 2000 /* of each: more than the buffer has room for */

static void *read_much(void *arg)
{
	uint64_t block = (uintptr_t)arg;

	for (unsigned i = 0; i < NR_READS; i++)
		rig_read(block);
	return NULL;
}

static void threads(void)
{
	pthread_t ids[NR_THREADS];
	unsigned counts[NR_THREADS] = { 0 };
	uint64_t block, nr, time = 0;
	char *rest = text;
	const char *line;

	setup();
	rig_create(1, 0, NULL, NULL);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&ids[i], NULL, read_much, (void *)i), 0);
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(ids[i], NULL);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	load();
	while ((line = next_line(&rest, &time)))
		if (sscanf(line, "read %" SCNu64 " %" SCNu64, &block, &nr) == 2 && block < NR_THREADS && nr == 1)
			counts[block]++;
	for (unsigned i = 0; i < NR_THREADS; i++)
		CU_ASSERT_EQUAL(counts[i], NR_READS);
	finish();
}

static void not_wanted(void)
{
	setup();
	setenv(NAME, "", 1);
	rig_create(1, 0, NULL, NULL);
	CU_ASSERT_EQUAL(rig_read(1), rig_pattern(1));
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	unsetenv(NAME);
	CU_ASSERT_EQUAL(bufio_check_environment(NULL), 0);
	rig_create(1, 0, NULL, NULL);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
	finish();
}

/* The variable is refused for @error, by a reason with this word. */
static void refused(const char *value, int error, const char *word)
{
	struct bufio_reason why = { "" };

	setenv(NAME, value, 1);
	CU_ASSERT_EQUAL(bufio_check_environment(&why), error);
	CU_ASSERT_EQUAL(bufio_check_environment(NULL), error);
	CU_ASSERT_PTR_NOT_NULL(strstr(why.text, NAME));
	CU_ASSERT_PTR_NOT_NULL(strstr(why.text, word));
	CU_ASSERT_PTR_NULL(bufio_client_create(rig.dev, BLOCK, 1, 0, NULL, NULL));
	CU_ASSERT_EQUAL(errno, -error);
	unsetenv(NAME);
	CU_ASSERT_EQUAL(bufio_check_environment(NULL), 0);
}

static void put_file(const char *contents)
{
	FILE *f = fopen(path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(contents, f);
	fclose(f);
}

static void where_not(void)
{
	static char long_name[20000];
	char other[700];

	setup();
	refused("/dev/null", -EINVAL, "/dev/null is not a regular file");
	refused(folder, -EINVAL, "is not a regular file");
	snprintf(other, sizeof(other), "%s/none/trace", folder);
	refused(other, -ENOENT, "cannot be written");
	memset(long_name, 'x', sizeof(long_name) - 1);
	refused(long_name, -ENAMETOOLONG, "too long");
	put_file("bufio trace 2\n");
	refused(path, -EINVAL, "stays as it is");
	load();
	CU_ASSERT_STRING_EQUAL(text, "bufio trace 2\n");
	finish();
}

static void used_elsewhere(void)
{
	int fd;

	setup();
	fd = open(path, O_RDWR | O_CREAT, 0600);
	CU_ASSERT_EQUAL(flock(fd, LOCK_EX), 0);
	refused(path, -EBUSY, "another program");
	close(fd);
	finish();
}

static void made_anew(void)
{
	static const char *const lines[] = { "bufio trace 1", "client 1 block-size 4096 device-size 2097152 offset 0",
					     "flush 0 0", NULL };
	struct stat st;
	mode_t mask;

	setup();
	mask = umask(0);
	rig_create(1, 0, NULL, NULL);
	umask(mask);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	expect(lines);
	finish();
	/* One of another run is written over; the descriptor of the last test's is gone by then. */
	setup();
	put_file("bufio trace 1\n1 read 2 3\n");
	rig_create(1, 0, NULL, NULL);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	expect(lines);
	finish();
}

static void only_one(void)
{
	char other[700];

	setup();
	rig_create(1, 0, NULL, NULL);
	snprintf(other, sizeof(other), "%s/other", folder);
	refused(other, -EBUSY, "one at a time");
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	setenv(NAME, other, 1);
	rig_create(1, 0, NULL, NULL);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	CU_ASSERT_EQUAL(unlink(other), 0);
	finish();
}

/* A file may not grow beyond 100 bytes: the cache works, and who asks is told. */
static void full(void)
{
	struct rlimit before, limit;
	struct bufio_reason why = { "" };
	void (*handler)(int);

	setup();
	handler = signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 100;
	rig_create(1, 0, NULL, NULL);
	setrlimit(RLIMIT_FSIZE, &limit);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(rig_read(i), rig_pattern(i));
	CU_ASSERT_EQUAL(bufio_check_environment(NULL), 0);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	CU_ASSERT_EQUAL(bufio_check_environment(&why), -EFBIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "is not complete"));
	rig_create(1, 0, NULL, NULL);
	CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	setrlimit(RLIMIT_FSIZE, &before);
	signal(SIGXFSZ, handler);
	finish();
}

static const struct unit_case cases[] = {
	{ "each call has a line: its time, what it is, and the blocks", each_call },
	{ "what is past the end is left out, also when the beginning moves, which is said", past_the_end },
	{ "a scan's blocks are recorded when it begins with them", of_a_scan },
	{ "clients have numbers, and one that comes later goes on in the same file", several_clients },
	{ "lines of several threads are whole, and in the order of their times", threads },
	{ "without the variable, or when it is empty, nothing is written", not_wanted },
	{ "what is no regular file, or holds anything but a trace, is refused and stays as it is", where_not },
	{ "a file that another program traces to is refused", used_elsewhere },
	{ "the file is the user's alone, and an older trace is written over", made_anew },
	{ "there is one trace at a time", only_one },
	{ "a trace that cannot be written does not disturb the cache, and is told of", full },
	{ NULL, NULL },
};

const struct unit_suite trace_suite = { "trace", cases };
