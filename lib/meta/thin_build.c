// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Blocks in the order in which they are written: trees of defs and devices, each from its leaves to its root; top level
 * and details; bitmaps of data, and the trees of their map; the metadata space map. Block 0 first, to say that the rest is
 * not to be trusted, and last.
 */
#include "meta/thin_build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/table.h"
#include "meta/thin.h"
#include "meta/thin_disk.h"
#include "meta/thin_size.h"
#include "pdata/space_map_build.h"

/* Neither zeroes, over which the kernel would format a pool, nor anything that has a checksum. */
static const char unfinished[] = "thin-pool metadata is being written here by bufio; if this is still there it was not "
				 "finished, and nothing below can be used\n";

struct device {
	uint32_t id, root, creation_time, snap_time;
	uint64_t mapped_blocks, transaction;
};

struct def {
	struct pd_tree tree;
	uint64_t mapped;
};

struct thin_build {
	struct meta_visitor visitor; /* first: calls find the rest by it */
	struct thin_build_args args;
	uint64_t memory; /* that is left */
	struct pd_writer w;
	struct pd_build tree; /* of the def or device that is open */
	struct pd_counts data;
	struct record_superblock sb;
	char uuid[THIN_UUID_MAX];
	bool has_begun;
	uint64_t leaves_end; /* behind the last block of the mapping trees */
	uint64_t mapped;     /* of the def or device that is open */
	struct device *devices;
	uint64_t nr_devices, max_devices;
	struct def *defs;
	uint64_t nr_defs, max_defs;
	struct thin_build_result result;
};

static struct thin_build *build_of(struct meta_visitor *v)
{
	return (struct thin_build *)v;
}

bool thin_build_is_unfinished(const void *block)
{
	return !memcmp(block, unfinished, sizeof(unfinished));
}

/* --- data blocks --- */

static int count_leaf(void *context, const struct pd_node *leaf, bool more)
{
	struct thin_build *b = context;
	uint64_t blocks[PD_PENDING_ENTRIES];

	for (unsigned i = 0; i < leaf->nr; i++)
		blocks[i] = pd_value64(leaf, i) >> THIN_TIME_BITS;
	if (more)
		return pd_counts_add(&b->data, blocks, leaf->nr);
	for (unsigned i = 0; i < leaf->nr; i++)
		pd_counts_sub(&b->data, blocks[i]);
	return 0;
}

/* Of a later window: what lies there, and is in use, is nodes of mapping trees. */
static int recount_block(void *context, uint64_t block, const void *data, int error)
{
	struct thin_build *b = context;
	struct pd_node n;
	struct problem p;

	if (error)
		return error;
	if (!pd_counts_get(&b->w.counts, block))
		return 0;
	if (pd_block_kind(data) != PD_NODE || !pd_node_decode(data, block, sizeof(le64), &n, &p))
		return -EIO;
	return n.is_leaf ? count_leaf(b, &n, true) : 0;
}

static int recount(void *context)
{
	struct thin_build *b = context;
	struct bufio_scan scan = {
		.block = recount_block,
		.context = b,
		.first_block = 1,
		.nr_blocks = b->leaves_end - 1,
		.threads = 1,
	};

	b->result.passes++;
	return scan.nr_blocks ? bufio_scan(b->args.client, &scan) : 0;
}

/* --- the beginning --- */

int thin_build_mark_unfinished(struct bufio_client *client)
{
	struct bufio_buffer *buffer;
	void *data = bufio_new(client, 0, &buffer);

	if (!data)
		return -errno;
	memcpy(data, unfinished, sizeof(unfinished));
	bufio_mark_buffer_dirty(buffer);
	bufio_release(buffer);
	return bufio_write_dirty_buffers(client);
}

/* Tables get a quarter of the memory: few pools need more than a small part of that. */
static int begin_superblock(struct thin_build *b, const struct record_superblock *sb)
{
	uint64_t tables = b->memory / 4, enough = pd_counts_enough(sb->nr_data_blocks), memory = b->memory - tables;
	int r;

	b->sb = *sb;
	snprintf(b->uuid, sizeof(b->uuid), "%s", sb->uuid ? sb->uuid : "");
	b->sb.uuid = b->uuid;
	r = pd_counts_create(&b->data, sb->nr_data_blocks, memory);
	if (r)
		return r;
	b->memory = tables + (enough < memory ? (memory - enough) / 2 : 0);
	b->has_begun = true;
	r = thin_build_mark_unfinished(b->args.client);
	return r ? r : pd_refer(&b->w, 0);
}

static void open_tree(struct thin_build *b)
{
	pd_build_open(&b->tree, &b->w, sizeof(le64));
	b->tree.leaf = count_leaf;
	b->tree.context = b;
	b->mapped = 0;
}

static int build_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct thin_build *b = build_of(v);

	if (kind == RECORD_SUPERBLOCK)
		return begin_superblock(b, record);
	open_tree(b);
	return 0;
}

/* --- mappings --- */

static int add_mapping(struct thin_build *b, const struct record_mapping *m)
{
	int r = 0;

	for (uint64_t i = 0; i < m->length && !r; i++) {
		le64 value = le64_put((m->data_begin + i) << THIN_TIME_BITS | m->time);

		r = pd_build_add(&b->tree, m->origin_begin + i, &value);
	}
	b->mapped += m->length;
	return r;
}

static int add_ref(struct thin_build *b, const struct record_def *ref)
{
	const struct def *def = &b->defs[ref->name - 1];

	b->mapped += def->mapped;
	return pd_build_add_tree(&b->tree, &def->tree);
}

static int build_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct thin_build *b = build_of(v);

	return kind == RECORD_REF ? add_ref(b, record) : add_mapping(b, record);
}

/* --- the ends of trees --- */

/* The table has a reference to the root, until drop_defs(). */
static int end_def(struct thin_build *b)
{
	struct def def = { .mapped = b->mapped };
	int r = table_grow(&b->defs, sizeof(def), b->nr_defs, &b->max_defs, &b->memory);

	if (!r)
		r = pd_build_finish(&b->tree, &def.tree);
	if (r)
		return r;
	b->defs[b->nr_defs++] = def;
	return pd_refer(&b->w, def.tree.root);
}

static int end_device(struct thin_build *b, const struct record_device *record)
{
	struct pd_tree tree;
	int r = table_grow(&b->devices, sizeof(*b->devices), b->nr_devices, &b->max_devices, &b->memory);

	if (!r)
		r = pd_build_finish(&b->tree, &tree);
	if (r)
		return r;
	b->devices[b->nr_devices++] = (struct device){
		.id = (uint32_t)record->dev_id,
		.root = (uint32_t)tree.root,
		.creation_time = record->creation_time,
		.snap_time = record->snap_time,
		.mapped_blocks = b->mapped,
		.transaction = record->transaction,
	};
	b->result.mappings += b->mapped;
	return pd_refer(&b->w, tree.root);
}

static int drop_defs(struct thin_build *b)
{
	int r = 0;

	for (uint64_t i = 0; i < b->nr_defs && !r; i++)
		r = pd_build_drop(&b->tree, b->defs[i].tree.root, b->defs[i].tree.height);
	return r;
}

/* --- the end --- */

static int compare_ids(const void *a, const void *b)
{
	const struct device *left = a, *right = b;

	return (left->id > right->id) - (left->id < right->id);
}

static int write_top(struct thin_build *b, uint64_t *root)
{
	int r = 0;

	pd_build_open(&b->tree, &b->w, sizeof(le64));
	for (uint64_t i = 0; i < b->nr_devices && !r; i++) {
		le64 value = le64_put(b->devices[i].root);

		r = pd_build_add(&b->tree, b->devices[i].id, &value);
	}
	return r ? r : pd_build_finish_root(&b->tree, root);
}

static int write_details(struct thin_build *b, uint64_t *root)
{
	int r = 0;

	pd_build_open(&b->tree, &b->w, sizeof(struct thin_details_disk));
	for (uint64_t i = 0; i < b->nr_devices && !r; i++) {
		const struct device *d = &b->devices[i];
		struct thin_details_disk value = {
			.mapped_blocks = le64_put(d->mapped_blocks),
			.transaction_id = le64_put(d->transaction),
			.creation_time = le32_put(d->creation_time),
			.snapshotted_time = le32_put(d->snap_time),
		};

		r = pd_build_add(&b->tree, d->id, &value);
	}
	return r ? r : pd_build_finish_root(&b->tree, root);
}

/* 32 hexadecimal digits, as we show it; or the first 16 bytes themselves, as thin_dump does. */
static void put_uuid(uint8_t uuid[16], const char *text)
{
	unsigned byte;

	if (strlen(text) != 32) {
		memcpy(uuid, text, strnlen(text, 16));
		return;
	}
	for (unsigned i = 0; i < 16 && sscanf(text + 2 * (size_t)i, "%2x", &byte) == 1; i++)
		uuid[i] = (uint8_t)byte;
}

static void put_root(uint8_t place[128], const struct pd_sm_root *root)
{
	struct pd_sm_root_disk d = pd_sm_root_encode(root);

	memcpy(place, &d, sizeof(d));
}

static int write_superblock(struct thin_build *b, const struct thin_superblock *roots)
{
	struct bufio_buffer *buffer;
	struct thin_superblock_disk *d = bufio_new(b->args.client, 0, &buffer);
	int r;

	if (!d)
		return -errno;
	*d = (struct thin_superblock_disk){
		.flags = le32_put(b->sb.flags),
		.magic = le64_put(THIN_MAGIC),
		.version = le32_put(b->sb.version),
		.time = le32_put(b->sb.time),
		.trans_id = le64_put(b->sb.transaction),
		.data_mapping_root = le64_put(roots->data_mapping_root),
		.device_details_root = le64_put(roots->device_details_root),
		.data_block_size = le32_put(b->sb.data_block_size),
		.metadata_block_size = le32_put(THIN_METADATA_BLOCK_SIZE),
		.metadata_nr_blocks = le64_put(roots->metadata_sm.nr_blocks),
	};
	put_uuid(d->uuid, b->uuid);
	put_root(d->data_space_map_root, &roots->data_sm);
	put_root(d->metadata_space_map_root, &roots->metadata_sm);
	r = pd_write(buffer, PD_THIN_SUPERBLOCK);
	return r ? r : bufio_write_dirty_buffers(b->args.client);
}

/* What the metadata space map will take is not counted yet, and is little. */
static void choose_size(struct thin_build *b)
{
	uint64_t blocks;

	if (!b->args.has_any_size)
		return;
	blocks = thin_blocks_advised(b->w.next + pd_bitmaps(b->w.nr_blocks) + 1, b->sb.nr_data_blocks, b->nr_devices);
	if (blocks < b->w.nr_blocks)
		b->w.nr_blocks = blocks;
}

static int write_rest(struct thin_build *b, struct thin_superblock *roots)
{
	int r = drop_defs(b);

	b->leaves_end = b->w.next;
	if (b->nr_devices)
		qsort(b->devices, b->nr_devices, sizeof(*b->devices), compare_ids);
	if (!r)
		r = write_top(b, &roots->data_mapping_root);
	if (!r)
		r = write_details(b, &roots->device_details_root);
	if (!r)
		r = pd_sm_write_data(&b->w, &b->data, recount, b, &roots->data_sm);
	choose_size(b);
	if (!r)
		r = pd_sm_write_metadata(&b->w, &roots->metadata_sm);
	/* Of the metadata all counts are needed at once. */
	return r || pd_counts_has_all(&b->w.counts) ? r : -E2BIG;
}

static int end_superblock(struct thin_build *b)
{
	struct thin_superblock roots = { 0 };
	int r = write_rest(b, &roots);

	if (!r)
		r = bufio_write_dirty_buffers(b->args.client);
	if (!r)
		r = write_superblock(b, &roots);
	b->result.devices = b->nr_devices;
	b->result.nr_blocks = roots.metadata_sm.nr_blocks;
	b->result.used_blocks = roots.metadata_sm.nr_allocated;
	b->result.data_blocks = roots.data_sm.nr_blocks;
	b->result.used_data_blocks = roots.data_sm.nr_allocated;
	return r;
}

static int build_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct thin_build *b = build_of(v);

	switch (kind) {
	case RECORD_DEF: return end_def(b);
	case RECORD_DEVICE: return end_device(b, record);
	default: return end_superblock(b);
	}
}

/* --- creating --- */

static uint64_t blocks_of(const struct bufio_client *client)
{
	uint64_t blocks = bufio_get_device_size(client);

	return blocks < PD_MAX_METADATA_BLOCKS ? blocks : PD_MAX_METADATA_BLOCKS;
}

/* Counts of metadata, and at least one bitmap of counts of data beside a quarter for tables. */
uint64_t thin_build_least_memory(struct bufio_client *client)
{
	return pd_counts_enough(blocks_of(client)) + 2 * pd_counts_least();
}

/* For all counts to be above 3, or what is left beside the counts of data: few blocks have so many parents. */
static uint64_t memory_for_counts(const struct thin_build *b)
{
	uint64_t enough = pd_counts_enough(b->w.nr_blocks);
	uint64_t all = enough + pd_bitmaps(b->w.nr_blocks) * pd_counts_least();

	if (all > b->memory / 4)
		all = b->memory / 4;
	return all > enough ? all : enough;
}

static int create_counts(struct thin_build *b)
{
	uint64_t memory = memory_for_counts(b);

	if (b->memory < thin_build_least_memory(b->args.client))
		return -ENOMEM;
	b->memory -= memory;
	return pd_counts_create(&b->w.counts, b->w.nr_blocks, memory);
}

int thin_build_create(const struct thin_build_args *args, struct thin_build **build)
{
	struct thin_build *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->visitor = (struct meta_visitor){ build_begin, build_record, build_end, NULL };
	b->args = *args;
	b->w = (struct pd_writer){ .client = args->client, .next = 1, .nr_blocks = blocks_of(args->client) };
	b->memory = args->memory;
	b->result.passes = 1;
	r = create_counts(b);
	if (r)
		thin_build_destroy(b);
	else
		*build = b;
	return r;
}

void thin_build_destroy(struct thin_build *b)
{
	if (!b)
		return;
	pd_counts_destroy(&b->w.counts);
	pd_counts_destroy(&b->data);
	free(b->devices);
	free(b->defs);
	free(b);
}

struct meta_visitor *thin_build_visitor(struct thin_build *b)
{
	return &b->visitor;
}

bool thin_build_has_begun(const struct thin_build *b)
{
	return b->has_begun;
}

void thin_build_get_result(const struct thin_build *b, struct thin_build_result *result)
{
	*result = b->result;
}
