// SPDX-License-Identifier: LGPL-2.1-or-later
/* A pool in memory, copied and packed to devices and files in memory, which fail where they are told to. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image.h"
#include "meta/thin_build.h"
#include "ops/pack.h"
#include "unit.h"

#define NR_BLOCKS 300
#define MEMORY (UINT64_C(16) << 20)
#define JUNK 0x5A

static struct {
	struct bufio_device *memory, *dev;
	struct io_fault_plan plan; /* of writes and flushes */
	struct bufio_client *client;
} target;

static struct op_pack_args args;
static struct op_pack_plan plan;
static struct op_result result;

/* --- making --- */

static void build_pool(void)
{
	struct thin_build_args build = { .client = image.reader.client, .memory = MEMORY };
	struct record_superblock sb = {
		.uuid = "", .transaction = 77, .version = 2, .data_block_size = 128, .nr_data_blocks = 5000,
	};
	struct record_device device = { .dev_id = 1, .mapped_blocks = 1000 };
	struct record_mapping mapping = { .dev_id = 1, .data_begin = 5, .length = 1000 };
	struct thin_build *b;
	struct meta_visitor *v;

	CU_ASSERT_EQUAL_FATAL(thin_build_create(&build, &b), 0);
	v = thin_build_visitor(b);
	CU_ASSERT_EQUAL(v->begin(v, RECORD_SUPERBLOCK, &sb), 0);
	CU_ASSERT_EQUAL(v->begin(v, RECORD_DEVICE, &device), 0);
	CU_ASSERT_EQUAL(v->record(v, RECORD_RANGE, &mapping), 0);
	CU_ASSERT_EQUAL(v->end(v, RECORD_DEVICE, &device), 0);
	CU_ASSERT_EQUAL(v->end(v, RECORD_SUPERBLOCK, &sb), 0);
	thin_build_destroy(b);
	memset(image_at(NR_BLOCKS - 2), JUNK, PD_BLOCK_SIZE); /* not in use */
}

static uint8_t *target_at(uint64_t block)
{
	return (uint8_t *)io_mem_data(target.memory) + block * PD_BLOCK_SIZE;
}

static void open_target(uint64_t nr_blocks)
{
	target.plan = (struct io_fault_plan){ .kinds = IO_FAULT_WRITE | IO_FAULT_FLUSH, .error = EIO, .sticky = true };
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(nr_blocks * PD_BLOCK_SIZE, &target.memory), 0);
	CU_ASSERT_EQUAL_FATAL(io_fault_open(target.memory, &target.plan, &target.dev), 0);
	memset(io_mem_data(target.memory), JUNK, nr_blocks * PD_BLOCK_SIZE);
	target.client = bufio_client_create(target.dev, PD_BLOCK_SIZE, 1, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(target.client);
	args.target_client = target.client;
}

static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, PACK_HELD_BUFFERS);
	build_pool();
	open_target(NR_BLOCKS);
	args = (struct op_pack_args){
		.program = "test", .source = "source", .target = "target", .client = image.reader.client,
		.target_client = target.client, .packed_fd = memfd_create("packed", MFD_CLOEXEC), .out_fd = -1,
		.memory_limit = MEMORY,
	};
	plan = (struct op_pack_plan){ 0 };
	bufio_client_reset(args.client);
}

/* What could not be written is not written now either. */
static void close_target(void)
{
	bufio_client_destroy(target.client);
	bufio_device_close(target.dev);
}

static void finish(void)
{
	op_pack_plan_destroy(&plan);
	close_target();
	image_close();
	close(args.packed_fd);
}

/* --- looking --- */

static bool is_junk(uint64_t block)
{
	return target_at(block)[0] == JUNK && !memcmp(target_at(block), target_at(block) + 1, PD_BLOCK_SIZE - 1);
}

static bool is_zero(uint64_t block)
{
	return target_at(block)[0] == 0 && !memcmp(target_at(block), target_at(block) + 1, PD_BLOCK_SIZE - 1);
}

/* What is in use is the source's, all else as it was. */
static void is_copied(void)
{
	uint64_t copied = 0;

	for (uint64_t block = 0; block < NR_BLOCKS; block++) {
		if (is_junk(block))
			continue;
		CU_ASSERT_EQUAL(memcmp(target_at(block), image_at(block), PD_BLOCK_SIZE), 0);
		copied++;
	}
	CU_ASSERT_EQUAL(copied, plan.blocks);
	CU_ASSERT_TRUE(copied > 10 && copied < 20);
	CU_ASSERT_TRUE(is_junk(NR_BLOCKS - 2));
}

/* --- whole runs --- */

static bool copy(void)
{
	return op_used_plan(&args, &plan, &result) && op_pack_target(&args, &plan, &result) &&
	       op_used_copy(&args, &plan, &result);
}

static bool pack(void)
{
	return op_used_plan(&args, &plan, &result) && op_pack(&args, &plan, &result);
}

static bool unpack(void)
{
	op_pack_plan_destroy(&plan);
	return op_unpack_plan(&args, &plan, &result) && op_pack_target(&args, &plan, &result) &&
	       op_unpack(&args, &plan, &result);
}

/* --- cases --- */

static void copies(void)
{
	start();
	CU_ASSERT_TRUE(copy());
	CU_ASSERT_EQUAL(plan.transaction, 77);
	CU_ASSERT_EQUAL(plan.device_bytes, NR_BLOCKS * PD_BLOCK_SIZE);
	CU_ASSERT_FALSE(plan.by_contents);
	is_copied();
	finish();
}

static void packs_and_unpacks(void)
{
	start();
	CU_ASSERT_TRUE(pack());
	CU_ASSERT_EQUAL(lseek(args.packed_fd, 0, SEEK_END), (off_t)plan.packed_bytes);
	CU_ASSERT_TRUE(plan.packed_bytes < plan.blocks * PD_BLOCK_SIZE / 2);
	CU_ASSERT_TRUE(unpack());
	CU_ASSERT_EQUAL(plan.transaction, 77);
	CU_ASSERT_EQUAL(plan.device_bytes, NR_BLOCKS * PD_BLOCK_SIZE);
	is_copied();
	finish();
}

/* The block of a leaf: the first whose value says so. */
static uint64_t find_leaf(void)
{
	for (uint64_t block = 1; block < NR_BLOCKS; block++)
		if (pd_block_kind(image_at(block)) == PD_NODE && le_load(image_at(block) + 16, 4) > 100)
			return block;
	CU_FAIL_FATAL("no leaf");
	return 0;
}

static void damage_leaf(uint64_t leaf)
{
	image.plan.bad_begin = leaf * PD_BLOCK_SIZE;
	image.plan.bad_end = (leaf + 1) * PD_BLOCK_SIZE;
}

static void unreadable_copied(void)
{
	uint64_t leaf;

	start();
	leaf = find_leaf();
	damage_leaf(leaf);
	CU_ASSERT_TRUE(copy());
	CU_ASSERT_TRUE(plan.by_contents && plan.is_damaged);
	CU_ASSERT_EQUAL(result.unreadable, 1);
	CU_ASSERT_TRUE(is_zero(leaf));
	CU_ASSERT_EQUAL(memcmp(target_at(NR_BLOCKS - 2), image_at(NR_BLOCKS - 2), PD_BLOCK_SIZE), 0);
	finish();
}

static void unreadable_packed(void)
{
	uint64_t leaf;

	start();
	leaf = find_leaf();
	damage_leaf(leaf);
	CU_ASSERT_TRUE(pack());
	CU_ASSERT_EQUAL(result.unreadable, 1);
	CU_ASSERT_TRUE(unpack());
	CU_ASSERT_EQUAL(plan.unreadable, 1);
	CU_ASSERT_TRUE(plan.by_contents && plan.is_damaged);
	CU_ASSERT_TRUE(is_zero(leaf));
	finish();
}

static bool is_unfinished(void)
{
	return thin_build_is_unfinished(target_at(0));
}

/*
 * Operation number n fails, n = 1, 2, ...: there is never a superblock over what is not finished. Only where the last
 * flush fails nobody can know what is there.
 */
static void failing_writes(bool (*run)(void))
{
	uint64_t n = 0, last = 0;
	bool ok;

	do {
		close_target();
		open_target(NR_BLOCKS);
		op_pack_plan_destroy(&plan);
		bufio_set_memory_limit(args.client, MEMORY);
		target.plan.fail_at = ++n;
		ok = run();
		last = target.plan.count;
		CU_ASSERT_TRUE(ok || result.outcome == OP_PARTLY);
		CU_ASSERT_TRUE(ok || n == last || is_unfinished() || is_junk(0));
		CU_ASSERT_TRUE(ok || strstr(result.reason, "target: Input/output error") == result.reason);
	} while (!ok && n < 1000);
	CU_ASSERT_TRUE(n > 5 && n < 1000);
	is_copied();
}

static void failing_copy(void)
{
	start();
	failing_writes(copy);
	finish();
}

static void failing_unpack(void)
{
	start();
	CU_ASSERT_TRUE(pack());
	failing_writes(unpack);
	finish();
}

static void flip(off_t at)
{
	uint8_t byte;

	CU_ASSERT_EQUAL(pread(args.packed_fd, &byte, 1, at), 1);
	byte ^= 1;
	CU_ASSERT_EQUAL(pwrite(args.packed_fd, &byte, 1, at), 1);
}

static void damaged_file(void)
{
	start();
	CU_ASSERT_TRUE(pack());
	flip(lseek(args.packed_fd, 0, SEEK_END) - 1);
	CU_ASSERT_FALSE(unpack());
	CU_ASSERT_EQUAL(result.outcome, OP_INPUT);
	CU_ASSERT_EQUAL(target.plan.count, 0);
	finish();
}

static void changed_file(void)
{
	off_t end;

	start();
	CU_ASSERT_TRUE(pack());
	end = lseek(args.packed_fd, 0, SEEK_END);
	op_pack_plan_destroy(&plan);
	CU_ASSERT_TRUE(op_unpack_plan(&args, &plan, &result));
	flip(end - 1);
	CU_ASSERT_FALSE(op_unpack(&args, &plan, &result));
	CU_ASSERT_EQUAL(result.outcome, OP_PARTLY);
	CU_ASSERT_TRUE(is_unfinished());
	flip(end - 1);
	plan.csum ^= 1; /* a good file, but another one */
	CU_ASSERT_FALSE(op_unpack(&args, &plan, &result));
	CU_ASSERT_EQUAL(result.outcome, OP_PARTLY);
	CU_ASSERT_TRUE(is_unfinished());
	finish();
}

static void small_target(void)
{
	start();
	CU_ASSERT_TRUE(op_used_plan(&args, &plan, &result));
	close_target();
	open_target(plan.end);
	CU_ASSERT_TRUE(op_pack_target(&args, &plan, &result));
	close_target();
	open_target(plan.end - 1);
	CU_ASSERT_FALSE(op_pack_target(&args, &plan, &result));
	CU_ASSERT_EQUAL(result.outcome, OP_REFUSED);
	CU_ASSERT_EQUAL(target.plan.count, 0);
	finish();
}

static void is_refused_for_memory(bool (*run)(void), uint64_t memory)
{
	op_pack_plan_destroy(&plan);
	args.memory_limit = memory;
	CU_ASSERT_FALSE(run());
	CU_ASSERT_EQUAL(result.outcome, OP_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(result.reason, "--memory-limit="));
	CU_ASSERT_EQUAL(target.plan.count, 0);
}

static void little_memory(void)
{
	start();
	is_refused_for_memory(copy, 200 << 10);
	is_refused_for_memory(pack, 1 << 20);
	args.memory_limit = MEMORY;
	op_pack_plan_destroy(&plan);
	CU_ASSERT_TRUE(pack());
	is_refused_for_memory(unpack, 1 << 20);
	finish();
}

static void pipes(void)
{
	int ends[2];

	start();
	close(args.packed_fd);
	CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
	args.packed_fd = ends[0];
	CU_ASSERT_FALSE(op_unpack_plan(&args, &plan, &result));
	CU_ASSERT_EQUAL(result.outcome, OP_USAGE);
	close(ends[1]);
	finish();
}

static const struct unit_case cases[] = {
	{ "what is in use goes to its own place, and nothing else is touched", copies },
	{ "so it does through a packed file", packs_and_unpacks },
	{ "zeroes stand for what cannot be read, and it is counted", unreadable_copied },
	{ "so they do through a packed file", unreadable_packed },
	{ "a copy that fails anywhere leaves no superblock", failing_copy },
	{ "unpacking that fails anywhere leaves no superblock", failing_unpack },
	{ "of a damaged file nothing is written", damaged_file },
	{ "a file that changes between its two readings does not become a pool", changed_file },
	{ "a target that ends before the last block is refused", small_target },
	{ "too little memory is refused before anything is written, and what would do is said", little_memory },
	{ "a pipe is not unpacked", pipes },
	{ NULL, NULL },
};

const struct unit_suite pack_suite = { "pack", cases };
