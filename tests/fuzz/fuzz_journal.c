// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fuzz target: journals of transactions, damaged. Nothing may crash, hang, leak or read past anything, and no journal may
 * write anything but what it says: one that is refused leaves the target as it was; one that was damaged without its
 * checksums being made right makes the target old or new, bit for bit, or is refused; and of any that is accepted, undo
 * and resume lead to the same two states however often they are done.
 *
 *	fuzz-journal SEED COUNT|SECONDSs
 *
 * as fuzz_loop() has it. Journals lie in $TMPDIR.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/le.h"
#include "fuzz_loop.h"
#include "io/io_journal.h"

#define SECONDS_A_CASE 20
#define NR_BASES 12
#define NR_BLOCKS 24
#define BLOCK 512
#define BYTES (NR_BLOCKS * BLOCK)
#define MAX_FILE 65536

/* Where things are in the file, and what the checksums are of: from the description of the format. */
#define HEADER_BYTES 8192
#define MARK_BYTES 4096
#define MARK_SIZE 40
#define ID_AT 16
#define SLOTS_AT 16384
#define RECORD_SIZE 24

/* A journal of one transaction, and the target before and after it. */
struct base {
	uint8_t file[MAX_FILE], old[BYTES], new[BYTES];
	size_t size;
} bases[NR_BASES];

static struct bufio_device *target;
static char path[4096];
static uint8_t file[MAX_FILE];

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz-journal: %s\n", what);
	abort();
}

static uint8_t *target_bytes(void)
{
	return io_mem_data(target);
}

/* --- journals that are right --- */

static void write_block(struct bufio_device *dev, uint64_t block, const uint8_t *data)
{
	struct iovec iov = { (void *)data, BLOCK };
	struct io_request r = { .direction = IO_WRITE, .wait_follows = true, .offset = block * BLOCK, .iov = &iov, .nr_iov = 1 };
	struct io_request *p = &r, *done;

	dev->ops->submit(dev, &p, 1);
	while (!dev->ops->wait(dev, &done, 1, true))
		;
	if (r.result)
		fail("a write into a transaction");
}

static void load_file(struct base *b)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, b->file, sizeof(b->file));

	if (n <= SLOTS_AT || n == sizeof(b->file))
		fail("a journal that cannot be read");
	b->size = (size_t)n;
	close(fd);
}

static void make_base(struct base *b, struct rng *r)
{
	struct io_journal_args args = { .path = path, .target = "target", .block_size = BLOCK };
	struct bufio_device *dev;
	uint64_t nr = 1 + rng_below(r, 12);

	for (size_t i = 0; i < BYTES; i++)
		b->old[i] = (uint8_t)rng_next(r);
	memcpy(target_bytes(), b->old, BYTES);
	memcpy(b->new, b->old, BYTES);
	if (io_journal_begin(target, &args, NULL, &dev))
		fail("a transaction that cannot begin");
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t block = rng_below(r, NR_BLOCKS);

		for (size_t k = 0; k < BLOCK; k++)
			b->new[block * BLOCK + k] = (uint8_t)rng_next(r);
		write_block(dev, block, b->new + block * BLOCK);
	}
	if (io_journal_commit(dev, NULL))
		fail("a transaction that cannot be committed");
	bufio_device_close(dev);
	load_file(b);
	unlink(path);
}

/* --- damage --- */

static uint64_t number_at(size_t at, unsigned bytes)
{
	return le_load(file + at, bytes);
}

static uint32_t sum_from_id(const void *data, size_t size)
{
	return crc32c_raw(crc32c_raw(UINT32_MAX, file + ID_AT, 8), data, size);
}

/* Checksums are right for whatever is there, as far as it can be found. */
static void reseal(size_t size)
{
	for (size_t at = HEADER_BYTES; at < SLOTS_AT; at += MARK_BYTES) {
		uint64_t slots = number_at(at + 16, 8), records = number_at(at + 24, 8), image = number_at(48, 4);
		uint64_t table = SLOTS_AT + slots * 2 * image;

		if (!number_at(at + 8, 8))
			continue; /* no mark */
		if (slots < 64 && image <= 4096 && records < 64 && table + records * RECORD_SIZE <= size) {
			for (uint64_t i = 0; i < records; i++) {
				uint8_t *r = file + table + i * RECORD_SIZE;

				le_store(r + 20, 4, sum_from_id(r, 20));
			}
			le_store(file + at + 32, 4, sum_from_id(file + table, records * RECORD_SIZE));
		}
		le_store(file + at, 4, sum_from_id(file + at + 4, MARK_SIZE - 4));
	}
	le_store(file + 8, 4, crc32c_raw(UINT32_MAX, file + 12, HEADER_BYTES - 12));
}

/* Bytes that mean something are met more often than images. */
static size_t some_place(struct rng *r, size_t size)
{
	switch (rng_below(r, 5)) {
	case 0: return rng_below(r, 72);
	case 1: return HEADER_BYTES + rng_below(r, 2) * MARK_BYTES + rng_below(r, MARK_SIZE);
	case 2: return size - 1 - rng_below(r, 12 * RECORD_SIZE);
	default: return rng_below(r, size);
	}
}

static void damage(struct rng *r, size_t *size)
{
	static const uint64_t numbers[] = { 0, 1, 2, 3, 23, 24, 25, 511, 512, 513, 4096, UINT32_MAX, UINT64_MAX, INT64_MAX };
	size_t at, n = 1 + rng_below(r, 8);

	if (*size < SLOTS_AT)
		return; /* it was cut off, and that is damage enough */
	at = some_place(r, *size);
	if (at + n > *size)
		return;
	switch (rng_below(r, 6)) {
	case 0: file[at] ^= (uint8_t)(1 << rng_below(r, 8)); break;
	case 1: le_store(file + at / 8 * 8, 8, numbers[rng_below(r, sizeof(numbers) / sizeof(*numbers))]); break;
	case 2: le_store(file + at / 4 * 4, 4, numbers[rng_below(r, sizeof(numbers) / sizeof(*numbers))]); break;
	case 3: memmove(file + at, file + some_place(r, *size - n), n); break;
	case 4: le_store(file + at / 8 * 8, 8, number_at(at / 8 * 8, 8) + (rng_below(r, 2) ? 1 : -UINT64_C(1))); break;
	default:
		if (!rng_below(r, 4))
			*size = at;
		break;
	}
	if (*size < 8)
		*size = 8;
}

/* --- a case --- */

static void store_file(size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, file, size) != (ssize_t)size)
		fail("no room for a journal");
	close(fd);
}

/* Errors after which nothing may have been written: see io_journal.h. */
static bool is_refusal(int r)
{
	static const int refusals[] = { EINVAL, EPROTONOSUPPORT, EBADMSG, ENODATA, ENODEV, ESTALE, EBUSY, EROFS, ENOENT };

	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++)
		if (r == -refusals[i])
			return true;
	return false;
}

/* True if it was done; @after is the target then. */
static bool replay(enum io_journal_direction direction, uint8_t after[BYTES])
{
	struct bufio_reason why = { .text = "" };
	uint8_t before[BYTES];
	int r;

	memcpy(before, target_bytes(), BYTES);
	r = io_journal_replay(target, path, direction, &why);
	if (r && (!why.text[0] || strchr(why.text, '\n')))
		fail("a refusal without a reason, or of several lines");
	if (r && !is_refusal(r))
		fail("an error that memory cannot have");
	if (r && memcmp(before, target_bytes(), BYTES) != 0)
		fail("a journal was refused, and the target was written");
	memcpy(after, target_bytes(), BYTES);
	return !r;
}

static void look(void)
{
	struct io_journal_status status;

	if (!io_journal_status(path, &status, NULL) && strnlen(status.target, sizeof(status.target)) == sizeof(status.target))
		fail("a name without an end");
}

/* Blocks that the transaction did not change are nobody's business. */
static bool is_state(const uint8_t *found, const struct base *b, const uint8_t *wanted)
{
	for (size_t at = 0; at < BYTES; at += BLOCK)
		if (memcmp(b->old + at, b->new + at, BLOCK) != 0 && memcmp(found + at, wanted + at, BLOCK) != 0)
			return false;
	return true;
}

static void check_states(const struct base *b, bool is_resealed)
{
	uint8_t old[BYTES], new[BYTES], again[BYTES];

	if (!replay(IO_JOURNAL_UNDO, old))
		return;
	if (!is_resealed && !is_state(old, b, b->old))
		fail("an undo went to another state");
	if (!replay(IO_JOURNAL_RESUME, new) || (!is_resealed && !is_state(new, b, b->new)))
		fail("a resume behind an undo was refused, or went to another state");
	if (!replay(IO_JOURNAL_UNDO, again) || memcmp(old, again, BYTES) != 0)
		fail("a second undo was refused, or went to another state");
}

static void run_case(struct rng *r, void *context)
{
	const struct base *b = &bases[rng_below(r, NR_BASES)];
	bool is_resealed = rng_below(r, 2);
	size_t size = b->size;

	(void)context;
	memcpy(file, b->file, size);
	for (uint64_t i = rng_below(r, 4); i; i--)
		damage(r, &size);
	if (is_resealed)
		reseal(size);
	store_file(size);
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		memcpy(target_bytes() + i * BLOCK, (rng_below(r, 2) ? b->old : b->new) + i * BLOCK, BLOCK);
	if (!rng_below(r, 16))
		target_bytes()[rng_below(r, BYTES)] ^= 1;
	alarm(SECONDS_A_CASE);
	look();
	check_states(b, is_resealed);
	alarm(0);
}

static void open_all(void)
{
	const char *folder = getenv("TMPDIR");
	struct rng r = { 7 };

	snprintf(path, sizeof(path), "%s/fuzz-journal.%d", folder && *folder ? folder : "/tmp", (int)getpid());
	if (bufio_device_open_memory(BYTES, &target))
		fail("no memory");
	for (unsigned i = 0; i < NR_BASES; i++)
		make_base(&bases[i], &r);
}

int main(int argc, char **argv)
{
	bool ok;

	open_all();
	ok = argc == 3 && fuzz_loop(argv[1], argv[2], run_case, NULL);
	unlink(path);
	bufio_device_close(target);
	if (!ok)
		fputs("fuzz-journal SEED COUNT|SECONDSs\n", stderr);
	return ok ? 0 : 99;
}
