/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images, and caches of devices, for the targets that damage them. */
#ifndef TESTS_FUZZ_FUZZ_IMAGE_H
#define TESTS_FUZZ_FUZZ_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bufio/bufio.h"
#include "ops/op.h"

struct fuzz_image {
	uint8_t *data; /* to be freed */
	size_t size;
};

struct fuzz_image fuzz_image_load(const char *path);

/* Several, and giving them back. */
struct fuzz_image *fuzz_images_load(char **paths, unsigned nr);
void fuzz_images_free(struct fuzz_image *images, unsigned nr);

/* Ends the program: the case did @what must not be; @result may be NULL. */
__attribute__((noreturn)) void fuzz_fail(const char *what, const struct op_result *result);

/* A device in memory with these bytes. */
struct bufio_device *fuzz_device(const void *data, size_t size);

struct bufio_client *fuzz_client(struct bufio_device *dev, unsigned held_buffers, uint64_t limit);

/* A hold that was not given up is a leak. */
void fuzz_client_destroy(struct bufio_client *client);

/* Of all mappings of all devices, as far as they can be read. */
struct fuzz_sum {
	uint64_t value, nr;
};

struct fuzz_sum fuzz_sum_mappings(struct bufio_device *dev);

/* Whether a check finds nothing in the metadata there that would have to be mended. */
bool fuzz_is_clean(struct bufio_device *dev);

#endif
