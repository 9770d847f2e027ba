// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What must be said of a change, field by field, as the format has it. Most of it follows from what is there twice:
 *
 *	references      as pointers, and as counts in the space maps
 *	mapped_blocks   as a number, and as entries
 *	devices         in the details, and in the top level
 *	keys            in a node, and as the bounds of its parents; bitmaps are numbered without a gap
 *	times           none is after the pool's; a device's creation is not after its last snapshot
 *
 * What is there once cannot be known, and has a row that says so.
 */
#include "corrupt.h"

#define ON(role) (1u << ROLE_##role)
#define FREE_ROLES (ON(FREE) | ON(ORPHAN) | ON(UNREACHED) | ON(BEYOND))
#define SUPERBLOCKS (ON(SUPERBLOCK) | ON(HELD))
#define DEVICE_NODES (ON(DETAILS) | ON(TOP) | ON(MAPPINGS))
#define COUNT_NODES (ON(DATA_COUNTS) | ON(META_COUNTS))
#define NODES (DEVICE_NODES | COUNT_NODES | ON(DATA_INDEX))
#define BITMAPS (ON(DATA_BITMAP) | ON(META_BITMAP))

/* --- of a field's value --- */

static bool is_zero(const struct world *w, const struct change *c)
{
	(void)w;
	return !c->new;
}

static bool is_raised(const struct world *w, const struct change *c)
{
	(void)w;
	return c->new > c->old;
}

static bool is_lowered(const struct world *w, const struct change *c)
{
	(void)w;
	return c->new < c->old;
}

/* --- the superblock --- */

/* The one that the block goes with. */
static const struct thin_superblock *superblock_of(const struct world *w, const struct change *c)
{
	return &w->sb[w->facts[c->block].is_live && role_of(w, c->block) != ROLE_HELD ? POOL : HELD];
}

static bool is_known_version(const struct world *w, const struct change *c)
{
	(void)w;
	return c->new == 1 || c->new == 2;
}

static bool is_before_newest(const struct world *w, const struct change *c)
{
	return c->new < w->newest[role_of(w, c->block) == ROLE_HELD ? HELD : POOL];
}

static bool has_no_room_for_time(const struct world *w, const struct change *c)
{
	(void)w;
	return c->new > THIN_TIME_MASK;
}

static bool is_block_size(const struct world *w, const struct change *c)
{
	(void)w;
	return c->new >= THIN_BLOCK_SIZE_MIN && c->new <= THIN_BLOCK_SIZE_MAX && c->new % THIN_BLOCK_SIZE_MIN == 0;
}

/* --- space maps --- */

static const struct space *space_of(const struct world *w, const struct change *c)
{
	enum thin_role role = role_of(w, c->block);
	bool is_metadata = role == ROLE_META_INDEX || role == ROLE_META_BITMAP || role == ROLE_META_COUNTS;

	if (role == ROLE_SUPERBLOCK)
		is_metadata = c->offset >= offsetof(struct thin_superblock_disk, metadata_space_map_root);
	return is_metadata ? &w->metadata : &w->data;
}

static bool is_more_than_there_are(const struct world *w, const struct change *c)
{
	return c->new > space_of(w, c)->nr;
}

static bool is_one_off_used(const struct world *w, const struct change *c)
{
	uint64_t used = space_of(w, c)->used;

	return c->new + 1 >= used && c->new <= used + 1;
}

/* Each bitmap of data takes a block of metadata. */
static bool is_no_data_size(const struct world *w, const struct change *c)
{
	return c->new > THIN_MAX_DATA_BLOCKS || c->new > w->metadata.nr * PD_BITMAP_ENTRIES;
}

static bool is_no_metadata_size(const struct world *w, const struct change *c)
{
	(void)w;
	return !c->new || c->new > PD_MAX_METADATA_BLOCKS;
}

static bool is_larger_than_device(const struct world *w, const struct change *c)
{
	return c->new > w->nr_blocks;
}

static bool is_reference_cut(const struct world *w, const struct change *c)
{
	const struct space *s = space_of(w, c);

	for (uint64_t b = c->new; b < s->nr; b++)
		if (s->counts[b])
			return true;
	return false;
}

static bool needs_more_bitmaps(const struct world *w, const struct change *c)
{
	return pd_bitmaps(c->new) > pd_bitmaps(space_of(w, c)->nr);
}

static bool needs_fewer_bitmaps(const struct world *w, const struct change *c)
{
	return pd_bitmaps(c->new) < pd_bitmaps(space_of(w, c)->nr);
}

static bool is_used_cut(const struct world *w, const struct change *c)
{
	return c->new < space_of(w, c)->used_end;
}

/* What a bitmap's index entry should say. */
struct hints {
	unsigned length, free, first_free;
};

static struct hints hints_of(const struct world *w, const struct change *c)
{
	struct node n = role_of(w, c->block) == ROLE_META_INDEX ? (struct node){ 0 } : node_at(w, c->block);
	const uint8_t *entries = n.values ? n.values : block_at(w, c->block) + 16;
	uint64_t bitmap = le_load(entries + sizeof(struct pd_index_entry_disk) * c->entry, 8);
	struct hints h = { .length = bitmap_length(w, space_of(w, c), bitmap) };

	h.first_free = h.length;
	for (unsigned i = h.length; i-- > 0;)
		if (!bitmap_count(block_at(w, bitmap), i)) {
			h.free++;
			h.first_free = i;
		}
	return h;
}

static bool hides_free_blocks(const struct world *w, const struct change *c)
{
	return !c->new && hints_of(w, c).free;
}

/* What other writers leave; and the kernel counts entries behind the last block when it makes a bitmap. */
static bool is_tolerated_free(const struct world *w, const struct change *c)
{
	struct hints h = hints_of(w, c);

	return (c->new + 1 >= h.free && c->new <= h.free + 1) || c->new == h.free + PD_BITMAP_ENTRIES - h.length;
}

static bool is_free_behind(const struct world *w, const struct change *c)
{
	return c->new <= hints_of(w, c).first_free;
}

static bool has_free(const struct world *w, const struct change *c)
{
	return hints_of(w, c).free;
}

/* --- counts --- */

/* The block that an entry of a bitmap, or of a tree of counts, is of. */
static uint32_t references(const struct world *w, const struct change *c)
{
	bool is_tree = role_of(w, c->block) == ROLE_DATA_COUNTS || role_of(w, c->block) == ROLE_META_COUNTS;
	struct node n = node_at(w, c->block);
	uint64_t block = is_tree ? node_key(&n, c->entry) : w->facts[c->block].first + c->entry;

	return space_of(w, c)->counts[block];
}

static bool is_too_low(const struct world *w, const struct change *c)
{
	return c->new < references(w, c);
}

/* A block that is counted, though nothing leads to it: one leak more or less. */
static bool is_of_a_leak(const struct world *w, const struct change *c)
{
	return c->old && !references(w, c);
}

static bool is_leak(const struct world *w, const struct change *c)
{
	return !references(w, c) && c->new < 3;
}

/* --- nodes --- */

static bool is_no_kind(const struct world *w, const struct change *c)
{
	(void)w;
	return c->new != PD_NODE_INTERNAL && c->new != PD_NODE_LEAF;
}

static bool are_more_than_max(const struct world *w, const struct change *c)
{
	return c->new > node_at(w, c->block).max;
}

static bool does_not_fit(const struct world *w, const struct change *c)
{
	uint64_t entry = 8 + (uint64_t)node_at(w, c->block).value_size;

	return !c->new || sizeof(struct pd_node_disk) + c->new * entry > PD_BLOCK_SIZE;
}

static bool is_less_than_entries(const struct world *w, const struct change *c)
{
	return c->new < node_at(w, c->block).nr;
}

static bool is_empty(const struct world *w, const struct change *c)
{
	return !node_at(w, c->block).nr;
}

/* Room for more or fewer entries moves the values, unless they are alike, or there are none. */
static bool are_values_the_same(const struct world *w, const struct change *c)
{
	struct node n = node_at(w, c->block);

	return !memcmp(n.values, n.keys + 8 * c->new, (size_t)n.value_size * n.nr);
}

static unsigned occurrences(const uint8_t *values, unsigned nr, uint64_t data)
{
	unsigned found = 0;

	for (unsigned i = 0; i < nr; i++)
		found += le_load(values + 8 * (size_t)i, 8) >> THIN_TIME_BITS == data;
	return found;
}

/* Of a leaf: the first value that is left out may come in again at the end, so that references are what they were. */
static bool are_values_turned_round(const struct world *w, const struct change *c)
{
	struct node n = node_at(w, c->block);
	const uint8_t *moved = n.keys + 8 * c->new;

	if (role_of(w, c->block) != ROLE_MAPPINGS || !n.is_leaf)
		return false;
	for (unsigned i = 0; i < n.nr; i++) {
		uint64_t data = node_child(&n, i) >> THIN_TIME_BITS;

		if (occurrences(n.values, n.nr, data) != occurrences(moved, n.nr, data))
			return false;
	}
	return true;
}

/* Zeroes, for example, are possible details of a device without mappings. */
static bool are_details(const struct world *w, const struct change *c)
{
	return role_of(w, c->block) == ROLE_DETAILS && node_at(w, c->block).is_leaf;
}

/* Between the neighbours, and between the bounds; a parent's key, between what is below its children. */
static bool is_key_in_gap(const struct world *w, const struct change *c)
{
	struct node n = node_at(w, c->block);
	const struct facts *f = &w->facts[c->block];
	unsigned i = c->entry;
	uint64_t low = f->begin, end = i + 1 < n.nr ? node_key(&n, i + 1) : f->end;

	if (i)
		low = (n.is_leaf ? node_key(&n, i - 1) : w->facts[node_child(&n, i - 1)].highest) + 1;
	if (!n.is_leaf)
		end = w->facts[node_child(&n, i)].lowest + 1;
	return c->new >= low && c->new < end;
}

/* --- devices --- */

static bool is_after_pool(const struct world *w, const struct change *c)
{
	return c->new > superblock_of(w, c)->time;
}

static bool is_after_transaction(const struct world *w, const struct change *c)
{
	return c->new > superblock_of(w, c)->trans_id;
}

static const struct thin_details_disk *details_of(const struct world *w, const struct change *c)
{
	struct node n = node_at(w, c->block);

	return (const void *)(n.values + (size_t)n.value_size * c->entry);
}

static bool is_after_last_snapshot(const struct world *w, const struct change *c)
{
	return c->new > le32_get(details_of(w, c)->snapshotted_time);
}

static bool is_before_creation(const struct world *w, const struct change *c)
{
	return c->new < le32_get(details_of(w, c)->creation_time);
}

/* --- the table --- */

#define SB(field) offsetof(struct thin_superblock_disk, field)
#define DATA_SM(field) (SB(data_space_map_root) + offsetof(struct pd_sm_root_disk, field))
#define META_SM(field) (SB(metadata_space_map_root) + offsetof(struct pd_sm_root_disk, field))
#define NODE(field) offsetof(struct pd_node_disk, field)
#define DETAILS(field) offsetof(struct thin_details_disk, field)
#define ENTRY(field) offsetof(struct pd_index_entry_disk, field)
#define SM_ROOT_REST (128 - (unsigned)sizeof(struct pd_sm_root_disk))

#define FOUND(when, least, ...) { when, MUST_BE_FOUND, SEVERITY_##least, false, NULL, { __VA_ARGS__ } }
#define NAMED(when, least, ...) { when, MUST_BE_FOUND, SEVERITY_##least, true, NULL, { __VA_ARGS__ } }
#define UNKNOWN(when, why) { when, CANNOT_BE_KNOWN, SEVERITY_COSMETIC, false, why, { NULL } }
#define UNKNOWN_UP_TO(most, when, why) { when, CANNOT_BE_KNOWN, SEVERITY_##most, false, why, { NULL } }
#define NOTHING_SAID { NULL, FREE_BLOCK, SEVERITY_COSMETIC, false, NULL, { NULL } }

#define KEY_NAMES "node-key-order", "node-key-range"

/* Of the metadata snapshot's superblock: */
#define COPY "of the copy the kernel reads the two roots alone"

/* What is reported of a lost block, for every structure: */
#define LOST_NAMES "block-checksum", "block-zeroed", "block-kind", "block-number"

const struct rule rules[] = {
	/* Any bytes, the checksum not made right: it covers all of them. */
	{ "bytes", FREE_ROLES, ANY, RAW, 0, 0, .rows = { NOTHING_SAID } },
	{ "bytes", ON(SUPERBLOCK), ANY, RAW, 0, 0,
	  .rows = { NAMED(NULL, REPAIRABLE, "superblock-checksum", "superblock-number") } },
	{ "bytes", ON(TOP) | ON(MAPPINGS), ANY, RAW, 0, 0, .rows = { NAMED(NULL, LOSSY, LOST_NAMES) } },
	{ "bytes", ON(HELD) | ON(DETAILS) | COUNT_NODES | ON(DATA_INDEX) | BITMAPS | ON(META_INDEX), ANY, RAW, 0, 0,
	  .rows = { NAMED(NULL, REPAIRABLE, LOST_NAMES) } },

	/* A valid checksum does not mean that a block is in use. */
	{ "any field", FREE_ROLES, ANY, SPAN, 0, 8, .span = PD_BLOCK_SIZE, .rows = { NOTHING_SAID } },

	/* The superblock, and its copy for the metadata snapshot. */
	{ "csum", ON(SUPERBLOCK), ANY, AT, SB(csum), 4, .seal = SEAL_NOTHING,
	  .rows = { NAMED(NULL, REPAIRABLE, "superblock-checksum") } },
	{ "csum", ON(HELD), ANY, AT, SB(csum), 4, .seal = SEAL_NOTHING, .rows = { NAMED(NULL, REPAIRABLE, LOST_NAMES) } },
	{ "flags", ON(SUPERBLOCK), ANY, AT, SB(flags), 4, .rows = {
		UNKNOWN(is_zero, "nothing but the flag says that a check is due"),
		NAMED(NULL, COSMETIC, "needs-check", "superblock-flags") } },
	{ "blocknr", ON(SUPERBLOCK), ANY, AT, SB(blocknr), 8, .seal = SEAL_CHECKSUM,
	  .rows = { NAMED(NULL, REPAIRABLE, "superblock-number") } },
	{ "blocknr", ON(HELD), ANY, AT, SB(blocknr), 8, .seal = SEAL_CHECKSUM,
	  .rows = { NAMED(NULL, REPAIRABLE, "block-number") } },
	{ "uuid", SUPERBLOCKS, ANY, SPAN, SB(uuid), 8, .span = 16,
	  .rows = { UNKNOWN(NULL, "the kernel writes zeroes, and reads nothing") } },
	{ "magic", SUPERBLOCKS, ANY, AT, SB(magic), 8, .rows = { NAMED(NULL, REPAIRABLE, "superblock-magic") } },
	{ "version", ON(SUPERBLOCK), ANY, AT, SB(version), 4, .rows = {
		UNKNOWN(is_known_version, "both are in use, and differ in a flag alone"),
		NAMED(NULL, REPAIRABLE, "superblock-version") } },
	{ "time", ON(SUPERBLOCK), ANY, AT, SB(time), 4, .rows = {
		NAMED(is_before_newest, FATAL, "superblock-time"),
		NAMED(has_no_room_for_time, FATAL, "superblock-time-beyond"),
		UNKNOWN(NULL, "the newest may be deleted; and a time that is too late harms nobody") } },
	{ "trans_id", ON(SUPERBLOCK), ANY, AT, SB(trans_id), 8,
	  .rows = { UNKNOWN(NULL, "LVM's own to count, and to compare with its backup") } },
	{ "held_root", ON(SUPERBLOCK), ANY, AT, SB(held_root), 8, .rows = {
		FOUND(is_zero, LEAK, "metadata-leaked", "metadata-count-high"),
		FOUND(NULL, REPAIRABLE) } },

	{ "data nr_blocks", ON(SUPERBLOCK), ANY, AT, DATA_SM(nr_blocks), 8, .rows = {
		NAMED(is_no_data_size, REPAIRABLE, "space-map-blocks"),
		FOUND(is_reference_cut, LOSSY, "mapping-beyond-data"),
		FOUND(needs_more_bitmaps, REPAIRABLE, "space-map-index"),
		FOUND(needs_fewer_bitmaps, LEAK, "metadata-leaked", "metadata-count-high", "space-map-allocated"),
		FOUND(is_used_cut, COSMETIC, "space-map-tail"),
		UNKNOWN(NULL, "how large the data device is, is known to the device alone") } },
	{ "data nr_allocated", ON(SUPERBLOCK), ANY, AT, DATA_SM(nr_allocated), 8, .rows = {
		FOUND(is_more_than_there_are, REPAIRABLE, "space-map-allocated"),
		UNKNOWN_UP_TO(LEAK, is_one_off_used, "other writers leave it off by one"),
		NAMED(NULL, LEAK, "space-map-used") } },
	{ "data bitmap_root", ON(SUPERBLOCK), ANY, AT, DATA_SM(bitmap_root), 8, .rows = { FOUND(NULL, REPAIRABLE) } },
	{ "data ref_count_root", ON(SUPERBLOCK), ANY, AT, DATA_SM(ref_count_root), 8,
	  .rows = { FOUND(NULL, REPAIRABLE) } },
	{ "behind data map root", ON(SUPERBLOCK), ANY, SPAN, SB(data_space_map_root) + sizeof(struct pd_sm_root_disk), 8,
	  .span = SM_ROOT_REST, .rows = { UNKNOWN(NULL, "room that is not used") } },
	{ "metadata nr_blocks", ON(SUPERBLOCK), ANY, AT, META_SM(nr_blocks), 8, .rows = {
		NAMED(is_no_metadata_size, REPAIRABLE, "space-map-blocks"),
		NAMED(is_larger_than_device, REPAIRABLE, "device-too-small"),
		FOUND(is_reference_cut, REPAIRABLE),
		NAMED(NULL, COSMETIC, "superblock-metadata-blocks") } },
	{ "metadata nr_allocated", ON(SUPERBLOCK), ANY, AT, META_SM(nr_allocated), 8, .rows = {
		FOUND(is_more_than_there_are, REPAIRABLE, "space-map-allocated"),
		UNKNOWN_UP_TO(LEAK, is_one_off_used, "other writers leave it off by one"),
		NAMED(NULL, LEAK, "space-map-used") } },
	{ "metadata bitmap_root", ON(SUPERBLOCK), ANY, AT, META_SM(bitmap_root), 8,
	  .rows = { FOUND(NULL, LEAK) } }, /* to an older one, which may count all that is in use, and itself */
	{ "metadata ref_count_root", ON(SUPERBLOCK), ANY, AT, META_SM(ref_count_root), 8,
	  .rows = { FOUND(NULL, REPAIRABLE) } },
	{ "behind metadata map root", ON(SUPERBLOCK), ANY, SPAN,
	  SB(metadata_space_map_root) + sizeof(struct pd_sm_root_disk), 8,
	  .span = SM_ROOT_REST, .rows = { UNKNOWN(NULL, "room that is not used") } },

	{ "data_mapping_root", SUPERBLOCKS, ANY, AT, SB(data_mapping_root), 8, .rows = { FOUND(NULL, REPAIRABLE) } },
	{ "device_details_root", SUPERBLOCKS, ANY, AT, SB(device_details_root), 8,
	  .rows = { FOUND(NULL, REPAIRABLE) } },
	{ "data_block_size", ON(SUPERBLOCK), ANY, AT, SB(data_block_size), 4, .rows = {
		UNKNOWN(is_block_size, "another size that is possible: LVM knows it, the metadata does not"),
		NAMED(NULL, REPAIRABLE, "superblock-data-block-size") } },
	{ "metadata_block_size", ON(SUPERBLOCK), ANY, AT, SB(metadata_block_size), 4,
	  .rows = { NAMED(NULL, REPAIRABLE, "superblock-metadata-block-size") } },
	{ "metadata_nr_blocks", ON(SUPERBLOCK), ANY, AT, SB(metadata_nr_blocks), 8,
	  .rows = { NAMED(NULL, COSMETIC, "superblock-metadata-blocks") } },
	{ "compat_flags", ON(SUPERBLOCK), ANY, AT, SB(compat_flags), 4,
	  .rows = { NAMED(NULL, COSMETIC, "superblock-flags") } },
	{ "compat_ro_flags", ON(SUPERBLOCK), ANY, AT, SB(compat_ro_flags), 4,
	  .rows = { NAMED(NULL, REPAIRABLE, "superblock-compat-ro") } },
	{ "incompat_flags", ON(SUPERBLOCK), ANY, AT, SB(incompat_flags), 4,
	  .rows = { NAMED(NULL, REPAIRABLE, "superblock-incompat") } },
	{ "behind the superblock", SUPERBLOCKS, ANY, SPAN, sizeof(struct thin_superblock_disk), 8,
	  .span = PD_BLOCK_SIZE - sizeof(struct thin_superblock_disk),
	  .rows = { UNKNOWN(NULL, "room that is not used") } },
	{ "time", ON(HELD), ANY, AT, SB(time), 4, .rows = {
		FOUND(is_before_newest, FATAL, "superblock-time"),
		UNKNOWN_UP_TO(FATAL, NULL, "as in the superblock itself; and nobody takes snapshots by it") } },
	{ "trans_id", ON(HELD), ANY, AT, SB(trans_id), 8, .rows = { UNKNOWN(NULL, "LVM's own to count") } },
	{ "flags", ON(HELD), ANY, AT, SB(flags), 4, .rows = { UNKNOWN(NULL, COPY) } },
	{ "version", ON(HELD), ANY, AT, SB(version), 4, .rows = { UNKNOWN(NULL, COPY) } },
	{ "held_root", ON(HELD), ANY, AT, SB(held_root), 8, .rows = { UNKNOWN(NULL, COPY) } },
	{ "space map roots", ON(HELD), ANY, SPAN, SB(data_space_map_root), 8, .span = 256,
	  .rows = { UNKNOWN(NULL, COPY) } },
	{ "fields of the pool", ON(HELD), ANY, SPAN, SB(data_block_size), 4, .span = 28,
	  .rows = { UNKNOWN(NULL, COPY) } },

	/* What all nodes have. */
	{ "csum", NODES, ANY, AT, NODE(csum), 4, .seal = SEAL_NOTHING, .rows = { NAMED(NULL, REPAIRABLE, LOST_NAMES) } },
	{ "blocknr", NODES, ANY, AT, NODE(blocknr), 8, .seal = SEAL_CHECKSUM,
	  .rows = { NAMED(NULL, REPAIRABLE, "block-number") } },
	{ "flags", NODES, ANY, AT, NODE(flags), 4, .rows = {
		NAMED(is_no_kind, REPAIRABLE, "node-flags"),
		NAMED(is_empty, REPAIRABLE, "node-childless", "node-value-size"),
		FOUND(NULL, REPAIRABLE) } },
	{ "nr_entries", NODES, INTERNAL, AT, NODE(nr_entries), 4, .rows = {
		NAMED(are_more_than_max, REPAIRABLE, "node-nr-entries"),
		FOUND(NULL, LEAK) } },
	{ "nr_entries", DEVICE_NODES | ON(DATA_INDEX), LEAF, AT, NODE(nr_entries), 4, .rows = {
		NAMED(are_more_than_max, REPAIRABLE, "node-nr-entries"),
		FOUND(NULL, REPAIRABLE) } },
	{ "nr_entries", COUNT_NODES, LEAF, AT, NODE(nr_entries), 4, .rows = {
		NAMED(are_more_than_max, REPAIRABLE, "node-nr-entries"),
		FOUND(is_lowered, REPAIRABLE, "space-map-count"),
		NAMED(NULL, COSMETIC, "space-map-stray-count", KEY_NAMES) } },
	{ "max_entries", NODES, ANY, AT, NODE(max_entries), 4, .rows = {
		NAMED(does_not_fit, REPAIRABLE, "node-max-entries"),
		NAMED(is_less_than_entries, REPAIRABLE, "node-nr-entries"),
		NAMED(are_values_the_same, COSMETIC, "node-room"),
		NAMED(are_values_turned_round, COSMETIC, "node-room"),
		NAMED(are_details, COSMETIC, "node-room"),
		FOUND(NULL, LEAK) } },
	{ "value_size", NODES, ANY, AT, NODE(value_size), 4, .rows = { NAMED(NULL, REPAIRABLE, "node-value-size") } },
	{ "padding", NODES, ANY, AT, NODE(padding), 4, .rows = { UNKNOWN(NULL, "padding") } },
	{ "spare key", NODES, ANY, SPARE_KEY, 0, 8, .rows = { UNKNOWN(NULL, "leftovers are normal there") } },
	{ "spare value", NODES, ANY, SPARE_VALUE, 0, 4, .rows = { UNKNOWN(NULL, "leftovers are normal there") } },
	{ "separator", NODES, INTERNAL, KEY, 0, 8, .rows = {
		UNKNOWN(is_key_in_gap, "between what is below its neighbours it leads to the same entries"),
		FOUND(NULL, REPAIRABLE, KEY_NAMES) } },
	{ "child", NODES, INTERNAL, VALUE, 0, 8, .rows = { FOUND(NULL, REPAIRABLE) } },

	/* The devices. */
	{ "device id", ON(DETAILS) | ON(TOP), LEAF, KEY, 0, 8, .rows = {
		FOUND(NULL, REPAIRABLE, "device-details-missing", "device-mappings-missing", "device-id", KEY_NAMES) } },
	{ "device's root", ON(TOP), LEAF, VALUE, 0, 8, .rows = { FOUND(NULL, REPAIRABLE) } },
	{ "mapped_blocks", ON(DETAILS), LEAF, VALUE, DETAILS(mapped_blocks), 8,
	  .rows = { FOUND(NULL, REPAIRABLE, "mapped-blocks") } },
	{ "transaction_id", ON(DETAILS), LEAF, VALUE, DETAILS(transaction_id), 8, .rows = {
		FOUND(is_after_transaction, COSMETIC, "device-transaction"),
		UNKNOWN(NULL, "when the device was made is said nowhere else") } },
	{ "creation_time", ON(DETAILS), LEAF, VALUE, DETAILS(creation_time), 4, .rows = {
		FOUND(is_after_last_snapshot, FATAL, "device-times"),
		UNKNOWN(NULL, "when the device was made is said nowhere else, and does not matter") } },
	{ "snapshotted_time", ON(DETAILS), LEAF, VALUE, DETAILS(snapshotted_time), 4, .rows = {
		FOUND(is_after_pool, FATAL, "superblock-time"),
		FOUND(is_before_creation, FATAL, "device-times"),
		UNKNOWN(is_raised, "later than it was: blocks are copied once more, and that is all"),
		UNKNOWN(NULL, "the device's mappings, and who shares them, would tell; they are not compared with it") } },
	{ "virtual block", ON(MAPPINGS), LEAF, KEY, 0, 8, .rows = {
		UNKNOWN(is_key_in_gap, "which of the virtual blocks between its neighbours it was is said nowhere else"),
		NAMED(NULL, LOSSY, KEY_NAMES) } },
	{ "data block", ON(MAPPINGS), LEAF, VALUE, 0, 8, THIN_TIME_BITS, 64 - THIN_TIME_BITS,
	  .rows = { FOUND(NULL, LOSSY, "mapping-beyond-data", "data-count-low") } },
	{ "time", ON(MAPPINGS), LEAF, VALUE, 0, 8, 0, THIN_TIME_BITS, .rows = {
		FOUND(is_after_pool, FATAL, "superblock-time"),
		UNKNOWN(is_lowered, "earlier than it was: the block is copied once more, and that is all"),
		UNKNOWN(NULL, "who shares the block would tell; they are not compared with it") } },

	/* Space maps. */
	{ "bitmap's number", ON(DATA_INDEX), LEAF, KEY, 0, 8,
	  .rows = { FOUND(NULL, REPAIRABLE, "space-map-index", KEY_NAMES) } },
	{ "bitmap", ON(DATA_INDEX), LEAF, VALUE, ENTRY(blocknr), 8, .rows = { FOUND(NULL, REPAIRABLE) } },
	{ "nr_free", ON(DATA_INDEX), LEAF, VALUE, ENTRY(nr_free), 4, .rows = {
		FOUND(hides_free_blocks, LEAK, "space-map-stranded"),
		UNKNOWN(is_tolerated_free, "other writers leave it so"),
		FOUND(NULL, COSMETIC, "space-map-hints") } },
	{ "none_free_before", ON(DATA_INDEX), LEAF, VALUE, ENTRY(none_free_before), 4, .rows = {
		UNKNOWN(is_free_behind, "no free block is before it: the search begins earlier, and that is all"),
		FOUND(has_free, LEAK, "space-map-stranded"),
		FOUND(NULL, COSMETIC, "space-map-hints") } },
	{ "csum", ON(META_INDEX) | BITMAPS, ANY, AT, 0, 4, .seal = SEAL_NOTHING,
	  .rows = { NAMED(NULL, REPAIRABLE, LOST_NAMES) } },
	{ "blocknr", ON(META_INDEX) | BITMAPS, ANY, AT, 8, 8, .seal = SEAL_CHECKSUM,
	  .rows = { NAMED(NULL, REPAIRABLE, "block-number") } },
	{ "padding", ON(META_INDEX) | BITMAPS, ANY, AT, 4, 4, .rows = { UNKNOWN(NULL, "padding") } },
	{ "bitmap", ON(META_INDEX), ANY, INDEX_ENTRY, ENTRY(blocknr), 8, .rows = { FOUND(NULL, LEAK) } }, /* the same */
	{ "nr_free", ON(META_INDEX), ANY, INDEX_ENTRY, ENTRY(nr_free), 4, .rows = {
		FOUND(hides_free_blocks, LEAK, "space-map-stranded"),
		UNKNOWN(is_tolerated_free, "other writers leave it so"),
		FOUND(NULL, COSMETIC, "space-map-hints") } },
	{ "none_free_before", ON(META_INDEX), ANY, INDEX_ENTRY, ENTRY(none_free_before), 4, .rows = {
		UNKNOWN(is_free_behind, "no free block is before it: the search begins earlier, and that is all"),
		FOUND(has_free, LEAK, "space-map-stranded"),
		FOUND(NULL, COSMETIC, "space-map-hints") } },
	{ "spare entry", ON(META_INDEX), ANY, INDEX_SPARE, 0, 8,
	  .rows = { UNKNOWN(NULL, "real pools have had bytes there that nobody expected") } },
	{ "count", BITMAPS, ANY, USED_COUNT, 0, 1, .bits = 2, .rows = {
		FOUND(is_too_low, FATAL, "data-count-low", "metadata-count-low"),
		UNKNOWN_UP_TO(REPAIRABLE, is_of_a_leak, "the block is leaked already"),
		FOUND(NULL, REPAIRABLE, "data-count-high", "metadata-count-high", "space-map-count") } },
	{ "count of free block", BITMAPS, ANY, FREE_COUNT, 0, 1, .bits = 2, .rows = {
		FOUND(is_leak, LEAK, "data-leaked", "metadata-leaked"),
		FOUND(NULL, REPAIRABLE, "space-map-count") } },
	{ "count of no block", BITMAPS, ANY, TAIL_COUNT, 0, 1, .bits = 2,
	  .rows = { NAMED(NULL, COSMETIC, "space-map-tail") } },
	{ "block that is counted", COUNT_NODES, LEAF, KEY, 0, 8,
	  .rows = { FOUND(NULL, REPAIRABLE, "space-map-count", KEY_NAMES) } },
	{ "count", COUNT_NODES, LEAF, VALUE, 0, 4, .rows = {
		FOUND(is_too_low, FATAL, "data-count-low", "metadata-count-low"),
		FOUND(NULL, REPAIRABLE, "data-count-high", "metadata-count-high") } },
};

const unsigned nr_rules = sizeof(rules) / sizeof(*rules);

const struct row *row_of(const struct world *w, const struct change *c)
{
	const struct row *row = c->rule->rows;

	while (row->when && !row->when(w, c))
		row++;
	return row;
}
