// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * recount IMAGE: are the space maps of thin-pool metadata right to the last counter?
 *
 * Walks everything that the superblock leads to, the simple way: a count for each block, each block entered once, each
 * pointer counted. Then compares counts, trees of large counts, free blocks of each bitmap, the hint where they begin, and
 * the totals. It knows the layouts from the headers, and shares no code with what wrote them. Also checks what the kernel
 * asks of nodes: leaves equally deep, at least a third full, keys that rise. Prints what is wrong; status 1.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "meta/thin_disk.h"

#define NODE_SALT 121107
#define BITMAP_SALT 240779
#define INDEX_SALT 160478
#define SUPERBLOCK_SALT 160774

static const uint8_t *image;
static uint64_t nr_blocks, nr_data;
static uint32_t *counts, *data_counts;
static unsigned wrong;

#define COMPLAIN(...) (wrong++ < 50 ? (void)(printf(__VA_ARGS__), putchar('\n')) : (void)0)

static const void *block_at(uint64_t block, uint32_t salt, const char *what)
{
	const uint8_t *b = image + block * PD_BLOCK_SIZE;

	if (block >= nr_blocks) {
		COMPLAIN("%s at block %" PRIu64 ", of %" PRIu64, what, block, nr_blocks);
		exit(1);
	}
	if ((crc32c_raw(UINT32_MAX, b + 4, PD_BLOCK_SIZE - 4) ^ salt) != le_load(b, 4) || le_load(b + 8, 8) != block)
		COMPLAIN("block %" PRIu64 " is no %s", block, what);
	return b;
}

/* --- trees --- */

struct tree {
	const char *name;
	unsigned value_size, leaf_depth;
	void (*entry)(uint64_t key, const uint8_t *value);
};

static void walk(struct tree *t, uint64_t block, unsigned depth, uint64_t begin, uint64_t end)
{
	const uint8_t *b = block_at(block, NODE_SALT, t->name);
	const struct pd_node_disk *d = (const void *)b;
	unsigned nr = le32_get(d->nr_entries), max = le32_get(d->max_entries);
	int is_leaf = le32_get(d->flags) == PD_NODE_LEAF;
	const uint8_t *keys = b + 32, *values = keys + 8 * (size_t)max;
	unsigned size = is_leaf ? t->value_size : 8;

	if (counts[block]++)
		return; /* shared: entered already */
	if (le32_get(d->value_size) != size || max != (4096 - 32) / (8 + size) / 3 * 3 || nr > max)
		COMPLAIN("%s %" PRIu64 ": %u of %u entries of %u bytes", t->name, block, nr, max, le32_get(d->value_size));
	if (depth > 1 && nr < max / 3)
		COMPLAIN("%s %" PRIu64 ": only %u entries", t->name, block, nr);
	if (is_leaf && !t->leaf_depth)
		t->leaf_depth = depth;
	if (is_leaf && depth != t->leaf_depth)
		COMPLAIN("%s %" PRIu64 ": a leaf at level %u", t->name, block, depth);
	for (unsigned i = 0; i < nr; i++) {
		uint64_t key = le_load(keys + 8 * i, 8), next = i + 1 < nr ? le_load(keys + 8 * (i + 1), 8) : end;

		if (key < begin || key >= next || (!i && depth > 1 && key != begin))
			COMPLAIN("%s %" PRIu64 ": key %" PRIu64, t->name, block, key);
		if (is_leaf)
			t->entry(key, values + (size_t)size * i);
		else
			walk(t, le_load(values + 8 * i, 8), depth + 1, key, next);
	}
}

static void walk_tree(const char *name, uint64_t root, unsigned value_size,
		      void (*entry)(uint64_t key, const uint8_t *value))
{
	struct tree t = { .name = name, .value_size = value_size, .entry = entry };

	walk(&t, root, 1, 0, UINT64_MAX);
}

static uint64_t nr_devices, nr_details;

static void mapping(uint64_t key, const uint8_t *value)
{
	uint64_t data = le_load(value, 8) >> 24;

	if (data >= nr_data)
		COMPLAIN("virtual block %" PRIu64 " is at %" PRIu64, key, data);
	else
		data_counts[data]++;
}

/* Each tree may be as deep as it likes. */
static void device(uint64_t key, const uint8_t *value)
{
	(void)key;
	nr_devices++;
	walk_tree("mapping tree", le_load(value, 8), 8, mapping);
}

static void details(uint64_t key, const uint8_t *value)
{
	(void)key;
	(void)value;
	nr_details++;
}

/* --- space maps --- */

static struct map {
	const char *name;
	struct pd_sm_root_disk root;
	uint64_t nr;
	const uint32_t *wanted;
	uint32_t *large; /* as the tree says */
	uint64_t next_bitmap, allocated;
} map;

static void large_count(uint64_t key, const uint8_t *value)
{
	if (key >= map.nr)
		COMPLAIN("%s: a count of block %" PRIu64, map.name, key);
	else
		map.large[key] = (uint32_t)le_load(value, 4);
}

static unsigned bits_of(const uint8_t *bitmap, unsigned i)
{
	unsigned bits = bitmap[16 + i / 4] >> i % 4 * 2;

	return (bits & 1) * 2 + (bits >> 1 & 1);
}

/* The trees of large counts were walked before, and the map's own blocks are counted when they are met. */
static void bitmap(uint64_t index, const uint8_t *entry)
{
	const uint8_t *b = block_at(le_load(entry, 8), BITMAP_SALT, "bitmap");
	unsigned nr_free = 0, first = PD_BITMAP_ENTRIES, entries = PD_BITMAP_ENTRIES;

	if (index != map.next_bitmap++)
		COMPLAIN("%s: bitmap %" PRIu64 " is missing", map.name, map.next_bitmap - 1);
	if (map.nr - index * PD_BITMAP_ENTRIES < entries)
		entries = (unsigned)(map.nr - index * PD_BITMAP_ENTRIES);
	for (unsigned i = 0; i < PD_BITMAP_ENTRIES; i++) {
		uint64_t block = index * PD_BITMAP_ENTRIES + i;
		uint32_t wanted = i < entries ? map.wanted[block] : 0, is = bits_of(b, i);

		if (is == 3 && i < entries)
			is = map.large[block];
		else if (i < entries && map.large[block])
			COMPLAIN("%s: block %" PRIu64 " has a large count, and %u", map.name, block, is);
		if (is != wanted)
			COMPLAIN("%s: block %" PRIu64 " has %u, not %u", map.name, block, is, wanted);
		if (!is && i < entries && !nr_free++)
			first = i;
		map.allocated += is != 0;
	}
	if (le_load(entry + 8, 4) != nr_free || le_load(entry + 12, 4) != (first < entries ? first : entries))
		COMPLAIN("%s: bitmap %" PRIu64 " says %u free, none before %u: they are %u, %u", map.name, index,
			 (unsigned)le_load(entry + 8, 4), (unsigned)le_load(entry + 12, 4), nr_free, first);
}

static void count_bitmap(uint64_t index, const uint8_t *entry)
{
	(void)index;
	counts[le_load(entry, 8)]++;
}

static void open_map(const char *name, const uint8_t *root, const uint32_t *wanted)
{
	map = (struct map){ .name = name, .wanted = wanted };
	memcpy(&map.root, root, sizeof(map.root));
	map.nr = le64_get(map.root.nr_blocks);
	map.large = calloc(map.nr + 1, sizeof(uint32_t));
	walk_tree("count tree", le64_get(map.root.ref_count_root), 4, large_count);
}

static void close_map(void)
{
	if (map.next_bitmap != (map.nr + PD_BITMAP_ENTRIES - 1) / PD_BITMAP_ENTRIES)
		COMPLAIN("%s: %" PRIu64 " bitmaps", map.name, map.next_bitmap);
	if (map.allocated != le64_get(map.root.nr_allocated))
		COMPLAIN("%s: says %" PRIu64 " allocated, not %" PRIu64, map.name, le64_get(map.root.nr_allocated),
			 map.allocated);
	free(map.large);
}

/* The last one that is counted, so that all are. */
static void check_metadata_map(const struct thin_superblock_disk *sb)
{
	const struct pd_index_disk *index;
	uint64_t root;

	open_map("metadata space map", sb->metadata_space_map_root, counts);
	root = le64_get(map.root.bitmap_root);
	index = block_at(root, INDEX_SALT, "index");
	counts[root]++;
	if (map.nr != nr_blocks)
		COMPLAIN("metadata space map: of %" PRIu64 " blocks, not %" PRIu64, map.nr, nr_blocks);
	for (uint64_t i = 0; i * PD_BITMAP_ENTRIES < map.nr; i++)
		count_bitmap(i, (const uint8_t *)&index->entries[i]);
	for (uint64_t i = 0; i * PD_BITMAP_ENTRIES < map.nr; i++)
		bitmap(i, (const uint8_t *)&index->entries[i]);
	close_map();
}

static void check_data_map(const struct thin_superblock_disk *sb)
{
	open_map("data space map", sb->data_space_map_root, data_counts);
	walk_tree("index tree", le64_get(map.root.bitmap_root), 16, bitmap);
	close_map();
}

/* Bitmaps of the data map are metadata blocks; its index tree is entered once more for them, without being counted. */
static void count_data_bitmaps(uint64_t root)
{
	uint32_t *kept = malloc(nr_blocks * sizeof(*kept));

	memcpy(kept, counts, nr_blocks * sizeof(*kept));
	memset(counts, 0, nr_blocks * sizeof(*counts));
	walk_tree("index tree", root, 16, count_bitmap);
	for (uint64_t i = 0; i < nr_blocks; i++) {
		const struct pd_node_disk *d = (const void *)(image + i * PD_BLOCK_SIZE);
		int is_bitmap = (crc32c_raw(UINT32_MAX, (const uint8_t *)d + 4, PD_BLOCK_SIZE - 4) ^ BITMAP_SALT) ==
				le32_get(d->csum);

		kept[i] += is_bitmap ? counts[i] : 0;
	}
	memcpy(counts, kept, nr_blocks * sizeof(*kept));
	free(kept);
}

static const uint8_t *read_file(const char *path, uint64_t *size)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes;

	if (!f || fseek(f, 0, SEEK_END))
		exit(99);
	*size = (uint64_t)ftell(f);
	rewind(f);
	bytes = malloc(*size + 1);
	if (!bytes || fread(bytes, 1, *size, f) != *size)
		exit(99);
	fclose(f);
	return bytes;
}

int main(int argc, char **argv)
{
	const struct thin_superblock_disk *sb;
	struct pd_sm_root_disk data;
	uint64_t size;

	if (argc != 2)
		return 99;
	image = read_file(argv[1], &size);
	nr_blocks = size / PD_BLOCK_SIZE < PD_MAX_METADATA_BLOCKS ? size / PD_BLOCK_SIZE : PD_MAX_METADATA_BLOCKS;
	sb = block_at(0, SUPERBLOCK_SALT, "superblock");
	memcpy(&data, sb->data_space_map_root, sizeof(data));
	nr_data = le64_get(data.nr_blocks);
	counts = calloc(nr_blocks, sizeof(*counts));
	data_counts = calloc(nr_data + 1, sizeof(*data_counts));
	if (!counts || !data_counts)
		return 99;
	counts[0] = 1;
	walk_tree("top level", le64_get(sb->data_mapping_root), 8, device);
	walk_tree("details", le64_get(sb->device_details_root), 24, details);
	if (nr_devices != nr_details)
		COMPLAIN("%" PRIu64 " devices, %" PRIu64 " details", nr_devices, nr_details);
	check_data_map(sb);
	count_data_bitmaps(le64_get(data.bitmap_root));
	check_metadata_map(sb);
	return wrong != 0;
}
