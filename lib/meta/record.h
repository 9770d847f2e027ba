/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records: what walkers push into visitors, whatever the format of the metadata and of the output.
 *
 * A record is a plain struct; its row in record_types[] says what its fields are called and how they are written.
 * Emitters know rows and fields, never what a pool is; walkers know structs, never XML. A builder will be a visitor too.
 */
#ifndef META_RECORD_H
#define META_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pdata/problem.h"

enum record_kind {
	RECORD_SUPERBLOCK, /* contains devices */
	RECORD_DEVICE,     /* contains mappings */
	RECORD_SINGLE,     /* a mapping of one block */
	RECORD_RANGE,      /* a mapping of several */
	RECORD_DEF,        /* mappings that several devices share; contains them */
	RECORD_REF,        /* in their place */
	RECORD_EXTENTS,    /* a device, contains extents */
	RECORD_EXTENT,
	RECORD_PATH,       /* contains hops */
	RECORD_HOP,
	RECORD_OWNED,      /* a metadata block that something leads to; contains owners */
	RECORD_OWNER,      /* a device that needs it */
	RECORD_OWNER_POOL, /* another structure that does: the same without a device */
	RECORD_UNOWNED,    /* a run of metadata blocks that nothing leads to */
	RECORD_BAD,        /* a metadata block with damage; contains what that costs */
	RECORD_COST,       /* a device that it costs something; struct record_owner */
	RECORD_COST_POOL,  /* another structure: the same without a device */
	RECORD_BAD_END,
	RECORD_SUMMARY,    /* contains the device rows and problems of the summary */
	RECORD_DEVICE_ROW,
	RECORD_NOT_IN_POOL, /* a volume of LVM's without its device */
	RECORD_NOT_IN_LVM,  /* a device without its volume */
	RECORD_BLOCK, /* contains fields */
	RECORD_FIELD,
	RECORD_LS, /* contains the device rows and problems of ls */
	RECORD_LS_ROW,
	RECORD_DELTA_POOL, /* the superblock as thin_delta shows it; contains the delta */
	RECORD_DELTA,      /* contains ranges */
	RECORD_DELTA_SAME, /* a range, or with data blocks in XML what contains several */
	RECORD_DELTA_DIFFERENT,
	RECORD_DELTA_LEFT_ONLY,
	RECORD_DELTA_RIGHT_ONLY,
	RECORD_DELTA_UNKNOWN,
	RECORD_DELTA_LEFT_DATA, /* a range with the left side's data blocks, which may be the right one's too */
	RECORD_DELTA_RIGHT_DATA,
	RECORD_DELTA_BOTH_DATA,
	RECORD_DELTA_TOTALS,
	RECORD_DATA_MAPPING, /* of a data block's owner */
	RECORD_DATA_COUNT,
	RECORD_DATA_FREE, /* a count of 0, as it should be */
	RECORD_SIZE_PLAN,
	RECORD_SIZE_POOL, /* contains problems */
	RECORD_DIFF,         /* contains all that differs */
	RECORD_DIFF_SECTION, /* for people only: a heading */
	RECORD_DIFF_FIELD,   /* of the superblock */
	RECORD_DIFF_DEVICE,  /* on one side only */
	RECORD_DIFF_DEVICE_FIELD,
	RECORD_DIFF_RANGE_LEFT, /* of virtual blocks: mapped there */
	RECORD_DIFF_RANGE_RIGHT,
	RECORD_DIFF_RANGE_BOTH,
	RECORD_DIFF_RANGE_UNKNOWN,
	RECORD_DIFF_BLOCK,
	RECORD_DIFF_BLOCK_FIELD,
	RECORD_DIFF_BYTES,
	RECORD_DIFF_BLOCKS,  /* that only one image has */
	RECORD_DIFF_MORE,    /* for people only: how many were left out */
	RECORD_DIFF_TOTALS,
	RECORD_PLAN,         /* of a script: contains blocks and what differs in them, as above */
	RECORD_PLAN_TOTALS,
	RECORD_JOURNAL,
	RECORD_ROOTS, /* contains the two below */
	RECORD_GENERATION, /* contains its devices */
	RECORD_GENERATION_DEVICE,
	RECORD_ORPHAN_TREE,
	RECORD_MAP, /* contains roles, runs and problems */
	RECORD_MAP_ROLE,
	RECORD_MAP_RUN,
	RECORD_RESTORE,
	RECORD_PACK,
	RECORD_COPY,
	RECORD_REPAIR, /* contains devices, losses and data blocks */
	RECORD_REPAIR_DEVICE,
	RECORD_LOSS,
	RECORD_UNOWNED_RANGE,
	RECORD_REPAIR_MORE, /* for people only: how many were left out */
	RECORD_CHECK, /* contains findings */
	RECORD_FINDING, /* problems of one cause; contains what they touch */
	RECORD_TOUCHED,
	RECORD_TOUCHED_MORE, /* for people only: how many were left out */
	RECORD_IN_PLACE, /* a repair in place; contains what is mended */
	RECORD_MENDED,
	NR_RECORD_KINDS
};

enum field_format {
	FIELD_DEC,
	FIELD_DEVICE, /* decimal or RECORD_UNKNOWN, as below, of the id of a device: its name goes beside it */
	FIELD_SIZE,  /* a size in whole numbers: "670MiB" for people, a number elsewhere; may be RECORD_UNKNOWN */
	FIELD_OPTIONAL, /* decimal; RECORD_UNKNOWN is null, "?" for people, and no attribute in XML */
	FIELD_HEX,   /* 0x..; a string in JSON */
	FIELD_BYTES, /* a size: "4 MiB" for people, a number elsewhere; RECORD_UNKNOWN as above */
	FIELD_TEXT,  /* const char *; NULL is null, and nothing for people */
	FIELD_BOOL,  /* true or false; yes or no for people */
};

#define RECORD_UNKNOWN UINT64_MAX

struct field {
	const char *name; /* in JSON and in templates */
	const char *xml;  /* attribute, or NULL: not in XML */
	uint16_t offset;
	uint8_t size; /* of the unsigned integer: 4 or 8 */
	uint8_t format;
	uint8_t hidden; /* for templates only */
};

struct record_type {
	const char *name;   /* "type" in JSON lines */
	const char *plural; /* the array it goes into in a JSON document; NULL: its fields belong to the document */
	const char *xml;    /* element, or NULL */
	const char *const *arrays; /* what a document of it always has, ends with NULL; or NULL */
	/*
	 * Templates for people; {-} and {+} begin what is gone and what is new, {.} ends it, in colours if there are any; {field} {field:W} right-aligned in W columns, {field:-W} left-aligned. A device's name
	 * follows its id, "3 (home)"; but where that has a column, the name's own place is {lv}.
	 */
	const char *begin, *end;
	const struct field *fields;
	unsigned nr_fields;
};

extern const struct record_type record_types[NR_RECORD_KINDS];

/* Fields of unsigned integers, whatever their size. */
static inline uint64_t field_number(const struct field *f, const void *record)
{
	const char *at = (const char *)record + f->offset;
	uint64_t v64;
	uint32_t v32;

	if (f->size == 8) {
		memcpy(&v64, at, 8);
		return v64;
	}
	memcpy(&v32, at, 4);
	return v32;
}

static inline const char *field_text(const struct field *f, const void *record)
{
	const char *text;

	memcpy(&text, (const char *)record + f->offset, sizeof(text));
	return text;
}

/*
 * Who takes records. Containers are bracketed by begin and end; the rest come by record(). Records are valid during
 * the call only. Each returns 0, or -errno to stop the walk.
 */
struct meta_visitor {
	int (*begin)(struct meta_visitor *v, enum record_kind kind, const void *record);
	int (*record)(struct meta_visitor *v, enum record_kind kind, const void *record);
	int (*end)(struct meta_visitor *v, enum record_kind kind, const void *record);
	int (*problem)(struct meta_visitor *v, const struct problem *p);
};

/* The records. Names are the kernel's, or thin_dump's where the kernel has none. */

struct record_superblock {
	const char *uuid;
	uint32_t time;
	uint64_t transaction;
	uint32_t flags, version;
	uint32_t data_block_size; /* sectors */
	uint64_t nr_data_blocks;
};

struct record_device {
	uint64_t dev_id, mapped_blocks, transaction;
	uint32_t creation_time, snap_time;
};

struct record_mapping {
	uint64_t dev_id;
	uint64_t origin_begin, origin_last; /* virtual blocks, both included */
	uint64_t data_begin, data_last;
	uint64_t length;
	uint32_t time;
};

struct record_def {
	uint64_t name;
};

struct record_extents {
	uint64_t dev_id;
};

/* In bytes. */
struct record_extent {
	uint64_t dev_id, virtual, data, length;
};

struct record_path {
	uint64_t dev_id, virtual_block;
	const char *result;              /* "mapped", "not mapped", "lost" */
	uint64_t data_block, time;       /* these may be RECORD_UNKNOWN */
	uint64_t data_bytes, data_length; /* where that is on the data device */
	const char *text;                /* the same for people */
};

struct record_hop {
	uint64_t block;
	const char *where, *state, *text;
	uint64_t entry, key, begin, end; /* these may be RECORD_UNKNOWN */
};

struct record_owned {
	uint64_t block;
	const char *role;
	const char *shape; /* "leaf", "node", "bitmap", "index", or NULL */
	const char *state;
	const char *text;  /* all of it for people */
};

struct record_owner {
	uint64_t block, dev_id;
	uint64_t begin, end;     /* keys that the block is there for; end RECORD_UNKNOWN: all that follow; both: no keys */
	const char *keys, *range; /* what they are; the same for people */
	const char *generation;  /* "current", "metadata snapshot" */
	const char *path;        /* blocks from the superblock on, with "/" between them */
};

struct record_unowned {
	uint64_t begin, end;
	uint64_t count; /* that the metadata space map has; RECORD_UNKNOWN: it is damaged there */
	const char *kind, *range, *state;
};

struct record_bad {
	uint64_t block;
	const char *name, *severity;
	const char *where;  /* the structure that it belongs to */
	const char *looks;  /* what its bytes look like */
	const char *message, *remedy;
	const char *text;   /* where and what, for people */
};

struct record_bad_end {
	uint64_t blocks, not_shown;
	const char *text;
};

struct record_summary {
	const char *image, *what, *state;
	const char *uuid;
	uint64_t bytes; /* of the device or file */
	uint32_t flags, version, time, checksum, checksum_expected;
	const char *checksum_state, *flag_names;
	const char *shares; /* heads of two columns more, or NULL */
	uint64_t transaction, held_root;
	uint64_t data_block_bytes;
	uint64_t metadata_used, metadata_total, data_used, data_total; /* blocks */
	uint64_t metadata_percent, data_percent;
	uint64_t metadata_bytes, data_bytes, data_used_bytes;
	uint64_t fatal, lossy, repairable, cosmetic; /* problems */
	const char *more; /* a line about problems that are not shown, or empty */
	/* What LVM's backup says of the pool. Without one NULL, RECORD_UNKNOWN, and the lines for people are empty. */
	const char *lvm_group, *lvm_pool, *lvm_state, *lvm_advice;
	uint64_t lvm_transaction;
	const char *lvm_line, *lvm_heading, *lvm_ending;
	uint32_t compat_flags, compat_ro_flags, incompat_flags;
	uint64_t data_mapping_root, device_details_root;
};

struct record_device_row {
	uint64_t dev_id, mapped_blocks, mapped_bytes;
	uint64_t transaction, creation_time, snap_time; /* may be RECORD_UNKNOWN */
	uint64_t found_blocks; /* mappings that were reached; RECORD_UNKNOWN: not looked */
	uint64_t exclusive_blocks, shared_blocks; /* of these; RECORD_UNKNOWN: not counted */
	const char *shares; /* both as columns, or NULL */
	const char *state;
};

/* Of RECORD_NOT_IN_POOL and RECORD_NOT_IN_LVM. */
struct record_stray {
	uint64_t dev_id;
	const char *message;
	const char *lead; /* in front of the first of them */
};

struct record_ls {
	const char *image;
	uint64_t data_block_bytes;
	uint64_t fatal, lossy, repairable, cosmetic; /* problems */
};

/* One number of data blocks, four times. */
struct record_amount {
	uint64_t blocks, sectors, bytes, size;
};

/* RECORD_UNKNOWN: lost, or not asked for. What must be counted lies behind what must not. */
struct record_ls_row {
	uint64_t dev_id, transaction, creation_time, snap_time;
	const char *lv; /* or NULL */
	struct record_amount mapped;
	struct record_amount highest; /* the last one that is mapped; size: up to its end */
	struct record_amount exclusive, shared;
};

/* What a pool of this size would need. */
struct record_size_plan {
	uint64_t data_bytes, data_block_bytes, data_blocks, max_thins;
	uint64_t sectors, blocks, bytes, most_blocks;
	const char *note;
};

/* What a pool takes and would take; all in metadata blocks. */
struct record_size_pool {
	const char *image, *what;
	uint64_t data_block_bytes, data_blocks, max_thins;
	uint64_t devices, mappings; /* entries of distinct leaves */
	uint64_t used, total, full, most;
	uint64_t packed; /* the sum of: */
	uint64_t packed_details, packed_top, packed_mappings, packed_data_sm, packed_metadata_sm, packed_superblock;
	const char *note;
	uint64_t fatal, lossy, repairable, cosmetic; /* problems */
};

struct record_block {
	uint64_t block;
	const char *kind, *state;
	uint32_t checksum;
};

struct record_field {
	uint64_t offset; /* in the block */
	const char *hex, *name, *value;
};

/* In XML alone. */
struct record_delta_pool {
	const char *uuid;
	uint32_t time;
	uint64_t transaction;
	uint32_t data_block_size; /* sectors */
	uint64_t nr_data_blocks;
	uint64_t metadata_snap;   /* RECORD_UNKNOWN: none */
};

struct record_delta {
	const char *image;
	struct record_delta_side {
		const char *text; /* for people */
		const char *of;
		uint64_t dev_id, generation;
		uint64_t root; /* of the device's tree */
		uint64_t tree; /* the same where it was named instead of a device */
	} left, right;
};

/* Virtual blocks; what is not there is RECORD_UNKNOWN. */
struct record_delta_range {
	const char *kind, *text;
	uint64_t begin, last, length;
	uint64_t left_data, left_last, right_data, right_last;
};

struct record_delta_totals {
	struct record_delta_total {
		uint64_t blocks, bytes;
	} same, different, left_only, right_only, unknown;
};

struct record_data_mapping {
	uint64_t data, length, dev_id, origin;
	uint64_t data_end, origin_end; /* not included */
	uint64_t time;
};

/* Both kinds. */
struct record_data_count {
	uint64_t data, length, end;
	uint64_t stored; /* RECORD_UNKNOWN: the space map is damaged there */
	uint64_t found;
	const char *verdict; /* for people */
};

struct record_diff {
	struct record_diff_side {
		const char *image, *what;
		uint64_t bytes;
	} left, right;
};

struct record_diff_section {
	const char *title;
};

struct record_diff_field {
	const char *name, *left, *right;
};

struct record_diff_device {
	uint64_t dev_id;
	const char *kind, *text;
	const char *field; /* or NULL */
	uint64_t left, right;
};

struct record_diff_range {
	uint64_t dev_id;
	struct record_delta_range range;
	uint64_t left_time, right_time;
};

struct record_diff_block {
	uint64_t block;
	const char *left_kind, *right_kind, *kinds;
};

struct record_diff_block_field {
	uint64_t block, offset, length;
	const char *name, *left, *right;
};

struct record_diff_blocks {
	const char *kind, *text;
	uint64_t begin, last, length;
};

struct record_diff_more {
	const char *before, *what;
	uint64_t count;
};

struct record_diff_totals {
	uint64_t fields, devices, ranges, blocks, bytes, left_only_blocks, right_only_blocks, unreadable_blocks;
	const char *text;
};

struct record_plan {
	const char *script, *name, *target; /* name: of the target, in the script */
	uint64_t blocks, block_size;
};

struct record_plan_totals {
	const char *state; /* "plan", "applied" */
	uint64_t blocks, bytes;
	const char *digest, *journal; /* or NULL */
	const char *text;
};

struct record_journal {
	const char *journal, *target;
	uint64_t target_bytes, blocks, block_size;
	const char *state, *text;
};

struct record_roots {
	const char *image;
	uint64_t blocks, metadata_blocks, unreadable_blocks;
	uint64_t nr_generations, nr_trees;
	const char *more; /* a line about what is not shown, or empty */
};

struct record_generation {
	uint64_t number; /* what bufio-repair --generation calls it */
	uint64_t block;               /* to look through it: of the top level, or of the copy of a superblock */
	uint64_t root;                /* top level */
	uint64_t details, superblock; /* may be RECORD_UNKNOWN */
	const char *source, *fit, *state;
	uint64_t transaction; /* may be RECORD_UNKNOWN */
	uint64_t time;
	const char *transaction_is; /* "exact", or "at least", and so is the time */
	uint64_t devices, complete_devices, mappings, holes;
	uint64_t beyond_data;     /* 1: some mappings are */
	uint64_t data_block_size; /* sectors; may be RECORD_UNKNOWN */
	const char *transaction_text, *time_text, *state_text, *beyond_text, *gone, *missing; /* for people */
};

struct record_generation_device {
	uint64_t dev_id, root, mappings, holes;
};

struct record_orphan_tree {
	const char *heading; /* above the first */
	uint64_t block, dev_id; /* may be RECORD_UNKNOWN */
	uint64_t mappings, first, last, time, holes;
	const char *shape, *state;
};

struct record_map {
	const char *image;
	uint64_t image_bytes;
	uint64_t blocks, bytes; /* of the metadata, as far as it is there */
	uint64_t used, used_percent, orphan, free, unreached, beyond; /* blocks, no two of these the same */
	uint64_t bad, shared;   /* blocks, of any role */
	uint64_t fatal, lossy, repairable, cosmetic; /* problems */
	const char *legend;     /* of the drawing: what a character stands for */
};

struct record_map_role {
	const char *role, *text;
	uint64_t blocks, bytes;
};

struct record_map_run {
	uint64_t block, length;
	const char *role, *level; /* of nodes of trees: "internal", "leaf"; else NULL */
	uint32_t shared, bad;
};

struct record_restore {
	const char *input, *target;
	const char *replaced; /* what was there before, or NULL */
	uint64_t devices, mappings;
	uint64_t used_blocks, total_blocks;           /* of metadata */
	uint64_t used_data_blocks, total_data_blocks;
	uint64_t passes; /* over the leaves, to count data blocks */
	uint32_t is_writable; /* there are blocks beside those that the kernel keeps for itself */
	const char *replaced_text, *reserve_text; /* for people */
};

struct record_pack {
	const char *source, *target;
	const char *replaced;   /* what was there before, or NULL */
	const char *chosen_by;  /* "space-map" or "contents" */
	const char *reason;     /* for the latter; or NULL: not known */
	uint64_t blocks, bytes; /* that were copied */
	uint64_t total_blocks, unreadable;
	uint64_t packed_bytes;  /* RECORD_UNKNOWN: nothing is packed */
	uint64_t transaction;
	uint32_t is_damaged;
	const char *chosen_text, *packed_text, *unreadable_text, *replaced_text; /* for people */
};

struct record_copy {
	const char *source, *target;
	uint64_t begin, to, bytes;    /* where it begins in the source, where in the target, and how much it is */
	uint64_t had_bytes;           /* of these, by an earlier run */
	uint64_t read_bytes, written_bytes, hole_bytes; /* now; holes are zeroes that were not written */
	uint64_t bad_bytes, bad_ranges; /* that could not be read, and were left out */
	const char *map;              /* or NULL */
	const char *verified;         /* "readback", "hash", or NULL */
	const char *hash;             /* 16 hexadecimal digits, or NULL */
	const char *had_text, *bad_text, *verified_text; /* for people */
};

struct record_repair {
	const char *input, *target; /* target: NULL: nothing was written */
	const char *verdict;        /* "complete", "lost" */
	uint64_t generation, root, details; /* details may be RECORD_UNKNOWN */
	const char *source;
	uint64_t transaction, time;
	uint64_t devices, mappings, mappings_lost, mappings_stale, unowned; /* lost and unowned may be RECORD_UNKNOWN */
	uint64_t corrected; /* blocks in which one byte was put right */
	uint64_t metadata_used, metadata_total; /* or RECORD_UNKNOWN */
	const char *replaced; /* what was there before, or NULL */
	const char *heading, *state, *written, *notes; /* for people */
};

struct record_repair_device {
	uint64_t dev_id, mappings, mappings_lost, root; /* lost and root may be RECORD_UNKNOWN */
	const char *details, *source;
	const char *text; /* for people: empty where there is nothing to say */
};

struct record_loss {
	uint64_t dev_id, begin, end; /* dev_id may be RECORD_UNKNOWN */
	const char *state;
	uint64_t mappings, block; /* may be RECORD_UNKNOWN */
	const char *text, *option; /* option may be NULL */
	const char *line; /* for people */
};

struct record_unowned_range {
	uint64_t begin, end;
	const char *line; /* for people */
};

struct record_repair_more {
	const char *line;
};

struct record_check {
	const char *image;
	const char *verdict, *state, *next; /* a word, a sentence, a command or NULL */
	uint32_t is_complete, is_safe;      /* everything was looked at; to activate */
	uint64_t transaction, devices, mappings;    /* RECORD_UNKNOWN: not looked at */
	uint64_t metadata_used, metadata_total, data_used, data_total;
	uint64_t passes;                            /* over the mappings, to count data blocks */
	uint64_t fatal, lossy, repairable, leak, cosmetic; /* problems, those included that are not shown */
	uint64_t not_shown;                         /* problems, for want of memory or of --max-problems */
	const char *journal; /* of what was mended, or NULL */
	uint32_t is_cleared; /* needs_check was */
	const char *heading, *totals, *mended, *next_text; /* for people */
};

struct record_finding {
	const char *name, *severity, *where;
	uint64_t block; /* RECORD_UNKNOWN: of no block */
	const char *message, *meaning, *remedy;
	uint64_t count; /* blocks, or problems that are alike */
	const char *text; /* for people */
};

/* A device, a range, or both. */
struct record_touched {
	uint64_t dev_id, begin, end; /* RECORD_UNKNOWN */
	const char *keys;            /* what the range is of, or NULL */
	const char *text;            /* for people */
};

struct record_touched_more {
	uint64_t count;
};

struct record_in_place {
	const char *image;
	const char *state; /* "mended", "plan", "sound" */
	uint64_t transaction, devices, mappings;
	uint64_t time;     /* the superblock's, in the end */
	uint64_t blocks;   /* of metadata that changed, or would */
	uint64_t passes;        /* over the mappings, to count data blocks; 0: there was no need to */
	uint64_t new_details;   /* devices whose details could not be kept */
	uint32_t has_new_details, has_new_maps; /* trees that were built anew */
	const char *journal, *undo; /* of what was mended, and the command that takes it back; or NULL */
	const char *heading, *text; /* for people */
};

struct record_mended {
	const char *what; /* see thin_mend.c */
	uint64_t count;   /* blocks, devices, numbers */
	const char *text;
};

#endif
