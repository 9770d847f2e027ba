/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * LVM's text backup of a volume group, as vgcfgbackup(8) writes it: what it says of thin pools and thin volumes.
 *
 * The text is a tree of sections; "name { ... }", "key = value", "key = [ value, ... ]". Any file may be given: what
 * is kept of it was checked, names consist of the characters that LVM allows in them, and memory is bounded by the
 * file's size.
 */
#ifndef TEXT_LVM_BACKUP_H
#define TEXT_LVM_BACKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LVM_UNKNOWN UINT64_MAX

struct lvm_pool {
	const char *name;
	uint64_t transaction;   /* LVM_UNKNOWN: the file does not say */
	uint64_t chunk_sectors; /* as transaction */
	size_t nr_volumes, nr_found; /* thin volumes, and those that text_lvm_found() was told of */
};

struct lvm_volume {
	const char *name;
	const struct lvm_pool *pool;
	uint64_t dev_id;
	bool found;
};

struct lvm_backup {
	char *text;
	const char *group;
	struct lvm_pool *pools; /* in order of their names */
	size_t nr_pools;
	struct lvm_volume *volumes; /* thin ones, in order of their device ids */
	size_t nr_volumes;
};

#define LVM_REASON_MAX 5120

/*
 * Reads the file at @path. NULL and errno on failure, and *@reason says where and why; EINVAL: it is no backup of a
 * volume group.
 */
struct lvm_backup *text_lvm_create(const char *path, char reason[LVM_REASON_MAX]);

/* The same from memory: @text, of malloc(), is taken over in any case; @path is what it is called. */
struct lvm_backup *text_lvm_parse(char *text, size_t size, const char *path, char reason[LVM_REASON_MAX]);

/* NULL is allowed. */
void text_lvm_destroy(struct lvm_backup *b);

/* The pool of that name, or NULL. */
struct lvm_pool *text_lvm_pool(const struct lvm_backup *b, const char *name);

/* The volume that is device @dev_id of @pool, or NULL. */
const struct lvm_volume *text_lvm_volume(const struct lvm_backup *b, const struct lvm_pool *pool, uint64_t dev_id);

/* Notes that there is a device of this id, in the volumes and in their pools. */
void text_lvm_found(struct lvm_backup *b, uint64_t dev_id);

#endif
