// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/block_diff.h"

#include <stdio.h>

#include "base/bytes.h"
#include "pdata/space_map.h"

#define A_FEW_BYTES 64
#define GAP 8        /* equal bytes that end a range */

unsigned meta_diff_bytes(const void *left, const void *right)
{
	const uint8_t *l = left, *r = right;
	unsigned nr = 0;

	for (unsigned i = 0; i < PD_BLOCK_SIZE; i++)
		nr += l[i] != r[i];
	return nr;
}

enum pd_kind meta_diff_kind(const void *left, const void *right)
{
	enum pd_kind l = pd_block_kind(left), r = pd_block_kind(right);

	if (l == r)
		return l;
	if ((l != PD_UNKNOWN && r != PD_UNKNOWN) || meta_diff_bytes(left, right) > A_FEW_BYTES)
		return PD_UNKNOWN;
	return l == PD_UNKNOWN ? r : l;
}

/* --- fields --- */

/* A visitor of the fields of one block. */
struct collector {
	struct meta_visitor visitor;
	struct meta_block_diff *diff;
	const uint8_t *left, *right;
};

static int ignore(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)v;
	(void)kind;
	(void)record;
	return 0;
}

/* The bytes that are shown of a field tell its length; what has none, or no name, is no field of its own. */
static unsigned field_length(const struct record_field *f)
{
	return *f->name ? (unsigned)(strlen(f->hex) + 1) / 3 : 0;
}

static const char *text_of(const struct record_field *f)
{
	return *f->value ? f->value : f->hex;
}

static int collect_left(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct meta_block_diff *d = ((struct collector *)v)->diff;
	const struct record_field *f = record;
	unsigned length = field_length(f);
	struct meta_diff_field *field = &d->fields[d->nr_fields];

	(void)kind;
	if (!length || d->nr_fields == META_DIFF_FIELDS || f->offset + length > PD_BLOCK_SIZE)
		return 0;
	snprintf(field->name, sizeof(field->name), "%s", f->name);
	snprintf(field->text, sizeof(field->text), "%s", text_of(f));
	field->offset = (unsigned)f->offset;
	field->length = length;
	field->is_paired = false;
	d->at[f->offset] = (uint16_t)++d->nr_fields;
	memset(d->is_field + f->offset, true, length);
	return 0;
}

static int compare_right(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct collector *c = (struct collector *)v;
	struct meta_block_diff *d = c->diff;
	const struct record_field *f = record;
	unsigned length = field_length(f);
	struct meta_difference what = { .offset = (unsigned)f->offset, .length = length, .name = f->name };
	struct meta_diff_field *left;

	(void)kind;
	if (!length || f->offset + length > PD_BLOCK_SIZE)
		return 0;
	left = d->at[f->offset] ? &d->fields[d->at[f->offset] - 1] : NULL;
	memset(d->is_field + f->offset, true, length);
	what.right = text_of(f);
	if (left && !strcmp(left->name, f->name) && left->length == length) {
		left->is_paired = true;
		if (!memcmp(c->left + f->offset, c->right + f->offset, length))
			return 0;
		what.left = left->text;
	}
	return d->difference(d, &what);
}

static int tell_left_fields(struct meta_block_diff *d)
{
	int r = 0;

	for (unsigned i = 0; i < d->nr_fields && !r; i++) {
		const struct meta_diff_field *f = &d->fields[i];

		if (!f->is_paired)
			r = d->difference(d, &(struct meta_difference){ f->offset, f->length, f->name, f->text, NULL });
	}
	return r;
}

static int diff_fields(struct meta_block_diff *d, enum pd_kind kind, const uint8_t *left, const uint8_t *right)
{
	struct collector c = { { ignore, collect_left, ignore, NULL }, d, left, right };
	int r;

	meta_visit_block_as(left, PD_BLOCK_SIZE, 0, kind, &c.visitor);
	c.visitor.record = compare_right;
	r = meta_visit_block_as(right, PD_BLOCK_SIZE, 0, kind, &c.visitor);
	return r ? r : tell_left_fields(d);
}

/* --- counts of a bitmap --- */

/* Runs of entries that went from the same count to the same other one. */
static int diff_counts(struct meta_block_diff *d, const void *left, const void *right)
{
	static const char *const counts[] = { "0", "1", "2", "3 or more" };
	const unsigned start = PD_BLOCK_SIZE - sizeof(((struct pd_bitmap_disk *)0)->counts);
	char name[META_DIFF_NAME];
	int r = 0;

	memset(d->is_field + start, true, PD_BLOCK_SIZE - start);
	for (unsigned i = 0, end; i < PD_BITMAP_ENTRIES && !r; i = end) {
		unsigned l = pd_bitmap_count(left, i), k = pd_bitmap_count(right, i);

		for (end = i + 1; end < PD_BITMAP_ENTRIES; end++)
			if (pd_bitmap_count(left, end) != l || pd_bitmap_count(right, end) != k)
				break;
		if (l == k)
			continue;
		if (end == i + 1)
			snprintf(name, sizeof(name), "count[%u]", i);
		else
			snprintf(name, sizeof(name), "count[%u..%u]", i, end - 1);
		r = d->difference(d, &(struct meta_difference){ start + i / 4, (end - 1) / 4 - i / 4 + 1, name,
								counts[l], counts[k] });
	}
	return r;
}

/* --- bytes --- */

static int tell_bytes(struct meta_block_diff *d, const uint8_t *left, const uint8_t *right, unsigned begin, unsigned end)
{
	char l[BYTES_HEX_MAX], r[BYTES_HEX_MAX];

	bytes_hex(left + begin, end - begin, l);
	bytes_hex(right + begin, end - begin, r);
	return d->difference(d, &(struct meta_difference){ begin, end - begin, NULL, l, r });
}

static int diff_rest(struct meta_block_diff *d, const uint8_t *left, const uint8_t *right)
{
	unsigned begin = 0, end = 0; /* of a range; empty: none yet */
	int r = 0;

	for (unsigned i = 0; i < PD_BLOCK_SIZE && !r; i++) {
		bool differs = !d->is_field[i] && left[i] != right[i];

		if (begin != end && (d->is_field[i] || i >= end + GAP)) {
			r = tell_bytes(d, left, right, begin, end);
			begin = end;
		}
		if (differs && begin == end)
			begin = i;
		if (differs)
			end = i + 1;
	}
	return r || begin == end ? r : tell_bytes(d, left, right, begin, end);
}

int meta_diff_blocks(struct meta_block_diff *d, enum pd_kind kind, const void *left, const void *right)
{
	bool has_fields = kind != PD_UNKNOWN && kind != PD_ZEROES;
	int r = 0;

	d->nr_fields = 0;
	memset(d->at, 0, sizeof(d->at));
	memset(d->is_field, 0, sizeof(d->is_field));
	if (has_fields)
		r = diff_fields(d, kind, left, right);
	if (!r && kind == PD_BITMAP)
		r = diff_counts(d, left, right);
	return r ? r : diff_rest(d, left, right);
}
