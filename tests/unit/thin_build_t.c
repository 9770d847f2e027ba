// SPDX-License-Identifier: LGPL-2.1-or-later
/* Pools are built into an image in memory, and read back by the walker, which finds fault with everything. */
#include <errno.h>
#include <string.h>

#include "image.h"
#include "meta/thin.h"
#include "meta/thin_build.h"
#include "meta/thin_input.h"
#include "meta/thin_plan.h"
#include "meta/thin_size.h"
#include "unit.h"

#define NR_BLOCKS 4096
#define MEMORY (UINT64_C(16) << 20)

static struct {
	struct thin_build *build;
	struct thin_input *input;
	struct meta_visitor *v;
	struct thin_build_result result;
	int error; /* the first */
} t;

static void start(uint64_t nr_blocks, const struct thin_build_args *args, const struct thin_input_args *input)
{
	struct thin_build_args a = *args;

	image_open(nr_blocks, nr_blocks, 4 * (PD_MAX_DEPTH + 1));
	memset(&t, 0, sizeof(t));
	a.client = image.reader.client;
	CU_ASSERT_EQUAL_FATAL(thin_build_create(&a, &t.build), 0);
	CU_ASSERT_EQUAL_FATAL(thin_input_create(input, thin_build_visitor(t.build), &t.input), 0);
	t.v = thin_input_visitor(t.input);
}

static void start_simply(uint64_t nr_blocks)
{
	start(nr_blocks, &(struct thin_build_args){ .memory = MEMORY }, &(struct thin_input_args){ .memory = MEMORY });
}

static void finish(void)
{
	thin_build_destroy(t.build);
	thin_input_destroy(t.input);
	image_close();
}

static void keep(int r)
{
	if (!t.error)
		t.error = r;
}

static void begin_pool(uint64_t nr_data_blocks)
{
	struct record_superblock sb = {
		.uuid = "", .time = 9, .transaction = 77, .flags = 0, .version = 2, .data_block_size = 128,
		.nr_data_blocks = nr_data_blocks,
	};

	keep(t.v->begin(t.v, RECORD_SUPERBLOCK, &sb));
}

static void end_pool(void)
{
	if (!t.error)
		keep(t.v->end(t.v, RECORD_SUPERBLOCK, &(struct record_superblock){ 0 }));
	thin_build_get_result(t.build, &t.result);
}

static struct record_device open_device;

static void begin_device(uint64_t id, uint64_t mapped)
{
	open_device = (struct record_device){ id, mapped, 3, 1, 2 };
	if (!t.error)
		keep(t.v->begin(t.v, RECORD_DEVICE, &open_device));
}

static void end_device(void)
{
	if (!t.error)
		keep(t.v->end(t.v, RECORD_DEVICE, &open_device));
}

static void begin_def(uint64_t name)
{
	if (!t.error)
		keep(t.v->begin(t.v, RECORD_DEF, &(struct record_def){ name }));
}

static void end_def(uint64_t name)
{
	if (!t.error)
		keep(t.v->end(t.v, RECORD_DEF, &(struct record_def){ name }));
}

static void range(uint64_t origin, uint64_t data, uint64_t length)
{
	struct record_mapping m = { .origin_begin = origin, .data_begin = data, .length = length, .time = 4 };

	if (!t.error)
		keep(t.v->record(t.v, length == 1 ? RECORD_SINGLE : RECORD_RANGE, &m));
}

static void ref(uint64_t name)
{
	if (!t.error)
		keep(t.v->record(t.v, RECORD_REF, &(struct record_def){ name }));
}

/* --- reading back --- */

struct seen {
	struct meta_visitor v;
	uint64_t devices, mapped, sum;
};

static int see_device(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)record;
	((struct seen *)v)->devices += kind == RECORD_DEVICE;
	return 0;
}

static int see_mapping(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_mapping *m = record;
	struct seen *s = (struct seen *)v;

	(void)kind;
	s->mapped += m->length;
	s->sum += m->length * (m->origin_begin + 3 * m->data_begin + m->time);
	return 0;
}

static int see_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)v;
	(void)kind;
	(void)record;
	return 0;
}

/* Everything, with nothing to be said about it, and counts of all data blocks. */
static struct seen read_back(struct thin_pool *pool)
{
	struct seen s = { .v = { see_device, see_mapping, see_end, NULL } };
	struct thin_walk walk = { .only_device = PROBLEM_NO_DEVICE };

	CU_ASSERT_EQUAL(t.error, 0);
	CU_ASSERT_EQUAL_FATAL(thin_pool_open(pool, image.reader.client, &image.told.sink), 0);
	CU_ASSERT_EQUAL(thin_walk(pool, &walk, &s.v), 0);
	CU_ASSERT_EQUAL(thin_verify_space_maps(pool), 0);
	CU_ASSERT_EQUAL(image.told.nr, 0);
	CU_ASSERT_EQUAL(s.devices, t.result.devices);
	CU_ASSERT_EQUAL(s.mapped, t.result.mappings);
	CU_ASSERT_EQUAL(pool->sb.metadata_sm.nr_allocated, t.result.used_blocks);
	CU_ASSERT_EQUAL(pool->sb.data_sm.nr_allocated, t.result.used_data_blocks);
	return s;
}

static uint64_t count_of(struct thin_pool *pool, bool is_metadata, uint64_t block)
{
	struct pd_sm_lookup l;
	uint64_t count = UINT64_MAX, end;

	pd_sm_lookup_open(&l, &pool->reader, is_metadata ? &pool->sb.metadata_sm : &pool->sb.data_sm, is_metadata, block + 1);
	CU_ASSERT_EQUAL(pd_sm_lookup(&l, block, block + 1, &count, &end), 1);
	pd_sm_lookup_close(&l);
	return count;
}

static void small_pool(void)
{
	struct thin_pool pool;
	struct seen s;

	start_simply(64);
	CU_ASSERT_FALSE(thin_build_has_begun(t.build));
	begin_pool(100);
	CU_ASSERT_TRUE(thin_build_has_begun(t.build));
	begin_device(1, 4);
	range(10, 20, 3);
	range(13, 99, 1);
	end_device();
	end_pool();
	s = read_back(&pool);
	CU_ASSERT_EQUAL(s.sum, 3 * (10 + 60 + 4) + 13 + 297 + 4);
	CU_ASSERT_EQUAL(pool.sb.trans_id, 77);
	CU_ASSERT_EQUAL(pool.sb.time, 9);
	CU_ASSERT_EQUAL(pool.sb.metadata_nr_blocks, 64);
	CU_ASSERT_EQUAL(t.result.nr_blocks, 64);
	CU_ASSERT_EQUAL(t.result.used_data_blocks, 4);
	CU_ASSERT_EQUAL(t.result.used_blocks, 10); /* superblock, 3 trees, bitmap, 2 trees of the map; index, bitmap, tree */
	CU_ASSERT_EQUAL(count_of(&pool, false, 22), 1);
	CU_ASSERT_EQUAL(count_of(&pool, false, 23), 0);
	finish();
}

static void empty_pool(void)
{
	struct thin_pool pool;

	start_simply(64);
	begin_pool(1);
	end_pool();
	read_back(&pool);
	CU_ASSERT_EQUAL(t.result.used_blocks, 9);
	finish();
}

static void any_order(void)
{
	struct thin_devices devices;
	struct thin_device device;
	struct thin_pool pool;
	uint64_t last = 0, nr = 0;

	start_simply(NR_BLOCKS);
	begin_pool(1000);
	for (uint64_t i = 0; i < 300; i++) {
		begin_device(1 + i * 5 % 301, 0);
		end_device();
	}
	end_pool();
	read_back(&pool);
	thin_devices_open(&devices, &pool);
	while (thin_devices_next(&devices, &device) > 0) {
		CU_ASSERT_TRUE(device.id > last && device.has_details && device.has_root);
		last = device.id;
		nr++;
	}
	thin_devices_close(&devices);
	CU_ASSERT_EQUAL(nr, 300);
	finish();
}

/* Leaves that are shared count once, copies of the same mappings each time. */
static void shared(void)
{
	struct thin_pool pool;

	start_simply(NR_BLOCKS);
	begin_pool(10000);
	begin_def(1);
	range(0, 100, 504);
	end_def(1);
	for (uint64_t id = 1; id <= 5; id++) {
		begin_device(id, 504 + id);
		ref(1);
		range(1000, 2000, id);
		end_device();
	}
	begin_device(6, 10);
	range(0, 100, 10);
	end_device();
	end_pool();
	read_back(&pool);
	CU_ASSERT_EQUAL(count_of(&pool, false, 603), 1 + 4); /* 84 entries are the least: the last leaf is copied but once */
	CU_ASSERT_EQUAL(count_of(&pool, false, 100), 2);
	CU_ASSERT_EQUAL(count_of(&pool, false, 2000), 5);
	CU_ASSERT_EQUAL(count_of(&pool, false, 2004), 1);
	finish();
}

static void whole_tree_shared(void)
{
	struct thin_pool pool;
	uint64_t used;

	start_simply(NR_BLOCKS);
	begin_pool(100000);
	begin_def(1);
	range(0, 0, 70000);
	end_def(1);
	for (uint64_t id = 1; id <= 40; id++) {
		begin_device(id, 70000);
		ref(1);
		end_device();
	}
	end_pool();
	read_back(&pool);
	used = 278 + 2 + 1; /* leaves, nodes, one root for all */
	CU_ASSERT_EQUAL(t.result.used_blocks, used + 1 + 2 + 7 + 2 + 3);
	CU_ASSERT_EQUAL(count_of(&pool, true, used), 40);
	CU_ASSERT_EQUAL(count_of(&pool, true, 1), 1);
	CU_ASSERT_EQUAL(count_of(&pool, false, 69999), 1);
	finish();
}

static void unused_def(void)
{
	struct thin_pool pool;

	start_simply(NR_BLOCKS);
	begin_pool(10000);
	begin_def(1);
	range(0, 0, 5000);
	end_def(1);
	begin_device(1, 1);
	range(0, 7000, 1);
	end_device();
	end_pool();
	read_back(&pool);
	CU_ASSERT_EQUAL(t.result.used_blocks, 10);
	CU_ASSERT_EQUAL(t.result.used_data_blocks, 1);
	CU_ASSERT_EQUAL(count_of(&pool, false, 4999), 0);
	finish();
}

/* The same pool, however little memory there is to count in. */
static void passes(void)
{
	struct thin_pool pool;
	struct seen first = { .sum = 0 };

	for (unsigned i = 0; i < 3; i++) {
		static const uint64_t memory[] = { MEMORY, 700000, 250000 };
		struct seen s;

		start(NR_BLOCKS, &(struct thin_build_args){ .memory = memory[i] },
		      &(struct thin_input_args){ .memory = MEMORY });
		begin_pool(3000000);
		begin_def(1);
		range(0, 1500000, 20000);
		end_def(1);
		for (uint64_t id = 0; id < 6; id++) {
			begin_device(id, 50000);
			ref(1);
			for (uint64_t k = 0; k < 30000; k++)
				range(20000 + k, k * 97 % 2999999, 1);
			end_device();
		}
		end_pool();
		s = read_back(&pool);
		CU_ASSERT_EQUAL(count_of(&pool, false, 97), 6);
		CU_ASSERT_EQUAL(count_of(&pool, false, 1500001), 1 + (1500001 % 97 ? 0 : 6));
		CU_ASSERT_TRUE(i ? t.result.passes > 1 : t.result.passes == 1);
		if (!i)
			first = s;
		CU_ASSERT_EQUAL(s.sum, first.sum);
		CU_ASSERT_EQUAL(t.result.used_data_blocks, 20000 + 30000 - 207);
		finish();
	}
}

static bool is_unfinished(void)
{
	return thin_build_is_unfinished(image_at(0));
}

static void too_small(void)
{
	start_simply(40);
	begin_pool(100000);
	begin_device(1, 50000);
	range(0, 0, 50000);
	end_device();
	end_pool();
	CU_ASSERT_EQUAL(t.error, -ENOSPC);
	CU_ASSERT_TRUE(is_unfinished());
	finish();
}

/* I/O number n fails, for every n: what says that it failed is no pool, unless all of the pool was written. */
static void every_fault(void)
{
	unsigned nr_failed = 0, nr_written = 0;

	for (uint64_t n = 1;; n++) {
		struct thin_pool pool;

		start_simply(64);
		image.plan = (struct io_fault_plan){ .kinds = IO_FAULT_WRITE | IO_FAULT_FLUSH, .error = EIO, .fail_at = n,
					      .sticky = true };
		begin_pool(1000);
		begin_device(1, 600);
		range(0, 0, 600);
		end_device();
		end_pool();
		if (image.plan.count < n) {
			image.plan.fail_at = 0;
			read_back(&pool);
			finish();
			break;
		}
		nr_failed++;
		CU_ASSERT_EQUAL(t.error, -EIO);
		/* Only of the last flush nobody knows what it did. */
		if (pd_block_kind(image_at(0)) == PD_THIN_SUPERBLOCK)
			nr_written++;
		thin_build_destroy(t.build);
		thin_input_destroy(t.input);
		bufio_client_destroy(image.reader.client);
		bufio_device_close(image.dev);
	}
	CU_ASSERT_EQUAL(nr_failed, 6); /* a mark, all else, the superblock; and a flush behind each */
	CU_ASSERT_EQUAL(nr_written, 1);
}

static void refuses(int error, const char *reason)
{
	CU_ASSERT_EQUAL(t.error, error);
	CU_ASSERT_STRING_EQUAL(thin_input_reason(t.input), reason);
	finish();
}

static void impossible(void)
{
	start_simply(64);
	begin_pool(100);
	begin_device(1 << 24, 0);
	refuses(-EINVAL, "dev_id: 16777216 is not below 16777216");
	start_simply(64);
	begin_pool(100);
	begin_device(5, 0);
	end_device();
	begin_device(5, 0);
	refuses(-EINVAL, "dev_id: there was a device 5 before");
	start_simply(64);
	begin_pool(100);
	begin_device(1, 2);
	range(1, 99, 2);
	refuses(-EINVAL, "data_begin: 2 blocks from 99 on reach past the end of the data device, which has 100");
	start_simply(64);
	begin_pool(100);
	begin_device(1, 2);
	range(1, 5, 1);
	range(1, 6, 1);
	refuses(-EINVAL, "origin_block: virtual block 1 is mapped twice");
	start_simply(64);
	begin_pool(100);
	begin_device(1, 2);
	range(1, 5, 1);
	end_device();
	refuses(-EINVAL, "mapped_blocks: says 2, but there are 1 mappings in device 1; --count-mapped-blocks counts anew");
	start_simply(64);
	begin_pool(0);
	refuses(-EINVAL, "nr_data_blocks: is 0, as in XML of a metadata snapshot: give --nr-data-blocks, or a file instead of "
			 "a pipe");
}

static void overrides(void)
{
	struct thin_pool pool;

	start(64, &(struct thin_build_args){ .memory = MEMORY },
	      &(struct thin_input_args){ .overrides = { true, 5, 256, 222 }, .count_mapped = true, .memory = MEMORY });
	begin_pool(10);
	begin_device(1, 9999);
	range(0, 200, 20);
	end_device();
	end_pool();
	read_back(&pool);
	CU_ASSERT_EQUAL(pool.sb.trans_id, 5);
	CU_ASSERT_EQUAL(pool.sb.data_block_size, 256);
	CU_ASSERT_EQUAL(pool.sb.data_sm.nr_blocks, 222);
	finish();
}

/* --- the plan --- */

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (random_state >> 33) % n;
}

/* Sizes that matter: few, a leaf more or less, many. */
static uint64_t some_length(void)
{
	static const uint64_t lengths[] = { 1, 83, 84, 85, 251, 252, 253, 500, 3000 };

	return below(3) ? lengths[below(9)] : 1 + below(200);
}

#define SOME_DATA 20000

static uint64_t put_some(struct meta_visitor *v, uint64_t at)
{
	struct record_mapping m = { .origin_begin = at, .length = some_length() };

	m.data_begin = below(SOME_DATA - m.length);
	keep(v->record(v, RECORD_RANGE, &m));
	return at + m.length + below(3);
}

/* Devices of refs and mappings in turn; every def has its own place, so that keys rise. */
static void put_pool(struct meta_visitor *v, uint64_t seed, uint64_t nr_defs, uint64_t nr_devices)
{
	struct record_superblock sb = { .uuid = "", .version = 2, .data_block_size = 128, .nr_data_blocks = SOME_DATA };
	uint64_t place = UINT64_C(1) << 32;

	random_state = seed;
	keep(v->begin(v, RECORD_SUPERBLOCK, &sb));
	for (uint64_t i = 1; i <= nr_defs; i++) {
		struct record_def def = { i };
		uint64_t at = 2 * i * place;

		keep(v->begin(v, RECORD_DEF, &def));
		for (uint64_t n = below(seed % 4 ? 6 : 80); n; n--)
			at = put_some(v, at);
		keep(v->end(v, RECORD_DEF, &def));
	}
	for (uint64_t id = 0; id < nr_devices; id++) {
		struct record_device d = { .dev_id = id };

		keep(v->begin(v, RECORD_DEVICE, &d));
		for (uint64_t i = 0; i <= nr_defs; i++) {
			uint64_t at = (2 * i + 1) * place;

			if (i && below(3))
				keep(v->record(v, RECORD_REF, &(struct record_def){ i }));
			for (uint64_t n = below(2) * below(4); n; n--)
				at = put_some(v, at);
		}
		keep(v->end(v, RECORD_DEVICE, &d));
	}
	keep(v->end(v, RECORD_SUPERBLOCK, &sb));
}

static uint64_t planned(uint64_t seed, uint64_t nr_defs, uint64_t nr_devices, uint64_t memory)
{
	struct thin_plan_totals totals;
	struct thin_plan *plan;

	t.error = 0;
	CU_ASSERT_EQUAL_FATAL(thin_plan_create(memory, &plan), 0);
	do
		put_pool(thin_plan_visitor(plan), seed, nr_defs, nr_devices);
	while (thin_plan_again(plan) > 0);
	thin_plan_get_totals(plan, &totals);
	thin_plan_destroy(plan);
	CU_ASSERT_EQUAL(t.error, 0);
	return totals.blocks + pd_bitmaps(totals.blocks + 1);
}

/* In metadata of just that many blocks. */
static uint64_t built(uint64_t seed, uint64_t nr_defs, uint64_t nr_devices, uint64_t nr_blocks)
{
	struct thin_build_args args = { .memory = MEMORY };

	image_open(nr_blocks, nr_blocks, 8);
	memset(&t, 0, sizeof(t));
	args.client = image.reader.client;
	CU_ASSERT_EQUAL_FATAL(thin_build_create(&args, &t.build), 0);
	put_pool(thin_build_visitor(t.build), seed, nr_defs, nr_devices);
	CU_ASSERT_EQUAL(t.error, 0);
	thin_build_get_result(t.build, &t.result);
	finish();
	return t.result.used_blocks;
}

static void plan_is_exact(void)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		uint64_t nr = planned(seed, 0, 1 + seed % 9, MEMORY);

		CU_ASSERT_EQUAL(planned(seed, 0, 1 + seed % 9, 90000), nr); /* one bitmap after the other */
		CU_ASSERT_EQUAL(built(seed, 0, 1 + seed % 9, nr), nr);
	}
}

static void plan_is_enough(void)
{
	for (uint64_t seed = 1; seed <= 150; seed++) {
		uint64_t defs = 1 + seed % 12, devices = 1 + seed % 7;

		built(seed, defs, devices, planned(seed, defs, devices, MEMORY));
		built(seed, defs, devices, planned(seed, defs, devices, 90000));
	}
}

static void little_memory(void)
{
	struct thin_build_args args = { .memory = 1000 };
	struct thin_build *build;

	image_open(64, 64, 8);
	args.client = image.reader.client;
	CU_ASSERT_EQUAL(thin_build_create(&args, &build), -ENOMEM);
	args.memory = thin_build_least_memory(args.client);
	CU_ASSERT_EQUAL_FATAL(thin_build_create(&args, &build), 0);
	thin_build_destroy(build);
	image_close();
}

static const struct unit_case cases[] = {
	{ "a pool is read back as it was given, and every block is accounted for", small_pool },
	{ "a pool without devices is a pool", empty_pool },
	{ "devices may come in any order", any_order },
	{ "a shared leaf counts once, for all who share it", shared },
	{ "devices that have all in common have one tree", whole_tree_shared },
	{ "a def that nobody refers to leaves no trace", unused_def },
	{ "where counts do not fit into the memory they are counted in passes", passes },
	{ "metadata that is too small ends with a word, and looks like no pool", too_small },
	{ "I/O number n fails, for every n: nothing that failed looks like a pool", every_fault },
	{ "what cannot be in a pool is refused with a sentence", impossible },
	{ "overrides take the place of what the text says", overrides },
	{ "the plan of a pool in which nothing is shared is exact", plan_is_exact },
	{ "metadata as large as planned is large enough, whatever is shared", plan_is_enough },
	{ "too little memory is refused before anything is written", little_memory },
	{ NULL, NULL },
};

const struct unit_suite thin_build_suite = { "thin_build", cases };
