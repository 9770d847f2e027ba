// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "meta/thin_rmap.h"
#include "unit.h"

#define NR_BLOCKS 64
#define NR_DATA 60
#define MAX_RUNS 4000

enum { DETAILS = 1, TOP = 2, HELD = 3, HELD_TOP = 4, LEAF = 10 };

static struct thin_pool pool;
static struct range_set wanted;

/* --- making a pool: each device has one leaf --- */

static void leaf(uint64_t block)
{
	image_node(block, 2, 0, 252, 8);
}

static void set_nr(uint64_t block, unsigned nr)
{
	le_store(image_at(block) + 16, 4, nr);
	pd_block_seal(image_at(block), PD_NODE, block);
}

/* The first one makes the leaf. */
static void map(uint64_t block, uint64_t virtual, uint64_t data, uint64_t time)
{
	unsigned nr = (unsigned)le_load(image_at(block) + 16, 4);

	if (!nr)
		leaf(block);

	set_nr(block, nr + 1);
	image_entry(block, nr, virtual, data << THIN_TIME_BITS | time, 8);
}

static void device(uint64_t top, uint64_t id, uint64_t root)
{
	unsigned nr = (unsigned)le_load(image_at(top) + 16, 4);

	set_nr(top, nr + 1);
	image_entry(top, nr, id, root, 8);
	set_nr(DETAILS, top == TOP ? nr + 1 : nr);
	if (top == TOP)
		image_entry(DETAILS, nr, id, 0, 8);
}

static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 60);
	image_node(DETAILS, 2, 0, 126, 24);
	leaf(TOP);
	leaf(HELD_TOP);
	pool = (struct thin_pool){
		.reader = image.reader,
		.sb = { .data_mapping_root = TOP, .device_details_root = DETAILS },
		.nr_data_blocks = NR_DATA,
	};
}

static void stop(void)
{
	range_set_destroy(&wanted);
	image_close();
}

static void want(uint64_t begin, uint64_t end)
{
	CU_ASSERT_EQUAL(range_set_add(&wanted, begin, end), 0);
	range_set_settle(&wanted);
}

/* --- asking --- */

static struct {
	struct thin_rmap_run runs[MAX_RUNS];
	size_t nr;
	uint64_t found[NR_DATA]; /* of each block; UINT64_MAX: not said */
	uint64_t holes;
	unsigned windows;
} got;

static void take_runs(struct thin_rmap *r)
{
	const struct thin_rmap_run *runs;
	size_t nr;

	while (thin_rmap_next_runs(r, &runs, &nr) > 0) {
		got.windows++;
		CU_ASSERT_FATAL(got.nr + nr <= MAX_RUNS);
		memcpy(got.runs + got.nr, runs, nr * sizeof(*runs));
		got.nr += nr;
	}
}

static void take_counts(struct thin_rmap *r)
{
	struct thin_rmap_count c;
	uint64_t last = 0;

	while (thin_rmap_next_count(r, &c) > 0) {
		CU_ASSERT_FATAL(c.begin < c.end && c.begin >= last && c.end <= NR_DATA);
		last = c.end;
		for (uint64_t b = c.begin; b < c.end; b++)
			got.found[b] = c.found;
	}
}

static void ask(struct thin_rmap_args args)
{
	struct thin_rmap r;

	memset(&got, 0, sizeof(got));
	memset(got.found, 0xFF, sizeof(got.found));
	args.wanted = &wanted;
	if (!args.memory)
		args.memory = THIN_RMAP_MIN_MEMORY;
	CU_ASSERT_EQUAL_FATAL(thin_rmap_open(&r, &pool, &args), 0);
	take_runs(&r);
	if (args.count)
		take_counts(&r);
	got.holes = r.holes;
	thin_rmap_close(&r);
}

static const struct thin_rmap_args all = { .only_device = PROBLEM_NO_DEVICE, .count = true };

static void is_run(size_t i, uint64_t data, uint64_t dev_id, uint64_t virtual, uint64_t length)
{
	const struct thin_rmap_run *r = &got.runs[i];

	CU_ASSERT_FATAL(i < got.nr);
	CU_ASSERT_TRUE(r->data == data && r->dev_id == dev_id && r->virtual_begin == virtual && r->length == length);
}

static void in_order(void)
{
	start();
	for (unsigned i = 0; i < 4; i++)
		map(LEAF, i, 20 + i, 0);
	map(LEAF, 9, 3, 0);
	map(LEAF + 1, 7, 20, 0);
	map(LEAF + 1, 8, 22, 0);
	device(TOP, 4, LEAF);
	device(TOP, 5, LEAF + 1);
	want(3, 4);
	want(20, 23);
	ask(all);
	CU_ASSERT_EQUAL(got.nr, 4);
	is_run(0, 3, 4, 9, 1);
	is_run(1, 20, 4, 0, 3);
	is_run(2, 20, 5, 7, 1);
	is_run(3, 22, 5, 8, 1);
	CU_ASSERT_EQUAL(got.found[3], 1);
	CU_ASSERT_EQUAL(got.found[20], 2);
	CU_ASSERT_EQUAL(got.found[21], 1);
	CU_ASSERT_EQUAL(got.found[22], 2);
	CU_ASSERT_EQUAL(got.found[23], UINT64_MAX);
	stop();
}

static void times(void)
{
	struct thin_rmap_args args = all;

	start();
	map(LEAF, 0, 5, 1);
	map(LEAF, 1, 6, 2);
	device(TOP, 4, LEAF);
	want(0, NR_DATA);
	ask(args);
	CU_ASSERT_EQUAL(got.nr, 1);
	args.split_times = true;
	ask(args);
	CU_ASSERT_EQUAL(got.nr, 2);
	CU_ASSERT_EQUAL(got.runs[1].time, 2);
	stop();
}

static void shared_leaf(void)
{
	struct pd_memo_entry entries[NR_BLOCKS] = { 0 };
	struct pd_memo memo = { .entries = entries, .nr = NR_BLOCKS };
	struct thin_rmap_args args = all;

	start();
	map(LEAF, 0, 5, 0);
	map(LEAF + 1, 0, 6, 0);
	for (uint64_t id = 0; id < 6; id++)
		device(TOP, id, LEAF + id % 2);
	want(5, 6);
	args.memo = &memo;
	ask(args);
	CU_ASSERT_EQUAL(got.nr, 3);
	CU_ASSERT_EQUAL(got.found[5], 1);
	CU_ASSERT_FALSE(entries[LEAF].is_seen);
	CU_ASSERT_TRUE(entries[LEAF + 1].is_seen);
	stop();
}

static void one_device(void)
{
	struct thin_rmap_args args = { .only_device = 5 };

	start();
	map(LEAF, 0, 5, 0);
	device(TOP, 4, LEAF);
	device(TOP, 5, LEAF);
	want(0, NR_DATA);
	ask(args);
	CU_ASSERT_EQUAL(got.nr, 1);
	is_run(0, 5, 5, 0, 1);
	stop();
}

static void held_superblock(void)
{
	le_store(image_at(HELD) + 320, 8, HELD_TOP);
	le_store(image_at(HELD) + 328, 8, DETAILS);
	pd_block_seal(image_at(HELD), PD_THIN_SUPERBLOCK, HELD);
	pool.sb.held_root = HELD;
}

static void snapshot_counts(void)
{
	start();
	map(LEAF, 0, 5, 0);
	map(LEAF + 1, 0, 5, 0);
	device(TOP, 4, LEAF);
	device(HELD_TOP, 3, LEAF);
	device(HELD_TOP, 4, LEAF + 1);
	held_superblock();
	want(0, NR_DATA);
	ask(all);
	CU_ASSERT_EQUAL(got.nr, 1);
	CU_ASSERT_EQUAL(got.found[5], 2);
	CU_ASSERT_EQUAL(got.holes, 0);
	stop();
}

static void damage(void)
{
	start();
	map(LEAF, 0, 5, 0);
	map(LEAF + 1, 0, 5, 0);
	device(TOP, 4, LEAF);
	device(TOP, 5, LEAF + 1);
	image_at(LEAF)[100] ^= 1;
	pool.sb.held_root = HELD;
	want(0, NR_DATA);
	ask(all);
	CU_ASSERT_EQUAL(got.nr, 1);
	CU_ASSERT_EQUAL(got.found[5], 1);
	CU_ASSERT_EQUAL(got.holes, 2);
	stop();
}

/* --- windows --- */

static void random_pool(void)
{
	start();
	for (unsigned l = 0; l < 20; l++) {
		uint64_t data = (uint64_t)rand() % NR_DATA;

		leaf(LEAF + l);
		for (unsigned v = 0; v < 40; v++) {
			data = rand() % 3 ? data + 1 : (uint64_t)rand() % NR_DATA;
			if (rand() % 8)
				map(LEAF + l, v, data % NR_DATA, (uint64_t)rand() % 2);
		}
	}
	for (uint64_t id = 0; id < 25; id++)
		device(TOP, id, LEAF + (uint64_t)rand() % 20);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t b = (uint64_t)rand() % NR_DATA, e = b + 1 + (uint64_t)rand() % 20;

		want(b, e < NR_DATA ? e : NR_DATA);
	}
}

/* So little that even one data block may have more mappings. */
static void windows(void)
{
	static struct thin_rmap_run runs[MAX_RUNS];
	uint64_t found[NR_DATA];
	size_t nr;

	srand(1);
	for (unsigned round = 0; round < 60; round++) {
		struct thin_rmap_args args = all;

		random_pool();
		args.split_times = round % 2;
		ask(args);
		CU_ASSERT_EQUAL(got.windows, 1);
		nr = got.nr;
		memcpy(runs, got.runs, sizeof(runs));
		memcpy(found, got.found, sizeof(found));
		args.memory = 3 * sizeof(*runs) * (4 + round % 20);
		ask(args);
		CU_ASSERT_TRUE(got.windows > 1 || nr <= 4 + round % 20);
		CU_ASSERT_EQUAL(got.nr, nr);
		CU_ASSERT_EQUAL(memcmp(got.runs, runs, nr * sizeof(*runs)), 0);
		CU_ASSERT_EQUAL(memcmp(got.found, found, sizeof(found)), 0);
		stop();
	}
}

/* What @leaf, shared or not, has of each block. */
static void count_leaf(uint64_t block, uint64_t times_mapped[NR_DATA], uint64_t times_counted[NR_DATA], bool is_first)
{
	unsigned nr = (unsigned)le_load(image_at(block) + 16, 4);

	for (unsigned i = 0; i < nr; i++) {
		uint64_t data = le_load(image_at(block) + 32 + 8 * 252 + 8 * i, 8) >> THIN_TIME_BITS;

		times_mapped[data]++;
		times_counted[data] += is_first;
	}
}

static void against_the_leaves(void)
{
	srand(2);
	for (unsigned round = 0; round < 60; round++) {
		uint64_t mapped[NR_DATA] = { 0 }, counted[NR_DATA] = { 0 }, in_runs[NR_DATA] = { 0 };
		bool was[NR_BLOCKS] = { 0 };
		unsigned bad = 0;

		random_pool();
		for (unsigned i = 0; i < 25; i++) {
			uint64_t root = le_load(image_at(TOP) + 32 + 8 * 252 + 8 * i, 8);

			count_leaf(root, mapped, counted, !was[root]);
			was[root] = true;
		}
		ask(all);
		for (size_t i = 0; i < got.nr; i++)
			for (unsigned n = 0; n < got.runs[i].length; n++)
				in_runs[got.runs[i].data + n]++;
		for (unsigned b = 0; b < NR_DATA; b++) {
			bool is_wanted = range_set_has(&wanted, b);

			bad += in_runs[b] != (is_wanted ? mapped[b] : 0);
			bad += got.found[b] != (is_wanted ? counted[b] : UINT64_MAX);
		}
		CU_ASSERT_EQUAL(bad, 0);
		stop();
	}
}

static const struct unit_case cases[] = {
	{ "runs are wanted blocks alone, by data block, device and virtual block", in_order },
	{ "a run has one time only if that is asked for", times },
	{ "a leaf that is shared is told of every device and counted once", shared_leaf },
	{ "one device can be asked about", one_device },
	{ "what the metadata snapshot has for itself is counted, and not told", snapshot_counts },
	{ "behind damage the rest is found, and that there may be more", damage },
	{ "every wanted block is found as often as leaves have it", against_the_leaves },
	{ "what does not fit in the memory comes in windows and is the same", windows },
	{ NULL, NULL },
};

const struct unit_suite thin_rmap_suite = { "thin_rmap", cases };
