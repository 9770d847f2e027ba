/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * extents: a device of a pool, to be read from the pool's data device by a list of where its bytes are. What op_copy()
 * copies then is this device.
 */
#ifndef OPS_EXTENTS_H
#define OPS_EXTENTS_H

#include "bufio/bufio.h"
#include "ops/op.h"

struct op_extents_args {
	const char *list;             /* path of what "bufio-dump mappings --bytes" prints; "-": the standard input */
	const char *data;             /* name of the data device, for messages */
	struct bufio_device *data_device;
	uint64_t size;                /* bytes of the device; 0: up to where the last extent ends */
	uint64_t memory;              /* bytes that the list may take */
};

struct op_extents {
	struct bufio_device *device;  /* only to be read; nobody else uses the data device meanwhile */
	uint64_t memory;              /* bytes that the list takes */
	uint64_t problems;            /* of the metadata, that the list speaks of: zeroes stand for what they cost */
	struct text_extents *list;
};

/* True, or *@result says what is wrong. To be closed in either case, before the data device is. */
bool op_extents_open(const struct op_extents_args *args, struct op_extents *x, struct op_result *result);
void op_extents_close(struct op_extents *x);

#endif
