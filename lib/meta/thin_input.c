// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_input.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/table.h"
#include "meta/thin_disk.h"
#include "meta/thin_size.h"

struct shape {
	uint64_t mapped;      /* all mappings */
	uint64_t first, last; /* virtual blocks, if there are mappings */
};

#define ID_PAGE 4096
#define ID_PAGES (THIN_MAX_DEVICES / 8 / ID_PAGE)

struct thin_input {
	struct meta_visitor visitor; /* first: calls find the rest by it */
	struct meta_visitor *next;
	struct thin_input_args args;
	char reason[THIN_INPUT_REASON_MAX];
	uint64_t nr_data_blocks; /* mappings are below */
	uint32_t time;           /* of the pool */
	struct shape open;       /* of the def or device */
	uint64_t begin;          /* of the last mapping or reference in it */
	struct shape *defs;
	uint64_t nr_defs, max_defs;
	uint8_t *ids[ID_PAGES]; /* a bit for each id that there was; pages that are needed */
};

static struct thin_input *input_of(struct meta_visitor *v)
{
	return (struct thin_input *)v;
}

__attribute__((format(printf, 2, 3))) static int refuse(struct thin_input *in, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(in->reason, sizeof(in->reason), format, args);
	va_end(args);
	return -EINVAL;
}

/* --- the superblock --- */

static bool is_uuid(const char *text)
{
	size_t len = text ? strlen(text) : 0;

	return len <= 16 || (len == 32 && strspn(text, "0123456789abcdefABCDEF") == 32);
}

/* What the kernel would refuse, or go wrong with. */
static int judge_fields(struct thin_input *in, const struct record_superblock *sb)
{
	if (!is_uuid(sb->uuid))
		return refuse(in, "uuid: is neither 32 hexadecimal digits nor at most 16 characters");
	if (!sb->version || sb->version > THIN_VERSION_MAX)
		return refuse(in, "version: %" PRIu32 " is not known, only 1 and 2 are", sb->version);
	if (sb->flags & ~THIN_FLAG_NEEDS_CHECK)
		return refuse(in, "flags: %" PRIu32 " is neither 0 nor 1 (needs_check)", sb->flags);
	if (sb->time > THIN_TIME_MASK)
		return refuse(in, "time: %" PRIu32 " does not fit into the 24 bits that mappings have for it", sb->time);
	if (!thin_is_data_block_size(sb->data_block_size))
		return refuse(in, "data_block_size: %" PRIu32 " sectors are not a multiple of 128 up to 2097152",
			      sb->data_block_size);
	return 0;
}

static int judge_superblock(struct thin_input *in, const struct record_superblock *sb)
{
	if (sb->nr_data_blocks > THIN_MAX_DATA_BLOCKS)
		return refuse(in, "nr_data_blocks: %" PRIu64 " are more than the %" PRIu64 " that a pool can have",
			      sb->nr_data_blocks, THIN_MAX_DATA_BLOCKS);
	if (pd_bitmaps(sb->nr_data_blocks) >= PD_MAX_METADATA_BLOCKS)
		return refuse(in, "nr_data_blocks: the space map alone of %" PRIu64 " data blocks takes more than the "
			      "largest metadata there can be", sb->nr_data_blocks);
	if (!in->nr_data_blocks && in->args.unknown_data_blocks == DATA_BLOCKS_MUST_BE_KNOWN)
		return refuse(in, "nr_data_blocks: is 0, as in XML of a metadata snapshot: give --nr-data-blocks, or a file "
			      "instead of a pipe");
	return in->args.is_lenient ? 0 : judge_fields(in, sb);
}

/*
 * A metadata snapshot does not know the size of the data device: its XML says 0. Then it is as large as it has to be, and
 * the kernel lets it grow to the device that it is given.
 */
static void choose_data_size(struct thin_input *in, struct record_superblock *sb)
{
	bool is_unknown = !sb->nr_data_blocks;

	if (is_unknown && in->args.unknown_data_blocks == DATA_BLOCKS_ARE_GIVEN)
		sb->nr_data_blocks = in->args.data_blocks;
	in->nr_data_blocks = sb->nr_data_blocks;
	if (is_unknown && in->args.unknown_data_blocks == DATA_BLOCKS_MAY_BE_ANY)
		in->nr_data_blocks = THIN_MAX_DATA_BLOCKS;
}

static int begin_superblock(struct thin_input *in, const struct record_superblock *given)
{
	const struct thin_overrides *o = &in->args.overrides;
	struct record_superblock sb = *given;
	int r;

	if (o->has_transaction)
		sb.transaction = o->transaction;
	if (o->data_block_size)
		sb.data_block_size = o->data_block_size;
	if (o->nr_data_blocks)
		sb.nr_data_blocks = o->nr_data_blocks;
	choose_data_size(in, &sb);
	r = judge_superblock(in, &sb);
	in->time = sb.time;
	return r ? r : in->next->begin(in->next, RECORD_SUPERBLOCK, &sb);
}

/* --- devices and defs --- */

/* 1: the id is new, and noted; 0: it was there; -ENOMEM. */
static int note_id(struct thin_input *in, uint64_t id)
{
	uint8_t **page = &in->ids[id / 8 / ID_PAGE], *byte, bit = (uint8_t)(1u << id % 8);

	if (!*page)
		*page = calloc(1, ID_PAGE);
	if (!*page)
		return -ENOMEM;
	byte = *page + id / 8 % ID_PAGE;
	if (*byte & bit)
		return 0;
	*byte |= bit;
	return 1;
}

static int judge_device(struct thin_input *in, const struct record_device *d)
{
	int r;

	if (d->dev_id >= THIN_MAX_DEVICES)
		return refuse(in, "dev_id: %" PRIu64 " is not below %" PRIu64, d->dev_id, THIN_MAX_DEVICES);
	r = note_id(in, d->dev_id);
	if (!r)
		return refuse(in, "dev_id: there was a device %" PRIu64 " before", d->dev_id);
	return r < 0 ? r : 0;
}

static int input_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct thin_input *in = input_of(v);
	int r = 0;

	if (kind == RECORD_SUPERBLOCK)
		return begin_superblock(in, record);
	if (kind == RECORD_DEVICE)
		r = judge_device(in, record);
	in->open = (struct shape){ 0 };
	return r ? r : in->next->begin(in->next, kind, record);
}

/* --- mappings --- */

/* Appends what begins and ends there. */
static int append(struct thin_input *in, const char *attribute, const struct shape *s)
{
	struct shape *open = &in->open;

	if (open->mapped && s->first >= in->begin && s->first <= open->last)
		return refuse(in, "%s: virtual block %" PRIu64 " is mapped twice", attribute, s->first);
	if (open->mapped && s->first <= open->last)
		return refuse(in, "%s: virtual block %" PRIu64 " comes after %" PRIu64 ": they have to rise", attribute,
			      s->first, open->last);
	if (!open->mapped)
		open->first = s->first;
	in->begin = s->first;
	open->last = s->last;
	open->mapped += s->mapped;
	return 0;
}

static int refuse_data(struct thin_input *in, const char *attribute, const struct record_mapping *m)
{
	if (m->length > 1)
		return refuse(in, "%s: %" PRIu64 " blocks from %" PRIu64 " on reach past the end of the data device, which "
			      "has %" PRIu64, attribute, m->length, m->data_begin, in->nr_data_blocks);
	return refuse(in, "%s: %" PRIu64 " lies past the end of the data device, which has %" PRIu64 " blocks", attribute,
		      m->data_begin, in->nr_data_blocks);
}

static int judge_mapping(struct thin_input *in, enum record_kind kind, const struct record_mapping *m)
{
	bool is_range = kind == RECORD_RANGE;
	struct shape s = { .mapped = m->length, .first = m->origin_begin, .last = m->origin_begin + m->length - 1 };
	uint64_t data_last = m->data_begin + m->length - 1;

	if (!m->length)
		return refuse(in, "length: is 0");
	if (s.last < s.first || s.last == UINT64_MAX)
		return refuse(in, "%s: %" PRIu64 " virtual blocks from %" PRIu64 " on reach past the last that there can be",
			      is_range ? "length" : "origin_block", m->length, s.first);
	if (data_last < m->data_begin || data_last >= in->nr_data_blocks)
		return refuse_data(in, is_range ? "data_begin" : "data_block", m);
	if (m->time > THIN_TIME_MASK)
		return refuse(in, "time: %" PRIu32 " does not fit into the 24 bits of a mapping", m->time);
	if (m->time > in->time && !in->args.is_lenient)
		return refuse(in, "time: %" PRIu32 " is later than the pool's, which is %" PRIu32 ": a new snapshot would not "
			      "keep what this block holds; the time of <superblock> must not be below", m->time, in->time);
	return append(in, is_range ? "origin_begin" : "origin_block", &s);
}

static int judge_ref(struct thin_input *in, const struct record_def *ref)
{
	const struct shape *def;

	if (!ref->name || ref->name > in->nr_defs)
		return refuse(in, "name: a def cannot refer to itself");
	def = &in->defs[ref->name - 1];
	return def->mapped ? append(in, "name", def) : 0;
}

static int input_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct thin_input *in = input_of(v);
	int r = kind == RECORD_REF ? judge_ref(in, record) : judge_mapping(in, kind, record);

	return r ? r : in->next->record(in->next, kind, record);
}

/* --- ends --- */

static int end_def(struct thin_input *in)
{
	int r = table_grow(&in->defs, sizeof(*in->defs), in->nr_defs, &in->max_defs, &in->args.memory);

	if (!r)
		in->defs[in->nr_defs++] = in->open;
	return r;
}

static int end_device(struct thin_input *in, const struct record_device *d)
{
	if (d->mapped_blocks == in->open.mapped || in->args.count_mapped)
		return 0;
	return refuse(in, "mapped_blocks: says %" PRIu64 ", but there are %" PRIu64 " mappings in device %" PRIu64
		      "; --count-mapped-blocks counts anew", d->mapped_blocks, in->open.mapped, d->dev_id);
}

static int input_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct thin_input *in = input_of(v);
	int r = 0;

	if (kind != RECORD_SUPERBLOCK)
		r = kind == RECORD_DEF ? end_def(in) : end_device(in, record);
	return r ? r : in->next->end(in->next, kind, record);
}

int thin_input_create(const struct thin_input_args *args, struct meta_visitor *next, struct thin_input **input)
{
	struct thin_input *in = calloc(1, sizeof(*in));

	if (!in)
		return -ENOMEM;
	in->visitor = (struct meta_visitor){ input_begin, input_record, input_end, NULL };
	in->next = next;
	in->args = *args;
	*input = in;
	return 0;
}

void thin_input_destroy(struct thin_input *in)
{
	if (!in)
		return;
	for (size_t i = 0; i < ID_PAGES; i++)
		free(in->ids[i]);
	free(in->defs);
	free(in);
}

struct meta_visitor *thin_input_visitor(struct thin_input *in)
{
	return &in->visitor;
}

const char *thin_input_reason(const struct thin_input *in)
{
	return in->reason;
}
