/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What lies on a device: our own probe first, libblkid for what that does not know. */
#ifndef OPS_TARGET_H
#define OPS_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "bufio/bufio.h"
#include "meta/meta.h"
#include "ops/op.h"

/*
 * The format of the metadata behind @client (4096-byte blocks), or NULL, and then *@reason says in one line what is
 * there instead. *@error is -errno if block 0 cannot be read, else 0.
 */
const struct meta_format *target_probe(struct bufio_client *client, const char *path, char *reason, size_t size,
				       int *error);

/* What would be lost if the device were written to. */
struct target_contents {
	char what[160];   /* "thin-pool metadata, transaction 7"; empty: zeroes, or nothing that is known */
	char type[64];    /* of whatever is known: "thin-pool", "ext4", "gpt", "dm-cache", "xml"; else empty */
	bool is_unfinished; /* metadata of ours that was begun; nothing is lost with it */
	char foreign[64]; /* the same of what is not ours to replace: "ext4", "gpt", "dm-cache", "xml"; else empty */
};

/* The first 4096 bytes, whatever the size of blocks, and what libblkid finds. What cannot be read counts as nothing. */
void target_look(struct bufio_client *client, const char *path, struct target_contents *c);

/*
 * Whether what is there of type @type, which is one of the two above or empty, may be lost: as there is nothing, or
 * @signature, which may be NULL, says so. If not, *@result asks for it.
 */
bool target_may_be_lost(const struct target_contents *c, const char *type, const char *path, const char *signature,
			struct op_result *result);

/* Makes a file of @size bytes that is not there yet, all a hole. Returns 0 or -errno. */
int target_make_file(const char *path, uint64_t size);

/* Has the name of a file on stable media. Returns 0 or -errno. */
int target_flush_folder(const char *path);

/* Cuts such a file off behind @size bytes, and has it, its size and its name on stable media. Returns 0 or -errno. */
int target_finish_file(const char *path, uint64_t size);

/*
 * Whether there are blocks of metadata, without a superblock maybe. Those of metadata that was not finished do not count:
 * old nodes that are left over point at new ones.
 */
bool target_has_metadata(struct bufio_client *client);

#endif
