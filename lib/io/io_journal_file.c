// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The file of a transaction: its format, and going to either side by it.
 *
 *	bytes                      what
 *	0                          header: what the journal is of; on stable media before anything else
 *	8192, 12288                two marks: what is true now. A new one is written over the older of the two, so that
 *	                           the newer is whole whatever happens. Zeroes: never committed
 *	16384                      slots: old image and new image of a block, in the order in which blocks were changed
 *	16384 + slots * 2 * block  table: a record for each block, in rising order, up to the end of the file
 *
 * Numbers are little-endian. Checksums are CRC-32C as it is (crc32c_raw() from all ones on, not inverted) of what is
 * named here: of the header all that follows its checksum; of a mark the journal's id, and what follows; of the table
 * the id, and the records; of a record the id, and what precedes; of an image the id, the block's number, and the
 * image. So nothing counts that is torn, that lies where it does not belong, or that was left over by an older journal.
 * Slots may be without a record: their blocks were made as they had been.
 *
 * A mark is what commits. It has the checksum of the table, which has those of all images. The first one is written when
 * these are on stable media: otherwise it could get there alone, and what is a target that nobody wrote to would look
 * like one that nothing can mend. It is written twice then, into both places.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/crc32c.h"
#include "base/le.h"
#include "io/io_int.h"
#include "io/io_journal_int.h"

#define MAGIC "bufiojnl"
#define FORMAT_VERSION 1
#define HEADER_BYTES 8192
#define MARK_BYTES 4096
#define SLOTS_AT (HEADER_BYTES + 2 * MARK_BYTES)
#define MEMORY_ALIGNMENT 4096

struct disk_header {
	char magic[8];
	le32 sum;
	le32 version;
	le64 id; /* random */
	le64 target_size;
	le64 target_dev, target_rdev, target_ino;
	le32 block_size;
	le32 flags; /* 0 */
	char target[4096];
	char zeroes[HEADER_BYTES - 64 - 4096];
};

struct disk_mark {
	le32 sum;
	le32 state; /* enum io_journal_state */
	le64 sequence;
	le64 nr_slots;
	le64 nr_records;
	le32 table_sum;
	le32 flags; /* 0 */
};

struct disk_record {
	le64 block;
	le32 slot;
	le32 old_sum, new_sum;
	le32 sum;
};

_Static_assert(sizeof(struct disk_header) == HEADER_BYTES && sizeof(struct disk_mark) == 40 &&
	       sizeof(struct disk_record) == 24, "the format is what it is");

/* --- bytes --- */

/* What ends early is damaged. */
static int read_file(const struct io_journal_file *f, void *data, size_t len, uint64_t at)
{
	for (char *p = data; len;) {
		ssize_t n = pread(f->fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EBADMSG;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_file(const struct io_journal_file *f, const void *data, size_t len, uint64_t at)
{
	for (const char *p = data; len;) {
		ssize_t n = pwrite(f->fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Not repeated on EIO, as in io_fd_flush(). */
static int sync_file(const struct io_journal_file *f)
{
	int r;

	do
		r = fsync(f->fd);
	while (r && errno == EINTR);
	return r ? -errno : 0;
}

static uint32_t sum_from_id(const struct io_journal_file *f, const void *data, size_t len)
{
	le64 id = le64_put(f->id);

	return crc32c_raw(crc32c_raw(UINT32_MAX, &id, sizeof(id)), data, len);
}

uint32_t io_journal_sum(const struct io_journal_file *f, uint64_t block, const void *image)
{
	le64 number = le64_put(block);

	return crc32c_raw(sum_from_id(f, &number, sizeof(number)), image, f->about.block_size);
}

uint64_t io_journal_bytes(const struct io_journal_file *f, uint64_t block, uint64_t nr)
{
	uint64_t left = f->about.target_size - block * f->about.block_size, bytes = nr * f->about.block_size;

	return bytes < left ? bytes : left;
}

/* UINT64_MAX where it cannot be. */
uint64_t io_journal_file_size(const struct io_journal_file *f, uint64_t nr_slots, uint64_t nr_records)
{
	uint64_t slots, records, end;

	if (!checked_mul(nr_slots, UINT64_C(2) * f->about.block_size, &slots) ||
	    !checked_mul(nr_records, sizeof(struct disk_record), &records) ||
	    !checked_add(slots, records, &end) || !checked_add(end, SLOTS_AT, &end))
		return UINT64_MAX;
	return end;
}

void *io_journal_memory(void)
{
	return aligned_alloc(MEMORY_ALIGNMENT, IO_JOURNAL_RUN);
}

int io_journal_take_memory(struct io_journal_file *f)
{
	f->images = io_journal_memory();
	f->current = io_journal_memory();
	return f->images && f->current ? 0 : -ENOMEM;
}

void io_journal_file_close(struct io_journal_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->images);
	free(f->current);
}

int io_journal_file_lock(struct io_journal_file *f)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	/* There are file systems without locks. */
	if (!fcntl(f->fd, F_OFD_SETLK, &whole) || (errno != EAGAIN && errno != EACCES))
		return 0;
	return refuse(f->why, -EBUSY, "%s: another program uses this journal; wait until that has ended", f->path);
}

/* --- slots --- */

static uint64_t slot_at(const struct io_journal_file *f, uint32_t slot)
{
	return io_journal_file_size(f, slot, 0);
}

static int read_image(const struct io_journal_file *f, uint32_t slot, enum io_journal_direction which, void *image)
{
	uint64_t at = slot_at(f, slot) + (which == IO_JOURNAL_RESUME ? f->about.block_size : 0);

	return read_file(f, image, f->about.block_size, at);
}

int io_journal_read_new(const struct io_journal_file *f, uint32_t slot, void *image)
{
	return read_image(f, slot, IO_JOURNAL_RESUME, image);
}

int io_journal_write_new(const struct io_journal_file *f, uint32_t slot, const void *image)
{
	return write_file(f, image, f->about.block_size, slot_at(f, slot) + f->about.block_size);
}

int io_journal_write_both(const struct io_journal_file *f, uint32_t slot, const void *old, const void *new)
{
	int r = write_file(f, old, f->about.block_size, slot_at(f, slot));

	return r ? r : io_journal_write_new(f, slot, new);
}

int io_journal_is_unchanged(const struct io_journal_file *f, uint32_t slot, bool *is_unchanged)
{
	int r = read_image(f, slot, IO_JOURNAL_UNDO, f->images);

	if (!r)
		r = read_image(f, slot, IO_JOURNAL_RESUME, f->current);
	if (!r)
		*is_unchanged = !memcmp(f->images, f->current, f->about.block_size);
	return r;
}

/* --- what is wrong with the file --- */

int io_journal_refuse_damaged(const struct io_journal_file *f, const char *what)
{
	return refuse(f->why, -EBADMSG, "%s: is damaged (%s); nothing can be written from it: look for a copy, or "
		      "repair the target by other means", f->path, what);
}

int io_journal_refuse_file(const struct io_journal_file *f, int error, const char *verb)
{
	return refuse(f->why, error, "%s: cannot be %s: %s", f->path, verb, strerror(-error));
}

/* @error: of read_file() */
static int refuse_short(const struct io_journal_file *f, int error)
{
	if (error == -EBADMSG)
		return io_journal_refuse_damaged(f, "it ends early");
	return io_journal_refuse_file(f, error, "read");
}

/* --- the header --- */

static uint32_t header_sum(const struct disk_header *h)
{
	return crc32c_raw(UINT32_MAX, &h->version, HEADER_BYTES - offsetof(struct disk_header, version));
}

static uint64_t new_id(void)
{
	uint64_t id;

	if (getrandom(&id, sizeof(id), 0) == (ssize_t)sizeof(id))
		return id;
	return (uint64_t)getpid(); /* better than none */
}

static struct disk_header header_of(const struct io_journal_file *f)
{
	const struct io_journal_status *a = &f->about;
	struct disk_header h = {
		.magic = MAGIC, /* without its end */
		.version = le32_put(FORMAT_VERSION),
		.id = le64_put(f->id),
		.target_size = le64_put(a->target_size),
		.target_dev = le64_put(a->target_dev),
		.target_rdev = le64_put(a->target_rdev),
		.target_ino = le64_put(a->target_ino),
		.block_size = le32_put(a->block_size),
	};

	memcpy(h.target, a->target, sizeof(h.target));
	h.sum = le32_put(header_sum(&h));
	return h;
}

int io_journal_file_create(struct io_journal_file *f)
{
	struct disk_header h;
	int r = io_journal_take_memory(f);

	if (r)
		return r;
	f->id = new_id();
	h = header_of(f);
	r = write_file(f, &h, sizeof(h), 0);
	if (!r && ftruncate(f->fd, SLOTS_AT))
		r = -errno;
	return r ? r : sync_file(f);
}

static void take_header(struct io_journal_file *f, const struct disk_header *h)
{
	f->id = le64_get(h->id);
	f->about.target_size = le64_get(h->target_size);
	f->about.target_dev = le64_get(h->target_dev);
	f->about.target_rdev = le64_get(h->target_rdev);
	f->about.target_ino = le64_get(h->target_ino);
	f->about.block_size = le32_get(h->block_size);
	memcpy(f->about.target, h->target, sizeof(h->target));
}

static bool is_header_sane(const struct disk_header *h)
{
	return io_journal_is_block_size(le32_get(h->block_size)) && !le32_get(h->flags) &&
	       le64_get(h->target_size) <= INT64_MAX && memchr(h->target, 0, sizeof(h->target));
}

static int read_header(struct io_journal_file *f)
{
	struct disk_header h;
	int r = read_file(f, &h, sizeof(h), 0);

	if (r && r != -EBADMSG)
		return io_journal_refuse_file(f, r, "read");
	if (r || memcmp(h.magic, MAGIC, sizeof(h.magic)) != 0)
		return refuse(f->why, -EINVAL, "%s: is not a journal; name the file that the transaction was given",
			      f->path);
	if (header_sum(&h) != le32_get(h.sum))
		return io_journal_refuse_damaged(f, "header");
	if (le32_get(h.version) != FORMAT_VERSION)
		return refuse(f->why, -EPROTONOSUPPORT, "%s: is a journal of version %" PRIu32 ", which is not known "
			      "here; use a later program", f->path, le32_get(h.version));
	if (!is_header_sane(&h))
		return io_journal_refuse_damaged(f, "header");
	take_header(f, &h);
	return 0;
}

/* --- marks --- */

static uint32_t mark_sum(const struct io_journal_file *f, const struct disk_mark *m)
{
	return sum_from_id(f, &m->state, sizeof(*m) - offsetof(struct disk_mark, state));
}

static uint64_t mark_at(uint64_t sequence)
{
	return HEADER_BYTES + sequence % 2 * MARK_BYTES;
}

static int write_mark(struct io_journal_file *f, enum io_journal_state state)
{
	struct disk_mark m = {
		.state = le32_put(state),
		.sequence = le64_put(f->sequence + 1),
		.nr_slots = le64_put(f->nr_slots),
		.nr_records = le64_put(f->about.nr_blocks),
		.table_sum = le32_put(f->table_sum),
	};
	int r;

	m.sum = le32_put(mark_sum(f, &m));
	r = write_file(f, &m, sizeof(m), mark_at(f->sequence + 1));
	if (!r)
		f->sequence++;
	return r;
}

/* The first one is written into both places: while there is no other, all hangs on it. */
int io_journal_file_mark(struct io_journal_file *f, enum io_journal_state state)
{
	bool is_first = !f->sequence;
	int r = is_first ? sync_file(f) : 0;

	if (!r)
		r = write_mark(f, state);
	if (!r && is_first)
		r = write_mark(f, state);
	if (!r)
		r = sync_file(f);
	if (!r)
		f->about.state = state;
	return r;
}

static bool is_mark_sane(const struct io_journal_file *f, const struct disk_mark *m)
{
	uint32_t state = le32_get(m->state);
	uint64_t sequence = le64_get(m->sequence), nr_slots = le64_get(m->nr_slots), nr = le64_get(m->nr_records);

	return le32_get(m->sum) == mark_sum(f, m) && state >= IO_JOURNAL_COMMITTED && state <= IO_JOURNAL_UNDONE &&
	       sequence && sequence < INT64_MAX && nr_slots <= UINT32_MAX && nr <= nr_slots && !le32_get(m->flags);
}

static void take_mark(struct io_journal_file *f, const struct disk_mark *m)
{
	f->about.state = (enum io_journal_state)le32_get(m->state);
	f->about.nr_blocks = le64_get(m->nr_records);
	f->sequence = le64_get(m->sequence);
	f->nr_slots = le64_get(m->nr_slots);
	f->table_sum = le32_get(m->table_sum);
}

/* The newest that is whole. One that is not was being written, or is damaged; both at once are damaged. */
static int read_marks(struct io_journal_file *f)
{
	static const struct disk_mark none;
	unsigned nr_none = 0;

	for (unsigned i = 0; i < 2; i++) {
		struct disk_mark m;
		int r = read_file(f, &m, sizeof(m), mark_at(i));

		if (r)
			return refuse_short(f, r);
		nr_none += !memcmp(&m, &none, sizeof(m));
		if (is_mark_sane(f, &m) && le64_get(m.sequence) % 2 == i && le64_get(m.sequence) > f->sequence)
			take_mark(f, &m);
	}
	return f->sequence || nr_none == 2 ? 0 : io_journal_refuse_damaged(f, "commit");
}

static int check_size(const struct io_journal_file *f, uint64_t size)
{
	uint64_t wanted = io_journal_file_size(f, f->nr_slots, f->about.nr_blocks);

	if (!f->sequence || size == wanted)
		return 0;
	return io_journal_refuse_damaged(f, size < wanted ? "it ends early" : "it goes on behind its end");
}

/* --- opening what is there --- */

/* O_NONBLOCK: a FIFO would wait for its other end. */
static int open_file(struct io_journal_file *f, int mode, struct stat *st)
{
	f->fd = open(f->path, mode | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd < 0 || fstat(f->fd, st))
		return refuse(f->why, -errno, "%s: %s", f->path, strerror(errno));
	if (!S_ISREG(st->st_mode))
		return refuse(f->why, -EINVAL, "%s: is not a regular file, so not a journal", f->path);
	return 0;
}

/* The file must be closed if it fails too. The size is asked for when nobody else can change it any more. */
int io_journal_file_open(struct io_journal_file *f, int mode)
{
	struct stat st;
	int r = open_file(f, mode, &st);

	if (!r && mode == O_RDWR)
		r = io_journal_file_lock(f);
	if (!r && fstat(f->fd, &st))
		r = io_journal_refuse_file(f, -errno, "read");
	if (!r)
		r = read_header(f);
	if (!r)
		r = read_marks(f);
	return r ? r : check_size(f, (uint64_t)st.st_size);
}

int io_journal_status(const char *path, struct io_journal_status *st, struct bufio_reason *why)
{
	struct io_journal_file f = { .fd = -1, .path = path, .why = why };
	int r = io_journal_file_open(&f, O_RDONLY);

	if (!r)
		*st = f.about;
	io_journal_file_close(&f);
	return r;
}

/* --- the table --- */

static uint32_t record_sum(const struct io_journal_file *f, const struct disk_record *d)
{
	return sum_from_id(f, d, offsetof(struct disk_record, sum));
}

static int write_table(struct io_journal_table *t)
{
	struct io_journal_file *f = t->file;
	uint64_t at = io_journal_file_size(f, f->nr_slots, f->about.nr_blocks);
	size_t bytes = t->nr * sizeof(struct disk_record);
	int r = write_file(f, t->buffer, bytes, at);

	if (r)
		return r;
	if (!f->about.nr_blocks)
		f->table_sum = sum_from_id(f, NULL, 0);
	f->table_sum = crc32c_raw(f->table_sum, t->buffer, bytes);
	f->about.nr_blocks += t->nr;
	t->nr = 0;
	return 0;
}

int io_journal_table_add(struct io_journal_table *t, const struct io_journal_record *r)
{
	struct disk_record d = {
		.block = le64_put(r->block),
		.slot = le32_put(r->slot),
		.old_sum = le32_put(r->old_sum),
		.new_sum = le32_put(r->new_sum),
	};

	d.sum = le32_put(record_sum(t->file, &d));
	memcpy(t->buffer + t->nr * sizeof(d), &d, sizeof(d));
	return ++t->nr == IO_JOURNAL_RUN / sizeof(d) ? write_table(t) : 0;
}

/* What a write that failed left behind the last slot is cut off. */
int io_journal_table_end(struct io_journal_table *t)
{
	struct io_journal_file *f = t->file;
	int r = write_table(t);

	if (!r && ftruncate(f->fd, (off_t)io_journal_file_size(f, f->nr_slots, f->about.nr_blocks)))
		r = -errno;
	return r;
}

static bool take_record(const struct io_journal_file *f, const struct disk_record *d, uint64_t first,
			struct io_journal_record *r)
{
	*r = (struct io_journal_record){
		.block = le64_get(d->block),
		.slot = le32_get(d->slot),
		.old_sum = le32_get(d->old_sum),
		.new_sum = le32_get(d->new_sum),
	};
	return le32_get(d->sum) == record_sum(f, d) && r->block >= first && r->block < io_journal_nr_blocks(f) &&
	       r->slot < f->nr_slots;
}

static int visit_records(struct io_journal_file *f, const struct disk_record *table, uint64_t nr, uint64_t *next,
			 io_journal_visit_fn visit, void *context)
{
	for (uint64_t i = 0; i < nr; i++) {
		struct io_journal_record r;
		int e;

		if (!take_record(f, table + i, *next, &r))
			return io_journal_refuse_damaged(f, "table");
		*next = r.block + 1;
		e = visit(f, &r, context);
		if (e)
			return e;
	}
	return 0;
}

int io_journal_for_each(struct io_journal_file *f, io_journal_visit_fn visit, void *context)
{
	uint64_t at = io_journal_file_size(f, f->nr_slots, 0), next = 0, nr;
	struct disk_record table[128];
	uint32_t sum = sum_from_id(f, NULL, 0);
	int r = 0;

	for (uint64_t left = f->about.nr_blocks; left && !r; left -= nr) {
		nr = left < 128 ? left : 128;
		r = read_file(f, table, nr * sizeof(*table), at);
		if (r)
			return refuse_short(f, r);
		at += nr * sizeof(*table);
		sum = crc32c_raw(sum, table, nr * sizeof(*table));
		r = visit_records(f, table, nr, &next, visit, context);
	}
	if (!r && sum != f->table_sum)
		return io_journal_refuse_damaged(f, "table");
	return r;
}

int io_journal_load(struct io_journal_file *f, const struct io_journal_record *r, enum io_journal_direction which,
		unsigned char *image)
{
	int e = read_image(f, r->slot, which, image);
	char what[64];

	if (e && e != -EBADMSG)
		return io_journal_refuse_file(f, e, "read");
	if (!e && io_journal_sum(f, r->block, image) == (which == IO_JOURNAL_UNDO ? r->old_sum : r->new_sum))
		return 0;
	snprintf(what, sizeof(what), "an image of block %" PRIu64, r->block);
	return io_journal_refuse_damaged(f, what);
}
