/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What lies on a device: our own probe first, libblkid for what that does not know. */
#ifndef OPS_TARGET_H
#define OPS_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "bufio/bufio.h"
#include "meta/meta.h"

/*
 * The format of the metadata behind @client (4096-byte blocks), or NULL, and then *@reason says in one line what is
 * there instead. *@error is -errno if block 0 cannot be read, else 0.
 */
const struct meta_format *target_probe(struct bufio_client *client, const char *path, char *reason, size_t size,
				       int *error);

/* Whether there are blocks of metadata, without a superblock maybe. */
bool target_has_metadata(struct bufio_client *client);

#endif
