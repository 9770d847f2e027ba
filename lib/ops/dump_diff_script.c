// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * diff --as-script: what turns the left image into the right one, for bufio-copy --script.
 *
 * Each block's statements are tried out here: fields are set in a copy of the left block, and what is not right then is
 * patched byte by byte, so that the script does what it is to do whatever the blocks hold.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xxh3.h"
#include "meta/block_diff.h"
#include "meta/meta.h"
#include "ops/dump_int.h"
#include "text/script.h"

#define AHEAD 64 /* blocks of the right image that are read in advance */
#define GAP 8    /* equal bytes that one more patch would take more room than */

struct script_writer {
	struct meta_block_diff blocks; /* first: a difference finds its writer by it */
	struct dump *d;
	uint64_t block;
	enum pd_kind kind;
	const char *path; /* in front of a field's name */
	const uint8_t *right;
	uint8_t work[PD_BLOCK_SIZE]; /* the left block, as far as the statements have brought it */
	bool is_set[PD_BLOCK_SIZE];
};

static int fail(struct script_writer *w, enum op_outcome outcome, const char *image, uint64_t block, const char *why)
{
	op_fail(w->d->result, outcome, 0, "%s: block %" PRIu64 ": %s; the script is not complete", image, block, why);
	return -ECANCELED;
}

/* --- fields --- */

/* How a script names blocks of a kind, whatever their checksum is at the time. */
static const char *const paths[NR_PD_KINDS] = {
	[PD_NODE] = "node", [PD_BITMAP] = "bitmap", [PD_INDEX] = "index", [PD_ARRAY] = "array",
};

static bool is_superblock(enum pd_kind kind)
{
	return kind == PD_THIN_SUPERBLOCK || kind == PD_CACHE_SUPERBLOCK || kind == PD_ERA_SUPERBLOCK;
}

/* What the statements so far have left of block 0 may not be told to be a superblock any more; then there is no path to it. */
static bool has_path(const struct script_writer *w)
{
	const struct meta_format *format = meta_probe(w->work);

	return !is_superblock(w->kind) || (format && format->superblock == w->kind);
}

/* It is all that differs in its bytes: counts share theirs, and what is left over is patched byte by byte. */
static bool is_alone(const struct script_writer *w, const struct meta_field *f, uint64_t value)
{
	uint8_t after[PD_BLOCK_SIZE];

	memcpy(after + f->offset, w->work + f->offset, f->size);
	meta_field_store(after, f, value);
	return !memcmp(after + f->offset, w->right + f->offset, f->size);
}

/* A superblock has to be known for one when it is the statement's turn; nodes and others are what the path says. */
static bool is_found(const struct script_writer *w)
{
	const struct meta_format *format = is_superblock(w->kind) ? meta_probe(w->work) : NULL;

	return !is_superblock(w->kind) || (format && format->superblock == w->kind);
}

/* A field that both blocks have in the same place. */
static int set_field(struct meta_block_diff *blocks, const struct meta_difference *what)
{
	struct script_writer *w = (struct script_writer *)blocks;
	struct text_out *o = &w->d->out;
	struct meta_field now, later;
	uint64_t value;

	if (!what->name || !what->left || !what->right || !is_found(w) || meta_field_find(w->work, w->kind, what->name, &now) ||
	    meta_field_find(w->right, w->kind, what->name, &later) || now.offset != later.offset || now.size != later.size)
		return 0; /* its bytes are patched */
	value = meta_field_load(w->right, &later);
	if (!has_path(w) || !is_alone(w, &now, value))
		return 0;
	text_printf(o, "set %s%s = %" PRIu64 "  # was %" PRIu64 "\n", w->path, what->name, value,
		    meta_field_load(w->work, &now));
	meta_field_store(w->work, &now, value);
	memset(w->is_set + now.offset, true, now.size);
	return o->error;
}

static int set_fields(struct script_writer *w, const void *left)
{
	char path[48];

	w->kind = meta_diff_kind(left, w->right);
	if (is_superblock(w->kind) && !w->block)
		snprintf(path, sizeof(path), "sb.");
	else if (paths[w->kind])
		snprintf(path, sizeof(path), "%s(%" PRIu64 ").", paths[w->kind], w->block);
	else
		return 0;
	w->path = path;
	return meta_diff_blocks(&w->blocks, w->kind, left, w->right);
}

/* --- bytes --- */

static bool differs(const struct script_writer *w, unsigned at)
{
	return w->work[at] != w->right[at];
}

/* Behind the last byte of a run that differs, with gaps that no field was set in. */
static unsigned end_of_run(const struct script_writer *w, unsigned begin)
{
	unsigned end = begin + 1;

	for (unsigned at = end; at < PD_BLOCK_SIZE && at < end + GAP && !w->is_set[at]; at++)
		if (differs(w, at))
			end = at + 1;
	return end;
}

static void patch_run(struct script_writer *w, unsigned begin, unsigned end)
{
	static const char digits[] = "0123456789abcdef";
	struct text_out *o = &w->d->out;

	text_printf(o, "patch T[%" PRIu64 "]@%u hex \"", w->block, begin);
	for (unsigned i = begin; i < end; i++)
		text_put(o, (char[]){ digits[w->right[i] >> 4], digits[w->right[i] & 15] }, 2);
	text_puts(o, "\"\n");
	memcpy(w->work + begin, w->right + begin, end - begin);
}

static void patch_rest(struct script_writer *w)
{
	for (unsigned at = 0; at < PD_BLOCK_SIZE; at++)
		if (differs(w, at))
			patch_run(w, at, end_of_run(w, at));
}

/* --- blocks --- */

static void expect(struct script_writer *w, const void *block, const char *what)
{
	text_printf(&w->d->out, "expect T[%" PRIu64 "] hash xxh3:%016" PRIx64 "  # %s\n", w->block,
		    (uint64_t)XXH3_64bits(block, PD_BLOCK_SIZE), what);
}

static int write_block(struct script_writer *w, const uint8_t *left)
{
	int r = 0;

	memcpy(w->work, left, PD_BLOCK_SIZE);
	memset(w->is_set, false, sizeof(w->is_set));
	text_printf(&w->d->out, "\n# block %" PRIu64 ": %s\n", w->block, pd_kind_name(pd_block_kind(w->right)));
	expect(w, left, "as it is");
	if (pd_block_kind(w->right) == PD_ZEROES)
		text_printf(&w->d->out, "fill T[%" PRIu64 "] zero\n", w->block);
	else if (!(r = set_fields(w, left)))
		patch_rest(w);
	expect(w, w->right, "as it is to be");
	w->d->result->differs = true;
	return r ? r : w->d->out.error;
}

/* What bufio-copy would not read is no script. */
static int judge_length(struct script_writer *w)
{
	const struct text_out *o = &w->d->out;

	if (o->written + o->len <= SCRIPT_MAX_BYTES)
		return 0;
	return fail(w, OP_USAGE, w->d->args->image, w->block, "up to here they differ in more than the 16MiB that a script "
		    "may have: copy blocks instead");
}

static int compare_block(void *context, uint64_t block, const void *left, int error)
{
	struct script_writer *w = context;
	const struct op_dump_args *a = w->d->args;
	struct bufio_buffer *b;
	int r = 0;

	dump_advance(w->d, 1);
	if (block % AHEAD == 0)
		bufio_prefetch(a->client2, block, 2 * AHEAD);
	if (!left)
		return fail(w, OP_INPUT, a->image, block, strerror(-error));
	w->block = block;
	w->right = bufio_read(a->client2, block, &b);
	if (!w->right)
		return fail(w, OP_INPUT, a->image2, block, strerror(errno));
	if (memcmp(left, w->right, PD_BLOCK_SIZE) != 0)
		r = write_block(w, left);
	bufio_release(b);
	if (!r)
		r = judge_length(w);
	return r;
}

static uint64_t size_of(struct bufio_client *client)
{
	return bufio_device_describe(bufio_get_device(client))->size;
}

/* Nothing in a script makes a volume larger or smaller. */
static bool judge_sizes(struct dump *d)
{
	uint64_t left = size_of(d->args->client), right = size_of(d->args->client2);

	if (left == right && left % PD_BLOCK_SIZE == 0)
		return true;
	op_fail(d->result, OP_USAGE, 0, "%s has %" PRIu64 " bytes and %s %" PRIu64 ": a script is for images of one size, in "
		"whole blocks of 4KiB", d->args->image, left, d->args->image2, right);
	return false;
}

/* The name of a file, which may be any bytes; a script is UTF-8, and has one statement a line. */
static void put_name(struct text_out *o, const char *name)
{
	for (; *name; name++)
		text_put(o, *name >= ' ' && *name <= '~' ? name : "?", 1);
}

static void write_head(struct script_writer *w)
{
	const struct op_dump_args *a = w->d->args;

	text_puts(&w->d->out, "bpatch 1\n# turns ");
	put_name(&w->d->out, a->image);
	text_puts(&w->d->out, " into ");
	put_name(&w->d->out, a->image2);
	text_printf(&w->d->out, "\nblock-size 4KiB\ntarget T blocks=%" PRIu64 "\nchecksum keep\n",
		    bufio_get_device_size(a->client));
}

int dump_diff_script(struct dump *d)
{
	struct script_writer *w;
	struct bufio_scan scan = { .block = compare_block, .nr_blocks = bufio_get_device_size(d->args->client), .in_order = true };
	int r;

	if (!judge_sizes(d))
		return 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->d = d;
	w->blocks.difference = set_field;
	scan.context = w;
	dump_share_limit(d);
	dump_expect(d, scan.nr_blocks);
	write_head(w);
	r = bufio_scan(d->args->client, &scan);
	free(w);
	return r == -ECANCELED && d->result->outcome != OP_DONE ? 0 : r;
}
