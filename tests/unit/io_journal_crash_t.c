// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A transaction that is cut short, and a journal that is damaged: afterwards the target is new or old, as was asked
 * for, or it is untouched and the journal is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/le.h"
#include "journal_rig.h"
#include "requests.h"
#include "unit.h"

#define BLOCK JRIG_BLOCK
#define BYTES (32 * BLOCK)
#define SECTOR 512
#define ALL (IO_FAULT_READ | IO_FAULT_WRITE | IO_FAULT_FLUSH)

/* The format, as io_journal_file.c says. */
#define MARKS 8192
#define MARK_BYTES 40
#define SLOTS 16384
#define SLOT (2 * BLOCK)
#define RECORD 24
#define NR_SLOTS (JRIG_NR_CHANGED + 1)

static unsigned char crashed[BYTES];

/* --- both ways out --- */

static void replay_is(enum io_journal_direction direction)
{
	CU_ASSERT_EQUAL(jrig_replay(direction), 0);
	CU_ASSERT_TRUE(direction == IO_JOURNAL_UNDO ? jrig_is_old() : jrig_is_new());
}

/* From what a crash left, target and journal. */
static void recover(const struct jrig_file *journal, const unsigned char *target)
{
	for (enum io_journal_direction d = IO_JOURNAL_UNDO; d <= IO_JOURNAL_RESUME; d++) {
		jrig_store(journal, journal->size);
		jrig_set_target(target);
		replay_is(d);
		replay_is(d == IO_JOURNAL_UNDO ? IO_JOURNAL_RESUME : IO_JOURNAL_UNDO);
	}
}

static void recover_here(void)
{
	struct jrig_file journal;

	jrig_load(&journal);
	memcpy(crashed, jrig_target(), BYTES);
	recover(&journal, crashed);
	jrig_free(&journal);
}

static void plan(unsigned kinds, uint64_t fail_at)
{
	jrig.plan.kinds = kinds;
	jrig.plan.fail_at = fail_at;
	jrig.plan.sticky = true;
	jrig.plan.count = 0;
}

/* A commit, of which everything from operation @n on fails. False: it has fewer. */
static bool commit_until(unsigned kinds, uint64_t n)
{
	int r;

	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	plan(kinds, n);
	r = io_journal_commit(jrig.dev, &jrig.why);
	plan(0, 0);
	jrig_end();
	if (r) {
		CU_ASSERT_EQUAL(r, -EIO);
		CU_ASSERT_PTR_NOT_NULL(strstr(jrig.why.text, "resume or undo with"));
		CU_ASSERT_EQUAL(jrig_state(), IO_JOURNAL_COMMITTED);
		recover_here();
	}
	jrig_close();
	return r;
}

static void failing_commit(void)
{
	uint64_t n = 1;

	while (commit_until(IO_FAULT_WRITE | IO_FAULT_FLUSH, n))
		n++;
	CU_ASSERT_EQUAL(n - 1, 9); /* seven requests and two flushes */
	for (n = 1; commit_until(ALL, n);)
		n++;
	CU_ASSERT_EQUAL(n - 1, 16);
}

static bool replay_until(enum io_journal_direction direction, unsigned kinds, uint64_t n)
{
	struct jrig_file journal;
	int r;

	jrig_open(BYTES);
	jrig_commit();
	if (direction == IO_JOURNAL_RESUME)
		CU_ASSERT_EQUAL(jrig_replay(IO_JOURNAL_UNDO), 0);
	plan(kinds, n);
	r = io_journal_replay(jrig.below, jrig.path, direction, &jrig.why);
	plan(0, 0);
	if (r) {
		CU_ASSERT_EQUAL(r, -EIO);
		recover_here();
	}
	jrig_load(&journal);
	jrig_free(&journal);
	jrig_close();
	return r;
}

static void failing_replay(void)
{
	for (enum io_journal_direction d = IO_JOURNAL_UNDO; d <= IO_JOURNAL_RESUME; d++) {
		uint64_t n = 1;

		while (replay_until(d, IO_FAULT_WRITE | IO_FAULT_FLUSH, n))
			n++;
		CU_ASSERT_EQUAL(n - 1, 9);
		for (n = 1; replay_until(d, ALL, n);)
			n++;
		CU_ASSERT_EQUAL(n - 1, 16 + JRIG_NR_CHANGED);
	}
}

/* --- power cuts --- */

static struct jrig_file at_first_write;

static void keep_journal(void)
{
	jrig_load(&at_first_write);
}

static uint64_t chance(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Writes of @op: all sectors, or those that chance picks. */
static void lay_down(const struct jrig_op *op, bool all, uint64_t *state)
{
	for (uint64_t at = 0; at < op->bytes; at += SECTOR)
		if (all || chance(state) >> 40 & 1)
			memcpy(crashed + op->offset + at, op->data + at, SECTOR);
}

/* The media after the power was cut behind operation @n: of what was not flushed, each sector may be there or not. */
static void cut(const unsigned char *before, unsigned n, uint64_t seed)
{
	uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + n + 1;
	unsigned flushed = 0;

	for (unsigned i = 0; i < n; i++)
		if (jrig.log[i].is_flush)
			flushed = i;
	memcpy(crashed, before, BYTES);
	for (unsigned i = 0; i < n; i++)
		if (!jrig.log[i].is_flush && !jrig.log[i].is_read)
			lay_down(jrig.log + i, i < flushed, &state);
}

/* When anything of block 0 is there, everything else is. */
static bool is_in_order(const unsigned char *before, const unsigned char *after)
{
	return !memcmp(crashed, before, BLOCK) || !memcmp(crashed + BLOCK, after + BLOCK, BYTES - BLOCK);
}

static void cut_everywhere(const unsigned char *before, const unsigned char *after)
{
	unsigned nr = jrig.nr_log, unordered = 0;

	for (unsigned n = 0; n <= nr; n++) {
		if (n && jrig.log[n - 1].is_read)
			continue;
		for (uint64_t seed = 1; seed <= 3; seed++) {
			cut(before, n, seed);
			unordered += !is_in_order(before, after);
			recover(&at_first_write, crashed);
		}
	}
	CU_ASSERT_EQUAL(unordered, 0);
	jrig_free(&at_first_write);
}

static void power_cut_at_commit(void)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	jrig_forget();
	jrig.on_write = keep_journal;
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), 0);
	jrig_end();
	cut_everywhere(jrig.old, jrig.new);
	jrig_close();
}

static void power_cut_at_undo(void)
{
	jrig_open(BYTES);
	jrig_commit();
	jrig_forget();
	jrig.on_write = keep_journal;
	CU_ASSERT_EQUAL(io_journal_replay(jrig.below, jrig.path, IO_JOURNAL_UNDO, &jrig.why), 0);
	cut_everywhere(jrig.new, jrig.old);
	jrig_close();
}

/* --- damaged journals --- */

/* Three journals and their targets: of a commit that was cut short, a finished one, and one that was undone. */
enum kind { CUT_SHORT, FINISHED, TAKEN_BACK, NR_KINDS };

static void make(enum kind kind, struct jrig_file *journal)
{
	jrig_open(BYTES);
	jrig_begin();
	jrig_change();
	plan(IO_FAULT_WRITE, kind == CUT_SHORT ? 4 : 0);
	CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), kind == CUT_SHORT ? -EIO : 0);
	plan(0, 0);
	jrig_end();
	if (kind == TAKEN_BACK)
		CU_ASSERT_EQUAL(jrig_replay(IO_JOURNAL_UNDO), 0);
	memcpy(crashed, jrig_target(), BYTES);
	jrig_load(journal);
	CU_ASSERT_EQUAL(journal->size, SLOTS + NR_SLOTS * SLOT + JRIG_NR_CHANGED * RECORD);
}

static unsigned nr_replayed, nr_wrong;

/* What lies in the folder now is refused and nothing written, or the target becomes what was asked for. */
static void try(enum io_journal_direction direction)
{
	int r = jrig_replay(direction);

	nr_replayed += !r;
	if (r)
		nr_wrong += memcmp(jrig_target(), crashed, BYTES) != 0;
	else
		nr_wrong += direction == IO_JOURNAL_UNDO ? !jrig_is_old() : !jrig_is_new();
}

static void cut_journal(enum kind kind)
{
	struct jrig_file journal;
	size_t table, size;

	make(kind, &journal);
	table = SLOTS + NR_SLOTS * SLOT;
	nr_replayed = nr_wrong = 0;
	for (size = 0; size < journal.size; size += size < MARKS ? 512 : size < table ? BLOCK : RECORD) {
		jrig_store(&journal, size);
		try(IO_JOURNAL_UNDO);
		try(IO_JOURNAL_RESUME);
		jrig_store(&journal, size + 1);
		try(IO_JOURNAL_UNDO);
		try(IO_JOURNAL_RESUME);
	}
	CU_ASSERT_EQUAL(nr_replayed, 0);
	CU_ASSERT_EQUAL(nr_wrong, 0);
	jrig_free(&journal);
	jrig_close();
}

static void cut_short(void)
{
	for (enum kind k = 0; k < NR_KINDS; k++)
		cut_journal(k);
}

/* With one byte changed, this way or that. Put right again if a replay changed the file. */
static void try_byte(const struct jrig_file *journal, int fd, size_t at)
{
	unsigned char byte = journal->data[at] ^ (unsigned char)(1 << at % 8);
	unsigned before = nr_replayed;

	CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, (off_t)at), 1);
	try(at / 3 % 2 ? IO_JOURNAL_UNDO : IO_JOURNAL_RESUME);
	CU_ASSERT_EQUAL(pwrite(fd, journal->data + at, 1, (off_t)at), 1);
	if (nr_replayed == before)
		return;
	CU_ASSERT_EQUAL(pwrite(fd, journal->data, SLOTS, 0), SLOTS);
	jrig_set_target(crashed);
}

static void try_bytes(const struct jrig_file *journal, int fd, size_t from, size_t to, size_t step)
{
	for (size_t at = from; at < to; at += step)
		try_byte(journal, fd, at);
}

static void flip_all(enum kind kind)
{
	struct jrig_file journal;
	unsigned from_marks;
	int fd;

	make(kind, &journal);
	fd = open(jrig.path, O_RDWR | O_CLOEXEC);
	CU_ASSERT_FATAL(fd >= 0);
	nr_replayed = nr_wrong = 0;
	try_bytes(&journal, fd, 0, MARKS, 1);
	try_bytes(&journal, fd, SLOTS + NR_SLOTS * SLOT, journal.size, 1);
	try_bytes(&journal, fd, SLOTS, SLOTS + NR_SLOTS * SLOT, 331);
	/* But in the slot whose block is as it was: nobody needs it. */
	CU_ASSERT_TRUE(nr_replayed <= SLOT / 331 + 1);
	from_marks = nr_replayed;
	try_bytes(&journal, fd, MARKS, MARKS + MARK_BYTES, 1);
	try_bytes(&journal, fd, MARKS + 4096, MARKS + 4096 + MARK_BYTES, 1);
	/* The other mark says enough. */
	CU_ASSERT_EQUAL(nr_replayed - from_marks, 2 * MARK_BYTES);
	CU_ASSERT_EQUAL(nr_wrong, 0);
	close(fd);
	jrig_free(&journal);
	jrig_close();
}

static void flipped(void)
{
	for (enum kind k = 0; k < NR_KINDS; k++)
		flip_all(k);
}

static void damaged_before_commit(void)
{
	static const off_t places[] = { SLOTS + 100, SLOTS + BLOCK + 100 };

	for (unsigned i = 0; i < 2; i++) {
		int fd;

		jrig_open(BYTES);
		jrig_begin();
		jrig_change();
		fd = open(jrig.path, O_WRONLY | O_CLOEXEC);
		CU_ASSERT_EQUAL(pwrite(fd, "x", 1, places[i]), 1);
		close(fd);
		jrig_forget();
		CU_ASSERT_EQUAL(io_journal_commit(jrig.dev, &jrig.why), -EBADMSG);
		CU_ASSERT_EQUAL(jrig.nr_log, 0);
		jrig_end();
		CU_ASSERT_FALSE(jrig_has_file());
		jrig_close();
	}
}

/* --- chance --- */

static void put32(unsigned char *at, uint32_t v)
{
	le_store(at, 4, v);
}

static uint32_t sum_from_id(const unsigned char *journal, const unsigned char *from, size_t len)
{
	return crc32c_raw(crc32c_raw(UINT32_MAX, journal + 16, 8), from, len);
}

/* Makes checksums right again, so that what is behind them is met: of the header, the marks, the table, its records. */
static void reseal(struct jrig_file *f)
{
	unsigned char *table = f->data + SLOTS + NR_SLOTS * SLOT;

	put32(f->data + 8, crc32c_raw(UINT32_MAX, f->data + 12, MARKS - 12));
	for (unsigned i = 0; i < JRIG_NR_CHANGED; i++)
		put32(table + i * RECORD + 20, sum_from_id(f->data, table + i * RECORD, 20));
	for (unsigned i = 0; i < 2; i++) {
		unsigned char *mark = f->data + MARKS + i * 4096;

		put32(mark + 32, sum_from_id(f->data, table, JRIG_NR_CHANGED * RECORD));
		put32(mark, sum_from_id(f->data, mark + 4, MARK_BYTES - 4));
	}
}

/* Record @i made one of @block and @slot, with all checksums as they should be. */
static void forge(struct jrig_file *f, unsigned i, uint64_t block, uint32_t slot)
{
	unsigned char *record = f->data + SLOTS + NR_SLOTS * SLOT + i * RECORD;

	le_store(record, 8, block);
	put32(record + 8, slot);
	for (unsigned side = 0; side < 2 && slot < NR_SLOTS; side++) {
		const unsigned char *image = f->data + SLOTS + slot * SLOT + side * BLOCK;

		put32(record + 12 + 4 * side, crc32c_raw(sum_from_id(f->data, record, 8), image, BLOCK));
	}
	reseal(f);
}

static void refused(const struct jrig_file *f, size_t size)
{
	jrig_store(f, size);
	for (enum io_journal_direction d = IO_JOURNAL_UNDO; d <= IO_JOURNAL_RESUME; d++)
		CU_ASSERT_EQUAL(jrig_replay(d), -EBADMSG);
	CU_ASSERT_EQUAL(memcmp(jrig_target(), crashed, BYTES), 0);
}

static void forged(void)
{
	static const struct {
		unsigned record;
		uint64_t block;
		uint32_t slot;
	} bad[] = {
		{ JRIG_NR_CHANGED - 1, BYTES / BLOCK, 0 }, /* behind the end */
		{ JRIG_NR_CHANGED - 1, UINT64_MAX, 0 },
		{ JRIG_NR_CHANGED - 1, UINT64_C(1) << 52, 0 },
		{ 2, 3, 0 }, /* twice */
		{ 2, 2, 0 }, /* not in order */
		{ 2, 4, NR_SLOTS },
		{ 2, 4, UINT32_MAX },
	};
	struct jrig_file journal, copy;

	make(CUT_SHORT, &journal);
	copy.size = journal.size + RECORD;
	copy.data = calloc(1, copy.size);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		memcpy(copy.data, journal.data, journal.size);
		forge(&copy, bad[i].record, bad[i].block, bad[i].slot);
		refused(&copy, journal.size);
	}
	memcpy(copy.data, journal.data, journal.size);
	refused(&copy, copy.size); /* goes on behind its end */
	for (unsigned i = 0; i < 2; i++) {
		unsigned char *mark = copy.data + MARKS + i * 4096;

		mark[32] ^= 1; /* of another table */
		put32(mark, sum_from_id(copy.data, mark + 4, MARK_BYTES - 4));
	}
	refused(&copy, journal.size);
	free(copy.data);
	jrig_free(&journal);
	jrig_close();
}

static uint64_t odd_number(uint64_t *state)
{
	static const uint64_t odd[] = {
		0, 1, 2, 3, 11, 12, 13, 31, 32, 33, 512, 4096, 65536, 131072, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX,
		UINT64_MAX / 8192, UINT64_C(1) << 51, UINT64_C(1) << 50,
	};

	return odd[chance(state) % (sizeof(odd) / sizeof(*odd))];
}

/* Where fields are, most of the time. */
static size_t pick_place(const struct jrig_file *f, uint64_t *state)
{
	size_t table = SLOTS + NR_SLOTS * SLOT;

	switch (chance(state) % 8) {
	case 0: return chance(state) % (f->size - 8);
	case 1:
	case 2: return 8 + chance(state) % 56;
	case 3:
	case 4: return MARKS + chance(state) % 2 * 4096 + chance(state) % 10 * 4;
	case 5: return SLOTS + chance(state) % (NR_SLOTS * SLOT);
	default: return table + chance(state) % (JRIG_NR_CHANGED * RECORD / 4 - 1) * 4;
	}
}

static void mutate(struct jrig_file *f, uint64_t *state)
{
	size_t at = pick_place(f, state), other = pick_place(f, state);

	switch (chance(state) % 6) {
	case 0: f->data[at] ^= (unsigned char)(1 << chance(state) % 8); break;
	case 1: memmove(f->data + at, f->data + other, 8); break;
	case 2: memset(f->data + (at & ~(size_t)511), 0, 512); break;
	default: le_store(f->data + at, chance(state) % 2 ? 4 : 8, odd_number(state)); break;
	}
}

static void fuzz(void)
{
	struct jrig_file journal, copy;
	uint64_t state = 42;

	make(CUT_SHORT, &journal);
	nr_replayed = nr_wrong = 0;
	copy.data = malloc(journal.size + 512);
	copy.size = journal.size;
	for (unsigned i = 0; i < 4000; i++) {
		memcpy(copy.data, journal.data, journal.size);
		for (uint64_t n = 1 + chance(&state) % 2; n; n--)
			mutate(&copy, &state);
		if (chance(&state) % 4)
			reseal(&copy);
		if (!memcmp(copy.data, journal.data, journal.size))
			continue;
		jrig_store(&copy, chance(&state) % 16 ? copy.size : chance(&state) % copy.size);
		jrig_set_target(crashed);
		try(chance(&state) % 2 ? IO_JOURNAL_UNDO : IO_JOURNAL_RESUME);
	}
	CU_ASSERT_EQUAL(nr_wrong, 0);
	CU_ASSERT_TRUE(nr_replayed > 40 && nr_replayed < 2000); /* both are met */
	free(copy.data);
	jrig_free(&journal);
	jrig_close();
}

static const struct unit_case cases[] = {
	{ "whichever write, flush or read of a commit fails, and all behind it, both ways are open", failing_commit },
	{ "so they are for an undo, and for a resume after it", failing_replay },
	{ "wherever the power is cut in a commit both ways are open, and block 0 is never before the others",
	  power_cut_at_commit },
	{ "wherever the power is cut in an undo both ways are open, and block 0 is never before the others",
	  power_cut_at_undo },
	{ "a journal that is cut off anywhere is refused, and nothing is written", cut_short },
	{ "a journal with a wrong byte is refused, or does without it", flipped },
	{ "a journal that was damaged before the commit is found out, and nothing is written", damaged_before_commit },
	{ "records that cannot be are refused, though their checksums are right", forged },
	{ "4000 damaged journals, resealed or not, never write anything but the one side or the other", fuzz },
	{ NULL, NULL },
};

const struct unit_suite io_journal_crash_suite = { "io_journal_crash", cases };
