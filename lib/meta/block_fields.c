// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/block_fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "meta/thin_disk.h"
#include "pdata/btree.h"
#include "pdata/space_map.h"

#define HEX_BYTES BYTES_HEX_SHOWN /* in a line */

struct layout {
	const char *name;
	uint16_t offset;
	uint8_t size;
	char how; /* d decimal, x hexadecimal, b bytes, s text */
};

static const struct layout thin_superblock[] = {
	{ "csum", 0, 4, 'x' }, { "flags", 4, 4, 'x' }, { "blocknr", 8, 8, 'd' }, { "uuid", 16, 16, 'b' },
	{ "magic", 32, 8, 'd' }, { "version", 40, 4, 'd' }, { "time", 44, 4, 'd' }, { "trans_id", 48, 8, 'd' },
	{ "held_root", 56, 8, 'd' },
	{ "data_sm.nr_blocks", 64, 8, 'd' }, { "data_sm.nr_allocated", 72, 8, 'd' },
	{ "data_sm.bitmap_root", 80, 8, 'd' }, { "data_sm.ref_count_root", 88, 8, 'd' },
	{ "metadata_sm.nr_blocks", 192, 8, 'd' }, { "metadata_sm.nr_allocated", 200, 8, 'd' },
	{ "metadata_sm.bitmap_root", 208, 8, 'd' }, { "metadata_sm.ref_count_root", 216, 8, 'd' },
	{ "data_mapping_root", 320, 8, 'd' }, { "device_details_root", 328, 8, 'd' },
	{ "data_block_size", 336, 4, 'd' }, { "metadata_block_size", 340, 4, 'd' },
	{ "metadata_nr_blocks", 344, 8, 'd' }, { "compat_flags", 352, 4, 'x' }, { "compat_ro_flags", 356, 4, 'x' },
	{ "incompat_flags", 360, 4, 'x' }, { 0 },
};

static const struct layout cache_superblock[] = {
	{ "csum", 0, 4, 'x' }, { "flags", 4, 4, 'x' }, { "blocknr", 8, 8, 'd' }, { "uuid", 16, 16, 'b' },
	{ "magic", 32, 8, 'd' }, { "version", 40, 4, 'd' }, { "policy_name", 44, 16, 's' },
	{ "policy_hint_size", 60, 4, 'd' },
	{ "metadata_sm.nr_blocks", 64, 8, 'd' }, { "metadata_sm.nr_allocated", 72, 8, 'd' },
	{ "metadata_sm.bitmap_root", 80, 8, 'd' }, { "metadata_sm.ref_count_root", 88, 8, 'd' },
	{ "mapping_root", 192, 8, 'd' }, { "hint_root", 200, 8, 'd' }, { "discard_root", 208, 8, 'd' },
	{ "discard_block_size", 216, 8, 'd' }, { "discard_nr_blocks", 224, 8, 'd' },
	{ "data_block_size", 232, 4, 'd' }, { "metadata_block_size", 236, 4, 'd' }, { "cache_blocks", 240, 4, 'd' },
	{ "compat_flags", 244, 4, 'x' }, { "compat_ro_flags", 248, 4, 'x' }, { "incompat_flags", 252, 4, 'x' },
	{ "read_hits", 256, 4, 'd' }, { "read_misses", 260, 4, 'd' }, { "write_hits", 264, 4, 'd' },
	{ "write_misses", 268, 4, 'd' }, { "policy_version[0]", 272, 4, 'd' }, { "policy_version[1]", 276, 4, 'd' },
	{ "policy_version[2]", 280, 4, 'd' }, { "dirty_root", 284, 8, 'd' }, { 0 },
};

static const struct layout era_superblock[] = {
	{ "csum", 0, 4, 'x' }, { "flags", 4, 4, 'x' }, { "blocknr", 8, 8, 'd' }, { "uuid", 16, 16, 'b' },
	{ "magic", 32, 8, 'd' }, { "version", 40, 4, 'd' },
	{ "metadata_sm.nr_blocks", 44, 8, 'd' }, { "metadata_sm.nr_allocated", 52, 8, 'd' },
	{ "metadata_sm.bitmap_root", 60, 8, 'd' }, { "metadata_sm.ref_count_root", 68, 8, 'd' },
	{ "data_block_size", 172, 4, 'd' }, { "metadata_block_size", 176, 4, 'd' }, { "nr_blocks", 180, 4, 'd' },
	{ "current_era", 184, 4, 'd' }, { "current_writeset.nr_bits", 188, 4, 'd' },
	{ "current_writeset.root", 192, 8, 'd' }, { "writeset_tree_root", 200, 8, 'd' },
	{ "era_array_root", 208, 8, 'd' }, { "metadata_snap", 216, 8, 'd' }, { 0 },
};

static const struct layout node_header[] = {
	{ "csum", 0, 4, 'x' }, { "flags", 4, 4, 'x' }, { "blocknr", 8, 8, 'd' }, { "nr_entries", 16, 4, 'd' },
	{ "max_entries", 20, 4, 'd' }, { "value_size", 24, 4, 'd' }, { "padding", 28, 4, 'x' }, { 0 },
};

static const struct layout index_header[] = {
	{ "csum", 0, 4, 'x' }, { "padding", 4, 4, 'x' }, { "blocknr", 8, 8, 'd' }, { 0 },
};

static const struct layout bitmap_header[] = {
	{ "csum", 0, 4, 'x' }, { "not_used", 4, 4, 'x' }, { "blocknr", 8, 8, 'd' }, { 0 },
};

static const struct layout array_header[] = {
	{ "csum", 0, 4, 'x' }, { "max_entries", 4, 4, 'd' }, { "nr_entries", 8, 4, 'd' }, { "value_size", 12, 4, 'd' },
	{ "blocknr", 16, 8, 'd' }, { 0 },
};

/* Values of nodes and index entries, by their size. */
static const struct layout value_u64[] = { { "", 0, 8, 'd' }, { 0 } };
static const struct layout value_u32[] = { { "", 0, 4, 'd' }, { 0 } };
static const struct layout value_index[] = {
	{ ".blocknr", 0, 8, 'd' }, { ".nr_free", 8, 4, 'd' }, { ".none_free_before", 12, 4, 'd' }, { 0 },
};
static const struct layout value_details[] = {
	{ ".mapped_blocks", 0, 8, 'd' }, { ".transaction_id", 8, 8, 'd' }, { ".creation_time", 16, 4, 'd' },
	{ ".snapshotted_time", 20, 4, 'd' }, { 0 },
};
static const struct layout value_writeset[] = { { ".nr_bits", 0, 4, 'd' }, { ".root", 4, 8, 'd' }, { 0 } };

static const struct layout *value_layout(uint32_t size)
{
	switch (size) {
	case 4: return value_u32;
	case 8: return value_u64;
	case 12: return value_writeset;
	case 16: return value_index;
	case 24: return value_details;
	default: return NULL;
	}
}

/* One block on its way to the visitor. */
struct view {
	const uint8_t *data;
	unsigned size;
	struct meta_visitor *v;
	int error;
};

static void put_line(struct view *w, unsigned offset, const char *hex, const char *name, const char *value)
{
	struct record_field f = { .offset = offset, .hex = hex, .name = name, .value = value };

	if (!w->error)
		w->error = w->v->record(w->v, RECORD_FIELD, &f);
}

static void put(struct view *w, unsigned offset, unsigned size, const char *name, const char *value)
{
	char hex[BYTES_HEX_MAX];

	bytes_hex(w->data + offset, size < HEX_BYTES ? size : HEX_BYTES, hex);
	put_line(w, offset, hex, name, value);
}

/* Bytes of a stranger, on somebody's terminal. */
static void printable(const uint8_t *p, unsigned size, char *out, size_t room)
{
	unsigned n = 0;

	for (; n < size && n + 1 < room && p[n]; n++)
		out[n] = p[n] >= 0x20 && p[n] < 0x7F ? (char)p[n] : '.';
	out[n] = '\0';
}

static void value_text(const uint8_t *p, const struct layout *l, char *out, size_t room)
{
	if (l->how == 'd')
		snprintf(out, room, "%" PRIu64, le_load(p, l->size));
	else if (l->how == 'x')
		snprintf(out, room, "0x%" PRIx64, le_load(p, l->size));
	else if (l->how == 's')
		printable(p, l->size, out, room);
	else
		*out = '\0';
}

/* The fields of @l for the structure at @base, each named @prefix and its own name. */
static void put_layout(struct view *w, const struct layout *l, unsigned base, const char *prefix)
{
	char name[64], value[64];

	for (; l->name; l++) {
		snprintf(name, sizeof(name), "%s%s", prefix, l->name);
		value_text(w->data + base + l->offset, l, value, sizeof(value));
		put(w, base + l->offset, l->size, name, value);
	}
}

/* The rest as it is, equal lines once, as hexdump(1) does it. */
static void put_raw(struct view *w, unsigned offset)
{
	bool squeezing = false;
	unsigned start = offset;

	for (; offset < w->size; offset += HEX_BYTES) {
		unsigned n = w->size - offset < HEX_BYTES ? w->size - offset : HEX_BYTES;

		if (offset > start && offset + n < w->size &&
		    !memcmp(w->data + offset, w->data + offset - HEX_BYTES, n)) {
			if (!squeezing)
				put_line(w, offset, "*", "", "");
			squeezing = true;
			continue;
		}
		squeezing = false;
		put(w, offset, n, "", "");
	}
}

/*
 * A leaf value of 8 bytes is the root of a device (small) or a mapping (40 bits of data block, 24 of time): nothing in
 * the node tells which, so both readings are given where both are possible.
 */
static void put_u64_value(struct view *w, const struct pd_node *n, unsigned i, const char *name)
{
	uint64_t v = pd_value64(n, i);
	char value[96];

	if (n->is_leaf && v >> THIN_TIME_BITS)
		snprintf(value, sizeof(value), "%" PRIu64 " = data block %" PRIu64 ", time %" PRIu64, v,
			 v >> THIN_TIME_BITS, v & THIN_TIME_MASK);
	else
		snprintf(value, sizeof(value), "%" PRIu64, v);
	put(w, (unsigned)(pd_value(n, i) - w->data), 8, name, value);
}

static void put_node(struct view *w)
{
	struct problem p = { 0 };
	struct pd_node n;
	bool is_sound = pd_node_decode(w->data, 0, 0, &n, &p) || p.code == PROBLEM_NODE_KEY_ORDER;

	put_layout(w, node_header, 0, "");
	if (!is_sound) {
		put_raw(w, sizeof(struct pd_node_disk));
		return;
	}
	for (unsigned i = 0; i < n.nr && !w->error; i++) {
		const struct layout *l = value_layout(n.value_size);
		char name[32], key[24];

		snprintf(name, sizeof(name), "key[%u]", i);
		snprintf(key, sizeof(key), "%" PRIu64, pd_key(&n, i));
		put(w, (unsigned)(n.keys - w->data) + 8 * i, 8, name, key);
		snprintf(name, sizeof(name), "value[%u]", i);
		if (l == value_u64)
			put_u64_value(w, &n, i, name);
		else if (l)
			put_layout(w, l, (unsigned)(pd_value(&n, i) - w->data), name);
		else
			put(w, (unsigned)(pd_value(&n, i) - w->data), n.value_size, name, "");
	}
}

static void put_index(struct view *w)
{
	const struct pd_index_disk *d = (const void *)w->data;
	char name[32];

	put_layout(w, index_header, 0, "");
	for (unsigned i = 0; i < PD_INDEX_ENTRIES && !w->error; i++) {
		if (!le64_get(d->entries[i].blocknr))
			continue; /* not in use */
		snprintf(name, sizeof(name), "entry[%u]", i);
		put_layout(w, value_index, (unsigned)((const uint8_t *)&d->entries[i] - w->data), name);
	}
}

/* Runs of equal counts: 16320 lines would help nobody. */
static void put_bitmap(struct view *w)
{
	const struct pd_bitmap_disk *d = (const void *)w->data;
	char name[48];

	put_layout(w, bitmap_header, 0, "");
	for (unsigned i = 0, end; i < PD_BITMAP_ENTRIES && !w->error; i = end) {
		unsigned count = pd_bitmap_count(d, i);

		for (end = i + 1; end < PD_BITMAP_ENTRIES && pd_bitmap_count(d, end) == count; end++)
			;
		if (end == i + 1)
			snprintf(name, sizeof(name), "count[%u]", i);
		else
			snprintf(name, sizeof(name), "count[%u..%u]", i, end - 1);
		put(w, (unsigned)sizeof(*d) - (unsigned)sizeof(d->counts) + i / 4, 0, name,
		    (const char *[]){ "0", "1", "2", "3 or more" }[count]);
	}
}

static void put_array(struct view *w)
{
	const struct pd_array_disk *d = (const void *)w->data;
	uint32_t nr = le32_get(d->nr_entries), size = le32_get(d->value_size);
	const struct layout *l = size == 4 || size == 8 ? value_layout(size) : NULL;
	char name[32];

	put_layout(w, array_header, 0, "");
	if (!l || nr > (w->size - sizeof(*d)) / size) {
		put(w, sizeof(*d), 8, "", ""); /* to a line of 16 */
		put_raw(w, sizeof(*d) + 8);
		return;
	}
	for (uint32_t i = 0; i < nr && !w->error; i++) {
		snprintf(name, sizeof(name), "value[%" PRIu32 "]", i);
		put_layout(w, l, (unsigned)sizeof(*d) + size * i, name);
	}
}

static void put_fields(struct view *w, enum pd_kind kind)
{
	switch (kind) {
	case PD_NODE: put_node(w); break;
	case PD_BITMAP: put_bitmap(w); break;
	case PD_INDEX: put_index(w); break;
	case PD_ARRAY: put_array(w); break;
	case PD_THIN_SUPERBLOCK: put_layout(w, thin_superblock, 0, ""); break;
	case PD_CACHE_SUPERBLOCK: put_layout(w, cache_superblock, 0, ""); break;
	case PD_ERA_SUPERBLOCK: put_layout(w, era_superblock, 0, ""); break;
	default: put_raw(w, 0); break;
	}
}

static void state_text(const void *data, unsigned size, uint64_t block, enum pd_kind kind, char *out, size_t room)
{
	uint64_t number = pd_stored_number(data, kind);

	if (kind == PD_ZEROES)
		snprintf(out, room, "no checksum");
	else if (kind == PD_UNKNOWN)
		snprintf(out, room, "%s", size == PD_BLOCK_SIZE ? "checksum fits nothing" : "not a metadata block's size");
	else if (number == block)
		snprintf(out, room, "checksum good, block number good");
	else
		snprintf(out, room, "checksum good, but it says that it is block %" PRIu64, number);
}

int meta_visit_block_as(const void *data, unsigned size, uint64_t block, enum pd_kind kind, struct meta_visitor *v)
{
	char state[96];
	struct view w = { .data = data, .size = size, .v = v };
	struct record_block record = {
		.block = block,
		.kind = size == PD_BLOCK_SIZE ? pd_kind_name(kind) : "raw bytes",
		.checksum = pd_stored_checksum(data),
		.state = state,
	};
	int r;

	state_text(data, size, block, kind, state, sizeof(state));
	r = v->begin(v, RECORD_BLOCK, &record);
	if (r)
		return r;
	put_fields(&w, kind);
	return w.error ? w.error : v->end(v, RECORD_BLOCK, &record);
}

int meta_visit_block(const void *data, unsigned size, uint64_t block, struct meta_visitor *v)
{
	return meta_visit_block_as(data, size, block, size == PD_BLOCK_SIZE ? pd_block_kind(data) : PD_UNKNOWN, v);
}

/* --- fields by their names --- */

/* Parts of a value of 8 bytes that is a mapping. */
static const struct value_part {
	const char *name;
	unsigned shift, bits;
} value_parts[] = {
	{ ".data", THIN_TIME_BITS, 64 - THIN_TIME_BITS }, { ".time", 0, THIN_TIME_BITS },
};

#define NR_VALUE_PARTS (sizeof(value_parts) / sizeof(*value_parts))

/* "value[3].data" is PREFIX value, index 3, suffix ".data". */
struct indexed {
	char prefix[16];
	uint64_t index;
	const char *suffix;
};

static bool split(const char *name, struct indexed *x)
{
	size_t length = strcspn(name, "[");
	char *end;

	if (!name[length] || length >= sizeof(x->prefix) || name[length + 1] < '0' || name[length + 1] > '9')
		return false;
	memcpy(x->prefix, name, length);
	x->prefix[length] = '\0';
	errno = 0;
	x->index = strtoull(name + length + 1, &end, 10);
	x->suffix = end + 1;
	return !errno && *end == ']';
}

static int take_layout(const struct layout *l, unsigned base, const char *name, struct meta_field *f)
{
	for (; l->name; l++) {
		if (strcmp(l->name, name) != 0)
			continue;
		if (l->how == 'b' || l->how == 's')
			return -EINVAL;
		*f = (struct meta_field){ base + l->offset, l->size, 0, 8u * l->size, false };
		return 0;
	}
	return -ENOENT;
}

static int take_part(unsigned base, const char *name, struct meta_field *f)
{
	for (size_t i = 0; i < NR_VALUE_PARTS; i++)
		if (!strcmp(value_parts[i].name, name)) {
			*f = (struct meta_field){ base, 8, value_parts[i].shift, value_parts[i].bits, false };
			return 0;
		}
	return -ENOENT;
}

static int take_value(uint32_t size, bool may_be_mapping, unsigned base, const char *suffix, struct meta_field *f)
{
	const struct layout *l = value_layout(size);
	int r = l ? take_layout(l, base, suffix, f) : -ENOENT;

	return r == -ENOENT && size == 8 && may_be_mapping ? take_part(base, suffix, f) : r;
}

/* Of any kind of value, where there is no node that would say which. */
static int check_value(const char *suffix)
{
	static const uint32_t sizes[] = { 4, 8, 12, 16, 24 };
	struct meta_field f;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		if (!take_value(sizes[i], true, 0, suffix, &f))
			return 0;
	return -ENOENT;
}

static int find_in_node(const uint8_t *data, const struct indexed *x, struct meta_field *f)
{
	bool is_key = !strcmp(x->prefix, "key");
	struct problem p = { 0 };
	struct pd_node n;

	if (is_key ? *x->suffix : strcmp(x->prefix, "value") != 0)
		return -ENOENT;
	if (!data)
		return is_key ? 0 : check_value(x->suffix);
	if (!pd_node_decode(data, 0, 0, &n, &p) && p.code != PROBLEM_NODE_KEY_ORDER)
		return -EBADMSG;
	if (x->index >= n.nr)
		return -ERANGE;
	if (is_key) {
		*f = (struct meta_field){ (unsigned)(n.keys - data) + 8 * (unsigned)x->index, 8, 0, 64, false };
		return 0;
	}
	return take_value(n.value_size, n.is_leaf, (unsigned)(pd_value(&n, (unsigned)x->index) - data), x->suffix, f);
}

static int find_in_index(const uint8_t *data, const struct indexed *x, struct meta_field *f)
{
	const size_t base = offsetof(struct pd_index_disk, entries);

	(void)data;
	if (strcmp(x->prefix, "entry") != 0)
		return -ENOENT;
	if (x->index >= PD_INDEX_ENTRIES)
		return -ERANGE;
	return take_layout(value_index, (unsigned)(base + x->index * sizeof(struct pd_index_entry_disk)), x->suffix, f);
}

static int find_in_bitmap(const uint8_t *data, const struct indexed *x, struct meta_field *f)
{
	(void)data;
	if (strcmp(x->prefix, "count") != 0 || *x->suffix)
		return -ENOENT;
	if (x->index >= PD_BITMAP_ENTRIES)
		return -ERANGE;
	*f = (struct meta_field){ (unsigned)(offsetof(struct pd_bitmap_disk, counts) + x->index / 4), 1,
				  (unsigned)x->index % 4 * 2, 2, true };
	return 0;
}

static int find_in_array(const uint8_t *data, const struct indexed *x, struct meta_field *f)
{
	const struct pd_array_disk *d = (const void *)data;
	uint32_t nr, size;

	if (strcmp(x->prefix, "value") != 0 || *x->suffix)
		return -ENOENT;
	if (!d)
		return 0;
	nr = le32_get(d->nr_entries);
	size = le32_get(d->value_size);
	if ((size != 4 && size != 8) || nr > (PD_BLOCK_SIZE - sizeof(*d)) / size)
		return -EBADMSG;
	if (x->index >= nr)
		return -ERANGE;
	*f = (struct meta_field){ (unsigned)(sizeof(*d) + x->index * size), size, 0, 8 * size, false };
	return 0;
}

/* By kind: the fields that are always there, and those that have a number. */
static const struct named_fields {
	const struct layout *header;
	int (*find)(const uint8_t *data, const struct indexed *x, struct meta_field *f);
} named_fields[NR_PD_KINDS] = {
	[PD_NODE] = { node_header, find_in_node },
	[PD_BITMAP] = { bitmap_header, find_in_bitmap },
	[PD_INDEX] = { index_header, find_in_index },
	[PD_ARRAY] = { array_header, find_in_array },
	[PD_THIN_SUPERBLOCK] = { thin_superblock, NULL },
	[PD_CACHE_SUPERBLOCK] = { cache_superblock, NULL },
	[PD_ERA_SUPERBLOCK] = { era_superblock, NULL },
};

int meta_field_find(const void *data, enum pd_kind kind, const char *name, struct meta_field *field)
{
	const struct named_fields *fields = &named_fields[kind];
	struct indexed x;
	int r = fields->header ? take_layout(fields->header, 0, name, field) : -ENOENT;

	return r == -ENOENT && fields->find && split(name, &x) ? fields->find(data, &x, field) : r;
}

int meta_field_check(enum pd_kind kind, const char *name)
{
	struct meta_field f;
	int r = meta_field_find(NULL, kind, name, &f);

	return r == -ERANGE ? -ENOENT : r;
}

/* A count as it is stored, or the other way. */
static uint64_t swap_bits(uint64_t count)
{
	return (count & 1) << 1 | (count >> 1 & 1);
}

static uint64_t mask_of(const struct meta_field *f)
{
	return f->bits == 64 ? UINT64_MAX : (UINT64_C(1) << f->bits) - 1;
}

uint64_t meta_field_load(const void *data, const struct meta_field *f)
{
	uint64_t v = le_load((const uint8_t *)data + f->offset, f->size) >> f->shift & mask_of(f);

	return f->is_count ? swap_bits(v) : v;
}

int meta_field_store(void *data, const struct meta_field *f, uint64_t value)
{
	uint8_t *at = (uint8_t *)data + f->offset;
	uint64_t v, mask = mask_of(f);

	if (value > mask)
		return -ERANGE;
	value = f->is_count ? swap_bits(value) : value;
	v = (le_load(at, f->size) & ~(mask << f->shift)) | value << f->shift;
	le_store(at, f->size, v);
	return 0;
}
