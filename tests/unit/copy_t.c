// SPDX-License-Identifier: LGPL-2.1-or-later
/* Bulk copy between devices that fail, lie, and are stopped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"
#include "ops/copy.h"
#include "text/map_file.h"
#include "unit.h"

#define SECTOR 512
#define BLOCK 4096
#define SIZE (64 * BLOCK + 1234)
#define OLD 0x55
#define MEMORY (UINT64_C(1) << 20)

static struct rig {
	struct bufio_device *source_memory, *target_memory;
	struct io_fault_plan reads, writes;
	struct op_copy_args args;
	struct op_result result;
	struct bufio_stats stats;
	char folder[256], map[300];
} rig;

static unsigned char at_source(uint64_t i)
{
	return (unsigned char)(i / 7 * 31 + i % 5 + 1); /* never a block of zeroes */
}

static unsigned char *source_bytes(void)
{
	return io_mem_data(rig.source_memory);
}

static unsigned char *target_bytes(void)
{
	return io_mem_data(rig.target_memory);
}

/* Names are for identities in the map, and for libblkid, which finds nothing in a folder. */
static void set_args(void)
{
	rig.args = (struct op_copy_args){
		.program = "unit", .source = "/", .target = rig.folder, .block_size = BLOCK, .memory_limit = MEMORY,
		.end = UINT64_MAX, .out_fd = -1, .stats = &rig.stats,
	};
	snprintf(rig.map, sizeof(rig.map), "%s/map", rig.folder);
}

static void open_ends(void)
{
	CU_ASSERT_EQUAL_FATAL(io_fault_open(rig.source_memory, &rig.reads, &rig.args.source_device), 0);
	CU_ASSERT_EQUAL_FATAL(io_fault_open(rig.target_memory, &rig.writes, &rig.args.target_device), 0);
}

static void setup(void)
{
	const char *dir = getenv("TMPDIR");

	memset(&rig, 0, sizeof(rig));
	snprintf(rig.folder, sizeof(rig.folder), "%s/unitXXXXXX", dir ? dir : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(rig.folder));
	set_args();
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE, &rig.source_memory), 0);
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE + BLOCK, &rig.target_memory), 0);
	for (uint64_t i = 0; i < SIZE; i++)
		source_bytes()[i] = at_source(i);
	memset(target_bytes(), OLD, SIZE + BLOCK);
	rig.reads = (struct io_fault_plan){ .kinds = IO_FAULT_READ, .error = EIO };
	rig.writes = (struct io_fault_plan){ .kinds = IO_FAULT_WRITE, .error = EIO };
	open_ends();
}

static void teardown(void)
{
	bufio_device_close(rig.args.source_device);
	bufio_device_close(rig.args.target_device);
	unlink(rig.map);
	CU_ASSERT_EQUAL(rmdir(rig.folder), 0); /* nothing else is left there */
}

static enum op_outcome run(void)
{
	memset(&rig.stats, 0, sizeof(rig.stats));
	CU_ASSERT_EQUAL(op_copy(&rig.args, &rig.result), rig.result.outcome == OP_DONE);
	CU_ASSERT_TRUE((rig.result.outcome != OP_DONE) == (rig.result.reason[0] != '\0'));
	return rig.result.outcome;
}

/* Bytes of the target from @begin to @end - 1 that are not those of the source; all copies begin at 0 there. */
static uint64_t count_wrong(uint64_t begin, uint64_t end)
{
	uint64_t wrong = 0;

	for (uint64_t i = begin; i < end; i++)
		wrong += target_bytes()[i] != at_source(i);
	return wrong;
}

static uint64_t count_touched(uint64_t begin, uint64_t end)
{
	uint64_t touched = 0;

	for (uint64_t i = begin; i < end; i++)
		touched += target_bytes()[i] != OLD;
	return touched;
}

/* What the map says is there is there. Gives how many bytes that is. */
static uint64_t check_map(void)
{
	FILE *file = fopen(rig.map, "re");
	struct text_map_info info;
	struct text_map map = { 0 };
	uint64_t good;

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT_EQUAL(text_map_read(file, &map, &info), 0);
	fclose(file);
	for (size_t i = 0; i < map.nr; i++)
		if (map.pieces[i].status == '+')
			CU_ASSERT_EQUAL(count_wrong(map.pieces[i].begin, map.pieces[i].end), 0);
	good = text_map_count(&map, "+");
	text_map_destroy(&map);
	return good;
}

/* --- all is well --- */

static void whole(void)
{
	setup();
	CU_ASSERT_EQUAL(run(), OP_DONE);
	CU_ASSERT_EQUAL(count_wrong(0, SIZE), 0);
	CU_ASSERT_EQUAL(count_touched(SIZE, SIZE + BLOCK), 0);
	CU_ASSERT_TRUE(rig.stats.peak_bytes <= MEMORY);
	CU_ASSERT_EQUAL(rig.stats.read_requests, rig.reads.count);
	CU_ASSERT_TRUE(rig.result.keeps_target);
	teardown();
}

static void anywhere(void)
{
	uint64_t seed = 3;

	for (unsigned n = 0; n < 60; n++) {
		uint64_t begin, end, to, wrong = 0;

		setup();
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		begin = (seed >> 20) % SIZE;
		end = begin + (seed >> 33) % (SIZE - begin + 1);
		to = (seed >> 11) % (SIZE + BLOCK - (end - begin) + 1);
		rig.args.begin = begin;
		rig.args.end = end;
		rig.args.to = to;
		rig.args.block_size = 512u << seed % 8;
		rig.args.sparse = n % 3;
		rig.args.verify = n / 3 % 3;
		CU_ASSERT_EQUAL(run(), OP_DONE);
		for (uint64_t i = 0; i < end - begin; i++)
			wrong += target_bytes()[to + i] != at_source(begin + i);
		CU_ASSERT_EQUAL(wrong, 0);
		CU_ASSERT_EQUAL(count_touched(0, to) + count_touched(to + end - begin, SIZE + BLOCK), 0);
		teardown();
	}
}

static void blocks_of_zeroes(void)
{
	for (unsigned discard = 0; discard < 2; discard++) {
		setup();
		memset(source_bytes() + 10 * BLOCK, 0, 5 * BLOCK);
		rig.args.sparse = COPY_SPARSE_ALWAYS;
		rig.args.discard = discard;
		CU_ASSERT_EQUAL(run(), OP_DONE);
		CU_ASSERT_EQUAL(memcmp(source_bytes(), target_bytes(), SIZE), 0);
		CU_ASSERT_EQUAL(rig.stats.blocks_written, discard ? 60 : 65);
		teardown();
	}
}

static void within_itself(void)
{
	setup();
	bufio_device_close(rig.args.target_device);
	rig.args.target_device = rig.args.source_device;
	rig.args.end = 10 * BLOCK + 77;
	rig.args.to = 10 * BLOCK;
	CU_ASSERT_EQUAL(run(), OP_REFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "overlap"));
	rig.args.to = 10 * BLOCK + 77;
	CU_ASSERT_EQUAL(run(), OP_DONE);
	CU_ASSERT_EQUAL(memcmp(source_bytes(), source_bytes() + 10 * BLOCK + 77, 10 * BLOCK + 77), 0);
	rig.args.target_device = NULL;
	teardown();
}

static void refused(void)
{
	setup();
	rig.args.end = SIZE + 1;
	CU_ASSERT_EQUAL(run(), OP_USAGE);
	rig.args.end = UINT64_MAX;
	rig.args.to = INT64_MAX;
	CU_ASSERT_EQUAL(run(), OP_USAGE);
	rig.args.to = BLOCK + 1; /* memory cannot grow */
	CU_ASSERT_EQUAL(run(), OP_OUTPUT);
	rig.args.to = 0;
	rig.args.memory_limit = 10000;
	CU_ASSERT_EQUAL(run(), OP_USAGE);
	CU_ASSERT_FALSE(rig.result.keeps_target);
	CU_ASSERT_EQUAL(count_touched(0, SIZE + BLOCK), 0);
	teardown();
}

/* --- I/O number n fails --- */

/* Whether the run came to its end; checks what it says if not. */
static bool came_through(void)
{
	enum op_outcome outcome = run();

	if (outcome == OP_DONE) {
		CU_ASSERT_EQUAL(count_wrong(0, SIZE), 0);
		return true;
	}
	CU_ASSERT_TRUE(outcome == OP_PARTLY || outcome == OP_INPUT);
	if (outcome == OP_INPUT)
		CU_ASSERT_EQUAL(count_touched(0, SIZE + BLOCK), 0);
	CU_ASSERT_EQUAL(count_touched(SIZE, SIZE + BLOCK), 0);
	return false;
}

/* Each alone, and with all that follow. Then the plan is healed, and the same command goes on. */
static void fail_each(struct io_fault_plan *plan, unsigned kinds, bool with_map)
{
	unsigned failed = 0, done = 0;

	for (uint64_t n = 1; n < 500; n++) {
		bool is_last;

		setup();
		plan->kinds = kinds;
		plan->fail_at = (n + 1) / 2;
		plan->sticky = n % 2;
		if (with_map)
			rig.args.map = rig.map;
		came_through() ? done++ : failed++;
		is_last = plan->count < plan->fail_at;
		if (with_map && rig.result.outcome != OP_DONE && rig.result.keeps_target) {
			check_map();
			plan->fail_at = 0;
			rig.args.retries = 1;
			CU_ASSERT_EQUAL(run(), OP_DONE);
			CU_ASSERT_EQUAL(count_wrong(0, SIZE), 0);
			CU_ASSERT_EQUAL(check_map(), SIZE);
		}
		teardown();
		if (is_last)
			break;
	}
	CU_ASSERT_TRUE(failed && done);
}

static void reads_fail(void)
{
	fail_each(&rig.reads, IO_FAULT_READ, false);
	fail_each(&rig.reads, IO_FAULT_READ, true);
}

static void writes_fail(void)
{
	fail_each(&rig.writes, IO_FAULT_WRITE, false);
	fail_each(&rig.writes, IO_FAULT_WRITE, true);
}

static void flushes_fail(void)
{
	fail_each(&rig.writes, IO_FAULT_FLUSH, false);
	fail_each(&rig.writes, IO_FAULT_FLUSH, true);
}

static void lost_range(void)
{
	setup();
	rig.writes.bad_begin = 20 * BLOCK + 5;
	rig.writes.bad_end = rig.writes.bad_begin + 1;
	rig.writes.error = ENOSPC;
	rig.args.map = rig.map;
	CU_ASSERT_EQUAL(run(), OP_PARTLY);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "bytes 81920..86016 could not be written"));
	CU_ASSERT_TRUE(check_map() < SIZE);
	teardown();
}

/* --- a bad disk --- */

static void set_bad(uint64_t begin, uint64_t end)
{
	rig.reads.bad_begin = begin;
	rig.reads.bad_end = end;
}

static void bad_place(void)
{
	static const struct {
		uint64_t begin, end;
	} rows[] = { { 0, 1 }, { 7 * BLOCK + 600, 7 * BLOCK + 1600 }, { SIZE - 1, SIZE }, { 3 * BLOCK - 1, 3 * BLOCK + 1 } };

	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t begin = rows[i].begin / SECTOR * SECTOR, end = (rows[i].end + SECTOR - 1) / SECTOR * SECTOR;
		char text[64];

		end = end < SIZE ? end : SIZE;
		setup();
		set_bad(rows[i].begin, rows[i].end);
		rig.args.skip_bad = true;
		rig.args.verify = COPY_VERIFY_READBACK;
		CU_ASSERT_EQUAL(run(), OP_PARTLY);
		snprintf(text, sizeof(text), "not verified: %lu..%lu", (unsigned long)begin, (unsigned long)end);
		CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, text));
		CU_ASSERT_EQUAL(count_wrong(0, begin) + count_wrong(end, SIZE), 0);
		CU_ASSERT_EQUAL(count_touched(begin, end), 0);
		teardown();
	}
}

static void stops_at_bad(void)
{
	setup();
	set_bad(7 * BLOCK + 600, 7 * BLOCK + 601);
	CU_ASSERT_EQUAL(run(), OP_PARTLY);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "bytes 28672..32768 cannot be read"));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "--range=28672B..263378B --to=28672B"));
	CU_ASSERT_EQUAL(count_wrong(0, 7 * BLOCK), 0);
	CU_ASSERT_EQUAL(count_touched(7 * BLOCK, SIZE), 0);
	teardown();
	setup();
	set_bad(0, 1);
	CU_ASSERT_EQUAL(run(), OP_INPUT);
	CU_ASSERT_FALSE(rig.result.keeps_target);
	CU_ASSERT_EQUAL(count_touched(0, SIZE), 0);
	teardown();
}

static void resumes(void)
{
	setup();
	set_bad(7 * BLOCK + 600, 7 * BLOCK + 601);
	rig.args.map = rig.map;
	CU_ASSERT_EQUAL(run(), OP_PARTLY);
	CU_ASSERT_EQUAL(check_map(), SIZE - SECTOR);
	/* Nothing is left to be tried but what is bad, and that only when it is asked for. */
	CU_ASSERT_EQUAL(run(), OP_PARTLY);
	CU_ASSERT_EQUAL(rig.stats.read_requests, 0);
	rig.args.retries = 5;
	CU_ASSERT_EQUAL(run(), OP_PARTLY);
	CU_ASSERT_EQUAL(rig.stats.blocks_written, 0);
	set_bad(0, 0);
	CU_ASSERT_EQUAL(run(), OP_DONE);
	CU_ASSERT_EQUAL(rig.stats.blocks_read, 1);
	CU_ASSERT_EQUAL(rig.stats.blocks_written, 1);
	CU_ASSERT_EQUAL(count_wrong(0, SIZE), 0);
	CU_ASSERT_EQUAL(check_map(), SIZE);
	teardown();
}

static void other_map(void)
{
	setup();
	rig.args.map = rig.map;
	CU_ASSERT_EQUAL(run(), OP_DONE);
	rig.args.begin = 512;
	CU_ASSERT_EQUAL(run(), OP_REFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "another part"));
	rig.args.begin = 0;
	rig.args.source = "/tmp";
	CU_ASSERT_EQUAL(run(), OP_REFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "another source"));
	rig.args.source = "/";
	rig.args.target = "/tmp";
	CU_ASSERT_EQUAL(run(), OP_REFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "another target"));
	rig.args.target = rig.folder;
	CU_ASSERT_EQUAL(run(), OP_DONE);
	CU_ASSERT_EQUAL(rig.stats.blocks_read, 0);
	teardown();
}

static void map_not_writable(void)
{
	setup();
	snprintf(rig.map, sizeof(rig.map), "%s/nosuch/map", rig.folder);
	rig.args.map = rig.map;
	CU_ASSERT_EQUAL(run(), OP_OUTPUT);
	CU_ASSERT_EQUAL(count_touched(0, SIZE), 0);
	teardown();
}

/* --- stopping, and lying --- */

static struct io_ops spied;
static const struct io_ops *below;
static volatile sig_atomic_t stop;
static int stop_after, lie_at;

static void spy_submit(struct bufio_device *dev, struct io_request **requests, unsigned nr)
{
	bool is_write = requests[0]->direction == IO_WRITE;

	below->submit(dev, requests, nr);
	if (is_write && stop_after && !--stop_after)
		stop = 1;
	if (is_write && lie_at)
		target_bytes()[lie_at] = (unsigned char)~at_source((uint64_t)lie_at);
}

/* The target's memory has another submit(). */
static void spy(int stop_at, int lie)
{
	below = rig.target_memory->ops;
	spied = *below;
	spied.submit = spy_submit;
	rig.target_memory->ops = &spied;
	rig.args.stop = &stop;
	stop = 0;
	stop_after = stop_at;
	lie_at = lie;
}

static void stopped(void)
{
	for (int n = 1; n < 4; n++) {
		uint64_t good;

		setup();
		spy(n, 0);
		rig.args.memory_limit = 200000;
		rig.args.map = rig.map;
		CU_ASSERT_EQUAL(run(), OP_PARTLY);
		CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "signal"));
		good = check_map();
		CU_ASSERT_TRUE(good && good < SIZE);
		stop = 0;
		CU_ASSERT_EQUAL(run(), OP_DONE);
		CU_ASSERT_EQUAL(rig.stats.blocks_read, (SIZE - good + BLOCK - 1) / BLOCK);
		CU_ASSERT_EQUAL(count_wrong(0, SIZE), 0);
		teardown();
	}
}

/* A larger block that cannot be read, for a part that is there already, costs nothing. */
static void other_block_size(void)
{
	uint64_t good;

	setup();
	spy(1, 0);
	rig.args.memory_limit = 200000;
	rig.args.map = rig.map;
	CU_ASSERT_EQUAL(run(), OP_PARTLY);
	good = check_map();
	CU_ASSERT_TRUE_FATAL(good > 0 && good % 65536 != 0);
	stop = 0;
	set_bad(good - 1, good);
	rig.args.memory_limit = 2 << 20;
	rig.args.block_size = 65536;
	CU_ASSERT_EQUAL(run(), OP_DONE);
	CU_ASSERT_EQUAL(check_map(), SIZE);
	CU_ASSERT_EQUAL(count_wrong(0, SIZE), 0);
	teardown();
}

/* What it says is of the target, not of this run. */
static void stopped_again(void)
{
	setup();
	spy(1, 0);
	rig.args.memory_limit = 200000;
	rig.args.map = rig.map;
	CU_ASSERT_EQUAL(run(), OP_PARTLY);
	CU_ASSERT_EQUAL(run(), OP_PARTLY);
	CU_ASSERT_EQUAL(rig.stats.blocks_written, 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "is not finished"));
	teardown();
}

static void stopped_before(void)
{
	setup();
	spy(0, 0);
	stop = 1;
	CU_ASSERT_EQUAL(run(), OP_INPUT);
	CU_ASSERT_EQUAL(count_touched(0, SIZE), 0);
	teardown();
}

static void lies_are_seen(void)
{
	for (unsigned how = COPY_VERIFY_NONE; how <= COPY_VERIFY_HASH; how++) {
		setup();
		spy(0, 30 * BLOCK + 5);
		rig.args.verify = how;
		CU_ASSERT_EQUAL(run(), how ? OP_DIFFERS : OP_DONE);
		if (how == COPY_VERIFY_READBACK)
			CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "bytes 122880..126976"));
		teardown();
	}
}

static void verify_cannot_read(void)
{
	setup();
	rig.writes.kinds = IO_FAULT_READ;
	set_bad(0, 0);
	rig.writes.bad_begin = 9 * BLOCK;
	rig.writes.bad_end = 9 * BLOCK + 1;
	rig.args.is_new = true; /* what is there is not looked at */
	rig.args.verify = COPY_VERIFY_HASH;
	CU_ASSERT_EQUAL(run(), OP_DIFFERS);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.result.reason, "bytes 36864..40960 cannot be read again"));
	teardown();
}

/* What was not read in one go is hashed by reading the source again. */
static void hash_after_resume(void)
{
	setup();
	set_bad(7 * BLOCK, 7 * BLOCK + 1);
	rig.args.map = rig.map;
	CU_ASSERT_EQUAL(run(), OP_PARTLY);
	set_bad(0, 0);
	rig.args.retries = 1;
	rig.args.verify = COPY_VERIFY_HASH;
	CU_ASSERT_EQUAL(run(), OP_DONE);
	teardown();
}

static const struct unit_case cases[] = {
	{ "all of the source is copied to the byte, and nothing behind it is touched", whole },
	{ "any range goes anywhere, in blocks of any size", anywhere },
	{ "blocks of zeroes are zeroes in the target, written or not", blocks_of_zeroes },
	{ "ranges of one device are copied, unless they overlap", within_itself },
	{ "what cannot be is refused, and nothing is written", refused },
	{ "read number n fails: it is copied, or said not to be; a map is right, and gone on with", reads_fail },
	{ "write number n fails: the same", writes_fail },
	{ "flush number n fails: the same", flushes_fail },
	{ "what could not be written is named", lost_range },
	{ "a bad place costs its sectors, which are named and keep what they had", bad_place },
	{ "without a map the first bad place ends it, and what comes before is there", stops_at_bad },
	{ "a run goes on with what is missing, and reads nothing else", resumes },
	{ "a map of another source, target or place is refused", other_map },
	{ "a map that cannot be written is found before anything is written", map_not_writable },
	{ "a run that is stopped leaves a map that is right, and is gone on with", stopped },
	{ "a run goes on in larger blocks, and what is there is not given up for them", other_block_size },
	{ "a run that goes on and is stopped at once is not finished either", stopped_again },
	{ "one that is stopped at once has written nothing", stopped_before },
	{ "what the target did not keep is seen by reading it back, and by its hash", lies_are_seen },
	{ "what cannot be read back is not verified", verify_cannot_read },
	{ "a hash is that of the source also when it was read in parts", hash_after_resume },
	{ NULL, NULL },
};

const struct unit_suite copy_suite = { "copy", cases };
