// SPDX-License-Identifier: LGPL-2.1-or-later
/* A transaction: its begin, commit and end. What is done in between is io_journal_overlay.c. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io_int.h"
#include "io/io_journal_int.h"

/* --- end --- */

/* The name may be another file's by now. */
static void remove_file(const struct io_journal_device *d)
{
	struct stat ours, there;

	if (!fstat(d->file.fd, &ours) && !fstatat(d->folder, d->name, &there, AT_SYMLINK_NOFOLLOW) &&
	    ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
		unlinkat(d->folder, d->name, 0);
}

static void free_device(struct io_journal_device *d)
{
	io_journal_file_close(&d->file);
	if (d->folder >= 0)
		close(d->folder);
	pthread_mutex_destroy(&d->working);
	pthread_mutex_destroy(&d->taking);
	pthread_mutex_destroy(&d->lock);
	free(d->slots);
	free(d->places);
	free(d->path);
	free(d);
}

int io_journal_close(struct bufio_device *dev)
{
	struct io_journal_device *d = (struct io_journal_device *)dev;

	if (d->phase < IO_JOURNAL_IS_COMMITTED && !d->is_plan)
		remove_file(d);
	free_device(d);
	return 0;
}

/* --- begin --- */

static int judge(const struct bufio_device *below, const struct io_journal_args *args, uint32_t block_size,
		 struct bufio_reason *why)
{
	if (below->info.read_only && args->path)
		return refuse(why, -EROFS, "%s: is open for reading only; open it for writing", args->target);
	if (!io_journal_is_block_size(block_size))
		return refuse(why, -EINVAL, "%s: a journal cannot have blocks of %" PRIu32 " bytes; 4096 is usual",
			      args->target, block_size);
	if (block_size % below->info.alignment)
		return refuse(why, -EINVAL, "%s: takes only multiples of %" PRIu32 " bytes, and blocks have %" PRIu32,
			      args->target, below->info.alignment, block_size);
	return 0;
}

/* The folder is asked, before anything is made in it. */
static int judge_place(const struct io_journal_device *d, const struct io_journal_args *args, struct bufio_reason *why)
{
	struct stat folder;

	if (fstat(d->folder, &folder))
		return refuse(why, -errno, "%s: its folder: %s", args->path, strerror(errno));
	if (args->stat && io_is_on("/sys", folder.st_dev, args->stat))
		return refuse(why, -EXDEV, "%s: would lie on %s, which it is the journal of; name a file "
			      "elsewhere", args->path, args->target);
	return 0;
}

/* It is kept open, because a name may be relative, and the program go elsewhere. */
static int open_folder(struct io_journal_device *d, struct bufio_reason *why)
{
	char *copy = strdup(d->path);
	int r = -ENOMEM;

	if (copy) {
		d->folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = d->folder < 0 ? -errno : 0;
	}
	free(copy);
	return r ? refuse(why, r, "%s: its folder: %s", d->path, strerror(-r)) : 0;
}

static int make_file(struct io_journal_device *d, const struct io_journal_args *args, struct bufio_reason *why)
{
	d->file.fd = openat(d->folder, d->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (d->file.fd >= 0)
		return 0;
	if (errno == EEXIST)
		return refuse(why, -EEXIST, "%s: is there already; if it is the journal of an earlier run, undo "
			      "or resume with it first, else name another file", args->path);
	return refuse(why, -errno, "%s: cannot be made: %s", args->path, strerror(errno));
}

static const char *temporary_folder(void)
{
	const char *folder = getenv("TMPDIR");

	return folder && *folder ? folder : "/tmp";
}

/* Not every file system has files without a name from the beginning. */
static int make_unnamed_file(struct io_journal_device *d, struct bufio_reason *why)
{
	char path[4096];

	d->file.fd = open(d->path, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
	if (d->file.fd < 0 && (size_t)snprintf(path, sizeof(path), "%s/bufio-plan-XXXXXX", d->path) < sizeof(path)) {
		d->file.fd = mkostemp(path, O_CLOEXEC);
		if (d->file.fd >= 0)
			unlink(path);
	}
	return d->file.fd >= 0 ? 0 : refuse(why, -errno, "%s: a file for the plan cannot be made there: %s; $TMPDIR may "
					    "name another folder", d->path, strerror(errno));
}

/* The name of a file is in its folder. EINVAL: folders need not be flushed here. */
static int sync_folder(const struct io_journal_device *d)
{
	return fsync(d->folder) && errno != EINVAL ? -errno : 0;
}

static int fill_file(struct io_journal_device *d, struct bufio_reason *why)
{
	int r = io_journal_file_lock(&d->file);

	if (!r)
		r = io_journal_file_create(&d->file);
	if (!r && !d->is_plan)
		r = sync_folder(d);
	if (!r)
		return 0;
	if (!d->is_plan)
		remove_file(d);
	return refuse(why, r, d->is_plan ? "%s: a file for the plan cannot be written there: %s; $TMPDIR may name another "
		      "folder" : "%s: cannot be written: %s", d->path, strerror(-r));
}

static void describe(struct io_journal_status *about, uint64_t size, uint32_t block_size,
		     const struct io_journal_args *args)
{
	about->block_size = block_size;
	about->target_size = size;
	snprintf(about->target, sizeof(about->target), "%s", args->target);
	if (args->stat) {
		about->target_dev = args->stat->st_dev;
		about->target_rdev = args->stat->st_rdev;
		about->target_ino = args->stat->st_ino;
	}
}

static struct io_journal_device *new_device(struct bufio_device *below, const struct io_journal_args *args)
{
	struct io_journal_device *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->dev.ops = &io_journal_ops;
	d->dev.info = below->info;
	d->dev.info.read_only = false;
	d->below = below;
	d->is_plan = !args->path;
	d->file.fd = d->folder = -1;
	d->max_bytes = args->max_bytes;
	d->memory = args->max_memory ? args->max_memory : UINT64_MAX;
	pthread_mutex_init(&d->working, NULL);
	pthread_mutex_init(&d->taking, NULL);
	pthread_mutex_init(&d->lock, NULL);
	io_queue_init(&d->done);
	d->path = strdup(d->is_plan ? temporary_folder() : args->path);
	if (!d->path) {
		free_device(d);
		return NULL;
	}
	d->file.path = d->path;
	d->name = strrchr(d->path, '/') ? strrchr(d->path, '/') + 1 : d->path;
	return d;
}

static int start(struct io_journal_device *d, const struct io_journal_args *args, struct bufio_reason *why)
{
	int r = d->is_plan ? make_unnamed_file(d, why) : open_folder(d, why);

	if (!r && !d->is_plan)
		r = judge_place(d, args, why);
	if (!r && !d->is_plan)
		r = make_file(d, args, why);
	return r ? r : fill_file(d, why);
}

int io_journal_begin(struct bufio_device *below, const struct io_journal_args *args, struct bufio_reason *why,
		     struct bufio_device **dev)
{
	uint32_t block_size = args->block_size ? args->block_size : IO_JOURNAL_BLOCK_SIZE;
	int r = judge(below, args, block_size, why);
	struct io_journal_device *d;

	if (r)
		return r;
	d = new_device(below, args);
	if (!d)
		return refuse(why, -ENOMEM, "%s: no memory for a journal", args->target);
	describe(&d->file.about, below->info.size, block_size, args);
	r = start(d, args, why);
	if (r)
		free_device(d);
	else
		*dev = &d->dev;
	return r;
}

/* --- commit --- */

static int compare(const void *a, const void *b, void *context)
{
	const struct io_journal_slot *slots = context;
	uint64_t x = slots[*(const uint32_t *)a].block, y = slots[*(const uint32_t *)b].block;

	return (x > y) - (x < y);
}

/* Slots by their blocks. */
static uint32_t *sorted(const struct io_journal_device *d)
{
	uint64_t nr = d->file.nr_slots;
	uint32_t *order = malloc(nr * sizeof(*order) + 1);

	if (!order)
		return NULL;
	for (uint64_t i = 0; i < nr; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, nr, sizeof(*order), compare, d->slots);
	return order;
}

/* A block that is again as it was has no record. */
static int write_record(struct io_journal_device *d, struct io_journal_table *t, uint32_t slot)
{
	const struct io_journal_slot *s = d->slots + slot;
	struct io_journal_record record = { s->block, slot, s->old_sum, s->new_sum };
	bool is_unchanged = false;
	int r = 0;

	if (s->old_sum == s->new_sum)
		r = io_journal_is_unchanged(&d->file, slot, &is_unchanged);
	if (r || is_unchanged)
		return r;
	return io_journal_table_add(t, &record);
}

/* One slot's images, if they differ. */
static int tell_change(struct io_journal_device *d, uint32_t slot,
		       int (*change)(void *context, uint64_t block, const void *old, const void *new), void *context)
{
	const struct io_journal_slot *s = d->slots + slot;
	struct io_journal_record record = { s->block, slot, s->old_sum, s->new_sum };
	struct io_journal_file *f = &d->file;
	int r = io_journal_load(f, &record, IO_JOURNAL_UNDO, f->current);

	if (!r)
		r = io_journal_load(f, &record, IO_JOURNAL_RESUME, f->images);
	if (r || !memcmp(f->current, f->images, f->about.block_size))
		return r;
	return change(context, s->block, f->current, f->images);
}

int io_journal_for_each_change(struct bufio_device *dev,
			       int (*change)(void *context, uint64_t block, const void *old, const void *new), void *context)
{
	struct io_journal_device *d = (struct io_journal_device *)dev;
	uint32_t *order;
	int r = 0;

	pthread_mutex_lock(&d->working);
	order = sorted(d);
	if (!order || d->phase > IO_JOURNAL_IS_BROKEN)
		r = order ? -EINVAL : -ENOMEM;
	for (uint64_t i = 0; i < d->file.nr_slots && !r; i++)
		r = tell_change(d, order[i], change, context);
	pthread_mutex_unlock(&d->working);
	free(order);
	return r;
}

static int write_table(struct io_journal_device *d)
{
	struct io_journal_table t = { .file = &d->file, .buffer = io_journal_memory() };
	uint32_t *order = sorted(d);
	int r = order && t.buffer ? 0 : -ENOMEM;

	for (uint64_t i = 0; i < d->file.nr_slots && !r; i++)
		r = write_record(d, &t, order[i]);
	if (!r)
		r = io_journal_table_end(&t);
	free(order);
	free(t.buffer);
	return r;
}

static int judge_commit(struct io_journal_device *d, struct bufio_reason *why)
{
	const struct io_journal_file *f = &d->file;

	if (d->is_plan)
		return refuse(why, -EINVAL, "%s: this is a plan alone; nothing was written", f->about.target);
	if (d->phase > IO_JOURNAL_IS_BROKEN)
		return refuse(why, -EINVAL, "%s: this transaction was committed before", f->path);
	if (d->phase == IO_JOURNAL_IS_BROKEN)
		return refuse(why, -EIO, "%s: the journal could not be written; nothing was written to %s", f->path,
			      f->about.target);
	if (d->below->info.size != f->about.target_size)
		return refuse(why, -ESTALE, "%s: its size is another now; nothing was written to it", f->about.target);
	return 0;
}

/* All that has to be on stable media before the target may be touched. */
static int write_journal(struct io_journal_device *d, struct bufio_reason *why)
{
	int r = write_table(d);

	if (!r)
		r = io_journal_file_verify(&d->file);
	if (!r)
		r = io_journal_file_mark(&d->file, IO_JOURNAL_COMMITTED);
	if (!r)
		return 0;
	io_journal_enter(d, IO_JOURNAL_IS_BROKEN);
	return refuse(why, r, "%s: cannot be written: %s; nothing was written to %s", d->file.path, strerror(-r),
		      d->file.about.target);
}

static int write_target(struct io_journal_device *d, struct bufio_reason *why)
{
	struct io_journal_file *f = &d->file;
	int r;

	f->why = why;
	r = io_journal_file_apply(f, d->below, IO_JOURNAL_RESUME);
	if (r)
		return r;
	r = io_journal_file_mark(f, IO_JOURNAL_DONE);
	return r ? refuse(why, r, "%s: cannot be marked: %s; %s is all written; resume or undo with %s", f->path,
			  strerror(-r), f->about.target, f->path) : 0;
}

int io_journal_commit(struct bufio_device *dev, struct bufio_reason *why)
{
	struct io_journal_device *d = (struct io_journal_device *)dev;
	int r;

	pthread_mutex_lock(&d->working);
	r = judge_commit(d, why);
	if (!r)
		r = write_journal(d, why);
	if (!r) {
		io_journal_enter(d, IO_JOURNAL_IS_COMMITTED);
		r = write_target(d, why);
		if (!r)
			io_journal_enter(d, IO_JOURNAL_IS_DONE);
	}
	pthread_mutex_unlock(&d->working);
	return r;
}

bool io_journal_is_committed(const struct bufio_device *dev)
{
	return ((const struct io_journal_device *)dev)->phase >= IO_JOURNAL_IS_COMMITTED;
}
