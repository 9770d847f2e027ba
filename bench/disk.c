// SPDX-License-Identifier: LGPL-2.1-or-later
/* Blocks that are not in the cache: reading and writing a file or a block device with direct I/O. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* What one bufio_prefetch() of a sequential read asks for. */
#define CHUNK_BLOCKS (256u * 1024 / BLOCK)

/* Differs from run to run, so that no cache below us learns the order. */
static uint64_t seed(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return ((uint64_t)t.tv_nsec << 32 ^ (uint64_t)t.tv_sec) | 1;
}

static void write_all(int fd, const char *data, size_t bytes)
{
	ssize_t n;

	for (; bytes; data += n, bytes -= (size_t)n) {
		n = write(fd, data, bytes);
		if (n < 0)
			die("write: %s", strerror(errno));
	}
}

double bench_fill(const struct bench *args)
{
	static uint64_t words[1 << 17];
	uint64_t left = args->size, state = seed();
	int fd = args->file ? open(args->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		die("%s: %s", args->file ? args->file : "--file", strerror(errno));
	while (left) {
		uint64_t part = left < sizeof(words) ? left : sizeof(words);

		random_fill(&state, words, sizeof(words));
		write_all(fd, (const char *)words, part);
		left -= part;
	}
	if (fsync(fd))
		die("fsync: %s", strerror(errno));
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	return (double)args->size;
}

/* --- an open device with a client on it ------------------------------------------------------------------------- */

struct disk {
	struct bufio_device *dev;
	struct bufio_client *c;
	uint64_t blocks; /* that are worked on: of the device, or fewer */
};

static void open_disk(struct disk *disk, const struct bench *args, unsigned flags, uint64_t limit)
{
	struct bufio_reason why;
	const struct bufio_device_info *info;

	if (!args->file)
		die("--file is missing");
	if (bufio_device_open(args->file, flags | BUFIO_OPEN_DIRECT, args->engine, &why, &disk->dev))
		die("%s", why.text);
	info = bufio_device_describe(disk->dev);
	if (strcmp(args->engine, "auto") && strcmp(args->engine, info->engine))
		die("asked for engine %s, got %s", args->engine, info->engine);
	disk->c = create_client(disk->dev, limit);
	disk->blocks = (args->size < info->size ? args->size : info->size) / BLOCK;
}

static void close_disk(struct disk *disk)
{
	check(bufio_client_destroy(disk->c), "bufio_client_destroy");
	check(bufio_device_close(disk->dev), "bufio_device_close");
}

double bench_open(const struct bench *args)
{
	struct disk disk;

	open_disk(&disk, args, 0, args->limit);
	close_disk(&disk);
	return (double)disk.blocks * BLOCK;
}

/* --- which blocks, in which order ------------------------------------------------------------------------------- */

struct plan {
	uint32_t *random; /* the blocks, each once; NULL: all from 0 on */
	uint64_t nr;
	uint64_t given;       /* to bufio_scan() so far */
	atomic_ullong blocks; /* that came back */
};

static uint32_t *shuffle(uint64_t blocks, uint64_t nr)
{
	uint32_t *order = malloc(blocks * sizeof(*order));
	uint64_t state = seed();

	if (!order)
		die("no memory for %llu block numbers", (unsigned long long)blocks);
	for (uint64_t i = 0; i < blocks; i++)
		order[i] = (uint32_t)i;
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t other = i + random_below(&state, blocks - i);
		uint32_t block = order[other];

		order[other] = order[i];
		order[i] = block;
	}
	return order;
}

static void make_plan(struct plan *plan, const struct bench *args, uint64_t blocks)
{
	*plan = (struct plan){ .nr = blocks };
	if (!blocks)
		die("%s has no block", args->file);
	if (!strcmp(args->order, "sequential"))
		return;
	if (strcmp(args->order, "random"))
		die("what order is %s?", args->order);
	if (blocks > UINT32_MAX)
		die("too many blocks for a random order: see --size");
	if (args->ops < blocks)
		plan->nr = args->ops;
	plan->random = shuffle(blocks, plan->nr);
}

static inline uint64_t planned(const struct plan *plan, uint64_t i)
{
	return plan->random ? plan->random[i] : i;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static bool scan_next(void *context, uint64_t *block, uint64_t *nr)
{
	struct plan *plan = context;

	if (plan->given == plan->nr)
		return false;
	*block = planned(plan, plan->given);
	*nr = plan->random ? 1 : plan->nr;
	plan->given += *nr;
	return true;
}

static int scan_block(void *context, uint64_t block, const void *data, int error)
{
	struct plan *plan = context;

	(void)block;
	(void)data;
	atomic_fetch_add_explicit(&plan->blocks, 1, memory_order_relaxed);
	return error;
}

static void read_by_scan(struct disk *disk, struct plan *plan, const struct bench *args)
{
	struct bufio_scan scan = {
		.next = scan_next,
		.block = scan_block,
		.context = plan,
		.threads = (unsigned)args->threads,
		.window = args->window,
	};

	check(bufio_scan(disk->c, &scan), "bufio_scan");
	if (plan->blocks != plan->nr)
		die("bufio_scan gave %llu blocks of %llu", (unsigned long long)plan->blocks,
		    (unsigned long long)plan->nr);
}

/* Asks for the blocks at places @from to @from + @nr - 1 of the plan. */
static void prefetch_planned(struct disk *disk, const struct plan *plan, uint64_t from, uint64_t nr)
{
	if (from >= plan->nr)
		return;
	if (nr > plan->nr - from)
		nr = plan->nr - from;
	if (!plan->random) {
		bufio_prefetch(disk->c, from, nr);
		return;
	}
	for (uint64_t i = 0; i < nr; i++)
		bufio_prefetch(disk->c, plan->random[from + i], 1);
}

static void read_by_prefetch(struct disk *disk, struct plan *plan, const struct bench *args)
{
	uint64_t ahead = args->window / BLOCK, chunk = plan->random ? 1 : CHUNK_BLOCKS;

	prefetch_planned(disk, plan, 0, ahead);
	for (uint64_t i = 0; i < plan->nr; i++) {
		struct bufio_buffer *b;

		if (i % chunk == 0)
			prefetch_planned(disk, plan, i + ahead, chunk);
		if (!bufio_read(disk->c, planned(plan, i), &b))
			die("bufio_read: %s", strerror(errno));
		bufio_release(b);
	}
}

static double measure_reading(const struct bench *args,
			      void (*read_plan)(struct disk *disk, struct plan *plan, const struct bench *args))
{
	struct disk disk;
	struct plan plan;
	double start, end;

	open_disk(&disk, args, 0, args->limit);
	make_plan(&plan, args, disk.blocks);
	start = now();
	read_plan(&disk, &plan, args);
	end = now();
	close_disk(&disk);
	free(plan.random);
	return (double)plan.nr * BLOCK / (end - start);
}

double bench_scan(const struct bench *args)
{
	return measure_reading(args, read_by_scan);
}

double bench_prefetch(const struct bench *args)
{
	return measure_reading(args, read_by_prefetch);
}

/* The peak of the whole process, so this is a process of its own: ru_maxrss of a forked one would be its parent's. */
double bench_rss(const struct bench *args)
{
	struct rusage usage;

	measure_reading(args, read_by_scan);
	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_maxrss * 1024 - (double)args->limit;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static void make_dirty(struct disk *disk)
{
	uint64_t state = seed();

	for (uint64_t i = 0; i < disk->blocks; i++) {
		struct bufio_buffer *b;
		void *data = bufio_new(disk->c, i, &b);

		if (!data)
			die("bufio_new: %s", strerror(errno));
		random_fill(&state, data, BLOCK);
		check(bufio_mark_buffer_dirty(b), "bufio_mark_buffer_dirty");
		bufio_release(b);
	}
}

double bench_write(const struct bench *args)
{
	struct bufio_stats stats;
	struct disk disk;
	double start, end;

	open_disk(&disk, args, BUFIO_OPEN_WRITE, args->size / 5 * 6);
	check(bufio_set_dirty_percent(disk.c, 100), "bufio_set_dirty_percent");
	make_dirty(&disk);
	bufio_get_stats(disk.c, &stats);
	if (stats.written_bytes || stats.dirty != disk.blocks)
		die("%llu blocks are dirty of %llu: some were written already", (unsigned long long)stats.dirty,
		    (unsigned long long)disk.blocks);
	start = now();
	check(bufio_write_dirty_buffers(disk.c), "bufio_write_dirty_buffers");
	end = now();
	close_disk(&disk);
	return (double)disk.blocks * BLOCK / (end - start);
}
