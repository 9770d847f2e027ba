// SPDX-License-Identifier: LGPL-2.1-or-later
/* What changes the target, in the transaction. */
#include "ops/patch_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/table.h"

/* --- who wrote what --- */

/* Room for one more. */
static bool grow(struct patch *p, struct range **spans, uint64_t nr, uint64_t *max)
{
	int r = table_grow(spans, sizeof(**spans), nr, max, &p->memory);

	if (r)
		op_fail_errno(p->result, p->target->path, -ENOMEM);
	return !r;
}

/* The ranges @from to @to - 1 become one, with what is new. */
static bool put_written(struct patch *p, uint64_t from, uint64_t to, struct range bits)
{
	if (from == to) {
		if (!grow(p, &p->written, p->nr_written, &p->max_written))
			return false;
		memmove(&p->written[from + 1], &p->written[from], (p->nr_written++ - from) * sizeof(*p->written));
		p->written[from] = bits;
		return true;
	}
	if (p->written[from].begin < bits.begin)
		bits.begin = p->written[from].begin;
	if (p->written[to - 1].end > bits.end)
		bits.end = p->written[to - 1].end;
	memmove(&p->written[from + 1], &p->written[to], (p->nr_written - to) * sizeof(*p->written));
	p->nr_written -= to - from - 1;
	p->written[from] = bits;
	return true;
}

static bool is_fenced_off(const struct patch *p, uint64_t first, uint64_t last)
{
	for (uint64_t i = 0; i < p->nr_fences; i++)
		if (first >= p->fences[i].begin && last < p->fences[i].end)
			return false;
	return p->nr_fences;
}

/* Bits that an operation is about to write. */
static bool claim(struct patch *p, const struct script_op *op, const struct script_place *place, struct range bits)
{
	uint64_t block_bits = (uint64_t)p->block_size * 8, first = bits.begin / block_bits, last = (bits.end - 1) / block_bits;
	uint64_t from = range_find(p->written, p->nr_written, bits.begin), to = from;

	if (is_fenced_off(p, first, last))
		return patch_fail(p, OP_EXPECT, place, "would write block %" PRIu64 "%s, outside of the fence",
				  is_fenced_off(p, first, first) ? first : last, first == last ? "" : " and others");
	while (to < p->nr_written && p->written[to].begin < bits.end)
		to++;
	if (from < to && !op->is_override)
		return patch_fail(p, OP_USAGE, place, "writes what was written before, in block %" PRIu64
				  "; if that is meant, it ends with override", p->written[from].begin > bits.begin ?
				  p->written[from].begin / block_bits : first);
	from -= from && p->written[from - 1].end == bits.begin; /* neighbours become one */
	to += to < p->nr_written && p->written[to].begin == bits.end;
	return put_written(p, from, to, bits);
}

static bool claim_bytes(struct patch *p, const struct script_op *op, const struct patch_extent *x, uint64_t bytes)
{
	return claim(p, op, &op->to->place, (struct range){ x->begin * 8, (x->begin + bytes) * 8 });
}

bool patch_fence(struct patch *p, const struct script_op *op)
{
	struct patch_extent x;

	if (!patch_extent(p, op->to, &x) || !grow(p, &p->fences, p->nr_fences, &p->max_fences))
		return false;
	p->fences[p->nr_fences++] = (struct range){ x.first, x.first + x.nr };
	return true;
}

/* --- a block --- */

/* Held for writing; NULL: the result says why. */
static uint8_t *take(struct patch *p, uint64_t block, struct bufio_buffer **b)
{
	uint8_t *data = bufio_read(p->target->client, block, b);

	if (!data)
		patch_fail_block(p, p->target, block);
	return data;
}

static bool give(struct patch *p, struct bufio_buffer *b)
{
	uint64_t block = bufio_get_block_number(b);
	int r = bufio_mark_buffer_dirty(b);

	bufio_release(b);
	errno = -r;
	return !r || patch_fail_block(p, p->target, block);
}

/* The checksum of what the block is taken for; its own number is a field like others. */
static void seal(uint8_t *data, enum pd_kind kind)
{
	le_store(data, sizeof(uint32_t), pd_block_checksum(data, kind));
}

static bool has_checksum(enum pd_kind kind)
{
	return kind != PD_UNKNOWN && kind != PD_ZEROES;
}

/* --- operations --- */

/* A block that is sound would be sealed as something else, by a wrong number in a path most likely. */
static bool may_become(struct patch *p, const struct script_op *op, const uint8_t *data, const struct meta_place *place)
{
	enum pd_kind kind = pd_block_kind(data);

	return p->keeps_checksums || op->is_override || !has_checksum(kind) || kind == place->kind ||
	       patch_fail(p, OP_EXPECT, &op->field->place, "block %" PRIu64 " is a sound %s, and would become a %s; if that is "
			  "meant, it ends with override", place->block, pd_kind_name(kind), pd_kind_name(place->kind));
}

bool patch_set(struct patch *p, const struct script_op *op)
{
	struct patch_volume *v;
	struct meta_place place;
	struct bufio_buffer *b;
	uint64_t value, begin;
	uint8_t *data;

	if (!patch_place(p, op->field, &v, &place) || !patch_number(p, op->value, &value))
		return false;
	begin = (place.block * p->block_size + place.field.offset) * 8 + place.field.shift;
	if (!claim(p, op, &op->field->place, (struct range){ begin, begin + place.field.bits }))
		return false;
	data = take(p, place.block, &b);
	if (!data)
		return false;
	if (!may_become(p, op, data, &place)) {
		bufio_release(b);
		return false;
	}
	if (meta_field_store(data, &place.field, value)) {
		bufio_release(b);
		return patch_fail(p, OP_EXPECT, &op->value->place, "%" PRIu64 " does not fit into %u bits", value,
				  place.field.bits);
	}
	if (!p->keeps_checksums && place.field.offset) /* the checksum itself is what it was set to */
		seal(data, place.kind);
	return give(p, b);
}

/* The part of the bytes that lies in one block. */
static bool patch_block(struct patch *p, uint64_t block, uint32_t at, const uint8_t *bytes, uint32_t nr)
{
	struct bufio_buffer *b;
	uint8_t *data = take(p, block, &b);
	enum pd_kind kind;

	if (!data)
		return false;
	kind = p->block_size == PD_BLOCK_SIZE ? pd_block_kind(data) : PD_UNKNOWN;
	memcpy(data + at, bytes, nr);
	if (!p->keeps_checksums && has_checksum(kind) && at >= sizeof(uint32_t))
		seal(data, kind);
	return give(p, b);
}

bool patch_bytes(struct patch *p, const struct script_op *op)
{
	uint32_t size = op->bytes.size, n;
	struct patch_extent x;

	if (!patch_extent(p, op->to, &x) || !patch_was(p, &x, op))
		return false;
	if (x.end - x.begin < size)
		return patch_fail(p, OP_EXPECT, &op->to->place, "has room for %" PRIu64 " bytes, not for %" PRIu32,
				  x.end - x.begin, size);
	if (!claim_bytes(p, op, &x, size))
		return false;
	for (uint32_t done = 0; done < size; done += n) {
		uint64_t at = x.begin + done;

		n = p->block_size - (uint32_t)(at % p->block_size);
		n = n < size - done ? n : size - done;
		if (!patch_block(p, at / p->block_size, (uint32_t)(at % p->block_size), op->bytes.data + done, n))
			return false;
	}
	return true;
}

/* @data becomes the block. */
static bool put_block(struct patch *p, uint64_t block, const uint8_t *data)
{
	struct bufio_buffer *b;
	uint8_t *to = bufio_new(p->target->client, block, &b);

	if (!to)
		return patch_fail_block(p, p->target, block);
	memcpy(to, data, p->block_size);
	if (p->args->progress)
		p->args->progress->blocks++;
	return give(p, b);
}

static bool copy_block(struct patch *p, const struct patch_volume *from, uint64_t block, uint64_t to)
{
	struct bufio_buffer *b;
	const uint8_t *data = bufio_read(from->client, block, &b);

	if (!data)
		return patch_fail_block(p, from, block);
	memcpy(p->block, data, p->block_size);
	bufio_release(b);
	return put_block(p, to, p->block);
}

/* As memmove(3): blocks that lie in both are read before they are written. */
static bool copy_blocks(struct patch *p, const struct patch_extent *from, const struct patch_extent *to)
{
	bool is_downwards = from->volume == to->volume && from->first < to->first;

	for (uint64_t i = 0; i < from->nr; i++) {
		uint64_t at = is_downwards ? from->nr - 1 - i : i;

		if (i % 64 == 0 && !is_downwards)
			bufio_prefetch(from->volume->client, from->first + i, 128);
		if (!copy_block(p, from->volume, from->first + at, to->first + at))
			return false;
	}
	return true;
}

/* What was moved and lies nowhere now. */
static bool zero_moved(struct patch *p, const struct script_op *op, const struct patch_extent *from, uint64_t to)
{
	memset(p->block, 0, p->block_size);
	for (uint64_t i = 0; i < from->nr; i++) {
		uint64_t block = from->first + i;
		struct patch_extent x = { .begin = block * p->block_size };

		if (block >= to && block < to + from->nr)
			continue;
		if (!claim_bytes(p, op, &x, p->block_size) || !put_block(p, block, p->block))
			return false;
	}
	return true;
}

bool patch_copy(struct patch *p, const struct script_op *op)
{
	struct patch_extent from, to;

	if (!patch_extent(p, op->from, &from) || !patch_extent(p, op->to, &to))
		return false;
	if ((op->to->end || op->to->length) && to.nr != from.nr)
		return patch_fail(p, OP_EXPECT, &op->to->place, "has %" PRIu64 " blocks, and what is copied %" PRIu64, to.nr,
				  from.nr);
	if (from.nr > to.volume->nr_blocks - to.first)
		return patch_fail(p, OP_EXPECT, &op->to->place, "%s has %" PRIu64 " blocks, and this would go to block %" PRIu64,
				  to.volume->path, to.volume->nr_blocks, to.first + from.nr - 1);
	to.begin = to.first * p->block_size;
	if (!claim_bytes(p, op, &to, from.nr * p->block_size) || !copy_blocks(p, &from, &to))
		return false;
	return !op->has_zero || zero_moved(p, op, &from, to.first);
}

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

/* SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators". */
static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/*
 * The same bytes for the same seed and block, wherever the range begins. The seed is mixed too: else the bytes of one seed
 * were those of its neighbour, a few places on.
 */
static void fill_random(uint8_t *data, uint32_t size, uint64_t seed, uint64_t block)
{
	uint64_t state = mix(seed + GOLDEN) + block * size;

	for (uint32_t i = 0; i < size; i += sizeof(uint64_t))
		le_store(data + i, sizeof(uint64_t), mix(state += GOLDEN));
}

/* For when all is done; what the range stands for may be another by then. */
static bool remember_discard(struct patch *p, const struct patch_extent *x)
{
	if (!grow(p, &p->discards, p->nr_discards, &p->max_discards))
		return false;
	p->discards[p->nr_discards++] = (struct range){ x->first, x->first + x->nr };
	return true;
}

bool patch_fill(struct patch *p, const struct script_op *op)
{
	struct patch_extent x;
	uint64_t value = 0;

	if (!patch_extent(p, op->to, &x) || (op->value && !patch_number(p, op->value, &value)))
		return false;
	if (op->filling == FILL_BYTE && value > UINT8_MAX)
		return patch_fail(p, OP_EXPECT, &op->value->place, "%" PRIu64 " is not a byte", value);
	if (!claim_bytes(p, op, &x, x.end - x.begin) || (op->filling == FILL_DISCARD && !remember_discard(p, &x)))
		return false;
	memset(p->block, op->filling == FILL_BYTE ? (int)value : 0, p->block_size);
	for (uint64_t i = 0; i < x.nr; i++) {
		if (op->filling == FILL_RANDOM)
			fill_random(p->block, p->block_size, value, x.first + i);
		if (!put_block(p, x.first + i, p->block))
			return false;
	}
	return true;
}

bool patch_is_zero(struct patch *p, uint64_t block)
{
	struct bufio_buffer *b;
	const uint8_t *data = bufio_read(p->target->client, block, &b);
	bool is = data && bytes_are_zero(data, p->block_size);

	if (data)
		bufio_release(b);
	return is;
}

/* --- checksums --- */

static bool set_checksum(struct patch *p, const struct script_op *op, uint64_t block, uint64_t value)
{
	struct range bits = { block * p->block_size * 8, (block * p->block_size + sizeof(uint32_t)) * 8 };
	struct bufio_buffer *b;
	uint8_t *data;

	if (!claim(p, op, &op->to->place, bits))
		return false;
	data = take(p, block, &b);
	if (!data)
		return false;
	if (op->sealing == SEAL_AS)
		seal(data, patch_sealed_kind(op->kind));
	else
		le_store(data, sizeof(uint32_t), value);
	return give(p, b);
}

bool patch_checksum(struct patch *p, const struct script_op *op)
{
	struct patch_extent x;
	uint64_t value = 0;

	if (op->sealing == SEAL_AUTO || op->sealing == SEAL_KEEP) {
		p->keeps_checksums = op->sealing == SEAL_KEEP;
		return true;
	}
	if (!patch_extent(p, op->to, &x) || (op->sealing == SEAL_VALUE && !patch_number(p, op->value, &value)))
		return false;
	if (value > UINT32_MAX)
		return patch_fail(p, OP_EXPECT, &op->value->place, "%" PRIu64 " does not fit into 32 bits", value);
	for (uint64_t i = 0; i < x.nr; i++)
		if (!set_checksum(p, op, x.first + i, value))
			return false;
	return true;
}

/* --- saving --- */

static int write_on(void *context, const void *data, size_t size)
{
	struct text_out *o = context;

	text_put(o, data, size);
	return o->error;
}

/* The next bytes of the file are these. */
static int compare_on(void *context, const void *data, size_t size)
{
	const uint8_t *wanted = data;
	uint8_t found[PD_BLOCK_SIZE];

	while (size) {
		ssize_t n = read(*(int *)context, found, size < sizeof(found) ? size : sizeof(found));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n || (n > 0 && memcmp(found, wanted, (size_t)n) != 0))
			return -EEXIST;
		wanted += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static bool fail_saving(struct patch *p, const struct script_op *op, int error)
{
	return patch_fail(p, error == -EEXIST ? OP_REFUSED : OP_OUTPUT, &op->place, "%s: %s", op->text, error == -EEXIST ?
			  "is there already, and something else is in it; remove it, or name another file" : strerror(-error));
}

static bool save_blocks(struct patch *p, const struct script_op *op, const struct patch_extent *x,
			int (*put)(void *context, const void *data, size_t size), void *context)
{
	for (uint64_t i = (x->begin / p->block_size) - x->first; i < x->nr; i++) {
		uint64_t block = x->first + i, from = block * p->block_size;
		uint32_t skip = from < x->begin ? (uint32_t)(x->begin - from) : 0;
		struct bufio_buffer *b;
		const uint8_t *data = bufio_read(x->volume->client, block, &b);
		int r;

		if (!data)
			return patch_fail_block(p, x->volume, block);
		r = put(context, data + skip, p->block_size - skip);
		bufio_release(b);
		if (r)
			return fail_saving(p, op, r);
	}
	return true;
}

/* A plan saves too, so when it is applied the file is there, and must be the same. */
static bool save_again(struct patch *p, const struct script_op *op, const struct patch_extent *x)
{
	int fd = open(op->text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint8_t more;
	bool ok;

	if (fd < 0)
		return fail_saving(p, op, -errno);
	ok = save_blocks(p, op, x, compare_on, &fd);
	if (ok && read(fd, &more, 1) != 0)
		ok = fail_saving(p, op, -EEXIST);
	close(fd);
	return ok;
}

bool patch_save(struct patch *p, const struct script_op *op)
{
	struct text_out out;
	struct patch_extent x;
	int fd, r = 0;
	bool ok;

	if (!patch_extent(p, op->from, &x))
		return false;
	fd = open(op->text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return errno == EEXIST ? save_again(p, op, &x) : fail_saving(p, op, -errno);
	text_out_init(&out, fd);
	ok = save_blocks(p, op, &x, write_on, &out);
	if (ok)
		r = text_out_flush(&out);
	if (ok && !r && fsync(fd))
		r = -errno;
	close(fd);
	if (!ok || r)
		unlink(op->text);
	return r ? fail_saving(p, op, r) : ok;
}
