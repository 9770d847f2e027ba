// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Blocks in which one byte is wrong: the checksum says which (pd_block_find_flaw). What it makes of a node must be one that
 * can be where it is, or else the block stays dead.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "io/io_journal.h"
#include "meta/thin_disk.h"
#include "ops/repair_int.h"

/* Beyond that it is no accident. */
#define MAX_CORRECTED 4096

bool repair_make_overlay(struct op_repair *r)
{
	struct io_journal_args args = { .target = r->args->input };
	struct bufio_client *base = r->args->client;
	uint64_t floor = bufio_get_memory_floor(base), limit = bufio_get_memory_limit(base) - floor;
	struct bufio_reason why = { .text = "" };
	int e;

	if (r->overlay)
		return true;
	e = io_journal_begin(bufio_get_device(base), &args, &why, &r->overlay);
	if (e) {
		op_fail(r->result, OP_OUTPUT, e, "%s: %.4000s", r->args->input, why.text);
		return false;
	}
	bufio_client_reset(base);
	r->patched = bufio_client_create(r->overlay, PD_BLOCK_SIZE, REPAIR_HELD_BUFFERS, 0, NULL, NULL);
	if (!r->patched || bufio_set_memory_limit(base, floor) || bufio_set_memory_limit(r->patched, limit)) {
		op_fail(r->result, OP_INTERNAL, -ENOMEM, "out of memory");
		return false;
	}
	r->limit -= floor;
	r->source = r->patched;
	r->pool.reader.client = r->patched;
	return true;
}

/* No key, and no block, is there twice. */
static bool has_distinct_values(const struct pd_node *n)
{
	for (unsigned i = 0; i < n->nr; i++)
		for (unsigned j = i + 1; j < n->nr; j++)
			if (pd_value64(n, i) == pd_value64(n, j))
				return false;
	return true;
}

static bool is_plausible(const uint8_t *data, uint64_t block, enum pd_kind kind)
{
	struct pd_node n;
	struct problem p;

	if (kind != PD_NODE)
		return true;
	return pd_node_decode(data, block, 0, &n, &p) && (n.value_size != sizeof(le64) || has_distinct_values(&n));
}

static bool find_flaw(const void *data, uint64_t block, struct corrected *found)
{
	static const enum pd_kind kinds[] = { PD_NODE, PD_BITMAP, PD_INDEX, PD_THIN_SUPERBLOCK };
	uint8_t mended[PD_BLOCK_SIZE];

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if ((kinds[i] == PD_THIN_SUPERBLOCK && block) || !pd_block_find_flaw(data, kinds[i], block, &found->flaw))
			continue;
		memcpy(mended, data, sizeof(mended));
		mended[found->flaw.offset] ^= found->flaw.mask;
		found->block = block;
		found->kind = kinds[i];
		return is_plausible(mended, block, kinds[i]);
	}
	return false;
}

static int add(struct op_repair *r, const struct corrected *c)
{
	uint64_t memory = MAX_CORRECTED * sizeof(*c);
	int e;

	if (r->nr_corrected == MAX_CORRECTED)
		return -E2BIG;
	e = table_grow(&r->corrected, sizeof(*c), r->nr_corrected, &r->max_corrected, &memory);
	if (!e)
		r->corrected[r->nr_corrected++] = *c;
	return e;
}

void repair_suspect(void *context, uint64_t block, const void *data)
{
	struct op_repair *r = context;
	struct corrected c;

	if (!find_flaw(data, block, &c))
		return;
	pthread_mutex_lock(&r->lock);
	add(r, &c); /* what has no room stays dead */
	pthread_mutex_unlock(&r->lock);
}

static bool fail(struct op_repair *r, int e)
{
	op_fail_errno(r->result, r->args->input, e);
	return false;
}

static bool write_corrected(struct op_repair *r, const struct corrected *c)
{
	struct bufio_buffer *b;
	uint8_t *data = bufio_read(r->source, c->block, &b);
	int e;

	if (!data)
		return fail(r, -errno);
	data[c->flaw.offset] ^= c->flaw.mask;
	e = bufio_mark_buffer_dirty(b);
	bufio_release(b);
	return e ? fail(r, e) : true;
}

static int by_block(const void *a, const void *b)
{
	const struct corrected *x = a, *y = b;

	return x->block < y->block ? -1 : x->block > y->block;
}

bool repair_correct(struct op_repair *r, bool *changed)
{
	uint64_t first = r->overlay ? 1 : 0; /* block 0 was done before */

	*changed = r->nr_corrected > first;
	if (!*changed)
		return true;
	if (!repair_make_overlay(r))
		return false;
	for (uint64_t i = first; i < r->nr_corrected; i++)
		if (!write_corrected(r, &r->corrected[i]))
			return false;
	qsort(r->corrected, r->nr_corrected, sizeof(*r->corrected), by_block);
	return true;
}

/* Before the pool is opened. What cannot be read is no flaw of a byte. */
bool repair_correct_superblock(struct op_repair *r)
{
	struct corrected c;
	struct bufio_buffer *b;
	const void *data = bufio_read(r->source, 0, &b);
	bool found;

	if (!data)
		return true;
	found = pd_block_kind(data) == PD_UNKNOWN && find_flaw(data, 0, &c) && c.kind == PD_THIN_SUPERBLOCK;
	bufio_release(b);
	if (!found)
		return true;
	return !add(r, &c) && repair_make_overlay(r) && write_corrected(r, &c);
}
