// SPDX-License-Identifier: LGPL-2.1-or-later
/* What is measured, and what makes its figures mean something else than it seems. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <zstd.h>

#include "ops/bench_int.h"

void bench_warn(struct op_bench_result *bench, const char *name, const char *format, ...)
{
	struct bench_warning *w = &bench->warnings[bench->nr_warnings];
	va_list args;

	if (bench->nr_warnings == BENCH_MAX_WARNINGS)
		return;
	w->name = name;
	va_start(args, format);
	vsnprintf(w->text, sizeof(w->text), format, args);
	va_end(args);
	bench->nr_warnings++;
}

/* --- what sysfs says --- */

/* The first line of a file, without blanks at its end; empty if there is none. */
static void read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");

	line[0] = '\0';
	if (!f)
		return;
	if (fgets(line, (int)size, f)) {
		size_t n = strcspn(line, "\n");

		while (n && line[n - 1] == ' ')
			n--;
		line[n] = '\0';
	}
	fclose(f);
}

/* Of a block device, or of the disk that it is a partition of. */
static bool read_attribute(dev_t rdev, const char *name, char *line, size_t size)
{
	static const char *const above[] = { "", "/.." };
	char path[160];

	for (size_t i = 0; i < sizeof(above) / sizeof(*above); i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u%s/%s", major(rdev), minor(rdev), above[i], name);
		read_line(path, line, size);
		if (line[0])
			return true;
	}
	return false;
}

static void describe_disk(dev_t rdev, char *text, size_t size)
{
	static const struct {
		const char *attribute, *format;
	} rows[] = {
		{ "loop/backing_file", "loop device of %.90s" },
		{ "dm/name", "device-mapper %.90s" },
		{ "device/model", "%.100s" },
	};
	char line[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (!read_attribute(rdev, rows[i].attribute, line, sizeof(line)))
			continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, size, rows[i].format, line);
#pragma GCC diagnostic pop
		return;
	}
	text[0] = '\0';
}

/* "ext4", of the file system of files with this st_dev; empty if it is not known. */
static void find_file_system(dev_t dev, char *type, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;
	unsigned a, b;

	type[0] = '\0';
	while (f && getline(&line, &room, f) > 0) {
		const char *behind = strstr(line, " - ");

		if (!behind || sscanf(line, "%*d %*d %u:%u", &a, &b) != 2 || a != major(dev) || b != minor(dev))
			continue;
		snprintf(type, size, "%.*s", (int)strcspn(behind + 3, " "), behind + 3);
		break;
	}
	free(line);
	if (f)
		fclose(f);
}

/* @dev: of the file system. */
static void look_at_file(struct op_bench_result *bench, dev_t dev)
{
	char type[32], disk[80];

	find_file_system(dev, type, sizeof(type));
	describe_disk(dev, disk, sizeof(disk));
	snprintf(bench->device.model, sizeof(bench->device.model), "file%s%s%s%s", type[0] ? " on " : "", type,
		 disk[0] ? ", " : "", disk);
	bench->device.is_in_memory = !strcmp(type, "tmpfs") || !strcmp(type, "ramfs");
	if (bench->device.is_in_memory)
		bench_warn(bench, "in-memory", "%s keeps its files in memory: no device is measured", type);
}

/* --- the clock --- */

#define CLOCK_CALLS 1000
#define CLOCK_ROUNDS 20 /* the quickest counts: in the others something else may have run */
#define SLOW_CLOCK_NS 200

static double measure_clock(void)
{
	uint64_t least = UINT64_MAX;

	for (unsigned r = 0; r < CLOCK_ROUNDS; r++) {
		uint64_t begin = bench_now(), ns;

		for (unsigned i = 0; i < CLOCK_CALLS - 1; i++)
			bench_now();
		ns = bench_now() - begin;
		least = ns < least ? ns : least;
	}
	return (double)least / CLOCK_CALLS;
}

static void look_at_clock(struct op_bench_result *bench)
{
	char source[32];

	bench->clock_ns = measure_clock();
	if (bench->clock_ns < SLOW_CLOCK_NS)
		return;
	read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", source, sizeof(source));
	bench_warn(bench, "slow-clock",
		   "to ask for the time costs %.0f ns (clock source %s): hits look slower than they are",
		   bench->clock_ns, source[0] ? source : "not known");
}

void bench_look_at_device(struct op_bench_result *bench, const struct op_bench_args *args)
{
	struct bench_device *d = &bench->device;
	struct stat st;
	char line[32];

	d->info = *bufio_device_describe(args->device);
	look_at_clock(bench);
	if (stat(args->image, &st))
		return;
	if (S_ISBLK(st.st_mode))
		describe_disk(st.st_rdev, d->model, sizeof(d->model));
	else
		look_at_file(bench, st.st_dev);
	d->is_rotational =
	    read_attribute(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev, "queue/rotational", line, sizeof(line)) &&
	    line[0] == '1';
}

/* --- the page cache --- */

/* A loop device may read its file through it. */
static bool is_cached_below(const char *image)
{
	struct stat st;
	char line[8];

	return !stat(image, &st) && S_ISBLK(st.st_mode) && read_attribute(st.st_rdev, "loop/dio", line, sizeof(line)) &&
	       line[0] == '0';
}

/* Where it was asked not to be, or for blocks that did not suit it. */
static bool can_be_direct(const char *image)
{
	int fd = open(image, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* NULL: not the page cache, or nothing that would be slower. */
static const char *what_is_read(const struct op_bench_result *bench, const struct op_bench_args *args)
{
	if (bench->device.is_in_memory)
		return NULL;
	if (bench->device.info.direct && is_cached_below(args->image))
		return "the loop device reads its file through the page cache: what is in memory is measured too (losetup "
		       "--direct-io)";
	if (bench->device.info.direct)
		return NULL;
	if (can_be_direct(args->image))
		return "reads go through the page cache: what is in memory is measured too; --direct=on measures the "
		       "device";
	return "reads go through the page cache, as there is no other way here: what is in memory is measured too";
}

static void look_at_page_cache(struct op_bench_result *bench, const struct op_bench_args *args, uint64_t bytes)
{
	const char *text = what_is_read(bench, args);
	struct sysinfo s;

	if (!text)
		return;
	bench_warn(bench, "page-cache", "%s", text);
	if (!sysinfo(&s) && bytes < (uint64_t)s.totalram * s.mem_unit)
		bench_warn(bench, "region-in-memory",
			   "the region is smaller than this machine's memory: all of it may be read from "
			   "the page cache");
}

void bench_drop_pages(const struct op_bench_args *args, uint64_t begin, uint64_t end)
{
	int fd;

	if (bufio_device_describe(args->device)->direct)
		return;
	fd = open(args->image, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;
	posix_fadvise(fd, (off_t)begin, (off_t)(end - begin), POSIX_FADV_DONTNEED);
	close(fd);
}

/* --- what is in the region --- */

#define MOST_RANGES 100000 /* that are looked at */
#define HOLES_WARNED 0.01
#define HOLES_MOST 0.5 /* the data between more of them is not looked at */

/* The part of the region that is holes, 0 to 1, as far as it was looked at. */
static int find_holes(struct bufio_device *dev, uint64_t begin, uint64_t end, double *part)
{
	uint64_t at = begin, from, to, data = 0;
	int r = 0;

	for (unsigned i = 0; i < MOST_RANGES && at < end; i++) {
		r = io_next_data(dev, at, &from, &to);
		if (r)
			return r;
		from = from < end ? from : end;
		to = to < end ? to : end;
		data += to - from;
		at = to > from ? to : end;
	}
	*part = 1 - (double)data / (double)(at - begin);
	return 0;
}

#define SAMPLES 64
#define SAMPLE_BYTES 4096 /* direct I/O takes them nearly everywhere; where not, nothing is said */
#define COMPRESSION_LEVEL 1 /* devices do not try harder */
#define CONSTANT_WARNED 0.1
#define COMPRESSED_WARNED 0.5

static int read_at(struct bufio_device *dev, uint64_t offset, void *data, size_t bytes)
{
	struct iovec iov = { data, bytes };
	struct io_request r = {
		.direction = IO_READ, .wait_follows = true, .offset = offset, .iov = &iov, .nr_iov = 1
	};
	struct io_request *list = &r;

	dev->ops->submit(dev, &list, 1);
	dev->ops->wait(dev, &list, 1, true);
	return r.result;
}

static bool is_constant(const uint64_t *words)
{
	for (size_t i = 1; i < SAMPLE_BYTES / sizeof(*words); i++)
		if (words[i] != words[0])
			return false;
	return true;
}

struct sampled {
	unsigned nr, nr_constant;
	uint64_t compressed; /* bytes */
};

static bool is_in_hole(struct bufio_device *dev, uint64_t offset)
{
	uint64_t from, to;

	return io_next_data(dev, offset, &from, &to) || from >= offset + SAMPLE_BYTES;
}

/* Spread evenly. Holes are said apart; what cannot be read is left out: it will be said when it is measured. */
static void take_samples(struct bufio_device *dev, uint64_t begin, uint64_t end, void *data, struct sampled *s)
{
	uint64_t units = (end - begin) / SAMPLE_BYTES, nr = units < SAMPLES ? units : SAMPLES;
	char compressed[ZSTD_COMPRESSBOUND(SAMPLE_BYTES)];

	for (uint64_t i = 0; i < nr; i++) {
		uint64_t offset = begin + units / nr * i * SAMPLE_BYTES;
		size_t n;

		if (is_in_hole(dev, offset) || read_at(dev, offset, data, SAMPLE_BYTES))
			continue;
		n = ZSTD_compress(compressed, sizeof(compressed), data, SAMPLE_BYTES, COMPRESSION_LEVEL);
		s->compressed += ZSTD_isError(n) || n > SAMPLE_BYTES ? SAMPLE_BYTES : n;
		s->nr_constant += is_constant(data);
		s->nr++;
	}
}

static int look_at_data(struct op_bench_result *bench, struct bufio_device *dev, uint64_t begin, uint64_t end)
{
	struct sampled s = { 0 };
	void *data;

	if (posix_memalign(&data, SAMPLE_BYTES, SAMPLE_BYTES))
		return -ENOMEM;
	take_samples(dev, begin, end, data, &s);
	free(data);
	if (!s.nr)
		return 0;
	if (s.nr_constant > CONSTANT_WARNED * s.nr)
		bench_warn(bench, "constant",
			   "%u of %u blocks that were looked at are the same few bytes over and over (zeroes, say), which "
			   "some devices do not store",
			   s.nr_constant, s.nr);
	else if ((double)s.compressed < COMPRESSED_WARNED * s.nr * SAMPLE_BYTES)
		bench_warn(bench, "compressible",
			   "the data can be compressed to %.0f %%: a device that does so reads less than it seems",
			   100.0 * (double)s.compressed / s.nr / SAMPLE_BYTES);
	return 0;
}

int bench_look_at_region(struct op_bench_result *bench, const struct op_bench_args *args, uint64_t begin, uint64_t end)
{
	double holes;
	int r = find_holes(args->device, begin, end, &holes);

	if (r)
		return r;
	look_at_page_cache(bench, args, end - begin);
	if (holes > HOLES_WARNED)
		bench_warn(bench, "holes", "%.0f %% of the region are holes, which are read without the device",
			   100 * holes);
	return holes > HOLES_MOST ? 0 : look_at_data(bench, args->device, begin, end);
}

/* --- afterwards --- */

#define HALVES_WARNED 0.05
#define CHANCE 3 /* standard deviations: more is none */
#define FEW_OPERATIONS 1000
#define THREADS_DEPTH 9 /* the threads engine's workers, and the one that waits */

/*
 * How many times as many operations as the first half of a repeat the second one has; 1 where that may be chance, the time
 * was not set or not reached, or arrivals say how many there are.
 */
static double second_by_first(const struct bench_run_args *a, const struct bench_repeat *r)
{
	double first = (double)r->half_ops, second = (double)(r->ops - r->half_ops);

	if (!a->ns || r->ns < a->ns / 10 * 9 || (a->arrival != BENCH_CLOSED && !r->is_saturated))
		return 1;
	return fabs(second - first) > CHANCE * sqrt((double)r->ops) ? second / fmax(first, 1) : 1;
}

static void look_at_halves(struct op_bench_result *bench, const struct bench_run *run)
{
	double worst = 1;

	for (unsigned i = 0; i < run->nr_repeats; i++) {
		double ratio = second_by_first(&run->args, &run->repeats[i]);

		worst = fabs(ratio - 1) > fabs(worst - 1) ? ratio : worst;
	}
	if (fabs(worst - 1) > HALVES_WARNED)
		bench_warn(bench, "halves-differ",
			   "%s: its second half was %.0f %% %s than the first: not a steady state; measure longer",
			   run->args.name, 100 * fabs(worst - 1), worst < 1 ? "slower" : "faster");
}

/* A trace is what it is: a cache that it does not fill is larger than it needs. */
static void look_at_cache(struct op_bench_result *bench, const struct bench_run *run)
{
	const struct bench_repeat *last = &run->repeats[run->nr_repeats - 1];
	uint64_t region = run->args.end - run->args.begin;

	if (run->args.is_cached && !run->args.replay && run->args.memory_limit < region && last->misses &&
	    !last->stats.evictions)
		bench_warn(bench, "not-warm",
			   "%s: the cache was not full yet, so the hit ratio would still rise; --warm-up=steady, or "
			   "measure longer",
			   run->args.name);
}

void bench_look_at_run(struct op_bench_result *bench, const struct bench_run *run)
{
	const struct bench_run_args *a = &run->args;
	uint64_t errors = 0, ops = 0;
	bool is_saturated = false;

	for (unsigned i = 0; i < run->nr_repeats; i++) {
		errors += run->repeats[i].errors;
		ops += run->repeats[i].ops;
		is_saturated |= run->repeats[i].is_saturated;
	}
	if (errors)
		bench_warn(bench, "errors", "%s: %" PRIu64 " operations failed, and are in none of the figures",
			   a->name, errors);
	if (is_saturated)
		bench_warn(bench, "saturated",
			   "%s: SATURATED: %.0f of %.0f operations a second; response times are lower bounds", a->name,
			   run->median.ops_per_s, a->rate);
	if (ops < FEW_OPERATIONS)
		bench_warn(bench, "few-operations", "%s: only %" PRIu64 " operations: p99.9 says little", a->name, ops);
	if (!a->is_cached && a->depth > THREADS_DEPTH && !strcmp(bench->device.info.engine, "threads"))
		bench_warn(bench, "engine-depth", "%s: the threads engine has %d requests under way at most, not %u",
			   a->name, THREADS_DEPTH, a->depth);
	look_at_halves(bench, run);
	look_at_cache(bench, run);
}
