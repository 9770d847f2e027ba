// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * make-pool FILE SHAPE DEVICES MAPPINGS [DEFS DEF-MAPPINGS SNAPSHOT-MAPPINGS]: thin-pool metadata of any size, written into a
 * new file without any XML. The same arguments give the same pool.
 *
 * SHAPE frag: no mapping goes on where the one before ends; runs: ranges of 64 to 4096 blocks. Each of the DEVICES has so
 * many MAPPINGS of its own. With DEFS it begins with one of these, DEF-MAPPINGS that it shares with its snapshot, which has
 * SNAPSHOT-MAPPINGS of its own behind them.
 *
 * BENCH_MEMORY=256MiB: for the reference counts; what does not fit is counted in several passes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "bench.h"
#include "meta/thin_build.h"

#define DATA_BLOCK_SECTORS 128
#define MAX_BYTES (UINT64_C(4161600) * BLOCK)

struct shape {
	bool runs;
	uint64_t devices, own, defs, per_def, snapshot_own;
	unsigned data_bits;
	uint64_t next_data; /* mappings so far */
	uint64_t random;
	struct meta_visitor *v;
};

static uint64_t mappings(const struct shape *s)
{
	return s->devices * s->own + s->defs * s->per_def + (s->defs ? s->devices * s->snapshot_own : 0);
}

/* A permutation of the numbers below 2^bits. */
static uint64_t scatter(uint64_t n, unsigned bits)
{
	uint64_t mask = (UINT64_C(1) << bits) - 1;

	for (int i = 0; i < 3; i++) {
		n = (n * UINT64_C(0x9E3779B97F4A7C15) + 12345) & mask;
		n ^= n >> (bits / 2);
		n = (n * UINT64_C(0xD1342543DE82EF95) + 1) & mask;
		n ^= n >> (bits / 3 + 1);
	}
	return n;
}

/* Room for a quarter more than is mapped. */
static unsigned data_bits(uint64_t mapped)
{
	unsigned bits = 20;

	while ((UINT64_C(1) << bits) < mapped + mapped / 4)
		bits++;
	return bits;
}

static uint64_t put_mapping(struct shape *s, uint64_t origin, uint64_t length)
{
	uint64_t data = s->runs ? s->next_data : scatter(s->next_data, s->data_bits);
	struct record_mapping m = {
		.origin_begin = origin, .data_begin = data, .length = length, .time = (uint32_t)random_below(&s->random, 4),
	};

	s->next_data += length;
	check(s->v->record(s->v, length > 1 ? RECORD_RANGE : RECORD_SINGLE, &m), "a mapping");
	return origin + length;
}

static void put_mappings(struct shape *s, uint64_t origin, uint64_t nr)
{
	while (nr) {
		uint64_t length = s->runs ? 64 + random_below(&s->random, 4033) : 1;

		if (length > nr)
			length = nr;
		origin = put_mapping(s, origin, length);
		origin += s->runs ? random_below(&s->random, 256) : !random_below(&s->random, 4);
		nr -= length;
	}
}

static void put_def(struct shape *s, uint64_t name)
{
	struct record_def def = { .name = name };

	check(s->v->begin(s->v, RECORD_DEF, &def), "a def");
	put_mappings(s, 0, s->per_def);
	check(s->v->end(s->v, RECORD_DEF, &def), "a def");
}

/* Behind the shared mappings, which take no more than three times as many virtual blocks as there are. */
static void put_device(struct shape *s, uint64_t id, uint64_t own, uint32_t snap_time)
{
	struct record_device d = {
		.dev_id = id, .mapped_blocks = own + (s->defs ? s->per_def : 0), .transaction = 1, .snap_time = snap_time,
	};
	struct record_def ref = { .name = 0 };

	check(s->v->begin(s->v, RECORD_DEVICE, &d), "a device");
	if (s->defs) {
		ref.name = 1 + (id - 1) % s->devices % s->defs;
		check(s->v->record(s->v, RECORD_REF, &ref), "a ref");
	}
	put_mappings(s, s->defs ? 8 * s->per_def : 0, own);
	check(s->v->end(s->v, RECORD_DEVICE, &d), "a device");
}

static void put_pool(struct shape *s)
{
	struct record_superblock sb = {
		.uuid = "", .time = 3, .transaction = 7, .version = 2, .data_block_size = DATA_BLOCK_SECTORS,
		.nr_data_blocks = UINT64_C(1) << s->data_bits,
	};

	check(s->v->begin(s->v, RECORD_SUPERBLOCK, &sb), "the superblock");
	for (uint64_t i = 1; i <= s->defs; i++)
		put_def(s, i);
	for (uint64_t i = 1; i <= s->devices; i++)
		put_device(s, i, s->own, 1);
	for (uint64_t i = 1; s->defs && i <= s->devices; i++)
		put_device(s, s->devices + i, s->snapshot_own, 2);
	check(s->v->end(s->v, RECORD_SUPERBLOCK, &sb), "the end");
}

static void make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	check(fd < 0 ? -errno : 0, path);
	check(ftruncate(fd, (off_t)MAX_BYTES) ? -errno : 0, path);
	close(fd);
}

static uint64_t memory(void)
{
	const char *text = getenv("BENCH_MEMORY");
	uint64_t bytes = UINT64_C(256) << 20;

	if (text && units_parse_size(text, 1, &bytes))
		die("BENCH_MEMORY: '%s' is not a size", text);
	return bytes;
}

static void make(const char *path, struct shape *s)
{
	struct thin_build_args args = { .memory = memory(), .has_any_size = true };
	struct thin_build_result result;
	struct bufio_device *dev;
	struct bufio_reason reason;
	struct thin_build *build;

	make_file(path);
	if (bufio_device_open(path, BUFIO_OPEN_WRITE, NULL, &reason, &dev))
		die("%s", reason.text);
	args.client = create_client(dev, UINT64_C(32) << 20);
	bufio_set_dirty_percent(args.client, 30);
	check(thin_build_create(&args, &build), "tables");
	s->v = thin_build_visitor(build);
	put_pool(s);
	thin_build_get_result(build, &result);
	thin_build_destroy(build);
	check(bufio_client_destroy(args.client), path);
	check(bufio_device_close(dev), path);
	check(truncate(path, (off_t)(result.nr_blocks * BLOCK)) ? -errno : 0, path);
	printf("%" PRIu64 " blocks of %" PRIu64 " used, %" PRIu64 " devices, %" PRIu64 " mappings, %" PRIu64 " passes\n",
	       result.used_blocks, result.nr_blocks, result.devices, result.mappings, result.passes);
}

int main(int argc, char **argv)
{
	struct shape s = { .random = UINT64_C(88172645463325252) };
	uint64_t *numbers[] = { &s.devices, &s.own, &s.defs, &s.per_def, &s.snapshot_own };

	if ((argc != 5 && argc != 8) || (strcmp(argv[2], "frag") && strcmp(argv[2], "runs")))
		die("make-pool FILE frag|runs DEVICES MAPPINGS [DEFS DEF-MAPPINGS SNAPSHOT-MAPPINGS]");
	s.runs = !strcmp(argv[2], "runs");
	for (int i = 3; i < argc; i++)
		if (units_parse_number(argv[i], numbers[i - 3]))
			die("'%s' is not a number", argv[i]);
	s.data_bits = data_bits(mappings(&s));
	make(argv[1], &s);
	return fflush(stdout) ? 1 : 0;
}
