// SPDX-License-Identifier: LGPL-2.1-or-later
/* What must be so, or the script ends before anything is written. */
#include "ops/patch_int.h"

#include <errno.h>
#include <gcrypt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/xxh3.h"
#include "meta/meta.h"

/* --- blocks, one after the other --- */

/* @begin to @end - 1: the bytes of this block that the extent has. What is not true ends it. */
typedef bool (*visit_fn)(struct patch *p, void *context, uint64_t block, const uint8_t *data, uint32_t begin, uint32_t end);

static bool for_each_block(struct patch *p, const struct patch_extent *x, struct bufio_client *client, visit_fn visit,
			   void *context)
{
	for (uint64_t i = x->begin / p->block_size - x->first; i < x->nr; i++) {
		uint64_t block = x->first + i, from = block * p->block_size;
		struct bufio_buffer *b;
		const uint8_t *data;
		bool ok;

		bufio_prefetch(client, block, x->nr - i < 64 ? x->nr - i : 64);
		data = bufio_read(client, block, &b);
		if (!data)
			return patch_fail_block(p, x->volume, block);
		ok = visit(p, context, block, data, from < x->begin ? (uint32_t)(x->begin - from) : 0, p->block_size);
		bufio_release(b);
		if (!ok)
			return false;
	}
	return true;
}

/* --- bytes --- */

struct wanted {
	const struct script_op *op;
	const struct script_place *place;
	const uint8_t *data;
	uint64_t size, at; /* at: of them, seen so far */
};

static bool compare_bytes(struct patch *p, void *context, uint64_t block, const uint8_t *data, uint32_t begin, uint32_t end)
{
	struct wanted *w = context;
	uint64_t n = end - begin < w->size - w->at ? end - begin : w->size - w->at;
	char expected[BYTES_HEX_MAX], found[BYTES_HEX_MAX];
	uint64_t i = 0;

	while (i < n && data[begin + i] == w->data[w->at + i])
		i++;
	if (i < n)
		return patch_fail(p, OP_EXPECT, w->place, "expected %s, and block %" PRIu64 " has %s at byte %" PRIu64,
				  bytes_hex(w->data + w->at + i, n - i, expected), block, bytes_hex(data + begin + i, n - i, found), begin + i);
	w->at += n;
	return true;
}

/* As many bytes of the extent as there are wanted ones. */
static bool has_bytes(struct patch *p, const struct patch_extent *x, const struct script_bytes *bytes,
		      const struct script_place *place)
{
	struct wanted w = { .place = place, .data = bytes->data, .size = bytes->size };
	struct patch_extent part = *x;

	if (x->end - x->begin < bytes->size)
		return patch_fail(p, OP_EXPECT, place, "%" PRIu32 " bytes are expected where there are %" PRIu64, bytes->size,
				  x->end - x->begin);
	part.end = x->begin + bytes->size;
	part.nr = (part.end - 1) / p->block_size - part.first + 1;
	return for_each_block(p, &part, x->volume->client, compare_bytes, &w);
}

bool patch_was(struct patch *p, const struct patch_extent *x, const struct script_op *op)
{
	return !op->was.size || has_bytes(p, x, &op->was, &op->place);
}

static bool compare_zero(struct patch *p, void *context, uint64_t block, const uint8_t *data, uint32_t begin, uint32_t end)
{
	const struct script_op *op = context;

	for (uint32_t i = begin; i < end; i++)
		if (data[i])
			return patch_fail(p, OP_EXPECT, &op->place, "expected zeroes, and block %" PRIu64 " has %02x at byte %" PRIu32,
					  block, data[i], i);
	return true;
}

struct twin {
	const struct script_op *op;
	const struct patch_volume *volume;
	struct patch_extent other;
	uint64_t first;
};

static bool compare_twin(struct patch *p, void *context, uint64_t block, const uint8_t *data, uint32_t begin, uint32_t end)
{
	struct twin *t = context;
	uint64_t other = t->other.first + (block - t->first);
	struct bufio_buffer *b;
	const uint8_t *twin;
	uint32_t i = begin;

	twin = bufio_read(t->other.volume->client, other, &b);
	if (!twin)
		return patch_fail_block(p, t->other.volume, other);
	while (i < end && data[i] == twin[i])
		i++;
	bufio_release(b);
	return i == end || patch_fail(p, OP_EXPECT, &t->op->place, "block %" PRIu64 " of %s is not as block %" PRIu64
				      " of %s: they differ at byte %" PRIu32, block, t->volume->path, other,
				      t->other.volume->path, i);
}

static bool expect_same(struct patch *p, const struct script_op *op, const struct patch_extent *x)
{
	struct twin t = { .op = op, .volume = x->volume, .first = x->first };

	if (!patch_extent(p, op->to, &t.other))
		return false;
	if (t.other.nr != x->nr || t.other.has_at || x->has_at)
		return patch_fail(p, OP_EXPECT, &op->place, "as many whole blocks are compared on both sides, not %" PRIu64
				  " with %" PRIu64, x->nr, t.other.nr);
	return for_each_block(p, x, x->volume->client, compare_twin, &t);
}

/* --- digests --- */

#define DIGEST_MAX 32

struct digest {
	XXH3_state_t *xxh3;
	gcry_md_hd_t sha256;
};

static bool add_to_digest(struct patch *p, void *context, uint64_t block, const uint8_t *data, uint32_t begin, uint32_t end)
{
	struct digest *d = context;

	(void)p;
	(void)block;
	if (d->xxh3)
		XXH3_64bits_update(d->xxh3, data + begin, end - begin);
	else
		gcry_md_write(d->sha256, data + begin, end - begin);
	return true;
}

static bool open_digest(struct digest *d, enum script_hash hash)
{
	*d = (struct digest){ 0 };
	if (hash == HASH_SHA256)
		return gcry_check_version(NULL) && !gcry_md_open(&d->sha256, GCRY_MD_SHA256, 0);
	d->xxh3 = XXH3_createState();
	return d->xxh3 && XXH3_64bits_reset(d->xxh3) == XXH_OK;
}

/* Bytes as people write them, the highest first. */
static unsigned close_digest(struct digest *d, uint8_t found[DIGEST_MAX])
{
	XXH64_canonical_t canonical;

	if (d->sha256) {
		memcpy(found, gcry_md_read(d->sha256, GCRY_MD_SHA256), 32);
		gcry_md_close(d->sha256);
		return 32;
	}
	XXH64_canonicalFromHash(&canonical, XXH3_64bits_digest(d->xxh3));
	memcpy(found, canonical.digest, sizeof(canonical.digest));
	XXH3_freeState(d->xxh3);
	return sizeof(canonical.digest);
}

static bool has_digest(struct patch *p, const struct patch_extent *x, enum script_hash hash, const struct script_bytes *wanted,
		       const struct script_place *place)
{
	char text[2][2 * DIGEST_MAX + 1] = { "", "" };
	uint8_t found[DIGEST_MAX];
	struct digest d;
	unsigned size;
	bool ok;

	if (!open_digest(&d, hash))
		return patch_fail(p, OP_INTERNAL, place, "no memory for a digest");
	ok = for_each_block(p, x, x->volume->client, add_to_digest, &d);
	size = close_digest(&d, found);
	if (!ok || (size == wanted->size && !memcmp(found, wanted->data, size)))
		return ok;
	for (unsigned i = 0; i < size; i++)
		sprintf(text[0] + 2 * i, "%02x", found[i]);
	for (unsigned i = 0; i < wanted->size && i < DIGEST_MAX; i++)
		sprintf(text[1] + 2 * i, "%02x", wanted->data[i]);
	return patch_fail(p, OP_EXPECT, place, "expected the digest %s, and found %s", text[1], text[0]);
}

/* --- checksums and kinds --- */

static bool compare_checksum(struct patch *p, void *context, uint64_t block, const uint8_t *data, uint32_t begin,
			     uint32_t end)
{
	const struct script_op *op = context;
	enum pd_kind kind = pd_block_kind(data);
	bool is_good = kind != PD_UNKNOWN && kind != PD_ZEROES, wanted = op->expectation == EXPECT_CSUM_OK;

	(void)begin;
	(void)end;
	return is_good == wanted ||
	       patch_fail(p, OP_EXPECT, &op->place, "block %" PRIu64 " has a %s checksum (%s)", block, is_good ? "good" : "bad",
			  pd_kind_name(kind));
}

struct kinds {
	const struct script_op *op;
	enum op_outcome outcome;
};

static bool compare_kind(struct patch *p, void *context, uint64_t block, const uint8_t *data, uint32_t begin, uint32_t end)
{
	const struct kinds *k = context;
	enum pd_kind kind = pd_block_kind(data);
	uint64_t number = pd_stored_number(data, kind);

	(void)begin;
	(void)end;
	if (!(patch_kinds(k->op->kind) >> kind & 1))
		return patch_fail(p, k->outcome, &k->op->kind_place, "block %" PRIu64 " is not %s, but: %s", block, k->op->kind,
				  pd_kind_name(kind));
	if (kind != PD_UNKNOWN && kind != PD_ZEROES && number != block)
		return patch_fail(p, k->outcome, &k->op->kind_place, "block %" PRIu64 " (%s) says that it is block %" PRIu64, block,
				  pd_kind_name(kind), number);
	return true;
}

static bool has_kind(struct patch *p, const struct script_op *op, const struct patch_extent *x, struct bufio_client *client,
		     enum op_outcome outcome)
{
	struct kinds k = { op, outcome };

	return for_each_block(p, x, client, compare_kind, &k);
}

/* --- numbers --- */

static bool holds(enum script_compare how, uint64_t a, uint64_t b)
{
	switch (how) {
	case COMPARE_EQ: return a == b;
	case COMPARE_NE: return a != b;
	case COMPARE_LT: return a < b;
	case COMPARE_LE: return a <= b;
	case COMPARE_GT: return a > b;
	default: return a >= b;
	}
}

static bool expect_numbers(struct patch *p, const struct script_op *op)
{
	static const char *const names[] = {
		[COMPARE_EQ] = "=", [COMPARE_NE] = "!=", [COMPARE_LT] = "<", [COMPARE_LE] = "<=", [COMPARE_GT] = ">",
		[COMPARE_GE] = ">=",
	};
	uint64_t a, b;

	if (!patch_number(p, op->value, &a) || !patch_number(p, op->value2, &b))
		return false;
	return holds(op->compare, a, b) || patch_fail(p, OP_EXPECT, &op->value->place, "%" PRIu64 " %s %" PRIu64
						      " does not hold", a, names[op->compare], b);
}

/* --- all --- */

bool patch_expect(struct patch *p, const struct script_op *op)
{
	struct patch_extent x;

	if (op->expectation == EXPECT_COMPARE)
		return expect_numbers(p, op);
	if (!patch_extent(p, op->from, &x))
		return false;
	switch (op->expectation) {
	case EXPECT_BYTES: return has_bytes(p, &x, &op->bytes, &op->place);
	case EXPECT_ZERO: return for_each_block(p, &x, x.volume->client, compare_zero, (void *)op);
	case EXPECT_SAME: return expect_same(p, op, &x);
	case EXPECT_HASH: return has_digest(p, &x, op->hash, &op->bytes, &op->place);
	case EXPECT_KIND: return has_kind(p, op, &x, x.volume->client, OP_EXPECT);
	default: return for_each_block(p, &x, x.volume->client, compare_checksum, (void *)op);
	}
}

/* "thin-metadata" is the format "thin-pool metadata". */
static bool identify_kind(struct patch *p, struct patch_volume *v)
{
	static const struct {
		const char *word;
		enum pd_kind superblock;
	} formats[] = {
		{ "thin-metadata", PD_THIN_SUPERBLOCK }, { "cache-metadata", PD_CACHE_SUPERBLOCK },
		{ "era-metadata", PD_ERA_SUPERBLOCK },
	};
	const struct meta_format *format;
	struct bufio_buffer *b;
	const void *data = bufio_read(v->client, 0, &b);

	if (!data)
		return patch_fail_block(p, v, 0);
	format = meta_probe(data);
	bufio_release(b);
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		if (format && format->superblock == formats[i].superblock && !strcmp(formats[i].word, v->script->kind))
			return true;
	return patch_fail(p, OP_EXPECT, &v->script->kind_place, "%s is not %s, but %s; is it the right one?", v->path,
			  v->script->kind, format ? format->name : "no metadata of a known kind");
}

static bool identify(struct patch *p, struct patch_volume *v)
{
	const struct script_volume *s = v->script;
	struct patch_extent all = { .volume = v, .nr = v->nr_blocks, .end = v->nr_blocks * p->block_size };

	if (s->has_blocks && s->blocks != v->nr_blocks)
		return patch_fail(p, OP_EXPECT, &s->place, "%s has %" PRIu64 " blocks, not %" PRIu64 "; is it the right one?",
				  v->path, v->nr_blocks, s->blocks);
	if (s->kind && !identify_kind(p, v))
		return false;
	if (s->has_hash && !has_digest(p, &all, s->hash, &s->digest, &s->place))
		return false;
	for (unsigned i = 0; i < s->nr_where; i++)
		if (!expect_numbers(p, &s->where[i]))
			return false;
	return true;
}

bool patch_identify(struct patch *p)
{
	for (unsigned i = 0; i < p->script->nr_volumes; i++)
		if (!identify(p, &p->volumes[i]))
			return false;
	return true;
}

bool patch_verify(struct patch *p, struct bufio_client *client, enum op_outcome outcome)
{
	for (unsigned i = 0; i < p->script->nr_ops; i++) {
		const struct script_op *op = &p->script->ops[i];
		struct patch_extent x;

		if (op->verb == SCRIPT_VERIFY && (!patch_extent(p, op->to, &x) || !has_kind(p, op, &x, client, outcome)))
			return false;
	}
	return true;
}
