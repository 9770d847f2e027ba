// SPDX-License-Identifier: LGPL-2.1-or-later
/* Going to either side by a journal: whether that can be, doing it in the order that is safe, and reading it back. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "io/io_int.h"
#include "io/io_journal_int.h"

#define SECTOR 512 /* that is whole after a crash */

/* --- checking --- */

static int verify(struct io_journal_file *f, const struct io_journal_record *r, void *context)
{
	int e = io_journal_load(f, r, IO_JOURNAL_UNDO, f->images);

	(void)context;
	return e ? e : io_journal_load(f, r, IO_JOURNAL_RESUME, f->images);
}

int io_journal_file_verify(struct io_journal_file *f)
{
	return io_journal_for_each(f, verify, NULL);
}

/* One request, at the end of which nothing is outstanding. */
static int transfer(struct bufio_device *below, enum io_direction direction, uint64_t offset, void *data, size_t len)
{
	struct iovec iov = { data, len };
	struct io_request r = { .direction = direction, .wait_follows = true, .offset = offset, .iov = &iov,
				.nr_iov = 1 };
	struct io_request *p = &r, *done;

	below->ops->submit(below, &p, 1);
	while (!below->ops->wait(below, &done, 1, true))
		;
	return r.result;
}

static int read_blocks(const struct io_journal_file *f, struct bufio_device *below, uint64_t block, uint64_t nr,
		       unsigned char *data)
{
	uint64_t bytes = io_journal_bytes(f, block, nr);

	memset(data + bytes, 0, nr * f->about.block_size - bytes);
	return transfer(below, IO_READ, block * f->about.block_size, data, bytes);
}

/* A write that was cut short by a crash left a part of each; sectors are whole. */
static bool is_old_or_new(const unsigned char *is, const unsigned char *old, const unsigned char *new, size_t size,
			  size_t unit)
{
	for (size_t at = 0; at < size; at += unit)
		if (memcmp(is + at, old + at, unit) != 0 && memcmp(is + at, new + at, unit) != 0)
			return false;
	return true;
}

static int check_block(struct io_journal_file *f, const struct io_journal_record *r, void *context)
{
	uint32_t size = f->about.block_size, unit = f->about.state == IO_JOURNAL_COMMITTED ? SECTOR : size;
	unsigned char *old = f->images, *new = f->images + IO_JOURNAL_RUN / 2;
	int e = io_journal_load(f, r, IO_JOURNAL_UNDO, old);

	if (!e)
		e = io_journal_load(f, r, IO_JOURNAL_RESUME, new);
	if (e)
		return e;
	e = read_blocks(f, context, r->block, 1, f->current);
	if (e)
		return refuse(f->why, e, "%s: block %" PRIu64 " of the target cannot be read: %s; nothing was written",
			      f->path, r->block, strerror(-e));
	if (is_old_or_new(f->current, old, new, size, unit))
		return 0;
	return refuse(f->why, -ESTALE, "%s: block %" PRIu64 " of the target was changed since, and is neither as it "
		      "was nor as it was to be; nothing was written: is this the right target?", f->path, r->block);
}

/* --- writing the target --- */

/* Images of consecutive blocks, which become one request. */
struct run {
	struct bufio_device *below;
	enum io_journal_direction which;
	bool compares; /* the target with them, instead of writing it */
	bool has_first, keeps_first; /* block 0 is not for now */
	struct io_journal_record first;
	uint64_t block;
	uint32_t nr;
};

static int fail_target(const struct io_journal_file *f, int error, const char *what, uint64_t block)
{
	return refuse(f->why, error, "%s: block %" PRIu64 " %s: %s; resume or undo with %s", f->about.target, block,
		      what, strerror(-error), f->path);
}

static int fail_compared(const struct io_journal_file *f, const struct run *run)
{
	uint32_t i = 0, size = f->about.block_size;

	while (i < run->nr && !memcmp(f->images + i * size, f->current + i * size, size))
		i++;
	return i < run->nr ? fail_target(f, -EIO, "does not hold what was written", run->block + i) : 0;
}

static int finish_run(struct io_journal_file *f, struct run *run)
{
	uint64_t at = run->block * f->about.block_size;
	int r = 0;

	if (run->nr && run->compares) {
		r = read_blocks(f, run->below, run->block, run->nr, f->current);
		r = r ? fail_target(f, r, "cannot be read back", run->block) : fail_compared(f, run);
	} else if (run->nr) {
		r = transfer(run->below, IO_WRITE, at, f->images, io_journal_bytes(f, run->block, run->nr));
		if (r)
			fail_target(f, r, "cannot be written", run->block);
	}
	run->nr = 0;
	return r;
}

/* That a block reads as it should does not mean that it is on stable media: all are written. */
static int add_to_run(struct io_journal_file *f, const struct io_journal_record *r, void *context)
{
	struct run *run = context;
	int e = 0;

	if (!r->block && run->keeps_first) {
		run->first = *r;
		run->has_first = true;
		return 0;
	}
	if (run->nr && (r->block != run->block + run->nr || run->nr == io_journal_run_blocks(f)))
		e = finish_run(f, run);
	if (!e)
		e = io_journal_load(f, r, run->which, f->images + run->nr * f->about.block_size);
	if (!run->nr)
		run->block = r->block;
	run->nr += !e;
	return e;
}

static int run_all(struct io_journal_file *f, struct run *run)
{
	int r = io_journal_for_each(f, add_to_run, run);

	return r ? r : finish_run(f, run);
}

static int flush_target(const struct io_journal_file *f, struct bufio_device *below)
{
	int r = below->ops->flush(below);

	return r ? refuse(f->why, r, "%s: cannot be flushed: %s; resume or undo with %s", f->about.target, strerror(-r),
			  f->path) : 0;
}

/* Metadata hangs on its superblock, which is block 0. */
static int write_first(struct io_journal_file *f, struct run *run)
{
	int r;

	run->keeps_first = false;
	r = add_to_run(f, &run->first, run);
	if (!r)
		r = finish_run(f, run);
	return r ? r : flush_target(f, run->below);
}

int io_journal_file_apply(struct io_journal_file *f, struct bufio_device *below, enum io_journal_direction direction)
{
	struct run run = { .below = below, .which = direction, .keeps_first = true };
	int r = run_all(f, &run);

	if (!r)
		r = flush_target(f, below);
	if (!r && run.has_first)
		r = write_first(f, &run);
	if (r)
		return r;
	run = (struct run){ .below = below, .which = direction, .compares = true };
	return run_all(f, &run);
}

/* --- replay --- */

static int judge(const struct io_journal_file *f, const struct bufio_device *below)
{
	const struct io_journal_status *a = &f->about;

	if (below->info.read_only)
		return refuse(f->why, -EROFS, "%s: the target is open for reading only", f->path);
	if (!f->sequence)
		return refuse(f->why, -ENODATA, "%s: was never committed, so nothing was written to %s by it; "
			      "remove it", f->path, a->target);
	if (below->info.size != a->target_size)
		return refuse(f->why, -ENODEV, "%s: is of %s with %" PRIu64 " bytes, and this target has %" PRIu64
			      "; nothing was written: name the right one", f->path, a->target, a->target_size,
			      below->info.size);
	if (a->block_size % below->info.alignment)
		return refuse(f->why, -EINVAL, "%s: has blocks of %" PRIu32 " bytes, and this target takes only "
			      "multiples of %" PRIu32 "; name the right one", f->path, a->block_size,
			      below->info.alignment);
	return 0;
}

/* From the first write on the target is neither old nor new, and the journal says so before. */
static int replay(struct io_journal_file *f, struct bufio_device *below, enum io_journal_direction direction)
{
	int r = 0;

	if (f->about.state != IO_JOURNAL_COMMITTED)
		r = io_journal_file_mark(f, IO_JOURNAL_COMMITTED);
	if (r)
		return io_journal_refuse_file(f, r, "written, so nothing was");
	r = io_journal_file_apply(f, below, direction);
	if (r)
		return r;
	r = io_journal_file_mark(f, direction == IO_JOURNAL_UNDO ? IO_JOURNAL_UNDONE : IO_JOURNAL_DONE);
	return r ? refuse(f->why, r, "%s: cannot be marked: %s; %s is all written, and it does no harm to do it again",
			  f->path, strerror(-r), f->about.target) : 0;
}

int io_journal_replay(struct bufio_device *below, const char *path, enum io_journal_direction direction,
		      struct bufio_reason *why)
{
	struct io_journal_file f = { .fd = -1, .path = path, .why = why };
	int r = io_journal_file_open(&f, O_RDWR);

	if (!r)
		r = judge(&f, below);
	if (!r && io_journal_take_memory(&f))
		r = refuse(why, -ENOMEM, "%s: no memory to read it", path);
	if (!r)
		r = io_journal_file_verify(&f);
	if (!r)
		r = io_journal_for_each(&f, check_block, below);
	if (!r)
		r = replay(&f, below, direction);
	io_journal_file_close(&f);
	return r;
}
