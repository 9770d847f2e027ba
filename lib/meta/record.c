// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/record.h"

#define F(type, member, label, attribute, how) \
	{ .name = label, .xml = attribute, .offset = offsetof(struct type, member), \
	  .size = sizeof(((struct type *)0)->member), .format = how }
/* A field whose name is the member's. */
#define N(type, member, attribute) F(type, member, #member, attribute, FIELD_DEC)
/* The id of a device, which is called that in every record. */
#define D(type, attribute) F(type, dev_id, "dev_id", attribute, FIELD_DEVICE)
#define T(type, member) F(type, member, #member, NULL, FIELD_TEXT)
#define HIDDEN(type, member, label) \
	{ .name = label, .offset = offsetof(struct type, member), .size = sizeof(((struct type *)0)->member), \
	  .hidden = 1 }

#define HIDDEN_TEXT(type, member) \
	{ .name = #member, .offset = offsetof(struct type, member), .format = FIELD_TEXT, .hidden = 1 }

static const struct field superblock_fields[] = {
	F(record_superblock, uuid, "uuid", "uuid", FIELD_TEXT),
	N(record_superblock, time, "time"),
	N(record_superblock, transaction, "transaction"),
	N(record_superblock, flags, "flags"),
	N(record_superblock, version, "version"),
	N(record_superblock, data_block_size, "data_block_size"),
	N(record_superblock, nr_data_blocks, "nr_data_blocks"),
};

static const struct field device_fields[] = {
	D(record_device, "dev_id"),
	N(record_device, mapped_blocks, "mapped_blocks"),
	N(record_device, transaction, "transaction"),
	N(record_device, creation_time, "creation_time"),
	N(record_device, snap_time, "snap_time"),
};

/* One struct, two elements: thin_restore wants a single block under other names. JSON has one form for both. */
static const struct field single_fields[] = {
	D(record_mapping, NULL),
	F(record_mapping, origin_begin, "origin", "origin_block", FIELD_DEC),
	F(record_mapping, data_begin, "data", "data_block", FIELD_DEC),
	F(record_mapping, length, "length", NULL, FIELD_DEC),
	N(record_mapping, time, "time"),
};

static const struct field range_fields[] = {
	D(record_mapping, NULL),
	F(record_mapping, origin_begin, "origin", "origin_begin", FIELD_DEC),
	F(record_mapping, data_begin, "data", "data_begin", FIELD_DEC),
	N(record_mapping, length, "length"),
	N(record_mapping, time, "time"),
	HIDDEN(record_mapping, origin_last, "origin_last"),
	HIDDEN(record_mapping, data_last, "data_last"),
};

static const struct field def_fields[] = {
	N(record_def, name, "name"),
};

static const struct field extents_fields[] = {
	D(record_extents, NULL),
};

static const struct field extent_fields[] = {
	D(record_extent, NULL),
	F(record_extent, virtual, "virtual_bytes", NULL, FIELD_DEC),
	F(record_extent, data, "data_bytes", NULL, FIELD_DEC),
	F(record_extent, length, "length_bytes", NULL, FIELD_DEC),
};

static const struct field path_fields[] = {
	D(record_path, NULL),
	N(record_path, virtual_block, NULL),
	T(record_path, result),
	F(record_path, data_block, "data_block", NULL, FIELD_OPTIONAL),
	F(record_path, time, "time", NULL, FIELD_OPTIONAL),
	F(record_path, data_bytes, "data_bytes", NULL, FIELD_OPTIONAL),
	F(record_path, data_length, "length_bytes", NULL, FIELD_OPTIONAL),
	HIDDEN_TEXT(record_path, text),
};

static const struct field hop_fields[] = {
	T(record_hop, where),
	N(record_hop, block, NULL),
	T(record_hop, state),
	F(record_hop, entry, "entry", NULL, FIELD_OPTIONAL),
	F(record_hop, key, "key", NULL, FIELD_OPTIONAL),
	F(record_hop, begin, "begin", NULL, FIELD_OPTIONAL),
	F(record_hop, end, "end", NULL, FIELD_OPTIONAL),
	HIDDEN_TEXT(record_hop, text),
};

static const char *const path_arrays[] = { "hops", "problems", NULL };

static const struct field owned_fields[] = {
	N(record_owned, block, NULL),
	T(record_owned, role),
	T(record_owned, shape),
	T(record_owned, state),
	HIDDEN_TEXT(record_owned, text),
};

#define OWNER_FIELDS \
	F(record_owner, begin, "begin", NULL, FIELD_OPTIONAL), \
	F(record_owner, end, "end", NULL, FIELD_OPTIONAL), \
	T(record_owner, keys), \
	T(record_owner, generation), \
	HIDDEN_TEXT(record_owner, range)

static const struct field owner_fields[] = {
	N(record_owner, block, NULL),
	D(record_owner, NULL),
	OWNER_FIELDS,
	T(record_owner, path),
};

static const struct field owner_pool_fields[] = {
	N(record_owner, block, NULL),
	OWNER_FIELDS,
	T(record_owner, path),
};

static const struct field cost_fields[] = {
	N(record_owner, block, NULL),
	D(record_owner, NULL),
	OWNER_FIELDS,
};

static const struct field cost_pool_fields[] = {
	N(record_owner, block, NULL),
	OWNER_FIELDS,
};

static const struct field unowned_fields[] = {
	N(record_unowned, begin, NULL),
	N(record_unowned, end, NULL),
	T(record_unowned, kind),
	F(record_unowned, count, "count", NULL, FIELD_OPTIONAL),
	HIDDEN_TEXT(record_unowned, range),
	HIDDEN_TEXT(record_unowned, state),
};

static const struct field bad_fields[] = {
	N(record_bad, block, NULL),
	T(record_bad, name),
	T(record_bad, severity),
	T(record_bad, where),
	T(record_bad, looks),
	T(record_bad, message),
	T(record_bad, remedy),
	HIDDEN_TEXT(record_bad, text),
};

static const struct field bad_end_fields[] = {
	N(record_bad_end, blocks, NULL),
	N(record_bad_end, not_shown, NULL),
	HIDDEN_TEXT(record_bad_end, text),
};

static const struct field summary_fields[] = {
	T(record_summary, image),
	T(record_summary, what),
	T(record_summary, state),
	F(record_summary, bytes, "image_bytes", NULL, FIELD_BYTES),
	T(record_summary, uuid),
	F(record_summary, checksum, "checksum", NULL, FIELD_HEX),
	F(record_summary, checksum_expected, "checksum_expected", NULL, FIELD_HEX),
	T(record_summary, checksum_state),
	F(record_summary, flags, "flags", NULL, FIELD_HEX),
	T(record_summary, flag_names),
	N(record_summary, version, NULL),
	N(record_summary, time, NULL),
	N(record_summary, transaction, NULL),
	N(record_summary, held_root, NULL),
	N(record_summary, data_mapping_root, NULL),
	N(record_summary, device_details_root, NULL),
	F(record_summary, compat_flags, "compat_flags", NULL, FIELD_HEX),
	F(record_summary, compat_ro_flags, "compat_ro_flags", NULL, FIELD_HEX),
	F(record_summary, incompat_flags, "incompat_flags", NULL, FIELD_HEX),
	F(record_summary, data_block_bytes, "data_block_bytes", NULL, FIELD_BYTES),
	F(record_summary, metadata_used, "metadata_used_blocks", NULL, FIELD_DEC),
	F(record_summary, metadata_total, "metadata_total_blocks", NULL, FIELD_DEC),
	F(record_summary, metadata_percent, "metadata_used_percent", NULL, FIELD_DEC),
	F(record_summary, metadata_bytes, "metadata_total_bytes", NULL, FIELD_BYTES),
	F(record_summary, data_used, "data_used_blocks", NULL, FIELD_DEC),
	F(record_summary, data_total, "data_total_blocks", NULL, FIELD_DEC),
	F(record_summary, data_percent, "data_used_percent", NULL, FIELD_DEC),
	F(record_summary, data_used_bytes, "data_used_bytes", NULL, FIELD_BYTES),
	F(record_summary, data_bytes, "data_total_bytes", NULL, FIELD_BYTES),
	N(record_summary, fatal, NULL),
	N(record_summary, lossy, NULL),
	N(record_summary, repairable, NULL),
	N(record_summary, cosmetic, NULL),
	T(record_summary, lvm_group),
	T(record_summary, lvm_pool),
	F(record_summary, lvm_transaction, "lvm_transaction", NULL, FIELD_OPTIONAL),
	T(record_summary, lvm_state),
	T(record_summary, lvm_advice),
	HIDDEN_TEXT(record_summary, more),
	HIDDEN_TEXT(record_summary, lvm_line),
	HIDDEN_TEXT(record_summary, lvm_heading),
	HIDDEN_TEXT(record_summary, lvm_ending),
	HIDDEN_TEXT(record_summary, shares),
};

static const struct field device_row_fields[] = {
	D(record_device_row, NULL),
	N(record_device_row, mapped_blocks, NULL),
	F(record_device_row, mapped_bytes, "mapped_bytes", NULL, FIELD_BYTES),
	F(record_device_row, found_blocks, "found_blocks", NULL, FIELD_OPTIONAL),
	F(record_device_row, transaction, "transaction", NULL, FIELD_OPTIONAL),
	F(record_device_row, creation_time, "creation_time", NULL, FIELD_OPTIONAL),
	F(record_device_row, snap_time, "snap_time", NULL, FIELD_OPTIONAL),
	F(record_device_row, exclusive_blocks, "exclusive_blocks", NULL, FIELD_OPTIONAL),
	F(record_device_row, shared_blocks, "shared_blocks", NULL, FIELD_OPTIONAL),
	T(record_device_row, state),
	HIDDEN_TEXT(record_device_row, shares),
};

static const struct field ls_fields[] = {
	T(record_ls, image),
	N(record_ls, data_block_bytes, NULL),
	N(record_ls, fatal, NULL),
	N(record_ls, lossy, NULL),
	N(record_ls, repairable, NULL),
	N(record_ls, cosmetic, NULL),
};

#define LS(member, label, how) F(record_ls_row, member, label, NULL, how)

/* The columns of ls: names and order are thin_ls's. */
static const struct field ls_row_fields[] = {
	LS(dev_id, "dev", FIELD_OPTIONAL),
	LS(mapped.blocks, "mapped_blocks", FIELD_OPTIONAL),
	LS(exclusive.blocks, "exclusive_blocks", FIELD_OPTIONAL),
	LS(shared.blocks, "shared_blocks", FIELD_OPTIONAL),
	LS(highest.blocks, "highest_block", FIELD_OPTIONAL),
	LS(mapped.sectors, "mapped_sectors", FIELD_OPTIONAL),
	LS(exclusive.sectors, "exclusive_sectors", FIELD_OPTIONAL),
	LS(shared.sectors, "shared_sectors", FIELD_OPTIONAL),
	LS(highest.sectors, "highest_sector", FIELD_OPTIONAL),
	LS(mapped.bytes, "mapped_bytes", FIELD_OPTIONAL),
	LS(exclusive.bytes, "exclusive_bytes", FIELD_OPTIONAL),
	LS(shared.bytes, "shared_bytes", FIELD_OPTIONAL),
	LS(highest.bytes, "highest_byte", FIELD_OPTIONAL),
	LS(mapped.size, "mapped", FIELD_SIZE),
	LS(exclusive.size, "exclusive", FIELD_SIZE),
	LS(shared.size, "shared", FIELD_SIZE),
	LS(highest.size, "highest_mapped", FIELD_SIZE),
	LS(transaction, "transaction", FIELD_OPTIONAL),
	LS(creation_time, "create_time", FIELD_OPTIONAL),
	LS(snap_time, "snap_time", FIELD_OPTIONAL),
	LS(lv, "lv", FIELD_TEXT),
};

static const struct field stray_fields[] = {
	D(record_stray, NULL),
	T(record_stray, message),
	HIDDEN_TEXT(record_stray, lead),
};

static const struct field size_plan_fields[] = {
	F(record_size_plan, data_bytes, "data_bytes", NULL, FIELD_BYTES),
	F(record_size_plan, data_block_bytes, "data_block_bytes", NULL, FIELD_BYTES),
	N(record_size_plan, data_blocks, NULL),
	N(record_size_plan, max_thins, NULL),
	F(record_size_plan, sectors, "metadata_sectors", NULL, FIELD_DEC),
	F(record_size_plan, blocks, "metadata_blocks", NULL, FIELD_DEC),
	F(record_size_plan, bytes, "metadata_bytes", NULL, FIELD_DEC),
	F(record_size_plan, most_blocks, "most_blocks", NULL, FIELD_DEC),
	{ .name = "size", .offset = offsetof(struct record_size_plan, bytes), .size = 8, .format = FIELD_BYTES,
	  .hidden = 1 },
	HIDDEN_TEXT(record_size_plan, note),
};

static const struct field size_pool_fields[] = {
	T(record_size_pool, image),
	T(record_size_pool, what),
	F(record_size_pool, data_block_bytes, "data_block_bytes", NULL, FIELD_BYTES),
	N(record_size_pool, data_blocks, NULL),
	N(record_size_pool, max_thins, NULL),
	N(record_size_pool, devices, NULL),
	N(record_size_pool, mappings, NULL),
	F(record_size_pool, used, "used_blocks", NULL, FIELD_DEC),
	F(record_size_pool, total, "total_blocks", NULL, FIELD_DEC),
	F(record_size_pool, packed, "packed_blocks", NULL, FIELD_DEC),
	F(record_size_pool, packed_superblock, "packed_superblock", NULL, FIELD_DEC),
	F(record_size_pool, packed_details, "packed_details", NULL, FIELD_DEC),
	F(record_size_pool, packed_top, "packed_top_level", NULL, FIELD_DEC),
	F(record_size_pool, packed_mappings, "packed_mappings", NULL, FIELD_DEC),
	F(record_size_pool, packed_data_sm, "packed_data_space_map", NULL, FIELD_DEC),
	F(record_size_pool, packed_metadata_sm, "packed_metadata_space_map", NULL, FIELD_DEC),
	F(record_size_pool, full, "full_blocks", NULL, FIELD_DEC),
	F(record_size_pool, most, "most_blocks", NULL, FIELD_DEC),
	N(record_size_pool, fatal, NULL),
	N(record_size_pool, lossy, NULL),
	N(record_size_pool, repairable, NULL),
	N(record_size_pool, cosmetic, NULL),
	HIDDEN_TEXT(record_size_pool, note),
};

static const struct field block_fields[] = {
	N(record_block, block, NULL),
	T(record_block, kind),
	F(record_block, checksum, "checksum", NULL, FIELD_HEX),
	T(record_block, state),
};

static const struct field field_fields[] = {
	N(record_field, offset, NULL),
	T(record_field, hex),
	T(record_field, name),
	T(record_field, value),
};

static const char *const summary_arrays[] = { "devices", "not_in_pool", "not_in_lvm", "problems", NULL };

static const struct field delta_pool_fields[] = {
	F(record_delta_pool, uuid, "uuid", "uuid", FIELD_TEXT),
	N(record_delta_pool, time, "time"),
	N(record_delta_pool, transaction, "transaction"),
	N(record_delta_pool, data_block_size, "data_block_size"),
	N(record_delta_pool, nr_data_blocks, "nr_data_blocks"),
	F(record_delta_pool, metadata_snap, "metadata_snap", "metadata_snap", FIELD_OPTIONAL),
};

#define DELTA_SIDE(side) \
	F(record_delta, side.dev_id, #side "_dev", #side, FIELD_DEVICE), \
	F(record_delta, side.tree, #side "_tree", #side "_root", FIELD_OPTIONAL), \
	F(record_delta, side.of, #side "_of", NULL, FIELD_TEXT), \
	F(record_delta, side.generation, #side "_generation", NULL, FIELD_OPTIONAL), \
	F(record_delta, side.root, #side "_root", NULL, FIELD_DEC), \
	{ .name = #side, .offset = offsetof(struct record_delta, side.text), .format = FIELD_TEXT, .hidden = 1 }

static const struct field delta_fields[] = {
	DELTA_SIDE(left),
	DELTA_SIDE(right),
	HIDDEN_TEXT(record_delta, image),
};

#define RANGE_HIDDEN(member) \
	{ .name = #member, .offset = offsetof(struct record_delta_range, member), .size = 8, \
	  .format = FIELD_OPTIONAL, .hidden = 1 }
#define RANGE(member, attribute) F(record_delta_range, member, #member, attribute, FIELD_OPTIONAL)

/* Only XML tells these apart: which data blocks it shows, and what it calls them. */
#define DELTA_RANGE_FIELDS(left_attribute, right_attribute) { \
	T(record_delta_range, kind), \
	HIDDEN_TEXT(record_delta_range, text), \
	RANGE(begin, "begin"), \
	RANGE(left_data, left_attribute), \
	RANGE(right_data, right_attribute), \
	RANGE(length, "length"), \
	RANGE_HIDDEN(last), \
	RANGE_HIDDEN(left_last), \
	RANGE_HIDDEN(right_last), \
}

static const struct field delta_range_fields[] = DELTA_RANGE_FIELDS(NULL, NULL);
static const struct field delta_left_fields[] = DELTA_RANGE_FIELDS("data_begin", NULL);
static const struct field delta_right_fields[] = DELTA_RANGE_FIELDS(NULL, "data_begin");
static const struct field delta_both_fields[] = DELTA_RANGE_FIELDS("left_data_begin", "right_data_begin");

#define DELTA_TOTAL(kind) \
	F(record_delta_totals, kind.blocks, #kind "_blocks", NULL, FIELD_OPTIONAL), \
	F(record_delta_totals, kind.bytes, #kind "_bytes", NULL, FIELD_BYTES)

static const struct field delta_totals_fields[] = {
	DELTA_TOTAL(same), DELTA_TOTAL(different), DELTA_TOTAL(left_only), DELTA_TOTAL(right_only), DELTA_TOTAL(unknown),
};

static const struct field data_mapping_fields[] = {
	N(record_data_mapping, data, NULL),
	N(record_data_mapping, length, NULL),
	D(record_data_mapping, NULL),
	F(record_data_mapping, origin, "virtual", NULL, FIELD_DEC),
	N(record_data_mapping, time, NULL),
	HIDDEN(record_data_mapping, data_end, "data_end"),
	HIDDEN(record_data_mapping, origin_end, "virtual_end"),
};

static const struct field data_count_fields[] = {
	N(record_data_count, data, NULL),
	N(record_data_count, length, NULL),
	F(record_data_count, stored, "stored", NULL, FIELD_OPTIONAL),
	N(record_data_count, found, NULL),
	HIDDEN(record_data_count, end, "end"),
	HIDDEN_TEXT(record_data_count, verdict),
};

#define DIFF_SIDE(side) \
	F(record_diff, side.image, #side "_image", NULL, FIELD_TEXT), \
	F(record_diff, side.what, #side "_what", NULL, FIELD_TEXT), \
	F(record_diff, side.bytes, #side "_bytes", NULL, FIELD_BYTES)

static const struct field diff_fields[] = { DIFF_SIDE(left), DIFF_SIDE(right) };

static const struct field diff_section_fields[] = { T(record_diff_section, title) };

static const struct field diff_field_fields[] = {
	T(record_diff_field, name), T(record_diff_field, left), T(record_diff_field, right),
};

static const struct field diff_device_fields[] = {
	D(record_diff_device, NULL),
	T(record_diff_device, kind),
	T(record_diff_device, field),
	F(record_diff_device, left, "left", NULL, FIELD_OPTIONAL),
	F(record_diff_device, right, "right", NULL, FIELD_OPTIONAL),
	HIDDEN_TEXT(record_diff_device, text),
};

#define DIFF_RANGE(member) F(record_diff_range, range.member, #member, NULL, FIELD_OPTIONAL)
#define DIFF_RANGE_HIDDEN(member) \
	{ .name = #member, .offset = offsetof(struct record_diff_range, range.member), .size = 8, \
	  .format = FIELD_OPTIONAL, .hidden = 1 }

static const struct field diff_range_fields[] = {
	D(record_diff_range, NULL),
	F(record_diff_range, range.kind, "kind", NULL, FIELD_TEXT),
	DIFF_RANGE(begin),
	DIFF_RANGE(length),
	DIFF_RANGE(left_data),
	DIFF_RANGE(right_data),
	F(record_diff_range, left_time, "left_time", NULL, FIELD_OPTIONAL),
	F(record_diff_range, right_time, "right_time", NULL, FIELD_OPTIONAL),
	{ .name = "text", .offset = offsetof(struct record_diff_range, range.text), .format = FIELD_TEXT, .hidden = 1 },
	DIFF_RANGE_HIDDEN(last),
	DIFF_RANGE_HIDDEN(left_last),
	DIFF_RANGE_HIDDEN(right_last),
};

static const struct field diff_block_fields[] = {
	N(record_diff_block, block, NULL),
	T(record_diff_block, left_kind),
	T(record_diff_block, right_kind),
	HIDDEN_TEXT(record_diff_block, kinds),
};

static const struct field diff_block_field_fields[] = {
	N(record_diff_block_field, block, NULL),
	N(record_diff_block_field, offset, NULL),
	N(record_diff_block_field, length, NULL),
	T(record_diff_block_field, name),
	T(record_diff_block_field, left),
	T(record_diff_block_field, right),
};

static const struct field diff_bytes_fields[] = {
	N(record_diff_block_field, block, NULL),
	N(record_diff_block_field, offset, NULL),
	N(record_diff_block_field, length, NULL),
	T(record_diff_block_field, left),
	T(record_diff_block_field, right),
};

static const struct field diff_blocks_fields[] = {
	T(record_diff_blocks, kind),
	N(record_diff_blocks, begin, NULL),
	N(record_diff_blocks, length, NULL),
	HIDDEN(record_diff_blocks, last, "last"),
	HIDDEN_TEXT(record_diff_blocks, text),
};

static const struct field plan_fields[] = {
	T(record_plan, script),
	T(record_plan, name),
	T(record_plan, target),
	N(record_plan, blocks, NULL),
	N(record_plan, block_size, NULL),
};

static const struct field plan_totals_fields[] = {
	T(record_plan_totals, state),
	N(record_plan_totals, blocks, NULL),
	N(record_plan_totals, bytes, NULL),
	T(record_plan_totals, digest),
	T(record_plan_totals, journal),
	HIDDEN_TEXT(record_plan_totals, text),
};

static const struct field journal_fields[] = {
	T(record_journal, journal),
	T(record_journal, target),
	N(record_journal, target_bytes, NULL),
	N(record_journal, blocks, NULL),
	N(record_journal, block_size, NULL),
	T(record_journal, state),
	HIDDEN_TEXT(record_journal, text),
};

static const struct field diff_more_fields[] = {
	T(record_diff_more, before), N(record_diff_more, count, NULL), T(record_diff_more, what),
};

static const struct field diff_totals_fields[] = {
	F(record_diff_totals, fields, "superblock_fields", NULL, FIELD_DEC),
	N(record_diff_totals, devices, NULL),
	N(record_diff_totals, ranges, NULL),
	N(record_diff_totals, blocks, NULL),
	N(record_diff_totals, bytes, NULL),
	N(record_diff_totals, left_only_blocks, NULL),
	N(record_diff_totals, right_only_blocks, NULL),
	N(record_diff_totals, unreadable_blocks, NULL),
	HIDDEN_TEXT(record_diff_totals, text),
};


#define DELTA_RANGE "{text:-10} {begin:12}..{last:-12} {length:12}"
static const char *const problem_arrays[] = { "problems", NULL };
static const char *const ls_arrays[] = { "devices", "problems", NULL };

#define DIFF_RANGE_TEXT "  device {dev_id}: {text:-10} {begin:10}..{last:-10} {length:10}"
static const struct field roots_fields[] = {
	T(record_roots, image),
	N(record_roots, blocks, NULL),
	N(record_roots, metadata_blocks, NULL),
	N(record_roots, unreadable_blocks, NULL),
	N(record_roots, nr_generations, NULL),
	N(record_roots, nr_trees, NULL),
	HIDDEN_TEXT(record_roots, more),
};

static const struct field generation_fields[] = {
	F(record_generation, number, "generation", NULL, FIELD_DEC),
	N(record_generation, block, NULL),
	N(record_generation, root, NULL),
	F(record_generation, details, "details", NULL, FIELD_OPTIONAL),
	F(record_generation, superblock, "superblock", NULL, FIELD_OPTIONAL),
	T(record_generation, source),
	T(record_generation, fit),
	T(record_generation, state),
	F(record_generation, transaction, "transaction", NULL, FIELD_OPTIONAL),
	N(record_generation, time, NULL),
	T(record_generation, transaction_is),
	F(record_generation, devices, "nr_devices", NULL, FIELD_DEC),
	N(record_generation, complete_devices, NULL),
	N(record_generation, mappings, NULL),
	N(record_generation, holes, NULL),
	N(record_generation, beyond_data, NULL),
	F(record_generation, data_block_size, "data_block_size", NULL, FIELD_OPTIONAL),
	HIDDEN_TEXT(record_generation, transaction_text),
	HIDDEN_TEXT(record_generation, time_text),
	HIDDEN_TEXT(record_generation, state_text),
	HIDDEN_TEXT(record_generation, beyond_text),
	HIDDEN_TEXT(record_generation, gone),
	HIDDEN_TEXT(record_generation, missing),
};

static const struct field generation_device_fields[] = {
	D(record_generation_device, NULL),
	N(record_generation_device, root, NULL),
	N(record_generation_device, mappings, NULL),
	N(record_generation_device, holes, NULL),
};

static const struct field orphan_tree_fields[] = {
	N(record_orphan_tree, block, NULL),
	D(record_orphan_tree, NULL),
	N(record_orphan_tree, mappings, NULL),
	N(record_orphan_tree, holes, NULL),
	N(record_orphan_tree, first, NULL),
	N(record_orphan_tree, last, NULL),
	N(record_orphan_tree, time, NULL),
	T(record_orphan_tree, shape),
	HIDDEN_TEXT(record_orphan_tree, state),
	HIDDEN_TEXT(record_orphan_tree, heading),
};

static const char *const roots_arrays[] = { "generations", "trees", "problems", NULL };
static const struct field map_fields[] = {
	T(record_map, image),
	F(record_map, image_bytes, "image_bytes", NULL, FIELD_BYTES),
	N(record_map, blocks, NULL),
	F(record_map, bytes, "bytes", NULL, FIELD_BYTES),
	N(record_map, used, NULL),
	N(record_map, used_percent, NULL),
	N(record_map, orphan, NULL),
	N(record_map, free, NULL),
	N(record_map, unreached, NULL),
	N(record_map, beyond, NULL),
	N(record_map, bad, NULL),
	N(record_map, shared, NULL),
	N(record_map, fatal, NULL),
	N(record_map, lossy, NULL),
	N(record_map, repairable, NULL),
	N(record_map, cosmetic, NULL),
	HIDDEN_TEXT(record_map, legend),
};

static const struct field map_role_fields[] = {
	T(record_map_role, role),
	HIDDEN_TEXT(record_map_role, text),
	N(record_map_role, blocks, NULL),
	F(record_map_role, bytes, "bytes", NULL, FIELD_BYTES),
};

static const struct field map_run_fields[] = {
	N(record_map_run, block, NULL),
	N(record_map_run, length, NULL),
	T(record_map_run, role),
	T(record_map_run, level),
	F(record_map_run, shared, "shared", NULL, FIELD_BOOL),
	F(record_map_run, bad, "bad", NULL, FIELD_BOOL),
};

static const char *const map_arrays[] = { "problems", "roles", "runs", NULL };

#define FIELDS(table) .fields = table, .nr_fields = sizeof(table) / sizeof(*(table))

static const struct field restore_fields[] = {
	T(record_restore, input),
	T(record_restore, target),
	T(record_restore, replaced),
	N(record_restore, devices, NULL),
	N(record_restore, mappings, NULL),
	F(record_restore, used_blocks, "metadata_used_blocks", NULL, FIELD_DEC),
	F(record_restore, total_blocks, "metadata_total_blocks", NULL, FIELD_DEC),
	F(record_restore, used_data_blocks, "data_used_blocks", NULL, FIELD_DEC),
	F(record_restore, total_data_blocks, "data_total_blocks", NULL, FIELD_DEC),
	N(record_restore, passes, NULL),
	F(record_restore, is_writable, "writable", NULL, FIELD_BOOL),
	HIDDEN_TEXT(record_restore, replaced_text),
	HIDDEN_TEXT(record_restore, reserve_text),
};

static const struct field pack_fields[] = {
	T(record_pack, source),
	T(record_pack, target),
	T(record_pack, replaced),
	T(record_pack, chosen_by),
	T(record_pack, reason),
	N(record_pack, blocks, NULL),
	N(record_pack, total_blocks, NULL),
	N(record_pack, unreadable, NULL),
	F(record_pack, bytes, "bytes", NULL, FIELD_BYTES),
	F(record_pack, packed_bytes, "packed_bytes", NULL, FIELD_BYTES),
	N(record_pack, transaction, NULL),
	F(record_pack, is_damaged, "damaged", NULL, FIELD_BOOL),
	HIDDEN_TEXT(record_pack, chosen_text),
	HIDDEN_TEXT(record_pack, packed_text),
	HIDDEN_TEXT(record_pack, unreadable_text),
	HIDDEN_TEXT(record_pack, replaced_text),
};

#define COPY_BYTES(member) F(record_copy, member, #member, NULL, FIELD_BYTES)

static const struct field copy_fields[] = {
	T(record_copy, source),
	T(record_copy, target),
	F(record_copy, begin, "source_begin", NULL, FIELD_DEC),
	F(record_copy, to, "target_begin", NULL, FIELD_DEC),
	COPY_BYTES(bytes),
	COPY_BYTES(had_bytes),
	COPY_BYTES(read_bytes),
	COPY_BYTES(written_bytes),
	COPY_BYTES(hole_bytes),
	COPY_BYTES(bad_bytes),
	N(record_copy, bad_ranges, NULL),
	T(record_copy, map),
	T(record_copy, verified),
	T(record_copy, hash),
	HIDDEN_TEXT(record_copy, had_text),
	HIDDEN_TEXT(record_copy, bad_text),
	HIDDEN_TEXT(record_copy, verified_text),
};

static const char *const repair_arrays[] = { "device_list", "losses", "unowned", NULL };

static const struct field repair_fields[] = {
	T(record_repair, input),
	T(record_repair, target),
	T(record_repair, verdict),
	N(record_repair, generation, NULL),
	T(record_repair, source),
	N(record_repair, root, NULL),
	F(record_repair, details, "details", NULL, FIELD_OPTIONAL),
	N(record_repair, transaction, NULL),
	N(record_repair, time, NULL),
	N(record_repair, devices, NULL),
	N(record_repair, mappings, NULL),
	F(record_repair, mappings_lost, "mappings_lost", NULL, FIELD_OPTIONAL),
	N(record_repair, mappings_stale, NULL),
	F(record_repair, unowned, "unowned_data_blocks", NULL, FIELD_OPTIONAL),
	F(record_repair, corrected, "corrected_blocks", NULL, FIELD_DEC),
	F(record_repair, metadata_used, "metadata_used_blocks", NULL, FIELD_OPTIONAL),
	F(record_repair, metadata_total, "metadata_total_blocks", NULL, FIELD_OPTIONAL),
	T(record_repair, replaced),
	HIDDEN_TEXT(record_repair, heading),
	HIDDEN_TEXT(record_repair, state),
	HIDDEN_TEXT(record_repair, written),
	HIDDEN_TEXT(record_repair, notes),
};

static const struct field repair_device_fields[] = {
	D(record_repair_device, NULL),
	N(record_repair_device, mappings, NULL),
	F(record_repair_device, mappings_lost, "mappings_lost", NULL, FIELD_OPTIONAL),
	F(record_repair_device, root, "root", NULL, FIELD_OPTIONAL),
	T(record_repair_device, details),
	T(record_repair_device, source),
	HIDDEN_TEXT(record_repair_device, text),
};

static const struct field loss_fields[] = {
	D(record_loss, NULL),
	N(record_loss, begin, NULL),
	N(record_loss, end, NULL),
	T(record_loss, state),
	F(record_loss, mappings, "mappings", NULL, FIELD_OPTIONAL),
	F(record_loss, block, "block", NULL, FIELD_OPTIONAL),
	T(record_loss, text),
	T(record_loss, option),
	HIDDEN_TEXT(record_loss, line),
};

static const struct field unowned_range_fields[] = {
	N(record_unowned_range, begin, NULL),
	N(record_unowned_range, end, NULL),
	HIDDEN_TEXT(record_unowned_range, line),
};

static const struct field repair_more_fields[] = {
	HIDDEN_TEXT(record_repair_more, line),
};

static const char *const check_arrays[] = { "problems", NULL };

static const struct field check_fields[] = {
	T(record_check, image),
	T(record_check, verdict),
	T(record_check, state),
	T(record_check, next),
	F(record_check, is_complete, "complete", NULL, FIELD_BOOL),
	F(record_check, is_safe, "safe_to_activate", NULL, FIELD_BOOL),
	F(record_check, transaction, "transaction", NULL, FIELD_OPTIONAL),
	F(record_check, devices, "devices", NULL, FIELD_OPTIONAL),
	F(record_check, mappings, "mappings", NULL, FIELD_OPTIONAL),
	F(record_check, metadata_used, "metadata_used_blocks", NULL, FIELD_OPTIONAL),
	F(record_check, metadata_total, "metadata_total_blocks", NULL, FIELD_OPTIONAL),
	F(record_check, data_used, "data_used_blocks", NULL, FIELD_OPTIONAL),
	F(record_check, data_total, "data_total_blocks", NULL, FIELD_OPTIONAL),
	N(record_check, passes, NULL),
	N(record_check, fatal, NULL),
	N(record_check, lossy, NULL),
	N(record_check, repairable, NULL),
	N(record_check, leak, NULL),
	N(record_check, cosmetic, NULL),
	N(record_check, not_shown, NULL),
	T(record_check, journal),
	F(record_check, is_cleared, "needs_check_cleared", NULL, FIELD_BOOL),
	HIDDEN_TEXT(record_check, heading),
	HIDDEN_TEXT(record_check, totals),
	HIDDEN_TEXT(record_check, mended),
	HIDDEN_TEXT(record_check, next_text),
};

static const struct field finding_fields[] = {
	T(record_finding, name),
	T(record_finding, severity),
	T(record_finding, where),
	F(record_finding, block, "block", NULL, FIELD_OPTIONAL),
	T(record_finding, message),
	T(record_finding, meaning),
	T(record_finding, remedy),
	N(record_finding, count, NULL),
	HIDDEN_TEXT(record_finding, text),
};

static const struct field touched_fields[] = {
	D(record_touched, NULL),
	T(record_touched, keys),
	F(record_touched, begin, "begin", NULL, FIELD_OPTIONAL),
	F(record_touched, end, "end", NULL, FIELD_OPTIONAL),
	HIDDEN_TEXT(record_touched, text),
};

static const struct field touched_more_fields[] = {
	N(record_touched_more, count, NULL),
};

static const char *const in_place_arrays[] = { "mended", NULL };

static const struct field in_place_fields[] = {
	T(record_in_place, image),
	T(record_in_place, state),
	N(record_in_place, transaction, NULL),
	N(record_in_place, time, NULL),
	N(record_in_place, devices, NULL),
	N(record_in_place, mappings, NULL),
	N(record_in_place, blocks, NULL),
	N(record_in_place, passes, NULL),
	F(record_in_place, has_new_details, "details_rebuilt", NULL, FIELD_BOOL),
	F(record_in_place, new_details, "details_invented", NULL, FIELD_DEC),
	F(record_in_place, has_new_maps, "space_maps_rebuilt", NULL, FIELD_BOOL),
	T(record_in_place, journal),
	T(record_in_place, undo),
	HIDDEN_TEXT(record_in_place, heading),
	HIDDEN_TEXT(record_in_place, text),
};

static const struct field mended_fields[] = {
	T(record_mended, what),
	N(record_mended, count, NULL),
	T(record_mended, text),
};

const struct record_type record_types[NR_RECORD_KINDS] = {
	[RECORD_SUPERBLOCK] = {
		.name = "superblock", .xml = "superblock", FIELDS(superblock_fields),
		.begin = "begin superblock: \"{uuid}\", {time}, {transaction}, {flags}, {version}, {data_block_size}, "
			 "{nr_data_blocks}\n",
		.end = "end superblock\n",
	},
	[RECORD_DEVICE] = {
		.name = "device", .plural = "devices", .xml = "device", FIELDS(device_fields),
		.begin = "device: {dev_id}\nmapped_blocks: {mapped_blocks}\ntransaction: {transaction}\n"
			 "creation time: {creation_time}\nsnap time: {snap_time}\n",
		.end = "\n",
	},
	[RECORD_SINGLE] = {
		.name = "mapping", .plural = "mappings", .xml = "single_mapping", FIELDS(single_fields),
		.begin = "    {origin} -> {data}, {time}\n",
	},
	[RECORD_RANGE] = {
		.name = "mapping", .plural = "mappings", .xml = "range_mapping", FIELDS(range_fields),
		.begin = "    ({origin}..{origin_last}) -> ({data}..{data_last}), {time}\n",
	},
	[RECORD_DEF] = { .name = "def", .plural = "defs", .xml = "def", FIELDS(def_fields), .begin = "def: {name}\n" },
	[RECORD_REF] = { .name = "ref", .plural = "mappings", .xml = "ref", FIELDS(def_fields), .begin = "    ref: {name}\n" },
	[RECORD_EXTENTS] = {
		.name = "device", .plural = "devices", FIELDS(extents_fields),
		.begin = "# device {dev_id}: virtual start, data start, length; bytes\n",
	},
	[RECORD_EXTENT] = {
		.name = "extent", .plural = "extents", FIELDS(extent_fields),
		.begin = "{virtual_bytes} {data_bytes} {length_bytes}\n",
	},
	[RECORD_PATH] = {
		.name = "path", .arrays = path_arrays, FIELDS(path_fields),
		.begin = "device {dev_id}, virtual block {virtual_block}: {text}\n\n",
	},
	[RECORD_HOP] = {
		.name = "hop", .plural = "hops", FIELDS(hop_fields),
		.begin = "  {where:-14} block {block:-10} {state:-4} {text}\n",
	},
	[RECORD_OWNED] = {
		.name = "block", .plural = "blocks", FIELDS(owned_fields),
		.begin = "block {block}: {text}\n",
	},
	[RECORD_OWNER] = {
		.name = "owner", .plural = "owners", FIELDS(owner_fields),
		.begin = "    device {dev_id:-8} {range:-32} path {path}  {generation}  {lv}\n",
	},
	[RECORD_OWNER_POOL] = {
		.name = "owner", .plural = "owners", FIELDS(owner_pool_fields),
		.begin = "    the pool        {range:-32} path {path}  {generation}\n",
	},
	[RECORD_UNOWNED] = {
		.name = "unowned", .plural = "unowned", FIELDS(unowned_fields),
		.begin = "{range}: {kind}; nothing leads here, {state}\n",
	},
	[RECORD_BAD] = {
		.name = "bad", .plural = "blocks", FIELDS(bad_fields),
		.begin = "block {block}: {text} [{name}]\n    looks like: {looks}\n    what to do: {remedy}\n",
		.end = "\n",
	},
	[RECORD_COST] = {
		.name = "cost", .plural = "costs", FIELDS(cost_fields),
		.begin = "    device {dev_id:-8} {range:-32} {generation}  {lv}\n",
	},
	[RECORD_COST_POOL] = {
		.name = "cost", .plural = "costs", FIELDS(cost_pool_fields),
		.begin = "    the pool        {range:-32} {generation}\n",
	},
	[RECORD_BAD_END] = {
		.name = "verdict", .plural = "verdicts", FIELDS(bad_end_fields), .begin = "{text}\n",
	},
	[RECORD_SUMMARY] = {
		.name = "summary", .arrays = summary_arrays, FIELDS(summary_fields),
		.begin = "{image}: {what}, {image_bytes}\n"
			 "superblock      checksum {checksum} {checksum_state}, version {version}, flags {flag_names}\n"
			 "transaction     {transaction}, time {time}, metadata snapshot {held_root}\n"
			 "metadata        {metadata_used_blocks} of {metadata_total_blocks} blocks of 4 KiB used "
			 "({metadata_used_percent} %), {metadata_total_bytes} in all\n"
			 "data            {data_used_blocks} of {data_total_blocks} blocks of {data_block_bytes} used "
			 "({data_used_percent} %), {data_used_bytes} of {data_total_bytes}\n"
			 "roots           mappings {data_mapping_root}, details {device_details_root}\n"
			 "{lvm_line}"
			 "\n"
			 "  device      mapped blocks{shares}       size  transaction  created  snapshot  state{lvm_heading}\n",
		.end = "{more}\n{state}\n{lvm_ending}",
	},
	[RECORD_DEVICE_ROW] = {
		.name = "device", .plural = "devices", FIELDS(device_row_fields),
		.begin = "{dev_id:8} {mapped_blocks:18}{shares} {mapped_bytes:10} {transaction:12} {creation_time:8} "
			 "{snap_time:9}  {state:-13}  {lv}\n",
	},
	[RECORD_NOT_IN_POOL] = {
		.name = "not_in_pool", .plural = "not_in_pool", FIELDS(stray_fields),
		.begin = "{lead}device {dev_id}: {message}\n",
	},
	[RECORD_NOT_IN_LVM] = {
		.name = "not_in_lvm", .plural = "not_in_lvm", FIELDS(stray_fields),
		.begin = "{lead}device {dev_id}: {message}\n",
	},
	[RECORD_BLOCK] = {
		.name = "block", .plural = "blocks", FIELDS(block_fields),
		.begin = "block {block}: {kind}, {state}\n",
		.end = "\n",
	},
	[RECORD_FIELD] = {
		.name = "field", .plural = "fields", FIELDS(field_fields),
		.begin = "  {offset:4}  {hex:-47}  {name:-26} {value}\n",
	},
	[RECORD_LS] = { .name = "ls", .arrays = ls_arrays, FIELDS(ls_fields) },
	[RECORD_SIZE_PLAN] = {
		.name = "size", FIELDS(size_plan_fields),
		.begin = "{metadata_sectors} sectors of metadata = {metadata_blocks} blocks of 4 KiB = "
			 "{metadata_bytes} bytes, {size}\n"
			 "for {data_bytes} of data in {data_blocks} blocks of {data_block_bytes}; thin devices and "
			 "snapshots: {max_thins}\n"
			 "This is an estimate: every data block mapped, leaves of the mapping tree half full.\n{note}",
	},
	[RECORD_SIZE_POOL] = {
		.name = "size", .arrays = problem_arrays, FIELDS(size_pool_fields),
		.begin = "{image}: {what}; in blocks of 4 KiB:\n"
			 "used      {used_blocks:10}  of {total_blocks}, now\n"
			 "packed    {packed_blocks:10}  estimate: its {devices} devices and {mappings} mappings in full "
			 "nodes, what is shared kept once,\n"
			 "                      no metadata snapshot; superblock {packed_superblock}, "
			 "details {packed_details}, top level {packed_top_level}, mappings {packed_mappings},\n"
			 "                      data space map {packed_data_space_map}, metadata space map "
			 "{packed_metadata_space_map}\n"
			 "full      {full_blocks:10}  estimate: all {data_blocks} data blocks of {data_block_bytes} mapped "
			 "by {max_thins} devices, leaves half full;\n"
			 "                      more where snapshots part from each other\n"
			 "most      {most_blocks:10}  the kernel uses no more, whatever the device\n"
			 "{note}",
	},
	[RECORD_LS_ROW] = { .name = "device", .plural = "devices", FIELDS(ls_row_fields) },
	[RECORD_DELTA_POOL] = { .name = "superblock", .xml = "superblock", FIELDS(delta_pool_fields) },
	[RECORD_DELTA] = {
		.name = "delta", .xml = "diff", FIELDS(delta_fields),
		.begin = "{image}: {left} (left), {right} (right)\n\n"
			 "           virtual blocks                   length\n",
	},
#define DELTA_KIND(kind) { .name = "range", .xml = kind, FIELDS(delta_range_fields), .begin = DELTA_RANGE "\n" }
	[RECORD_DELTA_SAME] = DELTA_KIND("same"),
	[RECORD_DELTA_DIFFERENT] = DELTA_KIND("different"),
	[RECORD_DELTA_LEFT_ONLY] = DELTA_KIND("left_only"),
	[RECORD_DELTA_RIGHT_ONLY] = DELTA_KIND("right_only"),
	[RECORD_DELTA_UNKNOWN] = DELTA_KIND("unknown"),
	[RECORD_DELTA_LEFT_DATA] = {
		.name = "range", .xml = "range", FIELDS(delta_left_fields),
		.begin = DELTA_RANGE "  data {left_data}..{left_last}\n",
	},
	[RECORD_DELTA_RIGHT_DATA] = {
		.name = "range", .xml = "range", FIELDS(delta_right_fields),
		.begin = DELTA_RANGE "  data {right_data}..{right_last}\n",
	},
	[RECORD_DELTA_BOTH_DATA] = {
		.name = "range", .xml = "range", FIELDS(delta_both_fields),
		.begin = DELTA_RANGE "  data {left_data}..{left_last} and {right_data}..{right_last}\n",
	},
	[RECORD_DELTA_TOTALS] = {
		.name = "totals", FIELDS(delta_totals_fields),
		.begin = "\n"
			 "same       {same_blocks:12} blocks {same_bytes:12}\n"
			 "different  {different_blocks:12} blocks {different_bytes:12}\n"
			 "left only  {left_only_blocks:12} blocks {left_only_bytes:12}\n"
			 "right only {right_only_blocks:12} blocks {right_only_bytes:12}\n"
			 "unknown    {unknown_blocks:12} blocks {unknown_bytes:12}\n",
	},
	[RECORD_DATA_MAPPING] = {
		.name = "data_mapping", .plural = "data_mappings", FIELDS(data_mapping_fields),
		.begin = "data {data}..{data_end} -> thin({dev_id:1}) {virtual}..{virtual_end}  {lv}\n",
	},
	[RECORD_DATA_COUNT] = {
		.name = "data_count", .plural = "data_counts", FIELDS(data_count_fields),
		.begin = "count {data}..{end}: {stored} ({found} found){verdict}\n",
	},
	[RECORD_DATA_FREE] = {
		.name = "data_count", .plural = "data_counts", FIELDS(data_count_fields),
		.begin = "count {data}..{end}: free\n",
	},
	[RECORD_DIFF] = {
		.name = "diff", FIELDS(diff_fields),
		.begin = "left   {left_image}: {left_what}, {left_bytes}\n"
			 "right  {right_image}: {right_what}, {right_bytes}\n",
	},
	[RECORD_DIFF_SECTION] = { .name = "section", FIELDS(diff_section_fields), .begin = "\n{title}\n" },
	[RECORD_DIFF_FIELD] = {
		.name = "field", FIELDS(diff_field_fields), .begin = "  {name:-26} {left} -> {right}\n",
	},
	[RECORD_DIFF_DEVICE] = {
		.name = "device", FIELDS(diff_device_fields), .begin = "  device {dev_id}: {text}\n",
	},
	[RECORD_DIFF_DEVICE_FIELD] = {
		.name = "device", FIELDS(diff_device_fields), .begin = "  device {dev_id}: {field} {left} -> {right}\n",
	},
	[RECORD_DIFF_RANGE_LEFT] = {
		.name = "range", FIELDS(diff_range_fields),
		.begin = DIFF_RANGE_TEXT "  data {left_data}..{left_last}, time {left_time}\n",
	},
	[RECORD_DIFF_RANGE_RIGHT] = {
		.name = "range", FIELDS(diff_range_fields),
		.begin = DIFF_RANGE_TEXT "  data {right_data}..{right_last}, time {right_time}\n",
	},
	[RECORD_DIFF_RANGE_BOTH] = {
		.name = "range", FIELDS(diff_range_fields),
		.begin = DIFF_RANGE_TEXT "  data {left_data}..{left_last}, time {left_time} -> "
			 "{right_data}..{right_last}, time {right_time}\n",
	},
	[RECORD_DIFF_RANGE_UNKNOWN] = {
		.name = "range", FIELDS(diff_range_fields), .begin = DIFF_RANGE_TEXT "\n",
	},
	[RECORD_DIFF_BLOCK] = {
		.name = "block", FIELDS(diff_block_fields), .begin = "  block {block}: {kinds}\n",
	},
	[RECORD_DIFF_BLOCK_FIELD] = {
		.name = "block_field", FIELDS(diff_block_field_fields),
		.begin = "    {offset:4}  {name:-26} {-}{left}{.} -> {+}{right}{.}\n",
	},
	[RECORD_DIFF_BYTES] = {
		.name = "bytes", FIELDS(diff_bytes_fields),
		.begin = "    {offset:4}  {length} bytes: {-}{left}{.} -> {+}{right}{.}\n",
	},
	[RECORD_DIFF_BLOCKS] = {
		.name = "blocks", FIELDS(diff_blocks_fields), .begin = "  blocks {begin}..{last}: {text}\n",
	},
	[RECORD_DIFF_MORE] = { .name = "more", FIELDS(diff_more_fields), .begin = "{before}... and {count} more {what}\n" },
	[RECORD_DIFF_TOTALS] = { .name = "totals", FIELDS(diff_totals_fields), .begin = "\n{text}\n" },
	[RECORD_PLAN] = {
		.name = "plan", FIELDS(plan_fields),
		.begin = "{name}  {target}: {blocks} blocks of {block_size} bytes, by {script}\n",
	},
	[RECORD_PLAN_TOTALS] = { .name = "totals", FIELDS(plan_totals_fields), .begin = "\n{text}\n" },
	[RECORD_JOURNAL] = {
		.name = "journal", FIELDS(journal_fields),
		.begin = "{journal}: {text}\n"
			 "target  {target}, {target_bytes} bytes\n"
			 "blocks  {blocks} of {block_size} bytes\n",
	},
	[RECORD_ROOTS] = {
		.name = "roots", .arrays = roots_arrays, FIELDS(roots_fields),
		.begin = "{image}: generations that can still be found in {metadata_blocks} blocks of metadata, of "
			 "{blocks} blocks in all\n"
			 "\n"
			 "  N    block  source             transaction   time  devices   mappings  state\n",
		.end = "{more}\nTo look through one: bufio-dump --root=BLOCK ls {image}\n"
		       "To go back to one: bufio-repair --generation=N -i {image} -o TARGET; for a device of it, --device=DEV@N\n",
	},
	[RECORD_GENERATION] = {
		.name = "generation", .plural = "generations", FIELDS(generation_fields),
		.begin = "{generation:3} {block:8}  {source:-17} {transaction_text:12} {time_text:6} {nr_devices:8} {mappings:10}  "
			 "{state_text}{beyond_text}{gone}{missing}\n",
	},
	[RECORD_GENERATION_DEVICE] = {
		.name = "device", .plural = "devices", FIELDS(generation_device_fields),
	},
	[RECORD_ORPHAN_TREE] = {
		.name = "tree", .plural = "trees", FIELDS(orphan_tree_fields),
		.begin = "{heading}{block:8} {mappings:10}  {first:9} to {last:-9} {time:6} {dev_id:7}  "
			 "{shape}{state}  {lv}\n",
	},
	[RECORD_MAP] = {
		.name = "map", .arrays = map_arrays, FIELDS(map_fields),
		.begin = "{image}: {blocks} blocks of metadata, {bytes}\n{legend}\n",
		.end = "\nBlocks: {used} used ({used_percent} %), {orphan} orphan, {free} free, {unreached} unreached, "
		       "{bad} bad\n",
	},
	[RECORD_MAP_ROLE] = {
		.name = "role", .plural = "roles", FIELDS(map_role_fields),
		.begin = "  {text:-37} {blocks:7} {bytes:10}\n", /* behind the symbol */
	},
	[RECORD_MAP_RUN] = { .name = "run", .plural = "runs", FIELDS(map_run_fields) },
	[RECORD_RESTORE] = {
		.name = "restore", FIELDS(restore_fields),
		.begin = "{target}: thin-pool metadata restored from {input}\n"
			 "devices   {devices:10}\n"
			 "mappings  {mappings:10}\n"
			 "metadata  {metadata_used_blocks:10}  of {metadata_total_blocks} blocks of 4 KiB used\n"
			 "data      {data_used_blocks:10}  of {data_total_blocks} blocks used\n"
			 "{replaced_text}{reserve_text}",
	},
	[RECORD_PACK] = {
		.name = "pack", FIELDS(pack_fields),
		.begin = "{target}: {blocks} of {total_blocks} blocks of {source}, {chosen_text}{packed_text}\n"
			 "{unreadable_text}{replaced_text}",
	},
	[RECORD_COPY] = {
		.name = "copy", FIELDS(copy_fields),
		.begin = "{target}: {bytes} copied from {source}\n{had_text}"
			 "read      {read_bytes:10}\n"
			 "written   {written_bytes:10}\n"
			 "holes     {hole_bytes:10}\n"
			 "{bad_text}{verified_text}",
	},
	[RECORD_REPAIR] = {
		.name = "repair", .arrays = repair_arrays, FIELDS(repair_fields),
		.begin = "{input}: {heading}\n{notes}{written}", .end = "{state}\n",
	},
	[RECORD_REPAIR_DEVICE] = {
		.name = "device", .plural = "device_list", FIELDS(repair_device_fields), .begin = "{text}",
	},
	[RECORD_LOSS] = { .name = "loss", .plural = "losses", FIELDS(loss_fields), .begin = "{line}" },
	[RECORD_UNOWNED_RANGE] = {
		.name = "unowned", .plural = "unowned", FIELDS(unowned_range_fields), .begin = "{line}",
	},
	[RECORD_REPAIR_MORE] = { .name = "more", FIELDS(repair_more_fields), .begin = "{line}" },
	[RECORD_CHECK] = {
		.name = "check", .arrays = check_arrays, FIELDS(check_fields),
		.begin = "{image}: {heading}\n", .end = "\n{totals}{mended}{state}\n{next_text}",
	},
	[RECORD_FINDING] = {
		.name = "problem", .plural = "problems", FIELDS(finding_fields),
		.begin = "\n{severity}: {text} [{name}]\n", .end = "    meaning: {meaning}\n    what to do: {remedy}\n",
	},
	[RECORD_TOUCHED] = {
		.name = "touched", .plural = "touched", FIELDS(touched_fields), .begin = "    {text}\n",
	},
	[RECORD_TOUCHED_MORE] = {
		.name = "more", FIELDS(touched_more_fields), .begin = "    ... and {count} more\n",
	},
	[RECORD_IN_PLACE] = {
		.name = "in-place", .arrays = in_place_arrays, FIELDS(in_place_fields),
		.begin = "{image}: {heading}\n", .end = "\n{text}\n",
	},
	[RECORD_MENDED] = {
		.name = "mended", .plural = "mended", FIELDS(mended_fields), .begin = "  {text}: {count}\n",
	},
};
