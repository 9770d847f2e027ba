// SPDX-License-Identifier: LGPL-2.1-or-later
/* Scripts on a pool in memory: what becomes of it, also when devices, journals and memory fail. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "allocation.h"
#include "image.h"
#include "io/io.h"
#include "io/io_journal.h"
#include "ops/dump.h"
#include "ops/patch.h"
#include "pdata/space_map.h"
#include "unit.h"

#define BLOCK PD_BLOCK_SIZE
#define NR_BLOCKS 96
#define SIZE (NR_BLOCKS * BLOCK)
#define LIMIT (UINT64_C(4) << 20)
#define LEN(table) (sizeof(table) / sizeof(*(table)))

enum { TARGET, SOURCE, NR_VOLUMES };
enum { DETAILS = 7, TOP = 8, TREE = 10, BITMAP = 20 };

static struct {
	struct bufio_device *memory[NR_VOLUMES], *device[NR_VOLUMES];
	struct io_fault_plan plan[NR_VOLUMES];
	struct bufio_client *client[NR_VOLUMES];
	uint64_t size[NR_VOLUMES], limit;
	uint32_t block_size;
	struct stat *stat; /* of the target */
	struct op_script *script;
	struct op_result result;
	const char *digest, *signature;
	bool is_denied, is_asked; /* by confirm() */
	bool is_full_then;        /* the output, from there on */
	int out_fd;
	bool json, verbose;
	char folder[256], journal[300], saved[300], why[sizeof(struct bufio_reason)];
	unsigned char old[SIZE], source[SIZE];
} rig;

/* --- volumes --- */

static unsigned char *bytes_of(unsigned volume)
{
	return io_mem_data(rig.memory[volume]);
}

static unsigned char *block_of(unsigned volume, uint64_t block)
{
	return bytes_of(volume) + block * BLOCK;
}

static void make_node(unsigned char *b, uint64_t block, uint32_t nr, uint32_t max, uint32_t value_size)
{
	image_header(b, 2, nr, max, value_size);
	for (uint32_t i = 0; i < nr; i++) {
		le_store(b + 32 + 8 * (size_t)i, 8, i + 1);
		le_store(b + 32 + 8 * (size_t)max + (size_t)value_size * i, 8, value_size == 8 ? TREE : 5);
	}
	pd_block_seal(b, PD_NODE, block);
}

/* A pool with one device, 1, in which 1 to 9 are mapped; the rest is bytes that are not zero. */
static void make_pool(unsigned char *data)
{
	for (uint64_t i = 0; i < SIZE; i++)
		data[i] = (unsigned char)(i / 7 * 31 + i % 5 + 1);
	memset(data, 0, BLOCK);
	le_store(data + 32, 8, 27022010);
	le_store(data + 40, 4, 2);
	le_store(data + 48, 8, 21);
	le_store(data + 320, 8, TOP);
	le_store(data + 328, 8, DETAILS);
	pd_block_seal(data, PD_THIN_SUPERBLOCK, 0);
	make_node(data + DETAILS * BLOCK, DETAILS, 1, 126, 24);
	make_node(data + TOP * BLOCK, TOP, 1, 252, 8);
	make_node(data + TREE * BLOCK, TREE, 9, 252, 8);
	pd_block_seal(data + BITMAP * BLOCK, PD_BITMAP, BITMAP);
}

static void open_volume(unsigned i)
{
	rig.plan[i] = (struct io_fault_plan){ .error = EIO };
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(rig.size[i], &rig.memory[i]), 0);
	CU_ASSERT_EQUAL_FATAL(io_fault_open(rig.memory[i], &rig.plan[i], &rig.device[i]), 0);
	rig.client[i] = bufio_client_create(rig.device[i], rig.block_size, PATCH_HELD_BUFFERS, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rig.client[i]);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(rig.client[i], rig.limit), 0);
	memcpy(bytes_of(i), i == TARGET ? rig.old : rig.source, rig.size[i] < SIZE ? rig.size[i] : SIZE);
}

/* Thousands of journals are flushed: memory is good enough, where nobody says otherwise. */
static const char *folder(void)
{
	const char *dir = getenv("TMPDIR");

	return dir ? dir : !access("/dev/shm", W_OK) ? "/dev/shm" : "/tmp";
}

static void prepare(uint64_t size, uint32_t block_size)
{
	memset(&rig, 0, sizeof(rig));
	rig.size[TARGET] = size;
	rig.size[SOURCE] = SIZE;
	rig.block_size = block_size;
	rig.limit = LIMIT;
	rig.out_fd = -1;
	make_pool(rig.old);
	memcpy(rig.source, rig.old, SIZE);
	memset(rig.source + 30 * BLOCK, 0xAB, 10 * BLOCK);
	snprintf(rig.folder, sizeof(rig.folder), "%s/unitXXXXXX", folder());
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(rig.folder));
	snprintf(rig.journal, sizeof(rig.journal), "%s/journal", rig.folder);
	snprintf(rig.saved, sizeof(rig.saved), "%s/saved", rig.folder);
}

static void start_with(uint64_t size, uint32_t block_size)
{
	prepare(size, block_size);
	open_volume(TARGET);
	open_volume(SOURCE);
}

static void start(void)
{
	start_with(SIZE, BLOCK);
}

static void stop(void)
{
	for (unsigned i = 0; i < NR_VOLUMES; i++) {
		CU_ASSERT_NOT_EQUAL(bufio_client_destroy(rig.client[i]), -EBUSY); /* no hold was left */
		bufio_device_close(rig.device[i]);
	}
	op_script_free(rig.script);
	unlink(rig.journal);
	unlink(rig.saved);
	CU_ASSERT_EQUAL(rmdir(rig.folder), 0); /* nothing else is left there */
}

static bool is_old(void)
{
	return !memcmp(bytes_of(TARGET), rig.old, rig.size[TARGET] < SIZE ? rig.size[TARGET] : SIZE);
}

static bool has_journal(void)
{
	return !access(rig.journal, F_OK);
}

/* --- scripts --- */

static bool read_text(const char *text)
{
	int fd = memfd_create("script", MFD_CLOEXEC);
	bool ok;

	CU_ASSERT_EQUAL_FATAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_SET), 0);
	op_script_free(rig.script);
	rig.script = NULL;
	memset(&rig.result, 0, sizeof(rig.result));
	ok = op_script_read("SCRIPT", fd, &rig.script, &rig.result);
	close(fd);
	CU_ASSERT_EQUAL(ok, rig.script != NULL);
	CU_ASSERT_EQUAL(ok, rig.result.outcome == OP_DONE);
	CU_ASSERT_EQUAL(ok, rig.result.reason[0] == '\0');
	return ok;
}

#define HEAD "bpatch 1\nblock-size 4KiB\n"
#define ONE HEAD "target T\n"
#define TWO ONE "source S\n"

static bool confirm(void *context, const char *digest)
{
	CU_ASSERT_PTR_EQUAL(context, &rig);
	CU_ASSERT_EQUAL(strlen(digest), 16);
	rig.is_asked = true;
	if (rig.is_full_then) {
		int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

		dup2(fd, rig.out_fd);
		close(fd);
	}
	return !rig.is_denied;
}

static enum op_outcome run(bool is_applied)
{
	struct op_patch_volume volumes[NR_VOLUMES];
	struct op_patch_args args = {
		.program = "unit", .script = rig.script, .volumes = volumes, .is_applied = is_applied, .digest = rig.digest,
		.confirm = confirm, .context = &rig, .journal = rig.journal, .signature = rig.signature, .out_fd = rig.out_fd,
		.json = rig.json, .verbose = rig.verbose,
	};

	for (unsigned i = 0; i < NR_VOLUMES; i++)
		volumes[i] = (struct op_patch_volume){
			.path = rig.folder, .client = rig.client[i], .stat = i == TARGET ? rig.stat : NULL,
		};
	op_patch(&args, &rig.result);
	CU_ASSERT_EQUAL(rig.result.outcome == OP_DONE, rig.result.reason[0] == '\0');
	return rig.result.outcome;
}

/* A script of the tests, which must be one. */
static void take_text(const char *text)
{
	bool ok = read_text(text);

	if (!ok)
		printf("# %s\n", rig.result.reason);
	CU_ASSERT_TRUE_FATAL(ok);
}

static enum op_outcome plan(const char *text)
{
	enum op_outcome outcome;

	take_text(text);
	outcome = run(false);
	CU_ASSERT_TRUE(is_old());
	CU_ASSERT_FALSE(has_journal());
	return outcome;
}

static enum op_outcome apply(const char *text)
{
	enum op_outcome outcome;

	take_text(text);
	outcome = run(true);
	for (unsigned i = 0; i < NR_VOLUMES; i++)
		CU_ASSERT_EQUAL(bufio_get_memory_limit(rig.client[i]), rig.limit);
	return outcome;
}

static bool says(const char *part)
{
	if (strstr(rig.result.reason, part))
		return true;
	printf("# %s\n", rig.result.reason);
	return false;
}

static int replay(enum io_journal_direction direction)
{
	struct bufio_reason why;

	return io_journal_replay(rig.memory[TARGET], rig.journal, direction, &why);
}

/* Something of everything. */
static const char all[] =
	HEAD "target T kind=thin-metadata blocks=96 where sb.trans_id = 21\n"
	"source S kind=thin-metadata blocks=96 where sb.trans_id = 21\n"
	"expect T[0].csum ok\n"
	"expect T[30] csum bad\n"
	"expect T[40..44] = S[40..44]\n"
	"expect T[7..9] kind btree-node\n"
	"let leaf = thin(1).map(2).node\n"
	"set T.sb.flags = 1\n"
	"set T.node(leaf).value[1].data = 77\n"
	"set T.bitmap(20).count[5] = 2\n"
	"patch T[45..47]@4095 hex \"00 01\"\n"
	"copy S[30..34] -> T[50]\n"
	"move T[60..63] -> T[61] then zero\n"
	"fill T[70..73] random seed=1\n"
	"fill T[80] zero\n"
	"checksum T[81] as btree-node\n"
	"checksum T[82] value 7\n"
	"verify T[0] kind thin-superblock\n"
	"verify T[leaf..+1] kind btree-node\n";

/* What it makes of the pool: the first run says that, and is looked at in several_operations(). Asked for before start(). */
static unsigned char *expected(void)
{
	static unsigned char new[SIZE];

	if (!new[32]) {
		start();
		CU_ASSERT_EQUAL_FATAL(apply(all), OP_DONE);
		memcpy(new, bytes_of(TARGET), SIZE);
		stop();
	}
	return new;
}

static bool is_new(void)
{
	return !memcmp(bytes_of(TARGET), expected(), SIZE);
}

/* --- all is well --- */

static void reads_scripts(void)
{
	prepare(SIZE, BLOCK);
	CU_ASSERT_TRUE(read_text(TWO "set sb.flags = 1\n"));
	CU_ASSERT_EQUAL(op_script_nr_volumes(rig.script), 2);
	CU_ASSERT_STRING_EQUAL(op_script_volume(rig.script, 0), "T");
	CU_ASSERT_STRING_EQUAL(op_script_volume(rig.script, 1), "S");
	CU_ASSERT_EQUAL(op_script_target(rig.script), 0);
	CU_ASSERT_EQUAL(op_script_block_size(rig.script), BLOCK);
	CU_ASSERT_TRUE(read_text("bpatch 1\nblock-size 512B\nsource S\ntarget T\nfill T[0] zero\n"));
	CU_ASSERT_EQUAL(op_script_target(rig.script), 1);
	CU_ASSERT_EQUAL(op_script_block_size(rig.script), 512);
	op_script_free(rig.script);
	op_script_free(NULL);
	rmdir(rig.folder);
}

static void wrong_scripts(void)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "", "SCRIPT:1:1: " }, { "bpatch 2\n", "SCRIPT:1:8: " }, { HEAD, "target NAME" },
		{ HEAD "source S\n", "target NAME" }, { HEAD "target T\ntarget U\n", "SCRIPT:4:8: a second target" },
		{ ONE "set sb.nothing = 1\n", "SCRIPT:4:5: there is no field nothing" },
		{ ONE "set nr_blocks = 1\n", "not a field that can be set" },
		{ ONE "set thin(1).map(2).node = 1\n", "not a field that can be set" },
		{ ONE "expect node(node(3).nothing).flags = 1\n", "there is no field nothing" },
		{ ONE "verify T kind leaf\n", "'leaf' is no kind of block" },
		{ ONE "checksum T[1] as any\n", "'any' is several kinds of blocks" },
		{ HEAD "target T kind=thin\n", "'thin' is no kind of volume" },
		{ HEAD "target T where sb.nothing = 1\n", "there is no field nothing" },
		{ "bpatch 1\nblock-size 512B\ntarget T\nset sb.flags = 1\n", "is a field of metadata, which has blocks of 4KiB" },
		{ "bpatch 1\nblock-size 8KiB\ntarget T\nverify T kind any\n", "is a kind of block of metadata" },
		{ "bpatch 1\nblock-size 8KiB\ntarget T\nexpect T csum ok\n", "is about checksums of metadata" },
		{ "bpatch 1\nblock-size 8KiB\ntarget T kind=thin-metadata\n", "is a kind of metadata" },
	};

	prepare(SIZE, BLOCK);
	for (size_t i = 0; i < LEN(rows); i++) {
		CU_ASSERT_FALSE(read_text(rows[i].text));
		CU_ASSERT_EQUAL(rig.result.outcome, OP_USAGE);
		CU_ASSERT_TRUE(says(rows[i].why));
	}
	rmdir(rig.folder);
}

static void unreadable_scripts(void)
{
	int fd = open("/", O_RDONLY | O_CLOEXEC);
	struct op_result result = { .outcome = OP_DONE };
	struct op_script *script = NULL;

	CU_ASSERT_FALSE(op_script_read("SCRIPT", fd, &script, &result));
	CU_ASSERT_EQUAL(result.outcome, OP_INPUT);
	CU_ASSERT_STRING_EQUAL(result.reason, "SCRIPT: Is a directory");
	CU_ASSERT_PTR_NULL(script);
	close(fd);
}

/* More of it than there may be is not read. */
static void endless_script(void)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct op_result result = { .outcome = OP_DONE };
	struct op_script *script = NULL;

	CU_ASSERT_FALSE(op_script_read("SCRIPT", fd, &script, &result));
	CU_ASSERT_EQUAL(result.outcome, OP_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(result.reason, "16"));
	close(fd);
}

static void plans(void)
{
	start();
	CU_ASSERT_EQUAL(plan(all), OP_DONE);
	CU_ASSERT_TRUE(rig.result.differs);
	CU_ASSERT_FALSE(rig.is_asked);
	CU_ASSERT_EQUAL(plan(ONE "set sb.flags = 0\npatch T[9] u8 5 was u8 5\n"), OP_EXPECT);
	CU_ASSERT_EQUAL(plan(ONE "set sb.flags = 0\ncopy T[9] -> T[9]\n"), OP_DONE);
	CU_ASSERT_FALSE(rig.result.differs);
	CU_ASSERT_EQUAL(rig.plan[TARGET].count, 0);
	stop();
}

/* The device refuses to be written at all, as one would that is open for reading only. */
static void plans_of_read_only(void)
{
	start();
	rig.device[TARGET]->info.read_only = true;
	CU_ASSERT_EQUAL(plan(all), OP_DONE);
	CU_ASSERT_TRUE(rig.result.differs);
	take_text(all);
	CU_ASSERT_EQUAL(run(true), OP_REFUSED);
	CU_ASSERT_TRUE(says("reading only"));
	CU_ASSERT_FALSE(has_journal());
	CU_ASSERT_TRUE(is_old());
	rig.device[TARGET]->info.read_only = false;
	stop();
}

static bool is_filled(uint64_t block, int value)
{
	const unsigned char *b = block_of(TARGET, block);

	return b[0] == value && !memcmp(b, b + 1, BLOCK - 1);
}

static void several_operations(void)
{
	expected();
	start();
	CU_ASSERT_EQUAL(apply(all), OP_DONE);
	CU_ASSERT_TRUE(rig.is_asked);
	CU_ASSERT_EQUAL(le_load(block_of(TARGET, 0) + 4, 4), 1);
	CU_ASSERT_EQUAL(pd_block_kind(block_of(TARGET, 0)), PD_THIN_SUPERBLOCK);
	CU_ASSERT_EQUAL(le_load(block_of(TARGET, TREE) + 32 + 8 * 253, 8) >> 24, 77);
	CU_ASSERT_EQUAL(pd_block_kind(block_of(TARGET, TREE)), PD_NODE);
	CU_ASSERT_EQUAL(pd_bitmap_count((void *)block_of(TARGET, BITMAP), 5), 2);
	CU_ASSERT_EQUAL(pd_block_kind(block_of(TARGET, BITMAP)), PD_BITMAP);
	CU_ASSERT_EQUAL(block_of(TARGET, 45)[4095], 0);
	CU_ASSERT_EQUAL(block_of(TARGET, 46)[0], 1);
	CU_ASSERT_EQUAL(memcmp(block_of(TARGET, 50), rig.source + 30 * BLOCK, 4 * BLOCK), 0);
	CU_ASSERT_EQUAL(memcmp(block_of(TARGET, 61), rig.old + 60 * BLOCK, 3 * BLOCK), 0);
	CU_ASSERT_TRUE(is_filled(60, 0) && is_filled(80, 0));
	CU_ASSERT_EQUAL(pd_block_kind(block_of(TARGET, 81)), PD_NODE);
	CU_ASSERT_EQUAL(pd_stored_checksum(block_of(TARGET, 82)), 7);
	CU_ASSERT_EQUAL(memcmp(bytes_of(SOURCE), rig.source, SIZE), 0);
	CU_ASSERT_EQUAL(memcmp(block_of(TARGET, 83), rig.old + 83 * BLOCK, SIZE - 83 * BLOCK), 0);
	CU_ASSERT_EQUAL(replay(IO_JOURNAL_UNDO), 0);
	CU_ASSERT_TRUE(is_old());
	CU_ASSERT_EQUAL(replay(IO_JOURNAL_RESUME), 0);
	CU_ASSERT_TRUE(is_new());
	stop();
}

/* Blocks of 64 KiB, 512 bytes and 1536, in a target with an end that is no whole block. */
static void other_block_sizes(void)
{
	static const struct {
		uint32_t size;
		const char *name;
	} rows[] = { { 512, "512B" }, { 1536, "1536B" }, { 12288, "12KiB" }, { 65536, "64KiB" } };

	for (size_t i = 0; i < LEN(rows); i++) {
		char text[512];
		uint64_t end = (SIZE - 512) / rows[i].size * rows[i].size, at = end - 2 * rows[i].size;

		prepare(SIZE - 512, rows[i].size);
		rig.limit = 8 * LIMIT;
		open_volume(TARGET);
		open_volume(SOURCE);
		snprintf(text, sizeof(text), "bpatch 1\nblock-size %s\ntarget T\nlet n = nr_blocks\nfill T[n-2..n] byte 0x5A\n"
			 "patch T[1..3]@%u hex \"01 02 03\"\n", rows[i].name, rows[i].size - 1);
		CU_ASSERT_EQUAL(apply(text), OP_DONE);
		CU_ASSERT_TRUE(bytes_of(TARGET)[at] == 0x5A && !memcmp(bytes_of(TARGET) + at, bytes_of(TARGET) + at + 1,
								     end - at - 1));
		CU_ASSERT_EQUAL(memcmp(bytes_of(TARGET) + end, rig.old + end, SIZE - 512 - end), 0);
		CU_ASSERT_EQUAL(memcmp(bytes_of(TARGET) + 2 * rows[i].size - 1, "\x01\x02\x03", 3), 0);
		CU_ASSERT_EQUAL(replay(IO_JOURNAL_UNDO), 0);
		CU_ASSERT_TRUE(is_old());
		stop();
	}
}

/* --- what is shown --- */

static unsigned count_lines(const char *part)
{
	unsigned n = 0;
	char line[4096];
	int fd = dup(rig.out_fd);
	FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	rewind(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, part) != NULL;
	fclose(f);
	return n;
}

/* A block of several images is shown as a whole or not at all. */
static void shows_large_blocks(void)
{
	static const char text[] = "bpatch 1\nblock-size 16KiB\ntarget T\nfill T[0..70] byte 0\n";

	for (unsigned all_of_it = 0; all_of_it < 2; all_of_it++) {
		prepare(80 * 16384, 16384);
		rig.limit = 4 * LIMIT;
		open_volume(TARGET);
		open_volume(SOURCE);
		memset(bytes_of(TARGET), 1, 80 * 16384);
		rig.out_fd = memfd_create("out", MFD_CLOEXEC);
		rig.json = all_of_it;
		take_text(text);
		CU_ASSERT_EQUAL(run(false), OP_DONE);
		CU_ASSERT_EQUAL(count_lines(all_of_it ? "\"length\":4096" : "bytes 0"), all_of_it ? 70 * 4 : count_lines("bytes 0"));
		close(rig.out_fd);
		memcpy(bytes_of(TARGET), rig.old, SIZE);
		stop();
	}
}

static void output_that_is_full(void)
{
	for (unsigned is_applied = 0; is_applied < 2; is_applied++) {
		start();
		rig.out_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
		take_text(all);
		CU_ASSERT_EQUAL(run(is_applied), OP_OUTPUT);
		CU_ASSERT_TRUE(says("output: No space left on device"));
		CU_ASSERT_TRUE(is_old());
		CU_ASSERT_FALSE(has_journal());
		close(rig.out_fd);
		stop();
	}
}

static void output_that_becomes_full(void)
{
	expected();
	start();
	rig.out_fd = memfd_create("out", MFD_CLOEXEC);
	rig.is_full_then = true;
	CU_ASSERT_EQUAL(apply(all), OP_OUTPUT);
	CU_ASSERT_TRUE(says("output: No space left on device\n"));
	CU_ASSERT_TRUE(says("was written; to undo that: --undo="));
	CU_ASSERT_TRUE(is_new());
	CU_ASSERT_EQUAL(replay(IO_JOURNAL_UNDO), 0);
	CU_ASSERT_TRUE(is_old());
	close(rig.out_fd);
	stop();
}

/* --- what ends a script --- */

static void expectations(void)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ HEAD "target T blocks=95\n", "has 96 blocks, not 95" },
		{ HEAD "target T kind=cache-metadata\n", "is not cache-metadata, but thin-pool metadata" },
		{ HEAD "target T where sb.trans_id = 22\n", "21 = 22 does not hold" },
		{ TWO "expect T[0].csum bad\n", "has a good checksum" },
		{ TWO "expect T[30] csum ok\n", "has a bad checksum" },
		{ TWO "expect T[0..96] zero\n", "expected zeroes" },
		{ TWO "expect T[28..32] = S[28..32]\n", "block 30 of" },
		{ TWO "expect T[0] hash xxh3:0000000000000000\n", "expected the digest 0000000000000000" },
		{ TWO "expect T[7] kind bitmap\n", "is not bitmap" },
		{ TWO "expect T[0..97] zero\n", "has 96 blocks" },
		{ TWO "expect T[96] zero\n", "goes to block 96" },
		{ TWO "expect T[18446744073709551615] zero\n", "ends behind the last number" },
		{ TWO "let a = sb.trans_id\nexpect T[a..20] zero\n", "21..20 is no range" },
		{ TWO "let a = sb.trans_id\nexpect a - 22 = 0\n", "21 - 22 is below 0" },
		{ TWO "let a = sb.trans_id\nexpect a * 0xffffffffffffffff = 0\n", "is more than 64 bits hold" },
		{ TWO "let a = sb.trans_id\nexpect T[0]@(a*1000) zero\n", "byte 21000 lies behind these 4096 bytes" },
		{ TWO "let a = sb.trans_id\nexpect T[0]@(a+4074) hex \"00 00\"\n", "2 bytes are expected where there are 1" },
		{ TWO "let a = sb.trans_id\npatch T[0]@(a+4074) hex \"00 00\"\n", "has room for 1 bytes, not for 2" },
		{ TWO "set sb.flags = 4294967296\n", "does not fit into 32 bits" },
		{ TWO "set sb.flags = thin(7).root\n", "device 7 is not there" },
		{ TWO "set bitmap(20).count[0] = 4\n", "does not fit into 2 bits" },
		{ TWO "set node(30).value[1] = 4\n", "is no sound btree node" },
		{ TWO "copy S[0..4] -> T[93]\n", "would go to block 96" },
		{ TWO "fence T[0..9]\nfill T[8..10] zero\n", "outside of the fence" },
		{ TWO "fill T[1] zero\nset node(1).flags = 1\n", "written before, in block 1" },
		{ TWO "set sb.flags = 1\nset sb.flags = 2\n", "written before, in block 0" },
		{ TWO "set bitmap(20).count[4] = 1\nset bitmap(20).count[4] = 2\n", "written before, in block 20" },
		{ TWO "fill T[1] zero\nfill T[3] zero\nfill T[0..5] zero\n", "written before, in block 1" },
		{ TWO "fill T[1..3] zero\nfill T[3..5] zero\nfill T[2] zero\n", "written before, in block 2" },
		{ TWO "fill T[0] zero\nverify T[0] kind thin-superblock\n", "is not thin-superblock" },
	};

	start();
	for (size_t i = 0; i < LEN(rows); i++) {
		enum op_outcome outcome = plan(rows[i].text);

		CU_ASSERT_TRUE(outcome == OP_EXPECT || (outcome == OP_USAGE && strstr(rows[i].why, "before")));
		CU_ASSERT_TRUE(says(rows[i].why));
		CU_ASSERT_TRUE(says("SCRIPT:"));
		CU_ASSERT_EQUAL(apply(rows[i].text), outcome);
		CU_ASSERT_TRUE(is_old());
		CU_ASSERT_FALSE(has_journal());
	}
	stop();
}

static void written_once(void)
{
	static const char *const rows[] = {
		TWO "set bitmap(20).count[4] = 1\nset bitmap(20).count[5] = 2\nset bitmap(20).count[3] = 2\n",
		TWO "set node(10).value[1].data = 1\nset node(10).value[1].time = 2\n",
		TWO "fill T[1] zero\nfill T[3] zero\nfill T[2] zero\nfill T[0] zero\nfill T[4] zero\n",
		TWO "patch T[30]@5 u8 1\npatch T[30]@7 u8 1\npatch T[30]@6 u8 1\n",
		TWO "fill T[1] zero\nfill T[1] byte 3 override\nfill T[0..5] byte 4 override\n",
		TWO "fence T[0..9]\nfence T[20..30]\nfill T[8] zero\nfill T[20..30] zero\n",
	};

	start();
	for (size_t i = 0; i < LEN(rows); i++)
		CU_ASSERT_EQUAL(plan(rows[i]), OP_DONE);
	stop();
}

static void digests(void)
{
	expected();
	start();
	rig.digest = "0123456789abcdef";
	CU_ASSERT_EQUAL(apply(all), OP_REFUSED);
	CU_ASSERT_TRUE(says("this is not the plan 0123456789abcdef, but "));
	CU_ASSERT_TRUE(is_old());
	CU_ASSERT_FALSE(has_journal());
	rig.digest = strdup(strstr(rig.result.reason, "but ") + 4);
	((char *)rig.digest)[16] = '\0';
	CU_ASSERT_EQUAL(apply(all), OP_DONE);
	CU_ASSERT_TRUE(is_new());
	free((char *)rig.digest);
	stop();
}

static void not_confirmed(void)
{
	start();
	rig.is_denied = true;
	CU_ASSERT_EQUAL(apply(all), OP_REFUSED);
	CU_ASSERT_TRUE(rig.is_asked);
	CU_ASSERT_TRUE(says("not confirmed"));
	CU_ASSERT_TRUE(is_old());
	CU_ASSERT_FALSE(has_journal());
	stop();
}

static void nothing_to_do(void)
{
	start();
	CU_ASSERT_EQUAL(apply(ONE "set sb.flags = 0\n"), OP_DONE);
	CU_ASSERT_FALSE(has_journal());
	CU_ASSERT_TRUE(is_old());
	stop();
}

static void foreign_targets(void)
{
	start();
	memset(bytes_of(TARGET), ' ', BLOCK);
	memcpy(bytes_of(TARGET), "<?xml ", 6);
	CU_ASSERT_TRUE(read_text(ONE "fill T[0] zero\n"));
	CU_ASSERT_EQUAL(run(false), OP_DONE);
	CU_ASSERT_EQUAL(run(true), OP_REFUSED);
	CU_ASSERT_TRUE(says("--force-signature=xml"));
	rig.signature = "ext4";
	CU_ASSERT_EQUAL(run(true), OP_REFUSED);
	CU_ASSERT_EQUAL(bytes_of(TARGET)[0], '<');
	rig.signature = "xml";
	CU_ASSERT_EQUAL(run(true), OP_DONE);
	CU_ASSERT_TRUE(is_filled(0, 0));
	stop();
}

static void journal_in_the_way(void)
{
	int fd;

	start();
	fd = open(rig.journal, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	CU_ASSERT_EQUAL(apply(all), OP_REFUSED);
	CU_ASSERT_TRUE(says("is there already"));
	CU_ASSERT_TRUE(has_journal()); /* it is not ours */
	CU_ASSERT_TRUE(is_old());
	stop();
}

static void small_volumes(void)
{
	start_with(BLOCK - 512, BLOCK);
	CU_ASSERT_EQUAL(plan(ONE "fill T[0] zero\n"), OP_INPUT);
	CU_ASSERT_TRUE(says("is smaller than a block of 4096 bytes"));
	stop();
}

/* The target says that it has so many bytes, of which there is memory for the first. */
static void start_large(uint64_t bytes)
{
	start();
	bufio_client_destroy(rig.client[TARGET]);
	rig.device[TARGET]->info.size = bytes;
	rig.client[TARGET] = bufio_client_create(rig.device[TARGET], BLOCK, PATCH_HELD_BUFFERS, 0, NULL, NULL);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(rig.client[TARGET], rig.limit), 0);
}

/* The first passes what is before at once; the last does not go on where blocks cannot be read. */
static void large_volumes(void)
{
	static const struct {
		const char *text;
		enum op_outcome outcome;
		const char *why;
	} rows[] = {
		{ ONE "expect T@(nr_blocks * 4096 - 1) zero\n", OP_INPUT, "block 562949953421310: " },
		{ ONE "fence T[1..nr_blocks - 1]\nfill T[nr_blocks - 1] zero\n", OP_EXPECT,
		  "would write block 562949953421310, outside of the fence" },
		{ ONE "fence T[1..nr_blocks]\ncopy T[30..34] -> T[nr_blocks - 4]\nfill T[nr_blocks - 1] zero\n", OP_USAGE,
		  "written before, in block 562949953421310" },
		{ ONE "fill T random seed=1\n", OP_OUTPUT, "cannot be kept in the plan: Input/output error" },
	};

	start_large((UINT64_MAX / 8 / BLOCK + 1) * BLOCK);
	CU_ASSERT_EQUAL(plan(ONE "expect T[0] csum ok\n"), OP_INPUT);
	CU_ASSERT_TRUE(says("is larger than the 2EiB that a script can be for"));
	stop();
	for (size_t i = 0; i < LEN(rows); i++) {
		start_large(UINT64_MAX / 8 / BLOCK * BLOCK);
		CU_ASSERT_EQUAL(plan(rows[i].text), rows[i].outcome);
		CU_ASSERT_TRUE(says(rows[i].why));
		stop();
	}
}

/* --- what changes on the way --- */

static void expressions_change(void)
{
	start();
	CU_ASSERT_EQUAL(apply(ONE "let t = sb.trans_id\nset sb.trans_id = sb.trans_id + 9\nfill T[sb.trans_id..+2] byte 1\n"
			      "fill T[t + 2] byte 2\nset sb.trans_id = sb.trans_id + 10 override\n"
			      "fill T[sb.trans_id..sb.trans_id + 1] byte 3\n"), OP_DONE);
	CU_ASSERT_TRUE(is_filled(30, 1) && is_filled(31, 1) && is_filled(23, 2) && is_filled(40, 3));
	CU_ASSERT_EQUAL(le_load(block_of(TARGET, 0) + 48, 8), 40);
	stop();
}

/* The range is what it was when it was filled, whatever its expression became. */
static void discards(void)
{
	struct stat st = { .st_mode = S_IFREG };

	start();
	rig.stat = &st;
	rig.plan[TARGET].kinds = IO_FAULT_DISCARD;
	CU_ASSERT_EQUAL(apply(ONE "fill T[sb.trans_id..+3] discard\nset sb.trans_id = 1000000\n"), OP_DONE);
	CU_ASSERT_TRUE(is_filled(21, 0) && is_filled(22, 0) && is_filled(23, 0));
	CU_ASSERT_EQUAL(rig.plan[TARGET].count, 3);
	CU_ASSERT_EQUAL(le_load(block_of(TARGET, 0) + 48, 8), 1000000);
	stop();
}

/* What was filled again is not discarded; and what no file is not at all. */
static void discards_zeroes_alone(void)
{
	struct stat st = { .st_mode = S_IFREG };

	start();
	rig.plan[TARGET].kinds = IO_FAULT_DISCARD;
	CU_ASSERT_EQUAL(apply(ONE "fill T[30..34] discard\nfill T[31] byte 7 override\n"), OP_DONE);
	CU_ASSERT_EQUAL(rig.plan[TARGET].count, 0);
	CU_ASSERT_EQUAL(replay(IO_JOURNAL_UNDO), 0);
	unlink(rig.journal);
	bufio_client_reset(rig.client[TARGET]);
	rig.stat = &st;
	CU_ASSERT_EQUAL(run(true), OP_DONE);
	CU_ASSERT_EQUAL(rig.plan[TARGET].count, 3);
	CU_ASSERT_TRUE(is_filled(30, 0) && is_filled(31, 7) && is_filled(32, 0) && is_filled(33, 0));
	stop();
}

static void seals(void)
{
	start();
	CU_ASSERT_EQUAL(apply(ONE "patch T[7]@100 u8 1\nchecksum keep\npatch T[8]@100 u8 1\nset sb.flags = 1\n"
			      "checksum auto\npatch T[10]@0 hex \"00 00 00 00 01\"\nset bitmap(30).count[1] = 1\n"), OP_DONE);
	CU_ASSERT_EQUAL(pd_block_kind(block_of(TARGET, 7)), PD_NODE);
	CU_ASSERT_EQUAL(pd_block_kind(block_of(TARGET, 8)), PD_UNKNOWN);
	CU_ASSERT_EQUAL(pd_block_kind(block_of(TARGET, 0)), PD_UNKNOWN);
	CU_ASSERT_EQUAL(pd_stored_checksum(block_of(TARGET, 10)), 0);
	CU_ASSERT_EQUAL(pd_block_kind(block_of(TARGET, 30)), PD_BITMAP);
	stop();
}

static void copies_overlap(void)
{
	static const struct {
		const char *text;
		unsigned from, to;
	} rows[] = {
		{ ONE "copy T[30..50] -> T[33]\n", 30, 33 }, { ONE "copy T[33..53] -> T[30]\n", 33, 30 },
		{ ONE "move T[30..50] -> T[30] then zero\n", 30, 30 },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		start();
		CU_ASSERT_EQUAL(apply(rows[i].text), OP_DONE);
		CU_ASSERT_EQUAL(memcmp(block_of(TARGET, rows[i].to), rig.old + rows[i].from * BLOCK, 20 * BLOCK), 0);
		stop();
	}
}

/* A plan saves; when it is applied, the same is there. */
static void saves(void)
{
	char text[600];
	struct stat st;

	start();
	snprintf(text, sizeof(text), ONE "save T[30..32]@100 \"%s\"\nfill T[30] zero\n", rig.saved);
	CU_ASSERT_EQUAL(plan(text), OP_DONE);
	CU_ASSERT_EQUAL(stat(rig.saved, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 2 * BLOCK - 100);
	CU_ASSERT_EQUAL(apply(text), OP_DONE);
	CU_ASSERT_EQUAL(apply(text), OP_REFUSED);
	CU_ASSERT_TRUE(says("is there already") || says("something else is in it"));
	unlink(rig.journal);
	CU_ASSERT_EQUAL(run(true), OP_REFUSED);
	CU_ASSERT_TRUE(says("something else is in it"));
	CU_ASSERT_EQUAL(truncate(rig.saved, 5), 0);
	CU_ASSERT_EQUAL(run(false), OP_REFUSED);
	unlink(rig.saved);
	CU_ASSERT_EQUAL(run(false), OP_DONE);
	snprintf(text, sizeof(text), ONE "save T[30] \"%s/none/file\"\n", rig.folder);
	take_text(text);
	CU_ASSERT_EQUAL(run(false), OP_OUTPUT);
	stop();
}

/* --- scripts of differences --- */

static enum op_outcome write_differences(int fd)
{
	struct op_dump_args args = {
		.client = rig.client[TARGET], .client2 = rig.client[SOURCE], .image = "left", .image2 = "right",
		.program = "unit", .view = DUMP_DIFF, .as_script = true, .out_fd = fd, .message_fd = -1,
	};

	op_dump(&args, &rig.result);
	return rig.result.outcome;
}

/* The script that makes the target what the source is, and what becomes of it. */
static enum op_outcome become_source(void)
{
	int fd = memfd_create("diff", MFD_CLOEXEC);

	CU_ASSERT_EQUAL(write_differences(fd), OP_DONE);
	CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_SET), 0);
	op_script_free(rig.script);
	rig.script = NULL;
	CU_ASSERT_TRUE_FATAL(op_script_read("DIFF", fd, &rig.script, &rig.result));
	close(fd);
	return run(true);
}

static void too_different(void)
{
	prepare(12 << 20, BLOCK);
	rig.size[SOURCE] = 12 << 20;
	open_volume(TARGET);
	open_volume(SOURCE);
	for (uint64_t i = 0; i < rig.size[SOURCE]; i++)
		bytes_of(SOURCE)[i] = 1;
	CU_ASSERT_EQUAL(write_differences(-1), OP_USAGE);
	CU_ASSERT_TRUE(says("more than the 16MiB that a script may have"));
	for (uint64_t i = 8 << 20; i < rig.size[SOURCE]; i++)
		bytes_of(SOURCE)[i] = 0;
	memset(bytes_of(SOURCE), 0, BLOCK);
	bufio_client_reset(rig.client[SOURCE]);
	CU_ASSERT_EQUAL(write_differences(-1), OP_USAGE);
	for (uint64_t i = 7 << 20; i < rig.size[SOURCE]; i++)
		bytes_of(SOURCE)[i] = 0;
	bufio_client_reset(rig.client[SOURCE]);
	CU_ASSERT_EQUAL(write_differences(-1), OP_DONE);
	stop();
}

static void is_source(void)
{
	enum op_outcome outcome = become_source();

	CU_ASSERT_EQUAL(outcome, OP_DONE);
	if (outcome != OP_DONE)
		printf("# %s\n", rig.result.reason);
	CU_ASSERT_EQUAL(memcmp(bytes_of(TARGET), bytes_of(SOURCE), SIZE), 0);
}

/* One side's superblock is known by its checksum alone, which a script is about to change. */
static void superblocks_without_a_name(void)
{
	for (unsigned n = 0; n < 4; n++) {
		unsigned char *a, *b;

		start();
		a = block_of(n % 2 ? TARGET : SOURCE, 0);
		b = block_of(n % 2 ? SOURCE : TARGET, 0);
		le_store(a + 32, 8, n < 2 ? 1 : 06142003);
		le_store(b + 40, 4, 1);
		le_store(b + 48, 8, 99);
		le_store(b + 344, 8, 99);
		pd_block_seal(a, PD_THIN_SUPERBLOCK, 0);
		pd_block_seal(b, PD_THIN_SUPERBLOCK, 0);
		is_source();
		stop();
	}
}

/* Sealed or not; some bytes mean more than others. */
static void damage(unsigned char *data, uint64_t *seed)
{
	static const uint64_t blocks[] = { 0, DETAILS, TOP, TREE, BITMAP };
	static const enum pd_kind kinds[] = { PD_THIN_SUPERBLOCK, PD_NODE, PD_NODE, PD_NODE, PD_BITMAP };
	unsigned i;

	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	i = (unsigned)(*seed >> 33) % LEN(blocks);
	data += blocks[i] * BLOCK;
	data[*seed >> 40 & 1 ? *seed >> 41 & 63 : *seed >> 41 & 4095] = (unsigned char)(*seed >> 56);
	if (*seed >> 55 & 1)
		pd_block_seal(data, kinds[i], blocks[i]);
}

static void any_difference(void)
{
	uint64_t seed = 7;

	for (unsigned n = 0; n < 300; n++) {
		start();
		memcpy(bytes_of(SOURCE), rig.old, SIZE);
		for (unsigned k = 0; k < 1 + n % 16; k++)
			damage(bytes_of(k % 3 ? SOURCE : TARGET), &seed);
		is_source();
		stop();
	}
}

/* --- I/O number n fails --- */

/* The target is old, or new, or the journal brings it to either side. */
static void check_target(void)
{
	switch (rig.result.outcome) {
	case OP_DIFFERS: CU_ASSERT_PTR_NULL(strstr(rig.result.reason, "nothing was written")); /* fall through */
	case OP_DONE: CU_ASSERT_TRUE(is_new()); break;
	case OP_PARTLY: CU_ASSERT_TRUE(has_journal()); break;
	default:
		CU_ASSERT_TRUE(is_old());
		CU_ASSERT_FALSE(has_journal());
		CU_ASSERT_PTR_NULL(strstr(rig.result.reason, "was written; to undo"));
		return;
	}
	CU_ASSERT_EQUAL(replay(IO_JOURNAL_UNDO), 0);
	CU_ASSERT_TRUE(is_old());
	CU_ASSERT_EQUAL(replay(IO_JOURNAL_RESUME), 0);
	CU_ASSERT_TRUE(is_new());
	CU_ASSERT_EQUAL(replay(IO_JOURNAL_UNDO), 0);
	CU_ASSERT_TRUE(is_old());
}

static unsigned seen[OP_INTERNAL + 1];

/* Each alone, and with all that follow. */
static void fail_each(unsigned volume, unsigned kinds, bool is_applied)
{
	struct io_fault_plan *plan = &rig.plan[volume];
	bool is_last = false;

	memset(seen, 0, sizeof(seen));
	for (unsigned n = 0; n < 1000 && !is_last; n++) {
		start();
		plan->kinds = kinds;
		plan->fail_at = n / 2 + 1;
		plan->sticky = n % 2;
		take_text(all);
		seen[run(is_applied)]++;
		is_last = plan->count < plan->fail_at;
		plan->kinds = 0;
		if (is_applied)
			check_target();
		else
			CU_ASSERT_TRUE(is_old() && !has_journal());
		stop();
	}
	CU_ASSERT_TRUE(is_last);
	CU_ASSERT_TRUE(seen[OP_DONE]);
}

/* Blocks that are read ahead are read again when they are asked for, so that one failure may do no harm. */
static void plan_reads_fail(void)
{
	expected();
	fail_each(TARGET, IO_FAULT_READ, false);
	CU_ASSERT_TRUE(seen[OP_INPUT]);
	CU_ASSERT_FALSE(seen[OP_PARTLY] || seen[OP_DIFFERS] || seen[OP_INTERNAL]);
	fail_each(SOURCE, IO_FAULT_READ, false);
	CU_ASSERT_TRUE(seen[OP_INPUT]);
	CU_ASSERT_FALSE(seen[OP_PARTLY] || seen[OP_DIFFERS] || seen[OP_INTERNAL]);
}

static void reads_fail(void)
{
	expected();
	fail_each(SOURCE, IO_FAULT_READ, true);
	CU_ASSERT_TRUE(seen[OP_INPUT]);
	CU_ASSERT_FALSE(seen[OP_PARTLY] || seen[OP_DIFFERS] || seen[OP_INTERNAL]);
	fail_each(TARGET, IO_FAULT_READ, true);
	CU_ASSERT_TRUE(seen[OP_INPUT] && seen[OP_PARTLY] && seen[OP_DIFFERS]);
	CU_ASSERT_FALSE(seen[OP_INTERNAL]);
}

static void writes_fail(void)
{
	expected();
	fail_each(TARGET, IO_FAULT_WRITE, true);
	CU_ASSERT_TRUE(seen[OP_PARTLY] > 4);
	CU_ASSERT_FALSE(seen[OP_INPUT] || seen[OP_OUTPUT] || seen[OP_INTERNAL]);
	fail_each(TARGET, IO_FAULT_FLUSH, true);
	CU_ASSERT_EQUAL(seen[OP_PARTLY], 4); /* before block 0, and behind it */
	fail_each(TARGET, IO_FAULT_READ | IO_FAULT_WRITE | IO_FAULT_FLUSH, true);
	CU_ASSERT_TRUE(seen[OP_PARTLY] > 8);
}

/* What is read only to be kept in the journal is named, too. */
static void old_images_fail(void)
{
	start();
	rig.plan[TARGET].kinds = IO_FAULT_READ;
	rig.plan[TARGET].bad_begin = 33 * BLOCK;
	rig.plan[TARGET].bad_end = 33 * BLOCK + 1;
	CU_ASSERT_EQUAL(plan(ONE "fill T[30..40] zero\n"), OP_OUTPUT);
	CU_ASSERT_TRUE(says("block 33 cannot be kept in the plan: Input/output error; nothing was written"));
	stop();
}

/* --- the journal's file system --- */

/* Files may have so many bytes and no more, as on a file system that is full. */
static enum op_outcome run_within(rlim_t bytes, bool is_applied)
{
	struct rlimit old, now;
	enum op_outcome outcome;

	getrlimit(RLIMIT_FSIZE, &old);
	now = (struct rlimit){ bytes, old.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &now);
	outcome = run(is_applied);
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_DFL);
	return outcome;
}

static void full_file_system(void)
{
	unsigned failed = 0, done = 0;

	expected();
	for (unsigned is_applied = 0; is_applied < 2; is_applied++)
		for (rlim_t bytes = 0; bytes < 260000; bytes += 3900) {
			enum op_outcome outcome;

			start();
			take_text(all);
			outcome = run_within(bytes, is_applied);
			CU_ASSERT_TRUE(outcome == OP_DONE || outcome == OP_OUTPUT || outcome == OP_REFUSED || outcome == OP_INPUT);
			CU_ASSERT_PTR_NULL(strstr(rig.result.reason, "(null)"));
			outcome == OP_DONE ? done++ : failed++;
			if (is_applied)
				check_target();
			else
				CU_ASSERT_TRUE(is_old() && !has_journal());
			stop();
		}
	CU_ASSERT_TRUE(failed > 20 && done > 20);
}

/* --- memory --- */

static void allocations_fail(void)
{
	expected();
	for (unsigned is_applied = 0; is_applied < 2; is_applied++) {
		unsigned n = 0, calls = 1;

		for (; calls >= n && n < 5000; n++) {
			enum op_outcome outcome;

			start();
			take_text(all);
			allocation_fail_at(n + 1, n % 2);
			outcome = run(is_applied);
			calls = allocation_relent();
			CU_ASSERT_TRUE(outcome == OP_DONE || outcome == OP_INTERNAL || outcome == OP_PARTLY ||
				       outcome == OP_DIFFERS);
			if (is_applied)
				check_target();
			else
				CU_ASSERT_TRUE(is_old() && !has_journal());
			stop();
		}
		CU_ASSERT_TRUE(n > 20 && n < 5000);
		CU_ASSERT_EQUAL(rig.result.outcome, OP_DONE);
	}
}

static void script_allocations_fail(void)
{
	unsigned n = 0, calls = 1;

	prepare(SIZE, BLOCK);
	for (; calls >= n && n < 5000; n++) {
		bool ok;

		allocation_fail_at(n + 1, false);
		ok = read_text(all);
		calls = allocation_relent();
		CU_ASSERT_TRUE(ok || rig.result.outcome == OP_INTERNAL);
	}
	CU_ASSERT_TRUE(n > 5 && n < 5000);
	op_script_free(rig.script);
	rmdir(rig.folder);
}

/* 16 MiB are changed through 1 MiB of memory. */
static void within_the_limit(void)
{
	prepare(16 << 20, BLOCK);
	rig.limit = 1 << 20;
	open_volume(TARGET);
	open_volume(SOURCE);
	CU_ASSERT_TRUE(read_text(ONE "fill T[1..4096] random seed=1\ncopy T[0..4000] -> T[96] override\n"));
	allocation_most_mapped();
	CU_ASSERT_EQUAL(run(false), OP_DONE);
	CU_ASSERT_TRUE(allocation_most_mapped() <= (long)rig.limit);
	CU_ASSERT_EQUAL(run(true), OP_DONE);
	CU_ASSERT_TRUE(allocation_most_mapped() <= (long)rig.limit);
	CU_ASSERT_EQUAL(replay(IO_JOURNAL_UNDO), 0);
	CU_ASSERT_TRUE(is_old());
	stop();
}

/* What the journal's tables would take is of the limit too. */
static void too_many_changes(void)
{
	prepare(64 << 20, 512);
	rig.limit = 512 << 10;
	open_volume(TARGET);
	open_volume(SOURCE);
	for (unsigned is_applied = 0; is_applied < 2; is_applied++) {
		CU_ASSERT_TRUE(read_text("bpatch 1\nblock-size 512B\ntarget T\nfill T random seed=1\n"));
		CU_ASSERT_EQUAL(run(is_applied), OP_INTERNAL);
		CU_ASSERT_TRUE(says("not enough memory within the limit"));
		CU_ASSERT_TRUE(is_old());
		CU_ASSERT_FALSE(has_journal());
	}
	stop();
}

static void too_little_memory(void)
{
	prepare(SIZE, BLOCK);
	rig.limit = 200 << 10;
	open_volume(TARGET);
	open_volume(SOURCE);
	CU_ASSERT_EQUAL(plan(ONE "fill T[0] zero\n"), OP_USAGE);
	CU_ASSERT_TRUE(says("--memory-limit of "));
	rig.limit = strtoull(strstr(rig.result.reason, "limit of ") + 9, NULL, 10);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(rig.client[TARGET], rig.limit), 0);
	CU_ASSERT_EQUAL(plan(ONE "fill T[0] zero\n"), OP_DONE);
	CU_ASSERT_EQUAL(bufio_set_memory_limit(rig.client[SOURCE], rig.limit), 0);
	stop();
}

static const struct unit_case cases[] = {
	{ "a script that was read says which volumes it is about", reads_scripts },
	{ "what is wrong with a script is said with its place", wrong_scripts },
	{ "a script that cannot be read is one that cannot be read", unreadable_scripts },
	{ "a script without an end is refused", endless_script },
	{ "a plan changes nothing, and says whether it would", plans },
	{ "a plan is made of what is open for reading only, and not applied to it", plans_of_read_only },
	{ "what a script says is done, can be undone, and be done again", several_operations },
	{ "blocks may have any size, and the end of the target may be no whole block", other_block_sizes },
	{ "a large block is shown as a whole or not at all", shows_large_blocks },
	{ "nothing is applied that could not be shown", output_that_is_full },
	{ "what was applied and could not be told is said to be written", output_that_becomes_full },
	{ "what is not as the script has it ends it, with the place and nothing written", expectations },
	{ "neighbours are not written twice, and with override anything may be", written_once },
	{ "a plan with another digest is refused", digests },
	{ "what is not confirmed is not written", not_confirmed },
	{ "where nothing changes nothing is written, and no journal stays", nothing_to_do },
	{ "a foreign signature is named before it is written over", foreign_targets },
	{ "a file in place of the journal is left alone", journal_in_the_way },
	{ "a volume without a whole block is refused", small_volumes },
	{ "a volume of more bytes than there are numbers for bits is refused, and of fewer has its end", large_volumes },
	{ "an expression is what it is at its turn, and a let what it was at its own", expressions_change },
	{ "blocks are discarded that were filled so, whatever became of the expression", discards },
	{ "only zeroes in a file are discarded", discards_zeroes_alone },
	{ "what is touched is sealed, unless the script says otherwise", seals },
	{ "ranges of a copy may overlap", copies_overlap },
	{ "what was saved by a plan is there when it is applied", saves },
	{ "a script of differences does not change what it needs to find its way", superblocks_without_a_name },
	{ "a script of differences makes the one image the other, whatever they hold", any_difference },
	{ "a script of differences that would be too long to be read is refused", too_different },
	{ "whichever read of a plan fails, nothing is written", plan_reads_fail },
	{ "whichever read fails, the target is old, or new, or the journal brings it there", reads_fail },
	{ "so it is whichever write or flush fails", writes_fail },
	{ "a block that cannot be read for the journal is named", old_images_fail },
	{ "wherever the journal's file system is full, the target is old, and no journal is left", full_file_system },
	{ "whichever allocation fails, the target is old, or new, or the journal brings it there", allocations_fail },
	{ "whichever allocation of the reader fails, that is said", script_allocations_fail },
	{ "a run stays within the memory limit", within_the_limit },
	{ "more changes than the limit has memory for are refused", too_many_changes },
	{ "a limit that is too low says what is needed, and that is enough", too_little_memory },
	{ NULL, NULL },
};

const struct unit_suite patch_suite = { "patch", cases };
